//! What is kept of an answer beside its record sets: code, flags, order, time, and the question it belongs to.
//!
//! It owns the packed form of a message and of its references to record sets. It never looks a set up.

use std::borrow::Cow;

use wire::{Class, Ede, Name, NameRef, Rcode, Rtype};

use crate::sets::Security;
use crate::shard::{Entry, allocated};

/// The question an answer was found for. Two keys whose names differ in case only are the same key (RFC 4343).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name asked for, in lower case.
    pub name: Name,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// Whether the client switched checking off (CD). Where nothing validates, such answers are kept apart: the forwarder may
    /// tell them apart. Where this resolver validates it is false: what is known of an answer says its [`Security`].
    pub cd: bool,
}

/// Bits of a slot number in a [`Handle`]: 2²⁸ sets are 9 GiB of slots in one shard.
const SLOT_BITS: u32 = 28;
/// Bits of a shard number ([`crate::MAX_SHARDS`]).
const SHARD_BITS: u32 = 6;
/// Bits of a generation, the rest: a slot must be used anew exactly a multiple of 2³⁰ times while a message waits, for one
/// set to be taken for another.
const GENERATION_BITS: u32 = 64 - SLOT_BITS - SHARD_BITS;

/// The number after the last generation.
pub(crate) const GENERATIONS: u32 = 1 << GENERATION_BITS;

/// Where a record set stands: shard, slot and the generation it had when it was referred to, in 8 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(u64);

impl Handle {
    /// In place of a CNAME that is made from the DNAME before it (RFC 6672 3.1) each time the message is read. The highest
    /// generation is never given out.
    pub(crate) const MADE: Handle = Handle(u64::MAX);

    /// `None` if a number is too large.
    pub(crate) fn new(shard: usize, slot: u32, generation: u32) -> Option<Handle> {
        let shard = u64::try_from(shard).ok().filter(|shard| *shard < 1 << SHARD_BITS)?;
        let slot = Some(slot).filter(|slot| *slot < 1 << SLOT_BITS)?;
        let high = u64::from(generation) << (SLOT_BITS + SHARD_BITS);
        Some(Handle(high | shard << SLOT_BITS | u64::from(slot)))
    }

    /// Shard, slot and generation.
    pub(crate) fn parts(self) -> (usize, u32, u32) {
        let shard = (self.0 >> SLOT_BITS) & ((1 << SHARD_BITS) - 1);
        let slot = self.0 & ((1 << SLOT_BITS) - 1);
        (shard as usize, slot as u32, (self.0 >> (SLOT_BITS + SHARD_BITS)) as u32)
    }
}

/// Bits of [`Message::bits`].
const AA: u8 = 1;
const CD: u8 = 2;

/// A message in its slot.
pub(crate) struct Message {
    /// The whole hash of the key.
    hash: u64,
    /// The second its time ends.
    pub(crate) expires: u32,
    /// Seconds it had when it was stored.
    pub(crate) ttl: u32,
    qtype: Rtype,
    qclass: Class,
    pub(crate) rcode: Rcode,
    bits: u8,
    pub(crate) security: Security,
    body: Body,
}

/// Most answers are one set whose owner is the name asked for: that needs no heap.
enum Body {
    /// One set, in the answer section.
    One(Handle),
    /// Everything else, packed: see [`Parts`].
    Packed(Box<[u8]>),
}

/// What a message is made of beside its fixed fields.
///
/// Packed: sets in the answer and authority section (two octets each), the clock of staleness and the end of the pause (four
/// each), the number of sets (two), each handle (eight), a flag whether the name follows, the name in wire form, a flag
/// whether an extended error follows, its code and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) handles: Handles<'a>,
    /// Sets in the answer section, and in answer and authority section together.
    pub(crate) answer: u16,
    pub(crate) authority: u16,
    /// The second from which staleness counts, if later than the message's end; 0: not set.
    pub(crate) stale_from: u32,
    /// Until when no refresh is to be tried; 0: not set.
    pub(crate) paused_until: u32,
    /// The name asked for; `None`: it is the owner of the first set.
    pub(crate) name: Option<NameRef<'a>>,
    pub(crate) ede: Option<(u16, &'a str)>,
}

