"""The configuration in effect as one text: the operator's file and what was changed by API, as a file would say it.

Owns the writing alone; the text is made in pieces, because a file may hold a million local names. Secrets are left out.
It must never write to a file.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from runbound.config import options
from runbound.config.layers import words
from runbound.config.model import Config, Entry, Position
from runbound.engine import Scan
from runbound.ops.view import Kept
from runbound.state.entries import StoredEntry

PAGE: Final = 1000
"""Statements and entries that are read at once."""
BLOCKS: Final = {
    "nxdomain": "always_nxdomain",
    "refuse": "always_refuse",
    "nodata": "always_nodata",
    "null": "always_null",
    "redirect": "redirect",
}
"""What a block does → the type of a local zone that does the same."""


def merged(config: Config, scan: Scan | None, store: Kept) -> Iterator[str]:
    """The text in pieces of whole lines."""
    for clause in options.SINGLE_CLAUSES:
        lines = _clause(clause, getattr(config, clause.replace("-", "_")), config)
        if lines:
            yield "".join(lines)
    for clause in options.ITEM_CLAUSES:
        for item in getattr(config, f"{clause.replace('-', '_')}s"):
            yield "".join(_clause(clause, item, None))
    if scan is not None:
        yield from _bulk(scan)
    yield from _entries(store)


def _clause(clause: str, record: msgspec.Struct, whole: Config | None) -> list[str]:
    """A clause with what is given in it; of one that may stand several times, what differs from the default."""
    lines = []
    usual = type(record)()
    for option in options.every(clause):
        if not option.in_model or (whole is not None and not whole.given(clause, option.name)):
            continue
        value = getattr(record, option.field)
        if whole is None and value == getattr(usual, option.field):
            continue
        if option.name in options.SECRETS:
            lines.append(f"    # {option.name}: is a secret and is not shown\n")
            continue
        lines += [f"    {option.name}: {text}\n" for text in _texts(value)]
    return [f"{clause}:\n", *lines] if lines else []


def _texts(value: object) -> list[str]:
    """A value as a file says it, once for each time it stands there."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, tuple):
        return [words(item.values) for item in value if isinstance(item, Entry)]
    if isinstance(value, Position) or value is None:
        return []
    return [str(value) if isinstance(value, int) else words([str(value)])]


def _bulk(scan: Scan) -> Iterator[str]:
    after, begun = 0, False
    while rows := scan.local_data(after, PAGE, None, False):
        lines = [] if begun else ["server:\n"]
        for _, option, name, kind, ttl, data, _, _ in rows:
            zone = option == "local-zone"
            lines.append(_statement("local-zone", name, kind) if zone else _record(name, ttl or 0, kind, data))
        yield "".join(lines)
        after, begun = rows[-1][0] + 1, True


def _entries(store: Kept) -> Iterator[str]:
    for kind, said in (("record", _of_record), ("block", _of_block)):
        after: bytes | None = None
        while found := store.page(kind, after=after, limit=PAGE):
            head = f"# {kind}s of the API\nserver:\n" if after is None else ""
            yield head + "".join(said(entry) for entry in found)
            after = found[-1].key


def _of_record(entry: StoredEntry) -> str:
    doc = entry.doc
    return _record(doc["name"], doc["ttl"], doc["type"], doc["value"])


def _of_block(entry: StoredEntry) -> str:
    doc = entry.doc
    lines = _statement("local-zone", doc["name"], BLOCKS[doc["action"]])
    for target in str(doc.get("target") or "").split():
        address = target[-1:] != "." and (":" in target or target.replace(".", "").isdigit())
        kind = ("AAAA" if ":" in target else "A") if address else "CNAME"
        lines += _record(doc["name"], 0, kind, target)
    return lines


def _record(name: str, ttl: int, kind: str, data: str) -> str:
    return _statement("local-data", f"{name} {ttl} IN {kind} {data}")


def _statement(option: str, *values: str) -> str:
    try:
        return f"    {option}: {words(values)}\n"
    except ValueError:  # both kinds of quotes: no line of a file can say it
        return f"    # {option}: {' '.join(values)}\n"
