"""PASCAL VOC 2007 for semantic segmentation; importing this registers `voc2007_semantic` with TensorFlow Datasets."""

from components.datasets.voc2007.builder import Voc2007Semantic

__all__ = ["Voc2007Semantic"]
