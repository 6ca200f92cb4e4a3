"""Where keys of a token and the PIN stand in memory: all processes are looked through from outside, octet for octet.

After the start and before anybody has shown the API key; after other keys were loaded; in a core dump; and at the last
moment of a process that a signal ends. What a client shows passes through the HTTP server and is no part of this.
"""

from __future__ import annotations

import http.client
import secrets
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from support import memory
from support.sites import API_LABEL, STORE_LABEL, Site, openssl_hmac, pairs, root_of, site_of
from support.tokens import fresh_key

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Resolver

PIN = "q9#Zx!7w"
"""As long as openCryptoki takes, and in no text by chance."""
NEXT_API, NEXT_STORE = f"{API_LABEL}-v2", f"{STORE_LABEL}-v2"
WAIT_S = 60.0


def local(site: Site, method: str, path: str) -> None:
    """A call by root over the Unix socket: nobody shows a key."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(str(site.folder / "api.sock"))
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = stream
        connection.request(method, path)
        with connection.getresponse() as response:
            text = response.read()
        assert response.status < 300, text


def given_pin(site: Site) -> None:
    """Another PIN, one that can be looked for."""
    site.token.do(["set_pin", site.token.pin, PIN])
    site.token.pin = PIN
    site.more = f"    api-socket: {site.folder / 'api.sock'}\n"


def judge(site: Site, pid: int, store_key: bytes, root: bytes, api_key: str) -> None:
    """What a family of processes may hold of the keys in force."""
    assert_guarded(memory.settled(pid, api_key.encode(), 0), 0, "API key")
    if site.mode == "in-token":
        assert_guarded(memory.settled(pid, store_key, 0), 0, "store key")
    assert_guarded(memory.settled(pid, root, 1), 1, "what the state's codes are derived from")
    pins = memory.traces(pid, PIN.encode())
    assert len(pins) <= 1, memory.told(pins)
    assert all(trace.guarded for trace in pins), memory.told(pins)


def assert_guarded(found: list[memory.Trace], count: int, what: str) -> None:
    """So many traces, all of them locked and left out of dumps."""
    assert [trace.guarded for trace in found] == [True] * count, f"{what}:\n{memory.told(found)}"


def gone(pid: int, *secrets: bytes) -> None:
    """Nothing of them is anywhere in a family."""
    for secret in secrets:
        found = memory.settled(pid, secret, 0)
        assert not found, memory.told(found)


@pairs
def test_keys_and_pin_in_the_memory_of_all_processes(tmp_path: Path, provider: str, mode: str) -> None:
    if provider == "tpm2":
        pytest.skip("its PIN is changed by another tool; the others have been looked through")
    with site_of(tmp_path, provider, mode) as site:
        put = site.token.put if mode == "extract" else site.token.keep
        given_pin(site)
        api, store = fresh_key(), secrets.token_bytes(32)
        put(NEXT_API, api)
        put(NEXT_STORE, store)
        with site.start() as resolver:
            pid = memory.family(resolver.process.pid)[0]
            if mode == "extract":
                assert len(memory.family(pid)) == 1, "the helper has ended"
            before = root_of(site)
            judge(site, pid, site.store_key, before, site.api_key)
            resolver.write(site.body(api_key_label=NEXT_API, store_key_label=NEXT_STORE))
            local(site, "POST", "/hsm/reload")
            gone(pid, site.api_key.encode(), before, site.store_key)
            root = store if mode == "extract" else openssl_hmac(store, b"runbound store 1")
            judge(site, pid, store, root, api)
            dump = memory.core(pid, tmp_path)
            told = (site.api_key.encode(), api.encode(), before, root, store, site.store_key, PIN.encode())
            assert memory.in_core(dump, *told) == []
            assert memory.in_core(dump, str(site.folder).encode()), "else it is searched in vain"
            dump.unlink()
            assert "DEBUG" not in resolver.log()
        assert site.proven_by(root), "what was looked for is the key that was in force"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_nothing_is_left_at_the_end(tmp_path: Path, mode: str, number: signal.Signals) -> None:
    """Stops the process at its last system call and looks."""
    with site_of(tmp_path, "softhsm", mode) as site:
        given_pin(site)
        with site.start() as resolver:
            root = root_of(site)
            judge(site, resolver.process.pid, site.store_key, root, site.api_key)
            at_the_last_call(resolver, number, tmp_path, (site.api_key.encode(), site.store_key, root, PIN.encode()))
            assert resolver.process.wait(WAIT_S) == 0


def at_the_last_call(resolver: Resolver, number: signal.Signals, folder: Path, secrets: tuple[bytes, ...]) -> None:
    """Ends a resolver by a signal, under a debugger, and looks for secrets just before the kernel takes its memory."""
    ready, stopped, looked = folder / "ready", folder / "stopped", folder / "looked"
    commands = [
        "handle all nostop noprint pass",
        "catch syscall exit_group",
        f"shell touch {ready}",
        "continue",
        f"shell touch {stopped}; while [ ! -e {looked} ]; do sleep 0.05; done",
    ]
    arguments = [part for command in commands for part in ("-ex", command)]
    debugger = subprocess.Popen(
        ["gdb", "-nx", "-batch", "-p", str(resolver.process.pid), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(ready)
        time.sleep(0.3)  # `continue` follows; a signal that comes before is kept by the kernel
        resolver.process.send_signal(number)
        wait_for(stopped)
        gone(resolver.process.pid, *secrets)
    finally:
        looked.touch()
        said = debugger.communicate(timeout=WAIT_S)[0]
    assert "syscall exit_group" in said, said


def wait_for(path: Path) -> None:
    """Until a file is there."""
    end = time.monotonic() + WAIT_S
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_no_core_is_written(tmp_path: Path, mode: str) -> None:
    """The kernel makes none of resolver and helper, whatever the limits of whoever starts them."""
    with site_of(tmp_path, "softhsm", mode) as site, site.start() as resolver:
        for pid in memory.family(resolver.process.pid):
            assert not may_look(pid), f"process {pid} can be read by its own account"


def may_look(pid: int) -> bool:
    """Whether root without CAP_SYS_PTRACE may read a process's memory: the kernel lets it if it is dumpable."""
    asked = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all", "head", "-c0", f"/proc/{pid}/mem"]
    return subprocess.run(asked, capture_output=True).returncode == 0
