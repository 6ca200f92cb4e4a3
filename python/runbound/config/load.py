"""From a file name to a checked configuration: the one entry of this room.

Owns the order of the steps: scan, parse, checks of the whole, Rust's checks of what Python never sees. It must never
import the engine: the scanner and the last check are handed in.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from runbound.config import check as whole
from runbound.config.diagnostics import Diagnostic, has_errors
from runbound.config.model import Config
from runbound.config.parse import Findings, Message, Scan, parse

S = TypeVar("S", bound=Scan)

Rule = Callable[[Config, Findings, str], None]
"""A check of another room: adds what it finds; the last argument is the main file."""


class Loaded(msgspec.Struct, Generic[S], frozen=True):
    """A configuration that was read, with everything found in it."""

    config: Config
    diagnostics: tuple[Diagnostic, ...]
    scan: S

    @property
    def ok(self) -> bool:
        """Whether it may be used."""
        return not has_errors(self.diagnostics)


def load(
    path: str,
    cwd: str,
    scan: Callable[[str, str], S],
    check: Callable[[Config, S], Sequence[Message]] | None = None,
    rules: Iterable[Rule] = (),
) -> Loaded[S]:
    """Reads and checks a configuration file. Raises OSError if the file itself cannot be read.

    `scan` is the engine's; `check` compiles a configuration in Rust and returns its messages; `rules` are checks of
    rooms further right. Relative names of includes go by `cwd`, all others by `directory:` or the folder of the file.
    """
    return examine(scan(path, cwd), os.path.join(cwd, path), check, rules=rules)


def examine(
    scan: S,
    main_file: str,
    check: Callable[[Config, S], Sequence[Message]] | None = None,
    join: Callable[[Config, Findings], Config] | None = None,
    rules: Iterable[Rule] = (),
) -> Loaded[S]:
    """The same for a scan made elsewhere, of a text that stands in no file for example.

    `join` may put together what was read before it is checked as a whole.
    """
    config, findings = parse(scan)
    if join is not None:
        config = join(config, findings)
    for rule in (whole.check, *rules):
        rule(config, findings, main_file)
    if check is not None:
        # Rust expects a configuration that passed. With errors it gets an empty one, so that what stands in the scan
        # alone (local zones and data) is checked in the same run all the same.
        told = check(Config() if has_errors(findings.found) else config, scan)
        findings.statements(told)
    return Loaded(config, findings.sorted(), scan)
