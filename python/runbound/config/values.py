"""What the values of options mean: words of the table's `value_type` to Python values, exactly as far as Unbound.

Owns each type's spelling and its messages. It must never look at another option (that is `check`) or at the system:
names of interfaces and files are checked elsewhere.
"""

import base64
import binascii
import calendar
import difflib
import ipaddress
import re
import time
from collections.abc import Callable
from typing import Final

LOCAL_TYPES: Final = (
    *("static", "deny", "refuse", "redirect", "transparent", "typetransparent", "nodefault", "inform", "inform_deny"),
    *("inform_redirect", "always_transparent", "block_a", "block_aaaa", "block_a_wdata", "block_aaaa_wdata"),
    *("always_refuse", "always_nxdomain", "always_nodata", "always_deny", "always_null", "noview", "ipset"),
)
ACL_ACTIONS: Final = (
    *("deny", "refuse", "allow", "allow_setrd", "allow_snoop", "allow_cookie", "deny_non_local", "refuse_non_local"),
)
RESPONSE_ACTIONS: Final = (
    *("deny", "redirect", "inform", "inform_deny", "inform_redirect", "always_transparent", "always_refuse"),
    *("always_nxdomain", "always_nodata", "always_deny"),
)
TLS_VERSIONS: Final = ("TLSv1.2", "TLSv1.3")

MIN_EDNS_SIZE: Final = 12
"""Smallest edns-buffer-size, in octets: a header. Unbound's bound."""
MAX_PORT: Final = 65535
MAX_IDLE: Final = 120_000
"""Longest tcp-idle-timeout, in milliseconds. Unbound's bound."""
MAX_KEEPALIVE: Final = 6_553_500
"""Longest edns-tcp-keepalive-timeout, in milliseconds: 65535 units of 100 ms (RFC 7828 3.1)."""
MAX_NAME: Final = 255
"""Longest name in octets on the wire (RFC 1035 2.3.4)."""
MAX_LABEL: Final = 63

DATE_DIGITS: Final = 14
"""Of YYYYMMDDHHmmSS."""

MAX_SIZE: Final = 2**62
"""Largest size, in octets: two of them still fit into 63 bits."""
MAX_DIGITS: Final = 1000
"""Most digits in a row in a value that is not free text: far beyond any number, far below where Python gives up."""

_DIGITS = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)(.*)", re.DOTALL | re.ASCII)
_SIZE = re.compile(r"([0-9]+)[ \t]*([kKmMgG]?)[bB]?", re.ASCII)
_DURATION = re.compile(r"([0-9]+)([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TOO_LONG = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}", re.ASCII)
_ESCAPE = re.compile(r"\\(?:[0-9]{3}|.)", re.DOTALL | re.ASCII)


