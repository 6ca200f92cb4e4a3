"""`/config`: what is in effect, and how it came to be so."""

from functools import partial

from runbound.ops.change import Change
from runbound.ops.view import Plan
from runbound.state.entries import Edit
from support.api import Api


def test_the_history_tells_who_and_why(api: Api) -> None:
    for name in ("ann", "bob", "cid"):
        plan = Plan((Edit("user", name.encode(), f'{{"name":"{name}"}}'),))
        api.changes.edit(Change(name, f"for {name}"), partial(lambda found, _view: found, plan))
    items = api.client.get("/api/v1/config/history?limit=2", headers=api.key).json()["items"]
    assert [(item["revision"], item["actor"], item["reason"]) for item in items] == [
        (4, "cid", "for cid"),
        (3, "bob", "for bob"),
    ]
    assert items[0]["summary"] == {"user": {"added": 1}}
    older = api.client.get("/api/v1/config/history?before=3", headers=api.key).json()["items"]
    assert [item["revision"] for item in older] == [2, 1]


def test_users_are_shown_to_admins_alone(api: Api) -> None:
    made = api.client.post("/users", json={"name": "anna", "role": "operator"}, headers=api.key).json()
    path = f"/config/history/{made['revision']}"
    told = api.client.get(path, headers=api.key).json()
    assert (told["diff"], told["more"]) == (["+ user anna operator"], 0)
    told = api.client.get(path, headers={"Authorization": f"Bearer {made['secret']}"}).json()
    assert (told["diff"], told["more"]) == ([], 0)
