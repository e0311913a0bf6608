"""The baseline rule, for models and for data: the newest blessed one other than the candidate.

TFX's own "latest blessed model" may be the candidate itself, which then passes against itself, and after each push a rerun
with nothing changed would evaluate and push once more. The same holds for data that the cache returns unchanged.

A model that ServingCheck refused was never pushed, and is passed over. One that it never judged counts: it was pushed before
there was the check, or its run died before it.

After `vocseg models rollback` it is the model that was gone back to, as long as no other has been pushed since.
"""

import pathlib
from collections.abc import Sequence

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio

from components.blessings import BLESSED, MODEL_ID, STATISTICS_ID
from components.datasets.files import is_remote
from components.version_records import read_record
from components.versions import versions


def choose_baseline(
    candidate: types.Artifact | None,
    artifacts: Sequence[types.Artifact],
    blessings: Sequence[types.Artifact],
    id_property: str = MODEL_ID,
    preferred_uri: str = "",
    checks: Sequence[types.Artifact] = (),
) -> tuple[types.Artifact, types.Artifact] | None:
    """Returns the newest blessed artifact other than the candidate, with its blessing; None where there is none.

    Args:
        candidate: the model, or the statistics of the data, in question.
        artifacts: all artifacts of the candidate's type in the pipeline.
        blessings: all artifacts in the pipeline that bless them.
        id_property: the blessings' property that says whom they bless.
        preferred_uri: of the one that is taken though it is not the newest, if it is blessed and not the candidate.
        checks: a second blessing, of the same property: whoever got one, and never a good one, is passed over.
    """
    tried = {check.get_int_custom_property(id_property) for check in checks}
    refused = tried - {check.get_int_custom_property(id_property) for check in _good(checks)}
    by_id = {
        artifact.id: artifact
        for artifact in artifacts
        if artifact.id not in refused and (candidate is None or artifact.id != candidate.id)
    }
    found = []
    for blessing in sorted(_good(blessings), key=lambda artifact: artifact.id, reverse=True):
        blessed = by_id.get(blessing.get_int_custom_property(id_property))
        if blessed is not None and fileio.exists(blessed.uri):
            found.append((blessed, blessing))
    return next((pair for pair in found if preferred_uri and pair[0].uri == preferred_uri), found[0] if found else None)


def _good(blessings: Sequence[types.Artifact]) -> list[types.Artifact]:
    return [blessing for blessing in blessings if blessing.get_int_custom_property(BLESSED) == 1]


def rolled_back_to(models: str, candidate_uri: str) -> str:
    """Returns the URI of the Model artifact that a rollback made current; empty where the current version is no rollback's.

    The candidate's own versions do not count: a rerun with nothing changed finds, after its push, what it found before. Where
    the rollback's version has been pruned since, the candidate's record still says it. In a store there are no rollbacks.

    Args:
        models: the folder of pushed versions.
        candidate_uri: of the candidate's Model artifact.
    """
    for version in [] if is_remote(models) else reversed(versions(pathlib.Path(models))):
        record = read_record(version)
        if record is None or record.model_uri != candidate_uri:
            return record.model_uri if record and record.rolled_back_from else ""
        if record.pushed_after_rollback_to:
            return record.pushed_after_rollback_to
    return ""


def _resolve(
    inputs: dict[str, list[types.Artifact]], artifact_key: str, blessing_key: str, id_property: str, models: str = ""
) -> dict[str, list[types.Artifact]]:
    """Applies `choose_baseline` to the dictionaries of TFX."""
    candidates = inputs.get("candidate", [])
    candidate = candidates[0] if candidates else None
    preferred = rolled_back_to(models, candidate.uri if candidate else "") if models else ""
    artifacts, blessings, checks = (inputs.get(key, []) for key in (artifact_key, blessing_key, "infra_blessing"))
    found = choose_baseline(candidate, artifacts, blessings, id_property, preferred, checks)
    return {key: [] for key in inputs} | {
        "candidate": candidates,
        artifact_key: [found[0]] if found else [],
        blessing_key: [found[1]] if found else [],
    }


class BaselineStrategy(ResolverStrategy):
    """Resolves the channels `candidate`, `model` and `model_blessing`; the last two to the baseline's, or to nothing.

    The channel `infra_blessing` is only read.

    Args:
        models: the folder of pushed versions; empty: rollbacks are not looked for.
    """

    def __init__(self, models: str = "") -> None:
        """Keeps its configuration."""
        self._models = models

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Applies `choose_baseline` to models."""
        del store
        return _resolve(input_dict, "model", "model_blessing", MODEL_ID, self._models)


class DataBaselineStrategy(ResolverStrategy):
    """Resolves the channels `candidate`, `statistics` and `data_blessing`; the last two to the baseline's, or to nothing."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Applies `choose_baseline` to statistics."""
        del store
        return _resolve(input_dict, "statistics", "data_blessing", STATISTICS_ID)
