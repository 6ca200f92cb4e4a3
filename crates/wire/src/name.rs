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
            NameError::EmptyLabel => {
                "the name has an empty label (two dots in a row, or one at the start)"
            }
            NameError::LabelTooLong => "a label is longer than 63 octets",
            NameError::TooLong => "the name is longer than 255 octets",
            NameError::BadEscape => {
                "a backslash must be followed by a character or by three digits up to 255"
            }
            NameError::BadLength => "the name does not end where it should",
            NameError::BadLabelType => "the name has an unknown label type",
            NameError::BadPointer => {
                "the name has a compression pointer that does not point backwards"
            }
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
        if rest.is_empty() {
            Ok(name)
        } else {
            Err(NameError::BadLength)
        }
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
                return wire
                    .split_at_checked(at)
                    .map(|(name, rest)| (NameRef(name), rest))
                    .ok_or(NameError::BadLength);
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
        // Length octets are at most 63 and so never letters: the whole buffer can be lowered without a look at labels.
        buf.octets.make_ascii_lowercase();
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

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
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
            let order = a
                .iter()
                .map(u8::to_ascii_lowercase)
                .cmp(b.iter().map(u8::to_ascii_lowercase));
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
        NameBuf {
            len: 1,
            octets: [0; MAX_NAME],
        }
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
    pub fn from_labels<'l>(
        labels: impl IntoIterator<Item = &'l [u8]>,
    ) -> Result<NameBuf, NameError> {
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
                    buf.octets
                        .get_mut(used..used + label.len())
                        .ok_or(NameError::TooLong)?
                        .copy_from_slice(label);
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
        let (first, rest) = self
            .octets
            .get_mut(at..end)
            .and_then(|s| s.split_first_mut())
            .ok_or(NameError::TooLong)?;
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

    /// Puts a label in front.
    pub fn prepend_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        let mut longer = NameBuf::root();
        longer.push_label(label)?;
        longer.push_name(self.as_ref())?;
        *self = longer;
        Ok(())
    }

    /// `*.` in front of `name` (RFC 4592).
    pub fn wildcard_of(name: NameRef<'_>) -> Result<NameBuf, NameError> {
        let mut buf = name.to_buf();
        buf.prepend_label(b"*")?;
        Ok(buf)
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
                            buf.push_label(&[b"0123456789abcdef"
                                .get(usize::from(nibble))
                                .copied()
                                .unwrap_or(b'0')])?;
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
    pub fn rewrite(
        &self,
        old: NameRef<'_>,
        new: NameRef<'_>,
    ) -> Option<Result<NameBuf, NameError>> {
        let name = self.as_ref();
        if name == old || !name.is_subdomain_of(old) {
            return None;
        }
        let keep = name.label_count() - old.label_count();
        Some(
            NameBuf::from_labels(name.labels().take(keep))
                .and_then(|mut buf| buf.push_name(new).map(|()| buf)),
        )
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
