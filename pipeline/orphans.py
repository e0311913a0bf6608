"""What a run that was killed has left: executions that never ended, and their half-written outputs.

TFX reads outputs of complete executions only, so nothing of it is ever taken for an output; but it stays on the disk, and in
the metadata store as running.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable

import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration.portable import data_types
from tfx.types import value_artifact

_ENDLESS = mlmd.ListOptions(filter_query="last_known_state IN (NEW, RUNNING)")
_WRITES = "vocseg_writes"
"""Property of an execution: the folders that it writes, as a JSON list."""


@dataclasses.dataclass(frozen=True)
class Orphan:
    """An execution whose process is gone.

    Attributes:
        number: its id.
        run: name of its run in the metadata store.
        pipeline: name of its pipeline.
        component: id of its component.
    """

    number: int
    run: str
    pipeline: str
    component: str


def note_folders(connection: metadata_store_pb2.ConnectionConfig, info: data_types.ExecutionInfo) -> None:
    """Notes on an execution the folders that it is about to write; TFX notes outputs only of what has ended."""
    outputs = [artifact for artifacts in info.output_dict.values() for artifact in artifacts]
    folders = [os.path.dirname(a.uri) if isinstance(a, value_artifact.ValueArtifact) else a.uri for a in outputs]
    folders += [os.path.dirname(info.execution_output_uri), info.stateful_working_dir]
    with metadata.Metadata(connection) as handle:
        [execution] = handle.store.get_executions_by_id([info.execution_id])
        execution.custom_properties[_WRITES].string_value = json.dumps([folder for folder in folders if folder])
        handle.store.put_executions([execution])


def end_orphans(
    connection: metadata_store_pb2.ConnectionConfig,
    folder_of: Callable[[str], str],
    is_ours: Callable[[str], bool] = lambda run: True,
) -> list[Orphan]:
    """Marks executions that never ended as failed, and removes what they say that they write.

    To be called with the root's lock: then no execution of the root can be under way.

    Args:
        connection: to the metadata store.
        folder_of: returns the folder of a pipeline's artifacts, which may lie in a store.
        is_ours: tells by its name in the store whether a run is this root's, where others share the store.

    Returns:
        Those that were found.
    """
    ended = []
    with metadata.Metadata(connection) as handle:
        for execution in handle.store.get_executions(list_options=_ENDLESS):
            orphan = _describe(handle.store, execution.id)
            if not is_ours(orphan.run):
                continue
            if orphan.component:  # The files first: what is killed in between is still found by its state.
                # Reading a property that is not there makes one without a value, over which ML Metadata aborts the process.
                noted = execution.custom_properties[_WRITES].string_value if _WRITES in execution.custom_properties else "[]"
                _remove(json.loads(noted), os.path.join(folder_of(orphan.pipeline), orphan.component))
            execution.last_known_state = metadata_store_pb2.Execution.FAILED
            handle.store.put_executions([execution])
            ended.append(orphan)
    return ended


def _describe(store: mlmd.MetadataStore, number: int) -> Orphan:
    """Reads to what an execution belongs from its contexts, whose names TFX makes."""
    try:
        names = {context.type: context.name for context in store.get_contexts_by_execution(number)}
    except errors.NotFoundError:  # It has none: another program's, in a shared store.
        names = {}
    pipeline = names.get("pipeline", "")
    return Orphan(number, names.get("pipeline_run", ""), pipeline, names.get("node", "").removeprefix(f"{pipeline}."))


def _remove(folders: Iterable[str], component: str) -> None:
    """Removes folders that lie below a component's: in a copy of a root, those of the root that it was copied from do not."""
    for folder in folders:
        if folder.startswith(f"{component}/") and fileio.exists(folder):
            fileio.rmtree(folder)
