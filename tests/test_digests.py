"""Digests of files: what is read again, what is not, and what becomes of a cache that cannot be used."""

import contextlib
import errno
import hashlib
import logging
import os
import pathlib
import sqlite3
import subprocess
import sys
import textwrap
import time
import uuid
from typing import Any, BinaryIO

import google.api_core.exceptions
import pytest
import requests
import tensorflow as tf
from apache_beam.io.filesystem import BeamIOError, FileSystem

from components import progress
from components.datasets import digests
from components.datasets.digests import DigestCache
from components.errors import DataError
from pipeline import retries

ROOT = pathlib.Path(digests.__file__).parents[2]
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example B.1.


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _age(path: pathlib.Path, seconds: float = 60.0) -> None:
    """Makes a file look as if written so long ago."""
    then_ns = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(then_ns, then_ns))


def _write(path: pathlib.Path, data: bytes, seconds: float = 60.0) -> str:
    path.write_bytes(data)
    _age(path, seconds)
    return str(path)


def _digests(cache: pathlib.Path | None, *paths: str, workers: int = 4) -> list[str]:
    with DigestCache(None if cache is None else str(cache)) as opened:
        return opened.digests(paths, workers)


def _remembered(cache: pathlib.Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(cache)) as database:
        return {os.fsdecode(path): sha256 for path, sha256 in database.execute("SELECT path, sha256 FROM digests")}


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the cache goes: beside no file of a test, in a folder that is not there yet."""
    return tmp_path / "state" / "digests.sqlite"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The local files opened so far."""
    paths: list[str] = []

    def count(path: str, mode: str) -> BinaryIO:
        paths.append(path)
        return open(path, mode)

    monkeypatch.setattr(digests, "open", count, raising=False)
    return paths


# What is read, and what is not.


def test_digest_is_the_sha256(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path = _write(tmp_path / "x", b"abc")
    assert _digests(cache, path) == [ABC]
    assert _digests(cache, path) == [ABC]
    assert _remembered(cache) == {path: ABC}


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 19])
def test_digest_is_the_same_across_blocks(tmp_path: pathlib.Path, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    assert _digests(None, _write(tmp_path / "x", data[:size])) == [_sha256(data[:size])]


def test_unchanged_file_is_not_opened_again(tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str]) -> None:
    paths = [_write(tmp_path / name, name.encode()) for name in "abc"]
    first = _digests(cache, *paths)
    assert sorted(opened) == paths
    opened.clear()
    assert _digests(cache, *paths) == first
    assert opened == []


def test_without_a_cache_each_file_is_read_each_time(tmp_path: pathlib.Path, opened: list[str]) -> None:
    path = _write(tmp_path / "x", b"abc")
    with DigestCache(None) as cache:
        assert cache.digests([path]) + cache.digests([path]) == [ABC, ABC]
    assert opened == [path, path]


