"""From a data folder and its description to the listed pairs of each split, whether their files exist or not."""

import collections
import dataclasses
import functools
import hashlib
import os
import posixpath
from collections.abc import Callable, Sequence
from typing import NoReturn

from components.datasets import files
from components.datasets.lists import marks_of, read_list, read_pair_list
from components.datasets.spec import SPLITS, DatasetSpec, Splits
from components.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Of files that are taken for pictures, in any case; what is in them is found out when they are read."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """An annotated picture.

    Attributes:
        key: its id: its path below the folder of images (below the root, where a folder stands for a split), without ending.
        image: path of the picture.
        mask: path of its mask; the picture's own where it holds both.
        folder: the data folder, which neither may leave.
        problem: why it cannot be used, if that is plain without reading it.
    """

    key: str
    image: str
    mask: str
    folder: str = ""
    problem: str = ""


def find_root(folder: str, spec: DatasetSpec) -> str:
    """Returns the folder that the description's paths are relative to.

    Args:
        folder: the data folder; it may be the root itself or one of the folders on the way to it.
        spec: the data set.

    Raises:
        DataError: there is no such folder, or it lacks pictures, masks or lists.
    """
    if not _is_there(folder):
        raise DataError(f"The data folder {folder} does not exist. Give --data a folder that holds the data set {spec.name}.")
    if not files.is_folder(folder):
        raise DataError(f"{folder} is a file. Give --data the folder that holds it.")
    needed = _needed(spec)
    steps = [step for step in spec.layout.root.split("/") if step]
    candidates = [files.join(folder, *steps[start:]) for start in range(len(steps) + 1)]
    candidates = [candidate for candidate in candidates if files.exists(candidate)]
    found = [[part for part in needed if files.exists(files.join(candidate, part))] for candidate in candidates]
    best = max(range(len(candidates)), key=lambda index: len(found[index]))
    missing = [part for part in needed if part not in found[best]]
    if not missing:
        return candidates[best]
    if found[best]:
        raise DataError(f"{candidates[best]} has {' and '.join(found[best])}, but no {' and no '.join(missing)}.")
    expected = ", ".join(files.join(spec.layout.root, part) for part in needed)
    raise DataError(
        f"{folder} does not hold the data set {spec.name}: expected {expected} below it. "
        f"It holds: {_names_in(folder)}. "
        "`vocseg data init DIR` describes another layout."
    )


def _is_there(folder: str) -> bool:
    try:
        return files.exists(folder)
    except OSError as error:
        files.raise_passing(error)
        raise DataError(f"The data folder {folder} cannot be looked at: {error.strerror}.") from error


def _names_in(folder: str) -> str:
    try:
        return ", ".join(files.names(folder)[:8]) or "nothing"
    except OSError as error:
        files.raise_passing(error)
        return f"it cannot be told ({error.strerror})"


def holds(folder: str, spec: DatasetSpec) -> bool:
    """Tells whether a folder has all that `find_root` looks for, and a list of every split."""
    try:
        root = find_root(folder, spec)
    except DataError:
        return False
    lists = [_of_split(spec.splits.lists, name) for name in spec.splits.names().values()] if spec.splits.lists else []
    return all(files.exists(files.join(root, path)) for path in lists)


def describe_lists(folder: str, spec: DatasetSpec) -> list[str]:
    """Returns a line for each list that an editor or another system has left its marks in; they are read all the same.

    Args:
        folder: the data folder.
        spec: the data set.
    """
    if not spec.splits.lists:
        return []
    paths = [files.join(find_root(folder, spec), _of_split(spec.splits.lists, name)) for name in spec.splits.names().values()]
    found = {path: marks_of(files.read_bytes(path)) if files.exists(path) else ["does not exist"] for path in paths}
    return [f"{path}: {', '.join(marks)}" for path, marks in found.items() if marks]


def describe_rest(folder: str, spec: DatasetSpec) -> list[str]:
    """Returns a line for each folder of pictures or masks that holds what is not looked at: other files, links to folders.

    Args:
        folder: the data folder.
        spec: the data set; one with lists of pairs names each file itself.
    """
    if spec.splits.entries == "pairs" and spec.splits.lists:
        return []
    root = find_root(folder, spec)
    folders = [spec.layout.images] + ([] if spec.layout.mask_side else [spec.layout.masks])
    paths = {files.join(root, _of_split(path, name)) for path in folders for name in spec.splits.names().values()}
    lines = []
    for path in sorted(paths):
        links = files.links_below(path)
        endings = collections.Counter(posixpath.splitext(name)[1] for name in files.files_below(path) if not is_picture(name))
        parts = [f"{count} {ending or 'without an ending'}" for ending, count in sorted(endings.items())]
        lines += [f"{path}: not taken for pictures: {', '.join(parts)}"] if parts else []
        lines += [f"{path}: links to folders, not followed: {', '.join(links[:8])}"] if links else []
    if spec.splits.lists:
        listed = {pair.image for pairs in list_pairs(folder, spec).values() for pair in pairs}
        where = {files.join(root, _of_split(spec.layout.images, name)) for name in spec.splits.names().values()}
        there = (files.join(path, name) for path in sorted(where) for name in files.files_below(path) if is_picture(name))
        count = sum(path not in listed for path in there)
        lines += [f"{', '.join(sorted(where))}: {count} pictures stand in no list"] if count else []
    return lines


def _of_split(path: str, name: str) -> str:
    return path.replace("{split}", name)


def _needed(spec: DatasetSpec) -> list[str]:
    """Returns the paths below the root without which there is no data: for lists their folder."""
    folders = [spec.layout.images] + ([] if spec.layout.mask_side else [spec.layout.masks])
    if spec.splits.lists and spec.splits.entries == "pairs":
        return [_of_split(spec.splits.lists, spec.splits.train)]
    parts = [_of_split(path, spec.splits.train) for path in folders]
    list_path = _of_split(spec.splits.lists, spec.splits.train)
    lists = posixpath.dirname(list_path) or list_path
    return list(dict.fromkeys([part for part in parts if part] + ([lists] if spec.splits.lists else [])))


def list_pairs(folder: str, spec: DatasetSpec) -> dict[str, list[Pair]]:
    """Returns the pairs of each split that has any: {"train": [...], "validation": [...], "test": [...]}.

    Args:
        folder: the data folder.
        spec: the data set.

    Raises:
        DataError: the folder does not hold the data set, a list is bad (every bad line is named), or train or validation is
            empty.
    """
    root = find_root(folder, spec)
    inside = folder if files.is_remote(folder) else os.path.realpath(folder)
    if spec.splits.lists:
        find = functools.cache(_find_files)  # Where all splits share the folders, these are listed once.
        splits = {split: _listed(root, name, spec, inside, find) for split, name in spec.splits.names().items()}
    elif "{split}" in spec.layout.images:
        splits = {split: _in_folders(root, name, spec) for split, name in spec.splits.names().items()}
    else:
        pairs = _in_folders(root, "", spec)
        if len(pairs) == 1:
            raise DataError(f"There is one picture only, {pairs[0].image}; train and validation need one each.")
        splits = divide(pairs, spec.splits)
    for split in ("train", "validation"):
        if not splits.get(split):
            _fail_empty(root, split, spec)
    return {
        split: [dataclasses.replace(pair, folder=inside) for pair in splits[split]] for split in SPLITS if splits.get(split)
    }


def _fail_empty(root: str, split: str, spec: DatasetSpec) -> NoReturn:
    name = spec.splits.names()[split]
    if spec.splits.lists:
        path = files.join(root, _of_split(spec.splits.lists, name))
        raise DataError(f"{path} {'is empty' if files.exists(path) else 'does not exist'}; expected a line a picture.")
    where = files.join(root, _of_split(spec.layout.images, name))
    raise DataError(f"There is no picture for {split} in {where}; expected files that end in {', '.join(ENDINGS)}.")


def _listed(root: str, name: str, spec: DatasetSpec, folder: str, find: "Callable[..., tuple[_Files, _Files]]") -> list[Pair]:
    path = files.join(root, _of_split(spec.splits.lists, name))
    if not files.exists(path):
        return []
    if spec.splits.entries == "pairs":
        return [_pair_of_paths(root, *paths) for paths in read_pair_list(path, spec.splits.prefix, folder)]
    found = find(root, _of_split(spec.layout.images, name), _of_split(spec.layout.masks, name), spec.layout.mask_side)
    listed = read_list(path, folder)
    keys = [found[0].key_of(one) for one in listed]
    twice = sorted(key for key, count in collections.Counter(keys).items() if count > 1)
    if twice:
        raise DataError(f"{path} lists {', '.join(map(repr, twice[:20]))} more than once: with an ending and without.")
    return [_pair_of_id(key, found, spec, one) for key, one in zip(keys, listed, strict=True)]


def _pair_of_paths(root: str, image: str, mask: str) -> Pair:
    return Pair(posixpath.splitext(image)[0], files.join(root, image), files.join(root, mask))


def _in_folders(root: str, name: str, spec: DatasetSpec) -> list[Pair]:
    """Pairs what lies in the folders of a split, or of all; a picture without a mask and a mask without one are listed too."""
    layout = spec.layout
    found = _find_files(root, _of_split(layout.images, name), _of_split(layout.masks, name), layout.mask_side)
    keys = set(found[0].ids)
    if not layout.mask_side:
        suffix = layout.mask_suffix
        if found[0].folder == found[1].folder:  # Told apart by the suffix alone.
            keys = {key for key in keys if not key.endswith(suffix)}
        if not name or "{split}" in layout.masks:  # Else the other splits' masks are there, too.
            keys |= {key.removesuffix(suffix) for key in found[1].ids if key.endswith(suffix)}
    pairs = [_pair_of_id(key, found, spec) for key in sorted(keys)]
    return [dataclasses.replace(pair, key=f"{name}/{pair.key}") if name else pair for pair in pairs]


def _find_files(root: str, images: str, masks: str, mask_side: str) -> "tuple[_Files, _Files]":
    """Lists a split's folders of pictures and of masks; one within the other is no part of it."""
    images, masks = posixpath.normpath(images or "."), posixpath.normpath(masks or ".")
    if mask_side:
        both = _Files(root, images, "image", images)
        return both, both
    return _Files(root, images, "image", masks), _Files(root, masks, "mask", images)


