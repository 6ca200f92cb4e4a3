"""`/dnssec`: what is trusted, and names excused from validation for a while. Over a fake engine."""

from typing import Any

import pytest

from runbound.api.routes.dnssec import HOUR, RECHECK, WEEK
from support.api import Api
from support.control import trusted


def get(api: Api, path: str) -> Any:
    response = api.client.get(path, headers=api.key)
    assert response.status_code == 200
    return response.json()


def post(api: Api, body: object) -> Any:
    return api.client.post("/dnssec/negative-anchors", headers=api.key, json=body)


def test_status(api: Api) -> None:
    api.engine.counters |= {"num.answer.secure": 5, "num.answer.bogus": 2}
    assert get(api, "/dnssec") == {
        "validating": True,
        "permissive": False,
        "trust_anchors": [".", "corp.example."],
        "negative_anchors": [],
        "insecure": ["lan."],
        "secure_answers": 5,
        "bogus_answers": 2,
    }


def test_anchors_with_the_states_of_their_keys(api: Api) -> None:
    root, corp = get(api, "/dnssec/anchors")["anchors"]
    assert root["follows"]["next_probe"] == 1_700_040_000
    assert [(key["tag"], key["state"]) for key in root["keys"]] == [(20326, "valid"), (38696, "pending")]
    assert (corp["follows"], corp["keys"][0]["since"]) == (None, None)


def test_rfc7646_2_1_a_negative_anchor_lasts_an_hour_unless_said_otherwise_and_never_more_than_a_week(api: Api) -> None:
    response = post(api, {"name": "Example.com"})
    assert response.status_code == 201
    assert response.json() == {
        "name": "example.com.",
        "since": 0,
        "until": HOUR,
        "recheck_seconds": RECHECK,
        "reason": "",
    }
    assert api.engine.said("negative trust anchor made actor=api-key name=Example.com. seconds=3600")
    assert post(api, {"name": "example.com", "seconds": WEEK}).status_code == 201
    for seconds in (0, -1, WEEK + 1):
        assert post(api, {"name": "example.com", "seconds": seconds}).json()["code"] == "VALIDATION_FAILED"


def test_a_negative_anchor_is_listed_and_ended(api: Api) -> None:
    assert post(api, {"name": "bücher.example", "reason": " keys rolled ", "recheck_seconds": 0}).status_code == 201
    (row,) = get(api, "/dnssec/negative-anchors")["negative_anchors"]
    assert (row["name"], row["reason"], row["recheck_seconds"]) == ("xn--bcher-kva.example.", "keys rolled", 0)
    gone = api.client.delete("/dnssec/negative-anchors/bücher.example", headers=api.key)
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.engine.said("negative trust anchor ended actor=api-key name=xn--bcher-kva.example.")
    again = api.client.delete("/dnssec/negative-anchors/bücher.example", headers=api.key)
    assert (again.status_code, again.json()["code"]) == (404, "NOT_FOUND")


def test_there_is_an_end_to_negative_anchors(api: Api) -> None:
    api.engine.full = True
    response = post(api, {"name": "example.com"})
    assert (response.status_code, response.json()["code"]) == (409, "TOO_MANY_NEGATIVE_ANCHORS")


@pytest.mark.parametrize("body", [{}, {"name": "a..b"}, {"name": "a", "until": 5}, {"name": "a", "reason": "x" * 201}])
def test_what_does_not_fit_is_refused(api: Api, body: object) -> None:
    assert post(api, body).status_code == 422


def test_a_resolver_that_does_not_validate_says_so(api: Api) -> None:
    api.engine.trusted = trusted(validating=False, anchors=[], insecure=[])
    found = get(api, "/dnssec")
    assert (found["validating"], found["trust_anchors"]) == (False, [])


@pytest.mark.parametrize("path", ["/dnssec", "/dnssec/anchors", "/dnssec/negative-anchors"])
def test_without_the_key_nothing_is_told(api: Api, path: str) -> None:
    assert api.client.get(path).status_code == 401
