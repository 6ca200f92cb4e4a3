//! A resolver, clients and upstream servers on loopback, for the tests of this folder.
//!
//! Owns the set-up only; what is expected stands in the tests. Nothing here waits a fixed time: what must happen is
//! waited for, what must not is followed by something that must.

#![allow(dead_code, missing_docs, unreachable_pub)] // each test file is a crate that uses a part of this one

use net::{ListenSpec, Pool, Serve, Snapshot, SocketOptions, listen};
use policy::{AclAction, Defaults, LocalZonesBuilder, Origin, Policy};
use resolve::{ForwardZone, Forwards, Server};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use store::Store;
use sys::log::{Logger, Options};
use wire::types::flag;
use wire::{Answer, Class, Name, Query, Rcode, RdataSet, Render, Reply, Rrset, Rtype};

/// What a test says about the resolver; the rest is default.
pub struct Setup {
    pub workers: usize,
    pub zones: Vec<(&'static str, &'static str)>,
    pub data: Vec<String>,
    pub acl: Vec<(&'static str, u8, AclAction)>,
    pub tcp_only: bool,
    pub no_cache: bool,
    pub forwards: Vec<(&'static str, Vec<SocketAddr>)>,
    pub trust: Option<resolve::Trust>,
    pub serve: Serve,
    pub log: Options,
    pub options: SocketOptions,
    pub listen: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            workers: 1,
            zones: Vec::new(),
            data: Vec::new(),
            acl: Vec::new(),
            tcp_only: false,
            no_cache: false,
            forwards: Vec::new(),
            trust: None,
            serve: Serve { extended_statistics: true, tcp_clients_per_worker: 100, ..Serve::default() },
            log: Options::default(),
            options: SocketOptions::default(),
            listen: "127.0.0.1:0",
        }
    }
}

impl Setup {
    pub fn snapshot(&self, revision: u64) -> Arc<Snapshot> {
        let mut acl = policy::Acl::builder();
        for (addr, prefix, action) in &self.acl {
            acl.push(addr.parse().unwrap(), *prefix, *action);
        }
        let mut local = LocalZonesBuilder::new();
        for (name, kind) in &self.zones {
            local.zone(name, kind, Origin::default()).unwrap();
        }
        for record in &self.data {
            local.data(record, Origin::default()).unwrap();
        }
        let (local, problems) = local.build(Defaults::default());
        assert!(problems.is_empty(), "{problems:?}");
        let mut forwards = Forwards::builder();
        for (name, servers) in &self.forwards {
            forwards.zone(ForwardZone {
                name: Name::from_text(name).unwrap(),
                servers: servers.iter().map(|addr| Server { addr: *addr, tls_name: None }).collect(),
                tcp_only: self.tcp_only,
                no_cache: self.no_cache,
                first: false,
            });
        }
        if let Some(trust) = self.trust.clone() {
            forwards.trust(trust);
        }
        Arc::new(Snapshot {
            revision,
            policy: Arc::new(Policy { acl: acl.build(), local, ..Policy::default() }),
            forwards: Arc::new(forwards.build()),
            serve: Arc::new(self.serve.clone()),
        })
    }

    pub fn start(self) -> Resolver {
        self.start_after(|_| ())
    }

    /// Starts the workers only when `meanwhile` has returned; the sockets are open before.
    pub fn start_after(self, meanwhile: impl FnOnce(SocketAddr)) -> Resolver {
        let log = Arc::new(Logger::open(self.log.clone()).unwrap());
        self.start_with(log, meanwhile)
    }

    /// Starts with a log sink that the test keeps.
    pub fn start_logging(self, log: Arc<Logger>) -> Resolver {
        self.start_with(log, |_| ())
    }

    fn start_with(self, log: Arc<Logger>, meanwhile: impl FnOnce(SocketAddr)) -> Resolver {
        let spec = ListenSpec { addr: self.listen.parse().unwrap(), options: self.options };
        let sets = listen::open(&spec, self.workers).unwrap();
        let addr = sets[0].addr;
        meanwhile(addr);
        let store = Arc::new(Store::new(store::Sizes { messages: 1 << 20, rrsets: 1 << 20 }));
        let pool = Pool::start(self.workers, self.snapshot(1), Arc::clone(&store), log, vec![sets]).unwrap();
        Resolver { pool, addr, store, setup: self }
    }
}

