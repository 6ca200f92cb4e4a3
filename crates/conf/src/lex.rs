//! One file cut into words and what lies between them, losing nothing: the tokens of a text, put together, are the text.
//!
//! Owns the lexical rules: blanks, line ends, comments, quotes, backslashes, and which of them means what in which mood.
//! Must never know about clauses or files other than its own, and must never fail: every octet belongs to some token.

use crate::keywords::{Keyword, keywords};

/// What the reader expects next; the same octets are different words in different moods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// A keyword with its colon.
    Keyword,
    /// A value of an option; no keyword but `include:` and `include-toplevel:` is recognised.
    Value,
    /// The file name of an include; single quotes and `#` are nothing special.
    Include,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run of spaces and tabs.
    Blank,
    /// One LF or one CR: each ends a line and counts as one, as in Unbound.
    LineEnd,
    /// From `#` up to the LF, a CR included.
    Comment,
    /// The byte order mark some editors put before the first word.
    Mark,
    /// A keyword and its colon.
    Keyword(Keyword),
    /// `include:`, or `include-toplevel:` if true.
    Include(bool),
    /// A word where a keyword was expected.
    Unknown,
    /// One octet that means nothing here.
    Stray,
    /// An unquoted value.
    Word,
    /// A value with its quotes, single or double.
    Quoted,
    /// An opening quote and what follows up to the line end or the end of the file.
    Unclosed,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first octet.
    pub start: u32,
    /// Offset behind its last octet.
    pub end: u32,
    /// The line it starts on, from 1; CR and LF count one each.
    pub line: u32,
    /// Where on that line, in octets, from 1.
    pub column: u32,
}

/// The three octets of a UTF-8 byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one text from front to back.
#[derive(Debug, Clone)]
pub struct Lexer {
    at: usize,
    line: u32,
    line_start: usize,
}

impl Default for Lexer {
    fn default() -> Self {
        Lexer { at: 0, line: 1, line_start: 0 }
    }
}

impl Lexer {
    /// The next token, or nothing at the end. `text` must be the same at every call.
    pub fn next(&mut self, text: &[u8], mood: Mood) -> Option<Token> {
        let rest = text.get(self.at..).unwrap_or(&[]);
        let first = *rest.first()?;
        let (kind, length) = match first {
            b' ' | b'\t' => (Kind::Blank, run(rest, |b| b == b' ' || b == b'\t')),
            b'\n' | b'\r' => (Kind::LineEnd, 1),
            _ => match mood {
                Mood::Keyword => self.keyword(rest, first),
                Mood::Value => value(rest, first),
                Mood::Include => name(rest, first),
            },
        };
        let token = Token {
            kind,
            start: offset(self.at),
            end: offset(self.at + length),
            line: self.line,
            column: offset(self.at - self.line_start + 1),
        };
        self.at += length;
        if kind == Kind::LineEnd {
            self.line += 1;
            self.line_start = self.at;
        }
        Some(token)
    }

    fn keyword(&self, rest: &[u8], first: u8) -> (Kind, usize) {
        if first == b'#' {
            return (Kind::Comment, run(rest, |b| b != b'\n'));
        }
        if self.at == 0 && rest.starts_with(MARK) {
            return (Kind::Mark, MARK.len());
        }
        let length = word(rest, |b| b != b':');
        if length == 0 {
            return (Kind::Stray, 1);
        }
        if rest.get(length) == Some(&b':') {
            match &rest[..length] {
                b"include" => return (Kind::Include(false), length + 1),
                b"include-toplevel" => return (Kind::Include(true), length + 1),
                name => {
                    if let Some(keyword) = keywords().get(name) {
                        return (Kind::Keyword(*keyword), length + 1);
                    }
                }
            }
        }
        (Kind::Unknown, length)
    }
}

/// Offsets are 32 bits: [`crate::source::MAX_FILE_OCTETS`] keeps every text below that.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The length of the run of octets that pass.
fn run(rest: &[u8], pass: impl Fn(u8) -> bool) -> usize {
    rest.iter().position(|b| !pass(*b)).unwrap_or(rest.len())
}

/// The length of an unquoted word: no blank, line end, quote; a backslash takes the next octet with it, unless that is LF.
fn word(rest: &[u8], pass: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(octet) = rest.get(at) {
        at += match octet {
            b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'\'' => break,
            b'\\' => match rest.get(at + 1) {
                None | Some(b'\n') => break,
                Some(_) => 2,
            },
            other if pass(*other) => 1,
            _ => break,
        };
    }
    at
}

/// A quoted value: a backslash keeps the next octet from ending it, and both stay in the value.
fn quoted(rest: &[u8], quote: u8) -> (Kind, usize) {
    let mut at = 1;
    while let Some(octet) = rest.get(at) {
        at += match octet {
            b'\n' | b'\r' => break,
            b'\\' if !matches!(rest.get(at + 1), None | Some(b'\n')) => 2,
            other if *other == quote => return (Kind::Quoted, at + 1),
            _ => 1,
        };
    }
    (Kind::Unclosed, at)
}

