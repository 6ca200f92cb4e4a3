"""`runbound config`: what is in effect, what the API changed over the file, every change that led there, and the ways
back.

Owns how that looks on a terminal. What it means comes from the API.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from cyclopts import App, Parameter

from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, DryRun, Reason, Url, as_json, find, table
from runbound.cli.times import date, seconds
from runbound.errors import EXIT_OK, RunboundError

config = App(name="config", help="Look at the configuration in effect, set options, see what changed, go back.")

Confirm = Annotated[
    str | None,
    Parameter(
        name="--confirm-within",
        help="Take the change back after this time (a number with s, m or h), unless runbound config confirm comes.",
    ),
]
Token = Annotated[str, Parameter(help="What the change printed.")]


@config.command
def show(
    *,
    every: Annotated[
        bool, Parameter(name="--all", negative="", show_default=False, help="Options that nobody has set, too.")
    ] = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print the options in effect and where each was said."""
    found = find(conf, url).get("/config" if every else "/config?given=1")
    if json:
        return as_json(found)
    rows = [(_title(row), _value(row), _origin(row["origin"])) for row in found["options"]]
    table(("option", "value", "said"), rows)
    _pinned(found)
    return EXIT_OK


@config.command(name="set")
def set_(
    option: Annotated[str, Parameter(help="An option of server:.")],
    /,
    *values: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="Its value; of a list option each entry, quoted as one word.")
    ],
    dry_run: DryRun = False,
    confirm_within: Confirm = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Set an option, live and for good, over what the file says."""
    if not values:
        raise RunboundError(f"{clean(option)} has no value", fix="runbound config unset OPTION leaves it to the file")
    body = {"server": {option: list(values)}}
    return _made(find(conf, url).patch("/config" + _terms(dry_run, confirm_within, reason), body), json=json)


@config.command
def unset(
    option: Annotated[str, Parameter(help="An option that was set by API.")],
    /,
    *,
    dry_run: DryRun = False,
    confirm_within: Confirm = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Leave an option to the file again."""
    body = {"server": {option: None}}
    return _made(find(conf, url).patch("/config" + _terms(dry_run, confirm_within, reason), body), json=json)


@config.command
def diff(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print what the API has changed over the file."""
    found = find(conf, url).get("/config/diff")
    if json:
        return as_json(found)
    for row in found["options"]:
        for sign, value in (("-", row["file"]), ("+", row["value"])):
            if value is not None:
                print(f"{sign} {clean(row['option'])}: {_plain(value)}")
    print(f"records of the API: {found['records']}, blocked names: {found['blocks']}")
    _pinned(found)
    if found["file_differs"] and found["pinned"] is None:
        print(f"{clean(found['file'])} was edited and not yet read again: runbound config reload")
    return EXIT_OK


@config.command
def history(
    revision: Annotated[int | None, Parameter(help="Print what this one changed.")] = None,
    /,
    *,
    limit: Annotated[int, Parameter(help="How many to print.")] = 20,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print the changes, the newest first; or one of them."""
    client = find(conf, url)
    if revision is not None:
        found = client.get(f"/config/history/{revision}")
        if json:
            return as_json(found)
        print(f"revision {revision}: {found['op']}, {found['status']}, {date(int(found['time']))}")
        print(f"by {clean(found['actor'])}: {clean(found['reason'])}")
        return _lines(found)
    found = client.get(f"/config/history?limit={limit}")
    if json:
        return as_json(found)
    rows = [
        (row["revision"], date(int(row["time"])), row["op"], row["actor"], _counts(row), row["reason"])
        for row in found["items"]
    ]
    table(("revision", "time", "what", "who", "changed", "why"), rows, right=(0,))
    if found["waiting"]:
        waiting = found["waiting"]
        print(f"revision {waiting['revision']} is taken back at {date(waiting['until'])} unless it is confirmed")
    return EXIT_OK


@config.command
def rollback(
    revision: Annotated[int, Parameter(help="Of runbound config history.")],
    /,
    *,
    dry_run: DryRun = False,
    confirm_within: Confirm = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Go back to what was configured after a revision: options, records, blocks, upstream servers, and the file."""
    path = f"/config/rollback/{revision}{_terms(dry_run, confirm_within, reason)}"
    return _made(find(conf, url).post(path, None), json=json)


@config.command
def confirm(token: Token, /, *, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Keep a change that would be taken back."""
    return _made(find(conf, url).post("/config/confirm", {"token": token}), json=json)


@config.command
def revert(token: Token, /, *, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Take a change that waits for its confirmation back at once."""
    return _made(find(conf, url).post("/config/revert", {"token": token}), json=json)


@config.command
def reload(
    *,
    dry_run: DryRun = False,
    confirm_within: Confirm = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Read the configuration file again."""
    return _made(find(conf, url).post("/reload" + _terms(dry_run, confirm_within, reason), None), json=json)


@config.command
def export(*, conf: Conf = None, url: Url = None) -> int:
    """Print the configuration in effect as one unbound.conf."""
    for piece in find(conf, url).download("/config/export"):
        sys.stdout.buffer.write(piece)
    return EXIT_OK


def _terms(dry_run: bool, confirm_within: str | None, reason: str) -> str:
    """The query that says on what terms a change is made."""
    said: dict[str, object] = {"dry_run": 1} if dry_run else {}
    if confirm_within is not None:
        said["confirm_within"] = seconds(confirm_within)
    if reason:
        said["reason"] = reason
    return f"?{urlencode(said)}" if said else ""


def _made(found: Mapping[str, Any], *, json: bool) -> int:
    """Prints what a change did."""
    if json:
        return as_json(found)
    _lines(found)
    for change in found["changes"]:
        live = "changes" if found["dry_run"] else "is in effect"
        print(f"{clean(change['option'])} {'waits for a restart' if change['effect'] == 'restart' else live}")
    for warning in found["warnings"]:
        place = f"{warning['file']}:{warning['line']}: " if warning["line"] else ""
        print(f"warning: {clean(place + warning['message'])}")
    print(f"nothing was changed, revision {found['revision']}" if found["dry_run"] else f"revision {found['revision']}")
    _pinned(found)
    if found["confirm"]:
        print(f"keep it with: runbound config confirm {clean(found['confirm'])}")
    return EXIT_OK


def _lines(found: Mapping[str, Any]) -> int:
    for line in found["diff"]:
        print(clean(line))
    if found["more"]:
        print(f"… and {found['more']} more")
    return EXIT_OK


def _pinned(found: Mapping[str, Any]) -> None:
    if found["pinned"] is not None:
        print(f"the configuration file is in force as it was at revision {found['pinned']}; a reload ends that")


def _counts(row: Mapping[str, Any]) -> str:
    parts = [f"{count} {kind} {word}" for kind, words in row["summary"].items() for word, count in words.items()]
    return ", ".join(parts)


def _title(row: Mapping[str, Any]) -> str:
    if row["clause"] == "server":
        return str(row["option"])
    return f'{row["clause"]} "{row["name"]}": {row["option"]}' if row["name"] else f"{row['clause']}: {row['option']}"


def _value(row: Mapping[str, Any]) -> str:
    return "(a secret)" if row["secret"] else _plain(row["value"])


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return clean("" if value is None else str(value))


def _origin(places: list[dict[str, Any]]) -> str:
    said = [f"{place['file']}:{place['line']}" if place["kind"] == "file" else place["kind"] for place in places]
    return ", ".join(dict.fromkeys(said))
