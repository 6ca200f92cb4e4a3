//! Packets that measure a server and nothing else.
//!
//! It owns exchanges nobody waits for: a copy of a question sent to a server that is dead or slow, to see whether that has
//! changed, and the exchanges that a finished question leaves behind while their server may still answer. Of a reply only
//! the time counts. No client waits, nothing is remembered but the server's health.

use std::net::SocketAddr;

use store::Millis;
use wire::{Name, Reply, Rtype};

use super::state::{Flight, How, State, asked};
use super::{Effect, Mesh, SendId, Transport};
use crate::limits::MAX_PROBES;
use crate::select::Took;

/// An exchange under way that only measures.
pub(super) struct Probe {
    pub(super) server: SocketAddr,
    over: Transport,
    id: u16,
    name: Name,
    qtype: Rtype,
    sent: Millis,
    /// Its entry among the mesh's timers.
    due: Millis,
}

impl Mesh {
    /// Sends a copy of the question to a server that deserves another look, beside the one at `chosen`.
    pub(super) fn probe_another(&mut self, now: Millis, state: &State, chosen: usize) {
        if state.servers.len() < 2 || self.probes.len() >= MAX_PROBES {
            return;
        }
        let Some(index) = self.servers.worth_a_probe(&state.candidates(true), chosen, now) else { return };
        let Some((server, tcp_only)) = state.servers.get(index).map(|target| (target.addr, target.tcp_only)) else {
            return;
        };
        let over = if tcp_only { Transport::Tcp } else { Transport::Udp };
        let how = How { over, edns: !self.servers.plain(server, now) };
        let (id, packet) = self.packet(state, how, None);
        let send = SendId(self.number());
        let due = now + self.servers.probe_time(server);
        let (name, qtype) = state.asks.clone();
        self.probes.insert(send, Probe { server, over, id, name, qtype, sent: now, due });
        self.timers.insert((due, send.0));
        self.counts.probes += 1;
        self.servers.asked(server, now);
        self.say(4, || format!("probing {}", server.ip()));
        self.effects.push(Effect::Send { id: send, server, over, packet, deadline: due });
    }

    /// Listens on for the reply of an exchange whose question is over; the socket stays open.
    pub(super) fn keep_listening(&mut self, now: Millis, state: &State, flight: &Flight) {
        let due = flight.silent_at.unwrap_or(now).max(now + 1);
        let (name, qtype) = state.asks.clone();
        let Flight { server, over, id, sent, send, .. } = *flight;
        self.probes.insert(send, Probe { server, over, id, name, qtype, sent, due });
        self.timers.insert((due, send.0));
    }

    /// Whether this server is being measured already.
    pub(super) fn probed(&self, server: SocketAddr) -> bool {
        self.probes.values().any(|probe| probe.server == server)
    }

    /// Octets came for a probe. False if they were not to it.
    pub(super) fn hear_probe(&mut self, now: Millis, id: SendId, bytes: &[u8]) -> bool {
        let Some(probe) = self.probes.get(&id) else { return false };
        let Ok(reply) = Reply::parse(bytes) else { return false };
        if reply.id != probe.id || !asked(&reply, probe.name.as_ref(), probe.qtype) {
            return false;
        }
        let took = match probe.over {
            Transport::Udp => Took::Exactly(now.saturating_sub(probe.sent)),
            Transport::Tcp => Took::Unknown,
        };
        let server = probe.server;
        self.servers.answered(server, took, reply.edns.is_some(), now);
        self.end_probe(id);
        self.effects.push(Effect::Cancel { id });
        true
    }

    /// Nothing came for a probe in its time. Whoever calls this closes the socket.
    pub(super) fn probe_silent(&mut self, now: Millis, id: SendId) {
        let Some(probe) = self.probes.get(&id) else { return };
        let (server, sent, qtype) = (probe.server, probe.sent, probe.qtype);
        self.servers.silent_to(server, qtype, now);
        self.servers.silent(server, sent, None, false, now);
        self.end_probe(id);
    }

    /// Takes a probe off the books.
    pub(super) fn end_probe(&mut self, id: SendId) {
        if let Some(probe) = self.probes.remove(&id) {
            self.timers.remove(&(probe.due, id.0));
        }
    }
}
