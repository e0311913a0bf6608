"""The Evaluator's verdict, in numbers and in words."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import tensorflow_model_analysis as tfma

from components import features
from pipeline_config import EvaluateConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decided.

    Attributes:
        blessed: whether the model may be pushed.
        split: the split that was measured, test or eval.
        metrics: the candidate's `mean_iou`, `pixel_accuracy`, `mean_accuracy`, `iou/<class>` (NaN: absent), `example_count`.
        baseline: the same of the baseline, or None where there was none.
        reasons: why, in words.
    """

    blessed: bool
    split: str
    metrics: dict[str, float]
    baseline: dict[str, float] | None
    reasons: tuple[str, ...]


def read_verdict(evaluation_uri: str, split: str, config: EvaluateConfig, class_names: Sequence[str]) -> Verdict:
    """Reads what the Evaluator wrote.

    Args:
        evaluation_uri: of its ModelEvaluation artifact.
        split: that it measured.
        config: the thresholds that it applied.
        class_names: in the order of the ids.
    """
    candidate: dict[str, float] = {}
    baseline: dict[str, float] = {}
    for record in tfma.load_metrics(evaluation_uri):
        if record.slice_key.single_slice_keys:
            continue
        for metric in record.metric_keys_and_values:
            if not metric.key.is_diff:
                target = baseline if metric.key.model_name == tfma.BASELINE_KEY else candidate
                target[metric.key.name] = metric.value.double_value.value
    blessed = tfma.load_validation_result(evaluation_uri).validation_ok
    reasons = explain(candidate, baseline or None, split, config)
    order = ["mean_iou", "pixel_accuracy", "mean_accuracy", *(f"iou/{name}" for name in class_names), "example_count"]
    candidate, baseline = ({name: found[name] for name in order if name in found} for found in (candidate, baseline))
    return Verdict(blessed=blessed, split=split, metrics=candidate, baseline=baseline or None, reasons=reasons)


def explain(
    candidate: Mapping[str, float], baseline: Mapping[str, float] | None, split: str, config: EvaluateConfig
) -> tuple[str, ...]:
    """Returns the gate's reasons in words, whichever way they point.

    Args:
        candidate: its metrics.
        baseline: the baseline's, or None.
        split: that was measured.
        config: the thresholds.
    """
    score = candidate["mean_iou"]
    if math.isnan(score):
        return ("the mean IoU is not a number: there was no pixel to measure",)
    floor = "reaches" if score >= config.min_mean_iou else "is below"
    reasons = [f"mean IoU {score:.4f} {floor} the floor of {config.min_mean_iou:.4f}"]
    if baseline is None:
        reasons.append("there is no earlier blessed model to compare with")
    else:
        change = score - baseline["mean_iou"]
        allowed = f"allowed to fall by {100 * config.max_mean_iou_drop:.2f}"
        reasons.append(f"{100 * change:+.2f} points against the baseline's {baseline['mean_iou']:.4f} ({allowed})")
    if split != features.TEST_SPLIT:
        reasons.append("measured on the validation split, which also chose the epoch: the data set has no test split")
    return tuple(reasons)
