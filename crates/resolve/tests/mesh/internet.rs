//! An Internet of a few lines: zones as text, servers by address, for tests of recursion.
//!
//! Owns the manners of an authoritative server: answers, links, referrals with glue, NODATA, NXDOMAIN, REFUSED for what it
//! does not serve. What a server does beyond that, good or bad, a test hangs over its address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use resolve::{Forwards, ForwardsBuilder, Limits, Millis, Minimise, Recursion, StubZone};
use wire::{Answer, Class, Name, NameRef, Rcode, RdataSet, Rrset, Rtype};

use crate::net::*;

type Manner = Box<dyn FnMut(&Asked) -> Option<Vec<(Millis, Fate)>>>;

struct Zone {
    name: Name,
    servers: Vec<IpAddr>,
    sets: Vec<Rrset>,
}

#[derive(Default)]
pub(crate) struct Internet {
    zones: Vec<Zone>,
    manners: BTreeMap<IpAddr, Manner>,
    recursors: Vec<IpAddr>,
}

/// The root and com., with a name server each: where most stories begin.
pub(crate) fn internet() -> Internet {
    Internet::default()
        .zone(".", "198.51.100.1", ". NS ns.root.\nns.root. A 198.51.100.1\ncom. NS ns.com.\nns.com. A 198.51.100.2")
        .zone("com.", "198.51.100.2", "com. NS ns.com.\nns.com. A 198.51.100.2")
}

impl Internet {
    /// A zone, the addresses that serve it (with blanks between), its records, one a line.
    pub(crate) fn zone(mut self, name: &str, servers: &str, records: &str) -> Internet {
        let servers = servers.split_whitespace().map(|addr| addr.parse().expect("an address")).collect();
        self.zones.push(Zone { name: self::name(name), servers, sets: Vec::new() });
        self.more(name, records)
    }

    /// More records for a zone.
    pub(crate) fn more(mut self, name: &str, records: &str) -> Internet {
        let at = self::name(name);
        let zone = self.zones.iter_mut().rfind(|zone| zone.name == at).expect("a zone of that name");
        for line in records.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let record = wire::parse_record(line, 3600).unwrap_or_else(|error| panic!("{line}: {error}"));
            let known = zone.sets.iter_mut().find(|set| set.owner == record.owner && set.rtype == record.rtype);
            match known {
                Some(set) => assert!(set.make_mut().rdata.push(&record.rdata), "room in the set"),
                None => {
                    let (ttl, rdata) = (record.ttl.unwrap_or(3600), RdataSet::one(&record.rdata));
                    zone.sets.push(Rrset::new(record.owner, record.rtype, Class::IN, ttl, rdata));
                }
            }
        }
        self
    }

    /// What the server at this address does instead; where it gives `None`, it behaves.
    pub(crate) fn at(
        mut self,
        addr: &str,
        manner: impl FnMut(&Asked) -> Option<Vec<(Millis, Fate)>> + 'static,
    ) -> Internet {
        self.manners.insert(addr.parse().expect("an address"), Box::new(manner));
        self
    }

    /// The server at this address says that it recurses.
    pub(crate) fn recursor(mut self, addr: &str) -> Internet {
        self.recursors.push(addr.parse().expect("an address"));
        self
    }

    /// Recursion over it, with the root server at 198.51.100.1 and without minimisation or fetches in advance, so that a
    /// test sees the packets it is about.
    pub(crate) fn plain(self) -> FakeNet {
        self.with(|recursion| recursion.minimise = Minimise::Off)
    }

    /// The same with a stub zone.
    pub(crate) fn plain_stub(self, stub: StubZone) -> FakeNet {
        self.with(|recursion| {
            recursion.minimise = Minimise::Off;
            recursion.stub(stub);
        })
    }

    pub(crate) fn with(self, change: impl FnOnce(&mut Recursion)) -> FakeNet {
        self.build(Limits::default(), change, |_| {})
    }

    pub(crate) fn build(
        mut self,
        limits: Limits,
        change: impl FnOnce(&mut Recursion),
        table: impl FnOnce(&mut ForwardsBuilder),
    ) -> FakeNet {
        let mut recursion = Recursion::default();
        (recursion.fetch_policy, recursion.ip6) = (vec![0; 5], false);
        recursion.stub(stub(".", "198.51.100.1"));
        change(&mut recursion);
        let mut builder = Forwards::builder();
        builder.recursion(recursion);
        table(&mut builder);
        FakeNet::with(limits, builder.build(), move |asked| self.answer(asked))
    }

    fn answer(&mut self, asked: &Asked) -> Vec<(Millis, Fate)> {
        let ip = asked.server.ip();
        if let Some(said) = self.manners.get_mut(&ip).and_then(|manner| manner(asked)) {
            return said
                .into_iter()
                .map(|(after, fate)| (after, authority(fate, self.recursors.contains(&ip))))
                .collect();
        }
        let (name, qtype) = (asked.query.qname.as_ref(), asked.query.qtype);
        let served = self.zones.iter().filter(|zone| zone.servers.contains(&ip));
        let enclosing = served.filter(|zone| {
            let apex = zone.name.as_ref();
            name.is_subdomain_of(apex) && (qtype != Rtype::DS || name != apex || apex.is_root())
        });
        let said = match enclosing.max_by_key(|zone| zone.name.as_ref().label_count()) {
            Some(zone) => zone.answer(name, qtype),
            None if self.zones.iter().any(|zone| zone.servers.contains(&ip)) => Answer::new(Rcode::REFUSED),
            None => return vec![],
        };
        soon(asked.render(&said)).into_iter().map(|(after, fate)| (after, authority(fate, false))).collect()
    }
}

