//! A conversation: clients ask a mesh that recurses, validates and forwards, while its servers do what the input says. The
//! promises of the mesh are checked: each client one answer and in time, few packets, an end; and that of validation: what is
//! told as authentic, or told at all below a trust anchor, is the truth, whatever servers say.
//!
//! Included by the fuzz target and, by path, by the tests of `resolve`; the Internet, its signer and the network that both use
//! stand there.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use dnssec::canonical::canonical_rdata;
use resolve::{Forwards, Limits, Minimise, Question, Recursion, Transport, Trust};
use wire::{Answer, Class, Rcode, Rrset, Rtype};

use crate::internet::{Internet, signed_internet, stub};
use crate::net::{Asked, FakeNet, Fate, Told, name, question, zone};

/// Steps of a conversation at most.
const MAX_STEPS: usize = 32;
/// Milliseconds after which a client has been told at the latest: the 30 s of a question, those of the questions it waits for
/// end with it, and what servers may take that were asked in its last moment.
const TOLD_WITHIN: u64 = 40_000;
/// Packets one question may cost: its quota, and what was out when that was reached.
const PACKETS: usize = 200 + 64;
/// What is asked about, often enough to meet again.
const NAMES: [&str; 24] = [
    ".",
    "com.",
    "example.com.",
    "www.example.com.",
    "alias.example.com.",
    "out.example.com.",
    "a.wild.example.com.",
    "here.wild.example.com.",
    "a.wildc.example.com.",
    "a.moved.example.com.",
    "ent.example.com.",
    "gone.example.com.",
    "a.gone.example.com.",
    "insecure.example.com.",
    "www.insecure.example.com.",
    "hashed.com.",
    "www.hashed.com.",
    "gone.hashed.com.",
    "a.wild.hashed.com.",
    "optout.com.",
    "www.plain.optout.com.",
    "gone.optout.com.",
    "www.forward.com.",
    "gone.",
];
const TYPES: [Rtype; 8] =
    [Rtype::A, Rtype::AAAA, Rtype::TXT, Rtype::DS, Rtype::DNSKEY, Rtype::NS, Rtype::CNAME, Rtype::SOA];

/// What is drawn from; when it has ended all is 0, and with 0 everybody behaves.
struct Input<'a>(std::slice::Iter<'a, u8>);

impl Input<'_> {
    fn octet(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// Below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        usize::from(self.octet()) % sides.max(1)
    }

    /// Once in so many times, never at the end.
    fn rarely(&mut self, sides: u8) -> bool {
        self.octet() % sides == sides - 1
    }
}

fn world() -> Internet {
    let example = "www.example.com. A 192.0.2.80
        alias.example.com. CNAME www.example.com.
        out.example.com. CNAME www.hashed.com.
        *.wild.example.com. A 192.0.2.81
        here.wild.example.com. A 192.0.2.82
        *.wildc.example.com. CNAME www.example.com.
        moved.example.com. DNAME hashed.com.
        x.ent.example.com. TXT deep";
    let hashed = "www.hashed.com. A 192.0.2.83\n*.wild.hashed.com. A 192.0.2.84\na.hashed.com. TXT moved";
    let cut = |zone: &str, n: u8| format!("{zone} NS ns.{zone}\nns.{zone} A 192.0.2.{n}");
    let both = |zone: &str, n: u8, more: &str| format!("{}\n{more}", cut(zone, n));
    let insecure = cut("insecure.example.com.", 4);
    let plain = cut("plain.optout.com.", 6);
    let mut world = signed_internet();
    for (zone, n) in [("example.com.", 1), ("hashed.com.", 2), ("optout.com.", 3), ("forward.com.", 7)] {
        world = world.more("com.", &cut(zone, n));
    }
    world
        .zone("example.com.", "192.0.2.1", &both("example.com.", 1, &format!("{example}\n{insecure}")))
        .signed("example.com.", "")
        .zone("hashed.com.", "192.0.2.2", &both("hashed.com.", 2, hashed))
        .signed("hashed.com.", "nsec3 salt=ab iterations=1")
        .zone("optout.com.", "192.0.2.3", &both("optout.com.", 3, &format!("www.optout.com. A 192.0.2.85\n{plain}")))
        .signed("optout.com.", "nsec3 optout csk")
        .zone(
            "insecure.example.com.",
            "192.0.2.4",
            &both("insecure.example.com.", 4, "www.insecure.example.com. A 192.0.2.86"),
        )
        .zone("plain.optout.com.", "192.0.2.6", &both("plain.optout.com.", 6, "www.plain.optout.com. A 192.0.2.87"))
        .zone("forward.com.", "192.0.2.7", &both("forward.com.", 7, "www.forward.com. A 192.0.2.88"))
        .signed("forward.com.", "")
        .forwarder("192.0.2.53")
}

