//! The first level: one worker's own table of rendered replies.
//!
//! It owns the replies a worker rendered a moment ago and what must be changed in one before it goes out again: the id,
//! the spelling of the name, the TTLs, the order of the records. Everything else a reply depends on is part of the key
//! ([`Shape`]) or ends every entry at once ([`Answers::current`]): so a hit is, octet for octet, what rendering anew would
//! have given. It belongs to one thread; a hit takes no lock, allocates nothing and touches no memory another thread
//! writes. It never decides what may be kept (that is the pipeline's to say) and never reads a packet it did not render:
//! replies it could not change correctly by moving octets are simply not kept ([`Answers::put`]).
//!
//! ```text
//!   hash ──▶ set of 4 tags ──▶ head: shape, life, where the TTLs stand ──▶ 512 octets: the reply
//! ```
//!
//! All room is taken when the table is made, zeroed by the system, so that memory is used as entries come. A full set
//! gives up an entry that was not used since the last time it had to.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use wire::types::flag;
use wire::{Class, NameRef, Rtype};

/// Replies one worker keeps at most, a power of two: the names asked most make up nearly all hits, and those behind the
/// first few thousand gain little over the shared cache.
pub const ENTRIES: usize = 4096;
/// Octets of the largest reply kept. Nearly all answers without signatures are smaller; with [`ENTRIES`] it makes 2 MiB.
pub const MAX_REPLY: usize = 512;
/// Seconds a reply is kept at most. The shared cache hears of an entry's use, and the worker of an RRset that another
/// answer brought, after this time at the latest.
pub const MAX_LIFE_S: u32 = 10;
/// Records a reply kept may have: as many addresses as [`MAX_REPLY`] holds.
const MAX_RECORDS: usize = 30;
/// RRsets of several records a reply kept may have: a chain has one, with addresses of name servers beside it two.
const MAX_RUNS: usize = 2;
/// Entries a hash may stand in.
const WAYS: usize = 4;
const SETS: usize = ENTRIES / WAYS;
/// Octets of a message header.
const HEADER: usize = 12;
/// Octets of a record between its owner and its data: type, class, TTL, length.
const FIXED: usize = 10;

/// What a reply depends on beside the name. Two queries of one shape get the same reply, but for id, spelling and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// The header bits of the query; RD, AD and CD count.
    pub flags: u16,
    /// The DO bit, if there is an OPT record.
    pub edns: Option<bool>,
    /// Octets of the largest reply.
    pub size: u16,
    /// Which rules apply to the client, in the caller's numbers.
    pub class: u8,
}

impl Shape {
    fn packed(self) -> u64 {
        let bits = u64::from(self.flags & flag::RD != 0)
            | u64::from(self.flags & flag::AD != 0) << 1
            | u64::from(self.flags & flag::CD != 0) << 2
            | u64::from(self.edns.is_some()) << 3
            | u64::from(self.edns == Some(true)) << 4;
        u64::from(self.qtype.0)
            | u64::from(self.qclass.0) << 16
            | u64::from(self.size) << 32
            | u64::from(self.class) << 48
            | bits << 56
    }
}

/// A question as the table looks for it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    name: NameRef<'a>,
    shape: u64,
    hash: u64,
}

/// How long a reply holds and what changes in it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The caller's clock in whole seconds, by which the TTLs in the reply were counted.
    pub now_s: u64,
    /// Seconds from then on for which the reply is good; more than [`MAX_LIFE_S`] is that.
    pub life_s: u32,
    /// Whether TTLs count down; those of local data do not.
    pub counts_down: bool,
    /// Which record each RRset was begun with, as [`wire::Render::rotate`] had it.
    pub rotate: Option<u32>,
    /// The caller's word about the reply, told with each use.
    pub mark: u8,
}

/// What the table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Replies held, those whose time has passed included.
    pub entries: u64,
    /// Octets the table takes, whatever it holds.
    pub bytes: u64,
}

/// A run of records that makes an RRset of more than one: equally long, without a name that anything points into.
#[derive(Clone, Copy, Default)]
struct Run {
    start: u16,
    count: u16,
    size: u16,
}

