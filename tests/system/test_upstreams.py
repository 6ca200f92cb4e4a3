"""Forwarders that die, lie and stammer: every client gets the right answer, or SERVFAIL that says truly why, in time.

One resolver for each way of working (defaults, racing, 0x20, private addresses) holds a forward zone for each scenario,
so that the scenarios run side by side. In each, names are warmed while the servers are well; then the servers begin to
misbehave and some hundred questions are asked at a steady rate, by UDP and by TCP. The right answer to every name is
known (`support/upstream.py`), and every question is accounted for (`support/load.py`).
"""

from __future__ import annotations

import collections
import os
import random
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from support.load import Asked, Client, Ledger, tally
from support.packets import Ask, Edns
from support.servers import RUNBOUND, Resolver
from support.upstream import Fleet, name, true_address, true_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

QUESTIONS = 200
"""Asked of each scenario while its servers misbehave."""
RATE = 160.0
"""Questions a second for each scenario."""
WARM = 8
"""Names asked beforehand; every eighth later question is for one of them."""
AT_ONCE = 12
"""Scenarios that run side by side on a small machine."""

STALE, CACHED_ERROR, NO_REACHABLE, NETWORK, INVALID = 3, 13, 22, 23, 24
"""Extended errors (RFC 8914 4)."""

HEAD = """\
    api-enable: no
    ede: yes
    log-servfail: yes
    num-queries-per-thread: 4096
    outgoing-range: 8192
    outgoing-num-tcp: 1000
    msg-cache-size: 64m
    rrset-cache-size: 128m
"""
"""Room for all scenarios at once: what one zone's servers do must not use up what another zone's test needs."""


@dataclass(frozen=True)
class Cause:
    """What SERVFAIL may say: the code, and a pattern that its text has to match."""

    codes: tuple[int, ...]
    text: str


SILENCE = Cause((NO_REACHABLE,), "did not answer")
UNREACHABLE = Cause((NETWORK,), "could not be reached")
MALFORMED = Cause((INVALID,), "malformed")
OTHER_QUESTION = Cause((INVALID,), "answered another question")
WRONG_IDS = Cause((INVALID,), "wrong ids")
CUT = Cause((INVALID,), "truncated over TCP")


def said(code: str) -> Cause:
    """A response code that is no answer."""
    return Cause((NO_REACHABLE,), f"answered {code}")


