"""Inputs that are bad, or only look bad: what is promised of each, by the way that `vocseg data check` and ExampleGen go.

Each row of the table spoils a copy of a small good data set. Its pairs are listed alone. Then those of all rows with one
description are read in one Beam job, as the spans of a data set are: a job costs seconds. What it found is told apart by row.
"""

import collections
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components import features, masks
from components.datasets import builder as builders
from components.datasets import files, generate, images, leaks, raster
from components.datasets.judgement import judge
from components.datasets.layout import Pair
from components.datasets.report import Report, SplitReport
from components.datasets.spec import DatasetSpec
from components.errors import DataError
from pipeline import cli
from pipeline.datasets import find_spec

ROOT = pathlib.Path(__file__).parents[1]

# Pillow warns of metadata that it passes over. A run puts that into its log; here it would be an error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

KEYS = {"train": ("a", "b", "c", "d"), "val": ("e", "f")}
HEIGHT, WIDTH = 32, 48

VOC = """
name = "tiny"
classes = ["background", "leaf", "stone"]
leaks = "fail"
[layout]
root = "VOCdevkit/VOC2007"
images = "JPEGImages"
masks = "SegmentationClass"
[splits]
lists = "ImageSets/Segmentation/{split}.txt"
[mask]
"""
FOLDERS = """
name = "tiny"
classes = ["background", "leaf", "stone"]
[splits]
seed = 1
"""
SIDES = """
name = "tiny"
classes = ["background", "leaf", "stone"]
colors = [[0, 0, 0], [250, 50, 50], [40, 90, 250]]
[layout]
images = "{split}"
mask_side = "right"
"""
COLORS = ((0, 0, 0), (250, 50, 50), (40, 90, 250))
"""Those of SIDES."""


# The good data set.


def _pixels(key: str) -> np.ndarray:
    """A picture that looks like no other, uint8 [H, W, 3]."""
    blocks = np.random.default_rng(ord(key)).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def _ids(key: str, classes: int = 3) -> np.ndarray:
    """Its mask, uint8 [H, W]: all classes, and void below."""
    ids = np.random.default_rng(ord(key)).integers(0, classes, (HEIGHT // 8, WIDTH // 8)).astype(np.uint8)
    ids[0, :classes] = range(classes)
    ids = ids.repeat(8, axis=0).repeat(8, axis=1)
    ids[-3:] = features.IGNORE_LABEL
    return ids


def _encode(image: PIL.Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format=kind, **options)
    return buffer.getvalue()


def _palette(ids: np.ndarray) -> PIL.Image.Image:
    return masks.to_palette_image(ids, features.voc_palette())


def _jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    return _encode(pixels, "JPEG", **({"quality": 90} | options))


@dataclasses.dataclass(frozen=True)
class Set:
    """A data set on disk, of a row's own."""

    folder: pathlib.Path

    @property
    def root(self) -> pathlib.Path:
        return self.folder / "VOCdevkit/VOC2007"

    def image(self, name: str = "b.jpg") -> pathlib.Path:
        return self.root / "JPEGImages" / name

    def mask(self, name: str = "b.png") -> pathlib.Path:
        return self.root / "SegmentationClass" / name

    def list(self, split: str = "train") -> pathlib.Path:
        return self.root / "ImageSets/Segmentation" / f"{split}.txt"

    def describe(self, text: str) -> None:
        (self.folder / "vocseg.toml").write_text(text)


def _write_voc(folder: pathlib.Path, classes: int = 3) -> None:
    good = Set(folder)
    for path in (good.image(), good.mask(), good.list()):
        path.parent.mkdir(parents=True)
    for split, keys in KEYS.items():
        good.list(split).write_text("".join(f"{key}\n" for key in keys))
        for key in keys:
            good.image(f"{key}.jpg").write_bytes(_jpeg(_pixels(key)))
            _palette(_ids(key, classes)).save(good.mask(f"{key}.png"))
    good.describe(VOC if classes == 3 else VOC.replace(', "stone"', ""))


def _write_folders(folder: pathlib.Path) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for key in "abcdef":
        (folder / f"images/{key}.jpg").write_bytes(_jpeg(_pixels(key)))
        PIL.Image.fromarray(_ids(key)).save(folder / f"masks/{key}.png")
    Set(folder).describe(FOLDERS)


def _side_ids(key: str) -> np.ndarray:
    return np.where(_ids(key) == features.IGNORE_LABEL, 0, _ids(key)).astype(np.uint8)


def _sides(key: str, extra: int = 0) -> np.ndarray:
    both = np.concatenate([_pixels(key), np.array(COLORS, np.uint8)[_side_ids(key)]], axis=1)
    return np.pad(both, ((0, 0), (0, extra), (0, 0)))


def _write_sides(folder: pathlib.Path) -> None:
    for split, keys in KEYS.items():
        (folder / split).mkdir(parents=True)
        for key in keys:
            PIL.Image.fromarray(_sides(key)).save(folder / split / f"{key}.png")
    Set(folder).describe(SIDES)


BASES: dict[str, Callable[[pathlib.Path], None]] = {
    "voc": _write_voc,
    "two classes": lambda folder: _write_voc(folder, 2),
    "folders": _write_folders,
    "sides": _write_sides,
}


# What is promised.


@dataclasses.dataclass(frozen=True)
class Refused:
    """All of it is refused, whatever share may be bad: a `DataError` that matches; by_report: once all of it was read."""

    match: str
    by_report: bool = False


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """Just these pairs are not used; the record names the file and the reason, and the others are generated as they are."""

    files: str | tuple[str, ...]
    match: str
    keys: tuple[str, ...] = ()
    cause: str = "bad"

    def expected(self) -> dict[str, str]:
        names = (self.files,) if isinstance(self.files, str) else self.files
        return dict(zip(self.keys or [name.rpartition(".")[0] for name in names], names, strict=True))


@dataclasses.dataclass(frozen=True)
class Fine:
    """It is read correctly all the same.

    Attributes:
        ids: from the original ids of a key to those expected, where they are not the same.
        keys: those listed, where they are others.
        check: of the report; such a row has a job of its own.
    """

    ids: Callable[[str, np.ndarray], np.ndarray] = lambda key, ids: ids
    keys: tuple[str, ...] = tuple("abcdef")
    check: Callable[[Report], bool] | None = None


@dataclasses.dataclass(frozen=True)
class Leaking:
    """All is read, and refused since a picture stands in two splits."""

    match: str


@dataclasses.dataclass(frozen=True)
class Job:
    """What a command line would say."""

    data: pathlib.Path | str
    named: str = ""
    span: str = "newest"


Spoil = Callable[[Set], object]
"""Changes a set in place; where it returns a `Job`, that is what the command line says, else just the folder."""
Promise = Refused | Quarantined | Fine | Leaking


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    spoil: Spoil
    promise: Promise
    base: str = "voc"


# How a set is spoiled.

Content = bytes | Callable[[np.ndarray], bytes]


def _replace(path: pathlib.Path, name: str, content: Content, original: np.ndarray) -> None:
    path.unlink()
    path.with_name(name).write_bytes(content if isinstance(content, bytes) else content(original))


def image(content: Content, name: str = "b.jpg") -> Spoil:
    """Puts another picture in the place of b's, whose pixels a function may use."""
    return lambda good: _replace(good.image(), name, content, _pixels("b"))


def mask(content: Content, name: str = "b.png", classes: int = 3) -> Spoil:
    """Puts another mask in the place of b's, whose ids a function may use."""
    return lambda good: _replace(good.mask(), name, content, _ids("b", classes))


def listing(raw: bytes, split: str = "train") -> Spoil:
    return lambda good: good.list(split).write_bytes(raw)


def described(text: str | bytes, *others: Spoil) -> Spoil:
    """Writes another description, then spoils more."""

    def spoil(good: Set) -> None:
        (good.folder / "vocseg.toml").write_bytes(text.encode() if isinstance(text, str) else text)
        for other in others:
            other(good)

    return spoil


def every_mask(content: Callable[[np.ndarray], bytes], classes: int = 3) -> Spoil:
    def spoil(good: Set) -> None:
        for key in "abcdef":
            good.mask(f"{key}.png").write_bytes(content(_ids(key, classes)))

    return spoil


def written(path: str, content: bytes) -> Spoil:
    """Writes a file, by its path in the data folder."""
    return lambda good: (good.folder / path).write_bytes(content)


def deleted(*paths: str) -> Spoil:
    """Deletes files, by their paths in the data folder."""

    def spoil(good: Set) -> None:
        for path in paths:
            (good.folder / path).unlink()

    return spoil


def removed(path: str) -> Spoil:
    def spoil(good: Set) -> None:
        target = good.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def folder_at(path: str) -> Spoil:
    def spoil(good: Set) -> None:
        removed(path)(good)
        (good.root / path).mkdir()

    return spoil


def pipe_at(path: str) -> Spoil:
    def spoil(good: Set) -> None:
        removed(path)(good)
        os.mkfifo(good.root / path)

    return spoil


def socket_at(path: str) -> Spoil:
    def spoil(good: Set) -> None:
        removed(path)(good)
        where = os.getcwd()
        os.chdir((good.root / path).parent)  # A socket's address has room for some hundred bytes.
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.basename(path))
        finally:
            os.chdir(where)

    return spoil


def link_at(path: str, target: str) -> Spoil:
    """Puts a link in a file's or folder's place; {outside} in its target is a folder beside the data folder's."""

    def spoil(good: Set) -> None:
        outside = good.folder.parent / "outside"
        outside.mkdir(exist_ok=True)
        moved = outside / os.path.basename(path)
        if moved.is_dir():
            shutil.rmtree(moved)
        shutil.move(good.root / path, moved)
        (good.root / path).symlink_to(target.format(outside=outside))

    return spoil


def unreadable(path: str) -> Spoil:
    return lambda good: (good.root / path).chmod(0)


def copied(source: str, target: str) -> Spoil:
    def spoil(good: Set) -> None:
        shutil.copy(good.root / source, good.root / target)

    return spoil


def renamed(*moves: tuple[str, str]) -> Spoil:
    def spoil(good: Set) -> None:
        for source, target in moves:
            (good.root / source).rename(good.root / target)

    return spoil


def together(*spoils: Spoil) -> Spoil:
    def spoil(good: Set) -> None:
        for one in spoils:
            one(good)

    return spoil


def named(key: str) -> Spoil:
    """Gives the pair b another name, in the list too."""

    def spoil(good: Set) -> None:
        renamed(("JPEGImages/b.jpg", f"JPEGImages/{key}.jpg"))(good)
        renamed(("SegmentationClass/b.png", f"SegmentationClass/{key}.png"))(good)
        good.list().write_text(f"a\n{key}\nc\nd\n", encoding="utf-8")

    return spoil


def in_folders(*names: str) -> Spoil:
    """Gives pairs of the layout without lists other names, from a on."""

    def spoil(good: Set) -> None:
        for key, name in zip("abcdef", names, strict=False):
            (good.folder / f"images/{key}.jpg").rename(good.folder / f"images/{name}.jpg")
            (good.folder / f"masks/{key}.png").rename(good.folder / f"masks/{name}.png")

    return spoil


# Strange and damaged files.


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_that_claims(width: int, height: int, bits: int = 1) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(9))) + _chunk(b"IEND", b"")