def test_change_of_the_same_size_is_seen_by_the_time(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path = tmp_path / "x"
    _digests(cache, _write(path, b"old", seconds=60))
    inode = path.stat().st_ino
    assert _digests(cache, _write(path, b"new", seconds=59)) == [_sha256(b"new")]
    assert path.stat().st_ino == inode
    assert _remembered(cache) == {str(path): _sha256(b"new")}


def test_change_within_a_nanosecond_is_seen(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path = tmp_path / "x"
    _digests(cache, _write(path, b"old"))
    then_ns = path.stat().st_mtime_ns
    path.write_bytes(b"new")
    os.utime(path, ns=(then_ns, then_ns + 1))
    assert _digests(cache, str(path)) == [_sha256(b"new")]


def test_replaced_file_of_the_same_size_and_time_is_seen_by_the_inode(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path, other = tmp_path / "x", tmp_path / "y"
    _digests(cache, _write(path, b"old"))
    other.write_bytes(b"new")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert _digests(cache, str(path)) == [_sha256(b"new")]


def test_change_that_keeps_size_time_and_inode_is_not_seen_until_the_cache_is_deleted(
    tmp_path: pathlib.Path, cache: pathlib.Path
) -> None:
    path = tmp_path / "x"
    old = _digests(cache, _write(path, b"old"))
    stat = path.stat()
    path.write_bytes(b"new")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _digests(cache, str(path)) == old
    cache.unlink()
    assert _digests(cache, str(path)) == [_sha256(b"new")]


def test_touched_file_is_read_once_more_and_has_the_same_digest(
    tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str]
) -> None:
    path = tmp_path / "x"
    before = _digests(cache, _write(path, b"abc", seconds=60))
    _age(path, seconds=30)
    assert _digests(cache, str(path)) == before
    assert _digests(cache, str(path)) == before
    assert opened == [str(path)] * 2


@pytest.mark.parametrize(
    ("age_ns", "remembered"),
    [(0, False), (1_999_999_999, False), (-3_600_000_000_000, False), (2_000_000_000, True)],
    ids=["just now", "1 ns less than 2 s ago", "in the future", "2 s ago"],
)
def test_recent_file_is_not_remembered(
    tmp_path: pathlib.Path,
    cache: pathlib.Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    age_ns: int,
    remembered: bool,
) -> None:
    path = _write(tmp_path / "x", b"abc")
    now_ns = os.stat(path).st_mtime_ns + age_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    assert _digests(cache, path) == [ABC]
    assert _remembered(cache) == ({path: ABC} if remembered else {})
    assert _digests(cache, path) == [ABC]
    assert len(opened) == (1 if remembered else 2)


def test_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    _write(path, b"abc")

    def read_while_it_grows(file: BinaryIO) -> str:
        data = file.read()
        path.write_bytes(b"abcd")
        _age(path, seconds=30)
        return _sha256(data)

    monkeypatch.setattr(digests, "_sha256", read_while_it_grows)
    assert _digests(cache, str(path)) == [ABC]
    assert _remembered(cache) == {}


def test_relative_and_absolute_paths_are_one(
    tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "x", b"abc")
    monkeypatch.chdir(tmp_path)
    assert _digests(cache, "x", "./x", path) == [ABC] * 3
    opened.clear()
    assert _digests(cache, path, "x") == [ABC] * 2
    assert opened == []


def test_name_that_is_not_utf8_is_remembered(tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str]) -> None:
    path = _write(tmp_path / os.fsdecode(b"caf\xe9"), b"abc")
    assert _digests(cache, path) == _digests(cache, path) == [ABC]
    assert opened == [path]


def test_inode_and_time_above_63_bits_are_no_error(
    tmp_path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "x", b"abc")
    state = digests._state
    monkeypatch.setattr(digests, "_state", lambda stat: state(stat)._replace(inode=str(2**64 - 1)))
    assert _digests(cache, path) == _digests(cache, path) == [ABC]
    assert _remembered(cache) == {path: ABC}
    monkeypatch.setattr(digests, "_state", lambda stat: state(stat)._replace(mtime_ns=2**64))  # ext4 counts to the year 2446.
    assert _digests(cache, path) == [ABC]


# What cannot be read.


def test_missing_file_folder_and_unreadable_file(
    tmp_path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "x", b"abc")

    def refuse(opened: str, mode: str) -> BinaryIO:  # By chmod, root would be let in.
        if opened == path:
            raise PermissionError(errno.EACCES, "Permission denied", opened)
        return open(opened, mode)

    monkeypatch.setattr(digests, "open", refuse, raising=False)
    expected = ["unreadable 2", "unreadable 21", "unreadable 13", "unreadable 20"]
    assert _digests(cache, str(tmp_path / "none"), str(tmp_path), path, f"{path}/y") == expected
    assert _remembered(cache) == {}
    monkeypatch.undo()
    assert _digests(cache, path) == [ABC]


def test_file_that_vanishes_is_unreadable_although_remembered(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path = tmp_path / "x"
    assert _digests(cache, _write(path, b"abc")) == [ABC]
    path.unlink()
    assert _digests(cache, str(path)) == ["unreadable 2"]


# Order and numbers.


def test_digests_of_nothing(cache: pathlib.Path) -> None:
    assert _digests(cache) == []


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_5000_paths_keep_their_order_in_chunks(
    tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str], workers: int
) -> None:
    content = {str(tmp_path / f"{index}"): f"{index}".encode() for index in range(5000)}
    for path, data in content.items():
        _write(pathlib.Path(path), data)
    paths = [*reversed(content), str(tmp_path / "none"), *list(content)[:7]]
    expected = [_sha256(content[path]) if path in content else "unreadable 2" for path in paths]
    assert _digests(cache, *paths, workers=workers) == expected
    assert len(_remembered(cache)) == 5000
    opened.clear()
    assert _digests(cache, *paths, workers=workers) == expected
    assert opened == [str(tmp_path / "none")]


def test_one_changed_file_among_many_is_the_only_one_read(
    tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str]
) -> None:
    paths = [_write(tmp_path / f"{index}", b"x") for index in range(1200)]
    _digests(cache, *paths)
    opened.clear()
    _write(tmp_path / "700", b"y")
    assert _digests(cache, *paths)[700] == _sha256(b"y")
    assert opened == [paths[700]]