@dataclass(frozen=True)
class Scenario:
    """What the servers of one zone do, and what a client may see of it."""

    title: str
    behaviours: tuple[str, ...]
    causes: tuple[Cause, ...] = ()
    """Why SERVFAIL is allowed; none: every answer has to be right."""
    mode: str = "plain"
    right: float = 0.0
    """The least share of right answers where SERVFAIL is allowed."""
    zone_options: str = ""
    first_label: str = "n"
    rtype: str = "A"
    also_right: tuple[str, ...] = ()
    """Empty answers beside the truth that no resolver could tell from it."""

    @property
    def id(self) -> str:
        """The name pytest shows."""
        return self.title if self.mode == "plain" else f"{self.mode}: {self.title}"

    @property
    def zone(self) -> str:
        """A zone of its own."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.mode} {self.title}".lower()).strip("-") + ".net."


def alone(behaviour: str, *causes: Cause, right: float = 0.0, **more: object) -> Scenario:
    """The zone has one server."""
    return Scenario(f"the only server: {behaviour}", (behaviour,), causes, right=right, **more)  # type: ignore[arg-type]


def one_of_three(behaviour: str, **more: object) -> Scenario:
    """The zone has two servers that are well."""
    return Scenario(f"one of three: {behaviour}", (behaviour, "right", "right"), **more)  # type: ignore[arg-type]


DETECTABLE = (
    "silent",
    "unreachable",
    "slow",
    "lossy",
    "twice",
    "wrong id",
    "wrong id, then right",
    "wrong ids, then right",
    "from another port",
    "wrong name",
    "wrong type",
    "wrong class",
    "no question",
    "other owner",
    "truncated",
    "truncated, no TCP",
    "truncated over TCP",
    "truncated, TCP silent",
    "truncated, TCP closes",
    "truncated, TCP stops halfway",
    "truncated, TCP wrong id",
    "truncated, TCP empty",
    "cut off",
    "cut in the question",
    "short header",
    "empty",
    "pointer loop",
    "counts lie",
    "rdata too long",
    "a query",
    "other opcode",
    "random",
    "REFUSED",
    "SERVFAIL",
    "NOTIMP",
    "FORMERR",
)
"""What one of three servers may do and no client may ever notice."""

SCENARIOS = (
    alone("right"),
    alone("silent", SILENCE),
    alone("unreachable", UNREACHABLE),
    alone("slow", SILENCE),
    alone("lossy", SILENCE, right=0.8),
    alone("twice"),
    alone("wrong id", WRONG_IDS, MALFORMED),
    alone("wrong id, then right"),
    alone("wrong ids, then right"),
    alone("from another port", SILENCE),
    alone("wrong name", OTHER_QUESTION),
    alone("wrong type", OTHER_QUESTION),
    alone("wrong class", OTHER_QUESTION),
    alone("wrong case"),
    alone("no question", OTHER_QUESTION, MALFORMED),
    alone("other owner", OTHER_QUESTION),
    alone("truncated"),
    alone("truncated, no TCP", UNREACHABLE),
    alone("truncated over TCP", CUT),
    alone("truncated, TCP silent", SILENCE),
    alone("truncated, TCP closes", UNREACHABLE, SILENCE),
    alone("truncated, TCP stops halfway", UNREACHABLE, SILENCE),
    alone("truncated, TCP wrong id", WRONG_IDS, MALFORMED, SILENCE),
    alone("truncated, TCP empty", MALFORMED, UNREACHABLE, SILENCE),
    alone("oversized", first_label="big30-", rtype="TXT"),
    Scenario("64 KiB over TCP", ("right",), first_label="big570-", rtype="TXT"),
    alone("cut off", MALFORMED),
    alone("cut in the question", MALFORMED),
    alone("short header", SILENCE, MALFORMED),
    alone("empty", SILENCE, MALFORMED),
    alone("pointer loop", MALFORMED),
    alone("counts lie", MALFORMED),
    alone("rdata too long", MALFORMED),
    alone("trailing garbage"),
    alone("a query", MALFORMED, OTHER_QUESTION),
    alone("other opcode", MALFORMED, OTHER_QUESTION),
    alone("random", MALFORMED, OTHER_QUESTION, SILENCE),
    alone("REFUSED", said("REFUSED")),
    alone("SERVFAIL", said("SERVFAIL")),
    alone("NOTIMP", said("NOTIMP")),
    alone("FORMERR", said("FORMERR")),
    alone("poison"),
    alone("poison by alias"),
    alone("FORMERR on EDNS"),
    alone("bare FORMERR on EDNS"),
    alone("NOTIMP on EDNS"),
    # Nobody has asked without EDNS because of silence since the flag day of 2019, Unbound does not either.
    alone("silent on EDNS", SILENCE),
    alone("without EDNS"),
    Scenario("TCP alone", ("right",), zone_options="    forward-tcp-upstream: yes\n"),
    Scenario(
        "TCP alone that is not there",
        ("truncated, no TCP",),
        (UNREACHABLE,),
        zone_options="    forward-tcp-upstream: yes\n",
    ),
    Scenario("two of three silent", ("silent", "silent", "right")),
    Scenario("two of three lie, each in its way", ("wrong name", "cut off", "right")),
    Scenario("all three lose 30 %", ("lossy",) * 3, (SILENCE,), right=0.9),
    Scenario("all three slow", ("slow",) * 3, (SILENCE,)),
    Scenario("all three leisurely", ("leisurely",) * 3),
    Scenario("all three refuse", ("REFUSED",) * 3, (said("REFUSED"),)),
    # These cannot be told from the truth, but they must stay with the questions they were given for.
    one_of_three("NXDOMAIN", also_right=("NXDOMAIN",)),
    one_of_three("YXDOMAIN", also_right=("YXDOMAIN",)),
    *(one_of_three(behaviour) for behaviour in DETECTABLE),
    Scenario("one of three refuses", ("REFUSED", "right", "right"), mode="racing"),
    Scenario("one of three silent", ("silent", "right", "right"), mode="racing"),
    Scenario("one of three malformed", ("cut off", "right", "right"), mode="racing"),
    Scenario("one of three slow", ("slow", "right", "right"), mode="racing"),
    Scenario("silence, a lie, the truth", ("silent", "wrong name", "right"), mode="racing"),
    Scenario("all three silent", ("silent",) * 3, (SILENCE,), mode="racing"),
    Scenario("keeps the case", ("right",), mode="0x20"),
    Scenario("does not keep the case", ("lower case",), mode="0x20"),
    Scenario("one of three does not keep the case", ("lower case", "right", "right"), mode="0x20"),
    Scenario("one of three answers another question", ("wrong name", "right", "right"), mode="0x20"),
    Scenario("one of three rebinds", ("private", "right", "right"), mode="private", also_right=("NODATA",)),
)

MODES = {
    "plain": "    num-threads: 2\n",
    "racing": "    upstream-racing: yes\n",
    "0x20": "    use-caps-for-id: yes\n",
    "private": "    private-address: 10.0.0.0/8\n",
}


# ------------------------------------------------------------------------------------------------------ what came of it


@dataclass
class Seen:
    """An answer taken apart."""

    rcode: str
    right: bool
    empty: bool
    ede: list[tuple[int, str]]
    ttls: list[int]
    text: str


def question(owner: str, rtype: str = "A", tcp: bool = False) -> Asked:
    """One question with EDNS, so that the answer can tell why it failed."""
    return Asked(Ask(owner, rtype, edns=Edns(1232)).packet(), tcp, owner, rtype)


def take_apart(one: Asked) -> Seen:
    """Reads a reply with another program's eyes; fails when it is no clean answer to what was asked."""
    owner, rtype = one.owner, one.rtype
    reply = one.replies[0][1]
    try:
        got = dns.message.from_wire(reply)
    except dns.exception.DNSException as error:
        raise AssertionError(f"{owner}: the reply cannot be read: {error!r} {reply.hex()}") from error
    assert [(str(q.name), dns.rdatatype.to_text(q.rdtype)) for q in got.question] == [(owner, rtype)]
    truth = {
        "A": lambda: {".".join(map(str, true_address(name(owner))))},
        "TXT": lambda: {f'"{text.decode()}"' for text in true_texts(name(owner))},
    }[rtype]()
    records = {rdata.to_text() for rrset in got.answer for rdata in rrset}
    owners = {str(rrset.name).lower() for rrset in got.answer}
    cut = bool(got.flags & dns.flags.TC) and not one.tcp
    return Seen(
        rcode=dns.rcode.to_text(got.rcode()),
        right=got.rcode() == 0 and owners <= {owner.lower()} and (records <= truth if cut else records == truth),
        empty=not got.answer,
        ede=[(int(o.code), o.text or "") for o in got.options if isinstance(o, dns.edns.EDEOption)],
        ttls=[rrset.ttl for rrset in got.answer],
        text=str(got),
    )


