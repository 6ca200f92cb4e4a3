"""What the engine's document says for what stands in a file, and that Rust reads it."""

from pathlib import Path

import msgspec
import pytest

from runbound.config import options
from runbound.config.load import examine
from runbound.config.model import Config
from runbound.engine import EngineError, check, scan_text
from runbound.engine.compile import compile_document
from runbound.engine.document import Document, Listen
from runbound.ops.source import FileSource, checker


def config_of(text: str, tmp_path: Path) -> Config:
    loaded = examine(scan_text(text.encode(), "test.conf", str(tmp_path)), str(tmp_path / "test.conf"))
    assert loaded.ok, loaded.diagnostics
    return loaded.config


def document_of(text: str, tmp_path: Path) -> Document:
    return compile_document(config_of(text, tmp_path), 1)


def places(listens: tuple[Listen, ...]) -> list[tuple[str, int]]:
    return [(listen.interface, listen.port) for listen in listens]


def test_without_interface_both_loopback_addresses_are_served(tmp_path: Path) -> None:
    assert places(document_of("server: port: 5300", tmp_path).listen) == [("127.0.0.1", 5300), ("::1", 5300)]
    assert places(document_of("server: do-ip6: no", tmp_path).listen) == [("127.0.0.1", 53)]


def test_an_interface_may_name_its_own_port(tmp_path: Path) -> None:
    text = "server: port: 5300 interface: 127.0.0.1 interface: 127.0.0.2@5301 ip-address: ::1@5302"
    assert places(document_of(text, tmp_path).listen) == [("127.0.0.1", 5300), ("127.0.0.2", 5301), ("::1", 5302)]


def test_interface_automatic_serves_the_wildcards_on_its_ports(tmp_path: Path) -> None:
    text = 'server: interface-automatic: yes interface-automatic-ports: "5300 5301" do-ip6: no'
    document = document_of(text, tmp_path)
    assert places(document.listen) == [("0.0.0.0", 5300), ("0.0.0.0", 5301)]
    assert document.socket.automatic


