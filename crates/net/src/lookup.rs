//! Questions from inside: what the operator wants looked up goes the way of a client's, without a packet.
//!
//! Owns the way from a question to [`Looked`]: the cache, then the mesh, as steps 6 and 7 of the pipeline. It asks no rule
//! of policy (whoever calls has done so, and may want to know what there is all the same) and counts nothing: statistics
//! are about clients.

use crate::pending::{Route, Waiting};
use crate::pipeline::{Known, known};
use crate::reply::internal_error;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use resolve::{ClientId, Question, Trace, stale_answer};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use store::{Found, Security};
use wire::types::flag;
use wire::{Answer, Ede, Query, Rcode, Rrset};

/// What was found out.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The answer; TTLs as of now.
    pub answer: Answer,
    /// It was in the cache.
    pub cached: bool,
    /// Its time had passed (`serve-expired`).
    pub stale: bool,
    /// What is known of its authenticity.
    pub security: Security,
    /// For SERVFAIL: why, as `log-servfail` has it.
    pub why: Option<String>,
}

/// Where to tell it.
pub(crate) type Looking = Sender<Looked>;

impl Worker {
    /// Looks a question up and tells what was found; whoever has stopped listening is told nothing.
    pub(crate) fn look_up(self: &Rc<Self>, question: Question, tell: Looking) {
        let now_us = self.tick();
        let snapshot = self.snapshot();
        let name = question.name.as_ref();
        let stale = match known(self, &snapshot, name, question.qtype, question.qclass, question.cd, self.cache_ms()) {
            Known::Answer(found) => {
                let limits = &snapshot.serve.limits;
                let answer = if found.stale { stale_answer(&found, limits) } else { found.answer };
                let looked = Looked { answer, cached: true, stale: found.stale, security: found.security, why: None };
                let _ = tell.send(looked);
                return;
            }
            Known::Maybe(stale) => stale,
        };
        self.look_for(&snapshot, now_us, question, (stale, None), Vec::new(), tell);
    }

    /// Gives a question that the cache could not answer to the mesh; `alias` goes before what is found.
    pub(crate) fn look_for(
        self: &Rc<Self>,
        snapshot: &Snapshot,
        now_us: u64,
        question: Question,
        (stale, trace): (Option<Found>, Option<Arc<Trace>>),
        alias: Vec<Rrset>,
        tell: Looking,
    ) {
        let flags = (if question.rd { flag::RD } else { 0 }) | (if question.cd { flag::CD } else { 0 });
        let mut pending = self.pending.borrow_mut();
        if !pending.has_room() {
            let answer = Answer { ede: Some(Ede::new(Ede::OTHER, FULL)), ..Answer::new(Rcode::SERVFAIL) };
            let _ = tell.send(Looked::fresh(answer, Some(FULL.to_owned()), Security::Unchecked));
            return;
        }
        let id = pending.insert(Waiting {
            query: Query {
                id: 0,
                flags,
                qname: question.name.as_ref().to_buf(),
                qtype: question.qtype,
                qclass: question.qclass,
                edns: None,
            },
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            route: Route::Inside(tell),
            received_us: now_us,
            limit: 0,
            cookie: None,
            alias,
            blocked: false,
        });
        drop(pending);
        let (now, client) = (now_us / 1_000, ClientId(id));
        self.with_mesh(|mesh| match trace {
            None => mesh.query(now, &snapshot.forwards, question, client, stale),
            Some(trace) => mesh.explain(now, &snapshot.forwards, question, client, stale, trace),
        });
        self.pump();
    }
}

/// Why a question is not taken.
const FULL: &str = "too many clients wait for answers";

impl Looked {
    /// What the mesh found.
    pub(crate) fn fresh(answer: Answer, why: Option<String>, security: Security) -> Looked {
        Looked { answer, cached: false, stale: false, security, why }
    }

    /// A defect of ours is why there is nothing.
    pub(crate) fn broken() -> Looked {
        Looked::fresh(internal_error(), Some("internal error".to_owned()), Security::Unchecked)
    }
}
