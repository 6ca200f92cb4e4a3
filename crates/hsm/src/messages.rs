//! What is asked of the helper and what it says: the messages that end a turn (msgpack maps).
//!
//! Owns their form and nothing else. Secrets are not in them: a PIN or a key travels in a frame of its own, ahead of the
//! message. `python/runbound/keys/messages.py` is the other side and must say the same.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Which module, token and account a request is about.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Open {
    /// Absolute path of the PKCS#11 library.
    pub module: String,
    /// Which of the slots that hold a token, counted from 0 in the order the module gives them.
    #[serde(default)]
    pub slot: Option<u32>,
    /// The token's label, where it must be this one.
    #[serde(default)]
    pub token_label: Option<String>,
    /// The token's serial number, where it must be this one.
    #[serde(default)]
    pub token_serial: Option<String>,
    /// The token's model, where it must be this one.
    #[serde(default)]
    pub token_model: Option<String>,
    /// The token's manufacturer, where it must be this one.
    #[serde(default)]
    pub token_manufacturer: Option<String>,
    /// User, group and further groups to become before the module is loaded.
    #[serde(default)]
    pub account: Option<(u32, u32, Vec<u32>)>,
    /// Log in even where the token says that one more wrong PIN locks it.
    #[serde(default)]
    pub final_try: bool,
}

/// How keys are used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The value is read once and kept by the resolver.
    Extract,
    /// The key stays in the token, which computes with it.
    InToken,
}

impl Mode {
    /// As it is written in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Extract => "extract",
            Mode::InToken => "in-token",
        }
    }
}

/// One key that is wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Want {
    /// What it is for: `api`, `store` or `audit`.
    pub role: String,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID, where it must be this one.
    #[serde(default)]
    pub id: Option<ByteBuf>,
}

/// A request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Read or derive all keys of a start. Secrets: the PIN.
    Load {
        /// The module, the token.
        open: Open,
        /// Whether keys are read or used in the token.
        mode: Mode,
        /// Every key, in the order of the reply.
        wants: Vec<Want>,
        /// What the code of the API key is computed over, and the confirmations.
        nonce: ByteBuf,
        /// Stay ready for `probe` and `sign` afterwards; keeps the PIN.
        stay: bool,
    },
    /// Is the token there? Logs in never.
    Probe {
        /// The module, the token; none: those of the `load` before, in the helper that stayed.
        #[serde(default)]
        open: Option<Open>,
    },
    /// Compute with a key that was loaded in the token.
    Sign {
        /// The key's role.
        role: String,
        /// What to compute over; a digest for ECDSA.
        data: ByteBuf,
        /// Log out afterwards.
        #[serde(default)]
        close: bool,
    },
    /// Look at everything. Secrets: the PIN, with `login`.
    Inspect {
        /// The module, the token.
        open: Open,
        /// Log in, so that private objects are seen.
        #[serde(default)]
        login: bool,
        /// Measure how many operations a second the token makes (needs `login`).
        #[serde(default)]
        rates: bool,
    },
    /// Initialise a token. Secrets: the security officer's PIN, the user's PIN.
    Init {
        /// The module, the slot. No slot: the first whose token is not initialised.
        open: Open,
        /// The token's new label.
        label: String,
        /// Also a token that is initialised already: all in it is lost.
        #[serde(default)]
        force: bool,
    },
    /// Make a key. Secrets: the PIN and, unless it is generated, the value.
    Put {
        /// The module, the token.
        open: Open,
        /// What it is for.
        role: String,
        /// CKA_LABEL; no object may have it yet.
        label: String,
        /// CKA_ID.
        #[serde(default)]
        id: Option<ByteBuf>,
        /// Whether the value may ever be read again.
        mode: Mode,
        /// As a data object, for cards that store no secret keys.
        #[serde(default)]
        data: bool,
        /// Draw the value here: 32 octets, as hexadecimal digits or as they are.
        #[serde(default)]
        generate: Option<Form>,
        /// Give the generated value back, once.
        #[serde(default)]
        export: bool,
    },
    /// Read a key's value. Secrets: the PIN.
    Get {
        /// The module, the token.
        open: Open,
        /// What it is for.
        role: String,
        /// CKA_LABEL.
        label: String,
    },
    /// Destroy the objects with a label. Secrets: the PIN.
    Delete {
        /// The module, the token.
        open: Open,
        /// CKA_LABEL.
        label: String,
    },
}

/// How a generated value is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// 64 hexadecimal digits.
    Hex,
    /// 32 octets.
    Raw,
}

/// What the module says of itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Library {
    /// What it is.
    pub description: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its version.
    pub version: String,
    /// The version of PKCS#11 it implements.
    pub cryptoki: String,
}

/// A slot that was chosen.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Slot {
    /// Counted from 0 among the slots with a token.
    pub index: u32,
    /// The module's own number.
    pub id: u64,
    /// What it is.
    pub description: String,
}

/// What a token says of itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its flags without `CKF_`, such as `TOKEN_INITIALIZED`.
    pub flags: Vec<String>,
}

