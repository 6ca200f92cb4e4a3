//! What memory this process takes.
//!
//! Owns the reading of `/proc/self/status`, where the kernel tells it. It must never judge whether that is much.

use std::{fs, io};

/// Octets of this process that are in memory now (`VmRSS`), shared libraries included.
///
/// # Errors
/// `/proc` is not there, or says nothing about it.
pub fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    found(&status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no VmRSS"))
}

fn found(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(found("Name:\tx\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\n"), Some(4 << 20));
        assert_eq!(found("Name:\tx\n"), None);
        assert!(resident().unwrap() > 100_000, "no Rust program is smaller");
    }
}
