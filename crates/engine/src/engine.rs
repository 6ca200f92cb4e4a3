//! What runs: log sink, sockets, cache, workers.
//!
//! Owns the order `open_log` → `bind` → (the caller drops privileges) → `start` → `apply`… → `drain` → `stop`, and the
//! document in force, against which `apply` finds what changed. It must never leave anything half applied: all that can
//! fail (compiling, opening sockets) happens before the workers hear of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conf::Scan;
use net::listen::ListenerSet;
use net::pool::Pool;
use net::snapshot::Snapshot;
use store::Store;
use sys::log::{Level, Logger, Options, Shape, Target, TimeStyle};
use wire::CookieSecret;

use crate::compile::{Compiled, compile};
use crate::document::{Document, Log};
use crate::{Failure, listening};

/// Whether a change took effect at once or waits for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Applied, acknowledged by every worker.
    Live,
    /// Needs a restart; the old value stays in force.
    Restart,
}

impl Effect {
    /// The word of the reload report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// One thing that differs between the document in force and the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed, in the operator's words.
    pub what: String,
    /// When it takes effect.
    pub effect: Effect,
}

/// The state of things for a health check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Upstream servers configured.
    pub upstreams_total: u64,
    /// Those that some worker still expects to answer.
    pub upstreams_healthy: u64,
    /// Messages in the cache.
    pub cache_entries: u64,
    /// Octets the cache takes.
    pub cache_bytes: u64,
    /// Worker threads.
    pub workers: u64,
    /// Revision of the document in force.
    pub revision: u64,
}

/// An open address.
struct Bound {
    addr: SocketAddr,
    sets: Vec<ListenerSet>,
}

struct Running {
    pool: Arc<Pool>,
    store: Arc<Store>,
    document: Document,
    listening: Vec<SocketAddr>,
    /// Of the bulk statements in force, to tell whether a reload changes them.
    bulk: u64,
    /// Addresses the service manager opened: they stay whatever the file says.
    inherited: Vec<SocketAddr>,
}

#[derive(Default)]
struct State {
    workers: usize,
    bound: Vec<Bound>,
    inherited: Vec<SocketAddr>,
    running: Option<Running>,
}

/// The data plane.
pub struct Engine {
    log: Arc<Logger>,
    cookie_secret: CookieSecret,
    state: Mutex<State>,
}

fn log_options(log: &Log) -> Options {
    Options {
        target: match (log.syslog, log.file.as_str()) {
            (true, _) => Target::Syslog,
            (false, "") => Target::Stderr,
            (false, file) => Target::File(file.into()),
        },
        time: match log.time.as_str() {
            "iso" => TimeStyle::Iso,
            "ascii" => TimeStyle::Ascii,
            _ => TimeStyle::Unix,
        },
        identity: log.identity.clone(),
        shape: if log.json { Shape::Json } else { Shape::Text },
        verbosity: log.verbosity,
    }
}

fn workers(document: &Document) -> usize {
    match document.threads {
        0 => sys::affinity::usable_cpus().map_or(1, |cpus| cpus.len().max(1)),
        given => given,
    }
}

fn decode(document: &[u8]) -> Result<Document, Failure> {
    Document::decode(document).map_err(Failure::new)
}

fn accepted(compiled: Compiled) -> Result<Snapshot, Failure> {
    let first = compiled.messages.into_iter().find(|m| m.severity == conf::Severity::Error);
    compiled.snapshot.ok_or_else(|| {
        let text = first.map_or_else(|| "no reason given".to_owned(), |m| m.text);
        Failure::new(format!("the configuration is refused: {text}"))
    })
}

