"""docs/hsm.md tells the truth: its blocks are typed on a machine of their own, and each does what the page says.

The paths, ports, accounts and commands are those that are printed; `tests/support/machine.py` is the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml  # type: ignore[import-untyped]  # comes with schemathesis, its types do not

from support.document import MODULE, Chapter, chapters, missing, script
from support.machine import Machine
from support.servers import ROOT, RUNBOUND

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a machine of one's own needs root")

PAGE = ROOT / "docs" / "hsm.md"
CHAPTERS = chapters(PAGE)
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
ACCEPT = {"TPM 2"}
"""Chapters that need what `./dev accept` installs."""
RUNS = [
    title
    for title, chapter in CHAPTERS.items()
    if chapter.runs and (title not in ACCEPT or os.environ.get("RUNBOUND_TOKENS") == "all")
]

TPM = """
mkdir -p /run/dbus /run/swtpm
swtpm_setup --tpm2 --tpmstate /run/swtpm --createek --allow-signing --decryption
swtpm socket --tpm2 --tpmstate dir=/run/swtpm --flags not-need-init,startup-clear \
    --server type=unixio,path=/run/swtpm/s --ctrl type=unixio,path=/run/swtpm/s.ctrl 2>/dev/null &
dbus-daemon --system --fork
while ! test -S /run/swtpm/s; do sleep 0.05; done
tpm2-abrmd --allow-root --flush-all --tcti=swtpm:path=/run/swtpm/s &
export TPM2TOOLS_TCTI=tabrmd:bus_type=system
while ! tpm2_getcap properties-fixed >/dev/null 2>&1; do sleep 0.1; done
"""
"""A machine with a TPM: a chip in software behind the resource manager that Debian starts."""

CARD = f"""
usermod -aG softhsm runbound
sudo -u runbound softhsm2-util --init-token --free --label runbound --so-pin 12345678 --pin 648219
printf 648219 | install -m 600 /dev/stdin /etc/runbound/hsm-pin
export PIN=648219 MODULE={SOFTHSM}
"""
"""A token in the place of a card, made before the reader's first command."""

BEFORE = {"TPM 2": TPM, "Nitrokey HSM 2": CARD}
STAND_INS = {"Nitrokey HSM 2"}
"""Chapters whose commands run with SoftHSM in the place of the device."""


def typed(machine: Machine, chapter: Chapter) -> str:
    """All that was printed; fails where a command or an expectation does."""
    if chapter.after is not None:
        typed(machine, CHAPTERS[chapter.after])
    text, expected = script(chapter, SOFTHSM if chapter.title in STAND_INS else None)
    done = machine.run(f"{BEFORE.get(chapter.title, '')}\n{text}", 240)
    assert done.returncode == 0, f"{done.stdout}\n--- journal\n{machine.journal()}"
    lost = missing(chapter, expected, done.stdout)
    assert not lost, f"{lost}\n{done.stdout}\n--- journal\n{machine.journal()}"
    return done.stdout


@pytest.mark.parametrize("title", RUNS)
def test_what_the_page_says_works(title: str, tmp_path: Path) -> None:
    with Machine(tmp_path / "machine") as machine:
        typed(machine, CHAPTERS[title])


def test_the_job_of_the_page_succeeds(tmp_path: Path) -> None:
    (block,) = (block for block in CHAPTERS["In CI"].blocks if block.kind == "yaml")
    (job,) = yaml.safe_load(block.text)["jobs"].values()
    given = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in job["env"].items())
    with Machine(tmp_path / "machine") as machine:
        for step in job["steps"]:
            # As a runner does: each step in a shell of its own; what one leaves running is there for the next.
            done = machine.run(f"cd /tmp\nenv {given} bash -eo pipefail -c {shlex.quote(step['run'])}")
            assert done.returncode == 0, f"{step['name']}: {done.stdout}"
        assert done.stdout.endswith("true\n")


CONFIGURATIONS = [
    (title, block.text) for title, chapter in CHAPTERS.items() for block in chapter.blocks if block.kind == "conf"
]


@pytest.mark.parametrize(("title", "text"), CONFIGURATIONS, ids=[title for title, _ in CONFIGURATIONS])
def test_a_configuration_of_the_page_is_right(title: str, text: str, tmp_path: Path) -> None:
    # The modules of devices are not here.
    (tmp_path / "runbound.conf").write_text(MODULE.sub(rf"\g<1>{SOFTHSM}", text))
    done = subprocess.run(
        [RUNBOUND, "check", tmp_path / "runbound.conf"], capture_output=True, text=True, env={"HSM_PIN": "x"}
    )
    assert done.returncode == 0, f"{title}: {done.stdout}{done.stderr}"
    assert "hsm" not in done.stdout + done.stderr, f"{title}: {done.stdout}{done.stderr}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd to ask")
def test_systemd_understands_the_unit_and_its_drop_in(tmp_path: Path) -> None:
    unit = (
        (ROOT / "packaging" / "runbound.service").read_text().replace("/usr/bin/runbound", shutil.which("true") or "")
    )
    (tmp_path / "runbound.service").write_text(unit)
    drop_in = (ROOT / "packaging" / "runbound-hsm.conf").read_text()
    (tmp_path / "runbound.service.d").mkdir()
    for name, text in (("hsm", drop_in), ("all", re.sub(r"^#(\w+=)", r"\1", drop_in, flags=re.MULTILINE))):
        (tmp_path / "runbound.service.d" / f"{name}.conf").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "runbound.service"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
