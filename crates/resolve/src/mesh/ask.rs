//! SEEK and ASK: who knows about the target, and what leaves for whom, and when.
//!
//! It owns the choice between sending, sending again, asking a second server as well, and giving up; and what happens when
//! time passes. It never reads a reply.

use std::sync::Arc;

use rand_chacha::rand_core::Rng;
use store::{Found, Millis, Security};
use wire::types::flag;
use wire::{Class, Name, Rcode, Rtype};

use super::state::{Flight, How, State, Target};
use super::{Effect, HEDGE_COST, Mesh, SendId, Transport};
use crate::forward::ForwardZone;
use crate::limits::{
    EXPLORE_BAND, EXPLORE_SHARE, HEDGE_BURST, HEDGE_SHARE, MAX_FLIGHTS, PLACE_CHECK, RTT_BAND, STREAM_HEDGE, TCP_TIME,
};
use crate::recursion::Family;
use crate::select::Tries;
use crate::trace::{Step, Turn};
use crate::why::{Failure, Fault};

/// Octets of the largest query: header, a name of 255 octets, type and class, an OPT record without options.
const MAX_QUERY: usize = 12 + 255 + 4 + 11;
/// Silences of a server after which the question is put to it once without EDNS, if nobody knows that it speaks EDNS: some
/// drop what they do not understand.
const TRY_PLAIN_AFTER: u8 = 2;

/// The servers of a zone, untried.
fn targets(zone: &ForwardZone, reserve: bool) -> impl Iterator<Item = Target> {
    let ForwardZone { tcp_only, no_cache, .. } = *zone;
    let target = move |addr| Target {
        addr,
        tries: Tries::default(),
        reserve,
        shuns_edns: false,
        borrows: false,
        unsigned: false,
        tcp_only,
        no_cache,
    };
    zone.servers.iter().map(move |server| target(server.addr))
}

impl Mesh {
    /// SEEK: who knows about the target? Maybe the store: the answer, if a link led there (else the driver has looked), or
    /// the next link, learned when another type of the same name was asked for.
    pub(super) fn seek(&mut self, now: Millis, mut state: Box<State>) {
        // Priming begins at the hints, or a forward zone that was passed by (`forward-first`) would be asked again.
        let zone = if self.primes(&state) {
            None
        } else {
            state.forwards.route(state.target.as_ref(), state.key.qtype).cloned()
        };
        let first = state.chain.is_empty();
        // A refresh goes past what is known of the name it refreshes, not past what a link leads to.
        let past = first && (state.refresh || state.seeks_glue) || state.fresh;
        state.from = None;
        if zone.as_ref().is_none_or(|zone| !zone.no_cache) && !past {
            let (target, key) = (state.target.as_ref(), &state.key);
            // What a client asks, the driver has looked for; but it passes by what is not proven.
            let trusts = state.forwards.trust().is_some();
            let known = if first && state.depth == 0 && !trusts { None } else { self.memory.known(target, key, now) };
            let own = state.forwards.apex(target, key.qtype);
            // What was refused because the chain to it is broken is asked for when somebody wants it all the same (CD).
            let refused = |known: &Found| known.answer.rcode == Rcode::SERVFAIL && known.security == Security::Bogus;
            let bold = state.clients.iter().any(|client| client.cd);
            if let Some(known) = known.filter(|known| !bold || !refused(known)) {
                return self.finish_known(now, state, known);
            }
            if let Some(known) = self.memory.implied(target, own, key, now, &self.limits) {
                state.note(now, || Step::Follows { denial: false });
                return self.finish_known(now, state, known);
            }
            let forwards = Arc::clone(&state.forwards);
            if let Some(found) = self.denied(now, state.target.as_ref(), key, state.raw, &forwards) {
                state.note(now, || Step::Follows { denial: true });
                return self.finish_known(now, state, found);
            }
            let root = Name::root();
            let apex = zone.as_ref().map_or(root.as_ref(), |zone| zone.name.as_ref());
            // Beside a CNAME stand its own NSEC record and signatures (RFC 4035 2.5).
            if !matches!(key.qtype, Rtype::DS | Rtype::DNSKEY | Rtype::ANY | Rtype::NSEC | Rtype::RRSIG)
                && let Some((link, target)) = self.memory.link(target, apex, key, now)
            {
                if key.qtype != Rtype::CNAME {
                    state.note(now, || Step::Link { to: target.clone(), remembered: true });
                    return self.follow(now, state, link, target);
                }
                // The CNAME that a proven DNAME means is itself the answer.
                if let Some(dname) = link.answer.answer.first().filter(|set| set.rtype == Rtype::DNAME) {
                    state.note(now, || Step::Follows { denial: false });
                    let left = dname.ttl;
                    return self.conclude(now, state, link.answer, false, Some(left), link.security);
                }
            }
        }
        if let Some(failure) = self.broken_chain(now, &state) {
            return self.fail(now, *state, &failure);
        }
        (state.sends, state.last_fault) = (0, None);
        let Some(zone) = zone else {
            return self.descend_anew(now, state);
        };
        self.enter(now, state, zone);
    }

