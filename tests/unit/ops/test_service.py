"""The life of the process, with a fake engine: the order of a start, signals, reload, the end."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbound.api.companion import Api
from runbound.config.model import Config
from runbound.errors import EXIT_CONFIG, ConfigError, RunboundError
from runbound.ops.candidate import Candidate
from runbound.ops.notify import Notifier
from runbound.ops.service import SIGNALS, Service
from support.control import FakeEngine, FakeSource, send, server_config, wrong


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Signals, folder and environment as they were before."""
    monkeypatch.delenv("RUNBOUND_API_KEY", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    folder = Path.cwd()
    yield
    while signal.sigtimedwait(SIGNALS, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.chdir(folder)


def make(tmp_path: Path, config: Config, notifier: Notifier | None = None) -> tuple[FakeEngine, FakeSource, Service]:
    engine = FakeEngine()
    engine.drained.set()
    source = FakeSource(config, str(tmp_path / "test.conf"))
    return engine, source, Service(engine, source, Api(engine), notifier=notifier)


def quiet(**options: Any) -> Config:
    return server_config(username="", api_enable=False, **options)


def test_order_of_start_and_end(tmp_path: Path) -> None:
    engine, _, service = make(tmp_path, quiet(pidfile=str(tmp_path / "pid"), drain_timeout=3))
    seen: list[str] = []

    def ready(running: Service) -> None:
        seen.append((tmp_path / "pid").read_text())
        send(signal.SIGTERM)

    assert service.run(ready) == 0
    assert seen == [f"{os.getpid()}\n"]
    assert engine.calls == ["open_log", "bind", "start", "drain", "stop"]
    assert engine.drain_seconds == 3.0
    assert not (tmp_path / "pid").exists()
    assert engine.said("start of service (runbound")
    assert engine.said("stopping signal=SIGTERM")


def test_systemd_hears_of_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(2)
        engine, _, service = make(tmp_path, quiet(), Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}))

        def ready(_service: Service) -> None:
            send(signal.SIGHUP)
            send(signal.SIGTERM)

        service.run(ready)
        heard = [manager.recv(4096).decode().split("\n")[0] for _ in range(4)]
        # Pending signals are delivered lowest number first: SIGHUP, then SIGTERM.
        assert heard == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
        assert engine.calls == ["open_log", "bind", "start", "reopen_log", "apply", "drain", "stop"]


def test_a_broken_file_stops_the_start_with_78(tmp_path: Path) -> None:
    engine, source, service = make(tmp_path, quiet())
    source.next = Candidate(quiet(), (wrong("one"), wrong("two")))
    with pytest.raises(ConfigError) as error:
        service.run()
    assert error.value.exit_code == EXIT_CONFIG
    assert "one" in str(error.value)
    assert "two" in str(error.value)
    assert engine.calls == []


def test_a_broken_reload_goes_on(tmp_path: Path) -> None:
    engine, source, service = make(tmp_path, quiet())

    def ready(_service: Service) -> None:
        source.next = RunboundError("cannot read it", "test.conf")
        service.reload()
        source.next = Candidate(quiet(), (wrong("bad"),))
        service.reload()
        send(signal.SIGINT)

    assert service.run(ready) == 0
    assert "apply" not in engine.calls
    assert engine.said("reload failed, nothing changed")
    assert engine.said("test.conf:3:5: bad")


