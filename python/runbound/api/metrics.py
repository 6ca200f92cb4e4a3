"""The figures as OpenMetrics: one snapshot of the engine, turned into families with types, units and help texts.

Owns the names, which start with `runbound_`. Times are in seconds, sizes in bytes. Where Unbound counts the same thing
the help text names Unbound's counter. It must never keep a figure between two calls: each scrape is one snapshot.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from runbound import __version__
from runbound.api.counters import MICROSECONDS, histogram
from runbound.api.upstreams import Upstream

COUNTERS: Final = {
    "total.num.queries": ("queries", "Questions of clients"),
    "total.num.cachehits": ("cache_hits", "Questions answered without resolving"),
    "total.num.cachemiss": ("cache_misses", "Questions that needed resolving"),
    "total.num.prefetch": ("prefetches", "Answers fetched again before they expired"),
    "total.num.expired": ("expired_answers", "Answers served after their time to live"),
    "total.num.recursivereplies": ("recursive_replies", "Answers that had to be resolved"),
    "total.num.queries_ip_ratelimited": ("queries_ratelimited", "Questions of clients over their rate"),
    "total.num.queries_cookie_valid": ("queries_cookie_valid", "Questions with a valid DNS cookie"),
    "total.num.queries_cookie_client": ("queries_cookie_client", "Questions with a client's cookie alone"),
    "total.num.queries_cookie_invalid": ("queries_cookie_invalid", "Questions with an invalid DNS cookie"),
    "total.num.queries_discard_timeout": ("queries_discarded", "Questions dropped because they took too long"),
    "total.num.queries_wait_limit": ("queries_wait_limit", "Questions refused because their client had too many"),
    "total.num.queries_timed_out": ("queries_timed_out", "Questions that had waited too long to be worth an answer"),
    "total.requestlist.overwritten": ("requestlist_overwritten", "Questions in progress that made room for others"),
    "total.requestlist.exceeded": ("requestlist_exceeded", "Questions refused because the list was full"),
    "total.num.panics": ("worker_panics", "Faults of the program that a worker survived"),
    "total.num.answers_not_sent": ("answers_not_sent", "Answers that the system would not take"),
    "num.query.tcp": ("queries_tcp", "Questions over TCP"),
    "num.query.ipv6": ("queries_ipv6", "Questions over IPv6"),
    "num.query.tcpout": ("upstream_queries_tcp", "Questions to other servers over TCP"),
    "num.query.udpout": ("upstream_queries_udp", "Questions to other servers over UDP"),
    "num.query.edns.present": ("queries_edns", "Questions with EDNS"),
    "num.query.edns.DO": ("queries_edns_do", "Questions with the DO flag"),
    "num.answer.rcode.nodata": ("answers_nodata", "Answers NOERROR without data"),
    "num.answer.secure": ("answers_secure", "Answers that validated"),
    "num.answer.bogus": ("answers_bogus", "Answers that failed validation"),
    "num.rrset.bogus": ("rrsets_bogus", "RRsets that failed validation"),
    "num.answer.blocked": ("answers_blocked", "Answers of blocks"),
    "num.query.aggressive.NOERROR": ("aggressive_noerror", "Answers NOERROR that followed from known proofs"),
    "num.query.aggressive.NXDOMAIN": ("aggressive_nxdomain", "Answers NXDOMAIN that followed from known proofs"),
    "total.num.verifications": ("verifications", "Signatures that were verified or tried"),
    "total.num.answers_servfail": ("answers_servfail", "Answers SERVFAIL"),
    "num.querylog.entries": ("querylog_entries", "Queries written down in the query log"),
    "num.querylog.lost": ("querylog_lost", "Queries that came faster than the query log took them"),
    "num.querylog.lines": ("querylog_lines", "Lines written to query-log-file"),
    "num.querylog.lines_lost": ("querylog_lines_lost", "Lines that query-log-file lacks"),
    "total.num.turns": ("turns", "Batches of answers that were there at once"),
    "unwanted.queries": ("unwanted_queries", "Questions refused by access control"),
    "unwanted.replies": ("unwanted_replies", "Replies nobody had asked for"),
}
"""Unbound's counter to our name (which gets `_total`) and help text. Those of extended statistics may be missing."""

