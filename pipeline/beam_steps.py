"""Beam's options reach a step past TFX's cache, whose key they would be part of: where a step works changes no result."""

from collections.abc import Callable
from typing import Any

from google.protobuf import message
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2

from pipeline.dataflow_jobs import of_try

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
        return operator(_of_try(spec), platform_config)

    return bare, {executable_spec_pb2.BeamExecutableSpec: with_options}


def _of_try(spec: executable_spec_pb2.BeamExecutableSpec) -> executable_spec_pb2.BeamExecutableSpec:
    """Returns the specification with a job's name of its own, where it is Dataflow that takes each name only once."""
    own = executable_spec_pb2.BeamExecutableSpec()
    own.CopyFrom(spec)
    values = [placeholder.value for placeholder in own.beam_pipeline_args_placeholders]
    if any(value.string_value == "--runner=DataflowRunner" for value in values):
        for value in values:
            if value.string_value.startswith("--job_name="):
                value.string_value = of_try(value.string_value)
    return own
