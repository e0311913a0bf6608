"""The graph's wiring, without running it, and which steps a change of the configuration concerns."""

import dataclasses
import importlib
import json
import pathlib
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.components import Trainer
from tfx.dsl.compiler import compiler
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

import pipeline_config
from components import evaluator, features, pusher, trainer, transform, validation
from components.baseline import BaselineStrategy, DataBaselineStrategy
from components.datasets import registry
from components.datasets.spec import from_json as spec_from_json
from components.example_gen import ExampleGen
from components.trainer import TrainerConfig
from components.warm_start import WarmStartStrategy
from pipeline.graph import create_pipeline, import_path
from pipeline.locations import Locations
from pipeline.targets import Target
from pipeline_config import ConfigError, TransformConfig, from_json, override, preset

LOCATIONS = Locations(root="/r", pipeline_name="mini.test", data="/data")
HEADS = ("softmax", "sigmoid")
SPEC = registry.built_in("voc2007")
STEPS = [
    "ExampleGen",
    "SchemaGen",
    "StatisticsGen",
    "DataBaseline",
    "ExampleValidator",
    "DistributionValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ModelCardGen",
    "ServingCheck",
    "Pusher",
]
BEAM_STEPS = ["ExampleGen", "StatisticsGen", "Transform", "Evaluator"]


@pytest.fixture(scope="module")
def pipeline() -> tfx_pipeline.Pipeline:
    return create_pipeline(
        preset("mini"), LOCATIONS, SPEC, Target(beam_args=("--runner=DirectRunner", "--direct_num_workers=3"))
    )


@pytest.fixture(scope="module")
def ir(pipeline: tfx_pipeline.Pipeline) -> pipeline_pb2.Pipeline:
    return compiler.Compiler().compile(pipeline)


def _nodes(pipeline: tfx_pipeline.Pipeline) -> dict[str, Any]:
    return {component.id: component for component in pipeline.components}


def _properties(pipeline: tfx_pipeline.Pipeline) -> dict[str, dict[str, str]]:
    """Returns the execution properties of each step, as text."""
    return {name: {key: str(value) for key, value in node.exec_properties.items()} for name, node in _nodes(pipeline).items()}


def _inputs(ir: pipeline_pb2.Pipeline, name: str) -> dict[str, list[str]]:
    """Returns the steps that feed each input of a step, with the name of their output."""
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == name]
    return {
        key: [f"{channel.producer_node_query.id}.{channel.output_key}" for channel in spec.channels]
        for key, spec in node.inputs.inputs.items()
    }


def _upstream(ir: pipeline_pb2.Pipeline, name: str) -> set[str]:
    """Returns all steps that must have run before a step."""
    direct = {node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes) for node in ir.nodes}
    found: set[str] = set()
    todo = [name]
    while todo:
        for step in direct[todo.pop()] - found:
            found.add(step)
            todo.append(step)
    return found


# Wiring.


def test_steps_come_in_the_order_of_the_data_flow(pipeline: tfx_pipeline.Pipeline, ir: pipeline_pb2.Pipeline) -> None:
    assert [component.id for component in pipeline.components] == STEPS
    assert [node.pipeline_node.node_info.id for node in ir.nodes] == STEPS


