"""`runbound store`: the state directory looked at, proven, coded anew, carried out and in, without a resolver.

Owns how that looks on a terminal, and where state and keys are found. What is a fault and what may be taken in decides
the room of `state`.
"""

import os
import pwd
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from runbound.cli import default_config
from runbound.cli.client import clean
from runbound.cli.hsm import ANYWHERE, Reach
from runbound.cli.remote import AsJson, as_json, table
from runbound.config import paths
from runbound.errors import EXIT_FAILURE, EXIT_OK, RunboundError
from runbound.keys.messages import Mode
from runbound.ops import token as tokens
from runbound.ops.token import Access
from runbound.state.directory import AUDIT_KEY_NAME, MAX_KEY_FILE, StateDirectory, locate

if TYPE_CHECKING:
    from runbound.ops.state_keys import Finder, Old
    from runbound.state.verify import Report

State = Annotated[
    str | None, Parameter(name="--state", help="The state directory; without it the one of the configuration.")
]
Unsigned = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Take a file although nothing proves who made it."),
]
Users = Annotated[bool, Parameter(negative="", show_default=False, help="Users too, with the hashes of their keys.")]


def _flag(text: str) -> Any:
    return Parameter(help=text)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Before:
    """Flags that say what the keys were until now."""

    old_key_file: Annotated[str | None, _flag("File with the store key until now.")] = None
    old_key_env: Annotated[str | None, _flag("Variable of the environment with the store key until now.")] = None
    old_hsm_label: Annotated[str | None, _flag("Label in the HSM of the store key until now.")] = None
    old_no_key: Annotated[
        bool, Parameter(negative="", show_default=False, help="There was no store key until now.")
    ] = False
    old_audit_key_file: Annotated[str | None, _flag("File with the audit key until now.")] = None
    old_audit_key_env: Annotated[str | None, _flag("Variable with the audit key until now.")] = None
    old_audit_hsm_label: Annotated[str | None, _flag("Label in the HSM of the audit key until now.")] = None
    old_hsm_mode: Annotated[Mode | None, _flag("hsm-mode of those labels; default is what the state remembers.")] = None
    old_conf: Annotated[
        str | None, _flag("Configuration that names the HSM until now, where the one of now names none or another.")
    ] = None


NOTHING_SAID: Final = Before()

store = App(name="store", help="Prove the state directory, code it anew, carry it out and in; no resolver is needed.")


@store.command
def verify(*, state: State = None, reach: Reach = ANYWHERE, json: AsJson = False) -> int:
    """Prove that the state is what runbound wrote, all of it; name what is not. Works beside a running resolver.

    The keys come from the HSM, the environment (RUNBOUND_STORE_KEY, RUNBOUND_AUDIT_HMAC_KEY), the configuration and the
    state directory, as for a start. The code is 0 if nothing is wrong, 1 otherwise.
    """
    from runbound import engine
    from runbound.state.verify import verify as prove

    folder, finder = _place(state, reach)
    report = prove(folder, finder.now(_Kept(folder)), engine)
    if json:
        as_json({**msgspec.to_builtins(report), "ok": not report.faults})
    else:
        _tell(report)
    return EXIT_FAILURE if report.faults else EXIT_OK


@store.command
def resign(
    *,
    state: State = None,
    old: Before = NOTHING_SAID,
    accept: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Take the state as it is although it proves nothing. Look first.",
        ),
    ] = False,
    reach: Reach = ANYWHERE,
    json: AsJson = False,
) -> int:
    """Code the state anew: with the keys of now, after they were changed, or although it does not prove itself.

    The keys of now are those of a start. Those until now are found by themselves where the state remembers a label of
    the HSM, or they are still in the environment; else say where they are. The resolver must not run. The old files
    stay, under names with the time, and backups in the state directory are sealed anew.
    """
    from runbound import engine
    from runbound.state.resign import resign as code_anew

    folder, finder = _place(state, reach, old.old_conf)
    directory = StateDirectory.open(folder, _owner(folder))
    try:
        new = finder.now(directory)
        done = code_anew(folder, finder.until_now(new, _old(old)), new, engine, _actor(), accept=accept)
    finally:
        directory.close()
    if json:
        return as_json(msgspec.to_builtins(done))
    for fault in done.before.faults:
        print(f"accepted: {clean(fault)}")
    _tell(done.after)
    if done.backups:
        print(f"sealed anew: {done.backups} backups")
    for name in done.strange:
        print(f"left as it is: backup {clean(name)}, which the key until now has not sealed")
    print("the old files are kept:", *(f"  {clean(name)}" for name in done.kept), sep="\n")
    return EXIT_FAILURE if done.after.faults else EXIT_OK


@store.command
def export(
    file: Annotated[str | None, Parameter(help="Where to; its code goes to FILE.mac. Standard output.")] = None,
    /,
    *,
    users: Users = False,
    state: State = None,
    reach: Reach = ANYWHERE,
) -> int:
    """Write all entries of the state as JSON, one a line. Works beside a running resolver."""
    from runbound import engine
    from runbound.state.store import Store
    from runbound.state.transfer import export as lines

    folder, finder = _place(state, reach)
    keys = finder.now(_Kept(folder))
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
    reach: Reach = ANYWHERE,
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

    folder, finder = _place(state, reach)
    directory = StateDirectory.open(folder, _owner(folder))
    try:
        keys = finder.now(directory)
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


def _place(state: str | None, reach: Reach, old_conf: str | None = None) -> "tuple[str, Finder]":
    """The state directory, and what finds its keys: by the configuration that names it."""
    from runbound.ops.state_keys import Finder

    tokens.service_environment()
    before = None if old_conf is None else _access(old_conf, reach)
    if state is not None and reach.conf is None:
        return state, Finder(state, None, before, reach.pin)
    path = reach.conf or default_config()
    access = _access(path, reach)
    folder = locate(access.config.server.state_dir, paths.working_directory(access.config, os.path.abspath(path)))
    folder = state or folder
    return folder, Finder(folder, access, before, reach.pin)


def _access(path: str, reach: Reach) -> Access:
    found = tokens.reach(path, module=reach.module, token=reach.token, slot=reach.slot, user=reach.user)
    if found.others or any(finding.severity == "error" for finding in found.diagnostics):
        raise RunboundError("the configuration has errors", path, f"see runbound check {path}; or name --state")
    return found


def _old(said: Before) -> "Old":
    from runbound.ops.state_keys import Old

    return Old(
        key_file=said.old_key_file,
        key_env=said.old_key_env,
        label=said.old_hsm_label,
        none=said.old_no_key,
        audit_key_file=said.old_audit_key_file,
        audit_key_env=said.old_audit_key_env,
        audit_label=said.old_audit_hsm_label,
        mode=said.old_hsm_mode,
    )


class _Kept:
    """A folder whose audit key is read, and never made."""

    def __init__(self, path: str) -> None:
        self.path = path

    def audit_key(self) -> tuple[str, str]:
        path = os.path.join(self.path, AUDIT_KEY_NAME)
        return _text(path), path


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
    if report.fix:
        print(f"  do: {clean(report.fix)}")
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
