"""The least that can be written: an empty file is a validating resolver for this machine alone, as Unbound's is.

The Internet is not at hand in a test, so what needs it is shown with the lab's root hints and trust anchor. A network
namespace of its own keeps port 53 free and everything else out. Needs root.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import pytest

from support.box import Box
from support.packets import Ask, Edns, exchange
from support.servers import RUNBOUND, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def box(public_folder: Path) -> Iterator[Box]:
    with Box(public_folder / "box") as made:
        yield made


def ask(box: Box, name: str) -> dns.message.Message:
    with box.inside():
        reply = exchange(Ask(name, edns=Edns(do=True)), ("127.0.0.1", 53), 10.0)
    assert reply is not None
    return dns.message.from_wire(reply)


def listening(box: Box, process: Process) -> set[str]:
    """Local addresses that the process has bound, over UDP and TCP."""
    rows = box.run("ss", "-H", "-lntup").splitlines()
    return {row.split()[4] for row in rows if f"pid={process.pid}," in row}


class Run(Process):
    """runbound on a file inside the box, with nothing but the file's name."""

    def __init__(self, box: Box, folder: Path, text: str) -> None:
        folder.mkdir(mode=0o755)
        conf = folder / "unbound.conf"
        conf.write_text(text)
        env = {"STATE_DIRECTORY": str(folder / "state")}
        super().__init__(box.command([RUNBOUND, conf]), folder, env)
        self.wait_for_log("start of service", 20)


def test_an_empty_file_listens_on_localhost_and_validates(box: Box, public_folder: Path) -> None:
    with Run(box, public_folder / "empty", "") as process:
        assert "validation is on, trust anchors: . 20326 38696 (built in)" in process.log()
        assert listening(box, process) == {"127.0.0.1:53", "[::1]:53", "127.0.0.1:8081"} - (
            set() if "API is up" in process.log() else {"127.0.0.1:8081"}
        )
        assert ask(box, "localhost.").answer[0][0].to_text() == "127.0.0.1"
    conf = public_folder / "empty" / "unbound.conf"
    report = subprocess.run([RUNBOUND, "check", "--report", conf], capture_output=True, text=True).stdout
    assert "Names are looked up from the root down." in report
    assert "Answers are validated, from the built-in trust anchors of the root." in report


def test_two_lines_more_and_it_walks_another_root(box: Box, public_folder: Path) -> None:
    lines = f'server:\n root-hints: "{box.files}/root.hints"\n trust-anchor-file: "{box.files}/root.key"\n'
    with Run(box, public_folder / "lab", lines):
        secure = ask(box, "www.signed.lab.")
        assert secure.answer[0][0].to_text() == "192.0.2.2"
        assert secure.flags & dns.flags.AD
        assert not ask(box, "www.plain.lab.").flags & dns.flags.AD
        assert ask(box, "www.badsig.broken.").rcode() == dns.rcode.SERVFAIL


def test_another_root_without_its_anchor_is_not_believed(box: Box, public_folder: Path) -> None:
    """The built-in anchors are the public root's: a resolver led to a false one by its hints alone answers nothing."""
    anchors = 'trust-anchor: ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"'
    lines = f'server:\n root-hints: "{box.files}/root.hints"\n {anchors}\n'
    with Run(box, public_folder / "false", lines):
        assert ask(box, "www.signed.lab.").rcode() == dns.rcode.SERVFAIL
        assert ask(box, "www.plain.lab.").rcode() == dns.rcode.SERVFAIL
