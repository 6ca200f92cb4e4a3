//! What we remember.
