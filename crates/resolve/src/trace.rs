//! [`Trace`]: what happened to one question and why, written down while it happens.
//!
//! It owns the list of steps, as data: who reads it makes words of it. A question that somebody wants explained carries a
//! trace ([`crate::Mesh::explain`]), and with it all questions that it waits for; for every other question a step costs the
//! test of an `Option`, and what a step is made of is not even looked at. It decides nothing: no code may behave in
//! another way because a trace is there, else it would explain something that did not happen.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use dnssec::Reason;
use store::{Millis, Security};
use wire::{Ede, Name, Rcode, Rtype};

pub use crate::delegation::Source;
use crate::mesh::Transport;
use crate::why::Fault;

/// Most steps that are written down. One question sends 200 packets at most (`MAX_GLOBAL_QUOTA`), and a packet is two or three
/// steps; the bound is there for loops that nobody has thought of.
pub const MAX_STEPS: usize = 2_000;

/// The steps of one question, shared by the machine that writes and the operator who reads.
#[derive(Debug)]
pub struct Trace {
    began: Millis,
    steps: Mutex<Steps>,
}

/// What was written down.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// In the order in which they happened.
    pub notes: Vec<Note>,
    /// Steps beyond [`MAX_STEPS`].
    pub left_out: usize,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Milliseconds since the question came.
    pub at: Millis,
    /// Which question: equal numbers are one question, with all names its links led through.
    pub question: u64,
    /// What it is looking for at the moment.
    pub name: Name,
    /// The type.
    pub qtype: Rtype,
    /// What happened.
    pub step: Step,
}

