//! Why a question failed: for the client as an extended error (RFC 8914), for the log in Unbound's words.
//!
//! It owns texts and codes. It decides nothing.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use dnssec::Reason;
use store::Key;
use wire::{Answer, Ede, Name, Rcode, Rtype};

use crate::validate::{Cause, Why};

/// What went wrong with one try at one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing came in time.
    Silent,
    /// The system could not send or receive.
    Unreachable(ErrorKind),
    /// What came is no DNS reply.
    Malformed,
    /// What came does not answer the question.
    WrongQuestion,
    /// Replies came, but to no packet of ours.
    WrongId,
    /// It does not keep the case of the question.
    WrongCase,
    /// It came over TCP and was truncated all the same.
    Truncated,
    /// It says neither what was asked nor who knows more.
    NoAnswer,
    /// It does not serve the zone, though it is named as one of its servers.
    Lame,
    /// It leaves signatures out, and the zone is signed.
    Unsigned,
    /// A response code that is no answer.
    Said(Rcode),
}

impl Fault {
    /// The extended error that tells the kind.
    fn code(self) -> u16 {
        match self {
            Fault::Unsigned => Ede::RRSIGS_MISSING,
            Fault::Silent | Fault::Lame | Fault::Said(_) => Ede::NO_REACHABLE_AUTHORITY,
            Fault::Unreachable(_) => Ede::NETWORK_ERROR,
            Fault::Malformed
            | Fault::WrongQuestion
            | Fault::WrongId
            | Fault::WrongCase
            | Fault::NoAnswer
            | Fault::Truncated => Ede::INVALID_DATA,
        }
    }
}

impl Fault {
    /// As Unbound logs it, after what `all` says of the zone's servers.
    fn why(self, all: &str, zone: &Name, server: SocketAddr) -> String {
        let from = Ip(server.ip());
        match self {
            Fault::Silent => format!("{all} {zone} upstream server timeout"),
            Fault::Unreachable(kind) => format!("{all} {zone} from {from} {kind}"),
            Fault::Malformed => format!("{all} {zone} from {from} could not parse upstream response"),
            Fault::WrongQuestion | Fault::WrongId | Fault::WrongCase | Fault::NoAnswer => {
                format!("{all} {zone} from {from} upstream response failed scrub")
            }
            Fault::Truncated => format!("{all} {zone} from {from} answered truncated over TCP"),
            Fault::Lame => format!("{all} {zone} from {from} is lame"),
            Fault::Unsigned => format!("{all} {zone} from {from} is DNSSEC lame"),
            Fault::Said(rcode) => format!("{all} {zone} from {from} got {}", Code(rcode)),
        }
    }
}

/// Why a question got SERVFAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No forward zone encloses the name.
    NotForwarded,
    /// The zone has no server that may be asked.
    NoServers(Name),
    /// Every authoritative server of this zone failed; this is how the last one did.
    Authorities(Name, SocketAddr, Fault),
    /// The NS records of this zone could not be had from the servers that are configured for it.
    Unprimed(Name),
    /// No address is to be had for any of the servers of this zone.
    NoAddresses(Name),
    /// More work than one question may make: Unbound's word for what was exceeded, and the name it stopped at.
    TooMuch(&'static str, Name),
    /// The zone's servers have not answered in the time clients wait; this one was asked last and did that, or has not
    /// answered yet.
    LateZone(Name, SocketAddr, Option<Fault>),
    /// Every server failed as often as it may; this is how the last one did.
    AllFailed(Name, SocketAddr, Fault),
    /// Time was up; this is how the last server had failed.
    TimeUp(Name, SocketAddr, Fault),
    /// Time was up before a server of this zone, to which a link led, could be asked.
    OutOfTime(Name),
    /// Every server of the zone has been silent for long; this one for so many milliseconds.
    Down(Name, SocketAddr, u64),
    /// The client has waited as long as clients wait; this server did that, or (`None`) has not answered yet.
    Late(Name, SocketAddr, Option<Fault>),
    /// The forwarders of a zone with `forward-first` failed, and there is no zone above to go on with.
    NoneAbove(Name, SocketAddr, Fault),
    /// Validation has found the answer to be bogus: the extended error, and what Unbound logs.
    Bogus(Ede, String),
    /// To prove the answer would take more work than a question may cause.
    OverBudget,
    /// A newer question took its place.
    Jostled,
    /// Too many links, or links in a circle; this is where it stopped.
    TooManyLinks(Name),
    /// A link leads to a name that failed a moment ago.
    RecentlyFailed,
    /// Too many questions are in progress.
    Busy,
    /// The client asked for no recursion, and the cache did not know.
    NoRecursion,
}

