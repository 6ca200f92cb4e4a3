"""PKCS#11 URIs (RFC 7512): the text into what it names, and back.

Owns the grammar and which attributes have a meaning here. A PIN in the URI is refused, and never stands in a message.
This module must never look at the system.
"""

import re
from typing import Final
from urllib.parse import quote_from_bytes

import msgspec

SCHEME: Final = "pkcs11:"
TEXTS: Final = {"token": 32, "manufacturer": 32, "serial": 16, "model": 16, "object": 256}
"""Attributes of the path that are texts, and how many octets a token has for each; an object's label has no bound in
PKCS#11, and none of this length is a label."""
TYPES: Final = ("secret-key", "data", "private")
"""Types of objects that may hold a key of ours."""
PLACES: Final = ("module-path", "module-name", "pin-source")
"""Attributes of the query."""

_UNUSED: Final = {
    "slot-id": "modules number their slots anew; name token= or serial=, or the place with hsm-slot:",
    "slot-description": "name token= or serial=",
    "slot-manufacturer": "name token= or serial=",
    "library-manufacturer": "name the module with hsm-pkcs11-lib: or module-path=",
    "library-description": "name the module with hsm-pkcs11-lib: or module-path=",
    "library-version": "name the module with hsm-pkcs11-lib: or module-path=",
}
_PIN_VALUE: Final = "write the PIN to a file (chmod 600) and name it: ?pin-source=file:/etc/runbound/hsm.pin"
_PATH_CHARS: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY_CHARS: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*", re.ASCII)
_PATH_SAFE: Final = "-._~:[]@!$'()*+,=&"
_QUERY_SAFE: Final = "-._~:[]@!$'()*+,=/?|"


class BadUriError(ValueError):
    """The text is no URI that can be used: what is wrong and what to write instead."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class Pkcs11Uri(msgspec.Struct, frozen=True, kw_only=True):
    """What a URI names. None is what it does not say."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    type: str | None = None
    """One of TYPES."""
    module_path: str | None = None
    module_name: str | None = None
    pin_source: str | None = None
    """Absolute path of the file with the PIN."""

    def __str__(self) -> str:
        path = [f"{name}={_coded(value, _PATH_SAFE)}" for name in TEXTS if (value := getattr(self, name)) is not None]
        if self.id is not None:
            path.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        if self.type is not None:
            path.append(f"type={self.type}")
        query = []
        if self.module_path is not None:
            query.append(f"module-path={_coded(self.module_path, _QUERY_SAFE)}")
        if self.module_name is not None:
            query.append(f"module-name={_coded(self.module_name, _QUERY_SAFE)}")
        if self.pin_source is not None:
            query.append(f"pin-source=file:{_coded(self.pin_source, _QUERY_SAFE)}")
        return SCHEME + ";".join(path) + ("?" + "&".join(query) if query else "")


def parse(text: str) -> Pkcs11Uri:
    """Reads a URI. Raises BadUriError, whose words never show a PIN."""
    if text[: len(SCHEME)].lower() != SCHEME:
        raise BadUriError("it does not start with pkcs11:", "write pkcs11:token=NAME;object=LABEL (RFC 7512)")
    path, _, query = text[len(SCHEME) :].partition("?")
    found: dict[str, str | bytes] = {}
    for part in path.split(";") if path else ():
        name, value = _split(part, _PATH_CHARS)
        _once(found, name)
        found[name] = _path_value(name, value)
    for part in query.split("&") if query else ():
        # Before anything that may quote the part: a PIN is not repeated.
        if part.partition("=")[0].lower() == "pin-value":
            raise BadUriError("pin-value= puts the PIN where the file is read", _PIN_VALUE)
        name, value = _split(part, _QUERY_CHARS)
        _once(found, name)
        found[name] = _query_value(name, value)
    if "module-path" in found and "module-name" in found:
        raise BadUriError("module-path= and module-name= both name the module", "leave one of them out")
    return msgspec.convert({name.replace("-", "_"): value for name, value in found.items()}, Pkcs11Uri)


