//! Records of the API against the same records at the end of the file: nothing that is answered may differ.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use policy::overlay::BLOCK_TTL;
use policy::verdict::LocalHit;
use policy::{
    Block, Defaults, Item, LocalZones, LocalZonesBuilder, Origin, Overlay, Policy, Severity, Verdict, ZoneKind,
};
use proptest::prelude::*;
use wire::{Class, Ede, Name, NameBuf, Query, Rcode, Record, Rtype, parse_record, rdata_to_text};

const TYPES: [Rtype; 9] =
    [Rtype::A, Rtype::AAAA, Rtype::CNAME, Rtype::DS, Rtype::NS, Rtype::SOA, Rtype::NSEC, Rtype::TXT, Rtype::ANY];

/// Few names, so that they meet, and some that have default zones.
fn name() -> impl Strategy<Value = String> {
    let label = || prop_oneof![Just("a"), Just("B"), Just("b"), Just("c")];
    prop_oneof![
        8 => prop::collection::vec(label(), 0..5).prop_map(|labels| labels.join(".") + "."),
        1 => prop_oneof![Just("localhost."), Just("a.localhost."), Just("test."), Just("a.test."), Just("resolver.arpa."),
            Just("_dns.resolver.arpa."), Just("a.b.test."), Just("arpa.")].prop_map(str::to_owned),
    ]
}

fn data() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("A 192.0.2.1"),
        Just("A 192.0.2.2"),
        Just("A 127.0.0.1"),
        Just("AAAA ::1"),
        Just("AAAA ::2"),
        Just("CNAME x.a."),
        Just("CNAME *.y."),
        Just("DS 1 8 2 aa"),
        Just("DS 2 8 2 aa"),
        Just("NS ns.a."),
        Just("SOA a. b. 1 2 3 4 5"),
        Just("SOA a. b. 1 2 3 4 9"),
        Just("NSEC b. A"),
        Just("TXT t"),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (name(), prop_oneof![Just(7), Just(3600), Just(10800)], data())
        .prop_map(|(owner, ttl, data)| parse_record(&format!("{owner} {ttl} {data}"), 0).unwrap())
}

/// The file's zones and records, then those of the API in their order.
fn build<'r>(zones: &[(String, usize)], records: impl IntoIterator<Item = &'r Record>) -> (LocalZones, bool) {
    let mut builder = LocalZonesBuilder::new();
    for (name, kind) in zones {
        builder.zone(name, ZoneKind::ALL[*kind].word(), Origin::default()).unwrap();
    }
    for record in records {
        builder.record(record, Origin::default()).unwrap();
    }
    let (built, problems) = builder.build(Defaults::default());
    (built, problems.iter().any(|problem| problem.severity == Severity::Error))
}

/// What says which record it is, in the order of the overlay.
fn key(record: &Record) -> (Name, u16, Vec<u8>) {
    (record.owner.lower(), record.rtype.0, record.rdata.clone())
}

fn query(qname: &str, qtype: Rtype) -> Query {
    Query { id: 0, flags: 0x0100, qname: NameBuf::from_text(qname).unwrap(), qtype, qclass: Class::IN, edns: None }
}

/// Without the word that records of the API had a part in it.
fn nameless<'z>((verdict, hit): (Verdict, LocalHit<'z>)) -> (Verdict, LocalHit<'z>) {
    (verdict, LocalHit { api: false, ..hit })
}