pub struct Resolver {
    pub pool: Pool,
    pub addr: SocketAddr,
    pub store: Arc<Store>,
    pub setup: Setup,
}

impl Resolver {
    /// Puts one address for a name into the cache, as if it had come `age_s` seconds ago with a TTL of `ttl`.
    pub fn remember(&self, name: &str, address: [u8; 4], ttl: u32, age_s: u64) {
        self.remember_as(store::Security::Unchecked, None, name, address, ttl, age_s);
    }

    /// The same, with what is known of its truth.
    pub fn remember_as(
        &self,
        security: store::Security,
        ede: Option<wire::Ede>,
        name: &str,
        address: [u8; 4],
        ttl: u32,
        age_s: u64,
    ) {
        let owner = Name::from_text(name).unwrap().lower();
        let key = store::Key { name: owner.clone(), qtype: Rtype::A, qclass: Class::IN, cd: false };
        let set = Rrset::new(owner, Rtype::A, Class::IN, ttl, RdataSet::one(&address));
        let answer = Answer { answer: vec![set], ede, ..Answer::new(Rcode::NOERROR) };
        let now = sys::clock::cache_ms() - age_s * 1_000;
        let epoch = self.store.epoch();
        self.store.put(key, &answer, store::Put { now, ttl, authoritative: false, security, epoch, leeway_s: 0 });
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.pool.stats().get(name).copied().unwrap_or_else(|| panic!("no counter {name}"))
    }
}

/// A query's octets. `edns` is the UDP size offered.
pub fn query(id: u16, name: &str, qtype: Rtype, flags: u16, edns: Option<u16>) -> Vec<u8> {
    let mut packet = vec![0; 512];
    let name = Name::from_text(name).unwrap();
    let edns = edns.map(|size| (size, false));
    let n = wire::question(&mut packet, id, flags, name.as_ref(), qtype, Class::IN, edns);
    packet.truncate(n);
    packet
}

pub fn a_query(id: u16, name: &str) -> Vec<u8> {
    query(id, name, Rtype::A, flag::RD, None)
}

/// Adds an EDNS option to a query made with an OPT record.
pub fn with_option(mut packet: Vec<u8>, code: u16, data: &[u8]) -> Vec<u8> {
    let at = packet.len() - 2;
    let old = u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(old, 0, "one option at a time");
    packet.truncate(at);
    packet.extend((data.len() as u16 + 4).to_be_bytes());
    packet.extend(code.to_be_bytes());
    packet.extend((data.len() as u16).to_be_bytes());
    packet.extend(data);
    packet
}

/// Long enough for a loaded machine, short enough to end a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub socket: UdpSocket,
}

impl Client {
    pub fn new(server: SocketAddr) -> Client {
        Client::from("127.0.0.1", server)
    }

    pub fn from(source: &str, server: SocketAddr) -> Client {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(server).unwrap();
        Client { socket }
    }

    pub fn send(&self, packet: &[u8]) {
        self.socket.send(packet).unwrap();
    }

    pub fn recv(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let n = self.socket.recv(&mut buffer).unwrap();
        buffer.truncate(n);
        buffer
    }

    pub fn ask_raw(&self, packet: &[u8]) -> Vec<u8> {
        self.send(packet);
        self.recv()
    }

    pub fn ask(&self, packet: &[u8]) -> Reply {
        Reply::parse(&self.ask_raw(packet)).unwrap()
    }
}

pub struct Stream {
    pub stream: TcpStream,
}

impl Stream {
    pub fn new(server: SocketAddr) -> Stream {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Stream { stream }
    }

    pub fn send(&mut self, packet: &[u8]) {
        self.stream.write_all(&framed(packet)).unwrap();
    }

    /// The next message, `None` when the resolver has closed the connection.
    pub fn recv(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 2];
        if self.stream.read_exact(&mut len).is_err() {
            return None;
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        self.stream.read_exact(&mut message).unwrap();
        Some(message)
    }

    pub fn ask(&mut self, packet: &[u8]) -> Reply {
        self.send(packet);
        Reply::parse(&self.recv().expect("an answer")).unwrap()
    }
}

pub fn framed(packet: &[u8]) -> Vec<u8> {
    let mut out = (packet.len() as u16).to_be_bytes().to_vec();
    out.extend(packet);
    out
}

/// What an upstream server does with a query.
pub enum Act {
    Answer(Answer),
    Raw(Vec<Vec<u8>>),
    Truncated,
    Silence,
}

