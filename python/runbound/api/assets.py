"""The pages that a browser is served, and what they are made of.

Owns the one table of files that may be fetched; a name outside of it is not looked for on the disk. They are open to
everybody who reaches the API, as they hold nothing of this resolver: what a page shows it asks of the API with the key
that is typed into it. It must never serve a page that loads anything from another host.
"""

import os
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

from runbound.api.problems import ProblemError

router = APIRouter(include_in_schema=False)

FOLDER: Final = os.path.join(os.path.dirname(__file__), "assets")
PAGE: Final = "docs.html"
FILES: Final = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""Name and media type of everything the page loads."""
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts and styles from here alone, none of them inline; `data:` are the icons inside the style sheet."""
KEEP_SECONDS: Final = 3600
"""How long a browser may keep the files; the next release may bring others under the same names."""


@router.get("/docs")
def get_docs() -> FileResponse:
    """The API's documentation, to read and to try."""
    return _file(PAGE, "text/html", {"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs/{name}")
def get_docs_file(name: str) -> FileResponse:
    """What that page loads."""
    kind = FILES.get(name)
    if kind is None:
        raise ProblemError("NOT_FOUND")
    return _file(name, kind, {"Cache-Control": f"max-age={KEEP_SECONDS}"})


def _file(name: str, kind: str, headers: dict[str, str]) -> FileResponse:
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        raise ProblemError("NOT_FOUND", "this build has no pages; ./dev build makes them, and every wheel has them")
    return FileResponse(path, media_type=kind, headers=headers)
