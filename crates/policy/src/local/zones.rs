//! The store of local zones and their data, and the search for the closest enclosing zone.
//!
//! It owns the memory layout: arenas of octets, arrays of small records that point into each other by 32-bit index, and
//! two hash tables of indexes. A zone without data costs 12 octets, its place in the table some 6 to 12, and its name,
//! so that a block list of a million names fits in 40 MB. It never decides what is answered.
//!
//! The search walks the labels of a name from the root down. The hash of each suffix is made of the one before, so the
//! whole walk reads every octet once and does one probe a label; below the deepest zone it does not probe at all.

use std::sync::Arc;

use hashbrown::HashTable;
use wire::{Class, NameBuf, NameRef, Rtype};

use super::join::Join;
use crate::overlay::Overlay;
use crate::walk::{Walk, tie};

/// Index that stands for "none".
pub(super) const NONE: u32 = u32::MAX;

/// The type of a local zone, in Unbound's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneKind {
    /// No answer, unless there are data.
    Deny,
    /// REFUSED, unless there are data.
    Refuse,
    /// Data, NODATA or NXDOMAIN.
    Static,
    /// Data, NODATA for a name with other data; other names are resolved.
    Transparent,
    /// Data; all else is resolved.
    TypeTransparent,
    /// The data of the apex for every name below.
    Redirect,
    /// As [`ZoneKind::Transparent`], and logged.
    Inform,
    /// As [`ZoneKind::Deny`], and logged.
    InformDeny,
    /// As [`ZoneKind::Redirect`], and logged.
    InformRedirect,
    /// Everything is resolved, data or not.
    AlwaysTransparent,
    /// A is NODATA, all else is resolved, data or not.
    BlockA,
    /// AAAA is NODATA, all else is resolved, data or not.
    BlockAaaa,
    /// Data; then as [`ZoneKind::BlockA`].
    BlockAWdata,
    /// Data; then as [`ZoneKind::BlockAaaa`].
    BlockAaaaWdata,
    /// REFUSED, data or not.
    AlwaysRefuse,
    /// NXDOMAIN, data or not.
    AlwaysNxdomain,
    /// NODATA, data or not.
    AlwaysNodata,
    /// No answer, data or not.
    AlwaysDeny,
    /// Data; then 0.0.0.0 and ::, NODATA for other types.
    AlwaysNull,
    /// In a view: look into the zones outside of it. Elsewhere as [`ZoneKind::Transparent`].
    NoView,
}

impl ZoneKind {
    /// All types, in the order of the manual.
    pub const ALL: [ZoneKind; 20] = [
        ZoneKind::Deny,
        ZoneKind::Refuse,
        ZoneKind::Static,
        ZoneKind::Transparent,
        ZoneKind::TypeTransparent,
        ZoneKind::Redirect,
        ZoneKind::Inform,
        ZoneKind::InformDeny,
        ZoneKind::InformRedirect,
        ZoneKind::AlwaysTransparent,
        ZoneKind::BlockA,
        ZoneKind::BlockAaaa,
        ZoneKind::BlockAWdata,
        ZoneKind::BlockAaaaWdata,
        ZoneKind::AlwaysRefuse,
        ZoneKind::AlwaysNxdomain,
        ZoneKind::AlwaysNodata,
        ZoneKind::AlwaysDeny,
        ZoneKind::AlwaysNull,
        ZoneKind::NoView,
    ];

    /// The word in `unbound.conf` and in log lines.
    pub fn word(self) -> &'static str {
        match self {
            ZoneKind::Deny => "deny",
            ZoneKind::Refuse => "refuse",
            ZoneKind::Static => "static",
            ZoneKind::Transparent => "transparent",
            ZoneKind::TypeTransparent => "typetransparent",
            ZoneKind::Redirect => "redirect",
            ZoneKind::Inform => "inform",
            ZoneKind::InformDeny => "inform_deny",
            ZoneKind::InformRedirect => "inform_redirect",
            ZoneKind::AlwaysTransparent => "always_transparent",
            ZoneKind::BlockA => "block_a",
            ZoneKind::BlockAaaa => "block_aaaa",
            ZoneKind::BlockAWdata => "block_a_wdata",
            ZoneKind::BlockAaaaWdata => "block_aaaa_wdata",
            ZoneKind::AlwaysRefuse => "always_refuse",
            ZoneKind::AlwaysNxdomain => "always_nxdomain",
            ZoneKind::AlwaysNodata => "always_nodata",
            ZoneKind::AlwaysDeny => "always_deny",
            ZoneKind::AlwaysNull => "always_null",
            ZoneKind::NoView => "noview",
        }
    }

    /// The type of a word, which is lower case.
    pub fn from_word(word: &str) -> Option<ZoneKind> {
        ZoneKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether every name below the apex has the apex's data.
    pub(super) fn redirects(self) -> bool {
        matches!(self, ZoneKind::Redirect | ZoneKind::InformRedirect)
    }

    /// Whether a hit is logged even without `log-local-actions`.
    pub(super) fn informs(self) -> bool {
        matches!(self, ZoneKind::Inform | ZoneKind::InformDeny | ZoneKind::InformRedirect)
    }
}

