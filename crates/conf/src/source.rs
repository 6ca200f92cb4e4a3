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

/// Files held in memory, for tests, fuzzing and texts that stand in the program. Patterns know `*` and `?` within the
/// last component alone.
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
        let text = String::from_utf8_lossy(pattern);
        let (folder, last) = text.rsplit_once('/').unwrap_or(("", &text));
        if !self.is_dir(Path::new(folder)) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let here = |path: &&PathBuf| path.parent() == Some(Path::new(folder));
        let hit = |path: &&PathBuf| {
            let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
            matches(last.as_bytes(), name.as_bytes())
        };
        Ok(self.files.keys().filter(here).filter(hit).cloned().collect())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file.parent().is_some_and(|folder| folder.starts_with(path)))
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', [b'*', ..])), _) => matches(&pattern[1..], name),
        (Some((b'*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, tail)| matches(pattern, tail))
        }
        (Some((b'?', rest)), Some((_, tail))) => matches(rest, tail),
        (Some((a, rest)), Some((b, tail))) if a == b => matches(rest, tail),
        _ => false,
    }
}
