"""Folder to TFRecord: ExampleGen's Beam job beside the bytes copied, and beside a conversion by colours in TensorFlow."""

import functools
import io
import pathlib
import tempfile
from collections.abc import Callable, Sequence

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

    def write(examples: beam.PCollection) -> None:
        uris = {split: f"{folder}/Split-{example_gen.SPLITS[split]}" for split in pairs}
        example_gen.write_splits(examples, uris, serialize)

    def pipeline() -> beam.Pipeline:
        return beam.Pipeline(options=PipelineOptions(list(options)))

    return generate.generate(pipeline, voc.SPEC, pairs, f"{folder}/temp", write).generated


def _record(image: bytes, mask: bytes) -> bytes:
    values = {"image": image, "label": mask}
    feature = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def bare(pairs: list[Pair], folder: str) -> None:
    """Copies the files' bytes into a TFRecord, and decodes image and mask once."""
    with tf.io.TFRecordWriter(f"{folder}/bare") as writer:
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


JOB, COPY, COLORS = "ExampleGen's job", "bytes copied, decoded once", "by colours in TensorFlow"


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them on all 632 pictures."""
    pairs = [pair for split in ("train", "validation", "test") for pair in voc.pairs(data, split)]

    def generate(folder: str) -> None:
        if (made := ours(data, folder)) != len(pairs):
            raise AssertionError(f"of {len(pairs)} pairs, {made} became examples")

    works: dict[str, Callable[[str], None]] = {
        JOB: generate,
        COPY: functools.partial(bare, pairs),
        COLORS: functools.partial(by_colors, pairs),
    }

    def in_folder(work: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            work(folder)

    found = measure([Way(name, functools.partial(in_folder, work), len(pairs)) for name, work in works.items()], turns)
    aims = {COPY: 0.5, COLORS: 8}
    return [
        Row(what="folder to TFRecord", unit="images", ours=found[JOB], reference=found[name], aim=aim)
        for name, aim in aims.items()
    ]
