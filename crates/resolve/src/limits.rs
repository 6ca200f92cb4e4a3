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
/// Default packets sent for one question of a chain, over all servers (`max-sent-count`, 1 to 65535): a client's one
/// packet must not become a flood towards upstream servers.
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
/// Default of the fewest milliseconds to wait for a server before asking again, however fast it was
/// (`infra-cache-min-rtt`).
pub const MIN_RTT: u64 = 50;
/// Default of the most milliseconds to wait for a server before asking again, however slow it was
/// (`infra-cache-max-rtt`). One question never lasts longer than [`QUERY_TIME`].
pub const MAX_RTT: u64 = 120_000;
/// Default seconds what is known of a server is remembered (`infra-host-ttl`): its times, and that it does not speak EDNS.
pub const INFRA_HOST_TTL: u32 = 900;
/// Default servers remembered (`infra-cache-numhosts`).
pub const INFRA_NUMHOSTS: usize = 10_000;
/// Default of how often, per thousand questions, only the fastest servers are drawn from (`fast-server-permil`, 0 to
/// 1000).
pub const FAST_SERVER_PERMIL: u16 = 0;
/// Default servers that count as the fastest (`fast-server-num`, at least 1).
pub const FAST_SERVER_NUM: usize = 3;
/// Default milliseconds from a client's question to an answer of some kind (`discard-timeout`; 0: clients wait to the
/// end). At that age Unbound drops the client; a stub resolver asks again or asks another. Stale data, or SERVFAIL with
/// the reason, serve it better than silence, and the question goes on to warm the cache.
pub const CLIENT_DEADLINE: u64 = 1_900;
/// Default milliseconds after which a question gives way to a new one when all places are taken (`jostle-timeout`).
pub const JOSTLE_TIMEOUT: u64 = 200;
/// Default seconds beyond its TTL an answer may be served (`serve-expired-ttl`; 0: without bound). RFC 8767 5 suggests 1
/// to 3 days.
pub const SERVE_EXPIRED_TTL: u32 = 86_400;
/// Default TTL, seconds, of an answer served after its time (`serve-expired-reply-ttl`; RFC 8767 4 asks for 30).
pub const SERVE_EXPIRED_REPLY_TTL: u32 = 30;
/// Default milliseconds to look for a fresh answer before a stale one is served (`serve-expired-client-timeout`; 0: the
/// stale one at once; RFC 8767 5 asks for 1.8 s).
pub const SERVE_EXPIRED_CLIENT_TIMEOUT: u64 = 1_800;
/// Milliseconds by which a server's wait may exceed the shortest and still be chosen as often. Enough that servers in one
/// place share the load (RFC 5452 8: an attacker should not know which one is asked), and too little for clients to notice.
pub const RTT_BAND: u64 = 100;
/// The same for one of [`EXPLORE_SHARE`] questions to authoritative servers (Unbound's RTT_BAND): servers that nobody has
/// measured, and those that were slow once, get to show what they can.
pub const EXPLORE_BAND: u64 = 400;
/// See [`EXPLORE_BAND`]. Few, for such a question may take longer; enough that the fastest of a zone that is asked often is
/// found within a minute.
pub const EXPLORE_SHARE: usize = 16;
/// Exchanges open at once for one question. Each is one more (address, port, id) at which a forged reply may arrive (RFC
/// 5452 5): four cost an attacker two bits less. They have different servers, so that what was asked never stands twice
/// towards one server, which is what a birthday attack needs.
pub const MAX_FLIGHTS: usize = 4;
/// Replies over UDP that do not belong to the packet they come for, until the question goes on over TCP: someone guesses
/// ids (CVE-2025-5994), or the server is broken; a stream decides which.
pub const MAX_STRAYS: u8 = 4;
/// Silences in a row after which a server counts as dead: others are preferred, and its probes back off.
pub const DEAD_AFTER: u8 = 3;
/// Milliseconds of silence after which a dead server is down: a question that finds no other fails at once (RFC 9520 3.1)
/// while one at a time probes it. A server that is only slow, or a lossy line, answers something within this time.
pub const DOWN_AFTER: u64 = 5_000;
/// Milliseconds of the first back-off of a dead server; each further silence doubles it.
pub const FIRST_BACKOFF: u64 = 1_000;
/// Most milliseconds of back-off while a server has been gone for less than `infra-host-ttl`, or with
/// `infra-keep-probing`: how late one that came back is noticed while others answer.
pub const RECENT_BACKOFF: u64 = 4_000;
/// Most milliseconds of back-off of a server long gone (RFC 9520 3.2 permits up to 5 minutes).
pub const MAX_BACKOFF: u64 = 60_000;
/// Milliseconds after which a server that is not asked because others are faster is measured again.
pub const EXPLORE_EVERY: u64 = 10_000;
/// Fewest milliseconds to listen for the reply to a probe: long enough for a server that is slow and lives.
pub const PROBE_TIME: u64 = 3_000;
/// Most milliseconds to listen for it.
pub const MAX_PROBE_TIME: u64 = 12_000;
/// Probes under way in one mesh. There is one a server; this bounds tables of thousands.
pub const MAX_PROBES: usize = 64;
/// Fewest milliseconds before another server is asked as well: below that, the scheduling of two machines is measured.
pub const HEDGE_MIN: u64 = 10;
/// Questions, per thousand, for which another server may be asked as well because the first takes longer than usual.
/// Small, so that hedging adds a twentieth of the load and never doubles it when all servers are slow.
pub const HEDGE_SHARE: u64 = 50;
/// Most hedges saved up: a burst when a server dies while few questions come.
pub const HEDGE_BURST: u64 = 10;
/// Questions a server must have answered only without EDNS before it is asked so from the start. One could be forged.
pub const PLAIN_VOTES: u8 = 2;
/// Streams to one server that come to nothing, in a row, until others are preferred to it for [`MAX_BACKOFF`].
pub const STREAM_FAULTS: u8 = 2;
/// Milliseconds after which another server is asked as well while a stream is silent: connecting and asking take two round
/// trips, and few servers are 200 ms away.
pub const STREAM_HEDGE: u64 = 400;
/// Milliseconds after which it is looked again for places that can be given up while a packet waits for one
/// (`outgoing-range`): often enough that its client is still there.
pub const PLACE_CHECK: u64 = 200;
/// Milliseconds after which a client that holds on (TCP, and questions of the resolver's own operator) is told something,
/// if there is a client deadline at all. Stub resolvers give up after 5 s over TCP too.
pub const PATIENT_DEADLINE: u64 = 4_000;
/// Milliseconds by which a timer may be late before the delay counts as time in which this machine stood still, and is not
/// held against the question.
pub const LATE_WAKE: u64 = 1_000;
/// Most name servers of a referral out of the cache whose addresses are looked up: a set may have thousands, and whoever asks
/// without recursion pays nothing for the work.
pub const REFERRAL_NAMES: usize = 16;
/// Default of the most signatures kept of one RRset (`iter-scrub-rrsig`): more are only work for a validator.
pub const MAX_SIGS: usize = 8;
/// Seconds the failure of a question is remembered when no server could even be reached: asking again is cheap then, and
/// a server that restarts is back in a moment (RFC 9520 3.2: at least 1).
pub const UNREACHABLE_TTL: u32 = 1;
/// Seconds a failure is remembered (RFC 9520 3.2: at least 1, at most 300; Unbound keeps it 5).
pub const FAILURE_TTL: u32 = 5;
/// Record sets of an answer to ANY that are proven; the rest is left out. A name may have thousands, each of which costs a
/// verification (Unbound 1.26 stops here too).
pub const MAX_ANY_SETS: usize = 24;
/// Seconds the keys of a zone that do not verify are remembered as bogus (Unbound's BOGUS_KEY_TTL).
pub const BOGUS_KEY_TTL: u32 = 60;
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

