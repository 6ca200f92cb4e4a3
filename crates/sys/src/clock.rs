//! Clocks: monotonic time for deadlines, calendar time for logs and cookies, and the cache's time for TTLs, which follows the
//! calendar but none of its leaps.
//!
//! Owns reading the kernel's clocks and breaking a time into local calendar fields. It must never sleep, and the
//! rooms without a clock (wire, store, policy, resolve) are handed what it returns.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds by which the system's clock may be set and the cache's time still follow it. More is a leap (a clock that
/// was wrong at start, a virtual machine that was stopped): it would make everything expire at once, or live too long.
const LEAP_MS: u64 = 10_000;

/// What is added to the calendar's milliseconds to make them the cache's. At first so far off that it counts as a leap.
static CALENDAR_TO_CACHE: AtomicI64 = AtomicI64::new(i64::MIN);

/// Microseconds of the monotonic clock (CLOCK_MONOTONIC), which never goes back and starts anywhere.
pub fn monotonic_us() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC) / 1_000
}

/// Nanoseconds of one of the clocks that are always there: CLOCK_MONOTONIC, CLOCK_BOOTTIME.
fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the duration of the call, and both clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    (ts.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(ts.tv_nsec as u64)
}

/// Milliseconds of the monotonic clock: the time of `resolve`, for deadlines.
pub fn monotonic_ms() -> u64 {
    monotonic_us() / 1_000
}

/// One moment, by all clocks; each is read once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of the monotonic clock.
    pub monotonic_ns: u64,
    /// Microseconds since 1970 by the system's clock.
    pub unix_us: u64,
    /// Milliseconds of the cache's time: see [`cache_ms`].
    pub cache_ms: u64,
}

impl Moment {
    /// Reads the clocks.
    pub fn now() -> Moment {
        let unix_us = u64::try_from(unix().as_micros()).unwrap_or(u64::MAX);
        Moment { monotonic_ns: read_ns(libc::CLOCK_MONOTONIC), unix_us, cache_ms: cache_at(unix_us / 1_000) }
    }

    /// Milliseconds of the monotonic clock.
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_ns / 1_000_000
    }
}

/// Nanoseconds of the monotonic clock, for what is shorter than a microsecond or few of them.
pub fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// Milliseconds of the cache's time, by which TTLs are counted: the same for all threads.
///
/// It goes as the system's clock goes, also while the machine is suspended, which the monotonic clock leaves out; but
/// where that clock is set by more than ten seconds the cache's time goes on as if it had not been.
pub fn cache_ms() -> u64 {
    cache_at(u64::try_from(unix().as_millis()).unwrap_or(0))
}

/// The cache's time when the calendar says this.
fn cache_at(unix_ms: u64) -> u64 {
    let calendar = i64::try_from(unix_ms).unwrap_or(0);
    let running = i64::try_from(read_ns(libc::CLOCK_BOOTTIME) / 1_000_000).unwrap_or(0);
    let before = CALENDAR_TO_CACHE.load(Ordering::Relaxed);
    let shift = without_leaps(calendar, running, before);
    if shift != before {
        CALENDAR_TO_CACHE.store(shift, Ordering::Relaxed);
    }
    (calendar + shift).try_into().unwrap_or(0)
}

/// The shift to the cache's time: as before, unless that is a leap away from the clock that nobody sets.
fn without_leaps(calendar: i64, running: i64, shift: i64) -> i64 {
    if calendar.saturating_add(shift).abs_diff(running) > LEAP_MS { running - calendar } else { shift }
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
    fn the_caches_time_follows_the_calendar_but_not_its_leaps() {
        let (calendar, running) = (1_800_000_000_000, 5_000_000);
        let shift = without_leaps(calendar, running, i64::MIN);
        assert_eq!(calendar + shift, running, "it begins with the machine's running time");
        for set in [-9_000, 0, 9_000] {
            assert_eq!(without_leaps(calendar + set, running, shift), shift, "set by {set} ms: followed");
        }
        for leap in [-3_600_000, 11_000, 86_400_000_000] {
            let after = without_leaps(calendar + leap, running, shift);
            assert_eq!(calendar + leap + after, running, "set by {leap} ms: goes on as if it had not been");
        }
        assert_eq!(without_leaps(calendar + 300_000, running + 300_000, shift), shift, "time that passed for both");
        assert!(cache_ms().abs_diff(read_ns(libc::CLOCK_BOOTTIME) / 1_000_000) <= LEAP_MS);
    }

    #[test]
    fn local_time_and_its_offset_name_the_same_moment() {
        let t = local_time(86_400 * 59 + 3_600 * 5 + 7); // 1 March 1970, 05:00:07 UTC
        let of_day = i64::from(t.hour) * 3_600 + i64::from(t.minute) * 60 + i64::from(t.second);
        assert_eq!((of_day - i64::from(t.offset)).rem_euclid(86_400), 5 * 3_600 + 7);
        assert_eq!(t.year, 1970);
    }
}
