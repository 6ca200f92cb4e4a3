"""The state directory: private, and one process's alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runbound.state.directory import StateDirectory, StateInUseError, StateUnusableError, locate


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_where_it_is() -> None:
    assert locate(None, "/etc/unbound", {}) == "/etc/unbound/state"
    assert locate(None, "/etc/unbound", {"STATE_DIRECTORY": "/var/lib/runbound"}) == "/var/lib/runbound"
    assert locate("here", "/etc/unbound", {"STATE_DIRECTORY": "/var/lib/runbound"}) == "/etc/unbound/here"
    assert locate("/there", "/etc/unbound", {}) == "/there"


def test_created_private_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    state = StateDirectory.open(str(path))
    key, place = state.api_key()
    assert mode(path) == 0o700
    assert mode(Path(place)) == 0o600
    assert mode(path / "lock") == 0o600
    assert len(key) >= 32
    assert state.api_key() == (key, place)
    state.close()
    again = StateDirectory.open(str(path))
    assert again.api_key()[0] == key
    again.close()


def test_a_second_process_is_refused_with_the_firsts_pid(tmp_path: Path) -> None:
    state = StateDirectory.open(str(tmp_path / "state"))
    code = (
        "import sys\n"
        "from runbound.state.directory import StateDirectory, StateInUseError\n"
        "try:\n    StateDirectory.open(sys.argv[1])\n"
        "except StateInUseError as error:\n    print(error.what)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert f"in use by process {os.getpid()}" in done.stdout
    with pytest.raises(StateInUseError):
        StateDirectory.open(str(tmp_path / "state"))
    state.close()
    StateDirectory.open(str(tmp_path / "state")).close()


def test_an_open_folder_of_ours_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    StateDirectory.open(str(path)).close()
    path.chmod(0o755)
    StateDirectory.open(str(path)).close()
    assert mode(path) == 0o700


def test_a_folder_full_of_other_things_is_never_changed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "passwd").write_text("x")
    with pytest.raises(StateUnusableError, match="not empty and others can read it"):
        StateDirectory.open(str(tmp_path))
    assert mode(tmp_path) == 0o755


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusableError, match="cannot use"):
        StateDirectory.open(str(tmp_path / "file" / "state"))


def test_a_key_file_open_to_others_is_closed_and_an_empty_one_refused(tmp_path: Path) -> None:
    state = StateDirectory.open(str(tmp_path / "state"))
    key = tmp_path / "state" / "api.key"
    key.write_text("a" * 40 + "\n")
    key.chmod(0o644)
    assert state.api_key()[0] == "a" * 40
    assert mode(key) == 0o600
    key.write_text("\n")
    with pytest.raises(StateUnusableError, match="is empty"):
        state.api_key()
    state.close()
