"""Files here and in a store: the same answers, and the same errors of Python's."""

import errno
import os
import pathlib
import uuid

import pytest
import tensorflow as tf

from components.datasets import files

TREE = ("a", "sub/b", "sub/deep/c", ".hidden", ".folder/d", "sub/.e")


@pytest.fixture(params=["local", "ram://"])
def root(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """A folder, here or in TensorFlow's memory, whose files hold their own paths, and with a folder that is empty."""
    folder = str(tmp_path / "data") if request.param == "local" else f"ram://{uuid.uuid4().hex}/data"
    for name in ("sub/deep", ".folder", "empty"):
        tf.io.gfile.makedirs(f"{folder}/{name}")
    for name in TREE:
        with tf.io.gfile.GFile(f"{folder}/{name}", "w") as file:
            file.write(name)
    return folder


@pytest.mark.parametrize(
    ("path", "expected"), [("gs://bucket/x", True), ("ram://x", True), ("/data/x", False), ("x", False), ("C:/x", False)]
)
def test_remote_is_what_has_a_scheme(path: str, expected: bool) -> None:
    assert files.is_remote(path) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("d", "a", "b"), "d/a/b"),
        (("d/", "a"), "d/a"),
        (("d", "", "a"), "d/a"),
        (("d", ""), "d"),
        (("", "a"), "a"),
        (("gs://b", "a"), "gs://b/a"),
    ],
)
def test_join_leaves_out_what_is_empty(parts: tuple[str, ...], expected: str) -> None:
    assert files.join(*parts) == expected


def test_content_is_read_as_bytes(root: str) -> None:
    with tf.io.gfile.GFile(f"{root}/binary", "wb") as file:
        file.write(b"\r\n\x00\xff")
    assert files.read_bytes(f"{root}/binary") == b"\r\n\x00\xff"
    assert files.read_bytes(f"{root}/sub/deep/c") == b"sub/deep/c"


@pytest.mark.parametrize("name", ["missing", "missing/x"])
def test_reading_what_is_missing_names_it(root: str, name: str) -> None:
    with pytest.raises(FileNotFoundError) as error:
        files.read_bytes(f"{root}/{name}")
    assert (error.value.errno, error.value.filename) == (errno.ENOENT, f"{root}/{name}")
    assert error.value.strerror == os.strerror(errno.ENOENT)


@pytest.mark.parametrize("name", ["sub", "empty", "sub/"])
def test_reading_a_folder_says_that_it_is_one(root: str, name: str) -> None:
    with pytest.raises(IsADirectoryError) as error:
        files.read_bytes(f"{root}/{name}")
    assert (error.value.errno, error.value.filename) == (errno.EISDIR, f"{root}/{name}")


@pytest.mark.parametrize(
    ("name", "there", "folder"),
    [
        ("a", True, False),
        ("sub", True, True),
        ("sub/", True, True),
        ("empty", True, True),
        ("missing", False, False),
        ("a/x", False, False),
        ("missing/x", False, False),
    ],
)
def test_files_and_folders_are_told_from_what_is_missing(root: str, name: str, there: bool, folder: bool) -> None:
    assert files.exists(f"{root}/{name}") == there
    assert files.is_folder(f"{root}/{name}") == folder


def test_names_are_sorted_and_folders_among_them_have_no_slash(root: str) -> None:
    assert files.names(root) == [".folder", ".hidden", "a", "empty", "sub"]
    assert files.names(f"{root}/") == files.names(root)
    assert files.names(f"{root}/empty") == []


def test_names_in_what_is_missing_are_an_error(root: str) -> None:
    with pytest.raises(FileNotFoundError) as error:
        files.names(f"{root}/missing")
    assert (error.value.errno, error.value.filename) == (errno.ENOENT, f"{root}/missing")


def test_names_in_a_file_are_an_error(root: str) -> None:
    with pytest.raises(NotADirectoryError) as error:
        files.names(f"{root}/a")
    assert (error.value.errno, error.value.filename) == (errno.ENOTDIR, f"{root}/a")


@pytest.mark.parametrize("slash", ["", "/"])
def test_files_below_are_relative_and_hidden_ones_left_out(root: str, slash: str) -> None:
    assert list(files.files_below(root + slash)) == ["a", "sub/b", "sub/deep/c"]


@pytest.mark.parametrize("name", ["missing", "empty", "a"])
def test_there_are_no_files_below_what_is_no_folder_or_an_empty_one(root: str, name: str) -> None:
    assert list(files.files_below(f"{root}/{name}")) == []


def test_hidden_folder_that_is_asked_for_is_not_left_out(root: str) -> None:
    assert list(files.files_below(f"{root}/.folder")) == ["d"]


def test_links_to_files_are_followed_and_those_to_folders_are_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "other")
    (tmp_path / "data" / "file").symlink_to(tmp_path / "other" / "x")
    assert list(files.files_below(str(tmp_path / "data"))) == ["file"]
    assert list(files.files_below(str(tmp_path / "data" / "folder"))) == ["x"]