def _split(part: str, allowed: re.Pattern[str]) -> tuple[str, bytes]:
    name, sign, value = part.partition("=")
    if name.lower() == "pin-value":
        raise BadUriError("pin-value= puts the PIN where the file is read", _PIN_VALUE)
    if allowed is _PATH_CHARS and name in PLACES:
        raise BadUriError(f"{name}= belongs behind a question mark", f"write pkcs11:…?{name}=…")
    if not sign:
        # What stands there may be the rest of a PIN, or a PIN behind another sign.
        shown = f'"{part}"' if part in (*TEXTS, "id", "type", *PLACES, *_UNUSED) else "an attribute"
        raise BadUriError(f"{shown} has no value", "attributes are written name=value")
    good = allowed.match(value)
    end = good.end() if good is not None else 0
    if end != len(value):
        wrong = value[end]
        if wrong == "%":
            raise BadUriError(f'{name}: "%" is not followed by two hexadecimal digits', "a percent sign is written %25")
        coded = "".join(f"%{octet:02X}" for octet in wrong.encode("utf-8", "surrogateescape"))
        raise BadUriError(f'{name}: "{wrong}" cannot stand in a URI as it is', f"write {coded}")
    return name, re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes((int(code[1], 16),)), value.encode("ascii"))


def _once(found: dict[str, str | bytes], name: str) -> None:
    if name in found:
        raise BadUriError(f"{name}= stands twice", "leave one of them out")


def _path_value(name: str, value: bytes) -> str | bytes:
    if name == "id":
        if not value:
            raise BadUriError("id= is empty", "leave it out, or write octets as %01%02")
        return value
    if name == "type":
        kind = value.decode("ascii", "replace")
        if kind not in TYPES:
            raise BadUriError(
                f'type: a key of ours is no "{kind}"', f"it is one of {', '.join(TYPES)}; or leave it out"
            )
        return kind
    if name in _UNUSED:
        raise BadUriError(f"{name}= is not looked at", _UNUSED[name])
    if name not in TEXTS:
        known = ", ".join((*TEXTS, "id", "type"))
        raise BadUriError(f'there is no attribute "{name}"', f"there are {known}; behind ?: {', '.join(PLACES)}")
    text = _text(name, value)
    if len(value) > TEXTS[name]:
        raise BadUriError(
            f"{name}: {len(value)} octets are more than the {TEXTS[name]} it can have", "look: pkcs11-tool -L"
        )
    return text


def _query_value(name: str, value: bytes) -> str:
    if name in TEXTS or name in ("id", "type"):
        raise BadUriError(f"{name}= belongs before the question mark", f"write pkcs11:{name}=…;…?…")
    if name not in PLACES:
        raise BadUriError(f'there is no attribute "{name}"', f"behind ? there are {', '.join(PLACES)}")
    text = _text(name, value)
    if name == "module-name":
        if "/" in text:
            raise BadUriError("module-name= is a name without folders", "a path is module-path=/usr/lib/…/module.so")
        return text
    if name == "pin-source":
        if text.startswith("|"):
            raise BadUriError("pin-source= names a program, and none is run for a PIN", _PIN_VALUE)
        text = text.removeprefix("file:")
        if text.startswith("//"):
            text = "/" + text.removeprefix("//").removeprefix("localhost").lstrip("/")
    if not text.startswith("/"):
        example = (
            "pin-source=file:/etc/runbound/hsm.pin" if name == "pin-source" else "module-path=/usr/lib/…/module.so"
        )
        raise BadUriError(f"{name}= needs a whole path", f"write {example}")
    return text


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadUriError(f"{name}: the octets are no UTF-8", "labels are text; id= takes octets") from None
    if not text:
        raise BadUriError(f"{name}= is empty", "leave it out, or say which")
    if "\0" in text:
        raise BadUriError(f"{name}: there is a NUL in it", "take %00 out")
    return text


def _coded(text: str, safe: str) -> str:
    return quote_from_bytes(text.encode(), safe)