def test_port_rules_keep_the_order_of_the_file(tmp_path: Path) -> None:
    text = "server: outgoing-port-avoid: 1024-65535 outgoing-port-permit: 4000 outgoing-port-avoid: 4000-4001"
    rules = document_of(text, tmp_path).outgoing.port_rules
    assert rules == ((False, 1024, 65535), (True, 4000, 4000), (False, 4000, 4001))


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("msg-cache-size: 1m", "cache.messages", 1 << 20),
        ("rrset-cache-size: 2m", "cache.rrsets", 2 << 20),
        ("cache-max-ttl: 60", "cache.max_ttl", 60),
        ("cache-min-ttl: 5", "cache.min_ttl", 5),
        ("cache-max-negative-ttl: 61", "cache.max_negative_ttl", 61),
        ("cache-min-negative-ttl: 6", "cache.min_negative_ttl", 6),
        ("serve-expired: yes", "cache.serve_expired", True),
        ("serve-expired-ttl: 3600", "cache.serve_expired_ttl", 3600),
        ("serve-expired-ttl-reset: yes", "cache.serve_expired_ttl_reset", True),
        ("serve-expired-reply-ttl: 7", "cache.serve_expired_reply_ttl", 7),
        ("serve-expired-client-timeout: 0", "cache.serve_expired_client_timeout", 0),
        ("ede-serve-expired: yes", "cache.ede_serve_expired", True),
        ("prefetch: yes", "cache.prefetch", True),
        ("harden-below-nxdomain: no", "cache.harden_below_nxdomain", False),
        ("iter-scrub-promiscuous: no", "cache.scrub_promiscuous", False),
        ("use-caps-for-id: yes", "outgoing.caps_for_id", True),
        ("jostle-timeout: 100", "outgoing.jostle_timeout", 100),
        ("outbound-msg-retry: 2", "outgoing.msg_retry", 2),
        ("max-sent-count: 9", "outgoing.max_sent_count", 9),
        ("max-query-restarts: 3", "outgoing.max_query_restarts", 3),
        ("unknown-server-time-limit: 500", "outgoing.unknown_server_time_limit", 500),
        ("unwanted-reply-threshold: 10000", "outgoing.unwanted_reply_threshold", 10000),
        ("discard-timeout: 5000", "serve.discard_timeout", 5000),
        ("infra-host-ttl: 60", "outgoing.infra_host_ttl_s", 60),
        ("infra-cache-numhosts: 50", "outgoing.infra_numhosts", 50),
        ("infra-cache-min-rtt: 80", "outgoing.infra_min_rtt", 80),
        ("infra-cache-max-rtt: 4000", "outgoing.infra_max_rtt", 4000),
        ("infra-keep-probing: yes", "outgoing.infra_keep_probing", True),
        ("fast-server-permil: 900", "outgoing.fast_server_permil", 900),
        ("low-rtt-permil: 800", "outgoing.fast_server_permil", 800),
        ("low-rtt-pct: 70", "outgoing.fast_server_permil", 70),
        ("fast-server-num: 2", "outgoing.fast_server_num", 2),
        ("upstream-racing: yes", "outgoing.upstream_racing", True),
        ("resolv-fallback: yes", "outgoing.resolv_conf", "/etc/resolv.conf"),
        ("resolv-fallback: no", "outgoing.resolv_conf", ""),
        ("outgoing-range: 100", "outgoing.range", 100),
        ("outgoing-num-tcp: 3", "outgoing.num_tcp", 3),
        ("max-reuse-tcp-queries: 7", "outgoing.tcp_reuse_queries", 7),
        ("tcp-reuse-timeout: 5000", "outgoing.tcp_reuse_timeout", 5000),
        ("outgoing-tcp-mss: 1220", "outgoing.tcp_mss", 1220),
        ("num-queries-per-thread: 12", "outgoing.queries_per_thread", 12),
        ("do-not-query-localhost: no", "outgoing.do_not_query_localhost", False),
        ("max-global-quota: 90", "outgoing.max_global_quota", 90),
        ("disable-edns-do: yes", "outgoing.edns_do", False),
        ("edns-client-string-opcode: 65002", "outgoing.client_string_opcode", 65002),
        ("iter-scrub-ns: 5", "cache.scrub_ns", 5),
        ("iter-scrub-rrsig: 7", "cache.scrub_rrsig", 7),
        ("harden-unknown-additional: yes", "cache.harden_unknown_additional", True),
        ("harden-unverified-glue: yes", "cache.harden_unverified_glue", True),
        ("key-cache-size: 1m", "cache.keys", 1 << 20),
        ("neg-cache-size: 2m", "cache.negatives", 2 << 20),
        ("val-override-date: 20070916134226", "trust.date", 1189950146),
        ("val-override-date: 1442323400", "trust.date", 1442323400),
        ("val-override-date: -1", "trust.date", -1),
        ("val-sig-skew-min: 10", "trust.skew_min_s", 10),
        ("val-sig-skew-max: 11", "trust.skew_max_s", 11),
        ("val-bogus-ttl: 12", "trust.bogus_ttl_s", 12),
        ("val-max-restart: 3", "trust.max_restart", 3),
        ('val-nsec3-keysize-iterations: "1024 10 4096 20"', "trust.iterations", ((1024, 10), (4096, 20))),
        ("val-sha1: secure", "trust.sha1", True),
        ("val-permissive-mode: yes", "trust.permissive", True),
        ("val-clean-additional: no", "trust.clean_additional", False),
        ("val-log-level: 2", "trust.log_level", 2),
        ("ignore-cd-flag: yes", "trust.ignore_cd", True),
        ("harden-dnssec-stripped: no", "trust.harden_dnssec_stripped", False),
        ("harden-algo-downgrade: yes", "trust.harden_algo_downgrade", True),
        ("disable-dnssec-lame-check: yes", "trust.lame_check", False),
        ("aggressive-nsec: no", "trust.aggressive_nsec", False),
        ("prefetch-key: yes", "trust.prefetch_key", True),
        ("root-key-sentinel: no", "trust.sentinel", False),
        ("trust-anchor-signaling: no", "trust.signal", False),
        ("fake-sha1: yes", "trust.fake_sha1", True),
        ("fake-dsa: yes", "trust.fake_dsa", True),
        ("add-holddown: 5", "trust.add_holddown_s", 5),
        ("del-holddown: 6", "trust.del_holddown_s", 6),
        ("keep-missing: 0", "trust.keep_missing_s", 0),
        ("permit-small-holddown: yes", "trust.small_holddown", True),
    ],
)
def test_an_option_reaches_its_field_and_another_value_stood_there_before(
    line: str, field: str, value: object, tmp_path: Path
) -> None:
    room, _, name = field.partition(".")
    found, default = (getattr(getattr(document_of(t, tmp_path), room), name) for t in (f"server: {line}", ""))
    assert found == value
    assert default != value or value == ""


