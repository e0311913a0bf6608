"""PASCAL VOC 2007 for the benchmarks: its listed pairs, and copies of the set with more of them."""

import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from components.datasets import examples as encoding
from components.datasets import layout, registry
from components.datasets.layout import Pair

SPEC = registry.built_in("voc2007")


def pairs(data: pathlib.Path, split: str) -> list[Pair]:
    """Returns a split's listed pairs; `data` holds VOCdevkit/VOC2007."""
    return layout.list_pairs(str(data), SPEC)[split]


def examples(data: pathlib.Path, split: str) -> Iterator[dict[str, Any]]:
    """Yields a split's examples, as the builder encodes them."""
    for pair in pairs(data, split):
        picture, mask = encoding.read_pair(pair, SPEC)
        yield encoding.encode_example(pair, picture, mask)


def multiply(data: pathlib.Path, target: pathlib.Path, times: int) -> int:
    """Writes a set with each pair `times` times, under other names, in its own split; returns the number of pairs.

    The files are hard links where the file system allows it.
    """
    source, target = (folder / "VOCdevkit" / "VOC2007" for folder in (data, target))
    count = 0
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / part).mkdir(parents=True)
    for split in ("train", "val", "test"):
        keys = (source / f"ImageSets/Segmentation/{split}.txt").read_text().split()
        copies = [(key, f"{key}_{number}") for key in keys for number in range(times)]
        for key, copy in copies:
            for part, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
                link(source / part / f"{key}.{ending}", target / part / f"{copy}.{ending}")
        (target / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{copy}\n" for _, copy in copies))
        count += len(copies)
    return count


def link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Links a file, or copies it: to another file system, or on one without hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
