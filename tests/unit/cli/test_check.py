"""`runbound check`: unbound-checkconf's exit codes and options, every error in one run, and data for programs."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbound import cli

GOOD = """\
server:
    interface: 127.0.0.1
    interface: ::1@5353
    port: 5300
    pidfile: "run/x.pid"
    local-data: "a.test. A 192.0.2.1"
"""
BAD = """\
server:
    port: many
    prot: 53
    local-data: "a.test. A 192.0.2.999"
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    (tmp_path / "run").mkdir()
    path = tmp_path / "good.conf"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.conf"
    path.write_text(BAD)
    return str(path)


def test_a_good_file(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", good]) == 0
    assert f"no errors in {good}" in capsys.readouterr().out
    assert cli.main(["check", "-q", good]) == 0
    assert capsys.readouterr().out == ""


def test_every_error_in_one_run(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", bad]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    for line in (2, 3, 4):
        assert f"{bad}:{line}:" in said.err
    assert f"3 errors in {bad}" in said.err


def test_as_data(good: str, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--json", bad]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [d["line"] for d in document["diagnostics"] if d["severity"] == "error"] == [2, 3, 4]
    assert cli.main(["check", "--json", "--report", good]) == 0
    rows = json.loads(capsys.readouterr().out)["report"]
    assert {row["directive"]: row["state"] for row in rows}["port"] == "honoured"


def test_report(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", good, "--report"]) == 0
    out = capsys.readouterr().out
    assert "interface" in out
    assert "honoured" in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ("from the root down.", "validated, from the built-in trust anchors")),
        ('server:\n module-config: "iterator"\n', ("from the root down.", "not validated: module-config")),
        ("forward-zone:\n name: .\n forward-addr: 192.0.2.1\n", ("asked of forwarders.", "not validated: there is no")),
        (
            "forward-zone:\n name: a\n forward-addr: 192.0.2.1\n",
            ("but for forward zones.", "not validated: there is no"),
        ),
        ('server:\n trust-anchor: ". DS 1 8 2 00"\n', ("from the root down.", "trust anchors of the file")),
    ],
)
def test_the_report_says_how_names_are_resolved(
    text: str, says: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "c.conf"
    conf.write_text(text)
    assert cli.main(["check", str(conf), "--report"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in says), out


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        (["-o", "port"], "5300"),
        (["-o", "interface"], "::1@5353\n127.0.0.1"),
        (["-o", "do-ip4"], "yes"),
        (["-o", "pidfile"], "run/x.pid"),
        (["-f", "-o", "port"], "5300"),
    ],
)
def test_one_option(good: str, flags: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *flags, good]) == 0
    assert capsys.readouterr().out == f"{printed}\n"


def test_whole_paths(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "-f", "-o", "pidfile", good]) == 0
    assert capsys.readouterr().out == f"{Path(good).parent}/run/x.pid\n"


@pytest.mark.parametrize("arguments", [["-o", "nope", "{}"], ["/nonexistent.conf"], ["--bogus", "{}"], ["{}", "{}"]])
def test_what_cannot_be_done(good: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *(word.format(good) for word in arguments)]) == 1
    assert capsys.readouterr().err.startswith("runbound: ")


@pytest.mark.parametrize(
    ("clause", "option"), [("server", "api-key"), ("server", "cookie-secret"), ("cachedb", "redis-server-password")]
)
def test_a_secret_is_never_printed(
    clause: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret.conf"
    # In one line with a mistake, whose message would show the line.
    path.write_text(f"{clause}: {option}: {'5ec4e7' * 5} prot: 1\n")
    for arguments in (["-o", option], [], ["--json"], ["--report"]):
        cli.main(["check", *arguments, str(path)])
        said = capsys.readouterr()
        assert "5ec4e7" not in said.out + said.err
    path.write_text(f"{clause}: {option}: {'5ec4e7ab' * 4}\n")
    assert cli.main(["check", "-o", option, str(path)]) == 1
    assert f"{option} is a secret" in capsys.readouterr().err


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "check"]) == 0
    assert "--report" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["check", "{}", "-o", "interface"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_traceback(good: str, arguments: list[str]) -> None:
    gone, ours = os.pipe()
    os.close(gone)
    words = [word.format(good) for word in arguments]
    with os.fdopen(ours, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "runbound", *words], stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b""


def test_the_wrong_value_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "local.conf"
    path.write_text(
        'server:\n local-zone: "a." statc\n local-data: "a. IN A 1.2.3"\n local-data-ptr: "1.2.3 a."\n'
        ' local-zone: "a..b" static\n local-data: "b. IN\tXYZ foo"\n'
    )
    assert cli.main(["check", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    marked = []
    for above, below in itertools.pairwise(lines):
        if "^" in below:
            marked.append(above[below.index("^") : below.rindex("^") + 1])
    assert marked == ["statc", "1.2.3", "1.2.3 a.", "a..b", "XYZ"]


def test_octets_that_are_no_text_are_data_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "latin.conf"
    path.write_bytes(b'server:\n identity: "\xff"\n')
    assert cli.main(["check", "--json", str(path)]) == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"][0]["source"] == ' identity: "\ufffd"'
