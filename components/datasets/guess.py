"""From a data folder alone to its description: a built-in set, VOC's layout, folders of pictures and masks, or both in one.

What can be meant in two ways is an error that shows both; nothing is returned with which the sampled masks do not read.
"""

import bisect
import dataclasses
import itertools
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from components import features
from components.datasets import archives, files, guess_masks, layout, lists, mask_reader, registry
from components.datasets.guess_masks import Look, Names
from components.datasets.layout import Pair
from components.datasets.raster import Raster
from components.datasets.spec import SPEC_FILE, VOID, DatasetSpec, Layout, Splits
from components.errors import DataError
from components.features import IGNORE_LABEL

_IMAGES = ("images", "imgs", "image", "img", "rgb", "photos", "jpegimages")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "annots", "gt", "segmentation")
_VALIDATION = ("val", "valid", "validation")
_NAME_FILES = ("labelmap.txt", "class_names.txt", "classes.txt", "labels.txt")

_SUFFIX = re.compile(r"[-_. ][-_. \w]*[^\W\d_][-_. \w]*|mask|label|gt|seg|annot", re.IGNORECASE)
"""Of a mask's name behind its picture's. With a letter: "10" is no mask of "1"."""

_VOC_ID = re.compile(r"(\d{4}_)?\d{6}", re.ASCII)
"""Of VOC's pictures; those that came with 2007 have no year."""

_MAX_FILES = 10_000_000

_SIDES_SAMPLE = 20
_POORER = 4
"""A half is a mask if the other one needs so many times its colours."""
_NEAR = 30.0
_NEAR_SHARE = 0.8
"""Pictures are Cityscapes' if so much of their masks is within that distance of one of its colours."""

_NOTHING = """{folder} holds nothing whose meaning is plain: {summary}. Looked for:
  JPEGImages and SegmentationClass as in VOC, here or in VOC<year> or VOCdevkit/VOC<year>, or VOC's archives;
  CamVid, CARLA, Cityscapes as pairs;
  a folder of pictures (images, imgs, rgb, ...) and one of masks with their names (masks, labels, gt, ...), perhaps divided into
  train and val, or both in one folder, told apart by the end of their names (a.jpg, a_mask.png);
  pictures twice as wide as high, one half of which is the mask.
Folders that are links are not followed. Describe it in {file} in that folder, for instance:

name = "mine"
classes = ["background", "thing"]

[layout]
images = "pictures"
masks = "pictures_classes"
"""


@dataclasses.dataclass(frozen=True)
class Guess:
    """A description that fits a folder.

    Attributes:
        spec: the description.
        notes: what was seen and concluded, in sentences for the user.
    """

    spec: DatasetSpec
    notes: tuple[str, ...]


def guess(folder: str | os.PathLike[str], sample: int = 500) -> Guess:
    """Guesses the description of a data folder; the same files give the same answer.

    Args:
        folder: the data folder, here or in any store that TensorFlow knows.
        sample: most masks that are opened, at least 1.

    Raises:
        DataError: nothing fits, two readings do, or there is no such folder.
    """
    try:
        tree = _Tree(os.fspath(folder))
    except OSError as error:
        files.raise_passing(error)
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}. Check the path and the rights.") from error
    found = _guess_voc(tree, sample) or _guess_archives(tree)
    found = found or _guess_built_in(tree, sample) or _guess_folders(tree, sample) or _guess_sides(tree, sample)
    if found is None:
        raise DataError(_NOTHING.format(folder=tree.folder, summary=tree.summary(), file=SPEC_FILE))
    return found


