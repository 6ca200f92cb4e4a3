"""A network of the lab's own: a Linux network namespace in which its addresses are real and port 53 is free.

Owns making it, entering it, giving its loopback the addresses, and removing it. It must never change the network the
program was started in.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from runbound.lab.world import NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
NAMES: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
FOLDER: Final = "/run/netns"


class NamespaceError(OSError):
    """The namespace cannot be had; the text says why and what to do."""


class Namespace:
    """A namespace this process has entered. `close` removes its name; it ends with the last process in it."""

    def __init__(self, name: str, *, command: bool) -> None:
        """Makes and enters it: as root under `/run/netns/NAME`, where `ip netns exec NAME` finds it; as anybody else
        without a name, for this process and its children, so there must be a `command`. To be called before any thread
        runs. Raises OSError.
        """
        if not NAMES.fullmatch(name):
            raise NamespaceError(f'"{name}" cannot name a namespace: letters, digits, "_", "." and "-" can')
        self.name = name
        self.named = os.geteuid() == 0
        if not self.named and not command:
            raise NamespaceError("only root's namespace can be entered later; add what to run inside, such as -- bash")
        if self.named:
            if os.path.exists(f"{FOLDER}/{name}"):
                raise NamespaceError(f"there is a namespace {name} already; ip netns del {name} removes it")
            _ip(["netns", "add", name])
            with open(f"{FOLDER}/{name}", "rb") as file:
                _call("setns", file.fileno(), CLONE_NEWNET)
        else:
            user, group = os.geteuid(), os.getegid()
            try:
                _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
            except OSError as error:
                raise NamespaceError(
                    f"this machine lets only root make a network namespace ({error.strerror}); try sudo"
                ) from error
            # Root inside is who we are outside: enough for port 53 and addresses in a network that is ours alone.
            for file_name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
                with open(f"/proc/self/{file_name}", "w", encoding="utf-8") as map_file:
                    map_file.write(text)

    def add(self, addresses: Iterable[str]) -> None:
        """Brings loopback up. The whole IPv4 network is local at once, IPv6 addresses are one by one."""
        lines = ["link set lo up", f"addr add {NETWORK[1]}/{NETWORK.prefixlen} dev lo"]
        lines += [f"addr add {address}/128 dev lo nodad" for address in addresses if ":" in address]
        _ip(["-batch", "-"], "\n".join(lines) + "\n")

    def close(self) -> None:
        """Removes the name."""
        if self.named and os.path.exists(f"{FOLDER}/{self.name}"):
            _ip(["netns", "del", self.name])


def with_resolver(command: Sequence[str], resolv_conf: str) -> list[str]:
    """A command that sees another /etc/resolv.conf than the rest of the machine."""
    script = 'mount --bind "$0" /etc/resolv.conf; exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, resolv_conf, *command]


def _ip(arguments: Sequence[str], text: str | None = None) -> None:
    try:
        done = subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NamespaceError("the program ip is not there; apt-get install iproute2") from error
    if done.returncode:
        raise NamespaceError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _call(name: str, *arguments: int) -> None:
    """A system call that Python 3.11 has no function for. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
