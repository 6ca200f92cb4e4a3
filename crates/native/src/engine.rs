//! The engine, as Python holds it.
//!
//! Owns a handle and the conversions around it. Every method that can take time detaches from the interpreter.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ::engine as rust;
use pyo3::prelude::*;
use sys::log::Level;

use crate::scan::{Message, Scan, message};

pyo3::create_exception!(_native, EngineError, pyo3::exceptions::PyException);

/// The one conversion of an engine's error.
fn failed(failure: rust::Failure) -> PyErr {
    EngineError::new_err(failure.to_string())
}

/// An address as Unbound writes it.
fn at(addr: SocketAddr) -> String {
    format!("{}@{}", addr.ip(), addr.port())
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
        py.detach(|| self.0.open_log(document)).map_err(failed)
    }

    fn bind(&self, py: Python<'_>, document: &[u8], inherited: Vec<i32>) -> PyResult<()> {
        py.detach(|| self.0.bind(document, &inherited)).map_err(failed)
    }

    #[pyo3(signature = (document, scan))]
    fn start(&self, py: Python<'_>, document: &[u8], scan: Option<&Bound<'_, Scan>>) -> PyResult<()> {
        let scan = scan.map(|scan| scan.get().0.clone());
        py.detach(|| self.0.start(document, scan.as_deref())).map_err(failed)
    }

    #[pyo3(signature = (document, scan))]
    fn apply(
        &self,
        py: Python<'_>,
        document: &[u8],
        scan: Option<&Bound<'_, Scan>>,
    ) -> PyResult<Vec<(String, &'static str)>> {
        let scan = scan.map(|scan| scan.get().0.clone());
        let changes = py.detach(|| self.0.apply(document, scan.as_deref())).map_err(failed)?;
        Ok(changes.into_iter().map(|change| (change.what, change.effect.word())).collect())
    }

    fn stats(&self, py: Python<'_>) -> BTreeMap<String, u64> {
        py.detach(|| self.0.stats())
    }

    fn health(&self, py: Python<'_>) -> BTreeMap<&'static str, u64> {
        let health = py.detach(|| self.0.health());
        BTreeMap::from([
            ("upstreams_total", health.upstreams_total),
            ("upstreams_healthy", health.upstreams_healthy),
            ("cache_entries", health.cache_entries),
            ("cache_bytes", health.cache_bytes),
            ("workers", health.workers),
            ("revision", health.revision),
        ])
    }

    fn cache_usage(&self, py: Python<'_>) -> BTreeMap<&'static str, u64> {
        py.detach(|| self.0.cache_usage())
    }

    #[pyo3(signature = (what, name, rtype))]
    fn cache_flush(&self, py: Python<'_>, what: &str, name: Option<&str>, rtype: Option<&str>) -> PyResult<u64> {
        py.detach(|| self.0.cache_flush(what, name, rtype)).map_err(failed)
    }

    fn listening(&self) -> Vec<String> {
        self.0.listening().iter().map(|addr| at(*addr)).collect()
    }

    fn log(&self, py: Python<'_>, level: &str, text: &str) {
        let level = match level {
            "critical" | "fatal" => Level::Fatal,
            "error" => Level::Error,
            "warning" => Level::Warning,
            "notice" => Level::Notice,
            "debug" => Level::Debug,
            _ => Level::Info,
        };
        py.detach(|| self.0.log(level, text));
    }

    fn reopen_log(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.reopen_log()).map_err(failed)
    }

    fn drain(&self, py: Python<'_>, seconds: f64) {
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        py.detach(|| self.0.drain(limit));
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}

/// Compiles everything, changes nothing.
#[pyfunction]
#[pyo3(signature = (document, scan))]
pub(crate) fn check(py: Python<'_>, document: &[u8], scan: Option<&Bound<'_, Scan>>) -> PyResult<Vec<Message>> {
    let scan = scan.map(|scan| scan.get().0.clone());
    let messages = py.detach(|| rust::check(document, scan.as_deref())).map_err(failed)?;
    Ok(messages.iter().map(message).collect())
}

/// Becomes that user for good and keeps CAP_NET_BIND_SERVICE alone.
#[pyfunction]
pub(crate) fn drop_privileges(uid: u32, gid: u32, groups: Vec<u32>) -> PyResult<()> {
    sys::privileges::drop_privileges(uid, gid, &groups).map_err(Into::into)
}
