//! Which server to ask next, how long to wait for it, and what is known of each.
//!
//! It owns the memory of servers: smoothed round-trip times (RFC 6298 without its granularity, as Unbound keeps them),
//! how often each was silent, whether it speaks EDNS. It never sends, and knows nothing of questions.
//!
//! ```text
//!              reply                   DEAD_AFTER silences in a row, or refused
//!   alive ─────────────▶ alive   alive ────────────────────────────────────────▶ dead, rests until t
//!     ▲                                                                            │ t passes: it is probed;
//!     └────────────────────────────── any reply ◀──────────────────────────────────┘ t moves on if it stays silent
//!
//!   dead, resting, and silent for DOWN_AFTER: down. A question that finds only such servers fails at once.
//! ```
//!
//! Silences count once however many questions wait at the same time, and not at all when the server has answered
//! something since the packet left: that packet was lost, the server lives.

use std::net::SocketAddr;

use hashbrown::HashMap;
use store::Millis;
use wire::Rtype;

use crate::limits::{
    DEAD_AFTER, DOWN_AFTER, EXPLORE_EVERY, FIRST_BACKOFF, HEDGE_MIN, Limits, MAX_BACKOFF, MAX_PROBE_TIME, PLAIN_VOTES,
    PROBE_TIME, RECENT_BACKOFF, RTT_BAND, STREAM_FAULTS,
};
use crate::trace::Choice;
use crate::why::Fault;

/// What is known of one server, for those who operate the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its address and port.
    pub addr: SocketAddr,
    /// Smoothed round-trip time over UDP, milliseconds; `None` if it was never measured.
    pub srtt_ms: Option<u64>,
    /// How much the round-trip time varies, milliseconds.
    pub variance_ms: u64,
    /// Milliseconds it is waited for before a question is asked again.
    pub wait_ms: u64,
    /// Silences and refused connections since its last reply.
    pub silences: u8,
    /// Others are preferred.
    pub dead: bool,
    /// While dead: when it is tried again.
    pub backed_off_until: Option<Millis>,
    /// Questions sent to it, retransmissions not counted.
    pub queries: u64,
    /// Replies that were of use.
    pub answers: u64,
    /// Replies that were of no use, and failures to reach it.
    pub failures: u64,
    /// Times nothing came while it was waited for.
    pub timeouts: u64,
    /// Questions it answered first of several that were asked at once.
    pub wins: u64,
    /// What was wrong the last time something was.
    pub last_fault: Option<String>,
}

/// What is known of one server.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Smoothed round-trip time, ms; `None` when it was never measured.
    srtt: Option<u64>,
    /// How much it varies, ms.
    variance: u64,
    /// How long to wait for it, ms.
    wait: u64,
    /// Silences since the last reply.
    silences: u8,
    /// The type of the questions it was silent to; `None`: several. Some servers and what stands before them drop AAAA or what
    /// else they do not know, and answer the rest.
    silent_to: Option<Rtype>,
    /// When the first packet left that it has not answered since.
    mute_since: Millis,
    /// When the last silence was counted.
    silent_at: Millis,
    /// The last failure was an error that comes back at once, so that asking again costs no time.
    refuses: bool,
    /// While dead: when it may be tried again beside others that live.
    backed_off_until: Millis,
    /// When it last answered anything.
    heard: Option<Millis>,
    /// When its time was last measured, or tried to be.
    measured: Option<Millis>,
    /// When anything of this was last changed.
    updated: Millis,
    edns: Edns,
    /// Streams to it that came to nothing, in a row, and until when that is held against it.
    stream_faults: u8,
    streamless_until: Millis,
    queries: u64,
    answers: u64,
    failures: u64,
    timeouts: u64,
    wins: u64,
    last_fault: Option<Fault>,
}

/// What is known of a server's EDNS.
#[derive(Clone, Copy, Debug, Default)]
struct Edns {
    /// A reply had an OPT record: whoever says otherwise later is not believed (CVE-2026-52690).
    spoken_until: Millis,
    /// Questions it answered without EDNS only.
    votes: u8,
    /// It is asked without EDNS until then.
    plain_until: Millis,
}

/// What is known of all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    known: HashMap<SocketAddr, Health>,
    limits: Limits,
}

