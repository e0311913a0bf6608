"""The harness: ways to do the same work take turns, several times after a warm-up; medians, spread and ratio count."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

PACKAGES = ("apache-beam", "keras", "numpy", "pillow", "tensorflow", "tensorflow-model-analysis", "tfx")


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        name: what it is called in the table.
        run: does all of it once.
        amount: how much that is, in the benchmark's unit.
    """

    name: str
    run: Callable[[], Any]
    amount: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a way took.

    Attributes:
        name: of the way.
        seconds: of each turn.
        amount: done in each.
    """

    name: str
    seconds: tuple[float, ...]
    amount: float

    @property
    def rate(self) -> float:
        """Amount a second, by the median."""
        return self.amount / statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest and the fastest turn, in amount a second."""
        return self.amount / max(self.seconds), self.amount / min(self.seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        what: was done.
        unit: that rates count, a second.
        ours: how our way fared.
        reference: how the other one did.
        aim: the least ratio of the rates, ours by the reference's; None: none was set.
        note: what else is worth saying.
    """

    what: str
    unit: str
    ours: Measured
    reference: Measured
    aim: float | None = None
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours by the reference's rate, turn by turn: a machine that slows down slows both."""
        pairs = zip(self.ours.seconds, self.reference.seconds, strict=True)
        factor = self.ours.amount / self.reference.amount
        return tuple(factor * theirs / ours for ours, theirs in pairs)

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        return None if self.aim is None else self.ratio >= self.aim


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """A line of the table about what has no rate, or no reference, and is to be small.

    Attributes:
        what: was measured.
        unit: of the values.
        values: of each turn.
        most: that their median may be; None: no limit was set.
        note: what else is worth saying.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    most: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        return None if self.most is None else self.value <= self.most


def measure(ways: Sequence[Way], turns: int, warmups: int = 1) -> dict[str, Measured]:
    """Runs the ways in turn, A B A B ..., and returns what each took, by name.

    Args:
        ways: with different names.
        turns: that count, of each.
        warmups: turns before them, that do not.
    """
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(-warmups, turns):
        for way in ways:
            started = time.perf_counter()
            way.run()
            if turn >= 0:
                seconds[way.name].append(time.perf_counter() - started)
    return {way.name: Measured(way.name, tuple(seconds[way.name]), way.amount) for way in ways}


def to_dict(row: Row | Limit) -> dict[str, Any]:
    """Returns a line as JSON has it."""
    if isinstance(row, Limit):
        return dataclasses.asdict(row) | {"value": row.value, "met": row.met}
    return dataclasses.asdict(row) | {
        "rate": row.ours.rate,
        "reference_rate": row.reference.rate,
        "ratio": row.ratio,
        "ratios": row.ratios,
        "met": row.met,
    }


def describe_machine() -> dict[str, Any]:
    """Returns what the figures depend on: processor, cores, memory, and the versions of what computes."""
    import tensorflow as tf

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
    }


def _processor() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def to_markdown(rows: Sequence[Row | Limit]) -> str:
    """Returns the table, and below it what there is to say of its lines."""
    lines = ["| what | ours | reference | ratio | aim |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes] if notes else lines)


def _cells(row: Row | Limit) -> tuple[str, ...]:
    verdict = "met" if row.met else "missed"
    if isinstance(row, Limit):
        found = f"{_number(row.value)} {row.unit} ({_number(min(row.values))} to {_number(max(row.values))})"
        aim = "-" if row.most is None else f"at most {row.most:g} {row.unit}: {verdict}"
        return row.what, found, "-", "-", aim
    reference = f"{row.reference.name}: {_rate(row.reference, row.unit)}"
    ratio = f"{row.ratio:.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})"
    aim = "-" if row.aim is None else f"{row.aim:g}: {verdict}"
    return row.what, _rate(row.ours, row.unit), reference, ratio, aim


def _rate(measured: Measured, unit: str) -> str:
    low, high = measured.spread
    return f"{_number(measured.rate)} {unit}/s ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