def test_each_step_reads_what_it_should(ir: pipeline_pb2.Pipeline) -> None:
    assert {name: _inputs(ir, name) for name in STEPS if name not in ("Baseline", "DataBaseline", "Evaluator")} == {
        "ExampleGen": {},
        "SchemaGen": {},
        "StatisticsGen": {"examples": ["ExampleGen.examples"], "schema": ["SchemaGen.schema"]},
        "ExampleValidator": {"statistics": ["StatisticsGen.statistics"], "schema": ["SchemaGen.schema"]},
        "DistributionValidator": {
            "statistics": ["StatisticsGen.statistics"],
            "baseline_statistics": [".statistics"],  # Of DataBaseline; TFX finds an optional channel by its context alone.
        },
        "DataGate": {
            "statistics": ["StatisticsGen.statistics"],
            "baseline_statistics": ["DataBaseline.statistics"],
            "anomalies": ["ExampleValidator.anomalies"],
            "drift": ["DistributionValidator.anomalies"],
        },
        "Transform": {"examples": ["ExampleGen.examples"], "schema": ["SchemaGen.schema"]},
        "Trainer": {"examples": ["Transform.transformed_examples"]},
        "ServingCheck": {
            "model": ["Trainer.model"],
            "model_blessing": ["Evaluator.blessing"],
            "evaluation": ["Evaluator.evaluation"],
            "examples": ["ExampleGen.examples"],
        },
        "ModelCardGen": {
            "model": ["Trainer.model"],
            "evaluation": ["Evaluator.evaluation"],
            "examples": ["ExampleGen.examples"],
            "data_report": ["ExampleGen.report"],
        },
        "Pusher": {
            "model": ["Trainer.model"],
            "model_blessing": ["Evaluator.blessing"],
            "evaluation": ["Evaluator.evaluation"],
            "examples": ["ExampleGen.examples"],
            "infra_blessing": ["ServingCheck.blessing"],
            "card": ["ModelCardGen.card"],
        },
    }


def test_evaluator_compares_the_trained_model_with_the_baseline_on_raw_examples(ir: pipeline_pb2.Pipeline) -> None:
    inputs = _inputs(ir, "Evaluator")
    assert inputs["examples"] == ["ExampleGen.examples"]
    assert inputs["model"] == ["Trainer.model"]
    assert inputs["baseline_model"] == ["Baseline.model"]
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == "Evaluator"]
    assert node.inputs.inputs["baseline_model"].min_count == 0  # The first run has none.


def test_baseline_is_looked_for_by_our_rule_among_all_models_of_this_pipeline(ir: pipeline_pb2.Pipeline) -> None:
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == "Baseline"]
    [resolution] = node.inputs.input_graphs.values()
    operations = [n.op_node.op_type for n in resolution.nodes.values() if n.WhichOneof("kind") == "op_node"]
    assert operations == [import_path(BaselineStrategy)]
    [settings] = [n.op_node.kwargs for n in resolution.nodes.values() if n.WhichOneof("kind") == "op_node"]
    assert {key: kwarg.value.field_value.string_value for key, kwarg in settings.items()} == {"models": "/r/models/mini.test"}
    [arguments] = [n.dict_node.node_ids for n in resolution.nodes.values() if n.WhichOneof("kind") == "dict_node"]
    assert set(arguments) == {"candidate", "model", "model_blessing", "infra_blessing"}

    def channel(key: str) -> pipeline_pb2.InputSpec.Channel:
        [found] = node.inputs.inputs[resolution.nodes[arguments[key]].input_node.input_key].channels
        return found

    assert (channel("candidate").producer_node_query.id, channel("candidate").output_key) == ("Trainer", "model")
    for key, kind in (("model", "Model"), ("model_blessing", "ModelBlessing"), ("infra_blessing", "InfraBlessing")):
        assert channel(key).artifact_query.type.name == kind
        assert not channel(key).producer_node_query.id
        contexts = [(query.type.name, query.name.field_value.string_value) for query in channel(key).context_queries]
        assert contexts == [("pipeline", "mini.test")]  # Of any run, but of no other pipeline.


def test_baseline_is_looked_for_when_the_candidate_is_known(ir: pipeline_pb2.Pipeline) -> None:
    assert "Trainer" in _upstream(ir, "Baseline")
    assert "Baseline" in _upstream(ir, "Evaluator")


@pytest.mark.parametrize("step", ["DistributionValidator", "DataGate"])
def test_first_data_needs_no_baseline(ir: pipeline_pb2.Pipeline, step: str) -> None:
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == step]
    assert node.inputs.inputs["baseline_statistics"].min_count == 0
    assert node.inputs.inputs["statistics"].min_count == 1
    assert "DataBaseline" in _upstream(ir, step)


