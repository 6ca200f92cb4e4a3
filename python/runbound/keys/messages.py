"""What is said to the helper process that speaks with the token, and what it answers.

Owns the shape of the messages: MessagePack maps, a request told by its field `op`, a reply by the request it answers.
`crates/hsm/src/messages.rs` is the other side; both change together. Secrets are never in a message: they cross beside
it, in frames of their own that are read straight into locked memory. This module must never hold one.
"""

from typing import Final, Literal, TypeVar

import msgspec

Role = Literal["api", "store", "audit"]
"""What a key is for: the API's bearer key, the codes of the state, the codes of the audit log."""
ROLES: Final[tuple[Role, ...]] = ("api", "store", "audit")
Mode = Literal["extract", "in-token"]
"""Whether a key's octets leave the token at the start, or only what the token computes with them."""
Making = Literal["hex", "raw"]
"""How a key is drawn: 32 octets, or the 64 hexadecimal digits that write them."""

MAX_SECRET: Final = 4096
"""Octets of a secret that crosses: more than any PIN or key, little enough to be locked."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Anything that crosses."""


class Open(Message, frozen=True, kw_only=True):
    """Which module is loaded, which token in it is meant, and who the helper is when it looks."""

    module: str
    """Absolute path of the shared library."""
    slot: int | None = None
    """Index among the slots that hold a token, in the module's order; None: the token is told by what follows."""
    token_label: str | None = None
    token_serial: str | None = None
    token_model: str | None = None
    token_manufacturer: str | None = None
    account: tuple[int, int, list[int]] | None = None
    """User, group and further groups that the helper takes before it loads the module; None: it stays who it is."""
    final_try: bool = False
    """Whether it may log in although the token says that a wrong PIN would lock it."""


class Want(Message, frozen=True, kw_only=True):
    """A key that is asked for."""

    role: Role
    label: str
    id: bytes | None = None
    """CKA_ID, if it has to match too."""


class Request(Message, frozen=True, kw_only=True, tag_field="op"):
    """Anything that is asked."""


class Load(Request, frozen=True, kw_only=True, tag="load"):
    """Open the token, log in once, take what is wanted, close. One secret goes with it: the PIN.

    The reply is Loaded with a secret for each store and audit key, in the order of `keys`.
    """

    open: Open
    mode: Mode
    wants: list[Want]
    nonce: bytes
    """32 octets of chance that the API key's tag is made over."""
    stay: bool = False
    """Whether the helper goes on, as the keeper of the token."""


class Probe(Request, frozen=True, kw_only=True, tag="probe"):
    """Is the token there? Asks without logging in."""

    open: Open | None = None
    """Which one, in a helper that never used its keys; None: the one that a keeper loaded from."""


class Sign(Request, frozen=True, kw_only=True, tag="sign"):
    """Let the token sign. Logs in only if it must. Keeper only; the PIN goes with it."""

    role: Role
    data: bytes
    close: bool = True
    """Whether to log out afterwards."""


class Inspect(Request, frozen=True, kw_only=True, tag="inspect"):
    """What is there: slots, tokens, mechanisms and, with a PIN, objects."""

    open: Open
    login: bool = False
    rates: bool = False
    """Whether to measure how fast the token signs, with throw-away keys."""


class Init(Request, frozen=True, kw_only=True, tag="init"):
    """Make a token in the first slot that has an uninitialised one. Secrets: the security officer's PIN, the user's."""

    open: Open
    label: str
    force: bool = False
    """Whether a token that is initialised may be wiped."""


class Put(Request, frozen=True, kw_only=True, tag="put"):
    """Put a key into the token, or let it make one. Secrets: the PIN, then the key unless it is generated."""

    open: Open
    role: Role
    label: str
    id: bytes | None = None
    mode: Mode = "extract"
    data: bool = False
    """Whether as a data object, for cards that keep no secret keys."""
    generate: Making | None = None
    export: bool = False
    """Whether a generated key comes back once, so that it can be shown."""


class Get(Request, frozen=True, kw_only=True, tag="get"):
    """Take a key out of the token. Secrets: the PIN; the reply has one: the key."""

    open: Open
    role: Role
    label: str


class Delete(Request, frozen=True, kw_only=True, tag="delete"):
    """Take the objects of a label out of the token. Secret: the PIN."""

    open: Open
    label: str


class Library(Message, frozen=True, kw_only=True):
    """Who made the module."""

    description: str
    manufacturer: str
    version: str
    cryptoki: str


