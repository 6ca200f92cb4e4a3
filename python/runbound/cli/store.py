"""`runbound store`: the state directory looked at, proven, coded anew, carried out and in, without a resolver.

Owns how that looks on a terminal, and where state and keys are found. What is a fault and what may be taken in decides
the room of `state`.
"""

import os
import pwd
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from runbound.cli import default_config
from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, as_json, table
from runbound.config import paths
from runbound.config.load import load
from runbound.config.model import Config
from runbound.errors import EXIT_FAILURE, EXIT_OK, RunboundError
from runbound.state.directory import AUDIT_KEY_NAME, MAX_KEY_FILE, StateDirectory, locate

if TYPE_CHECKING:
    from runbound.engine import SecretKey
    from runbound.state.opening import StoreKeys
    from runbound.state.verify import Report

State = Annotated[
    str | None, Parameter(name="--state", help="The state directory; without it the one of the configuration.")
]
Unsigned = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Take a file although nothing proves who made it."),
]
Users = Annotated[bool, Parameter(negative="", show_default=False, help="Users too, with the hashes of their keys.")]

store = App(name="store", help="Prove the state directory, code it anew, carry it out and in; no resolver is needed.")


@store.command
def verify(*, state: State = None, conf: Conf = None, json: AsJson = False) -> int:
    """Prove that the state is what runbound wrote, all of it; name what is not. Works beside a running resolver.

    The keys come from the environment (RUNBOUND_STORE_KEY, RUNBOUND_AUDIT_HMAC_KEY), the configuration and the state
    directory, as for a start. The code is 0 if nothing is wrong, 1 otherwise.
    """
    from runbound import engine
    from runbound.state.verify import verify as prove

    folder, config = _place(state, conf)
    report = prove(folder, _keys(folder, config), engine)
    if json:
        as_json({**msgspec.to_builtins(report), "ok": not report.faults})
    else:
        _tell(report)
    return EXIT_FAILURE if report.faults else EXIT_OK


@store.command
def resign(
    *,
    state: State = None,
    old_key_file: Annotated[str | None, Parameter(help="File with the store key until now, if it was another.")] = None,
    old_audit_key_file: Annotated[
        str | None, Parameter(help="File with the audit key until now, if it was another.")
    ] = None,
    accept: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Take the state as it is although it proves nothing. Look first.",
        ),
    ] = False,
    conf: Conf = None,
    json: AsJson = False,
) -> int:
    """Code the state anew: with the keys of now, after they were changed, or although it does not prove itself.

    The resolver must not run. The old files stay, under names with the time.
    """
    from runbound import engine
    from runbound.state.resign import resign as code_anew

    folder, config = _place(state, conf)
    new = _keys(folder, config)
    old = _old_keys(folder, new, old_key_file, old_audit_key_file)
    directory = StateDirectory.open(folder, _owner(folder))
    try:
        done = code_anew(folder, old, new, engine, _actor(), accept=accept)
    finally:
        directory.close()
    if json:
        return as_json(msgspec.to_builtins(done))
    for fault in done.before.faults:
        print(f"accepted: {clean(fault)}")
    _tell(done.after)
    print("the old files are kept:", *(f"  {clean(name)}" for name in done.kept), sep="\n")
    return EXIT_FAILURE if done.after.faults else EXIT_OK


@store.command
def export(
    file: Annotated[str | None, Parameter(help="Where to; its code goes to FILE.mac. Standard output.")] = None,
    /,
    *,
    users: Users = False,
    state: State = None,
    conf: Conf = None,
) -> int:
    """Write all entries of the state as JSON, one a line. Works beside a running resolver."""
    from runbound import engine
    from runbound.state.store import Store
    from runbound.state.transfer import export as lines

    folder, config = _place(state, conf)
    keys = _keys(folder, config)
    if not os.path.isdir(folder):
        raise RunboundError("there is no state", folder, "runbound makes one when it starts")
    opened = Store.open(folder, keys, engine)
    try:
        octets = b"".join(lines(opened, users=users))
    finally:
        opened.close()
    if file is None:
        sys.stdout.buffer.write(octets)
        return EXIT_OK
    for name, content in ((file, octets), (f"{file}.mac", f"{keys.store.mac(octets).hex()}\n".encode())):
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as out:
                out.write(content)
        except OSError as error:
            raise RunboundError(f"cannot write it: {error.strerror}", name) from error
    return EXIT_OK


