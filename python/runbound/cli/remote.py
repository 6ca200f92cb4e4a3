"""The commands that ask the running resolver: `stats`, `cache`, `lookup`, `upstreams`.

Clients of the API like any other. Each prints a table for people, or with `--json` what the API said. What comes from
the network (names, texts of other servers) is printed with control characters escaped, so that nobody writes to the
terminal but us.
"""

import json as json_  # every command takes a flag of that name
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from runbound.cli import client, default_config
from runbound.cli.client import clean
from runbound.errors import EXIT_OK, RunboundError

Conf = Annotated[
    str | None, Parameter(name=("--conf", "-c"), help="The configuration the resolver runs on; default as for a start.")
]
Url = Annotated[
    str | None, Parameter(name="--url", help="The API's address instead, with the key in RUNBOUND_API_KEY.")
]
Asked = Annotated[str, Parameter(help="The name; Unicode is turned into A-labels.")]
AskedType = Annotated[str, Parameter(help="The record type.")]
Unchecked = Annotated[
    bool, Parameter(name="--cd", negative="", show_default=False, help="Take data that fails validation too.")
]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print what the API said, as JSON.")
]
Reason = Annotated[str, Parameter(help="Why, for the history and the audit log.")]
DryRun = Annotated[
    bool, Parameter(name="--dry-run", negative="", show_default=False, help="Only say what would change.")
]

WIDE: Final = 240
"""Columns of a table that no terminal shows, so that nothing is cut for a program."""
END: Final = b"EOF\n"
"""How a whole dump ends."""

cache = App(name="cache", help="Look at the cache of the running resolver, flush it, save it, load it.")


