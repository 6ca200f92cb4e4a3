//! Questions that somebody wants explained: the steps say what happened, in order, and change nothing of it.

use std::sync::Arc;

use resolve::trace::{Choice, MAX_STEPS, Note, Said, Step, Trace, Turn};
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
fn told(note: &Note) -> String {
    let last =
        |server: &std::net::SocketAddr| server.ip().to_string().rsplit('.').next().unwrap_or_default().to_owned();
    let step = match &note.step {
        Step::Remembered { rcode, .. } => format!("known {rcode}"),
        Step::Link { to, remembered } => format!("link {to}{}", if *remembered { " known" } else { "" }),
        Step::Forward { zone, servers } => format!("forward {zone} {}", servers.len()),
        Step::Delegation { zone, source, servers, .. } => format!("at {zone} by {source:?} {}", servers.len()),
        Step::Wants { name, qtype, purpose } => format!("wants {name} {qtype} {purpose:?}"),
        Step::Joined { name, qtype } => format!("joins {name} {qtype}"),
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
        Step::Answered { rcode, .. } => format!("ends {rcode}"),
        Step::Failed { why, .. } => format!("fails {why}"),
        other => format!("{other:?}"),
    };
    format!("{} {} {step}", note.depth, note.name)
}

fn story(notes: &[Note]) -> Vec<String> {
    notes.iter().map(told).collect()
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
        .filter(|note| note.depth == 0)
        .filter_map(|note| match &note.step {
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