@dataclass
class Result:
    """A scenario that has been played."""

    warm: Ledger
    ledger: Ledger
    after: Ledger | None = None


def fault(seen: Seen, causes: Sequence[Cause]) -> str:
    """Why SERVFAIL is not one of those allowed; empty when it is."""
    if not seen.empty:
        return "SERVFAIL with an answer"
    for code, text in seen.ede:
        for cause in causes:
            if code in cause.codes and re.search(cause.text, text):
                return ""
            if code == CACHED_ERROR and re.search(cause.text, text):
                return ""
    return f"SERVFAIL says {seen.ede}"


def judge(ledger: Ledger, scenario: Scenario, always: frozenset[str] = frozenset()) -> None:
    """Every question answered once, rightly or with SERVFAIL that is true; `always` are names that may not fail."""
    wrong: list[str] = []
    kinds: collections.Counter[str] = collections.Counter()
    for one in ledger.asked:
        owner = one.owner
        how = "tcp" if one.tcp else "udp"
        if one.lost:
            wrong.append(f"{owner} {how}: lost {one.failed}")
            continue
        if len(one.replies) > 1:
            wrong.append(f"{owner} {how}: {len(one.replies)} replies")
        seen = take_apart(one)
        kind = "NODATA" if seen.empty and seen.rcode == "NOERROR" else seen.rcode
        kinds[kind] += 1
        if seen.right or (seen.empty and kind in scenario.also_right):
            continue
        if seen.rcode != "SERVFAIL":
            wrong.append(f"{owner} {how}: {seen.text}")
        elif owner in always:
            wrong.append(f"{owner} {how}: was in the cache and failed: {seen.ede}")
        elif not scenario.causes:
            wrong.append(f"{owner} {how}: SERVFAIL after {one.seconds:.2f} s: {seen.ede}")
        elif why := fault(seen, scenario.causes):
            wrong.append(f"{owner} {how}: {why}, not {scenario.causes}")
    print(f"{scenario.id}: {tally(ledger)}; {dict(kinds)}")
    assert not wrong, f"{len(wrong)} of {len(ledger.asked)}:\n" + "\n".join(wrong[:12])
    assert not ledger.stray, "a reply to nothing that was asked"
    share = kinds["NOERROR"] / len(ledger.asked)
    assert share >= scenario.right, f"only {share:.0%} right: {dict(kinds)}"


