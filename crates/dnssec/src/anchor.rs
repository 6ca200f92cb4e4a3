//! [`Anchor`]: what is believed without proof: DS and DNSKEY records the operator gave, and the root's.
//!
//! It owns the text forms: records as `trust-anchor` and `trust-anchor-file` have them, and BIND's clauses as
//! `trusted-keys-file` has them. It opens no files. Keys that change by themselves are [`crate::Autotrust`]'s.

use std::fmt;

use crate::ds;
use crate::key::Dnskey;
use crate::rules::Rules;
use wire::{Class, Name, NameRef, RdataSet, Rtype, parse_record};

/// The root's key signing keys, as IANA publishes them: KSK-2017 and KSK-2024 (RFC 9718).
pub const ROOT_ANCHORS: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

/// The trust anchors at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The zone.
    pub owner: Name,
    /// DS records of keys that are trusted.
    pub ds: RdataSet,
    /// DNSKEY records of keys that are trusted.
    pub dnskey: RdataSet,
}

impl Anchor {
    /// Whether a key in it can be of use under these rules. If not, all at and below its name is insecure.
    pub fn is_usable(&self, rules: &Rules) -> bool {
        let key = |rdata| Dnskey::parse(rdata).is_some_and(|key| key.algorithm.is_supported(rules));
        self.dnskey.iter().any(key) || ds::usable(self.ds.iter(), rules).is_ok()
    }
}

/// Why text holds no trust anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for AnchorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for AnchorError {}

/// All anchors, one for each name that has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchors(Vec<Anchor>);

impl Anchors {
    /// None: everything is insecure.
    pub fn new() -> Anchors {
        Anchors::default()
    }

    /// The built-in anchors of the root.
    pub fn root() -> Anchors {
        let mut anchors = Anchors::new();
        // The text is a constant, and a test reads it.
        let _ = anchors.add_records(ROOT_ANCHORS);
        anchors
    }

    /// Each anchor.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.0.iter()
    }

    /// The anchor that a chain to this name begins at: the closest one at or above it. `None`: the name is insecure.
    pub fn above(&self, name: NameRef<'_>) -> Option<&Anchor> {
        let above = self.0.iter().filter(|anchor| name.is_subdomain_of(anchor.owner.as_ref()));
        above.max_by_key(|anchor| anchor.owner.as_ref().len())
    }

    /// Adds one record; those of other types than DS and DNSKEY are not anchors and are left out, as Unbound does.
    pub fn add(&mut self, owner: NameRef<'_>, rtype: Rtype, rdata: &[u8]) {
        if rtype != Rtype::DS && rtype != Rtype::DNSKEY {
            return;
        }
        let at = match self.0.iter().position(|anchor| anchor.owner == owner) {
            Some(at) => at,
            None => {
                let owner = owner.to_name();
                self.0.push(Anchor { owner, ds: RdataSet::new(), dnskey: RdataSet::new() });
                self.0.len() - 1
            }
        };
        if let Some(anchor) = self.0.get_mut(at) {
            let set = if rtype == Rtype::DS { &mut anchor.ds } else { &mut anchor.dnskey };
            if !set.contains(rdata) {
                set.push(rdata);
            }
        }
    }

    /// Adds the records of a zone file: the value of `trust-anchor` or the contents of a `trust-anchor-file`. Parentheses
    /// and comments as in zone files; `$ORIGIN` counts, `$TTL` has no meaning here, `$INCLUDE` is refused. On an error
    /// nothing is added.
    pub fn add_records(&mut self, text: &str) -> Result<(), AnchorError> {
        let mut origin = String::from(".");
        let mut last = String::new();
        let mut found = Vec::new();
        for (line, text) in logical_lines(text)? {
            let error = |what: String| AnchorError { line, what };
            let mut words = text.split_ascii_whitespace();
            let Some(first) = words.next() else { continue };
            match first.to_ascii_uppercase().as_str() {
                "$TTL" => continue,
                "$ORIGIN" => {
                    let name = words.next().ok_or_else(|| error("$ORIGIN needs a name".into()))?;
                    let name = absolute(name, &origin);
                    origin = Name::from_text(&name).map_err(|why| error(why.to_string()))?.to_string();
                    continue;
                }
                word if word.starts_with('$') => return Err(error(format!("{first} has no place here"))),
                _ => {}
            }
            let rest = if text.starts_with(|c: char| c.is_ascii_whitespace()) && !last.is_empty() {
                text.as_str()
            } else {
                last = absolute(first, &origin);
                text.trim_start().strip_prefix(first).unwrap_or_default()
            };
            let record = parse_record(&format!("{last} {rest}"), 0).map_err(|why| error(why.to_string()))?;
            if record.class != Class::IN {
                return Err(error(format!("class {} has no trust anchors", record.class)));
            }
            found.push(record);
        }
        for record in found {
            self.add(record.owner.as_ref(), record.rtype, &record.rdata);
        }
        Ok(())
    }

    /// Adds the keys of BIND's clauses `trusted-keys`, `managed-keys` and `trust-anchors`; everything else in the text is
    /// passed over. On an error nothing is added.
    pub fn add_bind(&mut self, text: &str) -> Result<(), AnchorError> {
        let tokens = bind_tokens(text)?;
        let mut found = Vec::new();
        let mut rest = tokens.iter();
        let mut end = (0, "");
        while let Some((_, word)) = rest.next() {
            if !matches!(word.as_str(), "trusted-keys" | "managed-keys" | "trust-anchors") {
                continue;
            }
            let mut statement: Vec<&str> = Vec::new();
            let mut closed = false;
            for (line, word) in rest.by_ref() {
                end = (*line, "the clause has no end");
                match word.as_str() {
                    "{" => {}
                    "}" => {
                        closed = true;
                        break;
                    }
                    ";" => {
                        if !statement.is_empty() {
                            found.push(bind_key(&statement).map_err(|what| AnchorError { line: *line, what })?);
                        }
                        statement.clear();
                    }
                    word => statement.push(word),
                }
            }
            if !closed {
                return Err(AnchorError { line: end.0, what: end.1.into() });
            }
        }
        for record in found {
            self.add(record.owner.as_ref(), record.rtype, &record.rdata);
        }
        Ok(())
    }
}

