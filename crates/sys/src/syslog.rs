//! `syslog(3)`: the one place that hands a line to the system's logger.
//!
//! Owns the program name `openlog` keeps a pointer to. Formats nothing: the text arrives finished.

use std::ffi::CString;
use std::sync::Mutex;

/// openlog(3) keeps the pointer it is given, so the name lives here until the next one replaces it.
static IDENTITY: Mutex<Option<CString>> = Mutex::new(None);

/// Opens the connection with the program name that stands before every line.
pub(crate) fn open(identity: &str) {
    let name = CString::new(identity.replace('\0', "")).unwrap_or_default();
    let mut held = IDENTITY.lock().unwrap_or_else(|e| e.into_inner());
    // SAFETY: the pointer stays valid as long as syslog may read it: the string is kept in IDENTITY (moving a CString
    // does not move its bytes), and the old one is dropped only after openlog has replaced it.
    unsafe { libc::openlog(name.as_ptr(), libc::LOG_NDELAY, libc::LOG_DAEMON) };
    *held = Some(name);
}

/// Sends one line with a `LOG_…` priority.
pub(crate) fn send(priority: i32, text: &str) {
    let Ok(text) = CString::new(text.replace('\0', " ")) else {
        return;
    };
    // SAFETY: the format is a constant that consumes exactly the one NUL-terminated string given.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
}
