//! Entries of the state as the data plane has them.
//!
//! It owns the way from rows to [`Item`]s, all of them at a start ([`Loading`]) or some of them in a change ([`Delta`]). It
//! never decides which change may be made.

use std::collections::HashMap;

use policy::overlay::{Item, Overlay};
use wire::{Class, Record};

use crate::bulk::{Bulk, BulkError, Kind, Usual};
use crate::codec::{self, RowsError};
use crate::entry::Saying;
use crate::key;
use crate::object;

/// Items collected before they go into an overlay: each time it copies what it has, so a million go in a few times.
const BATCH: usize = 250_000;

/// The entry of a key and what it says; `None` if the key is none of its kind.
pub(crate) fn item(octets: &[u8], saying: &Saying) -> Option<Item> {
    Some(match saying {
        Saying::Record { ttl, .. } => {
            let (owner, rtype, rdata) = key::record(octets)?;
            Item::Record(Record { owner, ttl: Some(*ttl), class: Class::IN, rtype, rdata: rdata.to_vec() })
        }
        Saying::Block { action, .. } => {
            let (name, _) = key::split_name(octets)?;
            Item::Block { name: name.to_name(), action: action.clone() }
        }
    })
}

/// Hands on each of the rows as an item. Codes are not looked at: that was done where they were read.
///
/// # Errors
/// They are not ROWS of that kind.
fn each(kind: &str, rows: &[u8], mut each: impl FnMut(Item)) -> Result<(), RowsError> {
    let kind = Kind::read(kind).ok_or_else(|| RowsError(format!("{kind} is neither record nor block")))?;
    let (usual, mut found) = (Usual::default(), Vec::new());
    codec::read(rows, |row| {
        found.clear();
        let wrong = |what: &str| RowsError(format!("{} {}: {what}", kind.word(), row.id));
        let saying = object::read(kind, row.doc.as_bytes(), &usual, &mut found)
            .map_err(|complaint| wrong(&format!("{}: {}", complaint.field, complaint.what)))?;
        if found != row.key {
            return Err(wrong("the key is not that of the document"));
        }
        each(item(&found, &saying).ok_or_else(|| wrong("the key is none"))?);
        Ok(())
    })
}

/// All records and blocks, on their way into an overlay.
#[derive(Debug, Default)]
pub struct Loading {
    there: Overlay,
    waiting: Vec<Item>,
}

impl Loading {
    /// Takes rows of a kind.
    ///
    /// # Errors
    /// They are not ROWS of records or blocks.
    pub fn load(&mut self, kind: &str, rows: &[u8]) -> Result<(), RowsError> {
        each(kind, rows, |item| self.waiting.push(item))?;
        if self.waiting.len() >= BATCH {
            self.settle();
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.there = self.there.amended(self.waiting.drain(..), []);
    }

    /// The overlay of everything loaded so far.
    pub fn overlay(&mut self) -> Overlay {
        if !self.waiting.is_empty() {
            self.settle();
            self.waiting = Vec::new();
        }
        self.there.clone()
    }
}

/// Which entry an item is about.
#[derive(PartialEq, Eq, Hash)]
struct Identity(Vec<u8>);

impl Identity {
    fn of(item: &Item) -> Identity {
        let mut octets = Vec::new();
        match item {
            Item::Record(record) => {
                octets.push(0);
                key::push_record(&mut octets, record.owner.as_ref(), record.rtype, &record.rdata);
            }
            Item::Block { name, .. } => {
                octets.push(1);
                key::push_block(&mut octets, name.as_ref());
            }
        }
        Identity(octets)
    }
}

/// What a change puts and removes, in the order in which it was said.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Items, and whether each is put.
    steps: Vec<(Item, bool)>,
    removes: bool,
}

impl Delta {
    /// Puts all entries that are on their way in.
    ///
    /// # Errors
    /// Not all of them have come.
    pub fn put(&mut self, bulk: &Bulk) -> Result<(), BulkError> {
        self.steps.extend(bulk.items()?.map(|item| (item, true)));
        Ok(())
    }

    /// Puts rows.
    ///
    /// # Errors
    /// They are not ROWS of records or blocks; some may have been taken.
    pub fn put_rows(&mut self, kind: &str, rows: &[u8]) -> Result<(), RowsError> {
        each(kind, rows, |item| self.steps.push((item, true)))
    }

    /// Removes rows.
    ///
    /// # Errors
    /// They are not ROWS of records or blocks; some may have been taken.
    pub fn remove_rows(&mut self, kind: &str, rows: &[u8]) -> Result<(), RowsError> {
        self.removes = true;
        each(kind, rows, |item| self.steps.push((item, false)))
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What is to be put and what is to be removed, of each entry the last that was said.
    pub fn split(self) -> (Vec<Item>, Vec<Item>) {
        if !self.removes {
            return (self.steps.into_iter().map(|(item, _)| item).collect(), Vec::new());
        }
        let last: HashMap<Identity, usize> =
            self.steps.iter().enumerate().map(|(nth, (item, _))| (Identity::of(item), nth)).collect();
        let mut steps: Vec<(usize, Item, bool)> =
            self.steps.into_iter().enumerate().map(|(nth, (item, put))| (nth, item, put)).collect();
        steps.retain(|(nth, item, _)| last.get(&Identity::of(item)) == Some(nth));
        let (put, remove): (Vec<_>, Vec<_>) = steps.into_iter().partition(|(_, _, put)| *put);
        let items = |steps: Vec<(usize, Item, bool)>| steps.into_iter().map(|(_, item, _)| item).collect();
        (items(put), items(remove))
    }
}
