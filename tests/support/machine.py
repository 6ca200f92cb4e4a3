"""A machine of one's own for somebody who types what a document says: its `/etc`, `/var/lib`, `/run`, `/tmp`, loopback.

Owns the namespaces (mount, network, process, IPC) and the stand-ins for what only a booted system has: `systemctl` with
credentials, environment files and limits of a unit, `journalctl`, `sudo`, and an `apt` that looks whether a package is
there. Printed paths and ports are used as they stand, and nothing outside is touched. Needs root. It must never leave a
process or a mount behind: the first process of the namespace dies with the test, and everything with it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Self

from support.servers import ROOT, RUNBOUND

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

BEGIN = r"""
set -e
mount --make-rprivate /
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/copy/etc /run/copy/lib/dpkg /run/copy/here /run/copy/python /run/bin /run/lock
mount --bind "$HERE" /run/copy/here
mount --bind "$PYTHON" /run/copy/python
chmod 1777 /run/lock
cp -a /etc/. /run/copy/etc
for folder in softhsm opencryptoki; do
    mkdir -p /var/lib/$folder 2>/dev/null || true
    if [ -d /var/lib/$folder ]; then cp -a /var/lib/$folder /run/copy/lib/; fi
done
mount --bind /var/lib/dpkg /run/copy/lib/dpkg
mount --bind /run/copy/etc /etc
mount --rbind /run/copy/lib /var/lib
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /mnt
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /var/log
mount -t tmpfs -o mode=755 tmpfs /root
mkdir -p "$PYTHON"
mount --bind /run/copy/python "$PYTHON"
mkdir -p "$HERE"
mount --bind /run/copy/here "$HERE"
"""
"""What makes the machine: everything a document may write to is a copy in memory, and the account of the service can
read the interpreter wherever that is."""

STAND_INS = {
    "runbound": '#!/bin/sh\nexec {program} "$@"\n',
    "systemctl": '#!/bin/sh\nexec {python} -I {here}/units.py "$@"\n',
    "journalctl": "#!/bin/sh\ncat /run/journal 2>/dev/null || true\n",
    "sudo": '#!/bin/sh\n[ "$1" = -u ] || exec "$@"\nuser=$2; shift 2; exec runuser -u $user -- "$@"\n',
    "apt-get": "#!/bin/sh\nshift\nfor word; do [ $word = -y ] || dpkg -s $word >/dev/null || exit 100; done\n",
}
"""Programs a document calls that a container does not have."""

SECONDS = 120.0
"""Wait for one section of a document, on a machine that does other things too."""


class Machine:
    """The namespaces, with the account of the service made. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        values = {"program": RUNBOUND, "python": sys.executable, "here": ROOT / "tests" / "support"}
        lines = [
            BEGIN,
            *(f"printf %s {shlex.quote(text.format(**values))} > /run/bin/{name}" for name, text in STAND_INS.items()),
            "cp /run/bin/apt-get /run/bin/apt",
            "chmod 755 /run/bin/*",
            "install -D -m 644 packaging/runbound.sysusers /etc/sysusers.d/runbound.conf",
            "systemd-sysusers /etc/sysusers.d/runbound.conf || useradd --system --home-dir /var/lib/runbound runbound",
            "install -D -m 644 packaging/runbound.service /etc/systemd/system/runbound.service",
            "mkdir -p /etc/runbound",
            f"ln -s {ROOT}/packaging /root/packaging",
            "touch /run/ready",
            "while :; do sleep 1000 & wait; done",
        ]
        self.log_path = folder / "machine.log"
        kinds = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--mount-proc"]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", *kinds, "bash", "-c", "\n".join(lines)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LANG": "C.UTF-8",
                    "PYTHON": sys.base_prefix,
                    "HERE": str(ROOT),
                },
            )
        self.first = self._wait()

    def _wait(self) -> int:
        """The first process of the namespace, as it is numbered outside, once the machine is ready."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log_path.read_text()
            with open(children, encoding="ascii") as file:
                numbers = file.read().split()
            if numbers and os.path.exists(f"/proc/{numbers[0]}/root/run/ready"):
                return int(numbers[0])
            time.sleep(0.02)
        raise AssertionError(self.log_path.read_text())

    def run(self, script: str, seconds: float = SECONDS, **env: str) -> subprocess.CompletedProcess[str]:
        """What comes of a script: its exit code, and all it printed in `stdout`. Daemons that it starts stay."""
        inside = ["nsenter", "--target", str(self.first), "--mount", "--net", "--pid", "--ipc", "--uts", "--wd=/"]
        command = [*inside, "bash", "-c", f"cd /root\n{script}"]
        # A file and not a pipe: a daemon would keep a pipe open.
        with tempfile.TemporaryFile() as printed:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                timeout=seconds,
                env={
                    "PATH": "/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "HOME": "/root",
                    "LANG": "C.UTF-8",
                    **env,
                },
            )
            printed.seek(0)
            text = printed.read().decode(errors="replace")
        return subprocess.CompletedProcess(command, done.returncode, text)

    def journal(self) -> str:
        """What the service has written since the machine was made."""
        return self.run("cat /run/journal 2>/dev/null").stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
