//! One question explained: the steps it took, in words and as data, and the chain of trust that came of them.
//!
//! Owns the document that leaves through the door for `explain` (msgpack, as documents come in): what it holds stands here,
//! what Python makes of it in `python/runbound/api/routes/explain.py`. The words are `explain::words`'s, the tree of zones
//! `explain::chain`'s. It asks nothing by itself and decides nothing.

mod chain;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::{Explained, Inquiry, Pool, Room};
use resolve::trace::depths;
use serde::Serialize;
use store::{Sizes, Store};
use wire::Class;

use crate::cache::not_running;
use crate::engine::lost;
use crate::lookup::{self, MAX_LOOKUP, word};
use crate::{Engine, Failure};
use chain::Link;

/// Octets of each cache that a question "as if nothing were known" gets for itself: a chain of trust with all sets that
/// are met on the way is some hundred kilobytes.
const FRESH_CACHE: usize = 8 << 20;

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name, as an operator writes it.
    pub name: &'a str,
    /// The type, as an operator writes it.
    pub rtype: &'a str,
    /// Where the question would come from.
    pub client: IpAddr,
    /// The CD flag.
    pub cd: bool,
    /// As if nothing were known: an empty cache, servers nobody has measured. What is found is forgotten.
    pub fresh: bool,
}

/// A value of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(String),
    Many(Vec<Value>),
    Named(BTreeMap<&'static str, Value>),
}

/// The values of a step by their names.
type Data = BTreeMap<&'static str, Value>;

/// One step, for people and for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Step {
    at_ms: u64,
    /// Which question: 0 is the client's before it came to the mesh, equal numbers are one question.
    question: u64,
    depth: usize,
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    room: &'static str,
    what: &'static str,
    text: String,
    data: Data,
}

/// The answer, as `lookup` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Told {
    rcode: String,
    answer: Vec<String>,
    authority: Vec<String>,
    additional: Vec<String>,
    from_cache: bool,
    stale: bool,
    authentic: bool,
    security: &'static str,
    ede: Vec<Ede>,
    why: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ede {
    code: u16,
    text: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Document {
    question: String,
    elapsed_us: u64,
    /// How it ended: `answered`, `dropped`, or `open` when there was no answer in time.
    end: &'static str,
    told: Option<Told>,
    steps: Vec<Step>,
    left_out: usize,
    chain: Vec<Link>,
}

impl Engine {
    /// Explains one question, as that client would see its answer; as msgpack. Takes `limit`, at most [`MAX_LOOKUP`], and
    /// tells how far it came.
    ///
    /// # Errors
    /// Nothing runs, or the name or the type is none.
    pub fn explain(&self, asked: Asked<'_>, limit: Duration) -> Result<Vec<u8>, Failure> {
        let (name, qtype) = (lookup::name(asked.name)?, lookup::rtype(asked.rtype)?);
        let (pool, _) = self.plane().ok_or_else(not_running)?;
        let question = format!("{name} {} {qtype}", Class::IN);
        let inquiry = Inquiry { question: lookup::question(name, qtype, asked.cd), client: asked.client };
        let limit = limit.min(MAX_LOOKUP);
        let begin = Instant::now();
        let found = if asked.fresh {
            let store = Arc::new(Store::new(Sizes { messages: FRESH_CACHE, rrsets: FRESH_CACHE }));
            let aside = Pool::aside(pool.snapshot(), store, self.logger()).map_err(lost)?;
            aside.explain(inquiry.clone(), limit)
        } else {
            pool.explain(inquiry.clone(), limit)
        };
        let document = document(question, &inquiry, found.map_err(lost)?, begin.elapsed());
        rmp_serde::to_vec_named(&document).map_err(|error| Failure::new(format!("cannot be told: {error}")))
    }
}

fn document(question: String, inquiry: &Inquiry, found: Explained, took: Duration) -> Document {
    let Explained { rooms, steps, looked } = found;
    let dropped = rooms.last() == Some(&Room::Dropped);
    let told = looked.map(|looked| Told {
        rcode: looked.answer.rcode.to_string(),
        answer: lookup::lines(&looked.answer.answer),
        authority: lookup::lines(&looked.answer.authority),
        additional: lookup::lines(&looked.answer.additional),
        from_cache: looked.cached,
        stale: looked.stale,
        authentic: looked.answer.ad,
        security: word(looked.security),
        ede: lookup::ede(&looked.answer).into_iter().map(|(code, text)| Ede { code, text }).collect(),
        why: looked.why,
    });
    let chain = chain::links(&steps.notes);
    let before = rooms.iter().map(|room| words::of_room(room, inquiry));
    Document {
        question,
        elapsed_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        end: match told {
            Some(_) => "answered",
            None if dropped => "dropped",
            None => "open",
        },
        told,
        steps: before.chain(depths(&steps.notes).into_iter().zip(&steps.notes).map(words::of_note)).collect(),
        left_out: steps.left_out,
        chain,
    }
}
