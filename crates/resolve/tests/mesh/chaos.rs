//! Recursion over an Internet in which every server says whatever comes into its head: what must hold all the same.

use proptest::prelude::*;
use resolve::{Family, ForwardZone, Limits, Minimise, StubZone};
use wire::{Answer, Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

/// Few names, so that delegations, aliases and name servers meet again and form circles.
const NAMES: [&str; 12] = [
    "com.",
    "net.",
    "a.com.",
    "b.com.",
    "a.net.",
    "b.a.com.",
    "ns.a.com.",
    "ns.b.com.",
    "ns.a.net.",
    "ns.net.",
    "www.a.com.",
    "c.b.a.com.",
];

/// A generator of its own, so that a seed tells the whole story (the constants are those of Numerical Recipes).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.roll(NAMES.len() as u64) as usize]
    }
}

fn whatever(dice: &mut Dice, asked: &Asked) -> Vec<(u64, Fate)> {
    let name = asked.name();
    let ns = |dice: &mut Dice, zone: &str| {
        let mut ns = set(zone, dice.roll(2) as u32 * 3600, Rtype::NS, self::name(dice.name()).as_ref().as_wire());
        for _ in 0..dice.roll(3) {
            ns.make_mut().rdata.push(self::name(dice.name()).as_ref().as_wire());
        }
        ns
    };
    let mut answer = Answer { aa: dice.roll(2) == 0, ..Answer::default() };
    match dice.roll(12) {
        0 => return vec![],
        1 => answer.rcode = Rcode::SERVFAIL,
        2 => answer.rcode = Rcode::REFUSED,
        3 => (answer.rcode, answer.authority) = (Rcode::NXDOMAIN, vec![soa(".", 60, 60)]),
        4 => answer.authority = vec![soa(".", 60, 60)],
        5 => answer.answer = vec![cname(&name, 60, dice.name())],
        6 if asked.query.qtype == Rtype::NS => answer.answer = vec![ns(dice, &name)],
        6 | 7 => answer.answer = vec![a(&name, dice.roll(2) as u32 * 60, dice.roll(6) as u8)],
        _ => {
            let labels: Vec<&str> = name.match_indices('.').map(|(at, _)| &name[at + 1..]).collect();
            let zone = if labels.is_empty() || dice.roll(3) == 0 {
                name.as_str()
            } else {
                labels[dice.roll(labels.len() as u64) as usize]
            };
            answer.authority = vec![ns(dice, if zone.is_empty() { "." } else { zone })];
        }
    }
    for _ in 0..dice.roll(4) {
        answer.additional.push(a(dice.name(), dice.roll(2) as u32 * 60, dice.roll(6) as u8));
    }
    let mut bytes = asked.render(&answer);
    if dice.roll(8) > 0 {
        bytes[3] &= 0x7f;
    }
    vec![(dice.roll(500), Fate::Bytes(bytes))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Each client gets one answer, in time; the work is bounded; nothing is left over (`FakeNet::run` looks).
    #[test]
    fn whatever_servers_say_each_client_gets_one_answer_and_the_work_is_bounded(seed: u64) {
        let mut dice = Dice(seed);
        let mut options = Dice(seed ^ 0x5555);
        let world = ["198.51.100.1", "192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"];
        let mut internet = internet();
        for addr in world {
            let mut dice = Dice(seed ^ u64::from(addr.len() as u32) ^ dice.roll(1 << 20));
            internet = internet.at(addr, move |asked| Some(whatever(&mut dice, asked))).recursor(addr);
        }
        let limits = Limits {
            client_deadline_ms: options.roll(2) * 1_900,
            upstream_racing: options.roll(4) == 0,
            harden_unverified_glue: options.roll(4) == 0,
            scrub_promiscuous: options.roll(2) == 0,
            ..Limits::default()
        };
        let (stub_at, zone_at) = (options.name(), options.name());
        let mut net = internet.build(limits, |recursion| {
            recursion.minimise = [Minimise::Off, Minimise::Relaxed, Minimise::Strict][options.roll(3) as usize];
            recursion.fetch_policy = if options.roll(2) == 0 { vec![0; 5] } else { vec![3, 2, 1, 0, 0] };
            recursion.harden_glue = options.roll(2) == 0;
            recursion.harden_referral_path = options.roll(4) == 0;
            recursion.ip6 = options.roll(3) == 0;
            recursion.prefer = [None, Some(Family::V4), Some(Family::V6)][options.roll(3) as usize];
            if options.roll(2) == 0 {
                let (first, prime) = (options.roll(2) == 0, options.roll(2) == 0);
                recursion.stub(StubZone { first, prime, ..stub(stub_at, "192.0.2.1 192.0.2.2") });
            }
        }, |table| {
            if zone_at.len() % 2 == 0 {
                table.zone(ForwardZone { first: true, ..zone(zone_at, &[3]) });
            }
        });
        for round in 0..4 {
            let began = net.now;
            let before = net.sent.len();
            for client in 0..3 {
                let qtype = [Rtype::A, Rtype::AAAA, Rtype::DS, Rtype::NS, Rtype::CNAME][options.roll(5) as usize];
                net.ask(round * 10 + client, options.name(), qtype);
            }
            net.run();
            for client in 0..3 {
                let told = net.the_answer(round * 10 + client);
                prop_assert!(told.at <= began + 30_000, "after {} ms", told.at - began);
            }
            // Three questions, each with the packets that were out when its quota was reached.
            prop_assert!(net.sent.len() - before <= 3 * (200 + 64), "{} packets", net.sent.len() - before);
            net.now += options.roll(100) * 1_000;
        }
    }
}
