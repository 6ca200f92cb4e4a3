"""Fixtures of the API's tests."""

from collections.abc import Iterator

import pytest

from support.api import Api, open_api


@pytest.fixture
def api() -> Iterator[Api]:
    with open_api() as opened:
        yield opened
