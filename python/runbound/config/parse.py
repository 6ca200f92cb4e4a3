"""From a scan to a model: every statement's values are read, and everything wrong with one of them is told.

Owns aliases, repetition, names of items, and tags (the one option that must be defined before use). It must never
look at the system or compare options with each other: that is `check`.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from runbound.config import model, options, values
from runbound.config.diagnostics import Diagnostic, Severity
from runbound.config.options import Option

Message = tuple[str, int, int, int, int, str, str | None]
"""Severity, file index, line, column, length, text, hint."""


class Scan(Protocol):
    """What the scanner hands over; see `runbound._native.Scan`."""

    @property
    def files(self) -> list[str]: ...
    def statements(self) -> list[tuple[int, str, str, tuple[str, ...], int, int, int, int]]: ...
    def clauses(self) -> list[tuple[str, int, int, int]]: ...
    def messages(self) -> list[Message]: ...
    def bulk_counts(self) -> dict[str, tuple[int, int, int, int]]: ...
    def line(self, file: int, line: int) -> str: ...


CLASSES: Final[dict[str, type[msgspec.Struct]]] = {
    "server": model.Server,
    "remote-control": model.RemoteControl,
    "python": model.Python,
    "dynlib": model.Dynlib,
    "dnscrypt": model.Dnscrypt,
    "cachedb": model.Cachedb,
    "ipset": model.Ipset,
    "dnstap": model.Dnstap,
    "forward-zone": model.ForwardZone,
    "stub-zone": model.StubZone,
    "auth-zone": model.AuthZone,
    "rpz": model.Rpz,
    "view": model.View,
}
"""The record of each clause."""

_MUST_BE_NAMED: Final = ("forward-zone", "stub-zone", "view")
"""Items that are an error without a name; the others are skipped."""

_SECRET: Final = re.compile(rf"\b({'|'.join(sorted(options.SECRETS))}|(?i:pin-value))\b")
"""What makes a line one that is not shown; `pin-value` stands inside `hsm-uri`."""

_DECOMMISSIONED: Final = {"dlv-anchor": "DLV is decommissioned", "dlv-anchor-file": "DLV is decommissioned"}


class Findings:
    """Collects diagnostics of one scan; positions become file names and, given the scan, source lines here."""

    def __init__(self, scan: Scan | None) -> None:
        self._scan = scan
        self._files = scan.files if scan is not None else []
        self._order: dict[str, int] = {}
        for number, name in enumerate(self._files):
            self._order.setdefault(name, number)
        self.found: list[Diagnostic] = []

    def _line(self, file: int, line: int) -> str:
        return "" if self._scan is None else self._scan.line(file, line)

    def position(self, file: int, line: int, column: int) -> model.Position:
        """A place with the name of its file."""
        return model.Position(self._files[file], line, column)

    def add(
        self,
        severity: Severity,
        at: model.Position | None,
        text: str,
        hint: str | None = None,
        *,
        length: int = 0,
        file: int | None = None,
    ) -> None:
        """One more. Without a length the word at the position is marked."""
        if at is None or not at.line:
            self.found.append(Diagnostic(severity, self._files[0] if self._files else "", 0, 0, 0, text, hint))
            return
        number = self._order.get(at.file, 0) if file is None else file
        source = self._line(number, at.line)
        if not length:
            length = _word_length(source, at.column)
        self.found.append(Diagnostic(severity, at.file, at.line, at.column, length, text, hint, _shown(source)))

    def error(self, at: model.Position | None, text: str, hint: str | None = None) -> None:
        """One more error."""
        self.add("error", at, text, hint)

    def warning(self, at: model.Position | None, text: str, hint: str | None = None) -> None:
        """One more warning."""
        self.add("warning", at, text, hint)

    def messages(self, messages: "list[Message] | tuple[Message, ...]") -> None:
        """Takes over messages that Rust made."""
        for severity, file, line, column, length, text, hint in messages:
            word: Severity = "error" if severity == "error" else "warning" if severity == "warning" else "note"
            at = self.position(file, line, column) if line and 0 <= file < len(self._files) else None
            self.add(word, at, text, hint, length=length, file=file)

    def statements(self, messages: Sequence[Message]) -> None:
        """Takes over messages that know where a statement starts and not where its values are.

        The word they quote is marked if it stands behind that place, the last one first: it is the narrowest. Else the
        word at the place is, which length 0 asks for.
        """
        for severity, file, line, column, _, text, hint in messages:
            octets = self._line(file, line).encode("utf-8", "surrogateescape") if line else b""
            behind = column - 1 + _word_length(octets.decode("utf-8", "surrogateescape"), column)
            place, length = column, 0
            for word in reversed(re.findall(r'"([^"]+)"', text)):
                found = octets.find(word.encode(), behind)
                if found >= 0:
                    place, length = found + 1, len(word.encode())
                    break
            self.messages(((severity, file, line, place, length, text, hint),))

    def value(self, at: model.Position, position: int, texts: tuple[str, ...]) -> model.Position:
        """The place of a value, given that of the first: the scan tells only where the first stands."""
        if position == 0:
            return at
        source = self._line(self._order.get(at.file, 0), at.line)
        octets = source.encode("utf-8", "surrogateescape")
        start = at.column - 1
        for index, text in enumerate(texts[: position + 1]):
            word = text.encode("utf-8", "surrogateescape")
            found = octets.find(word, start)
            if found < 0:
                return at
            if index == position:
                quoted = octets[max(found - 1, 0) : found] in (b'"', b"'")
                return model.Position(at.file, at.line, found if quoted else found + 1)
            start = found + len(word)
        return at

    def sorted(self) -> tuple[Diagnostic, ...]:
        """All of them in the order of the files, those without a place last."""
        return tuple(
            sorted(self.found, key=lambda d: (not d.line, self._order.get(d.file, len(self._order)), d.line, d.column))
        )


def _shown(source: str) -> str:
    """The line as messages may show it: not at all if it holds a secret."""
    return "" if _SECRET.search(source) else source


def _word_length(source: str, column: int) -> int:
    octets = source.encode("utf-8", "surrogateescape")[max(column - 1, 0) :]
    quote = octets[:1]
    if quote in (b'"', b"'") and octets.find(quote, 1) > 0:
        return octets.find(quote, 1) + 1
    word = octets.split(None, 1)[:1]
    return len(word[0]) if word else 1


class _Item:
    """A clause being filled."""

    def __init__(self, clause: str, at: model.Position) -> None:
        self.clause = clause
        self.at = at
        self.fields: dict[str, Any] = {}
        self.lists: dict[str, list[model.Entry]] = {}

    def build(self) -> Any:
        for name, entries in self.lists.items():
            self.fields[name] = tuple(entries)
        if self.clause in options.ITEM_CLAUSES:
            self.fields["at"] = self.at
        return CLASSES[self.clause](**self.fields)


def parse(scan: Scan) -> tuple[model.Config, Findings]:
    """The model of a scan, and everything found on the way, the scanner's own messages first."""
    findings = Findings(scan)
    findings.messages(scan.messages())
    opened = [(clause, findings.position(file, line, column)) for clause, file, line, column in scan.clauses()]
    items: list[_Item] = []
    singles: dict[str, _Item] = {}
    for clause, at in opened:
        single = clause in options.SINGLE_CLAUSES
        item = singles.get(clause) if single else None
        if item is None:
            item = _Item(clause, at)
            if single:
                singles[clause] = item
        items.append(item)
    places: dict[tuple[str, str], list[model.Position]] = {}
    sequence: dict[str, list[tuple[str, model.Position]]] = {}
    tags: frozenset[str] = frozenset()
    for number, clause, keyword, texts, file, line, column, value_column in scan.statements():
        option = options.find(clause, keyword)
        if option is None or number >= len(items):
            continue
        at = findings.position(file, line, column)
        first = model.Position(at.file, line, value_column)
        name = options.canonical(option).name
        places.setdefault((clause, name), []).append(at)
        sequence.setdefault(clause, []).append((name, at))
        if option.value_type == "newtags" and texts:
            tags |= frozenset(texts[0].split())
        _statement(findings, items[number], option, texts, at, first, tags)
    for keyword, (_, file, line, column) in scan.bulk_counts().items():
        places[("server", keyword)] = [findings.position(file, line, column)]
    config = _config(findings, items)
    return (
        msgspec.structs.replace(
            config,
            places={key: tuple(found) for key, found in places.items()},
            sequence={key: tuple(found) for key, found in sequence.items()},
        ),
        findings,
    )


