"""`/upstreams`: the servers that questions are forwarded to, and how each of them does."""

from fastapi import APIRouter

from runbound.api import problems, upstreams
from runbound.api.auth import Reader
from runbound.api.context import Resolver
from runbound.api.problems import ProblemError
from runbound.api.upstreams import Upstream, Upstreams

router = APIRouter(tags=["upstreams"])


@router.get("/upstreams", summary="Every upstream server, its health and its counters")
def get_upstreams(resolver: Resolver, _caller: Reader) -> Upstreams:
    """A server that serves several zones has a row for each."""
    found = upstreams.read(resolver.engine.upstreams())
    return Upstreams(healthy=upstreams.healthy(found), total=len(found), upstreams=found)


@router.get("/upstreams/{id}", summary="One upstream server", responses=problems.documented("NOT_FOUND"))
def get_upstream(id: str, resolver: Resolver, _caller: Reader) -> Upstream:  # noqa: A002  # the name in the path
    """The id is that of the list."""
    for upstream in upstreams.read(resolver.engine.upstreams()):
        if upstream.id == id:
            return upstream
    raise ProblemError("NOT_FOUND", "no upstream server has this id; GET /upstreams lists them")
