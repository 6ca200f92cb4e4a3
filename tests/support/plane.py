"""The write path over a real file and a real state, with a fake engine: what changes, and what is there after a start.

Owns no test.
"""

from pathlib import Path

from runbound.ops.beginning import Beginning
from runbound.ops.change import Change, Changes, Edited, Rejected
from runbound.ops.logging import ControlLog
from runbound.ops.source import FileSource
from runbound.ops.view import Plan
from runbound.state.entries import Edit, canonical
from runbound.state.store import Store
from support.control import FakeEngine
from support.stores import Opener

BY_TEST = Change("test", "to see")
FILE = """server:
    verbosity: 1
    access-control: 10.0.0.0/8 allow
    do-not-query-localhost: no
forward-zone:
    name: "."
    forward-addr: 192.0.2.1
    forward-addr: 192.0.2.2@5353
"""


class Plane:
    """One process after another over the same file and state."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "runbound.conf"
        self.file.write_text(FILE)
        (folder / "state").mkdir()
        self.opener = Opener(folder / "state")
        self._running: Changes | None = None
        self.start()

    def start(self) -> None:
        """Starts, without an end of the process before."""
        if self._running is not None:
            self._running.close()
        self.engine = FakeEngine()
        self.store: Store = self.opener()
        self.source = FileSource(str(self.file))
        self.log = ControlLog(self.engine.log)
        begun = Beginning(self.source, self.store, self.source.build(self.source.read()), self.log)
        self.changes = self._running = Changes(
            self.engine, begun.settle(self.engine), self.source, self.log, self.store
        )
        self.changes.watch()

    def close(self) -> None:
        """Ends it."""
        self.changes.close()
        self.opener.close()

    def edit(self, *edits: Edit, confirm_within: int | None = None, dry_run: bool = False) -> Edited:
        """Makes edits that must be good."""
        done = self.changes.edit(BY_TEST, lambda _view: Plan(edits), confirm_within=confirm_within, dry_run=dry_run)
        assert isinstance(done, Edited), done
        return done

    def rejected(self, *edits: Edit) -> list[str]:
        """Makes edits that must not be; the headlines of what is wrong."""
        done = self.changes.edit(BY_TEST, lambda _view: Plan(edits))
        assert isinstance(done, Rejected)
        return [finding.headline for finding in done.diagnostics]

    def servers(self, zone: str = ".") -> list[str]:
        """The servers of a forward zone."""
        found = [item for item in self.changes.running.config.forward_zones if item.name == zone]
        return [entry.values[0] for item in found for entry in item.forward_addr]


def upstream(address: str, zone: str = ".", port: int = 53, **more: object) -> Edit:
    """A server that the API adds."""
    doc = {"zone": zone, "address": address, "port": port, "transport": "udp", "enabled": True, **more}
    return Edit("upstream", f"{zone}\0{address}@{port}\0{doc['transport']}".encode(), canonical(doc))
