"""The world's file: what may stand in it, and words for whoever wrote something else.

Owns the shape of `world.toml` and every message about it: which zone, which line, what is wrong and what to do. It must
never build anything; `world` does, from entries that are right.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import dns.exception
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.zone
import msgspec

from runbound.lab.behaviour import FLAWS, Behaviour

if TYPE_CHECKING:
    from pathlib import Path

    from runbound.lab.zone import Node

TABLES: Final = ("zones", "behaviour")
MAX_DEPTH: Final = 60
"""Levels of one chain of delegations: each is an address, and names have 127 labels at most."""
MAX_COUNT: Final = 1_000_000
PRELUDE: Final = "$TTL 3600\n"

Algorithm = Literal[
    "rsasha1",
    "rsasha1-nsec3",
    "rsasha256",
    "rsasha512",
    "ecdsap256sha256",
    "ecdsap384sha384",
    "ed25519",
    "ed448",
    "unknown",
]
"""How keys sign. "unknown" is a number that nobody has assigned."""

T = TypeVar("T", bound=msgspec.Struct)


class WorldError(ValueError):
    """The world's file is wrong; the text says where, what, and what to do."""


class ServerEntry(Behaviour, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name server of a zone: its addresses, and how it misbehaves."""

    address: str = ""
    """Its IPv4 address in 198.18.0.0/15; the next free one if not given."""
    ipv4: bool = True
    ipv6: bool = False


class GenerateEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names by a rule: `{n}` in the name counts from 0."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    type: str
    value: str
    """Record data; {n} is the number, {a} its lowest octet, {b} the next and {c} the rest."""
    ttl: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 300


class ZoneEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One zone. Nothing is needed but the table itself."""

    text: str = ""
    """Ordinary zone text, relative to the zone's name. SOA and NS are made where it has none."""
    teaches: str = ""
    """What it shows, in one line."""
    ask: tuple[str, ...] = ()
    """Questions to try, such as "www A"; names are relative to the zone."""
    servers: dict[str, ServerEntry] = {}
    """Name servers: relative names are the zone's own, absolute ones lie elsewhere. Without any, a shared one."""
    sign: Literal["no", "nsec", "nsec3", "nsec3-optout", "compact"] = "nsec"
    """How absence is proved; "compact" is RFC 9824."""
    algorithm: Algorithm = "ecdsap256sha256"
    also: Algorithm | Literal[""] = ""
    """A second algorithm: DS and DNSKEY have it too, but it signs nothing."""
    digests: tuple[Literal["sha1", "sha256", "sha384", "unknown"], ...] = ("sha256",)
    """Of the DS records."""
    roll: Literal["", "pre-publish", "double-signature", "double-ds", "revoked"] = ""
    """Keys half rolled: the next one published, or signing too; its DS there already; the old one revoked."""
    split: bool = False
    """One key for the DNSKEY set and another for the rest, instead of one for both."""
    salt: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2}){0,255}$")] = ""
    """NSEC3 salt in hexadecimal digits."""
    iterations: Annotated[int, msgspec.Meta(ge=0, le=2500)] = 0
    """NSEC3 iterations."""
    ds: bool = True
    """False: signed, but the parent does not know."""
    glue: bool = True
    """False: the parent gives no addresses of servers inside the zone, so nobody can find them."""
    broken: str = ""
    """How its DNSSEC is wrong; see `behaviour.FLAWS`."""
    generate: tuple[GenerateEntry, ...] = ()
    depth: Annotated[int, msgspec.Meta(ge=0, le=MAX_DEPTH)] = 0
    """So many more zones, each delegated from the one above: d1, d2.d1 and so on. The text is the last one's."""


