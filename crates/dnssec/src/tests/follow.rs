//! Trust anchors that follow a zone's keys (RFC 5011), and Unbound's file of them.

use super::*;
use crate::autotrust::{ADD_HOLDDOWN_S, Change, State, Timers};

const DAY: u64 = 86_400;

fn key(seed: u8) -> Key {
    Key::new("test", seed, 257)
}

/// The same key with the REVOKE bit.
fn revoked(seed: u8) -> Key {
    Key::new("test", seed, 257 | 0x80)
}

fn states(auto: &Autotrust) -> Vec<(u16, State)> {
    auto.keys.iter().map(|known| (key_tag(&known.rdata), known.state)).collect()
}

/// A probe that finds these keys, signed by those.
fn probe(auto: &mut Autotrust, keys: &[&Key], by: &[&Key], now: u64) -> autotrust::Probe {
    let date = u32::try_from(now).unwrap();
    let set = by.iter().fold(dnskeys(keys), |set, key| {
        key.sign_as(set, |fields| {
            fields.inception = date - 1000;
            fields.expiration = date + 1_000_000;
        })
    });
    auto.probe(Some(&set), &Timers::default(), &Rules::default(), now, &mut Budget::default())
}

fn begin(key: &Key) -> Autotrust {
    Autotrust::new(&Anchor { owner: name("test"), ds: RdataSet::one(&key.ds()), dnskey: RdataSet::new() })
}

#[test]
fn rfc5011_a_new_key_is_trusted_after_30_days_and_not_before() {
    let (old, new) = (key(1), key(2));
    let mut auto = begin(&old);
    let first = probe(&mut auto, &[&old], &[&old], NOW);
    assert_eq!(first.changes, [Change { tag: old.tag(), from: None, to: Some(State::Valid) }]);
    assert!(auto.ds.is_empty(), "the key itself is known now");
    probe(&mut auto, &[&old, &new], &[&old], NOW + DAY);
    assert_eq!(states(&auto), [(new.tag(), State::AddPend), (old.tag(), State::Valid)]);
    probe(&mut auto, &[&old, &new], &[&old], NOW + DAY + ADD_HOLDDOWN_S - 1);
    assert_eq!(states(&auto)[0].1, State::AddPend);
    // A set signed by the pending key alone is not believed.
    let early = probe(&mut auto, &[&old, &new], &[&new], NOW + DAY + ADD_HOLDDOWN_S - 1);
    assert!(matches!(early.keys, Keys::Bogus(_)) && auto.failed == 1 && early.changes.is_empty());
    let there = probe(&mut auto, &[&old, &new], &[&old], NOW + DAY + ADD_HOLDDOWN_S);
    assert_eq!(there.changes, [Change { tag: new.tag(), from: Some(State::AddPend), to: Some(State::Valid) }]);
    assert!(matches!(probe(&mut auto, &[&new], &[&new], NOW + 40 * DAY).keys, Keys::Secure(_)));
    assert_eq!(states(&auto), [(new.tag(), State::Valid), (old.tag(), State::Missing)]);
    assert!(probe(&mut auto, &[&old, &new], &[&old], NOW + 41 * DAY).changes.len() == 1, "seen again");
}

#[test]
fn rfc5011_a_key_that_is_gone_before_its_time_starts_again() {
    let (old, new) = (key(1), key(2));
    let mut auto = begin(&old);
    probe(&mut auto, &[&old, &new], &[&old], NOW);
    let gone = probe(&mut auto, &[&old], &[&old], NOW + 29 * DAY);
    assert_eq!(gone.changes, [Change { tag: new.tag(), from: Some(State::AddPend), to: None }]);
    probe(&mut auto, &[&old, &new], &[&old], NOW + 30 * DAY);
    probe(&mut auto, &[&old, &new], &[&old], NOW + 31 * DAY);
    assert_eq!(states(&auto)[0].1, State::AddPend);
}

#[test]
fn rfc5011_a_key_seen_once_long_ago_is_not_trusted() {
    let (old, new) = (key(1), key(2));
    let mut auto = begin(&old);
    probe(&mut auto, &[&old, &new], &[&old], NOW);
    assert_eq!(auto.keys[0].count, 1);
    let after = probe(&mut auto, &[&old, &new], &[&old], NOW + 300 * DAY);
    assert_eq!(after.changes.len(), 1, "seen twice, and the time is over");
}

#[test]
fn a_key_is_seen_twice_at_least_whatever_the_timer() {
    let (old, new) = (key(1), key(2));
    let mut auto = begin(&old);
    let timers = Timers { add_holddown_s: 0, small: true, ..Timers::default() };
    for state in [State::AddPend, State::Valid] {
        let set = old.sign(dnskeys(&[&old, &new]));
        auto.probe(Some(&set), &timers, &Rules::default(), NOW, &mut Budget::default());
        assert_eq!(states(&auto)[0].1, state);
    }
}

