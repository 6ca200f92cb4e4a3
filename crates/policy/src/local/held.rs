//! The records of one name in a zone: the file's and the API's together, in the order they would have in one file.
//!
//! It owns that order and what gives way to what. Records of the API come after those of the file, and what stands later
//! counts: of two records that differ in nothing but the TTL the API's is kept, and in a `redirect` zone, where a CNAME is
//! alone, the API's records leave no room for the file's. A default zone's own come last of all: neither changes them. It
//! never decides what a query gets.

use wire::Rtype;

use super::zones::{Node, Record, Set, Store};
use crate::overlay::{One, Records, of_parent};

/// The records of a name.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    store: &'a Store,
    /// What the file has, if it counts.
    node: Option<&'a Node>,
    api: Api<'a>,
}

/// The records of a name in the overlay, as far as they belong to the zone that is asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Api<'a> {
    records: Records<'a>,
    side: Side,
    cnames: Cnames,
}

/// Of which side of a zone cut the records are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    /// There is no cut at the name.
    #[default]
    Both,
    /// The name's own: all but DS.
    Own,
    /// The parent's: DS.
    Parent,
}

/// What becomes of CNAME records.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Cnames {
    /// They are records like others.
    #[default]
    Beside,
    /// There is no room for them.
    Never,
    /// The last record is one, and there is no room for others.
    Alone,
}

/// Where an RRset stands in the order of a name's: first the file's alone, then the API's, then a default zone's.
type Place = (u8, usize);

impl<'a> Held<'a> {
    pub(super) fn new(store: &'a Store, node: Option<&'a Node>, api: Api<'a>) -> Held<'a> {
        Held { store, node, api }
    }

    /// The same in a `redirect` zone, at the apex; `default` says that it is a default zone.
    pub(super) fn redirected(self, default: bool) -> Held<'a> {
        let cnames = match self.api.records().last() {
            None => return self,
            Some(_) if default => Cnames::Never,
            Some(last) if last.rtype == Rtype::CNAME => Cnames::Alone,
            Some(_) => Cnames::Never,
        };
        let api = Api { cnames, ..self.api };
        match (cnames, default) {
            (_, true) => Held { api, ..self },
            (Cnames::Alone, _) => Held { api, node: None, ..self },
            // The file's CNAME would stand alone, if there is one.
            _ => Held { api, node: self.node.filter(|_| self.set(Rtype::CNAME).is_none()), ..self },
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.node.is_none_or(|node| self.store.set(node.sets).is_none()) && self.api.records().next().is_none()
    }

    /// Whether some of the records of this type, or of any, are the API's.
    pub(super) fn of_api(&self, rtype: Option<Rtype>) -> bool {
        self.api.records().any(|one| rtype.is_none_or(|rtype| one.rtype == rtype))
    }

    /// The type of the first RRset that has the type asked for or is a CNAME; but beside a CNAME may stand its NSEC record
    /// (RFC 4035 2.5).
    pub(super) fn matching(&self, qtype: Rtype) -> Option<Rtype> {
        let asked = self.place(qtype);
        if qtype == Rtype::CNAME || (qtype == Rtype::NSEC && asked.is_some()) {
            return asked.map(|_| qtype);
        }
        match (asked, self.place(Rtype::CNAME)) {
            (Some(asked), Some(cname)) => Some(if asked < cname { qtype } else { Rtype::CNAME }),
            (Some(_), None) => Some(qtype),
            (None, cname) => cname.map(|_| Rtype::CNAME),
        }
    }

    /// The records of a type: TTL and data.
    pub(super) fn records(&self, rtype: Rtype) -> impl Iterator<Item = (u32, &'a [u8])> {
        let store = self.store;
        let (file, api) = (self.file(rtype), self.api(rtype));
        // Few names have records from both sides, fewer many.
        let doubled =
            move |record: &&'a Record| !record.default && api.clone().any(|one| one.data == store.data(record));
        let own = self.api(rtype).filter({
            let file = file.clone();
            move |one| !file.clone().any(|record| record.default && store.data(record) == one.data)
        });
        let told = move |record: &'a Record| (record.ttl, store.data(record));
        let before = file.clone().filter(|record| !record.default).filter(move |record| !doubled(record)).map(told);
        before.chain(own.map(|one| (one.ttl, one.data))).chain(file.filter(|record| record.default).map(told))
    }

    /// The SOA that negative answers go by, if this is the apex and the API has a word in it: `Err` if it has none.
    pub(super) fn soa(&self) -> Result<Option<(u32, &'a [u8])>, ()> {
        match self.api(Rtype::SOA).last() {
            Some(soa) => Ok(Some((soa.ttl, soa.data))),
            None if self.api.cnames == Cnames::Alone => Ok(None),
            None => Err(()),
        }
    }

    fn place(&self, rtype: Rtype) -> Option<Place> {
        let sets = self.node.into_iter().flat_map(|node| self.store.sets_of(node));
        let file = sets.enumerate().find(|(_, set)| set.rtype == rtype);
        let default = |set: &Set| self.store.records_of(set).any(|record| record.default);
        match file {
            Some((nth, set)) if default(set) => Some((2, nth)),
            _ if self.api(rtype).next().is_some() => Some((1, usize::from(rtype.0))),
            file => file.map(|(nth, _)| (0, nth)),
        }
    }

    fn set(&self, rtype: Rtype) -> Option<&'a Set> {
        self.node.and_then(|node| self.store.sets_of(node).find(|set| set.rtype == rtype))
    }

    fn file(&self, rtype: Rtype) -> impl Iterator<Item = &'a Record> + Clone + use<'a> {
        let store = self.store;
        self.set(rtype).into_iter().flat_map(move |set| store.records_of(set))
    }

    fn api(&self, rtype: Rtype) -> impl Iterator<Item = One<'a>> + Clone + use<'a> {
        self.api.records().filter(move |one| one.rtype == rtype)
    }
}

impl<'a> Api<'a> {
    pub(super) fn new(packed: &'a [u8], side: Side) -> Api<'a> {
        Api { records: Records::new(packed), side, cnames: Cnames::Beside }
    }

    /// What counts of them, in order.
    fn records(self) -> impl Iterator<Item = One<'a>> + Clone + use<'a> {
        let Api { records, side, cnames } = self;
        let mut left = match cnames {
            Cnames::Alone => records.filter(move |one| wanted(*one, side)).count(),
            _ => usize::MAX,
        };
        records.filter(move |one| wanted(*one, side)).filter(move |one| {
            left = left.saturating_sub(1);
            match cnames {
                Cnames::Beside => true,
                Cnames::Never => one.rtype != Rtype::CNAME,
                Cnames::Alone => left == 0,
            }
        })
    }
}

fn wanted(one: One<'_>, side: Side) -> bool {
    match side {
        Side::Both => true,
        Side::Own => !of_parent(one.rtype),
        Side::Parent => of_parent(one.rtype),
    }
}
