"""Targets: what differs between the places where a pipeline runs. The graph is one and the same."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tfx.components import Trainer
from tfx.orchestration.metadata import ConnectionConfigType

from pipeline.locations import Locations
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

LOCAL_BEAM_ARGS = ("--runner=DirectRunner", "--direct_running_mode=in_memory")
"""Named, since newer Beam would fetch a runner's binary; in memory, since starting workers costs more than they bring here."""


def vertex(config: PipelineConfig, locations: Locations) -> Target:
    """Returns Vertex AI, with Beam's work on Dataflow and training in a job of its own."""
    from tfx.extensions.google_cloud_ai_platform import constants
    from tfx.extensions.google_cloud_ai_platform.trainer import component, executor

    cloud = config.cloud
    return Target(
        beam_args=_dataflow_args(cloud, locations),
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


def _dataflow_args(cloud: CloudConfig, locations: Locations) -> tuple[str, ...]:
    """Returns Beam's options for Dataflow."""
    options = {
        "runner": "DataflowRunner",
        "project": cloud.project,
        "region": cloud.region,
        "temp_location": os.path.join(locations.root, "temp"),
        "staging_location": os.path.join(locations.root, "staging"),
        "sdk_container_image": cloud.image,
        "worker_machine_type": cloud.beam_machine,
        "max_num_workers": cloud.beam_workers,
        "disk_size_gb": cloud.beam_disk_gb,
        "service_account_email": cloud.service_account,
        "subnetwork": cloud.network,
    }
    return tuple(f"--{name}={value}" for name, value in options.items() if value)
