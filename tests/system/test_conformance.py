"""Scenarios that others wrote: those of the shared conformance folder that a forwarding resolver has to pass.

Owns the list of what must pass, and the change that lets scenarios about the cache be played without recursion: their
stub zone becomes a forward zone. The scenarios and the player lie beside the repository (`../shared/conformance`), not
in it; without them this file says so, and `test_upstreams.py` and the crates' own tests remain. docs/conformance.md
tells the rest.
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

AS_WRITTEN = (
    "fwd",
    "fwd_error",
    "fwd_lrudrop",
    "fwd_minimal",
    "fwd_name_lookup",
    "fwd_notcached",
    "fwd_scrub_rrsig",
    "fwd_timeout",
    "rrset_updated",
    "rrset_use_cached",
    "serve_expired_ttl_reset",
)
"""Played as they are: they have a forward zone."""

FORWARDED = (
    "serve_expired_0ttl_nxdomain",
    "serve_expired_cached_servfail_refresh",
    "serve_expired_client_timeout",
    "serve_expired_ttl",
    "serve_expired_ttl_client_timeout",
    "serve_expired_zerottl",
)
"""Played with a forward zone in place of their stub zone."""

TIME_LIMIT_S = 240
PLAYS = 2
"""How often a scenario is played until it passes: its player waits real time for what should come, and a machine that
is busy with other tests may be late once."""


def find(name: str) -> Path:
    """The scenario's file."""
    (file,) = [*FOLDER.glob(f"rpl/*/*/{name}.rpl")]
    return file


def forwarded(text: str) -> str:
    """A scenario with its stub zone turned into a forward zone."""
    head, rest = text.split("CONFIG_END", 1)
    head = head.replace("stub-zone:", "forward-zone:").replace("stub-addr:", "forward-addr:")
    return f"{head}CONFIG_END{rest}"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Scenario -> its result and the reason, all played in one run."""
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} is not there: the conformance scenarios were NOT played")
    if os.geteuid() != 0:
        pytest.skip("the conformance scenarios were NOT played: they need root for their network namespaces")
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "unbound").mkdir()
    for name in FORWARDED:
        text = find(name).read_text(encoding="utf-8")
        (folder / "unbound" / f"{name}.rpl").write_text(forwarded(text), encoding="utf-8")
    files = {name: find(name) for name in AS_WRITTEN}
    files |= {name: folder / "unbound" / f"{name}.rpl" for name in FORWARDED}
    results: dict[str, tuple[str, str]] = {}
    for _ in range(PLAYS):
        left = [file for name, file in files.items() if results.get(name, ("",))[0] != "PASS"]
        if left:
            results |= play(left, folder / "results.json")
    return results


def play(files: list[Path], report: Path) -> dict[str, tuple[str, str]]:
    """One run of the harness."""
    command = [sys.executable, FOLDER / "run.py", "--resolver", "runbound", "--binary", RUNBOUND, "-j", "4", "-v"]
    done = subprocess.run(
        [str(part) for part in [*command, "--json", report, *files]],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert report.exists(), done.stdout + done.stderr
    cases = json.loads(report.read_text(encoding="utf-8"))["testcases"]
    return {case["name"]: (case["status"], case["reason"]) for case in cases}


@pytest.mark.timeout(TIME_LIMIT_S + 30)
@pytest.mark.parametrize("name", [*AS_WRITTEN, *FORWARDED])
def test_the_scenario_passes(played: dict[str, tuple[str, str]], name: str) -> None:
    status, reason = played[name]
    assert status == "PASS", reason
