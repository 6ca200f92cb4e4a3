"""Pages and versions: the words that all lists share."""

from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import FastAPI, Path
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from runbound.api import etag, paging, problems
from runbound.api.etag import IfNew, IfSame
from runbound.api.paging import Items, Paged

KEYS = {number: f"{number:04}".encode() * (400 if number == 7 else 1) for number in range(25)}
"""A list of its own; the key of 7 is too long for a cursor."""


class Numbers(Items[int]):
    """A page of the list."""


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app, lambda _path: ["GET"])
    there = dict(KEYS)

    @app.get("/numbers")
    def numbers(page: Paged, news: IfNew) -> Numbers:
        news.show(etag.listing(len(there)))
        after = page.key(there.get)
        rows = sorted((key, number) for number, key in there.items() if after is None or key > after)[: page.limit]
        full = len(rows) == page.limit
        return Numbers(
            items=[number for _, number in rows],
            next=paging.cursor(rows[-1][0], rows[-1][1]) if full else None,
            total=len(there),
        )

    @app.delete("/numbers/{number}")
    def forget(number: Annotated[int, Path()], same: IfSame) -> None:
        same.hold(etag.entity(3, number))
        del there[number]

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(application()) as client:
        yield client


@pytest.mark.parametrize("limit", [1, 2, 7, 25, 26, 1000])
def test_pages_make_the_whole(client: TestClient, limit: int) -> None:
    found: list[int] = []
    cursor = None
    while True:
        query = {"limit": limit, **({} if cursor is None else {"cursor": cursor})}
        page = client.get("/numbers", params=query).json()
        assert page["total"] == 25
        assert len(page["items"]) <= limit
        found += page["items"]
        if (cursor := page["next"]) is None:
            break
        assert len(cursor) < paging.MAX_CURSOR
    assert sorted(found) == list(range(25))
    assert len(found) == 25


def test_a_page_whose_mark_has_gone_says_so(client: TestClient) -> None:
    cursor = paging.cursor(KEYS[7], 7)
    assert client.get("/numbers", params={"cursor": cursor}).status_code == 200
    client.delete("/numbers/7")
    gone = client.get("/numbers", params={"cursor": cursor})
    assert (gone.status_code, gone.json()["errors"][0]["field"]) == (422, "query.cursor")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=%21", "cursor=", "cursor=aQ", "cursor=aXg"]
)
def test_what_is_no_page_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/numbers?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")


@given(st.text(max_size=60))
def test_no_cursor_breaks_it(text: str) -> None:
    with TestClient(application()) as client:
        assert client.get("/numbers", params={"cursor": text}).status_code in (200, 422)


@pytest.mark.parametrize(
    ("tags", "status"),
    [('"r25"', 304), ('W/"r25"', 304), ('"r1", "r25"', 304), ("*", 304), ('"r24"', 200), ("r25", 200)],
)
def test_what_the_client_has_is_not_sent_again(client: TestClient, tags: str, status: int) -> None:
    answer = client.get("/numbers", headers={"If-None-Match": tags})
    assert answer.status_code == status
    assert answer.headers["ETag"] == '"r25"'
    assert (answer.content == b"") == (status == 304)


@pytest.mark.parametrize(
    ("tags", "status"), [('"r3-4"', 200), ("*", 200), ('"r2-4", "r3-4"', 200), ('"r2-4"', 412), ('W/"r3-4"', 412)]
)
def test_who_read_something_else_changes_nothing(client: TestClient, tags: str, status: int) -> None:
    answer = client.delete("/numbers/4", headers={"If-Match": tags})
    assert answer.status_code == status
    if status == 412:
        assert answer.json()["code"] == "PRECONDITION_FAILED"
        assert answer.headers["ETag"] == '"r3-4"'
