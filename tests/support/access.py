"""Who may call what: the table. A route that has no row here fails `test_access`, and so does a row without a route.

Each row is written by hand, from what the call does: it is not read off the code, which is what it checks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from runbound.ops import overlay
from runbound.ops.change import Change, Edited
from runbound.ops.refusals import NothingToConfirm
from runbound.ops.view import Plan
from support.api import Api
from support.backups import exported
from support.hsm import with_hsm

if TYPE_CHECKING:
    from collections.abc import Callable

Least = Literal["open", "anybody", "read", "dns", "operator", "admin"]
INSIDE, OUTSIDE = "nas.home.arpa.", "www.example."
"""A name in the zone that the limited callers have, and one that is not."""


class Row(msgspec.Struct, frozen=True):
    """One call."""

    least: Least
    """The least role; `anybody` with a key; `open` to strangers."""
    body: dict[str, Any] | Callable[[str], dict[str, Any]] | None = None
    """A good JSON body; made of a name where callers limited to zones may call."""
    zoned: bool = False
    """Whether callers limited to zones may call."""
    named: bool = True
    """Whether a call that `zoned` is about one name, and is refused with one outside of the zones."""
    path: Callable[[Api, str], str] | None = None
    """Makes what the call is about (of that name) and gives its path, if that is not the route's."""
    query: str = ""
    content: bytes | None = None
    """A good body that is no JSON."""
    endless: bool = False
    """A stream: HEAD is asked instead."""
    status: int = 200


def user(api: Api, _name: str) -> str:
    """Makes a user, and gives the id."""
    name = f"made-{api.store.revision}"
    made = api.client.post("/users", json={"name": name, "role": "read"}, headers=api.key)
    return str(made.json()["id"])


def backup(api: Api) -> str:
    """Makes a backup, and gives its name."""
    return str(api.client.post("/backup", headers=api.key).json()["id"])


def excused(api: Api, name: str) -> str:
    """Makes a negative trust anchor."""
    api.client.post("/dnssec/negative-anchors", json={"name": name}, headers=api.key)
    return name


def reloading(api: Api) -> str:
    """Gives the resolver a security module to load from."""
    with_hsm(api).state_keys = api.store.keys  # other ones would be an entry of their own
    return "/hsm/reload"


WAITING: list[str] = []
"""Tokens of changes that waited for their confirmation, the newest last."""


def waiting(path: str) -> Callable[[Api, str], str]:
    """Makes a change that waits, instead of the one that waits already, and gives the path."""

    def made(api: Api, _name: str) -> str:
        with contextlib.suppress(NothingToConfirm):
            api.changes.take_back(Change("a test", "the next one waits"))
        plan = Plan((overlay.setting("verbosity", ["3"]),))
        result = api.changes.edit(Change("a test", "it waits"), lambda _view: plan, confirm_within=60)
        assert isinstance(result, Edited)
        assert result.confirm is not None
        WAITING.append(result.confirm)
        return path

    return made


def recorded(api: Api, name: str) -> tuple[str, int]:
    """Makes a local record, and gives its name and id."""
    body = {"name": name, "type": "TXT", "value": f"made-{api.store.revision}"}
    return name, api.client.post("/dns", json=body, headers=api.key).json()["id"]


def blocked(api: Api, name: str) -> tuple[str, int]:
    """Blocks a name, and gives it and the id."""
    return name, api.client.post("/blacklist", json={"name": name}, headers=api.key).json()["id"]


def said_upstream(api: Api) -> str:
    """Adds an upstream server, and gives its id."""
    made = api.client.post("/upstreams", json={"address": "192.0.2.78"}, headers=api.key).json()
    return str(made["id"])


def nearby_upstream(api: Api) -> str:
    """Adds one that answers at once that nobody is there, and gives its id."""
    made = api.client.post("/upstreams", json={"address": "127.0.0.1", "port": 9}, headers=api.key).json()
    return str(made["id"])


