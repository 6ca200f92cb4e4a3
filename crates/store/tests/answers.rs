//! The first level against rendering anew: whatever was asked, whatever the answer, at every age.
//!
//! Owns the promise the worker relies on: what the table gives is octet for octet what `wire::render` would have given at
//! that moment for that query; and that it gives nothing when anything the reply depends on is another.

use proptest::prelude::*;
use store::answers::{Answers, Ask, Life, MAX_LIFE_S, MAX_REPLY, Shape};
use wire::types::flag;
use wire::{Answer, Class, EdnsOut, EdnsQuery, Name, NameBuf, Query, Rcode, RdataSet, Render, Rrset, Rtype};

/// Names that share suffixes, so that owners and data are compressed against each other and the question.
const NAMES: [&str; 7] =
    [".", "example.", "www.example.", "a.b.www.example.", "host.test.", "x.host.test.", "other.example."];

const TYPES: [Rtype; 7] = [Rtype::A, Rtype::AAAA, Rtype::NS, Rtype::MX, Rtype::TXT, Rtype::CNAME, Rtype::DS];

fn name(nth: usize) -> Name {
    Name::from_text(NAMES[nth % NAMES.len()]).unwrap()
}

fn rdata(rtype: Rtype, nth: u8, long: bool) -> Vec<u8> {
    let target = name(usize::from(nth));
    let target = target.as_ref().as_wire();
    match rtype {
        Rtype::A => vec![192, 0, 2, nth],
        Rtype::AAAA => [&[0x20; 15][..], &[nth]].concat(),
        Rtype::MX => [&[0, nth][..], target].concat(),
        Rtype::NS | Rtype::CNAME => target.to_vec(),
        Rtype::DS => [&[nth; 4][..], &[7; 20]].concat(),
        _ if long => [&[40][..], &[nth; 40]].concat(),
        _ => vec![1, nth],
    }
}

prop_compose! {
    fn a_set()(
        owner in 0..NAMES.len(),
        rtype in prop::sample::select(&TYPES[..]),
        ttl in prop_oneof![Just(0), 1..20u32, Just(300), Just(u32::MAX)],
        records in prop::collection::btree_set(0..40u8, 1..6),
        long in any::<bool>(),
        signed in prop::option::of(0..2u8),
    ) -> Rrset {
        let mut set = RdataSet::new();
        for nth in records {
            set.push(&rdata(rtype, nth, long && nth % 2 == 0));
        }
        let set = Rrset::new(name(owner), rtype, Class::IN, ttl, set);
        let mut sigs = RdataSet::new();
        for nth in signed.into_iter().flat_map(|more| 0..=more) {
            let fixed = [&rtype.0.to_be_bytes()[..], &[8, 2], &[nth; 14]].concat();
            sigs.push(&[&fixed, name(1).as_ref().as_wire(), &[nth; 16]].concat());
        }
        set.with_sigs(sigs)
    }
}

prop_compose! {
    fn an_answer()(
        code in prop::sample::select(vec![Rcode::NOERROR, Rcode::NXDOMAIN]),
        aa in any::<bool>(),
        ad in any::<bool>(),
        mut answer in prop::collection::vec(a_set(), 0..4),
        authority in prop::collection::vec(a_set(), 0..2),
        additional in prop::collection::vec(a_set(), 0..2),
    ) -> Answer {
        // One section has one set of a name and type: whoever reads a reply makes it so.
        let mut seen = Vec::new();
        answer.retain(|set| {
            let what = (set.owner.clone(), set.rtype);
            !seen.contains(&what) && { seen.push(what); true }
        });
        Answer { aa, ad, answer, authority, additional, ..Answer::new(code) }
    }
}

/// A query as far as a reply depends on it; its name in the spelling of `case`.
fn query(nth: usize, qtype: Rtype, flags: u16, edns: Option<bool>, id: u16, case: u64) -> Query {
    let lower = name(nth);
    let spelled: Vec<u8> = lower
        .as_ref()
        .as_wire()
        .iter()
        .zip((0..64).cycle())
        .map(|(octet, bit)| if case >> bit & 1 == 1 { octet.to_ascii_uppercase() } else { *octet })
        .collect();
    let qname: NameBuf = wire::NameRef::from_wire(&spelled).unwrap().to_buf();
    let edns = edns.map(|do_bit| EdnsQuery { udp_size: 1232, do_bit, ..EdnsQuery::default() });
    Query { id, flags, qname, qtype, qclass: Class::IN, edns }
}

