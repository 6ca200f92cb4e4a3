//! Octets changed at random: nothing panics, and nothing changed is secure.

use super::*;
use proptest::prelude::*;

const ZONES: &str = include_str!("../../tests/data/zones.txt");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_set_is_never_secure(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8, sig: bool) {
        let zone = Zone::new(ZONES, "nsec.test", NOW);
        let signed: Vec<&Rrset> = zone.sets.iter().filter(|set| set.sigs.len() == 1 && set.rdata.len() == 1).collect();
        let set = signed[which.index(signed.len())];
        let part = if sig { &set.sigs } else { &set.rdata };
        let mut octets = part.first().unwrap().to_vec();
        let at = at.index(octets.len());
        octets[at] ^= 1 << bit;
        let mut changed = set.clone();
        *if sig { &mut changed.make_mut().sigs } else { &mut changed.make_mut().rdata } = RdataSet::one(&octets);
        // Names that are lower-cased before they are signed may differ in case and nothing else.
        let same = canonical::canonical_rdata(set.rtype, set.rdata.first().unwrap())
            == canonical::canonical_rdata(set.rtype, changed.rdata.first().unwrap());
        let signer = sig && (18..octets.len() - 64).contains(&at) && bit == 5;
        if let Outcome::Secure(secure) = zone.verify(&changed) {
            prop_assert!((!sig && same) || signer, "{:?}", secure.set());
        }
    }

    #[test]
    fn any_octets_as_keys_signatures_and_denials_are_only_wrong(
        keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        sigs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..4),
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4),
        rtype in prop::sample::select(vec![Rtype::NSEC, Rtype::NSEC3, Rtype::DS, Rtype::DNSKEY, Rtype::A, Rtype::A6, Rtype::NAPTR]),
    ) {
        let list = |all: &[Vec<u8>]| all.iter().map(|one| &one[..]).collect::<RdataSet>();
        let mut set = Rrset::new(name("x.test"), rtype, Class::IN, 60, list(&data)).with_sigs(list(&sigs));
        let zone = zone_of(&Key::new("test", 1, 257));
        prop_assert!(!matches!(zone.verify(&set), Outcome::Secure(_)));
        let anchor = Anchor { owner: name("x.test"), ds: list(&data), dnskey: list(&keys) };
        let dnskey = Rrset::new(name("x.test"), Rtype::DNSKEY, Class::IN, 60, list(&keys)).with_sigs(list(&sigs));
        let found = by_anchor(&dnskey, &anchor, &zone.rules, NOW, &mut Budget::default());
        prop_assert!(!matches!(found, Keys::Secure(_)));
        // Signed rubbish is still rubbish.
        let key = Key::new("test", 1, 257);
        set.make_mut().sigs = RdataSet::new();
        if let Outcome::Secure(secure) = zone.verify(&key.sign(set)) {
            let sets = [secure];
            let denial = zone.denial(&sets);
            let budget = &mut Budget::default();
            let _ = denial.name_error(name("a.b.test").as_ref(), budget);
            let _ = denial.no_ds(name("a.test").as_ref(), budget);
            let _ = denial.synthesise(name("a.test").as_ref(), Rtype::A, budget);
        }
    }

    #[test]
    fn any_text_is_an_anchor_file_or_an_error(text in "[ -~\n]{0,200}") {
        let _ = Anchors::new().add_records(&text);
        let _ = Anchors::new().add_bind(&text);
        if let Ok(auto) = Autotrust::parse(&text) {
            prop_assert_eq!(Autotrust::parse(&auto.to_text()).unwrap(), auto);
        }
    }
}
