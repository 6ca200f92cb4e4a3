"""`runbound run --quickstart`: what a newcomer meets in the first minute."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode

from support.packets import Ask, exchange, wait_for_answer
from support.servers import RUNBOUND, Process, free_port

if TYPE_CHECKING:
    from pathlib import Path


def test_quickstart_ends_in_a_resolver_that_says_what_to_try(tmp_path: Path) -> None:
    port, api_port = free_port(), free_port()
    command: list[str | Path] = [RUNBOUND, "run", "--quickstart", "--port", str(port), "--api-port", str(api_port)]
    with Process(command, tmp_path) as process:
        at = ("127.0.0.1", port)
        assert wait_for_answer(at, 15.0) is not None, process.log()
        hints = process.wait_for_log("Ctrl-C stops it")
        assert f"dig @127.0.0.1 -p {port}" in hints
        assert (tmp_path / ".runbound").stat().st_mode & 0o777 == 0o700

        assert records(at, "runbound.home.arpa.") == ["192.0.2.53"]
        reply = exchange(Ask("banner.ads.example."), at, 3.0)
        assert reply is not None
        assert dns.message.from_wire(reply).rcode() == dns.rcode.NXDOMAIN
        # The Internet's answer where there is one, the lab's where there is none.
        assert records(at, "www.example.com."), process.log()
        if "www.signed.lab" in hints:
            assert verdict(at, "www.signed.lab.") == (dns.rcode.NOERROR, True)
            assert verdict(at, "www.plain.lab.") == (dns.rcode.NOERROR, False)
            assert verdict(at, "www.expired.broken.") == (dns.rcode.SERVFAIL, False)

        end = time.monotonic() + 15
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{api_port}/health", timeout=2) as response:
                    assert json.load(response)["status"] == "ok"
                break
            except OSError:
                assert time.monotonic() < end, process.log()
                time.sleep(0.05)
        assert process.stop() == 0


def verdict(at: tuple[str, int], name: str) -> tuple[int, bool]:
    """Response code, and whether the answer is said to be authentic."""
    reply = exchange(Ask(name, ad=True), at, 5.0)
    assert reply is not None
    message = dns.message.from_wire(reply)
    return message.rcode(), bool(message.flags & dns.flags.AD)


def records(at: tuple[str, int], name: str) -> list[str]:
    """The last record set of an answer, as text."""
    reply = exchange(Ask(name), at, 5.0)
    assert reply is not None
    answer = dns.message.from_wire(reply).answer
    return [rdata.to_text() for rdata in answer[-1]] if answer else []
