//! The way of a query through `wire` does not touch the heap: parsed, answered or rejected.

use allocation_counter::measure;
use wire::{Answer, Ede, EdnsOut, Query, RdataSet, Render, Rrset};

#[test]
fn queries_are_parsed_rendered_and_rejected_without_the_heap() {
    let folder = format!("{}/../../fuzz/seeds/message", env!("CARGO_MANIFEST_DIR"));
    let record = |line: &str| {
        let r = wire::parse_record(line, 3600).expect(line);
        Rrset::new(r.owner, r.rtype, r.class, 3600, RdataSet::one(&r.rdata))
    };
    let answer = Answer {
        answer: vec![record("b.x.test. A 192.0.2.1"), record("b.x.test. MX 10 mail.x.test.")],
        authority: vec![record("x.test. SOA ns.x.test. host.x.test. 1 2 3 4 5")],
        additional: vec![record("mail.x.test. A 192.0.2.2")],
        ede: Some(Ede::new(Ede::OTHER, "text")),
        ..Answer::default()
    };
    let (mut answered, mut rejected) = (0, 0);
    for file in std::fs::read_dir(folder).expect("seeds") {
        let packet = std::fs::read(file.expect("a seed").path()).expect("a readable seed");
        let mut out = vec![0; 4096];
        let used = measure(|| match Query::parse(&packet) {
            Ok(q) => {
                let edns =
                    q.edns.map(|_| EdnsOut { udp_size: 1232, nsid: Some(b"n"), ede: true, ..EdnsOut::default() });
                for max_size in [512, 60] {
                    let how = Render { max_size, minimal: false, rotate: Some(1), age: 1, ra: true, edns };
                    wire::render(&q, &answer, &how, &mut out);
                }
                answered += 1;
            }
            Err(reject) => {
                wire::reject(&packet, &reject, &mut out);
                wire::refuse(&packet, true, 1232, &mut out);
                rejected += 1;
            }
        });
        assert_eq!(used.count_total, 0);
    }
    assert!(answered > 3 && rejected > 3);
}