    /// The servers of this zone are asked from now on.
    pub(super) fn enter(&mut self, now: Millis, mut state: Box<State>, zone: Arc<ForwardZone>) {
        if zone.no_cache {
            state.keep_from = state.chain.len() + 1;
        }
        self.ground(now, &mut state);
        state.asks = (state.target.clone(), state.key.qtype);
        state.hunt = None;
        let own = |addr| zone.servers.iter().any(|server| server.addr == addr);
        state.servers = targets(&zone, false).collect();
        if let Some(reserve) = state.forwards.fallback() {
            state.servers.extend(targets(reserve, true).filter(|target| !own(target.addr)));
        }
        state.note(now, || super::steps::forward(&zone, &state));
        let none = state.servers.is_empty();
        state.zone = Some(zone);
        if none {
            return self.give_up(now, state);
        }
        self.hedges = (self.hedges + HEDGE_SHARE).min(HEDGE_BURST * HEDGE_COST);
        let Some(index) = self.choose(now, &state, false) else {
            return self.give_up(now, state);
        };
        self.transmit(now, &mut state, index, None);
        if self.limits.upstream_racing {
            self.race(now, &mut state);
        } else {
            self.probe_another(now, &state, index);
        }
        self.park(state);
    }

    /// `upstream-racing`: all others that live are asked at the same time.
    fn race(&mut self, now: Millis, state: &mut State) {
        while state.flights.len() < MAX_FLIGHTS && self.ask_another(now, state) {}
    }

    /// ASK: if nobody who was asked is still in time, the next server, if there is one and time is left.
    pub(super) fn ask(&mut self, now: Millis, mut state: Box<State>) {
        if state.proof.is_some() {
            return self.wait_for_proof(now, state);
        }
        if now >= state.ends {
            return self.give_up(now, state);
        }
        if state.pending() {
            return self.park(state);
        }
        if self.may_send(&state)
            && let Some(index) = self.choose(now, &state, false)
        {
            self.transmit(now, &mut state, index, None);
            if self.limits.upstream_racing && state.hunt.is_some() {
                self.race(now, &mut state);
            }
            return self.park(state);
        }
        self.give_up(now, state);
    }

    /// Whether one more packet may leave for this question.
    pub(super) fn may_send(&self, state: &State) -> bool {
        state.sends < self.limits.max_sends && (state.hunt.is_none() || state.work.may_send(&self.limits))
    }

    /// Asks a server that lives and is not asked yet, beside those that are. False if there is none.
    pub(super) fn ask_another(&mut self, now: Millis, state: &mut State) -> bool {
        if state.flights.len() >= MAX_FLIGHTS || !self.may_send(state) || now >= state.ends {
            return false;
        }
        let Some(index) = self.choose(now, state, true) else { return false };
        if state.servers.get(index).is_none_or(|target| self.servers.dead(target.addr)) {
            return false;
        }
        self.transmit(now, state, index, None);
        true
    }

