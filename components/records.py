"""Gzipped TFRecord files, as ExampleGen and Transform write them."""

from collections.abc import Sequence

import tensorflow as tf


def list_files(patterns: Sequence[str]) -> list[str]:
    """Returns the files that match, sorted.

    Raises:
        FileNotFoundError: none does.
    """
    files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"No file matches {', '.join(patterns)}.")
    return files


def count_records(files: Sequence[str]) -> int:
    """Returns how many records the files hold; reads them once."""
    dataset = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    return int(dataset.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))
