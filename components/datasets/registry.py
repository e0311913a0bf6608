"""The built-in data sets, and the builder that serves a description."""

import importlib
import os

from components.datasets import schema
from components.datasets.spec import DatasetSpec
from components.errors import DataError

CUSTOM = "custom_semantic"
"""The builder of a user's own description."""

BUILT_IN = ("voc2007", "voc2012", "camvid", "carla", "cityscapes_pairs", "cityscapes_road")
"""The built-in descriptions: each is a package here, whose import registers the builder `<name>_semantic`."""


def built_in(name: str) -> DatasetSpec:
    """Returns a built-in description.

    Raises:
        DataError: no such description.
    """
    import tensorflow_datasets as tfds

    if name not in BUILT_IN:
        raise DataError(f"There is no built-in data set {name!r}; there are {', '.join(BUILT_IN)}.")
    importlib.import_module(f"components.datasets.{name}")
    return tfds.builder_cls(f"{name}_semantic").SPEC


def builder_of(spec: DatasetSpec) -> str:
    """Returns the registered name of the builder that serves a description: its own if it is built in, else the general one."""
    return f"{spec.name}_semantic" if spec.name in BUILT_IN and built_in(spec.name) == spec else CUSTOM


def module_of(builder: str) -> str:
    """Returns the module whose import registers a builder.

    Raises:
        DataError: no such builder.
    """
    if builder == CUSTOM:
        return "components.datasets.builder"
    name = builder.removesuffix("_semantic")
    if name not in BUILT_IN:
        known = ", ".join(f"{one}_semantic" for one in BUILT_IN)
        raise DataError(f"There is no data set builder {builder!r}; there are {known}, {CUSTOM}.")
    return f"components.datasets.{name}"


def schema_text(builder: str, spec: DatasetSpec) -> str:
    """Returns the schema, a text proto of tensorflow.metadata.v0.Schema: a built-in set's committed one, or the derived one."""
    if builder == CUSTOM:
        return schema.schema_text(len(spec.classes))
    package = importlib.import_module(module_of(builder))
    with open(os.path.join(os.path.dirname(package.__file__ or ""), "schema.pbtxt"), encoding="utf-8") as file:
        return file.read()
