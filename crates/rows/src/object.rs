//! Entries that come as JSON objects.
//!
//! It owns where one object ends and the next begins in octets that come in pieces ([`Objects`]), and the members of an
//! object ([`read`]). What the members mean is `entry`'s.

use std::borrow::Cow;
use std::fmt;

use policy::overlay::Block;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::bulk::{Entry, Kind, Usual};
use crate::entry::{self, Complaint, Saying};
use crate::key;

/// What a member holds.
#[derive(Debug)]
enum Value<'a> {
    Null,
    Number(i64),
    Text(Cow<'a, str>),
    Other,
}

struct AnyValue;

impl<'a> Deserialize<'a> for Value<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

impl<'a> Visitor<'a> for AnyValue {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'a>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'a>, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'a>, E> {
        Ok(Value::Number(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Value<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

/// The members that there are, for all kinds; each at its place.
const MEMBERS: [&str; 7] = ["name", "type", "ttl", "value", "action", "target", "comment"];

/// The members of one object.
#[derive(Debug, Default)]
struct Members<'a> {
    values: [Option<Value<'a>>; MEMBERS.len()],
    /// What cannot be taken, and why.
    wrong: Option<Complaint>,
}

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members::default())
    }
}

impl<'a> Visitor<'a> for Members<'a> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Value::Text(member)) = map.next_key::<Value<'a>>()? {
            let value = map.next_value::<Value<'a>>()?;
            let at = MEMBERS.iter().position(|known| *known == member);
            match at.and_then(|at| self.values.get_mut(at)) {
                Some(slot @ None) => *slot = Some(value),
                Some(_) => self.wrong = Some(Complaint::new(&member, "the member is given twice")),
                None => self.wrong = Some(unknown(&member)),
            }
        }
        Ok(self)
    }
}

fn unknown(member: &str) -> Complaint {
    let short: String = member.chars().take(40).collect();
    Complaint::new(&short, "there is no such member")
}

impl<'a> Members<'a> {
    fn read(octets: &'a [u8]) -> Result<Self, Complaint> {
        let members: Members<'a> = serde_json::from_slice(octets)
            .map_err(|error| Complaint::new("", format!("this is not a JSON object: {error}")))?;
        match members.wrong {
            Some(complaint) => Err(complaint),
            None => Ok(members),
        }
    }

    fn take(&mut self, member: &'static str) -> Option<Value<'a>> {
        let at = MEMBERS.iter().position(|known| *known == member)?;
        self.values.get_mut(at)?.take()
    }

    fn text(&mut self, member: &'static str) -> Result<Option<Cow<'a, str>>, Complaint> {
        match self.take(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Complaint::new(member, format!("{member} is a string"))),
        }
    }

    fn needed(&mut self, member: &'static str) -> Result<Cow<'a, str>, Complaint> {
        self.text(member)?.ok_or_else(|| Complaint::new(member, format!("{member} is missing")))
    }

    fn number(&mut self, member: &'static str) -> Result<Option<i64>, Complaint> {
        match self.take(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(Complaint::new(member, format!("{member} is a whole number"))),
        }
    }

    /// Nothing may be left that this kind has not.
    fn finish(&self) -> Result<(), Complaint> {
        match self.values.iter().zip(MEMBERS).find(|(value, _)| value.is_some()) {
            Some((_, member)) => Err(unknown(member)),
            None => Ok(()),
        }
    }

    fn comment(&mut self, usual: &Usual) -> Result<Option<Box<str>>, Complaint> {
        match self.text("comment")? {
            Some(text) => entry::comment(&text),
            None => Ok(usual.comment.clone()),
        }
    }

    fn ttl(&mut self) -> Result<Option<u32>, Complaint> {
        self.number("ttl")?.map(entry::ttl).transpose()
    }

    /// What a block answers. The usual target goes with a redirect that names none.
    fn act(&mut self, usual: &Usual) -> Result<Block, Complaint> {
        let (action, target) = (self.text("action")?, self.text("target")?);
        match (action.as_deref(), target.as_deref()) {
            (None, None) => Ok(usual.action.clone()),
            (action, target) => {
                let action = action.unwrap_or(usual.action.word());
                let there = usual.action.target().filter(|_| action == usual.action.word());
                entry::block(action, target.or(there.as_deref()))
            }
        }
    }
}

/// Reads what entries of one call have in common.
///
/// # Errors
/// It is not an object of such members.
pub(crate) fn usual(kind: Kind, octets: &[u8]) -> Result<Usual, Complaint> {
    let (mut members, mut usual) = (Members::read(octets)?, Usual::default());
    usual.comment = members.comment(&usual)?;
    match kind {
        Kind::Record => usual.ttl = members.ttl()?.unwrap_or(usual.ttl),
        Kind::Block => usual.action = members.act(&usual)?,
    }
    members.finish().map(|()| usual)
}

/// Reads an entry; its key goes to the end of `keys`.
///
/// # Errors
/// It is none. `keys` may have more octets then.
pub(crate) fn read(kind: Kind, octets: &[u8], usual: &Usual, keys: &mut Vec<u8>) -> Result<Saying, Complaint> {
    let mut members = Members::read(octets)?;
    let name = members.needed("name")?;
    let saying = match kind {
        Kind::Record => {
            let name = entry::name("name", name.as_bytes())?;
            let rtype = entry::rtype(&members.needed("type")?)?;
            let rdata = entry::value(rtype, &members.needed("value")?)?;
            let ttl = members.ttl()?.unwrap_or(usual.ttl);
            key::push_record(keys, name.as_ref(), rtype, &rdata);
            Saying::Record { ttl, comment: members.comment(usual)? }
        }
        Kind::Block => {
            let name = entry::blocked_name(name.as_bytes())?;
            key::push_block(keys, name.as_ref());
            Saying::Block { action: members.act(usual)?, comment: members.comment(usual)? }
        }
    };
    members.finish().map(|()| saying)
}

/// What stands between objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// Nothing has come yet: an object or `[`.
    Start,
    /// One object after another.
    Stream,
    /// Behind `[`: an object or `]`.
    First,
    /// Behind an object of an array: `,` or `]`.
    Comma,
    /// Behind a comma of an array: an object.
    Next,
    /// Behind `]`: nothing.
    End,
}

/// Finds the objects in octets that come in pieces: one object, several behind each other, or an array of them.
#[derive(Debug)]
pub(crate) struct Objects {
    between: Between,
    /// How many brackets are open, in an object.
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The octets of an object that began in an earlier piece.
    begun: Vec<u8>,
    /// The line being read, from 1.
    line: u64,
    /// Where the object being read stands: its line, or its number in the array from 1.
    place: u64,
    nth: u64,
}

/// The octets cannot be objects from here on.
pub(crate) struct Broken {
    /// The line.
    pub(crate) line: u64,
    /// Why.
    pub(crate) what: String,
}

impl Objects {
    pub(crate) fn new() -> Objects {
        Objects {
            between: Between::Start,
            depth: 0,
            in_string: false,
            escaped: false,
            begun: Vec::new(),
            line: 1,
            place: 0,
            nth: 0,
        }
    }

