//! What Unbound 1.17.1 does not have: newer zone types, and default zones for names that were reserved since.

use std::net::{IpAddr, Ipv4Addr};

use policy::{Acl, Chaos, Defaults, LocalZones, LocalZonesBuilder, Origin, Policy, Severity, Verdict};
use wire::{Class, Name, NameBuf, Query, Rtype, rdata_to_text};

fn build(zones: &[(&str, &str)], data: &[&str], defaults: Defaults) -> LocalZones {
    let mut builder = LocalZonesBuilder::new();
    for (name, kind) in zones {
        builder.zone(name, kind, Origin::default()).unwrap();
    }
    for record in data {
        builder.data(record, Origin::default()).unwrap();
    }
    let (zones, problems) = builder.build(defaults);
    assert!(problems.iter().all(|p| p.severity == Severity::Warning), "{problems:?}");
    zones
}

fn query(qname: &str, qtype: Rtype, qclass: Class) -> Query {
    Query { id: 7, flags: 0x0100, qname: NameBuf::from_text(qname).unwrap(), qtype, qclass, edns: None }
}

/// The verdict in short: `pass`, `drop`, or code, data and `SOA` if there is one.
fn ask(zones: &LocalZones, qname: &str, qtype: Rtype) -> String {
    match zones.decide(&query(qname, qtype, Class::IN)).map(|(verdict, _)| verdict) {
        None | Some(Verdict::Pass) => "pass".to_owned(),
        Some(Verdict::Drop) => "drop".to_owned(),
        Some(Verdict::Alias { target, .. }) => format!("alias {target}"),
        Some(Verdict::Answer(answer)) => {
            assert!(answer.aa);
            let mut text = answer.rcode.to_string();
            for set in &answer.answer {
                for data in set.rdata.iter() {
                    text += &format!(" {} {}", set.ttl, rdata_to_text(set.rtype, data));
                }
            }
            for set in &answer.authority {
                text += &format!(" {} {}", set.rtype, set.ttl);
            }
            text
        }
    }
}

#[test]
fn block_a_and_block_aaaa_look_past_local_data() {
    let zones = build(
        &[("a", "block_a"), ("aaaa", "block_aaaa")],
        &["d.a A 192.0.2.1", "d.a AAAA ::1", "a SOA a. b. 1 2 3 4 5", "d.aaaa A 192.0.2.1", "d.aaaa AAAA ::1"],
        Defaults::default(),
    );
    for name in ["a.", "x.a.", "d.a."] {
        assert_eq!(ask(&zones, name, Rtype::A), "NOERROR");
        assert_eq!(ask(&zones, name, Rtype::AAAA), "pass");
        assert_eq!(ask(&zones, name, Rtype::TXT), "pass");
    }
    for name in ["aaaa.", "x.aaaa.", "d.aaaa."] {
        assert_eq!(ask(&zones, name, Rtype::AAAA), "NOERROR");
        assert_eq!(ask(&zones, name, Rtype::A), "pass");
        assert_eq!(ask(&zones, name, Rtype::ANY), "pass");
    }
}

#[test]
fn block_wdata_answers_local_data_first() {
    let data =
        ["d.a 60 A 192.0.2.1", "v6.a 60 AAAA ::1", "c.a 60 CNAME x.", "d.aaaa 60 A 192.0.2.1", "v6.aaaa 60 AAAA ::1"];
    let zones = build(&[("a", "block_a_wdata"), ("aaaa", "block_aaaa_wdata")], &data, Defaults::default());
    for (name, qtype, outcome) in [
        ("d.a.", Rtype::A, "NOERROR 60 192.0.2.1"),
        ("d.a.", Rtype::AAAA, "pass"),
        ("v6.a.", Rtype::A, "NOERROR"),
        ("v6.a.", Rtype::AAAA, "NOERROR 60 ::1"),
        ("c.a.", Rtype::A, "NOERROR 60 x."),
        ("x.a.", Rtype::A, "NOERROR"),
        ("x.a.", Rtype::AAAA, "pass"),
        ("d.aaaa.", Rtype::A, "NOERROR 60 192.0.2.1"),
        ("d.aaaa.", Rtype::AAAA, "NOERROR"),
        ("v6.aaaa.", Rtype::AAAA, "NOERROR 60 ::1"),
        ("x.aaaa.", Rtype::AAAA, "NOERROR"),
        ("x.aaaa.", Rtype::MX, "pass"),
    ] {
        assert_eq!(ask(&zones, name, qtype), outcome, "{name} {qtype}");
    }
}

