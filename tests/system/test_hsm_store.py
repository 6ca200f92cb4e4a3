"""The state's keys from one place to another: environment, token (read or kept there), nowhere; one command each.

On SoftHSM2. After every move everything that was kept is there, the new keys prove it, and backups are sealed by them.
"""

from __future__ import annotations

import hmac
import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound import engine
from runbound.state.backup import Backups
from runbound.state.opening import StoreKeys, backup_key
from runbound.state.store import Store
from support.stores import Opener, fill, told
from support.tokens import Token, softhsm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORE, AUDIT = "5" * 64, "a" * 64
"""What the environment gives, in hexadecimal."""
LABELS = ("runbound-store-key", "runbound-audit-key")


class Place(msgspec.Struct, frozen=True):
    """Where keys come from."""

    name: str
    lines: str
    environ: dict[str, str]
    keys: StoreKeys


SUFFIXES = (("", "extract"), ("-v2", "extract"), ("", "in-token"), ("-kept", "in-token"))
"""Labels end so, and keys are used so."""


class Filled(msgspec.Struct, frozen=True):
    """A token with keys, and what they are."""

    token: Token
    values: dict[str, bytes]

    @classmethod
    def of(cls, token: Token) -> Filled:
        labels = {label + suffix for suffix, _mode in SUFFIXES for label in LABELS}
        values = {label: os.urandom(32) for label in sorted(labels)}
        for label, value in values.items():
            (token.keep if label.endswith("-kept") else token.put)(label, value)
        return cls(token, values)


def key(octets: bytes) -> Any:
    return engine.SecretKey(octets)


class House:
    """A state directory, a token, and a configuration file for each place."""

    def __init__(self, folder: Path, filled: Filled) -> None:
        self.folder = folder
        self.token = filled.token
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        (self.state / "lock").touch(0o600)
        (self.state / "audit.key").touch(0o600)
        (self.state / "audit.key").write_text("c" * 64 + "\n")
        self.places = {place.name: place for place in self._places(filled.values)}

    def _places(self, values: dict[str, bytes]) -> Iterator[Place]:
        given = {"RUNBOUND_STORE_KEY": STORE, "RUNBOUND_AUDIT_HMAC_KEY": AUDIT}
        yield Place("environment", "", given, StoreKeys(key(b"\x55" * 32), key(b"\xaa" * 32), protected=True))
        yield Place("none", "", {}, StoreKeys(engine.SecretKey.public(), key(b"\xcc" * 32), protected=False))
        for suffix, mode in SUFFIXES:
            store, audit = (label + suffix for label in LABELS)
            found = [values[store], values[audit]]
            if mode == "in-token":
                roles = (b"runbound store 1", b"runbound audit 1")
                found = [hmac.digest(value, role, "sha256") for value, role in zip(found, roles, strict=True)]
            lines = self.token.config_lines(store_key_label=store, audit_key_label=audit, mode=mode)
            keys = StoreKeys(key(found[0]), key(found[1]), protected=True)
            yield Place(mode + suffix, lines, self.token.pin_env(), keys)

    def conf(self, place: Place) -> str:
        path = self.folder / f"{place.name}.conf"
        path.write_text(
            f'server:\n    username: ""\n    directory: "{self.folder}"\n    state-dir: state\n{place.lines}'
        )
        return str(path)

    def run(self, *words: str, place: Place, code: int = 0, environ: dict[str, str] | None = None) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNBOUND_")}
        done = subprocess.run(
            [sys.executable, "-m", "runbound", "store", *words, "-c", self.conf(place)],
            env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **place.environ, **(environ or {})},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def content(self, place: Place) -> list[Any]:
        """What the state says under the keys of a place."""
        store = Store.open(str(self.state), place.keys, engine)
        try:
            entries, by_id, _rows, revisions, changes, views, _audit, uses, pending = told(store)
        finally:
            store.close()
        return [entries, by_id, revisions, changes, views, uses, pending]

    def begin(self, place: Place) -> str:
        """A state under the keys of a place, as the resolver leaves it; the name of its backup."""
        opener = Opener(self.state)
        fill(opener(place.keys))
        backups = Backups(str(self.state), backup_key(place.keys), engine.verify_signature)
        with opener._open.picture() as picture:  # type: ignore[union-attr]
            made = backups.make(picture, "anna", "before the move")
        opener.close()
        self.run("resign", place=place)  # so that it remembers where its keys were
        return made.id

    def move(self, before: Place, after: Place) -> dict[str, Any]:
        """The one command."""
        more, environ = [], {}
        if before.name == "environment" and after.lines:
            environ = before.environ  # still set, and no more in force
        elif before.name == "environment":
            for name, option in (
                ("RUNBOUND_STORE_KEY", "--old-key-file"),
                ("RUNBOUND_AUDIT_HMAC_KEY", "--old-audit-key-file"),
            ):
                path = self.folder / name
                path.write_text(before.environ[name] + "\n")
                more += [option, str(path)]
        elif before.lines and not after.lines:
            more, environ = ["--old-conf", self.conf(before)], self.token.pin_env()
        return json.loads(self.run("resign", "--json", *more, place=after, environ=environ))  # type: ignore[no-any-return]


