//! Tokens and keys are made, read and destroyed, for the person at the command line.
//!
//! Owns the writing calls. A token that is initialised is left alone unless it is said twice, an existing label is never
//! used again, and an object that came out otherwise than it was asked for is destroyed again.

use aws_lc_rs::rand;
use cryptoki_sys::*;
use sys::memory::Locked;

use crate::ecdh::P256;
use crate::failure::{Fault, failure};
use crate::inspect::mechanisms;
use crate::keys::{self, logged_in};
use crate::messages::{Deleted, Described, Failure, Form, Initialized, KeyInfo, Mode, Open};
use crate::module::{Module, call};
use crate::objects::{self, Class};
use crate::session::{Attribute, Session, locked};
use crate::slots::{self, Found};
use crate::text;

/// Octets that are drawn for a key.
const DRAWN: usize = 32;
/// CKA_APPLICATION of our data objects.
const APPLICATION: &[u8] = b"runbound";

/// Initialises a token and sets the user's PIN.
pub(crate) fn init(
    module: &Module,
    open: &Open,
    label: &str,
    force: bool,
    so_pin: &Locked,
    pin: &Locked,
) -> Result<Initialized, Failure> {
    module.initialize()?;
    let Some(mut field) = text::field::<32>(label) else {
        return Err(failure("other", format!("the label \"{label}\" is longer than 32 octets")));
    };
    let (so_pin, pin): (&[u8], &[u8]) = (so_pin.as_ref(), pin.as_ref());
    if so_pin.is_empty() || pin.is_empty() {
        return Err(failure("pin-empty", "the PIN is empty".to_owned()));
    }
    let found = blank(module, open, force)?;
    let slot = found.slot.id;
    let (at, length) = (so_pin.as_ptr().cast_mut(), so_pin.len() as CK_ULONG);
    call!(module, C_InitToken(slot, at, length, field.as_mut_ptr())).map_err(Fault::of_login)?;
    let session = Session::open(module, slot, true)?;
    session.login(CKU_SO, so_pin).map_err(Fault::of_login)?;
    session.init_pin(pin).map_err(Fault::of_login)?;
    session.logout()?;
    session.close()?;
    // SoftHSM gives the slot a new number, and only a new start sees it.
    let (token, _) = slots::token(module, slot)?;
    module.finalize()?;
    module.initialize()?;
    let Found { slot, token, .. } = slots::again(module, &token)?;
    Ok(Initialized { slot, token })
}

/// The slot whose token is made: the one that is named, or the first that has none yet.
fn blank(module: &Module, open: &Open, force: bool) -> Result<Found, Failure> {
    let is_blank = |found: &Found| found.flags & CKF_TOKEN_INITIALIZED == 0;
    if open.slot.is_some() || force {
        let found = slots::choose(module, open)?;
        if is_blank(&found) || force {
            return Ok(found);
        }
        let detail = format!("the token \"{}\" in slot {} is initialised already", found.token.label, found.slot.index);
        return Err(failure("exists", detail));
    }
    let count = slots::numbers(module, true)?.len();
    for index in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        let found = slots::choose(module, &Open { slot: Some(index), ..Open::default() })?;
        if is_blank(&found) {
            return Ok(found);
        }
    }
    Err(failure("no-token", format!("none of {count} slots has a token that is not initialised")))
}

/// What a key is to be.
pub(crate) struct Making<'a> {
    pub(crate) role: &'a str,
    pub(crate) label: &'a str,
    pub(crate) id: &'a [u8],
    pub(crate) mode: Mode,
    pub(crate) data: bool,
    pub(crate) generate: Option<Form>,
    pub(crate) export: bool,
}

/// Makes a key; its value comes back where that was asked.
pub(crate) fn put(
    module: &Module,
    open: &Open,
    making: &Making<'_>,
    pin: &Locked,
    value: Option<Locked>,
) -> Result<(Described, Option<Locked>), Failure> {
    module.initialize()?;
    let found = slots::choose(module, open)?;
    let (session, _) = logged_in(module, &found, open, pin, true)?;
    let known = mechanisms(module, found.slot.id)?;
    let made = make(&session, making, value, &known);
    let end = session.logout().and_then(|()| session.close());
    let made = made?;
    end?;
    Ok(made)
}

