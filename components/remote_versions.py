"""Pushed versions in a store, as `components.versions` keeps them on a disk: whole versions only, numbers only grow.

A store renames nothing at once and knows no lock. So a version counts once its `saved_model.pb` is there, the file without
which no server loads a model, and it is written last: after all others, which were compared by digest, and after the record.
What a killed push left has none; a push removes it when it is a day old.

What this gives a server that polls the folder: it never serves half a version. What it does not: TensorFlow Serving takes a
numbered folder for a version as soon as the first object is in it, and then fails to load it. It goes on with the version that
it has and tries again, by default five times, a minute apart; an upload that takes longer than that is not looked at again
before the server is started anew. Nor can servers be kept from seeing the folder of a killed push.

One publisher at a time: a run's lock sees to it on one machine; that two machines do not run on one root at once is the
user's to see to. If they do, one who finds that another was faster gives up. Only if both look within the same moment do two
versions appear; and if both took their number within the same second, files of one may lie in the version of the other.
"""

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from components import stores
from components.datasets import files
from components.errors import ModelError
from components.features import CARD_FILES
from components.version_records import RECORDS, Origin, Record, digest_of_files, parse_record, record_json

_MODEL_FILE = "saved_model.pb"
_UPLOAD_S = 24 * 3600
"""For so long an upload may be under way."""


@dataclasses.dataclass(frozen=True)
class RemotePublication:
    """A published version.

    Attributes:
        path: its address.
        digest: of its files.
        new: False where this model had been published before.
    """

    path: str
    digest: str
    new: bool


def remote_versions(destination: str) -> list[str]:
    """Returns the numbers of the published versions, oldest first.

    Raises:
        OSError: the store cannot be asked.
    """
    return [number for number in _numbers(destination) if files.exists(_model_file(destination, number))]


def publish(source: str, destination: str, origin: Origin, extras: Mapping[str, bytes]) -> RemotePublication:
    """Publishes a SavedModel as the next version, unless it is one already: a model is published once.

    Args:
        source: the SavedModel's folder.
        destination: the folder of versions, in a store.
        origin: what the record says of the model.
        extras: files of the model's card, by place; a version that is there already gets them in the place of its own.

    Raises:
        ModelError: the source is no SavedModel, the copy differs from it, or somebody else has published meanwhile.
        OSError: the store cannot be read or written.
    """
    hashes = _hashes(source)
    if _MODEL_FILE not in hashes:
        raise ModelError(f"{source} holds no SavedModel (there is no {_MODEL_FILE}).")
    digest = digest_of_files(hashes)
    newest = max(map(int, _numbers(destination)), default=0)  # Of a killed push, too: it may have been seen.
    _clean(destination)
    seen = remote_versions(destination)
    for number in reversed(seen):
        address, record = files.join(destination, number), read_record(destination, number)
        # A record spares reading the versions that are others; of the same one it is not believed.
        if (record is None or record.digest == digest) and digest_of_files(_hashes(address)) == digest:
            _renew(destination, record or _record(number, digest, origin), extras)
            return RemotePublication(address, digest, new=False)
    number = str(max(int(time.time()), newest + 1))
    _add(source, files.join(destination, number), hashes, extras)
    record = _record(number, digest, origin)
    _write_record(destination, record)
    _finish(source, destination, record, hashes, seen)
    return RemotePublication(files.join(destination, number), digest, new=True)


def read_record(destination: str, number: str) -> Record | None:
    """Returns a version's record; None where there is none, or a damaged one.

    Raises:
        OSError: the store cannot be asked.
    """
    try:
        return parse_record(files.read_bytes(_record_path(destination, number)), number)
    except FileNotFoundError:
        return None


def _numbers(destination: str) -> list[str]:
    """Returns all numbers that have a folder, whole versions or not."""
    found = files.names(destination) if files.exists(destination) else []
    return sorted((name for name in found if name.isdecimal()), key=int)


def _model_file(destination: str, number: str) -> str:
    return files.join(destination, number, _MODEL_FILE)


def _record_path(destination: str, number: str) -> str:
    return files.join(destination, RECORDS, f"{number}.json")


def _hashes(folder: str) -> dict[str, str]:
    """Returns the SHA-256 of each file below a folder, a model's card left out."""
    return {name: stores.sha256_of(files.join(folder, name)) for name in stores.names_below(folder) if name not in CARD_FILES}


def _clean(destination: str) -> None:
    """Removes what killed pushes left: folders without a model, and records without a version. Young ones may be under way."""
    published = remote_versions(destination)
    youngest = time.time() - _UPLOAD_S
    for number in _numbers(destination):
        if number not in published and int(number) < youngest:
            stores.remove(files.join(destination, number))
    records = files.join(destination, RECORDS)
    for name in files.names(records) if files.exists(records) else []:
        number = name.removesuffix(".json")
        if number not in published and not (number.isdecimal() and int(number) >= youngest):
            stores.remove(files.join(records, name))


def _add(source: str, address: str, hashes: Mapping[str, str], extras: Mapping[str, bytes]) -> None:
    """Writes all of a version but for its record and the file that makes it count."""
    stores.copy_files(source, address, [name for name in hashes if name != _MODEL_FILE])
    for name, content in extras.items():
        stores.write_bytes(files.join(address, name), content)


def _finish(source: str, destination: str, record: Record, hashes: Mapping[str, str], seen: Collection[str]) -> None:
    """Writes the file that makes a version count, from bytes that were compared before it appears.

    Right before, the store is looked at again: others may publish, too, even by the same number.

    Args:
        source: the SavedModel's folder.
        destination: the folder of versions.
        record: of this version.
        hashes: of its files.
        seen: the versions that were there when the push began.
    """
    content = files.read_bytes(files.join(source, _MODEL_FILE))
    if hashlib.sha256(content).hexdigest() != hashes[_MODEL_FILE]:
        raise ModelError(f"{source} changed while it was published. Start the run again.")
    address = files.join(destination, record.version)
    if _hashes(address) != {name: found for name, found in hashes.items() if name != _MODEL_FILE}:
        raise ModelError(f"The copy of {source} in {address} differs from it. It is not used. Start the run again.")
    others = [number for number in remote_versions(destination) if number not in seen]
    if others or read_record(destination, record.version) != record:
        raise ModelError(
            f"Somebody else published in {destination} while {source} was uploaded: {', '.join(others) or record.version}. "
            "Two machines must not run in one root at once. Start the run again when the other has ended."
        )
    stores.write_bytes(files.join(address, _MODEL_FILE), content)


def _renew(destination: str, record: Record, extras: Mapping[str, bytes]) -> None:
    """Brings a version's card up to date, and its record where there was none."""
    for name, content in extras.items():
        path = files.join(destination, record.version, name)
        if not files.exists(path) or files.read_bytes(path) != content:
            stores.write_bytes(path, content)
    if read_record(destination, record.version) is None:
        _write_record(destination, record)


def _write_record(destination: str, record: Record) -> None:
    stores.write_bytes(_record_path(destination, record.version), record_json(record).encode())


def _record(version: str, digest: str, origin: Origin) -> Record:
    known: dict[str, Any] = dataclasses.asdict(origin)
    pushed = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(version=version, digest=digest, seal="", pushed=pushed, **known)  # A store's objects have no inodes to seal.
