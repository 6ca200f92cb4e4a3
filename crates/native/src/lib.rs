//! PyO3 and nothing else: the door between the two floors.
//!
//! Owns the conversion of arguments, results and errors. Every call that can take time detaches from the interpreter;
//! no thread of the data plane ever attaches to it. It must never decide anything: each function is one call into
//! `engine`, `conf`, `rows`, `vault`, `hsm` or `sys`. What Python sees is described in `python/runbound/_native.pyi`.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod engine;
mod helper;
mod rows;
mod scan;
mod secret;

/// The extension module.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::engine::{Engine, EngineError, check, drop_privileges};
    #[pymodule_export]
    use crate::helper::{HsmHelper, HsmHelperError, hsm_serve};
    #[pymodule_export]
    use crate::rows::{Bulk, Delta, Overlay, name_key};
    #[pymodule_export]
    use crate::scan::{Scan, scan, scan_remembered, scan_text};
    #[pymodule_export]
    use crate::secret::{
        Secret, SecretKey, check_rows, mac_row, protect_process, recode_rows, verify_signature, wipe_secrets,
    };
}
