"""`runbound explain`: one question, with everything that happened to it.

Owns how an explanation looks on a terminal: a timeline, and the chain of trust as a tree. What happened and what it
means comes from the API; what comes from the network is printed with control characters escaped.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from runbound.cli import remote
from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Asked, AskedType, Conf, Unchecked, Url
from runbound.errors import EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

ROOM_COLOURS: Final = {"access": "magenta", "policy": "magenta", "cache": "cyan", "validate": "blue", "end": "bold"}
"""Colours of the rooms; the others have none."""
STEP_COLOURS: Final = {
    "useless": "yellow",
    "silent": "yellow",
    "unreachable": "yellow",
    "turns": "yellow",
    "failed": "red",
}
"""Colours of steps that went wrong."""
SECURITY_COLOURS: Final = {"secure": "green", "insecure": "yellow", "bogus": "red", "indeterminate": "yellow"}
MARKS: Final = {"secure": "✓", "insecure": "○", "bogus": "✗"}
PROOFS: Final = ("nsec", "nsec3")
DENIES: Final = {
    "name": "does not exist",
    "type": "there are no such records",
    "closer": "nothing is closer than the wildcard",
}
"""What a proof says."""
SENDS: Final = ("asks", "asks-again")
"""Steps in which a packet leaves."""
GUIDE: Final = "│ "
"""What stands before the steps of a question that another one waits for, once for each that waits."""
WRAP: Final = 1 << 32
"""Times of signatures are seconds modulo this (RFC 4034 3.1.5)."""


def explain(
    name: Asked,
    type: AskedType = "A",  # noqa: A002  # the name on the command line
    /,
    *,
    client: Annotated[str, Parameter(help="The address of the client whose eyes it is seen with.")] = "127.0.0.1",
    fresh: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="As if nothing were known; the cache is neither read nor changed."
        ),
    ] = False,
    all_: Annotated[
        bool,
        Parameter(
            name="--all",
            negative="",
            show_default=False,
            help="Show what happened to questions for addresses of name servers too, step by step.",
        ),
    ] = False,
    cd: Unchecked = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Resolve one name in the running resolver and tell every step: rules, cache, servers, chain of trust."""
    body = {"name": name, "type": type, "client": client, "fresh": fresh, "checking_disabled": cd}
    found = remote.find(conf, url).post("/dns/explain", body)
    if json:
        return remote.as_json(found)
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else remote.WIDE, highlight=False)
    print(_headline(found))
    remote.troubles(found)
    print()
    steps = list(found["steps"])
    shown = steps if all_ else _folded(steps)
    _timeline(console, shown)
    if len(shown) < len(steps):
        print(f"questions for addresses are folded, {len(steps) - len(shown)} steps: --all shows them")
    if found["from_cache"]:
        print("from the cache: --fresh shows how it is found")
    if found["steps_left_out"]:
        print(f"and {found['steps_left_out']} steps more")
    if found["chain"]:
        print()
        for tree in _chain(found["chain"]):
            console.print(tree)
    if found["answers"] or found["authority"] or found["additional"]:
        print()
        remote.records(found)
    return EXIT_OK


def _headline(found: Mapping[str, Any]) -> str:
    took = f"{found['elapsed_ms']:.1f} ms"
    asked = f"{clean(found['name'])} {clean(found['type'])}"
    if found["end"] == "dropped":
        return f"{asked}: no answer is sent to {found['client']}"
    if found["end"] == "open":
        return f"{asked}: no answer within {took}"
    truth = "" if found["security"] == "unchecked" else f" {found['security']},"
    return f"{asked}: {clean(found['status'])},{truth} {took}"