class Token(Message, frozen=True, kw_only=True):
    """A token's names and state."""

    label: str
    serial: str
    model: str
    manufacturer: str
    flags: list[str]
    """Without `CKF_`: TOKEN_INITIALIZED, USER_PIN_COUNT_LOW, …"""


class Slot(Message, frozen=True, kw_only=True):
    """A slot that holds a token."""

    index: int
    id: int
    description: str


class SeenSlot(Message, frozen=True, kw_only=True):
    """A slot as `inspect` sees it."""

    index: int | None = None
    """Among the slots with a token; None without one."""
    id: int
    description: str
    present: bool
    token: Token | None = None


class KeyInfo(Message, frozen=True, kw_only=True):
    """A key that was found, without its octets."""

    role: Role
    label: str
    object: Literal["secret-key", "data", "private-key"]
    id: bytes
    key_type: str | None = None
    extractable: bool | None = None
    sensitive: bool | None = None
    private: bool | None = None
    how: Literal["value", "hmac", "ecdh", "ecdsa"]
    tag: bytes | None = None
    """API key only: HMAC-SHA256 over the nonce."""
    proof: bytes | None = None
    """Keys that stay in the token: what it signs to show, after an outage, that it is the same one."""


class Warned(Message, frozen=True, kw_only=True):
    """Something that works and should be mended."""

    kind: str
    role: Role | None = None
    detail: str = ""


class Failure(Message, frozen=True, kw_only=True):
    """Why a request failed. `words.explain` says what to do."""

    kind: str
    function: str | None = None
    """The PKCS#11 function that said so."""
    code: int | None = None
    name: str | None = None
    """The code's name: CKR_PIN_INCORRECT."""
    detail: str = ""
    labels: list[str] = msgspec.field(default_factory=list)
    """Labels that are on the token, when one is missing."""
    account: str | None = None
    """Who the helper was, by name or number."""


class Loaded(Message, frozen=True, kw_only=True):
    """Answer to `load`."""

    library: Library
    slot: Slot
    token: Token
    logins: int
    keys: list[KeyInfo]
    warnings: list[Warned]
    elapsed_ms: int


class Probed(Message, frozen=True, kw_only=True):
    """Answer to `probe`."""

    present: bool
    failure: Failure | None = None


class Signed(Message, frozen=True, kw_only=True):
    """Answer to `sign`."""

    signature: bytes
    logins: int


class Seen(Message, frozen=True, kw_only=True):
    """An object on the token, as `inspect` sees it."""

    label: str
    id: bytes
    object: str
    key_type: str | None = None
    extractable: bool | None = None
    sensitive: bool | None = None
    private: bool | None = None
    sign: bool | None = None
    derive: bool | None = None
    modes: list[Mode] = msgspec.field(default_factory=list)
    """How runbound could use it."""


class Rates(Message, frozen=True, kw_only=True):
    """Signatures a second."""

    hmac_per_s: float | None = None
    ecdsa_per_s: float | None = None


class Inspected(Message, frozen=True, kw_only=True):
    """Answer to `inspect`."""

    library: Library | None = None
    slots: list[SeenSlot] = msgspec.field(default_factory=list)
    chosen: int | None = None
    """Place in `slots` of the one that `open` means."""
    mechanisms: list[str] = msgspec.field(default_factory=list)
    objects: list[Seen] = msgspec.field(default_factory=list)
    rates: Rates | None = None
    problems: list[Failure] = msgspec.field(default_factory=list)


class Initialised(Message, frozen=True, kw_only=True):
    """Answer to `init`."""

    slot: Slot
    token: Token


class Keyed(Message, frozen=True, kw_only=True):
    """Answer to `put` and `get`."""

    info: KeyInfo


class Deleted(Message, frozen=True, kw_only=True):
    """Answer to `delete`."""

    deleted: int


class _Refused(Message, frozen=True, kw_only=True):
    error: Failure | None = None


Reply = TypeVar("Reply", bound=Message)

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(
    Load | Probe | Sign | Inspect | Init | Put | Get | Delete
)


def encode(request: Request) -> bytes:
    """The octets of a request."""
    return _encoder.encode(request)


def decode(octets: bytes, kind: type[Reply]) -> Reply | Failure:
    """The reply, or why there is none. Raises msgspec.DecodeError for octets that are neither."""
    try:
        refused = msgspec.msgpack.decode(octets, type=_Refused)
        if refused.error is not None:
            return refused.error
        return msgspec.msgpack.decode(octets, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:  # a text that is none; lists in lists without end
        raise msgspec.DecodeError(str(error)) from error


def decode_request(octets: bytes) -> Request:
    """A request from its octets, for who stands in for the helper. Raises msgspec.DecodeError."""
    return _requests.decode(octets)
