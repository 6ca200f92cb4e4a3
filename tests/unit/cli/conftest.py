"""A resolver that the command line finds as users find it: the real API over a fake engine."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api import KEY, Api, listening, open_api


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A command that serves blocks the signals of its process, which here is the one of all tests."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def api() -> Iterator[Api]:
    with open_api() as opened:
        yield opened


@pytest.fixture
def port(api: Api) -> Iterator[int]:
    """Where the API listens."""
    with listening(api) as (port, _):
        yield port


@pytest.fixture
def conf(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The configuration of a resolver that runs, with its key in the state directory."""
    monkeypatch.delenv("RUNBOUND_API_KEY", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "api.key").write_text(f"{KEY}\n")
    path = tmp_path / "x.conf"
    path.write_text(f"server:\n    api-port: {port}\n")
    return str(path)
