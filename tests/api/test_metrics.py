"""`/metrics`, read back by the parsers of prometheus_client."""

import pytest
from prometheus_client import parser as text_parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from support.api import Api
from support.control import server

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def scrape(api: Api, accept: str = OPENMETRICS) -> dict[str, Metric]:
    response = api.client.get("/metrics", headers={**api.key, "Accept": accept})
    assert response.status_code == 200
    opened = response.headers["content-type"].startswith("application/openmetrics-text")
    assert opened == accept.startswith("application/openmetrics-text")
    parse = openmetrics_parser if opened else text_parser
    return {family.name: family for family in parse.text_string_to_metric_families(response.text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, name
    return float(found[0])


@pytest.mark.parametrize("accept", [OPENMETRICS, "*/*", "text/plain;version=0.0.4"])
def test_figures(api: Api, accept: str) -> None:
    api.engine.counters |= {
        "num.query.type.A": 5,
        "num.query.type.TYPE65400": 1,
        "num.answer.rcode.NOERROR": 6,
        "num.answer.rcode.nodata": 2,
        "total.requestlist.current.all": 3,
    }
    found = scrape(api, accept)
    assert all(name.startswith("runbound") for name in found)
    assert all(family.documentation for family in found.values())
    assert value(found, "runbound_queries_total") == 7
    assert value(found, "runbound_queries_by_type_total", type="TYPE65400") == 1
    assert value(found, "runbound_answers_by_rcode_total", rcode="NOERROR") == 6
    assert value(found, "runbound_answers_nodata_total") == 2
    assert value(found, "runbound_requestlist") == 3
    assert value(found, "runbound_resident_memory_bytes") == 20 << 20
    assert value(found, "runbound_cache_limit_bytes", cache="rrset") == 3
    assert value(found, "runbound_cache_lookups_total", cache="message", result="hit") == 4
    assert value(found, "runbound_upstream_up", address="192.0.2.2@53") == 0
    assert value(found, "runbound_upstream_rtt_seconds", address="192.0.2.1@53") == 0.0125
    assert found["runbound_requestlist"].type == "gauge"


def test_types_and_units(api: Api) -> None:
    found = scrape(api)
    assert found["runbound_queries"].type == "counter"
    assert found["runbound"].type == "info"
    assert found["runbound_cache_bytes"].unit == "bytes"
    assert found["runbound_upstream_rtt_seconds"].unit == "seconds"


def test_the_histogram_is_cumulative_and_exists_only_with_its_counters(api: Api) -> None:
    assert "runbound_recursion_seconds" not in scrape(api)
    api.engine.counters |= {
        "histogram.000000.000512.to.000000.001024": 3,
        "histogram.000000.524288.to.000001.000000": 4,
        "histogram.262144.000000.to.524288.000000": 1,
        "total.recursion.time.sum": 4_500_000,
    }
    found = scrape(api)
    assert found["runbound_recursion_seconds"].type == "histogram"
    buckets = {
        sample.labels["le"]: sample.value
        for sample in found["runbound_recursion_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert buckets == {"0.001024": 3, "1.0": 7, "+Inf": 8}
    assert value(found, "runbound_recursion_seconds_sum") == 4.5
    assert value(found, "runbound_recursion_seconds_count") == 8


def test_labels_are_escaped(api: Api) -> None:
    api.engine.servers = [server(zone='a"b\\\\c\n.')]
    assert value(scrape(api), "runbound_upstream_up", zone='a"b\\\\c\n.') == 1


def test_no_figure_is_counted_under_two_names(api: Api) -> None:
    api.engine.counters |= {"num.answer.rcode.nodata": 2}
    assert "runbound_answers_by_rcode" not in scrape(api)
