"""Records, blocks, upstream servers and the way of resolution, changed by API while real questions are asked.

Each test looks at answers on the wire, in every worker, and at what a restart leaves.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from support.live import KEY, Api
from support.packets import Ask, Edns, exchange
from support.servers import Resolver, free_port
from support.upstream import Fleet, name, true_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVERS = ["127.9.8.1", "127.9.8.2", "127.9.8.3"]
BLOCKED = 15
"""EDE code of a block (RFC 8914)."""
BODY = """\
    api-port: {api}
    num-threads: 2
    ede: yes
    local-data: "file.example. A 192.0.2.200"
    local-zone: "spy.example." always_nxdomain
forward-zone:
    name: "."
    forward-addr: {server}
"""


class Scene:
    """A resolver with two workers in front of a server, and its API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api_port = free_port()
        self.fleet = Fleet(SERVERS)
        self.body = BODY.format(api=self.api_port, server=self.fleet.at(0))
        self.start()

    def start(self) -> None:
        """Starts the resolver on the state that is there."""
        self.resolver = Resolver(self.body, self.folder, env={"RUNBOUND_API_KEY": KEY})
        self.api = Api(self.resolver, self.api_port)

    def restart(self, number: signal.Signals) -> None:
        """Ends it that way and starts it anew."""
        self.resolver.signal(number)
        self.resolver.process.wait(10)
        self.start()

    def answers(self, owner: str, rtype: str = "A") -> set[tuple[str, ...]]:
        """What comes back, asked from so many ports that every worker has answered: one element if they agree."""
        return {self._answer(owner, rtype, tcp=number == 0) for number in range(12)}

    def one(self, owner: str, rtype: str = "A") -> tuple[str, ...]:
        """What all workers answer."""
        (found,) = self.answers(owner, rtype)
        return found

    def _answer(self, owner: str, rtype: str, *, tcp: bool) -> tuple[str, ...]:
        ask = Ask(owner, rtype, edns=Edns(1232), tcp=tcp)
        octets = exchange(ask, self.resolver.at, 5.0)
        assert octets is not None, f"{owner} {rtype}: silence"
        reply = dns.message.from_wire(octets)
        data = sorted(
            f"{dns.rdatatype.to_text(rrset.rdtype)} {item.to_text()}" for rrset in reply.answer for item in rrset
        )
        ede = [f"EDE {option.code}" for option in reply.options if option.otype == 15]
        return (dns.rcode.to_text(reply.rcode()), *data, *ede)

    def close(self) -> None:
        self.resolver.stop()
        self.fleet.kill()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("records"))
    yield scene
    scene.close()


def forwarded(owner: str) -> tuple[str, ...]:
    """What the upstream servers say of a name."""
    return ("NOERROR", "A " + ".".join(map(str, true_address(name(owner)))))


def add(scene: Scene, owner: str, rtype: str, value: str, **more: Any) -> Any:
    return scene.api.made("/dns", {"name": owner, "type": rtype, "value": value, **more})


def remove(scene: Scene, path: str) -> int:
    with scene.api.open("DELETE", path) as response:
        response.read()
        return response.status


def test_a_record_is_answered_the_moment_it_is_there(scene: Scene) -> None:
    owner = "nas.home.example."
    assert scene.one(owner) == forwarded(owner)
    first = add(scene, owner, "A", "192.0.2.7")
    assert scene.one(owner) == ("NOERROR", "A 192.0.2.7")
    add(scene, owner, "TXT", '"in the cellar"')
    assert scene.one(owner, "TXT") == ("NOERROR", 'TXT "in the cellar"')
    assert scene.one(owner, "AAAA") == ("NOERROR",)
    scene.api.call("PUT", f"/dns/{first['id']}", {"name": owner, "type": "A", "value": "192.0.2.8"})
    assert scene.one(owner) == ("NOERROR", "A 192.0.2.8")
    assert remove(scene, f"/dns?name={owner}") == 204
    assert scene.one(owner) == forwarded(owner), "the world's answer is back"


