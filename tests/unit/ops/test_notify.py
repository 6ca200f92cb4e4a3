"""What systemd hears and hands over, spoken to a socket of our own in its place."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbound.ops.notify import Notifier, inherited_sockets


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2)
        yield listener


def test_speaks_to_a_path(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready("answering on\n127.0.0.1@53")
    assert manager.recv(4096).decode() == f"READY=1\nSTATUS=answering on 127.0.0.1@53\nMAINPID={os.getpid()}"
    notifier.stopping()
    assert manager.recv(4096) == b"STOPPING=1"


def test_reload_says_when_it_began(manager: socket.socket) -> None:
    Notifier({"NOTIFY_SOCKET": manager.getsockname()}).reloading()
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_speaks_to_an_abstract_name() -> None:
    name = f"runbound-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(b"\0" + name.encode())
        listener.settimeout(2)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).watchdog()
        assert listener.recv(64) == b"WATCHDOG=1"


@pytest.mark.parametrize("value", ["", "@", "relative", "/nobody/listens/here"])
def test_never_fails_the_service(value: str) -> None:
    Notifier({"NOTIFY_SOCKET": value}).ready("fine")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_period(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environ).watchdog_seconds == seconds


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "2", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "1"}],
)
def test_sockets_meant_for_others_are_left_alone(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ) == ()


def test_inherited_sockets_count_from_three(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_on_exec: list[int] = []
    monkeypatch.setattr(os, "set_inheritable", lambda fd, _flag: closed_on_exec.append(fd))
    assert inherited_sockets({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}) == (3, 4)
    assert closed_on_exec == [3, 4]
