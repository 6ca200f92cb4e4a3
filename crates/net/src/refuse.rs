//! Queries that get no answer but a code: from clients that are not served, and packets that are no queries.
//!
//! Owns which of them Unbound counts and logs, and how. Who is served is `policy`'s to say, what is a query `wire`'s.

use crate::lines;
use crate::pipeline::{HEADER, Outcome, Packet};
use crate::reply::{Asked, Lasts, Leaving, replied, sent, sized, tag};
use crate::snapshot::Serve;
use crate::tape::{Action, Mark};
use crate::worker::Worker;
use sys::log::Level;
use wire::types::flag;
use wire::{Answer, Class, Ede, EdnsQuery, NameRef, Query, Rcode, Reject, Rtype};

/// A client that access control refuses: before parsing (`refuse`), or because no local data answered
/// (`refuse_non_local`, then with its question for the log).
pub(crate) fn refused_client(w: &Worker, serve: &Serve, p: &Packet<'_>, q: Option<&Query>, out: &mut [u8]) -> Outcome {
    w.stats.unwanted_queries.add(1);
    let len = wire::query::refuse(p.bytes, serve.ede, serve.edns_buffer_size, out);
    let leaving = Leaving { q, us: None, cached: true, mark: Mark::of(Action::Refused) };
    sent(w, serve, p.route, p.peer.ip(), &leaving, out.get(..len).unwrap_or_default());
    sized(len)
}

/// What is not a query. As in Unbound, what fails by its header alone is neither counted nor logged, what has a question
/// is both; of transfers and meta types the type is counted, of a NOTIFY everything, of bad EDNS nothing more.
pub(crate) fn rejected(w: &Worker, serve: &Serve, p: &Packet<'_>, reject: &Reject, out: &mut [u8]) -> Outcome {
    let len = wire::query::reject_with(p.bytes, reject, serve.edns_buffer_size, out);
    if !counted(p.bytes) {
        return sized(len);
    }
    w.stats.queries.add(1);
    let query = rejected_query(p.bytes, reject);
    if let Some(q) = &query {
        match *reject {
            Reject::Reflect { .. } => w.stats.question(q.qtype),
            Reject::Reply { rcode: Rcode::REFUSED, .. } => {
                w.stats.question(q.qtype);
                w.stats.query(q, p.route.is_tcp(), p.peer.is_ipv6());
            }
            _ => {}
        }
        if serve.log_queries {
            w.log.line(tag(serve, Level::Query), w.id, &lines::query(p.peer.ip(), q));
        }
    }
    let leaving = Leaving { q: query.as_ref(), us: None, cached: true, mark: Mark::of(Action::Rejected) };
    sent(w, serve, p.route, p.peer.ip(), &leaving, out.get(..len).unwrap_or_default());
    sized(len)
}

/// As much of a query as a rejected packet has, for counters and log lines.
pub(crate) fn rejected_query(bytes: &[u8], reject: &Reject) -> Option<Query> {
    let (&[i0, i1, f0, f1], _) = bytes.split_first_chunk::<4>()?;
    let (qname, rest) = NameRef::split_from(bytes.get(HEADER..)?).ok()?;
    let (&[t0, t1, c0, c1], _) = rest.split_first_chunk::<4>()?;
    let edns = match *reject {
        Reject::Reply { edns: true, do_bit, .. } => Some(EdnsQuery { do_bit, ..EdnsQuery::default() }),
        _ => None,
    };
    Some(Query {
        id: u16::from_be_bytes([i0, i1]),
        flags: u16::from_be_bytes([f0, f1]),
        qname: qname.to_buf(),
        qtype: Rtype(u16::from_be_bytes([t0, t1])),
        qclass: Class(u16::from_be_bytes([c0, c1])),
        edns,
    })
}

/// Whether the header is that of a query with one question, which Unbound counts whatever is wrong behind it.
pub(crate) fn counted(bytes: &[u8]) -> bool {
    let Some(&[_, _, high, _, q0, q1, a0, a1, n0, n1, r0, r1]) = bytes.first_chunk::<HEADER>() else { return false };
    let notify = match high >> 3 & 0x0f {
        0 => false,
        4 => true,
        _ => return false,
    };
    let one = |high, low| high == 0 && low <= 1;
    let answers = if notify { one(a0, a1) } else { [a0, a1] == [0, 0] };
    high & 0x82 == 0 && [q0, q1] == [0, 1] && answers && [n0, n1] == [0, 0] && one(r0, r1)
}

pub(crate) fn refusal(ede: u16) -> Answer {
    Answer { ede: Some(Ede { code: ede, text: "".into() }), ..Answer::new(Rcode::REFUSED) }
}

/// `allow_cookie` over UDP without a valid cookie: who sent one gets BADCOOKIE and a good one to retry with; who sent
/// none gets REFUSED with TC, which may bring it over TCP.
pub(crate) fn without_cookie(w: &Worker, serve: &Serve, p: &Packet<'_>, ask: &Asked, out: &mut [u8]) -> Outcome {
    if ask.cookie.is_some() {
        return replied(w, serve, p, ask, &Answer::new(Rcode::BADCOOKIE), Lasts::no(Mark::of(Action::Refused)), out);
    }
    let outcome = replied(w, serve, p, ask, &Answer::new(Rcode::REFUSED), Lasts::no(Mark::of(Action::Refused)), out);
    if let (Outcome::Reply(_), Some(high)) = (&outcome, out.get_mut(2)) {
        *high |= (flag::TC >> 8) as u8;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_with_a_question_count() {
        let header = |flags: u8, counts: [u8; 4]| {
            let [q, a, n, r] = counts;
            [0, 1, flags, 0, 0, q, 0, a, 0, n, 0, r]
        };
        assert!(counted(&header(1, [1, 0, 0, 1])));
        assert!(counted(&header(0x20, [1, 1, 0, 1])));
        for (flags, counts) in [
            (0x80, [1, 0, 0, 0]),
            (0x02, [1, 0, 0, 0]),
            (0x28, [1, 0, 0, 0]),
            (0, [0, 0, 0, 0]),
            (0, [1, 1, 0, 0]),
            (0, [1, 0, 0, 2]),
        ] {
            assert!(!counted(&header(flags, counts)), "{flags} {counts:?}");
        }
    }
}