# ------------------------------------------------------------------------------------------------ all scenarios at once


def zone_text(zone: str, fleet: Fleet, servers: Sequence[int], more: str = "") -> str:
    """A forward zone."""
    lines = "".join(f"    forward-addr: {fleet.at(number)}\n" for number in servers)
    return f'forward-zone:\n    name: "{zone}"\n{more}{lines}'


def warm_names(zone: str) -> list[str]:
    return [f"warm{number}.{zone}" for number in range(WARM)]


def play(scenario: Scenario, fleet: Fleet, servers: Sequence[int], resolver: Resolver) -> Result:
    """Warms, lets the servers misbehave, asks, and asks about the victims of poison."""
    pause = random.Random(scenario.title).random()
    time.sleep(pause)  # so that the scenarios of one batch do not beat in time
    with Client(resolver.at, datagrams=2, streams=1) as client:
        warm = client.play([question(owner) for owner in warm_names(scenario.zone)], 200)
    for number, behaviour in zip(servers, scenario.behaviours, strict=True):
        fleet.behave([number], behaviour)
    count = QUESTIONS if scenario.rtype == "A" else QUESTIONS // 4

    def asks() -> Iterator[Asked]:
        for number in range(count):
            tcp = number % 4 == 3 or (scenario.rtype != "A" and number % 2 == 1)
            if number % 8 == 5:
                yield question(warm_names(scenario.zone)[number // 8 % WARM], tcp=tcp)
            else:
                yield question(f"{scenario.first_label}{number}.{scenario.zone}", scenario.rtype, tcp)

    with Client(resolver.at, datagrams=4, streams=2) as client:
        ledger = client.play(asks(), RATE)
    fleet.behave(servers, "right")
    after = None
    if "poison" in scenario.title:
        with Client(resolver.at, datagrams=2, streams=1) as client:
            after = client.play([question(f"victim.{scenario.zone}"), question("victim.elsewhere.net.")], 50)
    return Result(warm, ledger, after)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Scenario], Result]]:
    """Plays every scenario, some at a time, once for all tests; gives out what came of each."""
    folder = tmp_path_factory.mktemp("upstreams")
    addresses = [
        f"127.{10 + place // 200}.{1 + place % 200}.{1 + server}"
        for place, scenario in enumerate(SCENARIOS)
        for server in range(len(scenario.behaviours))
    ]
    servers: dict[str, range] = {}
    for scenario in SCENARIOS:
        begin = max((taken.stop for taken in servers.values()), default=0)
        servers[scenario.id] = range(begin, begin + len(scenario.behaviours))
    with Fleet([*addresses, "127.10.250.1"]) as fleet:
        elsewhere = zone_text("elsewhere.net.", fleet, [len(addresses)])

        def play_mode(mode: str) -> dict[str, Result]:
            chosen = [scenario for scenario in SCENARIOS if scenario.mode == mode]
            zones = [zone_text(s.zone, fleet, servers[s.id], s.zone_options) for s in chosen]
            with (
                Resolver(HEAD + MODES[mode] + elsewhere + "".join(zones), folder / mode) as resolver,
                ThreadPoolExecutor(AT_ONCE) as pool,
            ):
                ended = pool.map(lambda s: play(s, fleet, servers[s.id], resolver), chosen)
                return {s.id: result for s, result in zip(chosen, ended, strict=True)}

        results: dict[str, Result | Exception] = {}
        for mode in MODES:
            try:
                results |= play_mode(mode)
            except Exception as error:  # noqa: BLE001 - told in each test of this mode
                results |= {s.id: error for s in SCENARIOS if s.mode == mode}

    def result(scenario: Scenario) -> Result:
        found = results[scenario.id]
        if isinstance(found, Exception):
            raise found
        return found

    yield result
    good = [found for found in results.values() if isinstance(found, Result)]
    if good:
        print(f"\nslowest answer of all scenarios: {max(found.ledger.slowest for found in good):.3f} s")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_every_client_gets_the_truth_or_learns_why_not(
    played: Callable[[Scenario], Result], scenario: Scenario
) -> None:
    result = played(scenario)
    judge(result.warm, Scenario("warming " + scenario.title, ()))
    judge(result.ledger, scenario, frozenset(warm_names(scenario.zone)))
    if result.after is not None:
        judge(result.after, Scenario("the victims of " + scenario.title, ()))


