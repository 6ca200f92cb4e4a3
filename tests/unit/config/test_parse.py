"""From texts to the model: what is merged, what is repeated, what must be named, and where each thing stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbound.config import load
from runbound.engine import scan_text

if TYPE_CHECKING:
    from pathlib import Path

    from support.reading import Read


def texts(read: Read, text: str) -> list[str]:
    return [item.headline for item in read(text).diagnostics]


def test_values_have_their_types(read: Read) -> None:
    loaded = read(
        'server:\n port: 5353\n do-ip6: no\n msg-cache-size: 4m\n identity: "it\'s"\n'
        " access-control: 10.0.0.0/8 allow\n access-control: 10.1.0.0/16 refuse\n"
    )
    server = loaded.config.server
    assert (server.port, server.do_ip6, server.msg_cache_size, server.identity) == (5353, False, 4 << 20, "it's")
    assert [entry.values for entry in server.access_control] == [("10.0.0.0/8", "allow"), ("10.1.0.0/16", "refuse")]
    assert str(server.access_control[1].at) == "unbound.conf:7:2"
    assert server.edns_buffer_size == 1232
    assert loaded.ok
    assert not loaded.diagnostics


def test_clauses_merge_or_repeat(read: Read) -> None:
    config = read(
        "server: port: 1\nforward-zone: name: a forward-addr: 192.0.2.1\nserver: port: 2 verbosity: 4\n"
        "forward-zone: name: b\nremote-control: control-port: 7\n"
    ).config
    assert (config.server.port, config.server.verbosity, config.remote_control.control_port) == (2, 4, 7)
    assert [zone.name for zone in config.forward_zones] == ["a", "b"]
    assert [str(zone.at) for zone in config.forward_zones] == ["unbound.conf:2:1", "unbound.conf:4:1"]
    assert len(config.given("server", "port")) == 2
    assert config.given("server", "do-ip6") == ()


def test_aliases_are_one_option(read: Read) -> None:
    config = read("server:\n ip-address: 127.0.0.1\n interface: ::1\n ssl-port: 8853\n").config
    assert [entry.values[0] for entry in config.server.interface] == ["127.0.0.1", "::1"]
    assert config.server.tls_port == 8853
    assert len(config.given("server", "interface")) == 2


def test_bulk_is_not_in_the_model_but_its_place_is_known(read: Read) -> None:
    loaded = read("server:\n verbosity: 1\n local-zone: a static\n local-zone: b static\n")
    assert [str(at) for at in loaded.config.given("server", "local-zone")] == ["unbound.conf:3:2"]
    assert loaded.scan.bulk_counts()["local-zone"][0] == 2


def test_order_among_options_is_kept(read: Read) -> None:
    config = read("server:\n outgoing-port-avoid: 1-9\n port: 1\n outgoing-port-permit: 3\n").config
    order = config.order("server", ("outgoing-port-permit", "outgoing-port-avoid"))
    assert [at.line for at in order] == [2, 4]


def test_items_need_their_name_once(read: Read) -> None:
    assert texts(read, "forward-zone:\n forward-addr: 192.0.2.1\n") == ["unbound.conf:1:1: forward-zone: has no name"]
    assert texts(read, "rpz:\n zonefile: x\n") == ["unbound.conf:1:1: warning: rpz: has no name and is skipped"]
    twice = texts(read, "stub-zone:\n name: a\n name: b\n")
    assert twice == ["unbound.conf:3:2: name: this stub-zone: has a name already"]
    # A wrong name is told once, not as missing too.
    assert len(texts(read, "forward-zone:\n name: a..b\n")) == 1


def test_tags_are_defined_before_use(read: Read) -> None:
    assert read('server:\n define-tag: "t1 t2"\n local-zone-tag: x "t2"\n').ok
    assert texts(read, 'server:\n local-zone-tag: x "t2"\n define-tag: "t2"\n') == [
        'unbound.conf:2:20: local-zone-tag: "t2" is not a tag defined before'
    ]


def test_removed_and_accepted_options_do_not_fail(read: Read) -> None:
    loaded = read('server:\n dlv-anchor: "x"\n ipsecmod-enabled: bogus\ndnscrypt:\n dnscrypt-port: x\n')
    assert loaded.ok
    assert [item.severity for item in loaded.diagnostics] == ["warning"] * 3


def test_all_errors_come_in_one_run_in_the_order_of_the_file(read: Read) -> None:
    found = texts(
        read,
        "server:\n do-ip6: maybe\n bogus: 1\n access-control: 10.0.0.0/33 allow\n interface: eth99\n port: x\n"
        "forward-zone:\n name: .\n verbosity: 1\n",
    )
    assert [line.split(" ")[0] for line in found] == [
        "unbound.conf:2:10:",
        "unbound.conf:3:2:",
        "unbound.conf:4:18:",
        "unbound.conf:5:2:",
        "unbound.conf:6:8:",
        "unbound.conf:9:2:",
    ]


def test_the_caret_stands_below_the_wrong_value(read: Read) -> None:
    loaded = read('server:\n\taccess-control: "10.0.0.0/8" permit\n')
    assert str(loaded.diagnostics[0]) == (
        'unbound.conf:2:31: access-control: "permit" is not allowed here\n'
        '     2 |  access-control: "10.0.0.0/8" permit\n'
        "       |                               ^^^^^^\n"
        "       help: one of deny, refuse, allow, allow_setrd, allow_snoop, allow_cookie, "
        "deny_non_local, refuse_non_local"
    )


WORDS = st.sampled_from(
    [
        *(
            "server:",
            "forward-zone:",
            "view:",
            "port:",
            "name:",
            "local-zone:",
            "access-control:",
            "interface:",
            "bogus:",
        ),
        *("53", "yes", '"a b"', "'x'", ".", "10.0.0.0/8", "allow", "static", "#", "\n", "\r\n", " ", "\t", '"', "\\"),
        *("include:", "\0", "ü", "verbosity:", "tag", "define-tag:", "identity:"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(WORDS, max_size=60).map(" ".join))
def test_any_text_is_read_and_every_place_is_real(read: Read, text: str) -> None:
    loaded = read(text)
    scan = loaded.scan
    for _, _, keyword, values, file, line, column, _ in scan.statements():
        octets = scan.line(file, line).encode("utf-8", "surrogateescape")
        assert octets[column - 1 :].startswith(keyword.encode() + b":")
        assert values
    for item in loaded.diagnostics:
        assert str(item)
        assert item.column <= len(item.source.encode("utf-8", "surrogateescape")) + 1


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_read(data: bytes) -> None:
    scan = scan_text(data, "x", "/nonexistent")
    for _, file, line, *_ in scan.messages():
        assert isinstance(scan.line(file, line), str)


def test_octets_that_are_no_text_are_an_error_with_a_place(tmp_path: Path) -> None:
    text = b'server:\n identity: "\xff"\nforward-zone:\n name: b\xfccher.example\n forward-addr: 192.0.2.1\n'
    scan = scan_text(text, "unbound.conf", str(tmp_path))
    found = load.examine(scan, str(tmp_path / "unbound.conf")).diagnostics
    assert [item.headline for item in found] == [
        "unbound.conf:2:12: identity: the value is not UTF-8",
        "unbound.conf:4:8: name: the value is not UTF-8",
    ]
