"""Log lines: for the same questions the same lines as Unbound's, but for the name, the times and the client's port."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.rdatatype
import pytest

from support.packets import Ask, Edns, exchange
from support.servers import HEAD, Lab, Resolver, Server, Unbound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZONES = """
    local-zone: "static.example." static
    local-data: "www.static.example. A 192.0.2.1"
    local-zone: "inform.example." inform
    local-data: "www.inform.example. A 192.0.2.2"
    local-zone: "denied.example." inform_deny
    local-zone: "redirect.example." inform_redirect
    local-data: "redirect.example. A 192.0.2.3"
    local-zone: "refused.example." refuse
    local-zone: "nx.example." always_nxdomain
    access-control: 127.0.0.5 refuse
    access-control: 127.0.0.6 deny
"""

ASKS = (
    Ask("www.static.example.", "A"),
    Ask("WWW.static.example.", "AAAA"),
    Ask("none.static.example.", "A"),
    Ask("www.inform.example.", "A"),
    Ask("none.inform.example.", "TXT"),
    Ask("a.denied.example.", "A"),
    Ask("deep.redirect.example.", "A"),
    Ask("refused.example.", "MX"),
    Ask("nx.example.", "A", edns=Edns(1232, do=True)),
    Ask("nx.example.", "A", tcp=True),
    Ask("host.example.com.", "A"),
    Ask("host.example.com.", "A"),
    Ask("no.example.com.", "A"),
    Ask("broken.example.com.", "A"),
    Ask(r"sp\032ace.q\"uote.static.example.", "A"),
    Ask("www.static.example.", "TYPE65280"),
    Ask("www.static.example.", "A", "CH"),
    Ask("version.bind.", "TXT", "CH"),
    Ask("localhost.", "A"),
    Ask(".", "NS"),
    Ask("www.static.example.", "A", source="127.0.0.5"),
    Ask("www.static.example.", "A", source="127.0.0.6"),
    Ask(raw=b"\x12\x34\x01\x00\0\1" + bytes(6) + b"\3www", label="cut"),
    Ask("www.static.example.", "A", edns=Edns(1232, version=1)),
)

TEXT_LINE = re.compile(r"^\[(?P<time>[^\]]+)\] (?P<name>[\w-]+)\[\d+:\d+\] (?P<rest>.*)$")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


def options(lines: str, lab: Lab) -> str:
    forward = f'forward-zone:\n    name: "."\n    forward-addr: {lab.address}@{lab.port}\n'
    return "".join(f"    {line}\n" for line in lines.splitlines()) + ZONES + forward


def said(server: Server) -> list[str]:
    """Asks every question, one after the other; the lines about clients, in order, without what changes."""
    for ask in ASKS:
        exchange(ask, server.at, 0.3 if ask.source == "127.0.0.6" or "denied" in ask.name else 3.0)
    server.stop()  # a line may be written after the answer has left
    lines = []
    for line in server.log().splitlines():
        found = TEXT_LINE.match(line)
        rest = found["rest"] if found else line
        # Not lines about a client; and what stands around the first answer of the start.
        if not re.search(r"127\.0\.0\.\d|SERVFAIL", rest) or "localhost" in rest or "API is up" in rest:
            continue
        rest = re.sub(r"@\d+", "@PORT", rest)
        rest = re.sub(r"127\.0\.0\.1 port \d+", "127.0.0.1 port PORT", rest)
        rest = re.sub(r" \d+\.\d{6} ", " SECONDS ", rest)
        lines.append(rest)
    return lines


@pytest.mark.parametrize(
    "lines",
    [
        "log-queries: yes",
        "log-replies: yes",
        "log-local-actions: yes",
        "log-queries: yes\nlog-replies: yes\nlog-local-actions: yes\nlog-tag-queryreply: yes",
        "log-servfail: yes",
        "verbosity: 0\nlog-queries: yes",
    ],
    ids=["queries", "replies", "local-actions", "all-tagged", "servfail", "verbosity-0"],
)
def test_lines_are_unbounds(lines: str, lab: Lab, tmp_path: Path) -> None:
    conf = options(lines, lab)
    with Unbound(conf, tmp_path / "unbound") as unbound, Resolver(conf, tmp_path / "runbound") as runbound:
        theirs, ours = said(unbound), said(runbound)
    assert theirs, "the reference said nothing: the question is wrong"
    assert ours == theirs


BOGUS = (
    "www.expired.broken.",
    "www.early.broken.",
    "www.backwards.broken.",
    "www.badsig.broken.",
    "nodata.badsig.broken.",
)
"""Names of the lab at which Unbound and runbound find the same to be wrong."""


def bogus(server: Server) -> set[str]:
    """What is said of failed validations: a set, for a client may ask again."""
    for name in BOGUS:
        exchange(Ask(name, "A"), server.at, 8.0)
    server.stop()  # a line may be written after the answer has left
    rests = [found["rest"] for line in server.log().splitlines() if (found := TEXT_LINE.match(line))]
    return {rest for rest in rests if "validation failure" in rest}


@pytest.mark.parametrize("level", [0, 1, 2])
def test_failed_validations_are_told_in_unbounds_words(level: int, lab: Lab, tmp_path: Path) -> None:
    query = dns.message.make_query(".", "DNSKEY", want_dnssec=True)
    keys = dns.query.tcp(query, lab.address, port=lab.port, timeout=5).find_rrset(
        dns.message.ANSWER, dns.name.root, dns.rdataclass.IN, dns.rdatatype.DNSKEY
    )
    anchors = "".join(f'    trust-anchor: ". DNSKEY {key.to_text()}"\n' for key in keys if key.flags & 1)
    forward = f'forward-zone:\n    name: "."\n    forward-addr: {lab.address}@{lab.port}\n'
    modules = '    module-config: "validator iterator"\n'
    conf = f"{modules}    val-log-level: {level}\n    val-max-restart: 0\n{anchors}{forward}"
    with Unbound(conf, tmp_path / "unbound") as unbound, Resolver(conf, tmp_path / "runbound") as runbound:
        theirs, ours = bogus(unbound), bogus(runbound)
    assert len(theirs) == (len(BOGUS) if level else 0)
    assert ours == theirs


@pytest.mark.parametrize(
    ("lines", "pattern"),
    [
        ("", r"\[\d{10}\] runbound\[\d+:\d+\] "),
        ("log-time-ascii: yes", r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d runbound\[\d+:\d+\] "),
        ("log-time-ascii: yes\nlog-time-iso: yes", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S* runbound\[\d+:\d+\] "),
        ('log-identity: "me"', r"\[\d{10}\] me\[\d+:\d+\] "),
    ],
    ids=["unix", "ascii", "iso", "identity"],
)
def test_how_a_line_begins(lines: str, pattern: str, lab: Lab, tmp_path: Path) -> None:
    with Resolver(options(f"log-queries: yes\n{lines}", lab), tmp_path) as runbound:
        exchange(Ask("www.static.example."), runbound.at)
        log = runbound.wait_for_log("www.static.example. A IN")
    line = next(line for line in log.splitlines() if "www.static.example. A IN" in line)
    assert re.match(pattern + r"info: 127\.0\.0\.1 www\.static\.example\. A IN$", line), line


def test_the_ascii_time_is_unbounds(lab: Lab, tmp_path: Path) -> None:
    conf = options("log-queries: yes\nlog-time-ascii: yes", lab)
    heads = []
    with Unbound(conf, tmp_path / "unbound") as unbound, Resolver(conf, tmp_path / "runbound") as runbound:
        for server in (unbound, runbound):
            exchange(Ask("www.static.example."), server.at)
            log = server.wait_for_log("www.static.example. A IN")
            line = next(line for line in log.splitlines() if "www.static.example. A IN" in line)
            heads.append(re.sub(r"\d", "9", line).replace("runbound", "unbound"))
    assert heads[0].split("[")[0] == heads[1].split("[")[0]


def test_a_log_file_is_opened_anew_on_reload(lab: Lab, tmp_path: Path) -> None:
    conf = options('log-queries: yes\nlogfile: "{folder}/queries.log"', lab)
    with Resolver(conf, tmp_path, head=HEAD) as runbound:
        exchange(Ask("www.static.example."), runbound.at)
        log = tmp_path / "queries.log"
        end = time.monotonic() + 5
        while "www.static.example." not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        log.rename(tmp_path / "queries.log.1")
        runbound.signal(1)
        end = time.monotonic() + 5
        while not log.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        exchange(Ask("none.static.example."), runbound.at)
        end = time.monotonic() + 5
        while "none.static.example." not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
