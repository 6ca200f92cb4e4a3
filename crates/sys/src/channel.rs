//! One end of a socket pair between two processes, waited for with a deadline.
//!
//! Owns the three calls that std has not: sending without SIGPIPE, waiting for one direction until a moment, and being
//! told of an interruption instead of having it swallowed. It knows nothing of what is said.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Octets of one send at most: what the kernel takes at once is less.
const AT_ONCE: usize = 1 << 20;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// There is something to read, or the other end has closed.
    Readable,
    /// There is room to write, or the other end has closed.
    Writable,
}

/// Waits. `false`: the moment came first; without one it waits for ever.
///
/// # Errors
/// What `poll(2)` reports; `Interrupted` when a signal came, so that the caller can look what it wants.
pub fn wait(socket: &UnixStream, until: Until, deadline: Option<Instant>) -> io::Result<bool> {
    let events = match until {
        Until::Readable => libc::POLLIN,
        Until::Writable => libc::POLLOUT,
    };
    super::child::poll(socket.as_raw_fd(), events, deadline).map(|found| found != 0)
}

/// Sends some of the octets and says how many. A closed other end is an error, `BrokenPipe`, never a signal.
///
/// # Errors
/// What `send(2)` reports; `WouldBlock` where there is no room now.
pub fn send(socket: &UnixStream, octets: &[u8]) -> io::Result<usize> {
    let octets = octets.get(..AT_ONCE).unwrap_or(octets);
    // SAFETY: `octets` is readable for its whole length, and the descriptor is open while it is borrowed.
    let sent = unsafe { libc::send(socket.as_raw_fd(), octets.as_ptr().cast(), octets.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
