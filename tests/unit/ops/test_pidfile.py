"""The pidfile: written late, removed at the end, honest about others."""

import os
from pathlib import Path

import pytest

from runbound.errors import RunboundError
from runbound.ops.pidfile import PidFile, living_pid


def test_written_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = PidFile(str(path))
    pidfile.open(None)
    assert path.read_text() == ""
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.remove()
    assert not path.exists()


def test_a_living_process_is_warned_about_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    pidfile = PidFile(str(path))
    pidfile.open(None)
    assert pidfile.warning is not None
    assert "process 1" in pidfile.warning
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_start_that_failed_leaves_the_file_of_the_one_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    pidfile = PidFile(str(path))
    pidfile.open(None)
    pidfile.remove()
    assert path.read_text() == "1\n"


def test_a_dead_process_is_not_worth_a_word(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("999999999\n")
    assert living_pid(str(path)) is None
    pidfile = PidFile(str(path))
    pidfile.open(None)
    assert pidfile.warning is None


def test_a_successors_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = PidFile(str(path))
    pidfile.open(None)
    pidfile.write()
    path.write_text("1\n")
    pidfile.remove()
    assert path.read_text() == "1\n"


def test_a_failed_start_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pidfile = PidFile(str(path))
    pidfile.open(None)
    pidfile.remove()
    assert not path.exists()


def test_never_through_a_symbolic_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("data")
    (tmp_path / "pid").symlink_to(target)
    with pytest.raises(RunboundError, match="pidfile: cannot write"):
        PidFile(str(tmp_path / "pid")).open(None)
    assert target.read_text() == "data"
