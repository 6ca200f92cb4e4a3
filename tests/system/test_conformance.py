"""Scenarios that others wrote, played against the real process: all of the shared folder's that are in the areas below.

Owns the areas, and the rule that whatever does not pass is named with its reason in docs/conformance.md, from where it
is read: a scenario that is not in that table must pass. The scenarios and the player lie beside the repository
(`../shared/conformance`), not in it; without them this file says so, and the scenarios of our own (`tests/scenarios`)
and the crates' tests remain.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.servers import ROOT, RUNBOUND

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT.parent / "shared" / "conformance"
DOCUMENT = ROOT / "docs" / "conformance.md"

AREAS = frozenset(
    "iter val val-cname nsec3 nsec/aggressive autotrust cname dname forward stub qname-minimisation tcp-fallback "
    "ttl/prefetch edns/ede/cookie serve-expired local-zone/views/acl".split()
)
LEAST_PASSING = {"base": 98, "newer": 80}
"""Per cent of each tier: `base` is what Debian's Unbound passes, `newer` what its successors do."""

TIME_LIMIT_S = 900
PLAYS = 2
"""How often a scenario is played until it passes: its player waits real time for what should come, and a machine that
is busy with other tests may be late once."""


def scenarios() -> dict[str, Path]:
    """`suite/name` of each scenario of the areas -> its file; what belongs to later rooms (`later.txt`) is left out."""
    if not FOLDER.is_dir():
        return {}
    later = {
        line.split()[0] for line in (FOLDER / "later.txt").read_text().splitlines() if line.strip()[:1] not in {"", "#"}
    }
    with (FOLDER / "manifest.public.tsv").open(newline="") as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t") if row["area"] in AREAS and row["name"] not in later
        ]
    folder = {"base": "public", "newer": "public-newer"}
    return {
        f"{row['tier']}/{row['suite']}/{row['name']}": path
        for row in rows
        for path in (FOLDER / "rpl" / folder[row["tier"]] / row["suite"]).glob(f"{row['name']}.*rpl")
    }


def not_passing() -> dict[str, str]:
    """Scenario -> why it does not pass, from the table in the document."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## What does not pass", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `([\w./-]+)` \| (.+) \|$", section, re.MULTILINE))


SCENARIOS = scenarios()
NOT_PASSING = not_passing()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Scenario -> its result and the reason."""
    if not SCENARIOS:
        pytest.skip(f"{FOLDER} is not there: the conformance scenarios were NOT played")
    if os.geteuid() != 0:
        pytest.skip("the conformance scenarios were NOT played: they need root for their network namespaces")
    report = tmp_path_factory.mktemp("scenarios") / "results.json"
    results: dict[str, tuple[str, str]] = {}
    for _ in range(PLAYS):
        wanted = {n: p for n, p in SCENARIOS.items() if results.get(n, ("",))[0] != "PASS"}
        left = {n: p for n, p in wanted.items() if not results or n not in NOT_PASSING}
        if left:
            results |= play(left, report)
    return results


def play(files: dict[str, Path], report: Path) -> dict[str, tuple[str, str]]:
    """One run of the harness."""
    command = [sys.executable, FOLDER / "run.py", "--resolver", "runbound", "--binary", RUNBOUND, "-j", "4", "-v"]
    done = subprocess.run(
        [str(part) for part in [*command, "--json", report, *files.values()]],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert report.exists(), done.stdout + done.stderr
    found = {(case["dialect"], case["name"]): case for case in json.loads(report.read_text("utf-8"))["testcases"]}
    cases = {name: found[path.parent.name, path.stem] for name, path in files.items()}
    return {name: (case["status"], case["reason"]) for name, case in cases.items()}


@pytest.mark.timeout(TIME_LIMIT_S + 30)
@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - NOT_PASSING.keys()) or ["none"])
def test_the_scenario_passes(played: dict[str, tuple[str, str]], name: str) -> None:
    status, reason = played[name]
    assert status == "PASS", reason


@pytest.mark.timeout(TIME_LIMIT_S + 30)
@pytest.mark.parametrize("tier", sorted(LEAST_PASSING))
def test_enough_of_each_tier_pass(played: dict[str, tuple[str, str]], tier: str) -> None:
    of_it = [status for name, (status, _) in played.items() if name.startswith(f"{tier}/")]
    assert 100 * of_it.count("PASS") >= LEAST_PASSING[tier] * len(of_it) > 0


def test_the_document_names_only_scenarios_that_there_are() -> None:
    if SCENARIOS:
        assert NOT_PASSING.keys() <= SCENARIOS.keys()
    assert all(reason.strip() for reason in NOT_PASSING.values())