fn make(
    session: &Session<'_>,
    making: &Making<'_>,
    value: Option<Locked>,
    known: &[CK_MECHANISM_TYPE],
) -> Result<(Described, Option<Locked>), Failure> {
    let label = making.label;
    for class in Class::ALL {
        if !objects::matching(session, class, label, None)?.is_empty() {
            return Err(failure("exists", format!("a {} object has the label \"{label}\" already", class.name())));
        }
    }
    if !making.id.is_empty() && !making.data {
        let same = [Attribute::Number(CKA_CLASS, Class::Secret.number()), Attribute::Octets(CKA_ID, making.id)];
        if !session.find(&same)?.is_empty() {
            // NSS would write the new key over the old one.
            return Err(failure("exists", "a secret key has this CKA_ID already".to_owned()));
        }
    }
    if making.data && making.mode == Mode::InToken {
        return Err(failure("no-mechanism", "a token computes nothing with a data object".to_owned()));
    }
    let stays = making.generate == Some(Form::Raw) && making.mode == Mode::InToken && !making.export;
    if stays && let Some((class, object)) = inside(session, making, known)? {
        return Ok((described(session, class, object, making)?, None));
    }
    let value = match (making.generate, value) {
        (Some(form), _) => drawn(form)?,
        (None, Some(value)) => value,
        (None, None) => return Err(failure("protocol", "neither a value nor how to draw one".to_owned())),
    };
    keys::checked(making.role, value.as_ref()).map_err(|kind| keys::of_value(kind, label, value.as_ref()))?;
    let (class, object) = imported(session, making, value.as_ref())?;
    let made = described(session, class, object, making)?;
    Ok((made, making.export.then_some(value)))
}

/// What every key of ours has: it belongs to the token and nobody sees it without the PIN.
fn common<'a>(making: &Making<'a>) -> Vec<Attribute<'a>> {
    let mut common = vec![
        Attribute::Flag(CKA_TOKEN, true),
        Attribute::Flag(CKA_PRIVATE, true),
        Attribute::Octets(CKA_LABEL, making.label.as_bytes()),
    ];
    if !making.id.is_empty() && !making.data {
        common.push(Attribute::Octets(CKA_ID, making.id));
    }
    common
}

/// Whether the value can leave, and what the key is for.
fn rights(mode: Mode) -> [Attribute<'static>; 4] {
    let leaves = mode == Mode::Extract;
    [
        Attribute::Flag(CKA_EXTRACTABLE, leaves),
        Attribute::Flag(CKA_SENSITIVE, !leaves),
        Attribute::Flag(CKA_SIGN, true),
        Attribute::Flag(CKA_VERIFY, true),
    ]
}

/// A key that the token draws itself, so that its value was never outside: for HMAC, else for ECDH. None if it can
/// neither.
fn inside(
    session: &Session<'_>,
    making: &Making<'_>,
    known: &[CK_MECHANISM_TYPE],
) -> Result<Option<(Class, CK_OBJECT_HANDLE)>, Failure> {
    let can = |mechanism| known.contains(&mechanism);
    if can(CKM_SHA256_HMAC) {
        if !can(CKM_GENERIC_SECRET_KEY_GEN) {
            return Ok(None);
        }
        let mut wanted = common(making);
        wanted.extend(rights(making.mode));
        wanted.push(Attribute::Number(CKA_CLASS, CKO_SECRET_KEY));
        wanted.push(Attribute::Number(CKA_KEY_TYPE, CKK_GENERIC_SECRET));
        wanted.push(Attribute::Number(CKA_VALUE_LEN, DRAWN as CK_ULONG));
        // Some tokens name the mechanism and draw no such key; an import does as well.
        return Ok(session.generate(CKM_GENERIC_SECRET_KEY_GEN, &wanted).ok().map(|object| (Class::Secret, object)));
    }
    if making.role == keys::API || !can(CKM_EC_KEY_PAIR_GEN) || !can(CKM_ECDH1_DERIVE) {
        return Err(failure("no-mechanism", "the token has neither CKM_SHA256_HMAC nor CKM_ECDH1_DERIVE".to_owned()));
    }
    let mut public = vec![
        Attribute::Octets(CKA_EC_PARAMS, P256),
        Attribute::Flag(CKA_TOKEN, true),
        Attribute::Octets(CKA_LABEL, making.label.as_bytes()),
    ];
    let mut private = common(making);
    if !making.id.is_empty() {
        public.push(Attribute::Octets(CKA_ID, making.id));
    }
    private.push(Attribute::Flag(CKA_DERIVE, true));
    private.push(Attribute::Flag(CKA_SENSITIVE, true));
    private.push(Attribute::Flag(CKA_EXTRACTABLE, false));
    let (_, object) = session.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private)?;
    Ok(Some((Class::Private, object)))
}

