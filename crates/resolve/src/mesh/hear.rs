//! What a reply means for the question.
//!
//! It owns the matching of replies (RFC 5452 9.1), and the ways in which a server is asked once more in another manner:
//! over TCP, without EDNS. It judges the header and the question of a reply; the records are `scrub`'s.
//!
//! What does not belong to the packet that was sent is passed over when it came by UDP, for anybody may have sent it, and
//! the exchange goes on; but another server is asked as well, and after [`MAX_STRAYS`] of them the question goes on over
//! TCP (CVE-2025-5994). Over TCP there is one speaker, and what is wrong is its own mistake.
//!
//! With `use-caps-for-id` the name is written in random case, and a reply must repeat it exactly. One that has the right id
//! and the right name in another case is not believed: the same server is asked over TCP, where nobody else can answer and
//! case need not be kept. Unbound asks several servers over UDP and compares; that fails where answers differ from
//! one moment to the next, and three packets can be forged as one can.

use store::Millis;
use wire::types::flag;
use wire::{Class, NameBuf, Rcode, Reply, Rtype};

use super::state::{Flight, How, State};
use super::{Effect, Mesh, SendId, Transport};
use crate::limits::MAX_STRAYS;
use crate::scrub::reunite;
use crate::select::Took;
use crate::trace::Step;
use crate::why::Fault;

/// Octets of the fixed part of a message.
const HEADER: usize = 12;

/// What octets that came for an exchange are.
pub(super) enum Heard {
    /// Not to the packet that was sent.
    Stray(Fault),
    /// The right name in another case.
    WrongCase,
    /// The server does not know EDNS, or not this version.
    NoEdns,
    /// There is more, over TCP.
    Truncated,
    /// The server's, and of no use.
    Useless(Fault),
    /// A reply to the question, with an OPT record or without.
    Reply(Box<Reply>),
}

/// Judges octets by their header and question.
fn judge(state: &State, flight: &Flight, bytes: &[u8]) -> Heard {
    let Some(&[id0, id1, flags0, flags1, q0, q1, ..]) = bytes.first_chunk::<HEADER>() else {
        return Heard::Stray(Fault::Malformed);
    };
    if [id0, id1] != flight.id.to_be_bytes() {
        return Heard::Stray(Fault::WrongId);
    }
    let flags = u16::from_be_bytes([flags0, flags1]);
    if flags & flag::QR == 0 || flags & flag::OPCODE != 0 {
        return Heard::Stray(Fault::Malformed);
    }
    let code = Rcode(flags & flag::RCODE);
    let truncated = flags & flag::TC != 0;
    let error = !matches!(code, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN);
    match u16::from_be_bytes([q0, q1]) {
        // Errors may leave the question out, and what is truncated may end before it.
        0 if error || truncated => {}
        1 => match question(bytes) {
            Some((name, qtype, qclass)) => {
                let right = name.as_ref() == state.asks.0.as_ref();
                if !right || qtype != state.asks.1 || qclass != Class::IN {
                    return Heard::Stray(Fault::WrongQuestion);
                }
                if flight.cased.as_ref().is_some_and(|cased| !cased.as_ref().same_case(name.as_ref())) {
                    return Heard::WrongCase;
                }
            }
            None if truncated => {}
            None => return Heard::Useless(Fault::Malformed),
        },
        _ => return Heard::Stray(Fault::WrongQuestion),
    }
    if flight.edns && matches!(code, Rcode::FORMERR | Rcode::NOTIMP) {
        // RFC 6891 7: a server from before EDNS.
        return Heard::NoEdns;
    }
    if truncated {
        return Heard::Truncated;
    }
    match Reply::parse(bytes) {
        // BADVERS: it knows OPT but not version 0; without it there is nothing to disagree about.
        Ok(reply) if flight.edns && reply.rcode == Rcode::BADVERS => Heard::NoEdns,
        Ok(mut reply) => {
            reunite(&mut reply, state.asks.1);
            Heard::Reply(Box::new(reply))
        }
        Err(_) => Heard::Useless(Fault::Malformed),
    }
}

/// The question of a message that has one.
fn question(bytes: &[u8]) -> Option<(NameBuf, Rtype, Class)> {
    let (name, after) = NameBuf::from_packet(bytes, HEADER).ok()?;
    let &[t0, t1, c0, c1] = bytes.get(after..)?.first_chunk::<4>()?;
    Some((name, Rtype(u16::from_be_bytes([t0, t1])), Class(u16::from_be_bytes([c0, c1]))))
}

/// How much of its tries a fault costs an authoritative server: who does not serve the zone, or will not, is not asked
/// twice; who fails is asked once more (RFC 9520 3.1).
fn weight(fault: Fault) -> u8 {
    match fault {
        Fault::Lame | Fault::Said(Rcode::REFUSED | Rcode::NOTAUTH) => u8::MAX,
        Fault::Said(_) | Fault::NoAnswer => 3,
        _ => 1,
    }
}

impl Mesh {
    /// Octets came for an exchange. False if they were passed over as not to the packet that was sent: an unwanted reply.
    pub fn reply(&mut self, now: Millis, id: SendId, bytes: &[u8], over: Transport) -> bool {
        let taken = self.hear(now, id, bytes, over);
        self.settle(now);
        taken
    }

