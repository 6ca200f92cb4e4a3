//! Questions that are to be explained: steps 2 to 7 of the pipeline once more, each with its reason.
//!
//! Owns the way of a question through the rooms before the mesh, as a client's would go that came from a given address,
//! and what each of them said. What happens in the mesh is in its trace (`resolve::trace`). It asks the very rules that
//! packets are asked by, counts nothing, and changes nothing but what any question changes: what is found is remembered.

use crate::lookup::{Looked, Looking};
use crate::pipeline::{Known, known};
use crate::refuse::refusal;
use crate::reply::aliased;
use crate::worker::Worker;
use policy::{AclAction, Verdict};
use resolve::trace::Steps;
use resolve::{Question, Trace, stale_answer};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use store::{Found, Security};
use wire::types::flag;
use wire::{Answer, Ede, Name, Query, Rcode, Rtype};

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The question.
    pub question: Question,
    /// Where it would come from.
    pub client: IpAddr,
}

/// What a room before the mesh said.
#[derive(Clone, Debug, PartialEq)]
pub enum Room {
    /// Access control.
    Access {
        /// What is done with queries from this address.
        action: AclAction,
        /// The netblock that says so, and its prefix length.
        rule: Option<(IpAddr, u8)>,
    },
    /// Local zones and data.
    Local {
        /// The closest enclosing zone and the word for its type.
        zone: Option<(Name, &'static str)>,
        /// Records of the API have a part in it.
        api: bool,
        /// What comes of it.
        verdict: Local,
    },
    /// A block of the API.
    Block {
        /// Its name.
        name: Name,
        /// The word of its action.
        action: &'static str,
        /// What comes of it.
        verdict: Local,
    },
    /// `deny-any`.
    DeniedAny,
    /// The cache.
    Cache(Cached),
    /// The client is answered by the mesh, which goes on from here; the question goes on with this name.
    Mesh(Name),
    /// The end: no answer at all.
    Dropped,
    /// The end: REFUSED.
    Refused,
}

/// What a rule makes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// They leave it alone.
    Pass,
    /// They answer it.
    Answer(Rcode),
    /// They drop it.
    Drop,
    /// They send it on to this name.
    Alias(Name),
}

/// What the cache has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// Nothing.
    Nothing,
    /// Nothing is kept of this zone (`forward-no-cache`).
    Never,
    /// An answer.
    Entry {
        /// Its response code.
        rcode: Rcode,
        /// Seconds it had when it was stored.
        ttl_s: u32,
        /// Seconds it has left; 0 when its time is over.
        left_s: u32,
        /// Its time is over.
        stale: bool,
        /// What is known of its truth.
        security: Security,
        /// The client gets it; else something better is looked for.
        used: bool,
    },
}

/// What is known at once.
pub(crate) struct Begun {
    pub(crate) rooms: Vec<Room>,
    pub(crate) trace: Arc<Trace>,
}

/// A question explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What the rooms before the mesh said, in their order, all in the same moment.
    pub rooms: Vec<Room>,
    /// What happened in the mesh, if the question came so far.
    pub steps: Steps,
    /// The answer; `None` if the client gets none, or had to be told within a time that is over.
    pub looked: Option<Looked>,
}

/// Where a question stands after the rooms before the mesh.
enum Way {
    /// It is answered.
    Answered(Box<Looked>),
    /// It gets no answer.
    Dropped,
    /// On to the mesh: the CNAME that goes before what is found, the name to look for, what there is meanwhile.
    On(Vec<wire::Rrset>, Name, Option<Found>),
}

impl Worker {
    /// Explains a question: what is known at once goes to `begun`, the answer to `tell`.
    pub(crate) fn explain(self: &Rc<Self>, inquiry: Inquiry, begun: &Sender<Begun>, tell: Looking) {
        let now_us = self.tick();
        let trace = Arc::new(Trace::new(now_us / 1_000));
        let mut rooms = Vec::new();
        let way = self.way(&inquiry, &mut rooms);
        match &way {
            Way::On(_, target, _) => rooms.push(Room::Mesh(target.clone())),
            Way::Dropped => rooms.push(Room::Dropped),
            Way::Answered(_) => {}
        }
        let _ = begun.send(Begun { rooms, trace: Arc::clone(&trace) });
        match way {
            Way::Answered(looked) => drop(tell.send(*looked)),
            Way::Dropped => {}
            Way::On(alias, name, stale) => {
                let question = Question { name, ..inquiry.question };
                self.look_for(&self.snapshot(), now_us, question, (stale, Some(trace)), alias, tell);
            }
        }
    }

