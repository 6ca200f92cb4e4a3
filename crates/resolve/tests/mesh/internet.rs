//! An Internet of a few lines: zones as text, servers by address, for tests of recursion and validation.
//!
//! Owns the manners of an authoritative server: answers, links, wildcards, referrals with glue, NODATA, NXDOMAIN, REFUSED for
//! what it does not serve, and the proofs that go with them where a zone is signed. What a server does beyond that, good or
//! bad, a test hangs over its address: a closure with [`Internet::at`], or words with [`Internet::lie`].
//!
//! ```text
//! signed_internet()                                              // the root and com., signed
//!     .zone("example.com.", "192.0.2.1", "example.com. NS ns.example.com.\n…")
//!     .signed("example.com.", "nsec3 salt=ab iterations=1")      // words of `signer::Signing`; the DS goes to the parent
//!     .flaw("example.com.", "www.example.com. A", "expired")     // words of `signer::Flaw`
//!     .lie("192.0.2.1", "old.example.com. A", "answer *.example.com. A as old.example.com.")
//!     .trust(|trust| trust.permissive = true)
//!     .plain()
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use dnssec::Anchors;
use resolve::{Forwards, ForwardsBuilder, Limits, Millis, Minimise, Recursion, StubZone, Trust};
use wire::{Answer, Class, Name, NameRef, Rcode, RdataSet, Rrset, Rtype};

use crate::net::*;
use crate::signer::{Flaw, Signer, rtype, wildcard};

type Change = Box<dyn FnOnce(&mut Trust)>;
type Manner = Box<dyn FnMut(&Asked) -> Option<Vec<(Millis, Fate)>>>;

struct Zone {
    name: Name,
    servers: Vec<IpAddr>,
    sets: Vec<Rrset>,
    signer: Option<Signer>,
    /// From when on it looks like this; see [`Orders::phase`].
    phase: u32,
}

/// What servers do that they should not. A story may change it while it runs.
#[derive(Default)]
pub(crate) struct Orders {
    /// By server and question: what is said instead of the truth, in the words of [`Internet::lie`].
    pub(crate) lies: BTreeMap<(IpAddr, Name, Rtype), String>,
    /// Servers that leave all that is DNSSEC's out.
    pub(crate) strippers: Vec<IpAddr>,
    /// Servers that say nothing.
    pub(crate) silent: Vec<IpAddr>,
    /// Servers that answer everything with a code alone.
    pub(crate) broken: BTreeMap<IpAddr, Rcode>,
    /// Of zones that are there more than once the last counts whose phase is not above this one.
    pub(crate) phase: u32,
}

#[derive(Default)]
pub(crate) struct Internet {
    zones: Vec<Zone>,
    manners: BTreeMap<IpAddr, Manner>,
    recursors: Vec<IpAddr>,
    forwarders: Vec<IpAddr>,
    orders: Rc<RefCell<Orders>>,
    trust: Vec<Change>,
}

/// The root and com., with a name server each: where most stories begin.
pub(crate) fn internet() -> Internet {
    Internet::default()
        .zone(".", "198.51.100.1", ". NS ns.root.\nns.root. A 198.51.100.1\ncom. NS ns.com.\nns.com. A 198.51.100.2")
        .zone("com.", "198.51.100.2", "com. NS ns.com.\nns.com. A 198.51.100.2")
}

/// The same, signed; the root's key is the trust anchor.
pub(crate) fn signed_internet() -> Internet {
    internet().signed(".", "").signed("com.", "")
}

impl Internet {
    /// A zone, the addresses that serve it (with blanks between), its records, one a line.
    pub(crate) fn zone(mut self, name: &str, servers: &str, records: &str) -> Internet {
        let servers = servers.split_whitespace().map(|addr| addr.parse().expect("an address")).collect();
        self.zones.push(Zone { name: self::name(name), servers, sets: Vec::new(), signer: None, phase: 0 });
        self.more(name, records)
    }

    /// These records go into the closest zone above that is there already, and in all its phases.
    pub(crate) fn delegate(mut self, child: &str, cut: &str) -> Internet {
        let below = self::name(child);
        let above = |zone: &Zone| zone.name != below && below.as_ref().is_subdomain_of(zone.name.as_ref());
        let closest = self.zones.iter().filter(|zone| above(zone)).map(|zone| zone.name.clone());
        let Some(parent) = closest.max_by_key(|name| name.as_ref().label_count()) else { return self };
        for at in 0..self.zones.len() {
            if self.zones[at].name == parent {
                self.zones[at].add(cut);
            }
        }
        self
    }

