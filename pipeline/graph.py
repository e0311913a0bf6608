"""The pipeline: wiring only, the same for every runner."""

from collections.abc import Callable, Mapping
from typing import Any

from tfx.components import ExampleValidator, StatisticsGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import BaseChannel, Channel, standard_artifacts
from tfx.utils import json_utils

from components import trainer as trainer_module
from components import transform as transform_module
from components.baseline import BaselineStrategy, DataBaselineStrategy
from components.code_digest import code_digest
from components.datasets import registry as datasets
from components.datasets.spec import DatasetSpec
from components.distribution_validator import DistributionValidator
from components.drift import make_drift_config
from components.evaluator import Evaluator, EvaluatorConfig
from components.example_gen import ExampleGen
from components.features import EVAL_SPLIT, TRAIN_SPLIT
from components.model_card import ModelCardGen
from components.models import names
from components.models import registry as models
from components.models.encoders import weights
from components.pusher import Pusher
from components.schema_gen import SchemaGen
from components.serving_check import ServingCheck
from components.trainer import TrainerConfig
from components.transform import Transform
from components.validation import DataBlessing, DataGate
from components.warm_start import WarmStartStrategy
from pipeline.locations import Locations
from pipeline.targets import PLAIN, Target
from pipeline_config import PipelineConfig, to_json


def import_path(function: Callable[..., Any]) -> str:
    """Returns the dotted path by which TFX finds a function on any worker."""
    return f"{function.__module__}.{function.__qualname__}"


def create_pipeline(
    config: PipelineConfig,
    locations: Locations,
    spec: DatasetSpec,
    target: Target = PLAIN,
) -> tfx_pipeline.Pipeline:
    """Joins the components.

    Each step gets a digest of its code and the values of its configuration as execution properties, so that TFX's cache reruns
    exactly the steps that a change concerns.

    Args:
        config: the run.
        locations: where data comes from and outputs go.
        spec: the data set's description.
        target: where it runs.

    Raises:
        ConfigError: a setting of the model that Keras does not know, a file of weights that is not there, or a floor for a
            class that the data set does not have.
        ModelError: the package with the encoder's weights is not installed.
    """
    models.check(config.model, len(spec.classes))
    config.evaluate.check_classes(spec.classes)
    builder = datasets.builder_of(spec)
    example_gen = ExampleGen(
        spec=to_json(spec),
        source=locations.data,
        span=config.data.span,
        work_dir=locations.work_dir,
        max_quarantined_fraction=config.data.max_quarantined_fraction,
        code_digest=code_digest("components.example_gen", datasets.module_of(builder)),
    )
    schema_gen = SchemaGen(schema_text=datasets.schema_text(builder, spec), code_digest=code_digest("components.schema_gen"))
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"], schema=schema_gen.outputs["schema"])
    example_validator = ExampleValidator(statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"])
    data_baseline = _data_baseline(statistics_gen.outputs["statistics"], target)
    distribution_validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=data_baseline.outputs["statistics"].as_optional(),  # The first run has none.
        config=make_drift_config(config.data.max_drift),
    )
    data_gate = DataGate(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=data_baseline.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        drift=distribution_validator.outputs["anomalies"],
        code_digest=code_digest("components.validation"),
    ).with_id("DataGate")
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=import_path(transform_module.preprocessing_fn),
        splits_config=transform_pb2.SplitsConfig(analyze=[TRAIN_SPLIT], transform=[TRAIN_SPLIT, EVAL_SPLIT]),
        disable_statistics=True,  # Nothing reads them, and they would wait, with all pictures in memory, for the write to end.
        custom_config={"transform": to_json(config.transform), "code_digest": code_digest("components.transform")},
    )
    transform.add_upstream_node(data_gate)
    trainer_config = TrainerConfig(
        transform=config.transform,
        augment=config.augment,
        model=config.model,
        train=config.train,
        serving=config.serving,
        class_names=spec.classes,
        palette=spec.palette,
    )
    trainer_digest = code_digest("components.trainer", names.module_of(config.model.name))
    custom_config = {
        "trainer": to_json(trainer_config),
        "code_digest": trainer_digest,
        "encoder_weights": weights.digest(config.model),
        "state_dir": locations.unfinished,
        **target.trainer_settings,
    }
    start = None
    if config.train.warm_start:
        start = _warm_start(locations, target, transform.outputs["transformed_examples"], custom_config)
    trainer = target.trainer(
        run_fn=import_path(trainer_module.run_fn),
        examples=transform.outputs["transformed_examples"],
        train_args=trainer_pb2.TrainArgs(splits=[TRAIN_SPLIT]),
        eval_args=trainer_pb2.EvalArgs(splits=[EVAL_SPLIT]),
        base_model=start.outputs["model"] if start else None,
        custom_config=custom_config,
    )
    baseline = _baseline(trainer.outputs["model"], locations, target)
    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        settings=to_json(EvaluatorConfig(evaluate=config.evaluate, class_names=spec.classes)),
        code_digest=code_digest("components.evaluator"),
    )
    serving_check = ServingCheck(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        examples=example_gen.outputs["examples"],
        check=to_json(config.check),
        max_megapixels=config.serving.max_megapixels,
        code_digest=code_digest("components.serving_check"),
    )
    model_card_gen = ModelCardGen(
        model=trainer.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        examples=example_gen.outputs["examples"],
        data_report=example_gen.outputs["report"],
        words=to_json(config.card),
        pipeline=locations.pipeline_name,
        preset=config.preset,
        trainer_code_digest=trainer_digest,
        code_digest=code_digest("components.model_card"),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        examples=example_gen.outputs["examples"],
        infra_blessing=serving_check.outputs["blessing"],
        card=model_card_gen.outputs["card"],
        destination=locations.models,
        trainer_digest=trainer_digest,
        code_digest=code_digest("components.pusher"),
    )
    statistics_steps = [statistics_gen, example_validator, data_baseline, distribution_validator]
    data_steps = [example_gen, schema_gen, *statistics_steps, data_gate, transform]
    model_steps = [*([start] if start else []), trainer, baseline, evaluator, serving_check, model_card_gen, pusher]
    return tfx_pipeline.Pipeline(
        pipeline_name=target.name_of(locations.pipeline_name),
        pipeline_root=locations.artifacts,
        components=data_steps + model_steps,
        enable_cache=True,
        metadata_connection_config=target.metadata,
        beam_pipeline_args=list(target.beam_args),
    )


