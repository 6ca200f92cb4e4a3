//! ROWS: entries as the state keeps them, `[[id, key, doc, rev, mac], …]` in JSON, key and code in hexadecimal.
//!
//! It owns that shape, which SQLite's `json_each` and `json_group_array` speak in C, and the code over each row. It knows
//! nothing of what stands in a document.
//!
//! The code is HMAC-SHA256 over kind, id, key, document and revision, each field led by its length, so that no two rows
//! share what is signed. A row keeps the first [`KEPT`] octets; the sum of the whole codes stands for the set of rows,
//! whatever their order, and can be kept up as rows come and go.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use vault::{DIGEST, Macs, SecretKey};

/// Octets of its code that a row keeps: a forger's chance is one in 2^128, and a million rows cost 16 MB less.
pub const KEPT: usize = 16;

/// An entry as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its number, never used again for another.
    pub id: i64,
    /// What it is found by, unique within its kind.
    pub key: Vec<u8>,
    /// What it says, a JSON object.
    pub doc: Cow<'a, str>,
    /// The revision that wrote it.
    pub revision: i64,
    /// The octets that are kept of its code.
    pub mac: Vec<u8>,
}

/// Octets that are not ROWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsError(pub String);

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these are not rows of the state: {}", self.0)
    }
}

impl std::error::Error for RowsError {}

/// The sum of codes, each a little-endian number, modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sum {
    /// Adds a code.
    pub fn add(&mut self, mac: &[u8; DIGEST]) {
        let mut carry = false;
        for (limb, octets) in self.0.iter_mut().zip(mac.as_chunks::<8>().0) {
            let (sum, first) = limb.overflowing_add(u64::from_le_bytes(*octets));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    /// The sum, little-endian.
    pub fn octets(self) -> [u8; DIGEST] {
        let mut out = [0; DIGEST];
        for (into, limb) in out.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *into = limb.to_le_bytes();
        }
        out
    }
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Rows read.
    pub count: u64,
    /// The sum of the codes they ought to have.
    pub sum: Sum,
    /// Numbers of the rows whose code is another, in the order they came in.
    pub wrong: Vec<i64>,
}

/// The code of a row, all of it.
pub fn mac_row(macs: &Macs, kind: &str, id: i64, key: &[u8], doc: &str, revision: i64) -> [u8; DIGEST] {
    let length = |octets: usize| u64::try_from(octets).unwrap_or(u64::MAX).to_le_bytes();
    macs.mac(&[
        &length(kind.len()),
        kind.as_bytes(),
        &id.to_le_bytes(),
        &length(key.len()),
        key,
        &length(doc.len()),
        doc.as_bytes(),
        &revision.to_le_bytes(),
    ])
}

/// Whether two codes are the same, in a time that tells nothing of where they differ.
fn same(kept: &[u8], mac: &[u8; DIGEST]) -> bool {
    kept.len() == KEPT && kept.iter().zip(mac).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Checks the code of every row.
///
/// # Errors
/// The octets are not ROWS.
pub fn check(key: &SecretKey, kind: &str, rows: &[u8]) -> Result<Checked, RowsError> {
    let macs = key.macs();
    let mut checked = Checked::default();
    read(rows, |row| {
        let mac = mac_row(&macs, kind, row.id, &row.key, &row.doc, row.revision);
        checked.count += 1;
        checked.sum.add(&mac);
        if !same(&row.mac, &mac) {
            checked.wrong.push(row.id);
        }
        Ok(())
    })?;
    Ok(checked)
}

/// What [`recode`] made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recoded {
    /// The rows, coded with the new key.
    pub rows: Vec<u8>,
    /// What the old key says about them.
    pub before: Checked,
    /// The sum of the new codes.
    pub sum: Sum,
}

/// Codes every row with another key, and checks the code it had.
///
/// # Errors
/// The octets are not ROWS.
pub fn recode(old: &SecretKey, new: &SecretKey, kind: &str, rows: &[u8]) -> Result<Recoded, RowsError> {
    let (old, new) = (old.macs(), new.macs());
    let mut made = Recoded::default();
    let mut out = Vec::with_capacity(rows.len());
    read(rows, |row| {
        let before = mac_row(&old, kind, row.id, &row.key, &row.doc, row.revision);
        made.before.count += 1;
        made.before.sum.add(&before);
        if !same(&row.mac, &before) {
            made.before.wrong.push(row.id);
        }
        let mac = mac_row(&new, kind, row.id, &row.key, &row.doc, row.revision);
        made.sum.add(&mac);
        write(&mut out, row.id, &row.key, &row.doc, row.revision, &mac);
        Ok(())
    })?;
    close(&mut out);
    made.rows = out;
    Ok(made)
}

