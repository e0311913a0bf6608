"""From a pair of files to an example, or to the quarantine with a reason; the Beam transform is run for real."""

import dataclasses
import errno
import io
import logging
import os
import pathlib
import pickle
import re
import shutil
import struct
import zlib
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components import features, masks
from components.datasets import examples, fake_voc, files, fingerprints, images, layout, registry
from components.datasets.examples import BadFileError, Facts, Quarantined, check_quarantine, encode_example, read_pair
from components.datasets.images import read_picture
from components.datasets.layout import Pair
from components.datasets.mask_reader import Mask
from components.datasets.spec import DatasetSpec, Layout, MaskEncoding
from components.errors import DataError
from pipeline import retries

VOC = registry.built_in("voc2007")
IDS = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
PAIR = Pair("a", "/data/JPEGImages/a.jpg", "/data/SegmentationClass/a.png")
OUTPUTS = ("examples", "quarantined", "fingerprints", "facts")


def _encode(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _picture(height: int = 2, width: int = 3) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _jpeg(height: int = 2, width: int = 3, mode: str = "RGB", **options: object) -> bytes:
    return _encode(_picture(height, width).convert(mode), "JPEG", **options)


def _turned_jpeg(height: int, width: int, orientation: int = 6) -> bytes:
    """Returns a JPEG stored with this height and width; 6 says that it is turned by 90 degrees to be shown."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return _jpeg(height, width, exif=exif)


def _palette_png(ids: np.ndarray = IDS) -> bytes:
    return _encode(masks.to_palette_image(ids, features.voc_palette()), "PNG")


def _png_header(width: int, height: int) -> bytes:
    """Returns the beginning of an RGB PNG: a size, and not one pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature, length = b"\x89PNG\r\n\x1a\n", struct.pack(">I", 13)
    return signature + length + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 1000) + b"IDAT"


