"""The gate: what TFMA is asked, which split it measures, and the verdict in words."""

import dataclasses
import io
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.utils import proto_utils

from components import evaluator, features, iou
from components.evaluation import Evaluation, read_evaluation
from pipeline_config import EvaluateConfig, from_json, to_json

CLASS_NAMES = ("background", "cat", "dog")
GATE = EvaluateConfig(min_mean_iou=0.25, max_mean_iou_drop=0.02)


def test_config_survives_the_json_in_which_tfx_carries_it() -> None:
    sent = evaluator.make_eval_config(CLASS_NAMES)
    arrived = tfma.EvalConfig()
    proto_utils.json_to_proto(proto_utils.proto_to_json(sent), arrived)
    assert arrived == sent
    tfma.utils.verify_eval_config(tfma.utils.update_eval_config_with_defaults(arrived, has_baseline=True, rubber_stamp=True))
    assert [(spec.name, spec.is_baseline, spec.signature_name, spec.label_key) for spec in arrived.model_specs] == [
        ("candidate", False, "serving_examples", "label"),
        ("baseline", True, "serving_examples", "label"),
    ]


def test_settings_survive_the_json_in_which_tfx_carries_them() -> None:
    config = evaluator.EvaluatorConfig(evaluate=GATE, class_names=CLASS_NAMES)
    assert from_json(evaluator.EvaluatorConfig, to_json(config)) == config


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


def _write_records(
    folder: pathlib.Path, pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray, list[int], dict[str, int]]]
) -> None:
    """Writes a record a picture: truth, the answers of "good" and of "old", classes and sizes."""
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for number, (truth, good, old, classes, sizes) in enumerate(pictures):
            example = tf.train.Example()
            feature = example.features.feature
            strings = {features.FILENAME: b"%d.jpg" % number, features.LABEL: _png(truth)}
            strings |= {"good": _png(good), "old": _png(old)}
            for key, value in strings.items():
                feature[key].bytes_list.value.append(value)
            for key, value in sizes.items():
                feature[key].int64_list.value.append(value)
            feature[features.CLASSES].int64_list.value.extend(classes)
            feature[features.VOID_FRACTION].float_list.value.append(0.0)
            writer.write(example.SerializeToString())


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
    folder: pathlib.Path,
    splits: list[str],
    candidate: Artifact,
    baseline: Artifact | None,
    gate: EvaluateConfig,
    class_names: tuple[str, ...] = CLASS_NAMES,
) -> tuple[Evaluation, Artifact]:
    """Runs our executor; returns what it wrote and the blessing."""
    examples = _artifact(standard_artifacts.Examples, folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    inputs = {"examples": [examples], "model": [candidate], "baseline_model": [baseline] if baseline else []}
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    settings = to_json(evaluator.EvaluatorConfig(evaluate=gate, class_names=class_names))
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner", "--direct_running_mode=in_memory"],
        tmp_dir=str(folder / "tmp"),
        unique_id="1",
    )
    outputs = {"evaluation": [evaluation], "blessing": [blessing]}
    evaluator.Executor(context).Do(inputs, outputs, {"settings": settings, "code_digest": ""})
    return read_evaluation(str(folder / "evaluation")), blessing


def _three_splits(folder: pathlib.Path) -> None:
    _write_split(folder / "examples" / "Split-train", candidate=HALF, baseline=HALF)
    _write_split(folder / "examples" / "Split-eval", candidate=HALF, baseline=RIGHT)
    _write_split(folder / "examples" / "Split-test", candidate=RIGHT, baseline=HALF)


