"""Masks: from the encodings in which users keep them to class ids."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable

import numpy as np

from components import features, masks
from components.datasets.raster import Raster, open_raster
from components.datasets.spec import VOID, DatasetSpec

_STRANGE = 256
"""In an int16 array of ids: a value that no class has."""


@dataclasses.dataclass(frozen=True)
class Mask:
    """A mask that has been read.

    Attributes:
        ids: uint8 [H, W]: class ids, or 255 (void).
        kind: how the file keeps it, as in `Raster`.
        reading: the encoding by which it was read.
    """

    ids: np.ndarray
    kind: str
    reading: str

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """Pixels by id, int64 [256]; the last is void."""
        return masks.count_values(self.ids)


def decode_mask(encoded: bytes, spec: DatasetSpec) -> Mask:
    """Reads a mask's class ids, as `spec.mask` says.

    Args:
        encoded: the file's bytes, in one of `FORMATS`.
        spec: the data set.

    Raises:
        ValueError: not a picture, truncated, a mode that holds no ids; ids or colours of no class (with their count, the first
            one and where it is); or two readings that differ, with both.
    """
    return read_raster(open_raster(encoded), spec)


def read_raster(raster: Raster, spec: DatasetSpec) -> Mask:
    """Interprets a mask's pixels, as `spec.mask` says.

    Raises:
        ValueError: see `decode_mask`.
    """
    if raster.values.dtype == np.uint8 and raster.values.ndim == 2 and not raster.lossy:
        with contextlib.suppress(ValueError):  # What is wrong is said of pixels, and of the first of them.
            return _read_values(raster, spec)
    return _read_pixels(raster, spec)


def _read_values(raster: Raster, spec: DatasetSpec) -> Mask:
    """Interprets each value that occurs once, and not each pixel: the same ids, in a third of the time."""
    occurring = np.flatnonzero(masks.count_values(raster.values)).astype(np.uint8)
    mask = _read_pixels(dataclasses.replace(raster, values=occurring[np.newaxis]), spec)
    if np.array_equal(mask.ids[0], occurring):
        return dataclasses.replace(mask, ids=raster.values)
    table = np.zeros(256, np.uint8)
    table[occurring] = mask.ids[0]
    return dataclasses.replace(mask, ids=table[raster.values])


def _read_pixels(raster: Raster, spec: DatasetSpec) -> Mask:
    kind = raster.kind
    if raster.values.ndim == 3 and _is_grey(raster.values):
        kind = f"{kind} with r=g=b"
    if spec.mask.encoding == "auto":
        reading, ids = _read_any(raster, spec)
    else:
        reading = spec.mask.encoding
        ids = _finish(_READERS[reading](raster, spec), raster, spec, reading)
    return Mask(ids, kind, reading)


def _is_grey(colors: np.ndarray) -> bool:
    return bool((colors[..., 0] == colors[..., 1]).all() and (colors[..., 0] == colors[..., 2]).all())


def _read_ids(raster: Raster, spec: DatasetSpec) -> np.ndarray:
    """Returns int16 [H, W]: class ids, 255 (void) or `_STRANGE`."""
    _refuse_lossy(raster)
    values = raster.values
    if values.ndim == 3:
        if not _is_grey(values):
            y, x = _first((values[..., 0] != values[..., 1]) | (values[..., 0] != values[..., 2]))
            raise ValueError(
                f"the mask is in colour, first {_plain(values[y, x])} at x={x}, y={y}; expected ids. "
                'If its colours are the classes: mask.encoding = "colors"'
            )
        values = values[..., 0]
    return _id_table(spec)[values]


def _read_red(raster: Raster, spec: DatasetSpec) -> np.ndarray:
    _refuse_lossy(raster)
    values = raster.values[..., 0] if raster.values.ndim == 3 else raster.values
    return _id_table(spec)[values]


def _refuse_lossy(raster: Raster) -> None:
    """Refuses numbers from a format that smears them: an id that is smeared is another id, and nobody would notice."""
    if raster.lossy:
        raise ValueError(
            "the mask is in a lossy format, which smears ids; keep masks as PNG, or as colours (mask.color_tolerance)"
        )


def _read_colors(raster: Raster, spec: DatasetSpec) -> np.ndarray:
    if raster.palette is not None:
        return _ids_of_colors(raster.palette, spec)[raster.values]
    if raster.values.ndim == 3:
        return _ids_of_colors(raster.values, spec)
    if raster.values.dtype != np.uint8:
        raise ValueError(f"the mask is {raster.kind}; expected colours")
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    return _ids_of_colors(greys, spec)[raster.values]


def _read_binary(raster: Raster, spec: DatasetSpec) -> np.ndarray:
    del spec
    values = raster.values.max(axis=2) if raster.values.ndim == 3 else raster.values
    levels = np.unique(values)
    if np.count_nonzero(levels) > 1:
        if raster.lossy and levels[-1] >= 128:
            smeared = (values > 64) & (values < 191)
            if smeared.mean() > 0.1:  # At edges there is some grey; a photograph has much.
                y, x = _first(smeared)
                raise ValueError(
                    f"{smeared.sum()} pixels are neither black nor white, first {values[y, x]} at x={x}, y={y} (binary)"
                )
            return (values >= 128).astype(np.int16)
        shown = ", ".join(map(str, levels[:8])) + (", ..." if len(levels) > 8 else "")
        raise ValueError(f"the mask has the values {shown}; expected 0 and one other (binary)")
    return (values > 0).astype(np.int16)


_READERS: dict[str, Callable[[Raster, DatasetSpec], np.ndarray]] = {
    "ids": _read_ids,
    "red": _read_red,
    "colors": _read_colors,
    "binary": _read_binary,
}


def _read_any(raster: Raster, spec: DatasetSpec) -> tuple[str, np.ndarray]:
    """Returns the one reading that fits, and uint8 [H, W] by it; where several fit, they must agree."""
    readings: dict[str, np.ndarray] = {}
    for name in _plausible(raster, spec):
        try:
            readings[name] = _READERS[name](raster, spec)
        except ValueError:  # The first one always comes through: its strange pixels are what is complained of.
            continue
    whole = {name: ids for name, ids in readings.items() if not (ids == _STRANGE).any()}
    fitting = {name: _finish(ids, raster, spec, name) for name, ids in (whole or readings).items()}
    first, *others = fitting.items()
    for other in others:
        if not np.array_equal(first[1], other[1]):
            both = "; ".join(f'"{name}" gives {_shares(ids, spec)}' for name, ids in (first, other))
            raise ValueError(f"the mask ({raster.kind}) can be read in two ways: {both}. Say which: mask.encoding = ...")
    return first


def _plausible(raster: Raster, spec: DatasetSpec) -> tuple[str, ...]:
    """Names the readings that a person could mean by such a file, the natural one first."""
    if raster.values.ndim == 3 and not _is_grey(raster.values):
        return ("colors", "red") if not raster.lossy and not raster.values[..., 1:].any() else ("colors",)
    # White on black: the second class, or void?
    binary = ("binary",) if len(spec.classes) == 2 and _is_black_and_white(raster) else ()
    if raster.lossy:  # An id that is smeared is another id, and nobody would notice.
        return ("colors", *binary)
    return ("ids", "colors", *binary) if raster.palette is not None or raster.values.ndim == 3 else ("ids", *binary)


def _is_black_and_white(raster: Raster) -> bool:
    """Tells whether nothing but 0 and white occurs, or what a lossy format makes of them: not 0 and 7, say."""
    if raster.palette is not None and tuple(raster.palette[255]) != (255, 255, 255):
        return False
    bits = re.fullmatch(r"grey of (\d) bits?", raster.kind)
    white = 2 ** int(bits[1]) - 1 if bits else np.iinfo(raster.values.dtype).max
    return raster.lossy or bool(np.isin(raster.values, (0, white)).all())


def _shares(ids: np.ndarray, spec: DatasetSpec) -> str:
    counts = np.bincount(ids.reshape(-1), minlength=256)
    names = {**dict(enumerate(spec.classes)), features.IGNORE_LABEL: VOID}
    return ", ".join(f"{names[i]} {counts[i] / ids.size:.1%}" for i in np.argsort(-counts)[:4] if counts[i])


def _finish(ids: np.ndarray, raster: Raster, spec: DatasetSpec, reading: str) -> np.ndarray:
    """Gives strange pixels what `mask.rest` says, or refuses them; returns uint8 [H, W]."""
    strange = ids == _STRANGE
    if strange.any():
        if not spec.mask.rest:
            raise ValueError(_complaint(strange, raster, spec, reading))
        ids = np.where(strange, _rest(spec), ids)
    return ids.astype(np.uint8)


def _rest(spec: DatasetSpec) -> int:
    return features.IGNORE_LABEL if spec.mask.rest == VOID else spec.classes.index(spec.mask.rest)


def _complaint(strange: np.ndarray, raster: Raster, spec: DatasetSpec, reading: str) -> str:
    y, x = _first(strange)
    value, count = raster.values[y, x], int(strange.sum())
    where = f"at x={x}, y={y}"
    if reading == "colors":
        color = raster.palette[value] if raster.palette is not None else np.broadcast_to(value, 3)
        advice = "; a lossy format smears colours: mask.color_tolerance bears that" if raster.lossy else ""
        return f"{count} pixels have a colour that no class has, first {_plain(color)} {where}{advice}"
    void = f" and {' and '.join(map(str, spec.mask.void_ids))} (void)" if spec.mask.void_ids else ""
    number = value[0] if np.ndim(value) else value
    return f"{count} pixels have an id outside 0..{len(spec.classes) - 1}{void}, first {number} {where}"


def _first(strange: np.ndarray) -> tuple[int, int]:
    """Returns row and column of the first True of bool [H, W]; without the list of all, which may be of gigabytes."""
    y, x = np.unravel_index(int(strange.argmax()), strange.shape)
    return int(y), int(x)


def _plain(color: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in color)


@functools.lru_cache(maxsize=8)
def _id_table(spec: DatasetSpec) -> np.ndarray:
    """Returns int16 [65536]: what each stored number means."""
    table = np.full(65536, _STRANGE, np.int16)
    table[: len(spec.classes)] = np.arange(len(spec.classes))
    table[list(spec.mask.void_ids)] = features.IGNORE_LABEL
    return table


@functools.lru_cache(maxsize=8)
def _color_table(spec: DatasetSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the colours, int32 [K, 3], sorted by their codes; the codes, int32 [K]; and the ids, int16 [K]."""
    void = spec.mask.void_colors
    colors = np.array([*spec.palette, *void], np.int32)
    ids = np.array([*range(len(spec.classes)), *[features.IGNORE_LABEL] * len(void)], np.int16)
    order = np.argsort(_codes(colors), kind="stable")
    return colors[order], _codes(colors)[order], ids[order]