def _pair_of_id(key: str, found: "tuple[_Files, _Files]", spec: DatasetSpec, listed: str = "") -> Pair:
    """Pairs the files of an id, which a list may have named with the picture's ending."""
    image, problem = found[0].find(key, listed)
    if spec.layout.mask_side:
        return Pair(key, image, image, problem=problem)
    mask, mask_problem = found[1].find(f"{key}{spec.layout.mask_suffix}")
    return Pair(key, image, mask, problem=problem or mask_problem)


class _Files:
    """The pictures of a folder by their ids; listed once, since asking a remote store for each file takes a round trip."""

    def __init__(self, root: str, folder: str, what: str, other: str) -> None:
        self.folder = files.join(root, "" if folder == "." else folder)
        self._what = what
        self.ids: dict[str, list[str]] = {}
        inner = posixpath.relpath(other, folder) + "/"
        try:
            names = [name for name in files.files_below(self.folder) if is_picture(name) and not name.startswith(inner)]
        except OSError as error:
            files.raise_passing(error)
            raise DataError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error
        for name in names:
            self.ids.setdefault(posixpath.splitext(name)[0], []).append(name)

    def key_of(self, listed: str) -> str:
        """Returns the id of a list's line, which may have an ending."""
        return posixpath.splitext(listed)[0] if is_picture(listed) and listed not in self.ids else listed

    def find(self, key: str, exact: str = "") -> tuple[str, str]:
        """Returns the path of a picture, of several the one whose name is given, and what is wrong with it."""
        names = self.ids.get(key) or [f"{key}{'.png' if self._what == 'mask' else '.jpg'}"]
        names = [exact] if exact in names else names
        many = f"there are several: {', '.join(sorted(names))}; expected one {self._what}" if len(names) > 1 else ""
        return files.join(self.folder, names[0]), many


