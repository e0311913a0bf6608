"""The gate: what TFMA is asked, which split it measures, and the verdict in words."""

import dataclasses
import io
import json
import math
import pathlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.utils import proto_utils

from components import evaluator, features, iou, verdict
from pipeline_config import EvaluateConfig

CLASS_NAMES = ("background", "cat", "dog")
GATE = EvaluateConfig(min_mean_iou=0.25, max_mean_iou_drop=0.02)


def _config(gate: EvaluateConfig = GATE, with_baseline: bool = False) -> tfma.EvalConfig:
    """Returns what arrives at TFMA: through JSON, and with TFX's defaults."""
    sent = evaluator.make_eval_config(gate, CLASS_NAMES, code_digest="abc")
    arrived = tfma.EvalConfig()
    proto_utils.json_to_proto(proto_utils.proto_to_json(sent), arrived)
    assert arrived == sent
    return tfma.utils.update_eval_config_with_defaults(arrived, has_baseline=with_baseline, rubber_stamp=True)


def test_config_survives_the_json_in_which_tfx_carries_it() -> None:
    config = _config(with_baseline=True)
    tfma.utils.verify_eval_config(config)
    (metric, _) = config.metrics_specs[0].metrics
    assert json.loads(metric.config) == {"class_names": list(CLASS_NAMES), "code_digest": "abc", "name": "mean_iou"}
    assert [(spec.name, spec.is_baseline, spec.signature_name, spec.label_key) for spec in config.model_specs] == [
        ("candidate", False, "serving_examples", "label"),
        ("baseline", True, "serving_examples", "label"),
    ]


def test_thresholds_say_what_the_configuration_says() -> None:
    (threshold,) = _config(with_baseline=True).metrics_specs[0].metrics[0].per_slice_thresholds
    assert threshold.threshold.value_threshold.lower_bound.value == 0.25
    assert threshold.threshold.change_threshold.absolute.value == -0.02
    assert threshold.threshold.change_threshold.direction == tfma.MetricDirection.HIGHER_IS_BETTER


def test_configs_of_two_gates_or_two_versions_of_the_metric_differ() -> None:
    one = evaluator.make_eval_config(GATE, CLASS_NAMES, "abc")
    assert one == evaluator.make_eval_config(GATE, CLASS_NAMES, "abc")
    assert one != evaluator.make_eval_config(GATE, CLASS_NAMES, "abd")  # Else TFX's cache would not notice.
    assert one != evaluator.make_eval_config(dataclasses.replace(GATE, min_mean_iou=0.26), CLASS_NAMES, "abc")
    assert one != evaluator.make_eval_config(GATE, CLASS_NAMES[:2], "abc")


def _validates(
    score: float, baseline: float | None = None, slice_key: tuple[tuple[str, str], ...] = (), gate: EvaluateConfig = GATE
) -> bool:
    """Asks TFMA's validator about one slice."""
    config = _config(gate, with_baseline=baseline is not None)
    model_name = "" if baseline is None else "candidate"
    key = metric_types.MetricKey("mean_iou", model_name=model_name)
    metrics = {key: score}
    if baseline is not None:
        metrics[metric_types.MetricKey("mean_iou", model_name="baseline")] = baseline
        metrics[metric_types.MetricKey("mean_iou", model_name="candidate", is_diff=True)] = score - baseline
    if slice_key:
        config.slicing_specs.append(tfma.SlicingSpec(feature_keys=[slice_key[0][0]]))
    return metrics_validator.validate_metrics((slice_key, metrics), config).validation_ok


@pytest.mark.parametrize(
    ("score", "baseline", "good_enough"),
    [
        (0.25, None, True),
        (0.2499, None, False),
        (1.0, None, True),
        (float("nan"), None, False),
        (0.30, 0.30, True),
        (0.29, 0.30, True),  # It may fall by two points.
        (0.27, 0.30, False),
        (0.90, 0.30, True),
        (0.24, 0.10, False),  # Better than the baseline, but below the floor.
        (float("nan"), 0.30, False),
    ],
)
def test_gate_lets_pass_what_reaches_the_floor_and_does_not_fall_too_far(
    score: float, baseline: float | None, good_enough: bool
) -> None:
    assert _validates(score, baseline) is good_enough


