"""The life of the process as an operator meets it: start, reload, hand-over, rights, end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dns.message
import pytest

from support.packets import Ask, exchange
from support.servers import HEAD, RUNBOUND, Lab, Process, Resolver, free_port, write_hints

if TYPE_CHECKING:
    pass

EXIT_CONFIG = 78
QUIET = "    api-enable: no\n"
CAP_NET_BIND_SERVICE = 1 << 10


def texts(resolver: Resolver, name: str, rtype: str = "A", **how: object) -> list[str]:
    """The answer's records as text; fails on silence."""
    reply = exchange(Ask(name, rtype).with_(**how), resolver.at, 3.0)
    assert reply is not None, resolver.log()
    message = dns.message.from_wire(reply)
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


def run(arguments: list[str | Path], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end, which must come soon."""
    return subprocess.run(
        [str(RUNBOUND), *(str(argument) for argument in arguments)],
        cwd=folder,
        env={**os.environ, "STATE_DIRECTORY": str(folder / "state"), **env},
        capture_output=True,
        text=True,
        timeout=20,
    )


def write(folder: Path, body: str, port: int) -> Path:
    """A configuration file on a port of our choice."""
    conf = folder / "unbound.conf"
    head = HEAD.replace("{folder}", str(folder)).replace("{address}", "127.0.0.1").replace("{port}", str(port))
    conf.write_text(head + body)
    write_hints(folder)
    return conf


class TestReload:
    """SIGHUP."""

    def test_a_good_file_is_applied(self, tmp_path: Path) -> None:
        with Resolver(QUIET + '    local-data: "a.example. A 192.0.2.1"\n', tmp_path) as resolver:
            assert texts(resolver, "a.example.") == ["192.0.2.1"]
            resolver.write(QUIET + '    local-data: "a.example. A 192.0.2.2"\n')
            resolver.signal(signal.SIGHUP)
            end = time.monotonic() + 5
            while texts(resolver, "a.example.") != ["192.0.2.2"]:
                assert time.monotonic() < end, resolver.log()
                time.sleep(0.02)

    def test_a_broken_file_changes_nothing_and_says_why(self, tmp_path: Path) -> None:
        good = QUIET + '    local-data: "a.example. A 192.0.2.1"\n'
        with Resolver(good, tmp_path) as resolver:
            resolver.write(good + '    local-data: "b.example. A 192.0.2.300"\n    no-such-option: 1\n')
            resolver.signal(signal.SIGHUP)
            log = resolver.wait_for_log("nothing changed")
            last = len(resolver.conf.read_text().splitlines())
            assert f"{resolver.conf}:{last}" in log
            assert f"{resolver.conf}:{last - 1}" in log
            assert texts(resolver, "a.example.") == ["192.0.2.1"]
            resolver.write(good + '    local-data: "b.example. A 192.0.2.3"\n')
            resolver.signal(signal.SIGHUP)
            resolver.wait_for_log("change applied")
            assert texts(resolver, "b.example.") == ["192.0.2.3"]

    def test_no_question_is_lost_meanwhile(self, tmp_path: Path) -> None:
        zones = "".join(f'    local-data: "n{number}.example. A 192.0.2.1"\n' for number in range(2000))
        with Resolver(QUIET + zones, tmp_path) as resolver:
            lost: list[int] = []
            stop = threading.Event()

            def ask() -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    if exchange(Ask(f"n{number % 2000}.example."), resolver.at, 2.0) is None:
                        lost.append(number)

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(5):
                resolver.signal(signal.SIGHUP)
                time.sleep(0.2)
            stop.set()
            for thread in threads:
                thread.join()
            assert not lost


class TestEnd:
    """SIGTERM and SIGINT."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_with_0(self, tmp_path: Path, number: int) -> None:
        with Resolver(QUIET, tmp_path) as resolver:
            resolver.signal(number)
            assert resolver.process.wait(5) == 0
            assert exchange(Ask("localhost."), resolver.at, 0.2) is None

    def test_what_is_in_flight_is_finished(self, tmp_path: Path) -> None:
        with Lab(tmp_path / "lab") as lab:
            forward = f'{QUIET}forward-zone:\n    name: "."\n    forward-addr: {lab.address}@{lab.port}\n'
            with Resolver(forward, tmp_path / "runbound") as resolver:
                got: list[bytes | None] = []
                asking = threading.Thread(
                    target=lambda: got.append(exchange(Ask("slow.example.com."), resolver.at, 4.0))
                )
                asking.start()
                time.sleep(0.1)
                resolver.signal(signal.SIGTERM)
                asking.join()
                assert got[0] is not None, resolver.log()
                assert resolver.process.wait(8) == 0


class TestFiles:
    """The pidfile and the state directory."""

    def test_the_pidfile_holds_the_pid_and_goes_away(self, tmp_path: Path) -> None:
        head = HEAD.replace('pidfile: ""', 'pidfile: "{folder}/run.pid"')
        with Resolver(QUIET, tmp_path, head=head) as resolver:
            resolver.wait_for_log("start of service")
            assert int((tmp_path / "run.pid").read_text()) == resolver.pid
            assert resolver.stop() == 0
        assert not (tmp_path / "run.pid").exists()

    def test_no_pidfile_when_told(self, tmp_path: Path) -> None:
        head = HEAD.replace('pidfile: ""', 'pidfile: "{folder}/run.pid"')
        with Resolver(QUIET, tmp_path, head=head, arguments=("-d", "-p")) as resolver:
            resolver.wait_for_log("start of service")
            assert not (tmp_path / "run.pid").exists()

    def test_a_second_process_is_refused(self, tmp_path: Path) -> None:
        with Resolver(f'    state-dir: "{tmp_path}/state"\n', tmp_path / "one") as first:
            (tmp_path / "two").mkdir()
            conf = write(tmp_path / "two", f'    state-dir: "{tmp_path}/state"\n', free_port())
            second = run(["-c", conf], tmp_path / "two")
            assert second.returncode == 1
            assert str(first.pid) in second.stderr


class TestRefusals:
    """Starts that must not succeed, and what they say."""

    def test_a_taken_port(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            result = run(["-c", write(tmp_path, QUIET, port)], tmp_path)
        assert result.returncode == 1
        assert f"127.0.0.1@{port}" in result.stderr or f"127.0.0.1:{port}" in result.stderr

    def test_a_broken_file_shows_every_error_with_its_place(self, tmp_path: Path) -> None:
        conf = write(tmp_path, '    access-control: "10.0.0.0/33" allow\n    verbosty: 1\n', free_port())
        result = run(["-c", conf], tmp_path)
        assert result.returncode == EXIT_CONFIG
        last = len(conf.read_text().splitlines())
        assert f"{conf}:{last - 1}:" in result.stderr
        assert f"{conf}:{last}:" in result.stderr
        assert "verbosity" in result.stderr, "the misspelt option should be guessed"
        assert "^" in result.stderr, "a caret should point at the place"

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        result = run(["-c", tmp_path / "none.conf"], tmp_path)
        assert result.returncode != 0
        assert "none.conf" in result.stderr

    @pytest.mark.parametrize(
        "body",
        [
            'forward-zone:\n    name: "."\n    forward-addr: 192.0.2.1@853\n    forward-tls-upstream: yes\n',
            '    module-config: "respip iterator"\nrpz:\n    name: "rpz.example."\n    zonefile: "rpz.zone"\n',
            "    serve-original-ttl: yes\n",
        ],
        ids=["encrypts", "filters", "changes answers"],
    )
    def test_an_option_that_protects_and_is_not_built_yet(self, tmp_path: Path, body: str) -> None:
        (tmp_path / "rpz.zone").write_text("@ 60 IN SOA . . 1 1 1 1 1\n")
        conf = write(tmp_path, QUIET + body, free_port())
        result = run(["-c", conf], tmp_path)
        assert result.returncode == EXIT_CONFIG, result.stderr
        assert f"{conf}:" in result.stderr
        assert "--allow-missing" in result.stderr

    def test_allow_missing_starts_all_the_same(self, tmp_path: Path) -> None:
        body = QUIET + "    serve-original-ttl: yes\n"
        with Resolver(body, tmp_path, arguments=("-d", "--allow-missing")) as resolver:
            assert "serve-original-ttl" in resolver.log()


class TestRights:
    """Dropping root."""

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_only_the_right_to_bind_low_ports_is_kept(self, public_folder: Path) -> None:
        head = HEAD.replace('username: ""', 'username: "nobody"')
        with Resolver(QUIET + '    local-data: "a.example. A 192.0.2.1"\n', public_folder, head=head) as resolver:
            resolver.wait_for_log("start of service")
            tasks = list(Path(f"/proc/{resolver.pid}/task").iterdir())
            assert tasks
            for task in tasks:
                lines = (task / "status").read_text().splitlines()
                status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                assert set(status["Uid"].split()) == {"65534"}, task
                assert int(status["CapEff"], 16) == CAP_NET_BIND_SERVICE, task
                assert int(status["CapPrm"], 16) == CAP_NET_BIND_SERVICE, task
                assert status["NoNewPrivs"] == "1", task
            assert texts(resolver, "a.example.") == ["192.0.2.1"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_an_account_that_is_not_there(self, tmp_path: Path) -> None:
        conf = write(tmp_path, QUIET, free_port())
        conf.write_text(conf.read_text().replace('username: ""', 'username: "no-such-account"'))
        result = run(["-c", conf], tmp_path)
        assert result.returncode != 0
        assert "no-such-account" in result.stderr


class TestServiceManager:
    """What systemd expects."""

    def test_notifications(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(10)
            with Resolver(QUIET, tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as resolver:
                assert b"READY=1" in manager.recv(4096)
                resolver.signal(signal.SIGHUP)
                reloading = manager.recv(4096)
                assert b"RELOADING=1" in reloading
                assert b"MONOTONIC_USEC=" in reloading
                assert b"READY=1" in manager.recv(4096)
                resolver.signal(signal.SIGTERM)
                assert b"STOPPING=1" in manager.recv(4096)

    def test_sockets_are_handed_over(self, tmp_path: Path) -> None:
        port = free_port()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams,
        ):
            datagrams.bind(("127.0.0.1", port))
            streams.bind(("127.0.0.1", port))
            streams.listen()
            conf = write(tmp_path, QUIET + "    use-systemd: yes\n", port)
            # The descriptors must be 3 and 4, and LISTEN_PID the program's own id, which only the child knows.
            script = (
                f"exec 8<&{datagrams.fileno()} 9<&{streams.fileno()}; exec 3<&8 4<&9 8<&- 9<&-; "
                f'export LISTEN_FDS=2 LISTEN_PID=$$; exec "{RUNBOUND}" -d -c "{conf}"'
            )
            with Handed(script, tmp_path, (datagrams.fileno(), streams.fileno())) as process:
                process.wait_for_log("start of service")
                datagrams.close()
                streams.close()
                assert exchange(Ask("localhost."), ("127.0.0.1", port), 2.0) is not None
                assert exchange(Ask("localhost.", tcp=True), ("127.0.0.1", port), 2.0) is not None


class Handed(Process):
    """A process begun by a shell with sockets of ours."""

    def __init__(self, script: str, folder: Path, sockets: tuple[int, ...]) -> None:
        state = {"STATE_DIRECTORY": str(folder / "state")}
        super().__init__(["/bin/bash", "-c", script], folder, state, pass_fds=sockets)


def test_how_long_a_start_takes_and_what_it_holds(tmp_path: Path) -> None:
    """Prints figures; `./dev accept` judges them on a machine that does nothing else."""
    with Resolver(QUIET, tmp_path) as resolver:
        time.sleep(0.5)
        status = Path(f"/proc/{resolver.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"first answer after {resolver.start_seconds:.2f} s, {resident / 1024:.0f} MiB resident without the API")
