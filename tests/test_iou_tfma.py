"""The TFMA metric, run by TFMA on models that answer with masks made by hand, with a baseline and without."""

import hashlib
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

from components import boundary, evaluator, extractors, features, iou, iou_tfma, resampling
from components.iou_sums import Failures, Sums

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
    present = [one for one in np.unique(label).tolist() if one != V]
    scalars = {features.HEIGHT: [label.shape[0]], features.WIDTH: [label.shape[1]], features.CLASSES: present}
    strings = {features.FILENAME: b"%03d.jpg" % number, features.LABEL: _png(label), "candidate/error": error.encode()}
    strings |= {f"{name}/mask": _png(mask) for name, mask in answers.items()}
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in strings.items()}
    feature |= {key: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for key, value in scalars.items()}
    void = tf.train.FloatList(value=[float((label == V).mean())])
    feature[features.VOID_FRACTION] = tf.train.Feature(float_list=void)
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _evaluate(
    folder: pathlib.Path, models: dict[str, str], examples: Sequence[bytes], with_baseline: bool
) -> evaluator.Findings:
    """Runs TFMA as TFX's Evaluator does."""
    eval_config = tfma.utils.update_eval_config_with_defaults(
        evaluator.make_eval_config(CLASS_NAMES), has_baseline=with_baseline, rubber_stamp=True
    )
    shared = [
        tfma.default_eval_shared_model(models[spec.name or "candidate"], model_name=spec.name, eval_config=eval_config)
        for spec in eval_config.model_specs
    ]
    chosen = shared if with_baseline else shared[0]
    source = tfxio.TFExampleBeamRecord(
        physical_format="inmem", telemetry_descriptors=["test"], raw_record_column_name=tfma.ARROW_INPUT_COLUMN
    )
    with beam.Pipeline(argv=["--runner=FnApiRunner", "--direct_running_mode=in_memory"]) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(examples))
            | source.BeamSource(batch_size=2)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=chosen,
                eval_config=eval_config,
                extractors=extractors.make_extractors(chosen, eval_config, None),
                output_path=str(folder),
            )
        )
    return evaluator.read_findings(str(folder), CLASS_NAMES)


