"""Errors as `application/problem+json` (RFC 9457), each with a stable `code` that a program may rely on.

Owns the list of codes, the shape of a problem, and the handlers that turn every error of the framework into one (the
gate makes those of our own mistakes, the server those of broken HTTP): no response with a status of 400 or more leaves
the API in another shape. A problem never carries a secret or a traceback.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException as FastApiHTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from runbound.ops.refusals import Refusal

MEDIA_TYPE: Final = "application/problem+json"

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "MALFORMED_REQUEST": (400, "The request cannot be read"),
    "UNAUTHORIZED": (401, "A valid bearer token is needed"),
    "FORBIDDEN": (403, "The caller's role does not include this"),
    "OUT_OF_ZONE": (403, "The caller is limited to other zones"),
    "NOT_FOUND": (404, "There is nothing here"),
    "NO_SUCH_REVISION": (404, "There is no such revision to go back to"),
    "NOTHING_TO_CONFIRM": (404, "No change waits under this token"),
    "METHOD_NOT_ALLOWED": (405, "This resource does not take that method"),
    "CONFIRM_PENDING": (409, "Another change waits for its confirmation"),
    "OPTION_NOT_SETTABLE": (409, "This option cannot be set by API, or not to this value"),
    "TOO_SLOW": (408, "The body came too slowly"),
    "CONFLICT": (409, "Another entry is in the way"),
    "IN_FILE": (409, "It stands in the configuration file"),
    "LAST_UPSTREAM": (409, "It is the last server of its zone"),
    "KEY_IN_HSM": (409, "The key lives in a hardware security module: change it there"),
    "HSM_BUSY": (409, "Keys are being loaded already"),
    "HSM_NOT_USED": (409, "No key comes from a hardware security module"),
    "TOO_MANY_USERS": (409, "There are as many users as allowed"),
    "TOO_MANY_NEGATIVE_ANCHORS": (409, "There are as many negative trust anchors as allowed"),
    "TOO_MANY_BACKUPS": (409, "There are as many backups as are kept"),
    "LENGTH_REQUIRED": (411, "The length of the body has to be said beforehand"),
    "PRECONDITION_FAILED": (412, "It has changed since it was read"),
    "BODY_TOO_LARGE": (413, "The body is larger than the limit"),
    "BACKUP_INVALID": (422, "The backup is not what was sealed, nothing changed"),
    "BULK_INVALID": (422, "Entries of the list are wrong, nothing changed"),
    "CONFIG_INVALID": (422, "The configuration has errors, nothing changed"),
    "HSM_REFUSED": (422, "The security module does not give what the configuration names, the keys in force stay"),
    "NOT_OFFERED": (422, "This resolver does not do that yet"),
    "TOO_MANY_BLOCKS": (422, "There would be more blocked names than allowed, nothing changed"),
    "TOO_MANY_RECORDS": (422, "There would be more local records than allowed, nothing changed"),
    "VALIDATION_FAILED": (422, "The request does not fit the schema"),
    "TOO_MANY_FAILURES": (429, "Too many wrong keys came from this address"),
    "RATE_LIMITED": (429, "Too many requests from this caller"),
    "CACHE_FLUSH_COOLDOWN": (429, "The whole cache was flushed a moment ago"),
    "TOO_MANY_BULKS": (429, "As many lists as allowed are being read or written"),
    "TOO_MANY_DUMPS": (429, "As many cache dumps as allowed are being written"),
    "TOO_MANY_LOADS": (429, "As many cache dumps as allowed are being read"),
    "TOO_MANY_LOOKUPS": (429, "As many lookups as allowed are under way"),
    "TOO_MANY_PROOFS": (429, "The audit log is being proven already"),
    "TOO_MANY_STREAMS": (429, "As many streams as allowed are open"),
    "ERASURE_INCOMPLETE": (500, "Memory has forgotten, the file of the query log has not"),
    "INTERNAL_ERROR": (500, "The control plane failed; DNS goes on"),
    "HSM_UNAVAILABLE": (503, "The security module cannot be had, the keys in force stay"),
    "STATE_UNAVAILABLE": (503, "Changes cannot be kept: there is no state"),
    "UNHEALTHY": (503, "A threshold is crossed"),
    "STOPPING": (503, "The resolver stops"),
    "LOOKUP_TIMEOUT": (504, "The lookup came to no end in time"),
}
"""Every code with its status and title. A code never changes its meaning."""


class FieldError(BaseModel):
    """One field of a request that does not fit."""

    field: str = Field(description="Where: `body.name`, `query.limit`; of a list the member alone")
    message: str
    line: int | None = Field(default=None, description="Of a list: its line, or its place in the array, from 1")
    hint: str | None = None


class DiagnosticItem(BaseModel):
    """One finding in a configuration file."""

    severity: str = Field(description="error, warning or note")
    file: str
    line: int = Field(description="From 1; 0 when the finding has no place")
    column: int = Field(description="From 1, in octets; 0 when the finding has no place")
    message: str
    hint: str | None = None


class TokenFailure(BaseModel):
    """What a security module, its library or its helper process did."""

    kind: str = Field(description="Stable name of what went wrong", examples=["label-absent"])
    function: str | None = Field(default=None, description="PKCS#11 function", examples=["C_Login"])
    code: int | None = Field(default=None, description="What it returned")
    name: str | None = Field(default=None, description="The name of that", examples=["CKR_PIN_INCORRECT"])
    labels: list[str] = Field(default=[], description="Labels that the token has, where one is missing")
    fix: str | None = Field(default=None, description="What to do")


class Problem(BaseModel):
    """An error, RFC 9457."""

    model_config = ConfigDict(json_schema_extra={"example": {"title": CODES["NOT_FOUND"][1], "code": "NOT_FOUND"}})

    type: str = Field(default="about:blank", description="about:blank: `code` says it all")
    title: str
    status: int
    code: str = Field(description="Stable name of this kind of error")
    detail: str | None = None
    request_id: str | None = None
    errors: list[FieldError] | None = None
    diagnostics: list[DiagnosticItem] | None = None
    hsm: TokenFailure | None = None


class ProblemError(FastApiHTTPException):
    """Raise it anywhere under a request: it becomes that problem.

    FastAPI's own exception, because FastAPI takes any other one for a broken body while it reads one.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
        diagnostics: list[DiagnosticItem] | None = None,
        hsm: TokenFailure | None = None,
    ) -> None:
        super().__init__(CODES[code][0], detail or CODES[code][1], dict(headers or {}))
        self.code = code
        self.extra: dict[str, Any] = {"errors": errors, "diagnostics": diagnostics, "hsm": hsm}


