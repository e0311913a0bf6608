"""The runner of this machine: it walks the graph step by step; Beam may work elsewhere."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import data_types, launcher, runtime_parameter_utils
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2
from tfx.types import artifact_utils

from components.errors import VocsegError
from pipeline import beam_steps, full_disk, metadata_server, orphans, retries
from pipeline.locations import Locations


@dataclasses.dataclass(frozen=True)
class Step:
    """What became of a component.

    Attributes:
        name: its id.
        status: run, cached, resolved (it only looked something up) or failed.
        seconds: it took.
        outputs: its artifacts by key; empty if it failed or only looked something up.
    """

    name: str
    status: str
    seconds: float
    outputs: dict[str, list[types.Artifact]]


def local_metadata(locations: Locations) -> metadata_store_pb2.ConnectionConfig:
    """Returns the connection to the SQLite store of this machine, or to the server that is named instead.

    Raises:
        VocsegError: the server cannot be used.
    """
    if locations.metadata_server:
        metadata_server.check(locations.metadata_server)
        return metadata_server.connection(locations.metadata_server)
    os.makedirs(locations.here, exist_ok=True)
    return metadata.sqlite_metadata_connection_config(locations.metadata)


def open_store(locations: Locations) -> mlmd.MetadataStore:
    """Returns the metadata store of a root, for what is no run."""
    return mlmd.MetadataStore(local_metadata(locations))


class _Launcher(launcher.Launcher):
    """TFX's, but for a note of what a step is about to write, by which it is removed if the step is killed.

    And before and after a step, which may fill the disk, there must be room for what ML Metadata is to note.
    """

    def launch(self) -> data_types.ExecutionInfo | None:
        self._require_room()
        return super().launch()

    def _run_executor(self, execution_info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        orphans.note_folders(self._mlmd_connection.connection_config, execution_info)
        output = super()._run_executor(execution_info)
        self._require_room()
        return output

    def _require_room(self) -> None:
        if file := self._mlmd_connection.connection_config.sqlite.filename_uri:
            full_disk.require_room(os.path.dirname(file))


def run_local(
    pipeline: tfx_pipeline.Pipeline,
    run_id: str,
    on_start: Callable[[str, int, int], None],
    on_end: Callable[[Step], None],
    beam_operator: Callable[..., BeamExecutorOperator] = BeamExecutorOperator,
    on_retry: Callable[[str, BaseException, float, int], None] = lambda *details: None,
) -> list[Step]:
    """Runs the components one after the other, as TFX's LocalDagRunner does, and says how each fares.

    LocalDagRunner itself names runs by the clock, tells no one which step was cached, and passes over a step whose inputs are
    missing as if it had run. It tries no step again, either: here one that fails over what may pass is.

    Args:
        pipeline: with a local metadata connection.
        run_id: name of the run.
        on_start: is told a step's name, its number from 1 and how many there are.
        on_end: is told what became of it, a failure too.
        beam_operator: what runs the steps that use Beam.
        on_retry: is told a step's name, its error, the wait in seconds and the number of the next try, before the wait.

    Raises:
        Exception: whatever a component raised.
    """
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    deployment = runner_utils.extract_local_deployment_config(ir)
    connection = pipeline.metadata_connection_config
    steps = []
    for number, node in enumerate(ir.nodes, start=1):
        name = node.pipeline_node.node_info.id
        on_start(name, number, len(ir.nodes))
        started = time.monotonic()
        spec, operators = beam_steps.split_options(runner_utils.extract_executor_spec(deployment, name), beam_operator)

        def attempt(
            number: int,
            name: str = name,
            node: pipeline_pb2.PipelineNode = node.pipeline_node,
            spec: Any = spec,
            operators: beam_steps.Operators = operators,
        ) -> tuple[str, dict[str, list[types.Artifact]]]:
            if number > 1:  # TFX takes up the same execution again; what the last try wrote must not be found there.
                root = pipeline.pipeline_info.pipeline_root
                orphans.end_orphans(connection, lambda _: root, lambda run: run == run_id)
            info = _Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=ir.pipeline_info,
                pipeline_runtime_spec=ir.runtime_spec,
                executor_spec=spec,
                custom_executor_operators=operators,
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
            return _result(connection, info.execution_id if info else None)

        try:
            status, outputs = retries.call(attempt, f"{run_id}.{name}", functools.partial(on_retry, name))
        except BaseException:
            on_end(Step(name, "failed", time.monotonic() - started, {}))
            raise
        steps.append(Step(name, status, time.monotonic() - started, outputs))
        on_end(steps[-1])
        if status == "failed":
            raise VocsegError(f"{name} could not run: its inputs are missing. The log says which.")
    return steps


def _result(
    connection: metadata_store_pb2.ConnectionConfig, execution_id: int | None
) -> tuple[str, dict[str, list[types.Artifact]]]:
    """Returns status and output artifacts of an execution as the metadata store has them."""
    if execution_id is None:
        return "failed", {}
    states = {
        metadata_store_pb2.Execution.COMPLETE: "run",
        metadata_store_pb2.Execution.CACHED: "cached",
    }
    with metadata.Metadata(connection) as handle:
        store = handle.store
        [execution] = store.get_executions_by_id([execution_id])
        [kind] = store.get_execution_types_by_id([execution.type_id])
        events = [e for e in store.get_events_by_execution_ids([execution_id]) if e.type == metadata_store_pb2.Event.OUTPUT]
        artifacts = {a.id: a for a in store.get_artifacts_by_id([event.artifact_id for event in events])}
        kinds = {t.id: t for t in store.get_artifact_types_by_id(list({a.type_id for a in artifacts.values()}))}
        outputs: dict[str, list[types.Artifact]] = {}
        for event in events:
            artifact = artifacts[event.artifact_id]
            outputs.setdefault(event.path.steps[0].key, []).append(
                artifact_utils.deserialize_artifact(kinds[artifact.type_id], artifact)
            )
    status = states.get(execution.last_known_state, "failed")
    return ("resolved" if kind.name.endswith("Resolver") and status != "failed" else status), outputs