def _decode(encoded: bytes) -> np.ndarray:
    """Reads a picture that is not turned, as Transform and serving do."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()


SOME_JPEG = _jpeg(40, 60)

# Pictures: what goes in at all; the rest is in test_images.py.


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes any decoding of pixels an error; a test that uses this makes its pictures beforehand."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(PIL.Image.Image, "load", refuse)
    monkeypatch.setattr(PIL.Image.Image, "convert", refuse)
    monkeypatch.setattr(images, "_decoder", refuse)


@pytest.mark.usefixtures("no_decoding")
def test_size_limit_is_ours_where_pillows_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ValueError, match="the image has 60000x50000 pixels, more than 178956970"):
        read_picture(_png_header(60_000, 50_000))


def test_picture_at_the_size_limit_is_taken_and_one_pixel_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MAX_PIXELS", 6)
    assert read_picture(_jpeg(2, 3)).pixels.shape == (2, 3, 3)
    with pytest.raises(ValueError, match="the image has 7x1 pixels, more than 6"):
        read_picture(_jpeg(1, 7))


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"DDS " + bytes(124)])
def test_format_that_is_none_of_ours_is_not_even_opened(content: bytes) -> None:
    """Pillow would start Ghostscript for PostScript, and raises errors of its own for a damaged DDS."""
    with pytest.raises(ValueError, match="the image cannot be read"):
        read_picture(content)


# A pair of files.


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A data folder, beside which there is room."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def _pair(folder: pathlib.Path, image: bytes, mask: bytes, image_name: str = "a.jpg", mask_name: str = "a.png") -> Pair:
    """Writes both files; they may be the same one."""
    (folder / image_name).write_bytes(image)
    if mask_name != image_name:
        (folder / mask_name).write_bytes(mask)
    paths = (str(folder / image_name), str(folder / mask_name))
    return Pair(pathlib.PurePath(image_name).stem, *paths, folder=os.path.realpath(folder))


def _fault(pair: Pair, spec: DatasetSpec = VOC) -> tuple[str, str]:
    with pytest.raises(BadFileError) as error:
        read_pair(pair, spec)
    return error.value.file, error.value.reason


def test_good_pair_is_a_picture_and_its_ids(folder: pathlib.Path) -> None:
    jpeg = _jpeg(2, 3)
    picture, mask = read_pair(_pair(folder, jpeg, _palette_png()), VOC)
    assert picture.encoded == jpeg
    assert (mask.ids.tolist(), mask.ids.dtype, mask.kind) == (IDS.tolist(), np.uint8, "palette")


def test_size_mismatch_says_both_sizes_and_blames_the_mask(folder: pathlib.Path) -> None:
    pair = _pair(folder, _jpeg(3, 3), _palette_png())
    assert _fault(pair) == (pair.mask, "the mask has 3x2 pixels, its image 3x3")


@pytest.mark.parametrize("size", [(1, 3), (3, 3), (2, 2), (2, 4)], ids=str)
def test_size_off_by_one_pixel_is_a_mismatch(folder: pathlib.Path, size: tuple[int, int]) -> None:
    pair = _pair(folder, _jpeg(*size), _palette_png())
    assert _fault(pair) == (pair.mask, f"the mask has 3x2 pixels, its image {size[1]}x{size[0]}")


def test_mask_that_is_turned_is_a_mismatch_with_a_hint(folder: pathlib.Path) -> None:
    pair = _pair(folder, _jpeg(3, 2), _palette_png())
    hint = "; is one of them turned? A JPEG counts as turned by its EXIF tag"
    assert _fault(pair) == (pair.mask, f"the mask has 3x2 pixels, its image 2x3{hint}")


def test_mask_of_a_turned_jpeg_has_the_size_that_is_shown(folder: pathlib.Path) -> None:
    picture, mask = read_pair(_pair(folder, _turned_jpeg(3, 2), _palette_png()), VOC)  # Shown 3 wide and 2 high, as IDS.
    assert picture.pixels.shape == (2, 3, 3)
    assert mask.ids.tolist() == IDS.tolist()
    assert _fault(_pair(folder, _turned_jpeg(2, 3), _palette_png()))[1].startswith("the mask has 3x2 pixels, its image 2x3; ")


def test_bad_image_blames_the_image_even_if_the_mask_is_bad_too(folder: pathlib.Path) -> None:
    pair = _pair(folder, b"", b"")
    file, reason = _fault(pair)
    assert file == pair.image
    assert reason.startswith("the image cannot be read: ")


def test_bad_mask_blames_the_mask(folder: pathlib.Path) -> None:
    pair = _pair(folder, _jpeg(2, 3), b"no picture")
    file, reason = _fault(pair)
    assert file == pair.mask
    assert reason.startswith("the mask cannot be read: ")


def test_id_outside_the_classes_blames_the_mask(folder: pathlib.Path) -> None:
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    few = dataclasses.replace(VOC, classes=VOC.classes[:16])
    assert _fault(pair, few) == (pair.mask, "1 pixels have an id outside 0..15 and 255 (void), first 20 at x=0, y=1")


def test_known_problem_is_the_reason_and_nothing_is_read() -> None:
    pair = dataclasses.replace(PAIR, problem="there are several: a.jpg, a.png; expected one image")
    assert _fault(pair) == (PAIR.image, "there are several: a.jpg, a.png; expected one image")


@pytest.mark.parametrize("missing", ["image", "mask"])
def test_file_that_does_not_exist_is_the_reason(folder: pathlib.Path, missing: str) -> None:
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    pathlib.Path(getattr(pair, missing)).unlink()
    assert _fault(pair) == (getattr(pair, missing), f"the {missing} does not exist")


@pytest.mark.parametrize("what", ["image", "mask"])
def test_folder_in_a_files_place_is_the_reason(folder: pathlib.Path, what: str) -> None:
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    path = pathlib.Path(getattr(pair, what))
    path.unlink()
    path.mkdir()
    assert _fault(pair) == (str(path), f"the {what} cannot be read: Is a directory")


def test_name_that_is_no_utf8_is_the_reason(folder: pathlib.Path) -> None:
    pair = dataclasses.replace(PAIR, key=os.fsdecode(b"B\xe4ume"), image=str(folder / os.fsdecode(b"B\xe4ume.jpg")))
    assert _fault(pair)[1].startswith("its name is not UTF-8")


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_refused_with_a_reason_or_make_an_example_never_anything_else(
    folder: pathlib.Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    good = {"a.jpg": SOME_JPEG, "a.png": _palette_png(rng.integers(0, 21, (40, 60)).astype(np.uint8))}
    outcomes = set()
    for _ in range(60):
        damaged = {name: bytearray(content) for name, content in good.items()}
        name = ("a.jpg", "a.png")[rng.integers(2)]
        for place in rng.integers(0, len(good[name]), size=rng.integers(1, 4)):
            damaged[name][place] = rng.integers(256)
        pair = _pair(folder, bytes(damaged["a.jpg"]), bytes(damaged["a.png"]))
        try:
            picture, mask = read_pair(pair, VOC)
        except BadFileError as error:
            assert "\n" not in error.reason
            outcomes.add(pathlib.Path(error.file).name)
        else:
            assert set(np.unique(mask.ids)) <= {*range(21), 255}
            assert encode_example(pair, picture, mask)["image"] == damaged["a.jpg"]
            outcomes.add("example")
    assert outcomes == {"a.jpg", "a.png", "example"}


# Links.


@pytest.mark.parametrize("what", ["image", "mask"])
def test_link_that_leaves_the_data_folder_is_refused(folder: pathlib.Path, what: str) -> None:
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    path = pathlib.Path(getattr(pair, what))
    outside = path.rename(folder.parent / path.name)
    path.symlink_to(outside)
    assert _fault(pair) == (str(path), f"the {what} is a link that leaves the data folder {folder}")


def test_folder_that_is_a_link_to_the_outside_is_refused(folder: pathlib.Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    pair = _pair(folder.parent / "elsewhere", _jpeg(2, 3), _palette_png())
    (folder / "images").symlink_to(folder.parent / "elsewhere")
    paths = (pair.image.replace("elsewhere", "data/images"), pair.mask.replace("elsewhere", "data/images"))
    assert "leaves the data folder" in _fault(Pair("a", *paths, folder=str(folder)))[1]


def test_folder_whose_name_only_begins_like_the_data_folders_is_outside(folder: pathlib.Path) -> None:
    (folder.parent / "data-secret").mkdir()
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    outside = folder.parent / "data-secret" / "a.png"
    pathlib.Path(pair.mask).rename(outside)
    pathlib.Path(pair.mask).symlink_to(outside)
    assert "leaves the data folder" in _fault(pair)[1]


def test_link_inside_the_data_folder_is_followed(folder: pathlib.Path) -> None:
    (folder / "pool").mkdir()
    pooled = _pair(folder / "pool", _jpeg(2, 3), _palette_png())
    (folder / "a.jpg").symlink_to("pool/a.jpg")
    (folder / "a.png").symlink_to(folder / "pool" / "a.png")
    pair = Pair("a", str(folder / "a.jpg"), str(folder / "a.png"), folder=str(folder))
    assert read_pair(pair, VOC)[0].encoded == pathlib.Path(pooled.image).read_bytes()


def test_data_folder_that_is_a_link_itself_is_no_way_out(folder: pathlib.Path) -> None:
    """As `list_pairs` makes it: paths through the link, and the folder behind it."""
    _pair(folder, _jpeg(2, 3), _palette_png())
    (folder.parent / "link").symlink_to(folder)
    paths = (str(folder.parent / "link" / name) for name in ("a.jpg", "a.png"))
    assert read_pair(Pair("a", *paths, folder=str(folder)), VOC)[1].ids.tolist() == IDS.tolist()


def test_link_to_itself_and_a_link_to_nothing_are_refused(folder: pathlib.Path) -> None:
    pair = _pair(folder, _jpeg(2, 3), _palette_png())
    mask = pathlib.Path(pair.mask)
    mask.unlink()
    mask.symlink_to(mask)
    assert _fault(pair)[1].startswith("the mask cannot be read: Too many levels")
    mask.unlink()
    mask.symlink_to(folder / "nothing")
    assert _fault(pair) == (pair.mask, "the mask does not exist")


# Picture and mask side by side.

SIDES = DatasetSpec(
    name="sides",
    classes=("ground", "leaf"),
    colors=((0, 0, 0), (250, 50, 50)),
    layout=Layout(images="{split}", mask_side="left"),
    mask=MaskEncoding(encoding="colors"),
)


def _beside(mask: np.ndarray, image: PIL.Image.Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.concatenate([mask, np.asarray(image)], axis=1))


def _both(kind: str = "PNG", **options: object) -> tuple[bytes, np.ndarray]:
    """Returns a picture of 2x3 with its mask at its left, and the ids."""
    ids = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    return _encode(_beside(np.array(SIDES.colors, np.uint8)[ids], _picture()), kind, **options), ids


@pytest.mark.parametrize("side", ["left", "right"])
def test_pair_side_by_side_is_divided(folder: pathlib.Path, side: str) -> None:
    encoded, ids = _both()
    if side == "right":
        encoded = _encode(PIL.Image.fromarray(np.roll(_decode(encoded), 3, axis=1)), "PNG")
    spec = dataclasses.replace(SIDES, layout=Layout(images="{split}", mask_side=side))
    picture, mask = read_pair(_pair(folder, encoded, b"", "1.png", "1.png"), spec)
    assert mask.ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(picture.pixels, np.asarray(_picture()))
    np.testing.assert_array_equal(_decode(picture.encoded), picture.pixels)  # The record holds the half alone.


def test_pair_side_by_side_of_an_odd_width_blames_the_picture(folder: pathlib.Path) -> None:
    pair = _pair(folder, _encode(_picture(2, 5), "PNG"), b"", "1.png", "1.png")
    assert _fault(pair, SIDES) == (pair.image, "the image is 5 pixels wide; expected two halves of one size")


def test_pair_side_by_side_with_a_strange_color_says_where(folder: pathlib.Path) -> None:
    colors = np.array([[(0, 0, 0), (1, 2, 3), (250, 50, 50)]], np.uint8)
    pair = _pair(folder, _encode(_beside(colors, _picture(1, 3)), "PNG"), b"", "1.png", "1.png")
    assert _fault(pair, SIDES) == (pair.mask, "1 pixels have a colour that no class has, first (1, 2, 3) at x=1, y=0")


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "PNG"])
def test_binary_half_of_a_lossless_picture_is_not_taken_for_a_smeared_one(folder: pathlib.Path, kind: str) -> None:
    """As in a JPEG, where whatever is not quite black or white would pass for the nearer one."""
    name = f"1.{kind.lower()}"
    binary = dataclasses.replace(SIDES, mask=MaskEncoding(encoding="binary"))
    grey = PIL.Image.new("RGB", (3, 1), (9, 9, 9))
    for values, expected in (([0, 1, 1], [[0, 1, 1]]), ([0, 100, 200], None)):
        both = _beside(np.repeat(np.array([values], np.uint8)[..., np.newaxis], 3, axis=2), grey)
        pair = _pair(folder, _encode(both, kind), b"", name, name)
        if expected:
            assert read_pair(pair, binary)[1].ids.tolist() == expected
        else:
            assert _fault(pair, binary)[1].startswith("the mask has the values 0, 100, 200; expected 0 and one other")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_binary_half_of_a_smeared_picture_is_divided_in_the_middle(folder: pathlib.Path, kind: str) -> None:
    ids = np.repeat(np.array([[0] * 16 + [1] * 16], np.uint8), 32, axis=0)
    both = _beside(np.repeat(255 * ids[..., np.newaxis], 3, axis=2), _picture(32, 32))
    name = f"1.{kind.lower()}"
    encoded = _encode(both, kind, quality=60)
    assert len(np.unique(_decode(read_picture(encoded).encoded)[:, :32])) > 2  # Smeared.
    binary = dataclasses.replace(SIDES, mask=MaskEncoding(encoding="binary"))
    _, mask = read_pair(_pair(folder, encoded, b"", name, name), binary)
    np.testing.assert_array_equal(mask.ids, ids)


# Examples.


def _example(ids: np.ndarray, image: bytes = b"", pair: Pair = PAIR) -> dict[str, Any]:
    return encode_example(pair, read_picture(image or _jpeg(*ids.shape)), Mask(ids, "grey", "ids"))


def test_example_has_every_key_of_the_contract() -> None:
    jpeg = _jpeg(2, 3)
    example = _example(IDS, jpeg)
    assert set(example) == {
        "image",
        "image/filename",
        "image/height",
        "image/width",
        "label",
        "label/classes",
        "label/void_fraction",
    }
    assert example["image"] == jpeg
    assert example["image/filename"] == "a.jpg"
    assert (example["image/height"], example["image/width"]) == (2, 3)
    assert tf.io.decode_png(example["label"], channels=1)[..., 0].numpy().tolist() == [[0, 1, 15], [20, 255, 0]]
    assert example["label/classes"].tolist() == [0, 1, 15, 20]
    assert example["label/classes"].dtype == np.int64
    assert example["label/void_fraction"] == np.float32(1 / 6)  # One pixel of six.
    assert example["label/void_fraction"].dtype == np.float32


def test_size_of_a_turned_jpeg_is_the_one_that_is_shown() -> None:
    example = _example(IDS, _turned_jpeg(3, 2))
    assert (example["image/height"], example["image/width"]) == (2, 3)


@pytest.mark.parametrize("key", ["a", "train/a", "span-3/a", "a.b"])
def test_file_name_is_the_key_with_the_pictures_ending(key: str) -> None:
    pair = Pair(key, "/data/x/a.JPEG", "/data/y/a.png")
    assert _example(IDS, pair=pair)["image/filename"] == f"{key}.JPEG"


def test_example_of_void_alone_has_no_classes() -> None:
    example = _example(np.full((1, 2), 255, np.uint8))
    assert example["label/classes"].tolist() == []
    assert example["label/void_fraction"] == 1


def test_example_without_void_has_a_fraction_of_zero() -> None:
    example = _example(np.array([[3, 0]], np.uint8))
    assert example["label/classes"].tolist() == [0, 3]
    assert example["label/void_fraction"] == 0


def test_palette_and_color_mask_give_the_same_example(folder: pathlib.Path) -> None:
    color = _encode(masks.to_palette_image(IDS, features.voc_palette()).convert("RGB"), "PNG")
    pairs = [_pair(folder, _jpeg(2, 3), mask) for mask in (color, _palette_png())]
    from_colors, from_palette = (encode_example(PAIR, *read_pair(pair, VOC)) for pair in pairs)
    assert from_colors.pop("label/classes").tolist() == from_palette.pop("label/classes").tolist()
    assert from_colors == from_palette


# The quarantine's limit.


def _bad(count: int) -> list[Quarantined]:
    return [
        Quarantined("train", f"{number:03d}", f"/data/{number:03d}.png", "the mask does not exist") for number in range(count)
    ]


def _leaks(count: int) -> list[Quarantined]:
    return [Quarantined("train", f"leak{number}", "/data/x.jpg", "also in test", cause="leak") for number in range(count)]


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_no_bad_pair_is_never_too_many(fraction: float) -> None:
    check_quarantine([], 0, fraction)
    check_quarantine([], 10, fraction)


def test_one_bad_pair_is_too_many_by_default() -> None:
    with pytest.raises(DataError, match="1 of 1000 listed pairs"):
        check_quarantine(_bad(1), 1000, 0.0)


def test_pair_that_was_taken_out_as_a_leak_is_not_bad() -> None:
    check_quarantine(_leaks(9), 10, 0.0)
    check_quarantine(_leaks(9) + _bad(1), 10, 0.1)
    with pytest.raises(DataError, match="2 of 10 listed pairs") as error:
        check_quarantine(_leaks(8) + _bad(2), 10, 0.1)
    assert "leak" not in str(error.value)


@pytest.mark.parametrize(
    ("bad", "listed", "fraction"),
    [
        (1, 20, 0.05),
        (10, 10, 1.0),
        (2, 4, 0.5),
        (29, 100, 0.29),  # 0.29 * 100 is 28.999999999999996 in floating point.
        (57, 100, 0.57),  # 0.57 * 100 is 56.99999999999999.
        (7, 100, 0.07),  # 0.07 * 100 is 7.000000000000001.
        (63, 90, 0.7),  # 0.7 * 90 is 62.99999999999999.
    ],
)
def test_share_exactly_at_the_limit_is_borne_and_one_more_is_not(bad: int, listed: int, fraction: float) -> None:
    check_quarantine(_bad(bad), listed, fraction)
    if bad < listed:
        with pytest.raises(DataError, match=f"{bad + 1} of {listed} listed pairs"):
            check_quarantine(_bad(bad + 1), listed, fraction)


@pytest.mark.parametrize(("bad", "listed"), [(1, 3), (29, 100), (1, 7000), (2, 3), (5, 5)])
def test_share_that_the_refusal_proposes_is_enough(bad: int, listed: int) -> None:
    with pytest.raises(DataError) as error:
        check_quarantine(_bad(bad), listed, 0.0)
    proposed = re.search(r"max_quarantined_fraction=(\S+)$", str(error.value))
    assert proposed and float(proposed[1]) <= 1
    check_quarantine(_bad(bad), listed, float(proposed[1]))


def test_refusal_names_each_pair_its_file_and_reason_and_the_remedy() -> None:
    with pytest.raises(DataError) as error:
        check_quarantine(_bad(2)[::-1], 632, 0.001)
    assert str(error.value).splitlines() == [
        "2 of 632 listed pairs cannot be used (allowed: 0.10%, data.max_quarantined_fraction):",
        "  train/000: /data/000.png: the mask does not exist",
        "  train/001: /data/001.png: the mask does not exist",
        "Mend the files, take them off the lists, or, in a pipeline, "
        "allow the share: --set data.max_quarantined_fraction=0.004",
    ]


@pytest.mark.parametrize(("count", "rest"), [(20, None), (21, "  ... and 1 more"), (500, "  ... and 480 more")])
def test_refusal_names_at_most_twenty_pairs_and_counts_the_others(count: int, rest: str | None) -> None:
    with pytest.raises(DataError) as error:
        check_quarantine(_bad(count), 632, 0.0)
    lines = str(error.value).splitlines()
    assert [line for line in lines if line.startswith("  train/")] == [f"  {bad}" for bad in _bad(20)]
    assert [line for line in lines if line.startswith("  ...")] == ([rest] if rest else [])


# The transform, run by Beam.


@dataclasses.dataclass
class Outcome:
    """What a run of the transform gave."""

    examples: dict[str, dict[str, Any]]
    quarantined: list[Quarantined]
    fingerprints: list[fingerprints.Fingerprint]
    facts: list[Facts]
    counters: dict[str, int]


def _store(records: list[Any], path: str) -> None:
    pathlib.Path(path).write_bytes(pickle.dumps(records))


def _run(split: str, pairs: list[Pair], folder: pathlib.Path, spec: DatasetSpec = VOC) -> Outcome:
    """Runs the transform in this process."""
    folder.mkdir(exist_ok=True)
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))
    outputs = pipeline | beam.Create([(split, pair) for pair in pairs]) | examples.EncodeExamples(spec, len(pairs))
    assert tuple(outputs) == OUTPUTS
    for name, output in outputs.items():
        _ = output | f"List {name}" >> beam.combiners.ToList() | f"Store {name}" >> beam.Map(_store, str(folder / name))
    result = pipeline.run()
    result.wait_until_finish()
    listed, *found = (pickle.loads((folder / name).read_bytes()) for name in OUTPUTS)
    good = dict(example for of_split, example in listed if of_split == split)
    assert len(listed) == len(good)
    counters = {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}
    return Outcome(good, *found, counters)


REASONS = {
    "missing image": "the image does not exist",
    "missing mask": "the mask does not exist",
    "truncated jpg": "the image is damaged: .*Invalid JPEG data",
    "size mismatch": r"the mask has \d+x\d+ pixels, its image \d+x\d+$",
    "id outside classes": r"1 pixels have an id outside 0\.\.20 and 255 \(void\), first 21 at x=7, y=5",
    "empty image": "the image cannot be read: cannot identify image file",
    "text as mask": "the mask cannot be read: cannot identify image file",
    "folder as image": "the image cannot be read: Is a directory",
    "link to the outside": "the mask is a link that leaves the data folder",
    "two images": "there are several: .*; expected one image",
    "name that is no UTF-8": "its name is not UTF-8",
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Pair], dict[str, tuple[str, str]], Outcome]:
    """A set of 15 pairs of which 11 are bad, each in its own way: pairs; file and reason of the bad ones; what came of them."""
    folder = tmp_path_factory.mktemp("damaged")
    root = fake_voc.write_fake_voc(folder / "set", split_sizes={"train": len(REASONS) + 4, "val": 1, "test": 0})
    pairs = layout.list_pairs(str(folder / "set"), VOC)["train"]
    files = [(pathlib.Path(pair.image), pathlib.Path(pair.mask)) for pair in pairs]
    with PIL.Image.open(files[3][0]) as image:
        width, height = image.size
    files[0][0].unlink()
    files[1][1].unlink()
    files[2][0].write_bytes(files[2][0].read_bytes()[:-40])
    masks.to_palette_image(np.zeros((height - 1, width), np.uint8), features.voc_palette()).save(files[3][1])
    strange = np.asarray(PIL.Image.open(files[4][1])).copy()
    strange[5, 7] = 21
    masks.to_palette_image(strange, features.voc_palette()).save(files[4][1])
    files[5][0].write_bytes(b"")
    files[6][1].write_text("no picture")
    files[7][0].unlink()
    files[7][0].mkdir()
    files[8][1].rename(folder / "outside.png")
    files[8][1].symlink_to(folder / "outside.png")
    shutil.copy(files[9][0], files[9][0].with_suffix(".jpeg"))
    pairs[9] = next(pair for pair in layout.list_pairs(str(folder / "set"), VOC)["train"] if pair.key == pairs[9].key)
    odd = os.fsencode(root / "JPEGImages") + b"/B\xe4ume.jpg"
    os.rename(files[10][0], odd)
    pairs[10] = dataclasses.replace(pairs[10], key=os.fsdecode(b"B\xe4ume"), image=os.fsdecode(odd))
    blamed = [0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0]
    faults = {pairs[i].key: ((pairs[i].image, pairs[i].mask)[which], reason) for (i, which), reason in _zip(blamed)}
    return pairs, faults, _run("train", pairs, folder / "out")


def _zip(blamed: list[int]) -> list[tuple[tuple[int, int], str]]:
    return list(zip(enumerate(blamed), REASONS.values(), strict=True))


def test_every_listed_pair_is_an_example_or_quarantined(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]], Outcome],
) -> None:
    pairs, faults, found = damaged
    assert len(faults) == len(REASONS) == len(found.quarantined) == found.counters["quarantined"]
    assert len(found.examples) == found.counters["examples"] == len(pairs) - len(faults) == 4
    escaped = {key.replace("\udce4", r"\xe4") for key in faults}
    assert {record.key for record in found.quarantined} == escaped
    assert set(found.examples) == {pair.key for pair in pairs} - set(faults)


@pytest.mark.parametrize("index", range(len(REASONS)), ids=list(REASONS))
def test_bad_pair_has_its_split_file_and_reason(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]], Outcome], index: int
) -> None:
    pairs, faults, found = damaged
    file, reason = faults[pairs[index].key]
    [record] = [one for one in found.quarantined if one.file == file.replace("\udce4", r"\xe4")]
    assert (record.split, record.key, record.cause) == ("train", pairs[index].key.replace("\udce4", r"\xe4"), "bad")
    assert re.match(reason, record.reason)
    assert str(record).encode()  # A terminal can show it.


def test_good_pairs_beside_bad_ones_are_whole(damaged: tuple[list[Pair], dict[str, tuple[str, str]], Outcome]) -> None:
    pairs, faults, found = damaged
    for pair in pairs:
        if pair.key not in faults:
            example = found.examples[pair.key]
            assert example["image"] == pathlib.Path(pair.image).read_bytes()
            assert example["image/filename"] == f"{pair.key}.jpg"
            ids = np.asarray(PIL.Image.open(pair.mask))
            np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(example["label"]))), ids)


def test_each_example_has_one_fingerprint_and_one_fact_and_no_bad_pair_has_any(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]], Outcome],
) -> None:
    pairs, faults, found = damaged
    good = {pair.key: pair for pair in pairs if pair.key not in faults}
    expected = {
        key: fingerprints.fingerprint("train", key, pair.image, read_pair(pair, VOC)[0].pixels) for key, pair in good.items()
    }
    assert len(found.fingerprints) == len(found.facts) == 4
    assert {one.key: one for one in found.fingerprints} == expected
    counted = [np.bincount(np.asarray(PIL.Image.open(pair.mask)).flat, minlength=256).tolist() for pair in good.values()]
    assert sorted(facts.pixels.tolist() for facts in found.facts) == sorted(counted)
    assert {(facts.split, facts.image_kind, facts.mask_kind) for facts in found.facts} == {
        ("train", "JPEG RGB", "palette as ids")
    }
    for facts in found.facts:
        assert facts.height_px * facts.width_px == facts.pixels.sum()


def _facts(folder: pathlib.Path, pair: Pair, spec: DatasetSpec = VOC) -> Facts:
    found = _run("test", [pair], folder / "out", spec)
    assert found.quarantined == []
    return found.facts[0]


def test_fact_has_the_size_and_the_pixels_by_id(folder: pathlib.Path) -> None:
    facts = _facts(folder.parent, _pair(folder, _jpeg(2, 3), _palette_png()))
    assert (facts.split, facts.height_px, facts.width_px) == ("test", 2, 3)
    # IDS are 0 1 15 / 20 255 0.
    assert {index: int(count) for index, count in enumerate(facts.pixels) if count} == {0: 2, 1: 1, 15: 1, 20: 1, 255: 1}
    assert (facts.pixels.shape, facts.pixels.dtype.kind) == ((256,), "i")


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.png", "JPEG", "JPEG RGB named .png"),
        ("a.PNG", "JPEG", "JPEG RGB named .png"),
        ("a.jpg", "PNG", "PNG RGB named .jpg"),
        ("a.jpg", "WEBP", "WEBP RGB named .jpg"),
        ("a.jpg", "BMP", "BMP RGB named .jpg"),
        ("a.jpg", "TIFF", "TIFF RGB named .jpg"),
        ("a.JPEG", "JPEG", "JPEG RGB"),
        ("a.Tif", "TIFF", "TIFF RGB"),
        ("a.webp", "WEBP", "WEBP RGB"),
    ],
)
def test_picture_that_is_named_as_another_format_is_used_and_noted(
    folder: pathlib.Path, name: str, kind: str, expected: str
) -> None:
    """By the transform's own function: a run for each would take long."""
    pair = _pair(folder, _encode(_picture(), kind), _palette_png(), name, "mask.png")
    facts = examples._facts("train", pair, *read_pair(pair, VOC))
    assert facts.image_kind == expected


