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
from runbound.ops.source import check_in_engine


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


@pytest.mark.parametrize("value", ["2147483647", "99999999999", "8g", "65536", "256"])
def test_no_number_that_an_option_takes_is_too_big_for_the_document(value: str, tmp_path: Path) -> None:
    for option in options.every("server"):
        text = f"server:\n {option.name}: {' '.join([value] * max(1, option.arity))}\n"
        scan = scan_text(text.encode(), "unbound.conf", str(tmp_path))
        examine(scan, str(tmp_path / "unbound.conf"), check_in_engine)