def _codes(colors: np.ndarray) -> np.ndarray:
    """Packs colours [..., 3] into int32: uint8 arithmetic would wrap."""
    wide = colors.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _ids_of_colors(colors: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Colours uint8 [..., 3] to int16 [...]: class ids, 255 (void) or `_STRANGE`."""
    _, codes, ids = _color_table(spec)
    wanted = _codes(colors)
    position = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    found = np.where(codes[position] == wanted, ids[position], np.int16(_STRANGE))
    strange = found == _STRANGE
    if spec.mask.color_tolerance and strange.any():
        distinct, inverse = np.unique(wanted[strange], return_inverse=True)
        found[strange] = _nearest(distinct, spec)[inverse]
    return found


def _nearest(codes: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Packed colours int32 [N] to the ids of the nearest ones in the table, `_STRANGE` beyond the tolerance, int16 [N]."""
    colors, _, ids = _color_table(spec)
    unpacked = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    best = np.zeros(len(codes), np.int64)
    least = np.full(len(codes), np.iinfo(np.int64).max)
    for index, color in enumerate(colors):  # A colour at a time: [N, K] distances of a large mask would fill the memory.
        distance = ((unpacked - color) ** 2).sum(axis=1)
        best, least = np.where(distance < least, index, best), np.minimum(least, distance)
    return np.where(least <= spec.mask.color_tolerance**2, ids[best], np.int16(_STRANGE))