def test_side_by_side_pair_is_one_example_of_half_the_width(folder: pathlib.Path) -> None:
    encoded, ids = _both("BMP")
    found = _run("train", [_pair(folder, encoded, b"", "1.bmp", "1.bmp")], folder.parent / "out", SIDES)
    assert found.quarantined == []
    assert (found.examples["1"]["image/height"], found.examples["1"]["image/width"]) == (2, 3)
    assert found.examples["1"]["image/filename"] == "1.bmp"
    np.testing.assert_array_equal(_decode(found.examples["1"]["label"])[..., 0], ids)
    assert found.fingerprints[0].pixels == fingerprints.fingerprint("train", "1", "", np.asarray(_picture())).pixels
    assert (found.facts[0].image_kind, found.facts[0].mask_kind) == ("BMP RGB", "half of the picture as colors")


def test_empty_list_gives_nothing(tmp_path: pathlib.Path) -> None:
    assert _run("test", [], tmp_path) == Outcome({}, [], [], [], {})


def test_progress_counts_pairs_up_to_the_total_and_bad_ones_too(
    mini_voc: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = layout.list_pairs(str(mini_voc), VOC)["train"]
    pairs[7] = dataclasses.replace(pairs[7], problem="bad")
    with caplog.at_level(logging.INFO, logger="vocseg.progress"):
        found = _run("train", pairs, tmp_path)
    assert [record.key for record in found.quarantined] == [pairs[7].key]
    assert set(found.examples) == {pair.key for pair in pairs} - {pairs[7].key}
    reports = [vars(record)["progress"] for record in caplog.records if record.name == "vocseg.progress"]
    assert [(report.done, report.total, report.unit) for report in reports] == [
        (10, 24, "pairs"),
        (20, 24, "pairs"),
        (24, 24, "pairs"),
    ]
    assert str(reports[-1]) == "24/24 pairs"


def test_transform_says_nothing_on_the_log_while_it_is_built(caplog: pytest.LogCaptureFixture) -> None:
    # Beam warns about a return annotation that is no PCollection, several times a split, in front of the user.
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))
    _ = pipeline | beam.Create([("train", PAIR)]) | examples.EncodeExamples(VOC, 1)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