class WorldFile:
    """A checked file: entries and zone data by name, in the file's order."""

    def __init__(self, source: str, octets: bytes) -> None:
        self.source = source
        try:
            text = octets.decode()
        except UnicodeDecodeError as error:
            raise WorldError(f"{source}: this is not UTF-8: {error.reason} at octet {error.start}") from error
        self._lines = text.splitlines()
        self.zones: dict[dns.name.Name, ZoneEntry] = {}
        self.data: dict[dns.name.Name, dict[dns.name.Name, Node]] = {}
        self.behaviour: dict[dns.name.Name, Behaviour] = {}
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise WorldError(f"{source}: this is not TOML: {error}") from error
        for name in table:
            if name not in TABLES:
                raise WorldError(
                    f'{source}: unknown table "{name}"{_meant(name, TABLES)}; zones are written [zones."name."]'
                )
            if not isinstance(table[name], dict):
                raise WorldError(f'{source}: "{name}" is a table: write [{name}."name."] and its keys below')
        for text_of_name, raw in table.get("zones", {}).items():
            self._zone(text_of_name, raw)
        for text_of_name, raw in table.get("behaviour", {}).items():
            where = self._where("behaviour", text_of_name)
            self.behaviour[self._name(where, text_of_name)] = _convert(where, raw, Behaviour)

    def join(self, other: WorldFile) -> None:
        """Takes over what another file has; where both have a zone, the other's counts."""
        self.source = f"{self.source}, {other.source}"
        self.zones.update(other.zones)
        self.data.update(other.data)
        self.behaviour.update(other.behaviour)

    def _zone(self, text: str, raw: object) -> None:
        where = self._where("zones", text)
        name = self._name(where, text)
        if name in self.zones:
            raise WorldError(f"{where}: the zone is in this file already; a name in capitals is the same name")
        entry = _convert(where, raw, ZoneEntry)
        if entry.broken and entry.broken not in FLAWS:
            known = ", ".join(FLAWS)
            raise WorldError(f'{where}: broken = "{entry.broken}"{_meant(entry.broken, FLAWS)}; there are: {known}')
        if entry.broken and entry.sign == "no":
            raise WorldError(f'{where}: broken = "{entry.broken}" needs signatures; leave out sign = "no"')
        if entry.depth and (entry.generate or entry.broken):
            raise WorldError(f"{where}: depth goes neither with generate nor with broken; make them two zones")
        for server, its in entry.servers.items():
            if not its.ipv4 and not its.ipv6:
                raise WorldError(f'{where}: server "{server}" has no address; set ipv4 or ipv6 to true')
            self._name(where, server, name)
        for rule in entry.generate:
            _check_rule(where, rule)
        for question in entry.ask:
            _check_question(where, question)
        self.zones[name] = entry
        # Of a chain of delegations the text belongs to the last zone.
        for level in range(1, entry.depth + 1):
            name = dns.name.Name((f"d{level}".encode(), *name.labels))
        self.data[name] = self._records(where, text, entry.text, name)

    def _records(self, where: str, title: str, text: str, origin: dns.name.Name) -> dict[dns.name.Name, Node]:
        self._check_owners(where, text, origin)
        try:
            read = dns.zone.from_text(PRELUDE + text, origin, relativize=False, check_origin=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise WorldError(f"{self._line_in_text(where, title, text, origin, error)}") from error
        found: dict[dns.name.Name, Node] = {}
        for name, node in read.nodes.items():
            for rdataset in node.rdatasets:
                if rdataset.covers:
                    raise WorldError(f"{where}: {name}: signatures are made by the lab; leave RRSIG records out")
                if rdataset.rdtype == dns.rdatatype.NS and name == origin:
                    raise WorldError(
                        f"{where}: NS records at the top are made; write servers = {{ ns1 = {{}} }} instead"
                    )
                found.setdefault(name, {})[rdataset.rdtype] = rdataset
        return found

    def _check_owners(self, where: str, text: str, origin: dns.name.Name) -> None:
        """Names outside the zone, which dnspython passes over in silence. Those are absolute and begin a line."""
        for line in text.splitlines():
            owner = line.split(maxsplit=1)[0] if line[:1].strip() else ""
            if owner.endswith(".") and owner[0] not in "$;" and not self._name(where, owner).is_subdomain(origin):
                raise WorldError(f"{where}: {owner} does not lie in the zone; write it in the zone it belongs to")

    def _line_in_text(self, where: str, title: str, text: str, origin: dns.name.Name, error: Exception) -> str:
        """dnspython counts lines in the text, people count them in the file."""
        said = re.sub(r"^<string>:\d+: ", "", str(error)).rstrip(".") or type(error).__name__
        number = re.match(r"<string>:(\d+)", str(error))
        if number is None:
            return f"{where}: {said}"
        line = int(number[1]) - PRELUDE.count("\n")
        lines = text.splitlines()
        try:  # it may have read the end of the wrong line already
            dns.zone.from_text(PRELUDE + "\n".join(lines[: line - 1]), origin, relativize=False, check_origin=False)
        except dns.exception.DNSException:
            line -= 1
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        header = self._header("zones", title) or 0
        for at in range(header, len(self._lines)):
            if shown and self._lines[at].strip() == shown:
                return f'{self.source}, line {at + 1}: zone "{title}": {said}: {shown}'
        return f"{where}: {said}: {shown}"

    def _header(self, table: str, name: str) -> int | None:
        """The line, from 1, on which an entry begins."""
        wanted = (f'[{table}."{name}"]', f'"{name}" =', f'"{name}"=')
        for number, line in enumerate(self._lines, 1):
            if line.strip().startswith(wanted):
                return number
        return None

    def _where(self, table: str, name: str) -> str:
        line = self._header(table, name)
        place = self.source if line is None else f"{self.source}, line {line}"
        return f'{place}: {"zone" if table == "zones" else table} "{name}"'

    @staticmethod
    def _name(where: str, text: str, origin: dns.name.Name | None = None) -> dns.name.Name:
        try:
            name = dns.name.from_text(text, origin or dns.name.root)
        except dns.exception.DNSException as error:
            raise WorldError(f'{where}: "{text}" is not a name: {error}') from error
        if origin is None and not text.endswith("."):
            raise WorldError(f'{where}: the name must end in a dot: "{text}."')
        return name


def _convert(where: str, raw: object, kind: type[T]) -> T:
    """A table as a structure. Raises WorldError in words about the file."""
    _check_keys(where, raw, kind)
    if kind is ZoneEntry and isinstance(raw, dict):
        for server, its in (raw.get("servers") or {}).items() if isinstance(raw.get("servers"), dict) else ():
            _check_keys(f'{where}: server "{server}"', its, ServerEntry)
        for rule in raw["generate"] if isinstance(raw.get("generate"), list) else ():
            _check_keys(f"{where}: generate", rule, GenerateEntry)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").removeprefix(".")
        raise WorldError(f"{where}: {field}: {said}" if field else f"{where}: {said}") from error


def _check_keys(where: str, raw: object, kind: type[msgspec.Struct]) -> None:
    known = kind.__struct_fields__
    for key in raw if isinstance(raw, dict) else ():
        if key not in known:
            raise WorldError(f'{where}: unknown key "{key}"{_meant(key, known)}; there are: {", ".join(sorted(known))}')


def _check_rule(where: str, rule: GenerateEntry) -> None:
    first, _, _ = rule.name.partition(".")
    if first.count("{n}") != 1 or rule.name.endswith("."):
        raise WorldError(
            f'{where}: generate: name = "{rule.name}" must hold {{n}} once, in its first label, and no final dot'
        )
    try:
        rdtype = dns.rdatatype.from_text(rule.type)
        dns.name.from_text(rule.name)
        for n in (0, rule.count - 1):
            value = rule.value.format(n=n, a=n % 256, b=n // 256 % 256, c=n // 65536)
            dns.rdataset.from_text("IN", rdtype, rule.ttl, value)
    except (KeyError, IndexError, AttributeError) as error:
        raise WorldError(
            f'{where}: generate: value = "{rule.value}": there are {{n}}, {{a}}, {{b}} and {{c}}'
        ) from error
    except (dns.exception.DNSException, ValueError) as error:
        raise WorldError(f'{where}: generate: {rule.type} "{rule.value}": {error}') from error


def _check_question(where: str, question: str) -> None:
    words = question.split()
    try:
        if len(words) != 2:
            raise ValueError('write a name and a type, such as "www A"')
        dns.rdatatype.from_text(words[1])
    except (dns.exception.DNSException, ValueError) as error:
        raise WorldError(f'{where}: ask: "{question}": {error}') from error


def _meant(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f'; did you mean "{close[0]}"?' if close else ""


def read(path: Path | None = None, added: Path | None = None) -> WorldFile:
    """Reads and checks a world's file, by default the one in the package, and one with more zones.

    Raises WorldError, OSError.
    """
    source = path or resources.files("runbound.lab").joinpath("world.toml")
    file = WorldFile(str(path) if path else "world.toml", source.read_bytes())
    if added is not None:
        file.join(WorldFile(str(added), added.read_bytes()))
    return file
