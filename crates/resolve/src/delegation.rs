//! A delegation: a zone, the names of its servers, and what is known of their addresses.
//!
//! It owns the rules of which name servers and which addresses may be used, as pure functions over a reply or over what the
//! store knows. It never sends; who looks up an address that is missing is `mesh::descend`.
//!
//! ```text
//!   NS records ──▶ names (at most `iter-scrub-ns`) ──▶ address known: asked
//!                                               ├─▶ unknown, and can be looked up: a question of its own
//!                                               └─▶ inside the zone itself, and no server known: out of reach
//! ```
//!
//! A delegation all of whose names are out of reach is **useless**: whoever finds it goes on a zone higher, where the
//! addresses can be had again.

use std::net::{IpAddr, SocketAddr};

use store::Millis;
use wire::{Class, Name, NameRef, Rcode, Rrset, Rtype};

use crate::forward::Forwards;
use crate::limits::{MAX_DP_ADDRS, MAX_SIGNED_DP_NAMES};
use crate::memory::Memory;
use crate::recursion::{DNS_PORT, Recursion, StubZone, address};

/// Where a delegation was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the store: the child's own word where it has spoken, else the parent's.
    Store,
    /// From the parent, just now.
    Parent,
    /// The operator's word.
    Stub,
}

/// What is known of the addresses of one name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing yet.
    Unknown,
    /// A question for it is under way.
    Asked,
    /// They are among the addresses.
    Known,
    /// There are none to be had.
    Failed,
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: Name,
    v4: Need,
    v6: Need,
    /// Addresses came as glue, not from the name's own zone.
    glue: bool,
    /// It was looked up because the glue led nowhere.
    doubted: bool,
    /// What the parent of its zone has as glue was asked for.
    above: bool,
}

/// A zone and whom to ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) zone: Name,
    pub(crate) source: Source,
    pub(crate) hosts: Vec<Host>,
    pub(crate) addrs: Vec<SocketAddr>,
    /// Addresses that the parent told of names outside the zone, used when nobody else has any (`harden-unverified-glue`).
    spare: Vec<Rrset>,
    pub(crate) tcp_only: bool,
    pub(crate) no_cache: bool,
    /// When its NS records end; `None`: never. What is delegated from here ends no later, or a zone that is gone could live on
    /// in the zones below it (ghost domains, CVE-2026-40622).
    pub(crate) expires: Option<Millis>,
}

impl Host {
    fn new(name: NameRef<'_>) -> Host {
        Host {
            name: name.lower().to_name(),
            v4: Need::Unknown,
            v6: Need::Unknown,
            glue: false,
            doubted: false,
            above: false,
        }
    }

    fn need(&mut self, rtype: Rtype) -> &mut Need {
        if rtype == Rtype::A { &mut self.v4 } else { &mut self.v6 }
    }

    fn has(&self, rtype: Rtype) -> Need {
        if rtype == Rtype::A { self.v4 } else { self.v6 }
    }
}

