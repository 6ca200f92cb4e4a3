"""A token that is pulled, frozen, killed and brought back while a thousand questions a second are asked: none is lost.

`/health` has to tell the truth within five seconds, there is one login an outage, and what the API can do with the keys
it holds it goes on doing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.load import Asked, Client, Ledger, brief, tally
from support.packets import Ask, Edns
from support.reloading import truth
from support.sites import STORE_LABEL, Site, family, site_of
from support.tokens import Remote, Spied, fresh_key, spied
from support.upstream import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.servers import Resolver

RATE = 1000.0
"""Questions a second while the token goes and comes."""
TRUTH_S = 5.0
"""How old the truth in /health may be."""
BACK_S = 20.0
"""Until a token that came back is taken into use again; wide, as a watch that was refused waits longer."""
LOCAL = "a.example."


def questions() -> Iterator[Asked]:
    """Local, cached and fresh names, some over TCP."""
    for number in itertools.count():
        owner = (LOCAL, f"hot{number % 20}.forwarded.net.", LOCAL, f"fresh{number}.forwarded.net.")[number % 4]
        yield Asked(Ask(owner, "A", edns=Edns(1232)).packet(), number % 8 == 0, owner)


@contextlib.contextmanager
def load(resolver: Resolver) -> Iterator[None]:
    """Asks all the while; each question has to have one right answer."""
    done = threading.Event()
    ledgers: list[Ledger] = []

    def ask() -> None:
        with Client(resolver.at) as client:
            ledgers.append(client.play(questions(), RATE, until=done.is_set))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    (ledger,) = ledgers
    print(tally(ledger))
    assert not ledger.dropped, "this client's own buffers were too small: the figure means nothing"
    wrong = [f"{one.owner} {one.failed}" for one in ledger.asked if len(one.replies) != 1]
    for one in ledger.asked:
        wanted = "192.0.2.1" if one.owner == LOCAL else truth(one.owner)
        if one.replies and (got := brief(one)) and got.addresses != {wanted}:
            wrong.append(f"{one.owner}: {got}")
    assert not wrong, f"{len(wrong)} of {len(ledger.asked)}: {wrong[:10]}"
    assert len(ledger.asked) > RATE, "it was asked for a second at least"


@contextlib.contextmanager
def running(site: Site, **options: Any) -> Iterator[Resolver]:
    """A resolver that forwards to servers of our own, under load."""
    with Fleet(["127.9.8.1"]) as fleet:
        forward = f"    forward-addr: {fleet.at(0)}\n"
        site.more = f'forward-zone:\n    name: "forwarded.net."\n{forward}'
        with site.start(**options) as resolver, load(resolver):
            yield resolver


def held(site: Site) -> None:
    """The API's key is known and the state is written, whatever the token does."""
    assert site.admits(site.api_key)
    assert not site.admits(fresh_key())
    site.add(f"at{time.monotonic_ns()}.example.")


def lose(site: Site, act: Callable[[], object], back: Callable[[], object], mode: str) -> None:
    """One outage: act, what is seen, and the way back."""
    act()
    if mode == "in-token":
        took = site.wait_for_hsm(False, TRUTH_S)
        _, health = site.call("GET", "/health")
        print(f"hsm: false after {took:.1f} s: {health['reason']}")
        assert health["reason"]
        assert site.good("GET", "/hsm")["reason"]
    else:
        time.sleep(1.0)
        assert site.hsm() is True, "the keys are held, and the token is not needed"
    held(site)
    back()
    took = site.wait_for_hsm(True, BACK_S)
    print(f"hsm: true after {took:.1f} s")
    held(site)


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_a_remote_token_is_frozen_and_killed(tmp_path: Path, mode: str) -> None:
    with site_of(tmp_path, "p11-kit", mode) as site:
        token = site.token
        assert isinstance(token, Remote)
        report = spied(token)
        site.token = report
        with running(site) as resolver:
            assert report.logins() == 1
            lose(site, token.freeze, token.thaw, mode)
            assert report.logins() == (1 if mode == "extract" else 2), "one login an outage"
            lose(site, token.kill, token.back, mode)
            assert report.logins() == (1 if mode == "extract" else 3), "one login an outage"
            log = resolver.log()
            assert log.count("the token is lost") == log.count("the token is back") == (0 if mode == "extract" else 2)
            begun = time.monotonic()
            assert site.call("POST", "/hsm/reload", site.api_key)[0] in (200, 202)
            print(f"reload after the outages: {time.monotonic() - begun:.2f} s")
            held(site)


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_the_folder_of_tokens_is_moved_away(tmp_path: Path, mode: str) -> None:
    with site_of(tmp_path, "softhsm", mode) as site:
        tokens = site.token.folder / "tokens"
        away = site.token.folder / "away"
        with running(site):
            lose(site, lambda: tokens.rename(away), lambda: away.rename(tokens), mode)


