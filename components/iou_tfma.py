"""Mean IoU and its relatives as one TFMA metric: `mean_iou`, `pixel_accuracy`, `mean_accuracy`, `iou/<class>`.

Keys are plain, so that thresholds find them (those of TFMA's own segmentation metrics carry a class id and cannot gate).
"""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from components import features, iou, progress

MASK_KEY = "mask"
ERROR_KEY = "error"
PROGRESS_UNIT = "images"


class MeanIoU(tfma.metrics.Metric):
    """The metric; labels are PNGs of ids, predictions what the model's byte signatures return.

    Args:
        class_names: in the order of the ids.
        code_digest: of this module; only there so that TFX's cache notices a change in it.
        name: of the metric.
    """

    def __init__(self, class_names: Sequence[str], code_digest: str = "", name: str = "mean_iou") -> None:
        """Hands its arguments to the base class, which puts them into the EvalConfig."""
        super().__init__(_computations, class_names=list(class_names), code_digest=code_digest, name=name)


def _computations(
    class_names: Sequence[str],
    code_digest: str = "",
    name: str = "mean_iou",
    model_names: Iterable[str] | None = None,
    output_names: Iterable[str] | None = None,
    example_weighted: bool = False,
    **_: Any,
) -> list[Any]:
    """Returns, for each model, the matrix's computation and the ratios derived from it."""
    del code_digest, output_names, example_weighted
    return [made for model_name in model_names or [""] for made in _model_computations(class_names, name, model_name)]


def _model_computations(class_names: Sequence[str], name: str, model_name: str) -> list[Any]:
    def key(metric: str) -> metric_types.MetricKey:
        return metric_types.MetricKey(name=metric, model_name=model_name)

    matrix_key = key("_confusion_matrix")
    ratios = {
        key(name): iou.mean_iou,
        key("pixel_accuracy"): iou.pixel_accuracy,
        key("mean_accuracy"): iou.mean_accuracy,
    }
    class_keys = [key(f"iou/{class_name}") for class_name in class_names]

    def derive(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, Any]:
        matrix = metrics[matrix_key]
        values = {ratio: function(matrix) for ratio, function in ratios.items()}
        return values | dict(zip(class_keys, iou.iou(matrix).tolist(), strict=True))

    return [
        metric_types.MetricComputation(
            keys=[matrix_key],
            # Labels and predictions come by themselves; the file's name is for messages.
            preprocessors=[metric_types.StandardMetricInputsPreprocessor({tfma.FEATURES_KEY: {features.FILENAME: {}}})],
            combiner=ConfusionMatrixCombiner(matrix_key, len(class_names)),
        ),
        metric_types.DerivedMetricComputation(keys=[*ratios, *class_keys], result=derive),
    ]


Accumulator = tuple[np.ndarray, tuple[str, ...]]
"""The matrix, int64 [C, C], and what went wrong with an example, if anything did."""


class ConfusionMatrixCombiner(beam.CombineFn):
    """Adds up the matrix of one model.

    An example that cannot be measured fails the job, but only at its end: TFMA would put the whole pictures of an error in
    `add_input` into its message.

    Args:
        key: the matrix's; its model name says whose predictions count, where there is a baseline beside the candidate.
        num_classes: C.
    """

    def __init__(self, key: metric_types.MetricKey, num_classes: int) -> None:
        """Keeps the arguments."""
        self._key = key
        self._num_classes = num_classes
        self._done = 0

    def create_accumulator(self) -> Accumulator:
        """Returns zeros, and no errors."""
        return np.zeros((self._num_classes, self._num_classes), np.int64), ()

    def add_input(self, accumulator: Accumulator, element: metric_types.StandardMetricInputs) -> Accumulator:
        """Adds an example."""
        matrix, errors = accumulator
        try:
            matrix = matrix + self._measure(element)
        except ValueError as error:
            errors = (*errors, f"{_filename(element)}: {error}")
        self._done += 1
        if self._done % 10 == 0:
            progress.report(self._done, 0, PROGRESS_UNIT)
        return matrix, errors

    def _measure(self, element: metric_types.StandardMetricInputs) -> np.ndarray:
        """Returns an example's matrix; raises ValueError where the model answered with an error or a mask of another size."""
        label = _of_model(element.get_labels(), self._key.model_name)
        prediction = _of_model(element.get_predictions(), self._key.model_name)
        error = _scalar(prediction[ERROR_KEY])
        if error:
            raise ValueError(f"the model answered: {error.decode()}")
        return iou.confusion_matrix(_ids(_scalar(label)), _ids(_scalar(prediction[MASK_KEY])), self._num_classes)

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Adds the matrices and joins the errors."""
        matrix, errors = self.create_accumulator()
        for other_matrix, other_errors in accumulators:
            matrix, errors = matrix + other_matrix, errors + other_errors
        return matrix, errors

    def extract_output(self, accumulator: Accumulator) -> dict[metric_types.MetricKey, np.ndarray]:
        """Returns the matrix, int64 [C, C], by its key.

        Raises:
            ValueError: examples could not be measured; the message names them.
        """
        matrix, errors = accumulator
        if errors:
            raise ValueError(f"{len(errors)} examples cannot be measured: " + "; ".join(sorted(errors)[:20]))
        return {self._key: matrix}


def _of_model(value: Any, model_name: str) -> Any:
    """Selects a model's value: with a baseline, TFMA hands dictionaries by model name, without one the value itself."""
    return value[model_name] if isinstance(value, dict) and model_name in value else value


def _scalar(value: Any) -> bytes:
    return np.asarray(value).reshape(-1)[0]


def _ids(encoded: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def _filename(element: metric_types.StandardMetricInputs) -> str:
    names = (element.get_features() or {}).get(features.FILENAME)
    return "an example" if names is None else _scalar(names).decode()
