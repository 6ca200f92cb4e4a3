"""`runbound audit` and `runbound backup`: what stands on the terminal, and what is refused before anything is asked."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from runbound import cli
from runbound.cli import audit, backup
from runbound.engine import SecretKey
from runbound.state.entries import Event
from runbound.state.trail import Chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "6b" * 32
KEY = SecretKey(bytes.fromhex(SECRET))


class FakeClient:
    """Answers from a list, and remembers what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        return self.answers.pop(0)

    def post(self, path: str, _body: object) -> Any:
        return self.get(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command line: the code and what it printed."""

    def of(*words: object) -> tuple[int, str]:
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of eight entries with a checkpoint, and its key beside it."""
    chain = Chain(KEY)
    lines = [chain.append(n, Event("record.add", "alice", {"name": "a b", "n": n})) for n in range(6)]
    lines += [chain.checkpoint(7), chain.append(8, Event("service.stop", "runbound"))]
    path = tmp_path / "audit.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "audit.key").write_text(f"{SECRET}\n")
    return path


def test_a_file_is_proven_with_its_key(run: Callable[..., tuple[int, str]], log: Path) -> None:
    code, said = run("audit", "verify", log, "--key-file", log.parent / "audit.key")
    assert code == 0
    head = json.loads(log.read_text().splitlines()[-1])["mac"]
    assert said.splitlines() == [
        "8 entries, 1 to 8, 1970-01-01T00:00:00.000000Z to 1970-01-01T00:00:00.000008Z, 1 signed checkpoints",
        "proven: every entry is as it was written, none is missing, added or moved between them",
        "not proven: that nothing came after entry 8; compare with an anchor outside (--state, or --expect SEQ:MAC)",
        f"last entry: 8:{head}",
        f"public key: {KEY.public_key().hex()}",
    ]
    assert run("audit", "verify", log, "--expect", f"8:{head}", "--key-file", log.parent / "audit.key")[0] == 0
    code, said = run("audit", "verify", log, "--expect", f"9:{head}")
    assert (code, "truncated" in said) == (1, True)


def test_the_key_may_come_from_the_environment(
    run: Callable[..., tuple[int, str]], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOUND_AUDIT_HMAC_KEY", SECRET)
    assert "every entry is as it was written" in run("audit", "verify", log)[1]
    monkeypatch.setenv("RUNBOUND_AUDIT_HMAC_KEY", "7" * 64)
    code, said = run("audit", "verify", log)
    assert (code, "wrong-key" in said) == (1, True)


def test_the_public_key_is_enough_for_what_was_signed(run: Callable[..., tuple[int, str]], log: Path) -> None:
    code, said = run("audit", "verify", log, "--public-key", KEY.public_key().hex())
    assert code == 0
    assert "proven: entries 1 to 6 are as they were signed for" in said
    assert "not proven without the audit key: the contents of entries 7 to 8" in said


def test_a_fault_is_one_line_and_code_1(run: Callable[..., tuple[int, str]], log: Path) -> None:
    log.write_text(log.read_text().replace('"n":2', '"n":\\x1b', 1))
    code, said = run("audit", "verify", log, "--key-file", log.parent / "audit.key")
    assert code == 1
    assert said.startswith(f"{log}:3: edited: ")
    assert "\x1b" not in said
    code, said = run("audit", "verify", log, "--json")
    assert code == 1
    assert json.loads(said)["fault"]["line"] == 3


def test_a_pipe_is_a_file_too(run: Callable[..., tuple[int, str]], log: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(log.read_bytes()))
    writer.start()
    code, said = run("audit", "verify", pipe, "--key-file", log.parent / "audit.key")
    writer.join()
    assert (code, "8 entries" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--key-file", "/nowhere"), "cannot read it"),
        (("--public-key", "12"), "it is no public key"),
        (("--public-key", "g" * 64), "it is no public key"),
        (("--expect", "12"), "12 names no entry"),
        (("--state", "/nowhere"), "there is no state in it"),
        (("--expect", f"1:{'0' * 64}", "--state", "/nowhere"), "say the same"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Callable[..., tuple[int, str]], log: Path, words: tuple[str, ...], reason: str
) -> None:
    code, said = run("audit", "verify", log, *words)
    assert code == 1
    assert reason in said


def test_entries_are_one_line_each_and_nobody_writes_to_the_terminal(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"time": "2026-11-23T20:18:04.123456Z", "event": "user.add", "prev": "", "mac": "", "genuine": True}
    items = [
        {**row, "seq": 1, "actor": "al\x1bice", "fields": {"name": "a b", "n": 3, "zones": ["x"]}},
        {**row, "seq": 2, "actor": "bob", "fields": {}, "genuine": False},
    ]
    client = FakeClient({"items": items, "head": 2})
    monkeypatch.setattr(audit, "find", lambda *_: client)
    code, said = run("audit", "tail", "-n", "2", "--event", "user")
    assert code == 0
    assert said.splitlines() == [
        '     1 2026-11-23T20:18:04Z user.add al\\x1bice name="a b" n=3 zones=["x"]',
        "     2 2026-11-23T20:18:04Z CHANGED user.add bob",
    ]
    assert client.asked == ["/audit/tail?limit=2&event=user"]


def test_the_proof_of_the_running_one_has_its_code(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = {"name": "file", "place": "/x", "seq": 3, "behind": 1, "error": "No space left on device"}
    good = {"ok": True, "fault": None, "entries": 4, "last": 4, "head": "ab", "checkpoints": 1, "told": ["proven: x"]}
    answer = {**good, "public_key": "cd", "sinks": [sink]}
    bad = {**answer, "ok": False, "fault": {"kind": "edited", "seq": 2, "what": "entry 2 was changed"}}
    client = FakeClient(answer, bad)
    monkeypatch.setattr(audit, "find", lambda *_: client)
    code, said = run("audit", "verify")
    assert code == 0
    assert "last entry: 4:ab" in said
    assert "file /x: has entry 3, 1 behind, No space left on device" in said
    code, said = run("audit", "verify")
    assert code == 1
    assert said.startswith("edited: entry 2 was changed")


def test_what_a_restore_does_is_shown(run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"id": "x", "revision": 7, "summary": {"record": {"added": 2}}, "diff": ["+ record a. 60 A \x1b"], "more": 1}
    client = FakeClient(done, done)
    monkeypatch.setattr(backup, "find", lambda *_: client)
    code, said = run("backup", "restore", "x", "--reason", "oops", "--confirm-within", "60")
    assert code == 0
    assert said.splitlines() == ["+ record a. 60 A \\x1b", "and 1 more", "revision 7: record: 2 added"]
    assert client.asked == ["/backup/restore?reason=oops&dry_run=0&confirm_within=60"]
    assert run("backup", "restore", "x", "--dry-run")[1].splitlines()[-1] == "would change: record: 2 added"


def test_an_export_overwrites_nothing(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Downloads:
        def download(self, _path: str) -> list[bytes]:
            return [b"one\n", b"two\n"]

    monkeypatch.setattr(backup, "find", lambda *_: Downloads())
    path = tmp_path / "out"
    assert run("backup", "export", "x", path) == (0, f"{path}: 8 octets\n")
    assert path.stat().st_mode & 0o777 == 0o600
    code, said = run("backup", "export", "x", path)
    assert code == 1
    assert "File exists" in said
    assert path.read_bytes() == b"one\ntwo\n"
