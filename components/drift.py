"""Drift: how far class shares, sizes and void shares lie from those of the data that was accepted before.

TFX's DistributionValidator measures, the DataGate judges. All measures lie in 0..1, where 0 is alike. The numbers below are of
random sets from PASCAL VOC 2007's 632 pictures, whose sizes peak at 333, 375 and 500 pixels, which is hard on histograms.
"""

import logging
import math
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.proto import distribution_validator_pb2

from components import features
from components.errors import DataError

MIN_EXAMPLES = 100
"""Splits with fewer are not compared. Two random sets of 100 pictures differ by up to 0.30 in height, of 50 by up to 0.34, of
10 by up to 0.74: a limit that bears the noise of small splits would find nothing in them."""

_NUMERIC = (features.HEIGHT, features.WIDTH, features.VOID_FRACTION)

_NEVER = 2.0
"""More than any measure: that of two sets with nothing in common can come out as 1.0000000000000002."""


def make_drift_config(max_drift: float) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Returns what DistributionValidator measures, and from where on it objects.

    Sizes and void shares are compared by the Jensen-Shannon divergence (base 2) of their quantiles: with histograms of equal
    steps, TFDV's default, random sets differ half as much again. Class shares (of all entries of `label/classes`) are
    compared by it too, and by the largest difference of one class's share, which names the class. Their limit is the square
    of the others': they are measured more exactly, and background, which is in almost every picture, damps each change.

    Args:
        max_drift: largest divergence that is borne, 0..1; with 1 only missing data is found.
    """
    config = distribution_validator_pb2.DistributionValidatorConfig()
    for name in _NUMERIC:
        divergence = _add(config, name).jensen_shannon_divergence
        divergence.threshold = _limit(max_drift)
        divergence.source.type = schema_pb2.HistogramSelection.QUANTILES
    comparator = _add(config, features.CLASSES)
    comparator.jensen_shannon_divergence.threshold = comparator.infinity_norm.threshold = _limit(max_drift**2)
    return config


def _add(config: distribution_validator_pb2.DistributionValidatorConfig, name: str) -> schema_pb2.FeatureComparator:
    feature = config.default_slice_config.feature.add()
    feature.path.step.append(name)
    return feature.distribution_comparator


def _limit(threshold: float) -> float:
    return threshold if threshold < 1 else _NEVER


def check_drift(
    found: Mapping[str, anomalies_pb2.Anomalies],
    current: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    baseline: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
) -> None:
    """Fails where a split has drifted, or where all values of a feature are gone.

    A split is passed over if it has fewer than `MIN_EXAMPLES` now or had before, a feature if it had no values before.

    Args:
        found: what DistributionValidator wrote, by split.
        current: statistics of the data in question, by split.
        baseline: statistics of the data accepted before, by split.

    Raises:
        DataError: names split, feature, what drifted, how far, the limit, and what to do.
    """
    lines: list[str] = []
    enough = 0.0
    for split, anomalies in found.items():
        examples = current[split].num_examples, baseline[split].num_examples
        if min(examples) < MIN_EXAMPLES:
            logging.info("Drift: split %s is passed over, with %d examples now and %d before.", split, *examples)
            continue
        now, before = _value_counts(current[split]), _value_counts(baseline[split])
        for name in (*_NUMERIC, features.CLASSES):
            if before.get(name) and not now.get(name):
                lines.append(f"{split}: {name}: Missing data: no example has a value; {before[name]} values before")
            elif before.get(name):
                lines += [f"{split}: {name}: {finding}" for finding in _findings(anomalies, name)]
                enough = max(enough, _enough(anomalies, name))
    if lines:
        shown = "\n  ".join(["The data drifted from the data that was accepted before:", *lines])
        advice = "Look whether the data is what it should be."
        if enough:
            value = min(1, math.ceil(100 * enough) / 100)
            advice += f" If it is, accept the change, in each run on this data: --set data.max_drift={value:g}"
        raise DataError(f"{shown}\n{advice}")


def _value_counts(statistics: statistics_pb2.DatasetFeatureStatistics) -> dict[str, int]:
    """Returns how many values each feature has in all examples together."""
    counts = {}
    for feature in statistics.features:
        kind = feature.WhichOneof("stats")
        counts[".".join(feature.path.step)] = getattr(feature, kind).common_stats.tot_num_values if kind else 0
    return counts


def _findings(anomalies: anomalies_pb2.Anomalies, name: str) -> list[str]:
    """Returns what was found on a feature. That a comparison could not be done is none: TFX notes it of what nobody has too."""
    if name not in anomalies.anomaly_info:  # Asking for it would add it.
        return []
    return [
        f"{reason.short_description}: {reason.description}"
        for reason in anomalies.anomaly_info[name].reason
        if reason.type != anomalies_pb2.AnomalyInfo.STATS_NOT_AVAILABLE
    ]


def _enough(anomalies: anomalies_pb2.Anomalies, name: str) -> float:
    """Returns the smallest `max_drift` that bears what was measured on a feature; 0 where that is within the limits."""
    excess = [
        measured.value
        for info in anomalies.drift_skew_info
        for measured in info.drift_measurements
        if list(info.path.step) == [name] and measured.value > measured.threshold
    ]
    largest = max(excess, default=0.0)
    return math.sqrt(largest) if name == features.CLASSES else largest
