"""An audit log that was tampered with: each way of it is found, named, and has its line and its entry."""

from __future__ import annotations

import gzip
import io
import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbound.engine import SecretKey, verify_signature
from runbound.errors import RunboundError
from runbound.state import proof, trail
from runbound.state.entries import Event
from runbound.state.proof import Expected, FileSource, Forwarded, Report
from runbound.state.trail import Chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SECRET = b"k" * 32
NOW = 1_795_000_000_123_456
KEY = SecretKey(SECRET)
Lines = list[bytes]


class Memory:
    """A file that is none."""

    def __init__(self, lines: Sequence[bytes], name: str = "audit.log") -> None:
        self.name = name
        self._lines = list(lines)

    def lines(self) -> Iterator[bytes]:
        return iter(self._lines)


def written(count: int, every: int = 5, *, names: str = "h", chain: Chain | None = None) -> Lines:
    """So many entries with a checkpoint after each `every`, as lines of a file."""
    chain, lines = chain or Chain(KEY), []
    for number in range(count):
        event = Event("record.add", "alice", {"name": f"{names}{number}.example."})
        lines.append(chain.append(NOW + number, event))
        if chain.since >= every:
            lines.append(chain.checkpoint(NOW + number))
    return [line.encode() + b"\n" for line in lines]


LOG = written(20)
"""24 entries; 6, 12, 18 and 24 are checkpoints."""


def read(
    *files: Sequence[bytes],
    key: SecretKey | None = KEY,
    public_key: bytes | None = None,
    expected: Expected | None = None,
) -> Report:
    sources = [Memory(lines, f"audit.log.{number}") for number, lines in enumerate(files, 1)]
    return proof.verify(
        sources,
        keys=[] if key is None else [key],
        public_keys=[] if public_key is None else [public_key],
        verify_signature=verify_signature,
        expected=expected,
    )


def mac_of(line: bytes) -> str:
    return trail.parse(line.strip()).mac


