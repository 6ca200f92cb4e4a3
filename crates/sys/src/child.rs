//! A child process that gets one socket and nothing else.
//!
//! Owns starting it (`posix_spawn`, which copies no page tables: this process may hold gigabytes and answer questions
//! meanwhile), watching and killing it through a descriptor, so that a number given anew to another process is never
//! hit, and taking its end. Its environment is handed on by address: copies of secrets would stay behind in the heap.
//! It never decides when a child has to die.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{fmt, io, mem, ptr};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Somebody else took its end, or signals about children are ignored.
    Unknown,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "it ended with code {code}"),
            Ended::Signal(signal) => write!(f, "it was ended by signal {signal}"),
            Ended::Unknown => f.write_str("it ended, nobody knows how"),
        }
    }
}

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    handle: OwnedFd,
    ended: Option<Ended>,
}

/// How long [`Child`] waits for the end of what it killed: the kernel may be in the middle of something for it.
const KILLED_S: Duration = Duration::from_secs(1);

/// Starts a program, `argv[0]` being its path. Its fd 0 is `socket`; 1 and, if `quiet`, 2 are `/dev/null`. It is in a
/// session of its own (no terminal, no Ctrl-C), no signal is blocked or ignored, and the variables in `without` are left
/// out of its environment.
///
/// # Errors
/// What `posix_spawn(3)` reports, mostly `NotFound`; `InvalidInput` for an empty `argv`.
pub fn spawn(argv: &[CString], socket: &UnixStream, quiet: bool, without: &[&CStr]) -> io::Result<Child> {
    let Some(program) = argv.first() else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
    let environment = super::environment::addresses(without);
    let mut arguments: Vec<*mut c_char> = argv.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    arguments.push(ptr::null_mut());
    let setup = Setup::new(socket.as_raw_fd(), quiet)?;
    let mut pid = 0;
    // SAFETY: program and arguments are strings that live until the call returns, both lists end with null, the entries
    // of `environment` are those of `environ`, and actions and attributes are initialised.
    let code = unsafe {
        let (actions, attributes) = (&raw const setup.actions, &raw const setup.attributes);
        libc::posix_spawn(&mut pid, program.as_ptr(), actions, attributes, arguments.as_ptr(), environment.as_ptr())
    };
    outcome(code)?;
    // SAFETY: integers only. The child is ours and not yet waited for, so the number is its own.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(handle) {
        Ok(handle) if handle >= 0 => {
            // SAFETY: the kernel has just made this descriptor for us, closed on exec.
            Ok(Child { pid, handle: unsafe { OwnedFd::from_raw_fd(handle) }, ended: None })
        }
        _ => {
            let error = io::Error::last_os_error();
            // SAFETY: integers and null only: our own child, not yet waited for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, ptr::null_mut(), 0);
            }
            Err(error)
        }
    }
}

/// What `posix_spawn` is told besides the program.
struct Setup {
    actions: libc::posix_spawn_file_actions_t,
    attributes: libc::posix_spawnattr_t,
}

impl Setup {
    fn new(socket: RawFd, quiet: bool) -> io::Result<Setup> {
        const NOWHERE: &CStr = c"/dev/null";
        // SAFETY: both are plain data, given their first real value by the two calls that follow.
        let mut setup: Setup = unsafe { Setup { actions: mem::zeroed(), attributes: mem::zeroed() } };
        // SAFETY: every pointer is to a local or a constant that outlives the calls; the sets are initialised by the
        // calls that fill them; signals and descriptors are integers.
        unsafe {
            outcome(libc::posix_spawn_file_actions_init(&mut setup.actions))?;
            outcome(libc::posix_spawnattr_init(&mut setup.attributes))?;
            outcome(libc::posix_spawn_file_actions_adddup2(&mut setup.actions, socket, 0))?;
            let streams = if quiet { &[1, 2][..] } else { &[1][..] };
            for &stream in streams {
                let (path, flags) = (NOWHERE.as_ptr(), libc::O_RDWR);
                outcome(libc::posix_spawn_file_actions_addopen(&mut setup.actions, stream, path, flags, 0))?;
            }
            let (mut none, mut all) = (mem::zeroed(), mem::zeroed());
            libc::sigemptyset(&mut none);
            libc::sigfillset(&mut all);
            outcome(libc::posix_spawnattr_setsigmask(&mut setup.attributes, &none))?;
            outcome(libc::posix_spawnattr_setsigdefault(&mut setup.attributes, &all))?;
            let flags =
                libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | i32::from(libc::POSIX_SPAWN_SETSID);
            outcome(libc::posix_spawnattr_setflags(&mut setup.attributes, flags as libc::c_short))?;
        }
        Ok(setup)
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        // SAFETY: zeroed or initialised, and for glibc a zeroed one owns nothing.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&mut self.actions);
            libc::posix_spawnattr_destroy(&mut self.attributes);
        }
    }
}

