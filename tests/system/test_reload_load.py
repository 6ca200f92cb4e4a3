"""Reloads under load: nobody's question is lost or answered wrongly while the configuration changes a hundred times."""

from __future__ import annotations

import collections
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.load import Client, Ledger, brief, tally
from support.packets import Ask, exchange
from support.reloading import HOT, OUTSIDER, RELOADS, STAYS, STEADY, Scene, allowed, applied, reload
from support.servers import HEAD, Resolver
from support.upstream import Fleet

if TYPE_CHECKING:
    pass

RATE = 1500.0
"""Questions a second: what this client keeps up with beside a resolver on a small machine."""
OUTSIDER_RATE = 50.0
REFUSED = 5


def judge(ledger: Ledger, may_refuse: bool = False) -> None:
    """Each question has exactly one answer, right under some configuration; a loss of our own is told apart."""
    wrong = []
    kinds: collections.Counter[int] = collections.Counter()
    for one in ledger.asked:
        owner, how = one.owner, "tcp" if one.tcp else "udp"
        if one.lost:
            wrong.append(f"{owner} {how}: lost {one.failed}")
            continue
        if len(one.replies) > 1:
            wrong.append(f"{owner} {how}: {len(one.replies)} replies")
        got = brief(one)
        kinds[got.rcode] += 1
        right = got.rcode == 0 and len(got.addresses) == 1 and got.addresses <= allowed(owner)
        if not right and not (may_refuse and got.rcode == REFUSED and not got.addresses):
            wrong.append(f"{owner} {how}: {got}")
    print(f"{tally(ledger)}; response codes {dict(kinds)}")
    assert not ledger.dropped, "this client's own buffers were too small: the figure means nothing"
    assert not wrong, f"{len(wrong)} of {len(ledger.asked)}:\n" + "\n".join(wrong[:12])
    assert not ledger.stray


@pytest.mark.parametrize("threads", [1, 2])
def test_no_question_is_lost_in_a_hundred_reloads(tmp_path: Path, threads: int) -> None:
    head = HEAD.replace("num-threads: 1", f"num-threads: {threads}")
    with Fleet(["127.9.5.1", "127.9.5.2"]) as fleet:
        scene = Scene(fleet)
        with Resolver(scene.body(0), tmp_path, head=head) as resolver:
            done = threading.Event()
            ledgers: list[Ledger] = []

            def ask() -> None:
                with Client(resolver.at) as client:
                    ledgers.append(client.play(scene.questions(), RATE, until=done.is_set))

            def outsider() -> None:
                with Client(resolver.at, datagrams=2, streams=1, source=OUTSIDER) as client:
                    ledgers.append(client.play(scene.questions(), OUTSIDER_RATE, until=done.is_set))

            threads_ = [threading.Thread(target=ask), threading.Thread(target=outsider)]
            for thread in threads_:
                thread.start()
            try:
                for number in range(1, RELOADS + 1):
                    line = reload(resolver, scene.body(number), head)
                    time.sleep(0.03)
                    for part in (f"interface {scene.listener(number)} opened", "local", "access-control", "forward"):
                        assert part in line
            finally:
                done.set()
                for thread in threads_:
                    thread.join()
            judge(max(ledgers, key=lambda ledger: len(ledger.asked)))
            judge(min(ledgers, key=lambda ledger: len(ledger.asked)), may_refuse=True)
            assert len(applied(resolver)) == RELOADS
            address, port = scene.listener(RELOADS).split("@")
            assert exchange(Ask(STAYS), (address, int(port))) is not None, "the last listener is not there"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_rights_what_needs_them_waits_for_a_restart(public_folder: Path) -> None:
    head = HEAD.replace('username: ""', 'username: "nobody"')
    with Fleet(["127.9.6.1", "127.9.6.2"]) as fleet:
        scene = Scene(fleet)
        with Resolver(scene.body(0), public_folder, head=head) as resolver:
            done = threading.Event()
            ledgers: list[Ledger] = []

            def ask() -> None:
                with Client(resolver.at) as client:
                    ledgers.append(client.play(scene.questions(), 500.0, until=done.is_set))

            thread = threading.Thread(target=ask)
            thread.start()
            try:
                for number in range(1, 6):
                    reload(resolver, scene.body(number), head)
                # A low port is still within its rights; another account or more workers are not.
                low = reload(resolver, scene.body(6, "server:\n    interface: 127.0.0.79@853\n"), head)
                other = head.replace('"nobody"', '"daemon"').replace("num-threads: 1", "num-threads: 2")
                line = reload(resolver, scene.body(7), other)
                again = reload(resolver, scene.body(8), head)
            finally:
                done.set()
                thread.join()
            judge(ledgers[0])
            assert "interface 127.0.0.79@853 opened" in low
            waits = line.split("needs_restart=")[1]
            assert "username" in waits
            assert "num-threads" in waits
            assert "needs_restart" not in again, "back to what the process started with"


def test_a_name_is_asked_over_the_whole_time() -> None:
    """The scene itself: each kind of name occurs, and what is right for it is not empty."""
    names = [owner for owner, _ in zip(Scene.names(), range(200), strict=False)]
    assert {STAYS, HOT[0]} <= set(names)
    assert any(owner.startswith("fresh") for owner in names)
    assert allowed(STAYS) == {STEADY}
    assert all(allowed(owner) for owner in names)
