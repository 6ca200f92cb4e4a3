//! [`Nsec`]: one verified NSEC record, and what it says about names and types (RFC 4035 5.4, RFC 6840 4).
//!
//! It owns the rules for a single record: what it matches, what it covers, and what it must not be used for. Putting records
//! together into a proof is [`crate::Denial`]'s.

use wire::{NameRef, Rrset, Rtype};

use crate::bitmap::Types;
use crate::verify::Secure;

/// "From this name to the next there is nothing, and here are these types."
#[derive(Clone, Copy, Debug)]
pub struct Nsec<'a> {
    owner: NameRef<'a>,
    next: NameRef<'a>,
    types: Types<'a>,
    zone: NameRef<'a>,
    ttl: u32,
}

impl<'a> Nsec<'a> {
    /// Reads a verified set. `None` for what no zone of this name has: more than one record, a next name out of the zone
    /// (RFC 9077 4; it would deny the names of others) or one that goes back without being the apex, a bad bitmap.
    pub fn new(secure: &'a Secure, zone: NameRef<'a>) -> Option<Nsec<'a>> {
        let set = secure.set();
        if set.rtype != Rtype::NSEC || secure.zone() != zone || set.rdata.len() != 1 {
            return None;
        }
        let (next, types) = NameRef::split_from(set.rdata.first()?).ok()?;
        let (owner, types) = (set.owner.as_ref(), Types::parse(types)?);
        let good = owner.is_subdomain_of(zone) && next.is_subdomain_of(zone) && (next == zone || owner < next);
        good.then_some(Nsec { owner, next, types, zone, ttl: set.ttl })
    }

    /// The types at its owner.
    pub fn types(&self) -> Types<'a> {
        self.types
    }

    /// Seconds it may be used.
    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Whether it stands at this name.
    pub fn matches(&self, name: NameRef<'_>) -> bool {
        self.owner == name
    }

    /// Whether it denies that the name owns records. Names below a zone cut or a DNAME are not its to deny (RFC 6840 4.1,
    /// RFC 6672 5.3.4.1). The name may still be an empty non-terminal: [`Nsec::has_below`].
    pub fn covers(&self, name: NameRef<'_>) -> bool {
        let foreign = self.types.is_delegation() || self.types.has(Rtype::DNAME);
        name.is_subdomain_of(self.zone)
            && self.owner < name
            && (name < self.next || self.next == self.zone)
            && !(foreign && name.is_subdomain_of(self.owner))
    }

    /// Whether the next name lies below this one, which then exists without records: an empty non-terminal.
    pub fn has_below(&self, name: NameRef<'_>) -> bool {
        self.next != name && self.next.is_subdomain_of(name)
    }

    /// The closest encloser of a name that it covers: the longest name above it that the owner or the next name shows.
    pub fn closest_encloser<'q>(&self, name: NameRef<'q>) -> NameRef<'q> {
        let above = |name: NameRef<'q>| self.owner.is_subdomain_of(name) || self.next.is_subdomain_of(name);
        name.ancestors().skip(1).find(|name| above(*name)).unwrap_or(wire::name::ROOT)
    }
}

/// Whether these are NSEC records that say of their name that it does not exist (RFC 9824 3.1).
pub fn says_no_name(set: &Rrset) -> bool {
    let types = |rdata| NameRef::split_from(rdata).ok().and_then(|(_, bitmap)| Types::parse(bitmap));
    set.rtype == Rtype::NSEC && set.rdata.iter().filter_map(types).any(|types| types.has(Rtype::NXNAME))
}
