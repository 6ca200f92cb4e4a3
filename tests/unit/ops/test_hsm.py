"""Keys of a security module in a running resolver: the start's lines, what is refused, and a reload in two steps."""

from __future__ import annotations

import hmac
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runbound.config.load import examine
from runbound.engine import Secret, scan_text
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys.messages import Failure, Role, Warned
from runbound.ops import hsm as hsm_module
from runbound.ops import keys, watch
from runbound.ops.helper import HsmError
from runbound.ops.hsm import ApiTag, Hsm
from runbound.ops.logging import ControlLog
from support.helpers import REFUSED, FakeHelper, FakeToken, broken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbound.config.model import Config

API, STORE, AUDIT = b"a" * 64, b"s" * 32, b"u" * 32
LINES = "hsm-api-key-label: api\nhsm-store-key-label: store\nhsm-audit-key-label: audit\n"


def config(lines: str, module: str = "/lib/module.so") -> Config:
    text = f"server:\nhsm-pkcs11-lib: {module}\n{lines}" if lines else "server:\n"
    loaded = examine(scan_text(text.encode(), "test.conf", "/"), "/test.conf")
    assert loaded.ok, loaded.diagnostics
    return loaded.config


class Site:
    """One token, and what the log and the audit log say."""

    def __init__(self) -> None:
        self.token = FakeToken(api=API, store=STORE, audit=AUDIT, api_v2=b"b" * 64, store_v2=b"t" * 32)
        self.lines: list[str] = []
        self.entries: list[tuple[str, str, dict[str, object]]] = []
        self.log = ControlLog(lambda level, text: self.lines.append(f"{level}: {text}"))

    def record(self, event: str, actor: str, /, **fields: object) -> None:
        self.entries.append((event, actor, fields))

    def load(self, lines: str = LINES, environ: dict[str, str] | None = None, pin: str = "hsm-pin: 1234") -> Hsm:
        given = {} if environ is None else environ
        loaded = Hsm.load(config(f"{pin}\n{lines}"), None, self.log, str, given, self.token.spawn)
        assert loaded is not None
        return loaded


