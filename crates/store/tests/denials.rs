//! What the index of denials promises: it finds the sets that may deny a name, holds no more than it may, and forgets what
//! is flushed. Whether they deny it is proven elsewhere, so here the records need no right signatures.

mod common;

use common::{Fill, at, name, sets};
use proptest::prelude::*;
use store::{Denying, Hashed, Security, Sizes, Store};
use wire::name::ROOT;
use wire::{Answer, Name, Rcode, RdataSet, Rrset, Rtype};

const NOW: u64 = 1_000_000_500;

fn empty() -> Store {
    Store::new(Sizes { messages: 1 << 22, rrsets: 1 << 22 })
}

/// A signature over a set, as far as the index reads it.
fn signed(set: Rrset, zone: &str, labels: u8) -> Rrset {
    let [c0, c1] = set.rtype.0.to_be_bytes();
    let mut sig = vec![c0, c1, 13, labels];
    sig.extend([0; 14]);
    sig.extend(name(zone).as_ref().as_wire());
    sig.extend([1, 2, 3, 4]);
    set.with_sigs(RdataSet::one(&sig))
}

fn labels(owner: &Name) -> u8 {
    owner.as_ref().labels().filter(|label| *label != b"*").count() as u8
}

/// NXDOMAIN with these proofs, found at `now`.
fn deny(store: &Store, zone: &str, lines: &str, security: Security, now: u64) {
    let soa = format!("{zone} 900 SOA ns.test. host.test. 1 2 3 4 900 | {lines}");
    let authority = sets(&soa).into_iter().map(|set| {
        let labels = labels(&set.owner);
        signed(set, zone, labels)
    });
    let answer = Answer { authority: authority.collect(), ..Answer::new(Rcode::NXDOMAIN) };
    let asked = format!("asked.{}", zone.trim_start_matches('.'));
    Fill { security, ..Fill::new(store, now) }.answer(&asked, Rtype::A, &answer, 900);
}

fn found(store: &Store, asked: &str, ds: bool, now: u64) -> Option<Denying> {
    store.denying(name(asked).as_ref(), ROOT, ds, now, &mut |_, _, _| panic!("no NSEC3 here"))
}

fn owners(denying: Option<Denying>) -> String {
    let Some(denying) = denying else { return "nothing".to_owned() };
    let owners: Vec<String> = denying.sets.iter().map(|set| set.owner.to_string()).collect();
    format!("{} {}{}", denying.zone, owners.join(" "), if denying.soa.is_some() { " SOA" } else { "" })
}

const CHAIN: &str = "example. 900 NSEC b.example. NS SOA NSEC | b.example. 900 NSEC sub.example. A NSEC | \
    sub.example. 900 NSEC *.w.example. NS NSEC | *.w.example. 900 NSEC example. A NSEC";

#[test]
fn rfc8198_5_the_set_before_the_name_and_the_one_before_its_wildcard_are_found() {
    let store = empty();
    deny(&store, "example.", CHAIN, Security::Secure, NOW);
    for (asked, expect) in [
        ("a.example.", "example. example. SOA"),
        ("C.Example.", "example. b.example. example. SOA"),
        ("b.example.", "example. b.example. SOA"),
        ("x.w.example.", "example. *.w.example. SOA"),
        ("t.example.", "example. sub.example. example. SOA"),
        ("zz.example.", "example. *.w.example. example. SOA"),
        ("example.", "example. example. SOA"),
        ("test.", "nothing"),
        (".", "nothing"),
    ] {
        assert_eq!(owners(found(&store, asked, false, at(NOW, 1))), expect, "{asked}");
    }
    let ttl = found(&store, "a.example.", false, at(NOW, 100)).unwrap();
    assert_eq!((ttl.sets[0].ttl, ttl.soa.unwrap().ttl, ttl.left), (800, 800, 800));
    assert_eq!(owners(found(&store, "a.example.", false, at(NOW, 900))), "nothing");
}

