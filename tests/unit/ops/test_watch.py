"""The watch over a token: lost, found again, another one, and that no PIN is ever tried by a loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from runbound.engine import Secret, SecretKey
from runbound.keys.messages import Load, Loaded, Want, encode
from runbound.keys.settings import HsmSettings, PinSource
from runbound.ops import watch
from runbound.ops.watch import AGAIN_SECONDS, Same, TokenWatch, exactly
from support.helpers import REFUSED, TOKEN, FakeToken

if TYPE_CHECKING:
    from runbound.ops.helper import HsmError

SETTINGS = HsmSettings(
    module="/lib/module.so",
    slot=0,
    token_label=None,
    token_serial=None,
    token_model=None,
    token_manufacturer=None,
    labels={"store": "store"},
    id=None,
    mode="in-token",
    timeout_s=30,
    final_try=False,
    pin=PinSource("environment", "HSM_PIN"),
)
LOAD = Load(
    open=SETTINGS.open(), mode="in-token", wants=[Want(role="store", label="store")], nonce=bytes(32), stay=True
)


class Watched:
    """One watch, made to look when the test says so."""

    def __init__(self) -> None:
        self.token = FakeToken(store=b"s" * 32)
        self.now = 0.0
        self.told: list[str] = []
        loaded, found = self.loaded()
        first = Same(loaded.keys, {"store": SecretKey.of(found[0])})
        self.watch = TokenWatch(
            *(SETTINGS, self.token.spawn, LOAD, (Secret(b"1234"),), loaded),
            lambda loaded, found: Same(loaded.keys, {"store": SecretKey.of(found[0])}) == first,
            *(self.hear, lambda: self.now),
        )
        self.token.logins = 0
        self.token.asked.clear()

    def loaded(self) -> tuple[Loaded, list[Secret]]:
        """What the token gives at the start."""
        helper = self.token.spawn()
        octets, found = helper.call(encode(LOAD))
        helper.close()
        return msgspec.msgpack.decode(octets, type=Loaded), found

    def hear(self, error: HsmError | None, away_s: float) -> None:
        self.told.append("back" if error is None else error.failure.kind)

    def look(self, times: int = 1) -> None:
        """Some rounds of the thread's loop."""
        for _ in range(times):
            self.watch.round()

    @property
    def lost(self) -> bool:
        return self.watch.reading.failure is not None


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_token_that_is_there_costs_no_login(watched: Watched) -> None:
    watched.look(5)
    assert not watched.lost
    assert (watched.token.logins, set(watched.token.asked)) == (0, {"probe"})
    assert watched.told == []


def test_gone_and_back_is_one_login(watched: Watched) -> None:
    watched.token.present = False
    watched.look(4)
    assert watched.lost
    assert watched.token.logins == 0
    assert watched.token.alive == 0
    watched.now, watched.token.present = 12.0, True
    watched.look(4)
    assert not watched.lost
    assert watched.watch.reading.lost_since is None
    assert (watched.token.logins, watched.watch.reading.logins, watched.watch.reading.outages) == (1, 1, 1)
    assert watched.told == ["device", "back"]
    assert watched.token.alive == 1


@pytest.mark.parametrize("how", ["hangs", "crashes"])
def test_a_helper_that_hangs_or_dies_is_replaced(watched: Watched, how: str) -> None:
    setattr(watched.token, how, ("probe",))
    watched.look(3)
    assert watched.lost
    assert {helper.ended for helper in watched.token.helpers[1:]} == {"killed"}
    setattr(watched.token, how, ())
    watched.look()
    assert not watched.lost
    assert watched.told == ["timeout" if how == "hangs" else "crashed", "back"]
    assert watched.token.logins == 1


def test_a_helper_that_somebody_kills_is_no_outage(watched: Watched) -> None:
    watched.look()
    watched.token.helpers[-1].dies = True
    watched.look(2)
    assert not watched.lost
    assert (watched.told, watched.token.logins, watched.token.alive) == ([], 0, 1)


