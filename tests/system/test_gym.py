"""The lab is a validator's gym, and those who train there agree: each row of docs/reference/lab.md is asked.

Unbound and runbound walk from the lab's root with the lab's trust anchor; delv, drill and kdig look at what runbound
hands out. Owns the list of rows in which others differ from the table, each with the reason. Needs root, for the
namespace.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from runbound.lab import gym, load
from support.box import VALIDATOR, Box
from support.packets import Ask, Edns, exchange
from support.servers import RUNBOUND, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from runbound.lab.gym import Row

PORT = 5335
"""Where the configurations of the lab listen."""
OUR_PORT = 5336
"""Where runbound listens, so that both can run."""
TRIES = 8
"""Times a question is asked: servers of the lab are slow and lossy, and a busy machine drops late answers."""

ROWS = [row for row in gym.rows(load(loopback=False)) if row.verdict != "lost"]

LOOP = "a loop fails; the lab's resolvers give the chain as far as it goes"
NO_TCP = "what fits no datagram cannot be had without TCP; the lab's resolvers know it all the same"
OLD = "RFC 9905 is of 2025; `val-sha1: secure` is Unbound's way"
UNBOUND_SAYS = {
    "loop.alias.lab.": ("SERVFAIL", LOOP),
    "big.notcp.lab.": ("SERVFAIL", NO_TCP),
    "www.rsasha1.lab.": ("secure", OLD),
    "www.rsasha1-nsec3.lab.": ("secure", OLD),
    "nothing.rsasha1-nsec3.lab.": ("secure", OLD),
    "www.revoked.broken.": ("secure", "Unbound looks at REVOKE in trust anchors alone; RFC 5011 2.1 does not"),
}
"""Where Unbound 1.17.1 says otherwise than the table."""

RUNBOUND_SAYS = {"loop.alias.lab.": ("SERVFAIL", LOOP), "big.notcp.lab.": ("SERVFAIL", NO_TCP)}
"""Where runbound does."""

OTHER_CODES = {
    "www.protocol.broken.": ({11}, "a key for another protocol is no zone key either"),
    "www.keytrap.broken.": ({6, 9}, "9 where the zone's own key is not among the first 128, which are looked at"),
    "nothing.keytrap.broken.": ({6, 9}, "the same"),
}
"""Where runbound's extended error is, or may be, another than the table's."""

OPT_OUT = "the proof is whole, though it says only that the name may be insecure (RFC 5155 9.2)"
DELV_BELIEVES = {
    "example.com. DS": OPT_OUT,
    "unsafe.optout.lab. DS": OPT_OUT,
    "www.optout.broken. TXT": OPT_OUT,
    "www.rsasha1.lab. A": OLD,
    "www.rsasha1-nsec3.lab. A": OLD,
    "nothing.rsasha1-nsec3.lab. A": OLD,
}
"""What the table calls insecure and delv fully validated."""
DELV_REFUSES = {"www.weakdigest.broken. A": "beside a stronger digest SHA-1 does not count (RFC 4509 3)"}
"""What the table calls secure and delv does not."""

DRILL_BELIEVES = {
    "tobad.alias.lab. A": "drill does not follow the alias",
    "www.keys-expired.broken. A": "drill does not look at the signature of keys that a DS names",
    "keys-expired.broken. DNSKEY": "the same",
    "www.keysby.broken. A": "the same",
    "www.aswildcard.broken. A": "drill asks for no proof beside a wildcard",
    "x.any.unproved.broken. A": "the same",
    "x.any.unproved3.broken. A": "the same",
    "www.revoked.broken. A": "drill does not look at flags",
    "www.nozonekey.broken. A": "the same",
    "www.protocol.broken. A": "drill does not look at the protocol",
}
"""Bogus, yet drill's chase succeeds: it trusts more than a validator may, whomever it asks."""
DRILL_FAILS = {
    "www.moved.alias.lab. A": "drill does not make the CNAME of a DNAME",
}
"""Secure, yet drill's chase fails, whomever it asks."""


@pytest.fixture(scope="module")
def runbound(box: Box) -> Iterator[Process]:
    conf = box.files / "recursing.conf"
    text = (box.files / "runbound.conf").read_text()
    conf.write_text(
        text.replace("server:", "server:\n    ede: yes\n    discard-timeout: 10000", 1).replace(
            f"@{PORT}", f"@{OUR_PORT}"
        )
    )
    folder = box.folder / "runbound"
    folder.mkdir()
    with Process(box.command([RUNBOUND, "-c", conf]), folder) as process:
        process.wait_for_log("start of service")
        yield process


def ask(box: Box, server: tuple[str, int], row: Row, *, cd: bool = False) -> dns.message.Message:
    """An answer, asked for as often as it takes."""
    question = Ask(row.name, row.rdtype, cd=cd, edns=Edns(do=True))
    with box.inside():
        for _ in range(TRIES):
            reply = exchange(question, server, 4.0)
            if reply is not None and reply[2] & 2:  # TC
                reply = exchange(question.with_(tcp=True), server, 4.0)
            if reply is not None:
                return dns.message.from_wire(reply)
    raise AssertionError(f"no answer from {server}")


