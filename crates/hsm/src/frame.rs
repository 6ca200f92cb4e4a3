//! What runs on the socket between the resolver and the helper.
//!
//! A frame is one octet that says what it is, the length in four octets (little-endian), and so many octets: `S` a secret,
//! `P` the PKCS#11 function about to be called, `M` the message that ends a turn. A turn is any secrets and one message;
//! the helper says `P` before them as often as it likes. Owns both directions, [`Incoming`] and [`Line`]. A secret goes
//! from the kernel straight into locked pages and back: nothing here reads ahead, so no buffer ever holds one.
//!
//! Each side takes the other for broken or hostile: every length has a bound, and what breaks the rules ends the talk.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use sys::channel::{self, Until};
use sys::memory::Locked;

/// The frame of a secret.
pub const SECRET: u8 = b'S';
/// The frame that names the function about to be called.
pub const CALLING: u8 = b'P';
/// The frame of a message; it ends the turn.
pub const MESSAGE: u8 = b'M';

/// Most octets of a secret: `vault::MAX_SECRET`, and longer than any PIN.
pub const MAX_SECRET: usize = 4096;
/// Most octets of a function's name; the longest of PKCS#11 3.1 has 25.
pub const MAX_NAME: usize = 64;
/// Most octets of a message: a token full of objects is listed in less.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Most secrets of a turn. Two PINs or three keys are what is needed; more is a helper gone wrong filling our memory.
pub const MAX_SECRETS: usize = 8;

/// Octets before those of the frame.
const HEAD: usize = 5;