    /// How often one server is tried for a question.
    pub(super) fn retry(&self, state: &State) -> u8 {
        // Where another zone stands in, its servers should not have to wait for all the tries here.
        let moves_on = state.zone.as_ref().is_some_and(|zone| zone.first);
        if moves_on { 1 } else { self.limits.msg_retry }
    }

    fn choose(&mut self, now: Millis, state: &State, others_only: bool) -> Option<usize> {
        let retry = self.retry(state);
        let prefer = state.forwards.recursion().and_then(|recursion| recursion.prefer).filter(|_| state.hunt.is_some());
        let Mesh { servers, rng, .. } = self;
        // An authority is explored by a question now and then, a forwarder by probes.
        let explores = state.hunt.is_some() && state.servers.len() > 1 && Mesh::draw(rng, EXPLORE_SHARE) == 0;
        let band = if explores { EXPLORE_BAND } else { RTT_BAND };
        if let Some(family) = prefer {
            // The other family is asked when no server of this one lives, or this question was put to all of them in vain.
            let mut preferred = state.candidates(others_only);
            for candidate in &mut preferred {
                let other = candidate.addr.is_ipv4() != (family == Family::V4);
                candidate.left_out |= other || servers.dead(candidate.addr) || candidate.tries != Tries::default();
            }
            let chosen = servers.choose(&preferred, retry, band, now, |len| Mesh::draw(rng, len));
            if chosen.is_some() {
                return chosen;
            }
        }
        servers.choose(&state.candidates(others_only), retry, band, now, |len| Mesh::draw(rng, len))
    }

    /// What a client would hear that joined a question all of whose servers are down: one question probes them, others need
    /// not wait for it.
    pub(super) fn hopeless(&self, now: Millis, state: &State) -> Option<Failure> {
        let zone = state.zone.as_ref()?;
        let down = state.servers.iter().all(|target| self.servers.down(target.addr, state.asks.1, now));
        let addr = state.servers.first().map(|target| target.addr)?;
        down.then(|| Failure::Down(zone.name.clone(), addr, self.servers.mute_for(addr, now).unwrap_or(0)))
    }

    /// No server of the zone is left. With `forward-first` the question goes on as if the zone were not there.
    pub(super) fn give_up(&mut self, now: Millis, mut state: Box<State>) {
        if state.hunt.is_some() {
            return self.run_dry(now, state);
        }
        let Some(zone) = state.zone.clone() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let time_left = now < state.ends;
        let above = state.forwards.above(zone.name.as_ref()).cloned().filter(|_| zone.first && time_left);
        if let Some(above) = above {
            self.say(4, || format!("forward-first: {} failed, going on with {}", zone.name, above.name));
            state.last_fault = None;
            state.note(now, || Step::Turns { zone: zone.name.clone(), turn: Turn::ForwardFirst });
            return self.enter(now, state, above);
        }
        if zone.first && time_left && state.forwards.recursion().is_some() {
            self.say(4, || format!("forward-first: {} failed, going on from the root", zone.name));
            state.note(now, || Step::Turns { zone: zone.name.clone(), turn: Turn::ForwardFirst });
            return self.descend_anew(now, state);
        }
        let name = zone.name.clone();
        let failure = match state.last_fault {
            Some((server, fault)) if zone.first => Failure::NoneAbove(name, server, fault),
            Some((server, fault)) if time_left => Failure::AllFailed(name, server, fault),
            Some((server, fault)) => Failure::TimeUp(name, server, fault),
            None if zone.servers.is_empty() => Failure::NoServers(name),
            None => match state.servers.first().filter(|_| time_left && state.sends == 0) {
                Some(target) => {
                    let mute = self.servers.mute_for(target.addr, now).unwrap_or(0);
                    Failure::Down(name, target.addr, mute)
                }
                None => Failure::OutOfTime(name),
            },
        };
        self.fail(now, *state, &failure);
    }

