"""Road or not road on Cityscapes; importing this registers `cityscapes_road_semantic` with TensorFlow Datasets."""

from components.datasets.cityscapes_road.builder import CityscapesRoadSemantic

__all__ = ["CityscapesRoadSemantic"]
