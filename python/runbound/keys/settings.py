"""What the `hsm-*` options and the environment say: which module, which token, which keys, where the PIN is.

Owns every rule about these options among themselves, and the finding for each that is broken. It must never read a PIN:
it says where one stands. It opens nothing; only `files` looks whether files are there and who may read them.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, cast

import msgspec

from runbound.config import paths
from runbound.config.diagnostics import Severity
from runbound.config.model import Config, Position
from runbound.config.parse import Findings
from runbound.config.values import quote
from runbound.errors import EXIT_CONFIG, RunboundError
from runbound.keys import OPTIONS
from runbound.keys.messages import ROLES, Mode, Open, Role, Want
from runbound.keys.uri import TEXTS, BadUriError, Pkcs11Uri, parse

LABELS: Final[dict[Role, str]] = {role: f"hsm-{role}-key-label" for role in ROLES}
PIN_VARIABLE: Final = "HSM_PIN"
CREDENTIAL: Final = "hsm-pin"
"""Name of the systemd credential with the PIN: LoadCredential=hsm-pin:/etc/runbound/hsm.pin."""
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
MAX_TIMEOUT: Final = 600
"""Seconds a load may be given; a start that takes longer is one that hangs. Default 30, at least 1."""
MODULE_FOLDERS: Final = (
    *("/usr/lib/x86_64-linux-gnu/pkcs11", "/usr/lib/aarch64-linux-gnu/pkcs11", "/usr/lib64/pkcs11", "/usr/lib/pkcs11"),
    *("/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm"),
    *("/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"),
    *("/opt/cloudhsm/lib", "/usr/safenet/lunaclient/lib"),
)
"""Where `module-name=` of a URI, and `runbound hsm doctor`, look for modules, the first that has it."""
NO_PIN_IN_FILE: Final = (
    "give it as hsm-pin-file: (chmod 600), as HSM_PIN in /etc/runbound/env, or as systemd credential"
)

_GUARDING: Final[tuple[Role, ...]] = ("store", "audit")

PinKind = Literal["credential", "file", "environment", "uri", "option", "none"]


class PinSource(msgspec.Struct, frozen=True):
    """Where the PIN can be read. The PIN itself is never in it."""

    kind: PinKind
    place: str = ""
    """The file's path for `credential`, `file` and `uri`; the variable's or option's name; empty without any."""

    @property
    def path(self) -> str | None:
        """The file, if it is one."""
        return self.place if self.kind in ("credential", "file", "uri") else None

    def __str__(self) -> str:
        """How it is called in a sentence."""
        named = {
            "credential": f"the systemd credential {self.place}",
            "file": f"hsm-pin-file {self.place}",
            "environment": f"the environment variable {self.place}",
            "uri": f"pin-source {self.place} of hsm-uri",
            "option": "hsm-pin in the configuration file",
            "none": "nowhere",
        }
        return named[self.kind]


class Problem(msgspec.Struct, frozen=True):
    """Something wrong with the options."""

    severity: Severity
    at: Position | None
    text: str
    hint: str


class HsmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options, understood: at least a module and, but for who is about to make keys, one label."""

    module: str
    slot: int | None
    """Index among the slots with a token; None where label, serial, model or manufacturer name the token."""
    token_label: str | None
    token_serial: str | None
    token_model: str | None
    token_manufacturer: str | None
    labels: dict[Role, str]
    id: bytes | None
    """CKA_ID of the API key, if `hsm-uri` says it."""
    mode: Mode
    timeout_s: int
    final_try: bool
    pin: PinSource

    @classmethod
    def of(
        cls, config: Config, resolve: Callable[[str], str], environ: Mapping[str, str] = os.environ
    ) -> "HsmSettings | None":
        """What configuration and environment say; None if nothing is said about a module.

        `resolve` makes a file's name a whole path. Of the environment only names are looked at, and the credential's
        folder. Raises RunboundError with exit code 78, which names file and line, if something is wrong.
        """
        found, problems = understand(config, resolve, environ)
        for problem in problems:
            if problem.severity == "error":
                error = RunboundError(problem.text, str(problem.at) if problem.at else None, problem.hint)
                error.exit_code = EXIT_CONFIG
                raise error
        return found

    def open(self, account: tuple[int, int, list[int]] | None = None) -> Open:
        """The part of every request that says which token is meant."""
        return Open(
            module=self.module,
            slot=self.slot,
            token_label=self.token_label,
            token_serial=self.token_serial,
            token_model=self.token_model,
            token_manufacturer=self.token_manufacturer,
            account=account,
            final_try=self.final_try,
        )

    def wants(self) -> list[Want]:
        """The keys to ask for, in the order of the start lines."""
        return [
            Want(role=role, label=label, id=self.id if role == "api" else None) for role, label in self.labels.items()
        ]

    @property
    def token_name(self) -> str:
        """The token as the options name it, for a sentence."""
        named = (
            ("label", self.token_label),
            ("serial", self.token_serial),
            ("model", self.token_model),
            ("manufacturer", self.token_manufacturer),
        )
        parts = [f"{what} {quote(value)}" for what, value in named if value is not None]
        if self.slot is not None:
            parts.append(f"slot {self.slot}")
        return ", ".join(parts)


def understand(
    config: Config, resolve: Callable[[str], str], environ: Mapping[str, str], *, empty: bool = False
) -> tuple[HsmSettings | None, list[Problem]]:
    """The settings and everything wrong with them; no settings if there is an error or nothing is said.

    `empty`: also without any label, for who is about to make the keys.
    """
    reading = _Reading(config, empty=empty)
    settings = reading.settings(resolve, environ)
    failed = any(problem.severity == "error" for problem in reading.problems)
    return (None if failed else settings), reading.problems


def rule(config: Config, findings: Findings, main_file: str, *, look: bool = False) -> None:
    """Adds what is wrong with the options. The environment is the service's, and not known here.

    `look`: also whether the files are there and fit. A resolver that runs does not need them any more.
    """
    settings, problems = understand(config, lambda name: paths.resolve(config, main_file, name), {})
    if look and settings is not None:
        problems += files(config, settings)
    for problem in problems:
        findings.add(problem.severity, problem.at, problem.text, problem.hint)


def files(config: Config, settings: HsmSettings) -> Iterator[Problem]:
    """What is wrong with module and PIN file, as far as whoever asks can see."""
    option = "hsm-pkcs11-lib" if config.given("server", "hsm-pkcs11-lib") else "hsm-uri"
    at = _last(config, option)
    problem = module_problem(settings.module)
    if problem is not None:
        yield Problem("error", at, f"{option}: {problem[0]}", problem[1])
    path = settings.pin.path
    if path is not None:
        option = "hsm-pin-file" if settings.pin.kind == "file" else "hsm-uri"
        problem = pin_file_problem(path)
        if problem is not None:
            yield Problem("error", _last(config, option), f"{option}: {problem[0]}", problem[1])


def module_problem(path: str) -> tuple[str, str] | None:
    """What is wrong with a module as a file, and what to do; None if nothing is seen."""
    try:
        found = os.stat(os.path.realpath(path))
    except OSError as error:
        what = f"there is no library {quote(path)}: {error.strerror}; PKCS#11 tools call that CKR_HOST_MEMORY"
        return what, f"install the module's package, or name the right path; then: ldd {path}"
    if not stat.S_ISREG(found.st_mode):
        return f"{quote(path)} is no file", "name the module itself, a .so"
    if found.st_uid != 0:
        return f"{quote(path)} belongs to user id {found.st_uid}, who could change it", f"chown root: {path}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{quote(path)} can be changed by others than root", f"chmod go-w {path}"
    return None


def pin_file_problem(path: str) -> tuple[str, str] | None:
    """What is wrong with a file for the PIN, and what to do. A file that cannot be looked at has no problem here."""
    try:
        found = os.stat(path)
    except PermissionError:
        return None
    except OSError as error:
        return (
            f"{quote(path)} cannot be read: {error.strerror}",
            f"install -m 600 /dev/stdin {path}   # then type the PIN",
        )
    if not stat.S_ISREG(found.st_mode):
        return f"{quote(path)} is no file", "write the PIN alone to a file"
    if found.st_mode & stat.S_IRWXO:
        return f"{quote(path)} can be read by others (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod o= {path}"
    return None


def find_module(name: str, exists: Callable[[str], bool] = os.path.exists) -> str | None:
    """The module of that name (`module-name=`, RFC 7512: without folder, `lib` and suffix), if it is anywhere."""
    for folder in MODULE_FOLDERS:
        for file in (f"{name}.so", f"lib{name}.so", name):
            path = os.path.join(folder, file)
            if exists(path):
                return path
    return None


def _last(config: Config, option: str) -> Position | None:
    given = config.given("server", option)
    return given[-1] if given else None


class _Reading:
    """The options of one configuration, and what is found wrong on the way."""

    def __init__(self, config: Config, *, empty: bool) -> None:
        self._config = config
        self._empty = empty
        self._server = config.server
        self._given = [option for option in OPTIONS if config.given("server", option)]
        self.problems: list[Problem] = []

    def _tell(self, option: str, text: str, hint: str, severity: Severity = "error") -> None:
        self.problems.append(Problem(severity, _last(self._config, option), f"{option}: {text}", hint))

    def _said(self, option: str) -> str | None:
        """The value of a text option; None if the file does not give it."""
        return cast("str", getattr(self._server, option.replace("-", "_"))) if option in self._given else None

    def settings(self, resolve: Callable[[str], str], environ: Mapping[str, str]) -> HsmSettings | None:
        if not self._given:
            return None
        uri = self._uri()
        module = self._module(uri)
        labels = self._labels(uri)
        if module is None:
            if not self.problems:
                what = "has no effect without a module: no key would come from a token"
                self._tell(self._given[0], what, "name the module with hsm-pkcs11-lib:, or take all hsm- lines out")
            return None
        token = {
            "token_label": self._agreed("hsm-token-label", "token", uri.token),
            "token_serial": self._agreed("hsm-token-serial", "serial", uri.serial),
            "token_model": uri.model,
            "token_manufacturer": uri.manufacturer,
        }
        if not (labels or self.problems or self._empty):
            option = "hsm-pkcs11-lib" if "hsm-pkcs11-lib" in self._given else "hsm-uri"
            what = "names a module, and no key is taken from it"
            self._tell(option, what, f"say which: {', '.join(f'{name}:' for name in LABELS.values())}")
        if not 1 <= self._server.hsm_timeout <= MAX_TIMEOUT:
            self._tell("hsm-timeout", f"{self._server.hsm_timeout} is not 1 to {MAX_TIMEOUT} seconds", "30 is usual")
        by_place = "hsm-slot" in self._given or not any(token.values())
        return HsmSettings(
            module=module,
            slot=self._server.hsm_slot if by_place else None,
            **token,
            labels=labels,
            id=uri.id,
            mode=cast("Mode", self._server.hsm_mode),
            timeout_s=self._server.hsm_timeout,
            final_try=self._server.hsm_final_try,
            pin=self._pin(uri, resolve, environ),
        )

    def _uri(self) -> Pkcs11Uri:
        text = self._said("hsm-uri")
        if text is None:
            return Pkcs11Uri()
        try:
            uri = parse(text)
        except BadUriError as error:
            self._tell("hsm-uri", error.text, error.hint)
            return Pkcs11Uri()
        if uri == Pkcs11Uri():
            self._tell("hsm-uri", "it names nothing", "write pkcs11:token=NAME;object=LABEL (RFC 7512)")
        return uri

    def _module(self, uri: Pkcs11Uri) -> str | None:
        named = uri.module_path
        if uri.module_name is not None:
            named = find_module(uri.module_name)
            if named is None:
                what = f"there is no module {quote(uri.module_name)} in the usual folders"
                self._tell("hsm-uri", what, "name its path with hsm-pkcs11-lib:")
        written = self._said("hsm-pkcs11-lib")
        if written is None:
            return named
        if not written.startswith("/"):
            what = f"{quote(written)} is no whole path" if written else "it is empty"
            self._tell("hsm-pkcs11-lib", what, "write one such as /usr/lib/softhsm/libsofthsm2.so")
            return None
        if named is not None and os.path.realpath(named) != os.path.realpath(written):
            self._tell("hsm-uri", f"it names another module ({named}) than hsm-pkcs11-lib", "leave one of them out")
        return written

    def _agreed(self, option: str, attribute: str, in_uri: str | None) -> str | None:
        """A name of the token that option and URI may both give, if they give the same."""
        written = self._said(option)
        if written is None:
            return in_uri
        octets, bound = len(written.encode("utf-8", "surrogateescape")), TEXTS[attribute]
        if not written.strip():
            self._tell(option, "it is empty", "leave the line out, or see runbound hsm doctor for the names")
        elif octets > bound:
            what = f"{octets} octets are more than the {bound} a token has for it"
            self._tell(option, what, "see runbound hsm doctor for the names")
        elif in_uri not in (None, written):
            self._tell(option, f"hsm-uri says {attribute}={in_uri}, this says {written}", "leave one of them out")
        return written

    def _labels(self, uri: Pkcs11Uri) -> dict[Role, str]:
        labels: dict[Role, str] = {}
        for role, option in LABELS.items():
            label = self._said(option)
            if label is None:
                continue
            if not label.strip():
                self._tell(option, "it is empty", "write the label of the key, or leave the line out")
            else:
                labels[role] = label
        if uri.object is not None:
            named = labels.setdefault("api", uri.object)
            if named != uri.object:
                what = f"hsm-uri says object={uri.object} for the API key, this says {named}"
                self._tell(LABELS["api"], what, "leave one of them out")
        if uri.id is not None and "api" not in labels:
            self._tell("hsm-uri", "id= stands for the API key, which has no label", "add object=LABEL")
        self._shared(labels)
        return labels

    def _shared(self, labels: dict[Role, str]) -> None:
        """One key for two purposes: whoever may call the API could forge the state."""
        own = "import a key of its own: runbound hsm import-key"
        for role in _GUARDING:
            option = LABELS[role]
            if role in labels and labels[role] == labels.get("api"):
                where = option if option in self._given else "hsm-uri"
                what = f"{quote(labels['api'])} is the API key too: who may call the API could forge what it protects"
                self._tell(where, what, f"{own} {role}")
        if "store" in labels and labels["store"] == labels.get("audit") != labels.get("api"):
            what = f"{quote(labels['store'])} is the store key too: who has one has both"
            self._tell(LABELS["audit"], what, f"{own} audit", "warning")

    def _pin(self, uri: Pkcs11Uri, resolve: Callable[[str], str], environ: Mapping[str, str]) -> PinSource:
        found: list[PinSource] = []
        folder = environ.get(CREDENTIALS_VARIABLE)
        if folder and os.path.exists(os.path.join(folder, CREDENTIAL)):
            found.append(PinSource("credential", os.path.join(folder, CREDENTIAL)))
        file = self._said("hsm-pin-file")
        if file is not None:
            if file:
                self._add(found, PinSource("file", resolve(file)))
            else:
                self._tell("hsm-pin-file", "it is empty", "name the file, or leave the line out")
        if PIN_VARIABLE in environ:
            found.append(PinSource("environment", PIN_VARIABLE))
        if uri.pin_source is not None:
            self._add(found, PinSource("uri", uri.pin_source))
        if "hsm-pin" in self._given:
            if self._server.hsm_pin:
                found.append(PinSource("option", "hsm-pin"))
                what = "a PIN in the configuration file is known to whoever reads the file"
                self._tell("hsm-pin", what, NO_PIN_IN_FILE, "warning")
            else:
                self._tell("hsm-pin", "it is empty, and no token takes an empty PIN", NO_PIN_IN_FILE)
        if len(found) > 1:
            self._several(found)
        return found[0] if found else PinSource("none")

    @staticmethod
    def _add(found: list[PinSource], source: PinSource) -> None:
        """Adds a file, unless it is one already named: an option may name the credential."""
        if not any(other.path is not None and _same(other.path, source.place) for other in found):
            found.append(source)

    def _several(self, found: list[PinSource]) -> None:
        lines = {"file": "hsm-pin-file", "uri": "hsm-uri", "option": "hsm-pin"}
        option = next((lines[source.kind] for source in reversed(found) if source.kind in lines), self._given[0])
        places = " and ".join(str(source) for source in found)
        self._tell(option, f"the PIN stands in {len(found)} places: {places}", "leave one, take the others out")


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
