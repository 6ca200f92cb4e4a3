//! Asking: what is sent, who is asked, who is told, which replies count.

use std::sync::Arc;

use resolve::{ClientId, Forwards, Limits, Transport};
use wire::types::flag;
use wire::{Answer, Class, Ede, Name, Query, Rcode, Rtype};

use crate::net::*;

#[test]
fn rfc1035_4_1_1_a_forwarded_query_has_rd_do_and_the_configured_edns_size() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    net.resolve("www.example.", Rtype::A);
    let query = &net.sent[0].query;
    assert_eq!(query.flags & (flag::RD | flag::CD | flag::AD), flag::RD);
    assert_eq!(query.edns.map(|edns| (edns.udp_size, edns.do_bit)), Some((1232, true)));
    assert_eq!((query.qtype, query.qclass), (Rtype::A, Class::IN));
}

#[test]
fn rfc4035_3_2_2_cd_is_passed_on_and_remembered_apart() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    let cd = resolve::Question { cd: true, ..question("www.example.", Rtype::A) };
    net.resolve_as(cd);
    assert!(net.sent[0].query.cd());
    net.resolve("www.example.", Rtype::A);
    assert_eq!(net.sent.len(), 2);
}

#[test]
fn rfc5452_9_2_ids_are_not_predictable_and_differ_with_the_seed() {
    let ids = |seed: u8| {
        let store = Arc::new(store::Store::new(store::Sizes { messages: 0, rrsets: 0 }));
        let mut mesh = resolve::Mesh::new(Limits::default(), [seed; 32], store, Arc::default());
        let table = Arc::new(forwards([zone(".", &[1])]));
        for n in 0..200 {
            mesh.query(0, &table, question(&format!("n{n}."), Rtype::A), ClientId(n), None);
        }
        let ids = mesh.effects().filter_map(|effect| match effect {
            resolve::Effect::Send { packet, .. } => Query::parse(&packet).ok().map(|query| query.id),
            _ => None,
        });
        ids.collect::<Vec<u16>>()
    };
    let (one, two) = (ids(1), ids(2));
    assert_eq!(one.len(), 200);
    assert_ne!(one, two);
    let different: std::collections::HashSet<_> = one.iter().collect();
    assert!(different.len() > 190);
}

#[test]
fn identical_questions_share_one_packet() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    (0..5).for_each(|client| net.ask(client, "www.example.", Rtype::A));
    net.ask(5, "www.example.", Rtype::AAAA);
    net.run();
    assert_eq!(net.sent.len(), 2);
    (0..5).for_each(|client| assert_eq!(shown(&net.the_answer(client).answer.answer), ["www.example. 300 A"]));
}

#[test]
fn a_question_under_another_snapshot_is_not_joined() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    net.ask(1, "www.example.", Rtype::A);
    net.forwards = Arc::new(forwards([zone(".", &[2])]));
    net.ask(2, "www.example.", Rtype::A);
    net.run();
    assert_eq!(net.sent.iter().map(Asked::who).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((net.the_answer(1).answer.rcode, net.the_answer(2).answer.rcode), (Rcode::NOERROR, Rcode::NOERROR));
}

#[test]
fn a_question_that_outlived_its_snapshot_leaves_the_newer_one_joinable() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        vec![(if asked.who() == 1 { 10 } else { 100 }, Fate::Bytes(asked.address()))]
    });
    net.ask(1, "www.example.", Rtype::A);
    net.forwards = Arc::new(forwards([zone(".", &[2])]));
    net.ask(2, "www.example.", Rtype::A);
    net.run_until(net.now + 50);
    assert_eq!((net.mesh.queries(), net.mesh.waiting()), (1, 1));
    net.ask(3, "www.example.", Rtype::A);
    net.run();
    assert_eq!(net.sent.len(), 2);
    (1..=3).for_each(|client| assert_eq!(net.the_answer(client).answer.rcode, Rcode::NOERROR));
}

