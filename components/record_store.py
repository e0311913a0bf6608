"""Transformed records in one local file, as bare pixels, in the order of their keys, each at hand by its number."""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework.tensor_pb2 import TensorProto

from components import features, masks
from components.errors import TrainingError
from components.untuned import untuned
from pipeline_config import TransformConfig


@dataclasses.dataclass(frozen=True)
class RecordStore:
    """Records that can be read in any order: gzipped TFRecords cannot, and Beam writes them in an order of its own.

    They are as many bytes each, and need no parsing. They are read, not mapped: what is mapped would count as the process's
    memory. The file has no name: it is gone with the process, however that ends.

    Attributes:
        keys: of the records, ascending.
        pixels: int64 [N, C], how many pixels of each class each record has; void counts nowhere.
        digest: of all records' features; the same give the same, in whatever order and files they were found.
        shape: H and W, of each record.
    """

    keys: tuple[bytes, ...]
    pixels: np.ndarray
    digest: str
    shape: tuple[int, int]
    _file: IO[bytes]
    _places: np.ndarray

    def __len__(self) -> int:
        """Returns N."""
        return len(self.keys)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the records of these numbers, int64 [...] of 0..N-1; threads may read at once.

        Returns:
            Pixels, int32 [..., H, W]; see `components/pixels.py`.

        Raises:
            OSError: the disk did not give all of a record.
        """
        found = np.empty((*np.shape(numbers), *self.shape), np.int32)
        for place, record in zip(np.ravel(self._places[numbers]), found.reshape(-1, *self.shape), strict=True):
            if os.preadv(self._file.fileno(), [record], int(place) * record.nbytes) != record.nbytes:
                raise OSError(f"the file of records ends within record {place}")
        return found

    def __enter__(self) -> "RecordStore":
        """Returns itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Frees the disk."""
        self._file.close()


def open_store(files: Sequence[str], config: TransformConfig, num_classes: int) -> RecordStore:
    """Copies records to a local file, uncompressed.

    Args:
        files: gzipped TFRecords from Transform.
        config: the size that Transform wrote.
        num_classes: C.

    Raises:
        TrainingError: they do not fit on the disk of temporary files, or one is of another size or type, or no picture.
    """
    shape = (config.height_px, config.width_px)
    found: list[tuple[bytes, bytes, np.ndarray]] = []
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(tempfile.TemporaryFile(prefix="vocseg-records-"))
        try:
            for values in _scan(files).as_numpy_iterator():
                image, label = _decode(values, features.IMAGE, (*shape, 3)), _decode(values, features.LABEL, shape)
                found.append((values[features.FILENAME], _digest(values), _count(label, num_classes)))
                file.write(_join(image, label).data)
            file.flush()
        except OSError as error:
            raise TrainingError(
                f"The {len(found)} records so far do not fit below {tempfile.gettempdir()} ({error.strerror}). Training needs "
                "them uncompressed on a local disk; set TMPDIR to a folder with more room."
            ) from error
        opened.pop_all()
    order = sorted(range(len(found)), key=lambda number: found[number][:2])
    return RecordStore(
        keys=tuple(found[number][0] for number in order),
        pixels=np.array([found[number][2] for number in order], np.int64).reshape(-1, num_classes),
        digest=hashlib.sha256(b"".join(found[number][1] for number in order)).hexdigest(),
        shape=shape,
        _file=file,
        _places=np.array(order, np.int64),
    )


def _scan(files: Sequence[str]) -> tf.data.Dataset:
    """Returns the features of each record, file by file."""
    names = tf.data.Dataset.from_tensor_slices(sorted(files))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP", num_parallel_reads=None)
    described = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.FILENAME, features.IMAGE, features.LABEL)}
    parsed = records.map(lambda record: tf.io.parse_single_example(record, described), tf.data.AUTOTUNE, deterministic=True)
    return untuned(parsed.prefetch(tf.data.AUTOTUNE))


def _decode(values: dict[str, bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Restores what Transform wrote, uint8 of this shape.

    Raises:
        TrainingError: it is something else.
    """
    try:
        found = tf.make_ndarray(TensorProto.FromString(values[name]))
        what = f"{found.dtype} {list(found.shape)}"
    except (DecodeError, TypeError, ValueError) as error:
        found, what = None, f"no tensor ({error})"
    if found is None or found.dtype != np.uint8 or found.shape != shape:
        raise TrainingError(
            f"The {name} of transformed record {values[features.FILENAME].decode()!r} is {what}; the configuration says uint8 "
            f"{list(shape)}. Transform did not write it so: run again below another --root."
        )
    return found


def _join(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 3] and uint8 [H, W] as the bytes of pixels, uint8 [H, W, 4]."""
    joined = np.empty((*label.shape, 4), np.uint8)
    for place, plane in enumerate((*np.moveaxis(image, -1, 0), label)):
        joined[..., place] = plane  # Plane by plane, which is faster than all of a pixel at once.
    return joined


def _digest(values: dict[str, bytes]) -> bytes:
    """Returns a digest of a record's features, in an order of ours: each worker writes them in another."""
    return hashlib.sha256(b"\n".join(values[name] for name in (features.FILENAME, features.IMAGE, features.LABEL))).digest()


def _count(label: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many pixels of each class uint8 [H, W] has, int64 [C]."""
    return masks.count_values(label)[:num_classes].copy()  # A view would keep all 256.
