"""A seeded miniature VOCdevkit: what `make run` trains on, and what the tests read.

Discs, squares and triangles on a grey ground; each of the 20 object classes has a colour of its own, every object a border of
void, and sizes vary, so that all that VOC is made of occurs, and a small network can learn it.
"""

import colorsys
import os
import pathlib
import shutil
import uuid

import numpy as np
import PIL.Image
import PIL.ImageDraw

from components import features, masks

SPLIT_SIZES = {"train": 84, "val": 42, "test": 42}
"""How many pictures a split has; at least 20 each, so that each object class is drawn in each split."""

_SIZES_PX = ((96, 128), (128, 96), (100, 133), (75, 100))
_BORDER_PX = 2


def write_fake_voc(folder: os.PathLike | str, seed: int = 0, split_sizes: dict[str, int] | None = None) -> pathlib.Path:
    """Writes the set below a folder; it appears whole or not at all, and is left as it is where it exists.

    Args:
        folder: where `VOCdevkit/VOC2007` goes.
        seed: same seed, same bytes.
        split_sizes: pictures a split, by default `SPLIT_SIZES`.

    Returns:
        The folder VOCdevkit/VOC2007.
    """
    folder = pathlib.Path(folder)
    if not (folder / "VOCdevkit").exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".VOCdevkit.{uuid.uuid4().hex[:8]}"
        try:
            _write(partial / "VOC2007", seed, SPLIT_SIZES if split_sizes is None else split_sizes)
            partial.rename(folder / "VOCdevkit")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder / "VOCdevkit" / "VOC2007"


def _write(voc: pathlib.Path, seed: int, split_sizes: dict[str, int]) -> None:
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / part).mkdir(parents=True)
    palette = features.voc_palette()
    rng = np.random.default_rng(seed)
    index = 0
    for split, size in split_sizes.items():
        keys = []
        for number in range(size):
            keys.append(f"2007_{index:06d}")
            image, mask = draw_pair(rng, first_class=1 + number % 20)
            PIL.Image.fromarray(image).save(voc / "JPEGImages" / f"{keys[-1]}.jpg", quality=90)
            masks.to_palette_image(mask, palette).save(voc / "SegmentationClass" / f"{keys[-1]}.png")
            index += 1
        (voc / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))


def draw_pair(rng: np.random.Generator, first_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture and its mask.

    Args:
        rng: source of everything random.
        first_class: class of the first object, 1..20; one or two others are random.

    Returns:
        uint8 [H, W, 3] and uint8 [H, W] with ids 0..20 and 255.
    """
    height, width = _SIZES_PX[rng.integers(len(_SIZES_PX))]
    mask = PIL.Image.new("L", (width, height), 0)
    ground = rng.integers(90, 150)
    image = PIL.Image.new("RGB", (width, height), (int(ground),) * 3)
    draw_mask, draw_image = PIL.ImageDraw.Draw(mask), PIL.ImageDraw.Draw(image)
    for class_id in [*rng.integers(1, 21, size=rng.integers(1, 3)), first_class]:
        radius = int(rng.integers(height // 6, height // 3))
        x, y = int(rng.integers(radius, width - radius)), int(rng.integers(radius, height - radius))
        shape = rng.integers(3)
        _draw(draw_mask, shape, x, y, radius + _BORDER_PX, features.IGNORE_LABEL)
        _draw(draw_mask, shape, x, y, radius, int(class_id))
        _draw(draw_image, shape, x, y, radius, class_color(int(class_id)))
    noise = rng.normal(0, 6, (height, width, 3))
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8), np.asarray(mask)


def class_color(class_id: int) -> tuple[int, int, int]:
    """Returns the colour of an object class in the pictures (not in the masks): ten hues, light and dark."""
    hue, dark = (class_id - 1) % 10 / 10, (class_id - 1) // 10
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.4 if dark else 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw(draw: PIL.ImageDraw.ImageDraw, shape: int, x: int, y: int, radius: int, fill: int | tuple[int, int, int]) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == 0:
        draw.ellipse(box, fill=fill)
    elif shape == 1:
        draw.rectangle(box, fill=fill)
    else:
        draw.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=fill)