#[test]
fn the_closest_zone_is_asked() {
    let table = forwards([zone(".", &[1]), zone("example.", &[2]), zone("deep.example.", &[3])]);
    let mut net = FakeNet::new(table, |asked| soon(asked.address()));
    for name in ["a.test.", "a.example.", "a.deep.example."] {
        net.resolve(name, Rtype::A);
    }
    assert_eq!(net.sent.iter().map(Asked::who).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn rfc8914_4_23_a_name_outside_all_forward_zones_fails_and_says_so() {
    let mut net = FakeNet::new(forwards([zone("example.", &[1])]), |_| vec![]);
    let told = net.resolve("a.test.", Rtype::A);
    assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
    assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
    assert_eq!(ede(&told).text, "no forward zone covers this name and recursion is not built in yet");
    assert!(net.sent.is_empty());
}

#[test]
fn do_not_query_localhost_leaves_a_zone_without_servers() {
    let mut builder = Forwards::builder();
    let local = resolve::Server { addr: "127.0.0.1:5353".parse().expect("an address"), tls_name: None };
    builder.zone(resolve::ForwardZone { servers: vec![local], ..zone("tst.", &[]) }).do_not_query_localhost();
    let mut net = FakeNet::new(builder.build(), |_| vec![]);
    let told = net.resolve("plain.tst.", Rtype::A);
    let said = "all the configured stub or forward servers failed, at zone tst. \
                no server to query nameserver addresses not usable have no nameserver names";
    assert_eq!(told.why.as_deref(), Some(said));
    assert_eq!(ede(&told).code, Ede::NO_REACHABLE_AUTHORITY);
}

#[test]
fn classes_and_types_that_cannot_be_asked_are_refused_as_unbound_does() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    let mut code =
        |qtype, qclass| net.resolve_as(resolve::Question { qclass, ..question("p.tst.", qtype) }).answer.rcode;
    assert_eq!(code(Rtype::A, Class::CH), Rcode::REFUSED);
    assert_eq!(code(Rtype::AXFR, Class::IN), Rcode::REFUSED);
    assert_eq!(code(Rtype::IXFR, Class::IN), Rcode::REFUSED);
    for qtype in [Rtype::OPT, Rtype::TSIG, Rtype::TKEY, Rtype::MAILA, Rtype::MAILB] {
        assert_eq!(code(qtype, Class::IN), Rcode::FORMERR, "{qtype}");
    }
    assert!(net.sent.is_empty());
    let any = net.resolve_as(resolve::Question { qclass: Class::ANY, ..question("p.tst.", Rtype::A) });
    assert_eq!((any.answer.rcode, net.sent[0].query.qclass), (Rcode::NOERROR, Class::IN));
}

#[test]
fn without_rd_nothing_is_sent() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    let told = net.resolve_as(resolve::Question { rd: false, ..question("p.tst.", Rtype::A) });
    assert_eq!(told.why.as_deref(), Some("cannot forward RD=0 query"));
    assert!(net.sent.is_empty());
}

#[test]
fn num_queries_per_thread_bounds_questions_not_joined_clients() {
    let limits = Limits { max_queries: 2, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    for (client, name) in [(1, "a."), (2, "b."), (3, "c."), (4, "a.")] {
        net.ask(client, name, Rtype::A);
    }
    net.run();
    assert_eq!(net.the_answer(3).answer.rcode, Rcode::SERVFAIL);
    assert_eq!(net.the_answer(4).answer.rcode, Rcode::NOERROR);
    (10..60).for_each(|client| net.ask(client, "d.", Rtype::A));
    net.run();
    let served = (10..60).filter(|client| net.the_answer(*client).answer.rcode == Rcode::NOERROR).count();
    assert_eq!(served, 2 * resolve::limits::CLIENTS_PER_QUERY);
}

#[test]
fn rfc5452_9_1_replies_with_another_id_are_passed_over_and_the_true_one_counts() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let forged = |asked: &Asked| {
            let mut bytes = asked.reply(Rcode::NOERROR, vec![a(&asked.name(), 300, 66)], vec![]);
            bytes[0] ^= 1;
            bytes
        };
        let short = asked.address()[..11].to_vec();
        vec![(1, Fate::Bytes(forged(asked))), (2, Fate::Bytes(short)), (3, Fate::Bytes(asked.address()))]
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!(told.answer.answer, [a("www.example.", 300, 1)]);
    assert_eq!(net.sent.len(), 1);
}

#[test]
fn rfc5452_9_1_a_reply_to_another_question_is_no_answer() {
    type Change = fn(&mut Query);
    let changes: [Change; 3] = [
        |query| query.qname = wire::NameBuf::from_text("other.example.").expect("a name"),
        |query| query.qtype = Rtype::AAAA,
        |query| query.qclass = Class::CH,
    ];
    for change in changes {
        let mut net = FakeNet::new(forwards([zone(".", &[1])]), move |asked| {
            let mut other = asked.clone();
            change(&mut other.query);
            soon(other.address())
        });
        let told = net.resolve("www.example.", Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::SERVFAIL);
        let over: Vec<Transport> = net.sent.iter().map(|asked| asked.over).collect();
        assert_eq!(
            (over[0], over.last()),
            (Transport::Udp, Some(&Transport::Tcp)),
            "where nobody else can have said it"
        );
        assert!(net.sent.len() <= 10, "{}", net.sent.len());
        assert_eq!(ede(&told).text.split(", ").next(), Some("192.0.2.1 answered another question"));
        assert!(told.why.expect("a reason").ends_with("from 192.0.2.1 upstream response failed scrub"));
        assert_eq!(net.store.get(name("other.example.").as_ref(), Rtype::A, Class::IN, false, net.now, None), None);
    }
}

