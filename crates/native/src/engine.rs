//! The engine, as Python holds it.
//!
//! Owns a handle and the conversions around it. Every method that can take time detaches from the interpreter.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ::engine as rust;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sys::log::Level;

use crate::rows::{Delta, Overlay};
use crate::scan::{Message, Scan, message};

pyo3::create_exception!(_native, EngineError, pyo3::exceptions::PyException);

/// The one conversion of an engine's error.
fn failed(failure: rust::Failure) -> PyErr {
    EngineError::new_err(failure.to_string())
}

/// Detaches from the interpreter and acts. A panic, a defect of ours, is an error to the caller and not the end of it.
fn detached<T: Send>(py: Python<'_>, act: impl FnOnce() -> T + Send) -> PyResult<T> {
    let done = py.detach(|| catch_unwind(AssertUnwindSafe(act)));
    done.map_err(|_| EngineError::new_err("internal error, a defect: standard error has the details"))
}

/// The same for an act that can fail.
fn tried<T: Send>(py: Python<'_>, act: impl FnOnce() -> Result<T, rust::Failure> + Send) -> PyResult<T> {
    detached(py, act)?.map_err(failed)
}

/// An address as Unbound writes it.
fn at(addr: SocketAddr) -> String {
    format!("{}@{}", addr.ip(), addr.port())
}

/// A row of `upstreams`, a dict to Python.
#[derive(IntoPyObject)]
struct Upstream {
    zone: String,
    address: String,
    transport: &'static str,
    tls_name: Option<String>,
    state: &'static str,
    srtt_ms: Option<f64>,
    wait_ms: u64,
    queries: u64,
    answers: u64,
    failures: u64,
    timeouts: u64,
    wins: u64,
    last_error: Option<String>,
    retry_in_ms: Option<u64>,
}

impl From<rust::upstreams::Upstream> for Upstream {
    fn from(row: rust::upstreams::Upstream) -> Self {
        Self {
            zone: row.zone,
            address: at(row.addr),
            transport: if row.tcp { "tcp" } else { "udp" },
            tls_name: row.tls_name,
            state: row.health.word(),
            srtt_ms: row.srtt_ms,
            wait_ms: row.wait_ms,
            queries: row.queries,
            answers: row.answers,
            failures: row.failures,
            timeouts: row.timeouts,
            wins: row.wins,
            last_error: row.last_error,
            retry_in_ms: row.retry_in_ms,
        }
    }
}

/// An extended error of a `Lookup`.
#[derive(IntoPyObject)]
struct Ede {
    code: u16,
    text: String,
}

/// What `lookup` found, a dict to Python.
#[derive(IntoPyObject)]
struct Lookup {
    rcode: String,
    question: String,
    answer: Vec<String>,
    authority: Vec<String>,
    additional: Vec<String>,
    elapsed_us: u64,
    from_cache: bool,
    stale: bool,
    authentic: bool,
    security: &'static str,
    ede: Vec<Ede>,
    why: Option<String>,
}

impl From<rust::lookup::Lookup> for Lookup {
    fn from(found: rust::lookup::Lookup) -> Self {
        Self {
            rcode: found.rcode,
            question: found.question,
            answer: found.answer,
            authority: found.authority,
            additional: found.additional,
            elapsed_us: found.elapsed_us,
            from_cache: found.from_cache,
            stale: found.stale,
            authentic: found.authentic,
            security: found.security,
            ede: found.ede.into_iter().map(|(code, text)| Ede { code, text }).collect(),
            why: found.why,
        }
    }
}

/// The data plane.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Engine(rust::Engine);

#[pymethods]
impl Engine {
    #[new]
    fn new() -> PyResult<Self> {
        rust::Engine::new().map(Self).map_err(failed)
    }

    fn open_log(&self, py: Python<'_>, document: &[u8]) -> PyResult<()> {
        tried(py, || self.0.open_log(document))
    }

    fn bind(&self, py: Python<'_>, document: &[u8], inherited: Vec<i32>) -> PyResult<()> {
        tried(py, || self.0.bind(document, &inherited))
    }

    #[pyo3(signature = (document, scan, overlay = None))]
    fn start(
        &self,
        py: Python<'_>,
        document: &[u8],
        scan: Option<&Bound<'_, Scan>>,
        overlay: Option<&Bound<'_, Overlay>>,
    ) -> PyResult<()> {
        let scan = scan.map(|scan| scan.get().0.clone());
        let overlay = overlay.map(Bound::get);
        tried(py, || self.0.start(document, scan.as_deref(), overlay.map(Overlay::built).as_ref()))
    }

    #[pyo3(signature = (document, scan, overlay = None))]
    fn apply(
        &self,
        py: Python<'_>,
        document: &[u8],
        scan: Option<&Bound<'_, Scan>>,
        overlay: Option<&Bound<'_, Overlay>>,
    ) -> PyResult<Vec<(String, &'static str)>> {
        let scan = scan.map(|scan| scan.get().0.clone());
        let overlay = overlay.map(Bound::get);
        let changes = tried(py, || self.0.apply(document, scan.as_deref(), overlay.map(Overlay::built).as_ref()))?;
        Ok(changes.into_iter().map(|change| (change.what, change.effect.word())).collect())
    }

