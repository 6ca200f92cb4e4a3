//! What an attacker or a broken signer makes: each rule has a set that a validator without it would take.

use super::*;

const ZONE: &str = "example";

fn key() -> Key {
    Key::new(ZONE, 1, 257)
}

fn a(owner: &str) -> Rrset {
    one(&format!("{owner}. 300 IN A 192.0.2.1"))
}

/// What becomes of a set signed with these fields.
fn signed(set: Rrset, change: impl FnOnce(&mut Fields)) -> Outcome {
    let key = key();
    zone_of(&key).verify(&key.sign_as(set, change))
}

fn ok(outcome: Outcome) -> Secure {
    match outcome {
        Outcome::Secure(secure) => secure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_signer_of_these_tests_makes_good_signatures_too() {
    assert_eq!(ok(signed(a("a.example"), |_| {})).set().ttl, 300);
    assert_eq!(why(signed(a("a.example"), |fields| fields.labels = 1)), Reason::BadSignature);
}

#[test]
fn cve_2026_44690_rrsig_with_more_labels_than_its_owner() {
    assert_eq!(why(signed(a("a.example"), |fields| fields.labels = 3)), Reason::BadLabels);
}

#[test]
fn cve_2026_52688_rrsig_with_fewer_labels_is_never_a_plain_answer() {
    let star = name("*.example").as_ref().to_buf();
    let made = ok(signed(a("a.b.example"), |fields| {
        fields.labels = 1;
        fields.owner = star;
    }));
    assert_eq!(made.wildcard().unwrap(), name(ZONE).as_ref());
    let above = signed(a("a.b.example"), |fields| {
        fields.labels = 0;
        fields.owner = name("*").as_ref().to_buf();
    });
    assert_eq!(why(above), Reason::BadLabels);
}

#[test]
fn a_wildcard_makes_no_keys_no_denial_and_no_ds() {
    for line in [
        "x.example. 300 NSEC y.example. A",
        "x.example. 300 DS 1 8 2 AB",
        "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 300 NSEC3 1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A",
    ] {
        let outcome = signed(one(line), |fields| {
            fields.labels = 1;
            fields.owner = name("*.example").as_ref().to_buf();
        });
        assert_eq!(why(outcome), Reason::BadWildcard, "{line}");
    }
}

#[test]
fn rfc4035_5_3_1_signer_type_and_algorithm_must_fit() {
    let parent = Key::new(".", 2, 257);
    let sibling = Key::new("other", 3, 257);
    let zone = zone_of(&key());
    assert_eq!(why(zone.verify(&parent.sign(a("a.example")))), Reason::WrongSigner);
    assert_eq!(why(zone.verify(&sibling.sign(a("a.example")))), Reason::WrongSigner);
    assert_eq!(why(zone.verify(&key().sign(a("a.other")))), Reason::WrongSigner);
    assert_eq!(why(signed(a("a.example"), |fields| fields.covered = Rtype::AAAA)), Reason::MalformedSignature);
    assert_eq!(why(signed(a("a.example"), |fields| fields.algorithm = 12)), Reason::UnsupportedAlgorithm);
    assert_eq!(why(signed(a("a.example"), |fields| fields.algorithm = 13)), Reason::NoMatchingKey);
    assert_eq!(why(signed(a("a.example"), |fields| fields.tag ^= 1)), Reason::NoMatchingKey);
}

#[test]
fn rfc4034_3_1_5_dates() {
    let now = u32::try_from(NOW).unwrap();
    let at = |inception: u32, expiration: u32| {
        signed(a("a.example"), |fields| {
            fields.inception = inception;
            fields.expiration = expiration;
        })
    };
    assert_eq!(why(at(now - 900_000, now - 90_000)), Reason::Expired);
    assert_eq!(why(at(now + 90_000, now + 900_000)), Reason::NotYetValid);
    assert_eq!(why(at(now + 10, now - 10)), Reason::ExpiredBeforeValid);
    ok(at(now - 900_000, now - 80_000));
    for (reason, code) in [(Reason::Expired, 7), (Reason::NotYetValid, 8), (Reason::ExpiredBeforeValid, 25)] {
        assert_eq!(reason.ede().unwrap().code, code);
    }
}

#[test]
fn rfc4035_5_3_3_ttl_is_capped_by_original_ttl_and_expiration() {
    let now = u32::try_from(NOW).unwrap();
    let mut inflated = key().sign(one("a.example. 300 IN A 192.0.2.1"));
    inflated.ttl = 86_400;
    assert_eq!(ok(zone_of(&key()).verify(&inflated)).set().ttl, 300);
    let short = signed(a("a.example"), |fields| fields.expiration = now + 20);
    assert_eq!(ok(short).set().ttl, 20);
    let lower = signed(a("a.example"), |fields| fields.original_ttl = 7);
    assert_eq!(ok(lower).set().ttl, 7);
}

#[test]
fn rfc4034_2_1_only_zone_keys_sign() {
    let sep = key();
    for (flags, protocol, reason) in
        [(0u16, 3u8, Reason::NoZoneKeyBit), (0x0100, 2, Reason::NoZoneKeyBit), (0x0180, 3, Reason::KeyRevoked)]
    {
        let mut other = Key::new(ZONE, 2, flags);
        other.rdata[2] = protocol;
        let set = sep.sign(dnskeys(&[&sep, &other]));
        let Keys::Secure(keys) = by_anchor(&set, &sep.anchor(), &Rules::default(), NOW, &mut Budget::default()) else {
            panic!()
        };
        let set = other.sign(a("a.example"));
        assert_eq!(why(verify(&set, &keys, &Rules::default(), NOW, &mut Budget::default())), reason);
    }
}

#[test]
fn one_good_signature_among_bad_ones_is_enough_and_comes_first() {
    let key = key();
    let set = key.sign_as(a("a.example"), |fields| fields.labels = 1);
    let set = key.sign_as(set, |fields| fields.labels = 3);
    let set = key.sign(set);
    let secure = ok(zone_of(&key).verify(&set));
    assert_eq!((secure.set().sigs.len(), secure.wildcard()), (3, None));
    assert_eq!(Rrsig::parse(secure.set().sigs.first().unwrap()).unwrap().labels, 2);
    let again = Secure::remembered(secure.set().clone()).unwrap();
    assert_eq!((again.zone(), again.wildcard()), (name(ZONE).as_ref(), None));
    assert!(Secure::remembered(a("a.example")).is_none());
}

/// Signatures that are wrong in their last octet, after all that can be checked for nothing.
fn broken(set: Rrset, count: u8) -> Rrset {
    let key = key();
    let good = key.sign(set.clone());
    let mut set = set;
    for nth in 0..count {
        let mut sig = good.sigs.first().unwrap().to_vec();
        let last = sig.len() - 1 - usize::from(nth);
        sig[last] ^= 1;
        set.make_mut().sigs.push(&sig);
    }
    set
}

#[test]
fn keytrap_cve_2023_50387_signatures_of_one_set_are_bounded() {
    let zone = zone_of(&key());
    let mut budget = Budget::default();
    let set = broken(a("a.example"), 30);
    assert_eq!(why(verify(&set, &zone.keys, &zone.rules, NOW, &mut budget)), Reason::BadSignature);
    assert_eq!(budget.spent().0, u32::try_from(budget::MAX_SIGNATURES).unwrap());
    // Also when the one behind them would be good: work is bounded, not luck.
    let set = key().sign(broken(a("a.example"), 8));
    assert!(matches!(zone.verify(&set), Outcome::Bogus(_)));
    let set = key().sign(broken(a("a.example"), 7));
    assert!(matches!(zone.verify(&set), Outcome::Secure(_)));
}

#[test]
fn keytrap_cve_2023_50387_colliding_keys_are_bounded() {
    let key = key();
    let mut set = dnskeys(&[&key]);
    // Swapping two 16-bit words of a key keeps its tag.
    for nth in 0..12usize {
        let mut twin = key.rdata.clone();
        twin.swap(4 + nth * 2, 6 + nth * 2);
        twin.swap(5 + nth * 2, 7 + nth * 2);
        assert_eq!(key_tag(&twin), key.tag());
        set.make_mut().rdata.push(&twin);
    }
    let set = key.sign(set);
    let mut budget = Budget::default();
    let Keys::Secure(keys) = by_anchor(&set, &key.anchor(), &Rules::default(), NOW, &mut budget) else { panic!() };
    let before = budget.spent().0;
    let outcome = verify(&broken(a("a.example"), 30), &keys, &Rules::default(), NOW, &mut budget);
    assert!(matches!(outcome, Outcome::Bogus(_)));
    assert_eq!(budget.spent().0 - before, budget::MAX_SET_VERIFICATIONS);
    let mut budget = Budget::default();
    verify(&broken(a("a.example"), 1), &keys, &Rules::default(), NOW, &mut budget);
    assert_eq!(budget.spent().0, u32::try_from(budget::MAX_COLLIDING_KEYS).unwrap());
}

#[test]
fn keytrap_a_question_has_one_budget_and_its_end_is_no_verdict() {
    let zone = zone_of(&key());
    let mut budget = Budget::new(3, 100);
    let set = broken(a("a.example"), 8);
    assert!(matches!(verify(&set, &zone.keys, &zone.rules, NOW, &mut budget), Outcome::OverBudget));
    assert!(matches!(
        verify(&key().sign(a("a.example")), &zone.keys, &zone.rules, NOW, &mut budget),
        Outcome::OverBudget
    ));
}

#[test]
fn cve_2026_56416_large_sets_are_charged_and_bounded() {
    let key = key();
    let zone = zone_of(&key);
    let set = |count: usize| {
        let mut set = Rrset::new(name("a.example"), Rtype::TXT, Class::IN, 300, RdataSet::new());
        for nth in 0..count {
            let mut rdata = vec![b'x'; 60_000];
            rdata[..8].copy_from_slice(&nth.to_be_bytes());
            set.make_mut().rdata.push(&rdata);
        }
        set
    };
    let mut budget = Budget::default();
    assert!(matches!(verify(&key.sign(set(2)), &zone.keys, &zone.rules, NOW, &mut budget), Outcome::Secure(_)));
    assert!(budget.spent().1 > 1500);
    let mut too_big = set(10);
    let mut covering = key.sign(a("a.example")).sigs.first().unwrap().to_vec();
    covering[1] = 16;
    too_big.make_mut().sigs = RdataSet::one(&covering);
    assert_eq!(why(zone.verify(&too_big)), Reason::TooLarge);
}

fn secure_nsec(zone: &Zone, key: &Key, line: &str) -> Secure {
    zone.secure(&key.sign(one(line)))
}

#[test]
fn rfc9077_an_nsec_whose_next_name_is_out_of_the_zone_denies_nothing() {
    let key = key();
    let zone = zone_of(&key);
    let budget = &mut Budget::default();
    for (line, taken) in [
        ("a.example. 300 NSEC zzz. A RRSIG NSEC", false),
        ("a.example. 300 NSEC example2. A RRSIG NSEC", false),
        ("m.example. 300 NSEC a.example. A RRSIG NSEC", false),
        ("a.example. 300 NSEC z.example. A RRSIG NSEC", true),
        ("a.example. 300 NSEC example. A RRSIG NSEC", true),
    ] {
        let sets = [secure_nsec(&zone, &key, line)];
        let denial = zone.denial(&sets);
        assert_eq!(denial.is_empty(), !taken, "{line}");
        let found = denial.wildcard_answer(name("n.example").as_ref(), name(ZONE).as_ref(), budget);
        assert_eq!(matches!(found, Proof::Proven(_)), taken, "{line}");
    }
}

#[test]
fn a_denial_of_another_zone_or_class_of_record_does_not_count() {
    let (key, child) = (key(), Key::new("sub.example", 4, 257));
    let (zone, below) = (zone_of(&key), zone_of(&child));
    let sets = [below.secure(&child.sign(one("sub.example. 300 NSEC z.sub.example. NS SOA RRSIG NSEC")))];
    assert!(zone.denial(&sets).is_empty(), "the child cannot speak for its parent");
    let sets = [zone.secure(&key.sign(a("a.example")))];
    assert!(zone.denial(&sets).is_empty());
    let two = key.sign(read("a.example. 300 NSEC b.example. A\na.example. 300 NSEC z.example. A").remove(0));
    assert!(zone.denial(&[zone.secure(&two)]).is_empty(), "two records at one name");
}

#[test]
fn cve_2026_10723_an_nsec3_that_is_not_right_below_its_zone_is_ignored() {
    let key = key();
    let zone = zone_of(&key);
    let hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom";
    for (line, taken) in [
        (format!("{hash}.example. 300 NSEC3 1 0 0 - {hash} A"), true),
        (format!("{hash}.sub.example. 300 NSEC3 1 0 0 - {hash} A"), false),
        (format!("{}.example. 300 NSEC3 1 0 0 - {hash} A", &hash[1..]), false),
        (format!("{hash}.example. 300 NSEC3 2 0 0 - {hash} A"), false),
        (format!("{hash}.example. 300 NSEC3 1 2 0 - {hash} A"), false),
        (format!("{hash}.example. 300 NSEC3 1 128 0 - {hash} A"), false),
    ] {
        let sets = [zone.secure(&key.sign(one(&line)))];
        assert_eq!(!zone.denial(&sets).is_empty(), taken, "{line}");
    }
}

/// A name's hash without salt and iterations.
fn hash_of(text: &str) -> nsec3::Hash {
    nsec3::Hashes { iterations: 0, salt: &[] }.hash(name(text).as_ref(), &mut Budget::default()).unwrap()
}

fn base32hex(hash: nsec3::Hash) -> String {
    let letter = |nth: usize| {
        let bit = nth * 5;
        let pair = u16::from(hash[bit / 8]) << 8 | u16::from(*hash.get(bit / 8 + 1).unwrap_or(&0));
        char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(pair >> (11 - bit % 8) & 31)])
    };
    (0..32).map(letter).collect()
}

