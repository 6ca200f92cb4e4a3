"""A configuration that could run next, where it comes from, and how it differs from the one that runs.

Owns the words that source, service and write path share. It must never apply anything.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from runbound.config import options
from runbound.config.diagnostics import Diagnostic, has_errors
from runbound.config.layers import NOTHING, Above
from runbound.config.model import Config
from runbound.engine import Scan
from runbound.ops.effective import changed
from runbound.ops.logging import ControlLog

Effect = Literal["live", "restart"]
Files = Sequence[tuple[str, bytes]]
"""The files of a configuration, the main one first: path and text."""

KEPT_OCTETS: Final = 1 << 20
"""Files together up to this size are kept in memory as they were read, for the next change by API; larger ones (lists
of a million local names) are read again from the state when they are needed."""


class Changed(msgspec.Struct, frozen=True):
    """One thing that changed, and whether it works already or waits for a restart."""

    option: str
    effect: Effect


class Candidate(msgspec.Struct, frozen=True):
    """A configuration that could run next: built and checked, nothing applied. Without errors it is fit to apply."""

    config: Config
    diagnostics: tuple[Diagnostic, ...]
    scan: Scan | None = None

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What should be said when it is applied."""
        return tuple(finding for finding in self.diagnostics if finding.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether it may be applied."""
        return not has_errors(self.diagnostics)


class Running(msgspec.Struct, frozen=True):
    """What the workers run: the revision, its configuration, and since when (Unix time in seconds)."""

    revision: int
    config: Config
    since: float
    scan: Scan | None = None
    """The files as they were read, if they are small."""
    view: str = ""
    """The digest of the files; empty if there is no state that keeps them."""


class Source(Protocol):
    """Where the configuration comes from: the operator's file, at start and at every reload."""

    @property
    def path(self) -> str:
        """Absolute path of the main file."""

    def read(self) -> Scan | None:
        """Reads the files. Raises RunboundError if the main one cannot be read."""

    def remember(self, files: Files) -> Scan | None:
        """The same with the files as they once were."""

    def build(self, scan: Scan | None, above: Above = NOTHING) -> Candidate:
        """Checks what was read, with this layer over it."""

    def document(self, config: Config, revision: int) -> bytes:
        """What the engine is handed for a configuration."""


def texts(scan: Scan | None) -> list[tuple[str, bytes]]:
    """The files of a reading, each once."""
    return [] if scan is None else list(dict(scan.texts()).items())


def small(scan: Scan | None) -> Scan | None:
    """The reading itself if it may stay in memory."""
    return scan if sum(len(text) for _, text in texts(scan)) <= KEPT_OCTETS else None


def compare(
    at_start: Config, before: Config, after: Config, reported: Iterable[tuple[str, str]] = ()
) -> tuple[Changed, ...]:
    """What changed, by the model and by the engine's own report (which alone knows the bulk statements).

    An option that is read at start only is compared with what the process started with, so that it is named until
    somebody restarts, and no longer once it is back where it was.
    """
    found: dict[str, Effect] = {}
    for setting in changed(before, after):
        if not needs_restart(setting.clause, setting.option):
            found[setting.title] = "live"
    for setting in changed(at_start, after):
        if needs_restart(setting.clause, setting.option):
            found[setting.title] = "restart"
    for option, effect in reported:
        if effect == "restart" or option not in found:
            found[option] = "restart" if effect == "restart" else "live"
    return tuple(Changed(option, effect) for option, effect in found.items())


def needs_restart(clause: str, option: str) -> bool:
    """Whether the option is read once, when the process starts. The options table says so."""
    known = options.find(clause, option)
    return known is not None and known.live == "restart"


def tell(log: ControlLog, diagnostics: Iterable[Diagnostic]) -> None:
    """Writes errors and warnings to the log, a line each: place and text; the level says how bad it is."""
    for finding in diagnostics:
        if finding.severity != "note":
            where = f"{finding.where}: " if finding.where else ""
            (log.error if finding.severity == "error" else log.warning)(f"{where}{finding.text}")
