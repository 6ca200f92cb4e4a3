"""`/stats/stream` over real connections: what comes, and that no stream stays."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runbound.api import feed
from runbound.engine import EngineError
from support.api import KEY, Api, listening

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class Stream:
    """An EventSource in a few lines (WHATWG HTML, section 9.2.6)."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", "/api/v1/stats/stream", headers=AUTHORIZED)
        self.response = self.connection.getresponse()
        self.retry: int | None = None

    def events(self) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in self.response:
            text = line.decode().rstrip("\n")
            if not text:
                if "data" in event:
                    yield event
                event = {}
                continue
            name, _, value = text.partition(": ")
            if name == "retry":
                self.retry = int(value)
            else:
                event[name] = json.loads(value) if name == "data" else value

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "INTERVAL_SECONDS", 0.1)


def test_an_event_each_interval(api: Api) -> None:
    with listening(api) as (port, _):
        stream = Stream(port)
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-store"
        events = stream.events()
        first = next(events)
        assert stream.retry == feed.RETRY_MS
        assert first["event"] == "stats"
        assert first["data"]["counters"] == {"total.num.queries": 7, "total.num.cachehits": 3}
        assert first["data"]["cache"]["rrset.limit"] == 3
        assert (first["data"]["upstreams_healthy"], first["data"]["upstreams_total"]) == (1, 2)
        api.engine.counters["total.num.queries"] += 50
        moved = next(event for event in events if event["data"]["per_second"])
        rate = moved["data"]["per_second"]
        assert set(rate) == {"total.num.queries"}
        assert rate["total.num.queries"] == pytest.approx(50 / moved["data"]["interval_secs"], rel=0.05)
        following = next(events)
        assert int(following["id"]) == int(moved["id"]) + 1
        assert following["data"]["time"] > moved["data"]["time"]
        stream.close()


def test_twenty_streams_end_at_once_when_the_server_stops(api: Api) -> None:
    with listening(api) as (port, stop):
        streams = [Stream(port) for _ in range(20)]
        for stream in streams:
            next(stream.events())
        began = time.monotonic()
        stop.set()
        for stream in streams:
            for _ in stream.events():
                pass  # until the end, which is orderly: a broken body would raise
            stream.close()
        assert time.monotonic() - began < 1.0
    assert not [line for level, line in api.engine.lines if level == "error"]


def test_one_stream_too_many_and_those_who_leave_make_room(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_STREAMS", 3)
    with listening(api) as (port, _):
        streams = [Stream(port) for _ in range(3)]
        refused = Stream(port)
        problem = json.load(refused.response)
        assert (refused.response.status, problem["code"]) == (429, "TOO_MANY_STREAMS")
        assert refused.response.headers["retry-after"] == "2"
        refused.close()
        for stream in streams:
            stream.close()
        end = time.monotonic() + 5
        while (again := Stream(port)).response.status != 200:
            again.close()
            assert time.monotonic() < end
        next(again.events())
        again.close()


def test_a_head_of_a_stream_takes_no_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_STREAMS", 1)
    with listening(api) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(5):
            connection.request("HEAD", "/stats/stream", headers=AUTHORIZED)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
        connection.close()


def test_readings_that_fail_are_told_once_and_streams_go_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    good = api.engine.stats
    broken = threading.Event()

    def stats() -> dict[str, int]:
        if broken.is_set():
            raise EngineError("no figures today")
        return good()

    monkeypatch.setattr(api.engine, "stats", stats)
    with listening(api) as (port, _):
        stream = Stream(port)
        events = stream.events()
        next(events)
        broken.set()
        time.sleep(0.5)
        broken.clear()
        next(events)
        next(events)
        stream.close()
    assert sum("no reading" in line for _, line in api.engine.lines) == 1


def test_nobody_who_watches_costs_only_counters(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage() -> dict[str, int]:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(api.engine, "cache_usage", usage)
    with listening(api):
        time.sleep(0.5)
    assert not [line for level, line in api.engine.lines if level == "error"]
