//! TCP from clients: messages with a length before them (RFC 1035 4.2.2), many at a time, answered as they get ready
//! (RFC 7766).
//!
//! One task a connection. All answers to one read leave in one write. Owns the bounds: how long a connection may idle,
//! how many queries it may have under way, how much a slow reader may let pile up, how many connections a client may
//! have. A connection that waits for an answer is not idle; one that sends half a message or does not read is.

use crate::pending::Route;
use crate::pipeline::{self, Outcome, Packet};
use crate::snapshot::{ConnectionLimit, Serve};
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Queries of one connection being resolved at once; more stay unread. Enough for a busy forwarder, too few for one
/// connection to fill the table of waiting clients.
const MAX_IN_FLIGHT: usize = 200;
/// Octets of answers one connection may leave unread before no further query of it is read: two of the largest messages.
const MAX_UNREAD: usize = 128 * 1024;
/// Octets read at once.
const READ_CHUNK: usize = 16 * 1024;
/// Milliseconds every idle connection is granted, however few places are left (Unbound's TCP_QUERY_TIMEOUT_MINIMUM).
const MIN_IDLE_MS: u64 = 200;
/// Milliseconds to wait before accepting again when the process has no descriptors left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A client's connection, as far as answers need it.
pub(crate) struct Conn {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Queries of it in `Pending`.
    pub(crate) waiting: Cell<usize>,
    /// The client asked for keepalive (RFC 7828): its own, longer, idle time applies.
    pub(crate) keepalive: Cell<bool>,
    outbox: RefCell<Vec<u8>>,
    wake: Notify,
    closed: Cell<bool>,
}

impl Conn {
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr) -> Conn {
        Conn {
            peer,
            local,
            waiting: Cell::new(0),
            keepalive: Cell::new(false),
            outbox: RefCell::new(Vec::new()),
            wake: Notify::new(),
            closed: Cell::new(false),
        }
    }

    /// Queues an answer. A connection whose unread answers would exceed `stream-wait-size` is closed instead.
    pub(crate) fn push(&self, worker: &Worker, message: &[u8], budget: usize) {
        let Ok(len) = u16::try_from(message.len()) else { return };
        if self.closed.get() {
            return;
        }
        let mut outbox = self.outbox.borrow_mut();
        let held = worker.stream_bytes.get();
        if !outbox.is_empty() && held + message.len() > budget {
            self.closed.set(true);
        } else {
            outbox.extend_from_slice(&len.to_be_bytes());
            outbox.extend_from_slice(message);
            worker.set_stream_bytes(held + message.len() + 2);
        }
        self.wake.notify_one();
    }

    /// Whether another query of it may be begun.
    fn has_room(&self) -> bool {
        self.waiting.get() < MAX_IN_FLIGHT && self.unsent() < MAX_UNREAD
    }

    fn unsent(&self) -> usize {
        self.outbox.borrow().len()
    }

    /// Writes what the kernel takes; false when the connection is broken.
    fn write(&self, worker: &Worker, stream: &TcpStream) -> bool {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            match stream.try_write(&outbox) {
                Ok(0) => return false,
                Ok(n) => {
                    outbox.drain(..n);
                    worker.set_stream_bytes(worker.stream_bytes.get().saturating_sub(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        if outbox.capacity() > MAX_UNREAD {
            *outbox = Vec::new(); // one large answer must not be paid for as long as the connection lives
        }
        true
    }
}

/// Milliseconds a connection may idle. Unbound's rule: with half of the places taken a hundredth of the time, with 65 %
/// a five-hundredth, with 80 % none; but always 200 ms.
pub(crate) fn idle_ms(serve: &Serve, open: usize, keepalive: bool) -> u64 {
    let full = if keepalive { serve.edns_tcp_keepalive_timeout_ms } else { serve.tcp_idle_timeout_ms };
    let usage = open.saturating_mul(100).checked_div(serve.tcp_clients_per_worker).unwrap_or(100);
    let ms = match usage {
        0..=50 => full,
        51..=65 => full / 100,
        66..=80 => full / 500,
        _ => 0,
    };
    u64::from(ms).max(MIN_IDLE_MS)
}

/// Open connections by netblock of `tcp-connection-limit`, over all workers. Touched when a connection opens or closes.
#[derive(Default)]
pub(crate) struct ConnectionCounts(Mutex<HashMap<(IpAddr, u8), u32>>);

impl ConnectionCounts {
    /// Counts a connection in; `None` when its netblock is full. The guard counts it out.
    fn admit(self: &std::sync::Arc<Self>, limits: &[ConnectionLimit], ip: IpAddr) -> Option<Admission> {
        let ip = ip.to_canonical(); // a socket handed over may serve both families
        let Some(limit) = limits.iter().filter(|l| l.contains(ip)).max_by_key(|l| l.prefix) else {
            return Some(Admission { counts: None });
        };
        let key = (limit.addr, limit.prefix);
        let mut counts = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = counts.entry(key).or_default();
        if *count >= limit.limit {
            return None;
        }
        *count += 1;
        Some(Admission { counts: Some((std::sync::Arc::clone(self), key)) })
    }
}

struct Admission {
    counts: Option<(std::sync::Arc<ConnectionCounts>, (IpAddr, u8))>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some((counts, key)) = &self.counts else { return };
        let mut counts = counts.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

/// Takes connections until the worker ends the task. With all places taken, new ones wait in the kernel.
pub(crate) async fn accept(worker: Rc<Worker>, listener: Rc<TcpListener>, local: SocketAddr) {
    loop {
        place(&worker).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                place(&worker).await; // another address may have taken the last one meanwhile
                admit(&worker, stream, peer, local);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await,
        }
    }
}

/// Takes the connections that wait in the kernel, before the socket is closed: closing would reset them. They are as many
/// as the kernel was told to keep at most, and get a place even if none is free.
pub(crate) fn accept_waiting(worker: &Rc<Worker>, listener: &std::net::TcpListener, local: SocketAddr) {
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            admit(worker, stream, peer, local);
        }
    }
}

/// Begins to serve a connection, unless its netblock has as many as it may.
fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, local: SocketAddr) {
    let snapshot = worker.snapshot();
    let Some(admission) = worker.connections.admit(&snapshot.serve.tcp_connection_limits, peer.ip()) else {
        return; // dropping the stream closes it, as Unbound does
    };
    let _ = stream.set_nodelay(true); // answers leave in whole writes already
    worker.set_tcp_open(worker.tcp_open.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let place = Place { worker: Rc::clone(&worker), _admission: admission };
        serve(worker, stream, peer, local).await;
        drop(place);
    });
}