def test_data_baseline_is_looked_for_by_our_rule_among_all_data_of_this_pipeline(ir: pipeline_pb2.Pipeline) -> None:
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == "DataBaseline"]
    [resolution] = node.inputs.input_graphs.values()
    operations = [n.op_node.op_type for n in resolution.nodes.values() if n.WhichOneof("kind") == "op_node"]
    assert operations == [import_path(DataBaselineStrategy)]
    [arguments] = [n.dict_node.node_ids for n in resolution.nodes.values() if n.WhichOneof("kind") == "dict_node"]
    queries = {}
    for key, node_id in arguments.items():
        [channel] = node.inputs.inputs[resolution.nodes[node_id].input_node.input_key].channels
        contexts = [query.name.field_value.string_value for query in channel.context_queries if query.type.name == "pipeline"]
        queries[key] = (channel.artifact_query.type.name, channel.producer_node_query.id, contexts)
    assert queries == {
        "candidate": ("ExampleStatistics", "StatisticsGen", ["mini.test"]),
        "statistics": ("ExampleStatistics", "", ["mini.test"]),
        "data_blessing": ("DataBlessing", "", ["mini.test"]),
    }


@pytest.mark.parametrize("step", ["Transform", "Trainer", "Evaluator", "Pusher"])
def test_no_step_works_on_data_that_the_gate_has_not_passed(ir: pipeline_pb2.Pipeline, step: str) -> None:
    assert "DataGate" in _upstream(ir, step)


def test_nothing_is_pushed_before_the_verdict_and_the_trial(ir: pipeline_pb2.Pipeline) -> None:
    assert {"Evaluator", "ServingCheck"} <= _upstream(ir, "Pusher")


def test_components_are_ours_where_they_must_be(pipeline: tfx_pipeline.Pipeline) -> None:
    nodes = _nodes(pipeline)
    assert isinstance(nodes["ExampleGen"], ExampleGen)
    assert isinstance(nodes["Transform"], transform.Transform)
    assert isinstance(nodes["Evaluator"], evaluator.Evaluator)
    assert isinstance(nodes["Trainer"], Trainer)
    assert isinstance(nodes["DataGate"], validation.DataGate)
    assert isinstance(nodes["Pusher"], pusher.Pusher)


# Settings.


def test_example_gen_reads_the_data_folder_and_works_below_the_root(pipeline: tfx_pipeline.Pipeline) -> None:
    properties = _nodes(pipeline)["ExampleGen"].exec_properties
    assert spec_from_json(properties["spec"]) == SPEC
    assert properties["span"] == "newest"
    assert properties["source"] == "/data"
    assert properties["work_dir"] == "/r/data"
    assert properties["max_quarantined_fraction"] == 0.0


def test_places_come_from_the_locations(pipeline: tfx_pipeline.Pipeline) -> None:
    assert pipeline.pipeline_info.pipeline_name == "mini.test"
    assert pipeline.pipeline_info.pipeline_root == "/r/artifacts/mini.test"
    assert _nodes(pipeline)["Pusher"].exec_properties["destination"] == "/r/models/mini.test"


def test_cache_and_metadata_are_as_given() -> None:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = "/r/metadata.sqlite"
    made = create_pipeline(preset("mini"), LOCATIONS, SPEC, Target(metadata=connection))
    assert made.enable_cache
    assert made.metadata_connection_config == connection
    assert create_pipeline(preset("mini"), LOCATIONS, SPEC).metadata_connection_config is None


def test_schema_is_the_builders(pipeline: tfx_pipeline.Pipeline) -> None:
    assert _nodes(pipeline)["SchemaGen"].exec_properties["schema_text"] == registry.schema_text("voc2007_semantic", SPEC)


def test_transform_learns_from_train_and_leaves_the_test_split_alone(pipeline: tfx_pipeline.Pipeline) -> None:
    properties = _nodes(pipeline)["Transform"].exec_properties
    assert json.loads(properties["splits_config"]) == {"analyze": ["train"], "transform": ["train", "eval"]}


def test_trainer_trains_on_train_and_chooses_by_eval(pipeline: tfx_pipeline.Pipeline) -> None:
    properties = _nodes(pipeline)["Trainer"].exec_properties
    assert json.loads(properties["train_args"]) == {"splits": [features.TRAIN_SPLIT]}
    assert json.loads(properties["eval_args"]) == {"splits": [features.EVAL_SPLIT]}