def forged(line: bytes, **parts: object) -> bytes:
    """The line with other members, by somebody without the key."""
    return json.dumps({**json.loads(line), **parts}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def moved(lines: Lines, start: int, end: int) -> Lines:
    rest = lines[:start] + lines[start + 1 :]
    return [*rest[:end], lines[start], *rest[end:]]


def test_a_whole_log_is_proven() -> None:
    report = read(LOG, expected=Expected(24, mac_of(LOG[23]), "the state", newest=True))
    assert report.ok
    assert (report.entries, report.first, report.last, report.checkpoints) == (24, 1, 24, 4)
    assert report.signed == (1, 23)
    assert (report.since, report.until) == (trail.moment(NOW), trail.moment(NOW + 19))
    assert report.told() == [
        "proven: every entry is as it was written, none is missing, added or moved between them",
        "its end agrees with the state",
    ]


def test_without_an_anchor_the_end_is_not_proven_and_it_is_said() -> None:
    report = read(LOG[:20])
    assert report.ok
    assert report.told()[-1].startswith("not proven: that nothing came after entry 20")


FAULTS: dict[str, tuple[Callable[[Lines], Lines], str, int, int | None]] = {
    "edited": (lambda n: [*n[:7], forged(n[7], actor="mallory"), *n[8:]], "edited", 8, 8),
    "edited first": (lambda n: [forged(n[0], actor="mallory"), *n[1:]], "edited", 1, 1),
    "edited last": (lambda n: [*n[:-1], forged(n[-1], actor="mallory")], "edited", 24, 24),
    "edited number": (lambda n: [*n[:7], forged(n[7], seq=9), *n[8:]], "edited", 8, 8),
    "not a line": (lambda n: [*n[:7], b"# nothing\n", *n[8:]], "edited", 8, 8),
    "another spelling": (lambda n: [*n[:7], n[7].replace(b'"seq":8', b'"seq": 8'), *n[8:]], "edited", 8, 8),
    "removed": (lambda n: n[:7] + n[8:], "removed", 8, 8),
    "removed several": (lambda n: n[:7] + n[10:], "removed", 8, 8),
    "removed checkpoint": (lambda n: n[:5] + n[6:], "removed", 6, 6),
    "inserted forgery": (lambda n: [*n[:7], forged(n[7], actor="mallory"), *n[7:]], "inserted", 8, 8),
    "inserted text": (lambda n: [*n[:7], b"\n", *n[7:]], "inserted", 8, None),
    "inserted copy of an edited one": (
        lambda n: [*n[:7], forged(n[2], actor="mallory"), *n[7:]],
        "inserted",
        8,
        3,
    ),
    "swapped": (lambda n: moved(n, 7, 8), "reordered", 8, 9),
    "moved back": (lambda n: moved(n, 14, 3), "reordered", 4, 15),
    "moved to the front": (lambda n: moved(n, 7, 0), "reordered", 2, 1),
    "moved to the end": (lambda n: moved(n, 7, 23), "reordered", 8, 9),
    "first two swapped": (lambda n: moved(n, 0, 1), "reordered", 2, 1),
    "twice": (lambda n: [*n[:8], n[7], *n[8:]], "twice", 9, 8),
    "twice, later": (lambda n: [*n, n[7]], "twice", 25, 8),
    "broken off": (lambda n: [*n[:9], n[9][:30]], "truncated", 10, 10),
    "without its end of line": (lambda n: [*n[:9], n[9][:-1]], "truncated", 10, 10),
    "cut": (lambda n: n[:20], "truncated", 21, 21),
    "cut to nothing": (lambda n: [], "truncated", 1, 1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_way_of_tampering_is_named_with_its_place(name: str) -> None:
    change, kind, line, seq = FAULTS[name]
    fault = read(change(LOG), expected=Expected(24, mac_of(LOG[23]), "the state", newest=True)).fault
    assert fault is not None
    assert (fault.kind, fault.line, fault.seq) == (kind, line, seq), fault


def test_a_second_history_under_the_same_key_is_told_from_an_edit() -> None:
    """A state put back to an older day goes on with entries that are genuine too."""
    other = written(20, names="other")
    for lines, line in ((LOG[:7] + other[7:], 8), ([*LOG[:9], other[4], *LOG[9:]], 10)):
        fault = read(lines).fault
        assert fault is not None
        assert fault.line == line
        assert fault.kind in ("forked", "inserted")
    fault = read(LOG[:7] + other[7:]).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("forked", 8)


def test_a_log_that_is_ahead_of_the_state_tells_of_a_rollback() -> None:
    anchor = Expected(20, mac_of(LOG[19]), "the state", newest=True)
    fault = read(LOG, expected=anchor).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("ahead", 21)
    assert read(LOG, expected=Expected(20, mac_of(LOG[19]), "--expect")).ok


def test_another_history_than_the_expected_one() -> None:
    other = written(20, names="other")
    fault = read(other, expected=Expected(20, mac_of(LOG[19]), "--expect")).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("forked", 20)


def test_a_wrong_key_is_called_that() -> None:
    fault = read(LOG, key=SecretKey(b"x" * 32)).fault
    assert fault is not None
    assert fault.kind == "wrong-key"


def test_rotated_files_are_one_log_in_whatever_order_they_are_named() -> None:
    assert read(LOG[:9], LOG[9:13], LOG[13:]).ok
    fault = read(LOG[:9], LOG[13:]).fault
    assert fault is not None
    assert (fault.kind, fault.file, fault.line, fault.seq) == ("removed", "audit.log.2", 1, 10)
    mixed = [Memory(LOG[13:], "c"), Memory([], "empty"), Memory(LOG[:9], "a"), Memory(LOG[9:13], "b")]
    assert [source.name for source in proof.in_order(mixed)] == ["a", "b", "c", "empty"]


def test_a_file_that_starts_in_the_middle_is_looked_at_from_there() -> None:
    report = read(LOG[8:])
    assert report.ok
    assert (report.first, report.last) == (9, 24)
    assert report.told()[0] == "it begins in the middle, with entry 9: those before it are not looked at"
    assert report.signed == (12, 23), "the first checkpoint speaks of entries that are not here"


def test_the_public_key_alone_proves_what_was_signed_for() -> None:
    report = read(LOG[:21], key=None, public_key=KEY.public_key())
    assert report.ok
    assert report.signed == (1, 17)
    assert report.told() == [
        "proven: entries 1 to 17 are as they were signed for",
        "not proven without the audit key: the contents of entries 18 to 21",
        "not proven: that nothing came after entry 21; compare with an anchor outside (--state, or --expect SEQ:MAC)",
    ]


def test_the_public_key_finds_an_edit_by_somebody_who_has_no_key() -> None:
    change = [*LOG[:7], forged(LOG[7], actor="mallory"), *LOG[8:]]
    fault = read(change, key=None, public_key=KEY.public_key()).fault
    assert fault is not None
    assert (fault.kind, fault.line, fault.seq) == ("edited", 12, 6)
    assert "entries 6 to 11" in fault.what


def test_a_log_that_brings_its_own_public_key_proves_little_and_it_is_said() -> None:
    report = read(LOG, key=None)
    assert report.ok
    assert report.public_key_from == "log"
    assert any("anybody could have made all of it" in line for line in report.told())
    mallory = SecretKey(b"m" * 32)
    made_up = written(20, chain=Chain(mallory))
    assert read(made_up, key=None).ok
    fault = read(made_up, key=None, public_key=KEY.public_key()).fault
    assert fault is not None
    assert fault.kind == "checkpoint"


def test_a_checkpoint_without_any_is_not_proven() -> None:
    report = read(LOG[:4], key=None)
    assert report.ok
    assert report.told()[0] == "not proven without the audit key: the contents of entries 1 to 4"


def test_forwarded_lines_may_have_something_before_them_and_come_twice() -> None:
    sent = [b"Nov 23 20:00:00 host runbound[7]: " + line for line in [*LOG[:9], *LOG[6:], *LOG[20:]]]
    source = Forwarded(Memory(sent))
    report = proof.verify([source], keys=[KEY], verify_signature=verify_signature)
    assert report.ok, report.fault
    assert report.entries == 24
    lost = Forwarded(Memory([*sent[:4], *sent[5:]]))
    fault = proof.verify([lost], keys=[KEY], verify_signature=verify_signature).fault
    assert fault is not None
    assert fault.kind == "removed"


def test_compressed_files_are_read_and_broken_ones_told(tmp_path: Path) -> None:
    packed = tmp_path / "audit.log.1.gz"
    packed.write_bytes(gzip.compress(b"".join(LOG[:9])))
    plain = tmp_path / "audit.log"
    plain.write_bytes(b"".join(LOG[9:]))
    sources = proof.in_order([FileSource(str(plain)), FileSource(str(packed))])
    assert proof.verify(sources, keys=[KEY], verify_signature=verify_signature).entries == 24
    packed.write_bytes(packed.read_bytes()[:-20])
    for broken in (packed, tmp_path / "none"):
        with pytest.raises(RunboundError, match="cannot read it"):
            proof.verify([FileSource(str(broken))], keys=[KEY], verify_signature=verify_signature)


@settings(max_examples=300)
@given(data=st.data())
def test_no_change_of_octets_goes_unnoticed(data: st.DataObject) -> None:
    whole = b"".join(LOG)
    place = data.draw(st.integers(0, len(whole) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    broken = [*io.BytesIO(whole[:place] + bytes([octet]) + whole[place + 1 :])]
    report = read(broken, expected=Expected(24, mac_of(LOG[23]), "x"))
    assert report.fault is not None
    number = whole[:place].count(b"\n") + 1
    assert report.fault.line in (number, number + 1)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_no_other_order_or_choice_of_lines_goes_unnoticed(seed: int) -> None:
    chance = random.Random(seed)
    lines = [chance.choice(LOG) for _ in range(chance.randint(0, 30))]
    whole = read(lines, expected=Expected(24, mac_of(LOG[23]), "x", newest=True))
    numbers = [trail.parse(line.strip()).seq for line in lines]
    assert whole.ok == (numbers == list(range(numbers[0] if numbers else 25, 25)) and bool(numbers))


def test_a_log_that_goes_on_under_another_key_needs_both() -> None:
    """As `runbound store resign` leaves it: a checkpoint that covers nothing begins the new key's part."""
    other = SecretKey(b"n" * 32)
    chain = Chain.after(other, 20, mac_of(LOG[19]))
    begin = chain.checkpoint(NOW).encode() + b"\n"
    whole = [*LOG[:20], begin, *written(12, chain=chain)]

    def proven(*keys: SecretKey, public_keys: Sequence[bytes] = ()) -> Report:
        return proof.verify([Memory(whole)], keys=keys, public_keys=public_keys, verify_signature=verify_signature)

    both = proven(KEY, other)
    assert both.ok, both.fault
    assert both.entries == len(whole)
    assert proven(other, KEY).ok
    assert proven(public_keys=[KEY.public_key(), other.public_key()]).ok
    for report in (proven(KEY), proven(public_keys=[KEY.public_key()]), proven()):
        assert report.fault is not None
        assert (report.fault.line, report.fault.seq) == (21, 21)
    edited = [*whole[:24], forged(whole[24], actor="mallory"), *whole[25:]]
    fault = proof.verify([Memory(edited)], keys=[KEY, other], verify_signature=verify_signature).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("edited", 25)


def test_another_key_cannot_begin_unasked() -> None:
    """Who has a key of his own cannot go on with the log of another."""
    mallory = Chain.after(SecretKey(b"m" * 32), 20, mac_of(LOG[19]))
    whole = [*LOG[:20], mallory.checkpoint(NOW).encode() + b"\n", *written(6, chain=mallory)]
    fault = read(whole).fault
    assert fault is not None
    assert (fault.line, fault.seq) == (21, 21)
