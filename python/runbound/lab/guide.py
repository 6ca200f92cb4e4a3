"""What people are told about the lab: the table of zones, and files for the resolver of their choice.

Owns every text and file that leaves the lab: root hints, trust anchor, configurations. It must never start anything.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import dns.name
import dns.rdatatype
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from runbound.lab.names import ROOT
from runbound.lab.world import RESOLVER, VALIDATOR

if TYPE_CHECKING:
    from runbound.lab.world import World
    from runbound.lab.zone import Zone

PORT: Final = 5335
"""Where the resolvers of our configurations listen."""
HINTS: Final = "root.hints"
ANCHOR: Final = "root.key"
COLOURS: Final = {"secure": "green", "insecure": "yellow", "bogus": "red", "lost": "magenta"}
CONFIGS: Final = ("unbound", "runbound")
LINE: Final = 500
"""Columns that the table may take at most."""
FOLDER: Final = ".runbound/lab"


def hints(world: World) -> str:
    """Root hints: the root's servers and their addresses, as a zone file."""
    lines = ["; Root hints of the lab."]
    for server in world.servers.values():
        if ROOT in server.zones:
            lines.append(f". 3600000 IN NS {server.name}")
            lines += [
                f"{server.name} 3600000 IN {'AAAA' if ':' in address else 'A'} {address}"
                for address in server.addresses
            ]
    return "\n".join(lines) + "\n"


def anchor(world: World) -> str:
    """The trust anchor: the root's key that signs keys. The same at every start."""
    keys = world.zones[ROOT].keys.dnskeys()
    entry_points = [key for key in keys if key.flags & 1]
    lines = ["; Trust anchor of the lab: everybody knows its private half, so trust it nowhere else."]
    lines += [f". 3600 IN DNSKEY {key.to_text(chunksize=0)}" for key in entry_points]
    return "\n".join(lines) + "\n"


def bind_anchor(world: World) -> str:
    """The same for delv: its file has a form of its own."""
    keys = world.zones[ROOT].keys.dnskeys()
    rows = [
        f'    . static-key {key.flags} {key.protocol} {int(key.algorithm)} "{key.to_text(chunksize=0).split()[-1]}";'
        for key in keys
        if key.flags & 1
    ]
    return "\n".join(["trust-anchors {", *rows, "};", ""])


def config(kind: str, world: World, port: int, folder: str) -> str:
    """A configuration for Unbound or runbound that resolves this world and listens on 127.0.0.1 port 5335."""
    folder = os.path.abspath(folder)
    lines = [
        f"# Resolves the lab's world. Made by `runbound lab --config {kind}`; the lab has to run.",
        "server:",
        f"    interface: 127.0.0.1@{PORT}",
        '    username: ""',
        '    chroot: ""',
        '    pidfile: ""',
        f'    directory: "{folder}"',
        "    use-syslog: no",
        *([] if kind == "runbound" else ["    do-daemonize: no"]),
        "    do-not-query-localhost: no",
    ]
    if kind == "runbound":
        # A socket in the folder can be reached from inside and outside of a namespace.
        lines += ['    state-dir: "state"', '    api-socket: "api.sock"']
    lines.append(f'    trust-anchor-file: "{os.path.join(folder, ANCHOR)}"')
    # The world has a zone among those that resolvers answer themselves because nobody should ask for them.
    lines += [
        f'    local-zone: "{zone.name}" nodefault'
        for zone in world.zones.values()
        if zone.name.to_text().endswith("arpa.")
    ]
    if port == 53:  # a delegation names no port
        lines.append(f'    root-hints: "{os.path.join(folder, HINTS)}"')
    else:
        lines += ["forward-zone:", '    name: "."', f"    forward-addr: {world.place(RESOLVER)}@{port}"]
    return "\n".join([*lines, ""])


def write(world: World, port: int, folder: str) -> None:
    """Writes hints, anchors, configurations and a resolv.conf into a folder. Raises OSError."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    files = {
        HINTS: hints(world),
        ANCHOR: anchor(world),
        "bind.keys": bind_anchor(world),
        "resolv.conf": f"nameserver {world.place(VALIDATOR)}\noptions edns0\n",
        **{f"{kind}.conf": config(kind, world, port, folder) for kind in CONFIGS},
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def table(world: World, port: int, console: Console) -> None:
    """Prints the zones that teach something: what a validating resolver makes of each, and lines to try."""
    shown = Table(title="Zones of the lab", title_justify="left", box=None, pad_edge=False)
    shown.add_column("zone", no_wrap=True, style="bold")
    shown.add_column("is", no_wrap=True)
    shown.add_column("what it teaches, and what to try", no_wrap=True)
    for zone in world.zones.values():
        if zone.entry.teaches:
            verdict = world.verdict(zone)
            tries = [f"[cyan]{line}[/]" for line in digs(world, zone, port)]
            shown.add_row(
                zone.name.to_text(),
                f"[{COLOURS[verdict]}]{verdict}[/]",
                "\n".join([escape(zone.entry.teaches), *tries]),
            )
    # As wide as it is: a line to type is of no use in two pieces, and a narrow terminal breaks it by itself.
    console.width = max(console.width, Measurement.get(console, console.options.update(width=LINE), shown).maximum)
    console.print(shown, crop=False)


def digs(world: World, zone: Zone, port: int) -> list[str]:
    """Lines to type, one for each question of a zone."""
    at = f"@{world.place(VALIDATOR)}" + ("" if port == 53 else f" -p {port}")
    lines = []
    for question in zone.entry.ask:
        name, rdtype = question.split()
        full = dns.name.from_text(name, zone.name)
        lines.append(f"dig {at} {full} {dns.rdatatype.from_text(rdtype).name}")
    return lines


def introduction(world: World, port: int, folder: str, namespace: str | None) -> str:
    """What stands below the table: who is where, and where the files are."""
    tail = "" if port == 53 else f" port {port}"
    at = f"@{world.place(RESOLVER)}" + ("" if port == 53 else f" -p {port}")
    enter = f"ip netns exec {namespace} " if namespace else ""
    lines = [
        "",
        f"A resolver that knows this world:     {world.place(RESOLVER)}{tail}",
        f"the same, validating (AD, SERVFAIL):  {world.place(VALIDATOR)}{tail}",
        f"root servers:                         {', '.join(_roots(world))}{tail}",
        f"root hints and trust anchor:          {os.path.join(folder, HINTS)}, {os.path.join(folder, ANCHOR)}",
        "",
        "Put a resolver of your own before it, listening on 127.0.0.1 port 5335:",
        f"  {enter}unbound -d -c {os.path.join(folder, 'unbound.conf')}",
        f"  {enter}runbound -c {os.path.join(folder, 'runbound.conf')}",
        "",
        "Validate yourself:",
        f"  {enter}delv {at} -a {os.path.join(folder, 'bind.keys')} +root www.signed.lab",
    ]
    if port != 53:
        lines.append(
            "Delegations name no port, so here a resolver can only forward; with --namespace NAME, or as root with"
            " --port 53, it can walk from the root."
        )
    return "\n".join([*lines, "", "Ctrl-C ends it.", ""])


def _roots(world: World) -> list[str]:
    return [address for server in world.servers.values() if ROOT in server.zones for address in server.addresses]
