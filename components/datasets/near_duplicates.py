"""Pictures of two splits that look alike: no leak, but a score on them flatters.

Looks that differ in at most n bits agree on at least one of n + 1 bands of bits. So only pictures that share a band's value are
compared: with 8 bits one pair in 14, so that a million pictures take minutes and ten million hours.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np

from components.datasets.fingerprints import Fingerprint, Picture, grouped, name_of, order
from components.datasets.spec import SPLITS

MAX_DISTANCE = 8
"""Bits of 64 in which two near-duplicates' looks may differ. On VOC 2007 it finds every picture that was encoded anew, halved
or brightened by 10 %, and 99.7 % of those cropped by 3 %, and takes no two of its 632 pictures for one; 10 takes two pairs."""

MAX_PAIRS = 1000
"""Pairs that one group of looks reports: a film whose frames were dealt to the splits has millions, and fewer tell as much."""


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two pictures of different splits that look alike and differ in their pixels.

    Attributes:
        first: the one whose split comes first.
        second: the other.
        distance: in how many of 64 bits their looks differ.
    """

    first: Picture
    second: Picture
    distance: int

    def __str__(self) -> str:
        """Returns one line for a list: `train/a (a.jpg) ~ validation/b (b.jpg), 2 of 64 bits apart`."""
        return f"{name_of(self.first)} ~ {name_of(self.second)}, {self.distance} of 64 bits apart"


_Look = tuple[bytes, tuple[Fingerprint, ...]]
"""A look, 8 bytes, and pictures that have it. Bytes, big end first, since Beam takes an int for one of 63 bits and a sign."""

_ONES = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)
"""How many bits of a 16-bit number are set."""

_BLOCK = 1 << 20
"""Pairs of looks that are compared at once, in some tens of MB."""


def _by_look(one: Fingerprint) -> Iterator[tuple[bytes, Fingerprint]]:
    if one.look is not None:
        yield one.look.to_bytes(8, "big"), one


def _thin(look: bytes, fingerprints: Iterable[Fingerprint]) -> _Look:
    """Keeps two of a split, with different pixels: whatever another split holds, one of them differs from it.

    So thousands of pictures with one look make a handful of pairs.
    """
    kept: dict[str, dict[bytes, Fingerprint]] = {split: {} for split in SPLITS}
    for one in sorted(fingerprints, key=lambda one: order(one.picture)):
        if len(kept[one.split]) < 2:
            kept[one.split].setdefault(one.pixels, one)
    return look, tuple(one for of_split in kept.values() for one in of_split.values())


def _pairs(some: Iterable[Fingerprint], others: Iterable[Fingerprint], distance: int) -> Iterator[NearDuplicate]:
    """Yields for each two splits the first pair, one of some and one of the others, whose pixels differ."""
    seen = set()
    for one, other in itertools.product(some, others):
        first, second = sorted((one.picture, other.picture), key=order)
        splits = first[0], second[0]
        if splits not in seen and first[0] != second[0] and one.pixels != other.pixels:
            seen.add(splits)
            yield NearDuplicate(first, second, distance)


def _same_look(_look: bytes, fingerprints: tuple[Fingerprint, ...]) -> Iterator[NearDuplicate]:
    return _pairs(fingerprints, fingerprints, 0)


