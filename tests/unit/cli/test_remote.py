"""`runbound stats`, `cache`, `lookup`, `upstreams`: against the real API over a fake engine, found as users find it."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from runbound import cli
from runbound.cli.remote import END
from support.api import KEY, Api

Out = pytest.CaptureFixture[str]


def test_stats(conf: str, api: Api, capsys: Out) -> None:
    api.engine.counters |= {"total.recursion.time.avg": 12_345, "total.requestlist.avg": 500}
    assert cli.main(["stats", "-c", conf]) == 0
    rows = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert rows["total.num.queries"] == "7"
    assert rows["total.recursion.time.avg"] == "0.012345"
    assert rows["total.requestlist.avg"] == "0.5"
    assert cli.main(["stats", "--json", "-c", conf]) == 0
    assert json.loads(capsys.readouterr().out)["counters"]["total.num.queries"] == 7


def test_upstreams(conf: str, capsys: Out) -> None:
    assert cli.main(["upstreams", "-c", conf]) == 0
    shown = capsys.readouterr().out
    assert "192.0.2.2@53" in shown
    assert "refused, tried again in 0.9 s" in shown
    assert "1 of 2 healthy" in shown
    assert cli.main(["upstreams", "-c", conf, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2


def test_dnssec_tells_what_is_trusted(conf: str, api: Api, capsys: Out) -> None:
    assert cli.main(["dnssec", "status", "-c", conf]) == 0
    assert "answers are validated from ., corp.example.\n" in capsys.readouterr().out
    assert cli.main(["dnssec", "anchors", "-c", conf]) == 0
    shown = capsys.readouterr().out
    assert "RSASHA256" in shown
    assert "pending" in shown
    assert ". is followed in /var/lib/runbound/root.key: next probe 2023-11-1" in shown
    api.engine.trusted["validating"] = False
    assert cli.main(["dnssec", "status", "-c", conf]) == 0
    assert "answers are not validated\n" in capsys.readouterr().out


def test_rfc7646_a_name_is_excused_and_validated_again(conf: str, api: Api, capsys: Out) -> None:
    assert cli.main(["dnssec", "excuse", "example.com", "--for", "2h", "--reason", "no DS", "-c", conf]) == 0
    assert "excuse example.com. 7200 300 no DS" in api.engine.calls
    assert "example.com. is not validated until 1970-01-01" in capsys.readouterr().out
    assert cli.main(["dnssec", "excuses", "-c", conf]) == 0
    assert "no DS" in capsys.readouterr().out
    assert cli.main(["dnssec", "validate", "example.com", "-c", conf]) == 0
    assert cli.main(["dnssec", "validate", "example.com", "-c", conf]) == 1
    assert cli.main(["dnssec", "excuse", "example.com", "--for", "soon", "-c", conf]) == 1
    assert "soon is not a time" in capsys.readouterr().err


def test_lookup_lets_nobody_write_to_the_terminal(conf: str, api: Api, capsys: Out) -> None:
    api.engine.answer |= {"ede": [{"code": 22, "text": "\x1b[2J[red]x"}], "why": "broken\r\nnews"}
    assert cli.main(["lookup", "bücher.example", "aaaa", "--cd", "-c", conf]) == 0
    shown = capsys.readouterr().out
    assert api.engine.calls == ["lookup xn--bcher-kva.example. TYPE28 True"]
    assert "xn--bcher-kva.example. AAAA: NOERROR, resolved in 1.5 ms, unchecked" in shown
    assert "EDE 22 (no reachable authority): \\x1b[2J[red]x" in shown
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "192.0.2.1" in shown


def test_cache(conf: str, api: Api, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["cache", "stats", "-c", conf]) == 0
    assert b"9 expired entries served" in capsysbinary.readouterr().out
    assert cli.main(["cache", "flush", "type", "example.com", "MX", "-c", conf]) == 0
    assert capsysbinary.readouterr().out == b"3 removed\n"
    assert api.engine.calls == ["cache_flush type example.com. TYPE15"]
    file = tmp_path / "dump.txt"
    assert cli.main(["cache", "dump", str(file), "-c", conf]) == 0
    assert file.read_bytes() == b"".join(api.engine.dump)
    assert file.stat().st_mode & 0o777 == 0o600
    assert cli.main(["cache", "dump", "-c", conf]) == 0
    assert capsysbinary.readouterr().out == b"".join(api.engine.dump)
    assert cli.main(["cache", "load", str(file), "-c", conf]) == 0
    assert b"0 lines refused" in capsysbinary.readouterr().out


def test_a_dump_without_an_end_is_an_error(conf: str, api: Api, tmp_path: Path, capsys: Out) -> None:
    api.engine.dump = [b"START_RRSET_CACHE\n"]
    assert cli.main(["cache", "dump", str(tmp_path / "d"), "-c", conf]) == 1
    assert "has no end" in capsys.readouterr().err
    assert END == b"EOF\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("cache flush zone", "body.name: a flush of a zone needs a name"),
        ("cache flush zone a..b", "body.name: A DNS label is empty."),
        ("lookup a NOPE", "body.type: no record type"),
        ("cache load /nonexistent", "No such file"),
        ("cache flush nothing", "see runbound cache --help"),
    ],
)
def test_what_the_api_refuses_is_said(conf: str, line: str, says: str, capsys: Out) -> None:
    assert cli.main([*line.split(), "-c", conf]) == 1
    assert says in capsys.readouterr().err


def test_the_cooldown_is_said(conf: str, capsys: Out) -> None:
    assert cli.main(["cache", "flush", "all", "-c", conf]) == 0
    assert cli.main(["cache", "flush", "all", "-c", conf]) == 1
    assert "again in 60 s" in capsys.readouterr().err


def test_by_address(conf: str, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    port = Path(conf).read_text().split()[-1]
    assert cli.main(["stats", "--url", f"http://127.0.0.1:{port}"]) == 1
    assert "RUNBOUND_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("RUNBOUND_API_KEY", KEY)
    assert cli.main(["stats", "--url", f"http://127.0.0.1:{port}"]) == 0
    monkeypatch.setenv("RUNBOUND_API_KEY", "x" * 32)
    assert cli.main(["stats", "--url", f"http://127.0.0.1:{port}/"]) == 1
    said = capsys.readouterr().err
    assert "A valid bearer token is needed" in said
    assert "x" * 32 not in said
    for url in ("ftp://x", "nonsense", "http://x:y", "http://127.0.0.1/path"):
        assert cli.main(["stats", "--url", url]) == 1
        assert "is not the address of an API" in capsys.readouterr().err
    assert cli.main(["stats", "--url", "http://127.0.0.1", "-c", conf]) == 1


def test_nobody_answers(tmp_path: Path, capsys: Out) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    path = tmp_path / "x.conf"
    path.write_text(f"server:\n    api-port: {port}\n    api-socket: {tmp_path}/api.sock\n")
    assert cli.main(["stats", "-c", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port}: Connection refused" in said
    assert f"{tmp_path}/api.sock: No such file or directory" in said
    assert "start it" in said
    path.write_text("server:\n    api-enable: no\n")
    assert cli.main(["stats", "-c", str(path)]) == 1
    assert "api-enable: no" in capsys.readouterr().err
    assert cli.main(["stats", "-c", "/nonexistent"]) == 1


def test_what_answers_is_no_runbound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    import http.server

    monkeypatch.setenv("RUNBOUND_API_KEY", KEY)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.handle_request, daemon=True)
        thread.start()
        assert cli.main(["stats", "--url", f"http://127.0.0.1:{other.server_port}"]) == 1
        thread.join()
    assert "is no runbound (status 501)" in capsys.readouterr().err


def test_the_key_may_be_missing_or_unreadable(conf: str, capsys: Out) -> None:
    key = Path(conf).parent / "state" / "api.key"
    os.unlink(key)
    assert cli.main(["stats", "-c", conf]) == 1
    said = capsys.readouterr().err
    assert "there is no API key" in said
    assert f"{key}: No such file" in said


def test_a_dump_that_cannot_be_had_leaves_the_last_one(conf: str, tmp_path: Path, capsys: Out) -> None:
    file = tmp_path / "dump.txt"
    file.write_text("the last one")
    (Path(conf).parent / "state" / "api.key").write_text("x" * 32)
    assert cli.main(["cache", "dump", str(file), "-c", conf]) == 1
    assert file.read_text() == "the last one"


def test_a_full_disk_and_a_pipe_are_told_of(conf: str, capsys: Out) -> None:
    assert cli.main(["cache", "dump", "/dev/full", "-c", conf]) == 1
    assert "/dev/full: cannot write it: No space left on device" in capsys.readouterr().err
    assert cli.main(["cache", "load", "/dev/null", "-c", conf]) == 1
    assert "write it to a file first" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["a\nb-secret", "ä€-secret"])
def test_a_key_that_no_header_can_carry_is_not_shown(
    conf: str, key: str, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("RUNBOUND_API_KEY", key)
    assert cli.main(["stats", "-c", conf]) == 1
    said = capsys.readouterr().err
    assert "no header can carry" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "it does not speak JSON"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", "no runbound (status 302)"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{"x":', "broke off"),
        (b'HTTP/1.1 400 X\r\nContent-Length: 23\r\n\r\n{"title":"\\u001b[31mx"}', "\\x1b[31mx"),
        (b"\x1b[31m SSH-2.0\r\n", "\\x1b[31m SSH"),
    ],
)
def test_whatever_answers_is_told_in_words(
    answer: bytes, says: str, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("RUNBOUND_API_KEY", KEY)

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            client.recv(4096)
            client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=serve, args=(other,))
        thread.start()
        assert cli.main(["stats", "--url", f"http://127.0.0.1:{other.getsockname()[1]}"]) == 1
        thread.join()
    said = capsys.readouterr().err
    assert says in said
    assert "\x1b" not in said
