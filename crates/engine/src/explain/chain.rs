//! The chain of trust as a tree of zones, put together from the steps that made it.
//!
//! Owns which step belongs to which link. It proves nothing: what a link is, the validator has said.

use std::collections::HashMap;

use resolve::trace::{Begins, DsView, KeyView, NoDs, Note, Signer, Step, Voucher};
use serde::Serialize;
use store::Security;
use wire::{Name, Rtype};

use super::words::{algorithm, denies, digest};
use crate::lookup::word;

/// The word for what is known not to be true.
const BOGUS: &str = "bogus";

/// A zone of the chain, or a set of records that a zone's keys have signed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Link {
    /// The zone, or the owner of the records.
    name: String,
    /// The type of the records; `None` for a zone.
    #[serde(rename = "type")]
    rtype: Option<String>,
    /// The zone above, or the zone of the records.
    under: Option<String>,
    security: &'static str,
    /// Who vouches: `anchor`, `ds`, `memory` for keys; `key` for records, `nsec` or `nsec3` for what is not there.
    by: Option<&'static str>,
    ds: Vec<Ds>,
    keys: Vec<Key>,
    signature: Option<Signature>,
    wildcard: Option<String>,
    /// What is proven not to be there: `name`, `type`, `closer` (than the wildcard).
    denies: Option<&'static str>,
    reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ds {
    tag: u16,
    algorithm: u8,
    algorithm_name: String,
    digest: u8,
    digest_name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Key {
    tag: u16,
    algorithm: u8,
    algorithm_name: String,
    flags: u16,
    bits: Option<u32>,
    named: bool,
    signed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Signature {
    zone: String,
    tag: u16,
    algorithm: u8,
    algorithm_name: String,
    until: u32,
}

impl From<&DsView> for Ds {
    fn from(ds: &DsView) -> Ds {
        let DsView { tag, algorithm: number, digest: kind } = *ds;
        Ds { tag, algorithm: number, algorithm_name: algorithm(number), digest: kind, digest_name: digest(kind) }
    }
}

impl From<&KeyView> for Key {
    fn from(key: &KeyView) -> Key {
        let KeyView { tag, algorithm: number, flags, bits, named, signed } = *key;
        Key { tag, algorithm: number, algorithm_name: algorithm(number), flags, bits, named, signed }
    }
}

impl From<&Signer> for Signature {
    fn from(by: &Signer) -> Signature {
        let (zone, algorithm_name) = (by.zone.to_string(), algorithm(by.algorithm));
        Signature { zone, tag: by.tag, algorithm: by.algorithm, algorithm_name, until: by.until }
    }
}

/// What is known of a zone while the steps are read.
#[derive(Default)]
struct Tree {
    zones: HashMap<Name, Link>,
    sets: Vec<Link>,
}

impl Tree {
    /// The link of a zone, made if it is not there.
    fn zone(&mut self, zone: &Name) -> &mut Link {
        self.zones.entry(zone.clone()).or_insert_with(|| blank(zone.to_string(), None))
    }

    /// Another set of records, unless it is there: a set is checked once a question, and questions meet the same sets.
    fn set(&mut self, link: Link) {
        let same = |known: &Link| known.name == link.name && known.rtype == link.rtype && known.by == link.by;
        match self.sets.iter_mut().find(|known| same(known)) {
            Some(known) => *known = link,
            None => self.sets.push(link),
        }
    }
}

fn blank(name: String, rtype: Option<Rtype>) -> Link {
    Link {
        name,
        rtype: rtype.map(|rtype| rtype.to_string()),
        under: None,
        security: "unchecked",
        by: None,
        ds: Vec::new(),
        keys: Vec::new(),
        signature: None,
        wildcard: None,
        denies: None,
        reason: None,
    }
}

/// The links, zones from the top down and then what they signed.
pub(super) fn links(notes: &[Note]) -> Vec<Link> {
    let mut tree = Tree::default();
    for note in notes {
        match &note.step {
            Step::Begins { from: Begins::Anchor { zone, records }, .. } => {
                let link = tree.zone(zone);
                (link.by, link.ds) = (Some("anchor"), records.iter().map(Ds::from).collect());
            }
            Step::Ds { zone, security, records, by, reason } => {
                let link = tree.zone(zone);
                (link.by, link.ds) = (Some("ds"), records.iter().map(Ds::from).collect());
                link.signature = by.as_ref().map(Signature::from);
                // Asked for once more because its keys were bogus: they are so until others come.
                if link.security != BOGUS || reason.is_some() {
                    (link.security, link.reason) = (word(*security), reason.map(|reason| reason.to_string()));
                }
            }
            Step::NoDs { name, means, by, reason } if !matches!(means, NoDs::NoCut | NoDs::NoName) => {
                let link = tree.zone(name);
                link.by = by.map(kind);
                link.security = if *means == NoDs::Bogus { BOGUS } else { "insecure" };
                link.reason = reason.map(|reason| reason.to_string());
            }
            Step::Keys { zone, by, security, keys, reason } => {
                let link = tree.zone(zone);
                if link.security == BOGUS && *security == Security::Bogus && reason.is_none() {
                    // That nobody else could be asked explains less than what was wrong at first.
                    continue;
                }
                if *by == Voucher::Memory && link.by.is_none() {
                    link.by = Some("memory");
                }
                (link.security, link.keys) = (word(*security), keys.iter().map(Key::from).collect());
                link.reason = reason.map(|reason| reason.to_string());
            }
            Step::Checked { owner, rtype, security, by, wildcard, reason } => tree.set(Link {
                security: word(*security),
                by: by.as_ref().map(|_| "key"),
                under: by.as_ref().map(|by| by.zone.to_string()),
                signature: by.as_ref().map(Signature::from),
                wildcard: wildcard.as_ref().map(Name::to_string),
                reason: reason.map(|reason| reason.to_string()),
                ..blank(owner.to_string(), Some(*rtype))
            }),
            Step::Denied { what, by, security, reason } => tree.set(Link {
                security: word(*security),
                denies: Some(denies(*what)),
                by: Some(by.map_or("nothing", kind)),
                reason: reason.map(|reason| reason.to_string()),
                ..blank(note.name.to_string(), Some(note.qtype))
            }),
            _ => {}
        }
    }
    let mut zones: Vec<(Name, Link)> = tree.zones.into_iter().collect();
    zones.sort_by_key(|(zone, _)| (zone.as_ref().label_count(), zone.to_string()));
    let names: Vec<Name> = zones.iter().map(|(zone, _)| zone.clone()).collect();
    let above = |name: &Name, itself: bool| {
        let over = names.iter().filter(|zone| name.as_ref().is_subdomain_of(zone.as_ref()));
        let over = over.filter(|zone| itself || *zone != name);
        over.max_by_key(|zone| zone.as_ref().label_count()).map(Name::to_string)
    };
    let mut links: Vec<Link> = Vec::new();
    for (zone, link) in zones {
        links.push(Link { under: above(&zone, false), ..link });
    }
    for set in tree.sets {
        let owner = Name::from_text(&set.name).ok();
        let under = set.under.clone().or_else(|| owner.and_then(|owner| above(&owner, true)));
        links.push(Link { under, ..set });
    }
    links
}

/// What a proof is made of.
fn kind(rtype: Rtype) -> &'static str {
    if rtype == Rtype::NSEC3 { "nsec3" } else { "nsec" }
}