impl Failure {
    /// An answer that is bogus: why, as far as that is known still, and what was remembered of it.
    pub(crate) fn bogus(key: &Key, why: Option<&Why>, remembered: Option<&Ede>) -> Failure {
        let ede = why.map(Why::ede).or_else(|| remembered.cloned());
        let ede = ede.unwrap_or(Ede::new(Ede::DNSSEC_BOGUS, ""));
        let Key { name, qtype, qclass, .. } = key;
        let text = format!("validation failure <{name} {qtype} {qclass}>: {}", ede.text);
        Failure::Bogus(ede, text)
    }

    /// The answer for the client.
    pub(crate) fn answer(&self) -> Answer {
        Answer { ede: Some(self.ede()), ..Answer::new(Rcode::SERVFAIL) }
    }

    /// Whether it is worth remembering (RFC 9520): whatever cost packets or steps to find out. That a chain is broken is
    /// remembered as bogus, and keeps nothing from who checks for himself (RFC 4035 3.2.2).
    pub(crate) fn lasts(&self) -> bool {
        !matches!(
            self,
            Failure::NotForwarded
                | Failure::NoServers(_)
                | Failure::RecentlyFailed
                | Failure::Down(..)
                | Failure::Late(..)
                | Failure::LateZone(..)
                | Failure::Jostled
                | Failure::Busy
                | Failure::NoRecursion
        )
    }

    /// Whether the question itself was too much, whatever it was led to in the end.
    pub(crate) fn is_of_the_question(&self) -> bool {
        matches!(self, Failure::TooMuch(..) | Failure::TooManyLinks(_) | Failure::OverBudget | Failure::OutOfTime(_))
    }

