//! Tests that go through several modules, and what they share: signed zones read from text, and a signer that lies.
//!
//! Zones in `tests/data` were signed by dnspython (`make.py` beside them) or stand in RFCs, so that nothing is believed only
//! because this crate agrees with itself. What no honest signer makes, [`Key`] makes here.

mod chain;
mod follow;
mod lies;
mod mutated;
mod rfc;
mod zones;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use wire::{Class, Name, NameBuf, RdataSet, Rrset, Rtype, parse_record};

use crate::canonical::Canonical;
use crate::key::{Dnskey, key_tag};
use crate::*;

/// A time in the middle of the made zones' signatures: 15 November 2026.
pub(super) const NOW: u64 = 1_794_700_800;

pub(super) fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

/// Sets with their signatures, out of records a line.
pub(super) fn read(text: &str) -> Vec<Rrset> {
    let mut sets: Vec<Rrset> = Vec::new();
    let mut sigs = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()) {
        let record = parse_record(line, 0).unwrap_or_else(|error| panic!("{line}: {error}"));
        if record.rtype == Rtype::RRSIG {
            sigs.push(record);
            continue;
        }
        match sets.iter_mut().find(|set| set.owner == record.owner && set.rtype == record.rtype) {
            Some(set) => {
                set.make_mut().rdata.push(&record.rdata);
            }
            None => sets.push(Rrset::new(
                record.owner,
                record.rtype,
                record.class,
                record.ttl.unwrap(),
                RdataSet::one(&record.rdata),
            )),
        }
    }
    for sig in sigs {
        let covered = Rtype(u16::from_be_bytes([sig.rdata[0], sig.rdata[1]]));
        let set = sets.iter_mut().find(|set| set.owner == sig.owner && set.rtype == covered).expect("what is signed");
        set.make_mut().sigs.push(&sig.rdata);
    }
    sets
}

/// A signed zone, its keys proven by its own key signing key.
pub(super) struct Zone {
    pub(super) sets: Vec<Rrset>,
    pub(super) keys: ZoneKeys,
    pub(super) rules: Rules,
    pub(super) now: u64,
}

impl Zone {
    pub(super) fn new(text: &str, zone: &str, now: u64) -> Zone {
        let sets: Vec<Rrset> =
            read(text).into_iter().filter(|set| set.owner.as_ref().is_subdomain_of(name(zone).as_ref())).collect();
        let rules = Rules::default();
        let dnskey = sets.iter().find(|set| set.rtype == Rtype::DNSKEY).expect("keys");
        let sep: RdataSet = dnskey.rdata.iter().filter(|rdata| Dnskey::parse(rdata).unwrap().is_sep()).collect();
        let anchor = Anchor { owner: name(zone), ds: RdataSet::new(), dnskey: sep };
        let keys = match by_anchor(dnskey, &anchor, &rules, now, &mut Budget::default()) {
            Keys::Secure(keys) => keys,
            other => panic!("{zone}: {other:?}"),
        };
        Zone { sets, keys, rules, now }
    }

    /// A set of the zone, whatever owner the wildcard made it for.
    pub(super) fn set(&self, owner: &str, rtype: Rtype) -> &Rrset {
        let found = self.sets.iter().find(|set| set.owner == name(owner) && set.rtype == rtype);
        found.unwrap_or_else(|| panic!("no {owner} {rtype}"))
    }

    /// The set as a server makes it for a name below a wildcard.
    pub(super) fn expanded(&self, wildcard: &str, rtype: Rtype, owner: &str) -> Rrset {
        let mut set = self.set(wildcard, rtype).clone();
        set.make_mut().owner = name(owner);
        set
    }

    pub(super) fn verify(&self, set: &Rrset) -> Outcome {
        verify(set, &self.keys, &self.rules, self.now, &mut Budget::default())
    }

    pub(super) fn secure(&self, set: &Rrset) -> Secure {
        match self.verify(set) {
            Outcome::Secure(secure) => secure,
            other => panic!("{set:?}: {other:?}"),
        }
    }

    /// All NSEC or NSEC3 sets, or those at these names.
    pub(super) fn denials(&self, rtype: Rtype, owners: &[&str]) -> Vec<Secure> {
        let wanted =
            |set: &&Rrset| set.rtype == rtype && (owners.is_empty() || owners.iter().any(|o| set.owner == name(o)));
        self.sets.iter().filter(wanted).map(|set| self.secure(set)).collect()
    }

