"""The door: the only room that imports `runbound._native`.

Owns what crosses between Python and Rust: documents inward (`document`, `compile`), scans, figures and messages
outward. Every call detaches from the interpreter while Rust works. It must never decide anything about a query: that
is Rust's, and never apply a change by itself: that is `ops.change`'s.

Secrets do not outlive the process: whoever holds them, their pages are wiped when Python ends. Rust does it at
`exit(3)` too, but an interpreter that was interrupted ends by the signal.
"""

import atexit

from runbound._native import (
    Bulk,
    Delta,
    Engine,
    EngineError,
    HsmHelper,
    HsmHelperError,
    Overlay,
    Scan,
    Secret,
    SecretKey,
    check,
    check_rows,
    drop_privileges,
    hsm_serve,
    mac_row,
    name_key,
    protect_process,
    recode_rows,
    scan,
    scan_remembered,
    scan_text,
    verify_signature,
    wipe_secrets,
)

__all__ = [
    "Bulk",
    "Delta",
    "Engine",
    "EngineError",
    "HsmHelper",
    "HsmHelperError",
    "Overlay",
    "Scan",
    "Secret",
    "SecretKey",
    "check",
    "check_rows",
    "drop_privileges",
    "hsm_serve",
    "mac_row",
    "name_key",
    "protect_process",
    "recode_rows",
    "scan",
    "scan_remembered",
    "scan_text",
    "verify_signature",
    "wipe_secrets",
]

atexit.register(wipe_secrets)
