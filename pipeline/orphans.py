"""What a run that was killed has left: executions that never ended, and their half-written outputs.

TFX reads outputs of complete executions only, so nothing of it is ever taken for an output; but it stays on the disk, and in
the metadata store as running.
"""

import dataclasses
import os
from collections.abc import Callable

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.orchestration import metadata

_ENDLESS = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)
_SYSTEM = ".system"
_TEMPORARY = ("driver_execution", "stateful_working_dir")


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


def end_orphans(
    connection: metadata_store_pb2.ConnectionConfig,
    folder_of: Callable[[str], str],
    is_ours: Callable[[str], bool] = lambda run: True,
) -> list[Orphan]:
    """Marks executions that never ended as failed, and removes what they have written.

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
        for execution in handle.store.get_executions():
            if execution.last_known_state not in _ENDLESS:
                continue
            orphan = _describe(handle.store, execution.id)
            if not is_ours(orphan.run):
                continue
            if orphan.component:  # The files first: what is killed in between is still found by its state.
                _remove_outputs(os.path.join(folder_of(orphan.pipeline), orphan.component), orphan.number)
            execution.last_known_state = metadata_store_pb2.Execution.FAILED
            handle.store.put_executions([execution])
            ended.append(orphan)
    return ended


def _describe(store: mlmd.MetadataStore, number: int) -> Orphan:
    """Reads to what an execution belongs from its contexts, whose names TFX makes."""
    names = {context.type: context.name for context in store.get_contexts_by_execution(number)}
    pipeline = names.get("pipeline", "")
    return Orphan(number, names.get("pipeline_run", ""), pipeline, names.get("node", "").removeprefix(f"{pipeline}."))


def _remove_outputs(folder: str, number: int) -> None:
    """Removes what an execution has below its component's folder, `<key>/<number>` and TFX's own.

    Folders for temporary files do not say whose they are. A component has none that it needs once no execution is under way.
    """
    if not fileio.isdir(folder):
        return
    written = [os.path.join(folder, key, str(number)) for key in fileio.listdir(folder) if key != _SYSTEM]
    written.append(os.path.join(folder, _SYSTEM, "executor_execution", str(number)))
    for path in (*written, *(os.path.join(folder, _SYSTEM, name) for name in _TEMPORARY)):
        if fileio.exists(path):
            fileio.rmtree(path)
