"""`/help`: the list of what this API offers, for programs and for people with curl."""

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

router = APIRouter(tags=["help"])


class Resource(BaseModel):
    """One call."""

    method: str = Field(examples=["GET"])
    path: str = Field(examples=["/api/v1/health"])
    summary: str
    needs_key: bool


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
                path=prefix + route.path,
                summary=route.summary or route.name,
                needs_key=needs_key(route),
            )
            for route in routes
            for method in sorted(route.methods or ())
        ],
    )


def needs_key(route: APIRoute) -> bool:
    """Whether a route takes an `Actor`."""
    return any(
        dependency.call is not None and dependency.call.__name__ == "_actor"
        for dependency in route.dependant.dependencies
    )
