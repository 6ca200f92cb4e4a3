"""The JSON stores of the 0.4 line, read into today's documents.

`dns_entries.json` and `blacklist.json` hold one object with a list `entries`. What a record says was spread over a
member for each field of its type; here it becomes the value as a zone file has it. This module must never guess: an
entry that lacks a member is an error that names it.
"""

from typing import Any, Final

from runbound.errors import RunboundError

PLAIN: Final = ("A", "AAAA", "CNAME", "TXT", "PTR", "NS")
"""Types whose value stood in one member."""
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "MX": ("priority", "value"),
    "SRV": ("priority", "weight", "port", "value"),
    "SSHFP": ("algorithm", "fp_type", "fingerprint"),
    "TLSA": ("cert_usage", "selector", "matching_type", "cert_data"),
}
"""The members that make up the value of the other types, in their order."""
MAX_COMMENT: Final = 200
"""Characters of a description that are kept."""


def is_store(document: object) -> bool:
    """Whether it looks like a store of the 0.4 line."""
    return isinstance(document, dict) and isinstance(document.get("entries"), list)


def convert(document: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The kind of a store's entries, and each as a document of today. Raises RunboundError."""
    entries = document["entries"]
    kind = "block" if entries and isinstance(entries[0], dict) and "domain" in entries[0] else "record"
    return kind, [_entry(kind, number, entry) for number, entry in enumerate(entries, 1)]


def _entry(kind: str, number: int, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise RunboundError("it is no object", f"entry {number}")
    try:
        found = _block(entry) if kind == "block" else _record(entry)
    except KeyError as error:
        raise RunboundError(f"it has no member {error}", f"entry {number}") from error
    except RunboundError as error:
        raise RunboundError(error.what, f"entry {number}") from error
    comment = " ".join(str(entry.get("description") or "").split())[:MAX_COMMENT]
    return {**found, "comment": comment} if comment else found


def _block(entry: dict[str, Any]) -> dict[str, Any]:
    return {"name": _absolute(entry["domain"]), "action": str(entry["action"]).lower()}


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    kind = str(entry["type"]).upper()
    return {"name": _absolute(entry["name"]), "type": kind, "ttl": entry["ttl"], "value": _value(kind, entry)}


def _value(kind: str, entry: dict[str, Any]) -> str:
    if kind in PLAIN:
        return str(entry["value"])
    if kind in FIELDS:
        return " ".join(str(entry[member]) for member in FIELDS[kind])
    if kind == "CAA":
        return f"{entry.get('flags') or 0} {entry['tag']} {_quoted(entry['value'])}"
    if kind == "NAPTR":
        texts = " ".join(_quoted(entry.get(member) or "") for member in ("flags_naptr", "services", "regexp"))
        return f"{entry['order']} {entry['preference_naptr']} {texts} {entry.get('replacement') or '.'}"
    raise RunboundError(f"records of type {kind} were never in such a store")


def _absolute(name: object) -> str:
    text = str(name)
    return text if text.endswith(".") else f"{text}."


def _quoted(text: object) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
