"""`/health`: when a threshold makes it say no."""

import time

import pytest

from runbound.api.history import POINTS, History, between
from runbound.api.routes import health
from runbound.ops.candidate import Candidate
from support.api import Api
from support.control import server_config


def thresholds(api: Api, **options: int) -> None:
    api.source.next = Candidate(server_config((), **options), ())
    assert api.client.post("/reload", headers=api.key).status_code == 200


def count(api: Api, queries: int, servfail: int = 0, resolved: int = 0, spent_ms: int = 0) -> None:
    api.engine.counters |= {
        "total.num.queries": queries,
        "total.num.answers_servfail": servfail,
        "total.num.recursivereplies": resolved,
        "total.recursion.time.sum": spent_ms * 1000,
    }


def test_too_many_failures(api: Api) -> None:
    thresholds(api, health_servfail_threshold=10)
    count(api, queries=100, servfail=9)
    assert api.client.get("/health").json()["status"] == "ok"
    count(api, queries=100, servfail=10)
    refused = api.client.get("/health")
    assert (refused.status_code, refused.json()["code"]) == (503, "UNHEALTHY")
    assert refused.json()["detail"] == "10 % of the answers are SERVFAIL"
    count(api, queries=health.LEAST - 1, servfail=health.LEAST - 1)
    assert api.client.get("/health").status_code == 200, "of a handful nothing follows"


def test_resolving_takes_too_long(api: Api) -> None:
    thresholds(api, health_latency_threshold=200)
    count(api, queries=100, resolved=50, spent_ms=50 * 199)
    assert api.client.get("/health").status_code == 200
    count(api, queries=100, resolved=50, spent_ms=50 * 200)
    assert api.client.get("/health").json()["detail"] == "resolving takes 200 ms"


def test_too_few_queries_once_a_minute_was_watched(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds(api, health_min_qps=5)
    count(api, queries=100)
    assert api.client.get("/health").status_code == 200, "it has only just begun"
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 60)
    assert api.client.get("/health").json()["detail"].endswith("queries a second come")
    count(api, queries=1000)
    assert api.client.get("/health").status_code == 200


def test_history_is_a_point_a_minute_for_a_day() -> None:
    history = History()
    for passed in range(121):
        history.add(1000.0 + passed, float(passed), {"total.num.queries": 2 * passed})
    first, second = history.points(10)
    assert (first.time, first.seconds, first.queries, first.resolving_ms) == (1060.0, 60.0, 120, None)
    assert (second.queries, len(history.points(1))) == (120, 1)
    for minute in range(2, POINTS + 50):
        history.add(0.0, 60.0 * minute, {"total.num.queries": 2 * 60 * minute})
    assert len(history.points(10 * POINTS)) == POINTS
    after = {"total.num.recursivereplies": 4, "total.recursion.time.sum": 10_000, "num.answer.blocked": 1}
    point = between(0.0, 60.0, {"num.answer.blocked": 3}, after)
    assert (point.resolving_ms, point.blocked) == (2.5, 0)


def test_history_over_http(api: Api) -> None:
    found = api.client.get("/stats/history?minutes=5", headers=api.key).json()
    assert found == {"step_secs": 60.0, "points": []}
    assert api.client.get(f"/stats/history?minutes={POINTS + 1}", headers=api.key).status_code == 422