class _Tree:
    """The files below a data folder by name, listed once: asking a remote store for each takes a round trip."""

    def __init__(self, folder: str) -> None:
        if not files.exists(folder):
            raise DataError(f"The data folder {folder} does not exist.")
        if not files.is_folder(folder):
            raise DataError(f"{folder} is a file. Give the folder that holds it.")
        self.folder = folder
        self.name = posixpath.basename((folder if files.is_remote(folder) else os.path.abspath(folder)).rstrip("/"))
        self._paths = sorted(itertools.islice(files.files_below(folder), _MAX_FILES + 1))
        if len(self._paths) > _MAX_FILES:
            raise DataError(f"{folder} holds more than {_MAX_FILES} files. Give the folder of the data set itself.")
        self._known = set(self._paths)

    def has(self, path: str) -> bool:
        """Tells whether there is a file."""
        return path in self._known

    def holds(self, path: str) -> bool:
        """Tells whether there is a file, by its path with the folder's."""
        return path[len(self.folder) :].lstrip("/") in self._known

    def below(self, folder: str) -> list[str]:
        """Returns the files below a folder, relative to it."""
        start = f"{folder}/" if folder else ""
        first = bisect.bisect_left(self._paths, start)
        ours = itertools.takewhile(lambda path: path.startswith(start), itertools.islice(self._paths, first, None))
        return [path[len(start) :] for path in ours]

    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders in a folder that hold anything, sorted."""
        return sorted({path.split("/")[0] for path in self.below(folder) if "/" in path})

    def pictures(self, folder: str) -> list[str]:
        """Returns the pictures below a folder, relative to it and without their endings."""
        parts = (posixpath.splitext(path) for path in self.below(folder))
        return [stem for stem, ending in parts if ending.lower() in layout.ENDINGS]

    def called(self, folder: str, names: Sequence[str]) -> list[str]:
        """Returns the folders in a folder that have one of some names, in any case, and pictures."""
        found = [name for name in self.folders(folder) if name.lower() in names]
        return [name for name in found if self.pictures(files.join(folder, name))]

    def summary(self) -> str:
        """Returns what the folder holds, in short."""
        parts = [f"{name}/ ({len(self.below(name))} files)" for name in self.folders("")]
        parts += [path for path in self._paths if "/" not in path]
        return (", ".join(parts[:8]) + (", ..." if len(parts) > 8 else "")) or "no files"


def _draft(tree: _Tree, where: Layout, splits: Splits) -> DatasetSpec:
    """Returns a description whose classes and masks are not known yet."""
    name = re.sub(r"\W+", "_", tree.name, flags=re.ASCII).strip("_") or "data"
    if not name[0].isalpha():
        name = f"data_{name}"
    return DatasetSpec(name=name, classes=("background", "class_1"), layout=where, splits=splits)


def _open(tree: _Tree, draft: DatasetSpec, sample: int) -> tuple[list[Look], list[str], dict[str, list[Pair]]]:
    """Opens sampled masks; returns what they hold, notes, and all pairs."""
    splits = layout.list_pairs(tree.folder, draft)
    pairs = [pair for listed in splits.values() for pair in listed]
    lacking = {pair.key: pair for pair in pairs if pair.problem or not (tree.holds(pair.image) and tree.holds(pair.mask))}
    whole = {pair.mask: pair for pair in pairs if pair.key not in lacking}
    chosen = guess_masks.choose(whole.values(), sample)
    looks, problems = guess_masks.open_masks(chosen, draft.layout.mask_side)
    shown = [f"{pair.key}: {pair.problem or 'the picture or the mask does not exist'}" for pair in lacking.values()]
    if len(problems) >= max(1, len(looks)) or not looks:
        what = f"of {len(chosen)} masks {len(problems)} cannot be opened; pairs that are not whole: {len(lacking)}"
        raise DataError("\n  ".join([f"{tree.folder}: {what}:", *problems[:8], *shown[:8]]))
    kinds = Counter(look.raster.kind for look in looks)
    notes = [
        f"Pictures: {', '.join(f'{len(listed)} {split}' for split, listed in splits.items())}{_divided(draft)}.",
        f"Masks: looked at {len(looks)} of {len(whole)}; {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}.",
    ]
    if len(chosen) < len(whole):
        notes.append("What occurs only in the other masks is not known yet.")
    if lacking or problems:
        first = (shown + problems)[0]
        notes.append(f"Pairs that are not whole: {len(lacking)}; masks that cannot be opened: {len(problems)}. First {first}.")
    return looks, notes, splits


def _divided(spec: DatasetSpec) -> str:
    if spec.splits.lists:
        return f", by the lists {files.join(spec.layout.root, spec.splits.lists)}"
    if "{split}" in spec.layout.images:
        return ", by folders"
    return f", divided by a seed into shares of {', '.join(f'{share:g}' for share in spec.splits.fractions)}"


def _check(looks: Sequence[Look], spec: DatasetSpec) -> list[str]:
    """Reads the masks; returns notes on the classes.

    Raises:
        ValueError: one does not read.
    """
    pixels = np.zeros(256, np.int64)
    for look in looks:
        ids = mask_reader.read_raster(look.raster, spec).ids[0]
        pixels += np.bincount(ids, weights=look.counts, minlength=256).astype(np.int64)
    total = max(1, int(pixels.sum()))
    shares = [f"{index} {name} {pixels[index] / total:.1%}" for index, name in enumerate(spec.classes) if pixels[index]]
    void = [f"void {pixels[IGNORE_LABEL] / total:.1%}"] if pixels[IGNORE_LABEL] else []
    notes = [f"{len(spec.classes)} classes; shares of the pixels: {', '.join(shares + void)}."]
    never = [f"{index} {name}" for index, name in enumerate(spec.classes) if not pixels[index]]
    if never:
        more = f" and {len(never) - 8} more" if len(never) > 8 else ""
        notes.append(f"In no mask that was looked at: {', '.join(never[:8])}{more}.")
    return notes


def _settle(tree: _Tree, draft: DatasetSpec, looks: Sequence[Look], notes: Sequence[str]) -> Guess:
    """Completes a draft by what its masks mean."""
    meaning = guess_masks.interpret(looks, _read_names(tree, draft.layout.root), draft)
    try:
        spec = meaning.apply(draft)
    except DataError as error:
        raise DataError(f"The classes of {tree.folder} cannot be taken as they are: {error}") from error
    try:
        said = _check(looks, spec)
    except ValueError as error:
        raise DataError(f"The masks in {tree.folder} do not read as mask.encoding = {spec.mask.encoding!r}: {error}") from error
    return Guess(spec, (*notes, f'Masks are read as mask.encoding = "{spec.mask.encoding}".', *meaning.notes, *said))


def _read_names(tree: _Tree, root: str) -> Names:
    """Returns the class names in the first file that has any."""
    for path in dict.fromkeys(files.join(where, name) for name in _NAME_FILES for where in ("", root)):
        if not tree.has(path):
            continue
        try:
            text = guess_masks.read_inside(files.join(tree.folder, path), tree.folder).decode("utf-8-sig")
        except (OSError, ValueError) as error:  # A UnicodeDecodeError is one.
            if isinstance(error, OSError):
                files.raise_passing(error)
            raise DataError(f"{path} in {tree.folder} cannot be read: {error}") from error
        names = guess_masks.parse_names(path, text)
        if names.classes:
            return names
    return Names()


def _guess_voc(tree: _Tree, sample: int) -> Guess | None:
    """VOC's layout: VOC itself by its ids, or one's own classes."""
    above = [""] + [files.join("VOCdevkit", name) for name in tree.folders("VOCdevkit")] + tree.folders("")
    found = {
        root: masks
        for root in above
        if (not root or posixpath.basename(root).startswith("VOC")) and tree.pictures(files.join(root, "JPEGImages"))
        if (masks := _voc_masks(tree, root))
    }
    if not found:
        return None
    if len(found) > 1:
        raise _two_layouts(tree, [f'layout.root = "{root}"' for root in found], f"give the folder of one: {', '.join(found)}")
    ((root, masks),) = found.items()
    if len(masks) > 1:
        raise _two_layouts(tree, [f'layout.masks = "{name}"' for name in masks])
    splits, notes = _find_lists(tree, root, ("ImageSets/Segmentation",), None)
    draft = _draft(tree, Layout(root=root, images="JPEGImages", masks=masks[0]), splits)
    looks, seen, pairs = _open(tree, draft, sample)
    notes = [f"Layout: VOC's, JPEGImages and {masks[0]} in {root or 'the folder itself'}.", *notes, *seen]
    return _official_voc(tree, draft, looks, pairs, notes) or _settle(tree, draft, looks, notes)


def _voc_masks(tree: _Tree, root: str) -> list[str]:
    """Returns the folders of class masks: labelme once had NumPy arrays in SegmentationClass, which do not count."""
    return tree.called(root, ("segmentationclass", "segmentationclasspng"))


def _official_voc(
    tree: _Tree, draft: DatasetSpec, looks: Sequence[Look], pairs: dict[str, list[Pair]], notes: Sequence[str]
) -> Guess | None:
    """Returns VOC's own description where ids, masks and names are its own."""
    year = re.fullmatch(r"VOC(\d{4})", posixpath.basename(draft.layout.root) or tree.name, re.ASCII)
    own_names = _read_names(tree, draft.layout.root).classes not in ((), features.VOC_CLASSES)
    ids = [_VOC_ID.fullmatch(pair.key) for listed in pairs.values() for pair in listed]
    if not year or own_names or not draft.splits.lists or not all(ids):
        return None
    # Six digits are no rare names; but VOC's masks have void around every object, and hardly any others have.
    plain = not all(match and match[1] for match in ids)
    if plain and not all((look.raster.values == IGNORE_LABEL).any() for look in looks):
        return None
    name = f"voc{year[1]}"
    spec = registry.built_in(name if name in registry.BUILT_IN else "voc2012")
    if spec.name != name:
        where = dataclasses.replace(spec.layout, root=draft.layout.root)
        spec = dataclasses.replace(spec, name=name, layout=where, splits=draft.splits)
    try:
        said = _check(looks, spec)
    except ValueError:
        return None
    if any(look.raster.palette is None for look in looks):
        return None
    return Guess(spec, (*notes, f"Pictures have VOC's ids, and masks its classes: this is {name}.", *said))


