"""Records and blocks of the API in a whole process: what they answer, and that it stays through reload and restart.

The measure is Unbound with the same records in its file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import Resolver, Unbound, Upstream, free_port

if TYPE_CHECKING:
    from pathlib import Path

ZONES = """
    local-zone: "static.example" static
    local-data: "static.example 60 IN SOA ns.static.example. host.static.example. 1 2 3 4 30"
    local-zone: "open.example" transparent
    local-zone: "hole.static.example" typetransparent
    local-zone: "moved.example" redirect
    local-zone: "quiet.example" always_nxdomain
    local-zone: "private.example" refuse
    local-data: "both.open.example 300 IN A 192.0.2.1"
"""

RECORDS = (
    ("www.static.example.", "A", 300, "192.0.2.10"),
    ("a.b.c.static.example.", "TXT", 5, '"below names that exist through it"'),
    ("x.hole.static.example.", "A", 300, "192.0.2.11"),
    ("hole.static.example.", "DS", 300, "1 8 2 E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"),
    ("both.open.example.", "A", 60, "192.0.2.2"),
    ("mail.open.example.", "MX", 300, "10 mx.open.example."),
    ("alias.open.example.", "CNAME", 300, "www.static.example."),
    ("moved.example.", "A", 300, "192.0.2.12"),
    ("moved.example.", "AAAA", 300, "2001:db8::12"),
    ("x.quiet.example.", "A", 300, "192.0.2.13"),
    ("x.private.example.", "A", 300, "192.0.2.14"),
    ("9.1.168.192.in-addr.arpa.", "PTR", 300, "nas.home.arpa."),
    ("nas.home.arpa.", "A", 300, "192.168.1.9"),
    ("one.nowhere.test.", "A", 300, "192.0.2.15"),
    ("localhost.", "A", 300, "127.0.0.2"),
)
"""In the order of the overlay for each name, which is that of the file for Unbound."""

TYPES = ("A", "AAAA", "TXT", "MX", "CNAME", "DS", "PTR", "SOA", "ANY")


def said(server: tuple[str, int], name: str, rtype: str) -> tuple[object, ...]:
    """What is compared of an answer; the order of records is drawn by lot."""
    reply = exchange(Ask(name, rtype), server, timeout=5)
    assert reply is not None, f"{name} {rtype}: silence"
    message = dns.message.from_wire(reply)
    sections = (
        sorted(line for rrset in section for line in rrset.to_text().split("\n")) for section in message.sections
    )
    return dns.rcode.to_text(message.rcode()), bool(message.flags & dns.flags.AA), *sections


def everything(server: tuple[str, int]) -> dict[str, tuple[object, ...]]:
    """The answers for each name, one below it and those above it, and each type."""
    names = {name for name, *_ in RECORDS}
    names |= {f"sub.{name}" for name in names}
    names |= {name.split(".", 1)[1] for name, *_ in RECORDS} | {"c.static.example.", "nothing.static.example."}
    return {f"{name} {rtype}": said(server, name, rtype) for name in sorted(names) for rtype in TYPES}


def nothing(_count: int, packet: bytes) -> list[bytes]:
    """A server that knows no name: what the rules let pass is NXDOMAIN without AA."""
    reply = dns.message.make_response(dns.message.from_wire(packet))
    reply.set_rcode(dns.rcode.NXDOMAIN)
    return [reply.to_wire()]


def forward(upstream: Upstream) -> str:
    return f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{upstream.port}\n'


def test_records_by_api_answer_as_unbound_does_with_them_in_its_file(tmp_path: Path) -> None:
    data = "".join(f"    local-data: '{name} {ttl} IN {rtype} {value}'\n" for name, rtype, ttl, value in RECORDS)
    port = free_port()
    folder, env = tmp_path / "runbound", {"RUNBOUND_API_KEY": KEY}
    with Upstream(nothing) as upstream:
        with Unbound(ZONES + data + forward(upstream), tmp_path / "unbound") as unbound:
            expected = everything(unbound.at)
        body = f"    api-port: {port}\n    num-threads: 2\n{ZONES}{forward(upstream)}"
        with Resolver(body, folder, env=env) as resolver:
            api = Api(resolver, port)
            for name, rtype, ttl, value in RECORDS:
                api.made("/dns", {"name": name, "type": rtype, "ttl": ttl, "value": value})
            assert everything(resolver.at) == expected
            api.call("POST", "/reload")
            assert everything(resolver.at) == expected
        # The first answer after a start has them already.
        with Resolver(body, folder, env=env, ready=Ask("www.static.example.")) as resolver:
            assert said(resolver.at, "www.static.example.", "A") == expected["www.static.example. A"]
            assert everything(resolver.at) == expected


def test_blocks_by_api_are_live_when_the_call_is_answered_and_named_by_an_explanation(tmp_path: Path) -> None:
    port = free_port()
    zones = f"    api-port: {port}\n    num-threads: 2\n" + '    local-zone: "free.ads.example" always_transparent\n'
    with (
        Upstream(nothing) as upstream,
        Resolver(zones + forward(upstream), tmp_path, env={"RUNBOUND_API_KEY": KEY}) as resolver,
    ):
        api = Api(resolver, port)
        actions = (("nxdomain", ("NXDOMAIN", True)), ("refuse", ("REFUSED", False)), ("null", ("NOERROR", True)))
        for number, (action, expected) in enumerate(actions):
            status = 200 if number else 201
            api.call("POST", "/blacklist", {"name": "ads.example", "action": action}, status)
            # From many ports, so that both workers are asked; most out of the first level.
            assert {said(resolver.at, "x.ads.example.", "A")[:2] for _ in range(32)} == {expected}, action
        assert api.call("GET", "/stats")["counters"]["num.answer.blocked"] == 96
        assert said(resolver.at, "x.free.ads.example.", "A")[:2] == ("NXDOMAIN", False)
        steps = api.call("POST", "/dns/explain", {"name": "x.ads.example", "type": "A"})["steps"]
        assert [step["text"] for step in steps if step["what"] == "block"] == [
            "block ads.example. (API), null: answers NOERROR"
        ]
