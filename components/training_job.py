"""What a training job of Vertex AI checks where it begins: that it has the GPUs and the code that it was compiled for."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.code_digest import code_digest
from components.errors import TrainingError
from components.models import names

_TRAINING_ARGS = "ai_platform_training_args"
"""In `custom_config`: TFX's key of the job, by which its Trainer for Vertex AI asks for machines."""


def check(custom_config: Mapping[str, Any], model: str) -> None:
    """Fails where a job would train something else than was asked for, or without its GPUs; elsewhere nothing is checked.

    Args:
        custom_config: of the Trainer.
        model: name of the architecture.

    Raises:
        TrainingError: fewer GPUs are visible than each host was to have, or the container has other code.
    """
    if _TRAINING_ARGS not in custom_config:
        return
    asked, visible = gpus_asked_for(custom_config), len(tf.config.list_physical_devices("GPU"))
    if visible < asked:
        raise TrainingError(
            f"{asked} GPUs were asked for (cloud.accelerator_count), and TensorFlow sees {visible}. The Trainer's container "
            "needs the CUDA lock: build it with --build-arg LOCK=requirements-gpu.txt, and set cloud.trainer_image to it."
        )
    compiled, here = custom_config["code_digest"], code_digest("components.trainer", names.module_of(model))
    if here != compiled:
        raise TrainingError(
            f"The Trainer's container has other code or libraries (digest {here[:12]}) than the specification was compiled "
            f"from ({compiled[:12]}). Build and push it anew under a new tag, set cloud.trainer_image to it, and compile again."
        )


def gpus_asked_for(custom_config: Mapping[str, Any]) -> int:
    """Returns the number of GPUs that each host of a job was to have; 0 where it is no job of Vertex AI."""
    pools = custom_config.get(_TRAINING_ARGS, {}).get("job_spec", {}).get("worker_pool_specs", [])
    return max((pool["machine_spec"].get("accelerator_count", 0) for pool in pools), default=0)