    /// The zone added last looks like that from this phase on.
    pub(crate) fn since(mut self, phase: u32) -> Internet {
        self.zones.last_mut().expect("a zone").phase = phase;
        self
    }

    /// More records for a zone.
    pub(crate) fn more(mut self, name: &str, records: &str) -> Internet {
        self.at_zone(name).add(records);
        self
    }

    /// Signs the zone; see [`crate::signer::Signing`] for the words. Its DS set goes into the zone above, if that is signed.
    pub(crate) fn signed(mut self, name: &str, words: &str) -> Internet {
        let zone = self.at_zone(name);
        zone.signer = Some(Signer::new(&zone.name, words));
        self
    }

    /// Something is wrong with the signatures of `owner TYPE` (`owner ANY`: of all sets there); see [`crate::signer::Flaw`] for the words.
    pub(crate) fn flaw(mut self, zone: &str, set: &str, words: &str) -> Internet {
        let (owner, qtype) = question_of(set);
        let signer = self.at_zone(zone).signer.as_mut().expect("a signed zone");
        signer.flaw(&owner, qtype, Flaw::parse(words));
        self
    }

    /// To `name TYPE` the server at this address says what stands in these lines, each one of:
    ///
    /// - `rcode NXDOMAIN`, `aa no`
    /// - `answer`, `authority` or `additional`, and then `a.example. A`: that set with its signatures, out of whatever zone has
    ///   it; with `as b.example.` behind it, for that owner; `a.example. 60 A 192.0.2.1`: a record without signature;
    ///   `at a.example.` or `over a.example.`: the NSEC or NSEC3 set at or around that name; with `of example.` behind it, of
    ///   that zone instead of the closest
    pub(crate) fn lie(self, server: &str, question: &str, words: &str) -> Internet {
        self.orders.borrow_mut().lie(server, question, words);
        self
    }

    /// The server at this address leaves all that is DNSSEC's out of what it says.
    pub(crate) fn strips(self, addr: &str) -> Internet {
        self.orders.borrow_mut().strippers.push(addr.parse().expect("an address"));
        self
    }

    /// What servers do that they should not, to be changed later.
    pub(crate) fn orders(&self) -> Rc<RefCell<Orders>> {
        Rc::clone(&self.orders)
    }

    /// The server at this address answers whatever the zones know, as a resolver that does not validate: for forward zones.
    pub(crate) fn forwarder(mut self, addr: &str) -> Internet {
        self.forwarders.push(addr.parse().expect("an address"));
        self
    }

    /// Changes what validation goes by. Without a signed root or a zone with the word `anchor` there is none.
    pub(crate) fn trust(mut self, change: impl FnOnce(&mut Trust) + 'static) -> Internet {
        self.trust.push(Box::new(change));
        self
    }

