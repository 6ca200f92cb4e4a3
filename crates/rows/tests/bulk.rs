//! Entries on their way in: every form, every complaint, any cut.

use proptest::prelude::*;
use rows::{Bulk, BulkError, check};
use vault::SecretKey;

fn key() -> SecretKey {
    SecretKey::new(vec![1; 32]).unwrap()
}

fn fed(kind: &str, form: &str, defaults: &str, text: &[u8], size: usize) -> Bulk {
    let mut bulk = Bulk::new(kind, form, defaults.as_bytes()).unwrap();
    for piece in text.chunks(size) {
        bulk.feed(piece).unwrap();
    }
    bulk
}

fn docs(bulk: &Bulk) -> Vec<String> {
    let mut out = Vec::new();
    let mut part = 0;
    while bulk.each(part, |_, doc| out.push(doc.to_owned())).unwrap() {
        part += 1;
    }
    out
}

fn faults(kind: &str, form: &str, text: &str) -> Vec<(u64, String, String)> {
    let mut bulk = fed(kind, form, "{}", text.as_bytes(), 7);
    let faults = bulk.finish().unwrap();
    faults.iter().map(|fault| (fault.at, fault.complaint.field.clone(), fault.complaint.what.clone())).collect()
}

#[test]
fn records_come_as_objects_in_every_arrangement() {
    let one = r#"{"name":"WWW.Example","type":"a","value":"192.0.2.1"}"#;
    let two = r#"{"value":"\"x\"","ttl":9999999,"name":"a.example.","type":"TXT","comment":"é \"x\""}"#;
    let want = [
        r#"{"comment":"é \"x\"","name":"a.example.","ttl":86400,"type":"TXT","value":"\"x\""}"#,
        r#"{"name":"www.example.","ttl":3600,"type":"A","value":"192.0.2.1"}"#,
    ];
    for text in [
        format!("{one}{two}"),
        format!("{one}\n{two}\n"),
        format!("[{one} ,\n{two}\n]\n"),
        format!("\u{feff}[{one},{two}]"),
    ] {
        for size in [1, 2, 3, 50, 1000] {
            let mut bulk = fed("record", "json", "{}", text.as_bytes(), size);
            assert_eq!(bulk.finish().unwrap(), [], "{text}");
            assert_eq!(docs(&bulk), want, "{text} {size}");
        }
    }
    let mut bulk = fed("record", "json", "{}", one.as_bytes(), 9);
    bulk.finish().unwrap();
    assert_eq!(docs(&bulk), want[1..]);
    let mut none = fed("record", "json", "{}", b" [ ] ", 9);
    assert_eq!(none.finish().unwrap(), []);
    assert_eq!((none.count(), none.rows(0, 1, 1, &key(), b"[]").unwrap()), (0, None));
}

