"""The geometry and colours of a report's drawings: numbers in, numbers out; the template makes SVG and CSS of them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from components.features import Color

WIDTH, HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 36
_HEAT_END: Color = (8, 64, 129)
"""What a share of 1 looks like; 0 is white."""

NOTHING, _MINUS = "\u2013", "\u2212"

Point = tuple[float, float]
"""Right and down, in the units of the drawing."""


@dataclasses.dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: what it shows.
        points: its corners; one where something was measured.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The corners as SVG's `points`."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclasses.dataclass(frozen=True)
class Chart:
    """A drawing of `WIDTH` by `HEIGHT`.

    Attributes:
        title: what is drawn.
        lines: the curves.
        x_ticks: of the axis of epochs.
        y_ticks: of the axis of values.
        mark: where the marked epoch stands, or None.
        marked: that epoch.
    """

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    mark: float | None
    marked: int | None
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def draw_curves(title: str, curves: Mapping[str, Sequence[tuple[int, float]]], marked: int | None) -> Chart | None:
    """Places curves over epochs; the axis of values begins at 0.

    Args:
        title: what they show.
        curves: (epoch, value) by name; a value that is no finite number breaks nothing, it is left out.
        marked: an epoch to be marked, or None.

    Returns:
        The chart, or None where there is nothing to draw.
    """
    finite = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in curves.items()}
    found = [point for points in finite.values() for point in points]
    if not found:
        return None
    first, last = min(x for x, _ in found), max(x for x, _ in found)
    y_steps = steps(min(0.0, *(y for _, y in found)), max(y for _, y in found))
    low, high = y_steps[0], y_steps[-1]

    def right(x: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * ((x - first) / (last - first) if last > first else 0.5)

    def down(y: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - y) / (high - low)

    # The first and the last epoch always have their numbers; round ones between them where they do not run into those.
    near = 0.06 * (last - first)
    between = [x for x in steps(first, last) if x == int(x) and first + near < x < last - near]
    return Chart(
        title=title,
        lines=tuple(Line(name, tuple((right(x), down(y)) for x, y in points)) for name, points in finite.items() if points),
        x_ticks=tuple(Tick(right(x), f"{x:g}") for x in dict.fromkeys([first, *between, last])),
        y_ticks=tuple(Tick(down(y), f"{y:g}") for y in y_steps),
        mark=None if marked is None else right(marked),
        marked=marked,
    )


def steps(low: float, high: float, most: int = 6) -> list[float]:
    """Returns round numbers at equal distances, at most `most` and two, of which the first is <= low and the last >= high."""
    span = (high - low) or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span / most))
    size *= next(factor for factor in (1, 2, 5, 10) if span / (size * factor) <= most)
    start, end = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [float(f"{number * size:.10g}") for number in range(start, max(end, start + 1) + 1)]


def heat(share: float) -> Color:
    """Returns the colour of a share, 0..1: from white to dark blue, by its root.

    Most confusions are a few hundredths, which by themselves an eye would take for white.
    """
    weight = math.sqrt(min(1.0, max(0.0, share)))
    red, green, blue = (round(255 + (end - 255) * weight) for end in _HEAT_END)
    return red, green, blue


def ink(ground: Color) -> str:
    """Returns black or white, whichever is read better on a colour (contrast by WCAG 2.1)."""
    light = luminance(ground)
    return "#000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#fff"


def luminance(color: Color) -> float:
    """Returns the relative luminance of an sRGB colour, 0..1 (WCAG 2.1)."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def to_hex(color: Color) -> str:
    """Returns a colour as CSS takes it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def percent(share: float | None, places: int = 1) -> str:
    """Returns 0..1 as a percentage, a dash for None."""
    return NOTHING if share is None else f"{100 * share:.{places}f} %"


def score(value: float | None) -> str:
    """Returns a measure with four decimals, a dash for None."""
    return NOTHING if value is None else f"{value:.4f}"


def points(change: float | None) -> str:
    """Returns a change in hundredths with its sign, a dash for None."""
    return NOTHING if change is None else f"{100 * change:+.2f}".replace("-", _MINUS)


def shares(row: Sequence[int]) -> list[float | None]:
    """Returns the entries of a matrix's row as shares of its sum; None where that is 0."""
    total = sum(row)
    return [count / total if total else None for count in row]
