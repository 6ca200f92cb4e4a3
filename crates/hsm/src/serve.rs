//! The helper: hears a request, does it, answers, until the other side is gone.
//!
//! Owns what this process is. It becomes the service's account before a vendor's library is loaded, so none ever runs as
//! root; it leaves no core dump and nobody traces it; one library, for the whole of its life. It ends with its socket:
//! in good order if the library lets it, and soon in any case, for a thread of its own watches the socket while the
//! library hangs.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use sys::memory::{self, Locked};
use sys::{privileges, process};

use crate::admin::{self, Making};
use crate::failure::{failure, refused};
use crate::frame::{Line, Turn};
use crate::inspect;
use crate::keeper::{self, Keeper};
use crate::keys;
use crate::messages::{Failure, Open, Refused, Request, Signed};
use crate::module::Module;

/// Seconds one request may take, whatever the other side waits: more than the longest `hsm-timeout` (600). It ends a
/// helper in a call that never returns, if nobody else does.
const LONGEST_TURN: u32 = 660;
/// How long a library may take to close its sessions when the other side is gone.
const LAST_CALLS: Duration = Duration::from_secs(2);
/// Ended as it should.
const DONE: i32 = 0;
/// Ended because something was not as it should be.
const BROKEN: i32 = 70;

/// Serves the socket that this process has as its standard input, and ends the process.
pub fn serve_stdin() -> ! {
    let _ = process::close_from(3); // an old kernel cannot; then there is what was marked close-on-exec, all of it
    let code = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => serve(UnixStream::from(socket)),
        Err(_) => BROKEN,
    };
    memory::wipe_all(); // what a turn that was cut off still held
    process::leave(code) // no clean-up code of any library runs
}

/// Serves until the other side closes; the process's exit status.
fn serve(socket: UnixStream) -> i32 {
    process::ignore_endings();
    if process::keep_from_dumps().and_then(|()| process::forbid_core()).is_err() {
        return BROKEN;
    }
    let mut server = Server { line: Rc::new(Line::new(socket)), opened: None, keeper: None };
    loop {
        let Ok(turn) = server.line.hear() else { break };
        process::end_in(LONGEST_TURN);
        let (message, secrets) = server.answer(turn);
        let secrets: Vec<&Locked> = secrets.iter().collect();
        if server.line.answer(&message, &secrets).is_err() {
            break;
        }
        process::end_in(0);
    }
    server.keeper = None;
    if let Some(opened) = &server.opened {
        let _ = opened.module.finalize(); // nobody is left to be told
    }
    DONE
}

/// The one library of this process.
struct Opened {
    module: &'static Module,
    path: String,
}

struct Server {
    line: Rc<Line>,
    opened: Option<Opened>,
    keeper: Option<Keeper>,
}

type Reply = (Vec<u8>, Vec<Locked>);

impl Server {
    fn answer(&mut self, turn: Turn) -> Reply {
        if let Some(opened) = &self.opened {
            opened.module.begin();
        }
        self.fulfilled(turn).unwrap_or_else(|error| {
            let account = Some(process::user().to_string());
            (coded(&Refused { error: Failure { account, ..error } }), Vec::new())
        })
    }

