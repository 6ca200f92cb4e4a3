//! Questions that somebody wants explained: the steps say what happened, in order, and change nothing of it.

use std::sync::Arc;

use resolve::trace::{Begins, Choice, MAX_STEPS, Note, Said, Step, Trace, Turn, depths};
use resolve::{ClientId, Fault, Limits, Minimise, Question};
use wire::{Rcode, Rtype};

use crate::internet::*;
use crate::net::*;

impl FakeNet {
    /// Asks past the store as a client whose question is to be explained.
    fn explain(&mut self, q: Question) -> (Told, Vec<Note>) {
        let trace = Arc::new(Trace::new(self.now));
        let (client, forwards) = (self.counter() | 1 << 41, Arc::clone(&self.forwards));
        self.mesh.explain(self.now, &forwards, q, ClientId(client), None, Arc::clone(&trace));
        self.perform();
        self.run();
        let steps = trace.steps();
        assert_eq!(steps.left_out, 0);
        assert!(steps.notes.windows(2).all(|pair| pair[0].at <= pair[1].at), "in the order of time");
        (self.the_answer(client), steps.notes)
    }
}

/// A step in a few words: enough to compare stories.
fn told((note, depth): (&Note, usize)) -> String {
    let last =
        |server: &std::net::SocketAddr| server.ip().to_string().rsplit('.').next().unwrap_or_default().to_owned();
    let step = match &note.step {
        Step::Remembered { rcode, .. } => format!("known {rcode}"),
        Step::Link { to, remembered } => format!("link {to}{}", if *remembered { " known" } else { "" }),
        Step::Forward { zone, servers } => format!("forward {zone} {}", servers.len()),
        Step::Delegation { zone, source, servers, .. } => format!("at {zone} by {source:?} {}", servers.len()),
        Step::Wants { name, qtype, purpose, .. } => format!("wants {name} {qtype} {purpose:?}"),
        Step::Asks { server, name, qtype, over, choice, .. } => {
            let choice = format!("{choice:?}");
            format!("asks @{} {name} {qtype} {over:?} {}", last(server), choice.split(' ').next().unwrap_or_default())
        }
        Step::AsksAgain { server, .. } => format!("again @{}", last(server)),
        Step::Hears { server, said: Said::Reply { rcode, answer, authority, .. }, .. } => {
            format!("hears @{} {rcode} {answer}+{authority}", last(server))
        }
        Step::Hears { server, said, .. } => format!("hears @{} {said:?}", last(server)),
        Step::Useless { server, fault } => format!("useless @{} {fault:?}", last(server)),
        Step::Silent { server, .. } => format!("silent @{}", last(server)),
        Step::Turns { zone, turn } => format!("turns {zone} {turn:?}"),
        Step::Begins { from: Begins::Anchor { zone, .. }, .. } => format!("trust from {zone}"),
        Step::Begins { from, .. } => format!("trust from {from:?}"),
        Step::Keys { zone, by, security, keys, .. } => {
            let named = keys.iter().filter(|key| key.named).count();
            let signed = keys.iter().filter(|key| key.signed).count();
            format!("keys {zone} {by:?} {security:?} {}, {named} named, {signed} signed", keys.len())
        }
        Step::Ds { zone, security, records, by, .. } => {
            let by = by.as_ref().map(|by| by.zone.to_string());
            format!("DS {zone} {security:?} {} by {}", records.len(), by.unwrap_or_default())
        }
        Step::NoDs { name, means, by, .. } => {
            format!("no DS {name} {means:?} by {}", by.map(|by| by.to_string()).unwrap_or_default())
        }
        Step::Checked { owner, rtype, security, by, wildcard, reason } => {
            let by = by.as_ref().map(|by| format!(" by {}", by.zone)).unwrap_or_default();
            let from = wildcard.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{owner} {rtype} {security:?}{by}{from}{why}")
        }
        Step::Denied { what, by, security, .. } => {
            format!("denies {what:?} by {} {security:?}", by.map(|by| by.to_string()).unwrap_or_default())
        }
        Step::Judged { security, .. } => format!("is {security:?}"),
        Step::Answered { rcode, .. } => format!("ends {rcode}"),
        Step::Failed { why, .. } => format!("fails {why}"),
        other => format!("{other:?}"),
    };
    format!("{depth} {} {step}", note.name)
}

fn story(notes: &[Note]) -> Vec<String> {
    notes.iter().zip(depths(notes)).map(told).collect()
}

fn example() -> Internet {
    internet().more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4").zone(
        "example.com.",
        "192.0.2.4",
        "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4\nwww.example.com. A 10.20.30.40\n\
         alias.example.com. CNAME www.example.com.",
    )
}

