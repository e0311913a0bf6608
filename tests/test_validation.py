"""The gate on the data: it fails the run over what TFX's validators found, and else blesses the data."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders import example_coder

from components import features
from components.datasets import layout
from components.datasets.examples import encode_example, read_pair
from components.datasets.mask_reader import Mask
from components.datasets.schema import make_schema, schema_text
from components.datasets.voc2007.builder import Voc2007Semantic
from components.distribution_validator import DistributionValidator
from components.drift import MIN_EXAMPLES, make_drift_config
from components.errors import DataError
from components.schema_gen import SCHEMA_FILE, SchemaGen
from components.validation import DataBlessing, DataGate, check_anomalies

SPLITS = ("train", "eval", "test")
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


@pytest.fixture(scope="module")
def mini_records(mini_voc: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The records of the miniature set by split, and one that is all void; made one by one, without Beam."""
    builder = Voc2007Semantic(source=str(mini_voc), data_dir=str(tmp_path_factory.mktemp("tfds")))

    def encode(pair: layout.Pair, ids: np.ndarray | None = None) -> bytes:
        picture, mask = read_pair(pair, builder.spec)
        return builder.info.features.serialize_example(
            encode_example(pair, picture, mask if ids is None else Mask(ids, mask.kind, mask.reading))
        )

    pairs = layout.list_pairs(str(mini_voc), builder.spec)
    records = {split: [encode(pair) for pair in listed] for split, listed in pairs.items()}
    first = pairs["test"][0]
    height, width = np.asarray(PIL.Image.open(first.mask)).shape
    return records | {"void": [encode(first, np.full((height, width), features.IGNORE_LABEL, np.uint8))]}


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
    properties = {"schema_text": schema_text(21), "code_digest": ""}
    SchemaGen.EXECUTOR_SPEC.executor_class().Do({}, {"schema": [artifact]}, properties)
    return artifact


def _statistics_artifact(
    folder: pathlib.Path, splits: dict[str, list[bytes]], schema: schema_pb2.Schema, number: int
) -> standard_artifacts.ExampleStatistics:
    artifact = standard_artifacts.ExampleStatistics()
    artifact.id, artifact.uri = number, str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, records in splits.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(_statistics(records, schema).SerializeToString())
    return artifact


def _validate(
    folder: pathlib.Path,
    splits: dict[str, list[bytes]],
    schema: schema_pb2.Schema,
    baseline: dict[str, list[bytes]] | None = None,
    max_drift: float = 0.3,
) -> dict[str, list[Any]]:
    """Returns what the gate receives: statistics of these records, and what the executors of validation write of them."""
    statistics = _statistics_artifact(folder / "statistics", splits, schema, 17)
    before = [_statistics_artifact(folder / "baseline", baseline, schema, 16)] if baseline else []
    anomalies, drift = standard_artifacts.ExampleAnomalies(), standard_artifacts.ExampleAnomalies()
    anomalies.uri, drift.uri = str(folder / "anomalies"), str(folder / "drift")
    inputs = {"statistics": [statistics], "schema": [_schema_artifact(folder / "schema")]}
    example_validator.Executor().Do(inputs, {"anomalies": [anomalies]}, {})
    DistributionValidator.EXECUTOR_SPEC.executor_class().Do(
        {"statistics": [statistics], "baseline_statistics": before},
        {"anomalies": [drift]},
        {"distribution_validator_config": make_drift_config(max_drift)},
    )
    return {"statistics": [statistics], "anomalies": [anomalies], "drift": [drift], "baseline_statistics": before}


def _gate(inputs: dict[str, list[Any]]) -> DataBlessing:
    blessing = DataBlessing()
    DataGate.EXECUTOR_SPEC.executor_class().Do(inputs, {"blessing": [blessing]}, {"code_digest": "0"})
    return blessing


def test_schema_gen_writes_the_text_that_it_is_given(tmp_path: pathlib.Path) -> None:
    artifact = _schema_artifact(tmp_path / "schema")
    assert [path.name for path in pathlib.Path(artifact.uri).iterdir()] == [SCHEMA_FILE]
    assert (tmp_path / "schema" / SCHEMA_FILE).read_text() == schema_text(21)


