//! Entries that come as lines: records as zone files write them, names as block lists do.
//!
//! It owns where a line ends in octets that come in pieces ([`Lines`]), the directives between records, and what a block
//! list may have beside names. What records and names are is `wire`'s and `entry`'s.

use std::net::IpAddr;

use wire::text::parse_line;
use wire::{Class, Name, NameBuf};

use crate::bulk::{Entry, MAX_PIECE, Usual};
use crate::entry::{self, Complaint, Saying, shown};
use crate::key;

/// Joins pieces to lines, and lines to records where a parenthesis is open.
#[derive(Debug)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// Lines so far.
    count: u64,
    /// The line where the record being read begins.
    first: u64,
    /// Whether lines are joined at parentheses.
    joins: bool,
}

impl Lines {
    pub(crate) fn new(joins: bool) -> Lines {
        Lines { begun: Vec::new(), count: 0, first: 1, joins }
    }

    /// Hands each line that ends in the piece to `entry`, with its number. `Err` is the line that is too long.
    pub(crate) fn feed(&mut self, piece: &[u8], entry: &mut Entry<'_>) -> Result<(), u64> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
            let (line, after) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
            rest = after;
            self.count += 1;
            if self.begun.is_empty() && !(self.joins && line.contains(&b'(') && is_open(line)) {
                entry(self.count, line);
                self.first = self.count + 1;
                continue;
            }
            self.keep(line)?;
            if !(self.joins && is_open(&self.begun)) {
                self.flush(entry);
            }
        }
        self.keep(rest)
    }

    fn keep(&mut self, octets: &[u8]) -> Result<(), u64> {
        self.begun.extend_from_slice(octets);
        if self.begun.len() > MAX_PIECE { Err(self.first) } else { Ok(()) }
    }

    fn flush(&mut self, entry: &mut Entry<'_>) {
        let line = std::mem::take(&mut self.begun);
        entry(self.first, &line);
        self.first = self.count + 1;
    }

    /// The last line, which needs no end.
    pub(crate) fn finish(&mut self, entry: &mut Entry<'_>) {
        if !self.begun.is_empty() {
            self.flush(entry);
        }
    }
}

/// Whether a parenthesis is open at the end, those in quotes and comments not counted.
fn is_open(text: &[u8]) -> bool {
    let (mut open, mut quoted, mut comment) = (false, false, false);
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\n' => comment = false,
            _ if comment => {}
            b'\\' => {
                octets.next();
            }
            b'"' => quoted = !quoted,
            b';' if !quoted => comment = true,
            b'(' if !quoted => open = true,
            b')' if !quoted => open = false,
            _ => {}
        }
    }
    open
}

/// What lines before said.
#[derive(Debug)]
pub(crate) struct Zone {
    origin: Name,
    owner: Option<Name>,
    ttl: Option<u32>,
}

impl Zone {
    pub(crate) fn new() -> Zone {
        Zone { origin: Name::root(), owner: None, ttl: None }
    }

    /// Reads a line, which may be a record; its key goes to the end of `keys`.
    ///
    /// # Errors
    /// It is neither a record nor a directive.
    pub(crate) fn line(&mut self, line: &[u8], usual: &Usual, keys: &mut Vec<u8>) -> Result<Option<Saying>, Complaint> {
        let code = line.trim_ascii();
        match code.first() {
            None | Some(b';') => return Ok(None),
            Some(b'$') => return self.directive(code).map(|()| None),
            Some(_) => {}
        }
        let inherits = line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        let owner = match (inherits, &self.owner) {
            (true, None) => {
                return Err(Complaint::new("name", "a line that begins with a blank has the owner of the line before")
                    .advise("begin the line with the name"));
            }
            (true, Some(owner)) => Some(owner.as_ref()),
            (false, _) => None,
        };
        let default = self.ttl.unwrap_or(usual.ttl);
        let record = parse_line(line.trim_ascii_end(), self.origin.as_ref(), owner, default)
            .map_err(|error| Complaint { field: "record".to_owned(), what: error.what, hint: error.hint })?;
        if record.class != Class::IN {
            return Err(Complaint::new("class", format!("{} is not served: the class is IN", record.class)));
        }
        let rtype = entry::data_type(record.rtype)?;
        let ttl = entry::ttl(i64::from(record.ttl.unwrap_or(default)))?;
        key::push_record(keys, record.owner.as_ref(), rtype, &record.rdata);
        self.owner = Some(record.owner);
        Ok(Some(Saying::Record { ttl, comment: usual.comment.clone() }))
    }

