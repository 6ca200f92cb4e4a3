//! One question asked from inside, and its answer as text.
//!
//! Owns the reading of names and types that operators write, and the presentation of what came back. How it is found out
//! is the workers' business, as for any client.

use std::time::{Duration, Instant};

use net::lookup::Looked;
use resolve::Question;
use store::Security;
use wire::{Answer, Class, Name, Rrset, Rtype};

use crate::cache::not_running;
use crate::engine::lost;
use crate::{Engine, Failure};

/// Longest time one lookup may take: what a caller asks for beyond it is cut. Longer than the mesh goes on for any
/// question.
pub const MAX_LOOKUP: Duration = Duration::from_secs(60);

/// What a lookup found; record lines are in presentation form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The response code's word.
    pub rcode: String,
    /// `name class type`.
    pub question: String,
    /// The answer section.
    pub answer: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section.
    pub additional: Vec<String>,
    /// Microseconds it took.
    pub elapsed_us: u64,
    /// Nobody had to be asked.
    pub from_cache: bool,
    /// It was served beyond its time.
    pub stale: bool,
    /// The AD flag.
    pub authentic: bool,
    /// What DNSSEC says of it.
    pub security: &'static str,
    /// Extended errors: code and text.
    pub ede: Vec<(u16, String)>,
    /// Why there is no good answer.
    pub why: Option<String>,
}

impl Engine {
    /// Resolves one question as for a client that the rules let pass; `None` if `limit`, at most [`MAX_LOOKUP`], passed.
    ///
    /// # Errors
    /// Nothing runs, or `name` or `rtype` is none.
    pub fn lookup(&self, name: &str, rtype: &str, cd: bool, limit: Duration) -> Result<Option<Lookup>, Failure> {
        let (name, qtype) = (self::name(name)?, self::rtype(rtype)?);
        let (pool, _) = self.plane().ok_or_else(not_running)?;
        let question = format!("{name} {} {qtype}", Class::IN);
        let begin = Instant::now();
        let asked = self::question(name, qtype, cd);
        let Some(found) = pool.lookup(asked, limit.min(MAX_LOOKUP)).map_err(lost)? else { return Ok(None) };
        let Looked { answer, cached, stale, security, why, .. } = found;
        Ok(Some(Lookup {
            rcode: answer.rcode.to_string(),
            question,
            answer: lines(&answer.answer),
            authority: lines(&answer.authority),
            additional: lines(&answer.additional),
            elapsed_us: u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
            from_cache: cached,
            stale,
            authentic: answer.ad,
            security: word(security),
            ede: ede(&answer),
            why,
        }))
    }
}

/// A question asked from inside.
pub(crate) fn question(name: Name, qtype: Rtype, cd: bool) -> Question {
    Question { name, qtype, qclass: Class::IN, cd, rd: true, patient: true }
}

pub(crate) fn word(security: Security) -> &'static str {
    match security {
        Security::Unchecked => "unchecked",
        Security::Bogus => "bogus",
        Security::Indeterminate => "indeterminate",
        Security::Insecure => "insecure",
        Security::Secure => "secure",
    }
}

/// A name as an operator writes it.
///
/// # Errors
/// It is no name.
pub(crate) fn name(text: &str) -> Result<Name, Failure> {
    let told = |error| Failure::new(format!("\"{text}\" is not a domain name ({error})"));
    let name = Name::from_text(text).map_err(told)?;
    Ok(name.as_ref().to_buf().as_ref().lower().to_name())
}

/// A type as an operator writes it: a mnemonic or `TYPEnnn` (RFC 3597 5).
///
/// # Errors
/// It is no type.
pub(crate) fn rtype(text: &str) -> Result<Rtype, Failure> {
    let told = |_| Failure::new(format!("\"{text}\" is not a record type")).advise("a mnemonic as AAAA, or TYPE28");
    text.to_ascii_uppercase().parse().map_err(told)
}

/// The records of a section, one line each: owner, TTL, class, type, data. Signatures follow what they sign.
pub(crate) fn lines(sets: &[Rrset]) -> Vec<String> {
    let mut lines = Vec::new();
    for set in sets {
        let mut line = |rtype: Rtype, rdata: &[u8]| {
            let data = wire::text::rdata_to_text(rtype, rdata);
            lines.push(format!("{} {} {} {rtype} {data}", set.owner, set.ttl, set.class));
        };
        set.rdata.iter().for_each(|rdata| line(set.rtype, rdata));
        set.sigs.iter().for_each(|sig| line(Rtype::RRSIG, sig));
    }
    lines
}

/// The extended errors of an answer.
pub(crate) fn ede(answer: &Answer) -> Vec<(u16, String)> {
    answer.ede.iter().map(|ede| (ede.code, ede.text.clone().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use wire::{Class, RdataSet};

    use super::*;

    #[test]
    fn names_and_types_are_read_as_they_are_written() {
        assert_eq!(name("WWW.Example").expect("a name").to_string(), "www.example.");
        assert_eq!(
            name("a..b").expect_err("no name").to_string().split_once(" (").expect("a reason").0,
            "\"a..b\" is not a domain name"
        );
        assert_eq!(rtype("aaaa").expect("a type"), Rtype::AAAA);
        assert_eq!(rtype("TYPE28").expect("a type"), Rtype::AAAA);
        assert!(rtype("ADDRESS").expect_err("no type").to_string().starts_with("\"ADDRESS\" is not a record type"));
    }

    #[test]
    fn records_come_as_lines_with_their_signatures_behind_them() {
        let owner = || Name::from_text("www.example.").expect("a name");
        let mut rdata = RdataSet::one(&[192, 0, 2, 1]);
        rdata.push(&[192, 0, 2, 2]);
        let set = Rrset::new(owner(), Rtype::A, Class::IN, 300, rdata).with_sigs(RdataSet::one(&[0, 1]));
        let shown = lines(&[set]);
        assert_eq!(shown[..2], ["www.example. 300 IN A 192.0.2.1", "www.example. 300 IN A 192.0.2.2"]);
        assert_eq!(shown[2], r"www.example. 300 IN RRSIG \# 2 0001");
    }
}
