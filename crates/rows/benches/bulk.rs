//! What entries by the million cost on their way in and back: to read and sort, to write as rows, to check, to load.
//!
//! `cargo bench -p runbound-rows --bench bulk -- [HOW MANY]`, a million if it is not said.

use std::time::Instant;

use rows::{Bulk, Delta, Loading, check};
use vault::SecretKey;

/// Octets fed at once: what a server reads of a body.
const PIECE: usize = 64 << 10;

fn took<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let made = act();
    println!("{what:<60} {:>12.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    made
}

fn main() {
    let many: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    let key = SecretKey::new(vec![1; 32]).expect("a key");
    // A step that has no factor in common with the number, so that nothing comes in order.
    let scattered = move |i: usize| i * 7_919_111 % many;
    let name = |i: usize| format!("host{}.site{}.example", scattered(i), scattered(i) % 50_000);
    let address = |i: usize| format!("10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255);
    let names: String = (0..many).map(|i| name(i) + "\n").collect();
    let objects: String = (0..many)
        .map(|i| format!("{{\"name\":\"{}\",\"type\":\"A\",\"ttl\":300,\"value\":\"{}\"}}\n", name(i), address(i)))
        .collect();
    let lines: String = (0..many).map(|i| format!("{}. 300 IN A {}\n", name(i), address(i))).collect();
    for (kind, form, text) in [("block", "names", names), ("record", "zone", lines), ("record", "json", objects)] {
        println!("{many} of kind {kind} as {form}, {} MB", text.len() >> 20);
        let mut bulk = Bulk::new(kind, form, b"{}").expect("a bulk");
        took("  read", || text.as_bytes().chunks(PIECE).for_each(|piece| bulk.feed(piece).expect("room")));
        took("  sort", || assert_eq!(bulk.finish().expect("a first time"), []));
        assert_eq!(bulk.count(), many);
        let parts = many.div_ceil(rows::bulk::PART);
        let rows: Vec<Vec<u8>> = took("  write as rows with their codes", || {
            let part = |at| bulk.rows(at, 1, 1, &key, b"[]").expect("rows").expect("a part");
            (0..parts).map(part).collect()
        });
        let octets: usize = rows.iter().map(Vec::len).sum();
        println!("  {:<58} {:>12.1} octets", "a row", octets as f64 / many as f64);
        took("  check", || {
            rows.iter().for_each(|rows| assert!(check(&key, kind, rows).expect("rows").wrong.is_empty()))
        });
        let mut loading = Loading::default();
        took("  load", || {
            rows.iter().for_each(|rows| loading.load(kind, rows).expect("rows"));
            loading.overlay()
        });
        let mut delta = Delta::default();
        took("  put into a change", || delta.put(&bulk).expect("finished"));
        took("  put over nothing", || {
            let (put, remove) = delta.split();
            rows::Overlay::default().amended(put, remove)
        });
    }
}
