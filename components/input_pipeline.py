"""Transformed records to batches for training."""

from collections.abc import Sequence

import tensorflow as tf

from components import features, preprocessing
from components.records import count_records
from pipeline_config import TransformConfig


def parse_record(record: tf.Tensor, config: TransformConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Restores what Transform wrote.

    Args:
        record: string [], a tf.Example.
        config: the size that Transform wrote.

    Returns:
        uint8 [H, W, 3] and uint8 [H, W].
    """
    parsed = tf.io.parse_single_example(
        record, {key: tf.io.FixedLenFeature([], tf.string) for key in (features.IMAGE, features.LABEL)}
    )
    shape = (config.height_px, config.width_px)
    image = tf.ensure_shape(tf.io.parse_tensor(parsed[features.IMAGE], tf.uint8), (*shape, 3))
    label = tf.ensure_shape(tf.io.parse_tensor(parsed[features.LABEL], tf.uint8), shape)
    return image, label


def to_network(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Casts: image uint8 to float32 in [0, 1], label uint8 to int32 (0..C-1 or 255)."""
    return preprocessing.scale_image(image), tf.cast(label, tf.int32)


SHUFFLE_BYTES = 256 << 20
"""What the records that wait to be shuffled may take, whatever the size of the data set; on disk they are in no order."""


def shuffle_buffer(config: TransformConfig) -> int:
    """Returns how many records of a size are shuffled at a time."""
    return max(1, SHUFFLE_BYTES // (4 * config.height_px * config.width_px))


def make_dataset(
    files: Sequence[str], config: TransformConfig, batch_size: int, shuffle_seed: int | None = None, devices: int = 1
) -> tf.data.Dataset:
    """Returns batches of (image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]), with their number known.

    Args:
        files: gzipped TFRecords from Transform.
        config: the size that Transform wrote.
        batch_size: records a batch; the last one may be smaller.
        shuffle_seed: shuffles records, anew each epoch, in an order that the seed decides; None: the files' order.
        devices: among which each batch is divided; where there are several, batches are filled up to equal shares, as Keras
            demands, with void pictures. They count in no metric, but weaken the step in which a device gets only them.
    """
    names = tf.data.Dataset.from_tensor_slices(sorted(files))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP", num_parallel_reads=None)
    if shuffle_seed is not None:
        records = records.shuffle(shuffle_buffer(config), seed=shuffle_seed)
    examples = records.map(lambda record: to_network(*parse_record(record, config)), tf.data.AUTOTUNE, deterministic=True)
    steps = -(-count_records(files) // batch_size)  # Which Keras asks for, and a TFRecord does not tell.
    batches = examples.batch(batch_size)
    if devices > 1:
        filled_size = -(-batch_size // devices) * devices
        batches = batches.map(lambda images, labels: fill_up(images, labels, filled_size))
    batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    return batches.prefetch(tf.data.AUTOTUNE)


def fill_up(images: tf.Tensor, labels: tf.Tensor, batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds black pictures whose labels are void.

    Args:
        images: float32 [N, H, W, 3].
        labels: int32 [N, H, W].
        batch_size: B, at least N.

    Returns:
        float32 [B, H, W, 3] and int32 [B, H, W].
    """
    missing = batch_size - tf.shape(images)[0]
    images = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
    labels = tf.pad(labels, [[0, missing], [0, 0], [0, 0]], constant_values=features.IGNORE_LABEL)
    return tf.ensure_shape(images, (batch_size, None, None, 3)), tf.ensure_shape(labels, (batch_size, None, None))
