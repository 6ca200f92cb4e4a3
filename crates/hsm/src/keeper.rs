//! What stays after an in-token start: a watch over the token, and signatures by keys that never leave it.
//!
//! Owns the way back after an outage, in steps each of which does more: the session there is, a new one, C_CloseAllSessions
//! and a new one, C_Finalize and C_Initialize. It keeps the PIN in locked memory and logs in once an outage at most; a PIN
//! that was refused is never said again. Watching logs in never.

use cryptoki_sys::*;
use sys::memory::Locked;

use crate::failure::{Fault, failure};
use crate::keys::{self, How};
use crate::messages::{Failure, Loaded, Mode, Open, Probed, Token};
use crate::module::{Module, call};
use crate::objects;
use crate::session::Session;
use crate::slots::{self, Found};

/// The steps of a way back, each with those before it undone.
#[derive(Clone, Copy)]
enum Rung {
    AsItIs,
    NewSession,
    CloseAll,
    Initialize,
}

/// A key that was used at the start.
struct Kept {
    role: String,
    label: String,
    id: Vec<u8>,
}

/// The watch over one token.
pub(crate) struct Keeper {
    module: &'static Module,
    open: Open,
    token: Token,
    keys: Vec<Kept>,
    pin: Locked,
    session: Option<Session<'static>>,
    /// C_Login was called since the token was last seen to fail or to be gone.
    logged_in: bool,
    /// The token refused the PIN.
    refused: Option<Failure>,
}

impl Keeper {
    /// Watches the token that keys were just loaded from.
    pub(crate) fn new(module: &'static Module, open: Open, loaded: &Loaded, pin: Locked) -> Keeper {
        let kept = |key: &crate::messages::KeyInfo| Kept {
            role: key.role.clone(),
            label: key.label.clone(),
            id: key.id.to_vec(),
        };
        let keys = loaded.keys.iter().map(kept).collect();
        let token = loaded.token.clone();
        Keeper { module, open, token, keys, pin, session: None, logged_in: false, refused: None }
    }

    /// Whether the same token is there and opens a session.
    pub(crate) fn probe(&mut self) -> Probed {
        let probed = probed(self.module, || slots::again(self.module, &self.token), || self.session = None);
        if !probed.present {
            self.logged_in = false; // gone for sure: when it comes back, that is the end of another outage
        }
        probed
    }

    /// What the token computes with a key over `data`, and how often C_Login was called for it.
    pub(crate) fn sign(&mut self, role: &str, data: &[u8], close: bool) -> Result<(Locked, u32), Failure> {
        let mut logins = 0;
        let mut last = None;
        for rung in [Rung::AsItIs, Rung::NewSession, Rung::CloseAll, Rung::Initialize] {
            self.climb(rung);
            match self.attempt(role, data, &mut logins) {
                Ok(signature) => {
                    self.logged_in = false;
                    if close {
                        self.close();
                    }
                    return Ok((signature, logins));
                }
                Err(failure) if !matches!(failure.kind.as_str(), "device" | "no-token" | "no-slot" | "initialize") => {
                    self.close();
                    return Err(failure);
                }
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_default())
    }

    /// Undoes what a rung undoes. What fails here fails of what is wrong anyway; the next attempt tells.
    fn climb(&mut self, rung: Rung) {
        match rung {
            Rung::AsItIs => {}
            Rung::NewSession => self.session = None,
            Rung::CloseAll => {
                self.session = None;
                if let Ok(found) = slots::again(self.module, &self.token) {
                    let _ = call!(self.module, C_CloseAllSessions(found.slot.id));
                }
            }
            Rung::Initialize => {
                self.session = None;
                let _ = self.module.finalize();
            }
        }
    }

    fn attempt(&mut self, role: &str, data: &[u8], logins: &mut u32) -> Result<Locked, Failure> {
        self.module.initialize()?;
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(self.module, slots::again(self.module, &self.token)?.slot.id, false)?,
        };
        let session = self.session.insert(session);
        let Some(key) = self.keys.iter().find(|key| key.role == role) else {
            return Err(failure("protocol", format!("no key of role \"{role}\" was loaded")));
        };
        // Only a token that does not let us do it asks for the PIN: it may know us still.
        let first = use_key(session, key, data);
        if !matches!(&first, Err(failure) if failure.kind == "label-absent" || failure.code == Some(CKR_USER_NOT_LOGGED_IN))
        {
            return first;
        }
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        if self.logged_in {
            return Err(failure(
                "device",
                "C_Login was called in this outage already; it is not called again".to_owned(),
            ));
        }
        let found = slots::again(self.module, &self.token)?;
        slots::may_log_in(&found, &self.open)?;
        self.logged_in = true;
        *logins += 1;
        if let Err(failure) = session.login(CKU_USER, self.pin.as_ref()).map_err(Fault::of_login) {
            if matches!(failure.kind.as_str(), "login-pin" | "login-locked") {
                self.refused = Some(failure.clone());
            }
            return Err(failure);
        }
        use_key(session, key, data)
    }

    /// C_Logout and C_CloseSession, if there is a session.
    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.logout(); // one that was not logged in says so
            let _ = session.close();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether the token that a request names is there and opens a session, in a helper that never used its keys.
pub(crate) fn watched(module: &Module, open: &Open) -> Probed {
    probed(module, || slots::choose(module, open), || {})
}

/// A look, and another after C_Finalize and C_Initialize. `forget` lets go of sessions between the two.
fn probed(module: &Module, find: impl Fn() -> Result<Found, Failure>, forget: impl FnOnce()) -> Probed {
    let look = || -> Result<(), Failure> {
        module.initialize()?;
        Ok(Session::open(module, find()?.slot.id, false)?.close()?)
    };
    if look().is_ok() {
        return Probed { present: true, failure: None };
    }
    forget();
    let _ = module.finalize(); // of a module that failed already; what counts is the next look
    let failure = look().err();
    Probed { present: failure.is_none(), failure }
}

fn use_key(session: &Session<'_>, key: &Kept, data: &[u8]) -> Result<Locked, Failure> {
    let id = (!key.id.is_empty()).then_some(key.id.as_slice());
    let (class, object) = objects::only(session, &key.label, id, Mode::InToken)?;
    keys::computed(session, How::of(class), object, data)
}
