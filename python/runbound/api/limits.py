"""How often and how much somebody may ask: a bucket of tokens for each caller, a brake for those who guess keys.

It must never decide who a caller is, and never remember more of them than its bounds.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from runbound.config import options
from runbound.config.model import Config

options.honour("server", "api-rate-limit", "api-rate-burst", "api-max-body")

MAX_TRACKED_ADDRESSES: Final = 4096
"""Callers remembered by each limit; the longest silent one is forgotten first. About 1 MB."""
IPV6_PREFIX: Final = 64
"""An IPv6 client owns a whole /64, so the limits count those."""

FREE_FAILURES: Final = 10
"""Wrong keys in a row that cost an address nothing: a script with yesterday's key is no attack."""
FIRST_WAIT: Final = 1.0
"""Seconds without a comparison after the next wrong key; twice as many after each one more."""
LONGEST_WAIT: Final = 300.0
"""The most seconds: 288 guesses a day, and who shares an address with a guesser is not shut out for long."""
FORGET_SECONDS: Final = 900.0
"""Seconds without a wrong key after which an address begins anew: more than the longest wait, so that none pays."""


T = TypeVar("T")


class Bounds(msgspec.Struct, frozen=True):
    """The limits as they are configured."""

    rate: float = 300.0
    """Calls per second in the long run, for each address without a valid key and for each holder of one: guessing stays
    hopeless, and a script that has gone wild leaves the processor to DNS. 0 is no limit."""
    burst: float = 600.0
    """Calls at once before that limit shows."""
    body: int = 64 * 1024
    """Largest request body, in octets: far above any single change, far below what would hurt. Routes that read their
    body as a stream have limits of their own."""

    @classmethod
    def of(cls, config: Config) -> "Bounds":
        """What the configuration says."""
        server = config.server
        return cls(float(server.api_rate_limit), float(server.api_rate_burst), server.api_max_body)


class RateLimit:
    """A token bucket for each caller. Used by the API's event loop alone, so it needs no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, bounds: Callable[[], Bounds] = Bounds) -> None:
        """`bounds` are asked at each call, so that a reload counts at once."""
        self._clock = clock
        self._bounds = bounds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, caller: str) -> float:
        """Takes one token of an address or a user. 0 if there was one, else the seconds until there is."""
        bounds = self._bounds()
        if not bounds.rate:
            return 0.0
        now = self._clock()
        key = network(caller)
        tokens, then = self._buckets.pop(key, (bounds.burst, now))
        tokens = min(bounds.burst, tokens + (now - then) * bounds.rate)
        admitted = tokens >= 1.0
        _remember(self._buckets, key, (tokens - 1.0 if admitted else tokens, now))
        return 0.0 if admitted else (1.0 - tokens) / bounds.rate


class Brake:
    """Keeps those who send wrong keys from having more of them compared. Used by the API's event loop alone.

    An address that has sent `FREE_FAILURES` wrong keys waits after each further one, longer each time. What comes while
    it waits is not compared, and does not count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        """Network to wrong keys, when the last one came, and when the next may."""

    def wait(self, address: str) -> float:
        """How long this address has to wait until a key of it is looked at, in seconds; 0 is not at all."""
        _, _, until = self._failures.get(network(address), (0, 0.0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, address: str) -> float:
        """Counts a wrong key; how long the address waits now."""
        now, key = self._clock(), network(address)
        count, last, _ = self._failures.pop(key, (0, now, 0.0))
        count = 1 if now - last > FORGET_SECONDS else count + 1
        over = count - FREE_FAILURES
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(over - 1, 30)) if over > 0 else 0.0
        _remember(self._failures, key, (count, now, now + wait))
        return wait


def network(address: str) -> str:
    """What the limits count: an IPv4 address, or the /64 of an IPv6 one. Any other text is itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
    return address


def _remember(table: OrderedDict[str, T], key: str, value: T) -> None:
    table[key] = value
    if len(table) > MAX_TRACKED_ADDRESSES:
        table.popitem(last=False)
