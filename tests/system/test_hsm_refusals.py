"""Every way in which a start with keys from a token is refused: exit code 78, a reason with its name, nothing bound."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import CHOSEN
from support.servers import StartError
from support.sites import API_LABEL, STORE_LABEL, Site, extracting, providers, site_of
from support.tokens import SOFTHSM, Remote, Token, fresh_key, remote, softhsm, spied

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """SoftHSM2 with both keys."""
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site", softhsm(tmp_path / "token")).provision()


# ----------------------------------------------------------------------------------------------------------- the module


@pytest.fixture
def copy(public_folder: Path) -> Path:
    """The module, to be spoilt."""
    return Path(shutil.copy(SOFTHSM, public_folder / "module.so"))


def refused_module(site: Site, path: Path | str) -> str:
    return site.refused(pkcs11_lib=str(path))


def test_a_wrong_path(site: Site) -> None:
    said = refused_module(site, "/usr/lib/softhsm/nothing.so")
    assert "CKR_HOST_MEMORY" in said
    assert "ldd" in said
    assert "hsm-pkcs11-lib" in said


def test_a_text_file(site: Site, copy: Path) -> None:
    copy.write_text("this is no library\n")
    said = refused_module(site, copy)
    assert "CKR_HOST_MEMORY" in said
    assert re.search(r"too short|invalid ELF", said), "what dlopen says"


def test_a_library_that_is_no_module(site: Site) -> None:
    maps = Path("/proc/self/maps").read_text().splitlines()
    libc = next(line.split()[-1] for line in maps if "libc.so.6" in line)
    assert "C_GetFunctionList" in refused_module(site, libc)


def test_a_relative_path(site: Site, copy: Path) -> None:
    shutil.copy(copy, site.folder / "module.so")
    assert "whole path" in refused_module(site, "module.so")


def test_a_folder(site: Site) -> None:
    assert "hsm-pkcs11-lib" in refused_module(site, "/usr/lib/softhsm")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o666])
def test_a_module_that_others_can_write(site: Site, copy: Path, mode: int) -> None:
    shutil.chown(copy, group="nogroup")
    copy.chmod(mode)
    said = refused_module(site, copy)
    assert "can be changed by others" in said
    assert "chmod" in said


def test_a_link_to_such_a_module(site: Site, copy: Path) -> None:
    copy.chmod(0o777)
    link = copy.with_name("link.so")
    link.symlink_to(copy)
    assert "can be changed by others" in refused_module(site, link)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_module_that_another_account_owns(site: Site, copy: Path) -> None:
    shutil.chown(copy, "nobody")
    assert "does not belong to root" in refused_module(site, copy)


def test_a_module_that_is_right_is_taken(site: Site, copy: Path) -> None:
    """The copy itself is none of the reasons above."""
    copy.chmod(0o755)
    with site.start(pkcs11_lib=str(copy)):
        assert site.admits(site.api_key)


def test_a_configuration_of_the_module_that_is_not_there(site: Site) -> None:
    site.token.env["SOFTHSM2_CONF"] = "/nonexistent/softhsm2.conf"
    said = site.refused()
    assert re.search(r"C_\w+.*CKR_\w+", said), said


# ------------------------------------------------------------------------------------------------------- slot and token


def test_a_slot_that_is_not_there(site: Site) -> None:
    report = spied(site.token)
    site.token = report
    assert "hsm-slot" in site.refused(token_label=None, slot="7")
    assert report.logins() == 0


def test_a_token_without_keys_or_pin(site: Site) -> None:
    """SoftHSM's last slot always holds one that nobody has initialised."""
    report = spied(site.token)
    site.token = report
    assert "CKF_TOKEN_INITIALIZED" in site.refused(token_label=None, slot="1")
    assert report.logins() == 0


def test_another_token_at_that_place(site: Site) -> None:
    report = spied(site.token)
    site.token = report
    said = site.refused(slot="0", token_label="another")
    assert "another" in said
    assert report.logins() == 0


# -------------------------------------------------------------------------------------------------------------- the PIN


@providers
def test_a_wrong_pin_is_sent_once(tmp_path: Path, provider: str) -> None:
    with site_of(tmp_path, provider, "in-token") as site:
        report = spied(site.token)
        site.token = report
        said = site.refused({"HSM_PIN": "111111"})
        assert "CKR_PIN_INCORRECT" in said
        assert "C_Login" in said
        assert "0x000000a0" in said
        assert "/etc/runbound/env" in said
        assert "111111" not in said
        assert report.logins() == 1


@pytest.mark.parametrize("pin", ["", "\n"])
def test_an_empty_pin_is_not_sent(site: Site, pin: str) -> None:
    report = spied(site.token)
    site.token = report
    assert "PIN is empty" in site.refused({"HSM_PIN": pin})
    assert report.logins() == 0


