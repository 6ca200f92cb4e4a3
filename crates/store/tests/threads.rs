//! Several threads at once: nothing panics, no limit is passed, and nobody reads half of one answer and half of another.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{Fill, get, key, name, sets};
use proptest::prelude::*;
use store::{Sizes, Store};
use wire::{Answer, Rcode, Rtype};

const NOW: u64 = 1_000_000_000;
/// The names an answer may lead to.
const TARGETS: usize = 4;

/// An answer whose parts say which one it is: a link to `t<n>.`, an address that ends in `n`, and a mail server beside.
fn generation(n: usize) -> Answer {
    Answer {
        answer: sets(&format!("w.example. 300 CNAME t{n}.example. | t{n}.example. 300 A 192.0.2.{n}")),
        additional: sets(&format!("mail.example. 300 A 192.0.2.{n}")),
        ..Answer::default()
    }
}

#[test]
fn a_link_and_what_it_leads_to_are_of_one_answer() {
    let store = Store::new(Sizes { messages: 1 << 20, rrsets: 1 << 20 });
    let done = AtomicBool::new(false);
    let (mut seen, mut torn) = ([0; TARGETS], 0);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for round in 0..4_000 {
                    let fill = Fill::new(store, NOW);
                    match round % 100 {
                        99 => drop(store.flush_name(name("w.example.").as_ref())),
                        // NXDOMAIN between answers: its code must never stand with records.
                        50 => fill.negative(
                            "w.example.",
                            Rtype::A,
                            Rcode::NXDOMAIN,
                            "example. 60 SOA a. b. 1 2 3 4 60",
                            60,
                        ),
                        _ => fill.answer("w.example.", Rtype::A, &generation((round + writer) % TARGETS), 300),
                    }
                }
                done.store(true, Ordering::Release);
            });
        }
        while !done.load(Ordering::Acquire) {
            let Some(found) = get(&store, "w.example.", Rtype::A, NOW) else { continue };
            let found = found.answer;
            if found.rcode == Rcode::NXDOMAIN {
                assert!(found.answer.is_empty() && found.authority.len() == 1);
                continue;
            }
            let which = (0..TARGETS).find(|n| found.answer == generation(*n).answer);
            let which = which.unwrap_or_else(|| panic!("parts of two answers: {found:?}"));
            seen[which] += 1;
            torn += usize::from(found.additional != generation(which).additional);
        }
    });
    println!("answers seen: {seen:?}, of them with a newer or older set beside them: {torn}");
}

/// What one thread does.
#[derive(Clone, Debug)]
enum Op {
    Put { n: usize, size: usize, ttl: u32 },
    Get { n: usize },
    Flush { what: usize, n: usize },
    Dump,
    Resize { octets: usize },
    Pause { n: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..60usize, 0..9000usize, 1..9u32).prop_map(|(n, size, ttl)| Op::Put { n, size, ttl }),
        10 => (0..60usize).prop_map(|n| Op::Get { n }),
        1 => (0..6usize, 0..60usize).prop_map(|(what, n)| Op::Flush { what, n }),
        1 => Just(Op::Dump),
        1 => (1_000..400_000usize).prop_map(|octets| Op::Resize { octets }),
        1 => (0..60usize).prop_map(|n| Op::Pause { n }),
    ]
}

fn play(store: &Store, ops: &[Op], now: u64) {
    for op in ops {
        match op {
            Op::Put { n, size, ttl } => {
                let lines = format!(
                    "n{n}.example. {ttl} CNAME m{n}.example. | m{n}.example. {ttl} TXT {}",
                    "x".repeat(size % 250)
                );
                let mut answer = Answer { answer: sets(&lines), ..Answer::default() };
                (0..size / 250).for_each(|_| {
                    answer.answer[1].make_mut().rdata.push(&[7; 250]);
                });
                answer.authority = sets(&format!("example. {ttl} NS ns{}.example.", size % 3));
                Fill::new(store, now).answer(&format!("n{n}.example."), Rtype::TXT, &answer, *ttl);
            }
            Op::Get { n } => {
                if let Some(found) = get(store, &format!("n{n}.example."), Rtype::TXT, now) {
                    assert_eq!((found.answer.answer.len(), found.answer.authority.len()), (2, 1));
                    assert_eq!(found.answer.answer[1].owner, name(&format!("m{n}.example.")));
                    // The clocks of the threads are up to three seconds apart.
                    assert!(found.left > 0 && found.left < 9 + 3);
                }
            }
            Op::Flush { what, n } => {
                let owner = name(&format!("n{n}.example."));
                match what {
                    0 => store.flush_all(),
                    1 => store.flush_name(owner.as_ref()),
                    2 => store.flush_type(owner.as_ref(), Rtype::CNAME),
                    3 => store.flush_zone(name("example.").as_ref()),
                    4 => store.flush_negative(),
                    _ => store.flush_bogus(),
                };
            }
            Op::Dump => {
                let mut out = String::new();
                (0..).take_while(|part| store.dump(*part, now, &mut out)).for_each(drop);
                store.load(&out, now);
            }
            Op::Resize { octets } => store.resize(Sizes { messages: *octets, rrsets: *octets }),
            Op::Pause { n } => store.pause(&key(&format!("n{n}.example."), Rtype::TXT), now, 5),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_breaks_when_all_happens_at_once(
        threads in prop::collection::vec(prop::collection::vec(op(), 1..120), 2..5),
        octets in 1_000..3_000_000usize,
    ) {
        let store = Store::new(Sizes { messages: octets, rrsets: octets });
        std::thread::scope(|scope| {
            for (nth, ops) in threads.iter().enumerate() {
                let store = &store;
                scope.spawn(move || (0..3).for_each(|round| play(store, ops, NOW + round * 1000 + nth as u64 * 100)));
            }
        });
        let usage = store.usage();
        prop_assert!(usage.messages.bytes <= usage.messages.limit, "{:?}", usage);
        prop_assert!(usage.rrsets.bytes <= usage.rrsets.limit, "{:?}", usage);
        store.flush_all();
        let usage = store.usage();
        prop_assert_eq!((usage.messages.bytes, usage.rrsets.bytes), (0, 0));
    }
}
