"""Mean IoU and its relatives as one TFMA metric: one pass, one confusion matrix a model and slice, and what follows from it.

Keys are plain, so that whoever reads TFMA's files finds them (those of TFMA's own segmentation metrics carry a class id).
"""

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from components import boundary, features, image_scores, iou, iou_sums, progress, resampling
from components.evaluation import mask_digest
from components.iou_sums import ImageMeasures, MeasuredImage, ModelSums, Sums

MASK_KEY = "mask"
ERROR_KEY = "error"
PROGRESS_UNIT = "images"

MATRIX = "confusion_matrix"
INTERVAL = "mean_iou_interval"
CHANGE_INTERVAL = "mean_iou_change_interval"
IMAGES = "images"
BASELINE_PROBLEM = "baseline_problem"


class MeanIoU(tfma.metrics.Metric):
    """The metric; labels are PNGs of ids, predictions what the model's byte signatures return.

    For each model: `mean_iou`, `pixel_accuracy`, `mean_accuracy`, `mean_dice`, `mean_boundary_iou`, for each class
    `iou/<class>`, `accuracy/<class>`, `dice/<class>` and `boundary_iou/<class>`, `confusion_matrix` int64 [C, C], and
    `mean_iou_interval` float64 [2]. For the candidate also `images`, JSON, and with a baseline `mean_iou_change_interval`, of
    the difference (TFMA's own differences are those of the intervals' ends, which is something else). Where the baseline did
    not answer all images, `baseline_problem` says so, and what there is of its metrics must not be compared with.

    Args:
        class_names: in the order of the ids.
        name: of the metric.
    """

    def __init__(self, class_names: Sequence[str], name: str = "mean_iou") -> None:
        """Hands its arguments to the base class, which puts them into the EvalConfig."""
        super().__init__(_computations, class_names=list(class_names), name=name)


def measure(label: bytes, mask: bytes, num_classes: int) -> ImageMeasures:
    """Measures one answer of a model.

    Args:
        label: PNG of ids, 255 where void.
        mask: PNG of ids.
        num_classes: C.

    Raises:
        ValueError: the sizes differ, or an id is out of range.
    """
    truth, prediction = _ids(label), _ids(mask)
    matrix = iou.confusion_matrix(truth, prediction, num_classes)
    counts = boundary.boundary_counts(truth, prediction, num_classes)
    return ImageMeasures(matrix, counts, mask_digest(prediction))


def _computations(
    class_names: Sequence[str],
    name: str = "mean_iou",
    model_names: Iterable[str] | None = None,
    **_: Any,
) -> list[Any]:
    """Returns the computation of the sums, of all models at once, and the one that derives the metrics."""
    models = tuple(model_names or [""])
    sums_key = metric_types.MetricKey(name="_sums")
    candidate = next((model for model in models if model != tfma.BASELINE_KEY), "")
    keys = [
        metric_types.MetricKey(name=metric, model_name=model)
        for model in models
        for metric in (*metric_names(class_names, name), MATRIX, INTERVAL)
    ]
    extra = (IMAGES, CHANGE_INTERVAL, BASELINE_PROBLEM) if len(models) > 1 else (IMAGES,)
    keys += [metric_types.MetricKey(name=metric, model_name=candidate) for metric in extra]

    def derive(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, Any]:
        return _derive(metrics[sums_key], class_names, name, candidate)

    return [
        metric_types.MetricComputation(
            keys=[sums_key],
            preprocessors=[Measure(models, len(class_names))],
            combiner=SumsCombiner(sums_key, candidate, tfma.BASELINE_KEY if len(models) > 1 else None),
        ),
        metric_types.DerivedMetricComputation(keys=keys, result=derive),
    ]


def metric_names(class_names: Sequence[str], name: str = "mean_iou") -> list[str]:
    """Returns the names of the metrics that are numbers, in the order in which they are shown."""
    means = [name, "pixel_accuracy", "mean_accuracy", "mean_dice", "mean_boundary_iou"]
    return means + [f"{kind}/{one}" for kind in ("iou", "accuracy", "dice", "boundary_iou") for one in class_names]