    /// `$ORIGIN name` or `$TTL seconds`.
    fn directive(&mut self, code: &[u8]) -> Result<(), Complaint> {
        let code = String::from_utf8_lossy(code.split(|octet| *octet == b';').next().unwrap_or_default()).into_owned();
        let words: Vec<&str> = code.split_ascii_whitespace().collect();
        match words.as_slice() {
            [word, name] if word.eq_ignore_ascii_case("$ORIGIN") => {
                let mut origin = entry::name("$ORIGIN", name.as_bytes())?;
                if !name.ends_with('.') {
                    origin
                        .push_name(self.origin.as_ref())
                        .map_err(|error| Complaint::new("$ORIGIN", format!("{}: {error}", shown(name))))?;
                }
                self.origin = origin.to_name();
                Ok(())
            }
            [word, seconds] if word.eq_ignore_ascii_case("$TTL") => {
                // A record without data of its own reads the time as records do, units included.
                let record =
                    parse_line(format!("{seconds} APL").as_bytes(), wire::name::ROOT, Some(wire::name::ROOT), 0);
                let seconds = record.ok().and_then(|record| record.ttl).ok_or_else(|| {
                    Complaint::new("$TTL", format!("{} is not a time", shown(seconds))).advise("seconds, or 1h30m")
                })?;
                self.ttl = Some(entry::ttl(i64::from(seconds))?);
                Ok(())
            }
            [word, ..] => Err(Complaint::new("record", format!("{} is not taken", shown(word)))
                .advise("only $ORIGIN name and $TTL seconds are")),
            [] => Ok(()),
        }
    }
}

/// Names that hosts files have for the machine itself: no list means to block them.
const OWN_NAMES: [&str; 9] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "0.0.0.0",
];

/// Reads a line of a block list and hands on each name in it: one alone, or those behind an address of nowhere, as hosts
/// files have them.
///
/// # Errors
/// What stands there is no name.
pub(crate) fn names(line: &[u8], mut keep: impl FnMut(NameBuf)) -> Result<(), Complaint> {
    let code = line.split(|octet| *octet == b'#').next().unwrap_or_default();
    let mut words = code.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Ok(()) };
    // No name that is asked for begins with a digit and is an address as well.
    let address = std::str::from_utf8(first).ok().and_then(|word| word.parse::<IpAddr>().ok());
    match (address, words.next()) {
        (None, None) => {
            // `*.name` is how some lists say that all below is meant, which is so anyway.
            keep(entry::blocked_name(first.strip_prefix(b"*.").unwrap_or(first))?);
            Ok(())
        }
        (Some(address), Some(second)) if address.is_unspecified() || address.is_loopback() => {
            let own = |word: &[u8]| OWN_NAMES.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(word));
            for word in std::iter::once(second).chain(words).filter(|word| !own(word)) {
                keep(entry::blocked_name(word)?);
            }
            Ok(())
        }
        (Some(address), Some(_)) => {
            let what = format!("{address} is somebody's address: this is no block list");
            Err(Complaint::new("name", what).advise("lines of a hosts file begin with 0.0.0.0, 127.0.0.1, :: or ::1"))
        }
        (Some(address), None) => Err(Complaint::new("name", format!("{address} is an address, not a name"))),
        (None, Some(second)) => {
            let what = format!("{} stands behind the name", shown(&String::from_utf8_lossy(second)));
            Err(Complaint::new("name", what).advise("one name a line, # before a comment"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, size: usize, joins: bool) -> Vec<(u64, String)> {
        let (mut lines, mut out) = (Lines::new(joins), Vec::new());
        let mut entry = |at, line: &[u8]| out.push((at, String::from_utf8_lossy(line).into_owned()));
        for piece in text.as_bytes().chunks(size) {
            lines.feed(piece, &mut entry).unwrap();
        }
        lines.finish(&mut entry);
        out
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let text = "a\r\n\nb ( c ; (\n d\n) e\nx \"(\" y\nlast";
        for size in 1..text.len() {
            let lines = pieces(text, size, true);
            let want = [(1, "a\r\n"), (2, "\n"), (3, "b ( c ; (\n d\n) e\n"), (6, "x \"(\" y\n"), (7, "last")];
            assert_eq!(lines, want.map(|(at, line)| (at, line.to_owned())), "{size}");
            assert_eq!(pieces(text, size, false).len(), 7);
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let mut lines = Lines::new(false);
        let long = vec![b'a'; MAX_PIECE];
        assert_eq!(lines.feed(b"\n", &mut |_, _| {}), Ok(()));
        assert_eq!(lines.feed(&long, &mut |_, _| {}), Ok(()));
        assert_eq!(lines.feed(b"a", &mut |_, _| {}), Err(2));
    }
}
