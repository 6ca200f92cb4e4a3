//! What holds whatever comes, in whatever order: no client is lost, none is told twice, and the mesh ends empty.

use std::io::ErrorKind;

use proptest::prelude::*;
use resolve::ForwardZone;
use wire::{Rcode, Rtype};

use crate::net::*;

/// What an upstream server does with a packet.
#[derive(Clone, Debug)]
enum Whim {
    Answers,
    Links(u8),
    Says(u16),
    Truncates,
    Flips { at: usize, with: u8 },
    Cuts(usize),
    Rubbish(Vec<u8>),
    RubbishWithId(Vec<u8>),
    Fails,
    Twice,
    Nothing,
}

fn whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        4 => Just(Whim::Answers),
        2 => (0..8u8).prop_map(Whim::Links),
        2 => (0..24u16).prop_map(Whim::Says),
        1 => Just(Whim::Truncates),
        2 => (0..80usize, 1..=255u8).prop_map(|(at, with)| Whim::Flips { at, with }),
        1 => (0..60usize).prop_map(Whim::Cuts),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Whim::Rubbish),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Whim::RubbishWithId),
        1 => Just(Whim::Fails),
        1 => Just(Whim::Twice),
        2 => Just(Whim::Nothing),
    ]
}

fn fates(asked: &Asked, whim: &Whim, after: u64) -> Vec<(u64, Fate)> {
    let whole = asked.address();
    let bytes = match whim {
        Whim::Answers => whole,
        Whim::Links(n) => asked.reply(Rcode::NOERROR, vec![cname(&asked.name(), 60, &format!("n{n}.tst."))], vec![]),
        Whim::Says(code) => asked.reply(Rcode(*code), vec![], vec![soa("tst.", 60, 60)]),
        Whim::Truncates => {
            whole.into_iter().enumerate().map(|(at, octet)| if at == 2 { octet | 2 } else { octet }).collect()
        }
        Whim::Flips { at, with } => {
            whole.into_iter().enumerate().map(|(n, octet)| if n == *at { octet ^ with } else { octet }).collect()
        }
        Whim::Cuts(len) => whole.into_iter().take(*len).collect(),
        Whim::Rubbish(bytes) => bytes.clone(),
        Whim::RubbishWithId(bytes) => [&asked.query.id.to_be_bytes()[..], bytes].concat(),
        Whim::Fails => return vec![(after, Fate::Fails(ErrorKind::ConnectionReset))],
        Whim::Twice => return vec![(after, Fate::Bytes(whole.clone())), (after + 1, Fate::Bytes(whole))],
        Whim::Nothing => return vec![],
    };
    vec![(after, Fate::Bytes(bytes))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_client_gets_exactly_one_answer(
        whims in prop::collection::vec((whim(), 1..3_000u64), 1..40),
        questions in prop::collection::vec((0..8u8, any::<bool>(), 0..2_000u64), 1..40),
        tcp_only in any::<bool>(),
        no_cache in any::<bool>(),
        servers in 1..4u8,
    ) {
        let mut turn = 0;
        let servers: Vec<u8> = (1..=servers).collect();
        let tst = ForwardZone { tcp_only, no_cache, ..zone("tst.", &servers) };
        let mut net = FakeNet::new(forwards([tst]), move |asked| {
            turn += 1;
            let (whim, after) = &whims[turn % whims.len()];
            fates(asked, whim, *after)
        });
        for (client, (name, v6, pause)) in (0u64..).zip(&questions) {
            net.ask(client, &format!("n{name}.tst."), if *v6 { Rtype::AAAA } else { Rtype::A });
            net.run_until(net.now + pause);
            prop_assert!(net.mesh.queries() <= net.mesh.waiting());
        }
        net.run();
        for client in 0..questions.len() as u64 {
            prop_assert_eq!(net.told.get(&client).map_or(0, Vec::len), 1);
        }
        let usage = net.store.usage();
        prop_assert!(usage.messages.bytes <= usage.messages.limit && usage.rrsets.bytes <= usage.rrsets.limit);
    }

    #[test]
    fn events_that_make_no_sense_change_nothing(
        events in prop::collection::vec((0..6u64, 0..3u8, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), |_| vec![]);
        (0..3).for_each(|client| net.ask(client, &format!("n{client}."), Rtype::A));
        for (id, kind, bytes) in &events {
            // Numbers around those in use; the exchange of a true one ends by its deadline as the driver would tell.
            let known = net.sent.iter().any(|asked| asked.send.0 == *id);
            match kind {
                0 => drop(net.mesh.reply(net.now, resolve::SendId(*id), bytes, resolve::Transport::Udp)),
                1 if !known => net.mesh.timeout(net.now, resolve::SendId(*id)),
                2 if !known => net.mesh.failed(net.now, resolve::SendId(*id), ErrorKind::Other),
                _ => drop(net.mesh.reply(net.now, resolve::SendId(*id), bytes, resolve::Transport::Tcp)),
            }
            net.perform();
        }
        net.run();
        (0..3).for_each(|client| assert_eq!(net.the_answer(client).answer.rcode, Rcode::SERVFAIL));
    }
}
