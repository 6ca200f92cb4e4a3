//! TCP connections to upstream servers, kept after an answer and shared by questions (RFC 7766 6.2.1).
//!
//! One task a connection, which writes queries as they come and hands each reply to whom it belongs: by the id, which is
//! unique on a connection, for servers may answer out of order (RFC 7766 7). Owns which connection a query goes by, how
//! many there are (`outgoing-num-tcp`), how long and for how many queries one is kept. What is asked, and how long an
//! answer is waited for, is `resolve`'s to say.
//!
//! A server may close a connection at any moment it idles, and we learn of it when we use it. So a query that a connection
//! took on which something had been sent before, and that it could not answer, is asked once more, on one begun since.

use crate::outbound::{self, Entropy};
use crate::snapshot::{Snapshot, Upstream};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Queries under way on one connection; with more, another one is opened or waited for. A server that answers in turn
/// must not make many wait for one.
const MAX_PIPELINED: usize = 32;
/// How long a connection with queries under way may be silent before further ones are given to another, if there is a
/// place for it: one lost segment, or one slow answer of a server that answers in turn, holds up all behind it.
const SILENCE: Duration = Duration::from_millis(200);
/// How long a query waits for a place for its connection. Then it fails, and not by the server's fault: another server,
/// or an answer that tells the reason, is better than a client that waits for nothing.
const PLACE_WAIT: Duration = Duration::from_secs(1);
/// Octets read at once.
const READ_CHUNK: usize = 16 * 1024;

/// The connections of one worker.
#[derive(Default)]
pub(crate) struct Kept {
    lines: RefCell<Vec<Rc<Line>>>,
    /// A connection ended, or has room again.
    changed: Notify,
}

/// One connection, as far as questions need it.
struct Line {
    server: SocketAddr,
    born: Instant,
    /// Who waits, by the id on this connection. One who gave up stays until the reply has come: his id is taken.
    waiting: RefCell<HashMap<u16, Waiter>>,
    /// Those of them who have not given up.
    live: Cell<usize>,
    outbox: RefCell<Vec<u8>>,
    /// Queries given to it so far.
    asked: Cell<u32>,
    /// Messages read so far.
    heard: Cell<u64>,
    /// Since when it owes an answer, or, when it owes none, idles.
    since: Cell<Instant>,
    /// Whether it takes further queries.
    taking: Cell<bool>,
    /// When it ended: those who lose it share one begun since.
    ended: Cell<Option<Instant>>,
    wake: Notify,
}

struct Waiter {
    /// The id the question came with.
    id: u16,
    tell: oneshot::Sender<Result<Vec<u8>, io::ErrorKind>>,
}

impl Kept {
    /// Sends a query to a server and returns its reply. `opened` is called for each connection made for it. There is no
    /// bound on how long it takes: the caller sets it, and giving up early does no harm.
    ///
    /// # Errors
    /// `Unsupported` when there are to be no connections, `ResourceBusy` when no place became free, else what became of
    /// the connection.
    pub(crate) async fn ask(
        self: &Rc<Kept>,
        server: SocketAddr,
        query: &[u8],
        snapshot: impl Fn() -> Arc<Snapshot>,
        opened: impl Fn(),
    ) -> io::Result<Vec<u8>> {
        let (line, fresh) = self.line(server, &snapshot, None).await?;
        if fresh {
            opened();
        }
        match line.exchange(query).await {
            Err(e) if !fresh && closed(e.kind()) => {
                let (line, fresh) = self.line(server, &snapshot, line.ended.get()).await?;
                if fresh {
                    opened();
                }
                line.exchange(query).await
            }
            result => result,
        }
    }