/// Why there is no turn.
#[derive(Debug)]
pub enum FrameError {
    /// The other end closed before the turn was whole; before its first octet if `clean`.
    Ended {
        /// Whether it closed between two turns.
        clean: bool,
    },
    /// The other end broke the rules.
    Protocol(&'static str),
    /// The socket said so; `WouldBlock` and `Interrupted` mean: again, later.
    Io(io::Error),
}

impl FrameError {
    /// Whether nothing is wrong and the same call goes on where it stopped.
    pub fn again(&self) -> bool {
        matches!(self, FrameError::Io(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
    }
}

/// What one side says before it is the other's turn.
pub struct Turn {
    /// The message, as msgpack.
    pub message: Vec<u8>,
    /// The secrets that came before it, in their order.
    pub secrets: Vec<Locked>,
}

/// The frame that is being read.
enum Body {
    Secret(Locked),
    Open(Vec<u8>),
}

impl Body {
    fn rest(&mut self, filled: usize) -> &mut [u8] {
        let whole = match self {
            Body::Secret(locked) => locked.as_mut(),
            Body::Open(octets) => octets.as_mut_slice(),
        };
        whole.get_mut(filled..).unwrap_or_default()
    }
}

/// A turn of the other side while it comes in. It can be interrupted anywhere and goes on there.
#[derive(Default)]
pub struct Incoming {
    head: [u8; HEAD],
    /// Octets read of the head, then of the body.
    filled: usize,
    body: Option<Body>,
    secrets: Vec<Locked>,
    /// The other side may say `P`, without end perhaps: until then.
    calls_until: Option<Instant>,
    /// What it said last.
    calling: Option<String>,
}

impl Incoming {
    /// For the side that hears the helper: it may name functions until that moment, and then it is `TimedOut`.
    pub fn from_helper(deadline: Instant) -> Incoming {
        Incoming { calls_until: Some(deadline), ..Incoming::default() }
    }

    /// The function named last: where the helper hangs, or what killed it.
    pub fn calling(&self) -> Option<&str> {
        self.calling.as_deref()
    }

    /// Reads until the turn is whole.
    ///
    /// # Errors
    /// [`FrameError`]; after one that is [`FrameError::again`] call it again.
    pub fn read(&mut self, socket: &UnixStream) -> Result<Turn, FrameError> {
        loop {
            if self.body.is_none() {
                while self.filled < HEAD {
                    self.filled += self.some(socket)?;
                }
                self.body = Some(self.body_for()?);
                self.filled = 0;
            }
            while !self.body.as_mut().is_some_and(|body| body.rest(self.filled).is_empty()) {
                self.filled += self.some(socket)?;
            }
            self.filled = 0;
            match (self.head[0], self.body.take()) {
                (_, Some(Body::Secret(secret))) => self.secrets.push(secret),
                (MESSAGE, Some(Body::Open(message))) => {
                    return Ok(Turn { message, secrets: std::mem::take(&mut self.secrets) });
                }
                (_, Some(Body::Open(name))) => self.calling = Some(String::from_utf8_lossy(&name).into_owned()),
                (_, None) => {}
            }
        }
    }

    fn some(&mut self, mut socket: &UnixStream) -> Result<usize, FrameError> {
        let clean = self.filled == 0 && self.body.is_none() && self.secrets.is_empty();
        let room = match &mut self.body {
            Some(body) => body.rest(self.filled),
            None => self.head.get_mut(self.filled..).unwrap_or_default(),
        };
        match socket.read(room) {
            Ok(0) => Err(FrameError::Ended { clean }),
            Ok(octets) => Ok(octets),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(FrameError::Ended { clean }),
            Err(error) => Err(FrameError::Io(error)),
        }
    }

    fn body_for(&self) -> Result<Body, FrameError> {
        let [kind, length @ ..] = self.head;
        let length = u32::from_le_bytes(length) as usize;
        match kind {
            SECRET if length > MAX_SECRET => Err(FrameError::Protocol("a secret is too long")),
            SECRET if self.secrets.len() >= MAX_SECRETS => Err(FrameError::Protocol("there are too many secrets")),
            SECRET => Locked::new(length).map(Body::Secret).map_err(FrameError::Io),
            CALLING if length > MAX_NAME => Err(FrameError::Protocol("the name of a function is too long")),
            CALLING => match self.calls_until {
                None => Err(FrameError::Protocol("only the helper names functions")),
                Some(moment) if Instant::now() > moment => Err(FrameError::Io(io::ErrorKind::TimedOut.into())),
                Some(_) => Ok(Body::Open(vec![0; length])),
            },
            MESSAGE if length > MAX_MESSAGE => Err(FrameError::Protocol("a message is too long")),
            MESSAGE => Ok(Body::Open(vec![0; length])),
            _ => Err(FrameError::Protocol("a frame is of no known kind")),
        }
    }
}

/// The octets before a body, or what is wrong with it.
fn head(kind: u8, body: &[u8]) -> Result<[u8; HEAD], FrameError> {
    let (limit, wrong) = match kind {
        SECRET => (MAX_SECRET, "a secret is too long"),
        CALLING => (MAX_NAME, "the name of a function is too long"),
        _ => (MAX_MESSAGE, "a message is too long"),
    };
    if body.len() > limit {
        return Err(FrameError::Protocol(wrong));
    }
    let [a, b, c, d] = (body.len() as u32).to_le_bytes();
    Ok([kind, a, b, c, d])
}

/// A turn of ours while it goes out: heads and bodies in their order, nothing copied. It can be interrupted anywhere.
pub struct Outgoing<'a> {
    parts: Vec<([u8; HEAD], &'a [u8])>,
    /// Octets of the first part that are sent.
    sent: usize,
}

impl<'a> Outgoing<'a> {
    /// Secrets, then the message.
    ///
    /// # Errors
    /// `Protocol`, when something is longer than the other side takes, or there are too many secrets.
    pub fn new(message: &'a [u8], secrets: &[&'a Locked]) -> Result<Outgoing<'a>, FrameError> {
        if secrets.len() > MAX_SECRETS {
            return Err(FrameError::Protocol("there are too many secrets"));
        }
        let secrets = secrets.iter().map(|secret| (SECRET, AsRef::<[u8]>::as_ref(*secret)));
        let bodies = secrets.chain([(MESSAGE, message)]);
        let parts = bodies.map(|(kind, body)| Ok((head(kind, body)?, body))).collect::<Result<_, FrameError>>()?;
        Ok(Outgoing { parts, sent: 0 })
    }

