"""Checks of the whole, one by one, with their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.reading import Read


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ("server:\n do-ip4: no\n do-ip6: no\n", "unbound.conf:3:2: do-ip6: IPv4 and IPv6 are both switched off"),
        ("server:\n do-udp: no\n do-tcp: no\n", "unbound.conf:3:2: do-tcp: UDP and TCP are both switched off"),
        ("server:\n interface: eth99\n", 'unbound.conf:2:2: interface: "eth99" is neither an address nor a network'),
        (
            "server:\n interface: 127.0.0.1\n port: 53\n interface: 127.0.0.1@53\n",
            'unbound.conf:4:2: interface: "127.0.0.1@53" stands twice',
        ),
        ('server:\n module-config: "bogus iterator"\n', 'unbound.conf:2:2: module-config: there is no module "bogus"'),
        ('server:\n module-config: "validator  iterator"\n', "unbound.conf:2:2: module-config: "),
        ('server:\n module-config: ""\n', 'unbound.conf:2:2: module-config: "" is no order of modules that works'),
        ('server:\n module-config: "python iterator"\n', "unbound.conf:2:2: module-config: the module python has no"),
        ("view:\n name: v\nview:\n name: v\n", 'unbound.conf:3:1: view: "v" stands twice'),
        (
            "server:\n access-control-view: 10.0.0.0/8 v\n",
            'unbound.conf:2:2: access-control-view: there is no view "v"',
        ),
        ("server:\n chroot: /tmp/\n", 'unbound.conf:2:2: chroot: "/tmp/" ends in a slash'),
        ("server:\n directory: /nonexistent/a\n", 'unbound.conf:2:2: directory: "/nonexistent/a" is no directory'),
        ("server:\n root-hints: x\n", "unbound.conf:2:2: root-hints: there is no file"),
        ("server:\n logfile: /nonexistent/a\n", 'unbound.conf:2:2: logfile: there is no directory "/nonexistent"'),
        ("server:\n username: nosuchuser\n", 'unbound.conf:2:2: username: there is no user "nosuchuser"'),
        ("remote-control:\n control-enable: yes\n", "unbound.conf:2:2: server-key-file: there is no file"),
        ("auth-zone:\n name: a\n zonefile: x\n", "unbound.conf:3:2: zonefile: there is no file"),
        (
            "server:\n resolution: forward\nforward-zone:\n name: a\n forward-addr: 192.0.2.1\n",
            "unbound.conf:2:2: resolution: forward sends everything to forwarders, and there is none for all names",
        ),
        (
            'server:\n trust-anchor: ". DS 1 8 2 ZZ"\n',
            'unbound.conf:2:2: trust-anchor: ". DS 1 8 2 ZZ" is no DS record',
        ),
    ],
)
def test_refused(read: Read, text: str, headline: str) -> None:
    loaded = read(text)
    assert not loaded.ok
    assert loaded.diagnostics[0].headline.startswith(headline)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("server:\n interface: lo\n interface: 127.0.0.1@54\n", 0),
        ('server:\n module-config: "validator cachedb iterator"\n', 0),
        ('server:\n module-config: "ipsecmod validator iterator"\n', 1),
        ("forward-zone:\n name: a\n forward-host: b\nforward-zone:\n name: A.\n forward-host: b\n", 1),
        ("forward-zone:\n name: a\n", 1),
        ("forward-zone:\n name: a\n forward-host: dns.a\n", 1),
        ("forward-zone:\n name: a\n forward-host: dns.b\n", 0),
        ("forward-zone:\n name: .\n forward-host: dns.b\n forward-addr: 192.0.2.1\n", 0),
        ("server:\n resolution: forward\nforward-zone:\n name: .\n forward-addr: 192.0.2.1\n", 0),
        ("server:\n cache-min-ttl: 100\n cache-max-ttl: 10\n", 1),
        ("server:\n cache-max-negative-ttl: 5\n cache-min-negative-ttl: 6\n", 1),
        ("server:\n infra-cache-max-rtt: 10\n", 1),
        ("server:\n ede-serve-expired: yes\n", 1),
        ("server:\n ede-serve-expired: yes\n ede: yes\n", 0),
        ("stub-zone:\n name: a\nforward-zone:\n name: a\n forward-addr: 192.0.2.1\n", 1),
        ("forward-zone:\n name: .\n forward-addr: 127.0.0.1@5353\n", 1),
        ("server: do-not-query-localhost: no\nforward-zone:\n name: .\n forward-addr: 127.0.0.1@5353\n", 0),
        ("forward-zone:\n name: .\n forward-host: 192.0.2.1\n", 1),
        ("rpz:\n name: a\n", 1),
        ('server:\n module-config: "dns64 iterator"\n dns64-prefix: 10.0.0.0/8\n', 1),
        ("server:\n fake-sha1: yes\n", 1),
        ('server:\n trusted-keys-file: "/nonexistent/*.key"\n', 0),
        ("remote-control:\n control-enable: yes\n control-interface: /run/x.sock\n", 0),
        ("server:\n access-control-view: 10.0.0.0/8 v\nview:\n name: v\n", 0),
        ("auth-zone:\n name: a\n zonefile: x\n primary: 192.0.2.1\n", 0),
    ],
)
def test_taken(read: Read, text: str, warnings: int) -> None:
    loaded = read(text)
    assert loaded.ok, [str(item) for item in loaded.diagnostics]
    assert len(loaded.diagnostics) == warnings


def test_names_go_by_the_folder_of_the_file_and_by_directory(read: Read, tmp_path: Path) -> None:
    (tmp_path / "hints").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other").touch()
    assert read("server:\n root-hints: hints\n").ok
    assert read(f"server:\n directory: {tmp_path}/sub\n root-hints: other\n").ok
    assert not read(f"server:\n directory: {tmp_path}/sub\n root-hints: hints\n").ok
    assert read(f'server:\n chroot: "{tmp_path}"\n directory: /\n root-hints: /sub/other\n').ok
    assert read(f'server:\n chroot: "{tmp_path}"\n directory: "{tmp_path}/sub"\n root-hints: other\n').ok


def test_the_engine_checks_what_only_it_has_even_after_errors(read: Read) -> None:
    from runbound.config import load

    loaded = read("server:\n local-zone: a static\n port: x\n")
    asked: list[int] = []

    def check(config: object, scan: object) -> list[tuple[str, str, int, int, int, int, str, str | None]]:
        asked.append(config.server.port)  # type: ignore[attr-defined]
        return []

    load.examine(loaded.scan, "unbound.conf", check)  # type: ignore[arg-type]
    assert asked == [53]