/// What happened, and what is known of why.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The store had the answer.
    Remembered {
        /// Its response code.
        rcode: Rcode,
        /// Seconds it has left.
        left_s: u32,
        /// What is known of its truth.
        security: Security,
    },
    /// The answer was not kept under this question, but follows from what was: the step that comes next has it.
    Follows {
        /// From proven denials (RFC 8198); else from a name above that does not exist, or (ANY) from all that is known.
        denial: bool,
    },
    /// The name is another name for this one.
    Link {
        /// The name that is looked for from now on.
        to: Name,
        /// The store had the link.
        remembered: bool,
    },
    /// Servers of a forward zone are asked from now on.
    Forward {
        /// The zone.
        zone: Name,
        /// Its servers, and those that stand in for them.
        servers: Vec<SocketAddr>,
    },
    /// Authoritative servers are asked from now on.
    Delegation {
        /// The zone.
        zone: Name,
        /// Who said so.
        source: Source,
        /// How many names its servers have.
        names: usize,
        /// The addresses that are known.
        servers: Vec<SocketAddr>,
        /// How many of them are known not to serve the zone.
        lame: usize,
    },
    /// Another question has to be answered first.
    Wants {
        /// Its name.
        name: Name,
        /// Its type.
        qtype: Rtype,
        /// What for.
        purpose: Purpose,
        /// Which question that is; `None` if it is not asked: it would wait for this one, or there are too many.
        question: Option<u64>,
        /// It is asked already for somebody else.
        joined: bool,
    },
    /// A packet leaves.
    Asks {
        /// For this server,
        server: SocketAddr,
        /// in this way.
        over: Transport,
        /// With an OPT record.
        edns: bool,
        /// The name in it: all of what is looked for, or a part of it (QNAME minimisation).
        name: Name,
        /// The type in it.
        qtype: Rtype,
        /// Why this server.
        choice: Choice,
        /// Milliseconds it is waited for before somebody else is asked.
        wait: Millis,
    },
    /// The same packet leaves once more for a server that was silent.
    AsksAgain {
        /// The server.
        server: SocketAddr,
        /// Milliseconds it is waited for now.
        wait: Millis,
    },
    /// There is no socket for the packet yet (`outgoing-range`).
    Held {
        /// The server it is for.
        server: Option<SocketAddr>,
    },
    /// A reply came.
    Hears {
        /// From this server,
        server: SocketAddr,
        /// in this way.
        over: Transport,
        /// Milliseconds since it was asked first.
        took: Millis,
        /// Octets.
        octets: usize,
        /// What it is.
        said: Said,
    },
    /// What a server did is of no use.
    Useless {
        /// The server.
        server: SocketAddr,
        /// What is wrong.
        fault: Fault,
    },
    /// A server was silent for as long as it usually takes; it may still answer.
    Silent {
        /// The server.
        server: SocketAddr,
        /// How it was asked.
        over: Transport,
        /// Milliseconds since it was asked last.
        after: Millis,
    },
    /// A packet could not be sent, or what it was sent to cannot be reached.
    Unreachable {
        /// The server.
        server: SocketAddr,
        /// How it was asked.
        over: Transport,
        /// What the system says.
        kind: ErrorKind,
    },
    /// Nobody is left to ask in this way; the question goes on in another one.
    Turns {
        /// The zone whose servers failed.
        zone: Name,
        /// How.
        turn: Turn,
    },
    /// What was looked for is known, and its truth is to be found out (RFC 4035 5).
    Begins {
        /// The name whose chain is walked.
        name: Name,
        /// Where the chain begins.
        from: Begins,
    },
    /// A link of the chain of trust: a zone's keys, or why there are none to be had.
    Keys {
        /// The zone.
        zone: Name,
        /// Who vouches for them.
        by: Voucher,
        /// What is known of the zone now.
        security: Security,
        /// The keys; those named by the voucher first.
        keys: Vec<KeyView>,
        /// Why they are not secure.
        reason: Option<Reason>,
    },
    /// A zone's DS set, as the parent has it.
    Ds {
        /// The zone.
        zone: Name,
        /// What is known of the set.
        security: Security,
        /// The records.
        records: Vec<DsView>,
        /// The key of the parent that signed it.
        by: Option<Signer>,
        /// Why it is not secure.
        reason: Option<Reason>,
    },
    /// There is no DS set at a name.
    NoDs {
        /// The name.
        name: Name,
        /// What that means.
        means: NoDs,
        /// What the proof is made of: NSEC or NSEC3, if there is any.
        by: Option<Rtype>,
        /// Why it is no proof, or none that counts.
        reason: Option<Reason>,
    },
    /// A set of the answer, or of what denies it, was checked.
    Checked {
        /// Its name.
        owner: Name,
        /// Its type.
        rtype: Rtype,
        /// What it turned out to be.
        security: Security,
        /// The key whose signature counted.
        by: Option<Signer>,
        /// The wildcard it was made from.
        wildcard: Option<Name>,
        /// Why it is not secure.
        reason: Option<Reason>,
    },
    /// That something is not there was checked.
    Denied {
        /// What is not there.
        what: Denied,
        /// What the proof is made of: NSEC or NSEC3, if there is any.
        by: Option<Rtype>,
        /// What it turned out to be.
        security: Security,
        /// Why it is not secure.
        reason: Option<Reason>,
    },
    /// What validation says of the answer.
    Judged {
        /// The worst of its parts.
        security: Security,
        /// Why it is not secure.
        reason: Option<Reason>,
    },
    /// Something is asked for at other servers, in case only these lie (`val-max-restart`).
    Doubts {
        /// Its name.
        name: Name,
        /// Its type.
        rtype: Rtype,
        /// Who said what is bogus, as far as that is known.
        servers: Vec<SocketAddr>,
    },
    /// The end: an answer.
    Answered {
        /// Its response code.
        rcode: Rcode,
        /// What is known of its truth.
        security: Security,
    },
    /// The end: there is no answer.
    Failed {
        /// Why, as clients are told (RFC 8914).
        ede: Ede,
        /// Why, as the log has it.
        why: String,
    },
    /// Clients have waited for as long as clients wait; the question goes on without them.
    Late {
        /// They are told what is known past its time.
        stale: bool,
    },
}

/// What another question is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The address of a name server.
    Address,
    /// The address that the parent has of a name server.
    Glue,
    /// The NS records of a zone, from the servers configured for it (RFC 9609), or to harden the way to it.
    Priming,
    /// A zone's DS set, or that there is none.
    Ds,
    /// A zone's keys.
    Keys,
}

/// Why a server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is the only one, or the only one left.
    Only,
    /// Drawn among servers that are as fast as the fastest, give or take the band (`RTT_BAND`).
    Fast {
        /// Its smoothed round-trip time, ms.
        srtt: u64,
        /// How many were drawn from.
        among: usize,
    },
    /// Drawn; nobody has measured it yet.
    Unmeasured {
        /// How many were drawn from.
        among: usize,
    },
    /// Others are faster. Now and then one that is slow, or that nobody has measured, is asked all the same, to see whether
    /// that is still so (`EXPLORE_SHARE`).
    Explores {
        /// Its smoothed round-trip time, ms, if it was ever measured.
        srtt: Option<u64>,
    },
    /// All that are left did not answer lately; this one is tried all the same.
    Dead,
    /// It is asked beside another one that is later than usual, or whose replies do not fit.
    Hedge,
    /// All are asked at once (`upstream-racing`).
    Race,
    /// It is asked once more in another manner.
    Same,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A reply to the question.
    Reply {
        /// Its response code.
        rcode: Rcode,
        /// The AA flag.
        aa: bool,
        /// Sets in the answer section,
        answer: usize,
        /// the authority section
        authority: usize,
        /// and the additional section.
        additional: usize,
    },
    /// There is more, over TCP.
    Truncated,
    /// The server does not know EDNS.
    NoEdns,
    /// Something is wrong with it, see the step that follows.
    Wrong,
}

