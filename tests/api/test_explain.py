"""`/dns/explain` over a fake engine: what is asked, what is told, what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runbound.api.routes import explain
from support.api import Api
from support.control import link, step


def post(api: Api, body: object) -> Any:
    return api.client.post("/api/v1/dns/explain", headers=api.key, json=body)


def test_a_question_and_its_defaults(api: Api) -> None:
    body = post(api, {"name": "WWW.example", "type": "mx"}).json()
    assert api.engine.calls == ["explain WWW.example. TYPE15 127.0.0.1 False False"]
    assert (body["name"], body["type"], body["client"]) == ("WWW.example.", "MX", "127.0.0.1")
    assert (body["end"], body["status"], body["elapsed_ms"]) == ("answered", "NOERROR", 1.5)
    assert body["answers"][0]["data"] == "192.0.2.1"
    assert [found["room"] for found in body["steps"]] == ["access", "resolve"]
    assert body["steps"][1]["data"] == {"server": "192.0.2.1@53"}


def test_a_client_and_flags(api: Api) -> None:
    asked = {"name": "a", "client": "2001:db8::1", "checking_disabled": True, "fresh": True}
    assert post(api, asked).json()["client"] == "2001:db8::1"
    assert api.engine.calls == ["explain a. TYPE1 2001:db8::1 True True"]


def test_a_chain_of_trust(api: Api) -> None:
    signature = {"zone": ".", "tag": 4, "algorithm": 13, "algorithm_name": "ECDSAP256SHA256", "until": 1_800_000_000}
    ds = {"tag": 7, "algorithm": 8, "algorithm_name": "RSASHA256", "digest": 2, "digest_name": "SHA-256"}
    key = {**ds, "flags": 257, "bits": None, "named": True, "signed": True}
    del key["digest"], key["digest_name"]
    api.engine.explanation["chain"] = [
        link(ds=[ds], keys=[key]),
        link(name="a.", under=".", security="bogus", by="ds", reason="no DNSKEY"),
        link(name="www.a.", type="A", under="a.", by="key", signature=signature, wildcard="*.a."),
    ]
    chain = post(api, {"name": "a"}).json()["chain"]
    assert chain[0]["ds"] == [ds]
    assert chain[0]["keys"] == [key]
    assert chain[1]["reason"] == "no DNSKEY"
    assert chain[2]["signature"] == signature


@pytest.mark.parametrize(("end", "status"), [("dropped", None), ("open", None)])
def test_no_answer_is_no_error(api: Api, end: str, status: str | None) -> None:
    api.engine.explanation |= {"end": end, "told": None, "steps": [step(room="end", what="dropped")]}
    response = post(api, {"name": "a"})
    assert response.status_code == 200
    body = response.json()
    assert (body["end"], body["status"], body["answers"], body["security"]) == (end, status, [], "unchecked")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.name"),
        ({"name": "a..b"}, "body.name"),
        ({"name": "a", "type": "AXFR"}, "body.type"),
        ({"name": "a", "client": "localhost"}, "body.client"),
        ({"name": "a", "client": "10.0.0.0/8"}, "body.client"),
        ({"name": "a", "fresh": "perhaps"}, "body.fresh"),
        ({"name": "a", "flush": True}, "body.flush"),
    ],
)
def test_a_question_that_makes_no_sense_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    response = post(api, body)
    assert (response.status_code, response.json()["code"]) == (422, "VALIDATION_FAILED")
    fields = {error["field"] for error in response.json()["errors"]}
    assert {found.split(".")[1] for found in fields} == {field.split(".")[1]}
    assert api.engine.calls == []


def test_explanations_are_bounded_and_leave_room_for_others(api: Api) -> None:
    api.engine.release.clear()
    with ThreadPoolExecutor(explain.MAX_EXPLAINS) as pool:
        waiting = [pool.submit(post, api, {"name": "a"}) for _ in range(explain.MAX_EXPLAINS)]
        while len(api.engine.calls) < explain.MAX_EXPLAINS:
            threading.Event().wait(0.01)
        refused = post(api, {"name": "a"})
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_LOOKUPS")
        assert api.client.get("/stats", headers=api.key).status_code == 200
        api.engine.release.set()
        assert {done.result().status_code for done in waiting} == {200}
    assert post(api, {"name": "a"}).status_code == 200
