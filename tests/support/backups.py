"""Backups for tests: sealed with a key that everybody here knows."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from runbound.engine import SecretKey, verify_signature
from runbound.state.backup import Backups
from runbound.state.store import Picture

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"b" * 32


def backups(folder: str | Path, secret: bytes = SECRET) -> Backups:
    """The backups of a state directory."""
    return Backups(str(folder), SecretKey(secret), verify_signature)


def exported() -> bytes:
    """One that holds nothing, on its way elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        kept = backups(folder)
        made = kept.make(Picture(1, {}, lambda _kind: iter(())), "alice", "a test")
        return b"".join(kept.stream(made.id))