/// A server that might be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) addr: SocketAddr,
    /// How this question fared with it.
    pub(crate) tries: Tries,
    /// The type of the question.
    pub(crate) qtype: Rtype,
    /// It stands in while the others are dead.
    pub(crate) reserve: bool,
    /// It is not to be chosen.
    pub(crate) left_out: bool,
}

/// How one question fared with one server so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Replies that could not be used, and failures to send.
    pub(crate) failures: u8,
    /// Silences.
    pub(crate) silences: u8,
}

/// What a reply tells of the time it took.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Took {
    /// The round trip, ms.
    Exactly(u64),
    /// The packet left several times: between the time since the last and the time since the first, ms. Karn's rule takes
    /// no sample of it.
    Between(u64, u64),
    /// It came over TCP, whose time tells nothing about datagrams.
    Unknown,
}

impl Tries {
    /// Tries as `outbound-msg-retry` counts them: a silence makes the same packet go out once more before it is a try.
    pub(crate) fn spent(self) -> u8 {
        self.failures.saturating_add(self.silences / 2)
    }

    fn any(self) -> u8 {
        self.failures.saturating_add(self.silences)
    }
}

impl Health {
    fn dead(&self) -> bool {
        self.silences >= DEAD_AFTER
    }

    fn resting(&self, now: Millis) -> bool {
        self.dead() && now < self.backed_off_until
    }

    /// Asking it would only hold up the client.
    fn down(&self, qtype: Rtype, now: Millis) -> bool {
        let same = self.silent_to.is_none_or(|silent_to| silent_to == qtype);
        same && self.resting(now) && !self.refuses && self.mute_since + DOWN_AFTER <= now
    }

    /// Whether a reply after so many milliseconds is what is expected of it.
    fn is_usual(&self, took: u64) -> bool {
        self.srtt.is_some_and(|srtt| took >= srtt / 2 && took <= srtt + 4 * self.variance + HEDGE_MIN)
    }

    fn sample(&mut self, rtt: u64, limits: &Limits) {
        match self.srtt {
            None => (self.srtt, self.variance) = (Some(rtt), rtt / 2),
            Some(srtt) => {
                let delta = rtt.abs_diff(srtt);
                self.srtt = Some(if rtt > srtt { srtt + delta.div_ceil(8) } else { srtt - delta / 8 });
                self.variance = (self.variance * 3 + delta) / 4;
            }
        }
        let wait = self.srtt.unwrap_or(rtt) + 4 * self.variance;
        self.wait = bounded(wait, limits);
    }

    /// One more silence, or one more failure to reach it: it rests when there were several.
    fn count_silence(&mut self, now: Millis, limits: &Limits) {
        self.silences = self.silences.saturating_add(1);
        self.silent_at = now;
        let Some(beyond) = self.silences.checked_sub(DEAD_AFTER) else { return };
        // A server that died a moment ago comes back within seconds: a restart. One that is gone for long may stay so.
        let long_gone = now.saturating_sub(self.mute_since) >= u64::from(limits.infra_host_ttl_s) * 1000;
        let most = if long_gone && !limits.keep_probing { MAX_BACKOFF } else { RECENT_BACKOFF };
        // Sixteen times doubled is more than any bound; further bits would be lost beyond the highest.
        self.backed_off_until = now + (FIRST_BACKOFF << beyond.min(16)).min(most);
    }
}

fn bounded(wait: u64, limits: &Limits) -> u64 {
    wait.max(limits.min_rtt_ms).min(limits.max_rtt_ms).max(1)
}

impl Servers {
    /// Nothing is known yet.
    pub(crate) fn new(limits: Limits) -> Servers {
        Servers { known: HashMap::new(), limits }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.known = HashMap::new();
    }

    /// How long to wait for a reply of this server over UDP, ms.
    pub(crate) fn wait(&self, server: SocketAddr) -> u64 {
        self.known.get(&server).map_or(self.limits.unknown_server_time, |health| health.wait)
    }

    /// After how many milliseconds it takes longer than it usually does: twice its variance beyond its smoothed time. `None`
    /// when nobody knows what is usual.
    pub(crate) fn unusual(&self, server: SocketAddr) -> Option<u64> {
        let health = self.known.get(&server)?;
        Some((health.srtt? + 2 * health.variance).max(HEDGE_MIN))
    }

    /// Whether the server is dead, as far as is known.
    pub(crate) fn dead(&self, server: SocketAddr) -> bool {
        self.known.get(&server).is_some_and(Health::dead)
    }

