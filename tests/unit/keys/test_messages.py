"""Messages to the helper: they survive the way, and a failure is told from an answer."""

from __future__ import annotations

import msgspec
import pytest

from runbound.keys import messages


def test_a_request_survives_the_way() -> None:
    asked = messages.Load(
        open=messages.Open(module="/lib/p11.so", slot=0, account=(1, 2, [3])),
        mode="extract",
        wants=[messages.Want(role="store", label="k", id=b"\x01")],
        nonce=bytes(32),
    )
    octets = messages.encode(asked)
    assert messages.decode_request(octets) == asked
    plain = msgspec.msgpack.decode(octets)
    assert plain["op"] == "load"
    assert plain["open"]["token_label"] is None, "every field is there, also without a value"


def test_a_failure_is_no_answer() -> None:
    octets = msgspec.msgpack.encode({"error": {"kind": "login-pin", "function": "C_Login", "code": 160}})
    found = messages.decode(octets, messages.Probed)
    assert isinstance(found, messages.Failure)
    assert (found.kind, found.code, found.labels) == ("login-pin", 160, [])


def test_a_reply_may_know_more_than_we() -> None:
    octets = msgspec.msgpack.encode({"present": True, "failure": None, "later": 1})
    assert messages.decode(octets, messages.Probed) == messages.Probed(present=True)


def test_other_octets_are_no_reply() -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode(msgspec.msgpack.encode({"deleted": "many"}), messages.Deleted)


@pytest.mark.parametrize(
    "octets", [b"", b"\x81\xa1x" + b"\x91" * 100_000 + b"\xc0", b"\x81\xa5error\x81\xa4kind\xa1\xff"]
)
def test_what_a_broken_helper_says_is_one_kind_of_error(octets: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode(octets, messages.Probed)
