"""How often somebody may call: a bucket of tokens for each caller.

It must never decide who a caller is, and never remember more of them than its bound.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

RATE_PER_SECOND: Final = 300.0
"""Calls per second in the long run, for each address without a valid key and for each holder of one: guessing stays
hopeless, and a script that has gone wild leaves the processor to DNS."""
RATE_BURST: Final = 600.0
"""Calls at once before that limit shows."""
MAX_TRACKED_ADDRESSES: Final = 4096
"""Callers remembered by the limit; the longest silent one is forgotten first. About 1 MB."""
IPV6_PREFIX: Final = 64
"""An IPv6 client owns a whole /64, so the limit counts those."""


class RateLimit:
    """A token bucket for each caller. Used by the API's event loop alone, so it needs no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, caller: str) -> float:
        """Takes one token of an address or a user. 0 if there was one, else the seconds until there is."""
        now = self._clock()
        key = network(caller)
        tokens, then = self._buckets.pop(key, (RATE_BURST, now))
        tokens = min(RATE_BURST, tokens + (now - then) * RATE_PER_SECOND)
        admitted = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if admitted else tokens, now)
        if len(self._buckets) > MAX_TRACKED_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1.0 - tokens) / RATE_PER_SECOND


def network(address: str) -> str:
    """What the limits count: an IPv4 address, or the /64 of an IPv6 one. Any other text is itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
    return address
