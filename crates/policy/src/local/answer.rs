//! What each type of local zone says to a query.
//!
//! It owns the table of types and makes the answers out of the store. It never builds or changes zones, and never
//! resolves: an alias out of a `redirect` zone is handed back with the name to go on with.

use wire::{Answer, Name, NameBuf, NameError, NameRef, Query, Rcode, RdataSet, Rrset, Rtype};

use super::zones::{Enclosing, LocalZones, Node, Set, Store, Walk, Zone, ZoneKind};
use crate::verdict::{LocalHit, Verdict};

/// Seconds an address of an `always_null` zone may be kept.
const NULL_TTL: u32 = 3600;

impl LocalZones {
    /// The verdict of the closest enclosing zone, and which one that is; `None` if there is none.
    pub fn decide(&self, q: &Query) -> Option<(Verdict, LocalHit<'_>)> {
        let lower = q.qname.lower();
        let walk = Walk::new(&lower);
        // Type DS belongs to the parent's side of a zone cut.
        let enclosing = self.store.enclosing(&walk, q.qclass, q.qtype == Rtype::DS)?;
        let zone = self.store.zone(enclosing.zone)?;
        let hit = LocalHit { zone: self.store.name_at(zone.name), kind: zone.kind.word(), always: zone.kind.informs() };
        let asked = Asked { store: &self.store, q, walk: &walk, enclosing, zone };
        Some((asked.verdict(), hit))
    }
}

/// A query with the zone it belongs to.
struct Asked<'a> {
    store: &'a Store,
    q: &'a Query,
    walk: &'a Walk<'a>,
    enclosing: Enclosing,
    zone: &'a Zone,
}

impl Asked<'_> {
    fn verdict(&self) -> Verdict {
        use ZoneKind as K;
        let kind = self.zone.kind;
        let node = match kind {
            // These never look at their data, but for the SOA.
            K::AlwaysTransparent | K::AlwaysRefuse | K::AlwaysNxdomain | K::AlwaysNodata | K::AlwaysDeny => None,
            K::BlockA | K::BlockAaaa => None,
            K::Redirect | K::InformRedirect => self.node(self.enclosing.labels),
            _ => self.node(self.walk.labels()),
        };
        if let Some(set) = node.and_then(|node| self.matching(node)) {
            return self.by_data(set);
        }
        match kind {
            K::Deny | K::InformDeny | K::AlwaysDeny => Verdict::Drop,
            K::Refuse | K::AlwaysRefuse => bare(Rcode::REFUSED),
            K::Static if node.is_some() => self.negative(Rcode::NOERROR),
            K::Static | K::AlwaysNxdomain => self.negative(Rcode::NXDOMAIN),
            K::Redirect | K::InformRedirect | K::AlwaysNodata => self.negative(Rcode::NOERROR),
            K::Transparent | K::Inform | K::NoView => match node {
                // A name that exists only because names below it do is none of our business.
                Some(node) if self.store.set(node.sets).is_some() => self.negative(Rcode::NOERROR),
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
        }
    }

    /// The node of the zone at the suffix of the qname with so many labels.
    fn node(&self, labels: usize) -> Option<&Node> {
        self.store.node(self.store.find_node(self.enclosing.zone, self.walk, labels)?)
    }

    /// The first RRset that has the type asked for or is a CNAME; but beside a CNAME may stand its NSEC record (RFC 4035 2.5).
    fn matching(&self, node: &Node) -> Option<&Set> {
        let first = |fits: &dyn Fn(Rtype) -> bool| self.store.sets_of(node).find(|set| fits(set.rtype));
        let asked = |rtype| rtype == self.q.qtype;
        let nsec = if asked(Rtype::NSEC) { first(&asked) } else { None };
        nsec.or_else(|| first(&|rtype| asked(rtype) || rtype == Rtype::CNAME))
    }

    fn by_data(&self, set: &Set) -> Verdict {
        if set.rtype == Rtype::CNAME && self.q.qtype != Rtype::CNAME && self.zone.kind.redirects() {
            return self.alias(set);
        }
        Verdict::Answer(Answer { aa: true, answer: self.rrsets(set), ..Answer::new(Rcode::NOERROR) })
    }

    /// The CNAME of a redirect zone. A target `*.name` takes the whole qname in place of the star, and such a CNAME, made
    /// for this query, is not to be kept: its TTL is 0.
    fn alias(&self, set: &Set) -> Verdict {
        let Some(record) = self.store.records_of(set).next() else {
            return self.negative(Rcode::NOERROR);
        };
        let Ok(written) = NameRef::from_wire(self.store.data(record)) else {
            return self.negative(Rcode::NOERROR);
        };
        let (target, ttl) = match written.parent() {
            Some(base) if written.is_wildcard() => match join(&self.q.qname, base) {
                Ok(target) => (target, 0),
                // RFC 6672 2.2 has this code for a name that grows too long; Unbound uses it here as well.
                Err(_) => return bare(Rcode::YXDOMAIN),
            },
            _ => (written.to_name(), record.ttl),
        };
        let rdata = RdataSet::one(target.as_ref().as_wire());
        let cname = Rrset::new(self.q.qname.to_name(), Rtype::CNAME, self.zone.class, ttl, rdata);
        Verdict::Alias { answer: vec![cname], target }
    }

    /// NODATA or NXDOMAIN with the SOA of the zone, if it has one.
    fn negative(&self, rcode: Rcode) -> Verdict {
        let mut answer = Answer { aa: true, ..Answer::new(rcode) };
        if let Some(soa) = self.store.record(self.zone.soa) {
            let data = self.store.data(soa);
            // The last number of the SOA is the TTL of negative answers (RFC 2308 4).
            let minimum = data.last_chunk::<4>().map_or(u32::MAX, |octets| u32::from_be_bytes(*octets));
            let ttl = soa.ttl.min(minimum);
            answer.authority.push(Rrset::new(self.apex(), Rtype::SOA, self.zone.class, ttl, RdataSet::one(data)));
        }
        Verdict::Answer(answer)
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
        for _ in self.enclosing.labels..self.walk.labels() {
            name = name.parent().unwrap_or(name);
        }
        name.to_name()
    }

    /// The records of a set as RRsets of the qname: one, or several where the TTLs differ, since Unbound sends the TTL
    /// of each record as it was written.
    fn rrsets(&self, set: &Set) -> Vec<Rrset> {
        let mut all: Vec<Rrset> = Vec::with_capacity(1);
        for record in self.store.records_of(set) {
            let data = self.store.data(record);
            match all.last_mut() {
                Some(last) if last.ttl == record.ttl => {
                    last.make_mut().rdata.push(data);
                }
                _ => {
                    let (owner, rdata) = (self.q.qname.to_name(), RdataSet::one(data));
                    all.push(Rrset::new(owner, set.rtype, self.zone.class, record.ttl, rdata));
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
