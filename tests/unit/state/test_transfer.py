"""What is carried out can be carried in elsewhere, and nothing is taken in that does not prove itself."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from runbound import engine
from runbound.errors import RunboundError
from runbound.state.entries import Edit, Note, Pending
from runbound.state.store import Store
from runbound.state.transfer import export, plan, read, take_in
from support.stores import Opener, keys

NOTE = Note("root", "import", "import")
SECRET = b"s" * 32


def make(kind: str) -> engine.Bulk:
    return engine.Bulk(kind, "json")


def take(store: Store, octets: bytes, **more: Any) -> None:
    take_in(store, plan(octets, make, NOTE, more.pop("mode", "add"), **more))


def bulk(kind: str, *docs: dict[str, object]) -> engine.Bulk:
    found = make(kind)
    found.feed(json.dumps(docs).encode())
    assert found.finish() == []
    return found


def fill(store: Store) -> None:
    records = bulk(
        "record",
        {"name": "a.example.", "type": "A", "ttl": 60, "value": "192.0.2.1", "comment": "é"},
        {"name": "a.example.", "type": "TXT", "ttl": 60, "value": '"x y"'},
    )
    blocks = bulk("block", {"name": "ads.example.", "action": "nxdomain"})
    others = (
        Edit("setting", b"server/verbosity", '{"clause":"server","option":"verbosity","values":["2"]}'),
        Edit("user", b"otto", '{"name":"otto","role":"read"}'),
        Edit("unconfirmed", b"1", '{"revision":1}'),
    )
    store.commit([Pending(NOTE, bulk=records), Pending(NOTE, bulk=blocks), Pending(NOTE, others)])


def docs(store: Store) -> list[Any]:
    kinds = ("record", "block", "setting", "user")
    return [[(entry.key, entry.doc) for entry in store.page(kind, after=None, limit=100)] for kind in kinds]


def test_out_and_in(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    fill(store)
    octets = b"".join(export(store))
    assert b"otto" not in octets
    assert b"unconfirmed" not in octets
    (tmp_path / "other").mkdir()
    other = Opener(tmp_path / "other")
    try:
        copy = other(keys(b"u" * 32))
        take(copy, octets)
        assert docs(copy)[:3] == docs(store)[:3]
        assert copy.count("user") == 0
        take(copy, b"".join(export(store, users=True)))
        assert copy.count("user") == 0
        take(copy, b"".join(export(store, users=True)), users=True)
        assert docs(copy) == docs(store)
        assert copy.pending[0].op == "import"
    finally:
        other.close()


def test_replace_takes_out_the_rest(opener: Opener) -> None:
    store = opener()
    fill(store)
    octets = b"".join(export(store))
    store.commit([Pending(NOTE, bulk=bulk("block", {"name": "more.example.", "action": "refuse"}))])
    take(store, octets)
    assert store.count("block") == 2
    take(store, octets, mode="replace")
    assert store.count("block") == 1
    one = b'{"entries": [{"id": "1", "domain": "%s", "action": "refuse"}]}'
    both = [plan(one % name, make, NOTE, "replace")[0] for name in (b"x.example", b"y.example")]
    take_in(store, both)
    assert store.count("block") == 2
    assert store.count("record") == 2
    take(store, b'{"entries": []}', mode="replace")
    assert store.count("record") == 2


@pytest.mark.parametrize("damage", ["cut", "line less", "no json", "no key", "nothing", "later", "other"])
def test_what_is_cut_or_wrong_is_refused_whole(opener: Opener, damage: str) -> None:
    store = opener()
    fill(store)
    lines = b"".join(export(store)).splitlines(keepends=True)
    wrong = {
        "cut": lines[:-1],
        "line less": [lines[0], *lines[2:]],
        "no json": [*lines[:2], b"x\n", *lines[3:]],
        "no key": [*lines[:2], lines[2].replace(b'"key":"', b'"key":"x'), *lines[3:]],
        "nothing": [],
        "later": [lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]],
        "other": [b'{"a":1}\n'],
    }
    before = store.newest
    with pytest.raises(RunboundError):
        take(store, b"".join(wrong[damage]))
    assert store.newest == before


LEGACY = {
    "entries": [
        {"id": "1", "name": "a.example", "type": "A", "ttl": 300, "value": "192.0.2.1", "description": "the  one"},
        {"id": "2", "name": "example.", "type": "MX", "ttl": 300, "priority": 10, "value": "mail.example."},
        {"id": "3", "name": "example", "type": "CAA", "ttl": 300, "tag": "issue", "value": "ca.example"},
        {"id": "4", "name": "_s._tcp.example", "type": "SRV", "ttl": 300, "priority": 1, "weight": 2, "port": 53,
         "value": "a.example."},
        {"id": "5", "name": "n.example", "type": "NAPTR", "ttl": 300, "order": 1, "preference_naptr": 2,
         "flags_naptr": "u", "services": "E2U+sip", "regexp": "!^.*$!sip:a@example!"},
        {"id": "6", "name": "h.example", "type": "SSHFP", "ttl": 300, "algorithm": 4, "fp_type": 2,
         "fingerprint": "ab" * 32},
        {"id": "7", "name": "_443._tcp.example", "type": "TLSA", "ttl": 300, "cert_usage": 3, "selector": 1,
         "matching_type": 1, "cert_data": "cd" * 32},
        {"id": "8", "name": "t.example", "type": "TXT", "ttl": 300, "value": "hello"},
    ]
}  # fmt: skip


def test_stores_of_the_old_line(opener: Opener) -> None:
    store = opener()
    take(store, json.dumps(LEGACY, indent=2).encode())
    records = [entry.doc for entry in store.page("record", after=None, limit=99)]
    found = {(doc["name"], doc["type"]): doc for doc in records}
    assert found["a.example.", "A"]["comment"] == "the one"
    assert found["example.", "MX"]["value"] == "10 mail.example."
    assert found["example.", "CAA"]["value"] == '0 issue "ca.example"'
    assert found["_s._tcp.example.", "SRV"]["value"] == "1 2 53 a.example."
    assert found["n.example.", "NAPTR"]["value"] == '1 2 "u" "E2U+sip" "!^.*$!sip:a@example!" .'
    assert len(found) == 8
    take(store, b'{"entries": [{"id": "1", "domain": "ads.example", "action": "Refuse"}]}')
    assert [entry.doc for entry in store.page("block", after=None, limit=9)] == [
        {"name": "ads.example.", "action": "refuse"}
    ]
    take(store, b'{"entries": []}')
    for wrong in ({"name": "a", "type": "MX", "ttl": 1, "value": "b."}, {"name": "a", "type": "WKS", "ttl": 1}, 7):
        with pytest.raises(RunboundError, match="entry 1"):
            take(store, json.dumps({"entries": [wrong]}).encode())
    with pytest.raises(RunboundError, match="value"):
        take(store, b'{"entries": [{"name": "a", "type": "A", "ttl": 1, "value": "192.0.2.999"}]}')


def test_it_fails_closed(tmp_path: Path) -> None:
    key = engine.SecretKey(SECRET)
    path = tmp_path / "dns_entries.json"
    path.write_bytes(b"{}")
    code = hmac.new(SECRET, b"{}", hashlib.sha256).hexdigest()

    def get(*, protected: bool = True, unsigned: bool = False) -> bytes:
        return read(str(path), key, protected=protected, unsigned=unsigned)

    assert get(protected=False) == b"{}"
    assert get(unsigned=True) == b"{}"
    with pytest.raises(RunboundError, match="there is no code beside it"):
        get()
    for sidecar in (tmp_path / "dns_entries.mac", tmp_path / "dns_entries.json.mac"):
        sidecar.write_text(f"{code}\n")
        assert get() == b"{}"
        with pytest.raises(RunboundError, match="no key to prove it with"):
            get(protected=False)
        assert get(protected=False, unsigned=True) == b"{}"
        for wrong in (code[:-1] + ("0" if code[-1] != "0" else "1"), "", "x", code * 2):
            sidecar.write_text(wrong)
            for unsigned in (False, True):
                with pytest.raises(RunboundError, match="the file was changed"):
                    get(unsigned=unsigned)
        sidecar.unlink()
