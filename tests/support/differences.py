"""Where runbound answers otherwise than Unbound on purpose: each with its reason.

Owns the table that the differential test allows and that `docs/differences.md` shows. Nothing else may excuse a
difference; a row that no question meets any more fails the test of the whole table in `./dev accept`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.packets import Ask, Seen


@dataclass(frozen=True)
class Difference:
    """One difference that is meant."""

    what: str
    unbound: str
    runbound: str
    why: str
    applies: Callable[[str, Ask, str, Seen, Seen], bool]
    """Scene, question, the field that differs, Unbound's answer, runbound's."""


@dataclass(frozen=True)
class Elsewhere:
    """A difference outside the packets: configuration, logs, operation. Tests of their own show them."""

    what: str
    unbound: str
    runbound: str
    why: str


CONFIGURATION: tuple[Elsewhere, ...] = (
    Elsewhere(
        "`do-daemonize`",
        "goes to the background by default",
        "always stays in the foreground",
        "a service manager keeps it; `-d` is accepted",
    ),
    Elsewhere(
        "errors in a file",
        "stops at the first few",
        "shows every error of the file in one run, with line, column and a suggestion",
        "one run instead of several",
    ),
    Elsewhere(
        "options that are not built yet",
        "all are built",
        "does not start when one of them encrypts, filters, restricts clients or changes answers, unless told to by "
        "`--allow-missing`",
        "nobody should believe to be protected who is not",
    ),
    Elsewhere(
        "exit code at a wrong configuration",
        "1",
        "78",
        "a service manager can tell a broken file from a fault that may pass",
    ),
    Elsewhere(
        "`chroot`",
        "confines the process",
        "cuts the prefix from file names; the service unit confines the process",
        "the Python half loads parts after the start",
    ),
    Elsewhere(
        "questions outside local data and forward zones",
        "asks the servers of the Internet itself",
        "SERVFAIL with an extended error",
        "iteration is not built yet",
    ),
)
"""What differs besides answers."""


DIFFERENCES: tuple[Difference, ...] = ()
"""Every difference allowed."""


def allowed(scene: str, ask: Ask, field: str, unbound: Seen, runbound: Seen) -> Difference | None:
    """The row that covers one differing field, if there is one."""
    for row in DIFFERENCES:
        if row.applies(scene, ask, field, unbound, runbound):
            return row
    return None