def _masks(seed: int, wrong: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns truths of classes 0..2 and void, of six sizes, and predictions of which that share is random."""
    rng = np.random.default_rng(seed)
    pairs = []
    for height, width in ((2, 3), (5, 7), (1, 9), (8, 8), (6, 2), (3, 3)):
        truth = rng.choice([0, 0, 1, 2, V], (height, width))
        right = np.where(truth == V, 1, truth)
        pairs.append((truth, np.where(rng.random(truth.shape) < wrong, rng.integers(0, 3, truth.shape), right)))
    return pairs


Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


def _matrix(pairs: Pairs) -> np.ndarray:
    matrix = sum(iou.confusion_matrix(truth, mask, len(CLASS_NAMES)) for truth, mask in pairs)
    assert isinstance(matrix, np.ndarray)
    return matrix


def _expected(pairs: Pairs) -> dict[str, float | None]:
    matrix = _matrix(pairs)
    counts = sum(boundary.boundary_counts(truth, mask, len(CLASS_NAMES)) for truth, mask in pairs)
    assert isinstance(counts, np.ndarray)
    by_class = {
        "iou": iou.iou(matrix),
        "accuracy": iou.accuracy(matrix),
        "dice": iou.dice(matrix),
        "boundary_iou": boundary.boundary_iou(counts),
    }
    values = {
        "mean_iou": iou.mean_iou(matrix),
        "pixel_accuracy": iou.pixel_accuracy(matrix),
        "mean_accuracy": iou.mean_accuracy(matrix),
        "mean_dice": float(np.nanmean(by_class["dice"])),
        "mean_boundary_iou": float(np.nanmean(by_class["boundary_iou"])),
    }
    for kind, found in by_class.items():
        values |= {f"{kind}/{name}": value for name, value in zip(CLASS_NAMES, found.tolist(), strict=True)}
    return {name: None if math.isnan(value) else value for name, value in values.items()} | {"example_count": len(pairs)}


GOOD, POOR = _masks(seed=1, wrong=0.2), [(t, m) for (t, _), (_, m) in zip(_masks(1, 0.2), _masks(1, 0.8), strict=True)]
EXAMPLES = [
    _example(number, truth, {"candidate": good, "baseline": poor})
    for number, ((truth, good), (_, poor)) in enumerate(zip(GOOD, POOR, strict=True))
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> evaluator.Findings:
    """The good model without a baseline."""
    return _evaluate(tmp_path_factory.mktemp("alone"), models, EXAMPLES, with_baseline=False)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> evaluator.Findings:
    """The good model against the poor one."""
    return _evaluate(tmp_path_factory.mktemp("compared"), models, EXAMPLES, with_baseline=True)


def test_values_without_a_baseline_are_those_of_one_matrix_over_all_pictures(alone: evaluator.Findings) -> None:
    overall = alone.overall
    assert overall.candidate.metrics == pytest.approx(_expected(GOOD), abs=1e-12)
    assert list(overall.candidate.metrics) == [*iou_tfma.metric_names(CLASS_NAMES), "example_count"]
    assert overall.candidate.confusion_matrix == _matrix(GOOD).tolist()
    assert overall.candidate.metrics["iou/sofa"] is None  # In neither truth nor prediction.
    assert (overall.baseline, alone.change_interval) == (None, None)


def test_values_with_a_baseline_are_each_models_own(compared: evaluator.Findings) -> None:
    overall = compared.overall
    assert overall.baseline is not None
    assert overall.candidate.metrics == pytest.approx(_expected(GOOD), abs=1e-12)
    assert overall.baseline.metrics == pytest.approx(_expected(POOR), abs=1e-12)
    assert overall.candidate.confusion_matrix == _matrix(GOOD).tolist()
    assert overall.baseline.confusion_matrix == _matrix(POOR).tolist()


def _resampled(pairs: Pairs) -> np.ndarray:
    """Returns the mean IoU of each resample, from the whole matrices drawn as often as the names say."""
    scores = []
    for drawn in np.stack([resampling.weights(f"{number:03d}.jpg") for number in range(len(pairs))]).T:
        many = [pair for pair, times in zip(pairs, drawn, strict=True) for _ in range(times)]
        scores.append(iou.mean_iou(_matrix(many)) if many else math.nan)
    return np.array(scores)


def test_intervals_are_percentiles_over_images_drawn_again(compared: evaluator.Findings) -> None:
    overall, change = compared.overall, compared.change_interval
    assert overall.baseline is not None
    good, poor = _resampled(GOOD), _resampled(POOR)
    assert overall.candidate.interval == pytest.approx(tuple(np.nanpercentile(good, [2.5, 97.5])), abs=1e-12)
    assert overall.baseline.interval == pytest.approx(tuple(np.nanpercentile(poor, [2.5, 97.5])), abs=1e-12)
    assert change == pytest.approx(tuple(np.nanpercentile(good - poor, [2.5, 97.5])), abs=1e-12)


def test_slices_hold_the_pictures_that_contain_a_class_or_have_a_size_a_shape_or_void(compared: evaluator.Findings) -> None:
    found = {(one.group, one.value): one for one in compared.slices}
    containing = {name: [pair for pair in GOOD if (pair[0] == label).any()] for label, name in enumerate(CLASS_NAMES)}
    groups = {group: {value for one, value in found if one == group} for group in ("contains", "size", "aspect", "void")}
    assert groups["contains"] == {name for name, pairs in containing.items() if pairs} == {"background", "cat", "dog"}
    for name in groups["contains"]:
        assert found["contains", name].candidate.metrics == pytest.approx(_expected(containing[name]), abs=1e-12)
    assert groups["size"] == {"below 0.1 megapixels"}
    assert groups["aspect"] == {"upright", "about square", "lying", "over twice as wide as high"}
    (wide,) = (pair for pair in GOOD if pair[0].shape == (1, 9))
    assert found["aspect", "over twice as wide as high"].candidate.metrics == pytest.approx(_expected([wide]), abs=1e-12)
    assert found["contains", "cat"].candidate.confusion_matrix is None  # 150 classes in 300 slices would be 90 MB.
    clean = [pair for pair in GOOD if not (pair[0] == V).any()]
    assert ("void", "none") in found if clean else ("void", "none") not in found
    order = [one.value for one in compared.slices if one.group == "aspect"]
    assert order == ["upright", "about square", "lying", "over twice as wide as high"]


def test_each_picture_has_its_own_score_and_the_digest_of_its_mask(compared: evaluator.Findings) -> None:
    scores = {score.filename: score for score in compared.images}
    assert set(scores) == {f"{number:03d}.jpg" for number in range(6)}
    for number, ((truth, good), (_, poor)) in enumerate(zip(GOOD, POOR, strict=True)):
        score = scores[f"{number:03d}.jpg"]
        assert score.mean_iou == pytest.approx(iou.mean_iou(_matrix([(truth, good)])), abs=1e-12)
        assert score.baseline_mean_iou == pytest.approx(iou.mean_iou(_matrix([(truth, poor)])), abs=1e-12)
        ids = f"{truth.shape[0]}x{truth.shape[1]}:".encode() + good.astype(np.uint8).tobytes()
        assert score.mask_sha256 == hashlib.sha256(ids).hexdigest()
    assert [score.mean_iou for score in compared.images] == sorted(score.mean_iou for score in compared.images)


def test_picture_that_is_all_void_has_no_value_and_is_no_error(tmp_path: pathlib.Path, models: dict[str, str]) -> None:
    void = [_example(0, np.full((2, 3), V), {"candidate": np.zeros((2, 3))})]
    found = _evaluate(tmp_path, models, void, with_baseline=False)
    overall, (score,) = found.overall, found.images
    assert overall.candidate.metrics["mean_iou"] is None
    assert overall.candidate.metrics["example_count"] == 1
    assert (overall.candidate.interval, score.mean_iou) == (None, None)


def _chain(error: BaseException | None) -> list[str]:
    """Returns an error's message, and those of its causes."""
    return [] if error is None else [str(error), *_chain(error.__cause__ or error.__context__)]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> BaseException:
    """What TFMA raises where the model answers the third of three pictures with an error."""
    truth, mask = GOOD[0]
    bad = [*EXAMPLES[:2], _example(77, truth, {"candidate": mask}, error="not a readable picture")]
    with pytest.raises(Exception) as raised:
        _evaluate(tmp_path_factory.mktemp("refused"), models, bad, with_baseline=False)
    return raised.value


def test_error_of_the_model_ends_the_evaluation_with_the_files_name(refused: BaseException) -> None:
    assert any("077.jpg: the candidate answered: not a readable picture" in message for message in _chain(refused))


def test_error_of_the_evaluation_does_not_print_pictures(refused: BaseException) -> None:
    # TFMA adds the inputs to what `add_input` raises: 50 KB and more a photograph, and the reason is lost in them.
    assert "not a readable picture" in str(refused)
    assert "IHDR" not in str(refused)


# What follows drives preprocessor and combiner as TFMA does, without TFMA.


def _extracts(label: object, prediction: object, name: bytes | None = b"001.jpg") -> dict[str, object]:
    named = {} if name is None else {features.FILENAME: np.array([name])}
    return {"labels": label, "predictions": prediction, "features": named}


def _answer(mask: np.ndarray, error: bytes = b"") -> dict[str, np.ndarray]:
    return {"mask": np.array([_png(mask)], object), "error": np.array([error], object)}


def _sums(*extracts: dict[str, object], models: Sequence[str] = ("",), num_classes: int = 3) -> Sums:
    """Returns the sums of some examples."""
    measure = iou_tfma.Measure(models, num_classes)
    combiner = iou_tfma.SumsCombiner(metric_types.MetricKey("_sums"), models[0], models[1] if len(models) > 1 else None)
    sums = combiner.create_accumulator()
    for one in extracts:
        for measured in measure.process(one):
            sums = combiner.add_input(sums, measured)
    (found,) = combiner.extract_output(sums).values()
    return found


TRUTH = np.array([[0, 0, 1], [1, 2, V]])
MASK = np.array([[0, 1, 1], [1, 0, 2]])
MATRIX = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]  # See test_iou.py.
LABEL = np.array([_png(TRUTH)], object)