thread_local! {
    /// Signed once; it never changes.
    static WORLD: (Rc<RefCell<Internet>>, Trust) = {
        let mut world = world();
        let trust = world.seal().expect("the root is signed");
        (Rc::new(RefCell::new(world)), trust)
    };
}

/// Plays the conversation that the input tells.
pub fn conversation(data: &[u8]) {
    WORLD.with(|(world, trust)| play(data, world, trust));
}

fn play(data: &[u8], world: &Rc<RefCell<Internet>>, trust: &Trust) {
    // Options and steps from the one end, what servers do from the other, so that a change of either leaves the other alone.
    let (steps, servers) = data.split_at(data.len().min(16 + data.len() / 4));
    let mut steps = Input(steps.iter());
    let limits = Limits {
        client_deadline_ms: if steps.rarely(3) { 0 } else { 1_900 },
        serve_expired: steps.rarely(4),
        serve_expired_client_timeout_ms: if steps.rarely(2) { 0 } else { 1_800 },
        caps_for_id: steps.rarely(6),
        upstream_racing: steps.rarely(6),
        ..Limits::default()
    };
    let validates = !steps.rarely(8);
    // One reply of so many is not what it should be.
    let one_of = [1, 2, 6, 20][steps.roll(4)];
    let forwards = configured(&mut steps, validates.then_some(trust));
    let honest = servers.iter().all(|octet| *octet == 0);
    let servers: Rc<[u8]> = servers.into();
    let (mut at, said) = (0, Rc::clone(world));
    let upstream = move |asked: &Asked| {
        let mut input = Input(servers.get(at..).unwrap_or_default().iter());
        let fates = fates(asked, &said, one_of, &mut input);
        at = servers.len() - input.0.len();
        fates
    };
    let mut net = FakeNet::with(limits, forwards, upstream);
    let mut clients: Vec<(u64, Question, u64)> = Vec::new();
    let mut stood_still = false;
    for client in 0..MAX_STEPS as u64 {
        if steps.0.len() == 0 {
            break;
        }
        let qtype = TYPES[steps.roll(TYPES.len())];
        let mut q = question(NAMES[steps.roll(NAMES.len())], qtype);
        let how = steps.octet();
        (q.cd, q.patient, q.rd) = (how & 3 == 3, how & 4 == 0, how & 0x78 != 0x78);
        clients.push((client, q.clone(), net.now));
        net.ask_as(client, q);
        match steps.octet() {
            0..=127 => net.run(),
            step @ 128..=199 => net.run_until(net.now + u64::from(step - 128) * 7),
            // Nobody asks for a while.
            step @ 200..=239 => {
                net.run();
                net.now += u64::from(step - 200) * 300_000;
            }
            // The machine stands still.
            step => {
                stood_still = true;
                net.now += u64::from(step - 239) * 100_000;
                net.mesh.wake(net.now);
                net.perform();
            }
        }
    }
    net.run();
    let packets = net.sent.len();
    assert!(packets <= clients.len() * PACKETS, "{packets} packets for {} questions", clients.len());
    for (client, q, since) in &clients {
        let told = net.the_answer(*client);
        assert!(stood_still || told.at <= since + TOLD_WITHIN, "{} {} after {} ms", q.name, q.qtype, told.at - since);
        assert!(!(honest && q.rd) || stood_still || told.answer.rcode != Rcode::SERVFAIL, "{q:?}: {:?}", told.why);
        if validates {
            judge(q, &told, &world.borrow(), honest && !stood_still);
        }
    }
}

