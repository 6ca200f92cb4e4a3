//! [`Borrowed`]: a look-up among owned names without owning one.
//!
//! It owns that a borrowed name hashes and compares as the owned one in the table does, and nothing else.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;
use wire::{Name, NameRef};

/// A borrowed name as a key into a map or set of owned ones, which hash and compare alike.
pub struct Borrowed<'a>(pub NameRef<'a>);

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Name> for Borrowed<'_> {
    fn equivalent(&self, key: &Name) -> bool {
        self.0 == key.as_ref()
    }
}
