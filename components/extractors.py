"""What TFMA takes out of an example before it measures: its own extractors, and the slices that the example belongs to.

In a file of its own, since TFX finds the function by its name and loads the file anew for that, whereby all of its classes
would become others.
"""

import json
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors.extractor import Extractor
from tensorflow_model_analysis.extractors.slice_key_extractor import SLICE_KEY_EXTRACTOR_STAGE_NAME

from components import iou_tfma, slices


def make_extractors(eval_shared_model: Any, eval_config: tfma.EvalConfig, tensor_adapter_config: Any) -> list[Extractor]:
    """Returns TFMA's extractors, and before its slicing the one that says which slices an image belongs to."""
    made = tfma.default_extractors(
        eval_shared_model=eval_shared_model, eval_config=eval_config, tensor_adapter_config=tensor_adapter_config
    )
    (metric,) = (one for one in eval_config.metrics_specs[0].metrics if one.module == iou_tfma.__name__)
    class_names = json.loads(metric.config)["class_names"]
    assert made[-1].stage_name == SLICE_KEY_EXTRACTOR_STAGE_NAME
    return [*made[:-1], slices.extractor(class_names), made[-1]]