    /// Hands each object that ends in the piece to `entry`, with its place.
    pub(crate) fn feed(&mut self, piece: &[u8], entry: &mut Entry<'_>) -> Result<(), Broken> {
        let mut start = 0;
        for (at, &octet) in piece.iter().enumerate() {
            self.line += u64::from(octet == b'\n');
            if self.depth == 0 {
                if octet == b'{' {
                    self.open()?;
                    start = at;
                } else {
                    self.between(octet)?;
                }
                continue;
            }
            if self.in_string {
                match octet {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match octet {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let octets = piece.get(start..=at).unwrap_or_default();
                        self.close(octets, entry);
                        start = at + 1;
                    }
                }
                _ => {}
            }
        }
        if self.depth > 0 {
            self.begun.extend_from_slice(piece.get(start..).unwrap_or_default());
            if self.begun.len() > crate::bulk::MAX_PIECE {
                let what = format!("an object has more than {} octets", crate::bulk::MAX_PIECE);
                return Err(Broken { line: self.line, what });
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Broken> {
        match self.between {
            Between::Start => self.between = Between::Stream,
            Between::Stream | Between::First | Between::Next => {}
            Between::Comma => return Err(self.broken("a comma is missing before this object")),
            Between::End => return Err(self.broken("there is more after the array")),
        }
        self.nth += 1;
        self.place = if self.between == Between::Stream { self.line } else { self.nth };
        self.depth = 1;
        Ok(())
    }

    fn close(&mut self, octets: &[u8], entry: &mut Entry<'_>) {
        if self.between != Between::Stream {
            self.between = Between::Comma;
        }
        if self.begun.is_empty() {
            entry(self.place, octets);
        } else {
            self.begun.extend_from_slice(octets);
            entry(self.place, &self.begun);
            self.begun.clear();
        }
    }

    /// An octet between objects.
    fn between(&mut self, octet: u8) -> Result<(), Broken> {
        self.between = match (self.between, octet) {
            (now, b' ' | b'\t' | b'\r' | b'\n') => now,
            (Between::Start, b'[') => Between::First,
            (Between::First | Between::Comma, b']') => Between::End,
            (Between::Comma, b',') => Between::Next,
            (Between::End, _) => return Err(self.broken("there is more after the array")),
            (Between::Stream, b',') => {
                return Err(self.broken("objects with commas between them stand in an array: [ … ]"));
            }
            (Between::Comma, _) => return Err(self.broken("a comma or ] is missing after an object")),
            _ => return Err(self.broken("an object is wanted here: { … }")),
        };
        Ok(())
    }

    fn broken(&self, what: &str) -> Broken {
        Broken { line: self.line, what: what.to_owned() }
    }

    /// Says whether the octets may end here.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        match self.between {
            _ if self.depth > 0 => Err(self.broken("the last object has no end")),
            Between::First | Between::Comma | Between::Next => Err(self.broken("the array has no end")),
            Between::Start => Err(self.broken("there is nothing in it")),
            Between::Stream | Between::End => Ok(()),
        }
    }
}