struct Serving {
    size: usize,
    minimal: bool,
    rotates: bool,
}

fn render(q: &Query, answer: &Answer, serving: &Serving, rotate: u32, age: u32) -> Vec<u8> {
    let edns = q.edns.map(|_| EdnsOut { udp_size: 1232, ede: true, ..EdnsOut::default() });
    let rotate = serving.rotates.then_some(rotate);
    let how = Render { max_size: serving.size, minimal: serving.minimal, rotate, age, ra: true, edns };
    let mut out = vec![0; 4096];
    let len = wire::render(q, answer, &how, &mut out);
    out.truncate(len);
    out
}

fn ask<'q>(table: &Answers, q: &'q Query, serving: &Serving, class: u8) -> Ask<'q> {
    let edns = q.edns.map(|edns| edns.do_bit);
    let size = serving.size as u16;
    let shape = Shape { qtype: q.qtype, qclass: q.qclass, flags: q.flags, edns, size, class };
    table.ask(q.qname.as_ref(), shape)
}

fn got(table: &mut Answers, q: &Query, serving: &Serving, rotate: u32, now_s: u64) -> Option<Vec<u8>> {
    let ask = ask(table, q, serving, 0);
    let mut out = vec![0xee; 4096];
    let (len, mark) = table.get(&ask, q.id, serving.rotates.then_some(rotate), now_s, &mut out)?;
    assert_eq!(mark, 7);
    out.truncate(len);
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_hit_is_what_rendering_anew_would_give(
        answer in an_answer(),
        asked in 0..NAMES.len(),
        qtype in prop::sample::select(&TYPES[..]),
        flags in prop::sample::select(vec![0, flag::RD, flag::RD | flag::CD, flag::RD | flag::AD]),
        edns in prop::option::of(any::<bool>()),
        size in prop::sample::select(vec![64, 200, 512, 1232, 65_535]),
        minimal in any::<bool>(),
        rotates in any::<bool>(),
        counts_down in any::<bool>(),
        first in any::<(u32, u16, u64)>(),
        later in prop::collection::vec((0..u64::from(MAX_LIFE_S), any::<u32>(), any::<u16>(), any::<u64>()), 1..6),
    ) {
        let serving = Serving { size, minimal, rotates };
        let mut table = Answers::new();
        table.current(1, 1);
        let (rotate, id, case) = first;
        let q = query(asked, qtype, flags, edns, id, case);
        let reply = render(&q, &answer, &serving, rotate, 0);
        let life = Life { now_s: 1_000, life_s: MAX_LIFE_S, counts_down, rotate: rotates.then_some(rotate), mark: 7 };
        let key = ask(&table, &q, &serving, 0);
        table.put(&key, &reply, &life);
        for (age, rotate, id, case) in later {
            let q = query(asked, qtype, flags, edns, id, case);
            let anew = render(&q, &answer, &serving, rotate, if counts_down { age as u32 } else { 0 });
            if let Some(kept) = got(&mut table, &q, &serving, rotate, 1_000 + age) {
                prop_assert_eq!(kept, anew);
            } else {
                let movable = |set: &Rrset| set.rdata.len() == 1 && set.sigs.len() < 2;
                let plain = [&answer.answer, &answer.authority, &answer.additional].into_iter().flatten().all(movable);
                prop_assert!(
                    reply.len() > MAX_REPLY || reply[2] & 2 != 0 || (rotates && !plain),
                    "a reply that could have been kept was not"
                );
            }
        }
        // Whatever else is asked, by whomever, is not this.
        for other in [
            query(asked, qtype, flags ^ flag::RD, edns, id, case),
            query(asked, qtype, flags ^ flag::CD, edns, id, case),
            query(asked, qtype, flags ^ flag::AD, edns, id, case),
            query(asked, Rtype::SRV, flags, edns, id, case),
            query(asked + 1, qtype, flags, edns, id, case),
            query(asked, qtype, flags, edns.map_or(Some(false), |_| None), id, case),
            query(asked, qtype, flags, Some(edns != Some(true)), id, case),
        ] {
            let same = other.edns.map(|e| e.do_bit) == edns && other.flags == flags && other.qtype == qtype;
            prop_assert!(same && other.qname.as_ref() == q.qname.as_ref() || got(&mut table, &other, &serving, 0, 1_000).is_none());
        }
        let larger = Serving { size: size + 1, minimal, rotates };
        prop_assert!(got(&mut table, &q, &larger, 0, 1_000).is_none());
        let key = ask(&table, &q, &serving, 1);
        prop_assert!(table.get(&key, 1, None, 1_000, &mut [0; 4096]).is_none());
        prop_assert!(got(&mut table, &q, &serving, 0, 1_000 + u64::from(MAX_LIFE_S)).is_none());
    }
}

