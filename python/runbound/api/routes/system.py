"""`/system`: the process as the machine sees it."""

import os
import time

from fastapi import APIRouter
from pydantic import BaseModel, Field

from runbound import __version__
from runbound.api.auth import Reader
from runbound.api.context import Resolver

router = APIRouter(tags=["system"])


class Memory(BaseModel):
    """Octets."""

    resident_bytes: int
    message_cache_bytes: int
    message_cache_limit_bytes: int
    rrset_cache_bytes: int
    rrset_cache_limit_bytes: int


class System(BaseModel):
    """One process."""

    version: str
    node: str = Field(description="Name of this node (`node-id`)")
    pid: int
    uptime_secs: int
    cores: int = Field(description="Processors this process may use")
    workers: int = Field(description="Threads that answer questions")
    memory: Memory
    listening: list[str] = Field(description="Addresses where questions are answered", examples=[["127.0.0.1@53"]])
    sockets: dict[str, int] = Field(description="Open sockets by kind", examples=[{"udp": 4, "tcp_listen": 2}])
    racing_wins: int = Field(description="Races between upstream servers that the one asked later won")


@router.get("/system", summary="Version, uptime, cores, workers, memory, sockets")
def get_system(resolver: Resolver, _caller: Reader) -> System:
    """The rest of the machine is not looked at."""
    engine = resolver.engine
    figures, usage = engine.system(), engine.cache_usage()
    return System(
        version=__version__,
        node=resolver.node,
        pid=os.getpid(),
        uptime_secs=int(time.monotonic() - resolver.started),
        cores=len(os.sched_getaffinity(0)),
        workers=figures.get("workers", 0),
        memory=Memory(
            resident_bytes=figures.get("resident_bytes", 0),
            message_cache_bytes=usage.get("message.bytes", 0),
            message_cache_limit_bytes=usage.get("message.limit", 0),
            rrset_cache_bytes=usage.get("rrset.bytes", 0),
            rrset_cache_limit_bytes=usage.get("rrset.limit", 0),
        ),
        listening=engine.listening(),
        sockets={
            name.removeprefix("sockets."): count for name, count in figures.items() if name.startswith("sockets.")
        },
        racing_wins=figures.get("racing_wins", 0),
    )
