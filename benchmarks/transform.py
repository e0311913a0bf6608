"""Transform's executor, once it is running, beside a bare tf.data loop that writes the same records."""

import json
import pathlib
import tempfile
from collections.abc import Mapping

import tensorflow as tf
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from benchmarks import executors, generation
from benchmarks.harness import Row, Way, measure
from components import features, preprocessing, records, schema_gen, transform
from components.datasets import registry
from components.untuned import untuned
from pipeline.graph import import_path
from pipeline_config import TransformConfig, to_json

CONFIG = TransformConfig()
SPLITS = ("train", "eval")
MORE = 4
"""How many times the records are transformed by the longer run; the difference to the shorter one has no start-up in it."""


def ours(examples: pathlib.Path, schema: pathlib.Path, target: pathlib.Path) -> list[str]:
    """Runs Transform on a folder of splits, as the pipeline does; returns the files written."""
    inputs = {
        "examples": [executors.examples(examples, SPLITS)],
        "schema": [executors.artifact(standard_artifacts.Schema, schema)],
    }
    outputs = {
        "transform_graph": [executors.artifact(standard_artifacts.TransformGraph, target / "graph")],
        "transformed_examples": [executors.artifact(standard_artifacts.Examples, target / "transformed")],
    }
    splits = transform_pb2.SplitsConfig(analyze=[features.TRAIN_SPLIT], transform=SPLITS)
    properties = {
        "preprocessing_fn": import_path(transform.preprocessing_fn),
        "custom_config": json.dumps({"transform": to_json(CONFIG), "code_digest": ""}),
        "splits_config": proto_utils.proto_to_json(splits),
        "disable_statistics": 1,
        "force_tf_compat_v1": 0,
    }
    transform.Executor(executors.context(target / "temp")).Do(inputs, outputs, properties)
    return records.list_files([f"{target}/transformed/*/*"])


def bare(examples: pathlib.Path, target: pathlib.Path) -> list[str]:
    """Reads, decodes, resizes, serialises and writes, gzipped; nothing else. Returns the files written."""
    keys = (features.IMAGE, features.LABEL, features.FILENAME)
    described = {key: tf.io.FixedLenFeature([], tf.string) for key in keys}

    def transformed(record: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_single_example(record, described)
        image = preprocessing.load_image(parsed[features.IMAGE], CONFIG)
        label = preprocessing.load_label(parsed[features.LABEL], CONFIG)
        serialize = tf.io.serialize_tensor
        return {**parsed, features.IMAGE: serialize(image), features.LABEL: serialize(label)}

    for split in SPLITS:
        files = records.list_files([f"{examples}/Split-{split}/*"])
        made = untuned(tf.data.TFRecordDataset(files, "GZIP").map(transformed, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
        with tf.io.TFRecordWriter(f"{target}/{split}.gz", "GZIP") as writer:
            for one in made.as_numpy_iterator():
                writer.write(_example(one))
    return records.list_files([f"{target}/*.gz"])


def _example(values: Mapping[str, bytes]) -> bytes:
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def read(files: list[str]) -> list[tuple[bytes, bytes, bytes]]:
    """Returns name, picture and mask of the records, sorted."""
    keys = (features.FILENAME, features.IMAGE, features.LABEL)
    found = []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        found.append(tuple(feature[key].bytes_list.value[0] for key in keys))
    return sorted(found)


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them on the splits that the training needs; fails where their records differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        schema = folder / "schema"
        schema.mkdir()
        text = registry.schema_text("voc2007_semantic", registry.built_in("voc2007"))
        (schema / schema_gen.SCHEMA_FILE).write_text(text)
        generation.ours(data, f"{folder}/made")
        once = executors.copies(folder / "made", folder / "once", SPLITS, 1)
        more = executors.copies(folder / "made", folder / "more", SPLITS, MORE)
        count = records.count_records(records.list_files([f"{once}/*/*"]))
        with tempfile.TemporaryDirectory(dir=folder) as one, tempfile.TemporaryDirectory(dir=folder) as other:
            if read(ours(once, schema, pathlib.Path(one))) != read(bare(once, pathlib.Path(other))):
                raise AssertionError("Transform and the bare loop write other records")

        def transform_all(examples: pathlib.Path) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as target:
                ours(examples, schema, pathlib.Path(target))

        def loop() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as target:
                bare(more, pathlib.Path(target))

        ways = [
            Way("once", lambda: transform_all(once), count),
            Way("more", lambda: transform_all(more), MORE * count),
            Way("bare tf.data loop", loop, MORE * count),
        ]
        found = measure(ways, turns)
    work, start_s = executors.running(found["once"], found["more"], "Transform")
    return [
        Row(
            what=f"Transform to {CONFIG.height_px} px, once running",
            unit="images",
            ours=work,
            reference=found["bare tf.data loop"],
            aim=0.6,
            note=f"start-up: {start_s:.1f} s",
        )
    ]
