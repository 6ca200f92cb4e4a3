"""The channel to the helper, with helpers that answer, hang, die, babble and leak: no token is needed for that."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from runbound.engine import HsmHelper, HsmHelperError, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[[str], HsmHelper]

LONG = 60.0
"""Seconds that are never waited for unless something is broken."""
REAL = [sys.executable, "-I", "-m", "runbound.engine.hsm_helper"]
FRAMES = """
import os, signal, sys, time

def frame(kind, octets=b""):
    return kind.encode() + len(octets).to_bytes(4, "little") + octets

def take(count):
    octets = b""
    while len(octets) < count:
        more = os.read(0, count - len(octets))
        if not more:
            sys.exit(0)
        octets += more
    return octets

def hear():
    secrets = []
    while True:
        head = take(5)
        octets = take(int.from_bytes(head[1:], "little"))
        if head[:1] == b"M":
            return secrets, octets
        secrets.append(octets)

def say(*frames):
    octets = b"".join(frames)
    while octets:
        octets = octets[os.write(0, octets):]

"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts helpers that run these lines with the frames at hand, and ends them."""
    helpers: list[HsmHelper] = []

    def start(lines: str) -> HsmHelper:
        helpers.append(HsmHelper([sys.executable, "-I", "-S", "-c", FRAMES + lines]))
        return helpers[-1]

    yield start
    for helper in helpers:
        helper.kill()


def octets(secret: Secret) -> bytes:
    """What a secret holds, by the one way there is."""
    read, write = os.pipe()
    secret.write(write)
    os.close(write)
    with open(read, "rb") as file:
        return file.read()


def gone(pid: int) -> bool:
    """Whether a process has ended and its end was taken."""
    return not Path(f"/proc/{pid}").exists()


