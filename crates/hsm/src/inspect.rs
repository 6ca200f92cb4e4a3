//! A look at everything, for a person: slots, tokens, objects, and how fast the token is.
//!
//! Owns going on where a start would give up: what is wrong is collected, and the rest is looked at all the same. It
//! writes nothing to the token; the keys that rates are measured with live in the session.

use std::ptr;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use sys::memory::Locked;

use crate::ecdh::P256;
use crate::failure::{Fault, failure};
use crate::keys;
use crate::messages::{Failure, Inspected, Open, Rates};
use crate::module::{Module, call};
use crate::names;
use crate::objects;
use crate::session::{Attribute, Session};
use crate::slots;

/// How long one rate is measured.
const MEASURED: Duration = Duration::from_millis(250);
/// Mechanisms of a token, at most.
const MOST_MECHANISMS: CK_ULONG = 4096;

/// Looks at everything; with a PIN also at private objects.
pub(crate) fn inspect(
    module: &Module,
    open: &Open,
    login: bool,
    rates: bool,
    pin: Option<&Locked>,
) -> Result<Inspected, Failure> {
    module.initialize()?;
    let library = module.about()?;
    let mut problems = Vec::new();
    let slots = slots::overview(module, &mut problems)?;
    let mut seen = Inspected {
        library,
        slots,
        chosen: None,
        mechanisms: Vec::new(),
        objects: Vec::new(),
        rates: None,
        problems: Vec::new(),
    };
    match slots::choose(module, open) {
        Err(failure) => problems.push(failure),
        Ok(found) => {
            let place = seen.slots.iter().position(|slot| slot.id == found.slot.id);
            seen.chosen = place.and_then(|place| u32::try_from(place).ok());
            match mechanisms(module, found.slot.id) {
                Err(fault) => problems.push(fault.into()),
                Ok(known) => {
                    seen.mechanisms = known.iter().map(|number| names::mechanism(*number)).collect();
                    let pin = pin.filter(|_| login);
                    if let Err(failure) = inside(module, open, &found, &known, rates, pin, &mut seen) {
                        problems.push(failure);
                    } else if login && pin.is_none() {
                        problems.push(failure("pin-missing", "no PIN was given".to_owned()));
                    }
                }
            }
        }
    }
    seen.problems = problems;
    Ok(seen)
}

fn inside(
    module: &Module,
    open: &Open,
    found: &slots::Found,
    known: &[CK_MECHANISM_TYPE],
    rates: bool,
    pin: Option<&Locked>,
    seen: &mut Inspected,
) -> Result<(), Failure> {
    let Some(pin) = pin else {
        if found.flags & CKF_TOKEN_INITIALIZED != 0 {
            let session = Session::open(module, found.slot.id, false)?;
            seen.objects = objects::all(&session, known)?;
            session.close()?;
        } else {
            slots::may_log_in(found, open)?;
        }
        return Ok(());
    };
    let (session, _) = keys::logged_in(module, found, open, pin, false)?;
    seen.objects = objects::all(&session, known)?;
    if rates {
        seen.rates = Some(measured(module, &session));
    }
    session.logout()?;
    session.close()?;
    Ok(())
}

/// What a token computes with.
pub(crate) fn mechanisms(module: &Module, slot: CK_SLOT_ID) -> Result<Vec<CK_MECHANISM_TYPE>, Fault> {
    let mut count = 0;
    call!(module, C_GetMechanismList(slot, ptr::null_mut(), &mut count))?;
    let mut known: Vec<CK_MECHANISM_TYPE> = vec![0; count.min(MOST_MECHANISMS) as usize];
    count = known.len() as CK_ULONG;
    call!(module, C_GetMechanismList(slot, known.as_mut_ptr(), &mut count))?;
    known.truncate(count as usize);
    Ok(known)
}

/// Signatures a second, with keys that end with the session. What the token cannot do has no rate.
fn measured(module: &Module, session: &Session<'_>) -> Rates {
    let secret = session.create(&[
        Attribute::Number(CKA_CLASS, CKO_SECRET_KEY),
        Attribute::Number(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
        Attribute::Flag(CKA_TOKEN, false),
        Attribute::Flag(CKA_SIGN, true),
        Attribute::Octets(CKA_VALUE, &[0x5A; 32]),
    ]);
    let public =
        [Attribute::Octets(CKA_EC_PARAMS, P256), Attribute::Flag(CKA_TOKEN, false), Attribute::Flag(CKA_VERIFY, true)];
    let private = [Attribute::Flag(CKA_TOKEN, false), Attribute::Flag(CKA_SIGN, true)];
    let pair = session.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private);
    let rates = Rates {
        hmac_per_s: secret.ok().and_then(|key| rate(module, session, CKM_SHA256_HMAC, key)),
        ecdsa_per_s: pair.ok().and_then(|(_, key)| rate(module, session, CKM_ECDSA, key)),
    };
    for object in secret.into_iter().chain(pair.into_iter().flat_map(|(public, private)| [public, private])) {
        let _ = session.destroy(object); // gone with the session in any case
    }
    rates
}

fn rate(module: &Module, session: &Session<'_>, mechanism: CK_MECHANISM_TYPE, key: CK_OBJECT_HANDLE) -> Option<f64> {
    let mut answer = [0; 256];
    session.sign_into(mechanism, key, &[0xA5; 32], &mut answer).ok()?;
    module.hush(true); // one name is enough for thousands of calls
    let (start, mut times) = (Instant::now(), 0_u32);
    while start.elapsed() < MEASURED {
        if session.sign_into(mechanism, key, &[0xA5; 32], &mut answer).is_err() {
            break;
        }
        times += 1;
    }
    module.hush(false);
    Some(f64::from(times) / start.elapsed().as_secs_f64())
}