def test_without_an_allowance_equal_is_good_enough_and_less_is_not() -> None:
    strict = EvaluateConfig(min_mean_iou=0.0, max_mean_iou_drop=0.0)
    assert _validates(0.3, 0.3, gate=strict)
    assert not _validates(0.3 - 1e-9, 0.3, gate=strict)


def test_gate_looks_at_the_whole_and_not_at_slices() -> None:
    assert not _validates(0.01)
    assert _validates(0.01, slice_key=(("camera", "left"),))


CANDIDATE = {"mean_iou": 0.3125, "pixel_accuracy": 0.8}


def test_reason_says_that_the_floor_is_reached_and_that_there_was_no_baseline() -> None:
    assert verdict.explain(CANDIDATE, None, "test", GATE) == (
        "mean IoU 0.3125 reaches the floor of 0.2500",
        "there is no earlier blessed model to compare with",
    )


def test_reason_says_that_the_floor_is_missed() -> None:
    reasons = verdict.explain(CANDIDATE | {"mean_iou": 0.2}, None, "test", GATE)
    assert reasons[0] == "mean IoU 0.2000 is below the floor of 0.2500"


def test_score_on_the_floor_reaches_it() -> None:
    assert "reaches" in verdict.explain({"mean_iou": 0.25}, None, "test", GATE)[0]


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (0.3, "+1.25 points against the baseline's 0.3000 (allowed to fall by 2.00)"),
        (0.3125, "+0.00 points against the baseline's 0.3125 (allowed to fall by 2.00)"),
        (0.5, "-18.75 points against the baseline's 0.5000 (allowed to fall by 2.00)"),
    ],
)
def test_reason_compares_with_the_baseline(baseline: float, expected: str) -> None:
    floor, comparison = verdict.explain(CANDIDATE, {"mean_iou": baseline}, "test", GATE)
    assert floor == "mean IoU 0.3125 reaches the floor of 0.2500"
    assert comparison == expected


def test_reason_says_where_the_validation_split_had_to_do() -> None:
    reasons = verdict.explain(CANDIDATE, None, "eval", GATE)
    assert reasons[-1] == "measured on the validation split, which also chose the epoch: the data set has no test split"
    assert len(reasons) == 3


def test_reason_says_that_there_was_nothing_to_measure() -> None:
    reasons = verdict.explain({"mean_iou": math.nan}, {"mean_iou": 0.3}, "test", GATE)
    assert reasons == ("the mean IoU is not a number: there was no pixel to measure",)


# What follows runs TFX's Evaluator for real, on models that answer what the example says.

TRUTH = np.array([[0, 0, 1], [1, 2, 255]])
RIGHT = np.array([[0, 0, 1], [1, 2, 0]])
HALF = np.array([[0, 1, 1], [1, 0, 2]])  # IoU 1/3, 2/3 and 0: see test_iou.py.


def _png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


class Echo(tf.Module):
    """A model that answers with the mask that the example holds under a key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        mask = tf.io.parse_example(examples, {self._key: tf.io.FixedLenFeature([], tf.string)})[self._key]
        return {"mask": mask, "error": tf.zeros_like(mask)}


def _artifact(kind: type[Artifact], uri: pathlib.Path, number: int = 0) -> Artifact:
    artifact = kind()
    artifact.uri, artifact.id = str(uri), number
    return artifact


def _write_split(folder: pathlib.Path, candidate: np.ndarray, baseline: np.ndarray) -> None:
    """Writes two records with these answers."""
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for number in range(2):
            strings = {
                features.FILENAME: b"%d.jpg" % number,
                features.LABEL: _png(TRUTH),
                "good": _png(candidate),
                "old": _png(baseline),
            }
            feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in strings.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Model artifacts by the key that they answer with."""
    folder = tmp_path_factory.mktemp("models")
    artifacts = {}
    for number, key in enumerate(("good", "old"), start=41):
        model = Echo(key)
        signatures = {"serving_examples": model.serve.get_concrete_function()}
        tf.saved_model.save(model, str(folder / key / "Format-Serving"), signatures=signatures)
        artifacts[key] = _artifact(standard_artifacts.Model, folder / key, number)
    return artifacts


