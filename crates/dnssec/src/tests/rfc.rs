//! The examples of the RFCs: what they call signed verifies, what they prove is proven.

use super::*;
use crate::verify::Signers;

const EXAMPLES: &str = include_str!("../../tests/data/rfc.txt");
const RFC4035: &str = include_str!("../../tests/data/rfc4035.txt");
/// 1 May 2004.
const IN_2004: u64 = 1_083_412_800;

/// The block of `rfc.txt` that has this text in it.
fn block(text: &str) -> Vec<Rrset> {
    read(EXAMPLES.split(";---").find(|block| block.contains(text)).unwrap())
}

/// Verifies the one signed set of a block with the one key of it, and its DS against the key.
fn example(text: &str, now: u64, tag: u16) {
    let sets = block(text);
    let dnskey = sets.iter().find(|set| set.rtype == Rtype::DNSKEY).unwrap();
    let key = Dnskey::parse(dnskey.rdata.first().unwrap()).unwrap();
    assert_eq!(key.tag(), tag);
    let mut budget = Budget::default();
    for ds in sets.iter().filter(|set| set.rtype == Rtype::DS).flat_map(|set| set.rdata.iter()) {
        assert!(Ds::parse(ds).unwrap().is_digest_of(dnskey.owner.as_ref(), &key, &mut budget).unwrap());
    }
    let signers = Signers::new(dnskey.owner.as_ref(), std::iter::once((key.tag(), key)), &[]);
    for set in sets.iter().filter(|set| !set.sigs.is_empty()) {
        let outcome = signers.verify(set, &Rules::default(), now, &mut budget);
        assert!(matches!(outcome, Outcome::Secure(_)), "{outcome:?}");
        let mut wrong = set.clone();
        wrong.make_mut().rdata = RdataSet::one(b"\x00\x0a\x00");
        assert_eq!(why(signers.verify(&wrong, &Rules::default(), now, &mut budget)), Reason::BadSignature);
    }
}

#[test]
fn rfc4034_5_4_and_rfc4509_2_3_digests_of_one_key() {
    example("dskey.example.com", 0, 60485);
}

#[test]
fn rfc5702_6_2_rsasha512() {
    example(" 3740 ", 1_300_000_000, 3740);
}

#[test]
fn rfc6605_6_1_p256() {
    example(" 55648 ", 1_283_000_000, 55648);
}

#[test]
fn rfc6605_6_2_p384() {
    example(" 10771 ", 1_283_000_000, 10771);
}

#[test]
fn rfc8080_6_1_ed25519() {
    example(" 3613 ", 1_439_000_000, 3613);
    example(" 35217 ", 1_439_000_000, 35217);
}

#[test]
fn rfc8080_6_2_ed448() {
    example(" 9713 ", 1_439_000_000, 9713);
}

fn rfc4035() -> Zone {
    Zone::new(RFC4035, "example", IN_2004)
}

#[test]
fn rfc4035_b_1_every_set_verifies() {
    let zone = rfc4035();
    let mut count = 0;
    for set in &zone.sets {
        let secure = zone.secure(set);
        assert_eq!(secure.wildcard().is_some(), set.owner == name("a.z.w.example"), "{set:?}");
        count += 1;
    }
    assert_eq!(count, 13);
}

