//! What the store promises about single answers: which set is believed, when an answer ends, what a flush takes.

mod common;

use common::{Fill, answer_of, at, get, key, name, sets};
use store::{Put, Security, Sizes, Store, Trust};
use wire::{Answer, Class, Ede, Rcode, RdataSet, Rtype};

const NOW: u64 = 1_000_000_500;

fn empty() -> Store {
    Store::new(Sizes { messages: 1 << 20, rrsets: 1 << 20 })
}

/// The addresses known of `a.example.` with what is left of their TTL.
fn known(store: &Store, owner: &str, rtype: Rtype, now: u64) -> Option<String> {
    let known = store.rrset(name(owner).as_ref(), rtype, Class::IN, false, now)?;
    Some(answer_of(&Answer { answer: vec![known.set], ..Answer::default() }))
}

fn shown(store: &Store, owner: &str, rtype: Rtype, now: u64) -> String {
    get(store, owner, rtype, now).map_or_else(|| "nothing".to_owned(), |found| answer_of(&found.answer))
}

/// A question whose answer has an address of `ns.example.` in a section.
fn beside(fill: &Fill<'_>, section: usize, line: &str, ttl: u32) {
    let mut answer = Answer { answer: sets("q.example. 9000 TXT x"), ..Answer::default() };
    [&mut answer.answer, &mut answer.authority, &mut answer.additional][section].extend(sets(line));
    fill.answer("q.example.", Rtype::TXT, &answer, ttl);
}

#[test]
fn rfc2181_5_4_1_the_better_source_is_believed() {
    // Section and AA, from the least to the best.
    let sources = [(2, false), (1, false), (2, true), (0, false), (1, true), (0, true)];
    let trusts = [
        Trust::AdditionalNoAa,
        Trust::AuthorityNoAa,
        Trust::AdditionalAa,
        Trust::AnswerNoAa,
        Trust::AuthorityAa,
        Trust::AnswerAa,
    ];
    for (first, (old_section, old_aa)) in sources.into_iter().enumerate() {
        for (second, (section, aa)) in sources.into_iter().enumerate() {
            let store = empty();
            beside(
                &Fill { authoritative: old_aa, ..Fill::new(&store, NOW) },
                old_section,
                "ns.example. 300 A 192.0.2.1",
                300,
            );
            let later = Fill { authoritative: aa, ..Fill::new(&store, at(NOW, 100)) };
            beside(&later, section, "ns.example. 300 A 192.0.2.2", 300);
            let expect = match (second >= first, first) {
                // Whoever is delegated to does not say for how long (CVE-2026-40622).
                (true, 0) => "NOERROR [ns.example. 200 A 192.0.2.2] [] []",
                (true, _) => "NOERROR [ns.example. 300 A 192.0.2.2] [] []",
                (false, _) => "NOERROR [ns.example. 200 A 192.0.2.1] [] []",
            };
            assert_eq!(known(&store, "ns.example.", Rtype::A, at(NOW, 100)).unwrap(), expect, "{first} then {second}");
            let trust =
                store.rrset(name("ns.example.").as_ref(), Rtype::A, Class::IN, false, at(NOW, 100)).unwrap().trust;
            assert_eq!(trust, trusts[first.max(second)]);
            // Its time over, anything is better than nothing.
            let last = Fill { authoritative: false, ..Fill::new(&store, at(NOW, 500)) };
            beside(&last, 2, "ns.example. 300 A 192.0.2.3", 300);
            assert_eq!(
                known(&store, "ns.example.", Rtype::A, at(NOW, 500)).unwrap(),
                "NOERROR [ns.example. 300 A 192.0.2.3] [] []"
            );
        }
    }
}

