"""A start with keys from a real token: what the log says, which key wins, how often it logs in, what it leaves."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.daemons import CHOSEN
from support.packets import Ask, exchange
from support.servers import HEAD
from support.sites import (
    API_LABEL,
    AUDIT_LABEL,
    STORE_LABEL,
    Site,
    extracting,
    family,
    openssl_hkdf,
    openssl_hmac,
    pairs,
    providers,
    root_of,
    site_of,
)
from support.tokens import Remote, add_softhsm_token, fresh_key, softhsm, spied

GENERATED = "api.key"
SLOT = {"nss": "1"}
"""Where a token does not stand at index 0: NSS has one of its own before it."""


def in_order(log: str, *texts: str) -> None:
    """Each text stands in a line of its own, one after the other."""
    lines = log.splitlines()
    at = 0
    for text in texts:
        found = next((number for number in range(at, len(lines)) if text in lines[number]), None)
        assert found is not None, f"{text!r} does not follow:\n{log}"
        at = found + 1


@pairs
def test_the_start_says_what_it_loads_and_that_the_session_is_closed(tmp_path: Path, provider: str, mode: str) -> None:
    with site_of(tmp_path, provider, mode) as site:
        report = spied(site.token)
        site.token = report
        slot = SLOT.get(provider, "0")
        with site.start(slot=slot) as resolver:
            log = resolver.log()
            assert f"info: Opening PKCS#11 HSM session  lib={report.module}  slot={slot}" in log
            assert all("info" in line.lower() for line in log.splitlines() if "HSM" in line and "session" in line)
            last = {
                "extract": "HSM session closed — keys held in process memory",
                "in-token": "HSM session closed — subkeys held, token key never left",
            }
            in_order(
                log,
                "Opening PKCS#11 HSM session",
                f"HSM: API key loaded           label={API_LABEL}",
                f"HSM: store HMAC key loaded    label={STORE_LABEL}",
                last[mode],
            )
            calls = report.calls()
            assert calls.count("C_Login") == 1
            in_order("\n".join(calls), "C_Initialize", "C_OpenSession", "C_Login", "C_Logout", "C_CloseSession")
            if mode == "extract":
                assert calls[-1] == "C_Finalize"
            assert site.hsm() is True
            assert site.admits(site.api_key)
            assert not site.admits(site.api_key[:-1])
            assert not site.admits(fresh_key())
            assert not site.admits(None)
            site.add("kept.example.")
            assert not (site.folder / "state" / GENERATED).exists(), "no other API key is made"
            assert site.good("GET", "/hsm")["mode"] == mode
        assert site.proven_by(root_of(site)), "the state's code is not what openssl makes with the token's key"
        with site.start():
            assert "kept.example." in site.names()
        assert report.logins() == 2


def test_in_token_says_only_what_it_does(tmp_path: Path) -> None:
    """The words of extract mode do not stand in the other's log."""
    with site_of(tmp_path, "softhsm", "in-token") as site, site.start() as resolver:
        assert "keys held in process memory" not in resolver.log()


@extracting
def test_bytes_that_pad_to_the_same_hmac_key_do_not_pass(tmp_path: Path, provider: str) -> None:
    """HMAC pads a key with zeros: token and token+NUL have the same tag. A header cannot carry NUL, but it is tried."""
    with site_of(tmp_path, provider, "in-token") as site, site.start() as resolver:
        import socket

        for octets in (
            site.api_key.encode() + b"\0",
            site.api_key.encode() + b"\xc2\x80",
            b" " + site.api_key.encode(),
        ):
            with socket.create_connection(("127.0.0.1", site.api_port)) as link:
                link.sendall(b"GET /system HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ")
                link.sendall(octets + b"\r\n\r\n")
                answer = link.recv(4096)
            wanted = (b"200",) if octets.startswith(b" ") else (b"400", b"401")
            assert answer.split()[1] in wanted, answer
        assert "Traceback" not in resolver.log()