#[test]
fn rfc5155_9_2_opt_out_over_the_wildcard_alone_is_opt_out_too() {
    let key = key();
    let zone = zone_of(&key);
    let budget = &mut Budget::default();
    // A record that covers the name and nothing near it.
    let cover = |text: &str, opt_out: u8| {
        let (mut before, mut after) = (hash_of(text), hash_of(text));
        before[19] = before[19].checked_sub(1).expect("no borrow");
        after[19] = after[19].checked_add(1).expect("no carry");
        let (before, after) = (base32hex(before), base32hex(after));
        zone.secure(&key.sign(one(&format!("{before}.example. 300 NSEC3 1 {opt_out} 0 - {after} A"))))
    };
    let mut next = hash_of(ZONE);
    next[19] = next[19].checked_add(1).expect("no carry");
    let (apex, next) = (base32hex(hash_of(ZONE)), base32hex(next));
    let apex = zone.secure(&key.sign(one(&format!("{apex}.example. 300 NSEC3 1 0 0 - {next} NS SOA"))));
    for (over_name, over_wildcard) in [(0, 0), (0, 1), (1, 0)] {
        let sets = [apex.clone(), cover("b.example", over_name), cover("*.example", over_wildcard)];
        let denial = zone.denial(&sets);
        let known = denial.synthesise(name("b.example").as_ref(), Rtype::A, budget).is_some();
        let proven = matches!(denial.name_error(name("b.example").as_ref(), budget), Proof::Proven(_));
        assert_eq!((known, proven), (over_name + over_wildcard == 0, over_name + over_wildcard == 0));
    }
}

