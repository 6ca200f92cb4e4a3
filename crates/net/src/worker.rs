//! One worker: a thread's whole state, and the effects its mesh asks for.
//!
//! Owns the single-threaded state (mesh, waiting clients, batches) and carries commands and effects out. All cells are
//! this thread's alone; no borrow is held across a point where the thread may do something else. What a packet means is
//! the pipeline's business, what to ask upstream the mesh's.

use crate::explain::{Begun, Inquiry};
use crate::flights::Flights;
use crate::listen::ListenerSet;
use crate::lookup::Looked;
use crate::pending::{Pending, Route, Waiting};
use crate::pipeline;
use crate::reply::{aliased, internal_error};
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
use crate::stream::{self, ConnectionCounts};
use crate::tape::{Action, Mailbox, Mark, Tape};
use crate::udp::{self, UdpListener};
use resolve::{Effect, Forwards, KeyCache, Mesh, Millis, Question, ServerView};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use store::{Answers, Store};
use sys::clock::Moment;
use sys::log::{Level, Logger};
use sys::udp::{RecvBatch, SendBatch, Sent};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Octets of the largest DNS message (RFC 1035 4.2.2).
pub(crate) const MAX_MESSAGE: usize = 65_535;
/// Rounds of effects performed for one event before the rest waits for the next: effects answer effects only when
/// sending fails at once, and a mesh in error must not hold the thread.
const MAX_ROUNDS: usize = 64;

thread_local! {
    /// When this worker's thread had something to do again, nanoseconds of the monotonic clock.
    static AWAKE_NS: Cell<u64> = const { Cell::new(0) };
}

/// What the pool tells a worker. Each is acknowledged, or the sender is dropped with the worker.
pub(crate) enum Command {
    Apply(Arc<Snapshot>, Sender<()>),
    Add(Vec<ListenerSet>, Sender<io::Result<()>>),
    Remove(Arc<[SocketAddr]>, Sender<()>),
    Drain(Duration, Sender<()>),
    /// What is known of the upstream servers.
    Servers(Sender<Vec<ServerView>>),
    /// Forget it; how many they were is told.
    FlushInfra(Sender<usize>),
    /// Hand over what is written for the query log.
    Tape(Sender<()>),
    /// How many sockets are open.
    Sockets(Sender<Sockets>),
    /// Answer a question as for a client, but outside of policy and without a packet.
    Lookup(Question, Sender<Looked>),
    /// The same as for that client, policy included; first what is known at once, with the trace of what follows.
    Explain(Inquiry, Sender<Begun>, Sender<Looked>),
    Stop,
}

/// Sockets of a worker, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// UDP sockets listened on.
    pub udp_listen: usize,
    /// TCP sockets listened on.
    pub tcp_listen: usize,
    /// Connections of clients.
    pub tcp_clients: usize,
    /// UDP sockets of queries to upstream servers under way.
    pub udp_upstream: usize,
    /// TCP connections to upstream servers, idle ones included.
    pub tcp_upstream: usize,
}

/// What a worker is made of.
pub(crate) struct Setup {
    pub(crate) id: u32,
    pub(crate) cpu: Option<usize>,
    pub(crate) seed: [u8; 32],
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) store: Arc<Store>,
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) log: Arc<Logger>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) connections: Arc<ConnectionCounts>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