def invalid(field: str, message: str) -> ProblemError:
    """The problem of a request whose field fits its type and yet not the rest of the request."""
    return ProblemError("VALIDATION_FAILED", errors=[FieldError(field=field, message=message)])


def problem(
    code: str, detail: str | None = None, *, request_id: str | None = None, status: int | None = None, **extra: Any
) -> Problem:
    """Makes the problem of a code."""
    number, title = CODES[code]
    return Problem(
        title=title,
        status=status or number,
        code=code,
        detail=detail if detail != title else None,
        request_id=request_id,
        **extra,
    )


def response(body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP response of a problem."""
    return JSONResponse(
        body.model_dump(mode="json", exclude_none=True), body.status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def of_error(error: ProblemError, request_id: str | None) -> Response:
    """The HTTP response of a raised problem."""
    extra = {name: value for name, value in error.extra.items() if value is not None}
    body = problem(error.code, error.detail, request_id=request_id, **extra)
    return response(body, error.headers)


def install(app: FastAPI, methods: Callable[[str], list[str]]) -> None:
    """Registers the handlers, also for what starlette raises by itself (404, 405).

    `methods` tells all methods of a path: starlette by itself names those of the first matching route only.
    """

    async def _http(request: Request, error: Exception) -> Response:
        return _of_http(request, error, methods)

    app.add_exception_handler(HTTPException, _http)

    async def _invalid(request: Request, error: Exception) -> Response:
        if request.scope.get("runbound.method", request.method) in methods(request.url.path):
            return _validation(request, error)
        # GET /dns/bulk was taken for the record with the id "bulk".
        return _of_http(request, HTTPException(HTTPStatus.METHOD_NOT_ALLOWED), methods)

    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Refusal, _refused)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these codes, one entry a status."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = CODES[code]
        text = f"`{code}`: {title}"
        before = found.get(status, {}).get("description")
        found[status] = {
            "description": f"{before}; {text}" if before else text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def _request_id(request: Request) -> str | None:
    value = request.scope.get("runbound.request_id")
    return value if isinstance(value, str) else None


def _of_http(request: Request, error: Exception, methods: Callable[[str], list[str]]) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_MODIFIED:
        return Response(status_code=error.status_code, headers=dict(error.headers or {}))
    request_id = _request_id(request)
    if isinstance(error, ProblemError):
        return of_error(error, request_id)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(methods(request.url.path))
        method = request.scope.get("runbound.method", request.method)
        detail = f"{method} is not among {headers['Allow']}"
        return response(problem("METHOD_NOT_ALLOWED", detail, request_id=request_id), headers)
    code = next((name for name, (status, _) in CODES.items() if status == error.status_code), "INTERNAL_ERROR")
    return response(problem(code, error.detail, request_id=request_id, status=error.status_code), headers)


async def _refused(request: Request, error: Exception) -> Response:
    """A change that was not made, for a reason with a code."""
    assert isinstance(error, Refusal)
    return response(
        problem(error.code, f"{error.what}; {error.fix}" if error.fix else error.what, request_id=_request_id(request))
    )


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(field=".".join(str(part) for part in item["loc"]), message=item["msg"]) for item in error.errors()
    ]
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/json" and [item.field for item in errors] == ["body"]:
        errors = [FieldError(field="body", message="the body has to come as Content-Type: application/json")]
    return response(problem("VALIDATION_FAILED", request_id=_request_id(request), errors=errors))
