"""Tokens that need more than a folder: openCryptoki, NSS softokn, and a TPM in software behind tpm2-pkcs11.

Owns their daemons, each started for one test and ended with it. openCryptoki's paths are built in, so that its daemon
and all who use it live in a mount and an IPC namespace of their own; that needs root.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import cryptoki
from support.tokens import LABEL, LIBRARIES, PIN, SO_PIN, Server, Token, remote, run, softhsm

if TYPE_CHECKING:
    from collections.abc import Callable

OPENCRYPTOKI = LIBRARIES / "pkcs11" / "libopencryptoki.so"
FACTORY_SO_PIN = "87654321"
NSS = LIBRARIES / "libsoftokn3.so"
TPM = LIBRARIES / "pkcs11" / "libtpm2_pkcs11.so"

NAMESPACE = """\
set -e
mount --bind {folder}/etc /etc/opencryptoki
mount --bind {folder}/lib /var/lib/opencryptoki
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --bind {folder}/run /run
exec pkcsslotd -f
"""
"""The daemon's socket, locks and shared memory are the folder's; whoever else runs one does not notice."""


def opencryptoki(folder: Path, label: str = LABEL) -> Token:
    """openCryptoki's software token: three wrong PINs lock it, as with hardware."""
    for name in ("etc", "lib/swtok/TOK_OBJ", "run/lock/opencryptoki"):
        (folder / name).mkdir(parents=True)
    for name in ("lib", "lib/swtok", "lib/swtok/TOK_OBJ", "run/lock/opencryptoki"):
        shutil.chown(folder / name, group="pkcs11")
        (folder / name).chmod(0o770)
    (folder / "etc" / "opencryptoki.conf").write_text(
        "version opencryptoki-3.8\nslot 0\n{\nstdll = libpkcs11_sw.so\n}\n"
    )
    script = folder / "enter.sh"
    script.write_text(NAMESPACE.format(folder=folder))
    command: list[str | Path] = ["unshare", "--mount", "--ipc", "--propagation", "private", "sh", script]
    log = folder / "pkcsslotd.log"
    daemon = Server(command, dict(os.environ), log, (folder / "run" / "pkcsslotd.socket").exists)
    # The namespaces of unshare's process are the daemon's: sh and unshare are replaced by what they start.
    token = Token("opencryptoki", OPENCRYPTOKI, folder, {}, label, "123", locks=True)
    token.stops.append(daemon.kill)
    with token.making():
        daemon.start()
        token.prefix = ("nsenter", "-t", str(daemon.pid), "-m", "-i", "--")
        slot = token.slot()
        calls: list[list[object]] = [
            ["init_token", slot, FACTORY_SO_PIN, label],
            ["open", slot],
            ["login", FACTORY_SO_PIN, cryptoki.CKU_SO],
            ["set_pin", FACTORY_SO_PIN, SO_PIN],
            ["init_pin", "111111"],
            ["logout"],
            ["login", "111111"],
            ["set_pin", "111111", PIN],
        ]
        cryptoki.play(str(OPENCRYPTOKI), calls, token.environment(), token.prefix)
    return token


def nss(folder: Path, label: str = LABEL) -> Token:
    """NSS softokn over a database: it turns every secret key into a sensitive one."""
    folder.mkdir(parents=True)
    database, password = folder / "nss", folder / "password"
    database.mkdir()
    password.write_text(f"{PIN}\n")
    run(["certutil", "-N", "-d", f"sql:{database}", "-f", password])
    where = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db'"
    env = {"NSS_LIB_PARAMS": f"{where} dbTokenDescription='{label}'"}
    token = Token("nss", NSS, folder, env, label, extracts=False)
    (found,) = cryptoki.play(str(NSS), [["tokens"]], token.environment())
    (mine,) = [one for one in found if one["label"] == label]
    token.serial, token.own_slot = mine["serial"], mine["slot"]
    return token


BUS = """\
<busconfig><type>session</type><listen>unix:path={folder}/bus.sock</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""


@dataclasses.dataclass
class TpmToken(Token):
    """Keys come in through tpm2-pkcs11's own tool: its module makes no secret keys."""

    def put(self, label: str, value: str | bytes, data: bool = False, **attributes: Any) -> bytes:
        """Imports an HMAC key; it can never be read again."""
        assert not data, "this module keeps no data objects"
        octets = value.encode() if isinstance(value, str) else value
        file = self.folder / "key"
        file.write_bytes(octets)
        words: list[str | Path] = [
            "--label",
            self.label,
            "--userpin",
            self.pin,
            "--algorithm",
            "hmac:sha256",
            "--privkey",
            file,
        ]
        run(["tpm2_ptool", "import", *words, "--key-label", label], self.environment())
        file.unlink()
        return octets


def tpm(folder: Path, label: str = LABEL) -> TpmToken:
    """tpm2-pkcs11 on swtpm, with a resource manager between: the TPM itself has room for three objects."""
    state, store = folder / "state", folder / "store"
    state.mkdir(parents=True)
    store.mkdir()
    env = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus.sock",
        "TPM2_PKCS11_STORE": str(store),
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2TOOLS_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_LOG_LEVEL": "0",
    }
    whole = {**os.environ, **env}
    run(["swtpm_setup", "--tpm2", "--tpmstate", state, "--createek", "--allow-signing", "--decryption"])
    chip, bus = folder / "tpm.sock", folder / "bus.sock"
    (folder / "bus.conf").write_text(BUS.format(folder=folder))
    broker_log = folder / "broker.log"

    def broker_is_up() -> bool:
        words = ["tpm2_getcap", "--tcti", "tabrmd:bus_type=session", "properties-fixed"]
        return Server.succeeds(words, whole)

    swtpm: list[str | Path] = [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state}",
        "--flags",
        "not-need-init,startup-clear",
    ]
    swtpm += ["--server", f"type=unixio,path={chip}", "--ctrl", f"type=unixio,path={chip}.ctrl"]
    broker: list[str | Path] = ["tpm2-abrmd", "--session", "--allow-root", "--flush-all", f"--tcti=swtpm:path={chip}"]
    bus_daemon = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork"]
    servers = [
        Server(swtpm, whole, folder / "swtpm.log", chip.exists),
        Server(bus_daemon, whole, folder / "bus.log", bus.exists),
        Server(broker, whole, broker_log, broker_is_up),
    ]
    token = TpmToken("tpm2", TPM, folder, env, label, extracts=False, locks=True)
    with token.making():
        for server in servers:
            token.stops.append(server.kill)
            server.start()
        run(["tpm2_ptool", "init"], whole)
        words = ["--pid", "1", "--label", label, "--sopin", SO_PIN, "--userpin", PIN]
        run(["tpm2_ptool", "addtoken", *words], whole)
        (found,) = cryptoki.play(str(TPM), [["tokens"]], whole)
        (mine,) = [one for one in found if one["label"] == label]
        token.serial, token.own_slot = mine["serial"], mine["slot"]
    return token


QUICK: dict[str, Callable[[Path], Token]] = {"softhsm": softhsm, "opencryptoki": opencryptoki, "p11-kit": remote}
"""Providers of `./dev test`."""
ALL: dict[str, Callable[[Path], Token]] = {**QUICK, "nss": nss, "tpm2": tpm}
"""Providers of `./dev accept`."""
CHOSEN = ALL if os.environ.get("RUNBOUND_TOKENS") == "all" else QUICK
EXTRACTING = [name for name in CHOSEN if name not in ("nss", "tpm2")]
"""Those from which a secret key can be read."""