pub(crate) struct Worker {
    pub(crate) id: u32,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<Logger>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) connections: Arc<ConnectionCounts>,
    snapshot: RefCell<Arc<Snapshot>>,
    /// When the last batch of answers left, nanoseconds of the monotonic clock.
    turn_ended_ns: Cell<u64>,
    /// What the clocks said when `tick` read them last.
    pub(crate) at: Cell<Moment>,
    mesh: RefCell<Mesh>,
    /// A panic left the mesh in a state that is not to be trusted.
    mesh_broken: Cell<bool>,
    pub(crate) pending: RefCell<Pending>,
    pub(crate) recv: RefCell<RecvBatch>,
    /// Answers on their way out, all through `send_by`.
    pub(crate) send: RefCell<SendBatch>,
    send_by: RefCell<Option<Rc<UdpListener>>>,
    /// Where an answer for a stream is rendered.
    pub(crate) scratch: RefCell<Vec<u8>>,
    /// The worker's own first level of the cache.
    pub(crate) answers: RefCell<Answers>,
    /// What is written for the query log.
    pub(crate) tape: RefCell<Tape>,
    /// Snapshots applied so far: the first level holds for one.
    pub(crate) applied: Cell<u64>,
    /// Whether the snapshot has a zone of which nothing is remembered.
    pub(crate) some_keep_nothing: Cell<bool>,
    pub(crate) flights: Flights,
    /// Unwanted replies since the cache was last emptied for their number.
    pub(crate) unwanted: Cell<u32>,
    /// When the timer of the mesh goes off.
    armed: Cell<Option<Millis>>,
    /// The mesh wants it to go off earlier.
    rearm: Notify,
    pub(crate) tcp_open: Cell<usize>,
    pub(crate) stream_bytes: Cell<usize>,
    /// A place for a client's connection became free.
    pub(crate) place_free: Notify,
    pub(crate) draining: Cell<bool>,
    pub(crate) drain_begins: Notify,
    /// Something ended: a drain may be complete.
    pub(crate) quiet: Notify,
}

/// Runs a worker until it is told to stop. `ready` hears whether the thread could begin.
pub(crate) fn run(setup: Setup, ready: &Sender<io::Result<()>>) {
    if let Some(cpu) = setup.cpu {
        // Not being pinned costs speed, not correctness: containers may forbid it.
        let _ = sys::affinity::pin_current_thread(cpu);
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().on_thread_unpark(|| AWAKE_NS.set(sys::clock::monotonic_ns()));
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = ready.send(Err(e));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, Worker::live(setup, ready));
}

