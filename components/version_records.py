"""What is known of a pushed version: a JSON file beside the versions, in a folder that TensorFlow Serving passes over.

In the version itself it would change the model's digest, by which a model is published once.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

from components.features import CARD_FILES

RECORDS = ".records"

_KINDS: dict[str, tuple[type, ...]] = {"mean_iou": (int, float, type(None)), "blessed": (bool, type(None))}
"""The types of the fields that are no text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model comes from; what is not known is empty or None.

    Attributes:
        model_uri: of its Model artifact.
        blessed: the gate's verdict.
        mean_iou: on the evaluated split, 0..1.
        split: that was evaluated, test or eval.
        data_digest: of the data that it was trained on.
        code_digest: of the code that trained it.
    """

    model_uri: str = ""
    blessed: bool | None = None
    mean_iou: float | None = None
    split: str = ""
    data_digest: str = ""
    code_digest: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Origin):
    """A pushed version.

    Attributes:
        version: its number, as the folder's name.
        digest: of its files, see `tree_digest`.
        seal: of digest and files, see `seal`.
        pushed: when, ISO 8601, UTC.
        copy_of: the version that was first pushed with these files, of one that a rollback made; else empty.
        rolled_back_from: the version that was current when the rollback made this one; else empty.
        pushed_after_rollback_to: URI of the Model artifact of the version before, if a rollback made that one; else empty. It
            was this model's baseline, and may be pruned.
    """

    version: str
    digest: str
    seal: str
    pushed: str
    copy_of: str = ""
    rolled_back_from: str = ""
    pushed_after_rollback_to: str = ""


def write_record(destination: pathlib.Path, record: Record) -> None:
    """Writes a version's record, whole or not at all, and onto the disk.

    Args:
        destination: the folder of versions.
        record: of one of them.
    """
    folder = destination / RECORDS
    folder.mkdir(exist_ok=True)
    partial = folder / f".{record.version}.{uuid.uuid4().hex[:8]}"
    partial.write_text(record_json(record))
    flush(partial)
    os.replace(partial, folder / f"{record.version}.json")
    flush(folder)


def record_json(record: Record) -> str:
    """Returns the text of a record's file."""
    return json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n"


def read_record(version: pathlib.Path) -> Record | None:
    """Returns a version's record; None where there is none that can be read: what is published does not depend on it."""
    try:
        content = (version.parent / RECORDS / f"{version.name}.json").read_bytes()
    except OSError:
        return None
    return parse_record(content, version.name)


def parse_record(content: bytes, version: str) -> Record | None:
    """Returns the record that a file holds; None where it is damaged or another version's."""
    try:
        values = json.loads(content)
        known = {field.name for field in dataclasses.fields(Record)}
        record = Record(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    sound = all(_is_sound(name, value) for name, value in dataclasses.asdict(record).items())
    return record if sound and record.version == version else None


def _is_sound(name: str, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, _KINDS.get(name, (str,))) and (name != "mean_iou" or not isinstance(value, bool))


def seal(folder: pathlib.Path, digest: str) -> str:
    """Returns a SHA-256 that ties a digest to the files that it was computed of: names, sizes, time stamps (ns) and inodes.

    The time of a file's last change of any kind is among them, which no program can set back.
    """
    found = hashlib.sha256(f"{digest}\n".encode())
    for path in _files(folder):
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        found.update(f"{path.relative_to(folder).as_posix()} {stamp}\n".encode())
    return found.hexdigest()


def tree_digest(folder: pathlib.Path) -> str:
    """Returns a SHA-256 over the names and the bytes of all files below a folder, a model's card left out."""
    hashes = {}
    for path in _files(folder):
        if (name := path.relative_to(folder).as_posix()) not in CARD_FILES:
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digest_of_files(hashes)


def digest_of_files(hashes: Mapping[str, str]) -> str:
    """Returns a SHA-256 over the names of files and the SHA-256 of each, sorted folder by folder."""
    digest = hashlib.sha256()
    for name in sorted(hashes, key=lambda name: name.split("/")):
        digest.update(f"{name} {hashes[name]}\n".encode())
    return digest.hexdigest()


def digest_of(version: pathlib.Path) -> str:
    """Returns the digest of a version's files: its record's where the seal shows that they are as they were, else computed."""
    record = read_record(version)
    return record.digest if record and record.seal == seal(version, record.digest) else tree_digest(version)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flush(path: pathlib.Path) -> None:
    """Waits until a file or folder is on the disk: after a power cut a renamed folder must not hold empty files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