def test_configuration_travels_as_json_under_one_key(pipeline: tfx_pipeline.Pipeline) -> None:
    config = preset("mini")
    of_transform = json.loads(_nodes(pipeline)["Transform"].exec_properties["custom_config"])
    assert set(of_transform) == {"transform", "code_digest"}
    assert from_json(TransformConfig, of_transform["transform"]) == config.transform
    of_trainer = json.loads(_nodes(pipeline)["Trainer"].exec_properties["custom_config"])
    assert set(of_trainer) == {"trainer", "code_digest", "encoder_weights", "state_dir"}
    assert from_json(TrainerConfig, of_trainer["trainer"]) == TrainerConfig(
        transform=config.transform,
        augment=config.augment,
        model=config.model,
        train=config.train,
        serving=config.serving,
        class_names=features.VOC_CLASSES,
        palette=features.voc_palette(21),
    )


def test_functions_that_tfx_finds_by_their_path_can_be_found(pipeline: tfx_pipeline.Pipeline) -> None:
    nodes = _nodes(pipeline)
    paths = {
        nodes["Transform"].exec_properties["preprocessing_fn"]: transform.preprocessing_fn,
        nodes["Trainer"].exec_properties["run_fn"]: trainer.run_fn,
    }
    assert list(paths) == ["components.transform.preprocessing_fn", "components.trainer.run_fn"]
    for path, function in paths.items():
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name) is function
    for name in ("Transform", "Trainer"):
        assert not nodes[name].exec_properties.get("module_file")


def test_import_path_of_a_function() -> None:
    assert import_path(pathlib.PurePath.with_name) == "pathlib.PurePath.with_name"


def test_head_concerns_the_trainer() -> None:
    two = dataclasses.replace(SPEC, classes=("a", "b"), colors=())
    softmax, sigmoid = (create_pipeline(override(preset("mini"), {"model.head": head}), LOCATIONS, two) for head in HEADS)
    assert _concerned(softmax, sigmoid) == {"Trainer"}


def test_own_description_concerns_all_that_depends_on_classes(pipeline: tfx_pipeline.Pipeline) -> None:
    changed = dataclasses.replace(SPEC, classes=("a", "b", "c"), colors=())
    concerned = _concerned(pipeline, create_pipeline(preset("mini"), LOCATIONS, changed))
    assert concerned == {"ExampleGen", "SchemaGen", "Trainer", "Evaluator"}


def test_policy_on_leaks_concerns_the_examples_only(pipeline: tfx_pipeline.Pipeline) -> None:
    changed = dataclasses.replace(SPEC, leaks="drop_from_train")
    assert _concerned(pipeline, create_pipeline(preset("mini"), LOCATIONS, changed)) == {"ExampleGen"}


# Compiled.


def _executor_specs(ir: pipeline_pb2.Pipeline) -> dict[str, Any]:
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    ir.deployment_config.Unpack(deployment)
    return dict(deployment.executor_specs)


@pytest.mark.parametrize("step", BEAM_STEPS)
def test_beam_arguments_reach_each_step_that_runs_on_beam(ir: pipeline_pb2.Pipeline, step: str) -> None:
    spec = executable_spec_pb2.BeamExecutableSpec()
    assert _executor_specs(ir)[step].Unpack(spec)
    arguments = [placeholder.value.string_value for placeholder in spec.beam_pipeline_args_placeholders]
    assert (list(spec.beam_pipeline_args) or arguments) == ["--runner=DirectRunner", "--direct_num_workers=3"]


def test_executors_can_be_imported_on_any_worker(ir: pipeline_pb2.Pipeline) -> None:
    specs = _executor_specs(ir)
    assert set(specs) == set(STEPS) - {"Baseline", "DataBaseline"}
    for packed in specs.values():
        beam, python = executable_spec_pb2.BeamExecutableSpec(), executable_spec_pb2.PythonClassExecutableSpec()
        path = beam.python_executor_spec.class_path if packed.Unpack(beam) else ""
        path = path or (python.class_path if packed.Unpack(python) else "")
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_each_preset_compiles(name: str) -> None:
    made = create_pipeline(preset(name), LOCATIONS, SPEC)
    assert len(compiler.Compiler().compile(made).nodes) == len(STEPS)


