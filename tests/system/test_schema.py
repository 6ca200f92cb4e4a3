"""The API against its own OpenAPI document: every operation, good requests and bad ones, by schemathesis.

RUNBOUND_SCHEMA_CASES says how many cases there must be at least; `./dev accept` asks for more than `./dev test`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.live import KEY, Api, body_of
from support.servers import Lab, Resolver, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = int(os.environ.get("RUNBOUND_SCHEMA_CASES", "1000"))
SHAPES = Path(__file__).parents[1] / "support" / "shapes.py"
PROGRAM = Path(sys.executable).with_name("schemathesis")
SPREAD = 2
"""Cases asked for over the least: an operation without parameters can be asked in one way only."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    port = free_port()
    with (
        Lab(tmp_path / "lab") as lab,
        Resolver(body_of(port, lab.port), tmp_path / "resolver", env={"RUNBOUND_API_KEY": KEY}) as resolver,
    ):
        yield Api(resolver, port)


@pytest.mark.timeout(3000)
def test_every_operation_keeps_to_the_document(api: Api, tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(api.open("GET", "/api/v1/openapi.json").read())
    operations = sum(len(methods) for methods in document["paths"].values())
    most = max(5, SPREAD * CASES // operations)
    address = f"http://127.0.0.1:{api.port}/api/v1/openapi.json"
    user = api.made("/users", {"name": "caller", "role": "admin"})
    backup = api.made("/backup", {})["id"]
    exported = api.open("GET", f"/backup/export?id={backup}").read().decode()
    header = f"Authorization: Bearer {user['secret']}"
    # Of a stream the first event, which comes at once, shows its form; what comes next may take its time.
    (tmp_path / "schemathesis.toml").write_text("max-stream-events = 1\n")
    run = subprocess.run(
        [
            *(PROGRAM, "run", address, "--header", header),
            *("--max-examples", str(most), "--continue-on-failure", "--warnings", "off", "--no-color", "--seed", "1"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(SHAPES),
            "RUNBOUND_SCHEMA_CALLER": str(user["id"]),
            "RUNBOUND_SCHEMA_BACKUP": exported,
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr + api.resolver.log()
    generated = re.search(r"(\d+) generated", run.stdout)
    assert generated is not None, run.stdout
    assert int(generated[1]) >= CASES, run.stdout
    with api.open("GET", "/health") as health:  # the API key was rotated away meanwhile
        assert health.status == 200
