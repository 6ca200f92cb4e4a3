"""The door: the only room that imports `runbound._native`.

Owns what crosses between Python and Rust: documents inward (`document`, `compile`), scans, figures and messages
outward. Every call detaches from the interpreter while Rust works. It must never decide anything about a query: that
is Rust's, and never apply a change by itself: that is `ops.change`'s.
"""

from runbound._native import (
    Bulk,
    Delta,
    Engine,
    EngineError,
    Overlay,
    Scan,
    SecretKey,
    check,
    check_rows,
    drop_privileges,
    mac_row,
    name_key,
    scan,
    scan_remembered,
    scan_text,
    verify_signature,
)

__all__ = [
    "Bulk",
    "Delta",
    "Engine",
    "EngineError",
    "Overlay",
    "Scan",
    "SecretKey",
    "check",
    "check_rows",
    "drop_privileges",
    "mac_row",
    "name_key",
    "scan",
    "scan_remembered",
    "scan_text",
    "verify_signature",
]
