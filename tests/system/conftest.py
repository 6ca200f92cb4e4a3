"""What every whole-process test may ask for. The servers themselves are in `support/servers.py`."""

from __future__ import annotations

import pytest

from support.servers import UNBOUND


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """The reference has to be there: its absence is a failure, never a skip."""
    assert UNBOUND is not None, "apt-get install unbound"