NANOSECONDS: Final = 1_000_000_000

GAUGES: Final = {
    "total.requestlist.current.all": ("requestlist", "Questions being resolved"),
    "total.requestlist.current.user": ("requestlist_clients", "Questions being resolved that a client waits for"),
    "total.requestlist.max": ("requestlist_max", "Longest that list ever was"),
    "total.tcpusage": ("tcp_connections", "TCP connections of clients"),
    "answers.cache.count": ("answers_cache_entries", "Rendered answers that workers keep"),
    "mem.querylog": ("querylog_bytes", "Memory of the query log's ring"),
    "mem.cache.answers": ("answers_cache_bytes", "Memory of the answers that workers keep"),
    "overlay.records": ("records", "Records that came by API"),
    "overlay.blocks": ("blocks", "Names that are blocked by API"),
    "mem.overlay": ("records_and_blocks_bytes", "Memory of the records and blocks that came by API"),
    "infra.cache.count": ("infra_cache_entries", "Other servers that something is known about"),
}
"""Unbound's figure that goes up and down to our name and help text."""

LABELLED: Final = (
    ("num.query.type.", "queries_by_type", "type", "Questions by type"),
    ("num.query.class.", "queries_by_class", "class", "Questions by class"),
    ("num.query.opcode.", "queries_by_opcode", "opcode", "Questions by opcode"),
    ("num.query.flags.", "queries_by_flag", "flag", "Questions by header flag"),
    ("num.answer.rcode.", "answers_by_rcode", "rcode", "Answers by response code"),
)
"""Beginning of Unbound's names, our name, the label that carries the rest, help text."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything one scrape shows."""

    stats: Mapping[str, int]
    cache: Mapping[str, int]
    system: Mapping[str, int]
    upstreams: Sequence[Upstream]
    uptime: float
    started: float
    """Unix time of the start, in seconds."""
    revision: int