#[test]
fn records_of_other_names_alone_are_the_answer_to_another_question() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), |asked| {
        soon(if asked.who() == 1 {
            asked.reply(Rcode::NOERROR, vec![a("z.", 300, 66)], vec![])
        } else {
            asked.address()
        })
    });
    for n in 0..10 {
        assert_eq!(net.resolve(&format!("n{n}."), Rtype::A).answer.answer, [a(&format!("n{n}."), 300, 1)]);
    }
}

#[test]
fn a_reply_without_question_a_query_and_another_opcode_are_no_answers() {
    for (at, bits) in [(2, 0x80), (2, 0x20)] {
        let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), move |asked| {
            let mut bytes = asked.address();
            if asked.who() == 1 {
                bytes[at] ^= bits;
            }
            soon(bytes)
        });
        assert_eq!(net.resolve("www.example.", Rtype::A).answer.rcode, Rcode::NOERROR);
    }
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let id = asked.query.id.to_be_bytes();
        soon([&id[..], &[0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]].concat())
    });
    assert_eq!(net.resolve("www.example.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
}

#[test]
fn rfc4343_the_question_matches_in_any_case() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut upper = asked.clone();
        upper.query.qname = wire::NameBuf::from_text(&asked.name().to_uppercase()).expect("a name");
        soon(upper.address())
    });
    assert_eq!(net.resolve("www.example.", Rtype::A).answer.answer.len(), 1);
}

#[test]
fn rfc7766_5_truncated_over_udp_is_asked_again_over_tcp() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let last = if asked.over == Transport::Tcp { 2 } else { 1 };
        let mut bytes = asked.reply(Rcode::NOERROR, vec![a(&asked.name(), 300, last)], vec![]);
        if asked.over == Transport::Udp {
            bytes[2] |= 2;
            bytes.truncate(20); // cut off anywhere: what is truncated need not parse
        }
        soon(bytes)
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!(told.answer.answer, [a("www.example.", 300, 2)]);
    assert_eq!(net.sent.iter().map(|asked| asked.over).collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
    assert_ne!(net.sent[0].query.id, net.sent[1].query.id);
}

#[test]
fn truncated_over_tcp_is_no_answer() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut bytes = asked.address();
        bytes[2] |= 2;
        soon(bytes)
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!((told.answer.rcode, net.sent.len()), (Rcode::SERVFAIL, 10));
}

#[test]
fn forward_tcp_upstream_asks_over_tcp_alone() {
    let tcp = resolve::ForwardZone { tcp_only: true, ..zone(".", &[1]) };
    let mut net = FakeNet::new(forwards([tcp]), |asked| soon(asked.address()));
    net.resolve("www.example.", Rtype::A);
    assert_eq!(net.sent.iter().map(|asked| asked.over).collect::<Vec<_>>(), [Transport::Tcp]);
}

#[test]
fn over_tcp_a_wrong_id_ends_the_try() {
    let tcp = resolve::ForwardZone { tcp_only: true, ..zone(".", &[1]) };
    let mut net = FakeNet::new(forwards([tcp]), |asked| {
        let mut bytes = asked.address();
        bytes[1] ^= 1;
        soon(bytes)
    });
    assert_eq!(net.resolve("www.example.", Rtype::A).answer.rcode, Rcode::SERVFAIL);
    assert_eq!((net.sent.len(), net.now - net.sent[0].at), (5, 50));
}

#[test]
fn rfc6891_7_servers_that_do_not_know_edns_are_asked_without_it() {
    for rcode in [Rcode::FORMERR, Rcode::NOTIMP, Rcode::BADVERS] {
        let mut net = FakeNet::new(forwards([zone(".", &[1])]), move |asked| {
            soon(if asked.query.edns.is_some() { asked.reply(rcode, vec![], vec![]) } else { asked.address() })
        });
        assert_eq!(net.resolve("www.example.", Rtype::A).answer.answer.len(), 1, "{rcode}");
        assert_eq!(net.sent.len(), 2);
        net.resolve("next.example.", Rtype::A);
        assert!(net.sent[2].query.edns.is_some(), "no reply makes later questions go without (CVE-2026-52690)");
    }
}

