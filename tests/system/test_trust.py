"""What is trusted and what is excused, in the real process behind the lab: negative trust anchors over the API, over a
reload and to their end, and an anchor file that follows RFC 5011.
"""

from __future__ import annotations

import http.client
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from runbound.lab import load
from runbound.lab.guide import anchor
from support.packets import Ask, Edns, exchange
from support.servers import Lab, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "k" * 40
BROKEN = "www.expired.broken."
NTA_IN_FORCE = 33
"""The extended error that tells of a negative trust anchor."""


class Trusting:
    """A resolver that forwards to the lab and validates from its root, and the resolver's API."""

    def __init__(self, resolver: Resolver, port: int, anchors: Path) -> None:
        self.resolver = resolver
        self.port = port
        self.anchors = anchors
        resolver.wait_for_log("API is up")

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        octets = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Connection": "close"}
        connection.request(method, path, octets, headers)
        with connection.getresponse() as response:
            text = response.read()
            return response.status, json.loads(text) if text else None

    def excuse(self, name: str, seconds: int) -> None:
        """Makes a negative trust anchor."""
        assert self.call("POST", "/dnssec/negative-anchors", {"name": name, "seconds": seconds})[0] == 201

    def ask(self, name: str, *, cd: bool = False) -> tuple[str, bool, set[int]]:
        """Response code, AD, and the numbers of the extended errors."""
        reply = exchange(Ask(name, cd=cd, edns=Edns(do=True)), self.resolver.at, 10)
        assert reply is not None
        message = dns.message.from_wire(reply)
        codes = {int(option.code) for option in message.options if isinstance(option, dns.edns.EDEOption)}
        return dns.rcode.to_text(message.rcode()), bool(message.flags & dns.flags.AD), codes

    def reload(self) -> None:
        """Reads the file again."""
        self.resolver.signal(signal.SIGHUP)
        self.resolver.wait_for_log("change applied")


@pytest.fixture
def trusting(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Trusting]:
    """Indirect parameters are more lines of the configuration."""
    port = free_port()
    anchors = tmp_path / "root.key"
    anchors.write_text(anchor(load(loopback=True)))
    with Lab(tmp_path / "lab") as lab:
        body = (
            f'    api-port: {port}\n    ede: yes\n    module-config: "validator iterator"\n'
            f'    auto-trust-anchor-file: "{anchors}"\n{getattr(request, "param", "")}'
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{lab.port}\n'
        )
        with Resolver(body, tmp_path / "resolver", env={"RUNBOUND_API_KEY": KEY}) as resolver:
            yield Trusting(resolver, port, anchors)


def test_rfc7646_a_name_is_excused_over_a_reload_and_validated_again(trusting: Trusting) -> None:
    code, authentic, why = trusting.ask(BROKEN)
    assert (code, authentic) == ("SERVFAIL", False)
    assert NTA_IN_FORCE not in why
    trusting.excuse("expired.broken", 3600)
    code, authentic, why = trusting.ask(BROKEN)
    assert (code, authentic, NTA_IN_FORCE in why) == ("NOERROR", False, True)
    assert trusting.ask("www.signed.lab.")[:2] == ("NOERROR", True), "others are validated as ever"
    trusting.reload()
    assert trusting.ask(BROKEN)[0] == "NOERROR"
    assert trusting.call("GET", "/dnssec")[1]["negative_anchors"] == ["expired.broken."]
    assert trusting.call("DELETE", "/dnssec/negative-anchors/expired.broken") == (204, None)
    assert trusting.ask(BROKEN)[0] == "SERVFAIL"


def test_rfc7646_2_an_excuse_ends_by_itself(trusting: Trusting) -> None:
    trusting.excuse("expired.broken", 1)
    assert trusting.ask(BROKEN)[0] == "NOERROR"
    trusting.resolver.wait_for_log("negative trust anchor expired.broken.: its time is over", 20)
    assert trusting.ask(BROKEN)[0] == "SERVFAIL"
    assert trusting.call("GET", "/dnssec/negative-anchors")[1] == {"negative_anchors": []}


def test_rfc7646_4_an_excuse_ends_when_the_name_validates_again(trusting: Trusting) -> None:
    for name in ("signed.lab", "expired.broken", "nsec3.lab"):
        recheck = 0 if name == "nsec3.lab" else 1
        body = {"name": name, "seconds": 3600, "recheck_seconds": recheck}
        assert trusting.call("POST", "/dnssec/negative-anchors", body)[0] == 201
    assert trusting.ask("www.signed.lab.")[:2] == ("NOERROR", False)
    trusting.resolver.wait_for_log("negative trust anchor signed.lab.: the name validates again, so it ends", 30)
    assert trusting.ask("www.signed.lab.")[:2] == ("NOERROR", True)
    assert trusting.call("GET", "/dnssec")[1]["negative_anchors"] == ["expired.broken.", "nsec3.lab."]


def test_rfc5011_the_first_probe_fills_the_file(trusting: Trusting) -> None:
    assert trusting.ask("www.signed.lab.")[:2] == ("NOERROR", True)
    end = time.monotonic() + 20
    while ";;state=2 [  VALID  ]" not in (text := trusting.anchors.read_text()):
        assert time.monotonic() < end, text
        time.sleep(0.05)
    (row,) = trusting.call("GET", "/dnssec/anchors")[1]["anchors"]
    assert (row["zone"], row["follows"]["failed"], row["keys"][0]["state"]) == (".", 0, "valid")
    assert f";;next_probe_time: {row['follows']['next_probe']} " in text
    assert "validation is on, trust anchors: . " in trusting.resolver.log()


def test_rfc8509_3_names_that_ask_for_the_roots_keys_are_answered_by_what_is_trusted(trusting: Trusting) -> None:
    (row,) = trusting.call("GET", "/dnssec/anchors")[1]["anchors"]
    tag = row["keys"][0]["tag"]
    other = tag ^ 1
    for label, code in (
        (f"is-ta-{tag:05}", "NOERROR"),
        (f"not-ta-{tag:05}", "SERVFAIL"),
        (f"is-ta-{other:05}", "SERVFAIL"),
        (f"not-ta-{other:05}", "NOERROR"),
    ):
        for time_ in ("first", "out of the cache"):
            assert trusting.ask(f"root-key-sentinel-{label}.any.nsec3.lab.")[0] == code, f"{label} {time_}"


@pytest.mark.parametrize(
    ("trusting", "code"),
    [("", "NOERROR"), ("    ignore-cd-flag: yes\n", "SERVFAIL")],
    indirect=["trusting"],
    ids=["CD is heard", "CD is ignored"],
)
def test_rfc4035_3_2_2_bogus_data_are_for_who_sets_cd_unless_ignore_cd_flag(trusting: Trusting, code: str) -> None:
    for _ in ("from the servers", "from the cache"):
        assert trusting.ask(BROKEN, cd=True)[:2] == (code, False)
        assert trusting.ask(BROKEN)[0] == "SERVFAIL"
