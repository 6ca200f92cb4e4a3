"""Checks of the whole configuration: what no single value can tell, and what the system says about names in it.

Owns the second step of Unbound's checks, with two differences: every finding is told, not only the first, and each has
its place. It must never change the configuration and never open a file for more than to see that it is there. What
local zones and local data hold is checked by Rust, which alone has them.
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Container, Iterable
from typing import Final

from runbound.config import paths, values
from runbound.config.diagnostics import has_errors
from runbound.config.model import Config, Entry, ForwardZone, Position, StubZone, View
from runbound.config.parse import Findings
from runbound.config.values import canonical_name, quote

BUILT_MODULES: Final = frozenset({"validator", "iterator", "subnetcache", "dns64", "respip", "python", "cachedb"})
"""Modules that a `module-config` may name: those whose work runbound does or will do."""

OTHER_MODULES: Final = frozenset({"ipsecmod", "ipset", "dynlib"})
"""Modules of Unbound that are not offered: a file naming them is taken, with a warning."""

_ORDERS: Final = frozenset(
    {
        *("iterator", "validator iterator"),
        *("dns64 iterator", "dns64 validator iterator"),
        *("respip iterator", "respip validator iterator"),
        *("respip dns64 iterator", "respip dns64 validator iterator"),
        *("python iterator", "python validator iterator", "validator python iterator"),
        *("dns64 python iterator", "dns64 python validator iterator", "dns64 validator python iterator"),
        *("python dns64 iterator", "python dns64 validator iterator"),
        *("python respip iterator", "python respip validator iterator"),
        *("subnetcache iterator", "subnetcache validator iterator"),
        *("respip subnetcache iterator", "respip subnetcache validator iterator"),
        *("dns64 subnetcache iterator", "dns64 subnetcache validator iterator"),
        *("python subnetcache iterator", "python subnetcache validator iterator"),
        *("subnetcache python iterator", "subnetcache python validator iterator"),
        *("subnetcache validator python iterator", "python respip subnetcache validator iterator"),
    }
)
"""Orders that Unbound 1.17.1 takes, as probed. Modules that Debian's build lacks may stand anywhere in them."""

_WILDCARDS: Final = frozenset("*?[{~")
_DNS64_LENGTHS: Final = (32, 40, 48, 56, 64, 96)
"""Prefix lengths of RFC 6052 2.2."""
_CONTROL_FILES: Final = ("server-key-file", "server-cert-file", "control-key-file", "control-cert-file")


def check(config: Config, findings: Findings, main_file: str) -> None:
    """Adds to `findings` all that is wrong with the whole."""
    for part in (
        _transports,
        _interfaces,
        _modules,
        _views,
        _zones,
        _forwarding,
        _cache,
        _policy,
        _control,
        _anchors,
        _dns64,
        _test_switches,
    ):
        part(config, findings)
    _files(config, findings, main_file)
    _user(config, findings)


def _last(config: Config, clause: str, option: str) -> Position | None:
    given = config.given(clause, option)
    return given[-1] if given else None


def _transports(config: Config, findings: Findings) -> None:
    server = config.server
    if not server.do_ip4 and not server.do_ip6:
        at = _last(config, "server", "do-ip6")
        findings.error(at, "do-ip6: IPv4 and IPv6 are both switched off", "leave one of do-ip4: and do-ip6: on")
    if not server.do_udp and not server.do_tcp:
        at = _last(config, "server", "do-tcp")
        findings.error(at, "do-tcp: UDP and TCP are both switched off", "leave one of do-udp: and do-tcp: on")


def _local_addresses(name: str) -> bool:
    """Whether the system has a network interface of that name."""
    try:
        return any(name == found for _, found in socket.if_nameindex())
    except OSError:
        return False


