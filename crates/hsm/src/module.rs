//! The vendor's library: whether it may be loaded, loading it, calling it.
//!
//! Owns the only way to a function of PKCS#11: [`Module::call`] says first what is about to be called, so that the other
//! side can name it if it never returns, and turns a code into a [`Fault`]. The functions come from C_GetFunctionList
//! alone (p11-kit's client exports nothing else). A library is never unloaded: some crash when they are.

use std::cell::Cell;
use std::ffi::{CString, OsStr, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::ptr;

use cryptoki_sys::{
    CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_INFO, CK_RV, CKF_OS_LOCKING_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_OK,
};
use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};

use crate::failure::{Fault, failure};
use crate::messages::{Failure, Library};
use crate::text;

/// Where NSS takes the place of its database from: what newer ones of it read themselves, and older ones want as the
/// reserved argument of C_Initialize.
const NSS_PARAMETERS: &str = "NSS_LIB_PARAMS";
/// What says in a file's name that it is NSS.
const NSS: &[u8] = b"softokn";

/// Who is told what is about to be called.
pub(crate) type Teller = Box<dyn Fn(&'static str)>;

/// Whether C_Initialize has been called.
#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    No,
    Ours,
    /// Somebody else in this process did, so C_Finalize is theirs too.
    Theirs,
}

/// A library that is loaded.
pub(crate) struct Module {
    functions: *const CK_FUNCTION_LIST,
    parameters: Option<CString>,
    state: Cell<State>,
    tell: Teller,
    told: Cell<&'static str>,
    hushed: Cell<bool>,
}

/// C_Initialize's argument as NSS has it: where others reserve the last member, it has two.
#[repr(C)]
struct InitializeArgs {
    common: CK_C_INITIALIZE_ARGS,
    second_reserved: *mut c_void,
}

/// Calls one function of PKCS#11 by name: `call!(module, C_Login(session, user, pin, length))`.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {
        $module.call(
            stringify!($name),
            // SAFETY: the list of functions lives as long as the process, since the library is never unloaded.
            unsafe { (*$module.functions()).$name },
            // SAFETY: the function came from the module's own list under this name, so its type is that of PKCS#11. Every
            // pointer given is to memory of the caller that outlives the call, with its true length beside it.
            |function| unsafe { function($($argument),*) },
        )
    };
}
pub(crate) use call;

impl Module {
    /// Loads the library at `path`, after [`checked`] found nothing against it.
    pub(crate) fn load(path: &str, tell: Teller) -> Result<Module, Failure> {
        let real = checked(Path::new(path), 0)?;
        tell("dlopen");
        // SAFETY: running the initialisers of a vendor's library is what this process is for; `checked` saw to it that
        // nobody but root could have put it there.
        let shared = unsafe { Shared::open(Some(&real), RTLD_NOW | RTLD_LOCAL) };
        let shared = shared.map_err(|error| failure("module-load", error.to_string()))?;
        let parameters = parameters(&real, std::env::var_os(NSS_PARAMETERS).as_deref());
        let module = Module::of(&shared, parameters, tell);
        std::mem::forget(shared); // never unloaded, see above
        module
    }

    fn of(shared: &Shared, parameters: Option<CString>, tell: Teller) -> Result<Module, Failure> {
        type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
        // SAFETY: the symbol of this name has this type in every version of PKCS#11.
        let get = unsafe { shared.get::<GetFunctionList>(b"C_GetFunctionList\0") };
        let get = get.map_err(|error| failure("module-no-functions", error.to_string()))?;
        tell("C_GetFunctionList");
        let mut functions: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: `functions` is writable for the call.
        let code = unsafe { get(&mut functions) };
        if code != CKR_OK {
            return Err(Fault { function: "C_GetFunctionList", code }.as_kind("module-no-functions"));
        }
        if functions.is_null() {
            return Err(failure("module-no-functions", "C_GetFunctionList gave none".to_owned()));
        }
        Ok(Module {
            functions,
            parameters,
            state: Cell::new(State::No),
            tell,
            told: Cell::new(""),
            hushed: Cell::new(false),
        })
    }

    /// A module that is a list of functions and no library.
    #[cfg(test)]
    pub(crate) fn fake(functions: &'static CK_FUNCTION_LIST, parameters: Option<&str>, tell: Teller) -> Module {
        let parameters = parameters.and_then(|text| CString::new(text).ok());
        Module {
            functions,
            parameters,
            state: Cell::new(State::No),
            tell,
            told: Cell::new(""),
            hushed: Cell::new(false),
        }
    }

    /// The list of functions, for [`call!`] alone.
    pub(crate) fn functions(&self) -> *const CK_FUNCTION_LIST {
        self.functions
    }

    /// Calls a function, having said so.
    pub(crate) fn call<F>(
        &self,
        name: &'static str,
        function: Option<F>,
        run: impl FnOnce(F) -> CK_RV,
    ) -> Result<(), Fault> {
        let Some(function) = function else {
            return Err(Fault { function: name, code: CKR_FUNCTION_NOT_SUPPORTED });
        };
        self.announce(name);
        match run(function) {
            CKR_OK => Ok(()),
            code => Err(Fault { function: name, code }),
        }
    }

