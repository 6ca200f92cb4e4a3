//! Plays tests/scenarios: stories in a few lines of text, named by the section of the RFC they hold, over the signed Internet
//! and the fake clock. Their language is told in tests/scenarios/README.md.
//!
//! It owns reading and comparing. What servers say is `internet`'s, signatures are `signer`'s.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use resolve::trust::Nta;
use resolve::{Limits, Minimise, Question, Recursion, Trust};
use wire::{Rcode, Rrset};

use crate::internet::*;
use crate::net::*;
use crate::signer::{BEGIN_S, rtype};

/// Fewer than these would mean that they were not found.
const AT_LEAST: usize = 40;

#[test]
fn every_scenario_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("tests/scenarios").map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "scenario"));
    files.sort();
    assert!(files.len() >= AT_LEAST, "{} scenarios", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a text");
        let short = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Err(found) = play(&text) {
            wrong.push(format!("{short}:{found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn a_scenario_that_expects_something_else_fails_with_its_line() {
    let story = "internet signed\nzone example.com. 192.0.2.1 signed\n    www.example.com. A 192.0.2.80\n\nask www.example.com. A\n    NOERROR";
    for (more, found) in [
        (" ad", None),
        ("", Some("6: AD true, wanted false")),
        (" ad\n    answer www.example.com. A 192.0.2.81", Some("7: answer")),
        (" ad\n    answer none", Some("7: answer")),
        (" ad\n    packets 1", Some("7: packets")),
        (" ad\n    not asked www.example.com. A", Some("7: asked")),
        (" ad\n    ede 6", Some("7: ede")),
    ] {
        let got = play(&format!("{story}{more}"));
        match (&got, found) {
            (Ok(()), None) => {}
            (Err(got), Some(wanted)) if got.starts_with(wanted) => {}
            _ => panic!("{more}: {got:?}"),
        }
    }
}

/// A line with its number, and the lines below it that are set in.
type Block<'a> = (usize, Vec<&'a str>, Vec<(usize, &'a str)>);

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or_default();
        match (line.trim().is_empty(), line.starts_with(' '), blocks.last_mut()) {
            (true, _, _) => {}
            (_, true, Some(block)) => block.2.push((number, line.trim())),
            _ => blocks.push((number, line.split_whitespace().collect(), vec![])),
        }
    }
    blocks
}

/// Seconds: `30d`, `4h`, `5m`, `10s`.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.trim_start_matches('+').split_at(text.trim_start_matches('+').len() - 1);
    let each = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => panic!("no such time: {text}"),
    };
    number.parse::<u64>().expect("a number") * each
}

type Change = Box<dyn FnOnce(&mut Recursion)>;

/// A world under construction.
#[derive(Default)]
struct World {
    internet: Internet,
    limits: Limits,
    recursion: Vec<Change>,
    forwards: Vec<resolve::ForwardZone>,
}

impl World {
    /// `zone NAME ADDR… [signed WORD…] [undelegated] [phase=N]`: a delegation in the zone above and the zone's own name server
    /// are added unless it is `undelegated`.
    fn zone(&mut self, words: &[&str], records: &[(usize, &str)]) {
        let signed = words.iter().position(|word| *word == "signed");
        let (head, signing) = words.split_at(signed.unwrap_or(words.len()));
        let phase =
            head.iter().find_map(|word| word.strip_prefix("phase=")).map_or(0, |n| n.parse().expect("a number"));
        let delegated = !head.contains(&"undelegated");
        let [name, rest @ ..] = head else { panic!("zone: a name") };
        let servers: Vec<&str> = rest.iter().copied().filter(|word| word.parse::<std::net::IpAddr>().is_ok()).collect();
        let mut own = records.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
        let mut cut = String::new();
        for (nth, addr) in servers.iter().enumerate() {
            let server = if *name == "." { format!("ns{nth}.root.") } else { format!("ns{nth}.{name}") };
            cut.push_str(&format!("\n{name} NS {server}\n{server} A {addr}"));
        }
        let mut internet = std::mem::take(&mut self.internet);
        if delegated {
            own.push_str(&cut);
            if phase == 0 {
                internet = internet.delegate(name, &cut);
            }
        }
        internet = internet.zone(name, &servers.join(" "), &own);
        if signed.is_some() {
            internet = internet.signed(name, &signing[1..].join(" "));
        }
        self.internet = internet.since(phase);
    }

