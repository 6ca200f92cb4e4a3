"""Sinks of the audit log: each line once in the file whatever happens to it, at least once over a socket."""

from __future__ import annotations

import gzip
import json
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from runbound.engine import SecretKey
from runbound.ops import sinks
from runbound.ops.sinks import FileSink, JournalSink, SyslogSink
from runbound.state.entries import Event
from runbound.state.trail import Chain

if TYPE_CHECKING:
    from pathlib import Path

KEY = SecretKey(b"k" * 32)


class Noted(msgspec.Struct, frozen=True):
    """How far a sink came."""

    seq: int
    inode: tuple[int, int] | None = None


def rows(count: int) -> list[tuple[int, str]]:
    chain = Chain(KEY)
    return [(number, chain.append(number, Event("a", "bob", {"n": number}))) for number in range(1, count + 1)]


ROWS = rows(20)


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_a_file_is_private_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = FileSink(str(path))
    sink.go_on(None)
    assert sink.seq == 0
    sink.write(ROWS[:3])
    sink.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = FileSink(str(path))
    again.go_on(Noted(1, (0, 0)))
    assert again.seq == 3, "the file knows better than the note"
    again.write(ROWS[3:5])
    again.close()
    assert path.read_text() == "".join(f"{line}\n" for _, line in ROWS[:5])


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_line_that_broke_off_is_written_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "audit.log"
    whole = "".join(f"{line}\n" for _, line in ROWS[:3])
    path.write_text(whole + ROWS[3][1][:kept])
    sink = FileSink(str(path))
    sink.go_on(None)
    sink.write(ROWS[sink.seq : 6])
    sink.close()
    assert numbers(path) == [1, 2, 3, 4, 5, 6]


def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("# mine\nnothing\n")
    sink = FileSink(str(path))
    sink.go_on(None)
    assert sink.last is None
    sink.write(ROWS[:1])
    sink.close()
    assert path.read_text() == f"# mine\nnothing\n{ROWS[0][1]}\n"


def test_after_rotation_a_new_file_goes_on_from_the_note(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = FileSink(str(path))
    sink.write(ROWS[:3])
    note = Noted(3, sink.inode)
    path.rename(tmp_path / "audit.log.1")
    sink.write(ROWS[3:5])
    sink.reopen()
    sink.write(ROWS[5:6])
    sink.close()
    assert numbers(tmp_path / "audit.log.1") == [1, 2, 3, 4, 5]
    assert numbers(path) == [6]
    path.unlink()
    path.touch()
    crashed = FileSink(str(path))
    crashed.go_on(note)
    assert crashed.seq == 5, "the moved file was written to after the note was made"
    crashed.close()


def test_a_file_that_was_emptied_goes_on_from_the_note(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = FileSink(str(path))
    sink.write(ROWS[:3])
    note = Noted(3, sink.inode)
    sink.close()
    os.truncate(path, 0)
    again = FileSink(str(path))
    again.go_on(note)
    assert again.seq == 3
    again.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    sink = FileSink(str(path))
    sink.write(ROWS[:2])
    write, calls = os.write, []

    def full(fd: int, octets: bytes) -> int:
        calls.append(len(octets))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(fd, octets[: len(octets) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        sink.write(ROWS[2:5])
    monkeypatch.undo()
    assert sink.seq == 2
    sink.write(ROWS[2:5])
    sink.close()
    assert numbers(path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("packed", [False, True])
def test_the_last_line_of_a_file_is_found(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "audit.log"
    octets = "".join(f"{line}\n" for _, line in ROWS * 200).encode() + b"broken"
    path.write_bytes(gzip.compress(octets) if packed else octets)
    found = sinks.last_line(str(path))
    assert found is not None
    assert found.seq == 20
    assert sinks.last_line(str(tmp_path / "none")) is None
    path.write_bytes(b"\x1f\x8bnothing")
    assert sinks.last_line(str(path)) is None


def test_syslog_gets_a_message_for_each_line(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        sink = SyslogSink({sinks.SYSLOG_VARIABLE: path})
        sink.write(ROWS[:2])
        for _, line in ROWS[:2]:
            message = daemon.recv(65536).decode()
            assert message.startswith("<86>")
            head, found = message.split(": ", 1)
            assert head.endswith(f" runbound[{os.getpid()}]")
            assert found == line
        assert sink.seq == 2
        sink.close()


def test_syslog_over_a_stream(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(path)
        daemon.listen()
        sink = SyslogSink({sinks.SYSLOG_VARIABLE: path})
        sink.write(ROWS[:2])
        sink.close()
        connection, _ = daemon.accept()
        with connection:
            lines = connection.makefile().read().splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [line for _, line in ROWS[:2]]


def test_the_journal_gets_the_line_to_the_octet_and_fields_beside_it(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    chain = Chain(KEY)
    odd = chain.append(1, Event("a", "b\nRUNBOUND_AUDIT_SEQ=7", {"t": "x\ny=\u2028é"}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        sink = JournalSink({sinks.JOURNAL_VARIABLE: path})
        sink.write([(1, odd)])
        sink.close()
        fields = dict(line.split("=", 1) for line in daemon.recv(65536).decode().split("\n") if line)
    assert fields["MESSAGE"] == odd
    assert fields["RUNBOUND_AUDIT_SEQ"] == "1"
    assert fields["RUNBOUND_AUDIT_EVENT"] == "a"
    assert fields["RUNBOUND_AUDIT_ACTOR"] == "b RUNBOUND_AUDIT_SEQ=7"
    assert fields["SYSLOG_IDENTIFIER"] == "runbound"


def test_a_daemon_that_is_missing_or_restarts_is_found_again(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    sink = SyslogSink({sinks.SYSLOG_VARIABLE: path})
    with pytest.raises(FileNotFoundError):
        sink.write(ROWS[:1])
    for number in (1, 2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(path)
            try:
                sink.write(ROWS[number - 1 : number])
            except OSError:  # the first after a restart finds the old connection broken
                sink.write(ROWS[number - 1 : number])
            assert daemon.recv(65536).decode().endswith(ROWS[number - 1][1])
        os.unlink(path)
    assert sink.seq == 2
    sink.close()


def test_a_daemon_that_does_not_read_holds_up_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SEND_SECONDS", 0.05)
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        sink = SyslogSink({sinks.SYSLOG_VARIABLE: path})
        many = rows(5000)
        with pytest.raises(TimeoutError):
            sink.write(many)
        got = sink.seq
        assert 0 < got < 5000
        received: list[bytes] = []

        def read() -> None:
            while len(received) < 5000:
                received.append(daemon.recv(65536))

        reader = threading.Thread(target=read)
        reader.start()
        while sink.seq < 5000:
            sink.write(many[sink.seq :])
        reader.join()
        sink.close()
    assert [message.decode().split(": ", 1)[1] for message in received] == [line for _, line in many]
