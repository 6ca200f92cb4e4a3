"""What tests of this room share: a text read the whole way, without the engine's own check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runbound.config import load
from runbound.engine import scan_text

if TYPE_CHECKING:
    from pathlib import Path

    from runbound.engine import Scan
    from support.reading import Read


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a text as the file `unbound.conf` of an empty folder."""

    def reader(text: str) -> load.Loaded[Scan]:
        scan = scan_text(text.encode(), "unbound.conf", str(tmp_path))
        return load.examine(scan, str(tmp_path / "unbound.conf"))

    return reader
