//! Names, messages, EDNS: bytes to values and back. No clock, no sockets, no shared state.