def _folded(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps without those of questions for addresses.

    One that cost packets keeps a line where it ended; one that the cache answered is not worth that.
    """
    tops: dict[int, int] = {}
    for step in steps:
        if step["what"] == "wants" and (asked := step["data"].get("question")) is not None:
            inside = tops.get(step["question"])
            if inside is not None or step["data"].get("purpose") in ("address", "glue"):
                tops.setdefault(asked, asked if inside is None else inside)
    packets = Counter(tops[step["question"]] for step in steps if step["what"] in SENDS and step["question"] in tops)
    ended = {step["question"] for step in steps if step["room"] == "end"}
    shown: list[Mapping[str, Any]] = []
    for step in steps:
        top, asked = tops.get(step["question"]), step["data"].get("question")
        if top is None:
            if asked not in tops or packets[tops[asked]] or asked not in ended:
                shown.append(step)
        elif top == step["question"] and step["room"] == "end" and step["what"] != "late" and packets[top]:
            cost = f"{packets[top]} packet{'' if packets[top] == 1 else 's'}"
            shown.append({**step, "text": f"{step['name']} {step['type']}: {step['text']} ({cost})", "folded": True})
    return shown


def _timeline(console: "Console", steps: Iterable[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    at, about = None, None
    for step in steps:
        guide = GUIDE * step["depth"]
        now = about if step.get("folded") else (step["question"], step["name"], step["type"])
        if about is not None and now != about and step["question"] != 0 and about[0] != 0:
            table.add_row("", "", Text(f"{guide}{clean(step['name'])} {clean(step['type'])}", style="bold dim"))
        when = f"{step['at_ms']} ms" if step["at_ms"] != at else ""
        at, about = step["at_ms"], now
        room = Text(step["room"], style=ROOM_COLOURS.get(step["room"], ""))
        table.add_row(when, room, Text(guide, style="dim").append(clean(step["text"]), style=_colour(step)))
    console.print(table)


def _colour(step: Mapping[str, Any]) -> str:
    """Of a step: what validation says of it, or whether it went wrong."""
    if step["room"] == "validate":
        return SECURITY_COLOURS.get(step["data"].get("security") or "", "")
    if step["room"] == "end" and step["what"] == "answered":
        return "bold"
    return STEP_COLOURS.get(step["what"], "")


def _chain(links: Iterable[Mapping[str, Any]]) -> "Iterable[Tree]":
    """The trees of zones, one for each place where a chain begins."""
    from rich.tree import Tree

    roots: list[Tree] = []
    zones: dict[str, Tree] = {}
    for link in links:
        label = _label(link)
        above = zones.get(link["under"] or "")
        if above is None:
            roots.append(node := Tree(label))
        else:
            node = above.add(label)
        if link["type"] is None:
            zones[link["name"]] = node
            for line in _below(link):
                node.add(line)
    return roots


def _label(link: Mapping[str, Any]) -> "Text":
    from rich.text import Text

    colour = SECURITY_COLOURS.get(link["security"], "")
    what = clean(link["name"]) if link["type"] is None else f"{clean(link['name'])} {clean(link['type'])}"
    label = Text.assemble(
        (f"{MARKS.get(link['security'], '?')} ", colour), (what, "bold"), " ", (link["security"], colour)
    )
    if link["type"] is None and link["security"] == "insecure" and link["by"] in PROOFS:
        label.append(f", unsigned, as {link['by'].upper()} above it proves")
    if link["denies"] is not None:
        label.append(f", {DENIES[link['denies']]}")
        label.append(f", by {link['by'].upper()}" if link["by"] in PROOFS else "")
    elif link["type"] is not None and link["signature"] is not None:
        label.append(f", {_signed(link['signature'])}")
    if link["wildcard"]:
        label.append(f", made from {clean(link['wildcard'])}")
    if link["reason"]:
        label.append(f": {clean(link['reason'])}", style=colour)
    return label


def _below(link: Mapping[str, Any]) -> "Iterable[Text]":
    """The keys of a zone and who vouches for them."""
    from rich.text import Text

    for ds in link["ds"]:
        what = "anchor" if link["by"] == "anchor" else "DS"
        kind = " ".join(filter(None, (ds["algorithm_name"], ds["digest_name"])))
        yield Text(f"{what} {ds['tag']} {kind}", style="dim")
    if link["signature"] is not None and link["type"] is None:
        yield Text(f"the DS is {_signed(link['signature'])}", style="dim")
    for key in link["keys"]:
        notes = [f"{key['bits']} bits"] if key["bits"] else []
        notes += ["named"] if key["named"] else []
        notes += ["signs the keys"] if key["signed"] else []
        role = "KSK" if key["flags"] & 1 else "ZSK"
        yield Text(f"{role} {key['tag']} {key['algorithm_name']} ({', '.join(notes)})", style="dim")


def _signed(signature: Mapping[str, Any]) -> str:
    now = int(time.time())
    ahead = (signature["until"] - now) % WRAP
    until = now + (ahead if ahead < WRAP // 2 else ahead - WRAP)
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(until))
    return f"signed by {signature['tag']} {signature['algorithm_name']} of {clean(signature['zone'])} until {day}"
