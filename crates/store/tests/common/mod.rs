//! What the tests of the store share: answers out of lines of text, and answers as one line.
#![allow(dead_code, unreachable_pub)] // each test uses its part

use store::{Found, Key, Put, Security, Store};
use wire::{Answer, Class, Name, Rcode, RdataSet, Rrset, Rtype};

pub fn name(text: &str) -> Name {
    Name::from_text(text).expect(text)
}

/// So many seconds after `now`.
pub fn at(now: u64, seconds: u64) -> u64 {
    now + seconds * 1000
}

pub fn key(at: &str, qtype: Rtype) -> Key {
    Key { name: name(at).lower(), qtype, qclass: Class::IN, cd: false }
}

pub fn get(store: &Store, at: &str, qtype: Rtype, now: u64) -> Option<Found> {
    store.get(name(at).as_ref(), qtype, Class::IN, false, now, None)
}

/// Sets out of record lines between bars; equal owners and types next to each other are one set.
pub fn sets(lines: &str) -> Vec<Rrset> {
    let mut all: Vec<Rrset> = Vec::new();
    for line in lines.split('|').map(str::trim).filter(|line| !line.is_empty()) {
        let record = wire::parse_record(line, 0).expect(line);
        match all.last_mut().filter(|set| set.owner == record.owner && set.rtype == record.rtype) {
            Some(set) => assert!(set.make_mut().rdata.push(&record.rdata)),
            None => {
                let rdata = RdataSet::one(&record.rdata);
                all.push(Rrset::new(record.owner, record.rtype, record.class, record.ttl.unwrap_or(0), rdata));
            }
        }
    }
    all
}

/// An answer in one line: the code and the sections, each set as owner, TTL, type, data, and the number of signatures.
pub fn answer_of(answer: &Answer) -> String {
    let set = |set: &Rrset| {
        let data: Vec<String> = set.rdata.iter().map(|rdata| wire::rdata_to_text(set.rtype, rdata)).collect();
        let sigs = if set.sigs.is_empty() { String::new() } else { format!(" +{}", set.sigs.len()) };
        format!("{} {} {} {}{sigs}", set.owner, set.ttl, set.rtype, data.join(" "))
    };
    let section = |sets: &[Rrset]| sets.iter().map(set).collect::<Vec<_>>().join(", ");
    let [answers, authority, additional] = [&answer.answer, &answer.authority, &answer.additional].map(|s| section(s));
    format!("{} [{answers}] [{authority}] [{additional}]", answer.rcode)
}

/// Puts answers in.
pub struct Fill<'a> {
    pub store: &'a Store,
    pub now: u64,
    pub authoritative: bool,
    pub security: Security,
    pub cd: bool,
}

impl<'a> Fill<'a> {
    pub fn new(store: &'a Store, now: u64) -> Fill<'a> {
        Fill { store, now, authoritative: true, security: Security::Unchecked, cd: false }
    }

    pub fn answer(&self, at: &str, qtype: Rtype, answer: &Answer, ttl: u32) {
        let put = Put {
            now: self.now,
            ttl,
            authoritative: self.authoritative,
            security: self.security,
            epoch: self.store.epoch(),
            leeway_s: 0,
        };
        self.store.put(Key { cd: self.cd, ..key(at, qtype) }, answer, put);
    }

    pub fn put(&self, at: &str, qtype: Rtype, lines: &str, ttl: u32) {
        self.answer(at, qtype, &Answer { answer: sets(lines), ..Answer::default() }, ttl);
    }

    pub fn negative(&self, at: &str, qtype: Rtype, rcode: Rcode, lines: &str, ttl: u32) {
        self.answer(at, qtype, &Answer { authority: sets(lines), ..Answer::new(rcode) }, ttl);
    }
}
