//! The log of an engine that answers real packets.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Instant;

use net::listen::{self, ListenSpec, SocketOptions};
use serde::Serialize;

use super::*;
use crate::Engine;
use crate::document::Document;
use crate::document::tests::document;
use crate::engine::tests::started;

#[derive(Default, Serialize)]
struct Ask<'a> {
    actions: Vec<&'a str>,
    client: Option<&'a str>,
    name: Option<&'a str>,
    rtype: Option<&'a str>,
    rcode: Option<&'a str>,
    before: Option<u64>,
    after: u64,
}

impl Ask<'_> {
    fn packed(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("it can be packed")
    }
}

fn logging(clients: &str, file: &str) -> Document {
    let querylog = Options { retention: 100, clients: clients.to_owned(), file: file.to_owned() };
    Document { querylog, ..document() }
}

/// Asks, and waits for the answers.
fn ask(engine: &Engine, names: &[&str]) {
    let (pool, _) = engine.plane().expect("it runs");
    let spec = ListenSpec { addr: "127.0.0.1:0".parse().expect("an address"), options: SocketOptions::default() };
    let sets = listen::open(&spec, 1).expect("a socket");
    let addr = sets[0].addr;
    pool.add_listeners(vec![sets]).expect("a worker");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    for name in names {
        let mut packet = [0; 512];
        let name = Name::from_text(name).expect("a name");
        let len = wire::question(&mut packet, 7, 0x100, name.as_ref(), wire::Rtype::A, wire::Class::IN, None);
        client.send_to(&packet[..len], addr).expect("sent");
        client.recv(&mut packet).expect("an answer");
    }
}

fn list(engine: &Engine, ask: &Ask<'_>, limit: usize) -> String {
    engine.query_log(&ask.packed(), limit).expect("a filter")
}

fn total(engine: &Engine, ask: &Ask<'_>) -> usize {
    let text = list(engine, ask, 1_000);
    let (_, total) = text.rsplit_once("\"total\":").expect("a total");
    let total = total.trim_end_matches('}').parse().expect("a number");
    assert_eq!(text.matches("\"seq\":").count(), total);
    total
}

