"""The TensorFlow Datasets builder `camvid_semantic`."""

from components.datasets.builder import SegmentationBuilder
from components.datasets.spec import DatasetSpec, Layout, MaskEncoding, Splits

SPEC = DatasetSpec(
    name="camvid",
    classes=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    layout=Layout(root="CamVid", images="{split}", masks="{split}annot"),
    mask=MaskEncoding(encoding="ids", void_ids=(11,), void_colors=()),
    splits=Splits(lists="{split}.txt", entries="pairs", prefix="/SegNet/CamVid/"),
)


class CamvidSemantic(SegmentationBuilder):
    """CamVid, the 11 classes of SegNet: 367 train, 101 validation and 233 test examples."""

    SPEC = SPEC
    HOMEPAGE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
