//! THE ORDER: in which the rules are asked, from top to bottom of [`Policy::decide`].
//!
//! It owns nothing but the order. Each rule lives in its own module; whoever wants to know why a query was answered as
//! it was reads this file first.

use std::net::IpAddr;

use wire::{Answer, Class, Name, NameRef, Query, Rcode, Rrset, Rtype};

use crate::{acl::Acl, chaos::Chaos, local::LocalZones, overlay::BlockHit};

/// All rules of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Who is served; asked by the pipeline before it reads more of a packet than its source.
    pub acl: Acl,
    /// Local zones and data, with what the API has put over them.
    pub local: LocalZones,
    /// What is told in class CH.
    pub chaos: Chaos,
    /// `deny-any`: queries of type ANY that no local zone answers get NOTIMP (RFC 8482 leaves the choice).
    pub deny_any: bool,
}

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule answers it: cache and resolver do.
    Pass,
    /// This is the answer.
    Answer(Answer),
    /// There is no answer at all.
    Drop,
    /// The client gets `answer` and then what resolving `target` with its type and class gives, not looked up in the
    /// rules again. The whole has AA set. A client that may not recurse gets REFUSED instead.
    Alias {
        /// The CNAME of the redirect zone.
        answer: Vec<Rrset>,
        /// The name to go on with.
        target: Name,
    },
}

/// A verdict with what the pipeline has to know of its making.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// What becomes of the query.
    pub verdict: Verdict,
    /// The local zone that was met, even if it let the query pass.
    pub log: Option<LocalHit<'a>>,
    /// The block that gave the verdict, if one did.
    pub block: Option<BlockHit>,
    /// Whether the verdict comes from local data and so holds for every client that the access list lets in at all. If
    /// not, and whatever the verdict is, `deny_non_local` drops, `refuse_non_local` refuses, and a query without RD is
    /// REFUSED unless `allow_snoop` or `allow_setrd` lets it through.
    pub local: bool,
}

/// The local zone that a query met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalHit<'a> {
    /// Its name, in the case of the configuration.
    pub zone: NameRef<'a>,
    /// Its type, in Unbound's word.
    pub kind: &'static str,
    /// Whether the hit is logged even without `log-local-actions`: the `inform` types.
    pub always: bool,
    /// Labels of its name.
    pub labels: usize,
    /// Whether records of the API have a part in what it says.
    pub api: bool,
    /// Whether it stands in the file: it is no default zone and none that data without a zone were given.
    pub written: bool,
}

impl Policy {
    /// Takes a query through the rules. `_client` is the address that views will be chosen by.
    pub fn decide(&self, q: &Query, _client: IpAddr) -> Decision<'_> {
        // 1. What the server tells of itself. Hidden names go on as any others.
        if let Some(answer) = self.chaos.answer(q) {
            return Decision { verdict: Verdict::Answer(answer), log: None, block: None, local: true };
        }

        // (A view of the client comes here; its zones are asked before the ones of everybody. The verdict then depends on
        // the client, and the view belongs to the key of the first level: step 4 of the pipeline.)

        // 2. Local zones and data: the closest enclosing zone of the query's class decides.
        let mut log = None;
        if let Some((verdict, hit)) = self.local.decide(q) {
            let local = matches!(verdict, Verdict::Answer(_) | Verdict::Drop);
            if !matches!(verdict, Verdict::Pass) {
                return Decision { verdict, log: Some(hit), block: None, local };
            }
            log = Some(hit);
        }

        // 3. Blocks of the API: the closest enclosing one. A zone of the file that lets the query pass is a hole in those
        // above its name.
        let hole = log.filter(|hit| hit.written).map_or(0, |hit| hit.labels);
        if let Some((verdict, block)) = self.local.block(q, hole) {
            let local = matches!(verdict, Verdict::Answer(_) | Verdict::Drop);
            return Decision { verdict, log, block: Some(block), local };
        }

        // (Allow and block lists of feeds come here, then RPZ.)

        // 4. ANY, if the operator does not want it. Also for other classes, hence before them.
        if self.deny_any && q.qtype == Rtype::ANY {
            return Decision { verdict: Verdict::Answer(Answer::new(Rcode::NOTIMP)), log, block: None, local: false };
        }

        // 5. Classes of which nothing can be resolved.
        if q.qclass != Class::IN && q.qclass != Class::ANY {
            return Decision { verdict: Verdict::Answer(Answer::new(Rcode::REFUSED)), log, block: None, local: false };
        }

        Decision { verdict: Verdict::Pass, log, block: None, local: false }
    }
}
