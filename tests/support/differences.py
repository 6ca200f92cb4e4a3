"""Where runbound answers otherwise than Unbound on purpose: each with its reason.

Owns the table that the differential test allows and that `docs/differences.md` shows. Nothing else may excuse a
difference; a row that no question meets any more fails the test of the whole table in `./dev accept`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.packets import Ask, Seen


@dataclass(frozen=True)
class Difference:
    """One difference that is meant."""

    what: str
    unbound: str
    runbound: str
    why: str
    applies: Callable[[str, Ask, str, Seen, Seen], bool]
    """Scene, question, the field that differs, Unbound's answer, runbound's."""


@dataclass(frozen=True)
class Elsewhere:
    """A difference outside the packets: configuration, logs, operation. Tests of their own show them."""

    what: str
    unbound: str
    runbound: str
    why: str


CONFIGURATION: tuple[Elsewhere, ...] = (
    Elsewhere(
        "`do-daemonize`",
        "goes to the background by default",
        "always stays in the foreground",
        "a service manager keeps it; `-d` is accepted",
    ),
    Elsewhere(
        "the cache at a reload",
        "is emptied by SIGHUP and `reload`, kept whole by `reload_keep_cache`",
        "is kept, but for names at and below forward zones whose servers changed; emptied when `private-address` or "
        "`private-domain` changed",
        "a change of the file should not cost every client a slow answer, nor leave answers of servers no longer asked",
    ),
    Elsewhere(
        "a log that is not read",
        "waits until its line is written, and answers nothing meanwhile",
        "goes on; at most 1 MiB of lines wait, those beyond are lost and counted in a line",
        "a log must not stop the resolver",
    ),
    Elsewhere(
        "an RRset that another answer brought anew",
        "is in the next answer",
        "may be followed by the old one for up to ten seconds of its TTL on a worker that rendered it before",
        "each worker repeats what it rendered last without asking the shared cache",
    ),
    Elsewhere(
        "default of `so-rcvbuf`",
        "0: the system's, which holds about 250 small queries",
        "4m, or as much of it as the system grants",
        "a burst, or a thread that waits for its processor, loses no query; `so-rcvbuf: 0` is as in Unbound",
    ),
    Elsewhere(
        "TTL of the CNAME that a DNAME means",
        "the upstream's; 0 where it is made from a DNAME in the cache (1.17.1)",
        "the DNAME's",
        "RFC 6672 3.1, and what newer releases do",
    ),
    Elsewhere(
        "an expired answer exactly `serve-expired-ttl` seconds after its time",
        "is still served (1.17.1)",
        "is too old",
        "what newer releases do",
    ),
    Elsewhere(
        "errors in a file",
        "stops at the first few",
        "shows every error of the file in one run, with line, column and a suggestion",
        "one run instead of several",
    ),
    Elsewhere(
        "options that are not built yet",
        "all are built",
        "does not start when one of them encrypts, filters, restricts clients or changes answers, unless told to by "
        "`--allow-missing`",
        "nobody should believe to be protected who is not",
    ),
    Elsewhere(
        "exit code at a wrong configuration",
        "1",
        "78",
        "a service manager can tell a broken file from a fault that may pass",
    ),
    Elsewhere(
        "`chroot`",
        "confines the process",
        "cuts the prefix from file names; the service unit confines the process",
        "the Python half loads parts after the start",
    ),
    Elsewhere(
        "source ports of upstream questions by default",
        "1024 to 65535 without all that IANA has assigned",
        "1024 to 65535 without 41 ports of well-known services",
        "more ports are harder to guess; `outgoing-port-avoid` takes out others",
    ),
    Elsewhere(
        "sockets handed over by the service manager",
        "are used with `use-systemd: yes`",
        "are used whenever there are any",
        "whoever hands over a socket means it",
    ),
    Elsewhere(
        "questions with the CD flag",
        "share cached answers with questions without it",
        "are forwarded and remembered apart",
        "what a validating forwarder hands out unchecked must not reach clients who did not ask for that",
    ),
    Elsewhere(
        "a client that closes its sending side of a TCP connection early",
        "loses the answers still on their way",
        "gets them first",
        "RFC 7766 6.2.4 leaves closing to the client; the work is done already",
    ),
    Elsewhere(
        "more questions in flight than `num-queries-per-thread`",
        "drops the new or the oldest slow one",
        "SERVFAIL at once, for one whose servers are dead or the oldest slow one, else for the new one",
        "the client can ask elsewhere without waiting for a time-out",
    ),
    Elsewhere(
        "a question that no server answers",
        "may be tried for minutes; the client hears nothing or too late",
        "SERVFAIL with an extended error after 1.9 seconds (`discard-timeout`), over TCP after 4; tried for 30 at most",
        "by then a client gives up; told in time, it can ask elsewhere",
    ),
    Elsewhere(
        "`incoming-num-tcp` where the file does not say",
        "10 connections for each thread",
        "1000",
        "streams are ordinary transport today (RFC 9210)",
    ),
    Elsewhere(
        "records of `local-data` whose data stop halfway or are out of range (`MX 10`, TTL `1x`)",
        "are taken and served as malformed records",
        "are errors with their place",
        "a malformed record helps nobody",
    ),
)
"""What differs besides answers."""


NEWER_NAMES = ("resolver.arpa.", "ipv4only.arpa.", "service.arpa.", "internal.", "alt.")
"""Names set apart after Unbound 1.17.1 was written."""


UPSTREAM_ZONES = ("com.", "net.", "org.", "lab.", "in-addr.arpa.")


def _below(name: str, zones: tuple[str, ...]) -> bool:
    return any(name.lower() == zone or (zone != "." and name.lower().endswith("." + zone)) for zone in zones)


def _in_lab(ask: Ask, *zones: str) -> bool:
    return _below(ask.name, tuple(f"{zone}." for zone in zones))


def _only_older(unbound: Seen, runbound: Seen) -> bool:
    """Whether TTLs differ only in records from the upstream, and Unbound's have counted down further."""
    shared = unbound.ttls.keys() & runbound.ttls.keys()
    unequal = {key for key in shared if abs(unbound.ttls[key] - runbound.ttls[key]) > 1}
    return all(
        runbound.ttls[key] > unbound.ttls[key] and _below(key[1].split()[0], (*UPSTREAM_ZONES, ".")) for key in unequal
    )


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        what="`version.server` and `version.bind` in class CH without `version:`",
        unbound="its name and version",
        runbound="our name and version",
        why="each says what it is; `hide-version` and `version:` work alike",
        applies=lambda _, ask, field, *__: field == "answer" and ask.name.startswith("version.") and ask.rclass == "CH",
    ),
    Difference(
        what="special-use names set apart since Unbound 1.17.1: " + ", ".join(f"`{name}`" for name in NEWER_NAMES),
        unbound="asks the forward zone",
        runbound="answers itself, as for the other default zones; a `local-zone` of yours comes first",
        why="questions about them must not leave the site (RFC 9462, 8880, 9665, 9476; ICANN's decision on .internal)",
        applies=lambda scene, ask, *_: scene.startswith("defaults") and _below(ask.name, NEWER_NAMES),
    ),
    Difference(
        what="TTL in answers to questions with the CD flag",
        unbound="counts down from the first arrival, with or without the flag",
        runbound="counts down from the arrival with the flag",
        why="answers with and without it are remembered apart; no TTL is ever longer than the upstream gave it",
        applies=lambda _, ask, field, unbound, runbound: field == "ttl" and ask.cd and _only_older(unbound, runbound),
    ),
    Difference(
        what="type ANY with `deny-any: yes`, of a name that is in the cache as an alias",
        unbound="the CNAME record",
        runbound="NOTIMP, as for every other name",
        why="what others asked before does not decide whether a question is refused",
        applies=lambda scene, ask, *_: scene == "deny-any" and ask.rtype == "ANY",
    ),
    Difference(
        what="default of `max-udp-size`",
        unbound="4096 in 1.17.1, 1232 since 1.20",
        runbound="1232",
        why="larger answers may be fragmented (RFC 9715)",
        applies=lambda scene, ask, *_: (
            scene in ("sizes-default", "hardening") and ask.edns is not None and ask.edns.size > 1232 and not ask.tcp
        ),
    ),
    Difference(
        what="refusal by `refuse_non_local`",
        unbound="a header that counts no question, followed by what stood in the buffer before",
        runbound="a REFUSED reply that ends where it says",
        why="Unbound's reply cannot be parsed",
        applies=lambda scene, ask, field, unbound, runbound: (
            scene == "acl"
            and field not in ("rcode", "flags", "opcode", "id", "reply")
            and "unparsed" in unbound.fields
            and "unparsed" not in runbound.fields
            and ask.source == "127.0.0.8"
        ),
    ),
    Difference(
        what="zones that are signed with RSASHA1 or RSASHA1-NSEC3-SHA1 alone",
        unbound="secure",
        runbound="insecure, with `val-sha1: secure` as in Unbound",
        why="RFC 9905: SHA-1 proves nothing any more",
        applies=lambda scene, ask, field, *_: (
            scene == "recursion" and field == "ad" and _in_lab(ask, "rsasha1.lab", "rsasha1-nsec3.lab")
        ),
    ),
    Difference(
        what="a zone whose only key is revoked",
        unbound="secure; REVOKE counts in trust anchors alone",
        runbound="bogus",
        why="RFC 5011 2.1: such a key is good for nothing but to say so",
        applies=lambda scene, ask, *_: scene == "recursion" and _in_lab(ask, "revoked.broken"),
    ),
    Difference(
        what="SOA, NS and DNSKEY records and denials that the zone above has signed in its own name",
        unbound="secure",
        runbound="bogus",
        why="RFC 4035 5.3.1: the signer is the zone that holds the records",
        applies=lambda scene, ask, *_: scene == "recursion" and _in_lab(ask, "byparent.broken"),
    ),
    Difference(
        what="with CD, a set with more signatures than anybody needs",
        unbound="the set, or SERVFAIL where it is too large",
        runbound="the set with the first eight of them",
        why="who checks for himself can have the data, though not a trap",
        applies=lambda scene, ask, *_: (
            scene == "recursion" and ask.cd and _in_lab(ask, "keytrap.broken", "colliding.broken")
        ),
    ),
    Difference(
        what="type RRSIG in a zone whose keys are found to be bogus",
        unbound="the signatures, without AD",
        runbound="the same, or SERVFAIL where the keys are known to be bogus already",
        why="signatures cannot be proven, but what is known of their zone is said",
        applies=lambda scene, ask, field, *_: (
            scene == "recursion" and ask.rtype == "RRSIG" and field in ("rcode", "answer") and _in_lab(ask, "broken")
        ),
    ),
    Difference(
        what="CD, after others have been refused the same as bogus",
        unbound="may answer SERVFAIL out of its cache",
        runbound="the data",
        why="RFC 4035 3.2.2: who sets CD checks for himself",
        applies=lambda scene, ask, field, unbound, _: (
            scene == "recursion"
            and ask.cd
            and field in ("rcode", "answer")
            and unbound.fields.get("rcode") == "SERVFAIL"
        ),
    ),
    Difference(
        what="AD beside CD",
        unbound="is set where the cache happens to hold that the answer is proven",
        runbound="the same; the caches differ in what they hold",
        why="who sets CD has asked for no proof, and gets the answer without waiting for one",
        applies=lambda scene, ask, field, *_: scene == "recursion" and field == "ad" and ask.cd,
    ),
    Difference(
        what="a wildcard alias, asked for by type ANY or under a name that begins with an asterisk",
        unbound="SERVFAIL",
        runbound="the alias, proven",
        why="the signature counts the labels; nothing is wrong with it",
        applies=lambda scene, ask, field, unbound, _: (
            scene == "recursion"
            and _in_lab(ask, "wildalias.lab", "wildalias3.lab")
            and (ask.rtype == "ANY" or ask.name.startswith("*"))
            and (unbound.fields.get("rcode") == "SERVFAIL" or ask.cd)
        ),
    ),
    Difference(
        what="denials that lack a record, where the cache has proven that record with another answer",
        unbound="may find it in the cache (NSEC) or not (NSEC3)",
        runbound="finds it in the cache",
        why="RFC 8198: what is proven may be put together",
        applies=lambda scene, ask, field, *_: (
            scene == "recursion"
            and field in ("rcode", "ad")
            and _in_lab(ask, "noencloser.broken", "nocover.broken", "nowildcard.broken", "nowildcard3.broken")
        ),
    ),
    Difference(
        what="a name that does not exist, denied compactly (RFC 9824), asked for without DO",
        unbound="NOERROR without data",
        runbound="NXDOMAIN",
        why="RFC 9824 5: who does not see the proof gets the code that it stands for",
        applies=lambda scene, ask, field, *_: (
            scene == "recursion" and field == "rcode" and _in_lab(ask, "compact.lab") and not (ask.edns and ask.edns.do)
        ),
    ),
    Difference(
        what="type ANY of an alias, after others have asked for what it leads to",
        unbound="may add records of the target from the cache",
        runbound="what the zone's server says",
        why="ANY asks about one name",
        applies=lambda scene, ask, field, *_: scene == "recursion" and field == "answer" and ask.rtype == "ANY",
    ),
    Difference(
        what="an EDNS size too small for header and question, with `harden-short-bufsize: no`",
        unbound="SERVFAIL without a question",
        runbound="the answer's code and question with TC",
        why="the client can come back over TCP",
        applies=lambda scene, ask, *_: scene == "hardening" and ask.edns is not None and ask.edns.size < 512,
    ),
)
"""Every difference allowed."""


def allowed(scene: str, ask: Ask, field: str, unbound: Seen, runbound: Seen) -> Difference | None:
    """The row that covers one differing field, if there is one."""
    for row in DIFFERENCES:
        if row.applies(scene, ask, field, unbound, runbound):
            return row
    return None
