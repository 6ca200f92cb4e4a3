//! What the file asks for and only the system or the DNS can tell: addresses of servers given by name, and the system's
//! own resolvers.
//!
//! Owns reading `/etc/resolv.conf` for `resolv-fallback` and the question whether an address is this resolver itself,
//! which must never be asked by itself. It must never change anything: who calls it decides what becomes of the find.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use wire::{Answer, Name, Rcode, Rtype};

use crate::compile::address;

/// Servers taken from a resolv.conf: as many as the C library asks (resolv.conf(5), MAXNS).
const MAX_RESOLVERS: usize = 3;
/// Octets of a resolv.conf that are read; the largest real ones have a few hundred.
const MAX_RESOLV_CONF: u64 = 64 * 1024;
/// The port of servers in a resolv.conf, which knows no other.
const DNS_PORT: u16 = 53;

/// Addresses kept of one `forward-host`: more than any real one has.
const MAX_ADDRESSES: usize = 16;
/// Time until a `forward-host` is looked up again that could not be found out.
const RETRY: Duration = Duration::from_secs(5);
/// Fewest and most time until a `forward-host` is looked up again, whatever its TTL: neither a flood of questions nor a
/// server that moved and is not noticed.
const REFRESH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// What adds to the file. It changes while the file stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The system's resolvers, this one left out; empty without `resolv-fallback`.
    pub resolvers: Vec<SocketAddr>,
    /// Addresses of each `forward-host`, as far as they are known.
    pub hosts: HashMap<Name, Vec<IpAddr>>,
}

/// Tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Stamp {
    /// `None` if there is no such file, or none that may be looked at.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let file = fs::metadata(path).ok()?;
        let changed = (file.ctime(), file.ctime_nsec());
        Some(Stamp { device: file.dev(), inode: file.ino(), changed, size: file.size() })
    }
}

/// The servers of a resolv.conf that may be asked instead of forwarders: all but ourselves.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn resolvers(path: &Path, listening: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, MAX_RESOLV_CONF), &mut text)?;
    Ok(nameservers(&text).into_iter().filter(|addr| !ourselves(addr.ip(), listening)).collect())
}

/// The `nameserver` lines, as the C library reads them: the first three, comments and what is no address left out.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(mut addr) = words.next().and_then(address) else { continue };
        addr.set_port(DNS_PORT);
        if !found.contains(&addr) {
            found.push(addr);
        }
        if found.len() == MAX_RESOLVERS {
            break;
        }
    }
    found
}

/// Whether a question sent to port 53 of this address would come back to us.
fn ourselves(ip: IpAddr, listening: &[SocketAddr]) -> bool {
    let ip = ip.to_canonical();
    // The unspecified address is this machine's loopback to whoever sends to it.
    let here = || ip.is_unspecified() || ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok();
    listening.iter().filter(|ours| ours.port() == DNS_PORT).any(|ours| {
        let ours = ours.ip().to_canonical();
        ours == ip || ((ours.is_unspecified() || ip.is_unspecified()) && here())
    })
}

/// The addresses of `forward-host`s, and when to look again.
#[derive(Default)]
pub(crate) struct Hosts {
    known: HashMap<Name, Host>,
}

struct Host {
    addresses: Vec<IpAddr>,
    due: Instant,
}

impl Hosts {
    /// Looks up what is due among `names` by `ask`, which may take its time, and forgets all others. What cannot be
    /// found out stays as it was: old addresses are better than none.
    pub(crate) fn refresh(&mut self, names: &[Name], types: &[Rtype], ask: &dyn Fn(&Name, Rtype) -> Option<Answer>) {
        self.known.retain(|name, _| names.contains(name));
        for name in names {
            if self.known.get(name).is_some_and(|host| host.due > Instant::now()) {
                continue;
            }
            let of = |rtype: &Rtype| ask(name, *rtype).and_then(|answer| addresses(&answer));
            let found: Vec<Option<Vec<(IpAddr, u32)>>> = types.iter().map(of).collect();
            let failed = found.iter().any(Option::is_none);
            let found: Vec<(IpAddr, u32)> = found.into_iter().flatten().flatten().take(MAX_ADDRESSES).collect();
            let ttl = found.iter().map(|(_, ttl)| Duration::from_secs((*ttl).into())).min();
            let wait = ttl.filter(|_| !failed).map_or(RETRY, |ttl| ttl.clamp(REFRESH.0, REFRESH.1));
            let host = self.known.entry(name.clone()).or_insert(Host { addresses: Vec::new(), due: Instant::now() });
            host.due = Instant::now() + wait;
            if !failed || !found.is_empty() {
                host.addresses = found.into_iter().map(|(ip, _)| ip).collect();
                host.addresses.sort_unstable(); // answers rotate: that is no change
            }
        }
    }