def _guess_archives(tree: _Tree) -> Guess | None:
    """VOC's official archives as they were downloaded; their content is checked when they are extracted."""
    if not any(path.endswith(".tar") for path in tree.below("")):
        return None
    import tensorflow_datasets as tfds

    found: dict[str, tuple[str, ...]] = {}
    for name in ("voc2007", "voc2012"):
        registry.built_in(name)  # Registers the builder.
        names = tfds.builder_cls(f"{name}_semantic").ARCHIVES
        if any(map(tree.has, names)) and archives.find_archives(tree.folder, names):
            found[name] = names
    if len(found) > 1:
        raise _two_layouts(tree, [f"the archives of {name}" for name in found], "put them into a folder each")
    for name, names in found.items():
        return Guess(registry.built_in(name), (f"The official archives of {name}: {', '.join(names)}.",))
    return None


def _guess_built_in(tree: _Tree, sample: int) -> Guess | None:
    """CARLA and CamVid, by the names of their folders."""
    for name, roots, folders, file in (
        ("carla", ("", "data"), ("CameraRGB", "CameraMask"), ""),
        ("camvid", ("", "CamVid"), ("train", "trainannot"), "train.txt"),
    ):
        for root in roots:
            if not all(tree.pictures(files.join(root, one)) for one in folders):
                continue
            if file and not tree.has(files.join(root, file)):
                continue
            spec = registry.built_in(name)
            looks, notes, _ = _open(tree, spec, sample)
            try:
                said = _check(looks, spec)
            except ValueError as error:
                raise DataError(
                    f"{tree.folder} looks like the built-in set {name} (it has {' and '.join(folders)}), but its masks do not "
                    f"read as that: {error}. If its classes are others, name them in {SPEC_FILE} in that folder."
                ) from error
            where = f"{' and '.join(folders)} in {root or 'the folder itself'}"
            other = f"If its classes are others, name them in {SPEC_FILE}."
            return Guess(spec, (f"Layout: {where}; this is {name}. {other}", *notes, *said))
    return None


