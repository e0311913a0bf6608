"""Pusher: publishes a blessed model with its card, atomically, to a folder that TensorFlow Serving can watch."""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import time
import types
from collections.abc import Iterator, Mapping

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import card_files
from components.card_files import ModelCard
from components.errors import ModelError

_INCOMING = ".incoming-"


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


def publish(
    source: pathlib.Path, destination: pathlib.Path, extras: Mapping[str, bytes] = types.MappingProxyType({})
) -> Publication:
    """Publishes a SavedModel as the next version, unless it is one already: a model is published once.

    It is copied beside its place, compared by digest, and renamed: a crash leaves the old versions or the old and the new one.
    One publisher at a time; leftovers of a killed one are removed.

    Args:
        source: the SavedModel's folder.
        destination: the folder of versions; made if missing.
        extras: files of the model's card, by place: a new version gets them, and one that is there keeps its own.

    Raises:
        ModelError: the source is no SavedModel, or the copy differs from it.
    """
    if not (source / "saved_model.pb").exists():
        raise ModelError(f"{source} holds no SavedModel (there is no saved_model.pb).")
    destination.mkdir(parents=True, exist_ok=True)
    digest = tree_digest(source)
    with _lock(destination):
        for leftover in destination.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover)
        published = versions(destination)
        for path in reversed(published):
            if tree_digest(path) == digest:
                return Publication(path, digest, new=False)
        version = max(int(time.time()), int(published[-1].name) + 1 if published else 0)
        incoming = destination / f"{_INCOMING}{version}"
        shutil.copytree(source, incoming)
        if tree_digest(incoming) != digest:
            raise ModelError(f"The copy of {source} in {incoming} differs from it. Is the disk full, or failing?")
        for name, content in extras.items():
            (incoming / name).parent.mkdir(exist_ok=True)
            (incoming / name).write_bytes(content)
        for path in (*incoming.rglob("*"), incoming):
            _flush(path)
        incoming.rename(destination / str(version))
        _flush(destination)
        return Publication(destination / str(version), digest, new=True)


def versions(destination: pathlib.Path) -> list[pathlib.Path]:
    """Returns the published versions, oldest first; only folders with a number for a name are versions."""
    if not destination.is_dir():
        return []
    found = [path for path in destination.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def tree_digest(folder: pathlib.Path) -> str:
    """Returns a SHA-256 over the names and the bytes of all files below a folder, a model's card left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.relative_to(folder).as_posix() in card_files.PLACES.values():
            continue
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder's lock; the system releases it when the process dies."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(path: pathlib.Path) -> None:
    """Waits until a file or folder is on the disk: after a power cut a renamed folder must not hold empty files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@component
def Pusher(
    model: InputArtifact[standard_artifacts.Model],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    card: InputArtifact[ModelCard],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    destination: Parameter[str],
    code_digest: Parameter[str],
) -> None:
    """Publishes the model if it is blessed and can be served; notes on `pushed_model` whether, where and as which version."""
    del code_digest  # Only there for the cache.
    blessed = all(blessing.get_int_custom_property("blessed") == 1 for blessing in (model_blessing, infra_blessing))
    pushed_model.set_int_custom_property("pushed", int(blessed))
    if blessed:
        source, extras = pathlib.Path(path_utils.serving_model_path(model.uri)), card_files.read_files(card.uri)
        publication = publish(source, pathlib.Path(destination), extras)
        pushed_model.set_string_custom_property("pushed_destination", str(publication.path))
        pushed_model.set_string_custom_property("pushed_version", publication.path.name)
        pushed_model.set_string_custom_property("model_digest", publication.digest)
        pushed_model.set_int_custom_property("new_version", int(publication.new))