    fn calling(name: &'a str) -> Result<Outgoing<'a>, FrameError> {
        Ok(Outgoing { parts: vec![(head(CALLING, name.as_bytes())?, name.as_bytes())], sent: 0 })
    }

    /// Sends until everything is sent.
    ///
    /// # Errors
    /// [`FrameError`]; after one that is [`FrameError::again`] call it again.
    pub fn write(&mut self, socket: &UnixStream) -> Result<(), FrameError> {
        while let Some((head, body)) = self.parts.first() {
            let rest = match head.get(self.sent..) {
                Some(rest @ [_, ..]) => rest,
                _ => body.get(self.sent - HEAD..).unwrap_or_default(),
            };
            if !rest.is_empty() {
                match channel::send(socket, rest) {
                    Ok(octets) => self.sent += octets,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                    {
                        return Err(FrameError::Ended { clean: false });
                    }
                    Err(error) => return Err(FrameError::Io(error)),
                }
            }
            if self.sent == HEAD + body.len() {
                self.parts.remove(0);
                self.sent = 0;
            }
        }
        Ok(())
    }
}

/// The helper's end of the socket: hear a turn, answer it. Every call waits as long as it takes.
pub struct Line(UnixStream);

impl Line {
    /// Speaks on a connected socket.
    pub fn new(socket: UnixStream) -> Line {
        Line(socket)
    }

    /// The socket itself, to watch it.
    pub fn socket(&self) -> &UnixStream {
        &self.0
    }

    /// The next turn of the other side.
    ///
    /// # Errors
    /// `Ended { clean: true }` when there is none.
    pub fn hear(&self) -> Result<Turn, FrameError> {
        let mut incoming = Incoming::default();
        patiently(&self.0, Until::Readable, || incoming.read(&self.0))
    }

    /// Says which function is about to be called.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn calling(&self, function: &str) -> Result<(), FrameError> {
        let mut outgoing = Outgoing::calling(function)?;
        patiently(&self.0, Until::Writable, || outgoing.write(&self.0))
    }

    /// Ends this side's turn.
    ///
    /// # Errors
    /// The other end is gone; `Protocol` when something is longer than it takes: then nothing was sent.
    pub fn answer(&self, message: &[u8], secrets: &[&Locked]) -> Result<(), FrameError> {
        let mut outgoing = Outgoing::new(message, secrets)?;
        patiently(&self.0, Until::Writable, || outgoing.write(&self.0))
    }
}

/// Again and again until it is done or has failed.
fn patiently<T>(
    socket: &UnixStream,
    until: Until,
    mut go_on: impl FnMut() -> Result<T, FrameError>,
) -> Result<T, FrameError> {
    loop {
        match go_on() {
            Err(error) if error.again() => {}
            done => return done,
        }
        match channel::wait(socket, until, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(FrameError::Io(error)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::thread;
    use std::time::Duration;

    fn helper() -> Incoming {
        Incoming::from_helper(Instant::now() + Duration::from_secs(60))
    }

    fn locked(octets: &[u8]) -> Locked {
        Locked::copy_of(octets).unwrap()
    }

    /// What the parent, or the helper, makes of these octets.
    fn read(mut incoming: Incoming, octets: &[u8]) -> Result<Turn, FrameError> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(octets).unwrap();
        drop(ours);
        incoming.read(&theirs)
    }

    fn frame(kind: u8, length: usize, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(length as u32).to_le_bytes(), body].concat()
    }

    #[test]
    fn turns_go_both_ways() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // Longer than a socket holds at once, so both sides stop and go on.
        let long = vec![7; MAX_MESSAGE];
        let other = thread::spawn(move || {
            theirs.set_nonblocking(true).unwrap();
            let line = Line::new(theirs);
            let heard = line.hear().unwrap();
            line.calling("C_Initialize").unwrap();
            line.calling("C_Login").unwrap();
            let secrets: Vec<&Locked> = heard.secrets.iter().rev().collect();
            line.answer(&heard.message, &secrets).unwrap();
            line.hear().err().unwrap()
        });
        let (pin, empty) = (locked(b"1234"), locked(b""));
        let mut outgoing = Outgoing::new(&long, &[&pin, &empty]).unwrap();
        outgoing.write(&ours).unwrap();
        let mut incoming = helper();
        let turn = incoming.read(&ours).unwrap();
        assert_eq!(turn.message, long);
        assert_eq!(turn.secrets.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), [&b""[..], b"1234"]);
        assert_eq!(incoming.calling(), Some("C_Login"));
        drop(ours);
        assert!(matches!(other.join().unwrap(), FrameError::Ended { clean: true }));
    }

