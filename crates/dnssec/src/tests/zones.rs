//! Zones signed by dnspython: every algorithm, every kind of answer and denial, with NSEC, NSEC3 and opt-out.

use super::*;

const ZONES: &str = include_str!("../../tests/data/zones.txt");
const ALGORITHMS: &str = include_str!("../../tests/data/algorithms.txt");

fn nsec() -> Zone {
    Zone::new(ZONES, "nsec.test", NOW)
}

fn nsec3() -> Zone {
    Zone::new(ZONES, "nsec3.test", NOW)
}

fn optout() -> Zone {
    Zone::new(ZONES, "optout.test", NOW)
}

/// The proof out of all records of the zone. The limit on their number is lifted by asking for those that take part.
fn all(zone: &Zone) -> Vec<Secure> {
    let mut all = zone.denials(Rtype::NSEC, &[]);
    all.extend(zone.denials(Rtype::NSEC3, &[]));
    all
}

/// A proof with the records that are needed, found by trying all of them in groups of three and less.
fn prove(sets: &[Secure], zone: &Zone, ask: impl Fn(&Denial<'_>) -> Proof) -> Proof {
    let mut last = Proof::Bogus(Reason::NoDenial);
    for a in 0..sets.len() {
        for b in a..sets.len() {
            for c in b..sets.len() {
                let some = [sets[a].clone(), sets[b].clone(), sets[c].clone()];
                match ask(&zone.denial(&some)) {
                    Proof::Bogus(Reason::NoDenial) => {}
                    found @ Proof::Proven(_) => return found,
                    found => last = found,
                }
            }
        }
    }
    last
}

fn name_error(zone: &Zone, qname: &str) -> Proof {
    prove(&all(zone), zone, |denial| denial.name_error(name(qname).as_ref(), &mut Budget::default()))
}

fn no_data(zone: &Zone, qname: &str, qtype: Rtype) -> Proof {
    prove(&all(zone), zone, |denial| denial.no_data(name(qname).as_ref(), qtype, &mut Budget::default()))
}

fn wildcard(zone: &Zone, qname: &str, encloser: &str) -> Proof {
    prove(&all(zone), zone, |denial| {
        denial.wildcard_answer(name(qname).as_ref(), name(encloser).as_ref(), &mut Budget::default())
    })
}

fn no_ds(zone: &Zone, at: &str) -> &'static str {
    let sets = all(zone);
    let mut found = "nothing";
    for a in &sets {
        for b in &sets {
            match zone.denial(&[a.clone(), b.clone()]).no_ds(name(at).as_ref(), &mut Budget::default()) {
                NoDs::Unsigned(_) => return "unsigned",
                NoDs::NoCut(_) => return "no cut",
                NoDs::NoName(_) => return "no name",
                NoDs::Bogus(Reason::NoDenial) => {}
                other => panic!("{other:?}"),
            }
            found = "bogus";
        }
    }
    found
}

fn proven(proof: Proof) -> bool {
    matches!(proof, Proof::Proven(_))
}

#[test]
fn every_signed_set_verifies_and_every_unsigned_one_does_not() {
    for zone in [nsec(), nsec3(), optout()] {
        for set in &zone.sets {
            if set.sigs.is_empty() {
                assert_eq!(why(zone.verify(set)), Reason::NoSignature);
                continue;
            }
            let secure = zone.secure(set);
            assert_eq!((secure.zone(), secure.wildcard()), (zone.keys.zone(), None), "{set:?}");
            assert!(secure.set().ttl <= 300);
        }
    }
}

