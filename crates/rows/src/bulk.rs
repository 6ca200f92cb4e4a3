//! [`Bulk`]: records or blocks on their way in.
//!
//! It owns the way from octets that come in any pieces to entries that are checked, canonical, sorted by key and without
//! duplicates, and from there to rows with their codes. Entries stand in two arenas, not in objects: a million of them are
//! some fifty octets each. How many are too many is the caller's to say, who sees [`Bulk::count`] grow.

use std::collections::HashMap;
use std::fmt;

use policy::overlay::{Block, Item};
use vault::SecretKey;

use crate::codec::{self, RowsError};
use crate::entry::{self, Complaint, Saying};
use crate::items;
use crate::key;
use crate::lines::{self, Lines, Zone};
use crate::object::{self, Objects};

/// Entries of a part: a row statement of the state takes about a millisecond for a thousand, and Python waits for no
/// longer than a part.
pub const PART: usize = 10_000;
/// Most octets of one object, one line, or one record over several lines: 65535 octets of data, each written `\DDD` and
/// that quoted once more in JSON, with room for the rest.
pub const MAX_PIECE: usize = 512 << 10;
/// Most complaints kept; what is beyond is counted.
pub const MAX_COMPLAINTS: usize = 100;

/// What entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Local records.
    Record,
    /// Blocked names.
    Block,
}

impl Kind {
    /// The word in the state.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Record => "record",
            Kind::Block => "block",
        }
    }

    /// The kind of that word, if there is one here.
    pub fn read(word: &str) -> Option<Kind> {
        [Kind::Record, Kind::Block].into_iter().find(|kind| kind.word() == word)
    }
}

/// Why octets are not taken at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkError {
    /// There is no such kind, no such form, or not together.
    Unknown(String),
    /// The defaults are none.
    Defaults(Complaint),
    /// [`Bulk::finish`] has been called before, or not yet.
    Turn(&'static str),
    /// The arenas cannot hold more.
    Full,
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BulkError::Unknown(what) => f.write_str(what),
            BulkError::Defaults(complaint) => write!(f, "defaults: {}: {}", complaint.field, complaint.what),
            BulkError::Turn(what) => f.write_str(what),
            BulkError::Full => f.write_str("four thousand million entries, no more can be held"),
        }
    }
}

impl std::error::Error for BulkError {}

/// What entries say that do not say it themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usual {
    pub(crate) ttl: u32,
    pub(crate) action: Block,
    pub(crate) comment: Option<Box<str>>,
}

impl Default for Usual {
    fn default() -> Usual {
        Usual { ttl: entry::DEFAULT_TTL, action: Block::Nxdomain, comment: None }
    }
}

/// Takes the octets of one entry and where they stand.
pub(crate) type Entry<'f> = dyn FnMut(u64, &[u8]) + 'f;

/// A complaint and where it belongs: a line, or a number in an array, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place.
    pub at: u64,
    /// What is wrong there.
    pub complaint: Complaint,
}

/// How the octets are cut.
#[derive(Debug)]
enum Form {
    Json(Objects),
    Zone(Lines, Zone),
    Names(Lines),
}

/// One entry: where its key stands, and what it says.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: usize,
    len: u32,
    saying: u32,
}

/// The entries so far.
#[derive(Debug)]
struct Basket {
    kind: Kind,
    usual: Usual,
    keys: Vec<u8>,
    list: Vec<Held>,
    sayings: Vec<Saying>,
    known: HashMap<Saying, u32>,
    faults: Vec<Fault>,
    fault_count: u64,
    full: bool,
}

impl Basket {
    fn fault(&mut self, at: u64, complaint: Complaint) {
        self.fault_count += 1;
        if self.faults.len() < MAX_COMPLAINTS {
            self.faults.push(Fault { at, complaint });
        }
    }

