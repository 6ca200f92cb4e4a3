//! What the steps of a proof are made of.
//!
//! It owns the reading of keys, DS records and signatures for those who want a question explained ([`crate::trace`]), so that
//! the proof itself has one line a step. It verifies nothing: what is secure has been said before it is written down.

use dnssec::{Anchor, Dnskey, Ds, Proof, Reason, Rrsig, Secure};
use store::Security;
use wire::{Name, NameRef, Rcode, RdataSet, Rrset, Rtype};

use crate::keycache::Ground;
use crate::trace::{Begins, Denied, DsView, KeyView, NoDs, Signer, Step, Voucher};
use crate::trust::Begin;

/// Where the chain of trust of a name begins.
pub(crate) fn begins(name: NameRef<'_>, begin: &Begin) -> Step {
    let from = match begin {
        Begin::At(anchor) => Begins::Anchor { zone: anchor.owner.clone(), records: anchored(anchor) },
        Begin::Nowhere => Begins::Nowhere,
        Begin::Excused(negative) => Begins::Excused { negative: *negative },
    };
    Step::Begins { name: name.to_name(), from }
}

/// What an anchor means.
pub(crate) fn anchored(anchor: &Anchor) -> Vec<DsView> {
    let keys = anchor.dnskey.iter().filter_map(Dnskey::parse);
    let keys = keys.map(|key| DsView { tag: key.tag(), algorithm: key.algorithm.0, digest: 0 });
    ds_views(&anchor.ds).into_iter().chain(keys).collect()
}

fn ds_views(records: &RdataSet) -> Vec<DsView> {
    let records = records.iter().filter_map(Ds::parse);
    records.map(|ds| DsView { tag: ds.tag, algorithm: ds.algorithm.0, digest: ds.digest_type }).collect()
}

/// The keys that came for a zone, and what became of them; `named` is what vouches for them.
pub(crate) fn keys(zone: &Name, set: Option<&Rrset>, named: &[DsView], by: Voucher, ground: &Ground) -> Step {
    let (security, reason) = standing(ground);
    let proven = match ground {
        Ground::Keys(keys) => Some(keys.set().set()),
        _ => set,
    };
    let by_key = proven.filter(|_| security == Security::Secure).and_then(signature);
    let view = |key: Dnskey<'_>| {
        let (tag, algorithm) = (key.tag(), key.algorithm.0);
        let is = |ds: &DsView| ds.tag == tag && ds.algorithm == algorithm;
        KeyView {
            tag,
            algorithm,
            flags: key.flags,
            bits: key.bits(),
            named: named.iter().any(is),
            signed: by_key.as_ref().is_some_and(|by| by.tag == tag && by.algorithm == algorithm),
        }
    };
    let all = proven.into_iter().flat_map(|set| set.rdata.iter()).filter_map(Dnskey::parse);
    let mut keys: Vec<KeyView> = all.take(dnssec::budget::MAX_KEYS).map(view).collect();
    keys.sort_by_key(|key| !key.named);
    Step::Keys { zone: zone.clone(), by, security, keys, reason }
}

/// What vouches for keys by a DS set.
pub(crate) fn named_by_ds(ds: &Secure) -> Vec<DsView> {
    ds_views(&ds.set().rdata)
}

/// What is remembered of a zone.
pub(crate) fn known(zone: NameRef<'_>, ground: &Ground) -> Step {
    keys(&zone.to_name(), None, &[], Voucher::Memory, ground)
}

fn standing(ground: &Ground) -> (Security, Option<Reason>) {
    match ground {
        Ground::Keys(_) => (Security::Secure, None),
        Ground::Insecure(reason) => (Security::Insecure, *reason),
        Ground::Bogus(why) => (Security::Bogus, why.reason()),
    }
}

