"""The PASCAL VOC layout: where its files lie, in a folder or in the official archives.

`VOCdevkit/VOC<year>` holds `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation/{train,val,test}.txt`, a list of ids
a split (Everingham et al. 2010, "The PASCAL Visual Object Classes Challenge", and its development kit).
"""

import dataclasses
import hashlib
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterable, Sequence

from etils import epath

from components.errors import DataError

LISTS = {"train": "train", "validation": "val", "test": "test"}
"""The builder's name of each split, and VOC's."""

_IMAGES, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"


@dataclasses.dataclass(frozen=True)
class Pair:
    """An annotated picture.

    Attributes:
        key: the image id, for instance 2007_000032.
        image: path of the picture.
        mask: path of its mask.
    """

    key: str
    image: str
    mask: str


def holds_voc(folder: epath.PathLike, year: int) -> bool:
    """Tells whether a folder is VOC's, its VOCdevkit or that one's parent, with all three lists, images and masks."""
    parts = (_IMAGES, _MASKS, *(f"{_LISTS}/{name}.txt" for name in LISTS.values()))
    return any(all((voc / part).exists() for part in parts) for voc in _candidates(epath.Path(folder), year))


def _candidates(folder: epath.Path, year: int) -> tuple[epath.Path, ...]:
    return folder / "VOCdevkit" / f"VOC{year}", folder / f"VOC{year}", folder


def find_voc(folder: epath.PathLike, year: int) -> epath.Path:
    """Returns the folder that holds the three parts of VOC, given itself, its VOCdevkit or that one's parent.

    Raises:
        DataError: the folder does not exist or holds no such set.
    """
    folder = epath.Path(folder)
    if not folder.exists():
        raise DataError(f"The data folder {folder} does not exist. Give --data a folder that holds VOCdevkit/VOC{year}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file. Give --data the folder that holds it.")
    for candidate in _candidates(folder, year):
        if (candidate / _LISTS).exists():
            missing = [part for part in (_IMAGES, _MASKS) if not (candidate / part).exists()]
            if missing:
                raise DataError(f"{candidate} has lists in {_LISTS}, but no {' and no '.join(missing)}.")
            return candidate
    raise DataError(
        f"{folder} holds no VOC data: expected VOCdevkit/VOC{year}/{_LISTS} below it, or the official tar files in it. "
        f"It holds: {', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'}."
    )


def read_list(path: epath.Path) -> list[str]:
    """Returns the ids of a split's list; blank lines, blanks around ids, CRLF and a byte order mark are no part of them.

    Raises:
        DataError: the list is not text, or an id would leave the data folder or stands twice.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: {error}.") from error
    keys = [line.strip() for line in lines if line.strip()]
    for key in keys:
        if "/" in key or "\\" in key or key.startswith(".") or not key.isprintable():
            raise DataError(f"{path} lists {key!r}; expected the id of an image, a file's name without its ending.")
    if len(set(keys)) < len(keys):
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise DataError(f"{path} lists {twice!r} twice. Remove one of the lines.")
    return keys


def pairs_by_split(voc: epath.Path) -> dict[str, list[Pair]]:
    """Returns the pairs that the lists name, existing or not: {"train": [...], "validation": [...], "test": [...]}.

    Raises:
        DataError: train or validation has no list or an empty one (test may), or a list is bad (see `read_list`).
    """
    splits = {}
    for split, name in LISTS.items():
        path = voc / _LISTS / f"{name}.txt"
        keys = read_list(path) if path.exists() else []
        if not keys and split != "test":
            raise DataError(f"{path} {'is empty' if path.exists() else 'does not exist'}; expected an image id a line.")
        splits[split] = [
            Pair(key, os.fspath(voc / _IMAGES / f"{key}.jpg"), os.fspath(voc / _MASKS / f"{key}.png")) for key in keys
        ]
    return splits


def find_archives(folder: epath.PathLike, names: Iterable[str]) -> list[epath.Path]:
    """Returns the official archives in a folder, [] where it has none.

    Raises:
        DataError: some are there and some are not.
    """
    paths = [epath.Path(folder) / name for name in names]
    missing = [path.name for path in paths if not path.exists()]
    if missing and len(missing) < len(paths):
        raise DataError(f"{folder} holds some of the official archives, but not {', '.join(missing)}. Put them there too.")
    return [] if missing else paths


def extract_listed(archives: Sequence[epath.Path], year: int, destination: epath.PathLike) -> epath.Path:
    """Extracts the segmentation lists of VOC archives and the pictures and masks they name, once.

    The folder appears whole or not at all: members are written beside it, then it is renamed.

    Args:
        archives: tar files with members VOCdevkit/VOC<year>/...
        year: of the set.
        destination: where `VOCdevkit` goes; if it exists, nothing is read.

    Returns:
        The folder VOCdevkit/VOC<year> below the destination.

    Raises:
        DataError: an archive cannot be read, or holds no lists.
    """
    destination = epath.Path(destination)
    root = f"VOCdevkit/VOC{year}"
    if not destination.exists():
        partial = destination.parent / f".{destination.name}.{uuid.uuid4().hex[:8]}"
        try:
            for archive in archives:
                _extract_archive(archive, root, partial)
            if not (partial / root / _LISTS).exists():
                raise DataError(f"{', '.join(map(str, archives))}: no member {root}/{_LISTS}. Are they the official archives?")
            if not destination.exists():
                partial.rename(destination)
        finally:
            if partial.exists():
                partial.rmtree()
    return destination / root


def _extract_archive(archive: epath.Path, root: str, destination: epath.Path) -> None:
    """Copies the wanted regular members; a member's name is only ever compared with names that we made ourselves."""
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file) as tar:
            members = {member.name: member for member in tar if member.isreg()}
            # tarfile takes a cut or a damaged header for the end, but a whole archive ends with zeros.
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it breaks off before its end")
            lists = [f"{root}/{_LISTS}/{name}.txt" for name in LISTS.values() if f"{root}/{_LISTS}/{name}.txt" in members]
            if not lists:
                raise DataError(f"{archive}: no member {root}/{_LISTS}. Is it the official archive?")
            for name in lists:
                _copy_member(tar, members[name], destination / name)
            wanted = [path for name in lists for path in _members_of(destination / name, root)]
            for name in sorted((n for n in wanted if n in members), key=lambda n: members[n].offset):
                _copy_member(tar, members[name], destination / name)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} cannot be read as a tar archive: {error}. Download it again.") from error


def _members_of(path: epath.Path, root: str) -> list[str]:
    return [name for key in read_list(path) for name in (f"{root}/{_IMAGES}/{key}.jpg", f"{root}/{_MASKS}/{key}.png")]


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: epath.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:  # Cannot be: only regular members are asked for.
        raise DataError(f"{member.name} is not a file.")
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def content_digest(voc: epath.Path) -> str:
    """Returns a SHA-256 over the lists and the bytes of every listed file (or its absence); names count, time stamps do not.

    Raises:
        DataError: see `pairs_by_split`.
    """
    digest = hashlib.sha256()
    for split, pairs in pairs_by_split(voc).items():
        digest.update(f"{split} {len(pairs)}\n".encode())
        for pair in pairs:
            for path in (epath.Path(pair.image), epath.Path(pair.mask)):
                try:
                    state = file_digest(path)
                except OSError as error:  # It goes to the quarantine, with its reason, when the examples are made.
                    state = f"unreadable {error.errno}"
                digest.update(f"{path.name} {state}\n".encode())
    return digest.hexdigest()


def file_digest(path: epath.Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
