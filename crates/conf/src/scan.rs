//! From words to statements: clauses, values, includes, and all that is wrong with them.
//!
//! Owns the structure of the language and its diagnostics. Where Unbound stops at the first misplaced keyword, this goes
//! on, so that one run tells everything; where one typing slip gives Unbound three messages, it gives one here. Must
//! never judge values and never hold a file open.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::keywords::{BULK, Keyword, keywords};
use crate::lex::{Kind, Lexer, Mood, Token};
use crate::source::{Disk, Source};
use crate::suggest::nearest;

/// Includes nested deeper than this are an error. Unbound ends where its file descriptors do (about a thousand); loops
/// are told apart and named before this is met.
pub const MAX_DEPTH: usize = 1000;

/// Files read in one scan, the same file counted as often as it is included; stops files that include each other's
/// neighbours over and over. Unbound's own limit is 100,000 levels.
pub const MAX_FILES: usize = 100_000;

/// Messages kept of one scan; a binary file would give one for every other octet. The number left out is told.
pub const MAX_MESSAGES: usize = 1000;

/// Octets of all files of a scan together, a file as often as it is included: 2 GiB. What includes could multiply
/// stays within memory; a configuration of forty million `local-zone` lines fits.
pub const MAX_OCTETS: u64 = 2 << 30;

/// Octets of a word shown in a message.
const MAX_SHOWN: usize = 60;

/// A place: file by its number in [`Scan::files`], line and column from 1, column in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct At {
    /// Number of the file.
    pub file: u32,
    /// Line, as Unbound counts: CR and LF one each.
    pub line: u32,
    /// Column in octets.
    pub column: u32,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, but something in it is hardly meant.
    Warning,
}

impl Severity {
    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something to tell about the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// Where it starts.
    pub at: At,
    /// How many octets of the line it is about.
    pub length: u32,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name as the configuration wrote it.
    pub name: PathBuf,
    /// Its absolute path; empty for a text that stands in no file.
    pub path: PathBuf,
    text: Arc<Vec<u8>>,
    /// Offset of each line; kept while reading only for files with a CR, where lines are not simply what LF separates.
    lines: Option<Vec<u32>>,
    /// The same for other files, made when the first line is asked for: most files are never asked.
    index: OnceLock<Vec<u32>>,
}

impl File {
    /// The whole text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// An opened clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// Its keyword.
    pub keyword: &'static str,
    /// Where it was opened.
    pub at: At,
}

/// One value, as a range of its file, quotes taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Value {
    /// Where it starts, its quote included.
    pub at: At,
    start: u32,
    end: u32,
}

/// An option with its values.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Number of the clause opening in [`Scan::clauses`].
    pub clause: u32,
    /// The option's name.
    pub keyword: &'static str,
    /// Where the keyword stands.
    pub at: At,
    values: [Value; 3],
    count: u8,
}

impl Statement {
    /// Its values, one to three.
    pub fn values(&self) -> &[Value] {
        self.values.get(..usize::from(self.count)).unwrap_or(&[])
    }
}

/// Which kind of bulk statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkKind {
    /// `local-zone: name type`
    LocalZone,
    /// `local-data: "record"`
    LocalData,
    /// `local-data-ptr: "address name"`
    LocalDataPtr,
}

impl BulkKind {
    /// The option's name.
    pub fn as_str(self) -> &'static str {
        let [zone, data, ptr] = BULK;
        match self {
            BulkKind::LocalZone => zone,
            BulkKind::LocalData => data,
            BulkKind::LocalDataPtr => ptr,
        }
    }

    fn of(name: &str) -> Option<BulkKind> {
        let all = [BulkKind::LocalZone, BulkKind::LocalData, BulkKind::LocalDataPtr];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A `local-zone`, `local-data` or `local-data-ptr` of `server:`. Thirty-two octets each.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    /// Which option.
    pub kind: BulkKind,
    /// The values were not all in the keyword's own file (an include between), so they were copied to `Scan::aside`.
    aside: bool,
    /// Where the keyword stands.
    pub at: At,
    first: (u32, u32),
    second: (u32, u32),
}

