"""The quickstart: whom it asks, what it writes, what it prints."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbound.errors import RunboundError
from runbound.ops import quickstart
from runbound.state.directory import StateDirectory, StateInUseError

Reply = Callable[[bytes], bytes]


@contextmanager
def resolver(reply: Reply | None) -> Iterator[int]:
    """A resolver of one answer on 127.0.0.1; None is one that stays silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(2)

        def work() -> None:
            query, client = server.recvfrom(4096)
            if reply is not None:
                server.sendto(reply(query), client)

        thread = threading.Thread(target=work)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def good(query: bytes) -> bytes:
    return query[:2] + b"\x81\x80" + query[4:]


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (good, True),
        (lambda q: q[:2] + b"\x81\x83" + q[4:], False),
        (lambda q: q[:2] + b"\x81\x82" + q[4:], False),
        (lambda q: q[:2] + b"\x81\x00" + q[4:], False),
        (lambda q: bytes([q[0] ^ 1]) + q[1:2] + b"\x81\x80" + q[4:], False),
        (lambda _q: b"", False),
        (None, False),
    ],
    ids=["answers", "nxdomain", "servfail", "no-recursion", "wrong-id", "empty", "silent"],
)
def test_probe_takes_only_a_resolvers_answer(reply: Reply | None, wanted: bool) -> None:
    with resolver(reply) as port:
        answered = quickstart.Probe(["127.0.0.1"], port).answered()
    assert answered == (["127.0.0.1"] if wanted else [])


def test_probe_survives_nonsense() -> None:
    assert quickstart.Probe(["not-an-address", "::ffff:300"]).answered() == []


def test_system_servers(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n"
        "nameserver 2001:db8::1\nnameserver\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
    )
    assert quickstart.system_servers(str(path)) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    assert quickstart.system_servers(str(tmp_path / "missing")) == []


@pytest.mark.parametrize(
    ("flags", "wanted"), [(b"\x84\x00", True), (b"\x81\x80", False), (b"\x84\x80", False), (b"\x84\x02", False)]
)
def test_a_root_server_speaks_with_authority_and_does_not_recurse(flags: bytes, wanted: bool) -> None:
    with resolver(lambda query: query[:2] + flags + query[4:]) as port:
        answered = quickstart.Probe(["127.0.0.1"], port, recursive=False).answered()
    assert answered == (["127.0.0.1"] if wanted else [])


@pytest.mark.parametrize(("more", "signed"), [(b"\0\0\x2e\0\1", True), (b"", False)])
def test_the_probe_sees_whether_a_resolver_leaves_out_signatures(more: bytes, signed: bool) -> None:
    with resolver(lambda query: good(query) + more) as port:
        probe = quickstart.Probe(["127.0.0.1"], port)
        assert probe.answered()
    assert probe.signed is signed


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reaches nobody."""
    monkeypatch.setattr(quickstart, "system_servers", list)
    monkeypatch.setattr(quickstart, "ROOT_SERVERS", ())


@pytest.mark.parametrize("walk", [False, True])
@pytest.mark.usefixtures("alone")
def test_prepare_falls_back_to_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walk: bool) -> None:
    monkeypatch.setattr(quickstart, "_lab_can_be_walked", lambda: walk)
    folder = tmp_path / "q"
    plan = quickstart.prepare(5399, 8099, str(folder))
    assert plan.found.servers == ()
    assert plan.found.lab_port is not None
    text = Path(plan.config_path).read_text()
    assert (f"forward-addr: 127.0.0.1@{plan.found.lab_port}" in text) is not walk
    assert ("root-hints:" in text) is walk
    assert f'trust-anchor-file: "{folder}/lab/root.key"' in text
    assert "interface: 127.0.0.1@5399" in text
    assert "api-port: 8099" in text
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.stat(plan.config_path).st_mode & 0o777 == 0o600


def test_with_the_internet_it_recurses_and_validates() -> None:
    text = quickstart.configuration(5335, None, quickstart.Found(), "/q")
    assert not any(word in text for word in ("forward-zone", "root-hints", "trust-anchor", "module-config"))


def test_behind_a_resolver_that_hands_out_signatures_it_validates() -> None:
    text = quickstart.configuration(5335, None, quickstart.Found(("192.0.2.1",)), "/q")
    assert text.count('trust-anchor: ". DS ') == 2


def test_behind_a_resolver_that_leaves_out_signatures_nothing_is_validated() -> None:
    found = quickstart.Found(("192.0.2.1",), signed=False)
    text = quickstart.configuration(5335, None, found, "/q")
    assert "forward-addr: 192.0.2.1" in text
    assert 'module-config: "iterator"' in text


@pytest.mark.usefixtures("alone")
def test_prepare_refuses_a_second_quickstart(tmp_path: Path) -> None:
    state = StateDirectory.open(str(tmp_path / "q"))
    with pytest.raises(StateInUseError):
        quickstart.prepare(folder=str(tmp_path / "q"))
    state.close()


@pytest.mark.usefixtures("alone")
def test_prepare_refuses_a_port_that_somebody_has(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another runbound's
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(RunboundError, match=f"port {port}: Address already in use"):
            quickstart.prepare(port, folder=str(tmp_path / "q"))


@pytest.mark.usefixtures("alone")
def test_prepare_says_where_it_may_not_write() -> None:
    with pytest.raises(RunboundError, match="cannot use /proc/q"):
        quickstart.prepare(folder="/proc/q")


def test_hints_say_what_to_type(tmp_path: Path) -> None:
    plan = quickstart.Plan(str(tmp_path / "runbound.conf"), ".runbound", 5335, quickstart.Found(("192.0.2.1",)))
    text = quickstart.hints(plan, ["http://127.0.0.1:8081"])
    assert "dig @127.0.0.1 -p 5335 www.example.com" in text
    assert "192.0.2.1" in text
    assert "curl http://127.0.0.1:8081/health" in text
    assert "$(cat .runbound/api.key)" in text


def test_hints_without_the_internet_are_about_the_lab(tmp_path: Path) -> None:
    found = quickstart.Found(lab_port=5301)
    text = quickstart.hints(quickstart.Plan(str(tmp_path / "runbound.conf"), ".runbound", 5335, found), [])
    assert "dig @127.0.0.1 -p 5335 www.signed.lab +dnssec" in text
    assert "runbound lab --list" in text


def test_the_lab_starts_and_stops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    port = quickstart._free_port()
    lab = quickstart.Lab(port, str(tmp_path))
    try:
        assert lab.wait_ready()
        assert (tmp_path / "lab" / "root.key").exists()
    finally:
        lab.stop()
