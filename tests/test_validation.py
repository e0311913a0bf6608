"""The gate on the data: the curated schema finds what is wrong with a record, and the gate fails the run over it."""

import io
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders import example_coder

from components import features, masks
from components.datasets import registry, voc
from components.datasets.examples import encode_example
from components.errors import DataError
from components.example_gen import make_builder
from components.schema_gen import SCHEMA_FILE, SchemaGen
from components.validation import DataGate, check_anomalies

BUILDER = "voc2007_semantic"
GOOD: dict[str, list[Any]] = {
    features.IMAGE: [b"jpeg"],
    features.FILENAME: [b"a.jpg"],
    features.HEIGHT: [75],
    features.WIDTH: [100],
    features.LABEL: [b"png"],
    features.CLASSES: [0, 5],
    features.VOID_FRACTION: [0.25],
}


def _record(**changes: list[Any] | None) -> bytes:
    """Serialises a good record with changes; `label__classes` stands for label/classes, None leaves a feature out."""
    values = GOOD | {name.replace("__", "/"): value for name, value in changes.items()}
    encoded = {}
    for name, value in values.items():
        if value is None:
            continue
        if value and isinstance(value[0], bytes):
            encoded[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        elif value and isinstance(value[0], float):
            encoded[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        else:
            encoded[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return tf.train.Example(features=tf.train.Features(feature=encoded)).SerializeToString()


@pytest.fixture(scope="module")
def schema() -> schema_pb2.Schema:
    return text_format.Parse(registry.schema_text(BUILDER), schema_pb2.Schema())


def _statistics(records: Sequence[bytes], schema: schema_pb2.Schema) -> Any:
    """Counts as StatisticsGen does, but without Beam."""
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(list(records))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions(schema=schema))


def _anomalies(records: Sequence[bytes], schema: schema_pb2.Schema) -> dict[str, str]:
    found = tfdv.validate_statistics(_statistics(records, schema), schema)
    assert not found.dataset_anomaly_info.reason
    return {name: f"{info.short_description}: {info.description}" for name, info in found.anomaly_info.items()}


# The schema, with TFDV.


def test_schema_names_the_features_of_the_contract(schema: schema_pb2.Schema) -> None:
    assert [feature.name for feature in schema.feature] == list(GOOD)


def test_good_records_are_no_anomaly(schema: schema_pb2.Schema) -> None:
    assert _anomalies([_record(), _record(label__classes=list(range(21)), label__void_fraction=[0.0])], schema) == {}


@pytest.mark.parametrize(
    ("changes", "feature", "text"),
    [
        ({"label__classes": [0, 30]}, "label/classes", "Out-of-range values: Unexpectedly large value: 30"),
        ({"label__classes": [21]}, "label/classes", "Unexpectedly large value: 21"),
        ({"label__classes": [255]}, "label/classes", "Unexpectedly large value: 255"),
        ({"label__classes": [-1]}, "label/classes", "Unexpectedly small value: -1"),
        ({"label__classes": [*range(21), 3]}, "label/classes", "more values than expected"),
        ({"label__void_fraction": [1.5]}, "label/void_fraction", "Unexpectedly high value: 1.5"),
        ({"label__void_fraction": [-0.5]}, "label/void_fraction", "Unexpectedly low values: -0.5"),
        ({"label__void_fraction": [math.nan]}, "label/void_fraction", "NaN"),
        ({"label__void_fraction": None}, "label/void_fraction", "fewer examples than expected"),
        ({"image": None}, "image", "fewer examples than expected"),
        ({"label": None}, "label", "fewer examples than expected"),
        ({"image__filename": None}, "image/filename", "fewer examples than expected"),
        ({"image__height": [-1]}, "image/height", "Unexpectedly small value: -1"),
        ({"image__height": [0]}, "image/height", "Unexpectedly small value: 0"),
        ({"image__width": [-3]}, "image/width", "Unexpectedly small value: -3"),
        ({"image__width": [65536]}, "image/width", "Unexpectedly large value: 65536"),
        ({"image__height": [75, 76]}, "image/height", "shape"),
        ({"image": [b"one", b"two"]}, "image", "shape"),
        ({"extra": [1]}, "extra", "New column"),
    ],
    ids=str,
)
def test_one_bad_record_among_good_ones_is_found(
    schema: schema_pb2.Schema, changes: dict[str, Any], feature: str, text: str
) -> None:
    found = _anomalies([_record(), _record(**changes), *[_record()] * 20], schema)
    assert list(found) == [feature]
    assert text in found[feature]


def test_feature_that_no_record_has_is_found(schema: schema_pb2.Schema) -> None:
    assert list(_anomalies([_record(image=None)] * 3, schema)) == ["image"]


def test_each_bad_feature_is_found(schema: schema_pb2.Schema) -> None:
    bad = _record(label__classes=[30], label__void_fraction=[1.5], image__height=[-1], image=None)
    found = _anomalies([_record(), bad], schema)
    assert set(found) == {"label/classes", "label/void_fraction", "image/height", "image"}


@pytest.mark.parametrize("changes", [{"label__classes": []}, {"label__classes": None}], ids=["empty list", "no list"])
def test_image_that_is_all_void_is_no_anomaly(schema: schema_pb2.Schema, changes: dict[str, Any]) -> None:
    void = _record(**changes, label__void_fraction=[1.0])
    assert _anomalies([_record(), void], schema) == {}
    assert _anomalies([void] * 3, schema) == {}


@pytest.fixture(scope="module")
def mini_records(mini_voc: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The records of the miniature set by split, and one that is all void; made one by one, without Beam."""
    builder = make_builder(BUILDER, str(mini_voc), str(tmp_path_factory.mktemp("tfds")))
    records = {
        split: [_encode(builder, pair, pathlib.Path(pair.mask).read_bytes()) for pair in pairs]
        for split, pairs in voc.pairs_by_split(voc.find_voc(mini_voc, 2007)).items()
    }
    pair = voc.pairs_by_split(voc.find_voc(mini_voc, 2007))["test"][0]
    ids = np.full(np.asarray(PIL.Image.open(pair.mask)).shape, features.IGNORE_LABEL, np.uint8)
    buffer = io.BytesIO()
    masks.to_palette_image(ids, features.voc_palette()).save(buffer, format="PNG")
    records["void"] = [_encode(builder, pair, buffer.getvalue())]
    return records


def _encode(builder: Any, pair: voc.Pair, mask: bytes) -> bytes:
    example = encode_example(pair, builder.palette, pathlib.Path(pair.image).read_bytes(), mask)
    return builder.info.features.serialize_example(example)


def test_records_of_the_miniature_set_are_no_anomaly(schema: schema_pb2.Schema, mini_records: dict[str, list[bytes]]) -> None:
    assert {split: len(records) for split, records in mini_records.items()} == {
        "train": 24,
        "validation": 21,
        "test": 21,
        "void": 1,
    }
    assert {split: _anomalies(records, schema) for split, records in mini_records.items()} == {
        split: {} for split in mini_records
    }
    void = tf.train.Example.FromString(mini_records["void"][0]).features.feature
    assert list(void["label/classes"].int64_list.value) == []
    assert list(void["label/void_fraction"].float_list.value) == [1.0]


# check_anomalies.


def _found(**anomalies: tuple[str, str]) -> anomalies_pb2.Anomalies:
    found = anomalies_pb2.Anomalies()
    for name, (short, long) in anomalies.items():
        found.anomaly_info[name].short_description = short
        found.anomaly_info[name].description = long
    return found


def test_no_anomalies_pass() -> None:
    check_anomalies({"train": _found(), "eval": _found()})
    check_anomalies({})


def test_error_names_split_feature_and_anomaly_of_each() -> None:
    with pytest.raises(DataError) as error:
        check_anomalies(
            {
                "train": _found(label=("Out of range", "Unexpected value: 30"), image=("Column dropped", "It is absent")),
                "eval": _found(),
                "test": _found(label=("Invalid", "NaN")),
            }
        )
    assert str(error.value).splitlines() == [
        "The data does not fit its schema:",
        "  train: image: Column dropped: It is absent",
        "  train: label: Out of range: Unexpected value: 30",
        "  test: label: Invalid: NaN",
        "Mend the data, or the schema if it is wrong.",
    ]


def test_error_names_what_is_wrong_with_a_split_as_a_whole() -> None:
    found = _found()
    found.dataset_anomaly_info.reason.add(short_description="Too few", description="The split has 1 example")
    with pytest.raises(DataError, match="eval: the split as a whole: Too few: The split has 1 example"):
        check_anomalies({"train": _found(), "eval": found})


# The components.


def _schema_artifact(folder: pathlib.Path) -> standard_artifacts.Schema:
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder)
    folder.mkdir()
    properties = {"schema_text": registry.schema_text(BUILDER), "code_digest": ""}
    SchemaGen.EXECUTOR_SPEC.executor_class().Do({}, {"schema": [artifact]}, properties)
    return artifact


def _validate(folder: pathlib.Path, splits: dict[str, list[bytes]], schema: schema_pb2.Schema) -> Any:
    """Returns the artifact that ExampleValidator's own executor writes of these records."""
    statistics, anomalies = standard_artifacts.ExampleStatistics(), standard_artifacts.ExampleAnomalies()
    statistics.uri, anomalies.uri = str(folder / "statistics"), str(folder / "anomalies")
    statistics.split_names = artifact_utils.encode_split_names(list(splits))
    for split, records in splits.items():
        (folder / "statistics" / f"Split-{split}").mkdir(parents=True)
        path = folder / "statistics" / f"Split-{split}" / "FeatureStats.pb"
        path.write_bytes(_statistics(records, schema).SerializeToString())
    inputs = {"statistics": [statistics], "schema": [_schema_artifact(folder / "schema")]}
    example_validator.Executor().Do(inputs, {"anomalies": [anomalies]}, {})
    return anomalies


def _gate(anomalies: Any) -> None:
    DataGate.EXECUTOR_SPEC.executor_class().Do({"anomalies": [anomalies]}, {}, {"code_digest": "0"})


def test_schema_gen_writes_the_text_that_it_is_given(tmp_path: pathlib.Path) -> None:
    artifact = _schema_artifact(tmp_path / "schema")
    assert [path.name for path in pathlib.Path(artifact.uri).iterdir()] == [SCHEMA_FILE]
    assert (tmp_path / "schema" / SCHEMA_FILE).read_text() == registry.schema_text(BUILDER)


def test_gate_lets_good_data_pass(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, mini_records: dict[str, list[bytes]]
) -> None:
    splits = {"train": mini_records["train"], "eval": mini_records["validation"], "test": mini_records["void"]}
    _gate(_validate(tmp_path, splits, schema))


def test_gate_fails_over_one_bad_record_and_names_it(tmp_path: pathlib.Path, schema: schema_pb2.Schema) -> None:
    splits = {"train": [_record()], "eval": [_record()], "test": [_record(), _record(label__classes=[30])]}
    anomalies = _validate(tmp_path, splits, schema)
    with pytest.raises(DataError, match="test: label/classes: Out-of-range values: Unexpectedly large value: 30") as error:
        _gate(anomalies)
    assert "train:" not in str(error.value) and "eval:" not in str(error.value)


def test_gate_does_not_take_a_missing_file_for_good_data(tmp_path: pathlib.Path, schema: schema_pb2.Schema) -> None:
    anomalies = _validate(tmp_path, {"train": [_record()], "eval": [_record()]}, schema)
    pathlib.Path(anomalies.uri, "Split-eval", "SchemaDiff.pb").unlink()
    with pytest.raises(Exception, match="Split-eval"):
        _gate(anomalies)