#[derive(Clone, Copy, Default)]
struct Head {
    shape: u64,
    /// The second the TTLs are of.
    stored_s: u64,
    /// The second from which the entry is none any more.
    until_s: u64,
    /// The table's number when it was stored; another one ends it.
    generation: u64,
    /// Octets of the reply.
    len: u16,
    records: u8,
    runs: u8,
    counts_down: bool,
    mark: u8,
    /// Where the TTLs stand.
    ttls: [u16; MAX_RECORDS],
    moving: [Run; MAX_RUNS],
}

/// The table of one worker.
pub struct Answers {
    /// Four short hashes a set: what a look-up that finds nothing reads.
    tags: Box<[[u32; WAYS]]>,
    /// A bit for each entry of a set that was used since one had to leave.
    used: Box<[u8]>,
    heads: Box<[Head]>,
    octets: Box<[u8]>,
    seed: u64,
    revision: u64,
    epoch: u64,
    generation: u64,
    entries: u64,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers::new()
    }
}

impl Answers {
    /// An empty table.
    pub fn new() -> Answers {
        Answers {
            tags: vec![[0; WAYS]; SETS].into_boxed_slice(),
            used: vec![0; SETS].into_boxed_slice(),
            heads: vec![Head::default(); ENTRIES].into_boxed_slice(),
            octets: vec![0; ENTRIES * MAX_REPLY].into_boxed_slice(),
            // Whoever knows it could make names that fall into one set.
            seed: DefaultHashBuilder::default().hash_one(0_u64),
            revision: 0,
            epoch: 0,
            generation: 1,
            entries: 0,
        }
    }

    /// Says by what is answered from now on: the snapshot's revision and [`crate::Store::epoch`], read before the shared
    /// cache is. Another pair than the last ends all entries.
    pub fn current(&mut self, revision: u64, epoch: u64) {
        if (self.revision, self.epoch) != (revision, epoch) {
            (self.revision, self.epoch) = (revision, epoch);
            self.generation += 1;
            self.entries = 0;
        }
    }

