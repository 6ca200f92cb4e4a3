//! Clocks: monotonic time for deadlines and TTLs, calendar time for logs and cookies.
//!
//! Owns reading the kernel's clocks and breaking a time into local calendar fields. It must never sleep, and the
//! rooms without a clock (wire, store, policy, resolve) are handed what it returns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds of the monotonic clock (CLOCK_MONOTONIC), which never goes back and starts anywhere.
pub fn monotonic_us() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the duration of the call, and CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    (ts.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(ts.tv_nsec as u64 / 1_000)
}

/// Milliseconds of the monotonic clock: the `Millis` of store and resolve.
pub fn monotonic_ms() -> u64 {
    monotonic_us() / 1_000
}

/// Time since 1970 by the system's clock; zero should that clock stand before 1970.
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A moment in the machine's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, for example 2026.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 60.
    pub second: u8,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// Breaks seconds since 1970 into calendar fields of the machine's time zone (`TZ`, else /etc/localtime).
pub fn local_time(unix_seconds: i64) -> LocalTime {
    let seconds: libc::time_t = unix_seconds;
    // SAFETY: all-zero bytes are a valid `tm` (integers and a null pointer).
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call; localtime_r writes only to `tm` and keeps neither.
    unsafe { libc::localtime_r(&seconds, &mut tm) };
    LocalTime {
        year: tm.tm_year + 1900,
        month: (tm.tm_mon + 1) as u8,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
        offset: tm.tm_gmtoff as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_does_not_go_back() {
        let a = monotonic_us();
        let b = monotonic_us();
        assert!(b >= a);
        assert!(monotonic_ms() >= a / 1000);
    }

    #[test]
    fn local_time_and_its_offset_name_the_same_moment() {
        let t = local_time(86_400 * 59 + 3_600 * 5 + 7); // 1 March 1970, 05:00:07 UTC
        let of_day = i64::from(t.hour) * 3_600 + i64::from(t.minute) * 60 + i64::from(t.second);
        assert_eq!((of_day - i64::from(t.offset)).rem_euclid(86_400), 5 * 3_600 + 7);
        assert_eq!(t.year, 1970);
    }
}
