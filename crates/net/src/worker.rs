//! One worker: a thread's whole state, and the effects its mesh asks for.
//!
//! Owns the single-threaded state (mesh, waiting clients, batches) and carries commands and effects out. All cells are
//! this thread's alone; no borrow is held across a point where the thread may do something else. What a packet means is
//! the pipeline's business, what to ask upstream the mesh's.

use crate::listen::ListenerSet;
use crate::outbound::{self, Ask, Entropy};
use crate::pending::{Pending, Route, Waiting};
use crate::pipeline;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
use crate::stream::{self, ConnectionCounts};
use crate::udp::{self, UdpListener};
use resolve::{Effect, Mesh, SendId, Transport};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use store::Store;
use sys::log::{Level, Logger};
use sys::udp::{RecvBatch, SendBatch, Sent};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

/// Octets of the largest DNS message (RFC 1035 4.2.2).
pub(crate) const MAX_MESSAGE: usize = 65_535;
/// Rounds of effects performed for one event before the rest waits for the next: effects answer effects only when
/// sending fails at once, and a mesh in error must not hold the thread.
const MAX_ROUNDS: usize = 64;

/// What the pool tells a worker. Each is acknowledged, or the sender is dropped with the worker.
pub(crate) enum Command {
    Apply(Arc<Snapshot>, Sender<()>),
    Add(Vec<ListenerSet>, Sender<io::Result<()>>),
    Remove(Arc<[SocketAddr]>, Sender<()>),
    Drain(Duration, Sender<()>),
    /// Which upstream servers were silent so often that others are preferred.
    Dead(Sender<Vec<SocketAddr>>),
    Stop,
}

/// What a worker is made of.
pub(crate) struct Setup {
    pub(crate) id: u32,
    pub(crate) cpu: Option<usize>,
    pub(crate) seed: [u8; 32],
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<Logger>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) connections: Arc<ConnectionCounts>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

