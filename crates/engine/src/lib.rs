//! Puts it together: bytes to Snapshot, check, apply, stats.
