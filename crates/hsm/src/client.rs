//! The resolver's side of the helper: start it, ask, give up in time.
//!
//! Owns the life of one helper process. One question at a time; each has a deadline, and a helper that has not answered
//! by then is killed, for a library that hangs once cannot be talked to any more. It is not asked again either after it
//! crashed or broke the rules: whoever wants to try again starts another. What is asked and what the answer means is none
//! of this module's business.

use std::ffi::{CStr, CString};
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sys::channel::{self, Until};
use sys::child::{self, Child, Ended};
use sys::memory::Locked;

use crate::frame::{FrameError, Incoming, Outgoing, Turn};

/// How long a helper that has closed its end may take to end, so that we can say how.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the helper must not inherit: secrets that are not its own, and the service manager's, who speaks with us alone.
const WITHOUT: [&CStr; 10] = [
    c"HSM_PIN",
    c"RUNBOUND_API_KEY",
    c"RUNBOUND_STORE_KEY",
    c"RUNBOUND_AUDIT_HMAC_KEY",
    c"NOTIFY_SOCKET",
    c"WATCHDOG_PID",
    c"WATCHDOG_USEC",
    c"LISTEN_FDS",
    c"LISTEN_PID",
    c"LISTEN_FDNAMES",
];

/// What went wrong with the helper itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It did not answer in time and was killed.
    Timeout,
    /// It is gone.
    Crashed(Ended),
    /// It broke the rules of the talk and was killed.
    Protocol(&'static str),
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct ClientError {
    /// What happened.
    pub trouble: Trouble,
    /// The PKCS#11 function it had named last in this talk.
    pub function: Option<String>,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trouble {
            Trouble::Timeout => f.write_str("the helper did not answer in time and was killed")?,
            Trouble::Crashed(ended) => write!(f, "the helper is gone: {ended}")?,
            Trouble::Protocol(what) => write!(f, "the helper does not speak as it should and was killed: {what}")?,
        }
        match &self.function {
            Some(function) => write!(f, "; its last call into the module was {function}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ClientError {}

/// One helper process.
pub struct Client {
    child: Child,
    socket: UnixStream,
    /// Why nothing more can be asked.
    over: Option<ClientError>,
}

/// A question on its way, which can be interrupted and goes on.
pub struct Call<'a> {
    outgoing: Outgoing<'a>,
    incoming: Incoming,
    stage: Stage,
    deadline: Instant,
}

/// How far a question is.
enum Stage {
    /// The helper has nothing to say yet, or it is none that we can trust.
    Quiet,
    /// It is being sent.
    Sending,
    /// The answer is awaited.
    Waiting,
}

impl<'a> Call<'a> {
    /// A question, answered within the time given or not at all.
    ///
    /// # Errors
    /// What is asked cannot be asked: too long, too many secrets.
    pub fn new(message: &'a [u8], secrets: &[&'a Locked], time: Duration) -> Result<Call<'a>, &'static str> {
        let outgoing = Outgoing::new(message, secrets).map_err(|error| match error {
            FrameError::Protocol(what) => what,
            _ => "the question cannot be sent",
        })?;
        let deadline = Instant::now() + time;
        Ok(Call { outgoing, incoming: Incoming::from_helper(deadline), stage: Stage::Quiet, deadline })
    }
}

impl Client {
    /// Starts the helper: `argv[0]` is the path of the program. It speaks on its fd 0. If `quiet`, what it writes to
    /// standard error goes nowhere; standard output does in any case.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(argv: &[CString], quiet: bool) -> io::Result<Client> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = child::spawn(argv, &theirs, quiet, &WITHOUT)?;
        Ok(Client { child, socket: ours, over: None })
    }

    /// The number of the helper's process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What kills the helper from another thread, while this one waits for an answer.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn killer(&self) -> io::Result<Killer> {
        Ok(Killer { child: self.child.killer()?, socket: self.socket.try_clone()? })
    }

    /// Goes on with a question. None: a signal came in between; look what it wants, then call this again.
    ///
    /// # Errors
    /// There will be no answer, to this question or another.
    pub fn go_on(&mut self, call: &mut Call<'_>) -> Result<Option<Turn>, ClientError> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        loop {
            let (until, outcome) = match call.stage {
                Stage::Quiet => (Until::Readable, self.quiet().map(|()| None)),
                Stage::Sending => (Until::Writable, call.outgoing.write(&self.socket).map(|()| None)),
                Stage::Waiting => (Until::Readable, call.incoming.read(&self.socket).map(Some)),
            };
            let trouble = match outcome {
                Ok(Some(turn)) => return Ok(Some(turn)),
                Ok(None) => {
                    call.stage = if matches!(call.stage, Stage::Quiet) { Stage::Sending } else { Stage::Waiting };
                    continue;
                }
                Err(error) if error.again() => match channel::wait(&self.socket, until, Some(call.deadline)) {
                    Ok(true) => continue,
                    Ok(false) => Trouble::Timeout,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
                    Err(_) => Trouble::Protocol("its socket cannot be waited for"),
                },
                Err(FrameError::Ended { .. }) => Trouble::Crashed(Ended::Unknown),
                Err(FrameError::Protocol(what)) => Trouble::Protocol(what),
                Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => Trouble::Timeout,
                Err(FrameError::Io(_)) => Trouble::Protocol("its socket cannot be read or written"),
            };
            return Err(self.end(trouble, call.incoming.calling()));
        }
    }

    /// Whether the helper is silent, as it has to be before it is asked: what it says now would be taken for the answer.
    fn quiet(&self) -> Result<(), FrameError> {
        match (&self.socket).read(&mut [0]) {
            Ok(0) => Err(FrameError::Ended { clean: true }),
            Ok(_) => Err(FrameError::Protocol("it speaks without being asked")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(FrameError::Ended { clean: true }),
            Err(error) => Err(FrameError::Io(error)),
        }
    }

    /// Ends the helper because of this and remembers it.
    fn end(&mut self, trouble: Trouble, calling: Option<&str>) -> ClientError {
        let trouble = match trouble {
            Trouble::Crashed(_) => {
                let ended = self.child.wait(Instant::now() + LAST_WORDS);
                Trouble::Crashed(ended.or_else(|| self.kill_child()).unwrap_or(Ended::Unknown))
            }
            other => {
                self.kill_child();
                other
            }
        };
        let error = ClientError { trouble, function: calling.map(str::to_owned) };
        self.over = Some(error.clone());
        error
    }

    /// Lets the helper end by itself, which it does as soon as we close; after so long it is killed.
    pub fn close(mut self, time: Duration) -> Option<Ended> {
        let Client { child, socket, .. } = &mut self;
        let _ = socket.shutdown(std::net::Shutdown::Both);
        child.wait(Instant::now() + time).or_else(|| child.kill())
    }

    /// Kills the helper.
    pub fn kill(mut self) -> Option<Ended> {
        self.kill_child()
    }

    /// By a signal, or by its socket where the kernel does not let us: it has become another account, and root without
    /// CAP_KILL may not signal that.
    fn kill_child(&mut self) -> Option<Ended> {
        self.child.signal();
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.child.kill()
    }
}