def _data_baseline(candidate: BaseChannel, target: Target) -> Resolver:
    """Returns the step that finds the statistics with which the candidate's are compared."""
    statistics = Channel(type=standard_artifacts.ExampleStatistics)
    if target.stock_resolvers:
        resolver = Resolver(strategy_class=LatestArtifactStrategy, statistics=statistics)
    else:
        resolver = Resolver(
            strategy_class=DataBaselineStrategy,
            candidate=candidate,
            statistics=statistics,
            data_blessing=Channel(type=DataBlessing),
        )
    return resolver.with_id("DataBaseline")


def _baseline(candidate: BaseChannel, locations: Locations, target: Target) -> Resolver:
    """Returns the step that finds the model with which the candidate is compared."""
    model, model_blessing = Channel(type=standard_artifacts.Model), Channel(type=standard_artifacts.ModelBlessing)
    if target.stock_resolvers:
        resolver = Resolver(strategy_class=LatestBlessedModelStrategy, model=model, model_blessing=model_blessing)
    else:
        resolver = Resolver(
            strategy_class=BaselineStrategy,
            config={"models": locations.models},
            candidate=candidate,
            model=model,
            model_blessing=model_blessing,
            infra_blessing=Channel(type=standard_artifacts.InfraBlessing),
        )
    return resolver.with_id("Baseline")


def _warm_start(locations: Locations, target: Target, examples: BaseChannel, custom_config: Mapping[str, Any]) -> Resolver:
    """Returns what looks for the model that a training starts with."""
    channels = {
        "model": Channel(type=standard_artifacts.Model),
        "model_blessing": Channel(type=standard_artifacts.ModelBlessing),
    }
    if target.stock_resolvers:
        return Resolver(strategy_class=LatestBlessedModelStrategy, **channels).with_id("WarmStart")
    return Resolver(
        strategy_class=WarmStartStrategy,
        config={
            "node": f"{locations.pipeline_name}.Trainer",
            "custom_config": json_utils.dumps(custom_config),  # As TFX's Trainer keeps it.
            "models": locations.models,
        },
        examples=examples,
        infra_blessing=Channel(type=standard_artifacts.InfraBlessing),
        **channels,
    ).with_id("WarmStart")
