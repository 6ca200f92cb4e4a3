//! The checks on `conf`: no text may panic it or make it read without end, tokens lose nothing, places are real.
//!
//! Included by the fuzz target and, by path, by the replay test of the crate; it uses nothing but `conf`.

use std::path::{Path, PathBuf};

use conf::source::Memory;

/// What splits an input into the main file and one that it may include as `a`.
const SPLIT: &[u8] = b"\n%%\n";

/// Any text: scanned, with every place looked up again, and cut into tokens.
pub fn config(data: &[u8]) {
    let cut = data.windows(SPLIT.len()).position(|window| window == SPLIT);
    let (main, other) = match cut {
        Some(at) => (&data[..at], &data[at + SPLIT.len()..]),
        None => (data, &[][..]),
    };
    let mut memory = Memory::default();
    memory.files.insert(PathBuf::from("/c/unbound.conf"), main.to_vec());
    memory.files.insert(PathBuf::from("/c/a"), other.to_vec());
    let scan = conf::scan_in(&memory, Path::new("unbound.conf"), Path::new("/c")).expect("it is there");
    for statement in &scan.statements {
        let line = scan.line(statement.at.file, statement.at.line);
        let at = statement.at.column as usize - 1;
        assert!(line[at..].starts_with(statement.keyword.as_bytes()), "a place that is not the keyword's");
        assert!(!statement.values().is_empty());
        for value in statement.values() {
            assert!(!scan.value(value).contains(&0));
        }
    }
    for bulk in &scan.bulk {
        let line = scan.line(bulk.at.file, bulk.at.line);
        assert!(line[bulk.at.column as usize - 1..].starts_with(bulk.kind.as_str().as_bytes()));
        let _ = scan.bulk_values(bulk);
    }
    for message in &scan.messages {
        let line = scan.line(message.at.file, message.at.line);
        assert!(message.at.column as usize <= line.len() + 1, "a message behind its line");
    }
    assert!(scan.messages.len() <= conf::MAX_MESSAGES + 2);
    let length: usize = conf::lex::tokens(data).iter().map(|token| (token.end - token.start) as usize).sum();
    assert_eq!(length, data.len(), "an octet was lost");
}
