//! Clients that wait for an answer being resolved.
//!
//! Owns a table from `ClientId` to everything needed to answer later: the query, the way back, the time it came. Bounded
//! in all and per client address; an id is never valid twice, so an answer cannot reach the wrong client.

use crate::lookup::Looking;
use crate::stream::Conn;
use crate::udp::UdpListener;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use sys::udp::LocalAddr;
use wire::{Query, Rrset};

/// Clients one worker lets wait at once. Each holds about half a kilobyte; beyond it new queries are dropped, because a
/// flood of slow questions must not take the machine's memory. (Unbound bounds it by 16 a running query.)
pub(crate) const MAX_WAITING: usize = 16_384;

/// The way back to a client.
#[derive(Clone)]
pub(crate) enum Route {
    Udp {
        listener: Rc<UdpListener>,
        local: Option<LocalAddr>,
    },
    Tcp(Rc<Conn>),
    /// Not a client's: the operator's.
    Inside(Looking),
}

impl Route {
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Route::Tcp(_))
    }

    /// The address of ours the query came to.
    pub(crate) fn destination(&self) -> SocketAddr {
        match self {
            Route::Udp { listener, local } => {
                let mut addr = listener.addr;
                if let Some(local) = local {
                    addr.set_ip(local.ip);
                }
                addr
            }
            Route::Tcp(conn) => conn.local,
            Route::Inside(_) => SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

/// One waiting client.
pub(crate) struct Waiting {
    pub(crate) query: Query,
    pub(crate) peer: SocketAddr,
    pub(crate) route: Route,
    pub(crate) received_us: u64,
    /// Octets of the largest answer over UDP.
    pub(crate) limit: usize,
    pub(crate) cookie: Option<[u8; 24]>,
    /// The CNAME of a redirect zone that goes before what is found.
    pub(crate) alias: Vec<Rrset>,
    /// The alias is a block's.
    pub(crate) blocked: bool,
}

#[derive(Default)]
pub(crate) struct Pending {
    slots: Vec<(u32, Option<Waiting>)>,
    free: Vec<u32>,
    per_client: HashMap<IpAddr, u32>,
    len: usize,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether one more client fits at all.
    pub(crate) fn has_room(&self) -> bool {
        self.len < MAX_WAITING
    }

    /// How many answers this address waits for. Loopback is never counted: a forwarder on this machine speaks for many.
    pub(crate) fn waiting_for(&self, ip: IpAddr) -> u32 {
        self.per_client.get(&ip).copied().unwrap_or(0)
    }

    /// Adds a client and returns its id.
    pub(crate) fn insert(&mut self, waiting: Waiting) -> u64 {
        let ip = waiting.peer.ip();
        if !ip.is_loopback() {
            *self.per_client.entry(ip).or_default() += 1;
        }
        if let Route::Tcp(conn) = &waiting.route {
            conn.waiting.set(conn.waiting.get() + 1);
        }
        self.len += 1;
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some((generation, slot)) => {
                *slot = Some(waiting);
                u64::from(*generation) << 32 | u64::from(index)
            }
            None => {
                self.slots.push((0, Some(waiting)));
                u64::from(index)
            }
        }
    }

    /// Takes a client out; `None` if the id is not, or no longer, one of ours.
    pub(crate) fn take(&mut self, id: u64) -> Option<Waiting> {
        let index = id as u32;
        let (generation, slot) = self.slots.get_mut(index as usize)?;
        if u64::from(*generation) != id >> 32 {
            return None;
        }
        let waiting = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        let ip = waiting.peer.ip();
        if let Some(count) = self.per_client.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&ip);
            }
        }
        if let Route::Tcp(conn) = &waiting.route {
            conn.waiting.set(conn.waiting.get().saturating_sub(1));
        }
        Some(waiting)
    }
}

impl Pending {
    /// Takes all clients out.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        let ids: Vec<u64> = (0_u64..)
            .zip(&self.slots)
            .filter(|(_, (_, slot))| slot.is_some())
            .map(|(index, (generation, _))| u64::from(*generation) << 32 | index)
            .collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Class, NameBuf, Rtype};

    fn waiting(peer: &str) -> Waiting {
        let peer: SocketAddr = peer.parse().unwrap();
        Waiting {
            query: Query { id: 7, flags: 0, qname: NameBuf::root(), qtype: Rtype::A, qclass: Class::IN, edns: None },
            peer,
            route: Route::Tcp(Rc::new(Conn::new(peer, peer))),
            received_us: 0,
            limit: 512,
            cookie: None,
            alias: Vec::new(),
            blocked: false,
        }
    }

    #[test]
    fn an_id_is_good_once() {
        let mut p = Pending::default();
        let a = p.insert(waiting("192.0.2.1:1"));
        let b = p.insert(waiting("192.0.2.1:2"));
        assert_eq!((p.len(), p.waiting_for("192.0.2.1".parse().unwrap())), (2, 2));
        assert!(p.take(a).is_some());
        assert!(p.take(a).is_none());
        let c = p.insert(waiting("127.0.0.1:1"));
        assert_ne!(a, c);
        assert!(p.take(a).is_none());
        assert_eq!(p.waiting_for("127.0.0.1".parse().unwrap()), 0);
        let taken = p.take(b).unwrap();
        let Route::Tcp(conn) = taken.route else { panic!() };
        assert_eq!(conn.waiting.get(), 0);
        assert!(p.take(c).is_some());
        assert_eq!((p.len(), p.per_client.len()), (0, 0));
        assert!(p.take(u64::MAX).is_none());
    }
}
