"""Which slices of the images are measured by themselves: what they contain, size, shape, and share of void."""

from collections.abc import Mapping, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors.extractor import Extractor

from components import features

CONTAINS, SIZE, ASPECT, VOID = "contains", "size", "aspect", "void"
GROUPS = (CONTAINS, SIZE, ASPECT, VOID)
"""The features that are sliced by; TFMA knows them by these names."""

_MEGAPIXELS = ((0.1, "below 0.1 megapixels"), (0.3, "0.1 to 0.3 megapixels"), (1.0, "0.3 to 1 megapixels"))
_ASPECTS = ((0.8, "upright"), (1.25, "about square"), (2.0, "lying"))
_VOID_SHARES = ((1e-9, "none"), (0.05, "below 5 %"), (0.2, "5 to 20 %"))
_LARGEST, _WIDEST, _MOST_VOID = "over 1 megapixel", "over twice as wide as high", "over 20 %"


def order(group: str, value: str, class_names: Sequence[str]) -> tuple[int, int]:
    """Returns by what slices are sorted: groups as above, classes by their ids, the others from small to large.

    Args:
        group: of `GROUPS`.
        value: one of its slices.
        class_names: in the order of the ids.
    """
    buckets = {SIZE: (_MEGAPIXELS, _LARGEST), ASPECT: (_ASPECTS, _WIDEST), VOID: (_VOID_SHARES, _MOST_VOID)}
    values = list(class_names)
    if group in buckets:
        bounds, rest = buckets[group]
        values = [*(name for _, name in bounds), rest]
    return GROUPS.index(group), values.index(value)


def slice_values(
    height_px: int, width_px: int, classes: Sequence[int], void_fraction: float, class_names: Sequence[str]
) -> dict[str, list[str]]:
    """Returns the slices that an image belongs to, by group; to one for each class that it contains.

    Args:
        height_px: of the picture.
        width_px: of the picture.
        classes: ids that occur in its mask, without 255.
        void_fraction: share of void, 0..1.
        class_names: in the order of the ids.
    """
    return {
        CONTAINS: [class_names[label] for label in classes],
        SIZE: [_bucket(height_px * width_px / 1e6, _MEGAPIXELS, _LARGEST)],
        ASPECT: [_bucket(width_px / height_px, _ASPECTS, _WIDEST)],
        VOID: [_bucket(void_fraction, _VOID_SHARES, _MOST_VOID)],
    }


def _bucket(value: float, bounds: Sequence[tuple[float, str]], rest: str) -> str:
    return next((name for bound, name in bounds if value < bound), rest)


def extractor(class_names: Sequence[str]) -> Extractor:
    """Returns what adds the slices of an example to its features, behind TFMA's unbatching and before its slicing."""
    return Extractor(stage_name="ExtractImageSlices", ptransform=_AddSlices(tuple(class_names)))


class _AddSlices(beam.PTransform):
    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._class_names = class_names

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | "AddSlices" >> beam.Map(_add_slices, self._class_names)


def _add_slices(extracts: tfma.types.Extracts, class_names: tuple[str, ...]) -> tfma.types.Extracts:
    """Returns the extracts with the groups among their features; without, where the example lacks the scalars."""
    found: Mapping[str, np.ndarray] = extracts[tfma.FEATURES_KEY]
    scalars = [found.get(name) for name in (features.HEIGHT, features.WIDTH, features.CLASSES, features.VOID_FRACTION)]
    if any(value is None for value in scalars):
        return extracts
    height, width, classes, void = (np.asarray(value).reshape(-1).tolist() for value in scalars)
    values = slice_values(int(height[0]), int(width[0]), [int(label) for label in classes], float(void[0]), class_names)
    groups = {group: np.array(names, dtype=object) for group, names in values.items()}
    return {**extracts, tfma.FEATURES_KEY: {**found, **groups}}