    fn hear(&mut self, now: Millis, id: SendId, bytes: &[u8], over: Transport) -> bool {
        if self.probes.contains_key(&id) {
            return self.hear_probe(now, id, bytes);
        }
        let Some(state) = self.take(id) else { return false };
        let Some(flight) = state.flight(id).filter(|flight| flight.over == over).cloned() else {
            self.park(state);
            return false;
        };
        let heard = judge(&state, &flight, bytes);
        state.note(now, || super::steps::hears(now, &flight, over, bytes.len(), &heard));
        if let Heard::Stray(fault) = heard {
            match over {
                Transport::Udp => self.stray(now, state, flight, fault),
                Transport::Tcp => self.useless(now, state, &flight, fault),
            }
            return over == Transport::Tcp;
        }
        let took = match over {
            Transport::Tcp => Took::Unknown,
            Transport::Udp if flight.resent() => {
                Took::Between(now.saturating_sub(flight.last), now.saturating_sub(flight.sent))
            }
            Transport::Udp => Took::Exactly(now.saturating_sub(flight.sent)),
        };
        let edns = matches!(&heard, Heard::Reply(reply) if reply.edns.is_some());
        self.servers.answered(flight.server, took, edns, now);
        self.say(2, || format!("response for {}", super::serve::Asked(&state.key)));
        self.say(2, || format!("reply from {}", state.at(flight.server)));
        match heard {
            Heard::NoEdns => self.again(now, state, &flight, How { over, edns: false }),
            Heard::Truncated if over == Transport::Udp => {
                self.again(now, state, &flight, How { over: Transport::Tcp, edns: flight.edns })
            }
            Heard::Truncated => self.useless(now, state, &flight, Fault::Truncated),
            Heard::WrongCase => {
                let mut state = state;
                state.tcp = true;
                state.last_fault = Some((flight.server, Fault::WrongCase));
                state.note(now, || Step::Useless { server: flight.server, fault: Fault::WrongCase });
                self.again(now, state, &flight, How { over: Transport::Tcp, edns: flight.edns });
            }
            Heard::Stray(fault) | Heard::Useless(fault) => self.useless(now, state, &flight, fault),
            Heard::Reply(reply) if !matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN) => {
                self.useless(now, state, &flight, Fault::Said(reply.rcode));
            }
            Heard::Reply(reply) => self.useful(now, state, &flight, *reply),
        }
        true
    }

    /// A datagram that is not to the packet it came for.
    fn stray(&mut self, now: Millis, mut state: Box<State>, flight: Flight, fault: Fault) {
        state.note(now, || Step::Useless { server: flight.server, fault });
        self.counts.strays += 1;
        state.last_fault = Some((flight.server, fault));
        self.servers.useless(flight.server, fault, now);
        let strays = flight.strays + 1;
        if strays >= MAX_STRAYS {
            state.tcp = true;
            self.say(4, || format!("{} {fault}: going on over TCP", flight.server.ip()));
            return self.again(now, state, &flight, How { over: Transport::Tcp, edns: flight.edns });
        }
        if let Some(flight) = state.flight_mut(flight.send) {
            flight.strays = strays;
        }
        if strays == 1 {
            self.ask_another(now, &mut state);
        }
        self.park(state);
    }

    /// Asks the same server once more, in another manner.
    fn again(&mut self, now: Millis, mut state: Box<State>, flight: &Flight, how: How) {
        self.land(&mut state, flight);
        if let Some(target) = state.servers.get_mut(flight.index).filter(|_| flight.edns && !how.edns) {
            target.shuns_edns = true;
        }
        if self.may_send(&state) && now < state.ends {
            self.transmit(now, &mut state, flight.index, Some(how));
            return self.park(state);
        }
        self.ask(now, state);
    }

    /// A server has said its last word in this exchange, and it is of no use.
    pub(super) fn useless(&mut self, now: Millis, mut state: Box<State>, flight: &Flight, fault: Fault) {
        self.say(2, || "query response was THROWAWAY".to_owned());
        state.note(now, || Step::Useless { server: flight.server, fault });
        self.land(&mut state, flight);
        if let Some(target) = state.servers.get_mut(flight.index) {
            let weight = if state.hunt.is_some() { weight(fault) } else { 1 };
            target.tries.failures = target.tries.failures.saturating_add(weight);
        }
        self.servers.useless(flight.server, fault, now);
        state.last_fault = Some((flight.server, fault));
        if state.hunt.is_some() && !state.asks_all() && self.ask_all(now, &mut state, flight.index) {
            return self.ask(now, state);
        }
        self.ask(now, state);
    }

    /// A reply to the question: the search ends, or goes on from a link, or at servers that know more.
    fn useful(&mut self, now: Millis, mut state: Box<State>, flight: &Flight, reply: Reply) {
        if state.hunt.is_some() {
            return self.hear_authority(now, state, flight, reply);
        }
        let Some(finding) = self.find(&state, reply) else {
            return self.useless(now, state, flight, Fault::WrongQuestion);
        };
        self.took(now, &mut state, flight);
        self.use_reply(now, state, finding);
    }

    /// An exchange had a reply that was of use.
    pub(super) fn took(&mut self, now: Millis, state: &mut State, flight: &Flight) {
        self.land(state, flight);
        state.from = Some(flight.server);
        let raced = !state.flights.is_empty();
        self.servers.useful(flight.server, raced, now);
        self.counts.races += u64::from(raced);
        let target = state.servers.get(flight.index).copied();
        if !flight.edns && target.is_some_and(|target| target.shuns_edns) {
            self.servers.useless_edns(flight.server, now);
        }
        if target.is_some_and(|target| target.no_cache) {
            state.keep_from = state.chain.len() + 1;
        }
    }

    /// Closes an exchange that had its reply.
    fn land(&mut self, state: &mut State, flight: &Flight) {
        self.flights.remove(&flight.send);
        state.take_flight(flight.send);
        self.effects.push(Effect::Cancel { id: flight.send });
    }
}
