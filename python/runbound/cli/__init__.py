"""The program `runbound`: what stands on the command line, and what it becomes.

Starting the resolver is read by hand, because the first DNS answer waits for it: that path imports neither cyclopts
nor anything of the web stack. Every other command (`check`, `stats`, …) goes through cyclopts, in `commands`. It
must never decide what a configuration means: it finds the right room and prints what comes back.

Exit codes: 0 after an orderly end; 1 when something is wrong that may be gone at the next try (a taken port, a wrong
flag); 78 (EX_CONFIG) when the configuration has errors at start. `runbound check` answers 0 or 1 as unbound-checkconf.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from runbound.errors import EXIT_FAILURE, EXIT_OK, ConfigError, RunboundError

if TYPE_CHECKING:
    from runbound.ops.service import Service

DEFAULT_CONFIGS: Final = ("/etc/runbound/runbound.conf", "/etc/unbound/unbound.conf")
"""Where the configuration is looked for when the command line names none; the first that exists."""
COMMANDS: Final = (
    *("check", "lab", "stats", "cache", "lookup", "explain", "dnssec"),
    *("dns", "block", "upstreams", "resolution", "config", "users", "audit", "backup", "log", "clients"),
    *("store", "hsm"),
)
"""What cyclopts reads. A configuration file of such a name is written ./check."""

HELP: Final = """\
runbound: a DNS resolver that reads unbound.conf

Start it:
  runbound [CONF]                 serve, in the foreground; SIGHUP reloads, SIGTERM drains and ends
  runbound -c CONF [-d] [-p] [-v] the same with Unbound's flags
  runbound run --quickstart       try it: 127.0.0.1 port 5335, API on 8081, nothing to configure

Look at a configuration:
  runbound check [CONF]           every error with file, line and column; 0 fine, 1 not
  runbound check CONF --report    a row for each directive: honoured, mapped, no effect, not yet

Ask the one that runs (-c CONF or --url URL says which; --json for programs):
  runbound stats                  its counters; --history: minute by minute; --top: most asked names
  runbound log                    the last queries; -f goes on with new ones; log erase forgets
  runbound clients [ADDRESS]      who asks most
  runbound dns list               local records; also: add NAME TYPE DATA, delete, import, export
  runbound block NAME             block a name and all below; also: list, delete, import, export
  runbound upstreams              the servers it forwards to, and how they do; also: add, remove,
                                  enable, disable, probe, presets, reconnect
  runbound resolution [MODE]      whether names are forwarded (forward) or not (full-recursion)
  runbound lookup NAME [TYPE]     resolve a name in it, and tell how it went
  runbound explain NAME [TYPE]    the same with every step, every server and the chain of trust
  runbound dnssec status          whether answers are validated, and from where; also: anchors
  runbound dnssec excuse NAME     do not validate a name for a while; also: excuses, validate NAME
  runbound config show            what is in effect, and who said it; also: set, unset, diff
  runbound config history         every change; also: rollback, confirm, revert, reload, export
  runbound users list             who may call its API; also: add, delete, rotate-key, me
  runbound cache stats            the size of its cache
  runbound cache flush WHAT       all, zone NAME, name NAME, type NAME TYPE, negative, bogus, infra
  runbound cache dump [FILE]      the cache as text; runbound cache load FILE reads it back

See who did what, prove it, keep it:
  runbound audit tail             the last entries of the audit log; -f goes on with new ones
  runbound audit verify [FILE...] that nobody has changed it, or where; files need no resolver
  runbound store verify           that the state is as runbound wrote it, or what is not; resign
  runbound store export [FILE]    its entries as JSON; store import FILE takes them in, 0.4's too

Keep keys in a hardware security module:
  runbound hsm doctor             what is there, what is wrong, and the command that mends it
  runbound hsm init               a token and its keys; also: import-key, export-key, delete-key
  runbound hsm rotate KEY         make a key's successor; hsm reload takes it into use; hsm status

Other:
  runbound lab                    an Internet in a box: zones of every kind, good and broken, to try
  runbound help [COMMAND]         this text, or a command's
  runbound -V                     version and linked parts

