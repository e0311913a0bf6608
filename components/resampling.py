"""How far a score would move with other images of the same kind: the bootstrap over images, in one pass.

Resampling n images with replacement draws each about Poisson(1) times. With weights that depend on the image's name only, the
resamples add up in any order and on any number of workers, and two models are resampled alike, so that their difference has an
interval too (Chamandy et al. 2012, "Estimating Uncertainty for Massive Data Streams").
"""

import hashlib

import numpy as np

REPLICATES = 300


def weights(name: str) -> np.ndarray:
    """Returns how often each resample draws an image, int64 [REPLICATES]; the same whenever it is asked."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).poisson(1.0, REPLICATES)


def margins(matrix: np.ndarray) -> np.ndarray:
    """Returns what IoU needs of a confusion matrix [C, C]: int64 [3, C], right, true and predicted pixels a class."""
    return np.stack([np.diag(matrix), matrix.sum(1), matrix.sum(0)])


def mean_ious(resampled: np.ndarray) -> np.ndarray:
    """Returns the mean IoU of each resample, float64 [R], 0..1, NaN where it drew no pixel.

    Args:
        resampled: int64 [R, 3, C], sums of `margins`.
    """
    right, true, predicted = np.moveaxis(resampled, 1, 0)
    union = true + predicted - right
    present = union > 0
    iou = np.divide(right, union, out=np.zeros(union.shape), where=present)
    classes = present.sum(1)
    return np.divide(iou.sum(1), classes, out=np.full(len(resampled), np.nan), where=classes > 0)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the 2.5th and the 97.5th percentile of the resamples' scores; NaN where none has one."""
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