def soon(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + LONG
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def test_questions_and_answers(start: Start) -> None:
    helper = start("""
while True:
    secrets, message = hear()
    say(frame("P", b"C_Sign"), *(frame("S", one[::-1]) for one in secrets), frame("M", message.upper()))
""")
    long = b"x" * 1_000_000
    pin = Secret(b"1234")
    for _ in range(3):  # the same secret every time: it is not taken away
        message, secrets = helper.call(long, [pin, Secret(b""), Secret(bytes(range(256)) * 16)])
        assert message == long.upper()
        assert [octets(secret) for secret in secrets] == [b"4321", b"", (bytes(range(256)) * 16)[::-1]]
    assert helper.call(b"") == (b"", [])
    helper.close()
    assert gone(helper.pid)
    with pytest.raises(HsmHelperError, match="ended by us"):
        helper.call(b"")
    helper.close()
    helper.kill()


def test_what_cannot_be_asked_is_refused_and_the_helper_lives(start: Start) -> None:
    helper = start('hear(); say(frame("M", b"yes"))')
    for message, secrets in ((bytes((1 << 20) + 1), []), (b"", [Secret(b"")] * 9), (b"", [Secret(bytes(4097))])):
        with pytest.raises(ValueError, match="too"):
            helper.call(message, secrets)
    with pytest.raises(ValueError, match="-1 s"):
        helper.call(b"", timeout_s=-1)
    assert helper.call(b"") == (b"yes", [])


def test_one_that_hangs_is_killed_and_says_where(start: Start) -> None:
    helper = start('hear(); say(frame("P", b"C_Initialize"), frame("P", b"C_Login")); time.sleep(1000)')
    with pytest.raises(
        HsmHelperError, match=r"in time and was killed; its last call into the module was C_Login"
    ) as raised:
        helper.call(b"", timeout_s=3.0)
    assert (raised.value.kind, raised.value.function, raised.value.signal) == ("timeout", "C_Login", None)
    assert gone(helper.pid)
    with pytest.raises(HsmHelperError) as raised:  # nobody talks to it again
        helper.call(b"")
    assert raised.value.kind == "timeout"


@pytest.mark.parametrize("lines", ["os.kill(os.getpid(), signal.SIGSTOP)", "time.sleep(1000)", "signal.pause()"])
def test_one_that_does_not_even_listen_is_killed(start: Start, lines: str) -> None:
    helper = start(lines)
    with pytest.raises(HsmHelperError) as raised:
        helper.call(bytes(1_000_000), timeout_s=0.5)
    assert (raised.value.kind, raised.value.function) == ("timeout", None)
    assert gone(helper.pid)


def test_how_one_died_is_told(start: Start) -> None:
    helper = start('hear(); say(frame("P", b"C_GetSlotList")); os.kill(os.getpid(), signal.SIGSEGV)')
    with pytest.raises(
        HsmHelperError, match="ended by signal 11; its last call into the module was C_GetSlotList"
    ) as raised:
        helper.call(b"", timeout_s=LONG)
    assert (raised.value.kind, raised.value.signal, raised.value.status) == ("crashed", signal.SIGSEGV, None)
    helper = start("sys.exit(70)")
    with pytest.raises(HsmHelperError, match="ended with code 70") as raised:
        helper.call(b"", timeout_s=LONG)
    assert (raised.value.kind, raised.value.signal, raised.value.status) == ("crashed", None, 70)
    assert gone(helper.pid)


def test_one_that_closes_its_end_is_killed(start: Start) -> None:
    helper = start("hear(); os.close(0); time.sleep(1000)")
    with pytest.raises(HsmHelperError) as raised:
        helper.call(b"", timeout_s=LONG)
    assert (raised.value.kind, raised.value.signal) == ("crashed", signal.SIGKILL)
    assert gone(helper.pid)


@pytest.mark.parametrize(
    ("said", "kind", "match"),
    [
        ('while True: os.write(0, b"y" * 65536)', "protocol", "no known kind"),
        ('while True: say(frame("P", b"C_Login"))', "timeout", "C_Login"),
        ('while True: say(frame("S", b"key"))', "protocol", "too many secrets"),
        ('say(b"M" + b"\\xff" * 4)', "protocol", "message is too long"),
        ('say(b"S\\x01\\x10\\0\\0")', "protocol", "secret is too long"),
        ('say(frame("P", bytes(65)))', "protocol", "name of a function is too long"),
        ('say(frame("M")[:3]); os.close(0)', "crashed", "gone"),
        ('say(b"M\\x04\\0\\0\\0ab")', "timeout", "in time"),
        ('say(frame("S", b"key"), b"M\\x04\\0\\0\\0ab"); sys.exit(0)', "crashed", "code 0"),
    ],
)
def test_one_that_breaks_the_rules_is_killed(start: Start, said: str, kind: str, match: str) -> None:
    helper = start(f"hear()\n{said}\ntime.sleep(1000)")
    with pytest.raises(HsmHelperError, match=match) as raised:
        helper.call(b"", timeout_s=3.0)
    assert raised.value.kind == kind
    assert gone(helper.pid)


def test_an_answer_to_nothing_is_not_taken_for_the_next(start: Start) -> None:
    helper = start('hear(); say(frame("M", b"one"), frame("M", b"two")); time.sleep(1000)')
    assert helper.call(b"")[0] == b"one"
    with pytest.raises(HsmHelperError, match="without being asked") as raised:
        helper.call(b"")
    assert raised.value.kind == "protocol"


def test_threads_take_turns(start: Start) -> None:
    helper = start("while True: say(frame('M', hear()[1]))")
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(50):
            asked = f"{number} {turn}".encode()
            if (answer := helper.call(asked)[0]) != asked:
                wrong.append((asked, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not wrong


def test_one_is_killed_while_another_thread_waits_for_it(start: Start) -> None:
    helper = start("hear(); time.sleep(1000)")
    raised: list[HsmHelperError] = []

    def ask() -> None:
        try:
            helper.call(b"", timeout_s=LONG)
        except HsmHelperError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    helper.kill()
    thread.join(LONG)
    assert [error.kind for error in raised] == ["crashed"]
    assert gone(helper.pid)


def test_a_signal_is_heard_at_once_and_ends_the_helper(start: Start) -> None:
    helper = start("hear(); time.sleep(1000)")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            helper.call(b"", timeout_s=LONG)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(helper.pid)


def test_a_signal_that_raises_nothing_changes_nothing(start: Start) -> None:
    helper = start("hear(); time.sleep(1); say(frame('M', b'late'))")
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        assert helper.call(b"", timeout_s=LONG)[0] == b"late"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) > 3


def test_others_are_not_held_up(start: Start) -> None:
    helper = start("hear(); time.sleep(1000)")

    def ask() -> None:
        with contextlib.suppress(HsmHelperError):
            helper.call(b"", timeout_s=2.0)

    thread = threading.Thread(target=ask)
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0.01)  # this thread needs the interpreter for each turn
        turns += 1
    assert turns > 20


def test_dropped_it_is_dead(start: Start) -> None:
    helper = HsmHelper([sys.executable, "-I", "-S", "-c", "import time; time.sleep(1000)"])
    pid = helper.pid
    del helper
    assert gone(pid)


def test_what_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere/at/all"):
        HsmHelper(["/nowhere/at/all"])
    with pytest.raises(OSError, match="invalid"):
        HsmHelper([])


def test_what_it_inherits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = (
        "HSM_PIN",
        "RUNBOUND_API_KEY",
        "RUNBOUND_STORE_KEY",
        "RUNBOUND_AUDIT_HMAC_KEY",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
    )
    for name in (*ours, "SOFTHSM2_CONF"):
        monkeypatch.setenv(name, f"a {name}")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        helper = start("""
import json
hear()
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
report = [sorted(os.environ), sorted(blocked), os.getsid(0) == os.getpid(), os.readlink("/proc/self/fd/1")]
say(frame("M", json.dumps(report).encode()))
""")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    names, blocked, own_session, output = json.loads(helper.call(b"")[0])
    assert "SOFTHSM2_CONF" in names
    assert not set(ours) & set(names)
    assert (blocked, own_session, output) == ([], True, "/dev/null")


class _Probe(msgspec.Struct, tag_field="op", tag="probe"):
    """The shortest request there is."""


def test_the_real_one_keeps_nothing_it_should_not_have() -> None:
    leaked, other = os.pipe()
    os.set_inheritable(leaked, True)
    helper = HsmHelper(REAL)
    try:
        reply = msgspec.msgpack.decode(helper.call(msgspec.msgpack.encode(_Probe()), timeout_s=LONG)[0])
        assert reply["error"]["kind"] == "protocol"  # nothing is loaded that could be looked at
        links = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{helper.pid}/fd").iterdir()}
        assert set(links) == {"0", "1", "2"} | {name for name, link in links.items() if link == links["0"]}
        assert links["1"] == links["2"] == "/dev/null"
        limits = Path(f"/proc/{helper.pid}/limits").read_text(encoding="ascii")
        assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
    finally:
        helper.close()
        os.close(leaked)
        os.close(other)
    assert gone(helper.pid)


def test_the_real_one_ends_when_its_parent_is_killed() -> None:
    lines = f"import sys, time\nfrom runbound.engine import HsmHelper\nhelper = HsmHelper({REAL!r})\n"
    parent = subprocess.Popen(
        [sys.executable, "-I", "-c", lines + "print(helper.pid, flush=True)\ntime.sleep(1000)"], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.stdout.close()
    parent.kill()
    parent.wait()

    def ended() -> bool:
        """Whoever is our init may be slow to take the end."""
        try:
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    assert soon(ended)
