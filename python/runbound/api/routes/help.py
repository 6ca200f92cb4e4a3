"""`/help`: the list of what this API offers, for programs and for people with curl."""

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from runbound.api import auth

router = APIRouter(tags=["help"])


class Resource(BaseModel):
    """One call."""

    method: str = Field(examples=["GET"])
    path: str = Field(examples=["/api/v1/health"])
    summary: str
    needs_key: bool
    role: str | None = Field(
        description="The least role that may call it; `anybody`: every caller with a key; null: open to strangers",
        examples=["read"],
    )


class Help(BaseModel):
    """All calls, and where the full description is."""

    openapi: str
    resources: list[Resource]


@router.get("/help", summary="What this API offers (no key needed)")
def get_help(request: Request) -> Help:
    """Paths are given in their canonical form; those without a prefix are for clients of the 0.4 line."""
    routes: tuple[APIRoute, ...] = request.app.state.resources
    prefix = request.app.openapi_url.removesuffix("/openapi.json")
    return Help(
        openapi=request.app.openapi_url,
        resources=[
            Resource(
                method=method,
                path=prefix + route.path_format,
                summary=route.summary or route.name,
                needs_key=auth.scopes(route) is not None,
                role=auth.needed(route),
            )
            for route in routes
            for method in sorted(route.methods or ())
        ],
    )