/// A round of changes: records that come, and places of records that go among those that are there.
type Round = (Vec<Record>, Vec<prop::sample::Index>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn records_of_the_api_are_as_if_they_stood_in_the_file(
        zones in prop::collection::vec((name(), 0..ZoneKind::ALL.len()), 0..5),
        file in prop::collection::vec(record(), 0..6),
        rounds in prop::collection::vec(
            (prop::collection::vec(record(), 0..8), prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 1..4),
        asked in prop::collection::vec(name(), 1..12),
    ) {
        // A file that is refused has no answers.
        let mut kept: Vec<Record> = Vec::new();
        for record in file {
            kept.push(record);
            if build(&zones, &kept).1 {
                kept.pop();
            }
        }
        let (mut joined, _) = build(&zones, &kept);
        let mut model: BTreeMap<_, Record> = BTreeMap::new();
        let rounds: Vec<Round> = rounds;
        for (put, remove) in rounds {
            let there: Vec<Record> = model.values().cloned().collect();
            let remove: Vec<Record> =
                if there.is_empty() { Vec::new() } else { remove.iter().map(|at| at.get(&there).clone()).collect() };
            remove.iter().for_each(|record| drop(model.remove(&key(record))));
            for record in &put {
                model.insert(key(record), record.clone());
            }
            joined = joined.amended(put.into_iter().map(Item::Record), remove.into_iter().map(Item::Record));
            prop_assert_eq!(joined.overlay().record_count(), model.len());

            let (expected, _) = build(&zones, kept.iter().chain(model.values()));
            let whole = build(&zones, &kept).0.laid_over(joined.overlay().clone());
            let owners = model.values().chain(&kept).map(|record| record.owner.to_string());
            let zones = zones.iter().map(|(name, _)| name.clone());
            for qname in asked.iter().cloned().chain(owners).chain(zones) {
                for qtype in TYPES {
                    let q = query(&qname, qtype);
                    let expected = expected.decide(&q);
                    prop_assert_eq!(joined.decide(&q).map(nameless), expected.clone(), "{} {}", qname, qtype);
                    prop_assert_eq!(whole.decide(&q).map(nameless), expected, "{} {} at once", qname, qtype);
                }
            }
        }
    }
}

/// Cases that chance finds too rarely: zones, records of the file, records of the API.
#[test]
fn corners_of_zones_are_as_in_the_file_too() {
    const STATIC: &str = "static";
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);
    let cases: &[Case] = &[
        // A zone in a zone: what stands below the inner one does not make its name exist in the outer one.
        (&[("a.", STATIC), ("b.a.", STATIC)], &[], &["x.b.a. 5 A 192.0.2.1"]),
        (
            &[("a.", STATIC), ("b.a.", STATIC)],
            &[],
            &["x.b.a. 5 A 192.0.2.1", "b.a. 5 DS 1 8 2 aa", "y.x.a. 5 A 192.0.2.1"],
        ),
        // A CNAME is alone in a `redirect` zone, and the last record counts.
        (&[("a.", "redirect")], &["a. 5 A 192.0.2.1", "a. 5 SOA a. b. 1 2 3 4 5"], &["a. 5 CNAME x."]),
        (&[("a.", "redirect")], &["a. 5 CNAME y."], &["a. 5 CNAME x.", "a. 5 CNAME z."]),
        (&[("a.", "redirect")], &["a. 5 CNAME y."], &["a. 5 CNAME x.", "a. 5 TXT t", "a. 5 SOA a. b. 1 2 3 4 5"]),
        (&[("a.", "inform_redirect")], &["a. 5 CNAME y."], &["a. 5 A 192.0.2.1", "b.a. 5 A 192.0.2.1"]),
        (&[], &[], &["localhost. 5 CNAME y.", "localhost. 5 A 127.0.0.1", "localhost. 5 A 127.0.0.2"]),
        // A DS record at the name of a zone that nothing encloses makes no zone; beside others it is in theirs.
        (&[("a.", STATIC)], &[], &["a. 5 DS 1 8 2 aa"]),
        (&[("a.", STATIC)], &[], &["a. 5 DS 1 8 2 aa", "b. 5 DS 1 8 2 aa", "c.b. 5 A 192.0.2.1"]),
        (&[("b.a.", "transparent")], &["c.a. 5 A 192.0.2.1"], &["b.a. 5 DS 1 8 2 aa", "a. 5 TXT t"]),
        // Doubled records, of the file and of default zones.
        (&[], &["a. 5 A 192.0.2.1", "a. 5 A 192.0.2.2"], &["a. 9 A 192.0.2.1", "a. 9 A 192.0.2.3"]),
        (&[], &["ipv4only.arpa. 5 A 192.0.2.1"], &["ipv4only.arpa. 9 A 192.0.0.170", "ipv4only.arpa. 9 A 192.0.2.1"]),
    ];
    for (zones, file, api) in cases {
        let read = |texts: &[&str]| texts.iter().map(|text| parse_record(text, 0).unwrap()).collect::<Vec<_>>();
        let kind = |word: &str| ZoneKind::ALL.iter().position(|kind| kind.word() == word).unwrap();
        let zones: Vec<_> = zones.iter().map(|(name, word)| ((*name).to_owned(), kind(word))).collect();
        let (file, mut api) = (read(file), read(api));
        let (built, refused) = build(&zones, &file);
        assert!(!refused, "{zones:?}");
        let joined = built.amended(api.iter().cloned().map(Item::Record), []);
        api.sort_by_key(key);
        let (expected, _) = build(&zones, file.iter().chain(&api));
        let names =
            zones.iter().map(|(name, _)| name.clone()).chain(file.iter().chain(&api).map(|r| r.owner.to_string()));
        for name in names.flat_map(|name| [format!("x.{name}"), name]) {
            for qtype in TYPES {
                let q = query(&name, qtype);
                assert_eq!(joined.decide(&q).map(nameless), expected.decide(&q), "{name} {qtype} with {api:?}");
            }
        }
    }
}

