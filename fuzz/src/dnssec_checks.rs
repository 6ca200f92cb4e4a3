//! The checks on `dnssec`: no message may panic it or cost more than its budget, and what it calls proven names its proof.
//!
//! Included by the fuzz target and, by path, by the replay test of the crate; it uses nothing but `dnssec` and `wire`.

use dnssec::{Anchor, Anchors, Autotrust, Budget, Denial, Keys, NoDs, Outcome, Proof, Rules, Secure, Synthesis};
use wire::{Name, NameRef, RdataSet, Reply, Rrset, Rtype};

/// 15 November 2026, when the seeds' signatures are valid.
const NOW: u64 = 1_794_700_800;
/// Less than a question gets, so that its end is met.
const VERIFICATIONS: u32 = 24;
const BLOCKS: u32 = 4096;

/// Any message: its keys proven by themselves or its DS sets, its sets verified, its denials asked about every name in it.
/// What is no message is read as a file of trust anchors.
pub fn validate(data: &[u8]) {
    let Ok(reply) = Reply::parse(data) else { return anchors(data) };
    let sets: Vec<&Rrset> = reply.answer.iter().chain(&reply.authority).chain(&reply.additional).collect();
    let rules = Rules::default();
    let mut budget = Budget::new(VERIFICATIONS, BLOCKS);
    for keys in sets.iter().filter(|set| set.rtype == Rtype::DNSKEY) {
        let ds = sets.iter().find(|set| set.rtype == Rtype::DS && set.owner == keys.owner);
        let (ds, dnskey) = match ds {
            Some(ds) => (ds.rdata.clone(), RdataSet::new()),
            None => (RdataSet::new(), keys.rdata.clone()),
        };
        let anchor = Anchor { owner: keys.owner.clone(), ds, dnskey };
        let Keys::Secure(zone) = dnssec::by_anchor(keys, &anchor, &rules, NOW, &mut budget) else { continue };
        for set in &sets {
            if let Outcome::Secure(secure) = dnssec::verify(set, &zone, &rules, NOW, &mut budget) {
                assert!(secure.set().ttl <= set.ttl && secure.zone() == zone.zone());
                assert_eq!(secure.set().sigs.len(), set.sigs.len());
                let again = Secure::remembered(secure.set().clone()).expect("its first signature fits");
                assert_eq!(again.wildcard(), secure.wildcard());
            }
        }
    }
    for set in &sets {
        for rdata in &set.rdata {
            assert_eq!(dnssec::canonical::canonical_rdata(set.rtype, rdata).len(), rdata.len());
        }
    }
    let secure: Vec<Secure> = sets.iter().filter_map(|set| Secure::remembered((*set).clone())).collect();
    let zones: Vec<Name> = secure.iter().map(|secure| secure.zone().to_name()).take(4).collect();
    for zone in &zones {
        let denial = Denial::new(zone.as_ref(), 256, &secure, &rules);
        let asked = reply.question.map(|(name, _, _)| name.to_name());
        for name in asked.iter().chain(sets.iter().map(|set| &set.owner)).take(12) {
            ask(&denial, name.as_ref(), &mut budget);
        }
    }
    let (verifications, blocks) = budget.spent();
    assert!(verifications <= VERIFICATIONS && blocks <= BLOCKS, "more than the budget was spent");
}

fn ask(denial: &Denial<'_>, name: NameRef<'_>, budget: &mut Budget) {
    let mut proven = Vec::new();
    let mut keep = |proof: Proof| match proof {
        Proof::Proven(found) => proven.push(found),
        Proof::Insecure(reason) | Proof::Bogus(reason) => assert!(!reason.text().is_empty()),
        Proof::OverBudget => {}
    };
    keep(denial.name_error(name, budget));
    keep(denial.no_data(name, Rtype::A, budget));
    keep(denial.no_data(name, Rtype::DS, budget));
    for encloser in name.ancestors().skip(1).take(3) {
        keep(denial.wildcard_answer(name, encloser, budget));
    }
    match denial.no_ds(name, budget) {
        NoDs::Unsigned(found) | NoDs::NoCut(found) | NoDs::NoName(found) => proven.push(found),
        _ => {}
    }
    match denial.synthesise(name, Rtype::A, budget) {
        Some(Synthesis::NameError(found) | Synthesis::NoData(found)) => proven.push(found),
        Some(Synthesis::Wildcard { encloser, proof }) => {
            assert!(name.is_subdomain_of(encloser) && name != encloser);
            proven.push(proof);
        }
        None => {}
    }
    for found in proven {
        assert!(found.used != 0, "a proof of nothing");
    }
}

fn anchors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Anchors::new().add_records(text);
    let _ = Anchors::new().add_bind(text);
    if let Ok(auto) = Autotrust::parse(text) {
        assert_eq!(Autotrust::parse(&auto.to_text()).as_ref(), Ok(&auto));
    }
}
