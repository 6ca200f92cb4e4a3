//! What runs: log sink, sockets, cache, workers.
//!
//! Owns the order `open_log` → `bind` → (the caller drops privileges) → `start` → `apply`… → `drain` → `stop`, and the
//! document in force, against which `apply` finds what changed. It must never leave anything half applied: all that can
//! fail (compiling, opening sockets) happens before the workers hear of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conf::Scan;
use net::listen::ListenerSet;
use net::pool::Pool;
use net::snapshot::Snapshot;
use policy::{Item, Overlay, Policy};
use resolve::{ForwardZone, Forwards, Live};
use store::{Sizes, Store};
use sys::log::{Level, Logger, Options, Shape, Target, TimeStyle};
use wire::{CookieSecret, Name, Rtype};

use crate::cache::not_running;
use crate::compile::{self, Before, Compiled, compile};
use crate::document::{Document, Log};
use crate::follow::Follow;
use crate::querylog::{Erased, QueryLog};
use crate::surroundings::{self, Hosts, Stamp, Surroundings};
use crate::watch::Watch;
use crate::{Failure, listening, lookup, trust};

/// Longest time one look-up of a `forward-host` may take: as long as a client waits.
const HOST_LOOKUP: Duration = Duration::from_secs(2);

/// Time between two looks at what the document refers to, of which the second reads a changed resolv.conf, for the price
/// of one system call each.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most zones that are forgotten one by one, each by a walk through the whole cache; beyond it, emptying is cheaper.
const MAX_SWEEPS: usize = 16;

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
    /// Revision in force.
    pub revision: u64,
    /// Records of the API.
    pub records: u64,
    /// Blocks of the API.
    pub blocks: u64,
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
    /// What adds to the document, as of the last look.
    found: Surroundings,
    /// Of the file of `resolv-fallback`, taken before it was read.
    stamp: Option<Stamp>,
    /// The same at the last look.
    seen: Option<Stamp>,
    listening: Vec<SocketAddr>,
    /// Of the bulk statements in force, to tell whether a reload changes them.
    bulk: u64,
    /// Of all that the local zones are made of, if they can be taken over.
    zones: Option<u64>,
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
    /// What changes in trust anchors while it runs.
    live: Arc<Live>,
    follow: Follow,
    querylog: QueryLog,
    state: Arc<Mutex<State>>,
    /// Held by who makes other local zones or another overlay of those in force, before the state is: that takes its time.
    changing: Mutex<()>,
    /// There while the document refers to something that changes by itself.
    watch: Mutex<Option<Watch>>,
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
        let (log, live) = (Arc::new(log), Arc::<Live>::default());
        Ok(Self {
            follow: Follow::new(Arc::clone(&live), Arc::clone(&log)),
            querylog: QueryLog::new(Arc::clone(&log))?,
            log,
            cookie_secret: CookieSecret(secret),
            live,
            state: Arc::default(),
            changing: Mutex::default(),
            watch: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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

    /// Compiles and starts the workers on what [`Engine::bind`] opened. `overlay` is there from the first answer on.
    ///
    /// # Errors
    /// The configuration is refused, or a thread cannot be started.
    pub fn start(&self, document: &[u8], scan: Option<&Scan>, overlay: Option<&Overlay>) -> Result<(), Failure> {
        self.begin(decode(document)?, scan, overlay)
    }

    fn begin(&self, document: Document, scan: Option<&Scan>, overlay: Option<&Overlay>) -> Result<(), Failure> {
        let _changing = lock(&self.changing);
        let mut state = self.state();
        if state.running.is_some() {
            return Err(Failure::new("the engine runs already"));
        }
        let addrs: Vec<SocketAddr> = state.bound.iter().map(|bound| bound.addr).collect();
        let stamp = stamp(&document);
        let found = look_around(&document, &addrs, &Surroundings::default(), &self.log);
        let mut compiled = compile(&document, scan, self.cookie_secret.clone(), &found, &self.live, None);
        let autos = std::mem::take(&mut compiled.autos);
        let (bulk, zones) = (compiled.bulk, compiled.zones);
        let mut snapshot = accepted(compiled)?;
        if let Some(overlay) = overlay {
            lay_over(&mut snapshot, overlay);
        }
        let querylog = self.querylog.prepare(&document.querylog)?;
        QueryLog::tell(&querylog, &mut snapshot);
        self.follow.take(autos);
        self.log.line(Level::Notice, 0, &trust::summary(document.trust.as_ref(), snapshot.forwards.trust()));
        let store = Arc::new(Store::new(sizes(&document)));
        store.resize_denials(octets(document.cache.negatives));
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
        pool.keys().resize(octets(document.cache.keys));
        let inherited = std::mem::take(&mut state.inherited);
        let watched = watched(&document);
        let pool = Arc::new(pool);
        self.run_follow(&pool, &store, &document);
        self.querylog.run(querylog, &pool);
        let seen = stamp;
        state.running = Some(Running { pool, store, document, found, stamp, seen, listening, bulk, zones, inherited });
        drop(state);
        self.watch(watched)
    }

    /// Swaps to another document; returns when every worker has acknowledged. Without an overlay the one in force stays.
    ///
    /// # Errors
    /// The configuration is refused or a new address cannot be opened: nothing has changed then.
    pub fn apply(
        &self,
        document: &[u8],
        scan: Option<&Scan>,
        overlay: Option<&Overlay>,
    ) -> Result<Vec<Change>, Failure> {
        self.change(decode(document)?, scan, overlay)
    }

    /// Puts records and blocks in and takes others out, see [`Overlay::amended`]; returns when every worker has
    /// acknowledged. Takes time for what changes, not for what there is.
    ///
    /// # Errors
    /// Nothing runs, or a worker does not answer: the overlay is in force then all the same, for those that do.
    pub fn amend(
        &self,
        revision: u64,
        put: impl IntoIterator<Item = Item>,
        remove: impl IntoIterator<Item = Item>,
    ) -> Result<(), Failure> {
        let _changing = lock(&self.changing);
        let (pool, _) = self.plane().ok_or_else(not_running)?;
        let local = pool.snapshot().policy.local.amended(put, remove);
        let mut state = self.state();
        let running = state.running.as_mut().ok_or_else(not_running)?;
        // What else is in force may have changed meanwhile.
        let old = running.pool.snapshot();
        let policy = Policy { local, ..(*old.policy).clone() };
        let (forwards, serve) = (Arc::clone(&old.forwards), Arc::clone(&old.serve));
        let next = Snapshot { revision, policy: Arc::new(policy), forwards, serve };
        running.document.revision = revision;
        running.pool.apply(Arc::new(next)).map_err(lost)
    }

    pub(crate) fn change(
        &self,
        next: Document,
        scan: Option<&Scan>,
        overlay: Option<&Overlay>,
    ) -> Result<Vec<Change>, Failure> {
        let _changing = lock(&self.changing);
        let mut state = self.state();
        let workers = state.workers;
        let running = state.running.as_mut().ok_or_else(|| Failure::new("the engine does not run"))?;
        let stamp = stamp(&next);
        let found = look_around(&next, &running.listening, &running.found, &self.log);
        let last = running.pool.snapshot();
        let before = running.zones.map(|zones| Before { zones, local: last.policy.local.clone() });
        let mut compiled = compile(&next, scan, self.cookie_secret.clone(), &found, &self.live, before.as_ref());
        let autos = std::mem::take(&mut compiled.autos);
        let (bulk, zones) = (compiled.bulk, compiled.zones);
        let mut snapshot = accepted(compiled)?;
        let kept = snapshot.policy.local.same_zones(&last.policy.local);
        match overlay {
            Some(overlay) => lay_over(&mut snapshot, overlay),
            None if kept => {}
            None => lay_over(&mut snapshot, last.policy.local.overlay()),
        }
        keep_trust(&mut snapshot, &running.pool.snapshot());
        let querylog = self.querylog.prepare(&next.querylog)?;
        QueryLog::tell(&querylog, &mut snapshot);
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
        running.store.resize(sizes(&next));
        running.store.resize_denials(octets(next.cache.negatives));
        running.pool.keys().resize(octets(next.cache.keys));
        let outdated = outdated(&running.pool.snapshot().forwards, &snapshot.forwards);
        let summary = trust::summary(next.trust.as_ref(), snapshot.forwards.trust());
        if next.trust != running.document.trust {
            self.log.line(Level::Notice, 0, &summary);
        }
        self.follow.take(autos);
        let applied = running.pool.apply(Arc::new(snapshot));
        // Even if a worker takes long: the snapshot is in force, and the next reload finds nothing outdated any more.
        if let Some(what) = flush(&running.store, &outdated) {
            changed(what, Effect::Live);
        }
        applied.map_err(lost)?;
        self.querylog.run(querylog, &running.pool);
        running.pool.remove_listeners(&closing).map_err(lost)?;
        for addr in closing {
            running.listening.retain(|open| *open != addr);
            changed(format!("interface {}@{} closed", addr.ip(), addr.port()), Effect::Live);
        }
        if bulk != running.bulk {
            changed("local-zone, local-data".to_owned(), Effect::Live);
        }
        if found.resolvers != running.found.resolvers {
            changed(format!("resolv-fallback: {}", listed(&found.resolvers)), Effect::Live);
        }
        let watched = watched(&next);
        self.run_follow(&running.pool, &running.store, &next);
        (running.bulk, running.zones) = (bulk, zones);
        running.document = next;
        running.found = found;
        running.stamp = stamp;
        drop(state);
        if let Err(error) = self.watch(watched) {
            self.log.line(Level::Error, 0, &error.to_string()); // all else is in force
        }
        Ok(changes)
    }

    /// What changes in trust anchors while it runs.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Who follows them.
    pub(crate) fn follow(&self) -> &Follow {
        &self.follow
    }

    /// Trust anchors that follow RFC 5011 are looked after with this from now on.
    fn run_follow(&self, pool: &Arc<Pool>, store: &Arc<Store>, document: &Document) {
        if let Err(error) = self.follow.run(pool, store, document.trust.as_ref()) {
            let text = format!("auto-trust-anchor-file: no thread can be started, no key roll is followed: {error}");
            self.log.line(Level::Error, 0, &Failure::new(text).to_string());
        }
    }

    /// The workers and the cache, while they run: what takes time is asked of them without the lock.
    pub(crate) fn plane(&self) -> Option<(Arc<Pool>, Arc<Store>)> {
        self.state().running.as_ref().map(|running| (Arc::clone(&running.pool), Arc::clone(&running.store)))
    }

    /// Where lines are written.
    pub(crate) fn logger(&self) -> Arc<Logger> {
        Arc::clone(&self.log)
    }

    /// Counters under Unbound's names, summed over the workers.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        let Some((pool, store)) = self.plane() else { return BTreeMap::new() };
        let mut stats = pool.stats();
        let snapshot = pool.snapshot();
        let overlay = snapshot.policy.local.overlay();
        stats.insert("overlay.records".to_owned(), overlay.record_count() as u64);
        stats.insert("overlay.blocks".to_owned(), overlay.block_count() as u64);
        stats.extend(self.querylog.figures().map(|(name, value)| (name.to_owned(), value)));
        if snapshot.serve.extended_statistics {
            stats.insert("mem.overlay".to_owned(), overlay.bytes() as u64);
            let usage = store.usage();
            let servers: BTreeSet<SocketAddr> =
                pool.servers().unwrap_or_default().iter().map(|view| view.addr).collect();
            for (name, value) in [
                ("mem.cache.message", usage.messages.bytes as u64),
                ("mem.cache.rrset", usage.rrsets.bytes as u64),
                ("msg.cache.count", usage.messages.entries as u64),
                ("rrset.cache.count", usage.rrsets.entries as u64),
                ("infra.cache.count", servers.len() as u64),
                // Nothing is validated: no key is kept and no answer was proven right or wrong.
                ("key.cache.count", 0),
                ("num.answer.secure", 0),
                ("num.answer.bogus", 0),
                ("num.rrset.bogus", 0),
            ] {
                stats.insert(name.to_owned(), value);
            }
        }
        stats
    }

    /// What the data plane knows of the process; empty before [`Engine::start`].
    ///
    /// # Errors
    /// A worker does not answer, or the system does not tell.
    pub fn system(&self) -> Result<BTreeMap<&'static str, u64>, Failure> {
        let Some((pool, _)) = self.plane() else { return Ok(BTreeMap::new()) };
        let sockets = pool.sockets().map_err(lost)?;
        let wins = pool.servers().map_err(lost)?.iter().map(|view| view.wins).sum();
        let resident = sys::memory::resident().map_err(|e| Failure::new(format!("/proc/self/statm: {e}")))?;
        Ok(BTreeMap::from([
            ("workers", pool.workers() as u64),
            ("sockets.udp", sockets.udp_listen as u64),
            ("sockets.tcp_listen", sockets.tcp_listen as u64),
            ("sockets.tcp", sockets.tcp_clients as u64),
            ("sockets.udp_upstream", sockets.udp_upstream as u64),
            ("sockets.tcp_upstream", sockets.tcp_upstream as u64),
            ("resident_bytes", resident),
            ("racing_wins", wins),
        ]))
    }

    /// The state of things.
    pub fn health(&self) -> Health {
        let state = self.state();
        let Some(running) = &state.running else { return Health::default() };
        let upstreams = running.pool.upstreams().unwrap_or_default();
        let usage = running.store.usage();
        let snapshot = running.pool.snapshot();
        let overlay = snapshot.policy.local.overlay();
        Health {
            upstreams_total: upstreams.len() as u64,
            upstreams_healthy: upstreams.values().filter(|alive| **alive).count() as u64,
            cache_entries: usage.messages.entries as u64,
            cache_bytes: (usage.messages.bytes + usage.rrsets.bytes) as u64,
            workers: state.workers as u64,
            revision: running.document.revision,
            records: overlay.record_count() as u64,
            blocks: overlay.block_count() as u64,
        }
    }

    /// Entries of the query log, the newest first: `{"items":[…],"next":"…" or null,"total":n}`. The filter is msgpack:
    /// a map of `actions`, `client`, `name`, `rtype`, `rcode`, `since_us`, `before` and `after` (numbers of entries).
    ///
    /// # Errors
    /// The filter means nothing.
    pub fn query_log(&self, filter: &[u8], limit: usize) -> Result<String, Failure> {
        self.querylog.list(filter, limit)
    }

    /// Those after `after`, in the order in which they came, at most the newest `limit`: the number of the last entry there
    /// is, how many were left out, and a JSON list.
    ///
    /// # Errors
    /// The filter means nothing.
    pub fn query_log_tail(&self, filter: &[u8], limit: usize) -> Result<(u64, u64, String), Failure> {
        self.querylog.tail(filter, limit)
    }

    /// The names that come most, a JSON list: `all`, `blocked` or `failed`. Counts halve each hour.
    ///
    /// # Errors
    /// There is no such list.
    pub fn top_names(&self, kind: &str, limit: usize) -> Result<String, Failure> {
        self.querylog.top_names(kind, limit)
    }

    /// The clients that ask most, or the one named, a JSON list. Counts halve each hour.
    ///
    /// # Errors
    /// The text names no client.
    pub fn top_clients(&self, client: Option<&str>, limit: usize) -> Result<String, Failure> {
        self.querylog.top_clients(client, limit)
    }

    /// Forgets a client, or all, in the query log: memory and file.
    ///
    /// # Errors
    /// The text names no client, or the file cannot be rewritten; memory has forgotten then.
    pub fn query_log_erase(&self, client: Option<&str>) -> Result<Erased, Failure> {
        self.querylog.erase(client)
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
        self.querylog.reopen();
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

    /// Starts the thread that follows what the document refers to.
    fn watch(&self, wanted: bool) -> Result<(), Failure> {
        let mut watch = lock(&self.watch);
        match (&*watch, wanted) {
            // It stays when there is nothing to follow any more: waiting for its end could take a look-up's time.
            (Some(watch), _) => watch.look(),
            (None, true) => {
                let (state, log) = (Arc::clone(&self.state), Arc::clone(&self.log));
                let mut hosts = Hosts::default();
                let look = move || look(&state, &mut hosts, &log);
                *watch = Some(
                    Watch::start("runbound-watch", LOOK_EVERY, look)
                        .map_err(|e| Failure::new(format!("no thread can be started: {e}")))?,
                );
            }
            (None, false) => {}
        }
        Ok(())
    }

    /// Stops the workers and closes the sockets.
    pub fn stop(&self) {
        let running = self.state().running.take();
        self.querylog.stop();
        if let Some(running) = running {
            running.pool.stop();
        }
        self.follow.stop();
        *lock(&self.watch) = None; // after the workers, so that it waits for no look-up
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts an overlay over the local zones of a snapshot that nobody else has yet.
fn lay_over(snapshot: &mut Snapshot, overlay: &Overlay) {
    let policy = Arc::make_mut(&mut snapshot.policy);
    policy.local = policy.local.laid_over(overlay.clone());
}

/// Whether the document refers to something that changes by itself.
fn watched(document: &Document) -> bool {
    !document.outgoing.resolv_conf.is_empty() || document.forwards.iter().any(|zone| !zone.hosts.is_empty())
}

/// The `forward-host`s of a document, each once.
fn hosts(document: &Document) -> Vec<Name> {
    let texts = document.forwards.iter().flat_map(|zone| &zone.hosts).map(|host| &host.address);
    let names: HashSet<Name> = texts.filter_map(|text| lookup::name(text).ok()).collect();
    names.into_iter().collect()
}

/// Of the file that the document refers to, to be taken before it is read.
fn stamp(document: &Document) -> Option<Stamp> {
    Stamp::of(Path::new(&document.outgoing.resolv_conf))
}

/// Reads what the document refers to. `known` is what was found before.
fn look_around(document: &Document, listening: &[SocketAddr], known: &Surroundings, log: &Logger) -> Surroundings {
    let path = document.outgoing.resolv_conf.as_str();
    let mut found = Surroundings { resolvers: Vec::new(), hosts: known.hosts.clone() };
    if path.is_empty() {
        return found;
    }
    match surroundings::resolvers(Path::new(path), listening) {
        Ok(resolvers) if resolvers.is_empty() => {
            let text = format!("resolv-fallback: {path} names no server but this resolver itself, so there is none");
            log.line(Level::Warning, 0, &text);
        }
        Ok(resolvers) => {
            found.resolvers = resolvers;
            if compile::forwards_of(document, &found, None).fallback().is_none() {
                let text = format!(
                    "resolv-fallback: {} may not be asked, see do-not-query-localhost",
                    listed(&found.resolvers)
                );
                log.line(Level::Warning, 0, &text);
            }
        }
        Err(error) => {
            log.line(Level::Warning, 0, &Failure::new(format!("resolv-fallback: {path}: {error}")).to_string());
        }
    }
    found
}

/// One look at what changes while the document stays, and what follows from it: the same snapshot with other forwarders.
fn look(state: &Mutex<State>, hosts: &mut Hosts, log: &Logger) {
    let Some((pool, names, types)) = lock(state).running.as_ref().map(|running| {
        let out = &running.document.outgoing;
        let types = [(Rtype::A, out.ip4), (Rtype::AAAA, out.ip6)];
        (Arc::clone(&running.pool), self::hosts(&running.document), types)
    }) else {
        return;
    };
    // Without the lock, for it may take its time.
    let types: Vec<Rtype> = types.into_iter().filter_map(|(rtype, wanted)| wanted.then_some(rtype)).collect();
    hosts.refresh(&names, &types, &|name, rtype| {
        let found = pool.lookup(lookup::question(name.clone(), rtype, false), HOST_LOOKUP).ok()??;
        Some(found.answer)
    });
    let mut state = lock(state);
    let Some(running) = state.running.as_mut() else { return };
    let stamp = stamp(&running.document);
    // Read once it stays as it is: before, it may be half written.
    let still = std::mem::replace(&mut running.seen, stamp) == stamp;
    let mut found = if stamp == running.stamp || !still {
        running.found.clone()
    } else {
        running.stamp = stamp;
        look_around(&running.document, &running.listening, &running.found, log)
    };
    found.hosts = hosts.known();
    if found.resolvers != running.found.resolvers {
        let path = &running.document.outgoing.resolv_conf;
        log.line(Level::Notice, 0, &format!("resolv-fallback: {path} changed: {}", listed(&found.resolvers)));
    }
    for (name, ips) in found.hosts.iter().filter(|(name, ips)| running.found.hosts.get(*name) != Some(*ips)) {
        let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
        let text = if ips.is_empty() { "no address".to_owned() } else { ips.join(" ") };
        let level = if ips.is_empty() { Level::Warning } else { Level::Notice };
        log.line(level, 0, &format!("forward-host: {name} has {text}"));
    }
    if found != running.found {
        running.surround(found, log);
    }
}

impl Running {
    /// Puts into force what was found: everything stays but whom to ask.
    fn surround(&mut self, found: Surroundings, log: &Logger) {
        let old = self.pool.snapshot();
        let forwards = compile::forwards_of(&self.document, &found, old.forwards.trust());
        let next = Snapshot {
            revision: old.revision,
            policy: Arc::clone(&old.policy),
            forwards: Arc::new(forwards),
            serve: Arc::clone(&old.serve),
        };
        match self.pool.apply(Arc::new(next)) {
            Ok(()) => self.found = found,
            Err(error) => log.line(Level::Error, 0, &lost(error).to_string()),
        }
    }
}

/// Addresses for a line of a report.
fn listed(addrs: &[SocketAddr]) -> String {
    if addrs.is_empty() {
        return "no server".to_owned();
    }
    addrs.iter().map(|addr| format!("{}@{}", addr.ip(), addr.port())).collect::<Vec<_>>().join(" ")
}

/// What may not be said any more once other forwarders are asked.
#[derive(Debug, PartialEq, Eq)]
enum Outdated {
    /// Addresses were filtered otherwise when all of it was stored, or answers judged otherwise: this is why.
    All(&'static str),
    /// Names at and below these were asked of other servers.
    Zones(Vec<Name>),
}

/// Where the next snapshot trusts what the last one did, it is made the same object: what was concluded under it, the keys
/// of zones above all, goes on to hold.
fn keep_trust(next: &mut Snapshot, last: &Snapshot) {
    if let (Some(new), Some(old)) = (next.forwards.trust(), last.forwards.trust())
        && new == old
    {
        next.forwards = Arc::new(next.forwards.trusting(Arc::clone(old)));
    }
}

/// Compares two tables of forward zones. A zone that came, went, or has other servers is outdated with all below it; no
/// other change is a reason to forget: TTL limits hold for what is stored from now on, as after Unbound's
/// `reload_keep_cache`.
fn outdated(old: &Forwards, next: &Forwards) -> Outdated {
    if old.private() != next.private() {
        return Outdated::All("other private addresses");
    }
    let same = match (old.trust(), next.trust()) {
        (Some(old), Some(next)) => old.judges_as(next),
        (None, None) => true,
        _ => false,
    };
    if !same {
        return Outdated::All("other trust anchors or rules of validation");
    }
    let servers = |zone: &ForwardZone| zone.servers.iter().map(|server| server.addr).collect::<BTreeSet<_>>();
    let of = |table: &Forwards| -> HashMap<Name, (BTreeSet<SocketAddr>, bool)> {
        table.zones().map(|zone| (zone.name.clone(), (servers(zone), zone.no_cache))).collect()
    };
    let (old, next) = (of(old), of(next));
    let mut names: Vec<Name> =
        old.keys().chain(next.keys()).filter(|name| old.get(*name) != next.get(*name)).cloned().collect();
    names.sort_by(|a, b| a.as_ref().cmp(&b.as_ref()));
    names.dedup();
    // What lies below another is forgotten with it. In this order the one above comes first.
    let mut tops: Vec<Name> = Vec::new();
    for name in names {
        if !tops.iter().any(|top| name.as_ref().is_subdomain_of(top.as_ref())) {
            tops.push(name);
        }
    }
    Outdated::Zones(tops)
}

/// Forgets what is outdated; says what that was, for the report.
fn flush(store: &Store, outdated: &Outdated) -> Option<String> {
    match outdated {
        Outdated::All(why) => {
            let removed = store.flush_all();
            Some(format!("cache emptied for {why} ({removed} entries)"))
        }
        Outdated::Zones(names) if names.is_empty() => None,
        Outdated::Zones(names) if names.len() > MAX_SWEEPS => {
            let removed = store.flush_all();
            Some(format!("cache emptied, for {} forward zones have other servers ({removed} entries)", names.len()))
        }
        Outdated::Zones(names) => {
            let removed: usize = names.iter().map(|name| store.flush_zone(name.as_ref())).sum();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Some(format!("cache emptied at and below {} ({removed} entries)", names.join(" ")))
        }
    }
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
pub(crate) fn lost(error: std::io::Error) -> Failure {
    Failure::new(format!("the workers do not answer: {error}")).advise("restart the resolver; this is a defect")
}

/// Octets as this machine can count them.
fn octets(given: u64) -> usize {
    usize::try_from(given).unwrap_or(usize::MAX)
}

/// Octets of both caches.
fn sizes(document: &Document) -> Sizes {
    Sizes { messages: octets(document.cache.messages), rrsets: octets(document.cache.rrsets) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::document::tests::{document, forward};
    use crate::document::{At, Placed};

    /// An engine with one worker that listens nowhere.
    pub(crate) fn started(document: &Document) -> Engine {
        let engine = Engine::new().expect("standard error is open");
        engine.state().workers = 1;
        engine.begin(document.clone(), None, None).expect("it starts");
        engine
    }

    #[test]
    fn a_reload_keeps_what_was_concluded_while_the_same_is_trusted() {
        let built_in = crate::document::Trust { built_in: true, ..crate::document::tests::trust() };
        let first = Document { trust: Some(built_in.clone()), ..document() };
        let engine = started(&first);
        let trust = || {
            let (pool, _) = engine.plane().expect("it runs");
            pool.snapshot().forwards.trust().map(Arc::clone).expect("it validates")
        };
        let before = trust();
        let same = engine.change(Document { revision: 2, ..first.clone() }, None, None).expect("no mistakes");
        assert!(Arc::ptr_eq(&before, &trust()) && same.is_empty(), "{same:?}");
        let other = crate::document::Trust { harden_algo_downgrade: true, ..built_in };
        let changes =
            engine.change(Document { revision: 3, trust: Some(other), ..first }, None, None).expect("no mistakes");
        assert!(!Arc::ptr_eq(&before, &trust()));
        let what = &changes.first().expect("a change").what;
        assert!(what.starts_with("cache emptied for other trust anchors or rules of validation"), "{what}");
        engine.stop();
    }

    #[test]
    fn rfc7646_2_1_an_excuse_outlives_a_reload_and_has_bounds() {
        let built_in = crate::document::Trust { built_in: true, ..crate::document::tests::trust() };
        let first = Document { trust: Some(built_in), ..document() };
        let engine = started(&first);
        assert!(engine.excuse("Broken.Example", 60, 0, "keys").expect("a name"));
        engine.change(Document { revision: 2, ..first }, None, None).expect("no mistakes");
        let ntas = || engine.live().ntas(0).iter().map(|nta| nta.name.to_string()).collect::<Vec<_>>();
        assert_eq!(ntas(), ["broken.example."]);
        assert!(engine.excuse("broken.example", 604_801, 0, "").is_err() && engine.excuse("a..b", 60, 0, "").is_err());
        assert!(engine.excuse_no_more("broken.example.").expect("a name"));
        assert!(!engine.excuse_no_more("broken.example.").expect("a name"));
        assert!(ntas().is_empty() && engine.trust().is_ok());
        engine.stop();
    }

    #[test]
    fn a_change_of_the_overlay_shares_all_else_and_a_reload_keeps_it() {
        let scan = |text: &str| conf::scan_text(text.as_bytes().to_vec(), "test.conf", Path::new("/"));
        let file = scan("server:\nlocal-zone: a.example. static\n");
        let record = |text: &str| Item::Record(wire::parse_record(text, 0).expect("a record"));
        let block = |name: &str| Item::Block { name: lookup::name(name).expect("a name"), action: policy::Block::Null };
        let overlay = Overlay::default().amended([record("x.a.example. 5 A 192.0.2.1")], []);
        let engine = Engine::new().expect("standard error is open");
        engine.state().workers = 1;
        engine.begin(document(), Some(&file), Some(&overlay)).expect("it starts");
        let now = || engine.plane().expect("it runs").0.snapshot();
        let there = || (engine.health().records, engine.health().blocks, engine.health().revision);
        assert_eq!((there().0, there().1), (1, 0));
        let first = now();

        let put = [record("y.a.example. 5 A 192.0.2.1"), block("ads.example")];
        engine.amend(7, put, [record("x.a.example. 5 A 192.0.2.1")]).expect("it runs");
        let next = now();
        assert_eq!((there(), next.revision), ((1, 1, 7), 7));
        assert_eq!((engine.stats()["overlay.records"], engine.stats()["overlay.blocks"]), (1, 1));
        assert!(next.policy.local.same_zones(&first.policy.local));
        assert!(Arc::ptr_eq(&first.forwards, &next.forwards) && Arc::ptr_eq(&first.serve, &next.serve));

        // The same file: the zones are the same object. Another one: the overlay lies over the new zones.
        let eighth = Document { revision: 8, ..document() };
        assert_eq!(engine.change(eighth.clone(), Some(&file), None).expect("taken"), []);
        assert!(now().policy.local.same_zones(&next.policy.local));
        let other = scan("server:\nlocal-zone: a.example. static\nlocal-zone: b.example. static\n");
        assert_eq!(engine.change(eighth.clone(), Some(&other), None).expect("taken").len(), 1);
        assert!(!now().policy.local.same_zones(&next.policy.local));
        assert_eq!(there(), (1, 1, 8));
        let lan = Document { local: crate::document::Local { unblock_lan_zones: true }, ..eighth.clone() };
        let other_zones = Arc::clone(&now().policy);
        engine.change(lan, Some(&other), None).expect("taken");
        assert!(!now().policy.local.same_zones(&other_zones.local));
        // What was said of a file is said again, for its lines may be others.
        let doubtful = scan("server:\nlocal-zone: nothing.example. nodefault\n");
        engine.change(eighth.clone(), Some(&doubtful), None).expect("taken");
        let doubted = Arc::clone(&now().policy);
        engine.change(eighth.clone(), Some(&doubtful), None).expect("taken");
        assert!(!now().policy.local.same_zones(&doubted.local));
        // One handed in takes the place of the one that is there.
        engine.change(eighth, Some(&file), Some(&Overlay::default())).expect("taken");
        assert_eq!((there().0, there().1), (0, 0));
        engine.stop();
        assert!(engine.amend(9, [], []).is_err());
    }

    #[test]
    fn only_what_other_servers_are_asked_about_is_forgotten() {
        let table = |change: &dyn Fn(&mut Document)| {
            let mut document = document();
            document.forwards = vec![forward(".", &["192.0.2.1"]), forward("a.", &["192.0.2.2", "192.0.2.3"])];
            change(&mut document);
            compile::forwards_of(&document, &Surroundings::default(), None)
        };
        let old = table(&|_| {});
        let names = |change: &dyn Fn(&mut Document)| match outdated(&old, &table(change)) {
            Outdated::All(_) => vec!["all".to_owned()],
            Outdated::Zones(names) => names.iter().map(ToString::to_string).collect(),
        };
        assert!(names(&|_| {}).is_empty());
        assert!(
            names(&|d| d.forwards[1] = forward("a.", &["192.0.2.3", "192.0.2.2"])).is_empty(),
            "order has no meaning"
        );
        assert!(names(&|d| d.forwards[0].tcp = true).is_empty());
        assert_eq!(names(&|d| d.forwards[1] = forward("a.", &["192.0.2.2"])), ["a."]);
        assert_eq!(names(&|d| d.forwards[1].no_cache = true), ["a."]);
        assert_eq!(names(&|d| d.forwards.push(forward("b.a.", &["192.0.2.4"]))), ["b.a."]);
        assert_eq!(names(&|d| d.forwards.truncate(1)), ["a."]);
        assert_eq!(names(&|d| d.forwards[1].name = "b.".to_owned()), ["a.", "b."]);
        assert_eq!(names(&|d| d.forwards = vec![forward(".", &["192.0.2.9"])]), ["."], "with all below it");
        let private = Placed { value: "10.0.0.0/8".to_owned(), at: At::default() };
        assert_eq!(names(&|d| d.outgoing.private_addresses.push(private.clone())), ["all"]);
    }

    #[test]
    fn a_changed_resolv_conf_is_noticed_while_the_configuration_stays() {
        let folder = std::env::temp_dir().join(format!("runbound-engine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("resolv.conf");
        std::fs::write(&path, "nameserver 192.0.2.1\n").expect("a file");
        let mut document = document();
        document.outgoing.resolv_conf = path.to_str().expect("a name").to_owned();
        let engine = started(&document);
        let asked = || {
            let state = engine.state();
            let forwards = Arc::clone(&state.running.as_ref().expect("it runs").pool.snapshot().forwards);
            let servers = forwards.fallback().map(|zone| zone.servers.clone()).unwrap_or_default();
            servers.iter().map(|server| server.addr.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(asked(), ["192.0.2.1:53"]);
        std::fs::write(&path, "nameserver 192.0.2.7\nnameserver 192.0.2.8\n").expect("a file");
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while asked() != ["192.0.2.7:53", "192.0.2.8:53"] {
            assert!(std::time::Instant::now() < end, "{:?}", asked());
            std::thread::sleep(Duration::from_millis(20));
        }
        engine.stop();
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn the_caches_take_the_sizes_of_a_reload_at_once() {
        let mut document = document();
        (document.cache.messages, document.cache.rrsets) = (4 << 20, 8 << 20);
        let engine = started(&document);
        let limits = || [engine.cache_usage()["message.limit"], engine.cache_usage()["rrset.limit"]];
        assert_eq!(limits(), [4 << 20, 8 << 20]);
        (document.cache.messages, document.cache.rrsets) = (1 << 20, 2 << 20);
        assert_eq!(engine.change(document, None, None).expect("taken"), []);
        assert_eq!(limits(), [1 << 20, 2 << 20]);
        engine.stop();
    }

    #[test]
    fn a_stopped_engine_waits_for_no_lookup() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut document = document();
        let port = silent.local_addr().expect("an address").port();
        document.outgoing.do_not_query_localhost = false;
        document.forwards = vec![forward(".", &[&format!("127.0.0.1@{port}")])];
        let engine = Arc::new(started(&document));
        let asking = Arc::clone(&engine);
        let lookup = std::thread::spawn(move || asking.lookup("a.", "A", false, Duration::from_secs(60)));
        silent.recv(&mut [0; 512]).expect("the question");
        engine.stop();
        assert!(lookup.join().expect("no panic").is_err(), "it ends with the workers and not with its time");
    }

    #[test]
    fn nothing_runs_before_start() {
        let engine = Engine::new().expect("standard error is open");
        assert_eq!(engine.health(), Health::default());
        assert!(engine.stats().is_empty());
        assert!(engine.apply(&[], None, None).is_err());
        assert!(engine.upstreams().expect("none").is_empty() && engine.system().expect("nothing").is_empty());
        assert!(engine.cache_usage().is_empty() && engine.cache_dump(0).is_none());
        assert!(engine.cache_flush("all", None, None).is_err() && engine.cache_load(b"").is_err());
        assert!(engine.lookup("a.", "A", false, Duration::ZERO).is_err());
        engine.drain(Duration::ZERO);
        engine.stop();
    }
}