/// The configuration that the input wants.
fn configured(input: &mut Input<'_>, trust: Option<&Trust>) -> Forwards {
    let mut recursion = Recursion::default();
    (recursion.fetch_policy, recursion.ip6) = (if input.rarely(2) { vec![3, 2, 1, 0, 0] } else { vec![0; 5] }, false);
    recursion.stub(stub(".", "198.51.100.1"));
    recursion.minimise = [Minimise::Off, Minimise::Relaxed, Minimise::Strict][input.roll(3)];
    recursion.harden_referral_path = input.rarely(6);
    let mut builder = Forwards::builder();
    builder.recursion(recursion);
    if let Some(trust) = trust {
        let mut trust = trust.clone();
        trust.aggressive_nsec = !input.rarely(3);
        trust.prefetch_key = input.rarely(3);
        builder.trust(trust);
    }
    let zones: &[(&str, &[u8])] = match input.roll(4) {
        1 => &[("forward.com.", &[53]), ("example.com.", &[53])],
        2 => &[(".", &[53, 54])],
        _ => &[],
    };
    for (at, servers) in zones {
        builder.zone(zone(at, servers));
    }
    builder.build()
}

/// What becomes of a packet.
fn fates(asked: &Asked, world: &Rc<RefCell<Internet>>, one_of: usize, input: &mut Input<'_>) -> Vec<(u64, Fate)> {
    let truth = |asked: &Asked| -> Option<Vec<u8>> {
        world.borrow_mut().answer(asked).into_iter().find_map(|(_, fate)| match fate {
            Fate::Bytes(bytes) => Some(bytes),
            Fate::Fails(_) => None,
        })
    };
    let Some(mut bytes) = truth(asked) else { return vec![] };
    let kind = if input.roll(one_of) > 0 { 0 } else { input.octet() };
    let after = 1 + u64::from(if kind & 0x80 == 0 { 9 } else { input.octet() }) * 8;
    match kind & 0x1f {
        1 => return vec![],
        2 => {
            return vec![(
                after,
                Fate::Fails(
                    [ErrorKind::ConnectionRefused, ErrorKind::InvalidData, ErrorKind::NetworkUnreachable]
                        [input.roll(3)],
                ),
            )];
        }
        3 => {
            bytes = asked.reply(
                [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NXDOMAIN, Rcode::FORMERR, Rcode::NOERROR, Rcode::NOTIMP]
                    [input.roll(6)],
                vec![],
                vec![],
            )
        }
        4 if asked.over == Transport::Udp => bytes[2] |= 0x02,
        // Octets changed, cut off, or added.
        5..=7 => {
            for _ in 0..=input.roll(8) {
                let at = (usize::from(input.octet()) << 8 | usize::from(input.octet())) % bytes.len();
                // Header and question stay more often than not: what does not fit the question is passed over.
                let at = if at < 12 + asked.name().len() && input.octet() < 200 { bytes.len() - 1 - at } else { at };
                bytes[at] ^= input.octet().max(1);
            }
        }
        8 => bytes.truncate((usize::from(input.octet()) << 8 | usize::from(input.octet())) % (bytes.len() + 1)),
        9 => bytes.extend((0..input.roll(40)).map(|n| n as u8)),
        // What the world says to another question, or signed sets under other names.
        10..=14 => bytes = told_wrongly(asked, world, input),
        // Twice, the second one late.
        15 => return vec![(after, Fate::Bytes(bytes.clone())), (after + 900, Fate::Bytes(bytes))],
        // A guess with a wrong id, then the truth.
        16 => {
            let mut guess = asked.reply(Rcode::NXDOMAIN, vec![], vec![]);
            guess[0] ^= 1;
            return vec![(after, Fate::Bytes(guess)), (after + 5, Fate::Bytes(bytes))];
        }
        _ => {}
    }
    vec![(after, Fate::Bytes(bytes))]
}

