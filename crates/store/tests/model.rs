//! The store against a naive model of it, under random answers that share their sets, time, flushes and little room.
//!
//! Owns the promises the store makes to everyone: with room enough it hands out exactly what the rules say; with too little
//! it hands out that or nothing; what it holds never exceeds its limits.

mod common;

use std::collections::HashMap;

use common::{Fill, answer_of, get, key, name, sets};
use proptest::prelude::*;
use store::{Sizes, Store};
use wire::{Answer, Class, Ede, Rcode, Rtype};

/// One thing that happens to a cache.
#[derive(Clone, Debug)]
enum Op {
    Put { n: usize, shape: usize, data: usize, ttl: u32, aa: bool, cd: bool },
    Get { n: usize, aaaa: bool, cd: bool, stale: Option<u32> },
    Wait { ms: u64 },
    FlushAll,
    FlushName { n: usize },
    FlushType { n: usize },
    FlushZone { zone: usize },
    FlushNegative,
    Pause { n: usize, keep: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let put = (0..NAMES, 0..6usize, 0..3usize, 0..40u32, any::<bool>(), prop::bool::weighted(0.1));
    let stale = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => (1..20u32).prop_map(Some)];
    prop_oneof![
        10 => put.prop_map(|(n, shape, data, ttl, aa, cd)| Op::Put { n, shape, data, ttl, aa, cd }),
        14 => (0..NAMES, prop::bool::weighted(0.2), prop::bool::weighted(0.1), stale)
            .prop_map(|(n, aaaa, cd, stale)| Op::Get { n, aaaa, cd, stale }),
        3 => (0..9_000u64).prop_map(|ms| Op::Wait { ms }),
        1 => prop_oneof![
            Just(Op::FlushAll),
            (0..NAMES).prop_map(|n| Op::FlushName { n }),
            (0..NAMES).prop_map(|n| Op::FlushType { n }),
            (0..ZONES).prop_map(|zone| Op::FlushZone { zone }),
            Just(Op::FlushNegative),
        ],
        1 => (0..NAMES, any::<bool>()).prop_map(|(n, keep)| Op::Pause { n, keep }),
    ]
}

const NAMES: usize = 9;
const ZONES: usize = 3;

fn owner(n: usize) -> String {
    format!("n{n}.z{}.example.", n % ZONES)
}

/// An answer of one of six shapes for name `n`, and the question's type. Data and TTLs follow from the numbers.
fn answer(n: usize, shape: usize, data: usize, ttl: u32) -> (Answer, Rtype) {
    let (own, zone, next) = (owner(n), format!("z{}.example.", n % ZONES), owner((n + 1 + data) % NAMES));
    let address = format!("{own} {ttl} A 192.0.2.{data} | {own} {ttl} A 192.0.2.77");
    let delegation = format!("{zone} {} NS ns{data}.{zone}", ttl + 5);
    let soa = format!("{zone} {ttl} SOA ns.{zone} host.{zone} {data} 2 3 4 5");
    let of = |answer: &str, authority: &str, additional: &str, rcode: Rcode| Answer {
        answer: sets(answer),
        authority: sets(authority),
        additional: sets(additional),
        ..Answer::new(rcode)
    };
    match shape {
        0 => (of(&address, "", "", Rcode::NOERROR), Rtype::A),
        1 => {
            let link = format!("{own} {} CNAME {next} | {next} {ttl} A 192.0.2.{data}", ttl + 3);
            (of(&link, "", "", Rcode::NOERROR), Rtype::A)
        }
        2 => {
            let glue = format!("ns{data}.{zone} {} A 192.0.2.{}", ttl + 2, 10 + n);
            (of(&address, &delegation, &glue, Rcode::NOERROR), Rtype::A)
        }
        3 => (of("", &soa, "", Rcode::NXDOMAIN), Rtype::A),
        4 => (of("", &soa, "", Rcode::NOERROR), Rtype::AAAA),
        _ => {
            let ede = Some(Ede { code: 23, text: format!("{data}").into() });
            (Answer { ede, ..Answer::new(Rcode::SERVFAIL) }, Rtype::A)
        }
    }
}

/// Owner, type, CD, and whether it is the SOA record of a negative answer.
type SetKey = (String, Rtype, bool, bool);

#[derive(Clone)]
struct ModelSet {
    data: String,
    ends: u64,
    rank: u32,
    /// Which set this is, for who refers to it.
    number: u64,
}

/// What an answer says, with holes for the sets.
type Shape = (Rcode, [usize; 3], Option<Ede>);

