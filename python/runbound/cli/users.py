"""`runbound users`: who may call the API, and their keys.

Owns how that looks on a terminal. A key is printed once, when it is made, on a line of its own so that a program can
take it; it must never be written anywhere else.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from runbound.cli.client import Client, clean
from runbound.cli.remote import AsJson, Conf, Reason, Url, as_json, find, table
from runbound.cli.times import date, seconds
from runbound.errors import EXIT_OK, RunboundError

users = App(name="users", help="Look at who may call the API, make users and their keys, take them away.")

Name = Annotated[str, Parameter(help="The user's name.")]
Life = Annotated[
    str | None, Parameter(name="--for", help="How long the key works: a number with s, m, h, d or w. For ever.")
]


@users.command(name="list")
def list_(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print every user."""
    found = list(_all(find(conf, url)))
    if json:
        return as_json(found)
    rows = [
        (
            row["name"],
            row["role"],
            " ".join(row["zones"]),
            "disabled" if row["disabled"] else _life(row["key"]),
            date(row["key"]["last_used"]) or "never",
            row["comment"],
        )
        for row in found
    ]
    return table(("name", "role", "zones", "key", "last used", "comment"), rows)


@users.command
def add(
    name: Name,
    role: Annotated[Literal["read", "dns", "operator", "admin"], Parameter(help="What they may.")],
    /,
    *,
    zone: Annotated[
        tuple[str, ...], Parameter(negative="", help="Only names at and below this one; may be given again.")
    ] = (),
    life: Life = None,
    comment: Annotated[str, Parameter(help="For who reads the list later.")] = "",
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Make a user and print the key, which is shown this once."""
    body: dict[str, object] = {"name": name, "role": role, "zones": list(zone), "comment": comment}
    if life is not None:
        body["key_seconds"] = seconds(life)
    return _made(find(conf, url).post("/users" + _because(reason), body), json=json)


@users.command
def delete(name: Name, /, *, reason: Reason = "", conf: Conf = None, url: Url = None) -> int:
    """Delete a user; the key is dead at once."""
    client = find(conf, url)
    client.delete(f"/users/{_id(client, name)}{_because(reason)}")
    print(f"{clean(name)} is deleted")
    return EXIT_OK


@users.command(name="rotate-key")
def rotate_key(
    name: Annotated[str | None, Parameter(help="The user's name; without one, your own key.")] = None,
    /,
    *,
    life: Life = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Give a user a new key, or the resolver a new API key (`api-key`), and print it; the old one is dead at once."""
    client = find(conf, url)
    if name == "api-key":
        if life is not None:
            raise RunboundError("the API key has no end", fix="leave out --for")
        found = client.post("/rotate-key", {})
        if json:
            return as_json(found)
        print(f"the API key is new, and kept in {clean(found['file'])}:\n{clean(found['secret'])}")
        return EXIT_OK
    number = client.get("/users/me")["id"] if name is None else _id(client, name)
    if number is None:
        raise RunboundError("you call with the API key, not as a user", fix="name a user, or api-key")
    body = {} if life is None else {"key_seconds": seconds(life)}
    return _made(client.post(f"/users/{number}/rotate-key{_because(reason)}", body), json=json)


@users.command
def me(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print who the resolver takes you for."""
    found = find(conf, url).get("/users/me")
    if json:
        return as_json(found)
    zones = f", limited to {' '.join(map(clean, found['zones']))}" if found["zones"] else ""
    print(f"{clean(found['name'])}, role {clean(found['role'])}{zones}")
    return EXIT_OK


def _all(client: Client) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = client.get(f"/users?limit=1000{cursor}")
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = f"&cursor={page['next']}"


def _id(client: Client, name: str) -> int:
    for row in _all(client):
        if row["name"] == name:
            return int(row["id"])
    raise RunboundError(f"there is no user {clean(name)}", fix="see runbound users list")


def _because(reason: str) -> str:
    return f"?reason={quote(reason, safe='')}" if reason else ""


def _made(found: Mapping[str, Any], *, json: bool) -> int:
    if json:
        return as_json(found)
    zones = f" in {' '.join(map(clean, found['zones']))}" if found["zones"] else ""
    print(f"{clean(found['name'])} may {clean(found['role'])}{zones}; {_life(found['key'])}. The key, shown this once:")
    print(clean(found["secret"]))
    return EXIT_OK


def _life(key: Mapping[str, Any]) -> str:
    if key["expires"] is None:
        return "for ever"
    return f"{'until' if key['expires'] > time.time() else 'ended'} {date(key['expires'])}"
