//! Opening the addresses we listen on: for each worker its own UDP and TCP socket, sharing the address by SO_REUSEPORT.
//!
//! Owns what becomes of one `interface:` line. It opens and nothing more: the workers read. Errors name the address.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use sys::socket::{self, Inherited};

pub use sys::socket::SocketOptions;

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// Address and port, with the scope of a link-local IPv6 address. Port 0 takes a free one, the same for all.
    pub addr: SocketAddr,
    /// Options of the sockets.
    pub options: SocketOptions,
}

/// The sockets of one address for one worker.
#[derive(Debug)]
pub struct ListenerSet {
    /// The address, as the kernel tells it.
    pub addr: SocketAddr,
    /// The UDP socket, unless `do-udp: no`.
    pub udp: Option<UdpSocket>,
    /// The TCP socket, unless `do-tcp: no`.
    pub tcp: Option<TcpListener>,
}

/// Ports tried when any will do but UDP and TCP must have the same: the one free for UDP may be taken for TCP.
const FREE_PORT_TRIES: usize = 32;

/// Opens an address for `workers` workers: one `ListenerSet` each, in order. With `reuseport` off all workers share
/// one socket.
///
/// # Errors
/// The kernel's, with address and protocol in the text.
pub fn open(spec: &ListenSpec, workers: usize) -> io::Result<Vec<ListenerSet>> {
    let mut result = open_once(spec, workers);
    if spec.addr.port() == 0 {
        for _ in 1..FREE_PORT_TRIES {
            match &result {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => result = open_once(spec, workers),
                _ => break,
            }
        }
    }
    result
}

fn open_once(spec: &ListenSpec, workers: usize) -> io::Result<Vec<ListenerSet>> {
    let mut addr = spec.addr;
    let mut sets: Vec<ListenerSet> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let mut set = ListenerSet { addr, udp: None, tcp: None };
        let first = if spec.options.reuseport { None } else { sets.first() };
        if spec.options.udp {
            let udp = match first.and_then(|f| f.udp.as_ref()) {
                Some(shared) => shared.try_clone(),
                None => socket::udp_listener(addr, &spec.options),
            };
            let udp = udp.map_err(|e| named(addr, "UDP", &e))?;
            addr.set_port(udp.local_addr()?.port());
            set.udp = Some(udp);
        }
        if spec.options.tcp {
            let tcp = match first.and_then(|f| f.tcp.as_ref()) {
                Some(shared) => shared.try_clone(),
                None => socket::tcp_listener(addr, &spec.options),
            };
            let tcp = tcp.map_err(|e| named(addr, "TCP", &e))?;
            addr.set_port(tcp.local_addr()?.port());
            set.tcp = Some(tcp);
        }
        set.addr = addr;
        sets.push(set);
    }
    Ok(sets)
}

/// Takes over a descriptor opened by a service manager: each worker gets a duplicate of the one socket.
///
/// # Errors
/// When the descriptor is not a UDP or listening TCP socket; its number is in the text.
pub fn inherit(fd: i32, options: &SocketOptions, workers: usize) -> io::Result<Vec<ListenerSet>> {
    (0..workers)
        .map(|_| {
            let wrap = |e: io::Error| io::Error::new(e.kind(), format!("descriptor {fd}: {e}"));
            match socket::inherit(fd, options).map_err(wrap)? {
                Inherited::Udp(udp) => Ok(ListenerSet { addr: udp.local_addr()?, udp: Some(udp), tcp: None }),
                Inherited::Tcp(tcp) => Ok(ListenerSet { addr: tcp.local_addr()?, udp: None, tcp: Some(tcp) }),
            }
        })
        .collect()
}

fn named(addr: SocketAddr, protocol: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot listen on {}@{} over {protocol}: {e}", addr.ip(), addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn spec(text: &str, options: SocketOptions) -> ListenSpec {
        ListenSpec { addr: text.parse().unwrap(), options }
    }

    #[test]
    fn every_worker_has_its_own_sockets_of_one_address() {
        let sets = open(&spec("127.0.0.1:0", SocketOptions::default()), 3).unwrap();
        assert_eq!(sets.len(), 3);
        for set in &sets {
            assert_eq!(set.udp.as_ref().unwrap().local_addr().unwrap(), sets[0].addr);
            assert_eq!(set.tcp.as_ref().unwrap().local_addr().unwrap(), sets[0].addr);
        }
        assert_ne!(sets[0].addr.port(), 0);
    }

    #[test]
    fn without_reuseport_one_socket_is_shared() {
        let o = SocketOptions { reuseport: false, tcp: false, ..SocketOptions::default() };
        let sets = open(&spec("127.0.0.1:0", o), 2).unwrap();
        assert!(sets.iter().all(|s| s.tcp.is_none() && s.addr == sets[0].addr));
    }

    #[test]
    fn an_error_names_address_and_protocol() {
        let e = open(&spec("192.0.2.9:53", SocketOptions::default()), 1).unwrap_err();
        assert!(e.to_string().starts_with("cannot listen on 192.0.2.9@53 over UDP: "), "{e}");
    }

    #[test]
    fn an_inherited_descriptor_is_duplicated_for_each() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sets = inherit(udp.as_raw_fd(), &SocketOptions::default(), 2).unwrap();
        assert_eq!((sets.len(), sets[1].addr), (2, udp.local_addr().unwrap()));
        assert!(inherit(-1, &SocketOptions::default(), 1).unwrap_err().to_string().starts_with("descriptor -1: "));
    }
}
