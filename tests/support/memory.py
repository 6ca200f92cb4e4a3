"""Where a secret stands in the memory of running processes, and in a core dump.

Owns looking from outside, as root does: `/proc/PID/mem` for every mapping that a process can have written to, with the
flags the kernel keeps for it. It looks for pieces, because memory that was freed has lost its first octets to the
allocator, and for the shapes that programs give a key: hexadecimal, base64, the pads of HMAC, the words of SHA-256.
"""

from __future__ import annotations

import array
import base64
import dataclasses
import itertools
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 16
"""Octets of a piece; shorter ones are found where nothing is. A shorter secret is looked for as a whole."""
PAGE = os.sysconf("SC_PAGE_SIZE")
SWAPPED = 1 << 62
"""An entry of `/proc/PID/pagemap` at least this great: the page is in memory (bit 63) or in swap (bit 62)."""
BLOCK = 64
"""Octets of a block of SHA-256, to which HMAC pads a key."""
CORE_SECONDS = 60.0
"""How long one dump may take on a busy machine."""


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A part of a process's address space."""

    start: int
    end: int
    rights: str
    path: str
    flags: frozenset[str]
    """The two-letter flags of `smaps`: lo is locked, dd is left out of dumps."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """A secret, or a part of it, in the memory of a process."""

    pid: int
    address: int
    """Where the secret begins, or began when all of it was there."""
    shape: str
    mapping: Mapping

    @property
    def guarded(self) -> bool:
        """Whether it lies where it may: not swapped out, not dumped."""
        return {"lo", "dd"} <= self.mapping.flags


HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)\s*(.*)")


def mappings(pid: int) -> list[Mapping]:
    """All mappings of a process. Raises FileNotFoundError when it has ended."""
    found: list[tuple[int, int, str, str]] = []
    flags: list[frozenset[str]] = []
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="ascii", errors="replace").splitlines():
        if head := HEAD.fullmatch(line):
            found.append((int(head[1], 16), int(head[2], 16), head[3], head[5]))
        elif line.startswith("VmFlags:"):
            flags.append(frozenset(line.split()[1:]))
    assert len(found) == len(flags), f"smaps of {pid} has mappings without flags"
    return [Mapping(*one, flag) for one, flag in zip(found, flags, strict=True)]


def shapes(secret: bytes) -> dict[str, bytes]:
    """What a program makes of a secret: to find one of these is to find the secret."""
    made = {"octets": secret}
    if len(secret) >= PIECE:
        made["hexadecimal"] = secret.hex().encode()
        made["HEXADECIMAL"] = secret.hex().upper().encode()
        made["base64"] = base64.b64encode(secret).rstrip(b"=")[:-1]
        made["words"] = b"".join(secret[at : at + 4][::-1] for at in range(0, len(secret) - 3, 4))
        padded = secret[:BLOCK]
        made["inner pad"] = bytes(octet ^ 0x36 for octet in padded)
        made["outer pad"] = bytes(octet ^ 0x5C for octet in padded)
    for coding in ("utf-16-le", "utf-32-le"):  # a Python string with one character beyond Latin-1
        if secret.isascii():
            made[coding] = secret.decode("ascii").encode(coding)
    return made


def pieces(shape: bytes) -> Iterator[tuple[int, bytes]]:
    """Parts of a shape with their offsets: enough that what is left of a freed copy holds one."""
    last = max(len(shape) - PIECE, 0)
    for offset in sorted({*range(0, last, PIECE), last}):
        yield offset, shape[offset : offset + PIECE]


def scan(pid: int, secret: bytes) -> list[Trace]:
    """Every trace of a secret in a process, in the order of addresses. Raises OSError when the process has ended."""
    traces: dict[int, Trace] = {}
    wanted = [(shape, offset, piece) for shape, whole in shapes(secret).items() for offset, piece in pieces(whole)]
    folder = Path(f"/proc/{pid}")
    with (folder / "mem").open("rb", buffering=0) as memory, (folder / "pagemap").open("rb", buffering=0) as pagemap:
        for mapping in mappings(pid):
            never_written = mapping.path.startswith("/") and "w" not in mapping.rights
            if "r" not in mapping.rights or mapping.path.startswith("[v") or never_written:
                continue
            for start, end in _present(pagemap.fileno(), mapping):
                octets = _read(memory.fileno(), start, end)
                for shape, offset, piece in wanted:
                    at = octets.find(piece)
                    while at >= 0:
                        address = start + at - offset
                        traces.setdefault(address, Trace(pid, address, shape, mapping))
                        at = octets.find(piece, at + 1)
    return [traces[address] for address in sorted(traces)]


def _present(pagemap: int, mapping: Mapping) -> Iterator[tuple[int, int]]:
    """The runs of pages of a mapping that are in memory or in swap; the others were never touched, and are zeros."""
    first, count = mapping.start // PAGE, (mapping.end - mapping.start) // PAGE
    entries = array.array("Q", os.pread(pagemap, 8 * count, 8 * first))
    at = first
    for there, run in itertools.groupby(entries, lambda entry: entry >= SWAPPED):
        length = sum(1 for _ in run)
        if there:
            yield at * PAGE, (at + length) * PAGE
        at += length


def _read(memory: int, start: int, end: int) -> bytes:
    """What is mapped there; nothing where it has been unmapped since it was listed."""
    octets = b""
    try:
        while len(octets) < end - start:
            more = os.pread(memory, end - start - len(octets), start + len(octets))
            if not more:
                break
            octets += more
    except OSError:
        pass
    return octets


def family(pid: int) -> list[int]:
    """A process and what it started, and those what they started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if after_name[0] not in "ZX":  # the dead have no memory
            parents.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
    members = [pid]
    for member in members:
        members += parents.get(member, [])
    return members