#[test]
fn defaults_stand_for_what_is_not_said() {
    let text = r#"{"name":"a","type":"A","value":"192.0.2.1"}{"name":"b","type":"A","value":"192.0.2.1","ttl":1,"comment":""}"#;
    let mut bulk = fed("record", "json", r#"{"ttl":60,"comment":"all"}"#, text.as_bytes(), 9);
    bulk.finish().unwrap();
    let want = [
        r#"{"comment":"all","name":"a.","ttl":60,"type":"A","value":"192.0.2.1"}"#,
        r#"{"name":"b.","ttl":1,"type":"A","value":"192.0.2.1"}"#,
    ];
    assert_eq!(docs(&bulk), want);

    let text = r#"{"name":"a"}{"name":"b","action":"null"}{"name":"c","action":"redirect","target":"Z."}"#;
    let mut bulk = fed("block", "json", r#"{"action":"redirect","target":"192.0.2.1"}"#, text.as_bytes(), 9);
    assert_eq!(bulk.finish().unwrap(), []);
    let want = [
        r#"{"action":"redirect","name":"a.","target":"192.0.2.1"}"#,
        r#"{"action":"null","name":"b."}"#,
        r#"{"action":"redirect","name":"c.","target":"z."}"#,
    ];
    assert_eq!(docs(&bulk), want);
}

#[test]
fn what_is_no_bulk_is_refused() {
    for (kind, form, defaults, what) in [
        ("user", "json", "{}", "neither record nor block"),
        ("record", "names", "{}", "do not come in the form names"),
        ("block", "zone", "{}", "do not come in the form zone"),
        ("block", "xml", "{}", "do not come in the form xml"),
        ("record", "json", "[]", "not a JSON object"),
        ("record", "json", r#"{"action":"null"}"#, "no such member"),
        ("record", "json", r#"{"ttl":-1}"#, "not a TTL"),
        ("block", "names", r#"{"ttl":1}"#, "no such member"),
        ("block", "names", r#"{"action":"redirect"}"#, "needs a target"),
        ("block", "names", r#"{"action":"drop"}"#, "not an action"),
        ("block", "names", r#"{"name":"a"}"#, "no such member"),
    ] {
        let error = Bulk::new(kind, form, defaults.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(what), "{kind} {form} {defaults}: {error}");
    }
    let mut bulk = fed("record", "json", "{}", b"[]", 9);
    assert!(matches!(bulk.each(0, |_, _| {}), Err(BulkError::Turn(_))));
    bulk.finish().unwrap();
    assert!(matches!(bulk.finish(), Err(BulkError::Turn(_))));
    assert!(matches!(bulk.feed(b""), Err(BulkError::Turn(_))));
}

#[test]
fn complaints_name_the_object_and_the_member() {
    let array = |objects: &[&str]| format!("[{}]", objects.join(",\n"));
    let good = r#"{"name":"a","type":"A","value":"192.0.2.1"}"#;
    for (object, field, what) in [
        (r#"{"type":"A","value":"192.0.2.1"}"#, "name", "missing"),
        (r#"{"name":null,"type":"A","value":"192.0.2.1"}"#, "name", "missing"),
        (r#"{"name":"","type":"A","value":"192.0.2.1"}"#, "name", "empty"),
        (r#"{"name":"a..b","type":"A","value":"192.0.2.1"}"#, "name", "empty label"),
        (r#"{"name":"a b","type":"A","value":"192.0.2.1"}"#, "name", "blank"),
        (r#"{"name":"a\u0000","type":"A","value":"192.0.2.1"}"#, "name", "control"),
        (r#"{"name":"é","type":"A","value":"192.0.2.1"}"#, "name", "not a plain name"),
        (r#"{"name":"@","type":"A","value":"192.0.2.1"}"#, "name", "not a name here"),
        (r#"{"name":"https://a/","type":"A","value":"192.0.2.1"}"#, "name", "address of a page"),
        (r#"{"name":1,"type":"A","value":"192.0.2.1"}"#, "name", "is a string"),
        (r#"{"name":"a","value":"192.0.2.1"}"#, "type", "missing"),
        (r#"{"name":"a","type":"B","value":"192.0.2.1"}"#, "type", "not a record type"),
        (r#"{"name":"a","type":"ANY","value":"192.0.2.1"}"#, "type", "no record has it"),
        (r#"{"name":"a","type":"OPT","value":"\\# 0"}"#, "type", "no record has it"),
        (r#"{"name":"a","type":"A"}"#, "value", "missing"),
        (r#"{"name":"a","type":"A","value":""}"#, "value", "has no data"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1 192.0.2.2"}"#, "value", "behind the data"),
        (r#"{"name":"a","type":"CNAME","value":"é"}"#, "value", "not a plain name"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","ttl":2147483648}"#, "ttl", "0 to 2147483647"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","ttl":1.5}"#, "ttl", "whole number"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","ttl":"60"}"#, "ttl", "whole number"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","ttl":1e999}"#, "", "not a JSON object"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","comment":"a\nb"}"#, "comment", "one line"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","comment":[{"x":"}"}]}"#, "comment", "is a string"),
        (r#"{"name":"a","type":"A","value":"192.0.2.1","id":1}"#, "id", "no such member"),
        (r#"{"name":"a","name":"b","type":"A","value":"192.0.2.1"}"#, "name", "twice"),
        (r#"{"name":"a" "type":"A","value":"192.0.2.1"}"#, "", "not a JSON object"),
        (r#"{"name":"\ud800","type":"A","value":"192.0.2.1"}"#, "", "not a JSON object"),
    ] {
        let found = faults("record", "json", &array(&[good, object, good]));
        assert_eq!(found.len(), 1, "{object}: {found:?}");
        let (at, there, said) = &found[0];
        assert!((*at, there.as_str()) == (2, field) && said.contains(what), "{object}: {found:?}");
    }
    let found = faults("record", "json", &format!("{good}\n\n{{\"name\":\"a\"}}\n"));
    assert_eq!(found[0].0, 3, "a line where there is no array");
    for (object, field, what) in [
        (r#"{"name":"*.a"}"#, "name", "wildcard"),
        (r#"{"name":"."}"#, "name", "every name"),
        (r#"{"name":"a","action":"x"}"#, "action", "not an action"),
        (r#"{"name":"a","action":"null","target":"b"}"#, "target", "only redirect"),
        (r#"{"name":"a","action":"redirect"}"#, "target", "needs a target"),
        (r#"{"name":"a","ttl":1}"#, "ttl", "no such member"),
    ] {
        let found = faults("block", "json", object);
        assert!(found.len() == 1 && found[0].1 == field && found[0].2.contains(what), "{object}: {found:?}");
    }
}

#[test]
fn what_stands_between_objects_is_looked_at() {
    for (text, line, what) in [
        ("", 1, "nothing in it"),
        ("\n\n", 3, "nothing in it"),
        ("[", 1, "no end"),
        ("[{}", 1, "no end"),
        ("{\"name\"", 1, "no end"),
        ("1", 1, "an object is wanted"),
        ("[\n1]", 2, "an object is wanted"),
        ("[{}{}]", 1, "comma is missing"),
        ("[{},]", 1, "an object is wanted"),
        ("{},{}", 1, "stand in an array"),
        ("[{}]]", 1, "more after the array"),
        ("[{}]\n{}", 2, "more after the array"),
    ] {
        let found = faults("record", "json", text);
        let (at, _, said) = found.last().unwrap();
        assert!(*at == line && said.contains(what), "{text}: {found:?}");
    }
}

#[test]
fn complaints_are_counted_and_the_first_are_kept() {
    let mut bulk = fed("block", "names", "{}", "a b\n".repeat(150).as_bytes(), 1000);
    assert_eq!(bulk.finish().unwrap().len(), 100);
    assert_eq!((bulk.fault_count(), bulk.count()), (150, 0));
    let mut long = Bulk::new("block", "names", b"{}").unwrap();
    for _ in 0..100 {
        long.feed(&[b'a'; 10_000]).unwrap();
    }
    long.feed(b"\nb\n").unwrap();
    assert!(long.finish().unwrap()[0].complaint.what.contains("octets"));
    assert_eq!((long.fault_count(), long.count()), (1, 0));
}

#[test]
fn zone_lines() {
    let text = "; a comment\n\
        $ORIGIN example.\n\
        $TTL 5m\n\
        @ IN SOA ns mail ( 1 ; serial\n  2h 3m\n 4w 5 )\n\
        www A 192.0.2.1\n\
        \t AAAA 2001:db8::1\n\
        \n\
        ftp.test. 60 CNAME www\n\
        $ORIGIN sub\n\
        a\\.b MX 10 @ ; end\r\n\
        t TXT \"(\" \";\"";
    let want = [
        r#"{"name":"example.","ttl":300,"type":"SOA","value":"ns.example. mail.example. 1 7200 180 2419200 5"}"#,
        r#"{"name":"a\\.b.sub.example.","ttl":300,"type":"MX","value":"10 sub.example."}"#,
        r#"{"name":"t.sub.example.","ttl":300,"type":"TXT","value":"\"(\" \";\""}"#,
        r#"{"name":"www.example.","ttl":300,"type":"A","value":"192.0.2.1"}"#,
        r#"{"name":"www.example.","ttl":300,"type":"AAAA","value":"2001:db8::1"}"#,
        r#"{"name":"ftp.test.","ttl":60,"type":"CNAME","value":"www.example."}"#,
    ];
    for size in [1, 2, 5, 1000] {
        let mut bulk = fed("record", "zone", "{}", text.as_bytes(), size);
        assert_eq!(bulk.finish().unwrap(), []);
        assert_eq!(docs(&bulk), want);
    }
    for (line, field, what) in [
        ("www A", "record", "has no data"),
        (" A 192.0.2.1", "name", "owner of the line before"),
        ("a CH TXT x", "class", "IN"),
        ("a ANY", "record", "before its type"),
        ("a 3000000000 A 192.0.2.1", "ttl", "2147483647"),
        ("$INCLUDE x", "record", "$INCLUDE"),
        ("$TTL x", "$TTL", "not a time"),
        ("$TTL 3000000000", "ttl", "2147483647"),
        ("$ORIGIN é.", "$ORIGIN", "plain"),
        ("a TXT ( x\n\n", "record", "never closed"),
    ] {
        let found = faults("record", "zone", line);
        assert!(found.len() == 1 && found[0].1 == field && found[0].2.contains(what), "{line}: {found:?}");
    }
}

#[test]
fn names_of_lists() {
    let text = "# list\nads.Example # inline\n\n*.track.test\r\n0.0.0.0 a.test b.test\n127.0.0.1 localhost\n::1 ip6-localhost c.test\n0.0.0.0 0.0.0.0\nads.example.";
    let mut bulk = fed("block", "names", r#"{"action":"null","comment":"list"}"#, text.as_bytes(), 3);
    assert_eq!(bulk.finish().unwrap(), []);
    let want = ["ads.example.", "a.test.", "b.test.", "c.test.", "track.test."]
        .map(|name| format!(r#"{{"action":"null","comment":"list","name":"{name}"}}"#));
    assert_eq!(docs(&bulk), want);
    assert_eq!((bulk.count(), bulk.merged()), (5, 1));
    for (line, what) in [
        ("192.168.1.5 nas", "somebody's address"),
        ("0.0.0.0", "not a name"),
        ("a b", "behind the name"),
        ("||ads.example^ x", "behind the name"),
        ("a..b", "empty label"),
        ("é", "plain name"),
        (".", "every name"),
        ("*", "wildcard"),
        ("*.*.a", "wildcard"),
        ("*.", "empty"),
    ] {
        let found = faults("block", "names", line);
        assert!(found.len() == 1 && found[0].2.contains(what), "{line}: {found:?}");
    }
}

#[test]
fn the_last_of_one_key_wins_and_rows_keep_their_numbers() {
    let text = "a.test\nb.test\nA.TEST\nc.test\n";
    let mut first = fed("block", "names", "{}", text.as_bytes(), 9);
    first.finish().unwrap();
    let rows = first.rows(0, 10, 3, &key(), b"[]").unwrap().unwrap();
    let checked = check(&key(), "block", &rows).unwrap();
    assert_eq!((checked.count, checked.wrong), (3, vec![]));
    assert_eq!(first.rows(1, 10, 3, &key(), b"[]").unwrap(), None);
    assert_eq!(first.keys(0).unwrap().unwrap(), br#"["7465737400610000","7465737400620000","7465737400630000"]"#);
    assert_eq!(first.keys(1).unwrap(), None);

    let text =
        r#"{"name":"a.test","action":"null"}{"name":"b.test","action":"null"}{"name":"b.test"}{"name":"d.test"}"#;
    let mut second = fed("block", "json", "{}", text.as_bytes(), 9);
    second.finish().unwrap();
    let changed = second.rows(0, 20, 4, &key(), &rows).unwrap().unwrap();
    let mut got = Vec::new();
    rows::codec::read(&changed, |row| {
        got.push((row.id, row.doc.into_owned(), row.revision));
        Ok(())
    })
    .unwrap();
    let want = [(10, r#"{"action":"null","name":"a.test."}"#), (20, r#"{"action":"nxdomain","name":"d.test."}"#)];
    assert_eq!(got, want.map(|(id, doc)| (id, doc.to_owned(), 4)));
}

const WORDS: &[&[u8]] = &[
    b"\n",
    b"a.test",
    b" ",
    b"0.0.0.0 ",
    b"[",
    b",",
    b"]",
    b"(",
    b")",
    b"\"",
    b"\\",
    b";",
    b"#",
    b"\xff",
    b"\0",
    b"A 192.0.2.1",
    b"$ORIGIN b",
    b"{\"name\":\"y\"}",
    b"{\"name\":\"x\",\"type\":\"A\",\"value\":\"192.0.2.1\"}",
];

proptest! {
    /// How the octets are cut changes nothing, and nothing panics.
    #[test]
    fn any_cut_any_octets(
        text in proptest::collection::vec(proptest::sample::select(WORDS), 0..30),
        size in 1usize..9,
        form in prop_oneof![Just(("record", "json")), Just(("record", "zone")), Just(("block", "json")), Just(("block", "names"))],
    ) {
        let text = text.concat();
        let (mut whole, mut cut) = (fed(form.0, form.1, "{}", &text, 1 << 20), fed(form.0, form.1, "{}", &text, size));
        prop_assert_eq!(whole.finish().unwrap(), cut.finish().unwrap());
        prop_assert_eq!(docs(&whole), docs(&cut));
    }

    /// Keys come out sorted, each once, and rows check.
    #[test]
    fn sorted_and_each_once(names in proptest::collection::vec("[a-c]{1,2}(\\.[a-c]){0,3}", 0..40)) {
        let mut bulk = fed("block", "names", "{}", names.join("\n").as_bytes(), 5);
        bulk.finish().unwrap();
        let mut keys = Vec::new();
        bulk.each(0, |key, _| keys.push(key.to_vec())).unwrap();
        prop_assert!(keys.is_sorted_by(|a, b| a < b));
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        prop_assert_eq!((keys.len(), bulk.merged() as usize), (distinct.len(), names.len() - distinct.len()));
        if let Some(rows) = bulk.rows(0, 1, 1, &key(), b"[]").unwrap() {
            prop_assert_eq!(check(&key(), "block", &rows).unwrap().wrong, Vec::<i64>::new());
        }
    }
}
