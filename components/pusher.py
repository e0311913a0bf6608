"""Pusher: publishes a blessed model with its card, whole or not at all, to a folder that TensorFlow Serving can watch."""

import os
import pathlib

from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import card_files, remote_versions
from components.blessings import BLESSED
from components.card_files import ModelCard
from components.datasets.files import is_remote
from components.evaluation import read_evaluation
from components.remote_versions import RemotePublication
from components.version_records import Origin
from components.versions import Publication, publish


def describe_origin(model: types.Artifact, evaluation: types.Artifact, examples: types.Artifact, code_digest: str) -> Origin:
    """Returns what a version's record says of a blessed model.

    Args:
        model: of the Trainer.
        evaluation: of this model.
        examples: that it was trained on; ExampleGen notes the digest of their data.
        code_digest: of the code that trained it.
    """
    found = read_evaluation(evaluation.uri)
    return Origin(
        model_uri=model.uri,
        blessed=True,
        mean_iou=found.overall.candidate.metrics["mean_iou"],
        split=found.split,
        data_digest=examples.get_string_custom_property("data_digest"),
        code_digest=code_digest,
    )


@component
def Pusher(
    model: InputArtifact[standard_artifacts.Model],
    model_blessing: InputArtifact[standard_artifacts.ModelBlessing],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    examples: InputArtifact[standard_artifacts.Examples],
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    card: InputArtifact[ModelCard],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    destination: Parameter[str],
    trainer_digest: Parameter[str],
    code_digest: Parameter[str],
) -> None:
    """Publishes the model if it is blessed and can be served; notes on `pushed_model` whether, where and as which version."""
    del code_digest  # Only there for the cache.
    blessed = all(blessing.get_int_custom_property(BLESSED) == 1 for blessing in (model_blessing, infra_blessing))
    pushed_model.set_int_custom_property("pushed", int(blessed))
    if blessed:
        origin = describe_origin(model, evaluation, examples, trainer_digest)
        source, extras = path_utils.serving_model_path(model.uri), card_files.read_files(card.uri)
        publication: Publication | RemotePublication
        if is_remote(destination):
            publication = remote_versions.publish(source, destination, origin, extras)
        else:
            publication = publish(pathlib.Path(source), pathlib.Path(destination), origin, extras)
        pushed_model.set_string_custom_property("pushed_destination", str(publication.path))
        pushed_model.set_string_custom_property("pushed_version", os.path.basename(publication.path))
        pushed_model.set_string_custom_property("model_digest", publication.digest)
        pushed_model.set_int_custom_property("new_version", int(publication.new))
