"""ExampleGen: a data set as TFX splits, in one Beam job, what could not be used of it, and what was found in it."""

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, base_driver, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components import features
from components.datasets import files, leaks, report
from components.datasets.builder import SegmentationBuilder, make_builder, make_download_manager
from components.datasets.examples import Quarantined
from components.datasets.generate import generate, same_files
from components.datasets.judgement import judge
from components.datasets.spec import from_json
from components.datasets.storing_sink import SplitsSink

SPLITS = {"train": features.TRAIN_SPLIT, "validation": features.EVAL_SPLIT, "test": features.TEST_SPLIT}
"""The builder's name of each split, and TFX's."""

QUARANTINE_FILE = "quarantine.jsonl"
REPORT_FILE = "report.json"


class Quarantine(types.artifact.Artifact):
    """The pairs that are not used: `quarantine.jsonl`, a line each with split, key, file, reason and cause."""

    TYPE_NAME = "Quarantine"


class DataReport(types.artifact.Artifact):
    """What was found in the data: `report.json`, see `components.datasets.report`."""

    TYPE_NAME = "DataReport"


def _builder_of(properties: Mapping[str, Any]) -> SegmentationBuilder:
    return make_builder(from_json(properties["spec"]), properties["source"], properties["span"], properties["work_dir"])


def read_report(uri: str) -> report.Report:
    """Returns what a DataReport artifact holds."""
    return report.from_dict(json.loads(files.read_bytes(files.join(uri, REPORT_FILE))))


def read_quarantine(uri: str) -> list[Quarantined]:
    """Returns the records of a Quarantine artifact."""
    lines = files.read_bytes(files.join(uri, QUARANTINE_FILE)).decode().splitlines()
    return [Quarantined(**json.loads(line)) for line in lines]


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Adds the digest of the data's content to what the cache compares, each time the step is about to run."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        """Serves both of TFX's driver interfaces, as its own ExampleGen driver does: one is checked, the other is called."""
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Returns the execution property `data_digest`."""
        output = driver_output_pb2.DriverOutput()
        output.exec_properties["data_digest"].string_value = _builder_of(execution_info.exec_properties).source_digest()
        return output


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the records that tfds would write, as .gz, one folder a split that has any; then judges the quarantine."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Generates the examples.

        Raises:
            DataError: the source does not hold the data set, too many of its pairs are bad, or a picture stands in two splits.
        """
        builder = _builder_of(exec_properties)
        pairs = builder.pairs_by_split(make_download_manager(builder, exec_properties["work_dir"]))
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names([SPLITS[split] for split in pairs])
        examples.set_string_custom_property("data_digest", exec_properties["data_digest"])
        examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        examples.set_string_custom_property("file_format", "tfrecords_gzip")
        uris = {split: artifact_utils.get_split_uri([examples], SPLITS[split]) for split in pairs}
        serialize = builder.info.features.serialize_example

        def write(collection: beam.PCollection) -> None:
            write_splits(collection, uris, serialize)

        if builder.spec.leaks == "fail":  # Where the lists alone show it, at once.
            leaks.check_leaks(same_files(pairs))
        found = generate(self._make_beam_pipeline, builder.spec, pairs, self._get_tmp_dir(), write)
        _write_text(output_dict["report"], REPORT_FILE, report.to_json(found))
        _write_text(output_dict["quarantine"], QUARANTINE_FILE, "".join(_to_json(one) + "\n" for one in found.quarantined))
        for record in (*found.quarantined, *found.near_duplicates):  # Errors name some of them; the log has them all.
            logging.warning("%s: %s", type(record).__name__, record)
        judge(found, exec_properties["max_quarantined_fraction"])


def _to_json(quarantined: Quarantined) -> str:
    return json.dumps(dataclasses.asdict(quarantined), sort_keys=True)


def _write_text(artifacts: list[types.Artifact], name: str, text: str) -> None:
    uri = artifact_utils.get_single_uri(artifacts)
    fileio.makedirs(uri)
    with fileio.open(os.path.join(uri, name), "w") as file:
        file.write(text)


def write_splits(examples: beam.PCollection, uris: Mapping[str, str], serialize: Callable[[Any], bytes]) -> None:
    """Writes records where they were made: to bring them into another order would fill a worker's memory.

    Args:
        examples: PCollection[(split, (key, example))].
        uris: a folder for each split, which is emptied first.
        serialize: of an example.
    """
    for uri in uris.values():
        if fileio.exists(uri):
            fileio.rmtree(uri)
    sink = SplitsSink({split: os.path.join(uri, "data_tfrecord") for split, uri in uris.items()})
    _ = (
        examples
        | "Serialize" >> beam.MapTuple(lambda split, keyed: (split, serialize(keyed[1])))
        | "Write" >> beam.io.Write(sink)
    )


class ExampleGenSpec(component_spec.ComponentSpec):
    """What ExampleGen takes and gives; `data_digest` comes from the driver."""

    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": component_spec.ChannelParameter(type=Quarantine),
        "report": component_spec.ChannelParameter(type=DataReport),
    }
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "spec": component_spec.ExecutionParameter(type=str),
        "span": component_spec.ExecutionParameter(type=str),
        "source": component_spec.ExecutionParameter(type=str),
        "work_dir": component_spec.ExecutionParameter(type=str),
        "max_quarantined_fraction": component_spec.ExecutionParameter(type=float),
        "code_digest": component_spec.ExecutionParameter(type=str),
        "data_digest": component_spec.ExecutionParameter(type=str, optional=True),
    }


class ExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a data set; outputs `examples` (train, eval and, where there is one, test), `quarantine` and `report`.

    Args:
        spec: the description, as JSON.
        source: the data folder or pattern of spans, or empty for the official download.
        span: which spans are meant, see `components.datasets.spans`.
        work_dir: where downloads, extracted archives and remembered digests go.
        max_quarantined_fraction: share of the pairs that may be bad, 0..1.
        code_digest: of the code that makes the examples.
    """

    SPEC_CLASS = ExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        *,
        spec: str,
        source: str,
        span: str,
        work_dir: str,
        max_quarantined_fraction: float,
        code_digest: str,
    ) -> None:
        """Fills the specification."""
        component = ExampleGenSpec(
            spec=spec,
            source=source,
            span=span,
            work_dir=work_dir,
            max_quarantined_fraction=max_quarantined_fraction,
            code_digest=code_digest,
            examples=types.Channel(type=standard_artifacts.Examples),
            quarantine=types.Channel(type=Quarantine),
            report=types.Channel(type=DataReport),
        )
        super().__init__(spec=component)
