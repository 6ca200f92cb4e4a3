"""docs/api/how-to.md tells the truth: its commands are run against a resolver, and each has to succeed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import ROOT, Lab, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "api" / "how-to.md").read_text(encoding="utf-8")
HEAD, *REST = re.split(r"^## ", PAGE, flags=re.MULTILINE)
COMMAND = re.compile(r"^    ((?:curl|runbound|timeout) .*)$", re.MULTILINE)
SECTIONS = {text.split("\n")[0]: COMMAND.findall(text) for text in REST if COMMAND.search(text)}


class Reader:
    """Somebody who types what the page says, with their own port, key file and configuration."""

    def __init__(self, folder: Path, resolver: Resolver, port: int) -> None:
        self.folder = folder
        (folder / "runbound").write_text(f'#!/bin/sh\nexec {sys.executable} -m runbound "$@"\n')
        (folder / "runbound").chmod(0o755)
        state = resolver.folder_of_conf() / "state"
        self.begin = "\n".join(re.findall(r"^    (\w+=.*)$", HEAD, re.MULTILINE))
        self.begin = self.begin.replace("8081", str(port)).replace("/var/lib/runbound", str(state))
        self.env = {
            "PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(ROOT / "python"),
            "STATE_DIRECTORY": str(state),
            "CONF": str(resolver.conf),
            "LANG": "C.UTF-8",
        }

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """What comes of a line."""
        return subprocess.run(
            f"{self.begin}\n{line}",
            shell=True,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder, port = tmp_path_factory.mktemp("reader"), free_port()
    with Lab(folder / "lab") as lab:
        body = f'    api-port: {port}\nforward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{lab.port}\n'
        with Resolver(body, folder / "resolver") as resolver:
            end = time.monotonic() + 15
            while "API is up" not in resolver.log():
                assert time.monotonic() < end, resolver.log()
                time.sleep(0.05)
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
            yield Reader(folder, resolver, port)


def test_the_page_has_commands() -> None:
    assert len(SECTIONS) >= 7
    assert "API=" in HEAD
    assert "KEY=" in HEAD


@pytest.mark.parametrize("title", SECTIONS)
def test_what_the_page_says_works(title: str, reader: Reader) -> None:
    for line in SECTIONS[title]:
        done = reader.type(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        assert done.stdout or any(quiet in line for quiet in (" -o ", "dump.txt", " export ")), line
