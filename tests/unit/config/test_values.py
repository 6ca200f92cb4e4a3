"""What texts mean, as unbound-checkconf takes them; the section names are those of unbound.conf(5)."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbound.config import values


def take(kind: str, text: str) -> tuple[object, list[str]]:
    warned: list[str] = []
    found = values.read(kind, text, lambda what, _hint: warned.append(what), frozenset({"t1", "t2"}))
    return found, warned


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *(("yesno", "yes", True), ("yesno", "no", False), ("looseyesno", "maybe", False)),
        *(("int", "5", 5), ("int", "0", 0), ("int", "+5", 5), ("interval", "", 0), ("date", "-1", "-1")),
        *(("size", "4m", 4 << 20), ("size", "4Kb", 4096), ("size", "4 m", 4 << 20), ("size", "1g", 1 << 30)),
        *(("slabs", "8", 8), ("port", "53", 53), ("dscp", "63", 63), ("nsid", "ascii_x", "ascii_x")),
        *(
            ("interface", "::1@5353", "::1@5353"),
            ("interface", "fe80::1%lo", "fe80::1%lo"),
            ("interface", "eth0", "eth0"),
        ),
        *(("netblock", "192.0.2.77/24", "192.0.2.77/24"), ("netblock", "::ffff:127.0.0.1", "::ffff:127.0.0.1")),
        *(
            ("server", "1.1.1.1@853#one.example", "1.1.1.1@853#one.example"),
            ("source", "2001:db8::/64", "2001:db8::/64"),
        ),
        *(("name", r"a\.b.test", r"a\.b.test"), ("name", ".", "."), ("name", "bücher.test.", "bücher.test.")),
        *(("ports", "3200-3208", "3200-3208"), ("tags", "t1 t2", "t1 t2"), ("portlist", "53 853", "53 853")),
        *(("acl", "allow_cookie", "allow_cookie"), ("localtype", "always_null", "always_null")),
        *(("keysizes", "1024 150 2048 500", "1024 150 2048 500"), ("policy", "3 2 -1", "3 2 -1")),
    ],
)
def test_taken(kind: str, text: str, value: object) -> None:
    assert take(kind, text) == (value, [])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *(("int", "3600s", 3600), ("int", "1h", 1), ("int", "2.9", 2), ("port", "53;", 53), ("port", "53#x", 53)),
        *(("int", "-5", 0), ("int", "99999999999", 1215752191), ("ednssize", "70000", 65535), ("idle", "0", 1)),
        *(("hostserver", "192.0.2.1", "192.0.2.1"), ("bits4", "99", 32)),
    ],
)
def test_taken_with_a_warning(kind: str, text: str, value: object) -> None:
    found, warned = take(kind, text)
    assert found == value
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("kind", "text", "what"),
    [
        ("yesno", "YES", "neither yes nor no"),
        ("yesno", "no;", "neither yes nor no"),
        ("int", "0x10", "not a number"),
        ("int", "00", "not a number"),
        ("int", "high", "not a number"),
        ("int", "", "the value is empty"),
        ("level", "-1", "below 0"),
        ("count", "0", "0 is not allowed"),
        ("port", "0", "not a port (1 to 65535)"),
        ("port", "70000", "not a port (1 to 65535)"),
        ("slabs", "3", "not a power of 2"),
        ("size", "1.5m", "not a size"),
        ("size", "-4m", "not a size"),
        ("size", "1t", "not a size"),
        ("ednssize", "11", "too small"),
        ("dscp", "64", "out of bounds (0 to 63)"),
        ("netblock", "10.0.0.0/33", '"10.0.0.0/33" is not a network (prefix is 0 to 32)'),
        ("netblock", "2001:db8::/129", "prefix is 0 to 128"),
        ("netblock", "10/8", "not a network"),
        ("netblock", "10.0.0.0@53/8", "not a network"),
        ("interface", "[::1]:5353", "not an IP address"),
        ("interface", "127.0.0.1@dns", "is not a port"),
        ("server", "192.0.2.1#dns.example@853", "the port stands before the TLS name"),
        ("server", "dns.example", "not an IP address"),
        ("name", "a..b", "a label is empty"),
        ("name", "a" * 64 + ".test", "longer than 63"),
        ("name", "a." * 130, "longer than 255"),
        ("name", "", "is expected"),
        ("acl", "ALLOW", "not allowed here"),
        ("localtype", "Static", "not allowed here"),
        ("ports", "9-a", "not a port or a range"),
        ("ports", "5-4", "low end"),
        ("tags", "t1 t3", '"t3" is not a tag'),
        ("nsid", "foo", "not an NSID"),
        ("cookie", "00", "not a cookie secret"),
        ("date", "foo", "not a date"),
        ("policy", "a b", "not a list of numbers"),
        ("keysizes", "1 2 3", "not made of pairs"),
        ("source", "10.0.0.0/8", "only IPv6"),
        ("enum{a,b}", "c", "not allowed here"),
    ],
)
def test_refused(kind: str, text: str, what: str) -> None:
    with pytest.raises(values.BadValue) as caught:
        take(kind, text)
    assert what in caught.value.text


@pytest.mark.parametrize("kind", sorted({*values.TYPES, "enum{a,b}"}))
def test_octets_that_are_no_text_are_refused(kind: str) -> None:
    with pytest.raises(values.BadValue, match="not UTF-8"):
        take(kind, "b\udcfccher")


@pytest.mark.parametrize("kind", sorted(values.TYPES))
def test_a_number_without_end_is_no_traceback(kind: str) -> None:
    with contextlib.suppress(values.BadValue):
        take(kind, "9" * 5000)


def test_a_size_beyond_any_machine_is_refused() -> None:
    with pytest.raises(values.BadValue, match="more than any machine has"):
        take("size", "99999999999g")


def test_a_secret_stays_out_of_its_message() -> None:
    with pytest.raises(values.BadValue) as caught:
        take("cookie", "geheim")
    assert "geheim" not in caught.value.text


def test_hints_say_what_to_write() -> None:
    hints: list[str | None] = []
    values.number("1h", lambda _text, hint: hints.append(hint))
    assert hints == ["write 3600"]
    for kind, text, hint in (
        ("yesno", "true", "did you mean yes?"),
        ("netblock", "10/8", "write 10.0.0.0/8"),
        ("acl", "ALLOW", "did you mean allow?"),
        ("acl", "alow", "did you mean allow?"),
        ("acl", "drop", f"one of {', '.join(values.ACL_ACTIONS)}"),
        ("interface", "127.0.0.1:53", "no brackets; a port is written behind @: 127.0.0.1@5353, ::1@5353"),
    ):
        with pytest.raises(values.BadValue) as caught:
            take(kind, text)
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D", True),
        (". 3600 IN DS 20326 8 2 E06D44B8 0B8F1D39 ; why", True),
        ("test. IN DNSKEY 257 3 8 AwEAAQ==", True),
        (". DS 20326 8 2 ZZ", False),
        (". A 1.2.3.4", False),
        ("foo", False),
        ("", False),
        (". DNSKEY 257 4 8 AwEAAQ==", False),
    ],
)
def test_trust_anchors(text: str, good: bool) -> None:
    if good:
        assert values.anchor(text) == text
    else:
        with pytest.raises(values.BadValue):
            values.anchor(text)


@given(st.sampled_from(sorted(values.TYPES)), st.text(max_size=40))
def test_any_text_is_taken_or_refused(kind: str, text: str) -> None:
    with contextlib.suppress(values.BadValue):
        take(kind, text)


@given(st.ip_addresses(), st.integers(0, 128))
def test_every_network_is_taken(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> None:
    text = f"{address}/{min(length, address.max_prefixlen)}"
    assert values.netblock(text) == text
