"""`runbound audit`: what was done and by whom, and the proof that nobody has changed it since.

`tail` asks the running resolver. `verify FILE…` needs none: it reads files wherever they were carried to. Owns how
that looks on a terminal; what is a fault decides `state.proof`. What others wrote is printed with control characters
escaped.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from cyclopts import App, Parameter

from runbound.cli.client import Client, clean
from runbound.cli.remote import AsJson, Conf, Url, as_json, find
from runbound.errors import EXIT_FAILURE, EXIT_OK, RunboundError
from runbound.state.directory import AUDIT_KEY_NAME, DATABASE_NAME, MAX_KEY_FILE
from runbound.state.proof import Expected, FileSource, Forwarded, Report, Source

if TYPE_CHECKING:
    from runbound.engine import SecretKey

FOLLOW_SECONDS: Final = 1.0
"""How often new entries are asked for."""
PAGE: Final = 1000
PUBLIC_KEY_BYTES: Final = 32

audit = App(name="audit", help="Look at the audit log, and prove that it is whole.")


@audit.command
def tail(
    *,
    count: Annotated[int, Parameter(name=("--count", "-n"), help="How many entries, at most 1000.")] = 20,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), negative="", show_default=False, help="Go on with new ones.")
    ] = False,
    event: Annotated[str, Parameter(help="Only events that begin so: record, auth.failure.")] = "",
    actor: Annotated[str, Parameter(help="Only what this one did.")] = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print the last entries of the audit log."""
    client = find(conf, url)
    found = _asked(client, event, actor, limit=count)
    if json and not follow:
        return as_json(found)
    while True:
        for row in found["items"]:
            print(msgspec.json.encode(row).decode() if json else _line(row), flush=follow)
        if not follow:
            return EXIT_OK
        after = found["items"][-1]["seq"] if found["items"] else found["head"]
        if len(found["items"]) < PAGE:
            time.sleep(FOLLOW_SECONDS)
        found = _asked(client, event, actor, limit=PAGE, after=after)


@audit.command
def verify(
    *files: Annotated[
        str,
        Parameter(help="Files of the audit log, rotated ones too, plain or gzip, in any order; or /dev/stdin."),
    ],
    key_file: Annotated[
        tuple[str, ...],
        Parameter(
            consume_multiple=False,
            negative="",
            help="File with the audit key (audit.key of the state directory, or what holds yours); "
            "again for a log that went on under another key.",
        ),
    ] = (),
    public_key: Annotated[
        tuple[str, ...],
        Parameter(
            consume_multiple=False,
            negative="",
            help="The public key, 64 hexadecimal digits: proves what checkpoints have signed for.",
        ),
    ] = (),
    state: Annotated[
        str | None, Parameter(help="State directory: the log has to end where the state does; brings audit.key too.")
    ] = None,
    expect: Annotated[
        str | None, Parameter(help="An entry that has to be there, as SEQ:MAC, noted from an earlier proof.")
    ] = None,
    forwarded: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="The lines came by syslog or journal: something may stand before each, and some may be there twice.",
        ),
    ] = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Prove that nobody has changed the audit log; name the first fault otherwise, with its file, line and entry.

    Without files, the running resolver proves the record it has. The code is 0 if nothing is wrong, 1 otherwise.
    """
    if not files:
        return _of_the_running(find(conf, url), json=json)
    from runbound.engine import verify_signature
    from runbound.state import proof

    report = proof.verify(
        proof.in_order(_sources(files, forwarded=forwarded)),
        keys=_keys(key_file, state),
        public_keys=[_public(text) for text in public_key],
        verify_signature=verify_signature,
        expected=_expected(expect, state),
    )
    if json:
        as_json({**msgspec.to_builtins(report), "ok": report.ok, "told": report.told()})
    else:
        _tell(report)
    return EXIT_OK if report.ok else EXIT_FAILURE


class _Held:
    """What came through a pipe, which can be read only once."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._lines = list(source.lines())

    def lines(self) -> Iterator[bytes]:
        return iter(self._lines)


def _sources(files: Sequence[str], *, forwarded: bool) -> list[Source]:
    """What is read, each of them more than once."""
    found: list[Source] = [_source(name) for name in files]
    return [Forwarded(source) for source in found] if forwarded else found


def _source(name: str) -> Source:
    source = FileSource(name)
    return _Held(source) if os.path.exists(name) and not os.path.isfile(name) else source


