"""The curated schema as an artifact."""

import os

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts

SCHEMA_FILE = "schema.pbtxt"


@component
def SchemaGen(
    schema_text: Parameter[str], code_digest: Parameter[str], schema: OutputArtifact[standard_artifacts.Schema]
) -> None:
    """Publishes the schema that it is given; the text is a parameter, so that the cache notices an edit."""
    del code_digest  # Only there for the cache.
    with fileio.open(os.path.join(schema.uri, SCHEMA_FILE), "w") as file:
        file.write(schema_text)
