//! The query log as a file of JSON lines (`query-log-file`), written by a thread of its own.
//!
//! Owns the file. What comes faster than it can be written waits, up to [`QUEUE`] chunks, and is lost beyond that, and
//! counted: a disk that hangs stops neither packets nor the ring. It appends, is opened anew after a rotation, and forgets
//! whoever asks for it by writing the file once more without them. It must never touch another file: what was rotated away
//! belongs to whoever rotated it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sys::log::{Level, Logger};

use super::ring::Chunk;
use super::show::{self, Who};
use crate::Failure;

/// Chunks that wait to be written: 16 MiB, a quarter of a million entries.
const QUEUE: usize = 256;
/// How long the end of the program waits for the last lines, in which a disk that works writes all of them.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Who may read it: it tells who asked what.
const MODE: u32 = 0o640;

enum Job {
    Write(Chunk),
    Reopen,
    /// Forget these, or all; how many lines that were is told.
    Erase(Option<Who>, Sender<io::Result<u64>>),
}

/// Figures of the file, for statistics.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) lines: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// The file and its thread. Dropping it writes what waits, for a second at most.
pub(super) struct Sink {
    path: PathBuf,
    jobs: Option<SyncSender<Job>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    figures: Arc<Figures>,
}

/// Opens a file to append to.
///
/// # Errors
/// It cannot be opened; the path is in the text.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().append(true).read(true).create(true).mode(MODE).open(path).map_err(|e| {
        Failure::new(format!("query-log-file: {}: {e}", path.display()))
            .advise("the folder must exist, and the user runbound runs as must be allowed to write there")
    })
}

impl Sink {
    /// Starts to write to an open file.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(path: PathBuf, file: File, figures: Arc<Figures>, log: Arc<Logger>) -> io::Result<Sink> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (end, ended) = channel();
        let mut writer = Writer { path: path.clone(), file, figures: Arc::clone(&figures), log, failing: false };
        let run = move || {
            for job in queue {
                writer.act(job);
            }
            drop(end);
        };
        let thread = Some(std::thread::Builder::new().name("runbound-qlog".to_owned()).spawn(run)?);
        Ok(Sink { path, jobs: Some(jobs), ended, thread, figures })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has entries written; they are lost if too many wait.
    pub(super) fn write(&self, chunk: Chunk) {
        let full = match self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Write(chunk))) {
            Some(Err(TrySendError::Full(Job::Write(chunk)) | TrySendError::Disconnected(Job::Write(chunk)))) => chunk,
            _ => return,
        };
        self.figures.lost.fetch_add(full.count, Ordering::Relaxed);
    }

    /// Has the file opened anew, once what was said before is in the old one.
    pub(super) fn reopen(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Job::Reopen); // with a full queue the disk hangs: there is nothing to rotate
        }
    }

    /// Has lines forgotten; what comes of it is told later, or nothing if the writer hangs. `None` forgets all.
    pub(super) fn erase(&self, who: Option<Who>) -> Receiver<io::Result<u64>> {
        let (tell, told) = channel();
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Job::Erase(who, tell)); // whoever asks holds a lock
        }
        told
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // The channel carries nothing: it ends with the thread.
        if self.ended.recv_timeout(LAST_LINES) != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    figures: Arc<Figures>,
    log: Arc<Logger>,
    /// The last attempt failed, and that was said.
    failing: bool,
}

impl Writer {
    fn act(&mut self, job: Job) {
        match job {
            Job::Write(chunk) => {
                let mut text = String::with_capacity(chunk.octets.len() * 4);
                for (number, entry) in chunk.entries() {
                    show::entry(&mut text, number, &entry);
                    text.push('\n');
                }
                match self.file.write_all(text.as_bytes()) {
                    Ok(()) => {
                        self.figures.lines.fetch_add(chunk.count, Ordering::Relaxed);
                        self.failing = false;
                    }
                    Err(error) => {
                        self.figures.lost.fetch_add(chunk.count, Ordering::Relaxed);
                        self.complain(&error);
                    }
                }
            }
            Job::Reopen => match open(&self.path) {
                Ok(file) => self.file = file,
                Err(error) => self.log.line(Level::Error, 0, &format!("{error}; the old file stays in use")),
            },
            Job::Erase(who, tell) => {
                let done = match who {
                    None => self.empty(),
                    Some(who) => self.without(&who),
                };
                let _ = tell.send(done);
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let text =
                format!("query-log-file: {}: {error}; entries are lost until it can be written", self.path.display());
            self.log.line(Level::Error, 0, &Failure::new(text).to_string());
        }
    }

    fn lines(&self) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(self.file.try_clone()?).split(b'\n'))
    }

    /// Forgets all.
    fn empty(&mut self) -> io::Result<u64> {
        let mut count = 0;
        for line in self.lines()? {
            line?;
            count += 1;
        }
        self.file.set_len(0)?;
        self.file.sync_all()?;
        Ok(count)
    }

    /// Writes the file once more without somebody's lines, and puts it in the place of the old one.
    fn without(&mut self, who: &Who) -> io::Result<u64> {
        let mut name = self.path.clone().into_os_string();
        name.push(".erasing");
        let beside = PathBuf::from(name);
        let done = self.copy_without(who, &beside);
        match &done {
            Ok(None) | Err(_) => drop(fs::remove_file(&beside)),
            Ok(Some(_)) => {}
        }
        done.map(|gone| gone.unwrap_or(0))
    }

    /// How many lines were left out; `None` if none was and nothing is replaced.
    fn copy_without(&mut self, who: &Who, beside: &Path) -> io::Result<Option<u64>> {
        let _ = fs::remove_file(beside);
        let mode = self.file.metadata()?.mode() & 0o777;
        let new = OpenOptions::new().append(true).read(true).create_new(true).mode(mode).open(beside)?;
        let mut out = BufWriter::new(&new);
        let mut gone = 0;
        for line in self.lines()? {
            let line = line?;
            let client = std::str::from_utf8(&line).ok().and_then(show::client_of);
            if client.is_some_and(|client| who.is(&client)) {
                gone += 1;
            } else {
                out.write_all(&line)?;
                out.write_all(b"\n")?;
            }
        }
        out.flush()?;
        drop(out);
        if gone == 0 {
            return Ok(None);
        }
        new.sync_all()?;
        if !self.same_file()? {
            // Rotated and not reopened yet: the lines stand in a file that has another name now.
            let text = format!("{} was moved away; have it opened anew (SIGUSR1) first", self.path.display());
            return Err(io::Error::other(text));
        }
        fs::rename(beside, &self.path)?;
        self.file = new;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(Some(gone))
    }

    /// Whether the file under the name is the one written to.
    fn same_file(&self) -> io::Result<bool> {
        let (ours, named) = (self.file.metadata()?, fs::metadata(&self.path)?);
        Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
    }
}