def test_every_kind_of_record_is_answered(scene: Scene) -> None:
    for rtype, value in {
        "AAAA": "2001:db8::7",
        "MX": "10 mail.types.example.",
        "SRV": "0 5 5060 sip.types.example.",
        "CAA": '0 issue "ca.example"',
        "NAPTR": '100 10 "U" "E2U+sip" "!^.*$!sip:info@example.com!" .',
        "SSHFP": "1 2 " + "ab" * 32,
        "TLSA": "3 1 1 " + "cd" * 32,
        "HTTPS": '1 . alpn="h2"',
        "TYPE65280": "\\# 2 abcd",
    }.items():
        made = add(scene, "types.example.", rtype, value)
        assert scene.one("types.example.", rtype) == ("NOERROR", f"{made['type']} {made['value']}"), rtype


@pytest.mark.parametrize(
    ("action", "target", "answer"),
    [
        ("nxdomain", None, ("NXDOMAIN",)),
        ("refuse", None, ("REFUSED",)),
        ("nodata", None, ("NOERROR",)),
        ("null", None, ("NOERROR", "A 0.0.0.0")),
        ("redirect", "192.0.2.99", ("NOERROR", "A 192.0.2.99")),
    ],
)
def test_a_blocked_name_and_all_below(scene: Scene, action: str, target: str | None, answer: tuple[str, ...]) -> None:
    owner = f"{action}.ads.example."
    for known in (owner, f"deep.below.{owner}"):
        assert scene.one(known) == forwarded(known), "in the cache now"
    made = scene.api.made("/blacklist", {"name": owner, "action": action, "target": target})
    for known in (owner, f"deep.below.{owner}", f"new.{owner}"):
        assert scene.one(known) == (*answer, f"EDE {BLOCKED}")
    assert scene.one("ads.example.") == forwarded("ads.example.")
    assert remove(scene, f"/blacklist/{made['id']}") == 204
    assert scene.one(owner) == forwarded(owner)


def test_what_the_file_says_is_shown_and_stays(scene: Scene) -> None:
    (row,) = scene.api.call("GET", "/dns?name=file.example")["items"]
    assert (row["origin"], row["id"], row["value"]) == ("file", None, "192.0.2.200")
    line = scene.resolver.conf.read_text().splitlines()[row["line"] - 1]
    assert "file.example" in line
    refused = scene.api.call("DELETE", "/dns?name=file.example", status=409)
    assert (refused["code"], f"line {row['line']}" in refused["detail"]) == ("IN_FILE", True)
    assert scene.api.call("DELETE", "/blacklist?name=spy.example", status=409)["code"] == "IN_FILE"
    assert scene.one("file.example.") == ("NOERROR", "A 192.0.2.200")


def test_lists_are_in_force_when_they_are_answered(scene: Scene) -> None:
    records = "".join(f"h{at}.list.example. A 192.0.2.{at % 250}\n" for at in range(1000))
    for path, text, added in (("/dns/bulk", records, 1000), ("/blacklist/bulk", "a.list.net\nb.list.net\n", 2)):
        with scene.api.open("POST", path, text.encode(), **{"Content-Type": "text/plain"}) as response:
            assert response.status == 200
            assert f'"added":{added}'.encode() in response.read()
    assert scene.one("h999.list.example.") == ("NOERROR", f"A 192.0.2.{999 % 250}")
    assert scene.one("www.b.list.net.") == ("NXDOMAIN", f"EDE {BLOCKED}")
    with scene.api.open("GET", "/dns/export") as response:
        whole = response.read()
    assert whole.count(b".list.example. 3600 IN A ") == 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_forgets_nothing(scene: Scene, number: signal.Signals) -> None:
    owner = f"{number.name.lower()}.kept.example."
    made = add(scene, owner, "A", "192.0.2.50")
    scene.api.made("/blacklist", {"name": f"bad.{owner}"})
    before = scene.api.call("GET", "/dns?under=kept.example")["items"]
    scene.restart(number)
    assert scene.one(owner) == ("NOERROR", "A 192.0.2.50")
    assert scene.one(f"x.bad.{owner}") == ("NXDOMAIN", f"EDE {BLOCKED}")
    assert scene.api.call("GET", "/dns?under=kept.example")["items"] == before
    assert scene.api.call("GET", f"/dns/{made['id']}")["name"] == owner