def test_long_reading_is_reported(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[Any, ...]] = []
    monkeypatch.setattr(progress, "report", lambda *args: reports.append(args))
    paths = [_write(tmp_path / f"{index}", b"x") for index in range(1100)]
    _digests(None, *paths[:10])
    assert reports == []
    monkeypatch.setattr(digests, "_REPORT_EVERY_S", 0.0)
    _digests(None, *paths)
    assert reports == [(done, 1100, "files digested") for done in (512, 1024, 1100)]


# The cache's file.


def test_cache_is_made_with_its_folder(cache: pathlib.Path) -> None:
    assert not cache.parent.exists()
    _digests(cache)
    assert _remembered(cache) == {}


def _make_database(path: pathlib.Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


@pytest.mark.parametrize(
    "content",
    [
        b"not a database at all, but long enough to be one" * 100,
        b"SQLite format 3\x00" + b"\xff" * 4096,
        "CREATE TABLE runs (id INTEGER)",
        "CREATE TABLE digests (path TEXT, sha256 TEXT)",
    ],
    ids=["text", "header alone", "another database", "another version"],
)
def test_damaged_or_foreign_file_is_replaced_and_kept_beside(
    tmp_path: pathlib.Path, cache: pathlib.Path, opened: list[str], content: bytes | str
) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content) if isinstance(content, bytes) else _make_database(cache, content)
    before = cache.read_bytes()
    path = _write(tmp_path / "x", b"abc")
    assert _digests(cache, path) == [ABC]
    assert _digests(cache, path) == [ABC]
    assert opened == [path]
    assert _remembered(cache) == {path: ABC}
    assert cache.with_name("digests.sqlite.replaced").read_bytes() == before