#[test]
fn equal_data_keep_their_ttl_until_it_ends_in_whatever_order_they_come() {
    let store = empty();
    let answer = |fill: &Fill<'_>, lines: &str| fill.put("a.example.", Rtype::A, lines, 300);
    answer(&Fill::new(&store, NOW), "a.example. 300 A 192.0.2.1 | a.example. 300 A 192.0.2.2");
    answer(&Fill::new(&store, at(NOW, 100)), "A.example. 300 A 192.0.2.2 | A.example. 300 A 192.0.2.1");
    assert_eq!(
        shown(&store, "a.example.", Rtype::A, at(NOW, 100)),
        "NOERROR [a.example. 200 A 192.0.2.1 192.0.2.2] [] []"
    );
    answer(&Fill::new(&store, at(NOW, 299)), "a.example. 300 A 192.0.2.1 | a.example. 300 A 192.0.2.2");
    assert_eq!(shown(&store, "a.example.", Rtype::A, at(NOW, 300)), "nothing");
    answer(&Fill::new(&store, at(NOW, 300)), "a.example. 300 A 192.0.2.1 | a.example. 300 A 192.0.2.2");
    assert_eq!(
        shown(&store, "a.example.", Rtype::A, at(NOW, 301)),
        "NOERROR [a.example. 299 A 192.0.2.1 192.0.2.2] [] []"
    );
}

#[test]
fn cve_2012_1033_nobody_keeps_a_delegation_alive_by_repeating_or_changing_it() {
    for authoritative in [false, true] {
        let store = empty();
        let ns = |seconds: u64, data: &str| {
            let fill = Fill { authoritative, ..Fill::new(&store, at(NOW, seconds)) };
            let authority = sets(&format!("gone.example. 300 NS {data}"));
            let answer = Answer { answer: sets("x.gone.example. 9000 A 192.0.2.1"), authority, ..Answer::default() };
            fill.answer("x.gone.example.", Rtype::A, &answer, 300);
        };
        ns(0, "ns1.gone.example.");
        for (seconds, data) in [(100, "ns1.gone.example."), (200, "ns2.gone.example."), (290, "ns3.gone.example.")] {
            ns(seconds, data);
            let left = format!("NOERROR [gone.example. {} NS {data}] [] []", 300 - seconds);
            assert_eq!(known(&store, "gone.example.", Rtype::NS, at(NOW, seconds)).unwrap(), left);
        }
        assert_eq!(known(&store, "gone.example.", Rtype::NS, at(NOW, 300)), None);
    }
    // The same data from a better source are better data, but not newer ones.
    let store = empty();
    beside(&Fill { authoritative: false, ..Fill::new(&store, NOW) }, 1, "gone.example. 300 NS ns1.gone.example.", 300);
    beside(&Fill::new(&store, at(NOW, 200)), 1, "gone.example. 300 NS ns1.gone.example.", 300);
    assert_eq!(
        known(&store, "gone.example.", Rtype::NS, at(NOW, 299)).unwrap(),
        "NOERROR [gone.example. 1 NS ns1.gone.example.] [] []"
    );
    assert_eq!(known(&store, "gone.example.", Rtype::NS, at(NOW, 300)), None);
}

#[test]
fn cve_2026_42955_what_the_child_says_is_told_once_and_kept_for_as_long_as_the_delegation() {
    let store = empty();
    beside(&Fill { authoritative: false, ..Fill::new(&store, NOW) }, 2, "ns.gone.example. 4 A 192.0.2.1", 4);
    let own = Answer { answer: sets("ns.gone.example. 7200 A 192.0.2.1"), ..Answer::default() };
    let (epoch, security) = (store.epoch(), Security::Unchecked);
    let put = Put { now: NOW, ttl: 7200, authoritative: true, security, epoch, leeway_s: 0 };
    assert_eq!(store.put(key("ns.gone.example.", Rtype::A), &own, put), None, "told as it came");
    assert_eq!(
        shown(&store, "ns.gone.example.", Rtype::A, at(NOW, 1)),
        "NOERROR [ns.gone.example. 3 A 192.0.2.1] [] []"
    );
}