def test_test_split_is_measured_and_the_better_model_blessed(tmp_path: pathlib.Path, models: dict[str, Artifact]) -> None:
    _three_splits(tmp_path)
    found, blessing = _evaluate(tmp_path, ["train", "eval", "test"], models["good"], models["old"], GATE)
    assert (found.blessed, found.split, found.refusals) == (True, "test", ())
    overall = found.overall
    assert overall.candidate.metrics["mean_iou"] == 1.0
    assert overall.candidate.metrics["example_count"] == 2
    assert overall.baseline is not None
    assert overall.baseline.metrics["mean_iou"] == pytest.approx(1 / 3, abs=1e-12)
    assert overall.baseline.metrics["iou/cat"] == pytest.approx(2 / 3, abs=1e-12)
    assert found.change_interval is not None
    assert found.change_interval == pytest.approx((2 / 3, 2 / 3))  # Both pictures are alike.
    assert found.reasons == (
        "mean IoU 1.0000 reaches the floor of 0.2500",
        "it is better than background everywhere, whose mean IoU is 0.1333",
        "mean IoU rose by 66.67 points from the baseline's 0.3333, allowed 2.00 points",
        "no class fell by more than 20.00 points",
    )
    assert [(score.filename, score.mean_iou) for score in found.images] == [("0.jpg", 1.0), ("1.jpg", 1.0)]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == models["good"].id
    assert blessing.get_int_custom_property("baseline_model_id") == models["old"].id
    assert blessing.get_string_custom_property("reasons").splitlines() == list(found.reasons)
    assert (tmp_path / "blessing" / "BLESSED").read_text().splitlines() == list(found.reasons)
    # TFX loads a file anew in which it looks for a function; a pipeline can be made in this process all the same.
    assert evaluator.Evaluator.SPEC_CLASS is evaluator.EvaluatorSpec


def test_worse_model_is_refused_with_reasons_beside_the_blessing(tmp_path: pathlib.Path, models: dict[str, Artifact]) -> None:
    _three_splits(tmp_path)
    found, blessing = _evaluate(tmp_path, ["test"], models["old"], models["good"], dataclasses.replace(GATE, max_iou_drop=0.5))
    assert not found.blessed
    assert found.refusals == (
        "mean IoU fell by 66.67 points from the baseline's 1.0000, allowed 2.00 points",
        "background fell by 66.67 points, allowed 50.00",
        "dog fell by 100.00 points, allowed 50.00",
    )
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_string_custom_property("reasons").splitlines() == list(found.reasons)
    assert (tmp_path / "blessing" / "NOT_BLESSED").exists() and not (tmp_path / "blessing" / "BLESSED").exists()


def test_validation_split_does_where_there_is_no_test_and_the_verdict_says_so(
    tmp_path: pathlib.Path, models: dict[str, Artifact]
) -> None:
    _write_split(tmp_path / "examples" / "Split-train", candidate=RIGHT, baseline=RIGHT)
    _write_split(tmp_path / "examples" / "Split-eval", candidate=HALF, baseline=RIGHT)
    found, blessing = _evaluate(tmp_path, ["train", "eval"], models["good"], None, EvaluateConfig(min_mean_iou=0.5))
    assert (found.blessed, found.split, found.overall.baseline, found.change_interval) == (False, "eval", None, None)
    matrix = iou.confusion_matrix(TRUTH, HALF, 3)
    assert found.overall.candidate.metrics["mean_iou"] == pytest.approx(iou.mean_iou(matrix), abs=1e-12)
    assert found.overall.candidate.metrics["iou/dog"] == 0.0
    assert found.reasons[0] == "mean IoU 0.3333 is below the floor of 0.5000"
    assert found.reasons[2] == "there is no earlier blessed model to compare with"
    assert "validation split" in found.reasons[3]
    assert blessing.get_int_custom_property("blessed") == 0


def _copy(model: Artifact, folder: pathlib.Path) -> Artifact:
    """Returns the model in another place, to be spoilt."""
    shutil.copytree(model.uri, folder)
    return _artifact(standard_artifacts.Model, folder, 43)


def _damage_graph(folder: pathlib.Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"no model")


def _lose_graph(folder: pathlib.Path) -> None:
    (folder / "saved_model.pb").unlink()


def _cut_weights(folder: pathlib.Path) -> None:
    (path,) = (folder / "variables").glob("variables.data-*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _metadata(text: str) -> Callable[[pathlib.Path], None]:
    def write(folder: pathlib.Path) -> None:
        (folder / features.METADATA_FILE).parent.mkdir()
        (folder / features.METADATA_FILE).write_text(text)

    return write


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_damage_graph, "no longer loads"),
        (_lose_graph, "no longer loads"),
        (_metadata('{"class_names": ["back'), "no longer loads"),
        (_cut_weights, "no longer loads"),
        (_metadata("{}"), "KeyError"),
        (_metadata('{"class_names": 5}'), "has no list of class names"),
        (_metadata("[]"), "TypeError"),
        (_metadata('{"class_names": ["background", "cat", "dog", "cow"]}'), "knows other classes (background, cat, dog, cow)"),
    ],
)
def test_baseline_that_is_spoilt_has_a_problem_in_words(
    tmp_path: pathlib.Path, models: dict[str, Artifact], spoil: Callable[[pathlib.Path], None], words: str
) -> None:
    assert evaluator.problem_of_baseline(models["old"].uri, CLASS_NAMES) == ""
    spoilt = _copy(models["old"], tmp_path / "spoilt")
    spoil(tmp_path / "spoilt" / "Format-Serving")
    problem = evaluator.problem_of_baseline(spoilt.uri, CLASS_NAMES)
    assert words in problem and "is not compared with" in problem


