"""Targets: what differs between the places where a pipeline runs. The graph is one and the same."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfx.components import Trainer
from tfx.orchestration.metadata import ConnectionConfigType

from components.errors import VocsegError
from pipeline import beam_options
from pipeline.dataflow_jobs import job_name
from pipeline.locations import Locations
from pipeline.runners import local_metadata
from pipeline_config import CloudConfig, PipelineConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A place where a pipeline runs.

    Attributes:
        beam_args: options of the steps that run on Beam.
        metadata: connection to ML Metadata; None where the runner has its own.
        trainer: TFX's Trainer, or one that trains on other machines.
        trainer_settings: what that one wants to know, in `custom_config`.
        stock_resolvers: the runner knows TFX's own resolver strategies only.
        name_of: how it spells a pipeline's name.
    """

    beam_args: tuple[str, ...] = ()
    metadata: ConnectionConfigType | None = None
    trainer: type[Trainer] = Trainer
    trainer_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stock_resolvers: bool = False
    name_of: Callable[[str], str] = str


PLAIN = Target()

LOCAL_BEAM_ARGS = (
    "--runner=DirectRunner",
    "--allow_unsafe_triggers",
    "--direct_running_mode=in_memory",
    "--sdk_container_image=unused",
)
"""DirectRunner tries another one first, Prism: fetches it from the network, and translates each job twice; but not where
triggers may be unsafe. Here are none, for nothing is streamed. In memory, since starting workers costs more than they bring
for data of VOC 2007's size.

The image is used by no runner of this machine. Without one, TFX packs itself up for the workers of others before each step on
Beam, which takes a second and leaves 50 MB in the folder of temporary files.
"""

_SETTINGS = {
    "project": "cloud.project",
    "region": "cloud.region",
    "worker_region": "cloud.region",
    "worker_zone": "cloud.region",
    "zone": "cloud.region",
    "staging_location": "--root",
    "temp_location": "--root",
    "sdk_container_image": "cloud.image",
    "machine_type": "cloud.beam_machine",
    "disk_size_gb": "cloud.beam_disk_gb",
    "max_num_workers": "cloud.beam_workers",
    "service_account_email": "cloud.service_account",
    "subnetwork": "cloud.network",
    "job_name": "",
}
"""What says an option of Dataflow: our own setting, which `--beam` cannot go past, or nothing that a user sets."""


def of_runner(
    runner: str, config: PipelineConfig, locations: Locations, run_name: str, beam_args: Sequence[str] = ()
) -> Target:
    """Returns the target of `vocseg run --runner`: this machine walks the graph, Beam's work is done where that says.

    Args:
        runner: one of `request.RUNNERS`.
        config: the run.
        locations: where things lie; the metadata store is on this machine.
        run_name: of the run.
        beam_args: what the user adds, from `beam_options.parse`.

    Raises:
        VocsegError: the added ones do not go with the runner.
    """
    if runner == "dataflow":
        return dataflow(config, locations, run_name, beam_args)
    return Target(metadata=local_metadata(locations), beam_args=_beam_args(runner, config.cloud, beam_args))


def check_beam_args(runner: str, config: PipelineConfig, beam_args: Sequence[str]) -> None:
    """Fails over added options that do not go with the runner, before there is a run.

    Raises:
        VocsegError: see there.
    """
    if runner == "dataflow":
        beam_options.refuse_secrets(beam_args)
        own = dataflow_args(config.cloud, "gs://bucket/root", "job")
        beam_options.check_dataflow(beam_options.merge(own, beam_args, _SETTINGS))
    else:
        _beam_args(runner, config.cloud, beam_args)


def _beam_args(runner: str, cloud: CloudConfig, added: Sequence[str]) -> tuple[str, ...]:
    if runner == "local":
        return beam_options.merge(LOCAL_BEAM_ARGS, added)
    if not any(text.startswith("--job_endpoint=") for text in added):
        raise VocsegError("--runner portable needs the address of a job server: --beam job_endpoint=HOST:PORT.")
    image = (f"--sdk_container_image={cloud.image}",) if cloud.image else ()
    return beam_options.merge(("--runner=PortableRunner", "--no_save_main_session", *image), added)


def dataflow(config: PipelineConfig, locations: Locations, run_name: str, beam_args: Sequence[str] = ()) -> Target:
    """Returns this machine as what walks the graph, and Dataflow for Beam's work.

    Args:
        config: the run, whose cloud settings `cloud.check` has found complete.
        locations: with a root in a bucket.
        run_name: of the run.
        beam_args: what the user adds, from `beam_options.parse`.

    Raises:
        VocsegError: an added option says what the configuration says.
    """
    return Target(metadata=local_metadata(locations), beam_args=dataflow_options(config, locations, run_name, beam_args))


