"""What Rust offers to Python. Imported by `runbound.engine` alone; tests/unit/test_house.py holds it to that."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Self, final

__all__ = [
    "Bulk",
    "Delta",
    "Engine",
    "EngineError",
    "HsmHelper",
    "HsmHelperError",
    "Overlay",
    "Scan",
    "Secret",
    "SecretKey",
    "check",
    "check_rows",
    "drop_privileges",
    "hsm_serve",
    "mac_row",
    "name_key",
    "protect_process",
    "recode_rows",
    "scan",
    "scan_remembered",
    "scan_text",
    "verify_signature",
    "wipe_secrets",
]

_Message = tuple[str, int, int, int, int, str, str | None]
"""Severity (`error`, `warning`, `note`), file index, line, column, length (all from 1, in octets), text, hint."""

class EngineError(Exception):
    """Something the engine could not do; the text says what, where and what to do."""

@final
class Scan:
    """One reading of a configuration: the files, their statements and messages. Immutable.

    The bulk statements (`local-zone`, `local-data`, `local-data-ptr` of the `server` clause) stay inside and never
    become Python objects.
    """

    @property
    def files(self) -> list[str]: ...
    def statements(self) -> list[tuple[int, str, str, tuple[str, ...], int, int, int, int]]:
        """Clause number, clause, keyword, values, file index, line, column of the keyword, column of the value."""
    def clauses(self) -> list[tuple[str, int, int, int]]:
        """Each clause opened: keyword, file index, line, column."""
    def messages(self) -> list[_Message]: ...
    def bulk_counts(self) -> dict[str, tuple[int, int, int, int]]:
        """Keyword to count, then file index, line and column of the first."""
    def texts(self) -> list[tuple[str, bytes]]:
        """The files by their whole paths, in the order they were opened; the path of a text in memory is empty."""
    def local_data(
        self, after: int, limit: int, name: str | None, under: bool
    ) -> list[tuple[int, str, str, str, int | None, str, int, int]]:
        """Bulk statements from number `after` on, in the order of the file, at most `limit`.

        With `name` those about it, with `under` also those about names below it (a walk through all of them). Number,
        option, name (absolute, lower case), type of the zone or of the record, TTL in seconds or None for a zone, data
        in presentation form or empty for a zone, file index, line. The next page begins at the last number plus one.
        What the compiler would refuse is passed over. Raises ValueError if `name` is none.
        """
    def line(self, file: int, line: int) -> str:
        """The source line, for the caret."""

def scan(path: str, cwd: str) -> Scan:
    """Reads a configuration and what it includes. What is wrong inside comes as messages.

    Raises OSError if the main file cannot be read.
    """

def scan_remembered(path: str, cwd: str, files: Sequence[tuple[str, bytes]]) -> Scan:
    """The same with the files as they once were (`texts`): none is opened, and others are not there.

    Raises OSError if the main file is not among them.
    """

def scan_text(text: bytes, name: str, cwd: str) -> Scan:
    """The same for text in memory, shown under `name`."""

def check(document: bytes, scan: Scan | None) -> list[_Message]:
    """Compiles everything, changes nothing."""

def drop_privileges(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Becomes that user for good and keeps CAP_NET_BIND_SERVICE alone. Call it before any thread starts."""

@final
class Secret:
    """A secret of any length in locked memory, out of core dumps, wiped when dropped or when the process ends.

    It is on its way: to the helper, or into a key. Python can ask how long it is and nothing else about it.
    """

    def __new__(cls, octets: bytes | bytearray) -> Self:
        """For what has been a Python object anyway; a bytearray is wiped. Raises OSError: no memory."""
    @staticmethod
    def read(fd: int, limit: int = ..., strip_newline: bool = True) -> Secret:
        """All that a file has, from there straight into locked memory; one newline at its end is left out.

        Raises OSError, with EFBIG for more than `limit` octets.
        """
    @staticmethod
    def environment(name: str, strip_newline: bool = False) -> Secret | None:
        """Takes a variable out of the environment: for C, the kernel's `/proc/PID/environ`, and `os.environ`.

        It is wiped where it stood. None if it is not there. Call it before threads start that read the environment.
        """
    def decoded(self) -> Secret:
        """A copy; of 64 hexadecimal digits or more, an even number, the octets they stand for."""
    def digits(self) -> Secret:
        """The octets as hexadecimal digits, lower case."""
    def tag(self, nonce: bytes) -> bytes:
        """HMAC-SHA256 of the nonce: who has both recognises the secret when it is presented."""
    def write(self, fd: int) -> None:
        """All octets into a file. Raises OSError."""
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...

