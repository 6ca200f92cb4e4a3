//! Forward zones: which servers are asked about which names.
//!
//! It owns the table and the look-up. It never sends, and does not know whether a server answers (that is `select`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use store::Borrowed;
use wire::{Name, NameRef, Rtype};

use crate::recursion::Recursion;
use crate::trust::Trust;

/// A server questions are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Its address and port.
    pub addr: SocketAddr,
    /// The name its certificate must have, when it is asked over TLS (`forward-addr: …#name`).
    pub tls_name: Option<Box<str>>,
}

/// A `forward-zone`: names at and below `name` are asked of `servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardZone {
    /// The apex; `.` forwards everything.
    pub name: Name,
    /// Whom to ask; the order has no meaning.
    pub servers: Vec<Server>,
    /// Only over TCP (`forward-tcp-upstream`, or `tcp-upstream` in the server clause).
    pub tcp_only: bool,
    /// Nothing that is learned from these servers is remembered, and nothing remembered answers for them
    /// (`forward-no-cache`).
    pub no_cache: bool,
    /// When all servers fail, the question goes on as if this zone were not there (`forward-first`): to the zone above.
    pub first: bool,
}

/// All forward zones of a snapshot, where recursion begins for names outside them, and where validation begins. Immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwards {
    zones: HashMap<Name, Arc<ForwardZone>>,
    recursion: Option<Arc<Recursion>>,
    do_not_query: Vec<IpNet>,
    caps_exempt: HashSet<Name>,
    private: Arc<PrivateAddresses>,
    fallback: Option<Arc<ForwardZone>>,
    trust: Option<Arc<Trust>>,
}

/// Collects forward zones and what must not be asked.
#[derive(Debug, Default)]
pub struct ForwardsBuilder {
    zones: HashMap<Name, ForwardZone>,
    recursion: Option<Recursion>,
    do_not_query: Vec<IpNet>,
    caps_exempt: HashSet<Name>,
    private: PrivateAddresses,
    fallback: Option<ForwardZone>,
    trust: Option<Arc<Trust>>,
}

/// The addresses that names of the public DNS must not have (`private-address`), and the names that may have them
/// (`private-domain`): a page from outside must not make a browser speak to a machine inside (DNS rebinding).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PrivateAddresses {
    networks: Vec<IpNet>,
    domains: HashSet<Name>,
}

impl PrivateAddresses {
    /// Whether no address is private, and there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether this address is private. An IPv4 address in its IPv6 dress is looked up in both: a rule for the IPv4
    /// network holds for it too.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let plain = addr.to_canonical();
        self.networks.iter().any(|net| net.contains(&addr) || net.contains(&plain))
    }

    /// Whether this name may have a private address.
    pub fn permits(&self, name: NameRef<'_>) -> bool {
        !self.domains.is_empty() && name.ancestors().any(|name| self.domains.contains(&Borrowed(name)))
    }
}

impl Forwards {
    /// Starts an empty table.
    pub fn builder() -> ForwardsBuilder {
        ForwardsBuilder::default()
    }

    /// The zone whose servers know about `name`: the closest one at or above it. A DS record stands in the parent of the
    /// zone that bears its name (RFC 4035 2.4), so that question goes to whoever serves the parent.
    pub fn find(&self, name: NameRef<'_>, qtype: Rtype) -> Option<&Arc<ForwardZone>> {
        let from = if qtype == Rtype::DS { name.parent().unwrap_or(name) } else { name };
        from.ancestors().find_map(|name| self.zones.get(&Borrowed(name)))
    }

    /// The zone that stands in when all servers of another fail (`forward-first`): the closest one above `apex`.
    pub fn above(&self, apex: NameRef<'_>) -> Option<&Arc<ForwardZone>> {
        apex.parent()?.ancestors().find_map(|name| self.zones.get(&Borrowed(name)))
    }

    /// The forward zone for `name`, unless a stub zone inside it is closer. `None`: recursion, if there is any.
    pub(crate) fn route(&self, name: NameRef<'_>, qtype: Rtype) -> Option<&Arc<ForwardZone>> {
        self.route_past(name, qtype, &[])
    }

