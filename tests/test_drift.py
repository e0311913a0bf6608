"""Drift: what DistributionValidator's own executor measures with our configuration, and what becomes of it."""

import pathlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components import features
from components.datasets.schema import make_schema
from components.distribution_validator import DistributionValidator
from components.drift import MIN_EXAMPLES, check_drift, make_drift_config
from components.errors import DataError

MAX_DRIFT = 0.3
"""The default of `data.max_drift`."""


class Picture(NamedTuple):
    """What the statistics see of an example."""

    height: int = 75
    width: int = 100
    classes: tuple[int, ...] = (0, 5)
    void: float = 0.25


def _pictures(count: int, seed: int) -> list[Picture]:
    """Returns pictures as in VOC: a side of 500, the other mostly 375 or 333, background and one or two objects."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        sides = 500, rng.choice([375, 375, 375, 333, 333, rng.randint(200, 499)])
        height, width = sides if rng.random() < 0.2 else sides[::-1]
        classes = {0, min(20, int(rng.expovariate(0.2)) + 1), rng.randint(1, 20)}
        found.append(Picture(height, width, tuple(sorted(classes)), rng.betavariate(2, 30)))
    return found


def _statistics(
    pictures: Sequence[Picture], num_classes: int = 21, without: Sequence[str] = ()
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Counts as StatisticsGen does, but without Beam."""
    columns = {
        features.HEIGHT: pa.array([[p.height] for p in pictures], pa.large_list(pa.int64())),
        features.WIDTH: pa.array([[p.width] for p in pictures], pa.large_list(pa.int64())),
        features.CLASSES: pa.array([list(p.classes) for p in pictures], pa.large_list(pa.int64())),
        features.VOID_FRACTION: pa.array([[p.void] for p in pictures], pa.large_list(pa.float32())),
    }
    kept = {name: column for name, column in columns.items() if name not in without}
    batch = pa.RecordBatch.from_arrays(list(kept.values()), list(kept))
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions(schema=make_schema(num_classes)))


Splits = Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]


def _artifact(folder: pathlib.Path, splits: Splits) -> standard_artifacts.ExampleStatistics:
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, statistics in splits.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
    return artifact


@pytest.fixture
def compare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Runs DistributionValidator's executor on statistics by split, and judges what it wrote."""

    def compare(current: Splits, baseline: Splits, max_drift: float = MAX_DRIFT, as_text: bool = False) -> None:
        folder = tmp_path_factory.mktemp("drift")
        anomalies = standard_artifacts.ExampleAnomalies()
        anomalies.uri = str(folder / "anomalies")
        inputs = {
            "statistics": [_artifact(folder / "current", current)],
            "baseline_statistics": [_artifact(folder / "baseline", baseline)],
        }
        config = make_drift_config(max_drift)
        properties = {"distribution_validator_config": proto_utils.proto_to_json(config) if as_text else config}
        DistributionValidator.EXECUTOR_SPEC.executor_class().Do(inputs, {"anomalies": [anomalies]}, properties)
        found = {}
        for split in set(current) & set(baseline):
            content = (folder / "anomalies" / f"SplitPair-{split}_{split}" / "SchemaDiff.pb").read_bytes()
            found[split] = anomalies_pb2.Anomalies.FromString(content)
        check_drift(
            found,
            {split: statistics.datasets[0] for split, statistics in current.items()},
            {split: statistics.datasets[0] for split, statistics in baseline.items()},
        )

    return compare


# make_drift_config.


def test_each_scalar_of_the_contract_is_compared() -> None:
    config = make_drift_config(0.3).default_slice_config
    assert {tuple(feature.path.step) for feature in config.feature} == {
        ("image/height",),
        ("image/width",),
        ("label/void_fraction",),
        ("label/classes",),
    }
    assert not config.HasField("num_examples_comparator")  # Data may grow.


def test_limit_of_class_shares_is_the_square() -> None:
    *numeric, classes = make_drift_config(0.3).default_slice_config.feature
    for feature in numeric:
        comparator = feature.distribution_comparator
        assert comparator.jensen_shannon_divergence.threshold == 0.3
        assert comparator.jensen_shannon_divergence.source.type == schema_pb2.HistogramSelection.QUANTILES
        assert not comparator.HasField("infinity_norm")
    assert classes.distribution_comparator.jensen_shannon_divergence.threshold == pytest.approx(0.09)
    assert classes.distribution_comparator.infinity_norm.threshold == pytest.approx(0.09)


