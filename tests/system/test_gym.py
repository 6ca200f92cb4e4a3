"""The lab is a validator's gym, and those who train there agree: each row of docs/reference/lab.md is asked.

Unbound and runbound walk from the lab's root with the lab's trust anchor; delv checks for itself what runbound fetched.
Owns the list of rows in which others differ from the table, each with the reason. Needs root, for the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import pytest

from runbound.lab import gym, load
from support.box import VALIDATOR, Box
from support.packets import Ask, Edns, exchange
from support.servers import UNBOUND, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbound.lab.gym import Row

PORT = 5335
"""Where the configurations of the lab listen."""
TRIES = 8
"""Times a question is asked: servers of the lab are slow and lossy, and a busy machine drops late answers."""

ROWS = [row for row in gym.rows(load(loopback=False)) if row.verdict != "lost"]

UNBOUND_SAYS = {
    "loop.alias.lab.": ("SERVFAIL", "a loop fails; the lab's resolvers give the chain as far as it goes"),
    "big.notcp.lab.": ("SERVFAIL", "what fits no datagram cannot be had without TCP; the lab's resolvers know it"),
    "www.weakdigest.broken.": ("secure", "Unbound takes any digest that fits; RFC 4509 3 wants the stronger alone"),
    "www.revoked.broken.": ("secure", "Unbound looks at REVOKE in trust anchors alone; RFC 5011 2.1 does not"),
}
"""Where Unbound 1.17.1 says otherwise than the table."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Box(tmp_path_factory.mktemp("box")) as made:
        yield made


@pytest.fixture(scope="module")
def unbound(box: Box) -> Iterator[Process]:
    assert UNBOUND is not None
    with Process(box.command([UNBOUND, "-d", "-c", box.files / "unbound.conf"]), box.folder) as process:
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
def test_unbound_says_what_the_table_says(row: Row, box: Box, unbound: Process) -> None:
    got = ask(box, ("127.0.0.1", PORT), row)
    expected, why = UNBOUND_SAYS.get(row.name, (wanted(row), ""))
    assert verdict(got) == expected, f"{why}\n{got}\n{unbound.log()[-2000:]}"
    if expected == wanted(row):
        assert dns.rcode.to_text(got.rcode()) == row.rcode


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name[:60]} {row.rdtype}")
def test_with_cd_everybody_gets_the_data(row: Row, box: Box) -> None:
    if row.verdict == "bogus":
        assert ask(box, (VALIDATOR, 53), row, cd=True).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
