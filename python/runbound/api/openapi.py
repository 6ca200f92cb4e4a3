"""The OpenAPI document: what every call takes and answers, for people and for programs.

Owns what stands in it beside the routes themselves: the words in front, the groups, and the problems that any call may
answer. It must never say of a route what the route does not do.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from runbound.api import auth, problems
from runbound.api.problems import Problem

DESCRIPTION: Final = """\
Every change is checked before it happens, works at once in every worker, is written down with who made it, and can be
taken back. Nothing needs a restart unless the answer says so.

* **Who calls**: `Authorization: Bearer KEY`. Each call says which role it needs: `read`, `dns`, `operator` or `admin`.
* **Errors** are `application/problem+json` (RFC 9457) with a stable `code`.
* **Lists** come in pages: `limit`, and `cursor` with what `next` said.
* **Versions**: `ETag` with `If-None-Match` and `If-Match` (RFC 9110), so that nobody overwrites what he has not seen.
* **Trying**: `dry_run=1` says what a change would do. `confirm_within` takes it back by itself unless it is confirmed.
"""
TAGS: Final = {
    "health": "Whether it works, for load balancers",
    "dns": "Records of one's own; questions asked here and now",
    "blacklist": "Names that are not resolved",
    "upstreams": "Servers that questions are forwarded to",
    "stats": "Counters, rates, lists of the most asked",
    "logs": "The query log",
    "cache": "What is remembered",
    "dnssec": "What is believed, and what is excused",
    "config": "The configuration, its history, and the way back",
    "users": "Who may call, and what",
    "audit": "Who did what, provably",
    "hsm": "The hardware security module that keys come from",
    "backup": "Copies of everything that was set by API",
    "system": "The process and the machine",
    "help": "This list",
}
"""Each group of calls and what it is about, in the order of the documentation."""


def install(app: FastAPI) -> None:
    """Makes the application's document this one."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=DESCRIPTION,
                license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
                tags=[{"name": name, "description": text} for name, text in TAGS.items()],
                routes=app.routes,
                openapi_version="3.1.0",
            )
            _, definitions = models_json_schema(
                [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(definitions["$defs"])
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for methods in schema["paths"].values():
                for operation in methods.values():
                    _complete(operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _complete(operation: dict[str, Any]) -> None:
    codes = ["MALFORMED_REQUEST", "METHOD_NOT_ALLOWED", "BODY_TOO_LARGE", "RATE_LIMITED", "INTERNAL_ERROR", "STOPPING"]
    if operation.get("security"):
        codes += [
            "UNAUTHORIZED",
            "TOO_MANY_FAILURES",
            "STATE_UNAVAILABLE",
            *auth.refusals(operation["security"][0]["bearer"]),
        ]
    responses = operation["responses"]
    if any(parameter["name"] == "if-none-match" for parameter in operation.get("parameters", ())):
        responses["304"] = {"description": "It is as the client has it (`If-None-Match`)"}
    if operation.get("parameters") or operation.get("requestBody"):
        codes.append("VALIDATION_FAILED")
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    said = " ".join(str(answer.get("description")) for answer in responses.values())
    for status, documented in problems.documented(*(code for code in codes if f"`{code}`" not in said)).items():
        present = responses.setdefault(str(status), documented)
        if present is not documented:
            present["description"] += f"; {documented['description']}"
