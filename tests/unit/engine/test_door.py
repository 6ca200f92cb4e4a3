"""The door, through the real module: what an operator does with cache, upstream servers and lookups.

The upstream server is a thread of this process: that it can answer at all shows that the calls let go of the
interpreter.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import msgspec
import pytest

from runbound.config.load import examine
from runbound.engine import Engine, EngineError, Scan, scan, scan_remembered, scan_text
from runbound.engine.compile import compile_document
from support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ADDRESS = "127.83.0.1"
"""Where the engines listen: an address of loopback that nothing else of this machine uses."""
LOOPBACK = ip_address("127.0.0.1")
SECONDS = 20.0
"""How long a lookup may take here; nothing takes it, a slow machine may."""


class Upstream:
    """A server that has what it is told, and remembers what it was asked."""

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while packet := self._socket.recvfrom(65535):
            octets, client = packet
            if not octets:
                return
            query = dns.message.from_wire(octets)
            question = query.question[0]
            key = (question.name.to_text().lower(), question.rdtype.name)
            self.asked.append(key)
            if self.silent:
                continue
            reply = dns.message.make_response(query, recursion_available=True)
            if found := self.records.get(key):
                reply.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", key[1], found))
            else:
                soa = "ns. host. 1 3600 900 604800 300"
                reply.authority.append(dns.rrset.from_text(".", 300, "IN", "SOA", soa))
                if not any(name == key[0] for name, _ in self.records):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(reply.to_wire(), client)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server with a handful of names."""
    server = Upstream(
        {
            ("www.example.com.", "A"): ["192.0.2.1", "192.0.2.2"],
            ("www.example.com.", "AAAA"): ["2001:db8::1"],
            ("mail.example.com.", "TXT"): ['"a b"'],
            ("www.example.net.", "A"): ["192.0.2.9"],
            ("dns.example.net.", "A"): ["127.0.0.1"],
        }
    )
    yield server
    server.close()


def scanned(text: str, folder: Path) -> Scan:
    head = "server:\n do-not-query-localhost: no\n num-threads: 2\n verbosity: 0\n"
    return scan_text((head + text).encode(), "test.conf", str(folder))


def document(text: str, folder: Path, revision: int = 1) -> bytes:
    loaded = examine(scanned(text, folder), str(folder / "test.conf"))
    assert loaded.ok, loaded.diagnostics
    return compile_document(loaded.config, revision).encode()


def forward(upstream: Upstream, name: str = ".") -> str:
    return f"forward-zone:\n name: {name}\n forward-addr: 127.0.0.1@{upstream.port}\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Engine]]:
    """Starts an engine that listens on a port of loopback that is free, and ends it with the test."""
    with contextlib.ExitStack() as running:

        def begin(text: str) -> Engine:
            text = f" interface: {ADDRESS}@{free_port(ADDRESS)}\n{text}"
            whole = document(text, tmp_path)
            engine = Engine()
            engine.open_log(whole)
            engine.bind(whole, ())
            engine.start(whole, scanned(text, tmp_path) if "local-" in text else None)
            running.callback(engine.stop)
            return engine

        yield begin


def answers(found: dict[str, object]) -> list[str]:
    """The answer section; in order, for the upstream server sends records in any."""
    assert isinstance(found["answer"], list)
    return sorted(found["answer"])


def test_the_stub_says_what_the_module_has() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "runbound._native"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_nothing_is_there_before_the_start() -> None:
    engine = Engine()
    assert engine.cache_usage() == {}
    assert engine.system() == {}
    assert engine.upstreams() == []
    assert engine.cache_dump(0) is None
    for act in (
        lambda: engine.cache_flush("all", None, None),
        lambda: engine.cache_load(b""),
        lambda: engine.lookup("a.", "A", False, 1.0),
        lambda: engine.explain("a.", "A", LOOPBACK, False, False, 1.0),
    ):
        with pytest.raises(EngineError, match="the engine does not run"):
            act()


