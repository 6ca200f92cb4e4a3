"""The lab is right: Unbound walks it from the root and validates it, delv validates it, and its resolvers agree.

Each row of `WORLD` is one question and what a validating resolver makes of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import pytest

from support.box import RESOLVER, VALIDATOR, Box
from support.packets import Ask, Edns, exchange
from support.servers import ROOT, RUNBOUND, Process, free_port

if TYPE_CHECKING:
    from pathlib import Path

PORT = 5335
"""Where the configurations of the lab listen."""
DEEP = ".".join(f"d{level}" for level in range(20, 0, -1)) + ".deep.lab."
TRIES = 12
"""Times a question is asked: a validator in front of slow or lossy servers may drop an answer that came late."""

WORLD = f"""
.                              SOA     NOERROR   ad
nothing-here.                  A       NXDOMAIN  ad
net.                           DS      NOERROR   ad
nothing.com.                   A       NXDOMAIN  -
nothing.org.                   A       NXDOMAIN  ad
www.signed.lab.                A       NOERROR   ad
wWw.SiGnEd.LaB.                AAAA    NOERROR   ad
nothing.signed.lab.            A       NXDOMAIN  ad
www.signed.lab.                TXT     NOERROR   ad
between.signed.lab.            TXT     NOERROR   ad
old.signed.lab.                A       NOERROR   ad
signed.lab.                    DNSKEY  NOERROR   ad
signed.lab.                    NSEC    NOERROR   ad
www.nsec3.lab.                 A       NOERROR   ad
nothing.nsec3.lab.             A       NXDOMAIN  ad
x.y.www.nsec3.lab.             A       NXDOMAIN  ad
www.nsec3.lab.                 TXT     NOERROR   ad
between.nsec3.lab.             TXT     NOERROR   ad
foo.any.nsec3.lab.             A       NOERROR   ad
foo.any.nsec3.lab.             AAAA    NOERROR   ad
nsec3.lab.                     NSEC3PARAM NOERROR ad
www.optout.lab.                A       NOERROR   ad
www.safe.optout.lab.           A       NOERROR   ad
www.unsafe.optout.lab.         A       NOERROR   -
unsafe.optout.lab.             DS      NOERROR   -
nothing.optout.lab.            A       NXDOMAIN  -
x.any.optout.lab.              A       NOERROR   -
x.any.optout.lab.              AAAA    NOERROR   -
empty.optout.lab.              A       NOERROR   -
www.optout.lab.                AAAA    NOERROR   ad
www.plain.lab.                 A       NOERROR   -
plain.lab.                     DS      NOERROR   ad
www.island.lab.                A       NOERROR   -
www.ed25519.lab.               A       NOERROR   ad
www.rsa.lab.                   A       NOERROR   ad
www.p384.lab.                  A       NOERROR   ad
host-1234.large.lab.           A       NOERROR   ad
host-10000.large.lab.          A       NXDOMAIN  ad
x.host-1.large.lab.            A       NXDOMAIN  ad
www.{DEEP}                     A       NOERROR   ad
no.{DEEP}                      A       NXDOMAIN  ad
short.alias.lab.               A       NOERROR   ad
long.alias.lab.                A       NOERROR   ad
away.alias.lab.                A       NOERROR   -
nowhere.alias.lab.             A       NXDOMAIN  ad
www.moved.alias.lab.           A       NOERROR   ad
nothing.moved.alias.lab.       A       NXDOMAIN  ad
www.twice.alias.lab.           A       NOERROR   ad
moved.alias.lab.               DNAME   NOERROR   ad
anything.wild.lab.             A       NOERROR   ad
anything.wild.lab.             AAAA    NOERROR   ad
here.wild.lab.                 A       NOERROR   ad
x.here.wild.lab.               A       NXDOMAIN  ad
a.b.c.wild.lab.                A       NOERROR   ad
alias.sub.wild.lab.            TXT     NOERROR   ad
anything.wild3.lab.            A       NOERROR   ad
anything.wild3.lab.            AAAA    NOERROR   ad
anything.wildplain.lab.        A       NOERROR   -
www.slow.lab.                  A       NOERROR   ad
www.lossy.lab.                 A       NOERROR   ad
www.half.lab.                  A       NOERROR   ad
www.refused.lab.               A       SERVFAIL  -
www.servfail.lab.              A       SERVFAIL  -
www.upward.lab.                A       SERVFAIL  -
www.truncated.lab.             A       NOERROR   ad
www.notcp.lab.                 A       NOERROR   -
www.old.lab.                   A       NOERROR   -
www.noedns.lab.                A       NOERROR   -
www.far.lab.                   A       NOERROR   ad
www.noglue.lab.                A       SERVFAIL  -
www.circle-a.lab.              A       SERVFAIL  -
www.dual.lab.                  A       NOERROR   ad
ns1.dual.lab.                  AAAA    NOERROR   ad
www.six.lab.                   A       NOERROR   ad
www.expired.broken.            A       SERVFAIL  -
www.early.broken.              A       SERVFAIL  -
www.wrongds.broken.            A       SERVFAIL  -
www.nosig.broken.              A       SERVFAIL  -
www.badsig.broken.             A       SERVFAIL  -
www.noproof.broken.            A       NOERROR   ad
nothing.noproof.broken.        A       SERVFAIL  -
example.com.                   DS      NOERROR   -
www.example.com.               A       NOERROR   -
big.example.com.               TXT     NOERROR   -
www.example.org.               A       NOERROR   -
80.113.0.203.in-addr.arpa.     PTR     NOERROR   -
"""
ROWS = [line.split() for line in WORLD.strip().splitlines()]
ALONE = [["loop.alias.lab.", "A", "SERVFAIL", "-"], ["x.round.alias.lab.", "A", "SERVFAIL", "-"]]
"""A loop: Unbound fails, the lab's resolvers give the chain as far as it goes, as others do."""
ALONE += [["big.notcp.lab.", "TXT", "SERVFAIL", "-"]]
"""What can only be seen by asking the servers themselves."""


