"""The operator's file, read the same way at start and at every reload.

Puts the configuration room, the scanner and the engine's check together, and adds what the command line says. It must
never write the file, and never apply anything.
"""

import os

import msgspec

from runbound.config import paths, start
from runbound.config.load import load
from runbound.config.model import Config
from runbound.config.parse import Message
from runbound.engine import Scan, check, scan
from runbound.engine.compile import compile_document
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.ops.change import Candidate

MAX_VERBOSITY = 5


class FileSource:
    """One main file. `extra_verbosity` is what `-v` adds; `allow_missing` starts in spite of what is not built yet."""

    def __init__(self, path: str, *, extra_verbosity: int = 0, allow_missing: bool = False) -> None:
        self.name = path
        self.path = os.path.abspath(path)
        self._folder = os.getcwd()
        self._extra_verbosity = extra_verbosity
        self._allow_missing = allow_missing

    def load(self) -> Candidate:
        """Reads and checks the file. Raises RunboundError if it cannot be read at all."""
        try:
            loaded = load(self.name, self._folder, scan, check_in_engine)
        except OSError as error:
            unreadable = RunboundError(f"cannot read it: {reason(error)}", self.name)
            unreadable.exit_code = EXIT_CONFIG
            raise unreadable from error
        config = loaded.config
        found = loaded.diagnostics
        if loaded.ok:
            missing = start.refusals(config, loaded.scan)
            if self._allow_missing:
                missing = tuple(msgspec.structs.replace(item, severity="warning", hint=None) for item in missing)
            found = (*found, *missing, *start.warnings(config, loaded.scan))
        if self._extra_verbosity:
            verbosity = min(config.server.verbosity + self._extra_verbosity, MAX_VERBOSITY)
            config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, verbosity=verbosity))
        return Candidate(config, found, loaded.scan)

    def document(self, config: Config, revision: int) -> bytes:
        """The engine's document of a configuration that this source gave, with the names of files made whole."""
        server = config.server
        if server.logfile:
            logfile = paths.resolve(config, self.path, server.logfile)
            config = msgspec.structs.replace(config, server=msgspec.structs.replace(server, logfile=logfile))
        return compile_document(config, revision).encode()


def reason(error: OSError) -> str:
    """What the system says, without number and name."""
    return error.strerror or str(error)


def check_in_engine(config: Config, scanned: Scan) -> list[Message]:
    """What Rust finds in a configuration that Python holds for good: bulk statements above all."""
    return check(compile_document(config, 0).encode(), scanned)
