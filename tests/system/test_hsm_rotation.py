"""Other keys under new labels: by restart, by `POST /hsm/reload`, and moves between token, environment and file.

Each ends with the same records as before, and with a state that openssl proves with the key that is to be in force.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.servers import StartError
from support.sites import API_LABEL, STORE_LABEL, Site, openssl_hmac, pairs, root_of, site_of
from support.tokens import SOFTHSM, fresh_key, spied

if TYPE_CHECKING:
    from pathlib import Path

NEXT_API, NEXT_STORE = "runbound-api-key-v2", "runbound-store-key-v2"


def put(site: Site, label: str, value: str | bytes) -> bytes:
    """Another key, fit for the site's mode."""
    return (site.token.put if site.mode == "extract" else site.token.keep)(label, value)


def subkey(site: Site, key: bytes) -> bytes:
    """What the state's codes are derived from."""
    return key if site.mode == "extract" else openssl_hmac(key, b"runbound store 1")


@pairs
def test_a_new_api_key(tmp_path: Path, provider: str, mode: str) -> None:
    """SIGHUP leaves the key, the reload and a restart take the new label; the old key is dead at once."""
    with site_of(tmp_path, provider, mode) as site:
        new = fresh_key()
        put(site, NEXT_API, new)
        report = spied(site.token)
        site.token = report
        with site.start() as resolver:
            resolver.write(site.body(api_key_label=NEXT_API))
            resolver.signal(signal.SIGHUP)
            resolver.wait_for_log("change applied")
            assert [site.admits(site.api_key), site.admits(new)] == [True, False]
            assert report.logins() == 1
            dry = site.good("POST", "/hsm/reload?dry_run=true")
            assert dry is not None
            assert [site.admits(site.api_key), site.admits(new)] == [True, False]
            before = report.logins()
            site.good("POST", "/hsm/reload")
            assert report.logins() == before + 1
            assert [site.admits(site.api_key), site.admits(new)] == [False, True]
            assert site.hsm() is True
        with site.start(api_key_label=NEXT_API):
            assert [site.admits(site.api_key), site.admits(new)] == [False, True]


@pairs
def test_a_new_store_key_by_reload(tmp_path: Path, provider: str, mode: str) -> None:
    """The state is coded anew while it runs; a restart with the old label is told so."""
    with site_of(tmp_path, provider, mode) as site:
        new = put(site, NEXT_STORE, os.urandom(32))
        with site.start() as resolver:
            site.add("kept.example.")
            resolver.write(site.body(store_key_label=NEXT_STORE))
            site.good("POST", "/hsm/reload")
            site.add("later.example.")
            assert site.good("POST", "/audit/verify") is not None
        assert site.proven_by(subkey(site, new))
        with pytest.raises(StartError, match=r"store resign|hsm-store-key-label"):
            site.start().stop()
        with site.start(store_key_label=NEXT_STORE):
            assert site.names() >= {"kept.example.", "later.example."}


@pairs
def test_a_new_store_key_by_restart(tmp_path: Path, provider: str, mode: str) -> None:
    """Old data is flagged, and one command mends it."""
    with site_of(tmp_path, provider, mode) as site:
        new = put(site, NEXT_STORE, os.urandom(32))
        with site.start() as resolver:
            site.add("kept.example.")
            conf = resolver.conf
        with pytest.raises(StartError) as caught:
            site.start(store_key_label=NEXT_STORE).stop()
        assert "store resign" in str(caught.value)
        assert STORE_LABEL in str(caught.value), "it says which key the state was written with"
        site.run("store", "resign", "--old-hsm-label", STORE_LABEL, "-c", str(conf))
        with site.start(store_key_label=NEXT_STORE):
            assert "kept.example." in site.names()
        assert site.proven_by(subkey(site, new))


def test_another_mode_is_another_key(tmp_path: Path) -> None:
    """One token key makes two: the start says which mode the state was written in, and resign changes it."""
    with site_of(tmp_path, "softhsm") as site:
        with site.start() as resolver:
            site.add("kept.example.")
            conf = resolver.conf
        with pytest.raises(StartError) as caught:
            site.start(mode="in-token").stop()
        assert "extract" in str(caught.value)
        assert "hsm-mode" in str(caught.value)
        site.run("store", "resign", "--old-hsm-label", STORE_LABEL, "--old-hsm-mode", "extract", "-c", str(conf))
        with site.start(mode="in-token"):
            assert "kept.example." in site.names()
        site.mode = "in-token"
        assert site.proven_by(root_of(site))


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_from_the_environment_into_the_token_and_out_to_a_file(tmp_path: Path, mode: str) -> None:
    with site_of(tmp_path, "softhsm", mode) as site:
        first, last = os.urandom(32), os.urandom(32)
        with site.start({"RUNBOUND_STORE_KEY": first.hex()}, store_key_label=None) as resolver:
            site.add("kept.example.")
            conf = resolver.conf
        assert site.proven_by(first)
        old = site.folder / "old.key"
        old.write_text(f"{first.hex()}\n")
        old.chmod(0o600)
        with pytest.raises(StartError, match="store resign"):
            site.start().stop()
        site.run("store", "resign", "--old-key-file", str(old), "-c", str(conf))
        with site.start():
            assert "kept.example." in site.names()
        assert site.proven_by(root_of(site))
        env = {"RUNBOUND_STORE_KEY": last.hex()}
        with pytest.raises(StartError, match="store resign"):
            site.start(env, store_key_label=None).stop()
        site.run("store", "resign", "--old-hsm-label", STORE_LABEL, "--old-hsm-mode", mode, "-c", str(conf), env=env)
        with site.start(env, store_key_label=None):
            assert "kept.example." in site.names()
        assert site.proven_by(last)


