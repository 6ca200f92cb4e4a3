//! Which server to ask next, how long to wait for it, and what is known of each.
//!
//! It owns the memory of servers: smoothed round-trip times (RFC 6298 without its granularity, as Unbound keeps them)
//! and how often each was silent. It never sends, and knows nothing of questions.
//!
//! ```text
//!              reply                     DEAD_AFTER silences in a row
//!   alive ─────────────▶ alive   alive ─────────────────────────────▶ dead, backed off until t
//!     ▲                                                                   │ t passes: one question tries it,
//!     └────────────────────────────── any reply ◀─────────────────────────┘ t moves on (doubled) if it stays silent
//! ```

use std::net::SocketAddr;

use hashbrown::HashMap;
use store::Millis;

use crate::limits::{DEAD_AFTER, FIRST_BACKOFF, INFRA_NUMHOSTS, MAX_BACKOFF, MAX_RTT, MIN_RTT, RTT_BAND};

/// What is known of one server.
#[derive(Clone, Copy, Debug)]
struct Health {
    /// Smoothed round-trip time, ms; 0 when it never answered.
    srtt: u64,
    /// How much it varies, ms.
    variance: u64,
    /// How long to wait for it, ms.
    wait: u64,
    /// Silences since the last reply.
    silences: u8,
    /// While dead: when it may be tried again beside others that live.
    backed_off_until: Millis,
}

/// What is known of all servers.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    known: HashMap<SocketAddr, Health>,
}

/// How one question fared with one server so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    /// Replies that could not be used, and failures to send.
    pub(crate) failures: u8,
    /// Silences.
    pub(crate) silences: u8,
}

impl Tries {
    /// Tries as `outbound-msg-retry` counts them: a silence makes the same packet go out once more before it is a try.
    fn spent(self) -> u8 {
        self.failures.saturating_add(self.silences / 2)
    }
}

impl Servers {
    /// How long to wait for a reply of this server over UDP, ms.
    pub(crate) fn wait(&self, server: SocketAddr, unknown: u64) -> u64 {
        self.known.get(&server).map_or(unknown, |health| health.wait)
    }

    /// Whether the server is dead, as far as is known.
    pub(crate) fn dead(&self, server: SocketAddr) -> bool {
        self.known.get(&server).is_some_and(|health| health.silences >= DEAD_AFTER)
    }

    /// The server answered, whatever it said: over UDP after `rtt` milliseconds, or over TCP (`None`), whose time tells
    /// nothing about datagrams.
    pub(crate) fn answered(&mut self, server: SocketAddr, rtt: Option<u64>, unknown: u64) {
        let health = self.health(server, unknown);
        (health.silences, health.backed_off_until) = (0, 0);
        let Some(rtt) = rtt else { return };
        if health.srtt == 0 {
            (health.srtt, health.variance) = (rtt, rtt / 2);
        } else {
            let delta = rtt.abs_diff(health.srtt);
            health.srtt = if rtt > health.srtt { health.srtt + delta / 8 } else { health.srtt - delta / 8 };
            health.variance = (health.variance * 3 + delta) / 4;
        }
        health.wait = (health.srtt + 4 * health.variance).clamp(MIN_RTT, MAX_RTT);
    }

    /// The server said nothing within `waited` milliseconds, or could not be reached at all (`waited` is `None`).
    /// Questions in flight at the same time double the wait once, not once each. `again` tells that this question heard
    /// nothing from it for the second time: the first time the same wait is tried once more.
    pub(crate) fn silent(&mut self, server: SocketAddr, waited: Option<u64>, again: bool, now: Millis, unknown: u64) {
        let health = self.health(server, unknown);
        if let Some(waited) = waited.filter(|waited| again && *waited >= health.wait) {
            health.wait = (waited * 2).min(MAX_RTT);
        }
        health.silences = health.silences.saturating_add(1);
        if let Some(beyond) = health.silences.checked_sub(DEAD_AFTER) {
            let backoff = FIRST_BACKOFF.checked_shl(u32::from(beyond)).unwrap_or(MAX_BACKOFF).min(MAX_BACKOFF);
            health.backed_off_until = now + backoff;
        }
    }

    /// The index of the server to ask next, `None` when each has failed `retry` times for this question.
    ///
    /// Servers that live come before dead ones, those this question tried less before those it tried more, and of the
    /// rest one is drawn among those not much slower than the fastest, so that each keeps being measured.
    pub(crate) fn choose(
        &mut self,
        servers: impl Iterator<Item = (SocketAddr, Tries)>,
        retry: u8,
        unknown: u64,
        now: Millis,
        draw: impl FnOnce(usize) -> usize,
    ) -> Option<usize> {
        let mut best: Vec<(usize, SocketAddr, u64)> = Vec::new();
        let mut best_rank = (true, u8::MAX);
        for (index, (addr, tries)) in servers.enumerate() {
            if tries.spent() >= retry.max(1) {
                continue;
            }
            let health = self.known.get(&addr);
            let resting = health.is_some_and(|h| h.silences >= DEAD_AFTER && now < h.backed_off_until);
            let rank = (resting, tries.failures.saturating_add(tries.silences));
            if rank < best_rank || best.is_empty() {
                best.clear();
                best_rank = rank;
            }
            if rank == best_rank {
                // How long a dead one took before it died says nothing of the time after: it is as good as unknown.
                best.push((index, addr, health.filter(|h| h.silences < DEAD_AFTER).map_or(unknown, |h| h.wait)));
            }
        }
        let fastest = best.iter().map(|(_, _, wait)| *wait).min()?;
        best.retain(|(_, _, wait)| *wait <= fastest + RTT_BAND);
        let (index, addr, _) = best.get(draw(best.len()))?;
        if let Some(health) = self.known.get_mut(addr).filter(|h| h.silences >= DEAD_AFTER) {
            // One question finds out whether it lives; the others do not wait for it meanwhile.
            health.backed_off_until = health.backed_off_until.max(now + health.wait);
        }
        Some(*index)
    }