#[test]
fn iter_prefetch_ns_a_refresh_before_the_end_renews_what_would_end_within_its_leeway() {
    let store = empty();
    let put = |seconds: u64, leeway_s: u32| {
        let answer = Answer {
            answer: sets("a.example. 300 A 192.0.2.1"),
            authority: sets("example. 300 NS ns.example."),
            ..Answer::default()
        };
        let put = Put {
            now: at(NOW, seconds),
            ttl: 300,
            authoritative: true,
            security: Security::Unchecked,
            epoch: store.epoch(),
            leeway_s,
        };
        store.put(key("a.example.", Rtype::A), &answer, put);
        shown(&store, "a.example.", Rtype::A, at(NOW, seconds))
    };
    put(0, 0);
    assert_eq!(put(260, 0), "NOERROR [a.example. 40 A 192.0.2.1] [example. 40 NS ns.example.] []");
    assert_eq!(put(270, 20), "NOERROR [a.example. 30 A 192.0.2.1] [example. 30 NS ns.example.] []");
    assert_eq!(put(280, 30), "NOERROR [a.example. 300 A 192.0.2.1] [example. 300 NS ns.example.] []");
}

#[test]
fn what_was_found_wrong_is_not_renewed_by_itself_and_what_is_proven_wins() {
    let put = |store: &Store, seconds: u64, security: Security, data: &str, aa: bool| {
        let fill = Fill { authoritative: aa, security, ..Fill::new(store, at(NOW, seconds)) };
        fill.put("a.example.", Rtype::A, &format!("a.example. 300 A {data}"), 300);
    };
    let seen = |store: &Store, seconds: u64| {
        let known = store.rrset(name("a.example.").as_ref(), Rtype::A, Class::IN, false, at(NOW, seconds)).unwrap();
        (known.security, known.trust, known.set.ttl)
    };
    let store = empty();
    put(&store, 0, Security::Bogus, "192.0.2.1", false);
    put(&store, 100, Security::Unchecked, "192.0.2.1", true);
    assert_eq!(seen(&store, 100), (Security::Bogus, Trust::AnswerNoAa, 200), "equal data, better source");
    put(&store, 100, Security::Unchecked, "192.0.2.2", false);
    assert_eq!(seen(&store, 100), (Security::Unchecked, Trust::AnswerNoAa, 300), "other data");
    put(&store, 150, Security::Secure, "192.0.2.1", false);
    assert_eq!(seen(&store, 150), (Security::Secure, Trust::Validated, 300), "proven");
    put(&store, 200, Security::Unchecked, "192.0.2.9", true);
    assert_eq!(seen(&store, 200), (Security::Secure, Trust::Validated, 250), "no answer is better than a proven one");
}

#[test]
fn a_set_that_is_replaced_is_seen_through_every_message_that_uses_it() {
    let store = empty();
    let with_ns = |fill: &Fill<'_>, at: &str, ns: &str, glue: &str| {
        let answer = Answer {
            answer: sets(&format!("{at} 300 A 192.0.2.1")),
            authority: sets(ns),
            additional: sets(glue),
            ..Answer::default()
        };
        fill.answer(at, Rtype::A, &answer, 300);
    };
    with_ns(&Fill::new(&store, NOW), "one.example.", "example. 300 NS ns1.example.", "ns1.example. 300 A 192.0.2.53");
    let two = "example. 300 NS ns1.example. | example. 300 NS ns2.example.";
    with_ns(&Fill::new(&store, at(NOW, 10)), "two.example.", two, "");
    assert_eq!(
        shown(&store, "one.example.", Rtype::A, at(NOW, 10)),
        "NOERROR [one.example. 290 A 192.0.2.1] [example. 290 NS ns1.example. ns2.example.] [ns1.example. 290 A 192.0.2.53]"
    );
    assert_eq!(
        shown(&store, "two.example.", Rtype::A, at(NOW, 10)),
        "NOERROR [two.example. 300 A 192.0.2.1] [example. 290 NS ns1.example. ns2.example.] []"
    );
    // The shared set ends first, and both with it.
    assert_eq!(get(&store, "two.example.", Rtype::A, at(NOW, 299)).unwrap().left, 1);
    assert_eq!(shown(&store, "two.example.", Rtype::A, at(NOW, 300)), "nothing");
}