    /// What is known.
    pub(crate) fn known(&self) -> HashMap<Name, Vec<IpAddr>> {
        self.known.iter().map(|(name, host)| (name.clone(), host.addresses.clone())).collect()
    }
}

/// The addresses in an answer with their TTLs; `None` if it is no answer.
fn addresses(answer: &Answer) -> Option<Vec<(IpAddr, u32)>> {
    if !matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        return None;
    }
    let sets = answer.answer.iter().filter(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA));
    let of = |data: &[u8]| match data.len() {
        4 => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
        _ => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
    };
    Some(sets.flat_map(|set| set.rdata.iter().filter_map(of).map(|ip| (ip, set.ttl))).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use wire::{Class, RdataSet, Rrset};

    use super::*;

    fn answer(rcode: Rcode, rtype: Rtype, data: &[&[u8]]) -> Answer {
        let owner = Name::from_text("dns.example.").expect("a name");
        let set = Rrset::new(owner, rtype, Class::IN, 300, data.iter().copied().collect::<RdataSet>());
        Answer { answer: if data.is_empty() { Vec::new() } else { vec![set] }, ..Answer::new(rcode) }
    }

    #[test]
    fn a_forward_host_keeps_its_addresses_while_nobody_can_tell_and_loses_them_when_somebody_says_so() {
        let name = Name::from_text("dns.example.").expect("a name");
        let (names, types) = ([name.clone()], [Rtype::A, Rtype::AAAA]);
        let asked = RefCell::new(0);
        let mut hosts = Hosts::default();
        let known = |hosts: &Hosts| hosts.known().remove(&name).unwrap_or_default();
        let due = |hosts: &mut Hosts| hosts.known.values_mut().for_each(|host| host.due = Instant::now());
        let good = |_: &Name, rtype| {
            *asked.borrow_mut() += 1;
            let data: &[&[u8]] = if rtype == Rtype::A { &[&[192, 0, 2, 2], &[192, 0, 2, 1]] } else { &[] };
            Some(answer(Rcode::NOERROR, rtype, data))
        };
        hosts.refresh(&names, &types, &good);
        let both: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address")).to_vec();
        assert_eq!(known(&hosts), both);
        hosts.refresh(&names, &types, &good);
        assert_eq!(*asked.borrow(), 2, "not before its time");
        due(&mut hosts);
        hosts.refresh(&names, &types, &|_, _| None);
        assert_eq!(known(&hosts), both);
        due(&mut hosts);
        hosts.refresh(&names, &types, &|_, rtype| Some(answer(Rcode::SERVFAIL, rtype, &[])));
        assert_eq!(known(&hosts), both);
        due(&mut hosts);
        hosts.refresh(&names, &types, &|_, rtype| Some(answer(Rcode::NXDOMAIN, rtype, &[])));
        assert!(known(&hosts).is_empty());
        hosts.refresh(&[], &types, &|_, _| None);
        assert!(hosts.known().is_empty(), "who is not asked for any more is forgotten");
    }

    fn texts(addrs: &[SocketAddr]) -> Vec<String> {
        addrs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_resolv_conf_is_read_as_the_c_library_does() {
        let text = "# nameserver 192.0.2.9\nsearch home.arpa\nnameserver 192.0.2.1\n nameserver\t2001:db8::1  trailing\n\
                    nameserver dns.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        assert_eq!(texts(&nameservers(text)), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert!(nameservers("").is_empty());
    }

    #[test]
    fn whoever_would_ask_itself_is_left_out() {
        let listening = |text: &str| vec![text.parse().expect("an address")];
        let ip = |text: &str| text.parse().expect("an address");
        assert!(ourselves(ip("127.0.0.1"), &listening("127.0.0.1:53")));
        assert!(ourselves(ip("127.0.0.53"), &listening("0.0.0.0:53")));
        assert!(ourselves(ip("0.0.0.0"), &listening("127.0.0.1:53")));
        assert!(!ourselves(ip("127.0.0.53"), &listening("127.0.0.1:53")), "another service of this machine");
        assert!(!ourselves(ip("127.0.0.1"), &listening("127.0.0.1:5353")));
        assert!(!ourselves(ip("192.0.2.1"), &listening("0.0.0.0:53")));
    }

    #[test]
    fn a_file_that_is_replaced_has_another_stamp() {
        let folder = std::env::temp_dir().join(format!("runbound-surroundings-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (path, next) = (folder.join("resolv.conf"), folder.join("next"));
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "nameserver 192.0.2.1\n").expect("a file");
        let first = Stamp::of(&path);
        assert_eq!(first, Stamp::of(&path));
        fs::write(&next, "nameserver 192.0.2.2\n").expect("a file");
        fs::rename(&next, &path).expect("renamed");
        assert_ne!(first, Stamp::of(&path));
        let found = resolvers(&path, &["192.0.2.9:53".parse().expect("an address")]).expect("readable");
        assert_eq!(texts(&found), ["192.0.2.2:53"]);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
