//! Follows what the file refers to and does not hold, while the file stays as it is.
//!
//! Owns one thread and its times; what is found, and what becomes of it, is `look`'s: a step that the engine hands in.
//! The thread sleeps but for a look every few seconds, and ends when the [`Watch`] is dropped. It must never hold a lock
//! while it sleeps.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

/// Asks for looks. A pair of sockets, since the kernel then measures the sleep and nobody's clock does.
#[derive(Clone)]
pub(crate) struct Bell(Arc<UnixStream>);

impl Bell {
    /// Asks for a look now. It waits for nothing: one that is asked for already is enough.
    pub(crate) fn look(&self) {
        let _ = (&*self.0).write(&[0]);
    }
}

/// The thread. Dropping it ends it, after the look that is under way.
pub(crate) struct Watch {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts looking in a thread of this name, so often and when asked.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(name: &str, every: Duration, mut look: impl FnMut() + Send + 'static) -> io::Result<Watch> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_read_timeout(Some(every))?;
        let run = move || {
            look();
            while sleep(&theirs) {
                look();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Watch { bell: Bell(Arc::new(ours)), thread: Some(thread) })
    }

    /// Asks for a look now.
    pub(crate) fn look(&self) {
        self.bell.look();
    }

    /// What others ask for looks with.
    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

/// Sleeps until it is time for the next look; false if there will be none.
fn sleep(mut bell: &UnixStream) -> bool {
    match bell.read(&mut [0; 64]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => {
            matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.bell.0.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been printed, and what it watched stays as it was
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn it_looks_at_once_when_asked_and_no_more_once_dropped() {
        let (looked, looks) = channel();
        let watch = Watch::start("test", Duration::from_secs(3600), move || assert!(looked.send(()).is_ok()))
            .expect("a thread");
        let wait = || looks.recv_timeout(Duration::from_secs(20)).is_ok();
        assert!(wait());
        watch.look();
        assert!(wait());
        let bell = watch.bell();
        drop(watch);
        bell.look();
        assert!(looks.iter().count() <= 1, "the sender is gone with the thread");
    }
}
