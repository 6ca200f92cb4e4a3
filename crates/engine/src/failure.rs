//! What the engine could not do, in words for the operator.

use std::fmt;

/// An error of the engine: what happened, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct Failure {
    what: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with nothing to advise.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
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
