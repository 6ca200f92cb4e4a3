//! What went wrong, in a form that crosses.
//!
//! Owns how a code of PKCS#11 becomes a [`Failure`]: which kind of trouble it is. What a person should do about a kind is
//! not said here but in `python/runbound/keys/words.py`.

use std::io;

use cryptoki_sys::*;

use crate::messages::Failure;
use crate::names;

/// A function of PKCS#11 that did not return CKR_OK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) function: &'static str,
    /// What it returned.
    pub(crate) code: CK_RV,
}

impl Fault {
    /// As a failure of this kind.
    pub(crate) fn as_kind(self, kind: &str) -> Failure {
        let name = names::code(self.code);
        let shown = name.map_or_else(|| format!("0x{:08x}", self.code), str::to_owned);
        Failure {
            kind: kind.to_owned(),
            function: Some(self.function.to_owned()),
            code: Some(self.code),
            name: name.map(str::to_owned),
            detail: format!("{} returned {shown}", self.function),
            ..Failure::default()
        }
    }

    /// As a failure of C_Login. CKR_PIN_LEN_RANGE is an incorrect PIN too: nothing of that length can be right.
    pub(crate) fn of_login(self) -> Failure {
        self.as_kind(match self.code {
            CKR_PIN_INCORRECT | CKR_PIN_INVALID | CKR_PIN_LEN_RANGE => "login-pin",
            CKR_PIN_LOCKED => "login-locked",
            _ if self.is_of_device() => "device",
            _ => "login",
        })
    }

    /// Whether it speaks of the connection to the token rather than of what was asked: a new try can go well.
    pub(crate) fn is_of_device(self) -> bool {
        matches!(
            self.code,
            CKR_DEVICE_ERROR
                | CKR_DEVICE_MEMORY
                | CKR_DEVICE_REMOVED
                | CKR_TOKEN_NOT_PRESENT
                | CKR_TOKEN_NOT_RECOGNIZED
                | CKR_SESSION_CLOSED
                | CKR_SESSION_HANDLE_INVALID
                | CKR_SLOT_ID_INVALID
                | CKR_CRYPTOKI_NOT_INITIALIZED
                | CKR_GENERAL_ERROR
                | CKR_FUNCTION_FAILED
        )
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        fault.as_kind(match fault.code {
            _ if fault.function == "C_Initialize" => "initialize",
            CKR_MECHANISM_INVALID
            | CKR_MECHANISM_PARAM_INVALID
            | CKR_KEY_TYPE_INCONSISTENT
            | CKR_KEY_FUNCTION_NOT_PERMITTED
            | CKR_FUNCTION_NOT_SUPPORTED => "no-mechanism",
            _ if fault.is_of_device() => "device",
            _ => "other",
        })
    }
}

/// A failure that no function of PKCS#11 reported.
pub(crate) fn failure(kind: &str, detail: String) -> Failure {
    Failure { kind: kind.to_owned(), detail, ..Failure::default() }
}

/// The kernel refused something.
pub(crate) fn refused(what: &str, error: &io::Error) -> Failure {
    failure("other", format!("{what}: {error}"))
}