/// The references of a message, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handles<'a> {
    One(Handle),
    Packed(&'a [u8]),
    Listed(&'a [Handle]),
}

impl<'a> Handles<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Handles::One(_) => 1,
            Handles::Packed(octets) => octets.len() / 8,
            Handles::Listed(all) => all.len(),
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Handle> + 'a {
        let (one, packed, listed): (Option<Handle>, &[u8], &[Handle]) = match self {
            Handles::One(handle) => (Some(handle), &[], &[]),
            Handles::Packed(octets) => (None, octets, &[]),
            Handles::Listed(all) => (None, &[], all),
        };
        let (chunks, _) = packed.as_chunks::<8>();
        one.into_iter()
            .chain(chunks.iter().map(|octets| Handle(u64::from_be_bytes(*octets))))
            .chain(listed.iter().copied())
    }
}

impl<'a> Parts<'a> {
    fn pack(&self) -> Box<[u8]> {
        let ede = self.ede.map_or(0, |(_, text)| 2 + text.len());
        let name = self.name.map_or(0, NameRef::len);
        let mut out = Vec::with_capacity(16 + self.handles.len() * 8 + name + ede);
        out.extend_from_slice(&self.answer.to_be_bytes());
        out.extend_from_slice(&self.authority.to_be_bytes());
        out.extend_from_slice(&self.stale_from.to_be_bytes());
        out.extend_from_slice(&self.paused_until.to_be_bytes());
        let sets = u16::try_from(self.handles.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&sets.to_be_bytes());
        self.handles.iter().take(usize::from(sets)).for_each(|handle| out.extend_from_slice(&handle.0.to_be_bytes()));
        out.push(u8::from(self.name.is_some()));
        out.extend_from_slice(self.name.map_or(&[], NameRef::as_wire));
        out.push(u8::from(self.ede.is_some()));
        if let Some((code, text)) = self.ede {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.into_boxed_slice()
    }

    fn read(octets: &'a [u8]) -> Option<Parts<'a>> {
        let (answer, rest) = octets.split_first_chunk::<2>()?;
        let (authority, rest) = rest.split_first_chunk::<2>()?;
        let (stale_from, rest) = rest.split_first_chunk::<4>()?;
        let (paused_until, rest) = rest.split_first_chunk::<4>()?;
        let (sets, rest) = rest.split_first_chunk::<2>()?;
        let (handles, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*sets)) * 8)?;
        let (named, rest) = rest.split_first()?;
        let (name, rest) = match named {
            0 => (None, rest),
            _ => NameRef::split_from(rest).map(|(name, rest)| (Some(name), rest)).ok()?,
        };
        let (told, rest) = rest.split_first()?;
        let ede = match told {
            0 => None,
            _ => {
                let (code, text) = rest.split_first_chunk::<2>()?;
                Some((u16::from_be_bytes(*code), std::str::from_utf8(text).ok()?))
            }
        };
        Some(Parts {
            handles: Handles::Packed(handles),
            answer: u16::from_be_bytes(*answer),
            authority: u16::from_be_bytes(*authority),
            stale_from: u32::from_be_bytes(*stale_from),
            paused_until: u32::from_be_bytes(*paused_until),
            name,
            ede,
        })
    }
}

/// The fixed fields of a message to be made.
#[derive(Clone, Copy)]
pub(crate) struct Fixed {
    pub(crate) hash: u64,
    pub(crate) expires: u32,
    pub(crate) ttl: u32,
    pub(crate) rcode: Rcode,
    pub(crate) aa: bool,
    pub(crate) security: Security,
}