fn policy(file: &[(&str, &str)], records: &[&str], blocks: &[(&str, &str, Option<&str>)]) -> Policy {
    let mut builder = LocalZonesBuilder::new();
    for (name, kind) in file {
        builder.zone(name, kind, Origin::default()).unwrap();
    }
    let records = records.iter().map(|text| Item::Record(parse_record(text, 0).unwrap()));
    let blocks = blocks.iter().map(|(name, action, target)| Item::Block {
        name: Name::from_text(name).unwrap(),
        action: Block::from_words(action, *target).unwrap(),
    });
    let overlay = Overlay::default().amended(records.chain(blocks), []);
    let (zones, problems) = builder.build(Defaults::default());
    assert!(problems.is_empty());
    Policy { local: zones.laid_over(overlay), ..Policy::default() }
}

/// The verdict in short, and the block that gave it.
fn ask(policy: &Policy, qname: &str, qtype: Rtype) -> (String, Option<String>) {
    let q = query(qname, qtype);
    let decision = policy.decide(&q, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let block = decision.block.map(|hit| format!("{} {}", hit.name(q.qname.as_ref()), hit.word));
    let text = match decision.verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Alias { target, answer } => format!("alias {target} {}", answer[0].ttl),
        Verdict::Answer(answer) => {
            assert!(answer.authority.is_empty());
            assert_eq!(answer.ede.as_ref().map(|ede| ede.code), block.as_ref().map(|_| Ede::BLOCKED));
            assert_eq!(answer.aa, answer.rcode != Rcode::REFUSED);
            let sets = answer.answer.iter();
            let data = sets.flat_map(|set| {
                set.rdata.iter().map(|data| format!(" {} {}", set.ttl, rdata_to_text(set.rtype, data)))
            });
            answer.rcode.to_string() + &data.collect::<String>()
        }
    };
    (text, block)
}

#[test]
fn the_closest_block_answers_every_type_at_and_below_its_name() {
    let policy = policy(
        &[],
        &[],
        &[
            ("ads.example", "nxdomain", None),
            ("Refused.ads.example", "refuse", None),
            ("nodata.ads.example", "nodata", None),
            ("null.ads.example", "null", None),
            ("there.ads.example", "redirect", Some("192.0.2.1 192.0.2.2")),
            ("alias.ads.example", "redirect", Some("Wall.example")),
        ],
    );
    assert_eq!(BLOCK_TTL, 60);
    for (qname, qtype, outcome, block) in [
        ("ads.example.", Rtype::A, "NXDOMAIN", "ads.example. nxdomain"),
        ("a.b.c.d.e.f.ADS.example.", Rtype::MX, "NXDOMAIN", "ads.example. nxdomain"),
        ("ads.example.", Rtype::DS, "NXDOMAIN", "ads.example. nxdomain"),
        ("x.refused.ads.example.", Rtype::TXT, "REFUSED", "refused.ads.example. refuse"),
        ("nodata.ads.example.", Rtype::A, "NOERROR", "nodata.ads.example. nodata"),
        ("null.ads.example.", Rtype::A, "NOERROR 60 0.0.0.0", "null.ads.example. null"),
        ("x.null.ads.example.", Rtype::AAAA, "NOERROR 60 ::", "null.ads.example. null"),
        ("null.ads.example.", Rtype::HTTPS, "NOERROR", "null.ads.example. null"),
        ("there.ads.example.", Rtype::A, "NOERROR 60 192.0.2.1 60 192.0.2.2", "there.ads.example. redirect"),
        ("there.ads.example.", Rtype::AAAA, "NOERROR", "there.ads.example. redirect"),
        ("alias.ads.example.", Rtype::A, "alias Wall.example. 60", "alias.ads.example. redirect"),
        ("alias.ads.example.", Rtype::CNAME, "NOERROR 60 Wall.example.", "alias.ads.example. redirect"),
    ] {
        let (text, hit) = ask(&policy, qname, qtype);
        assert_eq!(text, outcome, "{qname} {qtype}");
        assert!(hit.is_some_and(|hit| hit.eq_ignore_ascii_case(block)), "{qname} {qtype}");
    }
    for qname in ["example.", "xads.example.", "."] {
        assert_eq!(ask(&policy, qname, Rtype::A), ("pass".to_owned(), None), "{qname}");
    }
    let chaos = Query { qclass: Class::CH, ..query("ads.example.", Rtype::TXT) };
    assert!(policy.decide(&chaos, IpAddr::V4(Ipv4Addr::LOCALHOST)).block.is_none());
}