def test_empty_file_becomes_a_cache(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    cache.parent.mkdir()
    cache.touch()
    path = _write(tmp_path / "x", b"abc")
    assert _digests(cache, path) == [ABC]
    assert _remembered(cache) == {path: ABC}


def test_damage_found_while_in_use_is_replaced(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    paths = [_write(tmp_path / f"{index}", b"abc") for index in range(2000)]
    _digests(cache, *paths)
    with cache.open("r+b") as file:  # The first page, with the schema, stays whole.
        file.seek(4096)
        file.write(b"\xff" * (cache.stat().st_size - 4096))
    assert _digests(cache, *paths) == [ABC] * 2000
    assert _digests(cache, *paths) == [ABC] * 2000
    assert set(_remembered(cache)) <= set(paths)
    assert len(_remembered(cache)) == 2000


@pytest.mark.parametrize("place", ["file/digests.sqlite", "folder"], ids=["below a file", "a folder"])
def test_cache_that_cannot_be_made_is_a_warning(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = _write(tmp_path / "x", b"abc")
    with caplog.at_level(logging.WARNING):
        assert _digests(tmp_path / place, path) == [ABC]
    assert "No digests are kept in" in caplog.text


def test_locked_cache_is_not_replaced(
    tmp_path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = _write(tmp_path / "old", b"abc"), _write(tmp_path / "new", b"abc")
    _digests(cache, old)
    monkeypatch.setattr(digests, "_LOCK_TIMEOUT_S", 0.05)
    with contextlib.closing(sqlite3.connect(cache)) as other, caplog.at_level(logging.WARNING):
        other.execute("BEGIN IMMEDIATE")
        assert _digests(cache, old, new) == [ABC, ABC]
        other.execute("ROLLBACK")
    assert "No more digests are kept" in caplog.text
    assert "locked" in caplog.text
    assert _remembered(cache) == {old: ABC}
    assert os.listdir(cache.parent) == ["digests.sqlite"]


@pytest.mark.parametrize("damaged", [False, True], ids=["new cache", "damaged cache"])
def test_processes_at_once_do_not_fail(tmp_path: pathlib.Path, cache: pathlib.Path, damaged: bool) -> None:
    paths = [_write(tmp_path / f"{index}", f"{index}".encode()) for index in range(3000)]
    if damaged:
        cache.parent.mkdir()
        cache.write_bytes(b"not a database" * 1000)
    script = textwrap.dedent(f"""
        import pathlib, sys
        from components.datasets.digests import DigestCache
        paths = [f"{tmp_path}/{{index}}" for index in range(3000)]
        print("ready", flush=True)
        sys.stdin.readline()
        with DigestCache({str(cache)!r}) as cache:
            print(*cache.digests(paths[::-1] if sys.argv[1] == "1" else paths))
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # All at once, after their imports.
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    expected = [_sha256(f"{index}".encode()) for index in range(3000)]
    for number, process in enumerate(processes):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert output.split() == (expected[::-1] if number == 1 else expected)
        assert damaged or errors == ""
    _digests(cache, *paths)
    assert len(_remembered(cache)) == 3000


def test_local_use_imports_neither_beam_nor_tensorflow(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    path = _write(tmp_path / "x", b"abc")
    script = textwrap.dedent(f"""
        import sys
        from components.datasets.digests import DigestCache
        with DigestCache({str(cache)!r}) as cache:
            print(*cache.digests([{path!r}]))
        print({{"apache_beam", "tensorflow"}} & set(sys.modules))
    """)
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == f"{ABC}\nset()\n"


# Remote paths.


class _Store(FileSystem):
    """An object store that Beam knows."""

    checksums: dict[str, str] = {}  # noqa: RUF012
    failure: Exception | None = None
    reads = 0

    @classmethod
    def scheme(cls):
        return "fakestore"

    def checksum(self, path):
        if self.failure is not None:
            raise BeamIOError("Checksum operation failed", {path: self.failure})
        if path not in self.checksums:
            raise BeamIOError("Checksum operation failed", {path: KeyError(path)})
        return self.checksums[path]

    def exists(self, path):
        if self.failure is not None:
            raise self.failure
        return path in self.checksums

    def open(self, path, mime_type="application/octet-stream", compression_type="auto"):
        _Store.reads += 1
        raise AssertionError("An object is never read.")

    def _refuse(self, *args, **kwargs):
        raise NotImplementedError

    join = split = mkdirs = has_dirs = _list = create = copy = rename = size = last_updated = metadata = delete = _refuse


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> type[_Store]:
    """The store, with two objects in it."""
    monkeypatch.setattr(_Store, "checksums", {"fakestore://b/x": "AAAAAA==", "fakestore://b/y": "nhCEFg=="})
    monkeypatch.setattr(_Store, "failure", None)
    monkeypatch.setattr(_Store, "reads", 0)
    return _Store


def test_object_has_its_stores_checksum_and_is_not_read(cache: pathlib.Path, store: type[_Store]) -> None:
    assert _digests(cache, "fakestore://b/y", "fakestore://b/x") == ["fakestore:nhCEFg==", "fakestore:AAAAAA=="]
    assert store.reads == 0
    assert _remembered(cache) == {}
    store.checksums["fakestore://b/x"] = "BBBBBB=="
    assert _digests(cache, "fakestore://b/x") == ["fakestore:BBBBBB=="]


def test_missing_object_is_unreadable_as_a_missing_file_is(cache: pathlib.Path, store: type[_Store]) -> None:
    assert _digests(cache, "fakestore://b/none") == ["unreadable 2"]
    assert store.reads == 0


def test_remote_and_local_paths_keep_their_order(tmp_path: pathlib.Path, cache: pathlib.Path, store: type[_Store]) -> None:
    path = _write(tmp_path / "x", b"abc")
    expected = [ABC, "fakestore:AAAAAA==", "unreadable 2", "fakestore:nhCEFg=="]
    assert _digests(cache, path, "fakestore://b/x", str(tmp_path / "none"), "fakestore://b/y") == expected


@pytest.mark.parametrize("failure", [PermissionError("403 Forbidden"), RuntimeError("403 Forbidden")])
def test_store_that_refuses_is_an_error_not_a_digest(
    monkeypatch: pytest.MonkeyPatch, store: type[_Store], failure: Exception
) -> None:
    monkeypatch.setattr(store, "failure", failure)
    with pytest.raises(
        DataError, match=r"Expected a checksum of fakestore://b/x, got none: .*403 Forbidden.*Check the address"
    ):
        _digests(None, "fakestore://b/x")


def test_store_without_checksums_is_an_error(store: type[_Store]) -> None:
    store.checksums["fakestore://b/x"] = ""
    with pytest.raises(DataError, match="got none: the store keeps none"):
        _digests(None, "fakestore://b/x")


def test_what_only_tensorflow_knows_is_read_and_not_remembered(cache: pathlib.Path) -> None:
    folder = f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(folder)
    for data in (b"abc", b"abd"):
        if tf.io.gfile.exists(f"{folder}/x"):
            tf.io.gfile.remove(f"{folder}/x")  # ram:// appends to a file that is there.
        with tf.io.gfile.GFile(f"{folder}/x", "wb") as file:
            file.write(data)
        expected = [_sha256(data), "unreadable 2", f"unreadable {errno.EISDIR}"]
        assert _digests(cache, f"{folder}/x", f"{folder}/none", folder) == expected
    assert _remembered(cache) == {}


def test_scheme_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(DataError, match="nostore://b/x, got none: File system scheme 'nostore' not implemented"):
        _digests(None, "nostore://b/x")


# What may pass.


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EHOSTUNREACH])
def test_file_that_a_disk_or_network_fails_over_has_no_digest(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = _write(tmp_path / "x", b"abc")

    def fail(file: BinaryIO) -> str:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(digests, "_sha256", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        _digests(None, path)


@pytest.mark.parametrize(
    "failure",
    [google.api_core.exceptions.ServiceUnavailable("x"), requests.exceptions.ConnectionError("x"), ConnectionResetError("x")],
)
def test_store_that_is_away_is_no_fault_of_the_data(
    monkeypatch: pytest.MonkeyPatch, store: type[_Store], failure: Exception
) -> None:
    monkeypatch.setattr(store, "failure", failure)
    with pytest.raises(BeamIOError) as raised:
        _digests(None, "fakestore://b/x")
    assert retries.is_transient(raised.value)


def test_tensorflow_s_store_that_is_away_is_no_fault_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise tf.errors.UnavailableError(None, None, "503")

    monkeypatch.setattr(tf.io.gfile, "GFile", fail)
    with pytest.raises(OSError, match="503") as raised:
        _digests(None, "ram://b/x")
    assert retries.is_transient(raised.value)
