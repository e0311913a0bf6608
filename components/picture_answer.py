"""What a mask says of a picture, as JSON for who looks at it: coloured mask, legend, boxes."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image

from components import masks, regions
from components.features import Color

SMALLEST_BOX = 1 / 1000
"""Share of the picture below which a region has no box."""


def describe(encoded_mask: bytes, class_names: Sequence[str], palette: Sequence[Color]) -> dict[str, Any]:
    """Describes a mask.

    Args:
        encoded_mask: PNG of ids, as the SavedModel answers.
        class_names: in the order of the ids.
        palette: colour of each class.

    Returns:
        `height` and `width` in pixels; `mask`: base64 of a palette PNG whose indices are the ids, background transparent;
        `legend`: class, color (#rrggbb), pixels and share (0..1) of each class that occurs, the most frequent first; `boxes`:
        class, color, left, top, right, bottom (right and bottom exclusive) and area_px of each region, the largest first.
    """
    mask = np.asarray(PIL.Image.open(io.BytesIO(encoded_mask)))
    background = regions.has_background(class_names)
    counts = np.bincount(mask.reshape(-1), minlength=len(class_names))
    found = regions.find_regions(mask, None, background, max(1, round(SMALLEST_BOX * mask.size)))
    return {
        "height": mask.shape[0],
        "width": mask.shape[1],
        "mask": base64.b64encode(_palette_png(mask, palette, background)).decode(),
        "legend": [
            {
                "class": class_names[index],
                "color": hex_color(palette[index]),
                "pixels": int(counts[index]),
                "share": float(counts[index] / mask.size),
            }
            for index in np.argsort(-counts, kind="stable")
            if counts[index]
        ],
        "boxes": [
            {
                "class": class_names[region.class_id],
                "color": hex_color(palette[region.class_id]),
                "left": region.left,
                "top": region.top,
                "right": region.right,
                "bottom": region.bottom,
                "area_px": region.area_px,
            }
            for region in found
        ],
    }


def hex_color(color: Color) -> str:
    """Returns, for instance, `#c08080`."""
    return "#" + "".join(f"{channel:02x}" for channel in color)


def _palette_png(mask: np.ndarray, palette: Sequence[Color], background: bool) -> bytes:
    buffer = io.BytesIO()
    image = masks.to_palette_image(mask, palette)
    if background:
        image.save(buffer, format="PNG", transparency=0)
    else:
        image.save(buffer, format="PNG")
    return buffer.getvalue()
