"""What every whole-process test may ask for. The servers themselves are in `support/servers.py`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import UNBOUND

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """The reference has to be there: its absence is a failure, never a skip."""
    assert UNBOUND is not None, "apt-get install unbound"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other accounts may enter; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="runbound-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