impl Engine {
    /// An engine that runs nothing yet and logs to standard error.
    ///
    /// # Errors
    /// Standard error or the system's random numbers cannot be used.
    pub fn new() -> Result<Self, Failure> {
        let log = Logger::open(Options::default()).map_err(|e| Failure::new(e.to_string()))?;
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|e| Failure::new(format!("no random numbers: {e}")))?;
        Ok(Self { log: Arc::new(log), cookie_secret: CookieSecret(secret), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Points the log sink to what the document says.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_log(&self, document: &[u8]) -> Result<(), Failure> {
        let document = decode(document)?;
        self.log
            .configure(log_options(&document.log))
            .map_err(|e| Failure::new(e.to_string()).advise("check logfile: and whether its folder may be written"))
    }

    /// Opens the listening sockets, those handed over by a service manager first.
    ///
    /// # Errors
    /// An address cannot be opened; then none is.
    pub fn bind(&self, document: &[u8], inherited: &[i32]) -> Result<(), Failure> {
        let document = decode(document)?;
        let workers = workers(&document);
        let options = listening::options(&document);
        let mut bound = Vec::new();
        for fd in inherited {
            let sets = net::listen::inherit(*fd, &options, workers).map_err(|e| {
                Failure::new(e.to_string()).advise("the service manager must hand over UDP and TCP sockets only")
            })?;
            if let Some(addr) = sets.first().map(|set| set.addr) {
                bound.push(Bound { addr, sets });
            }
        }
        let handed: Vec<SocketAddr> = bound.iter().map(|b| b.addr).collect();
        if handed.is_empty() {
            for addr in listening::wanted(&document)? {
                bound.push(Bound { addr, sets: listening::open(addr, options, workers)? });
            }
        }
        *self.state() = State { workers, bound, inherited: handed, running: None };
        Ok(())
    }

    /// Compiles and starts the workers on what [`Engine::bind`] opened.
    ///
    /// # Errors
    /// The configuration is refused, or a thread cannot be started.
    pub fn start(&self, document: &[u8], scan: Option<&Scan>) -> Result<(), Failure> {
        let document = decode(document)?;
        let snapshot = accepted(compile(&document, scan, self.cookie_secret.clone()))?;
        let mut state = self.state();
        if state.running.is_some() {
            return Err(Failure::new("the engine runs already"));
        }
        let store = Arc::new(Store::new(cache_bytes(&document)));
        let wanted = descriptors(&document, state.workers);
        match sys::limits::raise_descriptors(wanted) {
            Ok(limit) if limit < wanted => {
                let text =
                    format!("only {limit} of {wanted} file descriptors: busy hours may lack sockets (LimitNOFILE)");
                self.log.line(Level::Warning, 0, &text);
            }
            Ok(_) => {}
            Err(error) => self.log.line(Level::Warning, 0, &format!("file descriptors cannot be raised: {error}")),
        }
        let bound = std::mem::take(&mut state.bound);
        let mut listening: Vec<SocketAddr> = bound.iter().map(|b| b.addr).collect();
        listening.dedup(); // a service manager hands over UDP and TCP of one address one by one
        let sets = bound.into_iter().map(|b| b.sets).collect();
        let pool = Pool::start(state.workers, Arc::new(snapshot), Arc::clone(&store), Arc::clone(&self.log), sets)
            .map_err(|e| Failure::new(format!("the workers cannot start: {e}")))?;
        let inherited = std::mem::take(&mut state.inherited);
        let bulk = scan.map_or(0, digest);
        state.running = Some(Running { pool: Arc::new(pool), store, document, listening, bulk, inherited });
        Ok(())
    }

    /// Swaps to another document; returns when every worker has acknowledged.
    ///
    /// # Errors
    /// The configuration is refused or a new address cannot be opened: nothing has changed then.
    pub fn apply(&self, document: &[u8], scan: Option<&Scan>) -> Result<Vec<Change>, Failure> {
        let next = decode(document)?;
        let snapshot = accepted(compile(&next, scan, self.cookie_secret.clone()))?;
        let mut state = self.state();
        let workers = state.workers;
        let running = state.running.as_mut().ok_or_else(|| Failure::new("the engine does not run"))?;
        let mut changes = Vec::new();
        let mut changed = |what: String, effect| changes.push(Change { what, effect });

        // All that can fail comes first.
        let options = listening::options(&next);
        let mut opened = Vec::new();
        let mut closing = Vec::new();
        if running.inherited.is_empty() {
            let wanted = listening::wanted(&next)?;
            for addr in wanted.iter().filter(|addr| !running.listening.contains(addr)) {
                opened.push((*addr, listening::open(*addr, options, workers)?));
            }
            closing = running.listening.iter().filter(|addr| !wanted.contains(addr)).copied().collect();
        } else if listening::wanted(&next)? != listening::wanted(&running.document)? {
            // The service manager's sockets are all there is until it hands over others.
            changed("interface".to_owned(), Effect::Restart);
        }
        if log_options(&next.log) != log_options(&running.document.log) {
            self.log.configure(log_options(&next.log)).map_err(|e| Failure::new(e.to_string()))?;
        }

        if self::workers(&next) != workers {
            changed("num-threads".to_owned(), Effect::Restart);
        }
        if options != listening::options(&running.document) {
            changed("options of sockets that stay open".to_owned(), Effect::Restart);
        }
        let (addrs, sets): (Vec<SocketAddr>, Vec<_>) = opened.into_iter().unzip();
        running.pool.add_listeners(sets).map_err(lost)?;
        for addr in addrs {
            running.listening.push(addr);
            changed(format!("interface {}@{} opened", addr.ip(), addr.port()), Effect::Live);
        }
        let old = running.pool.snapshot();
        let outdated = outdated(&old, &snapshot);
        running.pool.apply(Arc::new(snapshot)).map_err(lost)?;
        if outdated {
            running.store.flush_all();
            changed("cache emptied".to_owned(), Effect::Live);
        }
        running.pool.remove_listeners(&closing).map_err(lost)?;
        for addr in closing {
            running.listening.retain(|open| *open != addr);
            changed(format!("interface {}@{} closed", addr.ip(), addr.port()), Effect::Live);
        }
        let bulk = scan.map_or(0, digest);
        if bulk != running.bulk {
            changed("local-zone, local-data".to_owned(), Effect::Live);
        }
        running.bulk = bulk;
        running.document = next;
        Ok(changes)
    }

    /// Counters under Unbound's names, summed over the workers.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        self.state().running.as_ref().map(|running| running.pool.stats()).unwrap_or_default()
    }

    /// The state of things.
    pub fn health(&self) -> Health {
        let state = self.state();
        let Some(running) = &state.running else { return Health::default() };
        let upstreams = running.pool.upstreams().unwrap_or_default();
        Health {
            upstreams_total: upstreams.len() as u64,
            upstreams_healthy: upstreams.values().filter(|alive| **alive).count() as u64,
            cache_entries: running.store.entries() as u64,
            cache_bytes: running.store.bytes() as u64,
            workers: state.workers as u64,
            revision: running.document.revision,
        }
    }

    /// The addresses served.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.state().running.as_ref().map(|running| running.listening.clone()).unwrap_or_default()
    }