/// Takes RA out of a reply, unless whoever sends it recurses.
fn authority(fate: Fate, recurses: bool) -> Fate {
    match fate {
        Fate::Bytes(mut bytes) if !recurses => {
            bytes.iter_mut().skip(3).take(1).for_each(|flags| *flags &= 0x7f);
            Fate::Bytes(bytes)
        }
        fate => fate,
    }
}

impl Zone {
    fn set(&self, owner: NameRef<'_>, rtype: Rtype) -> Option<&Rrset> {
        self.sets.iter().find(|set| set.owner.as_ref() == owner && set.rtype == rtype)
    }

    fn answer(&self, name: NameRef<'_>, qtype: Rtype) -> Answer {
        let apex = self.name.as_ref();
        let mut on_the_way: Vec<NameRef<'_>> = name.ancestors().take_while(|above| *above != apex).collect();
        on_the_way.reverse();
        for cut in on_the_way {
            let Some(ns) = self.set(cut, Rtype::NS) else { continue };
            if cut == name && qtype == Rtype::DS {
                break;
            }
            let names: Vec<Name> = ns.rdata.iter().filter_map(|rdata| Name::from_wire(rdata).ok()).collect();
            let glue = |set: &&Rrset| matches!(set.rtype, Rtype::A | Rtype::AAAA) && names.contains(&set.owner);
            let ds = self.set(cut, Rtype::DS).cloned();
            return Answer {
                authority: std::iter::once(ns.clone()).chain(ds).collect(),
                additional: self.sets.iter().filter(glue).cloned().collect(),
                ..Answer::default()
            };
        }
        let above = |set: &&Rrset| {
            set.rtype == Rtype::DNAME && set.owner.as_ref() != name && name.is_subdomain_of(set.owner.as_ref())
        };
        let found =
            self.set(name, qtype).or_else(|| self.set(name, Rtype::CNAME)).or_else(|| self.sets.iter().find(above));
        let exists = self.sets.iter().any(|set| set.owner.as_ref().is_subdomain_of(name));
        let names = |set: &Rrset| set.rdata.iter().filter_map(|rdata| Name::from_wire(rdata).ok()).collect::<Vec<_>>();
        let named = found.filter(|set| set.rtype == Rtype::NS).map(names).unwrap_or_default();
        let beside = |set: &&Rrset| matches!(set.rtype, Rtype::A | Rtype::AAAA) && named.contains(&set.owner);
        Answer {
            additional: self.sets.iter().filter(beside).cloned().collect(),
            aa: true,
            rcode: if found.is_some() || exists { Rcode::NOERROR } else { Rcode::NXDOMAIN },
            answer: found.cloned().into_iter().collect(),
            authority: if found.is_some() { vec![] } else { vec![soa(&self.name.to_string(), 900, 300)] },
            ..Answer::default()
        }
    }
}

/// A stub zone with these servers (with blanks between).
pub(crate) fn stub(at: &str, servers: &str) -> StubZone {
    let addr = |addr: &str| std::net::SocketAddr::new(addr.parse().expect("an address"), 53);
    StubZone { servers: servers.split_whitespace().map(addr).collect(), ..StubZone::new(name(at)) }
}

impl FakeNet {
    /// What was asked of whom: `name TYPE @last octet`.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.sent.iter().map(|asked| format!("{} {} @{}", asked.name(), asked.query.qtype, asked.who())).collect()
    }
}

/// The addresses a client was told.
pub(crate) fn addresses(told: &Told) -> Vec<String> {
    let sets = told.answer.answer.iter().filter(|set| set.rtype == Rtype::A);
    sets.flat_map(|set| set.rdata.iter().map(|rdata| wire::rdata_to_text(Rtype::A, rdata)).collect::<Vec<_>>())
        .collect()
}
