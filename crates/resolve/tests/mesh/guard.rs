//! What must not be believed, and what must not come out.

use resolve::{Forwards, Limits, Transport};
use wire::{Answer, NameBuf, Rcode, Rtype};

use crate::net::*;

fn caps() -> Limits {
    Limits { caps_for_id: true, ..Limits::default() }
}

#[test]
fn use_caps_for_id_writes_names_in_random_case_and_answers_in_the_clients() {
    let mut net = FakeNet::with(caps(), forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..8 {
        let told = net.resolve(&format!("www{n}.example."), Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::NOERROR);
        seen.insert(net.sent[n].name().replace(char::is_numeric, ""));
    }
    assert!(seen.len() > 4, "{seen:?}");
    assert!(seen.iter().all(|name| name.eq_ignore_ascii_case("www.example.")));
}

#[test]
fn use_caps_for_id_a_reply_in_another_case_is_not_believed_but_asked_for_over_tcp() {
    let mut net = FakeNet::with(caps(), forwards([zone(".", &[1])]), |asked| {
        let mut lower = asked.clone();
        lower.query.qname = NameBuf::from_text(&asked.name().to_lowercase()).expect("a name");
        let last = if asked.over == Transport::Tcp { 1 } else { 66 };
        soon(lower.reply(Rcode::NOERROR, vec![a(&lower.name(), 300, last)], vec![]))
    });
    let told = net.resolve("www.some-long-name.example.", Rtype::A);
    assert_eq!(told.answer.answer, [a("www.some-long-name.example.", 300, 1)]);
    assert_eq!(net.sent.iter().map(|asked| asked.over).collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
}

#[test]
fn caps_exempt_names_are_written_as_they_are() {
    let mut builder = Forwards::builder();
    builder.zone(zone(".", &[1])).caps_exempt(name("example."));
    let mut net = FakeNet::with(caps(), builder.build(), |asked| soon(asked.address()));
    (0..8).for_each(|n| drop(net.resolve(&format!("www{n}.example."), Rtype::A)));
    assert!(net.sent.iter().all(|asked| asked.name() == asked.name().to_lowercase()));
    net.resolve("www.other-long-name-of-many-letters.", Rtype::A);
    assert_ne!(net.sent[8].name(), "www.other-long-name-of-many-letters.");
}

#[test]
fn cve_2025_5994_many_wrong_ids_take_the_question_to_tcp() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let guess = |n: u8| {
            let mut bytes = asked.reply(Rcode::NOERROR, vec![a(&asked.name(), 300, 66)], vec![]);
            bytes[0] ^= n;
            (u64::from(n), Fate::Bytes(bytes))
        };
        match asked.over {
            Transport::Udp => (1..=40).map(guess).collect(),
            Transport::Tcp => soon(asked.address()),
        }
    });
    let told = net.resolve("www.example.", Rtype::A);
    assert_eq!(told.answer.answer, [a("www.example.", 300, 1)]);
    assert_eq!(net.sent.iter().map(|asked| asked.over).collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
    assert_eq!(net.mesh.counts().strays, u64::from(resolve::limits::MAX_STRAYS), "few guesses are heard");
}

#[test]
fn rfc8914_a_server_with_wrong_ids_over_tcp_too_is_called_that() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let mut bytes = asked.address();
        bytes[0] ^= 1;
        // As the driver reports a stream that is not from the server that was asked.
        let stream = Fate::Fails(std::io::ErrorKind::InvalidData);
        vec![(1, if asked.over == Transport::Tcp { stream } else { Fate::Bytes(bytes) })]
    });
    let told = net.resolve("x.", Rtype::A);
    assert_eq!((told.answer.rcode, ede(&told).code), (Rcode::SERVFAIL, wire::Ede::INVALID_DATA));
    assert!(ede(&told).text.starts_with("192.0.2.1 sent replies with wrong ids"), "{}", ede(&told).text);
}

#[test]
fn rfc5452_9_1_a_forged_reply_is_passed_over_and_the_true_one_counts() {
    type Forge = fn(&Asked) -> Vec<u8>;
    let forgeries: [Forge; 4] = [
        |asked| {
            let mut other = asked.clone();
            other.query.qname = NameBuf::from_text("other.example.").expect("a name");
            other.reply(Rcode::NXDOMAIN, vec![], vec![])
        },
        |asked| {
            let mut bytes = asked.reply(Rcode::NXDOMAIN, vec![], vec![]);
            bytes[2] ^= 0x80; // a query
            bytes
        },
        |asked| {
            let mut bytes = asked.reply(Rcode::NXDOMAIN, vec![], vec![]);
            bytes[2] |= 0x28; // a notify
            bytes
        },
        |asked| asked.address()[..11].to_vec(),
    ];
    for forge in forgeries {
        let mut net = FakeNet::new(forwards([zone(".", &[1])]), move |asked| {
            vec![(1, Fate::Bytes(forge(asked))), (30, Fate::Bytes(asked.address()))]
        });
        let told = net.resolve("www.example.", Rtype::A);
        assert_eq!((told.answer.answer.len(), net.sent.len()), (1, 1));
    }
}

