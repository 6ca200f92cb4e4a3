//! Where recursion begins and what the operator wants of it: root hints, stub zones, switches.
//!
//! It owns the table and the look-up, as `forward` does for forward zones, and is as immutable. It never sends and knows
//! nothing of what was learned since: that is in the store.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashMap;
use wire::{Name, NameRef, Rtype};

use crate::limits::TARGET_FETCH_POLICY;
use store::Borrowed;

/// The root servers as IANA names them, with their addresses of 2026 (`named.root`; b.root-servers.net as renumbered in
/// November 2023). Only where the search for them begins: what they say of themselves counts (RFC 9609).
const ROOT_HINTS: [(&str, [u8; 4], &str); 13] = [
    ("a.root-servers.net.", [198, 41, 0, 4], "2001:503:ba3e::2:30"),
    ("b.root-servers.net.", [170, 247, 170, 2], "2801:1b8:10::b"),
    ("c.root-servers.net.", [192, 33, 4, 12], "2001:500:2::c"),
    ("d.root-servers.net.", [199, 7, 91, 13], "2001:500:2d::d"),
    ("e.root-servers.net.", [192, 203, 230, 10], "2001:500:a8::e"),
    ("f.root-servers.net.", [192, 5, 5, 241], "2001:500:2f::f"),
    ("g.root-servers.net.", [192, 112, 36, 4], "2001:500:12::d0d"),
    ("h.root-servers.net.", [198, 97, 190, 53], "2001:500:1::53"),
    ("i.root-servers.net.", [192, 36, 148, 17], "2001:7fe::53"),
    ("j.root-servers.net.", [192, 58, 128, 30], "2001:503:c27::2:30"),
    ("k.root-servers.net.", [193, 0, 14, 129], "2001:7fd::1"),
    ("l.root-servers.net.", [199, 7, 83, 42], "2001:500:9f::42"),
    ("m.root-servers.net.", [202, 12, 27, 33], "2001:dc3::35"),
];

/// The port authoritative servers listen on.
pub(crate) const DNS_PORT: u16 = 53;

/// Whether names are shown to servers label by label (RFC 9156).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Minimise {
    /// Never (`qname-minimisation: no`).
    Off,
    /// Where a server cannot cope, the whole name is asked (`qname-minimisation: yes`, as is the default).
    #[default]
    Relaxed,
    /// What a server says of part of the name holds (`qname-minimisation-strict: yes`).
    Strict,
}

/// A `stub-zone`: where its servers are, whatever the delegation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubZone {
    /// The apex; `.` takes the place of the root hints.
    pub name: Name,
    /// Its servers (`stub-addr`).
    pub servers: Vec<SocketAddr>,
    /// Its servers by name (`stub-host`); their addresses are looked up.
    pub hosts: Vec<Name>,
    /// The servers are asked for the zone's own NS records, and those count from then on (`stub-prime`). The root is
    /// always primed.
    pub prime: bool,
    /// When its servers fail, the question goes on as if this zone were not there (`stub-first`).
    pub first: bool,
    /// Nothing learned here is remembered (`stub-no-cache`).
    pub no_cache: bool,
    /// Only over TCP (`stub-tcp-upstream`).
    pub tcp_only: bool,
}

impl StubZone {
    /// A stub zone without servers, all options at their defaults.
    pub fn new(name: Name) -> StubZone {
        let (servers, hosts) = (Vec::new(), Vec::new());
        StubZone { name, servers, hosts, prime: false, first: false, no_cache: false, tcp_only: false }
    }
}

/// One address family before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `prefer-ip4`
    V4,
    /// `prefer-ip6`
    V6,
}

/// All that recursion starts from. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recursion {
    stubs: HashMap<Name, Arc<StubZone>>,
    root: Arc<StubZone>,
    /// IPv4 servers are asked (`do-ip4`).
    pub ip4: bool,
    /// IPv6 servers are asked (`do-ip6`).
    pub ip6: bool,
    /// All servers are asked over TCP alone (`tcp-upstream`).
    pub tcp_only: bool,
    /// Which family is asked while it answers (`prefer-ip4`, `prefer-ip6`).
    pub prefer: Option<Family>,
    /// How many name servers' addresses are looked up before they are needed, for each depth of questions that other
    /// questions wait for (`target-fetch-policy`); -1: all.
    pub fetch_policy: Vec<i32>,
    /// Names are shown label by label (`qname-minimisation`).
    pub minimise: Minimise,
    /// Addresses beside a delegation are taken only for names inside the zone that delegates (`harden-glue`).
    pub harden_glue: bool,
    /// The NS records and addresses of each zone on the way are asked for at the zone itself (`harden-referral-path`). Nobody
    /// waits for them.
    pub harden_referral_path: bool,
}

impl Default for Recursion {
    /// Unbound's defaults, with the built-in root hints.
    fn default() -> Recursion {
        Recursion {
            stubs: HashMap::new(),
            root: Arc::new(built_in()),
            ip4: true,
            ip6: true,
            tcp_only: false,
            prefer: None,
            fetch_policy: TARGET_FETCH_POLICY.to_vec(),
            minimise: Minimise::Relaxed,
            harden_glue: true,
            harden_referral_path: false,
        }
    }
}

