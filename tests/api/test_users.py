"""Users and their keys: made, shown once, kept as digests, limited, changed, dead when they should be."""

import json
import time
from typing import Any

import pytest

from runbound.api.limits import FREE_FAILURES
from runbound.ops import users
from runbound.ops.change import Change
from runbound.ops.view import Plan
from runbound.state.database import StateTamperedError
from runbound.state.entries import Edit, canonical
from support.api import Api, FakeKeyFile


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def post(api: Api, path: str, body: object = None, key: str | None = None, **more: Any) -> Any:
    return api.client.post(path, json=body, headers=bearer(key) if key else api.key, **more)


def made(api: Api, name: str = "anna", role: str = "read", **more: object) -> dict[str, Any]:
    """A new user, as the API shows it with its key."""
    answer = post(api, "/users", {"name": name, "role": role, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def me(api: Api, secret: str) -> Any:
    return api.client.get("/users/me", headers=bearer(secret))


def test_a_user_is_made_and_the_key_is_shown_this_once(api: Api) -> None:
    before = int(time.time())
    answer = post(api, "/users", {"name": "anna", "role": "dns", "zones": ["Home.Arpa", "bücher.example"]})
    assert answer.status_code == 201
    user = answer.json()
    secret = user.pop("secret")
    assert secret.startswith(f"rb_{user['id']}_")
    assert user["zones"] == ["home.arpa.", "xn--bcher-kva.example."]
    assert before <= user["key"]["created"] <= time.time()
    assert user["key"]["expires"] is None
    assert answer.headers["etag"] == f'"r{user["revision"]}-{user["id"]}"'
    assert me(api, secret).json() == {
        "id": user["id"],
        "name": "anna",
        "role": "dns",
        "zones": ["home.arpa.", "xn--bcher-kva.example."],
    }
    api.store.checkpoint()  # what is written without waiting stands before it
    shown = api.client.get(f"/users/{user['id']}", headers=api.key)
    listed = api.client.get("/users", headers=api.key)
    assert shown.json()["name"] == listed.json()["items"][0]["name"] == "anna"
    assert abs(shown.json()["key"]["last_used"] - before) < 5
    entry = api.store.get("user", b"anna")
    assert entry is not None
    kept = entry.doc["key"]
    for text in (shown.text, listed.text, str(api.store.rows), *(line for _, line in api.engine.lines)):
        assert secret.rsplit("_", 1)[1][:20] not in text
    for text in (shown.text, listed.text, answer.text):
        assert kept["hash"] not in text
        assert kept["salt"] not in text


def test_a_dry_run_makes_nobody_and_no_key(api: Api) -> None:
    answer = post(api, "/users?dry_run=1", {"name": "anna", "role": "read"})
    assert answer.status_code == 200
    assert answer.json()["summary"] == {"user": {"added": 1}}
    assert "rb_" not in answer.text
    assert api.store.count("user") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Anna", "role": "read"}, "body.name"),
        ({"name": "", "role": "read"}, "body.name"),
        ({"name": "a b", "role": "read"}, "body.name"),
        ({"name": "a\n", "role": "read"}, "body.name"),
        ({"name": "x" * 64, "role": "read"}, "body.name"),
        ({"name": "api-key", "role": "read"}, "body.name"),
        ({"name": "local", "role": "read"}, "body.name"),
        ({"name": "anna", "role": "root"}, "body.role"),
        ({"name": "anna", "role": "admin", "zones": ["example"]}, "body.zones"),
        ({"name": "anna", "role": "operator", "zones": ["example"]}, "body.zones"),
        ({"name": "anna", "role": "read", "zones": ["a..b"]}, "body.zones.0"),
        ({"name": "anna", "role": "read", "key_seconds": 1}, "body.key_seconds"),
        ({"name": "anna", "role": "read", "key": "mine"}, "body.key"),
    ],
)
def test_who_cannot_be_made(api: Api, body: dict[str, object], field: str) -> None:
    answer = post(api, "/users", body)
    assert code(answer) == (422, "VALIDATION_FAILED")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_name_is_given_once(api: Api) -> None:
    made(api)
    assert code(post(api, "/users", {"name": "anna", "role": "admin"})) == (409, "CONFLICT")


