"""The training's input: transformed records to batches on the host, beside a bare tf.data loop over raw bytes."""

import dataclasses
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import IO

import tensorflow as tf

from benchmarks import voc
from benchmarks.harness import Row, Way, measure
from components import features, input_pipeline, preprocessing
from components.input_pipeline import InputConfig
from components.record_store import RecordStore, open_store
from components.untuned import untuned
from pipeline_config import AugmentConfig, TransformConfig, voc2007

BATCH = 16
TRANSFORM = TransformConfig()
VARIED = ("each picture varied in all ways", "and objects of another pasted onto every other")
LEAST_A_CORE = 500


def transformed(data: pathlib.Path, config: TransformConfig = TRANSFORM) -> list[tuple[bytes, tf.Tensor, tf.Tensor]]:
    """Returns key, image uint8 [H, W, 3] and label uint8 [H, W] of the pairs of train, as Transform makes them."""
    return [
        (
            example[features.FILENAME].encode(),
            preprocessing.load_image(example[features.IMAGE], config),
            preprocessing.load_label(example[features.LABEL], config),
        )
        for example in voc.examples(data, "train")
    ]


def _write(path: str, options: str, values: list[dict[str, bytes]]) -> str:
    with tf.io.TFRecordWriter(path, options) as writer:
        for value in values:
            feature = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[one])) for name, one in value.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return path


def write_transformed(pictures: list[tuple[bytes, tf.Tensor, tf.Tensor]], folder: str) -> str:
    """Writes records as Transform does, gzipped."""
    serialize = tf.io.serialize_tensor
    values = [
        {features.IMAGE: serialize(image).numpy(), features.LABEL: serialize(label).numpy(), features.FILENAME: key}
        for key, image, label in pictures
    ]
    return _write(f"{folder}/transformed.gz", "GZIP", values)


def write_raw(pictures: list[tuple[bytes, tf.Tensor, tf.Tensor]], folder: str) -> str:
    """Writes records of raw bytes, uncompressed: what a loop reads fastest."""
    values = [
        {features.IMAGE: image.numpy().tobytes(), features.LABEL: label.numpy().tobytes()} for _, image, label in pictures
    ]
    return _write(f"{folder}/raw", "", values)


def bare(path: str) -> tf.data.Dataset:
    """Returns batches of raw records: image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]."""
    shape = (TRANSFORM.height_px, TRANSFORM.width_px)
    described = {key: tf.io.FixedLenFeature([], tf.string) for key in (features.IMAGE, features.LABEL)}

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_single_example(record, described)
        image = tf.reshape(tf.io.decode_raw(parsed[features.IMAGE], tf.uint8), (*shape, 3))
        label = tf.reshape(tf.io.decode_raw(parsed[features.LABEL], tf.uint8), shape)
        return preprocessing.scale_image(image), tf.cast(label, tf.int32)

    records = tf.data.TFRecordDataset(path).map(parse, tf.data.AUTOTUNE)
    return untuned(records.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))


def consume(batches: tf.data.Dataset) -> None:
    """Takes all batches, as a step on the host would."""
    for _ in batches:
        pass


def ours(store: RecordStore, augment: AugmentConfig) -> Callable[[], None]:
    """Returns what makes one epoch's batches after another's, as the Trainer does."""
    config = InputConfig(transform=TRANSFORM, augment=augment, batch_size=BATCH)
    batches, epochs = input_pipeline.TrainingBatches(store, config, seed=0), itertools.count()
    return lambda: consume(batches.of_epoch(next(epochs)))


def drop_cache(file: IO[bytes]) -> None:
    """Has the system forget what it holds of a file."""
    os.fsync(file.fileno())  # What is yet to be written would stay.
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times an epoch of each over train's pictures, ten times over."""
    pictures = transformed(data)
    pictures = [(b"%d-%s" % (copy, key), image, label) for copy in range(10) for key, image, label in pictures]
    full = dataclasses.replace(voc2007().augment, crop_height_px=0, crop_width_px=0)
    with tempfile.TemporaryDirectory() as folder:
        raw = write_raw(pictures, folder)
        with open_store([write_transformed(pictures, folder)], TRANSFORM, len(features.VOC_CLASSES)) as store:
            from_cache, all_bare = ours(store, AugmentConfig(flip=False)), bare(raw)

            def from_disk() -> None:
                drop_cache(store._file)
                from_cache()

            def bare_from_disk() -> None:
                with open(raw, "rb+") as file:
                    drop_cache(file)
                consume(all_bare)

            names = ("ours, from disk", "ours, from the cache", *VARIED, "bare, from disk", "bare tf.data")
            varied = (ours(store, dataclasses.replace(full, copy_paste=0.0)), ours(store, full))
            runs = (from_disk, from_cache, *varied, bare_from_disk, lambda: consume(all_bare))
            amount = len(pictures) // BATCH * BATCH
            found = measure([Way(name, way, amount) for name, way in zip(names, runs, strict=True)], turns)
    cores = len(os.sched_getaffinity(0))
    rows = [
        Row(what="training input, from disk", unit="images", ours=found[names[0]], reference=found["bare, from disk"], aim=0.5),
        Row(
            what="training input, from the cache", unit="images", ours=found[names[1]], reference=found["bare tf.data"], aim=0.9
        ),
    ]
    for name in VARIED:
        rate = found[name].rate / cores
        note = f"{rate:.0f} images/s a core; the aim of {LEAST_A_CORE} is {'met' if rate >= LEAST_A_CORE else 'missed'}"
        rows.append(
            Row(what=f"training input, {name}", unit="images", ours=found[name], reference=found["bare tf.data"], note=note)
        )
    return rows
