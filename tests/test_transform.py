"""preprocessing_fn alone, and TFX's Transform for real on a few records: bytes out, bounded batches, nothing lost."""

import io
import json
import pathlib
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from fake_records import parse_record
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import transform_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components import features, preprocessing, records, transform
from components.datasets import registry as datasets
from pipeline_config import TransformConfig, to_json

CONFIG = TransformConfig(height_px=16, width_px=24, resize_method="bicubic")
SPLIT_SIZES = {"train": 2 * transform.MAX_BATCH_SIZE + 6, "eval": 5}


def _png(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


def _pair(seed: int) -> tuple[bytes, bytes]:
    """Returns a JPEG of a size of its own, and its mask of ids and void."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(10, 50, 2))
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return _png(image, "JPEG"), _png(rng.choice([0, 3, 20, 255], (height, width)).astype(np.uint8))


def _custom_config(config: TransformConfig = CONFIG) -> dict[str, str]:
    return {"transform": to_json(config), "code_digest": "of no matter"}


def _columns(seeds: range) -> dict[str, tf.Tensor]:
    images, labels = zip(*(_pair(seed) for seed in seeds), strict=True)
    names = [b"%d.jpg" % seed for seed in seeds]
    columns = {features.IMAGE: images, features.LABEL: labels, features.FILENAME: names}
    return {key: tf.constant(column)[:, tf.newaxis] for key, column in columns.items()}


def test_pictures_and_masks_become_bytes_that_can_be_read_back() -> None:
    outputs = transform.preprocessing_fn(_columns(range(3)), _custom_config())
    assert {key: (column.dtype, column.shape.as_list()) for key, column in outputs.items()} == {
        "image": (tf.string, [3]),
        "label": (tf.string, [3]),
        "image/filename": (tf.string, [3]),
    }
    for seed in range(3):
        feature = {
            key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[column[seed].numpy()]))
            for key, column in outputs.items()
        }
        record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        image, label = parse_record(record)
        encoded_image, encoded_label = _pair(seed)
        assert np.array_equal(image, preprocessing.load_image(encoded_image, CONFIG))
        assert np.array_equal(label, preprocessing.load_label(encoded_label, CONFIG))
        assert outputs[features.FILENAME][seed].numpy() == b"%d.jpg" % seed


def test_columns_may_come_with_or_without_a_second_axis() -> None:
    columns = _columns(range(2))
    flat = {key: column[:, 0] for key, column in columns.items()}
    one, two = (transform.preprocessing_fn(inputs, _custom_config()) for inputs in (columns, flat))
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_picture_takes_a_byte_a_value_and_not_four() -> None:
    outputs = transform.preprocessing_fn(_columns(range(1)), _custom_config())
    image, label = outputs[features.IMAGE][0].numpy(), outputs[features.LABEL][0].numpy()
    # A serialised tensor has a header of some dozen bytes; as float32 they would take 4608 and 1536.
    assert 16 * 24 * 3 <= len(image) <= 16 * 24 * 3 + 32
    assert 16 * 24 <= len(label) <= 16 * 24 + 32


def test_method_and_size_come_from_the_configuration() -> None:
    config = TransformConfig(height_px=4, width_px=3, resize_method="nearest")
    columns = _columns(range(1))
    image = tf.io.parse_tensor(transform.preprocessing_fn(columns, _custom_config(config))[features.IMAGE][0], tf.uint8)
    assert np.array_equal(image, preprocessing.load_image(_pair(0)[0], config))
    assert image.shape == (4, 3, 3)


def test_transform_runs_on_our_executor_whose_bound_is_small() -> None:
    assert transform.Transform.EXECUTOR_SPEC.executor_class is transform.Executor
    assert 1 <= transform.MAX_BATCH_SIZE <= 64


def _artifact(kind: type, uri: pathlib.Path) -> standard_artifacts.Examples:
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


def _write_examples(folder: pathlib.Path) -> None:
    """Writes the splits' records as ExampleGen does; the seed is the number in the file's name."""
    seed = 0
    for split, size in SPLIT_SIZES.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
            for _ in range(size):
                image, label = _pair(seed)
                size_px = PIL.Image.open(io.BytesIO(image)).size
                strings = {features.IMAGE: image, features.LABEL: label, features.FILENAME: b"%d.jpg" % seed}
                feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text])) for key, text in strings.items()}
                ints = {features.WIDTH: [size_px[0]], features.HEIGHT: [size_px[1]], features.CLASSES: [0, 3, 20]}
                feature |= {key: tf.train.Feature(int64_list=tf.train.Int64List(value=ids)) for key, ids in ints.items()}
                feature[features.VOID_FRACTION] = tf.train.Feature(float_list=tf.train.FloatList(value=[0.25]))
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
                seed += 1


@pytest.fixture(scope="module")
def transformed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, list[beam.Pipeline]]:
    """Our executor, for real: the folder of the transformed examples, and the pipelines that ran."""
    folder = tmp_path_factory.mktemp("transform")
    _write_examples(folder / "examples")
    examples = _artifact(standard_artifacts.Examples, folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(list(SPLIT_SIZES))
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(datasets.schema_text("voc2007_semantic", datasets.built_in("voc2007")))
    outputs = {
        "transform_graph": [_artifact(standard_artifacts.TransformGraph, folder / "graph")],
        "transformed_examples": [_artifact(standard_artifacts.Examples, folder / "transformed")],
    }
    splits = transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"])
    properties = {
        "preprocessing_fn": "components.transform.preprocessing_fn",
        "custom_config": f'{{"transform": {json.dumps(to_json(CONFIG))}, "code_digest": ""}}',
        "splits_config": proto_utils.proto_to_json(splits),
        "disable_statistics": 1,
        "force_tf_compat_v1": 0,
    }
    pipelines: list[beam.Pipeline] = []

    def make_pipeline() -> beam.Pipeline:
        pipelines.append(beam.Pipeline(argv=["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))
        return pipelines[-1]

    context = base_beam_executor.BaseBeamExecutor.Context(
        make_beam_pipeline_fn=make_pipeline, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    inputs = {"examples": [examples], "schema": [_artifact(standard_artifacts.Schema, folder / "schema")]}
    transform.Executor(context).Do(inputs, outputs, properties)
    return folder / "transformed", pipelines


def test_transform_writes_every_record_of_every_split(transformed: tuple[pathlib.Path, list[beam.Pipeline]]) -> None:
    folder, _ = transformed
    seed = 0
    for split, size in SPLIT_SIZES.items():
        files = records.list_files([f"{folder}/Split-{split}/*"])
        found = {}
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            assert set(feature) == {features.IMAGE, features.LABEL, features.FILENAME}
            assert all(value.WhichOneof("kind") == "bytes_list" for value in feature.values())
            found[feature[features.FILENAME].bytes_list.value[0]] = record
        assert set(found) == {b"%d.jpg" % number for number in range(seed, seed + size)}
        for number in range(seed, seed + size):
            image, label = parse_record(found[b"%d.jpg" % number])
            encoded_image, encoded_label = _pair(number)
            assert np.array_equal(image, preprocessing.load_image(encoded_image, CONFIG))
            assert np.array_equal(label, preprocessing.load_label(encoded_label, CONFIG))
        seed += size


def test_bound_on_the_batches_reaches_tfx(transformed: tuple[pathlib.Path, list[beam.Pipeline]]) -> None:
    _, pipelines = transformed

    def query(name: str, kind: str) -> list[Any]:
        named = beam.metrics.MetricsFilter().with_name(name)
        return [metric.committed for pipeline in pipelines for metric in pipeline.result.metrics().query(named)[kind]]

    # The bound goes through private methods of TFX's, which a version may rename: then it would be nobody's.
    bound = transform.MAX_BATCH_SIZE
    assert min(query("desired_batch_size", "counters")) >= bound  # 0 where TFX chooses for itself.
    batches = query("batch_size", "distributions")
    assert {batch.sum for batch in batches} == set(SPLIT_SIZES.values())
    # Train: twice the bound and 6. Eval: 5. TFX's own choice would be 1, 1, 2, 4, ... up to 1000.
    assert {(batch.count, batch.max) for batch in batches} == {(3, bound), (1, 5)}
