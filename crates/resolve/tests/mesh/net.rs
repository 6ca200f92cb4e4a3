//! A network and a clock that exist in memory only: what drives a mesh in the tests.
//!
//! Owns time, packets in flight and the clients' answers. The upstream servers are a closure: given what was asked, it
//! says what happens and when.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use resolve::{
    ClientId, Effect, Fit, ForwardZone, Forwards, Limits, Mesh, Millis, Question, SendId, Server, Transport,
    refused_answer,
};
use store::Store;
use wire::{Answer, Class, Ede, EdnsOut, Name, Query, Rcode, RdataSet, Render, Rrset, Rtype};

/// A packet the mesh sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) send: SendId,
    pub(crate) server: SocketAddr,
    pub(crate) over: Transport,
    pub(crate) at: Millis,
    pub(crate) query: Query,
    /// The same datagram on the same socket, not for the first time.
    pub(crate) again: bool,
}

/// What becomes of a packet.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// These octets come back.
    Bytes(Vec<u8>),
    /// The system reports an error.
    Fails(ErrorKind),
}

/// What a client was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) answer: Arc<Answer>,
    pub(crate) why: Option<String>,
    pub(crate) at: Millis,
    pub(crate) stale: bool,
}

/// The mesh's time when a test begins.
const BEGIN: Millis = 1_000_000;

type Upstream = Box<dyn FnMut(&Asked) -> Vec<(Millis, Fate)>>;

pub(crate) struct FakeNet {
    pub(crate) mesh: Mesh,
    pub(crate) store: Arc<Store>,
    pub(crate) forwards: Arc<Forwards>,
    pub(crate) now: Millis,
    pub(crate) limits: Limits,
    pub(crate) sent: Vec<Asked>,
    pub(crate) told: BTreeMap<u64, Vec<Told>>,
    upstream: Upstream,
    /// By time and order of arrival; `None` is the deadline.
    agenda: BTreeMap<(Millis, u64), (SendId, Transport, Option<Fate>)>,
    open: std::collections::HashMap<SendId, Asked>,
    /// Lines for the log.
    pub(crate) lines: Vec<(u8, String)>,
    /// Times a proof that gave way went on.
    pub(crate) slices: usize,
    counter: u64,
}

fn mesh(limits: Limits, store: &Arc<Store>, seed: u8) -> Mesh {
    let mut mesh = Mesh::new(limits, [seed; 32], Arc::clone(store), Arc::default());
    mesh.set_date((crate::signer::BEGIN_S * 1000).cast_signed() - BEGIN.cast_signed());
    mesh
}

impl FakeNet {
    pub(crate) fn new(forwards: Forwards, upstream: impl FnMut(&Asked) -> Vec<(Millis, Fate)> + 'static) -> FakeNet {
        FakeNet::with(Limits::default(), forwards, upstream)
    }

    pub(crate) fn with(
        limits: Limits,
        forwards: Forwards,
        upstream: impl FnMut(&Asked) -> Vec<(Millis, Fate)> + 'static,
    ) -> FakeNet {
        let store = Arc::new(Store::new(store::Sizes { messages: 4 << 20, rrsets: 4 << 20 }));
        FakeNet {
            mesh: mesh(limits, &store, 7),
            store,
            forwards: Arc::new(forwards),
            now: BEGIN,
            limits,
            sent: Vec::new(),
            told: BTreeMap::new(),
            upstream: Box::new(upstream),
            agenda: BTreeMap::new(),
            open: Default::default(),
            lines: Vec::new(),
            slices: 0,
            counter: 0,
        }
    }

    /// A mesh that knows nothing yet and draws otherwise.
    pub(crate) fn reseed(&mut self, seed: u8) {
        self.mesh = mesh(self.limits, &self.store, seed);
    }

    /// Asks the mesh, without looking into the store first.
    pub(crate) fn ask(&mut self, client: u64, name: &str, qtype: Rtype) {
        self.ask_as(client, question(name, qtype));
    }

    pub(crate) fn ask_as(&mut self, client: u64, question: Question) {
        let forwards = Arc::clone(&self.forwards);
        let stale = self.stale(&question);
        self.mesh.query(self.now, &forwards, question, ClientId(client), stale);
        self.perform();
    }

