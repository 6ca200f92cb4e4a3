//! How we find out: sans-I/O, events in, effects out.