#[test]
fn from_the_root_down_each_packet_is_told_with_its_reason() {
    let (answer, notes) = example().plain().explain(question("alias.example.com.", Rtype::A));
    assert_eq!(addresses(&answer), ["10.20.30.40"]);
    assert_eq!(
        story(&notes),
        [
            "0 alias.example.com. wants . NS Priming",
            "1 . at . by Stub 1",
            "1 . asks @1 . NS Udp Only",
            "1 . hears @1 NOERROR 1+0",
            "1 . ends NOERROR",
            "0 alias.example.com. at . by Store 1",
            "0 alias.example.com. asks @1 alias.example.com. A Udp Only",
            "0 alias.example.com. hears @1 NOERROR 0+1",
            "0 alias.example.com. at com. by Parent 1",
            "0 alias.example.com. asks @2 alias.example.com. A Udp Only",
            "0 alias.example.com. hears @2 NOERROR 0+1",
            "0 alias.example.com. at example.com. by Parent 1",
            "0 alias.example.com. asks @4 alias.example.com. A Udp Only",
            "0 alias.example.com. hears @4 NOERROR 1+0",
            "0 alias.example.com. link www.example.com.",
            "0 www.example.com. at example.com. by Store 1",
            "0 www.example.com. asks @4 www.example.com. A Udp Only",
            "0 www.example.com. hears @4 NOERROR 1+0",
            "0 www.example.com. ends NOERROR",
        ]
    );
}

#[test]
fn rfc9156_the_parts_of_the_name_that_servers_get_to_see_are_told() {
    let mut net = example().with(|recursion| recursion.minimise = Minimise::Relaxed);
    let (_, notes) = net.explain(question("www.example.com.", Rtype::MX));
    let asked: Vec<String> = notes
        .iter()
        .zip(depths(&notes))
        .filter(|(_, depth)| *depth == 0)
        .filter_map(|(note, _)| match &note.step {
            Step::Asks { name, qtype, .. } => Some(format!("{name} {qtype}")),
            _ => None,
        })
        .collect();
    assert_eq!(asked, ["com. A", "example.com. A", "www.example.com. A", "www.example.com. MX"]);
}

#[test]
fn silence_is_told_and_what_was_done_about_it() {
    let mut asked = 0;
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), move |packet| {
        asked += 1;
        if asked == 1 { vec![] } else { soon(packet.address()) }
    });
    let (_, notes) = net.explain(question("www.example.", Rtype::A));
    assert_eq!(
        story(&notes),
        [
            "0 www.example. forward . 1",
            "0 www.example. asks @1 www.example. A Udp Only",
            "0 www.example. silent @1",
            "0 www.example. again @1",
            "0 www.example. hears @1 NOERROR 1+0",
            "0 www.example. ends NOERROR",
        ]
    );
    let (Step::Silent { after, .. }, Step::Hears { took, .. }) = (&notes[2].step, &notes[4].step) else { panic!() };
    assert!(*after > 0 && took > after, "the time is that since the packet left first");
    assert_eq!(notes[2].at, *after);
}

#[test]
fn a_server_is_chosen_by_its_time_or_because_nobody_knows_it() {
    let mut net = FakeNet::new(forwards([zone(".", &[1, 2])]), |packet| soon(packet.address()));
    let choice = |notes: &[Note]| {
        notes.iter().find_map(|note| match note.step {
            Step::Asks { choice, .. } => Some(choice),
            _ => None,
        })
    };
    let (_, notes) = net.explain(question("a.example.", Rtype::A));
    assert_eq!(choice(&notes), Some(Choice::Unmeasured { among: 2 }));
    for n in 0..20 {
        net.resolve(&format!("n{n}.example."), Rtype::A);
    }
    let (_, notes) = net.explain(question("b.example.", Rtype::A));
    assert!(matches!(choice(&notes), Some(Choice::Fast { among: 2, .. })), "{:?}", choice(&notes));
}

#[test]
fn a_slow_authority_that_is_asked_to_see_whether_it_is_still_slow_is_told_as_such() {
    let two = internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.4")
        .more("com.", "example.com. NS ns2.example.com.\nns2.example.com. A 192.0.2.5");
    let records = "example.com. NS ns.example.com.\nexample.com. NS ns2.example.com.\nns.example.com. A 192.0.2.4\n\
         ns2.example.com. A 192.0.2.5\n*.example.com. A 10.20.30.40";
    let slow = |packet: &Asked| Some(vec![(300, Fate::Bytes(packet.address()))]);
    let mut net = two.zone("example.com.", "192.0.2.4 192.0.2.5", records).at("192.0.2.5", slow).plain();
    let mut seen = Vec::new();
    for n in 0..200 {
        let (_, notes) = net.explain(question(&format!("n{n}.example.com."), Rtype::A));
        seen.extend(notes.iter().filter_map(|note| match note.step {
            Step::Asks { server, choice, .. } if server.ip().to_string() == "192.0.2.5" => Some(choice),
            _ => None,
        }));
    }
    assert!(seen.iter().any(|choice| matches!(choice, Choice::Explores { .. })), "{seen:?}");
    assert!(seen.iter().all(|choice| !matches!(choice, Choice::Fast { .. })), "{seen:?}");
}

