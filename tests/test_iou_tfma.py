"""The TFMA metric, run by TFMA on models that answer with masks made by hand, with a baseline and without."""

import dataclasses
import io
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tfx_bsl.public import tfxio

from components import evaluator, features, iou, iou_tfma
from pipeline_config import EvaluateConfig

CLASS_NAMES = ("background", "cat", "dog", "sofa")
V = features.IGNORE_LABEL


def _png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


class Echo(tf.Module):
    """A model that answers what the example says under its name: `<name>/mask` and `<name>/error`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._keys = {key: f"{name}/{key}" for key in ("mask", "error")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features_of = {key: tf.io.FixedLenFeature([], tf.string, default_value="") for key in self._keys.values()}
        parsed = tf.io.parse_example(examples, features_of)
        return {key: parsed[name] for key, name in self._keys.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of the two models by name."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("candidate", "baseline"):
        model = Echo(name)
        tf.saved_model.save(model, str(folder / name), signatures={"serving_examples": model.serve.get_concrete_function()})
    return {name: str(folder / name) for name in ("candidate", "baseline")}


def _example(number: int, label: np.ndarray, answers: Mapping[str, np.ndarray], error: str = "") -> bytes:
    strings = {features.FILENAME: b"%03d.jpg" % number, features.LABEL: _png(label), "candidate/error": error.encode()}
    strings |= {f"{name}/mask": _png(mask) for name, mask in answers.items()}
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in strings.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@dataclasses.dataclass(frozen=True)
class Result:
    """What TFMA wrote: metrics by model and name, and whether it validated."""

    metrics: dict[str, dict[str, float]]
    keys: list[metric_types.MetricKey]
    validation_ok: bool
    failures: list[str]


def _evaluate(
    folder: pathlib.Path, models: dict[str, str], examples: Sequence[bytes], with_baseline: bool, config: EvaluateConfig
) -> Result:
    """Runs TFMA as TFX's Evaluator does."""
    eval_config = tfma.utils.update_eval_config_with_defaults(
        evaluator.make_eval_config(config, CLASS_NAMES, code_digest=""), has_baseline=with_baseline, rubber_stamp=True
    )
    shared = [
        tfma.default_eval_shared_model(models[spec.name or "candidate"], model_name=spec.name, eval_config=eval_config)
        for spec in eval_config.model_specs
    ]
    source = tfxio.TFExampleBeamRecord(
        physical_format="inmem", telemetry_descriptors=["test"], raw_record_column_name=tfma.ARROW_INPUT_COLUMN
    )
    with beam.Pipeline(argv=["--runner=DirectRunner", "--direct_running_mode=in_memory"]) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(examples))
            | source.BeamSource(batch_size=2)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=shared if with_baseline else shared[0], eval_config=eval_config, output_path=str(folder)
            )
        )
    metrics: dict[str, dict[str, float]] = {}
    keys = []
    for record in tfma.load_metrics(str(folder)):
        assert not record.slice_key.single_slice_keys
        for metric in record.metric_keys_and_values:
            keys.append(metric_types.MetricKey.from_proto(metric.key))
            if not metric.key.is_diff:
                metrics.setdefault(metric.key.model_name, {})[metric.key.name] = metric.value.double_value.value
    validation = tfma.load_validation_result(str(folder))
    failures = [failure.metric_key.name for slice_ in validation.metric_validations_per_slice for failure in slice_.failures]
    return Result(metrics, keys, validation.validation_ok, failures)