def _two_layouts(tree: _Tree, readings: Sequence[str], remedy: str = "") -> DataError:
    shown = "\n".join(f"  {reading}" for reading in readings)
    remedy = f", or {remedy}" if remedy else ""
    return DataError(f"{tree.folder} can be read in {len(readings)} ways:\n{shown}\nSay which in {SPEC_FILE}{remedy}.")


def _find_lists(tree: _Tree, root: str, folders: Sequence[str], stems: Iterable[str] | None) -> tuple[Splits, list[str]]:
    """Returns the splits by lists, if train and validation have some, else by fractions; and notes on lists that are not used.

    Args:
        tree: the data folder.
        root: where `folders` are.
        folders: where the lists may be.
        stems: names of the pictures; lists of anything else are none. None: what is listed is believed.
    """
    known = None if stems is None else set(stems)
    notes: list[str] = []
    for folder in folders:
        at = files.join(root, folder)
        found = {name: tree.has(files.join(at, f"{name}.txt")) for name in ("train", *_VALIDATION, "test")}
        ids = {}
        for name in (name for name, there in found.items() if there):
            try:
                ids[name] = lists.read_list(files.join(tree.folder, at, f"{name}.txt"))
            except DataError:
                if known is None:
                    raise
        good = {n: keys for n, keys in ids.items() if keys and (known is None or _are_ids(keys, known))}
        validation = [name for name in _VALIDATION if name in good]
        if "train" in good and validation:
            pattern = files.join(folder, "{split}.txt")
            return Splits(lists=pattern, validation=validation[0], test="test" if "test" in good else ""), notes
        if good:  # Whoever made a list meant it: to divide anew could train on pictures that were kept for the test.
            missing = " and ".join(name for name, there in (("train", "train" in good), ("val", bool(validation))) if not there)
            there = ", ".join(f"{name}.txt" for name in good)
            raise DataError(
                f"{files.join(tree.folder, at)} has {there}, but no pictures are listed for {missing}. "
                f"Make one, or divide all pictures anew: write {SPEC_FILE} with splits.fractions and without splits.lists."
            )
        if any(found.values()):
            notes.append(f"Lists in {at or 'the folder itself'} are not used: there must be train.txt and val.txt with ids.")
    return Splits(), notes


