"""What the masks of a folder without a description mean: their encoding and classes, or an error that shows both readings.

A mask is kept as its distinct values with their counts: whatever `mask_reader` says of a value, it says of each of its pixels.
"""

import concurrent.futures
import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from components import features
from components.datasets import files
from components.datasets.layout import Pair
from components.datasets.raster import Raster, open_raster
from components.datasets.spec import SPEC_FILE, VOID, DatasetSpec, MaskEncoding, to_toml
from components.errors import DataError
from components.features import IGNORE_LABEL, Color

MAX_COLORS = 64
"""More colours than that are no classes, but edges that were smoothed or smeared."""

VOID_COLOR = features.voc_palette()[IGNORE_LABEL]

_KEPT_VALUES = 4096
"""Distinct values of a mask that are kept; more of them are refused in any case."""

_MAX_RED = 63
"""Ids in the red channel are small; VOC's own colours begin at 64."""

_APART = 70.0
"""Colours that are nearer to each other may be one class's, smeared."""

_THREADS = 8
_WHITE = (255, 255, 255)


@dataclasses.dataclass(frozen=True)
class Look:
    """A mask's distinct values, the most frequent first.

    Attributes:
        raster: as it was opened, with values [1, N] or [1, N, 3].
        counts: int64 [N], pixels of each value.
    """

    raster: Raster
    counts: np.ndarray

    @property
    def colors(self) -> np.ndarray:
        """uint8 [N, 3]: the values as colours, indices by their palette."""
        values = self.raster.values[0]
        if self.raster.palette is not None:
            return self.raster.palette[values]
        return values if values.ndim == 2 else np.repeat(values.astype(np.uint8)[:, np.newaxis], 3, axis=1)

    @property
    def ids(self) -> np.ndarray | None:
        """int64 [N]: the values as ids, None where they are colours."""
        values = self.raster.values[0]
        if values.ndim == 1:
            return values.astype(np.int64)
        return values[:, 0].astype(np.int64) if (values == values[:, :1]).all() else None


@dataclasses.dataclass(frozen=True)
class Names:
    """The classes by a file of their names.

    Attributes:
        file: its name, empty where there is none.
        classes: in the order of the file.
        colors: of the classes; empty where the file has none.
    """

    file: str = ""
    classes: tuple[str, ...] = ()
    colors: tuple[Color, ...] = ()


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the masks mean, as `DatasetSpec` has it.

    Attributes:
        mask: their encoding.
        classes: names in the order of the ids.
        colors: of the classes, or empty.
        notes: sentences for the user.
    """

    mask: MaskEncoding
    classes: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    notes: tuple[str, ...] = ()

    def apply(self, draft: DatasetSpec) -> DatasetSpec:
        """Returns a draft's layout and splits with this meaning."""
        return dataclasses.replace(draft, classes=self.classes, colors=self.colors, mask=self.mask)


def parse_names(file: str, text: str) -> Names:
    """Reads a name a line, or what CVAT calls labelmap.txt.

    labelme's __ignore__ is no class, and its _background_ is the background. In a labelmap a line is name:r,g,b:parts:actions;
    a label without a colour, or with void's, is no class.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not file.endswith("labelmap.txt"):
        classes = lines[1:] if lines[:1] == ["__ignore__"] else lines
        return Names(file, tuple("background" if name == "_background_" else name for name in classes))
    colors: dict[str, Color] = {}
    for line in lines:
        match = re.fullmatch(r"([^:#][^:]*):(\d{1,3}),(\d{1,3}),(\d{1,3})(:.*)?", line, re.ASCII)
        if match and (color := (int(match[2]), int(match[3]), int(match[4]))) != VOID_COLOR:
            colors[match[1].strip()] = color
    return Names(file, tuple(colors), tuple(colors.values()))


def condense(raster: Raster) -> Look:
    """Counts the distinct values of a mask."""
    values = raster.values.reshape(-1, *raster.values.shape[2:])
    codes = values.astype(np.int32) if values.ndim == 1 else _codes(values)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))  # Masks are flat: there are far fewer runs to sort than pixels.
    lengths = np.diff(starts, append=len(codes))
    _, first, inverse = np.unique(codes[starts], return_index=True, return_inverse=True)
    counts = np.bincount(inverse, weights=lengths).astype(np.int64)
    order = np.argsort(-counts, kind="stable")[:_KEPT_VALUES]
    return Look(dataclasses.replace(raster, values=values[starts[first[order]]][np.newaxis]), counts[order])


def choose(pairs: Iterable[Pair], sample: int) -> list[Pair]:
    """Returns up to `sample` pairs with a mask of their own each, spread evenly over all, sorted by their keys."""
    ordered = sorted({pair.mask: pair for pair in pairs if not pair.problem}.values(), key=lambda pair: (pair.key, pair.mask))
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(sample, len(ordered))).round().astype(int))
    return [ordered[index] for index in picked]


def open_masks(pairs: Sequence[Pair], mask_side: str = "") -> tuple[list[Look], list[str]]:
    """Returns what the masks hold, and of each that cannot be opened its file and the reason.

    Args:
        pairs: all of them are opened.
        mask_side: as in `Layout`.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        opened = list(pool.map(functools.partial(_open, mask_side=mask_side), pairs))
    return [one for one in opened if isinstance(one, Look)], [one for one in opened if isinstance(one, str)]


