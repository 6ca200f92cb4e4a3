"""From the operator's model to the engine's document.

Owns the meaning of every option that the data plane honours: units, precedence, aliases, Unbound's corner cases. It
reads `config.model`, writes `engine.document`, and registers each option it takes, which is what `runbound check
--report` calls honoured. It must never touch a file, a socket or the clock, and must be quick to import: the first
answer waits for it.
"""

import socket as _socket
from collections.abc import Iterable

from runbound import __version__
from runbound.config import options
from runbound.config.check import modules
from runbound.config.model import NOWHERE, Config, Entry, ForwardZone, Position, StubZone
from runbound.config.values import date_seconds
from runbound.engine import document as doc

options.honour(
    "server",
    # listening
    *("port", "interface", "ip-address", "interface-automatic", "interface-automatic-ports"),
    *("do-ip4", "do-ip6", "do-udp", "do-tcp", "tcp-mss", "so-rcvbuf", "so-sndbuf", "ip-transparent", "ip-freebind"),
    *("ip-dscp", "tcp-idle-timeout", "edns-tcp-keepalive", "edns-tcp-keepalive-timeout", "tcp-connection-limit"),
    # who may ask, and what is answered here
    *("access-control", "local-zone", "local-data", "local-data-ptr", "unblock-lan-zones", "deny-any"),
    *("identity", "version", "hide-identity", "hide-version", "hide-trustanchor"),
    *("answer-cookie", "cookie-secret", "sock-queue-timeout", "discard-timeout", "wait-limit", "wait-limit-cookie"),
    # how answers look
    *("edns-buffer-size", "max-udp-size", "minimal-responses", "rrset-roundrobin", "ede", "nsid"),
    *("harden-short-bufsize", "harden-large-queries"),
    *("cache-max-ttl", "cache-min-ttl", "cache-max-negative-ttl", "cache-min-negative-ttl"),
    *("serve-expired", "serve-expired-ttl", "serve-expired-ttl-reset", "serve-expired-reply-ttl"),
    *("serve-expired-client-timeout", "ede-serve-expired", "prefetch", "harden-below-nxdomain"),
    *("iter-scrub-promiscuous", "iter-scrub-ns", "iter-scrub-rrsig"),
    "iter-scrub-cname",  # one alias of a reply is taken at a time, whatever it says
    *("harden-unknown-additional", "harden-unverified-glue"),
    *("private-address", "private-domain"),
    # how others are asked
    *("outgoing-interface", "outgoing-port-permit", "outgoing-port-avoid", "outgoing-tcp-mss", "tcp-upstream"),
    *("do-not-query-address", "do-not-query-localhost", "outbound-msg-retry", "unknown-server-time-limit"),
    *("max-query-restarts", "max-sent-count", "udp-upstream-without-downstream", "use-caps-for-id", "caps-exempt"),
    *("infra-host-ttl", "infra-cache-numhosts", "infra-cache-min-rtt", "infra-cache-max-rtt", "infra-keep-probing"),
    *("fast-server-permil", "fast-server-num", "unwanted-reply-threshold", "jostle-timeout"),
    *("upstream-racing", "resolv-fallback", "resolution"),
    *("max-global-quota", "disable-edns-do", "edns-client-string", "edns-client-string-opcode"),
    # how names are found without forwarders
    *("root-hints", "target-fetch-policy", "qname-minimisation", "qname-minimisation-strict", "harden-glue"),
    *("harden-referral-path", "prefer-ip4", "prefer-ip6"),
    # what is believed
    *("trust-anchor", "trust-anchor-file", "trusted-keys-file", "auto-trust-anchor-file", "domain-insecure"),
    *("insecure-lan-zones", "add-holddown", "del-holddown", "keep-missing", "permit-small-holddown"),
    *("val-override-date", "val-sig-skew-min", "val-sig-skew-max", "val-bogus-ttl", "val-max-restart", "val-sha1"),
    *("val-nsec3-keysize-iterations", "val-clean-additional", "val-permissive-mode", "val-log-level"),
    *("ignore-cd-flag", "harden-dnssec-stripped", "harden-algo-downgrade", "disable-dnssec-lame-check"),
    *("aggressive-nsec", "prefetch-key", "root-key-sentinel", "trust-anchor-signaling", "fake-sha1", "fake-dsa"),
    # room for it all
    *("key-cache-size", "neg-cache-size"),
    *("msg-cache-size", "rrset-cache-size", "num-queries-per-thread", "outgoing-range", "outgoing-num-tcp"),
    *("max-reuse-tcp-queries", "tcp-reuse-timeout"),
    *("incoming-num-tcp", "stream-wait-size"),
    # what is written down
    *("verbosity", "logfile", "use-syslog", "log-identity", "log-time-ascii", "log-time-iso", "log-format"),
    *(
        "extended-statistics",
        "log-queries",
        "log-replies",
        "log-local-actions",
        "log-servfail",
        "log-tag-queryreply",
        "log-destaddr",
    ),
    *("log-retention", "log-client-ip", "query-log-file"),
)
options.honour(
    "forward-zone",
    *("name", "forward-addr", "forward-host", "forward-first", "forward-tcp-upstream", "forward-no-cache"),
)