#[test]
fn one_of_three_that_answers_other_questions_delays_nobody() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2, 3])]), |asked| {
        let mut other = asked.clone();
        if asked.who() == 1 {
            other.query.qname = NameBuf::from_text("other.example.").expect("a name");
        }
        soon(other.address())
    });
    for n in 0..50 {
        let began = net.now;
        let told = net.resolve(&format!("n{n}."), Rtype::A);
        assert!(told.answer.rcode == Rcode::NOERROR && told.at - began <= 20, "{} ms", told.at - began);
    }
}

#[test]
fn a_server_that_drops_edns_is_found_out_and_remembered_for_infra_host_ttl() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        if asked.query.edns.is_some() { vec![] } else { soon(asked.address()) }
    });
    for n in 0..2 {
        assert_eq!(net.resolve(&format!("n{n}."), Rtype::A).answer.rcode, Rcode::NOERROR);
    }
    let before = net.sent.len();
    assert_eq!(net.resolve("known.", Rtype::A).answer.rcode, Rcode::NOERROR);
    assert_eq!(net.sent.len() - before, 1);
    net.now += 901_000;
    net.resolve("later.", Rtype::A);
    assert!(net.sent[before + 1].query.edns.is_some(), "asked anew");
}

#[test]
fn cve_2026_52690_forged_format_errors_take_edns_from_one_question_at_most() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let forged = (1, Fate::Bytes(asked.reply(Rcode::FORMERR, vec![], vec![])));
        let attack = asked.query.edns.is_some() && asked.name().starts_with("attacked");
        let truth = (20, Fate::Bytes(asked.address()));
        if attack { vec![forged, truth] } else { vec![truth] }
    });
    net.resolve("first.", Rtype::A);
    for n in 0..10 {
        net.resolve(&format!("attacked{n}."), Rtype::A);
        let before = net.sent.len();
        net.resolve(&format!("quiet{n}."), Rtype::A);
        assert!(net.sent[before].query.edns.is_some(), "it has shown that it speaks EDNS");
    }
}

fn private() -> Forwards {
    let mut builder = Forwards::builder();
    builder.zone(zone(".", &[1])).private_domain(name("inside.example."));
    for net in ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8", "::ffff:172.16.0.0/108"] {
        builder.private_address(net.parse().expect("a network"));
    }
    builder.build()
}

fn addresses(owner: &str, all: &[&[u8]]) -> wire::Rrset {
    let rtype = if all[0].len() == 4 { Rtype::A } else { Rtype::AAAA };
    let mut set = set(owner, 300, rtype, all[0]);
    for rdata in &all[1..] {
        set.make_mut().rdata.push(rdata);
    }
    set
}

#[test]
fn private_address_takes_out_what_is_private_and_leaves_the_rest() {
    let mut net = FakeNet::new(private(), |asked| {
        let all: &[&[u8]] = match asked.name().as_str() {
            "some.example." => &[&[10, 0, 0, 1], &[192, 0, 2, 2]],
            _ => &[&[10, 0, 0, 1], &[192, 168, 0, 2]],
        };
        soon(asked.reply(Rcode::NOERROR, vec![addresses(&asked.name(), all)], vec![]))
    });
    assert_eq!(net.resolve("some.example.", Rtype::A).answer.answer, [a("some.example.", 300, 2)]);
    let all = net.resolve("all.example.", Rtype::A);
    assert_eq!(
        (all.answer.rcode, all.answer.answer.len(), net.sent.len()),
        (Rcode::NOERROR, 0, 2),
        "as Unbound: NODATA"
    );
    assert_eq!(net.resolve("a.inside.example.", Rtype::A).answer.answer[0].rdata.len(), 2, "private-domain");
}