#[test]
fn what_is_wrong_with_servers_is_told_and_how_it_ends() {
    let mut asked = 0;
    let gets_worse = move |packet: &Asked| {
        asked += 1;
        (asked > 1).then(|| soon(packet.reply(Rcode::REFUSED, vec![], vec![])))
    };
    let mut net = example().at("192.0.2.4", gets_worse).plain();
    net.resolve("none.example.com.", Rtype::A);
    let (answer, notes) = net.explain(question("www.example.com.", Rtype::A));
    assert_eq!(answer.answer.rcode, Rcode::SERVFAIL);
    let refused =
        Step::Useless { server: "192.0.2.4:53".parse().expect("an address"), fault: Fault::Said(Rcode::REFUSED) };
    assert!(notes.iter().any(|note| note.step == refused));
    let turned = |note: &Note| matches!(&note.step, Step::Turns { turn: Turn::Parent, .. });
    assert!(notes.iter().any(turned), "{:#?}", story(&notes));
    let Some(Step::Failed { ede, why }) = notes.last().map(|note| &note.step) else { panic!("{:#?}", story(&notes)) };
    assert_eq!(Some(why), answer.why.as_ref());
    assert_eq!(Some(ede), answer.answer.ede.as_ref());
}

#[test]
fn over_tcp_after_truncation_the_same_server_is_asked() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |packet| {
        let mut bytes = packet.address();
        if packet.over == resolve::Transport::Udp {
            bytes[2] |= 2;
        }
        soon(bytes)
    });
    let (_, notes) = net.explain(question("www.example.", Rtype::A));
    assert_eq!(
        story(&notes)[1..5],
        [
            "0 www.example. asks @1 www.example. A Udp Only",
            "0 www.example. hears @1 Truncated",
            "0 www.example. asks @1 www.example. A Tcp Same",
            "0 www.example. hears @1 NOERROR 1+0",
        ]
    );
}

#[test]
fn an_explained_question_joins_none_and_keeps_none_from_joining_another() {
    let mut net = FakeNet::new(forwards([zone(".", &[1])]), |packet| vec![(50, Fate::Bytes(packet.address()))]);
    net.ask(1, "www.example.", Rtype::A);
    let (_, notes) = net.explain(question("www.example.", Rtype::A));
    assert_eq!(story(&notes).len(), 4, "its own packet: {:#?}", story(&notes));
    assert_eq!(net.sent.len(), 2);
    net.the_answer(1);
}

#[test]
fn the_same_packets_leave_whether_or_not_somebody_wants_to_know() {
    let lame = || example().at("192.0.2.4", |asked| Some(soon(asked.reply(Rcode::NOTAUTH, vec![], vec![]))));
    let (mut one, mut other) = (lame().plain(), lame().plain());
    one.resolve("www.example.com.", Rtype::A);
    other.explain(question("www.example.com.", Rtype::A));
    assert_eq!(one.trace(), other.trace());
}

#[test]
fn steps_are_bounded_and_what_is_left_out_is_counted() {
    let limits = Limits { max_sends: u16::MAX, msg_retry: u8::MAX, ..Limits::default() };
    let addrs: Vec<u8> = (1..=250).collect();
    let mut net = FakeNet::with(limits, forwards([zone(".", &addrs)]), |packet| {
        soon(packet.reply(Rcode::SERVFAIL, vec![], vec![]))
    });
    let trace = Arc::new(Trace::new(net.now));
    let forwards = Arc::clone(&net.forwards);
    net.mesh.explain(net.now, &forwards, question("www.example.", Rtype::A), ClientId(9), None, Arc::clone(&trace));
    net.perform();
    net.run();
    let steps = trace.steps();
    assert_eq!(steps.notes.len(), MAX_STEPS);
    assert!(steps.left_out > 0);
}