options.honour(
    "stub-zone",
    *("name", "stub-addr", "stub-host", "stub-first", "stub-prime", "stub-no-cache", "stub-tcp-upstream"),
)


ANCHOR_OPTIONS = ("trust-anchor", "trust-anchor-file", "trusted-keys-file", "auto-trust-anchor-file")
"""Whoever writes one of these, even with nothing behind it, decides what is believed."""
LAN_ZONES = (
    *("home.arpa.", "resolver.arpa.", "service.arpa.", "10.in-addr.arpa.", "168.192.in-addr.arpa."),
    *(f"{n}.172.in-addr.arpa." for n in range(16, 32)),
    *("254.169.in-addr.arpa.", "2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.", "113.0.203.in-addr.arpa."),
    *("255.255.255.255.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.", "d.f.ip6.arpa."),
    *(f"{n}.e.f.ip6.arpa." for n in "89ab"),
    *(f"{n}.100.in-addr.arpa." for n in range(64, 128)),
)
"""Zones that `insecure-lan-zones` excuses: names of private networks (RFC 6303, RFC 7793, RFC 8375), as in Unbound."""
CLIENT_STREAMS = 1000
"""Client TCP connections a worker keeps where `incoming-num-tcp` says nothing. Unbound's default of 10 was made for a
fallback; RFC 9210 expects streams to be ordinary. Each costs a descriptor and, idle, about a kilobyte."""
RESOLV_CONF = "/etc/resolv.conf"
"""Where `resolv-fallback` reads the system's servers."""
U8, U16, U32 = 2**8 - 1, 2**16 - 1, 2**32 - 1
"""The most that a field of the document holds. The file may say more where more means the same."""


def _at(position: Position | None) -> doc.At:
    return doc.At() if position is None else doc.At(position.file, position.line, position.column)


def split_port(text: str, default: int) -> tuple[str, int]:
    """`ip@port` → ("ip", port); without `@` the default port."""
    address, sign, port = text.partition("@")
    return address, int(port) if sign else default


def split_forward(text: str, default: int) -> tuple[str, int]:
    """`ip[@port][#tlsname]` → ("ip", port); the TLS name is another room's."""
    return split_port(text.partition("#")[0], default)


def _listen(config: Config) -> tuple[doc.Listen, ...]:
    """Where to listen: `interface` as written, else both loopback addresses, as Unbound."""
    server = config.server
    port = server.port
    if server.interface_automatic:
        ports = [int(p) for p in server.interface_automatic_ports.split()] or [port]
        hosts = [h for h, wanted in (("0.0.0.0", server.do_ip4), ("::", server.do_ip6)) if wanted]
        return tuple(doc.Listen(host, p, doc.At()) for p in ports for host in hosts)
    entries: Iterable[Entry] = server.interface
    listens = [doc.Listen(*split_port(entry.values[0], port), _at(entry.at)) for entry in entries]
    if listens:
        return tuple(listens)
    hosts = [h for h, wanted in (("127.0.0.1", server.do_ip4), ("::1", server.do_ip6)) if wanted]
    return tuple(doc.Listen(host, port, doc.At()) for host in hosts)


def _port_rules(config: Config) -> tuple[tuple[bool, int, int], ...]:
    """`outgoing-port-permit` and `outgoing-port-avoid` as (permit, first, last), in file order: the last one counts."""
    permitted = {entry.at: (True, entry) for entry in config.server.outgoing_port_permit}
    avoided = {entry.at: (False, entry) for entry in config.server.outgoing_port_avoid}
    rules = permitted | avoided

    def bounds(text: str) -> tuple[int, int]:
        low, dash, high = text.partition("-")
        return int(low), int(high if dash else low)

    places = config.order("server", ("outgoing-port-permit", "outgoing-port-avoid"))
    return tuple((permit, *bounds(entry.values[0])) for permit, entry in (rules[at] for at in places))