/// All local zones with their data, and the overlay of the API; immutable. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub struct LocalZones {
    pub(super) store: Arc<Store>,
    pub(super) overlay: Overlay,
    pub(super) join: Join,
}

impl LocalZones {
    /// The zones: name, type and class, in no particular order.
    pub fn zones(&self) -> impl Iterator<Item = (NameRef<'_>, ZoneKind, Class)> {
        self.store.zones.iter().map(|zone| (self.store.name_at(zone.name), zone.kind, zone.class))
    }

    /// Whether these are the very same zones, whatever lies over them.
    pub fn same_zones(&self, other: &LocalZones) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }

    /// How many zones there are, the default ones included.
    pub fn zone_count(&self) -> usize {
        self.store.zones.len()
    }

    /// Octets of memory held, without the overlay.
    pub fn bytes(&self) -> usize {
        let s = &self.store;
        // A hashbrown table is at most 7/8 full; each place costs the index and a control octet.
        let table = |t: &HashTable<u32>| t.capacity() / 7 * 8 * (size_of::<u32>() + 1);
        s.names.capacity()
            + s.rdata.capacity()
            + s.zones.capacity() * size_of::<Zone>()
            + s.nodes.capacity() * size_of::<Node>()
            + s.sets.capacity() * size_of::<Set>()
            + s.records.capacity() * size_of::<Record>()
            + table(&s.zone_index)
            + table(&s.node_index)
    }
}

/// A zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    /// Its name, in `names`.
    pub(super) name: u32,
    /// The record of its SOA, or [`NONE`].
    pub(super) soa: u32,
    pub(super) class: Class,
    pub(super) kind: ZoneKind,
    pub(super) made: Made,
}

/// Where a zone comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It stands in the file.
    Written,
    /// It is there without being asked for.
    Default,
    /// Data without a zone made it.
    Implicit,
}

/// A name in a zone that exists: it has data, or a name below it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The name, in `names`.
    pub(super) name: u32,
    /// The zone it belongs to.
    pub(super) zone: u32,
    /// Its first RRset, or [`NONE`].
    pub(super) sets: u32,
}

/// An RRset of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    /// The next RRset of the node, or [`NONE`].
    pub(super) next: u32,
    /// Its first record.
    pub(super) records: u32,
    pub(super) rtype: Rtype,
}

/// A record of an RRset. Each has a TTL of its own, since Unbound sends the TTLs as they were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The next record of the set, or [`NONE`].
    pub(super) next: u32,
    /// Seconds.
    pub(super) ttl: u32,
    /// Its data, in `rdata`.
    pub(super) data: u32,
    /// Octets of its data.
    pub(super) len: u16,
    /// Whether it is one of a default zone's own.
    pub(super) default: bool,
}

/// The arenas and tables. Also what the builder works on.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    /// Names in wire form, case kept. A name that is a suffix of another one shares its octets.
    pub(super) names: Vec<u8>,
    pub(super) rdata: Vec<u8>,
    pub(super) zones: Vec<Zone>,
    pub(super) nodes: Vec<Node>,
    pub(super) sets: Vec<Set>,
    pub(super) records: Vec<Record>,
    pub(super) zone_index: HashTable<u32>,
    pub(super) node_index: HashTable<u32>,
    /// Of the zones those that data without a zone made: one or two.
    pub(super) implicit_zones: Vec<u32>,
    /// Labels of the deepest zone: suffixes longer than that are not looked for.
    pub(super) deepest: usize,
}

/// The closest zone that encloses a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enclosing {
    /// Its index.
    pub(super) zone: u32,
    /// Labels of its name.
    pub(super) labels: usize,
}