#[test]
fn local_data_come_before_blocks_and_a_zone_of_the_file_below_one_is_a_hole_in_it() {
    let policy = policy(
        &[
            ("free.ads.example", "always_transparent"),
            ("ads2.example", "transparent"),
            ("static.ads.example", "static"),
        ],
        &["www.ads.example. 5 A 192.0.2.9", "www.ads2.example. 5 A 192.0.2.9"],
        &[("ads.example", "nxdomain", None), ("ads2.example", "refuse", None), ("localhost", "refuse", None)],
    );
    for (qname, qtype, outcome) in [
        ("www.ads.example.", Rtype::A, "NOERROR 5 192.0.2.9"),
        ("www.ads.example.", Rtype::AAAA, "NOERROR"),
        ("w.ads.example.", Rtype::A, "NXDOMAIN"),
        ("x.free.ads.example.", Rtype::A, "pass"),
        ("static.ads.example.", Rtype::A, "NXDOMAIN"),
        ("www.ads2.example.", Rtype::A, "NOERROR 5 192.0.2.9"),
        // What the API says of the very name of a zone comes after the file.
        ("x.ads2.example.", Rtype::A, "REFUSED"),
        ("localhost.", Rtype::A, "NOERROR 10800 127.0.0.1"),
    ] {
        assert_eq!(ask(&policy, qname, qtype).0, outcome, "{qname} {qtype}");
    }
    // Neither takes away what a zone that has been given a part in decides.
    assert_eq!(ask(&policy, "static.ads.example.", Rtype::A).1, None);
    for (qname, qtype, api) in [
        ("www.ads.example.", Rtype::A, true),
        ("www.ads.example.", Rtype::MX, true),
        ("static.ads.example.", Rtype::A, false),
    ] {
        let hit = policy.local.decide(&query(qname, qtype)).map(|(_, hit)| hit.api);
        assert_eq!(hit, Some(api), "{qname} {qtype}");
    }
}

#[test]
fn blocks_and_records_are_changed_by_name() {
    let name = |text: &str| Name::from_text(text).unwrap();
    let block = |text: &str, action| Item::Block { name: name(text), action };
    let first = Overlay::default().amended([block("A.example", Block::Null), block("b.example", Block::Nodata)], []);
    let next = first.amended([block("a.EXAMPLE", Block::Refuse)], [block("b.example", Block::Null)]);
    assert_eq!((first.block_count(), next.block_count()), (2, 1));
    assert_eq!(next.blocks().collect::<Vec<_>>(), [(name("a.example."), Block::Refuse)]);
    assert_eq!(first.blocks().filter(|(_, block)| *block == Block::Null).count(), 1, "the first stays as it was");
    let record = |text: &str| Item::Record(parse_record(text, 0).unwrap());
    let first = first.amended([record("A.example. 5 A 192.0.2.1"), record("a.example. 6 A 192.0.2.1")], []);
    let there = |overlay: &Overlay| overlay.records().map(|record| record.ttl).collect::<Vec<_>>();
    assert_eq!((first.record_count(), there(&first)), (1, vec![Some(6)]));
    let gone = first.amended([], [record("a.example. 9 A 192.0.2.1"), record("c.example. 9 A 192.0.2.1")]);
    assert_eq!((gone.record_count(), gone.block_count(), gone.records().count()), (0, 2, 0));
    // What goes and comes in one change is there.
    let both = first.amended([record("a.example. 7 A 192.0.2.1")], [record("a.example. 6 A 192.0.2.1")]);
    assert_eq!(there(&both), [Some(7)]);
}
