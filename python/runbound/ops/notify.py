"""What systemd is told and what it hands over: sd_notify(3), the watchdog, and inherited sockets (sd_listen_fds(3)).

Written by hand because it is three environment variables and one datagram. It must never fail the service: outside
systemd every call does nothing, and a manager that does not listen is not our problem.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

LISTEN_FDS_START: Final = 3
"""First inherited descriptor, fixed by the protocol."""

WATCHDOG_DIVISOR: Final = 2
"""The watchdog is fed this many times in its period, as sd_watchdog_enabled(3) advises."""


class Notifier:
    """Sends state to the service manager named by NOTIFY_SOCKET, or to nobody."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _socket_address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self, status: str) -> None:
        """The service answers: after start, and again when a reload is done."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload begins. The time is CLOCK_MONOTONIC in microseconds, which Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service drains."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Feeds the watchdog; to be called every `watchdog_seconds`."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(state.encode(errors="replace"), self._address)
        except OSError:
            pass  # the manager is gone or its queue is full: serving DNS goes on


def inherited_sockets(environ: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """The descriptors handed over by socket activation, empty if they are not meant for this process."""
    try:
        count = int(environ.get("LISTEN_FDS", ""))
        addressee = int(environ.get("LISTEN_PID", ""))
    except ValueError:
        return ()
    if addressee != os.getpid() or count < 1:
        return ()
    fds = tuple(range(LISTEN_FDS_START, LISTEN_FDS_START + count))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


def _socket_address(name: str) -> str | bytes | None:
    """The address of NOTIFY_SOCKET: a path, or an abstract name written with a leading `@`."""
    if name.startswith("/"):
        return name
    if name.startswith("@") and len(name) > 1:
        return b"\0" + os.fsencode(name[1:])
    return None


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """How often to feed the watchdog, None if nobody watches this process."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        addressee = int(environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    if microseconds <= 0 or addressee != os.getpid():
        return None
    return microseconds / 1_000_000 / WATCHDOG_DIVISOR


def _one_line(text: str) -> str:
    return " ".join(text.split())