@pytest.mark.parametrize(
    ("option", "field", "values"),
    [
        ("private-address", "private_addresses", ["10.0.0.0/8", "fd00::/8"]),
        ("private-domain", "private_domains", ["home.arpa"]),
        ("caps-exempt", "caps_exempt", ["a.example", "b.example"]),
        ("caps-whitelist", "caps_exempt", ["a.example"]),
        ("do-not-query-address", "do_not_query", ["192.0.2.0/24"]),
        ("outgoing-interface", "interfaces", ["127.0.0.1", "2001:db8::/64"]),
    ],
)
def test_options_that_add_up_keep_their_values_and_places(
    option: str, field: str, values: list[str], tmp_path: Path
) -> None:
    text = "server:\n" + "".join(f"{option}: {value}\n" for value in values)
    placed = getattr(document_of(text, tmp_path).outgoing, field)
    assert [item.value for item in placed] == values
    assert [(item.at.file, item.at.line) for item in placed] == [("test.conf", 2 + n) for n in range(len(values))]


@pytest.mark.parametrize(
    ("option", "field", "values"),
    [
        ("trust-anchor", "anchors", ['". DS 1 8 2 ab"', '"a.test. DS 2 8 2 ab"']),
        ("domain-insecure", "insecure", ["lan", "corp.example"]),
        ("trusted-keys-file", "bind_files", ["/etc/keys/*.conf", "/etc/other/?.conf"]),
    ],
)
def test_what_is_believed_keeps_its_values_and_places(
    option: str, field: str, values: list[str], tmp_path: Path
) -> None:
    text = "server:\n" + "".join(f"{option}: {value}\n" for value in values)
    trust = document_of(text, tmp_path).trust
    assert trust is not None
    placed = getattr(trust, field)
    assert [item.value for item in placed] == [value.strip('"') for value in values]
    assert [(item.at.file, item.at.line) for item in placed] == [("test.conf", 2 + n) for n in range(len(values))]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("forward-zone: name: example.com forward-addr: 192.0.2.1", False),
        ("stub-zone: name: example.com stub-addr: 192.0.2.1", False),
        ('server: trust-anchor: "example.com. DS 1 8 2 ab"', False),
        ('server: auto-trust-anchor-file: ""', False),
        ('forward-zone: name: "." forward-addr: 192.0.2.1', False),
        ('stub-zone: name: "." stub-addr: 192.0.2.1', False),
        ('server: root-hints: "hints"', False),
    ],
)
def test_the_roots_anchors_are_built_in_where_the_file_has_no_zone_of_its_own(
    text: str, holds: bool, tmp_path: Path
) -> None:
    (tmp_path / "hints").write_text(". NS a.\na. A 192.0.2.1\n")
    trust = document_of(text, tmp_path).trust
    assert trust is not None
    assert trust.built_in is holds


def test_without_the_validator_nothing_is_validated(tmp_path: Path) -> None:
    assert document_of('server: module-config: "iterator"', tmp_path).trust is None
    assert document_of('server: module-config: "validator iterator"', tmp_path).trust is not None


def test_insecure_lan_zones_excuses_the_names_of_private_networks(tmp_path: Path) -> None:
    trust = document_of("server: insecure-lan-zones: yes domain-insecure: lan", tmp_path).trust
    assert trust is not None
    names = [placed.value for placed in trust.insecure]
    assert {"lan", "home.arpa.", "10.in-addr.arpa.", "31.172.in-addr.arpa.", "64.100.in-addr.arpa."} <= set(names)


def test_an_edns_client_string_keeps_its_network_and_its_blanks(tmp_path: Path) -> None:
    text = 'server:\n edns-client-string: 10.0.0.0/24 "abc d"\n'
    (string,) = document_of(text, tmp_path).outgoing.client_strings
    assert (string.net, string.text, string.at.line) == ("10.0.0.0/24", "abc d", 2)


def test_anchor_files_are_found_from_the_folder_of_the_file_and_faults_in_them_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_text(". DS 1 8 2 ab\n. DS nonsense\n")
    (tmp_path / "good.key").write_text(". DS 1 8 2 ab\n")
    main = tmp_path / "unbound.conf"
    main.write_text("server:\n trust-anchor-file: good.key\n trust-anchor-file: bad.key\n")
    candidate = FileSource(str(main)).load()
    (finding,) = candidate.diagnostics
    assert (finding.line, finding.severity) == (3, "error")
    assert "trust-anchor-file: " in finding.text
    assert "/bad.key: line 2: " in finding.text


