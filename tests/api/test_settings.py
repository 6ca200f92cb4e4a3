"""What the file says about the API: addresses, sockets, keys."""

import socket
import stat
from pathlib import Path

import pytest

from runbound.api.settings import Address, ApiKey, ApiSettings, bind, given_keys, kept_key, tls_context
from runbound.errors import EXIT_CONFIG, RunboundError
from support.control import entry, server_config

KEY = "k" * 32


def same(name: str) -> str:
    return name


def test_defaults() -> None:
    settings = ApiSettings.of(server_config(), same)
    assert settings.addresses == (Address("127.0.0.1", 8081),)
    assert not settings.explicit
    assert settings.tls is None
    assert settings.socket_path is None
    assert settings.node == socket.gethostname()


def test_addresses_and_ports() -> None:
    config = server_config(api_interface=(entry("::1@8443"), entry("10.0.0.1")), api_port=8082, node_id="n")
    settings = ApiSettings.of(config, same)
    assert [address.url for address in settings.addresses] == ["[::1]:8443", "10.0.0.1:8082"]
    assert settings.explicit
    assert settings.node == "n"


def test_half_a_certificate_is_an_error() -> None:
    with pytest.raises(RunboundError, match="api-tls-cert stands alone"):
        ApiSettings.of(server_config(api_tls_cert="x.pem"), same)
    with pytest.raises(RunboundError, match="api-tls-cert /nonexistent"):
        tls_context("/nonexistent", "/nonexistent")


def test_the_chain_of_keys() -> None:
    environ = {"RUNBOUND_API_KEY": KEY}
    from_environment, from_file = given_keys("f" * 32, environ)
    assert from_environment == ApiKey(KEY, "the environment (RUNBOUND_API_KEY)")
    assert environ == {}
    assert (from_file.secret, from_file.from_file) == ("f" * 32, True)
    assert given_keys("", {}) == []
    assert kept_key((KEY, "/state/api.key")) == ApiKey(KEY, "/state/api.key")
    assert KEY not in repr(from_file) + str(ApiKey(KEY, "x"))


@pytest.mark.parametrize("key", ["short", "x" * 31, "x" * 31 + " ", "x" * 31 + "é", "x" * 31 + "\n", "x" * 1025])
def test_unusable_keys(key: str) -> None:
    with pytest.raises(RunboundError) as error:
        given_keys(key, {})
    assert error.value.exit_code == EXIT_CONFIG
    assert key not in str(error.value)


def settings_for(port: int, path: str | None = None, *, explicit: bool = False) -> ApiSettings:
    return ApiSettings((Address("127.0.0.1", port),), path, explicit, None, "n")


def test_a_taken_port(tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert bind(settings_for(port), None, told.append) == ([], [])
        assert f"127.0.0.1:{port}" in told[0]
        with pytest.raises(RunboundError, match=f"127.0.0.1:{port}"):
            bind(settings_for(port, explicit=True), None, told.append)


def test_the_unix_socket_is_private_and_replaces_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    told: list[str] = []
    tcp, unix = bind(settings_for(0, str(path)), None, told.append)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again, none = bind(settings_for(0, str(path)), None, told.append)
    assert none == []
    assert "in use" in told[0]
    unix[0].close()
    more, replaced = bind(settings_for(0, str(path)), None, told.append)
    assert len(replaced) == 1
    for listener in (*tcp, *again, *more, *replaced):
        listener.close()


def test_a_file_in_the_way_of_the_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious")
    told: list[str] = []
    tcp, unix = bind(settings_for(0, str(path)), None, told.append)
    assert unix == []
    assert path.read_text() == "precious"
    tcp[0].close()
