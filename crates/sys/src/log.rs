//! The log sink: every line of the program, of packets and of Python, ends here.
//!
//! Lines have Unbound's form exactly, so that what people built to read its logs reads ours:
//! `[1700000000] runbound[1234:0] info: text`, the time as `log-time-ascii` or `log-time-iso` ask, the name as
//! `log-identity` says; to syslog without time and name (syslog adds both); or one JSON object a line.
//! It must never fail a caller: a line that cannot be written is lost, as in Unbound.
//!
//! **Who writes.** Until the workers run, and after they have ended, whoever has a line writes it, and it is out when the
//! call returns. In between ([`Logger::background`] to [`Logger::foreground`]) lines are put into a queue of at most
//! [`MAX_QUEUE`] octets and a thread of its own writes them: a reader that has stopped reading our pipe, or a disk that
//! hangs, must not stop packets. When the queue is full lines are lost, and a line says how many. Lines stand in the order
//! in which they were said, whole, each in the file that was open at that time. (The thread must not be there before
//! privileges are dropped: the system keeps part of them by thread.)

use crate::{clock, syslog};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Octets of lines that wait to be written: ten thousand lines, a few seconds of a slow disk under `log-queries`. What
/// waits longer is lost, not the memory of the machine.
pub const MAX_QUEUE: usize = 1 << 20;
/// How long the end of the program waits for its last lines to be written. Beyond it nobody reads them.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What kind of line it is; the word before the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `fatal error`: the program ends because of it.
    Fatal,
    /// `error`
    Error,
    /// `warning`
    Warning,
    /// `notice`
    Notice,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `query`: a line of `log-queries` when `log-tag-queryreply` is on.
    Query,
    /// `reply`: a line of `log-replies` when `log-tag-queryreply` is on.
    Reply,
}

impl Level {
    /// The word in the line.
    pub fn word(self) -> &'static str {
        match self {
            Level::Fatal => "fatal error",
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Query => "query",
            Level::Reply => "reply",
        }
    }

    fn priority(self) -> i32 {
        match self {
            Level::Fatal => libc::LOG_CRIT,
            Level::Error => libc::LOG_ERR,
            Level::Warning => libc::LOG_WARNING,
            Level::Notice => libc::LOG_NOTICE,
            Level::Info | Level::Query | Level::Reply => libc::LOG_INFO,
            Level::Debug => libc::LOG_DEBUG,
        }
    }
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Standard error (`logfile: ""`).
    #[default]
    Stderr,
    /// A file, appended to and made when missing (`logfile: path`).
    File(PathBuf),
    /// The system's logger, facility daemon (`use-syslog: yes`).
    Syslog,
}

/// How the time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// Seconds since 1970 in brackets: `[1700000000]`.
    #[default]
    Unix,
    /// `Nov 23 10:00:00` (`log-time-ascii`).
    Ascii,
    /// RFC 3339 with milliseconds: `2026-11-23T10:00:00.123+01:00` (`log-time-iso`; wins over ascii, as in Unbound).
    Iso,
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Unbound's.
    #[default]
    Text,
    /// One JSON object: `{"time":"…","level":"info","thread":0,"event":"…"}`.
    Json,
}

/// Everything that decides what a line looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `logfile`, `use-syslog`.
    pub target: Target,
    /// `log-time-ascii`, `log-time-iso`.
    pub time: TimeStyle,
    /// `log-identity`: the name before `[pid:thread]`.
    pub identity: String,
    /// Text or JSON.
    pub shape: Shape,
    /// `verbosity`: 0 errors only, 1 operational, 2 detailed, 3 per query, 4 algorithm, 5 client identification.
    pub verbosity: u8,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            target: Target::Stderr,
            time: TimeStyle::Unix,
            identity: "runbound".to_owned(),
            shape: Shape::Text,
            verbosity: 1,
        }
    }
}

/// An open target.
enum Out {
    Stderr,
    File(File),
    Syslog,
}

/// Lines for one target, in their order.
struct Batch {
    out: Arc<Out>,
    text: String,
    /// For syslog, which takes them one by one: the priority and the end of each.
    lines: Vec<(i32, usize)>,
}

struct Sink {
    options: Options,
    out: Arc<Out>,
    queue: VecDeque<Batch>,
    /// Octets in the queue and on their way.
    waiting: usize,
    /// Lines for which there was no room.
    lost: u64,
    /// The thread writes, not the caller.
    background: bool,
}

struct Shared {
    sink: Mutex<Sink>,
    /// There is something in the queue, or nothing will be any more.
    filled: Condvar,
    /// What was taken from the queue is written.
    written: Condvar,
}

