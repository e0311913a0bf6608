"""What a mask says of a picture, as JSON for who looks at it: coloured mask, legend, boxes."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from components import masks, regions
from components.features import Color
from pipeline import charts


def describe(
    mask: np.ndarray, scores: np.ndarray | None, class_names: Sequence[str], palette: Sequence[Color]
) -> dict[str, Any]:
    """Describes a mask.

    Args:
        mask: uint8 [H, W], ids.
        scores: float32 [H, W] in [0, 1], or None.
        class_names: in the order of the ids.
        palette: colour of each class.

    Returns:
        `height` and `width` in pixels; `mask`: base64 of a palette PNG whose indices are the ids, background transparent;
        `legend`: class, color (#rrggbb), pixels and share (0..1) of each class that occurs, the most frequent first; `boxes`:
        each region as `regions.to_box` has it, with its color, the largest first.
    """
    background = regions.has_background(class_names)
    counts = np.bincount(mask.reshape(-1), minlength=len(class_names))
    found = regions.find_regions(mask, scores, background)
    return {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "mask": base64.b64encode(_palette_png(mask, palette, background)).decode(),
        "legend": [
            {
                "class": class_names[index],
                "color": charts.to_hex(palette[index]),
                "pixels": int(counts[index]),
                "share": float(counts[index] / mask.size),
            }
            for index in np.argsort(-counts, kind="stable")
            if counts[index]
        ],
        "boxes": [regions.to_box(region, class_names) | {"color": charts.to_hex(palette[region.class_id])} for region in found],
    }


def _palette_png(mask: np.ndarray, palette: Sequence[Color], background: bool) -> bytes:
    buffer = io.BytesIO()
    image = masks.to_palette_image(mask, palette)
    if background:
        image.save(buffer, format="PNG", transparency=0)
    else:
        image.save(buffer, format="PNG")
    return buffer.getvalue()
