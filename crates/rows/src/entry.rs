//! What an entry says, one field at a time: how each is written, what is refused, and the document made of them.
//!
//! It owns the limits of fields and the canonical document (members sorted, no blanks, nothing that is null). It does not
//! know where the fields came from.

use policy::overlay::Block;
use wire::text::parse_data;
use wire::{NameBuf, NameError, Rtype, rdata_to_text};

use crate::key;

/// Seconds a record may be kept that does not say so; Unbound's for `local-data`.
pub const DEFAULT_TTL: u32 = 3600;
/// The most seconds kept: what is changed here is wanted everywhere within a day. Longer ones are cut.
pub const MAX_TTL: u32 = 86400;
/// The most seconds that can be written (RFC 2181 8).
pub const LARGEST_TTL: u32 = (1 << 31) - 1;
/// Most characters of a comment: a line for people, kept once an entry.
pub const MAX_COMMENT: usize = 200;
/// Most addresses a block leads to: they all go into one answer.
pub const MAX_TARGETS: usize = 8;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The member, or what stands for it in a line.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Complaint {
    /// A complaint with nothing to advise.
    pub fn new(field: &str, what: impl Into<String>) -> Complaint {
        Complaint { field: field.to_owned(), what: what.into(), hint: None }
    }

    /// The same with what to do.
    #[must_use]
    pub fn advise(mut self, hint: impl Into<String>) -> Complaint {
        self.hint = Some(hint.into());
        self
    }
}

/// The words of actions.
const ACTIONS: [&str; 5] = ["nxdomain", "refuse", "nodata", "null", "redirect"];

/// Everything an entry says that is not in its key. Most entries of one call say the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Saying {
    /// Of a record.
    Record {
        /// Seconds.
        ttl: u32,
        /// For people.
        comment: Option<Box<str>>,
    },
    /// Of a block.
    Block {
        /// What is answered.
        action: Block,
        /// For people.
        comment: Option<Box<str>>,
    },
}

/// A word in quotes, short enough for a message.
pub fn shown(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("\"{}…\"", text.get(..end).unwrap_or_default().escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// Reads a name, which is absolute with or without its final dot.
///
/// # Errors
/// It is no name, or not in plain ASCII.
pub fn name(field: &str, text: &[u8]) -> Result<NameBuf, Complaint> {
    let wrong = |what: &str| Complaint::new(field, format!("{} {what}", shown(&String::from_utf8_lossy(text))));
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(if text.is_ascii() {
            wrong("is not a name: it has a blank or a control character in it")
        } else {
            wrong("is not a plain name").advise("names of other alphabets are written in A-labels: xn--…")
        });
    }
    if text == b"@" {
        return Err(wrong("is not a name here").advise("write it in full"));
    }
    if text.windows(3).any(|octets| octets == b"://") {
        return Err(wrong("is the address of a page").advise("write the name alone, for instance www.example.com"));
    }
    NameBuf::from_text_bytes(text).map_err(|error| match error {
        NameError::Empty => Complaint::new(field, error.to_string()),
        error => wrong(&format!("is not a name: {error}")),
    })
}

/// Reads the name of a block.
///
/// # Errors
/// It is no name, the root, or a wildcard.
pub fn blocked_name(text: &[u8]) -> Result<NameBuf, Complaint> {
    let name = name("name", text)?;
    if name.as_ref().is_root() {
        return Err(Complaint::new("name", "\".\" would block every name there is"));
    }
    if name.as_ref().is_wildcard() {
        let parent = name.as_ref().parent().filter(|parent| !parent.is_root());
        let complaint = Complaint::new("name", format!("{name} is a wildcard"));
        return Err(match parent {
            Some(parent) => complaint.advise(format!("block {parent}: what is below it is blocked too")),
            None => complaint,
        });
    }
    Ok(name)
}

/// Reads a type that records can have.
///
/// # Errors
/// It is none.
pub fn rtype(text: &str) -> Result<Rtype, Complaint> {
    let rtype = text.parse::<Rtype>().map_err(|_| {
        Complaint::new("type", format!("{} is not a record type", shown(text)))
            .advise("types without a name are written TYPE123, with data as \\# length hex (RFC 3597)")
    })?;
    data_type(rtype)
}

/// Lets through a type that records can have: those of questions and of messages alone are none (RFC 6895 3.1).
///
/// # Errors
/// It is one of those.
pub fn data_type(rtype: Rtype) -> Result<Rtype, Complaint> {
    match rtype {
        Rtype(0 | 128..=255) | Rtype::OPT => {
            Err(Complaint::new("type", format!("{rtype} is a type of questions or messages, no record has it")))
        }
        rtype => Ok(rtype),
    }
}

/// Reads the data of a record.
///
/// # Errors
/// They are not data of that type.
pub fn value(rtype: Rtype, text: &str) -> Result<Vec<u8>, Complaint> {
    parse_data(rtype, text).map_err(|error| Complaint { field: "value".to_owned(), what: error.what, hint: error.hint })
}

/// Reads seconds.
///
/// # Errors
/// There are too many, or fewer than none.
pub fn ttl(seconds: i64) -> Result<u32, Complaint> {
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= LARGEST_TTL => Ok(seconds.min(MAX_TTL)),
        _ => Err(Complaint::new("ttl", format!("{seconds} is not a TTL: a number from 0 to {LARGEST_TTL}"))),
    }
}

