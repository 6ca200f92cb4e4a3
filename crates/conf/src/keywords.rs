//! The keywords of unbound.conf, read once from the options table that Python reads too.
//!
//! Owns: which words are keywords, how many values each takes, under which clauses it may stand. Must never hold a second
//! list: a keyword that is not in `python/runbound/config/options.tsv` does not exist.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The table, compiled in, so that the scanner needs no file at run time.
const TABLE: &str = include_str!("../../../python/runbound/config/options.tsv");

/// Options whose statements under `server:` stay in the scan as byte ranges, never as objects of their own.
pub const BULK: [&str; 3] = ["local-zone", "local-data", "local-data-ptr"];

/// One keyword of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// The word without its colon.
    pub name: &'static str,
    /// How many values follow it: 0 for a clause keyword, else 1 to 3.
    pub arity: u8,
    /// The clauses it may stand in, one bit a clause in the order of [`Keywords::clauses`]; 0 for a clause keyword.
    pub clauses: u32,
    /// The position of this keyword in [`Keywords::clauses`] if it opens a clause.
    pub opens: Option<u8>,
}

/// All keywords.
#[derive(Debug)]
pub struct Keywords {
    by_name: HashMap<&'static [u8], Keyword>,
    clauses: Vec<&'static str>,
}

impl Keywords {
    fn read(table: &'static str) -> Keywords {
        let rows = || table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
        let mut clauses = Vec::new();
        for row in rows() {
            if let [clause, name, ..] = row[..]
                && clause.is_empty()
            {
                clauses.push(name);
            }
        }
        let mut by_name: HashMap<&'static [u8], Keyword> = HashMap::new();
        for row in rows() {
            let [clause, name, _, arity, ..] = row[..] else {
                continue;
            };
            let position = |wanted: &str| clauses.iter().position(|c| *c == wanted);
            let entry = by_name.entry(name.as_bytes()).or_insert(Keyword {
                name,
                arity: arity.parse().unwrap_or(1),
                clauses: 0,
                opens: None,
            });
            if clause.is_empty() {
                entry.opens = position(name).and_then(|at| u8::try_from(at).ok());
            } else if let Some(at) = position(clause) {
                entry.clauses |= 1 << at;
            }
        }
        Keywords { by_name, clauses }
    }

    /// The keyword of this exact name (no colon, lower case), if there is one.
    pub fn get(&self, name: &[u8]) -> Option<&Keyword> {
        self.by_name.get(name)
    }

    /// The clause keywords, in the order of the table.
    pub fn clauses(&self) -> &[&'static str] {
        &self.clauses
    }

    /// Every keyword, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Keyword> {
        self.by_name.values()
    }

    /// The names of the clauses a keyword may stand in.
    pub fn homes(&self, keyword: &Keyword) -> Vec<&'static str> {
        let bit = |at: usize| keyword.clauses & (1 << at) != 0;
        let all = self.clauses.iter().enumerate();
        all.filter(|(at, _)| bit(*at)).map(|(_, name)| *name).collect()
    }
}

/// The keywords of the compiled-in table.
pub fn keywords() -> &'static Keywords {
    static ALL: OnceLock<Keywords> = OnceLock::new();
    ALL.get_or_init(|| Keywords::read(TABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_gives_one_arity_a_name() {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for line in TABLE.lines().skip(1) {
            let row: Vec<&str> = line.split('\t').collect();
            assert_eq!(row.len(), 13, "{line}");
            assert_eq!(*seen.entry(row[1]).or_insert(row[3]), row[3], "{line}");
        }
    }

    #[test]
    fn clauses_and_options_are_told_apart() {
        let all = keywords();
        assert_eq!(all.get(b"server").and_then(|k| k.opens), Some(0));
        let port = all.get(b"port").unwrap();
        assert_eq!((port.arity, port.opens, all.homes(port)), (1, None, vec!["server"]));
        assert_eq!(all.get(b"local-zone-override").unwrap().arity, 3);
        assert_eq!(all.homes(all.get(b"local-zone").unwrap()), ["server", "view"]);
        assert!(all.get(b"PORT").is_none());
        assert!(all.clauses().len() <= 32, "clauses are bits of a u32");
    }
}