#[test]
fn names_reserved_since_are_answered_locally() {
    let zones = build(&[], &[], Defaults::default());
    for (name, qtype, outcome) in [
        ("alt.", Rtype::A, "NOERROR SOA 10800"),             // RFC 9476
        ("x.alt.", Rtype::A, "NXDOMAIN SOA 10800"),          //
        ("x.internal.", Rtype::A, "NXDOMAIN SOA 10800"),     // ICANN, 2024
        ("x.service.arpa.", Rtype::A, "NXDOMAIN SOA 10800"), // RFC 9665
        ("resolver.arpa.", Rtype::A, "NOERROR SOA 10800"),   // RFC 9462 6.4
        ("_dns.resolver.arpa.", Rtype(64), "NOERROR SOA 10800"),
        ("_dns.resolver.arpa.", Rtype::A, "NOERROR SOA 10800"),
        ("x.resolver.arpa.", Rtype::A, "NXDOMAIN SOA 10800"),
        ("ipv4only.arpa.", Rtype::A, "NOERROR 86400 192.0.0.170 86400 192.0.0.171"), // RFC 8880 7.1
        ("ipv4only.arpa.", Rtype::AAAA, "NOERROR SOA 10800"),
        ("x.ipv4only.arpa.", Rtype::A, "NXDOMAIN SOA 10800"),
        ("170.0.0.192.in-addr.arpa.", Rtype::PTR, "NOERROR 86400 ipv4only.arpa."), // RFC 8880 7.2
        ("171.0.0.192.in-addr.arpa.", Rtype::PTR, "NOERROR 86400 ipv4only.arpa."),
        ("172.0.0.192.in-addr.arpa.", Rtype::PTR, "pass"),
    ] {
        assert_eq!(ask(&zones, name, qtype), outcome, "{name} {qtype}");
    }
}

const ADDED: [&str; 7] = [
    "alt.",
    "internal.",
    "service.arpa.",
    "resolver.arpa.",
    "ipv4only.arpa.",
    "170.0.0.192.in-addr.arpa.",
    "171.0.0.192.in-addr.arpa.",
];

#[test]
fn names_reserved_since_can_be_given_back() {
    for name in ADDED {
        let zones = build(&[(name, "nodefault")], &[], Defaults::default());
        assert_eq!(ask(&zones, name, Rtype::TXT), "pass", "{name}");
        let zones = build(&[(name, "refuse")], &[], Defaults::default());
        assert_eq!(ask(&zones, name, Rtype::TXT), "REFUSED", "{name}");
    }
}

#[test]
fn names_reserved_since_give_way_to_zones_served_elsewhere() {
    let elsewhere = |zone: &str| {
        let served_elsewhere = vec![Name::from_text(zone).unwrap()];
        build(&[], &[], Defaults { served_elsewhere, ..Defaults::default() })
    };
    for name in ADDED {
        assert_eq!(ask(&elsewhere(name), name, Rtype::TXT), "pass", "{name}");
        assert_eq!(ask(&elsewhere(&format!("Corp.{name}")), name, Rtype::TXT), "pass", "{name}");
        assert_ne!(ask(&elsewhere("."), name, Rtype::TXT), "pass", "{name}");
        assert_ne!(ask(&elsewhere("arpa"), name, Rtype::TXT), "pass", "{name}");
    }
    // Unbound's own default zones do not: there a forward zone needs nodefault as well.
    assert_eq!(ask(&elsewhere("test."), "x.test.", Rtype::A), "NXDOMAIN SOA 10800");
}

#[test]
fn a_whole_character_string_is_told_and_every_anchor() {
    let chaos = Chaos {
        identity: Some("i".repeat(300)),
        version: None,
        trust_anchors: Some(policy::Texts::new(|| vec![". 20326 38696".to_owned(), "example. 7".to_owned()])),
    };
    let answer = chaos.answer(&query("id.server.", Rtype::TXT, Class::CH)).unwrap();
    assert_eq!(answer.answer[0].rdata.first().map(|data| (data[0], data.len())), Some((255, 256)));
    let answer = chaos.answer(&query("trustanchor.unbound.", Rtype::TXT, Class::CH)).unwrap();
    assert_eq!((answer.aa, answer.answer[0].rdata.len()), (false, 2));
    assert_eq!(chaos.answer(&query("version.bind.", Rtype::TXT, Class::CH)), None);
}

#[test]
fn only_what_is_local_holds_for_clients_of_local_data_alone() {
    let data = ["d.t A 192.0.2.1", "r CNAME x."];
    let policy = Policy {
        acl: Acl::default(),
        local: build(&[("r", "redirect"), ("deny", "deny")], &data, Defaults::default()),
        chaos: Chaos { version: Some("v".to_owned()), ..Chaos::default() },
        deny_any: true,
    };
    for (name, qtype, class, local) in [
        ("d.t.", Rtype::A, Class::IN, true),
        ("d.t.", Rtype::AAAA, Class::IN, true),
        ("deny.", Rtype::A, Class::IN, true),
        ("x.t.", Rtype::A, Class::IN, false),
        ("r.", Rtype::A, Class::IN, false),
        ("r.", Rtype::CNAME, Class::IN, true),
        ("x.", Rtype::ANY, Class::IN, false),
        ("version.bind.", Rtype::TXT, Class::CH, true),
        ("id.server.", Rtype::TXT, Class::CH, false),
    ] {
        let decision = policy.decide(&query(name, qtype, class), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(decision.local, local, "{name} {qtype} {class}");
    }
}
