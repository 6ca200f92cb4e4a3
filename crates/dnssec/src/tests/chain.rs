//! From anchors and DS sets to keys: RFC 4035 5.2, RFC 6840 5, RFC 4509.

use super::*;

fn rules() -> Rules {
    Rules::default()
}

fn parent() -> (Key, Zone) {
    let key = Key::new("test", 9, 257);
    let zone = zone_of(&key);
    (key, zone)
}

/// A DS set of `child.test`, signed by its parent.
fn ds(records: &[Vec<u8>]) -> Secure {
    let (key, zone) = parent();
    let rdata = records.iter().map(|rdata| &rdata[..]).collect();
    zone.secure(&key.sign(Rrset::new(name("child.test"), Rtype::DS, Class::IN, 600, rdata)))
}

fn child(seed: u8, flags: u16) -> Key {
    Key::new("child.test", seed, flags)
}

fn prove(keys: &Rrset, ds: &Secure, rules: &Rules) -> Keys {
    by_ds(keys, ds, rules, NOW, &mut Budget::default())
}

fn bogus(keys: Keys) -> Reason {
    match keys {
        Keys::Bogus(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_of_three_zones_is_walked() {
    let (ksk, zsk) = (child(1, 257), child(2, 256));
    let keys = ksk.sign(dnskeys(&[&ksk, &zsk]));
    let Keys::Secure(keys) = prove(&keys, &ds(&[ksk.ds()]), &rules()) else { panic!() };
    assert_eq!((keys.zone(), keys.keys().count()), (name("child.test").as_ref(), 2));
    let answer = zsk.sign(one("www.child.test. 60 A 192.0.2.1"));
    assert!(matches!(verify(&answer, &keys, &rules(), NOW, &mut Budget::default()), Outcome::Secure(_)));
    let forged = Key::new("child.test", 3, 256).sign(one("www.child.test. 60 A 192.0.2.1"));
    assert_eq!(why(verify(&forged, &keys, &rules(), NOW, &mut Budget::default())), Reason::NoMatchingKey);
}

#[test]
fn rfc4035_5_2_the_key_that_the_ds_means_signs_the_keys() {
    let (ksk, zsk, other) = (child(1, 257), child(2, 256), child(3, 257));
    let set = dnskeys(&[&ksk, &zsk]);
    assert_eq!(bogus(prove(&zsk.sign(set.clone()), &ds(&[ksk.ds()]), &rules())), Reason::NoMatchingKey);
    assert_eq!(bogus(prove(&set, &ds(&[ksk.ds()]), &rules())), Reason::NoSignature);
    assert_eq!(bogus(prove(&ksk.sign(set.clone()), &ds(&[other.ds()]), &rules())), Reason::NoKeyForDs);
    let mut wrong = ksk.ds();
    wrong[10] ^= 1;
    assert_eq!(bogus(prove(&ksk.sign(set.clone()), &ds(&[wrong.clone()]), &rules())), Reason::NoKeyForDs);
    // One DS that fits among others is enough (RFC 6840 5.11), the SEP flag is a hint (RFC 4034 2.1.1).
    assert!(matches!(prove(&ksk.sign(set.clone()), &ds(&[wrong, ksk.ds(), other.ds()]), &rules()), Keys::Secure(_)));
    assert!(matches!(prove(&zsk.sign(set), &ds(&[zsk.ds()]), &rules()), Keys::Secure(_)));
}

#[test]
fn keys_that_are_no_zone_keys_or_revoked_begin_no_chain() {
    for (flags, reason) in [(0u16, Reason::NoZoneKeyBit), (0x0181, Reason::KeyRevoked)] {
        let key = child(1, flags);
        assert_eq!(bogus(prove(&key.sign(dnskeys(&[&key])), &ds(&[key.ds()]), &rules())), reason);
    }
}

#[test]
fn rfc6840_5_2_nothing_supported_is_insecure_and_one_supported_is_binding() {
    let ksk = child(1, 257);
    let keys = ksk.sign(dnskeys(&[&ksk]));
    let with = |algorithm: u8, digest: u8| {
        let mut rdata = ksk.ds();
        (rdata[2], rdata[3]) = (algorithm, digest);
        rdata
    };
    for (records, reason) in [
        (vec![with(12, 2), with(253, 2)], Reason::UnsupportedDsAlgorithm),
        (vec![with(15, 3), with(15, 5)], Reason::UnsupportedDigest),
    ] {
        let found = prove(&keys, &ds(&records), &rules());
        assert!(matches!(found, Keys::Insecure(why) if why == reason), "{found:?}");
    }
    // An attacker who takes away the supported key does not get "insecure".
    let other = child(2, 257);
    let found = prove(&other.sign(dnskeys(&[&other])), &ds(&[with(12, 2), ksk.ds()]), &rules());
    assert_eq!(bogus(found), Reason::NoKeyForDs);
}

#[test]
fn rsa_keys_too_small_to_verify_are_insecure() {
    let line = "child.test. 300 DNSKEY 257 3 7 \
                AwEAAcUlFV1vhmqx6NSOUOq2R/dsR7Xm3upJj7IommWSpJABVfW8Q0rOvXdM6kzt+TAu92L9AbsUdblMFin8CVF3n4s=";
    let set = one(line);
    let rdata = set.rdata.first().unwrap().to_vec();
    let mut data = name("child.test").as_ref().as_wire().to_vec();
    data.extend(&rdata);
    let mut record = key_tag(&rdata).to_be_bytes().to_vec();
    record.extend([7, 2]);
    record.extend(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data).as_ref());
    let found = prove(&set, &ds(&[record]), &rules());
    assert!(matches!(found, Keys::Insecure(Reason::UnsupportedKeySize)), "{found:?}");
}

#[test]
fn hashtrap_ds_records_with_the_tag_of_a_key_are_bounded() {
    let ksk = child(1, 257);
    let records: Vec<Vec<u8>> = (0..40u8)
        .map(|nth| {
            let mut rdata = ksk.ds();
            rdata[5] ^= nth + 1;
            rdata
        })
        .collect();
    let mut budget = Budget::default();
    let found = by_ds(&ksk.sign(dnskeys(&[&ksk])), &ds(&records), &rules(), NOW, &mut budget);
    assert_eq!(bogus(found), Reason::TooManyAttempts);
    assert_eq!(budget.spent(), (0, budget::MAX_DS_MISMATCHES));
}

#[test]
fn a_ds_set_of_another_name_or_type_proves_nothing() {
    let ksk = child(1, 257);
    let (key, zone) = parent();
    let keys = ksk.sign(dnskeys(&[&ksk]));
    let other = zone.secure(&key.sign(Rrset::new(name("b.test"), Rtype::DS, Class::IN, 9, RdataSet::one(&ksk.ds()))));
    assert_eq!(bogus(prove(&keys, &other, &rules())), Reason::NoKeyForDs);
    let cds =
        zone.secure(&key.sign(Rrset::new(name("child.test"), Rtype::CDS, Class::IN, 9, RdataSet::one(&ksk.ds()))));
    assert_eq!(bogus(prove(&keys, &cds, &rules())), Reason::NoKeyForDs);
    let none = Rrset::new(name("child.test"), Rtype::DNSKEY, Class::IN, 9, RdataSet::new());
    assert_eq!(bogus(prove(&none, &ds(&[ksk.ds()]), &rules())), Reason::NoKeys);
}

/// Two algorithms in the DS set, and a DNSKEY set that only one has signed.
fn downgraded() -> (Rrset, Secure, Key) {
    let ed = child(1, 257);
    let p256 = one("child.test. 3600 DNSKEY 257 3 13 \
         GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==");
    let rdata = p256.rdata.first().unwrap();
    let mut data = name("child.test").as_ref().as_wire().to_vec();
    data.extend(rdata);
    let mut record = key_tag(rdata).to_be_bytes().to_vec();
    record.extend([13, 2]);
    record.extend(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data).as_ref());
    let mut set = dnskeys(&[&ed]);
    set.make_mut().rdata.push(rdata);
    (ed.sign(set), ds(&[ed.ds(), record]), ed)
}

#[test]
fn rfc6840_5_11_any_one_path_is_enough() {
    let (keys, ds, ed) = downgraded();
    let Keys::Secure(keys) = prove(&keys, &ds, &rules()) else { panic!() };
    let answer = ed.sign(one("www.child.test. 60 A 192.0.2.1"));
    assert!(matches!(verify(&answer, &keys, &rules(), NOW, &mut Budget::default()), Outcome::Secure(_)));
}

#[test]
fn harden_algo_downgrade_wants_every_algorithm_of_the_ds_set() {
    let (keys, both, ed) = downgraded();
    let hard = Rules { harden_algo_downgrade: true, ..rules() };
    assert_eq!(bogus(prove(&keys, &both, &hard)), Reason::MissingAlgorithm);
    let Keys::Secure(keys) = prove(&keys, &ds(&[ed.ds()]), &hard) else { panic!() };
    let answer = ed.sign(one("www.child.test. 60 A 192.0.2.1"));
    assert!(matches!(verify(&answer, &keys, &hard, NOW, &mut Budget::default()), Outcome::Secure(_)));
}

#[test]
fn anchors_may_be_ds_or_keys_and_one_that_fits_is_enough() {
    let (ksk, other) = (child(1, 257), child(2, 257));
    let keys = ksk.sign(dnskeys(&[&ksk]));
    let anchor = |ds: &[Vec<u8>], keys: &[&Key]| Anchor {
        owner: name("child.test"),
        ds: ds.iter().map(|rdata| &rdata[..]).collect(),
        dnskey: keys.iter().map(|key| &key.rdata[..]).collect(),
    };
    let by = |anchor: Anchor| by_anchor(&keys, &anchor, &rules(), NOW, &mut Budget::default());
    assert!(matches!(by(anchor(&[ksk.ds()], &[])), Keys::Secure(_)));
    assert!(matches!(by(anchor(&[], &[&ksk])), Keys::Secure(_)));
    assert!(matches!(by(anchor(&[other.ds()], &[&ksk])), Keys::Secure(_)));
    assert_eq!(bogus(by(anchor(&[other.ds()], &[&other]))), Reason::NoKeyForDs);
    let mut unknown = other.ds();
    unknown[2] = 200;
    assert!(matches!(by(anchor(&[unknown], &[])), Keys::Insecure(_)));
}
