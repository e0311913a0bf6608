"""What the Evaluator found and decided, as one JSON file in the Evaluation artifact: report, model card and checks read it."""

import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np
from tfx.dsl.io import fileio

EVALUATION_FILE = "evaluation.json"
OVERALL = "overall"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One model on one slice.

    Attributes:
        metrics: `mean_iou`, `pixel_accuracy`, `mean_accuracy`, `mean_dice`, `mean_boundary_iou`, for each class `iou/<class>`,
            `accuracy/<class>`, `dice/<class>`, `boundary_iou/<class>`, all 0..1 or None where there is nothing to measure, and
            `example_count`.
        confusion_matrix: [C][C] pixels, the truth's classes in rows; None on slices other than the whole.
        interval: of `mean_iou`, the 2.5th and the 97.5th percentile over resampled images; None where it was not resampled.
    """

    metrics: dict[str, float | None]
    confusion_matrix: list[list[int]] | None
    interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """Both models on some of the images.

    Attributes:
        group: by what it was chosen: contains, size, aspect or void; or `OVERALL`.
        value: which of the group's, in words, as in "person" or "0.1 to 0.3 megapixels"; empty for the whole.
        candidate: the candidate's measures.
        baseline: the baseline's, or None.
    """

    group: str
    value: str
    candidate: Measured
    baseline: Measured | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One picture of the evaluated split.

    Attributes:
        filename: the record's `image/filename`.
        mean_iou: of the candidate on this picture alone, 0..1, or None where all of it is void.
        baseline_mean_iou: of the baseline, or None.
        mask_sha256: of the candidate's mask, see `mask_digest`.
    """

    filename: str
    mean_iou: float | None
    baseline_mean_iou: float | None
    mask_sha256: str


def mask_digest(ids: np.ndarray) -> str:
    """Returns the hex SHA-256 of "<height>x<width>:" and the ids, uint8 [H, W], row by row."""
    return hashlib.sha256(f"{ids.shape[0]}x{ids.shape[1]}:".encode() + np.ascontiguousarray(ids).tobytes()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The whole.

    Attributes:
        split: that was measured, test or eval.
        class_names: in the order of the ids.
        overall: all images.
        change_interval: of the candidate's `mean_iou` less the baseline's, as in `Measured`; None without a baseline.
        slices: the others, by group and value.
        images: the worst and the best by `mean_iou`, and a sample of the rest, worst first.
        blessed: whether the model may be pushed.
        reasons: why, in words: all that was compared.
        refusals: those of them for which it was not blessed.
    """

    split: str
    class_names: tuple[str, ...]
    overall: Slice
    change_interval: tuple[float, float] | None
    slices: tuple[Slice, ...]
    images: tuple[ImageScore, ...]
    blessed: bool
    reasons: tuple[str, ...]
    refusals: tuple[str, ...]


def write_evaluation(evaluation: Evaluation, folder: str) -> None:
    """Writes `evaluation.json` into a folder."""
    with fileio.open(os.path.join(folder, EVALUATION_FILE), "w") as file:
        file.write(json.dumps(dataclasses.asdict(evaluation), allow_nan=False) + "\n")


def read_evaluation(folder: str) -> Evaluation:
    """Reads what `write_evaluation` wrote."""
    with fileio.open(os.path.join(folder, EVALUATION_FILE)) as file:
        values = json.load(file)
    return Evaluation(
        **values
        | {
            "class_names": tuple(values["class_names"]),
            "overall": _slice(values["overall"]),
            "change_interval": _pair(values["change_interval"]),
            "slices": tuple(_slice(one) for one in values["slices"]),
            "images": tuple(ImageScore(**image) for image in values["images"]),
            "reasons": tuple(values["reasons"]),
            "refusals": tuple(values["refusals"]),
        }
    )


def _slice(values: dict[str, Any]) -> Slice:
    baseline = values["baseline"]
    return Slice(
        **values | {"candidate": _measured(values["candidate"]), "baseline": _measured(baseline) if baseline else None}
    )


def _measured(values: dict[str, Any]) -> Measured:
    return Measured(**values | {"interval": _pair(values["interval"])})


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values else None
