//! From text to rows to the data plane: what comes out is what was written, whichever way it went.

use std::collections::BTreeMap;

use policy::overlay::{Block, Item};
use proptest::prelude::*;
use rows::{Bulk, Delta, Loading, Overlay};
use vault::SecretKey;
use wire::{Name, parse_record};

fn key() -> SecretKey {
    SecretKey::new(vec![1; 32]).unwrap()
}

fn bulk(kind: &str, form: &str, text: &str) -> Bulk {
    let mut bulk = Bulk::new(kind, form, b"{}").unwrap();
    bulk.feed(text.as_bytes()).unwrap();
    assert_eq!(bulk.finish().unwrap(), [], "{text}");
    bulk
}

fn rows(bulk: &Bulk) -> Vec<u8> {
    bulk.rows(0, 1, 1, &key(), b"[]").unwrap().unwrap_or_else(|| b"[]".to_vec())
}

/// Everything in an overlay, in an order.
fn content(overlay: &Overlay) -> (Vec<String>, Vec<String>) {
    let mut records: Vec<String> =
        overlay.records().map(|r| format!("{} {:?} {} {:?}", r.owner.lower(), r.ttl, r.rtype, r.rdata)).collect();
    let mut blocks: Vec<String> = overlay.blocks().map(|(name, block)| format!("{} {block:?}", name.lower())).collect();
    records.sort_unstable();
    blocks.sort_unstable();
    (records, blocks)
}

fn loaded(kind: &str, rows: &[u8]) -> Overlay {
    let mut loading = Loading::default();
    loading.load(kind, rows).unwrap();
    loading.overlay()
}

/// Lines of records, of several types and any octets in names.
fn record() -> impl Strategy<Value = String> {
    let name = proptest::collection::vec("[a-cA-C]{1,2}|\\\\00[01]|\\\\[.;(@]|\\*", 1..4)
        .prop_map(|labels| labels.join(".") + ".");
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|a| format!("A {}", std::net::Ipv4Addr::from(a))),
        any::<[u8; 16]>().prop_map(|a| format!("AAAA {}", std::net::Ipv6Addr::from(a))),
        "[a-b]{1,2}".prop_map(|name| format!("CNAME {name}.")),
        (0u16..3, "[a-b]").prop_map(|(preference, name)| format!("MX {preference} {name}.")),
        "[a-z\" ]{0,9}".prop_map(|text| format!("TXT \"{}\"", text.replace('"', "\\\""))),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(|data| {
            let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("TYPE65280 \\# {} {hex}", data.len())
        }),
    ];
    (name, 0u32..86_400, data).prop_map(|(name, ttl, data)| format!("{name} {ttl} IN {data}"))
}

fn block() -> impl Strategy<Value = (String, Block)> {
    let action = prop_oneof![
        Just(Block::Nxdomain),
        Just(Block::Refuse),
        Just(Block::Nodata),
        Just(Block::Null),
        any::<[u8; 4]>().prop_map(|a| Block::Addresses(vec![std::net::Ipv4Addr::from(a).into()])),
        Just(Block::Alias(Name::from_text("portal.test.").unwrap())),
    ];
    ("[a-c]{1,2}(\\.[a-cA-C]){0,3}", action)
}

/// A block as the API takes it.
fn object(name: &str, block: &Block) -> String {
    let target = block.target().map_or(String::new(), |target| format!(",\"target\":\"{target}\""));
    format!("{{\"name\":\"{name}\",\"action\":\"{}\"{target}}}", block.word())
}

/// A step of a change: whether it puts or removes, and which of a few blocks.
fn steps() -> impl Strategy<Value = Vec<(bool, String, Block)>> {
    proptest::collection::vec((any::<bool>(), block()).prop_map(|(put, (name, block))| (put, name, block)), 0..20)
}

proptest! {
    #[test]
    fn records_are_the_same_by_every_way(lines in proptest::collection::vec(record(), 0..12)) {
        let items = lines.iter().map(|line| Item::Record(parse_record(line, 0).unwrap()));
        let want = content(&Overlay::default().amended(items, []));
        let by_line = bulk("record", "zone", &lines.join("\n"));
        prop_assert_eq!(&content(&loaded("record", &rows(&by_line))), &want);
        let mut delta = Delta::default();
        delta.put(&by_line).unwrap();
        let (put, remove) = delta.split();
        prop_assert_eq!(&content(&Overlay::default().amended(put, remove)), &want);
        // Documents are entries themselves, and come back as they were.
        let mut docs = Vec::new();
        by_line.each(0, |_, doc| docs.push(doc.to_owned())).unwrap();
        let by_document = bulk("record", "json", &format!("[{}]", docs.join(",")));
        prop_assert_eq!(rows(&by_document), rows(&by_line));
    }

    #[test]
    fn blocks_are_the_same_by_every_way(blocks in proptest::collection::vec(block(), 0..12)) {
        let items = blocks.iter().map(|(name, action)| Item::Block { name: Name::from_text(name).unwrap(), action: action.clone() });
        let want = content(&Overlay::default().amended(items, []));
        let text: String = blocks.iter().map(|(name, action)| object(name, action)).collect();
        if !text.is_empty() {
            let made = bulk("block", "json", &text);
            prop_assert_eq!(&content(&loaded("block", &rows(&made))), &want);
            let mut docs = String::new();
            made.each(0, |_, doc| docs.push_str(doc)).unwrap();
            prop_assert_eq!(rows(&bulk("block", "json", &docs)), rows(&made));
        }
    }

    /// Of each entry the last that was said counts, whatever stood there before.
    #[test]
    fn a_change_does_what_its_steps_do_one_by_one(before in steps(), steps in steps()) {
        let mut model: BTreeMap<String, Block> = BTreeMap::new();
        let mut overlay = Overlay::default();
        for steps in [before, steps] {
            let mut delta = Delta::default();
            for (put, name, action) in steps {
                let rows = rows(&bulk("block", "json", &object(&name, &action)));
                if put {
                    delta.put_rows("block", &rows).unwrap();
                    model.insert(name.to_lowercase(), action);
                } else {
                    delta.remove_rows("block", &rows).unwrap();
                    model.remove(&name.to_lowercase());
                }
            }
            let (put, remove) = delta.split();
            overlay = overlay.amended(put, remove);
        }
        let mut want: Vec<String> = model.iter().map(|(name, action)| format!("{name}. {action:?}")).collect();
        want.sort_unstable();
        prop_assert_eq!(content(&overlay).1, want);
    }
}

#[test]
fn a_row_that_is_no_entry_is_named() {
    let good = rows(&bulk("block", "names", "a.test"));
    let text = String::from_utf8(good).unwrap();
    for (from, to, what) in [
        ("7465737400610000", "7465737400620000", "block 1: the key is not that of the document"),
        ("nxdomain", "drop", "block 1: action: \"drop\" is not an action"),
        ("a.test.", "a..", "block 1: name: \"a..\" is not a name"),
    ] {
        let error = Loading::default().load("block", text.replace(from, to).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(Loading::default().load("user", b"[]").is_err());
}
