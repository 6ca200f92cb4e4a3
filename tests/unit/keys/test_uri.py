"""PKCS#11 URIs: what they mean, what is refused, and that they come back as they were."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbound.keys.uri import TYPES, BadUriError, Pkcs11Uri, parse


def texts(octets: int) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, min_size=1).filter(lambda text: len(text.encode()) <= octets)


def maybe(values: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | values


paths = texts(60).map(lambda text: "/" + text.lstrip("/"))
names = texts(30).filter(lambda text: "/" not in text)
uris = st.builds(
    Pkcs11Uri,
    token=maybe(texts(32)),
    manufacturer=maybe(texts(32)),
    serial=maybe(texts(16)),
    model=maybe(texts(16)),
    object=maybe(texts(64)),
    id=st.none() | st.binary(min_size=1, max_size=20),
    type=st.none() | st.sampled_from(TYPES),
    module_path=maybe(paths),
    pin_source=maybe(paths),
) | st.builds(Pkcs11Uri, token=maybe(texts(32)), module_name=names)


@given(uris)
def test_a_uri_comes_back_as_it_was(uri: Pkcs11Uri) -> None:
    text = str(uri)
    assert text.isascii()
    assert parse(text) == uri
    assert str(parse(text)) == text


@given(texts(32), st.data())
def test_any_octet_may_be_percent_encoded_in_either_case(label: str, data: st.DataObject) -> None:
    lower = data.draw(st.booleans())
    coded = "".join(f"%{octet:02x}" if lower else f"%{octet:02X}" for octet in label.encode())
    assert parse(f"pkcs11:token={coded}").token == label
    assert parse(f"pkcs11:token={quote(label, safe='')}").token == label


@given(st.text())
def test_any_text_is_a_uri_or_is_refused(text: str) -> None:
    for tried in (text, f"pkcs11:{text}", f"pkcs11:token=a?{text}"):
        with contextlib.suppress(BadUriError):
            found = parse(tried)
            assert parse(str(found)) == found


def test_what_tools_print_is_understood() -> None:
    uri = parse(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=7b1fc3d5;token=runbound-dev;"
        "id=%01%ff;object=runbound-api-key;type=secret-key?module-path=/usr/lib/softhsm/libsofthsm2.so"
    )
    assert (uri.model, uri.manufacturer) == ("SoftHSM v2", "SoftHSM project")
    assert (uri.serial, uri.token) == ("7b1fc3d5", "runbound-dev")
    assert (uri.id, uri.object) == (b"\x01\xff", "runbound-api-key")
    assert uri.module_path == "/usr/lib/softhsm/libsofthsm2.so"


@pytest.mark.parametrize("written", ["file:/etc/pin", "file:///etc/pin", "file://localhost/etc/pin", "/etc/pin"])
def test_a_pin_source_is_a_file(written: str) -> None:
    assert parse(f"pkcs11:token=a?pin-source={written}").pin_source == "/etc/pin"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("token=a", "does not start with pkcs11:", "RFC 7512"),
        ("pkcs11:token", '"token" has no value', "name=value"),
        ("pkcs11:token=x?pin-value:1234", "an attribute has no value", "name=value"),
        ("pkcs11:token=x;12%34", "an attribute has no value", "name=value"),
        ("pkcs11:token=a;token=b", "stands twice", "leave one"),
        ("pkcs11:token=a b", "cannot stand", "%20"),
        ("pkcs11:token=ü", "cannot stand", "%C3%BC"),
        ("pkcs11:token=50%", "two hexadecimal digits", "%25"),
        ("pkcs11:token=%ff", "no UTF-8", "id="),
        ("pkcs11:token=%00", "NUL", "%00"),
        ("pkcs11:token=", "is empty", "leave it out"),
        (f"pkcs11:token={'a' * 33}", "33 octets", "pkcs11-tool"),
        ("pkcs11:slot-id=3", "not looked at", "hsm-slot"),
        ("pkcs11:tokens=a", 'no attribute "tokens"', "token"),
        ("pkcs11:module-path=/a.so", "behind a question mark", "?module-path"),
        ("pkcs11:type=cert", '"cert"', "secret-key"),
        ("pkcs11:id=", "is empty", "%01"),
        ("pkcs11:token=a?object=b", "before the question mark", "object"),
        ("pkcs11:token=a?pin-source=|pinentry", "program", "file:"),
        ("pkcs11:token=a?pin-source=pin", "whole path", "file:/"),
        ("pkcs11:token=a?module-path=p11.so", "whole path", ".so"),
        ("pkcs11:token=a?module-name=/usr/lib/p11", "without folders", "module-path"),
        ("pkcs11:?module-name=a&module-path=/a.so", "both name the module", "leave one"),
        ("pkcs11:?wait=1", 'no attribute "wait"', "pin-source"),
    ],
)
def test_what_is_refused_says_why_and_what_to_write(text: str, what: str, hint: str) -> None:
    with pytest.raises(BadUriError) as refused:
        parse(text)
    assert what in refused.value.text
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a?pin-value=86420",
        "pkcs11:token=a?module-path=/a.so&pin-value=86420",
        "pkcs11:token=a?PIN-VALUE=86420",
        "pkcs11:pin-value=86420",
        "pkcs11:token=a?pin-value=86420&x",
        "pkcs11:token=a?pin-value=864%zz20",
    ],
)
def test_a_pin_in_the_uri_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadUriError) as refused:
        parse(text)
    assert "pin-value" in refused.value.text
    assert "pin-source=file:" in refused.value.hint
    assert "864" not in refused.value.text + refused.value.hint
