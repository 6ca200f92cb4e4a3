//! Names of network interfaces turned into their addresses, for `interface: eth0`.
//!
//! Owns `getifaddrs(3)`. It reports what the kernel has at the moment of asking and remembers nothing.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's name, for example `eth0`.
    pub name: String,
    /// Its address; the port is 0, a link-local IPv6 address carries its scope.
    pub addr: SocketAddr,
}

/// Every IPv4 and IPv6 address of every interface, in the kernel's order.
///
/// # Errors
/// What `getifaddrs(3)` reports.
pub fn all() -> io::Result<Vec<InterfaceAddress>> {
    let mut head: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `head` is writable; on success it owns a list that is freed below.
    if unsafe { libc::getifaddrs(&mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut out = Vec::new();
    let mut at = head;
    while !at.is_null() {
        // SAFETY: `at` walks the list getifaddrs returned, which lives until freeifaddrs.
        let entry = unsafe { &*at };
        at = entry.ifa_next;
        if entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: every entry's name is a NUL-terminated string of the same list.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        // SAFETY: ifa_addr is not null and begins with an address family.
        let family = i32::from(unsafe { (*entry.ifa_addr).sa_family });
        let addr = match family {
            libc::AF_INET => {
                // SAFETY: the family says this is a sockaddr_in; unaligned reads need no alignment.
                let sin = unsafe { std::ptr::read_unaligned(entry.ifa_addr.cast::<libc::sockaddr_in>()) };
                SocketAddr::new(IpAddr::V4(Ipv4Addr::from(u32::from_be(sin.sin_addr.s_addr))), 0)
            }
            libc::AF_INET6 => {
                // SAFETY: the family says this is a sockaddr_in6; unaligned reads need no alignment.
                let sin6 = unsafe { std::ptr::read_unaligned(entry.ifa_addr.cast::<libc::sockaddr_in6>()) };
                let ip = Ipv6Addr::from(sin6.sin6_addr.s6_addr);
                SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, sin6.sin6_scope_id))
            }
            _ => continue,
        };
        out.push(InterfaceAddress { name, addr });
    }
    // SAFETY: `head` came from getifaddrs and is freed exactly once; nothing borrowed from it remains.
    unsafe { libc::freeifaddrs(head) };
    Ok(out)
}

/// The addresses of the interface with this name; empty if there is none.
///
/// # Errors
/// What `getifaddrs(3)` reports.
pub fn addresses_of(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(all()?.into_iter().filter(|i| i.name == name).map(|i| i.addr).collect())
}

/// The index of an interface by name, for the scope of `fe80::1%eth0`; `None` if there is no such interface.
pub fn index_of(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: the name is NUL-terminated and only read.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let lo = addresses_of("lo").unwrap();
        assert!(lo.iter().any(|a| a.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(index_of("lo").is_some());
    }

    #[test]
    fn an_unknown_name_has_nothing() {
        assert!(addresses_of("no-such-if0").unwrap().is_empty());
        assert_eq!(index_of("no-such-if0"), None);
    }
}
