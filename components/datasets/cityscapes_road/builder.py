"""The TensorFlow Datasets builder `cityscapes_road_semantic`."""

import dataclasses

from components.datasets.cityscapes_pairs import CityscapesPairsSemantic
from components.datasets.spec import MaskEncoding

_PAIRS = CityscapesPairsSemantic.SPEC
_ROAD = _PAIRS.classes.index("road")

SPEC = dataclasses.replace(
    _PAIRS,
    name="cityscapes_road",
    classes=("other", "road"),
    colors=((0, 0, 0), _PAIRS.palette[_ROAD]),
    mask=MaskEncoding(encoding="colors", color_tolerance=40.0, void_colors=(), rest="other"),
)


class CityscapesRoadSemantic(CityscapesPairsSemantic):
    """Cityscapes in 512 x 256 JPEGs, photograph and mask side by side; two classes: road, and all else."""

    SPEC = SPEC