# What a change concerns.


def test_warm_start_is_looked_for_by_our_rule_and_concerns_the_trainer(pipeline: tfx_pipeline.Pipeline) -> None:
    warm = create_pipeline(override(preset("mini"), {"train.warm_start": "true"}), LOCATIONS, SPEC)
    made = compiler.Compiler().compile(warm)
    at = STEPS.index("Trainer")
    assert [node.pipeline_node.node_info.id for node in made.nodes] == [*STEPS[:at], "WarmStart", *STEPS[at:]]
    assert _inputs(made, "Trainer") == {"examples": ["Transform.transformed_examples"], "base_model": ["WarmStart.model"]}
    [node] = [n.pipeline_node for n in made.nodes if n.pipeline_node.node_info.id == "Trainer"]
    assert node.inputs.inputs["base_model"].min_count == 0  # The first run has none.
    operation, settings = _resolution(made, "WarmStart")
    assert operation == import_path(WarmStartStrategy)
    assert settings["custom_config"] == _nodes(warm)["Trainer"].exec_properties["custom_config"]
    assert (settings["node"], settings["models"]) == ("mini.test.Trainer", "/r/models/mini.test")
    cold, hot = _properties(pipeline), _properties(warm)
    assert {name for name in cold if cold[name] != hot[name]} == {"Trainer"}


def test_warm_start_is_a_stock_strategy_where_the_runner_knows_no_other() -> None:
    config = override(preset("mini"), {"train.warm_start": "true"})
    made = compiler.Compiler().compile(create_pipeline(config, LOCATIONS, SPEC, Target(stock_resolvers=True)))
    assert _resolution(made, "WarmStart")[0] == import_path(LatestBlessedModelStrategy)
    assert _inputs(made, "Trainer")["base_model"] == ["WarmStart.model"]


def _resolution(ir: pipeline_pb2.Pipeline, name: str) -> tuple[str, dict[str, str]]:
    """Returns a resolver's strategy and its settings."""
    [node] = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == name]
    [graph] = node.inputs.input_graphs.values()
    [operation] = [n.op_node for n in graph.nodes.values() if n.WhichOneof("kind") == "op_node"]
    return operation.op_type, {key: kwarg.value.field_value.string_value for key, kwarg in operation.kwargs.items()}


def _concerned(before: tfx_pipeline.Pipeline, after: tfx_pipeline.Pipeline) -> set[str]:
    one, two = _properties(before), _properties(after)
    assert set(one) == set(two)
    return {name for name in one if one[name] != two[name]}


def test_same_configuration_concerns_no_step() -> None:
    assert (
        _concerned(create_pipeline(preset("mini"), LOCATIONS, SPEC), create_pipeline(preset("mini"), LOCATIONS, SPEC)) == set()
    )


CONCERNS = {
    "data.name": set(),
    "data.embedded": set(),
    "data.spec": set(),  # What it names is a description: see above.
    "data.official": set(),
    "data.span": {"ExampleGen"},
    "data.max_quarantined_fraction": {"ExampleGen"},
    "data.max_drift": {"DistributionValidator"},
    "transform.height_px": {"Transform", "Trainer"},
    "transform.width_px": {"Transform", "Trainer"},
    "transform.resize_method": {"Transform", "Trainer"},
    "evaluate.min_mean_iou": {"Evaluator"},
    "evaluate.max_mean_iou_drop": {"Evaluator"},
    "evaluate.beat_constant": {"Evaluator"},
    "evaluate.min_iou": {"Evaluator"},
    "evaluate.max_iou_drop": {"Evaluator"},
    "serving.max_megapixels": {"Trainer", "ServingCheck"},
    "model.name": {"Trainer", "ModelCardGen", "Pusher"},  # Each has a module of its own; card and record name its digest.
    "check.max_seconds": {"ServingCheck"},
    "check.max_memory_gib": {"ServingCheck"},
    "card.owner": {"ModelCardGen"},
    "card.intended_use": {"ModelCardGen"},
    "card.limits": {"ModelCardGen"},
    "card.licence": {"ModelCardGen"},
    "card.data_licence": {"ModelCardGen"},
}
"""The steps that a field's change concerns; of the fields that do not stand here: the Trainer alone."""