    /// Whether asking the server a question of this type would only hold up a client.
    pub(crate) fn down(&self, server: SocketAddr, qtype: Rtype, now: Millis) -> bool {
        self.known.get(&server).is_some_and(|health| health.down(qtype, now))
    }

    /// It is about to be told silent to a question of this type.
    pub(crate) fn silent_to(&mut self, server: SocketAddr, qtype: Rtype, now: Millis) {
        let health = self.health(server, now);
        let first = health.silences == 0;
        health.silent_to = if first { Some(qtype) } else { health.silent_to.filter(|known| *known == qtype) };
    }

    /// How long the server has been silent, ms, if it is.
    pub(crate) fn mute_for(&self, server: SocketAddr, now: Millis) -> Option<u64> {
        let health = self.known.get(&server).filter(|health| health.silences > 0)?;
        Some(now.saturating_sub(health.mute_since))
    }

    /// Whether it is to be asked without EDNS.
    pub(crate) fn plain(&self, server: SocketAddr, now: Millis) -> bool {
        self.known.get(&server).is_some_and(|health| now < health.edns.plain_until)
    }

    /// Whether it is known to speak EDNS.
    pub(crate) fn speaks_edns(&self, server: SocketAddr, now: Millis) -> bool {
        self.known.get(&server).is_some_and(|health| now < health.edns.spoken_until)
    }

    /// A packet leaves for it (retransmissions not counted).
    pub(crate) fn asked(&mut self, server: SocketAddr, now: Millis) {
        self.health(server, now).queries += 1;
    }

    /// The server answered, whatever it said. `edns` tells that an OPT record came along.
    pub(crate) fn answered(&mut self, server: SocketAddr, took: Took, edns: bool, now: Millis) {
        let limits = self.limits;
        let health = self.health(server, now);
        (health.silences, health.backed_off_until, health.refuses) = (0, 0, false);
        health.heard = Some(now);
        if edns {
            health.edns.spoken_until = now + u64::from(limits.infra_host_ttl_s) * 1000;
            (health.edns.votes, health.edns.plain_until) = (0, 0);
        }
        match took {
            Took::Exactly(rtt) => {
                health.measured = Some(now);
                health.sample(rtt, &limits);
            }
            // As long after the last packet as this server takes: the ones before were lost, and it is no slower than ever.
            Took::Between(least, _) if health.is_usual(least) => {
                health.wait = bounded(health.srtt.unwrap_or(least) + 4 * health.variance, &limits);
            }
            // Else the first may have had a slow answer. The next packet waits long enough to find out.
            Took::Between(least, most) => {
                let wait = health.wait;
                if health.srtt.is_some_and(|srtt| srtt < least) {
                    health.sample(least, &limits);
                }
                health.wait = wait.max(bounded(most + most / 4, &limits));
            }
            Took::Unknown => (health.stream_faults, health.streamless_until) = (0, 0),
        }
    }

    /// A stream to it came to nothing. Who says "truncated" and then gives nothing over TCP is alive and of little use:
    /// others are preferred for a while.
    pub(crate) fn streamless(&mut self, server: SocketAddr, now: Millis) {
        let health = self.health(server, now);
        health.stream_faults = health.stream_faults.saturating_add(1);
        if health.stream_faults >= STREAM_FAULTS {
            health.streamless_until = now + MAX_BACKOFF;
        }
    }

    /// Nobody waits any longer for the reply to a packet that left at `sent`: the server takes at least as long, unless the
    /// packet was lost, which is likely if it has answered something else since.
    pub(crate) fn at_least(&mut self, server: SocketAddr, sent: Millis, now: Millis) {
        let limits = self.limits;
        let waited = now.saturating_sub(sent);
        let health = self.health(server, now);
        let lost = health.heard.is_some_and(|heard| heard > sent);
        if !lost && health.srtt.is_some_and(|srtt| srtt < waited) {
            health.sample(waited, &limits);
        }
    }

    /// Its reply was of use; `first` of several that were asked at once.
    pub(crate) fn useful(&mut self, server: SocketAddr, first: bool, now: Millis) {
        let health = self.health(server, now);
        health.answers += 1;
        health.wins += u64::from(first);
    }

