//! What is trusted and what is excused, as the operator sees it and changes it while the resolver runs.
//!
//! Owns the document that tells it, and negative trust anchors from the operator's word to the cache that forgets what was
//! concluded before. Where validation begins is `resolve`'s, how keys roll `follow`'s. It must never touch a file.

use resolve::trust::{Nta, NtaError};
use serde::Serialize;

use crate::cache::not_running;
use crate::{Engine, Failure, lookup};

/// All of it. The shape that Python reads: `python/runbound/api/routes/dnssec.py`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Told {
    /// Whether answers are validated.
    validating: bool,
    /// Bogus answers are given out (`val-permissive-mode`).
    permissive: bool,
    /// Names of `domain-insecure`.
    insecure: Vec<String>,
    anchors: Vec<ToldAnchor>,
    negative: Vec<ToldNta>,
}

/// The anchors of one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ToldAnchor {
    zone: String,
    /// They follow RFC 5011.
    follows: Option<Follows>,
    keys: Vec<ToldKey>,
}

/// How a zone is followed; times are unix seconds, 0 is never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Follows {
    file: String,
    last_probe: u64,
    last_success: u64,
    next_probe: u64,
    failed: u32,
    /// Every key is revoked: nothing is trusted.
    revoked: bool,
}

/// A key that is trusted, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ToldKey {
    tag: u16,
    algorithm: u8,
    algorithm_name: String,
    /// `ds` or `dnskey`: what is known of it.
    kind: &'static str,
    /// `pending`, `valid`, `missing`, `revoked`.
    state: &'static str,
    /// Unix seconds of the last change of state; 0 if that is not known.
    since: u64,
}

/// A negative trust anchor; times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ToldNta {
    name: String,
    since: u64,
    until: u64,
    recheck_s: u64,
    reason: String,
}

impl ToldKey {
    fn ds(rdata: &[u8]) -> Option<ToldKey> {
        let ds = dnssec::Ds::parse(rdata)?;
        Some(ToldKey::new(ds.tag, ds.algorithm, "ds", "valid", 0))
    }

    fn dnskey(rdata: &[u8], state: &'static str, since: u64) -> Option<ToldKey> {
        let key = dnssec::Dnskey::parse(rdata)?;
        Some(ToldKey::new(key.tag(), key.algorithm, "dnskey", state, since))
    }

    fn new(tag: u16, algorithm: dnssec::Algorithm, kind: &'static str, state: &'static str, since: u64) -> ToldKey {
        ToldKey { tag, algorithm: algorithm.0, algorithm_name: algorithm.to_string(), kind, state, since }
    }
}

impl Engine {
    /// What is trusted and what is excused, as msgpack.
    ///
    /// # Errors
    /// Nothing runs.
    pub fn trust(&self) -> Result<Vec<u8>, Failure> {
        use dnssec::autotrust::State;
        let (pool, _) = self.plane().ok_or_else(not_running)?;
        let snapshot = pool.snapshot();
        let trust = snapshot.forwards.trust();
        let zones = self.follow().zones();
        let mut anchors: Vec<ToldAnchor> = Vec::new();
        for (auto, path) in &zones {
            let word = |state| match state {
                State::AddPend => "pending",
                State::Valid => "valid",
                State::Missing => "missing",
                State::Revoked => "revoked",
            };
            let ds = auto.ds.iter().filter_map(ToldKey::ds);
            let keys = auto.keys.iter().filter_map(|key| ToldKey::dnskey(&key.rdata, word(key.state), key.changed));
            anchors.push(ToldAnchor {
                zone: auto.owner.to_string(),
                follows: Some(Follows {
                    file: path.display().to_string(),
                    last_probe: auto.last_queried,
                    last_success: auto.last_success,
                    next_probe: auto.next_probe,
                    failed: auto.failed,
                    revoked: auto.revoked,
                }),
                keys: ds.chain(keys).collect(),
            });
        }
        let fixed = trust.map(|trust| trust.anchors()).unwrap_or_default();
        for anchor in fixed.iter().filter(|anchor| zones.iter().all(|(auto, _)| auto.owner != anchor.owner)) {
            let keys = anchor.dnskey.iter().filter_map(|rdata| ToldKey::dnskey(rdata, "valid", 0));
            let keys = anchor.ds.iter().filter_map(ToldKey::ds).chain(keys).collect();
            anchors.push(ToldAnchor { zone: anchor.owner.to_string(), follows: None, keys });
        }
        let told = Told {
            validating: trust.is_some(),
            permissive: trust.is_some_and(|trust| trust.permissive),
            insecure: trust.map(|trust| trust.insecure().iter().map(ToString::to_string).collect()).unwrap_or_default(),
            anchors,
            negative: self.live().ntas(now()).into_iter().map(ToldNta::from).collect(),
        };
        rmp_serde::to_vec_named(&told).map_err(|error| Failure::new(format!("it cannot be written down: {error}")))
    }

    /// Makes a negative trust anchor at `name` for so many seconds (RFC 7646), or gives the one that is there another end.
    /// `recheck_s` is the time between looks whether it validates again, 0 for none. False if there are too many.
    ///
    /// # Errors
    /// Nothing runs, `name` is none, or the time is not 1 second to a week.
    pub fn excuse(&self, name: &str, seconds: u64, recheck_s: u64, reason: &str) -> Result<bool, Failure> {
        let name = lookup::name(name)?;
        let (_, store) = self.plane().ok_or_else(not_running)?;
        let since = now();
        let until = since.saturating_add(seconds);
        let nta = Nta { name: name.clone(), since, until, recheck_s, reason: reason.to_owned() };
        match self.live().excuse(nta) {
            Ok(()) => {}
            Err(NtaError::TooMany) => return Ok(false),
            Err(NtaError::Time) => {
                return Err(Failure::new("a negative trust anchor lasts from a second to a week (RFC 7646 2.1)"));
            }
        }
        // What was concluded of these names until now was concluded with a chain of trust.
        store.flush_zone(name.as_ref());
        self.follow().look();
        Ok(true)
    }

    /// Ends a negative trust anchor. False if there is none at `name`.
    ///
    /// # Errors
    /// Nothing runs, or `name` is none.
    pub fn excuse_no_more(&self, name: &str) -> Result<bool, Failure> {
        let name = lookup::name(name)?;
        let (_, store) = self.plane().ok_or_else(not_running)?;
        let ended = self.live().revoke(name.as_ref()).is_some();
        if ended {
            store.flush_zone(name.as_ref());
        }
        Ok(ended)
    }
}

impl From<Nta> for ToldNta {
    fn from(nta: Nta) -> ToldNta {
        let Nta { name, since, until, recheck_s, reason } = nta;
        ToldNta { name: name.to_string(), since, until, recheck_s, reason }
    }
}

fn now() -> u64 {
    sys::clock::unix().as_secs()
}
