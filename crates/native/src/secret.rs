//! Secrets and codes, as Python holds them: handles that do things and give nothing back.
//!
//! Owns the conversions around `vault` and around the codes of rows. What a caller hands in as a bytearray is wiped; what
//! stands in the environment is wiped there, and in the copy that Python made of it before anybody could ask it not to.

use std::ffi::CString;

use ::rows as rust;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PySlice};
use sys::memory::{Locked, wipe};
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

/// The octets of bytes or a bytearray in locked memory; the bytearray is wiped.
fn locked(secret: &Bound<'_, PyAny>) -> PyResult<Locked> {
    if let Ok(octets) = secret.cast::<PyBytes>() {
        return Ok(Locked::copy_of(octets.as_bytes())?);
    }
    let array = secret.cast::<PyByteArray>().map_err(|_| PyTypeError::new_err("a secret is bytes or a bytearray"))?;
    let mut octets = array.to_vec();
    let copy = Locked::copy_of(&octets);
    wipe(&mut octets);
    let whole = PySlice::full(secret.py());
    secret.set_item(whole, PyBytes::new(secret.py(), &octets))?;
    Ok(copy?)
}

/// A secret of any length, on its way to where it is used.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct Secret(pub(crate) Locked);

#[pymethods]
impl Secret {
    #[new]
    fn new(octets: &Bound<'_, PyAny>) -> PyResult<Self> {
        locked(octets).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (fd, limit = vault::MAX_SECRET, strip_newline = true))]
    fn read(py: Python<'_>, fd: i32, limit: usize, strip_newline: bool) -> PyResult<Self> {
        let mut secret = py.detach(|| Locked::read(fd, limit))?;
        if strip_newline && let Some(text) = AsRef::<[u8]>::as_ref(&secret).strip_suffix(b"\n") {
            let length = text.len();
            secret.truncate(length);
        }
        Ok(Self(secret))
    }

    #[staticmethod]
    #[pyo3(signature = (name, strip_newline = false))]
    fn environment(py: Python<'_>, name: &str, strip_newline: bool) -> PyResult<Option<Self>> {
        let copies = py.import("os")?.getattr("environ")?.getattr("_data")?;
        let copy = copies.call_method1("pop", (PyBytes::new(py, name.as_bytes()), py.None()))?;
        let name = CString::new(name)?;
        let mut taken = sys::environment::take(&name)?;
        if let Ok(octets) = copy.cast::<PyBytes>() {
            if taken.is_none() {
                taken = Some(Locked::copy_of(octets.as_bytes())?);
            }
            // Python shares the objects of one octet and of none, and another one that is held elsewhere is not ours.
            let holders = py.import("sys")?.getattr("getrefcount")?;
            let alone = PyBytes::new(py, b"held here alone");
            if octets.as_bytes().len() > 1 && holders.call1((octets,))?.eq(holders.call1((&alone,))?)? {
                sys::environment::wipe_foreign(octets.as_bytes());
            }
        }
        if strip_newline && let Some(secret) = taken.as_mut() {
            let length = AsRef::<[u8]>::as_ref(secret).strip_suffix(b"\n").map(<[u8]>::len);
            if let Some(length) = length {
                secret.truncate(length);
            }
        }
        Ok(taken.map(Self))
    }

    fn decoded(&self) -> PyResult<Self> {
        vault::decoded(&self.0).map(Self).map_err(|error| refused(error.into()))
    }

    fn digits(&self) -> PyResult<Self> {
        vault::digits(&self.0).map(Self).map_err(|error| refused(error.into()))
    }

    fn tag<'py>(&self, py: Python<'py>, nonce: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &vault::tag(&self.0, nonce))
    }

    fn write(&self, py: Python<'_>, fd: i32) -> PyResult<()> {
        Ok(py.detach(|| self.0.write(fd))?)
    }

    fn __len__(&self) -> usize {
        AsRef::<[u8]>::as_ref(&self.0).len()
    }

    fn __bool__(&self) -> bool {
        self.__len__() > 0
    }
}

/// Wipes every secret of the process; no key is right any longer.
#[pyfunction]
pub(crate) fn wipe_secrets(py: Python<'_>) {
    py.detach(sys::memory::wipe_all);
}

/// Other processes of the same user cannot look into this one, and it writes no core.
#[pyfunction]
pub(crate) fn protect_process() -> PyResult<()> {
    Ok(sys::process::keep_from_dumps()?)
}

/// A key that never leaves.
#[pyclass(frozen, module = "runbound._native")]
pub(crate) struct SecretKey(pub(crate) vault::SecretKey);

#[pymethods]
impl SecretKey {
    #[new]
    fn new(secret: &Bound<'_, PyAny>) -> PyResult<Self> {
        vault::SecretKey::of(&locked(secret)?).map(Self).map_err(refused)
    }

    #[staticmethod]
    fn of(secret: &Bound<'_, Secret>) -> PyResult<Self> {
        vault::SecretKey::of(&secret.get().0).map(Self).map_err(refused)
    }

    #[staticmethod]
    fn of_text(secret: &Bound<'_, Secret>) -> PyResult<Self> {
        vault::SecretKey::of_text(&secret.get().0).map(Self).map_err(refused)
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

/// Rows coded anew, as [`recode_rows`] gives them: rows, count, sums of the codes before and after, rows whose code was
/// wrong.
type Recoded<'py> = (Bound<'py, PyBytes>, u64, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Vec<i64>);

/// Codes every row with another key, and checks the code it had.
#[pyfunction]
#[pyo3(signature = (old, new, kind, rows, /))]
pub(crate) fn recode_rows<'py>(
    py: Python<'py>,
    old: &Bound<'py, SecretKey>,
    new: &Bound<'py, SecretKey>,
    kind: &str,
    rows: &[u8],
) -> PyResult<Recoded<'py>> {
    let (old, new) = (&old.get().0, &new.get().0);
    let made = py.detach(|| rust::recode(old, new, kind, rows)).map_err(unread)?;
    let octets = |sum: rust::Sum| PyBytes::new(py, &sum.octets());
    let before = made.before;
    Ok((PyBytes::new(py, &made.rows), before.count, octets(before.sum), octets(made.sum), before.wrong))
}
