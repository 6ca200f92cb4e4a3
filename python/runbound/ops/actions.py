"""What an operator does to the running resolver without changing its configuration: flush and load the cache, excuse
names from validation for a while.

The counterpart of `ops.change` for acts that leave no new revision. Everybody who asks for one (the API today) comes
through here, so that each is written down in one place with who did it and what came of it, and so that the cooldown
between two flushes of everything holds whoever asks. It must never touch the configuration, and never wait for the
network.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from runbound.config import options
from runbound.config.model import Config
from runbound.errors import RunboundError
from runbound.ops.logging import ControlLog

options.honour("server", "cache-flush-cooldown")

What = Literal["all", "name", "type", "zone", "negative", "bogus", "infra"]
"""What a flush removes: everything, the sets and messages of a name, those of a name and type, a name and all below it,
negative answers, data that failed validation, what is known about other servers."""

NAMED: Final[tuple[What, ...]] = ("name", "type", "zone")
"""Flushes that need a name."""


class Cooldown(RunboundError):  # noqa: N818  # what it is, not that it is an error
    """Everything was flushed a moment ago. `seconds` is how long to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "the whole cache was flushed a moment ago", fix="wait, or flush only the names or zones that have changed"
        )
        self.seconds = seconds


class Loaded(msgspec.Struct, frozen=True):
    """What came out of a dump that was read back."""

    rrsets: int = 0
    messages: int = 0
    refused: int = 0
    """Lines that could not be used, or whose message was there already."""

    def __add__(self, other: "Loaded") -> "Loaded":
        return Loaded(self.rrsets + other.rrsets, self.messages + other.messages, self.refused + other.refused)


class Cache(Protocol):
    """The part of the engine that the acts need."""

    def cache_flush(self, what: str, name: str | None, rtype: str | None) -> int: ...
    def cache_load(self, text: bytes) -> tuple[int, int, int]: ...
    def excuse(self, name: str, seconds: int, recheck_s: int, reason: str) -> bool: ...
    def query_log_erase(self, client: str | None) -> dict[str, int]: ...
    def excuse_no_more(self, name: str) -> bool: ...


class Actions:
    """The acts on one running resolver. Safe from every thread."""

    def __init__(
        self,
        cache: Cache,
        config: Callable[[], Config],
        log: ControlLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`config` gives the configuration in force; `clock` is monotonic, in seconds."""
        self._cache = cache
        self._config = config
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._everything_flushed: float | None = None

    def flush(self, actor: str, what: What, name: str | None = None, rtype: str | None = None) -> int:
        """Removes entries from the cache; how many they were.

        `name` is absolute and in presentation form, `rtype` a mnemonic or TYPE123. Raises Cooldown when everything was
        flushed less than `cache-flush-cooldown` seconds ago, EngineError for a name or type the engine cannot read.
        """
        if what == "all":
            self._everything()
        removed = self._cache.cache_flush(what, name, rtype)
        fields = {"name": name, "rtype": rtype}
        self._log.info(
            "cache flushed",
            actor=actor,
            what=what,
            **{field: value for field, value in fields.items() if value is not None},
            removed=removed,
        )
        return removed

    def load(self, text: bytes) -> Loaded:
        """Puts one piece of a dump into the cache: whole sections, as `dump` cuts them. `loaded` writes it down."""
        return Loaded(*self._cache.cache_load(text))

    def loaded(self, actor: str, sum_: Loaded, *, whole: bool) -> None:
        """Writes down what was loaded in all; `whole` is whether the text was read to its end."""
        self._log.info(
            "cache loaded" if whole else "cache loaded in part: what was sent broke off or is no dump",
            actor=actor,
            rrsets=sum_.rrsets,
            messages=sum_.messages,
            refused=sum_.refused,
        )

    def excuse(self, actor: str, name: str, seconds: int, reason: str, *, recheck_s: int) -> bool:
        """Makes a negative trust anchor (RFC 7646) for so many seconds, a week at most; False if there are too many.

        `name` is absolute and in presentation form. It ends early when the
        name validates again, which is looked at each `recheck_s` seconds; 0 is never.
        Raises EngineError for a name the engine cannot read.
        """
        made = self._cache.excuse(name, seconds, recheck_s, reason)
        if made:
            self._log.notice(
                "negative trust anchor made",
                actor=actor,
                name=name,
                seconds=seconds,
                recheck_s=recheck_s,
                reason=reason,
            )
        return made

    def excuse_no_more(self, actor: str, name: str) -> bool:
        """Ends a negative trust anchor; False if there is none. Raises EngineError for a name that is none."""
        ended = self._cache.excuse_no_more(name)
        if ended:
            self._log.notice("negative trust anchor ended", actor=actor, name=name)
        return ended

    def erase(self, actor: str, client: str | None) -> dict[str, int]:
        """Forgets a client in the query log or, with None, everything; how much that was: `ring`, `lists`, `file`.

        Nobody is told whom. Raises EngineError when the file cannot be rewritten; memory has forgotten then.
        """
        erased = self._cache.query_log_erase(client)
        self._log.notice("query log erased", actor=actor, what="all" if client is None else "one client", **erased)
        return erased

    def _everything(self) -> None:
        """Takes the one flush of everything that the cooldown allows."""
        cooldown = float(self._config().server.cache_flush_cooldown)
        with self._lock:
            now = self._clock()
            if self._everything_flushed is not None:
                left = self._everything_flushed + cooldown - now
                if left > 0:
                    raise Cooldown(left)
            self._everything_flushed = now
