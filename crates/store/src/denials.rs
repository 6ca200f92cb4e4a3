//! What is known not to exist: an index over the NSEC and NSEC3 sets that were proven, by zone and in their zone's order.
//!
//! It owns the order, and nothing of the records: it holds the owners' names, and the sets themselves stand among the others,
//! where their time, their rank and every flush count. So whatever makes a set useless makes it useless here. It proves
//! nothing: it finds the few sets that may deny a name, and whoever asks proves with them (RFC 8198).
//!
//! ```text
//!   name ──▶ closest zone with entries ──▶ owner before the name   (NSEC: canonical order, RFC 4034 6.1)
//!                                     └──▶ owner before the hash   (NSEC3: order of the hashes, RFC 5155)
//! ```
//!
//! What goes in: sets of a proven message, signed by a zone at or above their owner under the owner's own name. One that a
//! wildcard made says nothing about the names around it. Of NSEC3 one chain of a zone counts, the newest: others hash
//! otherwise.
//!
//! **Octets** are bounded (`neg-cache-size`), counted with what the maps take beside the names. Who leaves is who came first
//! and was of no use since it came, or since the last time it could have left.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use wire::{Class, Name, NameBuf, NameRef, Rrset, Rtype};

use crate::Millis;
use crate::borrowed::Borrowed;
use crate::cache::{Store, known, second};
use crate::sets::{Kind, Security, Set};

/// Octets the index may hold if nothing else is said: Unbound's `neg-cache-size`.
pub const DENIALS_BYTES: usize = 1 << 20;
/// Octets of an entry beside its name: its share of a tree's node (half-full at worst), its place in the queue with that of
/// those that have left, and the allocator's rounding of two names.
const ENTRY_BYTES: usize = 192;
/// Octets of a zone beside its name: two maps' entries and two trees.
const ZONE_BYTES: usize = 320;
/// NSEC3 sets handed out where no encloser is known: names are seldom deeper below a wildcard.
const MAX_CLOSERS: usize = 4;
/// Letters of an NSEC3 owner's first label: 20 octets in base 32 (RFC 5155 3.3).
pub const HASHED: usize = 32;

/// A hashed name as NSEC3 owners spell it, in lower case. Its order is that of the hashes.
pub type Hashed = [u8; HASHED];

/// Sets that may deny a name, all of them proven and in their time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denying {
    /// The zone that signed them.
    pub zone: Name,
    /// NSEC or NSEC3 sets; TTLs are what is left.
    pub sets: Vec<Rrset>,
    /// The zone's SOA record as it stands beside negative answers, if it is known.
    pub soa: Option<Rrset>,
    /// Seconds for which all of them deny what they deny.
    pub left: u32,
}

/// How a zone hashes names, and the name to be hashed; `None` when that is too much work.
pub type HashName<'h> = dyn FnMut(u16, &[u8], NameRef<'_>) -> Option<Hashed> + 'h;

/// The index.
pub(crate) struct Denials {
    inner: Mutex<Inner>,
    /// Whether there is anything in it: most look-ups end here where nothing is validated.
    some: AtomicBool,
}

#[derive(Default)]
struct Inner {
    numbers: HashMap<Name, u64>,
    zones: HashMap<u64, Zone>,
    /// All entries in the order in which they leave, each with its number; and among them as many that have `left` already,
    /// for who makes us forget one thing must not make us look through all that is known.
    queue: VecDeque<(u64, Owner, u64)>,
    left: usize,
    octets: usize,
    limit: usize,
    last: u64,
}

/// The entries of one zone.
struct Zone {
    name: Name,
    nsec: BTreeMap<Name, Entry>,
    nsec3: BTreeMap<Hashed, Entry>,
    /// Iterations and salt of the NSEC3 entries.
    chain: (u16, Box<[u8]>),
}

/// What is known of one owner.
#[derive(Clone, Copy)]
struct Entry {
    /// The second until which its set denies: that of the SOA record it came with, if that ends before the set (RFC 9077 3).
    until: u32,
    /// It was of use since it came, or since it could have left.
    used: bool,
    /// What its place in the queue is known by.
    number: u64,
}

