"""Real servers as child processes on loopback addresses: runbound, Debian's Unbound, and the lab.

Owns their start, the wait until they answer, their captured log, and their end. It must never leave a process behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.packets import Ask, wait_for_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
RUNBOUND = Path(os.environ.get("RUNBOUND_PROGRAM", ROOT / ".venv" / "bin" / "runbound"))
UNBOUND = shutil.which("unbound", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

START_SECONDS = 15.0
"""Wait for a first answer: generous, for a machine that builds something else at the same time."""
STOP_SECONDS = 10.0

HEAD = """\
server:
    chroot: ""
    username: ""
    pidfile: ""
    directory: "{folder}"
    use-syslog: no
    do-daemonize: no
    do-not-query-localhost: no
    module-config: "iterator"
    num-threads: 1
    interface: {address}@{port}
    root-hints: "{folder}/root.hints"
"""
"""The lines every test file begins with; both programs read them. `Server.write` makes the hints."""

NOBODY = "127.0.0.77"
"""An address of this machine where nobody listens on port 53: names outside forward zones end here, not outside."""


class StartError(AssertionError):
    """The program ended, or never answered. The text carries its log."""


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP at this moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(100):
        with socket.socket(family, socket.SOCK_STREAM) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
            stream.bind((address, 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def write_hints(folder: Path, address: str = NOBODY) -> None:
    """Writes the file of root hints that `HEAD` names."""
    (folder / "root.hints").write_text(f". 3600 NS ns.root.\nns.root. 3600 A {address}\n")


class Process:
    """A child with its log in a file. Use as a context manager."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.log_path = folder / f"{Path(command[0]).name}.log"
        self.begun = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                cwd=folder,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = 10.0) -> str:
        """Waits until the log holds a text; the whole log."""
        end = time.monotonic() + seconds
        while text not in (log := self.log()):
            assert time.monotonic() < end, f"{text!r} did not appear in the log:\n{log}"
            time.sleep(0.02)
        return log

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not help; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Server(Process):
    """A resolver that has answered once. `body` is what follows `HEAD` in its configuration."""

    def __init__(
        self,
        program: str | Path,
        arguments: Sequence[str | Path],
        body: str,
        folder: Path,
        address: str = "127.0.0.1",
        env: Mapping[str, str] | None = None,
        ready: Ask | None = None,
        head: str = HEAD,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.port = free_port(address)
        self.conf = folder / "unbound.conf"
        self.write(body, head)
        super().__init__([program, *arguments, "-c", self.conf], folder, env)
        self.start_seconds = self._wait(ready)

    @property
    def at(self) -> tuple[str, int]:
        """Address and port."""
        return self.address, self.port

    def write(self, body: str, head: str = HEAD) -> None:
        """Writes the configuration file; a running server has to be told by SIGHUP."""
        values = {"folder": self.folder_of_conf(), "address": self.address, "port": self.port}
        for key, value in values.items():
            head = head.replace("{" + key + "}", str(value))
            body = body.replace("{" + key + "}", str(value))
        self.conf.write_text(head + body, encoding="latin-1")
        write_hints(self.folder_of_conf())

    def folder_of_conf(self) -> Path:
        """Where the configuration and everything beside it lie."""
        return self.conf.parent

    def _wait(self, ready: Ask | None) -> float:
        while time.monotonic() < self.begun + START_SECONDS:
            if wait_for_answer(self.at, 0.5, ready) is not None:
                return time.monotonic() - self.begun
            if self.process.poll() is not None:
                break
        code = self.stop()
        raise StartError(f"{self.log_path.name}: no answer (exit code {code})\n{self.log()[-4000:]}\n{self.conf}")


class Unbound(Server):
    """Debian's Unbound, the reference."""

    def __init__(self, body: str, folder: Path, address: str = "127.0.0.1", ready: Ask | None = None) -> None:
        assert UNBOUND is not None, "apt-get install unbound"
        super().__init__(UNBOUND, ["-d"], body, folder, address, ready=ready)


class Resolver(Server):
    """runbound. Its state lies in the folder; the API is off unless the test gives it a port."""

    def __init__(
        self,
        body: str,
        folder: Path,
        address: str = "127.0.0.1",
        env: Mapping[str, str] | None = None,
        ready: Ask | None = None,
        head: str = HEAD,
        arguments: Sequence[str | Path] = ("-d",),
        program: str | Path = RUNBOUND,
    ) -> None:
        if "api-" not in body:  # its default port may be somebody else's, and Unbound does not know the option
            body = f"    api-enable: no\n{body}"
        state = {"STATE_DIRECTORY": str(folder / "state"), **(env or {})}
        super().__init__(program, arguments, body, folder, address, state, ready, head)


class Upstream:
    """A fake server in a thread: `script` makes the replies to the n-th packet it gets (none for silence)."""

    def __init__(self, script: Callable[[int, bytes], list[bytes]], address: str = "127.0.0.1") -> None:
        self.script = script
        self.seen: list[tuple[bytes, int]] = []
        """Each packet and the port it came from."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.address, self.port = self.socket.getsockname()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                packet, client = self.socket.recvfrom(4096)
            except OSError:
                return
            if client is None:  # the socket was shut down
                return
            self.seen.append((packet, client[1]))
            for reply in self.script(len(self.seen), packet):
                with contextlib.suppress(OSError):
                    self.socket.sendto(reply, client)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # wakes the thread that waits in recvfrom
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class Lab(Process):
    """The lab on a free port."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address, self.port = address, free_port(address)
        command = [sys.executable, "-m", "runbound.lab", "--address", address, "--port", str(self.port)]
        super().__init__(command, folder, {"PYTHONPATH": str(ROOT / "python")})
        if wait_for_answer((address, self.port), START_SECONDS, Ask("example.com.", "A")) is None:
            self.stop()
            raise StartError(self.log())
