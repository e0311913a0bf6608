"""What adds up over images: of each model on each slice the confusion matrix, boundaries, resamples, and failures."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from components import image_scores, iou, resampling
from components.evaluation import ImageScore

_NAMED = 20


@dataclasses.dataclass(frozen=True)
class ImageMeasures:
    """What one model did on one image.

    Attributes:
        matrix: int64 [C, C].
        boundary: int64 [2, C], see `boundary.boundary_counts`.
        mask_sha256: see `evaluation.mask_digest`.
    """

    matrix: np.ndarray
    boundary: np.ndarray
    mask_sha256: str


@dataclasses.dataclass(frozen=True)
class MeasuredImage:
    """An image, by all models.

    Attributes:
        filename: the record's.
        models: by name, those that answered.
        errors: by name, why the others could not be measured.
    """

    filename: str
    models: Mapping[str, ImageMeasures]
    errors: Mapping[str, str]


@dataclasses.dataclass
class ModelSums:
    """Of one model.

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


@dataclasses.dataclass(frozen=True)
class Failures:
    """Images that a model could not be measured on: how many, and some of them, in words."""

    count: int = 0
    named: tuple[str, ...] = ()

    def __add__(self, other: "Failures") -> "Failures":
        """Adds them; the same are named whatever the order."""
        return Failures(self.count + other.count, tuple(sorted({*self.named, *other.named}))[:_NAMED])

    def __str__(self) -> str:
        """Returns, for instance, `2 images cannot be measured: a.jpg: ...; b.jpg: ...`."""
        return f"{self.count} images cannot be measured: {'; '.join(self.named)}"


@dataclasses.dataclass
class Sums:
    """Of all models on a slice.

    Attributes:
        models: by name; empty before the first image.
        scores: of single images, see `image_scores`.
        failures: by name of the model.
    """

    models: dict[str, ModelSums] = dataclasses.field(default_factory=dict)
    scores: dict[str, ImageScore] = dataclasses.field(default_factory=dict)
    failures: dict[str, Failures] = dataclasses.field(default_factory=dict)


def sums_of(image: MeasuredImage, candidate: str, baseline: str | None) -> Sums:
    """Returns the sums of one image.

    Args:
        image: what the models did on it.
        candidate: the name of the model whose score is kept.
        baseline: that of the other, if there is one.
    """
    drawn = resampling.weights(image.filename)[:, np.newaxis, np.newaxis]
    models = {
        name: ModelSums(one.matrix, one.boundary, drawn * resampling.margins(one.matrix)) for name, one in image.models.items()
    }
    failures = {name: Failures(1, (f"{image.filename}: {error}",)) for name, error in image.errors.items()}
    scores = {}
    if candidate in image.models:
        ours = image.models[candidate]
        scores[image.filename] = ImageScore(
            filename=image.filename,
            mean_iou=_score(ours),
            baseline_mean_iou=_score(image.models[baseline]) if baseline and baseline in image.models else None,
            mask_sha256=ours.mask_sha256,
        )
    return Sums(models, scores, failures)


def _score(measures: ImageMeasures) -> float | None:
    value = iou.mean_iou(measures.matrix)
    return None if np.isnan(value) else value


def merge(parts: Iterable[Sums]) -> Sums:
    """Adds sums, and keeps what is worth it of the scores; the parts stay as they are."""
    merged = Sums()
    for part in parts:
        for name, sums in part.models.items():
            merged.models[name] = merged.models[name] + sums if name in merged.models else sums
        for name, failures in part.failures.items():
            merged.failures[name] = merged.failures.get(name, Failures()) + failures
        merged.scores |= part.scores
    if len(merged.scores) > 2 * image_scores.SAMPLE:  # Not at each image: it sorts.
        merged.scores = image_scores.keep(merged.scores)
    return merged