def test_a_test_switch_starts_only_where_the_environment_is_for_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = tmp_path / "unbound.conf"
    main.write_text("server:\n fake-sha1: yes\n fake-dsa: yes\n")
    monkeypatch.delenv("RUNBOUND_TEST_SWITCHES", raising=False)
    errors = [item for item in FileSource(str(main)).load().diagnostics if item.severity == "error"]
    assert [item.line for item in errors] == [2, 3]
    monkeypatch.setenv("RUNBOUND_TEST_SWITCHES", "1")
    assert all(item.severity == "warning" for item in FileSource(str(main)).load().diagnostics)


def test_a_forward_zone_keeps_its_switches_and_its_servers_by_name(tmp_path: Path) -> None:
    text = (
        "forward-zone: name: a forward-first: yes forward-no-cache: yes forward-tcp-upstream: yes "
        "forward-host: dns.example@5353#tls.example forward-addr: 192.0.2.1"
    )
    (zone,) = document_of(text, tmp_path).forwards
    assert (zone.first, zone.no_cache, zone.tcp) == (True, True, True)
    assert [(host.address, host.port) for host in zone.hosts] == [("dns.example", 5353)]
    (plain,) = document_of("forward-zone: name: a forward-addr: 192.0.2.1", tmp_path).forwards
    assert (plain.first, plain.no_cache, plain.tcp, plain.hosts) == (False, False, False, ())


@pytest.mark.parametrize(("given", "octets"), [("ascii_ns1", b"ns1"), ("aabb", b"\xaa\xbb"), ("", None)])
def test_nsid_is_hex_or_text(given: str, octets: bytes | None, tmp_path: Path) -> None:
    assert document_of(f'server: nsid: "{given}"', tmp_path).serve.nsid == octets


def test_forward_addresses_take_their_port_and_leave_the_tls_name(tmp_path: Path) -> None:
    text = 'forward-zone: name: "." forward-addr: 192.0.2.1 forward-addr: 192.0.2.2@5353#dns.example'
    (zone,) = document_of(text, tmp_path).forwards
    assert [(s.address, s.port) for s in zone.servers] == [("192.0.2.1", 53), ("192.0.2.2", 5353)]


def test_threads_are_one_per_core_unless_the_file_says_so(tmp_path: Path) -> None:
    assert document_of("server: verbosity: 1", tmp_path).threads == 0
    assert document_of("server: num-threads: 1", tmp_path).threads == 1


def test_rust_reads_the_document_and_reports_local_data_with_its_place(tmp_path: Path) -> None:
    lines = [
        "server:",
        'local-data: "a.test. A 192.0.2.1"',
        'local-data: "b.test. A 192.0.2.999"',
        "local-zone: c.test. statik",
    ]
    text = "\n".join(lines)
    scan = scan_text(text.encode(), "test.conf", str(tmp_path))
    messages = check(compile_document(Config(), 1).encode(), scan)
    assert [(severity, line) for severity, _, line, *_ in messages] == [("error", 3), ("error", 4)]
    assert "static" in (messages[1][6] or "")


def test_a_document_of_another_version_is_refused(tmp_path: Path) -> None:
    document = msgspec.structs.replace(document_of("", tmp_path), version=99)
    with pytest.raises(EngineError, match="version 99"):
        check(document.encode(), None)


@pytest.mark.parametrize("name", ["name: x. forward-host: a", "name: x. forward-addr: 192.0.2.1"])
def test_rust_takes_what_python_made_of_every_option_of_forwarding(name: str, tmp_path: Path) -> None:
    text = (
        f"server: private-address: 10.0.0.0/8 private-domain: a caps-exempt: b outgoing-interface: 127.0.0.1 "
        f"do-not-query-address: 192.0.2.7 resolv-fallback: yes\nforward-zone: {name}"
    )
    assert check(document_of(text, tmp_path).encode(), None) == []


@pytest.mark.parametrize("value", ["2147483647", "99999999999", "8g", "65536", "256"])
def test_no_number_that_an_option_takes_is_too_big_for_the_document(value: str, tmp_path: Path) -> None:
    for option in options.every("server"):
        text = f"server:\n {option.name}: {' '.join([value] * max(1, option.arity))}\n"
        scan = scan_text(text.encode(), "unbound.conf", str(tmp_path))
        examine(scan, str(tmp_path / "unbound.conf"), checker(str(tmp_path / "unbound.conf")))
