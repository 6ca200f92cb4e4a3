//! The checks on `rows`: no octets may panic it, how they are cut changes nothing, and what it takes is taken the same a
//! second time.
//!
//! Included by the fuzz targets and, by path, by the replay test of the crate.

use rows::{Bulk, Loading, check};
use vault::SecretKey;

const FORMS: [(&str, &str); 4] = [("record", "json"), ("record", "zone"), ("block", "json"), ("block", "names")];

/// Entries on their way in. The first octet says in which form, and into what pieces the rest is cut.
pub fn bulk(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let (kind, form) = FORMS[usize::from(how & 3)];
    let (whole, cut) = (read(kind, form, data, data.len().max(1)), read(kind, form, data, usize::from(how >> 2) + 1));
    assert_eq!(whole, cut, "the cut counts");
    let (docs, rows) = whole;
    let again = read(kind, "json", format!("[{}]", docs.join(",")).as_bytes(), 4096);
    assert_eq!((docs, rows), again, "a document is another entry when it is read again");
}

/// The documents and the rows.
fn read(kind: &str, form: &str, data: &[u8], size: usize) -> (Vec<String>, Vec<u8>) {
    let key = SecretKey::public().expect("memory");
    let mut bulk = Bulk::new(kind, form, b"{}").expect("a kind and a form");
    data.chunks(size).for_each(|piece| bulk.feed(piece).expect("not finished"));
    let count = bulk.finish().expect("not finished").len();
    assert!(count <= 100 && bulk.fault_count() >= count as u64);
    let mut docs = Vec::new();
    bulk.each(0, |_, doc| docs.push(doc.to_owned())).expect("finished");
    let rows = bulk.rows(0, 1, 1, &key, b"[]").expect("no rows stand").unwrap_or_else(|| b"[]".to_vec());
    let checked = check(&key, kind, &rows).expect("our own rows");
    assert_eq!((checked.count, checked.wrong), (docs.len() as u64, Vec::new()));
    let mut loading = Loading::default();
    loading.load(kind, &rows).expect("our own rows");
    let overlay = loading.overlay();
    assert_eq!(overlay.record_count() + overlay.block_count(), docs.len());
    (docs, rows)
}

/// Rows of the state, which a stranger may have written.
pub fn rows(data: &[u8]) {
    let key = SecretKey::public().expect("memory");
    for kind in ["record", "block"] {
        let _ = check(&key, kind, data);
        let mut loading = Loading::default();
        if loading.load(kind, data).is_ok() {
            let _ = loading.overlay();
        }
    }
}