    /// Makes a question ready for [`Answers::get`] and [`Answers::put`]. `name` may have any case.
    pub fn ask<'a>(&self, name: NameRef<'a>, shape: Shape) -> Ask<'a> {
        let shape = shape.packed();
        Ask { name, shape, hash: hash(self.seed ^ shape, name.as_wire()) }
    }

    /// The reply to a question, written into `out` with this id and, under `rrset-roundrobin`, in the order that `rotate`
    /// gives. Returns its octets, and [`Life::mark`].
    pub fn get(
        &mut self,
        ask: &Ask<'_>,
        id: u16,
        rotate: Option<u32>,
        now_s: u64,
        out: &mut [u8],
    ) -> Option<(usize, u8)> {
        let found = self.find(ask, now_s).and_then(|(set, way)| {
            let at = set * WAYS + way;
            let head = self.heads.get(at)?;
            let len = usize::from(head.len);
            let out = out.get_mut(..len)?;
            out.copy_from_slice(self.octets.get(at * MAX_REPLY..)?.get(..len)?);
            out.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
            let name = ask.name.as_wire();
            out.get_mut(HEADER..HEADER + name.len())?.copy_from_slice(name);
            let elapsed = u32::try_from(now_s.saturating_sub(head.stored_s)).unwrap_or(u32::MAX);
            if head.counts_down && elapsed > 0 {
                for ttl in head.ttls.get(..usize::from(head.records))? {
                    let ttl = out.get_mut(usize::from(*ttl)..)?.first_chunk_mut::<4>()?;
                    *ttl = u32::from_be_bytes(*ttl).saturating_sub(elapsed).to_be_bytes();
                }
            }
            if let Some(rotate) = rotate {
                for run in head.moving.get(..usize::from(head.runs))? {
                    run.octets(out)?.rotate_left(run.first(rotate));
                }
            }
            Some((set, way, (len, head.mark)))
        });
        let (set, way, told) = found?;
        if let Some(used) = self.used.get_mut(set).filter(|used| **used & 1 << way == 0) {
            *used |= 1 << way;
        }
        Some(told)
    }

    /// Keeps a reply that was just rendered for `ask`. Not kept is one that is too large, truncated, or has an RRset whose
    /// records cannot be put into another order by moving octets: of different lengths, with compressed names, or with an
    /// owner that is written out (so that others may point into it).
    pub fn put(&mut self, ask: &Ask<'_>, reply: &[u8], life: &Life) {
        let life_s = life.life_s.min(MAX_LIFE_S);
        if life_s == 0 || reply.len() > MAX_REPLY {
            return;
        }
        let Some(mut head) = survey(reply, ask.name.len(), life.rotate.is_some()) else { return };
        head.shape = ask.shape;
        head.stored_s = life.now_s;
        head.until_s = life.now_s + u64::from(life_s);
        head.generation = self.generation;
        (head.counts_down, head.mark) = (life.counts_down, life.mark);
        let (set, way) = self.room(ask, life.now_s);
        let at = set * WAYS + way;
        let (Some(slot), Some(room)) = (
            self.heads.get_mut(at),
            self.octets.get_mut(at * MAX_REPLY..).and_then(|octets| octets.get_mut(..reply.len())),
        ) else {
            return;
        };
        if slot.generation != self.generation {
            self.entries += 1;
        }
        room.copy_from_slice(reply);
        // In the order of the set itself, so that the next one begins from there.
        for run in head.moving.iter().take(usize::from(head.runs)) {
            if let Some(octets) = run.octets(room) {
                octets.rotate_right(run.first(life.rotate.unwrap_or(0)));
            }
        }
        *slot = head;
        if let Some(tag) = self.tags.get_mut(set).and_then(|tags| tags.get_mut(way)) {
            *tag = tag_of(ask.hash);
        }
        if let Some(used) = self.used.get_mut(set) {
            *used &= !(1 << way);
        }
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        let bytes = size_of_val(&*self.tags)
            + size_of_val(&*self.used)
            + size_of_val(&*self.heads)
            + size_of_val(&*self.octets);
        Usage { entries: self.entries, bytes: bytes as u64 }
    }

    /// The set and the way of a question's entry, if it is good.
    fn find(&self, ask: &Ask<'_>, now_s: u64) -> Option<(usize, usize)> {
        let set = set_of(ask.hash);
        let tag = tag_of(ask.hash);
        let tags = self.tags.get(set)?;
        (0..WAYS).zip(tags).find_map(|(way, have)| {
            let good = *have == tag
                && self.heads.get(set * WAYS + way).is_some_and(|head| {
                    head.shape == ask.shape && head.generation == self.generation && now_s < head.until_s
                })
                && self.names(set * WAYS + way, ask.name);
            good.then_some((set, way))
        })
    }

    /// Whether the entry's question has this name. A name tells its own end, so the octets suffice; those of a length are
    /// never letters.
    fn names(&self, at: usize, name: NameRef<'_>) -> bool {
        let there = self.octets.get(at * MAX_REPLY + HEADER..).and_then(|octets| octets.get(..name.len()));
        there.is_some_and(|there| there.eq_ignore_ascii_case(name.as_wire()))
    }

    /// Where a new entry goes: in the place of the old one to the same question, of one that is over, or of one that was
    /// not used for long.
    fn room(&mut self, ask: &Ask<'_>, now_s: u64) -> (usize, usize) {
        let set = set_of(ask.hash);
        if let Some(same) = self.find(ask, now_s) {
            return same;
        }
        let heads = self.heads.get(set * WAYS..).unwrap_or_default().iter().take(WAYS);
        let over = heads.zip(0..).find(|(head, _)| head.generation != self.generation || head.until_s <= now_s);
        if let Some((_, way)) = over {
            return (set, way);
        }
        let Some(used) = self.used.get_mut(set) else { return (set, 0) };
        match (0..WAYS).find(|way| *used & 1 << way == 0) {
            Some(way) => (set, way),
            None => {
                *used = 0;
                (set, (ask.hash >> 60) as usize % WAYS)
            }
        }
    }
}

impl Run {
    fn octets<'o>(&self, reply: &'o mut [u8]) -> Option<&'o mut [u8]> {
        let start = usize::from(self.start);
        reply.get_mut(start..start + usize::from(self.count) * usize::from(self.size))
    }

    /// Octets before the record that comes first.
    fn first(&self, rotate: u32) -> usize {
        let nth = rotate.checked_rem(u32::from(self.count)).unwrap_or(0);
        nth as usize * usize::from(self.size)
    }
}

fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}