fn value(rest: &[u8], first: u8) -> (Kind, usize) {
    match first {
        b'#' => (Kind::Comment, run(rest, |b| b != b'\n')),
        b'"' | b'\'' => quoted(rest, first),
        _ => match word(rest, |_| true) {
            0 => (Kind::Stray, 1),
            length => match &rest[..length] {
                b"include:" => (Kind::Include(false), length),
                b"include-toplevel:" => (Kind::Include(true), length),
                _ => (Kind::Word, length),
            },
        },
    }
}

fn name(rest: &[u8], first: u8) -> (Kind, usize) {
    match first {
        b'"' => quoted(rest, first),
        _ => match word(rest, |_| true) {
            0 => (Kind::Stray, 1),
            length => (Kind::Word, length),
        },
    }
}

/// All tokens of one text, as a file read on its own: includes are not followed.
pub fn tokens(text: &[u8]) -> Vec<Token> {
    let mut lexer = Lexer::default();
    let mut all = Vec::new();
    let (mut mood, mut before, mut wanted) = (Mood::Keyword, Mood::Keyword, 0);
    while let Some(token) = lexer.next(text, mood) {
        match (token.kind, mood) {
            (Kind::Keyword(keyword), _) => wanted = keyword.arity,
            (Kind::Include(_), _) => (mood, before) = (Mood::Include, mood),
            (Kind::Word | Kind::Quoted, Mood::Include) => mood = before,
            (Kind::Word | Kind::Quoted, _) => wanted -= 1,
            (Kind::Unclosed, _) => (mood, wanted) = (Mood::Keyword, 0),
            _ => {}
        }
        if mood != Mood::Include {
            mood = if wanted == 0 { Mood::Keyword } else { Mood::Value };
        }
        all.push(token);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<(&'static str, &str)> {
        let seen = tokens(text.as_bytes());
        let told = seen.iter().filter(|t| !matches!(t.kind, Kind::Blank | Kind::LineEnd));
        told.map(|t| {
            let kind = match t.kind {
                Kind::Keyword(_) => "keyword",
                Kind::Comment => "comment",
                Kind::Include(_) => "include",
                Kind::Unknown => "unknown",
                Kind::Stray => "stray",
                Kind::Word => "word",
                Kind::Quoted => "quoted",
                Kind::Unclosed => "unclosed",
                Kind::Mark => "mark",
                Kind::Blank | Kind::LineEnd => "space",
            };
            (kind, &text[t.start as usize..t.end as usize])
        })
        .collect()
    }

    #[test]
    fn a_hash_starts_a_comment_only_at_the_beginning_of_a_word() {
        assert_eq!(kinds("port: 53#x\n"), [("keyword", "port:"), ("word", "53#x")]);
        assert_eq!(kinds("port: 53 #x\r\n"), [("keyword", "port:"), ("word", "53"), ("comment", "#x\r")]);
        assert_eq!(kinds("port: # x\n53"), [("keyword", "port:"), ("comment", "# x"), ("word", "53")]);
    }

    #[test]
    fn keywords_are_values_where_a_value_is_expected() {
        let text = "identity:\nverbosity: 1";
        assert_eq!(kinds(text), [("keyword", "identity:"), ("word", "verbosity:"), ("unknown", "1")]);
        assert_eq!(kinds("identity: include: x"), [("keyword", "identity:"), ("include", "include:"), ("word", "x")]);
        assert_eq!(kinds("identity: include:x"), [("keyword", "identity:"), ("word", "include:x")]);
    }

    #[test]
    fn backslashes_stay_and_keep_quotes_from_ending() {
        assert_eq!(kinds(r#"identity: "a\"b""#), [("keyword", "identity:"), ("quoted", r#""a\"b""#)]);
        assert_eq!(kinds("identity: a\\ b"), [("keyword", "identity:"), ("word", "a\\ b")]);
        assert_eq!(
            kinds("identity: a\\\n b"),
            [("keyword", "identity:"), ("word", "a"), ("stray", "\\"), ("unknown", "b")]
        );
    }

    #[test]
    fn cr_and_lf_each_count_as_a_line_but_a_comment_swallows_its_cr() {
        let line = |text: &[u8]| tokens(text).last().map(|t| (t.line, t.column));
        assert_eq!(line(b"server:\r\n port:\r\n x"), Some((5, 2)));
        assert_eq!(line(b"# a\r\n port:"), Some((2, 2)));
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut at = 0;
            for token in tokens(&text) {
                prop_assert_eq!(token.start, at);
                prop_assert!(token.end > token.start);
                at = token.end;
            }
            prop_assert_eq!(at as usize, text.len());
        }

        #[test]
        fn the_same_of_texts_that_look_like_configurations(text in "((server:|port:|include:|[a-z:]{1,4}|\"|'|\\\\|#| |\r|\n|\u{0}){1,3}){0,60}") {
            let all: Vec<u8> = tokens(text.as_bytes()).iter().flat_map(|t| text.as_bytes()[t.start as usize..t.end as usize].to_vec()).collect();
            prop_assert_eq!(all, text.as_bytes());
        }
    }
}