    /// The same as if the stub zones in `passed` were not there.
    pub(crate) fn route_past(&self, name: NameRef<'_>, qtype: Rtype, passed: &[Name]) -> Option<&Arc<ForwardZone>> {
        let zone = self.find(name, qtype)?;
        let closer = self.recursion.as_ref().is_some_and(|recursion| {
            let from = if qtype == Rtype::DS { name.parent().unwrap_or(name) } else { name };
            let stub = recursion.closest(from, passed).name.as_ref();
            stub != zone.name.as_ref() && stub.is_subdomain_of(zone.name.as_ref())
        });
        (!closer).then_some(zone)
    }

    /// The forward or stub zone that `name` belongs to; the root if to none. What is known of names above it says nothing of
    /// it: the operator has cut it out of the tree (CVE-2026-44687).
    pub(crate) fn apex<'a>(&'a self, name: NameRef<'_>, qtype: Rtype) -> NameRef<'a> {
        match (self.route(name, qtype), &self.recursion) {
            (Some(zone), _) => zone.name.as_ref(),
            (None, Some(recursion)) => recursion.closest(name, &[]).name.as_ref(),
            (None, None) => wire::name::ROOT,
        }
    }

    /// Where recursion begins, if names outside all forward zones are resolved at all.
    pub fn recursion(&self) -> Option<&Arc<Recursion>> {
        self.recursion.as_ref()
    }

    /// The same, with validation that starts from something else.
    pub fn trusting(&self, trust: Arc<Trust>) -> Forwards {
        Forwards { trust: Some(trust), ..self.clone() }
    }

    /// What validation starts from; `None`: nothing is validated.
    pub fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.as_ref()
    }

    /// Whether a server at this address may be asked (`do-not-query-address`, `do-not-query-localhost`).
    pub(crate) fn may_ask(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        !self.do_not_query.iter().any(|net| net.contains(&ip))
    }

    /// The CD bit that is part of the keys of the store: none where this resolver validates, for then one answer serves all
    /// and says itself what is known of its truth; nor where there is no forwarder that could, for recursion finds the same
    /// for all.
    pub fn key_cd(&self, cd: bool) -> bool {
        cd && self.trust.is_none() && !self.zones.is_empty()
    }

    /// Who is asked while every server of a zone is dead (`resolv-fallback`).
    pub fn fallback(&self) -> Option<&Arc<ForwardZone>> {
        self.fallback.as_ref()
    }

    /// Whether questions for this name are written as they are, and not in random case (`caps-exempt`).
    pub fn caps_exempt(&self, name: NameRef<'_>) -> bool {
        !self.caps_exempt.is_empty() && name.ancestors().any(|name| self.caps_exempt.contains(&Borrowed(name)))
    }

    /// Which addresses public names must not have.
    pub fn private(&self) -> &Arc<PrivateAddresses> {
        &self.private
    }

    /// All zones, in no order, without the fallback.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<ForwardZone>> {
        self.zones.values()
    }
}

impl ForwardsBuilder {
    /// Adds a zone. Of two with the same name the later counts.
    pub fn zone(&mut self, zone: ForwardZone) -> &mut ForwardsBuilder {
        self.zones.insert(zone.name.clone(), zone);
        self
    }

    /// Servers in this network are never asked (`do-not-query-address`).
    pub fn do_not_query(&mut self, net: IpNet) -> &mut ForwardsBuilder {
        self.do_not_query.push(net);
        self
    }