ACCESS: dict[str, Row] = {
    "GET /health": Row("open"),
    "GET /help": Row("open"),
    "GET /stats": Row("read"),
    "GET /stats/stream": Row("read", endless=True),
    "GET /stats/top-domains": Row("read"),
    "GET /stats/history": Row("read"),
    "GET /clients": Row("operator"),
    "GET /clients/{client}": Row("operator", path=lambda _api, _name: "/clients/192.0.2.7"),
    "GET /logs": Row("operator"),
    "GET /logs/stream": Row("operator", endless=True),
    "DELETE /logs": Row("admin", query="?client=192.0.2.7"),
    "GET /metrics": Row("read"),
    "GET /system": Row("read"),
    "GET /upstreams": Row("read"),
    "GET /upstreams/{id}": Row("read", path=lambda api, _: "/upstreams/" + upstream(api)),
    "GET /upstreams/presets": Row("read"),
    "POST /upstreams": Row("operator", {"address": "192.0.2.77"}, query="?dry_run=1"),
    "PATCH /upstreams/{id}": Row(
        "operator", {"enabled": True}, path=lambda api, _: "/upstreams/" + said_upstream(api), query="?dry_run=1"
    ),
    "DELETE /upstreams/{id}": Row(
        "operator", path=lambda api, _: "/upstreams/" + said_upstream(api), query="?dry_run=1&zone=1"
    ),
    "POST /upstreams/{id}/probe": Row("operator", path=lambda api, _: f"/upstreams/{nearby_upstream(api)}/probe"),
    "POST /upstreams/reconnect": Row("operator"),
    "GET /resolution": Row("read"),
    "PUT /resolution": Row("operator", {"mode": "full-recursion"}),
    "GET /dns": Row("read", zoned=True, named=False),
    "POST /dns": Row(
        "dns", lambda name: {"name": name, "type": "A", "value": "192.0.2.1"}, zoned=True, query="?dry_run=1"
    ),
    "DELETE /dns": Row("dns", path=lambda api, name: f"/dns?name={recorded(api, name)[0]}", zoned=True, status=204),
    "POST /dns/bulk": Row("dns", lambda name: {"name": name, "type": "A", "value": "192.0.2.1"}, zoned=True),
    "GET /dns/export": Row("read", zoned=True, named=False),
    "GET /dns/{id}": Row("read", path=lambda api, name: f"/dns/{recorded(api, name)[1]}", zoned=True),
    "PUT /dns/{id}": Row(
        "dns",
        lambda name: {"name": name, "type": "A", "value": "192.0.2.2"},
        path=lambda api, name: f"/dns/{recorded(api, name)[1]}",
        zoned=True,
        query="?dry_run=1",
    ),
    "DELETE /dns/{id}": Row("dns", path=lambda api, name: f"/dns/{recorded(api, name)[1]}", zoned=True, status=204),
    "GET /blacklist": Row("read", zoned=True, named=False),
    "POST /blacklist": Row("dns", lambda name: {"name": name}, zoned=True, query="?dry_run=1"),
    "DELETE /blacklist": Row(
        "dns", path=lambda api, name: f"/blacklist?name={blocked(api, name)[0]}", zoned=True, status=204
    ),
    "POST /blacklist/bulk": Row("dns", lambda name: {"name": name}, zoned=True),
    "GET /blacklist/export": Row("read", zoned=True, named=False),
    "GET /blacklist/{id}": Row("read", path=lambda api, name: f"/blacklist/{blocked(api, name)[1]}", zoned=True),
    "DELETE /blacklist/{id}": Row(
        "dns", path=lambda api, name: f"/blacklist/{blocked(api, name)[1]}", zoned=True, status=204
    ),
    "GET /cache/stats": Row("read"),
    "POST /cache/flush": Row("operator", {"what": "negative"}),
    "GET /cache/dump": Row("operator"),
    "POST /cache/load": Row("operator", content=b"START_RRSET_CACHE\nEND_RRSET_CACHE\nEOF\n"),
    "POST /dns/lookup": Row("read", lambda name: {"name": name}, zoned=True),
    "POST /dns/explain": Row("read", lambda name: {"name": name}, zoned=True),
    "GET /dnssec": Row("read"),
    "GET /dnssec/anchors": Row("read"),
    "GET /dnssec/negative-anchors": Row("read"),
    "POST /dnssec/negative-anchors": Row("operator", {"name": "example.com"}, status=201),
    "DELETE /dnssec/negative-anchors/{name}": Row(
        "operator", path=lambda api, name: f"/dnssec/negative-anchors/{excused(api, name)}", status=204
    ),
    "GET /config": Row("read"),
    "PATCH /config": Row("operator", {"server": {"verbosity": 3}}),
    "GET /config/diff": Row("read"),
    "GET /config/export": Row("operator"),
    "GET /config/history": Row("read"),
    "GET /config/history/{revision}": Row("read", path=lambda _api, _name: "/config/history/1"),
    "POST /config/rollback/{revision}": Row("operator", path=lambda _api, _name: "/config/rollback/1"),
    "POST /config/confirm": Row("operator", lambda _name: {"token": WAITING[-1]}, path=waiting("/config/confirm")),
    "POST /config/revert": Row("operator", lambda _name: {"token": WAITING[-1]}, path=waiting("/config/revert")),
    "POST /reload": Row("operator"),
    "GET /roles": Row("anybody", zoned=True, named=False),
    "GET /users": Row("admin"),
    "GET /users/me": Row("anybody", zoned=True, named=False),
    "GET /users/{id}": Row("admin", path=lambda api, name: f"/users/{user(api, name)}"),
    "POST /users": Row("admin", {"name": "new", "role": "read"}, query="?dry_run=1"),
    "PATCH /users/{id}": Row("admin", {"disabled": True}, path=lambda api, name: f"/users/{user(api, name)}"),
    "DELETE /users/{id}": Row("admin", path=lambda api, name: f"/users/{user(api, name)}", status=204),
    "GET /audit/tail": Row("admin"),
    "GET /backup": Row("admin"),
    "POST /backup": Row("admin", status=201),
    "GET /backup/{id}": Row("admin", path=lambda api, _name: f"/backup/{backup(api)}"),
    "DELETE /backup/{id}": Row("admin", path=lambda api, _name: f"/backup/{backup(api)}", status=204),
    "GET /backup/export": Row("admin", path=lambda api, _name: f"/backup/export?id={backup(api)}"),
    "POST /backup/import": Row("admin", content=exported(), status=201),
    "POST /backup/restore": Row("admin", {"id": "20261123T211500Z-r1"}, query="?dry_run=1", status=404),
    "POST /audit/verify": Row("admin"),
    "GET /hsm": Row("operator"),
    "POST /hsm/reload": Row("admin", path=lambda api, _: reloading(api)),
    "POST /users/{id}/rotate-key": Row("admin", {}, path=lambda api, name: f"/users/{user(api, name)}/rotate-key"),
    "POST /rotate-key": Row("admin"),
}
"""Method and path of every route, without the prefix. Everybody may rotate the key that is their own: `test_users`."""


def upstream(api: Api) -> str:
    """The id of an upstream server."""
    found: str = api.client.get("/upstreams", headers=api.key).json()["items"][0]["id"]
    return found
