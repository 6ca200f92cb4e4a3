"""Writes the pages of docs/ that are made from tables in the code, so that the two cannot drift apart.

`docs/reference/options.md` comes from the options table and from what the rooms have registered as honoured;
`docs/differences.md` from the list that the differential test allows; `docs/api/reference.md` from the API's own
OpenAPI document; `docs/reference/lab.md` from the lab's world. A test compares the committed pages with what this
makes. It must never hold facts of its own.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import runbound  # noqa: E402 - the path has to be set first
from runbound.api import auth  # noqa: E402
from runbound.api.problems import CODES  # noqa: E402
from runbound.config import options  # noqa: E402
from runbound.lab import gym  # noqa: E402
from runbound.lab import load as lab_world  # noqa: E402
from runbound.ops.users import ROLES  # noqa: E402
from support.api import open_api  # noqa: E402
from support.differences import CONFIGURATION, DIFFERENCES  # noqa: E402

APART = ("runbound._native", "runbound.__main__", "runbound.lab")
"""Modules that register nothing and are not to be imported for it."""


HEAD = ("| option | value | default | state | applies | meaning |", "|---|---|---|---|---|---|")
APPLIES = {"yes": "reload", "restart": "restart", "no": ""}
"""The table's `live` in the page's words."""


def register_everything() -> None:
    """Imports every room, so that every room has said what it honours."""
    for module in pkgutil.walk_packages(runbound.__path__, "runbound."):
        if not module.name.startswith(APART):
            importlib.import_module(module.name)


def state(option: options.Option) -> tuple[str, str]:
    """Where an option stands today, and the remark beside it."""
    if option.alias_of:
        return state(options.canonical(option))[0], f"another name of `{option.alias_of}`"
    if option.tier == "accept" or option.value_type == "ignored":
        return "without effect", option.reason
    if option.tier == "map" and option.live == "no":
        return "mapped", option.reason
    if not options.honoured(option):
        return "not yet", ""
    return ("mapped", option.reason) if option.tier == "map" else ("honoured", "")


def cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def options_page() -> str:
    """docs/reference/options.md."""
    register_everything()
    counts: dict[str, int] = {}
    sections: dict[str, list[str]] = {}
    for option in options.every():
        where, remark = state(option)
        counts[where] = counts.get(where, 0) + 1
        reload = (
            {"yes": "reload", "restart": "restart", "no": ""}[option.live] if where in ("honoured", "mapped") else ""
        )
        meaning = cell(f"{option.doc} {f'({remark})' if remark else ''}".strip())
        default = f"`{cell(option.default)}`" if option.default else ""
        kind = cell(option.value_type)
        sections.setdefault(option.clause, []).append(
            f"| `{option.name}` | {kind} | {default} | {where} | {reload} | {meaning} |"
        )
    summary = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("honoured", "mapped", "without effect", "not yet"))
    lines = [
        "# Options",
        "",
        "<!-- Made by `./dev docs` from python/runbound/config/options.tsv and the registry of honoured options. -->",
        "",
        "Every option that runbound knows, by clause. *State* says what happens today:",
        "",
        "- **honoured**: it does what it does in Unbound;",
        "- **mapped**: it does the same job our way, as the remark says;",
        "- **without effect**: it is read and ignored, as the remark says;",
        "- **not yet**: runbound does not start with it when it encrypts, filters, restricts clients or changes",
        "  answers; else it is named in a warning. `--allow-missing` starts all the same.",
        "",
        "*Applies* says whether a reload is enough or a restart is needed.",
        "",
        f"{sum(counts.values())} options: {summary}.",
    ]
    for clause, rows in sections.items():
        lines += [
            "",
            f"## {clause}",
            "",
            "| option | value | default | state | applies | meaning |",
            "|---|---|---|---|---|---|",
        ]
        lines += rows
    return "\n".join(lines) + "\n"


def differences_page() -> str:
    """docs/differences.md."""
    lines = [
        "# Differences from Unbound",
        "",
        "<!-- Made by `./dev docs` from tests/support/differences.py. -->",
        "",
        "runbound is meant to answer as Unbound does. A test starts Debian's Unbound 1.17.1 and runbound on the same",
        "files, asks both the same questions and compares response code, flags, question, sections, TTLs and EDNS.",
        "What differs on purpose stands here, with the reason; everything else that differs is a fault.",
        "",
        "## Answers",
        "",
    ]
    lines += ["None." if not DIFFERENCES else "| what | Unbound | runbound | why |"]
    lines += [] if not DIFFERENCES else ["|---|---|---|---|"]
    lines += [f"| {cell(d.what)} | {cell(d.unbound)} | {cell(d.runbound)} | {cell(d.why)} |" for d in DIFFERENCES]
    lines += ["", "## Configuration and operation", "", "| what | Unbound | runbound | why |", "|---|---|---|---|"]
    lines += [f"| {cell(d.what)} | {cell(d.unbound)} | {cell(d.runbound)} | {cell(d.why)} |" for d in CONFIGURATION]
    return "\n".join(lines) + "\n"


def lab_page() -> str:
    """docs/reference/lab.md."""
    lines = [
        "# The zones of the lab",
        "",
        "<!-- Made by `./dev docs` from python/runbound/lab/world.toml. -->",
        "",
        "What a right validating resolver makes of the questions that the lab suggests, from its root and trust anchor",
        "([how to use it](../how-to/lab.md)). *Secure* answers have the AD flag. *Bogus* ones are SERVFAIL, with this",
        "extended error (RFC 8914); resolvers differ in how exactly they name the reason. *Lost*: nobody answers.",
        "",
        "| question | what it teaches | answer | verdict |",
        "|---|---|---|---|",
    ]
    before = ""
    for row in gym.rows(lab_world()):
        teaches = cell(row.teaches) if row.zone != before else "the same zone"
        code = f", EDE {row.ede}" if row.verdict == "bogus" else ""
        lines.append(f"| `{row.name} {row.rdtype}` | {teaches} | {row.rcode} | {row.verdict}{code} |")
        before = row.zone
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """docs/api/reference.md."""
    with open_api() as api:
        schema = api.client.get("/api/v1/openapi.json").json()
    lines = [
        "# The API",
        "",
        "<!-- Made by `./dev docs` from the routes of python/runbound/api. -->",
        "",
        "Every route is at `/api/v1` and, for clients of the 0.4 line, once more without that prefix. OpenAPI 3.1 has",
        "the same at `/api/v1/openapi.json`, a short list is at `/api/v1/help`. How to call it: [how-to](how-to.md).",
        "",
        "Routes that need a role want `Authorization: Bearer KEY`; the API key has the role `admin`. Each role may all",
        "that those before it may:",
        "",
        *(f"- `{role}`: {may}" for role, may in ROLES.items()),
        "",
        "HEAD is answered wherever GET is. Errors are `application/problem+json` (RFC 9457) with a `code` that never",
        "changes its meaning.",
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path.removeprefix('/api/v1')}"]
            lines += operation_lines(schema, operation)
    lines += ["", "## Problems", "", "| code | status | meaning |", "|---|---|---|"]
    lines += [f"| `{code}` | {status} | {cell(title)} |" for code, (status, title) in CODES.items()]
    return "\n".join(lines) + "\n"


def needs(operation: dict[str, Any]) -> str:
    """Who may call it, as a sentence; nothing for what is open to everybody."""
    if not operation.get("security"):
        return ""
    scopes = {scope for requirement in operation["security"] for found in requirement.values() for scope in found}
    role = next((role for role in reversed(ROLES) if role in scopes), None)
    if role is None:
        return " Needs a key, of any role."
    return f" Needs the role `{role}`{', also one limited to zones' if auth.ZONES in scopes else ''}."


def operation_lines(schema: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """One method of one path: what it does, takes, answers and refuses."""
    lines = ["", f"{operation['summary']}.{needs(operation)}"]
    lines += ["", operation["description"]] if operation.get("description") else []
    for parameter in operation.get("parameters", ()):
        text = parameter.get("description", "")
        lines += ["", f"- `{parameter['name']}` (in the {parameter['in']}){f': {text}' if text else ''}"]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows = field_rows(schema, content["schema"])
        lines += ["", f"Body: `{kind}`{':' if rows else '.'}", *table(rows)]
    status, answer = next(item for item in operation["responses"].items() if item[0].startswith("2"))
    contents = answer.get("content", {})
    kinds = " or ".join(f"`{kind}`" for kind in contents)
    rows = [row for content in contents.values() for row in field_rows(schema, content.get("schema", {}))]
    text = ":" if rows else f". {answer['description']}."
    what = kinds if status == "200" else f"{status}, {kinds or 'without a body'}"
    lines += ["", f"Answer: {what}{text if contents else '.'}", *table(rows)]
    told = (response["description"] for response in operation["responses"].values())
    codes = sorted(code for text in told for code in re.findall(r"`([A-Z_]+)`:", text))
    return [*lines, "", f"Problems: {', '.join(f'`{code}`' for code in codes)}."]


def table(rows: list[str]) -> list[str]:
    """A table with its head; nothing if it has no rows."""
    return ["", "| field | type | meaning |", "|---|---|---|", *rows] if rows else []


def field_rows(schema: dict[str, Any], node: dict[str, Any], before: str = "") -> list[str]:
    """A row for each field of an object; those of an object inside it follow with their path."""
    rows = []
    target = resolved(schema, node)
    for name, field in target.get("properties", {}).items():
        inner = resolved(schema, field)
        choices = [resolved(schema, choice) for choice in inner.get("anyOf", [inner])]
        whole = next(choice for choice in choices if choice.get("type") != "null")
        items = resolved(schema, whole.get("items", {}))
        words = [f"list of {word(items)}" if choice.get("type") == "array" else word(choice) for choice in choices]
        text = field.get("description") or inner.get("description") or whole.get("description") or ""
        meaning = f"{cell(text.rstrip('.'))}." if text else ""
        if field.get("default") is not None:
            meaning += f" Default `{json.dumps(field['default'])}`."
        rows.append(f"| `{before}{name}` | {' or '.join(words)} | {meaning.strip()} |")
        rows += field_rows(schema, whole, f"{before}{name}.") + field_rows(schema, items, f"{before}{name}[].")
    return rows


def resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The schema a reference stands for."""
    while "$ref" in node:
        node = schema["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    return node


def word(node: dict[str, Any]) -> str:
    """The type in a word."""
    if isinstance(node.get("additionalProperties"), dict):
        return f"map to {word(node['additionalProperties'])}"
    return str(node.get("type", "any"))


PAGES = {
    "docs/reference/options.md": options_page,
    "docs/differences.md": differences_page,
    "docs/api/reference.md": api_page,
    "docs/reference/lab.md": lab_page,
}
"""Page -> what makes it."""


def main() -> int:
    """Writes every page."""
    for name, make in PAGES.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")
        print(name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