/// Hands each row to `each`, in order, and stops at the first that it refuses.
///
/// # Errors
/// The octets are not ROWS, or what `each` says.
pub fn read<'r>(rows: &'r [u8], each: impl FnMut(Row<'r>) -> Result<(), RowsError>) -> Result<(), RowsError> {
    let mut reader = serde_json::Deserializer::from_slice(rows);
    let said = reader.deserialize_seq(Each(each)).and_then(|()| reader.end());
    said.map_err(|error| RowsError(error.to_string()))
}

/// Adds a row to ROWS that are being written. `out` is empty before the first; [`close`] ends them.
pub fn write(out: &mut Vec<u8>, id: i64, key: &[u8], doc: &str, revision: i64, mac: &[u8; DIGEST]) {
    out.push(if out.is_empty() { b'[' } else { b',' });
    out.push(b'[');
    // Writing to a vector never fails.
    let _ = serde_json::to_writer(&mut *out, &id);
    out.extend_from_slice(b",\"");
    push_hex(out, key);
    out.extend_from_slice(b"\",");
    let _ = serde_json::to_writer(&mut *out, doc);
    out.push(b',');
    let _ = serde_json::to_writer(&mut *out, &revision);
    out.extend_from_slice(b",\"");
    push_hex(out, mac.get(..KEPT).unwrap_or_default());
    out.extend_from_slice(b"\"]");
}

/// Ends ROWS.
pub fn close(out: &mut Vec<u8>) {
    if out.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
}

/// Appends octets in hexadecimal.
pub(crate) fn push_hex(out: &mut Vec<u8>, octets: &[u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    out.reserve(octets.len() * 2);
    for octet in octets {
        out.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
    }
}

/// Octets from hexadecimal digits of any case, as SQLite and we write them.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    let mut out = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        out.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(out)
}

/// Visits the outer array.
struct Each<F>(F);

impl<'r, F: FnMut(Row<'r>) -> Result<(), RowsError>> Visitor<'r> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'r>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(row) = seq.next_element_seed(One)? {
            self.0(row).map_err(|error| serde::de::Error::custom(error.0))?;
        }
        Ok(())
    }
}

/// Visits one row.
struct One;

impl<'r> DeserializeSeed<'r> for One {
    type Value = Row<'r>;

    fn deserialize<D: Deserializer<'r>>(self, from: D) -> Result<Row<'r>, D::Error> {
        from.deserialize_seq(One)
    }
}

impl<'r> Visitor<'r> for One {
    type Value = Row<'r>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of id, key, document, revision and code")
    }

    fn visit_seq<A: SeqAccess<'r>>(self, mut seq: A) -> Result<Row<'r>, A::Error> {
        let short = || serde::de::Error::custom("a row is id, key, document, revision and code");
        let hex = |text: Text<'r>| unhex(&text.0).ok_or_else(|| serde::de::Error::custom("not hexadecimal"));
        let id = seq.next_element()?.ok_or_else(short)?;
        let key = hex(seq.next_element()?.ok_or_else(short)?)?;
        let doc = seq.next_element::<Text<'r>>()?.ok_or_else(short)?.0;
        let revision = seq.next_element()?.ok_or_else(short)?;
        let mac = hex(seq.next_element()?.ok_or_else(short)?)?;
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(Row { id, key, doc, revision, mac }),
            Some(_) => Err(short()),
        }
    }
}

