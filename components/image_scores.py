"""The scores of single images, as many as are worth keeping: the worst, the best, and a sample of all."""

import hashlib
from collections.abc import Mapping

from components.evaluation import ImageScore

EXTREMES = 8
SAMPLE = 400

Scores = Mapping[str, ImageScore]
"""By file name."""


def keep(scores: Scores) -> dict[str, ImageScore]:
    """Leaves out what is not worth keeping; merging two of the results and keeping again gives the same as doing so at once.

    The sample is that of the smallest digests of the names, which no order of the images changes.
    """
    measured = [score for score in scores.values() if score.mean_iou is not None]
    ranked = sorted(measured, key=lambda score: (score.mean_iou, score.filename))
    sample = sorted(scores.values(), key=lambda score: hashlib.sha256(score.filename.encode()).digest())[:SAMPLE]
    kept = (*ranked[:EXTREMES], *ranked[-EXTREMES:], *sample)
    return {score.filename: score for score in kept}


def ordered(scores: Scores) -> tuple[ImageScore, ...]:
    """Returns them worst first, those that could not be measured last."""
    return tuple(sorted(scores.values(), key=lambda score: (score.mean_iou is None, score.mean_iou or 0.0, score.filename)))
