"""Seeded miniatures of the layouts in which people keep their data sets; the same seed writes the same bytes.

Each function writes one below a folder and returns the folder that is given as --data. At least 6 pictures are for training
and 2 for validation, and a pixel's colour tells its class, so that a small network learns something.
"""

import colorsys
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import PIL.Image

from components import features, masks
from components.datasets.cityscapes_pairs import builder as cityscapes_pairs
from components.features import Color

CLASSES = ("background", "leaf", "stone")
"""Of the sets that are nobody's in particular."""

COLORS: tuple[Color, ...] = ((0, 0, 0), (250, 50, 50), (40, 90, 250))
"""Their colours in masks that hold colours; none is VOC's but black."""

_BY_FRACTIONS = 20
"""Pictures of a set that is divided by 0.8, 0.1 and 0.1: 16, 2 and 2."""

MaskWriter = Callable[[np.ndarray], PIL.Image.Image]


def draw_pair(
    rng: np.random.Generator, classes: int, first: int, height: int = 48, width: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture of rectangles on a ground, and its mask.

    Args:
        rng: source of everything random.
        classes: how many there are.
        first: the class that occurs in any case, beside class 0.
        height: in pixels.
        width: in pixels.

    Returns:
        uint8 [H, W, 3] and uint8 [H, W] with ids 0..classes - 1.
    """
    ids = np.zeros((height, width), np.uint8)
    for class_id in (int(rng.integers(classes)), first):
        y, x = int(rng.integers(height // 2)), int(rng.integers(width // 2))
        ids[y : y + height // 2, x : x + width // 3] = class_id
    colors = np.array([_seen_color(index, classes) for index in range(classes)])
    return (colors[ids] + rng.normal(0, 8, (height, width, 3))).clip(0, 255).astype(np.uint8), ids


def _seen_color(class_id: int, classes: int) -> Color:
    """The colour of a class in the pictures, not in the masks: grey, then hues."""
    if class_id == 0:
        return 120, 120, 120
    red, green, blue = colorsys.hsv_to_rgb((class_id - 1) / (classes - 1), 0.9, 0.9 if class_id % 2 else 0.5)
    return round(255 * red), round(255 * green), round(255 * blue)


def as_grey(ids: np.ndarray) -> PIL.Image.Image:
    """Keeps ids as grey values."""
    return PIL.Image.fromarray(ids)


def as_palette(ids: np.ndarray, palette: Sequence[Color] = features.voc_palette()) -> PIL.Image.Image:
    """Keeps ids as indices."""
    return masks.to_palette_image(ids, palette)


def as_colors(ids: np.ndarray, colors: Sequence[Color] = COLORS) -> PIL.Image.Image:
    """Keeps ids as the colours of their classes."""
    return PIL.Image.fromarray(np.array(colors, np.uint8)[ids])


def as_red(ids: np.ndarray) -> PIL.Image.Image:
    """Keeps ids in the red channel."""
    return PIL.Image.fromarray(np.stack([ids, np.zeros_like(ids), np.zeros_like(ids)], axis=-1))


def write_voc(
    folder: pathlib.Path,
    year: int | str = 2007,
    classes: int = 3,
    write_mask: MaskWriter = as_palette,
    crlf: bool = False,
    official_ids: bool = False,
    empty_test: bool = True,
) -> pathlib.Path:
    """Writes VOCdevkit/VOC<year> with lists: 8 train and 3 val, no test.

    Args:
        folder: where VOCdevkit goes.
        year: of the folder's name.
        classes: how many there are; each occurs.
        write_mask: how a mask keeps ids.
        crlf: lists as Windows writes them, without an end of the last line.
        official_ids: ids as VOC's own, instead of plain numbers.
        empty_test: whether there is a test.txt, without a line in it.
    """
    root = folder / "VOCdevkit" / f"VOC{year}"
    keys = [f"2007_{number:06d}" if official_ids else str(number) for number in range(11)]
    _write_pairs(root / "JPEGImages", root / "SegmentationClass", keys, classes, write_mask, seed=1)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    end = "\r\n" if crlf else "\n"
    for split, listed in {"train": keys[:8], "val": keys[8:]}.items():
        (lists / f"{split}.txt").write_bytes((end.join(listed) + ("" if crlf else end)).encode())
    if empty_test:
        (lists / "test.txt").write_bytes(b"")
    return folder


def write_labelme(folder: pathlib.Path, old: bool = False) -> pathlib.Path:
    """Writes what labelme2voc.py exports: palette masks, class_names.txt, no lists.

    Args:
        folder: where the folders go.
        old: as before labelme 5.3: the PNGs lie in SegmentationClassPNG, and SegmentationClass holds NumPy arrays.
    """
    names = "SegmentationClassPNG" if old else "SegmentationClass"
    keys = [f"photo_{number:02d}" for number in range(_BY_FRACTIONS)]
    _write_pairs(folder / "JPEGImages", folder / names, keys, len(CLASSES), as_palette, seed=2)
    arrays, pictures = (
        folder / ("SegmentationClass" if old else "SegmentationClassNpy"),
        folder / "SegmentationClassVisualization",
    )
    arrays.mkdir(exist_ok=True)
    pictures.mkdir()
    for key in keys:
        with PIL.Image.open(folder / names / f"{key}.png") as mask:
            np.save(arrays / f"{key}.npy", np.asarray(mask).astype(np.int32))
            mask.convert("RGB").save(pictures / f"{key}.jpg")
    (folder / "class_names.txt").write_text("\n".join(["_background_", *CLASSES[1:]]))
    return folder


def write_cvat_voc(folder: pathlib.Path) -> pathlib.Path:
    """Writes what CVAT exports as "Segmentation mask 1.1": masks in colours, labelmap.txt sorted by name, a list of all."""
    keys = [f"frame_{number:06d}" for number in range(_BY_FRACTIONS)]
    names = sorted(range(len(CLASSES)), key=lambda index: CLASSES[index])
    _write_pairs(folder / "JPEGImages", folder / "SegmentationClass", keys, len(CLASSES), as_colors, seed=3)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("".join(f"{key}\n" for key in keys))
    lines = [f"{CLASSES[index]}:{','.join(map(str, COLORS[index]))}::\n" for index in names]
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(lines))
    return folder


def write_camvid(folder: pathlib.Path) -> pathlib.Path:
    """Writes CamVid as the SegNet tutorial keeps it: lists of pairs, grey masks of 11 classes, 11 is void."""
    root = folder / "CamVid"
    for seed, (split, size) in enumerate({"train": 11, "val": 4, "test": 2}.items(), start=40):
        keys = [f"0001TP_{1000 * seed + number:06d}" for number in range(size)]
        paths = root / split, root / f"{split}annot"
        _write_pairs(*paths, keys, 11, _with_void_11, seed=seed, image_ending="png")
        lines = [f"/SegNet/CamVid/{split}/{key}.png /SegNet/CamVid/{split}annot/{key}.png\n" for key in keys]
        (root / f"{split}.txt").write_text("".join(lines))
    return folder


def _with_void_11(ids: np.ndarray) -> PIL.Image.Image:
    ids = ids.copy()
    ids[:2] = 11
    return as_grey(ids)


def write_carla(folder: pathlib.Path) -> pathlib.Path:
    """Writes data/CameraRGB and data/CameraMask: 23 classes in the red channel."""
    keys = [f"F61-{number}" for number in range(_BY_FRACTIONS)]
    root = folder / "data"
    _write_pairs(root / "CameraRGB", root / "CameraMask", keys, 23, as_red, seed=5, image_ending="png")
    return folder


def write_cityscapes_pairs(folder: pathlib.Path) -> pathlib.Path:
    """Writes train/ and val/ with JPEGs of 512x256: a photograph and its mask in Cityscapes' colours, which the JPEG smears."""
    colors = cityscapes_pairs.SPEC.palette
    _write_sides(folder, colors, size_px=256, ending="jpg", seed=6)
    return folder


def write_sides(folder: pathlib.Path, mask_side: str = "left") -> pathlib.Path:
    """Writes train/ and val/ with PNGs of 96x48 that hold a picture and its mask in the colours of `COLORS`."""
    _write_sides(folder, COLORS, size_px=48, ending="png", seed=7, mask_first=mask_side == "left")
    return folder


def _write_sides(
    folder: pathlib.Path, colors: Sequence[Color], size_px: int, ending: str, seed: int, mask_first: bool = False
) -> None:
    rng = np.random.default_rng(seed)
    for split, size in {"train": 8, "val": 3}.items():
        (folder / split).mkdir(parents=True)
        for number in range(size):
            image, ids = draw_pair(rng, len(colors), number % len(colors), size_px, size_px)
            halves = [image, np.array(colors, np.uint8)[ids]]
            both = np.concatenate(halves[::-1] if mask_first else halves, axis=1)
            PIL.Image.fromarray(both).save(folder / split / f"{number + 1}.{ending}", **_options(ending, 75))


def write_folders(
    folder: pathlib.Path,
    images: str = "images",
    masks: str = "masks",
    splits: Sequence[str] = (),
    mask_suffix: str = "",
    write_mask: MaskWriter = as_grey,
    classes: int = 3,
    mask_ending: str = "png",
) -> pathlib.Path:
    """Writes a folder of pictures and one of masks: 20 pairs, or 8, 3 and 2 for train, validation and test.

    Args:
        folder: where they go.
        images: path of the pictures, with {split} where there are splits.
        masks: likewise.
        splits: names of the splits' folders, in this order; none: one folder for all.
        mask_suffix: behind a picture's name in its mask's.
        write_mask: how a mask keeps ids.
        classes: how many there are; each occurs.
        mask_ending: of the masks' files.
    """
    sizes = dict(zip(splits, (8, 3, 2), strict=False)) or {"": _BY_FRACTIONS}
    for seed, (split, size) in enumerate(sizes.items(), start=80):
        paths = [folder / path.replace("{split}", split) for path in (images, masks)]
        keys = [f"{split or 'a'}{number}" for number in range(size)]
        _write_pairs(*paths, keys, classes, write_mask, seed, mask_suffix=mask_suffix, mask_ending=mask_ending)
    return folder


def _write_pairs(
    images: pathlib.Path,
    masks: pathlib.Path,
    keys: Sequence[str],
    classes: int,
    write_mask: MaskWriter,
    seed: int,
    *,
    image_ending: str = "jpg",
    mask_suffix: str = "",
    mask_ending: str = "png",
) -> None:
    """Writes a picture and a mask a key; every class occurs if there are as many keys as classes."""
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number, key in enumerate(keys):
        # From the last class on: with fewer keys than classes the largest id occurs all the same.
        image, ids = draw_pair(rng, classes, classes - 1 - number % classes)
        PIL.Image.fromarray(image).save(images / f"{key}.{image_ending}", **_options(image_ending, 90))
        write_mask(ids).save(masks / f"{key}{mask_suffix}.{mask_ending}")


def _options(ending: str, quality: int) -> dict[str, int]:
    return {"quality": quality} if ending == "jpg" else {}