/// Waits until the file has so many lines.
fn lines(path: &Path, count: usize) -> String {
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{count} lines are not there: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_answered_is_listed_at_once_and_filtered() {
    let engine = started(&logging("yes", ""));
    ask(&engine, &["localhost.", "a\\\"b\\000.example.", "www.example.", "localhost."]);
    let all = list(&engine, &Ask::default(), 10);
    assert!(all.starts_with("{\"items\":[{\"seq\":4,\"time\":\"20"), "{all}");
    assert!(all.ends_with("\"next\":null,\"total\":4}"), "{all}");
    assert!(all.contains("\"client\":\"127.0.0.1\",\"name\":\"a\\\\\\\"b\\\\000.example.\",\"type\":\"A\""), "{all}");
    assert!(all.contains("\"action\":\"local\",\"rcode\":\"NOERROR\""), "{all}");
    assert!(all.contains("\"action\":\"resolved\",\"rcode\":\"SERVFAIL\""), "{all}");
    assert!(all.contains("\"transport\":\"udp\",\"origin\":\"policy\",\"security\":null"), "{all}");
    let count = |ask: Ask<'_>| total(&engine, &ask);
    assert_eq!(count(Ask { name: Some("EXAMPLE"), ..Ask::default() }), 2);
    assert_eq!(count(Ask { actions: vec!["local"], ..Ask::default() }), 2);
    assert_eq!(count(Ask { actions: vec!["local", "resolved"], ..Ask::default() }), 4);
    assert_eq!(count(Ask { rcode: Some("servfail"), ..Ask::default() }), 2);
    assert_eq!(count(Ask { rtype: Some("AAAA"), ..Ask::default() }), 0);
    assert_eq!(count(Ask { client: Some("127.0.0.0/8"), ..Ask::default() }), 4);
    assert_eq!(count(Ask { client: Some("::1"), ..Ask::default() }), 0);
    assert_eq!(count(Ask { after: 3, ..Ask::default() }), 1);
    let page = list(&engine, &Ask::default(), 3);
    assert!(page.contains("\"next\":\"2\",\"total\":4"), "{page}");
    let rest = list(&engine, &Ask { before: Some(2), ..Ask::default() }, 3);
    assert!(rest.contains("\"seq\":1,") && rest.contains("\"next\":null"), "{rest}");
    for wrong in [
        Ask { actions: vec!["eaten"], ..Ask::default() },
        Ask { client: Some("nobody"), ..Ask::default() },
        Ask { name: Some("a..b"), ..Ask::default() },
        Ask { rtype: Some("WRONG"), ..Ask::default() },
    ] {
        assert!(engine.query_log(&wrong.packed(), 1).is_err());
    }
    let (last, skipped, text) =
        engine.query_log_tail(&Ask { after: 1, ..Ask::default() }.packed(), 2).expect("a filter");
    assert_eq!((last, skipped), (4, 1));
    assert!(text.starts_with("[{\"seq\":3,") && text.contains(",{\"seq\":4,"), "{text}");
    let packed = Ask { after: 1, before: Some(4), ..Ask::default() }.packed();
    let (last, skipped, text) = engine.query_log_tail(&packed, 1).expect("a filter");
    assert_eq!((last, skipped, text.starts_with("[{\"seq\":3,"), text.matches("seq").count()), (3, 1, true, 1));
    let names = engine.top_names("all", 1).expect("a list");
    assert!(names.starts_with("[{\"name\":\"localhost.\",\"queries\":2.0,\"error\":0.0,"), "{names}");
    assert!(engine.top_names("failed", 9).expect("a list").contains("www.example."));
    assert_eq!(engine.top_names("blocked", 9).expect("a list"), "[]");
    let clients = engine.top_clients(None, 9).expect("a list");
    assert!(clients.starts_with("[{\"client\":\"127.0.0.1\",\"queries\":4.0,"), "{clients}");
    assert_eq!(engine.top_clients(Some("127.0.0.2"), 9).expect("a list"), "[]");
    engine.stop();
}

#[test]
fn an_address_that_is_not_to_be_kept_is_nowhere() {
    let folder = std::env::temp_dir().join(format!("runbound-querylog-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("queries.jsonl");
    let file = path.to_str().expect("text");
    let engine = started(&logging("no", file));
    ask(&engine, &["localhost."]);
    let text = list(&engine, &Ask::default(), 9);
    assert!(text.contains("\"client\":null") && !text.contains("127.0.0.1"), "{text}");
    assert_eq!(engine.top_clients(None, 9).expect("a list"), "[]");
    assert_eq!(engine.top_clients(Some("127.0.0.1"), 9).expect("a list"), "[]");
    assert_eq!(total(&engine, &Ask { client: Some("127.0.0.1"), ..Ask::default() }), 0);
    assert!(!lines(&path, 1).contains("127.0.0.1"));

    engine.change(logging("pseudonym", file), None, None).expect("no mistakes");
    assert_eq!(total(&engine, &Ask::default()), 0, "what was written under another rule is forgotten");
    ask(&engine, &["localhost.", "localhost."]);
    let text = list(&engine, &Ask::default(), 9);
    assert!(text.contains("\"client\":\"p-") && !text.contains("127.0.0.1"), "{text}");
    let (_, pseudonym) = text.split_once("\"client\":\"").expect("a client");
    let (pseudonym, _) = pseudonym.split_once('"').expect("its end");
    assert_eq!(total(&engine, &Ask { client: Some(pseudonym), ..Ask::default() }), 2);
    assert_eq!(total(&engine, &Ask { client: Some("127.0.0.1"), ..Ask::default() }), 2, "whoever knows the address");
    assert!(engine.top_clients(Some(pseudonym), 9).expect("a list").contains("\"queries\":2.0"));
    assert!(!lines(&path, 3).contains("127.0.0.1"));

    engine.change(logging("yes", file), None, None).expect("no mistakes");
    ask(&engine, &["localhost."]);
    assert_eq!(total(&engine, &Ask { client: Some("127.0.0.1"), ..Ask::default() }), 1);
    lines(&path, 4);

    // An address erases its pseudonym of today too; other lines stay as they are.
    let erased = engine.query_log_erase(Some("127.0.0.1")).expect("the file can be rewritten");
    assert_eq!(erased, Erased { ring: 1, lists: 1, file: 3 });
    let text = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("\"client\":null"));
    assert!(!folder.join("queries.jsonl.erasing").exists());
    ask(&engine, &["localhost."]);
    assert_eq!(lines(&path, 2).lines().count(), 2, "the new file is written to");

    std::fs::rename(&path, folder.join("queries.1")).expect("moved");
    let error = engine.query_log_erase(Some("127.0.0.1")).expect_err("it was moved away");
    assert!(error.to_string().contains("gone from memory, but not from the file"), "{error}");
    engine.reopen_log().expect("the log of lines is standard error");
    ask(&engine, &["localhost."]);
    lines(&path, 1);
    assert_eq!(engine.query_log_erase(None).expect("it can be emptied").file, 1);
    assert_eq!((std::fs::read_to_string(&path).expect("a file").as_str(), total(&engine, &Ask::default())), ("", 0));
    assert!(engine.query_log_erase(Some("who")).is_err());

    let missing = folder.join("no/such/folder");
    let refused =
        engine.change(logging("no", missing.to_str().expect("text")), None, None).expect_err("it cannot be opened");
    assert!(refused.to_string().contains("query-log-file"), "{refused}");
    ask(&engine, &["localhost."]);
    assert_eq!(total(&engine, &Ask { client: Some("127.0.0.1"), ..Ask::default() }), 1, "nothing has changed");
    engine.stop();
    assert_eq!(std::fs::read_to_string(&path).expect("a file").lines().count(), 1, "the end writes what waits");
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn without_ring_and_file_nothing_is_written_down() {
    let engine = started(&Document { querylog: Options::default(), ..document() });
    ask(&engine, &["localhost."]);
    assert_eq!(total(&engine, &Ask::default()), 0);
    assert_eq!(engine.top_names("all", 9).expect("a list"), "[]");
    engine.change(logging("no", ""), None, None).expect("no mistakes");
    ask(&engine, &["localhost."]);
    assert_eq!(total(&engine, &Ask::default()), 1);
    engine.change(document(), None, None).expect("no mistakes");
    assert_eq!((total(&engine, &Ask::default()), engine.top_names("all", 9).expect("a list").as_str()), (0, "[]"));
    engine.stop();
}

/// A tape as workers write it, by hand: so many entries from a time on.
fn tape(from_us: u64, count: u64, step_us: u64) -> Vec<u8> {
    let entry = |number: u64| {
        let mut octets = vec![0; 40];
        octets[..8].copy_from_slice(&(from_us + number * step_us).to_le_bytes());
        octets
    };
    (0..count).flat_map(entry).collect()
}

#[test]
fn the_ring_has_the_newest_of_all_workers_in_the_order_of_their_time() {
    for whole in [true, false] {
        let mut ring = Ring::new();
        ring.keep(100);
        for round in 0..10_u64 {
            let base = round * 1_000_000;
            let tapes = |offset| [tape(base + offset, 90, 10), tape(base + offset + 900, 30, 10)].into();
            let new = ring.take(vec![tapes(0), tapes(5), Default::default()], whole);
            assert!(new.iter().map(|chunk| chunk.count).sum::<u64>() >= 100);
            assert_eq!(ring.next(), (round + 1) * 240 + 1, "each has a number, also those that are passed over");
            let chunks = ring.chunks();
            let entries: Vec<(u64, u64)> = chunks
                .iter()
                .flat_map(|chunk| chunk.entries().map(|(number, entry)| (number, entry.unix_us)))
                .collect();
            assert!(entries.is_sorted());
            let shown: Vec<_> = entries.iter().filter(|(number, _)| *number >= ring.oldest()).collect();
            assert_eq!((shown.len(), shown[99].0), (100, ring.next() - 1));
            assert!(shown.windows(2).all(|two| two[1].0 == two[0].0 + 1));
        }
        assert!(ring.octets() <= 340 * 40, "what is over goes");
        let gone = ring.retain(|entry| entry.unix_us % 20 != 0);
        assert!(gone > 20 && gone < 100, "{gone}");
        let chunks = ring.chunks();
        let last = chunks.last().expect("some are left");
        assert_eq!(last.first + last.count, ring.next());
        ring.keep(0);
        assert!(ring.chunks().is_empty());
    }
}

#[test]
fn times_are_those_of_the_calendar() {
    for (unix_us, text) in [
        (0, "\"1970-01-01T00:00:00.000000Z\""),
        (951_782_400_000_001, "\"2000-02-29T00:00:00.000001Z\""),
        (1_709_251_199_999_999, "\"2024-02-29T23:59:59.999999Z\""),
        (1_709_251_200_000_000, "\"2024-03-01T00:00:00.000000Z\""),
        (4_102_444_800_000_000, "\"2100-01-01T00:00:00.000000Z\""),
    ] {
        let mut out = String::new();
        show::time(&mut out, unix_us);
        assert_eq!(out, text);
    }
}
