"""docs/how-to/lab.md tells the truth: its commands are run, and what it says "You see" is seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import ROOT, Process, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "how-to" / "lab.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
SEEN = {title: text for title, text in SECTIONS.items() if "You see" in text}


class Reader:
    """Somebody who types what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        bins = folder / "bin"
        bins.mkdir()
        (bins / "runbound").write_text(f'#!/bin/sh\nexec {sys.executable} -m runbound "$@"\n')
        (bins / "runbound").chmod(0o755)
        path = f"{bins}:{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        self.env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "python")}

    def type(self, line: str) -> str:
        """What a line prints, with the lab's port in place of the page's."""
        line = line.replace("-p 5300", f"-p {self.port}").replace("--namespace box", f"--namespace doc-{os.getpid()}")
        done = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = Reader(tmp_path_factory.mktemp("reader"))
    command: list[str | Path] = [made.folder / "bin" / "runbound", "lab", "--port", str(made.port)]
    with Process(command, made.folder, made.env) as process:
        process.wait_for_log("lab: ready")
        yield made


def test_there_are_ten_things() -> None:
    assert [title.split(".")[0] for title in SECTIONS if title[0].isdigit()] == [str(n) for n in range(1, 11)]
    assert set(SEEN) >= {title for title in SECTIONS if title[0].isdigit()}


@pytest.mark.parametrize("title", SEEN)
def test_you_see_what_the_page_says(title: str, reader: Reader) -> None:
    text = SEEN[title]
    printed = "\n".join(reader.type(line.strip()) for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE))
    sentence = re.search(r"You\s+see\s+((?:`[^`]+`,?\s*)+)\.", text)
    assert sentence is not None
    for wanted in re.findall(r"`([^`]+)`", sentence[1]):
        assert " ".join(wanted.split()) in " ".join(printed.split()), f"{wanted!r} is not in\n{printed}"


def test_the_zone_of_ones_own(reader: Reader) -> None:
    mine = "\n".join(re.findall(r"^    (.*)$", SECTIONS["Add a zone"], re.MULTILINE))
    (reader.folder / "mine.toml").write_text(mine + "\n")
    printed = reader.type(f"runbound lab --add mine.toml --namespace own-{os.getpid()} -q -- dig www.shop.lab +dnssec")
    assert "192.0.2.80" in printed
    assert " ad;" in printed
