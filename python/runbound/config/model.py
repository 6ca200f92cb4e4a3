"""The configuration as the operator means it: one frozen record a clause, one field an option, defaults applied.

Field for field the options table, which a test holds it to: `-` becomes `_`, yes/no is a bool, numbers are int, sizes
are int in octets, single texts are str (empty where the file says nothing and there is no default), options that add
up are tuples of Entry in the order of the file. An alias has no field of its own, and neither have the bulk options of
`server:` (local-zone, local-data, local-data-ptr), which stay in Rust's scan. This module must never read, check or
judge anything.
"""

from collections.abc import Iterable

import msgspec


class Position(msgspec.Struct, frozen=True):
    """Where something stands in the operator's files; line and column count from 1, columns in octets."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Entry(msgspec.Struct, frozen=True):
    """One occurrence of an option that adds up, with its values as they were written."""

    values: tuple[str, ...]
    at: Position


NOWHERE = Position("", 0, 0)
"""The place of what no file says."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """`server:`, all of its openings merged."""

    num_threads: int = 1
    verbosity: int = 1
    port: int = 53
    outgoing_range: int = 4096
    do_ip4: bool = True
    do_ip6: bool = True
    do_nat64: bool = False
    prefer_ip4: bool = False
    prefer_ip6: bool = False
    do_udp: bool = True
    do_tcp: bool = True
    tcp_mss: int = 0
    outgoing_tcp_mss: int = 0
    tcp_idle_timeout: int = 30000
    edns_tcp_keepalive: bool = False
    edns_tcp_keepalive_timeout: int = 120000
    sock_queue_timeout: int = 0
    interface: tuple[Entry, ...] = ()
    chroot: str = ""
    username: str = ""
    directory: str = ""
    logfile: str = ""
    pidfile: str = ""
    msg_cache_size: int = 4194304
    msg_cache_slabs: int = 0
    num_queries_per_thread: int = 2048
    rrset_cache_size: int = 4194304
    rrset_cache_slabs: int = 0
    outgoing_num_tcp: int = 10
    infra_host_ttl: int = 900
    infra_cache_slabs: int = 0
    infra_cache_numhosts: int = 10000
    target_fetch_policy: str = "3 2 1 0 0"
    harden_short_bufsize: bool = True
    harden_large_queries: bool = False
    do_not_query_address: tuple[Entry, ...] = ()
    hide_identity: bool = False
    hide_version: bool = False
    identity: str = ""
    version: str = ""
    hide_http_user_agent: bool = False
    http_user_agent: str = ""
    harden_glue: bool = True
    module_config: str = "validator iterator"
    trust_anchor_file: tuple[Entry, ...] = ()
    trust_anchor: tuple[Entry, ...] = ()
    val_override_date: str = "0"
    val_bogus_ttl: int = 60
    val_clean_additional: bool = True
    val_permissive_mode: bool = False
    incoming_num_tcp: int = 10
    msg_buffer_size: int = 65552
    key_cache_size: int = 4194304
    key_cache_slabs: int = 0
    trusted_keys_file: tuple[Entry, ...] = ()
    val_nsec3_keysize_iterations: str = "1024 150 2048 150 4096 150"
    use_syslog: bool = False
    outgoing_interface: tuple[Entry, ...] = ()
    root_hints: tuple[Entry, ...] = ()
    do_not_query_localhost: bool = True
    cache_max_ttl: int = 86400
    harden_dnssec_stripped: bool = True
    access_control: tuple[Entry, ...] = ()
    interface_automatic: bool = False
    statistics_interval: int = 0
    do_daemonize: bool = True
    use_caps_for_id: bool = False
    statistics_cumulative: bool = False
    outgoing_port_permit: tuple[Entry, ...] = ()
    outgoing_port_avoid: tuple[Entry, ...] = ()
    neg_cache_size: int = 1048576
    harden_referral_path: bool = False
    private_address: tuple[Entry, ...] = ()
    private_domain: tuple[Entry, ...] = ()
    extended_statistics: bool = False
    jostle_timeout: int = 200
    unwanted_reply_threshold: int = 0
    log_time_ascii: bool = False
    domain_insecure: tuple[Entry, ...] = ()
    val_sig_skew_min: int = 3600
    val_sig_skew_max: int = 86400
    val_max_restart: int = 5
    cache_min_ttl: int = 0
    val_log_level: int = 0
    auto_trust_anchor_file: tuple[Entry, ...] = ()
    add_holddown: int = 2592000
    del_holddown: int = 2592000
    keep_missing: int = 31622400
    so_rcvbuf: int = 4194304
    edns_buffer_size: int = 1232
    prefetch: bool = False
    prefetch_key: bool = False
    so_sndbuf: int = 4194304
    harden_below_nxdomain: bool = True
    ignore_cd_flag: bool = False
    log_queries: bool = False
    log_replies: bool = False
    tcp_upstream: bool = False
    tls_upstream: bool = False
    log_local_actions: bool = False
    log_thread_id: bool = False
    tls_service_key: str = ""
    tls_service_pem: str = ""
    tls_port: int = 853
    https_port: int = 443
    http_endpoint: str = "/dns-query"
    http_max_streams: int = 100
    http_query_buffer_size: int = 4194304
    http_response_buffer_size: int = 4194304
    http_nodelay: bool = True
    http_notls_downstream: bool = False
    minimal_responses: bool = True
    rrset_roundrobin: bool = True
    max_udp_size: int = 1232
    so_reuseport: bool = True
    delay_close: int = 0
    udp_connect: bool = True
    unblock_lan_zones: bool = False
    insecure_lan_zones: bool = False
    dns64_prefix: str = "64:ff9b::/96"
    dns64_synthall: bool = False
    dns64_ignore_aaaa: tuple[Entry, ...] = ()
    nat64_prefix: str = ""
    infra_cache_min_rtt: int = 50
    infra_cache_max_rtt: int = 120000
    harden_algo_downgrade: bool = False
    ip_transparent: bool = False
    ip_ratelimit: int = 0
    ratelimit: int = 0
    ip_dscp: int = 0
    infra_keep_probing: bool = False
    ip_ratelimit_slabs: int = 0
    ratelimit_slabs: int = 0
    ip_ratelimit_size: int = 4194304
    ratelimit_size: int = 4194304
    ratelimit_for_domain: tuple[Entry, ...] = ()
    ratelimit_below_domain: tuple[Entry, ...] = ()
    ratelimit_factor: int = 10
    ip_ratelimit_factor: int = 10
    ratelimit_backoff: bool = False
    ip_ratelimit_backoff: bool = False
    outbound_msg_retry: int = 5
    max_sent_count: int = 32
    max_query_restarts: int = 11
    send_client_subnet: tuple[Entry, ...] = ()
    client_subnet_zone: tuple[Entry, ...] = ()
    client_subnet_always_forward: bool = False
    max_client_subnet_ipv4: int = 24
    max_client_subnet_ipv6: int = 56
    min_client_subnet_ipv4: int = 0
    min_client_subnet_ipv6: int = 0
    max_ecs_tree_size_ipv4: int = 100
    max_ecs_tree_size_ipv6: int = 100
    caps_exempt: tuple[Entry, ...] = ()
    cache_max_negative_ttl: int = 3600
    cache_min_negative_ttl: int = 0
    permit_small_holddown: bool = False
    qname_minimisation: bool = True
    ip_freebind: bool = False
    define_tag: tuple[Entry, ...] = ()
    local_zone_tag: tuple[Entry, ...] = ()
    disable_dnssec_lame_check: bool = False
    access_control_tag: tuple[Entry, ...] = ()
    local_zone_override: tuple[Entry, ...] = ()
    access_control_tag_action: tuple[Entry, ...] = ()
    access_control_tag_data: tuple[Entry, ...] = ()
    access_control_view: tuple[Entry, ...] = ()
    interface_action: tuple[Entry, ...] = ()
    interface_view: tuple[Entry, ...] = ()
    interface_tag: tuple[Entry, ...] = ()
    interface_tag_action: tuple[Entry, ...] = ()
    interface_tag_data: tuple[Entry, ...] = ()
    qname_minimisation_strict: bool = False
    pad_responses: bool = True
    pad_responses_block_size: int = 468
    pad_queries: bool = True
    pad_queries_block_size: int = 128
    serve_expired: bool = False
    serve_expired_ttl: int = 86400
    serve_expired_ttl_reset: bool = False
    serve_expired_reply_ttl: int = 30
    serve_expired_client_timeout: int = 1800
    ede_serve_expired: bool = False
    serve_original_ttl: bool = False
    fake_dsa: bool = False
    log_identity: str = ""
    use_systemd: bool = False
    response_ip_tag: tuple[Entry, ...] = ()
    response_ip: tuple[Entry, ...] = ()
    response_ip_data: tuple[Entry, ...] = ()
    shm_enable: bool = False
    shm_key: int = 11777
    fake_sha1: bool = False
    hide_trustanchor: bool = False
    trust_anchor_signaling: bool = True
    root_key_sentinel: bool = True
    ipsecmod_enabled: bool = True
    ipsecmod_hook: str = ""
    ipsecmod_ignore_bogus: bool = False
    ipsecmod_max_ttl: int = 3600
    ipsecmod_allow: tuple[Entry, ...] = ()
    ipsecmod_strict: bool = False
    udp_upstream_without_downstream: bool = False
    aggressive_nsec: bool = True
    tls_cert_bundle: str = ""
    tls_additional_port: tuple[Entry, ...] = ()
    fast_server_permil: int = 0
    fast_server_num: int = 3
    tls_system_cert: bool = False
    tcp_connection_limit: tuple[Entry, ...] = ()
    log_servfail: bool = False
    deny_any: bool = False
    unknown_server_time_limit: int = 376
    log_tag_queryreply: bool = False
    discard_timeout: int = 1900
    wait_limit: int = 1000
    wait_limit_cookie: int = 10000
    wait_limit_netblock: tuple[Entry, ...] = ()
    wait_limit_cookie_netblock: tuple[Entry, ...] = ()
    stream_wait_size: int = 4194304
    tls_ciphers: str = ""
    tls_ciphersuites: str = ""
    tls_session_ticket_keys: tuple[Entry, ...] = ()
    answer_cookie: bool = False
    cookie_secret: str = ""
    ip_ratelimit_cookie: int = 0
    tls_use_sni: bool = True
    edns_client_string: tuple[Entry, ...] = ()
    tls_protocols: str = "TLSv1.2 TLSv1.3"
    edns_client_string_opcode: int = 65001
    nsid: str = ""
    zonemd_permissive_mode: bool = False
    max_reuse_tcp_queries: int = 200
    tcp_reuse_timeout: int = 60000
    tcp_auth_query_timeout: int = 3000
    quic_port: int = 853
    quic_size: int = 8388608
    interface_automatic_ports: str = ""
    ede: bool = False
    dns_error_reporting: bool = False
    proxy_protocol_port: tuple[Entry, ...] = ()
    statistics_inhibit_zero: bool = True
    harden_unknown_additional: bool = False
    disable_edns_do: bool = False
    log_destaddr: bool = False
    cookie_secret_file: str = ""
    iter_scrub_ns: int = 20
    iter_scrub_cname: int = 11
    max_global_quota: int = 200
    iter_scrub_rrsig: int = 8
    harden_unverified_glue: bool = False
    log_time_iso: bool = False
    iter_scrub_promiscuous: bool = True
    api_enable: bool = True
    api_interface: tuple[Entry, ...] = ()
    api_port: int = 8081
    api_socket: str = ""
    api_key: str = ""
    api_tls_cert: str = ""
    api_tls_key: str = ""
    api_rate_limit: int = 300
    api_rate_burst: int = 600
    api_max_body: int = 65536
    max_records: int = 5000000
    max_blocks: int = 5000000
    state_dir: str = ""
    log_format: str = "text"
    log_retention: int = 1000
    log_client_ip: str = "no"
    query_log_file: str = ""
    audit_log: bool = True
    audit_log_path: str = ""
    audit_log_hmac_key: str = ""
    audit_log_syslog: bool = False
    audit_log_journald: bool = False
    audit_checkpoint_every: int = 10000
    resolution: str = ""
    upstream_racing: bool = False
    resolv_fallback: bool = False
    rate_limit: int = 0
    rate_limit_burst: int = 0
    cache_flush_cooldown: int = 60
    val_sha1: str = "insecure"
    hsm_pkcs11_lib: str = ""
    hsm_slot: int = 0
    hsm_pin: str = ""
    hsm_pin_file: str = ""
    hsm_uri: str = ""
    hsm_token_label: str = ""
    hsm_token_serial: str = ""
    hsm_api_key_label: str = ""
    hsm_store_key_label: str = ""
    hsm_audit_key_label: str = ""
    hsm_mode: str = "extract"
    hsm_timeout: int = 30
    hsm_final_try: bool = False
    health_servfail_threshold: int = 0
    health_latency_threshold: int = 0
    health_min_qps: int = 0
    node_id: str = ""
    drain_timeout: int = 5
    mode: str = "master"
    sync_port: int = 0
    sync_key: str = ""
    sync_master: str = ""
    sync_interval: int = 0
    acme_email: str = ""
    acme_domain: tuple[Entry, ...] = ()
    acme_cache_dir: str = ""
    acme_staging: bool = False
    acme_challenge_port: int = 0
    acme_server: str = ""
    acme_challenge: str = ""
    acme_profile: str = ""
    dot_client_auth_ca: str = ""
    ui_enabled: bool = False
    ui_port: int = 8091
    ui_bind: str = "127.0.0.1"


class RemoteControl(msgspec.Struct, frozen=True, kw_only=True):
    """`remote-control:`, all of its openings merged."""

    control_enable: bool = False
    control_interface: tuple[Entry, ...] = ()
    control_port: int = 8953
    server_key_file: str = "unbound_server.key"
    server_cert_file: str = "unbound_server.pem"
    control_key_file: str = "unbound_control.key"
    control_cert_file: str = "unbound_control.pem"
    control_use_cert: bool = True


class Python(msgspec.Struct, frozen=True, kw_only=True):
    """`python:`, all of its openings merged."""

    python_script: tuple[Entry, ...] = ()


class Dynlib(msgspec.Struct, frozen=True, kw_only=True):
    """`dynlib:`, all of its openings merged."""

    dynlib_file: tuple[Entry, ...] = ()


class Dnscrypt(msgspec.Struct, frozen=True, kw_only=True):
    """`dnscrypt:`, all of its openings merged."""

    dnscrypt_enable: bool = False
    dnscrypt_port: int = 0
    dnscrypt_provider: str = ""
    dnscrypt_secret_key: tuple[Entry, ...] = ()
    dnscrypt_provider_cert: tuple[Entry, ...] = ()
    dnscrypt_provider_cert_rotated: tuple[Entry, ...] = ()
    dnscrypt_shared_secret_cache_size: int = 4194304
    dnscrypt_shared_secret_cache_slabs: int = 0
    dnscrypt_nonce_cache_size: int = 4194304
    dnscrypt_nonce_cache_slabs: int = 0


class Cachedb(msgspec.Struct, frozen=True, kw_only=True):
    """`cachedb:`, all of its openings merged."""

    backend: str = "testframe"
    secret_seed: str = "default"  # noqa: S105 - Unbound's own, public default
    redis_server_host: str = "127.0.0.1"
    redis_replica_server_host: str = ""
    redis_server_port: int = 6379
    redis_replica_server_port: int = 6379
    redis_timeout: int = 100
    redis_replica_timeout: int = 100
    redis_command_timeout: int = 0
    redis_replica_command_timeout: int = 0
    redis_connect_timeout: int = 0
    redis_replica_connect_timeout: int = 0
    redis_server_path: str = ""
    redis_replica_server_path: str = ""
    redis_server_password: str = ""
    redis_replica_server_password: str = ""
    redis_logical_db: int = 0
    redis_replica_logical_db: int = 0
    cachedb_no_store: bool = False
    redis_expire_records: bool = False
    cachedb_check_when_serve_expired: bool = True


class Ipset(msgspec.Struct, frozen=True, kw_only=True):
    """`ipset:`, all of its openings merged."""

    name_v4: str = ""
    name_v6: str = ""


class Dnstap(msgspec.Struct, frozen=True, kw_only=True):
    """`dnstap:`, all of its openings merged."""

    dnstap_enable: bool = False
    dnstap_socket_path: str = ""
    dnstap_bidirectional: bool = True
    dnstap_ip: str = ""
    dnstap_tls: bool = True
    dnstap_tls_server_name: str = ""
    dnstap_tls_cert_bundle: str = ""
    dnstap_tls_client_key_file: str = ""
    dnstap_tls_client_cert_file: str = ""
    dnstap_send_identity: bool = False
    dnstap_send_version: bool = False
    dnstap_identity: str = ""
    dnstap_version: str = ""
    dnstap_log_resolver_query_messages: bool = False
    dnstap_log_resolver_response_messages: bool = False
    dnstap_log_client_query_messages: bool = False
    dnstap_log_client_response_messages: bool = False
    dnstap_log_forwarder_query_messages: bool = False
    dnstap_log_forwarder_response_messages: bool = False
    dnstap_sample_rate: int = 0


class ForwardZone(msgspec.Struct, frozen=True, kw_only=True):
    """`forward-zone:`, one opening."""

    at: Position = NOWHERE
    name: str = ""
    forward_host: tuple[Entry, ...] = ()
    forward_addr: tuple[Entry, ...] = ()
    forward_first: bool = False
    forward_no_cache: bool = False
    forward_tls_upstream: bool = False
    forward_tcp_upstream: bool = False


class StubZone(msgspec.Struct, frozen=True, kw_only=True):
    """`stub-zone:`, one opening."""

    at: Position = NOWHERE
    name: str = ""
    stub_host: tuple[Entry, ...] = ()
    stub_addr: tuple[Entry, ...] = ()
    stub_prime: bool = False
    stub_first: bool = False
    stub_no_cache: bool = False
    stub_tls_upstream: bool = False
    stub_tcp_upstream: bool = False


class AuthZone(msgspec.Struct, frozen=True, kw_only=True):
    """`auth-zone:`, one opening."""

    at: Position = NOWHERE
    name: str = ""
    zonefile: str = ""
    primary: tuple[Entry, ...] = ()
    url: tuple[Entry, ...] = ()
    for_downstream: bool = True
    for_upstream: bool = True
    fallback_enabled: bool = False
    allow_notify: tuple[Entry, ...] = ()
    zonemd_check: bool = False
    zonemd_reject_absence: bool = False
    max_transfer_size: int = 0
    max_transfer_time: int = 0


class Rpz(msgspec.Struct, frozen=True, kw_only=True):
    """`rpz:`, one opening."""

    at: Position = NOWHERE
    name: str = ""
    zonefile: str = ""
    tags: str = ""
    primary: tuple[Entry, ...] = ()
    url: tuple[Entry, ...] = ()
    allow_notify: tuple[Entry, ...] = ()
    rpz_action_override: str = ""
    rpz_cname_override: str = ""
    rpz_log: bool = False
    rpz_log_name: str = ""
    rpz_signal_nxdomain_ra: bool = False
    for_downstream: bool = False
    max_transfer_size: int = 0
    max_transfer_time: int = 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """`view:`, one opening."""

    at: Position = NOWHERE
    name: str = ""
    local_zone: tuple[Entry, ...] = ()
    local_data: tuple[Entry, ...] = ()
    view_first: bool = False
    response_ip: tuple[Entry, ...] = ()
    response_ip_data: tuple[Entry, ...] = ()
    local_data_ptr: tuple[Entry, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration."""

    server: Server = Server()
    remote_control: RemoteControl = RemoteControl()
    python: Python = Python()
    dynlib: Dynlib = Dynlib()
    dnscrypt: Dnscrypt = Dnscrypt()
    cachedb: Cachedb = Cachedb()
    ipset: Ipset = Ipset()
    dnstap: Dnstap = Dnstap()
    forward_zones: tuple[ForwardZone, ...] = ()
    stub_zones: tuple[StubZone, ...] = ()
    auth_zones: tuple[AuthZone, ...] = ()
    rpzs: tuple[Rpz, ...] = ()
    views: tuple[View, ...] = ()
    places: dict[tuple[str, str], tuple[Position, ...]] = {}
    """Where each option stands, by clause and option, in the order of reading; aliases under their option's name."""

    sequence: dict[str, tuple[tuple[str, Position], ...]] = {}
    """Each clause's statements in the order of reading: option and place."""

    def given(self, clause: str, option: str) -> tuple[Position, ...]:
        """Where an option stands; empty means its default. Of the bulk options only the first place is known."""
        return self.places.get((clause, option), ())

    def order(self, clause: str, names: Iterable[str]) -> tuple[Position, ...]:
        """Where any of these options stand, in the order of reading, for options whose mutual order counts."""
        wanted = set(names)
        return tuple(at for name, at in self.sequence.get(clause, ()) if name in wanted)
