"""What was found in a data set, in numbers: the same for a check and for a pipeline run."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np

from components import features
from components.datasets.examples import Facts, Quarantined
from components.datasets.leaks import Leak
from components.datasets.near_duplicates import NearDuplicate
from components.datasets.spec import DatasetSpec

MAX_SIZES = 20
"""Sizes that a report names, the commonest first; VOC has 133, a web crawl one a picture."""


@dataclasses.dataclass(kw_only=True)
class SplitReport:
    """A split in numbers.

    Attributes:
        listed: pairs that the data set lists.
        generated: those that became examples.
        quarantined: those that could not be used.
        dropped: those that were taken out of train since another split has them too.
        sizes: pictures by size, "500x375" (width x height), the commonest `MAX_SIZES`.
        distinct_sizes: number of sizes in all.
        image_kinds: pictures by format and mode of their files.
        mask_kinds: masks by how they are kept and read, for instance "palette as ids".
        class_pixels: pixels by class.
        class_images: pictures by class that occurs in them.
        void_pixels: pixels that are void.
        void_images: pictures that are void all over; nothing is learned from them.
    """

    listed: int = 0
    generated: int = 0
    quarantined: int = 0
    dropped: int = 0
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    distinct_sizes: int = 0
    image_kinds: dict[str, int] = dataclasses.field(default_factory=dict)
    mask_kinds: dict[str, int] = dataclasses.field(default_factory=dict)
    class_pixels: dict[str, int] = dataclasses.field(default_factory=dict)
    class_images: dict[str, int] = dataclasses.field(default_factory=dict)
    void_pixels: int = 0
    void_images: int = 0

    @property
    def void_fraction(self) -> float:
        """Share of void pixels, 0..1."""
        return self.void_pixels / max(1, self.void_pixels + sum(self.class_pixels.values()))


@dataclasses.dataclass(kw_only=True)
class Report:
    """A data set in numbers.

    Attributes:
        dataset: name of the description.
        classes: names in the order of the ids.
        splits: by the builder's names.
        quarantined: the pairs that are not used, by split and key.
        leaks: pictures with the same pixels in two splits.
        near_duplicates: pictures in two splits that look alike.
    """

    dataset: str
    classes: tuple[str, ...]
    splits: dict[str, SplitReport]
    quarantined: list[Quarantined]
    leaks: list[Leak]
    near_duplicates: list[NearDuplicate]

    @property
    def listed(self) -> int:
        """Pairs that the data set lists in all."""
        return sum(split.listed for split in self.splits.values())

    @property
    def generated(self) -> int:
        """Pairs that became examples in all."""
        return sum(split.generated for split in self.splits.values())


def void_splits(report: Report) -> list[str]:
    """Returns the splits whose pictures are all void all over: nothing can be learned or measured there."""
    return [name for name, split in report.splits.items() if 0 < split.generated == split.void_images]


class CountFacts(beam.CombineFn):
    """PCollection[Facts] -> one dict of `SplitReport` by split; what it holds grows with sizes, not with pictures."""

    def __init__(self, spec: DatasetSpec) -> None:
        """Keeps the class names."""
        super().__init__()
        self._classes = spec.classes

    def create_accumulator(self) -> dict[str, dict[str, Any]]:
        """Returns nothing counted."""
        return {}

    def add_input(self, counted: dict[str, dict[str, Any]], facts: Facts) -> dict[str, dict[str, Any]]:
        """Counts a picture."""
        one = _nothing()
        one["sizes"][f"{facts.width_px}x{facts.height_px}"] = 1
        one["image_kinds"][facts.image_kind] = 1
        one["mask_kinds"][facts.mask_kind] = 1
        one["pixels"] = facts.pixels.astype(np.int64)
        one["images"] = (facts.pixels > 0).astype(np.int64)
        one["generated"] = 1
        one["void_images"] = int(facts.pixels[: features.IGNORE_LABEL].sum() == 0)
        _add(counted.setdefault(facts.split, _nothing()), one)
        return counted

    def merge_accumulators(self, parts: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """Adds."""
        merged: dict[str, dict[str, Any]] = {}
        for part in parts:
            for split, counted in part.items():
                _add(merged.setdefault(split, _nothing()), counted)
        return merged

    def extract_output(self, counted: dict[str, dict[str, Any]]) -> dict[str, SplitReport]:
        """Returns the counts by name."""
        return {split: self._named(**found) for split, found in counted.items()}

    def _named(self, *, sizes: Counter, pixels: np.ndarray, images: np.ndarray, **rest: Any) -> SplitReport:
        return SplitReport(
            sizes=dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:MAX_SIZES]),
            distinct_sizes=len(sizes),
            class_pixels={name: int(pixels[index]) for index, name in enumerate(self._classes)},
            class_images={name: int(images[index]) for index, name in enumerate(self._classes)},
            void_pixels=int(pixels[features.IGNORE_LABEL]),
            **{name: _plain(value) for name, value in rest.items()},
        )


def _add(into: dict[str, Any], counted: Mapping[str, Any]) -> None:
    """Adds in place: a new sum for each picture would copy all sizes each time."""
    for name, value in counted.items():
        if isinstance(value, Counter):
            into[name].update(value)
        else:
            into[name] = into[name] + value


def _plain(value: Any) -> Any:
    return dict(sorted(value.items())) if isinstance(value, Counter) else value


def _nothing() -> dict[str, Any]:
    return {
        "sizes": Counter(),
        "image_kinds": Counter(),
        "mask_kinds": Counter(),
        "pixels": np.zeros(256, np.int64),
        "images": np.zeros(256, np.int64),
        "generated": 0,
        "void_images": 0,
    }


def to_dict(report: Report) -> dict[str, Any]:
    """Returns a report as JSON takes it; void shares are added."""
    values = dataclasses.asdict(report)
    for name, split in report.splits.items():
        values["splits"][name]["void_fraction"] = split.void_fraction
    return values | {"listed": report.listed, "generated": report.generated}


def to_json(report: Report) -> str:
    """Returns a report as JSON."""
    return json.dumps(to_dict(report), indent=1) + "\n"


def from_dict(values: Mapping[str, Any]) -> Report:
    """Restores what `to_dict` made."""
    known = {field.name for field in dataclasses.fields(SplitReport)}
    return Report(
        dataset=values["dataset"],
        classes=tuple(values["classes"]),
        splits={
            split: SplitReport(**{name: value for name, value in found.items() if name in known})
            for split, found in values["splits"].items()
        },
        quarantined=[Quarantined(**record) for record in values["quarantined"]],
        leaks=[Leak(tuple(tuple(picture) for picture in leak["pictures"])) for leak in values["leaks"]],
        near_duplicates=[
            NearDuplicate(tuple(pair["first"]), tuple(pair["second"]), pair["distance"]) for pair in values["near_duplicates"]
        ],
    )