#[derive(Clone, PartialEq, Eq)]
enum Owner {
    Name(Name),
    Hashed(Hashed),
}

impl Denials {
    pub(crate) fn new() -> Denials {
        let inner = Inner { limit: DENIALS_BYTES, ..Inner::default() };
        Denials { inner: Mutex::new(inner), some: AtomicBool::new(false) }
    }

    fn resize(&self, limit: usize) {
        let mut held = self.inner.lock();
        held.limit = limit;
        held.make_room();
    }

    /// Puts in where a proven set stands, if it is one that denies, to be used until this second. `still` says whether no
    /// flush came since it was asked for: one that comes now forgets afterwards.
    pub(crate) fn note(&self, set: &Rrset, until: u32, still: impl FnOnce() -> bool) {
        let Some((zone, owner, chain)) = place(set) else { return };
        let mut held = self.inner.lock();
        if still() {
            self.some.store(true, Ordering::Relaxed);
            held.insert(zone, owner, until, chain);
        }
    }

    /// Forgets the zones at and below a name and those it lies in.
    pub(crate) fn forget(&self, name: NameRef<'_>) {
        let mut held = self.inner.lock();
        let of_it = |zone: NameRef<'_>| zone.is_subdomain_of(name) || name.is_subdomain_of(zone);
        let gone: Vec<u64> =
            held.numbers.iter().filter(|(zone, _)| of_it(zone.as_ref())).map(|(_, number)| *number).collect();
        gone.into_iter().for_each(|number| held.remove_zone(number));
    }

    pub(crate) fn clear(&self) {
        let mut held = self.inner.lock();
        *held = Inner { limit: held.limit, last: held.last, ..Inner::default() };
    }
}

impl Inner {
    fn insert(&mut self, zone: NameRef<'_>, owner: Owner, until: u32, chain: Option<(u16, &[u8])>) {
        let number = match self.numbers.get(&Borrowed(zone)) {
            Some(number) => *number,
            None => {
                self.last += 1;
                self.numbers.insert(zone.to_name(), self.last);
                let (name, chain) = (zone.to_name(), (0, Box::default()));
                self.zones.insert(self.last, Zone { name, nsec: BTreeMap::new(), nsec3: BTreeMap::new(), chain });
                self.octets += zone_octets(zone);
                self.last
            }
        };
        let Some(entries) = self.zones.get_mut(&number) else { return };
        if let Some((iterations, salt)) = chain.filter(|(i, salt)| (*i, *salt) != (entries.chain.0, &*entries.chain.1))
        {
            entries.chain = (iterations, salt.into());
            self.octets -= entries.nsec3.len() * ENTRY_BYTES;
            self.left += entries.nsec3.len();
            entries.nsec3.clear();
        }
        if let Some(entry) = entries.entry(&owner) {
            (entry.until, entry.used) = (entry.until.max(until), true);
            return;
        }
        self.last += 1;
        let entry = Entry { until, used: false, number: self.last };
        match &owner {
            Owner::Name(name) => entries.nsec.insert(name.clone(), entry),
            Owner::Hashed(hashed) => entries.nsec3.insert(*hashed, entry),
        };
        self.octets += owner.octets();
        self.queue.push_back((number, owner, entry.number));
        self.make_room();
        self.tidy();
    }

    /// Takes those out of the queue that have left, when they are many: so each costs little.
    fn tidy(&mut self) {
        if self.left * 4 > self.queue.len() {
            let zones = &mut self.zones;
            self.queue.retain(|(zone, owner, number)| {
                zones.get_mut(zone).and_then(|zone| zone.entry(owner)).is_some_and(|entry| entry.number == *number)
            });
            self.left = 0;
        }
    }

    /// Lets the oldest go that was of no use. Ends, for each round takes a mark off or an entry out.
    fn make_room(&mut self) {
        while self.octets > self.limit {
            let Some((zone, owner, number)) = self.queue.pop_front() else { return };
            let entry = self.zones.get_mut(&zone).and_then(|zone| zone.entry(&owner));
            match entry.filter(|entry| entry.number == number).map(|entry| std::mem::take(&mut entry.used)) {
                None => self.left = self.left.saturating_sub(1),
                Some(true) => self.queue.push_back((zone, owner, number)),
                Some(false) => self.remove(zone, &owner),
            }
        }
    }