class Figures:
    """A collector of prometheus_client over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """The families, in a fixed order."""
        snapshot = self._snapshot
        yield InfoMetricFamily("runbound", "The program", {"version": __version__})
        yield _gauge("start_time_seconds", "Unix time of the start", snapshot.started, "seconds")
        yield _gauge("config_revision", "Revision of the running configuration", snapshot.revision)
        yield _gauge("workers", "Threads that answer questions", snapshot.system.get("workers", 0))
        yield _gauge("resident_memory_bytes", "Resident memory", snapshot.system.get("resident_bytes", 0), "bytes")
        yield from _counters(snapshot.stats)
        yield from _resolving(snapshot.stats)
        yield from _turns(snapshot.stats)
        yield from _cache(snapshot.cache)
        yield from _upstreams(snapshot.upstreams)


def _counters(stats: Mapping[str, int]) -> Iterator[Metric]:
    for unbounds, (name, help_text) in COUNTERS.items():
        if unbounds in stats:
            yield CounterMetricFamily(f"runbound_{name}", f"{help_text} ({unbounds})", stats[unbounds])
    for unbounds, (name, help_text) in GAUGES.items():
        if unbounds in stats:
            unit = "bytes" if name.endswith("_bytes") else ""
            yield _gauge(name, f"{help_text} ({unbounds})", stats[unbounds], unit)
    for beginning, name, label, help_text in LABELLED:
        family = CounterMetricFamily(f"runbound_{name}", f"{help_text} ({beginning}*)", labels=[label])
        for unbounds, value in stats.items():
            if unbounds.startswith(beginning) and unbounds not in COUNTERS:
                family.add_metric([unbounds.removeprefix(beginning)], value)
        if family.samples:
            yield family


def _resolving(stats: Mapping[str, int]) -> Iterator[Metric]:
    """The histogram of the time it takes to resolve; it exists with extended statistics."""
    buckets = histogram(stats)
    if not buckets:
        return
    cumulative, reached = [], 0
    for _, high, count in buckets[:-1]:
        reached += count
        cumulative.append((str(high / MICROSECONDS), float(reached)))
    cumulative.append(("+Inf", float(reached + buckets[-1][2])))
    total = stats.get("total.recursion.time.sum")
    yield HistogramMetricFamily(
        "runbound_recursion_seconds",
        "Time to resolve what was not in the cache (histogram.*)",
        cumulative,
        sum_value=None if total is None else total / MICROSECONDS,
        unit="seconds",
    )


def _turns(stats: Mapping[str, int]) -> Iterator[Metric]:
    """What a client waits for who asks for something known: the turns of the workers."""
    for share in ("median", "p99"):
        unbounds = f"total.turn.ns.{share}"
        if unbounds in stats:
            help_text = f"Time of a turn that ends with cached answers ({unbounds})"
            yield _gauge(f"turn_{share}_seconds", help_text, stats[unbounds] / NANOSECONDS, "seconds")


def _cache(usage: Mapping[str, int]) -> Iterator[Metric]:
    """The two caches side by side."""
    kinds = ("message", "rrset")
    gauges = (
        ("entries", "cache_entries", "Entries", ""),
        ("bytes", "cache_bytes", "Memory in use", "bytes"),
        ("limit", "cache_limit_bytes", "Most memory it may use", "bytes"),
    )
    for part, name, help_text, unit in gauges:
        family = GaugeMetricFamily(f"runbound_{name}", f"{help_text}, by cache", labels=["cache"], unit=unit)
        for kind in kinds:
            family.add_metric([kind], usage.get(f"{kind}.{part}", 0))
        yield family
    lookups = CounterMetricFamily("runbound_cache_lookups", "Searches, by cache and result", labels=["cache", "result"])
    evictions = CounterMetricFamily("runbound_cache_evictions", "Entries that made room, by cache", labels=["cache"])
    for kind in kinds:
        lookups.add_metric([kind, "hit"], usage.get(f"{kind}.hits", 0))
        lookups.add_metric([kind, "miss"], usage.get(f"{kind}.misses", 0))
        evictions.add_metric([kind], usage.get(f"{kind}.evictions", 0))
    yield from (lookups, evictions)
    yield CounterMetricFamily("runbound_cache_stale_hits", "Finds of expired entries", usage.get("stale_hits", 0))


def _upstreams(upstreams: Iterable[Upstream]) -> Iterator[Metric]:
    """A row of figures for each server of each zone."""
    labels = ["zone", "address", "transport"]

    def family_of(name: str, help_text: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"runbound_upstream_{name}", help_text, labels=labels)

    up = GaugeMetricFamily("runbound_upstream_up", "1 unless the server is left alone for a while", labels=labels)
    rtt = GaugeMetricFamily(
        "runbound_upstream_rtt_seconds", "Smoothed time of its answers", labels=labels, unit="seconds"
    )
    counters = {
        "queries": family_of("queries", "Questions to it"),
        "answers": family_of("answers", "Answers of it"),
        "failures": family_of("failures", "Answers of it that were of no use"),
        "timeouts": family_of("timeouts", "Questions it did not answer in time"),
        "wins": family_of("wins", "Races between servers it won"),
    }
    for upstream in upstreams:
        where = [upstream.zone, upstream.address, upstream.transport]
        up.add_metric(where, float(upstream.state != "down"))
        if upstream.rtt_ms is not None:
            rtt.add_metric(where, upstream.rtt_ms / 1000)
        for part, family in counters.items():
            family.add_metric(where, getattr(upstream, part))
    yield from (up, rtt, *counters.values())


def _gauge(name: str, help_text: str, value: float, unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(f"runbound_{name}", help_text, value, unit=unit)