def verdict(message: dns.message.Message) -> str:
    """What a resolver made of a question, in the table's words."""
    if message.rcode() == dns.rcode.SERVFAIL:
        return "SERVFAIL"
    return "secure" if message.flags & dns.flags.AD else "insecure"


def wanted(row: Row) -> str:
    return "SERVFAIL" if row.rcode == "SERVFAIL" else row.verdict


def test_there_is_enough_to_train_on() -> None:
    assert len(ROWS) > 140
    assert {row.verdict for row in ROWS} == {"secure", "insecure", "bogus"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name[:60]} {row.rdtype}")
def test_unbound_says_what_the_table_says(row: Row, box: Box, unbound_in_box: Process) -> None:
    got = ask(box, ("127.0.0.1", PORT), row)
    expected, why = UNBOUND_SAYS.get(row.name, (wanted(row), ""))
    assert verdict(got) == expected, f"{why}\n{got}\n{unbound_in_box.log()[-2000:]}"
    if expected == wanted(row):
        assert dns.rcode.to_text(got.rcode()) == row.rcode


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name[:60]} {row.rdtype}")
def test_runbound_says_what_the_table_says(row: Row, box: Box, runbound: Process) -> None:
    got = ask(box, ("127.0.0.1", OUR_PORT), row)
    expected, why = RUNBOUND_SAYS.get(row.name, (wanted(row), ""))
    assert verdict(got) == expected, f"{why}\n{got}\n{runbound.log()[-2000:]}"
    if expected == wanted(row):
        assert dns.rcode.to_text(got.rcode()) == row.rcode
    if row.verdict == "bogus":
        codes = [int(option.code) for option in got.options if isinstance(option, dns.edns.EDEOption)]
        allowed, _ = OTHER_CODES.get(row.name, ({row.ede}, ""))
        assert len(codes) == 1, got
        assert allowed.issuperset(codes), got


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name[:60]} {row.rdtype}")
def test_with_cd_everybody_gets_the_data(row: Row, box: Box, runbound: Process) -> None:
    assert runbound.process.poll() is None
    if row.verdict == "bogus":
        for server in ((VALIDATOR, 53), ("127.0.0.1", OUR_PORT)):
            got = ask(box, server, row, cd=True)
            assert got.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), got
            assert not got.flags & dns.flags.AD


class TestPeers:
    """Others accept what runbound calls secure and refuse what it calls bogus; they ask runbound."""

    def each(self, box: Box, command: Callable[[Row], Sequence[str | Path]]) -> list[tuple[Row, str]]:
        with ThreadPoolExecutor(4) as pool:
            said = pool.map(lambda row: box.run("timeout", "30", *command(row)), ROWS)
            return list(zip(ROWS, said, strict=True))

    def test_delv(self, box: Box, runbound: Process) -> None:
        begin = ("delv", "@127.0.0.1", "-p", str(OUR_PORT), "-a", box.files / "bind.keys", "+root")
        wrong = []
        for row, said in self.each(box, lambda row: [*begin, row.name, row.rdtype]):
            if row.name in RUNBOUND_SAYS:
                continue
            question = f"{row.name} {row.rdtype}"
            expected = "bogus" if question in DELV_REFUSES else row.verdict
            expected = "secure" if question in DELV_BELIEVES else expected
            bad = "resolution failed" in said and "negative response" not in said and "ncache" not in said
            fits = {
                "secure": "fully validated" in said and not bad,
                "insecure": "unsigned answer" in said and not bad,
                "bogus": bad and "resolution failed: timed out" not in said,
            }
            if not fits[expected]:
                wrong.append(f"{row.name} {row.rdtype} is {row.verdict}, delv: {said}")
        assert not wrong, "\n".join([*wrong, runbound.log()[-2000:]])

    def test_drill_chases(self, box: Box, runbound: Process) -> None:
        begin = ("drill", "-S", "-k", box.files / "root.key", "-p", str(OUR_PORT), "@127.0.0.1")
        wrong = []
        for row, said in self.each(box, lambda row: [*begin, row.name, row.rdtype]):
            question = f"{row.name} {row.rdtype}"
            if row.name in RUNBOUND_SAYS or question in DRILL_FAILS or row.verdict == "insecure":
                continue
            believes = row.verdict == "secure" or question in DRILL_BELIEVES
            if ("Chase successful" in said) is not believes:
                wrong.append(f"{row.name} {row.rdtype} is {row.verdict}, drill: {said}")
        assert not wrong, "\n".join([*wrong, runbound.log()[-2000:]])

    def test_kdig(self, box: Box, runbound: Process) -> None:
        begin = ("kdig", "@127.0.0.1", "-p", str(OUR_PORT), "+dnssec")
        wrong = []
        for row, said in self.each(box, lambda row: [*begin, row.name, row.rdtype]):
            flags = re.search(r"Flags: ([a-z ]*);", said)
            secure = flags is not None and "ad" in flags[1].split()
            refused = "status: SERVFAIL" in said
            signed = "RRSIG" in said
            if row.name not in RUNBOUND_SAYS and (
                secure is not (row.verdict == "secure")
                or refused is not (row.verdict == "bogus")
                or (secure and not signed)
            ):
                wrong.append(f"{row.name} {row.rdtype} is {row.verdict}, kdig: {said}")
        assert not wrong, "\n".join([*wrong, runbound.log()[-2000:]])
