"""Scenarios that others wrote, Unbound's and Deckard's, played whole against the real process.

Owns the areas that are played, the share that must pass and the list of those that do not. The scenarios and the player
lie beside the repository (`../shared/conformance`), not in it: without them, or without root, this file says so, and
the tests of our own remain. docs/conformance.md tells the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.servers import ROOT, RUNBOUND

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT.parent / "shared" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"

AREAS = (
    "iter,val,val-cname,nsec3,nsec/aggressive,autotrust,cname,dname,forward,stub,qname-minimisation,tcp-fallback,"
    "ttl/prefetch,edns/ede/cookie,serve-expired,local-zone/views/acl"
)
TIERS = {"public": 98.0, "public-newer": 80.0}
"""Folder of scenarios -> per cent that must pass. The second holds what Debian's Unbound does not pass itself."""

NOT_PASSING = {
    "fwd_droptoomany",
    "fwd_jostle_out",
    "fwd_name_lookup",
    "iter_dname_ttl0",
    "iter_dname_ttl0_grace",
    "long_qname",
    "ttl_msg",
    "val_cnameqtype",
    "val_cnameqtype_qmin",
    "val_faildnskey_ok",
    "val_negcache_ttl_prefetch",
}
"""Scenarios that may fail; why is in docs/conformance.md."""

JOBS = "4"
TIME_LIMIT_S = 1500
PLAYS = 2
"""How often a scenario is played until it passes: its player waits real time for what should come, and a machine that
is busy with other tests may be late once."""


@pytest.fixture(scope="module", params=TIERS)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """The tier, and for each of its scenarios why it failed; empty where it passed."""
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} is not there: the conformance scenarios were NOT played")
    if os.geteuid() != 0:
        pytest.skip("the conformance scenarios were NOT played: they need root for their network namespaces")
    folder = tmp_path_factory.mktemp("scenarios")
    results = play(["--area", AREAS, "--skip", FOLDER / "later.txt", FOLDER / "rpl" / request.param], folder)
    for _ in range(PLAYS - 1):
        if again := [name for name, why in results.items() if why]:
            results |= play(["--only", ",".join(again), FOLDER / "rpl" / request.param], folder, set(again))
    return request.param, results


def play(arguments: list[str | Path], folder: Path, only: set[str] | None = None) -> dict[str, str]:
    """One run of the harness: scenario -> why it failed, empty for one that passed."""
    report = folder / "results.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, FOLDER / "run.py", "--resolver", "runbound", "--binary", RUNBOUND, "-j", JOBS, "-v"]
    done = subprocess.run(
        [str(part) for part in [*command, "--json", report, *arguments]],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert report.exists(), done.stdout + done.stderr
    cases = json.loads(report.read_text(encoding="utf-8"))["testcases"]
    return {
        case["name"]: "" if case["status"] == "PASS" else case["reason"] or case["status"]
        for case in cases
        if only is None or case["name"] in only
    }


@pytest.mark.timeout(PLAYS * TIME_LIMIT_S)
def test_enough_scenarios_pass_and_no_other_fails(played: tuple[str, dict[str, str]]) -> None:
    tier, results = played
    failed = {name: why for name, why in results.items() if why}
    share = 100 * (len(results) - len(failed)) / len(results)
    print(f"{tier}: {len(results)} played, {share:.1f} % pass; not: {', '.join(sorted(failed)) or 'none'}")
    surprises = {name: why for name, why in failed.items() if name not in NOT_PASSING}
    assert not surprises
    assert share >= TIERS[tier]


def test_what_does_not_pass_is_told_with_the_reason() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in sorted(NOT_PASSING) if f"`{name}`" not in text] == []
