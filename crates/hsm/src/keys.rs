//! The keys of a start: read, or used once, in one session with one login.
//!
//! Owns what becomes of each key that is wanted. Extract: the value, checked. In-token: a root for the subkeys, which the
//! token computes from the label of the purpose, so the key itself never leaves. Of the API key only a code over the
//! caller's nonce leaves, in both modes. The session is over when this returns, whatever happened.

use std::time::Instant;

use aws_lc_rs::hmac;
use cryptoki_sys::*;
use serde_bytes::ByteBuf;
use sys::memory::Locked;

use crate::ecdh;
use crate::failure::{Fault, failure};
use crate::messages::{Failure, KeyInfo, Loaded, Mode, Open, Want, Warning};
use crate::module::Module;
use crate::objects::{self, Class};
use crate::session::{MOST_OCTETS, Reading, Session, locked};
use crate::slots::{self, Found};

/// The role of the API key.
pub(crate) const API: &str = "api";
/// Octets of SHA-256.
const DIGEST: usize = 32;
/// Fewest octets of a key that the state or the audit log is protected with: those of the digest (RFC 2104 3).
const LEAST_SECRET: usize = DIGEST;
/// Fewest octets of an API key; fewer can be guessed.
const LEAST_API: usize = 16;
/// An API key with fewer octets is told to be short.
const GOOD_API: usize = 32;
/// What is put before the nonce to show that a token is still the same one.
const CONFIRM: &[u8] = b"runbound confirm 1";

/// What a token computes with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// HMAC-SHA256 in the token.
    Hmac,
    /// ECDH in the token gives a secret, HMAC-SHA256 with that here.
    Ecdh,
}

impl How {
    /// What can be done with an object of a class.
    pub(crate) fn of(class: Class) -> How {
        if class == Class::Private { How::Ecdh } else { How::Hmac }
    }

    /// As it crosses.
    fn name(self) -> &'static str {
        match self {
            How::Hmac => "hmac",
            How::Ecdh => "ecdh",
        }
    }
}

/// Loads every key that is wanted. The secrets are those of the store and audit keys, in their order.
pub(crate) fn load(
    module: &Module,
    open: &Open,
    mode: Mode,
    wants: &[Want],
    nonce: &[u8],
    pin: &Locked,
) -> Result<(Loaded, Vec<Locked>), Failure> {
    let start = Instant::now();
    module.initialize()?;
    let result = in_session(module, open, mode, wants, nonce, pin);
    let end = module.finalize();
    let (mut loaded, secrets) = result?;
    if let Err(fault) = end {
        loaded.warnings.push(Warning { kind: "finalize".to_owned(), role: None, detail: fault.as_kind("").detail });
    }
    loaded.elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok((loaded, secrets))
}

fn in_session(
    module: &Module,
    open: &Open,
    mode: Mode,
    wants: &[Want],
    nonce: &[u8],
    pin: &Locked,
) -> Result<(Loaded, Vec<Locked>), Failure> {
    let library = module.about()?;
    let found = slots::choose(module, open)?;
    let (session, mut warnings) = logged_in(module, &found, open, pin, false)?;
    let (mut keys, mut secrets) = (Vec::new(), Vec::new());
    let mut all = || {
        for want in wants {
            let one = one(&session, mode, want, nonce, &mut warnings);
            let (info, secret) = one.map_err(|failure| of_key(want, failure))?;
            keys.push(info);
            secrets.extend(secret);
        }
        Ok(())
    };
    let result: Result<(), Failure> = all();
    let end = session.logout().and_then(|()| session.close());
    result?;
    if let Err(fault) = end {
        warnings.push(Warning { kind: "logout".to_owned(), role: None, detail: fault.as_kind("").detail });
    }
    let Found { slot, token, .. } = found;
    Ok((Loaded { library, slot, token, logins: 1, keys, warnings, elapsed_ms: 0 }, secrets))
}

/// Opens a session and logs in: once, and only where the token does not warn of it.
pub(crate) fn logged_in<'m>(
    module: &'m Module,
    found: &Found,
    open: &Open,
    pin: &Locked,
    write: bool,
) -> Result<(Session<'m>, Vec<Warning>), Failure> {
    let warnings = slots::may_log_in(found, open)?;
    let pin: &[u8] = pin.as_ref();
    if pin.is_empty() {
        return Err(failure("pin-empty", "the PIN is empty".to_owned()));
    }
    let session = Session::open(module, found.slot.id, write)?;
    session.login(CKU_USER, pin).map_err(Fault::of_login)?;
    Ok((session, warnings))
}

