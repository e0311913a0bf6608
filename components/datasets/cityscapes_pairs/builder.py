"""The TensorFlow Datasets builder `cityscapes_pairs_semantic`."""

from components.datasets.builder import SegmentationBuilder
from components.datasets.spec import VOID, DatasetSpec, Layout, MaskEncoding, Splits

_CLASSES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The 19 classes that Cityscapes evaluates, and their colours, in the order of their ids there."""

_VOID_COLORS = (
    (0, 0, 0),  # unlabeled, ego vehicle, rectification border, out of roi, static
    (111, 74, 0),  # dynamic
    (81, 0, 81),  # ground
    (250, 170, 160),  # parking
    (230, 150, 140),  # rail track
    (180, 165, 180),  # guard rail
    (150, 100, 100),  # bridge
    (150, 120, 90),  # tunnel
    (0, 0, 90),  # caravan
    (0, 0, 110),  # trailer
)

SPEC = DatasetSpec(
    name="cityscapes_pairs",
    classes=tuple(_CLASSES),
    colors=tuple(_CLASSES.values()),
    layout=Layout(images="{split}", mask_side="right"),
    mask=MaskEncoding(encoding="colors", color_tolerance=60.0, void_colors=_VOID_COLORS, rest=VOID),
    splits=Splits(test=""),
)


class CityscapesPairsSemantic(SegmentationBuilder):
    """Cityscapes in 512 x 256 JPEGs, photograph and mask side by side; 19 classes."""

    SPEC = SPEC
    HOMEPAGE = "https://www.cityscapes-dataset.com/"