/// A DS set, proven; `reason` is why it is of no use all the same.
pub(crate) fn ds(ds: &Secure, reason: Option<Reason>) -> Step {
    let security = if reason.is_some() { Security::Insecure } else { Security::Secure };
    let (zone, records) = (ds.set().owner.clone(), ds_views(&ds.set().rdata));
    Step::Ds { zone, security, records, by: signature(ds.set()), reason }
}

/// A set beside a DS question, or the DS set itself, that does not verify.
pub(crate) fn bad_ds(zone: &Name, set: &Rrset, reason: Reason) -> Step {
    let records = if set.rtype == Rtype::DS { ds_views(&set.rdata) } else { Vec::new() };
    Step::Ds { zone: zone.clone(), security: Security::Bogus, records, by: None, reason: Some(reason) }
}

/// There is no DS set at a name.
pub(crate) fn no_ds(name: &Name, found: &dnssec::NoDs, proofs: &[Secure]) -> Step {
    let (means, reason) = match found {
        dnssec::NoDs::Unsigned(_) => (NoDs::Unsigned, None),
        dnssec::NoDs::NoCut(_) => (NoDs::NoCut, None),
        dnssec::NoDs::NoName(_) => (NoDs::NoName, None),
        dnssec::NoDs::Insecure(reason) => (NoDs::Insecure, Some(*reason)),
        dnssec::NoDs::Bogus(reason) => (NoDs::Bogus, Some(*reason)),
        dnssec::NoDs::OverBudget => (NoDs::Bogus, Some(Reason::OverBudget)),
    };
    Step::NoDs { name: name.clone(), means, by: kind(proofs), reason }
}

/// A name whose DS set nobody has told.
pub(crate) fn no_ds_told(name: &Name) -> Step {
    Step::NoDs { name: name.clone(), means: NoDs::Bogus, by: None, reason: None }
}

/// A name with a CNAME is no zone.
pub(crate) fn no_zone(name: &Name) -> Step {
    Step::NoDs { name: name.clone(), means: NoDs::NoCut, by: Some(Rtype::CNAME), reason: None }
}

/// A set of the answer that verified.
pub(crate) fn checked(secure: &Secure) -> Step {
    let set = secure.set();
    let wildcard = secure.wildcard().and_then(|above| Name::from_text(&format!("*.{above}")).ok());
    let (owner, by) = (set.owner.clone(), signature(set));
    Step::Checked { owner, rtype: set.rtype, security: Security::Secure, by, wildcard, reason: None }
}

/// A set of the answer that did not.
pub(crate) fn refuted(set: &Rrset, reason: Reason) -> Step {
    let (owner, security) = (set.owner.clone(), Security::Bogus);
    Step::Checked { owner, rtype: set.rtype, security, by: None, wildcard: None, reason: Some(reason) }
}

/// What is not there.
pub(crate) fn denied(rcode: Rcode, is_answer: bool, proofs: &[Secure], found: &Proof) -> Step {
    let (security, reason) = match found {
        Proof::Proven(_) => (Security::Secure, None),
        Proof::Insecure(reason) => (Security::Insecure, Some(*reason)),
        Proof::Bogus(reason) => (Security::Bogus, Some(*reason)),
        Proof::OverBudget => (Security::Indeterminate, Some(Reason::OverBudget)),
    };
    let what = match (is_answer, rcode) {
        (true, _) => Denied::Closer,
        (false, Rcode::NXDOMAIN) => Denied::Name,
        (false, _) => Denied::Type,
    };
    Step::Denied { what, by: kind(proofs), security, reason }
}

fn kind(proofs: &[Secure]) -> Option<Rtype> {
    proofs.first().map(|secure| secure.set().rtype)
}

/// The first signature of a set, which is the one that verified where one did ([`dnssec::verify()`]).
fn signature(set: &Rrset) -> Option<Signer> {
    let sig = Rrsig::parse(set.sigs.iter().next()?)?;
    Some(Signer { zone: sig.signer.to_name(), tag: sig.tag, algorithm: sig.algorithm.0, until: sig.expiration })
}
