"""ServingCheck: before a model is pushed, a process without our code loads it and answers real pictures with it."""

import base64
import binascii
import dataclasses
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components import features, fresh_process, iou, records, serving_client, stores
from components.blessings import BLESSED, MODEL_ID, REASONS
from components.check_pictures import Picture, read_pictures, with_variants
from components.evaluation import mask_digest, read_evaluation
from pipeline_config import CheckConfig, from_json

CHECK_FILE = "serving_check.json"
NOT_CHECKED = "not checked: not blessed"
NO_PICTURES = "none of the pictures in the evaluation is small enough to be served; serving.max_megapixels is the limit"

_MASKS = {"mask": "string", "error": "string"}
SIGNATURES = {
    "serving_default": [{"images": "string"}, _MASKS],
    "serving_rest": [{"images": "string"}, {"mask_bytes": "string", "error": "string"}],
    "serving_scores": [{"images": "string"}, _MASKS | {"score": "string"}],
    "serving_examples": [{"examples": "string"}, _MASKS],
    "logits": [{"images": "float32"}, {"logits": "float32"}],
}
"""The promised signatures: types of the inputs and of the outputs."""

MAX_SCORE_CHANGE = 0.01
"""By how much a picture's mean IoU may differ from the Evaluator's where its mask does: another device rounds otherwise."""