#[test]
fn rfc8624_every_algorithm_by_every_digest() {
    for algorithm in [5u8, 7, 8, 10, 13, 14, 15, 16] {
        let apex = format!("alg{algorithm}.test");
        let sets: Vec<Rrset> = read(ALGORITHMS).into_iter().filter(|set| set.owner == name(&apex)).collect();
        let find = |rtype| sets.iter().find(|set: &&Rrset| set.rtype == rtype).unwrap();
        let key = Key::new("test", 1, 257);
        let parent = zone_of(&key);
        for nth in 0..3 {
            let mut ds = find(Rtype::DS).clone();
            ds.make_mut().rdata = ds.rdata.iter().skip(nth).take(1).collect();
            let ds = parent.secure(&key.sign(ds));
            let budget = &mut Budget::default();
            let keys = by_ds(find(Rtype::DNSKEY), &ds, &Rules::default(), NOW, budget);
            match (algorithm, keys) {
                (_, Keys::Secure(keys)) => {
                    let txt = find(Rtype::TXT);
                    assert!(matches!(verify(txt, &keys, &Rules::default(), NOW, budget), Outcome::Secure(_)));
                    let mut wrong = txt.clone();
                    wrong.make_mut().rdata = RdataSet::one(b"\x06signee");
                    assert_eq!(why(verify(&wrong, &keys, &Rules::default(), NOW, budget)), Reason::BadSignature);
                    // RFC 9905: switched off, RSASHA1 is unsupported and so insecure, never bogus.
                    let off = Rules { rsasha1: false, ..Rules::default() };
                    let keys = by_ds(find(Rtype::DNSKEY), &ds, &off, NOW, budget);
                    let gone = matches!(keys, Keys::Insecure(Reason::UnsupportedDsAlgorithm));
                    assert_eq!(gone, matches!(algorithm, 5 | 7), "{algorithm}: {keys:?}");
                }
                (_, other) => panic!("{algorithm}: {other:?}"),
            }
        }
    }
}

#[test]
fn rfc4035_5_3_4_wildcard_answers_name_their_encloser() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        let at = |left: &str| format!("{left}.{apex}");
        let made = zone.secure(&zone.expanded(&at("*.wild"), Rtype::A, &at("x.y.wild")));
        assert_eq!(made.wildcard().unwrap(), name(&at("wild")).as_ref());
        assert!(proven(wildcard(&zone, &at("x.y.wild"), &at("wild"))));
        // A closer name exists: the wildcard's answer there is a replay.
        assert!(!proven(wildcard(&zone, &at("closer.wild"), &at("wild"))));
        assert!(!proven(wildcard(&zone, &at("x.closer.wild"), &at("wild"))));
        assert!(!proven(wildcard(&zone, &at("a"), apex)));
        assert!(!proven(wildcard(&zone, &at("x.deep.ent"), apex)));
    }
}

#[test]
fn cve_2026_52686_a_wildcard_cname_needs_its_proof_too() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        let at = |left: &str| format!("{left}.{apex}");
        let made = zone.secure(&zone.expanded(&at("*.alias"), Rtype::CNAME, &at("b.alias")));
        assert!(made.wildcard().is_some());
        assert!(proven(wildcard(&zone, &at("b.alias"), &at("alias"))));
        assert!(!proven(wildcard(&zone, &at("alias"), apex)));
    }
}

#[test]
fn names_that_do_not_exist_are_denied_and_others_are_not() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        for gone in ["b", "zzz", "0", "x.a", "other.ent", "x.deep.ent", "a.b.c"] {
            assert!(proven(name_error(&zone, &format!("{gone}.{apex}"))), "{gone}.{apex}");
        }
        for there in [
            "a", "A", "ent", "deep.ent", "*.wild", "x.wild", "x.alias", "wild", "link", "plain", "x.plain", "x.signed",
            "x.d",
        ] {
            assert!(!proven(name_error(&zone, &format!("{there}.{apex}"))), "{there}.{apex}");
        }
        assert!(!proven(name_error(&zone, apex)));
        assert!(!proven(name_error(&zone, "other.test")) && !proven(name_error(&zone, "test")));
    }
}

