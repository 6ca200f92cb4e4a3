//! Conversations with servers that lie about signed zones: random ones, and those that the fuzz target began with or found.

use proptest::prelude::*;

use crate::conversation_checks::conversation;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_servers_say_of_signed_zones_nobody_is_told_a_lie(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        conversation(&data);
    }
}

#[test]
fn conversation_seeds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/conversation");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect(folder).map(|file| file.expect(folder).path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the seeds are in {folder}");
    for file in files {
        println!("{}", file.display());
        conversation(&std::fs::read(&file).expect("a readable seed"));
    }
}
