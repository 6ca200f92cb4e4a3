//! Steps in words and as named values.
//!
//! Owns every sentence that explains a step, its stable word (`what`) and the names of its values, which
//! docs/api/explain.md lists. It decides nothing.

use std::net::SocketAddr;

use net::explain::{Cached, Local};
use net::{Inquiry, Room};
use policy::AclAction;
use resolve::Transport;
use resolve::trace::{
    Begins, Choice, Denied, DsView, KeyView, NoDs, Note, Purpose, Said, Signer, Source, Step as Noted, Turn, Voucher,
};
use store::Security;
use wire::Name;

use super::{Data, Step, Value};
use crate::lookup::word;

/// The port that goes without saying.
const DNS_PORT: u16 = 53;
/// Servers that are named one by one in a sentence; the values name all.
const NAMED_SERVERS: usize = 3;

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<&Name> for Value {
    fn from(name: &Name) -> Value {
        Value::Text(name.to_string())
    }
}

impl From<SocketAddr> for Value {
    fn from(addr: SocketAddr) -> Value {
        Value::Text(format!("{}@{}", addr.ip().to_canonical(), addr.port()))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nothing, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::Many(values.into_iter().map(Into::into).collect())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::from(number as u64)
    }
}

fn data<const N: usize>(values: [(&'static str, Value); N]) -> Data {
    values.into_iter().collect()
}

/// A server in a sentence.
fn at(addr: SocketAddr) -> String {
    let ip = addr.ip().to_canonical();
    if addr.port() == DNS_PORT { ip.to_string() } else { format!("{ip}@{}", addr.port()) }
}

fn some_of(servers: &[SocketAddr]) -> String {
    let named: Vec<String> = servers.iter().take(NAMED_SERVERS).map(|addr| at(*addr)).collect();
    match servers.len().saturating_sub(NAMED_SERVERS) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn counted(number: usize, what: &str) -> String {
    let ending = match (number, what.ends_with("ss")) {
        (1, _) => "",
        (_, true) => "es",
        _ => "s",
    };
    format!("{number} {what}{ending}")
}

fn transport(over: Transport) -> &'static str {
    match over {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    }
}

/// An algorithm by its mnemonic.
pub(super) fn algorithm(number: u8) -> String {
    dnssec::Algorithm(number).to_string()
}

/// A digest algorithm by its name in the registry; empty for an anchor that is a key.
pub(super) fn digest(number: u8) -> String {
    match number {
        0 => String::new(),
        1 => "SHA-1".into(),
        2 => "SHA-256".into(),
        3 => "GOST".into(),
        4 => "SHA-384".into(),
        other => format!("digest {other}"),
    }
}

fn keys(keys: &[KeyView]) -> (String, Value) {
    let text: Vec<String> = keys
        .iter()
        .map(|key| {
            let marks = [(key.named, "named"), (key.signed, "signs the keys"), (key.flags & 128 != 0, "revoked")];
            let marks: Vec<&str> = marks.into_iter().filter(|(yes, _)| *yes).map(|(_, mark)| mark).collect();
            let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
            format!("{} {}{marks}", key.tag, algorithm(key.algorithm))
        })
        .collect();
    let value = |key: &KeyView| {
        Value::Named(data([
            ("tag", u32::from(key.tag).into()),
            ("algorithm", u32::from(key.algorithm).into()),
            ("algorithm_name", algorithm(key.algorithm).into()),
            ("flags", u32::from(key.flags).into()),
            ("bits", key.bits.into()),
            ("named", key.named.into()),
            ("signed", key.signed.into()),
        ]))
    };
    (text.join(", "), Value::Many(keys.iter().map(value).collect()))
}

fn ds(records: &[DsView]) -> (String, Value) {
    let text: Vec<String> = records
        .iter()
        .map(|ds| format!("{} {} {}", ds.tag, algorithm(ds.algorithm), digest(ds.digest)).trim_end().to_owned())
        .collect();
    let value = |ds: &DsView| {
        Value::Named(data([
            ("tag", u32::from(ds.tag).into()),
            ("algorithm", u32::from(ds.algorithm).into()),
            ("algorithm_name", algorithm(ds.algorithm).into()),
            ("digest", u32::from(ds.digest).into()),
            ("digest_name", digest(ds.digest).into()),
        ]))
    };
    (text.join(", "), Value::Many(records.iter().map(value).collect()))
}

fn signer(by: Option<&Signer>) -> (String, Value) {
    let Some(by) = by else { return (String::new(), Value::Nothing) };
    let text = format!(", signed by key {} {} of {}", by.tag, algorithm(by.algorithm), by.zone);
    let value = data([
        ("zone", (&by.zone).into()),
        ("tag", u32::from(by.tag).into()),
        ("algorithm", u32::from(by.algorithm).into()),
        ("algorithm_name", algorithm(by.algorithm).into()),
        ("until", by.until.into()),
    ]);
    (text, Value::Named(value))
}

/// What comes after a colon, if there is anything.
fn because(reason: Option<dnssec::Reason>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

/// A room before the mesh.
pub(super) fn of_room(room: &Room, inquiry: &Inquiry) -> Step {
    let (room, what, text, data) = match room {
        Room::Access { action, rule } => {
            let rule = rule.map(|(net, prefix)| format!("{net}/{prefix}"));
            let means = match action {
                AclAction::Deny => "queries from there are dropped",
                AclAction::Refuse => "queries from there are refused",
                AclAction::Allow => "the client is served",
                AclAction::AllowSetrd => "the client is served, as if it always asked for recursion",
                AclAction::AllowSnoop => "the client is served and may look into the cache",
                AclAction::AllowCookie => "the client is served over TCP, or with a valid cookie",
                AclAction::DenyNonLocal => "local data are answered, all else is dropped",
                AclAction::RefuseNonLocal => "local data are answered, all else is refused",
            };
            let from = inquiry.client;
            let text = match &rule {
                Some(rule) => format!("{from}: access-control {rule} {}: {means}", action.word()),
                None => format!("{from}: no access-control: {means}"),
            };
            let data = data([
                ("client", from.to_string().into()),
                ("action", action.word().into()),
                ("netblock", rule.into()),
            ]);
            ("access", "access", text, data)
        }
        Room::Local { zone, api, verdict } => {
            let (means, verdict_data) = of_verdict(verdict);
            let text = match (zone, verdict) {
                (Some((zone, kind)), _) if *api => format!("local data (API) in local zone {zone} ({kind}): {means}"),
                (Some((zone, kind)), _) => format!("local zone {zone} ({kind}) {means}"),
                (None, Local::Pass) => "no local zone has a say".to_owned(),
                (None, _) => format!("local data: {means}"),
            };
            let mut data = data([
                ("zone", zone.as_ref().map(|(zone, _)| zone).into()),
                ("zone_type", zone.as_ref().map(|(_, kind)| *kind).into()),
                ("api", (*api).into()),
            ]);
            data.extend(verdict_data);
            ("policy", "local-zone", text, data)
        }
        Room::Block { name, action, verdict } => {
            let (means, verdict_data) = of_verdict(verdict);
            let mut data = data([("name", name.into()), ("action", (*action).into())]);
            data.extend(verdict_data);
            ("policy", "block", format!("block {name} (API), {action}: {means}"), data)
        }
        Room::DeniedAny => ("policy", "deny-any", "deny-any: questions of type ANY get NOTIMP".to_owned(), Data::new()),
        Room::Cache(Cached::Nothing) => {
            ("cache", "cache", "not in the cache".to_owned(), data([("state", "miss".into())]))
        }
        Room::Cache(Cached::Never) => {
            let text = "the cache is not asked: nothing is kept of this zone (no-cache)".to_owned();
            ("cache", "cache", text, data([("state", "bypassed".into())]))
        }
        Room::Cache(Cached::Entry { rcode, ttl_s, left_s, stale, security, used }) => {
            let state = match (used, stale) {
                (true, false) => "hit",
                (true, true) => "stale",
                (false, true) => "expired",
                (false, false) => "unusable",
            };
            let age = ttl_s.saturating_sub(*left_s);
            let text = match state {
                "hit" => format!("in the cache for {age} s, {left_s} s left: {rcode}, {}", word(*security)),
                "stale" => {
                    format!("in the cache, past its time, and served all the same: {rcode}, {}", word(*security))
                }
                "expired" => {
                    format!("in the cache, past its time: {rcode}, {}; a new answer is looked for", word(*security))
                }
                _ => format!("in the cache: {rcode}, but {}: not for this client", word(*security)),
            };
            let data = data([
                ("state", state.into()),
                ("rcode", rcode.to_string().into()),
                ("ttl_s", (*ttl_s).into()),
                ("left_s", (*left_s).into()),
                ("age_s", if *stale { Value::Nothing } else { age.into() }),
                ("security", word(*security).into()),
            ]);
            ("cache", "cache", text, data)
        }
        Room::Mesh(name) => {
            let text = format!("{name} {} is looked for", inquiry.question.qtype);
            ("resolve", "begins", text, data([("name", name.into())]))
        }
        Room::Dropped => ("end", "dropped", "no answer is sent".to_owned(), Data::new()),
        Room::Refused => ("end", "refused", "REFUSED".to_owned(), Data::new()),
    };
    let (name, rtype) = (inquiry.question.name.to_string(), inquiry.question.qtype.to_string());
    Step { at_ms: 0, question: 0, depth: 0, name, rtype, room, what, text, data }
}

/// What a rule makes of the question.
fn of_verdict(verdict: &Local) -> (String, Data) {
    let (said, target, rcode) = match verdict {
        Local::Pass => ("pass", None, None),
        Local::Answer(rcode) => ("answer", None, Some(*rcode)),
        Local::Drop => ("drop", None, None),
        Local::Alias(target) => ("alias", Some(target), None),
    };
    let means = match verdict {
        Local::Pass => "lets the question pass".to_owned(),
        Local::Answer(rcode) => format!("answers {rcode}"),
        Local::Drop => "drops it: no answer".to_owned(),
        Local::Alias(target) => format!("sends it on to {target}"),
    };
    let rcode = rcode.map(|rcode| rcode.to_string());
    (means, data([("verdict", said.into()), ("rcode", rcode.into()), ("target", target.into())]))
}

/// A step of the mesh.
pub(super) fn of_note((depth, note): (usize, &Note)) -> Step {
    let (room, what, text, data) = of_step(&note.step);
    let (name, rtype) = (note.name.to_string(), note.qtype.to_string());
    Step { at_ms: note.at, question: note.question, depth, name, rtype, room, what, text, data }
}

fn of_step(step: &Noted) -> (&'static str, &'static str, String, Data) {
    match step {
        Noted::Remembered { rcode, left_s, security } => (
            "cache",
            "remembered",
            format!("in the cache: {rcode}, {}, {left_s} s left", word(*security)),
            data([
                ("rcode", rcode.to_string().into()),
                ("left_s", (*left_s).into()),
                ("security", word(*security).into()),
            ]),
        ),
        Noted::Follows { denial } => (
            "cache",
            "follows",
            if *denial {
                "follows from proven denials in the cache (RFC 8198)".to_owned()
            } else {
                "follows from what else is in the cache".to_owned()
            },
            data([("denial", (*denial).into())]),
        ),
        Noted::Link { to, remembered } => (
            if *remembered { "cache" } else { "resolve" },
            "link",
            format!("another name for {to}{}", if *remembered { ", says the cache" } else { "" }),
            data([("to", to.into()), ("remembered", (*remembered).into())]),
        ),
        Noted::Forward { zone, servers } => (
            "resolve",
            "forward",
            format!("forward zone {zone} with {}: {}", counted(servers.len(), "server"), some_of(servers)),
            data([("zone", zone.into()), ("servers", servers.clone().into())]),
        ),
        Noted::Delegation { zone, source, names, servers, lame } => {
            let (word, said) = match source {
                Source::Store => ("cache", "known from the cache"),
                Source::Parent => ("parent", "the parent refers to them"),
                Source::Stub => ("configured", "configured"),
            };
            let mut text = format!("servers of {zone} ({said}): ");
            text += &match (*names, servers.len()) {
                (0, _) => counted(servers.len(), "address"),
                (names, addrs) => format!("{}, {}", counted(names, "name"), counted(addrs, "address")),
            };
            if *lame > 0 {
                text += &format!(", {lame} of them known not to serve it");
            }
            let data = data([
                ("zone", zone.into()),
                ("source", word.into()),
                ("names", (*names).into()),
                ("servers", servers.clone().into()),
                ("lame", (*lame).into()),
            ]);
            ("resolve", "delegation", text, data)
        }
        Noted::Wants { name, qtype, purpose, question, joined } => {
            let (word, what_for) = match purpose {
                Purpose::Address => ("address", "address of a name server"),
                Purpose::Glue => ("glue", "address that the parent has of a name server"),
                Purpose::Priming => ("priming", "the servers of the zone in its own words"),
                Purpose::Ds => ("ds", "what the parent says of its keys"),
                Purpose::Keys => ("keys", "keys of the zone"),
            };
            let how = match (question, joined) {
                (None, _) => "; it is not asked: it would wait for this one, or there are too many",
                (_, true) => "; somebody is asking already",
                _ => "",
            };
            let data = data([
                ("name", name.into()),
                ("type", qtype.to_string().into()),
                ("purpose", word.into()),
                ("question", (*question).into()),
                ("joined", (*joined).into()),
            ]);
            ("resolve", "wants", format!("needs {name} {qtype} ({what_for}{how})"), data)
        }
        Noted::Asks { server, over, edns, name, qtype, choice, wait } => {
            let mut text = format!("→ {} over {}", at(*server), transport(*over).to_uppercase());
            if !*edns {
                text += " without EDNS";
            }
            let (why, said) = chosen(*choice);
            text += &format!(": {name} {qtype} ({said}; {wait} ms to answer)");
            let mut data = data([
                ("server", (*server).into()),
                ("transport", transport(*over).into()),
                ("edns", (*edns).into()),
                ("name", name.into()),
                ("type", qtype.to_string().into()),
                ("why", why.into()),
                ("wait_ms", (*wait).into()),
            ]);
            if let Choice::Fast { srtt, .. } | Choice::Explores { srtt: Some(srtt) } = choice {
                data.insert("srtt_ms", (*srtt).into());
            }
            if let Choice::Fast { among, .. } | Choice::Unmeasured { among } = choice {
                data.insert("among", (*among).into());
            }
            ("resolve", "asks", text, data)
        }
        Noted::AsksAgain { server, wait } => (
            "resolve",
            "asks-again",
            format!("→ {} once more, the same packet ({wait} ms to answer)", at(*server)),
            data([("server", (*server).into()), ("wait_ms", (*wait).into())]),
        ),
        Noted::Held { server } => (
            "resolve",
            "held",
            "the packet waits for a socket: all are in use (outgoing-range)".to_owned(),
            data([("server", (*server).into())]),
        ),
        Noted::Hears { server, over, took, octets, said } => {
            let mut data = data([
                ("server", (*server).into()),
                ("transport", transport(*over).into()),
                ("took_ms", (*took).into()),
                ("octets", (*octets).into()),
            ]);
            let means = match said {
                Said::Reply { rcode, aa, answer, authority, additional } => {
                    data.insert("rcode", rcode.to_string().into());
                    data.insert("aa", (*aa).into());
                    data.insert("sets", vec![*answer, *authority, *additional].into());
                    let aa = if *aa { ", authoritative" } else { "" };
                    format!("{rcode}{aa}, {answer}+{authority}+{additional} record sets, {octets} octets")
                }
                Said::Truncated => "truncated: the rest is to be had over TCP".to_owned(),
                Said::NoEdns => "it does not take EDNS".to_owned(),
                Said::Wrong => format!("{octets} octets"),
            };
            let word = match said {
                Said::Reply { .. } => "reply",
                Said::Truncated => "truncated",
                Said::NoEdns => "no-edns",
                Said::Wrong => "wrong",
            };
            data.insert("said", word.into());
            ("resolve", "hears", format!("← {} after {took} ms: {means}", at(*server)), data)
        }
        Noted::Useless { server, fault } => (
            "resolve",
            "useless",
            format!("of no use: {} {fault}", at(*server)),
            data([("server", (*server).into()), ("fault", fault.to_string().into())]),
        ),
        Noted::Silent { server, over, after } => (
            "resolve",
            "silent",
            format!("{} is silent for {after} ms", at(*server)),
            data([("server", (*server).into()), ("transport", transport(*over).into()), ("after_ms", (*after).into())]),
        ),
        Noted::Unreachable { server, over, kind } => (
            "resolve",
            "unreachable",
            format!("{} cannot be reached: {kind}", at(*server)),
            data([
                ("server", (*server).into()),
                ("transport", transport(*over).into()),
                ("error", kind.to_string().into()),
            ]),
        ),
        Noted::Turns { zone, turn } => {
            let (word, text) = match turn {
                Turn::ForwardFirst => {
                    ("forward-first", format!("forward zone {zone} failed; on without it (forward-first)"))
                }
                Turn::StubFirst => ("stub-first", format!("stub zone {zone} failed; on without it (stub-first)")),
                Turn::Recursing => ("recursing", format!("servers of {zone} that only recurse are asked to")),
                Turn::DoubtsGlue => ("doubts-glue", format!("the glue of {zone} led nowhere: its names are looked up")),
                Turn::Parent => ("parent", format!("the servers of {zone} are sought anew from its parent")),
                Turn::Hints => ("hints", "what the root named led nowhere: the other hints are asked".to_owned()),
                Turn::BothSides => {
                    ("both-sides", format!("the server answered for the child; is there a zone {zone} between?"))
                }
                Turn::WholeName => ("whole-name", format!("servers of {zone} get to see the whole name from now on")),
            };
            ("resolve", "turns", text, data([("zone", zone.into()), ("turn", word.into())]))
        }
        Noted::Begins { name, from } => {
            let (word, text, zone, records) = match from {
                Begins::Anchor { zone, records } => {
                    let (tags, value) = ds(records);
                    ("anchor", format!("trust in {name} begins at the anchor of {zone}: {tags}"), Some(zone), value)
                }
                Begins::Nowhere => ("nowhere", format!("no trust anchor above {name}: insecure"), None, Value::Nothing),
                Begins::Excused { negative: false } => {
                    ("domain-insecure", format!("{name} is excused (domain-insecure): insecure"), None, Value::Nothing)
                }
                Begins::Excused { negative: true } => {
                    let text = format!("{name} is below a negative trust anchor: insecure");
                    ("negative-anchor", text, None, Value::Nothing)
                }
            };
            let data = data([("name", name.into()), ("from", word.into()), ("zone", zone.into()), ("anchor", records)]);
            ("validate", "begins", text, data)
        }
        Noted::Keys { zone, by, security, keys: all, reason } => {
            let (word_by, voucher) = match by {
                Voucher::Anchor => ("anchor", "by the trust anchor"),
                Voucher::Ds => ("ds", "by the DS records"),
                Voucher::Memory => ("memory", "proven before"),
            };
            let (tags, value) = keys(all);
            let text = match *security {
                Security::Secure => format!("keys of {zone}, {voucher}: {tags}"),
                _ => format!("no keys of {zone}: {}{}", word(*security), because(*reason)),
            };
            let data = data([
                ("zone", zone.into()),
                ("by", word_by.into()),
                ("security", word(*security).into()),
                ("keys", value),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "keys", text, data)
        }
        Noted::Ds { zone, security, records, by, reason } => {
            let ((tags, value), (signed, by)) = (ds(records), signer(by.as_ref()));
            let text = format!("DS of {zone}: {tags}{signed}: {}{}", word(*security), because(*reason));
            let data = data([
                ("zone", zone.into()),
                ("security", word(*security).into()),
                ("records", value),
                ("by", by),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "ds", text, data)
        }
        Noted::NoDs { name, means, by, reason } => {
            let (word, said) = match means {
                NoDs::Unsigned => ("unsigned", "not signed, as its parent proves: insecure from here on"),
                NoDs::NoCut => ("no-cut", "no zone of its own"),
                NoDs::NoName => ("no-name", "no such name, so no zone either"),
                NoDs::Insecure => ("insecure", "the proof does not count: insecure from here on"),
                NoDs::Bogus => ("bogus", "neither a DS nor a proof that there is none: bogus"),
            };
            let with = by.map_or_else(String::new, |by| format!(" ({by})"));
            let data = data([
                ("name", name.into()),
                ("means", word.into()),
                ("by", by.map(|by| by.to_string()).into()),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "no-ds", format!("no DS of {name}{with}: {said}{}", because(*reason)), data)
        }
        Noted::Checked { owner, rtype, security, by, wildcard, reason } => {
            let (signed, by) = signer(by.as_ref());
            let made = wildcard.as_ref().map_or_else(String::new, |from| format!(", made from {from}"));
            let text = format!("{owner} {rtype}: {}{signed}{made}{}", word(*security), because(*reason));
            let data = data([
                ("name", owner.into()),
                ("type", rtype.to_string().into()),
                ("security", word(*security).into()),
                ("by", by),
                ("wildcard", wildcard.as_ref().into()),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "checked", text, data)
        }
        Noted::Denied { what, by, security, reason } => {
            let means = match what {
                Denied::Name => "that the name does not exist",
                Denied::Type => "that the name has no such records",
                Denied::Closer => "that nothing is closer than the wildcard",
            };
            let with = by.map_or_else(String::new, |by| format!(" by {by}"));
            let data = data([
                ("denies", denies(*what).into()),
                ("by", by.map(|by| by.to_string()).into()),
                ("security", word(*security).into()),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "denied", format!("proof{with} {means}: {}{}", word(*security), because(*reason)), data)
        }
        Noted::Judged { security, reason } => {
            let data = data([
                ("security", word(*security).into()),
                ("reason", reason.map(|reason| reason.to_string()).into()),
            ]);
            ("validate", "judged", format!("the answer is {}{}", word(*security), because(*reason)), data)
        }
        Noted::Doubts { name, rtype, servers } => {
            let than = if servers.is_empty() { String::new() } else { format!(" than {}", some_of(servers)) };
            let data =
                data([("name", name.into()), ("type", rtype.to_string().into()), ("servers", servers.clone().into())]);
            ("validate", "doubts", format!("other servers{than} are asked for {name} {rtype}"), data)
        }
        Noted::Answered { rcode, security } => (
            "end",
            "answered",
            match security {
                Security::Unchecked => rcode.to_string(),
                security => format!("{rcode}, {}", word(*security)),
            },
            data([("rcode", rcode.to_string().into()), ("security", word(*security).into())]),
        ),
        Noted::Failed { ede, why } => {
            let text = if ede.text.is_empty() { why.clone() } else { ede.text.to_string() };
            let data = data([
                ("ede", u32::from(ede.code).into()),
                ("ede_text", ede.text.to_string().into()),
                ("why", why.as_str().into()),
            ]);
            ("end", "failed", format!("SERVFAIL: {text}"), data)
        }
        Noted::Late { stale } => {
            let told = if *stale { "an answer past its time" } else { "SERVFAIL" };
            let text = format!("clients have waited long enough and are told {told}; the question goes on");
            ("end", "late", text, data([("stale", (*stale).into())]))
        }
    }
}

/// What a proof denies, in a word.
pub(super) fn denies(what: Denied) -> &'static str {
    match what {
        Denied::Name => "name",
        Denied::Type => "type",
        Denied::Closer => "closer",
    }
}

/// Why a server was chosen: a word and a few.
fn chosen(choice: Choice) -> (&'static str, String) {
    match choice {
        Choice::Only => ("only", "the only one left".to_owned()),
        Choice::Fast { srtt, among: 0 | 1 } => ("fast", format!("the fastest, {srtt} ms")),
        Choice::Fast { srtt, among } => ("fast", format!("{srtt} ms, drawn from {among} that are as fast")),
        Choice::Unmeasured { among: 0 | 1 } => ("unmeasured", "nobody has measured it".to_owned()),
        Choice::Unmeasured { among } => ("unmeasured", format!("nobody has measured it, drawn from {among}")),
        Choice::Explores { srtt: Some(srtt) } => {
            ("explores", format!("slower at {srtt} ms; asked now and then to see"))
        }
        Choice::Explores { srtt: None } => ("explores", "others are fast; asked now and then to see".to_owned()),
        Choice::Dead => ("dead", "no server has answered lately".to_owned()),
        Choice::Hedge => ("hedge", "beside another that is later than usual".to_owned()),
        Choice::Race => ("race", "all are asked at once".to_owned()),
        Choice::Same => ("same", "once more, as it wants to be asked".to_owned()),
    }
}
