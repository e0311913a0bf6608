"""Digests of files' contents that do not read a file again while it has not changed.

What is promised: a local file's digest is the SHA-256 of its bytes, whether read now or remembered, so that a touched file (new
time stamp, same content) is read once more and gives the same digest. A file is taken for unchanged while its path, its size,
its mtime in ns and its inode are the same. What the cache therefore cannot see is a change that keeps all of size, mtime and
inode (bytes written in place, then the old time stamp set again) and a right to read that was withdrawn: `--verify` deletes the
cache, and everything is read.

An object of a store (gs://, s3://, ...) is not read at all: its digest is the checksum that the store keeps.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import importlib
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, Self

from components import progress
from components.datasets import files
from components.datasets.files import is_remote
from components.errors import DataError

DIGESTS_FILE = "digests.sqlite"
"""Name of the cache, below a work folder."""

LOGGER = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20

_CHUNK = 512
"""Paths looked up and remembered at once: bounds the memory and stays below SQLite's limit of 32,766 values a statement."""

_SETTLED_NS = 2_000_000_000
"""A file changed since may change again within one tick of its clock (FAT counts in 2 s), and its mtime would not tell."""

_PASSING_NAMES = frozenset({"ConnectionError", "ConnectTimeout", "ReadTimeout", "RetryError"})
"""Classes of requests and of Google's client."""

_REPORT_EVERY_S = 1.0
_LOCK_TIMEOUT_S = 60.0

_SCHEMA = (
    # Paths are bytes and inodes text: a name need not be UTF-8, and an inode may be above SQLite's 2^63 - 1.
    "CREATE TABLE digests (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode TEXT, sha256 TEXT)"
    " STRICT, WITHOUT ROWID"
)


class _State(NamedTuple):
    """What a file looks like from outside; the same state, the same bytes."""

    size: int
    mtime_ns: int
    inode: str


class _Entry(NamedTuple):
    """A row of the cache."""

    path: bytes
    state: _State
    sha256: str


def _state(stat: os.stat_result) -> _State:
    return _State(stat.st_size, stat.st_mtime_ns, str(stat.st_ino))


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _digest_local(path: str, known: _Entry | None) -> tuple[str, _Entry | None]:
    """Returns a file's digest, and what is worth remembering where it had to be read."""
    now_ns = time.time_ns()
    try:
        if known is not None and _state(os.stat(path)) == known.state:
            return known.sha256, None
        files.refuse_special(path)
        with open(path, "rb") as file:
            before = _state(os.fstat(file.fileno()))
            sha256 = _sha256(file)
            after = _state(os.fstat(file.fileno()))
    except OSError as error:
        files.raise_passing(error)  # What the file holds is not known, and remembering that would hide it later.
        return f"unreadable {error.errno}", None
    settled = before == after and now_ns - after.mtime_ns >= _SETTLED_NS
    return sha256, _Entry(os.fsencode(path), after, sha256) if settled else None


def _digest_remote(path: str) -> str:
    """Returns the checksum that an object's store keeps, behind the scheme; without such a store, the SHA-256 of the bytes.

    Raises:
        DataError: the store gives no checksum of an object that is there. "unreadable" would hide its changes.
    """
    from apache_beam.io.filesystems import FileSystems  # Slow to import, and no use to local data.

    try:
        checksum = FileSystems.checksum(path)
    except ValueError:  # Beam has no such file system.
        return _digest_bytes(path)
    except OSError as error:
        if _may_pass(error):
            raise
        if _is_missing(path):
            return f"unreadable {errno.ENOENT}"
        raise _no_digest(path, error) from error
    if not checksum:
        raise _no_digest(path, "the store keeps none")
    return f"{path.partition('://')[0]}:{checksum}"


def _may_pass(error: OSError) -> bool:
    """Tells whether an error of Beam's says that the store is away; it gathers those of the store's client by paths."""
    details = getattr(error, "exception_details", None) or {}
    return any(
        isinstance(one, ConnectionError | TimeoutError)
        or getattr(one, "errno", None) in files.PASSING
        or getattr(one, "code", None) in files.PASSING_CODES
        or type(one).__name__ in _PASSING_NAMES
        for one in (error, *details.values())
    )


def _is_missing(path: str) -> bool:
    from apache_beam.io.filesystems import FileSystems

    try:
        return not FileSystems.exists(path)
    except Exception:  # No access or no network: each store's client has errors of its own.
        return False


def _digest_bytes(path: str) -> str:
    """Returns the SHA-256 of what only TensorFlow can reach, ram:// for instance.

    Raises:
        DataError: TensorFlow does not know such paths, or cannot read a file that is there.
    """
    try:
        return hashlib.sha256(files.read_bytes(path)).hexdigest()
    except (FileNotFoundError, IsADirectoryError) as error:
        return f"unreadable {error.errno}"
    except OSError as error:
        files.raise_passing(error)
        raise _no_digest(path, error.strerror) from error


def _no_digest(path: str, reason: object) -> DataError:
    return DataError(
        f"Expected a checksum of {path}, got none: {reason}. Check the address, the rights and the network, "
        "or copy the data to a local folder."
    )


