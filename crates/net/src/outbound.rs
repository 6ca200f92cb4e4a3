//! Sockets towards upstream servers: which ports and addresses queries leave from.
//!
//! Over UDP each query has a socket of its own, connected, on a random permitted port (RFC 5452 section 9.2), never
//! used for another query: an attacker has to guess port and id at once, and the kernel lets nobody else's datagrams
//! in. Owns the making of sockets; `flights` uses those for UDP, `kept` those for TCP.

use crate::snapshot::{SourceAddr, Upstream};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpSocket, UdpSocket};

/// Random ports tried before a query is given up because they are taken. With most of 60,000 ports permitted one or two
/// suffice; with few permitted, this bounds the work of a busy server.
const PORT_TRIES: usize = 64;

/// Octets of entropy taken from the kernel at once: ports for a hundred queries by one system call.
const ENTROPY_BATCH: usize = 256;

/// UDP ports from 1024 on that well-known services use. A query that took one could keep such a service from starting,
/// so the default set leaves them out (Unbound leaves out all that IANA has assigned).
const SERVICE_PORTS: [u16; 41] = [
    1080, 1194, 1433, 1434, 1645, 1646, 1701, 1812, 1813, 1900, 2049, 2086, 2102, 2103, 2104, 2152, 3130, 3260, 3306,
    3389, 3478, 4500, 4569, 4789, 5060, 5061, 5349, 5353, 5355, 5432, 5683, 6081, 6343, 6514, 7000, 7001, 8472, 10080,
    11211, 27015, 51820,
];

/// The local ports upstream queries may leave from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// Disjoint ranges, ascending, with the number of ports before each.
    ranges: Vec<(u16, u16, u32)>,
    count: u32,
}

impl Default for PortSet {
    /// 1024 to 65535 without the ports of well-known services.
    fn default() -> Self {
        PermittedPorts::new().build()
    }
}

impl PortSet {
    /// Exactly the ports of these ranges, ends included; overlaps count once.
    pub fn from_ranges(ranges: &[(u16, u16)]) -> PortSet {
        let mut permitted = PermittedPorts::none();
        for &(low, high) in ranges {
            permitted.permit(low, high);
        }
        permitted.build()
    }

    /// How many ports.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none: then the kernel chooses.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The port at `n`, counted from the lowest, modulo their number; 0, the kernel's choice, if there is none.
    pub fn get(&self, n: u32) -> u16 {
        let Some(n) = n.checked_rem(self.count) else { return 0 };
        let after = self.ranges.partition_point(|&(_, _, before)| before <= n);
        let Some(&(low, _, before)) = after.checked_sub(1).and_then(|i| self.ranges.get(i)) else { return 0 };
        low.saturating_add(u16::try_from(n - before).unwrap_or(0))
    }
}

/// Collects `outgoing-port-permit` and `outgoing-port-avoid`, in the order of the file: the last word on a port counts.
#[derive(Clone, Debug)]
pub struct PermittedPorts {
    allowed: Vec<bool>,
}

impl Default for PermittedPorts {
    fn default() -> Self {
        PermittedPorts::new()
    }
}

impl PermittedPorts {
    /// Begins with 1024 to 65535 without the ports of well-known services.
    pub fn new() -> PermittedPorts {
        let mut all = PermittedPorts::none();
        all.permit(1024, u16::MAX);
        for port in SERVICE_PORTS {
            all.avoid(port, port);
        }
        all
    }

    fn none() -> PermittedPorts {
        PermittedPorts { allowed: vec![false; 1 << 16] }
    }

    /// Permits the range, ends included.
    pub fn permit(&mut self, low: u16, high: u16) {
        self.mark(low, high, true);
    }

    /// Forbids the range, ends included.
    pub fn avoid(&mut self, low: u16, high: u16) {
        self.mark(low, high, false);
    }

    fn mark(&mut self, low: u16, high: u16, to: bool) {
        if let Some(range) = self.allowed.get_mut(usize::from(low)..=usize::from(high)) {
            range.fill(to);
        }
    }

    /// The set.
    pub fn build(&self) -> PortSet {
        let mut set = PortSet { ranges: Vec::new(), count: 0 };
        let ports = (0..=u16::MAX).zip(&self.allowed).filter(|(port, allowed)| **allowed && *port > 0);
        for (port, _) in ports {
            match set.ranges.last_mut() {
                Some((_, high, _)) if port.checked_sub(1) == Some(*high) => *high = port,
                _ => set.ranges.push((port, port, set.count)),
            }
            set.count += 1;
        }
        set
    }
}

/// Random numbers straight from the kernel, taken in batches: ports must be as hard to guess as ids.
pub(crate) struct Entropy {
    octets: [u8; ENTROPY_BATCH],
    used: usize,
}

impl Entropy {
    pub(crate) fn new() -> Entropy {
        Entropy { octets: [0; ENTROPY_BATCH], used: ENTROPY_BATCH }
    }

    /// Eight fresh octets. Without entropy there is no safe query: the error is the caller's reason to fail it.
    pub(crate) fn next(&mut self) -> io::Result<u64> {
        if self.octets.get(self.used..self.used + 8).is_none() {
            getrandom::fill(&mut self.octets).map_err(io::Error::other)?;
            self.used = 0;
        }
        let Some(chunk) = self.octets.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut::<8>()) else {
            return Err(io::Error::other("no entropy"));
        };
        self.used += 8;
        Ok(u64::from_le_bytes(std::mem::take(chunk))) // what was used is not kept
    }
}

