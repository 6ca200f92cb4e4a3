"""`runbound hsm` with a helper that is made up: what it is asked, which secret goes with it, what is printed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound import cli
from runbound.cli import hsm, hsm_secrets
from runbound.engine import Secret
from runbound.keys import messages as m
from runbound.ops import helper as helpers
from runbound.ops import token as tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TOKEN = m.Token(label="dev", serial="12", model="m", manufacturer="f", flags=["TOKEN_INITIALIZED"])
LIBRARY = m.Library(description="d", manufacturer="f", version="1.0", cryptoki="2.40")
NEW_KEY = b"ab" * 32
Run = "Callable[..., tuple[int, str]]"


def tag(octets: bytes) -> bytes:
    return Secret(octets).tag(bytes(32))


class FakeToken:
    """A token with labels, and everything it was asked; of secrets it remembers what recognises them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.secrets: list[list[bytes]] = []
        self.labels: dict[str, m.Seen] = {}
        self.failure: m.Failure | None = None
        self.pid = 1

    def keep(self, label: str, modes: Sequence[m.Mode] = ("extract", "in-token"), **attributes: Any) -> None:
        self.labels[label] = m.Seen(
            label=label, id=b"", object=attributes.pop("object", "secret-key"), modes=list(modes), **attributes
        )

    def call(
        self, message: bytes, secrets: Sequence[Secret] = (), timeout_s: float = 30.0
    ) -> tuple[bytes, list[Secret]]:
        asked = m.decode_request(message)
        self.asked.append(asked)
        self.secrets.append([secret.tag(bytes(32)) for secret in secrets])
        if self.failure is not None and not isinstance(asked, m.Inspect):
            return msgspec.msgpack.encode({"error": self.failure}), []
        answer, found = self.answer(asked)
        return msgspec.msgpack.encode(answer), found

    def answer(self, asked: m.Request) -> tuple[m.Message, list[Secret]]:
        slot = m.Slot(index=0, id=7, description="s")
        if isinstance(asked, m.Inspect):
            seen = m.SeenSlot(index=0, id=7, description="s", present=True, token=TOKEN)
            objects = list(self.labels.values()) if asked.login else []
            return m.Inspected(library=LIBRARY, slots=[seen], chosen=0, objects=objects), []
        if isinstance(asked, m.Init):
            return m.Initialised(slot=slot, token=msgspec.structs.replace(TOKEN, label=asked.label)), []
        if isinstance(asked, m.Put):
            info = m.KeyInfo(role=asked.role, label=asked.label, object="secret-key", id=b"", how="value")
            return m.Keyed(info=info), [Secret(NEW_KEY)] if asked.export else []
        if isinstance(asked, m.Get):
            info = m.KeyInfo(role=asked.role, label=asked.label, object="secret-key", id=b"", how="value")
            return m.Keyed(info=info), [Secret(b"\x01" * 32 if asked.role != "api" else NEW_KEY)]
        if isinstance(asked, m.Delete):
            return m.Deleted(deleted=int(asked.label in self.labels)), []
        assert isinstance(asked, m.Load)
        warned = [m.Warned(kind="not-private", role="store")]
        loaded = m.Loaded(library=LIBRARY, slot=slot, token=TOKEN, logins=1, keys=[], warnings=warned, elapsed_ms=5)
        return loaded, []

    def close(self, timeout_s: float) -> None: ...
    def kill(self) -> None: ...


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeToken:
    fake = FakeToken()
    monkeypatch.setattr(helpers, "spawn", lambda: fake)
    monkeypatch.setattr(hsm_secrets, "terminal", lambda: False)
    monkeypatch.setattr(tokens, "ENV_FILE", str(tmp_path / "no-env"))
    monkeypatch.setattr(hsm, "DEFAULT_CONFIGS", ())
    for name in tokens.SECRETS:
        monkeypatch.delenv(name, raising=False)
    return fake