struct ModelMessage {
    shape: Shape,
    refers: Vec<(SetKey, u64)>,
    ends: u64,
    ttl: u64,
    stale_from: u64,
    paused_until: u64,
    negative: bool,
}

/// The store as one would write it without a thought for memory or speed, from the rules alone.
#[derive(Default)]
struct Model {
    sets: HashMap<SetKey, ModelSet>,
    messages: HashMap<(String, Rtype, bool), ModelMessage>,
    /// For a store that lacks room, and may have forgotten why an answer was not to be kept: the last answers told.
    told: HashMap<(String, Rtype, bool), Shape>,
    last: u64,
}

impl Model {
    fn put(&mut self, at: (String, Rtype, bool), answer: &Answer, ttl: u64, aa: bool, now: u64) {
        self.messages.remove(&at);
        self.told.remove(&at);
        if ttl == 0 {
            return;
        }
        let counts = [answer.answer.len(), answer.authority.len(), answer.additional.len()];
        let shape = (answer.rcode, counts, answer.ede.clone());
        self.told.insert(at.clone(), shape.clone());
        let (mut refers, mut ends, mut contradiction) = (Vec::new(), now + ttl, false);
        for (section, sets) in [&answer.answer, &answer.authority, &answer.additional].into_iter().enumerate() {
            for set in sets {
                // The ranks of Unbound's dumps: without AA and with it, for each section.
                let rank = [[5, 2, 1], [8, 7, 3]][usize::from(aa)][section];
                let key = (set.owner.to_string(), set.rtype, at.2, section == 1 && set.rtype == Rtype::SOA);
                let mut data: Vec<String> = set.rdata.iter().map(|rdata| format!("{rdata:?}")).collect();
                data.sort();
                let mut new = ModelSet { data: data.join(" "), ends: now + u64::from(set.ttl), rank, number: 0 };
                let known = self.sets.get(&key).cloned();
                let live = known.as_ref().filter(|known| known.ends > now);
                let wins = live.is_none_or(|known| rank > known.rank || rank == known.rank && new.data != known.data);
                if !wins && set.rtype == Rtype::CNAME && live.is_some_and(|known| known.data != new.data) {
                    contradiction = true;
                }
                if !wins {
                    new = live.expect("what did not win is alive").clone();
                } else if let Some(known) = known {
                    let same = new.data == known.data;
                    let glue = set.rtype == Rtype::A && known.rank == 1;
                    if (set.rtype == Rtype::NS || glue) && known.ends > now {
                        new.ends = new.ends.min(known.ends);
                    }
                    self.last += 1;
                    new.number = if set.rtype == Rtype::CNAME && !same { self.last } else { known.number };
                } else {
                    self.last += 1;
                    new.number = self.last;
                }
                ends = ends.min(new.ends);
                refers.push((key.clone(), new.number));
                self.sets.insert(key, new);
            }
        }
        if contradiction {
            return;
        }
        let negative = answer.rcode != Rcode::NOERROR || answer.answer.is_empty();
        let message = ModelMessage { shape, refers, ends, ttl: ends - now, stale_from: 0, paused_until: 0, negative };
        self.messages.insert(at, message);
    }

    /// What a look-up should find: the shape, each set as key, data and seconds left, whether it is stale, and paused.
    fn get(&self, at: &(String, Rtype, bool), stale: Option<u32>, now: u64) -> Option<Seen> {
        let message = self.messages.get(at)?;
        let refers = message.refers.iter();
        let sets: Option<Vec<_>> = refers
            .map(|(key, number)| self.sets.get(key).filter(|set| set.number == *number).map(|set| (key, set)))
            .collect();
        let sets = sets?;
        let ends = sets.iter().map(|(_, set)| set.ends).chain([message.ends]).min()?;
        let late = |ends: u64| now.saturating_sub(ends.max(message.stale_from));
        let bound = stale.map(|bound| if bound == 0 { u64::MAX } else { u64::from(bound) });
        if ends <= now && bound.is_none_or(|bound| late(ends) >= bound) {
            return None;
        }
        Some(Seen {
            shape: message.shape.clone(),
            sets: sets
                .iter()
                .map(|(key, set)| ((*key).clone(), set.data.clone(), set.ends.saturating_sub(now)))
                .collect(),
            stale: ends <= now,
            ttl: message.ttl,
            paused: now < message.paused_until,
        })
    }

