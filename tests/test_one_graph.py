"""One graph for every place: what differs between them, and nothing else."""

import dataclasses
import functools
import json
from typing import Any

import pytest
from tfx.components import Trainer
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.extensions.google_cloud_ai_platform.trainer import executor
from tfx.orchestration import pipeline as tfx_pipeline

from components.baseline import BaselineStrategy, DataBaselineStrategy
from components.datasets import registry
from pipeline import targets
from pipeline.graph import create_pipeline
from pipeline.locations import Locations
from pipeline_config import CloudConfig, override, preset

LOCATIONS = Locations(root="gs://bucket/path", pipeline_name="mini.voc2007", data="gs://bucket/data")
CONFIG = override(
    preset("mini"),
    {"cloud.project": "my-project", "cloud.region": "us-central1", "cloud.image": "images/vocseg:1"},
)
RESOLVERS = ("Baseline", "DataBaseline")
LOCAL = targets.Target(beam_args=targets.LOCAL_BEAM_ARGS)
ELSEWHERE = targets.Target(beam_args=("--runner=DataflowRunner", "--project=my-project"))
VERTEX = targets.vertex(CONFIG, LOCATIONS)


TARGETS = {"local": LOCAL, "dataflow": ELSEWHERE, "vertex": VERTEX}


@functools.cache
def _make(name: str) -> tfx_pipeline.Pipeline:
    return create_pipeline(CONFIG, LOCATIONS, registry.built_in("voc2007"), TARGETS[name])


def _wiring(pipeline: tfx_pipeline.Pipeline) -> dict[str, Any]:
    """Returns each component's inputs and outputs; a resolver finds its inputs by other ways."""
    return {
        step.id: (
            {} if step.id in RESOLVERS else {key: (c.producer_component_id, c.output_key) for key, c in step.inputs.items()},
            {key: c.type for key, c in step.outputs.items() if step.id not in RESOLVERS},
            {node.id for node in step.upstream_nodes if step.id not in RESOLVERS},
        )
        for step in pipeline.components
    }


def _properties(pipeline: tfx_pipeline.Pipeline) -> dict[str, dict[str, Any]]:
    return {step.id: dict(step.exec_properties) for step in pipeline.components}


@pytest.mark.parametrize("target", ["dataflow", "vertex"])
def test_components_and_their_wiring_are_the_same_everywhere(target: str) -> None:
    assert _wiring(_make(target)) == _wiring(_make("local"))


def test_where_beam_works_concerns_no_execution_property() -> None:
    assert _properties(_make("dataflow")) == _properties(_make("local"))


def test_on_vertex_only_resolvers_and_the_trainers_place_differ() -> None:
    local, vertex = _properties(_make("local")), _properties(_make("vertex"))
    assert {name for name in local if local[name] != vertex[name]} == {"Trainer", *RESOLVERS}
    here, there = (json.loads(properties["Trainer"].pop("custom_config")) for properties in (local, vertex))
    assert local["Trainer"] == vertex["Trainer"]
    assert {key: there[key] for key in here} == here
    assert there.keys() - here.keys() == {
        "ai_platform_enable_vertex",
        "ai_platform_vertex_region",
        "ai_platform_training_args",
    }


def test_only_the_trainers_executor_differs() -> None:
    local, vertex = ({step.id: step for step in _make(target).components} for target in ("local", "vertex"))
    executors = {
        name: [one[name].executor_spec.executor_class for one in (local, vertex)] for name in local if name not in RESOLVERS
    }
    assert {name for name, (here, there) in executors.items() if here != there} == {"Trainer"}
    assert executors["Trainer"][1] == executor.GenericExecutor
    assert type(local["Trainer"]) is Trainer


@pytest.mark.parametrize(
    ("target", "strategies"),
    [
        ("local", [BaselineStrategy, DataBaselineStrategy]),
        ("dataflow", [BaselineStrategy, DataBaselineStrategy]),
        ("vertex", [LatestBlessedModelStrategy, LatestArtifactStrategy]),
    ],
)
def test_vertex_gets_the_resolvers_that_it_knows(target: str, strategies: list[type]) -> None:
    steps = {step.id: step for step in _make(target).components}
    assert [steps[name].exec_properties["resolver_class"] for name in RESOLVERS] == strategies


def test_only_example_gen_has_a_driver_of_its_own() -> None:
    """Vertex runs no other driver than the one that the compiled specification gives ExampleGen."""
    drivers = {step.id for step in _make("local").components if step.driver_class is not Trainer.DRIVER_CLASS}
    assert drivers - {*RESOLVERS} == {"ExampleGen"}


def test_beam_works_as_the_target_says() -> None:
    for name, target in TARGETS.items():
        assert tuple(_make(name).beam_pipeline_args) == target.beam_args
    assert "--runner=DataflowRunner" in VERTEX.beam_args


def test_names_that_vertex_allows_stay_apart() -> None:
    names = ["mini.voc_1", "mini.voc-1", "Mini.voc_1", "mini.voc.1", "m" * 300, "m" * 301]
    spelt = [targets.vertex_name(name) for name in names]
    assert spelt[0] == "mini-voc-1-be93da"
    assert len(set(spelt)) == len(names)
    assert max(map(len, spelt)) == 97  # A job's name adds 15 characters; 128 are allowed.


CLOUD = CloudConfig(project="my-project", region="us-central1", image="images/vocseg:1", trainer_machine="n1-highmem-8")


def test_a_host_without_gpu() -> None:
    assert targets.training_job(CLOUD) == {
        "worker_pool_specs": [
            {
                "machine_spec": {"machine_type": "n1-highmem-8"},
                "replica_count": 1,
                "container_spec": {"image_uri": "images/vocseg:1"},
            }
        ]
    }


def test_hosts_with_gpus_an_image_and_an_account_of_their_own() -> None:
    account = "trainer@my-project.iam.gserviceaccount.com"
    cloud = dataclasses.replace(
        CLOUD,
        trainer_image="images/cuda:1",
        trainer_hosts=3,
        accelerator="NVIDIA_TESLA_T4",
        accelerator_count=2,
        service_account=account,
    )
    machine = {"machine_type": "n1-highmem-8", "accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 2}
    container = {"image_uri": "images/cuda:1"}
    assert targets.training_job(cloud) == {
        "worker_pool_specs": [
            {"machine_spec": machine, "replica_count": 1, "container_spec": container},  # The chief.
            {"machine_spec": machine, "replica_count": 2, "container_spec": container},
        ],
        "service_account": account,
    }