# -------------------------------------------------------------------------------- real processes that end and come back


def fresh(zone: str, begin: int, count: int) -> Iterator[Asked]:
    """Names nobody asked for before; every eighth question is for a warm one, every fourth goes over TCP."""
    for number in range(begin, begin + count):
        owner = warm_names(zone)[number // 8 % WARM] if number % 8 == 5 else f"n{number}.{zone}"
        yield question(owner, tcp=number % 4 == 3)


def ask_all(resolver: Resolver, questions: Iterable[Asked], rate: float = RATE) -> Ledger:
    with Client(resolver.at, datagrams=4, streams=2) as client:
        return client.play(questions, rate)


ZONE = "kill.net."
GONE = (UNREACHABLE, SILENCE)


@pytest.mark.parametrize("survivors", [0, 2])
def test_a_server_is_killed_while_questions_are_in_flight(tmp_path: Path, survivors: int) -> None:
    with Fleet(["127.9.1.1"]) as victim, Fleet(["127.9.1.2", "127.9.1.3"]) as others:
        servers = [f"    forward-addr: {victim.at(0)}\n"]
        servers += [f"    forward-addr: {others.at(number)}\n" for number in range(survivors)]
        zone = f'forward-zone:\n    name: "{ZONE}"\n{"".join(servers)}'
        with Resolver(HEAD + zone, tmp_path) as resolver:
            ask_all(resolver, map(question, warm_names(ZONE)))
            victim.behave([0], "leisurely")

            def asks() -> Iterator[Asked]:
                for number, one in enumerate(fresh(ZONE, 0, 400)):
                    if number == 150:
                        victim.kill()
                    yield one

            ledger = ask_all(resolver, asks())
            scenario = Scenario(f"killed, {survivors} left", (), () if survivors else GONE)
            judge(ledger, scenario, frozenset(warm_names(ZONE)))


def test_all_are_killed_and_come_back(tmp_path: Path) -> None:
    addresses = ["127.9.2.1", "127.9.2.2", "127.9.2.3"]
    with Fleet(addresses) as fleet, Resolver(HEAD + zone_text(ZONE, fleet, range(3)), tmp_path) as resolver:
        ask_all(resolver, map(question, warm_names(ZONE)))
        judge(ask_all(resolver, fresh(ZONE, 0, 160)), Scenario("before", ()))
        fleet.kill()
        cached = frozenset(warm_names(ZONE))
        judge(ask_all(resolver, fresh(ZONE, 1000, 480)), Scenario("all gone", (), GONE), cached)
        with Fleet(addresses, fleet.ports):
            back = ask_all(resolver, fresh(ZONE, 2000, 480))
            judge(back, Scenario("back again", (), GONE, right=0.5), cached)
            assert all(take_apart(one).right for one in back.asked[-60:]), "the servers are back and are not asked"
            failed = [f"n{number}.{ZONE}" for number in range(1000, 1480) if number % 8 != 5]
            end = time.monotonic() + 20
            while True:  # a failure is remembered for some seconds
                again = ask_all(resolver, map(question, failed), 400)
                if all(not one.lost and take_apart(one).right for one in again.asked):
                    break
                assert time.monotonic() < end, "failures outlive their cause"


BRIDGES = [(how, wait) for how in ("killed", "silent", "refusing") for wait in ("tries first", "at once")]


@pytest.fixture(scope="module")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[None]]]:
    """All of `BRIDGES` side by side, because most of their time is waiting."""
    with ThreadPoolExecutor(len(BRIDGES)) as pool:
        folder = tmp_path_factory.mktemp
        yield {
            pair: pool.submit(bridge, folder("bridge"), pair[0], pair[1], f"127.9.3.{20 * number + 1}")
            for number, pair in enumerate(BRIDGES)
        }


