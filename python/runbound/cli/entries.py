"""`runbound dns` and `runbound block`: local records and blocked names of the running resolver.

Owns how that looks on a terminal. What a record or a name may be is the API's to say; what comes from elsewhere is
printed with control characters escaped.
"""

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from cyclopts import App, Parameter

from runbound.cli.client import Client, clean
from runbound.cli.remote import AsJson, Conf, DryRun, Reason, Url, as_json, find, table
from runbound.errors import EXIT_OK, RunboundError

dns = App(name="dns", help="Look at local records, add and remove them, read and write lists of them.")
block = App(name="block", help="Block names with all below them, look at them, unblock them, read and write lists.")

SHOWN: Final = 1000
"""Entries that a list shows if nothing else is said."""
JSON_SUFFIXES: Final = {".json": "application/json", ".ndjson": "application/x-ndjson"}
"""How a list is told by the name of its file; what is neither is text."""

Name = Annotated[str, Parameter(help="The name; Unicode is turned into A-labels.")]
Comment = Annotated[str | None, Parameter(help="For who reads the list later.")]
File = Annotated[Path, Parameter(help="The list: *.json, *.ndjson, or text.")]
Out = Annotated[Path | None, Parameter(help="Where to write it; standard output if there is none.")]
Mode = Annotated[Literal["add", "replace", "remove"], Parameter(help="`replace` removes all that are not in the list.")]
Under = Annotated[str | None, Parameter(help="Only this name and all below.")]
Search = Annotated[str | None, Parameter(help="Only those with this text in them.")]
Limit = Annotated[int, Parameter(help="The most that are shown.")]
Action = Literal["nxdomain", "refuse", "nodata", "null", "redirect"]