def _masks(seed: int, wrong: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns truths of classes 0..2 and void, of six sizes, and predictions of which that share is random."""
    rng = np.random.default_rng(seed)
    pairs = []
    for height, width in ((2, 3), (5, 7), (1, 9), (8, 8), (6, 2), (3, 3)):
        truth = rng.choice([0, 0, 1, 2, V], (height, width))
        right = np.where(truth == V, 1, truth)
        pairs.append((truth, np.where(rng.random(truth.shape) < wrong, rng.integers(0, 3, truth.shape), right)))
    return pairs


def _expected(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    matrix = sum(iou.confusion_matrix(truth, mask, len(CLASS_NAMES)) for truth, mask in pairs)
    assert isinstance(matrix, np.ndarray)
    values = {"mean_iou": iou.mean_iou(matrix), "pixel_accuracy": iou.pixel_accuracy(matrix)}
    values["mean_accuracy"] = iou.mean_accuracy(matrix)
    return values | {f"iou/{name}": value for name, value in zip(CLASS_NAMES, iou.iou(matrix).tolist(), strict=True)}


GOOD, POOR = _masks(seed=1, wrong=0.2), [(t, m) for (t, _), (_, m) in zip(_masks(1, 0.2), _masks(1, 0.8), strict=True)]
EXAMPLES = [
    _example(number, truth, {"candidate": good, "baseline": poor})
    for number, ((truth, good), (_, poor)) in enumerate(zip(GOOD, POOR, strict=True))
]
SWAPPED = [
    _example(number, truth, {"candidate": poor, "baseline": good})
    for number, ((truth, good), (_, poor)) in enumerate(zip(GOOD, POOR, strict=True))
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Result:
    """The good model without a baseline; the floor is just what it scores."""
    config = EvaluateConfig(min_mean_iou=_expected(GOOD)["mean_iou"])
    return _evaluate(tmp_path_factory.mktemp("alone"), models, EXAMPLES, with_baseline=False, config=config)


@pytest.fixture(scope="module")
def against_worse(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Result:
    """The good model against the poor one."""
    folder = tmp_path_factory.mktemp("worse")
    return _evaluate(folder, models, EXAMPLES, with_baseline=True, config=EvaluateConfig(min_mean_iou=0.1))


def _metrics(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name != "example_count"}


def test_values_without_a_baseline_are_those_of_one_matrix_over_all_pictures(alone: Result) -> None:
    (metrics,) = alone.metrics.values()
    assert _metrics(metrics) == pytest.approx(_expected(GOOD), abs=1e-12, nan_ok=True)
    assert 0.3 < metrics["mean_iou"] < 0.95
    assert math.isnan(metrics["iou/sofa"])  # In neither truth nor prediction.
    assert metrics["example_count"] == 6


def test_values_with_a_baseline_are_each_models_own(against_worse: Result) -> None:
    assert set(against_worse.metrics) == {"candidate", "baseline"}
    assert _metrics(against_worse.metrics["candidate"]) == pytest.approx(_expected(GOOD), abs=1e-12, nan_ok=True)
    assert _metrics(against_worse.metrics["baseline"]) == pytest.approx(_expected(POOR), abs=1e-12, nan_ok=True)
    assert against_worse.metrics["baseline"]["mean_iou"] < against_worse.metrics["candidate"]["mean_iou"] - 0.1


def test_keys_are_plain_so_that_thresholds_find_them(alone: Result, against_worse: Result) -> None:
    names = {"mean_iou", "pixel_accuracy", "mean_accuracy", "example_count", *(f"iou/{name}" for name in CLASS_NAMES)}
    for result in (alone, against_worse):
        assert {key.name for key in result.keys} == names  # And no confusion matrix among them.
        assert all(key.sub_key is None and not key.output_name and key.aggregation_type is None for key in result.keys)


def test_model_that_just_reaches_the_floor_is_good_enough(alone: Result) -> None:
    assert alone.validation_ok
    assert alone.failures == []


def test_model_better_than_its_baseline_is_good_enough(against_worse: Result) -> None:
    assert against_worse.validation_ok


def test_model_worse_than_its_baseline_is_refused(tmp_path: pathlib.Path, models: dict[str, str]) -> None:
    result = _evaluate(tmp_path, models, SWAPPED, with_baseline=True, config=EvaluateConfig(min_mean_iou=0.1))
    assert result.metrics["candidate"]["mean_iou"] > 0.1  # So that it is not the floor.
    assert not result.validation_ok
    assert result.failures == ["mean_iou"]


def test_score_that_is_no_number_is_refused_even_by_a_floor_of_zero(tmp_path: pathlib.Path, models: dict[str, str]) -> None:
    void = [_example(0, np.full((2, 3), V), {"candidate": np.zeros((2, 3))})]
    result = _evaluate(tmp_path, models, void, with_baseline=False, config=EvaluateConfig(min_mean_iou=0.0))
    (metrics,) = result.metrics.values()
    assert math.isnan(metrics["mean_iou"])
    assert not result.validation_ok


def _chain(error: BaseException | None) -> list[str]:
    """Returns an error's message, and those of its causes."""
    return [] if error is None else [str(error), *_chain(error.__cause__ or error.__context__)]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> BaseException:
    """What TFMA raises where the model answers the third of three pictures with an error."""
    truth, mask = GOOD[0]
    bad = [*EXAMPLES[:2], _example(77, truth, {"candidate": mask}, error="not a readable picture")]
    with pytest.raises(Exception) as raised:
        _evaluate(tmp_path_factory.mktemp("refused"), models, bad, with_baseline=False, config=EvaluateConfig())
    return raised.value


def test_error_of_the_model_ends_the_evaluation_with_the_files_name(refused: BaseException) -> None:
    assert any("077.jpg: the model answered: not a readable picture" in message for message in _chain(refused))


def test_error_of_the_evaluation_does_not_print_pictures(refused: BaseException) -> None:
    # TFMA adds the inputs to what `add_input` raises: 50 KB and more a photograph, and the reason is lost in them.
    assert "not a readable picture" in str(refused)
    assert "IHDR" not in str(refused)


# What follows drives the combiner as TFMA does, without TFMA.


def _inputs(label: object, prediction: object, name: bytes | None = b"001.jpg") -> metric_types.StandardMetricInputs:
    named = {} if name is None else {features.FILENAME: np.array([name])}
    return metric_types.StandardMetricInputs({"labels": label, "predictions": prediction, "features": named})


def _answer(mask: np.ndarray, error: bytes = b"") -> dict[str, np.ndarray]:
    return {"mask": np.array([_png(mask)], object), "error": np.array([error], object)}


def _combiner(model_name: str = "", num_classes: int = 3) -> iou_tfma.ConfusionMatrixCombiner:
    return iou_tfma.ConfusionMatrixCombiner(metric_types.MetricKey("_confusion_matrix", model_name=model_name), num_classes)


def _count(combiner: iou_tfma.ConfusionMatrixCombiner, *inputs: metric_types.StandardMetricInputs) -> np.ndarray:
    """Returns the matrix of some examples."""
    accumulator = combiner.create_accumulator()
    for one in inputs:
        accumulator = combiner.add_input(accumulator, one)
    (matrix,) = combiner.extract_output(accumulator).values()
    return matrix


TRUTH = np.array([[0, 0, 1], [1, 2, V]])
MASK = np.array([[0, 1, 1], [1, 0, 2]])
MATRIX = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]  # See test_iou.py.
LABEL = np.array([_png(TRUTH)], object)


