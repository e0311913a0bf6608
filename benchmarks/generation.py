"""Folder to TFRecord: ExampleGen's Beam job beside the bytes copied, and beside a conversion by colours in TensorFlow."""

import io
import pathlib
import tempfile
from collections.abc import Sequence

import apache_beam as beam
import numpy as np
import PIL.Image
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import voc
from benchmarks.harness import Row, Way, measure
from components import example_gen, features
from components.datasets import generate
from components.datasets.builder import make_builder
from components.datasets.layout import Pair
from pipeline import targets


def ours(data: pathlib.Path, folder: str, options: Sequence[str] = targets.LOCAL_BEAM_ARGS) -> int:
    """Generates all splits as ExampleGen does: read, check, encode, fingerprint, count, write; returns the examples made."""
    builder = make_builder(voc.SPEC, str(data), "newest", folder)
    pairs = {split: voc.pairs(data, split) for split in ("train", "validation", "test")}
    serialize = builder.info.features.serialize_example

    def write(split: str, examples: beam.PCollection) -> None:
        example_gen._write_split(split, examples, f"{folder}/Split-{example_gen.SPLITS[split]}", serialize)

    def pipeline() -> beam.Pipeline:
        return beam.Pipeline(options=PipelineOptions(list(options)))

    return generate.generate(pipeline, voc.SPEC, pairs, f"{folder}/temp", write).generated


def _record(image: bytes, mask: bytes) -> bytes:
    values = {"image": image, "label": mask}
    feature = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def bare(pairs: list[Pair], folder: str) -> None:
    """Copies the files' bytes into a gzipped TFRecord, and decodes image and mask once."""
    with tf.io.TFRecordWriter(f"{folder}/bare.gz", "GZIP") as writer:
        for pair in pairs:
            image, mask = (pathlib.Path(path).read_bytes() for path in (pair.image, pair.mask))
            for encoded in (image, mask):
                np.asarray(PIL.Image.open(io.BytesIO(encoded)))
            writer.write(_record(image, mask))


def by_colors(pairs: list[Pair], folder: str) -> None:
    """Turns each mask's colours into ids with one comparison a class, in TensorFlow, as published conversions do."""
    palette = tf.constant([*features.voc_palette()[:21], (224, 224, 192)], tf.uint8)
    with tf.io.TFRecordWriter(f"{folder}/colors.gz", "GZIP") as writer:
        for pair in pairs:
            image, mask = (tf.io.read_file(path) for path in (pair.image, pair.mask))
            colors = tf.io.decode_png(mask, channels=3)
            layers = [tf.reduce_all(colors == color, axis=-1) for color in palette]
            ids = tf.cast(tf.argmax(tf.stack(layers, axis=-1), axis=-1), tf.uint8)
            writer.write(_record(image.numpy(), tf.io.encode_png(ids[..., tf.newaxis]).numpy()))


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them on all 632 pictures."""
    pairs = [pair for split in ("train", "validation", "test") for pair in voc.pairs(data, split)]

    def in_folder(way: object, *arguments: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            way(*arguments, folder)  # type: ignore[operator]

    found = measure(
        [
            Way("ExampleGen's job", lambda: in_folder(ours, data), len(pairs)),
            Way("bytes copied, decoded once", lambda: in_folder(bare, pairs), len(pairs)),
            Way("by colours in TensorFlow", lambda: in_folder(by_colors, pairs), len(pairs)),
        ],
        turns,
    )
    mine = found["ExampleGen's job"]
    return [
        Row(what="folder to TFRecord", unit="images", ours=mine, reference=found["bytes copied, decoded once"], aim=0.5),
        Row(what="folder to TFRecord", unit="images", ours=mine, reference=found["by colours in TensorFlow"], aim=8),
    ]
