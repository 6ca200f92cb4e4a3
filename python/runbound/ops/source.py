"""The operator's file, read the same way at start and at every reload.

Puts the configuration room, the scanner and the engine's check together, and adds what the command line says. It must
never write the file, and never apply anything.
"""

import os
from collections.abc import Callable
from typing import Final

import msgspec

from runbound.config import paths, start
from runbound.config.diagnostics import Diagnostic
from runbound.config.layers import ABOVE, NOTHING, Above, Layers, join
from runbound.config.load import examine
from runbound.config.model import Config, Entry
from runbound.config.parse import Findings, Message
from runbound.engine import Scan, check, scan, scan_remembered, scan_text
from runbound.engine.compile import compile_document
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys import names_module
from runbound.ops.candidate import Candidate, Files

MAX_VERBOSITY = 5
TEST_SWITCHES: Final = "RUNBOUND_TEST_SWITCHES"
"""Environment variable that is 1 where a file may make signatures count as valid without a look at them."""


class FileSource:
    """One main file. `extra_verbosity` is what `-v` adds; `allow_missing` starts in spite of what is not built yet."""

    def __init__(self, path: str, *, extra_verbosity: int = 0, allow_missing: bool = False) -> None:
        self.name = path
        self.path = os.path.abspath(path)
        self._folder = os.getcwd()
        self._extra_verbosity = extra_verbosity
        self._allow_missing = allow_missing

    def read(self) -> Scan:
        """Reads the file and what it includes. Raises RunboundError if it cannot be read at all."""
        try:
            return scan(self.name, self._folder)
        except OSError as error:
            unreadable = RunboundError(f"cannot read it: {reason(error)}", self.name)
            unreadable.exit_code = EXIT_CONFIG
            raise unreadable from error

    def remember(self, files: Files) -> Scan:
        """The same with the files as they once were."""
        return scan_remembered(self.name, self._folder, files)

    def build(self, scan: Scan | None, above: Above = NOTHING) -> Candidate:
        """Checks what was read, with this layer over it."""
        assert scan is not None
        checks = checker(self.path)
        layers = Layers(scan, scan_text(above.text, ABOVE, self._folder), above.replaced)
        loaded = examine(
            layers,
            os.path.join(self._folder, self.name),
            lambda config, _layers: checks(config, scan),
            lambda config, findings: join(config, findings, above.servers),
            (_module,),
        )
        config = loaded.config
        found = loaded.diagnostics
        if loaded.ok:
            missing = start.refusals(config, layers)
            if self._allow_missing:
                missing = tuple(msgspec.structs.replace(item, severity="warning", hint=None) for item in missing)
            found = (*found, *missing, *start.warnings(config, layers), *_test_switches(config, layers))
        if self._extra_verbosity:
            verbosity = min(config.server.verbosity + self._extra_verbosity, MAX_VERBOSITY)
            config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, verbosity=verbosity))
        return Candidate(config, found, scan)

    def load(self) -> Candidate:
        """The file alone, read and checked. Raises RunboundError if it cannot be read at all."""
        return self.build(self.read())

    def document(self, config: Config, revision: int) -> bytes:
        """The engine's document of a configuration that this source gave, with the names of files made whole."""
        return compile_document(_whole(config, self.path), revision).encode()


def _module(config: Config, findings: Findings, main_file: str) -> None:
    """What is wrong about a security module, where the file names one."""
    if names_module(config):
        from runbound.keys import settings

        settings.rule(config, findings, main_file)


def _whole(config: Config, main_file: str) -> Config:
    """The configuration with every file that the engine opens named by its whole path."""
    server = config.server

    def whole(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        named = [(entry, entry.values[0]) for entry in entries]
        return tuple(Entry((name and paths.resolve(config, main_file, name),), entry.at) for entry, name in named)

    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(
            server,
            logfile=server.logfile and paths.resolve(config, main_file, server.logfile),
            query_log_file=server.query_log_file and paths.resolve(config, main_file, server.query_log_file),
            root_hints=whole(server.root_hints),
            trust_anchor_file=whole(server.trust_anchor_file),
            trusted_keys_file=whole(server.trusted_keys_file),
            auto_trust_anchor_file=whole(server.auto_trust_anchor_file),
        ),
    )


def _test_switches(config: Config, scanned: Layers) -> tuple[Diagnostic, ...]:
    """An error for each switch with which forged answers pass, unless the environment says that this is a test."""
    findings = Findings(scanned)
    if os.environ.get(TEST_SWITCHES) != "1":
        for option, value in (("fake-sha1", config.server.fake_sha1), ("fake-dsa", config.server.fake_dsa)):
            if value:
                what = f"{option}: signatures would count as valid without a look at them"
                where = config.given("server", option)[-1]
                findings.error(where, what, f"it is for tests, in whose environment {TEST_SWITCHES} is 1")
    return findings.sorted()


def reason(error: OSError) -> str:
    """What the system says, without number and name."""
    return error.strerror or str(error)


def checker(main_file: str) -> Callable[[Config, Scan], list[Message]]:
    """What Rust finds in a configuration of that file which Python holds for good: bulk statements above all, and what
    stands in other files."""
    return lambda config, scanned: check(compile_document(_whole(config, main_file), 0).encode(), scanned)
