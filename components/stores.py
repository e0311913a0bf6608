"""Folders in a store (gs://bucket/folder), which has objects only: no rename at once, no locks.

Paths may be local, too. Errors are Python's own, as those of `components.datasets.files`.
"""

import concurrent.futures
import contextlib
import hashlib
import posixpath
import tempfile
import uuid
from collections.abc import Iterable, Iterator

import tensorflow as tf

from components.datasets.files import completion_mark, is_remote, join, os_errors

_THREADS = 16
"""Copies at a time: a store answers slowly, and many at once."""

_CHUNK_BYTES = 1 << 20


def names_below(folder: str) -> list[str]:
    """Returns the files below a folder by their paths relative to it, sorted folder by folder; [] where there is none.

    Raises:
        OSError: the store cannot be asked.
    """
    with os_errors(folder):
        found = [join(where[len(folder) :].strip("/"), name) for where, _, names in tf.io.gfile.walk(folder) for name in names]
    return sorted(found, key=lambda name: name.split("/"))


def sha256_of(path: str) -> str:
    """Returns the digest of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with os_errors(path), tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def copy_files(source: str, target: str, names: Iterable[str]) -> None:
    """Copies files of one folder to another, several at a time; files that are there are replaced.

    Args:
        source: a folder.
        target: another one; made if missing.
        names: of the files, relative to both.

    Raises:
        OSError: one cannot be read or written.
    """

    def copy(name: str) -> None:
        to = join(target, name)
        with os_errors(to):
            tf.io.gfile.makedirs(posixpath.dirname(to))
            tf.io.gfile.copy(join(source, name), to, overwrite=True)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(copy, names):
            pass


def upload(folder: str, address: str) -> None:
    """Copies a folder to a store, once.

    What is there counts as whole once its `completion_mark` is there, too: `is_complete` asks for it.

    Args:
        folder: on this machine.
        address: where its files go.

    Raises:
        OSError: the store cannot be written to.
    """
    copy_files(folder, address, names_below(folder))
    write_bytes(completion_mark(address), b"")


def is_complete(address: str) -> bool:
    """Tells whether a folder in a store is whole."""
    with os_errors(address):
        return tf.io.gfile.exists(completion_mark(address))


@contextlib.contextmanager
def fetched(folder: str) -> Iterator[str]:
    """Gives a folder as one on this machine: a store's is copied, and the copy goes at the end.

    Raises:
        OSError: it cannot be read, or the disk is full.
    """
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="vocseg-fetched-") as scratch:
        copy_files(folder, scratch, names_below(folder))
        yield scratch


def write_bytes(path: str, content: bytes) -> None:
    """Writes an object, whole or not at all: it appears when it is closed.

    Raises:
        OSError: it cannot be written.
    """
    with os_errors(path):
        tf.io.gfile.makedirs(posixpath.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)


def remove(folder: str) -> None:
    """Removes a folder with its files, or a file.

    Raises:
        OSError: it cannot be removed.
    """
    with os_errors(folder):
        if tf.io.gfile.isdir(folder):
            tf.io.gfile.rmtree(folder)
        else:
            tf.io.gfile.remove(folder)


def try_writing(address: str) -> None:
    """Writes an object into a folder and removes it.

    Raises:
        OSError: that cannot be done, whatever the reason.
    """
    path = join(address, f".vocseg-{uuid.uuid4().hex}")  # Several machines may try at once.
    write_bytes(path, b"")
    remove(path)
