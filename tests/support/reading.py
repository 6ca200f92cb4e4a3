"""The type of the fixture that reads a text as a configuration; see `unit/config/conftest.py`."""

from __future__ import annotations

from collections.abc import Callable

from runbound.config.load import Loaded
from runbound.engine import Scan

Read = Callable[[str], Loaded[Scan]]