/// The sink. Shared by all threads; a line takes a lock for as long as it is formatted, or written in the foreground.
pub struct Logger {
    shared: Arc<Shared>,
    verbosity: AtomicU8,
}

impl Logger {
    /// Opens the sink, in the foreground.
    ///
    /// # Errors
    /// When the file cannot be opened for appending; the path is in the error's text.
    pub fn open(options: Options) -> io::Result<Logger> {
        let out = Arc::new(Out::open(&options)?);
        let verbosity = AtomicU8::new(options.verbosity);
        let sink = Sink { options, out, queue: VecDeque::new(), waiting: 0, lost: 0, background: false };
        let shared = Shared { sink: Mutex::new(sink), filled: Condvar::new(), written: Condvar::new() };
        Ok(Logger { shared: Arc::new(shared), verbosity })
    }

    /// Replaces the options (a reload). On an error the old ones stay in force.
    ///
    /// # Errors
    /// As `open`.
    pub fn configure(&self, options: Options) -> io::Result<()> {
        let out = Arc::new(Out::open(&options)?);
        let mut sink = self.shared.lock();
        self.verbosity.store(options.verbosity, Ordering::Relaxed);
        sink.out = out;
        sink.options = options;
        Ok(())
    }

    /// Closes and opens the file again (after log rotation): lines said from now on go to the new one. The old file stays
    /// in use on an error.
    ///
    /// # Errors
    /// As `open`.
    pub fn reopen(&self) -> io::Result<()> {
        let mut sink = self.shared.lock();
        sink.out = Arc::new(Out::open(&sink.options)?);
        Ok(())
    }

