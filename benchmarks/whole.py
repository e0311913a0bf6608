"""A whole cold run of `voc2007` with three epochs, beside its bare parts in one script (`plain`); each has its own process."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.harness import Limit, Way, measure

EPOCHS = 3
MOST_S = 45


def _python(*arguments: str) -> str:
    """Returns what a process of Python printed."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=quiet).stdout


def ours(data: pathlib.Path) -> dict[str, float]:
    """Runs the pipeline in a new root; returns seconds by step."""
    with tempfile.TemporaryDirectory() as root:
        summary = pathlib.Path(root, "summary.json")
        command = ("run", "--preset=voc2007", f"--epochs={EPOCHS}", f"--data={data}", f"--root={root}", f"--summary={summary}")
        _python("-m", "pipeline", *command)
        found: dict[str, Any] = json.loads(summary.read_text())
    steps = {step["name"]: step["seconds"] for step in found["steps"]}
    return {**steps, "imports and report": found["seconds"] - sum(steps.values())}


def bare(data: pathlib.Path) -> dict[str, float]:
    """Runs the script; returns seconds by part."""
    with tempfile.TemporaryDirectory() as folder:
        printed = _python("-m", "benchmarks.plain", str(data), folder, str(EPOCHS))
    return json.loads(printed.splitlines()[-1])["seconds"]


def run(data: pathlib.Path, turns: int) -> list[Limit]:
    """Times them, from the first turn on: what is cold is the root. The pictures are in the system's cache."""
    parts: dict[str, dict[str, float]] = {}
    ways = [
        Way("pipeline", lambda: parts.update(pipeline=ours(data)), 1),
        Way("script", lambda: parts.update(script=bare(data)), 1),
    ]
    for folder in ("JPEGImages", "SegmentationClass"):
        for picture in (data / "VOCdevkit/VOC2007" / folder).iterdir():
            picture.read_bytes()
    found = measure(ways, turns, warmups=0)
    both = zip(found["pipeline"].seconds, found["script"].seconds, strict=True)
    what = f"whole `voc2007` run, {EPOCHS} epochs, beyond its bare parts"
    note = "; ".join(f"{name}, last turn: {_in_words(seconds)}" for name, seconds in parts.items())
    beyond = tuple(mine - theirs for mine, theirs in both)
    return [
        Limit(what=f"whole `voc2007` run, {EPOCHS} epochs", unit="s", values=found["pipeline"].seconds),
        Limit(what="its bare parts in one script", unit="s", values=found["script"].seconds),
        Limit(what=what, unit="s", values=beyond, most=MOST_S, note=note),
    ]


def _in_words(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if value >= 0.5)
