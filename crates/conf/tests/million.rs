//! A million `local-zone` lines: how fast they scan, and how little they cost.

use std::path::Path;
use std::time::Instant;

#[test]
fn a_million_local_zones_stay_ranges() {
    let mut text = b"server:\n".to_vec();
    for number in 0..1_000_000 {
        text.extend_from_slice(format!("  local-zone: \"name{number}.example.\" always_nxdomain\n").as_bytes());
    }
    let begin = Instant::now();
    let scan = conf::scan_text(text, "blocklist.conf", Path::new("/"));
    let took = begin.elapsed();
    println!("{took:?}");
    assert!(scan.messages.is_empty());
    assert!(scan.statements.is_empty());
    assert_eq!(scan.bulk.len(), 1_000_000);
    assert_eq!(size_of::<conf::Bulk>(), 32);
    let last = scan.bulk.last().unwrap();
    assert_eq!(last.at.line, 1_000_001);
    assert_eq!(scan.bulk_values(last), [&b"name999999.example."[..], b"always_nxdomain"]);
    // Far more than it takes even without optimisation; a quadratic step would blow it.
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_list_in_a_wrong_format_is_refused_quickly() {
    let mut text = b"server:\n".to_vec();
    for number in 0..200_000 {
        text.extend_from_slice(format!("0.0.0.0 name{number}.example\n").as_bytes());
    }
    let begin = Instant::now();
    let scan = conf::scan_text(text, "hosts", Path::new("/"));
    let took = begin.elapsed();
    assert_eq!(scan.messages.len(), conf::MAX_MESSAGES + 1);
    assert_eq!(scan.messages.last().unwrap().text, "199000 more messages are not shown");
    assert!(took.as_secs() < 10, "{took:?}");
}