    pub(super) fn denial<'a>(&'a self, sets: &'a [Secure]) -> Denial<'a> {
        Denial::new(self.keys.zone(), self.keys.bits(), sets, &self.rules)
    }
}

/// A key of a zone that signs whatever it is told to.
pub(super) struct Key {
    pair: Ed25519KeyPair,
    pub(super) zone: Name,
    pub(super) rdata: Vec<u8>,
}

/// The fields of a signature, to be changed before it is made.
pub(super) struct Fields {
    pub(super) covered: Rtype,
    pub(super) algorithm: u8,
    pub(super) labels: u8,
    pub(super) original_ttl: u32,
    pub(super) expiration: u32,
    pub(super) inception: u32,
    pub(super) tag: u16,
    pub(super) signer: Name,
    /// The owner name signed.
    pub(super) owner: NameBuf,
}

impl Key {
    pub(super) fn new(zone: &str, seed: u8, flags: u16) -> Key {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut rdata = flags.to_be_bytes().to_vec();
        rdata.extend([3, 15]);
        rdata.extend(pair.public_key().as_ref());
        Key { pair, zone: name(zone), rdata }
    }

    pub(super) fn tag(&self) -> u16 {
        key_tag(&self.rdata)
    }

    /// The set with one more signature, made as `change` wants it.
    pub(super) fn sign_as(&self, set: Rrset, change: impl FnOnce(&mut Fields)) -> Rrset {
        let owner = set.owner.as_ref();
        let mut fields = Fields {
            covered: set.rtype,
            algorithm: 15,
            labels: u8::try_from(owner.label_count() - usize::from(owner.is_wildcard())).unwrap(),
            original_ttl: set.ttl,
            expiration: u32::try_from(NOW).unwrap() + 1_000_000,
            inception: u32::try_from(NOW).unwrap() - 1_000_000,
            tag: self.tag(),
            signer: self.zone.clone(),
            owner: owner.to_buf(),
        };
        change(&mut fields);
        let mut rdata = fields.covered.0.to_be_bytes().to_vec();
        rdata.extend([fields.algorithm, fields.labels]);
        for number in [fields.original_ttl, fields.expiration, fields.inception] {
            rdata.extend(number.to_be_bytes());
        }
        rdata.extend(fields.tag.to_be_bytes());
        rdata.extend(fields.signer.as_ref().as_wire());
        let unsigned = rdata.len();
        rdata.push(0);
        let data =
            Canonical::new(&set).unwrap().signed_data(&Rrsig::parse(&rdata).unwrap(), fields.owner.as_ref()).unwrap();
        rdata.truncate(unsigned);
        rdata.extend(self.pair.sign(&data).as_ref());
        let mut set = set;
        set.make_mut().sigs.push(&rdata);
        set
    }

    pub(super) fn sign(&self, set: Rrset) -> Rrset {
        self.sign_as(set, |_| {})
    }

    pub(super) fn anchor(&self) -> Anchor {
        Anchor { owner: self.zone.clone(), ds: RdataSet::new(), dnskey: RdataSet::one(&self.rdata) }
    }

    /// A DS record for it.
    pub(super) fn ds(&self) -> Vec<u8> {
        let mut data = self.zone.lower().as_ref().as_wire().to_vec();
        data.extend(&self.rdata);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data);
        let mut rdata = self.tag().to_be_bytes().to_vec();
        rdata.extend([15, 2]);
        rdata.extend(digest.as_ref());
        rdata
    }
}

/// Keys as an unsigned DNSKEY set.
pub(super) fn dnskeys(keys: &[&Key]) -> Rrset {
    let rdata = keys.iter().map(|key| &key.rdata[..]).collect();
    Rrset::new(keys[0].zone.clone(), Rtype::DNSKEY, Class::IN, 3600, rdata)
}

/// A zone with one key that signs everything.
pub(super) fn zone_of(key: &Key) -> Zone {
    let set = key.sign(dnskeys(&[key]));
    let rules = Rules::default();
    let Keys::Secure(keys) = by_anchor(&set, &key.anchor(), &rules, NOW, &mut Budget::default()) else { panic!() };
    Zone { sets: Vec::new(), keys, rules, now: NOW }
}

/// One record as a set.
pub(super) fn one(line: &str) -> Rrset {
    read(line).remove(0)
}

/// The reason of a bogus outcome.
pub(super) fn why(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Bogus(reason) => reason,
        other => panic!("{other:?}"),
    }
}
