//! What the file asks for and only the system or the DNS can tell: addresses of servers given by name, and the system's
//! own resolvers.
//!
//! Owns reading `/etc/resolv.conf` for `resolv-fallback` and the question whether an address is this resolver itself,
//! which must never be asked by itself. It must never change anything: who calls it decides what becomes of the find.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use wire::Name;

use crate::compile::address;

/// Servers taken from a resolv.conf: as many as the C library asks (resolv.conf(5), MAXNS).
const MAX_RESOLVERS: usize = 3;
/// Octets of a resolv.conf that are read; the largest real ones have a few hundred.
const MAX_RESOLV_CONF: u64 = 64 * 1024;
/// The port of servers in a resolv.conf, which knows no other.
const DNS_PORT: u16 = 53;

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

#[cfg(test)]
mod tests {
    use super::*;

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
