"""What a data set looks like on disk and what its masks mean: `DatasetSpec`, and the TOML file that a user writes for it.

One class describes the built-in sets and every user's own. A relative path is relative to the data folder, slashes divide it,
and `{split}` in it stands for the folder's or list's own name of a split (`splits.train`, `splits.validation`, `splits.test`).
"""

import dataclasses
import difflib
import json
import posixpath
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from components import features
from components.datasets import files
from components.errors import DataError
from components.features import Color

SPEC_FILE = "vocseg.toml"
"""In a data folder: its description, found without being named."""

VOID = "void"
"""What `mask.rest` may name beside a class: pixels that count neither in the loss nor in a metric."""

SPLITS = ("train", "validation", "test")
"""The builder's names of the splits."""

MAX_CLASSES = 255
"""Ids are uint8, and one of them is void."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    near = difflib.get_close_matches(value, allowed, n=1)
    listed = ", ".join(f'"{one}"' for one in allowed)
    _require(
        value in allowed, f"{name} must be one of {listed}; got {value!r}." + (f" Did you mean {near[0]!r}?" if near else "")
    )


def _require_inside(name: str, path: str) -> None:
    parts = re.split(r"[/\\]", path)
    _require(
        ".." not in parts and not path.startswith(("/", "\\")) and ":" not in parts[0],
        f"{name} is a path inside the data folder; got {path!r}.",
    )
    _require_printable(name, path)


def _require_printable(name: str, text: str) -> None:
    """Also keeps out what TOML cannot say: lone surrogates, which Python makes of file names that are not UTF-8."""
    _require(text.isprintable(), f"{name} holds a character that cannot be printed: {text!a}.")


def _require_colors(name: str, colors: Iterable[Color]) -> None:
    for color in colors:
        _require(all(0 <= v <= 255 for v in color), f"{name} are lists of red, green and blue, 0..255; got {list(color)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the files lie.

    Attributes:
        root: what the other paths are relative to, below the data folder, for instance "VOCdevkit/VOC2007"; a data folder that
            is `VOCdevkit` or `VOC2007` itself is understood too.
        images: the folder of pictures.
        masks: the folder of masks; a mask has its picture's name, whatever the ending.
        mask_suffix: what a mask's name has behind its picture's, before the ending, for instance "_mask".
        mask_side: left or right: each picture holds both, and this half of it is the mask; `masks` is not used then.
    """

    root: str = ""
    images: str = "images"
    masks: str = "masks"
    mask_suffix: str = ""
    mask_side: str = ""

    def __post_init__(self) -> None:
        """Checks that no path leaves the data folder."""
        _require_one_of("layout.mask_side", self.mask_side, ("", "left", "right"))
        for name in ("root", "images", "masks"):
            _require_inside(f"layout.{name}", getattr(self, name))
        _require("{split}" not in self.root, "layout.root takes no {split}; it may stand in layout.images and layout.masks.")
        _require_printable("layout.mask_suffix", self.mask_suffix)
        _require(
            posixpath.normpath(self.images) != posixpath.normpath(self.masks) or bool(self.mask_suffix or self.mask_side),
            "layout.images and layout.masks are one folder; then layout.mask_suffix must tell the masks from the pictures.",
        )
        _require(
            "/" not in self.mask_suffix and "\\" not in self.mask_suffix,
            f"layout.mask_suffix is the end of a file's name, not a path; got {self.mask_suffix!r}.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskEncoding:
    """How a mask's pixels tell their class.

    Attributes:
        encoding: one of

            - ids: the stored number is the id: a palette's index, a grey value, or r where r = g = b,
            - red: the red channel is the id, the others do not count,
            - colors: the colour is looked up in the spec's colours,
            - binary: 0 is the first class, anything else the second,
            - auto: whichever of ids, red, colors and binary fits; where two fit and differ, the mask is refused.
        color_tolerance: largest distance (Euclidean, in RGB 0..255) of a colour from its class's; the nearest one wins.
        void_ids: ids in the files that mean void.
        void_colors: colours in the files that mean void.
        rest: what ids and colours of no class become: a class's name, "void", or "" where they are an error.
    """

    encoding: str = "auto"
    color_tolerance: float = 0.0
    void_ids: tuple[int, ...] = (features.IGNORE_LABEL,)
    void_colors: tuple[Color, ...] = (features.voc_palette()[features.IGNORE_LABEL],)
    rest: str = ""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require_one_of("mask.encoding", self.encoding, ("auto", "ids", "red", "colors", "binary"))
        _require(0 <= self.color_tolerance <= 442, f"mask.color_tolerance lies in 0..442; got {self.color_tolerance}.")
        for value in self.void_ids:
            _require(0 <= value <= 65535, f"mask.void_ids are numbers from 0 to 65535; got {value}.")
        _require_colors("mask.void_colors", self.void_colors)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """Which pair belongs to which split: by lists, by folders (`{split}` in `layout.images`), or by seeded fractions.

    Attributes:
        lists: the path of a split's list, with `{split}`; empty where there are none.
        entries: what a line of a list holds: ids (a picture's name without its ending) or pairs (path of picture, blank, path
            of mask).
        prefix: what every path of a list of pairs begins with that is no part of it, for instance "/SegNet/CamVid/".
        train: the files' own name of the split.
        validation: likewise.
        test: likewise; empty where there is no test split.
        fractions: shares of train, validation and test, that sum to 1; used where there are neither lists nor folders.
        seed: of the division by fractions.
    """

    lists: str = ""
    entries: str = "ids"
    prefix: str = ""
    train: str = "train"
    validation: str = "val"
    test: str = "test"
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require_one_of("splits.entries", self.entries, ("ids", "pairs"))
        _require_inside("splits.lists", self.lists)
        _require_printable("splits.prefix", self.prefix)
        for split, name in self.names().items():
            _require_inside(f"splits.{split}", name)
        _require(not self.lists or "{split}" in self.lists, f"splits.lists needs {{split}} in its path; got {self.lists!r}.")
        _require(bool(self.train and self.validation), "splits.train and splits.validation must not be empty.")
        good = len(self.fractions) == 3 and min(self.fractions) >= 0 and abs(sum(self.fractions) - 1) < 1e-6
        _require(good, f"splits.fractions are the shares of train, validation and test, summing to 1; got {self.fractions}.")
        _require(good and min(self.fractions[:2]) > 0, "splits.fractions must leave something for train and for validation.")

    def names(self) -> dict[str, str]:
        """Returns the files' own name of each split that there is, by the builder's name."""
        return {split: getattr(self, split) for split in SPLITS if getattr(self, split)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set.

    Attributes:
        name: letters, digits and underscores.
        classes: names of the classes in the order of their ids; the first is what is drawn without a tint (background).
        colors: colour of each class, in masks that hold colours, overlays and legends; empty: those of VOC's palette.
        leaks: what happens to a picture that stands in two splits: fail, or drop_from_train.
        layout: where the files lie.
        mask: how a mask tells its classes.
        splits: which pair belongs to which split.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    leaks: str = "fail"
    layout: Layout = Layout()
    mask: MaskEncoding = MaskEncoding()
    splits: Splits = Splits()

    def __post_init__(self) -> None:
        """Checks what concerns the whole.

        Raises:
            DataError: see the messages.
        """
        _require(
            re.fullmatch(r"[A-Za-z]\w*", self.name, re.ASCII) is not None,
            f"name takes letters, digits and _; got {self.name!r}.",
        )
        _require(2 <= len(self.classes) <= MAX_CLASSES, f"classes: expected 2 to {MAX_CLASSES} names, got {len(self.classes)}.")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        _require(not twice, f"classes has {', '.join(twice)} more than once.")
        _require(
            all(name.strip() == name and name.isprintable() and name for name in self.classes),
            f"classes holds a name that is empty, has blanks around it or cannot be printed: {list(self.classes)}.",
        )
        _require(
            len(self.colors) in (0, len(self.classes)),
            f"colors: expected one a class, that is {len(self.classes)}, or none; got {len(self.colors)}.",
        )
        _require_colors("colors", self.colors)
        void = set(self.mask.void_colors)
        by_color = self.mask.encoding in ("auto", "colors")  # Else the colours of VOC's palette are for drawing only.
        clash = [color for color in self.palette if color in void] if self.colors or by_color else []
        _require(not clash, f"the colour {list(clash[0]) if clash else ''} is both a class's and void's.")
        double = sorted({color for color in self.colors if self.colors.count(color) > 1})
        _require(not double, f"two classes have the colour {list(double[0]) if double else ''}.")
        _require_one_of("leaks", self.leaks, ("fail", "drop_from_train"))
        of_each = bool(self.splits.lists) or "{split}" in self.layout.images or bool(self.layout.mask_side)
        _require(of_each or "{split}" not in self.layout.masks, "layout.masks has {split}, but layout.images has none.")
        if self.mask.rest:
            _require_one_of("mask.rest", self.mask.rest, (*self.classes, VOID))
            _require(
                not (self.mask.rest == VOID in self.classes), f"mask.rest = {VOID!r} is a class's name, too. Rename the class."
            )
        taken = [value for value in self.mask.void_ids if value < len(self.classes)]
        _require(not taken, f"mask.void_ids has {taken[0] if taken else ''}, which is the id of a class.")
        _require(
            self.mask.encoding != "binary" or len(self.classes) == 2,
            f'mask.encoding = "binary" goes with two classes; there are {len(self.classes)}.',
        )

    @property
    def palette(self) -> tuple[Color, ...]:
        """Colour of each class, (red, green, blue) in 0..255."""
        return self.colors or features.voc_palette(len(self.classes))


def read_spec(path: str) -> DatasetSpec:
    """Reads a TOML file.

    Raises:
        DataError: it cannot be read, or says something that cannot be; the message names the file and the key.
    """
    try:
        values = tomllib.loads(files.read_bytes(path).decode("utf-8-sig"))
    except OSError as error:
        files.raise_passing(error)
        raise DataError(
            f"The description {path} cannot be read: {error.strerror or error}. `vocseg data init DIR` writes one."
        ) from error
    except (ValueError, RecursionError) as error:  # tomllib lets through int's own error, too.
        raise DataError(f"{path} is not a TOML file: {error}.") from error
    try:
        return from_dict(values)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def from_dict(values: Mapping[str, Any]) -> DatasetSpec:
    """Makes a spec of what a TOML or JSON file holds.

    Raises:
        DataError: a key that does not exist, one that is missing, or a value of the wrong type or range.
    """
    return _restore(DatasetSpec, values, "")


def _restore(kind: Any, values: Any, prefix: str) -> Any:
    _require(isinstance(values, Mapping), f"{prefix.rstrip('.') or 'the file'} must be a table; got {values!r}.")
    hints = typing.get_type_hints(kind)
    restored = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(hints)}."
            raise DataError(f"there is no key {prefix}{name}; {hint}")
        is_stage = dataclasses.is_dataclass(hints[name])
        restored[name] = (_restore if is_stage else _value)(hints[name], value, f"{prefix}{name}" + "." * is_stage)
    missing = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING and f.name not in restored]
    _require(not missing, f"{', '.join(prefix + name for name in missing)} must be given.")
    return kind(**restored)