impl Store {
    /// The name that begins at `at`.
    pub(super) fn name_at(&self, at: u32) -> NameRef<'_> {
        let octets = usize::try_from(at).ok().and_then(|at| self.names.get(at..)).unwrap_or_default();
        NameRef::split_from(octets).map_or(wire::name::ROOT, |(name, _)| name)
    }

    /// The zone that data without a zone made.
    pub(super) fn implicit(&self, class: Class) -> Option<u32> {
        self.implicit_zones.iter().copied().find(|index| self.zone(*index).is_some_and(|zone| zone.class == class))
    }

    pub(super) fn zone(&self, index: u32) -> Option<&Zone> {
        self.zones.get(usize::try_from(index).ok()?)
    }

    pub(super) fn set(&self, index: u32) -> Option<&Set> {
        self.sets.get(usize::try_from(index).ok()?)
    }

    pub(super) fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(usize::try_from(index).ok()?)
    }

    pub(super) fn data(&self, record: &Record) -> &[u8] {
        let start = usize::try_from(record.data).unwrap_or(usize::MAX);
        start.checked_add(usize::from(record.len)).and_then(|end| self.rdata.get(start..end)).unwrap_or_default()
    }

    /// The RRsets of a node.
    pub(super) fn sets_of(&self, node: &Node) -> impl Iterator<Item = &Set> {
        std::iter::successors(self.set(node.sets), |set| self.set(set.next))
    }

    /// The records of an RRset.
    pub(super) fn records_of(&self, set: &Set) -> impl Iterator<Item = &Record> + Clone {
        std::iter::successors(self.record(set.records), |record| self.record(record.next))
    }

    /// Whether the name at `at` is `wire` (lower case, one whole name).
    fn is_name(&self, at: u32, wire: &[u8]) -> bool {
        let octets = usize::try_from(at).ok().and_then(|at| self.names.get(at..at.checked_add(wire.len())?));
        octets.is_some_and(|octets| octets.eq_ignore_ascii_case(wire))
    }

    /// The zone of exactly this name.
    pub(super) fn find_zone(&self, hash: u64, wire: &[u8], class: Class) -> Option<u32> {
        let is =
            |index: &u32| self.zone(*index).is_some_and(|zone| zone.class == class && self.is_name(zone.name, wire));
        self.zone_index.find(tie(hash, u64::from(class.0)), is).copied()
    }

    /// The closest zone of the class that encloses the name; with `parent`, that encloses the name's parent.
    pub(super) fn enclosing(&self, walk: &Walk<'_>, class: Class, parent: bool) -> Option<Enclosing> {
        let labels = if parent { walk.labels().saturating_sub(1) } else { walk.labels() };
        let mut best = None;
        for (labels, (hash, suffix)) in walk.suffixes().enumerate().take(labels.min(self.deepest) + 1) {
            if let Some(zone) = self.find_zone(hash, suffix, class) {
                best = Some(Enclosing { zone, labels });
            }
        }
        best
    }

    /// The node of the zone at the suffix of so many labels.
    pub(super) fn find_node(&self, zone: u32, walk: &Walk<'_>, labels: usize) -> Option<u32> {
        let wire = walk.suffix(labels);
        let is = |index: &u32| self.node(*index).is_some_and(|node| node.zone == zone && self.is_name(node.name, wire));
        self.node_index.find(tie(walk.hash(labels), u64::from(zone)), is).copied()
    }

    pub(super) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(index).ok()?)
    }

    /// Puts a zone, which is not there yet, into array and table.
    pub(super) fn add_zone(&mut self, walk: &Walk<'_>, zone: Zone) -> u32 {
        let index = index(self.zones.len());
        self.deepest = self.deepest.max(walk.labels());
        if zone.made == Made::Implicit {
            self.implicit_zones.push(index);
        }
        let hash = tie(walk.hash(walk.labels()), u64::from(zone.class.0));
        self.zones.push(zone);
        let (zones, names) = (&self.zones, &self.names);
        self.zone_index.insert_unique(hash, index, |at| {
            at_index(zones, *at).map_or(0, |zone| tie(hash_of(names, zone.name), u64::from(zone.class.0)))
        });
        index
    }

    /// Puts a node, which is not there yet, into array and table.
    pub(super) fn add_node(&mut self, walk: &Walk<'_>, labels: usize, node: Node) -> u32 {
        let index = index(self.nodes.len());
        let hash = tie(walk.hash(labels), u64::from(node.zone));
        self.nodes.push(node);
        let (nodes, names) = (&self.nodes, &self.names);
        self.node_index.insert_unique(hash, index, |at| {
            at_index(nodes, *at).map_or(0, |node| tie(hash_of(names, node.name), u64::from(node.zone)))
        });
        index
    }

    /// Gives spare room back.
    pub(super) fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.rdata.shrink_to_fit();
        self.zones.shrink_to_fit();
        self.nodes.shrink_to_fit();
        self.sets.shrink_to_fit();
        self.records.shrink_to_fit();
    }
}

/// A length as the index of what comes next. The builder refuses what does not fit long before (`MAX_OCTETS`).
pub(super) fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}

fn at_index<T>(all: &[T], index: u32) -> Option<&T> {
    all.get(usize::try_from(index).ok()?)
}

/// The hash of a stored name, for a table that grows.
fn hash_of(names: &[u8], at: u32) -> u64 {
    let octets = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
    let lower = NameRef::split_from(octets).map_or_else(|_| NameBuf::root(), |(name, _)| name.lower());
    let walk = Walk::new(lower.as_ref());
    walk.hash(walk.labels())
}
