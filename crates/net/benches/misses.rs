//! What a question costs that the cache cannot answer: a mesh, one forwarder, and a reply to each packet.
//!
//! Made to be counted, not timed: `valgrind --tool=callgrind target/release/deps/misses-… N` for
//! two N, and the difference of the instructions divided by that of the N. With `explained` behind the number each question
//! carries a trace.

use std::sync::Arc;

use resolve::{ClientId, Effect, ForwardZone, Forwards, Limits, Mesh, Question, Server, Trace};
use store::{Sizes, Store};
use wire::{Class, Name, Rtype};

/// The answer section of each reply: the name of the question, A, IN, 300 s, 192.0.2.1.
const ANSWER: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1];
/// Octets of the OPT record at the end of a query.
const OPT: usize = 11;

fn main() {
    let questions = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(10_000);
    let explained = std::env::args().any(|arg| arg == "explained");
    let mut builder = Forwards::builder();
    builder.zone(ForwardZone {
        name: Name::root(),
        servers: vec![Server { addr: "192.0.2.53:53".parse().expect("an address"), tls_name: None }],
        tcp_only: false,
        no_cache: false,
        first: false,
    });
    let forwards = Arc::new(builder.build());
    let store = Arc::new(Store::new(Sizes { messages: 4 << 20, rrsets: 4 << 20 }));
    let mut mesh = Mesh::new(Limits::default(), [7; 32], store, Arc::default());
    for nth in 0..questions {
        let now = 1_000_000 + nth;
        let name = Name::from_text(&format!("n{nth}.example.")).expect("a name");
        let question = Question { name, qtype: Rtype::A, qclass: Class::IN, cd: false, rd: true, patient: false };
        if explained {
            let trace = Arc::new(Trace::new(now));
            mesh.explain(now, &forwards, question, ClientId(nth), None, trace);
        } else {
            mesh.query(now, &forwards, question, ClientId(nth), None);
        }
        let effects: Vec<Effect> = mesh.effects().collect();
        for effect in effects {
            let Effect::Send { id, over, mut packet, .. } = effect else { continue };
            packet[2] |= 0x80;
            packet[7] = 1;
            let opt = packet.split_off(packet.len() - OPT);
            packet.extend(ANSWER.iter().chain(&opt));
            assert!(mesh.reply(now, id, &packet, over), "the reply is taken");
        }
        assert!(mesh.effects().any(|effect| matches!(effect, Effect::Answer { .. })), "the client is told");
    }
}
