//! Every number resolving is bounded by: unit, default, bounds and reason, declared once.
//!
//! It owns the numbers and no behaviour. [`Limits`] carries those an operator may change; the constants are fixed.

/// Default questions in progress at one time in one mesh (`num-queries-per-thread`).
pub const MAX_QUERIES: usize = 1024;
/// Clients that may wait for each question in progress, on average over a mesh. A flood of one question that an upstream
/// answers slowly must not take all memory.
pub const CLIENTS_PER_QUERY: usize = 16;
/// Default octets of UDP payload offered to an upstream server (`edns-buffer-size`, 512 to 65535; RFC 9715 3.1).
pub const EDNS_BUFFER_SIZE: u16 = 1232;
/// Default failed tries at one server for one question (`outbound-msg-retry`, 0 to 127).
pub const MSG_RETRY: u8 = 5;
/// Packets sent for one question of a chain, over all servers: a client's one packet must not become a flood towards
/// upstream servers.
pub const MAX_SENDS: u16 = 32;
/// Default CNAME and DNAME links followed for one question (`max-query-restarts`, 0 to 127): longer chains, and chains
/// that never end, are an attack or a mistake.
pub const MAX_RESTARTS: u8 = 11;
/// Milliseconds from a client's question to SERVFAIL if nothing was found by then. Stub resolvers give up long before;
/// the answer still warms the cache.
pub const QUERY_TIME: u64 = 30_000;
/// Milliseconds to wait for an answer over TCP, connecting included.
pub const TCP_TIME: u64 = 3_000;
/// Default milliseconds to wait for a server nothing is known of yet (`unknown-server-time-limit`).
pub const UNKNOWN_SERVER_TIME: u64 = 376;
/// Fewest milliseconds to wait for a server, however fast it was (`infra-cache-min-rtt`).
pub const MIN_RTT: u64 = 50;
/// Most milliseconds to wait for one answer over UDP (`infra-cache-max-rtt` is 120 s; a client is long gone by then, and
/// within [`QUERY_TIME`] other servers should be asked as well).
pub const MAX_RTT: u64 = 12_000;
/// Milliseconds by which a server may be slower than the fastest and still be chosen as often.
pub const RTT_BAND: u64 = 400;
/// Silences in a row after which a server counts as dead and is asked only when no other is left, or when its back-off
/// has passed.
pub const DEAD_AFTER: u8 = 3;
/// Milliseconds of the first back-off of a dead server; each further silence doubles it.
pub const FIRST_BACKOFF: u64 = 1_000;
/// Most milliseconds of back-off (RFC 9520 3.2 permits up to 5 minutes): how late a server that came back is noticed
/// while others answer.
pub const MAX_BACKOFF: u64 = 60_000;
/// Servers remembered (`infra-cache-numhosts`). Configuration names far fewer; old snapshots are what could add up.
pub const MAX_SERVERS: usize = 10_000;
/// Seconds a failure is remembered (RFC 9520 3.2: at least 1, at most 300; Unbound keeps it 5).
pub const FAILURE_TTL: u32 = 5;
/// Seconds an answer is remembered that has no record to take a TTL from: NXDOMAIN and NODATA without SOA (RFC 2308 5
/// would not keep them at all; Unbound keeps them this long, which spares an upstream that always answers so).
pub const NO_RECORD_TTL: u32 = 5;
/// Default seconds an RRset is remembered at most (`cache-max-ttl`).
pub const CACHE_MAX_TTL: u32 = 86_400;
/// Default seconds an RRset is remembered at least (`cache-min-ttl`).
pub const CACHE_MIN_TTL: u32 = 0;
/// Default seconds a negative answer is remembered at most (`cache-max-negative-ttl`; RFC 2308 5 suggests 1 to 3 hours).
pub const CACHE_MAX_NEGATIVE_TTL: u32 = 3_600;
/// Default seconds a negative answer is remembered at least (`cache-min-negative-ttl`).
pub const CACHE_MIN_NEGATIVE_TTL: u32 = 0;

/// The limits an operator may change, each under the option its constant names. They may change from one question to the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Questions in progress; see [`MAX_QUERIES`].
    pub max_queries: usize,
    /// Octets offered to upstream servers; see [`EDNS_BUFFER_SIZE`].
    pub edns_buffer_size: u16,
    /// Failed tries at one server; see [`MSG_RETRY`].
    pub msg_retry: u8,
    /// Links followed; see [`MAX_RESTARTS`].
    pub max_restarts: u8,
    /// Milliseconds for a server not yet known; see [`UNKNOWN_SERVER_TIME`].
    pub unknown_server_time: u64,
    /// Seconds; see [`CACHE_MAX_TTL`].
    pub cache_max_ttl: u32,
    /// Seconds; see [`CACHE_MIN_TTL`].
    pub cache_min_ttl: u32,
    /// Seconds; see [`CACHE_MAX_NEGATIVE_TTL`].
    pub cache_max_negative_ttl: u32,
    /// Seconds; see [`CACHE_MIN_NEGATIVE_TTL`].
    pub cache_min_negative_ttl: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_queries: MAX_QUERIES,
            edns_buffer_size: EDNS_BUFFER_SIZE,
            msg_retry: MSG_RETRY,
            max_restarts: MAX_RESTARTS,
            unknown_server_time: UNKNOWN_SERVER_TIME,
            cache_max_ttl: CACHE_MAX_TTL,
            cache_min_ttl: CACHE_MIN_TTL,
            cache_max_negative_ttl: CACHE_MAX_NEGATIVE_TTL,
            cache_min_negative_ttl: CACHE_MIN_NEGATIVE_TTL,
        }
    }
}
