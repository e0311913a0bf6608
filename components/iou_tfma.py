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

from components import boundary, features, image_scores, iou, progress, resampling
from components.evaluation import ImageScore, mask_digest

MASK_KEY = "mask"
ERROR_KEY = "error"
PROGRESS_UNIT = "images"

MATRIX = "confusion_matrix"
INTERVAL = "mean_iou_interval"
CHANGE_INTERVAL = "mean_iou_change_interval"
IMAGES = "images"


class MeanIoU(tfma.metrics.Metric):
    """The metric; labels are PNGs of ids, predictions what the model's byte signatures return.

    For each model: `mean_iou`, `pixel_accuracy`, `mean_accuracy`, `mean_dice`, `mean_boundary_iou`, for each class
    `iou/<class>`, `accuracy/<class>`, `dice/<class>` and `boundary_iou/<class>`, `confusion_matrix` int64 [C, C], and
    `mean_iou_interval` float64 [2]. For the candidate also `images`, JSON, and with a baseline `mean_iou_change_interval`, of
    the difference (TFMA's own differences are those of the intervals' ends, which is something else).

    Args:
        class_names: in the order of the ids.
        name: of the metric.
    """

    def __init__(self, class_names: Sequence[str], name: str = "mean_iou") -> None:
        """Hands its arguments to the base class, which puts them into the EvalConfig."""
        super().__init__(_computations, class_names=list(class_names), name=name)


@dataclasses.dataclass(frozen=True)
class ImageMeasures:
    """What one model did on one image.

    Attributes:
        matrix: int64 [C, C].
        boundary: int64 [2, C], see `boundary.boundary_counts`.
        mask_sha256: see `ImageScore`.
    """

    matrix: np.ndarray
    boundary: np.ndarray
    mask_sha256: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """An image, by all models; or why it could not be measured.

    Attributes:
        filename: the record's.
        models: by name.
        error: empty where all went well.
    """

    filename: str
    models: dict[str, ImageMeasures]
    error: str = ""


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
    keys = [
        metric_types.MetricKey(name=metric, model_name=model)
        for model in models
        for metric in (*metric_names(class_names, name), MATRIX, INTERVAL)
    ]
    candidate = next((model for model in models if model != tfma.BASELINE_KEY), "")
    keys.append(metric_types.MetricKey(name=IMAGES, model_name=candidate))
    if len(models) > 1:
        keys.append(metric_types.MetricKey(name=CHANGE_INTERVAL, model_name=candidate))

    def derive(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, Any]:
        return _derive(metrics[sums_key], class_names, name, candidate)

    return [
        metric_types.MetricComputation(
            keys=[sums_key], preprocessors=[Measure(models, len(class_names))], combiner=SumsCombiner(sums_key, models)
        ),
        metric_types.DerivedMetricComputation(keys=keys, result=derive),
    ]


def metric_names(class_names: Sequence[str], name: str = "mean_iou") -> list[str]:
    """Returns the names of the metrics that are numbers, in the order in which they are shown."""
    means = [name, "pixel_accuracy", "mean_accuracy", "mean_dice", "mean_boundary_iou"]
    return means + [f"{kind}/{one}" for kind in ("iou", "accuracy", "dice", "boundary_iou") for one in class_names]