pub(crate) struct Worker {
    pub(crate) id: u32,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Arc<Logger>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) connections: Arc<ConnectionCounts>,
    snapshot: RefCell<Arc<Snapshot>>,
    /// Seconds since 1970, read by `tick`; modulo 2^32, as cookies have it (RFC 9018 4.3).
    pub(crate) unix_s: Cell<u32>,
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
    entropy: RefCell<Entropy>,
    flights: RefCell<HashMap<SendId, AbortHandle>>,
    udp_places: RefCell<(usize, Rc<Semaphore>)>,
    tcp_places: RefCell<(usize, Rc<Semaphore>)>,
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
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
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
        let mesh = Mesh::new(serve.limits, setup.seed, Arc::clone(&setup.store));
        let places = |n: usize| RefCell::new((n, Rc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)))));
        let worker = Rc::new(Worker {
            id: setup.id,
            store: setup.store,
            log: setup.log,
            stats: setup.stats,
            connections: setup.connections,
            snapshot: RefCell::new(setup.snapshot),
            unix_s: Cell::new(0),
            mesh: RefCell::new(mesh),
            mesh_broken: Cell::new(false),
            pending: RefCell::new(Pending::default()),
            recv: RefCell::new(RecvBatch::new(MAX_MESSAGE)),
            send: RefCell::new(SendBatch::new(MAX_MESSAGE)),
            send_by: RefCell::new(None),
            scratch: RefCell::new(vec![0; MAX_MESSAGE]),
            entropy: RefCell::new(Entropy::new()),
            flights: RefCell::new(HashMap::new()),
            udp_places: places(serve.upstream.range),
            tcp_places: places(serve.upstream.num_tcp),
            tcp_open: Cell::new(0),
            stream_bytes: Cell::new(0),
            place_free: Notify::new(),
            draining: Cell::new(false),
            drain_begins: Notify::new(),
            quiet: Notify::new(),
        });
        drop(serve);
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
                Command::Dead(done) => {
                    let _ = done.send(worker.dead());
                }
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

    /// Reads the clocks, once a batch or event. Returns microseconds of the monotonic one.
    pub(crate) fn tick(&self) -> u64 {
        self.unix_s.set(sys::clock::unix().as_secs() as u32);
        sys::clock::monotonic_us()
    }

    fn apply(&self, snapshot: Arc<Snapshot>) {
        self.mesh.borrow_mut().set_limits(snapshot.serve.limits);
        for (places, n) in
            [(&self.udp_places, snapshot.serve.upstream.range), (&self.tcp_places, snapshot.serve.upstream.num_tcp)]
        {
            let mut places = places.borrow_mut();
            if places.0 != n {
                // Exchanges under way keep their places in the old semaphore; they end within seconds.
                *places = (n, Rc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
            }
        }
        *self.snapshot.borrow_mut() = snapshot;
        self.place_free.notify_waiters(); // there may be more places than before
    }

    fn dead(&self) -> Vec<SocketAddr> {
        let mesh = self.mesh.borrow();
        let snapshot = self.snapshot.borrow();
        let servers = snapshot.forwards.zones().flat_map(|zone| &zone.servers);
        servers.map(|server| server.addr).filter(|addr| mesh.dead(*addr)).collect()
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
        for _ in 0..MAX_ROUNDS {
            let effects: Vec<Effect> = self.mesh.borrow_mut().effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Send { id, server, over, packet, deadline } => {
                        self.send_upstream(id, over, Ask { server, packet }, deadline);
                    }
                    Effect::Resend { .. } | Effect::Log { .. } => {}
                    Effect::Cancel { id } => {
                        if let Some(task) = self.flights.borrow_mut().remove(&id) {
                            task.abort();
                        }
                    }
                    Effect::Answer { clients, answer, why, .. } => {
                        let snapshot = self.snapshot();
                        let now_us = self.tick();
                        let mut why = why;
                        for client in clients {
                            let Some(waiting) = self.pending.borrow_mut().take(client.0) else { continue };
                            if let (Some(why), true) = (why.take(), snapshot.serve.log_servfail) {
                                let q = &waiting.query;
                                let q = (q.qname.as_ref(), q.qtype, q.qclass);
                                self.log.line(Level::Error, self.id, &crate::lines::servfail(q, &why));
                            }
                            self.answer(&snapshot, &waiting, &answer, now_us);
                        }
                    }
                }
            }
        }
        // Not kept: a listener that was removed closes with the last who needs it.
        if let Some(listener) = self.send_by.take() {
            self.flush(&listener);
        }
        let mesh = self.mesh.borrow();
        self.stats.list_current.set(mesh.queries() as u64);
        self.stats.list_current_user.set(mesh.waiting() as u64);
        drop(mesh);
        if self.draining.get() {
            self.quiet.notify_one();
        }
    }

    /// Renders and sends one answer to a client that waited.
    fn answer(self: &Rc<Self>, snapshot: &Snapshot, waiting: &Waiting, answer: &wire::Answer, now_us: u64) {
        match &waiting.route {
            Route::Udp { listener, local } => {
                self.aim(listener);
                let mut out = self.send.borrow_mut();
                if out.is_full() {
                    self.count_sent(out.send(listener.socket.as_fd()));
                }
                let Some(slot) = out.slot() else { return };
                let len = pipeline::finish(self, snapshot, waiting, answer, now_us, slot);
                if len > 0 {
                    out.commit(len, waiting.peer, *local);
                }
            }
            Route::Tcp(conn) => {
                let mut scratch = self.scratch.borrow_mut();
                let len = pipeline::finish(self, snapshot, waiting, answer, now_us, &mut scratch);
                if let Some(message) = scratch.get(..len).filter(|message| !message.is_empty()) {
                    conn.push(self, message, snapshot.serve.stream_wait_size);
                }
            }
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
        if catch_unwind(AssertUnwindSafe(|| event(&mut self.mesh.borrow_mut()))).is_err() {
            self.panicked();
            self.mesh_broken.set(true);
        }
    }

    /// Ends everything the mesh was doing: whoever waits gets SERVFAIL, for nobody could tell whose state is lost.
    fn abandon(self: &Rc<Self>) {
        self.mesh.borrow_mut().abandon();
        for (_, task) in self.flights.borrow_mut().drain() {
            task.abort();
        }
        let waiting = self.pending.borrow_mut().take_all();
        let (snapshot, now_us) = (self.snapshot(), self.tick());
        for client in &waiting {
            self.answer(&snapshot, client, &wire::Answer::new(wire::Rcode::SERVFAIL), now_us);
        }
    }

    /// Starts an exchange with an upstream server, in a task of its own.
    fn send_upstream(self: &Rc<Self>, id: SendId, over: Transport, ask: Ask, deadline: store::Millis) {
        let worker = Rc::clone(self);
        let left = deadline.saturating_sub(sys::clock::monotonic_ms());
        let deadline = Instant::now() + Duration::from_millis(left);
        let task = tokio::task::spawn_local(async move {
            let outcome = tokio::time::timeout_at(deadline, worker.exchange(id, over, &ask)).await;
            worker.flights.borrow_mut().remove(&id);
            let now = sys::clock::monotonic_ms();
            worker.tell_mesh(|mesh| match &outcome {
                Err(_) => mesh.timeout(now, id),
                Ok(Err(e)) => mesh.failed(now, id, e.kind()),
                Ok(Ok(bytes)) => {
                    mesh.reply(now, id, bytes, over);
                    // Whatever it did not take over a stream is over all the same; taken ones it knows no more.
                    mesh.failed(now, id, io::ErrorKind::InvalidData);
                }
            });
        });
        self.flights.borrow_mut().insert(id, task.abort_handle());
    }

    /// One exchange. Over UDP replies are told to the mesh as they come, and only an error ends it from this side; over
    /// TCP the one reply is returned.
    async fn exchange(self: &Rc<Self>, id: SendId, over: Transport, ask: &Ask) -> io::Result<Vec<u8>> {
        let snapshot = self.snapshot();
        let upstream = &snapshot.serve.upstream;
        if over == Transport::Tcp {
            if !upstream.tcp {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
            let places = Rc::clone(&self.tcp_places.borrow().1);
            let _place = places.acquire().await.map_err(io::Error::other)?;
            self.stats.tcp_out.add(1);
            let mut entropy = Entropy::new();
            return outbound::tcp_exchange(ask, upstream, &mut entropy).await;
        }
        let places = Rc::clone(&self.udp_places.borrow().1);
        let _place = places.acquire().await.map_err(io::Error::other)?;
        let socket = outbound::udp_socket(upstream, ask.server, &mut self.entropy.borrow_mut())?;
        self.stats.udp_out.add(1);
        socket.send(&ask.packet).await?;
        let mut reply = vec![0; usize::from(snapshot.serve.limits.edns_buffer_size).max(UDP_REPLY_MIN)];
        loop {
            let n = socket.recv(&mut reply).await?;
            let now = sys::clock::monotonic_ms();
            self.tell_mesh(|mesh| drop(mesh.reply(now, id, reply.get(..n).unwrap_or_default(), over)));
            if !self.flights.borrow().contains_key(&id) {
                std::future::pending::<()>().await; // taken: the mesh has ended this task by Cancel
            }
            self.stats.unwanted_replies.add(1); // not from the server: it goes on waiting
        }
    }

    /// Gives the mesh an event and performs what follows.
    fn tell_mesh(self: &Rc<Self>, event: impl FnOnce(&mut Mesh)) {
        self.with_mesh(|mesh| {
            #[cfg(test)]
            assert!(!tests::PANIC.swap(false, std::sync::atomic::Ordering::Relaxed), "asked to");
            event(mesh);
        });
        self.pump();
    }
}

/// Octets of the receive buffer for upstream replies at least: servers may send more than they were told to take.
const UDP_REPLY_MIN: usize = 4096;

/// Why listeners are closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The configuration names the address no longer; the sockets are ours alone.
    Address,
    /// The process is about to end. The next one may take over the same sockets from a service manager, so they are left
    /// as they are.
    ForGood,
}