def test_no_pin(site: Site) -> None:
    report = spied(site.token)
    site.token = report
    said = site.refused(drop=("HSM_PIN",))
    assert "HSM_PIN" in said
    assert "hsm-pin-file" in said
    assert report.logins() == 0


def test_a_pin_file_that_others_read(site: Site) -> None:
    place = site.folder / "pin"
    place.write_text(site.token.pin)
    place.chmod(0o644)
    said = site.refused(drop=("HSM_PIN",), pin_file=str(place))
    assert "can be read by others" in said
    assert "chmod" in said


def test_a_pin_in_two_places(site: Site) -> None:
    place = site.folder / "pin"
    place.write_text(site.token.pin)
    place.chmod(0o600)
    said = site.refused(pin_file=str(place))
    assert "HSM_PIN" in said
    assert "hsm-pin-file" in said


# ------------------------------------------------------------------------------------------------------------- the keys


def make_absent(token: Token) -> None:
    token.delete(API_LABEL)


def make_double(token: Token) -> None:
    token.put(API_LABEL, fresh_key())


def replace(value: str | bytes, **attributes: bool) -> Callable[[Token], None]:
    def make(token: Token) -> None:
        token.delete(API_LABEL)
        token.put(API_LABEL, value, **attributes)

    return make


BAD_KEYS: dict[str, tuple[Callable[[Token], None], str]] = {
    "absent": (make_absent, "CKR_OBJECT_HANDLE_INVALID"),
    "duplicate": (make_double, "several objects"),
    "unextractable": (replace("k" * 64, extractable=False, sensitive=False), "CKA_EXTRACTABLE = false"),
    "sensitive": (replace("k" * 64, extractable=True, sensitive=True), "CKA_SENSITIVE = true"),
    "both": (replace("k" * 64, extractable=False, sensitive=True), "CKA_EXTRACTABLE = false"),
    "newline": (replace("k" * 64 + "\n"), "ends with a newline"),
    "not UTF-8": (replace(b"k" * 63 + b"\xff"), "no UTF-8"),
    "a space": (replace("k" * 32 + " " + "k" * 31), "printable ASCII without spaces"),
    "a control character": (replace("k" * 63 + "\x07"), "printable ASCII without spaces"),
    "beyond ASCII": (replace("ä" * 32), "printable ASCII without spaces"),
    "short": (replace("k" * 15), "too short"),
}


@pytest.mark.parametrize("bad", BAD_KEYS)
@extracting
def test_a_key_that_cannot_be_taken(tmp_path: Path, provider: str, bad: str) -> None:
    spoil, words = BAD_KEYS[bad]
    with site_of(tmp_path, provider) as site:
        spoil(site.token)
        said = site.refused()
        assert words in said
        assert API_LABEL in said
        assert "k" * 15 not in said
        if bad == "absent":
            assert STORE_LABEL in said, "the labels that are there are listed"
            assert "runbound hsm" in said


def test_a_key_of_no_octets(site: Site) -> None:
    site.token.delete(API_LABEL)
    site.token.put(API_LABEL, "")
    assert "no octets" in site.refused()


def test_a_store_key_that_is_short(site: Site) -> None:
    site.token.delete(STORE_LABEL)
    site.token.put(STORE_LABEL, b"k" * 31)
    said = site.refused()
    assert "too short" in said
    assert STORE_LABEL in said


def test_a_key_that_is_too_long(site: Site) -> None:
    site.token.delete(API_LABEL)
    site.token.put(API_LABEL, "k" * 5000)
    assert "longer than" in site.refused()


@pytest.mark.parametrize("bad", ["absent", "duplicate"])
@providers
def test_the_same_in_the_token(tmp_path: Path, provider: str, bad: str) -> None:
    with site_of(tmp_path, provider, "in-token") as site:
        if bad == "absent" and provider != "tpm2":
            site.token.delete(STORE_LABEL)
        elif bad == "absent":
            said = site.refused(store_key_label="runbound-store-key-v9")
            assert "CKR_OBJECT_HANDLE_INVALID" in said
            return
        else:
            site.token.keep(STORE_LABEL, os.urandom(32))
        said = site.refused()
        assert ("CKR_OBJECT_HANDLE_INVALID" if bad == "absent" else "several objects") in said
        assert STORE_LABEL in said


def test_data_objects_cannot_stay_in_the_token(tmp_path: Path) -> None:
    with CHOSEN["softhsm"](tmp_path / "token") as token:
        (tmp_path / "site").mkdir()
        site = Site(tmp_path / "site", token, "in-token")
        token.put(API_LABEL, site.api_key, data=True)
        said = site.refused(store_key_label=None)
        assert "CKM_SHA256_HMAC" in said
        assert "extract" in said


