"""Evaluator: TFMA at the pictures' own size through the serving signature, thresholds, and the verdict in words."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2
from tfx import types
from tfx.components.evaluator import component as tfx_evaluator
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils
from tfx.utils import json_utils

from components import features, iou_tfma
from pipeline_config import EvaluateConfig

CANDIDATE, BASELINE = tfma.CANDIDATE_KEY, tfma.BASELINE_KEY
SPLIT_PROPERTY = "evaluated_split"


def make_eval_config(config: EvaluateConfig, class_names: Sequence[str], code_digest: str) -> tfma.EvalConfig:
    """Returns what TFMA measures and demands.

    Thresholds hold for the whole only: an empty slicing spec in `per_slice_thresholds`, since `threshold` would hold on every
    slice. Without a baseline TFX skips the change threshold.

    Args:
        config: the floor and the drop that is borne.
        class_names: in the order of the ids.
        code_digest: of the metric.
    """
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound=wrappers_pb2.DoubleValue(value=config.min_mean_iou)),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute=wrappers_pb2.DoubleValue(value=-config.max_mean_iou_drop),
        ),
    )
    metric = tfma.MetricConfig(
        class_name=iou_tfma.MeanIoU.__name__,
        module=iou_tfma.__name__,
        config=json.dumps({"class_names": list(class_names), "code_digest": code_digest, "name": "mean_iou"}),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(name=name, signature_name="serving_examples", label_key=features.LABEL, is_baseline=name == BASELINE)
            for name in (CANDIDATE, BASELINE)
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name=metric.class_name,
                        module=metric.module,
                        config=metric.config,
                        per_slice_thresholds=[
                            tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)
                        ],
                    ),
                    tfma.MetricConfig(class_name="ExampleCount"),
                ]
            )
        ],
    )


class Executor(tfx_executor.Executor):
    """TFX's executor on the test split, or on the validation split of a data set that has no test."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates, and notes on the evaluation which split it was."""
        splits = artifact_utils.decode_split_names(input_dict["examples"][0].split_names)
        split = features.TEST_SPLIT if features.TEST_SPLIT in splits else features.EVAL_SPLIT
        output_dict["evaluation"][0].set_string_custom_property(SPLIT_PROPERTY, split)
        super().Do(input_dict, output_dict, exec_properties | {"example_splits": json_utils.dumps([split])})


class Evaluator(tfx_evaluator.Evaluator):
    """TFX's Evaluator with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)


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
                target = baseline if metric.key.model_name == BASELINE else candidate
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
