"""The query log of a running resolver: every kind of query is seen, addresses only where they may be, and what is to be
forgotten is gone everywhere.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import Lab, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALLOWED, REFUSED, DENIED = "127.0.0.1", "127.0.0.12", "127.0.0.13"
BODY = """\
    api-port: {api}
    query-log-file: "queries.jsonl"
    log-client-ip: {clients}
    access-control: 127.0.0.12/32 refuse
    access-control: 127.0.0.13/32 deny
    local-data: "here.home. A 192.0.2.1"
    serve-expired: yes
    serve-expired-client-timeout: 0
    cache-max-ttl: {ttl}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{lab}
"""


class Scene:
    """A resolver in front of the lab, its API and its file."""

    def __init__(self, api: Api, lab: Lab) -> None:
        self.api = api
        self.lab = lab
        self.file = api.resolver.folder_of_conf() / "queries.jsonl"

    def configure(self, clients: str, ttl: int = 3600) -> None:
        """Writes the file anew and has it read."""
        self.api.resolver.write(body(self.api.port, self.lab.port, clients, ttl))
        self.api.call("POST", "/reload")

    def ask(self, name: str, source: str = ALLOWED, *, tcp: bool = False, rtype: str = "A") -> None:
        """A query from that address."""
        if source == ALLOWED:
            assert exchange(Ask(name, rtype, tcp=tcp), self.api.resolver.at) is not None
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((source, 0))
            client.settimeout(0.3)
            client.sendto(Ask(name, rtype).packet(), self.api.resolver.at)
            try:
                client.recv(4096)
            except TimeoutError:
                assert source == DENIED

    def entries(self, query: str = "") -> list[dict[str, Any]]:
        """The log, the oldest first."""
        found: list[dict[str, Any]] = self.api.call("GET", f"/logs?limit=1000&{query}")["items"]
        return found[::-1]

    def lines(self, until: Callable[[list[str]], bool]) -> list[str]:
        """The lines of the file, once they are so."""
        end = time.monotonic() + 15
        while True:
            lines = self.file.read_text().splitlines() if self.file.exists() else []
            if until(lines):
                return lines
            assert time.monotonic() < end, lines
            time.sleep(0.05)


def body(port: int, lab: int, clients: str, ttl: int = 3600) -> str:
    values = {"api": port, "lab": lab, "clients": clients, "ttl": ttl}
    text = BODY
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    port = free_port()
    with (
        Lab(tmp_path / "lab") as lab,
        Resolver(body(port, lab.port, "yes"), tmp_path / "resolver", env={"RUNBOUND_API_KEY": KEY}) as resolver,
    ):
        made = Scene(Api(resolver, port), lab)
        made.api.call("DELETE", "/logs")  # what the start asked
        yield made


def test_every_kind_of_query_is_seen_with_what_became_of_it(scene: Scene) -> None:
    scene.ask("www.example.com.")
    scene.ask("WWW.example.com.")
    scene.ask("www.example.com.", tcp=True)
    scene.ask("here.home.")
    scene.ask("here.home.")
    scene.ask("www.example.com.", REFUSED)
    scene.ask("www.example.com.", DENIED)
    scene.ask("nothing-here.example.com.")
    time.sleep(0.1)
    seen = [
        tuple(e[part] for part in ("name", "client", "action", "rcode", "transport", "origin")) for e in scene.entries()
    ]
    assert seen == [
        ("www.example.com.", ALLOWED, "resolved", "NOERROR", "udp", "upstream"),
        ("WWW.example.com.", ALLOWED, "cached", "NOERROR", "udp", "cache"),
        ("www.example.com.", ALLOWED, "cached", "NOERROR", "tcp", "cache"),
        ("here.home.", ALLOWED, "local", "NOERROR", "udp", "policy"),
        ("here.home.", ALLOWED, "local", "NOERROR", "udp", "policy"),
        (None, REFUSED, "refused", "REFUSED", "udp", "policy"),
        (None, DENIED, "dropped", None, "udp", "policy"),
        ("nothing-here.example.com.", ALLOWED, "resolved", "NXDOMAIN", "udp", "upstream"),
    ]
    assert [entry["seq"] for entry in scene.entries()] == sorted(entry["seq"] for entry in scene.entries())
    resolved, *rest = scene.entries()
    assert resolved["security"] == "unchecked"
    assert resolved["latency_us"] > 0
    assert all(entry["latency_us"] < 1_000_000 for entry in rest)
    assert len(scene.entries("name=EXAMPLE.com&action=cached")) == 2
    assert len(scene.entries(f"client={REFUSED}")) == 1
    assert len(scene.entries("rcode=NXDOMAIN")) == 1
    assert scene.entries("since=2100-01-01T00:00:00Z") == []
    top = scene.api.call("GET", "/stats/top-domains")["items"]
    assert (top[0]["name"], round(top[0]["queries"])) == ("www.example.com.", 3)
    clients = scene.api.call("GET", "/clients")["items"]
    assert clients[0]["client"] == ALLOWED
    assert {row["client"] for row in clients[1:]} == {REFUSED, DENIED}
    assert scene.api.call("GET", f"/clients/{REFUSED}")["recent"][0]["action"] == "refused"
    written = [json.loads(line) for line in scene.lines(lambda lines: len(lines) >= 8)]
    assert written == scene.entries()


def test_what_is_expired_is_seen_as_such(scene: Scene) -> None:
    scene.configure("yes", ttl=1)
    scene.ask("www.example.com.")
    time.sleep(2.1)
    scene.ask("www.example.com.")
    time.sleep(0.1)
    assert [(e["action"], e["rcode"]) for e in scene.entries()] == [("resolved", "NOERROR"), ("stale", "NOERROR")]


def test_a_block_is_seen_as_a_block_remembered_or_not(scene: Scene) -> None:
    scene.api.made("/blacklist", {"name": "example.com", "action": "nxdomain"})
    scene.ask("ads.example.com.")
    scene.ask("ADS.example.com.")
    scene.ask("here.home.")
    time.sleep(0.1)
    assert [(e["action"], e["rcode"]) for e in scene.entries()] == [
        ("blocked", "NXDOMAIN"),
        ("blocked", "NXDOMAIN"),
        ("local", "NOERROR"),
    ]
    blocked = scene.api.call("GET", "/stats/top-domains?kind=blocked")["items"]
    assert [(row["name"], round(row["queries"])) for row in blocked] == [("ads.example.com.", 2)]


def test_names_from_packets_can_do_no_harm(scene: Scene) -> None:
    scene.ask('a\\"b\\\\c\\010d\\255<script>.example.com.')
    time.sleep(0.1)
    (entry,) = scene.entries()
    assert entry["name"] == 'a\\"b\\\\c\\010d\\255<script>.example.com.'
    (line,) = scene.lines(bool)
    assert json.loads(line)["name"] == entry["name"]
    assert line.isascii()
    assert line.isprintable()


def test_no_address_is_shown_or_kept_where_it_may_not_be(scene: Scene) -> None:
    scene.configure("no")
    scene.ask("www.example.com.")
    scene.ask("here.home.", REFUSED)
    answers = [scene.api.open("GET", path) for path in ("/logs", "/clients", "/stats/top-domains")]
    texts = [answer.read().decode() for answer in answers]
    stream = scene.api.open("GET", "/logs/stream?backlog=100")
    texts.append(b"".join(stream.readline() for _ in range(5)).decode())
    stream.close()
    assert '"client":null' in texts[0]
    assert "www.example.com." in texts[3]
    texts += scene.lines(lambda lines: len(lines) >= 2)
    assert not [text for text in texts if "127.0.0." in text]
    assert scene.api.call("GET", f"/clients/{ALLOWED}", status=404)["code"] == "NOT_FOUND"
    assert scene.entries(f"client={ALLOWED}") == []

    scene.configure("pseudonym")
    assert scene.entries() == []
    scene.ask("www.example.com.")
    scene.ask("www.example.com.")
    scene.ask("here.home.", REFUSED)
    time.sleep(0.1)
    mine, again, other = (entry["client"] for entry in scene.entries())
    assert mine == again != other
    assert mine.startswith("p-")
    assert scene.api.call("GET", f"/clients/{mine}")["client"] == mine
    assert scene.api.call("GET", f"/clients/{ALLOWED}")["client"] == mine
    lines = scene.lines(lambda lines: len(lines) >= 5)
    assert not [line for line in lines if "127.0.0." in line]


def test_who_is_forgotten_is_nowhere_and_rotation_loses_nothing(scene: Scene) -> None:
    scene.ask("a.example.com.")
    scene.ask("here.home.", REFUSED)
    scene.lines(lambda lines: len(lines) >= 2)
    rotated = scene.file.with_suffix(".1")
    scene.file.rename(rotated)
    scene.api.resolver.signal(signal.SIGUSR1)
    end = time.monotonic() + 10
    while not scene.file.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    scene.ask("b.example.com.")
    scene.ask("here.home.", REFUSED)
    scene.lines(lambda lines: len(lines) >= 2)
    assert len(rotated.read_text().splitlines()) == 2
    erased = scene.api.call("DELETE", f"/logs?client={REFUSED}")
    assert erased == {"ring": 2, "lists": 1, "file": 1}
    assert {entry["client"] for entry in scene.entries()} == {ALLOWED}
    assert [json.loads(line)["name"] for line in scene.lines(bool)] == ["b.example.com."]
    assert scene.api.call("GET", f"/clients/{REFUSED}", status=404)["code"] == "NOT_FOUND"
    scene.ask("c.example.com.")
    assert json.loads(scene.lines(lambda lines: len(lines) >= 2)[1])["name"] == "c.example.com."
    erased = scene.api.call("DELETE", "/logs")
    assert (erased["ring"], erased["file"]) == (3, 2)
    assert (scene.entries(), scene.file.read_text()) == ([], "")
    assert scene.api.call("GET", "/stats/top-domains")["items"] == []
    told = scene.api.call("GET", "/audit/tail?event=log.erase")["items"]
    assert [row["fields"]["client"] for row in told][-2:] == ["one client", "all"]
    assert REFUSED not in json.dumps(told)


def test_the_last_lines_are_written_at_the_end(scene: Scene) -> None:
    for number in range(50):
        scene.ask(f"host-{number}.home.")
    assert scene.api.resolver.stop() == 0
    assert len(scene.file.read_text().splitlines()) == 50
