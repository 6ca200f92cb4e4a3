//! The log sink: every line of the program, of packets and of Python, ends here.
//!
//! Lines have Unbound's form exactly, so that what people built to read its logs reads ours:
//! `[1700000000] runbound[1234:0] info: text`, the time as `log-time-ascii` or `log-time-iso` ask, the name as
//! `log-identity` says; to syslog without time and name (syslog adds both); or one JSON object a line.
//! A line is one `write(2)`, so lines of several threads never mix. It must never fail a caller: a line that cannot be
//! written is lost, as in Unbound.

use crate::{clock, syslog};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

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

struct Sink {
    options: Options,
    file: Option<File>,
    line: String,
}

/// The sink. Shared by all threads; a line takes a lock for the length of one write.
pub struct Logger {
    sink: Mutex<Sink>,
    verbosity: AtomicU8,
}

impl Logger {
    /// Opens the sink.
    ///
    /// # Errors
    /// When the file cannot be opened for appending; the path is in the error's text.
    pub fn open(options: Options) -> io::Result<Logger> {
        let file = open_target(&options)?;
        let verbosity = AtomicU8::new(options.verbosity);
        Ok(Logger { sink: Mutex::new(Sink { options, file, line: String::with_capacity(256) }), verbosity })
    }

    /// Replaces the options (a reload). On an error the old ones stay in force.
    ///
    /// # Errors
    /// As `open`.
    pub fn configure(&self, options: Options) -> io::Result<()> {
        let file = open_target(&options)?;
        let mut sink = self.lock();
        self.verbosity.store(options.verbosity, Ordering::Relaxed);
        sink.file = file;
        sink.options = options;
        Ok(())
    }

    /// Closes and opens the file again (after log rotation). The old file stays in use on an error.
    ///
    /// # Errors
    /// As `open`.
    pub fn reopen(&self) -> io::Result<()> {
        let mut sink = self.lock();
        let file = open_target(&sink.options)?;
        sink.file = file;
        Ok(())
    }

    /// The verbosity in force.
    pub fn verbosity(&self) -> u8 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// Writes one line whatever the verbosity. `thread` is the worker's number; 0 for the control plane.
    /// Line ends and other control characters inside the text become spaces: one event is one line.
    pub fn line(&self, level: Level, thread: u32, text: &str) {
        let now = clock::unix();
        let mut guard = self.lock();
        let sink = &mut *guard;
        sink.line.clear();
        format_line(&mut sink.line, &sink.options, level, thread, text, now.as_secs() as i64, now.subsec_millis());
        match (&sink.options.target, &mut sink.file) {
            (Target::Syslog, _) => syslog::send(level.priority(), &sink.line),
            (_, Some(file)) => {
                sink.line.push('\n');
                let _ = file.write_all(sink.line.as_bytes()); // a full disk must not stop packets
            }
            (_, None) => {
                sink.line.push('\n');
                let _ = io::stderr().write_all(sink.line.as_bytes());
            }
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn open_target(options: &Options) -> io::Result<Option<File>> {
    match &options.target {
        Target::Stderr => Ok(None),
        Target::Syslog => {
            syslog::open(&options.identity);
            Ok(None)
        }
        Target::File(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .map(Some)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot open log file {}: {e}", path.display()))),
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
    fn verbosity_decides() {
        let logger = Logger::open(Options::default()).unwrap();
        logger.verbose(2, 0, || panic!("not made at verbosity 1"));
        logger.configure(Options { verbosity: 3, ..Options::default() }).unwrap();
        assert_eq!(logger.verbosity(), 3);
    }
}