/// Whether an address can be that of a server at all (CVE-2026-50251: 0.0.0.0 and :: as glue reach the resolver itself).
fn makes_sense(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(v4) => !(v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

impl Delegation {
    pub(crate) fn new(zone: Name, source: Source) -> Delegation {
        let (hosts, addrs, spare) = (Vec::new(), Vec::new(), Vec::new());
        Delegation { zone, source, hosts, addrs, spare, tcp_only: false, no_cache: false, expires: None }
    }

    /// What the operator says of a zone.
    pub(crate) fn of_stub(stub: &StubZone, forwards: &Forwards, recursion: &Recursion) -> Delegation {
        let StubZone { tcp_only, no_cache, .. } = *stub;
        let mut own = Delegation { tcp_only, no_cache, ..Delegation::new(stub.name.clone(), Source::Stub) };
        for addr in &stub.servers {
            own.add(*addr, forwards, recursion);
        }
        // Names of root servers need the root to be looked up; those of a stub zone may be anywhere.
        if own.addrs.is_empty() || !own.zone.as_ref().is_root() {
            own.hosts = stub.hosts.iter().take(MAX_SIGNED_DP_NAMES).map(|name| Host::new(name.as_ref())).collect();
        }
        own
    }

    /// The delegation that an NS set and the addresses beside it make. `beside` has been scrubbed: its owners are ones the
    /// speaker may speak of. Addresses of names that are no name servers are none of its business.
    pub(crate) fn of_reply(
        ns: &Rrset,
        beside: &[Rrset],
        source: Source,
        forwards: &Forwards,
        recursion: &Recursion,
    ) -> Delegation {
        let mut own = Delegation::new(ns.owner.lower(), source);
        own.hosts = hosts(ns);
        for set in beside.iter().filter(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA)) {
            own.learn(set.owner.as_ref(), set.rtype, addresses(set), true, forwards, recursion);
        }
        own
    }

    /// What the store knows of this zone's servers and will still know at `soon`; `None` if it does not know its NS records.
    pub(crate) fn of_store(
        zone: NameRef<'_>,
        memory: &Memory,
        soon: Millis,
        forwards: &Forwards,
        recursion: &Recursion,
    ) -> Option<Delegation> {
        let ns = memory.set(zone, Rtype::NS, soon)?.set;
        let mut own = Delegation::new(zone.lower().to_name(), Source::Store);
        own.hosts = hosts(&ns);
        own.expires = Some(soon + u64::from(ns.ttl) * 1000);
        own.fill(memory, soon, forwards, recursion);
        Some(own)
    }

    /// Seconds it has left, a part of one counted whole.
    pub(crate) fn left(&self, now: Millis) -> u32 {
        let left = |expires: Millis| u32::try_from(expires.saturating_sub(now).div_ceil(1000)).unwrap_or(u32::MAX);
        self.expires.map_or(u32::MAX, left)
    }

    /// Looks up in the store which addresses of its names are known, but for those it has already.
    pub(crate) fn fill(&mut self, memory: &Memory, now: Millis, forwards: &Forwards, recursion: &Recursion) {
        for nth in 0..self.hosts.len() {
            for rtype in recursion.families() {
                let open = self.hosts.get(nth).filter(|host| host.has(rtype) != Need::Known);
                if let Some(known) = open.and_then(|host| memory.set(host.name.as_ref(), rtype, now)) {
                    let glue = !known.trust.answers();
                    self.learn_nth(nth, rtype, addresses(&known.set), glue, forwards, recursion);
                }
            }
        }
    }

    /// Addresses of one of its names are known; they may be none that can be used.
    pub(crate) fn learn(
        &mut self,
        name: NameRef<'_>,
        rtype: Rtype,
        addrs: impl Iterator<Item = IpAddr>,
        glue: bool,
        forwards: &Forwards,
        recursion: &Recursion,
    ) {
        if let Some(nth) = self.hosts.iter().position(|host| host.name.as_ref() == name) {
            self.learn_nth(nth, rtype, addrs, glue, forwards, recursion);
        }
    }

    fn learn_nth(
        &mut self,
        nth: usize,
        rtype: Rtype,
        addrs: impl Iterator<Item = IpAddr>,
        glue: bool,
        forwards: &Forwards,
        recursion: &Recursion,
    ) {
        let mut any = false;
        for addr in addrs {
            any |= self.add(SocketAddr::new(addr, DNS_PORT), forwards, recursion);
        }
        if let Some(host) = self.hosts.get_mut(nth) {
            host.glue |= glue && any;
            *host.need(rtype) = if any { Need::Known } else { Need::Failed };
        }
    }

    /// Keeps glue back until it is needed.
    pub(crate) fn keep_spare(&mut self, glue: Vec<Rrset>) {
        self.spare = glue;
    }

    /// Uses the glue that was kept back. False if there is none.
    pub(crate) fn use_spare(&mut self, forwards: &Forwards, recursion: &Recursion) -> bool {
        let before = self.addrs.len();
        for set in std::mem::take(&mut self.spare) {
            self.learn(set.owner.as_ref(), set.rtype, addresses(&set), false, forwards, recursion);
        }
        self.addrs.len() > before
    }

    /// Adds an address, unless it makes no sense or may not be asked. True if it is among them now.
    fn add(&mut self, addr: SocketAddr, forwards: &Forwards, recursion: &Recursion) -> bool {
        let ip = addr.ip();
        if !makes_sense(ip) || !forwards.may_ask(ip) || !recursion.speaks(ip) {
            return false;
        }
        if !self.addrs.contains(&addr) {
            if self.addrs.len() >= MAX_DP_ADDRS {
                return false;
            }
            self.addrs.push(addr);
        }
        true
    }

    /// Notes how it stands with the address of a name.
    pub(crate) fn note(&mut self, name: NameRef<'_>, rtype: Rtype, need: Need) {
        if let Some(host) = self.hosts.iter_mut().find(|host| host.name.as_ref() == name) {
            *host.need(rtype) = need;
        }
    }

    /// The addresses that could still be looked up, name by name. A name inside the zone can be asked of the zone's own
    /// servers, if one of those is known (RFC 9471 2.1: such names need glue), or of the parent, if it forgot the glue just
    /// now.
    pub(crate) fn missing<'a>(&'a self, recursion: &'a Recursion) -> impl Iterator<Item = (&'a Name, Rtype)> {
        let known = !self.addrs.is_empty() || self.source == Source::Parent;
        let reachable = move |host: &&Host| known || !host.name.as_ref().is_subdomain_of(self.zone.as_ref());
        self.hosts.iter().filter(reachable).flat_map(|host| {
            recursion.families().filter(|rtype| host.has(*rtype) == Need::Unknown).map(move |rtype| (&host.name, rtype))
        })
    }

    /// The names and types whose addresses are known as glue alone, not from the names' own zones.
    pub(crate) fn unproven(&self, recursion: &Recursion) -> Vec<(Name, Rtype)> {
        let glue = self.hosts.iter().filter(|host| host.glue);
        let types = |host: &Host| {
            let known = recursion.families().filter(|rtype| host.has(*rtype) == Need::Known);
            known.map(|rtype| (host.name.clone(), rtype)).collect::<Vec<_>>()
        };
        glue.flat_map(types).collect()
    }

    /// Nobody can be asked, and nobody can be found.
    pub(crate) fn is_useless(&self, recursion: &Recursion) -> bool {
        self.addrs.is_empty() && self.missing(recursion).next().is_none()
    }

    /// The name servers whose addresses were looked up and led nowhere, and may differ in the glue that the parent of their own
    /// zone has. Each is named once.
    pub(crate) fn seek_above(&mut self) -> Vec<Name> {
        let zone = self.zone.as_ref();
        let found = |host: &Host| [host.v4, host.v6].contains(&Need::Known);
        let open = |host: &&mut Host| !host.above && found(host) && !host.name.as_ref().is_subdomain_of(zone);
        let seek = |host: &mut Host| {
            host.above = true;
            host.name.clone()
        };
        self.hosts.iter_mut().filter(open).map(seek).collect()
    }

    /// Whether all that was to be found out about this name is known, and no address is among it.
    pub(crate) fn is_without_address(&self, name: NameRef<'_>, recursion: &Recursion) -> bool {
        let host = self.hosts.iter().find(|host| host.name.as_ref() == name);
        host.is_some_and(|host| recursion.families().all(|rtype| host.has(rtype) == Need::Failed))
    }

    /// The servers whose glue led nowhere are to be looked up in their own zone: the glue may be out of date. False if there
    /// is none.
    pub(crate) fn doubt_glue(&mut self) -> bool {
        let mut any = false;
        let zone = self.zone.as_ref();
        // Those inside the zone could only be asked for where nobody answers.
        let out = |host: &&mut Host| host.glue && !host.doubted && !host.name.as_ref().is_subdomain_of(zone);
        for host in self.hosts.iter_mut().filter(out) {
            (host.glue, host.doubted) = (false, true);
            for need in [&mut host.v4, &mut host.v6] {
                if *need == Need::Known {
                    (*need, any) = (Need::Unknown, true);
                }
            }
        }
        any
    }
}

