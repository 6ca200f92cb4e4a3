"""docs/how-to/explain.md tells the truth: a resolver walks the lab, its questions are explained, and what the page says
"You see" is seen. Needs root, for the namespace.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.servers import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = (ROOT / "docs" / "how-to" / "explain.md").read_text(encoding="utf-8")
HEAD, *REST = re.split(r"^## ", PAGE, flags=re.MULTILINE)
SECTIONS = {text.split("\n")[0]: text for text in REST}
UP_S = 30.0
"""How long the API of a resolver in the lab may take to come up on a busy machine."""


class Reader:
    """Somebody who types what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bins = folder / "bin"
        bins.mkdir()
        (bins / "runbound").write_text(f'#!/bin/sh\nexec {sys.executable} -m runbound "$@"\n')
        (bins / "runbound").chmod(0o755)
        path = f"{bins}:{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        self.env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "python"), "LANG": "C.UTF-8"}

    def type(self, line: str) -> str:
        """What a line prints."""
        done = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout

    def explained(self, line: str) -> dict[str, Any]:
        """What a program reads."""
        found: dict[str, Any] = json.loads(self.type(f"runbound explain {line} --json -c .runbound/lab/runbound.conf"))
        return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = Reader(tmp_path_factory.mktemp("reader"))
    (begin,) = re.findall(r"^    (runbound lab .*)$", HEAD, re.MULTILINE)
    words = begin.replace("--namespace box", f"--namespace explain-{os.getpid()}").split()
    with Process([made.folder / "bin" / words[0], *words[1:]], made.folder, made.env):
        end = time.monotonic() + UP_S
        while "total.num.queries" not in (seen := made.type("runbound stats -c .runbound/lab/runbound.conf")):
            assert time.monotonic() < end, seen
            time.sleep(0.2)
        yield made


@pytest.mark.parametrize("title", SECTIONS)
def test_you_see_what_the_page_says(title: str, reader: Reader) -> None:
    text = SECTIONS[title]
    printed = "\n".join(reader.type(line.strip()) for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE))
    sentence = re.search(r"You\s+see\s+((?:`[^`]+`,?\s*)+)\.", text)
    assert sentence is not None
    for wanted in re.findall(r"`([^`]+)`", sentence[1]):
        assert " ".join(wanted.split()) in " ".join(printed.split()), f"{wanted!r} is not in\n{printed}"


@pytest.mark.parametrize(
    ("line", "status", "security", "zones", "said"),
    [
        ("www.nsec3.lab", "NOERROR", "secure", ". lab. nsec3.lab.", "www.nsec3.lab. A secure"),
        ("nothing.nsec3.lab", "NXDOMAIN", "secure", ". lab. nsec3.lab.", "nothing.nsec3.lab. A secure"),
        ("www.nsec3.lab TXT", "NOERROR", "secure", ". lab. nsec3.lab.", "www.nsec3.lab. TXT secure"),
        ("anything.wild.lab", "NOERROR", "secure", ". lab. wild.lab.", "anything.wild.lab. A secure"),
        ("www.unsafe.optout.lab", "NOERROR", "insecure", ". lab. optout.lab. unsafe.optout.lab.", None),
        ("www.wrongds.broken", "SERVFAIL", "bogus", ". broken. wrongds.broken.", None),
        ("www.badsig.broken", "SERVFAIL", "bogus", ". broken.", None),
    ],
)
def test_the_chain_of_trust_is_the_labs(
    reader: Reader, line: str, status: str, security: str, zones: str, said: str | None
) -> None:
    found = reader.explained(f"{line} --fresh")
    assert (found["end"], found["status"], found["security"]) == ("answered", status, security), found["why"]
    chain = found["chain"]
    assert [link["name"] for link in chain if link["type"] is None][: len(zones.split())] == zones.split()
    assert chain[0]["by"] == "anchor"
    assert all(link["keys"] for link in chain if link["type"] is None and link["security"] == "secure")
    records = [f"{link['name']} {link['type']} {link['security']}" for link in chain if link["type"] is not None]
    assert said is None or said in records, records
    assert chain[-1]["security"] == security or said is not None, chain


def test_a_fresh_question_leaves_the_cache_alone(reader: Reader) -> None:
    name = "host-77.large.lab"
    cached = "runbound cache stats --json -c .runbound/lab/runbound.conf"
    before = json.loads(reader.type(cached))
    assert reader.explained(f"{name} --fresh")["from_cache"] is False
    after = json.loads(reader.type(cached))
    assert (after["message"]["entries"], after["rrset"]["entries"]) == (
        before["message"]["entries"],
        before["rrset"]["entries"],
    )
    assert reader.explained(name)["from_cache"] is False, "nothing was remembered"
    assert reader.explained(name)["from_cache"] is True


def test_times_and_questions_hold_together(reader: Reader) -> None:
    steps = reader.explained("www.far.lab --fresh")["steps"]
    assert [step["at_ms"] for step in steps] == sorted(step["at_ms"] for step in steps)
    wants = [step for step in steps if step["what"] == "wants" and not step["data"]["joined"]]
    asked = {step["data"]["question"]: step["depth"] for step in wants}
    assert all(step["depth"] == asked[step["question"]] + 1 for step in steps if step["question"] in asked)
    sent = [step for step in steps if step["what"] == "asks"]
    heard = {step["data"]["server"] for step in steps if step["what"] == "hears"}
    assert heard <= {step["data"]["server"] for step in sent}
    assert {step["data"]["why"] for step in sent} <= {"only", "fast", "unmeasured", "hedge", "same", "dead", "explores"}
