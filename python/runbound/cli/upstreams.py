"""`runbound upstreams` and `runbound resolution`: the servers that questions are forwarded to, and whether they are.

Owns how that looks on a terminal. What a server may be is the API's to say.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from cyclopts import App, Parameter

from runbound.cli.client import Client, clean
from runbound.cli.remote import AsJson, Conf, Reason, Url, as_json, find, table
from runbound.errors import EXIT_OK, RunboundError

upstreams = App(name="upstreams", help="Look at the servers that questions are forwarded to, add and remove them.")

Server = Annotated[str, Parameter(help="Its address, with @port if that is not 53; or its id.")]
Zone = Annotated[str, Parameter(help="The names it is asked about: this one and all below.")]


@upstreams.default
@upstreams.command(name="list")
def list_(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print the servers that questions are forwarded to, and how each of them does."""
    found = find(conf, url).get("/upstreams?limit=1000")
    if json:
        return as_json(found)
    rows = [
        (
            *(row[part] for part in ("zone", "address", "transport")),
            row["state"] if row["enabled"] else "off",
            "" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f} ms",
            *(row[part] for part in ("queries", "answers", "timeouts", "failures")),
            {"file": f"{row['file']}:{row['line']}", "api": "API"}.get(row["origin"], row["origin"]),
            _trouble(row),
        )
        for row in found["items"]
    ]
    head = (
        "zone",
        "address",
        "over",
        "state",
        "rtt",
        "queries",
        "answers",
        "timeouts",
        "failures",
        "from",
        "last error",
    )
    table(head, rows, right=(4, 5, 6, 7, 8))
    print(f"{found['healthy']} of {found['total']} healthy")
    return EXIT_OK


@upstreams.command
def add(
    server: Annotated[str, Parameter(help="Its address, with @port if that is not 53.")],
    zone: Zone = ".",
    /,
    *,
    tcp: Annotated[bool, Parameter(negative="", show_default=False, help="Ask it over TCP.")] = False,
    comment: Annotated[str | None, Parameter(help="For who reads the list later.")] = None,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Ask another server: `runbound upstreams add 192.0.2.1`, or `… add 192.0.2.1@5353 corp.example`."""
    address, port = _split(server)
    body = {"zone": zone, "address": address, "port": port, "transport": "tcp" if tcp else "udp", "comment": comment}
    return _told(find(conf, url).post("/upstreams" + _because(reason), body), json=json)


@upstreams.command
def remove(
    server: Server,
    zone: Zone = ".",
    /,
    *,
    whole: Annotated[
        bool, Parameter(name="--zone", negative="", show_default=False, help="Also the last one of its zone.")
    ] = False,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Ask a server no more that came by API."""
    client = find(conf, url)
    query = urlencode({**({"reason": reason} if reason else {}), **({"zone": 1} if whole else {})})
    client.delete(f"/upstreams/{_id(client, server, zone)}{'?' if query else ''}{query}")
    print(f"{clean(server)} is asked no more")
    return EXIT_OK


@upstreams.command
def enable(server: Server, zone: Zone = ".", /, *, reason: Reason = "", conf: Conf = None, url: Url = None) -> int:
    """Ask a server again that was switched off."""
    return _switch(find(conf, url), server, zone, reason, enabled=True)


@upstreams.command
def disable(server: Server, zone: Zone = ".", /, *, reason: Reason = "", conf: Conf = None, url: Url = None) -> int:
    """Leave a server alone, in the file or not."""
    return _switch(find(conf, url), server, zone, reason, enabled=False)


@upstreams.command
def probe(server: Server, zone: Zone = ".", /, *, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Ask a server one question now, and tell how it went."""
    client = find(conf, url)
    found = client.post(f"/upstreams/{_id(client, server, zone)}/probe", {})
    if json:
        return as_json(found)
    if not found["answered"]:
        print(f"{clean(server)}: {clean(found['error'])}")
        return EXIT_OK
    recursion = "" if found["recursion"] else ", but does not resolve for us"
    print(
        f"{clean(server)}: {clean(found['rcode'])} in {found['rtt_ms']:.1f} ms{recursion}; "
        f"signatures: {clean(found['signatures'])}"
    )
    return EXIT_OK


@upstreams.command
def presets(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print public resolvers, as their operators publish them."""
    found = find(conf, url).get("/upstreams/presets")
    if json:
        return as_json(found)
    rows = [
        (row["name"], row["operator"], "yes" if row["filters"] else "no", " ".join(row["addresses"]))
        for row in found["presets"]
    ]
    return table(("name", "operator", "filters", "addresses"), rows)


@upstreams.command
def reconnect(*, conf: Conf = None, url: Url = None) -> int:
    """Try every server anew, whatever is known of it."""
    found = find(conf, url).post("/upstreams/reconnect", {})
    print(f"{found['servers']} servers are tried anew")
    return EXIT_OK


def resolution(
    mode: Annotated[
        Literal["forward", "full-recursion"] | None, Parameter(help="How names shall be found from now on.")
    ] = None,
    /,
    *,
    reason: Reason = "",
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Print how names are found, or change it."""
    client = find(conf, url)
    found = client.get("/resolution") if mode is None else client.put("/resolution" + _because(reason), {"mode": mode})
    if json:
        return as_json(found)
    zones = ", ".join(map(clean, found["forward_zones"])) or "none"
    print(f"{clean(found['mode'])} (said by: {clean(found['origin'])}); forward zones: {zones}")
    return EXIT_OK


def _split(server: str) -> tuple[str, int]:
    address, sign, port = server.partition("@")
    if sign and not (port.isascii() and port.isdigit()):
        raise RunboundError(f"{server}: {port} is no port")
    return address, int(port) if sign else 53


def _id(client: Client, server: str, zone: str) -> str:
    """The id of a server of a zone, named by its address or by its id."""
    address, port = _split(server)
    apex = zone.lower().rstrip(".") + "."
    for row in client.get("/upstreams?limit=1000")["items"]:
        if row["id"] == server or (row["zone"], row["address"]) == (apex, f"{address}@{port}"):
            return str(row["id"])
    raise RunboundError(f"{clean(server)} is no server of {clean(zone)}", fix="see runbound upstreams")


def _switch(client: Client, server: str, zone: str, reason: str, *, enabled: bool) -> int:
    found = client.patch(f"/upstreams/{_id(client, server, zone)}{_because(reason)}", {"enabled": enabled})
    return _told(found, json=False)


def _told(found: Any, *, json: bool) -> int:
    if json:
        return as_json(found)
    what = "is asked" if found["enabled"] else "is left alone"
    print(f"{clean(found['address'])} {what} about {clean(found['zone'])}")
    return EXIT_OK


def _because(reason: str) -> str:
    return f"?{urlencode({'reason': reason})}" if reason else ""


def _trouble(row: Mapping[str, Any]) -> str:
    again = "" if row["retry_in_ms"] is None else f"tried again in {row['retry_in_ms'] / 1000:.1f} s"
    return ", ".join(text for text in (row["last_error"], again) if text)