    fn health(&mut self, server: SocketAddr, unknown: u64) -> &mut Health {
        if self.known.len() >= INFRA_NUMHOSTS && !self.known.contains_key(&server) {
            self.known.clear();
        }
        self.known.entry(server).or_insert(Health {
            srtt: 0,
            variance: 0,
            wait: unknown,
            silences: 0,
            backed_off_until: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: u64 = 376;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 53))
    }

    fn pick(servers: &mut Servers, tries: &[Tries], now: Millis, draw: usize) -> Option<usize> {
        let with = tries.iter().enumerate().map(|(n, tries)| (addr(n as u8), *tries));
        servers.choose(with, 5, UNKNOWN, now, |len| draw % len)
    }

    #[test]
    fn the_wait_follows_what_was_measured_and_stays_in_bounds() {
        let mut servers = Servers::default();
        assert_eq!(servers.wait(addr(1), UNKNOWN), UNKNOWN);
        servers.answered(addr(1), Some(100), UNKNOWN);
        assert_eq!(servers.wait(addr(1), UNKNOWN), 300);
        (0..50).for_each(|_| servers.answered(addr(1), Some(1), UNKNOWN));
        assert_eq!(servers.wait(addr(1), UNKNOWN), MIN_RTT);
        (0..50).for_each(|_| servers.answered(addr(1), Some(900_000), UNKNOWN));
        assert_eq!(servers.wait(addr(1), UNKNOWN), MAX_RTT);
    }

    #[test]
    fn rfc5452_a_draw_decides_among_equals() {
        let mut servers = Servers::default();
        let tries = [Tries::default(); 3];
        assert_eq!(
            (0..3).map(|draw| pick(&mut servers, &tries, 0, draw)).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2)]
        );
    }

    #[test]
    fn much_slower_servers_are_left_out_until_the_others_failed() {
        let mut servers = Servers::default();
        servers.answered(addr(0), Some(1), UNKNOWN);
        servers.answered(addr(1), Some(3_000), UNKNOWN);
        let mut tries = [Tries::default(); 2];
        assert_eq!((0..4).filter_map(|draw| pick(&mut servers, &tries, 0, draw)).max(), Some(0));
        tries[0].failures = 1;
        assert_eq!(pick(&mut servers, &tries, 0, 0), Some(1));
    }

    #[test]
    fn a_dead_server_is_the_last_choice_until_its_back_off_has_passed() {
        let mut servers = Servers::default();
        (0..DEAD_AFTER).for_each(|_| servers.silent(addr(0), Some(UNKNOWN), true, 0, UNKNOWN));
        assert!(servers.dead(addr(0)));
        let mut tries = [Tries::default(); 2];
        assert_eq!((0..4).filter_map(|draw| pick(&mut servers, &tries, 10, draw)).min(), Some(1));
        tries[1].failures = 5;
        assert_eq!(pick(&mut servers, &tries, 10, 0), Some(0), "better a dead one than none");
        servers.answered(addr(0), Some(5), UNKNOWN);
        assert!(!servers.dead(addr(0)));
    }

    #[test]
    fn after_the_back_off_one_question_tries_it() {
        let mut servers = Servers::default();
        (0..DEAD_AFTER).for_each(|_| servers.silent(addr(0), Some(100), false, 0, 100));
        let tries = [Tries::default(); 2];
        assert_eq!(pick(&mut servers, &tries, FIRST_BACKOFF, 0), Some(0));
        assert_eq!(pick(&mut servers, &tries, FIRST_BACKOFF + 1, 0), Some(1));
    }

    #[test]
    fn questions_in_flight_together_double_the_wait_once() {
        let mut servers = Servers::default();
        (0..4).for_each(|_| servers.silent(addr(0), Some(UNKNOWN), true, 0, UNKNOWN));
        assert_eq!(servers.wait(addr(0), UNKNOWN), 2 * UNKNOWN);
        servers.silent(addr(0), Some(MIN_RTT), true, 0, UNKNOWN);
        assert_eq!(servers.wait(addr(0), UNKNOWN), 2 * UNKNOWN, "a shorter wait tells nothing about a longer one");
    }

    #[test]
    fn none_is_left_when_each_failed_as_often_as_allowed() {
        let mut servers = Servers::default();
        assert_eq!(
            pick(&mut servers, &[Tries { failures: 5, silences: 0 }, Tries { failures: 0, silences: 10 }], 0, 0),
            None
        );
        assert_eq!(pick(&mut servers, &[Tries { failures: 4, silences: 1 }], 0, 0), Some(0));
        assert_eq!(pick(&mut servers, &[], 0, 0), None);
    }
}
