"""The chains of keys: which secret wins, how one is written, and what is said when there is none."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runbound.config.load import examine
from runbound.engine import Secret, scan_text
from runbound.errors import RunboundError
from runbound.ops.keys import Given, choose, secret_key
from runbound.state.directory import StateDirectory
from runbound.state.origin import AUDIT_VARIABLE, STORE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbound.config.model import Config

WORDS = "correct horse battery staple, twice"
DIGITS = "0123456789abcdef" * 4


def code(secret: bytes) -> bytes:
    return hmac.digest(secret, b"x", "sha256")


def config(text: str = "") -> Config:
    loaded = examine(scan_text(f"server:\n{text}\n".encode(), "test.conf", "/"), "/test.conf")
    assert loaded.ok, loaded.diagnostics
    return loaded.config


def taken(environ: dict[str, str]) -> Given:
    """What this environment gives; it is emptied of it."""
    return Given.take(lambda name: Secret(environ.pop(name).encode()) if name in environ else None)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    opened = StateDirectory.open(str(tmp_path / "state"))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        (DIGITS, bytes.fromhex(DIGITS)),
        (DIGITS.upper(), bytes.fromhex(DIGITS)),
        (DIGITS + "ab", bytes.fromhex(DIGITS + "ab")),
        (DIGITS + "a", (DIGITS + "a").encode()),
        (DIGITS[:62], DIGITS[:62].encode()),
        (DIGITS + "\n", (DIGITS + "\n").encode()),
        (WORDS, WORDS.encode()),
        ("é" * 16, ("é" * 16).encode()),
        ("\udcff" * 32, b"\xff" * 32),
    ],
)
def test_a_secret_is_digits_or_its_octets(written: str, octets: bytes) -> None:
    assert secret_key(written, "here").mac(b"x") == code(octets)


@pytest.mark.parametrize(("written", "what"), [("", "too short"), ("x" * 31, "too short"), ("x" * 5000, "too long")])
def test_a_poor_secret_is_refused_and_not_shown(written: str, what: str) -> None:
    with pytest.raises(RunboundError, match=f"here: a secret of {len(written)} octets is {what}") as caught:
        secret_key(written, "here")
    assert "openssl rand -hex 32" in str(caught.value)
    assert not written or written not in str(caught.value)


def test_without_any_the_state_is_open_and_the_audit_key_is_made_once(state: StateDirectory) -> None:
    first = choose(config(), state, Given())
    assert not first.keys.protected
    assert first.warnings == ()
    assert [what for what, _ in first.notes] == [
        f"{STORE_VARIABLE} is not set: whoever can write to {state.path} can change the state unnoticed"
    ]
    kept = Path(state.path, "audit.key")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert first.audit == str(kept)
    assert first.keys.audit.mac(b"x") == code(bytes.fromhex(kept.read_text().strip()))
    assert choose(config(), state, Given()).keys.audit.mac(b"x") == first.keys.audit.mac(b"x")


def test_the_environment_comes_first_and_is_emptied(state: StateDirectory) -> None:
    environ = {STORE_VARIABLE: WORDS, AUDIT_VARIABLE: DIGITS, "HOME": "/"}
    given = taken(environ)
    chosen = choose(config(f'audit-log-hmac-key: "{WORDS}"'), state, given)
    assert environ == {"HOME": "/"}
    assert chosen.keys.protected
    assert chosen.keys.store.mac(b"x") == code(WORDS.encode())
    assert chosen.keys.audit.mac(b"x") == code(bytes.fromhex(DIGITS))
    assert (chosen.store, chosen.audit) == (
        f"the environment ({STORE_VARIABLE})",
        f"the environment ({AUDIT_VARIABLE})",
    )
    assert not Path(state.path, "audit.key").exists()


def test_a_key_of_the_file_is_taken_and_warned_of(state: StateDirectory) -> None:
    chosen = choose(config(f"audit-log-hmac-key: {DIGITS}"), state, taken({STORE_VARIABLE: WORDS}))
    assert chosen.keys.audit.mac(b"x") == code(bytes.fromhex(DIGITS))
    assert [what for what, _ in chosen.warnings] == [
        "audit-log-hmac-key: a key in the configuration file is read by whoever reads the file"
    ]
    assert chosen.notes == ()
    assert DIGITS not in repr(chosen)


@pytest.mark.parametrize("variable", [STORE_VARIABLE, AUDIT_VARIABLE])
def test_a_poor_key_is_never_passed_over(variable: str) -> None:
    with pytest.raises(RunboundError, match=f"{variable}: a secret of 3 octets"):
        taken({variable: "abc"})
    with pytest.raises(RunboundError, match=f"{variable}: a secret of 0 octets"):
        taken({variable: ""})


def test_an_empty_key_file_is_no_key(state: StateDirectory) -> None:
    Path(state.path, "audit.key").write_text("\n")
    with pytest.raises(RunboundError, match="key is empty"):
        choose(config(), state, Given())
