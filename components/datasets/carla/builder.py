"""The TensorFlow Datasets builder `carla_semantic`."""

from components.datasets.builder import SegmentationBuilder
from components.datasets.spec import DatasetSpec, Layout, MaskEncoding

SPEC = DatasetSpec(
    name="carla",
    # The tags of CARLA 0.9.12, in the order of their ids.
    classes=(
        "unlabeled",
        "building",
        "fence",
        "other",
        "pedestrian",
        "pole",
        "road line",
        "road",
        "sidewalk",
        "vegetation",
        "vehicle",
        "wall",
        "traffic sign",
        "sky",
        "ground",
        "bridge",
        "rail track",
        "guard rail",
        "traffic light",
        "static",
        "dynamic",
        "water",
        "terrain",
    ),
    layout=Layout(root="data", images="CameraRGB", masks="CameraMask"),
    mask=MaskEncoding(encoding="red", void_ids=(), void_colors=()),
)


class CarlaSemantic(SegmentationBuilder):
    """Pictures of the CARLA simulator, 23 classes, divided by a seed."""

    SPEC = SPEC
    HOMEPAGE = "https://carla.org/"