    /// Puts the question to a server: again on the socket where it has it already, or on a new one.
    pub(super) fn transmit(&mut self, now: Millis, state: &mut State, index: usize, how: Option<How>) {
        let Some(target) = state.servers.get(index).copied() else { return };
        let server = target.addr;
        let tcp = state.tcp || target.tcp_only;
        let over = how.map_or(if tcp { Transport::Tcp } else { Transport::Udp }, |how| how.over);
        let try_plain = over == Transport::Udp
            && target.tries.silences == TRY_PLAIN_AFTER
            && !self.servers.speaks_edns(server, now);
        let edns = how.map_or(!try_plain && !self.servers.plain(server, now), |how| how.edns);
        let wait = match over {
            Transport::Tcp => TCP_TIME,
            // A dead one that is tried again must not hold up a question others can answer.
            Transport::Udp if state.servers.len() > 1 && self.servers.dead(server) => {
                self.servers.wait(server).min(self.limits.unknown_server_time)
            }
            Transport::Udp => self.servers.wait(server),
        };
        let silent_at = Some((now + wait.max(1)).min(state.ends.max(now + 1)));
        state.sends = state.sends.saturating_add(1);
        if state.hunt.is_some() {
            state.work.sent();
        }
        if let Some(target) = state.servers.get_mut(index).filter(|_| try_plain && !edns) {
            target.shuns_edns = true;
        }
        let same = |flight: &&mut Flight| {
            flight.index == index && flight.over == over && flight.edns == edns && over == Transport::Udp
        };
        if let Some(flight) = state.flights.iter_mut().find(same) {
            (flight.last, flight.silent_at) = (now, silent_at);
            self.effects.push(Effect::Resend { id: flight.send });
            self.counts.resent += 1;
            state.note(now, || Step::AsksAgain { server, wait });
            return self.say(4, || format!("sending again to {}", server.ip()));
        }
        if state.flights.len() >= MAX_FLIGHTS {
            // The one that has been silent the longest makes room.
            let oldest = state.flights.iter().position(|flight| !flight.pending()).unwrap_or(0);
            let flight = state.flights.remove(oldest);
            self.close(now, &flight);
        }
        let caps =
            self.limits.caps_for_id && over == Transport::Udp && !state.forwards.caps_exempt(state.target.as_ref());
        let cased = caps.then(|| self.in_random_case(&state.asks.0));
        let (id, packet) = self.packet(state, How { over, edns }, cased.as_ref());
        let send = SendId(self.number());
        let unusual = self.servers.unusual(server).filter(|after| *after < wait);
        let slow = if over == Transport::Tcp { Some(STREAM_HEDGE) } else { unusual };
        let hedges = state.servers.len() > 1 && !self.limits.upstream_racing;
        let hedge_at = slow.filter(|_| hedges).map(|after| now + after);
        let flight = Flight {
            send,
            index,
            server,
            over,
            edns,
            id,
            cased,
            sent: now,
            last: now,
            silent_at,
            hedge_at,
            strays: 0,
            held: false,
        };
        state.note(now, || self.asks(now, state, index, &flight, how.is_some()));
        state.flights.push(flight);
        self.flights.insert(send, state.number);
        self.servers.asked(server, now);
        self.say(3, || format!("sending query: {} {} {}", state.asks.0, state.asks.1, Class::IN));
        self.say(3, || format!("sending to target: {}", state.at(server)));
        // A stream is closed when it was silent; over UDP a late reply counts until the question is over.
        let deadline = state.ends.max(now + 1);
        self.effects.push(Effect::Send { id: send, server, over, packet, deadline });
    }

    /// The octets of a query and their message id.
    pub(super) fn packet(&mut self, state: &State, how: How, cased: Option<&Name>) -> (u16, Vec<u8>) {
        let id = (self.rng.next_u32() >> 16) as u16;
        // An authority is asked for what it has; one that only recurses, as a last resort, to recurse.
        let recurse = state.hunt.as_ref().is_none_or(|hunt| hunt.recursing);
        let flags = if recurse { flag::RD } else { 0 } | if self.passes_cd(state) { flag::CD } else { 0 };
        let edns = how.edns.then_some((self.limits.edns_buffer_size, self.limits.edns_do));
        let name = cased.unwrap_or(&state.asks.0).as_ref();
        let mut buffer = [0; MAX_QUERY];
        let len = wire::question(&mut buffer, id, flags, name, state.asks.1, Class::IN, edns);
        (id, buffer.get(..len).unwrap_or_default().to_vec())
    }