/// A reply made of true pieces in the wrong places.
fn told_wrongly(asked: &Asked, world: &Rc<RefCell<Internet>>, input: &mut Input<'_>) -> Vec<u8> {
    let world = world.borrow();
    let mut said = Answer { aa: !input.rarely(3), ..Answer::new([Rcode::NOERROR, Rcode::NXDOMAIN][input.roll(2)]) };
    for _ in 0..=input.roll(4) {
        let other = world.recurse(name(NAMES[input.roll(NAMES.len())]).as_ref(), TYPES[input.roll(TYPES.len())]);
        let pieces: Vec<Rrset> = other.answer.into_iter().chain(other.authority).collect();
        for mut set in pieces {
            let how = input.octet();
            if how & 3 == 1 {
                set.make_mut().owner = asked.query.qname.as_ref().to_name();
            }
            if how & 0x0c == 4 {
                set = set.with_sigs(wire::RdataSet::new());
            }
            match how >> 4 {
                0..=5 => said.answer.push(set),
                6..=12 => said.authority.push(set),
                13 => said.additional.push(set),
                _ => {}
            }
        }
    }
    if input.rarely(3) {
        said.answer.push(crate::net::a(&asked.name(), 300, 66));
    }
    asked.render(&said)
}

/// Whether what a client was told may be told. The world does not change, so that there is one truth, and of honest servers
/// it is proven.
fn judge(q: &Question, told: &Told, world: &Internet, honest: bool) {
    if told.answer.rcode == Rcode::SERVFAIL || q.qclass != Class::IN {
        assert!(!told.answer.ad, "a failure is not authentic: {told:?}");
        return;
    }
    let moved = q.qtype == Rtype::CNAME && q.name.as_ref().is_subdomain_of(name("moved.example.com.").as_ref());
    if moved {
        return; // an alias that the world does not write down, but lets the resolver make
    }
    let truth = world.recurse(q.name.as_ref(), q.qtype);
    let insecure = |set: &Rrset| {
        let below = |zone: &str| set.owner.as_ref().is_subdomain_of(name(zone).as_ref());
        below("insecure.example.com.") || below("plain.optout.com.") || below("optout.com.")
    };
    let at = |zone: &str| q.name.as_ref().is_subdomain_of(name(zone).as_ref());
    if !q.rd {
        return; // who wants no recursion may be told the closest name servers
    }
    let checked = !(q.cd || at("insecure.example.com.") || at("optout.com."));
    if !told.answer.ad && !checked {
        return;
    }
    assert!(told.answer.ad || !honest, "{q:?} is not authentic");
    assert_eq!(
        told.answer.rcode,
        truth.rcode,
        "{q:?}: {:?} {:?}",
        crate::net::shown(&told.answer.answer),
        crate::net::shown(&told.answer.authority)
    );
    let facts = |answer: &Answer| {
        let mut facts: Vec<(String, Rtype, Vec<Vec<u8>>)> = Vec::new();
        for set in answer.answer.iter().filter(|set| !insecure(set)) {
            let mut rdata: Vec<Vec<u8>> =
                set.rdata.iter().map(|rdata| canonical_rdata(set.rtype, rdata).into_owned()).collect();
            rdata.sort();
            facts.push((set.owner.to_string().to_lowercase(), set.rtype, rdata));
        }
        facts.retain(|(_, rtype, _)| *rtype == q.qtype);
        facts
    };
    assert_eq!(
        facts(&told.answer),
        facts(&truth),
        "{q:?}: {:?} {:?}",
        crate::net::shown(&told.answer.answer),
        crate::net::shown(&told.answer.authority)
    );
}