/// A name with its origin, where the origin is more than the root.
fn absolute(name: &str, origin: &str) -> String {
    match name {
        "@" => origin.to_owned(),
        _ if name.ends_with('.') || origin == "." => name.to_owned(),
        _ => format!("{name}.{origin}"),
    }
}

/// Lines without comments, those inside parentheses joined; with the number of the first.
pub(crate) fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, AnchorError> {
    let mut lines = Vec::new();
    let (mut open, mut current, mut from) = (0usize, String::new(), 1);
    for (number, line) in (1..).zip(text.lines()) {
        if open == 0 {
            from = number;
        }
        let (mut quoted, mut escaped) = (false, false);
        for c in line.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                ';' if !quoted => break,
                '(' if !quoted => open += 1,
                ')' if !quoted => open = open.saturating_sub(1),
                _ => {
                    current.push(c);
                    continue;
                }
            }
            // Parentheses only join lines; everything else stands for itself.
            current.push(if matches!(c, '(' | ')') && !quoted { ' ' } else { c });
        }
        if open == 0 {
            lines.push((from, std::mem::take(&mut current)));
        } else {
            current.push(' ');
        }
    }
    if open > 0 { Err(AnchorError { line: from, what: "the parenthesis has no end".into() }) } else { Ok(lines) }
}

/// One key of a BIND clause: `name [static-key|initial-key|static-ds|initial-ds] a b c "data"`.
fn bind_key(words: &[&str]) -> Result<wire::Record, String> {
    let (name, rtype, rest) = match words {
        [name, "static-ds" | "initial-ds", rest @ ..] => (name, "DS", rest),
        [name, "static-key" | "initial-key", rest @ ..] => (name, "DNSKEY", rest),
        [name, rest @ ..] => (name, "DNSKEY", rest),
        [] => return Err("an empty entry".into()),
    };
    let [a, b, c, data @ ..] = rest else { return Err("a key has four fields after its name".into()) };
    let data: String = data.iter().flat_map(|part| part.split_ascii_whitespace()).collect();
    parse_record(&format!("{name} {rtype} {a} {b} {c} {data}"), 0).map_err(|why| why.to_string())
}

