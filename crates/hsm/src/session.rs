//! A session with a token: log in, find, read, compute.
//!
//! Owns every call that needs a session handle, as safe functions over [`Module`]. Values are read into locked memory and
//! nowhere else. What they mean is decided elsewhere.

use std::ptr;

use cryptoki_sys::*;
use sys::memory::Locked;

use crate::failure::{Fault, failure};
use crate::messages::Failure;
use crate::module::{Module, call};

/// Most octets of a value: a longer one is no key of ours, and a module's word is not good enough to allocate by.
pub(crate) const MOST_OCTETS: usize = 4096;
/// Objects of one search, at most: a guard against a module that finds for ever.
const MOST_OBJECTS: usize = 4096;
/// Octets of a label or an id, at most.
const MOST_TEXT: usize = 1024;
/// Octets of the answer to a signature, at most.
const MOST_SIGNATURE: usize = 1024;

/// One attribute of a template.
#[derive(Clone, Copy)]
pub(crate) enum Attribute<'a> {
    /// A number.
    Number(CK_ATTRIBUTE_TYPE, CK_ULONG),
    /// Yes or no.
    Flag(CK_ATTRIBUTE_TYPE, bool),
    /// Octets.
    Octets(CK_ATTRIBUTE_TYPE, &'a [u8]),
}

/// A template as C has it. It points into `attributes`, so it may not outlive them.
fn template(attributes: &[Attribute<'_>]) -> Vec<CK_ATTRIBUTE> {
    let of = |attribute: &Attribute<'_>| {
        let (type_, at, length): (_, *const std::ffi::c_void, usize) = match attribute {
            Attribute::Number(type_, number) => (*type_, ptr::from_ref(number).cast(), size_of::<CK_ULONG>()),
            Attribute::Flag(type_, flag) => (*type_, ptr::from_ref(flag).cast(), size_of::<CK_BBOOL>()),
            Attribute::Octets(type_, octets) => (*type_, octets.as_ptr().cast(), octets.len()),
        };
        CK_ATTRIBUTE { type_, pValue: at.cast_mut(), ulValueLen: length as CK_ULONG }
    };
    attributes.iter().map(of).collect()
}

/// What came of reading a secret value.
pub(crate) enum Reading {
    /// The octets.
    Value(Locked),
    /// CKR_OK, and not one octet.
    Empty,
    /// There is a value and it is not given: the function's code, or CKR_OK with the length that means so.
    Withheld(Fault),
    /// More octets than [`MOST_OCTETS`].
    Long(usize),
}

/// An open session. It is closed when it is dropped.
pub(crate) struct Session<'m> {
    module: &'m Module,
    handle: CK_SESSION_HANDLE,
    open: bool,
}

impl<'m> Session<'m> {
    /// Opens one, to read or also to write.
    pub(crate) fn open(module: &'m Module, slot: CK_SLOT_ID, write: bool) -> Result<Session<'m>, Fault> {
        let flags = if write { CKF_SERIAL_SESSION | CKF_RW_SESSION } else { CKF_SERIAL_SESSION };
        let mut handle = 0;
        call!(module, C_OpenSession(slot, flags, ptr::null_mut(), None, &mut handle))?;
        Ok(Session { module, handle, open: true })
    }

    /// C_Login, once. That this user is logged in already is as good.
    pub(crate) fn login(&self, user: CK_USER_TYPE, pin: &[u8]) -> Result<(), Fault> {
        let (at, length) = (pin.as_ptr().cast_mut(), pin.len() as CK_ULONG);
        match call!(self.module, C_Login(self.handle, user, at, length)) {
            Err(fault) if fault.code == CKR_USER_ALREADY_LOGGED_IN => Ok(()),
            result => result,
        }
    }

    /// C_Logout.
    pub(crate) fn logout(&self) -> Result<(), Fault> {
        call!(self.module, C_Logout(self.handle))
    }

    /// C_CloseSession.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        self.open = false;
        call!(self.module, C_CloseSession(self.handle))
    }

    /// C_InitPIN: the user's PIN, set by the security officer.
    pub(crate) fn init_pin(&self, pin: &[u8]) -> Result<(), Fault> {
        call!(self.module, C_InitPIN(self.handle, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG))
    }