def test_combiner_counts_pictures() -> None:
    assert _count(_combiner(), _inputs(LABEL, _answer(MASK))).tolist() == MATRIX
    twice = _count(_combiner(), _inputs(LABEL, _answer(MASK)), _inputs(LABEL, _answer(MASK)))
    assert twice.tolist() == (2 * np.array(MATRIX)).tolist()


def test_combiner_selects_its_model_where_labels_and_predictions_are_dicts_of_models() -> None:
    labels = {"candidate": LABEL, "baseline": LABEL}
    predictions = {"candidate": _answer(MASK), "baseline": _answer(np.where(TRUTH == V, 0, TRUTH))}
    found = {name: _count(_combiner(name), _inputs(labels, predictions)).tolist() for name in labels}
    assert found == {"candidate": MATRIX, "baseline": [[2, 0, 0], [0, 2, 0], [0, 0, 1]]}


def test_combiner_takes_one_label_for_all_models() -> None:
    predictions = {"candidate": _answer(np.zeros((2, 3))), "baseline": _answer(MASK)}
    assert _count(_combiner("baseline"), _inputs(LABEL, predictions)).tolist() == MATRIX


def test_accumulators_merge_to_the_matrix_of_all_pictures() -> None:
    combiner = _combiner(num_classes=4)
    parts = []
    for start, end in ((0, 1), (1, 4), (4, 6)):
        accumulator = combiner.create_accumulator()
        for truth, mask in GOOD[start:end]:
            accumulator = combiner.add_input(accumulator, _inputs(np.array([_png(truth)], object), _answer(mask)))
        parts.append(accumulator)
    merged = combiner.merge_accumulators(iter([*parts, combiner.create_accumulator()]))
    (matrix,) = combiner.extract_output(merged).values()
    assert matrix.tolist() == sum(iou.confusion_matrix(truth, mask, 4) for truth, mask in GOOD).tolist()
    assert matrix.dtype == np.int64
    (last,) = combiner.extract_output(parts[-1]).values()  # Beam may use it again: merging leaves it alone.
    assert last.tolist() == sum(iou.confusion_matrix(truth, mask, 4) for truth, mask in GOOD[4:]).tolist()
    (none,) = combiner.extract_output(combiner.merge_accumulators([])).values()
    assert none.tolist() == np.zeros((4, 4)).tolist()


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        pytest.param(_answer(MASK, b"no such thing"), r"001\.jpg: the model answered: no such thing", id="error"),
        pytest.param(_answer(MASK.T), r"001\.jpg: truth has shape \(2, 3\), the prediction \(3, 2\)", id="size"),
        pytest.param(_answer(MASK + 2), r"001\.jpg: prediction has ids from 2 to 3", id="id"),
    ],
)
def test_answer_that_cannot_be_counted_is_an_error_that_names_the_file(prediction: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _count(_combiner(), _inputs(LABEL, _answer(MASK), name=b"000.jpg"), _inputs(LABEL, prediction))


def test_example_without_a_file_name_is_spoken_of_all_the_same() -> None:
    with pytest.raises(ValueError, match=r"an example: the model answered: bad"):
        _count(_combiner(), _inputs(LABEL, _answer(MASK, b"bad"), name=None))


def test_metric_survives_the_json_of_an_eval_config() -> None:
    metric = iou_tfma.MeanIoU(CLASS_NAMES, code_digest="abc")
    restored = iou_tfma.MeanIoU.from_config(metric.get_config())
    assert restored.get_config() == metric.get_config()
    names = [key.name for computation in restored.computations(model_names=[""]) for key in computation.keys]
    assert names == ["_confusion_matrix", "mean_iou", "pixel_accuracy", "mean_accuracy", *(f"iou/{c}" for c in CLASS_NAMES)]


def _tfma_counts(metric: tfma.metrics.Metric, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Drives one of TFMA's own segmentation metrics: its preprocessor, its combiner, its derived values."""
    matrix, derived = metric.computations(model_names=[""], output_names=[""])
    accumulator = matrix.combiner.create_accumulator()
    for truth, mask in pairs:
        extracts = {
            "labels": {"truth": np.array([_png(truth)], object)},
            "predictions": {"mask": np.array([_png(mask)], object)},
            "features": {},
        }
        (preprocessor,) = matrix.preprocessors
        for extract in preprocessor.process(extracts):
            accumulator = matrix.combiner.add_input(accumulator, metric_types.StandardMetricInputs(extract))
    values = derived.result(matrix.combiner.extract_output(accumulator))
    return [float(value) for _, value in sorted(values.items(), key=lambda item: item[0].sub_key.class_id)]


@pytest.mark.parametrize("make", [lambda: GOOD, lambda: POOR], ids=["good", "poor"])
def test_counts_are_those_of_tfmas_own_segmentation_metrics(make: Callable[[], list[tuple[np.ndarray, np.ndarray]]]) -> None:
    pairs = make()
    keys = {"ground_truth_key": "truth", "prediction_key": "mask", "decode_prediction": True, "ignore_ground_truth_id": V}
    right = _tfma_counts(tfma.metrics.SemanticSegmentationTruePositive(class_ids=[0, 1, 2], **keys), pairs)
    wrong = _tfma_counts(tfma.metrics.SemanticSegmentationFalsePositive(class_ids=[0, 1, 2], **keys), pairs)
    matrix = sum(iou.confusion_matrix(truth, mask, 3) for truth, mask in pairs)
    assert np.diag(matrix).tolist() == right
    assert (matrix.sum(0) - np.diag(matrix)).tolist() == wrong
