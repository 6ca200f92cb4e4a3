//! Which processors we may use, and pinning a thread to one of them.
//!
//! A worker stays on one core so that its caches stay warm and its sockets are drained where the packets arrive.
//! Owns `sched_getaffinity` and `sched_setaffinity`; decides nothing about how many workers there are.

use std::io;

/// Most processors a mask of ours can name: the size of glibc's `cpu_set_t` (CPU_SETSIZE).
const CPU_MAX: usize = libc::CPU_SETSIZE as usize;

/// The processors this process may run on, ascending (honours `taskset` and cpusets of containers).
///
/// # Errors
/// What `sched_getaffinity(2)` reports, for example a machine with more than 1,024 processors.
pub fn usable_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and its size is given; pid 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: CPU_ISSET only reads the set, and every index is below CPU_SETSIZE.
    Ok((0..CPU_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Pins the calling thread to one processor.
///
/// # Errors
/// `InvalidInput` for a number beyond 1,023, else what `sched_setaffinity(2)` reports.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    if cpu >= CPU_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index is below CPU_SETSIZE (checked above).
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for reads of the size given; pid 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_sees_one_processor() {
        let cpus = usable_cpus().unwrap();
        let last = *cpus.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin_current_thread(last).unwrap();
            usable_cpus().unwrap()
        });
        assert_eq!(seen.join().unwrap(), vec![last]);
    }

    #[test]
    fn an_absurd_processor_is_an_error() {
        assert!(pin_current_thread(1 << 20).is_err());
    }
}
