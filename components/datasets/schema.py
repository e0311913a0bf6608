"""The schema that a data set's records must fit: the contract of `components/features.py` for a number of classes."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import features

_TYPES = {
    features.IMAGE: schema_pb2.BYTES,
    features.FILENAME: schema_pb2.BYTES,
    features.HEIGHT: schema_pb2.INT,
    features.WIDTH: schema_pb2.INT,
    features.LABEL: schema_pb2.BYTES,
    features.CLASSES: schema_pb2.INT,
    features.VOID_FRACTION: schema_pb2.FLOAT,
}


def make_schema(num_classes: int) -> schema_pb2.Schema:
    """Returns the schema of records with class ids 0..num_classes-1.

    Every record holds one value of each feature, but for the list of classes.

    Args:
        num_classes: of the data set, background included, at least 1.
    """
    schema = schema_pb2.Schema()
    for name, kind in _TYPES.items():
        feature = schema.feature.add(name=name, type=kind)
        if name == features.CLASSES:  # A picture may be void all over, so the list may be empty, and no presence is demanded.
            feature.value_count.min, feature.value_count.max = 0, num_classes
            feature.int_domain.name = name
            feature.int_domain.min, feature.int_domain.max = 0, num_classes - 1
            feature.int_domain.is_categorical = True
        else:
            feature.presence.min_fraction, feature.presence.min_count = 1.0, 1
            feature.shape.SetInParent()
        if name in (features.IMAGE, features.LABEL):
            feature.image_domain.SetInParent()
        elif name in (features.HEIGHT, features.WIDTH):
            feature.int_domain.min, feature.int_domain.max = 1, features.MAX_SIDE_PX
        elif name == features.VOID_FRACTION:
            feature.float_domain.min, feature.float_domain.max = 0.0, 1.0
            feature.float_domain.disallow_nan = True
    return schema


def schema_text(num_classes: int) -> str:
    """Returns `make_schema` as a text proto with a comment above it: what stands in a built-in set's `schema.pbtxt`."""
    comment = (
        f"# tensorflow.metadata.v0.Schema of records with {num_classes} classes; derived by components/datasets/schema.py.\n"
    )
    return comment + text_format.MessageToString(make_schema(num_classes))