    fn saying(&mut self, saying: Saying) -> u32 {
        if let Some(last) = self.list.last()
            && self.said(*last) == Some(&saying)
        {
            return last.saying;
        }
        if let Some(known) = self.known.get(&saying) {
            return *known;
        }
        // No more sayings than entries, and those are counted in `keep`.
        let at = u32::try_from(self.sayings.len()).unwrap_or(u32::MAX);
        self.sayings.push(saying.clone());
        self.known.insert(saying, at);
        at
    }

    /// Keeps the entry whose key stands in the arena from `at`.
    fn keep(&mut self, at: usize, saying: Saying) {
        let saying = self.saying(saying);
        self.hold(at, saying);
    }

    fn hold(&mut self, at: usize, saying: u32) {
        match u32::try_from(self.keys.len().saturating_sub(at)) {
            Ok(len) if self.list.len() < u32::MAX as usize => self.list.push(Held { at, len, saying }),
            _ => self.full = true,
        }
    }

    fn said(&self, held: Held) -> Option<&Saying> {
        usize::try_from(held.saying).ok().and_then(|at| self.sayings.get(at))
    }

    fn key(&self, held: Held) -> &[u8] {
        self.keys.get(held.at..held.at + held.len as usize).unwrap_or_default()
    }

    fn object(&mut self, place: u64, octets: &[u8]) {
        let at = self.keys.len();
        match object::read(self.kind, octets, &self.usual, &mut self.keys) {
            Ok(saying) => self.keep(at, saying),
            Err(complaint) => {
                self.keys.truncate(at);
                self.fault(place, complaint);
            }
        }
    }

    fn record(&mut self, zone: &mut Zone, place: u64, line: &[u8]) {
        let at = self.keys.len();
        match zone.line(line, &self.usual, &mut self.keys) {
            Ok(Some(saying)) => self.keep(at, saying),
            Ok(None) => {}
            Err(complaint) => {
                self.keys.truncate(at);
                self.fault(place, complaint);
            }
        }
    }

    fn names(&mut self, place: u64, line: &[u8]) {
        let read = lines::names(line, |name| {
            let at = self.keys.len();
            key::push_block(&mut self.keys, name.as_ref());
            self.hold(at, USUAL);
        });
        if let Err(complaint) = read {
            self.fault(place, complaint);
        }
    }

    /// Brings the entries into the order of their keys and drops all but the last of each; how many went.
    fn sort(&mut self) -> u64 {
        /// The first octets of a key as a number, so that most comparisons look at no other memory.
        fn head(key: &[u8]) -> u128 {
            let mut head = [0; 16];
            for (into, octet) in head.iter_mut().zip(key) {
                *into = *octet;
            }
            u128::from_be_bytes(head)
        }
        let mut order: Vec<(u128, Held)> = self.list.iter().map(|held| (head(self.key(*held)), *held)).collect();
        // Keys are put into the arena one behind the other: of two equal ones the later has the higher place.
        order.sort_unstable_by(|(a, one), (b, other)| {
            a.cmp(b).then_with(|| self.key(*one).cmp(self.key(*other))).then_with(|| one.at.cmp(&other.at))
        });
        let before = order.len();
        // Backwards, for it keeps the first of equals.
        order.reverse();
        order.dedup_by(|(a, one), (b, other)| a == b && self.key(*one) == self.key(*other));
        order.reverse();
        self.list = order.into_iter().map(|(_, held)| held).collect();
        u64::try_from(before - self.list.len()).unwrap_or(u64::MAX)
    }
}

/// What some programs write before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Where the saying stands of entries that say nothing themselves.
const USUAL: u32 = 0;

/// Records or blocks on their way in.
#[derive(Debug)]
pub struct Bulk {
    form: Form,
    basket: Basket,
    /// Octets of a byte order mark that may still come first.
    mark: &'static [u8],
    /// What came makes the rest unreadable.
    broken: bool,
    /// How many were merged, once finished.
    merged: Option<u64>,
}

