"""Vertex AI: the pipeline as a specification that it runs, once or by a schedule."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tfx.dsl.components.base import executor_spec as executor_specs
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

from components.datasets.files import is_remote
from components.datasets.spec import DatasetSpec
from components.errors import CloudError
from pipeline import beam_options, cloud, graph, targets, vertex_driver
from pipeline.datasets import find_spec
from pipeline.locations import locate, write_output
from pipeline.request import check_span
from pipeline_config import PipelineConfig

_WITH_DRIVER = "ExampleGen"
_INPUTS = "--json_serialized_inputs_spec_args"
"""Before an argument, after which TFX's compiler puts Beam's options, into the command of every step."""
_PACKAGE = "pipeline"
"""Where our artifact types can be imported by their names alone."""


def compile_to(config: PipelineConfig, root: str, data: str | None, output: str, beam: Sequence[str] = ()) -> None:
    """Writes the specification of a pipeline; needs no credentials and, where the description is at hand, no network.

    Args:
        config: the run.
        root: a folder in a bucket.
        data: the data folder in a bucket, or None for the official data.
        output: the file for the JSON.
        beam: other options of Beam's, each NAME=VALUE or a switch's NAME.

    Raises:
        VocsegError: settings are missing or cannot be, or the file cannot be written.
    """
    text = json.dumps(compile_job(config, root, data, beam), indent=1, sort_keys=True) + "\n"
    write_output(output, text.encode(), "--output")
    print(f"{output}: the pipeline for Vertex AI in {config.cloud.project}, {config.cloud.region}")


def compile_job(
    config: PipelineConfig, root: str, data: str | None, beam: Sequence[str] = (), scheduled: bool = False
) -> dict[str, Any]:
    """Returns a PipelineJob as JSON has it: the same for the same arguments and code, whatever the data holds.

    Args:
        config: the run.
        root: a folder in a bucket.
        data: the data folder in a bucket, or None for the official data.
        beam: other options of Beam's, each NAME=VALUE or a switch's NAME.
        scheduled: it is to run again and again.

    Raises:
        VocsegError: settings are missing or cannot be.
    """
    cloud.check_vertex(config, root, data, scheduled)
    check_span(data or "", config.data.span)
    added = beam_options.parse(beam)
    beam_options.refuse_secrets(added)
    locations = locate(config, root, data)
    target = targets.vertex(config, locations, added)
    pipeline = graph.create_pipeline(config, locations, _find_spec(config, locations.data), target)
    settings = KubeflowV2DagRunnerConfig(
        display_name=targets.display_name(locations.pipeline_name),
        default_image=config.cloud.image,
        use_pipeline_spec_2_1=True,
    )
    with _importable_types(pipeline):
        job = KubeflowV2DagRunner(settings).run(pipeline, write_out=False)
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    on_beam = {step.id for step in pipeline.components if isinstance(step.executor_spec, executor_specs.BeamExecutorSpec)}
    for name, executor in executors.items():
        if "container" in executor and name.removesuffix("_executor") not in on_beam:
            _remove_options(executor["container"])
    _add_driver(executors[f"{_WITH_DRIVER}_executor"]["container"])
    return job


def _remove_options(container: dict[str, Any]) -> None:
    """Takes Beam's options from a step that does not use Beam: its command counts for Vertex AI's cache."""
    arguments = container["args"]
    container["args"] = arguments[: arguments.index(_INPUTS) + 2]


def _find_spec(config: PipelineConfig, data: str) -> DatasetSpec:
    """Returns the data's description.

    Raises:
        CloudError: it lies in a bucket that cannot be read from here.
        DataError: there is none.
    """
    named = config.data.spec or ("" if data else config.data.official)
    try:
        return find_spec(named, data, config.data.span, print)
    except OSError as error:
        if not is_remote(named or data):
            raise
        raise CloudError(
            f"The data's description cannot be read from {named or data}: {error}\nGive it, and no bucket need be read: "
            "--spec FILE.toml (`vocseg data init` writes one), or a built-in data set's name."
        ) from error


@contextlib.contextmanager
def _importable_types(pipeline: tfx_pipeline.Pipeline) -> Iterator[None]:
    """Names our artifact types by where they can be imported: Vertex AI hands executors no more than a type's name.

    Elsewhere they keep their names, by which metadata stores know them.
    """
    kinds = {channel.type for step in pipeline.components for channel in step.outputs.values()}
    ours = {kind: kind.TYPE_NAME for kind in kinds if kind.__module__.startswith("components.")}
    try:
        for kind in ours:
            kind.TYPE_NAME = f"{_PACKAGE}.{kind.__name__}"
        yield
    finally:
        for kind, name in ours.items():
            kind.TYPE_NAME = name


def _add_driver(container: dict[str, Any]) -> None:
    """Lets a container compute the data's digest before the cache is asked, as TFX's own compiler does for its ExampleGens."""
    arguments = container["args"]
    given = arguments[arguments.index("--json_serialized_invocation_args") : arguments.index(_INPUTS) + 2]
    digest = ["--code_digest", vertex_driver.image_digest()]
    check = {"command": ["python", "-m", vertex_driver.__name__], "args": [*given, *digest]}
    container["lifecycle"] = {"preCacheCheck": check}