    /// Does what the mesh wants done.
    pub(crate) fn perform(&mut self) {
        let effects: Vec<Effect> = self.mesh.effects().collect();
        for effect in effects {
            match effect {
                Effect::Send { id, server, over, packet, deadline } => {
                    assert!(deadline > self.now, "a deadline lies ahead");
                    let query = Query::parse(&packet).expect("the mesh sends well-formed queries");
                    let asked = Asked { send: id, server, over, at: self.now, query, again: false };
                    assert!(self.open.insert(id, asked.clone()).is_none(), "an id is used once");
                    self.schedule(deadline, id, over, None);
                    self.leave(asked);
                }
                Effect::Resend { id } => {
                    let first = self.open.get(&id).expect("what is sent again is open");
                    assert_eq!(first.over, Transport::Udp, "a stream needs no retransmission");
                    let asked = Asked { at: self.now, again: true, ..first.clone() };
                    self.leave(asked);
                }
                Effect::Log { level, text } => self.lines.push((level, text)),
                Effect::Cancel { id } => assert!(self.open.remove(&id).is_some(), "what is cancelled was open"),
                Effect::Answer { clients, answer, why, stale, .. } => {
                    assert_eq!(why.is_some(), answer.rcode == Rcode::SERVFAIL, "SERVFAIL has a reason");
                    for client in clients {
                        let told = Told { answer: Arc::clone(&answer), why: why.clone(), at: self.now, stale };
                        self.told.entry(client.0).or_default().push(told);
                    }
                }
            }
        }
    }

    /// A packet leaves: the upstream server says what becomes of it.
    fn leave(&mut self, asked: Asked) {
        for (after, fate) in (self.upstream)(&asked) {
            self.schedule(self.now + after, asked.send, asked.over, Some(fate));
        }
        self.sent.push(asked);
    }

    fn schedule(&mut self, at: Millis, id: SendId, over: Transport, fate: Option<Fate>) {
        self.counter += 1;
        self.agenda.insert((at, self.counter), (id, over, fate));
    }

    /// Lets time pass until `until` or until nothing is left to happen.
    pub(crate) fn run_until(&mut self, until: Millis) {
        loop {
            if self.mesh.is_busy() {
                self.slices += 1;
                self.mesh.work(self.now);
                self.perform();
                continue;
            }
            let next = self.agenda.first_key_value().map(|(when, _)| *when);
            let wake = self.mesh.next_wake();
            if let Some(at) = wake.filter(|at| *at <= until && next.is_none_or(|(next, _)| *at < next)) {
                self.now = self.now.max(at);
                self.mesh.wake(self.now);
                let later = self.mesh.next_wake().is_none_or(|next| next > self.now);
                assert!(later || self.mesh.is_busy(), "what was due is done");
                self.perform();
                continue;
            }
            let Some((at, order)) = next.filter(|(at, _)| *at <= until) else { break };
            let Some((id, over, fate)) = self.agenda.remove(&(at, order)) else { break };
            if !self.open.contains_key(&id) {
                continue;
            }
            self.now = self.now.max(at);
            match fate {
                Some(Fate::Bytes(bytes)) => drop(self.mesh.reply(self.now, id, &bytes, over)),
                Some(Fate::Fails(kind)) => {
                    self.open.remove(&id);
                    self.mesh.failed(self.now, id, kind);
                }
                None => {
                    self.open.remove(&id);
                    self.mesh.timeout(self.now, id);
                }
            }
            self.perform();
        }
        if until != Millis::MAX {
            self.now = self.now.max(until);
        }
    }

    /// Lets everything happen, and checks that the mesh is empty afterwards.
    pub(crate) fn run(&mut self) {
        self.run_until(Millis::MAX);
        assert_eq!((self.mesh.queries(), self.mesh.waiting()), (0, 0), "the mesh is empty");
        assert!(self.open.is_empty(), "no exchange is left open");
        assert_eq!((self.mesh.exchanges(), self.mesh.next_wake()), (0, None), "nothing is left over");
    }

    /// Asks as a client and returns what it is told, by the store or by the mesh, when all is over.
    pub(crate) fn resolve(&mut self, name: &str, qtype: Rtype) -> Told {
        self.resolve_as(question(name, qtype))
    }

    pub(crate) fn resolve_as(&mut self, q: Question) -> Told {
        let cd = self.forwards.key_cd(q.cd);
        if let Some(known) = self.store.get(q.name.as_ref(), q.qtype, q.qclass, cd, self.now, None) {
            let fit = Fit::of(&known, self.forwards.trust().map(|trust| &**trust), q.cd);
            let told = |answer| Told { answer: Arc::new(answer), why: None, at: self.now, stale: false };
            match fit {
                Fit::Good => return told(known.answer),
                Fit::Bogus => return told(refused_answer(&known.answer)),
                Fit::Unproven => {}
            }
        }
        self.counter += 1;
        let client = self.counter | 1 << 40;
        self.ask_as(client, q);
        self.run();
        self.the_answer(client)
    }

