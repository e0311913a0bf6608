"""What made a run's model, as ML Metadata has it: executions, artifacts, digests of code and data."""

import dataclasses
import datetime
import json
import os
from collections.abc import Iterable
from typing import Any

from components.errors import VocsegError
from pipeline import metadata_server

_RUN_CONTEXT = "pipeline_run"


@dataclasses.dataclass(frozen=True)
class ArtifactRef:
    """An artifact that an execution read or wrote.

    Attributes:
        key: what it is to the execution, as in "examples".
        number: its id.
        uri: its place, below the pipeline's folder of artifacts where it lies there.
    """

    key: str
    number: int
    uri: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """What one component did in a run.

    Attributes:
        component: its id.
        number: the execution's id.
        state: complete, cached ...
        ended: ISO 8601, UTC.
        made_by: id of the execution whose outputs a cached one took over, or None.
        made: when that one ended, or "".
        inputs: what it read.
        outputs: what it wrote, or took over.
        code_digest: of its code, or "" where that is TFX's own.
        data_digest: of the data that it read, or "".
    """

    component: str
    number: int
    state: str
    ended: str
    made_by: int | None
    made: str
    inputs: tuple[ArtifactRef, ...]
    outputs: tuple[ArtifactRef, ...]
    code_digest: str
    data_digest: str


def read_lineage(metadata: str, pipeline: str, run: str, root: str = "") -> tuple[Execution, ...]:
    """Reads a run's executions, in their order; nothing is written.

    Args:
        metadata: path of the SQLite file, or address of the server.
        pipeline: the pipeline's name, which its components' contexts begin with.
        run: the run's name in the store.
        root: where outputs lie; empty: beside the SQLite file.

    Raises:
        VocsegError: there is no such file or server, or it does not know the run.
    """
    from ml_metadata import MetadataStore, errors
    from ml_metadata.proto import metadata_store_pb2

    if metadata_server.is_address(metadata):
        metadata_server.check(metadata)
        config = metadata_server.connection(metadata)
    elif os.path.isfile(metadata):
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = metadata
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    else:
        raise VocsegError(f"There is no {metadata}.")
    try:
        store = MetadataStore(config)
        context = store.get_context_by_type_and_name(_RUN_CONTEXT, run)
    except (errors.StatusError, RuntimeError) as error:  # The latter is what its core raises.
        raise VocsegError(f"{metadata} cannot be read: {error}") from error
    if context is None:
        raise VocsegError(f"{metadata} does not know the run {run}.")
    return _read(store, context.id, pipeline, os.path.join(root or os.path.dirname(metadata), "artifacts", pipeline))


def _read(store: Any, context: int, pipeline: str, folder: str) -> tuple[Execution, ...]:
    from ml_metadata.proto import metadata_store_pb2

    executions = sorted(store.get_executions_by_context(context), key=lambda execution: execution.id)
    events = store.get_events_by_execution_ids([execution.id for execution in executions])
    artifacts = {a.id: a for a in store.get_artifacts_by_id(list({event.artifact_id for event in events}))}
    # A cached execution's outputs are another's: of those that put them out, the one that is complete.
    makers = [e for e in store.get_events_by_artifact_ids(list(artifacts)) if e.type == metadata_store_pb2.Event.OUTPUT]
    complete = {
        execution.id: execution
        for execution in store.get_executions_by_id(list({event.execution_id for event in makers}))
        if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE
    }
    maker_of = {event.artifact_id: event.execution_id for event in makers if event.execution_id in complete}

    def refs(execution: int, kind: int) -> tuple[ArtifactRef, ...]:
        return tuple(
            ArtifactRef(e.path.steps[0].key, e.artifact_id, shorten(artifacts[e.artifact_id].uri, folder))
            for e in events
            if e.execution_id == execution and e.type == kind
        )

    rows = []
    for execution in executions:
        outputs = refs(execution.id, metadata_store_pb2.Event.OUTPUT)
        cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        maker = complete.get(next((maker_of[ref.number] for ref in outputs if ref.number in maker_of), -1)) if cached else None
        properties = {name: value.string_value for name, value in execution.custom_properties.items()}
        rows.append(
            Execution(
                component=_component(store, execution.id, pipeline) or execution.type,
                number=execution.id,
                state=metadata_store_pb2.Execution.State.Name(execution.last_known_state).lower(),
                ended=_time(execution.last_update_time_since_epoch),
                made_by=maker.id if maker else None,
                made=_time(maker.last_update_time_since_epoch) if maker else "",
                inputs=refs(execution.id, metadata_store_pb2.Event.INPUT),
                outputs=outputs,
                code_digest=find_digest(properties),
                data_digest=properties.get("data_digest", ""),
            )
        )
    return tuple(rows)


def _component(store: Any, execution: int, pipeline: str) -> str:
    """Returns the component's id: TFX gives each a context named `<pipeline>.<id>`."""
    names = [context.name for context in store.get_contexts_by_execution(execution) if context.type == "node"]
    return next((name.removeprefix(f"{pipeline}.") for name in names), "")


def find_digest(properties: dict[str, str]) -> str:
    """Returns the digest of code among an execution's properties, by itself or within JSON; "" if there is none."""
    if digest := properties.get("code_digest"):
        return digest
    found = (_search(_parse(properties[name])) for name in ("custom_config", "eval_config") if properties.get(name))
    return next(filter(None, found), "")


def _search(value: Any) -> str:
    if isinstance(value, dict):
        if isinstance(digest := value.get("code_digest"), str):
            return digest
        return _first(value.values())
    if isinstance(value, list):
        return _first(value)
    return _search(_parse(value)) if isinstance(value, str) and value.startswith("{") else ""


def _first(values: Iterable[Any]) -> str:
    return next(filter(None, map(_search, values)), "")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def shorten(uri: str, folder: str) -> str:
    """Returns a place as it stands below a folder, or whole where it lies elsewhere."""
    return uri.removeprefix(folder.rstrip("/") + "/")


def _time(milliseconds: int) -> str:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC).isoformat(timespec="seconds")
