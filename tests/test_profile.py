"""The table and the file of a run's times, from times that are made by hand."""

import io
import json
import pathlib

import rich.console

from components.profiling import StepTimes
from pipeline.beam_profile import PipelineTimes, Stage
from pipeline.profile import Profile, describe_steps
from pipeline.runs import Summary

DEEP = "Extract/Evaluate/Write/Results/With/Very/Long/Names/Of/Steps/Inference"
STEPS = StepTimes(steps=80, seconds=40, waiting_s=4, traced_steps=1, traced_s=5, profiled_steps=10)


def _summary() -> Summary:
    steps = [("ExampleGen", "run", 20.0), ("Transform", "cached", 1.0), ("Trainer", "run", 60.0)]
    summary = Summary(run="r", pipeline="p", seconds=100)
    summary.steps = [{"name": name, "status": status, "seconds": seconds} for name, status, seconds in steps]
    return summary


def _profile(folder: pathlib.Path, training: StepTimes = STEPS) -> Profile:
    stages = [Stage("Read", 5, {"Read": 4.5}), Stage(DEEP, 4, {}), Stage("Some", 0.2, {})]
    more = [Stage("Write", 3, {}), Stage("Other", 0.3, {})]
    return Profile(folder, {"ExampleGen": [PipelineTimes(10, stages), PipelineTimes(4, more)]}, training)


def _shown(profile: Profile, summary: Summary) -> tuple[list[tuple[str, ...]], str]:
    """Returns the table's rows, and what stands below it."""
    stream = io.StringIO()
    profile.show(rich.console.Console(file=stream, width=80), summary)
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines if line.startswith("│")) <= 80
    rows = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    return [(name[1:].rstrip(), time.strip(), share.strip()) for name, time, share in rows], lines[-1]


def test_table_adds_up_to_the_run_and_the_rows_of_a_component_to_the_component(tmp_path: pathlib.Path) -> None:
    rows, _ = _shown(_profile(tmp_path), _summary())
    assert rows == [
        ("ExampleGen", "20.0 s", "20.0%"),
        ("  Read", "5.0 s", "5.0%"),
        ("  Extract/.../Inference", "4.0 s", "4.0%"),
        ("  Write", "3.0 s", "3.0%"),
        ("  2 other stages", "0.5 s", "0.5%"),
        ("  outside the stages: imports, graphs, files", "7.5 s", "7.5%"),
        ("Trainer", "60.0 s", "60.0%"),
        ("  steps: computing", "36.0 s", "36.0%"),
        ("  steps: waiting for pictures", "4.0 s", "4.0%"),
        ("  steps in which TensorFlow compiles", "5.0 s", "5.0%"),
        ("  outside the steps: validation, export", "15.0 s", "15.0%"),
        ("all else: imports, cached steps", "20.0 s", "20.0%"),
    ]


def test_run_in_which_nothing_was_trained_says_nothing_of_steps(tmp_path: pathlib.Path) -> None:
    rows, last = _shown(_profile(tmp_path, StepTimes()), _summary())
    assert [name for name, *_ in rows if "steps:" in name] == []
    assert last.startswith("└")


def test_steps_are_described_with_their_input_bound_share() -> None:
    assert describe_steps(STEPS) == (
        "80 training steps of 500 ms, input-bound share 10.0%; 1 more in which TensorFlow compiled: 5.0 s; "
        "10 are recorded for TensorBoard"
    )
    assert describe_steps(StepTimes(traced_steps=1, traced_s=2)) == "1 more in which TensorFlow compiled: 2.0 s"


def test_file_has_all_stages_and_the_summary_says_where_it_is(tmp_path: pathlib.Path) -> None:
    summary = _summary()
    _profile(tmp_path / "profile").write(summary)
    times = json.loads((tmp_path / "profile" / "times.json").read_text())
    assert summary.paths["profile"] == str(tmp_path / "profile")
    assert (times["run"], times["seconds"], times["training"]["input_share"]) == ("r", 100, 0.1)
    assert [(step["name"], step["status"], len(step["beam"])) for step in times["components"]] == [
        ("ExampleGen", "run", 2),
        ("Transform", "cached", 0),
        ("Trainer", "run", 0),
    ]
    assert times["components"][0]["beam"][0]["stages"][0] == {"name": "Read", "seconds": 5, "transforms": {"Read": 4.5}}
