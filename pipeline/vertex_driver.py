"""ExampleGen's driver on Vertex AI: checks the image, and computes the data's digest in each run, before the cache is asked.

Vertex AI knows no drivers but what a container's `preCacheCheck` runs, as TFX has it for its own file-based ExampleGens. What
this writes to the execution's output file counts for the cache and reaches the executor as an execution property.
"""

import argparse
import os
from collections.abc import Sequence

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.orchestration.portable import data_types

from components.code_digest import code_digest
from components.datasets import registry
from components.errors import CloudError
from components.example_gen import Driver

_STEPS = (
    *("components.example_gen", *(registry.module_of(f"{name}_semantic") for name in registry.BUILT_IN)),
    *("components.schema_gen", "components.distribution_validator", "components.validation", "components.transform"),
    *("components.trainer", "components.evaluator", "components.serving_check", "components.model_card", "components.pusher"),
    "pipeline.vertex_driver",  # By its name: as a process it is `__main__`.
)
"""What the steps run; of the rest of the graph, which the specification has in it, the image is not asked."""


def image_digest() -> str:
    """Returns a digest of the code that the steps run, and of the libraries behind it, as it is installed here."""
    return code_digest(*_STEPS)


def check_image(compiled: str) -> None:
    """Fails in an image of other code than the specification was compiled from: its results would bear a false digest.

    Args:
        compiled: the digest then.

    Raises:
        CloudError: see there.
    """
    if (here := image_digest()) != compiled:
        raise CloudError(
            f"The container has other code or other libraries (digest {here[:12]}) than the specification was compiled from "
            f"({compiled[:12]}). Build and push the image anew under a new tag, set cloud.image (and cloud.trainer_image) to "
            "it, and compile, submit or schedule again: docs/scale.md."
        )


def drive(
    executor_input: pipeline_spec_pb2.ExecutorInput, inputs: pipeline_spec_pb2.ComponentInputsSpec
) -> pipeline_spec_pb2.ExecutorOutput:
    """Returns the execution properties that ExampleGen's driver adds.

    Args:
        executor_input: what Vertex AI tells of the execution.
        inputs: the types of its parameters.

    Raises:
        DataError: the source does not hold the data set.
    """
    properties = kubeflow_v2_entrypoint_utils.parse_execution_properties(executor_input.inputs.parameter_values, {}, inputs)
    driven = Driver(None).run(data_types.ExecutionInfo(exec_properties=properties))
    output = pipeline_spec_pb2.ExecutorOutput()
    for name, value in driven.exec_properties.items():
        output.parameter_values[name].string_value = value.string_value
    return output


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line that Vertex AI fills in, and writes the output file that it names.

    Raises:
        CloudError: the image is not the one that the specification was compiled for.
        DataError: the source does not hold the data set.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    parser.add_argument("--code_digest", required=True)
    arguments = parser.parse_args(argv)
    check_image(arguments.code_digest)
    executor_input, inputs = pipeline_spec_pb2.ExecutorInput(), pipeline_spec_pb2.ComponentInputsSpec()
    json_format.Parse(arguments.json_serialized_invocation_args, executor_input, ignore_unknown_fields=True)
    json_format.Parse(arguments.json_serialized_inputs_spec_args, inputs, ignore_unknown_fields=True)
    path = executor_input.outputs.output_file
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json_format.MessageToJson(drive(executor_input, inputs), sort_keys=True))


if __name__ == "__main__":
    main()