    /// Whether the last server could not even be reached: such a failure costs nothing to find again.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Failure::AllFailed(_, _, Fault::Unreachable(_))
                | Failure::Authorities(_, _, Fault::Unreachable(_))
                | Failure::TimeUp(_, _, Fault::Unreachable(_))
                | Failure::NoneAbove(_, _, Fault::Unreachable(_))
        )
    }

    /// The extended error.
    pub(crate) fn ede(&self) -> Ede {
        match self {
            Failure::NotForwarded => Ede::new(
                Ede::NO_REACHABLE_AUTHORITY,
                "no forward zone covers this name and recursion is not built in yet",
            ),
            Failure::Authorities(zone, server, fault) => {
                let text = format!("{} {fault}, the last of the servers of {zone} to fail", Ip(server.ip()));
                ede(fault.code(), text)
            }
            Failure::Unprimed(zone) => {
                ede(Ede::NO_REACHABLE_AUTHORITY, format!("no server configured for {zone} told the zone's NS records"))
            }
            Failure::NoAddresses(zone) => {
                ede(Ede::NO_REACHABLE_AUTHORITY, format!("no address is known of any server of {zone}"))
            }
            Failure::TooMuch(what, name) => ede(Ede::OTHER, format!("given up at {name}: the question {what}")),
            Failure::LateZone(zone, server, Some(fault)) => {
                let text = format!("{} {fault}; {zone} has not answered in time", Ip(server.ip()));
                ede(fault.code(), text)
            }
            Failure::LateZone(zone, server, None) => {
                let text = format!("{} did not answer in the time clients wait; zone {zone}", Ip(server.ip()));
                ede(Ede::NO_REACHABLE_AUTHORITY, text)
            }
            Failure::NoServers(zone) => ede(
                Ede::NO_REACHABLE_AUTHORITY,
                format!("none of the servers of forward zone {zone} may be asked (do-not-query)"),
            ),
            Failure::AllFailed(zone, server, fault) | Failure::TimeUp(zone, server, fault) => {
                // The server first: a long zone name may push the rest beyond what is sent.
                let text =
                    format!("{} {fault}, the last of the servers of forward zone {zone} to fail", Ip(server.ip()));
                ede(fault.code(), text)
            }
            Failure::Late(zone, server, Some(fault)) => {
                let text = format!("{} {fault}; forward zone {zone} has not answered in time", Ip(server.ip()));
                ede(fault.code(), text)
            }
            Failure::Late(zone, server, None) => {
                let text = format!("{} did not answer in the time clients wait; forward zone {zone}", Ip(server.ip()));
                ede(Ede::NO_REACHABLE_AUTHORITY, text)
            }
            Failure::Down(zone, server, ms) => {
                let text =
                    format!("{} did not answer for {} s, nor other servers of {zone}", Ip(server.ip()), ms / 1000);
                ede(Ede::NO_REACHABLE_AUTHORITY, text)
            }
            Failure::NoneAbove(zone, server, fault) => {
                let text = format!(
                    "{} {fault}; forward-first of {zone}: no zone above, and recursion is not built in yet",
                    Ip(server.ip())
                );
                ede(fault.code(), text)
            }
            Failure::Bogus(ede, _) => ede.clone(),
            Failure::OverBudget => Ede::new(Ede::DNSSEC_INDETERMINATE, Reason::OverBudget.text()),
            Failure::Jostled => {
                Ede::new(Ede::OTHER, "a newer question took its place (num-queries-per-thread, outgoing-range)")
            }
            Failure::OutOfTime(zone) => {
                ede(Ede::OTHER, format!("time was up before the servers of forward zone {zone} could be asked"))
            }
            Failure::TooManyLinks(_) => Ede::new(Ede::OTHER, "too many CNAME or DNAME links, or a circle of them"),
            Failure::RecentlyFailed => Ede::new(Ede::CACHED_ERROR, "the name the CNAME leads to failed a moment ago"),
            Failure::Busy => Ede::new(Ede::OTHER, "too many questions are in progress (num-queries-per-thread)"),
            Failure::NoRecursion => {
                Ede::new(Ede::OTHER, "not in the cache, and the query asked for no recursion (RD=0)")
            }
        }
    }

    /// What Unbound logs after `SERVFAIL <name type class>: ` (`log-servfail`).
    pub(crate) fn why(&self) -> String {
        const ALL: &str = "all the configured stub or forward servers failed, at zone";
        const DOMAIN: &str = "all servers for this domain failed, at zone";
        match self {
            Failure::Authorities(zone, server, fault) | Failure::LateZone(zone, server, Some(fault)) => {
                fault.why(DOMAIN, zone, *server)
            }
            Failure::LateZone(zone, _, None) => format!("{DOMAIN} {zone} upstream server timeout"),
            Failure::Unprimed(zone) => format!("could not prime {zone}: no NS records"),
            Failure::NoAddresses(zone) => {
                format!("{DOMAIN} {zone} no server to query no addresses for nameservers")
            }
            Failure::TooMuch(what, name) => format!("request has {what} stop at {name}"),
            Failure::NotForwarded => "no forward zone covers this name, and recursion is off".into(),
            Failure::NoServers(zone) => {
                format!("{ALL} {zone} no server to query nameserver addresses not usable have no nameserver names")
            }
            Failure::Down(zone, ..) | Failure::Late(zone, _, None) => format!("{ALL} {zone} upstream server timeout"),
            Failure::Bogus(_, why) => why.clone(),
            Failure::OverBudget => Reason::OverBudget.text().into(),
            Failure::Jostled => "a newer question took its place (jostle-timeout)".into(),
            Failure::AllFailed(zone, server, fault)
            | Failure::TimeUp(zone, server, fault)
            | Failure::NoneAbove(zone, server, fault)
            | Failure::Late(zone, server, Some(fault)) => fault.why(ALL, zone, *server),
            Failure::OutOfTime(zone) => format!("time was up before the servers of zone {zone} could be asked"),
            Failure::TooManyLinks(stop) => {
                format!("request has exceeded the maximum number restarts (eg. indirections) stop at {stop}")
            }
            Failure::RecentlyFailed => "SERVFAIL in cache".into(),
            Failure::Busy => "too many questions are in progress (num-queries-per-thread)".into(),
            Failure::NoRecursion => "cannot forward RD=0 query".into(),
        }
    }
}

