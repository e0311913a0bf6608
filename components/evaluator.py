"""Evaluator: TFMA at the pictures' own size through the serving signature, and the thresholds of the gate."""

import json
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2
from tfx import types
from tfx.components.evaluator import component as tfx_evaluator
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils
from tfx.utils import json_utils

from components import features, iou_tfma, progress, records
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
        files = records.list_files([f"{uri}/*" for uri in artifact_utils.get_split_uris(input_dict["examples"], split)])
        progress.report(0, records.count_records(files), iou_tfma.PROGRESS_UNIT)  # The metric does not know how many come.
        super().Do(input_dict, output_dict, exec_properties | {"example_splits": json_utils.dumps([split])})


class Evaluator(tfx_evaluator.Evaluator):
    """TFX's Evaluator with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
