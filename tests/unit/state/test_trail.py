"""The audit log's line: one form, one MAC, one chain, and checkpoints that the public key alone can prove."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbound.engine import SecretKey, verify_signature
from runbound.state import trail
from runbound.state.entries import Event
from runbound.state.trail import BrokenTrailError, Chain, NotALineError

SECRET = b"k" * 32
NOW = 1_795_000_000_123_456
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def key() -> SecretKey:
    return SecretKey(SECRET)


def written(count: int, every: int = 5) -> list[str]:
    """So many ordinary entries with a checkpoint after each `every`."""
    chain, lines = Chain(key()), []
    for number in range(count):
        lines.append(chain.append(NOW + number, Event("record.add", "alice", {"name": f"h{number}.example."})))
        if chain.since >= every:
            lines.append(chain.checkpoint(NOW + number))
    return lines


def test_a_line_is_what_the_documentation_says() -> None:
    line = Chain(key()).append(NOW, Event("record.add", "alice", {"name": "é.example.", "a": 1}))
    assert line.startswith(
        '{"seq":1,"time":"2026-11-18T11:06:40.123456Z","event":"record.add","actor":"alice",'
        '"fields":{"a":1,"name":"é.example."},"prev":"' + "0" * 64 + '","mac":"'
    )
    head, mac = line[:-2].rsplit(',"mac":"', 1)
    assert hmac.new(SECRET, (head + "}").encode(), hashlib.sha256).hexdigest() == mac


def test_each_line_follows_the_one_before() -> None:
    lines = [json.loads(line) for line in written(3)]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["prev"] for line in lines] == [trail.NOTHING, lines[0]["mac"], lines[1]["mac"]]


def test_a_checkpoint_can_be_proven_with_the_public_key_alone() -> None:
    lines = written(10)
    checkpoints = [line for line in map(trail.parse, (text.encode() for text in lines)) if line.event == "checkpoint"]
    assert [line.seq for line in checkpoints] == [6, 12]
    for line, covered in zip(checkpoints, (lines[:5], lines[5:11]), strict=True):
        found = trail.statement(line)
        assert found is not None
        said, signature = found
        assert verify_signature(key().public_key(), said.signed(line.seq), signature)
        assert not verify_signature(key().public_key(), said.signed(line.seq + 1), signature)
        assert said.digest == hashlib.sha256("".join(f"{text}\n" for text in covered).encode()).hexdigest()
        assert (said.count, said.first) == (len(covered), json.loads(covered[0])["seq"])
        assert said.head == line.prev


@pytest.mark.parametrize("kept", [4, 5, 6, 7, 12])
def test_a_chain_that_is_resumed_goes_on_as_if_it_had_never_ended(kept: int) -> None:
    lines = [line.encode() for line in written(12)]
    last = max([0, *(n for n in range(kept) if trail.parse(lines[n]).event == "checkpoint")])
    for tail in (lines[:kept], lines[last:kept]):
        chain = Chain.resume(key(), tail)
        assert (chain.seq, chain.since) == (kept, kept - last if last == 0 else kept - last - 1)
        more = [chain.append(NOW, Event("a", "b")), chain.checkpoint(NOW)]
        Chain.resume(key(), [*lines[:kept], *(line.encode() for line in more)])
        said = trail.statement(trail.parse(more[1].encode()))
        assert said is not None
        assert (
            said[0].digest
            == hashlib.sha256(b"".join(n + b"\n" for n in (*lines[last:kept], more[0].encode()))).hexdigest()
        )


def test_what_a_fork_makes_can_be_forgotten() -> None:
    chain = Chain(key())
    chain.append(NOW, Event("a", "b"))
    fork = chain.fork()
    forgotten = fork.append(NOW, Event("lost", "b"))
    fork.checkpoint(NOW)
    kept = chain.append(NOW, Event("kept", "b"))
    assert (json.loads(kept)["seq"], json.loads(kept)["prev"]) == (2, json.loads(forgotten)["prev"])
    assert chain.since == 2


def test_resuming_finds_every_change_of_one_octet() -> None:
    lines = [line.encode() for line in written(7)]
    for number, line in enumerate(lines):
        for place in range(len(line)):
            broken = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
            with pytest.raises(BrokenTrailError) as found:
                Chain.resume(key(), [*lines[:number], broken, *lines[number + 1 :]])
            assert found.value.seq in (number + 1, trail.parse(line).seq)


@pytest.mark.parametrize(
    ("name", "change", "seq"),
    [
        ("removed", lambda lines: lines[:3] + lines[4:], 4),
        ("first removed", lambda lines: lines[1:], 2),
        ("twice", lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
        ("swapped", lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], 3),
    ],
)
def test_resuming_finds_what_is_missing_or_moved(name: str, change: object, seq: int) -> None:
    assert callable(change)
    with pytest.raises(BrokenTrailError) as found:
        Chain.resume(key(), change([line.encode() for line in written(7)]))
    assert found.value.seq == seq, name


def test_another_key_is_told_from_nothing() -> None:
    with pytest.raises(BrokenTrailError, match="audit key"):
        Chain.resume(SecretKey(b"x" * 32), [line.encode() for line in written(2)])


@given(event=st.text(), actor=st.text(), given_=st.dictionaries(st.text(), json_values, max_size=5))
def test_whatever_an_entry_holds_its_line_is_read_back_the_same(
    event: str, actor: str, given_: dict[str, object]
) -> None:
    line = Chain(key()).append(NOW, Event(event, actor, given_))
    assert "\n" not in line
    assert trail.parse(line.encode()).genuine(key())
    json.loads(line, parse_float=pytest.fail)
    assert len(line.encode()) < 64 * 1024


def test_long_contents_are_cut() -> None:
    long = {"text": "x" * 5000, "list": list(range(1000)), "many": {str(n): "y" * 2000 for n in range(100)}, "short": 1}
    kept = json.loads(Chain(key()).append(NOW, Event("a", "b", long)))["fields"]
    assert kept["text"] == "x" * (trail.MAX_TEXT - 1) + "…"
    assert "many" not in kept
    assert kept["short"] == 1
    assert kept["cut"] > 100_000
    assert trail.fields({"list": list(range(1000))})["list"] == list(range(trail.MAX_ITEMS))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace('"seq":1', '"seq": 1'),
        lambda line: line.replace('"seq":1', '"seq":1.0'),
        lambda line: line.replace('"seq":1', '"seq":2,"seq":1'),
        lambda line: line.replace('"fields":{}', '"fields":{},"more":1'),
        lambda line: line.replace('"actor":"b"', '"actor":"\\u0062"'),
        lambda line: line.replace('"seq":1', '"seq":0'),
        lambda line: line[:-10],
        lambda line: line + " ",
        lambda line: "[" * 5000,
        lambda line: line.replace('"mac":"', '"mac":"zz'),
        lambda line: "",
    ],
)
def test_a_line_has_one_form(change: object) -> None:
    assert callable(change)
    line = Chain(key()).append(NOW, Event("a", "b"))
    with pytest.raises(NotALineError):
        trail.parse(change(line).encode())