class BadValue(Exception):  # noqa: N818 - it is a value's verdict, raised and caught inside this room
    """A value that is not what its option takes."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


Warn = Callable[[str, str | None], None]
"""Takes the text and the hint of a warning about the value being read."""


def quote(text: str) -> str:
    """A value as messages show it."""
    return f'"{text}"' if len(text) <= 80 else f'"{text[:80]}…"'


def boolean(text: str) -> bool:
    """`yes` or `no`, exactly."""
    if text in ("yes", "no"):
        return text == "yes"
    low = text.lower().rstrip(";,")
    meant = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}.get(low, low)
    hint = f"did you mean {meant}?" if meant in ("yes", "no") else None
    raise BadValue(f"{quote(text)} is neither yes nor no", hint)


def number(text: str, warn: Warn, *, at_least: int = 0) -> int:
    """C's `atoi` with Unbound's rule for zero: leading digits count, 0 is written `0` and nothing else.

    Big numbers wrap as they do there; a negative one becomes 0. Both are told, and so is what is ignored.
    """
    if not text:
        raise BadValue("a number is expected, the value is empty")
    match = _DIGITS.match(text)
    value = int(match[1]) if match else 0
    if match is None or (value == 0 and text != "0"):
        raise BadValue(f"{quote(text)} is not a number", "zero is written 0" if match else None)
    wrapped = (value + 2**31) % 2**32 - 2**31
    if wrapped != value:
        warn(f"{quote(text)} does not fit into 32 bits and is read as {wrapped}, as Unbound does", None)
        value = wrapped
    if match[2]:
        duration = _DURATION.fullmatch(text)
        hint = f"write {int(duration[1]) * _SECONDS[duration[2]]}" if duration else None
        warn(f"{quote(text)} is read as {value}, the rest is ignored", hint)
    if value == 0 < at_least:
        raise BadValue("0 is not allowed here")
    if value < 0:
        warn(f"{quote(text)} is negative and is read as {at_least}", None)
        value = at_least
    return value


def level(text: str, warn: Warn) -> int:
    """How much is logged; never below 0."""
    match = _DIGITS.match(text)
    if match is not None and int(match[1]) < 0:
        raise BadValue(f"{quote(text)} is below 0")
    return number(text, warn)


def port(text: str, warn: Warn) -> int:
    """A port from 1 to 65535. Unbound takes numbers beyond that and cannot bind them; we say so at once."""
    if _DIGITS.match(text) is None:
        raise BadValue(f"{quote(text)} is not a port number")
    match = _DIGITS.match(text)
    if match is not None and not 0 < int(match[1]) <= MAX_PORT:
        raise BadValue(f"{quote(text)} is not a port (1 to {MAX_PORT})")
    return number(text, warn, at_least=1)


def size(text: str) -> int:
    """Octets, with k, m or g for powers of 1024; in octets."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadValue(f"{quote(text)} is not a size", "digits, then k, m, g or nothing: 4m")
    octets = int(match[1]) * _UNITS[match[2].lower()]
    if octets > MAX_SIZE:
        raise BadValue(f"{quote(text)} is more than any machine has")
    return octets


def slabs(text: str, warn: Warn) -> int:
    """A power of two."""
    value = number(text, warn, at_least=1)
    if value & (value - 1):
        raise BadValue(f"{quote(text)} is not a power of 2")
    return value


def between(low: int, high: int) -> Callable[[str, Warn], int]:
    """A number with bounds that Unbound insists on."""

    def read(text: str, warn: Warn) -> int:
        match = _DIGITS.match(text)
        value = int(match[1]) if match else number(text, warn)
        if not low <= value <= high:
            raise BadValue(f"{quote(text)} is out of bounds ({low} to {high})")
        return number(text, warn)

    return read


def clamped(low: int, high: int) -> Callable[[str, Warn], int]:
    """A number that Unbound moves into its bounds; told, which it does not do."""

    def read(text: str, warn: Warn) -> int:
        value = number(text, warn)
        inside = min(max(value, low), high)
        if inside != value:
            warn(f"{quote(text)} is read as {inside}, the bounds are {low} and {high}", None)
        return inside

    return read


def edns_size(text: str, warn: Warn) -> int:
    """12 to 65535 octets; more is taken as 65535."""
    value = number(text, warn)
    if value < MIN_EDNS_SIZE:
        raise BadValue(f"{quote(text)} is too small for an EDNS size ({MIN_EDNS_SIZE} at least)")
    if value > MAX_PORT:
        warn(f"{quote(text)} is read as {MAX_PORT}, the largest EDNS size", None)
    return min(value, MAX_PORT)


def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without brackets, port or length; `%scope` allowed."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        hint = None
        if text.startswith("[") or (text.count(":") == 1 and text.partition(":")[2].isdigit()):
            hint = "no brackets; a port is written behind @: 127.0.0.1@5353, ::1@5353"
        raise BadValue(f"{quote(text)} is not an IP address", hint) from None


def address(text: str) -> str:
    """`ip[@port]`."""
    host, sign, tail = text.partition("@")
    ip(host)
    if sign:
        _port_behind(text, tail)
    return text


