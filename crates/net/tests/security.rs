//! What clients are told of what is known of an answer's truth: AD, CD, and what was found to be bogus.
//!
//! What validation found is put into the cache directly; how it finds it out is tested in `resolve`.

mod common;

use common::*;
use net::Serve;
use store::Security;
use wire::types::flag;
use wire::{Ede, Rcode, Reply, Rtype};

const NAME: &str = "www.example.org.";
const OLD: [u8; 4] = [192, 0, 2, 1];
const NEW: [u8; 4] = [192, 0, 2, 9];

fn validating(upstream: &Upstream) -> Setup {
    let serve = Serve { ede: true, ..Setup::default().serve };
    Setup {
        serve,
        forwards: vec![(".", vec![upstream.addr])],
        trust: Some(resolve::Trust::default()),
        ..Setup::default()
    }
}

/// A question with these header bits, and EDNS with or without DO.
fn ask(client: &Client, flags: u16, edns: Option<bool>) -> Reply {
    let name = wire::Name::from_text(NAME).unwrap();
    let mut packet = vec![0; 512];
    let edns = edns.map(|do_bit| (1232, do_bit));
    let n = wire::question(&mut packet, 7, flag::RD | flags, name.as_ref(), Rtype::A, wire::Class::IN, edns);
    client.ask(&packet[..n])
}

fn told(reply: &Reply) -> (Rcode, bool, usize) {
    (reply.rcode, reply.flags & flag::AD != 0, reply.answer.len())
}

fn ede(reply: &Reply) -> Option<u16> {
    reply.edns.as_ref().and_then(|edns| edns.ede.first()).map(|(code, _)| *code)
}

#[test]
fn rfc6840_5_8_ad_is_told_to_who_can_take_it_whether_or_not_checking_is_disabled() {
    let upstream = Upstream::constant(NEW);
    let r = validating(&upstream).start();
    r.remember_as(Security::Secure, None, NAME, OLD, 60, 0);
    let client = Client::new(r.addr);
    // Twice each: out of the shared cache, then out of the worker's own.
    for _ in 0..2 {
        for cd in [0, flag::CD] {
            for (flags, edns, ad) in [
                (0, None, false),
                (0, Some(false), false),
                (0, Some(true), true),
                (flag::AD, None, true),
                (flag::AD, Some(false), true),
                (flag::AD, Some(true), true),
            ] {
                let reply = ask(&client, flags | cd, edns);
                assert_eq!(told(&reply), (Rcode::NOERROR, ad, 1), "{flags:#x} {cd:#x} {edns:?}");
                assert_eq!(reply.flags & flag::CD, cd);
            }
        }
    }
    // Each counts, as in Unbound also where the client is not told.
    assert_eq!((r.stat("num.answer.secure"), r.stat("num.answer.bogus")), (24, 0));
    assert!(r.stat("total.num.answers_hits") > 0);
    assert!(upstream.asked().is_empty());
}

#[test]
fn rfc4035_3_2_2_bogus_data_are_for_who_disabled_checking() {
    let upstream = Upstream::constant(NEW);
    let r = validating(&upstream).start();
    let why = Ede::new(Ede::SIGNATURE_EXPIRED, "no");
    r.remember_as(Security::Bogus, Some(why), NAME, OLD, 60, 0);
    let client = Client::new(r.addr);
    for _ in 0..2 {
        let checked = ask(&client, flag::AD, Some(true));
        assert_eq!((told(&checked), ede(&checked)), ((Rcode::SERVFAIL, false, 0), Some(Ede::SIGNATURE_EXPIRED)));
        let unchecked = ask(&client, flag::AD | flag::CD, Some(true));
        assert_eq!((told(&unchecked), addresses(&unchecked)[0]), ((Rcode::NOERROR, false, 1), OLD.into()));
    }
    assert_eq!((r.stat("num.answer.secure"), r.stat("num.answer.bogus")), (0, 2));
    assert!(upstream.asked().is_empty());
}

#[test]
fn a_bogus_answer_is_given_out_where_the_operator_says_so_and_cd_counts_only_where_he_does() {
    let upstream = Upstream::constant(NEW);
    let with = |permissive, ignore_cd| {
        let mut trust = resolve::Trust::default();
        (trust.permissive, trust.ignore_cd) = (permissive, ignore_cd);
        let r = Setup { trust: Some(trust), ..validating(&upstream) }.start();
        r.remember_as(Security::Bogus, None, NAME, OLD, 60, 0);
        let client = Client::new(r.addr);
        [0, flag::CD].map(|cd| ask(&client, cd, None).rcode)
    };
    assert_eq!(with(true, false), [Rcode::NOERROR; 2]);
    assert_eq!(with(false, true), [Rcode::SERVFAIL; 2]);
}

#[test]
fn what_nobody_checked_is_of_use_to_who_disabled_checking_alone() {
    let upstream = Upstream::constant(NEW);
    let r = validating(&upstream).start();
    r.remember_as(Security::Unchecked, None, NAME, OLD, 60, 0);
    let client = Client::new(r.addr);
    assert_eq!(addresses(&ask(&client, flag::CD, None))[0], std::net::IpAddr::from(OLD));
    assert!(upstream.asked().is_empty());
    let before = r.stat("total.num.cachemiss");
    assert_eq!(ask(&client, 0, None).rcode, Rcode::NOERROR);
    assert_eq!(r.stat("total.num.cachemiss"), before + 1);
}

#[test]
fn rfc8767_what_is_bogus_is_never_served_after_its_time() {
    let upstream = Upstream::constant(NEW);
    let limits =
        resolve::Limits { serve_expired: true, serve_expired_client_timeout_ms: 0, ..resolve::Limits::default() };
    for (security, address) in [(Security::Secure, OLD), (Security::Insecure, OLD), (Security::Bogus, NEW)] {
        let setup = validating(&upstream);
        let r = Setup { serve: Serve { limits, ..setup.serve.clone() }, ..setup }.start();
        r.remember_as(security, None, NAME, OLD, 60, 1_000);
        let reply = ask(&Client::new(r.addr), flag::AD, None);
        assert_eq!(addresses(&reply)[0], std::net::IpAddr::from(address), "{security:?}");
        assert_eq!(reply.flags & flag::AD != 0, security == Security::Secure, "{security:?}");
    }
}

#[test]
fn where_nothing_is_validated_answers_with_and_without_cd_are_kept_apart() {
    let upstream = Upstream::constant(NEW);
    let r = Setup { trust: None, ..validating(&upstream) }.start();
    r.remember(NAME, OLD, 60, 0);
    let client = Client::new(r.addr);
    assert_eq!(addresses(&ask(&client, 0, None))[0], std::net::IpAddr::from(OLD));
    assert_eq!(addresses(&ask(&client, flag::CD, None))[0], std::net::IpAddr::from(NEW));
}
