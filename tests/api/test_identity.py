"""Who is it? Wrong keys, the brake, the Unix socket's peer, and what is written down of a call."""

import os

import pytest
from starlette.testclient import TestClient

from runbound.api.apikey import KeyCheck
from runbound.api.auth import Call, Caller
from runbound.api.identify import MAX_TOKEN, PEER
from runbound.api.limits import FIRST_WAIT, FORGET_SECONDS, FREE_FAILURES, LONGEST_WAIT, Brake
from support.api import KEY, Api


def call(api: Api, key: str, path: str = "/system") -> tuple[int, str | None]:
    """Status and code of a GET with this key."""
    answer = api.client.get(path, headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.json().get("code")


def test_after_some_wrong_keys_none_is_compared_for_a_while(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(FREE_FAILURES + 1):
        assert call(api, "x" * 32) == (401, "UNAUTHORIZED")
    compared = []
    real = KeyCheck.matches

    def watched(check: KeyCheck, key: bytes) -> bool:
        compared.append(key)
        return real(check, key)

    monkeypatch.setattr(KeyCheck, "matches", watched)
    for key in ("x" * 32, KEY):
        answer = api.client.get("/system", headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_FAILURES")
        assert answer.headers["retry-after"] == str(int(FIRST_WAIT) + 1)
    assert compared == []
    assert call(api, KEY, "/health") == (200, None)
    api.now[0] += FIRST_WAIT
    assert call(api, KEY) == (200, None)
    assert compared == [KEY.encode()]


def test_a_stranger_without_a_key_guesses_nothing(api: Api) -> None:
    for _ in range(FREE_FAILURES * 3):
        assert api.client.get("/system").status_code == 401
    assert call(api, KEY) == (200, None)


def test_each_wrong_key_more_costs_longer_and_time_heals() -> None:
    now = [0.0]
    brake = Brake(lambda: now[0])
    assert [brake.failed("192.0.2.1") for _ in range(FREE_FAILURES)] == [0.0] * FREE_FAILURES
    waits = []
    for _ in range(12):
        waits.append(brake.failed("192.0.2.1"))
        assert brake.wait("192.0.2.1") == waits[-1]
        now[0] += waits[-1]
        assert brake.wait("192.0.2.1") == 0
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_WAIT < FORGET_SECONDS
    assert brake.wait("192.0.2.2") == 0
    now[0] += FORGET_SECONDS + 1
    assert brake.failed("192.0.2.1") == 0


def test_the_brake_counts_networks_and_is_bounded() -> None:
    brake = Brake(lambda: 0.0)
    for number in range(FREE_FAILURES + 1):
        brake.failed(f"2001:db8::{number}")
    assert brake.wait("2001:db8::ffff:1") > 0
    assert brake.wait("2001:db8:0:1::1") == 0
    for number in range(FREE_FAILURES + 1):
        brake.failed("::ffff:192.0.2.1" if number % 2 else "192.0.2.1")
    assert brake.wait("192.0.2.1") > 0
    for number in range(5000):
        brake.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(brake._failures) <= 4096


@pytest.mark.parametrize("value", ["Bearer " + "x" * (MAX_TOKEN + 1), "Bearer", "Basic x", f"Bearer rb_1_{'x' * 43}"])
def test_what_is_no_key_counts_as_a_wrong_one(api: Api, value: str) -> None:
    for _ in range(FREE_FAILURES + 1):
        assert api.client.get("/system", headers={"Authorization": value}).status_code == 401
    assert call(api, KEY) == (429, "TOO_MANY_FAILURES")


@pytest.mark.parametrize(("peer", "known"), [(0, True), (os.geteuid(), True), (os.geteuid() + 1, False), (None, False)])
def test_root_and_we_ourselves_need_no_key_on_the_unix_socket(api: Api, peer: int | None, known: bool) -> None:
    inner = api.client.app

    async def behind_a_socket(scope, receive, send):  # type: ignore[no-untyped-def]
        await inner({**scope, "state": {PEER: peer} if peer is not None else {}}, receive, send)

    with TestClient(behind_a_socket, client=None) as client:  # type: ignore[arg-type]  # as uvicorn has it
        assert client.get("/system").status_code == (200 if known else 401)
        assert client.get("/system", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/system", headers=api.key).status_code == 200
        for _ in range(FREE_FAILURES * 2):
            client.get("/system", headers={"Authorization": "Bearer wrong"})
        assert client.get("/system", headers=api.key).status_code == 200
        flushed = client.post("/cache/flush", json={"what": "negative"})
        assert flushed.status_code == (200 if known else 401)
    if known:
        assert api.engine.said("cache flushed actor=local")


@pytest.mark.parametrize(
    ("name", "zone", "inside"),
    [
        ("a.example.", "example.", True),
        ("example.", "example.", True),
        ("EXAMPLE.", "example.", True),
        ("notexample.", "example.", False),
        (".", "example.", False),
        ("a\\.example.", "example.", False),
        ("a\\\\.example.", "example.", True),
        ("com.", ".", True),
        ("b.a.example.", "a.example.", True),
        ("example.", "a.example.", False),
    ],
)
def test_zones_are_compared_label_by_label(name: str, zone: str, inside: bool) -> None:
    caller = Caller("u", "dns", (zone,), Call("GET", "/", "1", None))
    assert caller.may(name) is inside
    assert Caller("u", "dns", (), caller.call).may(name)