#[test]
fn rfc5155_8_2_records_of_an_older_chain_do_not_make_a_zone_insecure() {
    let key = key();
    let zone = zone_of(&key);
    let text = base32hex(hash_of("a.example"));
    let old = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom";
    let sets = [
        zone.secure(&key.sign(one(&format!("{old}.example. 300 NSEC3 1 0 2000 - {old} A")))),
        zone.secure(&key.sign(one(&format!("{text}.example. 300 NSEC3 1 0 0 - {text} A RRSIG")))),
    ];
    let found = zone.denial(&sets).no_data(name("a.example").as_ref(), Rtype::AAAA, &mut Budget::default());
    assert!(matches!(found, Proof::Proven(_)), "{found:?}");
}

#[test]
fn rfc6840_4_1_a_delegations_nsec_denies_nothing_below_it() {
    let key = key();
    let zone = zone_of(&key);
    let budget = &mut Budget::default();
    for (types, denies) in
        [("NS RRSIG NSEC", false), ("NS DS RRSIG NSEC", false), ("DNAME RRSIG NSEC", false), ("A RRSIG NSEC", true)]
    {
        let sets = [
            secure_nsec(&zone, &key, &format!("sub.example. 300 NSEC z.example. {types}")),
            secure_nsec(&zone, &key, "example. 300 NSEC sub.example. NS SOA RRSIG NSEC"),
        ];
        let found = zone.denial(&sets).name_error(name("x.sub.example").as_ref(), budget);
        assert_eq!(matches!(found, Proof::Proven(_)), denies, "{types}");
    }
}