#[test]
fn private_address_holds_for_ipv6_and_for_ipv4_in_ipv6_dress() {
    let mut net = FakeNet::new(private(), |asked| {
        let mapped = |ip: [u8; 4]| [&[0; 10][..], &[255, 255], &ip].concat();
        let rdata = match asked.name().as_str() {
            "ula." => [&[0xfd][..], &[1; 15]].concat(),
            "dressed." => mapped([10, 0, 0, 1]),
            "network." => mapped([172, 16, 0, 1]),
            _ => mapped([192, 0, 2, 1]),
        };
        soon(asked.reply(Rcode::NOERROR, vec![set(&asked.name(), 300, Rtype::AAAA, &rdata)], vec![]))
    });
    let mut count = |text: &str| net.resolve(text, Rtype::AAAA).answer.answer.len();
    assert_eq!([count("ula."), count("dressed."), count("network."), count("public.")], [0, 0, 0, 1]);
}

#[test]
fn private_address_takes_out_service_bindings_with_private_hints() {
    let mut net = FakeNet::new(private(), |asked| {
        let hint = |ip: [u8; 4]| [&[0, 1, 0, 0, 4, 0, 8, 192, 0, 2, 1][..], &ip].concat();
        let mut sets = set(&asked.name(), 300, Rtype::HTTPS, &hint([10, 20, 30, 40]));
        sets.make_mut().rdata.push(&hint([192, 0, 2, 9]));
        soon(asked.reply(Rcode::NOERROR, vec![sets], vec![]))
    });
    let told = net.resolve("toss.example.", Rtype::HTTPS);
    assert_eq!((told.answer.answer[0].rdata.len(), told.answer.answer[0].rdata.first().map(|r| r[14])), (1, Some(9)));
    assert_eq!(net.resolve("mail.inside.example.", Rtype::HTTPS).answer.answer[0].rdata.len(), 2);
}

#[test]
fn private_address_holds_in_the_additional_section() {
    let mut net = FakeNet::new(private(), |asked| {
        let mx = set(&asked.name(), 300, Rtype::MX, &[&[0, 10][..], name("m.example.").as_ref().as_wire()].concat());
        let additional = vec![addresses("m.example.", &[&[10, 0, 0, 25]])];
        soon(asked.render(&Answer { answer: vec![mx], additional, ..Answer::new(Rcode::NOERROR) }))
    });
    assert!(net.resolve("example.", Rtype::MX).answer.additional.is_empty());
}

#[test]
fn cve_2025_11411_name_servers_beside_an_answer_change_nothing() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let ns = set("example.", 900, Rtype::NS, name("ns.evil.").as_ref().as_wire());
        let glue = vec![a("ns.evil.", 900, 66)];
        let answer = vec![a(&asked.name(), 300, 1)];
        soon(asked.render(&Answer { answer, authority: vec![ns], additional: glue, ..Answer::new(Rcode::NOERROR) }))
    });
    let told = net.resolve("www.example.", Rtype::A).answer;
    assert_eq!((told.authority.len(), told.additional.len()), (0, 0));
    let known = |at: &str, rtype| net.store.rrset(name(at).as_ref(), rtype, wire::Class::IN, false, net.now).is_some();
    assert!(!known("example.", Rtype::NS) && !known("ns.evil.", Rtype::A));
}

#[test]
fn iter_scrub_promiscuous_no_keeps_the_zones_name_servers_beside_an_answer() {
    let limits = Limits { scrub_promiscuous: false, ..Limits::default() };
    let mut net = FakeNet::with(limits, forwards([zone("tst.", &[1])]), |asked| {
        let ns = |owner: &str| set(owner, 900, Rtype::NS, name("ns.tst.").as_ref().as_wire());
        let answer = vec![a(&asked.name(), 300, 1)];
        let authority = vec![ns("tst."), ns("beside.tst.")];
        soon(asked.render(&Answer {
            answer,
            authority,
            additional: vec![a("ns.tst.", 900, 53)],
            ..Answer::new(Rcode::NOERROR)
        }))
    });
    let told = net.resolve("www.tst.", Rtype::A).answer;
    assert_eq!(
        (shown(&told.authority), shown(&told.additional)),
        (vec!["tst. 900 NS".into()], vec!["ns.tst. 900 A".into()])
    );
    // Who wants no recursion is told the closest name servers that are known.
    let asks = |of: &str| resolve::Question { rd: false, ..question(of, Rtype::A) };
    let told = net.resolve_as(asks("never.asked.tst.")).answer;
    assert_eq!(
        (told.rcode, shown(&told.authority), shown(&told.additional)),
        (Rcode::NOERROR, vec!["tst. 900 NS".into()], vec!["ns.tst. 900 A".into()])
    );
    assert_eq!(net.resolve_as(asks("elsewhere.")).why.as_deref(), Some("cannot forward RD=0 query"));
    assert_eq!(net.sent.len(), 1);
}

