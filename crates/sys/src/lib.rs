//! Every system call and all its `unsafe`; safe functions outward.