#[test]
fn rfc4592_2_2_2_a_wildcard_that_is_an_empty_non_terminal_exists() {
    let key = key();
    let zone = zone_of(&key);
    let budget = &mut Budget::default();
    let sets = [
        secure_nsec(&zone, &key, "example. 300 NSEC x.*.example. NS SOA RRSIG NSEC"),
        secure_nsec(&zone, &key, "x.*.example. 300 NSEC example. A RRSIG NSEC"),
    ];
    let denial = zone.denial(&sets);
    assert!(matches!(denial.name_error(name("b.example").as_ref(), budget), Proof::Bogus(_)));
    assert!(matches!(denial.no_data(name("b.example").as_ref(), Rtype::A, budget), Proof::Proven(_)));
    assert!(matches!(denial.synthesise(name("b.example").as_ref(), Rtype::A, budget), Some(Synthesis::NoData(_))));
}

#[test]
fn rfc8198_a_delegation_at_a_wildcard_answers_nothing() {
    let key = key();
    let zone = zone_of(&key);
    for (types, found) in [("NS RRSIG NSEC", false), ("TXT RRSIG NSEC", true)] {
        let sets = [secure_nsec(&zone, &key, &format!("*.example. 300 NSEC z.example. {types}"))];
        let one = zone.denial(&sets).synthesise(name("b.example").as_ref(), Rtype::A, &mut Budget::default()).is_some();
        assert_eq!(one, found, "{types}");
    }
}