    /// Servers on this machine's loopback are never asked (`do-not-query-localhost`, which is `yes` by default): in most
    /// configurations that would be the resolver asking itself.
    pub fn do_not_query_localhost(&mut self) -> &mut ForwardsBuilder {
        self.do_not_query.push(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)));
        self.do_not_query.push(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)));
        self
    }

    /// Names at and below this one are asked for as they are written (`caps-exempt`).
    pub fn caps_exempt(&mut self, name: Name) -> &mut ForwardsBuilder {
        self.caps_exempt.insert(name);
        self
    }

    /// Addresses in this network are taken out of answers (`private-address`).
    pub fn private_address(&mut self, net: IpNet) -> &mut ForwardsBuilder {
        self.private.networks.push(net);
        self
    }

    /// Names at and below this one may have private addresses (`private-domain`).
    pub fn private_domain(&mut self, name: Name) -> &mut ForwardsBuilder {
        self.private.domains.insert(name);
        self
    }

    /// Whom to ask while every server of a zone is dead (`resolv-fallback`); its name has no meaning.
    pub fn fallback(&mut self, zone: ForwardZone) -> &mut ForwardsBuilder {
        self.fallback = Some(zone);
        self
    }

    /// Names outside all forward zones are resolved from here.
    pub fn recursion(&mut self, recursion: Recursion) -> &mut ForwardsBuilder {
        self.recursion = Some(recursion);
        self
    }

    /// Answers are validated, from here.
    pub fn trust(&mut self, trust: impl Into<Arc<Trust>>) -> &mut ForwardsBuilder {
        self.trust = Some(trust.into());
        self
    }

    /// The finished table. A zone all of whose servers may not be asked stays in it: its names fail, they do not fall to
    /// the zone above.
    pub fn build(self) -> Forwards {
        let ForwardsBuilder { zones, recursion, do_not_query, caps_exempt, private, fallback, trust } = self;
        let refused = |ip: IpAddr| {
            let ip = ip.to_canonical();
            do_not_query.iter().any(|net| net.contains(&ip))
        };
        let askable = |mut zone: ForwardZone| {
            zone.servers.retain(|server| !refused(server.addr.ip()));
            Arc::new(zone)
        };
        Forwards {
            fallback: fallback.map(askable).filter(|zone| !zone.servers.is_empty()),
            zones: zones.into_iter().map(|(name, zone)| (name, askable(zone))).collect(),
            recursion: recursion.map(Arc::new),
            trust,
            caps_exempt,
            private: Arc::new(private),
            do_not_query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    fn zone(at: &str, servers: &[&str]) -> ForwardZone {
        let servers = servers.iter().map(|addr| Server { addr: addr.parse().expect("an address"), tls_name: None });
        ForwardZone { name: name(at), servers: servers.collect(), tcp_only: false, no_cache: false, first: false }
    }

    fn found(table: &Forwards, asked: &str, qtype: Rtype) -> Option<String> {
        table.find(name(asked).as_ref(), qtype).map(|zone| zone.name.to_string())
    }

    #[test]
    fn the_closest_enclosing_zone_is_found() {
        let mut builder = Forwards::builder();
        builder.zone(zone("example.", &[])).zone(zone("deep.sub.example.", &[]));
        let table = builder.build();
        assert_eq!(found(&table, "example.", Rtype::A).as_deref(), Some("example."));
        assert_eq!(found(&table, "SUB.Example.", Rtype::A).as_deref(), Some("example."));
        assert_eq!(found(&table, "a.b.deep.sub.EXAMPLE.", Rtype::A).as_deref(), Some("deep.sub.example."));
        assert_eq!(found(&table, "notexample.", Rtype::A), None);
        assert_eq!(found(&table, ".", Rtype::A), None);
    }

    #[test]
    fn rfc4035_2_4_ds_is_asked_of_the_parent() {
        let mut builder = Forwards::builder();
        builder.zone(zone("example.", &[])).zone(zone("sub.example.", &[]));
        let table = builder.build();
        assert_eq!(found(&table, "sub.example.", Rtype::DS).as_deref(), Some("example."));
        assert_eq!(found(&table, "x.sub.example.", Rtype::DS).as_deref(), Some("sub.example."));
        assert_eq!(found(&table, "example.", Rtype::DS), None);
    }

    #[test]
    fn of_two_zones_with_one_name_the_later_counts() {
        let mut builder = Forwards::builder();
        builder.zone(zone("example.", &["192.0.2.1:53"])).zone(zone("EXAMPLE.", &["192.0.2.2:53"]));
        let table = builder.build();
        let servers = &table.find(name("example.").as_ref(), Rtype::A).expect("a zone").servers;
        assert_eq!(servers.iter().map(|s| s.addr.to_string()).collect::<Vec<_>>(), ["192.0.2.2:53"]);
    }

    #[test]
    fn servers_that_may_not_be_asked_are_left_out_and_the_zone_stays() {
        let mut builder = Forwards::builder();
        builder
            .zone(zone(".", &["192.0.2.1:53"]))
            .zone(zone("l.", &["127.0.0.9:53", "[::1]:53", "[::ffff:127.0.0.1]:53"]));
        builder.zone(zone("n.", &["198.51.100.7:53", "192.0.2.1:53"]));
        builder.do_not_query_localhost().do_not_query("198.51.100.0/24".parse().expect("a network"));
        let table = builder.build();
        let servers = |at: &str| table.find(name(at).as_ref(), Rtype::A).expect("a zone").servers.len();
        assert_eq!((servers("x.l."), servers("x.n."), servers("x.")), (0, 1, 1));
    }
}
