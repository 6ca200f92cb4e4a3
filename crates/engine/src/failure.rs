//! What the engine could not do, in words for the operator.

use std::fmt;

/// An error of the engine: what happened, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct Failure {
    what: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with nothing to advise. The number that the standard library puts behind a system's error is left out:
    /// the words before it say the same.
    pub fn new(what: impl Into<String>) -> Self {
        let mut what = what.into();
        if let Some(at) = what.find(" (os error ") {
            let end = what.get(at..).and_then(|tail| tail.find(')')).map_or(what.len(), |close| at + close + 1);
            what.replace_range(at..end, "");
        }
        Self { what, hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn advise(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{} ({hint})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_errors_are_told_in_words() {
        let taken = std::io::Error::from_raw_os_error(98);
        let failure = Failure::new(format!("cannot listen on 127.0.0.1@53: {taken}")).advise("try another");
        assert_eq!(failure.to_string(), "cannot listen on 127.0.0.1@53: Address already in use (try another)");
    }
}
