//! Domain names in uncompressed wire form: the borrowed [`NameRef`], the stack buffer [`NameBuf`] and the owned
//! [`Name`], with RFC 4343 comparison, RFC 4034 canonical order and the presentation form of RFC 1035 5.1.
//!
//! It owns what makes octets a name and never compresses, resolves or knows what a name is used for. Every value of
//! these types is valid: labels of at most 63 octets, at most 255 octets in all, ended by the root label. That is why
//! nothing here can fail after construction.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

/// Most octets a name may have on the wire, the root label included (RFC 1035 2.3.4).
pub const MAX_NAME: usize = 255;
/// Most octets a label may have, its length octet not counted (RFC 1035 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Most labels a name can have, the root not counted: 127 labels of one octet fill 254 octets.
pub const MAX_LABELS: usize = 127;
/// Most compression pointers followed for one name. A legitimate name needs no more than one a label; a chain of
/// pointers to pointers costs an attacker two octets a hop and us a jump each (CVE-2026-44390).
pub const MAX_POINTERS: usize = MAX_LABELS;

/// Why octets or text are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty; the root is written `.`.
    Empty,
    /// Two dots in a row, or a dot at the start.
    EmptyLabel,
    /// A label of more than [`MAX_LABEL`] octets.
    LabelTooLong,
    /// More than [`MAX_NAME`] octets.
    TooLong,
    /// A backslash without a character or three digits up to 255 after it.
    BadEscape,
    /// The octets end before the root label, or go on after it.
    BadLength,
    /// A label type other than 00, or a pointer where none may stand.
    BadLabelType,
    /// A compression pointer that does not point strictly backwards, or too many of them.
    BadPointer,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "the name is empty (the root is written \".\")",
            NameError::EmptyLabel => "the name has an empty label (two dots in a row, or one at the start)",
            NameError::LabelTooLong => "a label is longer than 63 octets",
            NameError::TooLong => "the name is longer than 255 octets",
            NameError::BadEscape => "a backslash must be followed by a character or by three digits up to 255",
            NameError::BadLength => "the name does not end where it should",
            NameError::BadLabelType => "the name has an unknown label type",
            NameError::BadPointer => "the name has a compression pointer that does not point backwards",
        })
    }
}

impl std::error::Error for NameError {}

/// A name that stands in someone else's octets.
#[derive(Clone, Copy)]
pub struct NameRef<'a>(&'a [u8]);

/// The root name, good for any lifetime.
pub const ROOT: NameRef<'static> = NameRef(&[0]);

impl<'a> NameRef<'a> {
    /// Checks that `wire` is exactly one uncompressed name.
    pub fn from_wire(wire: &'a [u8]) -> Result<NameRef<'a>, NameError> {
        let (name, rest) = NameRef::split_from(wire)?;
        if rest.is_empty() { Ok(name) } else { Err(NameError::BadLength) }
    }

    /// Takes one uncompressed name from the front of `wire` and returns it with what follows.
    pub fn split_from(wire: &'a [u8]) -> Result<(NameRef<'a>, &'a [u8]), NameError> {
        let mut at = 0usize;
        loop {
            let len = usize::from(*wire.get(at).ok_or(NameError::BadLength)?);
            at += 1;
            if len > MAX_LABEL {
                return Err(NameError::BadLabelType);
            }
            at += len;
            if at > MAX_NAME {
                return Err(NameError::TooLong);
            }
            if len == 0 {
                return wire.split_at_checked(at).map(|(name, rest)| (NameRef(name), rest)).ok_or(NameError::BadLength);
            }
        }
    }

    /// The octets, root label included.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Octets on the wire, 1 to [`MAX_NAME`].
    #[allow(clippy::len_without_is_empty)] // a name is never empty: the root has one octet
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether this is the root.
    pub fn is_root(self) -> bool {
        self.0.len() == 1
    }

    /// Labels, the root not counted; a leading `*` is counted.
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// The labels from left to right, without the root.
    pub fn labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(self) -> Option<NameRef<'a>> {
        let (len, rest) = self.0.split_first()?;
        if *len == 0 {
            return None;
        }
        rest.get(usize::from(*len)..).map(NameRef)
    }

