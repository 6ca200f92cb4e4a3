//! [`Types`]: the type bitmap of NSEC and NSEC3 (RFC 4034 4.1.2).
//!
//! It owns its shape. Bitmaps that break it are refused whole, so that two readers can never see different types in one.

use wire::Rtype;

/// The types at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types<'a>(&'a [u8]);

impl<'a> Types<'a> {
    /// Checks the blocks: windows ascend, each has 1 to 32 octets.
    pub fn parse(octets: &'a [u8]) -> Option<Types<'a>> {
        let mut rest = octets;
        let mut last: Option<u8> = None;
        while let [window, len, after @ ..] = rest {
            if last.is_some_and(|last| last >= *window) || !(1..=32).contains(len) {
                return None;
            }
            last = Some(*window);
            rest = after.get(usize::from(*len)..)?;
        }
        rest.is_empty().then_some(Types(octets))
    }

    /// Whether the type is there.
    pub fn has(&self, rtype: Rtype) -> bool {
        let [want, low] = rtype.0.to_be_bytes();
        let mut rest = self.0;
        while let [window, len, after @ ..] = rest {
            let Some((block, after)) = after.split_at_checked(usize::from(*len)) else { return false };
            if *window == want {
                return block.get(usize::from(low / 8)).is_some_and(|octet| octet & (0x80 >> (low % 8)) != 0);
            }
            rest = after;
        }
        false
    }

    /// Whether there is anything but what DNSSEC itself puts at a name: what an ANY question would be answered with.
    pub(crate) fn has_data(&self) -> bool {
        let mut rest = self.0;
        while let [window, len, after @ ..] = rest {
            let Some((block, after)) = after.split_at_checked(usize::from(*len)) else { return false };
            for (nth, octet) in (0u8..32).zip(block) {
                // RRSIG 46 and NSEC 47 share an octet, NXNAME is the first bit of the seventeenth.
                let own = match (window, nth) {
                    (0, 5) => 0x03,
                    (0, 16) => 0x80,
                    _ => 0,
                };
                if octet & !own != 0 {
                    return true;
                }
            }
            rest = after;
        }
        false
    }

    /// A zone cut seen from above: NS without SOA.
    pub(crate) fn is_delegation(&self) -> bool {
        self.has(Rtype::NS) && !self.has(Rtype::SOA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4034_4_1_2_bits_are_where_the_example_has_them() {
        // RFC 4034 4.3: A MX RRSIG NSEC TYPE1234.
        let mut octets = vec![0, 6, 0x40, 1, 0, 0, 0, 3, 4, 0x1b];
        octets.extend([0; 26]);
        octets.push(0x20);
        let types = Types::parse(&octets).unwrap();
        let there: Vec<u16> = (0..=u16::MAX).filter(|number| types.has(Rtype(*number))).collect();
        assert_eq!(there, [1, 15, 46, 47, 1234]);
        assert!(types.has_data());
        assert!(!Types(&[0, 6, 0, 0, 0, 0, 0, 3]).has_data() && !Types(&[]).has_data());
        assert!(!Types(&[0, 17, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]).has_data());
        assert!(Types(&[1, 1, 0x40]).has_data());
    }

    #[test]
    fn rfc4034_4_1_2_bitmaps_out_of_shape_are_refused() {
        for bad in [&[0][..], &[0, 0], &[0, 33, 1], &[0, 1], &[1, 1, 1, 0, 1, 1], &[0, 1, 1, 0, 1, 1], &[0, 1, 1, 9]] {
            assert_eq!(Types::parse(bad), None, "{bad:?}");
        }
        assert!(Types::parse(&[]).is_some());
    }
}
