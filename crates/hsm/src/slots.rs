//! Slots and tokens: what is there, and which one is meant.
//!
//! Owns the choice of a token and the refusal of one that must not be logged in to. A slot's number means little: p11-kit
//! gives new ones at every start, SoftHSM draws them. So the configuration counts the slots that hold a token, or names
//! the token, and both are checked here before a PIN is said.

use std::ptr;

use cryptoki_sys::*;

use crate::failure::{Fault, failure};
use crate::messages::{Failure, Open, Slot, SlotInfo, Token, Warning};
use crate::module::{Module, call};
use crate::{names, text};

/// Slots of one module that are looked at, at most: a guard against a module that counts wildly.
const MOST_SLOTS: CK_ULONG = 1024;

/// A token, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) slot: Slot,
    pub(crate) token: Token,
    pub(crate) flags: CK_FLAGS,
}

/// The numbers of all slots, or of those that hold a token, in the module's order.
pub(crate) fn numbers(module: &Module, with_token: bool) -> Result<Vec<CK_SLOT_ID>, Fault> {
    let with_token = if with_token { CK_TRUE } else { CK_FALSE };
    loop {
        let mut count = 0;
        call!(module, C_GetSlotList(with_token, ptr::null_mut(), &mut count))?;
        let mut slots: Vec<CK_SLOT_ID> = vec![0; count.min(MOST_SLOTS) as usize];
        count = slots.len() as CK_ULONG;
        match call!(module, C_GetSlotList(with_token, slots.as_mut_ptr(), &mut count)) {
            Err(fault) if fault.code == CKR_BUFFER_TOO_SMALL && count <= MOST_SLOTS => continue, // one came meanwhile
            result => result?,
        }
        slots.truncate(count as usize);
        return Ok(slots);
    }
}

/// What a slot says of itself: description, and whether a token is in it.
fn description(module: &Module, id: CK_SLOT_ID) -> Result<(String, bool), Fault> {
    let mut info =
        CK_SLOT_INFO { slotDescription: [0; 64], manufacturerID: [0; 32], flags: 0, ..CK_SLOT_INFO::default() };
    call!(module, C_GetSlotInfo(id, &mut info))?;
    Ok((text::padded(&info.slotDescription), info.flags & CKF_TOKEN_PRESENT != 0))
}

/// What the token in a slot says of itself, and its flags as they are.
pub(crate) fn token(module: &Module, id: CK_SLOT_ID) -> Result<(Token, CK_FLAGS), Fault> {
    let mut info = CK_TOKEN_INFO::default();
    call!(module, C_GetTokenInfo(id, &mut info))?;
    let token = Token {
        label: text::padded(&info.label),
        serial: text::padded(&info.serialNumber),
        model: text::padded(&info.model),
        manufacturer: text::padded(&info.manufacturerID),
        flags: names::flags(info.flags),
    };
    Ok((token, info.flags))
}

/// Every slot that holds a token, with it. One that cannot be read is passed over, if another can: it is not ours then.
fn tokens(module: &Module) -> Result<Vec<Result<Found, Fault>>, Fault> {
    let mut found = Vec::new();
    for (index, id) in (0..).zip(numbers(module, true)?) {
        let one = || {
            let (token, flags) = token(module, id)?;
            let (description, _) = description(module, id)?;
            Ok(Found { slot: Slot { index, id, description }, token, flags })
        };
        found.push(one());
    }
    Ok(found)
}

