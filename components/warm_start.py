"""Which model a training starts with: the newest blessed one, by the rule of the baseline.

But the same training keeps its start. A run that blesses its model makes that model the newest; an unchanged rerun would find
it, train once more from it, bless that one, and so on without an end. So where this training has been completed before, on the
same examples and with the same settings, what it started with then is found again, and the cache has its model.
"""

from collections.abc import Sequence

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio

from components.baseline import choose_baseline, rolled_back_to

DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
"""States of an execution that has its outputs."""
_SETTINGS = "custom_config"


def completed_training(
    store: mlmd.MetadataStore, node: str, examples: int, custom_config: str
) -> metadata_store_pb2.Execution | None:
    """Returns the newest completed execution of this training, or None.

    Args:
        store: ML Metadata.
        node: name of the Trainer's context: pipeline, dot, component.
        examples: id of the artifact of transformed examples.
        custom_config: the Trainer's, as TFX keeps it: JSON.
    """
    context = store.get_context_by_type_and_name("node", node)
    executions = store.get_executions_by_context(context.id) if context else []
    for execution in sorted(executions, key=lambda execution: execution.id, reverse=True):
        if execution.last_known_state not in DONE:
            continue
        if execution.custom_properties[_SETTINGS].string_value != custom_config:
            continue
        if examples in _inputs(store, execution.id, "examples"):
            return execution
    return None


def _inputs(store: mlmd.MetadataStore, execution: int, key: str) -> list[int]:
    """Returns the ids of the artifacts that an execution read under a key."""
    events = store.get_events_by_execution_ids([execution])
    return [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.INPUT and e.path.steps[0].key == key]


class WarmStartStrategy(ResolverStrategy):
    """Resolves the channel `model` to what a training starts with, or to nothing.

    The channels `examples` (of the training), `model_blessing` and `infra_blessing` are only read.

    Args:
        node: name of the Trainer's context: pipeline, dot, component.
        custom_config: the Trainer's, as TFX keeps it: JSON.
        models: the folder of pushed versions, where rollbacks are looked for.
    """

    def __init__(self, node: str, custom_config: str, models: str) -> None:
        """Keeps its configuration."""
        self._node, self._custom_config, self._models = node, custom_config, models

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Looks for the training's own start, then for the newest blessed model."""
        examples, models = input_dict.get("examples", []), input_dict.get("model", [])
        found = self._newest(input_dict)
        if examples:
            before = completed_training(store, self._node, examples[0].id, self._custom_config)
            if before is not None:
                found = _own(models, _inputs(store, before.id, "base_model"), found)
        return {key: [] for key in input_dict} | {"examples": examples, "model": found}

    def _newest(self, inputs: dict[str, list[types.Artifact]]) -> list[types.Artifact]:
        artifacts, blessings, checks = (inputs.get(key, []) for key in ("model", "model_blessing", "infra_blessing"))
        preferred = rolled_back_to(self._models, "") if self._models else ""
        found = choose_baseline(None, artifacts, blessings, preferred_uri=preferred, checks=checks)
        return [found[0]] if found else []


def _own(models: Sequence[types.Artifact], own: Sequence[int], otherwise: list[types.Artifact]) -> list[types.Artifact]:
    """Returns what a training started with: nothing, or a model; `otherwise` where that model's files are gone."""
    if not own:
        return []
    return [model for model in models if model.id in own and fileio.exists(model.uri)] or otherwise
