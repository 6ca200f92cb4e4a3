//! What the API has put over the file: records and blocks, in a form that shares all that did not change.
//!
//! It owns their storage. What a record means beside the file's own is decided in [`crate::local`], which has it behave as
//! if it stood at the end of the file; what a block answers is in `block`. It never reads text and never knows who put an
//! entry there.
//!
//! | module | owns |
//! |---|---|
//! | `names` | the table of names, in 4,096 shards of which a change copies those it touches |
//! | `records` | the records of one name, packed and in order |
//! | `block` | what is done with a blocked name |
//!
//! # Order
//! The records of a name are kept by type number, then by their data: what is answered depends on what there is and never
//! on the order in which it came, so it is the same after a restart.

mod block;
mod names;
mod records;

use wire::{Class, Name, NameRef, Record, Rtype};

pub(crate) use block::Action;
pub use block::{BLOCK_TTL, Block, BlockHit};
pub(crate) use names::{Changes, Names};
pub(crate) use records::{One, Presence, Records, presence};

use crate::walk::Walk;

/// An entry of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record; its class is IN. Owner, type and data say which one it is, so that one of another TTL takes its place.
    Record(Record),
    /// A block. The name says which one it is, so that one of another action takes its place.
    Block {
        /// The name; what is below it is blocked as well.
        name: Name,
        /// What its queries get.
        action: Block,
    },
}

/// All records and blocks. A clone costs nothing, and one that was amended shares with the one before it all that is the
/// same in both.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    pub(crate) records: Names,
    pub(crate) blocks: Names,
    /// Records, of all names.
    count: usize,
}

/// Seconds a record may be kept that does not say so: as in the file.
const DEFAULT_TTL: u32 = 3600;

impl Overlay {
    /// The overlay without `remove` and then with `put`, of which the last counts where two are about the same. A record
    /// or block to remove that is not there is none; of a record to remove the TTL, of a block the action does not matter.
    #[must_use]
    pub fn amended(&self, put: impl IntoIterator<Item = Item>, remove: impl IntoIterator<Item = Item>) -> Overlay {
        self.amended_and(put, remove, |_, _, _| {})
    }

    /// The same; tells of each name whose records it touched what kinds of records were there before and are now.
    pub(crate) fn amended_and(
        &self,
        put: impl IntoIterator<Item = Item>,
        remove: impl IntoIterator<Item = Item>,
        mut touched: impl FnMut(NameRef<'_>, Presence, Presence),
    ) -> Overlay {
        let (mut records, mut blocks) = (Changes::default(), Changes::default());
        for item in remove {
            match item {
                Item::Record(record) => records.add(record.owner.as_ref(), |into| records::take(&record, into)),
                Item::Block { name, .. } => blocks.add(name.as_ref(), |_| {}),
            }
        }
        for item in put {
            match item {
                Item::Record(record) => records.add(record.owner.as_ref(), |into| records::put(&record, into)),
                Item::Block { name, action } => blocks.add(name.as_ref(), |into| action.pack(into)),
            }
        }
        let mut count = self.count;
        let records = self.records.amended(records, |name, old, changes, into| {
            let (before, after) = records::merge(old.unwrap_or_default(), changes, into);
            count = count + after - before;
            touched(name, old.map_or(Presence::default(), presence), presence(into));
            after > 0
        });
        let blocks = self.blocks.amended(blocks, |_, _, changes, into| {
            // An empty one takes the block away.
            let last: &[u8] = changes.last().copied().unwrap_or_default();
            into.extend_from_slice(last);
            !last.is_empty()
        });
        Overlay { records, blocks, count }
    }

    /// How many records there are.
    pub fn record_count(&self) -> usize {
        self.count
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Octets of memory held, those that are shared included.
    pub fn bytes(&self) -> usize {
        self.records.bytes() + self.blocks.bytes()
    }

    /// All records, in no order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.records.iter().flat_map(|(name, packed)| {
            Records::new(packed).map(move |one| Record {
                owner: name.to_name(),
                ttl: Some(one.ttl),
                class: Class::IN,
                rtype: one.rtype,
                rdata: one.data.to_vec(),
            })
        })
    }

    /// All blocks, in no order.
    pub fn blocks(&self) -> impl Iterator<Item = (Name, Block)> + '_ {
        self.blocks.iter().filter_map(|(name, packed)| Some((name.to_name(), Action::new(packed)?.to_block())))
    }

    /// The block that holds a name: the closest of those at and above it, with the labels of its name.
    pub(crate) fn blocking(&self, walk: &Walk<'_>) -> Option<(usize, Action<'_>)> {
        let (labels, packed) = self.blocks.closest(walk)?;
        Some((labels, Action::new(packed)?))
    }
}

/// Whether a record belongs to the parent's side of a zone cut.
pub(crate) fn of_parent(rtype: Rtype) -> bool {
    rtype == Rtype::DS
}
