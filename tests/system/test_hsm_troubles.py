"""The table of troubles in docs/hsm.md: the cause of every row is made on a real token. The message has what the row
says, names a remedy, and the start ends with 78 before anything listens."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.machine import Machine
from support.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a machine of one's own needs root")

PAGE = (ROOT / "docs" / "hsm.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("| in the message |")[2].partition("\n\n")[0]
ROWS = re.findall(r"^\| `([^`]+)` \|", TABLE, re.MULTILINE)

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
P11_KIT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
OPENSC = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
OPENCRYPTOKI = "/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so"
CONF = {
    "use-syslog": "no",
    "hsm-pkcs11-lib": SOFTHSM,
    "hsm-token-label": "runbound",
    "hsm-pin-file": "/etc/runbound/hsm-pin",
    "hsm-store-key-label": "runbound-store-key",
}
TOOL = f"sudo -u runbound pkcs11-tool --module {SOFTHSM} --token-label runbound --login --pin env:PIN"
WRITE = f"{TOOL} --write-object /dev/shm/key --type secrkey --private --extractable"

READY = f"""
set -e
usermod -aG softhsm,pkcs11 runbound
export PIN=648219
printf $PIN | install -m 600 -o runbound /dev/stdin /etc/runbound/hsm-pin
printf $PIN | install -m 600 -o runbound /dev/stdin /etc/runbound/good-pin
sudo -u runbound softhsm2-util --init-token --free --label runbound --so-pin 12345678 --pin $PIN
openssl rand 32 | install -m 600 -o runbound /dev/stdin /dev/shm/key
{WRITE} --label runbound-store-key
{WRITE} --label two
{WRITE} --label two
openssl rand 32 | install -m 600 -o runbound /dev/stdin /dev/shm/key
{WRITE} --label another-store-key
printf '%064d\\n' 7 | install -m 600 -o runbound /dev/stdin /dev/shm/key
{WRITE} --label line
{TOOL} --keygen --key-type generic:32 --label kept --private --sensitive
cp {SOFTHSM} /etc/anybodys.so
chmod 666 /etc/anybodys.so
touch /etc/runbound/no-pin && chmod 600 /etc/runbound/no-pin && chown runbound /etc/runbound/no-pin
install -D -m 644 packaging/runbound-hsm.conf /etc/systemd/system/runbound.service.d/hsm.conf
sed -i /LoadCredential/d /etc/systemd/system/runbound.service.d/hsm.conf
"""
"""The machine, its token, and objects that are wrong in one way each."""

IBM = """
install -d -m 770 -g pkcs11 /run/lock/opencryptoki
pgrep pkcsslotd || pkcsslotd
echo runbound | pkcsconf -I -c 3 -S 87654321
pkcsconf -P -c 3 -S 87654321 -n 31415926
pkcsconf -u -c 3 -S 31415926 -n 11111111
pkcsconf -p -c 3 -U 11111111 -n 648219
"""
"""A token that locks."""

FROZEN = f"""
install -d -m 755 -o runbound /run/p11-kit
eval $(sudo -u runbound p11-kit server --provider {SOFTHSM} --name /run/p11-kit/pkcs11 'pkcs11:token=runbound')
until ss -Hlx src /run/p11-kit/pkcs11 | grep -q .; do sleep 0.05; done
kill -STOP $P11_KIT_SERVER_PID
mkdir -p /etc/systemd/system/runbound.service.d
printf '[Service]\\nEnvironment=P11_KIT_SERVER_ADDRESS=unix:path=/run/p11-kit/pkcs11\\n' \\
    > /etc/systemd/system/runbound.service.d/frozen.conf