/// The listeners of a worker, by address.
#[derive(Default)]
struct Listening {
    tasks: Vec<(SocketAddr, Option<Rc<UdpListener>>, JoinHandle<()>)>,
}

impl Listening {
    fn add(&mut self, worker: &Rc<Worker>, sets: Vec<ListenerSet>) -> io::Result<()> {
        for set in sets {
            if let Some(socket) = set.udp {
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                let listener = Rc::new(UdpListener { addr: set.addr, socket });
                let task = tokio::task::spawn_local(udp::serve(Rc::clone(worker), Rc::clone(&listener)));
                self.tasks.push((set.addr, Some(listener), task));
            }
            if let Some(listener) = set.tcp {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let task = tokio::task::spawn_local(stream::accept(Rc::clone(worker), listener, set.addr));
                self.tasks.push((set.addr, None, task));
            }
        }
        Ok(())
    }

    /// Stops listening; the sockets are closed when this returns. What already waits in a UDP socket is answered first;
    /// open connections live on. (A UDP socket that clients still wait on closes with the last of them.)
    async fn remove(&mut self, worker: &Rc<Worker>, which: impl Fn(&SocketAddr) -> bool, closing: Closing) {
        let (gone, kept) = std::mem::take(&mut self.tasks).into_iter().partition(|(addr, ..)| which(addr));
        self.tasks = kept;
        for (_, udp_listener, task) in gone {
            task.abort();
            let _ = task.await; // until then it owns its socket
            if let Some(listener) = udp_listener {
                if closing == Closing::Address && !listener.addr.ip().is_unspecified() {
                    // Connected to itself it can send, but takes no datagram from another socket of its address: as
                    // long as a client waits for it, the interface that replaces it would lose queries to it. (The
                    // source address of an unspecified one would change; it yields to specific ones by itself.)
                    let _ = listener.socket.connect(listener.addr).await;
                }
                udp::drain(worker, &listener);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// The hook of the pipeline's test of panics: what is next told to the mesh panics.
    pub(crate) static PANIC: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
}
