//! What memory this process takes, and memory for secrets.
//!
//! Owns the reading of `/proc/self/status`, where the kernel tells it, and [`Locked`], pages that are neither swapped out
//! nor dumped. Every such page is known here, and the last thing a process does is to wipe them ([`wipe_all`]), whoever
//! still holds them: Python keeps objects of its modules for ever. It must never judge whether much is taken, and never
//! learns what a secret is for.

use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::{fs, io, ptr, slice, thread};

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

/// Address and size of every [`Locked`] alive.
static PAGES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
/// The end has come: what [`Locked`] pages hold is no secret any longer, and nothing made from it is right.
static WIPED: AtomicBool = AtomicBool::new(false);
/// `atexit(3)` knows [`wipe_all`].
static AT_EXIT: Once = Once::new();

/// Octets in pages of their own: locked in memory, left out of core dumps, wiped when dropped or when the process ends.
///
/// A child made by `fork` has them too (the program may yet go into the background), only not locked.
pub struct Locked {
    at: NonNull<u8>,
    mapped: usize,
    len: usize,
}

// SAFETY: `at` is owned memory that nobody else points to; `&Locked` gives out nothing but `&[u8]`.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// So many octets, all zero; none is a number too. Where `RLIMIT_MEMLOCK` does not allow the lock they may be
    /// swapped out: that is no reason to do without the key, and everything else still holds.
    ///
    /// # Errors
    /// What `mmap(2)` reports.
    pub fn new(len: usize) -> io::Result<Locked> {
        AT_EXIT.call_once(|| {
            // SAFETY: `at_exit` is a function of this program that takes and returns nothing. Without room for it (glibc
            // allocates beyond 32) the pages die with the process as they are.
            unsafe { libc::atexit(at_exit) };
        });
        let mapped = len.max(1);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, placed by the kernel, touches no memory of ours.
        let at = unsafe { libc::mmap(ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping just made, of `mapped` octets. Both calls change no content; their failure is borne.
        unsafe {
            libc::mlock(at, mapped);
            libc::madvise(at, mapped, libc::MADV_DONTDUMP);
        }
        let Some(at) = NonNull::new(at.cast::<u8>()) else { return Err(io::Error::from(io::ErrorKind::OutOfMemory)) };
        PAGES.lock().unwrap_or_else(PoisonError::into_inner).push((at.as_ptr() as usize, mapped));
        Ok(Locked { at, mapped, len })
    }

    /// The same octets in pages of their own, without a copy anywhere else.
    ///
    /// # Errors
    /// As [`Locked::new`].
    pub fn copy_of(octets: &[u8]) -> io::Result<Locked> {
        let mut copy = Locked::new(octets.len())?;
        copy.as_mut().copy_from_slice(octets);
        clear_registers();
        Ok(copy)
    }

    /// Keeps the first `len` octets and wipes the others. A greater number changes nothing.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.as_mut().get_mut(len..) {
            wipe(rest);
            self.len = len;
        }
    }

    /// Everything a file has from where it stands, read straight into these pages.
    ///
    /// # Errors
    /// What `read(2)` reports; `FileTooLarge` (EFBIG) for more than `limit` octets.
    pub fn read(file: RawFd, limit: usize) -> io::Result<Locked> {
        let mut locked = Locked::new(limit + 1)?;
        let mut filled = 0;
        while let Some(room @ [_, ..]) = locked.as_mut().get_mut(filled..) {
            // SAFETY: `room` is writable for its whole length. The descriptor is an integer: one that is not open is an
            // error.
            let read = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
            match usize::try_from(read) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        if filled > limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        locked.truncate(filled);
        Ok(locked)
    }

    /// Writes all octets to a file, from these pages and no others.
    ///
    /// # Errors
    /// What `write(2)` reports.
    pub fn write(&self, file: RawFd) -> io::Result<()> {
        let mut rest: &[u8] = self.as_ref();
        while !rest.is_empty() {
            // SAFETY: `rest` is readable for its whole length. The descriptor is an integer, as above.
            let written = unsafe { libc::write(file, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(octets) => rest = rest.get(octets..).unwrap_or_default(),
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
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
        let at = self.at.as_ptr();
        let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|page| page.0 != at as usize);
        // SAFETY: the mapping made in `new`, which nobody can point to any longer; `PAGES`, which `wipe_all` goes by, is
        // held. The kernel never gives pages of one process to another unwiped, but a write that nobody reads would be
        // left out: `explicit_bzero` is not.
        unsafe {
            libc::explicit_bzero(at.cast(), self.mapped);
            libc::munmap(at.cast(), self.mapped);
        }
    }
}

/// Overwrites octets with zeros, also where nobody reads them again.
pub fn wipe(octets: &mut [u8]) {
    // SAFETY: `octets` is writable for its whole length.
    unsafe { libc::explicit_bzero(octets.as_mut_ptr().cast(), octets.len()) };
}

/// Overwrites the vector registers of this thread with zeros. Whatever copies or computes octets by many at a time leaves
/// some there, and the dynamic linker puts those registers on the stack, where they stay, each time it looks a function up
/// for the first time. Call it after work on a secret, from the function that did the work.
pub fn clear_registers() {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::asm;
        use std::arch::is_x86_feature_detected;
        // SAFETY: registers alone are written, all of them named as lost (`clobber_abi`); each instruction is one that
        // this processor has.
        unsafe {
            if is_x86_feature_detected!("avx") {
                asm!("vzeroall", clobber_abi("C"), options(nomem, nostack, preserves_flags));
            } else {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    r"xorps xmm\n, xmm\n",
                    ".endr",
                    clobber_abi("C"),
                    options(nomem, nostack, preserves_flags)
                );
            }
            if is_x86_feature_detected!("avx512f") {
                asm!(
                    ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    r"vpxord zmm\n, zmm\n, zmm\n",
                    ".endr",
                    clobber_abi("C"),
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: registers alone are written, those that a function may change (AAPCS64 6.1.2), all named as lost.
    unsafe {
        std::arch::asm!(
            ".irp n,0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            r"movi v\n\().2d, #0",
            ".endr",
            clobber_abi("C"),
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Wipes every [`Locked`] of the process, whoever holds it. It comes by itself at `exit(3)`; who ends the process in
/// another way calls it first. Afterwards no key is right: see [`unless_wiped`].
pub fn wipe_all() {
    WIPED.store(true, Ordering::SeqCst);
    for &(at, mapped) in PAGES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // SAFETY: every entry is mapped and writable: `Drop` takes its own out under this lock before it unmaps. A
        // thread that reads at the same time reads octets of either kind, and what it makes of them goes nowhere
        // (`unless_wiped`).
        unsafe { libc::explicit_bzero(at as *mut libc::c_void, mapped) };
    }
}

extern "C" fn at_exit() {
    wipe_all();
}

/// Hands on what was made with a secret. Where the process is ending and the secrets are wiped, it is nothing to hand
/// on, a code made with zeros perhaps: then the thread stops here for the moment that is left. No register keeps a piece
/// of the secret.
pub fn unless_wiped<T>(made: T) -> T {
    clear_registers();
    while WIPED.load(Ordering::SeqCst) {
        thread::park();
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

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
    }

    #[test]
    fn locked_octets_may_be_none_or_fewer() {
        assert_eq!(Locked::new(0).unwrap().as_ref(), [0; 0]);
        let mut locked = Locked::copy_of(b"secret\n").unwrap();
        locked.truncate(6);
        locked.truncate(60);
        assert_eq!(locked.as_ref(), b"secret");
        // SAFETY: the octet behind the end is still mapped.
        assert_eq!(unsafe { *locked.as_ref().as_ptr().add(6) }, 0, "wiped");
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_written() {
        let pipe = |octets: &[u8]| {
            let (read, mut write) = io::pipe().unwrap();
            io::Write::write_all(&mut write, octets).unwrap();
            drop(write);
            Locked::read(read.as_raw_fd(), 4)
        };
        assert_eq!(pipe(b"1234").unwrap().as_ref(), b"1234");
        assert_eq!(pipe(b"").unwrap().as_ref(), b"");
        assert_eq!(pipe(b"12345").err().unwrap().kind(), io::ErrorKind::FileTooLarge);

        let (mut read, write) = io::pipe().unwrap();
        Locked::copy_of(b"1234").unwrap().write(write.as_raw_fd()).unwrap();
        drop(write);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        assert_eq!(text, "1234");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn no_register_keeps_a_secret() {
        let secret = [0x5a_u8; 16];
        let mut after = [0_u8; 16];
        // SAFETY: SSE2 is in every x86-64; `secret` and `after` are 16 octets; the register is named as lost.
        unsafe {
            std::arch::asm!("movdqu xmm5, [{}]", in(reg) secret.as_ptr(), out("xmm5") _);
            clear_registers();
            std::arch::asm!("movdqu [{}], xmm5", in(reg) after.as_mut_ptr());
        }
        assert_eq!(after, [0; 16]);
    }

    #[test]
    fn the_end_wipes_what_is_still_held() {
        // In a child: in this process other tests hold pages.
        let mut locked = Locked::copy_of(b"held to the end").unwrap();
        locked.as_mut()[0] = b'H';
        // SAFETY: the child calls only what needs no lock that another thread of the parent may hold, and `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            wipe_all();
            let code = i32::from(locked.as_ref().iter().any(|&octet| octet != 0));
            // SAFETY: ends the child without the destructors of the test process.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; `status` is writable.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        assert_eq!(locked.as_ref(), b"Held to the end", "the parent's are its own");
    }
}
