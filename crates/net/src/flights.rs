//! Packets on their way to upstream servers: performs what the mesh wants sent.
//!
//! One task an exchange, until the mesh takes it back, its time is over or the system says no. Over UDP it owns the
//! socket, which stays open for late answers and for the same datagram once more (same port, same id: an attacker gets no
//! second chance to guess, RFC 5452 4.3). Over TCP it waits for its reply on a connection of `kept`. It never decides whom
//! to ask or what a reply means.

use crate::kept::Kept;
use crate::outbound::{self, Entropy};
use crate::worker::Worker;
use resolve::{SendId, Transport};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use sys::log::Level;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Octets of the receive buffer for upstream replies at least: servers may send more than they were told to take.
const UDP_REPLY_MIN: usize = 4096;

/// All exchanges of one worker.
pub(crate) struct Flights {
    flying: RefCell<HashMap<SendId, Flight>>,
    /// `outgoing-range`: how many sockets there may be, and their places.
    places: RefCell<(usize, Rc<Semaphore>)>,
    pub(crate) kept: Rc<Kept>,
    entropy: RefCell<Entropy>,
}

/// One exchange.
struct Flight {
    task: AbortHandle,
    ask: Rc<Ask>,
}

/// What is asked, and of whom.
struct Ask {
    server: SocketAddr,
    packet: Vec<u8>,
    /// The socket, once there was a place for it.
    socket: OnceCell<UdpSocket>,
}

impl Flights {
    /// None yet; at most `range` over UDP at once.
    pub(crate) fn new(range: usize) -> Flights {
        Flights {
            flying: RefCell::default(),
            places: RefCell::new((range, places(range))),
            kept: Rc::default(),
            entropy: RefCell::new(Entropy::new()),
        }
    }

    /// Exchanges over UDP that may be under way from now on. Those that are keep their places in the old number; they end
    /// within seconds.
    pub(crate) fn set_range(&self, range: usize) {
        let mut held = self.places.borrow_mut();
        if held.0 != range {
            *held = (range, places(range));
        }
    }

    /// Ends an exchange; nothing is reported of it any more.
    pub(crate) fn cancel(&self, id: SendId) {
        if let Some(flight) = self.flying.borrow_mut().remove(&id) {
            flight.task.abort();
        }
    }

    /// Ends all.
    pub(crate) fn cancel_all(&self) {
        for (_, flight) in self.flying.borrow_mut().drain() {
            flight.task.abort();
        }
    }

    /// UDP sockets open.
    pub(crate) fn sockets(&self) -> usize {
        self.flying.borrow().values().filter(|flight| flight.ask.socket.get().is_some()).count()
    }

    fn over(&self, id: SendId) -> bool {
        !self.flying.borrow().contains_key(&id)
    }
}

fn places(n: usize) -> Rc<Semaphore> {
    Rc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)))
}

impl Worker {
    /// Starts an exchange, in a task of its own.
    pub(crate) fn launch(
        self: &Rc<Self>,
        id: SendId,
        server: SocketAddr,
        over: Transport,
        mut packet: Vec<u8>,
        deadline: u64,
    ) {
        let snapshot = self.snapshot();
        let upstream = &snapshot.serve.upstream;
        if let Some(text) = upstream.client_string(server.ip()) {
            wire::add_option(&mut packet, upstream.client_string_opcode, text);
        }
        let left = deadline.saturating_sub(self.at.get().monotonic_ms());
        let deadline = Instant::now() + Duration::from_millis(left);
        let ask = Rc::new(Ask { server, packet, socket: OnceCell::new() });
        let (worker, asked) = (Rc::clone(self), Rc::clone(&ask));
        let task = tokio::task::spawn_local(async move {
            let outcome = tokio::time::timeout_at(deadline, worker.exchange(id, over, &asked)).await;
            worker.flights.flying.borrow_mut().remove(&id);
            worker.tell_mesh(|mesh, now| match &outcome {
                Err(_) => mesh.timeout(now, id),
                Ok(Err(e)) => mesh.failed(now, id, e.kind()),
                Ok(Ok(bytes)) => {
                    mesh.reply(now, id, bytes, over);
                    // Whatever it did not take over a stream is over all the same; taken ones it knows no more.
                    mesh.failed(now, id, io::ErrorKind::InvalidData);
                }
            });
        });
        self.flights.flying.borrow_mut().insert(id, Flight { task: task.abort_handle(), ask });
    }

