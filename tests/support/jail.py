"""Reads configurations in a root directory of their own, so that absolute names in them mean what they say.

Owns the child process: a mount namespace, then chroot into a directory with nothing but the files a case brings and a
passwd file, as the recorded verdicts were made. It must never touch the real file system outside its temporary folder.
Run as a program it reads cases from standard input and writes what was found to standard output, both JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = "".join(
    f"{name}:x:{number}:{number}::/:/bin/false\n"
    for name, number in {"root": 0, "unbound": 101, "_unbound": 102, "bind": 103, "nobody": 65534}.items()
)


class Case(TypedDict):
    """One configuration. File contents are latin-1 text, so that every octet passes through JSON."""

    id: str
    main: str
    cwd: str
    files: dict[str, str]
    directories: list[str]


class Found(TypedDict):
    """What came of it."""

    ok: bool
    messages: list[str]
    values: dict[str, str | None]


def examine(cases: list[Case], folder: Path) -> dict[str, Found]:
    """What runbound says of each case. Needs root, or a system where users may make namespaces."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*command, sys.executable, os.path.abspath(__file__), str(folder)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Found] = json.loads(done.stdout)
    return found


def _build(case: Case, root: str) -> None:
    folders = ("/c", "/dev", "/etc/unbound", "/run", "/tmp", case["cwd"], *case["directories"])
    for folder in folders:
        os.makedirs(root + folder, exist_ok=True)
    for name, text in {"/etc/passwd": PASSWD, **case["files"]}.items():
        os.makedirs(os.path.dirname(root + name), exist_ok=True)
        with open(root + name, "wb") as file:
            file.write(text.encode("latin-1"))


def _read(case: Case, root: str, write: int) -> None:
    """In a process of its own: everything needed is imported before the root goes away."""
    import pwd

    from runbound import engine
    from runbound.config import load, report
    from runbound.ops.source import checker

    pwd.getpwall()
    os.chroot(root)
    os.chdir(case["cwd"])
    loaded = load.load(case["main"], case["cwd"], engine.scan, checker(os.path.join(case["cwd"], case["main"])))
    names = ("port", "verbosity", "identity", "do-ip6", "cache-max-ttl", "msg-cache-size", "private-address")
    more = ("access-control", "interface", "control-port", "edns-buffer-size", "tcp-idle-timeout")
    rest = ("max-client-subnet-ipv4", "statistics-interval")
    values = {name: report.value_of(loaded.config, name) for name in (*names, *more, *rest)}
    found: Found = {"ok": loaded.ok, "messages": [str(item) for item in loaded.diagnostics], "values": values}
    with os.fdopen(write, "wb") as pipe:
        pipe.write(json.dumps(found).encode())


def _main(folder: str) -> None:
    cases: list[Case] = json.load(sys.stdin)
    out: dict[str, Any] = {}
    for number, case in enumerate(cases):
        root = os.path.join(folder, str(number))
        _build(case, root)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            code = 1
            try:
                _read(case, root, write)
                code = 0
            finally:
                # The parent's buffers and handlers are not this child's to run.
                if code:
                    print(case["id"], traceback.format_exc(), file=sys.stderr, flush=True)
                os._exit(code)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(1)
        out[case["id"]] = json.loads(answer)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    _main(sys.argv[1])