@final
class SecretKey:
    """A secret in locked memory, out of core dumps, wiped when dropped. It never gives its octets back."""

    def __new__(cls, secret: bytes | bytearray) -> Self:
        """Takes 32 to 4096 octets; a bytearray is wiped, whatever comes of it. Raises ValueError, OSError."""
    @staticmethod
    def of(secret: Secret) -> SecretKey:
        """The same of a secret, copied from locked memory into locked memory."""
    @staticmethod
    def of_text(secret: Secret) -> SecretKey:
        """The same as people write it: 64 hexadecimal digits or more, an even number, are the octets they stand for."""
    @staticmethod
    def public() -> SecretKey:
        """The key everybody knows, for when integrity is off: it finds accidents, not attackers."""
    def derive(self, purpose: str) -> SecretKey:
        """A key for one purpose alone (HKDF-SHA256). The same purpose gives the same key."""
    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256, 32 octets."""
    def verify(self, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is all 32 octets of the code; the time tells nothing of where they differ."""
    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature, 64 octets; its key pair is derived from this key."""
    def public_key(self) -> bytes:
        """The public half of what `sign` signs with, 32 octets."""

def wipe_secrets() -> None:
    """Wipes every secret and key of the process: its last act. `exit` does it too, so this is for who does not exit.

    A thread that uses a key afterwards stops for ever, so that nothing is ever made with zeros.
    """

def protect_process() -> None:
    """Other processes of the same user cannot look into this one's memory, and it writes no core (PR_SET_DUMPABLE).

    A change of account takes it back: call it afterwards.
    """

class HsmHelperError(Exception):
    """There is no answer, and no other question can be asked: start another helper."""

    kind: Literal["timeout", "crashed", "protocol"]
    function: str | None
    """The PKCS#11 function it called last while it was asked."""
    signal: int | None
    """What ended it, if it was a signal."""
    status: int | None
    """The code it ended with, if it ended by itself."""

@final
class HsmHelper:
    """A process that speaks with a token: the only one that loads the vendor's library. Dropped, it is killed."""

    def __new__(cls, argv: Sequence[str], *, quiet: bool = True) -> Self:
        """Starts it, `argv[0]` being the path of the program. It inherits one socket, as fd 0, and the environment.

        What is secret or the service manager's is left out of that. Standard output goes nowhere, standard error
        neither if `quiet`. Raises OSError if it cannot be started.
        """
    @property
    def pid(self) -> int: ...
    def call(
        self, message: bytes, secrets: Sequence[Secret] = ..., timeout_s: float = 30.0
    ) -> tuple[bytes, list[Secret]]:
        """Asks, and gives the answer: its message and its secrets. The secrets handed in stay as they are.

        Threads wait for each other; the time counts from when it is asked. Raises HsmHelperError, ValueError if it
        cannot be asked (over 1 MiB, over 8 secrets), and what a signal's handler raises: then the helper is killed.
        """
    def close(self, timeout_s: float = 2.0) -> None:
        """Lets it end, which it does as soon as it is told; after so long it is killed."""
    def kill(self) -> None:
        """Kills it; a call on its way ends with HsmHelperError."""

def hsm_serve() -> None:
    """Is the helper: serves fd 0 and does not come back. The process ends when the other end closes."""

