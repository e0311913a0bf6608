"""The bootstrap over images: weights, margins, scores of resamples."""

import numpy as np
import pytest

from components import iou, resampling


def test_weights_depend_on_the_name_alone_and_are_poisson_of_mean_one() -> None:
    names = [f"{number:06d}.jpg" for number in range(500)]
    drawn = np.stack([resampling.weights(name) for name in names])
    assert (resampling.weights(names[7]) == drawn[7]).all()
    assert drawn.shape == (500, resampling.REPLICATES)
    assert drawn.mean() == pytest.approx(1.0, abs=0.01)
    assert drawn.var() == pytest.approx(1.0, abs=0.02)
    assert (drawn == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.25


def test_mean_iou_of_resamples_is_that_of_their_matrices() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 50, (4, 3, 3))
    matrices[:, 2, :] = matrices[:, :, 2] = 0  # A class in neither truth nor prediction does not count.
    found = resampling.mean_ious(np.stack([resampling.margins(matrix) for matrix in matrices]))
    assert found == pytest.approx([iou.mean_iou(matrix) for matrix in matrices], abs=1e-12)


def test_resample_that_drew_nothing_has_no_score_and_is_left_out_of_the_interval() -> None:
    margins = np.stack([np.zeros((3, 2), np.int64), resampling.margins(np.array([[3, 1], [0, 4]]))])
    scores = resampling.mean_ious(margins)
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert resampling.interval(scores) == pytest.approx((scores[1], scores[1]))
    assert np.isnan(resampling.interval(scores[:1])).all()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 60 images of 100 pixels and two classes, each wrong in a share of its own: the interval of the mean IoU from one such set
    # should hold the value of a very large set in about 95 of 100 sets; 88 is what chance leaves below it once in a thousand.
    rng = np.random.default_rng(1)

    def draw(count: int) -> np.ndarray:
        wrong = rng.binomial(50, rng.beta(2, 5, (count, 2)))
        return np.stack([np.stack([50 - wrong[:, 0], wrong[:, 0]], 1), np.stack([wrong[:, 1], 50 - wrong[:, 1]], 1)], 1)

    truth = iou.mean_iou(draw(100_000).sum(0))
    weights = np.stack([resampling.weights(f"{number}.png") for number in range(60)])
    covered = 0
    for _ in range(200):
        margins = np.stack([resampling.margins(matrix) for matrix in draw(60)])
        low, high = resampling.interval(resampling.mean_ious(np.einsum("ir,imc->rmc", weights, margins)))
        covered += low <= truth <= high
    assert 176 <= covered