    fn trust(&mut self, change: impl FnOnce(&mut Trust) + 'static) {
        self.internet = std::mem::take(&mut self.internet).trust(change);
    }

    fn recursion(&mut self, change: impl FnOnce(&mut Recursion) + 'static) {
        self.recursion.push(Box::new(change));
    }

    /// `option NAME VALUE`, as in the file.
    fn option(&mut self, words: &[&str]) {
        let [what, value @ ..] = words else { panic!("option: a name") };
        let on = value.first() == Some(&"yes");
        let number = || value.first().and_then(|n| n.parse::<u32>().ok()).unwrap_or_else(|| panic!("{what}: a number"));
        match *what {
            "val-permissive-mode" => self.trust(move |trust| trust.permissive = on),
            "ignore-cd-flag" => self.trust(move |trust| trust.ignore_cd = on),
            "harden-dnssec-stripped" => self.trust(move |trust| trust.harden_dnssec_stripped = on),
            "harden-algo-downgrade" => self.trust(move |trust| trust.rules.harden_algo_downgrade = on),
            "aggressive-nsec" => self.trust(move |trust| trust.aggressive_nsec = on),
            "val-clean-additional" => self.trust(move |trust| trust.clean_additional = on),
            "val-bogus-ttl" => {
                let ttl = number();
                self.trust(move |trust| trust.bogus_ttl_s = ttl);
            }
            "domain-insecure" => {
                let at = name(value.first().expect("a name"));
                self.trust(move |trust| {
                    trust.domain_insecure(at);
                });
            }
            "val-nsec3-keysize-iterations" => {
                let pairs =
                    value.chunks(2).map(|pair| (pair[0].parse().expect("bits"), pair[1].parse().expect("a limit")));
                let steps = dnssec::Iterations::new(pairs.collect()).expect("sizes that ascend");
                self.trust(move |trust| trust.rules.iterations = steps);
            }
            "qname-minimisation" => {
                let how = match value {
                    ["strict"] => Minimise::Strict,
                    ["yes"] => Minimise::Relaxed,
                    _ => Minimise::Off,
                };
                self.recursion(move |recursion| recursion.minimise = how);
            }
            "harden-glue" => self.recursion(move |recursion| recursion.harden_glue = on),
            "harden-referral-path" => self.recursion(move |recursion| recursion.harden_referral_path = on),
            "harden-below-nxdomain" => self.limits.harden_below_nxdomain = on,
            "serve-expired" => self.limits.serve_expired = on,
            "serve-expired-client-timeout" => self.limits.serve_expired_client_timeout_ms = u64::from(number()),
            "serve-expired-ttl" => self.limits.serve_expired_ttl_s = number(),
            "cache-max-negative-ttl" => self.limits.cache_max_negative_ttl = number(),
            "max-global-quota" => self.limits.max_global_quota = number(),
            _ => panic!("no such option: {what}"),
        }
    }

