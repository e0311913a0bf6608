"""What executors of TFX's components are run with outside a pipeline: artifacts, Beam's options, and more records."""

import pathlib
import statistics
from collections.abc import Sequence

from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact

from benchmarks import voc
from benchmarks.harness import Measured
from pipeline import targets


def artifact(kind: type[Artifact], uri: pathlib.Path) -> Artifact:
    """Returns an artifact that lies in a folder."""
    made = kind()
    made.uri = str(uri)
    return made


def examples(folder: pathlib.Path, splits: Sequence[str]) -> Artifact:
    """Returns ExampleGen's output in a folder."""
    made = artifact(standard_artifacts.Examples, folder)
    made.split_names = artifact_utils.encode_split_names(list(splits))
    made.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    made.set_string_custom_property("file_format", "tfrecords_gzip")
    return made


def context(folder: pathlib.Path) -> base_beam_executor.BaseBeamExecutor.Context:
    """Returns what a local run gives its executors; a folder for what they pass on."""
    options = list(targets.LOCAL_BEAM_ARGS)
    return base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=options, tmp_dir=str(folder), unique_id="1")


def copies(made: pathlib.Path, target: pathlib.Path, splits: Sequence[str], times: int) -> pathlib.Path:
    """Makes a folder whose splits have the records of another's several times; returns it."""
    for split in splits:
        (target / f"Split-{split}").mkdir(parents=True)
        for file in sorted((made / f"Split-{split}").iterdir()):
            for number in range(times):
                voc.link(file, target / f"Split-{split}" / f"{number}-{file.name}")
    return target


def running(once: Measured, more: Measured, name: str) -> tuple[Measured, float]:
    """Returns what the work alone takes, without the start-up, and the start-up in seconds, by its median.

    Args:
        once: an executor on some records.
        more: the same on several times as many.
        name: of the result.
    """
    seconds = tuple(long - short for long, short in zip(more.seconds, once.seconds, strict=True))
    if min(seconds) <= 0:
        raise RuntimeError(
            f"{name}: more took no longer than once ({more.seconds}, {once.seconds} s). Try it on an idle machine."
        )
    work = Measured(name, seconds, more.amount - once.amount)
    starts = (short - once.amount * taken / work.amount for short, taken in zip(once.seconds, seconds, strict=True))
    return work, statistics.median(starts)