def interface(text: str) -> str:
    """`ip[@port]`, or the name of a network interface, which `check` looks for."""
    host, sign, tail = text.partition("@")
    if not host:
        raise BadValue("an interface is an address or the name of a network interface, this one is empty")
    if sign:
        _port_behind(text, tail)
    if ":" in host or "[" in host:
        ip(host)
    return text


def _port_behind(text: str, tail: str) -> None:
    if not tail.isascii() or not tail.isdigit() or not 0 < int(tail) <= MAX_PORT:
        raise BadValue(f"{quote(text)}: {quote(tail)} behind the @ is not a port (1 to {MAX_PORT})")


def netblock(text: str) -> str:
    """`ip` or `ip/length`. Host bits may be set."""
    host, sign, tail = text.partition("/")
    try:
        found = ip(host)
    except BadValue as problem:
        short = re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", host)
        padded = host + ".0" * (3 - host.count(".")) if short else ""
        hint = f"write {padded}{sign}{tail}" if short else problem.hint
        raise BadValue(f"{quote(text)} is not a network", hint) from None
    bits = found.max_prefixlen
    if sign and not (tail.isascii() and tail.isdigit() and int(tail) <= bits):
        raise BadValue(f"{quote(text)} is not a network (prefix is 0 to {bits})")
    return text


def source(text: str) -> str:
    """An address to send from, or an IPv6 network to choose from."""
    if "/" in text:
        netblock(text)
        if ":" not in text:
            raise BadValue(f"{quote(text)}: only IPv6 takes a network here")
    else:
        ip(text)
    return text


def name(text: str) -> str:
    """A domain name: escapes of master files allowed, empty labels are not, the last dot does not matter."""
    if not text:
        raise BadValue("a domain name is expected, the value is empty", 'the root is written "."')
    if text == ".":
        return text
    octets = _ESCAPE.sub("x", text.encode("utf-8", "surrogateescape").decode("latin-1"))
    labels = octets.removesuffix(".").split(".")
    if not all(labels):
        raise BadValue(f"{quote(text)} is not a domain name, a label is empty")
    if max(map(len, labels)) > MAX_LABEL:
        raise BadValue(f"{quote(text)} is not a domain name, a label is longer than {MAX_LABEL} octets")
    if sum(map(len, labels)) + len(labels) + 1 > MAX_NAME:
        raise BadValue(f"{quote(text)} is not a domain name, it is longer than {MAX_NAME} octets")
    return text


def canonical_name(text: str) -> str:
    """A name for comparison: lower case, with its last dot."""
    return text.lower() if text.endswith(".") else f"{text.lower()}."


def server(text: str) -> str:
    """`ip[@port][#tlsname]`, in that order."""
    host, _, tls = text.partition("#")
    if "@" in tls:
        raise BadValue(f"{quote(text)}: the port stands before the TLS name", "write ip@port#name")
    try:
        return address(host) and text
    except BadValue as problem:
        if re.search(r"[a-z]", host, re.IGNORECASE) and ":" not in host:
            raise BadValue(problem.text, "names are given with forward-host: or stub-host:") from None
        raise


def host_server(text: str, warn: Warn) -> str:
    """`name[@port][#tlsname]`."""
    host, _, _ = text.partition("#")
    host, sign, tail = host.partition("@")
    name(host)
    if sign:
        _port_behind(text, tail)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return text
    warn(f"{quote(host)} is an address, looked up as a name it may not resolve", "addresses go to the -addr: option")
    return text


def primary(text: str) -> str:
    """`ip[@port][#tlsname]`, or a name in the same form."""
    host = text.partition("#")[0]
    host, sign, tail = host.partition("@")
    if sign:
        _port_behind(text, tail)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        name(host)
    return text


def notifier(text: str) -> str:
    """An address, a network or a name."""
    if "/" in text:
        return netblock(text)
    return primary(text)


