"""A resolver whose keys lie in a token: its file, its start and its refusal to start, its API, and sums by openssl.

Owns the two keys a test puts into a token and where they end up. `refused` proves that nothing was bound: it holds the
ports itself, so that an attempt to bind them would be what the resolver complains of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import CHOSEN, EXTRACTING
from support.servers import HEAD, RUNBOUND, Resolver, free_port, write_hints
from support.tokens import fresh_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.tokens import Token

API_LABEL, STORE_LABEL, AUDIT_LABEL = "runbound-api-key", "runbound-store-key", "runbound-audit-key"
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h; systemd is told not to restart after it."""
REFUSE_SECONDS = 60.0

PAIRS = [
    (name, mode) for name in CHOSEN for mode in ("extract", "in-token") if mode == "in-token" or name in EXTRACTING
]
"""Every provider in every mode it can do."""
pairs = pytest.mark.parametrize(("provider", "mode"), PAIRS)
providers = pytest.mark.parametrize("provider", CHOSEN)
extracting = pytest.mark.parametrize("provider", EXTRACTING)


@dataclasses.dataclass
class Site:
    """A folder with one resolver after the other, and the token they use."""

    folder: Path
    token: Token
    mode: str = "extract"
    api_key: str = dataclasses.field(default_factory=fresh_key)
    store_key: bytes = dataclasses.field(default_factory=lambda: os.urandom(32))
    api_port: int = dataclasses.field(default_factory=free_port)
    more: str = ""
    """Further lines of `server:`, and clauses."""

    def provision(self) -> Site:
        """Puts both keys into the token: readable for `extract`, never to be read again for `in-token`."""
        put = self.token.put if self.mode == "extract" else self.token.keep
        put(API_LABEL, self.api_key)
        put(STORE_LABEL, self.store_key)
        return self

    def body(self, **options: str | None) -> str:
        """What follows `server:`; options as in `Token.config_lines`."""
        given = {"api_key_label": API_LABEL, "store_key_label": STORE_LABEL, "mode": self.mode, **options}
        lines = self.token.config_lines(**given)
        return f'    api-port: {self.api_port}\n    local-data: "a.example. A 192.0.2.1"\n{lines}{self.more}'

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        """The token's, with the PIN unless the test says something else of it."""
        return {**self.token.pin_env(), **(env or {})}

    def start(
        self, env: dict[str, str] | None = None, head: str = HEAD, wait: bool = True, **options: str | None
    ) -> Resolver:
        """A resolver that answers, and, unless the test does not `wait`, whose API is up."""
        words = [*self.token.prefix, str(RUNBOUND), "-d"]
        resolver = Resolver(
            self.body(**options),
            self.folder,
            env=self.environment(env),
            head=head,
            program=words[0],
            arguments=words[1:],
        )
        try:
            if wait:
                self.wait_for_api(resolver)
        except BaseException:
            resolver.stop()
            raise
        return resolver

    def wait_for_api(self, resolver: Resolver, seconds: float = 15.0) -> None:
        """Until /health is answered."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.call("GET", "/health")
                return
            assert time.monotonic() < end, resolver.log()
            assert resolver.process.poll() is None, resolver.log()
            time.sleep(0.02)

    def refused(self, env: dict[str, str] | None = None, drop: tuple[str, ...] = (), **options: str | None) -> str:
        """What a start that has to fail says. It ends with 78, in time, and binds nothing before."""
        port, folder = free_port(), self.folder
        conf = folder / "refused.conf"
        head = HEAD.replace("{folder}", str(folder)).replace("{address}", "127.0.0.1").replace("{port}", str(port))
        conf.write_text(head + self.body(**options))
        write_hints(folder)
        whole = {**os.environ, "STATE_DIRECTORY": str(folder / "state"), **self.environment(env)}
        for name in drop:
            whole.pop(name, None)
        with contextlib.ExitStack() as stack:
            for taken, kind in (
                (port, socket.SOCK_DGRAM),
                (port, socket.SOCK_STREAM),
                (self.api_port, socket.SOCK_STREAM),
            ):
                held = stack.enter_context(socket.socket(socket.AF_INET, kind))
                if kind == socket.SOCK_STREAM:  # connections of the start before may linger
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind(("127.0.0.1", taken))
                if kind == socket.SOCK_STREAM:
                    held.listen()
            done = subprocess.run(
                [*self.token.prefix, RUNBOUND, "-d", "-c", conf],
                env=whole,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=REFUSE_SECONDS,
            )
        assert done.returncode == EXIT_CONFIG, f"exit code {done.returncode}\n{done.stdout}"
        assert "in use" not in done.stdout, f"it tried to bind a port:\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        assert self.token.pin not in done.stdout, done.stdout
        return done.stdout

    # -------------------------------------------------------------------------------------------------------- the API

    def call(self, method: str, path: str, key: str | None = None, body: object = None) -> tuple[int, Any]:
        """Status and decoded body."""
        headers = {"Connection": "close", "Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            with connection.getresponse() as response:
                text = response.read()
                return response.status, json.loads(text) if text else None

    def good(self, method: str, path: str, body: object = None) -> Any:
        """The body of an answer that has to be good."""
        status, answer = self.call(method, path, self.api_key, body)
        assert status < 300, answer
        return answer

    def admits(self, key: str | None) -> bool:
        """Whether a key opens the API."""
        status, answer = self.call("GET", "/system", key)
        assert status in (200, 401), answer
        return status == 200

    def hsm(self) -> bool | None:
        """What /health says, to whoever asks."""
        return self.call("GET", "/health")[1]["hsm"]  # type: ignore[no-any-return]

    def wait_for_hsm(self, wanted: bool, seconds: float) -> float:
        """Waits until /health says so; how long it took."""
        begun = time.monotonic()
        while self.hsm() is not wanted:
            assert time.monotonic() < begun + seconds, f"/health did not say hsm: {wanted} within {seconds} s"
            time.sleep(0.1)
        return time.monotonic() - begun

    def add(self, name: str) -> None:
        """A record that has to survive: kept in the state, under the store key."""
        self.good("POST", "/dns", {"name": name, "type": "A", "value": "192.0.2.7"})

    def names(self) -> set[str]:
        """The records in the state."""
        return {row["name"] for row in self.good("GET", "/dns")["items"]}

    # --------------------------------------------------------------------------------------------------- beside it

    def run(self, *words: str, env: dict[str, str] | None = None, code: int = 0) -> str:
        """What `runbound …` prints."""
        whole = {**os.environ, "STATE_DIRECTORY": str(self.folder / "state"), **self.environment(env)}
        command = [*self.token.prefix, str(RUNBOUND), *words]
        done = subprocess.run(
            command, env=whole, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def proven_by(self, key: bytes) -> bool:
        """Whether the state's head carries the code that openssl makes with a store key."""
        path = f"file:{self.folder / 'state' / 'state.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(path, uri=True)) as db:
            ((body, mac),) = db.execute("SELECT body, mac FROM head").fetchall()
        return openssl_hmac(openssl_hkdf(key, "state: head"), body.encode()) == bytes(mac)


