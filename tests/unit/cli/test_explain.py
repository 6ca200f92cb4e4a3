"""`runbound explain`: against the real API over a fake engine, as people see it."""

import json
import time
from pathlib import Path

import pytest

from runbound import cli
from support.api import KEY, Api
from support.control import link, step

Out = pytest.CaptureFixture[str]


@pytest.fixture
def url(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RUNBOUND_API_KEY", KEY)
    return f"http://127.0.0.1:{port}"


def test_a_timeline_with_each_question_under_the_one_that_waits(api: Api, url: str, capsys: Out) -> None:
    api.engine.answer |= {"security": "secure"}
    api.engine.explanation["steps"] = [
        step(room="access", what="access", question=0, text="the client is served"),
        step(text="needs . NS"),
        step(at_ms=3, question=2, depth=1, name=".", type="NS", text="→ 192.0.2.1"),
        step(at_ms=9, question=2, depth=1, name=".", type="NS", room="end", what="answered", text="NOERROR"),
        step(at_ms=9, text="← 192.0.2.2"),
    ]
    assert cli.main(["explain", "www.example", "--url", url]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:10] == [
        "www.example. A: NOERROR, secure, 1.5 ms",
        "",
        "0 ms  access   the client is served",
        "      resolve  needs . NS",
        "               │ . NS",
        "3 ms  resolve  │ → 192.0.2.1",
        "9 ms  end      │ NOERROR",
        "               www.example. A",
        "      resolve  ← 192.0.2.2",
        "",
    ]
    assert lines[-1] == "www.example.  300  IN     A     192.0.2.1"


def wants(question: int, purpose: str) -> dict[str, object]:
    return step(what="wants", text=f"needs {purpose}", data={"question": question, "purpose": purpose})


def test_questions_for_addresses_are_folded_unless_all_is_to_be_seen(api: Api, url: str, capsys: Out) -> None:
    inside = {"question": 2, "depth": 1, "name": "ns.example."}
    deeper = {"question": 3, "depth": 2, "name": "ns.example.net."}
    known = {"question": 4, "depth": 1, "name": "ns2.example."}
    api.engine.explanation["steps"] = [
        wants(2, "address"),
        wants(4, "address"),
        step(**inside, text="→ inside"),
        {**wants(3, "keys"), **inside},
        step(**deeper, text="→ deeper"),
        step(**deeper, room="end", what="answered", text="NOERROR"),
        step(**inside, at_ms=9, room="end", what="answered", text="NOERROR"),
        step(**known, room="end", what="answered", text="NOERROR"),
        wants(5, "keys"),
        step(question=5, depth=1, name="example.", type="DNSKEY", text="→ for keys"),
    ]
    assert cli.main(["explain", "www.example", "--url", url]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:8] == [
        "0 ms  resolve  needs address",
        "9 ms  end      │ ns.example. A: NOERROR (2 packets)",
        "0 ms  resolve  needs keys",
        "               │ example. DNSKEY",
        "      resolve  │ → for keys",
        "questions for addresses are folded, 6 steps: --all shows them",
    ]
    assert cli.main(["explain", "www.example", "--all", "--url", url]) == 0
    shown = capsys.readouterr().out
    assert "→ deeper" in shown
    assert "folded" not in shown


def test_what_the_cache_knew_can_be_asked_afresh(api: Api, url: str, capsys: Out) -> None:
    api.engine.answer["from_cache"] = True
    assert cli.main(["explain", "www.example", "--url", url]) == 0
    assert "--fresh shows" in capsys.readouterr().out


def test_the_chain_of_trust_is_a_tree(api: Api, url: str, capsys: Out) -> None:
    ends = int(time.time()) + 1000
    signature = {"zone": "a.", "tag": 4, "algorithm": 13, "algorithm_name": "ECDSAP256SHA256", "until": ends % 2**32}
    ds = {"tag": 7, "algorithm": 8, "algorithm_name": "RSASHA256", "digest": 2, "digest_name": "SHA-256"}
    key = {"tag": 7, "algorithm": 8, "algorithm_name": "RSASHA256", "flags": 257, "bits": 2048, "named": True}
    api.engine.explanation["chain"] = [
        link(ds=[ds], keys=[{**key, "signed": True}]),
        link(name="a.", under=".", by="ds", ds=[ds]),
        link(name="b.", under=".", security="insecure", by="nsec3"),
        link(name="c.", under=".", security="bogus", by="ds", reason="no DNSKEY"),
        link(name="www.a.", type="A", under="a.", by="key", signature=signature),
        link(name="www.a.", type="MX", under="a.", by="nsec", denies="type"),
    ]
    assert cli.main(["explain", "www.a", "--url", url]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(ends))
    first = lines.index("✓ . secure")
    assert lines[first : first + 9] == [
        "✓ . secure",
        "├── anchor 7 RSASHA256 SHA-256",
        "├── KSK 7 RSASHA256 (2048 bits, named, signs the keys)",
        "├── ✓ a. secure",
        "│   ├── DS 7 RSASHA256 SHA-256",
        f"│   ├── ✓ www.a. A secure, signed by 4 ECDSAP256SHA256 of a. until {day}",
        "│   └── ✓ www.a. MX secure, there are no such records, by NSEC",
        "├── ○ b. insecure, unsigned, as NSEC3 above it proves",
        "└── ✗ c. bogus: no DNSKEY",
    ]


def test_nobody_writes_to_the_terminal_but_us(api: Api, url: str, capsys: Out) -> None:
    api.engine.answer |= {"ede": [{"code": 22, "text": "\x1b[2J[red]x"}], "why": "broken\r\nnews"}
    api.engine.explanation["steps"] = [step(text="\x1b[2J [red]x")]
    api.engine.explanation["chain"] = [link(name="\x1b[2J.", reason="\x07")]
    assert cli.main(["explain", "bücher.example", "aaaa", "--cd", "--fresh", "--client", "::1", "--url", url]) == 0
    shown = capsys.readouterr().out
    assert api.engine.calls == ["explain xn--bcher-kva.example. TYPE28 ::1 True True"]
    assert "[red]x" in shown
    assert not {"\x1b", "\r", "\x07"} & set(shown)


@pytest.mark.parametrize(
    ("end", "says"),
    [("dropped", "a. A: no answer is sent to 192.0.2.1"), ("open", "a. A: no answer within 1.5 ms")],
)
def test_no_answer_is_said(api: Api, url: str, end: str, says: str, capsys: Out) -> None:
    api.engine.explanation |= {"end": end, "told": None}
    assert cli.main(["explain", "a", "--client", "192.0.2.1", "--url", url]) == 0
    assert capsys.readouterr().out.splitlines()[0] == says


def test_as_json(url: str, capsys: Out) -> None:
    assert cli.main(["explain", "a", "--json", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["end"] == "answered"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("explain a..b", "body.name: A DNS label is empty."),
        ("explain a NOPE", "body.type: no record type"),
        ("explain a --client here", "body.client: "),
        ("explain", "see runbound explain --help"),
        ("explain a --flush", "see runbound explain --help"),
    ],
)
def test_what_cannot_be_asked_is_said(url: str, line: str, says: str, capsys: Out) -> None:
    assert cli.main([*line.split(), "--url", url]) == 1
    assert says in capsys.readouterr().err


def test_help(capsys: Out) -> None:
    assert cli.main(["help", "explain"]) == 0
    shown = capsys.readouterr().out
    assert "--fresh" in shown
    assert "--client" in shown


def test_a_resolver_that_does_not_run(tmp_path: Path, capsys: Out) -> None:
    assert cli.main(["explain", "a", "--url", "http://127.0.0.1:1"]) == 1
    assert "no runbound answers" in capsys.readouterr().err
