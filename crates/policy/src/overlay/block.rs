//! What is done with a blocked name.
//!
//! It owns the five actions, the answers they give and how they are kept. It never decides which block holds a name.

use std::net::IpAddr;

use wire::{Answer, Class, Ede, Name, NameRef, Query, Rcode, RdataSet, Rrset, Rtype};

use crate::verdict::Verdict;

/// Seconds what a block answers may be kept. Short, so that a name that is given free is free soon; negative answers come
/// without SOA and are not kept at all (RFC 2308 5).
pub const BLOCK_TTL: u32 = 60;

/// What queries for a blocked name, and all below it, get. Any type: also DS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// NXDOMAIN.
    Nxdomain,
    /// REFUSED.
    Refuse,
    /// NOERROR without records.
    Nodata,
    /// 0.0.0.0 and ::, no other types.
    Null,
    /// These addresses, no other types.
    Addresses(Vec<IpAddr>),
    /// What this name has: a CNAME to it that is followed.
    Alias(Name),
}

impl Block {
    /// The block of an action's word and, for `redirect` alone, its target: addresses with blanks or commas between them,
    /// or a name.
    ///
    /// # Errors
    /// What is wrong, as a sentence without its subject.
    pub fn from_words(action: &str, target: Option<&str>) -> Result<Block, String> {
        let block = match (action, target) {
            ("redirect", Some(target)) => return redirect(target),
            ("redirect", None) => return Err("redirect needs a target: addresses, or a name".to_owned()),
            ("nxdomain", _) => Block::Nxdomain,
            ("refuse", _) => Block::Refuse,
            ("nodata", _) => Block::Nodata,
            ("null", _) => Block::Null,
            _ => return Err(format!("\"{action}\" is none of nxdomain, refuse, nodata, null, redirect")),
        };
        match target {
            None => Ok(block),
            Some(_) => Err(format!("{action} has no target, only redirect has")),
        }
    }

    /// The word of the action.
    pub fn word(&self) -> &'static str {
        match self {
            Block::Nxdomain => "nxdomain",
            Block::Refuse => "refuse",
            Block::Nodata => "nodata",
            Block::Null => "null",
            Block::Addresses(_) | Block::Alias(_) => "redirect",
        }
    }

    /// The target in the form that [`Block::from_words`] reads and that is the same for the same target.
    pub fn target(&self) -> Option<String> {
        match self {
            Block::Addresses(all) => Some(all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            Block::Alias(name) => Some(name.as_ref().lower().to_string()),
            _ => None,
        }
    }

    /// Appends the form it is kept in, of at least one octet.
    pub(crate) fn pack(&self, into: &mut Vec<u8>) {
        into.push(match self {
            Block::Nxdomain => NXDOMAIN,
            Block::Refuse => REFUSE,
            Block::Nodata => NODATA,
            Block::Null => NULL,
            Block::Addresses(_) => ADDRESSES,
            Block::Alias(_) => ALIAS,
        });
        match self {
            Block::Addresses(all) => {
                for address in all {
                    match address {
                        IpAddr::V4(ip) => {
                            into.push(4);
                            into.extend_from_slice(&ip.octets());
                        }
                        IpAddr::V6(ip) => {
                            into.push(16);
                            into.extend_from_slice(&ip.octets());
                        }
                    }
                }
            }
            Block::Alias(name) => into.extend_from_slice(name.as_ref().as_wire()),
            _ => {}
        }
    }
}

fn redirect(target: &str) -> Result<Block, String> {
    let words: Vec<&str> = target.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let addresses: Result<Vec<IpAddr>, _> = words.iter().map(|word| word.parse()).collect();
    match (addresses, words.as_slice()) {
        (_, []) => Err("redirect needs a target: addresses, or a name".to_owned()),
        (Ok(mut all), _) => {
            all.sort_unstable();
            all.dedup();
            Ok(Block::Addresses(all))
        }
        (Err(_), [name]) => {
            Name::from_text(name).map(Block::Alias).map_err(|what| format!("\"{name}\" is not a name: {what}"))
        }
        (Err(_), _) => Err(format!("\"{target}\" is neither addresses nor one name")),
    }
}

const NXDOMAIN: u8 = 0;
const REFUSE: u8 = 1;
const NODATA: u8 = 2;
const NULL: u8 = 3;
const ADDRESSES: u8 = 4;
const ALIAS: u8 = 5;

/// A block as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    kind: u8,
    target: &'a [u8],
}

/// The block that a query met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHit {
    /// Labels of its name, which is the qname or above it.
    pub labels: usize,
    /// The word of what it does.
    pub word: &'static str,
}

