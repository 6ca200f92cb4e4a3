"""`runbound log`, `clients`, `stats --top` and `--history`: what was asked, by whom, and how often.

Clients of the API like any other. Owns how an entry of the query log looks on a terminal. It must never print a name or
an address of the network but escaped.
"""

import json as json_
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

from cyclopts import App, Parameter

from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, Url, as_json, find, table
from runbound.cli.times import seconds
from runbound.errors import EXIT_OK, RunboundError

Action = Literal["resolved", "cached", "stale", "local", "blocked", "refused", "rejected", "dropped"]
Count = Annotated[int, Parameter(name=("--count", "-n"), help="How many, at most 1000.")]
ClientFlag = Annotated[str | None, Parameter(help="Only this one's: an address, a network, or a pseudonym.")]
PAUSE_SECONDS: Final = 1.0
"""Before a stream that broke off is asked for again."""

log = App(name="log", help="Look at the query log, follow it, have it forgotten.")


@log.default
def show(
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), negative="", show_default=False, help="Go on with new ones.")
    ] = False,
    count: Count = 20,
    action: Annotated[list[Action] | None, Parameter(help="Only what became this; may be repeated.")] = None,
    client: ClientFlag = None,
    name: Annotated[str | None, Parameter(help="Only this name and those below it.")] = None,
    type: Annotated[str | None, Parameter(help="Only this record type.")] = None,  # noqa: A002  # the flag's name
    rcode: Annotated[str | None, Parameter(help="Only this response code.")] = None,
    since: Annotated[str | None, Parameter(help="Only the last so long: 10m, 2h.")] = None,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print the last queries, the newest at the end."""
    given = {"client": client, "name": name, "type": type, "rcode": rcode, "since": _moment(since)}
    query = [(member, value) for member, value in given.items() if value is not None]
    query += [("action", one) for one in action or ()]
    if follow:
        for entry in _followed(conf, url, query, count):
            print(json_.dumps(entry) if json else _line(entry), flush=True)
        return EXIT_OK
    found = find(conf, url).get("/logs?" + urlencode([*query, ("limit", count)]))
    if json:
        return as_json(found)
    for entry in reversed(found["items"]):
        print(_line(entry))
    return EXIT_OK


@log.command
def erase(
    *,
    client: ClientFlag = None,
    all: Annotated[  # noqa: A002  # the flag's name
        bool, Parameter(name="--all", negative="", show_default=False, help="Forget everything.")
    ] = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Forget a client, or everything: in memory, in the lists, and in query-log-file. The audit log tells of it."""
    if (client is not None) == all:
        raise RunboundError("say whom to forget", fix="--client ADDRESS, or --all")
    found = find(conf, url).delete("/logs" + (f"?{urlencode({'client': client})}" if client is not None else ""))
    if json:
        return as_json(found)
    print(f"forgotten: {found['ring']} entries, {found['lists']} rows of lists, {found['file']} lines of the file")
    return EXIT_OK


def clients(
    client: Annotated[str | None, Parameter(help="Show this one, and what it asked last.")] = None,
    /,
    *,
    count: Count = 20,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print who asked most in the last hours."""
    api = find(conf, url)
    if client is not None:
        one = api.get(f"/clients/{quote(client, safe='')}")
        if json:
            return as_json(one)
        _counted("client", [one])
        for entry in reversed(one["recent"]):
            print(_line(entry))
        return EXIT_OK
    found = api.get(f"/clients?limit={count}")
    if json:
        return as_json(found)
    if found["addresses"] == "no":
        print("log-client-ip: no, so no client is known")
        return EXIT_OK
    return _counted("client", found["items"])


def top(found: Mapping[str, Any]) -> int:
    """Prints the names that were asked for most in the last hours."""
    return _counted("name", found["items"])


def history(found: Mapping[str, Any]) -> int:
    """Prints what the resolver did, minute by minute."""
    parts = ("queries", "cache_hits", "resolved", "expired", "blocked", "servfail")
    rows = [
        (
            time.strftime("%H:%M", time.localtime(point["time"])),
            *(point[part] for part in parts),
            "" if point["resolving_ms"] is None else f"{point['resolving_ms']:.1f} ms",
        )
        for point in found["points"]
    ]
    head = ("until", *(part.replace("_", " ") for part in parts), "resolving")
    return table(head, rows, right=range(1, 8))


def _counted(what: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """A table of what came how often."""
    return table(
        (what, "queries", "at least", "failed", "what became of them"),
        [
            (
                row[what],
                f"{row['queries']:.0f}",
                f"{math.floor(row['queries'] - row['error']):d}",
                f"{row['failed']:.0f}",
                ", ".join(f"{name} {count:.0f}" for name, count in sorted(row["actions"].items(), key=lambda a: -a[1])),
            )
            for row in rows
        ],
        right=(1, 2, 3),
    )


def _line(entry: Mapping[str, Any]) -> str:
    """`20:15:38.123 192.0.2.7 www.example.com. A cached NOERROR 12 µs udp secure`."""
    asked = "-" if entry["name"] is None else f"{entry['name']} {entry['type']}"
    if entry["class"] not in (None, "IN"):
        asked += f" {entry['class']}"
    parts = (
        _clock(entry["time"]),
        entry["client"] or "-",
        asked,
        entry["action"],
        entry["rcode"] or "-",
        _took(entry["latency_us"]),
        entry["transport"],
        entry["security"] or "-",
    )
    return clean(" ".join(parts))


def _clock(text: str) -> str:
    """The time of day, as the log has it: UTC."""
    return text[11:23]


def _took(us: int) -> str:
    return f"{us} µs" if us < 1000 else f"{us / 1000:.1f} ms"


def _moment(since: str | None) -> str | None:
    """So long ago, as RFC 3339 has it."""
    if since is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds(since, "--since")))


def _followed(conf: str | None, url: str | None, query: list[tuple[str, str]], count: int) -> Iterator[dict[str, Any]]:
    """The entries of the stream, as long as the resolver is there. One that breaks off is taken up where it was."""
    seen: str | None = None
    while True:
        path = "/logs/stream?" + urlencode([*query, ("backlog", min(count, 500))])
        headers = {} if seen is None else {"Last-Event-ID": seen}
        for event in _events(find(conf, url).download(path, headers)):
            seen = event.get("id", seen)
            if "data" in event:
                yield from json_.loads(event["data"])["entries"]
        time.sleep(PAUSE_SECONDS)


def _events(blocks: Iterator[bytes]) -> Iterator[dict[str, str]]:
    """Server-sent events (WHATWG HTML, section 9.2.6), as far as the API uses them."""
    rest = b""
    for block in blocks:
        *events, rest = (rest + block).split(b"\n\n")
        for event in events:
            lines = (line.partition(": ") for line in event.decode().split("\n"))
            yield {name: value for name, _, value in lines if name}