    /// This name and all names above it, ending with the root.
    pub fn ancestors(self) -> impl Iterator<Item = NameRef<'a>> {
        std::iter::successors(Some(self), |name| name.parent())
    }

    /// Whether this name is `other` or lies below it.
    pub fn is_subdomain_of(self, other: NameRef<'_>) -> bool {
        let mut name = self;
        while name.len() > other.len() {
            match name.parent() {
                Some(parent) => name = parent,
                None => return false,
            }
        }
        name == other
    }

    /// Whether the first label is `*` (RFC 4592).
    pub fn is_wildcard(self) -> bool {
        self.0.starts_with(&[1, b'*'])
    }

    /// An owned copy, case kept.
    pub fn to_name(self) -> Name {
        Name(self.0.into())
    }

    /// A copy on the stack, case kept.
    pub fn to_buf(self) -> NameBuf {
        NameBuf::copy(self.0)
    }

    /// A copy on the stack with A to Z made a to z.
    pub fn lower(self) -> NameBuf {
        let mut buf = NameBuf::copy(self.0);
        // Length octets are at most 63 and so never letters: all can be lowered without a look at labels.
        if let Some(octets) = buf.octets.get_mut(..self.0.len()) {
            octets.make_ascii_lowercase();
        }
        buf
    }

    /// Whether the octets are equal, case included.
    pub fn same_case(self, other: NameRef<'_>) -> bool {
        self.0 == other.0
    }
}

/// The labels of a name; see [`NameRef::labels`].
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        if *len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        self.0 = rest;
        Some(label)
    }
}

impl PartialEq<NameRef<'_>> for NameRef<'_> {
    fn eq(&self, other: &NameRef<'_>) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}
impl Eq for NameRef<'_> {}

/// Octets of a name that is hashed without a copy of full length.
const SHORT_NAME: usize = 64;

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Most names are short, and a copy of the longest there can be is most of the work.
        let mut short = [0; SHORT_NAME];
        if let Some(octets) = short.get_mut(..self.0.len()) {
            octets.copy_from_slice(self.0);
            octets.make_ascii_lowercase();
            return state.write(octets);
        }
        let lower = self.lower();
        state.write(lower.as_ref().as_wire());
    }
}

impl PartialOrd for NameRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NameRef<'_> {
    /// Canonical order, RFC 4034 6.1: by label from the right, octets unsigned and lower-cased, absence before presence.
    fn cmp(&self, other: &Self) -> Ordering {
        fn collect<'a>(name: NameRef<'a>, into: &mut [&'a [u8]; MAX_LABELS]) -> usize {
            let mut count = 0;
            for (slot, label) in into.iter_mut().zip(name.labels()) {
                *slot = label;
                count += 1;
            }
            count
        }
        let mut left: [&[u8]; MAX_LABELS] = [&[]; MAX_LABELS];
        let mut right: [&[u8]; MAX_LABELS] = [&[]; MAX_LABELS];
        let (l, r) = (collect(*self, &mut left), collect(*other, &mut right));
        for (a, b) in left.iter().take(l).rev().zip(right.iter().take(r).rev()) {
            let order = a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase));
            if order != Ordering::Equal {
                return order;
            }
        }
        l.cmp(&r)
    }
}