/// One key: what is told of it, and the secret that goes with it.
fn one(
    session: &Session<'_>,
    mode: Mode,
    want: &Want,
    nonce: &[u8],
    warnings: &mut Vec<Warning>,
) -> Result<(KeyInfo, Option<Locked>), Failure> {
    let (role, label) = (want.role.as_str(), want.label.as_str());
    let (class, object) = objects::only(session, label, want.id.as_deref().map(Vec::as_slice), mode)?;
    let mut info = objects::describe(session, class, object, role, label)?;
    let mut warn = |kind: &str, detail: String| {
        warnings.push(Warning { kind: kind.to_owned(), role: Some(role.to_owned()), detail });
    };
    if info.private == Some(false) {
        warn("not-private", format!("\"{label}\" can be read without the PIN (CKA_PRIVATE = false)"));
    }
    match mode {
        Mode::Extract => {
            let value = extracted(session, object, &info)?;
            if info.sensitive == Some(true) || info.extractable == Some(false) {
                warn("sensitive-readable", format!("the token gives \"{label}\" away though it calls it sensitive"));
            }
            if let Some(detail) = checked(role, value.as_ref()).map_err(|kind| of_value(kind, label, value.as_ref()))? {
                warn("api-short", format!("\"{label}\" {detail}"));
            }
            "value".clone_into(&mut info.how);
            if role == API {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, value.as_ref()), nonce);
                info.tag = Some(ByteBuf::from(tag.as_ref()));
                return Ok((info, None));
            }
            Ok((info, Some(value)))
        }
        Mode::InToken => {
            if info.extractable == Some(true) && info.sensitive != Some(true) && class == Class::Secret {
                warn("extractable", format!("\"{label}\" could leave the token (CKA_EXTRACTABLE = true)"));
            }
            let how = How::of(class);
            if role == API && how != How::Hmac {
                let detail = format!("\"{label}\" is a private key; an API key has to be a secret key that signs");
                return Err(failure("no-mechanism", detail));
            }
            how.name().clone_into(&mut info.how);
            let compute = |data: &[u8]| computed(session, how, object, data);
            info.proof = Some(ByteBuf::from(compute(&[CONFIRM, nonce].concat())?.as_ref()));
            if role == API {
                info.tag = Some(ByteBuf::from(compute(nonce)?.as_ref()));
                return Ok((info, None));
            }
            let root = compute(format!("runbound {role} 1").as_bytes())?;
            Ok((info, Some(root)))
        }
    }
}

/// A failure that says which key it is about.
fn of_key(want: &Want, failure: Failure) -> Failure {
    let Want { role, label, .. } = want;
    let said = format!("\"{label}\"");
    let label = if failure.detail.contains(&said) { String::new() } else { format!(" {said}") };
    Failure { detail: format!("{role} key{label}: {}", failure.detail), ..failure }
}

/// HMAC-SHA256 with a key that stays in the token.
pub(crate) fn computed(
    session: &Session<'_>,
    how: How,
    object: CK_OBJECT_HANDLE,
    data: &[u8],
) -> Result<Locked, Failure> {
    let code = match how {
        How::Hmac => session.sign(CKM_SHA256_HMAC, object, data)?,
        How::Ecdh => {
            let secret = ecdh::secret(session, object)?;
            let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), data);
            let mut kept = locked(DIGEST)?;
            kept.as_mut().copy_from_slice(code.as_ref());
            kept
        }
    };
    if code.as_ref().len() != DIGEST {
        let detail = format!("CKM_SHA256_HMAC gave {} octets instead of {DIGEST}", code.as_ref().len());
        return Err(failure("no-mechanism", detail));
    }
    Ok(code)
}

