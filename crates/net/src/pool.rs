//! The workers as a whole: threads started, snapshots handed out and acknowledged, listeners added and removed.
//!
//! Owns the threads and the channel to each. Every method may be called from any thread and blocks until all workers
//! have done what was asked (which they do between two batches, idle ones at once). It reads no packet.

use crate::explain::{Explained, Inquiry, Room};
use crate::listen::ListenerSet;
use crate::lookup::Looked;
use crate::snapshot::Snapshot;
use crate::stats::{self, WorkerStats};
use crate::stream::ConnectionCounts;
use crate::tape::{Mailbox, Tapes};
use crate::worker::{self, Command, Setup, Sockets};
use resolve::{Question, ServerView};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Store;
use sys::log::Logger;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Most workers: beyond the processors of any machine of today, a number in a configuration is a mistake.
pub const MAX_WORKERS: usize = 1_024;

/// How long a worker has for a command. They take milliseconds; beyond this one is stuck, and whoever waits must hear of it.
const COMMAND_TIME: Duration = Duration::from_secs(10);

struct Member {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// The running workers.
pub struct Pool {
    members: Mutex<Vec<Member>>,
    stats: Vec<Arc<WorkerStats>>,
    mailboxes: Vec<Arc<Mailbox>>,
    snapshot: Mutex<Arc<Snapshot>>,
    keys: Arc<resolve::KeyCache>,
    log: Arc<Logger>,
    /// Whose turn it is to look something up.
    turn: AtomicUsize,
    /// It stands beside another one, see [`Pool::aside`].
    aside: bool,
}

impl Pool {
    /// Starts `workers` threads, each pinned to a usable processor in turn, and hands the i-th set of every element of
    /// `listeners` (what `listen::open` returned for an address) to the i-th. Returns when every worker listens.
    ///
    /// # Errors
    /// `InvalidInput` for no workers, more than `MAX_WORKERS`, or listeners opened for another number; else what the
    /// system says of threads, entropy or sockets. Nothing is left running.
    pub fn start(
        workers: usize,
        snapshot: Arc<Snapshot>,
        store: Arc<Store>,
        log: Arc<Logger>,
        listeners: Vec<Vec<ListenerSet>>,
    ) -> io::Result<Pool> {
        if workers == 0 || workers > MAX_WORKERS {
            return Err(invalid(format!("the number of workers must be 1 to {MAX_WORKERS}, not {workers}")));
        }
        let cpus = sys::affinity::usable_cpus().unwrap_or_default();
        log.background(); // from here on a log that nobody reads would stop packets
        let pool = Pool::empty(workers, snapshot, log, false).populate(&cpus, &store)?;
        pool.add_listeners(listeners)?;
        Ok(pool)
    }

    fn empty(workers: usize, snapshot: Arc<Snapshot>, log: Arc<Logger>, aside: bool) -> Pool {
        Pool {
            members: Mutex::new(Vec::with_capacity(workers)),
            stats: (0..workers).map(|_| Arc::new(WorkerStats::default())).collect(),
            mailboxes: (0..workers).map(|_| Arc::default()).collect(),
            snapshot: Mutex::new(snapshot),
            keys: Arc::default(),
            log,
            turn: AtomicUsize::new(0),
            aside,
        }
    }

    /// Starts the threads, each on one of the processors in turn.
    fn populate(mut self, cpus: &[usize], store: &Arc<Store>) -> io::Result<Pool> {
        let connections = Arc::new(ConnectionCounts::default());
        let (ready, started) = channel();
        let snapshot = self.snapshot();
        for ((id, stats), mailbox) in (0_u32..).zip(&self.stats).zip(&self.mailboxes) {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            let (commands, receiver) = unbounded_channel();
            let setup = Setup {
                id,
                cpu: (id as usize).checked_rem(cpus.len()).and_then(|i| cpus.get(i)).copied(),
                seed,
                snapshot: Arc::clone(&snapshot),
                store: Arc::clone(store),
                keys: Arc::clone(&self.keys),
                log: Arc::clone(&self.log),
                stats: Arc::clone(stats),
                connections: Arc::clone(&connections),
                mailbox: Arc::clone(mailbox),
                commands: receiver,
            };
            let ready = ready.clone();
            let thread =
                std::thread::Builder::new().name(format!("runbound-{id}")).spawn(move || worker::run(setup, &ready))?;
            let members = self.members.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            members.push(Member { commands, thread: Some(thread) });
        }
        drop(ready);
        all(&started, self.workers())?;
        Ok(self)
    }

    /// One more worker beside those that serve, for questions from inside alone: it listens nowhere, is pinned to no
    /// processor, and knows and remembers what is in `store`.
    ///
    /// # Errors
    /// What the system says of threads and entropy.
    pub fn aside(snapshot: Arc<Snapshot>, store: Arc<Store>, log: Arc<Logger>) -> io::Result<Pool> {
        Pool::empty(1, snapshot, log, true).populate(&[], &store)
    }