@dns.command(name="add")
def dns_add(
    name: Name,
    type: Annotated[str, Parameter(help="The record type.")],  # noqa: A002  # the name on the command line
    value: Annotated[str, Parameter(help="The data, as in a zone file.")],
    /,
    *,
    ttl: Annotated[int, Parameter(help="Seconds.")] = 3600,
    comment: Comment = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Add a record: `runbound dns add nas.example A 192.0.2.7`. One that is there already gets the TTL and comment."""
    body = {"name": name, "type": type, "value": value, "ttl": ttl, "comment": comment}
    found = find(conf, url).post("/dns" + _query(reason=reason, dry_run=dry_run), body)
    return _told(found, json=json, line=lambda: _record(found))


@dns.command(name="list")
def dns_list(
    name: Annotated[str | None, Parameter(help="Only those of this name.")] = None,
    /,
    *,
    under: Under = None,
    type: Annotated[str | None, Parameter(help="Only those of this type.")] = None,  # noqa: A002
    search: Search = None,
    limit: Limit = SHOWN,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print local records: those by API, then those of the file with their lines."""
    rows = _some(find(conf, url), "/dns", limit, name=name, under=under, type=type, search=search)
    if json:
        return as_json(rows)
    parts = ("name", "ttl", "type", "value")
    table(("id", *parts, "comment", "from"), [(*_head(row, parts), _origin(row)) for row in rows], right=(0, 2))
    return _whole(rows, limit)


@dns.command(name="delete")
def dns_delete(
    name: Name,
    type: Annotated[str | None, Parameter(help="Only those of this type.")] = None,  # noqa: A002
    value: Annotated[str | None, Parameter(help="Only the one with this data.")] = None,
    /,
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Remove the records of a name, or those of a type, or one."""
    query = _query(name=name, type=type, value=value, reason=reason, dry_run=dry_run)
    found = find(conf, url).delete("/dns" + query)
    return _told(found, json=False, line=lambda: f"{clean(name)} is removed")


@dns.command(name="import")
def dns_import(
    file: File,
    /,
    *,
    mode: Mode = "add",
    ttl: Annotated[int, Parameter(help="Seconds, of those that say none.")] = 3600,
    reason: Reason = "",
    dry_run: DryRun = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Read a list of records: lines of a zone file, or JSON. All of it, or nothing if a line is wrong."""
    query = _query(mode=mode, ttl=ttl, reason=reason, dry_run=dry_run)
    return _bring(find(conf, url), "/dns/bulk" + query, file, json=json)


@dns.command(name="export")
def dns_export(
    file: Out = None,
    /,
    *,
    form: Annotated[
        Literal["zone", "ndjson", "json"], Parameter(help="Lines of a zone file, or JSON with comments.")
    ] = "zone",
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Write every record that came by API."""
    return _write(find(conf, url), "/dns/export" + _query(form=form), file)


@block.default
@block.command(name="add")
def block_add(
    name: Name,
    /,
    *,
    action: Annotated[Action, Parameter(help="What is answered.")] = "nxdomain",
    target: Annotated[str | None, Parameter(name="--to", help="Redirect there instead: addresses, or a name.")] = None,
    comment: Comment = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Block a name and all below it: `runbound block ads.example`."""
    what = "redirect" if target is not None else action
    body = {"name": name, "action": what, "target": target, "comment": comment}
    found = find(conf, url).post("/blacklist" + _query(reason=reason, dry_run=dry_run), body)
    return _told(found, json=json, line=lambda: f"{clean(found['name'])} is blocked: {clean(_answer(found))}")


@block.command(name="list")
def block_list(
    *,
    under: Under = None,
    action: Annotated[Action | None, Parameter(help="Only those with this action.")] = None,
    search: Search = None,
    limit: Limit = SHOWN,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print blocked names: those by API, then those of the file with their lines."""
    rows = _some(find(conf, url), "/blacklist", limit, under=under, action=action, search=search)
    if json:
        return as_json(rows)
    shown = [(row["id"] or "", row["name"], _answer(row), row["comment"] or "", _origin(row)) for row in rows]
    table(("id", "name", "answer", "comment", "from"), shown, right=(0,))
    return _whole(rows, limit)


@block.command(name="delete")
def block_delete(
    name: Name, /, *, reason: Reason = "", dry_run: DryRun = False, conf: Conf = None, url: Url = None
) -> int:
    """Unblock a name."""
    found = find(conf, url).delete("/blacklist" + _query(name=name, reason=reason, dry_run=dry_run))
    return _told(found, json=False, line=lambda: f"{clean(name)} is not blocked any more")


@block.command(name="import")
def block_import(
    file: File,
    /,
    *,
    mode: Mode = "add",
    action: Annotated[
        Literal["nxdomain", "refuse", "nodata", "null"], Parameter(help="Of those that say none.")
    ] = "nxdomain",
    target: Annotated[str | None, Parameter(name="--to", help="Redirect those there that say nothing.")] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Read a list of names, a line each, a hosts file, or JSON. All of it, or nothing if a line is wrong."""
    query = _query(mode=mode, action=action, target=target, reason=reason, dry_run=dry_run)
    return _bring(find(conf, url), "/blacklist/bulk" + query, file, json=json)


@block.command(name="export")
def block_export(
    file: Out = None,
    /,
    *,
    form: Annotated[
        Literal["names", "ndjson", "json"], Parameter(help="Names alone, or JSON with actions and comments.")
    ] = "names",
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Write every name that was blocked by API."""
    return _write(find(conf, url), "/blacklist/export" + _query(form=form), file)


def _query(**members: object) -> str:
    """The part of an address behind `?`, without what was not said."""
    said = {name: 1 if value is True else value for name, value in members.items() if value not in (None, "", False)}
    return "?" + urlencode(said) if said else ""


def _all(client: Client, path: str, **members: object) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.get(path + _query(limit=1000, cursor=cursor, **members))
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _some(client: Client, path: str, limit: int, **members: object) -> list[dict[str, Any]]:
    """As many as are shown, and one more if there is one."""
    return list(islice(_all(client, path, **members), limit))


def _whole(rows: list[dict[str, Any]], limit: int) -> int:
    if len(rows) == limit:
        print(f"the first {limit}; --limit shows more, export writes all")
    return EXIT_OK


def _head(row: dict[str, Any], parts: tuple[str, ...]) -> tuple[object, ...]:
    return (row["id"] or "", *(row[part] for part in parts), row["comment"] or "")


def _origin(row: dict[str, Any]) -> str:
    return f"{row['file']}:{row['line']}" if row["origin"] == "file" else "API"


def _answer(row: dict[str, Any]) -> str:
    return f"{row['action']} {row['target']}" if row.get("target") else str(row["action"])


def _record(row: dict[str, Any]) -> str:
    return clean(f"{row['name']} {row['ttl']} {row['type']} {row['value']}")


def _told(found: Any, *, json: bool, line: Any) -> int:
    """Prints what was done, or what would be."""
    if json:
        return as_json(found)
    if found is not None and found.get("dry_run"):
        print(*(map(clean, found["diff"]) if found["diff"] else ["nothing would change"]), sep="\n")
    else:
        print(line())
    return EXIT_OK


def _bring(client: Client, path: str, file: Path, *, json: bool) -> int:
    try:
        with open(file, "rb") as source:
            found = client.upload(path, source, JSON_SUFFIXES.get(file.suffix.lower(), "text/plain"))
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", str(file)) from error
    if json:
        return as_json(found)
    would = "would be " if found["dry_run"] else ""
    counts = ", ".join(f"{found[part]} {part}" for part in ("added", "changed", "removed"))
    print(f"{found['received']} read; {would}{counts}")
    return EXIT_OK


def _write(client: Client, path: str, file: Path | None) -> int:
    blocks = client.download(path)
    first = next(blocks, b"")  # an API that refuses leaves the file of last time as it is
    try:
        with open(file or os.dup(1), "wb") as out:
            out.write(first)
            out.writelines(blocks)
    except BrokenPipeError:
        raise  # who reads our output has seen enough
    except OSError as error:
        raise RunboundError(f"cannot write it: {error.strerror}", str(file or "standard output")) from error
    sys.stdout.flush()
    return EXIT_OK
