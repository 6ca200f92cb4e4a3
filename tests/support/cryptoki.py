"""PKCS#11 spoken by hand through ctypes: what tests do to a token behind the resolver's back.

Owns a script of calls run in a child process (a vendor's library keeps its own idea of the environment, and some may
crash), each answered with its return code. It shares no code with what it tests, and it must never retry a login.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FUNCTIONS = (
    "Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList "
    "GetMechanismInfo InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo "
    "GetOperationState SetOperationState Login Logout CreateObject CopyObject DestroyObject GetObjectSize "
    "GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt "
    "EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate "
    "DigestKey DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit Verify "
    "VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate DecryptDigestUpdate "
    "SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair"
).split()
"""Places in CK_FUNCTION_LIST (PKCS#11 2.40, section 3.6)."""

CKU_SO, CKU_USER = 0, 1
CKF_RW_SESSION, CKF_SERIAL_SESSION = 2, 4
CKF_TOKEN_INITIALIZED = 0x400
CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED = 0x10000, 0x20000, 0x40000
CKO_DATA, CKO_PRIVATE_KEY, CKO_SECRET_KEY = 0, 3, 4
CKK_EC, CKK_GENERIC_SECRET, CKK_SHA256_HMAC = 3, 0x10, 0x2B
CKM_EC_KEY_PAIR_GEN, CKM_SHA256_HMAC, CKM_ECDSA, CKM_GENERIC_SECRET_KEY_GEN = 0x1040, 0x251, 0x1041, 0x350
CKA = {
    "class": 0x0,
    "token": 0x1,
    "private": 0x2,
    "label": 0x3,
    "application": 0x10,
    "value": 0x11,
    "key_type": 0x100,
    "id": 0x102,
    "sensitive": 0x103,
    "encrypt": 0x104,
    "sign": 0x108,
    "verify": 0x10A,
    "derive": 0x10C,
    "value_len": 0x161,
    "extractable": 0x162,
    "ec_params": 0x180,
}
P256 = bytes.fromhex("06082a8648ce3d030107")
OK = 0
PIN_INCORRECT, PIN_LOCKED = 0xA0, 0xA4

Ulong = ctypes.c_ulong


class Attribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", Ulong), ("value", ctypes.c_void_p), ("length", Ulong))


class Mechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (("type", Ulong), ("parameter", ctypes.c_void_p), ("length", Ulong))


class TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO."""

    _fields_ = (
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", Ulong),
        ("figures", Ulong * 10),
        ("rest", ctypes.c_char * 20),
    )


class Arguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (("mutexes", ctypes.c_void_p * 4), ("flags", Ulong), ("reserved", ctypes.c_char_p))


class RefusedError(Exception):
    """A call that came back with something else than CKR_OK."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"C_{function}: {code:#x}")
        self.code = code


class Module:
    """One loaded module with one session."""

    def __init__(self, path: str, reserved: str | None = None) -> None:
        library = ctypes.CDLL(path)
        table = ctypes.c_void_p()
        library.C_GetFunctionList(ctypes.byref(table))
        assert table.value is not None
        self.pointers = (ctypes.c_void_p * len(FUNCTIONS)).from_address(table.value + 8)
        self.session = Ulong()
        arguments = Arguments(flags=2, reserved=reserved.encode() if reserved else None)
        self.call("Initialize", ctypes.byref(arguments))

    def call(self, function: str, *arguments: object) -> None:
        """Calls one function; every integer goes as CK_ULONG."""
        pointer = self.pointers[FUNCTIONS.index(function)]
        assert pointer is not None, f"the module has no C_{function}"
        passed = [Ulong(one) if isinstance(one, int) else one for one in arguments]
        if code := ctypes.CFUNCTYPE(Ulong)(pointer)(*passed):
            raise RefusedError(function, code)

    def slots(self, present: bool = True) -> list[int]:
        """Slot IDs, in the module's order."""
        count = Ulong()
        flag = ctypes.c_ubyte(present)
        self.call("GetSlotList", flag, None, ctypes.byref(count))
        found = (Ulong * max(count.value, 1))()
        self.call("GetSlotList", flag, found, ctypes.byref(count))
        return list(found[: count.value])

    def tokens(self) -> list[dict[str, Any]]:
        """What each slot with a token says of it."""
        found = []
        for slot in self.slots():
            info = TokenInfo()
            self.call("GetTokenInfo", slot, ctypes.byref(info))
            words = {name: getattr(info, name).decode().rstrip() for name in ("label", "model", "manufacturer")}
            found.append({"slot": slot, **words, "serial": info.serial.decode().rstrip(), "flags": info.flags})
        return found

    def init_token(self, slot: int, so_pin: str, label: str) -> None:
        """Wipes a token and gives it a name."""
        self.call("InitToken", slot, so_pin.encode(), len(so_pin), label.encode().ljust(32))

    def open(self, slot: int) -> None:
        """The session that everything below uses."""
        flags = CKF_RW_SESSION | CKF_SERIAL_SESSION
        self.call("OpenSession", slot, flags, None, None, ctypes.byref(self.session))

    def login(self, pin: str, user: int = CKU_USER) -> None:
        """One try."""
        self.call("Login", self.session, user, pin.encode(), len(pin.encode()))

    def logout(self) -> None:
        """Back to a public session."""
        self.call("Logout", self.session)

    def init_pin(self, pin: str) -> None:
        """Sets the user's PIN, as the security officer."""
        self.call("InitPIN", self.session, pin.encode(), len(pin))

    def set_pin(self, old: str, new: str) -> None:
        """Changes the PIN of whoever is logged in."""
        self.call("SetPIN", self.session, old.encode(), len(old), new.encode(), len(new))

    def create(self, attributes: dict[str, Any]) -> int:
        """Makes an object; its handle."""
        handle = Ulong()
        template = _template(attributes)
        self.call("CreateObject", self.session, template, len(template), ctypes.byref(handle))
        return handle.value

    def make_ec(self, label: str, more: dict[str, Any]) -> None:
        """Makes a pair of keys on P-256 inside the token."""
        common = {"token": True, "label": label, "id": label.encode().hex()}
        public = _template({**common, "ec_params": P256.hex(), "verify": True})
        private = _template({**common, "private": True, "sensitive": True, "extractable": False, "sign": True, **more})
        mechanism = Mechanism(CKM_EC_KEY_PAIR_GEN)
        handles = [Ulong(), Ulong()]
        self.call(
            "GenerateKeyPair",
            self.session,
            ctypes.byref(mechanism),
            public,
            len(public),
            private,
            len(private),
            *(ctypes.byref(handle) for handle in handles),
        )

    def find(self, attributes: dict[str, Any]) -> list[int]:
        """Handles of what matches."""
        template = _template(attributes)
        self.call("FindObjectsInit", self.session, template, len(template))
        found, count = (Ulong * 64)(), Ulong()
        self.call("FindObjects", self.session, found, 64, ctypes.byref(count))
        self.call("FindObjectsFinal", self.session)
        return list(found[: count.value])

    def read(self, handle: int, name: str) -> str | None:
        """One attribute in hexadecimal digits; None where it may not be read."""
        one = (Attribute * 1)(Attribute(CKA[name], None, 0))
        try:
            self.call("GetAttributeValue", self.session, handle, one, 1)
            if one[0].length in (0, Ulong(-1).value):
                return "" if one[0].length == 0 else None
            buffer = ctypes.create_string_buffer(one[0].length)
            one[0].value = ctypes.addressof(buffer)
            self.call("GetAttributeValue", self.session, handle, one, 1)
        except RefusedError:
            return None
        return buffer.raw[: one[0].length].hex()

    def objects(self) -> list[dict[str, str | None]]:
        """Label, class and the readable attributes of everything that is seen."""
        names = ("label", "class", "private", "sensitive", "extractable", "value")
        return [{name: self.read(handle, name) for name in names} for handle in self.find({})]

    def destroy(self, label: str) -> int:
        """Deletes everything of one label; how many."""
        found = self.find({"label": label})
        for handle in found:
            self.call("DestroyObject", self.session, handle)
        return len(found)

    def sign(self, label: str, data: str) -> str:
        """HMAC-SHA-256 of octets (hexadecimal digits) with the secret key of a label."""
        (handle,) = self.find({"label": label, "class": CKO_SECRET_KEY})
        mechanism = Mechanism(CKM_SHA256_HMAC)
        self.call("SignInit", self.session, ctypes.byref(mechanism), handle)
        octets, out, length = bytes.fromhex(data), ctypes.create_string_buffer(64), Ulong(64)
        self.call("Sign", self.session, octets, len(octets), out, ctypes.byref(length))
        return out.raw[: length.value].hex()


def _template(attributes: dict[str, Any]) -> ctypes.Array[Attribute]:
    """CK_ATTRIBUTEs: a truth value, a number, or octets (`label` as text, others in hexadecimal digits)."""
    array = (Attribute * len(attributes))()
    keep = []
    for place, (name, value) in enumerate(attributes.items()):
        if isinstance(value, bool):
            octets = bytes([value])
        elif isinstance(value, int):
            octets = bytes(Ulong(value))
        elif name in ("label", "application"):
            octets = value.encode()
        else:
            octets = bytes.fromhex(value)
        buffer = ctypes.create_string_buffer(octets, max(len(octets), 1))
        keep.append(buffer)
        array[place] = Attribute(CKA[name], ctypes.addressof(buffer), len(octets))
    array.keep = keep  # type: ignore[attr-defined]
    return array


def _play(script: dict[str, Any]) -> list[dict[str, Any]]:
    module = Module(script["module"], script["reserved"])
    answers: list[dict[str, Any]] = []
    for name, *arguments in script["calls"]:
        try:
            answers.append({"code": OK, "value": getattr(module, name)(*arguments)})
        except RefusedError as refused:
            answers.append({"code": refused.code, "value": str(refused)})
    module.call("Finalize", None)
    return answers


def play(
    module: str,
    calls: Sequence[Sequence[object]],
    env: Mapping[str, str],
    prefix: Sequence[str] = (),
    strict: bool = True,
) -> list[Any]:
    """Runs calls in a child. What each gave; with `strict` off, its return code instead."""
    script = {"module": module, "reserved": env.get("NSS_LIB_PARAMS"), "calls": calls}
    done = subprocess.run(
        [*prefix, sys.executable, "-I", __file__],
        input=json.dumps(script),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{module}: {done.stderr}"
    answers = json.loads(done.stdout.splitlines()[-1])
    if not strict:
        return [answer["code"] for answer in answers]
    wrong = [answer["value"] for answer in answers if answer["code"]]
    assert not wrong, wrong
    return [answer["value"] for answer in answers]


if __name__ == "__main__":
    print("\n" + json.dumps(_play(json.load(sys.stdin))))
