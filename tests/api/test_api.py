"""The API's contract: who may call, what comes back, and that every error is a problem."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from runbound.api.apikey import KeyCheck
from runbound.api.gate import HEADERS
from runbound.api.limits import Bounds, RateLimit
from runbound.api.problems import CODES, MEDIA_TYPE
from runbound.errors import RunboundError
from runbound.ops.candidate import Candidate
from support.api import KEY, Api
from support.control import server_config, wrong

PREFIXES = ["/api/v1", ""]
PROTECTED = [
    *(("GET", path) for path in ("/stats", "/stats/stream", "/metrics", "/system", "/upstreams", "/upstreams/x")),
    *(("GET", path) for path in ("/cache/stats", "/cache/dump", "/config")),
    *(("POST", path) for path in ("/cache/flush", "/cache/load", "/dns/lookup", "/dns/explain", "/reload")),
]


def problem(response: Any, code: str) -> dict[str, Any]:
    """Checks that the response is that problem, and gives its body."""
    assert response.headers["content-type"] == MEDIA_TYPE
    body = response.json()
    assert body["code"] == code
    assert (response.status_code, body["title"]) == CODES[code]
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize("prefix", PREFIXES)
def test_health_is_open_and_ignores_a_wrong_key(api: Api, prefix: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, api.key):
        response = api.client.get(f"{prefix}/health", headers=headers)
        assert response.status_code == 200
        body = response.json()
        assert body["status"] == "ok"
        assert body["node"] == "node-1"
        assert body["hsm"] is False
        assert (body["upstreams_healthy"], body["upstreams_total"], body["cache_entries"]) == (1, 2, 5)
        assert body["reason"] is None


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Basic {KEY}", KEY, f"Bearer {KEY[:-1]}", "Bearer \xff"],
)
def test_without_the_key_nothing(api: Api, prefix: str, method: str, path: str, value: str | None) -> None:
    headers = {} if value is None else {b"authorization": value.encode("latin-1")}
    response = api.client.request(method, prefix + path, headers=headers)
    problem(response, "UNAUTHORIZED")
    assert response.headers["www-authenticate"].startswith("Bearer")
    broken = api.client.request(method, prefix + path, headers=headers, content=b"{", params={"given": "perhaps"})
    problem(broken, "UNAUTHORIZED")
    assert api.engine.calls == []


def test_two_authorization_headers_are_none(api: Api) -> None:
    headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer other")]
    problem(api.client.get("/stats", headers=headers), "UNAUTHORIZED")


def test_stats(api: Api) -> None:
    body = api.client.get("/api/v1/stats", headers=api.key).json()
    assert body["counters"]["total.num.queries"] == 7
    assert body["cache_bytes"] == 4096
    assert body["revision"] == 1


def test_config_shows_origins_and_no_secret(api: Api) -> None:
    response = api.client.get("/api/v1/config", headers=api.key)
    assert KEY not in response.text
    assert "c" * 32 not in response.text
    options = {(o["clause"], o["option"]): o for o in response.json()["options"]}
    assert options["server", "verbosity"]["value"] == 2
    assert options["server", "verbosity"]["origin"] == [{"kind": "file", "file": "test.conf", "line": 1, "column": 1}]
    assert options["server", "port"]["origin"][0]["kind"] == "default"
    assert options["server", "access-control"]["value"] == ["10.0.0.0/8 allow"]
    assert options["server", "api-key"]["secret"] is True
    assert options["server", "api-key"]["value"] is None
    given = api.client.get("/config?given=1", headers=api.key).json()["options"]
    assert {o["option"] for o in given} == {"verbosity", "api-key", "cookie-secret", "access-control"}


def test_reload_says_what_changed(api: Api) -> None:
    api.source.next = Candidate(server_config(verbosity=4, num_threads=3), (wrong("odd", "warning"),))
    response = api.client.post("/api/v1/reload", headers=api.key)
    assert response.status_code == 200
    body = response.json()
    assert body["revision"] == 2
    assert {"option": "verbosity", "effect": "live"} in body["changes"]
    assert {"option": "num-threads", "effect": "restart"} in body["changes"]
    assert body["warnings"][0]["message"] == "odd"


def test_a_broken_file_is_422_with_its_diagnostics(api: Api) -> None:
    api.source.next = Candidate(server_config(verbosity=4), (wrong("one"), wrong("two")))
    body = problem(api.client.post("/reload", headers=api.key), "CONFIG_INVALID")
    assert body["diagnostics"][0] == {
        "severity": "error",
        "file": "test.conf",
        "line": 3,
        "column": 5,
        "message": "one",
        "hint": "do it so",
    }
    assert len(body["diagnostics"]) == 2
    assert api.changes.running.revision == 1
    api.source.next = RunboundError("cannot read", "x.conf")
    assert "x.conf" in problem(api.client.post("/reload", headers=api.key), "CONFIG_INVALID")["detail"]


def test_help_lists_every_route(api: Api) -> None:
    body = api.client.get("/help").json()
    listed = {(r["method"], r["path"]): r["needs_key"] for r in body["resources"]}
    paths = api.client.get(body["openapi"]).json()["paths"]
    assert set(listed) == {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {path for (_, path), needs_key in listed.items() if not needs_key} == {"/api/v1/health", "/api/v1/help"}


def test_unknown_paths_and_methods(api: Api) -> None:
    problem(api.client.get("/api/v1/nothing"), "NOT_FOUND")
    problem(api.client.get("/health/"), "NOT_FOUND")
    for prefix in PREFIXES:
        response = api.client.delete(f"{prefix}/health")
        problem(response, "METHOD_NOT_ALLOWED")
        assert response.headers["allow"] == "GET, HEAD"
        assert api.client.get(f"{prefix}/reload").headers["allow"] == "POST"
    problem(api.client.options("/api/v1/stats"), "METHOD_NOT_ALLOWED")
    assert api.client.post("/api/v1/openapi.json").headers["allow"] == "GET, HEAD"


def test_a_wrong_parameter_names_its_field(api: Api) -> None:
    body = problem(api.client.get("/config?given=perhaps", headers=api.key), "VALIDATION_FAILED")
    assert body["errors"][0]["field"] == "query.given"


def test_the_body_limit_holds_with_and_without_a_length(api: Api) -> None:
    big = b"x" * (Bounds().body + 1)
    problem(api.client.post("/api/v1/reload", headers=api.key, content=big), "BODY_TOO_LARGE")
    assert api.engine.calls == []

    def pieces(size: int) -> Iterator[bytes]:
        yield b'{"what": "negative"'
        yield from [b" " * 8192] * (size // 8192)
        yield b"}"

    headers = {**api.key, "Content-Type": "application/json"}
    assert api.client.post("/cache/flush", headers=headers, content=pieces(8192)).json()["removed"] == 3
    problem(api.client.post("/cache/flush", headers=headers, content=pieces(65536)), "BODY_TOO_LARGE")
    assert len(api.engine.calls) == 1


class Panic(BaseException):
    """As a panic of the engine comes out: no Exception."""


@pytest.mark.parametrize("kind", [ValueError, Panic])
def test_what_breaks_inside_tells_strangers_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    def fail() -> dict[str, int]:
        raise kind("the inner workings")

    monkeypatch.setattr(api.engine, "stats", fail)
    response = api.client.get("/stats", headers=api.key)
    problem(response, "INTERNAL_ERROR")
    for name, value in HEADERS:
        assert response.headers[name.decode()] == value.decode()
    assert "inner" not in response.text
    assert api.engine.said("the inner workings")


@pytest.mark.parametrize("keyed", [False, True])
def test_who_calls_too_often_is_braked_and_the_other_is_not(api: Api, keyed: bool) -> None:
    mine, theirs = ("/system", "/health") if keyed else ("/health", "/system")
    for _ in range(int(Bounds().burst)):
        assert api.client.get(mine, headers=api.key).status_code == 200
    response = api.client.get(mine, headers=api.key)
    problem(response, "RATE_LIMITED")
    assert int(response.headers["retry-after"]) >= 1
    assert api.client.get(theirs, headers=api.key).status_code == 200
    api.now[0] += 1.0
    assert api.client.get(mine, headers=api.key).status_code == 200


def test_the_limits_are_those_of_the_configuration_in_force(api: Api) -> None:
    api.source.next = Candidate(server_config(api_rate_limit=1, api_rate_burst=2, api_max_body=10), ())
    assert api.client.post("/reload", headers=api.key).status_code == 200
    big = api.client.post("/cache/flush", headers=api.key, json={"what": "negative"})
    problem(big, "BODY_TOO_LARGE")
    assert api.client.get("/system", headers=api.key).status_code == 200
    problem(api.client.post("/reload", headers=api.key), "RATE_LIMITED")
    api.now[0] += 3.0
    api.source.next = Candidate(server_config(api_rate_limit=0), ())
    assert api.client.post("/reload", headers=api.key).status_code == 200
    for _ in range(int(Bounds().burst) + 10):
        assert api.client.get("/system", headers=api.key).status_code == 200


def test_the_unix_socket_is_not_braked(api: Api) -> None:
    app = api.client.app
    with TestClient(app, client=None) as client:  # type: ignore[arg-type]  # as uvicorn has it for a Unix socket
        for _ in range(int(Bounds().burst) + 10):
            assert client.get("/help").status_code == 200


@pytest.mark.parametrize("path", [path for method, path in PROTECTED if method == "GET" and path != "/upstreams/x"])
def test_head_is_get_without_the_body(api: Api, path: str) -> None:
    head = api.client.head(path, headers=api.key)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"]
    problem_ = api.client.head(path)
    assert (problem_.status_code, problem_.content) == (401, b"")
    if path not in ("/stats/stream", "/metrics", "/stats"):
        same = api.client.get(path, headers=api.key)
        assert head.headers.get("content-length") == same.headers.get("content-length")


def test_head_where_there_is_no_get(api: Api) -> None:
    response = api.client.head("/reload", headers=api.key)
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")
    assert api.engine.calls == []


def test_headers_close_the_browsers_doors(api: Api) -> None:
    for response in (api.client.get("/health"), api.client.get("/nothing"), api.client.get("/stats")):
        for name, value in HEADERS:
            assert response.headers[name.decode()] == value.decode()
        assert "access-control-allow-origin" not in response.headers


def test_openapi_is_complete(api: Api) -> None:
    schema = api.client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    paths = {resource["path"] for resource in api.client.get("/help").json()["resources"]}
    assert set(schema["paths"]) == paths
    assert "HTTPValidationError" not in str(schema)
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            errors = {status: r for status, r in operation["responses"].items() if int(status) >= 400}
            assert {"405", "413", "429", "500"} <= set(errors), path
            assert ("401" in errors) == ("security" in operation), path
            for response in errors.values():
                assert set(response["content"]) == {MEDIA_TYPE}
    references = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            references.update([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    assert {r.rsplit("/", 1)[1] for r in references} <= set(schema["components"]["schemas"])


def test_key_check() -> None:
    check = KeyCheck(KEY)
    assert check.matches(KEY.encode())
    assert not check.matches(b"")
    assert not check.matches(KEY.encode() + b"\0")
    assert KEY not in repr(vars(check))


def test_the_rate_limit_counts_networks_and_forgets() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0])
    for _ in range(int(Bounds().burst)):
        assert limit.admit("2001:db8::1") == 0
    assert limit.admit("2001:db8::2") > 0
    assert limit.admit("2001:db8:0:1::1") == 0
    assert limit.admit("::ffff:192.0.2.1") == 0
    assert limit.admit("not-an-address") == 0
    now[0] += 10.0
    assert limit.admit("2001:db8::2") == 0
    for n in range(5000):
        limit.admit(f"10.0.{n // 256}.{n % 256}")
    assert len(limit._buckets) <= 4096
