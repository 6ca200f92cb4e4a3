"""A bulk as the native code makes it, in Python, for tests that choose the size of its parts."""

import json
from typing import Any

from runbound import engine


class SmallBulk:
    """Entries of one kind by key, in parts of `size`."""

    def __init__(self, kind: str, entries: dict[bytes, str], size: int = 3) -> None:
        self.kind = kind
        self.count = len(entries)
        rows = sorted(entries.items())
        self._parts = [rows[start : start + size] for start in range(0, len(rows), size)]

    def keys(self, part: int) -> bytes | None:
        if part >= len(self._parts):
            return None
        return json.dumps([key.hex() for key, _ in self._parts[part]]).encode()

    def rows(self, part: int, first_id: int, revision: int, key: Any, standing: bytes = b"[]") -> bytes | None:
        if part >= len(self._parts):
            return None
        there = {bytes.fromhex(k): (number, doc) for number, k, doc, _, _ in json.loads(standing)}
        found = []
        for k, doc in self._parts[part]:
            number, old = there.get(k, (first_id, None))
            if old == doc:
                continue
            first_id += number == first_id
            mac = engine.mac_row(key, self.kind, number, k, doc, revision)[:16]
            found.append([number, k.hex(), doc, revision, mac.hex()])
        return json.dumps(found, separators=(",", ":")).encode()
