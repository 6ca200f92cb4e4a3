//! Which addresses are served: the document's `interface` entries turned into sockets.
//!
//! Owns the difference between what is open and what is wanted, so that a reload opens new addresses, closes those no
//! longer wanted and leaves the rest alone. It never reads a packet.

use std::net::SocketAddr;

use net::listen::{self, ListenSpec, ListenerSet, SocketOptions};

use crate::Failure;
use crate::compile::address;
use crate::document::{Document, Listen};

/// The options every socket of a document shares.
pub(crate) fn options(document: &Document) -> SocketOptions {
    let socket = &document.socket;
    SocketOptions {
        reuseport: true,
        freebind: socket.freebind,
        transparent: socket.transparent,
        dscp: socket.dscp,
        rcvbuf: socket.rcvbuf,
        sndbuf: socket.sndbuf,
        tcp_mss: socket.tcp_mss,
        udp: socket.udp,
        tcp: socket.tcp,
        pktinfo: socket.automatic,
        timestamps: document.serve.sock_queue_timeout > 0,
    }
}

/// Every address the document asks for, names of network interfaces resolved now, families that are off left out.
///
/// # Errors
/// An entry is neither an address nor an interface of this machine.
pub(crate) fn wanted(document: &Document) -> Result<Vec<SocketAddr>, Failure> {
    let mut all = Vec::new();
    for listen in &document.listen {
        for mut addr in resolve(listen)? {
            addr.set_port(listen.port);
            let served = if addr.is_ipv4() { document.socket.ip4 } else { document.socket.ip6 };
            if served && !all.contains(&addr) {
                all.push(addr);
            }
        }
    }
    Ok(all)
}

fn resolve(listen: &Listen) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(addr) = address(&listen.interface) {
        return Ok(vec![addr]);
    }
    let named = sys::interfaces::addresses_of(&listen.interface)
        .map_err(|e| Failure::new(format!("interface: {}: {e}", listen.interface)))?;
    if named.is_empty() {
        let at = &listen.at;
        let what = format!("{}:{}:{}: interface: {}", at.file, at.line, at.column, listen.interface);
        return Err(Failure::new(format!("{what} is neither an address nor a network interface of this machine")));
    }
    Ok(named)
}

/// Opens an address for all workers.
///
/// # Errors
/// The kernel's reason, with the address and what usually helps.
pub(crate) fn open(addr: SocketAddr, options: SocketOptions, workers: usize) -> Result<Vec<ListenerSet>, Failure> {
    listen::open(&ListenSpec { addr, options }, workers).map_err(|e| {
        let failure = Failure::new(e.to_string());
        match e.kind() {
            std::io::ErrorKind::AddrInUse => failure.advise("another program listens there: `ss -lnup` tells which"),
            std::io::ErrorKind::PermissionDenied => {
                failure.advise("ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another with port:")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                failure.advise("this machine does not have that address; ip-freebind: yes binds it all the same")
            }
            _ => failure,
        }
    })
}
