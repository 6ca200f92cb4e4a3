"""The lab in a network namespace: an Internet of its own, with port 53, for programs that walk from the root.

Owns the namespace's life and the way in. Needs root, as `ip netns` does. It must never leave a namespace behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.servers import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNET = 0x40000000
RESOLVER = "198.18.0.53"
VALIDATOR = "198.18.0.54"


class Box(Process):
    """`runbound lab --namespace`, ready. Its files lie in `files`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"lab-test-{os.getpid()}"
        self.files = folder / "lab"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "runbound",
            "lab",
            "--namespace",
            self.name,
            "--quiet",
            "--folder",
            self.files,
        ]
        super().__init__(command, folder, {"PYTHONPATH": str(ROOT / "python")})
        self.wait_for_log("lab: ready on")

    def command(self, words: Sequence[str | Path]) -> list[str | Path]:
        """A command line that runs inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str | Path) -> str:
        """What a command prints inside, its errors too."""
        done = subprocess.run(
            [str(word) for word in self.command(words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout

    def enter(self) -> None:
        """Sockets that this thread opens from now on are inside."""
        with Path(f"/run/netns/{self.name}").open("rb") as there:
            assert ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) == 0, "setns"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens meanwhile are inside."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open("rb") as home, Path(f"/run/netns/{self.name}").open("rb") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0
