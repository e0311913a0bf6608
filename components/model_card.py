"""ModelCard: what a model is, what it learned from, how well it does and where it fails, in a file that travels with it.

The questions are those of Mitchell et al. 2019, Model Cards for Model Reporting (https://arxiv.org/abs/1810.03993), the names
of the sections like those of TensorFlow's Model Card Toolkit. A card has no time in it: the same steps make the same card.
"""

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Sequence
from typing import Any

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts

from components import features, licences
from components.base_model import CONFIG_FILE
from components.card_files import HTML_FILE, JSON_FILE, ModelCard
from components.datasets import report
from components.evaluation import Evaluation, Measured, Slice, read_evaluation
from components.example_gen import DataReport, read_report
from components.model_card_page import to_html
from components.trainer import TrainerConfig
from pipeline_config import CardConfig, from_json

SCHEMA_VERSION = 1
LOW_IOU = 0.5
"""Classes below it are named among the limits."""
FEW_PICTURES = 20
"""A class in fewer pictures of the evaluated split is named among the limits; a slice of fewer is not among the worst."""
WORST_SLICES = 3

_COUNT = "example_count"
_LIBRARIES = ("tensorflow", "keras", "tfx")
_SPLITS = {features.TEST_SPLIT: "test", features.EVAL_SPLIT: "validation"}
"""The report's name of the evaluated split."""