def _interfaces(config: Config, findings: Findings) -> None:
    server = config.server
    seen: dict[tuple[str, int], Position] = {}
    for entry in server.interface:
        host, sign, tail = entry.values[0].partition("@")
        text = quote(entry.values[0])
        if not _is_ip(host) and not _local_addresses(host):
            what = f"interface: {text} is neither an address nor a network interface of this system"
            findings.error(entry.at, what, _interface_hint(host))
            continue
        key = (_same_address(host), int(tail) if sign else server.port)
        first = seen.setdefault(key, entry.at)
        if first is not entry.at:
            what = f"interface: {text} stands twice, the same port cannot be bound twice"
            findings.error(entry.at, what, f"it stands at {first} already")
    sources: dict[str, Position] = {}
    for entry in server.outgoing_interface:
        first = sources.setdefault(_same_address(entry.values[0]), entry.at)
        if first is not entry.at:
            findings.error(entry.at, f"outgoing-interface: {quote(entry.values[0])} stands twice", f"first at {first}")


def _interface_hint(host: str) -> str | None:
    try:
        names = [name for _, name in socket.if_nameindex()]
    except OSError:
        return None
    return f"interfaces here are {', '.join(names)}" if names and not host[:1].isdigit() else None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _same_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def modules(config: Config) -> tuple[str, ...]:
    """The modules in force, in their order."""
    return tuple(config.server.module_config.split())


def _modules(config: Config, findings: Findings) -> None:
    text = config.server.module_config
    at = _last(config, "server", "module-config")
    names = text.split()
    for name in names:
        if name in OTHER_MODULES:
            findings.warning(at, f"module-config: the module {quote(name)} is not offered, the others run without it")
        elif name not in BUILT_MODULES:
            known = ", ".join(sorted(BUILT_MODULES))
            findings.error(at, f"module-config: there is no module {quote(name)}", f"there are {known}")
    known_names = set(names) <= BUILT_MODULES | OTHER_MODULES
    extra = OTHER_MODULES | {"cachedb"}
    plain = " ".join(name for name in names if name not in extra)
    exact = text == " ".join(names)
    if known_names and not (exact and plain in _ORDERS):
        hint = f"write {quote(' '.join(names))}" if plain in _ORDERS else 'the usual order is "validator iterator"'
        findings.error(at, f"module-config: {quote(text)} is no order of modules that works", hint)
    if "python" in names and not config.python.python_script:
        findings.error(at, "module-config: the module python has no script", "python-script: in a python: clause")


def _views(config: Config, findings: Findings) -> None:
    first: dict[str, View] = {}
    for view in config.views:
        if view.name and first.setdefault(view.name, view) is not view:
            findings.error(view.at, f"view: {quote(view.name)} stands twice", f"first at {first[view.name].at}")
    server = config.server
    users: tuple[tuple[str, tuple[Entry, ...], Callable[[Position, str, str | None], None]], ...] = (
        ("access-control-view", server.access_control_view, findings.error),
        # Unbound looks a view up only for an interface that it listens on.
        ("interface-view", server.interface_view, findings.warning),
    )
    for option, entries, tell in users:
        for entry in entries:
            if entry.values[1] not in first:
                names = ", ".join(first) or "none"
                tell(entry.at, f"{option}: there is no view {quote(entry.values[1])}", f"views are: {names}")


def _zones(config: Config, findings: Findings) -> None:
    forwards = [(zone, "forward-zone", "forward-addr", zone.forward_addr) for zone in config.forward_zones]
    stubs = [(zone, "stub-zone", "stub-addr", zone.stub_addr) for zone in config.stub_zones]
    taken: dict[str, tuple[str, Position]] = {}
    zones: Iterable[tuple[ForwardZone | StubZone, str, str, tuple[Entry, ...]]] = (*stubs, *forwards)
    for zone, clause, option, addresses in zones:
        if not zone.name:
            continue
        key = canonical_name(zone.name)
        if key in taken:
            other, place = taken[key]
            what = f"{other}: {quote(zone.name)} is ignored, a {clause}: of the same name wins"
            findings.warning(place, what, f"the one that wins stands at {zone.at}")
        taken[key] = (clause, zone.at)
        if not config.server.do_not_query_localhost:
            continue
        for entry in addresses:
            host = entry.values[0].partition("#")[0].partition("@")[0]
            if _is_ip(host) and ipaddress.ip_address(host).is_loopback:
                what = f"{option}: {quote(entry.values[0])} is never asked while do-not-query-localhost is yes"
                findings.warning(entry.at, what, "do-not-query-localhost: no, in server:")


