//! Datagrams from clients: a batch in, a batch of answers out.
//!
//! Owns reading a listening socket without starving the others: at most `BATCHES_PER_TURN` batches, then the rest of
//! the worker runs. The snapshot is taken once a batch. What a datagram means is the pipeline's business.

use crate::pending::Route;
use crate::pipeline::{self, Outcome, Packet};
use crate::worker::Worker;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use sys::udp::BATCH;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Batches read from one socket before others get their turn: 256 datagrams, about half a millisecond of cached
/// answers.
const BATCHES_PER_TURN: usize = 8;

/// Microseconds that a socket about to be closed is read at most: what a full receive buffer holds takes a tenth of it,
/// and a flood must not keep the address open and the worker from everything else.
const MAX_DRAIN_US: u64 = 200_000;

/// A listening UDP socket of one worker.
pub(crate) struct UdpListener {
    pub(crate) addr: SocketAddr,
    pub(crate) socket: UdpSocket,
}

/// Reads until the worker ends the task.
pub(crate) async fn serve(worker: Rc<Worker>, listener: Rc<UdpListener>) {
    loop {
        if listener.socket.readable().await.is_err() {
            return; // the runtime is going down
        }
        for _ in 0..BATCHES_PER_TURN {
            if turn(&worker, &listener, Readiness::Known) < BATCH {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Answers what already waits in the socket: called before it is closed, so that no query that arrived is lost.
pub(crate) fn drain(worker: &Rc<Worker>, listener: &Rc<UdpListener>) {
    let end = worker.tick() + MAX_DRAIN_US;
    while turn(worker, listener, Readiness::Unknown) == BATCH && sys::clock::monotonic_us() < end {}
}

/// Whether the runtime has said that the socket can be read.
enum Readiness {
    Known,
    Unknown,
}

/// One batch. Returns how many datagrams it had; fewer than `BATCH` means the socket is empty.
fn turn(worker: &Rc<Worker>, listener: &Rc<UdpListener>, readiness: Readiness) -> usize {
    let snapshot = worker.snapshot();
    let taken = {
        let mut batch = worker.recv.borrow_mut();
        let mut taken = 0;
        let mut read = || {
            taken = batch.recv(listener.socket.as_fd())?;
            // A short batch has emptied the socket: reporting that as "would block" spares the call that finds out.
            if taken < BATCH { Err(io::Error::from(io::ErrorKind::WouldBlock)) } else { Ok(()) }
        };
        let _ = match readiness {
            Readiness::Known => listener.socket.try_io(Interest::READABLE, read),
            Readiness::Unknown => read(),
        };
        if taken == 0 {
            return 0;
        }
        let received_us = worker.tick();
        let queue_limit_us = u64::from(snapshot.serve.sock_queue_timeout_ms) * 1_000;
        let unix_us = worker.at.get().unix_us;
        worker.aim(listener);
        let mut out = worker.send.borrow_mut();
        let mut answered = false;
        for i in 0..taken {
            let Some(datagram) = batch.get(i) else { continue };
            if datagram.truncated {
                continue; // longer than any DNS message
            }
            if let (true, Some(at)) = (queue_limit_us > 0, datagram.received_unix_us) {
                let waited = unix_us.saturating_sub(at);
                worker.stats.queue_time_us_max.max(waited);
                if waited > queue_limit_us {
                    worker.stats.timed_out.add(1);
                    continue;
                }
            }
            if out.is_full() {
                worker.count_sent(out.send(listener.socket.as_fd()));
            }
            let Some(slot) = out.slot() else { continue };
            let route = Route::Udp { listener: Rc::clone(listener), local: datagram.local };
            let packet = Packet { bytes: datagram.bytes, peer: datagram.peer, route: &route, received_us };
            if let Outcome::Reply(len) = pipeline::handle(worker, &snapshot, &packet, slot) {
                answered = true;
                out.commit(len, datagram.peer, datagram.local);
            }
        }
        if !out.is_empty() {
            worker.count_sent(out.send(listener.socket.as_fd()));
        }
        worker.end_turn(answered);
        taken
    };
    worker.pump();
    taken
}
