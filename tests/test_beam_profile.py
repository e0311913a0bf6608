"""What Beam's stages take, on a tiny pipeline."""

import logging
import os
import pathlib
import time

import apache_beam as beam
import pytest
from tfx.dsl.component.experimental.annotations import BeamComponentParameter, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from pipeline import beam_profile, targets
from pipeline.beam_profile import PipelineTimes, TimedPipeline
from pipeline.runners import run_local

PAUSE_S = 0.5
"""More than twice as long as Beam waits between two looks at what runs."""

LOGGER = logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner.run_bundle")


def _slow(number: int) -> tuple[int, int]:
    time.sleep(PAUSE_S)
    return number % 2, number


def _collect(pipeline: beam.Pipeline) -> None:
    pairs = pipeline | "Numbers" >> beam.Create([1, 2], reshuffle=False) | "Slow" >> beam.Map(_slow)
    _ = pairs | "Group" >> beam.GroupByKey() | "Fast" >> beam.Map(str)


def _run(*options: str) -> PipelineTimes:
    found: list[PipelineTimes] = []
    with TimedPipeline(found.append, [*targets.LOCAL_BEAM_ARGS[:1], *options]) as pipeline:
        _collect(pipeline)
    [times] = found
    return times


@pytest.mark.parametrize(
    "options",
    [
        targets.LOCAL_BEAM_ARGS[1:],
        pytest.param(("--direct_running_mode=multi_processing", "--direct_num_workers=2"), marks=pytest.mark.soak),
        ("--direct_running_mode=multi_threading", "--direct_num_workers=2"),
    ],
    ids=lambda options: options[0].rpartition("=")[2],
)
def test_stages_are_timed_by_the_clock_and_named_by_their_longest_transform(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pathlib.Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{folder.parent}")  # Workers look for `_slow` there.
    times = _run(*options)
    slow = next(stage for stage in times.stages if stage.name == "Slow")
    assert slow.seconds >= PAUSE_S and slow.transforms["Slow"] >= PAUSE_S
    assert len(times.stages) == 2  # A group ends a stage.
    assert [stage.seconds for stage in times.stages] == sorted((stage.seconds for stage in times.stages), reverse=True)
    assert sum(stage.seconds for stage in times.stages) <= times.seconds


def test_transform_by_which_a_quick_stage_is_named_is_its_last_one() -> None:
    stage = beam_profile._stage("(a)+(b)", 0.1, [])
    assert (stage.name, stage.transforms) == ("(a)+(b)", {})
    assert [one.name for one in _run().stages][1] == "Fast"


def test_runner_talks_as_little_as_before_while_it_is_timed(caplog: pytest.LogCaptureFixture) -> None:
    before = (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers))
    with caplog.at_level(logging.INFO):
        _run()
    assert not [record for record in caplog.records if record.name == LOGGER.name]
    assert (LOGGER.level, LOGGER.propagate, LOGGER.handlers) == before


def test_pipeline_that_fails_tells_nothing_and_leaves_nothing_behind() -> None:
    found: list[PipelineTimes] = []
    with pytest.raises(ZeroDivisionError), TimedPipeline(found.append, list(targets.LOCAL_BEAM_ARGS)) as pipeline:
        _ = pipeline | beam.Create([0]) | beam.Map(lambda number: 1 // number)
    assert found == [] and LOGGER.handlers == []


@component(use_beam=True)
def Group(
    made: OutputArtifact[standard_artifacts.String],
    pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    with pipeline:
        _collect(pipeline)
    made.value = "made"


def test_component_is_the_same_to_the_cache_whether_its_stages_are_timed_or_not(tmp_path: pathlib.Path) -> None:
    found: dict[str, list[PipelineTimes]] = {}
    operator = beam_profile.operator(found)
    statuses = []
    for number, options in enumerate([{"beam_operator": operator}, {}, {"beam_operator": operator}]):
        pipeline = tfx_pipeline.Pipeline(
            pipeline_name="p",
            pipeline_root=str(tmp_path / "artifacts"),
            components=[Group()],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite")),
            beam_pipeline_args=list(targets.LOCAL_BEAM_ARGS),
        )
        [step] = run_local(pipeline, f"run {number}", lambda *_: None, lambda _: None, **options)
        statuses.append(step.status)
    assert statuses == ["run", "cached", "cached"]
    [times] = found["Group"]
    assert {stage.name for stage in times.stages} >= {"Slow"}
