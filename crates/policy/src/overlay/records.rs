//! The records of one name: packed one after the other, by type number and then by data.
//!
//! It owns the packing and the changes to it. What a query gets of them is decided in `local`.

use wire::{Record, Rtype};

use super::{DEFAULT_TTL, of_parent};

/// A record of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct One<'a> {
    pub(crate) rtype: Rtype,
    /// Seconds.
    pub(crate) ttl: u32,
    pub(crate) data: &'a [u8],
}

/// The records of a packing, in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records<'a>(&'a [u8]);

/// Whether a name has records that belong to it, and whether it has such as belong to its parent's zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) own: bool,
    pub(crate) of_parent: bool,
}

impl<'a> Records<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Records<'a> {
        Records(packed)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = One<'a>;

    fn next(&mut self) -> Option<One<'a>> {
        let (one, rest) = read(self.0)?;
        self.0 = rest;
        Some(one)
    }
}

/// What there is in a packing.
pub(crate) fn presence(packed: &[u8]) -> Presence {
    Records::new(packed).fold(Presence::default(), |all, one| match of_parent(one.rtype) {
        true => Presence { of_parent: true, ..all },
        false => Presence { own: true, ..all },
    })
}

fn read(packed: &[u8]) -> Option<(One<'_>, &[u8])> {
    let (rtype, rest) = packed.split_first_chunk::<2>()?;
    let (ttl, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((One { rtype: Rtype(u16::from_be_bytes(*rtype)), ttl: u32::from_be_bytes(*ttl), data }, rest))
}

fn write(one: One<'_>, into: &mut Vec<u8>) {
    let Ok(len) = u16::try_from(one.data.len()) else { return };
    into.extend_from_slice(&one.rtype.0.to_be_bytes());
    into.extend_from_slice(&one.ttl.to_be_bytes());
    into.extend_from_slice(&len.to_be_bytes());
    into.extend_from_slice(one.data);
}

const TAKE: u8 = 0;
const PUT: u8 = 1;

/// A change that puts a record in.
pub(crate) fn put(record: &Record, into: &mut Vec<u8>) {
    change(PUT, record, into);
}

/// A change that takes a record out.
pub(crate) fn take(record: &Record, into: &mut Vec<u8>) {
    change(TAKE, record, into);
}

fn change(act: u8, record: &Record, into: &mut Vec<u8>) {
    into.push(act);
    write(One { rtype: record.rtype, ttl: record.ttl.unwrap_or(DEFAULT_TTL), data: &record.rdata }, into);
}

/// Writes the packing that `changes` make of `packed`; returns how many records it had and has.
pub(crate) fn merge(packed: &[u8], changes: &[&[u8]], into: &mut Vec<u8>) -> (usize, usize) {
    let mut all: Vec<One<'_>> = Records::new(packed).collect();
    let before = all.len();
    for (act, rest) in changes.iter().filter_map(|change| change.split_first()) {
        let Some((one, _)) = read(rest) else { continue };
        match (all.binary_search_by(|have| (have.rtype.0, have.data).cmp(&(one.rtype.0, one.data))), *act) {
            (Ok(at), PUT) => all.iter_mut().skip(at).take(1).for_each(|have| have.ttl = one.ttl),
            (Err(at), PUT) => all.insert(at, one),
            (Ok(at), _) => drop(all.remove(at)),
            (Err(_), _) => {}
        }
    }
    all.iter().for_each(|one| write(*one, into));
    (before, all.len())
}