def test_a_lookup_is_resolved_and_then_remembered(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(forward(upstream))
    first = engine.lookup("WWW.example.com", "A", False, SECONDS)
    assert (first["rcode"], first["question"]) == ("NOERROR", "www.example.com. IN A")
    assert answers(first) == ["www.example.com. 300 IN A 192.0.2.1", "www.example.com. 300 IN A 192.0.2.2"]
    assert (first["from_cache"], first["stale"], first["authentic"]) == (False, False, False)
    assert (first["security"], first["ede"], first["why"]) == ("unchecked", [], None)
    again = engine.lookup("www.example.com.", "a", False, SECONDS)
    assert again["from_cache"] is True
    assert upstream.asked == [("www.example.com.", "A")]
    nothing = engine.lookup("www.example.org.", "TYPE28", False, SECONDS)
    assert (nothing["rcode"], nothing["answer"]) == ("NXDOMAIN", [])
    assert nothing["authority"] == [". 300 IN SOA ns. host. 1 3600 900 604800 300"]


def test_a_lookup_that_nobody_answers_runs_out_of_time(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(forward(upstream))
    upstream.silent = True
    with pytest.raises(TimeoutError, match=r"0\.2 s"):
        engine.lookup("www.example.com.", "A", False, 0.2)


def test_what_the_network_says_is_a_result(start: Callable[[str], Engine]) -> None:
    found = start("").lookup("www.example.com.", "A", False, SECONDS)
    assert found["rcode"] == "SERVFAIL"
    assert found["why"]
    assert isinstance(found["ede"], list)
    assert set(found["ede"][0]) == {"code", "text"}


@pytest.mark.parametrize(
    ("name", "rtype", "message"),
    [("a..b", "A", '"a..b" is not a domain name'), ("a.", "ADDRESS", '"ADDRESS" is not a record type')],
)
def test_a_lookup_of_no_name_or_type_is_refused(
    name: str, rtype: str, message: str, start: Callable[[str], Engine]
) -> None:
    with pytest.raises(EngineError, match=message):
        start("").lookup(name, rtype, False, SECONDS)


RULES = """
    access-control: 192.0.2.0/24 refuse
    access-control: 192.0.2.8/29 deny
    access-control: 198.51.100.0/24 refuse_non_local
    access-control: 203.0.113.0/24 deny_non_local
    local-zone: "static.example." static
    local-data: "www.static.example. A 192.0.2.80"
    local-zone: "gone.example." always_deny
    local-zone: "moved.example." redirect
    local-data: "moved.example. CNAME www.example.com."
    deny-any: yes
"""


def explain(
    engine: Engine,
    name: str,
    rtype: str = "A",
    client: str = "127.0.0.1",
    *,
    fresh: bool = False,
    limit: float = SECONDS,
) -> dict[str, Any]:
    document = engine.explain(name, rtype, ip_address(client), False, fresh, limit)
    found: dict[str, Any] = msgspec.msgpack.decode(document)
    return found


def whats(found: dict[str, Any]) -> list[str]:
    return [step["what"] for step in found["steps"]]


@pytest.mark.parametrize(
    ("name", "rtype", "client", "end", "rcode", "steps"),
    [
        ("www.example.com", "A", "192.0.2.1", "answered", "REFUSED", "access refused"),
        ("www.static.example", "A", "192.0.2.1", "answered", "REFUSED", "access refused"),
        ("www.static.example", "A", "192.0.2.9", "dropped", None, "access dropped"),
        ("www.static.example", "A", "127.0.0.1", "answered", "NOERROR", "access local-zone"),
        ("no.static.example", "A", "198.51.100.1", "answered", "NXDOMAIN", "access local-zone"),
        ("www.example.com", "A", "198.51.100.1", "answered", "REFUSED", "access local-zone refused"),
        ("www.example.com", "A", "203.0.113.1", "dropped", None, "access local-zone dropped"),
        ("gone.example", "A", "127.0.0.1", "dropped", None, "access local-zone dropped"),
        ("www.example.com", "ANY", "127.0.0.1", "answered", "NOTIMP", "access local-zone deny-any"),
        ("x.gone.example", "A", "2001:db8::1", "answered", "REFUSED", "access refused"),
    ],
)
def test_rules_are_explained_as_clients_meet_them(
    name: str, rtype: str, client: str, end: str, rcode: str | None, steps: str, start: Callable[[str], Engine]
) -> None:
    found = explain(start(RULES), name, rtype, client)
    assert (found["end"], (found["told"] or {}).get("rcode")) == (end, rcode)
    assert " ".join(whats(found)) == steps


def test_the_netblock_and_the_zone_that_decide_are_told(start: Callable[[str], Engine]) -> None:
    engine = start(RULES)
    dropped = explain(engine, "www.example.com", client="192.0.2.9")["steps"][0]["data"]
    assert (dropped["netblock"], dropped["action"]) == ("192.0.2.8/29", "deny")
    local = explain(engine, "WWW.static.example")["steps"][1]["data"]
    assert (local["zone"], local["zone_type"], local["verdict"]) == ("static.example.", "static", "answer")


def test_a_redirect_goes_on_with_its_target(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    found = explain(start(RULES + forward(upstream)), "moved.example")
    assert whats(found)[:4] == ["access", "local-zone", "cache", "begins"]
    assert found["told"]["answer"][0] == "moved.example. 3600 IN CNAME www.example.com."
    assert "www.example.com. 300 IN A 192.0.2.1" in found["told"]["answer"][1:]


def test_a_question_is_explained_and_then_known(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(forward(upstream))
    first = explain(engine, "www.example.com")
    assert whats(first) == ["access", "local-zone", "cache", "begins", "forward", "asks", "hears", "answered"]
    assert first["steps"][2]["data"]["state"] == "miss"
    again = explain(engine, "www.example.com")
    assert whats(again) == ["access", "local-zone", "cache"]
    assert again["steps"][2]["data"]["state"] == "hit"
    assert upstream.asked == [("www.example.com.", "A")]


def test_a_fresh_question_is_asked_anew_and_forgotten(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(forward(upstream))
    for _ in range(2):
        assert explain(engine, "www.example.com", fresh=True)["told"]["from_cache"] is False
    assert len(upstream.asked) == 2
    assert engine.cache_usage()["message.entries"] == 0
    explain(engine, "www.example.com")
    assert engine.cache_usage()["message.entries"] == 1
    assert explain(engine, "www.example.com", fresh=True)["told"]["from_cache"] is False


@pytest.mark.parametrize("fresh", [False, True])
def test_what_happened_until_time_was_up_is_told(
    fresh: bool, upstream: Upstream, start: Callable[[str], Engine]
) -> None:
    engine = start(forward(upstream))
    upstream.silent = True
    found = explain(engine, "www.example.com", fresh=fresh, limit=0.2)
    assert (found["end"], found["told"]) == ("open", None)
    assert "asks" in whats(found)
    failed = explain(engine, "www.example.com", "TXT", fresh=fresh)
    assert failed["told"]["rcode"] == "SERVFAIL"
    assert {"silent", "asks-again"} <= set(whats(failed))
    assert whats(failed)[-1] in ("failed", "late")


def fill(engine: Engine) -> None:
    for name, rtype in (
        ("www.example.com.", "A"),
        ("www.example.com.", "AAAA"),
        ("mail.example.com.", "TXT"),
        ("www.example.net.", "A"),
        ("none.example.net.", "A"),
    ):
        engine.lookup(name, rtype, False, SECONDS)


def cached(engine: Engine, name: str, rtype: str) -> bool:
    return bool(engine.lookup(name, rtype, False, SECONDS)["from_cache"])


def test_usage_counts_entries_and_octets_below_the_limits_of_the_file(
    upstream: Upstream, start: Callable[[str], Engine]
) -> None:
    engine = start(f"msg-cache-size: 1m\nrrset-cache-size: 2m\n{forward(upstream)}")
    fill(engine)
    usage = engine.cache_usage()
    assert set(usage) == {
        *(f"message.{part}" for part in ("entries", "bytes", "limit", "hits", "misses", "evictions")),
        *(f"rrset.{part}" for part in ("entries", "bytes", "limit", "hits", "misses", "evictions")),
        "stale_hits",
    }
    assert (usage["message.limit"], usage["rrset.limit"]) == (1 << 20, 2 << 20)
    assert usage["message.entries"] == 5
    assert usage["rrset.entries"] >= 4
    assert 0 < usage["message.bytes"] <= 1 << 20
    hits = usage["message.hits"]
    assert cached(engine, "www.example.com.", "A")
    assert engine.cache_usage()["message.hits"] > hits


@pytest.mark.parametrize(
    ("act", "gone", "kept"),
    [
        (("all", None, None), ["www.example.com. A", "www.example.net. A"], []),
        (("name", "www.example.com", None), ["www.example.com. A", "www.example.com. AAAA"], ["mail.example.com. TXT"]),
        (("type", "www.example.com", "AAAA"), ["www.example.com. AAAA"], ["www.example.com. A"]),
        (("zone", "EXAMPLE.com", None), ["www.example.com. A", "mail.example.com. TXT"], ["www.example.net. A"]),
        (("negative", None, None), ["none.example.net. A"], ["www.example.net. A"]),
        (("bogus", None, None), [], ["www.example.net. A"]),
        (("infra", None, None), [], ["www.example.net. A"]),
    ],
)
def test_a_flush_takes_what_it_names_and_no_more(
    act: tuple[str, str | None, str | None],
    gone: list[str],
    kept: list[str],
    upstream: Upstream,
    start: Callable[[str], Engine],
) -> None:
    engine = start(forward(upstream))
    fill(engine)
    removed = engine.cache_flush(*act)
    assert removed > 0 or act[0] == "bogus"
    for question in kept:
        assert cached(engine, *question.split()), question
    for question in gone:
        assert not cached(engine, *question.split()), question


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (("zone", "a..b", None), '"a..b" is not a domain name'),
        (("name", None, None), "a flush of a name needs a name"),
        (("type", "a.", None), "a flush of a type needs a type"),
        (("type", "a.", "ADDRESS"), '"ADDRESS" is not a record type'),
        (("everything", None, None), 'there is no flush of "everything"'),
    ],
)
def test_a_flush_that_makes_no_sense_is_refused(
    act: tuple[str, str | None, str | None], message: str, start: Callable[[str], Engine]
) -> None:
    with pytest.raises(EngineError, match=message):
        start("").cache_flush(*act)


def dump(engine: Engine) -> bytes:
    parts: list[bytes] = []
    while (part := engine.cache_dump(len(parts))) is not None:
        parts.append(part)
    return b"".join(parts)


def test_a_dump_is_unbounds_text_and_reads_back(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    first = start(forward(upstream))
    fill(first)
    text = dump(first)
    lines = text.decode().splitlines()
    marks = ["START_RRSET_CACHE", "END_RRSET_CACHE", "START_MSG_CACHE", "END_MSG_CACHE", "EOF"]
    assert [line for line in lines if line in marks] == marks
    assert any(line.startswith("msg www.example.com. IN A ") for line in lines)
    asked = len(upstream.asked)

    second = start(forward(upstream))
    rrsets, messages, refused = second.cache_load(text)
    assert (rrsets >= 4, messages, refused) == (True, 5, 0)
    assert cached(second, "www.example.com.", "AAAA")
    answer = answers(second.lookup("www.example.com.", "A", False, SECONDS))
    assert [line.split()[-1] for line in answer] == ["192.0.2.1", "192.0.2.2"]
    assert len(upstream.asked) == asked, "all of it came out of the dump"


def test_a_dump_can_be_taken_while_questions_are_answered(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(forward(upstream))
    upstream.records |= {(f"{n}.example.com.", "A"): [f"192.0.2.{n}"] for n in range(200)}
    asking = threading.Thread(target=lambda: [cached(engine, f"{n}.example.com.", "A") for n in range(200)])
    asking.start()
    while asking.is_alive():
        assert dump(engine).endswith(b"EOF\n")
    asking.join()
    assert dump(engine).count(b"\nmsg ") == 200


def test_lines_that_are_no_dump_are_counted_and_left_out(start: Callable[[str], Engine]) -> None:
    engine = start("")
    text = b"START_RRSET_CACHE\nnonsense\nEND_RRSET_CACHE\nSTART_MSG_CACHE\nmsg nonsense\nEND_MSG_CACHE\nEOF\n"
    rrsets, messages, refused = engine.cache_load(text)
    assert (rrsets, messages) == (0, 0)
    assert refused >= 1
    assert engine.cache_usage()["message.entries"] == 0


def test_upstreams_are_shown_with_what_is_known_of_them(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(
        forward(upstream)
        + "forward-zone:\n name: Other.example\n forward-addr: 192.0.2.77@5353\n forward-tcp-upstream: yes\n"
    )
    engine.lookup("www.example.com.", "A", False, SECONDS)
    first, second = engine.upstreams()
    assert (first["zone"], first["address"], first["transport"]) == (".", f"127.0.0.1@{upstream.port}", "udp")
    assert (first["state"], first["queries"], first["answers"], first["timeouts"]) == ("up", 1, 1, 0)
    assert isinstance(first["srtt_ms"], float)
    assert (second["zone"], second["address"], second["transport"]) == ("other.example.", "192.0.2.77@5353", "tcp")
    assert (second["state"], second["queries"], second["srtt_ms"]) == ("unknown", 0, None)
    assert second["retry_in_ms"] is None
    assert second["last_error"] is None


def test_system_knows_workers_sockets_and_memory(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    system = start(forward(upstream)).system()
    assert system["workers"] == 2
    assert system["sockets.udp"] == 2
    assert system["sockets.tcp_listen"] == 2
    assert system["resident_bytes"] > 1 << 20
    assert system["racing_wins"] == 0


def test_the_caches_have_unbounds_names_in_the_statistics(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    names = {"mem.cache.message", "mem.cache.rrset", "msg.cache.count", "rrset.cache.count", "infra.cache.count"}
    names |= {"key.cache.count", "num.answer.secure", "num.answer.bogus", "num.rrset.bogus"}
    engine = start(f"extended-statistics: yes\n{forward(upstream)}")
    fill(engine)
    stats = engine.stats()
    assert names <= set(stats)
    assert (stats["msg.cache.count"], stats["infra.cache.count"]) == (5, 1)
    assert not names & set(start(forward(upstream)).stats())


def test_a_reload_forgets_only_what_other_servers_are_asked_about(
    upstream: Upstream, start: Callable[[str], Engine], tmp_path: Path
) -> None:
    engine = start(forward(upstream) + forward(upstream, "example.net"))
    (listening,) = engine.listening()
    head = f" interface: {listening}\n"
    fill(engine)

    def reload(text: str, revision: int) -> list[tuple[str, str]]:
        return engine.apply(document(head + text, tmp_path, revision), None)

    zones = forward(upstream) + forward(upstream, "example.net")
    assert reload(f"cache-max-ttl: 60\nmsg-cache-size: 1m\n{zones}", 2) == []
    assert engine.cache_usage()["message.limit"] == 1 << 20
    assert cached(engine, "www.example.com.", "A")
    assert cached(engine, "www.example.net.", "A")

    ((what, effect),) = reload(forward(upstream), 3)
    assert what.startswith("cache emptied at and below example.net. (")
    assert effect == "live"
    assert cached(engine, "www.example.com.", "A")
    assert not cached(engine, "www.example.net.", "A")

    ((what, _),) = reload(f"private-address: 10.0.0.0/8\n{forward(upstream)}", 4)
    assert what.startswith("cache emptied for other private addresses")
    assert not cached(engine, "www.example.com.", "A")


def test_a_server_given_by_name_is_looked_up_and_asked(upstream: Upstream, start: Callable[[str], Engine]) -> None:
    engine = start(
        forward(upstream, "example.net")
        + f"forward-zone:\n name: example.com\n forward-host: dns.example.net@{upstream.port}\n"
    )
    found: dict[str, object] = {}
    for _ in range(200):
        found = engine.lookup("www.example.com.", "A", False, SECONDS)
        if found["rcode"] == "NOERROR":
            break
        threading.Event().wait(0.05)
    assert found["rcode"] == "NOERROR"
    assert [row["address"] for row in engine.upstreams() if row["zone"] == "example.com."] == [
        f"127.0.0.1@{upstream.port}"
    ]


def test_a_configuration_can_be_read_again_as_it_was(tmp_path: Path) -> None:
    main, folder = tmp_path / "main.conf", tmp_path / "conf.d"
    folder.mkdir()
    main.write_text(f'server:\n  directory: "{tmp_path}"\n  verbosity: 2\ninclude: "conf.d/*.conf"\n')
    (folder / "a.conf").write_text('server:\n  local-data: "a.test. A 192.0.2.1"\n')
    (folder / "b.conf").write_text("forward-zone:\n  name: b.test\n  forward-addr: 192.0.2.2\n")
    there = scan(str(main), "/")
    texts = there.texts()
    assert [Path(path).name for path, _ in texts] == ["main.conf", "a.conf", "b.conf"]
    for file in (main, folder / "a.conf", folder / "b.conf"):
        file.unlink()
    (folder / "c.conf").write_text("this is not asked for")
    again = scan_remembered(str(main), "/", texts)
    assert again.texts() == texts
    assert again.statements() == there.statements()
    assert again.bulk_counts() == there.bulk_counts()
    assert again.messages() == []
    with pytest.raises(FileNotFoundError):
        scan_remembered("other.conf", "/", texts)
