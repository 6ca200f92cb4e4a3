"""What the routes answer: cache, lookup, upstreams, system, rates. Over a fake engine; what it means is Rust's."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runbound.api import counters
from runbound.api.problems import CODES
from runbound.api.routes import cache, lookup
from runbound.engine import EngineError
from support.api import Api
from support.control import server


def post(api: Api, path: str, body: object) -> Any:
    return api.client.post(path, headers=api.key, json=body)


def fields(response: Any) -> set[str]:
    """The fields that a 422 names."""
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "VALIDATION_FAILED")
    return {error["field"] for error in body["errors"]}


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"what": "all"}, "cache_flush all None None"),
        ({"what": "negative"}, "cache_flush negative None None"),
        ({"what": "bogus"}, "cache_flush bogus None None"),
        ({"what": "infra"}, "cache_flush infra None None"),
        ({"what": "zone", "name": "Example.com"}, "cache_flush zone Example.com. None"),
        ({"what": "name", "name": "bücher.example."}, "cache_flush name xn--bcher-kva.example. None"),
        ({"what": "type", "name": ".", "type": "mx"}, "cache_flush type . TYPE15"),
    ],
)
def test_flush(api: Api, body: dict[str, str], call: str) -> None:
    response = post(api, "/cache/flush", body)
    assert response.status_code == 200
    assert response.json()["removed"] == 3
    assert api.engine.calls == [call]
    assert api.engine.said(f"cache flushed actor=api-key what={body['what']}")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.what"),
        ({"what": "everything"}, "body.what"),
        ({"what": "zone"}, "body.name"),
        ({"what": "all", "name": "a."}, "body.name"),
        ({"what": "zone", "name": "a..b"}, "body.name"),
        ({"what": "type", "name": "a."}, "body.type"),
        ({"what": "name", "name": "a.", "type": "A"}, "body.type"),
        ({"what": "type", "name": "a.", "type": "NOPE"}, "body.type"),
        ({"what": "all", "zone": "a."}, "body.zone"),
    ],
)
def test_a_flush_that_makes_no_sense_names_the_field(api: Api, body: dict[str, str], field: str) -> None:
    assert fields(post(api, "/cache/flush", body)) == {field}
    assert api.engine.calls == []


def test_only_a_flush_of_everything_has_to_wait(api: Api) -> None:
    assert post(api, "/cache/flush", {"what": "all"}).status_code == 200
    refused = post(api, "/cache/flush", {"what": "all"})
    assert (refused.status_code, refused.json()["code"]) == (429, "CACHE_FLUSH_COOLDOWN")
    assert refused.headers["retry-after"] == "60"
    assert post(api, "/cache/flush", {"what": "zone", "name": "."}).status_code == 200
    api.now[0] += 60
    assert post(api, "/cache/flush", {"what": "all"}).status_code == 200


def test_cache_stats(api: Api) -> None:
    body = api.client.get("/cache/stats", headers=api.key).json()
    assert body["rrset"] == {"entries": 1, "bytes": 2, "limit_bytes": 3, "hits": 4, "misses": 5, "evictions": 6}
    assert body["stale_hits"] == 9


def test_a_dump_is_written_part_by_part(api: Api) -> None:
    api.engine.dump = [b"one\n", b"two\n", b"EOF\n"]
    response = api.client.get("/cache/dump", headers=api.key)
    assert response.content == b"one\ntwo\nEOF\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert api.engine.calls == [f"cache_dump {n}" for n in range(4)]


def test_one_dump_too_many(api: Api) -> None:
    dumps = api.dumps
    with dumps.take(), dumps.take():
        response = api.client.get("/cache/dump", headers=api.key)
        assert (response.status_code, response.json()["code"]) == (429, "TOO_MANY_DUMPS")
        assert response.headers["retry-after"] == "1"
    assert api.client.get("/cache/dump", headers=api.key).status_code == 200
    assert dumps.taken == 0


DUMP = b"""\
START_RRSET_CACHE
;rrset 300 1 0 8 0
a.example.\t300\tIN\tA\t192.0.2.1
END_RRSET_CACHE
START_MSG_CACHE
msg a.example. IN A 33152 1 300 0 1 0 0
a.example. IN A 0
END_MSG_CACHE
EOF
"""


def test_load(api: Api) -> None:
    response = api.client.post("/cache/load", headers=api.key, content=DUMP)
    assert response.json() == {"rrsets": 1, "messages": 1, "refused": 0}
    assert all(piece.endswith(b"EOF\n") for piece in api.engine.loaded)
    assert api.engine.said("cache loaded actor=api-key rrsets=1 messages=1")


def test_a_load_may_be_larger_than_other_bodies_but_not_endless(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = b";rrset 300 1 0 8 0\na.example. 300 IN A 192.0.2.1\n"
    big = b"START_RRSET_CACHE\n" + entry * 20_000 + b"END_RRSET_CACHE\nSTART_MSG_CACHE\nEND_MSG_CACHE\nEOF\n"
    assert api.client.post("/cache/load", headers=api.key, content=big).json()["rrsets"] == 20_000
    assert len(api.engine.loaded) > 2
    assert max(map(len, api.engine.loaded)) < len(big) / 2
    headers = {**api.key, "Content-Length": str(cache.MAX_LOAD_BYTES + 1)}
    response = api.client.post("/cache/load", headers=headers, content=iter([b"x"]))
    assert (response.status_code, response.json()["code"]) == (413, "BODY_TOO_LARGE")


def test_a_load_without_a_length_or_of_something_else(api: Api) -> None:
    response = api.client.post("/cache/load", headers=api.key, content=iter([DUMP]))
    assert (response.status_code, response.json()["code"]) == (411, "LENGTH_REQUIRED")
    assert fields(api.client.post("/cache/load", headers=api.key, content=b"a photograph\n")) == {"body"}
    assert api.engine.loaded == []


def test_lookup(api: Api) -> None:
    api.engine.answer |= {
        "answer": ['t.example. 300 IN TXT "<script> \\226" "two"', "t.example. 300 IN TYPE731 \\# 0"],
        "ede": [{"code": 22, "text": 'all \x1b[2J of "them"'}, {"code": 4711, "text": ""}],
        "rcode": "SERVFAIL",
        "why": "no server answered",
    }
    body = post(api, "/api/v1/dns/lookup", {"name": "t.example", "type": "txt", "checking_disabled": True}).json()
    assert api.engine.calls == ["lookup t.example. TYPE16 True"]
    assert body["status"] == "SERVFAIL"
    assert body["answers"][0] == {
        "name": "t.example.",
        "ttl": 300,
        "class": "IN",
        "type": "TXT",
        "data": '"<script> \\226" "two"',
    }
    assert body["elapsed_ms"] == 1.5
    assert body["ede"][0] == {"code": 22, "name": "no reachable authority", "text": 'all \x1b[2J of "them"'}
    assert body["ede"][1]["name"] == "unassigned"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.name"),
        ({"name": ""}, "body.name"),
        ({"name": f"{'a' * 64}.example"}, "body.name"),
        ({"name": ".".join(["a" * 63] * 4)}, "body.name"),
        ({"name": "a b"}, "body.name"),
        ({"name": "x" * 2000}, "body.name"),
        ({"name": "a", "type": "AXFR"}, "body.type"),
        ({"name": "a", "type": "TYPE65536"}, "body.type"),
        ({"name": "a", "class": "CH"}, "body.class"),
        ({"name": "a", "checking_disabled": "perhaps"}, "body.checking_disabled"),
        ({"name": 5}, "body.name"),
    ],
)
def test_a_question_that_makes_no_sense_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    assert fields(post(api, "/dns/lookup", body)) == {field}
    assert api.engine.calls == []


def test_a_body_of_another_kind_is_told_so(api: Api) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    response = api.client.post("/dns/lookup", headers={**api.key, **kind}, content=b'{"name": "a"}')
    assert fields(response) == {"body"}
    assert "application/json" in response.text


def test_a_lookup_that_does_not_end(api: Api) -> None:
    api.engine.silent = True
    response = post(api, "/dns/lookup", {"name": "a"})
    assert (response.status_code, response.json()["code"]) == (504, "LOOKUP_TIMEOUT")


def test_lookups_are_bounded_and_leave_room_for_others(api: Api) -> None:
    api.engine.release.clear()
    with ThreadPoolExecutor(lookup.MAX_LOOKUPS) as pool:
        waiting = [pool.submit(post, api, "/dns/lookup", {"name": "a"}) for _ in range(lookup.MAX_LOOKUPS)]
        while len(api.engine.calls) < lookup.MAX_LOOKUPS:
            threading.Event().wait(0.01)
        refused = post(api, "/dns/lookup", {"name": "a"})
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_LOOKUPS")
        assert api.client.get("/stats", headers=api.key).status_code == 200
        api.engine.release.set()
        assert {done.result().status_code for done in waiting} == {200}
    assert post(api, "/dns/lookup", {"name": "a"}).status_code == 200


def test_upstreams(api: Api) -> None:
    body = api.client.get("/upstreams", headers=api.key).json()
    assert (body["healthy"], body["total"]) == (1, 2)
    health = api.client.get("/health").json()
    assert (health["upstreams_healthy"], health["upstreams_total"]) == (1, 2)
    first, second = body["items"]
    assert (first["state"], first["rtt_ms"], first["retry_in_ms"]) == ("up", 12.5, None)
    assert (second["state"], second["last_error"], second["retry_in_ms"]) == ("down", "refused", 900)
    assert api.client.get(f"/upstreams/{second['id']}", headers=api.key).json() == second
    missing = api.client.get("/upstreams/0123", headers=api.key)
    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")


def test_an_id_stays_whatever_happens_to_the_server(api: Api) -> None:
    def ids() -> list[str]:
        return [row["id"] for row in api.client.get("/upstreams", headers=api.key).json()["items"]]

    before = ids()
    api.engine.servers = [
        server(zone="example.", address="192.0.2.1@53"),
        *reversed([{**row, "queries": 99, "state": "unknown", "srtt_ms": None} for row in api.engine.servers]),
    ]
    after = ids()
    assert set(before) < set(after)
    assert len(set(after)) == 3


def test_no_upstream_is_healthy(api: Api) -> None:
    api.engine.servers = [server(state="down")]
    assert api.client.get("/health").json()["status"] == "degraded"
    api.engine.servers = [server(state="unknown")]
    assert api.client.get("/health").json()["status"] == "ok"


def test_a_worker_that_does_not_answer_is_told_of(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[dict[str, object]]:
        raise EngineError("a worker does not answer")

    monkeypatch.setattr(api.engine, "upstreams", fail)
    body = api.client.get("/health").json()
    assert (body["status"], body["reason"]) == ("degraded", "a worker does not answer")


def test_system(api: Api) -> None:
    body = api.client.get("/system", headers=api.key).json()
    assert body["workers"] == 2
    assert body["cores"] >= 1
    assert body["listening"] == ["127.0.0.1@5335"]
    assert body["sockets"] == {"udp": 2, "tcp_listen": 1}
    assert body["racing_wins"] == 4
    assert body["memory"]["resident_bytes"] == 20 << 20
    assert body["memory"]["message_cache_limit_bytes"] == 3


def test_stats_have_rates_and_percentiles(api: Api) -> None:
    body = api.client.get("/stats", headers=api.key).json()
    assert body["rates_over_secs"] >= 1
    assert body["rates"] == {"total.num.queries": 7.0, "total.num.cachehits": 3.0}
    assert body["resolving_ms"] is None
    api.engine.counters |= {
        "histogram.000000.001024.to.000000.002048": 90,
        "histogram.000000.524288.to.000001.000000": 10,
        "histogram.000001.000000.to.000002.000000": 0,
    }
    found = api.client.get("/stats", headers=api.key).json()["resolving_ms"]
    assert 1.024 < found["p50"] < found["p90"] <= 2.048
    assert 524 < found["p99"] < 1000


def test_rates_and_percentiles() -> None:
    before = {"total.num.queries": 100, "total.requestlist.max": 3}
    after = {"total.num.queries": 150, "num.query.tcp": 4, "total.requestlist.max": 9, "unwanted.queries": 0}
    assert counters.per_second(before, after, 2.0) == {
        "total.num.queries": 25.0,
        "num.query.tcp": 2.0,
        "unwanted.queries": 0.0,
    }
    assert counters.per_second(before, {"total.num.queries": 1}, 1.0) == {"total.num.queries": 0.0}
    assert counters.per_second(before, after, 0.0) == {}
    buckets = [(0, 1, 0), (1, 2, 10), (2, 4, 10)]
    assert counters.percentile(buckets, 0.5) == 2.0
    assert counters.percentile(buckets, 0.75) == 3.0
    assert counters.percentile(buckets, 1.0) == 4.0
    assert counters.percentile([(0, 1, 0)], 0.5) is None
    assert counters.percentile([], 0.5) is None


def test_every_code_is_documented_somewhere(api: Api) -> None:
    text = api.client.get("/api/v1/openapi.json").text
    assert [code for code in CODES if f"`{code}`" not in text] == []