/// What ends a helper from another thread than the one that waits for its answer.
pub struct Killer {
    child: child::Killer,
    socket: UnixStream,
}

impl Killer {
    /// As [`Client::kill`], without waiting for the end.
    pub fn kill(&self) {
        self.child.kill();
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Line;
    use std::time::Duration;

    /// A helper of one shell line; it speaks on fd 0.
    fn helper(script: &str) -> Client {
        let argv = [c"/bin/sh", c"-c"].map(CString::from).into_iter().chain([CString::new(script).unwrap()]);
        Client::spawn(&argv.collect::<Vec<_>>(), true).unwrap()
    }

    fn ask(client: &mut Client, time: Duration) -> Result<Turn, ClientError> {
        let pin = Locked::copy_of(b"1234").unwrap();
        let mut call = Call::new(b"ask", &[&pin], time).unwrap();
        loop {
            if let Some(turn) = client.go_on(&mut call)? {
                return Ok(turn);
            }
        }
    }

    /// Reads the question of `ask`: S with 4 octets, M with 3.
    const READ: &str = "dd bs=1 count=17 of=/dev/null 2>/dev/null;";
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_helper_answers_and_ends_with_us() {
        let mut client = helper(&format!(
            "{READ} printf 'P\\007\\0\\0\\0C_LoginS\\003\\0\\0\\0keyM\\002\\0\\0\\0ok' >&0; cat <&0 >/dev/null"
        ));
        let turn = ask(&mut client, LONG).unwrap();
        assert_eq!((turn.message.as_slice(), turn.secrets[0].as_ref()), (&b"ok"[..], &b"key"[..]));
        assert_eq!(client.close(LONG), Some(Ended::Code(0)));
    }

    #[test]
    fn a_helper_that_hangs_is_killed_and_says_where() {
        let mut client = helper(&format!("{READ} printf 'P\\007\\0\\0\\0C_Login' >&0; exec sleep 100"));
        let error = ask(&mut client, Duration::from_secs(2)).err().unwrap();
        assert_eq!((error.trouble, error.function.as_deref()), (Trouble::Timeout, Some("C_Login")));
        assert!(!std::path::Path::new(&format!("/proc/{}", client.pid())).exists(), "neither it nor its zombie");
        assert_eq!(ask(&mut client, LONG).err().unwrap().trouble, Trouble::Timeout, "nobody asks it again");
    }

    #[test]
    fn a_helper_that_calls_without_end_is_killed() {
        let mut client = helper("while :; do printf 'P\\001\\0\\0\\0CP\\001\\0\\0\\0D' >&0; done");
        // It may speak before it is asked, or afterwards.
        let error = ask(&mut client, Duration::from_millis(300)).err().unwrap();
        assert!(matches!(error.trouble, Trouble::Timeout | Trouble::Protocol("it speaks without being asked")));
    }

    #[test]
    fn how_a_helper_died_is_told() {
        let mut client = helper(&format!("{READ} printf 'P\\007\\0\\0\\0C_Login' >&0; kill -SEGV $$"));
        let error = ask(&mut client, LONG).err().unwrap();
        assert_eq!(error.trouble, Trouble::Crashed(Ended::Signal(11)));
        assert!(error.to_string().ends_with("its last call into the module was C_Login"), "{error}");
        let mut client = helper("exit 7");
        assert_eq!(ask(&mut client, LONG).err().unwrap().trouble, Trouble::Crashed(Ended::Code(7)));
        let mut client = helper("exec <&- ; exec sleep 100");
        assert_eq!(
            ask(&mut client, LONG).err().unwrap().trouble,
            Trouble::Crashed(Ended::Signal(9)),
            "closed, not ended"
        );
    }

    #[test]
    fn a_helper_that_breaks_the_rules_is_killed() {
        let mut client = helper(&format!("{READ} yes >&0"));
        assert_eq!(ask(&mut client, LONG).err().unwrap().trouble, Trouble::Protocol("a frame is of no known kind"));
        let mut client = helper(&format!("{READ} printf 'M\\0\\0\\0\\0M\\0\\0\\0\\0' >&0; exec sleep 100"));
        assert_eq!(ask(&mut client, LONG).unwrap().message, b"");
        let error = ask(&mut client, LONG).err().unwrap();
        assert_eq!(error.trouble, Trouble::Protocol("it speaks without being asked"));
    }

    #[test]
    fn a_helper_that_reads_nothing_is_killed() {
        let mut client = helper("exec sleep 100");
        let long = vec![0; crate::frame::MAX_MESSAGE];
        let mut call = Call::new(&long, &[], Duration::from_millis(300)).unwrap();
        assert_eq!(client.go_on(&mut call).err().unwrap().trouble, Trouble::Timeout);
        assert!(Call::new(&vec![0; crate::frame::MAX_MESSAGE + 1], &[], LONG).is_err());
    }

    #[test]
    fn a_frozen_helper_is_closed_all_the_same() {
        let client = helper("kill -STOP $$");
        let pid = client.pid();
        assert_eq!(client.close(Duration::from_millis(300)), Some(Ended::Signal(9)));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn both_sides_speak_alike() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let argv = [c"/bin/sh", c"-c", c"exec sleep 100"].map(CString::from);
        let (_other, unused) = UnixStream::pair().unwrap();
        let mut client = Client { child: child::spawn(&argv, &unused, true, &[]).unwrap(), socket: ours, over: None };
        let server = std::thread::spawn(move || {
            let line = Line::new(theirs);
            for _ in 0..3 {
                let turn = line.hear().unwrap();
                line.calling("C_Sign").unwrap();
                line.answer(&turn.message, &turn.secrets.iter().collect::<Vec<_>>()).unwrap();
            }
        });
        for _ in 0..3 {
            let turn = ask(&mut client, LONG).unwrap();
            assert_eq!((turn.message.as_slice(), turn.secrets[0].as_ref()), (&b"ask"[..], &b"1234"[..]));
        }
        server.join().unwrap();
    }
}
