//! Where names stand in record data, type by type, so that messages in are decompressed and messages out compressed.
//!
//! It owns the layout of the types that carry names and of those whose length others rely on; every other type is
//! opaque octets (RFC 3597 3). It reads and writes nothing itself.

use crate::types::Rtype;

/// One field of record data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// So many octets.
    Fixed(usize),
    /// A character string: one octet of length and what it counts (RFC 1035 3.3).
    Text,
    /// A domain name that is compressed when sent (RFC 3597 4: only the types of RFC 1035).
    Compressed,
    /// A domain name that is sent whole, yet read compressed too, as Unbound does.
    Plain,
    /// All that is left.
    Rest,
}

use Field::{Compressed, Fixed, Plain, Rest, Text};

/// Whether names in the data of this type are compressed when sent: such data mean something only where they stand.
pub fn compressible(rtype: Rtype) -> bool {
    layout(rtype).contains(&Field::Compressed)
}

/// The fields of a type's data. A type not listed is [`Field::Rest`].
pub(crate) fn layout(rtype: Rtype) -> &'static [Field] {
    match rtype {
        Rtype::A => &[Fixed(4)],
        Rtype::AAAA => &[Fixed(16)],
        Rtype::NS | Rtype::MD | Rtype::MF | Rtype::CNAME | Rtype::MB | Rtype::MG | Rtype::MR | Rtype::PTR => {
            &[Compressed]
        }
        Rtype::SOA => &[Compressed, Compressed, Fixed(20)],
        Rtype::MINFO => &[Compressed, Compressed],
        Rtype::MX => &[Fixed(2), Compressed],
        Rtype::DNAME | Rtype::NSAP_PTR => &[Plain],
        Rtype::RP | Rtype::TALINK => &[Plain, Plain],
        Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::LP => &[Fixed(2), Plain],
        Rtype::PX => &[Fixed(2), Plain, Plain],
        Rtype::SRV => &[Fixed(6), Plain],
        Rtype::NAPTR => &[Fixed(4), Text, Text, Text, Plain],
        Rtype::SIG | Rtype::RRSIG => &[Fixed(18), Plain, Rest],
        Rtype::NXT | Rtype::NSEC => &[Plain, Rest],
        _ => &[Rest],
    }
}
