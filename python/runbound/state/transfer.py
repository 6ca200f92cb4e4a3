"""The state as a file that goes elsewhere: one JSON object a line, and a code beside it.

The first line says what it is, the last how many entries there were, so that a file that was cut is known. The code
(HMAC-SHA256 with the store key, hexadecimal, in `FILE.mac`) covers every octet; the JSON stores of the 0.4 line have
the same beside them and are read too. It must never take in a file whose code is wrong, and nothing of a file that is
wrong in part.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from runbound.errors import RunboundError
from runbound.state import legacy
from runbound.state.entries import CONFIGURATION, Bulk, Committed, Edit, Mode, Note, Pending, canonical
from runbound.state.head import Key
from runbound.state.store import Store

FORMAT: Final = "runbound-state"
VERSION: Final = 1
BULK_KINDS: Final = ("record", "block")
CARRIED: Final = (*CONFIGURATION, "negative-anchor")
"""Kinds that go elsewhere. Users go only when asked for, and unfinished business never."""
USERS: Final = "user"
PAGE: Final = 1000
MAX_CODE: Final = 256
"""Octets read of a file that holds a code; one has 64 digits."""
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class BulkIn(Bulk, Protocol):
    """A bulk that takes text."""

    def feed(self, piece: bytes) -> None: ...
    def finish(self) -> list[tuple[int, str, str, str | None]]: ...


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry."""

    kind: str
    key: str
    doc: dict[str, Any]


class _First(msgspec.Struct, frozen=True):
    format: str
    version: int
    revision: int
    time: int


class _Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: int


def export(store: Store, *, users: bool = False) -> Iterator[bytes]:
    """The state, line by line. Raises StateTamperedError, and then what came before is good for nothing."""
    yield _encode(_First(FORMAT, VERSION, store.revision, int(time.time()))) + b"\n"
    count = 0
    for kind in (*CARRIED, USERS) if users else CARRIED:
        after: bytes | None = None
        while found := store.page(kind, after=after, limit=PAGE):
            for entry in found:
                yield _encode(Line(kind, entry.key.hex(), entry.doc)) + b"\n"
            count, after = count + len(found), found[-1].key
    yield _encode(_Last(count)) + b"\n"


def beside(path: str) -> str | None:
    """Where the code of a file is: `FILE.mac`, or as the 0.4 line named it. None if there is none."""
    stem, suffix = os.path.splitext(path)
    names = [f"{path}.mac", *([f"{stem}.mac"] if suffix == ".json" else [])]
    return next((name for name in names if os.path.exists(name)), None)


def read(path: str, key: Key, *, protected: bool, unsigned: bool) -> bytes:
    """The octets of a file whose code was proven. With `unsigned`, of one that has no code or none that we can prove.

    Raises RunboundError: fails closed.
    """
    try:
        with open(path, "rb") as file:
            octets = file.read()
        sidecar, code = beside(path), ""
        if sidecar is not None:
            with open(sidecar, encoding="ascii", errors="replace") as text:
                code = text.read(MAX_CODE).strip()
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", error.filename or path) from error
    if sidecar is not None and protected:
        if not _proves(key, octets, code):
            raise RunboundError(
                "the file was changed, or its code was made with another key", sidecar, "look at where it comes from"
            )
    elif not unsigned and sidecar is not None:
        raise RunboundError("there is a code, and no key to prove it with", sidecar, "set RUNBOUND_STORE_KEY")
    elif not unsigned and protected:
        raise RunboundError(
            "there is no code beside it (.mac), so nobody knows who made it",
            path,
            "add --unsigned if you trust it",
        )
    return octets


def plan(octets: bytes, make: Callable[[str], BulkIn], note: Note, mode: Mode, *, users: bool = False) -> list[Pending]:
    """The changes that take a file in: one a bulk, and one for all the rest.

    `make` makes an empty bulk of a kind for JSON. Raises RunboundError that names the first thing that is wrong.
    """
    found = _legacy(octets)
    kinds = _lines(octets) if found is None else found
    pendings = [
        Pending(note, bulk=_bulk(make(kind), [line.doc for line in kinds[kind]]), mode=mode)
        for kind in BULK_KINDS
        if kind in kinds
    ]
    wanted = [kind for kind in kinds if kind in CARRIED or (users and kind == USERS)]
    edits = tuple(
        Edit(kind, bytes.fromhex(line.key), canonical(line.doc))
        for kind in wanted
        if kind not in BULK_KINDS
        for line in kinds[kind]
    )
    return [*pendings, Pending(note, edits)] if edits else pendings


def take_in(store: Store, pendings: Sequence[Pending]) -> list[Committed]:
    """Writes them, all or none. They are pending: the resolver tries them when it starts next.

    Where several replace one kind, they do so together.
    """
    replaced: set[str] = set()
    batch = []
    for pending in pendings:
        if pending.bulk is not None and pending.mode == "replace":
            mode: Mode = "add" if pending.bulk.kind in replaced else "replace"
            replaced.add(pending.bulk.kind)
            batch.append(msgspec.structs.replace(pending, mode=mode))
        else:
            batch.append(pending)
    return store.commit(batch) if batch else []


def _proves(key: Key, octets: bytes, code: str) -> bool:
    try:
        return key.verify(octets, bytes.fromhex(code))
    except ValueError:
        return False


def _legacy(octets: bytes) -> dict[str, list[Line]] | None:
    try:
        document = msgspec.json.decode(octets)
    except msgspec.MsgspecError:
        return None
    if not legacy.is_store(document):
        return None
    kind, docs = legacy.convert(document)
    return {kind: [Line(kind, "", doc) for doc in docs]} if docs else {}


def _lines(octets: bytes) -> dict[str, list[Line]]:
    lines = octets.splitlines()
    try:
        first = msgspec.json.decode(lines[0], type=_First)
        if first.format != FORMAT or first.version > VERSION:
            raise RunboundError("it was written by a later runbound", fix="take it in with that one")
    except (msgspec.MsgspecError, IndexError) as error:
        raise RunboundError("it is neither an export of runbound nor a store of the 0.4 line") from error
    kinds: dict[str, list[Line]] = {}
    place = 1
    try:
        for line in lines[1:-1]:
            place += 1
            found = msgspec.json.decode(line, type=Line)
            bytes.fromhex(found.key)
            kinds.setdefault(found.kind, []).append(found)
        place += 1
        if msgspec.json.decode(lines[-1], type=_Last).entries != len(lines) - 2:
            raise RunboundError("entries are missing", f"line {place}")
    except (msgspec.MsgspecError, ValueError) as error:
        raise RunboundError(f"it was cut or changed ({error})", f"line {place}") from error
    return kinds


def _bulk(bulk: BulkIn, docs: Sequence[dict[str, Any]]) -> BulkIn:
    bulk.feed(msgspec.json.encode(docs))
    for place, member, what, fix in bulk.finish():
        raise RunboundError(f"{member}: {what}", f"{bulk.kind} {place}", fix)
    return bulk
