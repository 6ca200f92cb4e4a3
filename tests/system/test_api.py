"""The API of a real process, spoken to with the standard library alone: what a script would meet."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from support.packets import Ask, exchange
from support.servers import Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "k" * 40
DATA = '    local-data: "a.example. A 192.0.2.1"\n'


class Api:
    """A client of a few lines."""

    def __init__(self, resolver: Resolver, port: int) -> None:
        self.resolver = resolver
        self.base = f"http://127.0.0.1:{port}"

    def call(self, path: str, method: str = "GET", key: str | None = KEY) -> tuple[int, Any, str]:
        """Status, decoded body and content type."""
        request = urllib.request.Request(self.base + path, method=method)
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response), response.headers.get_content_type()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), error.headers.get_content_type()

    def wait(self) -> None:
        """DNS is answered before the API is there."""
        end = time.monotonic() + 15
        while True:
            try:
                self.call("/health")
            except urllib.error.URLError:
                assert time.monotonic() < end, self.resolver.log()
                time.sleep(0.05)
            else:
                return


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    port = free_port()
    folder = tmp_path_factory.mktemp("api")
    with Resolver(f"    api-port: {port}\n{DATA}", folder, env={"RUNBOUND_API_KEY": KEY}) as resolver:
        client = Api(resolver, port)
        client.wait()
        yield client


def test_health_needs_no_key_and_is_ok(api: Api) -> None:
    status, body, _ = api.call("/health", key=None)
    assert status == 200
    assert body["status"] == "ok"


@pytest.mark.parametrize("path", ["/stats", "/config"])
@pytest.mark.parametrize("key", [None, "wrong" * 10])
def test_without_the_key_nothing_is_told(api: Api, path: str, key: str | None) -> None:
    status, body, kind = api.call(path, key=key)
    assert status == 401
    assert kind == "application/problem+json"
    assert body["status"] == 401


def test_stats_count(api: Api) -> None:
    before = api.call("/stats")[1]
    for _ in range(10):
        exchange(Ask("a.example."), api.resolver.at)
    time.sleep(0.1)
    after = api.call("/stats")[1]
    assert "total.num.queries" in json.dumps(after) or after != before


def test_config_shows_where_an_option_stands(api: Api) -> None:
    status, body, _ = api.call("/config")
    assert status == 200
    text = json.dumps(body)
    assert "api-port" in text
    assert str(api.resolver.conf) in text
    assert KEY not in text


def test_reload_applies_the_file(api: Api) -> None:
    conf = api.resolver.conf.read_text()
    api.resolver.conf.write_text(conf.replace("192.0.2.1", "192.0.2.2"))
    status, _, _ = api.call("/reload", "POST")
    assert status == 200
    reply = exchange(Ask("a.example."), api.resolver.at)
    assert reply is not None
    assert reply.endswith(bytes((192, 0, 2, 2)))


def test_reload_of_a_broken_file_says_what_is_wrong(api: Api) -> None:
    good = api.resolver.conf.read_text()
    api.resolver.conf.write_text(good + "server:\n    no-such-option: 1\n")
    try:
        status, body, kind = api.call("/reload", "POST")
    finally:
        api.resolver.conf.write_text(good)
    assert status in (409, 422)
    assert kind == "application/problem+json"
    assert "no-such-option" in json.dumps(body)
    assert exchange(Ask("a.example."), api.resolver.at) is not None


def test_help_lists_the_routes(api: Api) -> None:
    status, body, _ = api.call("/help")
    assert status == 200
    for path in ("/health", "/stats", "/config", "/reload"):
        assert path in json.dumps(body)


def test_problems_have_one_shape(api: Api) -> None:
    for path, method, expected in (("/nothing", "GET", 404), ("/reload", "GET", 405)):
        status, body, kind = api.call(path, method)
        assert status == expected
        assert kind == "application/problem+json"
        assert body["status"] == expected


def test_openapi(api: Api) -> None:
    status, body, _ = api.call("/api/v1/openapi.json")
    assert status == 200
    assert body["openapi"].startswith("3.1")
    assert "/api/v1/health" in body["paths"]


def test_a_taken_port_costs_the_api_alone_unless_the_file_names_it(tmp_path: Path) -> None:
    with (
        Resolver(f"    api-enable: yes\n{DATA}", tmp_path / "one", env={"RUNBOUND_API_KEY": KEY}) as first,
        Resolver(f"    api-enable: yes\n{DATA}", tmp_path / "two", env={"RUNBOUND_API_KEY": KEY}) as second,
    ):
        for resolver in (first, second):
            assert exchange(Ask("a.example."), resolver.at) is not None
        second.wait_for_log("8081")


def test_a_generated_key_is_private_and_works(tmp_path: Path) -> None:
    port = free_port()
    body = f'    api-port: {port}\n    state-dir: "{tmp_path}/state"\n'
    with Resolver(body, tmp_path / "conf") as resolver:
        client = Api(resolver, port)
        client.wait()
        path = tmp_path / "state" / "api.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        key = path.read_text().strip()
        assert client.call("/stats", key=key)[0] == 200
        assert key not in resolver.log()
