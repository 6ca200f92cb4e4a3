"""The same file, the same questions, two programs: runbound must answer as Unbound does.

Owns the comparison and its report, which collects every mismatch before it fails. The configurations and questions
are in `support/scenes.py`, the differences that are meant in `support/differences.py`.

RUNBOUND_DIFFERENTIAL=all asks every question there is instead of a fixed share; =self puts Unbound on both sides,
which proves that the questions themselves have stable answers.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from support.differences import allowed
from support.packets import Ask, Seen, differing, exchange, see
from support.scenes import SCENES, Scene, questions
from support.servers import Lab, Resolver, Unbound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODE = os.environ.get("RUNBOUND_DIFFERENTIAL", "")
AT_ONCE = 24
"""Questions in flight: enough that silent ones do not add up, few enough that no socket buffer overflows."""
SILENCE_SECONDS = 1.0
SURE_SILENCE_SECONDS = 4.0
"""Asked again alone for this long when one side was silent: a busy machine must not look like a difference."""
EXAMPLES = 4
"""Questions shown for one kind of mismatch."""

Mismatch = tuple[Ask, str, str, str]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


def test_there_are_enough_questions() -> None:
    assert sum(len(questions(scene, everything=False)) for scene in SCENES) >= 2000


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.timeout(900)
def test_answers_as_unbound_does(scene: Scene, lab: Lab, tmp_path: Path) -> None:
    conf = scene.conf.replace("{lab}", f"{lab.address}@{lab.port}")
    other: type[Unbound | Resolver] = Unbound if MODE == "self" else Resolver
    with Unbound(conf, tmp_path / "unbound") as unbound, other(conf, tmp_path / "runbound") as runbound:
        asks = questions(scene, everything=MODE == "all")
        mismatches, meant = compare(scene, asks, unbound.at, runbound.at)
        for name, server in (("Unbound", unbound), ("runbound", runbound)):
            assert server.process.poll() is None, f"{name} has ended:\n{server.log()[-3000:]}"
    print(f"{scene.name}: {len(asks)} questions, {len(mismatches)} mismatches, {sum(meant.values())} meant differences")
    for what, count in meant.items():
        print(f"    meant, {count} times: {what}")
    if mismatches:
        pytest.fail(report(scene, len(asks), mismatches), pytrace=False)


def compare(
    scene: Scene, asks: list[Ask], unbound: tuple[str, int], runbound: tuple[str, int]
) -> tuple[list[Mismatch], Counter[str]]:
    """Asks both; every field that differs and is not meant to, and how often the meant ones were met."""
    mismatches: list[Mismatch] = []
    meant: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, wave in groupby(asks, key=lambda ask: ask.wave):
            if number:
                time.sleep(scene.pause)
            # Questions about one name and type are asked one after the other: what is joined in flight is chance.
            alike: defaultdict[object, list[Ask]] = defaultdict(list)
            for ask in wave:
                alike[ask.raw or (ask.name.lower(), ask.rtype)].append(ask)
            work = pool.map(lambda asks: [(ask, one(ask, unbound), one(ask, runbound)) for ask in asks], alike.values())
            for ask, theirs, ours in (row for rows in work for row in rows):
                if theirs.silent != ours.silent:
                    theirs = one(ask, unbound, SURE_SILENCE_SECONDS) if theirs.silent else theirs  # noqa: PLW2901
                    ours = one(ask, runbound, SURE_SILENCE_SECONDS) if ours.silent else ours  # noqa: PLW2901
                for field, (their_value, our_value) in differing(theirs, ours).items():
                    row = allowed(scene.name, ask, field, theirs, ours)
                    if row is None:
                        mismatches.append((ask, field, their_value, our_value))
                    else:
                        meant[row.what] += 1
    return mismatches, meant


def one(ask: Ask, server: tuple[str, int], seconds: float = SILENCE_SECONDS) -> Seen:
    """One answer in comparable form."""
    return see(ask, exchange(ask, server, seconds))


def report(scene: Scene, count: int, mismatches: list[Mismatch]) -> str:
    """The mismatches grouped by field and by what each side said, most frequent first."""
    groups: defaultdict[tuple[str, str, str], list[Ask]] = defaultdict(list)
    for ask, field, theirs, ours in mismatches:
        exact = field not in ("answer", "authority", "extra", "ttl", "question", "unparsed")
        key = (field, theirs, ours) if exact else (field, shape(theirs), shape(ours))
        groups[key].append(ask)
    examples = {(str(ask), field): (theirs, ours) for ask, field, theirs, ours in mismatches}
    asked = len({str(ask) for ask, *_ in mismatches})
    lines = [f"{scene.name}: {asked} of {count} questions were answered otherwise"]
    for (field, theirs, ours), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {len(members):4} x {field}: unbound [{theirs}] runbound [{ours}]")
        lines += [f"           {ask}" for ask in members[:EXAMPLES]]
        if field in ("answer", "authority", "extra", "ttl", "question", "unparsed"):
            first = examples[str(members[0]), field]
            lines += [f"             unbound:  {first[0][:300]!r}", f"             runbound: {first[1][:300]!r}"]
    return "\n".join(lines)


def shape(value: str) -> str:
    """A section without its names and data: how many records of which types."""
    kinds = Counter(" ".join(row.split()[1:3]) for row in value.split("\n") if row)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
