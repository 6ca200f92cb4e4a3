//! Secrets: kept in locked memory, out of core dumps, wiped when dropped, used by name and never given back.
//!
//! Owns [`SecretKey`] and what can be done with it: message authentication codes, signatures, keys derived for one
//! purpose each. It knows no file, no environment, no token and no Python: whoever reads a secret hands the octets in
//! once and they are wiped behind him.
//!
//! What is locked is the secret. The crypto library makes working copies for the length of a call and wipes them itself.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

use std::fmt;
use std::io;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{hkdf, hmac};
use sys::memory::{Locked, clear_registers, unless_wiped};
use zeroize::Zeroize as _;

/// Octets of a code and of a derived key: those of SHA-256.
pub const DIGEST: usize = 32;
/// Octets of an Ed25519 public key.
pub const PUBLIC_KEY: usize = 32;
/// Octets of an Ed25519 signature.
pub const SIGNATURE: usize = 64;
/// Fewest octets of a secret: a key shorter than the digest makes its codes easier to guess (RFC 2104 3).
pub const MIN_SECRET: usize = DIGEST;
/// Most octets of a secret: what is longer is a file given by mistake.
pub const MAX_SECRET: usize = 4096;

/// What stands in place of a secret when integrity is off. Everybody knows it: codes made with it find accidents, not
/// attackers.
const PUBLIC: &[u8] = b"runbound: integrity is off, so this key is no secret";
/// The salt of every derivation: keys of this program are nobody else's (RFC 5869 3.1).
const SALT: &[u8] = b"runbound vault 1";
/// The purpose under which the seed of the signing key is derived.
const SIGNING: &str = "ed25519";

/// Why there is no key.
#[derive(Debug)]
pub enum VaultError {
    /// The secret has so many octets, fewer than [`MIN_SECRET`].
    Short(usize),
    /// The secret has so many octets, more than [`MAX_SECRET`].
    Long(usize),
    /// The system gave no memory.
    Memory(io::Error),
    /// The crypto library refused, which it does for nothing that can be handed in.
    Crypto,
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultError::Short(octets) => write!(f, "a secret of {octets} octets is too short: at least {MIN_SECRET}"),
            VaultError::Long(octets) => write!(f, "a secret of {octets} octets is too long: at most {MAX_SECRET}"),
            VaultError::Memory(error) => write!(f, "no memory for a secret: {error}"),
            VaultError::Crypto => f.write_str("the crypto library refused the key"),
        }
    }
}

impl std::error::Error for VaultError {}

impl From<io::Error> for VaultError {
    fn from(error: io::Error) -> Self {
        VaultError::Memory(error)
    }
}

/// A key that never leaves. It shows nothing of itself, not even its length.
pub struct SecretKey(Locked);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

/// One key made ready for many codes. It holds a copy of the secret outside the locked memory and is wiped when
/// dropped: keep it for a call, not for longer.
pub struct Macs(hmac::Key);

impl Macs {
    /// HMAC-SHA256 (RFC 2104) over the pieces, one after the other.
    pub fn mac(&self, pieces: &[&[u8]]) -> [u8; DIGEST] {
        let mut context = hmac::Context::with_key(&self.0);
        for piece in pieces {
            context.update(piece);
        }
        let mut out = [0; DIGEST];
        // The tag of SHA-256 has as many octets.
        for (into, octet) in out.iter_mut().zip(context.sign().as_ref()) {
            *into = *octet;
        }
        unless_wiped(out)
    }
}

impl SecretKey {
    /// Takes a secret. The octets handed in are wiped, whatever comes of them.
    ///
    /// # Errors
    /// It is too short or too long, or there is no memory.
    pub fn new(mut secret: Vec<u8>) -> Result<SecretKey, VaultError> {
        let made = fitting(secret.len()).and_then(|_| Ok(SecretKey(Locked::copy_of(&secret)?)));
        secret.zeroize();
        made
    }

    /// Takes a copy of a secret that is in locked pages already, from there straight into its own.
    ///
    /// # Errors
    /// It is too short or too long, or there is no memory.
    pub fn of(secret: &Locked) -> Result<SecretKey, VaultError> {
        fitting(secret.as_ref().len())?;
        Ok(SecretKey(Locked::copy_of(secret.as_ref())?))
    }

    /// The same for a secret as people write it (see [`decoded`]).
    ///
    /// # Errors
    /// As [`SecretKey::of`].
    pub fn of_text(secret: &Locked) -> Result<SecretKey, VaultError> {
        let octets = decoded(secret)?;
        fitting(octets.as_ref().len())?;
        Ok(SecretKey(octets))
    }