/// Default of how many name servers are looked up before they are needed, for a client's question, for one that such a
/// question waits for, and so on (`target-fetch-policy`). Its length is also how deep questions may wait for others: an
/// endless chain of glueless zones, each served from the next, is cut there.
pub const TARGET_FETCH_POLICY: [i32; 5] = [3, 2, 1, 0, 0];
/// Referrals followed for one question, all names of its chain together (Unbound's MAX_REFERRAL_COUNT). A server that
/// owns a deep name can delegate it label by label, 127 times, and send the resolver round again.
pub const MAX_REFERRALS: u16 = 130;
/// Name-server addresses looked up on behalf of one client's question, at all depths together (Unbound's
/// MAX_TARGET_COUNT). A delegation to a thousand names under a victim's zone makes a thousand questions there (NXNSAttack,
/// CVE-2020-12662).
pub const MAX_TARGET_COUNT: u32 = 64;
/// Name servers of such a question that turn out to have no address before it is given up (Unbound's MAX_TARGET_NX).
pub const MAX_TARGET_NX: u32 = 5;
/// DS and DNSKEY sets asked for on behalf of one client's question: two for each label of the names of its chain, far more
/// than real chains need; `dnssec::budget` bounds what is made of them.
pub const MAX_KEY_QUESTIONS: u32 = 128;
/// Default of the packets sent on behalf of one client's question, at all depths together (`max-global-quota`). Bounds what
/// all other limits multiply to: a chain of links, each with its own delegations, each with its own glueless servers (CAMP).
pub const MAX_GLOBAL_QUOTA: u32 = 200;
/// Default of the name servers of one delegation that are looked at (`iter-scrub-ns`). The largest real ones have 13; a
/// referral with a thousand is work for us and for whom it names (NRDelegationAttack, CVE-2022-3204).
pub const MAX_DP_NAMES: usize = 20;
/// Name servers of one delegation at all, where the set is signed and cannot be cut.
pub const MAX_SIGNED_DP_NAMES: usize = 64;
/// Addresses of one delegation that are asked. Root and TLDs have up to 26.
pub const MAX_DP_ADDRS: usize = 64;
/// Steps in which a name is shown (RFC 9156 2.3, MAX_MINIMISE_COUNT); without it a name of 127 labels costs 127 packets.
pub const MAX_MINIMISE_COUNT: u8 = 10;
/// Steps of one label each before several are added at a time (RFC 9156 2.3, MINIMISE_ONE_LAB).
pub const MINIMISE_ONE_LAB: u8 = 4;
/// Silences after which a part of a name is no longer asked for, but the whole (Unbound's MAX_MINIMISE_TIMEOUT_COUNT):
/// some servers drop questions for names that have no records of their own.
pub const MAX_MINIMISE_TIMEOUTS: u8 = 3;
/// (Server, zone) pairs known to be lame that are remembered, each for `infra-host-ttl`.
pub const MAX_LAME: usize = 10_000;

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
    /// Packets for one question of a chain; see [`MAX_SENDS`].
    pub max_sends: u16,
    /// Links followed; see [`MAX_RESTARTS`].
    pub max_restarts: u8,
    /// Milliseconds for a server not yet known; see [`UNKNOWN_SERVER_TIME`].
    pub unknown_server_time: u64,
    /// Milliseconds; see [`MIN_RTT`].
    pub min_rtt_ms: u64,
    /// Milliseconds; see [`MAX_RTT`].
    pub max_rtt_ms: u64,
    /// Seconds; see [`INFRA_HOST_TTL`].
    pub infra_host_ttl_s: u32,
    /// Servers; see [`INFRA_NUMHOSTS`].
    pub infra_numhosts: usize,
    /// A server known to be dead is asked once a while by a question of its own (`infra-keep-probing`, no by default; a
    /// zone with one server is probed in any case).
    pub keep_probing: bool,
    /// Per thousand; see [`FAST_SERVER_PERMIL`].
    pub fast_server_permil: u16,
    /// Servers; see [`FAST_SERVER_NUM`].
    pub fast_server_num: usize,
    /// Ask all servers of a zone at once and take the first good answer (`upstream-racing`, no by default).
    pub upstream_racing: bool,
    /// Write questions in random case and expect them back so (`use-caps-for-id`, no by default).
    pub caps_for_id: bool,
    /// A name known not to exist has no names below it (`harden-below-nxdomain`, yes by default; RFC 8020).
    pub harden_below_nxdomain: bool,
    /// Name servers beside a positive answer are left out (`iter-scrub-promiscuous`, yes by default): all they could do is
    /// change whom others ask (CVE-2025-11411).
    pub scrub_promiscuous: bool,
    /// Name servers; see [`MAX_DP_NAMES`].
    pub scrub_ns: usize,
    /// Signatures; see [`MAX_SIGS`].
    pub scrub_rrsig: usize,
    /// Only addresses are taken from additional sections (`harden-unknown-additional`, no by default).
    pub harden_unknown_additional: bool,
    /// Addresses beside a delegation that lie outside the zone that delegates are looked up, and only used where that
    /// fails (`harden-unverified-glue`, no by default).
    pub harden_unverified_glue: bool,
    /// Packets; see [`MAX_GLOBAL_QUOTA`].
    pub max_global_quota: u32,
    /// Servers are asked for DNSSEC records with the DO bit (yes, unless `disable-edns-do`).
    pub edns_do: bool,
    /// Answers in the last tenth of their life are asked for again (`prefetch`, no by default).
    pub prefetch: bool,
    /// Milliseconds, 0 for none; see [`CLIENT_DEADLINE`].
    pub client_deadline_ms: u64,
    /// Milliseconds; see [`JOSTLE_TIMEOUT`].
    pub jostle_timeout_ms: u64,
    /// Serve answers after their time when no fresh one is to be had (`serve-expired`, no by default; RFC 8767).
    pub serve_expired: bool,
    /// Seconds, 0 for no bound; see [`SERVE_EXPIRED_TTL`].
    pub serve_expired_ttl_s: u32,
    /// After a refresh that failed, count [`Limits::serve_expired_ttl_s`] from then (`serve-expired-ttl-reset`, no by
    /// default).
    pub serve_expired_ttl_reset: bool,
    /// Seconds; see [`SERVE_EXPIRED_REPLY_TTL`].
    pub serve_expired_reply_ttl_s: u32,
    /// Milliseconds, 0 for none; see [`SERVE_EXPIRED_CLIENT_TIMEOUT`].
    pub serve_expired_client_timeout_ms: u64,
    /// Say with an extended error that an answer is stale (`ede-serve-expired`, no by default).
    pub ede_serve_expired: bool,
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
            max_sends: MAX_SENDS,
            max_restarts: MAX_RESTARTS,
            unknown_server_time: UNKNOWN_SERVER_TIME,
            min_rtt_ms: MIN_RTT,
            max_rtt_ms: MAX_RTT,
            infra_host_ttl_s: INFRA_HOST_TTL,
            infra_numhosts: INFRA_NUMHOSTS,
            keep_probing: false,
            fast_server_permil: FAST_SERVER_PERMIL,
            fast_server_num: FAST_SERVER_NUM,
            upstream_racing: false,
            caps_for_id: false,
            harden_below_nxdomain: true,
            scrub_promiscuous: true,
            scrub_ns: MAX_DP_NAMES,
            scrub_rrsig: MAX_SIGS,
            harden_unknown_additional: false,
            harden_unverified_glue: false,
            max_global_quota: MAX_GLOBAL_QUOTA,
            edns_do: true,
            prefetch: false,
            client_deadline_ms: CLIENT_DEADLINE,
            jostle_timeout_ms: JOSTLE_TIMEOUT,
            serve_expired: false,
            serve_expired_ttl_s: SERVE_EXPIRED_TTL,
            serve_expired_ttl_reset: false,
            serve_expired_reply_ttl_s: SERVE_EXPIRED_REPLY_TTL,
            serve_expired_client_timeout_ms: SERVE_EXPIRED_CLIENT_TIMEOUT,
            ede_serve_expired: false,
            cache_max_ttl: CACHE_MAX_TTL,
            cache_min_ttl: CACHE_MIN_TTL,
            cache_max_negative_ttl: CACHE_MAX_NEGATIVE_TTL,
            cache_min_negative_ttl: CACHE_MIN_NEGATIVE_TTL,
        }
    }
}
