"""Questions made octet by octet, exchanged over real sockets, and answers brought into a form that can be compared.

Owns the test side of the wire. It must never use runbound's own code: a fault there would hide itself.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

if TYPE_CHECKING:
    from collections.abc import Mapping

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
FLAG_NAMES = {QR: "qr", AA: "aa", TC: "tc", RD: "rd", RA: "ra", Z: "z", AD: "ad", CD: "cd"}


@dataclass(frozen=True)
class Edns:
    """An OPT record to send."""

    size: int = 1232
    do: bool = False
    version: int = 0
    options: bytes = b""

    def wire(self) -> bytes:
        """The OPT record's octets."""
        ttl = self.version << 16 | (0x8000 if self.do else 0)
        return b"\0" + struct.pack("!HHIH", 41, self.size, ttl, len(self.options)) + self.options


@dataclass(frozen=True)
class Ask:
    """One question, and how it is asked. `raw` replaces the whole packet."""

    name: str = "."
    rtype: str = "A"
    rclass: str = "IN"
    rd: bool = True
    cd: bool = False
    ad: bool = False
    edns: Edns | None = None
    tcp: bool = False
    source: str = "127.0.0.1"
    wave: int = 0
    raw: bytes | None = None
    label: str = ""

    def with_(self, **changes: object) -> Ask:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def packet(self, identity: int = 0x2A2A) -> bytes:
        """The octets sent."""
        if self.raw is not None:
            return self.raw
        flags = (RD if self.rd else 0) | (CD if self.cd else 0) | (AD if self.ad else 0)
        question = dns.name.from_text(self.name).to_wire()
        assert question is not None
        question += struct.pack("!HH", dns.rdatatype.from_text(self.rtype), dns.rdataclass.from_text(self.rclass))
        header = struct.pack("!6H", identity, flags, 1, 0, 0, 1 if self.edns else 0)
        return header + question + (self.edns.wire() if self.edns else b"")

    def __str__(self) -> str:
        if self.raw is not None:
            what = f"{self.label} [{self.raw[:40].hex()}{'…' if len(self.raw) > 40 else ''}]"
        else:
            what = f"{self.name} {self.rclass + ' ' if self.rclass != 'IN' else ''}{self.rtype}"
        flags = "".join(f" {name}" for name in ("cd", "ad", "tcp") if getattr(self, name))
        flags += "" if self.rd or self.raw is not None else " -rd"
        if self.edns:
            flags += f" edns={self.edns.size}{'+do' if self.edns.do else ''}"
            flags += f" v{self.edns.version}" if self.edns.version else ""
            flags += f" opt={self.edns.options.hex()}" if self.edns.options else ""
        flags += f" from {self.source}" if self.source != "127.0.0.1" else ""
        flags += f" wave {self.wave}" if self.wave else ""
        return what + flags


@dataclass
class Seen:
    """An answer in a form that can be compared; `None` fields were not there. Silence has `silent` alone."""

    silent: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    ttls: dict[tuple[str, str], int] = field(default_factory=dict)
    text: str = ""


def exchange(ask: Ask, server: tuple[str, int], timeout: float = 1.0) -> bytes | None:
    """Sends one question from its source address; the reply's octets, or None for silence (or a closed stream)."""
    packet = ask.packet()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if ask.tcp else socket.SOCK_DGRAM) as link:
        link.settimeout(timeout)
        if family == socket.AF_INET:
            link.bind((ask.source, 0))
        try:
            link.connect(server)
            if not ask.tcp:
                link.send(packet)
                return link.recv(65535)
            link.sendall(struct.pack("!H", len(packet)) + packet)
            return receive_tcp(link)
        except (TimeoutError, ConnectionError):
            return None


def receive_tcp(link: socket.socket) -> bytes | None:
    """One message with its length before it; None when the stream ends first."""
    head = receive_exactly(link, 2)
    return receive_exactly(link, int.from_bytes(head)) if head is not None else None


def receive_exactly(link: socket.socket, count: int) -> bytes | None:
    """`count` octets; None when the stream ends before."""
    got = b""
    while len(got) < count:
        part = link.recv(count - len(got))
        if not part:
            return None
        got += part
    return got