@pytest.fixture
def pin(tmp_path: Path) -> Path:
    file = tmp_path / "pin"
    file.write_text("648219\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def conf(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "runbound.conf"
        lines = ('username: ""', f"hsm-pkcs11-lib: {MODULE}", "hsm-token-label: dev", *lines)
        path.write_text("server:\n" + "".join(f"    {line}\n" for line in lines))
        return path

    return write


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def of(*words: object) -> tuple[int, str]:
        code = cli.main(["hsm", *(str(word) for word in words)])
        said = capfd.readouterr()
        return code, said.out + said.err

    return of


def test_init_makes_a_token_and_three_keys(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, tmp_path: Path
) -> None:
    officer = tmp_path / "so"
    officer.write_text("31415926")
    officer.chmod(0o600)
    code, said = run("init", "--module", MODULE, "--as", "root", "--pin-file", pin, "--so-pin-file", officer)
    assert code == 0, said
    _look, made, *keys = token.asked
    assert (made.label, made.open.slot, made.force) == ("runbound", None, False)
    assert token.secrets[1] == [tag(b"31415926"), tag(b"648219")]
    assert [(put.role, put.label, put.mode, put.generate, put.export) for put in keys] == [
        ("api", "runbound-api-key", "extract", "hex", True),
        ("store", "runbound-store-key", "extract", "raw", False),
        ("audit", "runbound-audit-key", "extract", "raw", False),
    ]
    assert all(put.open.token_label == "runbound" for put in keys)
    assert said.count(NEW_KEY.decode()) == 1, "the API key is shown once"
    for line in (
        f'hsm-pkcs11-lib: "{MODULE}"',
        'hsm-token-label: "runbound"',
        'hsm-api-key-label: "runbound-api-key"',
        'hsm-audit-key-label: "runbound-audit-key"',
        f'hsm-pin-file: "{pin}"',
    ):
        assert f"    {line}\n" in said


def test_init_leaves_a_token_alone(token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path) -> None:
    code, said = run("init", "--module", MODULE, "--label", "dev", "--as", "root", "--pin-file", pin)
    assert code == 1
    assert 'there is a token "dev" already' in said
    assert [type(asked) for asked in token.asked] == [m.Inspect]


def test_a_pin_nobody_gives_is_an_error_that_says_how(token: FakeToken, run: Callable[..., tuple[int, str]]) -> None:
    code, said = run("import-key", "store", "--module", MODULE, "--as", "root")
    assert code == 1
    assert "--pin-file FILE" in said
    assert not token.asked


def test_a_pin_file_others_can_read_is_refused(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path
) -> None:
    pin.chmod(0o644)
    code, said = run("delete-key", "x", "--yes", "--module", MODULE, "--as", "root", "--pin-file", pin)
    assert code != 0
    assert f"chmod o= {pin}" in said
    assert not token.asked


def test_an_empty_pin_is_never_sent(token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path) -> None:
    pin.write_text("\n")
    code, said = run("delete-key", "x", "--yes", "--module", MODULE, "--as", "root", "--pin-file", pin)
    assert code != 0
    assert "empty" in said
    assert not token.asked


def test_a_pin_is_typed_where_somebody_sits(
    token: FakeToken, run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    token.keep("old")
    monkeypatch.setattr(hsm_secrets, "terminal", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed-pin" if "PIN of the token" in prompt else "")
    assert run("delete-key", "old", "--yes", "--module", MODULE, "--as", "root")[0] == 0
    assert token.secrets[-1] == [tag(b"typed-pin")]


def test_the_pin_of_the_environment_and_of_the_service(
    token: FakeToken, run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token.keep("old")
    words = ("delete-key", "old", "--yes", "--module", MODULE, "--as", "root")
    env = tmp_path / "env"
    env.write_text("# the service's\nSOME_CONF=/x\nexport HSM_PIN='of the service'\n")
    monkeypatch.setattr(tokens, "ENV_FILE", str(env))
    monkeypatch.setattr(tokens.service_secret, "__defaults__", (str(env),))
    assert run(*words)[0] == 0
    assert token.secrets[-1] == [tag(b"of the service")]
    monkeypatch.setenv("HSM_PIN", "of the shell")
    assert run(*words)[0] == 0
    assert token.secrets[-1] == [tag(b"of the shell")]
    assert "HSM_PIN" not in os.environ, "it was taken out"


def test_import_takes_the_configured_label_and_mode(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    path = conf("hsm-mode: in-token", "hsm-store-key-label: mine", f"hsm-pin-file: {pin}")
    code, said = run("import-key", "store", "-c", path)
    assert code == 0, said
    (put,) = token.asked
    assert (put.label, put.mode, put.generate, put.open.token_label) == ("mine", "in-token", "raw", "dev")
    assert token.secrets == [[tag(b"648219")]]
    assert "runbound store resign" in said


@pytest.mark.parametrize("written", [b"\x01" * 32, b"01" * 32 + b"\n"])
def test_a_key_moves_in_from_a_file(
    token: FakeToken,
    run: Callable[..., tuple[int, str]],
    pin: Path,
    conf: Callable[..., Path],
    tmp_path: Path,
    written: bytes,
) -> None:
    file = tmp_path / "key"
    file.write_bytes(written)
    path = conf("hsm-store-key-label: mine", f"hsm-pin-file: {pin}")
    code, said = run("import-key", "store", "--from", "file", file, "-c", path)
    assert code == 0, said
    assert token.asked[0].generate is None
    assert token.secrets == [[tag(b"648219"), tag(b"\x01" * 32)]], "digits are the octets they stand for"
    assert "coded with this key already" in said


def test_a_key_moves_in_from_the_environment_and_leaves_it(
    token: FakeToken,
    run: Callable[..., tuple[int, str]],
    pin: Path,
    conf: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOUND_API_KEY", "k" * 40)
    path = conf("hsm-api-key-label: mine", f"hsm-pin-file: {pin}")
    assert run("import-key", "api", "--from", "environment", "-c", path)[0] == 0
    assert token.secrets[-1][1] == tag(b"k" * 40), "an API key is taken as it is written"
    assert "RUNBOUND_API_KEY" not in os.environ
    code, said = run("import-key", "api", "--from", "environment", "-c", path)
    assert code == 1
    assert "RUNBOUND_API_KEY is set neither here" in said


def test_the_current_key_is_the_one_of_the_state_directory(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "audit.key").write_text("02" * 32 + "\n")
    path = conf("hsm-audit-key-label: mine", f"hsm-pin-file: {pin}", f"state-dir: {tmp_path}")
    assert run("import-key", "audit", "--from", "current", "-c", path)[0] == 0
    assert token.secrets[-1][1] == tag(b"\x02" * 32)
    code, said = run("import-key", "store", "--from", "current", "--label", "s", "-c", path)
    assert code == 1
    assert "there is no store key now" in said


def test_a_short_key_is_refused_before_anything_is_asked(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"short")
    code, said = run("import-key", "store", "--from", "file", file, "-c", conf("hsm-store-key-label: mine"))
    assert code == 1
    assert "5 octets" in said
    assert not token.asked


def test_what_the_token_refuses_is_told_with_what_to_do(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    token.failure = m.Failure(kind="login-pin", function="C_Login", code=0xA0, name="CKR_PIN_INCORRECT")
    code, said = run("import-key", "api", "-c", conf("hsm-api-key-label: mine", f"hsm-pin-file: {pin}"))
    assert code == 1
    assert "C_Login: 0x000000a0 (CKR_PIN_INCORRECT)" in said
    assert f"hsm-pin-file {pin}" in said
    assert len(token.asked) == 1, "a refused PIN is not sent again"


def test_rotate_makes_the_next_label_and_says_the_rest(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    path = conf("hsm-api-key-label: k", f"hsm-pin-file: {pin}")
    token.keep("k")
    token.keep("k-v2")
    before = path.read_text()
    code, said = run("rotate", "api", "-c", path)
    assert code == 0, said
    put = token.asked[-1]
    assert (put.label, put.generate, put.export) == ("k-v3", "hex", True)
    assert "sed -i '5s/" in said
    assert f"runbound hsm reload -c {path}" in said
    assert f"runbound hsm delete-key k -c {path}" in said
    assert path.read_text() == before, "the file is the operator's"


@pytest.mark.parametrize(
    ("label", "taken", "after"),
    [("k", set(), "k-v2"), ("k-v2", {"k"}, "k-v3"), ("k", {"k-v2", "k-v3"}, "k-v4"), ("k-v9", set(), "k-v10")],
)
def test_the_label_after_this_one(label: str, taken: set[str], after: str) -> None:
    assert hsm._next(label, taken) == after


def test_the_printed_sed_changes_the_label_alone(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    path = conf("hsm-api-key-label: runbound-api-key", "hsm-store-key-label: hsm-store", f"hsm-pin-file: {pin}")
    for role in ("api", "store"):
        said = run("rotate", role, "-c", path)[1]
        (line,) = [line.strip() for line in said.splitlines() if line.strip().startswith("sed ")]
        assert os.system(line) == 0
    text = path.read_text()
    assert "    hsm-api-key-label: runbound-api-key-v2\n" in text
    assert "    hsm-store-key-label: hsm-store-v2\n" in text


def test_a_key_is_taken_out_into_a_file_of_ones_own(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path], tmp_path: Path
) -> None:
    path = conf("hsm-store-key-label: s", "hsm-api-key-label: a", f"hsm-pin-file: {pin}")
    for role, content in (("store", "01" * 32), ("api", NEW_KEY.decode())):
        file = tmp_path / f"{role}.key"
        code, said = run("export-key", role, file, "-c", path)
        assert code == 0, said
        assert file.read_text() == f"{content}\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert content not in said
        assert run("export-key", role, file, "-c", path)[0] == 1, "a file that is there is left as it is"


def test_delete_refuses_a_key_that_is_used(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    path = conf("hsm-store-key-label: s", f"hsm-pin-file: {pin}")
    token.keep("old")
    code, said = run("delete-key", "s", "--yes", "-c", path)
    assert code == 1
    assert "runbound hsm rotate store" in said
    assert not token.asked
    assert run("delete-key", "old", "-c", path)[0] == 1, "nobody says yes"
    assert run("delete-key", "old", "--yes", "-c", path)[0] == 0
    assert run("delete-key", "other", "--yes", "-c", path)[0] == 1


def test_the_doctor_is_content(
    token: FakeToken, run: Callable[..., tuple[int, str]], pin: Path, conf: Callable[..., Path]
) -> None:
    token.keep("s")
    token.keep("a")
    path = conf("hsm-store-key-label: s", "hsm-api-key-label: a", f"hsm-pin-file: {pin}")
    code, said = run("doctor", "-c", path)
    assert code == 0, said
    assert [type(asked) for asked in token.asked] == [m.Inspect, m.Load]
    assert "loaded in 5 ms" in said
    assert f"runbound hsm rotate -c {path} store" in said, "what could be better is told"
    code, said = run("doctor", "-c", path, "--json")
    found = json.loads(said)
    assert (code, found["ok"], found["chosen"], found["loaded_ms"]) == (0, True, 0, 5)


@pytest.mark.parametrize(
    ("modes", "attributes", "mode", "what", "fix"),
    [
        (None, {}, "extract", "CKR_OBJECT_HANDLE_INVALID", "CONF store"),
        (("in-token",), {"extractable": False}, "extract", "CKA_EXTRACTABLE = false", "CONF store"),
        (
            ("in-token",),
            {"extractable": True, "sensitive": True},
            "extract",
            "CKA_SENSITIVE = true",
            "hsm-mode: in-token",
        ),
        (("extract",), {}, "in-token", "CKM_SHA256_HMAC", "CONF store"),
    ],
)
def test_the_doctor_finds_what_is_wrong_with_a_key(
    token: FakeToken,
    run: Callable[..., tuple[int, str]],
    pin: Path,
    conf: Callable[..., Path],
    modes: tuple[m.Mode, ...] | None,
    attributes: dict[str, Any],
    mode: str,
    what: str,
    fix: str,
) -> None:
    token.keep("other")
    if modes is not None:
        token.keep("s", modes, **attributes)
    path = conf("hsm-store-key-label: s", f"hsm-mode: {mode}", f"hsm-pin-file: {pin}")
    code, said = run("doctor", "-c", path)
    assert code == 1
    assert what in said
    assert fix.replace("CONF", f"runbound hsm import-key -c {path}") in said
    assert 'store key "s"' in said
    assert [type(asked) for asked in token.asked] == [m.Inspect], "nothing is loaded when it cannot go well"


def test_the_doctor_says_what_stands_wrong_in_the_file(
    token: FakeToken, run: Callable[..., tuple[int, str]], conf: Callable[..., Path]
) -> None:
    path = conf('hsm-store-key-label: ""')
    code, said = run("doctor", "-c", path)
    assert code == 1
    assert f"{path}:5:5: hsm-store-key-label: it is empty" in said


def test_the_doctor_without_a_pin_looks_without_a_login(
    token: FakeToken, run: Callable[..., tuple[int, str]], conf: Callable[..., Path]
) -> None:
    code, said = run("doctor", "-c", conf("hsm-store-key-label: s"))
    assert code == 1
    assert "the token wants a PIN" in said
    assert [asked.login for asked in token.asked] == [False]
    assert token.secrets == [[]]


class FakeClient:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        return self.answer

    def post(self, path: str, _body: object, silence_s: float) -> Any:
        assert silence_s > 600  # the longest hsm-timeout
        return self.get(path)


def test_status_and_reload_ask_the_resolver(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeClient(
        {
            "dry_run": True,
            "keys": [{"role": "store", "before": "hsm extract a", "after": "hsm extract b", "changed": True}],
            "state": {"entries": 3, "revisions": 2, "backups": 1, "seconds": 0.5, "audit_log": None},
        }
    )
    monkeypatch.setattr(hsm, "find", lambda _conf, _url: client)
    code, said = run("reload", "--dry-run", "--reason", "why not")
    assert (code, client.asked) == (0, ["/hsm/reload?dry_run=true&reason=why+not"])
    assert "hsm extract b" in said
    assert "nothing was changed" in said
    client.answer = {"used": False, "ok": False}
    code, said = run("status")
    assert code == 1
    assert "no key of this resolver comes from a token" in said