#[test]
fn who_asked_is_told_what_is_known_now() {
    let store = empty();
    let put = |seconds: u64, at_name: &str, authority: &str| {
        let answer = Answer {
            answer: sets(&format!("{at_name} 300 A 192.0.2.1")),
            authority: sets(authority),
            ..Answer::default()
        };
        let put = Put {
            now: at(NOW, seconds),
            ttl: 300,
            authoritative: seconds == 0,
            security: Security::Unchecked,
            epoch: store.epoch(),
            leeway_s: 0,
        };
        store.put(key(at_name, Rtype::A), &answer, put).map(|known| answer_of(&known))
    };
    assert_eq!(put(0, "one.example.", "example. 300 NS ns1.example."), None, "nothing was known: it stays as it came");
    let known = "NOERROR [two.example. 300 A 192.0.2.1] [example. 290 NS ns1.example.] []";
    assert_eq!(put(10, "two.example.", "example. 300 NS ns1.example.").as_deref(), Some(known), "the TTL that counts");
    let known = "NOERROR [three.example. 300 A 192.0.2.1] [example. 280 NS ns1.example.] []";
    assert_eq!(put(20, "three.example.", "example. 300 NS ns9.example.").as_deref(), Some(known), "the better set");
}

#[test]
fn a_better_link_is_not_put_beside_what_contradicts_it() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    fill.put("w.example.", Rtype::CNAME, "w.example. 300 CNAME a.example.", 300);
    let worse = Fill { authoritative: false, ..fill };
    worse.put("w.example.", Rtype::A, "w.example. 300 CNAME b.example. | b.example. 300 A 192.0.2.1", 300);
    assert_eq!(shown(&store, "w.example.", Rtype::A, NOW), "nothing");
    assert_eq!(
        known(&store, "w.example.", Rtype::CNAME, NOW).unwrap(),
        "NOERROR [w.example. 300 CNAME a.example.] [] []"
    );
}

#[test]
fn a_link_that_leads_elsewhere_ends_the_answers_it_stood_in() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    fill.put("w.example.", Rtype::A, "w.example. 300 CNAME a.example. | a.example. 300 A 192.0.2.1", 300);
    fill.put("w.example.", Rtype::AAAA, "w.example. 300 CNAME b.example. | b.example. 300 AAAA 2001:db8::1", 300);
    assert_eq!(shown(&store, "w.example.", Rtype::A, NOW), "nothing", "never the new link before the old address");
    assert!(get(&store, "w.example.", Rtype::AAAA, NOW).is_some());
    assert!(get(&store, "a.example.", Rtype::A, NOW).is_none() && known(&store, "a.example.", Rtype::A, NOW).is_some());
}

#[test]
fn rfc6672_a_link_made_from_a_dname_is_made_again() {
    let store = empty();
    let lines = "d.example. 300 DNAME e.example. | X.d.example. 0 CNAME X.e.example. | x.e.example. 200 A 192.0.2.1";
    Fill::new(&store, NOW).put("x.d.example.", Rtype::A, lines, 200);
    assert_eq!(
        shown(&store, "X.D.example.", Rtype::A, at(NOW, 50)),
        "NOERROR [d.example. 250 DNAME e.example., X.D.example. 250 CNAME X.e.example., x.e.example. 150 A 192.0.2.1] [] []"
    );
    assert_eq!(store.usage().rrsets.entries, 2);
}

#[test]
fn rfc2308_a_negative_soa_is_not_the_zones_soa() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    fill.put("example.", Rtype::SOA, "example. 3600 SOA a. b. 1 2 3 4 60", 3600);
    fill.negative("no.example.", Rtype::A, Rcode::NXDOMAIN, "example. 60 SOA a. b. 1 2 3 4 60", 60);
    assert_eq!(get(&store, "no.example.", Rtype::A, NOW).unwrap().left, 60);
    assert_eq!(get(&store, "example.", Rtype::SOA, NOW).unwrap().left, 3600);
}

