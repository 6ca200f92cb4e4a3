"""The API key: changed, and the one before dead for good."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest

from runbound.api.apikey import MAX_DEAD, Dead, Holder, KeyCheck, TokenCheck
from runbound.api.settings import ApiKey
from runbound.ops import users
from runbound.ops.outcome import Change
from runbound.ops.refusals import Conflict, StateUnavailable
from runbound.state.directory import StateDirectory, StateUnusableError
from support.api import KEY, Api, FakeKeyFile

if TYPE_CHECKING:
    from pathlib import Path

CHANGE = Change("a test", "")


def rotated(api: Api) -> str:
    """The new key."""
    answer = api.client.post("/rotate-key", headers=api.key)
    assert answer.status_code == 200, answer.text
    assert answer.json()["file"] == "/state/api.key"
    secret: str = answer.json()["secret"]
    return secret


def status(api: Api, key: str) -> int:
    return api.client.get("/system", headers={"Authorization": f"Bearer {key}"}).status_code


def test_the_old_key_is_dead_at_once_and_stays_dead(api: Api) -> None:
    new = rotated(api)
    assert (status(api, KEY), status(api, new)) == (401, 200)
    dead = Dead.read(api.changes)
    died: list[ApiKey] = []
    keys = [ApiKey(KEY, "the environment"), ApiKey(KEY, "the file"), ApiKey(new, "api.key")]
    assert dead.living(keys, died.append) == keys[2]
    assert died == keys[:2]
    assert dead.living(keys[:2], died.append) is None
    for kept in api.store.page("user", after=None, limit=10):
        assert KEY not in str(kept)
        assert new not in str(kept)
    assert new not in str(api.engine.lines)


def test_no_other_key_that_was_given_takes_the_place_of_the_new_one(api: Api) -> None:
    dead = Dead.read(api.changes)
    keys = [ApiKey(KEY, "the environment"), ApiKey("f" * 32, "the file")]
    check = KeyCheck(KEY, bytes.fromhex(dead.salt))
    given = [dead.check(key).mark[1] for key in keys]
    Holder(check, file=FakeKeyFile(), given=given).rotate(api.changes, CHANGE)
    assert Dead.read(api.changes).living(keys, lambda _key: None) is None
    later = ApiKey("l" * 32, "the environment")
    assert Dead.read(api.changes).living([*keys, later], lambda _key: None) == later


def test_a_dry_run_changes_nothing(api: Api) -> None:
    answer = api.client.post("/rotate-key?dry_run=1", headers=api.key)
    assert answer.json()["dry_run"] is True
    assert "secret" not in answer.json()
    assert status(api, KEY) == 200
    assert Dead.read(api.changes).dead == ()


def test_a_key_after_another(api: Api) -> None:
    check, file = KeyCheck("0" * 32, bytes.fromhex(Dead.read(api.changes).salt)), FakeKeyFile()
    holder = Holder(check, file=file)
    keys = ["0" * 32]
    for _ in range(3):
        key, _place = holder.rotate(api.changes, CHANGE)
        assert file.key == key
        assert check.matches(key.encode())
        assert not check.matches(keys[-1].encode())
        keys.append(key)
    dead = Dead.read(api.changes)
    assert [dead.holds(ApiKey(key, "")) for key in keys] == [True, True, True, False]
    assert MAX_DEAD >= 100


def test_what_cannot_be_kept_leaves_the_old_key_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FakeKeyFile()
    file.key = KEY
    check = KeyCheck(KEY)
    holder = Holder(check, file=file)
    file.broken = StateUnusableError("no room")
    with pytest.raises(StateUnavailable, match="no room"):
        holder.rotate(api.changes, CHANGE)
    file.broken = None
    real = api.changes.edit

    def fails(change: Change, plan: object, *, dry_run: bool = False) -> object:
        if dry_run:
            return real(change, plan, dry_run=True)  # type: ignore[arg-type]  # as it was given
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(api.changes, "edit", fails)
        with pytest.raises(OSError, match="full"):
            holder.rotate(api.changes, CHANGE)
    assert check.matches(KEY.encode())
    assert file.key == KEY
    with pytest.raises(StateUnavailable):
        Holder(check).rotate(api.changes, CHANGE)


def test_two_who_change_it_at_once_do_not_both(api: Api) -> None:
    check = KeyCheck(KEY)
    Holder(check, file=FakeKeyFile()).rotate(api.changes, CHANGE)
    late = Holder(KeyCheck(KEY), file=FakeKeyFile())
    with pytest.raises(Conflict):
        late.rotate(api.changes, CHANGE)


def test_a_dead_key_is_no_user(api: Api) -> None:
    rotated(api)
    entry = api.store.get(users.KIND, users.API_KEY.encode())
    assert entry is not None
    holder = {"Authorization": f"Bearer {api.files.key}"}
    for method in ("GET", "DELETE", "PATCH"):
        body = {"json": {"disabled": True}} if method == "PATCH" else {}
        answer = api.client.request(method, f"/users/{entry.id}", headers=holder, **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert api.client.get("/users", headers=holder).json()["items"] == []
    assert status(api, f"rb_{entry.id}_{'A' * 43}") == 401


def test_the_state_directory_keeps_the_key(tmp_path: Path) -> None:
    folder = StateDirectory.open(str(tmp_path / "state"))
    try:
        assert folder.kept_api_key() is None
        first, place = folder.api_key()
        assert folder.api_key() == (first, place)
        assert folder.keep_api_key("n" * 43) == place
        assert folder.kept_api_key() == folder.api_key()[0] == "n" * 43
        assert (tmp_path / "state" / "api.key").stat().st_mode & 0o777 == 0o600
        assert folder.new_api_key()[0] not in (first, "n" * 43)
    finally:
        folder.close()


NONCE = bytes(range(32))
TOKENS_KEY = b"t" * 64


def token_check(key: bytes = TOKENS_KEY) -> TokenCheck:
    return TokenCheck(hmac.digest(key, NONCE, "sha256"), NONCE)


def test_a_key_in_a_token_is_told_from_any_other() -> None:
    check = token_check()
    assert check.matches(TOKENS_KEY)
    for other in (b"", b"t", TOKENS_KEY[:-1], TOKENS_KEY + b"t", b"T" * 64):
        assert not check.matches(other)


@pytest.mark.parametrize("end", [b"\0", b"\0" * 20, b" ", b"\n", b"\x7f", b"\xff"])
def test_what_cannot_be_a_bearer_key_is_none_whatever_its_code(end: bytes) -> None:
    """HMAC fills a key of less than 64 octets up with zeros: the key and a zero behind it have the same code."""
    short = b"t" * 40
    assert token_check(short).matches(short)
    assert not token_check(short).matches(short + end)
    assert not token_check(short + end).matches(short + end)


def test_a_long_key_is_not_its_digest() -> None:
    long = b"t" * 100
    assert token_check(long).matches(long)
    assert not token_check(long).matches(hashlib.sha256(long).digest())


def test_the_key_of_a_token_comes_first_and_is_not_changed_here(api: Api) -> None:
    holder: Holder = api.client.app.state.api_key  # type: ignore[attr-defined]  # as build made it
    holder.take(token_check())
    assert (status(api, KEY), status(api, TOKENS_KEY.decode())) == (401, 200)
    header = {"Authorization": f"Bearer {TOKENS_KEY.decode()}"}
    for query in ("", "?dry_run=1"):
        answer = api.client.post(f"/rotate-key{query}", headers=header)
        assert (answer.status_code, answer.json()["code"]) == (409, "KEY_IN_HSM")
    holder.take(token_check(b"n" * 64))
    assert (status(api, TOKENS_KEY.decode()), status(api, "n" * 64)) == (401, 200)
    holder.give_up_token(lambda: KeyCheck("x" * 32))
    assert (status(api, "n" * 64), status(api, KEY)) == (401, 200)


def test_a_dead_key_that_is_put_into_a_token_lives(api: Api) -> None:
    rotated(api)
    holder: Holder = api.client.app.state.api_key  # type: ignore[attr-defined]  # as build made it
    holder.take(token_check(KEY.encode()))
    assert status(api, KEY) == 200


def test_without_the_token_nobody_has_a_key_that_could_not_be_made() -> None:
    holder = Holder(None, token=token_check())
    with pytest.raises(StateUnusableError):
        holder.give_up_token(_no_key)
    assert not holder.matches(TOKENS_KEY)
    assert not holder.matches(b"")


def _no_key() -> KeyCheck:
    raise StateUnusableError("no room")
