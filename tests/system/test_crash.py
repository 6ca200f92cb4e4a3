"""Kill -9 at moments of chance, while records, blocks, options, users and upstream servers are being written.

After each one: what was acknowledged is there, nothing is there by half, journal and audit log prove themselves, and
questions are answered within SOON. RUNBOUND_KILLS says how often; `./dev accept` does it ten times as often.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import RUNBOUND, Process, Resolver, Upstream, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS = int(os.environ.get("RUNBOUND_KILLS", "30"))
SEED = int(os.environ.get("RUNBOUND_KILLS_SEED", "0")) or int(time.time())
SOON = 2.0
"""Seconds from the start of the process to its first answer."""
WRITERS = 4
ELSEWHERE = "192.0.2.99"
"""What the upstream server answers about every name: a record of ours that is not there."""
OPTIONS = ("infra-host-ttl", "jostle-timeout", "discard-timeout", "unknown-server-time-limit")
"""An option for each writer."""
PAIR = ("cache-max-negative-ttl", "cache-max-ttl")
"""Two options that the first writer sets to one value in one call."""
LOT = 300
"""Records of one call that makes many."""
SECRETS = {"RUNBOUND_API_KEY": KEY, "RUNBOUND_STORE_KEY": "5" * 64, "RUNBOUND_AUDIT_HMAC_KEY": "a" * 64}

REFUSED = (b'"LAST_UPSTREAM"', b'"TOO_MANY_BULKS"')
"""Answers after which nothing has changed."""

Thing = tuple[str, str]
"""Kind and name."""
GONE = None


def everything(_number: int, packet: bytes) -> list[bytes]:
    """Every name has the address ELSEWHERE, and nobody may remember it."""
    query = dns.message.from_wire(packet)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "A", ELSEWHERE))
    return [reply.to_wire()]


class Machine:
    """One resolver after another over the same file and state."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.api_port = free_port()
        body = (
            f"    num-threads: 2\n    api-port: {self.api_port}\n    state-dir: {folder}/kept\n    api-rate-limit: 0\n"
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{upstream}\n'
        )
        self.resolver = Resolver(body, folder, env=SECRETS)
        self.api = Api(self.resolver, self.api_port)

    def kill(self) -> None:
        """Ends it without a word."""
        self.resolver.process.kill()
        self.resolver.process.wait()

    def start(self) -> float:
        """Starts it anew; seconds to the first answer."""
        Process.__init__(self.resolver, [RUNBOUND, "-d", "-c", self.resolver.conf], self.resolver.folder, SECRETS)
        seconds = self.resolver._wait(None)
        self.api = Api(self.resolver, self.api_port)
        return seconds

    def prove(self) -> None:
        """Has the whole state proven while nobody has it open."""
        command = [str(RUNBOUND), "store", "verify", "-c", str(self.resolver.conf)]
        done = subprocess.run(command, env={**os.environ, **SECRETS}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class Writer:
    """One client that changes things of its own, one call at a time, and remembers what it was told."""

    def __init__(self, number: int, machine: Machine) -> None:
        self.number = number
        self.machine = machine
        self.chance = random.Random(f"{SEED} {number}")
        self.true: dict[Thing, object] = {}
        """What was acknowledged: thing to value, GONE if it was taken away."""
        self.doubt: dict[Thing, object] = {}
        """What the call under way would make of the things it is about."""
        self.ids: dict[Thing, int] = {}
        self.done: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Writes until the resolver is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self.machine.api_port, timeout=15)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            while not stop.is_set():
                self._step(connection)

    def _step(self, connection: http.client.HTTPConnection) -> None:
        kinds = ["record"] * 6 + ["block"] * 4 + ["option", "pair", "user", "upstream", "lot"]
        kind = self.chance.choice(kinds)
        if kind in ("option", "pair"):
            self._options(connection, PAIR if kind == "pair" and self.number == 0 else (OPTIONS[self.number],))
        elif kind == "lot":
            self._lot(connection)
        else:
            self._one(connection, kind, self.chance.randrange(20))

    def _one(self, connection: http.client.HTTPConnection, kind: str, number: int) -> None:
        path = {"record": "/dns", "block": "/blacklist", "user": "/users", "upstream": "/upstreams"}[kind]
        name = f"{kind}-{number}.w{self.number}.example."
        value = f"192.0.2.{self.chance.randrange(1, 90)}"
        thing: Thing = (kind, name)
        body: dict[str, object] = {"name": name}
        if kind == "record":
            body |= {"type": "A", "value": value, "ttl": 60}
            thing = (kind, f"{name} {value}")
        elif kind == "user":
            thing, body = (kind, name.rstrip(".")), {"name": name.rstrip("."), "role": "read"}
        elif kind == "upstream":
            zone = f"up.w{self.number}.example."
            thing, body = (kind, f"{zone} 127.0.0.99@{5300 + number}"), {"zone": zone, "address": "127.0.0.99"}
            body |= {"port": 5300 + number}
        if self.true.get(thing) is GONE:
            self._call(connection, "POST", path, body, {thing: True})
        else:
            self._call(connection, "DELETE", f"{path}/{self.ids[thing]}", None, {thing: GONE})

    def _options(self, connection: http.client.HTTPConnection, names: tuple[str, ...]) -> None:
        value = self.chance.randrange(1000, 9000)
        changes: dict[Thing, object] = {("option", name): value for name in names}
        self._call(connection, "PATCH", "/config", {"server": dict.fromkeys(names, value)}, changes)

    def _lot(self, connection: http.client.HTTPConnection) -> None:
        lot = f"lot-{self.chance.randrange(3)}"
        names = [f"{lot}-{number}.w{self.number}.example. 192.0.2.90" for number in range(LOT)]
        there = self.true.get(("record", names[0])) is not GONE
        body = [{"name": name.split(" ")[0], "type": "A", "value": "192.0.2.90", "ttl": 60} for name in names]
        path = f"/dns/bulk?mode={'remove' if there else 'add'}"
        self._call(connection, "POST", path, body, {("record", name): GONE if there else True for name in names})

    def _call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, changes: dict[Thing, object]
    ) -> None:
        self.doubt = changes
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        with connection.getresponse() as response:
            text = response.read()
        self.doubt = {}
        if any(code in text for code in REFUSED):
            return
        assert response.status in (200, 201, 204), (method, path, body, text)
        self.true |= changes
        self.done[f"{method} {path.split('/')[1].split('?', maxsplit=1)[0]}"] += 1
        if response.status == 201:
            (thing,) = changes
            self.ids[thing] = json.loads(text)["id"]

    def compare(self, found: dict[Thing, object], ids: dict[Thing, int]) -> None:
        """Holds what is there against what was acknowledged. A call that got no answer was done, or was not."""
        for thing, value in self.true.items():
            if thing not in self.doubt:
                assert found.get(thing) == value, f"{thing}: acknowledged {value}, found {found.get(thing)}"
        made = {thing: found.get(thing) for thing in self.doubt}
        before = {thing: self.true.get(thing) for thing in self.doubt}
        assert made in (before, self.doubt), f"by half: {made} is neither {before} nor {self.doubt}"
        self.true |= made
        self.doubt = {}
        self.ids = {thing: number for thing, number in ids.items() if thing in self.true}


