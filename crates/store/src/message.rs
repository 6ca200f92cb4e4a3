//! One remembered answer and the question it belongs to, with the octets they hold.
//!
//! It owns the shape of an entry, its age and its size. It never changes an answer: TTLs count down when the answer is
//! rendered, by [`Message::age_s`].

use std::borrow::Cow;

use wire::{Answer, Class, Name, Rrset, RrsetData, Rtype};

use crate::Millis;

/// The question an answer was found for. Two keys whose names differ in case only are the same key (RFC 4343).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name asked for, in lower case.
    pub name: Name,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// Whether the client switched checking off (CD): such answers are kept apart, for they were not validated.
    pub cd: bool,
}

/// An answer, when it was stored and how long it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The answer, with the TTLs it had when it was stored.
    pub answer: Answer,
    /// When it was stored.
    pub stored: Millis,
    /// Seconds it may be used. 0 means it is never stored (RFC 1035 3.2.1: for the transaction in progress only).
    pub ttl: u32,
}

impl Message {
    /// Whole seconds since it was stored: what is taken off every TTL when it is handed out.
    pub fn age_s(&self, now: Millis) -> u32 {
        u32::try_from(now.saturating_sub(self.stored) / 1000).unwrap_or(u32::MAX)
    }

    /// Whether its time has passed.
    pub fn expired(&self, now: Millis) -> bool {
        self.age_s(now) >= self.ttl
    }

    /// Gives back what the vectors reserved and do not use, so that the octets counted are octets needed.
    pub(crate) fn shrink(&mut self) {
        for section in [&mut self.answer.answer, &mut self.answer.authority, &mut self.answer.additional] {
            section.shrink_to_fit();
        }
    }

    /// Octets of heap a message holds once it is behind an `Arc`.
    pub(crate) fn heap(&self) -> usize {
        /// The two reference counts an `Arc` keeps before its value.
        const ARC_COUNTS: usize = 2 * size_of::<usize>();
        let sections = [&self.answer.answer, &self.answer.authority, &self.answer.additional];
        let sets: usize = sections
            .into_iter()
            .map(|section| {
                allocated(section.capacity() * size_of::<Rrset>())
                    + section
                        .iter()
                        .map(|r| {
                            allocated(ARC_COUNTS + size_of::<RrsetData>())
                                + allocated(r.owner.as_ref().len())
                                + allocated(r.rdata.bytes())
                                + allocated(r.sigs.bytes())
                        })
                        .sum::<usize>()
            })
            .sum();
        let text = match self.answer.ede.as_ref().map(|ede| &ede.text) {
            Some(Cow::Owned(text)) => allocated(text.capacity()),
            _ => 0,
        };
        allocated(ARC_COUNTS + size_of::<Message>()) + sets + text
    }
}

/// Octets the allocator takes for a request of `size`: jemalloc's size classes, which are multiples of 16 up to 128 and
/// then four to each doubling. Other allocators round by about as much.
pub(crate) fn allocated(size: usize) -> usize {
    match size {
        0 => 0,
        1..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        _ => {
            let doubling = size.next_power_of_two();
            size.next_multiple_of(doubling / 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_as_the_allocator_rounds() {
        for (size, class) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (1025, 1280),
        ] {
            assert_eq!(allocated(size), class, "{size}");
        }
    }

    #[test]
    fn age_counts_whole_seconds_and_ends_at_the_ttl() {
        let message = Message { answer: Answer::default(), stored: 10_500, ttl: 2 };
        assert_eq!(message.age_s(10_000), 0, "a clock that stands a little behind is no age");
        assert_eq!((message.age_s(11_499), message.expired(11_499)), (0, false));
        assert_eq!((message.age_s(12_499), message.expired(12_499)), (1, false));
        assert_eq!((message.age_s(12_500), message.expired(12_500)), (2, true));
    }
}
