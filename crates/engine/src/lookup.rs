//! Names and types as operators write them.
//!
//! Owns their reading and what is said of those that are none.

use wire::{Name, Rtype};

use crate::Failure;

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

#[cfg(test)]
mod tests {
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
}