    /// One line of what comes before the first question; false if it is none of these.
    fn build(&mut self, words: &[&str], below: &[(usize, &str)]) -> bool {
        let mut internet = std::mem::take(&mut self.internet);
        internet = match words {
            ["internet", "signed"] => signed_internet(),
            ["internet", "unsigned"] => crate::internet::internet(),
            ["flaw", zone, owner, of, flaw @ ..] => internet.flaw(zone, &format!("{owner} {of}"), &flaw.join(" ")),
            ["more", zone] => internet.more(zone, &below.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n")),
            ["forwarder", addr] => internet.forwarder(addr),
            ["recursor", addr] => internet.recursor(addr),
            ["stub", at, addrs @ ..] => {
                let zone = stub(at, &addrs.join(" "));
                self.recursion(move |recursion| {
                    recursion.stub(zone);
                });
                internet
            }
            ["forward", at, addrs @ ..] => {
                let last = |addr: &&str| addr.rsplit('.').next().and_then(|n| n.parse().ok()).expect("192.0.2.n");
                self.forwards.push(zone(at, &addrs.iter().map(last).collect::<Vec<u8>>()));
                internet
            }
            _ => {
                self.internet = internet;
                match words {
                    ["zone", words @ ..] => self.zone(words, below),
                    ["option", words @ ..] => self.option(words),
                    _ => return false,
                }
                return true;
            }
        };
        self.internet = internet;
        true
    }

    fn start(self) -> FakeNet {
        let World { internet, limits, recursion, forwards } = self;
        internet.build(
            limits,
            |base| {
                base.minimise = Minimise::Off;
                recursion.into_iter().for_each(|change| change(base));
            },
            |table| {
                for zone in forwards {
                    table.zone(zone);
                }
            },
        )
    }
}

/// What servers do from now on; false if the line is something else.
fn order(orders: &Rc<RefCell<Orders>>, words: &[&str], below: &[(usize, &str)]) -> bool {
    let mut orders = orders.borrow_mut();
    let addr = |text: &str| text.parse().expect("an address");
    match words {
        ["lie", server, owner, of] => {
            let lines: Vec<&str> = below.iter().map(|(_, line)| *line).collect();
            orders.lie(server, &format!("{owner} {of}"), &lines.join("\n"));
        }
        ["truth", server, owner, of] => {
            orders.lies.remove(&(addr(server), name(owner).lower(), rtype(of)));
        }
        ["strips", server] => orders.strippers.push(addr(server)),
        ["silent", server] => orders.silent.push(addr(server)),
        ["broken", server, code] => {
            orders.broken.insert(addr(server), code.parse().unwrap_or_else(|_| panic!("no such code: {code}")));
        }
        ["heals", server] => {
            let server = addr(server);
            orders.strippers.retain(|other| *other != server);
            orders.silent.retain(|other| *other != server);
            orders.broken.remove(&server);
        }
        ["phase", phase] => orders.phase = phase.parse().expect("a number"),
        _ => return false,
    }
    true
}

/// Plays a story; what went otherwise, with its line.
fn play(text: &str) -> Result<(), String> {
    let mut world = World::default();
    let mut net: Option<FakeNet> = None;
    let mut orders = world.internet.orders();
    for (number, words, below) in blocks(text) {
        if net.is_none() && world.build(&words, &below) {
            orders = world.internet.orders();
            continue;
        }
        if order(&orders, &words, &below) {
            continue;
        }
        let net = net.get_or_insert_with(|| std::mem::take(&mut world).start());
        match words.as_slice() {
            ["ask", owner, of, how @ ..] => ask(net, owner, of, how, &below)?,
            ["time", step] => net.now += seconds(step) * 1000,
            ["nta", at, "off"] => {
                let trust = net.forwards.trust().expect("trust");
                trust.live().revoke(name(at).as_ref());
            }
            ["nta", at, time] => {
                let date = BEGIN_S + (net.now - 1_000_000) / 1000;
                let (name, until) = (name(at), date + seconds(time));
                let nta = Nta { name, since: date, until, recheck_s: 0, reason: String::new() };
                net.forwards.trust().expect("trust").live().excuse(nta).expect("a negative trust anchor");
            }
            _ => return Err(format!("{number}: no such line: {}", words.join(" "))),
        }
    }
    Ok(())
}

fn ask(net: &mut FakeNet, owner: &str, of: &str, how: &[&str], wanted: &[(usize, &str)]) -> Result<(), String> {
    let before = net.sent.len();
    let mut asked = Question { cd: how.contains(&"cd"), ..question(owner, rtype(of)) };
    asked.rd = !how.contains(&"rd=0");
    let told = net.resolve_as(asked);
    let sent: Vec<String> = net.sent[before..]
        .iter()
        .map(|asked| format!("{} {} @{}", asked.name(), asked.query.qtype, asked.server.ip()))
        .collect();
    let lines = |what: &str| -> Vec<(usize, String)> {
        let of = wanted.iter().filter_map(|(number, line)| Some((*number, line.strip_prefix(what)?)));
        of.filter(|(_, rest)| rest.starts_with(' ')).map(|(number, rest)| (number, rest.trim().to_owned())).collect()
    };
    let answers = lines("answer");
    if let Some((number, first)) = answers.first() {
        let mut wanted: Vec<String> =
            answers.iter().map(|(_, line)| line.clone()).filter(|line| line != "none").collect();
        let timed = first.split_whitespace().nth(1).is_some_and(|word| word.parse::<u32>().is_ok());
        let mut got: Vec<String> = told.answer.answer.iter().flat_map(|set| records(set, timed)).collect();
        wanted.sort();
        got.sort();
        if got != wanted {
            return Err(format!("{number}: answer {got:?}, wanted {wanted:?}; asked {sent:?}"));
        }
    }
    for (number, line) in wanted {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fault = match words.as_slice() {
            ["answer", ..] => None,
            ["authority", owner, of] => {
                let there = told.answer.authority.iter().any(|set| set.owner == name(owner) && set.rtype == rtype(of));
                (!there).then(|| format!("authority {:?}", shown(&told.answer.authority)))
            }
            ["ede", code] => {
                let got = told.answer.ede.as_ref().map(|ede| ede.code.to_string()).unwrap_or_else(|| "none".into());
                (got != *code).then(|| format!("ede {:?}", told.answer.ede))
            }
            ["packets", "<=", most] => {
                (sent.len() > most.parse().expect("a number")).then(|| format!("packets {} {sent:?}", sent.len()))
            }
            ["packets", count] => (sent.len() != count.parse::<usize>().expect("a number"))
                .then(|| format!("packets {} {sent:?}", sent.len())),
            ["asked", owner, of, server] => {
                (!sent.contains(&format!("{owner} {of} {server}"))).then(|| format!("asked {sent:?}"))
            }
            ["not", "asked", server] => {
                sent.iter().any(|line| line.ends_with(server)).then(|| format!("asked {sent:?}"))
            }
            ["not", "asked", owner, of] => {
                let line = format!("{owner} {of} ");
                sent.iter().any(|sent| sent.starts_with(&line)).then(|| format!("asked {sent:?}"))
            }
            [code] | [code, "ad"] => {
                let wanted: Rcode = code.parse().map_err(|_| format!("{number}: no such line: {line}"))?;
                let ad = words.len() == 2;
                match (told.answer.rcode == wanted, told.answer.ad == ad) {
                    (false, _) => Some(format!("{} {:?} {sent:?}", told.answer.rcode, told.why)),
                    (true, false) => Some(format!("AD {}, wanted {ad}; asked {sent:?}", told.answer.ad)),
                    (true, true) => None,
                }
            }
            _ => return Err(format!("{number}: no such line: {line}")),
        };
        if let Some(fault) = fault {
            return Err(format!("{number}: {fault}"));
        }
    }
    Ok(())
}

/// The records of a set as text, with their TTL if that counts.
fn records(set: &Rrset, timed: bool) -> Vec<String> {
    let ttl = if timed { format!("{} ", set.ttl) } else { String::new() };
    let data = |rdata: &[u8]| wire::rdata_to_text(set.rtype, rdata);
    set.rdata.iter().map(|rdata| format!("{} {ttl}{} {}", set.owner, set.rtype, data(rdata))).collect()
}