def _are_ids(keys: Sequence[str], known: set[str]) -> bool:
    """Tells whether a list names pictures, with their endings or without; a few may be missing."""
    return 2 * sum(key in known or posixpath.splitext(key)[0] in known for key in keys) > len(keys)


def _bases(tree: _Tree) -> list[str]:
    """Returns where to look: the folder itself, and the one folder in it if there is no other."""
    return ["", *(tree.folders("") if len(tree.folders("")) == 1 else [])]


def _split_folders(tree: _Tree, folder: str) -> Splits | None:
    """Returns the names of the folders for train, validation and test in a folder; None where it is not divided.

    Raises:
        DataError: there is train, but no validation.
    """
    train, validation, test = (tree.called(folder, names) for names in (("train",), _VALIDATION, ("test",)))
    if train and not validation:
        where = files.join(tree.folder, folder)
        raise DataError(f"{where} has {train[0]}, but no folder for validation ({', '.join(_VALIDATION)}).")
    return Splits(train=train[0], validation=validation[0], test=test[0] if test else "") if train else None


def _guess_folders(tree: _Tree, sample: int) -> Guess | None:
    """A folder of pictures and one of masks, each perhaps divided into splits, or one folder for both."""
    for base in _bases(tree):
        found = [fitting for named in _folders(tree, base) for fitting in _fitting(tree, base, *named)]
        if len(found) > 1:
            keys = ("images", "masks", "mask_suffix")
            shown = [", ".join(f'layout.{key} = "{getattr(where, key)}"' for key in keys) for where, _ in found]
            raise _two_layouts(tree, shown)
        for where, splits in found:
            notes: list[str] = []
            if splits is None:
                splits, notes = _find_lists(tree, base, ("", "splits"), tree.pictures(files.join(base, where.images)))
            draft = _draft(tree, where, splits)
            looks, seen, _ = _open(tree, draft, sample)
            suffix = f", with {where.mask_suffix!r} behind their pictures' names" if where.mask_suffix else ""
            said = f"Layout: pictures in {_shown(base, where.images)}, masks in {_shown(base, where.masks)}{suffix}."
            return _settle(tree, draft, looks, [said, *notes, *seen])
    return None


