"""Backups of a whole process: a restore is live in every worker, survives a restart, and moves to another resolver."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {"RUNBOUND_API_KEY": KEY, "RUNBOUND_STORE_KEY": "5" * 64, "RUNBOUND_AUDIT_HMAC_KEY": "a" * 64}


@contextmanager
def running(folder: Path, **env: str) -> Iterator[Api]:
    port = free_port()
    body = f"    api-port: {port}\n    num-threads: 2\n    local-zone: example. static\n"
    with Resolver(body, folder, env={**SECRETS, **env}) as resolver:
        yield Api(resolver, port)


def said(api: Api, name: str) -> set[str]:
    """What several questions, by as many sockets, are answered: the address, or the code."""
    found = set()
    for _ in range(8):
        octets = exchange(Ask(name, "A"), api.resolver.at)
        assert octets is not None
        reply = dns.message.from_wire(octets)
        found.add(reply.answer[0][0].to_text() if reply.answer else dns.rcode.to_text(reply.rcode()))
    return found


def record(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "type": "A", "value": value}


def fill(api: Api) -> str:
    """Two records and a block, and their backup."""
    api.made("/dns", record("one.example.", "192.0.2.1"))
    api.made("/dns", record("two.example.", "192.0.2.2"))
    api.made("/blacklist", {"name": "ads.corp.", "action": "null"})
    return str(api.made("/backup", {})["id"])


def spoil(api: Api) -> None:
    """Changes of each kind: one goes, one is another, one is new."""
    for row in api.call("GET", "/dns")["items"]:
        if row["origin"] == "api" and row["name"] == "one.example.":
            with api.open("DELETE", f"/dns/{row['id']}") as answer:
                assert answer.status == 204
    api.made("/dns", record("new.example.", "192.0.2.9"))
    (block,) = (row for row in api.call("GET", "/blacklist")["items"] if row["name"] == "ads.corp.")
    with api.open("DELETE", f"/blacklist/{block['id']}") as answer:
        assert answer.status == 204
    api.made("/blacklist", {"name": "more.corp.", "action": "null"})


def answers(api: Api) -> list[set[str]]:
    return [said(api, name) for name in ("one.example.", "two.example.", "new.example.", "ads.corp.")]


def test_a_restore_is_live_and_stays(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        id_ = fill(api)
        before = answers(api)
        assert before[0] == {"192.0.2.1"}
        assert before[3] == {"0.0.0.0"}
        spoil(api)
        assert said(api, "one.example.") == {"NXDOMAIN"}
        assert said(api, "new.example.") == {"192.0.2.9"}
        tried = api.call("POST", "/backup/restore?dry_run=1", {"id": id_})
        assert said(api, "one.example.") == {"NXDOMAIN"}
        done = api.call("POST", "/backup/restore?reason=oops", {"id": id_})
        assert done["summary"] == tried["summary"]
        assert done["summary"] == {
            "record": {"added": 1, "removed": 1},
            "block": {"added": 1, "removed": 1},
        }
        assert answers(api) == before
        assert api.call("GET", "/config/history?limit=1")["items"][0]["reason"] == "oops"
    with running(tmp_path) as api:
        assert answers(api) == before
        assert api.call("POST", "/audit/verify")["ok"]


def test_a_backup_moves_to_another_resolver_by_its_public_key(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "a") as api:
        id_ = fill(api)
        before = answers(api)
        public_key = api.call("GET", f"/backup/{id_}")["public_key"]
        octets = api.open("GET", f"/backup/export?id={id_}").read()
    lines = {"Content-Type": "application/x-ndjson"}
    with running(tmp_path / "b", RUNBOUND_STORE_KEY="6" * 64) as api:
        refused = api.open("POST", "/backup/import", octets, **lines)
        assert refused.status == 422
        taken = api.open("POST", f"/backup/import?public_key={public_key}", octets, **lines)
        assert taken.status == 201
        assert said(api, "one.example.") == {"NXDOMAIN"}
        moved = api.call("GET", "/backup")["items"][0]
        assert moved["origin"] == public_key
        api.call("POST", "/backup/restore", {"id": moved["id"]})
        assert answers(api) == before
