//! What we may say.