def test_baseline_that_cannot_be_loaded_just_now_fails_the_run(
    models: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: str) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(tf.saved_model, "load", load)
    with pytest.raises(tf.errors.ResourceExhaustedError):  # Else the candidate would pass without a comparison.
        evaluator.problem_of_baseline(models["old"].uri, CLASS_NAMES)


def test_baseline_that_no_longer_loads_is_said_and_not_compared_with(
    tmp_path: pathlib.Path, models: dict[str, Artifact]
) -> None:
    _three_splits(tmp_path)
    broken = _copy(models["old"], tmp_path / "broken")
    _damage_graph(tmp_path / "broken" / "Format-Serving")
    found, blessing = _evaluate(tmp_path, ["test"], models["good"], broken, GATE)
    assert found.blessed and found.overall.baseline is None
    assert str(tmp_path / "broken") in found.reasons[2] and "no longer loads" in found.reasons[2]
    assert not blessing.has_custom_property("baseline_model_id")


def test_baseline_that_answers_a_picture_wrongly_is_said_and_not_compared_with(
    tmp_path: pathlib.Path, models: dict[str, Artifact]
) -> None:
    _write_split(tmp_path / "examples" / "Split-test", candidate=RIGHT, baseline=RIGHT.T)
    found, blessing = _evaluate(tmp_path, ["test"], models["good"], models["old"], GATE)
    assert found.blessed and found.overall.baseline is None and found.change_interval is None
    assert "cannot answer the pictures of this data" in found.reasons[2]
    assert "2 images cannot be measured: 0.jpg: truth has shape (2, 3), the prediction (3, 2)" in found.reasons[2]
    assert [image.baseline_mean_iou for image in found.images] == [None, None]
    assert not blessing.has_custom_property("baseline_model_id")


def test_slices_decide_nothing(tmp_path: pathlib.Path, models: dict[str, Artifact]) -> None:
    # Where there are dogs, all falls from 1 to 0; of the whole it is 3 pixels in 1,603.
    big = np.zeros((40, 40))
    big[:20] = 1
    small = np.array([[0, 0, 2]])
    pictures = [
        (big, big, big, [0, 1], {features.HEIGHT: 40, features.WIDTH: 40}),
        (small, np.array([[1, 1, 2]]), small, [0, 2], {features.HEIGHT: 1, features.WIDTH: 3}),
    ]
    _write_records(tmp_path / "examples" / "Split-test", pictures)
    gate = EvaluateConfig(min_mean_iou=0.9, max_mean_iou_drop=0.01, max_iou_drop=0.01)
    found, _ = _evaluate(tmp_path, ["test"], models["good"], models["old"], gate)
    (slice_,) = (one for one in found.slices if (one.group, one.value) == ("contains", "dog"))
    assert slice_.baseline is not None
    assert (slice_.candidate.metrics["iou/background"], slice_.baseline.metrics["iou/background"]) == (0.0, 1.0)
    assert slice_.candidate.metrics["mean_iou"] < 0.9
    assert slice_.candidate.confusion_matrix is None
    assert found.blessed, found.refusals
    eval_config = evaluator.make_eval_config(CLASS_NAMES)
    assert not tfma.metrics.metric_thresholds_from_metrics_specs(eval_config.metrics_specs, eval_config=eval_config)


def test_model_that_was_the_baseline_before_is_equal_to_itself(tmp_path: pathlib.Path, models: dict[str, Artifact]) -> None:
    _three_splits(tmp_path)
    same = _copy(models["good"], tmp_path / "same")
    found, _ = _evaluate(tmp_path, ["test"], models["good"], same, dataclasses.replace(GATE, max_mean_iou_drop=0.0))
    assert found.blessed
    assert found.change_interval == (0.0, 0.0)