    /// What the store has of a question after its time, as the driver looks it up.
    fn stale(&self, q: &Question) -> Option<resolve::Found> {
        let stale = self.limits.serve_expired.then_some(self.limits.serve_expired_ttl_s)?;
        let cd = self.forwards.key_cd(q.cd);
        let found = self.store.get(q.name.as_ref(), q.qtype, q.qclass, cd, self.now, Some(stale));
        found.filter(|found| found.stale)
    }

    /// What a client was told; fails unless it was told exactly once.
    pub(crate) fn the_answer(&self, client: u64) -> Told {
        let told = self.told.get(&client).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(told.len(), 1, "client {client} gets one answer");
        told[0].clone()
    }

    /// A number not used before.
    pub(crate) fn counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// The names sent so far, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.sent.iter().map(Asked::name).collect()
    }
}

/// A question of a client that does not wait for ever.
pub(crate) fn hasty(name: &str, qtype: Rtype) -> Question {
    Question { patient: false, ..question(name, qtype) }
}

impl Asked {
    pub(crate) fn name(&self) -> String {
        self.query.qname.as_ref().to_string()
    }

    /// The last octet of the server's address: which of the servers it is.
    pub(crate) fn who(&self) -> u8 {
        match self.server.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(ip) => ip.octets()[15],
        }
    }

    /// A reply with this code and these sections.
    pub(crate) fn reply(&self, rcode: Rcode, answer: Vec<Rrset>, authority: Vec<Rrset>) -> Vec<u8> {
        self.render(&Answer { answer, authority, ..Answer::new(rcode) })
    }

    pub(crate) fn render(&self, answer: &Answer) -> Vec<u8> {
        let mut out = vec![0; 65_535];
        let edns = self.query.edns.map(|_| EdnsOut { udp_size: 1232, ..EdnsOut::default() });
        let how = Render { max_size: 65_535, minimal: false, rotate: None, age: 0, ra: true, edns };
        let len = wire::render(&self.query, answer, &how, &mut out);
        out.truncate(len);
        out
    }

    /// The answer that most tests want: an address.
    pub(crate) fn address(&self) -> Vec<u8> {
        self.reply(Rcode::NOERROR, vec![a(&self.name(), 300, 1)], vec![])
    }
}

/// Comes back after ten milliseconds.
pub(crate) fn soon(bytes: Vec<u8>) -> Vec<(Millis, Fate)> {
    vec![(10, Fate::Bytes(bytes))]
}

pub(crate) fn question(name: &str, qtype: Rtype) -> Question {
    Question { name: self::name(name).lower(), qtype, qclass: Class::IN, cd: false, rd: true, patient: true }
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

/// The server 192.0.2.`n`.
pub(crate) fn server(n: u8) -> Server {
    Server { addr: SocketAddr::from(([192, 0, 2, n], 53)), tls_name: None }
}

pub(crate) fn zone(at: &str, servers: &[u8]) -> ForwardZone {
    let servers = servers.iter().map(|n| server(*n)).collect();
    ForwardZone { name: name(at), servers, tcp_only: false, no_cache: false, first: false }
}

pub(crate) fn forwards(zones: impl IntoIterator<Item = ForwardZone>) -> Forwards {
    let mut builder = Forwards::builder();
    for zone in zones {
        builder.zone(zone);
    }
    builder.build()
}

pub(crate) fn set(owner: &str, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Rrset {
    Rrset::new(name(owner), rtype, Class::IN, ttl, RdataSet::one(rdata))
}

pub(crate) fn a(owner: &str, ttl: u32, last: u8) -> Rrset {
    set(owner, ttl, Rtype::A, &[192, 0, 2, last])
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Rrset {
    set(owner, ttl, Rtype::CNAME, name(target).as_ref().as_wire())
}

pub(crate) fn soa(owner: &str, ttl: u32, minimum: u32) -> Rrset {
    let mut rdata: Vec<u8> = vec![0, 0];
    for field in [1u32, 3600, 600, 86_400, minimum] {
        rdata.extend_from_slice(&field.to_be_bytes());
    }
    set(owner, ttl, Rtype::SOA, &rdata)
}

/// The sets of a section as `owner ttl TYPE` words, each followed by its signatures.
pub(crate) fn shown(section: &[Rrset]) -> Vec<String> {
    let line = |set: &Rrset, rtype: Rtype| format!("{} {} {rtype}", set.owner, set.ttl);
    section
        .iter()
        .flat_map(|set| {
            let sigs = (!set.sigs.is_empty()).then(|| line(set, Rtype::RRSIG));
            std::iter::once(line(set, set.rtype)).chain(sigs)
        })
        .collect()
}

pub(crate) fn ede(told: &Told) -> Ede {
    told.answer.ede.clone().expect("an extended error")
}
