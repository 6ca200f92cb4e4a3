"""The generated pages of docs/ are those that the code makes, and the documents say nothing that is not so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


PAGES = ("docs/reference/options.md", "docs/differences.md", "docs/api/reference.md", "docs/reference/lab.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_up_to_date(page: str) -> None:
    # In a process of its own: it imports every room, which other tests rely on not having happened.
    script = (
        "import importlib.util, sys; "
        f"spec = importlib.util.spec_from_file_location('generate', {str(ROOT / 'docs' / 'generate.py')!r}); "
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module); "
        f"sys.stdout.write(module.PAGES[{page!r}]())"
    )
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    assert (ROOT / page).read_text(encoding="utf-8") == made.stdout, "run ./dev docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


GUIDES = sorted([*(ROOT / "docs" / "how-to").glob("*.md"), *(ROOT / "docs" / "tutorial").glob("*.md")])


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.stem)
def test_configurations_in_the_guides_can_be_started(document: Path, tmp_path: Path) -> None:
    shown = re.findall(r"^((?: {4}.*\n)+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    for block in filter(lambda text: re.match(r" +[a-z-]+:\n", text), shown):
        file = tmp_path / "guide.conf"
        file.write_text(block, encoding="utf-8")
        command = [sys.executable, "-m", "runbound", "check", "--report", str(file)]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, f"{block}\n{checked.stdout}{checked.stderr}"
        assert "(0 of them stop the start)" in checked.stdout, f"{block}\n{checked.stdout}"
        assert "not yet" not in checked.stdout.rpartition("\n\n")[0], f"{block}\n{checked.stdout}"


def test_the_page_of_steps_lists_every_step() -> None:
    words = (ROOT / "crates" / "engine" / "src" / "explain" / "words.rs").read_text(encoding="utf-8")
    rooms = "access|policy|cache|resolve|validate|end"
    made = set(re.findall(rf'"({rooms})",\s+"([a-z-]+)"', words))
    made |= {("resolve", what) for what in re.findall(rf'"(?:{rooms})" \}},\s+"([a-z-]+)"', words)}
    page = (ROOT / "docs" / "api" / "explain.md").read_text(encoding="utf-8")
    assert len(made) > 20
    assert set(re.findall(rf"^\| ({rooms}) \| ([a-z-]+) \|", page, re.MULTILINE)) == made


def test_dev_says_what_it_can_do() -> None:
    shown = subprocess.run([sys.executable, ROOT / "dev", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for command in ("build", "run", "test", "accept", "lint", "bench", "fuzz", "docs", "wheel"):
        assert re.search(rf"^ +{command}\b", shown.stdout, re.MULTILINE), command
        text = subprocess.run([sys.executable, ROOT / "dev", command, "--help"], capture_output=True, text=True)
        assert text.returncode == 0


def test_the_version_is_one() -> None:
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "([^"]+)"', manifest, re.MULTILINE)
    assert version is not None
    package = (ROOT / "python" / "runbound" / "__init__.py").read_text(encoding="utf-8")
    assert f'"{version[1]}"' in package or "importlib" in package
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8") or "## [Unreleased]" in (
        ROOT / "CHANGELOG.md"
    ).read_text(encoding="utf-8")