@pytest.fixture(autouse=True)
def _open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays one that can be looked into."""
    monkeypatch.setattr(hsm_module, "protect_process", lambda: None)


@pytest.fixture
def site() -> Site:
    return Site()


def test_without_an_option_there_is_no_module(site: Site) -> None:
    assert Hsm.load(config(""), None, site.log, str, {}, site.token.spawn) is None
    assert (site.lines, site.token.helpers) == ([], [])


def test_the_lines_of_a_start(site: Site) -> None:
    hsm = site.load()
    assert site.lines == [
        "info: Opening PKCS#11 HSM session  lib=/lib/module.so  slot=0",
        "info: HSM: API key loaded           label=api",
        "info: HSM: store HMAC key loaded    label=store",
        "info: HSM: audit HMAC key loaded    label=audit",
        "info: HSM session closed — keys held in process memory",
    ]
    assert (site.token.logins, site.token.alive, site.token.secrets) == (1, 0, [4])
    assert hsm.api == ApiTag(hmac.digest(API, site.token.loads[0].nonce, "sha256"), site.token.loads[0].nonce)
    assert {role: key.mac(b"x") for role, key in hsm.keys.items()} == {
        "store": hmac.digest(STORE, b"x", "sha256"),
        "audit": hmac.digest(AUDIT, b"x", "sha256"),
    }
    assert hsm.healthy() == (True, None)


def test_the_lines_of_a_start_with_keys_that_stay(site: Site) -> None:
    lines = f'{LINES}hsm-mode: in-token\nhsm-token-label: "my token"\nhsm-token-serial: 1234'
    hsm = site.load(lines)
    assert site.lines[0] == 'info: Opening PKCS#11 HSM session  lib=/lib/module.so  token-label="my token"  serial=1234'
    assert site.lines[-1] == "info: HSM session closed — subkeys held, token key never left"
    assert site.token.alive == 0
    root = hmac.digest(STORE, b"runbound store 1", "sha256")
    assert hsm.keys["store"].mac(b"x") == hmac.digest(root, b"x", "sha256")


def test_what_could_be_better_is_said(site: Site) -> None:
    site.token.warnings = [Warned(kind="not-private", role="store")]
    assert site.load().state()["warnings"] == [{"kind": "not-private", "role": "store", "detail": ""}]
    assert "warning: store key: the key can be read without the PIN (CKA_PRIVATE = false)" in site.lines[-1]


@pytest.mark.parametrize("how", ["refuses", "hangs", "crashes"])
def test_there_is_no_fallback(site: Site, how: str) -> None:
    setattr(site.token, how, REFUSED if how == "refuses" else ("load",))
    with pytest.raises(HsmError) as caught:
        site.load()
    assert caught.value.exit_code == EXIT_CONFIG
    assert site.token.logins == (1 if how == "refuses" else 0)
    assert site.token.asked == ["load"]
    assert site.token.alive == 0
    assert site.lines[-1].startswith("error: HSM: PKCS#11: ")
    assert "no silent fallback" in site.lines[-1]


@pytest.mark.parametrize(
    "roles", [("api",), ("store",), ("api", "store", "audit", "store"), ("api", "api", "store", "audit")]
)
def test_other_keys_than_those_asked_for_are_refused(site: Site, roles: tuple[Role, ...]) -> None:
    site.token.gives = roles
    with pytest.raises(HsmError) as refused:
        site.load()
    assert refused.value.failure.kind == "protocol"
    assert site.token.alive == 0


def test_the_account_that_the_helper_was_has_its_name(site: Site) -> None:
    site.token.refuses = Failure(kind="no-token", account="0")
    with pytest.raises(HsmError, match="the module shows root no token"):
        site.load()
    site.token.refuses = Failure(kind="no-token", account="4000000000")
    with pytest.raises(HsmError, match="the module shows 4000000000 no token"):
        site.load()


def test_an_empty_pin_is_never_sent(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(HsmError) as caught:
        site.load(pin=f"hsm-pin-file: {path}")
    assert caught.value.failure.kind == "pin-empty"
    assert site.token.helpers == []


@pytest.mark.parametrize(("mode", "why"), [(None, "cannot be read: No such file"), (0o604, "can be read by others")])
def test_a_pin_file_that_will_not_do(site: Site, tmp_path: Path, mode: int | None, why: str) -> None:
    path = tmp_path / "pin"
    if mode is not None:
        path.write_text("1234\n")
        path.chmod(mode)
    with pytest.raises(RunboundError, match=why) as caught:
        site.load(pin=f"hsm-pin-file: {path}")
    assert caught.value.exit_code == EXIT_CONFIG
    assert site.token.helpers == []


def test_a_pipe_for_a_pin_does_not_stop_the_start(site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pin", 0o600)
    with pytest.raises(RunboundError, match="no regular file"):
        site.load(pin=f"hsm-pin-file: {tmp_path / 'pin'}")


def test_the_variable_is_taken_out_and_kept_for_a_reload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSM_PIN", "12345")
    hsm = Hsm.load(config(LINES), None, site.log, str, os.environ, site.token.spawn)
    assert hsm is not None
    assert "HSM_PIN" not in os.environ
    assert site.token.secrets == [5]
    hsm.prepare(config(LINES))
    assert site.token.secrets == [5]


def pin_file(folder: Path, text: str) -> Path:
    path = folder / "pin"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_pin_file_is_read_anew_and_the_pin_not_kept(site: Site, tmp_path: Path) -> None:
    path = pin_file(tmp_path, "12345\n")
    wanted = config(f"hsm-pin-file: {path}\n{LINES}")
    hsm = site.load(pin=f"hsm-pin-file: {path}")
    hsm.start(site)
    assert hsm._current.pin == ()
    path.write_text("123456")
    hsm.commit(hsm.prepare(wanted))
    assert site.token.secrets == [6]
    assert hsm._current.pin == ()
    path.unlink()
    with pytest.raises(RunboundError, match="cannot be read"):
        hsm.prepare(wanted)


def test_a_pin_file_that_is_closed_to_the_account_is_remembered(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pin_file(tmp_path, "12345\n")
    hsm = site.load(pin=f"hsm-pin-file: {path}")
    monkeypatch.setattr(os, "access", lambda *_: False)
    hsm.start(site)
    path.unlink()
    hsm.prepare(config(f"hsm-pin-file: {path}\n{LINES}"))
    assert site.token.secrets == [5]


def test_a_credential_that_is_closed_to_the_account_is_remembered_for_every_reload(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "hsm-pin").write_text("12345\n")
    (folder / "hsm-pin").chmod(0o600)
    hsm = site.load(environ={"CREDENTIALS_DIRECTORY": str(folder)}, pin="")
    folder.rename(tmp_path / "closed")
    hsm.start(site)
    for _ in range(3):
        hsm.commit(hsm.prepare(config(LINES)))
        assert site.token.secrets == [5]
        assert hsm.state()["pin"] == {"kind": "credential", "place": str(folder / "hsm-pin")}


def test_a_start_that_hangs_is_stopped_by_a_signal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    class Hanging(FakeHelper):
        def call(self, message: bytes, secrets: Sequence[Secret] = (), timeout_s: float = 30.0) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended.wait(10)
            raise broken("crashed")

        def kill(self) -> None:
            super().kill()
            ended.set()

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        with pytest.raises(RunboundError, match="stopped before the keys") as caught:
            site.load()
        assert not isinstance(caught.value, HsmError)
        assert "hsm-stop" not in [thread.name for thread in threading.enumerate()]

    monkeypatch.setattr(site.token, "spawn", lambda: Hanging(site.token))
    # In a child, which has this thread alone: one that another test left behind would take the signal and end us all.
    child = multiprocessing.get_context("fork").Process(target=start)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_another_source_that_cannot_be_read_is_not_replaced_by_the_old_pin(site: Site, tmp_path: Path) -> None:
    hsm = site.load()
    with pytest.raises(RunboundError, match="cannot be read"):
        hsm.prepare(config(f"hsm-pin-file: {tmp_path}/pin\n{LINES}"))
    assert site.token.logins == 1


def test_a_reload_is_all_or_nothing(site: Site) -> None:
    hsm = site.load()
    told: list[ApiTag | None] = []
    hsm.api_changed = told.append
    before = (hsm.api, hsm.keys["store"], hsm.settings)
    with pytest.raises(HsmError):
        hsm.prepare(config("hsm-pin: 1234\nhsm-api-key-label: api-v2\nhsm-store-key-label: nobody"))
    prepared = hsm.prepare(config("hsm-pin: 1234\nhsm-api-key-label: api-v2\nhsm-store-key-label: store-v2"))
    assert (hsm.api, hsm.keys["store"], hsm.settings) == before
    assert told == []
    hsm.commit(prepared)
    assert hsm.settings.labels == {"api": "api-v2", "store": "store-v2"}
    assert hsm.keys["store"].mac(b"x") == hmac.digest(b"t" * 32, b"x", "sha256")
    assert told == [prepared.api]
    assert told[0] is not None
    assert told[0].tag == hmac.digest(b"b" * 64, told[0].nonce, "sha256")
    assert (hsm.state()["loads"], hsm.state()["logins"]) == (2, 2)


def test_a_reload_without_a_module_is_refused(site: Site) -> None:
    with pytest.raises(RunboundError, match="no HSM any more"):
        site.load().prepare(config(""))


def until(reached: Callable[[], bool]) -> None:
    """Waits for a thread."""
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_reload_changes_what_is_watched(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PERIOD_SECONDS", 0.01)
    hsm = site.load(f"{LINES}hsm-mode: in-token")
    hsm.start(site)
    until(lambda: site.token.alive == 1)
    hsm.commit(hsm.prepare(config(f"hsm-pin: 1234\n{LINES}hsm-mode: in-token")))
    until(lambda: site.token.asked[-2:] == ["probe", "probe"])
    until(lambda: site.token.alive == 1)
    hsm.commit(hsm.prepare(config(f"hsm-pin: 1234\n{LINES}")))
    assert hsm._watch is None
    until(lambda: site.token.alive == 0)
    hsm.close()


def test_what_is_told_of_the_token(site: Site) -> None:
    hsm = site.load(f"{LINES}hsm-mode: in-token")
    hsm._trail = site
    assert hsm._watch is not None
    site.token.present = False
    hsm._watch.round()
    assert hsm.healthy() == (
        False,
        "the HSM's token cannot be reached (C_GetTokenInfo: CKR_DEVICE_REMOVED)",
    )
    state: dict[str, Any] = hsm.state()
    assert (state["ok"], state["outages"]) == (False, 1)
    assert state["lost_since"].endswith("Z")
    site.token.present = True
    hsm._watch.round()
    assert hsm.healthy() == (True, None)
    assert [(event, actor) for event, actor, _ in site.entries] == [("hsm.lost", "runbound"), ("hsm.back", "runbound")]
    assert any("error: HSM: the token is lost" in line for line in site.lines)
    assert any("notice: HSM: the token is back" in line for line in site.lines)
    hsm.close()


def test_the_state_tells_no_secret(site: Site) -> None:
    hsm = site.load()
    shown = repr(hsm.state())
    assert hsm.api is not None
    for secret in (API, STORE, AUDIT, hsm.api.tag, hsm.api.nonce):
        assert secret.decode("latin-1") not in shown
        assert secret.hex() not in shown
    assert hsm.state()["pin"] == {"kind": "option", "place": "hsm-pin"}
    assert [key["role"] for key in hsm.state()["keys"]] == ["api", "store", "audit"]


def test_a_start_is_written_down(site: Site) -> None:
    hsm = site.load()
    hsm.start(site)
    assert [(event, actor) for event, actor, _ in site.entries] == [("hsm.loaded", "runbound")]
    assert site.entries[0][2]["store_label"] == "store"


class Folder:
    """A state directory that has its audit key."""

    path = "/state"

    def audit_key(self) -> tuple[str, str]:
        return "k" * 32, "/state/audit.key"


def given() -> keys.Given:
    """Both variables, set."""
    return keys.Given.take(lambda name: Secret((b"S" if "STORE" in name else b"U") * 32))


@pytest.mark.parametrize(
    ("labels", "store", "audit"),
    [
        (LINES, STORE, AUDIT),
        ("hsm-api-key-label: api", b"S" * 32, b"U" * 32),
        ("hsm-store-key-label: store", STORE, b"U" * 32),
        ("hsm-audit-key-label: audit", b"S" * 32, AUDIT),
    ],
)
def test_a_label_comes_before_every_other_source(site: Site, labels: str, store: bytes, audit: bytes) -> None:
    wanted = config(f"hsm-pin: 1234\n{labels}\naudit-log-hmac-key: {'o' * 32}")
    hsm = Hsm.load(wanted, None, site.log, str, {}, site.token.spawn)
    chosen = keys.choose(wanted, Folder(), given(), hsm)
    assert chosen.keys.protected
    assert chosen.keys.store.mac(b"x") == hmac.digest(store, b"x", "sha256")
    assert chosen.keys.audit.mac(b"x") == hmac.digest(audit, b"x", "sha256")
    told = " ".join(what for what, _ in chosen.notes)
    for role, octets, own in (("store", store, STORE), ("audit", audit, AUDIT)):
        assert (f"the {role} key does not come from the HSM" in told) == (octets != own)
        assert (f"{'RUNBOUND_STORE_KEY' if role == 'store' else 'RUNBOUND_AUDIT_HMAC_KEY'} is not used" in told) == (
            octets == own
        )


def test_without_a_label_each_key_follows_its_chain(site: Site) -> None:
    wanted = config("hsm-pin: 1234\nhsm-api-key-label: api")
    hsm = Hsm.load(wanted, None, site.log, str, {}, site.token.spawn)
    chosen = keys.choose(wanted, Folder(), keys.Given(), hsm)
    assert not chosen.keys.protected
    assert chosen.keys.audit.mac(b"x") == hmac.digest(b"k" * 32, b"x", "sha256")
    assert (chosen.keys.store_from.kind, chosen.keys.audit_from.kind) == ("none", "file")
    assert chosen.keys.store_from.name == ""