def _statement(
    findings: Findings,
    item: _Item,
    option: Option,
    texts: tuple[str, ...],
    at: model.Position,
    first: model.Position,
    tags: frozenset[str],
) -> None:
    target = options.canonical(option)
    if option.value_type == "ignored":
        why = _DECOMMISSIONED.get(option.name, "Unbound has removed it")
        findings.warning(at, f"{option.name}: is ignored, {why}")
        return
    read: list[object] = []
    good = True
    for index, (kind, text) in enumerate(zip(option.types, texts, strict=False)):
        where = findings.value(first, index, texts)

        def warn(what: str, hint: str | None, where: model.Position = where) -> None:
            findings.warning(where, f"{option.name}: {what}", hint)

        try:
            read.append(values.read(kind, text, warn, tags))
        except values.BadValue as problem:
            good = False
            if option.tier == "accept":
                hint = f"the option has no effect here: {option.reason}"
                findings.warning(where, f"{option.name}: {problem.text}", hint)
            else:
                findings.error(where, f"{option.name}: {problem.text}", problem.hint)
    if target.many or len(target.types) > 1:
        # A wrong entry stays out, so that later checks do not tell of it a second time.
        if good:
            item.lists.setdefault(target.field, []).append(model.Entry(texts, at))
        return
    if target.repeatable == "once" and target.field in item.fields:
        hint = "the name stands once, at any place in the clause"
        findings.error(at, f"{option.name}: this {item.clause}: has a name already", hint)
    elif good and target.in_model and read:
        item.fields[target.field] = read[0]
    elif target.name == "name" and item.clause in options.ITEM_CLAUSES:
        # Named, though wrongly: the missing name must not be told as well.
        item.fields.setdefault("name", "")


def _config(findings: Findings, items: list[_Item]) -> model.Config:
    singles: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for item in dict.fromkeys(items):
        name = item.clause.replace("-", "_")
        if item.clause in options.SINGLE_CLAUSES:
            singles[name] = item.build()
        elif "name" in item.fields:
            lists.setdefault(f"{name}s", []).append(item.build())
        elif item.clause in _MUST_BE_NAMED:
            findings.error(item.at, f"{item.clause}: has no name", "give it one: name: ...")
        else:
            findings.warning(item.at, f"{item.clause}: has no name and is skipped")
    fields: dict[str, Any] = {**singles, **{name: tuple(found) for name, found in lists.items()}}
    return model.Config(**fields)
