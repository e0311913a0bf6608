"""A folder of pushed versions, as TensorFlow Serving watches it: whole versions only, and the highest number is served.

Who changes it holds its lock. What is copied or removed has a hidden name meanwhile, and whoever takes the lock next removes
what a killed process left.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import os
import pathlib
import shutil
import time
import types
from collections.abc import Iterator, Mapping
from typing import Any

from components.errors import ModelError
from components.version_records import (
    RECORDS,
    Origin,
    Record,
    digest_of,
    flush,
    read_record,
    seal,
    tree_digest,
    write_record,
)

_INCOMING = ".incoming-"
_REMOVED = ".removed-"


@dataclasses.dataclass(frozen=True)
class Publication:
    """A published version.

    Attributes:
        path: its folder.
        digest: of its files.
        new: False where this model had been published before.
    """

    path: pathlib.Path
    digest: str
    new: bool


def versions(destination: pathlib.Path) -> list[pathlib.Path]:
    """Returns the published versions, oldest first; only folders with a number for a name are versions."""
    if not destination.is_dir():
        return []
    found = [path for path in destination.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def publish(
    source: pathlib.Path,
    destination: pathlib.Path,
    origin: Origin | None = None,
    extras: Mapping[str, bytes] = types.MappingProxyType({}),
) -> Publication:
    """Publishes a SavedModel as the next version, unless it is one already: a model is published once.

    It is copied beside its place, compared by digest, and renamed: a crash leaves the old versions or the old and the new one.
    One publisher at a time; leftovers of a killed one are removed. Its record is written before the renaming.

    Args:
        source: the SavedModel's folder.
        destination: the folder of versions; made if missing.
        origin: what the record says of the model.
        extras: files of the model's card, by place; a version that is there already gets them in the place of its own.

    Raises:
        ModelError: the source is no SavedModel, or the copy differs from it.
    """
    if not (source / "saved_model.pb").exists():
        raise ModelError(f"{source} holds no SavedModel (there is no saved_model.pb).")
    destination.mkdir(parents=True, exist_ok=True)
    digest = tree_digest(source)
    with locked(destination):
        for path in reversed(versions(destination)):
            # A record spares reading the versions that are others; of the same one it is not believed.
            if digest_of(path) == digest and tree_digest(path) == digest:
                _renew(path, digest, origin or Origin(), extras)
                return Publication(path, digest, new=False)
        record = _add(source, destination, digest, origin or Origin(), extras)
        return Publication(destination / record.version, digest, new=True)


def rollback(destination: pathlib.Path, version: str | None = None) -> Record:
    """Makes an earlier version current again, by publishing a copy of its files under the highest number.

    A copy, not links: damage to one would be damage to the other, and removing one would free nothing.

    Args:
        destination: the folder of versions.
        version: its number; by default the newest with other files than the current's among those before it. Of a current
            version that is a rollback's, these are those before its original: each rollback goes a step further back.

    Returns:
        The new version's record.

    Raises:
        ModelError: there is nothing to go back to, no such version, it is the current one, or it was changed since its push.
    """
    with locked(destination):
        published = versions(destination)
        if not published:
            raise ModelError(f"There is no version in {destination}.")
        current = published[-1]
        source = _named(published, version) if version else _before(published)
        digest, record = digest_of(source), read_record(source)
        if digest == digest_of(current):
            raise ModelError(f"Version {source.name} has the files of the current one, {current.name}: nothing to roll back.")
        if record and record.digest != digest:
            raise ModelError(f"Version {source.name} was changed since it was pushed. Name another one.")
        if not (source / "saved_model.pb").exists():
            raise ModelError(f"{source} holds no SavedModel (there is no saved_model.pb). Name another version.")
        copy_of = record.copy_of or source.name if record else source.name
        return _add(source, destination, digest, record or Origin(), {}, copy_of=copy_of, rolled_back_from=current.name)


def _named(published: list[pathlib.Path], version: str) -> pathlib.Path:
    found = [path for path in published if path.name == version]
    if not found:
        known = ", ".join(path.name for path in published)
        raise ModelError(f"There is no version {version} in {published[0].parent}. There are: {known}.")
    return found[0]


def _before(published: list[pathlib.Path]) -> pathlib.Path:
    """Returns the newest version before the current one, or before its original, that has other files."""
    current = published[-1]
    record = read_record(current)
    limit = int(record.copy_of) if record and record.copy_of.isdecimal() else int(current.name)
    digest = digest_of(current)
    for path in reversed(published[:-1]):
        if int(path.name) < limit and digest_of(path) != digest:
            return path
    others = ", ".join(path.name for path in published[:-1])
    known = f"To go back to another version, name it: {others}." if others else f"{current.name} is the only one."
    raise ModelError(f"There is no version before {limit} in {current.parent} to go back to. {known}")


def prune(destination: pathlib.Path, keep: int, dry_run: bool = False) -> list[tuple[str, int]]:
    """Removes all but the newest versions. Each goes at once: it is renamed before its files are removed.

    Args:
        destination: the folder of versions.
        keep: how many stay, at least 1: the current one always does.
        dry_run: removes nothing.

    Returns:
        The numbers of the removed versions and the bytes of their files, oldest first.

    Raises:
        ModelError: `keep` is less than 1.
    """
    if keep < 1:
        raise ModelError(f"At least 1 version must be kept, the current one; got {keep}.")
    if dry_run:
        return [(path.name, size_bytes(path)) for path in versions(destination)[:-keep]]
    removed = []
    with locked(destination):
        for path in versions(destination)[:-keep]:
            removed.append((path.name, size_bytes(path)))
            hidden = path.rename(destination / f"{_REMOVED}{path.name}")
            flush(destination)
            _remove(hidden)
        _clean(destination)  # Their records.
    return removed


def size_bytes(version: pathlib.Path) -> int:
    """Returns the bytes of a version's files; 0 for a link to a folder elsewhere."""
    if version.is_symlink():
        return 0
    return sum(path.lstat().st_size for path in version.rglob("*") if path.is_file())