    /// A question that failed with EDNS was answered without. Only several of them are certain enough to be remembered,
    /// and never against a server that has shown that it speaks EDNS.
    pub(crate) fn useless_edns(&mut self, server: SocketAddr, now: Millis) {
        let keep = u64::from(self.limits.infra_host_ttl_s) * 1000;
        let edns = &mut self.health(server, now).edns;
        if now < edns.spoken_until {
            return;
        }
        edns.votes = edns.votes.saturating_add(1);
        if edns.votes >= PLAIN_VOTES {
            (edns.votes, edns.plain_until) = (0, now + keep);
        }
    }

    /// Its reply was of no use.
    pub(crate) fn useless(&mut self, server: SocketAddr, fault: Fault, now: Millis) {
        let health = self.health(server, now);
        health.failures += 1;
        health.last_fault = Some(fault);
    }

    /// It cannot be reached, says the system. `refuses`: that was said at once and will be again.
    pub(crate) fn unreachable(&mut self, server: SocketAddr, fault: Fault, refuses: bool, now: Millis) {
        let limits = self.limits;
        let health = self.health(server, now);
        health.failures += 1;
        health.last_fault = Some(fault);
        if health.silences == 0 {
            health.mute_since = now;
        }
        health.refuses = refuses;
        if refuses {
            health.silences = health.silences.max(DEAD_AFTER - 1);
        }
        if !health.resting(now) {
            health.count_silence(now, &limits);
        }
    }

    /// Nothing came within `waited` milliseconds of a packet that left at `sent` (for TCP `None`). `again` tells that this
    /// question heard nothing from it for the second time: the first time the same wait is tried once more.
    pub(crate) fn silent(&mut self, server: SocketAddr, sent: Millis, waited: Option<u64>, again: bool, now: Millis) {
        let limits = self.limits;
        let health = self.health(server, now);
        health.timeouts += 1;
        health.last_fault = Some(Fault::Silent);
        let lost = health.heard.is_some_and(|heard| heard > sent);
        let counted = health.silences > 0 && sent < health.silent_at;
        if lost || counted {
            return;
        }
        if let Some(waited) = waited.filter(|waited| again && *waited >= health.wait) {
            health.wait = bounded(waited * 2, &limits);
        }
        if health.silences == 0 {
            health.mute_since = sent;
        }
        health.refuses = false;
        health.count_silence(now, &limits);
    }

    /// The index of the server to ask next, `None` when each has failed `retry` times for this question, or is down.
    ///
    /// Servers that live come before those that stand in for them, these before dead ones; those this question tried less
    /// before those it tried more; and of the rest one is drawn among those that are waited for at most `band` ms longer than
    /// the fastest.
    pub(crate) fn choose(
        &mut self,
        of: &[Candidate],
        retry: u8,
        band: u64,
        now: Millis,
        mut draw: impl FnMut(usize) -> usize,
    ) -> Option<usize> {
        let unknown = self.limits.unknown_server_time;
        let living = of.iter().any(|candidate| !candidate.reserve && !self.dead(candidate.addr));
        let mut best: Vec<(u64, usize)> = Vec::new();
        let mut best_rank = (u8::MAX, u8::MAX);
        for (index, candidate) in of.iter().enumerate() {
            let health = self.known.get(&candidate.addr);
            let untried_and_down = candidate.tries.any() == 0 && health.is_some_and(|h| h.down(candidate.qtype, now));
            let idle = candidate.reserve && living;
            if candidate.left_out || idle || candidate.tries.spent() >= retry.max(1) || untried_and_down {
                continue;
            }
            let streamless = health.is_some_and(|health| now < health.streamless_until);
            let class = match health.filter(|health| health.dead()) {
                None => u8::from(streamless) + 2 * u8::from(candidate.reserve),
                Some(health) if health.refuses => 4,
                Some(health) => 5 + u8::from(health.resting(now)),
            };
            let rank = (class, candidate.tries.any());
            if rank < best_rank {
                best.clear();
                best_rank = rank;
            }
            if rank == best_rank {
                // How long a dead one took before it died says nothing of the time after: it is as good as unknown.
                best.push((health.filter(|h| !h.dead()).map_or(unknown, |h| h.wait), index));
            }
        }
        let fastest = best.iter().min()?.0;
        best.retain(|(wait, _)| *wait <= fastest + band);
        if self.limits.fast_server_permil > 0 && draw(1000) < usize::from(self.limits.fast_server_permil) {
            best.sort_unstable();
            best.truncate(self.limits.fast_server_num.max(1));
        }
        let (_, index) = *best.get(draw(best.len()))?;
        let health = of.get(index).and_then(|candidate| self.known.get_mut(&candidate.addr));
        if let Some(health) = health.filter(|health| health.dead()) {
            // One question finds out whether it lives; the others do not wait for it meanwhile.
            health.backed_off_until = health.backed_off_until.max(now + health.wait.min(unknown));
        }
        Some(index)
    }