# Real data.


def test_real_user_set_of_three_classes_is_read_whole(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    spec = dataclasses.replace(VOC, name="coalrock", classes=("background", "coal", "rock"))
    splits = layout.list_pairs(str(shared_data / "coalrock"), spec)
    found = _run("train", splits["train"] + splits["validation"], tmp_path, spec)
    assert (len(found.examples), found.quarantined) == (35, [])
    assert {int(class_id) for one in found.examples.values() for class_id in one["label/classes"]} == {0, 1, 2}


def test_real_user_set_of_rgba_pngs_keeps_their_bytes(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    spec = dataclasses.replace(VOC, name="farmland", classes=("background", "field"))
    pairs = layout.list_pairs(str(shared_data / "farmland"), spec)["train"]
    found = _run("train", pairs, tmp_path, spec)
    assert (len(found.examples), found.quarantined) == (8, [])
    assert {facts.image_kind for facts in found.facts} == {"PNG RGBA"}
    for pair in pairs:
        example = found.examples[pair.key]
        assert example["image"] == pathlib.Path(pair.image).read_bytes()
        assert _decode(example["image"]).shape == (example["image/height"], example["image/width"], 3)
        assert set(example["label/classes"]) <= {0, 1}


# A disk with bad blocks, and a network that fails.


def _fail_reading(monkeypatch: pytest.MonkeyPatch, number: int, paths: set[str]) -> None:
    read = files.read_bytes

    def fail(path: str) -> bytes:
        if path in paths:
            raise OSError(number, os.strerror(number), path)
        return read(path)

    monkeypatch.setattr(files, "read_bytes", fail)


@pytest.fixture
def twelve(tmp_path: pathlib.Path) -> list[Pair]:
    fake_voc.write_fake_voc(tmp_path / "set", split_sizes={"train": 12, "val": 1, "test": 0})
    return layout.list_pairs(str(tmp_path / "set"), VOC)["train"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_disk_or_network_that_fails_is_no_fault_of_the_pictures(
    twelve: list[Pair], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _fail_reading(monkeypatch, number, {twelve[5].mask})
    with pytest.raises(Exception, match=os.strerror(number)) as raised:  # Beam's own, with the text.
        _run("train", twelve, tmp_path / "out")
    assert twelve[5].mask in str(raised.value)
    assert retries.is_transient(raised.value)
