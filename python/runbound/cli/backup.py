"""`runbound backup`: copies of what was changed by API, and the way back to one.

Owns how that looks on a terminal. What a backup is and whether it is genuine comes from the API; what others wrote is
printed with control characters escaped.
"""

import os
import sys
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from cyclopts import App, Parameter

from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, Reason, Url, as_json, find, table
from runbound.errors import EXIT_OK, RunboundError

NDJSON: Final = "application/x-ndjson"

Id = Annotated[str, Parameter(help="Which one, as the list names it.")]

backup = App(name="backup", help="Copies of records, blocks, upstreams and settings that were made by API.")


@backup.command
def make(*, reason: Reason = "", conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Make a backup of what is there now. Users and their keys are in none."""
    found = find(conf, url).post(f"/backup?{urlencode({'reason': reason})}", {})
    if json:
        return as_json(found)
    print(f"{clean(found['id'])}: {_counts(found['counts'])}")
    return EXIT_OK


@backup.command(name="list")
def list_(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print the backups, the newest first."""
    found = find(conf, url).get("/backup")
    if json:
        return as_json(found)
    rows = [
        (row["id"], row["revision"], _counts(row["counts"]), row["bytes"], clean(row["actor"]), clean(row["reason"]))
        for row in found["items"]
    ]
    table(("backup", "revision", "entries", "octets", "by", "reason"), rows, right=(1, 3))
    for key in dict.fromkeys(row["public_key"] for row in found["items"]):
        print(f"sealed with {key}")
    return EXIT_OK


@backup.command
def show(id: Id, /, *, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:  # noqa: A002
    """Prove that a backup is what was written, and print what it holds."""
    found = find(conf, url).get(f"/backup/{quote(id, safe='')}")
    if json:
        return as_json(found)
    print(f"{clean(found['id'])} is genuine: {_counts(found['counts'])}, revision {found['revision']}")
    print(f"made by {clean(found['actor'])}, {found['time']}, public key {found['public_key']}")
    return EXIT_OK


@backup.command
def restore(
    id: Id,  # noqa: A002
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Only say what would change.")] = False,
    confirm_within: Annotated[
        int | None, Parameter(help="Take it back after so many seconds unless runbound config confirm is called.")
    ] = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Make records, blocks, upstreams and settings what a backup says, all at once. A rollback undoes it."""
    query: dict[str, Any] = {"reason": reason, "dry_run": int(dry_run)}
    if confirm_within is not None:
        query["confirm_within"] = confirm_within
    found = find(conf, url).post(f"/backup/restore?{urlencode(query)}", {"id": id})
    if json:
        return as_json(found)
    for line in found["diff"]:
        print(clean(line))
    if found["more"]:
        print(f"and {found['more']} more")
    words = [
        f"{kind}: {', '.join(f'{count} {word}' for word, count in counts.items())}"
        for kind, counts in found["summary"].items()
    ]
    done = "would change" if dry_run else f"revision {found['revision']}"
    print(f"{done}: {'; '.join(words) or 'nothing'}")
    return EXIT_OK


@backup.command
def export(
    id: Id,  # noqa: A002
    file: Annotated[str | None, Parameter(help="Where to; standard output if it is left out.")] = None,
    /,
    *,
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Write a backup and its seal into one file, to keep it elsewhere or take it to another resolver."""
    pieces = find(conf, url).download(f"/backup/export?{urlencode({'id': id})}")
    if file is None:
        for octets in pieces:
            sys.stdout.buffer.write(octets)
        return EXIT_OK
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as target:
            for octets in pieces:
                target.write(octets)
    except OSError as error:
        raise RunboundError(f"cannot write it: {error.strerror}", file) from error
    print(f"{file}: {os.stat(file).st_size} octets")
    return EXIT_OK


@backup.command(name="import")
def import_(
    file: Annotated[str, Parameter(help="What export wrote.")],
    /,
    *,
    public_key: Annotated[
        str | None, Parameter(help="The public key of the resolver it comes from, if it is another one.")
    ] = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Take a backup in. It changes nothing until it is restored."""
    query = {"reason": reason} | ({"public_key": public_key} if public_key else {})
    try:
        with open(file, "rb") as source:
            found = find(conf, url).upload(f"/backup/import?{urlencode(query)}", source, NDJSON)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", file) from error
    if json:
        return as_json(found)
    print(f"{clean(found['id'])}: {_counts(found['counts'])}")
    return EXIT_OK


@backup.command
def delete(id: Id, /, *, reason: Reason = "", conf: Conf = None, url: Url = None) -> int:  # noqa: A002
    """Delete a backup for good."""
    find(conf, url).delete(f"/backup/{quote(id, safe='')}?{urlencode({'reason': reason})}")
    print(f"{clean(id)} is deleted")
    return EXIT_OK


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}s" if count != 1 else f"1 {kind}" for kind, count in counts.items() if count) or (
        "nothing"
    )
