//! What is wrong with a rule: the place, how bad it is, a sentence, and what to do about it.
//!
//! It owns the shape of these messages and the search for the word that was probably meant. It never prints them: the
//! caller knows the files that [`Origin::file`] counts and shows line and caret.

/// Where a statement stands in the operator's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Index in the list of files that were read.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in octets, from 1.
    pub column: u32,
}

/// Whether a problem stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The configuration is used; the operator should look at this.
    Warning,
    /// The configuration cannot be used.
    Error,
}

/// Something wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the statement stands.
    pub origin: Origin,
    /// Whether it can be lived with.
    pub severity: Severity,
    /// What is wrong, beginning with the option's name.
    pub text: String,
    /// What to do about it, if there is something to say.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem that stops the configuration from being used.
    pub fn error(origin: Origin, text: String) -> Problem {
        Problem { origin, severity: Severity::Error, text, hint: None }
    }

    /// A problem that can be lived with.
    pub fn warning(origin: Origin, text: String) -> Problem {
        Problem { origin, severity: Severity::Warning, text, hint: None }
    }

    /// The same problem with advice.
    pub fn with_hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }
}

/// Most edits between a wrong word and the one suggested for it, and fewer than half its letters; more is guessing.
const MAX_EDITS: usize = 3;

/// The word of `words` that `wrong` was probably meant to be, if one is near.
pub(crate) fn nearest<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let wrong = wrong.trim().to_ascii_lowercase().replace('-', "_");
    let (edits, word) = words.into_iter().map(|word| (edits(&wrong, word), word)).min()?;
    (edits <= MAX_EDITS && edits * 2 < word.len()).then_some(word)
}

/// Levenshtein's distance in octets.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let best = (diagonal + usize::from(a != b)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let words = ["static", "deny", "always_nxdomain", "refuse"];
        assert_eq!(nearest("statik", words), Some("static"));
        assert_eq!(nearest("Static", words), Some("static"));
        assert_eq!(nearest("always-nxdomain", words), Some("always_nxdomain"));
        assert_eq!(nearest("alwaysnxdomain", words), Some("always_nxdomain"));
        assert_eq!(nearest("tranquil", words), None);
        assert_eq!(nearest("", words), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("abc", ""), 3);
    }
}