def _value(kind: Any, value: Any, name: str) -> Any:
    """Returns a value as its field's type: lists become tuples, at every depth."""
    if typing.get_origin(kind) is tuple:
        _require(isinstance(value, list | tuple), f"{name} must be a list; got {value!r}.")
        kinds = typing.get_args(kind)
        inner = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
        _require(len(inner) == len(value), f"{name}: expected {len(inner)} numbers, got {value!r}.")
        return tuple(_value(k, v, name) for k, v in zip(inner, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    good = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    _require(good, f"{name} takes {_IN_WORDS[kind]}; got {value!r}.")
    return value


_IN_WORDS = {str: "a text", int: "a whole number", float: "a number"}


def from_json(text: str) -> DatasetSpec:
    """Restores what `pipeline_config.to_json` wrote."""
    return from_dict(json.loads(text))


def to_toml(spec: DatasetSpec) -> str:
    """Returns the spec as the TOML that `read_spec` reads; what is as by default is left out."""
    default = DatasetSpec(name="any", classes=("a", "b"))
    given = [name for name in ("colors", "leaks") if getattr(spec, name) != getattr(default, name)]
    lines = [f"{name} = {_toml(getattr(spec, name))}" for name in ("name", "classes", *given)]
    for stage in ("layout", "mask", "splits"):
        mine, other = getattr(spec, stage), getattr(default, stage)
        changed = [f.name for f in dataclasses.fields(mine) if getattr(mine, f.name) != getattr(other, f.name)]
        if changed:
            lines += ["", f"[{stage}]", *(f"{name} = {_toml(getattr(mine, name))}" for name in changed)]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        parts = [_toml(part) for part in value]
        one_line = f"[{', '.join(parts)}]"
        return one_line if len(one_line) <= 100 else "[\n" + "".join(f"    {part},\n" for part in parts) + "]"
    # A JSON string is a TOML string, but for what cannot be printed, which no field may hold.
    return json.dumps(value, ensure_ascii=False)
