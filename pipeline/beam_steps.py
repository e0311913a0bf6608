"""Beam's options reach a step past TFX's cache, whose key they would be part of: where a step works changes no result."""

from collections.abc import Callable
from typing import Any

from google.protobuf import message
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2

Operators = dict[type[message.Message], Callable[..., Any]]


def split_options(
    spec: message.Message | None, operator: Callable[..., BeamExecutorOperator] = BeamExecutorOperator
) -> tuple[message.Message | None, Operators]:
    """Takes Beam's options out of an executor's specification, for TFX's launcher to see.

    Args:
        spec: of any step.
        operator: what runs the executor, with the options.

    Returns:
        The specification without options, and the launcher's `custom_executor_operators`, which have them.
    """
    if not isinstance(spec, executable_spec_pb2.BeamExecutableSpec):
        return spec, {}
    bare = executable_spec_pb2.BeamExecutableSpec()
    bare.CopyFrom(spec)
    bare.ClearField("beam_pipeline_args")
    bare.ClearField("beam_pipeline_args_placeholders")

    def with_options(executor_spec: message.Message, platform_config: message.Message | None) -> BeamExecutorOperator:
        return operator(spec, platform_config)

    return bare, {executable_spec_pb2.BeamExecutableSpec: with_options}
