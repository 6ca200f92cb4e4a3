//! Giving up root for good, keeping one capability.
//!
//! `username:` means: after the sockets are bound, become that user. We keep CAP_NET_BIND_SERVICE alone, so that a
//! reload can still open port 53. Owns the order of calls, which matters: groups before user, keep-capabilities before
//! both, the capability sets after. It must run before any thread exists, because the kernel changes one thread only.

use std::io;

/// The one capability kept: binding ports below 1024 (linux/capability.h).
const CAP_NET_BIND_SERVICE: u32 = 10;
/// Version 3 of the capability interface: two 32-bit words a set (linux/capability.h).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Becomes `uid`, `gid` and `groups` for good, keeping only CAP_NET_BIND_SERVICE, and forbids gaining privileges by
/// executing a program (PR_SET_NO_NEW_PRIVS).
///
/// Call it before any thread starts. A process that is not root can only "become" what it already is; then its
/// capabilities are reduced to CAP_NET_BIND_SERVICE, if it has that one, all the same.
///
/// # Errors
/// What the failing call reports, mostly `PermissionDenied`. The process may then be half-way: it must end.
pub fn drop_privileges(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    become_account(uid, gid, groups, 1 << CAP_NET_BIND_SERVICE)
}

/// The same, and keeps no capability at all.
///
/// # Errors
/// As [`drop_privileges`].
pub fn drop_everything(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    become_account(uid, gid, groups, 0)
}

fn become_account(uid: u32, gid: u32, groups: &[u32], capabilities: u32) -> io::Result<()> {
    // SAFETY: geteuid has no arguments and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mine = current_capabilities()?;
    let keep = mine.permitted & capabilities;
    if root {
        // SAFETY: prctl with integer arguments only.
        check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) })?;
        // SAFETY: the pointer and the length describe one slice, which is only read.
        check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    }
    // SAFETY: setresgid takes integers only.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: setresuid takes integers only.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    set_capabilities(keep)?;
    if root {
        // SAFETY: prctl with integer arguments only.
        check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0) })?;
    }
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    if uid != 0 {
        // A way back would make the whole exercise worthless, so try it.
        // SAFETY: setresuid takes integers only.
        if unsafe { libc::setresuid(0, 0, 0) } == 0 {
            return Err(io::Error::other("root could be regained after dropping it"));
        }
    }
    Ok(())
}

/// The permitted capabilities of this thread, as a bit mask of capabilities 0 to 31.
///
/// # Errors
/// What `capget(2)` reports.
pub fn permitted_capabilities() -> io::Result<u32> {
    Ok(current_capabilities()?.permitted)
}

fn current_capabilities() -> io::Result<CapData> {
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 reads one header and writes two data blocks; both are valid and laid out as the kernel's.
    check(unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) } as i32)?;
    Ok(data[0])
}

fn set_capabilities(mask: u32) -> io::Result<()> {
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [CapData { effective: mask, permitted: mask, inheritable: 0 }, CapData::default()];
    // SAFETY: version 3 reads one header and two data blocks; both are valid and laid out as the kernel's.
    check(unsafe { libc::syscall(libc::SYS_capset, &mut header, data.as_ptr()) } as i32)
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child of `a_child_loses_everything_but_one`: drops, then tells what is left through its exit code.
    fn child() -> i32 {
        if drop_privileges(65_534, 65_534, &[65_534]).is_err() {
            return 10;
        }
        if permitted_capabilities().ok() != Some(1 << CAP_NET_BIND_SERVICE) {
            return 11;
        }
        // SAFETY: prctl with integer arguments only.
        if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } != 1 {
            return 12;
        }
        // SAFETY: getuid has no arguments and cannot fail.
        if unsafe { libc::getuid() } != 65_534 {
            return 13;
        }
        // A low port is the proof that the kept capability is effective.
        match std::net::TcpListener::bind("127.0.0.213:53") {
            Ok(_) => 0,
            Err(_) => 14,
        }
    }

    #[test]
    fn a_child_loses_everything_but_one() {
        // SAFETY: geteuid has no arguments and cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        let has = permitted_capabilities().unwrap() & (1 << CAP_NET_BIND_SERVICE) != 0;
        if !root || !has {
            return; // needs root: the rule is tested where the tests run as root (containers, CI)
        }
        // SAFETY: the child calls only system calls and ends with _exit, touching no lock of the parent.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let code = child();
            // SAFETY: ends the child at once, without destructors of the copied test process.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is writable.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status));
        assert_eq!(libc::WEXITSTATUS(status), 0);
    }
}
