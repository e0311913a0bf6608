"""What a run on Dataflow would submit, told without credentials, network or cost: `vocseg run --runner dataflow --dry-run`.

The steps' Beam graphs are recorded from a small run on this machine over the embedded data, since a step builds its graph from
what the step before it wrote, and the Evaluator's needs a model. Each graph is then translated by Beam's own Dataflow runner.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.dataflow.internal import apiclient
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import execution_result_pb2

from components.datasets import fake_voc, registry
from pipeline import beam_options, datasets, graph, runners, targets
from pipeline.locations import locate
from pipeline_config import ConfigError, PipelineConfig, preset

LAST_STEP = "Evaluator"
"""No later one uses Beam."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job of Dataflow.

    Attributes:
        step: the component that submits it.
        pipeline: its portable proto.
        description: the rest of the request, as Dataflow's JSON.
    """

    step: str
    pipeline: beam_runner_api_pb2.Pipeline
    description: dict[str, Any]

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the outermost transforms, in the order of the graph."""
        transforms = self.pipeline.components.transforms
        [root] = self.pipeline.root_transform_ids  # Beam's own, around the whole graph.
        return tuple(transforms[name].unique_name for name in transforms[root].subtransforms)

    @property
    def primitives(self) -> int:
        """How many transforms have no transforms inside."""
        return sum(1 for t in self.pipeline.components.transforms.values() if t.spec.urn and not t.subtransforms)

    @property
    def images(self) -> tuple[str, ...]:
        """The containers in which the transforms work, as the proto has them."""
        found = set()
        for environment in self.pipeline.components.environments.values():
            if environment.urn == common_urns.environments.DOCKER.urn:
                found.add(beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image)
        return tuple(sorted(found))

    @property
    def workers(self) -> dict[str, Any]:
        """The settings of the worker pool, as Dataflow's API names them."""
        [pool] = self.description["environment"]["workerPools"]
        return pool

    def to_dict(self) -> dict[str, Any]:
        """Returns what `--summary` writes."""
        pool = {key: self.workers.get(key) for key in ("machineType", "diskSizeGb", "autoscalingSettings", "subnetwork")}
        named = {"step": self.step, "job_name": self.description["name"], "stages": self.stages, "primitives": self.primitives}
        return named | {"images": self.images, "workers": pool}


def plan(beam_args: Sequence[str], config: PipelineConfig) -> list[Job]:
    """Returns the jobs of a run, in the order in which they would be submitted.

    Args:
        beam_args: options of Dataflow.
        config: of the run.

    Raises:
        CloudError: Beam finds them wrong.
    """
    beam_options.check_dataflow(beam_args)
    jobs: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="vocseg-dry-run-") as folder, contextlib.suppress(_EnoughError):
        _run_sample(folder, beam_args, sample_config(config), jobs)
    return jobs


def translate(step: str, pipeline: beam.Pipeline, beam_args: Sequence[str]) -> Job:
    """Returns what Dataflow would be asked for a graph, by Beam's own translation."""
    job = DataflowRunner().run_pipeline(pipeline, PipelineOptions([*beam_args, "--dry_run=True"])).job
    job.proto.environment = apiclient.Environment(
        packages=[],
        options=job.options,
        environment_version=apiclient._FNAPI_ENVIRONMENT_MAJOR_VERSION,
        proto_pipeline_staged_url=f"{job.google_cloud_options.staging_location}/pipeline.pb",
        proto_pipeline=job.proto_pipeline,
    ).proto
    return Job(step=step, pipeline=job.proto_pipeline, description=json.loads(job.json()))


class _EnoughError(Exception):
    """The last step that uses Beam has ended."""


class _Recorder(PipelineRunner):
    """Translates a graph for Dataflow, then runs it here, so that the next step has something to read."""

    def __init__(self, step: str, beam_args: Sequence[str], jobs: list[Job]) -> None:
        self._step, self._beam_args, self._jobs = step, beam_args, jobs

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        self._jobs.append(translate(self._step, pipeline, self._beam_args))
        return FnApiRunner().run_pipeline(pipeline, options)


def sample_config(config: PipelineConfig) -> PipelineConfig:
    """Returns a run's configuration for the embedded data, as far as it shapes graphs, with a small model and an epoch.

    Floors of classes that the embedded data does not have are left out.
    """
    mini = preset("mini")
    evaluate = config.evaluate
    try:
        evaluate.check_classes(registry.built_in(mini.data.official).classes)
    except ConfigError:
        evaluate = dataclasses.replace(evaluate, min_iou="")
    return dataclasses.replace(
        mini,
        data=dataclasses.replace(
            config.data, name="", spec="", span="newest", official=mini.data.official, embedded=mini.data.embedded
        ),
        transform=dataclasses.replace(mini.transform, resize_method=config.transform.resize_method),  # Sizes are in no graph.
        evaluate=evaluate,
        serving=config.serving,
        train=dataclasses.replace(mini.train, epochs=1),
    )


def _run_sample(folder: str, beam_args: Sequence[str], config: PipelineConfig, jobs: list[Job]) -> None:
    """Runs the pipeline over the embedded data as far as there are steps on Beam, with a training of one epoch."""

    class Operator(BeamExecutorOperator):
        def run_executor(self, execution_info: ExecutionInfo, *_: Any) -> execution_result_pb2.ExecutorOutput:
            step = execution_info.pipeline_node.node_info.id
            return super().run_executor(
                execution_info,
                lambda: beam.Pipeline(runner=_Recorder(step, beam_args, jobs), argv=list(targets.LOCAL_BEAM_ARGS)),
            )

    def on_end(step: runners.Step) -> None:
        if step.name == LAST_STEP and step.status != "failed":
            raise _EnoughError

    data = pathlib.Path(folder, "data")
    fake_voc.write_fake_voc(data)
    locations = locate(config, os.path.join(folder, "root"), None).with_data(str(data))
    spec = datasets.find_spec(config.data.official, locations.data, config.data.span, lambda text: None, locations.description)
    pipeline = graph.create_pipeline(config, locations, spec, targets.Target(metadata=runners.local_metadata(locations)))
    runners.run_local(pipeline, "dry-run", lambda *_: None, on_end, Operator)