def _connect(path: str) -> sqlite3.Connection:
    """Opens a cache, made where there is none.

    Raises:
        sqlite3.Error: the file cannot be used; see `_is_damage`.
    """
    # IMMEDIATE: who writes waits for the lock before it starts; two that start as readers would each wait for the other to end.
    database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level="IMMEDIATE")
    try:
        tables = database.execute("SELECT sql FROM sqlite_master").fetchall()
        if tables not in ([], [(_SCHEMA,)]):
            raise _ForeignError("it is another database")
        database.execute(_SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS", 1))  # Another process may have made it by now.
    except sqlite3.Error:
        database.close()
        raise
    return database


class _ForeignError(sqlite3.DatabaseError):
    """A database, but not a cache."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Tells whether a file is at fault, and not, for instance, a lock or a full disk."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # The low byte is the primary code.
    return isinstance(error, _ForeignError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _open(path: str, replace: bool = False) -> sqlite3.Connection | None:
    """Opens a cache, in place of a damaged or foreign file; None, with a warning, where it cannot be had."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not replace:
            try:
                return _connect(path)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
        LOGGER.warning("%s was damaged or no cache of digests: it is now %s.replaced.", path, path)
        with contextlib.suppress(FileNotFoundError):  # Another process was faster.
            os.replace(path, f"{path}.replaced")
        return _connect(path)
    except (OSError, sqlite3.Error) as error:
        LOGGER.warning("No digests are kept in %s, files are read: %s.", path, error)
        return None


class DigestCache:
    """Digests of files, remembered in a SQLite file as long as the context lasts; several processes may share the file.

    Nothing depends on the cache: where it cannot be had (no right to write, a full disk), a warning says so and files are read.
    """

    def __init__(self, path: str | None) -> None:
        """Opens nothing yet.

        Args:
            path: of the SQLite file, local; made where missing, with its folder. What else lies there is moved to
                `<path>.replaced`. None: nothing is kept.
        """
        self._path = path and os.path.abspath(path)
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Opens the file."""
        self._database = _open(self._path) if self._path else None
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def digests(self, paths: Sequence[str], workers: int = 16) -> list[str]:
        """Returns a digest a path, in their order.

        Args:
            paths: local ones, or with a scheme (gs://...).
            workers: threads that read, or that ask the store.

        Returns:
            The SHA-256 of a local file in hex; "<scheme>:<checksum>" of an object of a store that Beam knows, the SHA-256 of
            any other; "unreadable <errno>" of a file that cannot be read and of an object that is not there.

        Raises:
            DataError: an object is there, but its store gives no checksum.
        """
        if any(map(is_remote, paths)):
            importlib.import_module("apache_beam.io.filesystems")  # Here once, not in all threads at the same time.
        digests: list[str] = []
        reported_s = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(paths), _CHUNK):
                digests += self._digest_chunk(paths[start : start + _CHUNK], pool, workers)
                if (
                    time.monotonic() - reported_s >= _REPORT_EVERY_S
                ):  # Never where all is remembered, unless they are very many.
                    progress.report(len(digests), len(paths), "files digested")
                    reported_s = time.monotonic()
        return digests

    def _digest_chunk(self, paths: Sequence[str], pool: concurrent.futures.Executor, workers: int) -> list[str]:
        paths = [path if is_remote(path) else os.path.abspath(path) for path in paths]
        known = self._recall([os.fsencode(path) for path in paths if not is_remote(path)])

        def digest(path: str) -> tuple[str, _Entry | None]:
            return (_digest_remote(path), None) if is_remote(path) else _digest_local(path, known.get(os.fsencode(path)))

        # Every n-th path to each thread: a task holds many stats, which are cheap, and new files in a row are shared out.
        strides = [paths[first::workers] for first in range(min(workers, len(paths)))]
        digests, entries = [""] * len(paths), []
        for first, found in enumerate(pool.map(lambda stride: [digest(path) for path in stride], strides)):
            digests[first::workers] = [text for text, _ in found]
            entries += [entry for _, entry in found if entry is not None]
        self._remember(entries)
        return digests

    def _recall(self, paths: Sequence[bytes]) -> dict[bytes, _Entry]:
        if self._database is None or not paths:
            return {}
        query = f"SELECT path, size, mtime_ns, inode, sha256 FROM digests WHERE path IN ({', '.join('?' * len(paths))})"
        try:
            rows = self._database.execute(query, paths).fetchall()
        except sqlite3.Error as error:
            self._reopen(error)
            return {}
        return {path: _Entry(path, _State(size, mtime_ns, inode), sha256) for path, size, mtime_ns, inode, sha256 in rows}

    def _remember(self, entries: Sequence[_Entry]) -> None:
        if self._database is None or not entries:
            return
        rows = [(entry.path, *entry.state, entry.sha256) for entry in entries]
        try:
            with self._database:  # One transaction.
                self._database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._reopen(error)

    def _reopen(self, error: sqlite3.Error) -> None:
        """After an error: a damaged file is replaced; any other cause may last, and the rest is done without a cache."""
        self.__exit__()
        if self._path and _is_damage(error):
            self._database = _open(self._path, replace=True)
        else:
            LOGGER.warning("No more digests are kept in %s, files are read: %s.", self._path, error)