def verify_signature(public_key: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the Ed25519 signature is that of the data. Octets that are no key or no signature are simply not."""

def mac_row(key: SecretKey, kind: str, number: int, k: bytes, doc: str, rev: int, /) -> bytes:
    """The code of one row of the state, 32 octets. A row keeps the first 16.

    The set of rows is summed up by all 32, each a little-endian number, modulo 2**256.
    """

def check_rows(key: SecretKey, kind: str, rows: bytes, /) -> tuple[int, bytes, list[int]]:
    """Checks the code of every row; count, sum of the codes (32 octets), ids of the rows whose code is wrong.

    ROWS are JSON, `[[id, key, doc, rev, mac], …]`: `doc` a string, key and mac in hexadecimal of any case. Raises
    ValueError if they are not.
    """

def recode_rows(
    old: SecretKey, new: SecretKey, kind: str, rows: bytes, /
) -> tuple[bytes, int, bytes, bytes, list[int]]:
    """Codes every row with another key: the rows, how many, sums of the codes before and after (32 octets each), ids of
    those whose code was wrong before. Raises ValueError if they are not ROWS.
    """

def name_key(name: str, /) -> bytes:
    """The start of the keys of all records and blocks at and below a name: labels from the right, each ended by 00.

    With one more 00 it is the whole key of a block of that name, and the start of those of its own records. What is
    below ends before `key[:-1] + b"\\x01"`. Raises ValueError, saying why it is no name.
    """

@final
class Bulk:
    """Records or blocks on their way in: checked, made canonical, sorted by key. May be used from any thread."""

    def __new__(cls, kind: str, form: str, defaults: bytes = ...) -> Self:
        """Entries of kind `record` or `block`.

        Form `json`: one object, several, or an array of them. `zone` (records): lines as `local-data` has them, with
        $ORIGIN, $TTL, parentheses, and a blank for the owner of the line before. `names` (blocks): a name a line, `#`
        before a comment, or lines of a hosts file that lead nowhere; `*.name` is the name.

        `defaults`, a JSON object: what entries say that do not say it themselves (`ttl` and `comment`, or `action`,
        `target` and `comment`); without it none. Raises ValueError.
        """
    def feed(self, piece: bytes) -> None:
        """The next octets, cut anywhere. Raises ValueError after `finish`."""
    def finish(self) -> list[tuple[int, str, str, str | None]]:
        """Says that all has come. The first 100 complaints: place, field, what is wrong, what to do.

        A place is a line, or in an array a number, from 1. An entry with a complaint is left out. Of two entries of
        one key the later counts. Raises ValueError the second time.
        """
    @property
    def kind(self) -> str: ...
    @property
    def count(self) -> int:
        """Entries so far; duplicates are counted before `finish`."""
    @property
    def error_count(self) -> int:
        """Complaints so far, those not kept too."""
    @property
    def merged(self) -> int:
        """Entries that gave way to a later one of the same key."""
    def keys(self, part: int) -> bytes | None:
        """The keys of a part of up to 10,000 entries, a JSON array of hexadecimal; None after the last part."""
    def rows(self, part: int, first_id: int, revision: int, key: SecretKey, standing: bytes = ...) -> bytes | None:
        """ROWS of a part, None after the last.

        `standing` are ROWS of what is kept already under keys of that part; without it none is. An entry keeps the id
        it has there, and one whose document is the same is left out. The others get `first_id` and on. Raises
        ValueError.
        """
    def entries(self, part: int) -> list[tuple[bytes, str]]:
        """Key and document of each entry of a part, sorted by key; empty after the last part."""

@final
class Overlay:
    """All records and blocks of the state, for `Engine.start` and `Engine.apply`."""

    def __new__(cls) -> Self: ...
    def load(self, kind: str, rows: bytes) -> None:
        """Takes ROWS whose codes have been checked. Raises ValueError naming the row whose document is none."""

@final
class Delta:
    """What a change puts and removes. Of each entry the last that was said counts."""

    def __new__(cls) -> Self: ...
    def put(self, bulk: Bulk) -> None:
        """Puts all entries of a finished bulk."""
    def put_rows(self, kind: str, rows: bytes) -> None:
        """Puts ROWS. Raises ValueError."""
    def remove_rows(self, kind: str, rows: bytes) -> None:
        """Removes ROWS. Raises ValueError."""
    def __len__(self) -> int: ...

@final
class Engine:
    """The data plane: listening sockets, workers, cache, log sink."""

    def __init__(self) -> None: ...
    def open_log(self, document: bytes) -> None:
        """Opens the log sink of the document. Raises EngineError naming the file."""
    def bind(self, document: bytes, inherited: Sequence[int]) -> None:
        """Opens the listening sockets; `inherited` are the service manager's descriptors. Raises EngineError."""
    def start(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> None:
        """Starts the workers on what `bind` opened; returns when every worker listens. Raises EngineError.

        The overlay is there from the first answer on.
        """
    def apply(self, document: bytes, scan: Scan | None, overlay: Overlay | None = None) -> list[tuple[str, str]]:
        """Swaps to a new document; returns (what, `live` or `restart`) when every worker has acknowledged.

        Without an overlay the records and blocks that are there stay.
        The cache stays but for names at and below forward zones whose servers changed; what was forgotten is told.
        Raises EngineError, and then nothing has changed.
        """
    def amend(self, revision: int, delta: Delta) -> None:
        """Puts records and blocks in and takes others out; returns when every worker has acknowledged.

        It takes time for what changes, not for what there is. The delta is empty afterwards. Raises EngineError.
        """
    def stats(self) -> dict[str, int]:
        """Counters under Unbound's names, summed over the workers; those of `extended-statistics` only with it."""
    def health(self) -> dict[str, int]:
        """`upstreams_total`, `upstreams_healthy`, `cache_entries`, `cache_bytes`, `workers`, `revision`.

        `records` and `blocks` are those of the API.
        """
    def system(self) -> dict[str, int]:
        """What Rust knows better than Python, empty before `start`.

        `workers`; over all of them `sockets.udp` and `sockets.tcp_listen`, listening; `sockets.tcp`, connections of
        clients; `sockets.udp_upstream` and `sockets.tcp_upstream`, towards upstream servers; `resident_bytes`, octets
        of memory in use; `racing_wins`, answers that were first of several servers asked.
        """
    def upstreams(self) -> list[dict[str, object]]:
        """A row for each forward zone and address, counters summed over the workers, ordered by zone and address.

        `zone` (`resolv-fallback` for the system's resolvers), `address` (`ip@port`), `transport` (`udp` or `tcp`),
        `tls_name` or None, `state` (`unknown`, `up`, or `down` when every worker that asked it leaves it alone),
        `srtt_ms` (float) or None, `wait_ms`, `queries`, `answers`, `failures`, `timeouts`, `wins`, `last_error` or
        None, `retry_in_ms` or None. Empty before `start`. Raises EngineError when a worker does not answer.
        """
    def lookup(self, name: str, rtype: str, checking_disabled: bool, timeout_s: float) -> dict[str, object]:
        """Resolves one question of class IN as the resolver does for a client that access control and local data pass.

        `rcode` (its word), `question`, `answer`, `authority`, `additional` (lists of record lines: owner, TTL, class,
        type, data), `elapsed_us`, `from_cache`, `stale`, `authentic` (AD), `security` (`unchecked`, `bogus`,
        `indeterminate`, `insecure`, `secure`), `ede` (RFC 8914: a list of `code` and `text`), `why` or None.

        What the network says, SERVFAIL too, is a result. Raises TimeoutError after `timeout_s` seconds (at most 60),
        EngineError on a bad name or type or when nothing runs.
        """
    def explain(
        self,
        name: str,
        rtype: str,
        client: IPv4Address | IPv6Address,
        checking_disabled: bool,
        fresh: bool,
        timeout_s: float,
    ) -> bytes:
        """Resolves one question of class IN as `client` would see it, policy included, and tells each step of it.

        `fresh` is as if nothing were known: an empty cache of its own, forgotten afterwards. The document is msgpack,
        its shape stands in `crates/engine/src/explain.rs`. Comes after `timeout_s` seconds (at most 60) at the latest,
        with what happened until then. Raises EngineError on a bad name or type or when nothing runs.
        """
    def trust(self) -> bytes:
        """What is trusted and what is excused from validation.

        The document is msgpack, its shape stands in `crates/engine/src/anchors.rs`. Raises EngineError when nothing
        runs.
        """
    def excuse(self, name: str, seconds: int, recheck_s: int, reason: str) -> bool:
        """Makes a negative trust anchor for so many seconds (RFC 7646), or gives the one that is there another end.

        What is known of the name and all below is forgotten. It ends early when the name validates again, which is
        looked at each `recheck_s` seconds; 0 is never. False if there are too many. Raises EngineError on a bad name,
        or a time not between a second and a week.
        """
    def excuse_no_more(self, name: str) -> bool:
        """Ends a negative trust anchor; False if there is none. Raises EngineError on a bad name."""
    def cache_usage(self) -> dict[str, int]:
        """Of the caches of messages and of RRsets, since the start, in octets where it is memory.

        `message.` and `rrset.` with `entries`, `bytes`, `limit`, `hits`, `misses`, `evictions`; `stale_hits`, answers
        found after their time. Empty before `start`.
        """
    def cache_flush(self, what: str, name: str | None, rtype: str | None) -> int:
        """Removes entries of the cache; how many went. As the `flush` commands of unbound-control(8).

        `what` is `all`; `name` (every type of `name`), `type` (`rtype` of `name`), `zone` (`name` and all below);
        `negative` (NXDOMAIN and NODATA), `bogus`; or `infra` (what is known of upstream servers). Raises EngineError on
        a bad name or type, or one that is missing.
        """
    def cache_dump(self, part: int) -> bytes | None:
        """A part of the cache in the text of Unbound's `dump_cache`, counted from 0; None after the last.

        Workers go on meanwhile: the whole is no picture of one moment, but each part is sound.
        """
    def cache_load(self, text: bytes) -> tuple[int, int, int]:
        """Reads what `cache_dump` or Unbound wrote: RRsets and messages taken, lines refused.

        A set is taken whole or not at all. Raises EngineError when nothing runs.
        """
    def query_log(self, wanted: bytes, limit: int) -> bytes:
        """Entries of the query log, the newest first, as JSON: `items`, `next` (a text, or null), `total` that match.

        `wanted` is msgpack, a map of which all members may be missing: `actions` (list of words), `client` (address,
        network or pseudonym), `name` (it and all below it), `rtype`, `rcode`, `since_us` (microseconds since 1970),
        `before` and `after` (numbers of entries, both exclusive). Raises EngineError when it means nothing.
        """
    def query_log_tail(self, wanted: bytes, limit: int) -> tuple[int, int, bytes]:
        """What is `wanted` between its `after` and `before`, the newest `limit` of it in the order in which it came.

        Returns the number of the last entry there is, how many were left out, and a JSON list.
        """
    def query_log_erase(self, client: str | None) -> dict[str, int]:
        """Forgets a client or, with None, all; returns how much: `ring` and `lists` in memory, `file` in lines.

        Raises EngineError when the text names no client or the file cannot be rewritten; memory has forgotten then.
        """
    def top_names(self, kind: str, limit: int) -> bytes:
        """The names that come most, as a JSON list of rows: `all`, `blocked` or `failed`. Counts halve each hour."""
    def top_clients(self, client: str | None, limit: int) -> bytes:
        """The clients that ask most, or the one named, as a JSON list of rows. Counts halve each hour."""
    def listening(self) -> list[str]:
        """The addresses served, as `ip@port`."""
    def log(self, level: str, text: str) -> None:
        """Writes one line of the control plane; `level` is `error`, `warning`, `notice`, `info` or `debug`."""
    def reopen_log(self) -> None:
        """Opens the log file anew, after rotation."""
    def drain(self, seconds: float) -> None:
        """Takes no new connection, finishes what is in flight, for at most that long."""
    def stop(self) -> None:
        """Stops the workers and closes the sockets."""
