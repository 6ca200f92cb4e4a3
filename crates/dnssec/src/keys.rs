//! [`ZoneKeys`]: the keys of a zone that a DS set or a trust anchor has proven. The links of the chain of trust.
//!
//! It owns the step from "the parent means this key" to "the zone has these keys", with what RFC 4035 5.2 and RFC 6840 5.2
//! make of algorithms that are not supported. It fetches nothing and does not remember.

use wire::{NameRef, Rrset, Rtype};

use crate::algorithm::Algorithm;
use crate::anchor::Anchor;
use crate::budget::{Budget, MAX_DS_MISMATCHES, MAX_KEYS, OverBudget};
use crate::ds::{self, Ds};
use crate::key::Dnskey;
use crate::reason::Reason;
use crate::rules::Rules;
use crate::sig::Rrsig;
use crate::verify::{Outcome, Secure, Signers};

/// What became of a DNSKEY set.
#[derive(Clone, Debug)]
pub enum Keys {
    /// These are the zone's keys.
    Secure(ZoneKeys),
    /// Nothing that the parent or the anchor names can be verified here: the zone counts as unsigned.
    Insecure(Reason),
    /// The keys are not the ones meant, or do not vouch for themselves.
    Bogus(Reason),
    /// The question's work is used up; nothing is known.
    OverBudget,
}

/// The keys of a zone, proven.
#[derive(Clone, Debug)]
pub struct ZoneKeys {
    set: Secure,
    /// Of [`ZoneKeys::keys`], in their order: a set of keys may fill a message, and is looked at with each set it may have
    /// signed.
    tags: Box<[u16]>,
    required: Vec<Algorithm>,
}

impl ZoneKeys {
    /// The zone.
    pub fn zone(&self) -> NameRef<'_> {
        self.set.set().owner.as_ref()
    }

    /// The DNSKEY set; its TTL is how long the keys may be remembered.
    pub fn set(&self) -> &Secure {
        &self.set
    }

    /// The keys that are looked at, [`MAX_KEYS`] at most.
    pub fn keys(&self) -> impl Iterator<Item = Dnskey<'_>> {
        self.set.set().rdata.iter().filter_map(Dnskey::parse).take(MAX_KEYS)
    }

    /// The same with their tags.
    pub(crate) fn tagged(&self) -> impl Iterator<Item = (u16, Dnskey<'_>)> {
        self.tags.iter().copied().zip(self.keys())
    }

    /// Algorithms each of which must have signed every set; empty unless the rules ask for it.
    pub(crate) fn required(&self) -> &[Algorithm] {
        &self.required
    }

    /// Size in bits of the zone's first key, which limits NSEC3 iterations as in Unbound.
    pub fn bits(&self) -> u32 {
        self.keys().next().and_then(|key| key.bits()).unwrap_or(0)
    }
}

/// The keys of a zone by the DS set of its parent. `ds` is at the name of the zone.
pub fn by_ds(keys: &Rrset, ds: &Secure, rules: &Rules, now: u64, budget: &mut Budget) -> Keys {
    let set = ds.set();
    if set.rtype != Rtype::DS || set.owner != keys.owner {
        return Keys::Bogus(Reason::NoKeyForDs);
    }
    match ds::usable(set.rdata.iter(), rules) {
        Ok(ds) => prove(keys, &ds, &[], rules, now, budget),
        Err(reason) => Keys::Insecure(reason),
    }
}

/// The keys of a zone by a trust anchor at its name: DS records, DNSKEY records, or both; one that fits is enough.
pub fn by_anchor(keys: &Rrset, anchor: &Anchor, rules: &Rules, now: u64, budget: &mut Budget) -> Keys {
    if anchor.owner != keys.owner {
        return Keys::Bogus(Reason::NoKeyForDs);
    }
    let trusted: Vec<Dnskey<'_>> =
        anchor.dnskey.iter().filter_map(Dnskey::parse).filter(|key| key.algorithm.is_supported(rules)).collect();
    match ds::usable(anchor.ds.iter(), rules) {
        Ok(ds) => prove(keys, &ds, &trusted, rules, now, budget),
        Err(_) if !trusted.is_empty() => prove(keys, &[], &trusted, rules, now, budget),
        Err(reason) => Keys::Insecure(reason),
    }
}

