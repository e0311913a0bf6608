"""`vocseg run --profile`: where the time of a run went, as a table and as files in the run's folder."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import rich.console
import rich.table
import rich.text

from pipeline.locations import write_file
from pipeline.runs import Summary

if TYPE_CHECKING:
    from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator

    from components.profiling import StepTimes
    from pipeline.beam_profile import PipelineTimes

PROFILE_FOLDER = "profile"
"""In a run's folder. TensorBoard finds in it what TensorFlow's profiler recorded."""

TIMES_FILE = "times.json"
"""In that folder."""

_SHOWN_STAGES = 3
"""Of each component, the longest; the file has all."""

_NAME_LENGTH = 48
"""Of a stage in the table, so that it fits on a terminal of 80 columns."""


@dataclasses.dataclass
class Profile:
    """What is found out about a run while it lasts.

    Attributes:
        folder: where its files go.
        beam: Beam's pipelines, by component.
        training: the steps of a training, None before it can begin.
    """

    folder: pathlib.Path
    beam: "dict[str, list[PipelineTimes]]" = dataclasses.field(default_factory=dict)
    training: "StepTimes | None" = None

    @contextlib.contextmanager
    def watching(self) -> "Iterator[type[BeamExecutorOperator]]":
        """Watches what this thread runs while it lasts; yields what is to run the steps that use Beam."""
        from components import profiling  # TensorFlow and Beam talk when they are imported.
        from pipeline import beam_profile

        with profiling.profiled(str(self.folder)) as self.training:
            yield beam_profile.operator(self.beam)

    def write(self, summary: Summary) -> None:
        """Writes all times into the folder, and notes in the summary where that is.

        Raises:
            OSError: that is impossible.
        """
        self.folder.mkdir(exist_ok=True)
        content = json.dumps(to_dict(self, summary), indent=1) + "\n"
        write_file(str(self.folder / TIMES_FILE), content.encode())
        summary.paths["profile"] = str(self.folder)

    def show(self, console: rich.console.Console, summary: Summary) -> None:
        """Prints the table, and below it what the steps of the training took."""
        console.print()
        console.print(time_table(self, summary))
        if self.training and self.training.steps + self.training.traced_steps:
            console.print(describe_steps(self.training), markup=False)


def to_dict(profile: Profile, summary: Summary) -> dict[str, Any]:
    """Returns all times for a file, in seconds."""
    training = None
    if profile.training:
        training = dataclasses.asdict(profile.training) | {"input_share": profile.training.input_share}
    steps = [
        {
            "name": step["name"],
            "status": step["status"],
            "seconds": step["seconds"],
            "beam": [dataclasses.asdict(pipeline) for pipeline in profile.beam.get(step["name"], [])],
        }
        for step in summary.steps
    ]
    return {"run": summary.run, "seconds": summary.seconds, "components": steps, "training": training}


def time_table(profile: Profile, summary: Summary) -> rich.table.Table:
    """Returns a row a component that was executed, below it what of that is known; the rest of the run is the last row."""
    executed = [step for step in summary.steps if step["status"] == "run"]
    rows: list[tuple[str, float]] = []
    for step in executed:
        rows.append((step["name"], step["seconds"]))
        rows += _beam_rows(profile.beam.get(step["name"], []), step["seconds"])
        if step["name"] == "Trainer" and profile.training:
            rows += _training_rows(profile.training, step["seconds"])
    rows.append(("all else: imports, cached steps", summary.seconds - sum(step["seconds"] for step in executed)))
    table = rich.table.Table(title="Time of each component, and of its longest Beam stages")
    table.add_column("component, its longest Beam stages")
    for column in ("time", "of the run"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, taken_s in rows:
        share = f"{taken_s / summary.seconds:.1%}" if summary.seconds else "-"
        table.add_row(rich.text.Text(name), f"{taken_s:.1f} s", share, style="dim" if name.startswith(" ") else None)
    return table


def _beam_rows(pipelines: "Iterable[PipelineTimes]", component_s: float) -> list[tuple[str, float]]:
    """Returns rows that add up to a component's time; none for one without Beam."""
    stages = [stage for pipeline in pipelines for stage in pipeline.stages]
    if not stages:
        return []
    stages.sort(key=lambda stage: stage.seconds, reverse=True)
    rows = [(f"  {_shorten(stage.name)}", stage.seconds) for stage in stages[:_SHOWN_STAGES]]
    if others := stages[_SHOWN_STAGES:]:
        rows.append((f"  {len(others)} other stages", sum(stage.seconds for stage in others)))
    rows.append(("  outside the stages: imports, graphs, files", component_s - sum(stage.seconds for stage in stages)))
    return rows


def _training_rows(times: "StepTimes", component_s: float) -> list[tuple[str, float]]:
    """Returns rows that add up to the Trainer's time; none where it trained elsewhere, or its training had been done."""
    if not times.steps + times.traced_steps:
        return []
    return [
        ("  steps: computing", times.seconds - times.waiting_s),
        ("  steps: waiting for pictures", times.waiting_s),
        ("  steps in which TensorFlow compiles", times.traced_s),
        ("  outside the steps: validation, export", component_s - times.seconds - times.traced_s),
    ]


def _shorten(name: str) -> str:
    """Returns a transform's name, without its middle where it is nested deeply."""
    first, _, rest = name.partition("/")
    if len(name) > _NAME_LENGTH and rest:
        name = f"{first}/.../{rest.rpartition('/')[2]}"
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 3]}..."


def describe_steps(times: "StepTimes") -> str:
    """Returns in words what the steps of a training took, and how much of that was waiting for pictures."""
    texts = []
    if times.input_share is not None:
        mean_ms = 1000 * times.seconds / times.steps
        texts.append(f"{times.steps} training steps of {mean_ms:.0f} ms, input-bound share {times.input_share:.1%}")
    if times.traced_steps:
        texts.append(f"{times.traced_steps} more in which TensorFlow compiled: {times.traced_s:.1f} s")
    if times.profiled_steps:
        texts.append(f"{times.profiled_steps} are recorded for TensorBoard")
    return "; ".join(texts)
