//! What a process that holds secrets asks of the kernel about itself.
//!
//! Owns: staying out of core dumps and out of the sight of debuggers, a last deadline, and an end without anybody's
//! clean-up code. It must never learn what the secrets are.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// No core dump of this process is ever written, and other processes of the same user can neither trace it nor read its
/// memory (PR_SET_DUMPABLE). A change of user resets it: call it after that.
///
/// # Errors
/// What `prctl(2)` reports.
pub fn keep_from_dumps() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// The limit of a core dump's size is 0, here and in what is started from here, and cannot be raised again.
///
/// # Errors
/// What `setrlimit(2)` reports.
pub fn forbid_core() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is readable for the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })
}

/// Ends this process in so many seconds by SIGALRM unless it is called again before; 0 takes that back. It holds even
/// while every thread hangs in somebody else's code.
pub fn end_in(seconds: u32) {
    // SAFETY: both take integers only; SIG_DFL is what ends the process.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(seconds);
    }
}

/// SIGINT, SIGTERM and SIGHUP do nothing from now on. They reach every process of a terminal or a service; one that ends
/// with its connection must not end before its parent has said so.
pub fn ignore_endings() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: SIG_IGN is a valid disposition and runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Ends this process now: no destructor, no `atexit` of any library runs.
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit returns never and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Waits until the other end of a stream socket is closed, whoever reads what is left in it.
///
/// # Errors
/// What `poll(2)` reports.
pub fn await_hangup(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut watched = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    loop {
        // SAFETY: one pollfd, writable for the call.
        if unsafe { libc::poll(&mut watched, 1, -1) } > 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Closes every descriptor from `first` up: what a parent forgot to close is nothing for somebody else's code.
///
/// # Errors
/// What `close_range(2)` reports; it is there since Linux 5.9.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: integers only. The caller says that nobody uses these descriptors any longer.
    let code = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The user this process acts as (effective user id).
#[must_use]
pub fn user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_hangup_is_seen_though_octets_wait() {
        use std::io::Write as _;
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"unread").unwrap();
        drop(ours);
        await_hangup(theirs.as_fd()).unwrap();
    }

    /// In a child, since none of it can be taken back.
    #[test]
    fn a_child_is_kept_from_dumps_and_ends_in_time() {
        // SAFETY: the child calls only system calls and ends with _exit, touching no lock of the parent.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
            ignore_endings();
            // SAFETY: integers only, and `limit` is writable.
            let good = unsafe {
                keep_from_dumps().is_ok()
                    && forbid_core().is_ok()
                    && libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
                    && libc::getrlimit(libc::RLIMIT_CORE, &mut limit) == 0
                    && limit.rlim_max == 0
                    && libc::kill(libc::getpid(), libc::SIGTERM) == 0
            };
            if !good {
                leave(1);
            }
            end_in(1);
            // SAFETY: sleeps until a signal comes.
            unsafe { libc::sleep(60) };
            leave(2);
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is writable.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM, "{status}");
    }
}