impl Worker {
    async fn live(setup: Setup, ready: &Sender<io::Result<()>>) {
        let mut commands = setup.commands;
        let serve = Arc::clone(&setup.snapshot.serve);
        let mut mesh = Mesh::new(serve.limits, setup.seed, Arc::clone(&setup.store), setup.keys);
        mesh.set_verbosity(setup.log.verbosity());
        let keeps_nothing = keeps_nothing(&setup.snapshot.forwards);
        let worker = Rc::new(Worker {
            id: setup.id,
            store: setup.store,
            log: setup.log,
            stats: setup.stats,
            connections: setup.connections,
            snapshot: RefCell::new(setup.snapshot),
            turn_ended_ns: Cell::new(0),
            at: Cell::new(Moment::now()),
            mesh: RefCell::new(mesh),
            mesh_broken: Cell::new(false),
            pending: RefCell::new(Pending::default()),
            recv: RefCell::new(RecvBatch::new(MAX_MESSAGE)),
            send: RefCell::new(SendBatch::new(MAX_MESSAGE)),
            send_by: RefCell::new(None),
            scratch: RefCell::new(vec![0; MAX_MESSAGE]),
            answers: RefCell::default(),
            tape: RefCell::new(Tape::new(setup.mailbox)),
            applied: Cell::new(0),
            some_keep_nothing: Cell::new(keeps_nothing),
            flights: Flights::new(serve.upstream.range),
            unwanted: Cell::new(0),
            armed: Cell::new(None),
            rearm: Notify::new(),
            tcp_open: Cell::new(0),
            stream_bytes: Cell::new(0),
            place_free: Notify::new(),
            draining: Cell::new(false),
            drain_begins: Notify::new(),
            quiet: Notify::new(),
        });
        drop(serve);
        worker.stats.first_level_bytes.set(worker.answers.borrow().usage().bytes);
        tokio::task::spawn_local(Rc::clone(&worker).clockwork());
        let _ = ready.send(Ok(()));
        let mut listening = Listening::default();
        let mut draining: Vec<Sender<()>> = Vec::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Apply(snapshot, done) => {
                    worker.apply(snapshot);
                    let _ = done.send(());
                }
                Command::Add(sets, done) => {
                    let _ = done.send(listening.add(&worker, sets));
                }
                Command::Remove(addrs, done) => {
                    listening.remove(&worker, |addr| addrs.contains(addr), Closing::Address).await;
                    let _ = done.send(());
                }
                Command::Drain(limit, done) => {
                    listening.remove(&worker, |_| true, Closing::ForGood).await;
                    draining.push(done.clone());
                    let worker = Rc::clone(&worker);
                    // in a task of its own: other commands need not wait for it
                    tokio::task::spawn_local(async move {
                        worker.drain(limit).await;
                        let _ = done.send(());
                    });
                }
                Command::Servers(done) => {
                    let _ = done.send(worker.mesh.borrow().servers());
                }
                Command::FlushInfra(done) => {
                    let mut mesh = worker.mesh.borrow_mut();
                    let known = mesh.servers().len();
                    mesh.forget_servers();
                    let _ = done.send(known);
                }
                Command::Tape(done) => {
                    worker.tape.borrow_mut().seal();
                    let _ = done.send(());
                }
                Command::Sockets(done) => {
                    let _ = done.send(Sockets {
                        tcp_clients: worker.tcp_open.get(),
                        udp_upstream: worker.flights.sockets(),
                        tcp_upstream: worker.flights.kept.open(),
                        ..listening.sockets()
                    });
                }
                Command::Lookup(question, done) => worker.look_up(question, done),
                Command::Explain(inquiry, begun, done) => worker.explain(inquiry, &begun, done),
                Command::Stop => break,
            }
        }
        for done in draining {
            let _ = done.send(()); // what drained still is over
        }
    }

    /// The snapshot in force. Taken once a batch.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Reads the clocks, once a batch or event, for all that happens in it. Returns microseconds of the monotonic one.
    pub(crate) fn tick(&self) -> u64 {
        let at = Moment::now();
        self.at.set(at);
        if let Some(trust) = self.snapshot.borrow().forwards.trust() {
            trust.live().tick(at.unix_us / 1_000_000);
        }
        at.monotonic_ns / 1_000
    }

    /// Seconds since 1970 as of the last `tick`; modulo 2^32, as cookies have it (RFC 9018 4.3).
    pub(crate) fn unix_s(&self) -> u32 {
        (self.at.get().unix_us / 1_000_000) as u32
    }

    /// The cache's time in milliseconds as of the last `tick`.
    pub(crate) fn cache_ms(&self) -> store::Millis {
        self.at.get().cache_ms
    }

    fn apply(&self, snapshot: Arc<Snapshot>) {
        {
            let mut mesh = self.mesh.borrow_mut();
            mesh.set_limits(snapshot.serve.limits);
            mesh.set_verbosity(self.log.verbosity());
        }
        self.flights.set_range(snapshot.serve.upstream.range);
        if snapshot.serve.upstream != self.snapshot.borrow().serve.upstream {
            self.flights.kept.retire();
        }
        self.applied.set(self.applied.get() + 1);
        self.some_keep_nothing.set(keeps_nothing(&snapshot.forwards));
        *self.snapshot.borrow_mut() = snapshot;
        self.place_free.notify_waiters(); // there may be more places than before
    }

    /// Waits until no client waits and no connection is open, at most `limit`.
    async fn drain(&self, limit: Duration) {
        self.draining.set(true);
        self.drain_begins.notify_waiters();
        let deadline = Instant::now() + limit;
        while self.pending.borrow().len() > 0 || self.tcp_open.get() > 0 {
            if tokio::time::timeout_at(deadline, self.quiet.notified()).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn set_tcp_open(&self, n: usize) {
        self.tcp_open.set(n);
        self.stats.tcp_usage.set(n as u64);
    }

    pub(crate) fn set_stream_bytes(&self, n: usize) {
        self.stream_bytes.set(n);
        self.stats.stream_wait.set(n as u64);
    }

    /// A batch is done; `answered` says whether answers of it left that were there at once. The turn began when the clocks were
    /// read for it. What its clients waited for, as far as it was for this worker, began when the batch before had left or,
    /// if there was nothing to do since, when there was again: so whatever else the worker did meanwhile is in that.
    pub(crate) fn end_turn(&self, answered: bool) {
        let now = sys::clock::monotonic_ns();
        let began = self.turn_ended_ns.replace(now).max(AWAKE_NS.get());
        let took = now.saturating_sub(self.at.get().monotonic_ns);
        self.tape.borrow_mut().timed(took);
        if answered {
            self.stats.turn(took, now.saturating_sub(began));
        }
    }

    /// The same for the messages of a stream, whose turns are not counted: the query log tells what they took.
    pub(crate) fn end_of_stream_turn(&self) {
        let took = sys::clock::monotonic_ns().saturating_sub(self.at.get().monotonic_ns);
        self.tape.borrow_mut().timed(took);
    }

    pub(crate) fn count_sent(&self, sent: Sent) {
        self.stats.send_failed.add(sent.failed as u64);
    }

    /// Directs the outgoing batch at a listener's socket; what is queued for another leaves first.
    pub(crate) fn aim(&self, listener: &Rc<UdpListener>) {
        let mut by = self.send_by.borrow_mut();
        if by.as_ref().is_some_and(|held| Rc::ptr_eq(held, listener)) {
            return;
        }
        if let Some(held) = by.replace(Rc::clone(listener)) {
            self.flush(&held);
        }
    }

    fn flush(&self, listener: &UdpListener) {
        let mut out = self.send.borrow_mut();
        if !out.is_empty() {
            self.count_sent(out.send(listener.socket.as_fd()));
        }
    }

    /// Performs what the mesh asks for, until it asks for nothing more, and sends what that produced.
    pub(crate) fn pump(self: &Rc<Self>) {
        if self.mesh_broken.take() {
            self.abandon();
        }
        let mut told_us = None;
        for _ in 0..MAX_ROUNDS {
            let effects: Vec<Effect> = self.mesh.borrow_mut().effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Send { id, server, over, packet, deadline } => {
                        self.launch(id, server, over, packet, deadline);
                    }
                    Effect::Resend { id } => self.resend(id),
                    Effect::Cancel { id } => self.flights.cancel(id),
                    Effect::Log { level, text } => self.log.line(word(level), self.id, &text),
                    Effect::Answer { clients, answer, why, stale, security } => {
                        let snapshot = self.snapshot();
                        // The mesh has been at work since the last look at the clock.
                        let now_us = *told_us.get_or_insert_with(|| self.tick());
                        let mut logged = !snapshot.serve.log_servfail;
                        for client in clients {
                            let Some(waiting) = self.pending.borrow_mut().take(client.0) else { continue };
                            if let (Some(why), false) = (&why, logged) {
                                let q = &waiting.query;
                                let q = (q.qname.as_ref(), q.qtype, q.qclass);
                                self.log.line(Level::Error, self.id, &crate::lines::servfail(q, why));
                                logged = true;
                            }
                            if let Route::Inside(tell) = &waiting.route {
                                let answer = aliased(&waiting.alias, (*answer).clone());
                                let looked = Looked::fresh(answer, why.clone(), security);
                                let _ = tell.send(Looked { cached: stale, stale, ..looked });
                            } else {
                                self.stats.expired.add(u64::from(stale));
                                self.stats.proven(security, answer.rcode);
                                let mark = Mark::of_mesh(&waiting, stale, security);
                                self.answer(&snapshot, &waiting, &answer, mark, now_us);
                            }
                        }
                    }
                }
            }
        }
        self.tape.borrow_mut().rest();
        // Not kept: a listener that was removed closes with the last who needs it.
        if let Some(listener) = self.send_by.take() {
            self.flush(&listener);
        }
        let mesh = self.mesh.borrow();
        self.stats.list_current.set(mesh.queries() as u64);
        self.stats.list_current_user.set(mesh.wanted() as u64);
        self.stats.list_current_clients.set(mesh.waiting() as u64);
        let counts = mesh.counts();
        self.stats.list_overwritten.set(counts.jostled);
        self.stats.list_exceeded_mesh.set(counts.exceeded);
        self.stats.rrset_bogus.set(counts.bogus_sets);
        self.stats.verifications.set(counts.verifications);
        self.stats.verifications_at_once.set(counts.most_at_once);
        self.stats.aggressive_noerror.set(counts.implied_noerror);
        self.stats.aggressive_nxdomain.set(counts.implied_nxdomain);
        if mesh.next_wake().is_some_and(|next| self.armed.get().is_none_or(|armed| next < armed)) {
            self.rearm.notify_one();
        }
        drop(mesh);
        if self.draining.get() {
            self.quiet.notify_one();
        }
    }

    /// Renders and sends one answer to a client that waited.
    fn answer(self: &Rc<Self>, snapshot: &Snapshot, waiting: &Waiting, answer: &wire::Answer, mark: Mark, now_us: u64) {
        match &waiting.route {
            Route::Udp { listener, local } => {
                self.aim(listener);
                let mut out = self.send.borrow_mut();
                if out.is_full() {
                    self.count_sent(out.send(listener.socket.as_fd()));
                }
                let Some(slot) = out.slot() else { return };
                let len = pipeline::finish(self, snapshot, waiting, answer, mark, now_us, slot);
                if len > 0 {
                    out.commit(len, waiting.peer, *local);
                }
            }
            Route::Tcp(conn) => {
                let mut scratch = self.scratch.borrow_mut();
                let len = pipeline::finish(self, snapshot, waiting, answer, mark, now_us, &mut scratch);
                if let Some(message) = scratch.get(..len).filter(|message| !message.is_empty()) {
                    conn.push(self, message, snapshot.serve.stream_wait_size);
                }
            }
            Route::Inside(_) => {}
        }
    }

    /// Counts a contained panic and says so in the log; a defect of ours must be seen.
    pub(crate) fn panicked(&self) {
        self.stats.panics.add(1);
        self.log.line(Level::Error, self.id, "internal error: handling a packet panicked; the worker goes on");
    }

    /// Lets `event` happen to the mesh. A panic inside is contained: what the mesh was doing is abandoned by the next
    /// `pump`.
    pub(crate) fn with_mesh(&self, event: impl FnOnce(&mut Mesh)) {
        let at = self.at.get();
        let ahead = at.cache_ms as i64 - at.monotonic_ms() as i64;
        let happens = AssertUnwindSafe(|| {
            let mut mesh = self.mesh.borrow_mut();
            mesh.set_cache_time(ahead);
            mesh.set_date((at.unix_us / 1000) as i64 - at.monotonic_ms() as i64);
            event(&mut mesh);
        });
        if catch_unwind(happens).is_err() {
            self.panicked();
            self.mesh_broken.set(true);
        }
    }

    /// Ends everything the mesh was doing: whoever waits gets SERVFAIL, for nobody could tell whose state is lost.
    fn abandon(self: &Rc<Self>) {
        self.mesh.borrow_mut().abandon();
        self.flights.cancel_all();
        let waiting = self.pending.borrow_mut().take_all();
        let (snapshot, now_us) = (self.snapshot(), self.tick());
        for client in &waiting {
            match &client.route {
                Route::Inside(tell) => drop(tell.send(Looked::broken())),
                _ => self.answer(&snapshot, client, &internal_error(), Mark::of(Action::Resolved), now_us),
            }
        }
    }

    /// Lets the mesh have its time: one timer, set to whatever it waits for next.
    async fn clockwork(self: Rc<Self>) {
        loop {
            if self.mesh.borrow().is_busy() {
                // One share of proofs between two looks at the sockets: what is known never waits for more cryptography.
                tokio::task::yield_now().await;
                self.tell_mesh(Mesh::wake);
                continue;
            }
            let next = self.mesh.borrow().next_wake();
            self.armed.set(next);
            let Some(next) = next else {
                self.rearm.notified().await;
                continue;
            };
            // At least a tick of the runtime's clock: a moment that has passed must not keep the thread.
            let left = next.saturating_sub(sys::clock::monotonic_ms()).max(1);
            tokio::select! {
                () = self.rearm.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(left)) => {
                    self.tell_mesh(Mesh::wake);
                }
            }
        }
    }

    /// Gives the mesh an event, which happens now, and performs what follows.
    pub(crate) fn tell_mesh(self: &Rc<Self>, event: impl FnOnce(&mut Mesh, Millis)) {
        let now = self.tick() / 1_000;
        self.with_mesh(|mesh| {
            #[cfg(test)]
            assert!(!tests::PANIC.swap(false, std::sync::atomic::Ordering::Relaxed), "asked to");
            event(mesh, now);
        });
        self.pump();
    }
}