def test_from_no_key_into_the_token(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm") as site:
        with site.start(store_key_label=None) as resolver:
            site.add("kept.example.")
            conf = resolver.conf
        with pytest.raises(StartError, match="store resign"):
            site.start().stop()
        site.run("store", "resign", "-c", str(conf))
        with site.start():
            assert "kept.example." in site.names()
        assert site.proven_by(site.store_key)


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_store_commands_take_the_key_from_the_token(tmp_path: Path, mode: str) -> None:
    with site_of(tmp_path, "softhsm", mode) as site:
        with site.start() as resolver:
            site.add("kept.example.")
            conf = str(resolver.conf)
        site.run("store", "verify", "-c", conf)
        copy = str(site.folder / "copy.json")
        site.run("store", "export", copy, "-c", conf)
        assert "kept.example" in (site.folder / "copy.json").read_text()
        said = site.run("store", "verify", "-c", conf, env={"HSM_PIN": "000000"}, code=1)
        assert "CKR_PIN_INCORRECT" in said


def test_nothing_is_half_taken(tmp_path: Path) -> None:
    """One good label and one bad: the reload fails, both keys of before stay."""
    with site_of(tmp_path, "softhsm") as site:
        new = fresh_key()
        put(site, NEXT_API, new)
        with site.start() as resolver:
            site.add("kept.example.")
            resolver.write(site.body(api_key_label=NEXT_API, store_key_label="runbound-store-key-v9"))
            status, answer = site.call("POST", "/hsm/reload", site.api_key)
            assert status >= 400
            assert "CKR_OBJECT_HANDLE_INVALID" in str(answer)
            assert "runbound-store-key-v9" in str(answer)
            assert [site.admits(site.api_key), site.admits(new)] == [True, False]
            site.add("later.example.")
        with site.start():
            assert site.names() >= {"kept.example.", "later.example."}


def test_the_api_cannot_rotate_a_key_of_the_token(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm") as site, site.start():
        status, answer = site.call("POST", "/rotate-key", site.api_key)
        assert status == 409
        assert answer["code"] == "KEY_IN_HSM"
        assert site.admits(site.api_key)


def test_a_token_is_brought_back_from_a_copy(tmp_path: Path) -> None:
    """The contents of the folder are copied, never the folder into itself."""
    with site_of(tmp_path, "softhsm") as site:
        with site.start():
            site.add("kept.example.")
        tokens, backup = site.token.folder / "tokens", tmp_path / "backup"
        subprocess.run(["cp", "-a", tokens, backup], check=True)
        shutil.rmtree(tokens)
        tokens.mkdir()
        site.refused()
        subprocess.run(["cp", "-a", f"{backup}/.", tokens], check=True)
        with site.start():
            assert site.admits(site.api_key)
            assert "kept.example." in site.names()


def test_the_sequence_of_the_specification(tmp_path: Path) -> None:
    """Import, configure, start, /health; rotate by label, restart, verify, delete: with OpenSC's tool as it is."""
    with site_of(tmp_path, "softhsm") as site:
        new = fresh_key()
        key = site.folder / "new.key"
        key.write_text(new)
        tool = ["pkcs11-tool", "--module", str(SOFTHSM), "--login", "--pin", site.token.pin]

        def pkcs11_tool(*words: str) -> str:
            done = subprocess.run(
                [*tool, *words], env=site.token.environment(), capture_output=True, text=True, check=True
            )
            return done.stdout

        with site.start():
            assert site.hsm() is True
        pkcs11_tool("--write-object", str(key), "--type", "secrkey", "--label", NEXT_API, "--private", "--extractable")
        key.unlink()
        with site.start(api_key_label=NEXT_API):
            assert site.admits(new)
            assert site.hsm() is True
        pkcs11_tool("--delete-object", "--type", "secrkey", "--label", API_LABEL)
        assert API_LABEL not in pkcs11_tool("--list-objects").replace(NEXT_API, "")
        with site.start(api_key_label=NEXT_API):
            assert site.admits(new)
