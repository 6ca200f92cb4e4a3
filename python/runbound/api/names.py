"""Names and record types as a client writes them, checked before anything else sees them.

A name may be written with or without the last dot, with `\\DDD` for any octet, or in Unicode, which IDNA 2008 (RFC
5891) turns into A-labels after UTS 46's mapping, non-transitional as browsers do it. What could not stand on the wire
is refused. This module must never resolve anything.
"""

import ipaddress
import re
from typing import Annotated, Final

import dns.exception
import dns.name
import dns.rdatatype
import idna
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_TEXT: Final = 1020
"""Longest text of a name, in characters: 255 octets, each as `\\DDD`."""
NOT_ASKED: Final = frozenset({0, 41, *range(249, 255)})
"""Types that are no question about data: 0, OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA."""

TARGETS: Final = {
    "CNAME": 0, "DNAME": 0, "NS": 0, "PTR": 0, "MX": 1, "KX": 1, "RT": 1, "AFSDB": 1, "SVCB": 1, "HTTPS": 1, "SRV": 3
}  # fmt: skip
"""Types whose data holds a name that people write in Unicode, and at which word of it."""

_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")
"""What separates labels in Unicode text (UTS 46)."""


def domain(text: str) -> str:
    """The absolute name in presentation form. Raises PydanticCustomError that says what is wrong."""
    if not text:
        raise _wrong("the name is empty; the root is written as a single dot")
    if any(character <= " " or character == "\x7f" for character in text):
        raise _wrong("blanks and control characters in a name are written as \\DDD")
    try:
        ascii_text = text if text.isascii() else _a_labels(text)
        return dns.name.from_text("\\@" if ascii_text == "@" else ascii_text).to_text()
    except idna.IDNAError as error:
        raise _wrong(f"no internationalised name: {error}") from error
    except dns.exception.DNSException as error:
        raise _wrong(str(error)) from error


def record_type(text: str) -> str:
    """The type's mnemonic, or TYPE123. Raises PydanticCustomError."""
    try:
        number = dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError):
        raise _wrong("no record type; those without a mnemonic are written TYPE0 to TYPE65535") from None
    if number in NOT_ASKED:
        raise _wrong("this type cannot be asked for")
    return dns.rdatatype.to_text(number)


def address(text: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address, without a scope. Raises PydanticCustomError."""
    try:
        found = ipaddress.ip_address(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or (found.version == 6 and found.scope_id):
        raise _wrong("no IPv4 or IPv6 address")
    return found


def numbered(mnemonic: str) -> str:
    """The form of a type that every reader knows, whatever mnemonics it was built with (RFC 3597)."""
    return f"TYPE{int(dns.rdatatype.from_text(mnemonic))}"


def target(rtype: str, value: str) -> str:
    """Record data with the name in it turned into A-labels, if that type has one. Raises PydanticCustomError."""
    place = TARGETS.get(rtype)
    if value.isascii() or place is None:
        return value
    words = value.split()
    if len(words) > place:
        words[place] = domain(words[place])
    return " ".join(words)


def _a_labels(text: str) -> str:
    if "\\" in text:
        raise _wrong("a name in Unicode takes no \\DDD")
    labels = _DOTS.split(text)
    return ".".join(label if label.isascii() else idna.encode(label, uts46=True).decode() for label in labels)


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("dns", "{what}", {"what": text})


DomainName = Annotated[
    str,
    Field(
        max_length=MAX_TEXT,
        description="A domain name; Unicode is turned into A-labels (IDNA 2008)",
        json_schema_extra={"format": "dns-name"},
    ),
    AfterValidator(domain),
]
RecordType = Annotated[
    str,
    Field(max_length=32, description="A record type: mnemonic or TYPE123", json_schema_extra={"format": "dns-type"}),
    AfterValidator(record_type),
]
IpAddress = Annotated[
    ipaddress.IPv4Address | ipaddress.IPv6Address,
    BeforeValidator(address),
    WithJsonSchema({"type": "string", "format": "ip"}),
]
