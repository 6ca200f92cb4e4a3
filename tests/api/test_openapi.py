"""The OpenAPI document as a generator of clients reads it."""

import re

from support.api import Api


def test_names_are_fit_for_generated_code(api: Api) -> None:
    document = api.client.get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    names = list(document["components"]["schemas"])
    assert [name for name in names if not re.fullmatch("[A-Z][A-Za-z0-9]*", name)] == []
    calls = [call for methods in document["paths"].values() for call in methods.values()]
    ids = [call["operationId"] for call in calls]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch("[a-z][a-z0-9_]*", name)] == []


def test_every_group_is_described_and_every_call_says_what_it_does(api: Api) -> None:
    document = api.client.get("/api/v1/openapi.json").json()
    described = {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for call in methods.values():
            assert set(call["tags"]) <= described, path
            assert call["summary"], path
            assert call["responses"].keys() & {"200", "201", "204"}, path


def test_a_word_in_the_place_of_an_id_has_its_own_methods(api: Api) -> None:
    answer = api.client.get("/api/v1/dns/bulk", headers=api.key)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert api.client.get("/api/v1/dns/word", headers=api.key).json()["code"] == "VALIDATION_FAILED"


def test_what_may_be_unchanged_says_so(api: Api) -> None:
    document = api.client.get("/api/v1/openapi.json").json()
    for methods in document["paths"].values():
        for call in methods.values():
            asks = any(parameter["name"] == "if-none-match" for parameter in call.get("parameters", ()))
            assert ("304" in call["responses"]) == asks, call["operationId"]