def _evaluate(
    folder: pathlib.Path, splits: list[str], candidate: Artifact, baseline: Artifact | None, gate: EvaluateConfig
) -> tuple[verdict.Verdict, Artifact]:
    """Runs our executor; returns the verdict and the blessing."""
    examples = _artifact(standard_artifacts.Examples, folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    inputs = {"examples": [examples], "model": [candidate], "baseline_model": [baseline] if baseline else []}
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    properties = {
        "eval_config": proto_utils.proto_to_json(evaluator.make_eval_config(gate, CLASS_NAMES, "")),
        "example_splits": "null",
        "fairness_indicator_thresholds": "null",
    }
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=DirectRunner", "--direct_running_mode=in_memory"],
        tmp_dir=str(folder / "tmp"),
        unique_id="1",
    )
    evaluator.Executor(context).Do(inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties)
    split = evaluation.get_string_custom_property(evaluator.SPLIT_PROPERTY)
    return verdict.read_verdict(str(folder / "evaluation"), split, gate, CLASS_NAMES), blessing


def test_test_split_is_measured_and_the_better_model_blessed(tmp_path: pathlib.Path, models: dict[str, Artifact]) -> None:
    _write_split(tmp_path / "examples" / "Split-train", candidate=HALF, baseline=HALF)
    _write_split(tmp_path / "examples" / "Split-eval", candidate=HALF, baseline=RIGHT)
    _write_split(tmp_path / "examples" / "Split-test", candidate=RIGHT, baseline=HALF)
    verdict, blessing = _evaluate(tmp_path, ["train", "eval", "test"], models["good"], models["old"], GATE)
    assert (verdict.blessed, verdict.split) == (True, "test")
    assert verdict.metrics["mean_iou"] == 1.0
    assert list(verdict.metrics) == [
        "mean_iou",
        "pixel_accuracy",
        "mean_accuracy",
        "iou/background",
        "iou/cat",
        "iou/dog",
        "example_count",
    ]
    assert verdict.metrics["example_count"] == 2
    assert verdict.baseline is not None
    assert verdict.baseline["mean_iou"] == pytest.approx(1 / 3, abs=1e-12)
    assert verdict.baseline["iou/cat"] == pytest.approx(2 / 3, abs=1e-12)
    assert verdict.reasons == (
        "mean IoU 1.0000 reaches the floor of 0.2500",
        "+66.67 points against the baseline's 0.3333 (allowed to fall by 2.00)",
    )
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == models["good"].id
    assert (tmp_path / "blessing" / "BLESSED").exists()


def test_validation_split_does_where_there_is_no_test_and_the_verdict_says_so(
    tmp_path: pathlib.Path, models: dict[str, Artifact]
) -> None:
    _write_split(tmp_path / "examples" / "Split-train", candidate=RIGHT, baseline=RIGHT)
    _write_split(tmp_path / "examples" / "Split-eval", candidate=HALF, baseline=RIGHT)
    gate = EvaluateConfig(min_mean_iou=0.5)
    verdict, blessing = _evaluate(tmp_path, ["train", "eval"], models["good"], None, gate)
    assert (verdict.blessed, verdict.split, verdict.baseline) == (False, "eval", None)
    matrix = iou.confusion_matrix(TRUTH, HALF, 3)
    assert verdict.metrics["mean_iou"] == pytest.approx(iou.mean_iou(matrix), abs=1e-12)
    assert verdict.metrics["iou/dog"] == 0.0
    assert verdict.reasons[0] == "mean IoU 0.3333 is below the floor of 0.5000"
    assert verdict.reasons[1] == "there is no earlier blessed model to compare with"
    assert "validation split" in verdict.reasons[2]
    assert blessing.get_int_custom_property("blessed") == 0
    assert (tmp_path / "blessing" / "NOT_BLESSED").exists()