FIELDS = [
    name
    for name in pipeline_config.fields(preset("mini"))
    if "." in name and name not in ("model.head", "train.warm_start")  # See above.
]

VALUES = {
    "data.name": "june",
    "data.embedded": "false",
    "data.spec": "voc2007",
    "data.official": "voc2012",
    "data.span": "last:2",
    "transform.resize_method": "area",
    "model.name": "unet_strided",
    "model.normalization": "group",
    "model.upsampling": "unpool",
    "model.activation": "gelu",
    "model.kernel_initializer": "glorot_uniform",
    "model.depth": "2",
    "augment.crop_height_px": "32",
    "augment.crop_width_px": "32",
    "augment.flip": "true",
    "augment.min_scale": "0.5",
    "augment.max_scale": "2",
    "train.loss": "dice",
    "train.class_weights": "median_frequency",
    "train.optimizer": "sgd",
    "train.schedule": "poly",
    "train.balance_classes": "true",
    "model.encoder": "resnet50",
    "model.encoder_weights": "none",
    "model.frozen_batch_norm": "false",
    "evaluate.beat_constant": "false",
    "evaluate.min_iou": "dog=0.3",
    "cloud.project": "pictures-1",
    "cloud.region": "europe-west4",
    "cloud.image": "gcr.io/pictures-1/vocseg",
    "cloud.trainer_image": "gcr.io/pictures-1/vocseg-gpu",
    "cloud.service_account": "trainer@pictures-1.iam.gserviceaccount.com",
    "cloud.network": "regions/europe-west4/subnetworks/workers",
    "cloud.beam_machine": "e2-highmem-8",
    "cloud.trainer_machine": "g2-standard-24",
    "cloud.accelerator": "NVIDIA_L4",
}


def _concerned_by(field: str) -> set[str]:
    return set() if field.startswith("cloud.") else CONCERNS.get(field, {"Trainer"})


@pytest.mark.parametrize("field", FIELDS)
def test_change_of_a_field_concerns_only_its_steps(pipeline: tfx_pipeline.Pipeline, field: str) -> None:
    value = pipeline_config.fields(preset("mini"))[field]
    if field.startswith("card."):
        text = "words"
    elif field in VALUES:
        text = VALUES[field]
    else:
        text = str(2 * value or 1) if isinstance(value, int) else str(0.75 * value + 0.001)
    with_it = {
        "train.weight_decay": {"train.optimizer": "adamw"},
        "cloud.accelerator": {"cloud.accelerator_count": "1"},
        "cloud.accelerator_count": {"cloud.accelerator": "NVIDIA_L4"},
    }.get(field, {})
    changed = override(preset("mini"), {field: text} | with_it)
    assert changed != preset("mini")
    assert _concerned(pipeline, create_pipeline(changed, LOCATIONS, SPEC)) == _concerned_by(field)


