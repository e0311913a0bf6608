"""Folder to TFRecord with two Beam workers beside one, and beside none, on so many pictures that to start them is worth it."""

import pathlib
import tempfile

from benchmarks import generation, voc
from benchmarks.harness import Row, Way, measure
from pipeline import beam_options, targets

TIMES = 10
"""How many times each of the set's pictures is there: 6,320 in all."""


def workers(count: int) -> tuple[str, ...]:
    """Returns what a local run has with `--beam direct_running_mode=multi_processing direct_num_workers=COUNT`."""
    options = beam_options.parse(("direct_running_mode=multi_processing", f"direct_num_workers={count}"))
    return beam_options.merge(targets.LOCAL_BEAM_ARGS, options)


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them; start-up of the workers and their imports are part of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        count = voc.multiply(data, folder / "data", TIMES)

        def generate(options: tuple[str, ...]) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as target:
                if (made := generation.ours(folder / "data", target, options)) != count:
                    raise AssertionError(f"of {count} pairs, {made} became examples")

        ways = [
            Way("two workers", lambda: generate(workers(2)), count),
            Way("one worker", lambda: generate(workers(1)), count),
            Way("in the run's own process", lambda: generate(targets.LOCAL_BEAM_ARGS), count),
        ]
        found = measure(ways, turns, warmups=0)  # Each takes minutes; what is warmed up is lost in them.
    return [
        Row(
            what=f"folder to TFRecord, {count:,} pictures",
            unit="images",
            ours=found["two workers"],
            reference=found[reference],
            aim=1.7,
        )
        for reference in ("one worker", "in the run's own process")
    ]