    /// The key that everybody knows, for when integrity is off.
    ///
    /// # Errors
    /// There is no memory.
    pub fn public() -> Result<SecretKey, VaultError> {
        SecretKey::new(PUBLIC.to_vec())
    }

    /// A key for one purpose alone, by HKDF-SHA256 (RFC 5869). The same purpose gives the same key.
    ///
    /// # Errors
    /// There is no memory.
    pub fn derive(&self, purpose: &str) -> Result<SecretKey, VaultError> {
        self.expand(purpose).map(SecretKey)
    }

    fn expand(&self, purpose: &str) -> Result<Locked, VaultError> {
        let mut derived = Locked::new(DIGEST)?;
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(self.0.as_ref());
        let info = [purpose.as_bytes()];
        let okm = prk.expand(&info, hkdf::HKDF_SHA256).map_err(|_| VaultError::Crypto)?;
        okm.fill(derived.as_mut()).map_err(|_| VaultError::Crypto)?;
        Ok(unless_wiped(derived))
    }

    /// Makes the key ready for many codes.
    pub fn macs(&self) -> Macs {
        Macs(hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref()))
    }

    /// HMAC-SHA256 of the data.
    pub fn mac(&self, data: &[u8]) -> [u8; DIGEST] {
        self.macs().mac(&[data])
    }

    /// Whether `mac` is the code of the data, all octets of it. The time it takes tells nothing of where they differ.
    pub fn verify(&self, data: &[u8], mac: &[u8]) -> bool {
        unless_wiped(hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref()), data, mac).is_ok())
    }

    fn signer(&self) -> Result<Ed25519KeyPair, VaultError> {
        Ed25519KeyPair::from_seed_unchecked(self.expand(SIGNING)?.as_ref()).map_err(|_| VaultError::Crypto)
    }

    /// The Ed25519 signature (RFC 8032) of the data, by a key pair whose seed is derived from this key.
    ///
    /// # Errors
    /// There is no memory.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, VaultError> {
        Ok(self.signer()?.sign(data).as_ref().to_vec())
    }

    /// The public half of the key that [`SecretKey::sign`] uses.
    ///
    /// # Errors
    /// There is no memory.
    pub fn public_key(&self) -> Result<Vec<u8>, VaultError> {
        Ok(self.signer()?.public_key().as_ref().to_vec())
    }
}

/// The length, if it is one of a secret.
fn fitting(octets: usize) -> Result<(), VaultError> {
    match octets {
        octets if octets < MIN_SECRET => Err(VaultError::Short(octets)),
        octets if octets > MAX_SECRET => Err(VaultError::Long(octets)),
        _ => Ok(()),
    }
}

/// The octets of a secret as people write it: an even number of hexadecimal digits, at least 64, means what they stand
/// for; anything else is taken as it is.
///
/// # Errors
/// There is no memory.
pub fn decoded(secret: &Locked) -> io::Result<Locked> {
    let text: &[u8] = secret.as_ref();
    if text.len() < 2 * MIN_SECRET || !text.len().is_multiple_of(2) || !text.iter().all(u8::is_ascii_hexdigit) {
        return Locked::copy_of(text);
    }
    let mut octets = Locked::new(text.len() / 2)?;
    for (into, digits) in octets.as_mut().iter_mut().zip(text.chunks_exact(2)) {
        *into = digits.iter().fold(0, |octet, digit| octet << 4 | value(*digit));
    }
    clear_registers();
    Ok(octets)
}

/// The octets of a secret as hexadecimal digits, lower case: text that [`decoded`] takes back.
///
/// # Errors
/// There is no memory.
pub fn digits(secret: &Locked) -> io::Result<Locked> {
    let octets: &[u8] = secret.as_ref();
    let mut text = Locked::new(2 * octets.len())?;
    for (into, octet) in text.as_mut().chunks_exact_mut(2).zip(octets) {
        for (digit, half) in into.iter_mut().zip([octet >> 4, octet & 0xf]) {
            *digit = half + if half < 10 { b'0' } else { b'a' - 10 };
        }
    }
    clear_registers();
    Ok(text)
}

/// What a hexadecimal digit stands for, without a table that a look-up would leave traces of in the cache.
fn value(digit: u8) -> u8 {
    (digit & 0xf) + 9 * (digit >> 6)
}

/// HMAC-SHA256 of a nonce under a secret of any length: by it, who holds the code and the nonce recognises the secret.
pub fn tag(secret: &Locked, nonce: &[u8]) -> [u8; DIGEST] {
    Macs(hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())).mac(&[nonce])
}