impl Bulk {
    /// For entries of a kind in a form: `json` (one object, several, or an array), `zone` (records) or `names` (blocks).
    /// `defaults` is a JSON object of what entries say that do not say it themselves.
    ///
    /// # Errors
    /// Kind, form or defaults are none.
    pub fn new(kind: &str, form: &str, defaults: &[u8]) -> Result<Bulk, BulkError> {
        let unknown = |what: String| Err(BulkError::Unknown(what));
        let Some(kind) = Kind::read(kind) else { return unknown(format!("{kind} is neither record nor block")) };
        let form = match (form, kind) {
            ("json", _) => Form::Json(Objects::new()),
            ("zone", Kind::Record) => Form::Zone(Lines::new(true), Zone::new()),
            ("names", Kind::Block) => Form::Names(Lines::new(false)),
            _ => return unknown(format!("entries of kind {} do not come in the form {form}", kind.word())),
        };
        let usual = object::usual(kind, defaults).map_err(BulkError::Defaults)?;
        let mut basket = Basket {
            kind,
            keys: Vec::new(),
            list: Vec::new(),
            sayings: Vec::new(),
            known: HashMap::new(),
            faults: Vec::new(),
            fault_count: 0,
            full: false,
            usual,
        };
        let Usual { ttl, action, comment } = basket.usual.clone();
        basket.saying(match kind {
            Kind::Record => Saying::Record { ttl, comment },
            Kind::Block => Saying::Block { action, comment },
        });
        Ok(Bulk { form, basket, mark: BYTE_ORDER_MARK, broken: false, merged: None })
    }