def test_the_api_key_of_the_token_beats_all_others(tmp_path: Path) -> None:
    from_env, from_file = fresh_key(), fresh_key()
    with site_of(tmp_path, "softhsm") as site:
        site.more = f'    api-key: "{from_file}"\n'
        env = {"RUNBOUND_API_KEY": from_env}
        with site.start(env):
            assert [site.admits(key) for key in (site.api_key, from_env, from_file)] == [True, False, False]
        # A key without a label follows its chain, and the log says so.
        with site.start(env, api_key_label=None) as resolver:
            assert [site.admits(key) for key in (site.api_key, from_env, from_file)] == [False, True, False]
            assert "HSM: API key loaded" not in resolver.log().rpartition("Opening PKCS#11")[2]
            assert re.search(r"API key.*RUNBOUND_API_KEY", resolver.log())
            assert site.hsm() is True
        with site.start(api_key_label=None):
            assert [site.admits(key) for key in (site.api_key, from_env, from_file)] == [False, False, True]
        site.more = ""
        with site.start(api_key_label=None):
            generated = (site.folder / "state" / GENERATED).read_text().strip()
            assert [site.admits(key) for key in (site.api_key, from_file, generated)] == [False, False, True]
        with site.start():
            assert [site.admits(key) for key in (site.api_key, generated)] == [True, False]


def test_the_store_key_of_the_token_beats_the_environment(tmp_path: Path) -> None:
    other = os.urandom(32)
    with site_of(tmp_path, "softhsm") as site:
        with site.start({"RUNBOUND_STORE_KEY": other.hex()}):
            site.add("kept.example.")
        assert site.proven_by(site.store_key)
        # The same key from the environment opens the same state; nothing else does.
        with site.start({"RUNBOUND_STORE_KEY": site.store_key.hex()}, store_key_label=None) as resolver:
            assert "kept.example." in site.names()
            assert re.search(r"store.*key.*RUNBOUND_STORE_KEY", resolver.log())
        said = refusal_of_state(site, {"RUNBOUND_STORE_KEY": other.hex()}, store_key_label=None)
        assert STORE_LABEL in said or "RUNBOUND_STORE_KEY" in said
        said = refusal_of_state(site, store_key_label=None)
        assert STORE_LABEL in said or "RUNBOUND_STORE_KEY" in said


def refusal_of_state(site: Site, env: dict[str, str] | None = None, **options: Any) -> str:
    """What a start with the wrong key says."""
    from support.servers import StartError

    with pytest.raises(StartError) as caught:
        site.start(env, **options).stop()
    return str(caught.value)


@pairs
def test_the_audit_key_from_the_token(tmp_path: Path, provider: str, mode: str) -> None:
    with site_of(tmp_path, provider, mode) as site:
        audit_key = os.urandom(32)
        (site.token.put if mode == "extract" else site.token.keep)(AUDIT_LABEL, audit_key)
        with site.start({"RUNBOUND_AUDIT_HMAC_KEY": fresh_key()}, audit_key_label=AUDIT_LABEL) as resolver:
            assert AUDIT_LABEL in resolver.log()
            site.add("kept.example.")
            rows = site.good("GET", "/audit/tail")
            assert rows
            assert site.good("POST", "/audit/verify")
        key = audit_key if mode == "extract" else openssl_hmac(audit_key, b"runbound audit 1")
        path = f"file:{site.folder / 'state' / 'state.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(path, uri=True)) as db:
            ((line,),) = db.execute("SELECT line FROM audit ORDER BY seq DESC LIMIT 1").fetchall()
        made = re.search(r'"mac":"([0-9a-f]{64})"', line)
        assert made
        covered = line.replace(f',"mac":"{made[1]}"', "").encode()
        assert openssl_hmac(key, covered).hex() == made[1]


def test_the_provider_goes_after_the_start(tmp_path: Path) -> None:
    """Extract: nothing is asked of the token any more, and /health stays with the keys that are held."""
    with site_of(tmp_path, "p11-kit") as site:
        with site.start() as resolver:
            assert isinstance(site.token, Remote)
            site.token.kill()
            shutil.rmtree(tmp_path / "token" / "tokens")
            assert site.admits(site.api_key)
            site.add("later.example.")
            resolver.signal(signal.SIGHUP)
            resolver.wait_for_log("change applied")
            assert site.names() >= {"later.example."}
            assert exchange(Ask("a.example."), resolver.at) is not None
            assert site.hsm() is True
            assert len(family(resolver.process.pid)) == 1, "no helper is left"
            assert resolver.stop() == 0
        assert site.proven_by(site.store_key)