def test_pictures_add_up() -> None:
    assert _sums(_extracts(LABEL, _answer(MASK))).models[""].matrix.tolist() == MATRIX
    twice = _sums(_extracts(LABEL, _answer(MASK)), _extracts(LABEL, _answer(MASK), b"002.jpg"))
    assert twice.models[""].matrix.tolist() == (2 * np.array(MATRIX)).tolist()


@pytest.mark.parametrize("labels", [{"candidate": LABEL, "baseline": LABEL}, LABEL], ids=["a label a model", "one for all"])
def test_each_model_is_measured_by_its_own_answer(labels: object) -> None:
    predictions = {"candidate": _answer(MASK), "baseline": _answer(np.where(TRUTH == V, 0, TRUTH))}
    sums = _sums(_extracts(labels, predictions), models=("candidate", "baseline"))
    found = {name: one.matrix.tolist() for name, one in sums.models.items()}
    assert found == {"candidate": MATRIX, "baseline": [[2, 0, 0], [0, 2, 0], [0, 0, 1]]}


def test_sums_merge_to_those_of_all_pictures() -> None:
    extracts = [
        _extracts(np.array([_png(truth)], object), _answer(mask), b"%03d.jpg" % number)
        for number, (truth, mask) in enumerate(GOOD)
    ]
    combiner = iou_tfma.SumsCombiner(metric_types.MetricKey("_sums"), "", None)
    parts = [_sums(*extracts[start:end], num_classes=4) for start, end in ((0, 1), (1, 4), (4, 6))]
    whole = _sums(*extracts, num_classes=4)
    merged = combiner.merge_accumulators(iter([*parts, combiner.create_accumulator()]))
    for name in ("matrix", "boundary", "resampled"):
        assert getattr(merged.models[""], name).tolist() == getattr(whole.models[""], name).tolist()
    assert merged.scores == whole.scores
    assert parts[-1].models[""].matrix.tolist() == _matrix(GOOD[4:]).tolist()  # Beam may use it again: merging left it alone.
    assert combiner.merge_accumulators([]) == Sums()


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        pytest.param(_answer(MASK, b"no such thing"), r"001\.jpg: the candidate answered: no such thing", id="error"),
        pytest.param(_answer(MASK.T), r"001\.jpg: truth has shape \(2, 3\), the prediction \(3, 2\)", id="size"),
        pytest.param(
            _answer(MASK) | {"mask": np.array([b""], object)}, r"001\.jpg: the candidate's mask is no picture", id="empty"
        ),
        pytest.param({"mask": _answer(MASK)["mask"]}, r"001\.jpg: the candidate gives no error", id="output"),
        pytest.param(_answer(MASK + 2), r"001\.jpg: prediction has ids from 2 to 3", id="id"),
    ],
)
def test_answer_that_cannot_be_counted_is_an_error_that_names_the_file(prediction: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _sums(_extracts(LABEL, _answer(MASK), name=b"000.jpg"), _extracts(LABEL, prediction))


def test_example_without_a_file_name_is_spoken_of_all_the_same() -> None:
    with pytest.raises(ValueError, match=r"an example: the candidate answered: bad"):
        _sums(_extracts(LABEL, _answer(MASK, b"bad"), name=None))


def test_failures_add_up_to_a_count_and_the_same_twenty_names_in_any_order() -> None:
    parts = [Failures(1, (f"{number:03d}.jpg: bad",)) for number in range(50)]
    there, back = sum(parts, Failures()), sum(reversed(parts), Failures())
    assert there == back == Failures(50, tuple(f"{number:03d}.jpg: bad" for number in range(20)))
    assert str(there).startswith("50 images cannot be measured: 000.jpg: bad; 001.jpg: bad")


def test_metric_survives_the_json_of_an_eval_config() -> None:
    metric = iou_tfma.MeanIoU(CLASS_NAMES)
    restored = iou_tfma.MeanIoU.from_config(metric.get_config())
    assert restored.get_config() == metric.get_config()
    names = [key.name for computation in restored.computations(model_names=[""]) for key in computation.keys]
    assert names == ["_sums", *iou_tfma.metric_names(CLASS_NAMES), "confusion_matrix", "mean_iou_interval", "images"]


def _tfma_counts(metric: tfma.metrics.Metric, extracts: Sequence[dict[str, object]]) -> list[float]:
    """Drives one of TFMA's own segmentation metrics: its preprocessor, its combiner, its derived values."""
    matrix, derived = metric.computations(model_names=[""], output_names=[""])
    accumulator = matrix.combiner.create_accumulator()
    (preprocessor,) = matrix.preprocessors
    for one in extracts:
        for extract in preprocessor.process(one):
            accumulator = matrix.combiner.add_input(accumulator, metric_types.StandardMetricInputs(extract))
    values = derived.result(matrix.combiner.extract_output(accumulator))
    return [float(value) for _, value in sorted(values.items(), key=lambda item: item[0].sub_key.class_id)]


@pytest.mark.parametrize("make", [lambda: GOOD, lambda: POOR], ids=["good", "poor"])
def test_counts_are_those_of_tfmas_own_segmentation_metrics_on_the_same_extracts(make: Callable[[], Pairs]) -> None:
    extracts = [
        _extracts({"truth": np.array([_png(truth)], object)}, _answer(mask), b"%03d.jpg" % number)
        for number, (truth, mask) in enumerate(make())
    ]
    ours = [one | {"labels": one["labels"]["truth"]} for one in extracts]  # TFMA's metric wants a name; the bytes are the same.
    keys = {"ground_truth_key": "truth", "prediction_key": "mask", "decode_prediction": True, "ignore_ground_truth_id": V}
    right = _tfma_counts(tfma.metrics.SemanticSegmentationTruePositive(class_ids=[0, 1, 2], **keys), extracts)
    wrong = _tfma_counts(tfma.metrics.SemanticSegmentationFalsePositive(class_ids=[0, 1, 2], **keys), extracts)
    matrix = _sums(*ours).models[""].matrix
    assert np.diag(matrix).tolist() == right
    assert (matrix.sum(0) - np.diag(matrix)).tolist() == wrong
    assert sum(right) > 0 and sum(wrong) > 0
