"""The house rules that a machine can check: which room may lean on which, and what may stand where.

Owns the allowed arrows between crates and between Python rooms. ARCHITECTURE.md says why they point that way. A rule
is changed here and there together, never worked around in the code.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "runbound"

CRATES: dict[str, set[str]] = {
    "sys": set(),
    "conf": {"sys"},
    "vault": {"sys"},
    "hsm": {"sys"},
    "wire": set(),
    "store": {"wire"},
    "policy": {"wire"},
    "rows": {"vault", "wire", "policy"},
    "dnssec": {"wire"},
    "resolve": {"wire", "store", "dnssec"},
    "net": {"sys", "wire", "store", "policy", "dnssec", "resolve"},
    "engine": {"sys", "conf", "wire", "store", "policy", "dnssec", "resolve", "net"},
    "native": {"sys", "conf", "vault", "hsm", "rows", "engine"},
}
"""Every crate, left to right, and the crates it may depend on."""

PURE = ("wire", "store", "policy", "rows", "dnssec", "resolve")
"""No clock, no socket, no runtime, no randomness of their own: these are handed in."""
IMPURE_CRATES = {"tokio", "socket2", "libc", "mio", "getrandom", "rand"}
IMPURE_PATHS = re.compile(
    r"std::time::(?!Duration\b)|\bInstant::now|\bSystemTime\b|std::net::(?:Tcp|Udp|ToSocket|\*)|\b(?:UdpSocket|TcpStream|TcpListener)\b"
    r"|std::(?:thread|fs|env|process)::|std::io::(?!ErrorKind\b)|\btokio::"
)
UNSAFE_CRATES = {"sys", "hsm"}

ROOMS = {
    "errors": 0,
    "config": 1,
    "state": 2,
    "keys": 3,
    "zones": 3,
    "feeds": 3,
    "cluster": 3,
    "engine": 4,
    "ops": 5,
    "api": 6,
    "cli": 7,
    "__main__": 8,
}
"""Python rooms by how far right they stand. A room imports rooms further left and itself; rooms on one step, nothing of
each other. `lab` is apart: it imports nothing of runbound, and only the command line may start it."""


@functools.cache
def packages() -> dict[str, dict[str, Any]]:
    """Crate name without its prefix -> what cargo says about it."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {package["name"].removeprefix("runbound-"): package for package in json.loads(result.stdout)["packages"]}


def rust_code(crate: str) -> Iterator[tuple[Path, int, str]]:
    """File, line number and text of every line of a crate, tests and benches left out, comments and strings blanked."""
    blank = re.compile(r'//[^\n]*|/\*.*?\*/|b?r(#+)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.|[^\'\\])\'', re.DOTALL)
    for file in sorted((ROOT / "crates" / crate).rglob("*.rs")):
        if {"tests", "benches"} & set(file.parts):
            continue
        text = blank.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), file.read_text(encoding="utf-8"))
        for number, line in enumerate(text.splitlines(), 1):
            yield file.relative_to(ROOT), number, line


def python_imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are written in full"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room_of(file: Path) -> str:
    """The room a file of the package belongs to; empty for the package's own `__init__`."""
    parts = file.relative_to(PACKAGE).parts
    name = parts[0] if len(parts) > 1 else file.stem
    return "" if name == "__init__" else name


PYTHON_FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_crate_is_known() -> None:
    assert set(packages()) == set(CRATES)


@pytest.mark.parametrize("crate", CRATES)
def test_crates_lean_left(crate: str) -> None:
    ours = {dependency["name"].removeprefix("runbound-") for dependency in packages()[crate]["dependencies"]} & set(
        CRATES
    )
    assert ours <= CRATES[crate], f"{crate} may not depend on {sorted(ours - CRATES[crate])}"
    order = list(CRATES)
    assert all(order.index(other) < order.index(crate) for other in CRATES[crate])


@pytest.mark.parametrize("crate", [crate for crate in CRATES if crate != "native"])
def test_only_native_knows_python(crate: str) -> None:
    foreign = {dependency["name"] for dependency in packages()[crate]["dependencies"]}
    assert not {name for name in foreign if name.startswith("pyo3")}


@pytest.mark.parametrize("crate", PURE)
def test_pure_crates_touch_no_clock_and_no_socket(crate: str) -> None:
    normal = {dependency["name"] for dependency in packages()[crate]["dependencies"] if dependency["kind"] is None}
    assert not normal & IMPURE_CRATES
    found = [f"{file}:{number}: {line.strip()}" for file, number, line in rust_code(crate) if IMPURE_PATHS.search(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("crate", [crate for crate in CRATES if crate not in UNSAFE_CRATES])
def test_unsafe_stays_in_its_room(crate: str) -> None:
    found = [f"{file}:{number}" for file, number, line in rust_code(crate) if re.search(r"\bunsafe\b(?!_)", line)]
    assert not found, "\n".join(found)


def test_rust_never_attaches_to_the_interpreter() -> None:
    attach = re.compile(
        r"\b(?:attach|try_attach|with_gil|assume_attached|attach_unchecked|with_embedded_interpreter)\s*\("
    )
    found = [f"{file}:{number}: {line.strip()}" for file, number, line in rust_code("native") if attach.search(line)]
    assert not found, "\n".join(found)


def test_only_the_door_imports_native() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in [*PYTHON_FILES, *sorted((ROOT / "tests").rglob("*.py"))]
        for line, name in python_imports(file)
        if name.startswith("runbound._native") and (PACKAGE / "engine") not in file.parents
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", PYTHON_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_python_rooms_lean_left(file: Path) -> None:
    room = room_of(file)
    for line, name in python_imports(file):
        parts = name.split(".")
        if parts[0] != "runbound" or parts[1] in ("_native", "__version__"):
            continue
        other = parts[1]
        where = f"{file.relative_to(ROOT)}:{line}: {room} may not import {other}"
        if room == "lab" or other == "lab":
            assert room == other or (other == "lab" and room == "cli"), where
            continue
        if not room:
            pytest.fail(where)
        assert other == room or ROOMS[other] < ROOMS[room], where


def test_one_write_path() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PYTHON_FILES
        if file != PACKAGE / "ops" / "change.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("apply", "amend")
    ]
    assert not found, "only ops/change.py applies a change:\n" + "\n".join(found)


def test_one_place_for_acts() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PYTHON_FILES
        if file != PACKAGE / "ops" / "actions.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("cache_flush", "cache_load")
    ]
    assert not found, "only ops/actions.py flushes and loads, so that each act is written down:\n" + "\n".join(found)


def test_every_file_says_what_it_owns() -> None:
    silent = [file for file in PYTHON_FILES if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))]
    sources = [file for crate in CRATES for file in sorted((ROOT / "crates" / crate / "src").rglob("*.rs"))]
    silent += [file for file in sources if not file.read_text(encoding="utf-8").lstrip().startswith("//!")]
    assert not silent, "no opening paragraph:\n" + "\n".join(str(file.relative_to(ROOT)) for file in silent)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    for name in re.findall(r"^([\w.\-]+)==", text, re.MULTILINE):
        assert re.search(rf"^{re.escape(name)}==[^\n]*\\\n +--hash=sha256:", text, re.MULTILINE), f"{name} has no hash"


def test_the_rust_lock_is_cargos_without_addresses() -> None:
    kept = (ROOT / "requirements-rust.lock").read_text(encoding="utf-8")
    assert "://" not in kept
    used = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    assert kept == re.sub(r'^source = "[^"]*"\n', "", used, flags=re.MULTILINE), "./dev lock --keep records what is new"
