"""The API against a real data plane with the lab behind it: cache, lookup, upstreams, figures, streams."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.live import KEY, Api, body_of
from support.packets import Ask, exchange
from support.servers import ROOT, Lab, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder, port = tmp_path_factory.mktemp("live"), free_port()
    with (
        Lab(folder / "lab") as lab,
        Resolver(body_of(port, lab.port), folder / "resolver", env={"RUNBOUND_API_KEY": KEY}) as resolver,
    ):
        yield Api(resolver, port)


def test_a_lookup_fills_the_cache_and_is_answered_from_it(api: Api) -> None:
    api.flush("all")
    first, second = api.lookup("www.example.com"), api.lookup("WWW.example.com.")
    assert (first["status"], first["from_cache"], first["stale"]) == ("NOERROR", False, False)
    assert second["from_cache"] is True
    assert [record["data"] for record in first["answers"]] == [record["data"] for record in second["answers"]]
    assert first["answers"][0]["name"] == "www.example.com."
    missing = api.lookup("nothing-here.example.com", "TYPE28")
    assert (missing["status"], missing["answers"]) == ("NXDOMAIN", [])
    assert missing["authority"][0]["type"] == "SOA"


def test_what_clients_ask_is_in_the_same_cache(api: Api) -> None:
    api.flush("all")
    assert exchange(Ask("www.example.com.", "A"), api.resolver.at) is not None
    assert api.lookup("www.example.com")["from_cache"] is True


@pytest.mark.parametrize(
    ("what", "where", "gone"),
    [
        ("all", {}, {"www.example.com A", "example.com MX", "nothing-here.example.com A"}),
        ("zone", {"name": "example.com"}, {"www.example.com A", "example.com MX", "nothing-here.example.com A"}),
        ("name", {"name": "www.example.com"}, {"www.example.com A"}),
        ("type", {"name": "example.com", "type": "MX"}, {"example.com MX"}),
        ("type", {"name": "example.com", "type": "TXT"}, set()),
        ("negative", {}, {"nothing-here.example.com A"}),
        ("bogus", {}, set()),
        ("infra", {}, set()),
    ],
)
def test_a_flush_takes_what_it_names_and_nothing_else(
    api: Api, what: str, where: dict[str, str], gone: set[str]
) -> None:
    asked = ("www.example.com A", "example.com MX", "nothing-here.example.com A")
    api.flush("all")
    for question in asked:
        api.lookup(*question.split())
    assert {question for question in asked if not api.lookup(*question.split())["from_cache"]} == set()
    removed = api.flush(what, **where)
    assert {question for question in asked if not api.lookup(*question.split())["from_cache"]} == gone
    if what != "infra":
        assert (removed > 0) == bool(gone)


def test_a_dump_can_be_loaded_again(api: Api) -> None:
    api.flush("all")
    for name in ("www.example.com", "nothing-here.example.com"):
        api.lookup(name)
    with api.open("GET", "/cache/dump") as response:
        dump = response.read()
    assert dump.startswith(b"START_RRSET_CACHE\n")
    assert dump.endswith(b"EOF\n")
    assert b"msg www.example.com. IN A" in dump
    api.flush("all")
    assert api.call("GET", "/cache/stats")["rrset"]["entries"] == 0
    with api.open("POST", "/cache/load", dump) as response:
        loaded = json.load(response)
    assert loaded["rrsets"] >= 2
    assert loaded["messages"] >= 2
    for name in ("www.example.com", "nothing-here.example.com"):
        assert api.lookup(name)["from_cache"] is True, name


def test_upstreams_count(api: Api) -> None:
    api.flush("all")
    (before,) = api.call("GET", "/upstreams")["items"]
    for n in range(5):
        api.lookup(f"u{n}.example.com")
    (after,) = api.call("GET", "/upstreams")["items"]
    assert after["id"] == before["id"]
    assert after["state"] == "up"
    assert after["rtt_ms"] is not None
    assert after["queries"] >= before["queries"] + 5
    assert after["answers"] >= before["answers"] + 5
    health = api.call("GET", "/health")
    assert (health["status"], health["upstreams_healthy"], health["upstreams_total"]) == ("ok", 1, 1)


def test_figures_agree(api: Api) -> None:
    for _ in range(20):
        exchange(Ask("www.example.com.", "A"), api.resolver.at)
    time.sleep(0.1)
    counters = api.call("GET", "/stats")["counters"]
    with api.open("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0") as response:
        found: list[Any] = list(text_string_to_metric_families(response.read().decode()))  # type: ignore[no-untyped-call]

    def value(name: str) -> float:
        return float(next(sample.value for family in found for sample in family.samples if sample.name == name))

    assert counters["total.num.queries"] >= 20
    assert value("runbound_queries_total") == counters["total.num.queries"]
    assert value("runbound_recursion_seconds_count") == counters["total.num.recursivereplies"]
    assert value("runbound_recursion_seconds_sum") == counters["total.recursion.time.sum"] / 1_000_000
    system = api.call("GET", "/system")
    assert (system["workers"], value("runbound_workers")) == (2, 2)
    assert system["memory"]["resident_bytes"] > 1 << 20
    assert system["memory"]["rrset_cache_limit_bytes"] == 4 << 20
    assert system["listening"] == [f"127.0.0.1@{api.resolver.port}"]


def test_curl_reads_the_stream(api: Api) -> None:
    command = ["curl", "-sN", "--max-time", "3", "-H", f"Authorization: Bearer {KEY}"]
    shown = subprocess.run(
        [*command, f"http://127.0.0.1:{api.port}/api/v1/stats/stream"], capture_output=True, text=True
    ).stdout
    assert shown.startswith("retry: ")
    ids = [int(number) for number in re.findall(r"^id: (\d+)$", shown, re.MULTILINE)]
    assert len(ids) >= 3
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    events = [json.loads(text) for text in re.findall(r"^data: (.*)$", shown, re.MULTILINE)]
    assert events[-1]["upstreams_total"] == 1
    assert events[-1]["cache"]["rrset.limit"] == 4 << 20


def test_the_command_line_finds_the_resolver_by_its_file(api: Api) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "runbound", *arguments, "-c", str(api.resolver.conf)]
        env = {"PYTHONPATH": str(ROOT / "python"), "RUNBOUND_API_KEY": KEY}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "www.example.com. A: NOERROR" in run("lookup", "www.example.com")
    assert "1 of 1 healthy" in run("upstreams")
    assert "total.num.queries" in run("stats")
    assert "removed" in run("cache", "flush", "zone", "example.com")
    assert run("cache", "dump").endswith("EOF\n")


def test_what_was_done_is_in_the_log_and_the_key_is_not(api: Api) -> None:
    api.flush("name", name="a-name-to-find.example.com")
    log = api.resolver.wait_for_log("name=a-name-to-find.example.com.")
    assert "cache flushed actor=api-key what=name" in log
    assert KEY not in log


def test_twenty_streams_do_not_keep_the_process(tmp_path: Path) -> None:
    port = free_port()
    body = f'    api-port: {port}\n    local-data: "a.example. A 192.0.2.1"\n'
    with Resolver(body, tmp_path, env={"RUNBOUND_API_KEY": KEY}) as resolver:
        api = Api(resolver, port)
        streams = [api.open("GET", "/stats/stream") for _ in range(20)]
        for stream in streams:
            assert stream.readline().startswith(b"retry: ")
        began = time.monotonic()
        resolver.signal(signal.SIGTERM)
        for stream in streams:
            stream.read()  # to an orderly end: a broken one raises
            stream.close()
        assert resolver.process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert "error" not in resolver.log()
