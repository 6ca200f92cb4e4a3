"""What runs beside the resolver and must not delay it, as the service sees it: what it is given, what it has to offer.

The API is the one there is. It must never know the service.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from runbound.config.model import Config
from runbound.ops.change import Changes
from runbound.ops.logging import ControlLog
from runbound.state.directory import StateDirectory

if TYPE_CHECKING:
    from runbound.ops.audit import Audit
    from runbound.ops.backup import Keeper
    from runbound.ops.hsm import Hsm
    from runbound.ops.hsm_reload import HsmReload


class Opening(msgspec.Struct, frozen=True):
    """What a companion needs to open what needs rights."""

    config: Config
    owner: tuple[int, int] | None
    """Account (uid, gid) that the process will become; None if it stays who it is."""
    state: StateDirectory | None
    log: ControlLog
    resolve: Callable[[str], str]
    """A file name of the configuration to its path."""
    audit: "Audit | None" = None
    """The audit log, where there is a state to keep one in."""
    backups: "Keeper | None" = None
    """The backups, in the same state."""
    hsm: "Hsm | None" = None
    """The keys of a security module, where the file names one."""
    hsm_reload: "HsmReload | None" = None
    """How its keys are loaded anew."""


class Companion(Protocol):
    """What runs beside the resolver and must not delay it: the API. A room to the right of this one brings it."""

    def wanted(self, config: Config) -> bool:
        """Whether the configuration asks for it."""

    def open(self, opening: Opening) -> None:
        """Opens sockets and the like before privileges are dropped; RunboundError stops the start."""

    def start(self, changes: Changes, log: ControlLog, path: str) -> None:
        """DNS is answered: begin. Must return at once."""

    def stop(self) -> None:
        """Asks for the end; must return at once."""

    def close(self, seconds: float) -> None:
        """Waits so long at most, and leaves nothing open."""