/// What stands before a line of the mesh: as in Unbound, whose lines about a query are `info` also at verbosity 3.
fn word(verbosity: u8) -> Level {
    match verbosity {
        1 => Level::Notice,
        // What an option of its own asks for (`val-log-level`) is `info` too.
        0 | 2 | 3 => Level::Info,
        _ => Level::Debug,
    }
}

/// Whether there is a zone of which nothing is remembered (`forward-no-cache`): most snapshots have none, and then no
/// query needs to know its zone.
fn keeps_nothing(forwards: &Forwards) -> bool {
    forwards.zones().any(|zone| zone.no_cache)
}

/// Why listeners are closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The configuration names the address no longer; the sockets are ours alone.
    Address,
    /// The process is about to end. The next one may take over the same sockets from a service manager, so they are left
    /// as they are.
    ForGood,
}

/// The listeners of a worker.
#[derive(Default)]
struct Listening {
    tasks: Vec<(SocketAddr, Listener, JoinHandle<()>)>,
}

enum Listener {
    Udp(Rc<UdpListener>),
    Tcp(Rc<tokio::net::TcpListener>),
}

impl Listening {
    fn add(&mut self, worker: &Rc<Worker>, sets: Vec<ListenerSet>) -> io::Result<()> {
        for set in sets {
            if let Some(socket) = set.udp {
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                let listener = Rc::new(UdpListener { addr: set.addr, socket });
                let task = tokio::task::spawn_local(udp::serve(Rc::clone(worker), Rc::clone(&listener)));
                self.tasks.push((set.addr, Listener::Udp(listener), task));
            }
            if let Some(listener) = set.tcp {
                listener.set_nonblocking(true)?;
                let listener = Rc::new(tokio::net::TcpListener::from_std(listener)?);
                let task = tokio::task::spawn_local(stream::accept(Rc::clone(worker), Rc::clone(&listener), set.addr));
                self.tasks.push((set.addr, Listener::Tcp(listener), task));
            }
        }
        Ok(())
    }

