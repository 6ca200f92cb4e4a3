"""`/dns` and `/blacklist`: records and blocks as a client sees them, over a store in memory and Rust's own reading."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbound.api.bulk import SHARE, Cutter, paced
from runbound.api.entries import canonical
from runbound.api.problems import ProblemError
from runbound.engine import scan_text
from support.api import Api, configure, open_api
from support.reach import user_key

NAS = {"name": "nas.example", "type": "A", "value": "192.0.2.7"}


def post(api: Api, path: str, body: object, **query: Any) -> Any:
    return api.client.post(path, headers=api.key, json=body, params=query)


def get(api: Api, path: str, **query: Any) -> Any:
    return api.client.get(path, headers=api.key, params=query).json()


def add(api: Api, *lines: str) -> list[int]:
    """Records, each as name, type and data."""
    ids = []
    for line in lines:
        name, rtype, value = line.split(" ", 2)
        answer = post(api, "/dns", {"name": name, "type": rtype, "value": value})
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    return ids


def refused(answer: Any) -> set[str]:
    """The fields that a 422 names."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "VALIDATION_FAILED"), body
    return {error["field"] for error in body["errors"]}


def test_a_record_is_made_shown_and_removed(api: Api) -> None:
    made = post(api, "/dns", {**NAS, "comment": "in the cellar"})
    assert made.status_code == 201
    record = made.json()
    assert record == {
        "id": record["id"],
        "name": "nas.example.",
        "type": "A",
        "ttl": 3600,
        "value": "192.0.2.7",
        "comment": "in the cellar",
        "revision": 2,
        "origin": "api",
        "file": None,
        "line": None,
    }
    assert made.headers["ETag"] == f'"r2-{record["id"]}"'
    assert made.headers["X-Runbound-Revision"] == "2"
    assert get(api, f"/dns/{record['id']}") == record
    assert get(api, "/dns") == {"items": [record], "next": None, "total": 1}
    gone = api.client.delete(f"/dns/{record['id']}", headers=api.key)
    assert (gone.status_code, gone.content) == (204, b"")
    assert gone.headers["X-Runbound-Revision"] == "3"
    assert get(api, f"/dns/{record['id']}")["code"] == "NOT_FOUND"
    assert api.client.delete(f"/dns/{record['id']}", headers=api.key).status_code == 404


@pytest.mark.parametrize(
    "again",
    [NAS, {**NAS, "name": "NAS.Example."}, {**NAS, "type": "TYPE1"}, {**NAS, "value": "\\# 4 C0000207"}],
)
def test_the_same_content_is_the_same_record(api: Api, again: dict[str, Any]) -> None:
    first = post(api, "/dns", NAS)
    second = post(api, "/dns", again)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert api.store.revision == 2, "nothing has changed"
    third = post(api, "/dns", {**again, "ttl": 60})
    assert (third.status_code, third.json()["id"], third.json()["ttl"]) == (200, first.json()["id"], 60)


@pytest.mark.parametrize(
    ("rtype", "value", "shown"),
    [
        ("AAAA", "2001:DB8::0:1", "2001:db8::1"),
        ("CNAME", "Target.Example.", "Target.Example."),
        ("TXT", '"v=spf1 -all"', '"v=spf1 -all"'),
        ("MX", "10 mail.example.", "10 mail.example."),
        ("SRV", "0 5 5060 sip.example.", "0 5 5060 sip.example."),
        ("CAA", '0 issue "ca.example"', '0 issue "ca.example"'),
        ("PTR", "host.example.", "host.example."),
        ("NS", "ns.example.", "ns.example."),
        ("HTTPS", "1 . alpn=h2", None),
        ("TYPE65280", "\\# 2 ABCD", "\\# 2 ABCD"),
        ("PTR", "bücher.example.", "xn--bcher-kva.example."),
        ("MX", "10 bücher.example.", "10 xn--bcher-kva.example."),
    ],
)
def test_every_type_in_presentation_form(api: Api, rtype: str, value: str, shown: str | None) -> None:
    answer = post(api, "/dns", {"name": "all.example", "type": rtype, "value": value})
    assert answer.status_code == 201, answer.text
    assert shown is None or answer.json()["value"].lower() == shown.lower()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a..b"}, "body.name"),
        ({"name": "x" * 64}, "body.name"),
        ({"name": ""}, "body.name"),
        ({"type": "NOPE"}, "body.type"),
        ({"type": "ANY"}, "body.type"),
        ({"type": "AXFR"}, "body.type"),
        ({"value": "300.1.2.3"}, "body.value"),
        ({"value": ""}, "body.value"),
        ({"value": "192.0.2.7 192.0.2.8"}, "body.value"),
        ({"ttl": -1}, "body.ttl"),
        ({"ttl": 2**31}, "body.ttl"),
        ({"ttl": "60"}, "body.ttl"),
        ({"ttl": False}, "body.ttl"),
        ({"comment": "x" * 201}, "body.comment"),
        ({"other": 1}, "body.other"),
    ],
)
def test_what_is_no_record_is_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    assert refused(post(api, "/dns", {**NAS, **change})) == {field}
    assert api.store.revision == 1