/// The keys that `ds` or `trusted` mean must have signed the whole set (RFC 4035 5.2).
fn prove<'k>(
    keys: &'k Rrset,
    ds: &[Ds<'_>],
    trusted: &[Dnskey<'k>],
    rules: &Rules,
    now: u64,
    budget: &mut Budget,
) -> Keys {
    if keys.rtype != Rtype::DNSKEY || keys.rdata.is_empty() {
        return Keys::Bogus(Reason::NoKeys);
    }
    let mut entry = match entry_points(keys, ds, trusted, budget) {
        Ok(Ok(entry)) => entry,
        Ok(Err(reason)) => return Keys::Bogus(reason),
        Err(OverBudget) => return Keys::OverBudget,
    };
    // What the parent means and cannot be verified for its size alone is like an unsupported algorithm.
    let out_of_size = |key: &Dnskey<'_>| {
        key.bits().is_some_and(|bits| !key.algorithm.verifies_size(bits)) && !key.algorithm.is_faked(key.bits(), rules)
    };
    if entry.iter().all(out_of_size) {
        return Keys::Insecure(Reason::UnsupportedKeySize);
    }
    entry.dedup();
    let mut required = Vec::new();
    if rules.harden_algo_downgrade {
        required.extend(ds.iter().map(|ds| ds.algorithm).chain(trusted.iter().map(|key| key.algorithm)));
        required.sort_unstable();
        required.dedup();
    }
    match Signers::new(keys.owner.as_ref(), entry.into_iter().map(|key| (key.tag(), key)), &required)
        .verify(keys, rules, now, budget)
    {
        Outcome::Secure(set) => {
            let tags = set.set().rdata.iter().filter_map(Dnskey::parse).take(MAX_KEYS).map(|key| key.tag()).collect();
            Keys::Secure(ZoneKeys { set, tags, required })
        }
        Outcome::Bogus(reason) => Keys::Bogus(reason),
        Outcome::OverBudget => Keys::OverBudget,
    }
}

/// The keys of the set that are meant. Whether they may sign is seen when they are asked to.
fn entry_points<'k>(
    keys: &'k Rrset,
    ds: &[Ds<'_>],
    trusted: &[Dnskey<'k>],
    budget: &mut Budget,
) -> Result<Result<Vec<Dnskey<'k>>, Reason>, OverBudget> {
    let mut entry = Vec::new();
    let mut mismatches = 0;
    for key in keys.rdata.iter().filter_map(Dnskey::parse).take(MAX_KEYS) {
        let mut meant = trusted.iter().any(|anchor| anchor.same_but_revoked(&key));
        let tag = key.tag();
        for ds in ds.iter().filter(|ds| ds.tag == tag && ds.algorithm == key.algorithm) {
            if meant {
                break;
            }
            if mismatches == MAX_DS_MISMATCHES {
                return Ok(if entry.is_empty() { Err(Reason::TooManyAttempts) } else { Ok(entry) });
            }
            meant = ds.is_digest_of(keys.owner.as_ref(), &key, budget)?;
            mismatches += u32::from(!meant);
        }
        if meant {
            entry.push(key);
        }
    }
    // What a trusted key has signed is believed even when the zone does not show that key (any more).
    let shown = |key: &Dnskey<'_>| keys.rdata.iter().filter_map(Dnskey::parse).any(|shown| shown.same_but_revoked(key));
    let signs = |key: &Dnskey<'_>| keys.sigs.iter().filter_map(Rrsig::parse).any(|sig| sig.tag == key.tag());
    entry.extend(trusted.iter().filter(|key| signs(key) && !shown(key)));
    Ok(if entry.is_empty() { Err(Reason::NoKeyForDs) } else { Ok(entry) })
}
