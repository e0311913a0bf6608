"""CamVid with 11 classes; importing this registers `camvid_semantic` with TensorFlow Datasets."""

from components.datasets.camvid.builder import CamvidSemantic

__all__ = ["CamvidSemantic"]
