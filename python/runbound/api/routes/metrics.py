"""`/metrics`: the figures for Prometheus and its kind, as OpenMetrics or in the older text form, as the client asks."""

import time

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from runbound.api import upstreams
from runbound.api.auth import Reader
from runbound.api.context import Resolver
from runbound.api.metrics import Figures, Snapshot

router = APIRouter(tags=["stats"])


@router.get(
    "/metrics",
    summary="Figures as OpenMetrics",
    response_class=Response,
    responses={
        200: {
            "description": "Names start with `runbound_`; times in seconds, sizes in bytes",
            "content": {"application/openmetrics-text": {}, "text/plain": {}},
        }
    },
)
def get_metrics(request: Request, resolver: Resolver, _caller: Reader) -> Response:
    """A client that asks for `application/openmetrics-text` gets that, any other the text form of Prometheus."""
    engine = resolver.engine
    uptime = time.monotonic() - resolver.started
    snapshot = Snapshot(
        stats=engine.stats(),
        cache=engine.cache_usage(),
        system=engine.system(),
        upstreams=upstreams.read(engine.upstreams()),
        uptime=uptime,
        started=round(time.time() - uptime, 3),
        revision=resolver.changes.running.revision,
    )
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(Figures(snapshot)), media_type=media_type)