#[test]
fn rfc9077_3_nothing_is_denied_for_longer_than_the_denial_was_good() {
    let store = empty();
    deny(&store, "example.", "example. 9000 NSEC b.example. NS SOA NSEC", Security::Secure, NOW);
    let left = |after| found(&store, "a.example.", false, at(NOW, after)).map(|found| (found.sets[0].ttl, found.left));
    assert_eq!((left(0), left(899), left(900)), (Some((9000, 900)), Some((8101, 1)), None));
    // Another denial brought it again.
    deny(&store, "example.", "example. 9000 NSEC b.example. NS SOA NSEC", Security::Secure, at(NOW, 1_000));
    assert_eq!(left(1_000), Some((8000, 900)));
}

#[test]
fn cve_2026_44687_a_zone_above_where_the_operator_cut_has_no_say() {
    let store = empty();
    deny(&store, "example.", CHAIN, Security::Secure, NOW);
    let under = |apex: &str| {
        let found = store.denying(name("a.c.example.").as_ref(), name(apex).as_ref(), false, NOW, &mut |_, _, _| None);
        found.is_some()
    };
    assert_eq!([under("."), under("example."), under("c.example.")], [true, true, false]);
}

#[test]
fn rfc4035_2_4_ds_records_are_denied_by_the_zone_above() {
    let store = empty();
    deny(&store, "example.", CHAIN, Security::Secure, NOW);
    deny(&store, "sub.example.", "sub.example. 900 NSEC a.sub.example. NS SOA NSEC", Security::Secure, NOW);
    assert_eq!(owners(found(&store, "sub.example.", true, NOW)), "example. sub.example. SOA");
    let types = |ds| found(&store, "sub.example.", ds, NOW).unwrap().sets[0].rdata.clone();
    assert_ne!(types(true), types(false), "the parent's record and the child's bear the same name");
}

#[test]
fn only_what_is_proven_and_says_its_own_name_goes_in() {
    let store = empty();
    for security in [Security::Unchecked, Security::Bogus, Security::Insecure, Security::Indeterminate] {
        deny(&store, "example.", CHAIN, security, NOW);
    }
    assert_eq!((store.denials().0, owners(found(&store, "a.example.", false, NOW))), (0, "nothing".to_owned()));
    // A wildcard's record under another name, and one of another zone's name.
    let of = |owner: &str, zone: &str, labels| {
        let set = sets(&format!("{owner} 900 NSEC z.example. A NSEC")).remove(0);
        let answer = Answer { authority: vec![signed(set, zone, labels)], ..Answer::new(Rcode::NXDOMAIN) };
        Fill { security: Security::Secure, ..Fill::new(&store, NOW) }.answer("q.example.", Rtype::A, &answer, 900);
    };
    of("a.example.", "example.", 1);
    of("a.example.", "test.", 2);
    assert_eq!(store.denials().0, 0);
    of("a.example.", "example.", 2);
    assert_eq!(store.denials().0, 1);
}

#[test]
fn rfc5155_8_3_the_closest_encloser_proof_is_found_among_hashes() {
    let store = empty();
    let hashed = |text: &str| Hashed::try_from(text.repeat(32).as_bytes()).unwrap();
    let proof = |first: &str, iterations: u16| {
        let (owner, next) = (first.repeat(32), "V".repeat(32));
        format!("{owner}.example. 900 NSEC3 1 0 {iterations} AABB {next} A RRSIG")
    };
    let lines = [proof("4", 5), proof("8", 5), proof("c", 5)].join(" | ");
    deny(&store, "example.", &lines, Security::Secure, NOW);
    let ask = |asked: &str, hashes: &[(&str, &str)]| {
        let hashes: Vec<(Name, Hashed)> = hashes.iter().map(|(of, hash)| (name(of), hashed(hash))).collect();
        let mut hash = |iterations: u16, salt: &[u8], of: wire::NameRef<'_>| {
            assert_eq!((iterations, salt), (5, &[0xaa, 0xbb][..]));
            hashes.iter().find(|(name, _)| *name == of).map(|(_, hash)| *hash)
        };
        let denying = store.denying(name(asked).as_ref(), ROOT, false, NOW, &mut hash)?;
        Some(denying.sets.iter().map(|set| set.owner.to_string().remove(0)).collect::<String>())
    };
    // The encloser, what comes before the next closer name, what comes before the wildcard.
    let hashes = [("a.b.example.", "2"), ("b.example.", "5"), ("example.", "8"), ("*.example.", "1")];
    assert_eq!(ask("a.b.example.", &hashes).as_deref(), Some("84c"));
    assert_eq!(ask("b.example.", &[("b.example.", "8")]).as_deref(), Some("8"));
    assert_eq!(ask("b.example.", &[("b.example.", "9"), ("example.", "7")]).as_deref(), Some("84"));
    assert_eq!(ask("b.example.", &[]), None, "too much work");
    // Another chain takes the place of the first.
    deny(&store, "example.", &proof("4", 6), Security::Secure, NOW);
    assert_eq!(store.denials().0, 1);
}