/// Words, quoted strings, braces and semicolons of BIND's configuration, comments of all three kinds left out.
fn bind_tokens(text: &str) -> Result<Vec<(usize, String)>, AnchorError> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if chars.peek() == Some(&'*') => {
                let from = line;
                let mut before = ' ';
                chars.next();
                loop {
                    let c = chars.next().ok_or(AnchorError { line: from, what: "the comment has no end".into() })?;
                    line += usize::from(c == '\n');
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            '{' | '}' | ';' => tokens.push((line, c.to_string())),
            '"' => {
                let from = line;
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            word.push(c);
                        }
                        None => return Err(AnchorError { line: from, what: "the quote has no end".into() }),
                    }
                }
                tokens.push((from, word));
            }
            c => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, '{' | '}' | ';' | '"')) {
                    word.push(c);
                }
                tokens.push((line, word));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::key_tag;

    fn read(text: &str) -> Result<Anchors, AnchorError> {
        let mut anchors = Anchors::new();
        anchors.add_records(text).map(|()| anchors)
    }

    #[test]
    fn rfc9718_the_root_anchors_are_both_there() {
        let anchors = Anchors::root();
        let root = anchors.above(wire::name::ROOT).unwrap();
        let tags: Vec<u16> = root.ds.iter().map(|ds| u16::from_be_bytes([ds[0], ds[1]])).collect();
        assert_eq!(tags, [20326, 38696]);
        assert!(root.ds.iter().all(|ds| ds.len() == 4 + 32));
    }

    #[test]
    fn trust_anchor_file_is_a_zone_file() {
        let anchors = read(
            "; comment\n$TTL 300\n$ORIGIN example.\nfoo 60 IN DS 1 8 2 ( ab ; here\n  cd )\n   DS 2 8 2 ef\n@ DS 3 8 2 01\n\
             bar.test. DNSKEY 257 3 8 AQ ==\nfoo A 192.0.2.1\n",
        )
        .unwrap();
        let all: Vec<(String, usize, usize)> =
            anchors.iter().map(|a| (a.owner.to_string(), a.ds.len(), a.dnskey.len())).collect();
        assert_eq!(all, [("foo.example.".into(), 2, 0), ("example.".into(), 1, 0), ("bar.test.".into(), 0, 1)]);
        assert_eq!(anchors.iter().next().unwrap().ds.first(), Some(&[0, 1, 8, 2, 0xab, 0xcd][..]));
    }

    #[test]
    fn what_is_wrong_with_an_anchor_file_is_told_with_its_line() {
        assert_eq!(read("\n. DS 1 8 2 (\n ab\n").unwrap_err().line, 2);
        assert_eq!(read(". DS 1 8 2 ab\n. DS what\n").unwrap_err().line, 2);
        assert_eq!(read(". CH DS 1 8 2 ab\n").unwrap_err().to_string(), "line 1: class CH has no trust anchors");
        assert_eq!(read("$INCLUDE x\n").unwrap_err().to_string(), "line 1: $INCLUDE has no place here");
    }

    #[test]
    fn the_closest_anchor_counts() {
        let anchors = read(". DS 1 8 2 ab\nexample. DS 2 8 2 ab\n").unwrap();
        let at = |name: &str| anchors.above(Name::from_text(name).unwrap().as_ref()).unwrap().owner.to_string();
        assert_eq!((at("a.example"), at("example"), at("test")), ("example.".into(), "example.".into(), ".".into()));
        assert!(Anchors::new().above(wire::name::ROOT).is_none());
    }

    const KSK_2017: &str = "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5\
        xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eN\
        buv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn\
        6UwNR1AkUTV74bU=";

    #[test]
    fn trusted_keys_file_has_binds_clauses() {
        let text = format!(
            "options {{ x; }}; // note\ntrusted-keys {{\n  \".\" 257 3 8 \"{KSK_2017}\"; /* more\n */\n}};\n\
             trust-anchors {{ . initial-ds 38696 8 2 \"683D 2D0A\"; # end\n a.test. static-key 257 3 8 \"AQ==\"; }};"
        );
        let mut anchors = Anchors::new();
        anchors.add_bind(&text).unwrap();
        let root = anchors.above(wire::name::ROOT).unwrap();
        assert_eq!(key_tag(root.dnskey.first().unwrap()), 20326);
        assert_eq!((root.ds.len(), anchors.iter().count()), (1, 2));
        let mut anchors = Anchors::new();
        assert_eq!(anchors.add_bind("trusted-keys {\n . 257 3 8 \"AQ==\";").unwrap_err().line, 2);
        assert_eq!(anchors.add_bind("trusted-keys {\n . 257 3; };").unwrap_err().line, 2);
        assert!(anchors.add_bind("trusted-keys { . 257 3 8 \"AQ").is_err() && anchors == Anchors::new());
    }

    #[test]
    fn rfc4034_b_and_rfc4509_the_root_key_has_its_tag_and_digest() {
        let key = parse_record(&format!(". DNSKEY 257 3 8 {KSK_2017}"), 0).unwrap();
        let key = crate::key::Dnskey::parse(&key.rdata).unwrap();
        assert_eq!((key.tag(), key.bits(), key.is_sep()), (20326, Some(2048), true));
        let anchors = Anchors::root();
        let ds = crate::ds::Ds::parse(anchors.above(wire::name::ROOT).unwrap().ds.first().unwrap()).unwrap();
        assert!(ds.is_digest_of(wire::name::ROOT, &key, &mut crate::Budget::default()).unwrap());
    }
}