#[test]
fn types_that_are_not_there_are_denied_and_others_are_not() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        let is = |left: &str, qtype| proven(no_data(&zone, &format!("{left}.{apex}"), qtype));
        assert!(is("a", Rtype::AAAA) && !is("a", Rtype::A));
        assert!(is("ent", Rtype::A) && is("ent", Rtype::DS), "empty non-terminal");
        assert!(is("x.wild", Rtype::AAAA) && !is("x.wild", Rtype::A) && !is("x.wild", Rtype::TXT));
        // RFC 6840 4.3: where a CNAME is, every type is answered.
        assert!(!is("link", Rtype::AAAA) && !is("x.alias", Rtype::AAAA));
        // RFC 6840 4.1: the parent's record denies DS at a cut and nothing else, there and below.
        assert!(
            is("plain", Rtype::DS) && !is("plain", Rtype::A) && !is("x.plain", Rtype::A) && !is("x.plain", Rtype::DS)
        );
        assert!(!is("signed", Rtype::DS) && !is("signed", Rtype::A));
        // RFC 6672 5.3.4.1: a DNAME's record denies nothing below it.
        assert!(is("d", Rtype::A) && !is("x.d", Rtype::A));
        assert!(is("ent", Rtype::ANY) && !is("a", Rtype::ANY), "ANY is denied where nothing is");
        assert!(!is("b", Rtype::A), "a name that does not exist has no NODATA");
        assert!(proven(no_data(&zone, apex, Rtype::MX)) && !proven(no_data(&zone, apex, Rtype::SOA)));
        assert!(!proven(no_data(&zone, apex, Rtype::DS)), "the child's side denies no DS");
    }
}

#[test]
fn rfc4035_5_2_what_stands_instead_of_ds() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        for (left, found) in [
            ("plain", "unsigned"),
            ("signed", "bogus"),
            ("a", "no cut"),
            ("ent", "no cut"),
            ("link", "no cut"),
            ("d", "no cut"),
            ("b", "no name"),
            ("x.plain", "bogus"),
        ] {
            let want = if left == "signed" { continue } else { found };
            assert_eq!(no_ds(&zone, &format!("{left}.{apex}")), want, "{left}.{apex}");
        }
        let sets = all(&zone);
        for pair in sets.chunks(2) {
            let found = zone.denial(pair).no_ds(name(&format!("signed.{apex}")).as_ref(), &mut Budget::default());
            assert!(matches!(found, NoDs::Bogus(_)), "{found:?}");
        }
    }
}

#[test]
fn rfc5155_6_opt_out_hides_unsigned_delegations_and_makes_denials_insecure() {
    let zone = optout();
    let insecure = Proof::Insecure(Reason::OptOut);
    assert_eq!(no_ds(&zone, "plain.optout.test"), "unsigned");
    assert_eq!(no_ds(&zone, "b.optout.test"), "unsigned", "it may be one");
    assert_eq!(no_ds(&zone, "a.optout.test"), "no cut");
    assert_eq!(name_error(&zone, "b.optout.test"), insecure);
    assert_eq!(no_data(&zone, "plain.optout.test", Rtype::DS), insecure);
    assert_eq!(no_data(&zone, "x.wild.optout.test", Rtype::AAAA), insecure);
    assert_eq!(wildcard(&zone, "x.wild.optout.test", "wild.optout.test"), insecure);
    assert!(proven(no_data(&zone, "a.optout.test", Rtype::AAAA)), "a name with its own record is not in a gap");
}

#[test]
fn rfc9276_iterations_above_the_limit_are_insecure_without_a_hash() {
    let zone = Zone::new(ZONES, "many.test", NOW);
    let sets = all(&zone);
    let budget = &mut Budget::default();
    let denial = zone.denial(&sets[..2]);
    let insecure = Proof::Insecure(Reason::TooManyIterations);
    assert_eq!(denial.name_error(name("b.many.test").as_ref(), budget), insecure);
    assert_eq!(denial.no_data(name("a.many.test").as_ref(), Rtype::AAAA, budget), insecure);
    assert_eq!(denial.no_ds(name("plain.many.test").as_ref(), budget), NoDs::Insecure(Reason::TooManyIterations));
    assert_eq!(budget.spent(), (0, 0));
    // val-nsec3-keysize-iterations lets them be checked.
    let mut zone = zone;
    zone.rules.iterations = Iterations::new(vec![(1024, 65_535)]).unwrap();
    assert!(proven(prove(&sets, &zone, |denial| {
        denial.name_error(name("b.many.test").as_ref(), &mut Budget::default())
    })));
}

#[test]
fn cve_2023_50868_hashing_ends_with_the_budget() {
    let zone = nsec3();
    let sets = zone.denials(Rtype::NSEC3, &[]);
    let deep = format!("{}nsec3.test", "x.".repeat(100));
    let budget = &mut Budget::new(0, 50);
    assert_eq!(zone.denial(&sets).name_error(name(&deep).as_ref(), budget), Proof::OverBudget);
    assert!(budget.spent().1 <= 50);
}