    fn amend(&self, py: Python<'_>, revision: u64, delta: &Bound<'_, Delta>) -> PyResult<()> {
        let delta = delta.get();
        tried(py, || {
            let (put, remove) = delta.take().split();
            self.0.amend(revision, put, remove)
        })
    }

    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        detached(py, || self.0.stats())
    }

    fn health(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        let health = detached(py, || self.0.health())?;
        Ok(BTreeMap::from([
            ("upstreams_total", health.upstreams_total),
            ("upstreams_healthy", health.upstreams_healthy),
            ("cache_entries", health.cache_entries),
            ("cache_bytes", health.cache_bytes),
            ("workers", health.workers),
            ("revision", health.revision),
            ("records", health.records),
            ("blocks", health.blocks),
        ]))
    }

    fn system(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        tried(py, || self.0.system())
    }

    fn upstreams(&self, py: Python<'_>) -> PyResult<Vec<Upstream>> {
        let rows = tried(py, || self.0.upstreams())?;
        Ok(rows.into_iter().map(Upstream::from).collect())
    }

    fn lookup(
        &self,
        py: Python<'_>,
        name: &str,
        rtype: &str,
        checking_disabled: bool,
        timeout_s: f64,
    ) -> PyResult<Lookup> {
        let limit = Duration::try_from_secs_f64(timeout_s).unwrap_or_default();
        let found = tried(py, || self.0.lookup(name, rtype, checking_disabled, limit))?;
        match found {
            Some(found) => Ok(found.into()),
            None => Err(PyTimeoutError::new_err(format!("no answer within {timeout_s} s"))),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a caller says of a question, each by its name in Python")]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        rtype: &str,
        client: IpAddr,
        checking_disabled: bool,
        fresh: bool,
        timeout_s: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = Duration::try_from_secs_f64(timeout_s).unwrap_or_default();
        let asked = rust::explain::Asked { name, rtype, client, cd: checking_disabled, fresh };
        let document = tried(py, || self.0.explain(asked, limit))?;
        Ok(PyBytes::new(py, &document))
    }

    fn trust<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let document = tried(py, || self.0.trust())?;
        Ok(PyBytes::new(py, &document))
    }

    fn excuse(&self, py: Python<'_>, name: &str, seconds: u64, recheck_s: u64, reason: &str) -> PyResult<bool> {
        tried(py, || self.0.excuse(name, seconds, recheck_s, reason))
    }

    fn excuse_no_more(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        tried(py, || self.0.excuse_no_more(name))
    }

    fn cache_usage(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        detached(py, || self.0.cache_usage())
    }

    #[pyo3(signature = (what, name, rtype))]
    fn cache_flush(&self, py: Python<'_>, what: &str, name: Option<&str>, rtype: Option<&str>) -> PyResult<u64> {
        tried(py, || self.0.cache_flush(what, name, rtype))
    }

    fn cache_dump<'py>(&self, py: Python<'py>, part: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let text = detached(py, || self.0.cache_dump(part))?;
        Ok(text.map(|text| PyBytes::new(py, text.as_bytes())))
    }

    fn cache_load(&self, py: Python<'_>, text: &[u8]) -> PyResult<(u64, u64, u64)> {
        tried(py, || self.0.cache_load(text))
    }

    fn query_log<'py>(&self, py: Python<'py>, wanted: &[u8], limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        let text = tried(py, || self.0.query_log(wanted, limit))?;
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    fn query_log_tail<'py>(
        &self,
        py: Python<'py>,
        wanted: &[u8],
        limit: usize,
    ) -> PyResult<(u64, u64, Bound<'py, PyBytes>)> {
        let (last, skipped, text) = tried(py, || self.0.query_log_tail(wanted, limit))?;
        Ok((last, skipped, PyBytes::new(py, text.as_bytes())))
    }

    #[pyo3(signature = (client))]
    fn query_log_erase(&self, py: Python<'_>, client: Option<&str>) -> PyResult<BTreeMap<&'static str, u64>> {
        let erased = tried(py, || self.0.query_log_erase(client))?;
        Ok(BTreeMap::from([("ring", erased.ring), ("lists", erased.lists), ("file", erased.file)]))
    }

    fn top_names<'py>(&self, py: Python<'py>, kind: &str, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        let text = tried(py, || self.0.top_names(kind, limit))?;
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    #[pyo3(signature = (client, limit))]
    fn top_clients<'py>(&self, py: Python<'py>, client: Option<&str>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        let text = tried(py, || self.0.top_clients(client, limit))?;
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    fn listening(&self) -> Vec<String> {
        self.0.listening().iter().map(|addr| at(*addr)).collect()
    }

    fn log(&self, py: Python<'_>, level: &str, text: &str) -> PyResult<()> {
        let level = match level {
            "critical" | "fatal" => Level::Fatal,
            "error" => Level::Error,
            "warning" => Level::Warning,
            "notice" => Level::Notice,
            "debug" => Level::Debug,
            _ => Level::Info,
        };
        detached(py, || self.0.log(level, text))
    }

    fn reopen_log(&self, py: Python<'_>) -> PyResult<()> {
        tried(py, || self.0.reopen_log())
    }

    fn drain(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        detached(py, || self.0.drain(limit))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.stop())
    }
}

/// Compiles everything, changes nothing.
#[pyfunction]
#[pyo3(signature = (document, scan))]
pub(crate) fn check(py: Python<'_>, document: &[u8], scan: Option<&Bound<'_, Scan>>) -> PyResult<Vec<Message>> {
    let scan = scan.map(|scan| scan.get().0.clone());
    let messages = tried(py, || rust::check(document, scan.as_deref()))?;
    Ok(messages.iter().map(message).collect())
}

/// Becomes that user for good and keeps CAP_NET_BIND_SERVICE alone.
#[pyfunction]
pub(crate) fn drop_privileges(uid: u32, gid: u32, groups: Vec<u32>) -> PyResult<()> {
    sys::privileges::drop_privileges(uid, gid, &groups).map_err(Into::into)
}
