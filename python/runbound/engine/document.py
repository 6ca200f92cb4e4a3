"""The document: what Python hands to Rust, one msgpack value.

Owns the shape of everything that crosses the door at start and reload, field for field the mirror of
`crates/engine/src/document.rs`. It holds final values only: defaults applied, units fixed, names resolved to what
Rust needs. It must never hold secrets beyond the cookie secrets, and never the bulk statements (`local-zone`,
`local-data`, `local-data-ptr` of the file), which stay in Rust's `Scan`.
"""

import msgspec

VERSION = 5
"""Version of the shape. Rust refuses any other: a wheel's two halves always come together."""


class At(msgspec.Struct, frozen=True):
    """Where a value stands in the operator's files. `line` and `column` count from 1; line 0 is "not in a file"."""

    file: str = ""
    line: int = 0
    column: int = 0


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Where log lines go and how they look: logfile, use-syslog, log-time-*, log-identity, log-format, verbosity."""

    file: str
    syslog: bool
    verbosity: int
    time: str
    """`unix`, `ascii` or `iso`."""
    identity: str
    json: bool


class QueryLog(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of queries: log-retention (entries), log-client-ip (`no`, `pseudonym`, `yes`), query-log-file."""

    retention: int
    clients: str
    file: str


class Listen(msgspec.Struct, frozen=True):
    """One `interface:`: an address (IPv6 with `%scope`) or the name of a network interface, and a port."""

    interface: str
    port: int
    at: At


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """Options of every listening socket; sizes in octets, 0 leaves the system's default."""

    udp: bool
    tcp: bool
    rcvbuf: int
    sndbuf: int
    tcp_mss: int
    dscp: int
    freebind: bool
    transparent: bool
    automatic: bool
    ip4: bool
    ip6: bool


class AclRule(msgspec.Struct, frozen=True):
    """One `access-control:`."""

    net: str
    action: str
    at: At


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the built-in zones are wanted; the zones of the file come with the Scan."""

    unblock_lan_zones: bool


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of class CH. `identity` and `version` are final texts."""

    identity: str
    version: str
    hide_identity: bool
    hide_version: bool
    hide_trustanchor: bool


class ConnectionLimit(msgspec.Struct, frozen=True):
    """One `tcp-connection-limit:`."""

    net: str
    limit: int
    at: At


