"""The `hsm-*` options: what they mean together, and what is wrong with them, at its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runbound.config import options, paths
from runbound.config.load import examine
from runbound.engine import scan_text
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys import OPTIONS, settings
from runbound.keys.settings import HsmSettings, PinSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runbound.config.load import Loaded
    from runbound.engine import Scan

LIB = "hsm-pkcs11-lib: /usr/lib/softhsm/libsofthsm2.so"
API = "hsm-api-key-label: runbound-api-key"


def load(*lines: str) -> Loaded[Scan]:
    text = "server:\n" + "".join(f"    {line}\n" for line in lines)
    return examine(scan_text(text.encode(), "test.conf", "/"), "/test.conf", rules=(settings.rule,))


def understood(*lines: str, environ: Mapping[str, str] | None = None) -> HsmSettings:
    config = load(*lines).config
    found = HsmSettings.of(config, lambda name: paths.resolve(config, "/test.conf", name), environ or {})
    assert found is not None
    return found


def errors(*lines: str) -> list[str]:
    return [str(found) for found in load(*lines).diagnostics if found.severity == "error"]


def test_every_option_is_honoured() -> None:
    ours = {option.name for option in options.every("server") if option.name.startswith("hsm-")}
    assert ours == set(OPTIONS)
    assert all(options.honoured(option) for option in options.every("server") if option.name in ours)


def test_without_a_line_there_is_no_module() -> None:
    assert HsmSettings.of(load("verbosity: 1").config, str, {"HSM_PIN": "1234"}) is None


def test_the_specification_as_printed() -> None:
    found = understood(LIB, "hsm-slot: 0", API, "hsm-store-key-label: runbound-store-key", environ={"HSM_PIN": ""})
    assert found.module == "/usr/lib/softhsm/libsofthsm2.so"
    assert found.labels == {"api": "runbound-api-key", "store": "runbound-store-key"}
    assert (found.slot, found.mode, found.timeout_s, found.final_try) == (0, "extract", 30, False)
    assert found.pin == PinSource("environment", "HSM_PIN")
    asked = found.open((1, 2, [3]))
    assert (asked.slot, asked.token_label, asked.account) == (0, None, (1, 2, [3]))
    assert [(want.role, want.label) for want in found.wants()] == [
        ("api", "runbound-api-key"),
        ("store", "runbound-store-key"),
    ]


def test_slot_zero_is_meant_only_while_nothing_names_the_token() -> None:
    assert understood(LIB, API).slot == 0
    assert understood(LIB, API, "hsm-token-label: dev").slot is None
    assert understood(LIB, API, "hsm-uri: pkcs11:serial=12").slot is None
    both = understood(LIB, API, "hsm-token-label: dev", "hsm-slot: 1")
    assert (both.slot, both.token_label) == (1, "dev")


def test_a_uri_alone_is_enough(tmp_path: Path) -> None:
    found = understood(
        f'hsm-uri: "pkcs11:token=a%20b;object=key;id=%01?module-path=/m.so&pin-source=file:{tmp_path}/pin"'
    )
    assert (found.module, found.token_label, found.labels, found.id) == ("/m.so", "a b", {"api": "key"}, b"\x01")
    assert found.pin == PinSource("uri", f"{tmp_path}/pin")
    assert found.wants()[0].id == b"\x01"


def test_option_and_uri_may_say_the_same() -> None:
    found = understood(
        LIB,
        "hsm-api-key-label: k",
        "hsm-token-label: t",
        "hsm-uri: pkcs11:token=t;object=k?module-path=/usr/lib/softhsm/libsofthsm2.so",
    )
    assert (found.token_label, found.labels) == ("t", {"api": "k"})


def test_a_module_by_name(tmp_path: Path) -> None:
    there = {"/usr/lib/softhsm/libsofthsm2.so"}
    assert settings.find_module("softhsm2", there.__contains__) == "/usr/lib/softhsm/libsofthsm2.so"
    assert settings.find_module("other", there.__contains__) is None


@pytest.mark.parametrize(
    ("lines", "place", "what"),
    [
        (("hsm-slot: 0",), "test.conf:2:5", "hsm-slot: has no effect without a module"),
        (("hsm-mode: extract",), "test.conf:2:5", "hsm-mode: has no effect without a module"),
        ((LIB,), "test.conf:2:5", "hsm-pkcs11-lib: names a module, and no key is taken from it"),
        (("hsm-pkcs11-lib: softhsm2.so", API), "test.conf:2:5", '"softhsm2.so" is no whole path'),
        (('hsm-pkcs11-lib: ""', API), "test.conf:2:5", "hsm-pkcs11-lib: it is empty"),
        ((LIB, 'hsm-api-key-label: ""'), "test.conf:3:5", "hsm-api-key-label: it is empty"),
        ((LIB, API, 'hsm-store-key-label: " "'), "test.conf:4:5", "hsm-store-key-label: it is empty"),
        ((LIB, API, "hsm-store-key-label: runbound-api-key"), "test.conf:4:5", "is the API key too"),
        ((LIB, "hsm-audit-key-label: k", "hsm-uri: pkcs11:object=k"), "test.conf:3:5", "is the API key too"),
        ((LIB, API, "hsm-uri: pkcs11:object=other"), "test.conf:3:5", "hsm-uri says object=other"),
        ((LIB, "hsm-uri: pkcs11:id=%01", "hsm-store-key-label: s"), "test.conf:3:5", "id= stands for the API key"),
        ((LIB, API, "hsm-uri: pkcs11:"), "test.conf:4:5", "hsm-uri: it names nothing"),
        ((LIB, API, "hsm-uri: token=a"), "test.conf:4:5", "hsm-uri: it does not start with pkcs11:"),
        ((LIB, API, "hsm-token-label: a", "hsm-uri: pkcs11:token=b"), "test.conf:4:5", "hsm-uri says token=b"),
        ((LIB, API, "hsm-token-serial: a", "hsm-uri: pkcs11:serial=b"), "test.conf:4:5", "hsm-uri says serial=b"),
        ((LIB, API, 'hsm-token-label: ""'), "test.conf:4:5", "hsm-token-label: it is empty"),
        ((LIB, API, f"hsm-token-label: {'a' * 33}"), "test.conf:4:5", "33 octets are more than the 32"),
        ((LIB, API, "hsm-uri: pkcs11:token=a?module-path=/x.so"), "test.conf:4:5", "another module (/x.so)"),
        ((LIB, API, "hsm-uri: pkcs11:?module-name=no-such"), "test.conf:4:5", 'no module "no-such"'),
        ((LIB, API, "hsm-timeout: 0"), "test.conf:4:5", "0 is not 1 to 600"),
        ((LIB, API, "hsm-timeout: 601"), "test.conf:4:5", "601 is not 1 to 600"),
        ((LIB, API, 'hsm-pin: ""'), "test.conf:4:5", "hsm-pin: it is empty"),
        ((LIB, API, 'hsm-pin-file: ""'), "test.conf:4:5", "hsm-pin-file: it is empty"),
        ((LIB, API, "hsm-pin: 1", "hsm-pin-file: /p"), "test.conf:4:5", "the PIN stands in 2 places"),
        ((LIB, API, "hsm-pin-file: /p", "hsm-uri: pkcs11:?pin-source=/q"), "test.conf:5:5", "/p and pin-source /q"),
        ((LIB, API, "hsm-mode: both"), "test.conf:4:15", "both"),
    ],
)
def test_what_is_wrong_is_said_at_its_line(lines: tuple[str, ...], place: str, what: str) -> None:
    found = errors(*lines)
    assert len(found) == 1, found
    assert found[0].startswith(place)
    assert what in found[0]
    config = load(*lines).config
    if "hsm-mode" not in what and what != "both":
        with pytest.raises(RunboundError) as refused:
            HsmSettings.of(config, str, {})
        assert refused.value.exit_code == EXIT_CONFIG
        assert refused.value.where == place
        assert refused.value.fix


def test_all_that_is_wrong_is_told_in_one_run() -> None:
    found = errors("do-ip4: no", "do-ip6: no", LIB, 'hsm-api-key-label: ""', "hsm-timeout: 0")
    assert len(found) == 3


def test_a_pin_is_never_shown() -> None:
    shown = "".join(errors(LIB, API, 'hsm-uri: "pkcs11:token=a?pin-value=86420"'))
    assert "pin-value=" in shown
    assert "86420" not in shown
    loaded = load(LIB, API, "hsm-pin: 86420")
    assert loaded.ok
    warned = "".join(map(str, loaded.diagnostics))
    assert "a PIN in the configuration file is known to whoever reads the file" in warned
    assert "HSM_PIN" in warned
    assert "86420" not in warned


def test_store_and_audit_with_one_key_is_a_warning() -> None:
    loaded = load(LIB, "hsm-store-key-label: k", "hsm-audit-key-label: k")
    assert loaded.ok
    assert [found.severity for found in loaded.diagnostics] == ["warning"]


def test_where_the_pin_may_stand(tmp_path: Path) -> None:
    credential = tmp_path / "hsm-pin"
    credential.write_text("1234")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert understood(LIB, API, environ=environ).pin == PinSource("credential", str(credential))
    assert understood(LIB, API, environ={"CREDENTIALS_DIRECTORY": "/nowhere"}).pin == PinSource("none")
    assert understood(LIB, API, "hsm-pin-file: pin").pin == PinSource("file", "/pin")
    assert understood(LIB, API, "hsm-pin: 1234").pin == PinSource("option", "hsm-pin")
    named = understood(LIB, API, f"hsm-pin-file: {credential}", environ=environ)
    assert named.pin.kind == "credential", "an option that names the credential is no second place"


def test_two_places_of_which_one_is_the_environment(tmp_path: Path) -> None:
    config = load(LIB, API, "hsm-pin-file: /p").config
    with pytest.raises(RunboundError, match="the environment variable HSM_PIN") as refused:
        HsmSettings.of(config, str, {"HSM_PIN": "1"})
    assert "hsm-pin-file /p" in refused.value.what
    assert refused.value.where == "test.conf:4:5"


def test_files_are_looked_at_only_when_asked(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1234")
    pin.chmod(0o644)
    lines = ("hsm-pkcs11-lib: /nowhere/p11.so", API, f"hsm-pin-file: {pin}")
    assert not errors(*lines)
    found = {problem.text: problem.hint for problem in settings.files(load(*lines).config, understood(*lines))}
    module, file = found
    assert "CKR_HOST_MEMORY" in module
    assert "ldd /nowhere/p11.so" in found[module]
    assert "mode 0644" in file
    assert found[file] == f"chmod o= {pin}"
    pin.chmod(0o640)
    assert settings.pin_file_problem(str(pin)) is None


def test_a_module_others_can_change_is_none(tmp_path: Path) -> None:
    module = tmp_path / "p11.so"
    module.write_bytes(b"\x7fELF")
    module.chmod(0o666)
    problem = settings.module_problem(str(module))
    assert problem is not None
    assert problem[1] in (f"chmod go-w {module}", f"chown root: {module}")
    assert settings.module_problem(str(tmp_path)) == (f'"{tmp_path}" is no file', "name the module itself, a .so")
