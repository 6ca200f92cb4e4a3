"""The world's file: five lines are a zone, and whoever writes something wrong is told where, what and what to do."""

from __future__ import annotations

from pathlib import Path

import dns.name
import dns.rdatatype
import pytest

from runbound.lab import WorldError, load
from runbound.lab.behaviour import FLAWS
from runbound.lab.names import key_of
from runbound.lab.schema import WorldFile, read
from runbound.lab.world import World
from runbound.lab.zone import Kind

ROOT = '[zones."."]\n'


def world(text: str, *, loopback: bool = True) -> World:
    return World(WorldFile("my.toml", (ROOT + text).encode()), loopback=loopback)


def key(text: str) -> tuple[bytes, ...]:
    return key_of(dns.name.from_text(text))


def test_five_lines_are_a_signed_zone() -> None:
    made = world('[zones."shop.lab."]\nteaches = "mine"\ntext = """\nwww 300 IN A 192.0.2.80\n"""\n')
    zone = made.zones[key("shop.lab.")]
    assert zone.signed
    assert zone.find(key("www.shop.lab."), dns.rdatatype.A).kind is Kind.ANSWER
    assert made.is_secure(zone)
    assert not made.why_lost(zone)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[zons]\n", 'unknown table "zons"; did you mean "zones"?'),
        ("[zones\n", "this is not TOML"),
        ('[zones."a."]\n[zones."A."]\n', 'line 3: zone "A.": the zone is in this file already'),
        ('[zones."a."]\ntext = "www.b. 300 IN A 192.0.2.1"\n', "www.b. does not lie in the zone"),
        (
            '[zones."a."]\ngenerate = [{ name = "x{n}", count = 2, type = "A", value = "{a.b}" }]\n',
            "there are {n}, {a}, {b} and {c}",
        ),
        ('[zones."a."]\nsigned = true\n', 'line 2: zone "a.": unknown key "signed"; did you mean "sign"?'),
        ('[zones."a"]\n', 'the name must end in a dot: "a."'),
        ('[zones."a..b."]\n', "is not a name"),
        ('[zones."a."]\nsign = "nsec4"\n', "line 2: zone \"a.\": sign: Invalid enum value 'nsec4'"),
        ('[zones."a."]\nbroken = "expird"\n', 'did you mean "expired"?; there are: expired, not-yet-valid'),
        ('[zones."a."]\nbroken = "expired"\nsign = "no"\n', 'leave out sign = "no"'),
        (
            '[zones."a."]\nservers = { ns1 = { dealy = 1 } }\n',
            'server "ns1": unknown key "dealy"; did you mean "delay"?',
        ),
        ('[zones."a."]\nservers = { ns1 = { loss = 2 } }\n', "Expected `float` <= 1"),
        ('[zones."a."]\nservers = { ns1 = { ipv4 = false } }\n', 'server "ns1" has no address'),
        ('[zones."a."]\nservers = { ns1 = { address = "192.0.2.1" } }\n', "192.0.2.1 must lie in 198.18.0.0/15"),
        ('[zones."a."]\nservers = { ns1 = { address = "198.18.1.1" }, ns2 = {} }\n', "is another server's address"),
        ('[zones."a."]\ntext = """\n@ IN NS ns1\n"""\n', "write servers = { ns1 = {} } instead"),
        ('[zones."a."]\ntext = """\nok A 192.0.2.1\nbad A 192.0.2\n"""\n', 'line 5: zone "a.": '),
        ('[zones."a."]\nask = ["www"]\n', 'write a name and a type, such as "www A"'),
        ('[zones."a."]\ndepth = 61\n', "Expected `int` <= 60"),
        ('[zones."a."]\ngenerate = [{ name = "x", count = 2, type = "A", value = "1.2.3.4" }]\n', "must hold {n} once"),
        ('[zones."a."]\ngenerate = [{ name = "x{n}", count = 300, type = "A", value = "1.2.3.{n}" }]\n', "generate: A"),
        ('[zones."a."]\ntext = "x.b A 192.0.2.1\\n"\n[zones."b.a."]\n', "which belongs to zone b.a.; move them there"),
        ('[behaviour]\n"a." = { delay = 99 }\n', 'line 3: behaviour "a.": delay: Expected `float` <= 60'),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(WorldError) as caught:
        world(text)
    assert str(caught.value).startswith("my.toml")
    assert says in str(caught.value)


def test_there_must_be_a_root() -> None:
    with pytest.raises(WorldError, match="there is no root"):
        World(WorldFile("my.toml", b'[zones."a."]\n'), loopback=True)


def test_a_server_is_described_once() -> None:
    with pytest.raises(WorldError, match=r"ns\.a\. is described twice"):
        world(
            '[zones."a."]\nservers = { ns = { delay = 1 } }\n[zones."b."]\nservers = { "ns.a." = { silent = true } }\n'
        )


def test_the_world_of_the_package_has_every_fault() -> None:
    file = read()
    assert {entry.broken for entry in file.zones.values() if entry.broken} == set(FLAWS)
    for entry in file.zones.values():
        assert entry.teaches or not entry.ask


def test_addresses() -> None:
    boxed, local = load(loopback=False), load()
    root = key("a.root-servers.net.")
    assert boxed.servers[root].addresses == ["198.18.0.1", "2001:2::1"]
    assert local.servers[root].addresses == ["127.18.0.1"]
    for made in (boxed, local):
        every = [address for server in made.servers.values() for address in server.addresses]
        assert len(every) == len(set(every))


def test_zones_are_added_to_the_packages_world(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[zones."shop.lab."]\n[zones."signed.lab."]\nsign = "no"\n')
    made = load(added=path)
    assert made.is_secure(made.zones[key("shop.lab.")])
    assert not made.is_secure(made.zones[key("signed.lab.")])


def test_another_world_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ROOT)
    assert len(load(path).zones) == 1


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"\xff", "my.toml: this is not UTF-8: invalid start byte at octet 0"),
        (b"behaviour = []", 'my.toml: "behaviour" is a table: write [behaviour."name."]'),
        (b'[zones."a."]\nservers = { ns1 = { address = "192.0.2.1" } }', "my.toml: server ns1.a.: 192.0.2.1 must lie"),
    ],
)
def test_what_is_wrong_in_a_file_that_is_added(tmp_path: Path, octets: bytes, says: str) -> None:
    added = tmp_path / "my.toml"
    added.write_bytes(octets)
    with pytest.raises(WorldError) as caught:
        load(None, added=added)
    assert says in str(caught.value)