class Serve(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker reads for each packet; each field is the option of that name. Times are milliseconds."""

    edns_buffer_size: int
    max_udp_size: int
    minimal_responses: bool
    rrset_roundrobin: bool
    answer_cookie: bool
    cookie_secrets: tuple[bytes, ...]
    nsid: bytes | None
    ede: bool
    deny_any: bool
    harden_short_bufsize: bool
    harden_large_queries: bool
    sock_queue_timeout: int
    discard_timeout: int
    wait_limit: int
    wait_limit_cookie: int
    stream_wait_size: int
    extended_statistics: bool
    tcp_idle_timeout: int
    edns_tcp_keepalive: bool
    edns_tcp_keepalive_timeout: int
    incoming_num_tcp: int
    tcp_connection_limits: tuple[ConnectionLimit, ...]
    log_queries: bool
    log_replies: bool
    log_local_actions: bool
    log_servfail: bool
    log_tag_queryreply: bool
    log_destaddr: bool


class Placed(msgspec.Struct, frozen=True):
    """A value of an option that adds up, as it was written, with its place."""

    value: str
    at: At


class ForwardServer(msgspec.Struct, frozen=True):
    """One `forward-addr:`."""

    address: str
    port: int
    at: At


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """One `forward-zone:`. `hosts` are its `forward-host:`s, with names where `servers` have addresses."""

    name: str
    servers: tuple[ForwardServer, ...]
    hosts: tuple[ForwardServer, ...]
    tcp: bool
    first: bool
    no_cache: bool
    at: At


class Stub(msgspec.Struct, frozen=True, kw_only=True):
    """One `stub-zone:`. `hosts` are its `stub-host`s."""

    name: str
    servers: tuple[ForwardServer, ...]
    hosts: tuple[ForwardServer, ...]
    tcp: bool
    prime: bool
    first: bool
    no_cache: bool
    at: At


class Recursion(msgspec.Struct, frozen=True, kw_only=True):
    """How names outside all forward zones are found. `root_hints` are the paths of those files; `fetch_policy` is
    `target-fetch-policy`, a number for each depth."""

    root_hints: tuple[Placed, ...]
    stubs: tuple[Stub, ...]
    prefer_ip4: bool
    prefer_ip6: bool
    fetch_policy: tuple[int, ...]
    minimise: bool
    minimise_strict: bool
    harden_glue: bool
    harden_referral_path: bool


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed, and how strictly answers are checked. Times are seconds.

    `anchors` are the records of `trust-anchor`; `anchor_files`, `bind_files` (trusted-keys-file, patterns) and
    `auto_files` are paths, `insecure` names. `built_in` adds the root's anchors. `date` is `val-override-date` in Unix
    seconds, -1 for no look at dates. `iterations` are key sizes and the NSEC3 iterations allowed up to them.
    """

    anchors: tuple[Placed, ...]
    anchor_files: tuple[Placed, ...]
    bind_files: tuple[Placed, ...]
    auto_files: tuple[Placed, ...]
    insecure: tuple[Placed, ...]
    built_in: bool
    date: int | None
    skew_min_s: int
    skew_max_s: int
    bogus_ttl_s: int
    max_restart: int
    iterations: tuple[tuple[int, int], ...]
    sha1: bool
    fake_sha1: bool
    fake_dsa: bool
    permissive: bool
    clean_additional: bool
    ignore_cd: bool
    harden_dnssec_stripped: bool
    harden_algo_downgrade: bool
    lame_check: bool
    aggressive_nsec: bool
    prefetch_key: bool
    sentinel: bool
    signal: bool
    log_level: int
    add_holddown_s: int
    del_holddown_s: int
    keep_missing_s: int
    small_holddown: bool


class ClientString(msgspec.Struct, frozen=True):
    """One `edns-client-string:`."""

    net: str
    text: str
    at: At


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """How upstreams are asked; each field is the option of that name.

    `port_rules` are (permit, first, last) in file order over the default set. Times without a unit in their name are
    milliseconds. `resolv_conf` is the file of `resolv-fallback`, empty if that is off.
    """

    ip4: bool
    ip6: bool
    udp: bool
    tcp_upstream: bool
    tcp_mss: int
    interfaces: tuple[Placed, ...]
    port_rules: tuple[tuple[bool, int, int], ...]
    range: int
    num_tcp: int
    tcp_reuse_queries: int
    tcp_reuse_timeout: int
    do_not_query: tuple[Placed, ...]
    do_not_query_localhost: bool
    queries_per_thread: int
    jostle_timeout: int
    msg_retry: int
    unknown_server_time_limit: int
    max_query_restarts: int
    max_sent_count: int
    caps_for_id: bool
    caps_exempt: tuple[Placed, ...]
    private_addresses: tuple[Placed, ...]
    private_domains: tuple[Placed, ...]
    infra_host_ttl_s: int
    infra_numhosts: int
    infra_min_rtt: int
    infra_max_rtt: int
    infra_keep_probing: bool
    fast_server_permil: int
    fast_server_num: int
    unwanted_reply_threshold: int
    upstream_racing: bool
    resolv_conf: str
    max_global_quota: int
    edns_do: bool
    client_strings: tuple[ClientString, ...]
    client_string_opcode: int


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and TTL policy. `messages` (msg-cache-size), `rrsets` (rrset-cache-size), `keys` (key-cache-size) and
    `negatives` (neg-cache-size) are octets, TTLs seconds, `serve_expired_client_timeout` is milliseconds."""

    messages: int
    rrsets: int
    min_ttl: int
    max_ttl: int
    min_negative_ttl: int
    max_negative_ttl: int
    serve_expired: bool
    serve_expired_ttl: int
    serve_expired_ttl_reset: bool
    serve_expired_reply_ttl: int
    serve_expired_client_timeout: int
    ede_serve_expired: bool
    prefetch: bool
    harden_below_nxdomain: bool
    scrub_promiscuous: bool
    scrub_ns: int
    scrub_rrsig: int
    harden_unknown_additional: bool
    harden_unverified_glue: bool
    keys: int
    negatives: int


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The whole."""

    version: int = VERSION
    revision: int
    threads: int
    """Workers to run; 0 means one for each usable core."""
    log: Log
    querylog: QueryLog
    listen: tuple[Listen, ...]
    socket: Socket
    acl: tuple[AclRule, ...]
    local: Local
    chaos: Chaos
    serve: Serve
    forwards: tuple[Forward, ...]
    recursion: Recursion | None
    trust: Trust | None
    """None: nothing is validated."""
    outgoing: Outgoing
    cache: Cache

    def encode(self) -> bytes:
        """The msgpack form that `_native.check`, `bind`, `start` and `apply` take."""
        return msgspec.msgpack.encode(self)