/// A string, borrowed where it has no escape.
#[derive(serde::Deserialize)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::new(vec![1; 32]).unwrap()
    }

    fn written(rows: &[(i64, Vec<u8>, String, i64)]) -> (Vec<u8>, Sum) {
        let (macs, mut out, mut sum) = (key().macs(), Vec::new(), Sum::default());
        for (id, k, doc, revision) in rows {
            let mac = mac_row(&macs, "record", *id, k, doc, *revision);
            write(&mut out, *id, k, doc, *revision, &mac);
            sum.add(&mac);
        }
        close(&mut out);
        (out, sum)
    }

    #[test]
    fn rows_under_another_key() {
        let rows = [(1, vec![7, 0], "{}".to_owned(), 3), (2, vec![], r#"{"a":"\u00e4\""}"#.to_owned(), -1)];
        let (octets, sum) = written(&rows);
        let other = SecretKey::new(vec![2; 32]).unwrap();
        let made = recode(&key(), &other, "record", &octets).unwrap();
        assert_eq!(made.before, Checked { count: 2, sum, wrong: vec![] });
        assert_eq!(check(&other, "record", &made.rows).unwrap(), Checked { count: 2, sum: made.sum, wrong: vec![] });
        assert_eq!(recode(&other, &key(), "record", &made.rows).unwrap().rows, octets);
        assert_eq!(recode(&other, &key(), "record", &octets).unwrap().before.wrong, [1, 2]);
        assert_eq!(recode(&key(), &other, "record", b"[]").unwrap().rows, b"[]");
        assert!(recode(&key(), &other, "record", b"[[]]").is_err());
    }

    /// By Python: hmac over struct.pack("<Q", len) before kind, key and document, struct.pack("<q") of id and revision.
    #[test]
    fn the_code_of_a_row() {
        let mac = mac_row(&key().macs(), "record", 7, b"\0k", "{}", 3);
        assert_eq!(
            mac.iter().map(|octet| format!("{octet:02x}")).collect::<String>(),
            "781b3780f01f8b524ba5ef4c469f2000cb760f8693a72f3c03f61c33b7600ad0"
        );
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for bad in [
            "",
            "{}",
            "[1]",
            "[[]]",
            r#"[[1,"00","{}",1]]"#,
            r#"[[1,"00","{}",1,"00",2]]"#,
            r#"[[1,"0","{}",1,"00"]]"#,
            r#"[[1,"0x","{}",1,"00"]]"#,
            r#"[["1","00","{}",1,"00"]]"#,
            r#"[[1,"00",{},1,"00"]]"#,
            r#"[[1.5,"00","{}",1,"00"]]"#,
            "[] []",
            "[",
        ] {
            assert!(check(&key(), "record", bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(check(&key(), "record", b" [] ").unwrap(), Checked::default());
        let short = check(&key(), "record", br#"[[1,"AbCd","\u007b}",1,""]]"#).unwrap();
        assert_eq!((short.count, short.wrong), (1, vec![1]));
    }

    #[test]
    fn sums_carry() {
        let mut sum = Sum::default();
        sum.add(&[0xff; 32]);
        sum.add(&{
            let mut one = [0; 32];
            one[0] = 2;
            one
        });
        let mut want = [0; 32];
        want[0] = 1;
        assert_eq!(sum.octets(), want);
    }

    fn any_rows() -> impl Strategy<Value = Vec<(i64, Vec<u8>, String, i64)>> {
        let row = (any::<i64>(), proptest::collection::vec(any::<u8>(), 0..40), any::<String>(), any::<i64>());
        proptest::collection::vec(row, 0..8)
    }

    proptest! {
        #[test]
        fn rows_read_back(rows in any_rows()) {
            let (octets, sum) = written(&rows);
            let mut back = Vec::new();
            read(&octets, |row| {
                back.push((row.id, row.key, row.doc.into_owned(), row.revision));
                Ok(())
            }).unwrap();
            prop_assert_eq!(&back, &rows);
            let checked = check(&key(), "record", &octets).unwrap();
            prop_assert_eq!((checked.count, checked.sum, checked.wrong), (rows.len() as u64, sum, vec![]));
        }

        /// A changed field, or another kind, is another code.
        #[test]
        fn every_field_counts(row in (any::<i64>(), proptest::collection::vec(any::<u8>(), 1..40), "[a-z]{1,9}", any::<i64>()), at in 0usize..5) {
            let mut other = row.clone();
            match at {
                0 => other.0 ^= 1,
                1 => other.1[0] ^= 1,
                2 => other.2.push(' '),
                3 => other.3 ^= 1,
                _ => {}
            }
            let (macs, kind) = (key().macs(), if at == 4 { "block" } else { "record" });
            let mac = mac_row(&macs, "record", row.0, &row.1, &row.2, row.3);
            prop_assert_ne!(mac, mac_row(&macs, kind, other.0, &other.1, &other.2, other.3));
        }

        #[test]
        fn octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = check(&key(), "record", &octets);
        }
    }
}
