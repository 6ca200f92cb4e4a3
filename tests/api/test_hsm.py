"""`/hsm`: what the security module is, and its keys loaded anew: all of them, or none."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runbound import engine
from runbound.config.diagnostics import Diagnostic
from runbound.keys.messages import Failure
from runbound.ops.candidate import Candidate
from runbound.state.directory import StateUnusableError
from runbound.state.verify import verify
from support.control import WHERE
from support.hsm import with_hsm
from support.stores import keys

if TYPE_CHECKING:
    from support.api import Api


def folder(api: Api) -> Path:
    return Path(api.store.path).parent


def test_without_one(api: Api) -> None:
    told = api.client.get("/hsm", headers=api.key).json()
    assert (told["used"], told["ok"], told["keys"], told["mode"]) == (False, False, [], None)
    refused = api.client.post("/hsm/reload", headers=api.key)
    assert (refused.status_code, refused.json()["code"]) == (409, "HSM_NOT_USED")
    assert "hsm-pkcs11-lib" in refused.json()["detail"]


def test_what_it_is(api: Api) -> None:
    with_hsm(api)
    told = api.client.get("/hsm", headers=api.key).json()
    assert (told["used"], told["ok"], told["token"]["label"]) == (True, True, "runbound")
    assert told["origins"]["api"] == "hsm extract runbound-api-key"


def test_a_new_store_key_codes_the_state_anew(api: Api) -> None:
    hsm = with_hsm(api)
    api.client.post("/backup", headers=api.key)
    made = api.client.post("/dns", json={"name": "nas", "type": "A", "value": "192.0.2.1"}, headers=api.key).json()
    answer = api.client.post("/hsm/reload?reason=rotation", headers=api.key)
    assert answer.status_code == 200
    told = answer.json()
    assert [(one["role"], one["changed"]) for one in told["keys"]] == [
        ("api", None),
        ("store", True),
        ("audit", False),
    ]
    assert told["keys"][1]["after"] == "hsm extract runbound-store-key-v2"
    assert told["state"]["backups"] == 1
    assert told["state"]["entries"] >= 1
    assert len(hsm.committed) == 1
    assert verify(str(folder(api)), hsm.state_keys, engine).faults == ()
    assert verify(str(folder(api)), keys(), engine).faults
    assert api.client.get(f"/dns/{made['id']}", headers=api.key).json()["value"] == "192.0.2.1"
    assert api.client.post("/dns", json={"name": "b", "type": "A", "value": "192.0.2.2"}, headers=api.key).is_success
    [(event, _actor, fields)] = [entry for entry in api.trail.entries if entry[0] == "hsm.reload"]
    assert (event, fields["result"], fields["reason"]) == ("hsm.reload", "done", "rotation")
    assert json.dumps(fields)


def test_backups_are_proven_under_the_new_key(api: Api) -> None:
    hsm = with_hsm(api)
    kept = api.client.post("/backup", headers=api.key).json()["id"]
    api.client.post("/hsm/reload", headers=api.key)
    backups = api.context.backups
    assert backups is not None
    assert backups.backups.proven(kept).id == kept
    assert not list(folder(api).glob("backups/*.next"))
    hsm.state_keys = keys(b"v3" * 16)
    assert api.client.post("/hsm/reload", headers=api.key).json()["state"]["backups"] == 1
    assert backups.backups.proven(kept).id == kept


def test_an_audit_key_too(api: Api) -> None:
    hsm = with_hsm(api)
    hsm.state_keys = keys(b"v2" * 16, b"a2" * 16)
    told = api.client.post("/hsm/reload", headers=api.key).json()
    assert told["keys"][2]["changed"]
    assert Path(told["state"]["audit_log"]).read_text().count("\n") > 1
    items = api.client.get("/audit/tail", headers=api.key).json()["items"]
    assert items
    assert all(item["genuine"] for item in items)
    assert api.client.post("/audit/verify", headers=api.key).json()["ok"]


@pytest.mark.parametrize(
    "asked", [{"params": {"dry_run": "1"}}, {"json": {"dry_run": True}}, {"json": {"dry_run": True, "reason": "try"}}]
)
def test_a_dry_run_loads_and_forgets(api: Api, asked: dict[str, Any]) -> None:
    hsm = with_hsm(api)
    told = api.client.post("/hsm/reload", headers=api.key, **asked).json()
    assert (told["dry_run"], told["state"], told["keys"][1]["changed"]) == (True, None, True)
    assert len(hsm.prepared) == 1
    assert hsm.committed == []
    assert verify(str(folder(api)), keys(), engine).faults == ()


def test_a_body_that_says_something_else_is_refused(api: Api) -> None:
    hsm = with_hsm(api)
    bodies: list[object] = [{"dryrun": True}, {"dry_run": "perhaps"}, [], "x"]
    for body in bodies:
        answer = api.client.post("/hsm/reload", headers=api.key, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert hsm.committed == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(kind="login-pin", function="C_Login", code=0xA0, name="CKR_PIN_INCORRECT"), (422, "HSM_REFUSED")),
        (Failure(kind="label-absent", labels=["runbound-store-key"]), (422, "HSM_REFUSED")),
        (Failure(kind="timeout", function="C_OpenSession"), (503, "HSM_UNAVAILABLE")),
        (Failure(kind="crashed", function="C_Initialize"), (503, "HSM_UNAVAILABLE")),
    ],
)
def test_what_the_module_refuses_changes_nothing(api: Api, failure: Failure, code: tuple[int, str]) -> None:
    hsm = with_hsm(api)
    hsm.failure = failure
    answer = api.client.post("/hsm/reload", headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == code
    told = answer.json()["hsm"]
    assert (told["kind"], told.get("function")) == (failure.kind, failure.function)
    assert told["fix"]
    assert hsm.committed == []
    assert verify(str(folder(api)), keys(), engine).faults == ()
    assert [fields["result"] for event, _, fields in api.trail.entries if event == "hsm.reload"] == ["refused"]


def test_a_state_that_cannot_be_written_keeps_all_keys(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    hsm = with_hsm(api)

    def full(*_given: object, **_more: object) -> None:
        raise StateUnusableError("the disk is full, nothing was changed", fix="make room")

    monkeypatch.setattr(api.store, "rekey", full)
    api.client.post("/backup", headers=api.key)
    answer = api.client.post("/hsm/reload", headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == (503, "STATE_UNAVAILABLE")
    assert "the disk is full" in answer.json()["detail"]
    assert hsm.committed == []
    assert not list(folder(api).glob("backups/*.next"))


def test_a_broken_file_is_told_with_its_places(api: Api) -> None:
    with_hsm(api)
    finding = Diagnostic("error", WHERE.file, WHERE.line, 1, 1, "hsm-mode: no such mode", None)
    api.source.next = Candidate(api.changes.running.config, (finding,))
    answer = api.client.post("/hsm/reload", headers=api.key)
    assert (answer.status_code, answer.json()["code"]) == (422, "CONFIG_INVALID")
    assert answer.json()["diagnostics"][0]["message"] == "hsm-mode: no such mode"


def test_one_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    hsm = with_hsm(api)
    begun, go_on = threading.Event(), threading.Event()
    prepare = hsm.prepare

    def slow(config: object) -> object:
        begun.set()
        go_on.wait(30)
        return prepare(config)  # type: ignore[arg-type]

    monkeypatch.setattr(hsm, "prepare", slow)
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(api.client.post("/hsm/reload", headers=api.key).status_code))
    first.start()
    assert begun.wait(30)
    second = api.client.post("/hsm/reload", headers=api.key)
    assert (second.status_code, second.json()["code"]) == (409, "HSM_BUSY")
    go_on.set()
    first.join(30)
    assert answers == [200]