def test_the_schema_of_a_comment_says_what_rust_says(api: Api) -> None:
    document = api.client.get("/api/v1/openapi.json").json()
    described = document["components"]["schemas"]["NewBlock"]["properties"]["comment"]["anyOf"][0]
    for number in (*range(0x100), 0x200B, 0x2028, 0xE000, 0x10FFFF):
        comment = f"a{chr(number)}b"
        try:
            canonical("block", {"name": "ads.example", "comment": comment})
            taken = True
        except ProblemError:
            taken = False
        assert taken is (re.search(described["pattern"], comment) is not None), hex(number)
    assert refused(post(api, "/blacklist", {"name": "b.example", "comment": "a\n"})) == {"body.comment"}
    assert post(api, "/blacklist", {"name": "b.example", "comment": "  kept short  "}).json()["comment"] == "kept short"


@pytest.mark.parametrize(("ttl", "kept"), [(0, 0), (1, 1), (86_400, 86_400), (86_401, 86_400), (2**31 - 1, 86_400)])
def test_lifetimes_are_capped(api: Api, ttl: int, kept: int) -> None:
    assert post(api, "/dns", {**NAS, "ttl": ttl}).json()["ttl"] == kept


def test_a_cname_stands_alone(api: Api) -> None:
    (first,) = add(api, "www.example CNAME host.example.")
    for value in ({**NAS, "name": "www.example"}, {"name": "www.example", "type": "CNAME", "value": "other.example."}):
        answer = post(api, "/dns", value)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert f"record {first}" in answer.json()["detail"]
    add(api, "a.www.example A 192.0.2.1", "host.example A 192.0.2.1")
    beside = post(api, "/dns", {"name": "host.example", "type": "CNAME", "value": "www.example."})
    assert beside.json()["code"] == "CONFLICT"
    put = api.client.put(
        f"/dns/{first}", headers=api.key, json={"name": "www.example", "type": "CNAME", "value": "x.example."}
    )
    assert put.status_code == 200, "it gives way to itself"


def test_put_keeps_the_id(api: Api) -> None:
    one, two = add(api, "one.example A 192.0.2.1", "two.example A 192.0.2.2")
    body = {"name": "three.example", "type": "AAAA", "value": "2001:db8::3", "ttl": 5}
    moved = api.client.put(f"/dns/{one}", headers=api.key, json=body)
    assert (moved.status_code, moved.json()["id"], moved.json()["name"]) == (200, one, "three.example.")
    assert [row["id"] for row in get(api, "/dns")["items"]] == [one, two]
    into = api.client.put(
        f"/dns/{one}", headers=api.key, json={"name": "two.example", "type": "A", "value": "192.0.2.2"}
    )
    assert (into.status_code, into.json()["code"]) == (409, "CONFLICT")
    assert api.client.put(f"/dns/{two + 5}", headers=api.key, json=body).status_code == 404


def test_who_read_something_else_changes_nothing(api: Api) -> None:
    (one,) = add(api, "one.example A 192.0.2.1")
    tag = api.client.get(f"/dns/{one}", headers=api.key).headers["ETag"]
    body = {"name": "one.example", "type": "A", "value": "192.0.2.9"}
    assert api.client.put(f"/dns/{one}", headers={**api.key, "If-Match": tag}, json=body).status_code == 200
    stale = api.client.put(f"/dns/{one}", headers={**api.key, "If-Match": tag}, json=body)
    assert (stale.status_code, stale.json()["code"]) == (412, "PRECONDITION_FAILED")
    assert api.client.delete(f"/dns/{one}", headers={**api.key, "If-Match": tag}).status_code == 412
    fresh = api.client.get(f"/dns/{one}", headers=api.key).headers["ETag"]
    unread = api.client.get(f"/dns/{one}", headers={**api.key, "If-None-Match": fresh})
    assert (unread.status_code, unread.content) == (304, b"")
    assert api.client.delete(f"/dns/{one}", headers={**api.key, "If-Match": fresh}).status_code == 204


