"""`/audit`: the last entries, and the proof of all."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound.state.entries import Event

if TYPE_CHECKING:
    from support.api import Api


@pytest.fixture
def entries(api: Api) -> list[int]:
    """Numbers of entries by two actors, with checkpoints between them."""
    api.store.audit_every = 5
    for number in range(12):
        event = "record.add" if number % 3 else "record.delete"
        api.store.record(Event(event, "alice" if number % 2 else "bob", {"number": number}), wait=True)
    return list(range(1, api.store.audit_head[0] + 1))


def tail(api: Api, query: str = "") -> dict[str, Any]:
    answer = api.client.get(f"/audit/tail{query}", headers=api.key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_last_entries_come_in_their_order(api: Api, entries: list[int]) -> None:
    found = tail(api, "?limit=4")
    assert [row["seq"] for row in found["items"]] == entries[-4:]
    assert found["head"] == entries[-1]
    assert all(row["genuine"] for row in found["items"])
    assert [row["seq"] for row in tail(api)["items"]] == entries


def test_new_entries_are_followed_by_number(api: Api, entries: list[int]) -> None:
    assert [row["seq"] for row in tail(api, "?after=3&limit=2")["items"]] == [4, 5]
    assert tail(api, f"?after={entries[-1]}")["items"] == []


def test_entries_are_chosen_by_event_and_actor(api: Api, entries: list[int]) -> None:
    assert [row["fields"]["number"] for row in tail(api, "?event=record.del")["items"]] == [0, 3, 6, 9]
    assert [row["fields"]["number"] for row in tail(api, "?event=record&actor=bob&limit=2")["items"]] == [8, 10]
    assert [row["fields"]["number"] for row in tail(api, "?event=record&actor=bob&after=1&limit=2")["items"]] == [2, 4]
    assert {row["event"] for row in tail(api, "?event=checkpoint")["items"]} == {"checkpoint"}
    assert len(entries) == 14


def test_the_whole_log_is_proven(api: Api, entries: list[int]) -> None:
    found = api.client.post("/audit/verify", headers=api.key).json()
    assert found["ok"]
    assert found["fault"] is None
    assert (found["entries"], found["last"], found["checkpoints"]) == (len(entries), entries[-1], 2)
    assert found["head"] == api.store.audit_head[1]
    assert found["told"][-1] == "its end agrees with the head of the state"
    assert [sink["name"] for sink in found["sinks"]] == ["file"]


def test_an_entry_that_was_changed_is_shown_as_changed_and_named(api: Api, entries: list[int]) -> None:
    with sqlite3.connect(api.store.path) as db:
        db.execute("UPDATE audit SET line = replace(line, 'bob', 'eve') WHERE seq = 3")
        db.execute("UPDATE audit SET line = 'nothing' WHERE seq = 4")
    db.close()
    assert [row["seq"] for row in tail(api)["items"] if not row["genuine"]] == [3, 4]
    fault = api.client.post("/audit/verify", headers=api.key).json()["fault"]
    assert (fault["kind"], fault["seq"]) == ("edited", 3)
    assert len(entries) == 14


def test_without_an_audit_log_it_is_said(api: Api) -> None:
    app: Any = api.client.app
    app.state.context = msgspec.structs.replace(api.context, audit=None)
    for answer in (api.client.get("/audit/tail", headers=api.key), api.client.post("/audit/verify", headers=api.key)):
        assert (answer.status_code, answer.json()["code"]) == (503, "STATE_UNAVAILABLE")
