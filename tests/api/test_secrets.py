"""No response, no log line and no audit entry holds a secret, whatever is asked and whoever asks.

The one exception is the answer that makes a key, which shows that key and no other secret.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbound.config import options
from runbound.config.model import Config
from runbound.ops.candidate import Candidate
from runbound.ops.effective import settings as effective
from support.access import ACCESS, INSIDE
from support.api import KEY, Api, listening
from support.control import server_config

if TYPE_CHECKING:
    from collections.abc import Iterable

MAKERS = ("POST /users", "POST /users/{id}/rotate-key", "POST /rotate-key")
"""Calls whose answer shows a new key."""
SECRET_OPTIONS = [option for option in options.every("server") if option.name in options.SECRETS]


class Watch:
    """Every secret of one resolver, and who looks for them in what it says."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.configured = {option.name: f"Sesame-{option.name}-{'0' * 32}" for option in SECRET_OPTIONS}
        config = server_config(**{option.field: self.configured[option.name] for option in SECRET_OPTIONS})
        api.source.next = Candidate(config, ())
        assert api.client.post("/reload", headers=api.key).status_code == 200
        self.keys = {role: self._user(role) for role in ("read", "dns", "operator", "admin")}

    def _user(self, role: str) -> str:
        made = self.api.client.post("/users", json={"name": f"a-{role}", "role": role}, headers=self.api.key)
        return str(made.json()["secret"])

    @property
    def secrets(self) -> set[str]:
        """All of them, as they are now: keys, what is kept of keys, values of secret options."""
        found = {KEY, *self.configured.values(), *(key.split("_", 2)[2] for key in self.keys.values())}
        if self.api.files.key is not None:
            found.add(self.api.files.key)
        for entry in self.api.store.page("user", after=None, limit=1000):
            key = entry.doc.get("key", entry.doc)
            found |= {key["salt"], *([key["hash"]] if "hash" in key else key["dead"])}
        return found

    def look(self, texts: Iterable[str], *, beside: str = "\0") -> None:
        """Fails if a secret is in one of the texts; `beside` is a text of which those are left out that it holds."""
        wanted = {secret for secret in self.secrets if secret not in beside}
        for text in texts:
            assert [secret for secret in wanted if secret in text] == [], text

    def look_everywhere(self) -> None:
        """The log, the audit trail, the journal as the API shows it."""
        self.look(line for _, line in self.api.engine.lines)
        self.look([str(self.api.trail.entries)])
        self.look(line for _, line in self.api.store.audit_after(0, 1000))
        admin = bearer(self.keys["admin"])
        for revision in range(1, self.api.store.revision + 1):
            self.look([self.api.client.get(f"/config/history/{revision}", headers=admin).text])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def whole(answer: Any) -> str:
    """Head and body."""
    return f"{answer.headers.multi_items()}{answer.text}"


def shown(answer: Any) -> str:
    """The key that an answer shows."""
    body = answer.json() if answer.content and answer.headers.get("content-type") == "application/json" else {}
    key = body.get("secret", "") if isinstance(body, dict) else ""
    return key if isinstance(key, str) else ""


def test_the_configuration_has_secrets_to_leak(api: Api) -> None:
    Watch(api)
    hidden = {row.option: row.value for row in effective(api.changes.running.config) if row.secret and row.value}
    assert set(hidden) >= {option.name for option in SECRET_OPTIONS} >= {"api-key", "audit-log-hmac-key"}
    assert isinstance(api.changes.running.config, Config)


@pytest.mark.parametrize("title", sorted(ACCESS))
def test_the_good_answer_of_every_call(api: Api, title: str) -> None:
    watch, row, (method, path) = Watch(api), ACCESS[title], title.split(" ")
    path = row.path(api, INSIDE) if row.path is not None else path
    body = row.body(INSIDE) if callable(row.body) else row.body
    more: dict[str, Any] = {} if body is None else {"json": body}
    if row.content is not None:
        more = {"content": row.content}
    asked = "HEAD" if row.endless else method
    answer = api.client.request(asked, path + row.query, headers=bearer(watch.keys["admin"]), **more)
    assert answer.status_code == row.status, answer.text
    assert (shown(answer) != "") == (title in MAKERS and "dry_run" not in row.query)
    watch.look([whole(answer)], beside=shown(answer) or "\0")
    watch.look_everywhere()


@pytest.mark.parametrize("path", ["/stats/stream", "/logs/stream"])
def test_streams(api: Api, path: str) -> None:
    watch = Watch(api)
    with listening(api) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        said = b""
        while said.count(b"\n\n") < 1 and b"\r\n0\r\n" not in said:
            said += client.recv(65536)
    assert said.startswith(b"HTTP/1.1 200")
    watch.look([said.decode()])


WORDS = st.sampled_from(
    ["x", "1", "-1", "0", "true", "all", "user", "api-key", "home.arpa", "a..b", "*", "null", "\0", "é"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
MEMBERS = (
    "name",
    "role",
    "zones",
    "key",
    "key_seconds",
    "disabled",
    "comment",
    "what",
    "type",
    "value",
    "ttl",
    "seconds",
)
BODIES = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4),
    VALUES,
)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["dry_run", "limit", "cursor", "reason", "search", "name", "given", "before", "key", "confirm_within"]
    ),
    WORDS,
    max_size=3,
)
HEADERS = st.dictionaries(st.sampled_from(["If-Match", "If-None-Match", "X-Reason", "Accept"]), WORDS, max_size=2)
CALLERS = st.sampled_from(["read", "dns", "operator", "admin", "key", "wrong", "twice", "basic", "nobody"])


@pytest.fixture(scope="module")
def watch() -> Iterable[Watch]:
    from support.api import open_api

    with open_api() as api:
        yield Watch(api)


def credentials(watch: Watch, caller: str) -> list[tuple[str, str]]:
    """The headers by which this caller says who it is."""
    key = watch.keys.get(caller, KEY)
    ways = {
        "nobody": [],
        "wrong": [("Authorization", f"Bearer {key[:-1]}")],
        "twice": [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer other")],
        "basic": [("Authorization", f"Basic {key}"), ("Cookie", f"key={key}")],
    }
    return ways.get(caller, [("Authorization", f"Bearer {key}")])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=st.sampled_from(sorted(ACCESS)),
    caller=CALLERS,
    number=st.sampled_from(["1", "2", "3", "999", "0", "me", "x"]),
    query=QUERIES,
    body=BODIES,
    headers=HEADERS,
)
def test_whatever_is_asked(
    watch: Watch, title: str, caller: str, number: str, query: dict[str, str], body: object, headers: dict[str, str]
) -> None:
    api, (method, path) = watch.api, title.split(" ")
    for part in ("{id}", "{name}", "{client}", "{revision}"):
        path = path.replace(part, number)
    api.now[0] += 400.0  # no brake, no limit
    sent = [(name.encode(), value.encode()) for name, value in (*credentials(watch, caller), *headers.items())]
    asked = "HEAD" if ACCESS[title].endless else method
    more: dict[str, Any] = {} if body is None or asked in ("GET", "HEAD") else {"json": body}
    answer = api.client.request(asked, path, params=query, headers=sent, **more)
    assert answer.status_code != 500, (title, answer.text)
    watch.look([whole(answer)], beside=shown(answer) or "\0")
    watch.look(line for _, line in api.engine.lines[-20:])
    watch.look([str(api.trail.entries[-5:])])


def test_nothing_was_written_down_either(watch: Watch) -> None:
    watch.look_everywhere()