/// A configuration, scanned.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The files read, the main one first, a file again for every time it was included.
    pub files: Vec<File>,
    /// The statements in the order they were read, without the bulk.
    pub statements: Vec<Statement>,
    /// The clause openings in that order.
    pub clauses: Vec<Clause>,
    /// The bulk statements in that order.
    pub bulk: Vec<Bulk>,
    /// What is wrong, in that order.
    pub messages: Vec<Message>,
    aside: Vec<u8>,
}

impl Scan {
    /// The octets of a value: backslashes stay, quotes are gone.
    pub fn value(&self, value: &Value) -> &[u8] {
        self.text(value.at.file, value.start, value.end)
    }

    /// The values of a bulk statement; the second is empty for options that take one.
    pub fn bulk_values(&self, bulk: &Bulk) -> [&[u8]; 2] {
        [bulk.first, bulk.second].map(|(start, end)| {
            if bulk.aside {
                self.aside.get(start as usize..end as usize).unwrap_or(&[])
            } else {
                self.text(bulk.at.file, start, end)
            }
        })
    }

    /// The text of a line without its end; empty if there is no such line.
    pub fn line(&self, file: u32, line: u32) -> &[u8] {
        let Some(file) = self.files.get(file as usize) else {
            return &[];
        };
        let starts = file.lines.as_ref().unwrap_or_else(|| {
            file.index.get_or_init(|| {
                let ends = file.text.iter().zip(1u32..).filter(|(octet, _)| **octet == b'\n');
                std::iter::once(0).chain(ends.map(|(_, behind)| behind)).collect()
            })
        });
        let number = line.saturating_sub(1) as usize;
        let Some(start) = starts.get(number) else {
            return &[];
        };
        // A word may hold a CR behind a backslash, so the line ends where the next one starts and not sooner.
        let end = starts.get(number + 1).map_or(file.text.len(), |next| *next as usize);
        let line = file.text.get(*start as usize..end).unwrap_or(&[]);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// The clause a statement stands in.
    pub fn clause(&self, statement: &Statement) -> &'static str {
        self.clauses.get(statement.clause as usize).map_or("", |clause| clause.keyword)
    }

    /// Whether any message is an error.
    pub fn has_errors(&self) -> bool {
        self.messages.iter().any(|m| m.severity == Severity::Error)
    }

    fn rest_of_line(&self, file: u32, start: u32) -> &[u8] {
        let rest = self.files.get(file as usize).and_then(|f| f.text.get(start as usize..));
        let rest = rest.unwrap_or(&[]);
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or(&[])
    }

    fn text(&self, file: u32, start: u32, end: u32) -> &[u8] {
        let file = self.files.get(file as usize);
        file.and_then(|f| f.text.get(start as usize..end as usize)).unwrap_or(&[])
    }
}

/// Scans a configuration file. Relative includes go by `cwd`, and by `directory:` once that was read.
///
/// # Errors
/// Only if the main file itself cannot be read; everything else is a message of the scan.
pub fn scan(main: &Path, cwd: &Path) -> io::Result<Scan> {
    scan_in(&Disk, main, cwd)
}

/// [`scan`] with the files taken from somewhere else.
///
/// # Errors
/// Only if the main file itself cannot be read.
pub fn scan_in(source: &dyn Source, main: &Path, cwd: &Path) -> io::Result<Scan> {
    let path = clean(&cwd.join(main));
    let text = source.read(&path)?;
    Ok(read(source, main, path, text, cwd))
}

/// Scans a text that stands in no file; `name` is what messages call it. Includes are followed.
pub fn scan_text(text: Vec<u8>, name: &str, cwd: &Path) -> Scan {
    read(&Disk, Path::new(name), PathBuf::new(), text, cwd)
}

/// The path without `.` components, so that a loop of includes is seen when it closes.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

fn read(source: &dyn Source, name: &Path, path: PathBuf, text: Vec<u8>, cwd: &Path) -> Scan {
    let mut reader = Reader {
        source,
        cwd: cwd.to_owned(),
        out: Scan::default(),
        stack: Vec::new(),
        mood: Mood::Keyword,
        before: Mood::Keyword,
        include: None,
        clause: Open::Nothing,
        pending: None,
        last: None,
        quiet: None,
        left_out: 0,
        failed: false,
        octets: 0,
    };
    reader.open(name.to_owned(), path, text, false);
    reader.run();
    reader.out
}