#[test]
fn rfc6672_3_3_a_dname_out_of_a_wildcard_makes_no_cname() {
    let key = key();
    let zone = zone_of(&key);
    let dname = key.sign_as(one("b.example. 300 DNAME other.test."), |fields| {
        fields.labels = 1;
        fields.owner = name("*.example").as_ref().to_buf();
    });
    let dname = zone.secure(&dname);
    assert!(!synthesised(&dname, &one("x.b.example. 300 CNAME x.other.test.")));
}

#[test]
fn rfc9824_compact_denial_tells_names_that_are_not_there() {
    let key = key();
    let zone = zone_of(&key);
    let budget = &mut Budget::default();
    for (types, nxname) in [("RRSIG NSEC NXNAME", true), ("RRSIG NSEC", false)] {
        let sets = [secure_nsec(&zone, &key, &format!(r"gone.example. 300 NSEC \000.gone.example. {types}"))];
        let denial = zone.denial(&sets);
        let Proof::Proven(found) = denial.no_data(name("gone.example").as_ref(), Rtype::A, budget) else { panic!() };
        assert_eq!((found.nxname, found.ttl, found.used), (nxname, 300, 1));
        // It says nothing of other names, and is no NXDOMAIN of the old kind.
        assert!(matches!(denial.name_error(name("gone.example").as_ref(), budget), Proof::Bogus(_)));
        assert!(matches!(denial.no_data(name("a.example").as_ref(), Rtype::A, budget), Proof::Bogus(_)));
    }
}

#[test]
fn rfc4470_epsilon_records_prove_a_name_error() {
    let key = key();
    let zone = zone_of(&key);
    let sets = [
        secure_nsec(&zone, &key, r"\255\255.goma.example. 300 NSEC \000.gonf.example. RRSIG NSEC"),
        secure_nsec(&zone, &key, r"\033\255.example. 300 NSEC +.example. RRSIG NSEC"),
    ];
    let denial = zone.denial(&sets);
    let found = denial.name_error(name("gone.example").as_ref(), &mut Budget::default());
    assert!(matches!(found, Proof::Proven(Proven { used: 3, .. })), "{found:?}");
    assert!(matches!(denial.name_error(name("zone.example").as_ref(), &mut Budget::default()), Proof::Bogus(_)));
}

#[test]
fn reasons_carry_codes_and_short_texts() {
    for (reason, code) in [
        (Reason::NoSignature, Some(10)),
        (Reason::NoMatchingKey, Some(9)),
        (Reason::BadSignature, Some(6)),
        (Reason::NoZoneKeyBit, Some(11)),
        (Reason::NoDenial, Some(12)),
        (Reason::UnsupportedDsAlgorithm, Some(1)),
        (Reason::UnsupportedDigest, Some(2)),
        (Reason::TooManyIterations, Some(27)),
        (Reason::OverBudget, Some(5)),
        (Reason::OptOut, None),
    ] {
        assert_eq!(reason.ede_code(), code, "{reason}");
        assert!(reason.to_string().len() <= wire::rrset::MAX_EDE_TEXT);
    }
}
