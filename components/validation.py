"""The gate that ExampleValidator and DistributionValidator lack: they note anomalies and drift, and fail nothing."""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils, standard_artifacts

from components.blessings import BLESSED, STATISTICS_ID
from components.drift import check_drift
from components.errors import DataError

_ANOMALIES_FILE = "SchemaDiff.pb"


class DataBlessing(artifact.Artifact):
    """Says that the gate accepted data: the properties `blessed`, which is 1, and `current_statistics_id`."""

    TYPE_NAME = "DataBlessing"


@component
def DataGate(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    drift: InputArtifact[standard_artifacts.ExampleAnomalies],
    blessing: OutputArtifact[DataBlessing],
    code_digest: Parameter[str],
    baseline_statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
) -> None:
    """Fails the run where ExampleValidator found anomalies or DistributionValidator found drift; else records the acceptance.

    The first data of a pipeline has no `baseline_statistics`, and drifted from nothing.

    Raises:
        DataError: names each of them.
    """
    del code_digest  # Only there for the cache.
    check_anomalies(
        {split: _read(anomalies.uri, f"Split-{split}") for split in artifact_utils.decode_split_names(anomalies.split_names)}
    )
    if baseline_statistics is not None:
        before = artifact_utils.decode_split_names(baseline_statistics.split_names)
        both = [split for split in artifact_utils.decode_split_names(statistics.split_names) if split in before]
        check_drift(
            {split: _read(drift.uri, f"SplitPair-{split}_{split}") for split in both},
            {split: _read_statistics(statistics, split) for split in both},
            {split: _read_statistics(baseline_statistics, split) for split in both},
        )
    blessing.set_int_custom_property(BLESSED, 1)
    blessing.set_int_custom_property(STATISTICS_ID, statistics.id)


def _read(uri: str, folder: str) -> anomalies_pb2.Anomalies:
    with fileio.open(os.path.join(uri, folder, _ANOMALIES_FILE), "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _read_statistics(statistics: standard_artifacts.ExampleStatistics, split: str) -> statistics_pb2.DatasetFeatureStatistics:
    return stats_artifact_utils.load_statistics(statistics, split).proto().datasets[0]


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