def ask(box: Box, server: tuple[str, int], name: str, rtype: str, *, cd: bool = False) -> dns.message.Message:
    """An answer, asked for as often as it takes."""
    question = Ask(name, rtype, cd=cd, edns=Edns(do=True))
    with box.inside():
        for _ in range(TRIES):
            reply = exchange(question, server, 3.0)
            if reply is not None:
                message = dns.message.from_wire(reply)
                if message.flags & dns.flags.TC:
                    reply = exchange(question.with_(tcp=True), server, 3.0)
                    assert reply is not None
                    message = dns.message.from_wire(reply)
                return message
    raise AssertionError(f"no answer from {server}")


def verdict(message: dns.message.Message) -> list[str]:
    return [dns.rcode.to_text(message.rcode()), "ad" if message.flags & dns.flags.AD else "-"]


@pytest.mark.parametrize("row", ROWS + ALONE, ids=" ".join)
def test_unbound_walks_and_validates(row: list[str], box: Box, unbound_in_box: Process) -> None:
    name, rtype, *wanted = row
    got = ask(box, ("127.0.0.1", PORT), name, rtype)
    assert verdict(got) == wanted, f"{got}\n{unbound_in_box.log()[-2000:]}"


def test_the_labs_resolvers_agree(box: Box) -> None:
    for name, rtype, *wanted in ROWS:
        got = ask(box, (VALIDATOR, 53), name, rtype)
        assert verdict(got) == wanted, f"{name} {rtype}: {got}"
        plain = ask(box, (RESOLVER, 53), name, rtype)
        assert not plain.flags & dns.flags.AD
        unchecked = ask(box, (VALIDATOR, 53), name, rtype, cd=True)
        assert unchecked.answer == plain.answer


def test_nobody_answers_for_the_dead(box: Box) -> None:
    """Unbound goes on asking for longer than any client waits; the lab's own resolvers say so at once."""
    assert verdict(ask(box, (VALIDATOR, 53), "www.dead.lab.", "A")) == ["SERVFAIL", "-"]
    with box.inside():
        server = re.search(r"[\d.]+", box.run("dig", "+short", f"@{RESOLVER}", "ns1.half.lab", "A"))
        assert server is not None
        assert exchange(Ask("www.half.lab."), (server[0], 53), 0.3) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("www.signed.lab", "; fully validated"),
        ("www.nsec3.lab", "; fully validated"),
        ("www.ed25519.lab", "; fully validated"),
        ("www.rsa.lab", "; fully validated"),
        ("www.p384.lab", "; fully validated"),
        ("nothing.signed.lab", "; negative response, fully validated"),
        ("nothing.nsec3.lab", "; negative response, fully validated"),
        ("www.plain.lab", "; unsigned answer"),
        ("www.unsafe.optout.lab", "; unsigned answer"),
        ("www.expired.broken", "RRSIG has expired"),
        ("www.early.broken", "RRSIG validity period has not begun"),
        ("www.wrongds.broken", "broken trust chain"),
        ("www.nosig.broken", "no valid RRSIG"),
        ("www.badsig.broken", "RRSIG failed to verify"),
    ],
)
def test_delv_validates(name: str, says: str, box: Box) -> None:
    assert says in box.run("delv", f"@{RESOLVER}", "-a", box.files / "bind.keys", "+root", name)


