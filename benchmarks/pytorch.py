"""An epoch of training: the Trainer's loop beside the same networks in PyTorch, which is not installed with the project.

PyTorch has a process and an interpreter of its own, which the environment variable TORCH_PYTHON (or `--torch`) names.
"""

import contextlib
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from benchmarks import epoch, inputs
from benchmarks.harness import Row, Way, measure
from components.record_store import open_store

LAYOUTS = ("channels_last", "contiguous")


class Torch:
    """PyTorch's process.

    Args:
        process: of `pytorch_networks`, with pipes.
    """

    def __init__(self, process: subprocess.Popen) -> None:
        """Keeps it."""
        self._process = process

    def train(self, name: str, layout: str, parameters: int) -> None:
        """Trains one epoch, and waits for its end.

        Raises:
            RuntimeError: the process is gone, the network has another number of parameters than ours, or the loss is none.
        """
        self._process.stdin.write(f"{name} {layout}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"PyTorch's process ended with {self._process.wait()}")
        answer = json.loads(line)
        if answer["parameters"] != parameters or not math.isfinite(answer["loss"]):
            raise RuntimeError(f"{name} has {parameters} parameters here; PyTorch's answers {line}")


@contextlib.contextmanager
def start(python: str, images: np.ndarray, labels: np.ndarray) -> Iterator[Torch]:
    """Starts PyTorch on float32 [N, H, W, 3] and int32 [N, H, W]; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("images", images), ("labels", labels)):
            np.save(f"{folder}/{name}.npy", array)
        command = [python, "-m", "benchmarks.pytorch_networks", folder, str(epoch.BATCH)]
        root = pathlib.Path(__file__).parents[1]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
            yield Torch(process)


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times an epoch of each network in each of PyTorch's layouts; the faster one is the reference."""
    python = os.environ.get("TORCH_PYTHON")
    if not python:
        print("pytorch is left out: --torch does not say which Python has PyTorch", file=sys.stderr)
        return []  # Among all; where it is named, the command line is refused.
    rows = []
    pictures = inputs.transformed(data, epoch.TRANSFORM)[: epoch.PICTURES]
    with tempfile.TemporaryDirectory() as folder:
        with open_store([inputs.write_transformed(pictures, folder)], epoch.TRANSFORM, epoch.CLASSES) as store:
            with start(python, *epoch.arrays(store)) as torch:
                for name in epoch.NETWORKS:
                    rows.append(_row(name, epoch.Ours(name, store), torch, len(store), turns))
    return rows


def _row(name: str, ours: epoch.Ours, torch: Torch, count: int, turns: int) -> Row:
    parameters = epoch.bare(name).count_params()
    ways = [Way(epoch.OURS, ours.train, count)]
    ways += [Way(f"PyTorch, {one}", lambda one=one: torch.train(name, one, parameters), count) for one in LAYOUTS]
    found = measure(ways, turns)
    mine = found.pop(epoch.OURS)
    best, other = sorted(found.values(), key=lambda measured: measured.rate, reverse=True)
    what = f"epoch, {name}, {epoch.FILTERS} filters, {epoch.SIDE_PX} px, PyTorch"
    note = f"{other.name}: {other.rate:.2f} images/s; {parameters:,} parameters"
    return Row(what=what, unit="images", ours=mine, reference=best, aim=1.0, note=note)