def ports(text: str) -> str:
    """A port or `low-high`."""
    low, sign, high = text.partition("-")
    found = []
    for part in (low, high) if sign else (low,):
        if not (part.isascii() and part.isdigit() and int(part) <= MAX_PORT):
            raise BadValue(f"{quote(text)} is not a port or a range of ports (0 to {MAX_PORT}, low-high)")
        found.append(int(part))
    if found[0] > found[-1]:
        raise BadValue(f"{quote(text)}: the low end is above the high end")
    return text


def port_list(text: str, warn: Warn) -> str:
    """Ports between blanks."""
    for part in text.split():
        if not part.isascii() or not part.isdigit():
            raise BadValue(f"{quote(text)} is not a list of ports")
        port(part, warn)
    return text


def choice(words: tuple[str, ...]) -> Callable[[str], str]:
    """One of some words, lower case as they are."""

    def read(text: str) -> str:
        if text in words:
            return text
        near = difflib.get_close_matches(text.lower(), words, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(words)}"
        raise BadValue(f"{quote(text)} is not allowed here", hint)

    return read


def interval(text: str, warn: Warn) -> int:
    """Seconds; empty is 0."""
    return 0 if text in ("", "0") else number(text, warn)


def nsid(text: str) -> str:
    """Hex digits, or `ascii_` and text."""
    if text.startswith("ascii_") or not text:
        return text
    if len(text) % 2 or re.fullmatch(r"[0-9a-fA-F]+", text, re.ASCII) is None:
        raise BadValue(f"{quote(text)} is not an NSID", "pairs of hex digits, or ascii_ and the text")
    return text


def cookie_secret(text: str) -> str:
    """128 bits in hex."""
    if re.fullmatch(r"[0-9a-fA-F]{32}", text, re.ASCII) is None:
        # The value itself is a secret and stays out of messages.
        raise BadValue("this is not a cookie secret", "32 hex digits")
    return text


def date(text: str) -> str:
    """0, -1, or YYYYMMDDHHmmSS."""
    if not text or text == "0":
        return text
    try:
        date_seconds(text)
    except ValueError:
        hint = "YYYYMMDDHHmmSS, Unix seconds, -1 to ignore dates, or 0 for today"
        raise BadValue(f"{quote(text)} is not a date", hint) from None
    return text


