"""The TensorFlow Datasets builder `voc2012_semantic`."""

import dataclasses
from typing import ClassVar

from components.datasets import voc2007
from components.datasets.spec import DatasetSpec, Layout, Splits

_VOC = voc2007.Voc2007Semantic.SPEC
SPEC: DatasetSpec = dataclasses.replace(
    _VOC,
    name="voc2012",
    layout=Layout(root="VOCdevkit/VOC2012", images=_VOC.layout.images, masks=_VOC.layout.masks),
    splits=Splits(lists=_VOC.splits.lists, test=""),
)


class Voc2012Semantic(voc2007.Voc2007Semantic):
    """PASCAL VOC 2012 with class masks: 1,464 train and 1,449 validation examples."""

    SPEC = SPEC
    ARCHIVES: ClassVar[tuple[str, ...]] = ("VOCtrainval_11-May-2012.tar",)
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