    fn at_zone(&mut self, name: &str) -> &mut Zone {
        let at = self::name(name);
        self.zones.iter_mut().rfind(|zone| zone.name == at).expect("a zone of that name")
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

    /// Everything is forwarded to these servers, 192.0.2.`n`.
    pub(crate) fn forwarding(self, servers: &[u8]) -> FakeNet {
        let table = |table: &mut ForwardsBuilder| {
            table.zone(zone(".", servers));
        };
        self.build(Limits::default(), |_| {}, table)
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
        if let Some(trust) = self.seal() {
            builder.trust(trust);
        }
        table(&mut builder);
        FakeNet::with(limits, builder.build(), move |asked| self.answer(asked))
    }

    /// What the server at this address says to a question, when it behaves.
    pub(crate) fn say(&self, server: &str, qname: &str, qtype: Rtype) -> Answer {
        let zone = self.enclosing(name(qname).as_ref(), qtype, Some(server.parse().expect("an address")));
        zone.expect("a zone").answer(name(qname).as_ref(), qtype)
    }

    /// Signs what is to be signed; what is trusted then.
    pub(crate) fn seal(&mut self) -> Option<Trust> {
        let mut anchors = Anchors::new();
        let delegations: Vec<Vec<Rrset>> = self.zones.iter().map(|zone| self.ds_sets(zone)).collect();
        for (zone, ds) in self.zones.iter_mut().zip(delegations) {
            let Some(signer) = &mut zone.signer else { continue };
            if zone.phase == 0 && (zone.name.as_ref().is_root() || signer.signing.anchor) {
                anchors.add(zone.name.as_ref(), Rtype::DNSKEY, &signer.anchor());
            }
            if !zone.sets.iter().any(|set| set.rtype == Rtype::SOA) {
                zone.sets.push(soa(&zone.name.to_string(), 900, 300));
            }
            zone.sets.extend(ds);
            signer.seal(&mut zone.sets);
        }
        let mut trust = (anchors.iter().count() > 0).then(|| Trust::new(&anchors, Default::default()));
        for change in self.trust.drain(..) {
            change(trust.as_mut().expect("an anchor: sign the root or say `anchor`"));
        }
        trust
    }

    /// The DS sets of the zones below this one that are there while it is.
    fn ds_sets(&self, parent: &Zone) -> Vec<Rrset> {
        let apex = parent.name.as_ref();
        let until = self.zones.iter().filter(|zone| zone.name == parent.name && zone.phase > parent.phase);
        let until = until.map(|zone| zone.phase).min().unwrap_or(u32::MAX);
        let below = |zone: &&Zone| zone.name != parent.name && zone.name.as_ref().is_subdomain_of(apex);
        let between = |child: &Zone| {
            let cut = |zone: &Zone| {
                let at = zone.name.as_ref();
                zone.name != child.name
                    && child.name.as_ref().is_subdomain_of(at)
                    && at.label_count() > apex.label_count()
            };
            self.zones.iter().any(|zone| cut(zone) && zone.name.as_ref().is_subdomain_of(apex) && zone.signer.is_some())
        };
        let mut sets: Vec<Rrset> = Vec::new();
        for child in self.zones.iter().filter(below) {
            let newer = |zone: &Zone| zone.name == child.name && zone.phase > child.phase && zone.phase <= parent.phase;
            let there = child.phase < until && !self.zones.iter().any(newer);
            let ds = child.signer.as_ref().filter(|_| there && !between(child)).and_then(Signer::ds);
            let Some(ds) = ds else { continue };
            match sets.iter_mut().find(|set| set.owner == ds.owner) {
                Some(set) => {
                    for rdata in ds
                        .rdata
                        .iter()
                        .filter(|rdata| !set.rdata.contains(rdata))
                        .map(<[u8]>::to_vec)
                        .collect::<Vec<_>>()
                    {
                        set.make_mut().rdata.push(&rdata);
                    }
                }
                None => sets.push(ds),
            }
        }
        sets
    }

    /// What comes back for a packet.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Vec<(Millis, Fate)> {
        let ip = asked.server.ip();
        let (name, qtype) = (asked.query.qname.as_ref(), asked.query.qtype);
        let recurses = self.recursors.contains(&ip) || self.forwarders.contains(&ip);
        let orders = Rc::clone(&self.orders);
        let orders = orders.borrow();
        if orders.silent.contains(&ip) {
            return vec![];
        }
        if let Some(code) = orders.broken.get(&ip) {
            return soon(asked.reply(*code, vec![], vec![]));
        }
        let lie = orders.lies.get(&(ip, asked.query.qname.to_name().lower(), qtype));
        if lie.is_none()
            && let Some(said) = self.manners.get_mut(&ip).and_then(|manner| manner(asked))
        {
            return said.into_iter().map(|(after, fate)| (after, authority(fate, recurses))).collect();
        }
        let said = match lie {
            Some(words) => self.tell(words),
            None if self.forwarders.contains(&ip) => self.recurse(name, qtype),
            None if self.zones.iter().any(|zone| zone.servers.contains(&ip)) => {
                match self.enclosing(name, qtype, Some(ip)) {
                    Some(zone) => zone.answer(name, qtype),
                    None => Answer::new(Rcode::REFUSED),
                }
            }
            None => return vec![],
        };
        let said = if orders.strippers.contains(&ip) { stripped(said) } else { said };
        soon(asked.render(&said)).into_iter().map(|(after, fate)| (after, authority(fate, recurses))).collect()
    }

    /// The zone that knows of a name, of those that are served here (or anywhere).
    fn enclosing(&self, name: NameRef<'_>, qtype: Rtype, server: Option<IpAddr>) -> Option<&Zone> {
        let served = self.zones.iter().filter(|zone| server.is_none_or(|ip| zone.servers.contains(&ip)));
        let phase = self.orders.borrow().phase;
        let enclosing = served.filter(|zone| {
            let apex = zone.name.as_ref();
            zone.phase <= phase && name.is_subdomain_of(apex) && (qtype != Rtype::DS || name != apex || apex.is_root())
        });
        enclosing.max_by_key(|zone| (zone.name.as_ref().label_count(), zone.phase))
    }

