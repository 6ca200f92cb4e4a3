//! [`Secure`]: an RRset that has been verified, and [`verify`], the only way to make one out of the network's data.
//!
//! It owns the choice of signatures and keys to try and the limits of that search (KeyTrap, CVE-2023-50387). It does not know
//! where keys come from, and never says that something does not exist: a set made from a wildcard is only as true as the
//! proof that nothing closer exists ([`crate::Denial::wildcard_answer`]).

use wire::{Name, NameRef, Rrset, Rtype};

use crate::algorithm::Algorithm;
use crate::budget::{Budget, FREE_OCTETS, MAX_COLLIDING_KEYS, MAX_SET_VERIFICATIONS, MAX_SIGNATURES, OverBudget};
use crate::canonical::Canonical;
use crate::key::Dnskey;
use crate::keys::ZoneKeys;
use crate::reason::Reason;
use crate::rules::Rules;
use crate::sig::Rrsig;

/// What became of a set.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is what its zone says.
    Secure(Secure),
    /// It is signed wrongly or not at all, in a zone that signs.
    Bogus(Reason),
    /// The question's work is used up; nothing is known.
    OverBudget,
}

/// A verified RRset, its TTL capped (RFC 4035 5.3.3), the signature that verified in front of the others.
#[derive(Clone, Debug)]
pub struct Secure {
    set: Rrset,
    zone: Name,
    wildcard: Option<Name>,
}

impl Secure {
    /// The set.
    pub fn set(&self) -> &Rrset {
        &self.set
    }

    /// The set, taken out.
    pub fn into_set(self) -> Rrset {
        self.set
    }

    /// The zone that signed it.
    pub fn zone(&self) -> NameRef<'_> {
        self.zone.as_ref()
    }

    /// If a wildcard made it: the closest encloser, the name right below which the `*` stands. Then the answer needs the
    /// proof that no closer name exists, CNAMEs included (CVE-2026-52686).
    pub fn wildcard(&self) -> Option<NameRef<'_>> {
        self.wildcard.as_ref().map(Name::as_ref)
    }

    /// A set that was `Secure` when it was put into a cache, whose signatures still stand in the order they had then. Zone
    /// and wildcard are read from the first. `None` if it has no signature that fits, as a set that never was secure.
    pub fn remembered(set: Rrset) -> Option<Secure> {
        let sig = Rrsig::parse(set.sigs.first()?)?;
        let zone = sig.signer.to_name();
        let (_, wildcard) = sig.signed_name(&set, zone.as_ref()).ok()?;
        let wildcard = wildcard.map(NameRef::to_name);
        (sig.covered == set.rtype).then_some(())?;
        Some(Secure { set, zone, wildcard })
    }
}

/// Verifies a set with the keys of its zone at `now`, in unix seconds. Any one valid signature makes it secure (RFC 6840
/// 5.11), unless the rules ask for one of each algorithm that the DS set names.
pub fn verify(set: &Rrset, keys: &ZoneKeys, rules: &Rules, now: u64, budget: &mut Budget) -> Outcome {
    if set.sigs.is_empty() {
        // There may be thousands of them in a reply.
        return Outcome::Bogus(Reason::NoSignature);
    }
    let signers = Signers::new(keys.zone(), keys.tagged(), keys.required());
    signers.verify(set, rules, now, budget)
}

/// Keys that may sign, with their tags, and the algorithms of which each must have.
pub(crate) struct Signers<'a> {
    zone: NameRef<'a>,
    keys: Vec<(u16, Dnskey<'a>)>,
    required: &'a [Algorithm],
    revoked: bool,
}

impl<'a> Signers<'a> {
    pub(crate) fn new(
        zone: NameRef<'a>,
        keys: impl Iterator<Item = (u16, Dnskey<'a>)>,
        required: &'a [Algorithm],
    ) -> Signers<'a> {
        Signers { zone, keys: keys.collect(), required, revoked: false }
    }