    /// Stops listening; the sockets are closed when this returns. What already waits in a UDP socket is answered first,
    /// connections that wait to be accepted are; open connections live on. (A UDP socket that clients still wait on closes
    /// with the last of them.)
    async fn remove(&mut self, worker: &Rc<Worker>, which: impl Fn(&SocketAddr) -> bool, closing: Closing) {
        let (gone, kept) = std::mem::take(&mut self.tasks).into_iter().partition(|(addr, ..)| which(addr));
        self.tasks = kept;
        for (addr, listener, task) in gone {
            task.abort();
            let _ = task.await; // until then it holds its socket
            match listener {
                Listener::Udp(listener) => {
                    if closing == Closing::Address && !listener.addr.ip().is_unspecified() {
                        // Connected to itself it can send, but takes no datagram from another socket of its address: as
                        // long as a client waits for it, the interface that replaces it would lose queries to it. (The
                        // source address of an unspecified one would change; it yields to specific ones by itself.)
                        let _ = listener.socket.connect(listener.addr).await;
                    }
                    udp::drain(worker, &listener);
                }
                Listener::Tcp(listener) => {
                    if let Ok(listener) =
                        Rc::try_unwrap(listener).map_err(drop).and_then(|l| l.into_std().map_err(drop))
                    {
                        stream::accept_waiting(worker, &listener, addr);
                    }
                }
            }
        }
    }

    fn sockets(&self) -> Sockets {
        let udp_listen = self.tasks.iter().filter(|(_, listener, _)| matches!(listener, Listener::Udp(_))).count();
        Sockets { udp_listen, tcp_listen: self.tasks.len() - udp_listen, ..Sockets::default() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// The hook of the pipeline's test of panics: what is next told to the mesh panics.
    pub(crate) static PANIC: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
}
