"""Failed authentication in the audit log: told at once, summed up after, bounded whatever comes."""

from __future__ import annotations

import pytest

from runbound.ops import failures
from runbound.ops.failures import Failures

FAILURE = "auth.failure"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_first_is_told_at_once_and_the_others_after_a_minute(clock: Clock) -> None:
    found = Failures(clock)
    event = found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"})
    assert event is not None
    assert (event.event, event.fields) == ("auth.failure", {"address": "192.0.2.1", "why": "wrong-key", "count": 1})
    assert [found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"}) for _ in range(9)] == [None] * 9
    assert found.due() == []
    clock.now += failures.WINDOW_SECONDS
    (sum_,) = found.due()
    assert sum_.fields == {"address": "192.0.2.1", "why": "wrong-key", "count": 9, "seconds": 61}
    clock.now += failures.WINDOW_SECONDS
    assert found.due() == []
    assert found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"}) is not None, "a new window"


def test_an_ipv6_network_counts_as_one(clock: Clock) -> None:
    found = Failures(clock)
    assert found.add(FAILURE, {"address": "2001:db8::1", "why": "wrong-key"}) is not None
    assert found.add(FAILURE, {"address": "2001:db8::2", "why": "wrong-key"}) is None
    assert found.add(FAILURE, {"address": "::ffff:192.0.2.1", "why": "wrong-key"}) is not None
    assert found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"}) is None


def test_an_attack_from_everywhere_makes_few_entries_and_loses_no_count(clock: Clock) -> None:
    found = Failures(clock)
    at_once = [
        found.add(FAILURE, {"address": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", "why": "wrong-key"})
        for n in range(100_000)
    ]
    told = [event for event in at_once if event is not None]
    assert len(told) == failures.MAX_ENTRIES
    clock.now += failures.WINDOW_SECONDS
    later = found.due()
    assert len(later) <= failures.MAX_ENTRIES + 1
    counts = [event.fields["count"] for event in (*told, *later)]
    assert sum(count for count in counts if isinstance(count, int)) == 100_000
    assert later[-1].fields["address"] == "others"


def test_the_end_tells_what_is_left(clock: Clock) -> None:
    found = Failures(clock)
    found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"})
    found.add(FAILURE, {"address": "192.0.2.1", "why": "wrong-key"})
    assert [event.fields["count"] for event in found.due(end=True)] == [1]
