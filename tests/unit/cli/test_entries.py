"""`runbound dns`, `block`, `upstreams …` and `resolution`: against the real API over a fake engine."""

import json
from pathlib import Path

import pytest

from runbound import cli
from support.api import Api, configure


class Terminal:
    """What a person types and sees."""

    def __init__(self, conf: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.conf = conf
        self._capsys = capsys

    def type(self, *words: str, code: int = 0) -> str:
        """What a command prints."""
        assert cli.main([*words, "-c", self.conf]) == code
        shown = self._capsys.readouterr()
        return shown.err if code else shown.out


@pytest.fixture
def terminal(conf: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(conf, capsys)


def test_records(terminal: Terminal) -> None:
    assert terminal.type("dns", "add", "nas.example", "A", "192.0.2.7") == "nas.example. 3600 A 192.0.2.7\n"
    terminal.type("dns", "add", "nas.example", "TXT", '"in the cellar"', "--ttl", "60", "--comment", "disk")
    shown = terminal.type("dns", "list").splitlines()
    assert shown[0].split() == ["id", "name", "ttl", "type", "value", "comment", "from"]
    assert shown[1].split()[1:] == ["nas.example.", "3600", "A", "192.0.2.7", "API"]
    assert 'TXT   "in the cellar"' in shown[2]
    assert len(json.loads(terminal.type("dns", "list", "nas.example", "--type", "TXT", "--json"))) == 1
    assert "the first 1;" in terminal.type("dns", "list", "--limit", "1")
    assert terminal.type("dns", "delete", "nas.example", "A", "--dry-run") == "- record nas.example. 3600 A 192.0.2.7\n"
    assert terminal.type("dns", "delete", "nas.example", "A") == "nas.example is removed\n"
    assert "there is nothing of nas.example" in terminal.type("dns", "delete", "nas.example", "A", code=1)
    assert "body.value" in terminal.type("dns", "add", "nas.example", "A", "nowhere", code=1)


def test_lists_of_records(terminal: Terminal, tmp_path: Path) -> None:
    zone, rows = tmp_path / "zone.txt", tmp_path / "rows.ndjson"
    zone.write_text("$ORIGIN example.\nnas 60 A 192.0.2.7\nwww A 192.0.2.8\n")
    assert terminal.type("dns", "import", str(zone), "--dry-run") == "2 read; would be 2 added, 0 changed, 0 removed\n"
    assert terminal.type("dns", "import", str(zone)) == "2 read; 2 added, 0 changed, 0 removed\n"
    assert terminal.type("dns", "export", str(rows), "--form", "ndjson") == ""
    assert [json.loads(line)["name"] for line in rows.read_text().splitlines()] == ["nas.example.", "www.example."]
    assert terminal.type("dns", "import", str(rows), "--mode", "remove") == "2 read; 0 added, 0 changed, 2 removed\n"
    zone.write_text("bad..example A 192.0.2.7\n")
    assert "bad..example" in terminal.type("dns", "import", str(zone), code=1)
    assert "cannot read it" in terminal.type("dns", "import", str(tmp_path / "none"), code=1)


def test_blocks(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.type("block", "ads.example") == "ads.example. is blocked: nxdomain\n"
    assert (
        terminal.type("block", "add", "x.example", "--to", "192.0.2.1") == "x.example. is blocked: redirect 192.0.2.1\n"
    )
    names = tmp_path / "names.txt"
    names.write_text("one.example\n0.0.0.0 two.example\n")
    assert terminal.type("block", "import", str(names), "--action", "null").startswith("2 read; 2 added")
    assert "one.example." in terminal.type("block", "list", "--action", "null")
    assert terminal.type("block", "delete", "ads.example") == "ads.example is not blocked any more\n"
    assert terminal.type("block", "export", str(names)) == ""
    assert names.read_text() == "one.example.\ntwo.example.\nx.example.\n"


def test_upstream_servers(terminal: Terminal, api: Api) -> None:
    configure(api)
    assert terminal.type("upstreams", "add", "192.0.2.53@5353") == "192.0.2.53@5353 is asked about .\n"
    shown = terminal.type("upstreams")
    assert "192.0.2.53@5353" in shown
    assert "test.conf:1" in shown
    assert terminal.type("upstreams", "disable", "192.0.2.53@5353").endswith("is left alone about .\n")
    assert terminal.type("upstreams", "enable", "192.0.2.53@5353").endswith("is asked about .\n")
    assert "192.0.2.53" in terminal.type("upstreams", "remove", "192.0.2.53@5353")
    assert "is no server of ." in terminal.type("upstreams", "remove", "192.0.2.53@5353", code=1)
    assert "stands in test.conf" in terminal.type("upstreams", "remove", "192.0.2.1", code=1)
    assert "9.9.9.9" in terminal.type("upstreams", "presets")
    assert "tried anew" in terminal.type("upstreams", "reconnect")
    terminal.type("upstreams", "add", "127.0.0.1@9")
    assert "127.0.0.1@9: " in terminal.type("upstreams", "probe", "127.0.0.1@9")


def test_resolution(terminal: Terminal, api: Api) -> None:
    configure(api)
    assert terminal.type("resolution") == "forward (said by: default); forward zones: .\n"
    terminal.type("resolution", "full-recursion", "--reason", "no more forwarders")
    assert api.store.journal(before=None, limit=1)[0].reason == "no more forwarders"
