"""Attacks on the HTTP side of resolvers that were published lately; docs/security-corpus.md has the table of all.

Names come from whoever sends DNS queries, and requests from whatever page an operator's browser has open.
"""

import contextlib
import socket
from typing import Any

import pytest

from runbound.api import server
from support.api import KEY, Api, listening

SCRIPT = "<script>alert(1)</script>"
EVIL = "https://evil.example"
FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""What a page of somebody else's may send without asking first (CORS-safelisted)."""


def said(port: int, request: bytes) -> bytes:
    """Everything the server says to these octets until it hangs up."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            while octets := client.recv(65536):
                answer += octets
    return answer


def routes(api: Api) -> list[tuple[str, str]]:
    """Every method and path of the API."""
    paths: dict[str, dict[str, Any]] = api.client.get("/api/v1/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_cve_2026_0396_names_are_never_markup(api: Api) -> None:
    api.engine.dump = [f"{SCRIPT}.example. 300 IN TXT {SCRIPT}\n".encode()]
    answers = [
        api.client.post("/dns/lookup", headers=api.key, json={"name": f"{SCRIPT}.example", "type": "A"}),
        api.client.post("/dns/lookup", headers=api.key, json={"name": SCRIPT, "type": SCRIPT}),
        api.client.post("/cache/flush", headers=api.key, json={"name": SCRIPT}),
        api.client.get(f"/upstreams/{SCRIPT}", headers=api.key),
        api.client.get(f"/{SCRIPT}"),
        api.client.get("/cache/dump", headers=api.key),
        api.client.get("/metrics", headers=api.key),
        *(
            api.client.get(path, headers=api.key)
            for method, path in routes(api)
            if method == "GET" and "stream" not in path
        ),
    ]
    for answer in answers:
        kind = answer.headers["content-type"]
        assert "html" not in kind, answer.url
        assert "xml" not in kind, answer.url
        assert "javascript" not in kind, answer.url
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        assert "default-src 'none'" in answer.headers["content-security-policy"], answer.url


@pytest.mark.parametrize("form", FORMS)
def test_cve_2026_0397_another_sites_page_can_neither_read_nor_write(api: Api, form: str) -> None:
    for method, path in routes(api):
        asked = api.client.options(
            path,
            headers={
                "Origin": EVIL,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert asked.status_code >= 400, path
        assert not [name for name in asked.headers if name.startswith("access-control-")], path
    before = list(api.engine.calls)
    for path in ("/reload", "/cache/flush", "/cache/load", "/dns/lookup"):
        # What a browser adds by itself, cookies and stored passwords, opens nothing.
        sent = api.client.post(
            path,
            content=b"all=true",
            headers={"Origin": EVIL, "Content-Type": form, "Cookie": f"key={KEY}"},
            auth=("admin", KEY),
        )
        assert sent.status_code == 401, path
        assert "set-cookie" not in sent.headers
    assert api.engine.calls == before


def test_a_request_in_two_readings_is_one_or_none(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfer-Encoding beside Content-Length, twice, or unknown: nothing of a body is ever read as a request."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.4)
    inner = f"POST /reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 0\r\n\r\n"
    body = f"0\r\n\r\n{inner}"
    heads = [
        f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(body)}\r\n",
        f"Content-Length: {len(body)}\r\nContent-Length: 5\r\n",
        f"Content-Length: +{len(body)}\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        f"Content-Length: {len(body)}\r\nTransfer-Encoding:\x0bchunked\r\n",
    ]
    with listening(api) as (port, _):
        for head in heads:
            before = api.changes.running
            answer = said(port, f"POST /cache/flush HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}".encode())
            assert answer.count(b"HTTP/1.1 ") <= 1, (head, answer)
            assert api.changes.running is before, head


@pytest.mark.parametrize("date", ["", "0", "Mon, 99 Foo 99999 99:99:99 GMT", "-" * 4000, "\xff"])
def test_dates_that_are_none_do_no_harm(api: Api, date: str) -> None:
    with listening(api) as (port, _):
        for header in ("Date", "If-Modified-Since", "If-Unmodified-Since", "Expires"):
            request = f"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}: {date}\r\n\r\n"
            answer = said(port, request.encode("latin-1"))
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ")), header
    assert api.client.get("/health").status_code == 200


def test_a_body_without_end_is_cut_before_it_is_kept(api: Api) -> None:
    with listening(api) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        head = f"POST /cache/flush HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 1000:
                client.sendall(chunk)
                sent += 1
        assert sent < 1000, "64 MiB were taken"
