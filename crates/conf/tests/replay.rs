//! Replays the seeds and findings of the fuzz target `config`, so that what was mended stays mended.

#[allow(unreachable_pub)] // public for the fuzz target, which is another crate
#[path = "../../../fuzz/src/conf_checks.rs"]
mod checks;

#[test]
fn every_seed_of_config() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/config");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let data = std::fs::read(path).unwrap();
        for end in 0..=data.len() {
            checks::config(&data[..end]);
        }
        count += 1;
    }
    assert!(count >= 15, "the seeds are in {folder}");
}