NAMES = ("environment", "none", "extract", "extract-v2", "in-token", "in-token-kept")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A token that nobody here changes."""
    with softhsm(tmp_path_factory.mktemp("token") / "token") as token:
        yield Filled.of(token)


@pytest.fixture
def house(tmp_path: Path, filled: Filled) -> House:
    return House(tmp_path, filled)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(NAMES, 2)))
def test_there_and_back(house: House, first: str, second: str) -> None:
    here, there = house.places[first], house.places[second]
    backup = house.begin(here)
    before = house.content(here)
    for source, target in ((here, there), (there, here)):
        done = house.move(source, target)
        assert (done["before"]["faults"], done["after"]["faults"]) == ([], [])
        assert done["backups"] == 1
        assert done["strange"] == []
        assert house.content(target) == before
        proven = Backups(str(house.state), backup_key(target.keys), engine.verify_signature).proven(backup)
        assert proven.seal.actor == "anna"
    assert len(list(house.state.glob("audit-*.jsonl"))) == 2
    assert not list(house.state.glob("*.new"))


def test_a_wrong_place_is_named_with_the_command_that_mends_it(house: House) -> None:
    extract, token, kept = (house.places[name] for name in ("extract", "in-token", "in-token-kept"))
    house.begin(extract)
    said = house.run("verify", place=token, code=1)
    assert "was written in hsm-mode: extract, and hsm-mode: in-token makes another key of runbound-store-key" in said
    said = house.run("verify", place=kept, code=1)
    assert "was written with the HSM's key runbound-store-key in mode extract" in said
    assert "nothing wrong" in house.run("verify", place=extract)
    said = house.run("verify", place=house.places["none"], code=1)
    assert "written with the HSM's key runbound-store-key in mode extract, and there is none now" in said


def test_the_commands_that_a_refusal_names_work(tmp_path: Path) -> None:
    with softhsm(tmp_path / "token") as token:
        house = House(tmp_path, Filled.of(token))
        commands(house)


def commands(house: House) -> None:
    house.begin(house.places["extract"])
    said = house.run(
        "resign", "--old-hsm-label", LABELS[0], "--old-hsm-mode", "extract", place=house.places["in-token"]
    )
    assert "nothing wrong" in said
    assert "sealed anew: 1 backups" in said
    # The label is gone from the token: there is no way back but to say which file holds the key.
    house.token.delete(LABELS[0])
    said = house.run("resign", place=house.places["extract-v2"], code=1)
    assert "CKR_OBJECT_HANDLE_INVALID" in said
    assert LABELS[0] in said


def test_hsm_to_nowhere_without_saying_where_it_was(house: House) -> None:
    house.begin(house.places["extract"])
    said = house.run("resign", place=house.places["environment"], code=1)
    assert "runbound-store-key" in said
    assert "--old-conf" in said
    content = house.content(house.places["extract"])
    assert content


def test_export_and_import_under_keys_of_the_token(house: House, tmp_path: Path) -> None:
    kept = house.places["in-token-kept"]
    house.begin(kept)
    out = str(tmp_path / "out.jsonl")
    house.run("export", out, place=kept)
    assert len((tmp_path / "out.jsonl.mac").read_text().strip()) == 64
    assert "revision" in house.run("import", out, place=kept)
    house.run("import", out, place=house.places["environment"], code=1)
    assert "nothing wrong" in house.run("verify", place=kept)


def test_one_login_for_each_question(house: House) -> None:
    from support.tokens import spied

    kept = house.places["in-token-kept"]
    house.begin(kept)
    spy = spied(house.token)
    lines = spy.config_lines(store_key_label=f"{LABELS[0]}-kept", audit_key_label=f"{LABELS[1]}-kept", mode="in-token")
    place = Place("spied", lines, spy.pin_env(), kept.keys)
    assert "nothing wrong" in house.run("verify", place=place)
    assert spy.logins() == 1
