"""Records and blocks in bulk across the door: what Python hands in, what it gets back, and what is then answered."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rcode
import pytest

from runbound.config.load import examine
from runbound.engine import Bulk, Delta, Engine, Overlay, SecretKey, check_rows, name_key, scan_text
from runbound.engine.compile import compile_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = "127.83.0.2"
"""Where the engine listens: an address of loopback that nothing else of this machine uses."""

KEY = SecretKey(b"0123456789abcdef" * 2)


def bulk(kind: str, form: str, text: str, defaults: dict[str, object] | None = None) -> Bulk:
    made = Bulk(kind, form, json.dumps(defaults or {}).encode())
    made.feed(text.encode())
    assert made.finish() == []
    return made


def test_entries_are_canonical_and_sorted() -> None:
    lines = "www.Example. 60 IN A 192.0.2.1\nexample. MX 10 mail\nexample. 5 MX 10 mail.\n"
    records = bulk("record", "zone", lines, {"ttl": 300, "comment": "ours"})
    assert (records.kind, records.count, records.merged, records.error_count) == ("record", 2, 1, 0)
    assert records.entries(0) == [
        (
            b"example\0\0\0\x0f\0\x0a\x04mail\0",
            '{"comment":"ours","name":"example.","ttl":5,"type":"MX","value":"10 mail."}',
        ),
        (
            b"example\0www\0\0\0\x01\xc0\0\2\1",
            '{"comment":"ours","name":"www.example.","ttl":60,"type":"A","value":"192.0.2.1"}',
        ),
    ]
    assert records.entries(1) == []


def test_names_have_keys_that_hold_what_is_below() -> None:
    key = name_key("Example.")
    assert key == b"example\0"
    blocks = [k for k, _ in bulk("block", "names", "a.example\nexample\nexample2").entries(0)]
    assert blocks == [key + b"\0", key + b"a\0\0", b"example2\0\0"]
    assert [k for k in blocks if key <= k < key[:-1] + b"\1"] == blocks[:2]
    with pytest.raises(ValueError, match="empty label"):
        name_key("a..b")


def test_complaints_say_where_what_and_what_to_do() -> None:
    made = Bulk("record", "json")
    made.feed(b'[{"name":"a","type":"A","val')
    made.feed(b'ue":"192.0.2.1"},\n{"name":"b","type":"AAAA","value":"192.0.2.1"}]')
    assert made.finish() == [(2, "value", '"192.0.2.1" is not an IPv6 address', None)]
    assert (made.count, made.error_count) == (1, 1)
    with pytest.raises(ValueError, match="fed already"):
        made.feed(b"")
    with pytest.raises(ValueError, match="neither record nor block"):
        Bulk("user", "json")
    with pytest.raises(ValueError, match="defaults: ttl"):
        Bulk("record", "json", b'{"ttl":-1}')


def test_rows_come_in_parts_and_are_signed() -> None:
    blocks = bulk("block", "names", "\n".join(f"n{n}.test" for n in range(25_000)))
    numbers: list[int] = []
    for part in range(3):
        rows = blocks.rows(part, 1 + 10_000 * part, 7, KEY)
        assert rows is not None
        assert check_rows(KEY, "block", rows)[2] == []
        listed = json.loads(rows)
        assert [row[1] for row in listed] == json.loads(blocks.keys(part) or b"")
        numbers += [row[0] for row in listed]
    assert numbers == list(range(1, 25_001))
    assert blocks.rows(3, 1, 7, KEY) is None
    assert blocks.keys(3) is None


def test_what_stands_keeps_its_number_and_what_is_the_same_is_left_out() -> None:
    rows = bulk("block", "names", "a.test\nb.test").rows(0, 1, 1, KEY)
    assert rows is not None
    changed = bulk("block", "json", '{"name":"a.test"}{"name":"b.test","action":"null"}{"name":"c.test"}')
    again = changed.rows(0, 9, 2, KEY, rows)
    assert again is not None
    assert [(row[0], row[2]) for row in json.loads(again)] == [
        (2, '{"action":"null","name":"b.test."}'),
        (9, '{"action":"nxdomain","name":"c.test."}'),
    ]


def test_threads_feed_while_another_looks() -> None:
    made = Bulk("block", "names")
    seen: list[int] = []

    def feed() -> None:
        for n in range(5_000):
            made.feed(b"name%d.test\n" % n)

    thread = threading.Thread(target=feed)
    thread.start()
    while thread.is_alive():
        seen.append(made.count)
    assert made.finish() == []
    assert made.count == 5_000
    assert seen == sorted(seen)


def test_what_goes_to_the_engine_is_looked_at() -> None:
    rows = bulk("block", "names", "a.test").rows(0, 1, 1, KEY)
    assert rows is not None
    delta = Delta()
    delta.put(bulk("record", "zone", "a.test. A 192.0.2.1"))
    delta.put_rows("block", rows)
    delta.remove_rows("block", rows)
    assert len(delta) == 3
    overlay = Overlay()
    overlay.load("block", rows)
    for load in (overlay.load, delta.put_rows, delta.remove_rows):
        with pytest.raises(ValueError, match="record 1: type: type is missing"):
            load("record", rows)
        with pytest.raises(ValueError, match="neither record nor block"):
            load("user", rows)
        with pytest.raises(ValueError, match="key is not that of the document"):
            load("block", rows.replace(b"610000", b"620000"))
    with pytest.raises(ValueError, match="finish has not been called"):
        delta.put(Bulk("block", "names"))


class Running:
    """An engine that knows of nothing but what the API put in."""

    def __init__(self, folder: Path, overlay: Overlay | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ADDRESS, 0))
            self.port = int(probe.getsockname()[1])
        text = f"server:\n num-threads: 2\n verbosity: 0\n interface: {ADDRESS}@{self.port}\n"
        loaded = examine(scan_text(text.encode(), "test.conf", str(folder)), str(folder / "test.conf"))
        assert loaded.ok, loaded.diagnostics
        self.document = compile_document(loaded.config, 1).encode()
        self.engine = Engine()
        self.engine.open_log(self.document)
        self.engine.bind(self.document, ())
        self.engine.start(self.document, None, overlay)

    def ask(self, name: str, rtype: str) -> list[str]:
        """The data of the answer, or the code if there are none."""
        reply = dns.query.udp(dns.message.make_query(name, rtype), ADDRESS, timeout=5, port=self.port)
        return [str(record) for rrset in reply.answer for record in rrset] or [dns.rcode.to_text(reply.rcode())]


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Running]:
    """An engine that starts with two records and a block."""
    overlay = Overlay()
    for made in (
        bulk("record", "zone", "a.test. A 192.0.2.1\na.test. TXT hello"),
        bulk("block", "json", '{"name":"ads.example","action":"null"}'),
    ):
        rows = made.rows(0, 1, 1, KEY)
        assert rows is not None
        overlay.load(made.kind, rows)
    running = Running(tmp_path, overlay)
    yield running
    running.engine.stop()


def test_what_was_loaded_is_there_from_the_first_answer_on(loaded: Running) -> None:
    assert loaded.ask("a.test.", "A") == ["192.0.2.1"]
    assert loaded.ask("A.TEST.", "TXT") == ['"hello"']
    assert loaded.ask("x.ads.example.", "AAAA") == ["::"]
    assert (loaded.engine.health()["records"], loaded.engine.health()["blocks"]) == (2, 1)


def test_a_delta_puts_and_removes_and_the_last_word_counts(loaded: Running) -> None:
    assert loaded.ask("a.test.", "A") == ["192.0.2.1"]
    gone = bulk("record", "zone", "a.test. A 192.0.2.1").rows(0, 1, 1, KEY)
    back = bulk("record", "zone", "a.test. 60 A 192.0.2.3").rows(0, 2, 2, KEY)
    assert gone is not None
    assert back is not None
    delta = Delta()
    delta.remove_rows("record", gone)
    delta.put_rows("record", back)
    delta.put(bulk("block", "names", "track.example\nads.example"))
    loaded.engine.amend(2, delta)
    assert len(delta) == 0
    assert loaded.engine.health()["revision"] == 2
    assert loaded.ask("a.test.", "A") == ["192.0.2.3"]
    assert loaded.ask("x.track.example.", "MX") == ["NXDOMAIN"]
    assert loaded.ask("ads.example.", "AAAA") == ["NXDOMAIN"]
    delta.put_rows("record", gone)
    delta.remove_rows("record", gone)
    delta.remove_rows("record", back)
    delta.put_rows("record", back)
    loaded.engine.amend(3, delta)
    assert loaded.ask("a.test.", "A") == ["192.0.2.3"]


def test_a_reload_keeps_the_overlay_or_takes_another(loaded: Running) -> None:
    loaded.engine.apply(loaded.document, None)
    assert loaded.ask("a.test.", "A") == ["192.0.2.1"]
    loaded.engine.apply(loaded.document, None, Overlay())
    assert loaded.ask("a.test.", "A") == ["NXDOMAIN"]
    assert (loaded.engine.health()["records"], loaded.engine.health()["blocks"]) == (0, 0)