/// The token that is meant.
///
/// # Errors
/// There is none, another one, or several; a failure of the module.
pub(crate) fn choose(module: &Module, open: &Open) -> Result<Found, Failure> {
    let all = tokens(module)?;
    if all.is_empty() {
        let slots = numbers(module, false)?.len();
        let (kind, what) =
            if slots == 0 { ("no-slot", "the module has no slot") } else { ("no-token", "no slot holds a token") };
        return Err(failure(kind, what.to_owned()));
    }
    let present = all.len();
    let named = open.token_label.is_some()
        || open.token_serial.is_some()
        || open.token_model.is_some()
        || open.token_manufacturer.is_some();
    if let Some(index) = open.slot.or(if named { None } else { Some(0) }) {
        let Some(one) = all.into_iter().nth(index as usize) else {
            let detail = format!("slot {index} is asked for, and {present} slots hold a token: 0 to {}", present - 1);
            return Err(failure("slot-index", detail));
        };
        let one = one?;
        return if fits(&one.token, open) { Ok(one) } else { Err(mismatch(&[one.token], open)) };
    }
    let (mut good, mut unread) = (Vec::new(), None);
    for one in all {
        match one {
            Ok(found) => good.push(found),
            Err(fault) => unread = Some(fault),
        }
    }
    let (mut fitting, others): (Vec<Found>, Vec<Found>) = good.into_iter().partition(|one| fits(&one.token, open));
    match (fitting.pop(), fitting.is_empty(), unread) {
        (Some(one), true, _) => Ok(one),
        (Some(one), false, _) => {
            let serials: Vec<&str> = fitting.iter().chain([&one]).map(|one| one.token.serial.as_str()).collect();
            Err(failure("token-mismatch", format!("several tokens fit: serial {}", serials.join(", "))))
        }
        (None, _, Some(fault)) => Err(fault.into()),
        (None, _, None) => {
            let others: Vec<Token> = others.into_iter().map(|one| one.token).collect();
            Err(mismatch(&others, open))
        }
    }
}

/// The same token again, wherever it is now: label and serial number are those of then.
pub(crate) fn again(module: &Module, was: &Token) -> Result<Found, Failure> {
    let mut fault = None;
    for one in tokens(module)? {
        match one {
            Ok(one) if one.token.label == was.label && one.token.serial == was.serial => return Ok(one),
            Ok(_) => {}
            Err(other) => fault = Some(other),
        }
    }
    Err(fault.map_or_else(|| failure("no-token", format!("the token \"{}\" is not there", was.label)), Failure::from))
}

/// Whether a token is what was asked for.
fn fits(token: &Token, open: &Open) -> bool {
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted.trim_end() == is);
    let label = open.token_label.as_deref().is_none_or(|wanted| same_label(wanted.trim_end(), &token.label));
    label
        && same(&open.token_serial, &token.serial)
        && same(&open.token_model, &token.model)
        && same(&open.token_manufacturer, &token.manufacturer)
}

/// OpenSC before 0.24 writes the name of the PIN behind the label, " (UserPIN)", as far as the field has room.
fn same_label(wanted: &str, is: &str) -> bool {
    wanted == is
        || is.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(" (") && (rest.ends_with(')') || is.len() == 32))
}

fn mismatch(there: &[Token], open: &Open) -> Failure {
    let wanted = [
        ("label", &open.token_label),
        ("serial", &open.token_serial),
        ("model", &open.token_model),
        ("manufacturer", &open.token_manufacturer),
    ];
    let wanted = wanted.into_iter().filter_map(|(what, value)| Some(format!("{what} \"{}\"", value.as_ref()?)));
    let wanted: Vec<String> = wanted.collect();
    let there: Vec<String> = there
        .iter()
        .map(|one| {
            let Token { label, serial, model, manufacturer, .. } = one;
            format!("label \"{label}\", serial \"{serial}\", model \"{model}\", manufacturer \"{manufacturer}\"")
        })
        .collect();
    failure("token-mismatch", format!("asked for {}; there is {}", wanted.join(", "), there.join("; ")))
}