/// Why an answer is bogus, in the words that Unbound logs after `validation failure <name type class>: ` (`val-log-level: 2`).
/// `from` is who said it.
pub(crate) fn validation(why: &Why, asked: &Key, from: Option<SocketAddr>) -> String {
    let mut text = match why.cause {
        Cause::Reason(reason) | Cause::Denial(reason) => unbounds(reason, why.chain.is_some()).to_owned(),
        Cause::Unfetched if why.rtype == Rtype::DNSKEY => "No DNSKEY record".to_owned(),
        Cause::Unfetched => "no DS record".to_owned(),
    };
    if let Some(from) = from {
        text += &format!(" from {}", Ip(from.ip()));
    }
    match &why.chain {
        Some((zone, Rtype::DNSKEY)) => text += &format!(" for key {zone} while building chain of trust"),
        Some((name, _)) => text += &format!(" for DS {name} while building chain of trust"),
        None if why.name != asked.name || why.rtype != asked.qtype => {
            text += &format!(" for <{} {} {}>", why.name, why.rtype, asked.qclass);
        }
        None => {}
    }
    text
}

/// Unbound's words for a reason, where it has such.
fn unbounds(reason: Reason, chain: bool) -> &'static str {
    match reason {
        Reason::NoSignature => "no signatures",
        Reason::MalformedSignature => "signature too short, no signature data",
        Reason::WrongSigner => "signer name mismatches key name",
        Reason::BadLabels => "signature labelcount out of range",
        Reason::ExpiredBeforeValid => "signature inception after expiration",
        Reason::Expired => "signature expired",
        Reason::NotYetValid => "signature before inception date",
        Reason::NoMatchingKey if chain => "signature missing",
        Reason::NoMatchingKey => "signatures from unknown keys",
        Reason::NoZoneKeyBit => "dnskey without ZSK flag",
        Reason::BadSignature => "signature crypto failed",
        Reason::TooManyAttempts => "too many RRSIG validations",
        Reason::NoKeys => "No DNSKEY record",
        Reason::NoKeyForDs => "DS hash mismatches key",
        Reason::NoDenial if chain => "no DNSSEC records",
        Reason::NoDenial => "proof failed",
        other => other.text(),
    }
}

fn ede(code: u16, text: String) -> Ede {
    Ede { code, text: text.into() }
}

/// As it reads after the server's address.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Silent => f.write_str("did not answer"),
            // The driver's word for it: all places for streams to servers are taken.
            Fault::Unreachable(ErrorKind::ResourceBusy) => {
                f.write_str("was not asked: no TCP connection free (outgoing-num-tcp)")
            }
            Fault::Unreachable(ErrorKind::QuotaExceeded) => {
                f.write_str("was not asked: no socket free (outgoing-range)")
            }
            Fault::Unreachable(kind) => write!(f, "could not be reached ({kind})"),
            Fault::Malformed => f.write_str("sent a malformed reply"),
            Fault::WrongQuestion => f.write_str("answered another question"),
            Fault::WrongId => f.write_str("sent replies with wrong ids"),
            Fault::WrongCase => f.write_str("did not keep the case of the question (use-caps-for-id)"),
            Fault::NoAnswer => f.write_str("sent neither an answer nor a referral"),
            Fault::Lame => f.write_str("does not serve the zone"),
            Fault::Unsigned => f.write_str("left the signatures of a signed zone out"),
            Fault::Truncated => f.write_str("answered truncated over TCP"),
            Fault::Said(rcode) => write!(f, "answered {}", Code(*rcode)),
        }
    }
}

