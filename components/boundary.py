"""Boundary IoU: how well the outlines of the classes are met, to which plain IoU is nearly blind in large objects.

After Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation": of each mask only the band
counts that lies within a distance of its own outline; the distance is 2 % of the picture's diagonal, and the picture's edge is
outline, as in the authors' code. Void counts nowhere.
"""

import math

import numpy as np

from components import features

BAND_SHARE = 0.02


def outlines(ids: np.ndarray, distance_px: int) -> np.ndarray:
    """Returns where a mask is at most so far (chessboard distance) from another id or from beyond the picture.

    Args:
        ids: integers [H, W].
        distance_px: at least 1.

    Returns:
        bool [H, W]: the bands of all its classes, of which no two overlap.
    """
    by_row, by_column = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    by_row[[0, -1]] = True
    by_column[:, [0, -1]] = True
    changes = ids[1:] != ids[:-1]
    by_row[1:] |= changes
    by_row[:-1] |= changes
    changes = ids[:, 1:] != ids[:, :-1]
    by_column[:, 1:] |= changes
    by_column[:, :-1] |= changes
    # Any two ids in a window of three by three differ where two neighbours in a row or a column do; wider windows follow.
    found = _spread(by_row, 1, axis=1) | _spread(by_column, 1, axis=0)
    return _spread(_spread(found, distance_px - 1, axis=0), distance_px - 1, axis=1)


def _spread(found: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Returns where something was found at most so far along an axis, bool [H, W]; each step doubles how far it sees."""
    margin = [(0, 0), (0, 0)]
    margin[axis] = (reach, reach)
    lines = np.moveaxis(np.pad(found, margin), axis, 0)
    seen, wanted = 1, 2 * reach + 1
    while seen < wanted:
        step = min(seen, wanted - seen)
        lines = lines[:-step] | lines[step:]
        seen += step
    return np.moveaxis(lines, 0, axis)


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of both bands of each class.

    Args:
        truth: uint8 [H, W], 0..num_classes-1 or 255.
        prediction: uint8 [H, W], 0..num_classes-1.
        num_classes: C.

    Returns:
        int64 [2, C]: pixels in both bands, and pixels in either; they add over images.
    """
    distance_px = max(1, round(BAND_SHARE * math.hypot(*truth.shape)))
    counted = truth != features.IGNORE_LABEL
    ours, theirs = (outlines(ids, distance_px) & counted for ids in (truth, prediction))
    both = ours & theirs & (truth == prediction)
    in_truth, in_prediction, in_both = (
        np.bincount(ids[chosen], minlength=num_classes) for ids, chosen in ((truth, ours), (prediction, theirs), (truth, both))
    )
    return np.stack([in_both, in_truth + in_prediction - in_both])


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Returns the boundary IoU of each class, float64 [C], 0..1; NaN for a class without outline in truth and prediction."""
    return np.divide(counts[0], counts[1], out=np.full(counts.shape[1], np.nan), where=counts[1] > 0)
