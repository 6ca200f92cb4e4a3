//! Secrets and codes, as Python holds them: handles that do things and give nothing back.
//!
//! Owns the conversions around `vault` and around the codes of rows. What a caller hands in as a bytearray is wiped.

use ::rows as rust;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PySlice};
use vault::VaultError;

/// The one conversion of a vault's error.
fn refused(error: VaultError) -> PyErr {
    match error {
        VaultError::Memory(error) => PyOSError::new_err(format!("no memory for a secret: {error}")),
        other => PyValueError::new_err(other.to_string()),
    }
}

/// The one conversion of an error of rows.
pub(crate) fn unread(error: rust::RowsError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A key that never leaves.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct SecretKey(pub(crate) vault::SecretKey);

#[pymethods]
impl SecretKey {
    #[new]
    fn new(secret: &Bound<'_, PyAny>) -> PyResult<Self> {
        let octets = if let Ok(octets) = secret.cast::<PyBytes>() {
            octets.as_bytes().to_vec()
        } else if let Ok(array) = secret.cast::<PyByteArray>() {
            let octets = array.to_vec();
            let whole = PySlice::full(secret.py());
            secret.set_item(whole, PyBytes::new(secret.py(), &vec![0; octets.len()]))?;
            octets
        } else {
            return Err(PyTypeError::new_err("a secret is bytes or a bytearray"));
        };
        vault::SecretKey::new(octets).map(Self).map_err(refused)
    }

    #[staticmethod]
    fn public() -> PyResult<Self> {
        vault::SecretKey::public().map(Self).map_err(refused)
    }

    fn derive(&self, purpose: &str) -> PyResult<Self> {
        self.0.derive(purpose).map(Self).map_err(refused)
    }

    fn mac<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mac = py.detach(|| self.0.mac(data));
        PyBytes::new(py, &mac)
    }

    fn verify(&self, py: Python<'_>, data: &[u8], mac: &[u8]) -> bool {
        py.detach(|| self.0.verify(data, mac))
    }

    fn sign<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let signature = py.detach(|| self.0.sign(data)).map_err(refused)?;
        Ok(PyBytes::new(py, &signature))
    }

    fn public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.public_key().map_err(refused)?))
    }
}

/// Whether the signature is that of the data by the owner of the public key.
#[pyfunction]
pub(crate) fn verify_signature(py: Python<'_>, public_key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    py.detach(|| vault::verify_signature(public_key, data, signature))
}

/// The whole code of one row.
#[pyfunction]
#[pyo3(signature = (key, kind, number, k, doc, rev, /))]
pub(crate) fn mac_row<'py>(
    py: Python<'py>,
    key: &Bound<'py, SecretKey>,
    kind: &str,
    number: i64,
    k: &[u8],
    doc: &str,
    rev: i64,
) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &rust::mac_row(&key.get().0.macs(), kind, number, k, doc, rev))
}

/// Checks the code of every row: count, sum of the codes, numbers of the rows whose code is wrong.
#[pyfunction]
#[pyo3(signature = (key, kind, rows, /))]
pub(crate) fn check_rows<'py>(
    py: Python<'py>,
    key: &Bound<'py, SecretKey>,
    kind: &str,
    rows: &[u8],
) -> PyResult<(u64, Bound<'py, PyBytes>, Vec<i64>)> {
    let key = &key.get().0;
    let checked = py.detach(|| rust::check(key, kind, rows)).map_err(unread)?;
    Ok((checked.count, PyBytes::new(py, &checked.sum.octets()), checked.wrong))
}