def stats(
    *,
    top: Annotated[
        Literal["all", "blocked", "failed"] | None,
        Parameter(help="Print the names that come most instead: all, those blocked, or those that failed."),
    ] = None,
    history: Annotated[int | None, Parameter(help="Print so many minutes instead, one by one; at most 1440.")] = None,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print the counters, under Unbound's names, with how fast they grow (per second, over the last minute)."""
    path = f"/stats/top-domains?kind={top}" if top else f"/stats/history?minutes={history}" if history else "/stats"
    found = find(conf, url).get(path)
    if json:
        return as_json(found)
    if top or history:
        from runbound.cli import logs

        return logs.top(found) if top else logs.history(found)
    rates = found["rates"]
    rows = [
        (name, _figure(name, value), rates.get(name, ""))
        for name, value in found["counters"].items()
        if value or not name.startswith("histogram.")
    ]
    return table(("counter", "value", "per second"), rows, right=(1, 2))


def lookup(
    name: Asked,
    type: AskedType = "A",  # noqa: A002  # the name on the command line
    /,
    *,
    cd: Unchecked = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Resolve one name in the running resolver, as it would for a client, and tell how it went."""
    body = {"name": name, "type": type, "checking_disabled": cd}
    found = find(conf, url).post("/dns/lookup", body)
    if json:
        return as_json(found)
    source = "expired, from the cache" if found["stale"] else "from the cache" if found["from_cache"] else "resolved"
    print(
        f"{clean(found['name'])} {clean(found['type'])}: {clean(found['status'])}, "
        f"{source} in {found['elapsed_ms']:.1f} ms, {clean(found['security'])}"
    )
    troubles(found)
    records(found)
    return EXIT_OK


@cache.command(name="stats")
def cache_stats(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print how full the caches are and how often they knew."""
    found = find(conf, url).get("/cache/stats")
    if json:
        return as_json(found)
    parts = ("entries", "bytes", "limit_bytes", "hits", "misses", "evictions")
    rows = [(kind, *(found[kind][part] for part in parts)) for kind in ("message", "rrset")]
    table(("cache", *(part.replace("_", " ") for part in parts)), rows, right=range(1, 7))
    print(f"{found['stale_hits']} expired entries served")
    return EXIT_OK


@cache.command
def flush(
    what: Literal["all", "zone", "name", "type", "negative", "bogus", "infra"],
    name: Annotated[str | None, Parameter(help="For zone, name and type.")] = None,
    type: Annotated[str | None, Parameter(help="For type.")] = None,  # noqa: A002  # the name on the command line
    /,
    *,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Remove entries: `flush all`, `flush zone example.com`, `flush name example.com`, `flush type example.com MX`."""
    given = {"name": name, "type": type}
    body = {"what": what, **{part: value for part, value in given.items() if value is not None}}
    found = find(conf, url).post("/cache/flush", body)
    if json:
        return as_json(found)
    print(f"{found['removed']} removed")
    return EXIT_OK


@cache.command
def dump(
    file: Annotated[Path | None, Parameter(help="Where to write it; standard output if there is none.")] = None,
    /,
    *,
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Write the cache as text, in the form of `unbound-control dump_cache`."""
    blocks = find(conf, url).download("/cache/dump")
    first = next(blocks, b"")  # an API that refuses leaves the file of last time as it is
    end = b""
    try:
        with ExitStack() as stack:
            out = sys.stdout.buffer
            if file is not None:
                # A dump tells what clients ask for, so others may not read it.
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                out = stack.enter_context(open(fd, "wb"))
            for octets in chain((first,), blocks):
                out.write(octets)
                end = (end + octets)[-len(END) :]
            out.flush()
    except BrokenPipeError:
        raise  # who reads our output has seen enough
    except OSError as error:
        raise RunboundError(f"cannot write it: {error.strerror}", str(file or "standard output")) from error
    if end != END:
        raise RunboundError("the dump has no end: the resolver broke off", str(file or ""))
    return EXIT_OK


@cache.command(name="load")
def load_(
    file: Annotated[Path, Parameter(help="A dump of runbound or of unbound-control.")],
    /,
    *,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Read a dump into the cache of the running resolver."""
    try:
        with open(file, "rb") as source:
            found = find(conf, url).upload("/cache/load", source)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", str(file)) from error
    if json:
        return as_json(found)
    print(f"{found['rrsets']} RRsets and {found['messages']} messages loaded, {found['refused']} lines refused")
    return EXIT_OK


def troubles(found: Mapping[str, Any]) -> None:
    """Prints why there is no good answer."""
    for error in found["ede"]:
        text = f": {clean(error['text'])}" if error["text"] else ""
        print(f"  EDE {error['code']} ({clean(error['name'])}){text}")
    if found["why"]:
        print(f"  {clean(found['why'])}")


def records(found: Mapping[str, Any]) -> None:
    """Prints the sections of an answer."""
    for title, part in (("answer", "answers"), ("authority", "authority"), ("additional", "additional")):
        if found[part]:
            rows = [[record[field] for field in ("name", "ttl", "class", "type", "data")] for record in found[part]]
            table((title, "ttl", "class", "type", "data"), rows, right=(1,))


def find(conf: str | None, url: str | None) -> client.Client:
    """The API of the resolver that the flags name."""
    if url is not None and conf is not None:
        raise RunboundError("-c and --url name two resolvers", fix="leave out one of them")
    return client.at_url(url) if url is not None else client.of_configuration(conf or default_config())


def _figure(name: str, value: int) -> str:
    """A counter as Unbound writes it: times in seconds, averages with a fraction."""
    if name.startswith("total.recursion.time."):
        return f"{value / 1_000_000:.6f}"
    return f"{value / 1000:g}" if name == "total.requestlist.avg" else str(value)


def as_json(found: object) -> int:
    """Prints what the API said."""
    print(json_.dumps(found, indent=2))
    return EXIT_OK


def table(head: Sequence[str], rows: Iterable[Iterable[object]], right: Iterable[int] = ()) -> int:
    """Prints a table; `right` are the columns of numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=True)
    sides = set(right)
    for number, title in enumerate(head):
        table.add_column(title, justify="right" if number in sides else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDE, highlight=False).print(table)
    return EXIT_OK
