"""Transform: encoded pictures and masks to uint8 tensors of the network's size. Serving uses the same functions."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.transform import component as tfx_transform
from tfx.components.transform import executor as tfx_executor
from tfx.dsl.components.base import executor_spec

from components import features, preprocessing
from pipeline_config import TransformConfig, from_json

MAX_BATCH_SIZE = 32
"""Records that Transform holds at a time, bounded by this and not by their encoded size: see tfx#5777."""


def preprocessing_fn(inputs: Mapping[str, Any], custom_config: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """TFX's entry point.

    Args:
        inputs: `image` and `label`, string [N, 1] or [N]: encoded pictures and one-channel PNGs; `image/filename` alike.
        custom_config: the stage's configuration as JSON under "transform".

    Returns:
        `image` and `label`, string [N]: serialised uint8 [H, W, 3] and [H, W]; `image/filename`, string [N].
    """
    config = from_json(TransformConfig, custom_config["transform"])
    return {
        features.IMAGE: tf.map_fn(
            lambda encoded: tf.io.serialize_tensor(preprocessing.load_image(encoded, config)), _flat(inputs[features.IMAGE])
        ),
        features.LABEL: tf.map_fn(
            lambda encoded: tf.io.serialize_tensor(preprocessing.load_label(encoded, config)), _flat(inputs[features.LABEL])
        ),
        features.FILENAME: _flat(inputs[features.FILENAME]),
    }


def _flat(column: tf.Tensor) -> tf.Tensor:
    return tf.reshape(column, [-1])


class _BoundedProcessor(tfx_executor.TransformProcessor):
    def _GetDesiredBatchSize(self, data_format: int, schema: schema_pb2.Schema) -> int:
        del data_format, schema
        return MAX_BATCH_SIZE


class Executor(tfx_executor.Executor):
    """TFX's executor with bounded batches."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Transforms the examples.

        TFX's executor names the class that does the work by a global of its module, and offers no other way to the batch size.
        """
        original = tfx_executor.TransformProcessor
        tfx_executor.TransformProcessor = _BoundedProcessor
        try:
            super().Do(input_dict, output_dict, exec_properties)
        finally:
            tfx_executor.TransformProcessor = original


class Transform(tfx_transform.Transform):
    """TFX's Transform with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
