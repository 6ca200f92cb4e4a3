//! What memory this process takes, and memory for secrets.
//!
//! Owns the reading of `/proc/self/status`, where the kernel tells it, and [`Locked`], pages that are neither swapped out
//! nor dumped. It must never judge whether much is taken, and never learns what a secret is for.

use std::ptr::NonNull;
use std::{fs, io, ptr, slice};

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

/// Octets in pages of their own: locked in memory, left out of core dumps, wiped when dropped.
///
/// A child made by `fork` has them too (the program may yet go into the background), only not locked.
pub struct Locked {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: `at` is owned memory that nobody else points to; `&Locked` gives out nothing but `&[u8]`.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// So many octets, all zero. Where `RLIMIT_MEMLOCK` does not allow the lock they may be swapped out: that is no
    /// reason to do without the key, and everything else still holds.
    ///
    /// # Errors
    /// What `mmap(2)` reports; `len` is 0.
    pub fn new(len: usize) -> io::Result<Locked> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, placed by the kernel, touches no memory of ours.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping just made, of `len` octets. Both calls change no content; their failure is borne.
        unsafe {
            libc::mlock(at, len);
            libc::madvise(at, len, libc::MADV_DONTDUMP);
        }
        match NonNull::new(at.cast::<u8>()) {
            Some(at) => Ok(Locked { at, len }),
            None => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
        }
    }
}

impl AsRef<[u8]> for Locked {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` octets are mapped and initialised as long as `self` lives, and `self` is borrowed.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Locked {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nobody can point to any longer. The kernel never gives pages of one
        // process to another unwiped, but a write that nobody reads would be left out: `explicit_bzero` is not.
        unsafe {
            libc::explicit_bzero(self.at.as_ptr().cast(), self.len);
            libc::munmap(self.at.as_ptr().cast(), self.len);
        }
    }
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
    #[test]
    fn locked_octets_are_locked_and_not_dumped() {
        let mut locked = Locked::new(100).unwrap();
        assert_eq!(locked.as_ref(), [0; 100]);
        locked.as_mut().fill(7);
        assert_eq!(locked.as_ref(), [7; 100]);
        let at = format!("{:x}-", locked.as_ref().as_ptr() as usize);
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.lines().skip_while(|line| !line.starts_with(&at));
        let flags = ours.take(40).find_map(|line| line.strip_prefix("VmFlags:")).unwrap().to_owned();
        assert!(flags.split(' ').any(|flag| flag == "dd"), "not dumped: {flags}");
        assert!(flags.split(' ').any(|flag| flag == "lo"), "locked: {flags}");
        assert!(Locked::new(0).is_err());
    }
}