@pytest.mark.parametrize("provider", [name for name in CHOSEN if name in ("nss", "tpm2")])
def test_a_token_that_shows_no_key(tmp_path: Path, provider: str) -> None:
    """NSS lets no secret key leave; tpm2-pkcs11 calls it sensitive, says CKR_OK and gives no octet."""
    with site_of(tmp_path, provider, "extract") as site:
        said = site.refused()
        assert ("CKA_EXTRACTABLE = false" if provider == "nss" else "CKA_SENSITIVE = true") in said
        assert "hsm-mode: in-token" in said


# --------------------------------------------------------------------------------------------------- no silent fallback


def test_other_keys_do_not_help(site: Site) -> None:
    """A key in the environment, in the file, or made before: opting in means none of them."""
    with site.start({"RUNBOUND_API_KEY": fresh_key()}, api_key_label=None):
        pass
    make_absent(site.token)
    site.more = f'    api-key: "{fresh_key()}"\n'
    said = site.refused({"RUNBOUND_API_KEY": fresh_key(), "RUNBOUND_STORE_KEY": os.urandom(32).hex()})
    assert "no silent fallback" in said


# ------------------------------------------------------------------------- options that do not fit, all before anything


LONELY = ["slot: 0", 'token-label: "x"', 'store-key-label: "x"', "mode: in-token", 'pin-file: "/x"', "final-try: yes"]


@pytest.mark.parametrize("line", LONELY)
def test_an_option_without_a_module(site: Site, line: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("pkcs11_lib", "token_label", "api_key_label", "store_key_label", "mode"))
    site.more = f"    hsm-{line}\n"
    said = site.refused(**nothing)
    assert f"hsm-{line.partition(':')[0]}" in said
    assert "refused.conf:" in said, "file and line"


def test_a_module_without_a_label(site: Site) -> None:
    said = site.refused(api_key_label=None, store_key_label=None)
    assert "hsm-api-key-label" in said
    assert "refused.conf:" in said


@pytest.mark.parametrize("uri", ["pkcs11:", "softhsm:token=x", "pkcs11:token=%zz", "pkcs11:token=a;token=b"])
def test_a_bad_uri(site: Site, uri: str) -> None:
    assert "hsm-uri" in site.refused(uri=uri)


# ------------------------------------------------------------------------ a token that goes, freezes or comes meanwhile


@pytest.fixture
def far(tmp_path: Path) -> Site:
    """A token in the network."""
    (tmp_path / "site").mkdir()
    made = Site(tmp_path / "site", remote(tmp_path / "token"))
    return made.provision()


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_a_frozen_token_before_the_start(far: Site, mode: str) -> None:
    token = far.token
    assert isinstance(token, Remote)
    with token:
        token.freeze()
        begun = time.monotonic()
        said = far.refused(mode=mode, timeout="2")
        assert 1.5 < time.monotonic() - begun < 20
        assert "C_" in said, "the function that did not come back"
        assert "hsm-timeout" in said
        assert not helpers(far), "the helper was killed"
        token.thaw()
        with far.start(mode=mode):
            assert far.hsm() is True


@pytest.mark.parametrize("mode", ["extract", "in-token"])
def test_a_killed_token_before_the_start(far: Site, mode: str) -> None:
    token = far.token
    assert isinstance(token, Remote)
    with token:
        token.kill()
        said = far.refused(mode=mode)
        assert "PKCS#11" in said
        token.back()
        with far.start(mode=mode):
            assert far.hsm() is True


@pytest.mark.parametrize(
    "call", ["C_GetSlotList", "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_GetAttributeValue"]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_token_that_goes_in_the_middle(far: Site, number: signal.Signals, call: str) -> None:
    """Whatever the moment: a start that succeeded, or exit code 78 in time with a reason."""
    token = far.token
    assert isinstance(token, Remote)
    with token:
        report = spied(token)
        far.token = report
        done = threading.Event()
        hit = threading.Event()

        def strike() -> None:
            while not done.is_set():
                if call in report.calls():
                    assert token.server is not None
                    token.server.signal(number)
                    hit.set()
                    return
                time.sleep(0.0005)

        thread = threading.Thread(target=strike)
        thread.start()
        try:
            with far.start(timeout="2"):
                assert far.admits(far.api_key)
        except StartError as error:
            text = str(error)
            assert "exit code 78" in text
            assert re.search(r"PKCS#11|C_\w+", text)
            assert far.token.pin not in text
        finally:
            done.set()
            thread.join()
        assert hit.is_set()
        assert not helpers(far)


def helpers(site: Site) -> list[str]:
    """Helper processes that hold this token's environment."""
    listed = subprocess.run(["pgrep", "-f", "runbound.engine.hsm_helper"], capture_output=True, text=True).stdout
    found = []
    for pid in listed.split():
        with contextlib.suppress(OSError):
            if str(site.token.folder).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found
