"""Transformed records made by hand: colored squares on grey."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from components import features

SIZE_PX = 32
CLASS_NAMES = ("background", "red", "blue")


def make_pair(rng: np.random.Generator, size_px: int = SIZE_PX) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 [H, W, 3] and uint8 [H, W]: a red and a blue square, each with void to its left, on grey."""
    image = np.full((size_px, size_px, 3), 110, np.uint8)
    label = np.zeros((size_px, size_px), np.uint8)
    for class_id, color in ((1, (230, 20, 20)), (2, (20, 20, 230))):
        y, x = rng.integers(2, size_px - 12, 2)
        image[y : y + 10, x : x + 10] = color
        label[y : y + 10, x : x + 10] = class_id
        label[y : y + 10, x - 2 : x] = features.IGNORE_LABEL
    return image, label


def make_record(image: np.ndarray, label: np.ndarray, key: str) -> bytes:
    """Returns a record as Transform writes it."""
    tensors = {
        name: tf.io.serialize_tensor(array).numpy() for name, array in ((features.IMAGE, image), (features.LABEL, label))
    }
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in (tensors | {features.FILENAME: key.encode()}).items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def parse_record(record: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns image and label, uint8 [H, W, 3] and uint8 [H, W], of a record as Transform writes it."""
    feature = tf.train.Example.FromString(record).features.feature
    image, label = (feature[name].bytes_list.value[0] for name in (features.IMAGE, features.LABEL))
    return tf.io.parse_tensor(image, tf.uint8).numpy(), tf.io.parse_tensor(label, tf.uint8).numpy()


def write_records(path: pathlib.Path, records: Sequence[bytes]) -> str:
    """Writes a gzipped TFRecord and returns its path."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    return str(path)


def write_squares(path: pathlib.Path, count: int, seed: int) -> str:
    """Writes that many pairs, with keys `0.jpg`, `1.jpg`..."""
    rng = np.random.default_rng(seed)
    return write_records(path, [make_record(*make_pair(rng), f"{number}.jpg") for number in range(count)])
