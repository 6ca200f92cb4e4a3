"""Whether an audit log is whole and unchanged: reads lines in order and names the first fault.

Owns the reading of files that were rotated (plain or gzip), the walk along the chain, and what each kind of fault looks
like: edited, removed, inserted, reordered, twice, cut off, or the log of another history. It needs no running resolver.
What it can prove depends on what it is given, and the report says so: with the key every entry, with the public key
what stands between checkpoints, with neither only that the lines hang together. It must never write anything.
"""

import gzip
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, Protocol

import msgspec

from runbound.errors import RunboundError
from runbound.state import trail
from runbound.state.trail import Digest, Key, Line, NotALineError

MAX_LINE: Final = 256 * 1024
"""Octets of a line that is looked at; ours are a tenth of that at most."""
STRANGE_KEY: Final = 20
"""Entries that are looked at before a key is called the wrong one and not the entries edited."""

REPEATS: Final = 10_000
"""How far back a forwarded line may have come already: a resumed sink sends a few hundred again."""

Kind = Literal[
    "edited", "removed", "inserted", "reordered", "twice", "truncated", "forked", "checkpoint", "ahead", "wrong-key"
]
"""What is wrong: see `docs/how-to/audit.md`."""
VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""Public key, data, signature (Ed25519)."""


class Source(Protocol):
    """Lines that can be read more than once."""

    @property
    def name(self) -> str:
        """How a person knows it."""

    def lines(self) -> Iterator[bytes]:
        """Each with its end of line; the last may lack it."""


class FileSource:
    """A file of the audit log, plain or compressed by gzip. Raises RunboundError when it cannot be read."""

    def __init__(self, path: str) -> None:
        self.name = path

    def lines(self) -> Iterator[bytes]:
        try:
            with open(self.name, "rb") as file:
                packed = file.peek(2)[:2] == b"\x1f\x8b"
                plain = gzip.GzipFile(fileobj=file) if packed else file
                while piece := plain.readline(MAX_LINE):  # what is longer comes in pieces, none of which is an entry
                    yield piece
        except (OSError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise RunboundError(f"cannot read it: {reason}", self.name) from error


class Forwarded:
    """Lines that came by way of syslog or the journal: something may stand before each, some may have come twice."""

    _BEGIN: Final = re.compile(rb'^.*?(?=\{"seq":)')

    def __init__(self, inner: Source) -> None:
        self.name = inner.name
        self._inner = inner

    def lines(self) -> Iterator[bytes]:
        passed: OrderedDict[int, bytes] = OrderedDict()
        for whole in self._inner.lines():
            octets = self._BEGIN.sub(b"", whole, count=1)
            number, digest = _seq_of(octets), hashlib.sha256(octets).digest()
            if number is not None and passed.get(number) == digest:
                continue
            yield octets
            if number is not None:
                passed[number] = digest
                if len(passed) > REPEATS:
                    passed.popitem(last=False)


class Expected(msgspec.Struct, frozen=True):
    """An entry that is known from elsewhere to be in the log."""

    seq: int
    mac: str
    where: str
    """Who says so: `state`, `--expect`."""
    newest: bool = False
    """Whether it is the very last one, so that nothing may stand after it."""


class Fault(msgspec.Struct, frozen=True):
    """The first thing that is wrong."""

    kind: Kind
    file: str
    line: int
    """From 1; one after the last line for what is missing at the end."""
    seq: int | None
    """The entry that is wrong or missing."""
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.what}"


class Report(msgspec.Struct):
    """What was found."""

    files: tuple[str, ...]
    entries: int = 0
    """Read before the fault, or in all."""
    first: int | None = None
    last: int | None = None
    head: str = trail.NOTHING
    since: str | None = None
    """Time of the first entry."""
    until: str | None = None
    checkpoints: int = 0
    signed: tuple[int, int] | None = None
    """First and last entry whose contents a checkpoint's signature covers."""
    with_key: bool = False
    public_key: str | None = None
    """What the checkpoints are signed with."""
    public_key_from: Literal["key", "given", "log"] | None = None
    expected: str | None = None
    """Whose word says where the log ends."""
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None

    def told(self) -> list[str]:
        """What is proven and what is not, for a person."""
        if self.first is None:
            return ["there is no entry in it"]
        said = []
        if self.first != 1:
            said.append(f"it begins in the middle, with entry {self.first}: those before it are not looked at")
        if self.with_key:
            said.append("proven: every entry is as it was written, none is missing, added or moved between them")
        elif self.signed is not None:
            said.append(f"proven: entries {self.signed[0]} to {self.signed[1]} are as they were signed for")
        if self.public_key_from == "log" and self.signed is not None:
            said.append(
                "but the public key was taken from the log itself, so anybody could have made all of it: "
                "give the key with --public-key"
            )
        if not self.with_key and (self.signed is None or self.signed[1] != self.last):
            after = self.first if self.signed is None else self.signed[1] + 1
            which = f"entry {after}" if after == self.last else f"entries {after} to {self.last}"
            said.append(f"not proven without the audit key: the contents of {which}")
        if self.expected is None:
            said.append(
                f"not proven: that nothing came after entry {self.last}; compare with an anchor outside "
                "(--state, or --expect SEQ:MAC)"
            )
        else:
            said.append(f"its end agrees with {self.expected}")
        return said


