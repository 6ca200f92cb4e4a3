"""Names as tuples of lower-case labels from the root down, so that tuples sort as DNSSEC sorts names (RFC 4034 6.1).

Owns the conversion and a few questions about such keys. `(b"", b"lab", b"www")` is www.lab.; a parent is `key[:-1]`,
a name is below another when it begins with it.
"""

from __future__ import annotations

import dns.name

Key = tuple[bytes, ...]

ROOT: Key = (b"",)


def key_of(name: dns.name.Name) -> Key:
    """The key of an absolute name."""
    return tuple(label.lower() for label in reversed(name.labels))


def name_of(key: Key) -> dns.name.Name:
    """The name of a key, in lower case."""
    return dns.name.Name(tuple(reversed(key)))


def is_below(key: Key, top: Key) -> bool:
    """Whether a name is at or below another."""
    return key[: len(top)] == top


def text_of(key: Key) -> str:
    """A key as people write names."""
    return name_of(key).to_text()
