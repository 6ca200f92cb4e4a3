//! What the kernel lets this process have.
//!
//! Owns the limit of open descriptors: each upstream query and each client's connection is one, and the usual soft
//! limit of 1,024 is less than one worker's `outgoing-range`.

use std::io;

/// Raises the soft limit of open descriptors to at least `wanted`, or as near as the hard limit allows. Returns the
/// limit then in force; it is never lowered.
///
/// # Errors
/// What `getrlimit(2)` or `setrlimit(2)` reports.
pub fn raise_descriptors(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    limit.rlim_cur = wanted.min(limit.rlim_max);
    // SAFETY: `limit` is readable for the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_and_never_falls() {
        let now = raise_descriptors(0).unwrap();
        let more = raise_descriptors(now + 1).unwrap();
        assert!(more >= now);
        assert_eq!(raise_descriptors(1).unwrap(), more);
    }
}
