"""The commands of `runbound` that cyclopts reads: `check`, `lab`, and those of `remote`.

Loaded only when one of them is asked for: the start of the resolver has its own, faster way in `cli`. A command prints
and returns an exit code; what things mean is decided in the rooms it calls.
"""

import json as json_  # `check` takes a flag of that name
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import App, CycloptsError, Parameter

from runbound import __version__
from runbound.config import options, paths, report, start
from runbound.config.diagnostics import count_errors
from runbound.config.load import Loaded, load
from runbound.config.model import Config
from runbound.errors import EXIT_FAILURE, EXIT_OK, RunboundError

app = App(
    name="runbound",
    help="A DNS resolver that reads unbound.conf. `runbound --help` tells how to start it.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)

for _name in ("stats", "cache", "lookup"):
    app.command(f"runbound.cli.remote:{_name}", name=_name)  # imported when it is called
app.command("runbound.cli.explain:explain", name="explain")
app.command("runbound.cli.dnssec:dnssec", name="dnssec")
app.command("runbound.cli.config:config", name="config")
app.command("runbound.cli.entries:dns", name="dns")
app.command("runbound.cli.entries:block", name="block")
app.command("runbound.cli.upstreams:upstreams", name="upstreams")
app.command("runbound.cli.upstreams:resolution", name="resolution")
app.command("runbound.cli.users:users", name="users")
app.command("runbound.cli.audit:audit", name="audit")
app.command("runbound.cli.backup:backup", name="backup")
app.command("runbound.cli.logs:log", name="log")
app.command("runbound.cli.logs:clients", name="clients")
app.command("runbound.cli.store:store", name="store")
app.command("runbound.cli.hsm:hsm", name="hsm")

FILE_TYPES: Final = ("file", "directory", "glob")
"""Types of values that name files, which `check -f` prints in full."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command. A command line that cannot be understood is an error of the program, code 1."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise RunboundError(
            " ".join(str(error).split()), arguments[0], f"see runbound {arguments[0]} --help"
        ) from error
    return code if isinstance(code, int) else EXIT_OK


@app.command
def check(
    conf: Annotated[str | None, Parameter(help="The configuration file; default as for a start.")] = None,
    /,
    *,
    report_: Annotated[
        bool,
        Parameter(
            name="--report",
            negative="",
            show_default=False,
            help="A row for each directive used, and what becomes of it.",
        ),
    ] = False,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print everything as one JSON document.")
    ] = False,
    option: Annotated[str | None, Parameter(name=("--option", "-o"), help="Print the value of one option.")] = None,
    full: Annotated[
        bool,
        Parameter(
            name=("--full", "-f"), negative="", show_default=False, help="With -o: print file names as whole paths."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        Parameter(
            name=("--quiet", "-q"), negative="", show_default=False, help="Say nothing when there is nothing wrong."
        ),
    ] = False,
) -> int:
    """Check a configuration: every error of the file in one run, with line and column.

    The exit code is unbound-checkconf's: 0 if the file is fine, 1 if it is not.
    """
    from runbound import cli
    from runbound.api import companion  # noqa: F401  # registers the options it honours, as every import here
    from runbound.engine import Scan, scan
    from runbound.engine.compile import ways
    from runbound.keys import settings
    from runbound.ops import audit, service  # noqa: F401
    from runbound.ops.source import checker, reason

    path = conf if conf is not None else cli.default_config()
    try:
        loaded: Loaded[Scan] = load(
            path, os.getcwd(), scan, checker(os.path.abspath(path)), (partial(settings.rule, look=True),)
        )
    except OSError as error:
        raise RunboundError(f"cannot read it: {reason(error)}", path) from error
    rows = report.rows(loaded.config, loaded.scan.bulk_counts()) if report_ and loaded.ok else ()
    if json:
        document = {"file": path, "ok": loaded.ok, "diagnostics": loaded.diagnostics, "report": rows}
        if not report_:
            del document["report"]
        print(_as_json(document))
        return EXIT_OK if loaded.ok else EXIT_FAILURE
    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    for finding in loaded.diagnostics:
        print(finding.render(color=color), file=sys.stderr)
    if not loaded.ok:
        errors = count_errors(loaded.diagnostics)
        print(f"runbound check: {errors} error{'' if errors == 1 else 's'} in {path}", file=sys.stderr)
        return EXIT_FAILURE
    if option is not None:
        return _print_option(loaded.config, path, option, full=full)
    if report_:
        print(report.as_table(rows))
        print(ways(loaded.config))
    elif not quiet:
        print(f"runbound check: no errors in {path}")
        stopping = len(start.refusals(loaded.config))
        if stopping:
            print(
                f"  {stopping} line{'s' if stopping > 1 else ''} would stop a start: see runbound check --report {path}"
            )
    return EXIT_OK


def _as_json(document: object) -> str:
    """The document as JSON; octets of the file that are no text become the replacement character."""
    text = json_.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _print_option(config: Config, path: str, name: str, *, full: bool) -> int:
    if name in options.SECRETS:
        raise RunboundError(f"{name} is a secret and is not printed", fix="read it in the file")
    value = report.value_of(config, name)
    if value is None:
        raise RunboundError(f"cannot print option {name}", fix="name an option that has one value or a list")
    if full and value and _names_files(name):
        main_file = os.path.abspath(path)
        value = "\n".join(paths.resolve(config, main_file, line) for line in value.split("\n"))
    print(value)
    return EXIT_OK


def _names_files(name: str) -> bool:
    return any(
        found.types[0] in FILE_TYPES
        for clause in options.SINGLE_CLAUSES
        if (found := options.find(clause, name)) is not None
    )


@app.command
def lab(
    *command: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="With --namespace, after --: what to run inside.")
    ],
    address: Annotated[str, Parameter(help="Where the resolver of the lab listens besides its own address.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, Parameter(help="Port of every server, UDP and TCP; 0 takes a free one. 5300, in a namespace 53.")
    ] = None,
    namespace: Annotated[
        str | None,
        Parameter(help="Make a network of this name, with port 53 and addresses in 198.18.0.0/15, and serve in it."),
    ] = None,
    add: Annotated[Path | None, Parameter(help="A file with zones to add to the world; five lines are one.")] = None,
    world: Annotated[Path | None, Parameter(help="Another world than the one in the package.")] = None,
    folder: Annotated[
        str, Parameter(help="Where root hints, trust anchor and ready configurations are written.")
    ] = ".runbound/lab",
    list_: Annotated[
        bool, Parameter(name="--list", negative="", show_default=False, help="Print the table of zones and end.")
    ] = False,
    config: Annotated[
        Literal["unbound", "runbound"] | None,
        Parameter(help="Print a configuration that resolves this world with that resolver, and end."),
    ] = None,
    seconds: Annotated[float | None, Parameter(help="End after so many seconds.")] = None,
    quiet: Annotated[
        bool,
        Parameter(name=("--quiet", "-q"), negative="", show_default=False, help="Say only when it is ready."),
    ] = False,
) -> int:
    """Run the lab: an Internet in a box, with a signed root and zones of every kind, good and broken.

    Prints what there is to try. Nothing it does leaves this machine. Ctrl-C ends it.
    """
    from runbound.lab import program

    if command and namespace is None:
        raise RunboundError(f'"{command[0]}" can only run in a namespace', "lab", "add --namespace NAME before --")
    try:
        plan = program.Plan(
            address=address,
            port=port,
            world=world,
            added=add,
            namespace=namespace,
            command=command,
            folder=folder,
            seconds=seconds,
            quiet=quiet,
        )
        if list_ or config is not None:
            program.show(plan, config)
            return EXIT_OK
        return program.run(plan)
    except (OSError, ValueError) as error:
        raise RunboundError(str(error), "lab") from error
