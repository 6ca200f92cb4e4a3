"""One configuration out of two readings: the operator's file, and what was said elsewhere and wins over it.

Owns what "wins" means: an option that is said above is not heard from the file, and the servers that are said above for
a forward zone join those of the file. Everything else about the upper layer (values, checks, messages with places) is
as if it stood in a file of its own. It must never decide what may be said there.
"""

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runbound.config import options
from runbound.config.model import Config, Entry, ForwardZone
from runbound.config.parse import Findings, Message, Scan
from runbound.config.values import canonical_name, quote

ABOVE: Final = "API"
"""What messages and origins call the upper layer, in the place of a file's name."""


class Server(msgspec.Struct, frozen=True):
    """A server of a forward zone as the upper layer knows it, asked or (`enabled` false) left alone."""

    zone: str
    address: str
    port: int
    tcp: bool
    enabled: bool


class Above(msgspec.Struct, frozen=True):
    """What is laid over the file: options whose statements of the file are not heard, and a text in their place."""

    text: bytes = b""
    replaced: frozenset[tuple[str, str]] = frozenset()
    servers: tuple[Server, ...] = ()


NOTHING: Final = Above()


class Layers:
    """A scan made of two: the file's and, behind it, that of the upper layer without the options it replaces."""

    def __init__(self, file: Scan, above: Scan, replaced: frozenset[tuple[str, str]]) -> None:
        self._file = file
        self._above = above
        self._replaced = replaced
        self._files = len(file.files)

    @property
    def files(self) -> list[str]:
        """Those of the file, then the upper layer."""
        return [*self._file.files, *self._above.files]

    def clauses(self) -> list[tuple[str, int, int, int]]:
        """Those of the file first."""
        above = ((clause, file + self._files, line, column) for clause, file, line, column in self._above.clauses())
        return [*self._file.clauses(), *above]

    def statements(self) -> list[tuple[int, str, str, tuple[str, ...], int, int, int, int]]:
        """Those of the file that are heard, then those above."""
        heard = [row for row in self._file.statements() if not self._is_replaced(row[1], row[2])]
        opened = len(self._file.clauses())
        above = ((row[0] + opened, *row[1:4], row[4] + self._files, *row[5:]) for row in self._above.statements())
        return [*heard, *above]

    def _is_replaced(self, clause: str, keyword: str) -> bool:
        option = options.find(clause, keyword)
        return option is not None and (clause, options.canonical(option).name) in self._replaced

    def messages(self) -> list[Message]:
        """Of both."""
        return [*self._file.messages(), *((m[0], m[1] + self._files, *m[2:]) for m in self._above.messages())]

    def bulk_counts(self) -> dict[str, tuple[int, int, int, int]]:
        """The file's: there is none above."""
        return self._file.bulk_counts()

    def line(self, file: int, line: int) -> str:
        """The line of either."""
        if file < self._files:
            return self._file.line(file, line)
        return self._above.line(file - self._files, line)


def join(config: Config, findings: Findings, servers: Sequence[Server]) -> Config:
    """Puts the servers of the upper layer into the forward zones of the file, in place of those of the same address."""
    if not servers:
        return config
    above = {canonical_name(zone.name): zone for zone in config.forward_zones if zone.at.file == ABOVE}
    below = [zone for zone in config.forward_zones if zone.at.file != ABOVE]
    last = {canonical_name(zone.name): number for number, zone in enumerate(below)}
    zones = list(below)
    for name in dict.fromkeys(server.zone for server in servers):
        told = above.get(name)
        if name not in last:
            if told is not None:
                zones.append(told)
            continue
        zone = below[last[name]]
        meant = {(_plain(server.address), server.port) for server in servers if server.zone == name}
        kept = tuple(entry for entry in zone.forward_addr if _address(entry) not in meant)
        joined = (*kept, *(told.forward_addr if told else ()))
        zones[last[name]] = msgspec.structs.replace(zone, forward_addr=joined)
        if told is not None and told.forward_tcp_upstream != zone.forward_tcp_upstream:
            _differs(findings, zone, told)
    return msgspec.structs.replace(config, forward_zones=tuple(zones))


def _differs(findings: Findings, zone: ForwardZone, told: ForwardZone) -> None:
    ways = ("TCP", "UDP")
    here, there = ways if told.forward_tcp_upstream else reversed(ways)
    what = f"forward-zone: {quote(zone.name)} is asked over {there}, and its new server over {here}"
    findings.error(told.forward_addr[0].at, what, f"one zone has one transport; the zone stands at {zone.at}")


def _address(entry: Entry) -> tuple[str, int]:
    """`ip[@port][#name]` → ("ip", port)."""
    host, sign, port = entry.values[0].partition("#")[0].partition("@")
    return _plain(host), int(port) if sign else 53


def _plain(host: str) -> str:
    """An address in the one form that can be compared."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host


def words(texts: Iterable[str]) -> str:
    """Values as one line of a configuration: each in quotes, so that nothing in it is read as anything else.

    Raises ValueError for what cannot be written: line breaks, other control characters, both kinds of quotes at once,
    a backslash that would take the closing quote with it.
    """
    found = []
    for text in texts:
        sign = "'" if '"' in text else '"'
        open_ended = (len(text) - len(text.rstrip("\\"))) % 2
        if sign in text or open_ended or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
            raise ValueError(f"{quote(text)} cannot be written in one line of a configuration")
        found.append(f"{sign}{text}{sign}")
    return " ".join(found)
