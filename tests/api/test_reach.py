"""Every documented error can happen, and is then what the list of codes says it is."""

import pytest

from runbound.api.problems import CODES
from support.api import Api
from support.reach import REACH


def test_every_code_has_a_way_to_it() -> None:
    assert set(CODES) == set(REACH), "say in tests/support/reach.py how it happens"


@pytest.mark.parametrize("code", sorted(REACH))
def test_it_happens(api: Api, code: str) -> None:
    assert REACH[code](api) == (CODES[code][0], code)
