//! What each type of local zone says to a query.
//!
//! It owns the table of types and makes the answers out of the store. It never builds or changes zones, and never
//! resolves: an alias out of a `redirect` zone is handed back with the name to go on with.

use wire::{Answer, Class, Name, NameBuf, NameError, NameRef, Query, Rcode, RdataSet, Rrset, Rtype};

use super::held::{Api, Held, Side};
use super::zones::{LocalZones, Made, NONE, Node, ZoneKind};
use crate::overlay::BlockHit;
use crate::verdict::{LocalHit, Verdict};
use crate::walk::Walk;

/// Seconds an address of an `always_null` zone may be kept.
const NULL_TTL: u32 = 3600;

impl LocalZones {
    /// The verdict of the closest enclosing zone, and which one that is; `None` if there is none.
    pub fn decide(&self, q: &Query) -> Option<(Verdict, LocalHit<'_>)> {
        let lower = q.qname.lower();
        let walk = Walk::new(lower.as_ref());
        let zone = self.met(q, &walk)?;
        let (verdict, api) = Asked { zones: self, q, walk: &walk, zone }.verdict();
        let hit = LocalHit {
            zone: zone.name,
            kind: zone.kind.word(),
            always: zone.kind.informs(),
            labels: zone.labels,
            api: api && verdict != Verdict::Pass,
            written: zone.made == Made::Written,
        };
        Some((verdict, hit))
    }

    /// The verdict of the closest block of the API whose name has at least so many labels.
    pub fn block(&self, q: &Query, least: usize) -> Option<(Verdict, BlockHit)> {
        if q.qclass != Class::IN || self.overlay.block_count() == 0 {
            return None;
        }
        let lower = q.qname.lower();
        let (labels, action) = self.overlay.blocking(&Walk::new(lower.as_ref()))?;
        (labels >= least).then(|| (action.verdict(q), BlockHit { labels, word: action.word() }))
    }

    /// The zone a query belongs to. Type DS belongs to the parent's side of a zone cut.
    fn met(&self, q: &Query, walk: &Walk<'_>) -> Option<Met<'_>> {
        let parent = q.qtype == Rtype::DS;
        let found = self.store.enclosing(walk, q.qclass, parent);
        let of_file = found.and_then(|found| {
            let zone = self.store.zone(found.zone)?;
            Some(Met {
                index: Some(found.zone),
                labels: found.labels,
                name: self.store.name_at(zone.name),
                class: zone.class,
                kind: zone.kind,
                made: zone.made,
                soa: zone.soa,
            })
        });
        if q.qclass != Class::IN || of_file.as_ref().is_some_and(|met| met.made != Made::Implicit) {
            return of_file;
        }
        let Some(apex) = self.join.implicit() else { return of_file };
        let labels = apex.label_count();
        let deepest = if parent { walk.labels().saturating_sub(1) } else { walk.labels() };
        if labels > deepest || walk.suffix(labels) != apex.as_wire() {
            return of_file;
        }
        // The file's own zone for such data, if it has one, is the same or lies below: its SOA is no apex's then. Its data
        // count even where the query is not below it.
        let soa = of_file.filter(|met| met.labels == labels).map_or(NONE, |met| met.soa);
        let index = self.store.implicit(Class::IN);
        let (class, kind, made) = (Class::IN, ZoneKind::Transparent, Made::Implicit);
        Some(Met { index, labels, name: apex, class, kind, made, soa })
    }
}

/// The zone a query belongs to.
#[derive(Clone, Copy)]
struct Met<'a> {
    /// Its number among the file's, if the file has it.
    index: Option<u32>,
    /// Labels of its name.
    labels: usize,
    name: NameRef<'a>,
    class: Class,
    kind: ZoneKind,
    made: Made,
    /// The record of its SOA in the file, or [`NONE`].
    soa: u32,
}

/// A query with the zone it belongs to.
struct Asked<'a> {
    zones: &'a LocalZones,
    q: &'a Query,
    walk: &'a Walk<'a>,
    zone: Met<'a>,
}