    /// How many workers there are: the number to open listeners for.
    pub fn workers(&self) -> usize {
        self.stats.len()
    }

    /// What is known of the keys of zones, shared by all workers.
    pub fn keys(&self) -> &resolve::KeyCache {
        &self.keys
    }

    /// Puts a snapshot into force. Returns when every worker has it: packets read from then on are answered by it.
    ///
    /// # Errors
    /// `BrokenPipe` if a worker has ended.
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> io::Result<()> {
        let mut current = self.snapshot.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let last = std::mem::replace(&mut *current, Arc::clone(&snapshot));
        drop(current);
        let told = self.ask(|done| Command::Apply(Arc::clone(&snapshot), done)).map(|_| ());
        // Only now, and so not by a worker: to give back a million names takes its time.
        drop(last);
        told
    }

    /// The snapshot last handed out.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Listens on further addresses: each element is what `listen::open` returned for one, with a set for each worker.
    ///
    /// # Errors
    /// `InvalidInput` if the number of sets is not that of workers; else what the system says.
    pub fn add_listeners(&self, listeners: Vec<Vec<ListenerSet>>) -> io::Result<()> {
        let workers = self.workers();
        let mut shares: Vec<Vec<ListenerSet>> = (0..workers).map(|_| Vec::new()).collect();
        for sets in listeners {
            if sets.len() != workers {
                return Err(invalid(format!("listeners were opened for {} workers, not {workers}", sets.len())));
            }
            for (share, set) in shares.iter_mut().zip(sets) {
                share.push(set);
            }
        }
        let mut shares = shares.into_iter();
        let results = self.ask(|done| Command::Add(shares.next().unwrap_or_default(), done))?;
        results.into_iter().collect()
    }

    /// Stops listening on these addresses, as `ListenerSet::addr` names them. What has arrived is answered; open
    /// connections and waiting clients are served on.
    ///
    /// # Errors
    /// `BrokenPipe` if a worker has ended.
    pub fn remove_listeners(&self, addrs: &[SocketAddr]) -> io::Result<()> {
        let addrs: Arc<[SocketAddr]> = addrs.into();
        self.ask(|done| Command::Remove(Arc::clone(&addrs), done)).map(|_| ())
    }

    /// The counters of all workers together, under Unbound's names; see `stats::total`. The names that depend on
    /// `extended-statistics` are there if the snapshot in force has it.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        stats::total(&self.stats, self.snapshot().serve.extended_statistics)
    }

    /// The upstream servers of the snapshot in force, each once, and whether any worker still trusts it to answer.
    ///
    /// # Errors
    /// As [`Pool::servers`].
    pub fn upstreams(&self) -> io::Result<BTreeMap<SocketAddr, bool>> {
        let snapshot = self.snapshot();
        let servers = snapshot.forwards.zones().flat_map(|zone| &zone.servers);
        let mut dead: BTreeMap<SocketAddr, usize> = servers.map(|server| (server.addr, 0)).collect();
        for view in self.servers()?.iter().filter(|view| view.dead) {
            if let Some(dead) = dead.get_mut(&view.addr) {
                *dead += 1;
            }
        }
        Ok(dead.into_iter().map(|(server, dead)| (server, dead < self.workers())).collect())
    }

    /// What each worker knows of the upstream servers it asked: a row a worker and server.
    ///
    /// # Errors
    /// `BrokenPipe` if a worker has ended, `TimedOut` if one does not take its commands.
    pub fn servers(&self) -> io::Result<Vec<ServerView>> {
        Ok(self.ask(Command::Servers)?.into_iter().flatten().collect())
    }

    /// Forgets what is known of upstream servers. Returns how many a worker knew at most.
    ///
    /// # Errors
    /// As [`Pool::servers`].
    pub fn flush_infra(&self) -> io::Result<usize> {
        Ok(self.ask(Command::FlushInfra)?.into_iter().max().unwrap_or(0))
    }