def _shown(root: str, path: str) -> str:
    return files.join(root, path) or "the folder itself"


def _folders(tree: _Tree, base: str) -> Iterator[tuple[str, str, Splits | None]]:
    """Yields what may be folders of pictures and of masks, by their names alone, and the splits that they are divided into."""
    nested = _split_folders(tree, base)
    inner, at = (files.join(base, nested.train), "{split}") if nested else (base, "")
    images, masks = tree.called(inner, _IMAGES), tree.called(inner, _MASKS)
    for image in images:
        divided = None if nested else _split_folders(tree, files.join(inner, image))
        for mask in masks or [image]:
            below = "{split}" if divided else ""
            yield files.join(at, image, below), files.join(at, mask, below), divided or nested
    if not images:
        yield at, at, nested
    if nested:  # train and trainannot, val and valannot.
        for behind in (name.removeprefix(nested.train) for name in tree.folders(base) if name.startswith(nested.train)):
            if behind and tree.pictures(files.join(base, f"{nested.validation}{behind}")):
                yield at, f"{at}{behind}", nested


def _fitting(tree: _Tree, base: str, images: str, masks: str, splits: Splits | None) -> Iterator[tuple[Layout, Splits | None]]:
    """Yields the layouts by which the masks in a folder belong to the pictures in another, or in the same."""

    def pictures(path: str, split: str) -> list[str]:
        return tree.pictures(files.join(base, path.replace("{split}", split)))

    train = splits.train if splits else ""
    if splits and not pictures(masks, splits.test):
        splits = dataclasses.replace(splits, test="")
    for suffix in _suffixes(pictures(images, train), pictures(masks, train), images == masks):
        yield Layout(root=base, images=images, masks=masks, mask_suffix=suffix), splits


def _suffixes(images: Sequence[str], masks: Sequence[str], one_folder: bool) -> list[str]:
    """Returns what masks' names may have behind their pictures': what a third of them have, since there may be other files."""
    known = set(images)
    if not one_folder and 2 * len(known.intersection(masks)) >= len(masks):
        return [""] if masks else []
    counted = Counter(
        stem[cut:] for stem in masks for cut in range(1, len(stem)) if stem[:cut] in known and _SUFFIX.fullmatch(stem[cut:])
    )
    return sorted(suffix for suffix, count in counted.items() if 3 * count >= len(masks))


