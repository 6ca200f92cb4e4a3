//! What the file itself says of a name: its `local-zone`, `local-data` and `local-data-ptr` statements with their places.
//!
//! Owns the search among them, by number and by name, and their reading into the form that the API shows of its own
//! records. What the statements do is the compiler's; those it would refuse are passed over here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::OnceLock;

use conf::{At, Bulk, BulkKind, Scan};
use wire::{Name, NameBuf, NameRef, Rtype, parse_record, rdata_to_text};

use crate::{Failure, lookup};

/// Seconds of a record that does not say so.
const DEFAULT_TTL: u32 = 3600;

/// A statement, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number among the bulk statements, in the order of the file.
    pub index: usize,
    /// The option.
    pub keyword: &'static str,
    /// The name it is about, absolute and in lower case.
    pub name: String,
    /// The type of the zone, or that of the record.
    pub kind: String,
    /// Seconds, of a record.
    pub ttl: Option<u32>,
    /// The data of a record in presentation form; empty for a zone.
    pub value: String,
    /// Where it stands.
    pub at: At,
}

/// Which statements are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// All of them.
    All,
    /// Those about this name.
    Of(&'a str),
    /// Those about this name and about names below it.
    Under(&'a str),
}

/// The statements of a scan by name: made when the first one is looked for by its name, eight octets each.
#[derive(Debug, Default)]
pub struct ByName(OnceLock<Vec<(u32, u32)>>);

impl ByName {
    /// Statements from number `after` on, in the order of the file, at most `limit`.
    ///
    /// # Errors
    /// The name is none.
    pub fn find(&self, scan: &Scan, which: Which<'_>, after: usize, limit: usize) -> Result<Vec<Standing>, Failure> {
        let all = || scan.bulk.iter().enumerate().skip(after);
        let read = |(index, bulk): (usize, &Bulk)| standing(scan, index, bulk);
        Ok(match which {
            Which::All => all().filter_map(read).take(limit).collect(),
            Which::Of(name) => {
                let name = lookup::name(name)?;
                let table = self.0.get_or_init(|| table(scan));
                let hash = hash(&name);
                let first = table.partition_point(|(have, index)| (*have, *index as usize) < (hash, after));
                let same = table.iter().skip(first).take_while(|(have, _)| *have == hash);
                let found =
                    same.filter_map(|(_, index)| scan.bulk.get(*index as usize).map(|bulk| (*index as usize, bulk)));
                let about = |(_, bulk): &(usize, &Bulk)| owner(scan, bulk).is_some_and(|owner| owner == name.as_ref());
                found.filter(about).filter_map(read).take(limit).collect()
            }
            Which::Under(name) => {
                let name = lookup::name(name)?;
                let below = |owner: NameBuf| owner.as_ref().is_subdomain_of(name.as_ref());
                let about = |(_, bulk): &(usize, &Bulk)| owner(scan, bulk).is_some_and(below);
                all().filter(about).filter_map(read).take(limit).collect()
            }
        })
    }
}

/// The short hash of each statement's name, with its number, sorted.
fn table(scan: &Scan) -> Vec<(u32, u32)> {
    let entry = |(index, bulk): (usize, &Bulk)| Some((hash(&owner(scan, bulk)?.to_name()), u32::try_from(index).ok()?));
    let mut table: Vec<(u32, u32)> = scan.bulk.iter().enumerate().filter_map(entry).collect();
    table.sort_unstable();
    table
}

fn hash(name: &Name) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() >> 32) as u32
}

/// The name a statement is about.
fn owner(scan: &Scan, bulk: &Bulk) -> Option<NameBuf> {
    let [first, _] = scan.bulk_values(bulk);
    let word = first.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    match bulk.kind {
        BulkKind::LocalZone => NameBuf::from_text_bytes(first).ok(),
        BulkKind::LocalData => NameBuf::from_text_bytes(word).ok(),
        BulkKind::LocalDataPtr => Some(NameBuf::reverse(std::str::from_utf8(word).ok()?.parse().ok()?)),
    }
}