    /// The objects that have all these attributes.
    pub(crate) fn find(&self, attributes: &[Attribute<'_>]) -> Result<Vec<CK_OBJECT_HANDLE>, Fault> {
        let mut wanted = template(attributes);
        let (at, length) = (wanted.as_mut_ptr(), wanted.len() as CK_ULONG);
        call!(self.module, C_FindObjectsInit(self.handle, at, length))?;
        let mut objects = Vec::new();
        let result = loop {
            let mut some: [CK_OBJECT_HANDLE; 64] = [0; 64];
            let mut count = 0;
            if let Err(fault) = call!(self.module, C_FindObjects(self.handle, some.as_mut_ptr(), 64, &mut count)) {
                break Err(fault);
            }
            objects.extend(some.iter().take(count as usize));
            if count == 0 || objects.len() >= MOST_OBJECTS {
                break Ok(objects);
            }
        };
        let end = call!(self.module, C_FindObjectsFinal(self.handle));
        let objects = result?;
        end.map(|()| objects)
    }

    /// An attribute into `buffer`: how many octets it has. None where the object has no such attribute or does not give it.
    fn read(
        &self,
        object: CK_OBJECT_HANDLE,
        type_: CK_ATTRIBUTE_TYPE,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        let at = if buffer.is_empty() { ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
        let mut one = CK_ATTRIBUTE { type_, pValue: at, ulValueLen: buffer.len() as CK_ULONG };
        match call!(self.module, C_GetAttributeValue(self.handle, object, &mut one, 1)) {
            Ok(()) if one.ulValueLen == CK_UNAVAILABLE_INFORMATION => Ok(None),
            Ok(()) => Ok(Some(one.ulValueLen as usize)),
            Err(fault) if matches!(fault.code, CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_SENSITIVE) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// An attribute that is a number.
    pub(crate) fn number(&self, object: CK_OBJECT_HANDLE, type_: CK_ATTRIBUTE_TYPE) -> Result<Option<CK_ULONG>, Fault> {
        let mut octets = [0; size_of::<CK_ULONG>()];
        let length = self.read(object, type_, &mut octets)?;
        Ok(length.filter(|length| *length == octets.len()).map(|_| CK_ULONG::from_ne_bytes(octets)))
    }

    /// An attribute that is yes or no.
    pub(crate) fn flag(&self, object: CK_OBJECT_HANDLE, type_: CK_ATTRIBUTE_TYPE) -> Result<Option<bool>, Fault> {
        let mut octet = [0];
        let length = self.read(object, type_, &mut octet)?;
        Ok(length.filter(|length| *length == 1).map(|_| octet != [0]))
    }

    /// An attribute that is no secret; empty where there is none.
    pub(crate) fn octets(&self, object: CK_OBJECT_HANDLE, type_: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>, Fault> {
        let length = self.read(object, type_, &mut [])?.unwrap_or(0);
        if length == 0 || length > MOST_TEXT {
            return Ok(Vec::new());
        }
        let mut octets = vec![0; length];
        let length = self.read(object, type_, &mut octets)?.unwrap_or(0);
        octets.truncate(length);
        Ok(octets)
    }

    /// CKA_VALUE, into locked memory. CKA_VALUE_LEN is not asked: some modules say 0.
    pub(crate) fn value(&self, object: CK_OBJECT_HANDLE) -> Result<Reading, Failure> {
        let mut one = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: ptr::null_mut(), ulValueLen: 0 };
        let get = |one: &mut CK_ATTRIBUTE| call!(self.module, C_GetAttributeValue(self.handle, object, one, 1));
        let withheld = |code| Ok(Reading::Withheld(Fault { function: "C_GetAttributeValue", code }));
        match get(&mut one) {
            Ok(()) if one.ulValueLen == CK_UNAVAILABLE_INFORMATION => return withheld(CKR_OK),
            Ok(()) if one.ulValueLen == 0 => return Ok(Reading::Empty),
            Ok(()) => {}
            Err(fault) if is_refusal(fault.code) => return withheld(fault.code),
            Err(fault) => return Err(fault.into()),
        }
        let length = one.ulValueLen as usize;
        if length > MOST_OCTETS {
            return Ok(Reading::Long(length));
        }
        let mut value = locked(length)?;
        one.pValue = value.as_mut().as_mut_ptr().cast();
        match get(&mut one) {
            Ok(()) if one.ulValueLen == CK_UNAVAILABLE_INFORMATION => withheld(CKR_OK),
            Ok(()) if one.ulValueLen == 0 => Ok(Reading::Empty),
            Ok(()) => Ok(Reading::Value(shortened(value, one.ulValueLen as usize)?)),
            Err(fault) if is_refusal(fault.code) => withheld(fault.code),
            Err(fault) => Err(fault.into()),
        }
    }

    /// What the token computes with a key over `data`: a code or a signature, into locked memory, since keys are derived
    /// this way.
    pub(crate) fn sign(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<Locked, Failure> {
        let mut answer = locked(MOST_SIGNATURE)?;
        let length = self.sign_into(mechanism, key, data, answer.as_mut())?;
        shortened(answer, length)
    }

    /// The same into memory of the caller; how many octets it has.
    pub(crate) fn sign_into(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, Fault> {
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        call!(self.module, C_SignInit(self.handle, &mut mechanism, key))?;
        let (at, length) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        let mut written = answer.len() as CK_ULONG;
        call!(self.module, C_Sign(self.handle, at, length, answer.as_mut_ptr(), &mut written))?;
        Ok((written as usize).min(answer.len()))
    }

    /// C_DeriveKey by ECDH with a point: a session object that can be read.
    pub(crate) fn derive(
        &self,
        key: CK_OBJECT_HANDLE,
        point: &[u8],
        attributes: &[Attribute<'_>],
    ) -> Result<CK_OBJECT_HANDLE, Fault> {
        let mut parameters = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: ptr::null_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            pPublicData: point.as_ptr().cast_mut(),
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_ECDH1_DERIVE,
            pParameter: ptr::from_mut(&mut parameters).cast(),
            ulParameterLen: size_of::<CK_ECDH1_DERIVE_PARAMS>() as CK_ULONG,
        };
        let mut wanted = template(attributes);
        let (at, length) = (wanted.as_mut_ptr(), wanted.len() as CK_ULONG);
        let mut derived = 0;
        call!(self.module, C_DeriveKey(self.handle, &mut mechanism, key, at, length, &mut derived))?;
        Ok(derived)
    }

    /// C_CreateObject.
    pub(crate) fn create(&self, attributes: &[Attribute<'_>]) -> Result<CK_OBJECT_HANDLE, Fault> {
        let mut wanted = template(attributes);
        let mut object = 0;
        let (at, length) = (wanted.as_mut_ptr(), wanted.len() as CK_ULONG);
        call!(self.module, C_CreateObject(self.handle, at, length, &mut object))?;
        Ok(object)
    }

    /// C_GenerateKey.
    pub(crate) fn generate(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        attributes: &[Attribute<'_>],
    ) -> Result<CK_OBJECT_HANDLE, Fault> {
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let mut wanted = template(attributes);
        let mut object = 0;
        let (at, length) = (wanted.as_mut_ptr(), wanted.len() as CK_ULONG);
        call!(self.module, C_GenerateKey(self.handle, &mut mechanism, at, length, &mut object))?;
        Ok(object)
    }

    /// C_GenerateKeyPair: the public key and the private one.
    pub(crate) fn generate_pair(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        public: &[Attribute<'_>],
        private: &[Attribute<'_>],
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), Fault> {
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let (mut public, mut private) = (template(public), template(private));
        let (mut first, mut second) = (0, 0);
        let (public_at, public_length) = (public.as_mut_ptr(), public.len() as CK_ULONG);
        let (private_at, private_length) = (private.as_mut_ptr(), private.len() as CK_ULONG);
        call!(
            self.module,
            C_GenerateKeyPair(
                self.handle,
                &mut mechanism,
                public_at,
                public_length,
                private_at,
                private_length,
                &mut first,
                &mut second,
            )
        )?;
        Ok((first, second))
    }

    /// C_DestroyObject.
    pub(crate) fn destroy(&self, object: CK_OBJECT_HANDLE) -> Result<(), Fault> {
        call!(self.module, C_DestroyObject(self.handle, object))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.open {
            // Reached after a failure, which is what is reported.
            let _ = call!(self.module, C_CloseSession(self.handle));
        }
    }
}

/// Whether a code says that a value is there and is not given.
fn is_refusal(code: CK_RV) -> bool {
    matches!(
        code,
        CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID | CKR_KEY_UNEXTRACTABLE | CKR_INFORMATION_SENSITIVE
    )
}

/// Locked memory of so many octets.
pub(crate) fn locked(length: usize) -> Result<Locked, Failure> {
    Locked::new(length).map_err(|error| failure("other", format!("no memory for a secret: {error}")))
}

/// The first octets of locked memory, in locked memory of their own.
fn shortened(long: Locked, length: usize) -> Result<Locked, Failure> {
    if long.as_ref().len() == length {
        return Ok(long);
    }
    let mut short = locked(length)?;
    match long.as_ref().get(..length) {
        Some(octets) => short.as_mut().copy_from_slice(octets),
        None => return Err(failure("other", "the module wrote more than there was room for".to_owned())),
    }
    Ok(short)
}
