"""docs/security-corpus.md is complete: the tests it names exist, and every test with an attack's number is named in it.

Owns that comparison alone; what the tests prove stands in them.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "security-corpus.md").read_text(encoding="utf-8")
NUMBERED = re.compile(r"(?:cve_20\d\d_\d+|pdns_20\d\d_\d+|keytrap|hashtrap|jiggle)")
WITH_THE_ROOM = "## With the room"

PUBLISHED = """
44690 52688 11721 52686 46582 10723 42923 50045 56416 40622 42955 42960 50251 50243 33259 50248 40012 52690 50252
54478 55708 0396 0397 41292 44390 56444 44687
""".split()
"""The numbers the corpus was begun from, all of CVE-2026."""
NAMED = (
    "PDNS 2025-06",
    "PDNS 2025-08",
    "CVE-2025-5994",
    "JIGGLE",
    "DoQ",
    "DoH",
    "QR=0",
    "256 octets",
    "1000 NS",
    "NSEC",
)


def all_tests() -> set[str]:
    """The names of all tests, Rust's and Python's."""
    names: set[str] = set()
    for file in [*(ROOT / "crates").rglob("*.rs"), *(ROOT / "fuzz").rglob("*.rs")]:
        if "target" not in file.parts:
            names.update(re.findall(r"#\[test\]\s+(?:#\[[^\]]*\]\s+)*fn (\w+)", file.read_text(encoding="utf-8")))
    for file in (ROOT / "tests").rglob("test_*.py"):
        names.update(re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    return names


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a table that is no heading."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| number ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_test_named_exists() -> None:
    named = {name for row in rows(TABLE) for name in re.findall(r"`(\w+)`", row[-1]) if "_" in name}
    assert not named - all_tests()


def test_every_row_has_a_test_or_says_that_its_room_is_missing() -> None:
    done, missing = TABLE.split(WITH_THE_ROOM)
    assert not [row for row in rows(done) if len(row) != 4 or not re.findall(r"`\w+`", row[3])]
    assert not [row for row in rows(missing) if len(row) != 3]


def test_every_test_with_a_number_is_named() -> None:
    numbered = {name for name in all_tests() if NUMBERED.search(name)}
    assert not {name for name in numbered if f"`{name}`" not in TABLE}


def test_every_attack_published_is_there() -> None:
    numbers = ", ".join(row[0] for row in rows(TABLE))
    assert not [number for number in PUBLISHED if not re.search(rf"\b{number}\b", numbers)]
    assert not [name for name in NAMED if name not in numbers]
