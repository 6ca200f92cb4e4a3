"""Keys and codes across the door: what is wiped, what is never given back, and codes that Python makes too."""

from __future__ import annotations

import hmac
import json
import pickle
import struct

import pytest

from runbound.engine import SecretKey, check_rows, mac_row, verify_signature

SECRET = b"0123456789abcdef" * 2


def code(kind: str, number: int, key: bytes, doc: str, revision: int) -> bytes:
    """What Rust makes, written a second time."""

    def led(octets: bytes) -> bytes:
        return struct.pack("<Q", len(octets)) + octets

    data = led(kind.encode()) + struct.pack("<q", number) + led(key) + led(doc.encode()) + struct.pack("<q", revision)
    return hmac.digest(SECRET, data, "sha256")


def test_codes_are_those_of_the_standard_library() -> None:
    key = SecretKey(SECRET)
    mac = key.mac(b"data")
    assert mac == hmac.digest(SECRET, b"data", "sha256")
    assert key.verify(b"data", mac)
    assert not key.verify(b"data", mac[:16])
    assert not key.verify(b"date", mac)
    extracted = hmac.digest(b"runbound vault 1", SECRET, "sha256")
    assert key.derive("journal").mac(b"x") == hmac.digest(
        hmac.digest(extracted, b"journal\1", "sha256"), b"x", "sha256"
    )


def test_a_bytearray_is_wiped_even_when_refused() -> None:
    secret, short = bytearray(SECRET), bytearray(b"short")
    assert SecretKey(secret).mac(b"") == hmac.digest(SECRET, b"", "sha256")
    assert secret == bytes(32)
    with pytest.raises(ValueError, match="5 octets is too short: at least 32"):
        SecretKey(short)
    assert short == bytes(5)


def test_nothing_gives_the_secret_back() -> None:
    key = SecretKey(SECRET)
    shown = repr(key) + str(key) + "".join(str(getattr(key, name)) for name in dir(key))
    assert SECRET.decode() not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_signatures() -> None:
    key = SecretKey(SECRET).derive("audit")
    signature = key.sign(b"data")
    assert verify_signature(key.public_key(), b"data", signature)
    assert not verify_signature(key.public_key(), b"date", signature)
    assert not verify_signature(SecretKey(SECRET).public_key(), b"data", signature)
    assert not verify_signature(b"", b"data", b"")


def test_rows_are_counted_summed_and_checked() -> None:
    rows = [(n, b"\x00key%d" % n, json.dumps({"name": f"é{n}."}), 5) for n in range(1, 40)]
    macs = {n: mac_row(SecretKey(SECRET), "record", n, k, doc, rev) for n, k, doc, rev in rows}
    assert macs == {n: code("record", n, k, doc, rev) for n, k, doc, rev in rows}
    sent = [[n, k.hex(), doc, rev, macs[n][:16].hex().upper()] for n, k, doc, rev in rows]
    total = sum(int.from_bytes(mac, "little") for mac in macs.values()) % 2**256
    key = SecretKey(SECRET)
    assert check_rows(key, "record", json.dumps(sent).encode()) == (39, total.to_bytes(32, "little"), [])
    sent[3][2] = sent[4][2]
    sent[8][3] = 6
    assert check_rows(key, "record", json.dumps(sent).encode())[2] == [4, 9]
    assert check_rows(key, "block", json.dumps(sent).encode())[2] == list(range(1, 40))
    with pytest.raises(ValueError, match="not rows of the state"):
        check_rows(key, "record", b"{}")


def test_the_public_key_is_no_secret() -> None:
    assert SecretKey.public().mac(b"x") == SecretKey.public().mac(b"x")
    assert SecretKey.public().mac(b"x") != SecretKey(SECRET).mac(b"x")