def family(pid: int) -> list[int]:
    """A process and its descendants; what has ended and waits to be reaped is none."""
    found = [pid]
    for at in found:
        listed = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(at)], capture_output=True, text=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        found += [int(child) for child, state in rows if not state.startswith("Z")]
    return found


def openssl(*words: str, data: bytes = b"") -> bytes:
    """What openssl prints."""
    done = subprocess.run(["openssl", *words], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def openssl_hkdf(key: bytes, purpose: str) -> bytes:
    """A key for one purpose, as `vault` derives it: HKDF-SHA256 (RFC 5869)."""
    options = ["digest:SHA2-256", f"hexkey:{key.hex()}", "salt:runbound vault 1", f"info:{purpose}"]
    words = [word for option in options for word in ("-kdfopt", option)]
    return openssl("kdf", "-binary", "-keylen", "32", *words, "HKDF")


def openssl_hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256."""
    return openssl("dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary", data=data)


def root_of(site: Site, role: str = "store") -> bytes:
    """What a role's codes are derived from: the key, or what the token makes of the role's name."""
    if site.mode == "extract":
        return site.store_key
    return openssl_hmac(site.store_key, f"runbound {role} 1".encode())


@contextlib.contextmanager
def site_of(folder: Path, provider: str, mode: str = "extract") -> Iterator[Site]:
    """A token of a kind with both keys in it."""
    with CHOSEN[provider](folder / "token") as token:
        place = folder / "site"
        place.mkdir()
        yield Site(place, token, mode).provision()