impl fmt::Display for NameRef<'_> {
    /// The presentation form: absolute, octets that are not graphic ASCII as `\DDD`, special characters as `\X`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.is_root() {
            return f.write_char('.');
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b';' | b'(' | b')' | b'\\' | b'"' | b'@' | b'$' => {
                        f.write_char('\\')?;
                        f.write_char(char::from(octet))?;
                    }
                    b'!'..=b'~' => f.write_char(char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name on the stack: 256 octets, `Copy`, no allocation. For building names and for what lives as long as a query.
#[derive(Clone, Copy)]
pub struct NameBuf {
    len: u8,
    octets: [u8; MAX_NAME],
}

impl NameBuf {
    /// The root name.
    pub fn root() -> NameBuf {
        NameBuf { len: 1, octets: [0; MAX_NAME] }
    }

    /// Copies octets that are a valid name already.
    fn copy(wire: &[u8]) -> NameBuf {
        let mut buf = NameBuf::root();
        if let Some(into) = buf.octets.get_mut(..wire.len()) {
            into.copy_from_slice(wire);
            buf.len = u8::try_from(wire.len()).unwrap_or(1);
        }
        buf
    }

    /// Reads presentation form; see [`Name::from_text`].
    pub fn from_text(text: &str) -> Result<NameBuf, NameError> {
        NameBuf::from_text_bytes(text.as_bytes())
    }

    /// Reads presentation form in any octets; those above 127 stand for themselves.
    pub fn from_text_bytes(text: &[u8]) -> Result<NameBuf, NameError> {
        match text {
            [] => return Err(NameError::Empty),
            [b'.'] => return Ok(NameBuf::root()),
            _ => {}
        }
        let mut buf = NameBuf::root();
        let mut label = [0u8; MAX_LABEL];
        let mut used = 0usize;
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            let octet = match first {
                b'.' => {
                    if used == 0 {
                        return Err(NameError::EmptyLabel);
                    }
                    buf.push_label(label.get(..used).unwrap_or_default())?;
                    used = 0;
                    continue;
                }
                b'\\' => {
                    let (octet, after) = unescape(rest).ok_or(NameError::BadEscape)?;
                    rest = after;
                    octet
                }
                other => other,
            };
            *label.get_mut(used).ok_or(NameError::LabelTooLong)? = octet;
            used += 1;
        }
        if used > 0 {
            buf.push_label(label.get(..used).unwrap_or_default())?;
        }
        Ok(buf)
    }

    /// Makes a name of labels, left to right, the root not among them.
    pub fn from_labels<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> Result<NameBuf, NameError> {
        let mut buf = NameBuf::root();
        for label in labels {
            buf.push_label(label)?;
        }
        Ok(buf)
    }

    /// Reads a name that may be compressed from `packet` at offset `at`; returns it with the offset after it.
    ///
    /// Pointers must go strictly backwards from the piece they stand in, so loops are impossible, and at most
    /// [`MAX_POINTERS`] are followed.
    pub fn from_packet(packet: &[u8], at: usize) -> Result<(NameBuf, usize), NameError> {
        let mut buf = NameBuf::root();
        let mut used = 0usize;
        let mut position = at;
        let mut piece = at; // where the piece being read starts: a pointer must aim below it
        let mut after = None;
        let mut pointers = 0usize;
        loop {
            let first = *packet.get(position).ok_or(NameError::BadLength)?;
            match first {
                0 => {
                    // The octet at `used` is zero already only if nothing longer was there before, which holds: the
                    // buffer starts as zeros and is written front to back.
                    buf.len = u8::try_from(used + 1).map_err(|_| NameError::TooLong)?;
                    return Ok((buf, after.unwrap_or(position + 1)));
                }
                1..=63 => {
                    let end = position + 1 + usize::from(first);
                    let label = packet.get(position..end).ok_or(NameError::BadLength)?;
                    // One octet stays free for the root label.
                    if used + label.len() > MAX_NAME - 1 {
                        return Err(NameError::TooLong);
                    }
                    buf.octets.get_mut(used..used + label.len()).ok_or(NameError::TooLong)?.copy_from_slice(label);
                    used += label.len();
                    position = end;
                }
                0xc0..=0xff => {
                    let second = *packet.get(position + 1).ok_or(NameError::BadLength)?;
                    let target = usize::from(first & 0x3f) << 8 | usize::from(second);
                    pointers += 1;
                    if target >= piece || pointers > MAX_POINTERS {
                        return Err(NameError::BadPointer);
                    }
                    after = after.or(Some(position + 2));
                    piece = target;
                    position = target;
                }
                _ => return Err(NameError::BadLabelType),
            }
        }
    }

    /// The name as a reference.
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(self.octets.get(..usize::from(self.len)).unwrap_or(ROOT.0))
    }

    /// Adds a label at the right end, just before the root.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        match label.len() {
            0 => return Err(NameError::EmptyLabel),
            1..=MAX_LABEL => {}
            _ => return Err(NameError::LabelTooLong),
        }
        let at = usize::from(self.len) - 1;
        let end = at + 1 + label.len();
        let len = u8::try_from(end + 1).map_err(|_| NameError::TooLong)?;
        let (first, rest) = self.octets.get_mut(at..end).and_then(|s| s.split_first_mut()).ok_or(NameError::TooLong)?;
        *first = u8::try_from(label.len()).map_err(|_| NameError::LabelTooLong)?;
        rest.copy_from_slice(label);
        if let Some(last) = self.octets.get_mut(end) {
            *last = 0;
        }
        self.len = len;
        Ok(())
    }

    /// Adds the labels of `name` at the right end.
    pub fn push_name(&mut self, name: NameRef<'_>) -> Result<(), NameError> {
        if usize::from(self.len) - 1 + name.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        name.labels().try_for_each(|label| self.push_label(label))
    }

    /// The name under `in-addr.arpa.` or `ip6.arpa.` for an address (RFC 1035 3.5, RFC 3596 2.5).
    pub fn reverse(address: IpAddr) -> NameBuf {
        fn build(address: IpAddr) -> Result<NameBuf, NameError> {
            let mut buf = NameBuf::root();
            let tail: &[u8] = match address {
                IpAddr::V4(v4) => {
                    for octet in v4.octets().iter().rev() {
                        buf.push_label(octet.to_string().as_bytes())?;
                    }
                    b"in-addr"
                }
                IpAddr::V6(v6) => {
                    for octet in v6.octets().iter().rev() {
                        for nibble in [octet & 15, octet >> 4] {
                            buf.push_label(&[b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0')])?;
                        }
                    }
                    b"ip6"
                }
            };
            buf.push_label(tail)?;
            buf.push_label(b"arpa")?;
            Ok(buf)
        }
        build(address).unwrap_or_else(|_| NameBuf::root()) // cannot fail: at most 74 octets
    }

    /// The name made of the labels of this one in front of `old`, followed by `new`: what a DNAME at `old` makes of it
    /// (RFC 6672 2.2). `None` when this name is not below `old`, [`NameError::TooLong`] when the result does not fit.
    pub fn rewrite(&self, old: NameRef<'_>, new: NameRef<'_>) -> Option<Result<NameBuf, NameError>> {
        let name = self.as_ref();
        if name == old || !name.is_subdomain_of(old) {
            return None;
        }
        let keep = name.label_count() - old.label_count();
        Some(NameBuf::from_labels(name.labels().take(keep)).and_then(|mut buf| buf.push_name(new).map(|()| buf)))
    }

    /// An owned copy, case kept.
    pub fn to_name(&self) -> Name {
        self.as_ref().to_name()
    }

    /// A copy with A to Z made a to z.
    pub fn lower(&self) -> NameBuf {
        self.as_ref().lower()
    }
}

/// One escaped octet after its backslash: `\DDD` or `\X`. Returns the octet and what follows.
pub(crate) fn unescape(after_backslash: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = after_backslash.split_first()?;
    if !first.is_ascii_digit() {
        return Some((first, rest));
    }
    let (digits, rest) = after_backslash.split_at_checked(3)?;
    let mut value = 0u16;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    Some((u8::try_from(value).ok()?, rest))
}

/// An owned name, as small as its octets, case kept.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root name.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Reads presentation form (RFC 1035 5.1): always absolute, the final dot may be missing, `\DDD` and `\X` escapes.
    pub fn from_text(text: &str) -> Result<Name, NameError> {
        NameBuf::from_text(text).map(|buf| buf.to_name())
    }

    /// Checks and copies one uncompressed name.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        NameRef::from_wire(wire).map(NameRef::to_name)
    }

    /// The name as a reference.
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// A copy with A to Z made a to z.
    pub fn lower(&self) -> Name {
        let mut octets = self.0.clone();
        octets.make_ascii_lowercase();
        Name(octets)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::from_text(text)
    }
}