def test_a_dry_run_changes_nothing_and_says_what_it_would(api: Api) -> None:
    would = post(api, "/dns", NAS, dry_run=1)
    assert would.status_code == 200
    assert would.json()["summary"] == {"record": {"added": 1}}
    assert would.json()["diff"] == ["+ record nas.example. 3600 A 192.0.2.7"]
    assert (api.store.revision, get(api, "/dns")["items"]) == (1, [])
    (one,) = add(api, "nas.example A 192.0.2.7")
    gone = api.client.delete(f"/dns/{one}?dry_run=1", headers=api.key)
    assert (gone.status_code, gone.json()["diff"]) == (200, ["- record nas.example. 3600 A 192.0.2.7"])
    assert gone.headers["X-Runbound-Revision"] == "2"
    assert get(api, "/dns")["total"] == 1


def test_the_reason_is_in_the_history(api: Api) -> None:
    post(api, "/dns", NAS, reason="the new disk")
    api.client.post("/dns", headers={**api.key, "X-Reason": "and its sister"}, json={**NAS, "value": "192.0.2.8"})
    assert [row.reason for row in api.store.journal(before=None, limit=2)] == ["and its sister", "the new disk"]
    assert refused(post(api, "/dns", NAS, reason="x" * 201)) == {"query.reason"}


def test_filters(api: Api) -> None:
    add(
        api,
        "example A 192.0.2.1",
        "example TXT hello",
        "www.example A 192.0.2.2",
        "xexample A 192.0.2.3",
        "a.b.www.example TXT deep",
        "other.test A 192.0.2.2",
    )

    def found(**query: str) -> list[str]:
        return [f"{row['name']} {row['type']}" for row in get(api, "/dns", **query)["items"]]

    assert found() == [
        "example. A",
        "example. TXT",
        "www.example. A",
        "a.b.www.example. TXT",
        "other.test. A",
        "xexample. A",
    ]
    assert found(name="example") == ["example. A", "example. TXT"]
    assert found(name="EXAMPLE.", type="TXT") == ["example. TXT"]
    assert found(under="example") == ["example. A", "example. TXT", "www.example. A", "a.b.www.example. TXT"]
    assert found(under="www.example") == ["www.example. A", "a.b.www.example. TXT"]
    assert found(under=".", type="a") == ["example. A", "www.example. A", "other.test. A", "xexample. A"]
    assert found(search="deep") == ["a.b.www.example. TXT"]
    assert found(name="www.example", under="example") == ["www.example. A"]
    assert found(name="www.example", under="test") == []