@store.command(name="import")
def import_(
    files: Annotated[
        tuple[str, ...], Parameter(help="Exports of runbound, or dns_entries.json and blacklist.json of the 0.4 line.")
    ],
    /,
    *,
    replace: Annotated[
        bool, Parameter(negative="", show_default=False, help="Take out all records or blocks that no file has.")
    ] = False,
    unsigned: Unsigned = False,
    users: Users = False,
    state: State = None,
    conf: Conf = None,
    json: AsJson = False,
) -> int:
    """Take files into the state of a resolver that does not run; it tries what they say when it starts next.

    Each file needs its code beside it (FILE.mac, made with the store key) while a store key is set. Of several files
    all are taken in or none.
    """
    from runbound import engine
    from runbound.state.entries import Note
    from runbound.state.store import Store
    from runbound.state.transfer import plan, read, take_in

    folder, config = _place(state, conf)
    directory = StateDirectory.open(folder, _owner(folder))
    try:
        keys = _keys(folder, config, directory)
        pendings = []
        for name in files:
            octets = read(name, keys.store, protected=keys.protected, unsigned=unsigned)
            note = Note(_actor(), f"import of {os.path.basename(name)}"[:200], "import")
            try:
                pendings += plan(
                    octets,
                    lambda kind: engine.Bulk(kind, "json"),
                    note,
                    "replace" if replace else "add",
                    users=users,
                )
            except RunboundError as error:
                raise RunboundError(error.what, f"{name}: {error.where}" if error.where else name, error.fix) from error
        opened = Store.open(folder, keys, engine, _owner(folder))
        try:
            done = take_in(opened, pendings)
        finally:
            opened.close()
    finally:
        directory.close()
    found = [{"revision": item.revision, **item.summary} for item in done]
    if json:
        return as_json({"revisions": found})
    for item in done:
        for kind, counts in item.summary.items():
            print(f"revision {item.revision}: {kind}:", ", ".join(f"{counts[word]:,} {word}" for word in counts))
    print("the resolver takes them in when it starts" if done else "nothing to take in")
    return EXIT_OK


def _place(state: str | None, conf: str | None) -> tuple[str, Config | None]:
    """The state directory, and the configuration that names it."""
    if state is not None and conf is None:
        return state, None
    from runbound.engine import scan

    path = conf or default_config()
    try:
        loaded = load(path, os.getcwd(), scan)
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", path) from error
    if not loaded.ok:
        raise RunboundError("the configuration has errors", path, f"see runbound check {path}; or name --state")
    folder = locate(loaded.config.server.state_dir, paths.working_directory(loaded.config, os.path.abspath(path)))
    return state or folder, loaded.config


def _keys(folder: str, config: Config | None, directory: StateDirectory | None = None) -> "StoreKeys":
    """The keys by their chains. Only who has locked the directory may make the audit key."""
    from runbound.ops import keys
    from runbound.state.opening import StoreKeys

    def kept() -> tuple[str, str]:
        path = os.path.join(folder, AUDIT_KEY_NAME)
        return directory.audit_key() if directory is not None else (_text(path), path)

    store_key, protected = keys.store_key()
    audit, _source = keys.audit_key("" if config is None else config.server.audit_log_hmac_key, kept)
    return StoreKeys(store_key, audit, protected)


def _old_keys(folder: str, new: "StoreKeys", store_file: str | None, audit_file: str | None) -> "StoreKeys":
    """The keys that the state was coded with: those of the files, else those of now. A state without a key says so."""
    from runbound.engine import SecretKey
    from runbound.state.opening import StoreKeys, written_without_key

    audit = new.audit if audit_file is None else _key_of(audit_file)
    if store_file is not None:
        return StoreKeys(_key_of(store_file), audit, protected=True)
    if written_without_key(folder):
        return StoreKeys(SecretKey.public(), audit, protected=False)
    return StoreKeys(new.store, audit, new.protected)


def _key_of(path: str) -> "SecretKey":
    from runbound.ops.keys import secret_key

    return secret_key(_text(path), path)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MAX_KEY_FILE).strip()
    except OSError as error:
        raise RunboundError(f"cannot read it: {error.strerror}", path) from error


def _owner(folder: str) -> tuple[int, int] | None:
    """Whose the state is, so that what root makes there stays theirs."""
    if os.geteuid() != 0 or not os.path.exists(folder):
        return None
    found = os.stat(folder)
    return found.st_uid, found.st_gid


def _actor() -> str:
    """Who sits at the terminal, for history and audit log."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"local ({name})"


def _tell(report: "Report") -> None:
    for fault in report.faults:
        print(clean(fault))
    kept = ", ".join(f"{count:,} of kind {kind}" for kind, count in report.entries.items()) or "none"
    rows = [
        ("database", clean(report.path)),
        ("revision", f"{report.revision:,} (transaction {report.epoch:,})"),
        ("entries", kept),
        ("audit log", f"{report.audit_entries:,} entries"),
        ("proven with", "the store key" if report.protected else "no key: accidents are found, attackers are not"),
        ("found", f"{len(report.faults)} wrong" if report.faults else "nothing wrong"),
    ]
    table(("", ""), rows)