def date_seconds(text: str) -> int:
    """A date in Unix seconds: 14 digits are YYYYMMDDHHmmSS, fewer are the seconds themselves. Raises ValueError."""
    if len(text) == DATE_DIGITS:
        return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S"))
    match = _DIGITS.match(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(text)
    return int(match[1])


def policy(text: str) -> str:
    """Blanks between numbers."""
    if not text.split() or not all(re.fullmatch(r"-?[0-9]+", part, re.ASCII) for part in text.split()):
        raise BadValue(f"{quote(text)} is not a list of numbers")
    return text


def key_sizes(text: str) -> str:
    """Pairs of key size and iterations, sizes rising."""
    policy(text)
    numbers = [int(part) for part in text.split()]
    if len(numbers) % 2:
        raise BadValue(f"{quote(text)} is not made of pairs of key size and iterations")
    if sorted(numbers[::2]) != numbers[::2]:
        raise BadValue(f"{quote(text)}: key sizes must rise")
    return text


def tls_versions(text: str) -> str:
    """TLS versions between blanks."""
    for part in text.split():
        choice(TLS_VERSIONS)(part)
    return text


def tags(text: str, known: frozenset[str]) -> str:
    """Tags between blanks, each defined before."""
    for part in text.split():
        if part not in known:
            hint = (
                f"write define-tag: {quote(part)} above it" if not known else f"defined are {', '.join(sorted(known))}"
            )
            raise BadValue(f"{quote(part)} is not a tag defined before", hint)
    return text


def anchor(text: str) -> str:
    """A DS or DNSKEY record as text."""
    words = text.partition(";")[0].replace("(", " ").replace(")", " ").split()
    name(words[0] if words else "")
    rest = [word for word in words[1:] if not re.fullmatch(r"[0-9]+[smhdw]?", word, re.IGNORECASE)]
    kinds = [word.upper() for word in rest if word.upper() in ("DS", "DNSKEY")]
    kind = kinds[0] if kinds else ""
    before = [word.upper() for word in words[1:]]
    if not kind or any(w not in ("IN", "CH", "HS") and not w[:1].isdigit() for w in before[: before.index(kind)]):
        raise BadValue(f"{quote(text)} is no DS or DNSKEY record", "owner DS keytag algorithm digesttype digest")
    fields = words[2 + before.index(kind) :]
    if len(fields) < 4 or not fields[0].isdigit() or (kind == "DNSKEY" and fields[1] != "3"):
        raise BadValue(f"{quote(text)} is no {kind} record, its fields are not right")
    data = "".join(fields[3:])
    try:
        good = bytes.fromhex(data) if kind == "DS" else base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        good = b""
    if not good:
        what = "digest is not hex" if kind == "DS" else "key is not base64"
        raise BadValue(f"{quote(text)} is no {kind} record, its {what}")
    return text


def _text(text: str) -> str:
    return text


def _is_utf8(text: str) -> bool:
    """Whether the octets of a value are text. Files are read with surrogates in the place of those that are not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Reader = Callable[[str], object] | Callable[[str, Warn], object]

_PLAIN: Final[dict[str, Callable[[str], object]]] = {
    "yesno": boolean,
    "looseyesno": lambda text: text == "yes",
    "size": size,
    "acl": choice(ACL_ACTIONS),
    "localtype": choice(LOCAL_TYPES),
    "responsetype": choice(RESPONSE_ACTIONS),
    "address": address,
    "interface": interface,
    "netblock": netblock,
    "source": source,
    "name": name,
    "server": server,
    "primary": primary,
    "notifier": notifier,
    "ports": ports,
    "nsid": nsid,
    "cookie": cookie_secret,
    "date": date,
    "policy": policy,
    "keysizes": key_sizes,
    "tlsversions": tls_versions,
    "string": _text,
    "file": _text,
    "glob": _text,
    "directory": _text,
    "url": _text,
    "record": _text,
    "ptr": _text,
    "rdata": _text,
    "control": _text,
    "prefix6": _text,
    "modules": _text,
    "view": _text,
    "newtags": _text,
    "ignored": _text,
}

_WARNING: Final[dict[str, Callable[[str, Warn], object]]] = {
    "int": number,
    "level": level,
    "count": lambda text, warn: number(text, warn, at_least=1),
    "port": port,
    "slabs": slabs,
    "dscp": between(0, 63),
    "opcode": between(0, MAX_PORT),
    "ednssize": edns_size,
    "interval": interval,
    "idle": clamped(1, MAX_IDLE),
    "keepalive": clamped(0, MAX_KEEPALIVE),
    "bits4": clamped(0, 32),
    "bits6": clamped(0, 128),
    "portlist": port_list,
    "hostserver": host_server,
}

TYPES: Final = frozenset(_PLAIN) | frozenset(_WARNING) | {"tag", "tags"}
"""Every word that may stand in the table's `value_type`, besides `enum{…}` and `clause`."""


def read(kind: str, text: str, warn: Warn, known_tags: frozenset[str]) -> object:
    """The value of a text of this type. Raises BadValue."""
    if not _is_utf8(text):
        # Not quoted: it may be a secret.
        raise BadValue(
            "the value is not UTF-8", r"save the file as UTF-8; an octet in a name is written \DDD: b\252cher"
        )
    plain = _PLAIN.get(kind)
    if plain is not _text and _TOO_LONG.search(text):
        raise BadValue(f"{quote(text)} has a number of more than {MAX_DIGITS} digits")
    if plain is not None:
        return plain(text)
    warning = _WARNING.get(kind)
    if warning is not None:
        return warning(text, warn)
    if kind in ("tag", "tags"):
        return tags(text, known_tags)
    return choice(tuple(kind.removeprefix("enum{").removesuffix("}").split(",")))(text)
