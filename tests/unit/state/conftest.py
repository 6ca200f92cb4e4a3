"""A store to try things on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stores import Opener


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Opens the store of this test, again and again."""
    found = Opener(tmp_path)
    yield found
    found.close()
