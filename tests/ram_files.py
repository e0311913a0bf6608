"""A store in memory, `ram://`: TensorFlow has one, and Beam, TFX and tfds learn of it here, for tests.

What uses open(), os or pathlib on such an address fails, or leaves a folder called `ram:` in the working directory.
"""

import importlib
import io
import os
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf
from apache_beam.io import filesystem
from etils import epath
from etils.epath import gpath, register
from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins import tensorflow_gfile

SCHEME = "ram"
ADDRESS = f"{SCHEME}://"


class RamForTfx(tensorflow_gfile.TensorflowFilesystem):
    """TFX's view of it."""

    SUPPORTED_SCHEMES = (ADDRESS,)


def make_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Beam (by `RamFileSystem`), TFX and epath know it as they know gs://."""
    registry = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY
    monkeypatch.setitem(registry._preferred_filesystem_by_scheme, ADDRESS, RamForTfx)
    monkeypatch.setattr(gpath, "_URI_PREFIXES", (*gpath._URI_PREFIXES, ADDRESS))
    monkeypatch.setattr(gpath, "_URI_SCHEMES", gpath._URI_SCHEMES | {SCHEME})
    monkeypatch.setitem(gpath._URI_MAP_ROOT, ADDRESS, f"/{SCHEME}/")
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, SCHEME, gpath._PREFIX_TO_BACKEND["gs"])
    monkeypatch.setitem(register._URI_PREFIXES_TO_CLS, ADDRESS, type(epath.Path("gs://any")))
    monkeypatch.setattr(tf.io.gfile, "GFile", _open)
    monkeypatch.setattr(tf.io.gfile, "walk", _walk)


# By this name it is another module than TensorFlow made, and takes that one's place. Keras imports it so, at its first file in
# a store: then what is replaced here would be as it was.
importlib.import_module("tensorflow.io.gfile")
_GFILE = tf.io.gfile.GFile
_WALK = tf.io.gfile.walk


def _walk(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields what is there: ram:// lists the files of `assets.extra` in `assets`, too, by names that are none."""
    for where, folders, names in _WALK(top):
        folders[:] = [name for name in folders if not tf.io.gfile.exists(where.rstrip("/") + name)]
        yield where, folders, [name for name in names if not tf.io.gfile.exists(where.rstrip("/") + name)]


def _open(name: Any, mode: str = "r") -> Any:
    """Opens a file as any other store does: what is written replaces what was there; ram:// appends to it."""
    if "w" in mode and str(name).startswith(ADDRESS) and tf.io.gfile.exists(name):
        tf.io.gfile.remove(name)
    return _GFILE(name, mode)


class _Writing(io.BytesIO):
    """What is written to an object, which appears when it is closed; ram:// cannot tell a position."""

    mode = "wb"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def close(self) -> None:
        if not self.closed:
            with _open(self.path, "wb") as file:
                file.write(self.getvalue())
        super().close()


class _Reading(io.BytesIO):
    """An object's content; Beam looks at the mode."""

    mode = "rb"


def _read(path: str) -> bytes:
    with _GFILE(path, "rb") as file:
        return file.read()


class RamFileSystem(filesystem.FileSystem):
    """Beam's view of it: whatever Beam asks is asked of TensorFlow."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return os.path.join(basepath, *paths)

    def split(self, path: str) -> tuple[str, str]:
        return os.path.split(path)

    def mkdirs(self, path: str) -> None:
        if tf.io.gfile.exists(path):
            raise OSError(path)
        tf.io.gfile.makedirs(path)

    def has_dirs(self) -> bool:
        return True

    def _list(self, dir_or_prefix: str) -> Iterator[filesystem.FileMetadata]:
        if tf.io.gfile.exists(dir_or_prefix):
            for where, _, names in tf.io.gfile.walk(dir_or_prefix):
                yield from (self.metadata(os.path.join(where, name)) for name in names)

    def _open(self, path: str, mode: str, compression: str) -> Any:
        kind = filesystem.CompressionTypes.detect_compression_type(path)
        kind = kind if compression == filesystem.CompressionTypes.AUTO else compression
        file = _Writing(path) if mode == "wb" else _Reading(_read(path))
        return file if kind == filesystem.CompressionTypes.UNCOMPRESSED else filesystem.CompressedFile(file, kind)

    def create(self, path: str, mime_type: str = "", compression_type: str = filesystem.CompressionTypes.AUTO) -> Any:
        tf.io.gfile.makedirs(os.path.dirname(path))
        return self._open(path, "wb", compression_type)

    def open(self, path: str, mime_type: str = "", compression_type: str = filesystem.CompressionTypes.AUTO) -> Any:
        return self._open(path, "rb", compression_type)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            tf.io.gfile.copy(source, destination, overwrite=True)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            tf.io.gfile.rename(source, destination, overwrite=True)

    def exists(self, path: str) -> bool:
        return tf.io.gfile.exists(path)

    def size(self, path: str) -> int:
        return tf.io.gfile.stat(path).length

    def last_updated(self, path: str) -> float:
        return tf.io.gfile.stat(path).mtime_nsec / 1e9

    def checksum(self, path: str) -> str:
        raise ValueError("TensorFlow's store in memory keeps none.")

    def metadata(self, path: str) -> filesystem.FileMetadata:
        return filesystem.FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            if tf.io.gfile.isdir(path):
                tf.io.gfile.rmtree(path)
            elif tf.io.gfile.exists(path):
                tf.io.gfile.remove(path)