/// What is being read: a text, or the files of an include not opened yet.
enum Frame {
    Text { file: u32, path: PathBuf, text: Arc<Vec<u8>>, lexer: Lexer, toplevel: bool },
    Files { files: std::vec::IntoIter<(PathBuf, PathBuf)>, toplevel: bool, token: Token, file: u32 },
}

/// The open clause.
#[derive(Clone, Copy)]
enum Open {
    /// None was opened yet.
    Nothing,
    /// An include-toplevel closed it.
    Closed,
    /// One that nobody knows: its options are not judged.
    Unknown,
    /// This one, by its number and its position among the clauses.
    Clause { number: u32, position: u8 },
}

/// An option still waiting for values.
struct Pending {
    keyword: Keyword,
    at: At,
    values: [Value; 3],
    count: u8,
}

struct Reader<'a> {
    source: &'a dyn Source,
    cwd: PathBuf,
    out: Scan,
    stack: Vec<Frame>,
    mood: Mood,
    /// The mood to go back to behind an include's name.
    before: Mood,
    /// The include whose name is expected.
    include: Option<(bool, Token)>,
    clause: Open,
    pending: Option<Pending>,
    /// The last complete statement: its name, and the file and line its last value ended on.
    last: Option<(&'static str, u32, u32)>,
    /// After an error: leftovers up to this line of this file are its consequence and not told.
    quiet: Option<(u32, u32)>,
    left_out: usize,
    /// An error is among the messages.
    failed: bool,
    /// Octets read so far, of [`MAX_OCTETS`].
    octets: u64,
}