/// Whether the token may be logged in to with a PIN. What it says of PINs tried before it remembers over restarts.
pub(crate) fn may_log_in(found: &Found, open: &Open) -> Result<Vec<Warning>, Failure> {
    let (label, is) = (&found.token.label, |flag| found.flags & flag != 0);
    if !is(CKF_TOKEN_INITIALIZED) {
        return Err(failure(
            "token-uninitialized",
            format!("the token in slot {} is not initialised", found.slot.index),
        ));
    }
    if is(CKF_USER_PIN_LOCKED) {
        return Err(failure("pin-locked", format!("the token \"{label}\" has locked the PIN (CKF_USER_PIN_LOCKED)")));
    }
    let warning = |kind: &str, detail: String| Warning { kind: kind.to_owned(), role: None, detail };
    if is(CKF_USER_PIN_FINAL_TRY) {
        let detail = format!("one more wrong PIN locks the token \"{label}\" (CKF_USER_PIN_FINAL_TRY)");
        return if open.final_try {
            Ok(vec![warning("pin-final-try", detail)])
        } else {
            Err(failure("pin-final-try", detail))
        };
    }
    if is(CKF_USER_PIN_COUNT_LOW) {
        let detail = format!("a wrong PIN was tried on the token \"{label}\" (CKF_USER_PIN_COUNT_LOW)");
        return Ok(vec![warning("pin-count-low", detail)]);
    }
    Ok(Vec::new())
}

/// All slots, for a person; what is wrong with one is said beside.
pub(crate) fn overview(module: &Module, problems: &mut Vec<Failure>) -> Result<Vec<SlotInfo>, Fault> {
    let with_token = numbers(module, true)?;
    let mut slots = Vec::new();
    for id in numbers(module, false)? {
        let index = with_token.iter().position(|other| *other == id).and_then(|index| u32::try_from(index).ok());
        let (description, present) = match description(module, id) {
            Ok(said) => said,
            Err(fault) => {
                problems.push(fault.into());
                (String::new(), index.is_some())
            }
        };
        let token = match token(module, id) {
            Ok((token, _)) => Some(token),
            Err(fault) => {
                if index.is_some() {
                    problems.push(fault.into());
                }
                None
            }
        };
        slots.push(SlotInfo { index, id, description, present, token });
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(label: &str, flags: CK_FLAGS) -> Found {
        let token = Token { label: label.to_owned(), serial: "1".to_owned(), ..Token::default() };
        Found { slot: Slot::default(), token, flags }
    }

    #[test]
    fn a_label_is_known_with_the_pin_behind_it() {
        assert!(same_label("runbound", "runbound"));
        assert!(same_label("runbound", "runbound (UserPIN)"));
        assert!(same_label("a-rather-long-token-label", "a-rather-long-token-label (UserP"));
        assert!(!same_label("run", "runbound"));
        assert!(!same_label("runbound", "runbound (x) more"));
    }

    #[test]
    fn what_a_token_says_of_its_pin_decides() {
        let open = Open::default();
        let kind = |flags| may_log_in(&found("t", flags), &open).map_err(|failure| failure.kind);
        assert_eq!(kind(0).unwrap_err(), "token-uninitialized");
        assert_eq!(kind(CKF_TOKEN_INITIALIZED | CKF_USER_PIN_LOCKED).unwrap_err(), "pin-locked");
        assert_eq!(kind(CKF_TOKEN_INITIALIZED | CKF_USER_PIN_FINAL_TRY).unwrap_err(), "pin-final-try");
        assert!(kind(CKF_TOKEN_INITIALIZED).unwrap().is_empty());
        let low = kind(CKF_TOKEN_INITIALIZED | CKF_USER_PIN_COUNT_LOW).unwrap();
        assert_eq!(low.first().unwrap().kind, "pin-count-low");
        let bold = Open { final_try: true, ..Open::default() };
        let warned = may_log_in(&found("t", CKF_TOKEN_INITIALIZED | CKF_USER_PIN_FINAL_TRY), &bold).unwrap();
        assert_eq!(warned.first().unwrap().kind, "pin-final-try");
    }

    #[test]
    fn a_token_has_to_be_the_one_that_is_named() {
        let is = |open: Open| fits(&found("mine", 0).token, &open);
        assert!(is(Open::default()));
        assert!(is(Open { token_label: Some("mine".to_owned()), ..Open::default() }));
        assert!(!is(Open { token_label: Some("other".to_owned()), ..Open::default() }));
        assert!(!is(Open { token_serial: Some("2".to_owned()), ..Open::default() }));
        assert!(!is(Open { token_model: Some("x".to_owned()), ..Open::default() }));
    }
}