fn standing(scan: &Scan, index: usize, bulk: &Bulk) -> Option<Standing> {
    let [first, second] = scan.bulk_values(bulk).map(String::from_utf8_lossy);
    let (keyword, at) = (bulk.kind.as_str(), bulk.at);
    let shown = |name: NameRef<'_>| name.lower().to_string();
    let record = match bulk.kind {
        BulkKind::LocalZone => {
            let name = shown(owner(scan, bulk)?.as_ref());
            return Some(Standing { index, keyword, name, kind: second.into(), ttl: None, value: String::new(), at });
        }
        BulkKind::LocalData => first.into_owned(),
        BulkKind::LocalDataPtr => {
            let (address, rest) = first.trim().split_once(|c: char| c.is_ascii_whitespace())?;
            let (ttl, name) = rest.trim().rsplit_once(|c: char| c.is_ascii_whitespace()).unwrap_or(("", rest.trim()));
            format!("{} {ttl} {} {name}", NameBuf::reverse(address.parse::<IpAddr>().ok()?), Rtype::PTR)
        }
    };
    let record = parse_record(&record, DEFAULT_TTL).ok()?;
    let (name, kind) = (shown(record.owner.as_ref()), record.rtype.to_string());
    let value = rdata_to_text(record.rtype, &record.rdata);
    Some(Standing { index, keyword, name, kind, ttl: record.ttl, value, at })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn statements_are_found_by_number_by_name_and_below_one() {
        let text = "server:\n local-zone: Example.com static\n local-data: \"WWW.example.com IN A 192.0.2.1\"\n\
            local-data: \"www.example.com. 60 TXT x\"\n local-data-ptr: \"192.0.2.1 5 www.example.com\"\n\
            local-zone: a..b static\n local-zone: other.example refuse\n local-data-ptr: \"192.0.2.1 www.example.com\"\n";
        let scan = conf::scan_text(text.as_bytes().to_vec(), "test.conf", Path::new("/"));
        let by_name = ByName::default();
        let found = |which, after, limit| {
            let found = by_name.find(&scan, which, after, limit).expect("a name");
            found.iter().map(|s| (s.index, s.at.line)).collect::<Vec<_>>()
        };
        let all = [(0, 2), (1, 3), (2, 4), (3, 5), (5, 7), (6, 8)];
        assert_eq!(found(Which::All, 0, 9), all);
        assert_eq!(found(Which::All, 2, 3), all[2..5]);
        assert_eq!(found(Which::Of("www.EXAMPLE.com"), 0, 9), all[1..3]);
        assert_eq!(found(Which::Of("www.example.com."), 2, 9), all[2..3]);
        assert_eq!(found(Which::Of("com."), 0, 9), []);
        assert_eq!(found(Which::Of("1.2.0.192.in-addr.arpa."), 0, 1), all[3..4]);
        assert_eq!(found(Which::Under("example.com."), 0, 9), all[..3]);
        assert_eq!(found(Which::Under("."), 4, 1), all[4..5]);
        assert!(by_name.find(&scan, Which::Of("a..b"), 0, 9).is_err());
        let read = by_name.find(&scan, Which::All, 0, 9).expect("no name");
        let shown: Vec<String> = read
            .iter()
            .map(|s| format!("{} {} {} {} {}", s.keyword, s.name, s.kind, s.ttl.unwrap_or(0), s.value))
            .collect();
        assert_eq!(
            shown,
            [
                "local-zone example.com. static 0 ",
                "local-data www.example.com. A 3600 192.0.2.1",
                "local-data www.example.com. TXT 60 \"x\"",
                "local-data-ptr 1.2.0.192.in-addr.arpa. PTR 5 www.example.com.",
                "local-zone other.example. refuse 0 ",
                "local-data-ptr 1.2.0.192.in-addr.arpa. PTR 3600 www.example.com.",
            ]
        );
    }
}