/// Waits until a place for a connection is free.
async fn place(worker: &Worker) {
    while worker.tcp_open.get() >= worker.snapshot().serve.tcp_clients_per_worker {
        worker.place_free.notified().await;
    }
}

/// One of the worker's places for connections; given back when dropped, also by a panic.
struct Place {
    worker: Rc<Worker>,
    _admission: Admission,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.set_tcp_open(self.worker.tcp_open.get().saturating_sub(1));
        self.worker.place_free.notify_waiters();
        self.worker.quiet.notify_one();
    }
}

async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, local: SocketAddr) {
    let conn = Rc::new(Conn::new(peer, stream.local_addr().unwrap_or(local)));
    let route = Route::Tcp(Rc::clone(&conn));
    let mut inbox: Vec<u8> = Vec::new();
    let mut reading = true; // false after the client's end of stream, or when we want no more of it
    let mut fresh = true; // nothing was read of it yet
    let mut held = false; // whole messages stay in the inbox until there is room for their answers
    let idle = |worker: &Worker| {
        let ms = idle_ms(&worker.snapshot().serve, worker.tcp_open.get(), conn.keepalive.get());
        Instant::now() + Duration::from_millis(ms)
    };
    let mut deadline = idle(&worker);
    loop {
        let before = conn.unsent();
        if conn.closed.get() || !conn.write(&worker, &stream) {
            break;
        }
        if conn.unsent() < before {
            deadline = idle(&worker);
        }
        if held && conn.has_room() {
            (held, reading) = messages(&worker, &route, &conn, &mut inbox, reading);
            deadline = idle(&worker);
            continue;
        }
        let busy = conn.waiting.get() > 0;
        if worker.draining.get() {
            if fresh {
                // Its query may be on the way, or be there unread: it has not been told that nobody listens.
                deadline = deadline.min(Instant::now() + Duration::from_millis(MIN_IDLE_MS));
            } else {
                reading = false;
            }
        }
        if !reading && !held && !busy && conn.unsent() == 0 {
            break;
        }
        let may_read = reading && !held && conn.has_room();
        tokio::select! {
            () = conn.wake.notified() => {}
            () = worker.drain_begins.notified(), if !worker.draining.get() => {}
            ready = stream.writable(), if conn.unsent() > 0 => {
                if ready.is_err() {
                    break;
                }
            }
            ready = stream.readable(), if may_read => {
                if ready.is_err() {
                    break;
                }
                match read(&stream, &mut inbox) {
                    Ok(0) => reading = false, // answers under way still go out: the client may only have shut its side
                    Ok(_) => {
                        fresh = false;
                        let before = inbox.len();
                        (held, reading) = messages(&worker, &route, &conn, &mut inbox, reading);
                        if inbox.len() < before {
                            deadline = idle(&worker); // a whole message: half of one is no sign of life
                        }
                        // A client that never pauses finds the stream readable each time: the others come first.
                        tokio::task::yield_now().await;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            () = tokio::time::sleep_until(deadline) => {
                if !busy || conn.unsent() > 0 {
                    break;
                }
                deadline = idle(&worker); // waiting for us is not idling
            }
        }
    }
    conn.closed.set(true);
    worker.set_stream_bytes(worker.stream_bytes.get().saturating_sub(conn.unsent()));
}

fn read(stream: &TcpStream, inbox: &mut Vec<u8>) -> io::Result<usize> {
    let held = inbox.len();
    inbox.resize(held + READ_CHUNK, 0);
    let result = match inbox.get_mut(held..) {
        Some(room) => stream.try_read(room),
        None => Ok(0),
    };
    inbox.truncate(held + result.as_ref().copied().unwrap_or(0));
    result
}

/// Answers the whole messages of the inbox, as long as there is room for answers. Returns whether some were held back,
/// and whether more are to be read: a message that gets no answer ends the connection, as in Unbound.
fn messages(worker: &Rc<Worker>, route: &Route, conn: &Conn, inbox: &mut Vec<u8>, mut reading: bool) -> (bool, bool) {
    let snapshot = worker.snapshot();
    let received_us = worker.tick();
    let mut held = false;
    let mut done = 0;
    while let Some(bytes) = inbox.get(done..).and_then(whole) {
        held = !conn.has_room();
        if held {
            break;
        }
        done += 2 + bytes.len();
        let packet = Packet { bytes, peer: conn.peer, route, received_us };
        let mut scratch = worker.scratch.borrow_mut();
        match pipeline::handle(worker, &snapshot, &packet, &mut scratch) {
            Outcome::Reply(n) => {
                if let Some(message) = scratch.get(..n) {
                    conn.push(worker, message, snapshot.serve.stream_wait_size);
                }
            }
            Outcome::Waiting => {}
            Outcome::Nothing => {
                reading = false;
                done = inbox.len();
            }
        }
    }
    inbox.drain(..done);
    worker.end_of_stream_turn();
    worker.pump();
    (held, reading)
}

/// The first message of a stream, if it is there to its end.
fn whole(stream: &[u8]) -> Option<&[u8]> {
    let (len, rest) = stream.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_shrinks_as_places_fill() {
        let serve = Serve { tcp_clients_per_worker: 100, ..Serve::default() };
        let ms: Vec<u64> = [10, 50, 51, 65, 66, 80, 81, 100].map(|open| idle_ms(&serve, open, false)).to_vec();
        assert_eq!(ms, [30_000, 30_000, 300, 300, 200, 200, 200, 200]);
        assert_eq!(idle_ms(&serve, 1, true), 120_000);
        assert_eq!(idle_ms(&Serve { tcp_clients_per_worker: 0, ..serve }, 1, true), MIN_IDLE_MS);
    }

    #[test]
    fn the_most_specific_netblock_decides_and_guards_give_places_back() {
        let counts = std::sync::Arc::new(ConnectionCounts::default());
        let net = |text: &str, prefix, limit| ConnectionLimit { addr: text.parse().unwrap(), prefix, limit };
        let limits = [net("192.0.2.0", 24, 1), net("192.0.2.7", 32, 0), net("2001:db8::", 32, 5)];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = counts.admit(&limits, ip("192.0.2.1"));
        assert!(first.is_some());
        assert!(counts.admit(&limits, ip("192.0.2.2")).is_none());
        assert!(counts.admit(&limits, ip("192.0.2.7")).is_none());
        assert!(counts.admit(&limits, ip("198.51.100.1")).is_some());
        drop(first);
        assert!(counts.admit(&limits, ip("192.0.2.2")).is_some());
        assert!(counts.admit(&limits, ip("::ffff:192.0.2.7")).is_none(), "IPv4 by way of an IPv6 socket");
    }
}
