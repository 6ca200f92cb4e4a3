"""`/backup`: made of one moment, proven, restored as one change, carried elsewhere; users stay as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound.engine import Bulk, name_key
from runbound.ops.outcome import Change, Edited
from runbound.ops.view import Plan
from runbound.state.entries import Edit, canonical
from support.backups import backups

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runbound.ops.view import View
    from support.api import Api


def change(api: Api, *edits: Edit, bulk: Bulk | None = None, mode: Any = "add") -> None:
    def plan(_view: View) -> Plan:
        return Plan(edits, bulk=bulk, mode=mode)

    made = api.changes.edit(Change("alice", "a test"), plan)
    assert isinstance(made, Edited)


def bulk(kind: str, *docs: Mapping[str, object]) -> Bulk:
    found = Bulk(kind, "json")
    found.feed(msgspec.json.encode(docs))
    assert found.finish() == []
    return found


def record(name: str, value: str) -> dict[str, object]:
    return {"name": name, "type": "A", "ttl": 60, "value": value}


def everything(api: Api) -> dict[str, list[dict[str, Any]]]:
    """What is configured by API."""
    kinds = ("record", "block", "upstream", "setting", "user")
    return {kind: [entry.doc for entry in api.store.page(kind, after=None, limit=1000)] for kind in kinds}


def make(api: Api) -> str:
    answer = api.client.post("/backup?reason=before", headers=api.key)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def restore(api: Api, id_: str, query: str = "") -> Any:
    return api.client.post(f"/backup/restore{query}", json={"id": id_}, headers=api.key)


@pytest.fixture
def filled(api: Api) -> Api:
    """Three records, two blocks, a setting and a user."""
    change(api, bulk=bulk("record", *(record(f"h{n}.example.", f"192.0.2.{n}") for n in range(3))))
    change(api, bulk=bulk("block", *({"name": f"ads{n}.example.", "action": "nxdomain"} for n in range(2))))
    setting = canonical({"clause": "server", "option": "verbosity", "values": ["2"]})
    change(api, Edit("setting", b"server/verbosity", setting))
    api.client.post("/users", json={"name": "bob", "role": "read"}, headers=api.key)
    return api


def test_a_backup_tells_what_it_holds(filled: Api) -> None:
    id_ = make(filled)
    (found,) = filled.client.get("/backup", headers=filled.key).json()["items"]
    assert found["id"] == id_
    assert found["counts"] == {"record": 3, "block": 2, "upstream": 0, "setting": 1}
    assert (found["actor"], found["reason"]) == ("api-key", "before")
    assert found["revision"] == filled.store.newest
    assert filled.client.get(f"/backup/{id_}", headers=filled.key).json() == found
    path = os.path.join(os.path.dirname(filled.store.path), "backups", f"{id_}.json")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "bob" not in text
    assert len(text.splitlines()) == 7


def test_a_restore_puts_back_what_changed_and_takes_away_what_came(filled: Api) -> None:
    before = everything(filled)
    id_ = make(filled)
    change(filled, bulk=bulk("record", record("h1.example.", "192.0.2.1")), mode="remove")
    change(filled, bulk=bulk("record", record("new.example.", "192.0.2.9"), record("h2.example.", "192.0.2.2")))
    change(filled, bulk=bulk("block", {"name": "ads0.example.", "action": "refuse"}, {"name": "more.example."}))
    change(filled, Edit("setting", b"server/verbosity", None))
    change(
        filled,
        Edit(
            "setting",
            b"server/val-log-level",
            canonical({"clause": "server", "option": "val-log-level", "values": ["1"]}),
        ),
    )
    filled.client.post("/users", json={"name": "carol", "role": "read"}, headers=filled.key)
    changed = everything(filled)
    revision = filled.store.newest

    tried = restore(filled, id_, "?dry_run=1")
    assert tried.status_code == 200, tried.text
    assert tried.json()["dry_run"]
    assert everything(filled) == changed
    assert filled.store.newest == revision

    done = restore(filled, id_, "?reason=oops")
    assert done.status_code == 200, done.text
    assert done.json()["summary"] == tried.json()["summary"]
    assert done.json()["summary"] == {
        "record": {"added": 1, "removed": 1},
        "block": {"changed": 1, "removed": 1},
        "setting": {"added": 1, "removed": 1},
    }
    after = everything(filled)
    assert {kind: after[kind] for kind in before if kind != "user"} == {
        kind: before[kind] for kind in before if kind != "user"
    }
    assert after["user"] == changed["user"], "users stay as they are"
    assert filled.store.newest == revision + 1, "one change"
    last = filled.store.journal(before=None, limit=1)[0]
    assert (last.op, last.actor, last.reason, last.status) == ("restore", "api-key", "oops", "applied")
    (event,) = [line for _, line in filled.store.audit_after(0, 1000) if '"backup.restore"' in line]
    assert f'"backup":"{id_}"' in event


def test_what_the_engine_is_told_of_a_restore(filled: Api) -> None:
    """Both lists reach it, the one that goes as a bulk and the one that goes as edits."""
    id_ = make(filled)
    change(filled, bulk=bulk("record", record("h1.example.", "192.0.2.1")), mode="remove")
    change(filled, bulk=bulk("block", {"name": "ads0.example.", "action": "nxdomain"}), mode="remove")
    calls = len(filled.engine.calls)
    assert restore(filled, id_).status_code == 200
    assert filled.engine.calls[calls:] == ["amend"]


def test_a_rollback_undoes_a_restore(filled: Api) -> None:
    id_ = make(filled)
    change(filled, bulk=bulk("record", record("new.example.", "192.0.2.9")))
    before, revision = everything(filled), filled.store.newest
    assert restore(filled, id_).status_code == 200
    assert everything(filled) != before
    filled.changes.rollback(Change("alice", "back"), revision)
    assert everything(filled) == before


@pytest.mark.parametrize("suffix", ["", ".mac"])
def test_a_backup_that_was_changed_is_never_restored(filled: Api, suffix: str) -> None:
    id_ = make(filled)
    path = os.path.join(os.path.dirname(filled.store.path), "backups", f"{id_}.json{suffix}")
    with open(path, "r+b") as file:
        octets = file.read()
        place = octets.rindex(b"3" if suffix else b"ads1")
        file.seek(place)
        file.write(bytes([octets[place] ^ 1]))
    before = everything(filled)
    for answer in (
        restore(filled, id_),
        filled.client.get(f"/backup/{id_}", headers=filled.key),
        filled.client.get(f"/backup/export?id={id_}", headers=filled.key),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "BACKUP_INVALID")
    assert everything(filled) == before
    os.unlink(path)
    assert filled.client.get(f"/backup/{id_}", headers=filled.key).status_code in (404, 422)


def test_a_backup_goes_out_and_comes_in(filled: Api) -> None:
    before = everything(filled)
    id_ = make(filled)
    out = filled.client.get(f"/backup/export?id={id_}", headers=filled.key)
    assert out.headers["content-type"] == "application/x-ndjson"
    assert b"bob" not in out.content
    assert filled.client.delete(f"/backup/{id_}", headers=filled.key).status_code == 204
    assert filled.client.get("/backup", headers=filled.key).json()["items"] == []
    back = filled.client.post("/backup/import?reason=home", content=out.content, headers=filled.key)
    assert back.status_code == 201, back.text
    change(filled, bulk=bulk("record", record("new.example.", "192.0.2.9")))
    assert restore(filled, back.json()["id"]).status_code == 200
    assert everything(filled) == before
    events = [event for event, _, fields in filled.trail.entries if event.startswith("backup.")]
    assert events == ["backup.make", "backup.delete", "backup.import"]


def test_one_of_another_resolver_needs_its_public_key(filled: Api, tmp_path: Path) -> None:
    other = backups(tmp_path, b"o" * 32)
    with filled.store.picture() as picture:
        made = other.make(picture, "carol", "elsewhere")
    octets = b"".join(other.stream(made.id))

    def take(query: str = "") -> Any:
        return filled.client.post(f"/backup/import{query}", content=octets, headers=filled.key)

    for refused in (take(), take(f"?public_key={'0' * 64}")):
        assert (refused.status_code, refused.json()["code"]) == (422, "BACKUP_INVALID")
    taken = take(f"?public_key={other.public_key}")
    assert taken.status_code == 201, taken.text
    assert taken.json()["origin"] == other.public_key
    assert restore(filled, taken.json()["id"]).status_code == 200


def test_a_restore_sets_no_option_that_no_call_could_set(filled: Api) -> None:
    key = b"server/audit-log"
    change(filled, Edit("setting", key, canonical({"clause": "server", "option": "audit-log", "values": ["no"]})))
    id_ = make(filled)
    change(filled, Edit("setting", key, None))
    before = everything(filled)
    refused = restore(filled, id_)
    assert (refused.status_code, refused.json()["code"]) == (409, "OPTION_NOT_SETTABLE")
    assert everything(filled) == before


def test_a_stream_that_was_changed_or_broke_off_is_not_taken(filled: Api) -> None:
    octets = filled.client.get(f"/backup/export?id={make(filled)}", headers=filled.key).content
    lines = octets.splitlines(keepends=True)
    ways = {
        "changed": octets.replace(b"ads1", b"ads9"),
        "without its seal": b"".join(lines[:-1]),
        "in the middle": octets[: len(octets) // 2],
        "one line less": b"".join(lines[:3] + lines[4:]),
        "more behind it": octets + lines[2],
        "another head": octets.replace(b'"revision":', b'"revision":1', 1),
        "nothing": b"",
        "something else": b"\xff\xfe\n",
        "endless": b"x" * 3_000_000,
    }
    for name, content in ways.items():
        answer = filled.client.post("/backup/import", content=content, headers=filled.key)
        assert (answer.status_code, answer.json()["code"]) == (422, "BACKUP_INVALID"), name
    folder = os.path.join(os.path.dirname(filled.store.path), "backups")
    assert len(os.listdir(folder)) == 2, "nothing is left of what was refused"


@pytest.mark.parametrize("id_", ["none", "..", "20261123T211500Z-r1", "20261123T211500Z-r1/../../state"])
def test_names_that_are_none_lead_nowhere(api: Api, id_: str) -> None:
    assert restore(api, id_).status_code == 404
    answer = api.client.get("/backup/export", params={"id": id_}, headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_backup_without_entries_takes_everything_away(filled: Api) -> None:
    octets = filled.client.get(f"/backup/export?id={make(filled)}", headers=filled.key).content
    assert name_key("h1.example.") not in octets
    for kind in ("record", "block"):
        change(filled, bulk=bulk(kind), mode="replace")
    change(filled, Edit("setting", b"server/verbosity", None))
    empty = make(filled)
    change(filled, bulk=bulk("record", record("new.example.", "192.0.2.9")))
    assert restore(filled, empty).status_code == 200
    assert everything(filled)["record"] == []