def see(ask: Ask, reply: bytes | None) -> Seen:
    """The reply in comparable form: records as sets per section, TTLs apart."""
    if reply is None:
        return Seen(silent=True, text="silence")
    fields: dict[str, str] = {}
    packet = ask.packet()
    fields["id"] = "echoed" if reply[:2] == packet[:2] else reply[:2].hex()
    if len(reply) < 12:
        fields["short"] = reply.hex()
        return Seen(fields=fields, text=reply.hex())
    flags, questions = struct.unpack("!2xHH", reply[:6])
    fields["opcode"] = dns.opcode.to_text(dns.opcode.from_flags(flags))
    fields["flags"] = " ".join(name for bit, name in FLAG_NAMES.items() if flags & bit)
    try:
        message = dns.message.from_wire(reply, one_rr_per_rrset=True, question_only=False)
    except dns.exception.DNSException as error:
        fields["rcode"] = dns.rcode.to_text(dns.rcode.Rcode(flags & 15))
        fields["unparsed"] = f"{type(error).__name__} questions={questions}"
        return Seen(fields=fields, text=reply.hex())
    fields["rcode"] = dns.rcode.to_text(message.rcode())
    fields["question"] = "; ".join(
        f"{q.name} {dns.rdataclass.to_text(q.rdclass)} {dns.rdatatype.to_text(q.rdtype)}" for q in message.question
    )
    ttls: dict[tuple[str, str], int] = {}
    for title, section in (("answer", message.answer), ("authority", message.authority), ("extra", message.additional)):
        rows = []
        for rrset in section:
            row = f"{rrset.name} {dns.rdataclass.to_text(rrset.rdclass)} {dns.rdatatype.to_text(rrset.rdtype)} "
            row += "" if not rrset else rrset[0].to_generic().to_text()
            rows.append(row)
            ttls[title, row] = rrset.ttl
        fields[title] = "\n".join(sorted(rows))
    if message.edns >= 0:
        options = ",".join(sorted(f"{int(option.otype)}" for option in message.options))
        fields["edns"] = (
            f"v{message.edns} size={message.payload} flags={message.ednsflags & 0xFFFF:#x} options={options}"
        )
    else:
        fields["edns"] = "none"
    if not ask.tcp and flags & TC:
        # Which part of a cut-off answer is kept is nobody's promise.
        fields["answer"] = fields["authority"] = fields["extra"] = "(cut off)"
        ttls = {}
    return Seen(fields=fields, ttls=ttls, text=str(message))


def differing(one: Seen, other: Seen, ttl_slack: int = 1) -> dict[str, tuple[str, str]]:
    """Field -> what each side has, for every field in which two answers differ."""
    if one.silent or other.silent:
        return {} if one.silent == other.silent else {"reply": (_brief(one), _brief(other))}
    result = {}
    for key in sorted(one.fields.keys() | other.fields.keys()):
        mine, theirs = one.fields.get(key, "-"), other.fields.get(key, "-")
        if mine != theirs:
            result[key] = (mine, theirs)
    unequal = [key for key in one.ttls.keys() & other.ttls.keys() if abs(one.ttls[key] - other.ttls[key]) > ttl_slack]
    if unequal:
        result["ttl"] = (_ttls(one.ttls, unequal), _ttls(other.ttls, unequal))
    return result


def _brief(seen: Seen) -> str:
    if seen.silent:
        return "silence"
    return f"{seen.fields.get('rcode', '?')} {seen.fields.get('flags', '')}"


def _ttls(ttls: Mapping[tuple[str, str], int], keys: list[tuple[str, str]]) -> str:
    return "; ".join(f"{key[1]}: {ttls[key]}" for key in sorted(keys))


def wait_for_answer(server: tuple[str, int], seconds: float, ask: Ask | None = None) -> float | None:
    """Asks until there is an answer; the seconds it took, or None when none came in time."""
    question = ask or Ask("localhost.", "A")
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < seconds:
        if exchange(question, server, 0.05) is not None:
            return time.monotonic() - begun
        time.sleep(0.01 if spent < 1 else 0.05)
    return None
