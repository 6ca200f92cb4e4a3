//! What the mesh and its driver say to each other.
//!
//! It owns the values that cross between them, and no behaviour.

use std::net::SocketAddr;
use std::sync::Arc;

use store::{Millis, Security};
use wire::{Answer, Class, Name, Rtype};

#[cfg(doc)]
use super::Mesh;
#[cfg(doc)]
use crate::limits::PATIENT_DEADLINE;

/// Who waits for an answer. The driver's own number; the mesh only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// Names one exchange. Never used twice by one mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendId(pub u64);

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// In a stream, after its length in two octets (which the driver writes and reads).
    Tcp,
}

/// What a client wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case.
    pub name: Name,
    /// The type.
    pub qtype: Rtype,
    /// The class; ANY is asked as IN.
    pub qclass: Class,
    /// Checking disabled: passed on to the forwarder, and remembered apart.
    pub cd: bool,
    /// Recursion desired. Without it nothing is sent.
    pub rd: bool,
    /// The client holds on, as over TCP: it is told at [`PATIENT_DEADLINE`] and not at the client deadline.
    pub patient: bool,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this and report [`Mesh::reply`], [`Mesh::timeout`] or [`Mesh::failed`] under `id`. Over UDP from a socket and
    /// port of its own, connected to `server`, so that only that server is heard (RFC 5452 9.2).
    Send {
        /// Names the exchange.
        id: SendId,
        /// Whom to send it to.
        server: SocketAddr,
        /// How.
        over: Transport,
        /// The octets, without a length in front.
        packet: Vec<u8>,
        /// When to close the socket for good and report a timeout, unless it is cancelled before. When to ask again is the
        /// mesh's own business ([`Mesh::next_wake`]).
        deadline: Millis,
    },
    /// Send the same datagram once more on the socket of this exchange, which stays open: the same port and id, so that
    /// nobody gets a second chance to guess them (RFC 5452 4.3).
    Resend {
        /// The exchange.
        id: SendId,
    },
    /// A line for the log, as the verbosity asks for it ([`Mesh::set_verbosity`]).
    Log {
        /// The verbosity from which on it is written.
        level: u8,
        /// The line.
        text: String,
    },
    /// The exchange is over. Close its socket; reports under this id are ignored from now on. Not given for exchanges the
    /// driver ended itself by a timeout or failure.
    Cancel {
        /// The exchange.
        id: SendId,
    },
    /// Answer these clients.
    Answer {
        /// All of whom this is the answer.
        clients: Vec<ClientId>,
        /// What to tell them, TTLs as of now.
        answer: Arc<Answer>,
        /// For SERVFAIL: what Unbound writes after `SERVFAIL <name type class>: ` under `log-servfail`.
        why: Option<String>,
        /// Served after its time.
        stale: bool,
        /// What is known of its truth. `answer.ad` says whether it is [`Security::Secure`]; [`Security::Bogus`] beside
        /// SERVFAIL is why there is nothing else.
        security: Security,
    },
}

/// What a mesh did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that gave way to newer ones (`requestlist.overwritten`).
    pub jostled: u64,
    /// Questions turned away because all places were taken (`requestlist.exceeded`).
    pub exceeded: u64,
    /// Answers served after their time (`num.expired`).
    pub expired: u64,
    /// Questions asked again before their time was over, or behind a stale answer (`num.prefetch`).
    pub prefetches: u64,
    /// Datagrams sent again.
    pub resent: u64,
    /// Second servers asked because the first took longer than usual.
    pub hedged: u64,
    /// Packets sent only to measure a server.
    pub probes: u64,
    /// Questions answered first by one of several servers that were asked at once.
    pub races: u64,
    /// Replies that belonged to no packet.
    pub strays: u64,
    /// Clients told of a failure because the client deadline came.
    pub late: u64,
    /// Signatures that were verified, or tried.
    pub verifications: u64,
    /// The most of them between two moments at which the driver could look after others.
    pub most_at_once: u64,
    /// Record sets that were found to be bogus (`num.rrset.bogus`).
    pub bogus_sets: u64,
    /// Denials and records out of wildcards that were told because of NSEC or NSEC3 records known before
    /// (`num.query.aggressive.NXDOMAIN`, `num.query.aggressive.NOERROR`).
    pub implied_nxdomain: u64,
    /// See `implied_nxdomain`.
    pub implied_noerror: u64,
}
