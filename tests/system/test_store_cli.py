"""`runbound store` as a process: what an operator types, what it prints, and how it ends."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runbound import engine
from runbound.state.entries import Pending
from support.servers import ROOT
from support.stores import NOTE, Opener, keys, record

SECRET = "s" * 32
AUDIT = "a" * 32


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory, with the keys of the environment that `run` sets."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    opener = Opener(folder)
    store = opener(keys(SECRET.encode(), AUDIT.encode()))
    bulk = engine.Bulk("record", "zone")
    bulk.feed(b"a.example. 60 IN A 192.0.2.1\nb.example. 60 IN A 192.0.2.2\n")
    assert bulk.finish() == []
    store.applied([store.commit([Pending(NOTE, bulk=bulk)])[0].revision])
    opener.close()
    return folder


def run(*words: str, code: int = 0, **environ: str) -> str:
    """Both outputs of a command that ends with `code`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNBOUND_")}
    given = {"RUNBOUND_STORE_KEY": SECRET, "RUNBOUND_AUDIT_HMAC_KEY": AUDIT, **environ}
    done = subprocess.run(
        [sys.executable, "-m", "runbound", "store", *words],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **{k: v for k, v in given.items() if v}},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_verify_to_resign(state: Path, tmp_path: Path) -> None:
    place = ("--state", str(state))
    assert "nothing wrong" in run("verify", *place)
    assert json.loads(run("verify", "--json", *place))["entries"] == {"record": 2}
    said = run("verify", *place, code=1, RUNBOUND_STORE_KEY="t" * 32)
    assert "the state was written with another key" in said
    assert "written with a key, and there is none now" in run("verify", *place, code=1, RUNBOUND_STORE_KEY="")

    run("export", str(tmp_path / "out.jsonl"), *place)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "out.jsonl.mac").read_text().strip()) == 64

    (tmp_path / "old").write_text(SECRET)
    said = run("resign", "--old-key-file", str(tmp_path / "old"), *place, RUNBOUND_STORE_KEY="t" * 32)
    assert "nothing wrong" in said
    assert "state.db.2" in said
    assert "nothing wrong" in run("verify", *place, RUNBOUND_STORE_KEY="t" * 32)


def test_damage_is_named_and_taken_in_only_on_somebodys_word(state: Path) -> None:
    place = ("--state", str(state))
    octets = (state / "state.db").read_bytes()
    assert octets.count(b"192.0.2.2") >= 1
    (state / "state.db").write_bytes(octets.replace(b"192.0.2.2", b"192.0.2.3"))
    assert "of kind record was changed behind runbound's back" in run("verify", *place, code=1)
    assert "--accept" in run("resign", *place, code=1)
    assert "accepted: " in run("resign", "--accept", *place)
    assert "nothing wrong" in run("verify", *place)
    assert "192.0.2.3" in run("export", *place)


def test_import_fails_closed_and_all_or_nothing(state: Path, tmp_path: Path) -> None:
    place = ("--state", str(state))
    run("export", str(tmp_path / "good.jsonl"), *place)
    (tmp_path / "dns_entries.json").write_text(
        '{"entries": [{"id": "1", "name": "c.example", "type": "A", "ttl": 60, "value": "192.0.2.9"}]}'
    )
    files = (str(tmp_path / "good.jsonl"), str(tmp_path / "dns_entries.json"))
    assert "there is no code beside it" in run("import", *files, *place, code=1)
    assert json.loads(run("verify", "--json", *place))["entries"] == {"record": 2}
    said = run("import", *files, "--unsigned", *place)
    assert "record: 1 added" in said
    assert json.loads(run("verify", "--json", *place))["entries"] == {"record": 3}

    (tmp_path / "good.jsonl").write_bytes((tmp_path / "good.jsonl").read_bytes().replace(b"192.0.2.1", b"192.0.2.7"))
    assert "the file was changed" in run("import", *files, "--unsigned", *place, code=1)


def test_a_state_that_is_in_use_is_left_alone(state: Path) -> None:
    opener = Opener(state)
    from runbound.state.directory import StateDirectory

    directory = StateDirectory.open(str(state))
    try:
        store = opener(keys(SECRET.encode(), AUDIT.encode()))
        store.commit([Pending(NOTE, (record("z", "192.0.2.5"),))])
        assert "nothing wrong" in run("verify", "--state", str(state))
        assert f"in use by process {os.getpid()}" in run("resign", "--state", str(state), code=1)
        assert "192.0.2.5" in run("export", "--state", str(state))
    finally:
        opener.close()
        directory.close()


def test_the_page_tells_the_truth(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/state.md: every command of it does something and succeeds, in the order of the page."""
    page = (ROOT / "docs" / "how-to" / "state.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}runbound store (.*--state .*)$", page, re.MULTILINE)
    assert len(lines) == 6
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.key").write_text(SECRET)
    (tmp_path / "dns_entries.json").write_text(
        '{"entries": [{"id": "1", "name": "c.example", "type": "A", "ttl": 60, "value": "192.0.2.9"}]}'
    )
    key = SECRET
    for line in lines:
        key = "n" * 32 if "--old-key-file" in line else key
        run(*shlex.split(line.replace("/var/lib/runbound", str(state))), RUNBOUND_STORE_KEY=key)
    assert json.loads(run("verify", "--json", "--state", str(state), RUNBOUND_STORE_KEY=key))["entries"] == {
        "record": 3
    }
