//! Replays the seeds of the fuzz target `validate`, and every finding added to them, through the same checks on stable
//! Rust.

#[allow(unreachable_pub)] // public for the fuzz targets, which are another crate
#[path = "../../../fuzz/src/dnssec_checks.rs"]
mod dnssec_checks;

#[test]
fn validate_seeds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/validate");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect(folder).map(|file| file.expect(folder).path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the seeds are in {folder}");
    for file in files {
        let data = std::fs::read(&file).expect("a readable seed");
        println!("{}", file.display());
        dnssec_checks::validate(&data);
        for end in (0..data.len()).step_by(31) {
            dnssec_checks::validate(&data[..end]);
        }
        // Octets all over it wrong, one at a time.
        for at in (0..data.len()).step_by(17) {
            let mut data = data.clone();
            data[at] ^= 0x41;
            dnssec_checks::validate(&data);
        }
    }
}