impl Recursion {
    /// Adds a stub zone. Of two with the same name the later counts; one for the root takes the place of the hints.
    pub fn stub(&mut self, stub: StubZone) -> &mut Recursion {
        if stub.name.as_ref().is_root() {
            self.root = Arc::new(StubZone { prime: true, ..stub });
        } else {
            self.stubs.insert(stub.name.clone(), Arc::new(stub));
        }
        self
    }

    /// Where to begin for `name`: the closest stub zone at or above it but for those in `passed`, at last the root.
    pub(crate) fn closest(&self, name: NameRef<'_>, passed: &[Name]) -> &Arc<StubZone> {
        let stub = name.ancestors().filter_map(|name| self.stubs.get(&Borrowed(name)));
        stub.into_iter().find(|stub| !passed.contains(&stub.name)).unwrap_or(&self.root)
    }

    /// Whether this zone is a stub that may be passed by (`stub-first`).
    pub(crate) fn is_first(&self, zone: &Name) -> bool {
        self.stubs.get(zone).is_some_and(|stub| stub.first)
    }

    /// Whether this address is of a family that is asked.
    pub(crate) fn speaks(&self, addr: IpAddr) -> bool {
        if addr.is_ipv4() { self.ip4 } else { self.ip6 }
    }

    /// The types of addresses worth asking for.
    pub(crate) fn families(&self) -> impl Iterator<Item = Rtype> {
        [(self.ip4, Rtype::A), (self.ip6, Rtype::AAAA)].into_iter().filter_map(|(on, rtype)| on.then_some(rtype))
    }

    /// How many name servers to look up in advance at this depth; `None`: all.
    pub(crate) fn fetches(&self, depth: u8) -> Option<usize> {
        usize::try_from(self.fetch_policy.get(usize::from(depth)).copied().unwrap_or(0)).ok()
    }

    /// How deep questions may wait for others.
    pub(crate) fn depth(&self) -> usize {
        self.fetch_policy.len()
    }
}

fn built_in() -> StubZone {
    let addrs = ROOT_HINTS.iter().flat_map(|(_, v4, v6)| [Some(IpAddr::from(*v4)), v6.parse().ok()]).flatten();
    StubZone {
        servers: addrs.map(|addr| SocketAddr::new(addr, DNS_PORT)).collect(),
        hosts: ROOT_HINTS.iter().filter_map(|(name, ..)| Name::from_text(name).ok()).collect(),
        prime: true,
        ..StubZone::new(Name::root())
    }
}

/// The root zone as the content of a `root-hints` file describes it: NS records of the root and the addresses of their
/// names, one record a line as IANA publishes them. `None` if there is no address in it; an error names the line.
pub fn root_hints(text: &str) -> Result<Option<StubZone>, String> {
    let mut root = StubZone { prime: true, ..StubZone::new(Name::root()) };
    let mut addrs: Vec<(Name, IpAddr)> = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let line = line.split(';').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('$') {
            continue;
        }
        let record = wire::text::parse_record(line, 3_600_000).map_err(|error| format!("line {}: {error}", nth + 1))?;
        match record.rtype {
            Rtype::NS if record.owner.as_ref().is_root() => {
                let name = NameRef::from_wire(&record.rdata).map_err(|_| format!("line {}: no name", nth + 1))?;
                root.hosts.push(name.lower().to_name());
            }
            Rtype::A | Rtype::AAAA => {
                addrs.extend(address(&record.rdata).map(|addr| (record.owner.lower(), addr)));
            }
            _ => {}
        }
    }
    addrs.retain(|(name, _)| root.hosts.contains(name));
    root.servers = addrs.into_iter().map(|(_, addr)| SocketAddr::new(addr, DNS_PORT)).collect();
    Ok((!root.servers.is_empty()).then_some(root))
}

/// The address in the data of an A or AAAA record.
pub(crate) fn address(rdata: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9609_2_the_hints_are_thirteen_names_with_two_addresses_each() {
        let recursion = Recursion::default();
        assert_eq!((recursion.root.hosts.len(), recursion.root.servers.len()), (13, 26));
    }

    #[test]
    fn root_hints_reads_what_iana_publishes() {
        let text = "; comment\n.  3600000      NS    A.ROOT-SERVERS.NET.\n\
                    A.ROOT-SERVERS.NET.      3600000      A     198.41.0.4\n\
                    A.ROOT-SERVERS.NET.      3600000      AAAA  2001:503:ba3e::2:30\n\
                    other.example. 3600000 A 192.0.2.1\n";
        let root = root_hints(text).expect("hints").expect("addresses");
        assert_eq!((root.hosts.len(), root.servers.len(), root.prime), (1, 2, true));
        assert!(root_hints(". 1 NS").is_err() && root_hints("; nothing").is_ok_and(|root| root.is_none()));
    }

    #[test]
    fn the_closest_stub_is_where_it_begins_and_the_root_at_last() {
        let name = |text: &str| Name::from_text(text).expect("a name");
        let mut recursion = Recursion::default();
        for at in ["example.", "sub.example."] {
            recursion.stub(StubZone::new(name(at)));
        }
        let closest = |at: &str, passed: &[Name]| recursion.closest(name(at).as_ref(), passed).name.to_string();
        assert_eq!(closest("a.SUB.example.", &[]), "sub.example.");
        assert_eq!(closest("a.sub.example.", &[name("sub.example.")]), "example.");
        assert_eq!(closest("other.", &[]), ".");
    }
}