def traces(pid: int, secret: bytes) -> list[Trace]:
    """Every trace of a secret in the whole family of a process."""
    found: list[Trace] = []
    for member in family(pid):
        try:
            found += scan(member, secret)
        except OSError:
            assert member != pid, f"process {pid} has ended"
    return found


def told(found: list[Trace]) -> str:
    """The traces for the message of a test that fails; never what stands there."""
    lines = []
    for trace in found:
        mapping = trace.mapping
        name = mapping.path or "anonymous"
        flags = " ".join(sorted(mapping.flags))
        lines.append(f"{trace.pid}: {trace.shape} at {trace.address:#x} in {name} {mapping.rights} ({flags})")
    return "\n".join(lines) or "nowhere"


def environment(pid: int) -> bytes:
    """What the kernel shows as the environment of a process."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def core(pid: int, folder: Path) -> Path:
    """A core dump of a running process, as its administrator makes one (gcore of gdb)."""
    command = ["gcore", "-o", str(folder / "core"), str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CORE_SECONDS, check=False)
    dump = folder / f"core.{pid}"
    assert dump.exists(), f"gcore made nothing: {done.stdout}{done.stderr}"
    return dump


def in_core(dump: Path, *secrets: bytes) -> list[str]:
    """The shapes of secrets that a dump holds a piece of."""
    wanted = {
        piece: shape for secret in secrets for shape, whole in shapes(secret).items() for _, piece in pieces(whole)
    }
    return sorted({shape for octets in _written(dump) for piece, shape in wanted.items() if piece in octets})


def _written(dump: Path) -> Iterator[bytes]:
    """The parts of a dump between its pages of zeros, which are most of it."""
    with dump.open("rb") as file:
        pages = iter(lambda: file.read(PAGE), b"")
        for zero, run in itertools.groupby(pages, lambda page: not page.strip(b"\0")):
            if not zero:
                yield b"".join(run)


def settled(pid: int, secret: bytes, count: int, seconds: float = 10.0) -> list[Trace]:
    """The traces in the family as soon as there are so many and no more, or after so long as they are then."""
    end = time.monotonic() + seconds
    while len(found := traces(pid, secret)) != count and time.monotonic() < end:
        time.sleep(0.2)
    return found