/// Reads a comment; one without a word is none.
///
/// # Errors
/// It is too long, or is not a line.
pub fn comment(text: &str) -> Result<Option<Box<str>>, Complaint> {
    if text.chars().any(char::is_control) {
        return Err(Complaint::new("comment", "a comment is one line, without control characters"));
    }
    if text.chars().nth(MAX_COMMENT).is_some() {
        return Err(Complaint::new("comment", format!("a comment has at most {MAX_COMMENT} characters")));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Reads what a block answers.
///
/// # Errors
/// There is no such action; a redirect leads nowhere, or something else has a target.
pub fn block(action: &str, target: Option<&str>) -> Result<Block, Complaint> {
    if !ACTIONS.contains(&action) {
        let what = format!("{} is not an action", shown(action));
        return Err(Complaint::new("action", what).advise(format!("one of {}", ACTIONS.join(", "))));
    }
    if target.is_some_and(|target| !target.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ')) {
        return Err(Complaint::new("target", format!("{} is not plain", shown(target.unwrap_or_default())))
            .advise("names of other alphabets are written in A-labels: xn--…"));
    }
    match Block::from_words(action, target) {
        Ok(Block::Addresses(all)) if all.len() > MAX_TARGETS => {
            Err(Complaint::new("target", format!("{} addresses are too many: at most {MAX_TARGETS}", all.len())))
        }
        // A name with an escaped comma would be read as a list the next time.
        Ok(block) if Block::from_words(action, block.target().as_deref()).as_ref() != Ok(&block) => {
            Err(Complaint::new("target", format!("{} is not plain", shown(target.unwrap_or_default()))))
        }
        Ok(block) => Ok(block),
        Err(what) => Err(Complaint::new("target", what)),
    }
}

/// Writes the document of an entry. `false` if the key is none of its kind.
pub fn document(out: &mut String, key: &[u8], saying: &Saying) -> bool {
    let Some((name, rest)) = key::split_name(key) else { return false };
    let mut first = true;
    let mut member = |out: &mut String, name: &str, text: &str| {
        out.push(if std::mem::take(&mut first) { '{' } else { ',' });
        quote(out, name);
        out.push(':');
        quote(out, text);
    };
    match saying {
        Saying::Record { ttl, comment } => {
            let Some((rtype, rdata)) = key::split_record(rest) else { return false };
            if let Some(comment) = comment {
                member(out, "comment", comment);
            }
            member(out, "name", &name.to_string());
            out.push_str(",\"ttl\":");
            out.push_str(&ttl.to_string());
            member(out, "type", &rtype.to_string());
            member(out, "value", &rdata_to_text(rtype, rdata));
        }
        Saying::Block { action, comment } => {
            member(out, "action", action.word());
            if let Some(comment) = comment {
                member(out, "comment", comment);
            }
            member(out, "name", &name.to_string());
            if let Some(target) = action.target() {
                member(out, "target", &target);
            }
        }
    }
    out.push('}');
    true
}

/// Writes a string as JSON has it.
fn quote(out: &mut String, text: &str) {
    let plain = |octet: u8| octet >= b' ' && octet != b'"' && octet != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_one_way() {
        for (text, want) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8::1, 192.0.2.1", "192.0.2.1 2001:db8::1"),
            ("Portal.Example", "portal.example."),
        ] {
            assert_eq!(block("redirect", Some(text)).unwrap().target().as_deref(), Some(want));
        }
        for (text, what) in [
            ("", "needs a target"),
            (" , ", "needs a target"),
            ("192.0.2.1,portal", "neither addresses nor one name"),
            ("é", "not plain"),
            ("a\nb", "not plain"),
            ("a\\044b", "not plain"),
            ("1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8,9.9.9.9", "too many"),
        ] {
            let complaint = block("redirect", Some(text)).expect_err(text);
            assert!(complaint.field == "target" && complaint.what.contains(what), "{text}: {complaint:?}");
        }
        assert_eq!(block("", None).unwrap_err().field, "action");
        for action in ACTIONS.into_iter().filter(|action| *action != "redirect") {
            assert_eq!(block(action, None).unwrap().word(), action);
        }
    }

    #[test]
    fn documents_are_canonical() {
        let mut key = Vec::new();
        key::push_record(&mut key, NameBuf::from_text("W.test.").unwrap().as_ref(), Rtype::TXT, b"\x03a\"b");
        let mut out = String::new();
        assert!(document(&mut out, &key, &Saying::Record { ttl: 60, comment: Some("é\"".into()) }));
        assert_eq!(out, r#"{"comment":"é\"","name":"w.test.","ttl":60,"type":"TXT","value":"\"a\\\"b\""}"#);
        out.clear();
        let saying = Saying::Block { action: block("redirect", Some("a.")).unwrap(), comment: None };
        assert!(document(&mut out, b"test\0\0", &saying));
        assert_eq!(out, r#"{"action":"redirect","name":"test.","target":"a."}"#);
        assert!(!document(&mut out, b"test", &saying));
    }
}