/// How a question goes on when nobody is left to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At the forward zone above, or from the root (`forward-first`).
    ForwardFirst,
    /// Without the stub zone (`stub-first`).
    StubFirst,
    /// Servers that only recurse are asked to.
    Recursing,
    /// The addresses that came as glue are doubted, and their names looked up.
    DoubtsGlue,
    /// The zone is sought anew from its parent.
    Parent,
    /// The root servers among the hints that the root did not name.
    Hints,
    /// A server that serves parent and child answered for the child; the parent is sought by questions for name servers.
    BothSides,
    /// The servers get to see the whole name from now on.
    WholeName,
}

/// Where a chain of trust begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begins {
    /// At this anchor.
    Anchor {
        /// The zone.
        zone: Name,
        /// Its DS records; an anchor that is a key shows as the DS record it would have, without digest type.
        records: Vec<DsView>,
    },
    /// Nowhere: there is no anchor above the name.
    Nowhere,
    /// Nowhere: the operator excuses the name (`domain-insecure`), for a while if it is a negative trust anchor (RFC 7646).
    Excused {
        /// It is a negative trust anchor.
        negative: bool,
    },
}

/// Who vouches for a zone's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The trust anchor.
    Anchor,
    /// The parent's DS set.
    Ds,
    /// They were found to be true a while ago, and are remembered.
    Memory,
}

/// What it means that there is no DS set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDs {
    /// The zone is not signed, and the parent proves it: all below is insecure.
    Unsigned,
    /// There is no zone cut: the name belongs to the zone above.
    NoCut,
    /// There is no such name.
    NoName,
    /// The proof does not count (iterations): all below is insecure.
    Insecure,
    /// There is no proof.
    Bogus,
}

/// What a proof denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The name.
    Name,
    /// The type at the name.
    Type,
    /// That there is anything closer to the name than the wildcard.
    Closer,
}

/// A key, as people speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// The key tag (RFC 4034 appendix B).
    pub tag: u16,
    /// The number of the algorithm.
    pub algorithm: u8,
    /// The flags: 257 for a key signing key, 256 for others, 128 more when it is revoked.
    pub flags: u16,
    /// Its size in bits.
    pub bits: Option<u32>,
    /// The voucher means this one.
    pub named: bool,
    /// It signed the set of keys, and that counted.
    pub signed: bool,
}

/// A DS record, as people speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DsView {
    /// The tag of the key it means.
    pub tag: u16,
    /// The number of that key's algorithm.
    pub algorithm: u8,
    /// The number of the digest algorithm; 0 for an anchor that is a key itself.
    pub digest: u8,
}

/// A key that signed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Whose it is.
    pub zone: Name,
    /// Its tag.
    pub tag: u16,
    /// The number of its algorithm.
    pub algorithm: u8,
    /// When the signature ends, unix seconds modulo 2^32.
    pub until: u32,
}

/// How many questions wait for the question of each note, one for the other: 0 is the client's own.
pub fn depths(notes: &[Note]) -> Vec<usize> {
    let mut known: Vec<(u64, usize)> = Vec::new();
    let mut depths = Vec::with_capacity(notes.len());
    for note in notes {
        let depth = known.iter().find(|(question, _)| *question == note.question).map_or(0, |(_, depth)| *depth);
        depths.push(depth);
        if let Step::Wants { question: Some(question), .. } = note.step
            && !known.iter().any(|(other, _)| *other == question)
        {
            known.push((question, depth + 1));
        }
    }
    depths
}

impl Trace {
    /// A trace of a question that comes now.
    pub fn new(now: Millis) -> Trace {
        Trace { began: now, steps: Mutex::default() }
    }

    /// What was written down so far.
    pub fn steps(&self) -> Steps {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a step down. Out of the way of all the questions that nobody wants explained.
    #[cold]
    #[inline(never)]
    pub(crate) fn note(&self, now: Millis, question: u64, (name, qtype): (&Name, Rtype), step: Step) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.notes.len() >= MAX_STEPS {
            steps.left_out += 1;
            return;
        }
        let at = now.saturating_sub(self.began);
        steps.notes.push(Note { at, question, name: name.clone(), qtype, step });
    }
}
