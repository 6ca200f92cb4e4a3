//! What the query log is made from: each worker writes down what became of each query, on a tape of its own.
//!
//! Owns the form of an entry, the tape, and what of a client's address may stand in it ([`Clients`]): an address that is not
//! to be kept never leaves the worker. Writing takes no lock and reads no clock: a tape is a growing piece of memory that
//! is handed over whole when it is full, or when whoever reads the log asks. It must never make a packet wait: what is not
//! fetched in time is lost, and counted. Names stand here as they came; whoever shows them escapes them.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pending::Waiting;
use siphasher::sip::SipHasher24;
use store::Security;
use wire::{Class, NameRef, Query, Rcode, Rtype};

/// Octets of a tape that is handed over: some nine hundred entries, so that a lock is taken for each thousandth.
const FULL: usize = 64 * 1024;
/// Octets of room beyond, for what one turn of the worker adds before it is looked at.
const SLACK: usize = 16 * 1024;
/// Full tapes one worker lets wait, 4 MiB: half a second of a hundred thousand queries a second.
const MAX_SEALED: usize = 64;
/// Octets of an entry before its name.
const FIXED: usize = 40;
/// The response code of what got no response.
const NONE: u8 = u8::MAX;

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Upstream servers were asked.
    Resolved = 0,
    /// It was remembered.
    Cached = 1,
    /// It was remembered and its time was over.
    Stale = 2,
    /// Local zones and data, or what the server tells of itself.
    Local = 3,
    /// The name is blocked.
    Blocked = 4,
    /// The client, or what it wants, is not served.
    Refused = 5,
    /// The packet is no query that can be answered.
    Rejected = 6,
    /// There was no answer at all.
    Dropped = 7,
}

impl Action {
    /// All of them, by number.
    pub const ALL: [Action; 8] = [
        Action::Resolved,
        Action::Cached,
        Action::Stale,
        Action::Local,
        Action::Blocked,
        Action::Refused,
        Action::Rejected,
        Action::Dropped,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Action::Resolved => "resolved",
            Action::Cached => "cached",
            Action::Stale => "stale",
            Action::Local => "local",
            Action::Blocked => "blocked",
            Action::Refused => "refused",
            Action::Rejected => "rejected",
            Action::Dropped => "dropped",
        }
    }

    /// Where the answer came from.
    pub fn origin(self) -> &'static str {
        match self {
            Action::Resolved => "upstream",
            Action::Cached | Action::Stale => "cache",
            _ => "policy",
        }
    }
}

/// What became of a query and what is known of the truth of its answer, in one octet: the first level keeps it beside the
/// reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u8);

impl Mark {
    /// Nothing was to be proven.
    pub(crate) fn of(action: Action) -> Mark {
        Mark(action as u8)
    }

    pub(crate) fn judged(action: Action, security: Security) -> Mark {
        Mark(action as u8 | (security as u8 + 1) << 4)
    }

    /// Of what the mesh says to a client that waited.
    pub(crate) fn of_mesh(waiting: &Waiting, stale: bool, security: Security) -> Mark {
        let action = match (waiting.blocked, stale) {
            (true, _) => Action::Blocked,
            (false, true) => Action::Stale,
            (false, false) => Action::Resolved,
        };
        Mark::judged(action, security)
    }

    /// As the first level gives it back.
    pub(crate) fn from_octet(octet: u8) -> Mark {
        Mark(octet)
    }

    pub(crate) fn octet(self) -> u8 {
        self.0
    }

    pub(crate) fn action(self) -> Action {
        Action::ALL.get(usize::from(self.0 & 7)).copied().unwrap_or(Action::Dropped)
    }

    pub(crate) fn security(self) -> Option<Security> {
        match self.0 >> 4 {
            1 => Some(Security::Unchecked),
            2 => Some(Security::Bogus),
            3 => Some(Security::Indeterminate),
            4 => Some(Security::Insecure),
            6 => Some(Security::Secure),
            _ => None,
        }
    }
}

/// The key of pseudonyms. Whoever has it can tell whose they are by trying all addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PseudonymKey(pub [u8; 16]);

impl PseudonymKey {
    /// The pseudonym of an address: the same as long as the key is.
    pub fn pseudonym(&self, client: IpAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&octets(client));
        hasher.finish()
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

/// What of the client's address the log may hold (`log-client-ip`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// Nothing.
    #[default]
    No,
    /// What stands for it as long as the process runs.
    Pseudonym(PseudonymKey),
    /// The address.
    Yes,
}

