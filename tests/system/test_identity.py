"""Users and keys of a real process: made by commands, dead when they should be, over TLS and the Unix socket too."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.live import KEY
from support.servers import RUNBOUND, Resolver, free_port

if TYPE_CHECKING:
    from pathlib import Path

DATA = '    local-data: "a.example. A 192.0.2.1"\n'


def run(resolver: Resolver, *words: str, key: str | None = None, code: int = 0) -> str:
    """What `runbound users …` prints."""
    environment = {name: value for name, value in os.environ.items() if name != "RUNBOUND_API_KEY"}
    environment["STATE_DIRECTORY"] = str(resolver.folder_of_conf() / "state")
    if key is not None:
        environment["RUNBOUND_API_KEY"] = key
    command = [str(RUNBOUND), "users", *words, "-c", str(resolver.conf)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def status(connection: http.client.HTTPConnection, path: str, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            response.read()
            return response.status


def tcp(port: int, path: str, key: str | None) -> int:
    return status(http.client.HTTPConnection("127.0.0.1", port, timeout=10), path, key)


def up(resolver: Resolver) -> None:
    resolver.wait_for_log("API is up")


def test_users_from_the_command_line(tmp_path: Path) -> None:
    port = free_port()
    with Resolver(f"    api-port: {port}\n{DATA}", tmp_path) as resolver:
        up(resolver)
        made = run(resolver, "add", "anna", "dns", "--zone", "home.arpa", "--for", "7d", "--comment", "on call")
        first, key = made.strip().split("\n")
        assert first.startswith("anna may dns in home.arpa.; until 20")
        assert run(resolver, "me", key=key) == "anna, role dns, limited to home.arpa.\n"
        assert "role does not include" in run(resolver, "list", key=key, code=1)
        row = json.loads(run(resolver, "list", "--json"))[0]
        assert (row["name"], row["comment"], row["zones"]) == ("anna", "on call", ["home.arpa."])
        assert abs(row["key"]["last_used"] - time.time()) < 30
        assert "on call" in run(resolver, "list")
        new = run(resolver, "rotate-key", key=key).strip().split("\n")[1]
        assert "A valid bearer token" in run(resolver, "me", key=key, code=1)
        assert run(resolver, "me", key=new).startswith("anna,")
        newer = run(resolver, "rotate-key", "anna", "--reason", "lost it").strip().split("\n")[1]
        assert tcp(port, "/users/me", new) == 401
        assert run(resolver, "delete", "anna") == "anna is deleted\n"
        assert tcp(port, "/users/me", newer) == 401
        assert "there is no user anna" in run(resolver, "delete", "anna", code=1)
        assert "not as a user" in run(resolver, "rotate-key", code=1)
        for secret in (key, new, newer):
            assert secret not in resolver.log()
            found = subprocess.run(["grep", "-rlF", secret, str(tmp_path)], capture_output=True, text=True)
            assert found.stdout == "", "only digests are kept"


@pytest.mark.parametrize("source", ["environment", "file", "generated"])
def test_a_changed_api_key_stays_dead(tmp_path: Path, source: str) -> None:
    port = free_port()
    body = f"    api-port: {port}\n{DATA}" + (f'    api-key: "{KEY}"\n' if source == "file" else "")
    environment = {"RUNBOUND_API_KEY": KEY} if source == "environment" else {}
    state = tmp_path / "state" / "api.key"
    with Resolver(body, tmp_path, env=environment) as resolver:
        up(resolver)
        old = state.read_text().strip() if source == "generated" else KEY
        assert tcp(port, "/system", old) == 200
        said = run(resolver, "rotate-key", "api-key", key=old)
        new = said.strip().split("\n")[1]
        assert state.read_text().strip() == new
        assert state.stat().st_mode & 0o777 == 0o600
        assert (tcp(port, "/system", old), tcp(port, "/system", new)) == (401, 200)
        assert run(resolver, "me") == "api-key, role admin\n"
        assert old not in resolver.log() + (said if source != "generated" else "")
    if source == "generated":
        state.write_text(f"{old}\n")  # somebody brings back an old copy
    with Resolver(body, tmp_path, env=environment) as resolver:
        log = resolver.wait_for_log("was changed by API and is dead")
        while log.count("API is up") < 2:
            log = resolver.wait_for_log("API is up")
        assert tcp(port, "/system", old) == 401
        if source == "generated":
            new = state.read_text().strip()
            assert new != old
        assert tcp(port, "/system", new) == 200
        assert run(resolver, "me") == "api-key, role admin\n"


def test_the_unix_socket_knows_root_and_the_account_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    body = f"    api-port: {free_port()}\n    api-socket: {path}\n{DATA}"
    with Resolver(body, tmp_path, env={"RUNBOUND_API_KEY": KEY}) as resolver:
        up(resolver)
        assert path.stat().st_mode & 0o777 == 0o600

        def ask(where: str, key: str | None) -> int:
            connection = http.client.HTTPConnection("localhost", timeout=10)
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.connect(str(path))
            return status(connection, where, key)

        assert [ask("/system", key) for key in (None, KEY, "wrong")] == [200, 200, 401]
        assert run(resolver, "me") == "local, role admin\n"
        key = run(resolver, "add", "anna", "read").strip().split("\n")[1]
        assert run(resolver, "me", key=key) == "anna, role read\n"
        assert (ask("/users", key), ask("/users", None)) == (403, 200)


def test_another_account_on_the_unix_socket_needs_a_key(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root, as the other tests of accounts")
    path = tmp_path / "api.sock"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):  # pytest's own
            folder.chmod(0o755)
    with Resolver(f"    api-port: {free_port()}\n    api-socket: {path}\n{DATA}", tmp_path) as resolver:
        up(resolver)
        path.chmod(0o666)  # an operator who opens it to all of the machine
        script = (
            "import socket,sys\n"
            "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "s.sendall(b'GET /system HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
            "print(s.recv(64).decode())"
        )
        asked = subprocess.run(
            ["/usr/bin/python3", "-c", script, str(path)], user=65534, group=65534, capture_output=True, text=True
        )
        assert "401 Unauthorized" in asked.stdout, asked.stdout + asked.stderr


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "runbound test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    paths = folder / "api.pem", folder / "api.key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(pem)
    return paths


def test_tls(tmp_path: Path) -> None:
    port = free_port()
    public, private = certificate(tmp_path)
    body = f"    api-port: {port}\n    api-tls-cert: {public}\n    api-tls-key: {private}\n{DATA}"
    with Resolver(body, tmp_path) as resolver:
        up(resolver)
        key = (tmp_path / "state" / "api.key").read_text().strip()
        trusting = ssl.create_default_context(cafile=str(public))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting, timeout=10)
        assert status(connection, "/system", key) == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            tcp(port, "/system", key)
        assert run(resolver, "me") == "api-key, role admin\n"


def test_wrong_keys_are_braked(tmp_path: Path) -> None:
    port = free_port()
    with Resolver(f"    api-port: {port}\n{DATA}", tmp_path, env={"RUNBOUND_API_KEY": KEY}) as resolver:
        up(resolver)
        found = [tcp(port, "/system", "w" * 40) for _ in range(12)]
        assert found == [401] * 11 + [429]
        assert tcp(port, "/system", KEY) == 429
        assert tcp(port, "/health", None) == 200
        end = time.monotonic() + 10
        while tcp(port, "/system", KEY) != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