/// Root, com. and example.com., signed, and an unsigned zone below.
fn signed(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .zone(
            "example.com.",
            "192.0.2.1",
            "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1\nwww.example.com. A 192.0.2.80\n\
             *.wild.example.com. A 192.0.2.81\nplain.example.com. NS ns.plain.example.com.\n\
             ns.plain.example.com. A 192.0.2.9",
        )
        .signed("example.com.", words)
        .zone("plain.example.com.", "192.0.2.9", "plain.example.com. NS ns.plain.example.com.\nns.plain.example.com. A 192.0.2.9\nwww.plain.example.com. A 192.0.2.99")
}

/// What is told of validation.
fn chain(notes: &[Note]) -> Vec<String> {
    let validates = |note: &&Note| {
        use Step::*;
        matches!(
            note.step,
            Begins { .. } | Keys { .. } | Ds { .. } | NoDs { .. } | Checked { .. } | Denied { .. } | Judged { .. }
        )
    };
    let steps = notes.iter().filter(validates).map(|note| told((note, 0)));
    steps.map(|step| step.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()).collect()
}

#[test]
fn rfc4035_5_each_link_of_the_chain_of_trust_is_told_with_its_keys() {
    let mut net = signed("nsec").plain();
    let (answer, notes) = net.explain(question("www.example.com.", Rtype::A));
    assert!(answer.answer.ad);
    assert_eq!(
        chain(&notes),
        [
            "trust from .",
            "keys . Anchor Secure 2, 1 named, 1 signed",
            "DS com. Secure 1 by .",
            "keys com. Ds Secure 2, 1 named, 1 signed",
            "DS example.com. Secure 1 by com.",
            "keys example.com. Ds Secure 2, 1 named, 1 signed",
            "www.example.com. A Secure by example.com.",
            "is Secure",
        ]
    );
    let (_, notes) = net.explain(question("nothing.example.com.", Rtype::A));
    assert_eq!(
        chain(&notes),
        [
            "trust from .",
            "keys . Memory Secure 2, 0 named, 1 signed",
            "keys com. Memory Secure 2, 0 named, 1 signed",
            "keys example.com. Memory Secure 2, 0 named, 1 signed",
            "example.com. SOA Secure by example.com.",
            "denies Name by NSEC Secure",
            "is Secure",
        ],
        "what is remembered of the chain is told too"
    );
    assert!(notes.iter().zip(depths(&notes)).all(|(_, depth)| depth == 0), "no question but its own");
}

#[test]
fn rfc4035_5_2_an_insecure_delegation_is_told_with_its_proof() {
    for (words, kind) in [("nsec", "NSEC"), ("nsec3", "NSEC3")] {
        let (answer, notes) = signed(words).plain().explain(question("www.plain.example.com.", Rtype::A));
        assert!(!answer.answer.ad && answer.answer.rcode == Rcode::NOERROR);
        assert_eq!(
            chain(&notes)[5..],
            [
                "keys example.com. Ds Secure 2, 1 named, 1 signed",
                &format!("no DS plain.example.com. Unsigned by {kind}"),
                "is Insecure",
            ]
        );
    }
}

#[test]
fn rfc4035_5_3_4_a_wildcard_is_told_with_the_proof_that_goes_with_it() {
    let (_, notes) = signed("nsec").plain().explain(question("a.wild.example.com.", Rtype::A));
    let told = chain(&notes);
    assert_eq!(
        told[told.len() - 3..],
        [
            "a.wild.example.com. A Secure by example.com. from *.wild.example.com.",
            "denies Closer by NSEC Secure",
            "is Secure"
        ]
    );
}

#[test]
fn rfc4035_5_5_what_is_bogus_is_told_with_what_is_wrong() {
    let net = signed("nsec").flaw("example.com.", "www.example.com. A", "expired");
    let (answer, notes) = net.plain().explain(question("www.example.com.", Rtype::A));
    assert_eq!(answer.answer.rcode, Rcode::SERVFAIL);
    let told = chain(&notes);
    assert!(told.contains(&"www.example.com. A Bogus: the signature has expired".to_owned()), "{told:#?}");
    assert_eq!(told.last().map(String::as_str), Some("is Bogus"));

    let (_, notes) = signed("ds=wrong").plain().explain(question("www.example.com.", Rtype::A));
    let told = chain(&notes);
    assert!(told.iter().any(|step| step.starts_with("keys example.com. Ds Bogus")), "{told:#?}");
}

#[test]
fn questions_for_keys_stand_below_the_question_that_needs_them() {
    let (_, notes) = signed("nsec").plain().explain(question("www.example.com.", Rtype::A));
    let keys: Vec<(usize, &Note)> =
        depths(&notes).into_iter().zip(&notes).filter(|(_, n)| n.qtype == Rtype::DNSKEY).collect();
    assert!(!keys.is_empty() && keys.iter().all(|(depth, _)| *depth == 1));
}
