//! What follows from proofs that are remembered: answers to questions nobody asked yet (RFC 8198).
//!
//! It owns the step from the sets that the store finds to an answer: NXDOMAIN, no data, or what a wildcard has. It never
//! looks at signatures (only sets that were proven are found, [`store::Store::denying`]) and decides no proof
//! ([`dnssec::Denial`]).
//!
//! Names in an opt-out span may be unsigned delegations, so nothing follows for them but that no DS record leads there
//! (RFC 5155 9.2). That is for our own questions, which look for the end of what is signed: a client who asks for the DS
//! record of a name may mean one below such a delegation, which only the servers there know. DS denials are used even where
//! `aggressive-nsec` is off, as in Unbound.

use dnssec::{Budget, Denial, NoDs, Proof, Proven, Secure, Synthesis};
use store::{Denying, Found, Millis, Security, Store};
use wire::{Answer, Name, NameBuf, NameRef, Rcode, Rrset, Rtype};

use crate::trust::Trust;

/// Blocks of 64 octets hashed for one answer that follows: some hundred microseconds, as long as asking and proving would
/// take. Zones hashed as RFC 9276 wants take below 20 of them; those that hash too often are asked.
const BLOCKS: u32 = 1024;
/// Most labels a name may have below its zone to be looked for among hashes: each costs one.
const MAX_DEPTH: usize = 16;

/// The answer to `name qtype` that follows from what is known, if one does. Zones above `apex` have no say: the operator has
/// cut the name out of them (CVE-2026-44687). `now` is the store's time. Our own questions for DS records need no SOA record
/// beside the denial; clients do (RFC 2308 3).
pub(crate) fn implied(
    store: &Store,
    (name, apex): (NameRef<'_>, NameRef<'_>),
    qtype: Rtype,
    own: bool,
    trust: &Trust,
    now: Millis,
) -> Option<Found> {
    let ds = qtype == Rtype::DS;
    if !trust.aggressive_nsec && !ds {
        return None;
    }
    let mut budget = Budget::new(0, BLOCKS);
    let mut depth = 0;
    let found = store.denying(name, apex, ds, now, &mut |iterations, salt, name| {
        depth += 1;
        (depth <= MAX_DEPTH + 2).then_some(())?;
        let hash = dnssec::nsec3::Hashes { iterations, salt }.hash(name, &mut budget).ok()?;
        Some(dnssec::nsec3::to_base32hex(&hash))
    })?;
    let Denying { zone, sets, soa, left } = found;
    let sets: Vec<Secure> = sets.into_iter().filter_map(Secure::remembered).collect();
    // Each of them was proven under the rules in force, with the zone's own keys: their size was looked at then.
    let denial = Denial::new(zone.as_ref(), 0, &sets, &trust.rules);
    let (rcode, proof) = match denial.synthesise(name, qtype, &mut budget) {
        Some(Synthesis::NameError(proof)) => (Rcode::NXDOMAIN, proof),
        Some(Synthesis::NoData(proof)) => (Rcode::NOERROR, proof),
        Some(Synthesis::Wildcard { encloser, proof }) => {
            let answer = expand(store, (encloser, zone.as_ref()), name, qtype, now)?;
            return found_as(Rcode::NOERROR, vec![answer], None, left, &sets, &proof);
        }
        None if ds && own => match denial.no_ds(name, &mut budget) {
            NoDs::Unsigned(proof) | NoDs::NoCut(proof) => (Rcode::NOERROR, proof),
            _ => return None,
        },
        None => return wildcard(store, (name, zone.as_ref()), qtype, (&denial, &sets, left), now, &mut budget),
    };
    if soa.is_none() && !(own && ds) {
        return None;
    }
    found_as(rcode, Vec::new(), soa, left, &sets, &proof)
}

/// The answer out of a wildcard of which nothing is known but that it is there (RFC 8198 5.3).
fn wildcard(
    store: &Store,
    (name, zone): (NameRef<'_>, NameRef<'_>),
    qtype: Rtype,
    (denial, sets, left): (&Denial<'_>, &[Secure], u32),
    now: Millis,
    budget: &mut Budget,
) -> Option<Found> {
    let above = name.ancestors().skip(1).take_while(|above| above.is_subdomain_of(zone)).take(MAX_DEPTH);
    let found = |encloser| Some((encloser, expand(store, (encloser, zone), name, qtype, now)?));
    let (encloser, answer) = above.filter_map(found).next()?;
    match denial.wildcard_answer(name, encloser, budget) {
        Proof::Proven(proof) => found_as(Rcode::NOERROR, vec![answer], None, left, sets, &proof),
        _ => None,
    }
}

/// The set at the wildcard below `encloser`, under the name it stands for. The zone that denies the name must have signed it:
/// one above knows nothing of the names of one below, and its hashes lie between others all the same.
fn expand(
    store: &Store,
    (encloser, zone): (NameRef<'_>, NameRef<'_>),
    name: NameRef<'_>,
    qtype: Rtype,
    now: Millis,
) -> Option<Rrset> {
    let mut wildcard = NameBuf::root();
    wildcard.push_label(b"*").and_then(|()| wildcard.push_name(encloser)).ok()?;
    let set = store.proven_set(wildcard.as_ref(), qtype, now)?;
    Secure::remembered(set.clone()).filter(|secure| secure.zone() == zone)?;
    let owner: Name = name.to_name();
    Some(Rrset::new(owner, set.rtype, set.class, set.ttl, set.rdata.clone()).with_sigs(set.sigs.clone()))
}

/// The answer with the sets that prove it. It ends with the first of them, and who is told of it counts its time by the SOA
/// record (RFC 8198 5.4).
fn found_as(
    rcode: Rcode,
    answer: Vec<Rrset>,
    soa: Option<Rrset>,
    left: u32,
    sets: &[Secure],
    proof: &Proven,
) -> Option<Found> {
    let used = sets.iter().enumerate().filter(|(nth, _)| proof.used & 1 << nth != 0);
    let mut authority: Vec<Rrset> = soa.into_iter().chain(used.map(|(_, secure)| secure.set().clone())).collect();
    let left = answer.iter().chain(&authority).map(|set| set.ttl).min()?.min(proof.ttl).min(left);
    authority.iter_mut().filter(|set| set.rtype == Rtype::SOA).for_each(|soa| soa.ttl = left);
    let answer = Answer { answer, authority, ad: true, ..Answer::new(rcode) };
    let (security, prefetch_in) = (Security::Secure, left);
    Some(Found { answer, ttl: left, left, stale: false, prefetch: false, prefetch_in, paused: false, security })
}