_OUT_OF_SCOPE = (
    "Pictures of another kind than it learned from, of other places, seasons or cameras, before it was measured on such.",
    "Recognising who a person is, or judging people.",
    "Decisions on which health, safety or rights depend, without a person who looks at each.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        pipeline: name of the pipeline.
        preset: of the configuration.
        data_digest: of the data's bytes.
        code_digest: of the training code.
        libraries: versions by name.
    """

    pipeline: str
    preset: str
    data_digest: str
    code_digest: str
    libraries: dict[str, str]


def make_card(
    config: TrainerConfig, words: CardConfig, evaluation: Evaluation, data: report.Report, provenance: Provenance
) -> dict[str, Any]:
    """Returns the card, of what JSON has.

    Args:
        config: of the training.
        words: what people say about the model.
        evaluation: what was measured.
        data: what was found in the data.
        provenance: where it comes from.
    """
    classes = ", ".join(evaluation.class_names)
    use = f"Says of each pixel of a still picture like those of {data.dataset} which of these it shows: {classes}."
    data_licence = words.data_licence or licences.of_data(data.dataset, provenance.pipeline)
    return {
        "schema_version": SCHEMA_VERSION,
        "model_details": {
            "name": provenance.pipeline,
            "owner": words.owner or "not named",
            "overview": f"Semantic segmentation into {len(evaluation.class_names)} classes by the network {config.model.name}.",
            "licences": [
                {"of": "the model", "licence": words.licence or "not stated by its owner"},
                {"of": "the code that made it (vocseg)", "licence": "Apache 2.0"},
                *({"of": of, "licence": licence} for of, licence in licences.of_encoder(config.model)),
                {"of": f"the data ({data.dataset})", "licence": data_licence},
            ],
        },
        "model_parameters": {
            "model": dataclasses.asdict(config.model),
            "input": dataclasses.asdict(config.transform),
            "augmentation": dataclasses.asdict(config.augment),
            "training": dataclasses.asdict(config.train),
            "serving": dataclasses.asdict(config.serving),
        },
        "data": {
            "name": data.dataset,
            "licence": data_licence,
            "quarantined": len(data.quarantined),
            "splits": {name: _split(split) for name, split in data.splits.items()},
        },
        "quantitative_analysis": _analysis(evaluation, data),
        "considerations": {
            "intended_use": words.intended_use or use,
            "out_of_scope": list(_OUT_OF_SCOPE),
            "limits": [*([words.limits] if words.limits else []), *limits(config, evaluation, data)],
        },
        "provenance": dataclasses.asdict(provenance),
    }


def _split(split: report.SplitReport) -> dict[str, Any]:
    """Returns a split's counts, and the share of each class in the pixels that are not void."""
    pixels = max(1, sum(split.class_pixels.values()))
    return {
        "pictures": split.generated,
        "void_fraction": split.void_fraction,
        "class_shares": {name: count / pixels for name, count in split.class_pixels.items()},
    }


def _analysis(evaluation: Evaluation, data: report.Report) -> dict[str, Any]:
    """Returns what was measured: overall, a class, and the slices where it does worst."""
    candidate, baseline = evaluation.overall.candidate, evaluation.overall.baseline
    known = [one for one in evaluation.slices if one.candidate.metrics["mean_iou"] is not None and _tells(one, candidate)]
    worst = sorted(known, key=lambda one: one.candidate.metrics["mean_iou"] or 0.0)[:WORST_SLICES]
    images = _class_images(evaluation, data)
    return {
        "split": _SPLITS[evaluation.split],
        "overall": _measures(candidate),
        "baseline": _measures(baseline) if baseline else None,
        "change_interval": evaluation.change_interval and list(evaluation.change_interval),
        "blessed": evaluation.blessed,
        "reasons": list(evaluation.reasons),
        "classes": [
            {"name": name, "pictures": images.get(name, 0)} | _of_class(candidate, name) for name in evaluation.class_names
        ],
        "worst_slices": [_slice(one) for one in worst],
    }


def _tells(one: Slice, whole: Measured) -> bool:
    """Tells a slice of enough pictures that leaves some out: the worst of those that leave none out is no news."""
    count = one.candidate.metrics[_COUNT] or 0
    return count >= FEW_PICTURES and count != whole.metrics[_COUNT]


def _measures(measured: Measured) -> dict[str, Any]:
    """Returns the metrics of the whole, without those of a class."""
    overall = {name: value for name, value in measured.metrics.items() if "/" not in name and name != _COUNT}
    interval = measured.interval and list(measured.interval)
    return {_COUNT: int(measured.metrics[_COUNT] or 0)} | overall | {"mean_iou_interval": interval}


def _of_class(measured: Measured, name: str) -> dict[str, float | None]:
    """Returns a class's metrics, as in `{"iou": 0.5}`."""
    kinds = [metric.removesuffix(f"/{name}") for metric in measured.metrics if metric.endswith(f"/{name}")]
    return {kind: measured.metrics[f"{kind}/{name}"] for kind in kinds if "/" not in kind}


def _slice(one: Slice) -> dict[str, Any]:
    return {
        "group": one.group,
        "value": one.value,
        "mean_iou": one.candidate.metrics["mean_iou"],
        "pictures": int(one.candidate.metrics[_COUNT] or 0),
    }


def _class_images(evaluation: Evaluation, data: report.Report) -> dict[str, int]:
    """Returns in how many pictures of the evaluated split each class occurs."""
    split = data.splits.get(_SPLITS[evaluation.split])
    return split.class_images if split else {}


def limits(config: TrainerConfig, evaluation: Evaluation, data: report.Report) -> list[str]:
    """Returns in words where the model fails, or where nobody knows, as the numbers have it."""
    metrics, names = evaluation.overall.candidate.metrics, evaluation.class_names
    # Accuracy is a share of the truth's pixels: None where it has none. IoU is 0 then, if the model finds the class somewhere.
    measured = [name for name in names if metrics[f"accuracy/{name}"] is not None]
    unmeasured = [name for name in names if name not in measured]
    scores = {name: metrics[f"iou/{name}"] or 0.0 for name in measured}
    low = sorted((score, name) for name, score in scores.items() if score < LOW_IOU)
    images = _class_images(evaluation, data)
    few = [f"{name} ({images.get(name, 0)})" for name in measured if images.get(name, 0) < FEW_PICTURES]
    split, size = _SPLITS[evaluation.split], config.transform
    found = [
        _list(f"IoU below {LOW_IOU}", [f"{name} ({score:.2f})" for score, name in low]),
        _list(f"Measured on fewer than {FEW_PICTURES} pictures of the {split} split", few),
        _list(f"Not measured, since the {split} split has none", unmeasured),
        f"Pictures are brought to {size.height_px} x {size.width_px} px (height x width) first: what is a few pixels small "
        "then cannot be found, and borders in large pictures are coarse.",
        "Each pixel gets one of the classes: a mask has no answer for what belongs to none. The signature serving_scores says "
        "how sure the network is; nobody has measured how often it is right when it is sure.",
    ]
    if split != "test":
        found.append("Measured on the pictures by which the epoch was chosen, so the scores flatter.")
    if data.near_duplicates:
        found.append(f"{len(data.near_duplicates)} pair(s) of pictures in two splits look alike, so the scores may flatter.")
    return [text for text in found if text]


def _list(title: str, items: Sequence[str]) -> str:
    return f"{title}: {', '.join(items)}." if items else ""


@component
def ModelCardGen(
    model: InputArtifact[standard_artifacts.Model],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    examples: InputArtifact[standard_artifacts.Examples],
    data_report: InputArtifact[DataReport],
    card: OutputArtifact[ModelCard],
    words: Parameter[str],
    pipeline: Parameter[str],
    preset: Parameter[str],
    trainer_code_digest: Parameter[str],
    code_digest: Parameter[str],
) -> None:
    """Writes the card of any trained model, blessed or not."""
    del code_digest  # Only there for the cache.
    with fileio.open(os.path.join(model.uri, CONFIG_FILE)) as file:
        config = from_json(TrainerConfig, file.read())
    provenance = Provenance(
        pipeline=pipeline,
        preset=preset,
        data_digest=examples.get_string_custom_property("data_digest"),
        code_digest=trainer_code_digest,
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
    )
    made = make_card(
        config, from_json(CardConfig, words), read_evaluation(evaluation.uri), read_report(data_report.uri), provenance
    )
    fileio.makedirs(card.uri)
    for name, text in ((JSON_FILE, json.dumps(made, indent=1, allow_nan=False) + "\n"), (HTML_FILE, to_html(made))):
        with fileio.open(os.path.join(card.uri, name), "w") as file:
            file.write(text)