/// An address, an IPv4 one never in its IPv6 dress.
struct Ip(IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_canonical().fmt(f)
    }
}

/// A response code as Unbound's log writes it.
struct Code(Rcode);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Rcode::NOTIMP => f.write_str("NOTIMPL"),
            Rcode(code @ 11..) => write!(f, "RCODE{code}"),
            rcode => rcode.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::Class;

    use super::*;

    #[test]
    fn val_log_level_2_speaks_as_unbound_does() {
        let name = |text: &str| Name::from_text(text).expect("a name");
        let asked = Key { name: name("www.broken."), qtype: Rtype::A, qclass: Class::IN, cd: false };
        let from = Some("127.0.0.21:53".parse().expect("an address"));
        let of = |reason, at: &str, rtype, chain: bool| {
            let chain = chain.then(|| (name(at), rtype));
            validation(&Why { cause: Cause::Reason(reason), name: name(at), rtype, chain }, &asked, from)
        };
        assert_eq!(
            [
                of(Reason::BadSignature, "www.broken.", Rtype::A, false),
                of(Reason::BadSignature, "broken.", Rtype::SOA, false),
                of(Reason::Expired, "broken.", Rtype::DNSKEY, true),
                of(Reason::NoDenial, "www.broken.", Rtype::DS, true),
            ],
            [
                "signature crypto failed from 127.0.0.21",
                "signature crypto failed from 127.0.0.21 for <broken. SOA IN>",
                "signature expired from 127.0.0.21 for key broken. while building chain of trust",
                "no DNSSEC records from 127.0.0.21 for DS www.broken. while building chain of trust",
            ]
        );
    }

    fn failed(fault: Fault) -> Failure {
        Failure::AllFailed(
            Name::from_text("tst.").expect("a name"),
            "127.0.0.21:53".parse().expect("an address"),
            fault,
        )
    }

    #[test]
    fn log_servfail_speaks_as_unbound_does() {
        let all = "all the configured stub or forward servers failed, at zone tst.";
        for (fault, rest) in [
            (Fault::Said(Rcode::SERVFAIL), "from 127.0.0.21 got SERVFAIL"),
            (Fault::Said(Rcode::NOTIMP), "from 127.0.0.21 got NOTIMPL"),
            (Fault::Said(Rcode::NOTAUTH), "from 127.0.0.21 got NOTAUTH"),
            (Fault::Said(Rcode(11)), "from 127.0.0.21 got RCODE11"),
            (Fault::Malformed, "from 127.0.0.21 could not parse upstream response"),
            (Fault::WrongQuestion, "from 127.0.0.21 upstream response failed scrub"),
            (Fault::Silent, "upstream server timeout"),
        ] {
            assert_eq!(failed(fault).why(), format!("{all} {rest}"));
        }
        let stop = Failure::TooManyLinks(Name::from_text("loop.tst.").expect("a name"));
        assert_eq!(stop.why(), "request has exceeded the maximum number restarts (eg. indirections) stop at loop.tst.");
    }

    #[test]
    fn rfc8914_codes_tell_the_kind_and_the_text_names_server_and_cause() {
        let refused = failed(Fault::Unreachable(ErrorKind::ConnectionRefused)).ede();
        assert_eq!(refused.code, Ede::NETWORK_ERROR);
        assert!(refused.text.starts_with("127.0.0.21 could not be reached (connection refused)"), "{}", refused.text);
        assert_eq!(failed(Fault::Silent).ede().code, Ede::NO_REACHABLE_AUTHORITY);
        assert_eq!(failed(Fault::Malformed).ede().code, Ede::INVALID_DATA);
    }
}