def test_a_refused_pin_is_never_tried_again(watched: Watched) -> None:
    watched.token.present = False
    watched.look()
    watched.token.present, watched.token.refuses = True, REFUSED
    watched.look(3)
    for _ in range(3):  # not even in another outage, nor after a while
        watched.token.present = False
        watched.look()
        watched.token.present = True
        watched.now += 10 * AGAIN_SECONDS
        watched.look(2)
    assert watched.token.logins == 1
    assert watched.lost
    assert watched.told == ["device", "login-pin"]
    assert watched.watch.reading.failure == REFUSED


def test_a_login_that_failed_in_vague_words_is_tried_once_in_an_outage(watched: Watched) -> None:
    watched.token.present = False
    watched.look()
    vague = msgspec.structs.replace(REFUSED, kind="device", code=5, name="CKR_GENERAL_ERROR")
    watched.token.present, watched.token.refuses = True, vague
    for _ in range(5):
        watched.look(2)
        watched.now += 10 * AGAIN_SECONDS
    assert watched.token.logins == 1
    watched.token.present = False
    watched.look()
    watched.token.present, watched.token.refuses = True, None
    watched.look()
    assert not watched.lost


def test_who_was_told_to_stop_logs_in_no_more(watched: Watched) -> None:
    watched.token.present = False
    watched.look()
    watched.watch.stop()
    watched.token.present = True
    watched.look(2)
    assert watched.token.logins == 0


def test_another_key_is_not_the_token_back(watched: Watched) -> None:
    watched.token.present = False
    watched.look()
    watched.token.present, watched.token.values["store"] = True, b"x" * 32
    watched.look(3)
    watched.now += 10 * AGAIN_SECONDS
    watched.look(3)
    assert watched.lost
    assert watched.token.logins == 1
    assert watched.told == ["device", "token-mismatch"]
    watched.token.present = False  # somebody takes it away and brings the right one
    watched.look()
    watched.token.present, watched.token.values["store"] = True, b"s" * 32
    watched.look()
    assert not watched.lost
    assert watched.token.logins == 2


def test_a_load_that_hangs_is_tried_again_after_a_while(watched: Watched) -> None:
    watched.token.present = False
    watched.look()
    watched.token.present, watched.token.hangs = True, ("load",)
    watched.look(4)
    assert watched.token.asked.count("load") == 1
    watched.token.hangs = ()
    watched.look()
    assert watched.lost
    watched.now += AGAIN_SECONDS
    watched.look()
    assert not watched.lost


def test_a_helper_that_cannot_be_started_is_a_lost_token(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.token.present = False
    watched.look()
    watched.token.present = True

    def fails() -> object:
        raise OSError("no more processes")

    with monkeypatch.context() as patched:
        patched.setattr(watched.watch, "_spawn", fails)
        watched.look(2)
    assert watched.lost
    watched.look()
    assert not watched.lost


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks every few milliseconds."""
    monkeypatch.setattr(watch, "PERIOD_SECONDS", 0.005)


@pytest.mark.usefixtures("quick")
def test_the_thread_tells_and_ends_its_helper(watched: Watched) -> None:
    heard = threading.Event()
    watched.watch._told = lambda _error, _away: heard.set()
    watched.watch.start()
    watched.token.present = False
    assert heard.wait(10)
    heard.clear()
    watched.token.present = True
    assert heard.wait(10)
    watched.watch.close(10)
    assert watched.token.alive == 0


def test_the_token_is_looked_for_by_its_own_names(watched: Watched) -> None:
    """A second token may take the number of its slot; a PIN must not go there."""
    watched.token.present = False
    watched.look()
    watched.token.present = True
    watched.look()
    opened = watched.token.loads[-1].open
    assert (opened.slot, opened.token_label, opened.token_serial) == (None, "t", "1234")
    assert exactly(SETTINGS.open(), TOKEN).slot is None
    assert exactly(SETTINGS.open(), msgspec.structs.replace(TOKEN, label="", serial="")).slot == 0
