"""What a resolver may not be started without: the options a file uses that no code honours yet.

Owns the rule: an option that encrypts, filters, restricts clients or changes answers stops the start if it would have
an effect in Unbound; the others are told. It must never guess what is honoured: the registry of `options` knows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from runbound.config import options
from runbound.config.check import modules
from runbound.config.diagnostics import Diagnostic, Severity
from runbound.config.model import Config, Position
from runbound.config.options import Effect, Option
from runbound.config.parse import Findings, Scan

State = Literal["honoured", "mapped", "without effect", "not yet"]

STOPPING: Final[frozenset[Effect]] = frozenset({"encrypts", "filters", "restricts", "answers"})
"""Effects that nobody may believe to have while they are missing."""

_WHY: Final[dict[Effect, str]] = {
    "encrypts": "traffic would not be encrypted as the file says",
    "filters": "answers would not be filtered as the file says",
    "restricts": "clients would not be restricted as the file says",
    "answers": "answers would differ from what the file says",
    "anchors": "DNSSEC is validated without it",
    "upkeep": "answers do not depend on it",
}


class Use(msgspec.Struct, frozen=True):
    """An option that a file uses, or an item whose kind is not honoured as a whole."""

    clause: str
    name: str
    """Empty for a whole item."""
    state: State
    why: str
    """What it became, why it has no effect, or what is missing."""
    stops: bool
    """Whether a start is refused because of it."""
    places: tuple[Position, ...]


def _tls_service(config: Config) -> bool:
    """Whether some interface serves an encrypted transport."""
    server = config.server
    encrypted = {server.tls_port, server.https_port, server.quic_port}
    encrypted |= {int(e.values[0]) for e in server.tls_additional_port if e.values[0].isdigit()}
    listening = [entry.values[0].partition("@") for entry in server.interface]
    return any((int(tail) if sign else server.port) in encrypted for _, sign, tail in listening)


def _tls_upstream(config: Config) -> bool:
    zones = any(z.forward_tls_upstream for z in config.forward_zones) or any(
        z.stub_tls_upstream for z in config.stub_zones
    )
    return config.server.tls_upstream or zones


def _module(name: str) -> Callable[[Config], bool]:
    return lambda config: name in modules(config)


def _views_used(config: Config) -> bool:
    return bool(config.server.access_control_view or config.server.interface_view)


def _tags_used(config: Config) -> bool:
    server = config.server
    lists = (server.access_control_tag, server.interface_tag, server.local_zone_tag, server.response_ip_tag)
    return any(lists) or any(rpz.tags for rpz in config.rpzs)


def _build_conditions() -> dict[tuple[str, str], Callable[[Config], bool]]:
    groups: tuple[tuple[Callable[[Config], bool], str, tuple[str, ...]], ...] = (
        (
            _tls_service,
            "server",
            *(
                (
                    *("tls-service-key", "tls-service-pem", "tls-port", "tls-additional-port", "https-port"),
                    *("quic-port", "tls-session-ticket-keys", "tls-protocols", "http-notls-downstream"),
                    *("dot-client-auth-ca",),
                ),
            ),
        ),
        (_tls_upstream, "server", ("tls-cert-bundle", "tls-system-cert", "tls-use-sni")),
        (
            lambda config: _tls_service(config) or _tls_upstream(config),
            "server",
            ("tls-ciphers", "tls-ciphersuites"),
        ),
        (_module("dns64"), "server", ("dns64-prefix", "dns64-synthall", "dns64-ignore-aaaa")),
        (_module("respip"), "server", ("response-ip", "response-ip-data", "response-ip-tag")),
        (
            _module("subnetcache"),
            "server",
            ("send-client-subnet", "client-subnet-zone", "client-subnet-always-forward"),
        ),
        (_module("python"), "python", ("python-script",)),
        (_module("cachedb"), "cachedb", ("backend",)),
        (lambda config: bool(config.server.private_address), "server", ("private-domain",)),
        (lambda config: config.server.ip_ratelimit != 0, "server", ("ip-ratelimit-cookie", "ip-ratelimit-backoff")),
        (lambda config: config.server.ratelimit != 0, "server", ("ratelimit-backoff",)),
        (lambda config: config.server.answer_cookie, "server", ("cookie-secret", "cookie-secret-file")),
        (_tags_used, "server", ("define-tag",)),
    )
    return {(clause, name): needs for needs, clause, names in groups for name in names}


_NEEDS: Final = _build_conditions()
"""Options that do nothing, in Unbound too, unless something else is configured."""

_ITEM_NEEDS: Final[dict[str, Callable[[Config], bool]]] = {"rpz": _module("respip"), "view": _views_used}
"""The same for whole items."""

_RUNNING_MODULES: Final = frozenset({"validator", "iterator"})
"""Modules that run. The order of all is fixed."""
_PLAIN_MODULES: Final = frozenset({"subnetcache"})
"""Modules whose absence changes no answer unless other options are there, which are told by themselves."""


def uses(config: Config) -> Iterator[Use]:
    """Every option that the file uses, in the order of the table, each once."""
    for option in options.every():
        if option.alias_of or (option.clause in options.ITEM_CLAUSES and not _item_honoured(option.clause)):
            continue
        places = config.given(option.clause, option.name)
        if places:
            yield _use(config, option, places)
    for clause in options.ITEM_CLAUSES:
        items = getattr(config, f"{clause.replace('-', '_')}s")
        if items and not _item_honoured(clause):
            name = options.find(clause, "name")
            effect: Effect = name.effect if name else "answers"
            matters = _ITEM_NEEDS.get(clause, _always)(config)
            why = _WHY[effect] if matters else "nothing else in the file makes use of it"
            places = tuple(item.at for item in items)
            yield Use(clause, "", "not yet", why, matters and effect in STOPPING, places)


def _always(_config: Config) -> bool:
    return True


def _item_honoured(clause: str) -> bool:
    name = options.find(clause, "name")
    return name is not None and options.honoured(name)


def _use(config: Config, option: Option, places: tuple[Position, ...]) -> Use:
    if option.tier == "accept" or option.value_type == "ignored":
        return Use(option.clause, option.name, "without effect", option.reason, False, places)
    if option.tier == "map" and (option.live == "no" or options.honoured(option)):
        return Use(option.clause, option.name, "mapped", option.reason, False, places)
    if options.honoured(option):
        return Use(option.clause, option.name, "honoured", "", False, places)
    if option.name == "module-config":
        missing = set(modules(config)) - _RUNNING_MODULES
        if not missing:
            return Use(option.clause, option.name, "honoured", "", False, places)
        stops = bool(missing - _PLAIN_MODULES)
        names = ", ".join(sorted(missing - _PLAIN_MODULES if stops else missing))
        why = f"{names} would change answers" if stops else f"{names} does not run yet"
        return Use(option.clause, option.name, "not yet", why, stops, places)
    if is_default(config, option):
        return Use(option.clause, option.name, "not yet", "the value is the default", False, places)
    if not _NEEDS.get((option.clause, option.name), _always)(config):
        return Use(option.clause, option.name, "not yet", "nothing else in the file makes use of it", False, places)
    stops = option.tier == "honour" and option.effect in STOPPING
    return Use(option.clause, option.name, "not yet", _WHY[option.effect], stops, places)


def is_default(config: Config, option: Option) -> bool:
    """Whether the file says what would hold without it."""
    if not option.in_model:
        return False
    holders: tuple[Any, ...]
    if option.clause in options.ITEM_CLAUSES:
        holders = getattr(config, f"{option.clause.replace('-', '_')}s")
    else:
        holders = (getattr(config, option.clause.replace("-", "_")),)
    return all(getattr(holder, option.field) == _default(type(holder), option.field) for holder in holders)


def _default(kind: type, field: str) -> object:
    for found in msgspec.structs.fields(kind):
        if found.name == field:
            return found.default
    raise LookupError(field)


def refusals(config: Config, scan: Scan | None = None) -> tuple[Diagnostic, ...]:
    """What forbids the start, an error for each line; `--allow-missing` starts all the same.

    With the scan, messages show the line.
    """
    return _tell("error", (use for use in uses(config) if use.stops), scan)


def warnings(config: Config, scan: Scan | None = None) -> tuple[Diagnostic, ...]:
    """What is not honoured yet and does not forbid the start, a warning for each line. Defaults are not told."""
    silent = "the value is the default"
    missing = (use for use in uses(config) if use.state == "not yet" and not use.stops and use.why != silent)
    return _tell("warning", missing, scan)


def _tell(severity: Severity, missing: Iterable[Use], scan: Scan | None) -> tuple[Diagnostic, ...]:
    hint = "take the line out, or start with --allow-missing" if severity == "error" else None
    findings = Findings(scan)
    for use in missing:
        subject = use.name or use.clause
        for at in use.places:
            text = f"{subject}: is not honoured yet, {use.why}"
            findings.add(severity, at, text, hint, length=len(subject) + 1)
    return findings.sorted()