    /// Why [`Servers::choose`] took the one at `chosen`, as far as can be seen afterwards.
    pub(crate) fn why(&self, of: &[Candidate], chosen: usize, retry: u8) -> Choice {
        let Some(taken) = of.get(chosen) else { return Choice::Only };
        let wait = |addr| self.known.get(&addr).map_or(self.limits.unknown_server_time, |health| health.wait);
        let living = of.iter().any(|candidate| !candidate.reserve && !self.dead(candidate.addr));
        let left = |candidate: &&Candidate| {
            candidate.tries.spent() < retry.max(1) && !candidate.left_out && !(candidate.reserve && living)
        };
        if of.iter().filter(left).count() <= 1 {
            return Choice::Only;
        }
        if self.dead(taken.addr) {
            return Choice::Dead;
        }
        let alike = |candidate: &&Candidate| candidate.tries.any() == taken.tries.any() && !self.dead(candidate.addr);
        let waits: Vec<u64> = of.iter().filter(left).filter(alike).map(|candidate| wait(candidate.addr)).collect();
        let fastest = waits.iter().min().copied().unwrap_or(0);
        let among = waits.iter().filter(|wait| **wait <= fastest + RTT_BAND).count();
        match self.known.get(&taken.addr).and_then(|health| health.srtt) {
            srtt if wait(taken.addr) > fastest + RTT_BAND => Choice::Explores { srtt },
            Some(srtt) => Choice::Fast { srtt, among },
            None => Choice::Unmeasured { among },
        }
    }

    /// A server to send a copy of a question to for its time alone, beside the one at `chosen` that answers: a dead one
    /// whose rest is over, or one that nobody has measured for long because others are faster.
    pub(crate) fn worth_a_probe(&mut self, of: &[Candidate], chosen: usize, now: Millis) -> Option<usize> {
        let unknown = self.limits.unknown_server_time;
        let fastest = of.get(chosen).map(|candidate| self.wait(candidate.addr))?;
        let (index, addr) = of.iter().enumerate().find_map(|(index, candidate)| {
            if index == chosen || candidate.reserve {
                return None;
            }
            let health = self.known.get(&candidate.addr);
            let rested = health.is_none_or(|h| h.measured.is_none_or(|at| at + EXPLORE_EVERY <= now));
            let due = match health {
                Some(health) if health.dead() => !health.resting(now),
                Some(health) => rested && health.wait > fastest + RTT_BAND,
                None => unknown > fastest + RTT_BAND,
            };
            due.then_some((index, candidate.addr))
        })?;
        let health = self.health(addr, now);
        health.measured = Some(now);
        if health.dead() {
            health.backed_off_until = now + FIRST_BACKOFF;
        }
        Some(index)
    }

    /// How long to listen for the reply to a probe, ms.
    pub(crate) fn probe_time(&self, server: SocketAddr) -> u64 {
        self.wait(server).clamp(PROBE_TIME, MAX_PROBE_TIME)
    }

    /// What is known of each, in the order of their addresses.
    pub(crate) fn view(&self) -> Vec<ServerView> {
        let view = |(addr, h): (&SocketAddr, &Health)| ServerView {
            addr: *addr,
            srtt_ms: h.srtt,
            variance_ms: h.variance,
            wait_ms: h.wait,
            silences: h.silences,
            dead: h.dead(),
            backed_off_until: h.dead().then_some(h.backed_off_until),
            queries: h.queries,
            answers: h.answers,
            failures: h.failures,
            timeouts: h.timeouts,
            wins: h.wins,
            last_fault: h.last_fault.map(|fault| fault.to_string()),
        };
        let mut all: Vec<ServerView> = self.known.iter().map(view).collect();
        all.sort_unstable_by_key(|server| server.addr);
        all
    }