    /// Says what is called next, unless that was the last thing said.
    fn announce(&self, name: &'static str) {
        if !self.hushed.get() && self.told.replace(name) != name {
            (self.tell)(name);
        }
    }

    /// Says no names for a while.
    pub(crate) fn hush(&self, hushed: bool) {
        self.hushed.set(hushed);
    }

    /// A new turn begins: what was said in the last one is forgotten.
    pub(crate) fn begin(&self) {
        self.told.set("");
    }

    /// C_Initialize, unless it was called. Threads may call the module at once (CKF_OS_LOCKING_OK): it has its own.
    pub(crate) fn initialize(&self) -> Result<(), Fault> {
        if self.state.get() != State::No {
            return Ok(());
        }
        let reserved = self.parameters.as_ref().map_or(ptr::null_mut(), |text| text.as_ptr().cast_mut().cast());
        let mut arguments = InitializeArgs {
            common: CK_C_INITIALIZE_ARGS {
                CreateMutex: None,
                DestroyMutex: None,
                LockMutex: None,
                UnlockMutex: None,
                flags: CKF_OS_LOCKING_OK,
                pReserved: reserved,
            },
            second_reserved: ptr::null_mut(),
        };
        match call!(self, C_Initialize(ptr::from_mut(&mut arguments).cast())) {
            Ok(()) => self.state.set(State::Ours),
            Err(fault) if fault.code == CKR_CRYPTOKI_ALREADY_INITIALIZED => self.state.set(State::Theirs),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// C_Finalize, if C_Initialize was ours.
    pub(crate) fn finalize(&self) -> Result<(), Fault> {
        if self.state.replace(State::No) == State::Ours {
            call!(self, C_Finalize(ptr::null_mut()))?;
        }
        Ok(())
    }

    /// What the module says of itself.
    pub(crate) fn about(&self) -> Result<Library, Fault> {
        let mut info = CK_INFO::default();
        call!(self, C_GetInfo(&mut info))?;
        Ok(Library {
            description: text::padded(&info.libraryDescription),
            manufacturer: text::padded(&info.manufacturerID),
            version: format!("{}.{}", info.libraryVersion.major, info.libraryVersion.minor),
            cryptoki: format!("{}.{}", info.cryptokiVersion.major, info.cryptokiVersion.minor),
        })
    }
}

/// The real path of a library that may be loaded: `owner` (root) owns it and nobody else can write it or replace it.
/// Whoever can is able to read every key.
fn checked(path: &Path, owner: u32) -> Result<PathBuf, Failure> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(failure("module-path", format!("{shown} is not an absolute path")));
    }
    let real = fs::canonicalize(path).map_err(|error| failure("module-missing", format!("{shown}: {error}")))?;
    let about = fs::metadata(&real).map_err(|error| failure("module-missing", format!("{shown}: {error}")))?;
    if !about.is_file() {
        return Err(failure("module-not-regular", format!("{} is not a regular file", real.display())));
    }
    // The path as given has links in it, perhaps: who can turn one of those can choose another library.
    for place in real.ancestors().chain(path.parent().into_iter().flat_map(Path::ancestors)) {
        let Ok(about) = fs::symlink_metadata(place) else { continue }; // "a/.." of the path as given, say
        let (mode, shown) = (about.permissions().mode() & 0o7777, place.display());
        if about.uid() != owner {
            return Err(failure("module-owner", format!("{shown} belongs to user {}, not to root", about.uid())));
        }
        // In a sticky directory others can add names, not replace ours. A group's right counts where the group is not
        // root's.
        let sticky = about.is_dir() && mode & 0o1000 != 0;
        let open = mode & 0o002 != 0 || (mode & 0o020 != 0 && about.gid() != 0);
        if open && !sticky && !about.is_symlink() {
            return Err(failure("module-writable", format!("{shown} can be written by others (mode {mode:04o})")));
        }
    }
    Ok(real)
}

/// What C_Initialize is given besides: NSS finds its database by it, others get nothing.
fn parameters(library: &Path, environment: Option<&OsStr>) -> Option<CString> {
    let name = library.file_name()?.as_bytes();
    if !name.windows(NSS.len()).any(|part| part == NSS) {
        return None;
    }
    CString::new(environment?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nss_is_told_where_its_database_is() {
        let given = |library: &str| parameters(Path::new(library), Some(OsStr::new("configdir='sql:/x'")));
        assert_eq!(given("/usr/lib/libsoftokn3.so").unwrap().as_bytes(), b"configdir='sql:/x'");
        assert_eq!(given("/usr/lib/softhsm/libsofthsm2.so"), None);
        assert_eq!(parameters(Path::new("/usr/lib/libsoftokn3.so"), None), None);
    }
}
