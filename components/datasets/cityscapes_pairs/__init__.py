"""Cityscapes as pairs in one picture; importing this registers `cityscapes_pairs_semantic` with TensorFlow Datasets."""

from components.datasets.cityscapes_pairs.builder import CityscapesPairsSemantic

__all__ = ["CityscapesPairsSemantic"]