#[test]
fn rfc9520_a_failure_is_kept_with_its_reason_and_gives_way_to_an_answer() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    let failure =
        Answer { ede: Some(Ede::new(Ede::NO_REACHABLE_AUTHORITY, "they are silent")), ..Answer::new(Rcode::SERVFAIL) };
    fill.answer("a.example.", Rtype::A, &failure, 5);
    assert_eq!(get(&store, "a.example.", Rtype::A, at(NOW, 4)).unwrap().answer, failure);
    assert_eq!(get(&store, "a.example.", Rtype::A, at(NOW, 5)), None);
    fill.put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
    assert!(get(&store, "a.example.", Rtype::A, NOW).is_some());
}

#[test]
fn rfc8767_expired_answers_wait_for_whom_they_may_serve() {
    let store = empty();
    let stale = |seconds: u64, bound: u32| {
        store.get(name("a.example.").as_ref(), Rtype::A, Class::IN, false, at(NOW, seconds), Some(bound))
    };
    let answer = Answer {
        answer: sets("a.example. 100 A 192.0.2.1"),
        authority: sets("example. 400 NS ns.example."),
        ..Answer::default()
    };
    Fill::new(&store, NOW).answer("a.example.", Rtype::A, &answer, 100);
    assert!(!stale(99, 10).unwrap().stale);
    let found = stale(105, 10).unwrap();
    assert_eq!((found.stale, found.left, found.ttl, found.prefetch), (true, 0, 100, false));
    assert_eq!(
        answer_of(&found.answer),
        "NOERROR [a.example. 0 A 192.0.2.1] [example. 295 NS ns.example.] []",
        "what is fresh keeps its TTL"
    );
    assert_eq!(
        (stale(109, 10).is_some(), stale(110, 10).is_some(), stale(9_000_000, 0).is_some()),
        (true, false, true)
    );
    // A refresh that failed: not again for a while, and the clock of staleness anew.
    let key = key("a.example.", Rtype::A);
    assert!(!stale(105, 10).unwrap().paused);
    store.pause(&key, at(NOW, 105), 30);
    assert_eq!(
        (stale(109, 10).unwrap().paused, stale(134, 0).unwrap().paused, stale(135, 0).unwrap().paused),
        (true, true, false)
    );
    store.keep_stale(&key, at(NOW, 150));
    assert_eq!((stale(159, 10).is_some(), stale(160, 10).is_some()), (true, false));
    assert_eq!((store.usage().messages.stale_hits > 3, store.usage().messages.hits), (true, 1));
    // A new answer starts anew.
    Fill::new(&store, at(NOW, 200)).answer("a.example.", Rtype::A, &answer, 100);
    assert!(!stale(201, 0).unwrap().paused && !stale(201, 0).unwrap().stale);
}

#[test]
fn rfc1035_3_2_1_what_has_ttl_0_is_not_kept_and_ends_what_was() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    fill.negative("a.example.", Rtype::A, Rcode::NXDOMAIN, "example. 10 SOA a. b. 1 2 3 4 10", 10);
    Fill::new(&store, at(NOW, 20)).put("a.example.", Rtype::A, "a.example. 0 A 192.0.2.1", 0);
    let stale = store.get(name("a.example.").as_ref(), Rtype::A, Class::IN, false, at(NOW, 21), Some(0));
    assert_eq!(stale, None, "the last word was not NXDOMAIN");
}

#[test]
fn prefetch_is_due_in_the_last_tenth() {
    let store = empty();
    Fill::new(&store, NOW).put("a.example.", Rtype::A, "a.example. 100 A 192.0.2.1", 100);
    Fill::new(&store, NOW).put("b.example.", Rtype::A, "b.example. 9 A 192.0.2.1", 9);
    let of =
        |owner: &str, seconds: u64| get(&store, owner, Rtype::A, at(NOW, seconds)).map(|f| (f.prefetch, f.prefetch_in));
    assert_eq!(
        [of("a.example.", 0), of("a.example.", 89), of("a.example.", 90)],
        [Some((false, 90)), Some((false, 1)), Some((true, 0))]
    );
    assert_eq!([of("b.example.", 8), of("b.example.", 9)], [Some((false, 1)), None], "too short to be worth it");
}