    fn way(&self, Inquiry { question, client }: &Inquiry, rooms: &mut Vec<Room>) -> Way {
        let snapshot = self.snapshot();
        let (policy, limits) = (&*snapshot.policy, &snapshot.serve.limits);
        let answered = |answer| Way::Answered(Box::new(Looked::fresh(answer, None, Security::Unchecked)));

        let action = policy.acl.lookup(*client);
        rooms.push(Room::Access { action, rule: policy.acl.rule(*client) });
        match action {
            AclAction::Deny => return Way::Dropped,
            AclAction::Refuse => {
                rooms.push(Room::Refused);
                return answered(refusal(Ede::PROHIBITED));
            }
            _ => {}
        }

        let flags = (if question.rd { flag::RD } else { 0 }) | (if question.cd { flag::CD } else { 0 });
        let (qtype, qclass) = (question.qtype, question.qclass);
        let q = Query { id: 0, flags, qname: question.name.as_ref().to_buf(), qtype, qclass, edns: None };
        let decision = policy.decide(&q, *client);
        let zone = decision.log.as_ref().map(|hit| (hit.zone.to_name(), hit.kind));
        let api = decision.log.is_some_and(|hit| hit.api);
        // What is not local and an answer is the word of a rule after the local zones and the blocks.
        let denied = matches!(&decision.verdict, Verdict::Answer(_)) && !decision.local;
        let verdict = match &decision.verdict {
            Verdict::Answer(answer) if !denied => Local::Answer(answer.rcode),
            Verdict::Drop => Local::Drop,
            Verdict::Alias { target, .. } => Local::Alias(target.clone()),
            Verdict::Answer(_) | Verdict::Pass => Local::Pass,
        };
        match decision.block {
            Some(block) => {
                let (name, action) = (block.name(q.qname.as_ref()).to_name(), block.word);
                rooms.push(Room::Local { zone, api: false, verdict: Local::Pass });
                rooms.push(Room::Block { name, action, verdict });
            }
            None => rooms.push(Room::Local { zone, api, verdict }),
        }
        if !decision.local {
            match action {
                AclAction::DenyNonLocal => return Way::Dropped,
                AclAction::RefuseNonLocal => {
                    rooms.push(Room::Refused);
                    return answered(refusal(Ede::PROHIBITED));
                }
                _ => {}
            }
        }
        let (alias, target) = match decision.verdict {
            Verdict::Answer(answer) => {
                if denied && qtype == Rtype::ANY {
                    rooms.push(Room::DeniedAny);
                }
                return answered(answer);
            }
            Verdict::Drop => return Way::Dropped,
            Verdict::Alias { answer, target } => (answer, target.as_ref().lower().to_name()),
            Verdict::Pass => (Vec::new(), question.name.clone()),
        };

        let now = self.cache_ms();
        let name = target.as_ref();
        let entry = |found: &Found, used| {
            let (rcode, security) = (found.answer.rcode, found.security);
            Cached::Entry { rcode, ttl_s: found.ttl, left_s: found.left, stale: found.stale, security, used }
        };
        match known(self, &snapshot, name, qtype, qclass, question.cd, now) {
            Known::Answer(found) => {
                rooms.push(Room::Cache(entry(&found, true)));
                let (stale, security) = (found.stale, found.security);
                let answer: Answer = if stale { stale_answer(&found, limits) } else { found.answer };
                let answer = aliased(&alias, answer);
                Way::Answered(Box::new(Looked { answer, cached: true, stale, security, why: None }))
            }
            Known::Maybe(stale) => {
                let kept = snapshot.forwards.find(name, qtype).is_none_or(|zone| !zone.no_cache);
                // What is there and of no use to this client is told all the same, however old it is.
                let there = || self.store.get(name, qtype, qclass, snapshot.forwards.key_cd(question.cd), now, Some(0));
                rooms.push(Room::Cache(match kept.then(there) {
                    None => Cached::Never,
                    Some(None) => Cached::Nothing,
                    Some(Some(found)) => entry(&found, false),
                }));
                Way::On(alias, target, stale)
            }
        }
    }
}
