"""The API's sockets: what a client may hold that sends nothing, too slowly, or no HTTP."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from runbound.api import server
from runbound.api.companion import Listeners
from runbound.api.settings import ApiKey
from support.api import KEY, Api

REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def port(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits 0.4 s for a request and has room for three connections."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        arguments = (api.context, ApiKey(KEY, "a test"), Listeners(tcp=(listener,)), stop)
        thread = threading.Thread(target=server.serve, args=arguments)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


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
    assert b'"code":"VALIDATION_FAILED"' in answer
    assert not api.engine.said("Invalid HTTP")