/// Bits the set is not chosen by; never that of an entry that was never used.
fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// A hash of the octets of a name that is blind to case: letters differ from capitals by one bit, which is set in every
/// octet. (So do a few other octets; the names are compared.) Keyed, and mixed by multiplying to 128 bits.
fn hash(seed: u64, name: &[u8]) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word) | LOWER);
    let folded = words.fold(seed, |hash, word| mix(hash ^ word, ODD));
    mix(folded ^ name.len() as u64, seed | 1)
}

/// One record of our own making: where its TTL stands, and what tells it from its neighbours.
struct Record {
    start: usize,
    after: usize,
    ttl: usize,
    rtype: Rtype,
    /// The pointer its owner is; `None` when it is written out.
    owner: Option<u16>,
}

/// Finds what changes in a reply. `None` if it is not one that can be kept. `ordered` says that RRsets are sent in another
/// order each time.
fn survey(reply: &[u8], name: usize, ordered: bool) -> Option<Head> {
    let [_, _, high, _, q0, q1, a0, a1, n0, n1, r0, r1] = *reply.first_chunk::<HEADER>()?;
    if u16::from(high) << 8 & flag::TC != 0 || [q0, q1] != [0, 1] {
        return None;
    }
    let mut head = Head { len: u16::try_from(reply.len()).ok()?, ..Head::default() };
    let mut at = HEADER + name + 4;
    for count in [[a0, a1], [n0, n1], [r0, r1]] {
        let mut last: Option<Record> = None;
        for _ in 0..u16::from_be_bytes(count) {
            let record = Record::read(reply, at)?;
            at = record.after;
            if record.rtype == Rtype::OPT {
                continue; // its TTL is none
            }
            *head.ttls.get_mut(usize::from(head.records))? = u16::try_from(record.ttl).ok()?;
            head.records += 1;
            if ordered && let Some(last) = last.filter(|last| last.same_set(&record, reply)) {
                head.extend(&last, &record)?;
            }
            last = Some(record);
        }
    }
    (at == reply.len()).then_some(head)
}

impl Record {
    fn read(reply: &[u8], start: usize) -> Option<Record> {
        let mut at = start;
        let mut owner = None;
        loop {
            match *reply.get(at)? {
                0 => {
                    at += 1;
                    break;
                }
                high @ 0xc0.. => {
                    if at == start {
                        owner = Some(u16::from_be_bytes([high, *reply.get(at + 1)?]));
                    }
                    at += 2;
                    break;
                }
                len => at += 1 + usize::from(len),
            }
        }
        let [t0, t1, _, _, _, _, _, _, l0, l1] = *reply.get(at..)?.first_chunk::<FIXED>()?;
        let after = at + FIXED + usize::from(u16::from_be_bytes([l0, l1]));
        reply.get(..after)?;
        Some(Record { start, after, ttl: at + 4, rtype: Rtype(u16::from_be_bytes([t0, t1])), owner })
    }

    /// Whether the record that follows belongs to the same RRset. A written-out owner is pointed to by those after it.
    fn same_set(&self, next: &Record, reply: &[u8]) -> bool {
        let points_here = || next.owner.is_some_and(|to| usize::from(to & 0x3fff) == self.start);
        let class = |record: &Record| reply.get(record.ttl - 2..record.ttl);
        let owner = match self.owner {
            Some(_) => self.owner == next.owner,
            // The root's owner is one octet that nothing points to.
            None => points_here() || (next.owner.is_none() && reply.get(self.start) == Some(&0)),
        };
        owner && self.rtype == next.rtype && class(self) == class(next)
    }
}

impl Head {
    /// Takes note that `next` follows `last` in one set. `None` if their order cannot be changed.
    fn extend(&mut self, last: &Record, next: &Record) -> Option<()> {
        let size = next.after - next.start;
        // Signatures of one owner may cover several sets; they are seldom more than one a set.
        if last.owner.is_none()
            || size != last.after - last.start
            || last.rtype == Rtype::RRSIG
            || wire::compressible(last.rtype)
        {
            return None;
        }
        let (start, size) = (u16::try_from(last.start).ok()?, u16::try_from(size).ok()?);
        let open = usize::from(self.runs).checked_sub(1).and_then(|run| self.moving.get_mut(run));
        match open.filter(|run| run.start + (run.count - 1) * run.size == start && run.size == size) {
            Some(run) => run.count += 1,
            None => {
                *self.moving.get_mut(usize::from(self.runs))? = Run { start, count: 2, size };
                self.runs += 1;
            }
        }
        Some(())
    }
}
