"""The errors a person may see, and the exit codes of the program.

Every room raises these (or subclasses of its own) and the command line prints them in one shape: what is wrong, where,
and what to do. This module must never import another room, log, or decide what happens next. A protocol outcome
(NXDOMAIN, bogus, timeout) is a value and never stands here.
"""

from collections.abc import Sequence
from typing import Final, Protocol

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
"""Anything that may be gone at the next try: a taken port, a full disk, a wrong flag."""
EXIT_CONFIG: Final = 78
"""EX_CONFIG of sysexits.h: the configuration is wrong and stays so until somebody edits it. The service unit names it
in RestartPreventExitStatus=, so systemd does not start a broken file again and again. `runbound check` keeps
unbound-checkconf's 0 and 1."""


class Finding(Protocol):
    """One message about a configuration, as the config room makes them.

    `headline` is one line for a log; `str()` is the printed form with the source line and a caret.
    """

    @property
    def severity(self) -> str:
        """`error`, `warning` or `note`."""

    @property
    def headline(self) -> str:
        """Where and what, on one line."""

    def __str__(self) -> str: ...


class RunboundError(Exception):
    """Something a person has to know about: `what` is wrong, `where` it stands, and how to `fix` it.

    `exit_code` is what the program ends with when nobody catches the error.
    """

    exit_code: int = EXIT_FAILURE

    def __init__(self, what: str, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  help: {self.fix}" if self.fix else text


class ConfigError(RunboundError):
    """The configuration cannot be used. `diagnostics` holds every finding of the run, not only the first."""

    exit_code = EXIT_CONFIG

    def __init__(
        self,
        diagnostics: Sequence[Finding],
        what: str = "the configuration has errors",
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, where, fix)
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        return "\n".join([*(str(finding) for finding in self.diagnostics), super().__str__()])
