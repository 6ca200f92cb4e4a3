//! What holds whatever comes, in whatever order: no client is lost, none is told twice, and the mesh ends empty.

use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;
use resolve::limits::{CLIENT_DEADLINE, MAX_FLIGHTS, MAX_PROBES};
use resolve::{ForwardZone, Forwards, Limits, Question};
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

/// Limits an operator might set, and some nobody would.
fn limits() -> impl Strategy<Value = Limits> {
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (1..12usize, 0..7u8, 1..40u16, prop_oneof![Just(0), 1..3_000u64], prop_oneof![Just(0), 1..3_000u64]);
    (switches, numbers).prop_map(
        |((racing, caps, expired, reset, probing), (places, retry, sends, deadline, stale))| Limits {
            max_queries: places,
            msg_retry: retry,
            max_sends: sends,
            upstream_racing: racing,
            caps_for_id: caps,
            serve_expired: expired,
            serve_expired_ttl_reset: reset,
            keep_probing: probing,
            client_deadline_ms: deadline,
            serve_expired_client_timeout_ms: stale,
            fast_server_permil: 500,
            ..Limits::default()
        },
    )
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Asks {
        name: u8,
        v6: bool,
        patient: bool,
    },
    Prefetches {
        name: u8,
    },
    Passes(u64),
    StandsStill(u64),
    Flushes,
    Reloads,
    Forgets,
    /// A packet finds no place for its socket, counted from the last; perhaps one becomes free.
    Holds(usize),
    Leaves(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..8u8, any::<bool>(), any::<bool>()).prop_map(|(name, v6, patient)| Event::Asks { name, v6, patient }),
        1 => (0..8u8).prop_map(|name| Event::Prefetches { name }),
        8 => (0..2_000u64).prop_map(Event::Passes),
        1 => (0..200_000u64).prop_map(Event::StandsStill),
        1 => Just(Event::Flushes),
        1 => Just(Event::Reloads),
        1 => Just(Event::Forgets),
        1 => (0..9usize).prop_map(Event::Holds),
        1 => (0..9usize).prop_map(Event::Leaves),
    ]
}

/// The zones of a test: `tst.` with its servers, perhaps one above it, perhaps others that stand in.
fn table(shape: (bool, bool, bool), servers: &[u8], above: bool, fallback: bool) -> Forwards {
    let (tcp_only, no_cache, first) = shape;
    let mut builder = Forwards::builder();
    builder.zone(ForwardZone { tcp_only, no_cache, first, ..zone("tst.", servers) });
    if above {
        builder.zone(zone(".", &[8]));
    }
    if fallback {
        builder.fallback(zone(".", &[9]));
    }
    builder.build()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn every_client_gets_exactly_one_answer_and_the_bounds_hold(
        whims in prop::collection::vec((whim(), 1..3_000u64), 1..40),
        events in prop::collection::vec(event(), 1..60),
        shape in any::<(bool, bool, bool)>(),
        (above, fallback) in any::<(bool, bool)>(),
        servers in 1..7u8,
        limits in limits(),
    ) {
        let mut turn = 0;
        let servers: Vec<u8> = (1..=servers).collect();
        let mut net = FakeNet::with(limits, table(shape, &servers, above, fallback), move |asked| {
            turn += 1;
            let (whim, after) = &whims[turn % whims.len()];
            fates(asked, whim, *after)
        });
        let mut clients = 0;
        let mut background = 0;
        for event in &events {
            match event {
                Event::Asks { name, v6, patient } => {
                    let qtype = if *v6 { Rtype::AAAA } else { Rtype::A };
                    net.ask_as(clients, Question { patient: *patient, ..question(&format!("n{name}.tst."), qtype) });
                    clients += 1;
                }
                Event::Prefetches { name } => {
                    let table = Arc::clone(&net.forwards);
                    net.mesh.prefetch(net.now, &table, question(&format!("n{name}.tst."), Rtype::A));
                    net.perform();
                    background += 1;
                }
                Event::Passes(ms) => net.run_until(net.now + ms),
                Event::StandsStill(ms) => net.now += ms,
                Event::Flushes => drop(net.store.flush_all()),
                Event::Reloads => net.forwards = Arc::new(table(shape, &servers, above, fallback)),
                Event::Forgets => net.mesh.forget_servers(),
                Event::Holds(nth) | Event::Leaves(nth) => {
                    let Some(asked) = net.sent.iter().rev().nth(*nth) else { continue };
                    match event {
                        Event::Holds(_) => net.mesh.held(net.now, asked.send),
                        _ => net.mesh.left(net.now, asked.send),
                    }
                    net.perform();
                }
            }
            prop_assert!(net.mesh.queries() <= limits.max_queries);
            prop_assert!(net.mesh.exchanges() <= limits.max_queries * MAX_FLIGHTS + MAX_PROBES);
        }
        net.run();
        for client in 0..clients {
            prop_assert_eq!(net.told.get(&client).map_or(0, Vec::len), 1);
        }
        // Each question may follow as many links as there are names, each asked of the zone and of the one above.
        let counts = net.mesh.counts();
        let questions = clients as usize + background + counts.prefetches as usize;
        let each = usize::from(limits.max_sends) + 2;
        prop_assert!(net.sent.len() <= questions * each * 9 + counts.probes as usize);
        let usage = net.store.usage();
        prop_assert!(usage.messages.bytes <= usage.messages.limit && usage.rrsets.bytes <= usage.rrsets.limit);
    }

    #[test]
    fn an_impatient_client_is_told_by_its_deadline(
        whims in prop::collection::vec((whim(), 1..3_000u64), 1..40),
        pauses in prop::collection::vec(0..700u64, 1..30),
        servers in 1..5u8,
    ) {
        let mut turn = 0;
        let servers: Vec<u8> = (1..=servers).collect();
        let mut net = FakeNet::new(forwards([zone("tst.", &servers)]), move |asked| {
            turn += 1;
            let (whim, after) = &whims[turn % whims.len()];
            fates(asked, whim, *after)
        });
        let mut came = Vec::new();
        for (client, pause) in (0..).zip(&pauses) {
            came.push(net.now);
            net.ask_as(client, hasty(&format!("n{}.tst.", client % 5), Rtype::A));
            net.run_until(net.now + pause);
        }
        net.run();
        for (client, came) in (0..).zip(came) {
            prop_assert!(net.the_answer(client).at <= came + CLIENT_DEADLINE);
        }
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