    /// Connections open.
    pub(crate) fn open(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Gives no connection further queries: the way to servers has changed. What is under way is waited for.
    pub(crate) fn retire(&self) {
        for line in self.lines.borrow().iter() {
            line.close();
        }
        self.changed.notify_waiters();
    }

    /// A connection to the server that takes a query, begun after a moment if one is given, and whether it was made for it.
    async fn line(
        self: &Rc<Kept>,
        server: SocketAddr,
        snapshot: &impl Fn() -> Arc<Snapshot>,
        after: Option<Instant>,
    ) -> io::Result<(Rc<Line>, bool)> {
        let deadline = Instant::now() + PLACE_WAIT;
        loop {
            let changed = self.changed.notified(); // hears from here on
            let snapshot = snapshot();
            let upstream = &snapshot.serve.upstream;
            if !upstream.tcp || upstream.num_tcp == 0 {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
            let room = self.has_place(server, upstream.num_tcp);
            if let Some(line) = self.usable(server, upstream, room, after) {
                return Ok((line, false));
            }
            if room {
                return Ok((self.begin(server, upstream)?, true));
            }
            self.make_room();
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(io::Error::from(io::ErrorKind::ResourceBusy));
            }
        }
    }

    /// Whether there is a place for one more connection to the server. One server gets half of them: if it is silent, the
    /// other half is there for the questions it has nothing to do with.
    fn has_place(&self, server: SocketAddr, places: usize) -> bool {
        let lines = self.lines.borrow();
        lines.len() < places && lines.iter().filter(|line| line.server == server).count() < places.div_ceil(2)
    }

    /// The connection to the server with the fewest queries under way. With `room` for a new one, silent ones are not
    /// counted on.
    fn usable(&self, server: SocketAddr, upstream: &Upstream, room: bool, after: Option<Instant>) -> Option<Rc<Line>> {
        let lines = self.lines.borrow();
        let usable = lines.iter().filter(|line| {
            line.server == server
                && line.taking.get()
                && after.is_none_or(|after| line.born >= after)
                && line.asked.get() < upstream.tcp_reuse_queries
                && line.live.get() < MAX_PIPELINED
                && !(room && line.live.get() > 0 && line.since.get().elapsed() > SILENCE)
        });
        usable.min_by_key(|line| line.live.get()).map(Rc::clone)
    }

    /// Asks the connection that has idled longest to end.
    fn make_room(&self) {
        let lines = self.lines.borrow();
        let idle = lines.iter().filter(|line| line.live.get() == 0);
        if let Some(line) = idle.min_by_key(|line| line.since.get()) {
            line.close();
        }
    }

    fn begin(self: &Rc<Kept>, server: SocketAddr, upstream: &Upstream) -> io::Result<Rc<Line>> {
        let socket = outbound::tcp_socket(upstream, server, &mut Entropy::new())?;
        let idle = Duration::from_millis(u64::from(upstream.tcp_reuse_timeout_ms));
        let line = Rc::new(Line {
            server,
            born: Instant::now(),
            waiting: RefCell::default(),
            live: Cell::new(0),
            outbox: RefCell::default(),
            asked: Cell::new(0),
            heard: Cell::new(0),
            since: Cell::new(Instant::now()),
            taking: Cell::new(true),
            ended: Cell::new(None),
            wake: Notify::new(),
        });
        self.lines.borrow_mut().push(Rc::clone(&line));
        let end = End { kept: Rc::clone(self), line: Rc::clone(&line), why: Cell::new(io::ErrorKind::UnexpectedEof) };
        tokio::task::spawn_local(async move {
            let connected = tokio::select! {
                connected = socket.connect(server) => connected,
                () = end.line.abandoned() => return,
            };
            let ended = match connected {
                Ok(stream) => end.line.run(&stream, &end.kept.changed, idle).await,
                Err(e) => Err(e),
            };
            if let Err(e) = ended {
                end.why.set(e.kind());
            }
        });
        Ok(line)
    }
}

/// Whether an error can mean that the server had closed a connection that idled.
fn closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What is done when a connection's task ends, however it does.
struct End {
    kept: Rc<Kept>,
    line: Rc<Line>,
    why: Cell<io::ErrorKind>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.line.taking.set(false);
        self.line.ended.set(Some(Instant::now()));
        self.kept.lines.borrow_mut().retain(|line| !Rc::ptr_eq(line, &self.line));
        for (_, waiter) in self.line.waiting.borrow_mut().drain() {
            let _ = waiter.tell.send(Err(self.why.get()));
        }
        self.kept.changed.notify_waiters();
    }
}

impl Line {
    async fn exchange(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let told = self.enqueue(query)?;
        let guard = Waits { line: self, heard: self.heard.get(), answered: Cell::new(false) };
        let reply = told.await.unwrap_or(Err(io::ErrorKind::ConnectionAborted));
        guard.answered.set(true);
        reply.map_err(io::Error::from)
    }

