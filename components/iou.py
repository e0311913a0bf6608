"""The confusion matrix, and the metrics that follow from it. Pure NumPy; the adapters for Keras and TFMA stand beside it.

The protocol is VOC's: one matrix over all pixels of the split at the pictures' own size, void left out, IoU a class, mean over
the classes (Everingham et al. 2010, section 4.3.2).
"""

import numpy as np

from components import features


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels.

    Args:
        truth: integers of any shape, 0..num_classes-1, or 255 for pixels that do not count.
        prediction: integers of the same shape, 0..num_classes-1.
        num_classes: C, at most 255.

    Returns:
        int64 [C, C]: entry [t, p] is the number of pixels of class t that are predicted as p.

    Raises:
        ValueError: the shapes differ, or an id is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, the prediction {prediction.shape}")
    if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
        _check_ids(truth, prediction, num_classes)
    pairs = truth.astype(np.uint16) << 8 | prediction.astype(np.uint8)  # One number a pixel, so that one pass counts all.
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    matrix = counts[:num_classes, :num_classes].copy()
    if matrix.sum() + counts[features.IGNORE_LABEL].sum() != truth.size:
        _check_ids(truth, prediction, num_classes)
    return matrix


def _check_ids(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> None:
    counted = truth != features.IGNORE_LABEL
    for name, ids in (("truth", truth[counted]), ("prediction", prediction[counted])):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(f"{name} has ids from {ids.min()} to {ids.max()}; expected 0..{num_classes - 1}")


def iou(matrix: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each class, float64 [C]: 0..1, NaN for a class in neither truth nor prediction.

    A class that is predicted but absent from the truth scores 0.
    """
    intersection = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - intersection
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(matrix: np.ndarray) -> float:
    """Returns the mean of `iou` over the classes in truth or prediction, 0..1; NaN if there is no pixel at all."""
    return mean(iou(matrix))


def dice(matrix: np.ndarray) -> np.ndarray:
    """Returns the Dice coefficient of each class, float64 [C]: 0..1, NaN for a class in neither truth nor prediction."""
    both = matrix.sum(0) + matrix.sum(1)
    return np.divide(2.0 * np.diag(matrix), both, out=np.full(len(matrix), np.nan), where=both > 0)


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Returns the share of each class's pixels that are right, float64 [C]: 0..1, NaN for a class that the truth lacks."""
    truth = matrix.sum(1)
    return np.divide(np.diag(matrix), truth, out=np.full(len(matrix), np.nan), where=truth > 0)


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Returns the share of pixels that are right, 0..1; NaN if there are none."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


def mean_accuracy(matrix: np.ndarray) -> float:
    """Returns the mean of `accuracy` over the classes in the truth, 0..1; NaN if none."""
    return mean(accuracy(matrix))


def constant_mean_iou(matrix: np.ndarray) -> tuple[int, float]:
    """Returns the commonest class of the truth, and the mean IoU of predicting it everywhere, 0..1; NaN without pixels."""
    truth = matrix.sum(1)
    commonest = int(np.argmax(truth))
    answered = np.zeros_like(matrix)
    answered[:, commonest] = truth
    return commonest, mean_iou(answered)


def mean(values: np.ndarray) -> float:
    """Returns the mean of the values [C] that are not NaN; NaN if there are none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