class Measure(metric_types.Preprocessor):
    """From an example's extracts to its `MeasuredImage`, before TFMA deals it out to the slices: masks are decoded once.

    An answer that cannot be measured is noted, and fails the job at its end if it is the candidate's: TFMA would put the whole
    pictures of an error in here into its message.

    Args:
        models: their names; one alone is "".
        num_classes: C.
    """

    def __init__(self, models: Sequence[str], num_classes: int) -> None:
        """Keeps the arguments."""
        super().__init__(models=models, num_classes=num_classes)
        self._models = models
        self._num_classes = num_classes
        self._done = 0

    def process(self, extracts: tfma.types.Extracts) -> Iterator[MeasuredImage]:
        """Measures an example."""
        self._done += 1
        if self._done % 10 == 0:
            progress.report(self._done, 0, PROGRESS_UNIT)
        measured: dict[str, ImageMeasures] = {}
        errors: dict[str, str] = {}
        for model in self._models:
            try:
                measured[model] = self._measure(extracts, model)
            except ValueError as error:
                errors[model] = str(error)
        yield MeasuredImage(_filename(extracts), measured, errors)

    def _measure(self, extracts: tfma.types.Extracts, model: str) -> ImageMeasures:
        label = _of_model(extracts[tfma.LABELS_KEY], model)
        prediction = _of_model(extracts[tfma.PREDICTIONS_KEY], model)
        for key in (ERROR_KEY, MASK_KEY):
            if key not in prediction:
                raise ValueError(f"the {model or tfma.CANDIDATE_KEY} gives no {key}")
        error = _scalar(prediction[ERROR_KEY])
        if error:
            raise ValueError(f"the {model or tfma.CANDIDATE_KEY} answered: {error.decode()}")
        try:
            return measure(_scalar(label), _scalar(prediction[MASK_KEY]), self._num_classes)
        except (OSError, SyntaxError) as broken:  # What Pillow raises over what is no picture.
            raise ValueError(f"the {model or tfma.CANDIDATE_KEY}'s mask is no picture") from broken


class SumsCombiner(beam.CombineFn):
    """Adds up `MeasuredImage`.

    Args:
        key: of the result.
        candidate: the model's name.
        baseline: the other's, if there is one.
    """

    def __init__(self, key: metric_types.MetricKey, candidate: str, baseline: str | None) -> None:
        """Keeps the arguments."""
        self._key = key
        self._candidate = candidate
        self._baseline = baseline

    def create_accumulator(self) -> Sums:
        """Returns nothing yet."""
        return Sums()

    def add_input(self, sums: Sums, image: MeasuredImage) -> Sums:
        """Adds an image."""
        return iou_sums.merge([sums, iou_sums.sums_of(image, self._candidate, self._baseline)])

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        """Adds sums."""
        return iou_sums.merge(accumulators)

    def extract_output(self, sums: Sums) -> dict[metric_types.MetricKey, Sums]:
        """Returns the sums by the key.

        Raises:
            ValueError: the candidate could not be measured on all examples; the message names some.
        """
        if self._candidate in sums.failures:
            raise ValueError(str(sums.failures[self._candidate]))
        return {self._key: sums}


def _derive(sums: Sums, class_names: Sequence[str], name: str, candidate: str) -> dict[metric_types.MetricKey, Any]:
    """Returns the metrics of all models by their keys."""
    derived: dict[metric_types.MetricKey, Any] = {}
    scores = {model: resampling.mean_ious(one.resampled) for model, one in sums.models.items()}
    for model, one in sums.models.items():
        values = _ratios(one, class_names, name) | {MATRIX: one.matrix, INTERVAL: np.array(resampling.interval(scores[model]))}
        derived |= {metric_types.MetricKey(name=metric, model_name=model): value for metric, value in values.items()}
    kept = [dataclasses.asdict(score) for score in image_scores.ordered(image_scores.keep(sums.scores))]
    extra: dict[str, Any] = {IMAGES: json.dumps(kept)}
    if tfma.BASELINE_KEY in sums.failures:
        extra[BASELINE_PROBLEM] = str(sums.failures[tfma.BASELINE_KEY])
    elif tfma.BASELINE_KEY in scores:
        extra[CHANGE_INTERVAL] = np.array(resampling.interval(scores[candidate] - scores[tfma.BASELINE_KEY]))
    return derived | {metric_types.MetricKey(name=metric, model_name=candidate): value for metric, value in extra.items()}


def _ratios(sums: ModelSums, class_names: Sequence[str], name: str) -> dict[str, float]:
    by_class = {
        "iou": iou.iou(sums.matrix),
        "accuracy": iou.accuracy(sums.matrix),
        "dice": iou.dice(sums.matrix),
        "boundary_iou": boundary.boundary_iou(sums.boundary),
    }
    means = {
        name: iou.mean_iou(sums.matrix),
        "pixel_accuracy": iou.pixel_accuracy(sums.matrix),
        "mean_accuracy": iou.mean_accuracy(sums.matrix),
        "mean_dice": iou.mean(by_class["dice"]),
        "mean_boundary_iou": iou.mean(by_class["boundary_iou"]),
    }
    return means | {
        f"{kind}/{one}": float(value)
        for kind, values in by_class.items()
        for one, value in zip(class_names, values, strict=True)
    }


def _of_model(value: Any, model_name: str) -> Any:
    """Selects a model's value: with a baseline, TFMA hands dictionaries by model name, without one the value itself."""
    return value[model_name] if isinstance(value, dict) and model_name in value else value


def _scalar(value: Any) -> bytes:
    return np.asarray(value).reshape(-1)[0]


def _ids(encoded: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def _filename(extracts: tfma.types.Extracts) -> str:
    names = extracts[tfma.FEATURES_KEY].get(features.FILENAME)
    return "an example" if names is None else _scalar(names).decode()
