//! A module that says what a test wants: what no real one says when it is asked to.
//!
//! Owns a list of functions whose answers stand in the thread that calls them. Real modules are in `tests/softhsm.rs`.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::rc::Rc;

use cryptoki_sys::*;

use crate::failure::Fault;
use crate::module::Module;
use crate::session::{Attribute, MOST_OCTETS, Reading, Session};

/// What the module answers, and what it was asked.
struct Said {
    initialize: CK_RV,
    login: CK_RV,
    /// CKA_VALUE: code and length of the first call, of the second.
    value: [(CK_RV, CK_ULONG); 2],
    asked: Vec<String>,
}

thread_local! {
    static SAID: RefCell<Said> = const {
        RefCell::new(Said { initialize: CKR_OK, login: CKR_OK, value: [(CKR_OK, 32); 2], asked: Vec::new() })
    };
}

fn say<R>(with: impl FnOnce(&mut Said) -> R) -> R {
    SAID.with_borrow_mut(with)
}

unsafe extern "C" fn initialize(arguments: *mut c_void) -> CK_RV {
    // SAFETY: the caller gives the argument of C_Initialize, never null here, its text ended by a zero.
    let (flags, parameters) = unsafe {
        let arguments = &*arguments.cast::<CK_C_INITIALIZE_ARGS>();
        let text = arguments.pReserved.cast::<c_char>();
        let text = if text.is_null() { None } else { CStr::from_ptr(text).to_str().ok() };
        (arguments.flags, text)
    };
    say(|said| {
        said.asked.push(format!("initialize {flags} {parameters:?}"));
        said.initialize
    })
}

unsafe extern "C" fn finalize(_: *mut c_void) -> CK_RV {
    say(|said| said.asked.push("finalize".to_owned()));
    CKR_OK
}

unsafe extern "C" fn open(
    _: CK_SLOT_ID,
    _: CK_FLAGS,
    _: *mut c_void,
    _: CK_NOTIFY,
    handle: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    // SAFETY: the caller gives a place for the handle.
    unsafe { *handle = 7 };
    CKR_OK
}

unsafe extern "C" fn close(_: CK_SESSION_HANDLE) -> CK_RV {
    say(|said| said.asked.push("close".to_owned()));
    CKR_OK
}

unsafe extern "C" fn login(_: CK_SESSION_HANDLE, _: CK_USER_TYPE, _: *mut CK_UTF8CHAR, _: CK_ULONG) -> CK_RV {
    say(|said| said.login)
}

unsafe extern "C" fn attribute(
    _: CK_SESSION_HANDLE,
    _: CK_OBJECT_HANDLE,
    wanted: *mut CK_ATTRIBUTE,
    _: CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller gives one attribute.
    let wanted = unsafe { &mut *wanted };
    let (code, length) = say(|said| said.value[usize::from(!wanted.pValue.is_null())]);
    wanted.ulValueLen = length;
    code
}

unsafe extern "C" fn find_init(_: CK_SESSION_HANDLE, _: *mut CK_ATTRIBUTE, _: CK_ULONG) -> CK_RV {
    CKR_OK
}

unsafe extern "C" fn find(_: CK_SESSION_HANDLE, _: *mut CK_OBJECT_HANDLE, _: CK_ULONG, count: *mut CK_ULONG) -> CK_RV {
    // SAFETY: the caller gives a place for the count. It is more than there was room for, and never 0.
    unsafe { *count = CK_ULONG::MAX };
    CKR_OK
}

unsafe extern "C" fn find_final(_: CK_SESSION_HANDLE) -> CK_RV {
    CKR_OK
}

/// A module of these functions; all others are missing.
fn module() -> Module {
    told(Rc::default())
}

/// The same; what is about to be called is written down.
fn told(names: Rc<RefCell<Vec<&'static str>>>) -> Module {
    let functions = CK_FUNCTION_LIST {
        C_Initialize: Some(initialize),
        C_Finalize: Some(finalize),
        C_OpenSession: Some(open),
        C_CloseSession: Some(close),
        C_Login: Some(login),
        C_GetAttributeValue: Some(attribute),
        C_FindObjectsInit: Some(find_init),
        C_FindObjects: Some(find),
        C_FindObjectsFinal: Some(find_final),
        ..CK_FUNCTION_LIST::default()
    };
    let tell = move |name| names.borrow_mut().push(name);
    Module::fake(Box::leak(Box::new(functions)), Some("configdir='x'"), Box::new(tell))
}

#[test]
fn it_is_initialised_once_for_many_threads_and_with_its_parameters() {
    let module = module();
    module.initialize().unwrap();
    module.initialize().unwrap();
    module.finalize().unwrap();
    module.finalize().unwrap();
    let asked = say(|said| std::mem::take(&mut said.asked));
    assert_eq!(asked, [format!("initialize {CKF_OS_LOCKING_OK} Some(\"configdir='x'\")"), "finalize".to_owned()]);
}