@pytest.mark.parametrize(("how", "wait"), BRIDGES)
def test_expired_answers_bridge_the_time_when_all_are_gone(
    bridged: dict[tuple[str, str], Future[None]], how: str, wait: str
) -> None:
    bridged[how, wait].result()


def bridge(folder: Path, how: str, wait: str, address: str) -> None:
    """Stale answers while all servers are gone, for names that were known; then fresh ones again."""
    first = address.rsplit(".", 1)
    addresses = [f"{first[0]}.{int(first[1]) + number}" for number in range(3)]
    timeout = "    serve-expired-client-timeout: 0\n" if wait == "at once" else ""
    options = f"    serve-expired: yes\n    ede-serve-expired: yes\n{timeout}"
    names = [f"s{number}.{ZONE}" for number in range(80)]
    with Fleet(addresses) as fleet, Resolver(HEAD + options + zone_text(ZONE, fleet, range(3)), folder) as resolver:
        fleet.behave(range(3), "short-lived")
        judge(ask_all(resolver, map(question, names), 400), Scenario("before", ()))
        time.sleep(2.1)
        if how == "killed":
            fleet.kill()
        else:
            fleet.behave(range(3), {"silent": "silent", "refusing": "REFUSED"}[how])
        for round_ in range(2):
            stale = ask_all(resolver, (question(owner, tcp=at % 4 == 3) for at, owner in enumerate(names)), 200)
            judge(stale, Scenario(f"stale, all {how}, round {round_}", ()))
            for one in stale.asked:
                seen = take_apart(one)
                assert [code for code, _ in seen.ede] == [STALE], seen.text
                assert max(seen.ttls) <= 30, seen.text
        causes = (*GONE, said("REFUSED"))
        judge(ask_all(resolver, fresh(ZONE, 3000, 80)), Scenario(f"unknown names, all {how}", (), causes))
        if how == "killed":
            back = Fleet(addresses, fleet.ports)
        else:
            fleet.behave(range(3), "right")
            back = fleet
        with back:
            end = time.monotonic() + 20
            while True:
                again = ask_all(resolver, map(question, names), 400)
                judge(again, Scenario("back again", ()))
                if not any(take_apart(one).ede for one in again.asked):
                    break
                assert time.monotonic() < end, "still stale"
                time.sleep(0.5)


