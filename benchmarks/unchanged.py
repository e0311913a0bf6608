"""What the command line costs where there is nothing to do: a run with nothing changed, and `--help`."""

import json
import pathlib
import tempfile

from benchmarks.child import python, vocseg
from benchmarks.harness import Limit, Measured, Way, measure

SETTINGS = ("--preset=voc2007_scratch", "--spec=voc2007", "--epochs=1", "--set=model.name=unet", "--set=model.filters=4")
IMPORTS = """
from pipeline.imports import uncollected
with uncollected():
    {}
"""
"""As a run imports what it needs before its first step."""


def run(data: pathlib.Path, turns: int) -> list[Limit]:
    """Times them; fails where the second run has anything to do."""
    with tempfile.TemporaryDirectory() as folder:
        summary = pathlib.Path(folder, "summary.json")
        settings = (*SETTINGS, "--set=evaluate.min_mean_iou=0", f"--data={data}", f"--root={folder}", f"--summary={summary}")
        vocseg("run", *settings)
        ways = [
            Way("unchanged", lambda: vocseg("run", *settings), 1),
            Way("imports", lambda: python("-c", IMPORTS.format("from pipeline import graph, root_mark, runners, targets")), 1),
            Way("TFX", lambda: python("-c", IMPORTS.format("import tfx.v1")), 1),
            Way("help", lambda: vocseg("--help"), 1),
        ]
        found = measure(ways, turns)
        done = [step["name"] for step in json.loads(summary.read_text())["steps"] if step["status"] == "run"]
    if done:
        raise AssertionError(f"nothing changed, and yet there ran {', '.join(done)}")
    return [
        _limit("run with nothing changed", found["unchanged"], most=12),
        _limit("of that: Python with all that a run imports first", found["imports"]),
        _limit("of that: Python with tfx.v1", found["TFX"]),
        _limit("vocseg --help", found["help"], most=0.3),
    ]


def _limit(what: str, found: Measured, most: float | None = None) -> Limit:
    return Limit(what=what, unit="s", values=found.seconds, most=most)