    /// What was written for the query log since the last call, up to now. Workers that have nothing are left asleep.
    ///
    /// # Errors
    /// As [`Pool::servers`]; nothing is fetched then.
    pub fn tapes(&self) -> io::Result<Tapes> {
        let (done, told) = channel();
        let asked = {
            let members = self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let begun = members.iter().zip(&self.mailboxes).filter(|(_, mailbox)| mailbox.begun());
            begun.map(|(member, _)| member.commands.send(Command::Tape(done.clone()))).filter(Result::is_ok).count()
        };
        drop(done);
        let deadline = Instant::now() + COMMAND_TIME;
        for _ in 0..asked {
            match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(stuck(COMMAND_TIME)),
            }
        }
        let workers = self.mailboxes.iter().map(|mailbox| mailbox.take()).collect();
        Ok(Tapes { workers, lost: self.mailboxes.iter().map(|mailbox| mailbox.lost()).sum() })
    }

    /// Sockets open, of all workers.
    ///
    /// # Errors
    /// As [`Pool::servers`].
    pub fn sockets(&self) -> io::Result<Sockets> {
        let each = self.ask(Command::Sockets)?;
        Ok(each.iter().fold(Sockets::default(), |sum, one| Sockets {
            udp_listen: sum.udp_listen + one.udp_listen,
            tcp_listen: sum.tcp_listen + one.tcp_listen,
            tcp_clients: sum.tcp_clients + one.tcp_clients,
            udp_upstream: sum.udp_upstream + one.udp_upstream,
            tcp_upstream: sum.tcp_upstream + one.tcp_upstream,
        }))
    }

    /// Looks a question up as for a client on this machine, in the cache and then upstream, outside of policy; by each
    /// worker in turn. `None` if it is not answered within `limit`; it is looked for on, to be remembered.
    ///
    /// # Errors
    /// `BrokenPipe` if the worker has ended.
    pub fn lookup(&self, question: Question, limit: Duration) -> io::Result<Option<Looked>> {
        let (tell, told) = channel();
        self.one()?.send(Command::Lookup(question, tell)).map_err(|_| ended())?;
        match told.recv_timeout(limit) {
            Ok(looked) => Ok(Some(looked)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    /// Answers a question as that client would see it, and tells what happened and why, as far as it has come by `limit`.
    ///
    /// # Errors
    /// `BrokenPipe` if the worker has ended.
    pub fn explain(&self, inquiry: Inquiry, limit: Duration) -> io::Result<Explained> {
        let deadline = Instant::now() + limit;
        let (tell, told) = channel();
        let (begin, begun) = channel();
        self.one()?.send(Command::Explain(inquiry, begin, tell)).map_err(|_| ended())?;
        let begun = begun.recv_timeout(COMMAND_TIME).map_err(|_| ended())?;
        let looked = match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(looked) => Some(looked),
            Err(RecvTimeoutError::Disconnected) if begun.rooms.last() != Some(&Room::Dropped) => return Err(ended()),
            Err(_) => None,
        };
        Ok(Explained { rooms: begun.rooms, steps: begun.trace.steps(), looked })
    }

    /// The way to one of the workers, each in turn.
    fn one(&self) -> io::Result<UnboundedSender<Command>> {
        let members = self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(members.len()).unwrap_or(0);
        members.get(turn).map(|member| member.commands.clone()).ok_or_else(ended)
    }

    /// Stops listening and waits until every client has its answer, at most `limit`. Ends with closed sockets; `stop` is
    /// still to be called.
    ///
    /// # Errors
    /// `BrokenPipe` if a worker has ended.
    pub fn drain(&self, limit: Duration) -> io::Result<()> {
        self.ask_within(limit + COMMAND_TIME, |done| Command::Drain(limit, done)).map(|_| ())
    }

    /// Ends all workers and waits for their threads, and for the log's last lines. Clients still waiting get no answer. A
    /// second call does nothing.
    pub fn stop(&self) {
        let members = std::mem::take(&mut *self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for member in &members {
            let _ = member.commands.send(Command::Stop);
        }
        for thread in members.into_iter().filter_map(|member| member.thread) {
            let _ = thread.join();
        }
        if !self.aside {
            self.log.foreground();
        }
    }

    /// Sends a command to every worker and collects the acknowledgements.
    fn ask<T>(&self, command: impl FnMut(Sender<T>) -> Command) -> io::Result<Vec<T>> {
        self.ask_within(COMMAND_TIME, command)
    }

    fn ask_within<T>(&self, limit: Duration, mut command: impl FnMut(Sender<T>) -> Command) -> io::Result<Vec<T>> {
        let deadline = Instant::now() + limit;
        let (done, told) = channel();
        {
            let members = self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            for member in members.iter() {
                member.commands.send(command(done.clone())).map_err(|_| ended())?;
            }
        }
        drop(done);
        let mut answers = Vec::with_capacity(self.workers());
        while answers.len() < self.workers() {
            let left = deadline.saturating_duration_since(Instant::now());
            match told.recv_timeout(left) {
                Ok(answer) => answers.push(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(ended()),
                Err(RecvTimeoutError::Timeout) => return Err(stuck(limit)),
            }
        }
        Ok(answers)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

fn all(results: &Receiver<io::Result<()>>, count: usize) -> io::Result<()> {
    for _ in 0..count {
        results.recv().map_err(|_| ended())??;
    }
    Ok(())
}

fn stuck(limit: Duration) -> io::Error {
    let text = format!("a worker has not taken a command within {} s", limit.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "a worker has ended")
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