impl Child {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Another handle to kill it by, for another thread.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn killer(&self) -> io::Result<Killer> {
        Ok(Killer(self.handle.try_clone()?))
    }

    /// Waits until it has ended, but not longer than until the moment.
    pub fn wait(&mut self, deadline: Instant) -> Option<Ended> {
        while self.ended.is_none() {
            match poll(self.handle.as_raw_fd(), libc::POLLIN, Some(deadline)) {
                Ok(0) => return None,
                Ok(_) => self.ended = Some(self.taken()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        self.ended
    }

    /// Takes the end, so that no zombie stays.
    fn taken(&self) -> Ended {
        let mut status = 0;
        // SAFETY: `status` is writable. The process has ended, so this does not wait; a process that is not our child
        // (after a fork into the background) is not touched.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) };
        if pid != self.pid {
            Ended::Unknown
        } else if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else {
            Ended::Code(libc::WEXITSTATUS(status))
        }
    }

    /// Kills it, if it has not ended, and leaves its end to be taken.
    pub fn signal(&self) {
        kill(&self.handle);
    }

    /// Kills it, if it has not ended, and takes its end.
    pub fn kill(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            kill(&self.handle);
            self.wait(Instant::now() + KILLED_S);
        }
        self.ended
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What kills a child from another thread than the one that talks to it.
#[derive(Debug)]
pub struct Killer(OwnedFd);

impl Killer {
    /// Kills it, if it has not ended. Its end is left to whoever owns the [`Child`].
    pub fn kill(&self) {
        kill(&self.0);
    }
}

fn kill(handle: &OwnedFd) {
    // SAFETY: integers and null only. It fails where the process has ended, which is what was wanted.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            handle.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<libc::siginfo_t>(),
            0,
        );
    }
}

fn outcome(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// `poll(2)` of one descriptor until a moment: what was found, 0 when the moment came first.
pub(crate) fn poll(fd: RawFd, events: libc::c_short, deadline: Option<Instant>) -> io::Result<libc::c_short> {
    let mut wanted = libc::pollfd { fd, events, revents: 0 };
    loop {
        // Up, so that the last part of a millisecond is waited for and not spun through.
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000));
        let milliseconds = left.map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX));
        // SAFETY: one `pollfd`, writable for the call.
        match unsafe { libc::poll(&mut wanted, 1, milliseconds) } {
            0 if milliseconds == i32::MAX => {}
            count if count >= 0 => return Ok(wanted.revents),
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn shell(script: &str, without: &[&CStr]) -> (Child, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let argv = [c"/bin/sh", c"-c"].map(CString::from).into_iter().chain([CString::new(script).unwrap()]);
        let child = spawn(&argv.collect::<Vec<_>>(), &theirs, true, without).unwrap();
        (child, ours)
    }

    fn said(mut socket: UnixStream) -> String {
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_child_has_the_socket_and_a_session_of_its_own() {
        let (mut child, socket) =
            shell("echo $(readlink /proc/$$/fd/1 /proc/$$/fd/2) $(ps -o sid= $$) >&0; exit 3", &[]);
        assert_eq!(child.wait(soon()), Some(Ended::Code(3)));
        assert_eq!(said(socket), format!("/dev/null /dev/null {}\n", child.pid()));
    }

    #[test]
    fn a_child_is_killed_from_elsewhere_and_taken() {
        let (mut child, _socket) = shell("exec sleep 100", &[]);
        assert_eq!(child.wait(Instant::now() + Duration::from_millis(20)), None);
        child.killer().unwrap().kill();
        assert_eq!(child.wait(soon()), Some(Ended::Signal(libc::SIGKILL)));
        child.killer().unwrap().kill();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid()));
        assert!(stat.is_err(), "a zombie: {stat:?}");
    }

    #[test]
    fn a_dropped_child_is_dead() {
        let (child, socket) = shell("exec sleep 100", &[]);
        drop(child);
        assert_eq!(said(socket), "", "both ends are closed");
    }

    #[test]
    fn variables_are_left_out() {
        let (_child, socket) = shell("env >&0", &[c"PATH", c"HOM"]);
        let text = said(socket);
        assert!(!text.contains("\nPATH=") && !text.starts_with("PATH="), "{text}");
        let given = std::env::vars_os().filter(|(name, _)| name != "PATH").count();
        assert!(text.lines().count() >= given, "the others are there: {text}");
    }

    #[test]
    fn what_is_not_there_is_not_started() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let error = spawn(&[CString::from(c"/nowhere/at/all")], &theirs, true, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(spawn(&[], &theirs, true, &[]).is_err());
    }
}