def _keys(files: Sequence[str], state: str | None) -> "list[SecretKey]":
    """The audit keys: of the files, or of the environment, or of the state directory. None if nobody gives one."""
    from runbound.ops.keys import secret_key
    from runbound.state.origin import AUDIT_VARIABLE

    if not files and AUDIT_VARIABLE in os.environ:
        return [secret_key(os.environ[AUDIT_VARIABLE], AUDIT_VARIABLE)]
    if not files and state is not None and os.path.exists(kept := os.path.join(state, AUDIT_KEY_NAME)):
        files = [kept]
    keys = []
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                keys.append(secret_key(file.read(MAX_KEY_FILE).strip(), path))
        except OSError as error:
            raise RunboundError(f"cannot read it: {error.strerror or error}", path) from error
    return keys


def _public(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != PUBLIC_KEY_BYTES:
        raise RunboundError(
            "it is no public key", "--public-key", "64 hexadecimal digits, as runbound audit verify says"
        )
    return octets


def _expected(expect: str | None, state: str | None) -> Expected | None:
    """The entry that has to be there."""
    if expect is not None and state is not None:
        raise RunboundError("--expect and --state say the same in two ways", fix="give one of them")
    if state is not None:
        return _end_of(state)
    if expect is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,15}):([0-9a-f]{64})", expect)
    if found is None:
        raise RunboundError(f"{expect} names no entry", "--expect", "write SEQ:MAC, as runbound audit verify prints it")
    return Expected(int(found[1]), found[2], "--expect")


def _end_of(state: str) -> Expected:
    """The last entry that the state has."""
    from runbound.state.database import connect, reading
    from runbound.state.trail import parse

    path = os.path.join(state, DATABASE_NAME)
    if not os.path.exists(path):
        raise RunboundError("there is no state in it", state, "name the state directory")
    with reading(path):
        database = connect(path, write=False)
        try:
            found = database.execute("SELECT line FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        finally:
            database.close()
    if found is None:
        raise RunboundError("the state has no audit log", state)
    line = parse(found[0].encode())
    return Expected(line.seq, line.mac, f"the state in {state}", newest=True)


def _of_the_running(client: Client, *, json: bool) -> int:
    """The proof of the record, by the one that has it."""
    found = client.post("/audit/verify", {})
    if json:
        as_json(found)
        return EXIT_OK if found["ok"] else EXIT_FAILURE
    if found["fault"] is not None:
        fault = found["fault"]
        print(f"{clean(fault['kind'])}: {clean(fault['what'])}")
    else:
        print(f"{_counted(found['entries'], 'entry', 'entries')}, {found['checkpoints']} signed checkpoints")
        print(*(clean(line) for line in found["told"]), sep="\n")
        print(f"last entry: {found['last']}:{found['head']}")
        print(f"public key: {found['public_key']}")
    for sink in found["sinks"]:
        error = f", {clean(sink['error'])}" if sink["error"] else ""
        print(f"{sink['name']} {clean(sink['place'] or '')}: has entry {sink['seq']}, {sink['behind']} behind{error}")
    return EXIT_OK if found["ok"] else EXIT_FAILURE


def _tell(report: Report) -> None:
    if report.fault is not None:
        print(clean(report.fault))
        print(f"before it {_counted(report.entries, 'entry is', 'entries are')} in order")
        return
    if report.first is not None:
        print(
            f"{_counted(report.entries, 'entry', 'entries')}, {report.first} to {report.last}, "
            f"{report.since} to {report.until}, {report.checkpoints} signed checkpoints"
        )
    print(*report.told(), sep="\n")
    if report.last is not None:
        print(f"last entry: {report.last}:{report.head}")
    if report.public_key is not None:
        print(f"public key: {report.public_key}")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _asked(client: Client, event: str, actor: str, **numbers: int) -> dict[str, Any]:
    words = {name: value for name, value in (("event", event), ("actor", actor)) if value}
    found: dict[str, Any] = client.get(f"/audit/tail?{urlencode({**numbers, **words})}")
    return found


def _line(row: dict[str, Any]) -> str:
    """An entry on one line."""
    shown = " ".join(f"{name}={_value(value)}" for name, value in row["fields"].items())
    mark = "" if row["genuine"] else "CHANGED "
    return clean(f"{row['seq']:>6} {row['time'][:19]}Z {mark}{row['event']} {row['actor']} {shown}".rstrip())


def _value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f'"{text}"' if not text or " " in text else text