#[test]
fn what_is_flushed_denies_no_more() {
    let filled = || {
        let store = empty();
        deny(&store, "example.", CHAIN, Security::Secure, NOW);
        deny(&store, "test.", "test. 900 NSEC b.test. NS SOA NSEC", Security::Secure, NOW);
        store
    };
    let left = |store: &Store| {
        [found(store, "a.example.", false, NOW), found(store, "a.test.", false, NOW)].map(|found| found.is_some())
    };
    type Flush = fn(&Store) -> usize;
    let flushes: [(&str, Flush, [bool; 2]); 6] = [
        ("all", |store| store.flush_all(), [false, false]),
        ("negative", |store| store.flush_negative(), [false, false]),
        ("zone", |store| store.flush_zone(name("example.").as_ref()), [false, true]),
        ("a name in it", |store| store.flush_name(name("a.example.").as_ref()), [false, true]),
        ("a type", |store| store.flush_type(name("a.example.").as_ref(), Rtype::A), [false, true]),
        ("bogus", |store| store.flush_bogus(), [true, true]),
    ];
    for (what, flush, expect) in flushes {
        let store = filled();
        assert_eq!(left(&store), [true, true]);
        flush(&store);
        assert_eq!(left(&store), expect, "{what}");
    }
}

#[test]
fn rfc8198_5_3_what_a_wildcard_made_is_known_under_the_wildcard() {
    let store = empty();
    let set = signed(sets("x.w.example. 300 A 192.0.2.1").remove(0), "example.", 2);
    let answer = Answer { answer: vec![set.clone()], ..Answer::default() };
    Fill::new(&store, NOW).answer("x.w.example.", Rtype::A, &answer, 300);
    let wildcard = name("*.w.example.");
    assert_eq!(store.proven_set(wildcard.as_ref(), Rtype::A, NOW), None);
    Fill { security: Security::Secure, ..Fill::new(&store, NOW) }.answer("x.w.example.", Rtype::A, &answer, 300);
    let known = store.proven_set(wildcard.as_ref(), Rtype::A, at(NOW, 1)).unwrap();
    assert_eq!((known.ttl, &known.rdata, &known.sigs), (299, &set.rdata, &set.sigs));
}

proptest! {
    #[test]
    fn octets_stay_below_the_limit_and_the_count_ends_at_nothing(
        limit in 0usize..20_000,
        ops in prop::collection::vec((0u8..10, 0u16..60, 0u8..4), 1..150),
    ) {
        let store = empty();
        store.resize_denials(limit);
        let mut most = limit;
        for (what, nth, zone) in ops {
            let zone = ["example.", "test.", "a.example.", "."][usize::from(zone)];
            let under = if zone == "." { "" } else { zone };
            match what {
                0..=5 => {
                    deny(&store, zone, &format!("n{nth}.{under} 900 NSEC zz.{under} A NSEC"), Security::Secure, NOW);
                }
                6 => {
                    let label = format!("{nth:032}");
                    let line = format!("{label}.{under} 900 NSEC3 1 0 {} - {} A", nth % 2, "V".repeat(32));
                    deny(&store, zone, &line, Security::Secure, NOW);
                }
                7 => assert!(store.flush_zone(name(zone).as_ref()) < 1_000),
                8 => {
                    most = usize::from(nth) * 300;
                    store.resize_denials(most);
                }
                _ => drop(store.denying(name(&format!("n{nth}x.{under}")).as_ref(), ROOT, false, at(NOW, u64::from(nth) * 30),
                    &mut |_, _, _| Some([b'5'; 32]))),
            }
            let (entries, octets) = store.denials();
            prop_assert!(octets <= most, "{octets} of {most}");
            prop_assert_eq!(entries == 0, octets == 0);
        }
        store.flush_negative();
        prop_assert_eq!(store.denials(), (0, 0));
    }
}
