"""What can be worked out of Unbound's counters: rates between two readings, percentiles of the histogram.

Owns which names only ever grow and how Unbound names its buckets. It must never read a clock or the engine.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

GROWING: Final = ("total.num.", "num.", "unwanted.")
"""Beginnings of the names that only ever grow while the process lives. The others tell a state, or a highest value."""

MICROSECONDS: Final = 1_000_000

_BUCKET: Final = re.compile(r"histogram\.(\d+)\.(\d+)\.to\.(\d+)\.(\d+)")


def per_second(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> dict[str, float]:
    """How fast each counter grew between two readings; one that `before` lacks stood at 0. Three decimals."""
    if seconds <= 0:
        return {}
    return {
        name: round(max(0, value - before.get(name, 0)) / seconds, 3)
        for name, value in after.items()
        if name.startswith(GROWING)
    }


def histogram(stats: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Buckets of the resolving time: lower and upper edge in microseconds, count. Extended statistics alone have it."""
    found = []
    for name, count in stats.items():
        if match := _BUCKET.fullmatch(name):
            low, low_us, high, high_us = map(int, match.groups())
            found.append((low * MICROSECONDS + low_us, high * MICROSECONDS + high_us, count))
    return sorted(found)


def percentile(buckets: Sequence[tuple[int, int, int]], share: float) -> float | None:
    """The time, in microseconds, within which this share (0 to 1) was resolved; None if nothing was.

    Even spread within a bucket is assumed, as Unbound does for its median.
    """
    wanted = share * sum(count for _, _, count in buckets)
    before = 0
    for low, high, count in buckets:
        if count and before + count >= wanted:
            return low + (high - low) * max(0.0, wanted - before) / count
        before += count
    return None