    /// The memory of one server, made if there is none, and as good as none when it is too old (`infra-host-ttl`). Its
    /// counters stay.
    fn health(&mut self, server: SocketAddr, now: Millis) -> &mut Health {
        let (ttl, unknown) = (u64::from(self.limits.infra_host_ttl_s) * 1000, self.limits.unknown_server_time);
        if self.known.len() >= self.limits.infra_numhosts.max(1) && !self.known.contains_key(&server) {
            let oldest = self.known.iter().min_by_key(|(_, health)| health.updated).map(|(addr, _)| *addr);
            oldest.map(|addr| self.known.remove(&addr));
        }
        let health = self.known.entry(server).or_insert(Health { wait: unknown, updated: now, ..Health::default() });
        if health.updated + ttl <= now && !health.dead() {
            let Health { queries, answers, failures, timeouts, wins, last_fault, .. } = *health;
            let counters = Health { queries, answers, failures, timeouts, wins, last_fault, ..Health::default() };
            *health = Health { wait: unknown, ..counters };
        }
        health.updated = now;
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: u64 = 376;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 53))
    }

    fn servers() -> Servers {
        Servers::new(Limits::default())
    }

    fn candidates(tries: &[Tries]) -> Vec<Candidate> {
        let one = |(n, tries): (usize, &Tries)| Candidate {
            addr: addr(n as u8),
            tries: *tries,
            qtype: Rtype::A,
            reserve: false,
            left_out: false,
        };
        tries.iter().enumerate().map(one).collect()
    }

    fn pick(servers: &mut Servers, tries: &[Tries], now: Millis, draw: usize) -> Option<usize> {
        servers.choose(&candidates(tries), 5, RTT_BAND, now, |len| draw % len)
    }

    fn kill(servers: &mut Servers, n: u8, at: Millis) {
        (0..u64::from(DEAD_AFTER)).for_each(|i| servers.silent(addr(n), at + i, Some(UNKNOWN), false, at + i + 1));
    }

    #[test]
    fn infra_cache_min_and_max_rtt_bound_the_wait_that_follows_what_was_measured() {
        let mut servers = Servers::new(Limits { max_rtt_ms: 9_000, ..Limits::default() });
        assert_eq!(servers.wait(addr(1)), UNKNOWN);
        servers.answered(addr(1), Took::Exactly(100), true, 0);
        assert_eq!((servers.wait(addr(1)), servers.unusual(addr(1))), (300, Some(200)));
        (0..50).for_each(|_| servers.answered(addr(1), Took::Exactly(1), true, 0));
        assert_eq!(servers.wait(addr(1)), Limits::default().min_rtt_ms);
        (0..50).for_each(|_| servers.answered(addr(1), Took::Exactly(90_000), true, 0));
        assert_eq!(servers.wait(addr(1)), 9_000);
    }

    #[test]
    fn rfc6298_3_karn_a_reply_to_one_of_several_packets_is_no_sample() {
        let mut servers = servers();
        servers.answered(addr(1), Took::Between(100, 2_000), true, 0);
        assert_eq!((servers.view()[0].srtt_ms, servers.wait(addr(1))), (None, 2_500), "but the next one is waited for");
        servers.answered(addr(1), Took::Exactly(2_000), true, 0);
        assert_eq!(servers.view()[0].srtt_ms, Some(2_000));
        servers.answered(addr(2), Took::Exactly(10), true, 0);
        servers.answered(addr(2), Took::Between(810, 2_000), true, 0);
        assert_eq!(servers.view()[1].srtt_ms, Some(110), "it took 810 ms at least");
    }

    #[test]
    fn rfc5452_a_draw_decides_among_equals() {
        let mut servers = servers();
        let tries = [Tries::default(); 3];
        let drawn: Vec<_> = (0..3).map(|draw| pick(&mut servers, &tries, 0, draw)).collect();
        assert_eq!(drawn, [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn much_slower_servers_are_left_out_until_the_others_failed() {
        let mut servers = servers();
        servers.answered(addr(0), Took::Exactly(1), true, 0);
        servers.answered(addr(1), Took::Exactly(3_000), true, 0);
        let mut tries = [Tries::default(); 2];
        assert_eq!((0..4).filter_map(|draw| pick(&mut servers, &tries, 0, draw)).max(), Some(0));
        tries[0].failures = 1;
        assert_eq!(pick(&mut servers, &tries, 0, 0), Some(1));
    }

    #[test]
    fn fast_server_permil_draws_from_the_fastest_alone() {
        let limits = Limits { fast_server_permil: 1000, fast_server_num: 2, ..Limits::default() };
        let mut servers = Servers::new(limits);
        for (n, rtt) in [(0, 60), (1, 40), (2, 50)] {
            servers.answered(addr(n), Took::Exactly(rtt), true, 0);
        }
        let drawn: Vec<_> = (0..4)
            .map(|draw| servers.choose(&candidates(&[Tries::default(); 3]), 5, RTT_BAND, 0, |len| draw % len))
            .collect();
        assert_eq!(drawn, [Some(1), Some(2), Some(1), Some(2)]);
    }

    #[test]
    fn a_dead_server_is_the_last_choice() {
        let mut servers = servers();
        kill(&mut servers, 0, 0);
        assert!(servers.dead(addr(0)));
        let mut tries = [Tries::default(); 2];
        assert_eq!((0..4).filter_map(|draw| pick(&mut servers, &tries, 10, draw)).min(), Some(1));
        tries[1].failures = 5;
        assert_eq!(pick(&mut servers, &tries, 10, 0), Some(0), "better a dead one than none");
        servers.answered(addr(0), Took::Exactly(5), true, 0);
        assert!(!servers.dead(addr(0)));
    }

    #[test]
    fn when_its_rest_is_over_one_question_probes_a_dead_server() {
        let mut servers = servers();
        kill(&mut servers, 0, 0);
        servers.answered(addr(1), Took::Exactly(5), true, 0);
        let of = candidates(&[Tries::default(); 2]);
        assert_eq!(servers.worth_a_probe(&of, 1, 10), None);
        let later = FIRST_BACKOFF + 10;
        assert_eq!((servers.worth_a_probe(&of, 1, later), servers.worth_a_probe(&of, 1, later)), (Some(0), None));
    }

    #[test]
    fn slow_and_unknown_servers_are_measured_now_and_then() {
        let mut servers = servers();
        servers.answered(addr(0), Took::Exactly(5), true, 0);
        servers.answered(addr(1), Took::Exactly(2_000), true, 0);
        let of = candidates(&[Tries::default(); 3]);
        let asked: Vec<_> = [0, 0, EXPLORE_EVERY].iter().map(|now| servers.worth_a_probe(&of, 0, *now)).collect();
        assert_eq!(asked, [Some(2), None, Some(1)]);
    }

    #[test]
    fn a_server_silent_for_long_is_down_and_the_question_fails_at_once() {
        let mut servers = servers();
        let tries = [Tries::default()];
        kill(&mut servers, 0, 0);
        assert_eq!(pick(&mut servers, &tries, 100, 0), Some(0), "it may only be slow");
        servers.silent(addr(0), DOWN_AFTER, Some(UNKNOWN), false, DOWN_AFTER + 1);
        assert_eq!(pick(&mut servers, &tries, DOWN_AFTER + 2, 0), None);
        let rested = DOWN_AFTER + 1 + 2 * FIRST_BACKOFF;
        assert_eq!(pick(&mut servers, &tries, rested, 0), Some(0), "one question finds out");
        assert_eq!(pick(&mut servers, &tries, rested, 0), None, "and one alone");
    }

    #[test]
    fn iter_timeout_ra_aaaa_a_server_silent_to_one_type_is_asked_for_others() {
        let mut servers = servers();
        let tries = [Tries::default()];
        servers.silent_to(addr(0), Rtype::AAAA, 0);
        kill(&mut servers, 0, 0);
        servers.silent_to(addr(0), Rtype::AAAA, DOWN_AFTER);
        servers.silent(addr(0), DOWN_AFTER, Some(UNKNOWN), false, DOWN_AFTER + 1);
        let now = DOWN_AFTER + 2;
        assert_eq!([Rtype::AAAA, Rtype::A].map(|qtype| servers.down(addr(0), qtype, now)), [true, false]);
        assert_eq!(pick(&mut servers, &tries, now, 0), Some(0));
        servers.silent_to(addr(0), Rtype::A, now);
        servers.silent(addr(0), now, Some(UNKNOWN), false, now + 1);
        assert_eq!(pick(&mut servers, &tries, now + 2, 0), None, "silent to both");
    }

    #[test]
    fn rfc9520_3_2_a_dead_server_rests_however_often_it_was_silent() {
        let mut servers = servers();
        for n in 0..u64::from(u8::MAX) + 9 {
            let now = n * 100_000;
            servers.silent(addr(0), now, Some(UNKNOWN), false, now + 1);
            let rests = servers.view()[0].backed_off_until.map(|until| until - now);
            assert!(rests.is_none_or(|rests| rests >= FIRST_BACKOFF), "{rests:?} after {n} silences");
        }
    }

    #[test]
    fn infra_keep_probing_bounds_the_rest_of_one_long_gone() {
        for (keep_probing, most) in [(true, RECENT_BACKOFF), (false, MAX_BACKOFF)] {
            let mut servers = Servers::new(Limits { keep_probing, ..Limits::default() });
            let mut now = 0;
            for _ in 0..1_000 {
                servers.silent(addr(0), now, Some(UNKNOWN), false, now + 1);
                now = servers.view()[0].backed_off_until.unwrap_or(now + 1);
            }
            assert_eq!(
                servers.view()[0].backed_off_until.map(|until| until - servers.known[&addr(0)].silent_at),
                Some(most)
            );
        }
    }

    #[test]
    fn questions_in_flight_together_are_one_silence_and_one_reply_since_makes_it_none() {
        let mut servers = servers();
        (0..9).for_each(|n| servers.silent(addr(0), n, Some(UNKNOWN), true, n + UNKNOWN));
        assert_eq!((servers.wait(addr(0)), servers.view()[0].silences), (2 * UNKNOWN, 1));
        servers.answered(addr(0), Took::Exactly(5), true, 1_000);
        (0..9).for_each(|n| servers.silent(addr(0), 990 + n, Some(UNKNOWN), true, 1_400));
        assert_eq!(servers.view()[0].silences, 0, "the packet was lost, the server lives");
    }

    #[test]
    fn a_refused_server_is_dead_at_once() {
        let mut servers = servers();
        let fault = Fault::Unreachable(std::io::ErrorKind::ConnectionRefused);
        servers.unreachable(addr(0), fault, true, 0);
        assert!(servers.dead(addr(0)));
        assert_eq!(pick(&mut servers, &[Tries::default()], DOWN_AFTER * 2, 0), Some(0), "asking it costs no time");
    }

    #[test]
    fn resolv_fallback_stands_in_while_every_server_is_dead() {
        let mut servers = servers();
        let mut of = candidates(&[Tries::default(); 3]);
        of[2].reserve = true;
        let pick = |servers: &mut Servers| servers.choose(&of, 5, RTT_BAND, 10, |_| 0);
        assert_eq!(pick(&mut servers), Some(0));
        kill(&mut servers, 0, 0);
        assert_eq!(pick(&mut servers), Some(1));
        kill(&mut servers, 1, 0);
        assert_eq!(pick(&mut servers), Some(2));
        servers.answered(addr(1), Took::Unknown, true, 10);
        assert_eq!(pick(&mut servers), Some(1));
    }

    #[test]
    fn cve_2026_52690_edns_is_given_up_only_when_it_is_certain() {
        let mut servers = servers();
        let hour = 3_600_000;
        servers.useless_edns(addr(0), 0);
        assert!(!servers.plain(addr(0), 0));
        servers.useless_edns(addr(0), 0);
        assert!(servers.plain(addr(0), 1) && !servers.plain(addr(0), hour), "infra-host-ttl");
        servers.answered(addr(1), Took::Unknown, true, 0);
        (0..9).for_each(|_| servers.useless_edns(addr(1), 1));
        assert!(!servers.plain(addr(1), 2), "it has shown that it speaks EDNS");
    }

    #[test]
    fn infra_host_ttl_and_infra_cache_numhosts_bound_the_memory() {
        let mut servers = Servers::new(Limits { infra_numhosts: 2, ..Limits::default() });
        for n in 0..5 {
            servers.answered(addr(n), Took::Exactly(100), true, u64::from(n));
        }
        assert_eq!(servers.view().iter().map(|view| view.addr).collect::<Vec<_>>(), [addr(3), addr(4)]);
        servers.asked(addr(4), 900_004);
        let view = servers.view();
        assert_eq!((view[1].srtt_ms, view[1].wait_ms, view[1].queries), (None, UNKNOWN, 1));
    }

    #[test]
    fn outbound_msg_retry_ends_it() {
        let mut servers = servers();
        let spent = [Tries { failures: 5, silences: 0 }, Tries { failures: 0, silences: 10 }];
        assert_eq!(pick(&mut servers, &spent, 0, 0), None);
        assert_eq!(pick(&mut servers, &[Tries { failures: 4, silences: 1 }], 0, 0), Some(0));
        assert_eq!(pick(&mut servers, &[], 0, 0), None);
    }
}