def test_gate_blesses_good_data(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, mini_records: dict[str, list[bytes]]
) -> None:
    splits = {"train": mini_records["train"], "eval": mini_records["validation"], "test": mini_records["void"]}
    blessing = _gate(_validate(tmp_path, splits, schema))
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_statistics_id") == 17


def test_gate_fails_over_one_bad_record_and_names_it(tmp_path: pathlib.Path, schema: schema_pb2.Schema) -> None:
    splits = {"train": [_record()], "eval": [_record()], "test": [_record(), _record(label__classes=[30])]}
    with pytest.raises(DataError, match="test: label/classes: Out-of-range values: Unexpectedly large value: 30") as error:
        _gate(_validate(tmp_path, splits, schema))
    assert "train:" not in str(error.value) and "eval:" not in str(error.value)


def test_gate_does_not_take_a_missing_file_for_good_data(tmp_path: pathlib.Path, schema: schema_pb2.Schema) -> None:
    inputs = _validate(tmp_path, {"train": [_record()], "eval": [_record()]}, schema)
    pathlib.Path(inputs["anomalies"][0].uri, "Split-eval", "SchemaDiff.pb").unlink()
    with pytest.raises(Exception, match="Split-eval"):
        _gate(inputs)


# Drift: the data before, and data of which all pictures of one split are larger.


@pytest.fixture
def before() -> dict[str, list[bytes]]:
    return {split: [_record()] * MIN_EXAMPLES for split in SPLITS}


@pytest.fixture
def drifted(before: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
    return before | {"eval": [_record(image__height=[300])] * MIN_EXAMPLES}


def test_gate_blesses_data_like_the_data_before(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]]
) -> None:
    more = {split: records + records[:10] for split, records in before.items()}
    assert _gate(_validate(tmp_path, more, schema, before)).get_int_custom_property("current_statistics_id") == 17


def test_gate_refuses_drifted_data_without_a_blessing(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]], drifted: dict[str, list[bytes]]
) -> None:
    blessing = DataBlessing()
    inputs = _validate(tmp_path, drifted, schema, before)
    with pytest.raises(
        DataError, match="The data drifted .*\n  eval: image/height: .* is 1 .*, above the threshold 0.3"
    ) as error:
        DataGate.EXECUTOR_SPEC.executor_class().Do(inputs, {"blessing": [blessing]}, {"code_digest": "0"})
    assert "train:" not in str(error.value) and "test:" not in str(error.value)
    assert not blessing.has_custom_property("blessed")


def test_gate_accepts_drifted_data_where_the_limit_bears_it(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]], drifted: dict[str, list[bytes]]
) -> None:
    assert _gate(_validate(tmp_path, drifted, schema, before, max_drift=1.0)).get_int_custom_property("blessed") == 1


def test_first_data_drifted_from_nothing(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, drifted: dict[str, list[bytes]]
) -> None:
    assert _gate(_validate(tmp_path, drifted, schema)).get_int_custom_property("blessed") == 1


def test_data_that_does_not_fit_its_schema_is_refused_for_that_first(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]], drifted: dict[str, list[bytes]]
) -> None:
    bad = drifted | {"train": [_record(label__classes=[30])] * MIN_EXAMPLES}
    with pytest.raises(DataError, match="does not fit its schema"):
        _gate(_validate(tmp_path, bad, schema, before))


def test_new_and_lost_test_split_is_passed_over(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]]
) -> None:
    two = {split: before[split] for split in ("train", "eval")}
    _gate(_validate(tmp_path / "lost", two, schema, before))
    _gate(_validate(tmp_path / "new", before, schema, two))


def test_gate_does_not_take_a_missing_comparison_for_a_good_one(
    tmp_path: pathlib.Path, schema: schema_pb2.Schema, before: dict[str, list[bytes]]
) -> None:
    inputs = _validate(tmp_path, before, schema, before)
    pathlib.Path(inputs["drift"][0].uri, "SplitPair-eval_eval", "SchemaDiff.pb").unlink()
    with pytest.raises(Exception, match="SplitPair-eval_eval"):
        _gate(inputs)
