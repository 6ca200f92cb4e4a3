"""A running resolver's API, called over HTTP as any client would."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.servers import Resolver

KEY = "k" * 40
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class Api:
    """One resolver that forwards to the lab, and its API."""

    def __init__(self, resolver: Resolver, port: int) -> None:
        self.resolver = resolver
        self.port = port
        end = time.monotonic() + 15
        while True:
            try:
                self.call("GET", "/health")
            except OSError:
                assert time.monotonic() < end, resolver.log()
                time.sleep(0.05)
            else:
                return

    def open(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        """The response, its body unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        connection.request(method, path, body, {**AUTHORIZED, "Connection": "close", **headers})
        return connection.getresponse()

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """The decoded body of an answer that has to be good."""
        octets = None if body is None else json.dumps(body).encode()
        with self.open(method, path, octets, **{"Content-Type": "application/json"}) as response:
            text = response.read()
            assert response.status == status, text
            return json.loads(text)

    def made(self, path: str, body: object) -> Any:
        """What a POST has made."""
        return self.call("POST", path, body, 201)

    def lookup(self, name: str, rtype: str = "A") -> Any:
        """What the resolver finds."""
        return self.call("POST", "/dns/lookup", {"name": name, "type": rtype})

    def flush(self, what: str, **where: str) -> int:
        """How many entries went."""
        return int(self.call("POST", "/cache/flush", {"what": what, **where})["removed"])


def body_of(port: int, upstream: int) -> str:
    return (
        f"    api-port: {port}\n    extended-statistics: yes\n    cache-flush-cooldown: 0\n    num-threads: 2\n"
        f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{upstream}\n'
    )