    /// Takes an entry out of the trees; the queue is the caller's.
    fn remove(&mut self, number: u64, owner: &Owner) {
        let Some(zone) = self.zones.get_mut(&number) else { return };
        let there = match owner {
            Owner::Name(name) => zone.nsec.remove(name).is_some(),
            Owner::Hashed(hashed) => zone.nsec3.remove(hashed).is_some(),
        };
        self.octets -= if there { owner.octets() } else { 0 };
        if zone.nsec.is_empty() && zone.nsec3.is_empty() {
            self.octets -= zone_octets(zone.name.as_ref());
            self.numbers.remove(&Borrowed(zone.name.as_ref()));
            self.zones.remove(&number);
        }
    }

    fn remove_zone(&mut self, number: u64) {
        let Some(zone) = self.zones.remove(&number) else { return };
        self.numbers.remove(&Borrowed(zone.name.as_ref()));
        self.left += zone.nsec.len() + zone.nsec3.len();
        let names = zone.nsec.into_keys().map(|name| Owner::Name(name).octets()).sum::<usize>();
        self.octets -= zone_octets(zone.name.as_ref()) + names + zone.nsec3.len() * ENTRY_BYTES;
        self.tidy();
    }

    /// The closest zone at or above a name that has entries, and is not above `apex`.
    fn closest(&self, name: NameRef<'_>, apex: NameRef<'_>) -> Option<u64> {
        let zones = name.ancestors().take_while(|zone| zone.is_subdomain_of(apex));
        zones.filter_map(|zone| self.numbers.get(&Borrowed(zone)).copied()).next()
    }
}

impl Zone {
    fn entry(&mut self, owner: &Owner) -> Option<&mut Entry> {
        match owner {
            Owner::Name(name) => self.nsec.get_mut(name),
            Owner::Hashed(hashed) => self.nsec3.get_mut(hashed),
        }
    }

    /// The owner at or before a name.
    fn before(&mut self, name: &Name) -> Option<(Name, u32)> {
        let (owner, entry) = self.nsec.range_mut(..=name).next_back()?;
        entry.used = true;
        Some((owner.clone(), entry.until))
    }

    /// The owner at or before a hash; the last stands before the first.
    fn before_hash(&mut self, hashed: &Hashed) -> Option<(Hashed, u32)> {
        let last = || self.nsec3.last_key_value().map(|(owner, _)| *owner);
        let owner = self.nsec3.range(..=*hashed).next_back().map(|(owner, _)| *owner).or_else(last)?;
        let entry = self.nsec3.get_mut(&owner)?;
        entry.used = true;
        Some((owner, entry.until))
    }
}

impl Owner {
    fn octets(&self) -> usize {
        match self {
            Owner::Name(name) => ENTRY_BYTES + 2 * name.as_ref().len(),
            Owner::Hashed(_) => ENTRY_BYTES,
        }
    }
}

fn zone_octets(zone: NameRef<'_>) -> usize {
    ZONE_BYTES + 2 * zone.len()
}

/// Where a set has its place: the zone that signed it, what it is found by, and for NSEC3 how its chain hashes.
type Place<'s> = (NameRef<'s>, Owner, Option<(u16, &'s [u8])>);

/// The place of a set; `None` if it denies nothing, or not what its owner's name says.
fn place(set: &Rrset) -> Option<Place<'_>> {
    let (fixed, rest) = set.sigs.first()?.split_first_chunk::<18>()?;
    let [c0, c1, _, labels, ..] = *fixed;
    let (zone, _) = NameRef::split_from(rest).ok()?;
    let owner = set.owner.as_ref();
    // Fewer labels signed than the owner has: a wildcard made it (RFC 4034 3.1.3).
    let own = owner.label_count() - usize::from(owner.is_wildcard());
    let covers = [c0, c1] == set.rtype.0.to_be_bytes();
    if !covers || usize::from(labels) != own || !owner.is_subdomain_of(zone) || set.rdata.len() != 1 {
        return None;
    }
    match set.rtype {
        Rtype::NSEC => Some((zone, Owner::Name(set.owner.lower()), None)),
        Rtype::NSEC3 => {
            let ([_, _, i0, i1, salt], rest) = set.rdata.first()?.split_first_chunk::<5>()?;
            let salt = rest.get(..usize::from(*salt))?;
            let hashed = Hashed::try_from(owner.labels().next()?).ok()?.to_ascii_lowercase();
            let hashed = Hashed::try_from(hashed.as_slice()).ok()?;
            (owner.parent()? == zone).then_some(())?;
            Some((zone, Owner::Hashed(hashed), Some((u16::from_be_bytes([*i0, *i1]), salt))))
        }
        _ => None,
    }
}