/// An upstream server on its own port, UDP and TCP.
pub struct Upstream {
    pub addr: SocketAddr,
    /// Names asked, with the transport and the port asked from.
    pub seen: Arc<Mutex<Vec<(String, bool, SocketAddr)>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Upstream {
    /// `act` gets the query and whether it came by TCP; each query runs in a thread of its own and may wait.
    pub fn start(act: impl Fn(&Query, bool) -> Act + Send + Sync + 'static) -> Upstream {
        let act = Arc::new(act);
        let both = || {
            let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
            let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?; // its port may be taken for UDP
            Some((tcp, Arc::new(udp)))
        };
        let (tcp, udp) = std::iter::repeat_with(both).flatten().next().unwrap();
        let addr = tcp.local_addr().unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (a, s, end) = (Arc::clone(&act), Arc::clone(&seen), Arc::clone(&stop));
        let datagrams = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                let Ok((n, peer)) = udp.recv_from(&mut buffer) else { continue };
                let (packet, udp, a, s) = (buffer[..n].to_vec(), Arc::clone(&udp), Arc::clone(&a), Arc::clone(&s));
                std::thread::spawn(move || {
                    for reply in perform(&packet, false, peer, &*a, &s) {
                        let _ = udp.send_to(&reply, peer);
                    }
                });
            }
        });
        let (a, s, end) = (act, Arc::clone(&seen), Arc::clone(&stop));
        let streams = std::thread::spawn(move || {
            for stream in tcp.incoming() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let (mut stream, a, s) = (stream.unwrap(), Arc::clone(&a), Arc::clone(&s));
                std::thread::spawn(move || {
                    let peer = stream.peer_addr().unwrap();
                    let mut len = [0; 2];
                    while stream.read_exact(&mut len).is_ok() {
                        let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
                        stream.read_exact(&mut packet).unwrap();
                        for reply in perform(&packet, true, peer, &*a, &s) {
                            let _ = stream.write_all(&framed(&reply));
                        }
                    }
                });
            }
        });
        Upstream { addr, seen, stop, threads: vec![datagrams, streams] }
    }

    /// Answers every A question with this address.
    pub fn constant(address: [u8; 4]) -> Upstream {
        Upstream::start(move |q, _| Act::Answer(address_answer(q, &[address])))
    }

    pub fn asked(&self) -> Vec<(String, bool)> {
        self.seen.lock().unwrap().iter().map(|(name, tcp, _)| (name.clone(), *tcp)).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn perform(
    packet: &[u8],
    tcp: bool,
    peer: SocketAddr,
    act: &dyn Fn(&Query, bool) -> Act,
    seen: &Mutex<Vec<(String, bool, SocketAddr)>>,
) -> Vec<Vec<u8>> {
    let q = Query::parse(packet).expect("a resolver sends queries");
    seen.lock().unwrap().push((q.qname.as_ref().to_name().to_string(), tcp, peer));
    match act(&q, tcp) {
        Act::Answer(answer) => vec![rendered(&q, &answer)],
        Act::Truncated => {
            let mut reply = rendered(&q, &Answer::default());
            reply[2] |= (flag::TC >> 8) as u8;
            vec![reply]
        }
        Act::Raw(replies) => replies,
        Act::Silence => Vec::new(),
    }
}

pub fn rendered(q: &Query, answer: &Answer) -> Vec<u8> {
    let mut out = vec![0; 65_535];
    let how = Render { max_size: 65_535, minimal: false, rotate: None, age: 0, ra: true, edns: None };
    let n = wire::render(q, answer, &how, &mut out);
    out.truncate(n);
    out
}

pub fn address_answer(q: &Query, addresses: &[[u8; 4]]) -> Answer {
    let mut rdata = RdataSet::new();
    for address in addresses {
        rdata.push(address);
    }
    let owner = q.qname.as_ref().to_name();
    let set = Rrset::new(owner, Rtype::A, Class::IN, 300, rdata);
    Answer { answer: vec![set], ..Answer::new(Rcode::NOERROR) }
}

/// The addresses in a reply's answer section.
pub fn addresses(reply: &Reply) -> Vec<IpAddr> {
    let octets = reply.answer.iter().filter(|set| set.rtype == Rtype::A).flat_map(|set| set.rdata.iter());
    octets.map(|octets| IpAddr::from(<[u8; 4]>::try_from(octets).unwrap())).collect()
}

/// Waits until a condition holds that must hold some time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
