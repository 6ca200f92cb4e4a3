"""`runbound dnssec`: what is trusted, and what is excused from validation for a while.

Owns how that looks on a terminal. What it means comes from the API; what comes from the network or the operator is
printed with control characters escaped.
"""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from runbound.cli.client import clean
from runbound.cli.remote import AsJson, Conf, Url, as_json, find, table
from runbound.cli.times import date, seconds
from runbound.errors import EXIT_OK

dnssec = App(name="dnssec", help="Look at trust anchors, and excuse names from validation for a while.")


@dnssec.command
def status(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print whether answers are validated, from where, and what is excused."""
    found = find(conf, url).get("/dnssec")
    if json:
        return as_json(found)
    if found["validating"]:
        permissive = ", but bogus answers are given out (val-permissive-mode)" if found["permissive"] else ""
        print(f"answers are validated from {_listed(found['trust_anchors'])}{permissive}")
    else:
        print("answers are not validated")
    print(f"negative trust anchors: {_listed(found['negative_anchors'])}")
    print(f"domain-insecure: {_listed(found['insecure'])}")
    return EXIT_OK


@dnssec.command
def anchors(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print the trust anchors, and how those do that follow their zones (RFC 5011)."""
    found = find(conf, url).get("/dnssec/anchors")
    if json:
        return as_json(found)
    rows = [
        (clean(anchor["zone"]), key["tag"], key["algorithm_name"], key["kind"], key["state"], date(key["since"]))
        for anchor in found["anchors"]
        for key in anchor["keys"]
    ]
    table(("zone", "tag", "algorithm", "kind", "state", "since"), rows, right=(1,))
    for anchor in found["anchors"]:
        if anchor["follows"]:
            print(f"{clean(anchor['zone'])} {_follows(anchor['follows'])}")
    return EXIT_OK


@dnssec.command
def excuses(*, conf: Conf = None, url: Url = None, json: AsJson = False) -> int:
    """Print the negative trust anchors: names that are not validated for a while."""
    found = find(conf, url).get("/dnssec/negative-anchors")
    if json:
        return as_json(found)
    rows = [
        (clean(row["name"]), date(row["until"]), "" if row["recheck_seconds"] else "to the end", clean(row["reason"]))
        for row in found["negative_anchors"]
    ]
    return table(("name", "until", "", "reason"), rows)


@dnssec.command
def excuse(
    name: Annotated[str, Parameter(help="The name; all below it is excused too.")],
    /,
    *,
    time: Annotated[  # the flag's name
        str, Parameter(name="--for", help="How long: a number with s, m, h, d or w; a week at most.")
    ] = "1h",
    reason: Annotated[str, Parameter(help="For who reads the list later.")] = "",
    forced: Annotated[
        bool, Parameter(negative="", show_default=False, help="To the end, even if the name validates again before.")
    ] = False,
    conf: Conf = None,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Do not validate a name for a while (a negative trust anchor, RFC 7646). Make sure first that it is no attack."""
    body = {"name": name, "seconds": seconds(time), "reason": reason, **({"recheck_seconds": 0} if forced else {})}
    found = find(conf, url).post("/dnssec/negative-anchors", body)
    if json:
        return as_json(found)
    print(f"{clean(found['name'])} is not validated until {date(found['until'])}")
    return EXIT_OK


@dnssec.command
def validate(
    name: Annotated[str, Parameter(help="A name that is excused.")],
    /,
    *,
    conf: Conf = None,
    url: Url = None,
) -> int:
    """Validate a name again: end its negative trust anchor."""
    find(conf, url).delete(f"/dnssec/negative-anchors/{quote(name, safe='')}")
    print(f"{clean(name)} is validated again")
    return EXIT_OK


def _listed(names: list[str]) -> str:
    return ", ".join(clean(name) for name in names) or "none"


def _follows(follows: Mapping[str, Any]) -> str:
    file = clean(follows["file"])
    if follows["revoked"]:
        return f"has revoked every key: it has no trust anchor until {file} has a new one"
    failed = f", {follows['failed']} probes failed in a row" if follows["failed"] else ""
    next_ = date(follows["next_probe"]) or "now"
    return f"is followed in {file}: next probe {next_}{failed}"
