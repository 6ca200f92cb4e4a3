//! Whether a name that has a negative trust anchor validates again (RFC 7646 4).
//!
//! Owns one question, asked aside of the workers that serve, with an empty cache and with nothing excused, so that neither
//! clients nor the cache notice. It must never change anything: who calls it decides what becomes of the find.

use std::sync::Arc;
use std::time::Duration;

use net::pool::Pool;
use net::snapshot::Snapshot;
use store::{Security, Sizes, Store};
use sys::log::Logger;
use wire::{Name, Rcode, Rtype};

use crate::lookup::question;

/// Longest time one look may take: as long as the mesh goes on for any question.
const LOOK_TIME: Duration = Duration::from_secs(30);
/// Octets of each of its caches, which hold one chain of trust and are gone afterwards.
const CACHE: usize = 1 << 20;

/// A worker aside of `pool`'s that excuses nothing. `None` where nothing is validated, or no thread can be started.
pub(crate) fn aside(pool: &Pool, log: &Arc<Logger>) -> Option<Arc<Pool>> {
    let snapshot = pool.snapshot();
    let trust = snapshot.forwards.trust()?;
    let unexcused = Snapshot {
        revision: snapshot.revision,
        policy: Arc::clone(&snapshot.policy),
        forwards: Arc::new(snapshot.forwards.trusting(Arc::new(trust.unexcused()))),
        serve: Arc::clone(&snapshot.serve),
    };
    let store = Arc::new(Store::new(Sizes { messages: CACHE, rrsets: CACHE }));
    Pool::aside(Arc::new(unexcused), store, Arc::clone(log)).ok().map(Arc::new)
}

/// Whether the name could be validated now: its zone is proven, or proven to be unsigned. What cannot be found out is no.
/// The worker is stopped afterwards; who stops it before cuts the look short.
pub(crate) fn validates(aside: &Pool, name: &Name) -> bool {
    let found = aside.lookup(question(name.clone(), Rtype::SOA, false), LOOK_TIME).ok().flatten();
    aside.stop();
    found.is_some_and(|found| {
        let good = matches!(found.answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        good && matches!(found.security, Security::Secure | Security::Insecure)
    })
}