@providers
def test_five_restarts_never_lock(tmp_path: Path, provider: str) -> None:
    """With a wrong PIN each start tries once, and none when the token says that one try is left."""
    with site_of(tmp_path, provider, "in-token") as site:
        report = spied(site.token)
        site.token, plain = report, site.token
        for _ in range(5):
            report.forget()
            said = site.refused({"HSM_PIN": "999999"})
            assert report.logins() <= 1
            assert "999999" not in said
            # A TPM's flags never show how many tries are left, and the third one locks: see docs/hsm.md.
            locked = "|CKR_PIN_LOCKED" if provider == "tpm2" else ""
            assert re.search(f"CKR_PIN_INCORRECT|FINAL_TRY{locked}", said), said
        if provider == "tpm2":
            return
        site.token = plain
        with site.start(final_try="yes"):
            assert site.admits(site.api_key)


def test_final_try(tmp_path: Path) -> None:
    with site_of(tmp_path, "opencryptoki") as site:
        site.token.try_pins("000000", "000001")
        report = spied(site.token)
        site.token = report
        said = site.refused()
        assert "CKF_USER_PIN_FINAL_TRY" in said
        assert "hsm-final-try" in said
        assert report.logins() == 0
        with site.start(final_try="yes") as resolver:
            assert site.admits(site.api_key)
            assert "FINAL_TRY" in resolver.log()
        report.forget()
        with site.start():
            assert report.logins() == 1


def test_a_locked_token_is_left_alone(tmp_path: Path) -> None:
    with site_of(tmp_path, "opencryptoki") as site:
        site.token.try_pins("000000", "000001", "000002")
        report = spied(site.token)
        site.token = report
        assert "CKF_USER_PIN_LOCKED" in site.refused()
        assert "CKF_USER_PIN_LOCKED" in site.refused(final_try="yes")
        assert report.logins() == 0


def test_a_wrong_try_before_is_told(tmp_path: Path) -> None:
    with site_of(tmp_path, "softhsm") as site:
        site.token.try_pins("000000")
        with site.start() as resolver:
            assert "CKF_USER_PIN_COUNT_LOW" in resolver.log()


@pairs
def test_two_processes_on_one_token(tmp_path: Path, provider: str, mode: str) -> None:
    with site_of(tmp_path, provider, mode) as one:
        (tmp_path / "other").mkdir()
        other = Site(tmp_path / "other", one.token, mode, one.api_key, one.store_key)
        with one.start() as first, other.start():
            assert [one.admits(one.api_key), other.admits(one.api_key)] == [True, True]
            assert [one.hsm(), other.hsm()] == [True, True]
            assert first.stop() == 0
            assert other.hsm() is True


@extracting
def test_keys_as_data_objects(tmp_path: Path, provider: str) -> None:
    """So does a smart card keep them, which has no secret keys."""
    with CHOSEN[provider](tmp_path / "token") as token:
        (tmp_path / "site").mkdir()
        site = Site(tmp_path / "site", token)
        token.put(API_LABEL, site.api_key, data=True)
        token.put(STORE_LABEL, site.store_key, data=True)
        with site.start():
            assert site.admits(site.api_key)
            site.add("kept.example.")
            kinds = {row["role"]: row["object"] for row in site.good("GET", "/hsm")["keys"]}
            assert kinds == {"api": "data", "store": "data"}
        assert site.proven_by(site.store_key)


def test_a_key_that_anybody_may_read_is_told(tmp_path: Path) -> None:
    with softhsm(tmp_path / "token") as token:
        (tmp_path / "site").mkdir()
        site = Site(tmp_path / "site", token)
        token.put(API_LABEL, site.api_key, private=False)
        token.put(STORE_LABEL, site.store_key)
        with site.start() as resolver:
            assert "CKA_PRIVATE = false" in resolver.log()
            assert site.admits(site.api_key)


def test_a_short_api_key_is_told(tmp_path: Path) -> None:
    with softhsm(tmp_path / "token") as token:
        (tmp_path / "site").mkdir()
        site = Site(tmp_path / "site", token, api_key="k" * 16)
        token.put(API_LABEL, site.api_key)
        with site.start(store_key_label=None) as resolver:
            assert "less than 32 octets" in resolver.log()
            assert site.admits(site.api_key)


