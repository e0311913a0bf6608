"""The gate that ExampleValidator lacks: it notes anomalies, and fails nothing."""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components.errors import DataError

_ANOMALIES_FILE = "SchemaDiff.pb"


@component
def DataGate(anomalies: InputArtifact[standard_artifacts.ExampleAnomalies], code_digest: Parameter[str]) -> None:
    """Fails the run where ExampleValidator found anomalies.

    Raises:
        DataError: names each of them.
    """
    del code_digest  # Only there for the cache.
    found = {}
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = os.path.join(anomalies.uri, f"Split-{split}", _ANOMALIES_FILE)
        found[split] = anomalies_pb2.Anomalies.FromString(fileio.open(path, "rb").read())
    check_anomalies(found)


def check_anomalies(found: dict[str, anomalies_pb2.Anomalies]) -> None:
    """Fails where there are anomalies.

    Args:
        found: what ExampleValidator wrote, by split.

    Raises:
        DataError: names split, feature and anomaly.
    """
    lines = [
        f"{split}: {name}: {info.short_description}: {info.description}"
        for split, anomalies in found.items()
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    lines += [
        f"{split}: the split as a whole: {reason.short_description}: {reason.description}"
        for split, anomalies in found.items()
        for reason in anomalies.dataset_anomaly_info.reason
    ]
    if lines:
        found_lines = "\n  ".join(["The data does not fit its schema:", *lines])
        raise DataError(f"{found_lines}\nMend the data, or the schema if it is wrong.")
