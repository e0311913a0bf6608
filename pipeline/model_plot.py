"""Draws a network: a box a layer from top to bottom, a column a resolution, and skips as lines beside the columns."""

import functools
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from pipeline.model_graph import Box, fold, read

if TYPE_CHECKING:
    import keras

_BOX_PX = (210, 34)
_ROW_PX = 46
_GUTTER_PX = 46
_LANE_PX = 6
_HEAD_PX = 58
_GROUND, _INK, _LINE = "white", "black", "dimgray"
_COLORS = {
    "Transpose": "palegreen",
    "Upsample": "palegreen",
    "Unpool": "palegreen",
    "Conv": "lightblue",
    "Pool": "sandybrown",
    "Concatenate": "plum",
    "Add": "plum",
    "Functional": "khaki",
    "Encoder": "khaki",
}
"""By what a layer's class is called, the first that fits; others are grey."""


def draw(model: "keras.Model") -> PIL.Image.Image:
    """Draws a network that was built at a known size."""
    boxes = fold(read(model))
    corners = place(boxes)
    columns = {box.level: x for box, (x, _) in zip(boxes, corners, strict=True)}
    image = PIL.Image.new("RGB", (max(columns.values()) + _BOX_PX[0] + _GUTTER_PX, _HEAD_PX + len(boxes) * _ROW_PX), _GROUND)
    pen = PIL.ImageDraw.Draw(image)
    pen.text((_GUTTER_PX, 8), f"{model.name}, {model.count_params():,} parameters", _INK, _font(16))
    for level, x in columns.items():
        pen.text((x, 34), f"1/{2**level} of the input" if level else "as the input", _LINE, _font())
    for number, path in enumerate(_skips(boxes, corners)):
        _draw_skip(pen, path, number)
    for row, (box, corner) in enumerate(zip(boxes, corners, strict=True)):
        if row - 1 in box.sources:
            _draw_step(pen, corners[row - 1], corner)
        _draw_box(pen, box, corner)
    return image


def place(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Returns the upper left corner of each box: a row each, and the columns from fine to coarse."""
    levels = sorted({box.level for box in boxes})
    step = _BOX_PX[0] + _GUTTER_PX
    return [(_GUTTER_PX + levels.index(box.level) * step, _HEAD_PX + row * _ROW_PX) for row, box in enumerate(boxes)]


def encode(image: PIL.Image.Image) -> bytes:
    """Returns a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _skips(boxes: Sequence[Box], corners: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[int, int], int]]:
    """Yields what leads past the next box: the corners of its ends, and where it goes down beside the lower one's column."""
    lanes: dict[int, int] = {}  # Of a column's left side: how many lines go down there.
    for row, box in enumerate(boxes):
        for source in box.sources:
            if source != row - 1:
                left = corners[row][0]
                lanes[left] = lanes.get(left, 0) + 1
                yield corners[source], corners[row], left - _LANE_PX * (1 + lanes[left] % (_GUTTER_PX // _LANE_PX - 2))


def _draw_skip(pen: PIL.ImageDraw.ImageDraw, path: tuple[tuple[int, int], tuple[int, int], int], number: int) -> None:
    (x, y), (left, below), lane = path
    side = x if lane < x else x + _BOX_PX[0]
    color = ("darkviolet", "teal", "firebrick", "darkgoldenrod")[number % 4]
    upper, lower = y + _BOX_PX[1] * 2 // 3, below + _BOX_PX[1] // 3
    pen.line([(side, upper), (lane, upper), (lane, lower), (left, lower)], color, 2)
    pen.polygon([(left, lower), (left - 6, lower - 4), (left - 6, lower + 4)], color)


def _draw_step(pen: PIL.ImageDraw.ImageDraw, above: tuple[int, int], below: tuple[int, int]) -> None:
    middle = _BOX_PX[0] // 2
    end = (below[0] + middle, below[1])
    pen.line([(above[0] + middle, above[1] + _BOX_PX[1]), end], _LINE, 2)
    pen.polygon([end, (end[0] - 4, end[1] - 6), (end[0] + 4, end[1] - 6)], _LINE)


def _draw_box(pen: PIL.ImageDraw.ImageDraw, box: Box, corner: tuple[int, int]) -> None:
    (x, y), (width, height) = corner, _BOX_PX
    color = next((color for part, color in _COLORS.items() if part in box.kind), "gainsboro")
    pen.rectangle((x, y, x + width, y + height), color, _LINE)
    for line, text in enumerate((f"{box.kind}   {box.name}", "   ".join((box.shape, *box.behind)))):
        pen.text((x + 6, y + 2 + 15 * line), _cut(text, width - 12), _INK, _font())


def _cut(text: str, width_px: int) -> str:
    """Returns as much of a text as the width holds, with an ellipsis where that is not all."""
    if _font().getlength(text) <= width_px:
        return text
    return next(cut for end in range(len(text), -1, -1) if _font().getlength(cut := f"{text[:end].rstrip()}…") <= width_px)


@functools.cache
def _font(size: int = 12) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(size)