_NAMED = 3
"""Pictures that a reason names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """What was found.

    Attributes:
        servable: whether the model may be pushed.
        reasons: why not, in words; empty where it may.
        seconds: that the process took.
        peak_memory_bytes: of the process.
        pictures: names of those that were tried.
    """

    servable: bool
    reasons: tuple[str, ...]
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    pictures: tuple[str, ...] = ()


def check_model(folder: str, pictures: Sequence[Picture], class_names: Sequence[str], config: CheckConfig) -> Check:
    """Tries a model in a fresh process.

    Args:
        folder: of the SavedModel, on this machine.
        pictures: that the Evaluator has scored; it has to answer them and variants of them.
        class_names: that it must have, in the order of the ids.
        config: the budgets.
    """
    if not pictures:
        return Check(servable=False, reasons=(NO_PICTURES,))
    try:
        metadata = json.loads(pathlib.Path(folder, features.METADATA_FILE).read_text())
        names, size = metadata["class_names"], {key: int(metadata[key]) for key in ("height_px", "width_px")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check(servable=False, reasons=(f"{features.METADATA_FILE} cannot be read: {type(error).__name__}: {error}",))
    if names != list(class_names):
        return Check(servable=False, reasons=(f"{features.METADATA_FILE} has other classes than the evaluation: {names}",))
    pictures = with_variants(pictures)
    with tempfile.TemporaryDirectory(prefix="vocseg-check-") as name:
        scratch = pathlib.Path(name)
        encoded = [base64.b64encode(picture.encoded).decode() for picture in pictures]
        requests, answers = scratch / "requests.json", scratch / "answers.json"
        requests.write_text(json.dumps({"pictures": encoded, **size}))
        ended = fresh_process.run_script(
            serving_client.__file__,
            [os.path.abspath(folder), str(requests), str(answers)],
            scratch,
            config.max_seconds,
            config.max_memory_gib * 2**30,
        )
        found = json.loads(answers.read_text()) if answers.exists() else {"stage": "starting Python", "error": ""}
    failure = explain(ended, found, config)
    expected_logits = [1, size["height_px"], size["width_px"], len(class_names)]
    reasons = [failure] if failure else list(judge(found, pictures, len(class_names), expected_logits))
    return Check(
        servable=not reasons,
        reasons=tuple(reasons),
        seconds=round(ended.seconds, 2),
        peak_memory_bytes=ended.peak_memory_bytes,
        pictures=tuple(picture.name for picture in pictures),
    )


def explain(ended: fresh_process.Ended, found: Mapping[str, Any], config: CheckConfig) -> str:
    """Returns why the process did not come to its end, in words; "" where it did."""
    stage = found["stage"]
    if ended.over == "time":
        return f"took longer than {config.max_seconds} s, while {stage}; raise check.max_seconds to try it again"
    if ended.over == "memory":
        return (
            f"took more than {config.max_memory_gib:g} GiB of memory, while {stage}; raise check.max_memory_gib to try it again"
        )
    if stage != serving_client.ENDED:
        error = found["error"] or (
            f"the process died of {ended.signal}" if ended.signal else ended.output or "the process ended"
        )
        return f"{stage} failed in a process without vocseg's code: {_short(error)}"
    return ""


def judge(found: Mapping[str, Any], pictures: Sequence[Picture], classes: int, logits: Sequence[int]) -> Iterator[str]:
    """Yields what is wrong with the answers, in words.

    Args:
        found: what `components.serving_client` wrote.
        pictures: that were to be answered.
        classes: their number.
        logits: the expected shape.
    """
    wrong = list(_wrong_signatures(found["signatures"]))
    if wrong:
        yield from wrong
        return
    if not found["logits_finite"]:  # First: it explains much of what may follow.
        yield "its logits are not numbers"
    masks, errors = found["masks"], found["errors"]
    if len(masks) != len(pictures) or len(errors) != len(pictures):
        yield f"{len(pictures)} pictures got {len(masks)} masks and {len(errors)} errors"
    else:
        yield from _summed(
            _fault(picture, mask, error, classes) for picture, mask, error in zip(pictures, masks, errors, strict=True)
        )
    if found["empty"] != [0, 0]:
        yield f"a request without pictures got {found['empty'][0]} masks and {found['empty'][1]} errors"
    if not found["rest_same"]:
        yield "serving_rest does not answer as serving_default does"
    if found["logits"] != logits:
        yield f"the logits of a picture have the shape {found['logits']}; expected {logits}"


def _wrong_signatures(found: Mapping[str, Any]) -> Iterator[str]:
    for name, expected in SIGNATURES.items():
        if name not in found:
            yield f"there is no signature {name}"
        elif found[name] != expected:
            yield f"the signature {name} takes and gives {found[name]}; expected {expected}"


def _fault(picture: Picture, encoded: str, error: str, classes: int) -> str:
    """Returns what is wrong with an answer, in words; "" where nothing is."""
    if not picture.height:
        return "" if error and not encoded else f"{picture.name}: a damaged picture got a mask, or no error"
    if error:
        return f"{picture.name}: got the error {_short(error)!r}"
    try:
        image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
        mask = np.asarray(image)
    except (OSError, ValueError, SyntaxError, binascii.Error, PIL.Image.DecompressionBombError):
        return f"{picture.name}: its mask is no picture"
    if image.format != "PNG" or mask.dtype != np.uint8 or mask.ndim != 2:
        return f"{picture.name}: its mask is no PNG of one channel of 8 bits"
    height, width = mask.shape
    if (height, width) != (picture.height, picture.width):
        return f"{picture.name}: its mask has {width} x {height} pixels; expected {picture.width} x {picture.height}"
    if mask.max() >= classes:
        return f"{picture.name}: its mask has the id {mask.max()}; there are {classes} classes"
    if picture.mask_sha256 and mask_digest(mask) != picture.mask_sha256 and picture.mean_iou is not None:
        truth = np.asarray(PIL.Image.open(io.BytesIO(picture.label)))
        score = iou.mean_iou(iou.confusion_matrix(truth, mask, classes))
        if not abs(score - picture.mean_iou) <= MAX_SCORE_CHANGE:
            change = f"mean IoU {score:.4f} instead of {picture.mean_iou:.4f}"
            return f"{picture.name}: its mask is another than in the evaluation: {change}"
    return ""


def _summed(faults: Iterable[str]) -> Iterator[str]:
    """Yields the first few, and how many more there are."""
    real = [fault for fault in faults if fault]
    yield from real[:_NAMED]
    if len(real) > _NAMED:
        yield f"and so on: {len(real)} pictures in all"


def _short(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "..."


@component
def ServingCheck(
    model: InputArtifact[standard_artifacts.Model],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    examples: InputArtifact[standard_artifacts.Examples],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    check: Parameter[str],
    max_megapixels: Parameter[int],
    code_digest: Parameter[str],
) -> None:
    """Notes on `blessing` whether the model can be served, and why not, if it was blessed; details go into its folder.

    The model's id is only noted where it was tried: the baseline rule passes over a model that was, and failed.
    """
    del code_digest  # Only there for the cache.
    if model_blessing.get_int_custom_property(BLESSED) == 1:
        evaluated = read_evaluation(evaluation.uri)
        split = artifact_utils.get_split_uri([examples], evaluated.split)
        pictures = read_pictures(evaluated, records.list_files([f"{split}/*"]), max_megapixels * 1_000_000)
        if pictures:  # What was not tried is not refused.
            blessing.set_int_custom_property(MODEL_ID, model.id)
        with stores.fetched(path_utils.serving_model_path(model.uri)) as folder:
            result = check_model(folder, pictures, evaluated.class_names, from_json(CheckConfig, check))
    else:
        result = Check(servable=False, reasons=(NOT_CHECKED,))
    fileio.makedirs(blessing.uri)
    with fileio.open(os.path.join(blessing.uri, CHECK_FILE), "w") as file:
        file.write(json.dumps(dataclasses.asdict(result), indent=1) + "\n")
    blessing.set_int_custom_property(BLESSED, int(result.servable))
    blessing.set_string_custom_property(REASONS, "\n".join(result.reasons))