def _forwarding(config: Config, findings: Findings) -> None:
    zones = {canonical_name(zone.name): zone for zone in config.forward_zones if zone.name}
    for name, zone in zones.items():
        if not zone.forward_addr and not zone.forward_host and not has_errors(findings.found):
            what = f"forward-zone: {quote(zone.name)} has no server, its names get SERVFAIL"
            findings.warning(zone.at, what, "add forward-addr: or take the clause out")
        for entry in () if zone.forward_addr else zone.forward_host:
            host = entry.values[0].partition("#")[0].partition("@")[0]
            if not _is_ip(host) and _closest(canonical_name(host), zones) == name:
                what = f"forward-host: {quote(entry.values[0])} can only be looked up at the servers of its own zone"
                findings.warning(entry.at, what, "add a forward-addr: to the zone")
    if config.server.resolution == "forward" and "." not in zones:
        at = _last(config, "server", "resolution")
        what = "resolution: forward sends everything to forwarders, and there is none for all names"
        findings.error(at, what, 'add a forward-zone: with name: "." and a forward-addr:')


def _closest(name: str, zones: Container[str]) -> str | None:
    """The zone closest above a canonical name. A dot that is escaped only makes it look further down than it is."""
    while name not in zones:
        if name == ".":
            return None
        name = name.partition(".")[2] or "."
    return name


def _cache(config: Config, findings: Findings) -> None:
    server = config.server
    pairs = (
        ("cache-min-ttl", server.cache_min_ttl, "cache-max-ttl", server.cache_max_ttl),
        (
            *("cache-min-negative-ttl", server.cache_min_negative_ttl),
            *("cache-max-negative-ttl", server.cache_max_negative_ttl),
        ),
        ("infra-cache-min-rtt", server.infra_cache_min_rtt, "infra-cache-max-rtt", server.infra_cache_max_rtt),
    )
    for least, low, most, high in pairs:
        if low > high:
            at = _last(config, "server", least) or _last(config, "server", most)
            findings.warning(at, f"{least}: {low} is more than {most} permits, which is {high}")
    if server.ede_serve_expired and not server.ede:
        at = _last(config, "server", "ede-serve-expired")
        findings.warning(at, "ede-serve-expired: has no effect while ede is no", "ede: yes, in server:")


def _policy(config: Config, findings: Findings) -> None:
    if config.rpzs and "respip" not in modules(config):
        hint = 'write module-config: "respip validator iterator"'
        findings.warning(config.rpzs[0].at, "rpz: has no effect while module-config does not name respip", hint)


def _control(config: Config, findings: Findings) -> None:
    for entry in config.remote_control.control_interface:
        text = entry.values[0]
        host = text.partition("@")[0]
        if not (text.startswith("/") or _is_ip(host) or _local_addresses(host)):
            what = f"control-interface: {quote(text)} is no address, network interface or socket path"
            findings.warning(entry.at, what)


def _anchors(config: Config, findings: Findings) -> None:
    for entry in config.server.trust_anchor:
        try:
            values.anchor(entry.values[0])
        except values.BadValue as problem:
            findings.error(entry.at, f"trust-anchor: {problem.text}", problem.hint)


def _dns64(config: Config, findings: Findings) -> None:
    if "dns64" not in modules(config):
        return
    prefix = config.server.dns64_prefix
    host, _, length = prefix.partition("/")
    if not (_is_ip(host) and ":" in host and length.isdigit() and int(length) in _DNS64_LENGTHS):
        lengths = ", ".join(map(str, _DNS64_LENGTHS))
        at = _last(config, "server", "dns64-prefix")
        findings.warning(at, f"dns64-prefix: {quote(prefix)} is not an IPv6 network of length {lengths}")


def _test_switches(config: Config, findings: Findings) -> None:
    for option, value in (("fake-sha1", config.server.fake_sha1), ("fake-dsa", config.server.fake_dsa)):
        if value:
            findings.warning(_last(config, "server", option), f"{option}: a test switch is on")