impl Reader<'_> {
    fn run(&mut self) {
        while let Some(frame) = self.stack.last_mut() {
            match frame {
                Frame::Text { file, text, lexer, toplevel, .. } => {
                    let (file, toplevel) = (*file, *toplevel);
                    match lexer.next(text, self.mood) {
                        Some(token) => self.token(file, token),
                        None => self.end(file, toplevel),
                    }
                }
                Frame::Files { files, toplevel, token, file } => {
                    let (toplevel, token, file) = (*toplevel, *token, *file);
                    match files.next() {
                        Some((name, path)) => self.open_include(file, token, name, path, toplevel),
                        None => {
                            self.stack.pop();
                        }
                    }
                }
            }
        }
        if let Some(pending) = self.pending.take() {
            let (name, at) = (pending.keyword.name, pending.at);
            self.error(at, name.len() + 1, format!("{name}: has no value, the file ends here"), None);
        }
        if self.left_out > 0 {
            let (at, text) = (At::default(), format!("{} more messages are not shown", self.left_out));
            self.out.messages.push(Message { severity: Severity::Warning, at, length: 0, text, hint: None });
        }
    }

    fn open(&mut self, name: PathBuf, path: PathBuf, text: Vec<u8>, toplevel: bool) {
        let file = u32::try_from(self.out.files.len()).unwrap_or(u32::MAX);
        self.octets += text.len() as u64;
        let text = Arc::new(text);
        let lines = text.contains(&b'\r').then(|| vec![0]);
        let opened = File { name, path: path.clone(), text: Arc::clone(&text), lines, index: OnceLock::new() };
        self.out.files.push(opened);
        self.stack.push(Frame::Text { file, path, text, lexer: Lexer::default(), toplevel });
    }

    fn end(&mut self, file: u32, toplevel: bool) {
        if let Some((_, token)) = self.include.take() {
            self.error_at(file, token, "include: has no file name, the file ends here".to_owned(), None);
            self.mood = self.before;
        }
        if toplevel {
            self.close(file);
        }
        self.stack.pop();
    }

    fn token(&mut self, file: u32, token: Token) {
        match token.kind {
            Kind::Blank | Kind::Comment => {}
            Kind::LineEnd => {
                if let Some(lines) = self.out.files.get_mut(file as usize).and_then(|f| f.lines.as_mut()) {
                    lines.push(token.end);
                }
            }
            Kind::Mark => {
                let text = "the file starts with a byte order mark, which Unbound takes for part of the first word";
                self.error_at(
                    file,
                    token,
                    text.to_owned(),
                    Some("save it as UTF-8 without a byte order mark".to_owned()),
                );
            }
            Kind::Keyword(keyword) => self.keyword(file, token, keyword),
            Kind::Include(toplevel) => {
                self.include = Some((toplevel, token));
                (self.mood, self.before) = (Mood::Include, self.mood);
            }
            Kind::Unknown => self.unknown(file, token),
            Kind::Stray => self.stray(file, token),
            Kind::Unclosed => self.unclosed(file, token),
            Kind::Word | Kind::Quoted => match self.include.take() {
                Some((toplevel, at)) => self.included(file, toplevel, at, token),
                None => self.value(file, token),
            },
        }
    }

    fn keyword(&mut self, file: u32, token: Token, keyword: Keyword) {
        self.quiet = None;
        if let Some(position) = keyword.opens {
            self.opened(file, token, keyword.name, position);
            return;
        }
        self.misplaced(file, token, &keyword);
        let at = at(file, token);
        self.pending = Some(Pending { keyword, at, values: [Value::default(); 3], count: 0 });
        self.mood = Mood::Value;
    }

    fn opened(&mut self, file: u32, token: Token, keyword: &'static str, position: u8) {
        let number = u32::try_from(self.out.clauses.len()).unwrap_or(u32::MAX);
        self.out.clauses.push(Clause { keyword, at: at(file, token) });
        self.clause = Open::Clause { number, position };
        self.last = None;
    }

    /// Tells if this option may not stand here.
    fn misplaced(&mut self, file: u32, token: Token, keyword: &Keyword) {
        let homes: Vec<String> = keywords().homes(keyword).iter().map(|home| format!("{home}:")).collect();
        let homes = homes.join(" or ");
        let name = keyword.name;
        let (text, hint) = match self.clause {
            Open::Unknown => return,
            Open::Clause { position, .. } if keyword.clauses & (1 << position) != 0 => return,
            Open::Clause { number, position } => {
                let clause = keywords().clauses().get(usize::from(position)).copied().unwrap_or("");
                let opened = self.out.clauses.get(number as usize).map_or(0, |c| c.at.line);
                let since = format!("{clause}: has been open since line {opened}, whatever the indentation");
                (format!("{name}: does not belong in {clause}:"), format!("it belongs in {homes}; {since}"))
            }
            Open::Nothing => (format!("{name}: stands before any clause"), format!("write {homes} above it")),
            Open::Closed => {
                let text = format!("{name}: stands in no clause, include-toplevel: closes the one that was open");
                (text, format!("write {homes} above it"))
            }
        };
        self.error_at(file, token, text, Some(hint));
    }

    fn value(&mut self, file: u32, token: Token) {
        let Some(mut pending) = self.pending.take() else {
            return;
        };
        let trim = u32::from(token.kind == Kind::Quoted);
        let mut value = Value { at: at(file, token), start: token.start + trim, end: token.end - trim };
        let octets = self.out.text(file, value.start, value.end);
        let nul = octets.iter().position(|b| *b == 0);
        let name = pending.keyword.name;
        let swallowed =
            token.kind == Kind::Word && is_keyword(octets) && (file, token.line) != (pending.at.file, pending.at.line);
        if swallowed {
            let word = shown(octets);
            let text = format!("{name}: takes {word} from this line as its value");
            let hint = format!("give {name}: a value on line {}, or an empty one: \"\"", pending.at.line);
            self.tell(Severity::Warning, at(file, token), token.end - token.start, text, Some(hint));
        }
        if let Some(nul) = nul {
            value.end = value.start + u32::try_from(nul).unwrap_or(0);
            let text = format!("the value of {name}: ends at a NUL octet");
            self.tell(Severity::Warning, at(file, token), token.end - token.start, text, None);
        }
        if let Some(slot) = pending.values.get_mut(usize::from(pending.count)) {
            *slot = value;
        }
        pending.count += 1;
        if pending.count < pending.keyword.arity {
            self.pending = Some(pending);
            return;
        }
        self.mood = Mood::Keyword;
        self.last = Some((name, file, token.line));
        self.complete(&pending);
    }

    fn complete(&mut self, pending: &Pending) {
        let Open::Clause { number, position } = self.clause else {
            return;
        };
        if pending.keyword.clauses & (1 << position) == 0 {
            return;
        }
        let [first, second, _] = pending.values;
        let server = keywords().clauses().get(usize::from(position)) == Some(&"server");
        let kind = if server { BulkKind::of(pending.keyword.name) } else { None };
        if let Some(kind) = kind {
            let (mut one, mut two) = ((first.start, first.end), (second.start, second.end));
            let together = first.at.file == pending.at.file && (pending.count < 2 || second.at.file == pending.at.file);
            if !together {
                one = self.put_aside(first);
                two = self.put_aside(second);
            }
            self.out.bulk.push(Bulk { kind, aside: !together, at: pending.at, first: one, second: two });
            return;
        }
        if server && pending.keyword.name == "directory" {
            let name = self.out.value(&first);
            let folder = clean(&self.cwd.join(Path::new(std::ffi::OsStr::from_bytes(name))));
            // Unbound changes there at once and stays where it is if that fails; whether the folder exists is a later check.
            if !name.is_empty() && self.source.is_dir(&folder) {
                self.cwd = folder;
            }
        }
        self.out.statements.push(Statement {
            clause: number,
            keyword: pending.keyword.name,
            at: pending.at,
            values: pending.values,
            count: pending.count,
        });
    }

    fn put_aside(&mut self, value: Value) -> (u32, u32) {
        let octets = self.out.value(&value).to_vec();
        let start = self.out.aside.len();
        self.out.aside.extend_from_slice(&octets);
        (u32::try_from(start).unwrap_or(0), u32::try_from(self.out.aside.len()).unwrap_or(0))
    }

    /// A word where a keyword is expected: one message for the whole slip, its colon and its value included.
    fn unknown(&mut self, file: u32, token: Token) {
        if self.is_quiet(file, token) {
            return;
        }
        if self.failed && self.out.messages.len() >= MAX_MESSAGES {
            // Guessing what a million lines may have meant would take minutes for nobody to read.
            self.left_out += 1;
            self.quiet = Some((file, token.line));
            return;
        }
        let octets = self.out.text(file, token.start, token.end).to_vec();
        let rest = self.out.rest_of_line(file, token.end).to_vec();
        let glued = rest.first() == Some(&b':');
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let apart = rest.get(blanks) == Some(&b':');
        let word = shown(&octets);
        let lower = octets.to_ascii_lowercase();
        let exact = keywords().get(&lower).map(|k| k.name);
        let leftover = self.last.filter(|(_, f, line)| (*f, *line) == (file, token.line)).map(|(name, ..)| name);
        let mut guess = None;
        let (text, hint) = match (glued, exact) {
            (true, _) => {
                guess = self.guess(&octets);
                (format!("unknown keyword {word}:"), guess.map(|name| format!("did you mean {name}:")))
            }
            (false, Some(name)) if apart || lower != octets || leftover.is_none() => {
                guess = Some(name);
                let text = if apart {
                    format!("a blank stands before the colon of {word}")
                } else {
                    format!("{word} has no colon")
                };
                (text, Some(format!("write {name}: in lower case with its colon right behind it")))
            }
            _ => match leftover {
                Some(name) => {
                    let text = format!("{word} is left over behind the value of {name}:");
                    (text, Some("a value with blanks in it needs quotes around it".to_owned()))
                }
                None if octets == b"{" || octets == b"}" => {
                    let hint = "a clause has no braces: it ends where the next one starts";
                    (format!("{word} means nothing here"), Some(hint.to_owned()))
                }
                None => (format!("{word} stands where a keyword is expected"), self.swallower(file)),
            },
        };
        self.error_at(file, token, text, hint);
        let line_is_over =
            |rest: &[u8]| rest.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r')).is_none_or(|b| *b == b'#');
        let opens = guess.and_then(|name| keywords().get(name.as_bytes())).and_then(|k| k.opens.map(|at| (k.name, at)));
        if let Some((name, position)) = opens {
            self.opened(file, token, name, position);
        } else if glued && guess.is_none() && line_is_over(rest.get(1..).unwrap_or(&[])) {
            self.clause = Open::Unknown;
        }
        self.quiet = Some((file, token.line));
    }

    /// What an unknown keyword may have meant: an option of the open clause first, then any clause, then any option.
    fn guess(&self, word: &[u8]) -> Option<&'static str> {
        let all = keywords();
        if let Open::Clause { position, .. } = self.clause {
            let here = all.iter().filter(|k| k.clauses & (1 << position) != 0).map(|k| k.name);
            let here = nearest(word, here.chain(all.clauses().iter().copied()));
            if here.is_some() {
                return here;
            }
        }
        nearest(word, all.clauses().iter().copied()).or_else(|| nearest(word, all.iter().map(|k| k.name)))
    }

    /// If the last statement took a keyword for its value, what stands here is that keyword's value.
    fn swallower(&self, file: u32) -> Option<String> {
        let (name, of, _) = self.last?;
        (of == file).then(|| format!("the last complete option is {name}:, look at its values"))
    }

    fn stray(&mut self, file: u32, token: Token) {
        let octet = self.out.text(file, token.start, token.end).first().copied().unwrap_or(0);
        if self.mood == Mood::Keyword && self.is_quiet(file, token) {
            return;
        }
        let text = match (octet, self.mood) {
            (b'\'', Mood::Include) => "a file name is not taken in single quotes".to_owned(),
            (b'"' | b'\'', _) if self.last.is_some_and(|(_, f, line)| (f, line) == (file, token.line)) => {
                "a quote stands behind a complete value; quotes next to each other do not join".to_owned()
            }
            (b'"' | b'\'', _) => "a quote stands where a keyword is expected".to_owned(),
            (b'\\', _) => "a backslash before the end of the line means nothing, lines cannot be continued".to_owned(),
            _ => format!("{} means nothing here", shown(&[octet])),
        };
        let hint = (octet == b'\'' && self.mood == Mood::Include).then(|| "use double quotes".to_owned());
        self.error_at(file, token, text, hint);
        if self.mood == Mood::Keyword {
            self.quiet = Some((file, token.line));
        }
    }

    fn unclosed(&mut self, file: u32, token: Token) {
        let quote = self.out.text(file, token.start, token.start + 1).first().copied().unwrap_or(b'"');
        let text = format!("the line ends inside a quoted value, {} is missing", char::from(quote));
        self.error_at(file, token, text, Some("a value must end on the line it starts on".to_owned()));
        if self.include.take().is_some() {
            self.mood = self.before;
        }
        self.pending = None;
        self.last = None;
        self.mood = Mood::Keyword;
        // What the next line starts with is most likely the rest of this value.
        self.quiet = Some((file, token.line + 1));
    }

    fn is_quiet(&self, file: u32, token: Token) -> bool {
        self.quiet.is_some_and(|(f, line)| f == file && token.line <= line)
    }

    /// The name of an include was read.
    fn included(&mut self, file: u32, toplevel: bool, include: Token, token: Token) {
        self.mood = self.before;
        if toplevel {
            self.close(file);
        }
        let trim = u32::from(token.kind == Kind::Quoted);
        let name = self.out.text(file, token.start + trim, token.end - trim).to_vec();
        if name.is_empty() {
            let word = if toplevel { "include-toplevel" } else { "include" };
            self.error_at(file, include, format!("{word}: has an empty file name"), None);
            return;
        }
        let written = PathBuf::from(std::ffi::OsString::from_vec(name.clone()));
        let mut files = Vec::new();
        let mut matched = false;
        if name.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'{' | b'~')) {
            // A folder that cannot be read is no empty list: Unbound then opens the pattern as a name, and so fails.
            if let Ok(found) = self.source.glob(&self.pattern(&name)) {
                matched = true;
                let relative = !name.starts_with(b"/") && !name.starts_with(b"~");
                let shorter = |path: &PathBuf| match path.strip_prefix(&self.cwd) {
                    Ok(tail) if relative => tail.to_owned(),
                    _ => path.clone(),
                };
                files = found.into_iter().map(|path| (shorter(&path), clean(&path))).collect();
            }
        }
        if !matched {
            let path = clean(&self.cwd.join(&written));
            files.push((written, path));
        }
        self.stack.push(Frame::Files { files: files.into_iter(), toplevel, token, file });
    }

    /// The pattern made absolute, with the working directory's own special characters escaped.
    fn pattern(&self, name: &[u8]) -> Vec<u8> {
        if name.starts_with(b"/") || name.starts_with(b"~") {
            return name.to_vec();
        }
        let mut pattern = Vec::new();
        for octet in self.cwd.as_os_str().as_bytes() {
            if matches!(octet, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\' | b'~' | b',') {
                pattern.push(b'\\');
            }
            pattern.push(*octet);
        }
        pattern.push(b'/');
        pattern.extend_from_slice(name);
        pattern
    }

    fn open_include(&mut self, file: u32, token: Token, name: PathBuf, path: PathBuf, toplevel: bool) {
        let chain: Vec<u32> = self
            .stack
            .iter()
            .filter_map(|f| match f {
                Frame::Text { file, .. } => Some(*file),
                Frame::Files { .. } => None,
            })
            .collect();
        let again = self.stack.iter().find_map(|f| match f {
            Frame::Text { file, path: open, .. } if *open == path => Some(*file),
            _ => None,
        });
        if let Some(first) = again {
            let names = chain.iter().skip_while(|f| **f != first).filter_map(|f| self.out.files.get(*f as usize));
            let mut circle = String::new();
            for file in names {
                let _ = write!(circle, "{} includes ", file.name.display());
            }
            let text = format!("these files include each other: {circle}{}", name.display());
            self.error_at(file, token, text, Some("take one of the includes out".to_owned()));
            return;
        }
        if chain.len() >= MAX_DEPTH || self.out.files.len() >= MAX_FILES {
            let text = if chain.len() >= MAX_DEPTH {
                format!("includes are nested more than {MAX_DEPTH} deep")
            } else {
                format!("more than {MAX_FILES} files are included")
            };
            self.error_at(file, token, text, None);
            return;
        }
        match self.source.read(&path) {
            Ok(text) if self.octets + text.len() as u64 > MAX_OCTETS => {
                let text = "the files of this configuration have more than 2 GiB together".to_owned();
                self.error_at(file, token, text, None);
            }
            Ok(text) => self.open(name, path, text, toplevel),
            Err(error) => {
                let relative = name
                    .is_relative()
                    .then(|| format!("relative names go by the working directory, here {}", self.cwd.display()));
                let why = reason(&error);
                self.error_at(
                    file,
                    token,
                    format!("cannot read the include file \"{}\": {why}", name.display()),
                    relative,
                );
            }
        }
    }

    /// An include-toplevel closes the open clause before and behind its file.
    fn close(&mut self, file: u32) {
        if let Some(pending) = self.pending.take() {
            let name = pending.keyword.name;
            let text = format!("include-toplevel: stands where a value of {name}: is expected");
            let at = if pending.at.file == file { pending.at } else { At { file, line: 1, column: 1 } };
            self.error(at, name.len() + 1, text, None);
            self.mood = Mood::Keyword;
        }
        self.clause = Open::Closed;
        self.last = None;
    }

    fn error_at(&mut self, file: u32, token: Token, text: String, hint: Option<String>) {
        self.tell(Severity::Error, at(file, token), token.end - token.start, text, hint);
    }

    fn error(&mut self, at: At, length: usize, text: String, hint: Option<String>) {
        self.tell(Severity::Error, at, u32::try_from(length).unwrap_or(1), text, hint);
    }

    fn tell(&mut self, severity: Severity, at: At, length: u32, text: String, hint: Option<String>) {
        if self.out.messages.len() >= MAX_MESSAGES {
            self.left_out += 1;
            // An error must not be lost among warnings: the verdict hangs on it.
            if severity == Severity::Warning || self.failed {
                return;
            }
        }
        self.failed |= severity == Severity::Error;
        self.out.messages.push(Message { severity, at, length, text, hint });
    }
}

fn at(file: u32, token: Token) -> At {
    At { file, line: token.line, column: token.column }
}

/// Whether an unquoted value is a keyword with its colon.
fn is_keyword(octets: &[u8]) -> bool {
    octets.split_last().is_some_and(|(last, name)| *last == b':' && keywords().get(name).is_some())
}

/// What the system says, without its error number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// A word of the file for a message: quoted, cut, and with nothing in it that a terminal would obey.
fn shown(octets: &[u8]) -> String {
    let cut = octets.get(..MAX_SHOWN).unwrap_or(octets);
    let text = String::from_utf8_lossy(cut);
    let mut out = String::from("\"");
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    if cut.len() < octets.len() {
        out.push('…');
    }
    out.push('"');
    out
}
