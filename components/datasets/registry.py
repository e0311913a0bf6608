"""Finds a builder by the name under which it is registered with TensorFlow Datasets."""

import importlib
import os

from components.errors import DataError

_MODULES = {"voc2007_semantic": "components.datasets.voc2007"}


def module_of(name: str) -> str:
    """Returns the module whose import registers the builder.

    Raises:
        DataError: no such builder.
    """
    if name not in _MODULES:
        raise DataError(f"There is no data set builder {name!r}; there are {', '.join(_MODULES)} (data.builder).")
    return _MODULES[name]


def class_names(name: str) -> tuple[str, ...]:
    """Returns the names of a builder's classes in the order of their ids.

    Raises:
        DataError: no such builder.
    """
    import tensorflow_datasets as tfds

    importlib.import_module(module_of(name))
    return tuple(tfds.builder_cls(name).CLASSES)


def schema_text(name: str) -> str:
    """Returns the builder's curated schema, a text proto of tensorflow.metadata.v0.Schema.

    Raises:
        DataError: no such builder.
    """
    package = importlib.import_module(module_of(name))
    with open(os.path.join(os.path.dirname(package.__file__ or ""), "schema.pbtxt"), encoding="utf-8") as file:
        return file.read()
