"""The baseline rule: the newest blessed model other than the candidate.

TFX's own "latest blessed model" may be the candidate itself, which then passes against itself, and after each push a rerun
with nothing changed would evaluate and push once more.
"""

from collections.abc import Sequence

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio

_BLESSED = "blessed"
_MODEL_ID = "current_model_id"


def choose_baseline(
    candidate: types.Artifact | None, models: Sequence[types.Artifact], blessings: Sequence[types.Artifact]
) -> tuple[types.Artifact, types.Artifact] | None:
    """Returns the newest blessed model other than the candidate, with its blessing; None where there is none.

    Args:
        candidate: the model in question.
        models: all Model artifacts of the pipeline.
        blessings: all ModelBlessing artifacts of the pipeline.
    """
    by_id = {model.id: model for model in models if candidate is None or model.id != candidate.id}
    for blessing in sorted(blessings, key=lambda artifact: artifact.id, reverse=True):
        model = by_id.get(blessing.get_int_custom_property(_MODEL_ID))
        if blessing.get_int_custom_property(_BLESSED) == 1 and model is not None and fileio.exists(model.uri):
            return model, blessing
    return None


class BaselineStrategy(ResolverStrategy):
    """Resolves the channels `candidate`, `model` and `model_blessing`; the last two to the baseline's, or to nothing."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Applies `choose_baseline`."""
        del store
        candidates = input_dict.get("candidate", [])
        found = choose_baseline(
            candidates[0] if candidates else None, input_dict.get("model", []), input_dict.get("model_blessing", [])
        )
        return {
            "candidate": candidates,
            "model": [found[0]] if found else [],
            "model_blessing": [found[1]] if found else [],
        }
