"""How to make every error happen that the API documents: a function for each code of `problems.CODES`.

Owns the list alone; `test_reach` calls each one and looks whether it is that error. A code that nothing can reach is a
promise that nobody keeps, so a code without a function here fails.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from runbound.api import bulk, limits
from runbound.api.apikey import Holder, KeyCheck, TokenCheck
from runbound.errors import RunboundError
from runbound.keys.messages import Failure
from runbound.ops import users
from runbound.ops.candidate import Candidate
from runbound.ops.nowhere import Nowhere
from runbound.ops.refusals import StateUnavailable
from runbound.state import backup
from runbound.state.entries import Edit, Note, Pending, canonical
from support.api import KEY, Api, configure, listening
from support.control import server_config
from support.hsm import with_hsm

if TYPE_CHECKING:
    from collections.abc import Callable

Reached = tuple[int, str]
"""Status and code."""
REACH: dict[str, Callable[[Api], Reached]] = {}


def reaches(code: str) -> Callable[[Callable[[Api], Reached]], Callable[[Api], Reached]]:
    """Registers a function as the way to this code."""

    def register(way: Callable[[Api], Reached]) -> Callable[[Api], Reached]:
        assert code not in REACH, code
        REACH[code] = way
        return way

    return register


def told(answer: Any) -> Reached:
    """What an answer says."""
    return answer.status_code, answer.json()["code"]


def user_key(api: Api, role: str, *zones: str) -> dict[str, str]:
    """The header of a new user."""
    body = {"name": f"user-{api.store.revision}", "role": role, "zones": list(zones)}
    secret = api.client.post("/users", json=body, headers=api.key).json()["secret"]
    return {"Authorization": f"Bearer {secret}"}


@reaches("UNAUTHORIZED")
def _(api: Api) -> Reached:
    return told(api.client.get("/stats"))


@reaches("FORBIDDEN")
def _(api: Api) -> Reached:
    return told(api.client.post("/reload", headers=user_key(api, "read")))


@reaches("OUT_OF_ZONE")
def _(api: Api) -> Reached:
    asked = {"name": "www.example"}
    return told(api.client.post("/dns/lookup", json=asked, headers=user_key(api, "read", "home.arpa")))


@reaches("NOT_FOUND")
def _(api: Api) -> Reached:
    return told(api.client.get("/users/1", headers=api.key))


@reaches("MALFORMED_REQUEST")
def _(api: Api) -> Reached:
    both = {"Content-Length": "2", "Transfer-Encoding": "chunked"}
    return told(api.client.post("/reload", content=b"{}", headers={**api.key, **both}))


@reaches("METHOD_NOT_ALLOWED")
def _(api: Api) -> Reached:
    return told(api.client.get("/reload", headers=api.key))


@reaches("CONFLICT")
def _(api: Api) -> Reached:
    for _ in range(2):
        answer = api.client.post("/users", json={"name": "anna", "role": "read"}, headers=api.key)
    return told(answer)


@reaches("KEY_IN_HSM")
def _(api: Api) -> Reached:
    api.client.app.state.api_key = Holder(KeyCheck(KEY), token=TokenCheck(bytes(32), bytes(32)))  # type: ignore[attr-defined]  # as build made it
    return told(api.client.post("/rotate-key", headers=api.key))


@reaches("HSM_NOT_USED")
def _(api: Api) -> Reached:
    return told(api.client.post("/hsm/reload", headers=api.key))


@reaches("HSM_BUSY")
def _(api: Api) -> Reached:
    with_hsm(api)
    loading = api.client.app.state.context.hsm_reload  # type: ignore[attr-defined]
    with loading._lock:
        return told(api.client.post("/hsm/reload", headers=api.key))


@reaches("HSM_REFUSED")
def _(api: Api) -> Reached:
    with_hsm(api).failure = Failure(kind="label-absent", detail="store key", labels=["another"])
    return told(api.client.post("/hsm/reload", headers=api.key))


@reaches("HSM_UNAVAILABLE")
def _(api: Api) -> Reached:
    with_hsm(api).failure = Failure(kind="timeout", function="C_OpenSession")
    return told(api.client.post("/hsm/reload", headers=api.key))


@reaches("TOO_MANY_USERS")
def _(api: Api) -> Reached:
    _, key = users.new_key(None, time.time())
    edits = []
    for number in range(users.MAX_USERS):
        doc = {"name": f"u{number}", "role": "read", "created": 0, "key": msgspec.to_builtins(key)}
        edits.append(Edit("user", f"u{number}".encode(), canonical(doc)))
    committed = api.store.commit([Pending(Note("a test", "", "edit"), tuple(edits))])
    api.store.applied([committed[0].revision])
    return told(api.client.post("/users", json={"name": "one-more", "role": "read"}, headers=api.key))


@reaches("TOO_MANY_NEGATIVE_ANCHORS")
def _(api: Api) -> Reached:
    api.engine.full = True
    return told(api.client.post("/dnssec/negative-anchors", json={"name": "example"}, headers=api.key))


@reaches("LENGTH_REQUIRED")
def _(api: Api) -> Reached:
    return told(api.client.post("/cache/load", content=iter([b"START_RRSET_CACHE\n"]), headers=api.key))


@reaches("PRECONDITION_FAILED")
def _(api: Api) -> Reached:
    made = api.client.post("/users", json={"name": "anna", "role": "read"}, headers=api.key).json()
    headers = {**api.key, "If-Match": '"r0-0"'}
    return told(api.client.patch(f"/users/{made['id']}", json={"comment": "x"}, headers=headers))


@reaches("BODY_TOO_LARGE")
def _(api: Api) -> Reached:
    body = b" " * (limits.Bounds().body + 1)
    return told(api.client.post("/reload", content=body, headers=api.key))


@reaches("CONFIG_INVALID")
def _(api: Api) -> Reached:
    api.source.next = RunboundError("cannot read it", "x.conf")
    return told(api.client.post("/reload", headers=api.key))


@reaches("VALIDATION_FAILED")
def _(api: Api) -> Reached:
    return told(api.client.post("/dns/lookup", json={"name": "a..b"}, headers=api.key))


@reaches("TOO_MANY_FAILURES")
def _(api: Api) -> Reached:
    for _ in range(limits.FREE_FAILURES + 1):
        api.client.get("/stats", headers={"Authorization": "Bearer wrong"})
    return told(api.client.get("/stats", headers=api.key))


@reaches("RATE_LIMITED")
def _(api: Api) -> Reached:
    api.source.next = Candidate(server_config(api_rate_limit=1, api_rate_burst=1), ())
    api.client.post("/reload", headers=api.key)
    for _ in range(2):
        answer = api.client.get("/stats", headers=api.key)
    return told(answer)


@reaches("CACHE_FLUSH_COOLDOWN")
def _(api: Api) -> Reached:
    for _ in range(2):
        answer = api.client.post("/cache/flush", json={"what": "all"}, headers=api.key)
    return told(answer)


def full(api: Api, places: str, method: str, path: str, **more: Any) -> Reached:
    """The answer when every place is taken."""
    kept = getattr(api.client.app.state, places)  # type: ignore[attr-defined]  # as build made it
    kept.taken = kept._limit
    return told(api.client.request(method, path, headers=api.key, **more))


@reaches("TOO_MANY_DUMPS")
def _(api: Api) -> Reached:
    return full(api, "dumps", "GET", "/cache/dump")


@reaches("TOO_MANY_LOADS")
def _(api: Api) -> Reached:
    return full(api, "loads", "POST", "/cache/load", content=b"START_RRSET_CACHE\n")


@reaches("TOO_MANY_LOOKUPS")
def _(api: Api) -> Reached:
    return full(api, "lookups", "POST", "/dns/lookup", json={"name": "example"})


@reaches("TOO_MANY_BACKUPS")
def _(api: Api) -> Reached:
    for _ in range(backup.MAX_BACKUPS):
        assert api.client.post("/backup", headers=api.key).status_code == 201
    return told(api.client.post("/backup", headers=api.key))


@reaches("BACKUP_INVALID")
def _(api: Api) -> Reached:
    return told(api.client.post("/backup/import", content=b"{}\n", headers=api.key))


@reaches("TOO_MANY_PROOFS")
def _(api: Api) -> Reached:
    return full(api, "proofs", "POST", "/audit/verify")


@reaches("TOO_MANY_STREAMS")
def _(api: Api) -> Reached:
    feed = api.client.app.state.feed  # type: ignore[attr-defined]  # as build made it
    feed._places.taken = feed._places._limit
    return told(api.client.get("/stats/stream", headers=api.key))


@reaches("INTERNAL_ERROR")
def _(api: Api) -> Reached:
    api.engine.stats = None  # type: ignore[method-assign,assignment]  # a mistake of ours
    return told(api.client.get("/stats", headers=api.key))


@reaches("STATE_UNAVAILABLE")
def _(api: Api) -> Reached:
    api.changes._store = Nowhere(StateUnavailable("there is no state directory"), 1)
    return told(api.client.get("/users", headers=api.key))


@reaches("STOPPING")
def _(api: Api) -> Reached:
    api.engine.release.clear()
    body = b'{"name": "a"}'
    head = (
        f"POST /dns/lookup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with listening(api) as (port, stop), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(head.encode() + body)
        while not api.engine.calls:
            time.sleep(0.01)
        stop.set()
        answer = b""
        while octets := client.recv(65536):
            answer += octets
        api.engine.release.set()
    return int(answer.split(b" ", 2)[1]), "STOPPING" if b'"code":"STOPPING"' in answer else answer.decode()


@reaches("LOOKUP_TIMEOUT")
def _(api: Api) -> Reached:
    api.engine.silent = True
    return told(api.client.post("/dns/lookup", json={"name": "example"}, headers=api.key))


@reaches("NO_SUCH_REVISION")
def _(api: Api) -> Reached:
    return told(api.client.post("/config/rollback/999", headers=api.key))


@reaches("OPTION_NOT_SETTABLE")
def _(api: Api) -> Reached:
    return told(api.client.patch("/config", json={"server": {"api-key": "k" * 40}}, headers=api.key))


@reaches("CONFIRM_PENDING")
def _(api: Api) -> Reached:
    for level in (3, 4):
        body = {"server": {"verbosity": level}}
        answer = api.client.patch("/config?confirm_within=60", json=body, headers=api.key)
    return told(answer)


@reaches("NOTHING_TO_CONFIRM")
def _(api: Api) -> Reached:
    return told(api.client.post("/config/confirm", json={"token": "never given"}, headers=api.key))


@reaches("BULK_INVALID")
def _(api: Api) -> Reached:
    return told(api.client.post("/dns/bulk", json=[{"name": "a..b", "type": "A"}], headers=api.key))


@reaches("TOO_MANY_BULKS")
def _(api: Api) -> Reached:
    api.client.app.state.bulks.taken = bulk.MAX_BULKS  # type: ignore[attr-defined]
    return told(api.client.post("/dns/bulk", json=[], headers=api.key))


@reaches("TOO_SLOW")
def _(api: Api) -> Reached:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "PATIENCE_SECONDS", -1.0)
        patch.setattr(bulk, "LEAST_RATE", 1 << 40)
        return told(api.client.post("/dns/bulk", json=[], headers=api.key))


@reaches("TOO_MANY_RECORDS")
def _(api: Api) -> Reached:
    configure(api, max_records=0)
    record = {"name": "nas.example", "type": "A", "value": "192.0.2.7"}
    return told(api.client.post("/dns", json=record, headers=api.key))


@reaches("TOO_MANY_BLOCKS")
def _(api: Api) -> Reached:
    configure(api, max_blocks=0)
    return told(api.client.post("/blacklist/bulk", json=[{"name": "ads.example"}], headers=api.key))


@reaches("NOT_OFFERED")
def _(api: Api) -> Reached:
    server = {"address": "192.0.2.1", "transport": "dot"}
    return told(api.client.post("/upstreams", json=server, headers=api.key))


@reaches("LAST_UPSTREAM")
def _(api: Api) -> Reached:
    server = {"address": "192.0.2.1", "zone": "corp.example"}
    made = api.client.post("/upstreams", json=server, headers=api.key).json()
    return told(api.client.delete(f"/upstreams/{made['id']}", headers=api.key))


@reaches("IN_FILE")
def _(api: Api) -> Reached:
    configure(api)
    (first, *_) = api.client.get("/upstreams", headers=api.key).json()["items"]
    return told(api.client.delete(f"/upstreams/{first['id']}", headers=api.key))


@reaches("ERASURE_INCOMPLETE")
def _(api: Api) -> Reached:
    api.engine.stuck = True
    return told(api.client.delete("/logs", headers=api.key))


@reaches("UNHEALTHY")
def _(api: Api) -> Reached:
    api.source.next = Candidate(server_config(health_servfail_threshold=50), ())
    api.client.post("/reload", headers=api.key)
    api.engine.counters["total.num.answers_servfail"] = api.engine.counters["total.num.queries"] = 100
    return told(api.client.get("/health"))
