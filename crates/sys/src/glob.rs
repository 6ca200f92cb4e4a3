//! `glob(3)` as Unbound's `include:` uses it: braces and tildes expand, the result is sorted.
//!
//! Owns the one call into the C library; which patterns are globbed at all is the configuration's business.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The paths that match a pattern, sorted as `glob(3)` sorts them (by the locale's collation).
/// No match is an empty list, never an error; a pattern without wildcards matches only what exists.
///
/// # Errors
/// `InvalidInput` for a NUL in the pattern, `OutOfMemory`, or `Other` when a directory on the way cannot be read.
pub fn glob(pattern: &OsStr) -> io::Result<Vec<PathBuf>> {
    let pattern = CString::new(pattern.as_bytes())?;
    // SAFETY: all-zero bytes are a valid, empty glob_t.
    let mut found: libc::glob_t = unsafe { std::mem::zeroed() };
    let flags = libc::GLOB_ERR | libc::GLOB_BRACE | libc::GLOB_TILDE;
    // SAFETY: the pattern is NUL-terminated, no error callback is given, and `found` is writable.
    let code = unsafe { libc::glob(pattern.as_ptr(), flags, None, &mut found) };
    let mut paths = Vec::new();
    if code == 0 {
        for i in 0..found.gl_pathc {
            // SAFETY: glob(3) filled `gl_pathc` pointers to NUL-terminated strings, alive until globfree.
            let text = unsafe { CStr::from_ptr(*found.gl_pathv.add(i)) };
            paths.push(PathBuf::from(OsStr::from_bytes(text.to_bytes())));
        }
    }
    // SAFETY: `found` was initialised by zeroing and by glob(3), and is freed exactly once.
    unsafe { libc::globfree(&mut found) };
    match code {
        0 | libc::GLOB_NOMATCH => Ok(paths),
        libc::GLOB_NOSPACE => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
        _ => Err(io::Error::other("a directory of the pattern cannot be read")),
    }
}

/// Whether `fnmatch(3)` finds that a whole path fits a pattern: `/` is matched by itself alone, and so is a leading dot.
/// Braces and tildes are what [`glob`] adds to it and are not expanded here. A NUL fits nothing.
pub fn fits(pattern: &[u8], path: &OsStr) -> bool {
    let (Ok(pattern), Ok(path)) = (CString::new(pattern), CString::new(path.as_bytes())) else { return false };
    // SAFETY: both are NUL-terminated and only read.
    unsafe { libc::fnmatch(pattern.as_ptr(), path.as_ptr(), libc::FNM_PATHNAME | libc::FNM_PERIOD) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_folder() {
        assert!(fits(b"/etc/*/[a-c]?.conf", OsStr::new("/etc/x/bb.conf")));
        assert!(!fits(b"/etc/*.conf", OsStr::new("/etc/x/b.conf")));
        assert!(!fits(b"/etc/*.conf", OsStr::new("/etc/.conf")));
        assert!(!fits(b"/etc/\0", OsStr::new("/etc/")));
    }

    #[test]
    fn braces_expand_and_results_are_sorted() {
        let dir = std::env::temp_dir().join(format!("runbound-glob-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for name in ["b.conf", "a.conf", "c.txt"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            glob(dir.join(pattern).as_os_str())
                .unwrap()
                .iter()
                .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("*.conf"), ["a.conf", "b.conf"]);
        assert_eq!(names("{c,a}.*"), ["c.txt", "a.conf"]);
        assert!(names("*.none").is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_nul_is_an_error() {
        assert!(glob(OsStr::from_bytes(b"a\0b")).is_err());
    }
}
