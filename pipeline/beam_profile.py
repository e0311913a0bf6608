"""What the stages of Beam's local runner take, by what it logs and counts itself; nothing else is done than without it."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import monitoring_infos
from apache_beam.runners.runner import PipelineResult
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration import execution_result_pb2

_BUNDLES = logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner.run_bundle")
"""Says, at its level DEBUG, when a bundle of a stage begins, and something else as soon as it has ended."""

_BEGINS = "Running bundle for stage %s"


@dataclasses.dataclass
class Stage:
    """A stage: transforms that Beam runs as one.

    Attributes:
        name: that of the transform which took the longest.
        seconds: by the clock, with the start of workers and the setup of transforms.
        transforms: seconds a transform, of all workers together, of those that took any; Beam looks every 0.2 s what runs.
    """

    name: str
    seconds: float
    transforms: dict[str, float]


@dataclasses.dataclass
class PipelineTimes:
    """A pipeline of Beam's, of which a component may run several.

    Attributes:
        seconds: to run it, by the clock.
        stages: the longest first.
    """

    seconds: float
    stages: list[Stage]


class _StageClock(logging.Handler):
    """Adds up what each stage takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self._stage, self._started = "", 0.0

    def emit(self, record: logging.LogRecord) -> None:
        self.end_bundle()
        if str(record.msg).startswith(_BEGINS) and isinstance(record.args, tuple):
            self._stage, self._started = str(record.args[0]), time.perf_counter()

    def end_bundle(self) -> None:
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + time.perf_counter() - self._started
            self._stage = ""


@contextlib.contextmanager
def _clock() -> Iterator[_StageClock]:
    """Listens to the runner; keeps from the log what it says only for us."""
    clock = _StageClock()
    level, propagates = _BUNDLES.level, _BUNDLES.propagate
    _BUNDLES.addHandler(clock)
    _BUNDLES.setLevel(logging.DEBUG)
    _BUNDLES.propagate = False
    try:
        yield clock
    finally:
        _BUNDLES.propagate = propagates
        _BUNDLES.setLevel(level)
        _BUNDLES.removeHandler(clock)
        clock.end_bundle()


class TimedPipeline(beam.Pipeline):
    """A pipeline for the local runner that tells what it took.

    Args:
        told: is given that, if it succeeds.
        argv: Beam's options.
    """

    def __init__(self, told: Callable[[PipelineTimes], None], argv: list[str]) -> None:
        """Makes an empty one."""
        super().__init__(argv=argv)
        self._told = told

    def run(self, *arguments: Any) -> PipelineResult:
        """Runs it, as Beam does."""
        with _clock() as clock:
            started = time.perf_counter()
            result = super().run(*arguments)
            seconds = time.perf_counter() - started
        self._told(PipelineTimes(seconds, _stages(clock.seconds, result)))
        return result


def _stages(seconds: Mapping[str, float], result: PipelineResult) -> list[Stage]:
    # Its public view has no stages. Without it, or in another release of Beam, stages are told with the runner's own names.
    infos = getattr(result, "_monitoring_infos_by_stage", {})
    stages = [_stage(name, taken, infos.get(name, ())) for name, taken in seconds.items()]
    return sorted(stages, key=lambda stage: stage.seconds, reverse=True)


def _stage(runner_name: str, seconds: float, infos: Any) -> Stage:
    """Returns a stage; where no transform took any time, as most do in small runs, it has the name of its last one."""
    found = {
        info.labels[monitoring_infos.PTRANSFORM_LABEL]: monitoring_infos.extract_counter_value(info) / 1000
        for info in infos
        if info.urn == monitoring_infos.TOTAL_MSECS_URN and monitoring_infos.PTRANSFORM_LABEL in info.labels
    }
    name = max(reversed(found), key=lambda name: found[name]) if found else runner_name
    ordered = sorted(found.items(), key=lambda item: item[1], reverse=True)
    return Stage(name, seconds, {name: taken for name, taken in ordered if taken})


def operator(found: dict[str, list[PipelineTimes]]) -> type[BeamExecutorOperator]:
    """Returns what runs the steps that use Beam, and tells what their pipelines took.

    Args:
        found: gets the pipelines of each component, by its name.
    """

    class Operator(BeamExecutorOperator):
        def run_executor(self, execution_info: ExecutionInfo, *_: Any) -> execution_result_pb2.ExecutorOutput:
            pipelines = found.setdefault(execution_info.pipeline_node.node_info.id, [])
            # Its options are known when it has begun.
            return super().run_executor(
                execution_info, lambda: TimedPipeline(pipelines.append, argv=list(self.beam_pipeline_args))
            )

    return Operator
