//! Follows what the file refers to and does not hold, while the file stays as it is.
//!
//! Owns one thread and its times; what is found, and what becomes of it, is `Look`'s: a step that the engine hands in.
//! The thread sleeps but for a look every few seconds, and ends when the [`Watch`] is dropped. It must never hold a lock
//! while it sleeps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

/// Time between two looks, of which the second reads a changed resolv.conf, for the price of one system call each.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Wish {
    look: bool,
    end: bool,
}

#[derive(Default)]
struct Bell {
    wish: Mutex<Wish>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self, wish: impl FnOnce(&mut Wish)) {
        wish(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner));
        self.rung.notify_all();
    }

    /// Sleeps until it is time for the next look; false if there will be none.
    fn sleep(&self) -> bool {
        let wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        let sleeping = |wish: &mut Wish| !wish.look && !wish.end;
        let (mut wish, _) =
            self.rung.wait_timeout_while(wish, LOOK_EVERY, sleeping).unwrap_or_else(PoisonError::into_inner);
        wish.look = false;
        !wish.end
    }
}

/// The thread. Dropping it ends it, after the look that is under way.
pub(crate) struct Watch {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts looking.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(mut look: impl FnMut() + Send + 'static) -> io::Result<Watch> {
        let bell = Arc::new(Bell::default());
        let theirs = Arc::clone(&bell);
        let run = move || {
            look();
            while theirs.sleep() {
                look();
            }
        };
        let thread = thread::Builder::new().name("runbound-watch".to_owned()).spawn(run)?;
        Ok(Watch { bell, thread: Some(thread) })
    }

    /// Asks for a look now.
    pub(crate) fn look(&self) {
        self.bell.ring(|wish| wish.look = true);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bell.ring(|wish| wish.end = true);
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
        let watch = Watch::start(move || assert!(looked.send(()).is_ok())).expect("a thread");
        let wait = || looks.recv_timeout(Duration::from_secs(20)).is_ok();
        assert!(wait());
        watch.look();
        assert!(wait());
        drop(watch);
        assert!(looks.iter().count() <= 1, "the sender is gone with the thread");
    }
}