class Measure(metric_types.Preprocessor):
    """From an example's extracts to its `Measured`, before TFMA deals it out to the slices: masks are decoded once.

    An example that cannot be measured fails the job, but only at its end: TFMA would put the whole pictures of an error in here
    into its message.

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

    def process(self, extracts: tfma.types.Extracts) -> Iterator[Measured]:
        """Measures an example."""
        self._done += 1
        if self._done % 10 == 0:
            progress.report(self._done, 0, PROGRESS_UNIT)
        name = _filename(extracts)
        try:
            yield Measured(name, {model: self._measure(extracts, model) for model in self._models})
        except ValueError as error:
            yield Measured(name, {}, str(error))

    def _measure(self, extracts: tfma.types.Extracts, model: str) -> ImageMeasures:
        label = _of_model(extracts[tfma.LABELS_KEY], model)
        prediction = _of_model(extracts[tfma.PREDICTIONS_KEY], model)
        error = _scalar(prediction[ERROR_KEY])
        if error:
            raise ValueError(f"the {model or tfma.CANDIDATE_KEY} answered: {error.decode()}")
        return measure(_scalar(label), _scalar(prediction[MASK_KEY]), self._num_classes)


@dataclasses.dataclass
class ModelSums:
    """What adds up of one model.

    Attributes:
        matrix: int64 [C, C].
        boundary: int64 [2, C].
        resampled: int64 [R, 3, C], `resampling.margins` of each resample.
    """

    matrix: np.ndarray
    boundary: np.ndarray
    resampled: np.ndarray

    def __add__(self, other: "ModelSums") -> "ModelSums":
        """Adds them."""
        return ModelSums(self.matrix + other.matrix, self.boundary + other.boundary, self.resampled + other.resampled)


@dataclasses.dataclass
class Sums:
    """Of all models on a slice.

    Attributes:
        models: by name; empty before the first image.
        scores: of single images, see `image_scores`.
        errors: what went wrong with examples.
    """

    models: dict[str, ModelSums] = dataclasses.field(default_factory=dict)
    scores: dict[str, ImageScore] = dataclasses.field(default_factory=dict)
    errors: tuple[str, ...] = ()


class SumsCombiner(beam.CombineFn):
    """Adds up `Measured`.

    Args:
        key: of the result.
        models: their names.
    """

    def __init__(self, key: metric_types.MetricKey, models: Sequence[str]) -> None:
        """Keeps the arguments."""
        self._key = key
        self._models = models

    def create_accumulator(self) -> Sums:
        """Returns nothing yet."""
        return Sums()

    def add_input(self, sums: Sums, measured: Measured) -> Sums:
        """Adds an image."""
        if measured.error:
            return dataclasses.replace(sums, errors=(*sums.errors, f"{measured.filename}: {measured.error}"))
        drawn = resampling.weights(measured.filename)[:, np.newaxis, np.newaxis]
        added = {
            model: ModelSums(one.matrix, one.boundary, drawn * resampling.margins(one.matrix))
            for model, one in measured.models.items()
        }
        return self.merge_accumulators([sums, Sums(added, {measured.filename: _score(measured, self._models)})])

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        """Adds sums, and keeps what is worth it of the scores."""
        merged = Sums()
        for other in accumulators:
            for model, sums in other.models.items():
                merged.models[model] = merged.models[model] + sums if model in merged.models else sums
            merged.scores |= other.scores
            merged.errors += other.errors
        if len(merged.scores) > 2 * image_scores.SAMPLE:  # Not at each image: it sorts.
            merged.scores = image_scores.keep(merged.scores)
        return merged

    def extract_output(self, sums: Sums) -> dict[metric_types.MetricKey, Sums]:
        """Returns the sums by the key.

        Raises:
            ValueError: examples could not be measured; the message names them.
        """
        if sums.errors:
            listed = "; ".join(sorted(sums.errors)[:20])
            raise ValueError(f"{len(sums.errors)} examples cannot be measured: {listed}")
        return {self._key: sums}


def _score(measured: Measured, models: Sequence[str]) -> ImageScore:
    values: dict[str, float | None] = {}
    for model in models:
        value = iou.mean_iou(measured.models[model].matrix)
        values["baseline" if model == tfma.BASELINE_KEY else "candidate"] = None if np.isnan(value) else value
    candidate = next(model for model in models if model != tfma.BASELINE_KEY)
    return ImageScore(
        filename=measured.filename,
        mean_iou=values["candidate"],
        baseline_mean_iou=values.get("baseline"),
        mask_sha256=measured.models[candidate].mask_sha256,
    )


def _derive(sums: Sums, class_names: Sequence[str], name: str, candidate: str) -> dict[metric_types.MetricKey, Any]:
    """Returns the metrics of all models by their keys."""
    derived: dict[metric_types.MetricKey, Any] = {}
    scores = {model: resampling.mean_ious(one.resampled) for model, one in sums.models.items()}
    for model, one in sums.models.items():
        values = _ratios(one, class_names, name) | {MATRIX: one.matrix, INTERVAL: np.array(resampling.interval(scores[model]))}
        derived |= {metric_types.MetricKey(name=metric, model_name=model): value for metric, value in values.items()}
    kept = [dataclasses.asdict(score) for score in image_scores.ordered(image_scores.keep(sums.scores))]
    derived[metric_types.MetricKey(name=IMAGES, model_name=candidate)] = json.dumps(kept)
    if len(scores) > 1:
        change = np.array(resampling.interval(scores[candidate] - scores[tfma.BASELINE_KEY]))
        derived[metric_types.MetricKey(name=CHANGE_INTERVAL, model_name=candidate)] = change
    return derived


def _ratios(sums: ModelSums, class_names: Sequence[str], name: str) -> dict[str, float]:
    by_class = {
        "iou": iou.iou(sums.matrix),
        "accuracy": iou.accuracy(sums.matrix),
        "dice": iou.dice(sums.matrix),
        "boundary_iou": boundary.boundary_iou(sums.boundary),
    }
    means = {
        name: iou.mean(by_class["iou"]),
        "pixel_accuracy": iou.pixel_accuracy(sums.matrix),
        "mean_accuracy": iou.mean(by_class["accuracy"]),
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
