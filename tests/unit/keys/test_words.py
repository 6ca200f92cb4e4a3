"""Words for failures: each says what, with function, code and name, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runbound.keys import words
from runbound.keys.messages import Failure, Warned
from runbound.keys.settings import HsmSettings, PinSource

RUST = Path(__file__).resolve().parents[3] / "crates" / "hsm" / "src"
SETTINGS = HsmSettings(
    module="/usr/lib/softhsm/libsofthsm2.so",
    slot=None,
    token_label="runbound-dev",
    token_serial=None,
    token_model=None,
    token_manufacturer=None,
    labels={"api": "runbound-api-key"},
    id=None,
    mode="extract",
    timeout_s=30,
    final_try=False,
    pin=PinSource("file", "/etc/runbound/hsm.pin"),
)


@pytest.mark.parametrize("kind", sorted(words.kinds()))
def test_every_kind_says_what_and_what_to_do(kind: str) -> None:
    for settings in (None, SETTINGS):
        what, fix = words.explain(Failure(kind=kind, detail="det{ail}"), settings)
        assert "det{ail}" in what
        assert not re.search(r"\{[a-z]+\}", (what + fix).replace("det{ail}", "")), "nothing is left to be filled in"
        assert fix


def test_the_code_stands_in_full() -> None:
    failure = Failure(
        kind="login-pin",
        function="C_Login",
        code=0xA0,
        name="CKR_PIN_INCORRECT",
        detail="C_Login returned CKR_PIN_INCORRECT",
    )
    what, fix = words.explain(failure, SETTINGS)
    assert what.startswith("PKCS#11: C_Login: 0x000000a0 (CKR_PIN_INCORRECT): ")
    assert "returned" not in what, "what the head says is not said again"
    assert "hsm-pin-file /etc/runbound/hsm.pin" in fix
    vendor = words.explain(Failure(kind="other", function="C_Sign", code=0x80000001))
    assert "C_Sign: 0x80000001 (a code of the vendor)" in vendor.what


@pytest.mark.parametrize(
    ("kind", "code_name", "fix"),
    [
        ("module-missing", "CKR_HOST_MEMORY", "ldd /usr/lib/softhsm/libsofthsm2.so"),
        ("module-load", "CKR_HOST_MEMORY", "hsm-pkcs11-lib"),
        ("login-pin", "CKR_PIN_INCORRECT", "/etc/runbound/env, chmod 640"),
        ("label-absent", "CKR_OBJECT_HANDLE_INVALID", "pkcs11-tool --list-objects"),
        ("not-extractable", "CKA_EXTRACTABLE = false", "--extractable"),
        ("sensitive", "CKA_SENSITIVE = true", "hsm-mode: in-token"),
        ("value-empty", "CKA_EXTRACTABLE = false", "hsm-mode: in-token"),
    ],
)
def test_who_searches_for_a_name_of_the_error_table_finds_it(kind: str, code_name: str, fix: str) -> None:
    found = words.explain(Failure(kind=kind), SETTINGS)
    assert code_name in found.what
    assert fix in found.fix


def test_a_missing_label_tells_which_there_are() -> None:
    assert "the token has: one, two" in words.explain(Failure(kind="label-absent", labels=["one", "two"])).fix
    assert "no key at all" in words.explain(Failure(kind="label-absent")).fix


def test_the_account_is_named() -> None:
    assert "usermod -a -G softhsm runbound" in words.explain(Failure(kind="initialize", account="runbound")).fix


def test_a_kind_nobody_knows_has_words_too() -> None:
    assert "det" in words.explain(Failure(kind="new", detail="det")).what
    assert words.warning(Warned(kind="new-thing", role="api", detail="det")).what == "api key: new thing: det"


def test_every_kind_of_the_helper_is_known() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in RUST.glob("*.rs"))
    used = set(re.findall(r'(?:failure|as_kind)\(\s*"([a-z0-9-]+)"', source))
    assert "label-absent" in used
    assert used <= words.kinds()


def test_what_a_module_says_is_one_short_line() -> None:
    evil = "x\nrunbound: info: all is well\x1b[2J" + "y" * 10_000
    failure = Failure(kind="label-absent", function=evil, code=5, name=evil, detail=evil, labels=[evil] * 1000)
    for found in (words.explain(failure), words.warning(Warned(kind=evil, role="api", detail=evil))):
        assert (found.what + found.fix).isprintable()
        assert len(found.what) < 3000
    assert "and 980 more" in words.explain(failure).fix


def test_every_warning_of_the_helper_is_known() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in RUST.glob("*.rs"))
    used = set(re.findall(r'\bwarn(?:ing)?\(\s*"([a-z0-9-]+)"', source))
    assert "extractable" in used
    assert not {kind for kind in used if words.warning(Warned(kind=kind)).fix == "see runbound hsm doctor"}
