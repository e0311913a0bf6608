"""Boundary IoU: how well the outlines of the classes are met, to which plain IoU is nearly blind in large objects.

After Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation": of each mask only the band
counts that lies within a distance of its own outline; the distance is 2 % of the picture's diagonal, and the picture's edge is
outline, as in the authors' code. Void counts nowhere.
"""

import math

import numpy as np
import scipy.ndimage

from components import features

BAND_SHARE = 0.02


def band(mask: np.ndarray, distance_px: int) -> np.ndarray:
    """Returns the part of a mask, bool [H, W], at most so far (chessboard distance) from what it is not; [H, W] too."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    found = np.zeros_like(mask)
    if rows.size:
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        # What surrounds the box is not mask, within the picture or beyond its edge.
        distance = scipy.ndimage.distance_transform_cdt(np.pad(mask[box], 1), metric="chessboard")[1:-1, 1:-1]
        found[box] = mask[box] & (distance <= distance_px)
    return found


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
    counts = np.zeros((2, num_classes), np.int64)
    for label in np.flatnonzero(np.bincount(np.concatenate([truth[counted], prediction.ravel()]), minlength=num_classes)):
        ours, theirs = (band(mask == label, distance_px) & counted for mask in (truth, prediction))
        counts[:, label] = np.count_nonzero(ours & theirs), np.count_nonzero(ours | theirs)
    return counts


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Returns the boundary IoU of each class, float64 [C], 0..1; NaN for a class without outline in truth and prediction."""
    return np.divide(counts[0], counts[1], out=np.full(counts.shape[1], np.nan), where=counts[1] > 0)