    /// Takes the next octets, cut anywhere.
    ///
    /// # Errors
    /// All have come already, or there is no room.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), BulkError> {
        if self.merged.is_some() {
            return Err(BulkError::Turn("everything has been fed already"));
        }
        let mut piece = piece;
        while let (Some((want, left)), Some((octet, rest))) = (self.mark.split_first(), piece.split_first()) {
            if want != octet {
                self.mark = &[];
                break;
            }
            (self.mark, piece) = (left, rest);
        }
        if self.broken {
            return Ok(());
        }
        let basket = &mut self.basket;
        let broken = match &mut self.form {
            Form::Json(objects) => {
                let fed = objects.feed(piece, &mut |place, octets| basket.object(place, octets));
                fed.err().map(|broken| (broken.line, Complaint::new("", broken.what)))
            }
            Form::Zone(lines, zone) => {
                let fed = lines.feed(piece, &mut |place, line| basket.record(zone, place, line));
                fed.err().map(|line| (line, too_long()))
            }
            Form::Names(lines) => {
                let fed = lines.feed(piece, &mut |place, line| basket.names(place, line));
                fed.err().map(|line| (line, too_long()))
            }
        };
        if let Some((line, complaint)) = broken {
            self.broken = true;
            basket.fault(line, complaint.advise("nothing after this was read"));
        }
        if basket.full { Err(BulkError::Full) } else { Ok(()) }
    }

    /// Says that everything has come, and gives the first complaints. Then the entries are sorted.
    ///
    /// # Errors
    /// It was said before, or there is no room.
    pub fn finish(&mut self) -> Result<&[Fault], BulkError> {
        if self.merged.is_some() {
            return Err(BulkError::Turn("finish has been called before"));
        }
        let basket = &mut self.basket;
        if !self.broken {
            match &mut self.form {
                Form::Json(objects) => {
                    if let Err(broken) = objects.finish() {
                        basket.fault(broken.line, Complaint::new("", broken.what));
                    }
                }
                Form::Zone(lines, zone) => lines.finish(&mut |place, line| basket.record(zone, place, line)),
                Form::Names(lines) => lines.finish(&mut |place, line| basket.names(place, line)),
            }
        }
        if basket.full {
            return Err(BulkError::Full);
        }
        basket.known = HashMap::new();
        self.merged = Some(basket.sort());
        Ok(&basket.faults)
    }

    /// What the entries are.
    pub fn kind(&self) -> Kind {
        self.basket.kind
    }

    /// Entries so far; before [`Bulk::finish`], duplicates are counted too.
    pub fn count(&self) -> usize {
        self.basket.list.len()
    }

    /// Complaints so far, those not kept too.
    pub fn fault_count(&self) -> u64 {
        self.basket.fault_count
    }

    /// Entries that gave way to a later one of the same key.
    pub fn merged(&self) -> u64 {
        self.merged.unwrap_or(0)
    }

    /// Entries of a part, from 0; `None` after the last.
    fn part(&self, part: usize) -> Result<Option<&[Held]>, BulkError> {
        if self.merged.is_none() {
            return Err(BulkError::Turn("finish has not been called yet"));
        }
        Ok(self.basket.list.chunks(PART).nth(part))
    }

    /// The entries as the data plane has them, in the order of their keys.
    ///
    /// # Errors
    /// [`Bulk::finish`] has not been called.
    pub fn items(&self) -> Result<impl Iterator<Item = Item> + '_, BulkError> {
        self.part(0)?;
        Ok(self.basket.list.iter().filter_map(|held| items::item(self.basket.key(*held), self.basket.said(*held)?)))
    }

    /// Hands on key and document of each entry of a part; `false` after the last part.
    ///
    /// # Errors
    /// [`Bulk::finish`] has not been called.
    pub fn each(&self, part: usize, mut each: impl FnMut(&[u8], &str)) -> Result<bool, BulkError> {
        let Some(part) = self.part(part)? else { return Ok(false) };
        let mut doc = String::new();
        for held in part {
            let key = self.basket.key(*held);
            if let Some(saying) = self.basket.said(*held) {
                doc.clear();
                if entry::document(&mut doc, key, saying) {
                    each(key, &doc);
                }
            }
        }
        Ok(true)
    }

    /// The keys of a part in hexadecimal, a JSON array; `None` after the last part.
    ///
    /// # Errors
    /// [`Bulk::finish`] has not been called.
    pub fn keys(&self, part: usize) -> Result<Option<Vec<u8>>, BulkError> {
        let Some(part) = self.part(part)? else { return Ok(None) };
        let mut out = vec![b'['];
        for (nth, held) in part.iter().enumerate() {
            out.extend_from_slice(if nth == 0 { b"\"" } else { b",\"" });
            codec::push_hex(&mut out, self.basket.key(*held));
            out.push(b'"');
        }
        out.push(b']');
        Ok(Some(out))
    }

    /// ROWS of a part, ready to be kept; `None` after the last part. `standing` are ROWS of what is kept already under keys
    /// of this part: an entry keeps the number it has there, and one that says the same is left out. New ones are numbered
    /// from `first`.
    ///
    /// # Errors
    /// [`Bulk::finish`] has not been called, or `standing` are no ROWS.
    pub fn rows(
        &self,
        part: usize,
        first: i64,
        revision: i64,
        key: &SecretKey,
        standing: &[u8],
    ) -> Result<Option<Vec<u8>>, RowsError> {
        let mut there: HashMap<Vec<u8>, (i64, Box<str>)> = HashMap::new();
        codec::read(standing, |row| {
            there.insert(row.key, (row.id, row.doc.into()));
            Ok(())
        })?;
        let (macs, kind) = (key.macs(), self.kind().word());
        let (mut out, mut next) = (Vec::new(), first);
        let more = self.each(part, |key, doc| {
            let id = match there.get(key) {
                Some((_, same)) if **same == *doc => return,
                Some((id, _)) => *id,
                None => {
                    next = next.saturating_add(1);
                    next.saturating_sub(1)
                }
            };
            codec::write(&mut out, id, key, doc, revision, &codec::mac_row(&macs, kind, id, key, doc, revision));
        });
        if !more.map_err(|error| RowsError(error.to_string()))? {
            return Ok(None);
        }
        codec::close(&mut out);
        Ok(Some(out))
    }
}

fn too_long() -> Complaint {
    Complaint::new("", format!("the line has more than {MAX_PIECE} octets"))
}
