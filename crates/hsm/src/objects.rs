//! Objects of a token that can be a key, and how one is found by its label.
//!
//! Owns the order of the search: a secret key, a data object (so a Nitrokey or a YubiHSM's opaque object holds one), a
//! private key where it can stay in the token. Never by CKA_KEY_TYPE: modules call the same key by different types.

use cryptoki_sys::*;
use serde_bytes::ByteBuf;

use crate::failure::{Fault, failure};
use crate::messages::{Failure, KeyInfo, Mode, ObjectInfo};
use crate::names;
use crate::session::{Attribute, Session};

/// What kind of object a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Secret,
    Data,
    Private,
}

impl Class {
    /// All of them, in the order of a search.
    pub(crate) const ALL: [Class; 3] = [Class::Secret, Class::Data, Class::Private];

    /// CKA_CLASS.
    pub(crate) fn number(self) -> CK_OBJECT_CLASS {
        match self {
            Class::Secret => CKO_SECRET_KEY,
            Class::Data => CKO_DATA,
            Class::Private => CKO_PRIVATE_KEY,
        }
    }

    /// As it crosses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Secret => "secret-key",
            Class::Data => "data",
            Class::Private => "private-key",
        }
    }

    /// The classes a key may have in a mode. What a data object holds always leaves the token; a private key never does.
    pub(crate) fn usable(mode: Mode) -> [Class; 2] {
        match mode {
            Mode::Extract => [Class::Secret, Class::Data],
            Mode::InToken => [Class::Secret, Class::Private],
        }
    }
}

/// The objects of a class with a label, and an id if one is given.
pub(crate) fn matching(
    session: &Session<'_>,
    class: Class,
    label: &str,
    id: Option<&[u8]>,
) -> Result<Vec<CK_OBJECT_HANDLE>, Fault> {
    let mut wanted = vec![Attribute::Number(CKA_CLASS, class.number()), Attribute::Octets(CKA_LABEL, label.as_bytes())];
    wanted.extend(id.map(|id| Attribute::Octets(CKA_ID, id)));
    session.find(&wanted)
}

/// The one object that is meant.
///
/// # Errors
/// There is none, or more than one, or only one of a class that is of no use here.
pub(crate) fn only(
    session: &Session<'_>,
    label: &str,
    id: Option<&[u8]>,
    mode: Mode,
) -> Result<(Class, CK_OBJECT_HANDLE), Failure> {
    let usable = Class::usable(mode);
    for class in usable {
        match matching(session, class, label, id)?.as_slice() {
            [] => {}
            [one] => return Ok((class, *one)),
            several => {
                let detail = format!("{} {} objects have the label \"{label}\"", several.len(), class.name());
                return Err(failure("label-duplicate", detail));
            }
        }
    }
    for class in Class::ALL {
        if !usable.contains(&class) && !matching(session, class, label, id)?.is_empty() {
            let kind = if mode == Mode::Extract { "not-extractable" } else { "no-mechanism" };
            let detail = format!("\"{label}\" is a {} object, of no use in mode {}", class.name(), mode.name());
            return Err(failure(kind, detail));
        }
    }
    let labels = labels(session)?;
    let with_id = if id.is_some() { " and the id asked for" } else { "" };
    Err(Failure { labels, ..absent(format!("no object has the label \"{label}\"{with_id}")) })
}

/// No token has a code for it: the search succeeds and finds nothing.
pub(crate) fn absent(detail: String) -> Failure {
    Failure { detail, ..Fault { function: "C_FindObjects", code: CKR_OK }.as_kind("label-absent") }
}

/// The labels of everything that could be a key, sorted.
pub(crate) fn labels(session: &Session<'_>) -> Result<Vec<String>, Fault> {
    let mut labels = Vec::new();
    for class in Class::ALL {
        for object in session.find(&[Attribute::Number(CKA_CLASS, class.number())])? {
            labels.push(label(session, object)?);
        }
    }
    labels.sort();
    labels.dedup();
    Ok(labels)
}

fn label(session: &Session<'_>, object: CK_OBJECT_HANDLE) -> Result<String, Fault> {
    Ok(String::from_utf8_lossy(&session.octets(object, CKA_LABEL)?).into_owned())
}

/// What an object says of itself.
pub(crate) fn describe(
    session: &Session<'_>,
    class: Class,
    object: CK_OBJECT_HANDLE,
    role: &str,
    label: &str,
) -> Result<KeyInfo, Fault> {
    let key = class != Class::Data; // the rest is said of keys only
    let flag = |type_| if key { session.flag(object, type_) } else { Ok(None) };
    Ok(KeyInfo {
        role: role.to_owned(),
        label: label.to_owned(),
        object: class.name().to_owned(),
        id: ByteBuf::from(if key { session.octets(object, CKA_ID)? } else { Vec::new() }),
        key_type: if key { session.number(object, CKA_KEY_TYPE)?.map(names::key_type) } else { None },
        extractable: flag(CKA_EXTRACTABLE)?,
        sensitive: flag(CKA_SENSITIVE)?,
        private: session.flag(object, CKA_PRIVATE)?,
        ..KeyInfo::default()
    })
}

/// Everything that could be a key, with what it could be used for given the token's mechanisms.
pub(crate) fn all(session: &Session<'_>, mechanisms: &[CK_MECHANISM_TYPE]) -> Result<Vec<ObjectInfo>, Fault> {
    let mut objects = Vec::new();
    for class in Class::ALL {
        for object in session.find(&[Attribute::Number(CKA_CLASS, class.number())])? {
            let label = label(session, object)?;
            let about = describe(session, class, object, "", &label)?;
            let flag = |type_| if class == Class::Data { Ok(None) } else { session.flag(object, type_) };
            let (sign, derive) = (flag(CKA_SIGN)?, flag(CKA_DERIVE)?);
            let mut modes = Vec::new();
            if class != Class::Private && about.extractable != Some(false) && about.sensitive != Some(true) {
                modes.push(Mode::Extract);
            }
            let in_token = match class {
                Class::Secret => sign != Some(false) && mechanisms.contains(&CKM_SHA256_HMAC),
                Class::Data => false,
                Class::Private => {
                    let elliptic = about.key_type.as_deref() == Some("EC");
                    elliptic && derive != Some(false) && mechanisms.contains(&CKM_ECDH1_DERIVE)
                }
            };
            if in_token {
                modes.push(Mode::InToken);
            }
            objects.push(ObjectInfo {
                label,
                id: about.id,
                object: about.object,
                key_type: about.key_type,
                extractable: about.extractable,
                sensitive: about.sensitive,
                private: about.private,
                sign,
                derive,
                modes,
            });
        }
    }
    Ok(objects)
}