    /// Puts a query on the connection; the reply comes by the channel.
    fn enqueue(&self, query: &[u8]) -> io::Result<oneshot::Receiver<Result<Vec<u8>, io::ErrorKind>>> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let (id, rest) = query.split_first_chunk::<2>().ok_or_else(invalid)?;
        let len = u16::try_from(query.len()).map_err(|_| invalid())?;
        let id = u16::from_be_bytes(*id);
        let mut waiting = self.waiting.borrow_mut();
        // An id that is taken is replaced on the way: who waits for the same one elsewhere never hears of it.
        let here =
            (0..=u16::MAX).map(|n| id.wrapping_add(n)).find(|id| !waiting.contains_key(id)).ok_or_else(invalid)?;
        let (tell, told) = oneshot::channel();
        waiting.insert(here, Waiter { id, tell });
        let mut outbox = self.outbox.borrow_mut();
        outbox.extend_from_slice(&len.to_be_bytes());
        outbox.extend_from_slice(&here.to_be_bytes());
        outbox.extend_from_slice(rest);
        if self.live.get() == 0 {
            self.since.set(Instant::now());
        }
        self.live.set(self.live.get() + 1);
        self.asked.set(self.asked.get().saturating_add(1));
        self.wake.notify_one();
        Ok(told)
    }

    fn close(&self) {
        self.taking.set(false);
        self.wake.notify_one();
    }

    fn over(&self) -> bool {
        !self.taking.get() && self.live.get() == 0
    }

    /// Returns when nobody wants the connection any more.
    async fn abandoned(&self) {
        while !self.over() {
            self.wake.notified().await;
        }
        self.wake.notify_one();
    }

    /// Writes and reads until the connection ends, from either side.
    async fn run(&self, stream: &TcpStream, changed: &Notify, idle: Duration) -> io::Result<()> {
        let mut inbox = Vec::new();
        loop {
            self.write(stream)?;
            if self.over() {
                return Ok(());
            }
            let unsent = !self.outbox.borrow().is_empty();
            let owes = self.live.get() > 0;
            tokio::select! {
                () = self.wake.notified() => {}
                ready = stream.writable(), if unsent => ready?,
                ready = stream.readable() => {
                    ready?;
                    if read(stream, &mut inbox)? {
                        self.deliver(&mut inbox)?;
                        changed.notify_waiters();
                    }
                }
                () = tokio::time::sleep_until(self.since.get() + idle), if !owes => return Ok(()),
            }
        }
    }

    fn write(&self, stream: &TcpStream) -> io::Result<()> {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            match stream.try_write(&outbox) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => drop(outbox.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Hands out the whole messages of the inbox. One with an id that was not asked ends the connection.
    fn deliver(&self, inbox: &mut Vec<u8>) -> io::Result<()> {
        let mut done = 0;
        while let Some((len, rest)) = inbox.get(done..).and_then(|rest| rest.split_first_chunk::<2>()) {
            let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*len))) else { break };
            done += 2 + message.len();
            self.heard.set(self.heard.get() + 1);
            self.since.set(Instant::now());
            let mut waiting = self.waiting.borrow_mut();
            let known = message.split_first_chunk::<2>().and_then(|(id, body)| {
                let waiter = waiting.remove(&u16::from_be_bytes(*id))?;
                Some((waiter, body))
            });
            match known {
                Some((waiter, body)) => drop(waiter.tell.send(Ok([&waiter.id.to_be_bytes(), body].concat()))),
                None => {
                    // A stream has one speaker. Whoever waits alone learns what it said; nothing after it is trusted.
                    let waiters = || waiting.iter().filter(|(_, waiter)| !waiter.tell.is_closed()).map(|(id, _)| *id);
                    let alone = waiters().next().filter(|_| waiters().nth(1).is_none());
                    if let Some(waiter) = alone.and_then(|id| waiting.remove(&id)) {
                        let _ = waiter.tell.send(Ok(message.to_vec()));
                    }
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
            }
        }
        inbox.drain(..done);
        Ok(())
    }
}

/// False if there was nothing to read after all.
fn read(stream: &TcpStream, inbox: &mut Vec<u8>) -> io::Result<bool> {
    let held = inbox.len();
    inbox.resize(held + READ_CHUNK, 0);
    let result = inbox.get_mut(held..).map_or(Ok(0), |room| stream.try_read(room));
    inbox.truncate(held + result.as_ref().copied().unwrap_or(0));
    match result {
        Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// Someone waits. Who gives up on a connection that said nothing all the while takes it out of use: it may be dead, and
/// the next one would wait as long.
struct Waits<'l> {
    line: &'l Line,
    heard: u64,
    answered: Cell<bool>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let line = self.line;
        line.live.set(line.live.get().saturating_sub(1));
        if !self.answered.get() && line.heard.get() == self.heard {
            line.taking.set(false);
        }
        if line.live.get() == 0 {
            line.since.set(Instant::now());
        }
        line.wake.notify_one();
    }
}