fn addresses(count: u8) -> Answer {
    let mut set = RdataSet::new();
    (0..count).for_each(|nth| assert!(set.push(&[192, 0, 2, nth])));
    let set = Rrset::new(name(2), Rtype::A, Class::IN, 300, set);
    Answer { answer: vec![set], ..Answer::new(Rcode::NOERROR) }
}

const PLAIN: Serving = Serving { size: 1232, minimal: true, rotates: true };

fn keep(table: &mut Answers, q: &Query, answer: &Answer, now_s: u64, life_s: u32) {
    let reply = render(q, answer, &PLAIN, 0, 0);
    let key = ask(table, q, &PLAIN, 0);
    table.put(&key, &reply, &Life { now_s, life_s, counts_down: true, rotate: Some(0), mark: 7 });
}

#[test]
fn addresses_in_any_number_that_fits_are_kept() {
    for count in 1..=28 {
        let mut table = Answers::new();
        let q = query(2, Rtype::A, flag::RD, None, 1, 0);
        keep(&mut table, &q, &addresses(count), 10, 10);
        let anew = render(&q, &addresses(count), &PLAIN, 5, 3);
        assert_eq!(got(&mut table, &q, &PLAIN, 5, 13), Some(anew), "{count}");
    }
}

#[test]
fn another_snapshot_or_a_flush_ends_everything() {
    let mut table = Answers::new();
    let q = query(2, Rtype::A, flag::RD, None, 1, 0);
    table.current(1, 1);
    for (revision, epoch) in [(2, 1), (2, 2), (1, 1)] {
        keep(&mut table, &q, &addresses(1), 10, 10);
        assert!(got(&mut table, &q, &PLAIN, 0, 10).is_some());
        assert_eq!(table.usage().entries, 1);
        table.current(revision, epoch);
        assert!(got(&mut table, &q, &PLAIN, 0, 10).is_none());
        assert_eq!(table.usage().entries, 0);
    }
}

#[test]
fn an_entry_lives_as_long_as_it_is_told() {
    let mut table = Answers::new();
    let q = query(2, Rtype::A, flag::RD, None, 1, 0);
    keep(&mut table, &q, &addresses(1), 10, 2);
    assert!(got(&mut table, &q, &PLAIN, 0, 11).is_some());
    assert!(got(&mut table, &q, &PLAIN, 0, 12).is_none());
    keep(&mut table, &q, &addresses(1), 20, 0);
    assert!(got(&mut table, &q, &PLAIN, 0, 20).is_none());
}

#[test]
fn a_flood_of_names_does_not_grow_it_and_what_is_asked_stays() {
    let mut table = Answers::new();
    let before = table.usage().bytes;
    let hot = query(2, Rtype::A, flag::RD, None, 1, 0);
    keep(&mut table, &hot, &addresses(2), 10, 10);
    for n in 0..20_000 {
        let cold = Name::from_text(&format!("r{n}.example.")).unwrap();
        let q = Query { qname: cold.as_ref().to_buf(), ..hot };
        keep(&mut table, &q, &addresses(1), 10, 10);
        assert!(got(&mut table, &hot, &PLAIN, 0, 10).is_some(), "lost after {n}");
    }
    let usage = table.usage();
    assert_eq!(usage.bytes, before);
    assert!(usage.bytes < 3 << 20 && usage.entries <= 4096, "{usage:?}");
    assert!(usage.entries > 4000, "{usage:?}");
}

#[test]
fn a_hit_does_not_touch_the_heap() {
    let mut table = Answers::new();
    let q = query(2, Rtype::A, flag::RD, Some(false), 1, u64::MAX);
    keep(&mut table, &q, &addresses(9), 10, 10);
    let mut out = [0; 4096];
    let used = allocation_counter::measure(|| {
        let key = ask(&table, &q, &PLAIN, 0);
        assert!(table.get(&key, 7, Some(3), 15, &mut out).is_some());
    });
    assert_eq!(used.count_total, 0);
}
