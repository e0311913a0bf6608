"""A picture of a data set: some pairs as image, mask and overlay, with a legend."""

import dataclasses
import functools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from components import features, masks
from components.datasets.examples import BadFileError, read_pair
from components.datasets.layout import Pair
from components.datasets.spec import VOID, DatasetSpec

_HEIGHT_PX, _WIDTH_PX, _GAP_PX, _LINE_PX = 180, 240, 8, 18
"""The box that a picture is drawn into, the space around it, and a line of text."""

_GROUND, _INK = (255, 255, 255), (30, 30, 30)


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a row shows.

    Attributes:
        title: what stands above it.
        image: uint8 [H, W, 3], RGB.
        ids: uint8 [H, W], 0..C-1 or 255.
    """

    title: str
    image: np.ndarray
    ids: np.ndarray


Vary = Callable[[Iterable[Sample | str]], Iterable[Sample | str]]
"""Makes other rows of rows; a text is that of a row without a picture."""


def choose(pairs: Mapping[str, Sequence[Pair]], count: int, seed: int) -> list[tuple[str, Pair]]:
    """Returns some pairs with their split, the same for the same seed, in the order of the lists."""
    listed = [(split, pair) for split, of_split in pairs.items() for pair in of_split]
    chosen = random.Random(seed).sample(range(len(listed)), min(count, len(listed)))
    return [listed[index] for index in sorted(chosen)]


def draw(chosen: Sequence[tuple[str, Pair]], spec: DatasetSpec, vary: Vary = iter) -> tuple[np.ndarray, list[str]]:
    """Draws a row a pair: image, mask in the classes' colours, overlay; below them a legend of the classes that occur.

    Args:
        chosen: split and pair.
        spec: the data set.
        vary: makes of the pairs what is drawn instead; by default themselves.

    Returns:
        uint8 [H, W, 3], and a line for each pair that cannot be read, in whose place its reason stands.
    """
    rows, seen, unreadable = [], set(), list[str]()
    for sample in vary(_read(chosen, spec, unreadable)):
        if isinstance(sample, str):
            rows.append(_row(sample, []))
            continue
        seen.update(np.unique(sample.ids).tolist())
        panels = [sample.image, _colors(spec)[sample.ids], masks.overlay(sample.image, sample.ids, _colors(spec))]
        rows.append(_row(sample.title, panels))
    return np.concatenate([*rows, _legend(sorted(seen), spec)]), unreadable


def _read(chosen: Sequence[tuple[str, Pair]], spec: DatasetSpec, unreadable: list[str]) -> Iterator[Sample | str]:
    """Yields pair by pair what is shown of it, or why it cannot be read; lists the latter with the file."""
    for split, pair in chosen:
        try:
            picture, mask = read_pair(pair, spec)
        except BadFileError as error:
            unreadable.append(f"{split}/{pair.key}: {error.file}: {error.reason}")
            yield f"{split}/{pair.key}: {error.reason}"
        else:
            yield Sample(f"{split}/{pair.key}", picture.pixels, mask.ids)


def _colors(spec: DatasetSpec) -> np.ndarray:
    """Returns uint8 [256, 3]: each class's colour, and void's at the end."""
    colors = np.array(features.voc_palette(), np.uint8)
    colors[: len(spec.classes)] = spec.palette
    return colors


def _row(title: str, panels: Sequence[np.ndarray]) -> np.ndarray:
    row = PIL.Image.new("RGB", (3 * (_WIDTH_PX + _GAP_PX) + _GAP_PX, _HEIGHT_PX + _LINE_PX + _GAP_PX), _GROUND)
    PIL.ImageDraw.Draw(row).text((_GAP_PX, 2), _short(title, row.width - 2 * _GAP_PX), _INK, _font())
    for column, panel in enumerate(panels):
        image = PIL.Image.fromarray(panel)
        scale = min(_WIDTH_PX / image.width, _HEIGHT_PX / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        # Masks keep their colours; a photograph may be smoothed.
        resized = image.resize(size, PIL.Image.Resampling.NEAREST if column == 1 else PIL.Image.Resampling.BILINEAR)
        row.paste(resized, (_GAP_PX + column * (_WIDTH_PX + _GAP_PX), _LINE_PX))
    return np.asarray(row)


def _short(text: str, width_px: int) -> str:
    """Returns a text in one line, cut to what the width holds."""
    line, font = " ".join(text.split()), _font()
    if font.getlength(line) <= width_px:
        return line
    kept = width_px  # A letter is a pixel wide at least.
    while kept and font.getlength(line[:kept] + "...") > width_px:
        kept -= 1
    return line[:kept] + "..."


def _legend(ids: Sequence[int], spec: DatasetSpec) -> np.ndarray:
    width = 3 * (_WIDTH_PX + _GAP_PX) + _GAP_PX
    names = {**dict(enumerate(spec.classes)), features.IGNORE_LABEL: VOID}
    columns = 3
    lines = max(1, math.ceil(len(ids) / columns))
    legend = PIL.Image.new("RGB", (width, lines * _LINE_PX + _GAP_PX), _GROUND)
    pen = PIL.ImageDraw.Draw(legend)
    for place, class_id in enumerate(ids):
        x, y = _GAP_PX + place % columns * (_WIDTH_PX + _GAP_PX), place // columns * _LINE_PX
        pen.rectangle((x, y + 2, x + 12, y + 14), fill=tuple(_colors(spec)[class_id].tolist()), outline=_INK)
        pen.text((x + 18, y + 1), _short(f"{class_id} {names[class_id]}", _WIDTH_PX - 18), _INK, _font())
    return np.asarray(legend)


@functools.cache
def _font() -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(12)
