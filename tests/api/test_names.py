"""Names and types as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from runbound.api.names import domain, numbered, record_type


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (".", "."),
        ("example.com", "example.com."),
        ("Example.COM.", "Example.COM."),
        ("_dmarc.example.", "_dmarc.example."),
        (r"a\.b.example", r"a\.b.example."),
        (r"a\032b", r"a\032b."),
        ("@", r"\@."),
        ("bücher.example", "xn--bcher-kva.example."),
        ("BÜCHER.Example", "xn--bcher-kva.Example."),
        ("faß.de", "xn--fa-hia.de."),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah."),
        ("_sip.bücher.example", "_sip.xn--bcher-kva.example."),
    ],
)
def test_names(text: str, name: str) -> None:
    assert domain(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a..b",
        ".a",
        "a" * 64,
        ".".join(["a" * 63] * 4),
        r"\300",
        "a\\",
        "a b",
        "a\n",
        "\x7f",
        r"ü\032",
        "-ü",
        "ü" * 60,
    ],
)
def test_what_could_not_stand_on_the_wire(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        domain(text)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = domain(text)
    except PydanticCustomError:
        return
    assert name.isascii()
    assert name.endswith(".")
    assert domain(name) == name


@pytest.mark.parametrize(
    ("text", "mnemonic"), [("a", "A"), ("TYPE28", "AAAA"), ("type65400", "TYPE65400"), ("ANY", "ANY")]
)
def test_types(text: str, mnemonic: str) -> None:
    assert record_type(text) == mnemonic


def test_a_type_by_its_number() -> None:
    assert numbered("HTTPS") == "TYPE65"


@pytest.mark.parametrize("text", ["", "FOO", "TYPE65536", "TYPE-1", "TYPE0", "OPT", "AXFR", "IXFR", "TSIG", "{a}"])
def test_what_is_no_type_or_no_question(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        record_type(text)