#[test]
fn any_is_composed_of_what_was_an_answer() {
    let store = empty();
    let fill = Fill::new(&store, NOW);
    fill.put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
    fill.put("a.example.", Rtype::MX, "a.example. 200 MX 1 a.example.", 200);
    fill.put("a.example.", Rtype::TXT, "a.example. 100 TXT x", 100);
    beside(&fill, 2, "a.example. 300 AAAA 2001:db8::1", 300);
    let found = store.any(name("a.example.").as_ref(), Class::IN, false, NOW).unwrap();
    assert_eq!(answer_of(&found.answer), "NOERROR [a.example. 300 A 192.0.2.1, a.example. 200 MX 1 a.example.] [] []");
    assert_eq!((found.left, found.stale), (200, false));
    assert_eq!(store.any(name("b.example.").as_ref(), Class::IN, false, NOW), None);
}

#[test]
fn rfc8020_only_a_proven_nxdomain_covers_what_is_below() {
    for (security, covers) in [(Security::Secure, true), (Security::Unchecked, false), (Security::Insecure, false)] {
        let store = empty();
        let fill = Fill { security, ..Fill::new(&store, NOW) };
        fill.negative("no.example.", Rtype::A, Rcode::NXDOMAIN, "example. 60 SOA a. b. 1 2 3 4 60", 60);
        fill.negative("empty.example.", Rtype::A, Rcode::NOERROR, "example. 60 SOA a. b. 1 2 3 4 60", 60);
        let above = |owner: &str, cd| store.nxdomain_above(name(owner).as_ref(), wire::name::ROOT, Class::IN, cd, NOW);
        assert_eq!(above("a.b.No.example.", false).map(|found| found.answer.rcode), covers.then_some(Rcode::NXDOMAIN));
        assert_eq!(above("no.example.", false), None, "the name itself is a question of its own");
        assert_eq!(
            (above("x.empty.example.", false), above("x.example.", false), above("a.no.example.", true)),
            (None, None, None)
        );
    }
}

#[test]
fn answers_that_were_not_to_be_checked_are_kept_apart() {
    let store = empty();
    Fill { cd: true, ..Fill::new(&store, NOW) }.put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.66", 300);
    Fill::new(&store, NOW).put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
    for (cd, address) in [(false, "192.0.2.1"), (true, "192.0.2.66")] {
        let found = store.get(name("a.example.").as_ref(), Rtype::A, Class::IN, cd, NOW, None).unwrap();
        assert_eq!(answer_of(&found.answer), format!("NOERROR [a.example. 300 A {address}] [] []"));
    }
}

#[test]
fn a_flush_takes_what_it_names_and_nothing_else() {
    let full = || {
        let store = empty();
        let fill = Fill::new(&store, NOW);
        fill.put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
        fill.put("a.example.", Rtype::TXT, "a.example. 300 TXT x", 300);
        fill.put("w.a.example.", Rtype::A, "w.a.example. 300 CNAME a.example. | a.example. 300 A 192.0.2.1", 300);
        fill.put("ba.example.", Rtype::A, "ba.example. 300 A 192.0.2.2", 300);
        fill.negative("no.example.", Rtype::A, Rcode::NXDOMAIN, "example. 60 SOA a. b. 1 2 3 4 60", 60);
        fill.answer("fail.example.", Rtype::A, &Answer::new(Rcode::SERVFAIL), 5);
        Fill { security: Security::Bogus, ..fill }.put("bad.example.", Rtype::A, "bad.example. 300 A 192.0.2.3", 300);
        store
    };
    const ALL: [(&str, Rtype); 7] = [
        ("a.example.", Rtype::A),
        ("a.example.", Rtype::TXT),
        ("w.a.example.", Rtype::A),
        ("ba.example.", Rtype::A),
        ("no.example.", Rtype::A),
        ("fail.example.", Rtype::A),
        ("bad.example.", Rtype::A),
    ];
    type Flush = fn(&Store) -> usize;
    let flushes: [(Flush, usize, [bool; 7]); 7] = [
        (|s| s.flush_all(), 13, [false; 7]),
        (|s| s.flush_name(name("A.example.").as_ref()), 4, [false, false, false, true, true, true, true]),
        (|s| s.flush_type(name("a.example.").as_ref(), Rtype::TXT), 2, [true, false, true, true, true, true, true]),
        (|s| s.flush_zone(name("a.example.").as_ref()), 6, [false, false, false, true, true, true, true]),
        (|s| s.flush_zone(name(".").as_ref()), 13, [false; 7]),
        (|s| s.flush_negative(), 2, [true, true, true, true, false, false, true]),
        (|s| s.flush_bogus(), 2, [true, true, true, true, true, true, false]),
    ];
    for (nth, (flush, removed, left)) in flushes.into_iter().enumerate() {
        let store = full();
        let entries = store.usage().messages.entries + store.usage().rrsets.entries;
        assert_eq!(entries, 13);
        let before = store.epoch();
        assert_eq!(flush(&store), removed, "flush {nth}");
        assert_ne!(store.epoch(), before);
        let seen = ALL.map(|(owner, qtype)| get(&store, owner, qtype, NOW).is_some());
        assert_eq!(seen, left, "flush {nth}");
    }
}

