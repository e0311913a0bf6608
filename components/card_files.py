"""The files of a model's card: as an artifact of the pipeline, and in a published version."""

import os

from tfx.dsl.io import fileio
from tfx.types import artifact

from components.features import CARD_FILES


class ModelCard(artifact.Artifact):
    """A model's card: `model_card.json` and, the same to be read by people, `model_card.html`."""

    TYPE_NAME = "ModelCard"


PLACES = {os.path.basename(place): place for place in CARD_FILES}
"""Where each file lies in a published version."""

JSON_FILE, HTML_FILE = PLACES


def read_files(uri: str) -> dict[str, bytes]:
    """Returns the content of a ModelCard artifact by the places in a published version."""
    files = {}
    for name, place in PLACES.items():
        with fileio.open(os.path.join(uri, name), "rb") as file:
            files[place] = file.read()
    return files