def test_a_reload_keeps_what_came_by_api(scene: Scene) -> None:
    add(scene, "reload.example.", "A", "192.0.2.51")
    scene.api.call("POST", "/reload")
    assert scene.one("reload.example.") == ("NOERROR", "A 192.0.2.51")


def test_upstream_servers_come_and_go(scene: Scene) -> None:
    api = scene.api
    (first,) = api.call("GET", "/upstreams")["items"]
    assert (first["origin"], first["enabled"]) == ("file", True)
    assert api.call("DELETE", f"/upstreams/{first['id']}", status=409)["code"] == "IN_FILE"
    assert api.call("PATCH", f"/upstreams/{first['id']}", {"enabled": False}, 409)["code"] == "LAST_UPSTREAM"
    address, port = scene.fleet.at(1).split("@")
    server = {"address": address, "port": int(port)}
    second = api.made("/upstreams", server)
    assert api.call("POST", "/upstreams", server)["id"] == second["id"]
    other = {**server, "port": 1, "transport": "tcp"}
    assert api.call("POST", "/upstreams", other, 409)["code"] == "CONFLICT", "a zone has one transport"
    assert api.call("POST", "/upstreams", {**other, "transport": "doq"}, 422)["code"] == "NOT_OFFERED"
    api.call("PATCH", f"/upstreams/{first['id']}", {"enabled": False})
    before = scene.fleet.asked([0, 1])
    for number in range(5):
        owner = f"u{number}.switched.net."
        assert scene.one(owner) == forwarded(owner)
    after = scene.fleet.asked([0, 1])
    assert (after[0], after[1] - before[1] >= 5) == (before[0], True), "the one of the file is left alone"
    assert api.call("DELETE", f"/upstreams/{second['id']}", status=409)["code"] == "LAST_UPSTREAM"
    probed = api.call("POST", f"/upstreams/{second['id']}/probe")
    assert (probed["answered"], probed["error"]) == (True, None)
    scene.restart(signal.SIGTERM)
    found = {row["id"]: row for row in scene.api.call("GET", "/upstreams")["items"]}
    assert found[first["id"]]["enabled"] is False
    assert remove(scene, f"/upstreams/{first['id']}") == 204, "as the file says again"
    assert remove(scene, f"/upstreams/{second['id']}") == 204
    (left,) = scene.api.call("GET", "/upstreams")["items"]
    assert (left["id"], left["origin"], left["enabled"]) == (first["id"], "file", True)


def test_a_zone_that_comes_by_api(scene: Scene) -> None:
    address, port = scene.fleet.at(2).split("@")
    made = scene.api.made("/upstreams", {"zone": "Corp.Example", "address": address, "port": int(port)})
    assert made["zone"] == "corp.example."
    before = scene.fleet.asked([0, 2])
    assert scene.one("a.corp.example.") == forwarded("a.corp.example.")
    after = scene.fleet.asked([0, 2])
    assert (after[0], after[1] > before[1]) == (before[0], True)
    assert scene.api.call("DELETE", f"/upstreams/{made['id']}", status=409)["code"] == "LAST_UPSTREAM"
    assert remove(scene, f"/upstreams/{made['id']}?zone=1") == 204
    assert scene.api.call("GET", "/resolution")["forward_zones"] == ["."]


def test_resolution_changes_live(scene: Scene) -> None:
    assert scene.api.call("GET", "/resolution") == {"mode": "forward", "origin": "default", "forward_zones": ["."]}
    assert scene.one("before.way.net.") == forwarded("before.way.net.")
    changed = scene.api.call("PUT", "/resolution", {"mode": "full-recursion"})
    assert changed == {"mode": "full-recursion", "origin": "api", "forward_zones": []}
    before = scene.fleet.asked([0])
    scene.api.lookup("after.way.net")  # nobody answers at the root of this test
    assert scene.fleet.asked([0]) == before, "the forwarder is left alone"
    back = scene.api.call("PUT", "/resolution", {"mode": "forward"})
    assert back == {"mode": "forward", "origin": "api", "forward_zones": ["."]}
    assert scene.one("again.way.net.") == forwarded("again.way.net.")