/// One key as it was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct KeyInfo {
    /// What it is for.
    pub role: String,
    /// CKA_LABEL.
    pub label: String,
    /// `secret-key`, `data` or `private-key`.
    pub object: String,
    /// CKA_ID; CKA_OBJECT_ID of a data object is not asked for.
    pub id: ByteBuf,
    /// CKA_KEY_TYPE by name, such as `GENERIC_SECRET`.
    pub key_type: Option<String>,
    /// CKA_EXTRACTABLE.
    pub extractable: Option<bool>,
    /// CKA_SENSITIVE.
    pub sensitive: Option<bool>,
    /// CKA_PRIVATE.
    pub private: Option<bool>,
    /// `value` (read), `hmac`, `ecdh` or `ecdsa` (in the token).
    pub how: String,
    /// The API key's HMAC-SHA256 over the nonce.
    pub tag: Option<ByteBuf>,
    /// In-token: what `sign` gives over `runbound confirm 1` and the nonce.
    pub proof: Option<ByteBuf>,
}

/// Something to be told that stops nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Warning {
    /// `pin-count-low`, `pin-final-try`, `not-private`, `api-short`, `sensitive-readable`, `logout` or `finalize`.
    pub kind: String,
    /// The key it is about.
    pub role: Option<String>,
    /// More, for a person.
    pub detail: String,
}

/// Why a request was not fulfilled.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Failure {
    /// One of the words that `python/runbound/keys/words.py` explains.
    pub kind: String,
    /// The function of PKCS#11 that said so.
    pub function: Option<String>,
    /// The code it returned.
    pub code: Option<u64>,
    /// That code by name, such as `CKR_PIN_INCORRECT`.
    pub name: Option<String>,
    /// More, for a person.
    pub detail: String,
    /// The labels that are in the token, where one was not found.
    pub labels: Vec<String>,
    /// Who the helper was.
    pub account: Option<String>,
}

/// Reply to `load`. Secrets: one a store or audit key, in the order of `keys`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Loaded {
    /// The module.
    pub library: Library,
    /// The slot.
    pub slot: Slot,
    /// The token.
    pub token: Token,
    /// How often C_Login was called.
    pub logins: u32,
    /// What was loaded, in the order of the request.
    pub keys: Vec<KeyInfo>,
    /// What to tell.
    pub warnings: Vec<Warning>,
    /// How long all took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Reply to `probe`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Probed {
    /// The token is there, is the same one, and opens a session.
    pub present: bool,
    /// Why not.
    pub failure: Option<Failure>,
}

/// Reply to `sign`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Signed {
    /// The code or the signature (r and s one after the other).
    pub signature: ByteBuf,
    /// How often C_Login was called for it.
    pub logins: u32,
}

/// One slot, with or without a token.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SlotInfo {
    /// Counted from 0 among the slots with a token; none without.
    pub index: Option<u32>,
    /// The module's own number.
    pub id: u64,
    /// What it is.
    pub description: String,
    /// A token is in it.
    pub present: bool,
    /// The token.
    pub token: Option<Token>,
}

/// One object that could be a key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ObjectInfo {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID.
    pub id: ByteBuf,
    /// `secret-key`, `data` or `private-key`.
    pub object: String,
    /// CKA_KEY_TYPE by name.
    pub key_type: Option<String>,
    /// CKA_EXTRACTABLE.
    pub extractable: Option<bool>,
    /// CKA_SENSITIVE.
    pub sensitive: Option<bool>,
    /// CKA_PRIVATE.
    pub private: Option<bool>,
    /// CKA_SIGN.
    pub sign: Option<bool>,
    /// CKA_DERIVE.
    pub derive: Option<bool>,
    /// The modes it can be used in.
    pub modes: Vec<Mode>,
}

/// How fast the token is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Rates {
    /// HMAC-SHA256 codes a second.
    pub hmac_per_s: Option<f64>,
    /// ECDSA P-256 signatures a second.
    pub ecdsa_per_s: Option<f64>,
}

/// Reply to `inspect`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Inspected {
    /// The module.
    pub library: Library,
    /// All slots.
    pub slots: Vec<SlotInfo>,
    /// Place in `slots` of the one the request means.
    pub chosen: Option<u32>,
    /// The token's mechanisms by name.
    pub mechanisms: Vec<String>,
    /// What is in it.
    pub objects: Vec<ObjectInfo>,
    /// How fast it is, if that was asked.
    pub rates: Option<Rates>,
    /// What stands in the way.
    pub problems: Vec<Failure>,
}

/// Reply to `init`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Initialized {
    /// The slot, as it is counted afterwards.
    pub slot: Slot,
    /// The token.
    pub token: Token,
}

/// Reply to `put` and `get`. Secrets: the value, where it is given back.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Described {
    /// The key.
    pub info: KeyInfo,
}

/// Reply to `delete`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Deleted {
    /// How many objects were destroyed.
    pub deleted: u32,
}

/// Reply to anything that failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Refused {
    /// Why.
    pub error: Failure,
}