def _nsid(text: str | None) -> bytes | None:
    if not text:
        return None
    return text.removeprefix("ascii_").encode() if text.startswith("ascii_") else bytes.fromhex(text)


def _placed(entries: Iterable[Entry]) -> tuple[doc.Placed, ...]:
    return tuple(doc.Placed(entry.values[0], _at(entry.at)) for entry in entries)


def _named(entries: Iterable[Entry]) -> tuple[doc.Placed, ...]:
    """Paths. An empty one names nothing."""
    return tuple(placed for placed in _placed(entries) if placed.value)


def _servers(entries: Iterable[Entry]) -> tuple[doc.ForwardServer, ...]:
    return tuple(doc.ForwardServer(*split_forward(entry.values[0], 53), _at(entry.at)) for entry in entries)


def asked(config: Config) -> tuple[ForwardZone, ...]:
    """The forward zones that are used: `resolution: full-recursion` leaves the root's aside."""
    everywhere = config.server.resolution != "full-recursion"
    return tuple(zone for zone in config.forward_zones if everywhere or zone.name.strip(".") != "")


def _forward(zone: ForwardZone) -> doc.Forward:
    return doc.Forward(
        name=zone.name,
        servers=_servers(zone.forward_addr),
        hosts=_servers(zone.forward_host),
        tcp=zone.forward_tcp_upstream,
        first=zone.forward_first,
        no_cache=zone.forward_no_cache,
        at=_at(zone.at),
    )


def _stub(zone: StubZone) -> doc.Stub:
    return doc.Stub(
        name=zone.name,
        servers=_servers(zone.stub_addr),
        hosts=_servers(zone.stub_host),
        tcp=zone.stub_tcp_upstream,
        prime=zone.stub_prime,
        first=zone.stub_first,
        no_cache=zone.stub_no_cache,
        at=_at(zone.at),
    )


def _recursion(config: Config) -> doc.Recursion:
    server = config.server
    return doc.Recursion(
        root_hints=_placed(server.root_hints),
        stubs=tuple(_stub(zone) for zone in config.stub_zones),
        prefer_ip4=server.prefer_ip4,
        prefer_ip6=server.prefer_ip6,
        fetch_policy=tuple(max(-1, min(int(number), U8)) for number in server.target_fetch_policy.split()),
        minimise=server.qname_minimisation,
        minimise_strict=server.qname_minimisation_strict,
        harden_glue=server.harden_glue,
        harden_referral_path=server.harden_referral_path,
    )


def _built_in_anchors(config: Config) -> bool:
    """Whether the root's anchors hold unasked: the file names none, and no zone or root of its own.

    Private zones, a private root, and forwarders may have names that nobody whom IANA knows has signed. Unbound does
    not validate there either as long as no anchor is named.
    """
    if any(config.given("server", option) for option in ANCHOR_OPTIONS):
        return False
    return not (asked(config) or config.stub_zones or config.auth_zones or config.server.root_hints)


def _date(text: str) -> int | None:
    """`val-override-date` in Unix seconds; -1 for no look at dates, None for today's."""
    if text in ("", "0"):
        return None
    return date_seconds(text)


def _trust(config: Config) -> doc.Trust | None:
    server = config.server
    if "validator" not in modules(config):
        return None
    sizes = [min(int(number), U32) for number in server.val_nsec3_keysize_iterations.split()]
    lan = (Entry((name,), NOWHERE) for name in LAN_ZONES if server.insecure_lan_zones)
    return doc.Trust(
        anchors=_placed(server.trust_anchor),
        anchor_files=_named(server.trust_anchor_file),
        bind_files=_named(server.trusted_keys_file),
        auto_files=_named(server.auto_trust_anchor_file),
        insecure=_placed((*server.domain_insecure, *lan)),
        built_in=_built_in_anchors(config),
        date=_date(server.val_override_date),
        skew_min_s=min(server.val_sig_skew_min, U32),
        skew_max_s=min(server.val_sig_skew_max, U32),
        bogus_ttl_s=min(server.val_bogus_ttl, U32),
        max_restart=min(server.val_max_restart, U32),
        iterations=tuple(zip(sizes[::2], sizes[1::2], strict=True)),
        sha1=server.val_sha1 == "secure",
        fake_sha1=server.fake_sha1,
        fake_dsa=server.fake_dsa,
        permissive=server.val_permissive_mode,
        clean_additional=server.val_clean_additional,
        ignore_cd=server.ignore_cd_flag,
        harden_dnssec_stripped=server.harden_dnssec_stripped,
        harden_algo_downgrade=server.harden_algo_downgrade,
        lame_check=not server.disable_dnssec_lame_check,
        aggressive_nsec=server.aggressive_nsec,
        prefetch_key=server.prefetch_key,
        sentinel=server.root_key_sentinel,
        signal=server.trust_anchor_signaling,
        log_level=min(server.val_log_level, U32),
        add_holddown_s=server.add_holddown,
        del_holddown_s=server.del_holddown,
        keep_missing_s=server.keep_missing,
        small_holddown=server.permit_small_holddown,
    )


