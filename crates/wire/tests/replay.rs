//! Replays the seeds of the fuzz targets, and every finding added to them, through the same checks on stable Rust.

#[allow(unreachable_pub)] // public for the fuzz targets, which are another crate
#[path = "../../../fuzz/src/wire_checks.rs"]
mod wire_checks;

/// Runs `check` on every file in the seed folder of `target`, and on every beginning of the first 300 octets of it.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect(&folder).map(|file| file.expect(&folder).path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no seeds");
    for file in files {
        let data = std::fs::read(&file).expect("a readable seed");
        println!("{}", file.display());
        check(&data);
        for end in 0..data.len().min(300) {
            check(&data[..end]);
        }
    }
}

#[test]
fn message_seeds() {
    replay("message", wire_checks::message);
}

#[test]
fn name_seeds() {
    replay("name", wire_checks::name);
}

#[test]
fn edns_seeds() {
    replay("edns", wire_checks::edns);
}

#[test]
fn record_seeds() {
    replay("record", wire_checks::record);
}
