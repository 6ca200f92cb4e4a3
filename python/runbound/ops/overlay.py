"""What the state says about the configuration, as the layer that is laid over the operator's file.

Owns which options may be set that way, how they are kept, and the text they become, which is read and checked like a
file. It must never judge a value: the configuration room does, and says where it stands.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runbound.config import options
from runbound.config.layers import Above, Server, words
from runbound.config.options import Option
from runbound.config.values import canonical_name
from runbound.ops.refusals import NotByApi
from runbound.state.entries import Edit, StoredEntry, canonical

LAID: Final = ("setting", "upstream")
"""Kinds that are laid over the file."""
CLAUSE: Final = "server"
"""The clause whose options can be set."""
FILE_ONLY: Final = frozenset(
    {
        # said before the state is found
        *("state-dir", "directory", "chroot", "username", "pidfile", "use-systemd", "do-daemonize"),
        # whoever sets one of these wrongly could not come back to set it right
        *("api-enable", "api-interface", "api-port", "api-socket"),
        # whoever is watched by the audit log does not turn it off
        *("audit-log", "audit-log-syslog", "audit-log-journald", "audit-checkpoint-every"),
        # where keys come from decides who is admin, and the URI may hold the PIN
        *("hsm-uri", "hsm-slot", "hsm-token-label", "hsm-token-serial", "hsm-mode", "hsm-timeout", "hsm-final-try"),
        *("hsm-api-key-label", "hsm-store-key-label", "hsm-audit-key-label"),
        # what makes forged answers pass is for tests, and their files
        *("fake-sha1", "fake-dsa"),
    }
)
"""Options that the file alone can set."""
FILE_TYPES: Final = frozenset({"file", "directory", "glob"})
"""Types of values that name files: which files a resolver opens, its operator says in a file."""
MAX_VALUES: Final = 1000
"""Values of one option: a list longer than this belongs in the file."""


def settable(name: str) -> Option:
    """The option of that name, under its canonical one. Raises NotByApi if only the file can set it."""
    found = options.find(CLAUSE, name)
    if found is None or (not options.canonical(found).in_model and found.name not in options.BULK):
        raise NotByApi(f"{name}: there is no such option of {CLAUSE}:", fix="GET /config lists those that there are")
    option = options.canonical(found)
    if option.name in options.SECRETS:
        raise NotByApi(f"{name}: a secret is not kept with the settings", fix="set it in the file or the environment")
    if option.name in options.BULK:
        raise NotByApi(f"{name}: local data are records here", fix="POST /dns, or /blacklist")
    if option.name in FILE_ONLY or not FILE_TYPES.isdisjoint(option.types):
        raise NotByApi(f"{name}: can be set in the configuration file alone", fix="edit the file and reload")
    return option


def setting(name: str, values: Sequence[str] | None) -> Edit:
    """The edit that sets an option to these values, each as the file would say it; None leaves it to the file.

    Raises NotByApi for an option that cannot be set, and for a value that no file could say.
    """
    option = settable(name)
    key = f"{CLAUSE}/{option.name}".encode()
    if values is None:
        return Edit("setting", key, None)
    try:
        for value in values:
            words(_split(option, value))
    except ValueError as error:
        raise NotByApi(f"{name}: {error}") from error
    return Edit("setting", key, canonical({"clause": CLAUSE, "option": option.name, "values": list(values)}))


def after(entries: Iterable[StoredEntry], edits: Iterable[Edit]) -> list[StoredEntry]:
    """What is laid over the file once these edits are made."""
    found = {(entry.kind, entry.key): entry for entry in entries}
    for edit in edits:
        found = {name: entry for name, entry in found.items() if edit.id is None or entry.id != edit.id}
        found.pop((edit.kind, edit.key), None)
        if edit.doc is not None and edit.kind in LAID:
            doc = msgspec.json.decode(edit.doc)
            found[edit.kind, edit.key] = StoredEntry(edit.id or 0, edit.kind, edit.key, doc, 0)
    return list(found.values())


def above(entries: Iterable[StoredEntry]) -> Above:
    """The layer that these settings and upstream servers are."""
    lines: list[str] = []
    replaced: set[tuple[str, str]] = set()
    zones: dict[str, list[StoredEntry]] = {}
    servers: list[Server] = []
    for entry in sorted(entries, key=lambda entry: (entry.kind, entry.key)):
        if entry.kind == "setting":
            replaced.add((entry.doc["clause"], entry.doc["option"]))
            option = options.find(entry.doc["clause"], entry.doc["option"])
            for value in entry.doc["values"] if option is not None else ():
                assert option is not None
                lines += [] if lines else [f"{CLAUSE}:"]
                lines.append(f"    {entry.doc['option']}: {words(_split(option, value))}")
        elif entry.kind == "upstream":
            servers.append(_server(entry))
            if servers[-1].enabled:
                zones.setdefault(servers[-1].zone, []).append(entry)
    for zone, found in zones.items():
        lines += ["forward-zone:", f"    name: {words([zone])}"]
        lines += [f"    forward-addr: {words([_address(entry)])}" for entry in found]
        ways = {entry.doc["transport"] for entry in found}
        lines += ["    forward-tcp-upstream: yes"] if "tcp" in ways else []
        lines += ["    forward-tls-upstream: yes"] if "dot" in ways else []
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return Above(text, frozenset(replaced), tuple(servers))


def _server(entry: StoredEntry) -> Server:
    doc = entry.doc
    zone = canonical_name(doc["zone"])
    return Server(zone, doc["address"], doc["port"], doc["transport"] == "tcp", doc.get("enabled", True))


def _address(entry: StoredEntry) -> str:
    doc = entry.doc
    name = f"#{doc['tls_name']}" if doc.get("tls_name") else ""
    return f"{doc['address']}@{doc['port']}{name}"


def _split(option: Option, value: str) -> list[str]:
    """The words of a value: an option that takes several is written with blanks between them, as in the file."""
    parts = value.split(None, option.arity - 1) if option.arity > 1 else [value]
    return [part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part for part in parts]