/// The wildcard that made a proven set: its signature covers fewer labels than its owner has (RFC 4034 3.1.3).
pub(crate) fn wildcard_of(set: &Rrset) -> Option<Name> {
    let labels = set.sigs.first()?.get(3)?;
    let skip = set.owner.as_ref().label_count().checked_sub(usize::from(*labels)).filter(|skip| *skip > 0)?;
    if set.owner.as_ref().is_wildcard() {
        return None;
    }
    wildcard_below(set.owner.as_ref().ancestors().nth(skip)?)
}

impl Store {
    /// Octets that the index of denials may hold from now on (`neg-cache-size`).
    pub fn resize_denials(&self, octets: usize) {
        self.denials.resize(octets);
    }

    /// Entries of the index of denials, and the octets it holds.
    pub fn denials(&self) -> (usize, usize) {
        let held = self.denials.inner.lock();
        (held.queue.len() - held.left, held.octets)
    }

    /// The proven sets that are known and may deny `name`, or a wildcard that would make it: those of the closest zone at or
    /// above it that any are known of, if that is not above `apex`. `ds` asks for those of the zone above, to which DS records
    /// belong. `hash` is called for as many names as the closest that exists needs.
    pub fn denying(
        &self,
        name: NameRef<'_>,
        apex: NameRef<'_>,
        ds: bool,
        now: Millis,
        hash: &mut HashName<'_>,
    ) -> Option<Denying> {
        if !self.denials.some.load(Ordering::Relaxed) {
            return None;
        }
        let now_s = second(now);
        let from = if ds { name.parent()? } else { name };
        let (number, zone, chain) = {
            let held = self.denials.inner.lock();
            let number = held.closest(from, apex)?;
            let zone = held.zones.get(&number)?;
            let chain = (!zone.nsec3.is_empty()).then(|| zone.chain.clone());
            (number, zone.name.clone(), chain)
        };
        let found = Finding { store: self, number, zone: zone.as_ref(), now_s, until: Cell::new(u32::MAX) };
        let sets = found.by_name(name).or_else(|| {
            let (iterations, salt) = chain?;
            found.by_hash(name, &mut |name| hash(iterations, &salt, name))
        })?;
        let left = found.until.get().saturating_sub(now_s);
        let soa = self.find_set(zone.as_ref(), Rtype::SOA, Class::IN, Kind::new(false).negative(), proven(now_s));
        Some(Denying { zone, sets, soa, left })
    }

    /// A set that signatures proved, if it is in its time: `*.example.` is what a wildcard's answers are made of.
    pub fn proven_set(&self, name: NameRef<'_>, rtype: Rtype, now: Millis) -> Option<Rrset> {
        self.find_set(name, rtype, Class::IN, Kind::new(false), proven(second(now)))
    }
}

/// A look-up in one zone.
struct Finding<'f> {
    store: &'f Store,
    number: u64,
    zone: NameRef<'f>,
    now_s: u32,
    /// When the first of the entries used ends.
    until: Cell<u32>,
}