def is_picture(name: str) -> bool:
    """Tells by a file's ending whether it is taken for a picture."""
    return posixpath.splitext(name)[1].lower() in ENDINGS


def divide(pairs: Sequence[Pair], splits: Splits) -> dict[str, list[Pair]]:
    """Divides pairs by the fractions, in an order that only the seed and the keys decide.

    Returns:
        The pairs of train, validation and test, in the given order. A fraction above 0 gets at least one pair; where there are
        too few for that, train comes first, then validation.
    """
    order = sorted(pairs, key=lambda pair: _rank(splits.seed, pair.key))
    _, validation, test = splits.fractions
    sizes = {"test": min(_share(test, len(order)), max(len(order) - 2, 0))}
    sizes["validation"] = min(_share(validation, len(order)), max(len(order) - sizes["test"] - 1, 0))
    found, start = {}, 0
    for split, size in sizes.items():
        chosen = {pair.key for pair in order[start : start + size]}
        found[split] = [pair for pair in pairs if pair.key in chosen]
        start += size
    rest = {pair.key for pair in order[start:]}
    return {"train": [pair for pair in pairs if pair.key in rest], "validation": found["validation"], "test": found["test"]}


def _rank(seed: int, key: str) -> bytes:
    """Returns a place in the order; a name need not be UTF-8."""
    return hashlib.sha256(f"{seed}:{key}".encode(errors="surrogateescape")).digest()


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count)) if fraction else 0