    /// The name with each letter in a case drawn by chance (`use-caps-for-id`).
    fn in_random_case(&mut self, name: &Name) -> Name {
        let mut wire = name.as_ref().as_wire().to_vec();
        let mut bits = 0;
        for (n, octet) in wire.iter_mut().enumerate() {
            if n.is_multiple_of(32) {
                bits = self.rng.next_u32();
            }
            // Lengths of labels are below 64 and no letters.
            if octet.is_ascii_alphabetic() && bits >> (n % 32) & 1 == 1 {
                octet.make_ascii_uppercase();
            }
        }
        Name::from_wire(&wire).unwrap_or_else(|_| name.clone())
    }

    /// What is due in a state: servers that were silent for as long as they take, a second server, clients that have
    /// waited long enough, the end.
    pub(super) fn due(&mut self, now: Millis, mut state: Box<State>) {
        let silent: Vec<SendId> =
            state.flights.iter().filter(|f| f.silent_at.is_some_and(|at| at <= now)).map(|f| f.send).collect();
        for id in silent {
            self.count_silence(now, &mut state, id);
            if state.flight(id).is_some_and(|flight| flight.over == Transport::Tcp) {
                self.flights.remove(&id);
                state.take_flight(id);
                self.effects.push(Effect::Cancel { id });
            }
        }
        let slow: Vec<SendId> =
            state.flights.iter().filter(|f| f.hedge_at.is_some_and(|at| at <= now)).map(|f| f.send).collect();
        for id in slow {
            let Some(flight) = state.flight_mut(id) else { continue };
            if flight.held {
                flight.hedge_at = Some(now + PLACE_CHECK);
                self.make_place(now, &state);
                continue;
            }
            flight.hedge_at = None;
            // A stream after a truncated datagram is rare, and its server has had its say: that hedge is free.
            let free =
                flight.over == Transport::Tcp && !state.tcp && !state.servers.iter().any(|target| target.tcp_only);
            if (free || self.hedges >= HEDGE_COST) && self.ask_another(now, &mut state) {
                self.hedges -= if free { 0 } else { HEDGE_COST };
                self.counts.hedged += 1;
            }
        }
        self.tell_due(now, &mut state);
        self.ask_all_after_silence(now, &mut state);
        self.ask(now, state);
    }

    /// An exchange was silent for as long as its server usually takes.
    pub(super) fn count_silence(&mut self, now: Millis, state: &mut State, id: SendId) {
        let Some(flight) = state.flight_mut(id) else { return };
        let Some(due) = flight.silent_at.take() else { return };
        flight.hedge_at = None;
        let Flight { index, server, over, last, strays, .. } = *flight;
        let mut again = true;
        state.note(now, || Step::Silent { server, over, after: due.saturating_sub(last) });
        if let Some(target) = state.servers.get_mut(index) {
            match over {
                Transport::Udp => {
                    target.tries.silences = target.tries.silences.saturating_add(1);
                    again = target.tries.silences.is_multiple_of(2);
                }
                Transport::Tcp => target.tries.failures = target.tries.failures.saturating_add(1),
            }
        }
        // As long as was meant, not as late as the timer came.
        if over == Transport::Tcp {
            self.servers.streamless(server, now);
        }
        let waited = (over == Transport::Udp).then_some(due.saturating_sub(last));
        self.servers.silent_to(server, state.asks.1, now);
        self.servers.silent(server, last, waited, again, now);
        if strays == 0 {
            state.last_fault = Some((server, Fault::Silent));
        }
    }

