//! Texts of fixed length.
//!
//! Owns how PKCS#11 writes them: padded with spaces, by some modules with zeros.

/// A field of a structure, without its padding. What is not UTF-8 is shown as such.
pub(crate) fn padded(field: &[u8]) -> String {
    let end = field.iter().rposition(|octet| !matches!(octet, b' ' | 0)).map_or(0, |last| last + 1);
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// A text as a field: padded with spaces. None if it is too long.
pub(crate) fn field<const SIZE: usize>(text: &str) -> Option<[u8; SIZE]> {
    let mut field = [b' '; SIZE];
    field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_and_comes() {
        assert_eq!(padded(b"runbound dev    "), "runbound dev");
        assert_eq!(padded(b"x\0\0\0"), "x");
        assert_eq!(padded(b"    "), "");
        assert_eq!(field::<6>("abc"), Some(*b"abc   "));
        assert_eq!(field::<2>("abc"), None);
    }
}