/// The source address for a server: one of `outgoing-interface` of its family, or the kernel's choice if none is given
/// at all. `AddrNotAvailable` when addresses are given but none of that family, or the family is switched off.
fn source(upstream: &Upstream, server: SocketAddr, entropy: &mut Entropy) -> io::Result<Option<IpAddr>> {
    let off = if server.is_ipv4() { !upstream.ip4 } else { !upstream.ip6 };
    if off {
        return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    }
    if upstream.interfaces.is_empty() {
        return Ok(None);
    }
    let fits = |s: &&SourceAddr| s.addr.is_ipv4() == server.is_ipv4();
    let count = upstream.interfaces.iter().filter(fits).count() as u64;
    let nth = entropy.next()?.checked_rem(count);
    let chosen = nth.and_then(|n| upstream.interfaces.iter().filter(fits).nth(n as usize));
    match chosen.map(|s| (s.addr, s.prefix)) {
        None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        Some((IpAddr::V6(net), prefix)) if prefix < 128 => {
            let random = u128::from(entropy.next()?) << 64 | u128::from(entropy.next()?);
            let host = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            Ok(Some(IpAddr::V6(Ipv6Addr::from(u128::from(net) & !host | random & host))))
        }
        Some((addr, _)) => Ok(Some(addr)),
    }
}

/// A fresh connected socket on a random permitted port.
pub(crate) fn udp_socket(upstream: &Upstream, server: SocketAddr, entropy: &mut Entropy) -> io::Result<UdpSocket> {
    let from = source(upstream, server, entropy)?;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let port = upstream.ports.get((entropy.next()? >> 32) as u32);
        match sys::socket::upstream_udp(from, port, server, upstream.dscp) {
            Ok(socket) => return UdpSocket::from_std(socket),
            // taken, or one the system keeps for itself: another port may do
            Err(e) if matches!(e.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// A socket to be connected to the server.
pub(crate) fn tcp_socket(upstream: &Upstream, server: SocketAddr, entropy: &mut Entropy) -> io::Result<TcpSocket> {
    let from = source(upstream, server, entropy)?;
    let socket = sys::socket::upstream_tcp(from, server, upstream.tcp_mss, upstream.dscp)?;
    Ok(TcpSocket::from_std_stream(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_and_found() {
        let set = PortSet::from_ranges(&[(5_000, 5_001), (65_535, 65_535), (5_001, 5_003)]);
        assert_eq!(set.len(), 5);
        let all: Vec<u16> = (0..6).map(|n| set.get(n)).collect();
        assert_eq!(all, [5_000, 5_001, 5_002, 5_003, 65_535, 5_000]);
        assert!(PortSet::from_ranges(&[]).is_empty());
        assert_eq!(PortSet::from_ranges(&[(9, 3)]).get(7), 0);
    }

    #[test]
    fn the_default_leaves_services_alone_and_the_last_word_counts() {
        let set = PortSet::default();
        assert_eq!(set.len(), 65_536 - 1_024 - SERVICE_PORTS.len());
        assert!((0..set.len() as u32).all(|n| set.get(n) >= 1_024 && set.get(n) != 5_353));
        let mut permitted = PermittedPorts::new();
        permitted.avoid(0, u16::MAX);
        permitted.permit(2_000, 2_001);
        permitted.avoid(2_001, 2_001);
        assert_eq!(permitted.build(), PortSet::from_ranges(&[(2_000, 2_000)]));
    }

    #[test]
    fn entropy_does_not_repeat() {
        let mut entropy = Entropy::new();
        let seen: std::collections::HashSet<u64> = (0..1_000).map(|_| entropy.next().unwrap()).collect();
        assert_eq!(seen.len(), 1_000);
    }

    #[test]
    fn sources_are_chosen_by_family() {
        let mut entropy = Entropy::new();
        let v4: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        let mut upstream = Upstream::default();
        assert_eq!(source(&upstream, v4, &mut entropy).unwrap(), None);
        upstream.interfaces = vec![SourceAddr { addr: "2001:db8:5::".parse().unwrap(), prefix: 64 }];
        assert!(source(&upstream, v4, &mut entropy).is_err());
        let one = source(&upstream, v6, &mut entropy).unwrap().unwrap();
        let other = source(&upstream, v6, &mut entropy).unwrap().unwrap();
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("2001:db8:5:"), "{one}");
        upstream.ip6 = false;
        assert!(source(&upstream, v6, &mut entropy).is_err());
    }

    #[test]
    fn each_query_has_its_own_port_and_taken_ports_are_passed_over() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _guard = runtime.enter();
        let server: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let ports = std::sync::Arc::new(PortSet::from_ranges(&[(port, port), (free, free)]));
        let upstream = Upstream { ports, ..Upstream::default() };
        let mut entropy = Entropy::new();
        let first = udp_socket(&upstream, server, &mut entropy).unwrap();
        assert_eq!(first.local_addr().unwrap().port(), free);
        assert_eq!(udp_socket(&upstream, server, &mut entropy).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