impl BlockHit {
    /// The name of the block that a query for `qname` met.
    pub fn name<'n>(&self, qname: NameRef<'n>) -> NameRef<'n> {
        qname.ancestors().find(|name| name.label_count() <= self.labels).unwrap_or(qname)
    }
}

impl<'a> Action<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Option<Action<'a>> {
        packed.split_first().map(|(kind, target)| Action { kind: *kind, target })
    }

    /// What it was made of.
    pub(crate) fn to_block(self) -> Block {
        match self.kind {
            REFUSE => Block::Refuse,
            NODATA => Block::Nodata,
            NULL => Block::Null,
            ADDRESSES => Block::Addresses(self.addresses().map(|address| address.to_ip()).collect()),
            ALIAS => Block::Alias(self.alias().to_name()),
            _ => Block::Nxdomain,
        }
    }

    /// The word of the action.
    pub(crate) fn word(self) -> &'static str {
        match self.kind {
            REFUSE => "refuse",
            NODATA => "nodata",
            NULL => "null",
            ADDRESSES | ALIAS => "redirect",
            _ => "nxdomain",
        }
    }

    /// What a query gets.
    pub(crate) fn verdict(self, q: &Query) -> Verdict {
        let mut answer = Answer { aa: true, ede: Some(Ede::new(Ede::BLOCKED, "")), ..Answer::new(Rcode::NOERROR) };
        match (self.kind, q.qtype) {
            (REFUSE, _) => (answer.rcode, answer.aa) = (Rcode::REFUSED, false),
            (NODATA, _) => {}
            (NULL, Rtype::A) => answer.answer.push(rrset(q, Rtype::A, RdataSet::one(&[0; 4]))),
            (NULL, Rtype::AAAA) => answer.answer.push(rrset(q, Rtype::AAAA, RdataSet::one(&[0; 16]))),
            (ADDRESSES, Rtype::A | Rtype::AAAA) => {
                let len = if q.qtype == Rtype::A { 4 } else { 16 };
                let mut rdata = RdataSet::new();
                self.addresses().filter(|address| address.0.len() == len).for_each(|address| {
                    rdata.push(address.0);
                });
                if !rdata.is_empty() {
                    answer.answer.push(rrset(q, q.qtype, rdata));
                }
            }
            (ALIAS, _) => {
                let target = self.alias();
                let cname = rrset(q, Rtype::CNAME, RdataSet::one(target.as_wire()));
                if q.qtype != Rtype::CNAME {
                    return Verdict::Alias { answer: vec![cname], target: target.to_name() };
                }
                answer.answer.push(cname);
            }
            (NULL | ADDRESSES, _) => {}
            _ => answer.rcode = Rcode::NXDOMAIN,
        }
        Verdict::Answer(answer)
    }

    fn alias(self) -> NameRef<'a> {
        NameRef::from_wire(self.target).unwrap_or(wire::name::ROOT)
    }

    fn addresses(self) -> impl Iterator<Item = Address<'a>> {
        let mut rest = self.target;
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (octets, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            Some(Address(octets))
        })
    }
}

/// The octets of an address.
struct Address<'a>(&'a [u8]);

impl Address<'_> {
    fn to_ip(&self) -> IpAddr {
        match <[u8; 4]>::try_from(self.0) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(self.0).unwrap_or_default()),
        }
    }
}

/// An RRset of the qname.
fn rrset(q: &Query, rtype: Rtype, rdata: RdataSet) -> Rrset {
    Rrset::new(q.qname.to_name(), rtype, Class::IN, BLOCK_TTL, rdata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_written_and_kept() {
        for (action, target, canonical) in [
            ("nxdomain", None, None),
            ("refuse", None, None),
            ("nodata", None, None),
            ("null", None, None),
            ("redirect", Some("192.0.2.9, ::1 192.0.2.1 ::1"), Some("192.0.2.1 192.0.2.9 ::1")),
            ("redirect", Some("Walled.Example"), Some("walled.example.")),
        ] {
            let block = Block::from_words(action, target).unwrap();
            assert_eq!((block.word(), block.target().as_deref()), (action, canonical));
            let mut packed = Vec::new();
            block.pack(&mut packed);
            let kept = Action::new(&packed).unwrap();
            assert_eq!((kept.to_block(), kept.word()), (block, action));
        }
        for (action, target) in [
            ("drop", None),
            ("redirect", None),
            ("redirect", Some(" ")),
            ("null", Some("::")),
            ("redirect", Some("a b")),
        ] {
            assert!(Block::from_words(action, target).is_err(), "{action} {target:?}");
        }
        assert!(Block::from_words("redirect", Some("a..b")).unwrap_err().starts_with("\"a..b\" is not a name"));
    }
}
