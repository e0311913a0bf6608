"""Pictures that stand in two splits: the same pixels, which spoils every measured figure."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from components.datasets.fingerprints import Fingerprint, Picture, grouped, name_of, order
from components.errors import DataError

_SHOWN_OF_SPLIT = 2
"""Pictures of a split that a leak's line names: hundreds of black ones are one leak."""


@dataclasses.dataclass(frozen=True)
class Leak:
    """Pictures with the same pixels, in at least two splits.

    Attributes:
        pictures: all of them, in the order train, validation, test, then of their keys.
    """

    pictures: tuple[Picture, ...]

    def __str__(self) -> str:
        """Returns one line for an error's list: `train/a (a.jpg) = validation/b (b.jpg)`."""
        of_split = itertools.groupby(self.pictures, key=lambda picture: picture[0])
        shown = [name_of(picture) for _, pictures in of_split for picture in itertools.islice(pictures, _SHOWN_OF_SPLIT)]
        rest = len(self.pictures) - len(shown)
        return " = ".join([*shown, f"{rest} more"] if rest else shown)


def _by_pixels(one: Fingerprint) -> tuple[bytes, Picture]:
    return one.pixels, one.picture


def _leaks_of(_pixels: bytes, pictures: Iterable[Picture]) -> Iterator[Leak]:
    pictures = tuple(sorted(pictures, key=order))
    if pictures[0][0] != pictures[-1][0]:  # Sorted by split: the ends differ where any two do.
        yield Leak(pictures)


def find_leaks(fingerprints: Iterable[Fingerprint]) -> list[Leak]:
    """Returns the groups of pictures with the same pixels that reach over two or three splits, in a fixed order."""
    groups = grouped(map(_by_pixels, fingerprints))
    leaks = [leak for pixels, pictures in groups.items() for leak in _leaks_of(pixels, pictures)]
    return sorted(leaks, key=lambda leak: [order(picture) for picture in leak.pictures])


@dataclasses.dataclass
class FindLeaks(beam.PTransform):
    """PCollection[Fingerprint] -> PCollection[Leak]; see `find_leaks`."""

    def __post_init__(self) -> None:
        """Lets Beam name the transform."""
        super().__init__()

    @beam.typehints.no_annotations
    def expand(self, fingerprints: beam.PCollection) -> beam.PCollection:
        """Brings the pictures with the same pixels together."""
        by_pixels = fingerprints | "Key by pixels" >> beam.Map(_by_pixels) | "Group by pixels" >> beam.GroupByKey()
        return by_pixels | "Leaks" >> beam.FlatMapTuple(_leaks_of)


def to_drop(leaks: Iterable[Leak]) -> set[tuple[str, str]]:
    """Returns split and key of the leaks' pictures that stand in train: without them, train shares none with another split."""
    return {(split, key) for leak in leaks for split, key, _ in leak.pictures if split == "train"}


def remaining(leaks: Iterable[Leak]) -> list[Leak]:
    """Returns what stays a leak when those of `to_drop` are gone: pictures that stand in both validation and test."""
    without = (tuple(picture for picture in leak.pictures if picture[0] != "train") for leak in leaks)
    return [Leak(pictures) for pictures in without if len({split for split, _, _ in pictures}) > 1]


def check_leaks(leaks: Sequence[Leak], limit: int = 20) -> None:
    """Fails where there is a leak.

    Args:
        leaks: those that are not to be borne.
        limit: how many of them the message names.

    Raises:
        DataError: names them, with the remedy.
    """
    if not leaks:
        return
    rest = [f"... and {len(leaks) - limit} more"] if len(leaks) > limit else []
    drop = ', or, for those in train, put leaks = "drop_from_train" into the description (TOML) of the data set'
    raise DataError(
        "\n  ".join(
            [
                f"Pictures in two splits, pixel by pixel the same ({len(leaks)} in all); a score on them measures memory:",
                *map(str, leaks[:limit]),
                *rest,
            ]
        )
        + f"\nTake each off all lists but one{drop if to_drop(leaks) else ''}."
    )
