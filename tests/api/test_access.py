"""Every route, every role, with and without zones: who is let in, who is refused, and how."""

import itertools
import json
from typing import Any

import pytest

from runbound.api import app
from runbound.ops.users import RANKS, ROLES, ZONED, Role
from support.access import ACCESS, INSIDE, OUTSIDE, Row
from support.api import Api

ROUTES = {f"{method} {route.path_format}" for route in app._resources() for method in route.methods or ()}
CALLERS: list[tuple[Role, tuple[str, ...]]] = [
    *((role, ()) for role in ROLES),
    *((role, ("home.arpa",)) for role in ZONED),
]


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(ACCESS) == ROUTES, "say in tests/support/access.py who may call it"


def keys(api: Api) -> list[tuple[Role, tuple[str, ...], dict[str, str]]]:
    """A caller for each role and scope."""
    found: list[tuple[Role, tuple[str, ...], dict[str, str]]] = []
    for number, (role, zones) in enumerate(CALLERS):
        body = {"name": f"caller-{number}", "role": role, "zones": list(zones)}
        secret = api.client.post("/users", json=body, headers=api.key).json()["secret"]
        found.append((role, zones, {"Authorization": f"Bearer {secret}"}))
    return found


def ask(api: Api, title: str, headers: dict[str, str], name: str = INSIDE, prefix: str = "") -> Any:
    """What the call answers, made as the row says."""
    row, (method, path) = ACCESS[title], title.split(" ")
    if row.path is not None:
        path = row.path(api, name)
    body = row.body(name) if callable(row.body) else row.body
    more: dict[str, Any] = {} if body is None else {"json": body}
    if row.content is not None:
        more = {"content": row.content}
    asked = "HEAD" if row.endless else method
    return api.client.request(asked, prefix + path + row.query, headers=headers, **more)


def refusal(row: Row, role: Role, zones: tuple[str, ...], name: str) -> tuple[int, str] | None:
    """How this caller is refused; None if not."""
    if row.least in RANKS and RANKS.index(role) < RANKS.index(row.least):
        return 403, "FORBIDDEN"
    if zones and row.least != "open" and (not row.zoned or (row.named and name == OUTSIDE)):
        return 403, "OUT_OF_ZONE"
    return None


@pytest.mark.parametrize("title", sorted(ROUTES))
def test_who_may_call(api: Api, title: str) -> None:
    row = ACCESS[title]
    for prefix in ("", "/api/v1"):
        stranger = ask(api, title, {}, prefix=prefix)
        assert (stranger.status_code == 401) == (row.least != "open"), stranger.text
    for (role, zones, headers), name in itertools.product(keys(api), (INSIDE, OUTSIDE)):
        answer = ask(api, title, headers, name)
        refused = refusal(row, role, zones, name)
        if refused is None:
            assert answer.status_code == row.status, (role, zones, name, answer.text)
        elif row.endless:
            assert answer.status_code == refused[0]
        else:
            assert (answer.status_code, answer.json()["code"]) == refused, (role, zones, name)


def test_the_document_says_who_may_call(api: Api) -> None:
    paths = api.client.get("/api/v1/openapi.json").json()["paths"]
    listed = {(row["method"], row["path"]): row for row in api.client.get("/help").json()["resources"]}
    for title, row in ACCESS.items():
        method, path = title.split(" ")
        told = listed[method, f"/api/v1{path}"]
        scopes = paths[f"/api/v1{path}"][method.lower()].get("security", [{"bearer": []}])[0]["bearer"]
        least = "anybody" if title == "POST /users/{id}/rotate-key" else row.least
        assert told["role"] == (None if least == "open" else least), title
        assert told["needs_key"] == (least != "open"), title
        assert [scope for scope in scopes if scope != "zones"] == ([] if least == "open" else [least]), title
        assert "zones" in scopes or not row.zoned or least == "anybody", title


@pytest.mark.parametrize("title", sorted(title for title in ROUTES if not title.startswith("GET")))
def test_a_changing_call_is_written_down_once(api: Api, title: str) -> None:
    row, (method, path) = ACCESS[title], title.split(" ")
    where = path if row.path is None else row.path(api, INSIDE)
    body = row.body(INSIDE) if callable(row.body) else row.body
    more: dict[str, Any] = {} if body is None else {"json": body}
    if row.content is not None:
        more = {"content": row.content}
    lines, calls = len(api.store.audit_after(0, 1000)), len(api.trail.entries)
    answer = api.client.request(method, where + row.query, headers=api.key, **more)
    assert answer.status_code == row.status, answer.text
    events = [json.loads(line) for _, line in api.store.audit_after(0, 1000)[lines:]]
    found = [(line["event"], line["actor"], line["fields"]) for line in events] + api.trail.entries[calls:]
    if row.least == "read":
        assert found == [], "a question changes nothing"
        return
    [(event, actor, fields)] = found
    assert (actor, fields["method"], fields["path"]) == ("api-key", method, where.partition("?")[0])
    assert event != "api.call" or fields["status"] == row.status
    assert (event == "key.rotate") == ("rotate-key" in title)
