"""`systemctl` for one unit on a machine without systemd: what `tests/support/machine.py` puts in its place.

Owns what a start means for the service: the unit and its drop-ins, credentials, environment, state directory, limits,
the bounding set, what it may write to, readiness. It must never claim more: system call filters, address families and
devices of a unit are not restricted here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from glob import glob

UNIT = "/etc/systemd/system/runbound.service"
JOURNAL = "/run/journal"
PIDFILE = "/run/runbound.main.pid"
CREDENTIALS = "/run/credentials/runbound.service"
NOTIFY = "/run/notify"
START_SECONDS = 60.0


def settings() -> dict[str, list[str]]:
    """The values of [Service], drop-ins last; an empty value forgets those before it."""
    found: dict[str, list[str]] = {}
    for path in [UNIT, *sorted(glob(f"{UNIT}.d/*.conf"))]:
        section = ""
        with open(path, encoding="utf-8") as file:
            lines = file.read().replace("\\\n", " ").splitlines()
        for line in lines:
            text = line.strip()
            if text.startswith("["):
                section = text
            elif section == "[Service]" and text and not text.startswith(("#", ";")):
                key, _, value = text.partition("=")
                if value:
                    found.setdefault(key, []).append(value)
                else:
                    found.pop(key, None)
    return found


def environment(unit: dict[str, list[str]]) -> dict[str, str]:
    """What systemd would hand to the service."""
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NOTIFY_SOCKET": NOTIFY}
    for line in unit.get("Environment", []):
        for part in line.split():
            key, _, value = part.partition("=")
            env[key] = value
    for name in unit.get("EnvironmentFile", []):
        if name.startswith("-") and not os.path.exists(name[1:]):
            continue
        with open(name.removeprefix("-"), encoding="utf-8") as file:
            for line in file.read().splitlines():
                if line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    env[key] = value.strip("\"'")
    for state in unit.get("StateDirectory", []):
        os.makedirs(f"/var/lib/{state}", 0o700, exist_ok=True)
        env["STATE_DIRECTORY"] = f"/var/lib/{state}"
    for line in unit.get("LoadCredential", []):
        name, _, source = line.partition(":")
        os.makedirs(CREDENTIALS, 0o700, exist_ok=True)
        target = f"{CREDENTIALS}/{name}"
        shutil.copyfile(source, target)
        os.chmod(target, 0o400)
        env["CREDENTIALS_DIRECTORY"] = CREDENTIALS
    return env


def limits(unit: dict[str, list[str]]) -> list[str]:
    """The limits of the unit, as arguments of prlimit; none is more than this machine grants."""
    found = []
    kinds = {"memlock": resource.RLIMIT_MEMLOCK, "nofile": resource.RLIMIT_NOFILE}
    for name, kind in kinds.items():
        most = resource.getrlimit(kind)[1]
        for value in unit.get(f"Limit{name.upper()}", [])[-1:]:
            if value == "infinity":
                number = most
            else:
                number = int(value.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(value[-1], 1)
                number = number if most == resource.RLIM_INFINITY else min(number, most)
            found.append(f"--{name}={number}:{number}")
    return found


def strict(unit: dict[str, list[str]]) -> list[str]:
    """A command that runs the rest of its line with all but the unit's own paths read-only."""
    assert unit["ProtectSystem"] == ["strict"]
    words = " ".join([*unit.get("ReadWritePaths", []), *(f"/var/lib/{name}" for name in unit["StateDirectory"])])
    writable = sorted({name for word in words.split() if os.path.exists(name := word.removeprefix("-"))})
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file]
    # A mount that lies below another cannot be reached, nor written to.
    kept = ("/proc", "/sys", "/dev", "/tmp")
    lines = [f"mount --bind {path} {path}" for path in writable]
    lines += [f"mount -o remount,bind,ro {path} 2>/dev/null || :" for path in mounts if not path.startswith(kept)]
    lines += [f"mount -o remount,bind,rw {path}" for path in writable]
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh"]


def start() -> int:
    """Waits until the service is ready; 1 with systemd's words if it ends before."""
    unit = settings()
    shutil.rmtree(CREDENTIALS, ignore_errors=True)
    kept = {name.removeprefix("CAP_").lower() for line in unit["CapabilityBoundingSet"] for name in line.split()}
    bounding = ",".join(["-all", *(f"+{name}" for name in sorted(kept))])
    env = environment(unit)
    command = unit["ExecStart"][-1].split()
    command[0] = "/run/bin/runbound"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(NOTIFY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, open(JOURNAL, "ab") as journal:
        told.bind(NOTIFY)
        os.chmod(NOTIFY, 0o666)
        told.settimeout(0.05)
        child = subprocess.Popen(
            [
                *strict(unit),
                "prlimit",
                *limits(unit),
                "setpriv",
                f"--bounding-set={bounding}",
                "--no-new-privs",
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=journal,
            stderr=journal,
            env=env,
            cwd="/",
            start_new_session=True,
            umask=int(unit.get("UMask", ["0022"])[-1], 8),
        )
        with open(PIDFILE, "w", encoding="ascii") as file:
            file.write(str(child.pid))
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            code = child.poll()
            if code is not None:
                print(f"Job for runbound.service failed: the main process exited, status={code}.")
                print('See "systemctl status runbound.service" and "journalctl -u runbound".')
                os.unlink(PIDFILE)
                return 1
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in told.recv(4096):
                    return 0
    print("Job for runbound.service failed: it is not ready in time.")
    return 1


def main_pid() -> int | None:
    """The service's process, if it lives."""
    try:
        with open(PIDFILE, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            return None if file.read().rpartition(")")[2].split()[0] == "Z" else pid
    except OSError:
        return None


def stop() -> int:
    """SIGTERM, and a wait."""
    pid = main_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + START_SECONDS
        while main_pid() == pid:
            assert time.monotonic() < end, "it does not end"
            time.sleep(0.02)
    return 0


def main() -> int:
    """The command line."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    verb = words[0]
    if verb in {"daemon-reload", "enable", "disable"}:
        return 0
    if verb in {"start", "restart", "stop"}:
        if verb != "start":
            stop()
        return 0 if verb == "stop" or main_pid() is not None else start()
    pid = main_pid()
    if verb == "reload" and pid is not None:
        os.kill(pid, signal.SIGHUP)
        return 0
    print("active (running)" if pid is not None else "inactive (dead)")
    return 0 if pid is not None else 3


if __name__ == "__main__":
    sys.exit(main())