/// Who asked, as far as the log knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// It does not.
    Unknown,
    /// By pseudonym.
    Pseudonym(u64),
    /// By address.
    Address(IpAddr),
}

impl Clients {
    /// The client of this address as the log knows it.
    pub fn of(self, client: IpAddr) -> Client {
        match self {
            Clients::No => Client::Unknown,
            Clients::Pseudonym(key) => Client::Pseudonym(key.pseudonym(client)),
            Clients::Yes => Client::Address(client),
        }
    }
}

/// An IPv4 address stands as the IPv6 one it is mapped to, for a socket may give it either way.
fn octets(client: IpAddr) -> [u8; 16] {
    match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

impl Transport {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

/// What stands behind the mark of an entry, in one octet.
mod bits {
    pub(super) const TCP: u8 = 1;
    /// There is a question.
    pub(super) const ASKED: u8 = 2;
    /// It was answered at once, in the turn that is under way: how long that took is seen at its end.
    pub(super) const AT_ONCE: u8 = 4;
    pub(super) const PSEUDONYM: u8 = 8;
    pub(super) const ADDRESS: u8 = 16;
}

/// One worker's tape.
pub(crate) struct Tape {
    octets: Vec<u8>,
    /// Where the entries of the turn under way begin.
    turn: usize,
    mailbox: Arc<Mailbox>,
}

/// What is written of a query.
pub(crate) struct Note<'a> {
    pub(crate) unix_us: u64,
    /// How long it took, if it was not answered at once.
    pub(crate) latency_us: Option<u64>,
    pub(crate) client: IpAddr,
    pub(crate) tcp: bool,
    pub(crate) q: Option<&'a Query>,
    pub(crate) mark: Mark,
    /// The answer; empty if there is none.
    pub(crate) message: &'a [u8],
}

impl Tape {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Tape {
        Tape { octets: Vec::new(), turn: 0, mailbox }
    }

    /// Writes an entry.
    pub(crate) fn write(&mut self, clients: Clients, note: &Note<'_>) {
        if self.octets.is_empty() {
            self.octets.reserve(FULL + SLACK);
            self.mailbox.begun.store(true, Ordering::Release);
        }
        let (kind, client) = match clients {
            Clients::No => (0, [0; 16]),
            Clients::Yes => (bits::ADDRESS, octets(note.client)),
            Clients::Pseudonym(key) => {
                let mut client = [0; 16];
                if let Some(low) = client.first_chunk_mut() {
                    *low = key.pseudonym(note.client).to_le_bytes();
                }
                (bits::PSEUDONYM, client)
            }
        };
        let at_once = if note.latency_us.is_none() { bits::AT_ONCE } else { 0 };
        let (name, qtype, qclass, asked) = match note.q {
            Some(q) => (q.qname.as_ref().as_wire(), q.qtype.0, q.qclass.0, bits::ASKED),
            None => (&[] as &[u8], 0, 0, 0),
        };
        let kind = kind | at_once | asked | if note.tcp { bits::TCP } else { 0 };
        let latency_us = u32::try_from(note.latency_us.unwrap_or(0)).unwrap_or(u32::MAX);
        let size = note.message.len().min(usize::from(u16::MAX)) as u64;
        let rcode = note.message.get(3).map_or(NONE, |low| low & 0x0f);
        let (low, high) = client.split_at(8);
        let part = |octets: &[u8]| octets.first_chunk().copied().unwrap_or_default();
        let fixed: [[u8; 8]; 5] = [
            note.unix_us.to_le_bytes(),
            (u64::from(latency_us) | size << 32 | u64::from(qtype) << 48).to_le_bytes(),
            (u64::from(qclass)
                | u64::from(note.mark.0) << 16
                | u64::from(kind) << 24
                | u64::from(rcode) << 32
                | (name.len() as u64) << 40)
                .to_le_bytes(),
            part(low),
            part(high),
        ];
        self.octets.extend_from_slice(fixed.as_flattened());
        self.octets.extend_from_slice(name);
    }

    /// The turn is over: whatever was answered at once took so long.
    pub(crate) fn timed(&mut self, ns: u64) {
        let latency = u32::try_from(ns / 1_000).unwrap_or(u32::MAX).to_le_bytes();
        while let Some(fixed) = self.octets.get_mut(self.turn..).and_then(|rest| rest.first_chunk_mut::<FIXED>()) {
            if fixed[19] & bits::AT_ONCE != 0 {
                fixed[19] &= !bits::AT_ONCE;
                [fixed[8], fixed[9], fixed[10], fixed[11]] = latency;
            }
            self.turn += FIXED + usize::from(fixed[21]);
        }
    }

    /// Hands over a tape that is full.
    pub(crate) fn rest(&mut self) {
        if self.octets.len() >= FULL {
            self.seal();
        }
    }

    /// Hands over what there is.
    pub(crate) fn seal(&mut self) {
        self.timed(0); // what a panic left behind
        self.turn = 0;
        self.mailbox.begun.store(false, Ordering::Release);
        let octets = std::mem::take(&mut self.octets);
        if !octets.is_empty() {
            self.mailbox.put(octets);
        }
    }
}

/// Where one worker's tapes wait to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    sealed: Mutex<VecDeque<Vec<u8>>>,
    /// There are entries that were not handed over.
    begun: AtomicBool,
    /// Entries that were not fetched in time.
    lost: AtomicU64,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, octets: Vec<u8>) {
        let mut sealed = self.lock();
        sealed.push_back(octets);
        let old = if sealed.len() > MAX_SEALED { sealed.pop_front() } else { None };
        drop(sealed);
        if let Some(old) = old {
            self.lost.fetch_add(Entries::of(&old).count() as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut *self.lock())
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// An entry as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it was answered, in microseconds since 1970.
    pub unix_us: u64,
    /// From its arrival at the worker until the answer was on its way, in microseconds.
    pub latency_us: u32,
    /// Who asked.
    pub client: Client,
    /// What was asked; of clients that are not served, and of some broken packets, nothing is read.
    pub question: Option<(NameRef<'a>, Rtype, Class)>,
    /// The code in the answer's header.
    pub rcode: Option<Rcode>,
    /// Octets of the answer.
    pub size: u16,
    /// What became of it.
    pub action: Action,
    /// What is known of the answer's truth, if there was anything to prove.
    pub security: Option<Security>,
    /// How it came.
    pub transport: Transport,
    /// The entry itself, as [`Entries::of`] reads it.
    pub octets: &'a [u8],
}

/// The entries of a tape, in the order of their time.
#[derive(Clone, Debug)]
pub struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    /// What stands on a tape.
    pub fn of(octets: &'a [u8]) -> Entries<'a> {
        Entries(octets)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (words, _) = self.0.first_chunk::<FIXED>()?.as_chunks::<8>();
        let &[time, first, second, low, high] = words else { return None };
        let (first, second) = (u64::from_le_bytes(first), u64::from_le_bytes(second));
        let (mark, kind, rcode) = (Mark((second >> 16) as u8), (second >> 24) as u8, (second >> 32) as u8);
        let len = FIXED + usize::from((second >> 40) as u8);
        let (octets, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let client = if kind & bits::PSEUDONYM != 0 {
            Client::Pseudonym(u64::from_le_bytes(low))
        } else if kind & bits::ADDRESS != 0 {
            let address = u128::from_be_bytes([low, high].as_flattened().try_into().unwrap_or_default());
            Client::Address(Ipv6Addr::from(address).to_canonical())
        } else {
            Client::Unknown
        };
        let name = octets.get(FIXED..).filter(|_| kind & bits::ASKED != 0);
        let name = name.and_then(|name| NameRef::from_wire(name).ok());
        Some(Entry {
            unix_us: u64::from_le_bytes(time),
            latency_us: first as u32,
            client,
            question: name.map(|name| (name, Rtype((first >> 48) as u16), Class(second as u16))),
            rcode: (rcode != NONE).then_some(Rcode(u16::from(rcode))),
            size: (first >> 32) as u16,
            action: mark.action(),
            security: mark.security(),
            transport: if kind & bits::TCP != 0 { Transport::Tcp } else { Transport::Udp },
            octets,
        })
    }
}

/// What [`crate::Pool::tapes`] fetched.
#[derive(Debug, Default)]
pub struct Tapes {
    /// For each worker its tapes, the oldest first; each one's entries are in the order of their time.
    pub workers: Vec<VecDeque<Vec<u8>>>,
    /// Entries that were not fetched in time, since the start.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Name;

    fn query(name: &str) -> Query {
        let qname = Name::from_text(name).unwrap().as_ref().to_buf();
        Query { id: 1, flags: 0x100, qname, qtype: Rtype::AAAA, qclass: Class::IN, edns: None }
    }

    #[test]
    fn what_is_written_is_read_and_addresses_only_where_they_may_stand() {
        let mailbox = Arc::new(Mailbox::default());
        let mut tape = Tape::new(Arc::clone(&mailbox));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let key = PseudonymKey([7; 16]);
        let q = query("a\\000\\\"b.Example.");
        let message = [0, 1, 0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0];
        let note = Note {
            unix_us: 1_700_000_000_000_001,
            latency_us: None,
            client,
            tcp: false,
            q: Some(&q),
            mark: Mark::judged(Action::Stale, Security::Secure),
            message: &message,
        };
        assert!(!mailbox.begun());
        for clients in [Clients::No, Clients::Pseudonym(key), Clients::Yes] {
            tape.write(clients, &note);
        }
        tape.write(
            Clients::Yes,
            &Note {
                latency_us: Some(5),
                client: "2001:db8::1".parse().unwrap(),
                tcp: true,
                q: None,
                mark: Mark::of(Action::Dropped),
                message: &[],
                ..note
            },
        );
        tape.timed(17_500);
        assert!(mailbox.begun());
        tape.seal();
        assert!(!mailbox.begun());
        let tapes = mailbox.take();
        let entries: Vec<Entry<'_>> = Entries::of(&tapes[0]).collect();
        let clients: Vec<Client> = entries.iter().map(|entry| entry.client).collect();
        let other = Client::Address("2001:db8::1".parse().unwrap());
        let pseudonym = Client::Pseudonym(key.pseudonym(client));
        assert_eq!(clients, [Client::Unknown, pseudonym, Client::Address(client), other]);
        assert!(!entries[..2].iter().any(|entry| entry.octets.windows(4).any(|four| four == [192, 0, 2, 1])));
        let (name, qtype, qclass) = entries[0].question.unwrap();
        assert_eq!((name.to_string().as_str(), qtype, qclass), ("a\\000\\\"b.Example.", Rtype::AAAA, Class::IN));
        assert_eq!((entries[0].unix_us, entries[0].latency_us, entries[0].size), (1_700_000_000_000_001, 17, 12));
        assert_eq!((entries[0].action, entries[0].security), (Action::Stale, Some(Security::Secure)));
        assert_eq!((entries[0].rcode, entries[0].transport), (Some(Rcode::NXDOMAIN), Transport::Udp));
        assert_eq!((entries[3].rcode, entries[3].transport, entries[3].latency_us), (None, Transport::Tcp, 5));
        assert_eq!((entries[3].action, entries[3].security), (Action::Dropped, None));
        assert!(entries[3].question.is_none());
        assert_eq!(key.pseudonym(client), key.pseudonym("::ffff:192.0.2.1".parse().unwrap()));
        assert_ne!(key.pseudonym(client), PseudonymKey([8; 16]).pseudonym(client));
    }

    #[test]
    fn a_mark_is_one_octet() {
        for action in Action::ALL {
            assert_eq!(Mark::from_octet(Mark::of(action).octet()).action(), action);
            assert_eq!(Mark::of(action).security(), None);
            for security in
                [Security::Unchecked, Security::Bogus, Security::Indeterminate, Security::Insecure, Security::Secure]
            {
                let mark = Mark::from_octet(Mark::judged(action, security).octet());
                assert_eq!((mark.action(), mark.security()), (action, Some(security)));
            }
        }
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_counted_and_the_newest_stays() {
        let mailbox = Arc::new(Mailbox::default());
        let mut tape = Tape::new(Arc::clone(&mailbox));
        let q = query("www.example.com.");
        let tapes = MAX_SEALED as u64 + 3;
        let mut written = 0_u64;
        for number in 0..tapes {
            while tape.octets.len() < FULL {
                let note = Note {
                    unix_us: number,
                    latency_us: Some(0),
                    client: "192.0.2.1".parse().unwrap(),
                    tcp: false,
                    q: Some(&q),
                    mark: Mark::of(Action::Cached),
                    message: &[0; 12],
                };
                tape.write(Clients::No, &note);
                written += 1;
            }
            tape.rest();
        }
        let kept = mailbox.take();
        assert_eq!(kept.len(), MAX_SEALED);
        let times: Vec<u64> = kept.iter().flat_map(|tape| Entries::of(tape)).map(|entry| entry.unix_us).collect();
        assert_eq!(times.last(), Some(&(tapes - 1)));
        assert_eq!(times.first(), Some(&3));
        assert_eq!(mailbox.lost(), written - times.len() as u64);
    }
}