    fn forget(&mut self, goes: impl Fn(&str) -> bool, rtype: Option<Rtype>) {
        self.sets.retain(|key, _| !(goes(&key.0) && rtype.is_none_or(|rtype| rtype == key.1)));
        self.messages.retain(|key, _| !(goes(&key.0) && rtype.is_none_or(|rtype| rtype == key.1)));
        self.told.retain(|key, _| !(goes(&key.0) && rtype.is_none_or(|rtype| rtype == key.1)));
    }
}

/// What a look-up gave.
#[derive(Debug, PartialEq)]
struct Seen {
    shape: Shape,
    sets: Vec<(SetKey, String, u64)>,
    stale: bool,
    ttl: u64,
    paused: bool,
}

fn seen(found: &store::Found, cd: bool) -> Seen {
    let sections = [&found.answer.answer, &found.answer.authority, &found.answer.additional];
    let all = sections.into_iter().enumerate().flat_map(|(section, sets)| sets.iter().map(move |set| (section, set)));
    let sets = all.map(|(section, set)| {
        let mut data: Vec<String> = set.rdata.iter().map(|rdata| format!("{rdata:?}")).collect();
        data.sort();
        let negative = section == 1 && set.rtype == Rtype::SOA;
        ((set.owner.to_string(), set.rtype, cd, negative), data.join(" "), u64::from(set.ttl))
    });
    Seen {
        shape: (found.answer.rcode, sections.map(Vec::len), found.answer.ede.clone()),
        sets: sets.collect(),
        stale: found.stale,
        ttl: u64::from(found.ttl),
        paused: found.paused,
    }
}