@pytest.mark.parametrize("query", [{}, {"under": "example"}, {"type": "A"}])
def test_pages_make_the_whole(api: Api, query: dict[str, str]) -> None:
    ids = add(api, *(f"h{number}.example A 192.0.2.{number}" for number in range(23)))
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = get(api, "/dns", limit=5, **query, **({"cursor": cursor} if cursor else {}))
        found += [row["id"] for row in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(found) == sorted(ids)


def test_a_record_with_much_data_does_not_stop_the_pages(api: Api) -> None:
    long = " ".join(f'"{"x" * 250}"' for _ in range(20))
    add(api, f"a.example TXT {long}", "b.example TXT short")
    page = get(api, "/dns", limit=1)
    assert page["items"][0]["name"] == "a.example."
    assert get(api, "/dns", limit=1, cursor=page["next"])["items"][0]["name"] == "b.example."


def test_the_limit_of_records(api: Api) -> None:
    add(api, *(f"h{number}.example A 192.0.2.1" for number in range(3)))
    configure(api, max_records=3)
    full = post(api, "/dns", NAS)
    assert (full.status_code, full.json()["code"]) == (422, "TOO_MANY_RECORDS")
    again = post(api, "/dns", {"name": "h0.example", "type": "A", "value": "192.0.2.1", "ttl": 9})
    assert again.status_code == 200, "what is there may change"


def with_file(api: Api, text: str) -> None:
    """The file in force says this."""
    scanned = scan_text(text.encode(), "/etc/runbound.conf", "/")
    api.changes._running = msgspec.structs.replace(api.changes.running, scan=scanned)


FILE = """server:
 local-zone: "ads.example" always_nxdomain
 local-data: "nas.example A 192.0.2.1"
 local-data: "nas.example TXT 'in the cellar'"
 local-zone: "home.arpa" static
 local-data-ptr: "192.0.2.9 printer.example"
 local-zone: "spy.example" always_null
"""


def test_what_the_file_says_is_listed_behind(api: Api) -> None:
    with_file(api, FILE)
    add(api, "z.example A 192.0.2.3")
    rows = get(api, "/dns")["items"]
    assert [(row["origin"], row["name"], row["line"]) for row in rows] == [
        ("api", "z.example.", None),
        ("file", "nas.example.", 3),
        ("file", "nas.example.", 4),
        ("file", "9.2.0.192.in-addr.arpa.", 6),
    ]
    assert (rows[1]["id"], rows[1]["value"], rows[1]["file"]) == (None, "192.0.2.1", "/etc/runbound.conf")
    assert [row["line"] for row in get(api, "/dns", origin="file", type="A")["items"]] == [3]
    assert [row["line"] for row in get(api, "/dns", name="nas.example")["items"]] == [3, 4]
    assert [row["line"] for row in get(api, "/dns", under="arpa")["items"]] == [6]
    assert [row["name"] for row in get(api, "/dns", origin="api")["items"]] == ["z.example."]
    blocks = get(api, "/blacklist")["items"]
    assert [(row["name"], row["action"], row["line"]) for row in blocks] == [
        ("ads.example.", "nxdomain", 2),
        ("spy.example.", "null", 7),
    ]
    assert [row["line"] for row in get(api, "/blacklist", action="null")["items"]] == [7]


def test_pages_go_on_into_the_file(api: Api) -> None:
    with_file(api, "server:\n" + "".join(f' local-data: "f{at}.example A 192.0.2.1"\n' for at in range(12)))
    add(api, *(f"a{at}.example A 192.0.2.1" for at in range(6)))
    found: list[str] = []
    cursor = None
    while True:
        page = get(api, "/dns", limit=4, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == 6
        found += [row["name"] for row in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(found) == sorted(f"{kind}{at}.example." for kind, many in (("a", 6), ("f", 12)) for at in range(many))


def test_what_the_file_says_cannot_be_removed(api: Api) -> None:
    with_file(api, FILE)
    gone = api.client.delete("/dns?name=nas.example&type=A", headers=api.key)
    assert (gone.status_code, gone.json()["code"]) == (409, "IN_FILE")
    assert "/etc/runbound.conf line 3" in gone.json()["detail"]
    unblocked = api.client.delete("/blacklist?name=spy.example", headers=api.key)
    assert (unblocked.status_code, unblocked.json()["code"]) == (409, "IN_FILE")
    assert "line 7" in unblocked.json()["detail"]
    missing = api.client.delete("/dns?name=nas.example&type=AAAA", headers=api.key)
    assert missing.json()["code"] == "NOT_FOUND"


def test_records_of_a_name_are_removed(api: Api) -> None:
    add(api, "n.example A 192.0.2.1", "n.example A 192.0.2.2", "n.example TXT x", "m.n.example A 192.0.2.1")

    def left() -> list[str]:
        return [f"{row['name']} {row['type']} {row['value']}" for row in get(api, "/dns")["items"]]

    def remove(query: str) -> int:
        return api.client.delete(f"/dns?{query}", headers=api.key).status_code

    assert remove("name=n.example&type=A&value=192.0.2.2") == 204
    assert left() == ["n.example. A 192.0.2.1", 'n.example. TXT "x"', "m.n.example. A 192.0.2.1"]
    assert remove("name=n.example&type=A&value=nowhere") == 404
    assert remove("name=n.example&type=TXT&dry_run=1") == 200
    assert remove("name=N.Example.") == 204
    assert left() == ["m.n.example. A 192.0.2.1"]


def bulk(api: Api, path: str, text: str, kind: str = "text/plain", **query: Any) -> Any:
    headers = {**api.key, "Content-Type": kind}
    return api.client.post(path, headers=headers, content=text.encode(), params=query)


ZONE = """$ORIGIN example.
$TTL 120
@ A 192.0.2.1
www 60 IN A 192.0.2.2
    AAAA 2001:db8::2 ; of the same name
bücher.example. TXT "books"
"""


def test_a_list_in_every_form(api: Api) -> None:
    made = bulk(api, "/dns/bulk", ZONE)
    assert made.status_code == 200, made.text
    counts = {"added": 4, "changed": 0, "removed": 0, "merged": 0, "received": 4, "dry_run": False}
    assert made.json() == {**counts, "revision": 2}
    assert made.headers["X-Runbound-Revision"] == "2"
    assert [(row["name"], row["ttl"]) for row in get(api, "/dns")["items"]] == [
        ("example.", 120),
        ("www.example.", 60),
        ("www.example.", 120),
        ("xn--bcher-kva.example.", 120),
    ]
    again = bulk(api, "/dns/bulk", ZONE).json()
    assert (again["added"], again["changed"], again["removed"]) == (0, 0, 0)
    whole = api.client.get("/dns/export?form=ndjson", headers=api.key).text
    gone = bulk(api, "/dns/bulk", whole, "application/x-ndjson", mode="remove").json()
    assert (gone["removed"], get(api, "/dns")["total"]) == (4, 0)
    rows = json.dumps([json.loads(line) for line in whole.splitlines()])
    assert bulk(api, "/dns/bulk", rows, "application/json").json()["added"] == 4
    assert api.client.get("/dns/export?form=ndjson", headers=api.key).text == whole


def test_a_list_replaces_what_is_there(api: Api) -> None:
    add(api, "keep.example A 192.0.2.1", "go.example A 192.0.2.1")
    kept = get(api, "/dns", name="keep.example")["items"][0]["id"]
    lines = "keep.example 60 A 192.0.2.1\nnew.example A 192.0.2.1\n"
    would = bulk(api, "/dns/bulk", lines, mode="replace", dry_run=1).json()
    assert (would["added"], would["changed"], would["removed"], would["dry_run"]) == (1, 1, 1, True)
    assert get(api, "/dns", name="go.example")["items"], "nothing has changed"
    made = bulk(api, "/dns/bulk", lines, mode="replace").json()
    assert (made["added"], made["changed"], made["removed"]) == (1, 1, 1)
    rows = get(api, "/dns")["items"]
    assert [(row["name"], row["ttl"]) for row in rows] == [("keep.example.", 60), ("new.example.", 3600)]
    assert rows[0]["id"] == kept


def test_a_list_with_errors_changes_nothing(api: Api) -> None:
    wrong = bulk(api, "/dns/bulk", "good.example A 192.0.2.1\nbad..example A 192.0.2.1\n\nbad.example A 192.0.2\n")
    body = wrong.json()
    assert (wrong.status_code, body["code"], get(api, "/dns")["total"]) == (422, "BULK_INVALID", 0)
    assert [error["line"] for error in body["errors"]] == [2, 4]
    many = bulk(api, "/blacklist/bulk", "a..b\n" * 150).json()
    assert (len(many["errors"]), many["detail"]) == (100, "150 errors")
    rows = [{"name": "a.example", "type": "A", "value": "192.0.2.1"}, {"name": "a.example", "type": "A", "data": "x"}]
    said = bulk(api, "/dns/bulk", json.dumps(rows), "application/json").json()["errors"]
    assert {error["line"] for error in said} == {2}


@pytest.mark.parametrize("kind", ["text/html", "", "application/xml"])
def test_a_list_has_a_type(api: Api, kind: str) -> None:
    assert refused(bulk(api, "/dns/bulk", "a A 192.0.2.1", kind)) == {"header.content-type"}


def test_names_are_blocked_by_lists(api: Api) -> None:
    text = "# a list\nads.example\n0.0.0.0 spy.example # a hosts file\n127.0.0.1 localhost\nwerbung-ü.example\n"
    assert bulk(api, "/blacklist/bulk", text, action="null").json()["added"] == 3
    rows = get(api, "/blacklist")["items"]
    assert {row["name"] for row in rows} == {"ads.example.", "spy.example.", "xn--werbung--e6a.example."}
    assert {row["action"] for row in rows} == {"null"}
    aside = bulk(api, "/blacklist/bulk", '{"name": "b.example", "action": "refuse"}', "application/json", action="null")
    assert aside.json()["added"] == 1
    assert get(api, "/blacklist", action="refuse")["items"][0]["name"] == "b.example."
    moved = bulk(api, "/blacklist/bulk", "ads.example", target="192.0.2.1").json()
    assert (moved["changed"], get(api, "/blacklist", action="redirect")["items"][0]["target"]) == (1, "192.0.2.1")
    assert refused(bulk(api, "/blacklist/bulk", "a", target="a..b")) == {"query.target"}
    aimless = bulk(api, "/blacklist/bulk", '[{"name": "a", "action": "redirect"}]', "application/json")
    assert aimless.json()["code"] == "BULK_INVALID"


def test_the_limit_of_a_list(api: Api) -> None:
    configure(api, max_blocks=3)
    full = bulk(api, "/blacklist/bulk", "a\nb\nc\nd\n")
    assert (full.status_code, full.json()["code"], get(api, "/blacklist")["total"]) == (422, "TOO_MANY_BLOCKS", 0)
    assert bulk(api, "/blacklist/bulk", "a\nb\nc\n").json()["added"] == 3
    assert bulk(api, "/blacklist/bulk", "a\nb\nc\n", action="null").json()["changed"] == 3
    endless = bulk(api, "/blacklist/bulk", "".join(f"h{at}\n" for at in range(60_000)))
    assert endless.json()["code"] == "TOO_MANY_BLOCKS"


def test_who_is_limited_to_a_zone_replaces_that_zone(api: Api) -> None:
    add(api, "a.home.arpa A 192.0.2.1", "b.example A 192.0.2.1")
    zoned = user_key(api, "dns", "home.arpa")
    path = "/dns/bulk?mode=replace"
    headers = {**zoned, "Content-Type": "text/plain"}
    out = api.client.post(path, headers=headers, content=b"c.home.arpa A 192.0.2.1\nd.example A 192.0.2.1\n")
    assert (out.status_code, out.json()["code"]) == (403, "OUT_OF_ZONE")
    assert api.client.post(path, headers=headers, content=b"c.home.arpa A 192.0.2.1\n").status_code == 200
    assert [row["name"] for row in get(api, "/dns")["items"]] == ["c.home.arpa.", "b.example."]
    seen = api.client.get("/dns", headers=zoned).json()
    assert ([row["name"] for row in seen["items"]], seen["total"]) == (["c.home.arpa."], None)
    assert api.client.get("/dns/export", headers=zoned).text == "c.home.arpa. 3600 IN A 192.0.2.1\n"


def test_a_caller_has_a_share_of_the_places(api: Api) -> None:
    bulks = api.client.app.state.bulks  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for _ in range(SHARE):
            stack.enter_context(bulks.take("api-key"))
        full = bulk(api, "/dns/bulk", "a.example A 192.0.2.1")
        assert (full.status_code, full.json()["code"]) == (429, "TOO_MANY_BULKS")
        other = {**user_key(api, "dns"), "Content-Type": "text/plain"}
        assert api.client.post("/dns/bulk", headers=other, content=b"a.example A 192.0.2.1").status_code == 200
    assert bulk(api, "/dns/bulk", "a.example A 192.0.2.1").status_code == 200
    assert not bulks._holders, "nothing is kept of who has no place"


@pytest.mark.parametrize(
    ("size", "seconds", "whole"), [(1, 20, False), (4096, 2, False), (16_384, 2, True), (64, 0.001, True)]
)
def test_who_trickles_is_given_up(size: int, seconds: float, whole: bool) -> None:
    now = [0.0]

    async def sent() -> AsyncIterator[bytes]:
        for _ in range(50):
            now[0] += seconds
            yield b"x" * size

    async def take() -> int:
        received = 0
        async for octets in paced(sent(), lambda: now[0]):
            received += len(octets)
            now[0] += 100  # our own time is not the sender's
        return received

    if whole:
        assert asyncio.run(take()) == 50 * size
    else:
        with pytest.raises(ProblemError, match="octets a second"):
            asyncio.run(take())


@given(st.lists(st.sampled_from(["ü.example", "a.example", "# ü", "0.0.0.0 é.example", "", "\tx.example"])), st.data())
def test_names_in_unicode_survive_every_cut(lines: list[str], data: st.DataObject) -> None:
    octets = "\n".join(lines).encode()
    whole = Cutter("names")
    once = whole.feed(octets) + whole.finish()
    pieces, cut = [], Cutter("names")
    while octets:
        size = data.draw(st.integers(1, len(octets)))
        pieces.append(cut.feed(octets[:size]))
        octets = octets[size:]
    assert b"".join(pieces) + cut.finish() == once
    assert "é.example".encode() not in once


def test_a_name_is_blocked_shown_and_unblocked(api: Api) -> None:
    made = post(api, "/blacklist", {"name": "Ads.Example"})
    assert made.status_code == 201
    block = made.json()
    assert (block["name"], block["action"], block["target"], block["origin"]) == (
        "ads.example.",
        "nxdomain",
        None,
        "api",
    )
    again = post(api, "/blacklist", {"name": "ads.example."})
    assert (again.status_code, again.json()) == (200, block)
    other = post(api, "/blacklist", {"name": "ads.example", "action": "redirect", "target": "192.0.2.1"})
    assert (other.status_code, other.json()["id"], other.json()["target"]) == (200, block["id"], "192.0.2.1")
    assert get(api, f"/blacklist/{block['id']}") == other.json()
    assert api.client.delete(f"/blacklist/{block['id']}", headers=api.key).status_code == 204
    assert get(api, "/blacklist") == {"items": [], "next": None, "total": 0}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "."}, "body.name"),
        ({"name": "a", "action": "ban"}, "body.action"),
        ({"name": "a", "action": "redirect"}, "body.target"),
        ({"name": "a", "action": None, "target": "192.0.2.1"}, "body.target"),
        ({"name": "a", "target": "192.0.2.1"}, "body.target"),
        ({"name": "a", "action": "redirect", "target": "192.0.2.1 www.example"}, "body.target"),
        ({"name": "a", "action": "redirect", "target": "a..b"}, "body.target"),
    ],
)
def test_what_is_no_block_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert refused(post(api, "/blacklist", body)) == {field}


