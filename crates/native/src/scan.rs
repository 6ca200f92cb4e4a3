//! A scanned configuration, as Python sees it.
//!
//! Owns the conversion of `conf`'s values to tuples. The bulk statements are counted here and converted by the page.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use conf::source::{Memory, Remembered};
use engine::standing::{ByName, Which};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Severity, file index, line, column, length, text, hint.
pub(crate) type Message = (&'static str, u32, u32, u32, u32, String, Option<String>);
/// Clause number, clause, keyword, values, file index, line, column of the keyword, column of the first value.
type Statement = (u32, &'static str, &'static str, Py<pyo3::types::PyTuple>, u32, u32, u32, u32);

/// Number, option, name, type, TTL, data, file index, line.
type Standing = (usize, &'static str, String, String, Option<u32>, String, u32, u32);

/// One reading of a configuration. Immutable.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Scan(pub(crate) Arc<conf::Scan>, Arc<ByName>);

impl Scan {
    fn new(scan: conf::Scan) -> Self {
        Self(Arc::new(scan), Arc::default())
    }
}

/// One message as the tuple of `_native.pyi`.
pub(crate) fn message(m: &conf::Message) -> Message {
    (m.severity.as_str(), m.at.file, m.at.line, m.at.column, m.length, m.text.clone(), m.hint.clone())
}

fn text(octets: &[u8]) -> OsString {
    OsString::from_vec(octets.to_vec())
}

#[pymethods]
impl Scan {
    #[getter]
    fn files(&self) -> Vec<OsString> {
        self.0.files.iter().map(|file| file.name.clone().into_os_string()).collect()
    }

    fn statements(&self, py: Python<'_>) -> PyResult<Vec<Statement>> {
        let scan = &self.0;
        scan.statements
            .iter()
            .map(|s| {
                let values = s.values().iter().map(|v| text(scan.value(v)));
                let values = pyo3::types::PyTuple::new(py, values.collect::<Vec<_>>())?.unbind();
                let column = s.values().first().map_or(s.at.column, |v| v.at.column);
                Ok((s.clause, scan.clause(s), s.keyword, values, s.at.file, s.at.line, s.at.column, column))
            })
            .collect()
    }

    fn clauses(&self) -> Vec<(&'static str, u32, u32, u32)> {
        self.0.clauses.iter().map(|c| (c.keyword, c.at.file, c.at.line, c.at.column)).collect()
    }

    fn messages(&self) -> Vec<Message> {
        self.0.messages.iter().map(message).collect()
    }

    fn bulk_counts(&self) -> BTreeMap<&'static str, (u64, u32, u32, u32)> {
        let mut counts = BTreeMap::new();
        for bulk in &self.0.bulk {
            let entry = counts.entry(bulk.kind.as_str()).or_insert((0, bulk.at.file, bulk.at.line, bulk.at.column));
            entry.0 += 1;
        }
        counts
    }

    #[pyo3(signature = (after, limit, name, under))]
    fn local_data(
        &self,
        py: Python<'_>,
        after: usize,
        limit: usize,
        name: Option<&str>,
        under: bool,
    ) -> PyResult<Vec<Standing>> {
        let which = match (name, under) {
            (None, _) => Which::All,
            (Some(name), false) => Which::Of(name),
            (Some(name), true) => Which::Under(name),
        };
        let found = py.detach(|| self.1.find(&self.0, which, after, limit));
        let found = found.map_err(|failure| PyValueError::new_err(failure.to_string()))?;
        Ok(found
            .into_iter()
            .map(|s| (s.index, s.keyword, s.name, s.kind, s.ttl, s.value, s.at.file, s.at.line))
            .collect())
    }

    fn texts<'py>(&self, py: Python<'py>) -> Vec<(OsString, Bound<'py, PyBytes>)> {
        let of = |file: &conf::File| (file.path.clone().into_os_string(), PyBytes::new(py, file.text()));
        self.0.files.iter().map(of).collect()
    }

    fn line(&self, file: u32, line: u32) -> OsString {
        text(self.0.line(file, line))
    }
}

/// Reads a configuration and what it includes.
#[pyfunction]
pub(crate) fn scan(py: Python<'_>, path: PathBuf, cwd: PathBuf) -> PyResult<Scan> {
    let read = py.detach(|| conf::scan(&path, &cwd));
    scanned(py, read, path)
}

/// The same with the files as they once were.
#[pyfunction]
pub(crate) fn scan_remembered(
    py: Python<'_>,
    path: PathBuf,
    cwd: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
) -> PyResult<Scan> {
    let source = Remembered(Memory { files: files.into_iter().collect() });
    let read = py.detach(|| conf::scan_in(&source, &path, &cwd));
    scanned(py, read, path)
}

fn scanned(py: Python<'_>, read: std::io::Result<conf::Scan>, path: PathBuf) -> PyResult<Scan> {
    match read {
        Ok(scan) => Ok(Scan::new(scan)),
        // With number and file name, as Python's own open() would raise it.
        Err(error) => match error.raw_os_error() {
            Some(number) => {
                let reason = PyModule::import(py, "os")?.call_method1("strerror", (number,))?.unbind();
                Err(PyOSError::new_err((number, reason, path)))
            }
            None => Err(error.into()),
        },
    }
}

/// The same for text in memory.
#[pyfunction]
pub(crate) fn scan_text(py: Python<'_>, text: Vec<u8>, name: &str, cwd: PathBuf) -> Scan {
    Scan::new(py.detach(|| conf::scan_text(text, name, &cwd)))
}