impl Finding<'_> {
    fn before(&self, name: &Name) -> Option<(Name, u32)> {
        self.store.denials.inner.lock().zones.get_mut(&self.number)?.before(name)
    }

    fn before_hash(&self, hashed: &Hashed) -> Option<(Hashed, u32)> {
        self.store.denials.inner.lock().zones.get_mut(&self.number)?.before_hash(hashed)
    }

    /// The set of an entry. One that is over, or whose set is there no more, is forgotten.
    fn set(&self, owner: Owner, until: u32) -> Option<Rrset> {
        let set = match &owner {
            _ if until <= self.now_s => None,
            Owner::Name(name) => {
                let kind = if name.as_ref() == self.zone { Kind::new(false).apex() } else { Kind::new(false) };
                self.store.find_set(name.as_ref(), Rtype::NSEC, Class::IN, kind, proven(self.now_s))
            }
            Owner::Hashed(hashed) => {
                let mut name = NameBuf::root();
                name.push_label(hashed).and_then(|()| name.push_name(self.zone)).ok()?;
                let read = proven(self.now_s);
                self.store.find_set(name.as_ref(), Rtype::NSEC3, Class::IN, Kind::new(false), read)
            }
        };
        match &set {
            Some(_) => self.until.set(self.until.get().min(until)),
            None => self.store.denials.inner.lock().drop_one(self.number, &owner),
        }
        set
    }

    /// NSEC: the set before the name; and if that does not stand at the name, the one before the wildcard that might make it.
    fn by_name(&self, name: NameRef<'_>) -> Option<Vec<Rrset>> {
        let (owner, until) = self.before(&name.to_name())?;
        let first = self.set(Owner::Name(owner.clone()), until)?;
        let next = NameRef::split_from(first.rdata.first()?).ok()?.0.to_name();
        let mut sets = vec![first];
        if owner.as_ref() != name {
            let shows =
                |above: NameRef<'_>| owner.as_ref().is_subdomain_of(above) || next.as_ref().is_subdomain_of(above);
            let wildcard = wildcard_below(name.ancestors().skip(1).find(|above| shows(*above))?)?;
            let other = self.before(&wildcard).filter(|(other, _)| *other != owner);
            sets.extend(other.and_then(|(other, until)| self.set(Owner::Name(other), until)));
        }
        Some(sets)
    }

    /// NSEC3: the closest encloser proof (RFC 5155 8.3), and the set at or before the wildcard below the encloser. Where no
    /// encloser is known, what comes before each name, for one of them may be all that a wildcard's answer needs (RFC 5155
    /// 8.8).
    fn by_hash(&self, name: NameRef<'_>, hash: &mut dyn FnMut(NameRef<'_>) -> Option<Hashed>) -> Option<Vec<Rrset>> {
        let set = |(owner, until): &(Hashed, u32)| self.set(Owner::Hashed(*owner), *until);
        let mut closers: Vec<(Hashed, u32)> = Vec::new();
        for encloser in name.ancestors().take_while(|above| above.is_subdomain_of(self.zone)) {
            let hashed = hash(encloser)?;
            let found = self.before_hash(&hashed)?;
            if found.0 != hashed {
                closers.push(found);
                continue;
            }
            let mut sets = vec![set(&found)?];
            if let Some(closer) = closers.last() {
                let wildcard = hash(wildcard_below(encloser)?.as_ref())?;
                let other = self.before_hash(&wildcard).filter(|other| other != closer);
                sets.extend([*closer].iter().chain(&other).filter(|other| **other != found).filter_map(set));
            }
            return Some(sets);
        }
        closers.dedup();
        Some(closers.iter().take(MAX_CLOSERS).filter_map(set).collect())
    }
}

impl Inner {
    /// Forgets an entry whose set is there no more: it would stand before others that are.
    fn drop_one(&mut self, number: u64, owner: &Owner) {
        if self.zones.get_mut(&number).and_then(|zone| zone.entry(owner)).is_some() {
            self.remove(number, owner);
            self.left += 1;
            self.tidy();
        }
    }
}

/// Reads a set if it is proven and in its time.
fn proven(now_s: u32) -> impl Fn(&Set) -> Option<Rrset> {
    move |set| known(set, now_s).filter(|known| known.security == Security::Secure).map(|known| known.set)
}

/// `*` right below a name; `None` when that is too long to be a name.
fn wildcard_below(encloser: NameRef<'_>) -> Option<Name> {
    let mut name = NameBuf::root();
    name.push_label(b"*").and_then(|()| name.push_name(encloser)).ok()?;
    Some(name.to_name())
}