    /// What a resolver makes of it: links are followed.
    pub(crate) fn recurse(&self, name: NameRef<'_>, qtype: Rtype) -> Answer {
        let mut at = name.to_name();
        let mut links: Vec<Rrset> = Vec::new();
        let mut proofs: Vec<Rrset> = Vec::new();
        for _ in 0..9 {
            let Some(zone) = self.enclosing(at.as_ref(), qtype, None) else { break };
            let mut said = zone.answer(at.as_ref(), qtype);
            if said.answer.is_empty() && said.authority.iter().any(|set| set.rtype == Rtype::NS) {
                break;
            }
            let link = said.answer.iter().find(|set| matches!(set.rtype, Rtype::CNAME | Rtype::DNAME));
            let next = link.filter(|set| set.rtype != qtype).and_then(|set| target(set, at.as_ref()));
            said.answer.splice(..0, links.drain(..));
            let Some(next) = next else {
                said.authority.append(&mut proofs);
                return said;
            };
            links = said.answer;
            proofs.append(&mut said.authority);
            at = next;
        }
        Answer::new(Rcode::SERVFAIL)
    }

    /// The set at this owner and of this type, with its signatures, out of whatever zone has it.
    fn find(&self, owner: NameRef<'_>, qtype: Rtype) -> Rrset {
        let mut zones: Vec<&Zone> = self.zones.iter().collect();
        // A set that two zones have is the child's, and DS the parent's.
        zones.sort_by_key(|zone| zone.name.as_ref().label_count());
        let found = zones.iter().rev().find_map(|zone| zone.set(owner, qtype).cloned());
        found.unwrap_or_else(|| panic!("lie: no zone has {owner} {qtype}"))
    }

    /// What the words of a lie say.
    fn tell(&self, words: &str) -> Answer {
        let mut said = Answer { aa: true, ..Answer::default() };
        for line in words.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            let section = match what {
                "rcode" => {
                    said.rcode = rest.trim().parse().unwrap_or_else(|_| panic!("lie: no such code: {rest}"));
                    continue;
                }
                "aa" => {
                    said.aa = rest.trim() != "no";
                    continue;
                }
                "answer" => &mut said.answer,
                "authority" => &mut said.authority,
                "additional" => &mut said.additional,
                _ => panic!("lie: no such word: {line}"),
            };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let set = match fields.as_slice() {
                ["at", at] => self.denier(at, at).at(name(at).as_ref()),
                ["over", at] => self.denier(at, at).over(name(at).as_ref()),
                ["at", at, "of", zone] => self.denier(at, zone).at(name(at).as_ref()),
                ["over", at, "of", zone] => self.denier(at, zone).over(name(at).as_ref()),
                [owner, of] => Some(self.find(name(owner).as_ref(), rtype(of))),
                [owner, of, "as", other] => {
                    let mut set = self.find(name(owner).as_ref(), rtype(of));
                    set.make_mut().owner = name(other);
                    Some(set)
                }
                _ => {
                    let record = wire::parse_record(rest, 3600).unwrap_or_else(|error| panic!("{rest}: {error}"));
                    let ttl = record.ttl.unwrap_or(3600);
                    Some(Rrset::new(record.owner, record.rtype, Class::IN, ttl, RdataSet::one(&record.rdata)))
                }
            };
            section.push(set.unwrap_or_else(|| panic!("lie: nothing there: {line}")));
        }
        said
    }

    /// The signer of the closest signed zone at or above `zone`.
    fn denier(&self, at: &str, zone: &str) -> &Signer {
        let below = name(zone);
        let signers = self.zones.iter().filter_map(|zone| Some((zone.name.as_ref(), zone.signer.as_ref()?)));
        let closest = signers.filter(|(zone, _)| below.as_ref().is_subdomain_of(*zone));
        closest.max_by_key(|(zone, _)| zone.label_count()).unwrap_or_else(|| panic!("lie: nobody denies {at}")).1
    }
}

impl Orders {
    /// See [`Internet::lie`].
    pub(crate) fn lie(&mut self, server: &str, question: &str, words: &str) {
        let (name, qtype) = question_of(question);
        self.lies.insert((server.parse().expect("an address"), name, qtype), words.to_owned());
    }
}

/// `name TYPE`.
pub(crate) fn question_of(text: &str) -> (Name, Rtype) {
    let (owner, of) = text.trim().split_once(' ').unwrap_or_else(|| panic!("{text}: a name and a type"));
    (name(owner).lower(), rtype(of.trim()))
}

/// Where a CNAME or DNAME leads from here.
fn target(link: &Rrset, from: NameRef<'_>) -> Option<Name> {
    let to = Name::from_wire(link.rdata.first()?).ok()?;
    if link.rtype == Rtype::CNAME {
        return Some(to);
    }
    Some(from.to_buf().rewrite(link.owner.as_ref(), to.as_ref())?.ok()?.to_name())
}

