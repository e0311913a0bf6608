"""Draws a network: a box a layer from top to bottom, a column a resolution, and skips as lines beside the columns."""

import dataclasses
import functools
import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """A layer of a network.

    Attributes:
        kind: its class, and the size of its kernel.
        name: its own.
        shape: of its (last) output without the batch, as text.
        level: how often the resolution has been halved.
        sources: numbers of the boxes that it reads, each before its own.
    """

    kind: str
    name: str
    shape: str
    level: int
    sources: tuple[int, ...]


def draw(model: "keras.Model") -> PIL.Image.Image:
    """Draws a network that was built at a known size."""
    boxes = read(model)
    columns = {level: column for column, level in enumerate(sorted({box.level for box in boxes}))}
    step = _BOX_PX[0] + _GUTTER_PX
    image = PIL.Image.new("RGB", (len(columns) * step + _GUTTER_PX, _HEAD_PX + len(boxes) * _ROW_PX), _GROUND)
    pen = PIL.ImageDraw.Draw(image)
    pen.text((_GUTTER_PX, 8), f"{model.name}, {model.count_params():,} parameters", _INK, _font(16))
    for level, column in columns.items():
        pen.text((_GUTTER_PX + column * step, 34), f"1/{2**level} of the input" if level else "as the input", _LINE, _font())
    corners = [(_GUTTER_PX + columns[box.level] * step, _HEAD_PX + row * _ROW_PX) for row, box in enumerate(boxes)]
    for number, path in enumerate(_skips(boxes, corners)):
        _draw_skip(pen, path, number)
    for row, (box, corner) in enumerate(zip(boxes, corners, strict=True)):
        if row - 1 in box.sources:
            _draw_step(pen, corners[row - 1], corner)
        _draw_box(pen, box, corner)
    return image


def encode(image: PIL.Image.Image) -> bytes:
    """Returns a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def read(model: "keras.Model") -> list[Box]:
    """Returns the boxes of a network, branch by branch; a network within it is one box."""
    boxes: list[Box] = []
    made: dict[int, tuple[int, int, int]] = {}  # Of a tensor: its box, its level and its height.
    for operation in _in_order(model):
        node = operation._inbound_nodes[-1]
        sources = [made[id(tensor)] for tensor in node.input_tensors]
        for tensor in node.output_tensors:
            height = tensor.shape[1] if len(tensor.shape) == 4 else 1
            level = _level(operation, sources, height)
            made[id(tensor)] = (len(boxes), level, height)
        shape = " x ".join(map(str, tensor.shape[1:]))
        numbers = tuple(sorted({number for number, _, _ in sources}))
        boxes.append(Box(kind=_kind(operation), name=operation.name, shape=shape, level=level, sources=numbers))
    return boxes


def _in_order(model: "keras.Model") -> list[Any]:
    """Returns the layers, each behind those that it reads, and a branch in one piece, the longest first."""
    parents: dict[Any, list[Any]] = {}
    length: dict[Any, int] = {}
    for operation in model.operations:  # Each behind those that it reads already, but all branches at once.
        tensors = operation._inbound_nodes[-1].input_tensors
        parents[operation] = [tensor._keras_history.operation for tensor in tensors]
        length[operation] = 1 + max((length[parent] for parent in parents[operation]), default=0)
    ordered: dict[Any, None] = {}
    todo = sorted(parents, key=lambda operation: length[operation])  # The last, which reads all, is on top.
    while todo:
        operation = todo[-1]
        missing = [parent for parent in parents[operation] if parent not in ordered]
        if missing:
            todo += sorted(missing, key=lambda parent: length[parent])
        else:
            ordered[todo.pop()] = None
    return list(ordered)


def _level(operation: Any, sources: Sequence[tuple[int, int, int]], height: int) -> int:
    """Returns a tensor's level: that of the largest one it is made of, and how often that was halved."""
    if not sources:
        return 0
    _, level, before = max(sources, key=lambda source: source[2])
    if any(part in type(operation).__name__ for part in ("Crop", "Global")):  # Smaller, but no coarser.
        return level
    return level + round(math.log2(before / height))


def _kind(operation: Any) -> str:
    kernel = getattr(operation, "kernel_size", None)
    return type(operation).__name__ + (" " + "x".join(map(str, kernel)) if kernel else "")


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
    pen.text((x + 6, y + 2), _cut(f"{box.kind}   {box.name}", width - 12), _INK, _font())
    pen.text((x + 6, y + 17), box.shape, _INK, _font())


def _cut(text: str, width_px: int) -> str:
    """Returns as much of a text as the width holds."""
    return next(text[:end] for end in range(len(text), -1, -1) if _font().getlength(text[:end]) <= width_px)


@functools.cache
def _font(size: int = 12) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(size)
