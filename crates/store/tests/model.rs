//! The store against a naive map, under random insertions, look-ups, flushes and time.
//!
//! Owns the promises the store makes to everyone: what it hands out is the last answer stored and not too old; what it
//! holds never exceeds its limit; it forgets only when it must.

use std::collections::HashMap;

use proptest::prelude::*;
use store::{Found, Key, Put, Security, Sizes, Store};
use wire::{Answer, Class, Name, Rcode, RdataSet, Rrset, Rtype};

/// One thing that happens to a cache.
#[derive(Clone, Debug)]
enum Op {
    Put { key: u16, ttl: u32, size: usize },
    Get { key: u16 },
    Wait { ms: u64 },
    Flush,
}

fn op(keys: u16, largest: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..keys, 0..40u32, 0..largest).prop_map(|(key, ttl, size)| Op::Put { key, ttl, size }),
        8 => (0..keys).prop_map(|key| Op::Get { key }),
        2 => (0..9_000u64).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Flush),
    ]
}

/// The names differ, and so does everything else a key has.
fn key(n: u16) -> Key {
    Key {
        name: Name::from_text(&format!("n{}.example.", n / 4)).expect("a name"),
        qtype: if n & 1 == 0 { Rtype::A } else { Rtype::AAAA },
        qclass: Class::IN,
        cd: n & 2 != 0,
    }
}

fn sized(octets: usize) -> Store {
    Store::new(Sizes { messages: octets, rrsets: octets })
}

/// Stores an answer that can be told from all others, of about `size` octets.
fn put(store: &Store, key: Key, serial: u32, size: usize, ttl: u32, now: u64) {
    let put = Put { now, ttl, authoritative: true, security: Security::Unchecked, epoch: store.epoch(), leeway_s: 0 };
    store.put(key.clone(), &message(&key, serial, size, ttl), put);
}

fn held(store: &Store) -> (usize, usize) {
    let usage = store.usage();
    assert!(usage.messages.bytes <= usage.messages.limit && usage.rrsets.bytes <= usage.rrsets.limit, "{usage:?}");
    (usage.messages.entries + usage.rrsets.entries, usage.messages.bytes + usage.rrsets.bytes)
}

fn get(store: &Store, key: &Key, now: u64) -> Option<Found> {
    store.get(key.name.as_ref(), key.qtype, key.qclass, key.cd, now, None)
}

fn message(key: &Key, serial: u32, size: usize, ttl: u32) -> Answer {
    let mut rdata = RdataSet::one(&serial.to_be_bytes());
    (0..size / 1000).for_each(|_| assert!(rdata.push(&[7; 1000])));
    let set = Rrset::new(key.name.clone(), key.qtype, Class::IN, ttl, rdata);
    Answer { answer: vec![set], ..Answer::new(Rcode::NOERROR) }
}

fn serial(found: &Found) -> Option<u32> {
    let first = found.answer.answer.first()?.rdata.first()?;
    Some(u32::from_be_bytes(first.try_into().ok()?))
}

/// Plays `ops` on a store of `limit` octets and on a map.
fn play(ops: &[Op], limit: usize, exact: bool) -> Result<(), TestCaseError> {
    let store = sized(limit);
    let mut model: HashMap<u16, (u32, u64, u32)> = HashMap::new();
    let mut now = 1_000_000;
    for (step, op) in (0u32..).zip(ops) {
        match op {
            Op::Put { key: n, ttl, size } => {
                put(&store, key(*n), step, *size, *ttl, now);
                model.insert(*n, (step, now, *ttl));
            }
            Op::Get { key: n } => {
                let key = key(*n);
                let got = get(&store, &key, now);
                let want = model.get(n).filter(|(_, at, ttl)| now / 1000 < at / 1000 + u64::from(*ttl));
                match (&got, want) {
                    (Some(got), Some((step, at, _))) => {
                        prop_assert_eq!(serial(got), Some(*step));
                        prop_assert_eq!(u64::from(got.left), at / 1000 + u64::from(got.ttl) - now / 1000);
                    }
                    (None, None) => {}
                    (None, Some(_)) => prop_assert!(!exact, "{n} was forgotten without need"),
                    (Some(_), None) => prop_assert!(false, "{n} was handed out too late"),
                }
            }
            Op::Wait { ms } => now += ms,
            Op::Flush => {
                store.flush_all();
                model.clear();
                prop_assert_eq!(held(&store), (0, 0));
            }
        }
        held(&store);
    }
    Ok(())
}

proptest! {
    #[test]
    fn with_room_enough_nothing_is_forgotten(ops in prop::collection::vec(op(200, 3_000), 1..400)) {
        play(&ops, 64 << 20, true)?;
    }

    #[test]
    fn the_limit_holds_and_what_is_handed_out_is_right(
        ops in prop::collection::vec(op(400, 20_000), 1..400),
        limit in prop_oneof![0..4_000usize, 4_000..200_000usize, 500_000..3_000_000usize],
    ) {
        play(&ops, limit, false)?;
    }
}

#[test]
fn rfc4343_any_case_of_a_name_finds_the_entry() {
    let store = sized(1 << 20);
    put(&store, key(0), 1, 0, 60, 0);
    let name = Name::from_text("N0.eXaMpLe.").expect("a name");
    assert!(store.get(name.as_ref(), Rtype::A, Class::IN, false, 0, None).is_some());
    assert!(store.get(name.as_ref(), Rtype::A, Class::CH, false, 0, None).is_none());
    assert_eq!((store.usage().messages.hits, store.usage().messages.misses), (1, 1));
}

#[test]
fn rfc1035_3_2_1_ttl_0_is_not_kept() {
    let store = sized(1 << 20);
    put(&store, key(0), 1, 0, 0, 0);
    assert_eq!(held(&store).0, 0);
}

#[test]
fn what_is_asked_for_again_outlives_a_flood_of_names_asked_for_once() {
    let store = sized(1 << 20);
    let popular = key(0);
    put(&store, popular.clone(), 1, 0, 3600, 0);
    for n in 1..30_000 {
        let hit = get(&store, &popular, 0);
        assert!(hit.is_some(), "lost after {n} others");
        put(&store, key(n), u32::from(n), 0, 3600, 0);
    }
    assert!(store.usage().messages.evictions > 2_000);
    assert!(held(&store).1 > 1 << 20, "the room is used: {:?}", store.usage());
}

#[test]
fn a_message_no_shard_can_hold_is_not_kept_and_costs_the_others_nothing() {
    let store = sized(300_000);
    put(&store, key(0), 1, 0, 3600, 0);
    put(&store, key(4), 2, 400_000, 3600, 0);
    assert_eq!(held(&store).0, 2);
}

#[test]
fn workers_share_it() {
    let store = sized(2 << 20);
    std::thread::scope(|scope| {
        for worker in 0..4u16 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..2_000u16 {
                    let key = key((round.wrapping_mul(7) + worker) % 500);
                    match get(store, &key, 0) {
                        Some(found) => assert!(serial(&found).is_some()),
                        None => put(store, key, u32::from(round), usize::from(round), 60, 0),
                    }
                }
            });
        }
    });
    held(&store);
}