fn proof(proof: Proof) -> bool {
    match proof {
        Proof::Proven(_) => true,
        Proof::Bogus(_) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc4035_b_2_name_error() {
    let zone = rfc4035();
    let budget = &mut Budget::default();
    let both = zone.denials(Rtype::NSEC, &["b.example", "example"]);
    assert!(proof(zone.denial(&both).name_error(name("ml.example").as_ref(), budget)));
    for owner in ["b.example", "example"] {
        let half = zone.denials(Rtype::NSEC, &[owner]);
        assert!(!proof(zone.denial(&half).name_error(name("ml.example").as_ref(), budget)), "{owner} alone");
    }
}

#[test]
fn rfc4035_b_3_no_data() {
    let zone = rfc4035();
    let sets = zone.denials(Rtype::NSEC, &["ns1.example"]);
    let denial = zone.denial(&sets);
    let budget = &mut Budget::default();
    assert!(proof(denial.no_data(name("ns1.example").as_ref(), Rtype::MX, budget)));
    assert_eq!(denial.no_data(name("ns1.example").as_ref(), Rtype::A, budget), Proof::Bogus(Reason::TypeExists));
}

#[test]
fn rfc4035_b_4_and_b_5_referrals() {
    let zone = rfc4035();
    let ds = zone.secure(zone.set("a.example", Rtype::DS));
    assert_eq!(ds.zone(), name("example").as_ref());
    let sets = zone.denials(Rtype::NSEC, &["b.example"]);
    let found = zone.denial(&sets).no_ds(name("b.example").as_ref(), &mut Budget::default());
    assert!(matches!(found, NoDs::Unsigned(_)), "{found:?}");
}

#[test]
fn rfc4035_b_6_wildcard_expansion() {
    let zone = rfc4035();
    let made = zone.secure(zone.set("a.z.w.example", Rtype::MX));
    let encloser = made.wildcard().unwrap();
    assert_eq!(encloser, name("w.example").as_ref());
    let sets = zone.denials(Rtype::NSEC, &["x.y.w.example"]);
    let budget = &mut Budget::default();
    assert!(proof(zone.denial(&sets).wildcard_answer(name("a.z.w.example").as_ref(), encloser, budget)));
    let other = zone.denials(Rtype::NSEC, &["b.example"]);
    assert!(!proof(zone.denial(&other).wildcard_answer(name("a.z.w.example").as_ref(), encloser, budget)));
}

#[test]
fn rfc4035_b_7_wildcard_no_data() {
    let zone = rfc4035();
    let budget = &mut Budget::default();
    let both = zone.denials(Rtype::NSEC, &["x.y.w.example", "*.w.example"]);
    assert!(proof(zone.denial(&both).no_data(name("a.z.w.example").as_ref(), Rtype::AAAA, budget)));
    assert!(!proof(zone.denial(&both).no_data(name("a.z.w.example").as_ref(), Rtype::MX, budget)));
    let half = zone.denials(Rtype::NSEC, &["x.y.w.example"]);
    assert!(!proof(zone.denial(&half).no_data(name("a.z.w.example").as_ref(), Rtype::AAAA, budget)));
}

#[test]
fn rfc4035_b_8_the_childs_nsec_denies_no_ds() {
    let zone = rfc4035();
    let sets = zone.denials(Rtype::NSEC, &["example"]);
    let budget = &mut Budget::default();
    assert!(!proof(zone.denial(&sets).no_data(name("example").as_ref(), Rtype::DS, budget)));
    assert!(proof(zone.denial(&sets).no_data(name("example").as_ref(), Rtype::AAAA, budget)));
}

/// RFC 5155 App. A. Its keys have 512 bits, too few to be verified, so the records count as verified here.
fn rfc5155(owners: &[&str]) -> Vec<Secure> {
    let chain = "\
0p9mhaveqvm6t7vbl5lop2u3t2rp3tom 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG
2t7b4g4vsa5smi47k61mv5bv1a22bojr 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
2vptu5timamqttgl4luu9kg21e0aor3s 35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG
35mthgpgcu1qg68fab165klnsnk3dpvl b4um86eghhds6nea196smvmlo4ors995 NS DS RRSIG
b4um86eghhds6nea196smvmlo4ors995 gjeqe526plbf1g8mklp59enfd789njgi MX RRSIG
gjeqe526plbf1g8mklp59enfd789njgi ji6neoaepv8b5o6k4ev33abha8ht9fgc HINFO A AAAA RRSIG
ji6neoaepv8b5o6k4ev33abha8ht9fgc k8udemvp1j2f7eg6jebps17vp3n8i58h
k8udemvp1j2f7eg6jebps17vp3n8i58h kohar7mbb8dc2ce8a9qvl8hon4k53uhi
kohar7mbb8dc2ce8a9qvl8hon4k53uhi q04jkcevqvmu85r014c7dkba38o0ji5r A RRSIG
q04jkcevqvmu85r014c7dkba38o0ji5r r53bq7cc2uvmubfu5ocmm6pers9tk9en A RRSIG
r53bq7cc2uvmubfu5ocmm6pers9tk9en t644ebqk9bibcna874givr6joj62mlhv MX RRSIG
t644ebqk9bibcna874givr6joj62mlhv 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom HINFO A AAAA RRSIG";
    let key = Key::new("example", 7, 257);
    let wanted = chain.lines().filter(|line| owners.iter().any(|owner| line.starts_with(owner)));
    let sets: Vec<Secure> = wanted
        .map(|line| {
            let (owner, rest) = line.split_once(' ').unwrap();
            Secure::remembered(key.sign(one(&format!("{owner}.example. 3600 IN NSEC3 1 1 12 aabbccdd {rest}"))))
                .unwrap()
        })
        .collect();
    assert_eq!(sets.len(), owners.len());
    sets
}

fn denial(sets: &[Secure]) -> Denial<'_> {
    Denial::new(sets[0].zone(), 512, sets, &Rules::default())
}

#[test]
fn rfc5155_b_1_name_error_is_insecure_under_opt_out() {
    let sets = rfc5155(&["0p9m", "b4um", "35mt"]);
    let budget = &mut Budget::default();
    let qname = name("a.c.x.w.example");
    assert_eq!(denial(&sets).name_error(qname.as_ref(), budget), Proof::Insecure(Reason::OptOut));
    for missing in 0..3 {
        let mut some = sets.clone();
        some.remove(missing);
        assert_eq!(denial(&some).name_error(qname.as_ref(), budget), Proof::Bogus(Reason::NoDenial), "{missing}");
    }
}

#[test]
fn rfc5155_b_2_no_data_and_empty_non_terminal() {
    let budget = &mut Budget::default();
    let sets = rfc5155(&["2t7b"]);
    assert!(proof(denial(&sets).no_data(name("ns1.example").as_ref(), Rtype::MX, budget)));
    assert!(!proof(denial(&sets).no_data(name("ns1.example").as_ref(), Rtype::A, budget)));
    let sets = rfc5155(&["ji6n"]);
    assert!(proof(denial(&sets).no_data(name("y.w.example").as_ref(), Rtype::A, budget)));
}

#[test]
fn rfc5155_b_3_referral_to_an_opt_out_unsigned_zone() {
    let sets = rfc5155(&["35mt", "0p9m"]);
    let found = denial(&sets).no_ds(name("c.example").as_ref(), &mut Budget::default());
    assert!(matches!(found, NoDs::Unsigned(_)), "{found:?}");
}

#[test]
fn rfc5155_b_4_wildcard_expansion() {
    // The record that covers z.w.example has opt-out set: the answer is insecure.
    let sets = rfc5155(&["q04j"]);
    let (qname, encloser) = (name("a.z.w.example"), name("w.example"));
    let found = denial(&sets).wildcard_answer(qname.as_ref(), encloser.as_ref(), &mut Budget::default());
    assert_eq!(found, Proof::Insecure(Reason::OptOut));
    let other = rfc5155(&["2t7b"]);
    assert!(!proof(denial(&other).wildcard_answer(qname.as_ref(), encloser.as_ref(), &mut Budget::default())));
}

#[test]
fn rfc5155_b_5_wildcard_no_data() {
    let sets = rfc5155(&["k8ud", "q04j", "r53b"]);
    let budget = &mut Budget::default();
    let qname = name("a.z.w.example");
    assert_eq!(denial(&sets).no_data(qname.as_ref(), Rtype::AAAA, budget), Proof::Insecure(Reason::OptOut));
    assert_eq!(denial(&sets).no_data(qname.as_ref(), Rtype::MX, budget), Proof::Bogus(Reason::TypeExists));
}

#[test]
fn rfc5155_b_6_the_childs_nsec3_denies_no_ds() {
    let sets = rfc5155(&["0p9m"]);
    let budget = &mut Budget::default();
    assert_eq!(denial(&sets).no_data(name("example").as_ref(), Rtype::DS, budget), Proof::Bogus(Reason::NoDenial));
}