    /// The driver has no place for the socket of this exchange (`outgoing-range`): the packet has not left, and its server
    /// cannot be blamed for silence. [`Mesh::left`] follows when it has, unless the exchange is cancelled before.
    pub fn held(&mut self, now: Millis, id: SendId) {
        if self.probes.contains_key(&id) {
            // Nobody waits for it.
            self.end_probe(id);
            return self.effects.push(Effect::Cancel { id });
        }
        let Some(mut state) = self.take(id) else { return };
        if let Some(flight) = state.flight_mut(id) {
            (flight.held, flight.silent_at, flight.hedge_at) = (true, None, Some(now + PLACE_CHECK));
        }
        state.note(now, || Step::Held { server: state.flight(id).map(|flight| flight.server) });
        self.make_place(now, &state);
        self.park(state);
    }

    /// The packet of an exchange that was [held](Mesh::held) leaves.
    pub fn left(&mut self, now: Millis, id: SendId) {
        let Some(mut state) = self.take(id) else { return };
        let ends = state.ends.max(now + 1);
        if let Some(flight) = state.flight_mut(id).filter(|flight| flight.held) {
            let silent_at = (now + self.servers.wait(flight.server).max(1)).min(ends);
            (flight.held, flight.sent, flight.last) = (false, now, now);
            (flight.silent_at, flight.hedge_at) = (Some(silent_at), None);
        }
        self.park(state);
    }

    /// Places are short: exchanges whose reply could only be late give theirs up, and so do questions whose servers are all
    /// dead, unless the one in need is of these itself. A server that falls silent must not keep others from being asked.
    fn make_place(&mut self, now: Millis, needy: &State) {
        let spent = |flight: &&Flight| flight.over == Transport::Udp && !flight.pending();
        let mut found: Vec<SendId> = Vec::new();
        if now >= self.look_at {
            let all = self.states.values().flat_map(|state| state.flights.iter().filter(spent));
            found.extend(all.map(|flight| flight.send));
            // A walk through all questions; thousands may be in need.
            self.look_at = if found.is_empty() { now + PLACE_CHECK / 10 } else { now };
        }
        for id in found {
            let Some(mut state) = self.take(id) else { continue };
            if let Some(flight) = state.take_flight(id) {
                self.close(now, &flight);
            }
            self.park(state);
        }
        if self.all_dead(needy) {
            return;
        }
        for number in std::mem::take(&mut self.doomed) {
            let Some(state) = self.states.remove(&number) else { continue };
            if self.all_dead(&state) {
                self.counts.jostled += 1;
                self.fail(now, *state, &Failure::Jostled);
            } else {
                self.park(state);
            }
        }
    }

    /// Whether all who could answer are dead.
    pub(super) fn all_dead(&self, state: &State) -> bool {
        state.servers.iter().all(|target| self.servers.dead(target.addr))
    }

    /// Ends all exchanges of a state. One whose server is later than usual, or that nobody knows, is listened to a little
    /// longer: its time is worth knowing, and costs no packet.
    pub(super) fn ground(&mut self, now: Millis, state: &mut State) {
        for flight in std::mem::take(&mut state.flights) {
            let waited = now.saturating_sub(flight.sent);
            let telling = self.servers.unusual(flight.server).is_none_or(|usual| waited >= usual);
            let listen = flight.over == Transport::Udp && flight.silent_at.is_some() && !flight.resent() && telling;
            if listen && self.probes.len() < crate::limits::MAX_PROBES && !self.probed(flight.server) {
                self.flights.remove(&flight.send);
                self.keep_listening(now, state, &flight);
            } else {
                self.close(now, &flight);
            }
        }
    }

    /// Ends an exchange that had no reply.
    fn close(&mut self, now: Millis, flight: &Flight) {
        // One that was silent for long enough to be lost tells nothing of the time its server takes.
        if flight.over == Transport::Udp && flight.silent_at.is_some() {
            self.servers.at_least(flight.server, flight.last, now);
        }
        // Others were faster though they were asked later.
        if flight.over == Transport::Tcp && now.saturating_sub(flight.sent) >= STREAM_HEDGE {
            self.servers.streamless(flight.server, now);
        }
        self.flights.remove(&flight.send);
        self.effects.push(Effect::Cancel { id: flight.send });
    }
}
