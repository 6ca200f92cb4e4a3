"""docs/how-to/audit.md and backup.md tell the truth: their commands are typed in their order, and each succeeds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.live import Api
from support.servers import ROOT, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ELSEWHERE = ("/backup/audit.log", "journalctl", "--public-key 4")
"""Lines about another machine."""
LINE = re.compile(r"^    ((?:runbound|ID=).*)$", re.MULTILINE)


def lines(page: str) -> list[str]:
    """The commands of a page."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    return [line for line in LINE.findall(text) if not any(word in line for word in ELSEWHERE)]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody beside a running resolver."""
    folder: Path = tmp_path_factory.mktemp("reader")
    (folder / "runbound").write_text(f'#!/bin/sh\nexec {sys.executable} -m runbound "$@" $HERE\n')
    (folder / "runbound").chmod(0o755)
    port = free_port()
    body = f"    api-port: {port}\n    local-zone: test. static\n"
    with Resolver(body, folder / "resolver", env={"RUNBOUND_API_KEY": "k" * 40}) as resolver:
        api = Api(resolver, port)
        api.made("/dns", {"name": "nas.home.arpa.", "type": "A", "value": "192.0.2.7"})
        yield {
            "PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(ROOT / "python"),
            "STATE": str(resolver.folder_of_conf() / "state"),
            "RUNBOUND_API_KEY": "k" * 40,
            "HERE": f"--conf {resolver.conf}",
            "FOLDER": str(folder),
            "LANG": "C.UTF-8",
        }


@pytest.mark.parametrize("page", ["audit", "backup"])
def test_what_the_page_says_works(page: str, env: dict[str, str]) -> None:
    typed = lines(page)
    assert len(typed) >= 6
    script = "set -e\n" + "\n".join(f"echo '+ '\n{line}" for line in typed)
    done = subprocess.run(
        script, shell=True, cwd=env["FOLDER"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    said = done.stdout.split("+ \n")[1:]
    assert len(said) == len(typed), done.stdout
    quiet = ("ID=", "runbound audit tail --event auth")
    assert all(text for line, text in zip(typed, said, strict=True) if not line.startswith(quiet)), done.stdout