    fn fulfilled(&mut self, turn: Turn) -> Result<Reply, Failure> {
        let request: Request = rmp_serde::from_slice(&turn.message)
            .map_err(|error| failure("protocol", format!("the request is not understood: {error}")))?;
        let mut secrets = turn.secrets.into_iter();
        let mut secret =
            |what: &str| secrets.next().ok_or_else(|| failure("pin-missing", format!("no {what} was given")));
        match request {
            Request::Load { open, mode, wants, nonce, stay } => {
                let pin = secret("PIN")?;
                let module = self.module(&open)?;
                self.keeper = None;
                let (loaded, roots) = keys::load(module, &open, mode, &wants, &nonce, &pin)?;
                if stay {
                    self.keeper = Some(Keeper::new(module, open, &loaded, pin));
                }
                Ok((coded(&loaded), roots))
            }
            Request::Probe { open: None } => Ok((coded(&self.keeper()?.probe()), Vec::new())),
            Request::Probe { open: Some(open) } => {
                let module = self.module(&open)?;
                Ok((coded(&keeper::watched(module, &open)), Vec::new()))
            }
            Request::Sign { role, data, close } => {
                let (signature, logins) = self.keeper()?.sign(&role, &data, close)?;
                let signature = signature.as_ref().to_vec().into();
                Ok((coded(&Signed { signature, logins }), Vec::new()))
            }
            Request::Inspect { open, login, rates } => {
                let pin = secret("PIN").ok();
                let module = self.module(&open)?;
                Ok((coded(&inspect::inspect(module, &open, login, rates, pin.as_ref())?), Vec::new()))
            }
            Request::Init { open, label, force } => {
                let (so_pin, pin) = (secret("PIN of the security officer")?, secret("PIN")?);
                let module = self.module(&open)?;
                Ok((coded(&admin::init(module, &open, &label, force, &so_pin, &pin)?), Vec::new()))
            }
            Request::Put { open, role, label, id, mode, data, generate, export } => {
                let (pin, value) = (secret("PIN")?, secret("value").ok());
                let module = self.module(&open)?;
                let id = id.map(|id| id.into_vec()).unwrap_or_default();
                let making = Making { role: &role, label: &label, id: &id, mode, data, generate, export };
                let (made, value) = admin::put(module, &open, &making, &pin, value)?;
                Ok((coded(&made), value.into_iter().collect()))
            }
            Request::Get { open, role, label } => {
                let pin = secret("PIN")?;
                let module = self.module(&open)?;
                let (info, value) = admin::get(module, &open, &role, &label, &pin)?;
                Ok((coded(&info), vec![value]))
            }
            Request::Delete { open, label } => {
                let pin = secret("PIN")?;
                let module = self.module(&open)?;
                Ok((coded(&admin::delete(module, &open, &label, &pin)?), Vec::new()))
            }
        }
    }

    fn keeper(&mut self) -> Result<&mut Keeper, Failure> {
        self.keeper.as_mut().ok_or_else(|| failure("protocol", "nothing was loaded to stay".to_owned()))
    }

    /// The module of a request: loaded by the first, and the same for all that follow.
    fn module(&mut self, open: &Open) -> Result<&'static Module, Failure> {
        if let Some(opened) = &self.opened {
            if opened.path == open.module {
                return Ok(opened.module);
            }
            return Err(failure("protocol", "this helper has loaded another module".to_owned()));
        }
        if let Some((uid, gid, groups)) = &open.account {
            privileges::drop_everything(*uid, *gid, groups)
                .map_err(|error| refused(&format!("cannot become user {uid}, group {gid}"), &error))?;
            process::keep_from_dumps().map_err(|error| refused("PR_SET_DUMPABLE", &error))?;
        }
        self.watch().map_err(|error| refused("cannot watch the socket", &error))?;
        let line = Rc::clone(&self.line);
        // Who cannot be told is gone, and the watch sees to it.
        let tell = move |name: &'static str| drop(line.calling(name));
        let module = Module::load(&open.module, Box::new(tell))?;
        let module: &'static Module = Box::leak(Box::new(module)); // it is never unloaded
        self.opened = Some(Opened { module, path: open.module.clone() });
        Ok(module)
    }

    /// Ends this process when the other side is gone, in a thread that no library can hold up. Threads start with the
    /// rights of their maker, so this is done after those were dropped.
    fn watch(&self) -> io::Result<()> {
        let socket = self.line.socket().try_clone()?;
        thread::Builder::new().name("hsm-watch".to_owned()).spawn(move || {
            let seen = process::await_hangup(socket.as_fd());
            thread::sleep(LAST_CALLS);
            memory::wipe_all();
            process::leave(if seen.is_ok() { DONE } else { BROKEN });
        })?;
        Ok(())
    }
}

/// A reply as it crosses.
fn coded<T: Serialize>(reply: &T) -> Vec<u8> {
    // Nothing in a reply can fail to be written; an empty message is a broken rule to the other side, which says so.
    rmp_serde::to_vec_named(reply).unwrap_or_default()
}