@contextlib.contextmanager
def locked(destination: pathlib.Path) -> Iterator[None]:
    """Holds the folder's lock, without leftovers of killed processes; the system releases it when the process dies."""
    with (destination / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _clean(destination)
        yield


def _clean(destination: pathlib.Path) -> None:
    """Removes what killed processes left: half copies, half removed versions, and records without a version."""
    kept = {f"{path.name}.json" for path in versions(destination)}
    for path in destination.iterdir():
        if path.name.startswith((_INCOMING, _REMOVED)):
            _remove(path)
    for path in (destination / RECORDS).glob("*"):
        if path.name not in kept or not path.is_file():
            _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _add(
    source: pathlib.Path,
    destination: pathlib.Path,
    digest: str,
    origin: Origin,
    extras: Mapping[str, bytes],
    copy_of: str = "",
    rolled_back_from: str = "",
) -> Record:
    """Copies a folder to the next version, under the lock, and returns its record."""
    published = versions(destination)
    version = str(max(int(time.time()), int(published[-1].name) + 1 if published else 0))
    incoming = destination / f"{_INCOMING}{version}"
    shutil.copytree(source, incoming)
    if tree_digest(incoming) != digest:
        raise ModelError(f"The copy of {source} in {incoming} differs from it. Is the disk full, or failing?")
    for name, content in extras.items():
        (incoming / name).parent.mkdir(exist_ok=True)
        (incoming / name).write_bytes(content)
    before = read_record(published[-1]) if published and not copy_of else None
    links = {"copy_of": copy_of, "rolled_back_from": rolled_back_from}
    links["pushed_after_rollback_to"] = before.model_uri if before and before.rolled_back_from else ""
    record = _record(incoming, version, digest, origin, **links)
    for path in (*incoming.rglob("*"), incoming):
        flush(path)
    write_record(destination, record)
    incoming.rename(destination / version)
    flush(destination)
    return record


def _renew(version: pathlib.Path, digest: str, origin: Origin, extras: Mapping[str, bytes]) -> None:
    """Brings the card and the record of a version up to date, under the lock.

    Args:
        version: its folder.
        digest: of its files.
        origin: for the record, where there is none: it was pushed before there were records, or its own is damaged.
        extras: files of the card. What is written beside them lies outside the version, where it is no file of the model's.
    """
    for name, content in extras.items():
        path, partial = version / name, version.parent / f"{_INCOMING}card"
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(exist_ok=True)
            partial.write_bytes(content)
            flush(partial)
            os.replace(partial, path)
            flush(path.parent)
    record = read_record(version)
    if record is None:
        write_record(version.parent, _record(version, version.name, digest, origin))
    elif record.digest == digest and record.seal != seal(version, digest):
        write_record(version.parent, dataclasses.replace(record, seal=seal(version, digest)))


def _record(folder: pathlib.Path, version: str, digest: str, origin: Origin, **links: str) -> Record:
    """Returns the record of a version whose files lie in a folder, its own or that of its copy."""
    known: dict[str, Any] = {field.name: getattr(origin, field.name) for field in dataclasses.fields(Origin)}
    pushed = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(version=version, digest=digest, seal=seal(folder, digest), pushed=pushed, **known | links)
