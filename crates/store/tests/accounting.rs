//! The store's count of octets against the allocator's own: within one part in twenty, whatever is remembered.
//!
//! One test, for the allocator counts the whole process. `cargo test --test accounting -- --nocapture` prints the figures.

mod common;

use common::{Fill, name, sets};
use store::{Sizes, Store};
use tikv_jemalloc_ctl::{epoch, stats};
use tikv_jemallocator::Jemalloc;
use wire::{Answer, Rcode, RdataSet, Rtype};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The first moment of the made-up clock.
const NOW: u64 = 1_000_000_000;
/// What the cache may hold: more than any case below fills, but for the last.
const ROOM: usize = 128 << 20;
/// Octets of heap that a name with one address may take, all in.
const MOST_PER_NAME: usize = 160;

/// Octets that are allocated, by the allocator's own statistics.
fn allocated() -> usize {
    epoch::advance().expect("statistics");
    stats::allocated::read().expect("statistics")
}

/// Fills a store and gives the octets it counts and those that the allocator says are more than before. All is done in
/// threads that have ended when the allocator is asked: each hands back what it had set aside for itself.
fn filled(sizes: Sizes, fill: impl Fn(&Fill<'_>) + Send) -> (usize, usize) {
    let before = allocated();
    let store = std::thread::scope(|scope| {
        let filling = scope.spawn(move || {
            let store = Store::new(sizes);
            fill(&Fill::new(&store, NOW));
            store
        });
        filling.join().expect("no panic")
    });
    let held = allocated() - before;
    let usage = store.usage();
    std::thread::spawn(move || drop(store)).join().expect("no panic");
    (usage.messages.bytes + usage.rrsets.bytes, held)
}

fn small(fill: &Fill<'_>, n: usize) {
    let name = format!("n{n}.example.");
    fill.put(&name, Rtype::A, &format!("{name} 3600 A 192.0.2.1"), 3600);
}

fn large(fill: &Fill<'_>, n: usize) {
    let name = format!("t{n}.example.");
    let mut set = sets(&format!("{name} 3600 TXT x")).remove(0);
    let data: Vec<Vec<u8>> = (0..1 + n % 7).map(|nth| vec![nth as u8; 60 + (n * 97) % 900]).collect();
    set.make_mut().rdata = data.iter().map(Vec::as_slice).collect();
    let sigs = RdataSet::one(&[7; 110]);
    fill.answer(&name, Rtype::TXT, &Answer { answer: vec![set.with_sigs(sigs)], ..Answer::default() }, 3600);
}

fn denied(fill: &Fill<'_>, n: usize) {
    let (below, above) = (format!("a{n}.example."), format!("b{n}.example."));
    let lines = format!(
        "example. 900 SOA ns.example. host.example. 1 2 3 4 900 | {below} 900 NSEC {above} A RRSIG NSEC | \
         *.{below} 900 NSEC {above} A RRSIG NSEC"
    );
    let mut authority = sets(&lines);
    authority.iter_mut().for_each(|set| set.make_mut().sigs = RdataSet::one(&[9; 96]));
    fill.answer(&format!("ab{n}.example."), Rtype::A, &Answer { authority, ..Answer::new(Rcode::NXDOMAIN) }, 900);
}

fn chained(fill: &Fill<'_>, n: usize) {
    let (name, to) = (format!("www.c{n}.example."), format!("c{n}.cdn.example."));
    let answer = Answer {
        answer: sets(&format!("{name} 300 CNAME {to} | {to} 300 A 192.0.2.1 | {to} 300 A 192.0.2.2")),
        authority: sets("cdn.example. 3600 NS ns1.cdn.example. | cdn.example. 3600 NS ns2.cdn.example."),
        additional: sets("ns1.cdn.example. 3600 A 192.0.2.53 | ns2.cdn.example. 3600 AAAA 2001:db8::53"),
        ..Answer::default()
    };
    fill.answer(&name, Rtype::A, &answer, 300);
}

/// All kinds in turn.
fn mixed(fill: &Fill<'_>, n: usize) {
    [small, large, denied, chained][n % 4](fill, n);
}

#[test]
fn octets_counted_are_octets_held() {
    const ENTRIES: usize = 20_000;
    let room = Sizes { messages: ROOM, rrsets: ROOM };
    // Less than the mixed ones need: for ever evicting.
    let tight = Sizes { messages: 1 << 20, rrsets: 3 << 20 };
    // The first thread and the first use of the statistics leave things behind that are nobody's.
    filled(room, |_| {});
    let cases = [
        ("small A answers", filled(room, |fill| (0..ENTRIES).for_each(|n| small(fill, n)))),
        ("signed TXT sets of up to 7 KiB", filled(room, |fill| (0..ENTRIES).for_each(|n| large(fill, n)))),
        ("NXDOMAIN with NSEC sets", filled(room, |fill| (0..ENTRIES).for_each(|n| denied(fill, n)))),
        ("links with delegations", filled(room, |fill| (0..ENTRIES).for_each(|n| chained(fill, n)))),
        ("all of them", filled(room, |fill| (0..ENTRIES).for_each(|n| mixed(fill, n)))),
        ("all of them in too little room", filled(tight, |fill| (0..2 * ENTRIES).for_each(|n| mixed(fill, n)))),
        (
            "what flushes left of them",
            filled(room, |fill| {
                (0..ENTRIES).for_each(|n| mixed(fill, n));
                assert!(fill.store.flush_zone(name("cdn.example.").as_ref()) > ENTRIES / 4);
                assert!(fill.store.flush_negative() > ENTRIES / 5);
            }),
        ),
    ];
    for (what, (counted, held)) in cases {
        println!("{what}: {counted} octets counted, {held} held");
        assert!(counted > 2 << 20 && counted.abs_diff(held) * 20 <= held, "{what}: {counted} counted, {held} held");
    }
    const NAMES: usize = 100_000;
    let (counted, held) = filled(room, |fill| (0..NAMES).for_each(|n| small(fill, n)));
    println!("a cached name with one address: {} octets counted, {} held", counted / NAMES, held / NAMES);
    assert!(held / NAMES <= MOST_PER_NAME, "{}", held / NAMES);
}