# What fires.


def test_other_pictures_of_the_same_kind_pass(compare: Callable[..., None]) -> None:
    for seed in range(5):
        compare({"train": _statistics(_pictures(MIN_EXAMPLES, seed))}, {"train": _statistics(_pictures(400, 100 + seed))})


SIZES, VOID, CLASSES = [features.HEIGHT, features.WIDTH], [features.VOID_FRACTION], [features.CLASSES] * 2
"""Where a change is found; that of classes by both measures."""

CHANGES: dict[str, tuple[Callable[[Picture], Picture], list[str]]] = {
    "half the size": (lambda p: p._replace(height=p.height // 2, width=p.width // 2), SIZES),
    "turned": (lambda p: p._replace(height=p.width, width=p.height), SIZES),
    "no void": (lambda p: p._replace(void=0.0), VOID),
    "masks of background": (lambda p: p._replace(classes=(0,)), CLASSES),
    "ids off by one": (lambda p: p._replace(classes=tuple((c + 1) % 21 for c in p.classes)), CLASSES),
}


def test_configuration_that_comes_as_text_finds_the_same(compare: Callable[..., None]) -> None:
    """As on Vertex AI."""
    before, same = _pictures(MIN_EXAMPLES, 0), _pictures(MIN_EXAMPLES, 1)
    compare({"train": _statistics(same)}, {"train": _statistics(before)}, as_text=True)
    changed = _statistics([picture._replace(void=0.0) for picture in same])
    with pytest.raises(DataError, match=f"  train: {features.VOID_FRACTION}: High .* above the threshold 0.3"):
        compare({"train": changed}, {"train": _statistics(before)}, as_text=True)


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_one_kind_is_found_where_it_is(compare: Callable[..., None], change: str) -> None:
    edit, expected = CHANGES[change]
    pictures = _pictures(2 * MIN_EXAMPLES, 0)
    changed = _statistics([edit(picture) for picture in _pictures(2 * MIN_EXAMPLES, 1)])
    same = _statistics(_pictures(2 * MIN_EXAMPLES, 2))
    with pytest.raises(DataError) as error:
        compare({"train": changed, "eval": same}, {"train": _statistics(pictures), "eval": _statistics(pictures)})
    first, *lines, last = str(error.value).splitlines()
    assert first == "The data drifted from the data that was accepted before:"
    assert len(lines) == len(expected)
    for line, name in zip(lines, expected, strict=True):
        assert line.startswith(f"  train: {name}: High ")
        assert f"above the threshold {0.09 if name == features.CLASSES else 0.3}" in line
    assert last.startswith(
        "Look whether the data is what it should be. If it is, accept the change, in each run on this data: --set "
    )
    enough = float(last.rpartition("=")[2])
    assert MAX_DRIFT < enough <= 1
    compare({"train": changed}, {"train": _statistics(pictures)}, max_drift=enough)


def test_class_whose_share_changed_most_is_named(compare: Callable[..., None]) -> None:
    before = [Picture(classes=(0, 5))] * 50 + [Picture(classes=(0, 15))] * 50
    with pytest.raises(DataError, match="The feature value with maximum difference is: (5|15)\n") as error:
        compare({"train": _statistics([Picture(classes=(0, 15))] * 100)}, {"train": _statistics(before)})
    # The shares of 0, 5 and 15 among all entries were 1/2, 1/4 and 1/4, and are 1/2, 0 and 1/2.
    assert "The Linfty distance between current and previous is 0.25 " in str(error.value)
    assert str(error.value).endswith("--set data.max_drift=0.5")  # Of 0.25, the square root.


def test_more_than_a_hundred_classes_are_compared(compare: Callable[..., None]) -> None:
    def pictures(first: int) -> list[Picture]:
        return [Picture(classes=(0, *range(first + i % 100, first + 50 + i % 100))) for i in range(200)]

    before = _statistics(pictures(1), num_classes=255)
    compare({"train": _statistics(pictures(2), num_classes=255)}, {"train": before})
    with pytest.raises(DataError, match="label/classes"):
        compare({"train": _statistics(pictures(100), num_classes=255)}, {"train": before})


# Degenerate distributions.


@pytest.mark.parametrize("max_drift", [0.0, MAX_DRIFT, 1.0])
@pytest.mark.parametrize(
    "picture", [Picture(), Picture(void=0.0), Picture(void=1.0, classes=()), Picture(classes=(0,))], ids=str
)
def test_identical_data_passes_however_uniform(compare: Callable[..., None], picture: Picture, max_drift: float) -> None:
    statistics = {"train": _statistics([picture] * MIN_EXAMPLES)}
    compare(statistics, statistics, max_drift=max_drift)
    compare({"train": _statistics([picture] * 3 * MIN_EXAMPLES)}, statistics, max_drift=max_drift)


def test_identical_varied_data_passes_with_any_limit(compare: Callable[..., None]) -> None:
    statistics = {"train": _statistics(_pictures(150, 0))}
    compare(statistics, statistics, max_drift=0.0)


def test_few_outliers_in_uniform_data_pass(compare: Callable[..., None]) -> None:
    uniform = [Picture(void=0.0)] * 200
    odd = [Picture(height=8000, width=8000, void=0.9, classes=(0, 7))] * 4
    for current, before in ((uniform, uniform + odd), (uniform + odd, uniform)):
        compare({"train": _statistics(current)}, {"train": _statistics(before)})


def test_other_size_of_all_pictures_is_found(compare: Callable[..., None]) -> None:
    before = {"train": _statistics([Picture()] * MIN_EXAMPLES)}
    with pytest.raises(DataError, match="train: image/height: .* is 1 .*above the threshold 0.3") as error:
        compare({"train": _statistics([Picture(height=80)] * MIN_EXAMPLES)}, before)
    assert str(error.value).endswith("--set data.max_drift=1")
    assert len(str(error.value).splitlines()) == 3


def test_limit_of_one_bears_data_with_nothing_in_common(compare: Callable[..., None]) -> None:
    # TFDV may find a divergence of 1.0000000000000002.
    rng = np.random.default_rng(0)
    for _ in range(10):
        one = [Picture(*map(int, rng.integers(1, 300, 2)), (i % 10,), 0.1 * rng.random()) for i in range(MIN_EXAMPLES)]
        two = [Picture(p.height + 400, p.width + 400, (p.classes[0] + 10,), 0.5 + p.void) for p in one]
        compare({"train": _statistics(one)}, {"train": _statistics(two)}, max_drift=1.0)


# What is not compared, and what is gone.


@pytest.mark.parametrize(("now", "before"), [(4, 4), (MIN_EXAMPLES - 1, 400), (400, MIN_EXAMPLES - 1)])
def test_small_split_is_passed_over(compare: Callable[..., None], now: int, before: int) -> None:
    compare({"eval": _statistics([Picture(height=300)] * now)}, {"eval": _statistics([Picture()] * before)})


def test_small_split_hides_no_other(compare: Callable[..., None]) -> None:
    other, usual = [Picture(height=300)] * MIN_EXAMPLES, [Picture()] * MIN_EXAMPLES
    with pytest.raises(DataError, match="train: image/height") as error:
        compare(
            {"eval": _statistics(other[:4]), "train": _statistics(other)},
            {"eval": _statistics(usual[:4]), "train": _statistics(usual)},
        )
    assert "eval" not in str(error.value)


def test_split_that_is_not_on_both_sides_is_passed_over(compare: Callable[..., None]) -> None:
    statistics = _statistics([Picture()] * MIN_EXAMPLES)
    compare({"train": statistics, "test": statistics}, {"train": statistics, "eval": statistics})


def test_values_that_are_gone_are_found(compare: Callable[..., None]) -> None:
    void = [Picture(classes=())] * MIN_EXAMPLES
    with pytest.raises(DataError) as error:
        compare({"train": _statistics(void)}, {"train": _statistics([Picture()] * MIN_EXAMPLES)}, max_drift=1.0)
    assert str(error.value).splitlines() == [
        "The data drifted from the data that was accepted before:",
        "  train: label/classes: Missing data: no example has a value; 200 values before",
        "Look whether the data is what it should be.",
    ]


@pytest.mark.parametrize("name", [features.HEIGHT, features.CLASSES, features.VOID_FRACTION])
def test_feature_that_is_gone_is_found(compare: Callable[..., None], name: str) -> None:
    pictures = [Picture()] * MIN_EXAMPLES
    with pytest.raises(DataError, match=f"train: {name}: Missing data"):
        compare({"train": _statistics(pictures, without=[name])}, {"train": _statistics(pictures)})


@pytest.mark.parametrize("name", [features.HEIGHT, features.CLASSES, features.VOID_FRACTION])
def test_feature_that_was_not_there_before_is_passed_over(compare: Callable[..., None], name: str) -> None:
    pictures = [Picture()] * MIN_EXAMPLES
    before = {"train": _statistics(pictures, without=[name])}
    compare({"train": _statistics(pictures)}, before)
    compare(before, before)


def test_values_that_were_not_there_before_are_passed_over(compare: Callable[..., None]) -> None:
    void = {"train": _statistics([Picture(classes=())] * MIN_EXAMPLES)}
    compare({"train": _statistics([Picture()] * MIN_EXAMPLES)}, void)


# check_drift, by hand.


def _side(examples: int) -> statistics_pb2.DatasetFeatureStatistics:
    side = statistics_pb2.DatasetFeatureStatistics(num_examples=examples)
    for name in (features.HEIGHT, features.WIDTH, features.VOID_FRACTION):
        feature = side.features.add()
        feature.path.step.append(name)
        feature.num_stats.common_stats.tot_num_values = examples
    return side


def test_error_names_split_feature_measure_limit_and_remedy() -> None:
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["image/width"].reason.add(
        type=anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
        short_description="High divergence",
        description="It is 0.375, above the threshold 0.3",
    )
    found.anomaly_info["image/height"].reason.add(
        type=anomalies_pb2.AnomalyInfo.STATS_NOT_AVAILABLE, short_description="Comparison could not be done."
    )
    measured = found.drift_skew_info.add()
    measured.path.step.append("image/width")
    measured.drift_measurements.add(value=0.375, threshold=0.3)
    other = found.drift_skew_info.add()
    other.path.step.append("label/void_fraction")
    other.drift_measurements.add(value=0.29, threshold=0.3)
    with pytest.raises(DataError) as error:
        check_drift(
            {"train": found, "eval": found},
            {"train": _side(100), "eval": _side(99)},
            dict.fromkeys(("train", "eval"), _side(100)),
        )
    assert str(error.value).splitlines() == [
        "The data drifted from the data that was accepted before:",
        "  train: image/width: High divergence: It is 0.375, above the threshold 0.3",
        "Look whether the data is what it should be. If it is, accept the change, in each run on this data: --set "
        "data.max_drift=0.38",
    ]


def test_nothing_found_passes() -> None:
    check_drift({}, {}, {})
    check_drift({"train": anomalies_pb2.Anomalies()}, {"train": _side(100)}, {"train": _side(100)})


# Real data.


@pytest.fixture(scope="module")
def voc_pictures(shared_data: pathlib.Path) -> list[Picture]:
    """The 632 pictures of VOC 2007."""
    found = []
    for path in sorted((shared_data / "voc2007/VOCdevkit/VOC2007/SegmentationClass").glob("*.png")):
        ids = np.asarray(PIL.Image.open(path))
        classes = tuple(int(c) for c in np.unique(ids) if c != features.IGNORE_LABEL)
        found.append(Picture(*ids.shape, classes, float((ids == features.IGNORE_LABEL).mean())))
    assert len(found) == 632
    return found


def test_default_bears_random_parts_of_voc(compare: Callable[..., None], voc_pictures: list[Picture]) -> None:
    for seed in range(10):
        drawn: list[Any] = random.Random(seed).sample(voc_pictures, 600)
        compare({"train": _statistics(drawn[:200])}, {"train": _statistics(drawn[200:])})


@pytest.mark.parametrize("kept", ["with a person", "without a person"])
def test_default_finds_a_choice_by_class_in_voc(compare: Callable[..., None], voc_pictures: list[Picture], kept: str) -> None:
    chosen = [picture for picture in voc_pictures if (15 in picture.classes) == (kept == "with a person")]
    with pytest.raises(DataError, match="train: label/classes: .*The feature value with maximum difference is: 15"):
        compare({"train": _statistics(chosen)}, {"train": _statistics(voc_pictures)})