/// Whether the signature is that of the data by the owner of the public key. Octets that are no key or no signature are
/// simply not.
pub fn verify_signature(public_key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(data, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn key(fill: u8) -> SecretKey {
        SecretKey::new(vec![fill; 32]).unwrap()
    }

    #[test]
    fn rfc4231_codes() {
        // Case 6: a key longer than a block. The shorter keys of that memo are below what we take.
        let long = SecretKey::new(vec![0xaa; 131]).unwrap();
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let want = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&long.mac(data)), want);
        assert_eq!(hex(&long.macs().mac(&[&data[..7], &[], &data[7..]])), want);
        assert!(long.verify(data, &long.mac(data)));
        assert!(!long.verify(data, &long.mac(data)[..16]));
        assert!(!long.verify(b"", &long.mac(data)));
        assert!(!key(1).verify(data, &long.mac(data)));
    }

    #[test]
    fn derived_keys_are_those_of_rfc5869() {
        // By Python: hmac.digest(hmac.digest(b"runbound vault 1", b"\1" * 32, "sha256"), b"journal\x01", "sha256")
        let derived = key(1).derive("journal").unwrap();
        assert_eq!(hex(derived.0.as_ref()), "0b27889d48f63d78b43de21f5c3af228e8f8cc9677a1b03b12e8e4f206c25b23");
        assert_ne!(derived.mac(b""), key(1).mac(b""));
        assert_ne!(derived.mac(b""), key(1).derive("audit").unwrap().mac(b""));
        assert_ne!(derived.mac(b""), key(2).derive("journal").unwrap().mac(b""));
    }

    #[test]
    fn signatures_are_checked_with_the_public_half() {
        let (public_key, signature) = (key(1).public_key().unwrap(), key(1).sign(b"data").unwrap());
        assert_eq!((public_key.len(), signature.len()), (PUBLIC_KEY, SIGNATURE));
        assert!(verify_signature(&public_key, b"data", &signature));
        assert!(!verify_signature(&public_key, b"date", &signature));
        assert!(!verify_signature(&key(2).public_key().unwrap(), b"data", &signature));
        assert!(!verify_signature(&public_key[1..], b"data", &signature));
        assert!(!verify_signature(&public_key, b"data", &signature[1..]));
    }

    #[test]
    fn secrets_have_a_length() {
        for (octets, want) in [(0, "too short"), (31, "too short"), (4097, "too long")] {
            let error = SecretKey::new(vec![7; octets]).unwrap_err();
            assert!(error.to_string().contains(want), "{octets}: {error}");
        }
        assert_eq!(format!("{:?}", key(7)), "SecretKey");
    }

    #[test]
    fn secrets_are_taken_as_octets_or_as_people_write_them() {
        let locked = |octets: &[u8]| Locked::copy_of(octets).unwrap();
        let digits = "0aFf9".repeat(16);
        let octets: Vec<u8> = (0..40).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
        let same = |a: &SecretKey, b: &[u8]| a.0.as_ref() == b;
        assert!(same(&SecretKey::of_text(&locked(digits.as_bytes())).unwrap(), &octets));
        assert!(same(&SecretKey::of(&locked(digits.as_bytes())).unwrap(), digits.as_bytes()));
        for text in ["g".repeat(64), "a".repeat(63), "a".repeat(65), "a".repeat(62)] {
            assert!(same(&SecretKey::of_text(&locked(text.as_bytes())).unwrap(), text.as_bytes()), "{text}");
        }
        assert_eq!(super::digits(&locked(&octets)).unwrap().as_ref(), digits.to_lowercase().as_bytes());
        assert!(SecretKey::of(&locked(&[1; 31])).is_err() && SecretKey::of_text(&locked(&[b'a'; 31])).is_err());
    }

    #[test]
    fn a_tag_is_the_code_of_the_nonce() {
        let secret = Locked::copy_of(&[1; 32]).unwrap();
        assert_eq!(tag(&secret, b"nonce"), key(1).mac(b"nonce"));
        // RFC 4231, case 2: a key shorter than ours.
        let jefe = Locked::copy_of(b"Jefe").unwrap();
        let want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&tag(&jefe, b"what do ya want for nothing?")), want);
    }

    #[test]
    fn everybody_knows_the_public_key() {
        assert_eq!(SecretKey::public().unwrap().mac(b"x"), SecretKey::public().unwrap().mac(b"x"));
    }
}