impl From<NameRef<'_>> for Name {
    fn from(name: NameRef<'_>) -> Name {
        name.to_name()
    }
}

impl From<&NameBuf> for Name {
    fn from(name: &NameBuf) -> Name {
        name.to_name()
    }
}

/// Comparison, order, hash and text of an owning type are those of its [`NameRef`].
macro_rules! like_name_ref {
    ($type:ty) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.as_ref() == other.as_ref()
            }
        }
        impl Eq for $type {}
        impl PartialEq<NameRef<'_>> for $type {
            fn eq(&self, other: &NameRef<'_>) -> bool {
                self.as_ref() == *other
            }
        }
        impl PartialEq<$type> for NameRef<'_> {
            fn eq(&self, other: &$type) -> bool {
                *self == other.as_ref()
            }
        }
        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_ref().hash(state);
            }
        }
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_ref().cmp(&other.as_ref())
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.as_ref(), f)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.as_ref(), f)
            }
        }
    };
}
like_name_ref!(NameBuf);
like_name_ref!(Name);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::hash_map::DefaultHasher;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect(text)
    }

    fn hash(value: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// Names of up to four labels of any octets, short enough to be valid.
    pub(crate) fn any_name() -> impl Strategy<Value = NameBuf> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..=40), 0..=4)
            .prop_map(|labels| NameBuf::from_labels(labels.iter().map(Vec::as_slice)).expect("short"))
    }

    #[test]
    fn rfc1035_2_3_4_limits_hold() {
        let label = "a".repeat(63);
        assert!(Name::from_text(&label).is_ok());
        assert_eq!(Name::from_text(&"a".repeat(64)), Err(NameError::LabelTooLong));
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name(&longest).as_ref().len(), 255);
        assert_eq!(Name::from_text(&format!("{longest}a")), Err(NameError::TooLong));
        let many = "a.".repeat(127);
        assert_eq!(name(&many).as_ref().label_count(), MAX_LABELS);
        assert_eq!(Name::from_text(&format!("a.{many}")), Err(NameError::TooLong));
    }

    #[test]
    fn rfc1035_5_1_text_form() {
        assert_eq!(name("www.Example").to_string(), "www.Example.");
        assert_eq!(name(".").as_ref().as_wire(), [0]);
        assert_eq!(name(r"a\.b\065\\.c").as_ref().as_wire(), b"\x05a.bA\\\x01c\0");
        assert_eq!(name(r"a\.b\000 .c").to_string(), r"a\.b\000\032.c.");
        for (text, error) in [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (r"a\", NameError::BadEscape),
            (r"a\25", NameError::BadEscape),
            (r"a\256", NameError::BadEscape),
            (r"a\2x6", NameError::BadEscape),
        ] {
            assert_eq!(Name::from_text(text), Err(error), "{text}");
        }
    }

    #[test]
    fn rfc4343_case_does_not_matter() {
        assert_eq!(name("WWW.Example"), name("www.eXAMPLE."));
        assert_eq!(hash(name("WWW.Example")), hash(name("www.example")));
        assert_eq!(hash(name("WWW.Example")), hash(name("www.example").as_ref()));
        assert_ne!(name("a[.example"), name("a{.example"));
        assert_eq!(name("WWW.Example").lower().to_string(), "www.example.");
    }

    #[test]
    fn rfc4034_6_1_canonical_order() {
        let sorted = [
            "example",
            "a.example",
            "yljkjljk.a.example",
            "Z.a.example",
            "zABC.a.EXAMPLE",
            "z.example",
            r"\001.z.example",
            "*.z.example",
            r"\200.z.example",
        ];
        for pair in sorted.windows(2) {
            assert!(name(pair[0]) < name(pair[1]), "{pair:?}");
        }
        assert_eq!(name("A.example").cmp(&name("a.EXAMPLE")), Ordering::Equal);
    }

    #[test]
    fn subdomains_end_at_label_borders() {
        let zone = name("Example.com");
        for inside in ["example.com", "a.example.COM", "b.a.example.com"] {
            assert!(name(inside).as_ref().is_subdomain_of(zone.as_ref()), "{inside}");
        }
        for outside in ["com", "badexample.com", "example.com.net", r"a\007example.com"] {
            assert!(!name(outside).as_ref().is_subdomain_of(zone.as_ref()), "{outside}");
        }
        assert!(zone.as_ref().is_subdomain_of(ROOT));
    }

    #[test]
    fn rfc6672_2_2_dname_rewrites_below_only() {
        let (old, new) = (name("old.example"), name("new.test"));
        let rewrite = |text: &str| name(text).as_ref().to_buf().rewrite(old.as_ref(), new.as_ref());
        assert_eq!(rewrite("a.b.old.example").unwrap().unwrap().to_string(), "a.b.new.test.");
        assert!(rewrite("old.example").is_none() && rewrite("a.example").is_none());
        let long = name(&format!("{}.new.test", ["x".repeat(63), "x".repeat(63), "x".repeat(60)].join(".")));
        let below = name(&format!("{}.old.example", "y".repeat(60))).as_ref().to_buf();
        assert_eq!(below.rewrite(old.as_ref(), long.as_ref()).unwrap().unwrap_err(), NameError::TooLong);
    }

    #[test]
    fn rfc3596_2_5_reverse_names() {
        assert_eq!(NameBuf::reverse("192.0.2.1".parse().unwrap()).to_string(), "1.2.0.192.in-addr.arpa.");
        let v6 = NameBuf::reverse("2001:db8::1".parse().unwrap()).to_string();
        assert_eq!(v6, format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa.", "0.".repeat(23)));
    }

    #[test]
    fn rfc1035_4_1_4_pointers_go_backwards_only() {
        let mut packet = b"\x03www\x07example\0".to_vec();
        let at = packet.len();
        packet.extend(b"\x01a\xc0\x04");
        let (found, after) = NameBuf::from_packet(&packet, at).unwrap();
        assert_eq!((found.to_string().as_str(), after), ("a.example.", packet.len()));
        for (bad, from) in
            [(&b"\xc0\x00"[..], 0), (b"\x01a\xc0\x00", 0), (b"\xc0\x02\xc0\x00", 0), (b"\xc0\x04\0\0\0", 0)]
        {
            assert_eq!(NameBuf::from_packet(bad, from).unwrap_err(), NameError::BadPointer, "{bad:?}");
        }
        assert_eq!(NameBuf::from_packet(b"\x80a", 0).unwrap_err(), NameError::BadLabelType);
        assert_eq!(NameBuf::from_packet(b"\x03ab", 0).unwrap_err(), NameError::BadLength);
        assert_eq!(NameBuf::from_packet(b"\x01a\xc0", 0).unwrap_err(), NameError::BadLength);
    }

    #[test]
    fn names_of_256_octets_pass_no_door() {
        let labels = [&[63u8; 64][..], &[63; 64], &[63; 64], &[61; 62], b"\0"].concat();
        assert_eq!(labels.len(), 255);
        let longest = NameRef::from_wire(&labels).unwrap().to_buf();
        let text = longest.to_string();
        let more = [&[63u8; 64][..], &[63; 64], &[63; 64], &[62; 63], b"\0"].concat();
        assert_eq!(NameRef::from_wire(&more).unwrap_err(), NameError::TooLong);
        assert_eq!(NameBuf::from_packet(&more, 0).unwrap_err(), NameError::TooLong);
        assert!(NameBuf::from_text(&text).is_ok() && NameBuf::from_text(&format!(">{text}")).is_err());
        // Made longer by what a pointer leads to, by a label, by another name, by a DNAME.
        let packet = [&labels[..], b"\x01a\xc0\0"].concat();
        assert_eq!(NameBuf::from_packet(&packet, 255).unwrap_err(), NameError::TooLong);
        let mut grown = longest;
        assert!(grown.push_label(b"a").is_err() && grown.push_name(name("a.").as_ref()).is_err());
        assert_eq!(grown.as_ref().len(), 255);
        let below = name("a.b.example.").as_ref().to_buf();
        assert!(below.rewrite(name("example.").as_ref(), longest.as_ref()).is_some_and(|made| made.is_err()));
    }

    #[test]
    fn cve_2026_44390_chains_of_pointers_are_cut() {
        // Each pointer aims at the one before it; the first at a root label.
        let mut packet = vec![0u8, 0];
        for nth in 1u16..=200 {
            packet.extend((0xc000 | ((nth - 1) * 2)).to_be_bytes());
        }
        assert!(NameBuf::from_packet(&packet, MAX_POINTERS * 2).is_ok());
        assert_eq!(NameBuf::from_packet(&packet, (MAX_POINTERS + 1) * 2).unwrap_err(), NameError::BadPointer);
    }

    proptest! {
        #[test]
        fn text_round_trips(name in any_name()) {
            let back = NameBuf::from_text(&name.to_string()).unwrap();
            prop_assert!(back.as_ref().same_case(name.as_ref()));
        }

        #[test]
        fn wire_round_trips(name in any_name()) {
            let wire = name.as_ref().as_wire();
            prop_assert!(NameRef::from_wire(wire).unwrap().same_case(name.as_ref()));
            let (back, after) = NameBuf::from_packet(wire, 0).unwrap();
            prop_assert!(back.as_ref().same_case(name.as_ref()));
            prop_assert_eq!(after, wire.len());
        }

        #[test]
        fn any_octets_are_a_valid_name_or_an_error(packet in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..600) {
            if let Ok((name, after)) = NameBuf::from_packet(&packet, at) {
                prop_assert!(NameRef::from_wire(name.as_ref().as_wire()).is_ok());
                prop_assert!(after <= packet.len());
            }
        }

        #[test]
        fn order_equality_and_hash_agree(a in any_name(), b in any_name()) {
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(hash(a.lower()), hash(a));
            prop_assert_eq!(a.lower(), a);
        }

        #[test]
        fn every_ancestor_is_above(name in any_name()) {
            for above in name.as_ref().ancestors() {
                prop_assert!(name.as_ref().is_subdomain_of(above));
            }
            prop_assert_eq!(name.as_ref().ancestors().count(), name.as_ref().label_count() + 1);
        }
    }
}