impl Asked<'_> {
    /// The verdict, and whether the API has records where it was found.
    fn verdict(&self) -> (Verdict, bool) {
        use ZoneKind as K;
        let kind = self.zone.kind;
        let labels = match kind {
            // These never look at their data, but for the SOA.
            K::AlwaysTransparent | K::AlwaysRefuse | K::AlwaysNxdomain | K::AlwaysNodata | K::AlwaysDeny => None,
            K::BlockA | K::BlockAaaa => None,
            K::Redirect | K::InformRedirect => Some(self.zone.labels),
            _ => Some(self.walk.labels()),
        };
        let held = labels.map(|labels| self.held(labels));
        if let Some(held) = held
            && let Some(rtype) = held.matching(self.q.qtype)
        {
            return (self.by_data(&held, rtype), held.of_api(Some(rtype)));
        }
        let verdict = match kind {
            K::Deny | K::InformDeny | K::AlwaysDeny => Verdict::Drop,
            K::Refuse | K::AlwaysRefuse => bare(Rcode::REFUSED),
            K::Static if self.exists(held.as_ref()) => self.negative(Rcode::NOERROR),
            K::Static | K::AlwaysNxdomain => self.negative(Rcode::NXDOMAIN),
            K::Redirect | K::InformRedirect | K::AlwaysNodata => self.negative(Rcode::NOERROR),
            K::Transparent | K::Inform | K::NoView => match held {
                // A name that exists only because names below it do is none of our business.
                Some(held) if !held.is_empty() => self.negative(Rcode::NOERROR),
                _ => Verdict::Pass,
            },
            K::BlockA | K::BlockAWdata if self.q.qtype == Rtype::A => bare(Rcode::NOERROR),
            K::BlockAaaa | K::BlockAaaaWdata if self.q.qtype == Rtype::AAAA => bare(Rcode::NOERROR),
            K::TypeTransparent | K::AlwaysTransparent => Verdict::Pass,
            K::BlockA | K::BlockAaaa | K::BlockAWdata | K::BlockAaaaWdata => Verdict::Pass,
            K::AlwaysNull => match self.q.qtype {
                Rtype::A => self.null(&[0; 4]),
                Rtype::AAAA => self.null(&[0; 16]),
                _ => bare(Rcode::NOERROR),
            },
        };
        (verdict, held.is_some_and(|held| held.of_api(None)))
    }

    /// What the zone has at the suffix of the qname with so many labels.
    fn held(&self, labels: usize) -> Held<'_> {
        let LocalZones { store, overlay, .. } = self.zones;
        let api = match overlay.records.get(self.walk, labels) {
            Some(packed) if self.zone.class == Class::IN => Api::new(packed, self.side(labels)),
            _ => Api::default(),
        };
        let held = Held::new(store, self.node(labels), api);
        if self.zone.kind.redirects() { held.redirected(self.zone.made == Made::Default) } else { held }
    }

    fn node(&self, labels: usize) -> Option<&Node> {
        let store = &self.zones.store;
        store.node(store.find_node(self.zone.index?, self.walk, labels)?)
    }

    /// Which records of the name with so many labels are the zone's.
    fn side(&self, labels: usize) -> Side {
        if labels == self.zone.labels {
            return if labels == 0 { Side::Both } else { Side::Own };
        }
        // The search for the zone began above a name whose DS record is asked for; any other's is the closest already.
        let cut = self.q.qtype == Rtype::DS && labels == self.walk.labels() && {
            let store = &self.zones.store;
            let at = store.find_zone(self.walk.hash(labels), self.walk.suffix(labels), self.zone.class);
            at.and_then(|zone| store.zone(zone)).is_some_and(|zone| zone.made != Made::Implicit)
        };
        if cut { Side::Parent } else { Side::Both }
    }

    /// Whether the qname exists in the zone, if only because there is something below it.
    fn exists(&self, held: Option<&Held<'_>>) -> bool {
        let labels = self.walk.labels();
        held.is_some_and(|held| !held.is_empty())
            || self.node(labels).is_some()
            || self.zone.index.is_some_and(|zone| self.zones.join.is_above(zone, self.walk, labels))
    }

    fn by_data(&self, held: &Held<'_>, rtype: Rtype) -> Verdict {
        if rtype == Rtype::CNAME && self.q.qtype != Rtype::CNAME && self.zone.kind.redirects() {
            return self.alias(held);
        }
        Verdict::Answer(Answer { aa: true, answer: self.rrsets(held, rtype), ..Answer::new(Rcode::NOERROR) })
    }

    /// The CNAME of a redirect zone. A target `*.name` takes the whole qname in place of the star, and such a CNAME, made
    /// for this query, is not to be kept: its TTL is 0.
    fn alias(&self, held: &Held<'_>) -> Verdict {
        let Some((written_ttl, data)) = held.records(Rtype::CNAME).next() else {
            return self.negative(Rcode::NOERROR);
        };
        let Ok(written) = NameRef::from_wire(data) else {
            return self.negative(Rcode::NOERROR);
        };
        let (target, ttl) = match written.parent() {
            Some(base) if written.is_wildcard() => match join(&self.q.qname, base) {
                Ok(target) => (target, 0),
                // RFC 6672 2.2 has this code for a name that grows too long; Unbound uses it here as well.
                Err(_) => return bare(Rcode::YXDOMAIN),
            },
            _ => (written.to_name(), written_ttl),
        };
        let rdata = RdataSet::one(target.as_ref().as_wire());
        let cname = Rrset::new(self.q.qname.to_name(), Rtype::CNAME, self.zone.class, ttl, rdata);
        Verdict::Alias { answer: vec![cname], target }
    }

    /// NODATA or NXDOMAIN with the SOA of the zone, if it has one.
    fn negative(&self, rcode: Rcode) -> Verdict {
        let mut answer = Answer { aa: true, ..Answer::new(rcode) };
        if let Some((soa_ttl, data)) = self.soa() {
            // The last number of the SOA is the TTL of negative answers (RFC 2308 4).
            let minimum = data.last_chunk::<4>().map_or(u32::MAX, |octets| u32::from_be_bytes(*octets));
            let ttl = soa_ttl.min(minimum);
            answer.authority.push(Rrset::new(self.apex(), Rtype::SOA, self.zone.class, ttl, RdataSet::one(data)));
        }
        Verdict::Answer(answer)
    }

    /// The SOA of the zone: TTL and data.
    fn soa(&self) -> Option<(u32, &[u8])> {
        let store = &self.zones.store;
        // A default zone keeps its own.
        let of_api = if self.zone.made == Made::Default { Err(()) } else { self.held(self.zone.labels).soa() };
        of_api.unwrap_or_else(|()| store.record(self.zone.soa).map(|soa| (soa.ttl, store.data(soa))))
    }

    /// The address of a zone that answers nothing else.
    fn null(&self, address: &[u8]) -> Verdict {
        let (owner, rdata) = (self.q.qname.to_name(), RdataSet::one(address));
        let rrset = Rrset::new(owner, self.q.qtype, self.zone.class, NULL_TTL, rdata);
        Verdict::Answer(Answer { aa: true, answer: vec![rrset], ..Answer::new(Rcode::NOERROR) })
    }

    /// The name of the zone, in the case the client wrote it.
    fn apex(&self) -> Name {
        let mut name = self.q.qname.as_ref();
        for _ in self.zone.labels..self.walk.labels() {
            name = name.parent().unwrap_or(name);
        }
        name.to_name()
    }

    /// The records of a type as RRsets of the qname: one, or several where the TTLs differ, since Unbound sends the TTL
    /// of each record as it was written.
    fn rrsets(&self, held: &Held<'_>, rtype: Rtype) -> Vec<Rrset> {
        let mut all: Vec<Rrset> = Vec::with_capacity(1);
        for (ttl, data) in held.records(rtype) {
            match all.last_mut() {
                Some(last) if last.ttl == ttl => {
                    last.make_mut().rdata.push(data);
                }
                _ => {
                    let (owner, rdata) = (self.q.qname.to_name(), RdataSet::one(data));
                    all.push(Rrset::new(owner, rtype, self.zone.class, ttl, rdata));
                }
            }
        }
        all
    }
}

/// An authoritative answer without records.
fn bare(rcode: Rcode) -> Verdict {
    Verdict::Answer(Answer { aa: true, ..Answer::new(rcode) })
}

/// `front` followed by `base`.
fn join(front: &NameBuf, base: NameRef<'_>) -> Result<Name, NameError> {
    let mut name = *front;
    name.push_name(base)?;
    Ok(name.to_name())
}
