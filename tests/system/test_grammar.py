"""The recorded grammar probes: what Unbound says of a text, runbound says too, but for a list with reasons."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from support.jail import examine

if TYPE_CHECKING:
    from support.jail import Case, Found

PROBES: Final = Path(__file__).parents[3] / "shared" / "reference" / "unbound-conf-grammar-cases.json"

EXCEPTIONS: Final = {
    "port-70000": "Unbound takes the port and cannot bind it",
    "port-neg": "Unbound takes the port and cannot bind it",
    "if-badport": "Unbound takes the port and cannot bind it",
    "fwd-badport": "nothing can be sent to port 0",
    "acl-neg": "a negative prefix length is no network; which clients it would let in is anybody's guess",
    "acl-cookie": "allow_cookie came with Unbound 1.18, the probes were made with 1.17.1",
    "new-option": "iter-scrub-ns came with Unbound 1.22, the probes were made with 1.17.1",
}
"""Probes whose verdict differs on purpose; docs/reference/configuration-differences.md lists them for operators."""

VALUES_DIFFER: Final = {
    "atoi-neg": "a negative number is told and read as 0",
}


def _cases() -> list[dict[str, Any]]:
    if not PROBES.exists():
        return []
    found: list[dict[str, Any]] = json.loads(PROBES.read_text())["cases"]
    return found


CASES: Final = _cases()


def _text(case: dict[str, Any]) -> bytes:
    """The probe's text; the record abbreviates three of them."""
    text: str = case["conf"]
    if case["id"] == "long-token":
        return b'server:\n identity: "' + b"a" * 1_000_000 + b'"\n'
    if case["id"] == "long-comment":
        return b"# " + b"x" * 1_000_000 + b"\nserver:\n port: 5353\n"
    if case["id"] == "binary":
        return bytes(range(256)) * 3
    return text.encode()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    cases: list[Case] = []
    for case in CASES:
        files = {name: content.encode().decode("latin-1") for name, content in case["files"].items()}
        files["/c/unbound.conf"] = _text(case).decode("latin-1")
        cases.append({"id": case["id"], "main": "/c/unbound.conf", "cwd": "/", "files": files, "directories": []})
    return examine(cases, tmp_path_factory.mktemp("grammar"))


@pytest.mark.skipif(not CASES, reason=f"{PROBES} is not on this machine")
def test_every_probe_is_there() -> None:
    ids = {case["id"] for case in CASES}
    assert len(ids) == 264
    assert set(EXCEPTIONS) | set(VALUES_DIFFER) <= ids


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_verdict_is_unbounds(case: dict[str, Any], found: dict[str, Found]) -> None:
    ours = found[case["id"]]
    wanted = case["rc"] == 0
    if case["id"] in EXCEPTIONS:
        assert ours["ok"] is not wanted, f"no exception any more: {EXCEPTIONS[case['id']]}"
        return
    assert ours["ok"] is wanted, "\n".join([case["out"], "---", *ours["messages"]])
    if not wanted:
        assert ours["messages"], "an error without a message"


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case["rc"] == 0 and case["value"] is not None and "unbound-checkconf" not in case["value"]
    ],
    ids=lambda case: case["id"],
)
def test_the_value_is_unbounds(case: dict[str, Any], found: dict[str, Found]) -> None:
    if case["id"] in VALUES_DIFFER or case["id"] in EXCEPTIONS:
        return
    values = found[case["id"]]["values"]
    assert values.get(case["option"]) == case["value"]


@pytest.mark.skipif(not CASES, reason=f"{PROBES} is not on this machine")
def test_errors_of_the_first_step_have_unbounds_line(found: dict[str, Found]) -> None:
    """The first line that Unbound complains about is among ours, wherever it names one."""
    wrong = []
    for case in CASES:
        first = re.search(r"^(/c/[^:\n]+:[0-9]+): error", case["out"], re.MULTILINE)
        if case["rc"] == 0 or first is None or case["id"] in (*EXCEPTIONS, *OTHER_LINE):
            continue
        places = [message.split("\n", 1)[0] for message in found[case["id"]]["messages"]]
        if not any(place.startswith(f"{first[1]}:") for place in places):
            wrong.append((case["id"], first[1], places))
    assert not wrong


OTHER_LINE: Final = {
    "missing-value-eof": "told at the option that lacks its value, not where the file ends",
    "fwd-noname": "told where the clause opens, not where the next one starts",
    "fwd-empty": "told where the clause opens, not where the next one starts",
    "view-noname": "told where the clause opens, not where the next one starts",
}


def test_every_exception_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "configuration-differences.md").read_text()
    assert [name for name in EXCEPTIONS if f"`{name}`" not in text] == []


def test_the_reference_is_here_where_it_should_be() -> None:
    """A clone elsewhere lacks the shared folder and skips; where the folder is, it must be complete."""
    if not PROBES.parent.exists():
        pytest.skip(f"{PROBES.parent} is not on this machine: the recorded probes were not replayed")
    assert os.access(PROBES, os.R_OK)
