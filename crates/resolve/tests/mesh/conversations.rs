//! Conversations with servers that lie about signed zones: random ones, and those that the fuzz target began with or found.

use proptest::prelude::*;

use crate::conversation_checks::conversation;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_servers_say_of_signed_zones_nobody_is_told_a_lie(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        conversation(&data);
    }

    /// The conversation's first quarter and a little more are its steps; servers do what the rest says, here nothing wrong.
    #[test]
    fn of_honest_servers_everybody_is_told_the_truth(mut steps in proptest::collection::vec(any::<u8>(), 20..120)) {
        steps.resize(4 * (steps.len() - 16), 0);
        conversation(&steps);
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
