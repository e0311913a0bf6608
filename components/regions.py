"""Connected regions of a mask: what there is in a picture, where, how large, and how sure the network was."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from components.features import IGNORE_LABEL, Color

MIN_AREA_SHARE = 0.0005
"""Of a picture: the least area of a region that counts, where none is said."""

_NEIGHBOURS = np.ones((3, 3), bool)
"""All eight: what is one pixel wide and runs obliquely, as a cable or a chair's leg does, stays one region."""


@dataclasses.dataclass(frozen=True)
class Region:
    """Pixels of one class that touch, by side or corner.

    Attributes:
        class_id: of all its pixels.
        left: first column.
        top: first row.
        right: column after the last.
        bottom: row after the last.
        area_px: number of its pixels.
        mean_score: mean of the scores of its pixels, in [0, 1], or None where there are none.
    """

    class_id: int
    left: int
    top: int
    right: int
    bottom: int
    area_px: int
    mean_score: float | None


def has_background(class_names: Sequence[str]) -> bool:
    """Tells whether the first class is called background; where not, all are objects, as `augment.for_classes` has it."""
    return class_names[0].lower() == "background"


def find_regions(mask: np.ndarray, scores: np.ndarray | None, background: bool, min_area_px: int | None = None) -> list[Region]:
    """Finds the connected regions of each class; void is none.

    Args:
        mask: uint8 [H, W], ids.
        scores: float32 [H, W] in [0, 1], how sure the network was of each pixel's class, or None.
        background: class 0 is no object: it has no regions.
        min_area_px: smaller regions are left out; by default those below `MIN_AREA_SHARE` of the mask.

    Returns:
        The regions, the largest first; of equal ones that of the lower id, then the upper, then the left one.

    Raises:
        ValueError: mask and scores differ in size.
    """
    if scores is not None and scores.shape != mask.shape:
        raise ValueError(f"scores have shape {scores.shape}, the mask {mask.shape}; expected the same.")
    if min_area_px is None:
        min_area_px = max(1, round(MIN_AREA_SHARE * mask.size))
    areas = np.bincount(mask.reshape(-1), minlength=IGNORE_LABEL + 1)
    areas[IGNORE_LABEL] = 0
    if background:
        areas[0] = 0
    found: list[Region] = []
    for class_id in np.flatnonzero(areas >= max(min_area_px, 1)):
        found += _regions_of(int(class_id), mask, scores, min_area_px)
    return sorted(found, key=lambda region: (-region.area_px, region.class_id, region.top, region.left))


def _regions_of(class_id: int, mask: np.ndarray, scores: np.ndarray | None, min_area_px: int) -> list[Region]:
    """Returns the regions of a class that occurs, looking only at the rows and columns where it does."""
    whole = mask == class_id
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    window = slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1)
    inside = whole[window]
    labels, count = ndimage.label(inside, _NEIGHBOURS)
    of_pixel = labels[inside]
    areas = np.bincount(of_pixel, minlength=count + 1)
    sums = None if scores is None else np.bincount(of_pixel, scores[window][inside], count + 1)
    kept = 1 + np.flatnonzero(areas[1:] >= min_area_px)
    number = np.zeros(count + 1, np.int32)
    number[kept] = 1 + np.arange(len(kept))  # Speckle, of which there may be a million, costs no Python object each.
    boxes = ndimage.find_objects(number[labels], max_label=len(kept))
    return [
        Region(
            class_id,
            left=left + across.start,
            top=top + down.start,
            right=left + across.stop,
            bottom=top + down.stop,
            area_px=int(areas[label]),
            mean_score=None if sums is None else float(sums[label] / areas[label]),
        )
        for label, (down, across) in zip(kept, boxes, strict=True)
    ]


def to_box(region: Region, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns a region as it is written as JSON; right and bottom lie just outside."""
    return {
        "class": class_names[region.class_id],
        "left": region.left,
        "top": region.top,
        "right": region.right,
        "bottom": region.bottom,
        "area": region.area_px,
        "mean_score": None if region.mean_score is None else round(region.mean_score, 4),
    }


def draw_boxes(overlay: np.ndarray, regions: Sequence[Region], palette: Sequence[Color]) -> np.ndarray:
    """Draws a frame around each region, in its class's colour, the small ones over the large.

    Args:
        overlay: uint8 [H, W, 3]; stays as it is.
        regions: what to frame.
        palette: colour of each id that occurs.

    Returns:
        uint8 [H, W, 3]. Lines lie within the box, and are as wide as a 250th of the picture's longer side: 2 pixels at 500.
    """
    framed = overlay.copy()
    width = max(1, round(max(overlay.shape) / 250))
    for region in sorted(regions, key=lambda region: -region.area_px):
        box = framed[region.top : region.bottom, region.left : region.right]
        for line in (box[:width], box[-width:], box[:, :width], box[:, -width:]):
            line[:] = palette[region.class_id]
    return framed
