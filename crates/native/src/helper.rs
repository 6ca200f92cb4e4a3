//! The helper process that speaks with a token, as Python holds it.
//!
//! Owns the conversions around `hsm`, and that of several threads one talks with the helper and the others wait. While it
//! waits a call is detached from the interpreter; after a signal it comes back for a moment and lets Python look.

use std::ffi::CString;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hsm::client::{Call, Client, ClientError, Killer, Trouble};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sys::child::Ended;
use sys::memory::Locked;

use crate::secret::Secret;

pyo3::create_exception!(_native, HsmHelperError, pyo3::exceptions::PyException);

/// The one conversion of a helper's trouble.
fn troubled(py: Python<'_>, error: &ClientError) -> PyErr {
    let (kind, signal, status) = match error.trouble {
        Trouble::Timeout => ("timeout", None, None),
        Trouble::Crashed(Ended::Signal(signal)) => ("crashed", Some(signal), None),
        Trouble::Crashed(Ended::Code(code)) => ("crashed", None, Some(code)),
        Trouble::Crashed(Ended::Unknown) => ("crashed", None, None),
        Trouble::Protocol(_) => ("protocol", None, None),
    };
    raised(py, &error.to_string(), kind, error.function.as_deref(), signal, status)
}

fn raised(
    py: Python<'_>,
    text: &str,
    kind: &str,
    function: Option<&str>,
    signal: Option<i32>,
    status: Option<i32>,
) -> PyErr {
    let error = HsmHelperError::new_err(text.to_owned());
    let value = error.value(py);
    let set = value.setattr("kind", kind).and_then(|()| value.setattr("function", function));
    match set.and_then(|()| value.setattr("signal", signal)).and_then(|()| value.setattr("status", status)) {
        Ok(()) => error,
        Err(worse) => worse,
    }
}

fn closed(py: Python<'_>) -> PyErr {
    raised(py, "the helper was ended by us", "crashed", None, None, None)
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
}

/// Who has the helper.
enum Held {
    Free(Client),
    Busy,
    Ended,
}

/// One helper process.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct HsmHelper {
    held: Mutex<Held>,
    freed: Condvar,
    killer: Killer,
    pid: u32,
}

impl HsmHelper {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The helper, as soon as nobody else has it; None when it has been ended.
    fn take(&self) -> Option<Client> {
        let held = self.freed.wait_while(self.held(), |held| matches!(held, Held::Busy));
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *held, Held::Busy) {
            Held::Free(client) => Some(client),
            _ => {
                *held = Held::Ended;
                None
            }
        }
    }

    fn give_back(&self, to: Held) {
        *self.held() = to;
        self.freed.notify_one();
    }

    /// Ends it, and for good.
    fn end(&self, how: impl FnOnce(Client) -> Option<Ended>) {
        if let Some(client) = self.take() {
            how(client);
            self.give_back(Held::Ended);
        }
    }
}

/// The answer to a question: the message and the secrets before it.
type Answer<'py> = (Bound<'py, PyBytes>, Vec<Secret>);

#[pymethods]
impl HsmHelper {
    #[new]
    #[pyo3(signature = (argv, *, quiet = true))]
    fn new(py: Python<'_>, argv: Vec<std::path::PathBuf>, quiet: bool) -> PyResult<Self> {
        use std::os::unix::ffi::OsStringExt as _;
        let program = argv.first().map(|path| path.display().to_string()).unwrap_or_default();
        let argv = argv.into_iter().map(|argument| CString::new(argument.into_os_string().into_vec()));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let failed = |error: std::io::Error| PyOSError::new_err((error.raw_os_error(), error.to_string(), program));
        let client = py.detach(|| Client::spawn(&argv, quiet)).map_err(failed)?;
        let (killer, pid) = (client.killer()?, client.pid());
        Ok(Self { held: Mutex::new(Held::Free(client)), freed: Condvar::new(), killer, pid })
    }

    #[getter]
    fn pid(&self) -> u32 {
        self.pid
    }

    #[pyo3(signature = (message, secrets = Vec::new(), timeout_s = 30.0))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        message: &[u8],
        secrets: Vec<Py<Secret>>,
        timeout_s: f64,
    ) -> PyResult<Answer<'py>> {
        let time = duration(timeout_s)?;
        let locked: Vec<&Locked> = secrets.iter().map(|secret| &secret.get().0).collect();
        let mut client = py.detach(|| self.take()).ok_or_else(|| closed(py))?;
        let mut call = match Call::new(message, &locked, time) {
            Ok(call) => call,
            Err(what) => {
                self.give_back(Held::Free(client));
                return Err(PyValueError::new_err(what));
            }
        };
        loop {
            match py.detach(|| client.go_on(&mut call)) {
                Ok(Some(turn)) => {
                    self.give_back(Held::Free(client));
                    return Ok((PyBytes::new(py, &turn.message), turn.secrets.into_iter().map(Secret).collect()));
                }
                Ok(None) => {
                    if let Err(wanted) = py.check_signals() {
                        py.detach(|| client.kill());
                        self.give_back(Held::Ended);
                        return Err(wanted);
                    }
                }
                Err(error) => {
                    self.give_back(Held::Free(client));
                    return Err(troubled(py, &error));
                }
            }
        }
    }

    #[pyo3(signature = (timeout_s = 2.0))]
    fn close(&self, py: Python<'_>, timeout_s: f64) -> PyResult<()> {
        let time = duration(timeout_s)?;
        py.detach(|| self.end(|client| client.close(time)));
        Ok(())
    }

    fn kill(&self, py: Python<'_>) {
        // A thread that talks with it right now is told so at once.
        self.killer.kill();
        py.detach(|| self.end(Client::kill));
    }
}

/// Serves fd 0 as the helper, and ends the process.
#[pyfunction]
pub(crate) fn hsm_serve() {
    hsm::serve::serve_stdin()
}