def ways(config: Config) -> str:
    """How names are resolved, in two lines for the report."""
    forwards = asked(config)
    everything = any(zone.name.strip(".") == "" for zone in forwards)
    if everything:
        found = "Names are asked of forwarders."
    elif config.server.resolution == "forward":
        found = "Names are asked of the forwarders of their zones; others are not resolved."
    else:
        found = "Names are looked up from the root down" + (", but for forward zones." if forwards else ".")
    trust = _trust(config)
    if trust is None:
        return f"{found}\nAnswers are not validated: module-config has no validator."
    if trust.built_in:
        return f"{found}\nAnswers are validated, from the built-in trust anchors of the root."
    if trust.anchors or trust.anchor_files or trust.bind_files or trust.auto_files:
        return f"{found}\nAnswers are validated, from the trust anchors of the file."
    return f"{found}\nAnswers are not validated: there is no trust anchor."


def compile_document(config: Config, revision: int) -> doc.Document:
    """Builds the document of one configuration. It expects a configuration that `config.check` passed."""
    server = config.server
    version = server.version or f"runbound {__version__}"
    return doc.Document(
        revision=revision,
        threads=server.num_threads if config.given("server", "num-threads") else 0,
        querylog=doc.QueryLog(retention=server.log_retention, clients=server.log_client_ip, file=server.query_log_file),
        log=doc.Log(
            file=server.logfile,
            syslog=server.use_syslog,
            verbosity=min(server.verbosity, U8),
            time="iso" if server.log_time_iso else "ascii" if server.log_time_ascii else "unix",
            identity=server.log_identity or "runbound",
            json=server.log_format == "json",
        ),
        listen=_listen(config),
        socket=doc.Socket(
            udp=server.do_udp,
            tcp=server.do_tcp,
            rcvbuf=min(server.so_rcvbuf, U32),
            sndbuf=min(server.so_sndbuf, U32),
            tcp_mss=server.tcp_mss,
            dscp=server.ip_dscp,
            freebind=server.ip_freebind,
            transparent=server.ip_transparent,
            automatic=server.interface_automatic,
            ip4=server.do_ip4,
            ip6=server.do_ip6,
        ),
        acl=tuple(doc.AclRule(e.values[0], e.values[1], _at(e.at)) for e in server.access_control),
        local=doc.Local(unblock_lan_zones=server.unblock_lan_zones),
        chaos=doc.Chaos(
            identity=server.identity or _socket.gethostname(),
            version=version,
            hide_identity=server.hide_identity,
            hide_version=server.hide_version,
            hide_trustanchor=server.hide_trustanchor,
        ),
        serve=doc.Serve(
            edns_buffer_size=server.edns_buffer_size,
            max_udp_size=min(server.max_udp_size, U16),
            minimal_responses=server.minimal_responses,
            rrset_roundrobin=server.rrset_roundrobin,
            answer_cookie=server.answer_cookie,
            cookie_secrets=(bytes.fromhex(server.cookie_secret),) if server.cookie_secret else (),
            nsid=_nsid(server.nsid),
            ede=server.ede,
            deny_any=server.deny_any,
            harden_short_bufsize=server.harden_short_bufsize,
            harden_large_queries=server.harden_large_queries,
            sock_queue_timeout=min(server.sock_queue_timeout * 1000, U32),
            discard_timeout=server.discard_timeout,
            wait_limit=server.wait_limit,
            wait_limit_cookie=server.wait_limit_cookie,
            stream_wait_size=server.stream_wait_size,
            extended_statistics=server.extended_statistics,
            tcp_idle_timeout=server.tcp_idle_timeout,
            edns_tcp_keepalive=server.edns_tcp_keepalive,
            edns_tcp_keepalive_timeout=server.edns_tcp_keepalive_timeout,
            incoming_num_tcp=server.incoming_num_tcp if config.given("server", "incoming-num-tcp") else CLIENT_STREAMS,
            tcp_connection_limits=tuple(
                doc.ConnectionLimit(e.values[0], int(e.values[1]), _at(e.at)) for e in server.tcp_connection_limit
            ),
            log_queries=server.log_queries,
            log_replies=server.log_replies,
            log_local_actions=server.log_local_actions,
            log_servfail=server.log_servfail,
            log_tag_queryreply=server.log_tag_queryreply,
            log_destaddr=server.log_destaddr,
        ),
        forwards=tuple(_forward(zone) for zone in asked(config)),
        recursion=None if server.resolution == "forward" else _recursion(config),
        trust=_trust(config),
        outgoing=doc.Outgoing(
            ip4=server.do_ip4,
            ip6=server.do_ip6,
            udp=server.do_udp or server.udp_upstream_without_downstream,
            tcp_upstream=server.tcp_upstream,
            tcp_mss=server.outgoing_tcp_mss,
            interfaces=_placed(server.outgoing_interface),
            port_rules=_port_rules(config),
            range=server.outgoing_range,
            num_tcp=server.outgoing_num_tcp,
            tcp_reuse_queries=server.max_reuse_tcp_queries,
            tcp_reuse_timeout=server.tcp_reuse_timeout,
            do_not_query=_placed(server.do_not_query_address),
            do_not_query_localhost=server.do_not_query_localhost,
            queries_per_thread=server.num_queries_per_thread,
            jostle_timeout=server.jostle_timeout,
            msg_retry=server.outbound_msg_retry,
            unknown_server_time_limit=server.unknown_server_time_limit,
            max_query_restarts=server.max_query_restarts,
            max_sent_count=server.max_sent_count,
            caps_for_id=server.use_caps_for_id,
            caps_exempt=_placed(server.caps_exempt),
            private_addresses=_placed(server.private_address),
            private_domains=_placed(server.private_domain),
            infra_host_ttl_s=server.infra_host_ttl,
            infra_numhosts=server.infra_cache_numhosts,
            infra_min_rtt=server.infra_cache_min_rtt,
            infra_max_rtt=server.infra_cache_max_rtt,
            infra_keep_probing=server.infra_keep_probing,
            fast_server_permil=server.fast_server_permil,
            fast_server_num=server.fast_server_num,
            unwanted_reply_threshold=server.unwanted_reply_threshold,
            upstream_racing=server.upstream_racing,
            resolv_conf=RESOLV_CONF if server.resolv_fallback else "",
            max_global_quota=min(server.max_global_quota, U32),
            edns_do=not server.disable_edns_do,
            client_strings=tuple(
                doc.ClientString(e.values[0], e.values[1], _at(e.at)) for e in server.edns_client_string
            ),
            client_string_opcode=server.edns_client_string_opcode,
        ),
        cache=doc.Cache(
            messages=server.msg_cache_size,
            rrsets=server.rrset_cache_size,
            min_ttl=server.cache_min_ttl,
            max_ttl=server.cache_max_ttl,
            min_negative_ttl=server.cache_min_negative_ttl,
            max_negative_ttl=server.cache_max_negative_ttl,
            serve_expired=server.serve_expired,
            serve_expired_ttl=server.serve_expired_ttl,
            serve_expired_ttl_reset=server.serve_expired_ttl_reset,
            serve_expired_reply_ttl=server.serve_expired_reply_ttl,
            serve_expired_client_timeout=server.serve_expired_client_timeout,
            ede_serve_expired=server.ede_serve_expired,
            prefetch=server.prefetch,
            harden_below_nxdomain=server.harden_below_nxdomain,
            scrub_promiscuous=server.iter_scrub_promiscuous,
            scrub_ns=min(server.iter_scrub_ns, U32),
            scrub_rrsig=min(server.iter_scrub_rrsig, U32),
            harden_unknown_additional=server.harden_unknown_additional,
            harden_unverified_glue=server.harden_unverified_glue,
            keys=server.key_cache_size,
            negatives=server.neg_cache_size,
        ),
    )