#[test]
fn what_somebody_else_initialised_is_not_ours_to_finalise() {
    let module = module();
    say(|said| said.initialize = CKR_CRYPTOKI_ALREADY_INITIALIZED);
    module.initialize().unwrap();
    module.finalize().unwrap();
    assert!(!say(|said| said.asked.contains(&"finalize".to_owned())));
    say(|said| said.initialize = CKR_HOST_MEMORY);
    let fault = Fault { function: "C_Initialize", code: CKR_HOST_MEMORY };
    assert_eq!(module.initialize(), Err(fault));
    assert_eq!(crate::messages::Failure::from(fault).kind, "initialize");
}

#[test]
fn what_is_about_to_be_called_is_said_first() {
    let names = Rc::default();
    let module = told(Rc::clone(&names));
    let session = Session::open(&module, 0, false).unwrap();
    session.login(CKU_USER, b"1").unwrap();
    session.login(CKU_USER, b"1").unwrap();
    module.begin();
    session.login(CKU_USER, b"1").unwrap();
    drop(session);
    assert_eq!(*names.borrow(), ["C_OpenSession", "C_Login", "C_Login", "C_CloseSession"]);
}

#[test]
fn a_function_that_is_missing_is_a_code_too() {
    let module = module();
    let session = Session::open(&module, 0, true).unwrap();
    let missing = session.create(&[Attribute::Flag(CKA_TOKEN, true)]);
    assert_eq!(missing, Err(Fault { function: "C_CreateObject", code: CKR_FUNCTION_NOT_SUPPORTED }));
    drop(session);
    assert_eq!(say(|said| std::mem::take(&mut said.asked)), ["close"], "dropped is closed");
}

#[test]
fn who_is_logged_in_already_is_logged_in() {
    let module = module();
    let session = Session::open(&module, 0, false).unwrap();
    say(|said| said.login = CKR_USER_ALREADY_LOGGED_IN);
    session.login(CKU_USER, b"1").unwrap();
    for (code, kind) in [
        (CKR_PIN_INCORRECT, "login-pin"),
        (CKR_PIN_LEN_RANGE, "login-pin"),
        (CKR_PIN_LOCKED, "login-locked"),
        (CKR_PIN_EXPIRED, "login"),
        (CKR_USER_PIN_NOT_INITIALIZED, "login"),
        (CKR_DEVICE_REMOVED, "device"),
        (0x8000_0001, "login"),
    ] {
        say(|said| said.login = code);
        assert_eq!(session.login(CKU_USER, b"1").map_err(Fault::of_login).unwrap_err().kind, kind, "{code}");
    }
}

/// Tokens refuse in every way there is; none of them may end as an empty or half-read key.
#[test]
fn a_value_is_whole_or_is_none() {
    let module = module();
    let session = Session::open(&module, 0, false).unwrap();
    let read = |first, second| {
        say(|said| said.value = [first, second]);
        session.value(1)
    };
    let (good, none) = ((CKR_OK, 32), CK_UNAVAILABLE_INFORMATION);
    assert!(matches!(read(good, good), Ok(Reading::Value(value)) if value.as_ref() == [0; 32]));
    assert!(matches!(read(good, (CKR_OK, 20)), Ok(Reading::Value(value)) if value.as_ref() == [0; 20]));
    for (first, second) in [((CKR_OK, 0), good), (good, (CKR_OK, 0))] {
        assert!(matches!(read(first, second), Ok(Reading::Empty)));
    }
    for (first, second) in [((CKR_OK, none), good), (good, (CKR_OK, none))] {
        assert!(matches!(read(first, second), Ok(Reading::Withheld(fault)) if fault.code == CKR_OK));
    }
    for code in [CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_KEY_UNEXTRACTABLE] {
        assert!(matches!(read((code, none), good), Ok(Reading::Withheld(fault)) if fault.code == code));
        assert!(matches!(read(good, (code, none)), Ok(Reading::Withheld(fault)) if fault.code == code));
    }
    let long = MOST_OCTETS as CK_ULONG + 1;
    assert!(matches!(read((CKR_OK, long), good), Ok(Reading::Long(4097))));
    // It says that it wrote more than there was room for.
    assert!(read(good, (CKR_OK, 33)).is_err());
    assert!(read(good, (CKR_DEVICE_ERROR, 0)).is_err_and(|failure| failure.kind == "device"));
}

#[test]
fn a_search_without_end_ends() {
    let module = module();
    let session = Session::open(&module, 0, false).unwrap();
    assert_eq!(session.find(&[Attribute::Octets(CKA_LABEL, b"x")]).unwrap().len(), 4096);
}