def test_blocks_are_filtered(api: Api) -> None:
    for name, action in (("a.example", "nxdomain"), ("b.a.example", "null"), ("c.test", "null")):
        post(api, "/blacklist", {"name": name, "action": action})

    def found(**query: str) -> list[str]:
        return [row["name"] for row in get(api, "/blacklist", **query)["items"]]

    assert found() == ["a.example.", "b.a.example.", "c.test."]
    assert found(under="example") == ["a.example.", "b.a.example."]
    assert found(action="null") == ["b.a.example.", "c.test."]
    assert found(search="c.te") == ["c.test."]


def test_everything_is_written_out(api: Api) -> None:
    add(api, "b.example TXT two", "a.example A 192.0.2.1")
    post(api, "/blacklist", {"name": "ads.example", "comment": "noise"})
    lines = api.client.get("/dns/export", headers=api.key)
    assert lines.headers["content-type"] == "text/plain; charset=utf-8"
    assert lines.text == 'a.example. 3600 IN A 192.0.2.1\nb.example. 3600 IN TXT "two"\n'
    rows = api.client.get("/dns/export?form=ndjson", headers=api.key).text
    assert [json.loads(row)["name"] for row in rows.splitlines()] == ["a.example.", "b.example."]
    assert api.client.get("/dns/export?form=json", headers=api.key).json() == [
        json.loads(row) for row in rows.splitlines()
    ]
    assert api.client.get("/blacklist/export?form=names", headers=api.key).text == "ads.example.\n"
    assert api.client.get("/blacklist/export", headers=api.key).json() == {
        "action": "nxdomain",
        "comment": "noise",
        "name": "ads.example.",
    }


def test_nothing_is_written_out_as_nothing_and_read_as_that(api: Api) -> None:
    assert api.client.get("/dns/export", headers=api.key).text == ""
    assert api.client.get("/dns/export?form=json", headers=api.key).json() == []
    add(api, "a.example A 192.0.2.1")
    for kind, text in (("application/x-ndjson", ""), ("application/json", "[]"), ("text/plain", "")):
        assert bulk(api, "/dns/bulk", text, kind).json()["received"] == 0
    assert bulk(api, "/dns/bulk", "", "application/json").json()["code"] == "BULK_INVALID"
    assert bulk(api, "/dns/bulk", "", "application/x-ndjson", mode="replace").json()["removed"] == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["A", "TXT", "CNAME", "SVCB", "TYPE400"]), st.text(max_size=80))
def test_no_text_breaks_it(name: str, rtype: str, value: str) -> None:
    with open_api() as api:
        answer = post(api, "/dns", {"name": name, "type": rtype, "value": value})
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            again = post(api, "/dns", {part: answer.json()[part] for part in ("name", "type", "value")})
            assert again.status_code == 200, "what is shown is what can be written"
