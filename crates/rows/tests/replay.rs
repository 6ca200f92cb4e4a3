//! Replays the seeds of the fuzz targets, and every finding added to them, through the same checks on stable Rust.

#[allow(unreachable_pub)] // public for the fuzz targets, which are another crate
#[path = "../../../fuzz/src/rows_checks.rs"]
mod rows_checks;

/// Runs `check` on every file in the seed folder of `target`, and on every beginning of it.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect(&folder).map(|file| file.expect(&folder).path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no seeds");
    for file in files {
        let data = std::fs::read(&file).expect("a readable seed");
        println!("{}", file.display());
        (0..=data.len()).for_each(|end| check(&data[..end]));
    }
}

#[test]
fn bulk() {
    replay("bulk", rows_checks::bulk);
}

#[test]
fn rows() {
    replay("rows", rows_checks::rows);
}
