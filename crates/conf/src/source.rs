//! Where the text comes from: a disk, or a handful of files held in memory.
//!
//! Owns reading whole files and expanding patterns. Must never keep a file open after it was read, so that no number of
//! includes runs out of descriptors, and must never follow a relative name: the scanner hands in absolute ones.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest file read, in octets: 1 GiB, about twenty million `local-zone` lines. Bounds: offsets are `u32`. Stops
/// `include: /dev/zero` before memory is gone.
pub const MAX_FILE_OCTETS: u64 = 1 << 30;

/// What the scanner asks of the world.
pub trait Source {
    /// The whole text of the file at an absolute path.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The files an absolute pattern matches, sorted as the C library sorts them. No match is an empty list; a folder
    /// that cannot be read is an error.
    fn glob(&self, pattern: &[u8]) -> io::Result<Vec<PathBuf>>;
    /// Whether this path is a folder, for `directory:`.
    fn is_dir(&self, path: &Path) -> bool;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Source for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        let mut text = Vec::with_capacity(usize::try_from(about.len().min(MAX_FILE_OCTETS)).unwrap_or(0) + 1);
        file.take(MAX_FILE_OCTETS + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_OCTETS {
            return Err(io::Error::other("it is larger than 1 GiB"));
        }
        Ok(text)
    }

    fn glob(&self, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
        sys::glob::glob(OsStr::from_bytes(pattern))
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

/// Files held in memory, for tests, fuzzing and texts that stand in the program.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Absolute path to text.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Source for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.files.get(path).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn glob(&self, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
        let folder = String::from_utf8_lossy(pattern);
        let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.contains(['*', '?', '[', '{', '\\']) && !self.is_dir(Path::new(folder)) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let mut found = Vec::new();
        for pattern in alternatives(pattern) {
            found.extend(self.files.keys().filter(|path| sys::glob::fits(&pattern, path.as_os_str())).cloned());
        }
        Ok(found)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file.parent().is_some_and(|folder| folder.starts_with(path)))
    }
}

/// Files as they were when a configuration was read: what is not among them is not there any more. Folders are this
/// machine's.
#[derive(Debug, Clone, Default)]
pub struct Remembered(pub Memory);

impl Source for Remembered {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn glob(&self, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
        self.0.glob(pattern)
    }

    fn is_dir(&self, path: &Path) -> bool {
        Disk.is_dir(path)
    }
}

/// The patterns that one with braces stands for, each without its outermost pair: `{a,b}.conf` is `a.conf` and `b.conf`.
fn alternatives(pattern: &[u8]) -> Vec<Vec<u8>> {
    let (mut depth, mut open, mut cuts) = (0_u32, 0, Vec::new());
    let mut escaped = false;
    for (at, octet) in pattern.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => {
                depth += 1;
                if depth == 1 {
                    (open, cuts) = (at, vec![at]);
                }
            }
            b',' if depth == 1 => cuts.push(at),
            b'}' if depth == 1 => {
                cuts.push(at);
                let parts = cuts.windows(2).map(|cut| pattern.get(cut[0] + 1..cut[1]).unwrap_or_default());
                let whole = parts.map(|part| {
                    let ends = (pattern.get(..open).unwrap_or_default(), pattern.get(at + 1..).unwrap_or_default());
                    [ends.0, part, ends.1].concat()
                });
                return whole.flat_map(|one| alternatives(&one)).collect();
            }
            b'}' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    vec![pattern.to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_what_the_disk_would_find() {
        let names = ["/etc/a.conf", "/etc/b.conf", "/etc/d/c.conf", "/etc/d/.hidden.conf", "/etc/e/c.conf"];
        let memory = Memory { files: names.iter().map(|name| (PathBuf::from(name), Vec::new())).collect() };
        let found = |pattern: &str| -> Vec<String> {
            memory.glob(pattern.as_bytes()).unwrap().iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(found("/etc/*.conf"), ["/etc/a.conf", "/etc/b.conf"]);
        assert_eq!(found("/etc/[de]/*.conf"), ["/etc/d/c.conf", "/etc/e/c.conf"]);
        assert_eq!(found("/etc/{e/c,b,{a,x}}.conf"), ["/etc/e/c.conf", "/etc/b.conf", "/etc/a.conf"]);
        assert!(memory.glob(b"/nowhere/*").is_err());
    }
}
