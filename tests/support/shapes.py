"""Values of the formats that the OpenAPI document names and JSON Schema cannot describe, for schemathesis.

Its command line loads it (SCHEMATHESIS_HOOKS). What is generated here must be accepted as far as it goes.
"""

import json
import os
import string
from typing import Any

import schemathesis
from hypothesis import strategies as st

LABEL = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
KNOWN = st.sampled_from(["A", "AAAA", "CNAME", "TXT", "MX", "SRV", "CAA", "PTR", "SVCB", "HTTPS", "TYPE65280"])

schemathesis.openapi.format("dns-name", st.one_of(NAME, NAME.map("{}.".format)))
schemathesis.openapi.format("dns-type", KNOWN)
schemathesis.openapi.format("ip", st.ip_addresses().map(str))
schemathesis.openapi.format("cursor", st.just("aw"))  # behind the empty key: the beginning
schemathesis.openapi.format("etags", st.just("*"))
schemathesis.openapi.format("block-target", st.one_of(NAME, st.ip_addresses().map(str)))
schemathesis.openapi.format(
    "log-client",
    st.one_of(st.ip_addresses().map(str), st.from_regex("p-[0-9a-f]{16}", fullmatch=True), st.just("192.0.2.0/24")),
)
schemathesis.openapi.format(
    "cache-dump", st.just("START_RRSET_CACHE\nEND_RRSET_CACHE\nSTART_MSG_CACHE\nEND_MSG_CACHE\nEOF\n")
)


def file_of(line: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some lines."""
    return st.lists(line, min_size=1, max_size=5).map(lambda lines: "".join(f"{text}\n" for text in lines))


schemathesis.openapi.format("names-list", file_of(NAME))
schemathesis.openapi.format("names-list-ndjson", file_of(NAME.map(lambda name: json.dumps({"name": name}))))
schemathesis.openapi.format("zone-lines", file_of(NAME.map("{}. 300 IN A 192.0.2.1".format)))
schemathesis.openapi.format(
    "zone-lines-ndjson",
    file_of(NAME.map(lambda name: json.dumps({"name": name, "type": "A", "value": "192.0.2.1"}))),
)
schemathesis.openapi.format("backup", st.just(os.environ.get("RUNBOUND_SCHEMA_BACKUP", "")))


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """A text that is a file of lines, as it is."""
    return str(value).encode()


@schemathesis.hook
def filter_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Who calls does not delete himself, nor give himself another key: the rest would be 401."""
    return str((path_parameters or {}).get("id")) != os.environ["RUNBOUND_SCHEMA_CALLER"]


@schemathesis.hook
def filter_body(_context: Any, body: Any) -> bool:
    """An empty list is a list, and nothing above makes one: what schemathesis then takes for none is left out."""
    return not isinstance(body, str) or bool(body.strip())