/// The value of an object. What a token says when it refuses differs from one to the next, so it is said here in words.
pub(crate) fn extracted(session: &Session<'_>, object: CK_OBJECT_HANDLE, info: &KeyInfo) -> Result<Locked, Failure> {
    let label = &info.label;
    let fault = match session.value(object)? {
        Reading::Value(value) => return Ok(value),
        Reading::Long(octets) => {
            let detail = format!("\"{label}\" has {octets} octets; {MOST_OCTETS} are read");
            return Err(failure("value-long", detail));
        }
        Reading::Empty => Fault { function: "C_GetAttributeValue", code: CKR_OK },
        Reading::Withheld(fault) => fault,
    };
    let (kind, why) = match (info.extractable, info.sensitive, fault.code) {
        (Some(false), ..) | (.., CKR_KEY_UNEXTRACTABLE) => ("not-extractable", "CKA_EXTRACTABLE = false"),
        (_, Some(true), _) => ("sensitive", "CKA_SENSITIVE = true"),
        (.., CKR_OK) => ("value-empty", "it is empty"),
        _ => ("sensitive", "the token does not give it"),
    };
    let said = fault.as_kind(kind);
    let returned = said.name.clone().unwrap_or_default();
    let empty = if fault.code == CKR_OK { " and no octet" } else { "" };
    let detail = format!("\"{label}\": {why}; CKA_VALUE: {returned}{empty}");
    Err(Failure { detail, ..said })
}

/// Whether a value can be the key of a role: a warning, or the kind of what is wrong.
pub(crate) fn checked(role: &str, value: &[u8]) -> Result<Option<String>, &'static str> {
    let octets = value.len();
    if role != API {
        return if octets < LEAST_SECRET { Err("value-short") } else { Ok(None) };
    }
    if value.iter().any(|octet| matches!(octet, b'\n' | b'\r')) {
        return Err("value-newline");
    }
    if std::str::from_utf8(value).is_err() {
        return Err("value-not-utf8");
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        return Err("value-not-printable");
    }
    match octets {
        0..LEAST_API => Err("value-short"),
        LEAST_API..GOOD_API => Ok(Some(format!("has {octets} octets; {GOOD_API} are good"))),
        _ => Ok(None),
    }
}

/// What is wrong with a value, in words that show none of it.
pub(crate) fn of_value(kind: &'static str, label: &str, value: &[u8]) -> Failure {
    let octets = value.len();
    let what = match kind {
        "value-newline" if matches!(value.last(), Some(b'\n' | b'\r')) => "ends with a newline".to_owned(),
        "value-newline" => "has a newline in it".to_owned(),
        "value-not-utf8" => "is not UTF-8".to_owned(),
        "value-not-printable" => "has a space or a character that cannot stand in a bearer token".to_owned(),
        _ => format!("has {octets} octets, too few"),
    };
    failure(kind, format!("the value of \"{label}\" {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_has_to_be_a_good_bearer_token() {
        let kind = |value: &[u8]| checked(API, value);
        assert_eq!(kind(&[b'a'; 32]), Ok(None));
        assert!(kind(&[b'a'; 16]).unwrap().is_some());
        assert!(kind(&[b'a'; 31]).unwrap().is_some());
        assert_eq!(kind(&[b'a'; 15]), Err("value-short"));
        assert_eq!(kind(b"0123456789abcdef0123456789abcdef\n"), Err("value-newline"));
        assert_eq!(kind(b"0123456789abcdef\r0123456789abcdef"), Err("value-newline"));
        assert_eq!(kind(&[0xFF; 32]), Err("value-not-utf8"));
        assert_eq!(kind("ä".repeat(32).as_bytes()), Err("value-not-printable"));
        assert_eq!(kind(b"0123456789abcdef 0123456789abcdef"), Err("value-not-printable"));
        assert_eq!(kind(b"0123456789abcdef\0\x30123456789abcdef"), Err("value-not-printable"));
    }

    #[test]
    fn other_keys_are_octets_and_enough_of_them() {
        assert_eq!(checked("store", &[0; 32]), Ok(None));
        assert_eq!(checked("audit", &[0; 31]), Err("value-short"));
    }

    #[test]
    fn what_is_wrong_with_a_value_shows_none_of_it() {
        for kind in ["value-newline", "value-not-utf8", "value-not-printable", "value-short"] {
            let said = of_value(kind, "label", b"SECRET\n");
            assert!(!said.detail.contains("SECRET"), "{said:?}");
            assert_eq!(said.kind, kind);
        }
    }
}
