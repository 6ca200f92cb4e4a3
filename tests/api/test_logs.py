"""`/logs`, `/clients` and the lists: what is asked of the engine, what is shown, and who hears of an erasure."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runbound.api import tail
from support.api import KEY, Api, listening

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def test_entries_come_as_the_engine_made_them_and_filters_go_to_it(api: Api) -> None:
    for number in range(5):
        api.engine.ask(f"host-{number}.example.")
    page = api.client.get("/logs?limit=2", headers=api.key).json()
    assert [entry["seq"] for entry in page["items"]] == [5, 4]
    assert (page["next"], page["total"]) == ("4", 5)
    rest = api.client.get(f"/logs?cursor={page['next']}", headers=api.key).json()
    assert [entry["name"] for entry in rest["items"]] == ["host-2.example.", "host-1.example.", "host-0.example."]
    query = "action=blocked&action=refused&client=192.0.2.77&name=Bücher.example&type=aaaa&rcode=servfail"
    query += "&since=2026-11-23T20:00:00Z"
    assert api.client.get(f"/logs?{query}", headers=api.key).status_code == 200
    assert api.engine.wanted[-1] == {
        "actions": ["blocked", "refused"],
        "client": "192.0.2.77",
        "name": "xn--bcher-kva.example.",
        "rtype": "AAAA",
        "rcode": "servfail",
        "since_us": 1_795_464_000_000_000,
    }


@pytest.mark.parametrize(
    "query",
    [
        *("action=eaten", "client=nobody", "client=p-1", "client=fe80::1%25eth0", "name=a..b", "type=NOTHING"),
        *("limit=0", "cursor=x", "since=yesterday", "since=0.5", "since=2026-11-23T20:00:00", "rcode=a-b"),
    ],
)
def test_a_filter_that_means_nothing_is_named(api: Api, query: str) -> None:
    answer = api.client.get(f"/logs?{query}", headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert answer.json()["errors"][0]["field"].startswith(f"query.{query.partition('=')[0]}")
    assert not api.engine.wanted


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23T21:00:00+01:00", 1_795_464_000.0),
        ("2026-11-23t20:00:00.123456789z", 1_795_464_000.123456),
        ("2016-12-31T23:59:60Z", 1_483_228_799.0),
        ("1900-01-01T00:00:00Z", 0.0),
    ],
)
def test_moments_are_those_of_rfc_3339(api: Api, text: str, seconds: float) -> None:
    assert api.client.get("/logs", params={"since": text}, headers=api.key).status_code == 200
    assert api.engine.wanted[-1].get("since_us", 0) == round(seconds * 1_000_000)


def test_an_erasure_is_written_down_and_does_not_say_of_whom(api: Api) -> None:
    api.engine.ask("a.example.")
    api.engine.ask("b.example.", client="192.0.2.8")
    answer = api.client.delete("/logs?client=192.0.2.7", headers=api.key)
    assert (answer.status_code, answer.json()) == (200, {"ring": 1, "lists": 1, "file": 0})
    assert [entry["client"] for entry in api.engine.entries] == ["192.0.2.8"]
    event, _, fields = api.trail.entries[-1]
    assert event == "log.erase"
    assert (fields["client"], fields["ring"], fields["path"]) == ("one client", 1, "/logs")
    assert api.client.delete("/logs", headers=api.key).json()["ring"] == 1
    assert [(event, fields["client"]) for event, _, fields in api.trail.entries] == [
        ("log.erase", "one client"),
        ("log.erase", "all"),
    ]
    assert api.engine.said("query log erased")
    said = json.dumps(api.trail.entries) + str(api.engine.lines)
    assert "192.0.2." not in said


def test_a_file_that_cannot_forget_is_told(api: Api) -> None:
    api.engine.stuck = True
    answer = api.client.delete("/logs", headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == (500, "ERASURE_INCOMPLETE")
    assert "the disk is full" in answer.json()["detail"]
    assert api.trail.entries[-1][2]["result"] == "incomplete"


def test_who_asks_most_and_one_of_them(api: Api) -> None:
    found = api.client.get("/clients", headers=api.key).json()
    assert (found["total"], found["addresses"], found["next"]) == (2, "no", None)
    assert found["items"][0]["client"] == "192.0.2.7"
    assert found["items"][0]["actions"] == {"cached": 11.5, "resolved": 1.0}
    api.engine.ask("a.example.")
    api.engine.ask("b.example.", client="192.0.2.8")
    one = api.client.get("/clients/192.0.2.7", headers=api.key).json()
    assert [entry["name"] for entry in one["recent"]] == ["a.example."]
    assert one["recent"][0]["class"] == "IN"
    assert api.client.get("/clients/2001:db8::1", headers=api.key).json()["recent"] == []
    missing = api.client.get("/clients/192.0.2.9", headers=api.key)
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert "log-client-ip: no" in missing.json()["detail"]
    assert api.client.get("/clients/nobody", headers=api.key).status_code == 422


def test_the_names_that_come_most(api: Api) -> None:
    found = api.client.get("/stats/top-domains", headers=api.key).json()
    assert (found["kind"], found["items"][0]["name"], found["total"]) == ("all", "www.example.", 1)
    blocked = api.client.get("/stats/top-domains?kind=blocked", headers=api.key).json()
    assert blocked["items"][0]["name"] == "ads.example."
    assert api.client.get("/stats/top-domains?kind=failed", headers=api.key).json()["items"] == []
    assert api.client.get("/stats/top-domains?kind=loved", headers=api.key).status_code == 422


class Stream:
    """An EventSource in a few lines."""

    def __init__(self, port: int, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", f"/api/v1/logs/stream?{query}", headers={**AUTHORIZED, **headers})
        self.response = self.connection.getresponse()

    def events(self) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for line in self.response:
            text = line.decode().rstrip("\n")
            name, _, value = text.partition(": ")
            if not text:
                if "data" in event:
                    yield event
                event = {}
            elif name:
                event[name] = json.loads(value) if name == "data" else value

    def names(self) -> Iterator[str]:
        for event in self.events():
            yield from (entry["name"] for entry in event["data"]["entries"])

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "INTERVAL_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_stream_begins_with_the_newest_and_misses_nothing(api: Api) -> None:
    for number in range(20):
        api.engine.ask(f"{number}.example.")
    with listening(api) as (port, _):
        stream = Stream(port, "backlog=3")
        events = stream.events()
        first = next(events)
        assert [entry["name"] for entry in first["data"]["entries"]] == ["17.example.", "18.example.", "19.example."]
        assert (first["id"], first["data"]["skipped"]) == ("20", 0)
        seen = []
        for number in range(20, 60):
            api.engine.ask(f"{number}.example.")
            time.sleep(0.01)
        for event in events:
            seen += [entry["seq"] for entry in event["data"]["entries"]]
            if seen[-1] == 60:
                break
        assert seen == list(range(21, 61))
        stream.close()
        # One that comes again goes on where it was.
        again = Stream(port, **{"Last-Event-ID": "57"})
        assert [entry["seq"] for entry in next(again.events())["data"]["entries"]] == [58, 59, 60]
        again.close()


@pytest.mark.usefixtures("quick")
def test_the_first_event_says_where_the_stream_stands(api: Api) -> None:
    with listening(api) as (port, _):
        stream = Stream(port)
        assert next(stream.events()) == {"id": "0", "event": "log", "data": {"entries": [], "skipped": 0}}
        stream.close()


@pytest.mark.usefixtures("quick")
def test_all_who_watch_alike_share_one_look_and_get_the_same(api: Api) -> None:
    with listening(api) as (port, _):
        streams = [Stream(port, "backlog=0") for _ in range(20)] + [Stream(port, "backlog=0&client=192.0.2.8")]
        names = [stream.names() for stream in streams]
        for _ in range(3):
            time.sleep(0.1)
            api.engine.ask("seven.example.")
            api.engine.ask("eight.example.", client="192.0.2.8")
        got = [[next(name) for _ in range(6)] for name in names[:20]]
        assert got == [["seven.example.", "eight.example."] * 3] * 20
        assert [next(names[20]) for _ in range(3)] == ["eight.example."] * 3
        looks = len(api.engine.wanted)
        time.sleep(0.5)
        # Two filters, so two looks each time, however many watch.
        assert len(api.engine.wanted) - looks <= 2 * 12
        for stream in streams:
            stream.close()


@pytest.mark.usefixtures("quick")
def test_too_many_entries_are_counted_and_too_many_streams_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MAX_STREAMS", 1)
    with listening(api) as (port, stop):
        stream = Stream(port, "backlog=0")
        stream.response.readline()
        time.sleep(0.2)
        for number in range(tail.MAX_ENTRIES + 7):
            api.engine.entries.append({"seq": number + 1, "name": f"{number}.example.", "client": None})
        got = []
        skipped = 0
        for event in stream.events():
            got += event["data"]["entries"]
            skipped += event["data"]["skipped"]
            if got and got[-1]["seq"] == tail.MAX_ENTRIES + 7:
                break
        assert len(got) + skipped == tail.MAX_ENTRIES + 7
        refused = Stream(port)
        assert (refused.response.status, json.load(refused.response)["code"]) == (429, "TOO_MANY_STREAMS")
        refused.close()
        began = time.monotonic()
        stop.set()
        for _ in stream.events():
            pass  # until the end, which is orderly
        assert time.monotonic() - began < 1.5
        stream.close()


@pytest.mark.usefixtures("quick")
def test_nobody_who_watches_costs_nothing_and_a_look_that_fails_is_told_once(api: Api) -> None:
    with listening(api) as (port, _):
        time.sleep(0.3)
        assert not api.engine.wanted
        stream = Stream(port, "backlog=0")
        stream.response.readline()
        time.sleep(0.2)
        api.engine.blind = True
        time.sleep(0.3)
        api.engine.blind = False
        api.engine.ask("a.example.")
        assert next(stream.names()) == "a.example."
        stream.close()
    assert sum("no look at the query log" in line for _, line in api.engine.lines) == 1