#[test]
fn a_late_reply_to_a_finished_exchange_changes_nothing() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        vec![(10, Fate::Bytes(asked.address())), (11, Fate::Bytes(asked.reply(Rcode::NXDOMAIN, vec![], vec![])))]
    });
    net.ask(1, "www.example.", Rtype::A);
    let (send, bytes) = (net.sent[0].send, net.sent[0].address());
    net.run();
    net.mesh.reply(net.now, send, &bytes, Transport::Udp);
    net.mesh.timeout(net.now, send);
    net.mesh.failed(net.now, send, std::io::ErrorKind::Other);
    assert_eq!(net.mesh.effects().count(), 0);
    assert_eq!(net.the_answer(1).answer.rcode, Rcode::NOERROR);
}

#[test]
fn what_a_reply_says_about_other_names_is_not_used() {
    let mut net = FakeNet::new(forwards([zone("tst.", &[1])]), |asked| {
        let mx = set(&asked.name(), 300, Rtype::MX, &[&[0, 10][..], name("m.tst.").as_ref().as_wire()].concat());
        let ns = set("tst.", 900, Rtype::NS, name("ns.tst.").as_ref().as_wire());
        let foreign = set("other.", 900, Rtype::NS, name("ns.other.").as_ref().as_wire());
        let mut chaos = a(&asked.name(), 300, 9);
        chaos.make_mut().class = Class::CH;
        soon(asked.render(&Answer {
            answer: vec![a("z.tst.", 300, 8), mx, a(&asked.name(), 300, 8), chaos],
            authority: vec![ns, foreign],
            additional: vec![a("m.tst.", 900, 25), a("q.tst.", 900, 26), a("m.other.", 900, 27)],
            ..Answer::new(Rcode::NOERROR)
        }))
    });
    let told = net.resolve("mx.tst.", Rtype::MX);
    assert_eq!(shown(&told.answer.answer), ["mx.tst. 300 MX"]);
    assert_eq!(shown(&told.answer.authority), [""; 0]);
    assert_eq!(shown(&told.answer.additional), ["m.tst. 900 A"]);
    assert_eq!(net.store.usage().messages.entries, 1);
}

#[test]
fn records_of_other_classes_and_delegations_beside_an_answer_are_left_out() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut chaos = a(&asked.name(), 300, 9);
        chaos.make_mut().class = Class::CH;
        let ns = set("tst.", 900, Rtype::NS, name("ns.tst.").as_ref().as_wire());
        let answer = if asked.query.qtype == Rtype::A { vec![chaos, a(&asked.name(), 300, 1)] } else { vec![] };
        let additional = vec![a("ns.tst.", 900, 53)];
        soon(asked.render(&Answer { answer, authority: vec![ns], additional, ..Answer::new(Rcode::NOERROR) }))
    });
    let told = net.resolve("x.tst.", Rtype::A).answer;
    assert_eq!((&told.answer[..], told.authority.len(), told.additional.len()), (&[a("x.tst.", 300, 1)][..], 0, 0));
    let told = net.resolve("x.tst.", Rtype::AAAA).answer;
    assert_eq!((told.answer.len(), shown(&told.authority), told.additional.len()), (0, vec!["tst. 900 NS".into()], 1));
}

#[test]
fn flags_of_the_forwarder_are_its_own() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let answer =
            Answer { aa: true, ad: true, answer: vec![a(&asked.name(), 300, 1)], ..Answer::new(Rcode::NOERROR) };
        let mut bytes = asked.render(&answer);
        bytes[3] &= !0x80; // no recursion available: Unbound takes the answer all the same
        soon(bytes)
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!((told.answer.rcode, told.answer.aa, told.answer.ad), (Rcode::NOERROR, false, false));
}

#[test]
fn any_takes_every_record_of_the_name_and_follows_nothing() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let sets = vec![a(&asked.name(), 300, 1), set(&asked.name(), 100, Rtype::TXT, b"\x02hi"), a("z.", 300, 3)];
        soon(asked.reply(
            Rcode::NOERROR,
            if asked.name().starts_with('c') { vec![cname("c.", 300, "z.")] } else { sets },
            vec![],
        ))
    });
    assert_eq!(shown(&net.resolve("x.", Rtype::ANY).answer.answer), ["x. 300 A", "x. 100 TXT"]);
    assert_eq!(shown(&net.resolve("c.", Rtype::ANY).answer.answer), ["c. 300 CNAME"]);
    assert_eq!(shown(&net.resolve("c.", Rtype::CNAME).answer.answer), ["c. 300 CNAME"]);
    let longest = Name::from_text(&format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61))).expect("255 octets");
    assert_eq!(net.resolve(&longest.to_string(), Rtype::ANY).answer.rcode, Rcode::NOERROR);
}