    #[test]
    fn octets_may_come_one_by_one() {
        let octets = [frame(CALLING, 7, b"C_Login"), frame(SECRET, 3, b"key"), frame(MESSAGE, 2, b"ok")].concat();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut incoming = helper();
        for octet in &octets[..octets.len() - 1] {
            ours.write_all(&[*octet]).unwrap();
            assert!(incoming.read(&theirs).err().unwrap().again());
        }
        ours.write_all(b"k").unwrap();
        let turn = incoming.read(&theirs).unwrap();
        assert_eq!((turn.message.as_slice(), turn.secrets[0].as_ref()), (&b"ok"[..], &b"key"[..]));
        assert_eq!(incoming.calling(), Some("C_Login"));
    }

    #[test]
    fn what_breaks_the_rules_ends_the_talk() {
        let many = frame(SECRET, 0, b"").repeat(MAX_SECRETS + 1);
        let rows = [
            (frame(b'X', 0, b""), "no known kind"),
            (frame(SECRET, MAX_SECRET + 1, b""), "secret is too long"),
            (frame(CALLING, MAX_NAME + 1, b""), "name of a function is too long"),
            (frame(MESSAGE, MAX_MESSAGE + 1, b""), "message is too long"),
            (frame(MESSAGE, u32::MAX as usize, b""), "message is too long"),
            (many, "too many secrets"),
        ];
        for (octets, want) in rows {
            match read(helper(), &octets) {
                Err(FrameError::Protocol(what)) => assert!(what.contains(want), "{want}: {what}"),
                other => panic!("{want}: {:?}", other.err()),
            }
        }
        let called = read(Incoming::default(), &frame(CALLING, 1, b"C"));
        assert!(matches!(called, Err(FrameError::Protocol("only the helper names functions"))));
        let late = read(Incoming::from_helper(Instant::now()), &frame(CALLING, 1, b"C"));
        assert!(matches!(late, Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::TimedOut));
        assert!(Outgoing::new(&vec![0; MAX_MESSAGE + 1], &[]).is_err());
        assert!(Outgoing::new(b"", &[&locked(&[0; MAX_SECRET + 1])]).is_err());
        let one = locked(b"");
        assert!(Outgoing::new(b"", &[&one; MAX_SECRETS + 1]).is_err());
    }

    #[test]
    fn an_end_in_the_middle_is_not_clean() {
        let rows: [(Vec<u8>, bool); 4] = [
            (vec![], true),
            (vec![MESSAGE, 1], false),
            (frame(MESSAGE, 5, b"1234"), false),
            (frame(SECRET, 3, b"key"), false),
        ];
        for (octets, want) in rows {
            match read(helper(), &octets) {
                Err(FrameError::Ended { clean }) => assert_eq!(clean, want, "{octets:?}"),
                other => panic!("{octets:?}: {:?}", other.err()),
            }
        }
    }

    #[test]
    fn a_closed_end_is_told_and_kills_nobody() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(Line::new(ours).answer(b"x", &[]), Err(FrameError::Ended { .. })));
    }
}
