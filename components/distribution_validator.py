"""DistributionValidator: TFX's, which on Vertex AI gets its configuration as text and, with a baseline, would fail over it."""

from typing import Any

from tfx import types
from tfx.components import DistributionValidator as TfxDistributionValidator
from tfx.components.distribution_validator import executor as tfx_executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

_CONFIG = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY


class Executor(tfx_executor.Executor):
    """TFX's executor, whichever runner calls it."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Reads a configuration that comes as text, and validates."""
        config = exec_properties[_CONFIG]
        if isinstance(config, str):
            config = proto_utils.json_to_proto(config, distribution_validator_pb2.DistributionValidatorConfig())
        return super().Do(input_dict, output_dict, {**exec_properties, _CONFIG: config})


class DistributionValidator(TfxDistributionValidator):
    """TFX's component with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
