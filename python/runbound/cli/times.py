"""Times as people write and read them on a command line."""

import time
from typing import Final

from runbound.errors import RunboundError

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Units of a time, in seconds."""


def date(at: int | None) -> str:
    """A moment in this machine's time zone; nothing for None. Unix time, seconds."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))


def seconds(text: str, flag: str = "--for") -> int:
    """A time with its unit, given with a flag. Raises RunboundError."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in UNITS):
        raise RunboundError(f"{text} is not a time", flag, f"a number with s, m, h, d or w: {flag} 2h")
    return int(number) * UNITS[unit]
