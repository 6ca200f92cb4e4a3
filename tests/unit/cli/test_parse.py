"""The command line of a start: Unbound's flags in getopt's manner, and clear words about the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

from runbound import cli
from runbound.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK


@pytest.mark.parametrize(
    ("line", "config", "verbosity", "pidfile"),
    [
        ("x.conf", "x.conf", 0, True),
        ("-c x.conf", "x.conf", 0, True),
        ("-cx.conf -d", "x.conf", 0, True),
        ("-dd -c x.conf", "x.conf", 0, True),
        ("-d -p -v -v -c x.conf", "x.conf", 2, False),
        ("-dpvvc x.conf", "x.conf", 2, False),
        ("run x.conf -p", "x.conf", 0, False),
        ("-- -odd.conf", "-odd.conf", 0, True),
        ("", None, 0, True),
    ],
)
def test_a_start(line: str, config: str | None, verbosity: int, pidfile: bool) -> None:
    found = cli.parse(line.split())
    assert (found.config, found.verbosity, found.pidfile) == (config, verbosity, pidfile)
    assert found.show is None


def test_quickstart_and_its_ports() -> None:
    found = cli.parse(["run", "--quickstart", "--port", "5399", "--api-port=8099"])
    assert (found.quickstart, found.port, found.api_port) == (True, 5399, 8099)
    assert cli.parse(["--allow-missing", "x"]).allow_missing


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-x", "there is no flag -x"),
        ("--nope", "there is no flag --nope"),
        ("-c", "-c needs the name"),
        ("a b", '"b" is one file too many'),
        ("--quickstart", "runbound run --quickstart"),
        ("run --quickstart x.conf", "--quickstart makes its own configuration"),
        ("run --port 53", "belong to --quickstart"),
        ("run --quickstart --port 0", "0 is not a port"),
        ("run --quickstart --port", "--port needs a value"),
        ("--help=yes", "--help takes no value"),
    ],
)
def test_what_is_wrong_is_said(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == EXIT_FAILURE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("line", ["-h", "--help", "help", "run --help", "-V", "--version"])
def test_texts(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == EXIT_OK
    out = capsys.readouterr().out
    assert "runbound" in out or "Version" in out
    assert all(len(text) <= 100 for text in out.splitlines() if not text.startswith("Linked"))


def test_default_configuration(tmp_path: Path) -> None:
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    with pytest.raises(cli.UsageError):
        cli.default_config((first, second))
    Path(second).touch()
    assert cli.default_config((first, second)) == second
    Path(first).touch()
    assert cli.default_config((first, second)) == first


def test_a_missing_configuration_is_an_error_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["/nonexistent/x.conf"]) != EXIT_OK
    assert "/nonexistent/x.conf" in capsys.readouterr().err


def test_the_way_to_the_first_answer_imports_nothing_heavy() -> None:
    heavy = ("cyclopts", "rich", "fastapi", "pydantic", "asyncio", "structlog", "uvicorn", "dataclasses", "logging")
    code = (
        "import sys, runbound.cli, runbound.ops.service, runbound.ops.source, runbound.engine.compile\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_the_lab_refuses_what_is_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", "--port", port]) == 1
    assert capsys.readouterr().err.startswith("runbound: lab: ")


def test_findings_come_first_and_the_verdict_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text("server:\n prot: 1\n")
    assert cli.main([str(path)]) == EXIT_CONFIG
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f'{path}:2:2: unknown keyword "prot":'
    assert said[-1] == f"runbound: {path}: the configuration has errors"
