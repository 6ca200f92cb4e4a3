"""What stops a start, what is only told, and what the report says of each directive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runbound.config import options, report, start

if TYPE_CHECKING:
    from support.reading import Read


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is honoured but what the test registers."""
    monkeypatch.setattr(options, "_honoured", set())
    options.honour("server", "port", "interface", "num-threads")
    options.honour("forward-zone", "name", "forward-addr")


def stopping(read: Read, text: str) -> list[str]:
    return [item.headline for item in start.refusals(read(text).config)]


@pytest.mark.parametrize(
    "text",
    [
        "server:\n tls-upstream: yes\n",
        "server:\n private-address: 10.0.0.0/8\n",
        "server:\n access-control: 10.0.0.0/8 allow\n",
        "server:\n ip-ratelimit: 5\n",
        "server:\n cache-max-ttl: 5\n",
        "server:\n local-zone: a static\n",
        "server:\n interface: 127.0.0.1@853\n tls-service-key: k\n",
        'server:\n module-config: "dns64 iterator"\n',
        'server:\n module-config: "respip validator iterator"\n',
        "forward-zone:\n name: .\n forward-tls-upstream: yes\n",
        "stub-zone:\n name: a\n stub-addr: 192.0.2.1\n",
        "auth-zone:\n name: a\n",
        "server:\n resolution: full-recursion\n",
    ],
)
def test_options_that_nobody_may_believe_in_stop_the_start(read: Read, text: str) -> None:
    assert len(stopping(read, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "server:\n port: 5353\n interface: 127.0.0.1\n num-threads: 2\n msg-cache-slabs: 4\n",
        "server:\n prefetch: yes\n",
        "server:\n tls-upstream: no\n harden-glue: yes\n",
        "server:\n tls-service-key: k\n tls-service-pem: p\n tls-cert-bundle: b\n",
        "server:\n dns64-prefix: 64:ff9b:1::/96\n private-domain: a\n",
        "server:\n response-ip: 192.0.2.0/24 deny\n",
        'server:\n module-config: "subnetcache validator iterator"\n',
        "server:\n shm-enable: yes\n",
        "rpz:\n name: a\n",
        "view:\n name: a\n",
        'server:\n trust-anchor: ". DS 1 8 2 00"\n domain-insecure: a\n',
        "server:\n ip-ratelimit-backoff: yes\n",
    ],
)
def test_the_rest_does_not(read: Read, text: str) -> None:
    assert stopping(read, text) == []


def test_every_line_is_named(read: Read) -> None:
    assert stopping(read, "server:\n private-address: 10.0.0.0/8\n private-address: fd00::/8\n") == [
        "unbound.conf:2:2: private-address: is not honoured yet, answers would not be filtered as the file says",
        "unbound.conf:3:2: private-address: is not honoured yet, answers would not be filtered as the file says",
    ]


def test_what_starts_without_is_told(read: Read) -> None:
    loaded = read('server:\n prefetch: yes\n harden-glue: yes\n trust-anchor: ". DS 1 8 2 00"\n port: 1\n')
    assert [item.headline for item in start.warnings(loaded.config)] == [
        "unbound.conf:2:2: warning: prefetch: is not honoured yet, answers do not depend on it",
        "unbound.conf:4:2: warning: trust-anchor: is not honoured yet, DNSSEC is validated without it",
    ]


def test_a_refusal_shows_its_line(read: Read) -> None:
    loaded = read("server:\n tls-upstream: yes\n")
    assert str(start.refusals(loaded.config, loaded.scan)[0]).splitlines()[1:3] == [
        "     2 |  tls-upstream: yes",
        "       |  ^^^^^^^^^^^^^",
    ]


def test_the_report_has_a_row_for_each_directive(read: Read) -> None:
    loaded = read(
        "server:\n port: 5353\n num-threads: 2\n prefetch: yes\n shm-enable: yes\n local-zone: a static\n"
        " local-zone: b static\n tls-upstream: yes\nforward-zone:\n name: .\n forward-addr: 192.0.2.1\n"
        "stub-zone:\n name: a\n"
    )
    rows = {row.directive: row for row in report.rows(loaded.config, loaded.scan.bulk_counts())}
    assert {name: row.state for name, row in rows.items()} == {
        "port": "honoured",
        "num-threads": "mapped",
        "prefetch": "not yet",
        "shm-enable": "without effect",
        "local-zone": "not yet",
        "tls-upstream": "not yet",
        "name": "honoured",
        "forward-addr": "honoured",
        "stub-zone:": "not yet",
    }
    assert {name for name, row in rows.items() if row.stops_start} == {"local-zone", "tls-upstream", "stub-zone:"}
    assert rows["local-zone"].times == 2
    assert rows["num-threads"].detail.startswith("given: exactly that many workers")
    table = report.as_table(rows.values())
    assert table.splitlines()[0].split() == ["clause", "directive", "times", "first", "state", "detail"]
    assert table.endswith("9 directives: 3 honoured, 1 mapped, 1 without effect, 4 not yet (3 of them stop the start)")


def test_values_are_printed_as_checkconf_does(read: Read) -> None:
    config = read("server:\n ip-address: 127.0.0.1\n interface: ::1\n do-ip6: no\n msg-cache-size: 4m\n").config
    assert report.value_of(config, "do-ip6") == "no"
    assert report.value_of(config, "msg-cache-size") == "4194304"
    assert report.value_of(config, "ip-address") == "::1\n127.0.0.1"
    assert report.value_of(config, "local-zone") is None
    assert report.value_of(config, "bogus") is None
