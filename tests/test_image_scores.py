"""Which images' scores are kept."""

import numpy as np

from components import image_scores
from components.evaluation import ImageScore


def _scores(count: int) -> dict[str, ImageScore]:
    values = np.random.default_rng(0).random(count)
    names = [f"{number:05d}.jpg" for number in range(count)]
    return {
        name: ImageScore(filename=name, mean_iou=float(value), baseline_mean_iou=None, mask_sha256="")
        for name, value in zip(names, values, strict=True)
    }


def test_few_scores_are_all_kept() -> None:
    scores = _scores(image_scores.SAMPLE)
    assert image_scores.keep(scores) == scores


def test_of_many_the_worst_and_the_best_stay_and_a_sample_of_all() -> None:
    scores = _scores(3000)
    kept = image_scores.ordered(image_scores.keep(scores))
    ranked = image_scores.ordered(scores)
    assert kept[: image_scores.EXTREMES] == ranked[: image_scores.EXTREMES]
    assert kept[-image_scores.EXTREMES :] == ranked[-image_scores.EXTREMES :]
    assert image_scores.SAMPLE <= len(kept) <= image_scores.SAMPLE + 2 * image_scores.EXTREMES
    assert abs(np.median([score.mean_iou for score in kept if score.mean_iou is not None]) - 0.5) < 0.1


def test_keeping_in_parts_keeps_the_same_as_keeping_at_once() -> None:
    scores = _scores(3000)
    names = list(scores)
    parts = [image_scores.keep({name: scores[name] for name in names[start::3]}) for start in range(3)]
    assert image_scores.keep(parts[0] | parts[1] | parts[2]) == image_scores.keep(scores)


def test_image_that_is_all_void_comes_last() -> None:
    void = ImageScore(filename="0.jpg", mean_iou=None, baseline_mean_iou=None, mask_sha256="")
    scores = _scores(3) | {"0.jpg": void}
    assert image_scores.ordered(image_scores.keep(scores))[-1] == void