#[test]
fn rfc5011_2_1_a_key_revokes_itself_and_only_itself() {
    let (old, new) = (key(1), key(2));
    let mut auto = Autotrust::new(&Anchor {
        owner: name("test"),
        ds: RdataSet::new(),
        dnskey: [&old.rdata[..], &new.rdata[..]].into_iter().collect(),
    });
    // The bit without the key's own signature is nobody's word.
    let gone = revoked(1);
    probe(&mut auto, &[&gone, &new], &[&new], NOW);
    assert_eq!(states(&auto), [(old.tag(), State::Missing), (new.tag(), State::Valid)]);
    let done = probe(&mut auto, &[&gone, &new], &[&gone, &new], NOW + DAY);
    assert_eq!(done.changes, [Change { tag: gone.tag(), from: Some(State::Missing), to: Some(State::Revoked) }]);
    assert_eq!(auto.anchor().unwrap().dnskey.len(), 1);
    // Its return without the bit changes nothing.
    probe(&mut auto, &[&old, &new], &[&old, &new], NOW + 2 * DAY);
    assert_eq!(states(&auto), [(gone.tag(), State::Revoked), (new.tag(), State::Valid)]);
    probe(&mut auto, &[&new], &[&new], NOW + 31 * DAY);
    assert_eq!(states(&auto), [(new.tag(), State::Valid)]);
}

#[test]
fn rfc5011_5_when_all_keys_are_revoked_there_is_no_anchor() {
    let (old, gone) = (key(1), revoked(1));
    let mut auto = Autotrust::new(&old.anchor());
    let end = probe(&mut auto, &[&gone], &[&gone], NOW);
    assert!(matches!(end.keys, Keys::Insecure(Reason::KeyRevoked)) && auto.revoked && auto.anchor().is_none());
    let text = auto.to_text();
    assert!(text.contains("\n;;REVOKED\n"));
    let again = Autotrust::parse(&text).unwrap();
    assert!(again.revoked && again.anchor().is_none());
}

#[test]
fn keep_missing_forgets_keys_after_a_year() {
    let (old, new) = (key(1), key(2));
    let both = Anchor {
        owner: name("test"),
        ds: RdataSet::new(),
        dnskey: [&old.rdata[..], &new.rdata[..]].into_iter().collect(),
    };
    let mut auto = Autotrust::new(&both);
    probe(&mut auto, &[&new], &[&new], NOW);
    probe(&mut auto, &[&new], &[&new], NOW + 365 * DAY);
    assert_eq!(auto.keys.len(), 2);
    probe(&mut auto, &[&new], &[&new], NOW + 366 * DAY);
    assert_eq!(states(&auto), [(new.tag(), State::Valid)]);
    // A set without any trusted key makes nothing missing.
    assert!(matches!(probe(&mut auto, &[&old], &[&old], NOW + 400 * DAY).keys, Keys::Bogus(_)));
    assert_eq!(states(&auto), [(new.tag(), State::Valid)]);
}

#[test]
fn a_zone_that_rolled_on_while_the_machine_slept_is_not_lost() {
    let (old, new) = (key(1), key(2));
    let seen = |times: u64| {
        let mut auto = begin(&old);
        (0..times).for_each(|nth| _ = probe(&mut auto, &[&old, &new], &[&old], NOW + nth * DAY));
        auto
    };
    let mut auto = seen(2);
    assert!(matches!(probe(&mut auto, &[&new], &[&new], NOW + 31 * DAY).keys, Keys::Secure(_)));
    assert_eq!(states(&auto), [(new.tag(), State::Valid), (old.tag(), State::Missing)]);
    // Whoever was seen once, or by nobody, is still nobody.
    let mut auto = seen(1);
    assert!(matches!(probe(&mut auto, &[&new], &[&new], NOW + 31 * DAY).keys, Keys::Bogus(_)));
    let mut auto = seen(2);
    assert!(matches!(probe(&mut auto, &[&key(3)], &[&key(3)], NOW + 31 * DAY).keys, Keys::Bogus(_)));
}

#[test]
fn keep_missing_never_forgets_the_last_keys() {
    let (old, zsk) = (key(1), Key::new("test", 9, 256));
    let mut auto = begin(&old);
    probe(&mut auto, &[&old], &[&old], NOW);
    // The zone shows the key no more, and goes on to sign with it.
    for day in [1, 400, 800] {
        assert!(matches!(probe(&mut auto, &[&zsk], &[&old], NOW + day * DAY).keys, Keys::Secure(_)));
        assert_eq!(states(&auto), [(old.tag(), State::Missing)]);
    }
    probe(&mut auto, &[&old], &[&old], NOW + 801 * DAY);
    assert_eq!(states(&auto), [(old.tag(), State::Valid)]);
}

