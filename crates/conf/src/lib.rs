//! The lossless scanner of unbound.conf.
