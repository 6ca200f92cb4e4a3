//! A secret from an elliptic private key that stays in the token.
//!
//! Smart cards often compute no HMAC. But each can multiply a point by its private key, and with the same point the
//! result is always the same: a secret that only the holder of the key can make. Owns the points. Nobody knows the
//! discrete logarithm of one, so the token's public key helps nobody to the secret: x is the digest of
//! "runbound fixed point CURVE N" (SHA-256, -384 or -512, as the curve's size) for the first N from 0 that gives a point, y the even root.

use cryptoki_sys::*;
use sys::memory::Locked;

use crate::failure::{Fault, failure};
use crate::messages::Failure;
use crate::session::{Attribute, Reading, Session};

/// The uncompressed form of a point begins so.
const UNCOMPRESSED: u8 = 4;
/// DER: an octet string.
const OCTET_STRING: u8 = 4;

/// A curve by its CKA_EC_PARAMS, and our point on it.
struct Curve {
    /// As people call it; the fixed point is drawn from it.
    #[cfg(test)]
    name: &'static str,
    /// Its object identifier in DER.
    parameters: &'static [u8],
    x: &'static str,
    y: &'static str,
}

/// CKA_EC_PARAMS of P-256, the curve of keys made here.
pub(crate) const P256: &[u8] = &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

const CURVES: [Curve; 3] = [
    Curve {
        #[cfg(test)]
        name: "P-256",
        parameters: P256,
        x: "f5d7997b718529cc2ffc22f1a5945d5ecb4601389431d16bd2c2a9be5856f4fc",
        y: "6455076269c883b8363b4ff536f000e3ec6716fbeedf5dcfc2e1ee7b3ecdc85a",
    },
    Curve {
        #[cfg(test)]
        name: "P-384",
        parameters: &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22],
        x: "23d8a9e699d5ae71053d9d7a5b18cf29e1a22c69c013c919f7642cadff6ca2c9273e07666b726fe2342e003cd3cdd12d",
        y: "950bb92fe2a8f376d6e20b29c29161d26f6ad713217164307735da0544e1f784a6d10acc3648b02bb3a4d58af2db7c12",
    },
    Curve {
        #[cfg(test)]
        name: "P-521",
        parameters: &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23],
        x: "0000e21720470d61ca697baeb665266473174eea9ba3ae2d1343da1ec3096d333322d8aaffae28bf5860456aed7874c5b24f9ddbc0615f5d0f68238b115c534170f2",
        y: "00f0cdadf58301973b75649f6243894059f2efed526143b9447ea853f3dffb5940cdd3435e3924a31eade94fd1b999207daa77460d6a400e83f7b0cd6d3fd63bf4ae",
    },
];

impl Curve {
    /// Our point, uncompressed.
    fn point(&self) -> Vec<u8> {
        let digits = self.x.as_bytes().chunks_exact(2).chain(self.y.as_bytes().chunks_exact(2));
        let octet =
            |pair: &[u8]| pair.iter().fold(0, |sum, digit| sum << 4 | (*digit as char).to_digit(16).unwrap_or(0) as u8);
        std::iter::once(UNCOMPRESSED).chain(digits.map(octet)).collect()
    }

    /// Octets of a coordinate.
    fn size(&self) -> usize {
        self.x.len() / 2
    }
}

/// What the token makes of our point with a private key: the x coordinate, as long as the curve's field.
///
/// # Errors
/// The key is on another curve, or the token refuses.
pub(crate) fn secret(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> Result<Locked, Failure> {
    let parameters = session.octets(key, CKA_EC_PARAMS)?;
    let Some(curve) = CURVES.iter().find(|curve| curve.parameters == parameters) else {
        let detail = "the private key is none of the curves P-256, P-384 and P-521".to_owned();
        return Err(failure("no-mechanism", detail));
    };
    let point = curve.point();
    let derived = match derive(session, key, curve, &point) {
        // Some modules want the point as PKCS#11 2.20 had it: an octet string in DER.
        Err(fault) if matches!(fault.code, CKR_MECHANISM_PARAM_INVALID | CKR_ARGUMENTS_BAD) => {
            derive(session, key, curve, &octet_string(&point))?
        }
        result => result?,
    };
    let value = session.value(derived);
    let gone = session.destroy(derived);
    match value? {
        Reading::Value(value) if value.as_ref().len() == curve.size() => {
            gone?;
            Ok(value)
        }
        Reading::Withheld(fault) if fault.code != CKR_OK => Err(fault.as_kind("no-mechanism")),
        _ => Err(failure("no-mechanism", "the token does not give what C_DeriveKey made".to_owned())),
    }
}

fn derive(
    session: &Session<'_>,
    key: CK_OBJECT_HANDLE,
    curve: &Curve,
    point: &[u8],
) -> Result<CK_OBJECT_HANDLE, Fault> {
    let wanted = [
        Attribute::Number(CKA_CLASS, CKO_SECRET_KEY),
        Attribute::Number(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
        Attribute::Flag(CKA_TOKEN, false),
        Attribute::Flag(CKA_SENSITIVE, false),
        Attribute::Flag(CKA_EXTRACTABLE, true),
        Attribute::Number(CKA_VALUE_LEN, curve.size() as CK_ULONG),
    ];
    session.derive(key, point, &wanted)
}

/// A short octet string in DER.
fn octet_string(octets: &[u8]) -> Vec<u8> {
    let length = octets.len();
    let head: &[u8] = if length < 0x80 { &[OCTET_STRING, length as u8] } else { &[OCTET_STRING, 0x81, length as u8] };
    [head, octets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey};
    use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};

    /// Each point is on its curve, for the crypto library agrees on a secret with it and refuses what is beside.
    #[test]
    fn every_point_is_on_its_curve() {
        for (curve, algorithm) in CURVES.iter().zip([&ECDH_P256, &ECDH_P384, &ECDH_P521]) {
            let key = PrivateKey::generate(algorithm).unwrap();
            let agreed = |point: &[u8]| {
                let peer = UnparsedPublicKey::new(algorithm, point);
                agreement::agree(&key, peer, (), |secret| Ok(secret.len())).ok()
            };
            let mut point = curve.point();
            assert_eq!(agreed(&point), Some(curve.size()), "{}", curve.name);
            *point.last_mut().unwrap() ^= 1;
            assert_eq!(agreed(&point), None, "{}", curve.name);
        }
    }

    /// Nobody chose x: it is a digest of the curve's name, so nobody knows which multiple of the base point ours is.
    #[test]
    fn nobody_chose_the_points() {
        for (curve, (algorithm, number)) in CURVES.iter().zip([(&SHA256, 1), (&SHA384, 0), (&SHA512, 0)]) {
            let drawn = digest::digest(algorithm, format!("runbound fixed point {} {number}", curve.name).as_bytes());
            let digits: String = drawn.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
            assert!(curve.x.ends_with(&digits), "{}", curve.name);
            assert!(curve.x.trim_end_matches(&digits).chars().all(|digit| digit == '0'));
        }
    }

    #[test]
    fn an_octet_string_has_its_length_before_it() {
        assert_eq!(octet_string(&[9; 3]), [4, 3, 9, 9, 9]);
        assert_eq!(octet_string(&[0; 133]).get(..3), Some(&[4, 0x81, 133][..]));
    }
}
