"""Callers limited to zones: what they see of lists, and what they change by lists and by moving entries."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import Api

IN, OUT = "nas.home.arpa.", "www.example."
LOOKS_INSIDE = "x\\.home.arpa."
"""A child of arpa., whose first label has a dot in it."""


class Tenant:
    """An API with an entry inside and two outside of home.arpa, and a caller limited to home.arpa."""

    def __init__(self, api: Api, resource: str) -> None:
        self.api, self.resource = api, resource
        made = api.client.post(
            "/users", json={"name": "t", "role": "dns", "zones": ["home.arpa"]}, headers=api.key
        ).json()
        self.headers = {"Authorization": f"Bearer {made['secret']}"}
        self.ids = {name: self.post(name, api.key).json()["id"] for name in (IN, OUT, LOOKS_INSIDE)}

    def body(self, name: str, **more: object) -> dict[str, object]:
        record = {"type": "A", "value": "192.0.2.1"} if self.resource == "/dns" else {}
        return {"name": name, **record, **more}

    def post(self, name: str, headers: dict[str, str]) -> Any:
        return self.api.client.post(self.resource, json=self.body(name), headers=headers)

    def call(self, method: str, path: str, **more: Any) -> Any:
        return self.api.client.request(method, self.resource + path, headers=self.headers, **more)

    def names(self) -> list[str]:
        """All names that there are."""
        page = self.api.client.get(f"{self.resource}?origin=api", headers=self.api.key).json()
        return sorted(item["name"] for item in page["items"])


@pytest.fixture(params=["/dns", "/blacklist"])
def tenant(api: Api, request: pytest.FixtureRequest) -> Tenant:
    return Tenant(api, request.param)


def refused(answer: Any) -> bool:
    return (answer.status_code, answer.json()["code"]) == (403, "OUT_OF_ZONE")


@pytest.mark.parametrize("query", ["", "?under=.", "?under=arpa", "?limit=1", "?search=arpa", "?origin=api"])
def test_lists_hold_what_is_inside(tenant: Tenant, query: str) -> None:
    page = tenant.call("GET", query).json()
    assert [item["name"] for item in page["items"]] == [IN]
    assert page["next"] is None


@pytest.mark.parametrize("query", ["?under=example", "?under=www.example", "?search=example"])
def test_lists_of_what_is_outside_are_empty(tenant: Tenant, query: str) -> None:
    answer = tenant.call("GET", query)
    assert refused(answer) if answer.status_code != 200 else answer.json()["items"] == []


def test_a_cursor_of_others_leads_nowhere(tenant: Tenant) -> None:
    cursor = tenant.api.client.get(f"{tenant.resource}?limit=1&origin=api", headers=tenant.api.key).json()["next"]
    page = tenant.call("GET", f"?cursor={cursor}")
    assert OUT not in page.text
    assert "x\\\\.home" not in page.text


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_exports_hold_what_is_inside(tenant: Tenant, form: str) -> None:
    text = tenant.call("GET", f"/export?form={form}").text
    assert IN in text
    assert OUT not in text
    assert "x\\\\.home" not in text


def test_one_outside_is_neither_seen_nor_changed(tenant: Tenant) -> None:
    before = tenant.names()
    for name in (OUT, LOOKS_INSIDE):
        assert refused(tenant.call("GET", f"/{tenant.ids[name]}"))
        assert refused(tenant.call("DELETE", f"/{tenant.ids[name]}"))
        assert refused(tenant.call("DELETE", "", params={"name": name}))
        assert refused(tenant.post(name, tenant.headers))
        assert refused(tenant.post(f"sub.{name}", tenant.headers))
    assert tenant.names() == before


def test_nothing_is_moved_in_or_out(api: Api) -> None:
    tenant = Tenant(api, "/dns")
    assert refused(tenant.call("PUT", f"/{tenant.ids[IN]}", json=tenant.body(OUT, value="192.0.2.9")))
    assert refused(tenant.call("PUT", f"/{tenant.ids[OUT]}", json=tenant.body(IN, value="192.0.2.9")))
    assert tenant.call("PUT", f"/{tenant.ids[IN]}", json=tenant.body("b.home.arpa.")).status_code == 200
    assert tenant.names() == sorted(["b.home.arpa.", OUT, LOOKS_INSIDE])


@pytest.mark.parametrize("mode", ["add", "replace", "remove"])
def test_a_list_with_one_name_outside_changes_nothing(tenant: Tenant, mode: str) -> None:
    before = tenant.names()
    for name in (OUT, LOOKS_INSIDE, "arpa.", "."):
        listed = [tenant.body("new.home.arpa."), tenant.body(name)]
        answer = tenant.call("POST", f"/bulk?mode={mode}", json=listed)
        assert answer.status_code in ((403,) if name != "." else (403, 422)), answer.text
    assert tenant.names() == before


def test_replacing_replaces_what_is_inside(tenant: Tenant) -> None:
    answer = tenant.call("POST", "/bulk?mode=replace", json=[tenant.body("new.home.arpa.")])
    assert answer.status_code == 200, answer.text
    assert tenant.names() == sorted(["new.home.arpa.", OUT, LOOKS_INSIDE])
