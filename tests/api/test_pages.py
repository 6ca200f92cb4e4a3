"""The page of the API's documentation: everything from here, nothing inline, open to everybody."""

import re

import pytest

from runbound.api import assets
from support.api import Api


def test_page_and_what_it_loads_come_from_here(api: Api) -> None:
    page = api.client.get("/api/v1/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "'unsafe" not in page.headers["content-security-policy"]
    loads = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {name for name in loads if name.startswith("docs/")} == {f"docs/{name}" for name in assets.FILES}
    assert [name for name in loads if not name.startswith("docs/")] == ["openapi.json"]
    for name in loads:
        assert api.client.get(f"/api/v1/{name}").status_code == 200


@pytest.mark.parametrize("name", ["docs.html", "nothing.js", "..%2fassets.py", "%2e%2e/assets.py"])
def test_nothing_else_of_the_disk(api: Api, name: str) -> None:
    answer = api.client.get(f"/api/v1/docs/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_other_methods_are_told_which_there_are(api: Api) -> None:
    answer = api.client.post("/api/v1/docs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
