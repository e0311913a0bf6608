"""A whole cold run of `voc2007` with three epochs, beside its bare parts in one script (`plain`); each has its own process."""

import json
import pathlib
import tempfile
from typing import Any

from benchmarks import child
from benchmarks.harness import Limit, Way, measure

EPOCHS = 3
MOST_S = 45
MOST_GIB = 4


def ours(data: pathlib.Path) -> dict[str, Any]:
    """Runs the pipeline in a new root; returns the summary."""
    with tempfile.TemporaryDirectory() as root:
        summary = pathlib.Path(root, "summary.json")
        settings = ("--preset=voc2007", f"--epochs={EPOCHS}", f"--data={data}", f"--root={root}", f"--summary={summary}")
        child.vocseg("run", *settings)
        found: dict[str, Any] = json.loads(summary.read_text())
    return found


def bare(data: pathlib.Path) -> dict[str, Any]:
    """Runs the script; returns seconds by part, and mean IoUs."""
    with tempfile.TemporaryDirectory() as folder:
        printed = child.python("-m", "benchmarks.plain", str(data), folder, str(EPOCHS))
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def run(data: pathlib.Path, turns: int) -> list[Limit]:
    """Times them, from the first turn on: what is cold is the root. The pictures are in the system's cache."""
    last: dict[str, dict[str, Any]] = {}
    peaks: list[float] = []

    def pipeline() -> None:
        last["pipeline"] = ours(data)
        peaks.append(last["pipeline"]["peak_memory_bytes"] / 2**30)

    for folder in ("JPEGImages", "SegmentationClass"):
        for picture in (data / "VOCdevkit/VOC2007" / folder).iterdir():
            picture.read_bytes()
    ways = [Way("pipeline", pipeline, 1), Way("script", lambda: last.update(script=bare(data)), 1)]
    found = measure(ways, turns, warmups=0)
    steps = {step["name"]: step["seconds"] for step in last["pipeline"]["steps"]}
    steps["imports and report"] = last["pipeline"]["seconds"] - sum(steps.values())
    scores = {"pipeline": last["pipeline"]["metrics"]["mean_iou"], "script": last["script"]["mean_iou"]}
    texts = {"pipeline": _in_words(steps), "script": _in_words(last["script"]["seconds"])}
    notes = {name: f"{texts[name]} (last turn); mean IoU on test {scores[name]:.3f}" for name in texts}
    mine, theirs = found["pipeline"].seconds, found["script"].seconds
    beyond = tuple(one - other for one, other in zip(mine, theirs, strict=True))
    whole = f"whole `voc2007` run, {EPOCHS} epochs"
    return [
        Limit(what=whole, unit="s", values=mine, note=notes["pipeline"]),
        Limit(what="its bare parts in one script", unit="s", values=theirs, note=notes["script"]),
        Limit(what=f"{whole}, beyond its bare parts", unit="s", values=beyond, most=MOST_S),
        Limit(what=f"peak memory of the {whole}", unit="GiB", values=tuple(peaks), most=MOST_GIB),
    ]


def _in_words(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if value >= 0.5)