@pytest.mark.parametrize("how", ["file", "credential", "pin-source", "option"])
def test_where_the_pin_may_stand(tmp_path: Path, how: str) -> None:
    with site_of(tmp_path, "softhsm") as site:
        place = site.folder / "hsm-pin"
        place.write_text(f"{site.token.pin}\n")
        place.chmod(0o600)
        options: dict[str, Any] = {}
        env = {}
        if how == "file":
            options["pin_file"] = str(place)
        elif how == "credential":
            env["CREDENTIALS_DIRECTORY"] = str(site.folder)
        elif how == "pin-source":
            uri = f"pkcs11:token={site.token.label}?module-path={site.token.module}&pin-source=file:{place}"
            options |= {"uri": uri, "token_label": None, "pkcs11_lib": None}
        else:
            options["pin"] = site.token.pin
        token_env = dict(site.token.env)
        site.token.pin_env = lambda: token_env  # type: ignore[method-assign]  # no HSM_PIN
        with site.start(env, **options) as resolver:
            log = resolver.log()
            assert site.admits(site.api_key)
            assert ("hsm-pin" in log and "configuration file" in log) is (how == "option")
            assert site.token.pin not in log


def test_the_token_is_chosen_by_name_before_the_login(tmp_path: Path) -> None:
    """A second token can stand at index 0; neither gets the other's PIN."""
    with site_of(tmp_path, "softhsm") as site:
        for number in range(4):
            add_softhsm_token(site.token, f"other-{number}")
        report = spied(site.token)
        site.token = report
        with site.start():
            assert site.admits(site.api_key)
        with site.start(token_label=None, token_serial=site.token.serial):
            assert site.admits(site.api_key)
        with site.start(token_label=None, uri=f"pkcs11:serial={site.token.serial}"):
            assert site.admits(site.api_key)
        report.forget()
        said = site.refused(token_label="nobody")
        assert "nobody" in said
        assert report.logins() == 0
        said = site.refused(token_serial="0000000000000000")
        assert report.logins() == 0


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_as_another_account(public_folder: Path, mode: str) -> None:
    """Helper and resolver serve as the account of `username`; the token is that account's alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with site_of(public_folder, "softhsm", mode) as site:
        head = HEAD.replace('username: ""', 'username: "nobody"')
        for at in (site.token.folder, *site.token.folder.rglob("*")):
            shutil.chown(at, "nobody")
        with site.start(head=head, wait=False) as resolver:
            # Where that account may not read Python's files there is no API, and nothing else is missing.
            resolver.wait_for_log("API is ")
            if "API is up" in resolver.log():
                assert site.admits(site.api_key)
            assert "HSM session closed" in resolver.log()
            for pid in family(resolver.process.pid):
                uids = re.search(r"^Uid:\s+(.*)", (proc(pid) / "status").read_text(), re.MULTILINE)
                assert uids
                assert set(uids[1].split()) == {"65534"}


def proc(pid: int) -> Path:
    """Its folder under /proc."""
    return Path(f"/proc/{pid}")


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_the_pin_is_nowhere(tmp_path: Path, mode: str) -> None:
    """Not in the log, the command lines, the environment, the state, or anything the API says."""
    with site_of(tmp_path, "softhsm", mode) as site:
        site.token.pin, old = "271828182845", site.token.pin
        subprocess.run(
            [
                "pkcs11-tool",
                "--module",
                site.token.module,
                "--login",
                "--pin",
                old,
                "--change-pin",
                "--new-pin",
                site.token.pin,
            ],
            env=site.token.environment(),
            check=True,
            capture_output=True,
        )
        secrets = [site.token.pin, site.api_key, site.store_key.hex()]
        head = HEAD.replace("num-threads: 1", "num-threads: 1\n    verbosity: 5")
        with site.start(head=head) as resolver:
            site.add("kept.example.")
            texts = {"log": resolver.log()}
            for path in ("/hsm", "/config", "/health", "/system", "/audit/tail", "/config/history"):
                texts[path] = repr(site.call("GET", path, site.api_key))
            for pid in family(resolver.process.pid):
                for name in ("cmdline", "environ"):
                    texts[f"{pid} {name}"] = (proc(pid) / name).read_bytes().decode(errors="replace")
            for name, text in texts.items():
                assert text, name
                for secret in secrets:
                    assert secret not in text, name
        for secret in secrets:
            found = subprocess.run(["grep", "-rlaF", secret, site.folder], capture_output=True, text=True)
            assert found.stdout == "", "nothing of it is written down"


def test_openssl_derives_as_we_do() -> None:
    """The yardstick of this file, against RFC 5869's own arithmetic in Python."""
    import hmac

    key = bytes(range(32))
    prk = hmac.digest(b"runbound vault 1", key, "sha256")
    assert openssl_hkdf(key, "journal") == hmac.digest(prk, b"journal\x01", "sha256")
    assert openssl_hmac(key, b"x") == hmac.digest(key, b"x", "sha256")