#[test]
fn iter_scrub_rrsig_8_signatures_are_kept_of_a_set() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        let sigs = (0..45u8).map(|n| {
            let mut rdata = Rtype::A.0.to_be_bytes().to_vec();
            rdata.extend_from_slice(&[8, 1, 0, 0, 1, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, n, 0, 1, 2, 3]);
            rdata
        });
        let rdata: Vec<Vec<u8>> = sigs.collect();
        let sigs = rdata.iter().map(Vec::as_slice).collect();
        soon(asked.reply(Rcode::NOERROR, vec![a(&asked.name(), 300, 1).with_sigs(sigs)], vec![]))
    });
    let told = net.resolve("x.", Rtype::A);
    assert_eq!(told.answer.answer[0].sigs.len(), 8);
}

#[test]
fn any_is_composed_of_what_is_known() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| soon(asked.address()));
    net.resolve("x.", Rtype::A);
    let told = net.resolve("x.", Rtype::ANY);
    assert_eq!((shown(&told.answer.answer), net.sent.len()), (vec!["x. 300 A".to_string()], 1));
}

#[test]
fn iter_scrub_dname_insec_a_dname_known_leads_on_if_it_is_proven_but_not_out_of_its_servers_zone() {
    let mut net = FakeNet::new(forwards([zone(".", &[1]), zone("sub.d.tst.", &[2])]), |asked| {
        if ["a.d.tst.", "b.d.tst."].contains(&asked.name().as_str()) {
            let dname = set("d.tst.", 200, Rtype::DNAME, name("tgt.tst.").as_ref().as_wire());
            return soon(asked.reply(Rcode::NOERROR, vec![dname], vec![]));
        }
        soon(asked.address())
    });
    net.resolve("a.d.tst.", Rtype::A);
    let told = net.resolve("b.d.tst.", Rtype::A);
    let followed =
        |name: &str| ["d.tst. 200 DNAME".into(), format!("{name}.d.tst. 200 CNAME"), format!("{name}.tgt.tst. 300 A")];
    assert_eq!(shown(&told.answer.answer), followed("b"));
    assert_eq!(net.names()[2..], ["b.d.tst.", "b.tgt.tst."], "what nobody has proven says nothing of other names");
    let known = net.store.rrset(name("d.tst.").as_ref(), Rtype::DNAME, wire::Class::IN, false, net.now).expect("known");
    let put = store::Put {
        now: net.now,
        ttl: 200,
        authoritative: true,
        security: store::Security::Secure,
        epoch: net.store.epoch(),
        leeway_s: 0,
    };
    net.store.learn(&known.set, store::Trust::Validated, put);
    let told = net.resolve("c.d.tst.", Rtype::A);
    assert_eq!(shown(&told.answer.answer), followed("c"));
    assert_eq!(net.names()[4..], ["c.tgt.tst."]);
    let told = net.resolve("e.d.tst.", Rtype::CNAME);
    assert_eq!(shown(&told.answer.answer), &followed("e")[..2], "val_cnameqtype");
    net.resolve("x.sub.d.tst.", Rtype::A);
    assert_eq!((net.sent[5].name(), net.sent[5].who()), ("x.sub.d.tst.".to_string(), 2));
}

#[test]
fn rfc2181_5_4_1_what_stands_beside_an_answer_never_changes_what_another_name_is() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |asked| {
        if asked.name() == "www.bank." {
            return soon(asked.address());
        }
        let forged = vec![a("www.bank.", 300, 66), cname("mail.bank.", 300, "evil.")];
        let beside = Answer {
            answer: vec![set("q.evil.", 300, Rtype::MX, &[b"\0\x05\x04mail\x04bank\0".as_slice()].concat())],
            authority: forged,
            additional: vec![cname("mail.bank.", 300, "evil."), a("mail.bank.", 300, 2)],
            aa: true,
            ..Answer::default()
        };
        soon(asked.render(&beside))
    });
    net.resolve("www.bank.", Rtype::A);
    let told = net.resolve("q.evil.", Rtype::MX);
    assert_eq!(net.resolve("www.bank.", Rtype::A).answer.answer, [a("www.bank.", 300, 1)]);
    assert_eq!(shown(&told.answer.authority), Vec::<String>::new());
    assert_eq!(shown(&told.answer.additional), ["mail.bank. 300 A"]);
}
