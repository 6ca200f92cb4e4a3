//! The environment of the process as the kernel and C hold it.
//!
//! Owns taking a secret out of it: into locked memory, and wiped where it stood, so that neither the memory of the
//! process nor `/proc/PID/environ` has it any longer. `unsetenv` alone only forgets where it is. The environment belongs to
//! the whole process and nothing guards it: this is called before there are threads that read it.

use std::ffi::{CStr, c_char};
use std::{io, ptr, slice};

use crate::memory::Locked;

unsafe extern "C" {
    /// The list that `execve` and `getenv` go by: strings `NAME=value`, and null.
    static mut environ: *mut *mut c_char;
}

/// Calls `each` with every entry, the octets without the closing zero, until it says that it has found.
fn find(mut each: impl FnMut(&'static mut [u8]) -> bool) {
    // SAFETY: `environ` is null or a list of strings that ends with null, as execve(2) made it and libc keeps it; the
    // strings may be written (they are the process's own) and no other reference to one is made in this module.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let entry = *at;
            if each(slice::from_raw_parts_mut(entry.cast(), CStr::from_ptr(entry).count_bytes())) {
                return;
            }
            at = at.add(1);
        }
    }
}

/// Length of `NAME=`, if that is how the entry begins.
fn value_of(entry: &[u8], name: &CStr) -> Option<usize> {
    let rest = entry.strip_prefix(name.to_bytes())?;
    rest.starts_with(b"=").then_some(entry.len() - rest.len() + 1)
}

/// Takes a variable out of the environment: its value in locked memory, wiped where it stood. None if it is not there.
///
/// # Errors
/// There is no memory.
pub fn take(name: &CStr) -> io::Result<Option<Locked>> {
    let mut taken = None;
    loop {
        let mut found = false;
        find(|entry| {
            let Some(at) = value_of(entry, name) else { return false };
            let Some(value) = entry.get_mut(at..) else { return false };
            found = true;
            // A name may stand there twice; getenv(3) means the first.
            if taken.is_none() {
                taken = Some(Locked::copy_of(value));
            }
            crate::memory::wipe(value);
            true
        });
        if !found {
            return taken.transpose();
        }
        remove(name);
    }
}

/// Takes the first entry of that name out of the list.
fn remove(name: &CStr) {
    // SAFETY: as in `find`; what follows the entry, null included, moves one place forward within the list.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            if value_of(CStr::from_ptr(*at).to_bytes(), name).is_some() {
                let mut end = at;
                while !(*end).is_null() {
                    end = end.add(1);
                }
                ptr::copy(at.add(1), at, usize::try_from(end.offset_from(at)).unwrap_or(0));
                return;
            }
            at = at.add(1);
        }
    }
}

/// The entries by address, and null, without those of the names given. Good until the environment changes.
pub(crate) fn addresses(without: &[&CStr]) -> Vec<*mut c_char> {
    let mut addresses = Vec::new();
    find(|entry| {
        if without.iter().all(|name| value_of(entry, name).is_none()) {
            addresses.push(entry.as_mut_ptr().cast());
        }
        false
    });
    addresses.push(ptr::null_mut());
    addresses
}

/// Wipes octets of an object that another runtime made, calls unchangeable, and is about to free: a Python `bytes` that
/// nobody but the caller holds. An empty slice is nothing.
///
/// It is for that alone. Whoever still reads the octets reads zeros.
pub fn wipe_foreign(octets: &[u8]) {
    // SAFETY: the octets lie in memory from C's `malloc` or Python's arenas, which is writable, although the reference
    // says that we do not write. The compiler may rely on it for as long as the reference lives, so it must not see the
    // write: it is made through the address alone, by a function it cannot look into, and nothing reads afterwards.
    unsafe {
        let at = ptr::with_exposed_provenance_mut::<libc::c_void>(octets.as_ptr().expose_provenance());
        libc::explicit_bzero(at, octets.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_and_its_place_wiped() {
        let name = c"RUNBOUND_TEST_TAKEN";
        // SAFETY: both are strings; this process has no other test that reads or writes the environment.
        unsafe { libc::setenv(name.as_ptr(), c"correct horse".as_ptr(), 1) };
        // SAFETY: the variable was just set.
        let at = unsafe { libc::getenv(name.as_ptr()) };
        assert!(!at.is_null());
        assert_eq!(take(name).unwrap().unwrap().as_ref(), b"correct horse");
        // SAFETY: libc never frees what setenv made.
        assert_eq!(unsafe { slice::from_raw_parts(at.cast::<u8>(), 13) }, [0; 13]);
        // SAFETY: a string.
        assert!(unsafe { libc::getenv(name.as_ptr()) }.is_null());
        assert!(take(name).unwrap().is_none());
        assert!(take(c"RUNBOUND_TEST").unwrap().is_none(), "the beginning of a name is not the name");
    }
}
