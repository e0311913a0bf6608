"""The metadata store to which a root belongs, noted in the root.

TFX names folders of outputs by the numbers of executions, and each metadata store counts from 1. A root that is used with two
of them would have the outputs of one overwritten by those of the other, which the first would still take for its own.
"""

import dataclasses
import json
import os
import socket
import uuid

import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components import stores
from components.datasets import files
from components.errors import VocsegError
from pipeline import runs
from pipeline.locations import Locations, write_file

MARK = ".store"
_TYPE, _NAME, _ID = "vocseg.Store", "store", "id"


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a root notes of its metadata store.

    Attributes:
        store: its id.
        metadata: where it was when the root was marked: a file with the machine's name before it, or a server's address.
    """

    store: str
    metadata: str


def claim(locations: Locations, connection: metadata_store_pb2.ConnectionConfig) -> None:
    """Marks a root as the metadata store's, once. To be called with the root's lock, before any output is written to it.

    A root without outputs becomes this store's. So does one with outputs of versions that made no marks, if the store has runs
    and, where it is a server, a run of the root says that it used it.

    Args:
        locations: the root, and the store's place.
        connection: to the store.

    Raises:
        VocsegError: the root has outputs of runs with another store.
        OSError: the root cannot be read or written.
    """
    mark = read(locations.root)
    made = bool(locations.metadata_server) or os.path.exists(locations.metadata)
    if not made and _holds_outputs(locations):
        raise _refusal(locations, mark, "")  # Before an empty file is made.
    with metadata.Metadata(connection) as handle:
        own = Mark(_store_id(handle.store), _place(locations))
        if mark and mark.store == own.store:
            return
        if _holds_outputs(locations) and (mark or not _has_worked(handle.store, locations)):
            raise _refusal(locations, mark, own.store)
    _write(locations.root, own)


def _store_id(store: mlmd.MetadataStore) -> str:
    """Returns the store's id; gives it one if it has none. Of several who do so at once, one is the first."""
    if context := store.get_context_by_type_and_name(_TYPE, _NAME):
        return context.custom_properties[_ID].string_value
    kind = store.put_context_type(metadata_store_pb2.ContextType(name=_TYPE))
    context = metadata_store_pb2.Context(type_id=kind, name=_NAME)
    context.custom_properties[_ID].string_value = uuid.uuid4().hex
    try:
        store.put_contexts([context])
    except errors.AlreadyExistsError:
        pass
    return store.get_context_by_type_and_name(_TYPE, _NAME).custom_properties[_ID].string_value


def _has_worked(store: mlmd.MetadataStore, locations: Locations) -> bool:
    """Tells whether runs of a root without a mark, which earlier versions made, were with this store."""
    if not store.get_contexts_by_type("pipeline_run"):
        return False
    server = locations.metadata_server
    return not server or any(summary.paths.get("metadata") == server for summary in runs.read_all(locations.runs))


def _holds_outputs(locations: Locations) -> bool:
    """Tells whether folders of components lie in the root; Vertex AI's have a folder of its project's number around them."""
    artifacts = os.path.dirname(locations.artifacts)
    pipelines = [files.join(artifacts, name) for name in files.names(artifacts)] if files.is_folder(artifacts) else []
    names = [name for pipeline in pipelines if files.is_folder(pipeline) for name in files.names(pipeline)]
    return any(not name.isdecimal() and not name.startswith(".") for name in names)


def _place(locations: Locations) -> str:
    return locations.metadata_server or f"{socket.gethostname()}:{locations.metadata}"


def _path(root: str) -> str:
    return files.join(root, MARK)


def read(root: str) -> Mark | None:
    """Returns the root's mark, or None.

    Raises:
        VocsegError: it is damaged.
        OSError: it cannot be read.
    """
    path = _path(root)
    try:
        values = json.loads(files.read_bytes(path))
        return Mark(str(values["store"]), str(values["metadata"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise VocsegError(
            f"{path} should say to which metadata store the root belongs, and is damaged. Restore it; or remove it, if the "
            "root has only ever been used with one."
        ) from error


def _write(root: str, mark: Mark) -> None:
    content = (json.dumps(dataclasses.asdict(mark)) + "\n").encode()
    if files.is_remote(root):
        stores.write_bytes(_path(root), content)
    else:
        write_file(_path(root), content)


def _refusal(locations: Locations, mark: Mark | None, store: str) -> VocsegError:
    known = f"the metadata store {mark.store[:8]} ({mark.metadata})" if mark else "another metadata store"
    other = f"{store[:8]} ({_place(locations)})" if store else f"a new one ({_place(locations)})"
    return VocsegError(
        f"The outputs in {locations.root} are of runs with {known}; this run would use {other}. Both number outputs from 1, "
        "so it would overwrite them: nothing was done. Use the first one again (by --metadata; or by --local, where the root "
        f"is in a store), or give --root another folder. To begin anew, remove {os.path.dirname(locations.artifacts)}."
    )
