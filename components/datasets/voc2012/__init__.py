"""PASCAL VOC 2012 for semantic segmentation; importing this registers `voc2012_semantic` with TensorFlow Datasets."""

from components.datasets.voc2012.builder import Voc2012Semantic

__all__ = ["Voc2012Semantic"]
