//! The cache as text: what Unbound 1.17.1 wrote is read, what we write is read back, and nothing malformed gets in.

mod common;

use common::{Fill, answer_of, at, get, name};
use store::{Found, Loaded, Security, Sizes, Store, Trust};
use wire::{Class, Rcode, Rtype};

const UNBOUND: &str = include_str!("data/unbound-1.17.1.dump");
const NOW: u64 = 1_000_000_000;

fn empty() -> Store {
    Store::new(Sizes { messages: 1 << 20, rrsets: 1 << 20 })
}

fn dumped(store: &Store, now: u64) -> String {
    let mut out = String::new();
    let parts = (0..).take_while(|part| store.dump(*part, now, &mut out)).count();
    assert!(parts > 1);
    out
}

/// The sets and messages of a dump without regard to their order.
fn entries(dump: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in dump.lines() {
        match all.last_mut() {
            Some(last) if !line.starts_with(";rrset") && !line.starts_with("msg ") && !line.contains("_CACHE") => {
                last.push('\n');
                last.push_str(line);
            }
            _ => all.push(line.to_owned()),
        }
    }
    all.sort();
    all
}

fn shown(found: Option<Found>) -> String {
    answer_of(&found.expect("it is remembered").answer)
}

#[test]
fn a_dump_of_unbound_is_loaded() {
    let store = empty();
    let loaded = store.load(UNBOUND, NOW);
    // One set is expired, and a failure is not taken.
    assert_eq!(loaded, Loaded { rrsets: 17, messages: 14, refused: 3 });
    let of = |at: &str, qtype: Rtype| shown(get(&store, at, qtype, NOW));
    assert_eq!(of("a.tst.", Rtype::A), "NOERROR [a.tst. 300 A 192.0.2.1 192.0.2.2] [] []");
    assert_eq!(of("c.tst.", Rtype::A), "NOERROR [c.tst. 300 CNAME a.tst., a.tst. 300 A 192.0.2.1 192.0.2.2] [] []");
    assert_eq!(
        of("X.tst.", Rtype::MX),
        "NOERROR [x.tst. 200 MX 20 b.x.tst. 10 a.x.tst. +2] [] [b.x.tst. 300 A 192.0.2.2 +1]"
    );
    assert_eq!(
        of("nx.tst.", Rtype::A),
        "NXDOMAIN [] [tst. 77 SOA ns.tst. host.tst. 1 2 3 4 77, a.tst. 300 NSEC z.tst. A RRSIG NSEC, tst. 300 NSEC a.tst. NS SOA RRSIG NSEC] []"
    );
    assert_eq!(of("tst.", Rtype::SOA), "NOERROR [tst. 3000 SOA ns.tst. host.tst. 1 2 3 4 77] [] []");
    assert_eq!(of("t.tst.", Rtype::TXT), r#"NOERROR [t.tst. 300 TXT "a b;c" "d\"e\\f" "\001\255"] [] []"#);
    let known = store.rrset(name("b.x.tst.").as_ref(), Rtype::A, Class::IN, false, NOW).unwrap();
    assert_eq!((known.trust, known.security), (Trust::AdditionalAa, Security::Unchecked));
}

#[test]
fn what_is_written_is_what_unbound_wrote() {
    let store = empty();
    store.load(UNBOUND, NOW);
    // Unbound gives each record the TTL it came with, and comments a signature; an expired set and a failure are not kept.
    let theirs = UNBOUND
        .replace("\t300\tIN\tMX", "\t200\tIN\tMX")
        .replace("\t300\tIN\tRRSIG\tMX", "\t200\tIN\tRRSIG\tMX")
        .replace(" ;{id = 1}", "")
        .replace(";rrset 0 1 0 8 0\nx.d.tst.\t0\tIN\tCNAME\tx.e.tst.\n", "")
        .replace("msg fail.tst. IN A 32898 1 5 2 0 0 0\n", "");
    let (ours, theirs) = (entries(&dumped(&store, NOW)), entries(&theirs));
    assert!(ours.len() > 20);
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(our.to_lowercase(), their.to_lowercase());
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn a_dump_brings_everything_back_with_the_time_that_is_left() {
    let store = empty();
    let mut fill = Fill::new(&store, NOW);
    fill.put("www.example.", Rtype::A, "www.example. 300 A 192.0.2.1", 300);
    fill.put("al.example.", Rtype::A, "al.example. 100 CNAME www.example. | www.example. 300 A 192.0.2.1", 100);
    fill.put("al.example.", Rtype::CNAME, "al.example. 100 CNAME www.example.", 100);
    fill.put("q.d.example.", Rtype::A, "d.example. 100 DNAME e.example. | q.d.example. 0 CNAME q.e.example.", 100);
    fill.negative("no.example.", Rtype::A, Rcode::NXDOMAIN, "example. 60 SOA a. b. 1 2 3 4 60", 60);
    fill.cd = true;
    fill.put("cd.example.", Rtype::A, "cd.example. 300 A 192.0.2.1", 300);
    let text = dumped(&store, at(NOW, 40));
    let second = empty();
    let loaded = second.load(&text, at(NOW, 40));
    assert_eq!(loaded, Loaded { rrsets: 4, messages: 4, refused: 0 }, "{text}");
    for (name, qtype) in [
        ("www.example.", Rtype::A),
        ("al.example.", Rtype::A),
        ("al.example.", Rtype::CNAME),
        ("no.example.", Rtype::A),
    ] {
        assert_eq!(shown(get(&second, name, qtype, at(NOW, 50))), shown(get(&store, name, qtype, at(NOW, 50))));
        assert!(get(&second, name, qtype, at(NOW, 299)).is_some() == (name == "www.example."));
    }
    assert!(!text.contains("cd.example."), "what was not to be checked stays out of the text");
    assert!(get(&second, "q.d.example.", Rtype::A, at(NOW, 50)).is_none(), "the form knows no made links");
    assert_eq!(entries(&dumped(&second, at(NOW, 40))).len(), entries(&text).len());
}

#[test]
fn a_better_set_and_a_fresh_message_are_not_replaced_by_a_dump() {
    let store = empty();
    Fill::new(&store, NOW).put("a.tst.", Rtype::A, "a.tst. 500 A 192.0.2.99", 500);
    let loaded = store.load(
        ";rrset 300 1 0 5 0\na.tst.\t300\tIN\tA\t192.0.2.1\nmsg a.tst. IN A 33152 1 300 0 1 0 0\na.tst. IN A 0\n",
        NOW,
    );
    assert_eq!(loaded, Loaded { rrsets: 1, messages: 0, refused: 2 });
    assert_eq!(shown(get(&store, "a.tst.", Rtype::A, NOW)), "NOERROR [a.tst. 500 A 192.0.2.99] [] []");
}

#[test]
fn nothing_malformed_gets_in() {
    let good_set = ";rrset 300 1 0 8 0\nw.tst.\t300\tIN\tA\t192.0.2.1\n";
    for bad in [
        "rubbish",
        "\u{0}\u{1}é",
        ";rrset",
        ";rrset 300 1 0 8\na.tst.\t300\tIN\tA\t192.0.2.1",
        ";rrset 300 2 0 8 0\na.tst.\t300\tIN\tA\t192.0.2.1",
        ";rrset 300 1 1 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\na.tst.\t300\tIN\tA\t192.0.2.2",
        ";rrset 300 2 0 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\nb.tst.\t300\tIN\tA\t192.0.2.2",
        ";rrset 300 2 0 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\na.tst.\t300\tIN\tA\t192.0.2.1",
        ";rrset 300 2 0 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\na.tst.\t300\tCH\tA\t192.0.2.2",
        ";rrset 300 2 0 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\na.tst.\t300\tIN\tTXT\tx",
        ";rrset 300 1 1 8 0\na.tst.\t300\tIN\tA\t192.0.2.1\na.tst.\t300\tIN\tRRSIG\tTXT 13 2 300 20300101000000 20200101000000 1 x.tst. aaaa",
        ";rrset 300 1 0 13 0\na.tst.\t300\tIN\tA\t192.0.2.1",
        ";rrset 300 1 0 8 6\na.tst.\t300\tIN\tA\t192.0.2.1",
        ";rrset 0 1 0 8 0\na.tst.\t0\tIN\tA\t192.0.2.1",
        ";rrset -1 1 0 8 0\na.tst.\t0\tIN\tA\t192.0.2.1",
        ";rrset 2147483648 1 0 8 0\na.tst.\t0\tIN\tA\t192.0.2.1",
        ";rrset 300 1 0 8 0\na.tst.\t300\tIN\tA\t192.0.2",
        ";rrset 300 1 0 8 0\na.tst.\t300\tIN\tA",
        ";rrset 300 1 0 8 0\na.tst.\t300\tIN\tTYPE250\t\\# 1 00",
        ";rrset 300 1 0 8 0\na.tst.\t300\tIN\tTYPE41\t\\# 0",
        ";rrset 300 1 0 8 0\na.tst.\t300\tANY\tA\t192.0.2.1",
        ";rrset 300 0 0 8 0",
        ";rrset 300 18446744073709551615 1 8 0",
        "msg w.tst. IN A 33152 1 300 0 1 0 0",
        "msg w.tst. IN A 33152 1 300 0 1 0 0\nw.tst. IN A",
        "msg w.tst. IN A 33152 1 300 0 1 0 0\nunknown.tst. IN A 0",
        "msg other.tst. IN A 33152 1 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN AAAA 33152 1 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. CH A 33152 1 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN OPT 33152 1 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN A 33152 2 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN A 33152 1 0 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN A 33154 1 300 0 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN A 33152 1 300 9 1 0 0\nw.tst. IN A 0",
        "msg w.tst. IN A 33152 1 300 0 65535 65535 65535\nw.tst. IN A 0",
    ] {
        let store = empty();
        let loaded = store.load(&format!("START_RRSET_CACHE\n{good_set}END_RRSET_CACHE\n{bad}\n{good_set}EOF\n"), NOW);
        assert_eq!((loaded.rrsets, loaded.messages), (2, 0), "{bad}");
        assert_eq!(loaded.refused, bad.lines().count(), "{bad}");
        let usage = store.usage();
        assert_eq!((usage.rrsets.entries, usage.messages.entries), (1, 0), "{bad}");
    }
}

#[test]
fn no_message_is_more_certain_than_its_sets() {
    let store = empty();
    let text =
        ";rrset 300 1 0 8 0\nw.tst.\t300\tIN\tA\t192.0.2.1\nmsg w.tst. IN A 33184 1 300 5 1 0 0\nw.tst. IN A 0\n";
    assert_eq!(store.load(text, NOW).messages, 1);
    assert_eq!(get(&store, "w.tst.", Rtype::A, NOW).unwrap().security, Security::Unchecked);
}

#[test]
fn rfc4035_3_2_3_a_message_is_no_more_authentic_than_its_sets() {
    for (security, authentic) in [(5, true), (3, false), (0, false)] {
        let store = empty();
        let text = format!(
            "START_RRSET_CACHE\n;rrset 300 1 0 8 {security}\na.tst.\t300\tIN\tA\t192.0.2.1\nEND_RRSET_CACHE\n\
             START_MSG_CACHE\nmsg a.tst. IN A 33184 1 300 5 1 0 0\na.tst. IN A 0\nEND_MSG_CACHE\nEOF\n"
        );
        assert_eq!(store.load(&text, NOW), Loaded { rrsets: 1, messages: 1, refused: 0 });
        assert_eq!(get(&store, "a.tst.", Rtype::A, NOW).expect("it is remembered").answer.ad, authentic, "{security}");
    }
}

#[test]
fn a_dump_with_any_octet_changed_is_read_without_a_panic() {
    let octets = UNBOUND.as_bytes();
    let store = empty();
    for (n, at) in (0..octets.len()).enumerate() {
        for change in [b' ', b'\n', b'9', 0x7f, b'\\', b'"', b'(', b'-', b';'] {
            if (n + usize::from(change)) % 5 == 0 {
                let mut changed = octets.to_vec();
                changed[at] = change;
                store.load(&String::from_utf8_lossy(&changed), NOW);
            }
        }
    }
    dumped(&store, NOW);
}
