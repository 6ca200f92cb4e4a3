//! `outgoing-range`: when the places for sockets to servers are few.

mod common;

use common::*;
use net::{Serve, Upstream as Outgoing};
use wire::Rcode;

#[test]
fn outgoing_range_a_silent_zone_keeps_no_places_from_another_nor_makes_its_servers_dead() {
    let silent = Upstream::start(|_, _| Act::Silence);
    let good = Upstream::constant([192, 0, 2, 9]);
    let upstream = Outgoing { range: 4, ..Setup::default().serve.upstream };
    let mut serve = Serve { upstream, discard_timeout_ms: 0, ..Setup::default().serve };
    serve.limits.client_deadline_ms = 0;
    let forwards = vec![("dead.", vec![silent.addr]), (".", vec![good.addr])];
    let r = Setup { serve, forwards, ..Setup::default() }.start();
    let waiting: Vec<Client> = (0..8)
        .map(|n| {
            let client = Client::new(r.addr);
            client.send(&a_query(n, &format!("n{n}.dead.")));
            client
        })
        .collect();
    eventually("they are asked", || silent.asked().len() >= 4);
    for n in 0..20 {
        let reply = Client::new(r.addr).ask(&a_query(n, &format!("n{n}.well.")));
        assert_eq!(reply.rcode, Rcode::NOERROR, "{n}");
    }
    let servers = r.pool.servers().unwrap();
    let health = servers.iter().find(|server| server.addr == good.addr).unwrap();
    assert_eq!((health.timeouts, health.answers), (0, 20), "it was never silent: it was not asked");
    drop(waiting);
}