/// Plays `ops` on a store and on the model. With `room` they must agree; without, what the store says must be something it
/// was told and that is still true.
fn play(ops: &[Op], octets: usize, room: bool) -> Result<(), TestCaseError> {
    let store = Store::new(Sizes { messages: octets, rrsets: octets });
    let mut model = Model::default();
    // For the store without room: every set ever told since its last flush, with the second it ends.
    let mut told: HashMap<SetKey, Vec<(String, u64)>> = HashMap::new();
    let mut now = 1_000_000;
    for op in ops {
        let second = now / 1000;
        match op {
            Op::Put { n, shape, data, ttl, aa, cd } => {
                let (answer, qtype) = answer(*n, *shape, *data, *ttl);
                let fill = Fill { authoritative: *aa, cd: *cd, ..Fill::new(&store, now) };
                fill.answer(&owner(*n), qtype, &answer, *ttl);
                model.put((owner(*n), qtype, *cd), &answer, u64::from(*ttl), *aa, second);
                let sections = [&answer.answer, &answer.authority, &answer.additional];
                for (section, set) in
                    sections.iter().enumerate().flat_map(|(at, sets)| sets.iter().map(move |set| (at, set)))
                {
                    let mut data: Vec<String> = set.rdata.iter().map(|rdata| format!("{rdata:?}")).collect();
                    data.sort();
                    let key = (set.owner.to_string(), set.rtype, *cd, section == 1 && set.rtype == Rtype::SOA);
                    told.entry(key).or_default().push((data.join(" "), second + u64::from(set.ttl)));
                }
            }
            Op::Get { n, aaaa, cd, stale } => {
                let qtype = if *aaaa { Rtype::AAAA } else { Rtype::A };
                let got = store.get(name(&owner(*n)).as_ref(), qtype, Class::IN, *cd, now, *stale);
                let got = got.map(|found| seen(&found, *cd));
                let want = model.get(&(owner(*n), qtype, *cd), *stale, second);
                if room {
                    prop_assert_eq!(&got, &want);
                } else if let Some(got) = got {
                    let last = model.told.get(&(owner(*n), qtype, *cd));
                    prop_assert_eq!(Some(&got.shape), last, "the last answer's code and shape");
                    for (key, data, left) in &got.sets {
                        let true_once = told
                            .get(key)
                            .into_iter()
                            .flatten()
                            .any(|(have, ends)| have == data && second + left <= (*ends).max(second));
                        prop_assert!(true_once, "{key:?} {data} {left}");
                    }
                    prop_assert!(stale.is_some() || !got.stale);
                }
            }
            Op::Wait { ms } => now += ms,
            Op::FlushAll => {
                store.flush_all();
                (model, told) = Default::default();
                let usage = store.usage();
                prop_assert_eq!((usage.messages.bytes, usage.rrsets.bytes), (0, 0));
            }
            Op::FlushName { n } => {
                store.flush_name(name(&owner(*n)).as_ref());
                model.forget(|at| at == owner(*n), None);
                told.retain(|key, _| key.0 != owner(*n));
            }
            Op::FlushType { n } => {
                store.flush_type(name(&owner(*n)).as_ref(), Rtype::A);
                model.forget(|at| at == owner(*n), Some(Rtype::A));
                told.retain(|key, _| key.0 != owner(*n) || key.1 != Rtype::A);
            }
            Op::FlushZone { zone } => {
                let zone = format!("z{zone}.example.");
                store.flush_zone(name(&zone).as_ref());
                model.forget(|at| at.ends_with(&zone), None);
                told.retain(|key, _| !key.0.ends_with(&zone));
            }
            Op::FlushNegative => {
                store.flush_negative();
                model.messages.retain(|_, message| !message.negative);
                model.told.retain(|_, (rcode, counts, _)| *rcode == Rcode::NOERROR && counts[0] > 0);
            }
            Op::Pause { n, keep } => {
                let key = key(&owner(*n), Rtype::A);
                store.pause(&key, now, 5);
                if *keep {
                    store.keep_stale(&key, now);
                }
                if let Some(message) = model.messages.get_mut(&(owner(*n), Rtype::A, false)) {
                    message.paused_until = second + 5;
                    message.stale_from = if *keep { second } else { message.stale_from };
                }
            }
        }
        let usage = store.usage();
        prop_assert!(usage.messages.bytes <= usage.messages.limit, "{:?}", usage);
        prop_assert!(usage.rrsets.bytes <= usage.rrsets.limit, "{:?}", usage);
        if room {
            prop_assert_eq!(usage.messages.evictions + usage.rrsets.evictions, 0);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn with_room_enough_it_says_what_the_rules_say(ops in prop::collection::vec(op(), 1..250)) {
        play(&ops, 64 << 20, true)?;
    }

    #[test]
    fn with_too_little_room_it_says_what_was_true_or_nothing(
        ops in prop::collection::vec(op(), 1..250),
        octets in prop_oneof![0..500usize, 500..3_000usize],
    ) {
        play(&ops, octets, false)?;
    }
}

#[test]
fn rfc4343_any_case_of_a_name_finds_the_entry() {
    let store = Store::new(Sizes { messages: 1 << 20, rrsets: 1 << 20 });
    Fill::new(&store, 0).put("n0.example.", Rtype::A, "n0.example. 300 A 192.0.2.1", 300);
    assert!(get(&store, "N0.eXaMpLe.", Rtype::A, 0).is_some());
    assert!(store.get(name("n0.example.").as_ref(), Rtype::A, Class::CH, false, 0, None).is_none());
    assert_eq!((store.usage().messages.hits, store.usage().messages.misses), (1, 1));
}

#[test]
fn what_is_asked_for_again_outlives_a_flood_of_names_asked_for_once() {
    let store = Store::new(Sizes { messages: 1 << 20, rrsets: 1 << 20 });
    let fill = Fill::new(&store, 0);
    fill.put("popular.example.", Rtype::A, "popular.example. 3600 A 192.0.2.1", 3600);
    for n in 0..30_000 {
        assert!(get(&store, "popular.example.", Rtype::A, 0).is_some(), "lost after {n} others");
        fill.put(&format!("n{n}.example."), Rtype::A, &format!("n{n}.example. 3600 A 192.0.2.1"), 3600);
    }
    let usage = store.usage();
    assert!(usage.messages.evictions > 2_000 && usage.rrsets.evictions > 2_000, "{usage:?}");
    assert!(usage.messages.bytes * 10 > usage.messages.limit * 9, "the room is used: {usage:?}");
    assert!(usage.rrsets.bytes * 10 > usage.rrsets.limit * 9, "the room is used: {usage:?}");
}

#[test]
fn a_set_no_shard_can_hold_is_not_kept_and_costs_the_others_nothing() {
    let store = Store::new(Sizes { messages: 300_000, rrsets: 300_000 });
    let fill = Fill::new(&store, 0);
    fill.put("a.example.", Rtype::A, "a.example. 3600 A 192.0.2.1", 3600);
    let mut large = sets("b.example. 3600 TXT x").remove(0);
    (0..8).for_each(|n| assert!(large.make_mut().rdata.push(&vec![n; 60_000])));
    fill.answer("b.example.", Rtype::TXT, &Answer { answer: vec![large], ..Answer::default() }, 3600);
    assert_eq!((store.usage().messages.entries, store.usage().rrsets.entries), (1, 1));
    assert_eq!(
        answer_of(&get(&store, "a.example.", Rtype::A, 0).unwrap().answer),
        "NOERROR [a.example. 3600 A 192.0.2.1] [] []"
    );
}
