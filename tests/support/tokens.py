"""Real PKCS#11 tokens, one to a test: SoftHSM2 as it is, behind p11-kit's remoting, and behind OpenSC's spy.

Owns each token's folder and its servers, and what a test does to it behind the resolver's back. Tokens that need more
than that (openCryptoki, NSS softokn, a TPM) are in `daemons.py`. Everything a token needs lies in one folder
and in `Token.env`; nothing of the machine's own tokens is touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support import cryptoki
from support.cryptoki import CKK_GENERIC_SECRET, CKO_DATA, CKO_SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

LIBRARIES = Path(f"/usr/lib/{platform.machine()}-linux-gnu")
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
REMOTE = LIBRARIES / "pkcs11" / "p11-kit-client.so"
SPY = LIBRARIES / "pkcs11-spy.so"
REMOTE_SERVER = "/usr/libexec/p11-kit/p11-kit-server"

LABEL, PIN, SO_PIN = "runbound-test", "648219", "31415926"
START_SECONDS = 15.0


def fresh_key() -> str:
    """A key as `openssl rand -hex 32` makes it: 64 printable octets."""
    return secrets.token_hex(32)


@dataclasses.dataclass
class Token:
    """One token, ready: initialised, with a PIN, empty."""

    provider: str
    module: Path
    folder: Path
    env: dict[str, str]
    """What a process needs to find this token, beside its usual environment."""
    label: str = LABEL
    serial: str = ""
    pin: str = PIN
    so_pin: str = SO_PIN
    prefix: tuple[str, ...] = ()
    """What stands before a command that uses the token (it may live in namespaces of its own)."""
    key_type: int = CKK_GENERIC_SECRET
    extracts: bool = True
    """Whether secret keys can be read out at all."""
    locks: bool = False
    """Whether wrong PINs lock it."""
    own_slot: int | None = None
    stops: list[Callable[[], object]] = dataclasses.field(default_factory=list)

    # --------------------------------------------------------------------------------- behind the resolver's back

    def environment(self) -> dict[str, str]:
        """A whole environment for a child that uses the token."""
        return {**os.environ, **self.env}

    def slot(self) -> int:
        """The slot ID of this token now (modules number anew whenever they like)."""
        if self.own_slot is not None:
            return self.own_slot
        (found,) = cryptoki.play(str(self.module), [["tokens"]], self.environment(), self.prefix)
        (slot,) = [one["slot"] for one in found if one["serial"] == self.serial]
        return int(slot)

    def info(self) -> dict[str, Any]:
        """What the token says of itself, without a login."""
        (found,) = cryptoki.play(str(self.module), [["tokens"]], self.environment(), self.prefix)
        (info,) = [one for one in found if self.own_slot in (None, one["slot"]) and one["serial"] == self.serial]
        return dict(info)

    def do(self, *calls: Sequence[object]) -> list[Any]:
        """Calls in one session, logged in."""
        script: list[Sequence[object]] = [["open", self.slot()], ["login", self.pin], *calls]
        return cryptoki.play(str(self.module), script, self.environment(), self.prefix)[2:]

    def put(self, label: str, value: str | bytes, data: bool = False, **attributes: Any) -> bytes:
        """Stores a secret key (or a data object): private, and readable where the token can do that. Its octets."""
        octets = value.encode() if isinstance(value, str) else value
        given: dict[str, Any] = {"token": True, "private": True, "label": label, "value": octets.hex()}
        if data:
            given = {"class": CKO_DATA, **given, "application": "runbound"}
        else:
            given = {"class": CKO_SECRET_KEY, "key_type": self.key_type, **given, "id": secrets.token_hex(4)}
            given |= {"sign": True, "verify": True, "extractable": self.extracts, "sensitive": not self.extracts}
        self.do(["create", {**given, **attributes}])
        return octets

    def keep(self, label: str, value: str | bytes) -> bytes:
        """Stores a secret key that can never be read again."""
        return self.put(label, value, extractable=False, sensitive=True)

    def delete(self, label: str) -> int:
        """Deletes all objects of a label."""
        return int(self.do(["destroy", label])[0])

    def objects(self) -> list[dict[str, str | None]]:
        """What is on it."""
        return list(self.do(["objects"])[0])

    def hmac(self, label: str, data: bytes) -> bytes:
        """HMAC-SHA-256 made by the token."""
        return bytes.fromhex(self.do(["sign", label, data.hex()])[0])

    def try_pins(self, *pins: str) -> list[int]:
        """The return code of a login with each, one after the other."""
        slot = self.slot()
        script: list[Sequence[object]] = [["open", slot], *(["login", pin] for pin in pins)]
        codes = cryptoki.play(str(self.module), script, self.environment(), self.prefix, strict=False)
        return codes[1:]

    # ------------------------------------------------------------------------------------ for the resolver's file

    def config_lines(self, **options: str | None) -> str:
        """Lines of `server:` that name this token; `api_key_label="x"` becomes `hsm-api-key-label: "x"`.

        The token is named by its label; `token_label=None` leaves a line out.
        """
        given: dict[str, str | None] = {"pkcs11_lib": str(self.module), "token_label": self.label, **options}
        lines = [(name.replace("_", "-"), value) for name, value in given.items() if value is not None]
        return "".join(f'    hsm-{name}: "{value}"\n' for name, value in lines)

    def pin_env(self) -> dict[str, str]:
        """The token's environment with the PIN."""
        return {**self.env, "HSM_PIN": self.pin}

    # -------------------------------------------------------------------------------------------------- its life

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the servers it needs."""
        while self.stops:
            self.stops.pop()()

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """What is started inside is ended if anything goes wrong there."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def softhsm(folder: Path, label: str = LABEL) -> Token:
    """SoftHSM2 over a folder of files."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    token = Token("softhsm", SOFTHSM, folder, {"SOFTHSM2_CONF": str(conf)}, label)
    add_softhsm_token(token, label)
    token.serial = next(one["serial"] for one in _tokens(token) if one["label"] == label)
    return token


def _tokens(token: Token) -> list[dict[str, Any]]:
    (found,) = cryptoki.play(str(token.module), [["tokens"]], token.environment(), token.prefix)
    return [one for one in found if one["flags"] & cryptoki.CKF_TOKEN_INITIALIZED]


def add_softhsm_token(token: Token, label: str) -> None:
    """Another token in the same folder."""
    words = ["--init-token", "--free", "--label", label, "--so-pin", token.so_pin, "--pin", token.pin]
    run(["softhsm2-util", *words], token.environment())


def run(command: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    """What a program prints; it has to end well."""
    done = subprocess.run(
        [str(word) for word in command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


class Server:
    """A program of its own process group: killed, frozen and brought back with all its children."""

    def __init__(
        self,
        command: Sequence[str] | Sequence[str | Path],
        env: dict[str, str],
        log: Path,
        ready: Callable[[], bool],
        at: str = "/",
    ) -> None:
        self.command, self.env, self.log, self.ready, self.at = [str(word) for word in command], env, log, ready, at
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it and waits until it is ready."""
        assert self.process is None, "it runs"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
                cwd=self.at,
            )
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            assert self.process.poll() is None, f"{self.command}: {self.log.read_text()}"
            assert time.monotonic() < end, f"{self.command} is not ready: {self.log.read_text()}"
            time.sleep(0.01)
        return self

    @staticmethod
    def succeeds(command: Sequence[str], env: dict[str, str]) -> bool:
        """Whether a program ends well."""
        return subprocess.run(command, env=env, capture_output=True).returncode == 0

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        """A signal for it and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL for all, also for what is frozen."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Whoever waits for it waits for ever."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        self.signal(signal.SIGCONT)


@dataclasses.dataclass
class Remote(Token):
    """SoftHSM2 behind a socket: stands for an HSM in the network."""

    server: Server | None = None
    behind: Token | None = None

    def kill(self) -> None:
        """The HSM is gone."""
        assert self.server is not None
        self.server.kill()

    def freeze(self) -> None:
        """The HSM takes requests and answers none."""
        assert self.server is not None
        self.server.freeze()

    def thaw(self) -> None:
        """A frozen HSM goes on."""
        assert self.server is not None
        self.server.thaw()

    def back(self) -> None:
        """A killed HSM is there again, at the same address."""
        assert self.server is not None
        (self.folder / "remote.sock").unlink(missing_ok=True)
        self.server.start()


def remote(folder: Path, label: str = LABEL) -> Remote:
    """SoftHSM2 in a server process, reached through p11-kit's client module."""
    behind = softhsm(folder, label)
    path = folder / "remote.sock"
    command = [REMOTE_SERVER, "-f", "-n", str(path), "--provider", str(SOFTHSM), "pkcs11:"]
    server = Server(command, behind.environment(), folder / "remote.log", path.exists)
    env = {"P11_KIT_SERVER_ADDRESS": f"unix:path={path}"}
    token = Remote("p11-kit", REMOTE, folder, env, label, behind.serial, server=server, behind=behind)
    token.stops.append(server.kill)
    with token.making():
        server.start()
    return token


@dataclasses.dataclass
class Spied(Token):
    """A token whose calls are written down by OpenSC's spy. Test tokens only: it writes PINs too."""

    report: Path = Path()

    def calls(self) -> list[str]:
        """The names of all calls so far, in order, from every process."""
        text = self.report.read_text(errors="replace") if self.report.exists() else ""
        return re.findall(r"^\d+: (C_\w+)", text, re.MULTILINE)

    def logins(self) -> int:
        """How often C_Login was called."""
        return self.calls().count("C_Login")

    def forget(self) -> None:
        """Begins the report again."""
        self.report.unlink(missing_ok=True)


def spied(token: Token) -> Spied:
    """The same token through the spy; what the test itself does to the plain one is not counted."""
    report = token.folder / "spy.log"
    spy = SPY
    if token.provider == "nss":  # C_Initialize's reserved argument is for NSS alone, told by the file's name
        spy = token.folder / "softokn-spy.so"
        shutil.copy(SPY, spy)
    fields = {field.name: getattr(token, field.name) for field in dataclasses.fields(Token)}
    env = {**token.env, "PKCS11SPY": str(token.module), "PKCS11SPY_OUTPUT": str(report)}
    return Spied(**{**fields, "module": spy, "env": env, "stops": []}, report=report)