/// The same without DNSSEC.
fn stripped(mut said: Answer) -> Answer {
    for section in [&mut said.answer, &mut said.authority, &mut said.additional] {
        section
            .retain(|set| !matches!(set.rtype, Rtype::DS | Rtype::NSEC | Rtype::NSEC3 | Rtype::DNSKEY | Rtype::RRSIG));
        section.iter_mut().for_each(|set| *set = set.clone().with_sigs(RdataSet::new()));
    }
    said
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
    fn add(&mut self, records: &str) {
        for line in records.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let record = wire::parse_record(line, 3600).unwrap_or_else(|error| panic!("{line}: {error}"));
            let known = self.sets.iter_mut().find(|set| set.owner == record.owner && set.rtype == record.rtype);
            match known {
                Some(set) if set.rdata.contains(&record.rdata) => {}
                Some(set) => assert!(set.make_mut().rdata.push(&record.rdata), "room in the set"),
                None => {
                    let (ttl, rdata) = (record.ttl.unwrap_or(3600), RdataSet::one(&record.rdata));
                    self.sets.push(Rrset::new(record.owner, record.rtype, Class::IN, ttl, rdata));
                }
            }
        }
    }

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
            let ds = match (self.set(cut, Rtype::DS), &self.signer) {
                (Some(ds), _) => vec![ds.clone()],
                (None, Some(signer)) => signer.no_data(cut, &[Rtype::NS]),
                (None, None) => vec![],
            };
            return Answer {
                authority: std::iter::once(ns.clone()).chain(ds).collect(),
                additional: self.sets.iter().filter(glue).cloned().collect(),
                ..Answer::default()
            };
        }
        let above = |set: &&Rrset| {
            set.rtype == Rtype::DNAME && set.owner.as_ref() != name && name.is_subdomain_of(set.owner.as_ref())
        };
        let at = |owner: NameRef<'_>| self.set(owner, qtype).or_else(|| self.set(owner, Rtype::CNAME));
        let mut found = at(name).or_else(|| self.sets.iter().find(above)).cloned();
        let exists = |name: NameRef<'_>| self.sets.iter().any(|set| set.owner.as_ref().is_subdomain_of(name));
        let mut there = found.is_some() || exists(name);
        let mut proofs = Vec::new();
        if !there {
            let encloser = name.ancestors().find(|above| exists(*above)).unwrap_or(apex);
            let asterisk = wildcard(encloser);
            there = exists(asterisk.as_ref());
            found = at(asterisk.as_ref()).cloned();
            if let (Some(set), Some(signer)) = (&mut found, &self.signer) {
                set.make_mut().owner = name.to_name();
                if signer.is_compact() {
                    *set = signer.sign(set.clone().with_sigs(RdataSet::new()));
                }
                proofs = signer.expanded(name, encloser);
            } else if let Some(set) = &mut found {
                set.make_mut().owner = name.to_name();
            } else if let Some(signer) = &self.signer {
                proofs = match there {
                    true => signer.wildcard_no_data(name, encloser, &self.types(asterisk.as_ref())),
                    false => signer.name_error(name, encloser),
                };
                there |= signer.is_compact();
            }
        } else if found.is_none() {
            proofs = self.signer.iter().flat_map(|signer| signer.no_data(name, &self.types(name))).collect();
        }
        let names = |set: &Rrset| set.rdata.iter().filter_map(|rdata| Name::from_wire(rdata).ok()).collect::<Vec<_>>();
        let named = found.as_ref().filter(|set| set.rtype == Rtype::NS).map(names).unwrap_or_default();
        let beside = |set: &&Rrset| matches!(set.rtype, Rtype::A | Rtype::AAAA) && named.contains(&set.owner);
        if found.is_none() {
            let own = self.set(apex, Rtype::SOA).cloned();
            proofs.insert(0, own.unwrap_or_else(|| soa(&self.name.to_string(), 900, 300)));
        }
        Answer {
            additional: self.sets.iter().filter(beside).cloned().collect(),
            aa: true,
            rcode: if there { Rcode::NOERROR } else { Rcode::NXDOMAIN },
            answer: found.into_iter().collect(),
            authority: proofs,
            ..Answer::default()
        }
    }

    /// The types at a name.
    fn types(&self, at: NameRef<'_>) -> Vec<Rtype> {
        self.sets.iter().filter(|set| set.owner.as_ref() == at).map(|set| set.rtype).collect()
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
