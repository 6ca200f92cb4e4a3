"""A life with keys in a token where it is not the token that acts: signals, a state of another key, a label taken away,
and what the process that speaks with the token inherits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import HEAD, RUNBOUND, Process, StartError, free_port, write_hints
from support.sites import EXIT_CONFIG, STORE_LABEL, family, site_of
from support.tokens import Remote, fresh_key

if TYPE_CHECKING:
    from support.sites import Site

OTHER = "another-store-key"


def helper_of(pid: int, seconds: float = 15.0) -> int:
    """The process that watches the token."""
    end = time.monotonic() + seconds
    while len(found := family(pid)) < 2:
        assert time.monotonic() < end, "nobody watches the token"
        time.sleep(0.05)
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_start_that_waits_for_a_frozen_token_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with site_of(tmp_path, "p11-kit") as site:
        assert isinstance(site.token, Remote)
        site.token.freeze()
        started = Starting(site)
        started.log_has("Opening PKCS#11 HSM session")
        time.sleep(0.3)
        begun = time.monotonic()
        os.kill(started.pid, number)
        assert started.ended() != 0
        assert time.monotonic() - begun < 10, "and not after hsm-timeout, which is 30 s"
        assert "stopped before the keys of the HSM were loaded" in started.log()


class Starting:
    """A start that nobody waits for."""

    def __init__(self, site: Site) -> None:
        head = HEAD.replace("{folder}", str(site.folder)).replace("{address}", "127.0.0.1")
        (site.folder / "waits.conf").write_text(head.replace("{port}", str(free_port())) + site.body())
        write_hints(site.folder)
        self._process = Process([RUNBOUND, "-d", "-c", "waits.conf"], site.folder, env=site.environment())
        self.pid = self._process.pid
        self.log = self._process.log
        self.log_has = self._process.wait_for_log

    def ended(self) -> int:
        """The exit code."""
        try:
            return self._process.process.wait(20)
        finally:
            self._process.stop()


def test_a_state_of_another_key_ends_the_start_for_good(tmp_path: Path) -> None:
    """With any other exit code the service manager would start it again and again, each time with a login."""
    with site_of(tmp_path, "softhsm") as site:
        with site.start():
            pass
        site.token.put(OTHER, os.urandom(32))
        with pytest.raises(StartError) as caught:
            site.start(store_key_label=OTHER).stop()
        said = str(caught.value)
        assert STORE_LABEL in said
        assert f"code {EXIT_CONFIG}" in said, said
        with site.start():
            assert site.hsm() is True


def test_sighup_leaves_the_keys_and_a_reload_takes_them(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm") as site:
        new = fresh_key()
        site.token.put("api-v2", new)
        with site.start() as resolver:
            conf = site.folder / "unbound.conf"
            conf.write_text(
                conf.read_text().replace('hsm-api-key-label: "runbound-api-key"', 'hsm-api-key-label: "api-v2"')
            )
            resolver.signal(signal.SIGHUP)
            resolver.wait_for_log("needs_restart=hsm-api-key-label")
            assert (site.admits(site.api_key), site.admits(new)) == (True, False)
            assert site.call("POST", "/hsm/reload", site.api_key)[0] == 200
            assert (site.admits(site.api_key), site.admits(new)) == (False, True)


def test_a_label_that_is_taken_away_at_a_reload_leaves_the_chain(tmp_path: Path) -> None:
    """The API key of the environment was passed over at the start, and is the one in force afterwards."""
    with site_of(tmp_path, "softhsm") as site:
        given = fresh_key()
        with site.start({"RUNBOUND_API_KEY": given}) as resolver:
            assert (site.admits(site.api_key), site.admits(given)) == (True, False)
            assert "is not used: the HSM's key comes first" in resolver.log()
            conf = site.folder / "unbound.conf"
            lines = conf.read_text().splitlines(keepends=True)
            conf.write_text("".join(line for line in lines if "hsm-api-key-label" not in line))
            assert site.call("POST", "/hsm/reload", site.api_key)[0] == 200
            assert (site.admits(site.api_key), site.admits(given)) == (False, True)


def test_a_state_that_loses_its_key_at_a_reload_is_warned_of(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm") as site, site.start() as resolver:
        assert "no key protects the state" not in resolver.log()
        conf = site.folder / "unbound.conf"
        lines = conf.read_text().splitlines(keepends=True)
        conf.write_text("".join(line for line in lines if "hsm-store-key-label" not in line))
        for _ in range(2):
            assert site.call("POST", "/hsm/reload", site.api_key)[0] == 200
        assert resolver.log().count("warning: HSM: no key protects the state any more") == 1


def test_who_watches_the_token_inherits_no_secret(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm", "in-token") as site:
        given = {"RUNBOUND_API_KEY": fresh_key(), "RUNBOUND_STORE_KEY": fresh_key()}
        with site.start({**given, "RUNBOUND_AUDIT_HMAC_KEY": fresh_key()}) as resolver:
            watching = helper_of(resolver.pid)
            names = {line.split(b"=")[0] for line in Path(f"/proc/{watching}/environ").read_bytes().split(b"\0")}
            assert b"SOFTHSM2_CONF" in names
            assert not names & {b"HSM_PIN", b"RUNBOUND_API_KEY", b"RUNBOUND_STORE_KEY", b"RUNBOUND_AUDIT_HMAC_KEY"}
            open_files = [os.readlink(path) for path in Path(f"/proc/{watching}/fd").iterdir()]
            sockets = {name for name in open_files if name.startswith("socket:")}
            assert len(sockets) == 1, "its end of the pair, and none of the resolver's"
            resolver.signal(signal.SIGTERM)
            resolver.process.wait(20)
            end = time.monotonic() + 10
            while Path(f"/proc/{watching}").exists():
                assert time.monotonic() < end, "the helper outlives the resolver"
                time.sleep(0.05)


def test_without_a_module_nothing_of_it_is_imported() -> None:
    rooms = "runbound.cli, runbound.ops.service, runbound.ops.source, runbound.api.companion, runbound.ops.keys"
    ours = ("runbound.keys.", "runbound.ops.hsm", "runbound.ops.watch", "runbound.ops.helper", "runbound.ops.pin")
    code = f"import sys, {rooms}; print([name for name in sys.modules if name.startswith({ours})])"
    done = subprocess.run([RUNBOUND.parent / "python", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
