"""Keys of a real token turned over in a running resolver: DNS goes on, nothing is lost, a crash leaves the one or the
other."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shlex
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dns.message
import pytest

from support.live import KEY, Api
from support.packets import Ask, exchange
from support.servers import RUNBOUND, Resolver, StartError, free_port
from support.tokens import Token, fresh_key, softhsm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FIRST, SECOND = "", "-v2"
SECRETS = {"RUNBOUND_API_KEY": KEY}


class House:
    """A folder with a token of two generations of keys, and the resolver in it."""

    def __init__(self, folder: Path, token: Token) -> None:
        self.folder = folder
        self.token = token
        self.port = free_port()
        self.env = {**SECRETS, **token.pin_env()}
        self.values: dict[str, str] = {}
        for role in ("api", "store", "audit"):
            for suffix in (FIRST, SECOND):
                self.values[role + suffix] = fresh_key()
                token.put(f"runbound-{role}-key{suffix}", self.values[role + suffix])

    def body(self, suffix: str, roles: Sequence[str] = ("store", "audit"), mode: str = "extract") -> str:
        labels = {f"{role}_key_label": f"runbound-{role}-key{suffix}" for role in roles}
        lines = self.token.config_lines(**labels, mode=mode)
        return f"    api-port: {self.port}\n    local-zone: example. static\n{lines}"

    @contextmanager
    def running(self, body: str) -> Iterator[Api]:
        with Resolver(body, self.folder / "run", env=self.env) as resolver:
            yield Api(resolver, self.port)

    def store(self, *words: str) -> tuple[int, str]:
        """A command about the state, with the file as it is now."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNBOUND_")}
        done = subprocess.run(
            [RUNBOUND, "store", *words, "-c", self.folder / "run" / "unbound.conf"],
            env={**kept, **self.token.pin_env(), "STATE_DIRECTORY": str(self.folder / "run" / "state")},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with softhsm(tmp_path / "token") as token:
        yield House(tmp_path, token)


class Asking:
    """Questions, one after the other, from a thread of its own."""

    def __init__(self, resolver: Resolver, name: str) -> None:
        self.resolver = resolver
        self.name = name
        self.answered = self.lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            octets = exchange(Ask(self.name, "A"), self.resolver.at)
            good = octets is not None and dns.message.from_wire(octets).answer
            self.answered, self.lost = self.answered + bool(good), self.lost + (not good)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def records(api: Api) -> list[tuple[str, str]]:
    items = api.call("GET", "/dns?origin=api&limit=1000")["items"]
    return [(item["name"], item["value"]) for item in items]


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_store_and_audit_key_are_turned_over(house: House, mode: str, tmp_path: Path) -> None:
    with house.running(house.body(FIRST, mode=mode)) as api:
        api.made("/dns", {"name": "one.example.", "type": "A", "value": "192.0.2.1"})
        backup = api.made("/backup", {})["id"]
        before = api.call("GET", "/hsm")
        assert before["origins"] == {
            "store": f"hsm {mode} runbound-store-key",
            "audit": f"hsm {mode} runbound-audit-key",
        }
        assert (before["used"], before["ok"], before["mode"], before["logins"]) == (True, True, mode, 1)
        api.resolver.write(house.body(SECOND, mode=mode))
        with Asking(api.resolver, "one.example") as asking:
            tried = api.call("POST", "/hsm/reload?dry_run=1")
            done = api.call("POST", "/hsm/reload?reason=yearly")
        assert asking.answered > 0
        assert asking.lost == 0
        assert [(one["role"], one["changed"]) for one in tried["keys"]] == [("store", True), ("audit", True)]
        assert tried["state"] is None
        assert done["state"]["backups"] == 1
        assert api.call("GET", "/hsm")["origins"]["store"] == f"hsm {mode} runbound-store-key-v2"
        api.made("/dns", {"name": "two.example.", "type": "A", "value": "192.0.2.2"})
        assert api.call("POST", "/audit/verify")["ok"]
        assert api.call("POST", "/backup/restore", {"id": backup})["summary"]["record"] == {"removed": 1}
        code, said = house.store("verify")
        assert (code, "nothing wrong" in said) == (0, True), said
        kept_records = records(api)
        log = house.folder / "run" / "state" / "audit.log"
        end = time.monotonic() + 15
        while '"event":"backup.restore"' not in log.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
    events = re.findall(r'"event":"([a-z.]+)"', log.read_text())
    turn = events.index("audit.rekey")
    assert events[turn : turn + 4] == ["audit.rekey", "checkpoint", "checkpoint", "store.rekey"]
    assert events.count("hsm.reload") == 2
    if mode == "extract":  # the log's file is one chain, proven with the two keys
        files = []
        for name in ("audit", "audit-v2"):
            path = tmp_path / name
            path.write_bytes(house.values[name].encode().hex().encode())
            path.chmod(0o600)
            files += ["--key-file", str(path)]
        proof = subprocess.run([RUNBOUND, "audit", "verify", *files, log], capture_output=True, text=True)
        assert proof.returncode == 0, proof.stdout + proof.stderr
    with house.running(house.body(SECOND, mode=mode)) as api:
        assert records(api) == kept_records == [("one.example.", "192.0.2.1")]
        assert api.call("POST", "/audit/verify")["ok"]
        assert [item["id"] for item in api.call("GET", "/backup")["items"]]
    with pytest.raises(StartError) as caught, house.running(house.body(FIRST, mode=mode)):
        pass
    assert f"was written with the HSM's key runbound-store-key-v2 in mode {mode}" in str(caught.value)
    named = re.search(r"runbound (store resign --old-hsm-label .*)", str(caught.value))
    assert named is not None, caught.value
    words = shlex.split(named[1])
    assert words[2:6] == ["--old-hsm-label", "runbound-store-key-v2", "--old-hsm-mode", mode]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNBOUND_", "STATE_"))}
    done = subprocess.run([RUNBOUND, *words], env={**kept, **house.token.pin_env()}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with house.running(house.body(FIRST, mode=mode)) as api:  # what was named is all that was needed
        assert records(api) == kept_records


def test_the_api_key_before_is_dead_at_once(house: House) -> None:
    house.env.pop("RUNBOUND_API_KEY")
    body = house.body(FIRST, ("api", "store"))
    with Resolver(body, house.folder / "run", env=house.env) as resolver:
        old, new = ({"Authorization": f"Bearer {house.values[name]}"} for name in ("api", "api-v2"))
        api = Api(resolver, house.port)

        def ask(path: str, headers: dict[str, str], method: str = "GET") -> int:
            with api.open(method, path, None, **headers) as answer:
                answer.read()
                return answer.status

        assert (ask("/hsm", old), ask("/hsm", new)) == (200, 401)
        resolver.write(house.body(SECOND, ("api", "store")))
        assert ask("/hsm/reload", old, "POST") == 200
        assert (ask("/hsm", old), ask("/hsm", new)) == (401, 200)
        resolver.signal(signal.SIGHUP)
        resolver.write(house.body(FIRST, ("api", "store")))
        resolver.signal(signal.SIGHUP)
        time.sleep(0.5)
        assert (ask("/hsm", old), ask("/hsm", new)) == (401, 200)


def test_what_the_token_lacks_changes_nothing(house: House) -> None:
    with house.running(house.body(FIRST)) as api:
        api.made("/dns", {"name": "one.example.", "type": "A", "value": "192.0.2.1"})
        api.resolver.write(house.body("-v9"))
        told = api.call("POST", "/hsm/reload", status=422)
        assert (told["code"], told["hsm"]["kind"]) == ("HSM_REFUSED", "label-absent")
        assert "runbound-store-key-v2" in told["hsm"]["labels"]
        assert house.token.pin not in str(told)
        api.resolver.write(house.body(FIRST) + "    hsm-pkcs11-lib: relative.so\n")
        assert api.call("POST", "/hsm/reload", status=422)["code"] == "CONFIG_INVALID"
        api.made("/dns", {"name": "two.example.", "type": "A", "value": "192.0.2.2"})
        assert api.call("GET", "/health")["hsm"] is True
    with house.running(house.body(FIRST)) as api:
        assert len(records(api)) == 2


def test_killed_while_everything_is_coded_anew(house: House) -> None:
    """Whichever key the state has then: the file as it is opens it, or what is said names the command that helps."""
    names, turn, ends = [FIRST, SECOND], 0, set()
    chance = random.Random(int(hashlib.sha256(b"killed").hexdigest()[:8], 16))
    lines = "\n".join(f"n{number}.example. 60 IN A 192.0.2.1" for number in range(2_000)).encode()
    with house.running(house.body(names[0])) as api:
        with api.open("POST", "/dns/bulk", lines, **{"Content-Type": "text/plain"}) as answer:
            assert answer.status == 200, answer.read()
            answer.read()
        begin = time.monotonic()
        api.resolver.write(house.body(names[1]))
        done = api.call("POST", "/hsm/reload")
        took = time.monotonic() - begin
        assert done["state"]["entries"] >= 2_000
    turn = 1
    for _ in range(3):
        with house.running(house.body(names[turn])) as api:
            api.resolver.write(house.body(names[1 - turn]))
            asking = threading.Thread(target=_reload, args=(api,))
            asking.start()
            time.sleep(chance.uniform(0.3, 1.1) * took)
            api.resolver.signal(signal.SIGKILL)
            api.resolver.process.wait()
            asking.join()
        code, said = house.store("verify")
        ends.add(code)
        if code != 0:
            assert f"was written with the HSM's key runbound-store-key{names[turn]} in mode extract" in said
            command = re.search(r"runbound (store resign --old-hsm-label \S+ --old-hsm-mode \S+) -c", said)
            assert command is not None, said
            code, said = house.store(*shlex.split(command[1])[1:])
            assert code == 0, said
        turn = 1 - turn
        with house.running(house.body(names[turn])) as api:
            assert api.call("GET", "/dns?origin=api&limit=1")["total"] == 2_000
            assert api.call("POST", "/audit/verify")["ok"]
    assert ends  # both ends are seen over many runs; which, is chance


def _reload(api: Api) -> None:
    try:
        api.call("POST", "/hsm/reload")
    except (OSError, AssertionError, ValueError):
        return


def test_tools_of_the_state_take_its_keys(house: House) -> None:
    with house.running(house.body(FIRST)) as api:
        api.made("/dns", {"name": "one.example.", "type": "A", "value": "192.0.2.1"})
    found: Any = house.store("export")
    assert found[0] == 0
    assert '"value":"192.0.2.1"' in found[1]
