"""Keys of a security module loaded anew while the resolver runs: all of them are in force afterwards, or none is.

Owns the order: the configuration file is read for its `hsm-*` lines and key sources alone, every key is loaded (one
login), the state is coded anew if its keys are others, and only then the module's keys are exchanged. What fails before
leaves everything as it was. Whatever else changed in the file waits for a reload of its own. This module must never
take another key than the one that the file names.
"""

import threading
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from runbound.config.diagnostics import Diagnostic
from runbound.config.model import Config
from runbound.engine import Scan
from runbound.errors import RunboundError
from runbound.keys.messages import Role
from runbound.ops.candidate import Candidate
from runbound.ops.hsm import Hsm, Prepared
from runbound.ops.logging import ControlLog
from runbound.ops.outcome import Change
from runbound.ops.refusals import HsmBusy, StateUnavailable
from runbound.ops.rekey import Rekey
from runbound.state.opening import StoreKeys
from runbound.state.origin import Origin
from runbound.state.rekey import Rekeyed

EVENT: Final = "hsm.reload"
UNPROTECTED_HELP: Final = (
    "whoever can write to the state directory can change it unnoticed: name a key with hsm-store-key-label: and reload"
)


class Source(Protocol):
    """Where the configuration file is read."""

    @property
    def path(self) -> str: ...
    def read(self) -> Scan | None: ...
    def build(self, scan: Scan | None) -> Candidate: ...


class Trail(Protocol):
    """Where the audit log is written."""

    def record(self, event: str, actor: str, /, **fields: object) -> None: ...


class BadFileError(RunboundError):
    """The configuration file has errors."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("the configuration has errors")
        self.diagnostics = diagnostics


class Turned(msgspec.Struct, frozen=True):
    """A key, and what became of it."""

    role: Role
    before: Origin
    after: Origin
    changed: bool | None
    """None for an API key under the same label: it was read anew, and nobody can say whether it is another."""


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload did, or would do."""

    turned: tuple[Turned, ...]
    rekeyed: Rekeyed | None = None
    """What was coded anew in the state, if anything was."""
    backups: int = 0
    """Backups that were sealed anew."""


class HsmReload:
    """Loads the keys of one process anew. Safe from every thread."""

    def __init__(
        self,
        hsm: Hsm,
        source: Source,
        choose: Callable[[Config, Prepared], StoreKeys] | None,
        rekey: Rekey | None,
        trail: Trail | None,
        log: ControlLog,
    ) -> None:
        """`choose` finds the state's keys by their chains, with the module's first; without a state there is none, and
        no `rekey`."""
        self.hsm = hsm
        self._source = source
        self._choose = choose
        self._rekey = rekey
        self._trail = trail
        self._log = log
        self._lock = threading.Lock()

    def origins(self) -> dict[Role, Origin]:
        """Where the keys in force come from, as far as it is known here."""
        found: dict[Role, Origin] = {}
        settings = self.hsm.settings
        for role, label in settings.labels.items():
            found[role] = Origin("hsm", label, settings.mode)
        if self._rekey is not None:
            found |= {"store": self._rekey.keys.store_from, "audit": self._rekey.keys.audit_from}
        return found

    def run(self, change: Change, *, dry_run: bool = False) -> Reloaded:
        """Does it, or with `dry_run` loads the keys and forgets them.

        Raises BadFileError, HsmError for what the module refuses, HsmBusy while another reload is under way, and
        StateUnavailable if the state cannot be coded anew.
        """
        if not self._lock.acquire(blocking=False):
            raise HsmBusy("keys are being loaded already", fix="wait for that to end")
        said: dict[str, object] = {**change.request, "reason": change.reason, "dry_run": dry_run}
        try:
            done = self._run(change.actor, dry_run=dry_run)
        except RunboundError as error:
            self._record(change, said, result="refused", why=error.what)
            self._log.error("HSM: the keys in force stay", why=error.what, help=error.fix)
            raise
        finally:
            self._lock.release()
        keys = {f"{one.role}_key": one.after.text for one in done.turned}
        changed = [one.role for one in done.turned if one.changed is not False]
        self._record(change, said, result="done", changed=changed, **keys)
        return done

    def _record(self, change: Change, said: dict[str, object], **more: object) -> None:
        if self._trail is not None:
            self._trail.record(EVENT, change.actor, **said, **more)
            change.written()

    def _run(self, actor: str, *, dry_run: bool) -> Reloaded:
        candidate = self._source.build(self._source.read())
        if not candidate.ok:
            raise BadFileError(candidate.diagnostics)
        before = self.origins()
        prepared = self.hsm.prepare(candidate.config)
        keys = self._choose(candidate.config, prepared) if self._choose is not None else None
        turned = self._turned(before, prepared, keys)
        if dry_run:
            return Reloaded(turned)
        rekeyed, backups = self._code_anew(keys, actor)
        self.hsm.commit(prepared)
        for one in turned:
            if one.changed is not False:
                said = {"from": one.after.text, "before": one.before.text}
                self._log.notice(f"HSM: {one.role} key loaded anew", **said)
            if one.role == "store" and one.after.kind == "none" and one.before.kind != "none":
                self._log.warning("HSM: no key protects the state any more", help=UNPROTECTED_HELP)
        if rekeyed is not None:
            self._log.notice(
                "the state is coded with its new keys",
                entries=rekeyed.entries,
                revisions=rekeyed.revisions,
                backups=backups,
                seconds=round(rekeyed.seconds, 3),
            )
        return Reloaded(turned, rekeyed, backups)

    def _code_anew(self, keys: StoreKeys | None, actor: str) -> tuple[Rekeyed | None, int]:
        if keys is None or self._rekey is None or not any(self._rekey.differs(keys)):
            return None, 0
        try:
            return self._rekey.run(keys, actor)
        except RunboundError as error:
            raise StateUnavailable(f"the state keeps its keys: {error}", fix=error.fix) from error

    def _turned(self, before: dict[Role, Origin], prepared: Prepared, keys: StoreKeys | None) -> tuple[Turned, ...]:
        after: dict[Role, Origin] = {
            role: Origin("hsm", label, prepared.settings.mode) for role, label in prepared.settings.labels.items()
        }
        others: dict[Role, bool] = {}
        if keys is not None and self._rekey is not None:
            after |= {"store": keys.store_from, "audit": keys.audit_from}
            store, audit = self._rekey.differs(keys)
            others = {"store": store, "audit": audit}
        roles: list[Role] = [role for role in ("api", "store", "audit") if role in before or role in after]
        return tuple(
            Turned(role, was, now, others.get(role, True if was != now else None))
            for role in roles
            for was, now in [(before.get(role, Origin()), after.get(role, Origin()))]
        )
