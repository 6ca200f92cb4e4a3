"""Where secrets stand in memory, seen from outside: how many copies, in what pages, and what is there at the end."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from support import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.Popen[str]]

LONG = 60.0
"""Seconds that are never waited for unless something is broken."""
HEAD = """
import os, signal, sys, time
from runbound import engine
from runbound.engine import Secret, SecretKey

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored

def rest():
    print("ready", flush=True)
    sys.stdin.readline()

"""
USE = """
for turn in range(50):
    key.mac(b"data"); key.verify(b"data", bytes(32)); key.sign(b"data"); key.public_key()
    key.derive("journal").mac(b"data")
    engine.mac_row(key, "config", 1, b"k", "doc", 1); engine.check_rows(key, "config", b"[]")
"""


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts a Python that runs these lines, and waits until it rests."""
    started: list[subprocess.Popen[str]] = []

    def run(lines: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", HEAD + lines],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def on(process: subprocess.Popen[str]) -> None:
    """Lets it go on after a rest, to the next one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"


def there(file: Path) -> bool:
    """Whether a file appears."""
    end = time.monotonic() + LONG
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return file.exists()


def test_the_search_finds_what_is_there(run: Run) -> None:
    """Else the other tests prove nothing: a copy, one that was freed, digits, pads, and a variable."""
    secret = secrets.token_bytes(32)
    process = run("kept = bytes.fromhex(os.environ['PROBE'])\nrest()", PROBE=secret.hex())
    found = memory.traces(process.pid, secret)
    shapes = {trace.shape for trace in found}
    assert shapes >= {"octets", "hexadecimal"}, memory.told(found)
    assert "[stack]" in {trace.mapping.path for trace in found}
    assert not any(trace.guarded for trace in found)
    assert secret.hex().encode() in memory.environment(process.pid)
    process = run("import hashlib\nkept = bytes(octet ^ 0x36 for octet in hashlib.sha256(b'x').digest())\nrest()")
    found = memory.traces(process.pid, hashlib.sha256(b"x").digest())
    assert "inner pad" in {trace.shape for trace in found}, memory.told(found)


@pytest.mark.parametrize("digits", [True, False], ids=["digits", "octets"])
def test_a_variable_is_taken_without_a_trace(run: Run, digits: bool) -> None:
    text = secrets.token_hex(32) if digits else secrets.token_urlsafe(40)
    secret = bytes.fromhex(text) if digits else text.encode()
    process = run(
        "assert 'PROBE' in os.environ\n"
        "given = Secret.environment('PROBE')\nassert Secret.environment('PROBE') is None\nrest()\n"
        "key = SecretKey.of_text(given)\ndel given\nrest()\n" + USE + "rest()\n"
        "del key\nrest()\n",
        PROBE=text,
    )
    for count in (1, 1, 1, 0):  # the variable, the key, the key in use, nothing
        found = memory.traces(process.pid, secret)
        assert len(found) == count, memory.told(found)
        assert all(trace.guarded for trace in found), memory.told(found)
        assert text.encode() not in memory.environment(process.pid)
        assert b"PROBE" not in memory.environment(process.pid).replace(b"PROBE=\0", b"")
        if count:
            on(process)


def test_a_short_pin_is_taken(run: Run) -> None:
    process = run("given = Secret.environment('PROBE')\nrest()", PROBE="q9#Zx!7w")
    found = memory.traces(process.pid, b"q9#Zx!7w")
    assert [trace.guarded for trace in found] == [True], memory.told(found)


def test_derived_keys_leave_nothing_behind(run: Run) -> None:
    text = secrets.token_hex(32)
    process = run("key = SecretKey.of_text(Secret.environment('PROBE'))\n" + USE + "rest()", PROBE=text)
    extracted = hmac.digest(b"runbound vault 1", bytes.fromhex(text), "sha256")
    seed = hmac.digest(extracted, b"ed25519\1", "sha256")
    halves = hashlib.sha512(seed).digest()  # RFC 8032: the scalar before it is clamped, and the prefix
    for secret in (extracted, seed, halves[:32], halves[32:], hmac.digest(extracted, b"journal\1", "sha256")):
        found = memory.traces(process.pid, secret)
        assert found == [], memory.told(found)


def test_a_file_is_read_without_a_trace(run: Run, tmp_path: Path) -> None:
    secret = secrets.token_bytes(48)
    (tmp_path / "key").write_bytes(secret + b"\n")
    process = run(
        f"given = Secret.read(os.open({str(tmp_path / 'key')!r}, os.O_RDONLY))\nassert len(given) == 48\nrest()"
    )
    found = memory.traces(process.pid, secret)
    assert [trace.guarded for trace in found] == [True], memory.told(found)


def test_what_goes_through_the_helper_stays_in_locked_pages(run: Run) -> None:
    text = secrets.token_urlsafe(40)
    echo = "import os\nwhile True:\n    octets = os.read(0, 65536)\n    os.write(0, octets)\n    del octets\n"
    process = run(
        f"helper = engine.HsmHelper([sys.executable, '-I', '-S', '-c', {echo!r}])\n"
        "given = Secret.environment('PROBE')\n"
        "for turn in range(20):\n"
        "    answer, (back,) = helper.call(b'message', [given])\n"
        "    assert answer == b'message' and len(back) == len(given)\n"
        "helper.kill()\n"
        "rest()",
        PROBE=text,
    )
    found = memory.traces(process.pid, text.encode())
    assert [trace.guarded for trace in found] == [True, True], memory.told(found)


@pytest.mark.skipif(shutil.which("gcore") is None, reason="needs gcore (gdb)")
def test_a_core_dump_holds_none(run: Run, tmp_path: Path) -> None:
    text = secrets.token_hex(32)
    process = run("key = SecretKey.of_text(Secret.environment('PROBE'))\nbait = b'bait-' * 8\nrest()", PROBE=text)
    dump = memory.core(process.pid, tmp_path)
    assert memory.in_core(dump, b"bait-" * 8)
    assert memory.in_core(dump, bytes.fromhex(text)) == []


ENDS = {
    "return": "",
    "sys.exit": "sys.exit(3)",
    "exception": "raise RuntimeError",
    "Ctrl-C": "os.kill(os.getpid(), 2); time.sleep(10)",
    "SIGTERM taken": "os.kill(os.getpid(), 15); signal.sigwait({15})",
}


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize("end", list(ENDS))
def test_at_the_end_every_page_is_wiped(run: Run, tmp_path: Path, end: str) -> None:
    """Looks at the very last moment, the system call that ends the process, into the pages that dumps leave out.

    The objects are held by a thread that is never ended: nobody drops them.
    """
    text, pin = secrets.token_hex(32), secrets.token_urlsafe(24)
    process = run(
        "import threading\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {15})\n"
        "def keep(*secrets):\n    time.sleep(1000)\n"
        "kept = (SecretKey.of_text(Secret.environment('PROBE')), Secret.environment('PROBE_PIN'))\n"
        "threading.Thread(target=keep, args=kept, daemon=True).start()\n"
        f"rest()\nsys.stderr.close()\n{ENDS[end]}\n",
        PROBE=text,
        PROBE_PIN=pin,
    )
    kept = (bytes.fromhex(text), pin.encode())
    for secret in kept:
        found = memory.traces(process.pid, secret)
        assert [trace.guarded for trace in found] == [True], memory.told(found)
    ready, stopped, looked = tmp_path / "ready", tmp_path / "stopped", tmp_path / "looked"
    last = ["catch syscall exit_group", f"shell touch {ready}", "continue"]
    if end == "Ctrl-C":  # the second one is the last thing Python sees: it ends itself by the signal
        last = [f"shell touch {ready}", "continue", "signal SIGINT"]
    commands = [
        "handle all nostop noprint pass",
        "handle SIGINT stop",
        *last,
        f"shell touch {stopped}; while [ ! -e {looked} ]; do sleep 0.1; done",
    ]
    arguments = [part for command in commands for part in ("-ex", command)]
    debugger = subprocess.Popen(
        ["gdb", "-nx", "-batch", "-p", str(process.pid), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert there(ready), "gdb says nothing"
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert there(stopped), "the end was not reached"
        for secret in kept:
            found = memory.traces(process.pid, secret)
            assert found == [], memory.told(found)
    finally:
        looked.touch()
        said = debugger.communicate(timeout=LONG)[0]
        print(said)
    assert "syscall exit_group" in said or said.count("received signal SIGINT") == 2, said