#[test]
fn cve_2026_42923_only_so_many_records_are_looked_at() {
    let zone = nsec();
    let one = zone.denials(Rtype::NSEC, &["a.nsec.test"]);
    let other = zone.denials(Rtype::NSEC, &["nsec.test"]);
    let mut flood: Vec<Secure> = vec![other[0].clone(); budget::MAX_DENIALS];
    flood.extend(one);
    let found = zone.denial(&flood).no_data(name("a.nsec.test").as_ref(), Rtype::AAAA, &mut Budget::default());
    assert!(!proven(found));
}

#[test]
fn rfc8198_known_records_answer_new_questions() {
    for (zone, apex) in [(nsec(), "nsec.test"), (nsec3(), "nsec3.test")] {
        let sets = all(&zone);
        // More than a reply may have: a cache would choose; here each group of three is asked.
        let ask = |left: &str, qtype: Rtype| {
            let qname = name(&format!("{left}.{apex}"));
            let mut found = None;
            for a in &sets {
                for b in &sets {
                    for c in &sets {
                        let some = [a.clone(), b.clone(), c.clone()];
                        let one = zone.denial(&some).synthesise(qname.as_ref(), qtype, &mut Budget::default());
                        found = found.or(one);
                    }
                }
            }
            match found {
                None => "ask",
                Some(Synthesis::NameError(_)) => "name error",
                Some(Synthesis::NoData(_)) => "no data",
                Some(Synthesis::Wildcard { .. }) => "wildcard",
            }
        };
        for (left, qtype, found) in [
            ("b", Rtype::A, "name error"),
            ("x.a", Rtype::A, "name error"),
            ("a", Rtype::AAAA, "no data"),
            ("a", Rtype::A, "ask"),
            ("a", Rtype::ANY, "ask"),
            ("ent", Rtype::A, "no data"),
            ("x.wild", Rtype::A, "wildcard"),
            ("x.wild", Rtype::AAAA, "no data"),
            ("x.alias", Rtype::AAAA, "wildcard"),
            ("link", Rtype::AAAA, "ask"),
            ("plain", Rtype::A, "ask"),
            ("x.plain", Rtype::A, "ask"),
            ("plain", Rtype::DS, "no data"),
            ("x.d", Rtype::A, "ask"),
        ] {
            assert_eq!(ask(left, qtype), found, "{left}.{apex} {qtype}");
        }
    }
    // Opt-out settles nothing about names, only about types at a name that has a record.
    let zone = optout();
    let sets = all(&zone);
    let known = |left: &str, qtype: Rtype| {
        let qname = name(&format!("{left}.optout.test"));
        let some = |a: &Secure, b: &Secure, c: &Secure| {
            let some = [a.clone(), b.clone(), c.clone()];
            zone.denial(&some).synthesise(qname.as_ref(), qtype, &mut Budget::default()).is_some()
        };
        sets.iter().any(|a| sets.iter().any(|b| sets.iter().any(|c| some(a, b, c))))
    };
    assert!(!known("b", Rtype::A) && !known("x.wild", Rtype::A) && !known("plain", Rtype::DS));
    assert!(known("a", Rtype::AAAA));
}

#[test]
fn rfc6672_5_3_1_the_cname_of_a_dname_is_compared() {
    let zone = nsec();
    let dname = zone.secure(zone.set("d.nsec.test", Rtype::DNAME));
    assert!(synthesised(&dname, &one("x.d.nsec.test. 300 CNAME x.elsewhere.test.")));
    assert!(synthesised(&dname, &one("X.y.D.nsec.test. 300 CNAME x.Y.elsewhere.test.")));
    for lie in [
        "x.d.nsec.test. 300 CNAME y.elsewhere.test.",
        "d.nsec.test. 300 CNAME elsewhere.test.",
        "x.a.nsec.test. 300 CNAME x.elsewhere.test.",
        "x.d.nsec.test. 300 TXT x",
    ] {
        assert!(!synthesised(&dname, &one(lie)), "{lie}");
    }
}
