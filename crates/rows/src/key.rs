//! What a record or block is found by: octets that sort as names do.
//!
//! It owns the form of keys, which the state keeps and the control plane cuts at: labels from the right, in lower case,
//! each ended by a 0; inside a label 0 is written 1 1 and 1 is written 1 2. So the octets of [`push_name`] are the start of
//! the keys of everything at and below a name, one more 0 ends the name, and octets sort in canonical order (RFC 4034
//! 6.1). A block's key ends there; a record's goes on with its type and its data.

use wire::name::{MAX_LABEL, MAX_LABELS, MAX_NAME};
use wire::{Name, NameBuf, NameError, NameRef, Rtype};

/// Ends a label, and a second time the name.
const END: u8 = 0;
/// Stands before an octet that would be taken for [`END`] or for itself.
const ESCAPE: u8 = 1;

/// Appends the start of the keys of everything at and below a name.
pub fn push_name(out: &mut Vec<u8>, name: NameRef<'_>) {
    let wire = name.as_wire();
    // Where each label stands. All offsets are below 255, and so are the octets of most keys: no table of slices.
    let mut places = [0u8; MAX_LABELS];
    let (mut count, mut at) = (0, 0usize);
    for (place, label) in places.iter_mut().zip(name.labels()) {
        *place = u8::try_from(at).unwrap_or(u8::MAX);
        at += 1 + label.len();
        count += 1;
    }
    for place in places.iter().take(count).rev() {
        let from = wire.get(usize::from(*place)..).unwrap_or_default();
        let Some((len, rest)) = from.split_first() else { return };
        for octet in rest.iter().take(usize::from(*len)).map(u8::to_ascii_lowercase) {
            match octet {
                END | ESCAPE => out.extend_from_slice(&[ESCAPE, octet + 1]),
                other => out.push(other),
            }
        }
        out.push(END);
    }
}

/// The key of a block.
pub fn push_block(out: &mut Vec<u8>, name: NameRef<'_>) {
    push_name(out, name);
    out.push(END);
}

/// The key of a record.
pub fn push_record(out: &mut Vec<u8>, owner: NameRef<'_>, rtype: Rtype, rdata: &[u8]) {
    push_block(out, owner);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(rdata);
}

/// The start of the keys of everything at and below a name in presentation form.
///
/// # Errors
/// It is no name.
pub fn of_text(name: &str) -> Result<Vec<u8>, NameError> {
    let mut out = Vec::new();
    push_name(&mut out, NameBuf::from_text(name)?.as_ref());
    Ok(out)
}

/// The name at the front of a key, and what follows it; `None` if the octets are no key.
pub fn split_name(key: &[u8]) -> Option<(NameBuf, &[u8])> {
    // The last label of the name comes first, so the name is put together from its end.
    let mut wire = [0; MAX_NAME];
    let mut start = MAX_NAME - 1;
    let mut rest = key;
    loop {
        let end = rest.iter().position(|octet| *octet == END)?;
        let (raw, after) = (rest.get(..end)?, rest.get(end + 1..)?);
        rest = after;
        if raw.is_empty() {
            break;
        }
        let (mut label, mut len) = ([0; MAX_LABEL], 0);
        let mut octets = raw.iter();
        while let Some(octet) = octets.next() {
            *label.get_mut(len)? = match *octet {
                ESCAPE => octets.next()?.checked_sub(1)?,
                other => other,
            };
            len += 1;
        }
        let from = start.checked_sub(len + 1)?;
        let (first, into) = wire.get_mut(from..start)?.split_first_mut()?;
        *first = u8::try_from(len).ok()?;
        into.copy_from_slice(label.get(..len)?);
        start = from;
    }
    Some((NameRef::from_wire(wire.get(start..)?).ok()?.to_buf(), rest))
}

/// Type and data of a record, from what [`split_name`] leaves of its key.
pub fn split_record(rest: &[u8]) -> Option<(Rtype, &[u8])> {
    let (rtype, rdata) = rest.split_first_chunk::<2>()?;
    Some((Rtype(u16::from_be_bytes(*rtype)), rdata))
}

/// Owner, type and data of a record from its key.
pub fn record(key: &[u8]) -> Option<(Name, Rtype, &[u8])> {
    let (owner, rest) = split_name(key)?;
    let (rtype, rdata) = split_record(rest)?;
    Some((owner.to_name(), rtype, rdata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: NameRef<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        push_block(&mut out, name);
        out
    }

    #[test]
    fn keys_are_written_like_this() {
        let name = NameBuf::from_text(r"WWW.a\000\001\002.test.").unwrap();
        assert_eq!(key(name.as_ref()), b"test\0a\x01\x01\x01\x02\x02\0www\0\0");
        assert_eq!(key(wire::name::ROOT), b"\0");
        let mut out = Vec::new();
        push_record(&mut out, NameBuf::from_text("a.").unwrap().as_ref(), Rtype::A, &[1, 2, 3, 4]);
        assert_eq!(out, b"a\0\0\0\x01\x01\x02\x03\x04");
        assert_eq!(record(&out).unwrap(), (Name::from_text("a.").unwrap(), Rtype::A, &[1, 2, 3, 4][..]));
        assert_eq!(of_text("A.b").unwrap(), b"b\0a\0");
        assert!(of_text("a..b").is_err());
        for bad in [&b""[..], b"a", b"a\0", b"\x01\0\0", b"\x01\x00\0"] {
            assert!(split_name(bad).is_none(), "{bad:?}");
        }
    }

    fn any_name() -> impl Strategy<Value = NameBuf> {
        let label = proptest::collection::vec(prop_oneof![0u8..4, b'a'..b'd', b'A'..b'D', any::<u8>()], 1..5);
        proptest::collection::vec(label, 0..5)
            .prop_map(|labels| NameBuf::from_labels(labels.iter().map(Vec::as_slice)).unwrap())
    }

    proptest! {
        #[test]
        fn keys_sort_as_names_do(a in any_name(), b in any_name()) {
            prop_assert_eq!(key(a.as_ref()).cmp(&key(b.as_ref())), a.as_ref().cmp(&b.as_ref()));
        }

        #[test]
        fn a_names_prefix_is_that_of_what_is_below(a in any_name(), b in any_name()) {
            let mut prefix = Vec::new();
            push_name(&mut prefix, b.as_ref());
            prop_assert_eq!(key(a.as_ref()).starts_with(&prefix), a.as_ref().is_subdomain_of(b.as_ref()));
        }

        #[test]
        fn keys_read_back(a in any_name(), rest in proptest::collection::vec(any::<u8>(), 0..5)) {
            let mut octets = key(a.as_ref());
            octets.extend_from_slice(&rest);
            let (name, after) = split_name(&octets).unwrap();
            prop_assert!(name.as_ref().same_case(a.lower().as_ref()));
            prop_assert_eq!(after, &rest[..]);
        }

        #[test]
        fn octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = split_name(&octets);
        }
    }
}