@pytest.mark.parametrize("servers", [1, 3])
def test_one_question_of_many_clients_leaves_once(tmp_path: Path, servers: int) -> None:
    with Fleet([f"127.9.4.{number + 1}" for number in range(servers)]) as fleet:
        fleet.behave(range(servers), "leisurely")
        with Resolver(HEAD + zone_text(ZONE, fleet, range(servers)), tmp_path) as resolver:
            asks = (question(f"one.{ZONE}", tcp=number % 4 == 3) for number in range(400))
            judge(ask_all(resolver, asks, 2000), Scenario(f"one question, {servers} servers", ()))
            # The first packet, and another to each server when the first seems lost.
            assert sum(fleet.asked(range(servers))) <= 2 * servers + 1


def test_one_zone_that_takes_every_tcp_connection_is_told_from_the_others(tmp_path: Path) -> None:
    """Servers that say TC and are silent over TCP hold the connections there are; nobody is lost for it."""
    none_free = Cause((NO_REACHABLE, NETWORK), "no TCP connection free")
    head = HEAD.replace("outgoing-num-tcp: 1000", "outgoing-num-tcp: 10")
    with Fleet(["127.9.5.11", "127.9.5.12"]) as fleet:
        zones = zone_text("hangs.net.", fleet, [0]) + zone_text("fine.net.", fleet, [1])
        with Resolver(head + zones, tmp_path) as resolver:
            fleet.behave([0], "truncated, TCP silent")
            fleet.behave([1], "truncated")
            both = (
                question(f"n{number}.{('hangs', 'fine')[number % 2]}.net.", tcp=number % 8 > 5) for number in range(400)
            )
            judge(ask_all(resolver, both), Scenario("ten connections for all", (), (none_free, *GONE)))
            fleet.behave([0], "right")
            later = (question(f"later{number}.fine.net.") for number in range(100))
            judge(ask_all(resolver, later), Scenario("afterwards", (), (none_free, *GONE), right=0.1))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: a mount namespace with another /etc/resolv.conf, and port 53"
)
def test_the_systems_resolvers_bridge_the_time_when_all_forwarders_are_gone(tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.9.8.53\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    arguments: list[str | Path] = ["-m", "sh", "-c", script, resolv, RUNBOUND, "-d"]
    addresses = ["127.9.8.1", "127.9.8.2"]
    with Fleet(addresses) as fleet, Fleet(["127.9.8.53"], [53]) as system:
        body = f"{HEAD}    resolv-fallback: yes\n{zone_text('.', fleet, range(2))}"
        with Resolver(body, tmp_path / "runbound", program="unshare", arguments=arguments) as resolver:
            ask_all(resolver, map(question, warm_names(ZONE)))
            judge(ask_all(resolver, fresh(ZONE, 0, 80)), Scenario("forwarders are there", ()))
            assert system.asked([0]) == [0]
            fleet.kill()
            cached = frozenset(warm_names(ZONE))
            judge(ask_all(resolver, fresh(ZONE, 1000, 320)), Scenario("gone, system", (), GONE, right=0.9), cached)
            assert system.asked([0])[0] > 0
            with Fleet(addresses, fleet.ports):
                end, begin = time.monotonic() + 30, 2000
                while True:  # a forwarder that came back is noticed when its back-off has passed
                    before = system.asked([0])
                    judge(ask_all(resolver, fresh(ZONE, begin, 80)), Scenario("back again", (), GONE), cached)
                    if system.asked([0]) == before:
                        break
                    assert time.monotonic() < end, "the forwarders are back and the system's resolvers still asked"
                    begin += 80
