"""Pictures of the CARLA simulator with 23 classes; importing this registers `carla_semantic` with TensorFlow Datasets."""

from components.datasets.carla.builder import CarlaSemantic

__all__ = ["CarlaSemantic"]
