//! The order in which entries leave: SIEVE (Zhang et al., NSDI 2024), and the slab its entries live in.
//!
//! ```text
//!   newest                                  oldest
//!     head → e9 → e8* → e7 → e6* → … → e1 → tail        * read since the hand last passed
//!                             ↑ hand, walks towards the head, wraps to the tail
//! ```
//!
//! It owns the list, the marks and the hand, and knows nothing of keys, hashes or bytes. Entries are named by their
//! index in the slab, which stays the same while they live; freed indices are used again.

/// The index that means "none".
const NONE: u32 = u32::MAX >> 1;
/// The bit of [`Slot::older`] that is the mark: a field of its own would cost every slot 8 octets.
const MARK: u32 = 1 << 31;

/// A slot of the slab: an entry in the queue, or a free one.
struct Slot<T> {
    /// Towards the newest; in a free slot the next free one.
    newer: u32,
    /// Towards the oldest; [`MARK`] is set if it was read since the hand last passed.
    older: u32,
    value: Option<T>,
}

/// A queue of `T` that knows whom to evict next.
pub(crate) struct Sieve<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    head: u32,
    tail: u32,
    hand: u32,
    len: usize,
    most: u32,
}

impl<T> Sieve<T> {
    /// An empty queue, without memory, that takes at most so many entries.
    pub(crate) fn new(most: u32) -> Sieve<T> {
        Sieve { slots: Vec::new(), free: NONE, head: NONE, tail: NONE, hand: NONE, len: 0, most: most.min(NONE) }
    }

    /// Entries in the queue.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Octets of heap the slab holds, without what the entries themselves point to.
    pub(crate) fn heap(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// The same after one more entry.
    pub(crate) fn heap_for_one_more(&self) -> usize {
        let full = self.len == self.slots.capacity();
        (self.slots.capacity() + if full { self.more() } else { 0 }) * size_of::<Slot<T>>()
    }

    /// Slots that are added when all are in use: an eighth, not twice as many, for the limit counts what is reserved.
    fn more(&self) -> usize {
        self.slots.len() / 8 + 8
    }

    /// The entry at `index`, if there is one.
    pub(crate) fn peek(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.value.as_ref()
    }

    /// The entry at `index`, if there is one, to be changed.
    pub(crate) fn peek_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    /// Indices are below this, those of free slots too.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// Marks the entry at `index` as read.
    pub(crate) fn mark(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.older |= MARK;
        }
    }

    /// Puts an entry in as the newest and returns its index; `None`, and the entry is dropped, when the most are in.
    pub(crate) fn push(&mut self, value: T) -> Option<u32> {
        let slot = Slot { newer: NONE, older: self.head, value: Some(value) };
        let index = match self.slots.get_mut(self.free as usize) {
            Some(freed) => {
                let index = self.free;
                self.free = freed.newer;
                *freed = slot;
                index
            }
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|index| *index < self.most)?;
                if self.slots.len() == self.slots.capacity() {
                    self.slots.reserve_exact(self.more());
                }
                self.slots.push(slot);
                index
            }
        };
        match self.slots.get_mut(self.head as usize) {
            Some(head) => head.newer = index,
            None => self.tail = index,
        }
        self.head = index;
        self.len += 1;
        Some(index)
    }

    /// Takes the entry at `index` out.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        let (newer, older) = (slot.newer, slot.older & !MARK);
        slot.newer = self.free;
        self.free = index;
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = slot.older & MARK | older,
            None => self.head = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.tail = newer,
        }
        if self.hand == index {
            self.hand = newer;
        }
        self.len -= 1;
        Some(value)
    }

    /// The index of the entry that should leave next: the first the hand meets that was not read. (One whose time is over is
    /// no exception: who reads it serves it stale.) Ends, for each step takes a mark off.
    pub(crate) fn victim(&mut self) -> Option<u32> {
        loop {
            let index = if self.hand == NONE { self.tail } else { self.hand };
            let slot = self.slots.get_mut(index as usize)?;
            if slot.older & MARK == 0 {
                self.hand = index;
                return Some(index);
            }
            slot.older &= !MARK;
            self.hand = slot.newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(sieve: &mut Sieve<u32>) -> Vec<u32> {
        std::iter::from_fn(|| sieve.victim().and_then(|index| sieve.remove(index))).collect()
    }

    #[test]
    fn unread_entries_leave_in_the_order_they_came() {
        let mut sieve = Sieve::new(9);
        let indices: Vec<u32> = (0..5).filter_map(|n| sieve.push(n)).collect();
        assert_eq!(indices, [0, 1, 2, 3, 4]);
        assert_eq!(drain(&mut sieve), [0, 1, 2, 3, 4]);
        assert_eq!(sieve.len(), 0);
    }

    #[test]
    fn a_read_entry_outlives_those_that_came_after_it() {
        let mut sieve = Sieve::new(9);
        let indices: Vec<u32> = (0..5).filter_map(|n| sieve.push(n)).collect();
        sieve.mark(indices[0]);
        sieve.mark(indices[2]);
        assert_eq!(drain(&mut sieve), [1, 3, 4, 0, 2]);
    }

    #[test]
    fn indices_are_used_again_and_links_hold_when_the_middle_leaves() {
        let mut sieve = Sieve::new(9);
        let indices: Vec<u32> = (0..4).filter_map(|n| sieve.push(n)).collect();
        assert_eq!(sieve.remove(indices[1]), Some(1));
        assert_eq!(sieve.remove(indices[1]), None, "twice is once");
        assert_eq!(sieve.push(9), Some(indices[1]));
        assert_eq!(sieve.peek(indices[1]), Some(&9));
        assert_eq!(drain(&mut sieve), [0, 2, 3, 9]);
    }
}