    /// The verbosity in force.
    pub fn verbosity(&self) -> u8 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// From now on a thread writes; callers never wait for the target. Does nothing if one does already; should the
    /// system refuse a thread, callers go on writing themselves.
    pub fn background(&self) {
        let mut sink = self.shared.lock();
        if sink.background {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("runbound-log".to_owned());
        sink.background = thread.spawn(move || shared.write_on()).is_ok();
    }

    /// Waits until all lines said so far are written, then ends the thread: callers write themselves again. If the target
    /// takes nothing for a second, false: then everything stays as it is, so that the end of the program never hangs
    /// on its log.
    pub fn foreground(&self) -> bool {
        let deadline = Instant::now() + LAST_LINES;
        let mut sink = self.shared.lock();
        while sink.background && sink.waiting > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            sink = match self.shared.written.wait_timeout(sink, left) {
                Ok((sink, _)) => sink,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        sink.background = false;
        self.shared.filled.notify_all();
        true
    }

    /// Writes one line whatever the verbosity. `thread` is the worker's number; 0 for the control plane.
    /// Line ends and other control characters inside the text become spaces: one event is one line.
    pub fn line(&self, level: Level, thread: u32, text: &str) {
        let mut sink = self.shared.lock();
        sink.line(level, thread, text);
        if sink.background {
            self.shared.filled.notify_one();
        } else if let Some(batch) = sink.queue.pop_front() {
            batch.write();
            sink.waiting = 0;
        }
    }

    /// Writes a line if the verbosity reaches `at` (1 to 5); the text is made only then. As in Unbound the word is
    /// `notice` at 1, `info` at 2 and `debug` from 3 on.
    pub fn verbose(&self, at: u8, thread: u32, text: impl FnOnce() -> String) {
        if self.verbosity() >= at {
            let level = match at {
                0 | 1 => Level::Notice,
                2 => Level::Info,
                _ => Level::Debug,
            };
            self.line(level, thread, &text());
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.foreground();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The thread: writes what is queued, without the lock, until it is told to end.
    fn write_on(&self) {
        let mut sink = self.lock();
        loop {
            if let Some(batch) = sink.queue.pop_front() {
                drop(sink);
                batch.write();
                sink = self.lock();
                sink.waiting = sink.waiting.saturating_sub(batch.text.len());
                if sink.queue.is_empty() {
                    sink.own_up();
                }
                self.written.notify_all();
            } else if sink.background {
                sink = self.filled.wait(sink).unwrap_or_else(|poisoned| poisoned.into_inner());
            } else {
                return;
            }
        }
    }
}

impl Sink {
    fn line(&mut self, level: Level, thread: u32, text: &str) {
        if self.waiting < MAX_QUEUE {
            self.own_up();
            self.push(level, thread, text);
        } else {
            self.lost += 1;
        }
    }

    /// Says how many lines were lost.
    fn own_up(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let text = format!("{lost} log lines were lost: the log was written more slowly than lines came");
            self.push(Level::Warning, 0, &text);
        }
    }

    fn push(&mut self, level: Level, thread: u32, text: &str) {
        if self.queue.back().is_none_or(|last| !Arc::ptr_eq(&last.out, &self.out)) {
            let out = Arc::clone(&self.out);
            self.queue.push_back(Batch { out, text: String::with_capacity(256), lines: Vec::new() });
        }
        let Some(batch) = self.queue.back_mut() else { return };
        let now = clock::unix();
        let begin = batch.text.len();
        format_line(&mut batch.text, &self.options, level, thread, text, now.as_secs() as i64, now.subsec_millis());
        match *batch.out {
            Out::Syslog => batch.lines.push((level.priority(), batch.text.len())),
            Out::Stderr | Out::File(_) => batch.text.push('\n'),
        }
        self.waiting += batch.text.len() - begin;
    }
}

impl Batch {
    /// What cannot be written is lost: a full disk must not stop anything.
    fn write(&self) {
        let _ = match &*self.out {
            Out::Stderr => io::stderr().write_all(self.text.as_bytes()),
            Out::File(file) => (&*file).write_all(self.text.as_bytes()),
            Out::Syslog => {
                let mut begin = 0;
                for &(priority, end) in &self.lines {
                    syslog::send(priority, &self.text[begin..end]);
                    begin = end;
                }
                Ok(())
            }
        };
    }
}

impl Out {
    fn open(options: &Options) -> io::Result<Out> {
        match &options.target {
            Target::Stderr => Ok(Out::Stderr),
            Target::Syslog => {
                syslog::open(&options.identity);
                Ok(Out::Syslog)
            }
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path)
                .map(Out::File)
                .map_err(|e| io::Error::new(e.kind(), format!("cannot open log file {}: {e}", path.display()))),
        }
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn iso(out: &mut String, seconds: i64, millis: u32) {
    let t = clock::local_time(seconds);
    let east = t.offset.abs() / 60;
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}{}{:02}:{:02}",
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second,
        if t.offset < 0 { '-' } else { '+' },
        east / 60,
        east % 60
    );
}

fn format_line(out: &mut String, o: &Options, level: Level, thread: u32, text: &str, seconds: i64, millis: u32) {
    let pid = std::process::id();
    if o.shape == Shape::Json {
        out.push_str("{\"time\":\"");
        iso(out, seconds, millis);
        let _ = write!(out, "\",\"level\":\"{}\",\"thread\":{thread},\"event\":\"", level.word());
        json_text(out, text);
        out.push_str("\"}");
        return;
    }
    if o.target != Target::Syslog {
        match o.time {
            TimeStyle::Iso => iso(out, seconds, millis),
            TimeStyle::Ascii => {
                let t = clock::local_time(seconds);
                let month = MONTHS.get(usize::from(t.month).wrapping_sub(1)).unwrap_or(&"???");
                let _ = write!(out, "{month} {:02} {:02}:{:02}:{:02}", t.day, t.hour, t.minute, t.second);
            }
            TimeStyle::Unix => {
                let _ = write!(out, "[{seconds}]");
            }
        }
        out.push(' ');
        out.push_str(&o.identity);
    }
    let _ = write!(out, "[{pid}:{thread:x}] {}: ", level.word());
    out.extend(text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
}

fn json_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(o: &Options, text: &str) -> String {
        let mut out = String::new();
        format_line(&mut out, o, Level::Info, 10, text, 1_700_000_000, 7);
        out
    }

    #[test]
    fn the_forms_are_unbounds() {
        let pid = std::process::id();
        let mut o = Options::default();
        assert_eq!(text(&o, "start"), format!("[1700000000] runbound[{pid}:a] info: start"));
        o.identity = "dns".into();
        o.time = TimeStyle::Ascii;
        let line = text(&o, "x");
        assert!(line.starts_with("Nov 1"), "{line}");
        assert_eq!(&line[15..], format!(" dns[{pid}:a] info: x"));
        o.time = TimeStyle::Iso;
        let line = text(&o, "x");
        assert_eq!(&line[10..11], "T", "{line}");
        assert_eq!(&line[19..23], ".007", "{line}");
        assert_eq!(&line[29..], format!(" dns[{pid}:a] info: x"));
        o.target = Target::Syslog;
        assert_eq!(text(&o, "x"), format!("[{pid}:a] info: x"));
    }

    #[test]
    fn json_escapes_and_one_event_is_one_line() {
        let o = Options { shape: Shape::Json, ..Options::default() };
        let line = text(&o, "a\"b\\c\nd");
        assert!(line.ends_with("\"level\":\"info\",\"thread\":10,\"event\":\"a\\\"b\\\\c\\u000ad\"}"), "{line}");
        assert!(text(&Options::default(), "a\nb").ends_with("info: a b"));
    }

    #[test]
    fn a_file_is_appended_to_and_reopened() {
        let dir = std::env::temp_dir().join(format!("runbound-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log");
        let logger = Logger::open(Options { target: Target::File(path.clone()), ..Options::default() }).unwrap();
        logger.line(Level::Error, 0, "one");
        std::fs::rename(&path, dir.join("log.1")).unwrap();
        logger.line(Level::Error, 0, "two");
        logger.reopen().unwrap();
        logger.line(Level::Error, 0, "three");
        let old = std::fs::read_to_string(dir.join("log.1")).unwrap();
        assert_eq!(old.lines().count(), 2);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("error: three\n"));
        assert!(
            logger.configure(Options { target: Target::File(dir.join("no/such/dir")), ..Options::default() }).is_err()
        );
        logger.line(Level::Error, 0, "four");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("error: four\n"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_reader_that_stops_stops_nobody_and_what_is_lost_is_told() {
        let dir = std::env::temp_dir().join(format!("runbound-stalled-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("fifo");
        let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        // Open for both, so that opening waits for nobody; nobody reads yet.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let logger = Logger::open(Options { target: Target::File(path.clone()), ..Options::default() }).unwrap();
        logger.background();
        let text = "x".repeat(1_000);
        let said = 3 * MAX_QUEUE / 1_000;
        for n in 0..said {
            logger.line(Level::Info, 1, &format!("{n} {text}"));
        }
        assert!(!logger.foreground(), "nothing is read, and still it does not wait for ever");
        let seen = std::thread::scope(|scope| {
            let lines = scope.spawn(|| {
                let mut seen = Vec::new();
                let mut lines = io::BufRead::lines(io::BufReader::new(&mut reader));
                loop {
                    let line = lines.next().unwrap().unwrap();
                    if line.ends_with("the end") {
                        return seen;
                    }
                    seen.push(line);
                }
            });
            while !logger.foreground() {}
            logger.line(Level::Info, 1, "the end");
            lines.join().unwrap()
        });
        let (told, lines): (Vec<_>, Vec<_>) = seen.into_iter().partition(|line| line.contains("log lines were lost"));
        let numbers: Vec<usize> = lines.iter().map(|line| line.split(' ').nth(3).unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice");
        assert!(lines.iter().all(|line| line.ends_with(&text)), "none cut");
        let lost: usize = told
            .iter()
            .map(|line| line.split("warning: ").nth(1).unwrap().split(' ').next().unwrap())
            .map(|n| n.parse::<usize>().unwrap())
            .sum();
        assert_eq!(numbers.len() + lost, said);
        assert!(lost > 0);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn in_the_background_lines_of_threads_stay_whole_and_none_is_lost_at_the_end() {
        let dir = std::env::temp_dir().join(format!("runbound-background-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log");
        let logger = Logger::open(Options { target: Target::File(path.clone()), ..Options::default() }).unwrap();
        logger.line(Level::Info, 0, "before");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("info: before\n"), "out when the call returns");
        logger.background();
        logger.background();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let logger = &logger;
                scope.spawn(move || (0..500).for_each(|n| logger.line(Level::Info, thread, &format!("line {n} end"))));
            }
        });
        std::fs::rename(&path, dir.join("log.1")).unwrap();
        logger.reopen().unwrap();
        logger.line(Level::Info, 0, "after");
        drop(logger);
        let old = std::fs::read_to_string(dir.join("log.1")).unwrap();
        for thread in 0..4 {
            let own = format!(":{thread}] info: line ");
            let ends: Vec<_> = old.lines().filter_map(|line| line.split_once(&own)).map(|(_, rest)| rest).collect();
            let said: Vec<String> = (0..500).map(|n| format!("{n} end")).collect();
            assert_eq!(ends, said);
        }
        assert_eq!(old.lines().count(), 2_001);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("info: after\n"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn verbosity_decides() {
        let logger = Logger::open(Options::default()).unwrap();
        logger.verbose(2, 0, || panic!("not made at verbosity 1"));
        logger.configure(Options { verbosity: 3, ..Options::default() }).unwrap();
        assert_eq!(logger.verbosity(), 3);
    }
}