def test_there_is_an_end_of_users(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MAX_USERS", 2)
    made(api, "a"), made(api, "b")
    assert code(post(api, "/users", {"name": "c", "role": "read"})) == (409, "TOO_MANY_USERS")


def test_the_root_is_everywhere(api: Api) -> None:
    assert made(api, zones=["example", "."])["zones"] == []


def test_a_patch_holds_for_the_next_call(api: Api) -> None:
    user = made(api, role="dns", zones=["example"])
    path, secret = f"/users/{user['id']}", user["secret"]

    def patch(body: object, **headers: str) -> Any:
        return api.client.patch(path, json=body, headers={**api.key, **headers})

    assert patch({"disabled": True}).json()["disabled"] is True
    refused = me(api, secret)
    assert code(refused) == (401, "UNAUTHORIZED")
    assert refused.json()["detail"] == "this user is disabled"
    assert patch({"disabled": False}).status_code == 200
    assert me(api, secret).json()["role"] == "dns"
    assert code(patch({"role": "admin"})) == (409, "CONFLICT")
    changed = patch({"role": "admin", "zones": [], "comment": "on call"})
    assert changed.json()["comment"] == "on call"
    assert me(api, secret).json() == {"id": user["id"], "name": "anna", "role": "admin", "zones": []}
    assert patch({"comment": ""}).json()["comment"] == ""
    tag = patch({}).headers["etag"]
    assert code(patch({"role": "read"}, **{"If-Match": '"r1-1"'})) == (412, "PRECONDITION_FAILED")
    assert patch({"role": "read"}, **{"If-Match": tag}).status_code == 200
    assert code(api.client.get("/users", headers=bearer(secret))) == (403, "FORBIDDEN")
    assert me(api, secret).status_code == 200


def test_a_deleted_user_is_gone_with_the_key(api: Api) -> None:
    user = made(api)
    assert me(api, user["secret"]).status_code == 200
    assert api.client.delete(f"/users/{user['id']}?dry_run=1", headers=api.key).json()["diff"] == ["- user anna read"]
    assert me(api, user["secret"]).status_code == 200
    assert api.client.delete(f"/users/{user['id']}", headers=api.key).status_code == 204
    assert code(me(api, user["secret"])) == (401, "UNAUTHORIZED")
    assert code(api.client.get(f"/users/{user['id']}", headers=api.key)) == (404, "NOT_FOUND")
    assert code(api.client.delete(f"/users/{user['id']}", headers=api.key)) == (404, "NOT_FOUND")
    again = made(api)
    assert again["id"] != user["id"]
    assert code(me(api, user["secret"])) == (401, "UNAUTHORIZED")


def test_a_rotated_key_is_dead_and_the_new_one_lasts_as_long(api: Api) -> None:
    user = made(api, key_seconds=3600)
    path = f"/users/{user['id']}/rotate-key"
    rotated = post(api, path, {}, key=user["secret"]).json()
    assert rotated["secret"] != user["secret"]
    assert rotated["key"]["expires"] - rotated["key"]["created"] == 3600
    assert code(me(api, user["secret"])) == (401, "UNAUTHORIZED")
    assert me(api, rotated["secret"]).status_code == 200
    longer = post(api, path, {"key_seconds": 7200}).json()
    assert longer["key"]["expires"] - longer["key"]["created"] == 7200
    assert code(me(api, rotated["secret"])) == (401, "UNAUTHORIZED")
    tried = post(api, f"{path}?dry_run=1", {})
    assert tried.json()["summary"] == {"user": {"changed": 1}}
    assert me(api, longer["secret"]).status_code == 200


def test_others_rotate_nobodys_key_but_their_own(api: Api) -> None:
    anna, ben = made(api, "anna", "operator"), made(api, "ben")
    assert code(post(api, f"/users/{ben['id']}/rotate-key", {}, key=anna["secret"])) == (403, "FORBIDDEN")
    assert code(post(api, "/users/999/rotate-key", {})) == (404, "NOT_FOUND")
    assert me(api, ben["secret"]).status_code == 200


def test_a_key_ends(api: Api) -> None:
    user = made(api, key_seconds=60)
    entry = api.store.get("user", b"anna")
    assert entry is not None
    entry.doc["key"]["expires"] = int(time.time()) - 1
    plan = Plan((Edit("user", b"anna", canonical(entry.doc)),))
    api.changes.edit(Change("test", "time goes by"), lambda _view: plan)
    answer = me(api, user["secret"])
    assert code(answer) == (401, "UNAUTHORIZED")
    assert answer.json()["detail"].startswith("this key was good until 20")
    wrong = me(api, f"rb_{user['id']}_{'A' * 43}")
    assert "good until" not in wrong.text


@pytest.mark.parametrize(
    "shape", ["rb_{id}_{flip}", "rb_99_{secret}", "rb_{id}_{secret}x", "rb_-{id}_{secret}", "rb__"]
)
def test_nearly_a_key_is_none(api: Api, shape: str) -> None:
    user = made(api)
    secret = user["secret"].split("_", 2)[2]
    flip = ("A" if secret[0] != "A" else "B") + secret[1:]
    answer = me(api, shape.format(id=user["id"], secret=secret, flip=flip))
    assert code(answer) == (401, "UNAUTHORIZED")


def test_keys_of_users_are_braked_too(api: Api) -> None:
    user = made(api)
    for _ in range(FREE_FAILURES + 1):
        assert me(api, f"rb_{user['id']}_{'A' * 43}").status_code == 401
    assert code(me(api, user["secret"])) == (429, "TOO_MANY_FAILURES")


def test_pages_of_users(api: Api) -> None:
    for name in ("zoe", "anna", "ben", "api", "aziz"):
        made(api, name)
    api_key_rotated(api)
    names, cursor = [], ""
    for _ in range(3):
        page = api.client.get(f"/users?limit=2{cursor}", headers=api.key).json()
        assert page["total"] == 5
        names.append([user["name"] for user in page["items"]])
        cursor = f"&cursor={page['next']}"
    assert names == [["anna", "api"], ["aziz", "ben"], ["zoe"]]
    assert page["next"] is None
    tag = api.client.get("/users", headers=api.key).headers["etag"]
    assert api.client.get("/users", headers={**api.key, "If-None-Match": tag}).status_code == 304


def api_key_rotated(api: Api) -> None:
    """Leaves a dead API key in the state."""
    from runbound.api.apikey import Holder, KeyCheck
    from runbound.ops.outcome import Change

    Holder(KeyCheck("x" * 32), file=FakeKeyFile()).rotate(api.changes, Change("a test", ""))


def test_roles_and_me(api: Api) -> None:
    roles = api.client.get("/roles", headers=api.key).json()["roles"]
    assert [(role["role"], role["zones"]) for role in roles] == [
        ("read", True),
        ("dns", True),
        ("operator", False),
        ("admin", False),
    ]
    assert api.client.get("/users/me", headers=api.key).json() == {
        "id": None,
        "name": "api-key",
        "role": "admin",
        "zones": [],
    }


def test_a_change_is_its_own_audit_entry_and_other_calls_are_the_gates(api: Api) -> None:
    user = made(api, "anna", "operator")
    ((_, line),) = api.store.audit_after(0, 10)
    assert json.loads(line)["fields"]["path"] == "/users"
    assert api.trail.entries == []
    post(api, "/cache/flush", {"what": "negative"}, key=user["secret"])
    post(api, "/users", {"name": "ben", "role": "read"}, key=user["secret"])
    post(api, "/users?dry_run=1", {"name": "ben", "role": "read"})
    post(api, "/users", {"name": "anna", "role": "read"})
    post(api, "/dns/lookup", {"name": "example.com"})
    api.client.get("/users", headers=api.key)
    seen = [
        (event, actor, fields["method"], fields["path"], fields["status"]) for event, actor, fields in api.trail.entries
    ]
    assert seen == [
        ("api.call", "anna", "POST", "/cache/flush", 200),
        ("api.call", "anna", "POST", "/users", 403),
        ("api.call", "api-key", "POST", "/users", 200),
        ("api.call", "api-key", "POST", "/users", 409),
    ]


def test_wrong_keys_are_told_to_the_trail_without_the_key(api: Api) -> None:
    for _ in range(FREE_FAILURES + 1):
        me(api, "w" * 40)
    events = [event for event, _, _ in api.trail.entries]
    assert events == ["auth.failure"] * (FREE_FAILURES + 1) + ["auth.blocked"]
    assert api.trail.entries[0] == (
        "auth.failure",
        "stranger",
        {"address": "testclient", "why": "wrong key", "path": "/users/me"},
    )
    assert "w" * 40 not in str(api.trail.entries)


def test_a_user_whose_row_was_tampered_with_does_not_come_in(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = made(api)["secret"]

    def tampered(_kind: str, _id: int) -> None:
        raise StateTamperedError("the row of user 1 is not as it was written")

    monkeypatch.setattr(api.store, "by_id", tampered)
    assert code(me(api, secret)) == (500, "INTERNAL_ERROR")
    assert api.engine.said("the row of user 1 is not as it was written")
    assert api.client.get("/system", headers=api.key).status_code == 200
