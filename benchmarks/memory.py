"""Peak memory of a whole run on the set, and on ten times as many pictures: it must not grow with their number.

Both runs train one epoch of a small network, so that what is measured is what the data costs.
"""

import json
import pathlib
import tempfile
from typing import Any

from benchmarks import child, voc
from benchmarks.harness import Limit

TIMES = 10
SETTINGS = (
    *("--preset=voc2007_scratch", "--spec=voc2007", "--epochs=1"),
    *("--set=model.name=unet", "--set=model.filters=4", "--set=evaluate.min_mean_iou=0"),
)
MOST_GIB = 4
MOST_GROWTH_PERCENT = 15


def measure(data: pathlib.Path, root: pathlib.Path) -> dict[str, Any]:
    """Runs the pipeline in a process of its own; returns the summary."""
    summary = root / "summary.json"
    child.vocseg("run", *SETTINGS, f"--data={data}", f"--root={root}", f"--summary={summary}")
    return json.loads(summary.read_text())


def run(data: pathlib.Path, turns: int) -> list[Limit]:
    """Measures both once, however many turns there are to be: memory hardly depends on what else the machine does."""
    limits, peaks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for times in (1, TIMES):
            count = voc.multiply(data, folder / f"times{times}", times)
            summary = measure(folder / f"times{times}", folder / f"root{times}")
            peaks.append(summary["peak_memory_bytes"])
            what, note = f"peak memory of a run on {count:,} pictures", f"{summary['seconds']:.0f} s"
            limits.append(Limit(what=what, unit="GiB", values=(peaks[-1] / 2**30,), most=MOST_GIB, note=note))
    growth = 100 * (peaks[1] / peaks[0] - 1)
    return [*limits, Limit(what="growth of that", unit="%", values=(growth,), most=MOST_GROWTH_PERCENT)]