def verify(
    sources: Sequence[Source],
    *,
    keys: Sequence[Key] = (),
    public_keys: Sequence[bytes] = (),
    verify_signature: VerifySignature,
    expected: Expected | None = None,
) -> Report:
    """Reads everything up to the first fault. More than one key is for a log that went on under another one."""
    return _Walk(sources, keys, public_keys, verify_signature, expected).run()


def in_order(sources: Sequence[Source]) -> list[Source]:
    """The sources by the number of their first entry, as rotation has made them; those without one keep their place
    behind the one before."""
    placed: list[tuple[int, int, Source]] = []
    before = 0
    for position, source in enumerate(sources):
        found = _seq_of(next(source.lines(), b""))
        before = before if found is None else found
        placed.append((before, position, source))
    return [source for _, _, source in sorted(placed, key=lambda item: item[:2])]


class _Walk:
    def __init__(
        self,
        sources: Sequence[Source],
        keys: Sequence[Key],
        public_keys: Sequence[bytes],
        verify_signature: VerifySignature,
        expected: Expected | None,
    ) -> None:
        self._sources = sources
        self._keys = keys
        self._key = keys[0] if keys else None
        self._verify_signature = verify_signature
        self._expected = expected
        self._expected_mac: str | None = None
        self._previous: Line | None = None
        self._digest: Digest | None = None
        self._digest_from = 0
        self._trusted = {key.public_key().hex() for key in keys} | {octets.hex() for octets in public_keys}
        self._public: str | None = None
        self.report = Report(tuple(source.name for source in sources), with_key=bool(keys))
        self.report.public_key_from = "key" if keys else "given" if public_keys else None
        if len(self._trusted) == 1:
            self._public = self.report.public_key = min(self._trusted)

    def run(self) -> Report:
        report = self.report
        place = (self._sources[0].name if self._sources else "", 0)
        for source, number, raw in self._all():
            place = (source, number)
            report.fault = self._line(raw, source, number)
            if report.fault is not None:
                return report
        report.fault = self._end(place)
        if report.fault is None and self._expected is not None:
            report.expected = self._expected.where
        return report

    def _all(self) -> Iterator[tuple[str, int, bytes]]:
        for source in self._sources:
            for number, raw in enumerate(source.lines(), 1):
                yield source.name, number, raw

    def _line(self, raw: bytes, source: str, number: int) -> Fault | None:
        """Takes one line; the fault if it is none that belongs here."""
        octets = raw.removesuffix(b"\n")
        before = self._previous
        due = before.seq + 1 if before is not None else None
        try:
            line = trail.parse(octets)
        except NotALineError as error:
            if raw == octets:
                return Fault("truncated", source, number, due, "the line breaks off")
            if self._comes(due, source, number):
                return Fault("inserted", source, number, None, error.what)
            return Fault("edited", source, number, due, error.what)
        if before is None or _begins(line):
            self._choose(line)
        genuine = self._key is None or line.genuine(self._key)
        follows = line.seq == due and before is not None and line.prev == before.mac
        if before is None:
            follows = line.seq != 1 or line.prev == trail.NOTHING
        if not (genuine and follows):
            return self._fault(line, source, number, genuine=genuine)
        if raw == octets:
            return Fault("truncated", source, number, line.seq, "the line breaks off before its end")
        fault = self._checkpoint(line, source, number) if line.event == trail.CHECKPOINT else None
        if fault is None:
            self._take(line, octets)
        return fault

    def _choose(self, line: Line) -> None:
        """Takes the key that a line was written with where another one may begin, if it was given."""
        self._key = next((key for key in self._keys if line.genuine(key)), self._key)

    def _take(self, line: Line, octets: bytes) -> None:
        report = self.report
        if line.event == trail.CHECKPOINT or line.seq == 1:
            self._digest, self._digest_from = Digest(), line.seq
        if self._digest is not None:
            self._digest.add(octets)
        if report.first is None:
            report.first, report.since = line.seq, line.time
        report.entries += 1
        report.last, report.head, report.until = line.seq, line.mac, line.time
        if self._expected is not None and line.seq == self._expected.seq:
            self._expected_mac = line.mac
        self._previous = line

    def _fault(self, line: Line, source: str, number: int, *, genuine: bool) -> Fault:
        """What kind of fault it is that this line stands here."""
        before = self._previous
        due = before.seq + 1 if before is not None else line.seq

        def fault(kind: Kind, seq: int | None, what: str) -> Fault:
            return Fault(kind, source, number, seq, what)

        comes = before is not None and self._comes(due, source, number)
        if not genuine:
            if _begins(line) and line.seq == due:
                return fault("wrong-key", line.seq, "another key begins here, and it was not given")
            if before is None and self._strange_key():
                return fault("wrong-key", line.seq, "the key is not the one this log was written with")
            if comes:
                return fault("inserted", line.seq, "its MAC is wrong, and what belongs here comes after it")
            if line.seq == due:
                return fault("edited", line.seq, f"entry {line.seq} was changed: its MAC is wrong")
            return fault("edited", due, f"entry {due} belongs here, and this line's MAC is wrong")
        if before is None:
            return fault("edited", line.seq, "it is the first entry, yet says that one came before it")
        if line.seq < due:
            return self._seen_before(line, source, number, due)
        if line.seq > due:
            if comes:
                return fault("reordered", line.seq, f"entry {line.seq} stands before entry {due}")
            gone = f"entry {due} is" if line.seq == due + 1 else f"entries {due} to {line.seq - 1} are"
            return fault("removed", due, f"{gone} missing")
        if comes:
            return fault("inserted", line.seq, "it does not follow the entry before it; what does comes after it")
        if self._key is not None:
            return fault("forked", line.seq, f"it follows another entry {before.seq} than the one before it")
        return fault("edited", line.seq, f"it does not follow entry {before.seq}: one of the two was changed")

    def _seen_before(self, line: Line, source: str, number: int, due: int) -> Fault:
        """A line whose number has passed: it stood here before, or it stands too late, or it is a second history's."""
        wanted = line.octets()
        for at, other, raw in self._all():
            if (at, other) == (source, number):
                break
            if raw.removesuffix(b"\n") == wanted:
                what = f"entry {line.seq} stands in {at}, line {other} already"
                return Fault("twice", source, number, line.seq, what)
        if self.report.first is not None and line.seq < self.report.first:
            return Fault("reordered", source, number, line.seq, f"entry {line.seq} stands after entry {due - 1}")
        kind: Kind = "forked" if self._key is not None else "inserted"
        return Fault(kind, source, number, line.seq, f"there is another entry {line.seq} before it")

    def _checkpoint(self, line: Line, source: str, number: int) -> Fault | None:
        """What a checkpoint says, compared with what was read."""

        def fault(what: str, kind: Kind = "checkpoint", seq: int = line.seq) -> Fault:
            return Fault(kind, source, number, seq, what)

        found = trail.statement(line)
        if found is None:
            return fault("what it says cannot be read")
        said, signature = found
        if (self._public is None or _begins(line)) and said.public_key in self._trusted:
            self._public = said.public_key
        if self._public is None and not self._trusted:
            self._public, self.report.public_key_from = said.public_key, "log"
        if said.public_key != self._public:
            what = "here begins another key, which was not given" if _begins(line) else "it is signed with another key"
            return fault(what)
        self.report.public_key = said.public_key
        if not self._verify_signature(bytes.fromhex(self._public), said.signed(line.seq), signature):
            return fault("its signature is wrong")
        if said.head != line.prev or said.count != line.seq - said.first:
            return fault("it speaks of other entries than those before it")
        if self._digest is not None and not _begins(line):
            if said.first != self._digest_from:
                return fault("it does not begin at the checkpoint before it")
            if said.digest != self._digest.hex():
                what = f"one of the entries {said.first} to {line.seq - 1} was changed: it is not what was signed for"
                return fault(what, "edited", said.first)
            first = self.report.signed[0] if self.report.signed else said.first
            self.report.signed = (first, line.seq - 1)
        self.report.checkpoints += 1
        return None

    def _end(self, place: tuple[str, int]) -> Fault | None:
        """Whether it ends where somebody says that it does."""
        expected, last = self._expected, self.report.last or 0
        if expected is None:
            return None
        file, number = place[0], place[1] + 1
        if last < expected.seq:
            what = f"it ends with entry {last}, and {expected.where} knows entry {expected.seq}"
            return Fault("truncated", file, number, last + 1, what)
        if self._expected_mac is not None and self._expected_mac != expected.mac:
            what = f"entry {expected.seq} is another than the one {expected.where} knows"
            return Fault("forked", file, number, expected.seq, what)
        if expected.newest and last > expected.seq:
            what = f"it goes on to entry {last}, and {expected.where} ends with {expected.seq}: that was rolled back"
            return Fault("ahead", file, number, expected.seq + 1, what)
        return None

    def _comes(self, due: int | None, source: str, number: int) -> bool:
        """Whether the entry that belongs here stands further down."""
        before, passed = self._previous, False
        if due is None or before is None:
            return False
        for at, other, raw in self._all():
            if passed:
                line = _parsed(raw)
                if line is not None and line.seq == due and line.prev == before.mac:
                    return self._key is None or line.genuine(self._key)
            passed = passed or (at, other) == (source, number)
        return False

    def _strange_key(self) -> bool:
        """Whether the key fits none of the first entries."""
        assert self._key is not None
        looked = 0
        for _, _, raw in self._all():
            line = _parsed(raw)
            if line is not None and line.genuine(self._key):
                return False
            looked += 1
            if looked >= STRANGE_KEY:
                break
        return looked > 1


def _begins(line: Line) -> bool:
    """Whether it is the checkpoint with which a log goes on under another key: it covers nothing."""
    found = trail.statement(line)
    return found is not None and found[0].first == line.seq


def _parsed(raw: bytes) -> Line | None:
    try:
        return trail.parse(raw.removesuffix(b"\n"))
    except NotALineError:
        return None


def _seq_of(octets: bytes) -> int | None:
    found = re.match(rb'\{"seq":([0-9]{1,18}),', octets)
    return int(found[1]) if found else None