Flags of a start:
  -c FILE            configuration; default {defaults}
  -d                 stay in the foreground (always so; accepted for Unbound's sake)
  -p                 write no pidfile
  -v                 one level more verbosity; may be repeated
  --allow-missing    start although a directive that filters, encrypts or restricts is not built yet
  -h, --help         this text
"""

RUN_HELP: Final = """\
runbound run: start the resolver

  runbound run [CONF]             the same as runbound [CONF], with the same flags
  runbound run --quickstart       a resolver to try, without writing anything first

Flags of --quickstart:
  --port PORT        port of 127.0.0.1 for DNS (default 5335)
  --api-port PORT    port of 127.0.0.1 for the API (default 8081)

The quickstart keeps all it needs in ./.runbound. It recurses from the root and validates. Where
the root cannot be reached it forwards to the name servers of /etc/resolv.conf if they answer,
else it resolves the lab, a small Internet of its own.
"""


class UsageError(RunboundError):
    """The command line cannot be understood."""


class Invocation:
    """What the command line of a start says."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.pidfile = True
        self.verbosity = 0
        self.allow_missing = False
        self.quickstart = False
        self.port: int | None = None
        self.api_port: int | None = None
        self.show: str | None = None
        """A text to print instead of starting: `help`, `run-help`, `version`."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        command = bool(arguments) and arguments[0] in (*COMMANDS, "help")
        code = _command(arguments) if command else _run(parse(arguments))
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(*error.diagnostics, f"runbound: {RunboundError.__str__(error)}", sep="\n", file=sys.stderr)
        return error.exit_code
    except RunboundError as error:
        print(f"runbound: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; what is left of it goes nowhere, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_FAILURE


def parse(arguments: Sequence[str]) -> Invocation:
    """Reads the command line of a start, in the manner of getopt. Raises UsageError."""
    found = Invocation()
    waiting = list(arguments)
    run = bool(waiting) and waiting[0] == "run"
    if run:
        del waiting[0]
    positional: list[str] = []
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            positional += waiting
            break
        if word.startswith("--"):
            _long(found, word, waiting, run=run)
        elif word.startswith("-") and word != "-":
            _short(found, word[1:], waiting, run=run)
        else:
            positional.append(word)
    if positional and found.config is None:
        found.config = positional.pop(0)
    if positional:
        raise UsageError(f'"{positional[0]}" is one file too many', fix="name one configuration; see runbound --help")
    if found.quickstart and found.config is not None:
        raise UsageError("--quickstart makes its own configuration", fix=f"leave out --quickstart or {found.config}")
    if not found.quickstart and (found.port is not None or found.api_port is not None):
        raise UsageError("--port and --api-port belong to --quickstart", fix="write them in the configuration file")
    return found


def _long(found: Invocation, word: str, waiting: list[str], *, run: bool) -> None:
    name, sign, value = word.partition("=")

    def argument() -> str:
        if sign:
            return value
        if not waiting:
            raise UsageError(f"{name} needs a value")
        return waiting.pop(0)

    if name in ("--port", "--api-port") and run:
        text = argument()
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise UsageError(f"{name}: {text} is not a port (1 to 65535)")
        setattr(found, name[2:].replace("-", "_"), int(text))
        return
    if sign:
        raise UsageError(f"{name} takes no value" if name in _PLAIN else _unknown(name))
    if name not in _PLAIN or (name == "--quickstart" and not run):
        fix = "runbound run --quickstart" if name == "--quickstart" else "see runbound --help"
        raise UsageError(_unknown(name), fix=fix)
    _PLAIN[name](found, run)


def _short(found: Invocation, letters: str, waiting: list[str], *, run: bool) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "c":
            if not letters and not waiting:
                raise UsageError("-c needs the name of a configuration file")
            found.config, letters = letters or waiting.pop(0), ""
        elif letter == "v":
            found.verbosity += 1
        elif letter == "p":
            found.pidfile = False
        elif letter == "V":
            found.show = "version"
        elif letter == "h":
            found.show = "run-help" if run else "help"
        elif letter != "d":
            raise UsageError(_unknown(f"-{letter}"), fix="see runbound --help")


def _unknown(flag: str) -> str:
    return f"there is no flag {flag}"


def _show_help(found: Invocation, run: bool) -> None:
    found.show = "run-help" if run else "help"


def _show_version(found: Invocation, _run: bool) -> None:
    found.show = "version"


def _allow_missing(found: Invocation, _run: bool) -> None:
    found.allow_missing = True


def _quickstart(found: Invocation, _run: bool) -> None:
    found.quickstart = True


_PLAIN: Final[dict[str, Callable[[Invocation, bool], None]]] = {
    "--help": _show_help,
    "--version": _show_version,
    "--allow-missing": _allow_missing,
    "--quickstart": _quickstart,
}
"""Long flags without a value."""


def default_config(candidates: Sequence[str] = DEFAULT_CONFIGS) -> str:
    """The configuration that is used when none is named. Raises UsageError if there is none."""
    for path in candidates:
        if os.path.exists(path):
            return path
    raise UsageError(
        f"no configuration named, and neither {' nor '.join(candidates)} exists",
        fix="runbound CONF, or try runbound run --quickstart",
    )


def _command(arguments: Sequence[str]) -> int:
    """One of COMMANDS, or `help` with one of them."""
    if arguments[0] == "help":
        topic = arguments[1] if len(arguments) > 1 else ""
        if topic in ("", "run"):
            print(RUN_HELP if topic else help_text(), end="")
            return EXIT_OK
        if topic not in COMMANDS:
            raise UsageError(f"there is no command {topic}", fix="see runbound --help")
        arguments = [topic, "--help"]
    from runbound.cli import commands

    return commands.main(arguments)


def _run(invocation: Invocation) -> int:
    if invocation.show == "version":
        print(version_text())
        return EXIT_OK
    if invocation.show is not None:
        print(help_text() if invocation.show == "help" else RUN_HELP, end="")
        return EXIT_OK
    if invocation.quickstart:
        return _run_quickstart(invocation)
    return _serve(invocation, invocation.config or default_config())


def _serve(invocation: Invocation, path: str, ready: "Callable[[Service, list[str]], None] | None" = None) -> int:
    from runbound.api.companion import Api
    from runbound.engine import Engine
    from runbound.ops.service import Service
    from runbound.ops.source import FileSource

    source = FileSource(path, extra_verbosity=invocation.verbosity, allow_missing=invocation.allow_missing)
    engine = Engine()
    api = Api(engine)
    service = Service(engine, source, api, pidfile=invocation.pidfile)
    return service.run(None if ready is None else lambda running: ready(running, api.urls))


def _run_quickstart(invocation: Invocation) -> int:
    from runbound.ops import quickstart

    plan = quickstart.prepare(invocation.port or quickstart.DNS_PORT, invocation.api_port)
    lab = quickstart.Lab(plan.found.lab_port, plan.folder) if plan.found.lab_port is not None else None

    def ready(_service: "Service", api_urls: list[str]) -> None:
        print(quickstart.hints(plan, api_urls), flush=True)

    try:
        if lab is not None and not lab.wait_ready():  # its files are part of the configuration
            raise RunboundError("quickstart: nobody on the Internet can be reached, and the lab did not start")
        return _serve(invocation, plan.config_path, ready)
    finally:
        if lab is not None:
            lab.stop()


def help_text() -> str:
    """The text of `runbound --help`."""
    return HELP.format(defaults=f"{DEFAULT_CONFIGS[0]}, else\n                     {DEFAULT_CONFIGS[1]}")


def version_text() -> str:
    """The text of `runbound -V`: our version and those of the parts it is linked with."""
    import platform
    from importlib import metadata

    from runbound import __version__

    parts = [f"{platform.python_implementation()} {platform.python_version()}"]
    for name in ("msgspec", "structlog", "fastapi", "pydantic", "uvicorn", "cyclopts"):
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} missing")
    return (
        f"Version {__version__}\n\nLinked parts: {', '.join(parts)}\nSystem: {platform.system()} {platform.machine()}"
    )
