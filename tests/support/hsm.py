"""A stand-in for the security module of a running resolver, where a test is about what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbound.keys.messages import Failure
from runbound.ops.helper import HsmError
from runbound.ops.hsm_reload import HsmReload
from runbound.ops.rekey import Rekey
from runbound.state.opening import StoreKeys, backup_key
from runbound.state.origin import Origin
from support.stores import keys

if TYPE_CHECKING:
    from runbound.config.model import Config
    from support.api import Api


class FakeSettings(msgspec.Struct):
    """Labels and mode."""

    labels: dict[str, str]
    mode: str = "extract"


class FakePrepared(msgspec.Struct):
    """Keys that are loaded and not in force."""

    settings: FakeSettings
    state: StoreKeys


class FakeHsm:
    """Gives what `next` says, or fails as `failure` says."""

    def __init__(self) -> None:
        self.settings = FakeSettings({"api": "runbound-api-key", "store": "runbound-store-key"})
        self.next = FakeSettings({"api": "runbound-api-key", "store": "runbound-store-key-v2"})
        self.state_keys = msgspec.structs.replace(
            keys(b"v2" * 16), store_from=Origin("hsm", "runbound-store-key-v2", "extract")
        )
        self.failure: Failure | None = None
        self.prepared: list[FakePrepared] = []
        self.committed: list[FakePrepared] = []

    def prepare(self, _config: Config) -> FakePrepared:
        if self.failure is not None:
            raise HsmError(self.failure)
        self.prepared.append(FakePrepared(self.next, self.state_keys))
        return self.prepared[-1]

    def commit(self, prepared: FakePrepared) -> None:
        self.settings = prepared.settings
        self.committed.append(prepared)

    def state(self) -> dict[str, Any]:
        return {
            "ok": True,
            "reason": None,
            "mode": "extract",
            "module": "/usr/lib/softhsm/libsofthsm2.so",
            "library": {"description": "x", "manufacturer": "SoftHSM", "version": "2.6", "cryptoki": "2.40"},
            "slot": {"index": 0, "id": 7, "description": "slot"},
            "token": {"label": "runbound", "serial": "1", "model": "SoftHSM v2", "manufacturer": "m", "flags": []},
            "keys": [
                {
                    "role": "store",
                    "label": self.settings.labels["store"],
                    "object": "secret-key",
                    "id": "",
                    "how": "value",
                    "key_type": "CKK_GENERIC_SECRET",
                    "extractable": True,
                    "sensitive": False,
                    "private": True,
                }
            ],
            "warnings": [],
            "pin": {"kind": "environment", "place": "HSM_PIN"},
            "loaded_at": "2026-11-23T20:00:00Z",
            "load_ms": 12,
            "loads": 1,
            "logins": 1,
            "lost_since": None,
            "outages": 0,
        }


def with_hsm(api: Api) -> FakeHsm:
    """Gives an application under test a security module."""
    hsm: Any = FakeHsm()
    audit, backups = api.context.audit, api.context.backups
    assert audit is not None
    assert backups is not None
    backups.backups._key = backup_key(api.store.keys)  # as a start has it
    rekey = Rekey(api.store, audit, backups.backups, api.store.path.removesuffix("/state.db"))
    choose: Any = lambda _config, prepared: prepared.state  # noqa: E731  # one line says it
    loading = HsmReload(hsm, api.source, choose, rekey, api.trail, api.context.log)
    api.client.app.state.context = msgspec.structs.replace(api.context, hsm_reload=loading)  # type: ignore[attr-defined]
    return hsm  # type: ignore[no-any-return]
