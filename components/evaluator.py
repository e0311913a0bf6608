"""Evaluator: TFMA at the pictures' own size through the serving signature, then the gate, and both written down."""

import dataclasses
import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils, path_utils, proto_utils

from components import blessings, extractors, features, gate, iou_tfma, progress, records, slices
from components.evaluation import OVERALL, Evaluation, ImageScore, Measured, Slice, write_evaluation
from pipeline_config import EvaluateConfig, from_json

CANDIDATE, BASELINE = tfma.CANDIDATE_KEY, tfma.BASELINE_KEY
SIGNATURE = "serving_examples"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatorConfig:
    """What reaches the executor, as JSON.

    Attributes:
        evaluate: floors and tolerances.
        class_names: in the order of the ids.
    """

    evaluate: EvaluateConfig
    class_names: tuple[str, ...]


def make_eval_config(class_names: Sequence[str]) -> tfma.EvalConfig:
    """Returns what TFMA measures. It has no thresholds: the gate decides, which knows words, classes and absent values.

    Args:
        class_names: in the order of the ids.
    """
    metric = tfma.MetricConfig(
        class_name=iou_tfma.MeanIoU.__name__,
        module=iou_tfma.__name__,
        config=json.dumps({"class_names": list(class_names), "name": "mean_iou"}),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(name=name, signature_name=SIGNATURE, label_key=features.LABEL, is_baseline=name == BASELINE)
            for name in (CANDIDATE, BASELINE)
        ],
        slicing_specs=[tfma.SlicingSpec(), *(tfma.SlicingSpec(feature_keys=[group]) for group in slices.GROUPS)],
        metrics_specs=[tfma.MetricsSpec(metrics=[metric, tfma.MetricConfig(class_name="ExampleCount")])],
    )


@dataclasses.dataclass(frozen=True)
class Findings:
    """What TFMA measured.

    Attributes:
        overall: all images.
        slices: the others, by group and value.
        change_interval: of the whole's change, or None without a baseline.
        images: the scores of images.
        baseline_problem: why the baseline's measures are left out, though there is one; else empty.
    """

    overall: Slice
    slices: tuple[Slice, ...]
    change_interval: tuple[float, float] | None
    images: tuple[ImageScore, ...]
    baseline_problem: str


def read_findings(folder: str, class_names: Sequence[str]) -> Findings:
    """Reads what TFMA wrote.

    Args:
        folder: of the Evaluation artifact.
        class_names: in the order of the ids.
    """
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in tfma.load_metrics(folder):
        keys = record.slice_key.single_slice_keys
        values: dict[str, dict[str, Any]] = {CANDIDATE: {}, BASELINE: {}}
        for metric in record.metric_keys_and_values:
            if not metric.key.is_diff:
                values[metric.key.model_name or CANDIDATE][metric.key.name] = _value(metric.value)
        found[(keys[0].column, keys[0].bytes_value.decode()) if keys else (OVERALL, "")] = values
    whole = found.pop((OVERALL, ""))
    problem = whole[CANDIDATE].get(iou_tfma.BASELINE_PROBLEM, "")
    images = tuple(ImageScore(**image) for image in json.loads(whole[CANDIDATE][iou_tfma.IMAGES]))
    if problem:
        images = tuple(dataclasses.replace(image, baseline_mean_iou=None) for image in images)
        problem = f"the baseline cannot answer the pictures of this data, and is not compared with: {problem}"
        for values in (whole, *found.values()):
            values[BASELINE] = {}
    others = sorted(found, key=lambda key: slices.order(key[0], key[1], class_names))
    return Findings(
        overall=_slice((OVERALL, ""), whole, class_names),
        slices=tuple(_slice(key, found[key], class_names) for key in others),
        change_interval=_interval(whole[CANDIDATE].get(iou_tfma.CHANGE_INTERVAL)),
        images=images,
        baseline_problem=problem,
    )