def test_a_mistake_of_ours_in_a_reload_does_not_end_the_service(tmp_path: Path) -> None:
    engine, source, service = make(tmp_path, quiet())

    def ready(_service: Service) -> None:
        source.next = UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")
        service.reload()
        send(signal.SIGTERM)

    assert service.run(ready) == 0
    assert "drain" in engine.calls
    assert engine.said("reload failed, nothing changed")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_log_that_cannot_be_opened_anew_ends_nothing(tmp_path: Path, number: signal.Signals) -> None:
    engine, _, service = make(tmp_path, quiet())
    engine.refuse = "reopen_log"
    helper: list[threading.Thread] = []

    def ready(_service: Service) -> None:
        send(number)
        helper.append(threading.Thread(target=end))
        helper[0].start()

    def end() -> None:
        while not engine.said("reopen_log does not work"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    assert service.run(ready) == 0
    helper[0].join()
    assert ("apply" in engine.calls) is (number is signal.SIGHUP)


def test_what_the_engine_cannot_open_ends_the_start_clean(tmp_path: Path) -> None:
    engine, _, service = make(tmp_path, quiet(pidfile=str(tmp_path / "pid"), state_dir=str(tmp_path / "state")))
    engine.refuse = "bind"
    with pytest.raises(RunboundError, match="bind does not work"):
        service.run()
    assert engine.calls == ["open_log", "bind"]
    assert not (tmp_path / "pid").exists()
    again, _, second = make(tmp_path, quiet(state_dir=str(tmp_path / "state")))
    second.run(lambda _s: send(signal.SIGTERM))
    assert "start" in again.calls


def test_sigusr1_opens_the_log_anew(tmp_path: Path) -> None:
    engine, _, service = make(tmp_path, quiet())
    helper: list[threading.Thread] = []

    def ready(_service: Service) -> None:
        def later() -> None:
            while "reopen_log" not in engine.calls:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        send(signal.SIGUSR1)
        helper.append(threading.Thread(target=later))
        helper[0].start()

    service.run(ready)
    helper[0].join()
    assert "reopen_log" in engine.calls


def test_a_second_signal_cuts_the_draining_short(tmp_path: Path) -> None:
    engine, _, service = make(tmp_path, quiet(drain_timeout=30))
    engine.drained.clear()

    def ready(_service: Service) -> None:
        send(signal.SIGTERM)
        send(signal.SIGINT)

    began = time.monotonic()
    assert service.run(ready) == 0
    assert time.monotonic() - began < 10
    engine.drained.set()


def test_a_pidfile_that_cannot_be_written_is_only_an_error_in_the_log(tmp_path: Path) -> None:
    engine, _, service = make(tmp_path, quiet(pidfile="/nonexistent/folder/pid"))
    assert service.run(lambda _s: send(signal.SIGTERM)) == 0
    assert engine.said("pidfile: cannot write")


def test_the_api_runs_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOUND_API_KEY", "k" * 40)
    path = tmp_path / "api.sock"
    config = server_config(username="", api_port=free_port(), api_socket=str(path), state_dir=str(tmp_path / "state"))
    engine, _, service = make(tmp_path, config)
    answers: list[bytes] = []

    def ready(_service: Service) -> None:
        port = config.server.api_port
        for family, where in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_UNIX, str(path))):
            with socket.socket(family, socket.SOCK_STREAM) as client:
                client.settimeout(20)
                client.connect(where)
                client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answers.append(b"".join(iter(lambda: client.recv(65536), b"")))
        send(signal.SIGTERM)

    assert service.run(ready) == 0
    assert [answer.split(b" ")[1] for answer in answers] == [b"200", b"200"]
    assert not path.exists()
    assert not engine.said("k" * 40)
    assert "RUNBOUND_API_KEY" not in os.environ


def test_a_taken_port_stops_the_start_only_if_the_file_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        state = str(tmp_path / "state")
        engine, _, service = make(tmp_path, server_config(username="", api_port=port, state_dir=state))
        with pytest.raises(RunboundError, match="API address"):
            service.run()
        silent = server_config(username="", api_port=port, state_dir=state)
        del silent.places["server", "api-port"]
        engine, _, service = make(tmp_path, silent)
        assert service.run(lambda _s: send(signal.SIGTERM)) == 0
        assert engine.said("the resolver runs without it")


def test_without_a_place_for_the_key_the_resolver_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    engine, _, service = make(tmp_path, server_config(username=""))
    assert service.run(lambda _s: send(signal.SIGTERM)) == 0
    assert engine.said("the API stays off")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