/// The names of an NS set, those that say something: the root is nobody's server.
fn hosts(ns: &Rrset) -> Vec<Host> {
    let names = ns.rdata.iter().filter_map(|rdata| NameRef::from_wire(rdata).ok());
    names.filter(|name| !name.is_root()).take(MAX_SIGNED_DP_NAMES).map(Host::new).collect()
}

/// The addresses of a set.
pub(crate) fn addresses(set: &Rrset) -> impl Iterator<Item = IpAddr> {
    set.rdata.iter().filter_map(address)
}

/// What a reply of an authoritative server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// An answer, or a link: `scrub` says what of it counts.
    Answer,
    /// The NS set at this place in the authority section tells who knows more.
    Referral(usize),
    /// The same for one in the answer section.
    ReferralInAnswer(usize),
    /// The server does not serve this zone: it sends us up.
    Lame,
    /// It sends us back to the zone it is asked as a server of: it has nothing to say to this question.
    Nothing,
    /// It asks others and serves nothing itself (RA without AA).
    RecursionLame,
}

/// What a reply to `name qtype` says, asked as one of the servers of `zone`. `recursing` tells that it was asked to recurse:
/// then it need not be authoritative.
///
/// The rules are those by which Unbound reads replies. AA alone decides little: some servers forget it.
pub(crate) fn word(
    rcode: Rcode,
    flags: (bool, bool),
    sections: (&[Rrset], &[Rrset]),
    name: NameRef<'_>,
    qtype: Rtype,
    zone: NameRef<'_>,
    recursing: bool,
) -> Word {
    let ((aa, ra), (answer, authority)) = (flags, sections);
    // We do our own recursion.
    let borrowed = ra && !aa && !recursing;
    if rcode != Rcode::NOERROR {
        return if borrowed && rcode == Rcode::NXDOMAIN { Word::RecursionLame } else { Word::Answer };
    }
    let is_ours = |set: &Rrset| set.class == Class::IN && !set.rdata.is_empty();
    let own = |set: &Rrset| set.owner.as_ref() == name && is_ours(set);
    // Name servers of a zone below that were asked for: without authority they are the parent's.
    let below = |set: &Rrset| {
        let owner = set.owner.as_ref();
        set.rtype == Rtype::NS
            && is_ours(set)
            && owner != zone
            && owner.is_subdomain_of(zone)
            && name.is_subdomain_of(owner)
    };
    if matches!(qtype, Rtype::NS | Rtype::ANY)
        && !aa
        && let Some(nth) = answer.iter().position(below)
    {
        return Word::ReferralInAnswer(nth);
    }
    let hit = answer.iter().any(|set| own(set) && set.rtype == qtype);
    let leads = answer.iter().any(|set| {
        own(set) && set.rtype == Rtype::CNAME
            || set.rtype == Rtype::DNAME && !own(set) && name.is_subdomain_of(set.owner.as_ref())
    });
    if hit && aa || !answer.is_empty() && qtype == Rtype::ANY || leads && !hit {
        return Word::Answer;
    }
    if authority.iter().any(|set| set.rtype == Rtype::SOA && name.is_subdomain_of(set.owner.as_ref())) {
        return if borrowed { Word::RecursionLame } else { Word::Answer };
    }
    for (nth, ns) in authority.iter().enumerate().filter(|(_, set)| set.rtype == Rtype::NS && is_ours(set)) {
        let owner = ns.owner.as_ref();
        if owner == zone {
            return match (borrowed, answer.is_empty() && !aa && !recursing) {
                (true, _) => Word::RecursionLame,
                (_, true) => Word::Nothing,
                _ => Word::Answer,
            };
        }
        // Beside an answer, what lies above the zone is passed over.
        if zone.is_subdomain_of(owner) && !hit {
            return if recursing { Word::Nothing } else { Word::Lame };
        }
        // Below the zone, and on the way to the name. What lies beside it is none of our business (CVE-2026-42960).
        if owner.is_subdomain_of(zone) && name.is_subdomain_of(owner) && !hit {
            return Word::Referral(nth);
        }
    }
    if borrowed { Word::RecursionLame } else { Word::Answer }
}