CODE = {
    "components.datasets.layout": {"ExampleGen", "ModelCardGen"},
    "components.datasets.mask_reader": {"ExampleGen", "ModelCardGen"},
    "components.datasets.voc2007.builder": {"ExampleGen"},
    "components.datasets.voc2012.builder": set(),
    "components.datasets.examples": {"ExampleGen", "ModelCardGen"},
    "components.datasets.guess": set(),
    "components.validation": {"DataGate"},
    "components.drift": {"DataGate"},
    "components.blessings": {"DataGate", "Evaluator", "ServingCheck", "Pusher"},
    "components.baseline": set(),
    "components.warm_start": set(),
    "components.base_model": {"Trainer", "ModelCardGen", "Pusher"},
    "components.schema_gen": {"SchemaGen"},
    "components.transform": {"Transform"},
    "components.preprocessing": {"ExampleGen", "Transform", "Trainer", "ModelCardGen", "ServingCheck", "Pusher"},
    "components.models.unet": {"Trainer", "ModelCardGen", "Pusher"},
    "components.models.unet_strided": set(),
    "components.models.unet_pretrained": set(),
    "components.models.encoders.efficientnet_lite": set(),
    "components.losses": {"Trainer", "ModelCardGen", "Pusher"},
    "components.hosts": {"Trainer", "ModelCardGen", "Pusher"},
    "components.serving": {"Trainer", "ModelCardGen", "Pusher"},
    "components.iou": {"Trainer", "Evaluator", "ModelCardGen", "ServingCheck", "Pusher"},
    "components.iou_tfma": {"Evaluator"},
    "components.iou_tensorflow": {"Trainer", "ModelCardGen", "Pusher"},
    "components.pusher": {"Pusher"},
    "components.versions": {"Pusher"},
    "components.version_records": {"Pusher"},
    "components.remote_versions": {"Pusher"},
    "components.stores": {"ServingCheck", "Pusher"},
    "components.card_files": {"ModelCardGen", "Pusher"},
    "components.model_card": {"ModelCardGen"},
    "components.model_card_page": {"ModelCardGen"},
    "components.licences": {"ModelCardGen"},
    "components.evaluation": {"Evaluator", "ModelCardGen", "ServingCheck", "Pusher"},
    "components.gate": {"Evaluator"},
    "components.extractors": {"Evaluator"},
    "components.boundary": {"Evaluator"},
    "components.slices": {"Evaluator"},
    "components.serving_check": {"ServingCheck"},
    "components.serving_client": {"ServingCheck"},
    "components.check_pictures": {"ServingCheck"},
    "components.fresh_process": {"ServingCheck"},
    "components.datasets.fake_voc": set(),
    "components.prediction": set(),
    "components.regions": set(),
    "components.tiles": set(),
    "components.views": set(),
}
"""The steps that a change in a module's code concerns; card and record of a version name the digest of the Trainer's."""


@pytest.mark.parametrize("module", CODE)
def test_change_of_code_concerns_only_the_steps_that_run_it(
    pipeline: tfx_pipeline.Pipeline, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    changed = pathlib.Path(importlib.import_module(module).__file__ or "").resolve()
    read = pathlib.Path.read_bytes
    added = {changed: b"\nADDED = 1\n"}
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda path: read(path) + added.get(path.resolve(), b""))
    assert _concerned(pipeline, create_pipeline(preset("mini"), LOCATIONS, SPEC)) == CODE[module]


def test_other_content_of_a_file_of_weights_concerns_the_trainer(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "encoder.h5"
    config = override(preset("mini"), {"model.name": "deeplabv3plus", "model.encoder_weights": str(path)})
    with pytest.raises(ConfigError, match="model.encoder_weights is no file"):
        create_pipeline(config, LOCATIONS, SPEC)
    path.write_bytes(b"one")
    before = create_pipeline(config, LOCATIONS, SPEC)
    path.write_bytes(b"two")
    assert _concerned(before, create_pipeline(config, LOCATIONS, SPEC)) == {"Trainer"}


def test_other_place_of_outputs_concerns_where_things_are_written_only(pipeline: tfx_pipeline.Pipeline) -> None:
    other = Locations(root="/other", pipeline_name="mini.test", data="/data")
    assert _concerned(pipeline, create_pipeline(preset("mini"), other, SPEC)) == {
        "ExampleGen",
        "Trainer",
        "Baseline",
        "Pusher",
    }


@pytest.mark.parametrize(
    ("field", "name"),
    [("activation", "rellu"), ("activation", "stft"), ("kernel_initializer", "he"), ("kernel_initializer", "constant_")],
)
def test_setting_that_keras_does_not_know_is_refused_before_any_step(field: str, name: str) -> None:
    config = override(preset("mini"), {f"model.{field}": name})
    with pytest.raises(ConfigError, match=f"model.{field}"):
        create_pipeline(config, LOCATIONS, SPEC)