#[test]
fn an_answer_to_a_question_from_before_a_flush_is_not_stored() {
    let store = empty();
    let put = Put {
        now: NOW,
        ttl: 300,
        authoritative: true,
        security: Security::Unchecked,
        epoch: store.epoch(),
        leeway_s: 0,
    };
    store.flush_name(name("other.example.").as_ref());
    let answer = Answer { answer: sets("a.example. 300 A 192.0.2.1"), ..Answer::default() };
    store.put(key("a.example.", Rtype::A), &answer, put);
    assert_eq!((store.usage().messages.entries, store.usage().rrsets.entries), (0, 0));
    store.put(key("a.example.", Rtype::A), &answer, Put { epoch: store.epoch(), ..put });
    assert!(get(&store, "a.example.", Rtype::A, NOW).is_some());
}

#[test]
fn one_octet_of_cache_keeps_nothing() {
    for (messages, rrsets) in [(1, 1 << 20), (1 << 20, 1), (0, 0)] {
        let store = Store::new(Sizes { messages, rrsets });
        Fill::new(&store, NOW).put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
        assert_eq!(get(&store, "a.example.", Rtype::A, NOW), None);
    }
}

#[test]
fn other_sizes_hold_at_once() {
    let store = Store::new(Sizes { messages: 8 << 20, rrsets: 8 << 20 });
    let fill = Fill::new(&store, NOW);
    (0..20_000)
        .for_each(|n| fill.put(&format!("n{n}.example."), Rtype::A, &format!("n{n}.example. 300 A 192.0.2.1"), 300));
    for sizes in [Sizes { messages: 1 << 20, rrsets: 4 << 20 }, Sizes { messages: 1, rrsets: 1 }] {
        store.resize(sizes);
        let usage = store.usage();
        assert!(usage.messages.bytes <= sizes.messages && usage.rrsets.bytes <= sizes.rrsets, "{usage:?}");
        assert_eq!((usage.messages.limit, usage.rrsets.limit), (sizes.messages, sizes.rrsets));
    }
    store.resize(Sizes { messages: 8 << 20, rrsets: 8 << 20 });
    fill.put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
    assert!(get(&store, "a.example.", Rtype::A, NOW).is_some());
}

#[test]
fn signatures_are_part_of_what_is_kept() {
    let store = empty();
    let set = sets("a.example. 300 A 192.0.2.1").remove(0).with_sigs(RdataSet::from_iter([&b"one"[..], b"two"]));
    Fill::new(&store, NOW).answer(
        "a.example.",
        Rtype::A,
        &Answer { answer: vec![set.clone()], ..Answer::default() },
        300,
    );
    assert_eq!(get(&store, "a.example.", Rtype::A, NOW).unwrap().answer.answer, [set]);
}

