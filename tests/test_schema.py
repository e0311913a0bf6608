"""The schema: derived from the number of classes, equal to the committed ones, and an anomaly for each bad record."""

import math
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from components import features
from components.datasets import registry
from components.datasets.schema import make_schema, schema_text

COMMITTED = sorted(pathlib.Path(registry.__file__).parent.glob("*/schema.pbtxt"))

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
    return make_schema(21)


def _statistics(records: Sequence[bytes], schema: schema_pb2.Schema) -> Any:
    """Counts as StatisticsGen does, but without Beam."""
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(list(records))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions(schema=schema))


def _anomalies(records: Sequence[bytes], schema: schema_pb2.Schema) -> dict[str, str]:
    found = tfdv.validate_statistics(_statistics(records, schema), schema)
    assert not found.dataset_anomaly_info.reason
    return {name: f"{info.short_description}: {info.description}" for name, info in found.anomaly_info.items()}


# Derived and committed.


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_schema_is_the_derived_one(path: pathlib.Path) -> None:
    num_classes = len(registry.built_in(path.parent.name).classes)
    assert text_format.Parse(path.read_text(), schema_pb2.Schema()) == make_schema(num_classes)
    assert path.read_text() == schema_text(num_classes)


def test_schema_of_voc2007_is_committed_and_has_21_classes() -> None:
    [path] = [path for path in COMMITTED if path.parent.name == "voc2007"]
    committed = text_format.Parse(path.read_text(), schema_pb2.Schema())
    [classes] = [feature for feature in committed.feature if feature.name == features.CLASSES]
    assert (classes.int_domain.min, classes.int_domain.max, classes.int_domain.is_categorical) == (0, 20, True)


@pytest.mark.parametrize("num_classes", [2, 21, 255])
def test_text_begins_with_a_comment_and_parses_to_the_schema(num_classes: int) -> None:
    text = schema_text(num_classes)
    assert text.startswith("#") and text.count("#") == 1
    assert text_format.Parse(text, schema_pb2.Schema()) == make_schema(num_classes)


def test_schemas_differ_by_their_number_of_classes_only() -> None:
    two, three = make_schema(2), make_schema(3)
    for feature in three.feature:
        if feature.name == features.CLASSES:
            assert (feature.value_count.max, feature.int_domain.max) == (3, 2)
            feature.value_count.max, feature.int_domain.max = 2, 1
    assert two == three


def test_tensorflow_is_not_imported() -> None:
    code = "import sys, components.datasets.schema; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=pathlib.Path(__file__).parents[1])


# What TFDV finds with it.


def test_schema_names_the_features_of_the_contract(schema: schema_pb2.Schema) -> None:
    assert [feature.name for feature in schema.feature] == list(GOOD)


def test_good_records_are_no_anomaly(schema: schema_pb2.Schema) -> None:
    extreme = _record(label__classes=list(range(21)), label__void_fraction=[0.0], image__height=[1], image__width=[16384])
    assert _anomalies([_record(), extreme], schema) == {}


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
        ({"image__width": [features.MAX_SIDE_PX + 1]}, "image/width", "Unexpectedly large value: 16385"),
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


def test_id_that_one_more_class_would_allow_is_found() -> None:
    binary = [_record(label__classes=[0, 1])]
    assert _anomalies(binary, make_schema(2)) == {}
    assert list(_anomalies([*binary, _record(label__classes=[2])], make_schema(2))) == ["label/classes"]
    assert _anomalies([*binary, _record(label__classes=[2])], make_schema(3)) == {}