/// A key whose value is given.
fn imported(session: &Session<'_>, making: &Making<'_>, value: &[u8]) -> Result<(Class, CK_OBJECT_HANDLE), Failure> {
    let mut wanted = common(making);
    wanted.push(Attribute::Octets(CKA_VALUE, value));
    if making.data {
        wanted.push(Attribute::Number(CKA_CLASS, CKO_DATA));
        wanted.push(Attribute::Octets(CKA_APPLICATION, APPLICATION));
        return Ok((Class::Data, session.create(&wanted)?));
    }
    wanted.push(Attribute::Number(CKA_CLASS, CKO_SECRET_KEY));
    wanted.push(Attribute::Number(CKA_KEY_TYPE, CKK_GENERIC_SECRET));
    wanted.extend(rights(making.mode));
    match session.create(&wanted) {
        // Some tokens take only one of the two uses; signing is the one we need.
        Err(fault) if is_of_template(fault.code) => {
            wanted.retain(|attribute| !matches!(attribute, Attribute::Flag(CKA_VERIFY, _)));
            let object = session.create(&wanted).map_err(|fault| {
                let said = fault.as_kind("other");
                let detail = format!(
                    "the token takes no such key from outside, its maker's own tool may put one in: {}",
                    said.detail
                );
                Failure { detail, ..said }
            })?;
            Ok((Class::Secret, object))
        }
        result => Ok((Class::Secret, result?)),
    }
}

fn is_of_template(code: CK_RV) -> bool {
    matches!(
        code,
        CKR_TEMPLATE_INCONSISTENT | CKR_ATTRIBUTE_VALUE_INVALID | CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_READ_ONLY
    )
}

/// What was made, if it is what was asked for; else it is gone again.
fn described(
    session: &Session<'_>,
    class: Class,
    object: CK_OBJECT_HANDLE,
    making: &Making<'_>,
) -> Result<Described, Failure> {
    let mut info = objects::describe(session, class, object, making.role, making.label)?;
    let wrong = match making.mode {
        Mode::Extract if info.extractable == Some(false) => Some(("not-extractable", "CKA_EXTRACTABLE = false")),
        Mode::Extract if info.sensitive == Some(true) => Some(("sensitive", "CKA_SENSITIVE = true")),
        _ => None,
    };
    if let Some((kind, what)) = wrong {
        session.destroy(object)?;
        return Err(failure(kind, format!("the token makes every such key with {what}; it was destroyed again")));
    }
    let how = match (making.mode, class) {
        (Mode::Extract, _) => "value",
        (Mode::InToken, Class::Private) => "ecdh",
        (Mode::InToken, _) => "hmac",
    };
    how.clone_into(&mut info.how);
    Ok(Described { info })
}

/// A new key from the kernel's source of chance.
fn drawn(form: Form) -> Result<Locked, Failure> {
    let chance = |_| failure("other", "no source of chance".to_owned());
    let mut octets = locked(DRAWN)?;
    rand::fill(octets.as_mut()).map_err(chance)?;
    if form == Form::Raw {
        return Ok(octets);
    }
    let mut digits = locked(2 * DRAWN)?;
    for (octet, pair) in octets.as_ref().iter().zip(digits.as_mut().chunks_exact_mut(2)) {
        for (half, digit) in [octet >> 4, octet & 15].into_iter().zip(pair) {
            *digit = if half < 10 { b'0' + half } else { b'a' + half - 10 };
        }
    }
    Ok(digits)
}

/// Reads a key's value.
pub(crate) fn get(
    module: &Module,
    open: &Open,
    role: &str,
    label: &str,
    pin: &Locked,
) -> Result<(Described, Locked), Failure> {
    module.initialize()?;
    let found = slots::choose(module, open)?;
    let (session, _) = logged_in(module, &found, open, pin, false)?;
    let read = || -> Result<(KeyInfo, Locked), Failure> {
        let (class, object) = objects::only(&session, label, None, Mode::Extract)?;
        let mut info = objects::describe(&session, class, object, role, label)?;
        let value = keys::extracted(&session, object, &info)?;
        "value".clone_into(&mut info.how);
        Ok((info, value))
    };
    let read = read();
    let end = session.logout().and_then(|()| session.close());
    let (info, value) = read?;
    end?;
    Ok((Described { info }, value))
}

/// Destroys every object with a label, the public half of a pair too.
pub(crate) fn delete(module: &Module, open: &Open, label: &str, pin: &Locked) -> Result<Deleted, Failure> {
    module.initialize()?;
    let found = slots::choose(module, open)?;
    let (session, _) = logged_in(module, &found, open, pin, true)?;
    let all = || -> Result<u32, Failure> {
        let mut deleted = 0;
        let classes = Class::ALL.map(Class::number);
        for class in classes.into_iter().chain([CKO_PUBLIC_KEY]) {
            let wanted = [Attribute::Number(CKA_CLASS, class), Attribute::Octets(CKA_LABEL, label.as_bytes())];
            for object in session.find(&wanted)? {
                session.destroy(object)?;
                deleted += 1;
            }
        }
        if deleted == 0 {
            let labels = objects::labels(&session)?;
            return Err(Failure { labels, ..objects::absent(format!("no object has the label \"{label}\"")) });
        }
        Ok(deleted)
    };
    let deleted = all();
    let end = session.logout().and_then(|()| session.close());
    let deleted = deleted?;
    end?;
    Ok(Deleted { deleted })
}