def test_the_daemon_of_a_token_is_killed(tmp_path: Path) -> None:
    """openCryptoki's: the module loses its daemon for good, DNS and API do not notice."""
    with site_of(tmp_path, "opencryptoki", "in-token") as site, running(site):
        stop = site.token.stops.pop()
        stop()
        time.sleep(TRUTH_S)
        held(site)


def test_a_frozen_token_while_it_is_reloaded(tmp_path: Path) -> None:
    """The reload fails in time and says why; the keys of before stay in force, and DNS goes on."""
    with site_of(tmp_path, "p11-kit") as site:
        token = site.token
        assert isinstance(token, Remote)
        with running(site, timeout="2") as resolver:
            token.freeze()
            status, answer = site.call("POST", "/hsm/reload", site.api_key)
            assert status >= 400, answer
            assert "C_" in str(answer) or "PKCS#11" in str(answer)
            held(site)
            token.kill()
            status, answer = site.call("POST", "/hsm/reload", site.api_key)
            assert status >= 400, answer
            held(site)
            token.back()
            assert site.call("POST", "/hsm/reload", site.api_key)[0] < 300, resolver.log()[-2000:]
            held(site)


def test_another_token_comes_back(tmp_path: Path) -> None:
    """The same names and PIN, another key: the outage does not end, and the keys of before stay in force."""
    with site_of(tmp_path, "p11-kit", "in-token") as site:
        token = site.token
        assert isinstance(token, Remote)
        with running(site) as resolver:
            token.kill()
            site.wait_for_hsm(False, TRUTH_S)
            assert token.behind is not None
            token.behind.delete(STORE_LABEL)
            token.behind.keep(STORE_LABEL, os.urandom(32))
            token.back()
            time.sleep(TRUTH_S)
            assert site.hsm() is False
            assert "the token is back" not in resolver.log()
            held(site)
        assert site.folder.joinpath("state", "state.db").exists()


def test_a_pin_changed_meanwhile_is_tried_once(tmp_path: Path) -> None:
    """Whoever watches must not lock the token."""
    with site_of(tmp_path, "p11-kit", "in-token") as site:
        token = site.token
        assert isinstance(token, Remote)
        report: Spied = spied(token)
        site.token = report
        with running(site):
            token.kill()
            site.wait_for_hsm(False, TRUTH_S)
            assert token.behind is not None
            token.behind.do(["set_pin", token.pin, "16180339"])
            report.forget()
            token.back()
            end = time.monotonic() + BACK_S
            while report.logins() == 0 and time.monotonic() < end:
                time.sleep(0.1)
            time.sleep(6.0)
            assert report.logins() == 1
            assert site.hsm() is False
            held(site)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_helper_itself_is_killed_or_frozen(tmp_path: Path, number: signal.Signals) -> None:
    """A vendor's library that crashes or hangs takes its process along and nothing else."""
    with site_of(tmp_path, "softhsm", "in-token") as site, running(site) as resolver:
        begun = time.monotonic()
        while len(found := family(resolver.process.pid)) < 2:  # it comes a moment after the first answer
            assert time.monotonic() < begun + BACK_S, resolver.log()[-2000:]
            time.sleep(0.1)
        helper = found[1]
        os.kill(helper, number)
        begun = time.monotonic()
        while helper in (now := family(resolver.process.pid)) or len(now) < 2:
            assert time.monotonic() < begun + BACK_S, resolver.log()[-2000:]
            assert site.admits(site.api_key)
            time.sleep(0.2)
        site.wait_for_hsm(True, BACK_S)
        held(site)