impl Message {
    pub(crate) fn new(key: &Key, fixed: &Fixed, parts: &Parts<'_>) -> Message {
        let mut one = parts.handles.iter();
        let body = match (one.next(), one.next(), parts) {
            (Some(handle), None, Parts { answer: 1, name: None, ede: None, .. }) => Body::One(handle),
            _ => Body::Packed(parts.pack()),
        };
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        Message {
            hash: fixed.hash,
            expires: fixed.expires,
            ttl: fixed.ttl,
            qtype: key.qtype,
            qclass: key.qclass,
            rcode: fixed.rcode,
            bits: bit(fixed.aa, AA) | bit(key.cd, CD),
            security: fixed.security,
            body,
        }
    }

    pub(crate) fn parts(&self) -> Option<Parts<'_>> {
        match &self.body {
            Body::One(handle) => Some(Parts {
                handles: Handles::One(*handle),
                answer: 1,
                authority: 1,
                stale_from: 0,
                paused_until: 0,
                name: None,
                ede: None,
            }),
            Body::Packed(octets) => Parts::read(octets),
        }
    }

    /// Sets one or both clocks of staleness.
    pub(crate) fn set_clocks(&mut self, stale_from: Option<u32>, paused_until: Option<u32>) {
        let Some(parts) = self.parts() else {
            return;
        };
        let stale_from = stale_from.unwrap_or(parts.stale_from);
        let paused_until = paused_until.unwrap_or(parts.paused_until);
        self.body = Body::Packed(Parts { stale_from, paused_until, ..parts }.pack());
    }

    /// Whether it may answer this; the name is for the caller to compare, with [`Parts::name`] or the owner of the first set.
    pub(crate) fn may_be(&self, hash: u64, qtype: Rtype, qclass: Class, cd: bool) -> bool {
        self.hash == hash && self.qtype == qtype && self.qclass == qclass && self.cd() == cd
    }

    pub(crate) fn aa(&self) -> bool {
        self.bits & AA != 0
    }

    pub(crate) fn cd(&self) -> bool {
        self.bits & CD != 0
    }

    pub(crate) fn qtype(&self) -> Rtype {
        self.qtype
    }

    pub(crate) fn qclass(&self) -> Class {
        self.qclass
    }
}

impl Entry for Message {
    fn hash(&self) -> u32 {
        self.hash as u32
    }

    fn heap(&self) -> usize {
        match &self.body {
            Body::One(_) => 0,
            Body::Packed(octets) => allocated(octets.len()),
        }
    }
}

/// An extended error as it was.
pub(crate) fn ede((code, text): (u16, &str)) -> Ede {
    Ede { code, text: Cow::Owned(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_one_set_needs_no_heap_and_no_more_than_its_slot() {
        assert_eq!((size_of::<Message>(), size_of::<Option<Message>>()), (40, 40));
        assert_eq!(size_of::<Option<crate::sets::Set>>(), 32);
    }

    #[test]
    fn handles_keep_their_parts() {
        for parts in [(0, 0, 0), (63, (1 << SLOT_BITS) - 1, GENERATIONS - 2), (5, 77, 1)] {
            assert_eq!(Handle::new(parts.0, parts.1, parts.2).unwrap().parts(), parts);
        }
        assert_eq!(Handle::new(64, 0, 0), None);
        assert_eq!(Handle::new(0, 1 << SLOT_BITS, 0), None);
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let name = Name::from_text("a.example.").unwrap();
        let all = [Handle(1), Handle::MADE, Handle(u64::MAX - 1)];
        for (name, ede) in [(None, None), (Some(name.as_ref()), Some((23, "why")))] {
            let parts = Parts {
                handles: Handles::Listed(&all),
                answer: 2,
                authority: 1,
                stale_from: 7,
                paused_until: 9,
                name,
                ede,
            };
            let packed = parts.pack();
            let back = Parts::read(&packed).unwrap();
            assert_eq!(back.handles.iter().collect::<Vec<_>>(), all);
            assert_eq!(Parts { handles: parts.handles, ..back }, parts);
        }
    }
}
