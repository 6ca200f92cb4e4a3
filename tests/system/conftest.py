"""What every whole-process test may ask for. The servers themselves are in `support/servers.py`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.box import Box
from support.servers import UNBOUND, Process

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


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """The lab in a network namespace of its own."""
    with Box(tmp_path_factory.mktemp("box")) as made:
        yield made


@pytest.fixture(scope="module")
def unbound_in_box(box: Box) -> Iterator[Process]:
    """Unbound in there, walking from the lab's root and validating."""
    assert UNBOUND is not None
    with Process(box.command([UNBOUND, "-d", "-c", box.files / "unbound.conf"]), box.folder) as process:
        process.wait_for_log("start of service")
        yield process
