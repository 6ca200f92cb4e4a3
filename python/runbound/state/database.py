"""The file `state.db`: how it is opened, what tables it has, and what SQLite's errors mean to a person.

A connection trusts nothing in the file but its pages: no views, no triggers, no functions in the schema, and the schema
must be the one written here, word for word. It must never know what the rows mean.
"""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

import apsw

from runbound.errors import RunboundError
from runbound.state.directory import StateUnusableError

FILE_MODE: Final = 0o600
APPLICATION_ID: Final = 0x52554E42
"""`RUNB` in the file's header, so that `file` and we know whose it is."""
SCHEMA_VERSION: Final = 1
BUSY_MS: Final = 5000
"""How long a connection waits for another's lock; only an operator's own tool can hold one."""
CACHE_KIB: Final = 16 * 1024
"""Pages a connection keeps in memory, in KiB."""
MAX_LOG: Final = 64 * 1024 * 1024
"""Octets of `state.db-wal` that stay on the disk after a large change."""
MAX_READERS: Final = 8
"""Idle connections for reading that are kept open; more are opened when needed, and closed after."""

RECOVER: Final = (
    "runbound store verify names all that is wrong; put state.db and state.mac of one moment back, or move both away, "
    "start, and runbound backup restore; if you know it to be good, runbound store resign --accept takes it as it is"
)
"""What to do about a state that is not what was written."""

SCHEMA: Final = (
    """CREATE TABLE entries (
  kind TEXT NOT NULL,
  key BLOB NOT NULL,
  id INTEGER NOT NULL,
  doc TEXT NOT NULL,
  rev INTEGER NOT NULL,
  mac BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX entries_id ON entries (id)",
    """CREATE TABLE journal (
  rev INTEGER PRIMARY KEY,
  row TEXT NOT NULL,
  mac BLOB NOT NULL
) STRICT""",
    """CREATE TABLE parts (
  rev INTEGER NOT NULL,
  part INTEGER NOT NULL,
  kind TEXT NOT NULL,
  before BLOB NOT NULL,
  after BLOB NOT NULL,
  PRIMARY KEY (rev, part)
) STRICT""",
    """CREATE TABLE views (
  digest TEXT PRIMARY KEY,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  line TEXT NOT NULL
) STRICT""",
    """CREATE TABLE uses (
  id INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  mac BLOB NOT NULL
) STRICT""",
    """CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  body TEXT NOT NULL,
  mac BLOB NOT NULL
) STRICT""",
)
"""The tables, each statement as SQLite keeps it."""


class StateTamperedError(RunboundError):
    """What is kept is not what was written: edited, cut, rolled back, or damaged."""

    def __init__(self, what: str, where: str | None = None, fix: str = RECOVER) -> None:
        super().__init__(what, where, fix)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns what SQLite says about the file into what a person can do about it."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StateTamperedError(f"the database is damaged ({error})", path) from error
    except apsw.FullError as error:
        raise StateUnusableError("the disk is full, nothing was changed", path, "make room") from error
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as error:
        raise StateUnusableError(
            f"it cannot be written to ({error})", path, "give the folder and its files to runbound's account"
        ) from error
    except apsw.CantOpenError as error:
        raise StateUnusableError(f"it cannot be opened ({error})", path, "look at the rights of the folder") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StateUnusableError("another program holds it locked", path, "end that program") from error
    except apsw.IOError as error:
        raise StateUnusableError(f"reading or writing failed ({error})", path, "look at the disk") from error
    except (apsw.Error, UnicodeDecodeError) as error:
        raise StateTamperedError(f"the database does not read as it was written ({error})", path) from error


def connect(path: str, *, write: bool) -> apsw.Connection:
    """A connection to the file, which must exist. Raises apsw errors: see `reading`."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW  # readers too: one may be the first to meet a log
    connection = apsw.Connection(path, flags=flags)
    try:
        connection.set_busy_timeout(BUSY_MS)
        for setting, value in (
            (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
            (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
            (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
            (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
            (apsw.SQLITE_DBCONFIG_DQS_DML, 0),
            (apsw.SQLITE_DBCONFIG_DQS_DDL, 0),
        ):
            connection.config(setting, value)
        for pragma in ("cell_size_check = 1", f"cache_size = -{CACHE_KIB}", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        if write:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG}")
        else:
            connection.execute("PRAGMA query_only = 1")
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: str, owner: tuple[int, int] | None = None) -> apsw.Connection:
    """A new database with its tables, private from its first octet."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
    finally:
        os.close(fd)
    connection = connect(path, write=True)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return connection


def check_schema(connection: apsw.Connection, path: str) -> None:
    """Refuses a file that is not ours, is of a later version, or has anything in its schema that we did not write."""
    if value(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise StateTamperedError("this is no state of runbound, or its header was changed", path)
    version = value(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise StateUnusableError(
            f"it was written by a later runbound (version {version}, this one reads {SCHEMA_VERSION})",
            path,
            "use that one, or name another state-dir",
        )
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")]
    if version != SCHEMA_VERSION or found != list(SCHEMA):
        raise StateTamperedError("its tables are not those that runbound makes", path)


def value(connection: apsw.Connection, sql: str, bindings: tuple[Any, ...] | dict[str, Any] = ()) -> Any:
    """The one value of a query, None without a row."""
    row = connection.execute(sql, bindings).fetchone()
    return None if row is None else row[0]


def typed(rows: Iterable[tuple[Any, ...]], *types: type) -> Iterator[tuple[Any, ...]]:
    """The rows, whose columns must be of these types: a damaged page can make a text of an octet string, or nothing.

    Raises StateTamperedError.
    """
    for row in rows:
        if len(row) != len(types) or not all(map(isinstance, row, types)):
            raise StateTamperedError("the database is damaged (a column has another type than it was written with)")
        yield row


class Readers:
    """Connections for reading, taken in turn: each belongs to one thread at a time. Safe from every thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def one(self) -> Iterator[apsw.Connection]:
        """A connection in a transaction of its own: all that is read in it is of one moment."""
        with self._lock:
            if self._closed:
                raise StateUnusableError("the state is closed", self.path)
            connection = self._idle.pop() if self._idle else None
        whole = False
        with reading(self.path):
            connection = connection or connect(self.path, write=False)
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
                whole = True
            finally:
                self._back(connection, whole)

    def close(self) -> None:
        """Closes all that nobody is using; the others close when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _back(self, connection: apsw.Connection, whole: bool) -> None:
        with self._lock:
            keep = whole and not self._closed and len(self._idle) < MAX_READERS
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close(True)