def _open(pair: Pair, mask_side: str) -> Look | str:
    try:
        encoded = read_inside(pair.mask, pair.folder)
        if not mask_side:
            return condense(open_raster(encoded))
        left, right = open_sides(encoded)
        return condense(left if mask_side == "left" else right)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            files.raise_passing(error)
        return f"{pair.mask}: {getattr(error, 'strerror', None) or error}"


def read_inside(path: str, folder: str) -> bytes:
    """Reads a file of the data folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a link that leaves the folder.
    """
    if not files.stays_inside(path, folder):
        raise ValueError(f"it is a link that leaves the data folder {folder}")
    return files.read_bytes(path)


def open_sides(encoded: bytes) -> tuple[Raster, Raster]:
    """Returns the left and the right half of a picture, as masks.

    Raises:
        ValueError: not a picture, damaged, or of an odd width.
    """
    from components.datasets import images  # It brings TensorFlow's decoder, which only such pictures need.

    picture = images.read_picture(encoded)
    lossy = picture.lossy
    width = picture.pixels.shape[1]
    if width % 2:
        raise ValueError(f"the image is {width} pixels wide; expected two halves of one size")
    # Not by images.split_sides: it encodes the picture's half, which nobody needs here.
    left, right = picture.pixels[:, : width // 2], picture.pixels[:, width // 2 :]
    return Raster(left, "half of the picture", lossy=lossy), Raster(right, "half of the picture", lossy=lossy)


def interpret(looks: Sequence[Look], names: Names, draft: DatasetSpec) -> Meaning:
    """Concludes from the masks' values what they mean.

    Args:
        looks: at least one.
        names: of the classes, as a file has them.
        draft: layout and splits, for the examples in messages.

    Raises:
        DataError: two readings fit (both are shown), or none does.
    """
    colors = _count_colors(looks)
    if any(look.raster.lossy for look in looks):
        raise _by_hand("The masks are kept in a lossy format, which smears their values.", colors, draft)
    if all(look.ids is not None for look in looks):
        return _interpret_ids(looks, colors, names, draft)
    if len(colors) > MAX_COLORS:
        raise _by_hand(f"The masks have more than {MAX_COLORS} colours.", colors, draft)
    reds = {color[0] for color in colors}
    if not names.colors and max(reds) <= _MAX_RED and all(color[1:] == (0, 0) for color in colors):
        note = "The masks are in colour with green and blue 0 everywhere, and small values of red: those are the ids."
        return _with_ids("red", reds, names, note)
    return _interpret_colors(colors, names)


def _count_colors(looks: Sequence[Look]) -> Counter[Color]:
    """Returns the pixels of each colour in all masks."""
    found, inverse = np.unique(_codes(np.concatenate([look.colors for look in looks])), return_inverse=True)
    pixels = np.bincount(inverse, weights=np.concatenate([look.counts for look in looks])).astype(np.int64)
    unpacked = ((code >> 16, code >> 8 & 255, code & 255) for code in found.tolist())
    return Counter(dict(zip(unpacked, pixels.tolist(), strict=True)))


def _codes(colors: np.ndarray) -> np.ndarray:
    """Packs colours uint8 [N, 3] into int32 [N]."""
    wide = colors.astype(np.int32)
    return (wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2]


def _color(values: np.ndarray) -> Color:
    red, green, blue = values.tolist()
    return red, green, blue


def _interpret_ids(looks: Sequence[Look], colors: Counter[Color], names: Names, draft: DatasetSpec) -> Meaning:
    seen = {int(value) for look in looks if look.ids is not None for value in look.ids}
    largest = max(seen - {IGNORE_LABEL}, default=0)
    if story := _other_story(looks, names):
        named = names if set(colors) <= {*names.colors, VOID_COLOR} else Names()
        raise _two_readings(story, (_with_ids("ids", seen, names), _interpret_colors(colors, named)), draft)
    if seen - {0} == {IGNORE_LABEL} and _is_white(looks):
        return _black_and_white(names, draft)
    if len(seen) == 2 and 0 in seen and largest >= 2 and len(names.classes) <= largest:
        return _binary(names, f"The masks have 0 and one other value, {largest}: that is the second class.")
    if largest > IGNORE_LABEL:
        raise DataError(
            f"The masks hold ids up to {largest}; expected 0 to {IGNORE_LABEL - 1}, and {IGNORE_LABEL} for void. "
            "If they number objects, not classes, they are masks of instances: convert them first."
        )
    # Grey levels that are spread to be seen, 0, 50, 100, ...: as ids they would make classes by the hundred that never occur.
    if largest > _MAX_RED and 8 * len(seen) <= largest and len(names.classes) <= largest:
        values = ", ".join(map(str, sorted(seen)))
        what = f"The masks have few values, and they lie far apart: {values}. They"
        raise _two_readings(what, (_with_ids("ids", seen, names), _interpret_colors(colors, Names())), draft)
    meaning = _with_ids("ids", seen, names)
    return dataclasses.replace(meaning, colors=_palette_colors(looks, len(meaning.classes)))


def _is_white(looks: Sequence[Look]) -> bool:
    """Tells whether 255 looks white in any mask, and not as void does in VOC."""
    return any(look.raster.palette is None or tuple(look.raster.palette[IGNORE_LABEL]) == _WHITE for look in looks)


def _black_and_white(names: Names, draft: DatasetSpec) -> Meaning:
    if len(names.classes) == 2:
        note = f"The masks have the values 0 and 255; as {names.file} has two names, 255 is the second class."
        return _binary(names, note)
    as_void = Meaning(MaskEncoding(encoding="ids"), ("background", "class_1"))
    hints = ("0 is the first class and 255 the second", "255 is void, and 0 the only class in these masks")
    raise _two_readings("The masks have the values 0 and 255. They", (_binary(Names(), ""), as_void), draft, hints)


def _binary(names: Names, note: str) -> Meaning:
    classes, said = _name(2, names)
    return Meaning(MaskEncoding(encoding="binary"), classes, notes=(note, *said))


def _with_ids(encoding: str, seen: set[int], names: Names, *notes: str) -> Meaning:
    largest = max(seen - {IGNORE_LABEL}, default=0)
    if max(largest + 1, len(names.classes)) < 2:
        raise DataError(
            "The masks that were looked at hold one class only: id 0"
            + (f", and {IGNORE_LABEL} (void)" if IGNORE_LABEL in seen else "")
            + f". Two are needed. If there are others, name all of them: class_names.txt, a name a line, or {SPEC_FILE}."
        )
    classes, said = _name(largest + 1, names)
    return Meaning(MaskEncoding(encoding=encoding), classes, notes=(*notes, *said))


def _name(count: int, names: Names) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns at least `count` names, and notes on where they are from."""
    own = tuple(f"class_{index}" if index else "background" for index in range(len(names.classes), count))
    if not names.file:
        return own, (f"There is no file of class names: they are {', '.join(own[:2])} and so on.",)
    note = f"Class names: from {names.file}."
    if own:
        rest = ", ".join(own[:3]) + (", ..." if len(own) > 3 else "")
        note += f" It has {len(names.classes)} for {count} ids; the rest are {rest}."
        note += " If it leaves out the background, put that first."
    return names.classes + own, (note,)


def _interpret_colors(colors: Counter[Color], names: Names) -> Meaning:
    """Makes classes of colours: as a file has them, in the order of VOC's palette where they are named, else in their own."""
    found = sorted(colors)  # Black first; by how much there is of each, more data could change the order.
    found = [color for color in found if color != VOID_COLOR]
    mask = MaskEncoding(encoding="colors")
    if names.colors:
        unnamed = [list(color) for color in found if color not in names.colors]
        if unnamed:
            raise DataError(f"The masks have colours that {names.file} does not name: {', '.join(map(str, unnamed[:8]))}.")
        # CVAT sorts by name; ids are ours to give, and the first is what is drawn without a tint.
        order = sorted(range(len(names.classes)), key=lambda index: any(names.colors[index]))
        classes, known = tuple(names.classes[index] for index in order), tuple(names.colors[index] for index in order)
        return Meaning(mask, classes, known, (f"Class names and colours: from {names.file}.",))
    palette = features.voc_palette(max(2, len(names.classes)))
    if names.classes and set(found) <= set(palette):
        note = f"The masks' colours are those of VOC's palette; class names: from {names.file}."
        return Meaning(mask, _name(len(palette), names)[0], palette, (note,))
    if len(found) < 2:
        raise DataError(f"The masks that were looked at have one colour only: {list(found[0]) if found else 'void'}.")
    classes, notes = _name(len(found), Names())
    if names.file:
        notes = (f"{names.file} has names, but it does not say which colour is which: write them into {SPEC_FILE}.", *notes)
    listed = ", ".join(f"{name} {list(color)}" for name, color in zip(classes, found, strict=True))
    return Meaning(mask, classes, tuple(found), (*notes, f"A class for each colour, in their order: {listed}."))


def _other_story(looks: Sequence[Look], names: Names) -> str:
    """Says why palette masks' colours may count, not their indices, as after PIL's quantize(); "" where nothing says so."""
    of_index: dict[int, set[Color]] = {}
    for look in looks:
        if look.raster.palette is not None:
            for index, color in zip(look.raster.values[0], look.colors, strict=True):
                of_index.setdefault(int(index), set()).add(_color(color))
    for index, found in sorted(of_index.items()):
        if len(found) > 1:
            first, second = sorted(found)[:2]
            return f"The palettes differ: index {index} is {list(first)} in one mask and {list(second)} in another. They"
    pairs = [(index, color) for index, (color,) in sorted(of_index.items())]
    if len({color for _, color in pairs}) < len(pairs):
        return ""  # Colours that do not tell the indices apart tell nothing.
    for known, whose in ((names.colors, names.file), (features.voc_palette(), "VOC's palette")):
        moved = [(index, color) for index, color in pairs if color in known and known.index(color) != index]
        if moved and all(color in known for _, color in pairs):
            index, color = moved[0]
            return f"Index {index} has the colour {list(color)}, which in {whose} is {known.index(color)}. The masks"
    return ""


def _palette_colors(looks: Sequence[Look], count: int) -> tuple[Color, ...]:
    """Returns the classes' colours by the palettes; none where those differ, are VOC's, or give two classes one colour."""
    found = {tuple(map(_color, look.raster.palette[:count])) for look in looks if look.raster.palette is not None}
    if len(found) != 1:
        return ()
    (colors,) = found
    usable = len(set(colors)) == count and VOID_COLOR not in colors and colors != features.voc_palette(count)
    return colors if usable else ()


def _two_readings(
    what: str, readings: tuple[Meaning, Meaning], draft: DatasetSpec, hints: tuple[str, str] | None = None
) -> DataError:
    """Makes the error that shows two readings, and the TOML of the first."""
    said = zip(readings, hints or map(_describe, readings), strict=True)
    lines = [f'  mask.encoding = "{reading.mask.encoding}": {hint}' for reading, hint in said]
    return DataError(
        f"{what} can be read in two ways:\n"
        + "\n".join(lines)
        + f"\nSay which in {SPEC_FILE} in the data folder. By the first it would hold:\n\n"
        + to_toml(readings[0].apply(draft))
    )


def _describe(meaning: Meaning) -> str:
    count = len(meaning.classes)
    if meaning.mask.encoding != "colors":
        return f"{count} classes by number"
    return f"{count} classes by colour: {', '.join(str(list(color)) for color in meaning.colors[:8])}"


def _by_hand(why: str, colors: Counter[Color], draft: DatasetSpec) -> DataError:
    """Makes the error for colours that cannot be counted; its example has those that fill the most of the masks."""
    found = _main_colors(colors)
    classes, _ = _name(len(found), Names())
    mask = MaskEncoding(encoding="colors", color_tolerance=60.0, rest=VOID)
    example = dataclasses.replace(draft, classes=classes, colors=found, mask=mask)
    return DataError(
        f"{why} Write the classes and their colours into {SPEC_FILE} in the data folder: the nearest colour within "
        "mask.color_tolerance counts, what is farther off is void (or, without mask.rest, an error). Two classes in black and "
        'white need no colours, but mask.encoding = "binary". For instance, with the colours that fill the most of these masks:'
        f"\n\n{to_toml(example)}"
    )


def _main_colors(colors: Counter[Color]) -> tuple[Color, ...]:
    """Returns at least two colours that lie apart, each with a fiftieth of the pixels near it if there are so many."""
    near: Counter[Color] = Counter()
    for color, pixels in sorted(colors.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_VALUES]:
        if math.dist(color, VOID_COLOR) > _APART:
            near[next((other for other in near if math.dist(color, other) <= _APART), color)] += pixels
    main = [color for color, pixels in near.most_common() if 50 * pixels >= near.total()]
    apart = [color for color in ((0, 0, 0), _WHITE) if all(math.dist(color, other) > _APART for other in main)]
    return tuple(main + apart[: max(0, 2 - len(main))])
