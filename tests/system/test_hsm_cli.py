"""`runbound hsm` on SoftHSM2: what a token holds afterwards, how often it logs in, that what it prints mends things."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.servers import RUNBOUND
from support.tokens import SOFTHSM, Token, fresh_key, softhsm, spied

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRUBBED = ("HSM_PIN", "HSM_SO_PIN", "RUNBOUND_API_KEY", "RUNBOUND_STORE_KEY", "RUNBOUND_AUDIT_HMAC_KEY")
DATA = b"what is coded"


class Desk:
    """Somebody at a terminal: a configuration for a token, and what the commands say."""

    def __init__(self, token: Token, folder: Path, **options: str) -> None:
        self.token = token
        self.conf = folder / "runbound.conf"
        self.pin = folder / "pin"
        self.pin.write_text(f"{token.pin}\n")
        self.pin.chmod(0o600)
        self.options = options
        self.write(**options)

    def write(self, username: str = "", **options: str) -> None:
        lines = self.token.config_lines(pin_file=str(self.pin), **options)
        self.conf.write_text(f'server:\n    username: "{username}"\n{lines}')

    def run(self, *words: object, code: int = 0, given: bytes = b"", **variables: str) -> str:
        """What a command prints; it has to end with that code, and to print no PIN."""
        kept = {name: value for name, value in self.token.environment().items() if name not in SCRUBBED}
        command = [str(RUNBOUND), "hsm", *(str(word) for word in words)]
        done = subprocess.run(
            command, env={**kept, **variables}, input=given, capture_output=True, timeout=60, start_new_session=True
        )
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, said
        assert self.token.pin not in said
        return said

    def doctor(self, *words: object, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("doctor", "-c", self.conf, "--json", *words, code=code))
        return found


def mac(key: bytes) -> bytes:
    return hmac.new(key, DATA, hashlib.sha256).digest()


@pytest.fixture
def token(tmp_path: Path) -> Iterator[Token]:
    with softhsm(tmp_path / "token") as made:
        yield made


@pytest.fixture
def desk(token: Token, tmp_path: Path) -> Desk:
    return Desk(token, tmp_path, api_key_label="a", store_key_label="s")


def test_from_nothing_to_a_start_that_gets_its_keys(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "tokens").mkdir(parents=True)
    (empty / "conf").write_text(f"directories.tokendir = {empty}/tokens\nobjectstore.backend = file\n")
    token = Token("softhsm", SOFTHSM, empty, {"SOFTHSM2_CONF": str(empty / "conf")}, "mine")
    desk = Desk(token, tmp_path)
    assert "runbound hsm init" in desk.run("doctor", "-c", desk.conf, code=1)
    officer = tmp_path / "so"
    officer.write_text(token.so_pin)
    officer.chmod(0o600)
    said = desk.run("init", "-c", desk.conf, "--so-pin-file", officer, "--pin-file", "-", given=token.pin.encode())
    lines = re.findall(r"^    hsm-\S+: .*$", said, re.MULTILINE)
    assert [line.split(":")[0].strip() for line in lines] == [
        "hsm-api-key-label",
        "hsm-store-key-label",
        "hsm-audit-key-label",
    ], "what the file has is not said again"
    desk.conf.write_text(desk.conf.read_text() + "\n".join(lines) + "\n")
    found = desk.doctor()
    assert found["loaded_ms"] is not None
    assert [trouble["what"] for trouble in found["troubles"] if "username" not in trouble["what"]] == []
    assert {(one["label"], one["private"], one["extractable"], one["sensitive"]) for one in found["objects"]} == {
        (f"runbound-{role}-key", True, True, False) for role in ("api", "store", "audit")
    }
    (shown,) = re.findall(r"^[0-9a-f]{64}$", said, re.MULTILINE)
    token.serial = found["slots"][0]["token"]["serial"]
    assert token.hmac("runbound-api-key", DATA) == mac(shown.encode())
    again = desk.run("init", "-c", desk.conf, "--so-pin-file", officer, code=1)
    assert 'there is a token "mine" already' in again
    assert "✓ CKM_SHA256_HMAC" in desk.run("doctor", "-c", desk.conf)


def test_a_token_that_stays_shut(tmp_path: Path, token: Token) -> None:
    desk = Desk(token, tmp_path, api_key_label="a", store_key_label="s", mode="in-token")
    desk.run("import-key", "store", "-c", desk.conf)
    shown = desk.run("import-key", "api", "-c", desk.conf)
    assert re.search(r"^[0-9a-f]{64}$", shown, re.MULTILINE)
    assert {(one["extractable"], one["sensitive"]) for one in desk.doctor()["objects"]} == {(False, True)}
    refused = desk.run("export-key", "store", tmp_path / "out", "-c", desk.conf, code=1)
    assert "CKA_EXTRACTABLE = false" in refused
    assert not (tmp_path / "out").exists()


def test_a_key_moves_in_and_out_and_stays_the_same(desk: Desk, token: Token, tmp_path: Path) -> None:
    key = os.urandom(31) + b"\n"
    raw, digits = tmp_path / "raw", tmp_path / "digits"
    raw.write_bytes(key)
    digits.write_text(f"{key.hex()}\n")
    desk.run("import-key", "store", "--from", "file", raw, "-c", desk.conf)
    desk.run("import-key", "audit", "--from", "file", digits, "--label", "d", "-c", desk.conf)
    desk.run("import-key", "audit", "--from", "stdin", "--label", "p", "-c", desk.conf, given=key.hex().encode())
    desk.run(
        "import-key", "store", "--from", "environment", "--label", "e", "-c", desk.conf, RUNBOUND_STORE_KEY=key.hex()
    )
    for label in ("s", "d", "p", "e"):
        assert token.hmac(label, DATA) == mac(key), label
    out = tmp_path / "out"
    desk.run("export-key", "store", out, "-c", desk.conf)
    assert out.read_text() == f"{key.hex()}\n"
    assert "C_FindObjects" not in desk.run("delete-key", "d", "--yes", "-c", desk.conf)
    assert {bytes.fromhex(one["label"] or "") for one in token.objects()} == {b"s", b"p", b"e"}
    assert "already" in desk.run("import-key", "store", "-c", desk.conf, code=1), "what is there is left"
    assert token.hmac("s", DATA) == mac(key)


def test_rotation_leaves_the_old_key_until_it_is_deleted(desk: Desk, token: Token) -> None:
    token.put("a", fresh_key())
    old = token.put("s", fresh_key())
    for after in ("s-v2", "s-v3"):
        said = desk.run("rotate", "store", "-c", desk.conf)
        assert f"instead of {'s' if after == 's-v2' else 's-v2'}" in said
        (change,) = re.findall(r"^ +(sed -i .*)$", said, re.MULTILINE)
        subprocess.run(change, shell=True, check=True)
        assert f'hsm-store-key-label: "{after}"' in desk.conf.read_text()
        assert desk.doctor()["wanted"]["store"] == after
    assert token.hmac("s", DATA) == mac(old)
    assert "the next start needs it" in desk.run("delete-key", "s-v3", "--yes", "-c", desk.conf, code=1)
    desk.run("delete-key", "s", "--yes", "-c", desk.conf)


def test_the_doctor_logs_in_twice_and_never_again_with_a_wrong_pin(token: Token, tmp_path: Path) -> None:
    token.put("s", fresh_key())
    watched = spied(token)
    desk = Desk(watched, tmp_path, store_key_label="s")
    assert desk.doctor()["ok"]
    assert watched.logins() == 2
    watched.forget()
    desk.pin.write_text("999999")
    found = desk.doctor(code=1)
    assert watched.logins() == 1
    (wrong,) = [trouble for trouble in found["troubles"] if trouble["severity"] == "error"]
    assert "C_Login: 0x000000a0 (CKR_PIN_INCORRECT)" in wrong["what"]
    assert str(desk.pin) in wrong["fix"]


@pytest.mark.parametrize(
    ("mode", "keeps", "names", "fix"),
    [
        ("extract", True, "CKA_EXTRACTABLE = false", "hsm-mode: in-token"),
        ("extract", None, "CKR_OBJECT_HANDLE_INVALID", "runbound hsm import-key -c {conf} store"),
        ("in-token", True, None, None),
        ("extract", False, None, None),
    ],
)
def test_the_doctor_says_what_a_start_would_say(
    token: Token, tmp_path: Path, mode: str, keeps: bool | None, names: str | None, fix: str | None
) -> None:
    if keeps is not None:
        (token.keep if keeps else token.put)("s", fresh_key())
    desk = Desk(token, tmp_path, store_key_label="s", mode=mode)
    found = desk.doctor(code=0 if names is None else 1)
    wrong = [trouble for trouble in found["troubles"] if trouble["severity"] == "error"]
    if names is None or fix is None:
        assert found["loaded_ms"] is not None
    else:
        assert names in wrong[0]["what"]
        assert fix.format(conf=desk.conf) in wrong[0]["fix"]


def test_a_key_that_needs_no_pin_could_be_better(token: Token, tmp_path: Path) -> None:
    token.put("s", fresh_key(), private=False)
    found = Desk(token, tmp_path, store_key_label="s").doctor()
    assert any("CKA_PRIVATE = false" in trouble["what"] for trouble in found["troubles"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks as somebody else")
def test_a_token_that_root_made_is_found_and_the_command_gives_it_away() -> None:
    folder = Path(tempfile.mkdtemp(prefix="runbound-hsm-"))
    try:
        folder.chmod(0o755)
        with softhsm(folder / "token") as token:
            key = token.put("s", fresh_key())
            desk = Desk(token, folder)
            tokens = folder / "token" / "tokens"
            tokens.chmod(0o777)
            desk.write(username="nobody", store_key_label="s")
            found = desk.doctor(code=1)
            hidden = found["troubles"][0]
            assert "cannot be seen by nobody: made by root" in hidden["what"]
            (made,) = tokens.iterdir()
            assert hidden["fix"] == f"chown -R nobody: {made}"
            subprocess.run(hidden["fix"], shell=True, check=True)
            assert desk.doctor()["account"] == "nobody"
            tokens.chmod(0o700)
            found = desk.doctor(code=1)
            assert found["troubles"][0]["fix"] == f"chown -R nobody: {tokens}"
            said = desk.run("import-key", "audit", "--label", "x", "-c", desk.conf, code=1)
            assert f"chown -R nobody: {tokens}" in said, "other commands say it too"
            subprocess.run(found["troubles"][0]["fix"], shell=True, check=True)
            assert desk.doctor()["ok"]
            assert token.hmac("s", DATA) == mac(key)
    finally:
        shutil.rmtree(folder)