def _slice(key: tuple[str, str], values: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> Slice:
    candidate, baseline = (
        _measured(values[model], class_names, whole=key[0] == OVERALL) if values[model] else None
        for model in (CANDIDATE, BASELINE)
    )
    assert candidate is not None
    return Slice(group=key[0], value=key[1], candidate=candidate, baseline=baseline)


def _value(value: metrics_for_slice_pb2.MetricValue) -> Any:
    kind = value.WhichOneof("type")
    if kind == "array_value":
        array = value.array_value
        flat = array.int64_values if array.data_type == array.INT64 else array.float64_values
        return np.array(flat).reshape(list(array.shape))
    return value.bytes_value.decode() if kind == "bytes_value" else value.double_value.value


def _measured(values: Mapping[str, Any], class_names: Sequence[str], whole: bool) -> Measured:
    names = [*iou_tfma.metric_names(class_names), "example_count"]
    return Measured(
        metrics={name: _finite(values[name]) for name in names},
        confusion_matrix=values[iou_tfma.MATRIX].tolist() if whole else None,
        interval=_interval(values[iou_tfma.INTERVAL]),
    )


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else value


def _interval(values: np.ndarray | None) -> tuple[float, float] | None:
    return None if values is None or np.isnan(values).any() else (float(values[0]), float(values[1]))


def problem_of_baseline(uri: str, class_names: Sequence[str]) -> str:
    """Returns why a model cannot be compared with, in words; empty where it can.

    Args:
        uri: of its Model artifact.
        class_names: the candidate's.
    """
    folder = path_utils.serving_model_path(uri)
    try:
        signatures = tf.saved_model.load(folder).signatures
        theirs = _classes_of(folder)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise  # Of damage TensorFlow speaks without a number; one is the system's, as for a lack of permission.
        text = (str(error).splitlines() or [""])[0][:200]
        return f"the baseline, {folder}, no longer loads and is not compared with: {type(error).__name__}: {text}"
    if SIGNATURE not in signatures:
        return f"the baseline, {folder}, has no signature {SIGNATURE} and is not compared with"
    if theirs is not None and theirs != list(class_names):
        return f"the baseline knows other classes ({', '.join(theirs)}) and is not compared with"
    return ""


_DAMAGE = (
    OSError,
    ValueError,  # JSON's and UTF-8's errors are such.
    LookupError,
    TypeError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    tf.errors.OutOfRangeError,
)
"""What damaged files raise. What may pass, as a full memory or a store that is silent, fails the run: it can be run again."""


def _classes_of(folder: str) -> list[str] | None:
    """Returns the names in a model's metadata; None for one that has none."""
    metadata = os.path.join(folder, features.METADATA_FILE)
    if not fileio.exists(metadata):
        return None
    with fileio.open(metadata) as file:
        names = json.load(file)["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{metadata} has no list of class names")
    return names


class Executor(tfx_executor.Executor):
    """TFX's executor on the test split, or on the validation split of a data set that has no test; then the gate."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates, judges, writes `evaluation.json`, and notes on the blessing what was decided and why."""
        config = from_json(EvaluatorConfig, exec_properties["settings"])
        splits = artifact_utils.decode_split_names(input_dict["examples"][0].split_names)
        split = features.TEST_SPLIT if features.TEST_SPLIT in splits else features.EVAL_SPLIT
        files = records.list_files([f"{uri}/*" for uri in artifact_utils.get_split_uris(input_dict["examples"], split)])
        baselines = input_dict.get("baseline_model") or []
        problem = problem_of_baseline(baselines[0].uri, config.class_names) if baselines else ""
        used = [] if problem else baselines
        progress.report(0, records.count_records(files), iou_tfma.PROGRESS_UNIT)  # The metric does not know how many come.
        properties = {
            standard_component_specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(make_eval_config(config.class_names)),
            standard_component_specs.EXAMPLE_SPLITS_KEY: json_utils.dumps([split]),
            "custom_extractors": f"{extractors.__name__}.{extractors.make_extractors.__name__}",
        }
        super().Do({**input_dict, "baseline_model": used}, output_dict, {**exec_properties, **properties})
        (evaluation,) = output_dict["evaluation"]
        found = read_findings(evaluation.uri, config.class_names)
        problem = problem or found.baseline_problem
        overall = found.overall
        decision = gate.judge(overall.candidate, overall.baseline, split, config.evaluate, config.class_names, problem)
        written = Evaluation(
            split=split,
            class_names=config.class_names,
            overall=overall,
            change_interval=found.change_interval,
            slices=found.slices,
            images=found.images,
            blessed=decision.blessed,
            reasons=decision.reasons,
            refusals=decision.refusals,
        )
        write_evaluation(written, evaluation.uri)
        _bless(output_dict["blessing"][0], decision, input_dict["model"][0], used[0] if overall.baseline else None)


def _bless(blessing: types.Artifact, decision: gate.Decision, model: types.Artifact, baseline: types.Artifact | None) -> None:
    """Fills a blessing in as TFX's own executor does, and adds the reasons."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
    verdict = constants.BLESSED_VALUE if decision.blessed else constants.NOT_BLESSED_VALUE
    name = constants.BLESSED_FILE_NAME if decision.blessed else constants.NOT_BLESSED_FILE_NAME
    reasons = "\n".join(decision.reasons)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, verdict)
    blessing.set_string_custom_property(blessings.REASONS, reasons)
    fileio.makedirs(blessing.uri)
    with fileio.open(os.path.join(blessing.uri, name), "w") as file:
        file.write(reasons + "\n")


class EvaluatorSpec(component_spec.ComponentSpec):
    """The component's inputs, outputs and execution properties."""

    PARAMETERS = {  # noqa: RUF012 - so TFX has it
        "settings": component_spec.ExecutionParameter(type=str),
        "code_digest": component_spec.ExecutionParameter(type=str),  # Only there for the cache.
    }
    INPUTS = {  # noqa: RUF012
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """The component.

    Args:
        examples: ExampleGen's.
        model: the candidate.
        baseline_model: what it is compared with, if there is one.
        settings: an `EvaluatorConfig` as JSON.
        code_digest: of this module.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        settings: str,
        code_digest: str,
    ) -> None:
        """Makes the outputs' channels."""
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                settings=settings,
                code_digest=code_digest,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