def test_folder_that_may_not_be_listed_is_an_error_and_not_empty(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a").touch()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # Who runs the tests may be root, and root may all.
    with pytest.raises(PermissionError, match="closed"):
        list(files.files_below(str(tmp_path)))


# A store that fails otherwise.


def _fail_by(monkeypatch: pytest.MonkeyPatch, error: type[tf.errors.OpError]) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error(None, None, "said the store")

    for name in ("exists", "listdir", "walk", "GFile"):
        monkeypatch.setattr(tf.io.gfile, name, fail)


ASKING = {
    "read_bytes": files.read_bytes,
    "exists": files.exists,
    "names": files.names,
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("error", [tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError])
def test_store_that_refuses_is_a_permission_error(
    monkeypatch: pytest.MonkeyPatch, ask: object, error: type[tf.errors.OpError]
) -> None:
    _fail_by(monkeypatch, error)
    with pytest.raises(PermissionError, match="said the store") as raised:
        ask("ram://closed/x")
    assert (raised.value.errno, raised.value.filename) == (errno.EACCES, "ram://closed/x")


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_store_that_is_away_is_an_os_error_with_its_message(monkeypatch: pytest.MonkeyPatch, ask: object) -> None:
    _fail_by(monkeypatch, tf.errors.UnavailableError)
    with pytest.raises(OSError, match="said the store") as raised:
        ask("ram://away/x")
    assert (type(raised.value), raised.value.filename) == (OSError, "ram://away/x")


def test_listing_an_existing_folder_that_fails_does_not_say_that_it_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = f"ram://{uuid.uuid4().hex}/data"
    tf.io.gfile.makedirs(folder)
    _fail_by(monkeypatch, tf.errors.UnavailableError)
    with pytest.raises(OSError, match="said the store") as raised:
        files.names(folder)
    assert type(raised.value) is OSError


def test_walk_that_breaks_off_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(folder: str) -> object:
        yield folder, [], ["a"]
        raise tf.errors.UnavailableError(None, None, "said the store")

    monkeypatch.setattr(tf.io.gfile, "walk", walk)
    found = files.files_below("ram://away")
    assert next(found) == "a"
    with pytest.raises(OSError, match="said the store"):
        next(found)


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_scheme_that_nobody_knows_is_an_os_error_that_names_it(ask: object) -> None:
    with pytest.raises(OSError, match="'nobodys' not implemented"):
        ask("nobodys://bucket/x")


def test_file_of_more_than_a_gigabyte_is_refused_before_it_is_read(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES + 1)  # Sparse: it takes no room.
    with pytest.raises(OSError, match=r"it has 1073741825 bytes, more than 1073741824"):
        files.read_bytes(str(tmp_path / "large.jpg"))


def test_remote_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"ram://{uuid.uuid4()}/a.jpg"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"12345")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 4)
    with pytest.raises(OSError, match=r"it has 5 bytes, more than 4"):
        files.read_bytes(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 5)
    assert files.read_bytes(path) == b"12345"


def test_links_to_folders_are_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "a/b")
    (tmp_path / "a/file").write_text("")
    assert files.links_below(str(tmp_path)) == ["a/link"]
    assert files.links_below("ram://nowhere") == []


def test_path_stays_inside_by_what_it_links_to(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data/in").mkdir(parents=True)
    (tmp_path / "data2").mkdir()
    (tmp_path / "data/near").symlink_to(tmp_path / "data/in")
    (tmp_path / "data/far").symlink_to(tmp_path / "data2")
    folder = str(tmp_path / "data")
    assert files.stays_inside(f"{folder}/near/x", folder) and files.stays_inside(f"{folder}/missing", folder)
    assert not files.stays_inside(f"{folder}/far/x", folder)
    assert not files.stays_inside(f"{folder}2/x", folder)  # No folder because its name begins alike.
    assert files.stays_inside("gs://b/x", "gs://b")


# What may pass, and what does not.


@pytest.mark.parametrize(
    ("kind", "message", "number"),
    [
        (tf.errors.UnavailableError, "503", errno.EIO),
        (tf.errors.AbortedError, "try again", errno.EIO),
        (tf.errors.DeadlineExceededError, "too late", errno.EIO),
        (tf.errors.UnknownError, "/a; Input/output error", errno.EIO),
        (tf.errors.UnavailableError, "/a; Connection refused", errno.ECONNREFUSED),
        (tf.errors.AbortedError, "/a; Stale file handle", errno.ESTALE),
        (tf.errors.FailedPreconditionError, "/a; Is a directory", errno.EISDIR),
        (tf.errors.ResourceExhaustedError, "/a; No space left on device", errno.ENOSPC),
        (tf.errors.InvalidArgumentError, "/a is a directory.", errno.EINVAL),
        (tf.errors.InternalError, "what?", errno.EINVAL),
    ],
)
def test_tensorflow_s_errors_have_the_system_s_number(kind: type[tf.errors.OpError], message: str, number: int) -> None:
    with pytest.raises(OSError, match=message.partition(";")[0]) as raised, files.os_errors("ram://a"):
        raise kind(None, None, message)
    assert raised.value.errno == number


@pytest.mark.parametrize("ask", [files.exists, files.is_folder])
def test_file_that_cannot_be_looked_at_for_a_while_is_not_missing(monkeypatch: pytest.MonkeyPatch, ask: object) -> None:
    def fail(path: str) -> None:
        raise OSError(numbers.pop(), "said the system", path)

    monkeypatch.setattr(os, "stat", fail)
    numbers = [errno.EACCES, errno.EIO]
    with pytest.raises(OSError, match="said the system"):
        ask("/data/a")
    assert not ask("/data/a")


def test_store_that_is_away_is_not_taken_for_one_without_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise tf.errors.UnavailableError(None, None, "said the store")

    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: False)  # As TensorFlow does.
    monkeypatch.setattr(tf.io.gfile, "stat", fail)
    with pytest.raises(OSError, match="said the store"):
        files.is_folder("ram://away/x")
