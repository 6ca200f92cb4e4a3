//! What the steps of a trace are made of.
//!
//! It owns the reading of states for those who want a question explained ([`crate::trace`]), so that the machine itself
//! has one line a step. It changes nothing.

use std::net::SocketAddr;

use store::{Found, Key, Millis};
use wire::{Name, Rtype};

use super::hear::Heard;
use super::state::{Flight, State};
use super::{Mesh, Transport};
use crate::forward::ForwardZone;
use crate::recursion::Family;
use crate::select::Candidate;
use crate::trace::{Choice, Purpose, Said, Step};
use crate::validate::{Part, Why, least};

impl Mesh {
    /// A packet leaves for the server at `index`; `again`: it has just said how it wants to be asked.
    pub(super) fn asks(&self, now: Millis, state: &State, index: usize, flight: &Flight, again: bool) -> Step {
        let choice = if again {
            Choice::Same
        } else if state.flights.iter().any(|other| other.send != flight.send && other.pending()) {
            if self.limits.upstream_racing { Choice::Race } else { Choice::Hedge }
        } else {
            self.servers.why(&self.considered(state, index), index, self.retry(state))
        };
        let (name, qtype) = state.asks.clone();
        let Flight { server, over, edns, silent_at, .. } = *flight;
        Step::Asks { server, over, edns, name, qtype, choice, wait: silent_at.unwrap_or(now).saturating_sub(now) }
    }
}

impl Mesh {
    /// The servers among which the one at `index` was chosen: those of its family, if that is preferred.
    fn considered(&self, state: &State, index: usize) -> Vec<Candidate> {
        let mut of = state.candidates(false);
        let prefer = state.forwards.recursion().and_then(|recursion| recursion.prefer).filter(|_| state.hunt.is_some());
        let is_of = |addr: SocketAddr, family| addr.is_ipv4() == (family == Family::V4);
        let taken = of.get(index).map(|candidate| candidate.addr);
        if let Some(family) = prefer.filter(|family| taken.is_some_and(|addr| is_of(addr, *family))) {
            of.iter_mut().for_each(|candidate| candidate.left_out |= !is_of(candidate.addr, family));
        }
        of
    }
}

/// The store knew the end.
pub(super) fn remembered(known: &Found) -> Step {
    Step::Remembered { rcode: known.answer.rcode, left_s: known.left, security: known.security }
}

/// Servers of a forward zone are asked.
pub(super) fn forward(zone: &ForwardZone, state: &State) -> Step {
    Step::Forward { zone: zone.name.clone(), servers: servers(state) }
}

/// Authoritative servers are asked.
pub(super) fn delegation(state: &State) -> Step {
    let lame = state.servers.iter().filter(|target| target.tries.failures == u8::MAX).count();
    let at = state.hunt.as_ref().map(|hunt| &hunt.at);
    Step::Delegation {
        zone: at.map_or_else(Name::root, |at| at.zone.clone()),
        source: at.map_or(crate::delegation::Source::Stub, |at| at.source),
        names: at.map_or(0, |at| at.hosts.len()),
        servers: servers(state),
        lame,
    }
}

fn servers(state: &State) -> Vec<SocketAddr> {
    state.servers.iter().map(|target| target.addr).collect()
}

/// Another question has to be answered first.
pub(super) fn wants(of: &Key, seeks_glue: bool, question: Option<u64>, joined: bool) -> Step {
    let purpose = match of.qtype {
        Rtype::NS => Purpose::Priming,
        Rtype::DS => Purpose::Ds,
        Rtype::DNSKEY => Purpose::Keys,
        _ if seeks_glue => Purpose::Glue,
        _ => Purpose::Address,
    };
    Step::Wants { name: of.name.clone(), qtype: of.qtype, purpose, question, joined }
}

/// What validation says of an answer.
pub(super) fn judged(links: &[Part], end: &Part) -> Step {
    let parts = || links.iter().chain(std::iter::once(end));
    let reason = parts().find_map(|part| part.why.as_ref()).and_then(Why::reason);
    Step::Judged { security: least(parts()), reason }
}

/// A reply came.
pub(super) fn hears(now: Millis, flight: &Flight, over: Transport, octets: usize, heard: &Heard) -> Step {
    let said = match heard {
        Heard::Truncated => Said::Truncated,
        Heard::NoEdns => Said::NoEdns,
        Heard::Stray(_) | Heard::WrongCase | Heard::Useless(_) => Said::Wrong,
        Heard::Reply(reply) => Said::Reply {
            rcode: reply.rcode,
            aa: reply.aa(),
            answer: reply.answer.len(),
            authority: reply.authority.len(),
            additional: reply.additional.len(),
        },
    };
    Step::Hears { server: flight.server, over, took: now.saturating_sub(flight.sent), octets, said }
}