def _jpeg_that_claims(width: int, height: int) -> bytes:
    small = _jpeg(_pixels("b"))
    start = small.index(b"\xff\xc0") + 5
    return small[:start] + struct.pack(">HH", height, width) + small[start + 4 :]


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def _mended(png: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """Replaces the data of a PNG's chunks; the sums are right again."""
    return png[:8] + b"".join(_chunk(kind, change(kind, data)) for kind, data in _chunks(png))


def _with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """Adds a chunk behind a PNG's header."""
    return png[:33] + _chunk(kind, data) + png[33:]


def _without_chunk(png: bytes, kind: bytes) -> bytes:
    return png[:8] + b"".join(_chunk(one, data) for one, data in _chunks(png) if one != kind)


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


def _bad_zlib(png: bytes) -> bytes:
    return _mended(png, lambda kind, data: _flipped(data, len(data) // 2) if kind == b"IDAT" else data)


def _too_few_rows(png: bytes) -> bytes:
    return _mended(png, lambda kind, data: zlib.compress(zlib.decompress(data)[:200]) if kind == b"IDAT" else data)


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def _lying(pixels: np.ndarray) -> bytes:
    """A picture as a telephone on its side stores it: turned upright it is `pixels`."""
    return _jpeg(np.rot90(pixels), exif=_exif(6), quality=95)


def _bad_exif(pixels: np.ndarray) -> bytes:
    """EXIF whose directory is cut off, and a tag that points nowhere."""
    good = _jpeg(pixels, exif=_exif(6))
    start = good.index(b"\xff\xe1")
    length = int.from_bytes(good[start + 2 : start + 4], "big")
    body = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\x7f"
    return good[: start + 2] + struct.pack(">H", len(body) + 2) + body + good[start + 2 + length :]


def _cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def _bits(ids: np.ndarray, bits: int) -> bytes:
    """Ids as a grey PNG of few bits, which Pillow does not write."""
    packed = np.unpackbits(ids[..., np.newaxis], axis=2)[..., 8 - bits :].reshape(len(ids), -1)
    rows = np.concatenate([np.zeros((len(ids), 1), np.uint8), np.packbits(packed, axis=1)], axis=1)
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return start + _chunk(b"IDAT", zlib.compress(rows.tobytes())) + _chunk(b"IEND", b"")


def _wide(pixels: np.ndarray, color_type: int) -> bytes:
    """A PNG of 16 bits a channel: grey (0) or RGB (2)."""
    values = (pixels.astype(np.uint16) * 257).astype(">u2")
    values = values[..., 0] if color_type == 0 else values
    raw = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, color_type, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return start + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")


def _colored(ids: np.ndarray) -> np.ndarray:
    """Ids in VOC's colours, uint8 [H, W, 3]."""
    return np.array(features.voc_palette(), np.uint8)[ids]


def _no_void(ids: np.ndarray) -> np.ndarray:
    return np.where(ids == features.IGNORE_LABEL, 0, ids).astype(np.uint8)


def _only_b(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[str, np.ndarray], np.ndarray]:
    return lambda key, ids: change(ids) if key == "b" else ids


NO_VOID = Fine(ids=_only_b(_no_void))


def _animated(first: PIL.Image.Image, kind: str) -> bytes:
    others = [first.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM), first.transpose(PIL.Image.Transpose.ROTATE_180)]
    return _encode(first, kind, save_all=True, append_images=others, duration=100, loop=0)


def _one_value(ids: np.ndarray, value: int, dtype: type = np.uint8) -> np.ndarray:
    changed: np.ndarray = ids.astype(dtype)
    changed[5, 7] = value
    return changed


def _quantised(ids: np.ndarray) -> bytes:
    """What `Image.quantize` makes of a mask in colours: indices in an order of their own."""
    image = PIL.Image.fromarray(_colored(ids)).quantize(16)
    order = np.asarray(image)
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    assert (colors[order] == _colored(ids)).all() and (order != ids).any()
    return _encode(image)


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 32\nquit\n"
A_JPEG, A_PNG, A_MASK = _jpeg(_pixels("b")), _encode(_pixels("b")), _encode(_palette(_ids("b")))
BEHIND_HEADER = A_JPEG.index(b"\xff\xda") + 14

IMAGE_ROWS = [
    Row("image missing", removed("JPEGImages/b.jpg"), Quarantined("b.jpg", "the image does not exist")),
    Row("image of no bytes", image(b""), Quarantined("b.jpg", "the image cannot be read")),
    Row("image of one byte", image(b"\xff"), Quarantined("b.jpg", "the image cannot be read")),
    Row("jpeg magic only", image(b"\xff\xd8\xff"), Quarantined("b.jpg", "the image cannot be read")),
    Row("jpeg cut in its header", image(A_JPEG[:60]), Quarantined("b.jpg", "the image cannot be read")),
    Row("jpeg cut behind its header", image(A_JPEG[:BEHIND_HEADER]), Quarantined("b.jpg", "the image is damaged")),
    Row("jpeg cut in the middle", image(_cut(A_JPEG, 0.7)), Quarantined("b.jpg", "the image is damaged")),
    Row("jpeg cut before its last bytes", image(A_JPEG[:-20]), Quarantined("b.jpg", "the image is damaged")),
    Row("png cut in its header", image(A_PNG[:20], "b.png"), Quarantined("b.png", "the image cannot be read")),
    Row("png cut in the middle", image(_cut(A_PNG, 0.5), "b.png"), Quarantined("b.png", "the image is damaged")),
    Row("text named .jpg", image(b"This is no picture.\n" * 9), Quarantined("b.jpg", "the image cannot be read")),
    Row("html named .png", image(HTML, "b.png"), Quarantined("b.png", "the image cannot be read")),
    Row("svg named .png", image(SVG, "b.png"), Quarantined("b.png", "the image cannot be read")),
    Row("postscript named .jpg", image(EPS), Quarantined("b.jpg", "the image cannot be read")),
    Row("noise named .jpg", image(np.random.default_rng(0).bytes(999)), Quarantined("b.jpg", "the image cannot be read")),
    Row("zeros named .jpg", image(bytes(4096)), Quarantined("b.jpg", "the image cannot be read")),
    Row("image is a folder", folder_at("JPEGImages/b.jpg"), Quarantined("b.jpg", "cannot be read: Is a directory")),
    Row("image is a pipe", pipe_at("JPEGImages/b.jpg"), Quarantined("b.jpg", "cannot be read: it is a pipe")),
    Row("image is a socket", socket_at("JPEGImages/b.jpg"), Quarantined("b.jpg", "cannot be read: it is a pipe, a socket")),
    Row("png bomb by its header", image(_png_that_claims(60_000, 60_000)), Quarantined("b.jpg", "60000x60000|exceeds limit")),
    Row("largest png there can be", image(_png_that_claims(2**31 - 1, 2**31 - 1)), Quarantined("b.jpg", "exceeds limit")),
    Row("png of no width", image(_png_that_claims(0, 9)), Quarantined("b.jpg", "the image (cannot be read|is damaged)")),
    Row("jpeg bomb by its header", image(_jpeg_that_claims(65_000, 65_000)), Quarantined("b.jpg", "exceeds limit")),
    Row("jpeg of no height", image(_jpeg_that_claims(48, 0)), Quarantined("b.jpg", "the image (cannot be read|is damaged)")),
    Row("jpeg of more rows than it holds", image(_jpeg_that_claims(48, 9000)), Quarantined("b.png", "its image 48x9000")),
    Row("image too long", image(_encode(PIL.Image.new("L", (20_000, 1)))), Quarantined("b.jpg", "a side may have 16384")),
    Row("png with a false sum in its pixels", image(_flipped(A_PNG, -20)), Quarantined("b.jpg", "the image is damaged")),
    Row("png with a false sum in its header", image(_flipped(A_PNG, 30)), Quarantined("b.jpg", "the image cannot be read")),
    Row("png with broken pixels and right sums", image(_bad_zlib(A_PNG)), Quarantined("b.jpg", "the image is damaged")),
    Row("png with too few rows", image(_too_few_rows(A_PNG)), Quarantined("b.jpg", "the image is damaged")),
    Row("png without pixels", image(_without_chunk(A_PNG, b"IDAT")), Quarantined("b.jpg", "the image")),
    Row(
        "png with a text that is a bomb",
        image(_with_chunk(A_PNG, b"zTXt", b"a\0\0" + zlib.compress(bytes(9_000_000)))),
        Quarantined("b.jpg", "the image cannot be read: Decompressed data too large"),
    ),
    Row(
        "jpeg with a broken Huffman table",
        image(lambda p: _flipped(_jpeg(p), _jpeg(p).index(b"\xff\xc4") + 6)),
        Quarantined("b.jpg", "the image is damaged"),
    ),
    # A JPEG has no checksum of its pixels: where they stop before an end mark, every decoder fills in grey.
    Row("jpeg whose pixels stop before its end mark", image(lambda p: _cut(_jpeg(p), 0.7) + b"\xff\xd9"), Fine()),
    Row(
        "float tiff",
        image(lambda p: _encode(p[..., 0].astype(np.float32), "TIFF"), "b.tif"),
        Quarantined("b.tif", "mode F, 32 bits; expected 8 or 16"),
    ),
    Row(
        "tiff of 32 bits",
        image(lambda p: _encode(p[..., 0].astype(np.int32), "TIFF"), "b.tif"),
        Quarantined("b.tif", "mode I, 32 bits"),
    ),
    Row("webp cut", image(lambda p: _cut(_encode(p, "WEBP"), 0.5), "b.webp"), Quarantined("b.webp", "the image")),
    Row("bmp cut", image(lambda p: _cut(_encode(p, "BMP"), 0.5), "b.bmp"), Quarantined("b.bmp", "the image is damaged")),
    Row("tiff cut", image(lambda p: _cut(_encode(p, "TIFF"), 0.5), "b.tif"), Quarantined("b.tif", "the image")),
    Row(
        "picture on its side, mask as it is stored",
        together(image(lambda p: _lying(p)), mask(lambda i: _encode(np.rot90(i)))),
        Quarantined("b.png", "has 32x48 pixels, its image 48x32; is one of them turned"),
    ),
    Row("picture on its side, mask as it is shown", image(_lying), Fine()),
    Row("picture with broken exif", image(_bad_exif), Fine()),
    Row("picture with an orientation of no meaning", image(lambda p: _jpeg(p, exif=_exif(200))), Fine()),
    Row("png named .jpg", image(_encode), Fine()),
    Row("jpeg named .png", image(_jpeg, "b.png"), Fine()),
    Row("gif named .jpg", image(lambda p: _encode(PIL.Image.fromarray(p).quantize(64), "GIF")), Fine()),
    Row("ending in capitals", image(_jpeg, "b.JPG"), Fine()),
    Row("jpeg with garbage behind its end", image(lambda p: _jpeg(p) + b"<?php garbage ?>" * 99), Fine()),
    Row("two jpegs in one file", image(lambda p: _jpeg(p) + _jpeg(p[::-1])), Fine()),
    Row("png with garbage behind its end", image(lambda p: _encode(p) + b"garbage" * 99), Fine()),
    Row("grey jpeg", image(lambda p: _jpeg(p[..., 0])), Fine()),
    Row("progressive jpeg", image(lambda p: _jpeg(p, progressive=True)), Fine()),
    Row("cmyk jpeg", image(lambda p: _encode(PIL.Image.fromarray(p).convert("CMYK"), "JPEG")), Fine()),
    Row("cmyk tiff", image(lambda p: _encode(PIL.Image.fromarray(p).convert("CMYK"), "TIFF"), "b.tif"), Fine()),
    Row("rgba png", image(lambda p: _encode(PIL.Image.fromarray(p).convert("RGBA")), "b.png"), Fine()),
    Row("grey png with alpha", image(lambda p: _encode(PIL.Image.fromarray(p).convert("LA")), "b.png"), Fine()),
    Row("palette png", image(lambda p: _encode(PIL.Image.fromarray(p).quantize(64), transparency=3), "b.png"), Fine()),
    Row("1-bit png", image(lambda p: _encode(p[..., 0] > 99), "b.png"), Fine()),
    Row("grey png of 16 bits", image(lambda p: _wide(p, 0), "b.png"), Fine()),
    Row("rgb png of 16 bits", image(lambda p: _wide(p, 2), "b.png"), Fine()),
    Row("bmp", image(lambda p: _encode(p, "BMP"), "b.bmp"), Fine()),
    Row("webp", image(lambda p: _encode(p, "WEBP"), "b.webp"), Fine()),
    Row("animated gif", image(lambda p: _animated(PIL.Image.fromarray(p).quantize(64), "GIF"), "b.gif"), Fine()),
    Row("animated png", image(lambda p: _animated(PIL.Image.fromarray(p), "PNG"), "b.png"), Fine()),
]

MASK_ROWS = [
    Row("mask missing", removed("SegmentationClass/b.png"), Quarantined("b.png", "the mask does not exist")),
    Row("mask of no bytes", mask(b""), Quarantined("b.png", "the mask cannot be read")),
    Row("mask cut in its header", mask(A_MASK[:30]), Quarantined("b.png", "the mask cannot be read")),
    Row("mask cut in the middle", mask(_cut(A_MASK, 0.9)), Quarantined("b.png", "the mask cannot be read")),
    Row("mask is text", mask(b"0 0 0 1 1 1\n" * 9), Quarantined("b.png", "the mask cannot be read")),
    Row("mask is a folder", folder_at("SegmentationClass/b.png"), Quarantined("b.png", "cannot be read: Is a directory")),
    Row("mask is a pipe", pipe_at("SegmentationClass/b.png"), Quarantined("b.png", "cannot be read: it is a pipe")),
    Row("mask bomb by its header", mask(_png_that_claims(50_000, 50_000)), Quarantined("b.png", "exceeds limit")),
    Row("mask too long", mask(_png_that_claims(17_000, 1)), Quarantined("b.png", "the mask .* a side may have 16384")),
    Row("mask a row too high", mask(lambda i: _encode(np.pad(i, ((0, 1), (0, 0))))), Quarantined("b.png", "48x33 .* 48x32")),
    Row("mask a column too narrow", mask(lambda i: _encode(i[:, 1:])), Quarantined("b.png", "has 47x32 .* its image 48x32")),
    Row("mask of twice the size", mask(lambda i: _encode(i.repeat(2, 0).repeat(2, 1))), Quarantined("b.png", "96x64 pixels")),
    Row("mask turned", mask(lambda i: _encode(i.T)), Quarantined("b.png", "is one of them turned")),
    Row("mask of one pixel", mask(lambda i: _encode(i[:1, :1])), Quarantined("b.png", "1x1 pixels")),
    Row(
        "masks of two ids swapped",
        together(
            image(_jpeg(_pixels("b")[:16])),
            renamed(("SegmentationClass/b.png", "x"), ("SegmentationClass/c.png", "SegmentationClass/b.png")),
            renamed(("x", "SegmentationClass/c.png")),
            written("VOCdevkit/VOC2007/SegmentationClass/c.png", _encode(_ids("b")[:16])),
        ),
        Quarantined(("b.png", "c.png"), "the mask has .* its image"),
    ),
    Row(
        "mask of palette with an id too many",
        mask(lambda i: _encode(_palette(_one_value(i, 3)))),
        Quarantined("b.png", r"1 pixels have an id outside 0\.\.2 and 255 \(void\), first 3 at x=7, y=5"),
    ),
    Row("grey mask with an id too many", mask(lambda i: _encode(_one_value(i, 254))), Quarantined("b.png", "first 254 at x=7")),
    Row("grey mask of 0 and 127", mask(lambda i: _encode(i // 2)), Quarantined("b.png", "outside 0..2 .* first 127")),
    Row(
        "color of no class",
        mask(lambda i: _encode(np.where((i == 1)[..., np.newaxis], 77, _colored(i)).astype(np.uint8))),
        Quarantined("b.png", r"have a colour that no class has, first \(77, 77, 77\)"),
    ),
    Row(
        "palette in another order",
        mask(lambda i: _encode(masks.to_palette_image(_no_void(i), features.voc_palette()[2::-1]))),
        Quarantined("b.png", 'can be read in two ways: "ids" gives .*; "colors" gives .* mask.encoding'),
    ),
    Row("quantised mask of three colors", mask(lambda i: _quantised(_no_void(i))), Quarantined("b.png", "in two ways")),
    Row("quantised mask of four colors", mask(_quantised), Fine()),
    Row(
        "mask smeared by a jpeg",
        mask(lambda i: _encode(_colored(i), "JPEG")),
        Quarantined("b.png", "smears colours: mask.color_tolerance"),
    ),
    Row("grey mask smeared by a jpeg", mask(lambda i: _encode(i, "JPEG"), "b.jpg"), Quarantined("b.jpg", "that no class has")),
    Row(
        "grey mask of 16 bits with a large id",
        mask(lambda i: _encode(_one_value(i, 1001, np.uint16))),
        Quarantined("b.png", "first 1001 at x=7, y=5"),
    ),
    Row(
        "grey mask of 16 bits, spread", mask(lambda i: _encode(i.astype(np.uint16) * 257)), Quarantined("b.png", "outside 0..2")
    ),
    Row("rgb mask of 16 bits", mask(lambda i: _wide(_colored(i), 2)), Quarantined("b.png", "16 bits a channel")),
    Row(
        "cmyk mask",
        mask(lambda i: _encode(PIL.Image.fromarray(_colored(i)).convert("CMYK"), "TIFF"), "b.tif"),
        Quarantined("b.tif", "the mask has mode CMYK; expected a palette"),
    ),
    Row("float mask", mask(lambda i: _encode(i.astype(np.float32), "TIFF"), "b.tif"), Quarantined("b.tif", "mode F; expected")),
    Row(
        "mask of 32 bits",
        mask(lambda i: _encode(i.astype(np.int32), "TIFF"), "b.tif"),
        Quarantined("b.tif", "mode I; expected"),
    ),
    Row("mask with a false sum", mask(lambda i: _flipped(_encode(i), 50)), Quarantined("b.png", "the mask cannot be read")),
    Row(
        "mask with broken pixels and right sums",
        mask(lambda i: _bad_zlib(_encode(i))),
        Quarantined("b.png", "the mask cannot be read"),
    ),
    Row("mask with too few rows", mask(lambda i: _too_few_rows(_encode(i))), Quarantined("b.png", "the mask cannot be read")),
    Row("grey mask", mask(_encode), Fine()),
    Row("grey mask of 16 bits", mask(lambda i: _encode(i.astype(np.uint16))), Fine()),
    Row("grey mask as rgb", mask(lambda i: _encode(np.repeat(i[..., np.newaxis], 3, 2))), Fine()),
    Row("red mask", mask(lambda i: _encode(np.stack([_no_void(i), 0 * i, 0 * i], 2))), NO_VOID),
    Row("grey mask with alpha", mask(lambda i: _encode(np.stack([i, 255 - i], 2))), Fine()),
    Row("mask in colors", mask(lambda i: _encode(_colored(i))), Fine()),
    Row("mask in colors with alpha", mask(lambda i: _encode(PIL.Image.fromarray(_colored(i)).convert("RGBA"))), Fine()),
    Row("mask of 1 bit", mask(lambda i: _encode(i == 1)), Fine(ids=_only_b(lambda i: (i == 1).astype(np.uint8)))),
    Row("mask of 2 bits", mask(lambda i: _bits(_no_void(i), 2)), NO_VOID),
    Row("mask of 4 bits", mask(lambda i: _bits(_no_void(i), 4)), NO_VOID),
    Row("mask as tiff", mask(lambda i: _encode(i, "TIFF"), "b.tif"), Fine()),
    Row("mask as bmp", mask(lambda i: _encode(i, "BMP"), "b.bmp"), Fine()),
    Row("mask as lossless webp", mask(lambda i: _encode(_colored(i), "WEBP", lossless=True), "b.webp"), Fine()),
    Row(
        "mask as animated gif",
        mask(lambda i: _animated(_palette(i), "GIF"), "b.gif"),
        Quarantined("b.gif", "it holds 3 pictures; expected one"),
    ),
    Row("mask as animated png", mask(lambda i: _animated(_palette(i), "PNG")), Quarantined("b.png", "it holds 3 pictures")),
    Row(
        "ids expected, colors given",
        described(VOC + 'encoding = "ids"\n', mask(lambda i: _encode(_colored(i)))),
        Quarantined("b.png", 'the mask is in colour, first .* expected ids. .* mask.encoding = "colors"'),
    ),
    Row(
        "colors expected, ids given",
        described(VOC + 'encoding = "colors"\n', mask(_encode)),
        Quarantined("b.png", r"have a colour that no class has, first \(1, 1, 1\)|first \(2, 2, 2\)"),
    ),
    Row(
        "binary expected, three classes given",
        described(VOC.replace(', "stone"', "") + 'encoding = "binary"\n'),
        Refused(r"No usable pair is left of the 4 in the split train:\n.*expected 0 and one other \(binary\)"),
    ),
    Row(
        "white is either void or a class",
        mask(lambda i: _encode(np.where(i == 1, 255, 0).astype(np.uint8)), classes=2),
        Quarantined("b.png", 'in two ways: "ids" gives .*; "binary" gives'),
        base="two classes",
    ),
    Row(
        "white is a class",
        described(VOC.replace(', "stone"', "") + 'encoding = "binary"\n', every_mask(lambda i: _encode(i == 1), classes=2)),
        Fine(ids=lambda key, ids: (ids == 1).astype(np.uint8)),
        base="two classes",
    ),
    Row(
        "white is a class and grey is a third value",
        described(
            VOC.replace(', "stone"', "") + 'encoding = "binary"\n',
            every_mask(lambda i: _encode(i == 1), classes=2),
            mask(lambda i: _encode(i * 100), classes=2),
        ),
        Quarantined("b.png", "the mask has the values 0, 100, .* expected 0 and one other"),
        base="two classes",
    ),
    Row(
        "all masks void",
        every_mask(lambda i: _encode(_palette(np.full_like(i, 255)))),
        Refused("No pixel has a class in the split train and validation: its masks are void all over", by_report=True),
    ),
    Row(
        "class that never occurs",
        described(VOC.replace('"stone"', '"stone", "moss"')),
        Fine(check=lambda found: found.splits["train"].class_images == {"background": 4, "leaf": 4, "stone": 4, "moss": 0}),
    ),
    Row(
        "side by side with an odd width",
        lambda good: PIL.Image.fromarray(_sides("b", 1)).save(good.folder / "train/b.png"),
        Quarantined("b.png", "the image is 97 pixels wide; expected two halves", keys=("train/b",)),
        base="sides",
    ),
    Row(
        "side by side without a mask",
        lambda good: PIL.Image.fromarray(np.tile(_pixels("b"), (1, 2, 1))).save(good.folder / "train/b.png"),
        Quarantined("b.png", "a colour that no class has", keys=("train/b",)),
        base="sides",
    ),
    Row(
        "side by side",
        lambda good: None,
        Fine(ids=lambda key, ids: _no_void(ids), keys=("train/a", "train/b", "train/c", "train/d", "val/e", "val/f")),
        base="sides",
    ),
]

NFD = unicodedata.normalize("NFD", "Bäume")
AGAIN = "line 3: 'b'; it stands in line 2 already; remove one"
OUTSIDE = r"train.txt lists what cannot be used:\n  line 2: .*; expected the id of an image"

LIST_ROWS = [
    Row("list with CRLF", listing(b"a\r\nb\r\nc\r\nd\r\n"), Fine()),
    Row("list with CR", listing(b"a\rb\rc\rd\r"), Fine()),
    Row("list with a byte order mark", listing(b"\xef\xbb\xbfa\r\nb\r\nc\r\nd"), Fine()),
    Row("list with blanks", listing(b"  a\nb  \n\tc\t\nd \n"), Fine()),
    Row("list with blank lines", listing(b"\n\na\n \nb\n\t\nc\nd\n\n\n"), Fine()),
    Row("list without a last line end", listing(b"a\nb\nc\nd"), Fine()),
    Row("list with endings", listing(b"a.jpg\nb.JPG\nc.png\nd\n"), Fine()),
    Row("list with an id twice", listing(b"a\nb\nb\nd\n"), Refused(AGAIN)),
    Row(
        "list with an id twice, once with an ending",
        listing(b"a\nb\nb.jpg\nd\n"),
        Refused("'b' more than once: with an ending"),
    ),
    Row("list that leaves the folder", listing(b"a\n../../x\n"), Refused(OUTSIDE)),
    Row("list that leaves the folder in its middle", listing(b"a\nx/../../../../etc/hosts\n"), Refused(OUTSIDE)),
    Row("list with an absolute path", listing(b"a\n/etc/passwd\n"), Refused(OUTSIDE)),
    Row("list with a path of Windows", listing(b"a\nC:\\data\\b\n"), Refused(OUTSIDE)),
    Row("list with an address", listing(b"a\ngs://bucket/b\n"), Refused(OUTSIDE)),
    Row("list with a hidden file", listing(b"a\n.b\n"), Refused(OUTSIDE)),
    Row("list with a NUL", listing(b"a\nb\0\nc\n"), Refused(OUTSIDE)),
    Row("list with a control character", listing(b"a\nb\x1b[0m\nc\n"), Refused(OUTSIDE)),
    Row("list with an invisible character", listing("a\nb\u200b\nc\n".encode()), Refused(OUTSIDE)),
    Row("list with text turned round", listing("a\nb\u202egpj\nc\n".encode()), Refused(OUTSIDE)),
    Row("two lists joined with their marks", listing(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"), Refused(OUTSIDE)),
    Row("list in UTF-16", listing("a\nb\n".encode("utf-16")), Refused("train.txt is not a text file in UTF-8")),
    Row("list in UTF-16 without a mark", listing("a\nb\n".encode("utf-16-le")), Refused("train.txt lists what cannot be used")),
    Row("list in Latin-1", listing(b"a\nB\xe4ume\n"), Refused("train.txt is not a text file in UTF-8")),
    Row("list is a picture", listing(A_JPEG), Refused("train.txt is not a text file in UTF-8")),
    Row("list of nothing", listing(b""), Refused("train.txt is empty; expected a line a picture")),
    Row("list of blank lines", listing(b"\xef\xbb\xbf \r\n\r\n"), Refused("train.txt is empty")),
    Row("list missing", removed("ImageSets/Segmentation/train.txt"), Refused("train.txt does not exist; expected a line")),
    Row("list of val missing", removed("ImageSets/Segmentation/val.txt"), Refused("val.txt does not exist; expected a line")),
    Row("list of test empty", listing(b"", "test"), Fine()),
    Row("list is a folder", folder_at("ImageSets/Segmentation/train.txt"), Refused("train.txt cannot be read: Is a directory")),
    Row("list is a pipe", pipe_at("ImageSets/Segmentation/train.txt"), Refused("train.txt cannot be read: it is a pipe")),
    Row(
        "list is a device", link_at("ImageSets/Segmentation/train.txt", "/dev/zero"), Refused("train.txt is a link that leaves")
    ),
    Row("lists missing", removed("ImageSets"), Refused("has JPEGImages and SegmentationClass, but no ImageSets/Segmentation")),
    Row("list with an id in capitals", listing(b"a\nB\nc\nd\n"), Quarantined("B.jpg", "the image does not exist")),
    Row("list with a second column", listing(b"a\nb -1\nc\nd\n"), Quarantined("b -1.jpg", "the image does not exist")),
    Row("list with an id that is not there", listing(b"a\nb\nc\nd\nz\n"), Quarantined("z.jpg", "the image does not exist")),
    Row(
        "list with a very long id",
        listing(b"a\nb\nc\nd\n" + b"z" * 5000),
        Quarantined("z" * 5000 + ".jpg", "File name too long"),
    ),
    Row(
        "list with an id in another spelling of Unicode",
        together(named("Bäume"), listing(f"a\n{NFD}\nc\nd\n".encode())),
        Quarantined(f"{NFD}.jpg", "the image does not exist"),
    ),
    Row(
        "id of a folder within",
        together(
            lambda good: (good.root / "JPEGImages/x").mkdir(),
            lambda good: (good.root / "SegmentationClass/x").mkdir(),
            named("x/b"),
        ),
        Fine(keys=("a", "x/b", *"cdef")),
    ),
    *(
        Row(f"id with {what}", named(key), Fine(keys=("a", key, *"cdef")))
        for what, key in {
            "letters outside ASCII": "Bäume 木 🌳",
            "blanks": "my  photo (1)",
            "quotes": "b'\"`$(x)`",
            "dots": "b.v2.final",
            "marks of patterns": "b[0-9]*?{a,b}%s",
            "a sign in front": "-rf",
            "a mark of comments": "#b",
            "two hundred letters": "b" * 200,
            "an ending of something else": "b.txt",
        }.items()
    ),
]

LINK = "is a link that leaves the data folder"

PAIR_ROWS = [
    Row("image is a link out of the folder", link_at("JPEGImages/b.jpg", "{outside}/b.jpg"), Quarantined("b.jpg", LINK)),
    Row("image is a link to a device", link_at("JPEGImages/b.jpg", "/dev/zero"), Quarantined("b.jpg", LINK)),
    Row("image is a link to nothing within", link_at("JPEGImages/b.jpg", "z.jpg"), Quarantined("b.jpg", "does not exist")),
    Row(
        "image is a link to itself",
        link_at("JPEGImages/b.jpg", "b.jpg"),
        Quarantined("b.jpg", "cannot be read: Too many levels"),
    ),
    Row("mask is a link out of the folder", link_at("SegmentationClass/b.png", "{outside}/b.png"), Quarantined("b.png", LINK)),
    Row(
        "folder of images is a link out", link_at("JPEGImages", "{outside}/JPEGImages"), Refused(f"No usable pair .*\n.*{LINK}")
    ),
    Row(
        "folder of masks is a link out",
        link_at("SegmentationClass", "{outside}/SegmentationClass"),
        Refused(f"No usable pair is left of the 4 in the split train:\n.*b.png: the mask {LINK}"),
    ),
    Row(
        "image is a link within the folder",
        together(renamed(("JPEGImages/b.jpg", "hidden.bin")), lambda good: good.image().symlink_to("../hidden.bin")),
        Fine(),
    ),
    Row(
        "two images of an id",
        copied("SegmentationClass/b.png", "JPEGImages/b.png"),
        Quarantined("b.jpg", "there are several: b.jpg, b.png; expected one image"),
    ),
    Row(
        "two images of an id, one listed",
        together(copied("SegmentationClass/b.png", "JPEGImages/b.png"), listing(b"a\nb.jpg\nc\nd\n")),
        Fine(),
    ),
    Row(
        "two masks of an id",
        copied("JPEGImages/b.jpg", "SegmentationClass/b.bmp"),
        Quarantined("b.jpg", "there are several: b.bmp, b.png; expected one mask"),
    ),
    Row("image not permitted", unreadable("JPEGImages/b.jpg"), Quarantined("b.jpg", "cannot be read: Permission denied")),
    Row("mask not permitted", unreadable("SegmentationClass/b.png"), Quarantined("b.png", "cannot be read: Permission denied")),
    Row("list not permitted", unreadable("ImageSets/Segmentation/train.txt"), Refused("cannot be read: Permission denied")),
    Row("folder not permitted", unreadable("JPEGImages"), Refused("JPEGImages cannot be listed: Permission denied")),
    Row("images missing", removed("JPEGImages"), Refused("but no JPEGImages")),
    Row("folder of images is empty", folder_at("JPEGImages"), Refused("No usable pair is left")),
    Row(
        "all images broken",
        together(*(written(f"VOCdevkit/VOC2007/JPEGImages/{key}.jpg", HTML) for key in "abcdef")),
        Refused("No usable pair is left of the 4 in the split train:\n.*a.jpg: the image cannot be read"),
    ),
    Row(
        "all of val broken",
        together(*(written(f"VOCdevkit/VOC2007/SegmentationClass/{key}.png", b"") for key in "ef")),
        Refused("No usable pair is left of the 2 in the split validation:\n.*e.png: the mask cannot be read"),
    ),
    Row(
        "image without a mask",
        deleted("masks/b.png"),
        Quarantined("b.png", "the mask does not exist"),
        base="folders",
    ),
    Row(
        "mask without an image",
        deleted("images/b.jpg"),
        Quarantined("b.jpg", "the image does not exist"),
        base="folders",
    ),
    Row(
        "one picture only",
        deleted(*(f"images/{key}.jpg" for key in "bcdef"), *(f"masks/{key}.png" for key in "bcdef")),
        Refused("one picture only, .*a.jpg; train and validation need one each"),
        base="folders",
    ),
    Row(
        "name that is not UTF-8",
        in_folders("a", os.fsdecode(b"B\xe4ume")),
        Quarantined(r"B\xe4ume.jpg", "its name is not UTF-8, .*; rename it and its mask"),
        base="folders",
    ),
    Row(
        "bad mask with a name that would colour the terminal",
        together(in_folders("a", "b\x1b[0m\n"), written("masks/b\x1b[0m\n.png", b"")),
        Quarantined("b\x1b[0m\n.png", "the mask cannot be read"),
        base="folders",
    ),
    Row(
        "names of any kind",
        in_folders("a\nb", "b ", "c\x1b[2J", "d\u2028", "e\u202egpj"),
        Fine(keys=("a\nb", "b ", "c\x1b[2J", "d\u2028", "e\u202egpj", "f")),
        base="folders",
    ),
]


def _reencoded(good: Set) -> None:
    """Puts a PNG with just the pixels of a's JPEG in the place of e, with e's mask."""
    pixels = images.read_picture(good.image("a.jpg").read_bytes()).pixels
    good.image("e.jpg").unlink()
    good.image("e.png").write_bytes(_encode(pixels))


DROP = VOC.replace('"fail"', '"drop_from_train"')

LEAK_ROWS = [
    Row("id in two lists", listing(b"e\nf\na\n", "val"), Leaking(r"train/a \(.*a.jpg\) = validation/a \(.*a.jpg\)")),
    Row("id in two lists, once with an ending", listing(b"e\nf\na.jpg\n", "val"), Leaking("train/a .* = validation/a")),
    Row(
        "picture under two names", copied("JPEGImages/a.jpg", "JPEGImages/e.jpg"), Leaking(r"train/a .* = validation/e .*e.jpg")
    ),
    Row("picture under two names and formats", _reencoded, Leaking(r"train/a \(.*a.jpg\) = validation/e \(.*e.png\)")),
    Row(
        "picture by two links",
        together(removed("JPEGImages/e.jpg"), lambda good: good.image("e.jpg").symlink_to("a.jpg")),
        Leaking("train/a .* = validation/e"),
    ),
    Row("picture twice in train", copied("JPEGImages/a.jpg", "JPEGImages/b.jpg"), Fine()),
    Row(
        "picture compressed anew",
        written("VOCdevkit/VOC2007/JPEGImages/e.jpg", _jpeg(_pixels("a"), quality=60)),
        Fine(check=lambda found: [pair.first[1] + pair.second[1] for pair in found.near_duplicates] == ["ae"]),
    ),
    Row(
        "id in two lists, of which train gives way",
        described(DROP, listing(b"e\nf\na\n", "val")),
        Quarantined("a.jpg", "another split has the same picture; left out of train", cause="leak"),
    ),
    Row(
        "picture under two names, of which train gives way",
        described(DROP, copied("JPEGImages/a.jpg", "JPEGImages/e.jpg")),
        Quarantined("a.jpg", "another split has the same picture; left out of train", cause="leak"),
    ),
    Row(
        "id in val and test, where train gives way",
        described(DROP, listing(b"f\n", "test")),
        Leaking("validation/f .* = test/f"),
    ),
]


def spec_row(name: str, change: Callable[[str], str | bytes], match: str) -> Row:
    return Row(f"spec with {name}", lambda good: described(change(VOC))(good), Refused(rf"vocseg.toml.*{match}"))


def _spec_that_is_a_pipe(good: Set) -> Job:
    os.mkfifo(good.folder / "x.toml")
    return Job(good.folder, named=str(good.folder / "x.toml"))


SPEC_ROWS = [
    spec_row("a key of no meaning", lambda toml: toml + 'encodign = "ids"\n', "no key mask.encodign; did you mean encoding"),
    spec_row("a table of no meaning", lambda toml: toml + "[model]\n", "no key model; there are name"),
    spec_row("a number for a text", lambda toml: toml.replace('"tiny"', "7"), "name takes a text; got 7"),
    spec_row("a text for a list", lambda toml: re.sub(r"\[\"b.*\]", '"leaf"', toml), "classes must be a list; got 'leaf'"),
    spec_row("a text for a number", lambda toml: toml + 'color_tolerance = "9"\n', "mask.color_tolerance takes a number"),
    spec_row("a truth for a number", lambda toml: toml + "void_ids = [true]\n", "mask.void_ids takes a whole number; got True"),
    spec_row("a list for a table", lambda toml: "layout = []\n" + toml.split("[layout]")[0], "layout must be a table"),
    spec_row("an encoding of no meaning", lambda toml: toml + 'encoding = "color"\n', "Did you mean 'colors'"),
    spec_row("no name", lambda toml: toml.replace('name = "tiny"', ""), "name must be given"),
    spec_row("one class", lambda toml: re.sub(r"\[\"b.*\]", '["leaf"]', toml), "expected 2 to 255 names, got 1"),
    spec_row("a class twice", lambda toml: toml.replace("stone", "leaf"), "classes has leaf more than once"),
    spec_row(
        "256 classes", lambda toml: re.sub(r"\[\"b.*\]", str([f"c{i}" for i in range(256)]), toml), "2 to 255 names, got 256"
    ),
    spec_row("a path out of the folder", lambda toml: toml.replace('"JPEGImages"', '"../x"'), "layout.images is a path inside"),
    spec_row("an absolute path", lambda toml: toml.replace('"JPEGImages"', '"/etc"'), "layout.images is a path inside"),
    spec_row("a color out of range", lambda toml: toml + "void_colors = [[0, 0, 256]]\n", "0..255; got .0, 0, 256"),
    spec_row("a color of two numbers", lambda toml: toml + "void_colors = [[0, 0]]\n", "void_colors: expected 3 numbers"),
    spec_row("an infinite number", lambda toml: toml + "color_tolerance = nan\n", "color_tolerance lies in 0..442; got nan"),
    spec_row("a syntax error", lambda toml: toml + "encoding = \n", "is not a TOML file: .*line"),
    spec_row("nothing in it", lambda toml: "", "name, classes must be given"),
    spec_row("bytes that are no text", lambda toml: A_JPEG, "is not a TOML file"),
    spec_row("JSON in it", lambda toml: '{"name": "tiny"}', "is not a TOML file"),
    spec_row("brackets without end", lambda toml: "x = " + "[" * 9999, "is not a TOML file"),
    Row(
        "spec that is missing", lambda good: Job(good.folder, named="other.toml"), Refused("other.toml cannot be read: No such")
    ),
    Row(
        "spec of no such name",
        lambda good: Job(good.folder, named="voc2077"),
        Refused("no description 'voc2077': expected voc2007"),
    ),
    Row(
        "spec that is a folder",
        lambda good: Job(good.folder, named=str(good.root)),
        Refused("VOC2007 cannot be read: Is a dir"),
    ),
    Row(
        "spec that is a pipe",
        _spec_that_is_a_pipe,
        Refused("x.toml cannot be read: it is a pipe"),
    ),
    Row(
        "no spec and no picture",
        together(removed(""), deleted("vocseg.toml"), written("notes.txt", b"x")),
        Refused("notes.txt|no picture|holds"),
    ),
    Row(
        "no spec and broken masks",
        together(deleted("vocseg.toml"), every_mask(lambda i: HTML)),
        Refused("mask"),
    ),
    Row(
        "no spec and masks that are pipes",
        together(deleted("vocseg.toml"), *(pipe_at(f"SegmentationClass/{key}.png") for key in "abcdef")),
        Refused("mask"),
    ),
]

SOURCE_ROWS = [
    Row(
        "data folder missing",
        lambda good: Job(good.folder / "nowhere", str(good.folder / "vocseg.toml")),
        Refused("The data folder .*nowhere does not exist. Give --data a folder"),
    ),
    Row(
        "data folder is a file",
        lambda good: Job(good.list(), str(good.folder / "vocseg.toml")),
        Refused("train.txt is a file. Give --data the folder"),
    ),
    Row(
        "data folder of something else",
        lambda good: Job(good.root / "JPEGImages", str(good.folder / "vocseg.toml")),
        Refused("does not hold the data set tiny: expected VOCdevkit/VOC2007/JPEGImages, .* It holds: a.jpg, b.jpg"),
    ),
    Row(
        "data folder with marks of patterns in its name",
        lambda good: Job(good.folder.rename(good.folder.with_name("my [data] *? 'ä'"))),
        Fine(),
    ),
]


def spans_at(pattern: str, *folders: str, span: str = "newest") -> Spoil:
    """Moves the set into the first of the folders, and copies it into the others; the description lies above."""

    def spoil(good: Set) -> Job:
        for name in folders:
            shutil.copytree(good.folder / "VOCdevkit", good.folder / name / "VOCdevkit")
        shutil.rmtree(good.folder / "VOCdevkit")
        return Job(f"{good.folder}/{pattern}", span=span)

    return spoil


def _swapped_in_the_second_span(good: Set) -> Job:
    spans_at("s{SPAN}", "s1", "s2")(good)
    second = Set(good.folder / "s2")
    second.list("train").rename(second.list("x"))
    second.list("val").rename(second.list("train"))
    second.list("x").rename(second.list("val"))
    return Job(f"{good.folder}/s{{SPAN}}", span="1-2")


SPAN_ROWS = [
    Row(
        "no span",
        spans_at("span-{SPAN}", "portion-1"),
        Refused("matches no folder: expected, for instance, .*span-1.*portion-1"),
    ),
    Row("two folders of one number", spans_at("s{SPAN}", "s1", "s01"), Refused("s01 and .*s1 are both span 1. Rename")),
    Row("span of no number", spans_at("s{SPAN}", "s1", span="latest"), Refused('"newest", "last:N".* got .latest')),
    Row("span that is not there", spans_at("s{SPAN}", "s1", span="7"), Refused("no.* There are: 1")),
    Row("spans the wrong way round", spans_at("s{SPAN}", "s1", span="2-1"), Refused("A not above B")),
    Row("pattern with two spans", spans_at("{SPAN}/s{SPAN}", "s1"), Refused("has it 2 times")),
    Row("pattern with a date", spans_at("{YYYY}-{SPAN}", "s1"), Refused("{YYYY}, which is not supported")),
    Row(
        "one picture in two spans' splits",
        _swapped_in_the_second_span,
        Leaking("train/span-1/a .* = validation/span-2/a"),
    ),
    Row("newest of two spans", spans_at("s{SPAN}", "s9", "s10"), Fine(keys=tuple(f"span-10/{key}" for key in "abcdef"))),
]


def archived(
    *strange: tarfile.TarInfo, cut: float | None = 1.0, content: bytes | None = None, prefix: str = "", only: str = ""
) -> Spoil:
    """Packs the set into the official archives, with strange members, and cuts the first: None, behind its last member."""

    def spoil(good: Set) -> Job:
        good.list("test").write_text("")
        for number, name in enumerate(("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar")):
            with tarfile.open(good.folder / name, "w") as tar:
                tar.add(good.folder / "VOCdevkit", f"{prefix}VOCdevkit")
                for member in () if number else strange:
                    tar.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
        shutil.rmtree(good.folder / "VOCdevkit")
        first = good.folder / "VOCtrainval_06-Nov-2007.tar"
        packed = first.read_bytes()
        end = -(-len(packed.rstrip(b"\0")) // 512) * 512 if cut is None else int(cut * len(packed))
        first.write_bytes(packed[:end] if content is None else content)
        if only:
            (good.folder / only).unlink()
        return Job(good.folder, named="voc2007")

    return spoil


def archive_made(make: Callable[[pathlib.Path], object]) -> Spoil:
    """Puts something else in the place of the first archive."""

    def spoil(good: Set) -> object:
        job = archived()(good)
        (good.folder / "VOCtrainval_06-Nov-2007.tar").unlink()
        make(good.folder / "VOCtrainval_06-Nov-2007.tar")
        return job

    return spoil


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


INSIDE = "VOCdevkit/VOC2007/JPEGImages/"

ARCHIVE_ROWS = [
    Row("archives", archived(prefix="./"), Fine()),
    Row(
        "archive with a member outside",
        archived(member("../../evil")),
        Refused("'../../evil', outside of itself: it is refused"),
    ),
    Row(
        "archive with an absolute member",
        archived(member("/tmp/evil")),
        Refused("'/tmp/evil', outside of itself: it is refused"),
    ),
    Row("archive with a backslash", archived(member("..\\evil")), Refused("outside of itself: it is refused")),
    Row(
        "archive with a link", archived(member(INSIDE + "z.jpg", tarfile.SYMTYPE, "/etc/passwd")), Refused("a link or a device")
    ),
    Row("archive with a hard link", archived(member(INSIDE + "z.jpg", tarfile.LNKTYPE, "x")), Refused("a link or a device")),
    Row(
        "archive with a pipe",
        archived(member(INSIDE + "z.jpg", tarfile.FIFOTYPE)),
        Refused("a link or a device: it is refused"),
    ),
    Row(
        "archive with a device",
        archived(member(INSIDE + "z.jpg", tarfile.CHRTYPE)),
        Refused("a link or a device: it is refused"),
    ),
    Row(
        "archive cut in the middle",
        archived(cut=0.6),
        Refused("VOCtrainval.*cannot be read as a tar archive: .*Download it again"),
    ),
    Row(
        "archive cut at its end",
        archived(cut=None),
        Refused("VOCtrainval.*cannot be read as a tar archive: .*Download it again"),
    ),
    Row("archive is a pipe", archive_made(os.mkfifo), Refused("VOCtrainval.* is a folder, a pipe or a device. Put")),
    Row("archive is a folder", archive_made(os.mkdir), Refused("VOCtrainval.* is a folder, a pipe or a device. Put")),
    Row("archive of no bytes", archived(content=b""), Refused("VOCtrainval.*cannot be read as a tar archive")),
    Row("archive is html", archived(content=HTML * 99), Refused("VOCtrainval.*cannot be read as a tar archive")),
    Row("archive alone", archived(only="VOCtest_06-Nov-2007.tar"), Refused("some of the official archives, but not VOCtest")),
]

ROWS = [
    *(IMAGE_ROWS + MASK_ROWS + LIST_ROWS + PAIR_ROWS),
    *(LEAK_ROWS + SPEC_ROWS + SOURCE_ROWS + SPAN_ROWS + ARCHIVE_ROWS),
]
BY_NAME = {row.name: row for row in ROWS}
AS_ROOT = {row.name for row in ROWS if row.name.endswith("not permitted")} if os.geteuid() == 0 else set()


# The way that the command and the pipeline go.


@dataclasses.dataclass
class Outcome:
    """What became of a row.

    Attributes:
        error: of the listing, or what the job should not have raised.
        pairs: by split, as listed.
        found: the report, of this row's pairs only; where the job was the row's own it is the whole one.
        examples: by key, the digest of its ids.
        seconds: of the listing.
    """

    spec: DatasetSpec | None = None
    error: Exception | None = None
    pairs: dict[str, list[Pair]] = dataclasses.field(default_factory=dict)
    found: Report | None = None
    examples: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def _digest(ids: np.ndarray) -> str:
    return hashlib.sha256(f"{ids.shape}".encode() + ids.astype(np.uint8).tobytes()).hexdigest()


def _list(row: Row, folder: pathlib.Path, work: pathlib.Path) -> Outcome:
    """Spoils a set, finds its description and lists its pairs."""
    said = row.spoil(Set(folder))
    job = said if isinstance(said, Job) else Job(folder)
    outcome, started_s = Outcome(), time.monotonic()
    try:
        outcome.spec = find_spec(job.named, str(job.data), job.span, lambda note: None)
        builder = builders.make_builder(outcome.spec, str(job.data), job.span, str(work))
        outcome.pairs = builder.pairs_by_split(builders.make_download_manager(builder, str(work)))
        builder.describe_oddities()
        builder.source_digest()
        if outcome.spec.leaks == "fail":
            leaks.check_leaks(generate.same_files(outcome.pairs))
    except Exception as error:  # Of whatever kind: the row's test tells which are promised.
        outcome.error = error
    outcome.seconds = time.monotonic() - started_s
    return outcome


def _as_line(element: tuple[str, tuple[str, dict[str, Any]]]) -> str:
    _, (key, example) = element
    ids = np.asarray(PIL.Image.open(io.BytesIO(example[features.LABEL])))
    assert (example[features.HEIGHT], example[features.WIDTH]) == ids.shape
    return json.dumps([key, _digest(ids)])


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))


def _read(outcomes: Mapping[str, Outcome], folder: pathlib.Path) -> None:
    """Reads the pairs of several rows in one job, and gives each row what was found of its own.

    A job that fails is run again in halves, so that the row at fault has the error.
    """
    folder.mkdir(parents=True)
    try:
        found, examples = _read_all(outcomes, folder)
    except Exception as error:
        if len(outcomes) == 1:
            next(iter(outcomes.values())).error = error
            return
        for part in (0, 1):
            _read(dict(list(outcomes.items())[part::2]), folder / f"half-{part}")
        return
    for number, outcome in enumerate(outcomes.values()):
        prefix = f"{number}/"
        outcome.examples = {key.removeprefix(prefix): digest for key, digest in examples.items() if key.startswith(prefix)}
        outcome.found = _of_row(found, outcome, prefix) if len(outcomes) > 1 else _renamed(found, prefix)


def _read_all(outcomes: Mapping[str, Outcome], folder: pathlib.Path) -> tuple[Report, dict[str, str]]:
    pairs: dict[str, list[Pair]] = {}
    for number, outcome in enumerate(outcomes.values()):
        for split, listed in outcome.pairs.items():
            pairs.setdefault(split, []).extend(dataclasses.replace(pair, key=f"{number}/{pair.key}") for pair in listed)

    def write(collection: beam.PCollection) -> None:
        for old in folder.glob("examples-*"):
            old.unlink()
        _ = collection | "Line" >> beam.Map(_as_line) | "Write" >> beam.io.WriteToText(str(folder / "examples"))

    spec = next(iter(outcomes.values())).spec
    assert spec is not None
    found = generate.generate(_pipeline, spec, pairs, str(folder / "work"), write)
    lines = [line for path in folder.glob("examples-*") for line in path.read_text().splitlines()]
    examples = [json.loads(line) for line in lines]
    assert len(examples) == found.generated
    return found, dict(examples)


def _renamed(found: Report, prefix: str) -> Report:
    def rename(picture: tuple[str, str, str]) -> tuple[str, str, str]:
        return picture[0], picture[1].removeprefix(prefix), picture[2]

    return dataclasses.replace(
        found,
        quarantined=[dataclasses.replace(one, key=one.key.removeprefix(prefix)) for one in found.quarantined],
        leaks=[leaks.Leak(tuple(map(rename, leak.pictures))) for leak in found.leaks],
        near_duplicates=[
            dataclasses.replace(pair, first=rename(pair.first), second=rename(pair.second)) for pair in found.near_duplicates
        ],
    )


def _of_row(found: Report, outcome: Outcome, prefix: str) -> Report:
    """Returns the part of a report that is about one row; the numbers by class are not told apart."""
    mine = [one for one in found.quarantined if one.key.startswith(prefix)]
    gone = collections.Counter((one.split, one.cause) for one in mine)
    keys = {split: [pair.key for pair in listed] for split, listed in outcome.pairs.items()}
    bad = {(one.split, one.key.removeprefix(prefix)) for one in mine}
    splits = {
        split: SplitReport(
            listed=len(listed),
            generated=sum(key in outcome.examples and (split, key) not in bad for key in listed),
            quarantined=gone[split, "bad"],
            dropped=gone[split, "leak"],
        )
        for split, listed in keys.items()
    }
    pictures = [tuple(one for one in leak.pictures if one[1].startswith(prefix)) for leak in found.leaks]
    of_row = [leaks.Leak(some) for some in pictures if len({split for split, _, _ in some}) > 1]
    near = [pair for pair in found.near_duplicates if pair.first[1].startswith(prefix) and pair.second[1].startswith(prefix)]
    return _renamed(dataclasses.replace(found, splits=splits, quarantined=mine, leaks=of_row, near_duplicates=near), prefix)


@dataclasses.dataclass
class Results:
    outcomes: dict[str, Outcome]
    jobs: int
    seconds: float


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every row's outcome. Rows whose report is looked at as a whole, and those of archives, have a job of their own."""
    folder = tmp_path_factory.mktemp("bad")
    for base, write in BASES.items():
        write(folder / "bases" / base)
    started_s = time.monotonic()
    outcomes = {}
    for number, row in enumerate(ROWS):
        if row.name not in AS_ROOT:
            shutil.copytree(folder / "bases" / row.base, folder / f"{number}" / "data")
            outcomes[row.name] = _list(row, folder / f"{number}" / "data", folder / f"{number}" / "work")
    jobs: dict[Any, dict[str, Outcome]] = collections.defaultdict(dict)
    for name, outcome in outcomes.items():
        if outcome.error is None:
            promise = BY_NAME[name].promise
            alone = name if getattr(promise, "check", None) or getattr(promise, "by_report", False) else ""
            jobs[outcome.spec, alone][name] = outcome
    for number, together in enumerate(jobs.values()):
        _read(together, folder / f"job-{number}")
    return Results(outcomes, len(jobs), time.monotonic() - started_s)


# The table.

NOT_IN_WORDS = re.compile(r"Traceback|<_io|\[Op:|\{\{|object at 0x|Errno|NoneType|^\w+Error\b")


def _check_words(text: str) -> None:
    assert not NOT_IN_WORDS.search(text), text
    assert len(text.split()) >= 3, text
    assert all(char.isprintable() or char == "\n" for char in text), ascii(text)


def _refusal(outcome: Outcome, max_quarantined_fraction: float) -> str:
    """Returns what ExampleGen would fail with, or nothing."""
    if outcome.error is not None:
        assert isinstance(outcome.error, DataError), repr(outcome.error)
        return str(outcome.error)
    assert outcome.found is not None
    try:
        judge(outcome.found, max_quarantined_fraction)
    except DataError as error:
        return str(error)
    return ""


def _check_sums(outcome: Outcome) -> None:
    """Nothing is lost, whatever was promised."""
    assert outcome.found is not None
    for split, listed in outcome.pairs.items():
        found = outcome.found.splits[split]
        assert found.listed == len(listed) == found.generated + found.quarantined + found.dropped
    for record in outcome.found.quarantined:
        _check_words(record.reason)
        assert "\n" not in record.reason
        assert record.file.startswith("/") and files.printable(record.file) in str(record)


def _check_examples(outcome: Outcome, keys: Sequence[str], ids: Callable[[str, np.ndarray], np.ndarray], classes: int) -> None:
    """Compares each example's ids with those that were drawn."""
    assert sorted(outcome.examples) == sorted(keys)
    for key in keys:
        letter = _letter(key)
        assert outcome.examples[key] == _digest(ids(letter, _ids(letter, classes))), key


def _escaped(key: str) -> str:
    """Returns a key as a record has it, where it is not UTF-8."""
    return key.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _letter(key: str) -> str:
    """Returns which of the pairs a to f has a key; those of other names are b in a list, and in folders begin with it."""
    name = key.rpartition("/")[2]
    return name[0] if name in "abcdef" or name[1:2] in ("\n", " ", "\x1b", "\u2028", "\u202e") else "b"


@pytest.mark.parametrize("name", BY_NAME)
def test_bad_input_has_the_promised_outcome(results: Results, name: str) -> None:
    if name in AS_ROOT:
        pytest.skip("root may read everything")
    row, outcome = BY_NAME[name], results.outcomes[name]
    assert outcome.seconds < 20
    strict, lax = _refusal(outcome, 0.0), _refusal(outcome, 1.0)
    for message in filter(None, (strict, lax)):
        _check_words(message)
    if outcome.error is None:
        _check_sums(outcome)
    classes = 2 if row.base == "two classes" else 3
    match row.promise:
        case Refused(match, _):
            assert strict and re.search(match, lax, re.DOTALL), lax or outcome.found
        case Leaking(match):
            assert "the same" in strict and re.search(match, lax), lax or outcome.found
        case Quarantined(_, match, _, cause):
            assert outcome.found is not None, outcome.error
            expected = row.promise.expected()
            records = {record.key: record for record in outcome.found.quarantined}
            assert {key: os.path.basename(record.file) for key, record in records.items()} == expected
            assert all(re.search(match, record.reason) for record in records.values()), records
            assert {record.cause for record in records.values()} == {cause}
            assert lax == ""
            assert (strict == "") == (cause == "leak")
            assert cause == "leak" or all(str(record) in strict for record in records.values())
            bad = {(record.split, record.key) for record in outcome.found.quarantined}
            others = [
                pair.key for split, listed in outcome.pairs.items() for pair in listed if (split, _escaped(pair.key)) not in bad
            ]
            ids = _no_void if row.base == "sides" else lambda ids: ids
            if "white" in name:
                ids = (lambda ids: (ids == 1).astype(np.uint8)) if "grey" in name else ids
            _check_examples(outcome, others, lambda key, drawn: ids(drawn), classes)
        case Fine(ids, keys, check):
            assert (strict, lax) == ("", "")
            assert outcome.found is not None and outcome.found.quarantined == []
            _check_examples(outcome, keys, ids, classes)
            assert check is None or check(outcome.found), outcome.found


def test_table_is_large_and_has_each_name_once() -> None:
    assert len(ROWS) == len(BY_NAME) >= 50
    assert len({type(row.promise) for row in ROWS}) == 4


def test_whole_table_is_read_in_time(results: Results) -> None:
    assert results.seconds < 240, results.jobs


# The command line, and what the table does not reach.


def _check(data: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "data", "check", str(data), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )


def test_command_names_bad_pairs_and_its_json_can_be_read(tmp_path: pathlib.Path) -> None:
    _write_voc(tmp_path)
    together(pipe_at("JPEGImages/c.jpg"), image(_cut(A_JPEG, 0.7)), folder_at("SegmentationClass/d.png"))(Set(tmp_path))
    done = _check(tmp_path, "--json", str(tmp_path / "report.json"))
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["clean"], found["listed"], found["generated"]) == (False, 6, 3)
    names = [os.path.basename(record["file"]) for record in found["quarantined"]]
    assert names == ["b.jpg", "c.jpg", "d.png"]
    assert all(f"{record['file']}: {record['reason']}\n" in done.stdout for record in found["quarantined"])


def test_command_names_a_leak(tmp_path: pathlib.Path) -> None:
    _write_voc(tmp_path)
    shutil.copy(Set(tmp_path).image("a.jpg"), Set(tmp_path).image("e.jpg"))
    done = _check(tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    assert re.search(r"train/a \(.*/a.jpg\) = validation/e \(.*/e.jpg\)", done.stdout)
    assert "tiny: not clean" in done.stdout


def test_command_refuses_a_bad_description(tmp_path: pathlib.Path) -> None:
    _write_voc(tmp_path)
    (tmp_path / "bad.toml").write_text(VOC + 'encodign = "ids"\n')
    done = _check(tmp_path, "--spec", str(tmp_path / "bad.toml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/bad.toml: there is no key mask.encodign; did you mean encoding")


@pytest.mark.parametrize("command", ["check", "init", "show"])
def test_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", command, "--help"])
    assert stopped.value.code == 0
    assert "usage: vocseg data" in capsys.readouterr().out


def test_digest_of_a_data_set_does_not_wait_for_a_pipe(tmp_path: pathlib.Path) -> None:
    _write_voc(tmp_path / "data")
    pipe_at("SegmentationClass/b.png")(Set(tmp_path / "data"))
    builder = builders.make_builder(
        find_spec("", str(tmp_path / "data"), "newest", print), str(tmp_path / "data"), "newest", str(tmp_path)
    )
    assert re.fullmatch("[0-9a-f]{64}", builder.source_digest())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["whole", "with bytes behind", "cut", "of another type"])
def test_mask_that_is_a_jpeg_is_turned_as_its_picture_is(orientation: int, kind: str) -> None:
    exif = _exif(orientation).tobytes()
    changed = {"cut": exif[:20], "of another type": exif.replace(b"\x01\x12\x00\x03", b"\x01\x12\x00\x02")}.get(kind, exif)
    encoded = _jpeg(_ids("b"), exif=changed) + (b"Exif\0\0" * 9 if kind == "with bytes behind" else b"")
    expected = images.read_picture(encoded).pixels[..., 0].astype(int)
    values = raster.open_raster(encoded).values
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() <= 8  # Decoders differ by a level or two.