"""
WRONG = f"pkcs11-tool --module {OPENCRYPTOKI} --token-label runbound --login --pin 00000000 -O"


class Cause(NamedTuple):
    """What to change in the configuration (None takes a line out), what to do before, and what to undo after."""

    lines: Mapping[str, str | None] = MappingProxyType({})
    before: str = ""
    after: str = ""


CAUSES = {
    "CKR_HOST_MEMORY": Cause({"hsm-pkcs11-lib": "/usr/lib/softhsm/libsofthsm3.so"}),
    "CKR_PIN_INCORRECT": Cause(before="printf 1234 > /etc/runbound/hsm-pin"),
    "CKR_OBJECT_HANDLE_INVALID": Cause({"hsm-store-key-label": "runbound-stor-key"}),
    "CKA_EXTRACTABLE = false": Cause({"hsm-store-key-label": "kept"}),
    "no silent fallback": Cause({"hsm-store-key-label": "kept"}),
    "no file that is a library": Cause({"hsm-pkcs11-lib": "/usr/lib/softhsm"}),
    "can be changed by others": Cause({"hsm-pkcs11-lib": "/etc/anybodys.so"}),
    "no whole path": Cause({"hsm-pkcs11-lib": "libsofthsm2.so"}),
    "the module has no slot": Cause({"hsm-pkcs11-lib": OPENSC}),
    "the module does not start": Cause({}, "gpasswd -d runbound softhsm", "usermod -aG softhsm runbound"),
    "not the one that the configuration names": Cause({"hsm-token-label": "somebody"}),
    "not initialised": Cause({"hsm-token-label": None, "hsm-slot": "1"}),
    "stands in 2 places": Cause({"hsm-pin": "648219"}),
    "the PIN is empty": Cause({"hsm-pin-file": "/etc/runbound/no-pin"}),
    "CKF_USER_PIN_FINAL_TRY": Cause({"hsm-pkcs11-lib": OPENCRYPTOKI}, f"{IBM}{WRONG}; {WRONG}; true"),
    "CKR_PIN_LOCKED": Cause({"hsm-pkcs11-lib": OPENCRYPTOKI}, f"{IBM}{WRONG}; {WRONG}; {WRONG}; true"),
    "several objects": Cause({"hsm-store-key-label": "two"}),
    "ends with a newline": Cause({"hsm-api-key-label": "line"}),
    "did not come back in time": Cause(
        {"hsm-pkcs11-lib": P11_KIT, "hsm-timeout": "3"},
        FROZEN,
        "rm /etc/systemd/system/runbound.service.d/frozen.conf",
    ),
    "another key": Cause(
        {"hsm-store-key-label": "another-store-key"},
        "systemctl start runbound && systemctl stop runbound",
        "rm -r /var/lib/runbound",
    ),
}
"""Row of the table -> how it comes about, on a machine where everything else is right."""


def configuration(lines: Mapping[str, str | None]) -> str:
    """A shell command that writes the configuration."""
    text = "".join(f"    {name}: {value}\n" for name, value in {**CONF, **lines}.items() if value is not None)
    return f"cat > /etc/runbound/runbound.conf <<'END'\nserver:\n{text}END\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        done = made.run(f"{READY}\n{configuration({})}systemctl start runbound && systemctl stop runbound")
        assert done.returncode == 0, f"{done.stdout}\n{made.journal()}"
        made.run("rm -r /var/lib/runbound")
        yield made


def test_each_row_has_a_cause() -> None:
    assert list(CAUSES) == ROWS


@pytest.mark.parametrize("row", CAUSES)
def test_the_message_has_what_the_row_says(row: str, machine: Machine) -> None:
    cause = CAUSES[row]
    script = [configuration({}), cause.before, configuration(cause.lines), "> /run/journal", "systemctl start runbound"]
    started = machine.run("\n".join(script))
    said = machine.journal()
    listening = machine.run("ss -Hltun '( sport = :53 or sport = :8081 )'").stdout
    left = machine.run("pgrep -f runbound.engine.hsm_helper").stdout
    machine.run(f"systemctl stop runbound\n{cause.after}\ncp -p /etc/runbound/good-pin /etc/runbound/hsm-pin")
    assert "status=78." in started.stdout, f"{started.stdout}\n{said}"
    assert row in said, said
    assert re.search(r"help: \S", said) or 'help="' in said, said
    assert listening == ""
    assert left == ""