def dataflow_options(
    config: PipelineConfig, locations: Locations, run_name: str, beam_args: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns all options of Dataflow for a run, in which a user's are; see `dataflow`."""
    own = dataflow_args(config.cloud, locations.root, job_name(locations.pipeline_name, run_name))
    return beam_options.merge(own, beam_args, _SETTINGS)


def dataflow_args(cloud: CloudConfig, root: str, job: str) -> tuple[str, ...]:
    """Returns the options of Dataflow for a job.

    Args:
        cloud: complete settings.
        root: gs://BUCKET/PATH, below which the job stages and keeps what it needs for a while.
        job: its name.
    """
    optional = {"service_account_email": cloud.service_account, "subnetwork": cloud.network}
    return (
        "--runner=DataflowRunner",
        f"--project={cloud.project}",
        f"--region={cloud.region}",
        f"--job_name={job}",
        f"--staging_location={root}/dataflow/staging",
        f"--temp_location={root}/dataflow/temp",
        f"--sdk_container_image={cloud.image}",
        "--sdk_location=container",  # The image has Beam, and ours; nothing is installed when a worker starts.
        "--no_save_main_session",  # Else Dataflow's default pickles the driver's __main__.
        "--experiments=use_runner_v2",
        f"--machine_type={cloud.beam_machine}",
        f"--disk_size_gb={cloud.beam_disk_gb}",
        "--autoscaling_algorithm=THROUGHPUT_BASED",
        f"--max_num_workers={cloud.beam_workers}",
        *(f"--{name}={value}" for name, value in optional.items() if value),
    )


def vertex(config: PipelineConfig, locations: Locations, beam_args: Sequence[str] = ()) -> Target:
    """Returns Vertex AI, with Beam's work on Dataflow and training in a job of its own.

    Args:
        config: the run, whose cloud settings `cloud.check_vertex` has found complete.
        locations: with a root in a bucket.
        beam_args: what the user adds, from `beam_options.parse`.

    Raises:
        VocsegError: an added option says what the configuration says.
    """
    from tfx.extensions.google_cloud_ai_platform import constants
    from tfx.extensions.google_cloud_ai_platform.trainer import component, executor

    cloud = config.cloud
    # Steps may run at the same time, and Dataflow takes a job's name only once: Beam is to make one for each.
    own = tuple(text for text in dataflow_args(cloud, locations.root, "") if not text.startswith("--job_name="))
    return Target(
        beam_args=beam_options.merge(own, beam_args, _SETTINGS),
        trainer=component.Trainer,
        trainer_settings={
            constants.ENABLE_VERTEX_KEY: True,
            constants.VERTEX_REGION_KEY: cloud.region,
            executor.TRAINING_ARGS_KEY: {"project": cloud.project, "job_spec": training_job(cloud)},
        },
        stock_resolvers=True,
        name_of=vertex_name,
    )


def vertex_name(pipeline_name: str) -> str:
    """Returns a pipeline's name in the letters that Vertex AI allows; six digits of a digest keep different names apart."""
    readable = re.sub(r"[^a-z0-9]+", "-", pipeline_name.lower()).strip("-")
    return f"{readable[:90]}-{hashlib.sha256(pipeline_name.encode()).hexdigest()[:6]}"


def display_name(name: str) -> str:
    """Returns a name for Vertex AI to show: at most 128 characters; a digest keeps longer ones apart."""
    return name if len(name) <= 128 else f"{name[:121]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def training_job(cloud: CloudConfig) -> dict[str, Any]:
    """Returns a Vertex AI CustomJobSpec: a pool with the chief, and one with the other hosts where there are such."""
    machine: dict[str, Any] = {"machine_type": cloud.trainer_machine}
    if cloud.accelerator:
        machine |= {"accelerator_type": cloud.accelerator, "accelerator_count": cloud.accelerator_count}
    replicas = [1, cloud.trainer_hosts - 1] if cloud.trainer_hosts > 1 else [1]
    pools = [
        {
            "machine_spec": machine,
            "replica_count": count,
            "container_spec": {"image_uri": cloud.trainer_image or cloud.image},
        }
        for count in replicas
    ]
    account = {"service_account": cloud.service_account} if cloud.service_account else {}
    return {"worker_pool_specs": pools, **account}