    /// Sends the datagram of an exchange once more. One that still waits for a place has not been sent at all.
    pub(crate) fn resend(&self, id: SendId) {
        let failed = {
            let flying = self.flights.flying.borrow();
            let Some(ask) = flying.get(&id).map(|flight| &flight.ask) else { return };
            let Some(socket) = ask.socket.get() else { return };
            self.stats.udp_out.add(1);
            // A full buffer is a lost packet; another error may be the kernel's word on the packet before.
            socket.try_send(&ask.packet).err().filter(|e| e.kind() != io::ErrorKind::WouldBlock)
        };
        if let Some(e) = failed {
            self.flights.cancel(id);
            self.with_mesh(|mesh| mesh.failed(self.at.get().monotonic_ms(), id, e.kind()));
        }
    }

    /// One exchange. Over UDP replies are told to the mesh as they come, and only an error ends it from this side; over
    /// TCP the one reply is returned.
    async fn exchange(self: &Rc<Self>, id: SendId, over: Transport, ask: &Ask) -> io::Result<Vec<u8>> {
        if over == Transport::Tcp {
            let opened = || self.stats.tcp_out.add(1); // Unbound counts connections, not the queries they carry
            return self.flights.kept.ask(ask.server, &ask.packet, || self.snapshot(), opened).await;
        }
        let places = Rc::clone(&self.flights.places.borrow().1);
        let _place = match places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                self.tell_mesh(|mesh, now| mesh.held(now, id));
                let place = places.acquire().await.map_err(io::Error::other)?;
                self.tell_mesh(|mesh, now| mesh.left(now, id));
                if self.flights.over(id) {
                    std::future::pending::<()>().await; // the mesh has ended this task by Cancel
                }
                place
            }
        };
        let snapshot = self.snapshot();
        let socket =
            outbound::udp_socket(&snapshot.serve.upstream, ask.server, &mut self.flights.entropy.borrow_mut())?;
        let socket = ask.socket.get_or_init(|| socket);
        self.stats.udp_out.add(1);
        socket.send(&ask.packet).await?;
        let mut reply = vec![0; usize::from(snapshot.serve.limits.edns_buffer_size).max(UDP_REPLY_MIN)];
        loop {
            let n = socket.recv(&mut reply).await?;
            if n == reply.len()
                && let Some(flags) = reply.get_mut(2)
            {
                // What did not fit is lost: then it is as if the server had said so itself (TC).
                *flags |= 0x02;
            }
            let mut taken = false;
            self.tell_mesh(|mesh, now| taken = mesh.reply(now, id, reply.get(..n).unwrap_or_default(), over));
            if !taken {
                self.unwanted(snapshot.serve.unwanted_reply_threshold);
            }
            if self.flights.over(id) {
                std::future::pending::<()>().await; // the mesh has ended this task by Cancel
            }
        }
    }

    /// Counts a reply that nobody asked for. Someone may be guessing: at the threshold what was remembered is forgotten.
    fn unwanted(&self, threshold: u32) {
        self.stats.unwanted_replies.add(1);
        if threshold == 0 {
            return;
        }
        let seen = self.unwanted.get() + 1;
        self.unwanted.set(if seen < threshold { seen } else { 0 });
        if seen >= threshold {
            self.store.flush_all();
            let text = format!(
                "{threshold} unwanted replies (unwanted-reply-threshold): someone may be forging answers, the cache is emptied"
            );
            self.log.line(Level::Warning, self.id, &text);
        }
    }
}
