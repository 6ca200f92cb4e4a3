//! Plays configurations and questions whose outcome was observed on Unbound 1.17.1.
//!
//! A file in `tests/unbound` has a few statements and then a line for each question:
//! `qname type class = outcome [@ zone kind]`, the outcome being `pass`, `drop`, `alias <cname>` or
//! `RCODE [AA] | answer | authority`, and the zone the one that `log-local-actions` named. Every record, TTL, order and
//! flag must be the same here.

use std::net::{IpAddr, Ipv4Addr};

use policy::{Chaos, Decision, Defaults, LocalZonesBuilder, Origin, Policy, Verdict};
use wire::{Answer, NameBuf, Query, Rrset, parse_record};

/// A record as compared: owner, TTL, class, type and data. Case is not compared: names that Unbound compresses against
/// the question take on the question's case, in data as well.
type Flat = (wire::Name, u32, u16, u16, Vec<u8>);

fn flat(section: &[Rrset]) -> Vec<Flat> {
    let one = |set: &Rrset| -> Vec<Flat> {
        set.rdata
            .iter()
            .map(|data| (set.owner.clone(), set.ttl, set.class.0, set.rtype.0, data.to_ascii_lowercase()))
            .collect()
    };
    section.iter().flat_map(one).collect()
}

fn parse_section(text: &str) -> Vec<Flat> {
    let one = |text: &str| -> Flat {
        let r = parse_record(text.trim(), 0).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        (r.owner, r.ttl.unwrap(), r.class.0, r.rtype.0, r.rdata.to_ascii_lowercase())
    };
    if text.trim() == "-" { Vec::new() } else { text.split(" ; ").map(one).collect() }
}

/// What the policy said, if it is not what Unbound did.
fn differs(expected: &str, decision: &Decision<'_>) -> Option<String> {
    let (expected, zone) = expected.split_once(" @ ").unwrap_or((expected, ""));
    let met = decision.log.map(|hit| format!("{} {}", hit.zone, hit.kind)).unwrap_or_default();
    let same = match &decision.verdict {
        Verdict::Pass => expected == "pass",
        Verdict::Drop => expected == "drop",
        Verdict::Alias { answer, .. } => {
            expected.strip_prefix("alias ").is_some_and(|text| parse_section(text) == flat(answer))
        }
        Verdict::Answer(answer) => match expected.split('|').map(str::trim).collect::<Vec<_>>().as_slice() {
            [head, records, authority] => {
                *head == head_of(answer)
                    && parse_section(records) == flat(&answer.answer)
                    && parse_section(authority) == flat(&answer.authority)
                    && answer.additional.is_empty()
                    && answer.ede.is_none()
                    && !answer.ad
            }
            _ => false,
        },
    };
    (!same || zone != met).then(|| format!("{:?} @ {met}", decision.verdict))
}

fn head_of(answer: &Answer) -> String {
    format!("{}{}", answer.rcode, if answer.aa { " AA" } else { "" })
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text.trim_matches(quote),
        _ => text,
    }
}

fn play(file: &str) {
    let text = std::fs::read_to_string(format!("{}/tests/unbound/{file}.txt", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut zones = LocalZonesBuilder::new();
    let mut defaults = Defaults::default();
    let mut policy = Policy {
        chaos: Chaos {
            identity: Some(String::new()),
            version: Some(String::new()),
            trust_anchors: Some(policy::Texts::new(Vec::new)),
        },
        ..Policy::default()
    };
    let mut facts = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((question, outcome)) = line.split_once(" = ") {
            facts.push((question, outcome));
            continue;
        }
        let (option, value) = line.split_once(':').unwrap();
        let at = Origin::default();
        match option {
            "local-zone" => {
                let (name, kind) = value.trim().rsplit_once(' ').unwrap();
                zones.zone(unquote(name), kind, at).unwrap();
            }
            "local-data" => zones.data(unquote(value), at).unwrap(),
            "local-data-ptr" => zones.data_ptr(unquote(value), at).unwrap(),
            "unblock-lan-zones" => defaults.unblock_lan_zones = true,
            "deny-any" => policy.deny_any = true,
            "identity" => policy.chaos.identity = Some(unquote(value).to_owned()),
            "version" => policy.chaos.version = Some(unquote(value).to_owned()),
            "hide-identity" => policy.chaos.identity = None,
            "hide-version" => policy.chaos.version = None,
            "hide-trustanchor" => policy.chaos.trust_anchors = None,
            other => panic!("{other}"),
        }
    }
    assert!(!facts.is_empty());
    policy.local = zones.build(defaults).0;

    let mut wrong = Vec::new();
    for (question, expected) in &facts {
        let words: Vec<&str> = question.split(' ').collect();
        let query = Query {
            id: 1,
            flags: 0x0100,
            qname: NameBuf::from_text(words[0]).unwrap(),
            qtype: words[1].parse().unwrap(),
            qclass: words[2].parse().unwrap(),
            edns: None,
        };
        let decision = policy.decide(&query, IpAddr::V4(Ipv4Addr::LOCALHOST));
        if let Some(ours) = differs(expected, &decision) {
            wrong.push(format!("{question}\n  Unbound: {expected}\n  here:    {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), facts.len(), wrong.join("\n"));
}

macro_rules! observed {
    ($($name:ident),* $(,)?) => { $( #[test] fn $name() { play(&stringify!($name).trim_end_matches("_zone")); } )* };
}

observed!(
    static_zone,
    deny,
    refuse,
    redirect,
    transparent,
    typetransparent,
    inform,
    inform_deny,
    inform_redirect,
    always_transparent,
    always_refuse,
    always_nxdomain,
    always_nodata,
    always_deny,
    always_null,
    noview,
    redirect_alias,
    records,
    defaults,
    unblock_lan_zones,
    overrides,
    nested,
    implicit_one,
    implicit_siblings,
    implicit_root,
    root_zones,
    chaos,
    chaos_hidden,
    chaos_data,
    deny_any,
    classes,
    classes_last,
    added_to_defaults,
    below_defaults,
    random_1,
    random_2,
    random_3,
    random_4,
    random_5,
    random_6,
);
