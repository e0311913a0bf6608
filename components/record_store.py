"""Transformed records in one local file, in the order of their keys, each at hand by its number."""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO

import numpy as np
import tensorflow as tf

from components import features
from components.errors import TrainingError
from components.untuned import untuned


@dataclasses.dataclass(frozen=True)
class RecordStore:
    """Records that can be read in any order: gzipped TFRecords cannot, and Beam writes them in an order of its own.

    The file has no name: it is gone with the process, however that ends.

    Attributes:
        keys: of the records, ascending.
        pixels: int64 [N, C], how many pixels of each class each record has; void counts nowhere.
        digest: of all records' features; the same give the same, in whatever order and files they were found.
    """

    keys: tuple[bytes, ...]
    pixels: np.ndarray
    digest: str
    _file: IO[bytes]
    _spans: np.ndarray

    def __len__(self) -> int:
        """Returns N."""
        return len(self.keys)

    def read(self, index: int) -> bytes:
        """Returns the serialised record of that number, 0..N-1; threads may read at once."""
        start, length = self._spans[index]
        return os.pread(self._file.fileno(), int(length), int(start))

    def __enter__(self) -> "RecordStore":
        """Returns itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Frees the disk."""
        self._file.close()


def open_store(files: Sequence[str], num_classes: int) -> RecordStore:
    """Copies records to a local file, uncompressed.

    Args:
        files: gzipped TFRecords from Transform.
        num_classes: C.

    Raises:
        TrainingError: they do not fit on the disk of temporary files.
    """
    file = tempfile.TemporaryFile(prefix="vocseg-records-")
    found: list[tuple[bytes, bytes, int, int]] = []
    pixels: list[np.ndarray] = []
    try:
        for record, key, content, counts in _scan(files, num_classes).as_numpy_iterator():
            found.append((key, hashlib.sha256(content).digest(), file.tell(), len(record)))
            pixels.append(counts)
            file.write(record)
        file.flush()
    except OSError as error:
        file.close()
        raise TrainingError(
            f"The {len(found)} records so far do not fit below {tempfile.gettempdir()} ({error.strerror}). Training needs them "
            "uncompressed on a local disk; set TMPDIR to a folder with more room."
        ) from error
    order = sorted(range(len(found)), key=lambda number: found[number][:2])
    digest = hashlib.sha256(b"".join(found[number][1] for number in order)).hexdigest()
    return RecordStore(
        keys=tuple(found[number][0] for number in order),
        pixels=np.array([pixels[number] for number in order], np.int64).reshape(-1, num_classes),
        digest=digest,
        _file=file,
        _spans=np.array([found[number][2:] for number in order], np.int64).reshape(-1, 2),
    )


def _scan(files: Sequence[str], num_classes: int) -> tf.data.Dataset:
    """Returns (record, key, content, pixels a class int64 [C]) of each record, file by file.

    The content is that of the features in an order of ours: each worker writes them in another.
    """
    names = tf.data.Dataset.from_tensor_slices(sorted(files))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP", num_parallel_reads=None)

    def describe(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        text = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_single_example(
            record, {name: text for name in (features.FILENAME, features.IMAGE, features.LABEL)}
        )
        content = tf.strings.join([parsed[features.FILENAME], parsed[features.IMAGE], parsed[features.LABEL]], "\n")
        label = tf.cast(tf.reshape(tf.io.parse_tensor(parsed[features.LABEL], tf.uint8), [-1]), tf.int32)
        counts = tf.math.bincount(label, minlength=256, maxlength=256, dtype=tf.int64)[:num_classes]
        return record, parsed[features.FILENAME], content, counts

    return untuned(records.map(describe, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE))