    /// One key that may sign although it is revoked: to prove its own revocation (RFC 5011 2.1).
    pub(crate) fn revoked(zone: NameRef<'a>, key: Dnskey<'a>) -> Signers<'a> {
        Signers { zone, keys: vec![(key.tag(), key)], required: &[], revoked: true }
    }

    pub(crate) fn verify(&self, set: &Rrset, rules: &Rules, now: u64, budget: &mut Budget) -> Outcome {
        let mut search =
            Search { worst: Reason::NoSignature, found: None, met: Vec::new(), tried: 0, verifications: 0 };
        let mut canonical = None;
        for (nth, rdata) in set.sigs.iter().enumerate() {
            match self.one(nth, rdata, set, &mut canonical, &mut search, rules, now, budget) {
                Ok(true) => break,
                Ok(false) => {}
                Err(OverBudget) => return Outcome::OverBudget,
            }
        }
        match search.found {
            Some(_) if self.required.iter().any(|algorithm| !search.met.contains(algorithm)) => {
                Outcome::Bogus(Reason::MissingAlgorithm)
            }
            Some(found) => Outcome::Secure(found.secure(set, self.zone)),
            None => Outcome::Bogus(search.worst),
        }
    }

    /// Tries one signature. True when the search is over.
    #[allow(clippy::too_many_arguments)] // the body of the loop above, apart for reading
    fn one<'s>(
        &self,
        nth: usize,
        rdata: &[u8],
        set: &'s Rrset,
        canonical: &mut Option<Canonical<'s>>,
        search: &mut Search,
        rules: &Rules,
        now: u64,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        let (sig, wildcard, owner, left) = match self.admit(rdata, set, rules, now) {
            Ok(admitted) => admitted,
            Err(reason) => return Ok(search.failed(reason)),
        };
        if search.met.contains(&sig.algorithm) {
            return Ok(false);
        }
        let mut candidates = self.keys.iter().filter(|(tag, key)| *tag == sig.tag && key.algorithm == sig.algorithm);
        let mut keys = Vec::with_capacity(1);
        for (_, key) in candidates.by_ref() {
            match key {
                key if !key.is_zone_key() => search.failed(Reason::NoZoneKeyBit),
                key if key.is_revoked() && !self.revoked => search.failed(Reason::KeyRevoked),
                key if keys.len() < MAX_COLLIDING_KEYS => {
                    keys.push(key);
                    false
                }
                _ => break,
            };
        }
        if keys.is_empty() {
            return Ok(search.failed(Reason::NoMatchingKey));
        }
        if search.tried == MAX_SIGNATURES {
            search.failed(Reason::TooManyAttempts);
            return Ok(true);
        }
        search.tried += 1;
        if canonical.is_none() {
            *canonical = Canonical::new(set);
        }
        let Some(data) = canonical.as_ref().and_then(|canonical| canonical.signed_data(&sig, owner.as_ref())) else {
            search.failed(Reason::TooLarge);
            return Ok(true);
        };
        for key in keys {
            if search.verifications == MAX_SET_VERIFICATIONS {
                search.failed(Reason::TooManyAttempts);
                return Ok(true);
            }
            search.verifications += 1;
            budget.verification(key.algorithm.cost())?;
            if let Some(more) = data.len().checked_sub(FREE_OCTETS) {
                budget.octets(more)?;
            }
            let verified = if key.algorithm.is_faked(key.bits(), rules) {
                Ok(())
            } else {
                key.algorithm.verify(key.key, &data, sig.signature)
            };
            match verified {
                Ok(()) => {
                    search.met.push(sig.algorithm);
                    let ttl = set.ttl.min(sig.original_ttl).min(left);
                    search.found.get_or_insert(Found { nth, ttl, wildcard: wildcard.map(NameRef::to_name) });
                    return Ok(self.required.iter().all(|algorithm| search.met.contains(algorithm)));
                }
                Err(reason) => search.failed(reason),
            };
        }
        Ok(false)
    }

    /// All that is known of a signature without cryptography.
    #[allow(clippy::type_complexity)] // named where it is taken apart, once
    fn admit<'s, 'r>(
        &self,
        rdata: &'r [u8],
        set: &'s Rrset,
        rules: &Rules,
        now: u64,
    ) -> Result<(Rrsig<'r>, Option<NameRef<'s>>, wire::NameBuf, u32), Reason> {
        let sig = Rrsig::parse(rdata).ok_or(Reason::MalformedSignature)?;
        if sig.covered != set.rtype || set.rtype == Rtype::RRSIG {
            return Err(Reason::MalformedSignature);
        }
        let (owner, wildcard) = sig.signed_name(set, self.zone)?;
        if !sig.algorithm.is_supported(rules) {
            return Err(Reason::UnsupportedAlgorithm);
        }
        let left = sig.left(rules, now)?;
        Ok((sig, wildcard, owner, left))
    }
}

/// How far the search has come.
struct Search {
    worst: Reason,
    found: Option<Found>,
    met: Vec<Algorithm>,
    tried: usize,
    verifications: u32,
}

impl Search {
    /// Keeps the reason of the attempt that came furthest, and goes on.
    fn failed(&mut self, reason: Reason) -> bool {
        if reason.reach() > self.worst.reach() {
            self.worst = reason;
        }
        false
    }
}

/// The signature that verified.
struct Found {
    nth: usize,
    ttl: u32,
    wildcard: Option<Name>,
}

impl Found {
    fn secure(self, set: &Rrset, zone: NameRef<'_>) -> Secure {
        let mut set = set.clone();
        set.ttl = self.ttl;
        if self.nth > 0 {
            let first = set.sigs.iter().skip(self.nth).take(1);
            let before = set.sigs.iter().take(self.nth);
            let sigs = first.chain(before).chain(set.sigs.iter().skip(self.nth + 1)).collect();
            set.make_mut().sigs = sigs;
        }
        Secure { set, zone: zone.to_name(), wildcard: self.wildcard }
    }
}