def test_kdig_sees_an_authoritative_server(box: Box) -> None:
    shown = box.run("kdig", "@198.18.0.10", "+dnssec", "+norecurse", "www.signed.lab")
    assert re.search(r"signed\.lab\..*\sDS\s", shown)
    assert re.search(r"ns1\.signed\.lab\..*\sA\s+198\.18\.", shown)
    assert "qr;" in shown.replace("Flags: qr;", "qr;")
    assert "NS-record" not in shown


def test_runbound_walks_too(box: Box) -> None:
    with Process(box.command([RUNBOUND, "-c", box.files / "runbound.conf"]), box.folder) as process:
        process.wait_for_log("start of service")
        for name, rcode in (
            ("www.signed.lab.", "NOERROR"),
            ("x.signed.lab.", "NXDOMAIN"),
            ("www.dead.lab.", "SERVFAIL"),
        ):
            got = ask(box, ("127.0.0.1", PORT), name, "A")
            assert dns.rcode.to_text(got.rcode()) == rcode, process.log()


def lab(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runbound", "lab", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)


class TestCommand:
    """`runbound lab` for people and scripts."""

    def test_it_says_what_there_is_to_try(self, tmp_path: Path) -> None:
        done = lab("--port", "0", "--seconds", "0.1", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        for part in ("www.signed.lab", "NSEC3 opt-out", "root.hints", "delv @127.18.0.53", "lab: ready on 127.0.0.1"):
            assert part in done.stdout
        assert {path.name for path in (tmp_path / ".runbound/lab").iterdir()} >= {"root.hints", "root.key"}

    def test_the_list(self, tmp_path: Path) -> None:
        done = lab("--list", folder=tmp_path)
        assert "dig @127.18.0.54 -p 5300 www.signed.lab. A" in done.stdout
        assert not list(tmp_path.iterdir())

    def test_quiet(self, tmp_path: Path) -> None:
        done = lab("--quiet", "--port", "0", "--seconds", "0.1", folder=tmp_path)
        assert re.fullmatch(r"lab: ready on 127\.0\.0\.1 port \d+\n", done.stdout)

    @pytest.mark.parametrize("kind", ["unbound", "runbound"])
    def test_a_configuration_is_one_that_its_program_reads(self, kind: str, tmp_path: Path) -> None:
        for more in ((), ("--namespace", "never-made")):
            done = lab("--config", kind, *more, folder=tmp_path)
            conf = tmp_path / "x.conf"
            conf.write_text(done.stdout)
            program = ["unbound-checkconf"] if kind == "unbound" else [str(RUNBOUND), "check"]
            path = f"{os.environ.get('PATH', '')}:/usr/sbin"
            checked = subprocess.run(
                [*program, str(conf)], capture_output=True, text=True, env={**os.environ, "PATH": path}
            )
            assert checked.returncode == 0, checked.stderr + done.stdout

    def test_a_command_inside_and_its_exit_code(self, tmp_path: Path) -> None:
        script = "dig +short www.signed.lab; cat /etc/resolv.conf; exit 7"
        done = lab("--namespace", f"lab-command-{os.getpid()}", "-q", "--", "sh", "-c", script, folder=tmp_path)
        assert done.returncode == 7, done.stderr
        assert "192.0.2.2\nnameserver 198.18.0.54\n" in done.stdout
        listed = subprocess.run(["ip", "-j", "netns", "list"], capture_output=True, text=True).stdout
        assert all(not row["name"].startswith("lab-command") for row in json.loads(listed or "[]"))

    def test_a_signal_ends_it_cleanly(self, tmp_path: Path) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            command = [sys.executable, "-m", "runbound.lab", "--port", str(free_port())]
            folder = tmp_path / str(number)
            folder.mkdir()
            with Process(command, folder, {"PYTHONPATH": str(ROOT / "python")}) as process:
                process.wait_for_log("ready")
                process.signal(number)
                assert process.process.wait(10) == 0
                assert "Traceback" not in process.log()

    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text('[zones."a."]\nsigned = true\n')
        done = lab("--add", "mine.toml", folder=tmp_path)
        assert done.returncode == 1
        assert 'mine.toml, line 1: zone "a.": unknown key "signed"; did you mean "sign"?' in done.stderr
        done = lab("true", folder=tmp_path)
        assert "--namespace NAME" in done.stderr