def _guess_sides(tree: _Tree, sample: int) -> Guess | None:
    """Pictures of which one half is the mask of the other."""
    for base in _bases(tree):
        splits = _split_folders(tree, base)
        where = Layout(root=base, images="{split}" if splits else "", mask_side="right")
        if not tree.pictures(base):
            continue
        draft = _draft(tree, where, splits or Splits())
        try:
            pairs = [pair for listed in layout.list_pairs(tree.folder, draft).values() for pair in listed]
        except DataError:  # Too few pictures for a data set.
            continue
        both = _open_both(guess_masks.choose(pairs, min(sample, _SIDES_SAMPLE)))
        side = _mask_side(both)
        if not side:
            continue
        if found := _cityscapes(draft, [right for _, right in both]):
            return found
        draft = dataclasses.replace(draft, layout=dataclasses.replace(where, mask_side=side))
        looks, seen, _ = _open(tree, draft, sample)
        said = f"Layout: pictures in {_shown(base, where.images)}, the {side} half of each is the mask."
        return _settle(tree, draft, looks, [said, *seen])
    return None


def _open_both(pairs: Sequence[Pair]) -> list[tuple[Raster, Raster]]:
    """Returns both halves of each picture; [] where one cannot be halved into two squares."""
    both = []
    for pair in pairs:
        try:
            both.append(guess_masks.open_sides(guess_masks.read_inside(pair.image, pair.folder)))
        except OSError as error:
            files.raise_passing(error)
            return []
        except ValueError:
            return []
        height, width = both[-1][0].values.shape[:2]
        if height != width:
            return []
    return both


def _mask_side(both: Sequence[tuple[Raster, Raster]]) -> str:
    """Returns the side with far fewer colours in nearly all pictures, "" where there is none."""
    needed = np.array([[_richness(left), _richness(right)] for left, right in both]).reshape(-1, 2)
    for side, (mask, image) in {"left": (0, 1), "right": (1, 0)}.items():
        if len(needed) and (_POORER * needed[:, mask] <= needed[:, image]).mean() >= 0.9:
            return side
    return ""


def _richness(raster: Raster) -> int:
    """Returns how many colours fill nine tenths of the pixels: the smeared edges of a mask have many, but fill little."""
    filled = np.cumsum(guess_masks.condense(raster).counts)
    return int(np.searchsorted(filled, 0.9 * raster.values.shape[0] * raster.values.shape[1])) + 1


def _cityscapes(draft: DatasetSpec, masks: Sequence[Raster]) -> Guess | None:
    """Returns the built-in set where size, splits and colours are its own."""
    if not all(mask.lossy and mask.values.shape[:2] == (256, 256) for mask in masks):
        return None
    built_in = registry.built_in("cityscapes_pairs")
    spec = dataclasses.replace(built_in, layout=dataclasses.replace(built_in.layout, root=draft.layout.root))
    names = (draft.splits.train, draft.splits.validation)
    if draft.layout.images != spec.layout.images or names != (spec.splits.train, spec.splits.validation):
        return None
    looks = [guess_masks.condense(mask) for mask in masks]
    if _near_share(looks, len(masks) * 256 * 256, spec) < _NEAR_SHARE:
        return None
    said = "Layout: pictures of 512x256 in train and val, the right halves in Cityscapes' colours: this is cityscapes_pairs."
    return Guess(spec, (said, f"Masks: looked at {len(looks)}.", *_check(looks, spec)))


def _near_share(looks: Sequence[Look], pixels: int, spec: DatasetSpec) -> float:
    """Returns the share of the pixels that are near one of the colours; black is left out, since it is in many sets."""
    # What is near is read alike whatever the rest becomes.
    void, first = (
        dataclasses.replace(spec, mask=dataclasses.replace(spec.mask, color_tolerance=_NEAR, rest=rest))
        for rest in (VOID, spec.classes[0])
    )
    near = 0
    for look in looks:
        black = look.colors.max(axis=1) <= _NEAR
        same = mask_reader.read_raster(look.raster, void).ids[0] == mask_reader.read_raster(look.raster, first).ids[0]
        near += int(look.counts[same & ~black].sum())
        pixels -= int(look.counts[black].sum())
    return near / max(1, pixels)