#[test]
fn a_file_made_of_all_keys_of_a_zone_follows_those_that_rolls_are_announced_for() {
    let (old, zsk) = (key(1), Key::new("test", 9, 256));
    let line = |key: &Key| format!("test. IN DNSKEY {}\n", wire::rdata_to_text(Rtype::DNSKEY, &key.rdata));
    let mut auto = Autotrust::parse(&format!("{}{}", line(&old), line(&zsk))).unwrap();
    assert_eq!(auto.anchor().unwrap().dnskey.len(), 1);
    probe(&mut auto, &[&old], &[&old], NOW);
    let text = auto.to_text();
    assert!(text.contains("(ksk)") && !text.contains("(zsk)"), "{text}");
    assert!(text.contains(&format!(";;lastchange={NOW} ")), "what has no date has that of the first probe");
}

#[test]
fn rfc5011_5_a_zone_all_of_whose_keys_are_revoked_is_probed_no_more() {
    let old = key(1);
    let mut auto = begin(&old);
    probe(&mut auto, &[&old], &[&old], NOW);
    let gone = revoked(1);
    probe(&mut auto, &[&gone], &[&gone], NOW + DAY);
    assert!(auto.revoked && auto.anchor().is_none());
    assert_eq!((auto.next_probe, auto.failed, auto.last_success), (0, 0, NOW + DAY));
    assert!(auto.to_text().contains(";;REVOKED\n; The zone has all keys revoked, and is\n"));
}

#[test]
fn rfc5011_2_3_probe_times() {
    let old = key(1);
    let mut auto = begin(&old);
    assert_eq!(auto.next_probe, 0);
    probe(&mut auto, &[&old], &[&old], NOW);
    // TTL 3600: half of it is below an hour.
    assert_eq!((auto.query_interval, auto.retry_time, auto.next_probe), (3600, 3600, NOW + 3600));
    auto.probe(None, &Timers::default(), &Rules::default(), NOW + 3600, &mut Budget::default());
    assert_eq!((auto.failed, auto.next_probe, auto.last_success), (1, NOW + 7200, NOW));
}

/// Written by Unbound 1.17.1 after a probe of a zone with a new key.
const UNBOUND: &str = "\
; autotrust trust anchor file
;;id: . 1
;;last_queried: 1795443603 ;;Mon Nov 23 14:20:03 2026
;;last_success: 1795443603 ;;Mon Nov 23 14:20:03 2026
;;next_probe_time: 1795486357 ;;Tue Nov 24 02:12:37 2026
;;query_failed: 0
;;query_interval: 43200
;;retry_time: 8640
.\t86400\tIN\tDNSKEY\t257 3 13 6rx9ehiTUB1gQXDgzYESaUsqHEez2iJMFOwGMRR6sJ6nRuqzbwQZt0Y5dRMh4VUi6eBX6jwEJhJZHETdtB+kUQ== ;{id = 35619 (ksk), size = 256b} ;;state=1 [ ADDPEND ] ;;count=1 ;;lastchange=1795443603 ;;Mon Nov 23 14:20:03 2026
.\t86400\tIN\tDNSKEY\t257 3 13 D1O2pDWrkId91drh7FSptNj/v3k+DG+oAoz8eijl+TVE/WyJ5lErth2+DCS7AbYHxMu5c1ylE3NcFjV+byPfpQ== ;{id = 4986 (ksk), size = 256b} ;;state=2 [  VALID  ] ;;count=0 ;;lastchange=1795443603 ;;Mon Nov 23 14:20:03 2026
";

#[test]
fn unbounds_file_is_read_and_written_to_the_octet() {
    let auto = Autotrust::parse(UNBOUND).unwrap();
    assert_eq!(states(&auto), [(4986, State::Valid), (35619, State::AddPend)]);
    assert_eq!((auto.query_interval, auto.next_probe, auto.keys[1].count), (43_200, 1_795_486_357, 1));
    assert_eq!(auto.anchor().unwrap().dnskey.len(), 1);
    // As in Unbound, every reading turns the order round.
    assert_eq!(Autotrust::parse(&auto.to_text()).unwrap().to_text(), UNBOUND);
}

#[test]
fn a_file_with_records_only_is_what_an_operator_begins_with() {
    let auto = Autotrust::parse(anchor::ROOT_ANCHORS).unwrap();
    assert_eq!((auto.ds.len(), auto.keys.len(), auto.anchor().unwrap().ds.len()), (2, 0, 2));
    assert_eq!(Autotrust::parse(&auto.to_text()).unwrap(), auto);
    let auto = Autotrust::parse(". IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4= ; note\n").unwrap();
    assert_eq!(states(&auto), [(3613, State::Valid)]);
    for (bad, line) in
        [("", 1), (". DS x", 1), ("\na. DS 1 8 2 AB\nb. DS 1 8 2 AB", 3), (";;last_queried: x", 1), (". A 1.2.3.4", 1)]
    {
        assert_eq!(Autotrust::parse(bad).unwrap_err().line, line, "{bad}");
    }
}
