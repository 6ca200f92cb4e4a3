//! Which servers do not serve which zones.
//!
//! It owns a bounded memory of (server, zone) pairs. A server enters it by what it says of itself: a referral upwards or
//! back to the zone, recursion instead of authority. SERVFAIL and REFUSED count against the question alone: one broken name
//! must not make its zone unreachable for everybody.

use std::net::SocketAddr;

use hashbrown::HashMap;
use store::Millis;
use wire::Name;

use crate::limits::MAX_LAME;

/// Pairs, and until when each counts.
#[derive(Debug, Default)]
pub(crate) struct Lame {
    known: HashMap<(SocketAddr, Name), Millis>,
}

impl Lame {
    /// The server does not serve the zone.
    pub(crate) fn mark(&mut self, server: SocketAddr, zone: &Name, now: Millis, for_s: u32) {
        if self.known.len() >= MAX_LAME {
            self.known.retain(|_, until| *until > now);
        }
        if self.known.len() < MAX_LAME {
            self.known.insert((server, zone.clone()), now + u64::from(for_s) * 1000);
        }
    }

    /// Whether it said so a while ago.
    pub(crate) fn is(&self, server: SocketAddr, zone: &Name, now: Millis) -> bool {
        !self.known.is_empty() && self.known.get(&(server, zone.clone())).is_some_and(|until| *until > now)
    }

    /// Forgets everything (a flush of `infra`).
    pub(crate) fn forget(&mut self) {
        self.known = HashMap::new();
    }
}
