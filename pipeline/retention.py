"""What of a pipeline's past must stay: a rule over ML Metadata, which removes nothing.

Needed is what the cache of the kept runs needs, the models that were pushed or may be a baseline, with all blessings of kept
models, and the data that the next data is compared with.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.types import artifact_utils

from components.baseline import choose_baseline
from components.blessings import MODEL_ID, STATISTICS_ID
from components.version_records import read_record
from components.versions import versions
from components.warm_start import DONE


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run, as ML Metadata has it.

    Attributes:
        name: of the run.
        executions: of its steps.
    """

    name: str
    executions: tuple[metadata_store_pb2.Execution, ...]

    @property
    def worked(self) -> bool:
        """Whether a step was executed, and not all of them cached."""
        return any(
            execution.last_known_state == metadata_store_pb2.Execution.COMPLETE and not execution.type.endswith("Resolver")
            for execution in self.executions
        )

    @property
    def whole(self) -> bool:
        """Whether it came to its end."""
        return any(e.type.rpartition(".")[2] == "Pusher" and e.last_known_state in DONE for e in self.executions)


def read_runs(store: mlmd.MetadataStore, pipeline: str) -> list[PastRun]:
    """Returns a pipeline's runs, oldest first."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    own = {execution.id for execution in store.get_executions_by_context(context.id)} if context else set()
    found = []
    for run in store.get_contexts_by_type("pipeline_run") if own else ():
        executions = tuple(e for e in store.get_executions_by_context(run.id) if e.id in own)
        if executions:
            found.append(PastRun(run.name, executions))
    return sorted(found, key=lambda run: min(execution.id for execution in run.executions))


def kept_runs(runs: Sequence[PastRun], keep: int) -> list[PastRun]:
    """Returns the runs whose cache stays.

    These are the newest `keep` that executed something and came to their end, the newest `keep` that executed something, and
    the newest: neither a timer's hundred runs that found nothing new, nor a week of failures, drives the last good one out.

    Args:
        runs: oldest first.
        keep: how many, at least 1.
    """
    worked = [run for run in runs if run.worked]
    whole = [run for run in worked if run.whole]
    names = {run.name for run in (*worked[-keep:], *whole[-keep:], *runs[-1:])}
    return [run for run in runs if run.name in names]


def live_artifacts(store: mlmd.MetadataStore, pipeline: str) -> dict[str, list[types.Artifact]]:
    """Returns a pipeline's artifacts that were not deleted, by the name of their type."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    found = store.get_artifacts_by_context(context.id) if context else []
    live = [artifact for artifact in found if artifact.state == metadata_store_pb2.Artifact.LIVE]
    kinds = {kind.id: kind for kind in store.get_artifact_types_by_id(list({artifact.type_id for artifact in live}))}
    by_type: dict[str, list[types.Artifact]] = {}
    for artifact in live:
        kind = kinds[artifact.type_id]
        by_type.setdefault(kind.name, []).append(artifact_utils.deserialize_artifact(kind, artifact))
    return by_type


def needed(
    store: mlmd.MetadataStore, runs: Iterable[PastRun], artifacts: Mapping[str, Sequence[types.Artifact]], models: str
) -> set[int]:
    """Returns the ids of the artifacts that must stay.

    Args:
        store: ML Metadata.
        runs: those whose cache stays.
        artifacts: from `live_artifacts`.
        models: the folder of pushed versions.
    """
    executions = [execution.id for run in runs for execution in run.executions]
    kept = {event.artifact_id for event in store.get_events_by_execution_ids(executions)} if executions else set()
    blessings, checks = artifacts.get("ModelBlessing", ()), artifacts.get("InfraBlessing", ())
    kept |= _pushed(artifacts.get("Model", ()), models)
    kept |= _baselines(artifacts.get("Model", ()), blessings, MODEL_ID, checks)
    accepted = artifacts.get("DataBlessing", ())
    kept |= _baselines(artifacts.get("ExampleStatistics", ()), accepted, STATISTICS_ID)
    kept |= {word.id for word in (*blessings, *checks) if word.get_int_custom_property(MODEL_ID) in kept}
    return kept | {word.id for word in accepted if word.get_int_custom_property(STATISTICS_ID) in kept}


def _pushed(models: Iterable[types.Artifact], folder: str) -> set[int]:
    """Returns the models of the pushed versions, and of the rollback before which one was pushed: it is still a baseline."""
    records = [record for version in versions(pathlib.Path(folder)) if (record := read_record(version))]
    uris = {uri for record in records for uri in (record.model_uri, record.pushed_after_rollback_to) if uri}
    return {model.id for model in models if model.uri in uris}


def _baselines(
    artifacts: Sequence[types.Artifact],
    blessings: Sequence[types.Artifact],
    id_property: str,
    checks: Sequence[types.Artifact] = (),
) -> set[int]:
    """Returns the newest blessed artifact, and the one before it: where the candidate is the first, it is the baseline."""
    first = choose_baseline(None, artifacts, blessings, id_property, checks=checks)
    second = first and choose_baseline(first[0], artifacts, blessings, id_property, checks=checks)
    return {pair[0].id for pair in (first, second) if pair}
