"""Configurations that people run, from public repositories: what Unbound says of each, runbound says too."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pytest

from support.jail import examine

if TYPE_CHECKING:
    from support.jail import Case, Found

FOLDER: Final = Path(__file__).parents[3] / "shared" / "reference" / "configs"

EXCEPTIONS: Final = {
    "12-redis-docker.conf": "names cachedb, which Debian's build of Unbound lacks",
    "44-klutchell-cachedb.conf": "names cachedb, which Debian's build of Unbound lacks",
    "49-crazymax.conf": "names cachedb, which Debian's build of Unbound lacks",
}
"""Files whose verdict differs on purpose; docs/reference/configuration-differences.md lists them for operators."""

HOME: Final = "/etc/unbound"
"""Where each file is put: the folder that relative names of the recorded runs went by."""


def _real() -> list[dict[str, Any]]:
    manifest = FOLDER / "manifest.json"
    if not manifest.exists():
        return []
    found: list[dict[str, Any]] = json.loads(manifest.read_text())["real"]
    return found


REAL: Final = _real()


ANCHOR: Final = ". 3600 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
"""What stands in files of trust anchors: an empty one is an error, in Unbound too."""


def _case(entry: dict[str, Any]) -> Case:
    """The file with its stand-ins: files and directories where the recorded run had them."""
    text = (FOLDER / entry["file"]).read_bytes().decode("latin-1")
    files = {f"{HOME}/unbound.conf": text}
    directories = []
    inside = re.search(r'^\s*directory:\s*"?(/[^"\s]*)', text, re.MULTILINE)
    home = inside[1] if inside else HOME
    for stand_in in entry["stand_ins"]:
        kind, _, name = stand_in.partition(":")
        path = name if name.startswith("/") else f"{home}/{name}"
        if kind == "dir":
            directories.append(path)
        elif kind == "dir for include glob":
            directories.append(str(PurePosixPath(path).parent))
        else:
            files[path] = ANCHOR if path.endswith(".key") else ""
    return {
        "id": entry["file"],
        "main": f"{HOME}/unbound.conf",
        "cwd": HOME,
        "files": files,
        "directories": directories,
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    return examine([_case(entry) for entry in REAL], tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry["file"].removeprefix("real/"))
def test_the_verdict_is_unbounds(entry: dict[str, Any], found: dict[str, Found]) -> None:
    ours = found[entry["file"]]
    wanted = entry["verdict"] in ("ok", "ok with messages")
    if entry["file"].removeprefix("real/") in EXCEPTIONS:
        assert ours["ok"] is not wanted
        return
    assert ours["ok"] is wanted, "\n".join([entry["output"], "---", *ours["messages"]])


def test_all_of_them_are_there() -> None:
    if not FOLDER.exists():
        pytest.skip(f"{FOLDER} is not on this machine: no real configuration was read")
    assert len(REAL) == 57
    assert {f"real/{name}" for name in EXCEPTIONS} <= {entry["file"] for entry in REAL}


def test_every_exception_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "configuration-differences.md").read_text()
    assert [name for name in EXCEPTIONS if f"`{name}`" not in text] == []
