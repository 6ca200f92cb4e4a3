//! What an operator does with the cache: looks at it, empties it in part, writes it out, reads it in.
//!
//! Owns the words of these acts; the cache does them. It must never decide what is kept.

use std::collections::BTreeMap;

use crate::{Engine, Failure, lookup};

impl Engine {
    /// Entries, octets and counters of both caches; empty before [`Engine::start`].
    pub fn cache_usage(&self) -> BTreeMap<&'static str, u64> {
        let Some((_, store)) = self.plane() else { return BTreeMap::new() };
        let usage = store.usage();
        let (messages, rrsets) = (usage.messages, usage.rrsets);
        BTreeMap::from([
            ("message.entries", messages.entries as u64),
            ("message.bytes", messages.bytes as u64),
            ("message.limit", messages.limit as u64),
            ("message.hits", messages.hits),
            ("message.misses", messages.misses),
            ("message.evictions", messages.evictions),
            ("rrset.entries", rrsets.entries as u64),
            ("rrset.bytes", rrsets.bytes as u64),
            ("rrset.limit", rrsets.limit as u64),
            ("rrset.hits", rrsets.hits),
            ("rrset.misses", rrsets.misses),
            ("rrset.evictions", rrsets.evictions),
            ("stale_hits", messages.stale_hits),
        ])
    }

    /// Removes entries; how many went. `what` is `all`, `name`, `type`, `zone`, `negative`, `bogus` or `infra`.
    ///
    /// # Errors
    /// Nothing runs, `what` is none of these, or the name or type that it needs is missing or none.
    pub fn cache_flush(&self, what: &str, name: Option<&str>, rtype: Option<&str>) -> Result<u64, Failure> {
        let (pool, store) = self.plane().ok_or_else(not_running)?;
        let name = || lookup::name(name.ok_or_else(|| Failure::new(format!("a flush of a {what} needs a name")))?);
        let rtype = || lookup::rtype(rtype.ok_or_else(|| Failure::new("a flush of a type needs a type"))?);
        let removed = match what {
            "all" => store.flush_all(),
            "name" => store.flush_name(name()?.as_ref()),
            "type" => store.flush_type(name()?.as_ref(), rtype()?),
            "zone" => store.flush_zone(name()?.as_ref()),
            "negative" => store.flush_negative(),
            "bogus" => store.flush_bogus(),
            "infra" => pool.flush_infra().map_err(crate::engine::lost)?,
            _ => return Err(Failure::new(format!("there is no flush of \"{what}\""))),
        };
        Ok(removed as u64)
    }

    /// Part `part` of the dump, `None` after the last; empty before [`Engine::start`].
    pub fn cache_dump(&self, part: usize) -> Option<String> {
        let (_, store) = self.plane()?;
        let mut text = String::new();
        store.dump(part, now(), &mut text).then_some(text)
    }

    /// Reads a dump, or pieces of one: RRsets and messages taken, lines refused.
    ///
    /// # Errors
    /// Nothing runs.
    pub fn cache_load(&self, text: &[u8]) -> Result<(u64, u64, u64), Failure> {
        let (_, store) = self.plane().ok_or_else(not_running)?;
        let loaded = store.load(&String::from_utf8_lossy(text), now());
        Ok((loaded.rrsets as u64, loaded.messages as u64, loaded.refused as u64))
    }
}

/// Milliseconds of the time that the cache goes by.
pub(crate) fn now() -> store::Millis {
    sys::clock::cache_ms()
}

pub(crate) fn not_running() -> Failure {
    Failure::new("the engine does not run")
}
