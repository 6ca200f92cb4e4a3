"""`runbound log`, `clients`, `stats --top` and `--history`: against the real API over a fake engine."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from runbound import cli
from runbound.api import tail
from runbound.cli import logs
from support.api import Api

Out = pytest.CaptureFixture[str]


def test_the_last_queries_the_newest_at_the_end(conf: str, api: Api, capsys: Out) -> None:
    api.engine.ask("a.example.")
    api.engine.ask("b.example.", latency_us=2500, security=None, action="blocked")
    api.engine.ask(None, type=None, **{"class": None}, client=None, rcode=None, action="dropped")
    assert cli.main(["log", "-c", conf]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "20:15:38.123 192.0.2.7 a.example. A cached NOERROR 12 µs udp secure",
        "20:15:38.123 192.0.2.7 b.example. A blocked NOERROR 2.5 ms udp -",
        "20:15:38.123 - - dropped - 12 µs udp secure",
    ]
    flags = ["--action", "blocked", "--client", "192.0.2.7", "--name", "example", "--type", "A", "--since", "10m"]
    assert cli.main(["log", "-c", conf, "--json", "-n", "1", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2
    wanted = api.engine.wanted[-1]
    assert (wanted["actions"], wanted["name"], wanted["rtype"]) == (["blocked"], "example.", "A")
    assert abs(wanted["since_us"] / 1e6 - (time.time() - 600)) < 5
    assert cli.main(["log", "-c", conf, "--since", "soon"]) == 1
    assert "soon is not a time" in capsys.readouterr().err


def test_following_goes_on_after_a_break(conf: str, api: Api, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(logs, "PAUSE_SECONDS", 0.05)
    api.engine.ask("old.example.")
    api.engine.ask("first.example.")
    broken = threading.Event()
    whole = logs._events

    def breaks(blocks: Iterator[bytes]) -> Iterator[dict[str, str]]:
        for event in whole(blocks):
            yield event
            if "data" in event and not broken.is_set():
                broken.set()
                for number in range(3):
                    api.engine.ask(f"{number}.example.")
                return

    class EnoughError(Exception):
        pass

    seen: list[str] = []

    def line(entry: dict[str, str]) -> str:
        seen.append(entry["name"])
        if entry["name"] == "2.example.":
            raise EnoughError
        return entry["name"]

    monkeypatch.setattr(logs, "_events", breaks)
    monkeypatch.setattr(logs, "_line", line)
    with pytest.raises(EnoughError):
        cli.main(["log", "-f", "-n", "1", "-c", conf])
    assert seen == ["first.example.", "0.example.", "1.example.", "2.example."]


def test_forgetting(conf: str, api: Api, capsys: Out) -> None:
    api.engine.ask("a.example.")
    api.engine.ask("b.example.", client="192.0.2.8")
    assert cli.main(["log", "erase", "-c", conf]) == 1
    assert "say whom to forget" in capsys.readouterr().err
    assert cli.main(["log", "erase", "--client", "192.0.2.8", "-c", conf]) == 0
    assert capsys.readouterr().out == "forgotten: 1 entries, 1 rows of lists, 0 lines of the file\n"
    assert cli.main(["log", "erase", "--all", "-c", conf, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ring"] == 1


def test_lists(conf: str, api: Api, capsys: Out) -> None:
    assert cli.main(["stats", "--top", "all", "-c", conf]) == 0
    assert "www.example." in capsys.readouterr().out
    assert cli.main(["stats", "--top", "blocked", "-c", conf, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["name"] == "ads.example."
    assert cli.main(["clients", "-c", conf]) == 0
    assert "no client is known" in capsys.readouterr().out
    api.engine.ask("a.example.")
    assert cli.main(["clients", "192.0.2.7", "-c", conf]) == 0
    shown = capsys.readouterr().out
    assert "cached 12, resolved 1" in shown
    assert "a.example. A cached" in shown
    assert cli.main(["clients", "-c", conf, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2
    assert cli.main(["stats", "--history", "60", "-c", conf]) == 0
    assert "cache hits" in capsys.readouterr().out
