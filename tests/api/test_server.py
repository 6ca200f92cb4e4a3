"""The API's sockets: what a client may hold that sends nothing, too slowly, or no HTTP."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from runbound.api import server
from support.api import KEY, Api, listening

REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def port(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits 0.4 s for a request and has room for three connections."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    with listening(api) as (number, _):
        yield number


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def until_closed(client: socket.socket) -> bytes:
    found = b""
    try:
        while octets := client.recv(4096):
            found += octets
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /hea", REQUEST[:-2], b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_who_does_not_finish_a_request_is_hung_up_on(port: int, sent: bytes) -> None:
    began = time.monotonic()
    with dial(port) as client:
        client.sendall(sent)
        until_closed(client)
    assert 0.2 < time.monotonic() - began < 3


def test_half_a_second_request_is_hung_up_on_too(port: int) -> None:
    with dial(port) as client:
        client.sendall(REQUEST + b"GET /hea")
        assert until_closed(client).startswith(b"HTTP/1.1 200")


def test_one_connection_too_many_is_closed_and_the_others_live(port: int) -> None:
    with dial(port) as first, dial(port), dial(port):
        time.sleep(0.1)
        with dial(port) as fourth:
            assert until_closed(fourth) == b""
        first.sendall(REQUEST)
        assert first.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent", [b"GARBAGE\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01" * 9]
)
def test_what_is_no_http_is_a_problem_and_no_line_in_the_log(port: int, sent: bytes, api: Api) -> None:
    with dial(port) as client:
        client.sendall(sent + b"\r\n\r\n")
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json" in answer
    assert b'"code":"MALFORMED_REQUEST"' in answer
    assert not api.engine.said("Invalid HTTP")


def test_who_has_the_key_may_take_longer_to_send_as_long_as_it_sends(port: int, api: Api) -> None:
    entry = b";rrset 300 1 0 8 0\na. 300 IN A 192.0.2.1\n"
    pieces = [b"START_RRSET_CACHE\n", *[entry] * 8, b"END_RRSET_CACHE\nSTART_MSG_CACHE\nEND_MSG_CACHE\nEOF\n"]
    for key, good in ((KEY, True), ("x" * 32, False)):
        head = f"POST /cache/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        with dial(port) as client:
            client.sendall(f"{head}Content-Length: {sum(map(len, pieces))}\r\n\r\n".encode())
            try:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(0.15)
            except OSError:
                assert not good
            if good:
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
    with dial(port) as client:
        client.sendall(f"POST /cache/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode())
        client.sendall(b"Content-Length: 999\r\n\r\nSTART_RRSET_CACHE\n")
        began = time.monotonic()
        until_closed(client)
    assert time.monotonic() - began < 3


def test_who_stops_reading_is_hung_up_on(port: int, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TAKE_SECONDS", 0.4)
    api.engine.dump = [b"x" * 1_000_000] * 400
    with dial(port) as client:
        client.sendall(f"GET /cache/dump HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        time.sleep(1.0)
        asked = len(api.engine.calls)
        assert len(until_closed(client)) < 100_000_000
    assert asked == len(api.engine.calls) < 100


def test_a_request_under_way_when_the_server_stops_is_told_so(api: Api) -> None:
    api.engine.release.clear()
    with listening(api) as (port, stop), dial(port) as client:
        body = b'{"name": "a"}'
        head = (
            f"POST /dns/lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        )
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while not api.engine.calls:
            time.sleep(0.01)
        stop.set()
        answer = until_closed(client)
        api.engine.release.set()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"STOPPING"' in answer
    assert [line for level, line in api.engine.lines if level == "error"] == []


def test_who_breaks_off_while_sending_is_no_fault_of_ours(api: Api) -> None:
    with listening(api) as (port, _):
        with dial(port) as client:
            head = f"POST /cache/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 99\r\n\r\n"
            client.sendall(head.encode() + b"START_RRSET_CACHE\n")
            time.sleep(0.1)
        end = time.monotonic() + 5
        while not any("cache loaded in part" in line for _, line in api.engine.lines):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [line for level, line in api.engine.lines if level == "error"] == []


def test_one_load_too_many_is_refused(api: Api) -> None:
    head = f"POST /cache/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 99\r\n\r\n"
    with listening(api) as (port, _), dial(port) as first, dial(port) as second, dial(port) as third:
        clients = [first, second, third]
        for client in clients:
            client.sendall(head.encode() + b"START_RRSET_CACHE\n")
        answered, _, _ = select.select(clients, [], [], 30)  # whichever of them comes last
        answer = answered[0].recv(4096)
    assert len(answered) == 1
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 1" in answer