#[test]
fn what_stood_beside_an_answer_never_speaks_in_answers_it_did_not_come_in() {
    // Its time over, or counted as over by a refresh of something else: the answer ends rather than tell what it never was.
    for (seconds, leeway_s) in [(310, 0), (100, 9_000)] {
        for section in [1, 2] {
            let store = empty();
            Fill::new(&store, NOW).put("a.example.", Rtype::A, "a.example. 300 A 192.0.2.1", 300);
            let mut answer = Answer { answer: sets("q.example. 9000 TXT x"), ..Answer::default() };
            [&mut answer.authority, &mut answer.additional][section - 1].extend(sets("a.example. 9000 A 192.0.2.66"));
            let now = at(NOW, seconds);
            let put = Put {
                now,
                ttl: 300,
                authoritative: true,
                security: Security::Unchecked,
                epoch: store.epoch(),
                leeway_s,
            };
            store.put(key("q.example.", Rtype::TXT), &answer, put);
            let found = store.get(name("a.example.").as_ref(), Rtype::A, Class::IN, false, now, Some(0));
            let shown = found.map_or_else(|| "nothing".to_owned(), |found| answer_of(&found.answer));
            assert!(!shown.contains("192.0.2.66"), "{shown}");
        }
    }
}

#[test]
fn rfc8767_5_what_is_served_stale_stays_while_failures_of_other_names_pour_in() {
    let store = empty();
    for n in 0..50 {
        let owner = format!("n{n}.example.");
        Fill::new(&store, NOW).put(
            &owner,
            Rtype::A,
            &format!("{owner} 300 A 192.0.2.1 | {owner} 300 A 192.0.2.2"),
            300,
        );
    }
    let now = at(NOW, 400);
    let stale = |n: u32| {
        let owner = name(&format!("n{n}.example."));
        store.get(owner.as_ref(), Rtype::A, Class::IN, false, now, Some(0)).is_some()
    };
    for round in 0..200 {
        for n in 0..200 {
            let answer = Answer { answer: sets(&format!("x{round}.{n}. 300 A 192.0.2.9")), ..Answer::default() };
            Fill::new(&store, now).negative(&format!("f{round}.{n}."), Rtype::A, Rcode::SERVFAIL, "", 5);
            Fill::new(&store, now).answer(&format!("x{round}.{n}."), Rtype::A, &answer, 300);
        }
        assert!((0..50).all(stale), "round {round}");
    }
    assert!(store.usage().messages.evictions > 1_000 && store.usage().rrsets.evictions > 1_000);
}

#[test]
fn cve_2026_46582_a_proven_answer_is_not_proven_any_more_when_what_nobody_proved_follows_in_it() {
    let proven = |store: &Store| {
        let fill = Fill { security: Security::Secure, ..Fill::new(store, NOW) };
        fill.put("www.example.", Rtype::A, "www.example. 10 A 192.0.2.1", 10);
    };
    let seen = |store: &Store| {
        let found = store.get(name("www.example.").as_ref(), Rtype::A, Class::IN, false, at(NOW, 18), Some(0));
        found.map(|found| (found.security, found.answer.ad, answer_of(&found.answer)))
    };
    let store = empty();
    proven(&store);
    let stale = "NOERROR [www.example. 0 A 192.0.2.1] [] []".to_owned();
    assert_eq!(seen(&store), Some((Security::Secure, true, stale)));

    // The same records, but this time nobody has looked at their signatures.
    for security in [Security::Unchecked, Security::Bogus, Security::Insecure] {
        let store = empty();
        proven(&store);
        let alias = "alias.test. 60 CNAME www.example. | www.example. 60 A 192.0.2.1";
        Fill { security, ..Fill::new(&store, at(NOW, 18)) }.put("alias.test.", Rtype::A, alias, 60);
        let now = "NOERROR [www.example. 60 A 192.0.2.1] [] []".to_owned();
        assert_eq!(seen(&store), Some((Security::Unchecked, false, now)), "{security:?}");
    }

    // A wildcard's records, rightly signed, under a name that has its own.
    let store = empty();
    proven(&store);
    let alias = "alias.test. 60 CNAME www.example. | www.example. 60 A 192.0.2.33";
    Fill { security: Security::Bogus, ..Fill::new(&store, at(NOW, 18)) }.put("alias.test.", Rtype::A, alias, 60);
    assert_eq!(seen(&store), None);
}