def _files(config: Config, findings: Findings, main_file: str) -> None:
    server = config.server
    at = _last(config, "server", "chroot")
    if len(server.chroot) > 1 and server.chroot.endswith("/"):
        findings.error(
            at, f"chroot: {quote(server.chroot)} ends in a slash", f"write {quote(server.chroot.rstrip('/'))}"
        )
    elif server.chroot and not os.path.isdir(server.chroot):
        findings.error(at, f"chroot: {quote(server.chroot)} is no directory", _missing_part(server.chroot))
    if server.directory:
        folder = paths.working_directory(config, main_file)
        if not os.path.isdir(folder):
            where = _last(config, "server", "directory")
            findings.error(where, f"directory: {quote(folder)} is no directory", _missing_part(folder))
            # Relative names would only repeat this.
            return

    def resolve(name: str) -> str:
        return paths.resolve(config, main_file, name)

    for option, path in (
        # Written before Unbound changes its root, so no prefix.
        ("pidfile", server.pidfile and os.path.join(paths.working_directory(config, main_file), server.pidfile)),
        ("logfile", server.logfile and resolve(server.logfile)),
        ("query-log-file", server.query_log_file and resolve(server.query_log_file)),
    ):
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            where = _last(config, "server", option)
            findings.error(where, f"{option}: there is no directory {quote(folder)}", _missing_part(folder))
    for option, entries in (
        ("root-hints", server.root_hints),
        ("trust-anchor-file", server.trust_anchor_file),
        ("auto-trust-anchor-file", server.auto_trust_anchor_file),
        ("trusted-keys-file", server.trusted_keys_file),
        ("python-script", config.python.python_script if "python" in modules(config) else ()),
    ):
        for entry in entries:
            if entry.values[0] and not (option == "trusted-keys-file" and _WILDCARDS & set(entry.values[0])):
                _must_exist(findings, entry.at, option, resolve(entry.values[0]))
    for zone in config.auth_zones:
        if zone.zonefile and not zone.primary and not zone.url:
            where = _in_item(config, "auth-zone", "zonefile", zone.at)
            _must_exist(findings, where, "zonefile", resolve(zone.zonefile), "or name a primary: to transfer it from")
    for rpz in config.rpzs:
        if rpz.zonefile and not rpz.primary and not rpz.url:
            where = _in_item(config, "rpz", "zonefile", rpz.at)
            _must_exist(findings, where, "zonefile", resolve(rpz.zonefile), "or name a primary: to transfer it from")
    control = config.remote_control
    interfaces = [entry.values[0] for entry in control.control_interface]
    by_address = not interfaces or not interfaces[0].startswith("/")
    if control.control_enable and control.control_use_cert and by_address:
        names = (control.server_key_file, control.server_cert_file, control.control_key_file, control.control_cert_file)
        for option, name in zip(_CONTROL_FILES, names, strict=True):
            where = _last(config, "remote-control", option) or _last(config, "remote-control", "control-enable")
            hint = "make it with unbound-control-setup, or use a socket path as control-interface"
            _must_exist(findings, where, option, resolve(name), hint)


def _in_item(config: Config, clause: str, option: str, opened: Position) -> Position:
    """The last place of an option in the item opened there: what follows the opening up to the next one is its own."""
    found = [at for at in config.given(clause, option) if at.file == opened.file and at.line >= opened.line]
    return found[0] if found else opened


def _must_exist(findings: Findings, at: Position | None, option: str, path: str, hint: str | None = None) -> None:
    if not os.path.exists(path):
        findings.error(at, f"{option}: there is no file {quote(path)}", hint or _missing_part(os.path.dirname(path)))


def _missing_part(path: str) -> str | None:
    """The first directory on the way that does not exist."""
    missing = None
    while path and path != "/" and not os.path.isdir(path):
        missing, path = path, os.path.dirname(path)
    return f"there is no {missing}" if missing else None


def _user(config: Config, findings: Findings) -> None:
    name = config.server.username
    if not name:
        return
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        at = _last(config, "server", "username")
        findings.error(at, f"username: there is no user {quote(name)} on this system", 'empty stays who starts it: ""')
