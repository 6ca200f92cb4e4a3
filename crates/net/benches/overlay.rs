//! What records and blocks by the million cost: to put in at once, one more, to ask, and in octets.
//!
//! `cargo bench -p runbound-net --bench overlay -- [HOW MANY]`, a million if it is not said.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use policy::{Block, Defaults, Item, LocalZones, LocalZonesBuilder, Origin, Overlay, Policy};
use wire::{Class, Name, NameBuf, Query, Rtype, parse_record};

fn block(i: usize) -> Item {
    let name = Name::from_text(&format!("host{i}.site{}.example.", i % 50_000)).expect("a name");
    Item::Block { name, action: Block::Nxdomain }
}

fn record(i: usize) -> Item {
    let text = format!("host{i}.net{}.example. 300 A 10.{}.{}.{}", i % 50_000, i >> 16 & 255, i >> 8 & 255, i & 255);
    Item::Record(parse_record(&text, 300).expect("a record"))
}

fn took(what: &str, act: impl FnOnce()) {
    let begin = Instant::now();
    act();
    println!("{what:<60} {:>12.3} ms", begin.elapsed().as_secs_f64() * 1e3);
}

/// The median of many.
fn each(what: &str, mut act: impl FnMut(usize)) {
    const TIMES: usize = 501;
    let mut all: Vec<Duration> = (0..TIMES)
        .map(|i| {
            let begin = Instant::now();
            act(i);
            begin.elapsed()
        })
        .collect();
    all.sort_unstable();
    let at = |place: usize| all[place].as_secs_f64() * 1e6;
    println!("{what:<60} {:>12.1} us (p99 {:.1})", at(TIMES / 2), at(TIMES * 99 / 100));
}

fn main() {
    let many = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    let mut file = LocalZonesBuilder::new();
    file.zone("static.example", "static", Origin::default()).expect("a zone");
    let zones = file.build(Defaults::default()).0;
    let empty = Overlay::default();

    let blocks: Vec<Item> = (0..many).map(block).collect();
    let records: Vec<Item> = (0..many).map(record).collect();
    let names: usize =
        blocks.iter().map(|item| if let Item::Block { name, .. } = item { name.as_ref().len() } else { 0 }).sum();
    let mut full = Overlay::default();
    took("blocks at once", || full = empty.amended(blocks, []));
    let octets = full.bytes() - empty.bytes();
    println!(
        "{:<60} {:>12.1} octets, {:.1} beside its name",
        "a block",
        octets as f64 / many as f64,
        (octets - names) as f64 / many as f64
    );
    took("records at once, after them", || full = full.amended(records, []));
    println!("{:<60} {:>12.1} octets", "a record", (full.bytes() - empty.bytes() - octets) as f64 / many as f64);
    let mut joined = LocalZones::default();
    took("laid over the zones of the file", || joined = zones.laid_over(full.clone()));

    let mut now = joined.clone();
    each("one block more", |i| now = now.amended([block(many + i)], []));
    each("one record more", |i| now = now.amended([record(many + i)], []));
    each("one record less", |i| now = now.amended([], [record(many + i)]));
    took("a tenth more of each", || {
        now = now.amended((2 * many..2 * many + many / 10).flat_map(|i| [block(i), record(i)]), [])
    });

    let (bare, full) = (Policy { local: zones, ..Policy::default() }, Policy { local: joined, ..Policy::default() });
    let queries: Vec<Query> = (0..100_000)
        .map(|i| {
            let kind = i % 3;
            let i = i * 7919 % many;
            let text = match kind {
                0 => format!("www.host{i}.site{}.example.", i % 50_000),
                1 => format!("host{i}.net{}.example.", i % 50_000),
                _ => format!("www{i}.elsewhere.org."),
            };
            let qname = NameBuf::from_text(&text).expect("a name");
            Query { id: 0, flags: 0x0100, qname, qtype: Rtype::A, qclass: Class::IN, edns: None }
        })
        .collect();
    for (what, kind) in [("a blocked name", 0), ("a name with a record", 1), ("a name with neither", 2)] {
        for (over, policy) in [("nothing", &bare), ("all", &full)] {
            let asked: Vec<&Query> = queries.iter().skip(kind).step_by(3).collect();
            let begin = Instant::now();
            for q in &asked {
                std::hint::black_box(policy.decide(q, IpAddr::V4(Ipv4Addr::LOCALHOST)));
            }
            let ns = begin.elapsed().as_nanos() as f64 / asked.len() as f64;
            println!("{:<60} {ns:>12.1} ns", format!("{what}, with {over} over the file"));
        }
    }
}
