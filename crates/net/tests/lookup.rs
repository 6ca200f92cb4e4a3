//! Questions of the operator, from inside.

mod common;

use common::*;
use resolve::Question;
use std::time::Duration;
use wire::{Answer, Class, Name, Rcode, Rtype};

fn question(name: &str) -> Question {
    let name = Name::from_text(name).unwrap().lower();
    Question { name, qtype: Rtype::A, qclass: Class::IN, cd: false, rd: true, patient: true }
}

#[test]
fn a_lookup_is_resolved_and_then_remembered_and_no_client() {
    let upstream = Upstream::constant([192, 0, 2, 9]);
    let r = Setup { workers: 2, forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }.start();
    for cached in [false, true, true] {
        let looked = r.pool.lookup(question("WWW.example.org."), PATIENCE).unwrap().expect("an answer");
        assert_eq!((looked.answer.rcode, looked.cached, looked.stale), (Rcode::NOERROR, cached, false));
        assert_eq!(looked.answer.answer[0].rdata.first(), Some(&[192, 0, 2, 9][..]));
        assert_eq!(looked.why, None);
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!((r.stat("total.num.queries"), r.stat("total.num.cachemiss")), (0, 0));
    eventually("nobody waits", || r.stat("total.requestlist.current.clients") == 0);
}

#[test]
fn a_lookup_that_fails_tells_why() {
    let upstream = Upstream::start(|_, _| Act::Answer(Answer::new(Rcode::REFUSED)));
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }.start();
    let looked = r.pool.lookup(question("www.example.org."), PATIENCE).unwrap().expect("an answer");
    assert_eq!(looked.answer.rcode, Rcode::SERVFAIL);
    assert!(looked.answer.ede.is_some());
    assert!(looked.why.unwrap().contains("REFUSED"));
}

#[test]
fn a_lookup_that_takes_too_long_is_none_and_harms_nobody() {
    let upstream = Upstream::start(|_, _| Act::Silence);
    let r = Setup { forwards: vec![(".", vec![upstream.addr])], ..Setup::default() }.start();
    assert!(r.pool.lookup(question("www.example.org."), Duration::from_millis(20)).unwrap().is_none());
    let mut client = Client::new(r.addr);
    client.send(&a_query(1, "www.example.org."));
    eventually("both wait", || r.stat("total.requestlist.current.clients") == 2);
    client = Client::new(r.addr);
    assert_eq!(client.ask(&a_query(1, "nothing.invalid.")).rcode, Rcode::NXDOMAIN);
    r.pool.stop();
    assert!(r.pool.lookup(question("www.example.org."), PATIENCE).is_err());
}