def _masks(max_distance: int) -> list[int]:
    """Returns the bits of each band, from the lowest on: 64 in all, as evenly as can be."""
    ends = [64 * number // (max_distance + 1) for number in range(max_distance + 2)]
    return [(1 << end) - (1 << start) for start, end in itertools.pairwise(ends)]


def _by_band(look: _Look, max_distance: int) -> Iterator[tuple[tuple[int, bytes], _Look]]:
    value = int.from_bytes(look[0], "big")
    first_of_split = tuple(next(ones) for _, ones in itertools.groupby(look[1], key=lambda one: one.split))
    for band, mask in enumerate(_masks(max_distance)):
        yield (band, (value & mask).to_bytes(8, "big")), (look[0], first_of_split)


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns in how many bits uint64 [M] and uint64 [N] differ, uint8 [M, N]."""
    differing = some[:, None] ^ others  # uint64 [M, N]
    # Four counts of at most 16 each, side by side in 32 bits: the product's highest byte is their sum.
    return (_ONES[differing.view(np.uint16)].view(np.uint32) * np.uint32(0x01010101) >> np.uint32(24)).astype(np.uint8)


def _near_indices(values: np.ndarray, splits: np.ndarray, max_distance: int, band: int) -> Iterator[tuple[int, int, int]]:
    """Yields row, column and distance of looks, uint64 [N], that are near, in different splits, and first meet in this band.

    `splits` is uint8 [N], a bit for each split that has the look.
    """
    several = _ONES[splits] > 1
    earlier = [np.uint64(mask) for mask in _masks(max_distance)[:band]]
    step = max(1, _BLOCK // len(values))
    for start in range(0, len(values), step):
        distances = _distances(values[start : start + step], values[start:])
        rows, columns = np.nonzero(np.triu(distances <= max_distance, 1))
        near = distances[rows, columns]
        rows, columns = rows + start, columns + start
        # Two looks have pictures in different splits unless each has only one split, and the same.
        keep = (splits[rows] != splits[columns]) | several[rows]
        for mask in earlier:
            keep &= ((values[rows] ^ values[columns]) & mask) != 0
        yield from zip(rows[keep].tolist(), columns[keep].tolist(), near[keep].tolist(), strict=True)


def _compare(group: tuple[tuple[int, bytes], Iterable[_Look]], max_distance: int) -> Iterator[NearDuplicate]:
    """Yields the pairs of different looks in a group, at most MAX_PAIRS, that agree on no band before this one."""
    (band, _), unsorted = group
    looks = sorted(unsorted, key=lambda look: look[0])  # Whatever order they arrive in, the same pairs are reported.
    values = np.frombuffer(b"".join(value for value, _ in looks), ">u8").astype(np.uint64)
    splits = np.array([sum(1 << SPLITS.index(one.split) for one in ones) for _, ones in looks], np.uint8)
    near = _near_indices(values, splits, max_distance, band)
    pairs = (pair for row, column, distance in near for pair in _pairs(looks[row][1], looks[column][1], distance))
    yield from itertools.islice(pairs, MAX_PAIRS)


def find_near_duplicates(fingerprints: Iterable[Fingerprint], max_distance: int = MAX_DISTANCE) -> list[NearDuplicate]:
    """Returns pairs of pictures in different splits that look alike and have different pixels, the nearest first.

    Of pictures with one and the same look, one pair for each two splits stands for all; a group reports MAX_PAIRS at most.

    Args:
        fingerprints: of all splits.
        max_distance: bits of 64 in which their looks may differ.
    """
    looks = [_thin(look, ones) for look, ones in grouped(pair for one in fingerprints for pair in _by_look(one)).items()]
    bands = grouped(pair for look in looks for pair in _by_band(look, max_distance))
    near = [pair for group in bands.items() for pair in _compare(group, max_distance)]
    near += [pair for look in looks for pair in _same_look(*look)]
    return sorted(near, key=lambda pair: (pair.distance, order(pair.first), order(pair.second)))


@dataclasses.dataclass
class FindNearDuplicates(beam.PTransform):
    """PCollection[Fingerprint] -> PCollection[NearDuplicate]; see `find_near_duplicates`.

    Attributes:
        max_distance: bits of 64 in which their looks may differ.
    """

    max_distance: int = MAX_DISTANCE

    def __post_init__(self) -> None:
        """Lets Beam name the transform."""
        super().__init__()

    @beam.typehints.no_annotations
    def expand(self, fingerprints: beam.PCollection) -> beam.PCollection:
        """Brings the pictures with the same look together, then the looks that share a band of bits."""
        by_look = fingerprints | "Key by look" >> beam.FlatMap(_by_look) | "Group by look" >> beam.GroupByKey()
        looks = by_look | "Thin" >> beam.MapTuple(_thin)
        by_band = looks | "Key by band" >> beam.FlatMap(_by_band, self.max_distance) | "Group by band" >> beam.GroupByKey()
        near = by_band | "Compare" >> beam.FlatMap(_compare, self.max_distance)
        same = looks | "Same look" >> beam.FlatMapTuple(_same_look)
        return (near, same) | "All pairs" >> beam.Flatten()