def seen(api: Api) -> tuple[dict[Thing, object], dict[Thing, int]]:
    """Everything that is there by API: its value, and its id."""
    found: dict[Thing, object] = {}
    ids: dict[Thing, int] = {}

    def take(kind: str, path: str, name: Any) -> None:
        cursor = ""
        while cursor is not None:
            page = api.call("GET", f"{path}limit=1000{cursor and '&cursor=' + cursor}")
            for item in page["items"]:
                if item.get("origin", "api") == "api":
                    thing = (kind, name(item))
                    found[thing], ids[thing] = True, item["id"]
            cursor = page["next"]

    take("record", "/dns?", lambda item: f"{item['name']} {item['value']}")
    take("block", "/blacklist?", lambda item: item["name"])
    take("user", "/users?", lambda item: item["name"])
    take("upstream", "/upstreams?", lambda item: f"{item['zone']} {item['address']}")
    for item in api.call("GET", "/config?given=1")["options"]:
        if [origin["kind"] for origin in item["origin"]] == ["api"] and item["clause"] == "server":
            found["option", item["option"]] = item["value"]
    return found, ids


def answered(server: tuple[str, int], name: str) -> str:
    """What a question for the addresses of a name is answered with; over TCP, because some have many."""
    reply = exchange(Ask(name, "A", tcp=True), server, 5.0)
    assert reply is not None, name
    message = dns.message.from_wire(reply)
    if message.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(message.rcode())
    return " ".join(sorted(rdata.to_text() for rrset in message.answer for rdata in rrset))


def check_answers(machine: Machine, true: dict[Thing, object]) -> None:
    """Asks over DNS for everything that should be there, or should not."""
    addresses: dict[str, set[str]] = {}
    for (kind, name), value in true.items():
        if kind == "record":
            owner, address = name.split(" ")
            addresses.setdefault(owner, set()).update({address} if value else set())
        elif kind == "block":
            addresses[name] = {"NXDOMAIN"} if value else set()
    for name, expected in addresses.items():
        if not name.startswith("lot-") or name.split("-")[2].startswith(("0.", "299.")):
            assert answered(machine.resolver.at, name) == " ".join(sorted(expected or {ELSEWHERE})), name


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Upstream(everything) as upstream:
        made = Machine(tmp_path, upstream.port)
        yield made
        made.resolver.stop()


def test_nothing_acknowledged_is_lost(machine: Machine) -> None:
    chance = random.Random(SEED)
    writers = [Writer(number, machine) for number in range(WRITERS)]
    slowest = 0.0
    for turn in range(KILLS):
        stop = threading.Event()
        threads = [threading.Thread(target=writer.run, args=(stop,)) for writer in writers]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.05, 1.0))
        machine.kill()
        stop.set()
        for thread in threads:
            thread.join()
        if turn % 10 == 9:
            machine.prove()
        slowest = max(slowest, machine.start())
        found, ids = seen(machine.api)
        for writer in writers:
            writer.compare(found, ids)
        true = {thing: value for writer in writers for thing, value in writer.true.items()}
        assert {thing for thing in found if thing not in true} == set(), f"seed {SEED}"
        check_answers(machine, true)
        assert machine.api.call("POST", "/audit/verify")["ok"], f"seed {SEED}"
    made = sum((writer.done for writer in writers), Counter[str]())
    print(f"{KILLS} kills, {sum(made.values())} changes acknowledged, slowest start {slowest:.2f} s; {dict(made)}")
    assert slowest < SOON
    assert len(made) == 9, made