    /// Writes one line of the control plane.
    pub fn log(&self, level: Level, text: &str) {
        self.log.line(level, 0, text);
    }

    /// Opens the log file anew.
    ///
    /// # Errors
    /// It cannot be opened; the old one stays in use.
    pub fn reopen_log(&self) -> Result<(), Failure> {
        self.log.reopen().map_err(|e| Failure::new(e.to_string()))
    }

    /// Takes no new work, finishes what is in flight, for at most `limit`.
    pub fn drain(&self, limit: Duration) {
        // Not under the lock: the control plane must be able to look while this takes its time.
        let pool = self.state().running.as_ref().map(|running| Arc::clone(&running.pool));
        if let Some(Err(error)) = pool.map(|pool| pool.drain(limit)) {
            self.log.line(Level::Error, 0, &lost(error).to_string());
        }
    }

    /// Stops the workers and closes the sockets.
    pub fn stop(&self) {
        let running = self.state().running.take();
        if let Some(running) = running {
            running.pool.stop();
        }
    }
}

/// Whether what was remembered under one snapshot may not be said under the next: other servers are asked, or the bounds
/// of TTLs are others. (Unbound forgets all at every reload.)
fn outdated(old: &Snapshot, next: &Snapshot) -> bool {
    old.forwards != next.forwards || old.serve.limits != next.serve.limits
}

/// Descriptors the workers may need at once: every upstream socket and client connection the document permits, the
/// listeners, and a reserve for log, control plane and libraries.
fn descriptors(document: &Document, workers: usize) -> u64 {
    const RESERVE: u64 = 128;
    let out = &document.outgoing;
    let each = u64::from(out.range) + u64::from(out.num_tcp) + u64::from(document.serve.incoming_num_tcp);
    let listening = document.listen.len() as u64 * 2;
    (each + listening) * workers as u64 + RESERVE
}

/// A worker does not answer its channel any more.
fn lost(error: std::io::Error) -> Failure {
    Failure::new(format!("the workers do not answer: {error}")).advise("restart the resolver; this is a defect")
}

/// A digest of the bulk statements and their order. Equal digests of different statements would leave a line out of a
/// report, nothing more, so a fast hash with fixed keys does.
fn digest(scan: &Scan) -> u64 {
    let mut hasher = DefaultHasher::new();
    for bulk in &scan.bulk {
        (bulk.kind.as_str(), scan.bulk_values(bulk)).hash(&mut hasher);
    }
    hasher.finish()
}

fn cache_bytes(document: &Document) -> usize {
    usize::try_from(document.cache.bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_forgotten_when_others_are_asked_or_ttls_bounded_otherwise_and_only_then() {
        use crate::document::tests::document;
        use crate::document::{At, Forward, ForwardServer};
        let snapshot =
            |document: &Document| compile(document, None, CookieSecret([0; 16])).snapshot.expect("no mistakes");
        let forward = |address: &str, no_cache| {
            let at = || At { file: "test.conf".to_owned(), line: 1, column: 1 };
            let servers = vec![ForwardServer { address: address.to_owned(), port: 53, at: at() }];
            Forward { name: ".".to_owned(), servers, tcp: false, no_cache, at: at() }
        };
        let with = |forward| Document { forwards: vec![forward], ..document() };
        let old = snapshot(&with(forward("192.0.2.1", false)));
        let mut same = with(forward("192.0.2.1", false));
        same.serve.minimal_responses ^= true;
        assert!(!outdated(&old, &snapshot(&same)));
        assert!(outdated(&old, &snapshot(&with(forward("192.0.2.2", false)))));
        assert!(outdated(&old, &snapshot(&with(forward("192.0.2.1", true)))));
        same.cache.max_ttl = 60;
        assert!(outdated(&old, &snapshot(&same)));
    }

    #[test]
    fn nothing_runs_before_start() {
        let engine = Engine::new().expect("standard error is open");
        assert_eq!(engine.health(), Health::default());
        assert!(engine.stats().is_empty());
        assert!(engine.apply(&[], None).is_err());
        engine.drain(Duration::ZERO);
        engine.stop();
    }
}
