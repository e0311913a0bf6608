"""The official archives of a VOC set: checked whole, and of them the listed pictures and masks, nothing else."""

import os
import posixpath
import shutil
import tarfile
import uuid
from collections.abc import Iterable, Sequence

from etils import epath

from components.datasets import files
from components.datasets.layout import is_picture
from components.datasets.lists import read_list
from components.datasets.spec import DatasetSpec
from components.errors import DataError

MAX_MEMBER_BYTES = 256 << 20
"""A picture, mask or list that is larger is none."""


def find_archives(folder: epath.PathLike, names: Iterable[str]) -> list[epath.Path]:
    """Returns the official archives in a folder, [] where it has none.

    Raises:
        DataError: some are there and some are not, or one is no file.
    """
    paths = [epath.Path(folder) / name for name in names]
    missing = [path.name for path in paths if not path.exists()]
    if missing and len(missing) < len(paths):
        raise DataError(f"{folder} holds some of the official archives, but not {', '.join(missing)}. Put them there too.")
    for path in paths:
        local = os.fspath(path)
        if not missing and not files.is_remote(local) and not os.path.isfile(local):
            raise DataError(f"{local} is a folder, a pipe or a device. Put the official archive in its place.")
    return [] if missing else paths


def extract_listed(archives: Sequence[epath.Path], spec: DatasetSpec, destination: epath.PathLike) -> epath.Path:
    """Extracts the lists of VOC archives and the pictures and masks they name, once.

    The folder appears whole or not at all: members are written beside it, then it is renamed. A store renames file by file:
    there an object beside the folder, written last, says that it is whole.

    Args:
        archives: tar files with members <spec.layout.root>/...
        spec: the data set; its splits are lists of ids.
        destination: where the root goes; if it is there, nothing is read.

    Returns:
        The destination.

    Raises:
        DataError: an archive cannot be read, holds no lists, or holds a member that no honest archive has: an absolute path or
            one with "..", a link, or a listed file of more than `MAX_MEMBER_BYTES`.
        OSError: the disk is full, or fails in a way that may pass.
    """
    destination = epath.Path(destination)
    if files.is_remote(os.fspath(destination)):
        complete = epath.Path(files.completion_mark(os.fspath(destination)))
        if not complete.exists():
            for archive in archives:
                _extract_archive(archive, spec, destination)
            complete.write_text("")
    elif not destination.exists():
        partial = destination.parent / f".{destination.name}.{uuid.uuid4().hex[:8]}"
        try:
            for archive in archives:
                _extract_archive(archive, spec, partial)
            if not destination.exists():
                partial.rename(destination)
        finally:
            if partial.exists():
                partial.rmtree()
    return destination


def _extract_archive(archive: epath.Path, spec: DatasetSpec, destination: epath.Path) -> None:
    """Copies the wanted regular members; where one goes follows from names that `_members` has checked."""
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = _members(tar, archive)
            _check_end(tar)
            names = spec.splits.names().values()
            paths = [posixpath.join(spec.layout.root, spec.splits.lists.replace("{split}", name)) for name in names]
            lists = [path for path in paths if path in members]
            if not lists:
                raise DataError(f"{archive}: no member {paths[0]}. Is it the official archive?")
            for name in lists:
                _copy_member(tar, members[name], destination / name, archive)
            wanted = {key for name in lists for key in read_list(os.fspath(destination / name))}
            folders = [posixpath.join(spec.layout.root, folder) + "/" for folder in (spec.layout.images, spec.layout.masks)]
            for name, member in members.items():
                stems = [posixpath.splitext(name.removeprefix(folder))[0] for folder in folders if name.startswith(folder)]
                if is_picture(name) and any(stem in wanted for stem in stems):
                    _copy_member(tar, member, destination / name, archive)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} cannot be read as a tar archive: {error}. Download it again.") from error
    except OSError as error:
        if error.errno in files.PASSING | files.FULL:  # Of the disk, and not of the download.
            raise
        raise DataError(f"{archive} cannot be extracted into {destination}: {error}.") from error


def _members(tar: tarfile.TarFile, archive: epath.Path) -> dict[str, tarfile.TarInfo]:
    """Returns the regular members by name, in the archive's order.

    Raises:
        DataError: a member that no honest archive has.
    """
    members = {}
    for member in tar:
        name = member.name.removeprefix("./")
        if member.name.startswith("/") or ".." in member.name.split("/") or "\\" in member.name:
            raise DataError(f"{archive} holds the member {member.name!r}, outside of itself: it is refused. Download it again.")
        if not member.isreg() and not member.isdir():
            raise DataError(f"{archive} holds {member.name!r}, a link or a device: it is refused. Download it again.")
        if member.isreg():
            members[name] = member
    return members


def _check_end(tar: tarfile.TarFile) -> None:
    """Fails where the members end before the archive does: tarfile takes a cut, a damaged or a zeroed header for the end.

    A whole archive ends with zeros, and holds nothing behind them.
    """
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    whole = len(block) == tarfile.BLOCKSIZE
    while whole and block:
        whole = not block.strip(b"\0")
        block = tar.fileobj.read(1 << 20)
    if not whole:
        raise tarfile.ReadError("it breaks off before its end")


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: epath.Path, archive: epath.Path) -> None:
    if member.size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{archive} holds {member.name!r} with {member.size} bytes, more than {MAX_MEMBER_BYTES}: it is refused. "
            "Download it again."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:  # Cannot be: only regular members are asked for.
        raise DataError(f"{member.name} is not a file.")
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
