//! Records and blocks by the million, as Python hands them through without looking at them.
//!
//! Owns the conversions around `rows`. Each object can be used from any thread; the interpreter is let go of meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ::rows as rust;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::secret::{SecretKey, unread};

/// A panic while one held it left nothing half done that matters: the next call says what is wrong.
fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one conversion of an error of bulk.
fn refused(error: rust::BulkError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Place, field, message, hint.
type Fault = (u64, String, String, Option<String>);

/// Records or blocks on their way in. Many may look at once; whoever waits for another has let go of the interpreter.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Bulk(RwLock<rust::Bulk>);

impl Bulk {
    fn read(&self) -> RwLockReadGuard<'_, rust::Bulk> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, rust::Bulk> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Bulk {
    #[new]
    #[pyo3(signature = (kind, form, defaults = &b"{}"[..]))]
    fn new(kind: &str, form: &str, defaults: &[u8]) -> PyResult<Self> {
        rust::Bulk::new(kind, form, defaults).map(|bulk| Self(RwLock::new(bulk))).map_err(refused)
    }

    fn feed(&self, py: Python<'_>, piece: &[u8]) -> PyResult<()> {
        py.detach(|| self.write().feed(piece)).map_err(refused)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Vec<Fault>> {
        py.detach(|| {
            let mut bulk = self.write();
            let faults = bulk.finish()?.iter().cloned();
            Ok(faults.map(|f| (f.at, f.complaint.field, f.complaint.what, f.complaint.hint)).collect())
        })
        .map_err(refused)
    }

    #[getter]
    fn kind(&self, py: Python<'_>) -> &'static str {
        py.detach(|| self.read().kind().word())
    }

    #[getter]
    fn count(&self, py: Python<'_>) -> usize {
        py.detach(|| self.read().count())
    }

    #[getter]
    fn error_count(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.read().fault_count())
    }

    #[getter]
    fn merged(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.read().merged())
    }

    fn keys<'py>(&self, py: Python<'py>, part: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let keys = py.detach(|| self.read().keys(part)).map_err(refused)?;
        Ok(keys.map(|keys| PyBytes::new(py, &keys)))
    }

    #[pyo3(signature = (part, first_id, revision, key, standing = &b"[]"[..]))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        part: usize,
        first_id: i64,
        revision: i64,
        key: &Bound<'py, SecretKey>,
        standing: &[u8],
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = &key.get().0;
        let rows = py.detach(|| self.read().rows(part, first_id, revision, key, standing)).map_err(unread)?;
        Ok(rows.map(|rows| PyBytes::new(py, &rows)))
    }

    fn entries<'py>(&self, py: Python<'py>, part: usize) -> PyResult<Vec<(Bound<'py, PyBytes>, String)>> {
        let entries = py.detach(|| {
            let mut entries: Vec<(Vec<u8>, String)> = Vec::new();
            self.read().each(part, |key, doc| entries.push((key.to_vec(), doc.to_owned())))?;
            Ok(entries)
        });
        Ok(entries.map_err(refused)?.into_iter().map(|(key, doc)| (PyBytes::new(py, &key), doc)).collect())
    }
}

/// All records and blocks, for a start.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Overlay(Mutex<rust::Loading>);

#[pymethods]
impl Overlay {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn load(&self, py: Python<'_>, kind: &str, rows: &[u8]) -> PyResult<()> {
        py.detach(|| locked(&self.0).load(kind, rows)).map_err(unread)
    }
}

impl Overlay {
    /// What has been loaded so far.
    pub(crate) fn built(&self) -> rust::Overlay {
        locked(&self.0).overlay()
    }
}

/// What a change puts and removes.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Delta(Mutex<rust::Delta>);

#[pymethods]
impl Delta {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn put(&self, py: Python<'_>, bulk: &Bound<'_, Bulk>) -> PyResult<()> {
        let bulk = bulk.get();
        py.detach(|| locked(&self.0).put(&bulk.read())).map_err(refused)
    }

    fn put_rows(&self, py: Python<'_>, kind: &str, rows: &[u8]) -> PyResult<()> {
        py.detach(|| locked(&self.0).put_rows(kind, rows)).map_err(unread)
    }

    fn remove_rows(&self, py: Python<'_>, kind: &str, rows: &[u8]) -> PyResult<()> {
        py.detach(|| locked(&self.0).remove_rows(kind, rows)).map_err(unread)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| locked(&self.0).len())
    }
}

impl Delta {
    /// What has been said so far; the delta is empty afterwards.
    pub(crate) fn take(&self) -> rust::Delta {
        std::mem::take(&mut *locked(&self.0))
    }
}

/// The start of the keys of everything at and below a name.
#[pyfunction]
#[pyo3(signature = (name, /))]
pub(crate) fn name_key<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    let key = rust::key::of_text(name).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &key))
}
