"""ExampleGen: the examples of a TensorFlow Datasets builder as TFX splits, in one Beam job, and what could not be used."""

import dataclasses
import importlib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import apache_beam as beam
import tensorflow_datasets as tfds
from etils import epath
from tfx import types
from tfx.components.example_gen import write_split
from tfx.dsl.components.base import base_beam_component, base_beam_executor, base_driver, executor_spec
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.orchestration.portable import data_types
from tfx.proto import example_gen_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components import features
from components.datasets import registry
from components.datasets.examples import Quarantined, check_quarantine
from components.errors import DataError

SPLITS = {"train": features.TRAIN_SPLIT, "validation": features.EVAL_SPLIT, "test": features.TEST_SPLIT}
"""The builder's name of each split, and TFX's."""

QUARANTINE_FILE = "quarantine.jsonl"


class Quarantine(types.artifact.Artifact):
    """The pairs that could not be used: `quarantine.jsonl`, a line each with split, key, file and reason."""

    TYPE_NAME = "Quarantine"


def make_builder(name: str, source: str, work_dir: str) -> tfds.core.GeneratorBasedBuilder:
    """Returns the builder; `source` is the data folder, or empty for the official download into `work_dir`."""
    importlib.import_module(registry.module_of(name))
    return tfds.builder(name, source=source or None, data_dir=work_dir)


def make_download_manager(builder: tfds.core.GeneratorBasedBuilder, work_dir: str) -> tfds.download.DownloadManager:
    """Returns tfds's manager, which downloads and extracts below `work_dir` and verifies the builder's checksums."""
    return tfds.download.DownloadManager(
        download_dir=os.path.join(work_dir, "downloads"),
        url_infos=builder.url_infos,
        dataset_name=builder.name,
        force_checksums_validation=True,
    )


def read_quarantine(uri: str) -> list[Quarantined]:
    """Returns the records of a Quarantine artifact."""
    path = epath.Path(uri) / QUARANTINE_FILE
    return [Quarantined(**json.loads(line)) for line in path.read_text().splitlines()]


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Adds the digest of the data's content to what the cache compares, each time the step is about to run."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        """Serves both of TFX's driver interfaces, as its own ExampleGen driver does: one is checked, the other is called."""
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Returns the execution property `data_digest`."""
        properties = execution_info.exec_properties
        builder = make_builder(properties["builder"], properties["source"], properties["work_dir"])
        output = driver_output_pb2.DriverOutput()
        output.exec_properties["data_digest"].string_value = builder.source_digest()
        return output


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the records that tfds would write, gzipped, one folder a split that has any; then judges the quarantine."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Generates the examples.

        Raises:
            DataError: the source does not hold the data set, or too many of its pairs are bad.
        """
        builder = make_builder(exec_properties["builder"], exec_properties["source"], exec_properties["work_dir"])
        listed = builder.pairs_by_split(make_download_manager(builder, exec_properties["work_dir"]))
        listed = {split: pairs for split, pairs in listed.items() if pairs}
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names([SPLITS[split] for split in listed])
        examples.set_string_custom_property("data_digest", exec_properties["data_digest"])
        examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        examples.set_string_custom_property("file_format", "tfrecords_gzip")
        quarantine_uri = artifact_utils.get_single_uri(output_dict["quarantine"])
        with self._make_beam_pipeline() as pipeline:
            quarantined = [
                _write_split(pipeline, builder, split, pairs, artifact_utils.get_split_uri([examples], SPLITS[split]))
                for split, pairs in listed.items()
            ]
            _ = (
                quarantined
                | "Quarantined" >> beam.Flatten()
                | "To JSON" >> beam.Map(_to_json)
                | "Write quarantine"
                >> beam.io.WriteToText(os.path.join(quarantine_uri, QUARANTINE_FILE), shard_name_template="", num_shards=1)
            )
        bad = read_quarantine(quarantine_uri)
        for record in bad:  # The error below names some of them; the log has them all.
            logging.warning("Quarantined %s", record)
        check_quarantine(bad, sum(map(len, listed.values())), exec_properties["max_quarantined_fraction"])
        for split, pairs in listed.items():  # Nothing could be learned or measured on an empty split.
            of_split = [record for record in bad if record.split == split]
            if len(of_split) == len(pairs):
                shown = "\n  ".join(map(str, of_split[:20]))
                raise DataError(f"No usable pair is left of the {len(pairs)} in the split {split}:\n  {shown}\nMend the files.")


def _to_json(quarantined: Quarantined) -> str:
    return json.dumps(dataclasses.asdict(quarantined), sort_keys=True)


def _write_split(
    pipeline: beam.Pipeline, builder: tfds.core.GeneratorBasedBuilder, split: str, pairs: Sequence[Any], uri: str
) -> beam.PCollection:
    """Writes a split's records and returns its bad pairs."""
    outputs = pipeline | f"Encode {split}" >> builder.encode_examples(split, pairs)
    serialize = builder.info.features.serialize_example
    _ = (
        outputs["examples"]
        | f"Drop keys {split}" >> beam.Values()
        | f"Serialize {split}" >> beam.Map(serialize).with_output_types(bytes)
        | f"Write {split}" >> write_split.WriteSplit(uri, example_gen_pb2.FORMAT_TFRECORDS_GZIP)
    )
    return outputs["quarantined"]


class ExampleGenSpec(component_spec.ComponentSpec):
    """What ExampleGen takes and gives; `data_digest` comes from the driver."""

    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": component_spec.ChannelParameter(type=Quarantine),
    }
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "builder": component_spec.ExecutionParameter(type=str),
        "source": component_spec.ExecutionParameter(type=str),
        "work_dir": component_spec.ExecutionParameter(type=str),
        "max_quarantined_fraction": component_spec.ExecutionParameter(type=float),
        "code_digest": component_spec.ExecutionParameter(type=str),
        "data_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }


class ExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a data set through its builder; outputs `examples` (train, eval and, where there is one, test) and `quarantine`.

    Args:
        builder: the builder's registered name.
        source: the data folder, or empty for the official download.
        work_dir: where downloads and extracted archives go.
        max_quarantined_fraction: share of the pairs that may be bad, 0..1.
        code_digest: of the code that makes the examples.
    """

    SPEC_CLASS = ExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(self, *, builder: str, source: str, work_dir: str, max_quarantined_fraction: float, code_digest: str) -> None:
        """Fills the specification."""
        spec = ExampleGenSpec(
            builder=builder,
            source=source,
            work_dir=work_dir,
            max_quarantined_fraction=max_quarantined_fraction,
            code_digest=code_digest,
            examples=types.Channel(type=standard_artifacts.Examples),
            quarantine=types.Channel(type=Quarantine),
        )
        super().__init__(spec=spec)
